"""exp, log and shares for numba loops that the compiler can turn into vector instructions.

Calls to the C library's exp keep a loop scalar, and a mixture's density is little else than exps.
Both functions are accurate to a few units in the last place (tested), over the range that densities
need: exp stays at e^-708 = 3e-308 below -708 and at e^709 above 709, log wants a positive normal
number. NaN stays NaN.
"""

from __future__ import annotations

from typing import Any

from numba import njit, types
from numba.extending import intrinsic

from bayesmix.protocols import Array

_MAGIC = 6755399441055744.0  # 1.5 * 2^52: adding it leaves a rounded integer in the low bits
_LOG2E = 1.4426950408889634
_LN2_HIGH, _LN2_LOW = 0.6931471803691238, 1.9082149292705877e-10
_EXPONENT = 0x7FF0000000000000
_MANTISSA = 0x000FFFFFFFFFFFFF
_ONE = 0x3FF0000000000000
_NOTHING = -600.0
_FLAGS = {"nsz", "contract", "arcp"}
"""No reassociation, which would undo the rounding by _MAGIC, and NaN stays NaN."""


_intrinsic: Any = intrinsic  # its type says nothing of the function that it makes


@_intrinsic
def _bits(typing_context: Any, value: Any) -> Any:
    """The bits of a double as an integer."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(types.int64))

    return types.int64(types.float64), generate


@_intrinsic
def _double(typing_context: Any, value: Any) -> Any:
    """The double that has these bits."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(types.float64))

    return types.float64(types.int64), generate


@njit(error_model="numpy", fastmath=_FLAGS)
def exp(x: float) -> float:
    """e to the x: a power of two times a Taylor polynomial of degree 12 on +-log(2)/2."""
    x = 709.0 if x > 709.0 else x
    x = -708.0 if x < -708.0 else x
    shifted = x * _LOG2E + _MAGIC
    whole = shifted - _MAGIC
    r = (x - whole * _LN2_HIGH) - whole * _LN2_LOW
    p = 1.0 / 479001600.0
    p = p * r + 1.0 / 39916800.0
    p = p * r + 1.0 / 3628800.0
    p = p * r + 1.0 / 362880.0
    p = p * r + 1.0 / 40320.0
    p = p * r + 1.0 / 5040.0
    p = p * r + 1.0 / 720.0
    p = p * r + 1.0 / 120.0
    p = p * r + 1.0 / 24.0
    p = p * r + 1.0 / 6.0
    p = p * r + 0.5
    p = p * r + 1.0
    p = p * r + 1.0
    return _double(_bits(p) + (_bits(shifted) << 52))


@njit(error_model="numpy", fastmath=_FLAGS)
def log(x: float) -> float:
    """Natural logarithm: the exponent, and an odd series of the mantissa in (m - 1)/(m + 1)."""
    bits = _bits(x)
    mantissa = _double((bits & _MANTISSA) | _ONE)
    # the biased exponent in the low bits of a double, by the same trick as above
    power = _double(((bits >> 52) & 0x7FF) | 0x4338000000000000) - 6755399441055744.0 - 1023.0
    large = mantissa > 1.4142135623730951
    mantissa = 0.5 * mantissa if large else mantissa
    power = power + 1.0 if large else power
    s = (mantissa - 1.0) / (mantissa + 1.0)
    t = s * s
    p = 1.0 / 21.0
    p = p * t + 1.0 / 19.0
    p = p * t + 1.0 / 17.0
    p = p * t + 1.0 / 15.0
    p = p * t + 1.0 / 13.0
    p = p * t + 1.0 / 11.0
    p = p * t + 1.0 / 9.0
    p = p * t + 1.0 / 7.0
    p = p * t + 1.0 / 5.0
    p = p * t + 1.0 / 3.0
    p = p * t + 1.0
    found = power * _LN2_HIGH + (2.0 * s * p + power * _LN2_LOW)
    return found if x == x else x  # the bits of NaN would pass for those of a number


@njit(fastmath=_FLAGS, error_model="numpy")
def shares(logits: Array, m: int, total: Array, log_total: Array):
    """Logits (part, row) to shares, in place, of m rows; and the logs of the sums of exponentials.

    ``total`` is there to be written on.
    """
    parts = logits.shape[0]
    for i in range(m):
        log_total[i] = logits[0, i]
        total[i] = 0.0
    for k in range(1, parts):
        for i in range(m):
            log_total[i] = logits[k, i] if logits[k, i] > log_total[i] else log_total[i]
    for k in range(parts):
        for i in range(m):
            below = logits[k, i] - log_total[i]
            # what is smaller would end in denormal numbers, which are slow, and count for nothing
            logits[k, i] = 0.0 if below < _NOTHING else exp(below)  # NaN stays NaN
            total[i] += logits[k, i]
    for k in range(parts):
        for i in range(m):
            logits[k, i] /= total[i]
    for i in range(m):
        log_total[i] += log(total[i])
