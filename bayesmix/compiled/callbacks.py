"""Sources of C callbacks: numba functions that find their data through a table of pointers."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from bayesmix.compiled.kernels import Kernel
from bayesmix.protocols import Array

Inputs = Sequence[tuple[str, str, int]]
"""Name, type and number of dims of each array that a callback may read."""


def callback(
    sizes: str, results: str, body: str, function: Any, inputs: Inputs, used: list[int]
) -> tuple[Any, Any]:
    """Source and signature of ``(sizes, x, results, table) -> status``.

    ``table`` holds for each input its address and its shape; ``used`` are the positions of those
    that ``body`` reads, as ``d0``, ``d1``, ...; the function is ``f`` and x has ``dim`` entries.
    """
    from numba import types

    point = "    x = carray(x_, (dim,))\n"
    source = f"def callback({sizes}, x_, {results}, table_):\n{point}{_views(inputs, used)}{body}"
    number, real = types.uint64, types.CPointer(types.float64)
    arguments = [number] * (sizes.count(",") + 1) + [real] * (results.count(",") + 2)
    return _define(source, function), types.int64(*arguments, types.CPointer(types.int64))


def _views(inputs: Inputs, used: list[int]) -> str:
    """Lines that make arrays out of a callback's pointers."""
    lines, position = [], 0
    for i, (_, dtype, ndim) in enumerate(inputs):
        shape = "".join(f"table[{position + 1 + axis}], " for axis in range(ndim))
        view = f"carray(pointer(table[{position}]), ({shape}), np.{dtype})"
        if i in used:
            lines.append(f"    d{i} = {view}" + ("" if ndim else "[()]"))
        position += 1 + ndim
    head = f"    table = carray(table_, ({position or 1},))\n"
    return head + "\n".join(lines)


def arguments(used: list[int]) -> str:
    """The data that are read, as they stand in a call."""
    return "".join(f", d{i}" for i in used)


def loop_source(function: Any, inputs: Inputs) -> tuple[Any, Any]:
    """Source and signature of ``(table) -> status``: a function of arrays, called on all inputs."""
    from numba import types

    used = list(range(len(inputs)))
    call = f"\n    f({arguments(used).removeprefix(', ')})\n    return 0\n"
    source = "def loop(table_):\n" + _views(inputs, used) + call
    return _define(source, function), types.int64(types.CPointer(types.int64))


def table_of(arrays: Iterable[Array]) -> Array:
    """Addresses and shapes of arrays, as callbacks read them; of none a single zero."""
    entries = [entry for a in arrays for entry in (a.ctypes.data, *a.shape)]
    return np.array(entries or [0], dtype=np.int64)


def kernel_sources(kernel: Kernel) -> list[tuple[Any, Any]]:
    """Source and signature of the two callbacks of a kernel: its density, and its expansion.

    Free parameters that are reported as they are expand to a copy.
    """
    inputs = tuple((f"d{i}", str(a.dtype), a.ndim) for i, a in enumerate(kernel.arrays))
    used = list(range(len(inputs)))
    body = f"""
    logp[0] = f(x{arguments(used)}, carray(out, (dim,)))
    finite = np.isfinite(logp[0])
    for i in range(dim):
        finite = finite and np.isfinite(out[i])
    return 0 if finite else 3
"""
    copy = """
    for i in range(dim):
        out[i] = x[i]
    return 0
"""
    density = callback("dim", "out, logp", body, kernel.function, inputs, used)
    if kernel.expansion is None:
        return [density, callback("dim, size", "out", copy, kernel.function, inputs, [])]
    expand = f"""
    f(x{arguments(used)}, carray(out, (size,)))
    return 0
"""
    return [density, callback("dim, size", "out", expand, kernel.expansion, inputs, used)]


def _define(source: str, function: Any) -> Any:
    """The callback as a Python function that numba can read; errors become a status."""
    from numba import carray

    head, rest = source.split("\n", 1)
    guarded = head + "\n    try:\n" + "\n".join("    " + line for line in rest.split("\n"))
    guarded += "\n    except Exception:\n        return 1\n"
    names: Mapping[str, Any] = {"f": function, "np": np, "carray": carray, "pointer": _pointer()}
    scope = dict(names)
    exec(compile(guarded, "<bayesmix callback>", "exec"), scope)
    return scope[head[len("def ") : head.index("(")]]


@functools.cache
def _pointer() -> Any:
    """An integer address as a pointer, inside numba code."""
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic

    @intrinsic
    def pointer(typing_context: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.inttoptr(arguments[0], cgutils.voidptr_t)

        return types.voidptr(address), generate

    return pointer
