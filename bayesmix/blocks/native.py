"""Compiled callbacks that survive the process: machine code in a cache folder.

Numba caches a function only when its source is a file that it knows; the callbacks that a sampler
needs are made anew for every model, so compiling them costs seconds in every new process. Here the
machine code of such a callback is kept under a content key and linked again in milliseconds.
"""

from __future__ import annotations

import os
import pickle
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bayesmix.errors import SpecError


@dataclass(frozen=True)
class Callback:
    """A C function in memory: its address, and the library that keeps it alive."""

    address: int
    library: Any


def cache_folder() -> Path:
    """Where compiled code is kept: ``$BAYESMIX_CACHE``, or the user's cache folder.

    Raises
    ------
    SpecError
        ``BAYESMIX_CACHE`` names something that is not a folder.
    """
    chosen = os.environ.get("BAYESMIX_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(chosen) if chosen else Path(base) / "bayesmix"
    if folder.exists() and not folder.is_dir():
        raise SpecError(f"BAYESMIX_CACHE must name a folder, {str(folder)!r} is a file")
    return folder


def compile_callback(function: Callable[..., Any], signature: Any) -> tuple[Callback, bytes | None]:
    """Compile to a C callback; also its machine code, or None where it holds addresses."""
    import numba

    compiled: Any = numba.cfunc(signature)(function)
    library = compiled._library
    callback = Callback(compiled.address, compiled)
    if library.has_dynamic_globals:
        return callback, None
    code = library.serialize_using_object_code()
    return callback, pickle.dumps((code, compiled.native_name, _environments(library)))


def link_callback(code: bytes) -> Callback:
    """Link the machine code made by :func:`compile_callback` into this process."""
    from numba.core.registry import cpu_target
    from numba.core.runtime.nrt import rtsys

    context: Any = cpu_target.target_context
    rtsys.initialize(context)
    library_data, name, environments = pickle.loads(code)
    library = context.codegen().unserialize_library(library_data)
    address = library.get_pointer_to_function(name)
    if environments:
        context.refresh()
        for environment in map(pickle.loads, environments):
            library.codegen.set_env(environment.env_name, environment)
    return Callback(address, library)


def _environments(library: Any) -> list[bytes]:
    """Python objects for code that calls back into Python, such as the look-up of a BLAS routine.

    Loading them imports PyTensor, so they are kept for such code alone.
    """
    from numba.core import serialize
    from numba.core.environment import lookup_environment

    names = [variable.name for variable in library._final_module.global_variables]
    if not any("objmode_dispatcher" in name for name in names):
        return []
    found = [lookup_environment(n) for n in names if n.startswith("_ZN08NumbaEnv")]
    return [serialize.dumps(e) for e in found if e is not None and e.can_cache()]


def machine() -> list[str]:
    """What machine code depends on: the processor and its features."""
    import llvmlite.binding as llvm

    features = llvm.get_host_cpu_features().flatten()
    return [llvm.get_process_triple(), llvm.get_host_cpu_name(), features]


def store(path: Path, content: bytes) -> None:
    """Write a cache entry atomically, for this user only; an unwritable cache is no error."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, draft = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(draft, path)
    except OSError:
        return


def recall(path: Path) -> bytes | None:
    """Read a cache entry that belongs to this user, or None."""
    try:
        if path.stat().st_uid != Path.home().stat().st_uid:
            return None
        return path.read_bytes()
    except OSError:
        return None
