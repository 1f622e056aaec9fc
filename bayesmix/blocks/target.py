"""A model's log posterior as native code: compiled once, kept on disk, fed with any data.

The target density lives on the unconstrained space. Its code depends on the spec, on the shapes of
the parameters and on versions, never on the numbers in the data: those are passed by pointer, so a
fit to new data, or in a new process, compiles nothing and does not even import PyMC.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import json
import os
import pickle
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from bayesmix.blocks import callbacks, native
from bayesmix.blocks.flat_graph import FlatGraph
from bayesmix.errors import DataError
from bayesmix.protocols import Array, Design, HasKernel, HasPyMC, Kernel
from bayesmix.specs import to_json

_ENGINES = ("pymc", "pytensor", "numba", "llvmlite", "numpy")


@dataclass(frozen=True)
class Code:
    """What is kept of a compiled model: two callbacks and the layout of their arguments."""

    n_dim: int
    initial: Array
    variables: tuple[tuple[str, int], ...]
    outputs: tuple[tuple[str, tuple[int, ...]], ...]
    inputs: tuple[tuple[str, str, int], ...]
    density: bytes | None
    expansion: bytes | None


@dataclass(frozen=True, eq=False)
class Target:
    """Log density and gradient at unconstrained points, and the way back to named parameters.

    Parameters
    ----------
    n_dim
        Dimension of the unconstrained space.
    initial
        The model's own starting point, shape (n_dim,).
    variables
        Names and sizes of the unconstrained variables, in the order of the space.
    outputs
        Names and shapes of the reported parameters, in the order of :meth:`expand`.
    """

    n_dim: int
    initial: Array
    variables: tuple[tuple[str, int], ...]
    outputs: tuple[tuple[str, tuple[int, ...]], ...]
    density: native.Callback
    expansion: native.Callback
    arrays: tuple[Array, ...]
    table: Array
    outputs_are_free: bool = False

    @property
    def n_expanded(self) -> int:
        """Number of values that one point expands to."""
        return sum(int(np.prod(shape)) for _, shape in self.outputs)

    @functools.cached_property
    def _density(self) -> Any:
        types = [ctypes.c_uint64] + [ctypes.c_void_p] * 4
        return ctypes.CFUNCTYPE(ctypes.c_int64, *types)(self.density.address)

    @functools.cached_property
    def _expansion(self) -> Any:
        types = [ctypes.c_uint64] * 2 + [ctypes.c_void_p] * 3
        return ctypes.CFUNCTYPE(ctypes.c_int64, *types)(self.expansion.address)

    def log_density(self, point: Array) -> tuple[float, Array]:
        """Log density and gradient at one point (n_dim,); (-inf, 0) where it is not finite."""
        point = np.ascontiguousarray(point, dtype=float)
        value, gradient = np.empty(1), np.empty(self.n_dim)
        status = self._density(
            self.n_dim,
            point.ctypes.data,
            gradient.ctypes.data,
            value.ctypes.data,
            self.table.ctypes.data,
        )
        if status:
            return -np.inf, np.zeros(self.n_dim)
        return float(value[0]), gradient

    def log_densities(self, points: Array) -> tuple[Array, Array]:
        """Log densities (sample,) and gradients (sample, n_dim) of many points, on every core."""
        points = np.ascontiguousarray(points, dtype=float)
        values, gradients = np.empty(len(points)), np.empty_like(points)
        table, density = self.table.ctypes.data, self._density
        bases = (points.ctypes.data, gradients.ctypes.data, values.ctypes.data)
        strides = (8 * self.n_dim, 8 * self.n_dim, 8)

        def some(first: int, last: int) -> None:
            for i in range(first, last):
                at = [base + i * stride for base, stride in zip(bases, strides, strict=True)]
                if density(self.n_dim, *at, table):
                    values[i], gradients[i] = -np.inf, 0.0

        cores = os.cpu_count() or 1
        cuts = np.linspace(0, len(points), cores + 1).astype(int)
        if cores == 1 or len(points) < 16:
            some(0, len(points))
        else:  # the callback runs without the interpreter lock
            with ThreadPoolExecutor(cores) as pool:
                list(pool.map(some, cuts[:-1], cuts[1:]))
        return values, gradients

    def point(self, values: Mapping[str, Array]) -> Array:
        """The unconstrained point of variables that are free as they are, or positive (a log)."""
        return np.concatenate(
            [
                np.ravel(values[name] if name in values else np.log(values[_positive(name)]))
                for name, _ in self.variables
            ]
        )

    def expand(self, points: Array) -> dict[str, Array]:
        """Named parameters, shape (sample, ...), from unconstrained points (sample, n_dim)."""
        points = np.ascontiguousarray(np.atleast_2d(points), dtype=float)
        if self.outputs_are_free:
            return self.split(points)
        flat = np.empty((len(points), self.n_expanded))
        for point, row in zip(points, flat, strict=True):
            self._expansion(
                self.n_dim,
                self.n_expanded,
                point.ctypes.data,
                row.ctypes.data,
                self.table.ctypes.data,
            )
        return self.split(flat)

    def split(self, flat: Array) -> dict[str, Array]:
        """Cut expanded values (..., n_expanded) into named parameters (..., *shape)."""
        values, position = {}, 0
        for name, shape in self.outputs:
            size = int(np.prod(shape))
            part = flat[..., position : position + size]
            values[name] = part.reshape((*flat.shape[:-1], *shape))
            position += size
        return values


def _positive(name: str) -> str:
    """The variable whose log PyMC calls by that name."""
    return name.removesuffix("_log__")


def target(model: HasPyMC, design: Design, *, jacobian: bool = True) -> Target:
    """The target density of ``model`` given ``design``, compiled or recalled.

    Parameters
    ----------
    jacobian
        Include the log Jacobian of the transforms (a density over the unconstrained space, for
        sampling) or leave it out (a density over the parameters themselves, for their mode).
    """
    kernel = model.kernel(design) if isinstance(model, HasKernel) else None
    if kernel is not None:
        return of_kernel(kernel)
    key = _key(model, design, jacobian)
    code, density, expansion = _callbacks(key) or _compile(model, design, jacobian, key)
    arrays = tuple(_input(design, *entry) for entry in code.inputs)
    table = np.array([n for a in arrays for n in (a.ctypes.data, *a.shape)] or [0], dtype=np.int64)
    layout = (code.n_dim, code.initial, code.variables, code.outputs)
    return Target(*layout, density, expansion, arrays, table)


@functools.cache
def _kernel_key(function: Any, layout: tuple[tuple[str, int], ...]) -> str:
    """A content key: the kernel's source, the types of its arrays, versions and the machine."""
    home = Path(function.py_func.__code__.co_filename)
    files = (home, Path(__file__).with_name("fastmath.py"), Path(callbacks.__file__))
    source = [path.read_text(encoding="utf-8") for path in files]
    parts = [function.py_func.__name__, source, layout, _versions()[:-1], native.machine()]
    return "kernel-" + hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def of_kernel(kernel: Kernel) -> Target:
    """The target of a hand-written loop: nothing to differentiate or transform."""
    sizes = tuple((name, int(np.prod(shape))) for name, shape in kernel.variables)
    n_dim = sum(size for _, size in sizes)
    key = _kernel_key(kernel.function, tuple((str(a.dtype), a.ndim) for a in kernel.arrays))
    density, expansion = _linked_kernels.get(key) or _kernel_callbacks(kernel, key)
    table = np.array([n for a in kernel.arrays for n in (a.ctypes.data, *a.shape)], dtype=np.int64)
    layout_of = (n_dim, np.zeros(n_dim), sizes, kernel.variables)
    return Target(*layout_of, density, expansion, kernel.arrays, table, True)


_linked_kernels: dict[str, tuple[native.Callback, native.Callback]] = {}


def _kernel_callbacks(kernel: Kernel, key: str) -> tuple[native.Callback, native.Callback]:
    path = native.cache_folder() / "targets" / key
    content = native.recall(path)
    if content is not None:
        density, expansion = pickle.loads(content)
        _linked_kernels[key] = native.link_callback(density), native.link_callback(expansion)
        return _linked_kernels[key]
    made = [native.compile_callback(*entry) for entry in callbacks.kernel_sources(kernel)]
    _linked_kernels[key] = made[0][0], made[1][0]
    if made[0][1] is not None and made[1][1] is not None:
        native.store(path, pickle.dumps((made[0][1], made[1][1])))
    return _linked_kernels[key]


def _key(model: HasPyMC, design: Design, jacobian: bool) -> str:
    layouts = {name: [str(array.dtype), array.ndim] for name, array in design.arrays.items()}
    sizes = {dim: len(labels) for dim, labels in design.coords.items()}
    shapes = {name: [sizes.get(dim, -1) for dim in design.dims[name]] for name in design.arrays}
    reported = list(model.dims(design).items())
    layout = [layouts, sizes, shapes, reported]
    parts = [to_json(model), layout, jacobian, _versions(), native.machine()]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@functools.cache
def _versions() -> list[str]:
    """Versions of the engines, and a hash of the files that write or compile a graph."""
    home = Path(__file__).parents[1]
    source = hashlib.sha256()
    for path in sorted([*home.glob("models/*.py"), *home.glob("blocks/*.py"), home / "priors.py"]):
        content = path.read_bytes()
        if b"pymc" in content or b"numba" in content:
            source.update(content)
    return [*(f"{name} {version(name)}" for name in _ENGINES), source.hexdigest()]


_linked: dict[str, tuple[Code, native.Callback, native.Callback]] = {}


def _callbacks(key: str) -> tuple[Code, native.Callback, native.Callback] | None:
    if key in _linked:
        return _linked[key]
    content = native.recall(native.cache_folder() / "targets" / key)
    if content is None:
        return None
    code: Code = pickle.loads(content)
    if code.density is None or code.expansion is None:
        return None
    _linked[key] = code, native.link_callback(code.density), native.link_callback(code.expansion)
    return _linked[key]


def _input(design: Design, name: str, dtype: str, ndim: int) -> Array:
    array = design.arrays[name]
    if array.ndim != ndim:
        raise DataError(f"array {name!r} must have {ndim} dims, got {array.ndim}")
    cast = np.ascontiguousarray(array, dtype=dtype)
    if not np.array_equal(cast, array):
        raise DataError(f"values of {name!r} do not fit {dtype}: the largest is {array.max()}")
    return cast


def _compile(
    model: HasPyMC, design: Design, jacobian: bool, key: str
) -> tuple[Code, native.Callback, native.Callback]:
    graph = FlatGraph(model, design, jacobian)
    density, density_code = native.compile_callback(*graph.density())
    expansion, expansion_code = native.compile_callback(*graph.expansion())
    layout = (graph.n_dim, graph.initial, graph.variables, graph.outputs, graph.inputs)
    code = Code(*layout, density_code, expansion_code)
    _linked[key] = code, density, expansion
    native.store(native.cache_folder() / "targets" / key, pickle.dumps(code))
    return _linked[key]
