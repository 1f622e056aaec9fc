"""Random numbers for compiled loops, many at a time: xoshiro256++ side by side, and Box-Muller.

NumPy's generators give one number at a time, which is most of the time that a predictive draw
takes. Here lane i of ``state`` (4, LANES) is a generator of its own, all step together, and neither
the step nor what is made of it branches, so that the processor's vector units run both.

References
----------
Blackman and Vigna (2021), ACM Transactions on Mathematical Software 47(4), 10.1145/3460772: the
generator. Box and Muller (1958), 10.1214/aoms/1177706645: normal from uniform numbers.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from bayesmix.blocks import fastmath
from bayesmix.protocols import Array

LANES = 32
_FLAGS = {"nsz", "contract", "arcp"}
_MAGIC = 6755399441055744.0  # 1.5 * 2^52: adding and taking it off rounds to a whole number
_TURN = 2 * np.pi


def new_state(rng: np.random.Generator) -> Array:
    """A state of its own for each lane, from another generator."""
    return rng.integers(-(2**63), 2**63 - 1, size=(4, LANES), endpoint=True)


@njit(error_model="numpy", fastmath=_FLAGS)
def _turned(x: int, by: int) -> int:
    """The bits of x rotated to the left."""
    return (x << by) | ((x >> (64 - by)) & ((1 << by) - 1))


@njit(error_model="numpy", fastmath=_FLAGS)
def _step(state, first, m, out):
    """The next number of the first m lanes, into ``out`` from ``first`` on."""
    a, b, c, d = state[0], state[1], state[2], state[3]
    for i in range(m):
        out[first + i] = fastmath.fraction(_turned(a[i] + d[i], 23) + a[i])
        shifted = b[i] << 17
        c[i] ^= a[i]
        d[i] ^= b[i]
        b[i] ^= c[i]
        a[i] ^= d[i]
        c[i] ^= shifted
        d[i] = _turned(d[i], 45)


@njit(nogil=True, cache=True, error_model="numpy", fastmath=_FLAGS)
def uniform(state, out):
    """Fill a vector with uniform numbers in [0, 1), multiples of 2^-52."""
    for first in range(0, out.size, LANES):
        _step(state, first, min(LANES, out.size - first), out)


@njit(error_model="numpy", fastmath=_FLAGS)
def _sin_cos(share):
    """Sine and cosine of 2 pi times a number in [0, 1): Taylor series on an eighth of a turn."""
    quarter = (4.0 * share + _MAGIC) - _MAGIC
    x = (share - 0.25 * quarter) * _TURN
    t = x * x
    s = -1.0 / 1307674368000.0
    s = s * t + 1.0 / 6227020800.0
    s = s * t - 1.0 / 39916800.0
    s = s * t + 1.0 / 362880.0
    s = s * t - 1.0 / 5040.0
    s = s * t + 1.0 / 120.0
    s = s * t - 1.0 / 6.0
    s = s * t * x + x
    c = 1.0 / 20922789888000.0
    c = c * t - 1.0 / 87178291200.0
    c = c * t + 1.0 / 479001600.0
    c = c * t - 1.0 / 3628800.0
    c = c * t + 1.0 / 40320.0
    c = c * t - 1.0 / 720.0
    c = c * t + 1.0 / 24.0
    c = c * t - 0.5
    c = c * t + 1.0
    odd = (quarter == 1.0) | (quarter == 3.0)
    sine, cosine = (c, s) if odd else (s, c)
    sine = -sine if (quarter == 2.0) | (quarter == 3.0) else sine
    cosine = -cosine if (quarter == 1.0) | (quarter == 2.0) else cosine
    return sine, cosine


@njit(error_model="numpy", fastmath=_FLAGS)
def normals(state, radius, share, out):
    """As :func:`normal`, with two vectors of LANES numbers to be written on."""
    for first in range(0, out.size, 2 * LANES):
        m = min(LANES, (out.size - first + 1) // 2)
        _step(state, 0, m, radius)
        _step(state, 0, m, share)
        for i in range(m):
            radius[i] = fastmath.log(1.0 - radius[i])
        for i in range(m):
            radius[i] = np.sqrt(-2.0 * radius[i])
        for i in range(m):
            sine, cosine = _sin_cos(share[i])
            share[i] = radius[i] * sine
            out[first + i] = radius[i] * cosine
        for i in range(min(m, out.size - first - m)):
            out[first + m + i] = share[i]


@njit(nogil=True, cache=True, error_model="numpy", fastmath=_FLAGS)
def normal(state, out):
    """Fill a vector with standard normal numbers, at most 8.5 from zero."""
    normals(state, np.empty(LANES), np.empty(LANES), out)
