"""Compiled loops over arrays, called like functions; their machine code is in the one cache."""

from __future__ import annotations

import ctypes
import functools
from typing import Any

from bayesmix.compiled import callbacks, native
from bayesmix.protocols import Array


def run(function: Any, *arrays: Array) -> None:
    """Call a numba function on contiguous arrays, of which it writes on some.

    Its own arguments are these arrays and nothing else. The interpreter lock is not held.

    Raises
    ------
    RuntimeError
        The function raised an error, which compiled code cannot name.
    """
    call = _callable(function, tuple((str(a.dtype), a.ndim) for a in arrays))
    table = callbacks.table_of(arrays)
    if call(table.ctypes.data):
        raise RuntimeError(f"{name_of(function)} failed")


def name_of(function: Any) -> str:
    """Where a compiled function stands; its source is in the digest of all sources."""
    return f"{function.py_func.__module__}.{function.py_func.__qualname__}"


@functools.cache
def _callable(function: Any, types: tuple[tuple[str, int], ...]) -> Any:
    inputs = tuple((f"d{i}", *entry) for i, entry in enumerate(types))
    key = native.key_of(["loop", name_of(function), types])
    code = native.code(key, (function,), lambda: ([callbacks.loop_source(function, inputs)], {}))
    (callback,) = code.callbacks
    return ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)(callback.address)
