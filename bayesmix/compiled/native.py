"""Compiled callbacks that survive the process: linked from the cache, or compiled and kept there.

Numba keeps a function only under the content of the one file that it stands in; the callbacks that
a sampler needs are made anew for every model, and loops call others from other files. Here machine
code is kept under a key of everything that wrote it, and linked again in milliseconds.
"""

from __future__ import annotations

import functools
import hashlib
import json
import platform
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from bayesmix.compiled import cache, sources
from bayesmix.compiled.cache import CodeEntry

_ENGINES = ("pymc", "pytensor", "numba", "llvmlite", "numpy")
Source = tuple[Callable[..., Any], Any]
"""A function that numba can compile to a C callback, and its signature."""


@dataclass(frozen=True)
class Callback:
    """A C function in memory: its address, and what keeps it alive."""

    address: int
    library: Any


@dataclass(frozen=True)
class Code:
    """Callbacks that are linked into this process, and the layout that was kept with them."""

    callbacks: tuple[Callback, ...]
    layout: Mapping[str, Any]


@dataclass(frozen=True)
class _Piece:
    """One compiled function: its name, and its machine code where that can be linked elsewhere."""

    symbol: str
    code: bytes | None
    library: Any


def key_of(parts: Any) -> str:
    """The key of what is compiled from these values (of JSON) by this installation."""
    text = json.dumps([parts, _installation()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def code(
    key: str,
    writers: tuple[Hashable, ...],
    make: Callable[[], tuple[Sequence[Source], Mapping[str, Any]]],
) -> Code:
    """The code of a key: of this process, from the cache, or compiled now and kept.

    Parameters
    ----------
    key
        What :func:`key_of` said.
    writers
        Classes and functions whose source makes the code. Unless all of them are this package's,
        whose files the key holds, the code serves this process alone.
    make
        Gives the functions to compile, and a layout (values of JSON) that is kept with them.
    """
    found = _linked.get((key, writers))
    if found is not None:
        return found
    keep = all(sources.is_own(_module(one)) for one in writers) and sources.unchanged()
    entry = cache.read(key) if keep else None
    found = _link(entry) if entry is not None else _compile(key, make, keep)
    _linked[key, writers] = found
    return found


_linked: dict[tuple[str, tuple[Hashable, ...]], Code] = {}


def _module(writer: Any) -> str:
    """Where a class or a function, also a compiled one, was defined."""
    return getattr(writer, "py_func", writer).__module__


@functools.cache
def _installation() -> list[str]:
    """What code depends on besides its own parts: all sources, the engines, the processor."""
    import llvmlite.binding as llvm

    engines = [f"{name} {version(name)}" for name in _ENGINES]
    features = llvm.get_host_cpu_features().flatten()
    machine = [llvm.get_process_triple(), llvm.get_host_cpu_name(), features]
    return [sources.digest(), platform.python_version(), *engines, *machine]


def _compile(
    key: str, make: Callable[[], tuple[Sequence[Source], Mapping[str, Any]]], keep: bool
) -> Code:
    functions, layout = make()
    pieces = [_compiled(key, *entry) for entry in functions]
    objects = [piece.code for piece in pieces if piece.code is not None]
    if keep and len(objects) == len(pieces) and sources.unchanged():
        layouts = [[piece.symbol, len(code)] for piece, code in zip(pieces, objects, strict=True)]
        described = {"functions": layouts, "layout": dict(layout)}
        cache.write(key, CodeEntry(described, b"".join(objects)))
    return Code(tuple(_linked_piece(piece) for piece in pieces), layout)


def _compiled(key: str, function: Callable[..., Any], signature: Any) -> _Piece:
    """Compile a function under a name that no other code has: the key is in it."""
    import numba

    function.__name__ = function.__qualname__ = f"{function.__name__}_{key}"
    compiled: Any = numba.cfunc(signature)(function)
    library = compiled._library
    code = library._get_compiled_object() if _is_movable(library) else None
    return _Piece(compiled.native_name, code, compiled)


def _is_movable(library: Any) -> bool:
    """Whether code holds neither addresses of this process nor calls back into Python.

    The second need Python objects beside the code, which only pickle could keep.
    """
    names = [variable.name for variable in library._final_module.global_variables]
    return not library.has_dynamic_globals and not any("objmode_dispatcher" in n for n in names)


def _link(entry: CodeEntry) -> Code:
    pieces, position = [], 0
    for symbol, size in entry.description["functions"]:
        pieces.append(_Piece(symbol, entry.code[position : position + size], None))
        position += size
    return Code(tuple(_linked_piece(piece) for piece in pieces), entry.description["layout"])


def _linked_piece(piece: _Piece) -> Callback:
    """The function in memory, in an engine of its own: no name in it can meet another's."""
    if piece.code is None:
        return Callback(piece.library.address, piece.library)
    import llvmlite.binding as llvm

    _start_runtime()
    machine = llvm.Target.from_default_triple().create_target_machine(jit=True)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    engine.add_object_file(llvm.ObjectFileRef.from_data(piece.code))
    engine.finalize_object()
    return Callback(engine.get_function_address(piece.symbol), engine)


@functools.cache
def _start_runtime() -> None:
    """Make known what numba's code calls: its memory manager and its helpers."""
    from numba.core.registry import cpu_target
    from numba.core.runtime.nrt import rtsys

    rtsys.initialize(cpu_target.target_context)
