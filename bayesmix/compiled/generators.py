"""NumPy's random generators inside compiled loops, handed over as the addresses of their C code."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from bayesmix.protocols import Array

_FUNCTIONS = ("next_uint64", "next_uint32", "next_double")
_intrinsic: Any = intrinsic  # its type says nothing of the function that it makes


def addresses(rng: np.random.Generator) -> Array:
    """State and functions of a generator, which has to outlive their use, as whole numbers.

    Whoever uses them holds ``rng.bit_generator.lock``.
    """
    interface: Any = rng.bit_generator.ctypes
    found = [ctypes.cast(getattr(interface, name), ctypes.c_void_p).value for name in _FUNCTIONS]
    return np.array([interface.state_address, *found], dtype=np.int64)


@_intrinsic
def generator(typing_context: Any, state: Any, uint64: Any, uint32: Any, double: Any) -> Any:
    """The generator at these addresses, as numba knows it: its methods give NumPy's numbers."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        made = cgutils.create_struct_proxy(types.npy_rng)(context, builder)
        kind = types.NumPyRandomBitGeneratorType("bit_generator")
        bits = cgutils.create_struct_proxy(kind)(context, builder)
        names = ("state_address", *(f"fnptr_{name}" for name in _FUNCTIONS))
        for name, address in zip(names, arguments, strict=True):
            setattr(bits, name, address)
        bits.state = arguments[0]
        made.bit_generator = bits._getvalue()
        return made._getvalue()

    return types.npy_rng(state, uint64, uint32, double), generate
