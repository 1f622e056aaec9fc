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
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from bayesmix.blocks import native
from bayesmix.errors import DataError, SpecError, listed
from bayesmix.protocols import DATA, Array, Design, HasKernel, HasPyMC, Kernel
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
        """The unconstrained point of variables that are free as they are (no transform)."""
        return np.concatenate([np.ravel(values[name]) for name, _ in self.variables])

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
            values[name] = part.reshape(*flat.shape[:-1], *shape)
            position += size
        return values


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
        return _of_kernel(kernel)
    key = _key(model, design, jacobian)
    code, density, expansion = _callbacks(key) or _compile(model, design, jacobian, key)
    arrays = tuple(_input(design, *entry) for entry in code.inputs)
    table = np.array([n for a in arrays for n in (a.ctypes.data, *a.shape)] or [0], dtype=np.int64)
    layout = (code.n_dim, code.initial, code.variables, code.outputs)
    return Target(*layout, density, expansion, arrays, table)


def _of_kernel(kernel: Kernel) -> Target:
    """The target of a hand-written loop: nothing to differentiate or transform."""
    sizes = tuple((name, int(np.prod(shape))) for name, shape in kernel.variables)
    n_dim = sum(size for _, size in sizes)
    layout = [[str(a.dtype), a.ndim] for a in kernel.arrays]
    home = Path(kernel.function.py_func.__code__.co_filename)
    source = [p.read_text() for p in (home, home.with_name("fastmath.py"), Path(__file__))]
    parts = [kernel.function.py_func.__name__, source, layout, _versions()[:-1], native.machine()]
    key = "kernel-" + hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    density, expansion = _linked_kernels.get(key) or _kernel_callbacks(kernel, key)
    table = np.array([n for a in kernel.arrays for n in (a.ctypes.data, *a.shape)], dtype=np.int64)
    layout_of = (n_dim, np.zeros(n_dim), sizes, kernel.variables)
    return Target(*layout_of, density, expansion, kernel.arrays, table, True)


_linked_kernels: dict[str, tuple[native.Callback, native.Callback]] = {}


def _kernel_callbacks(kernel: Kernel, key: str) -> tuple[native.Callback, native.Callback]:
    path = native.cache_folder() / "targets" / key
    content = native.recall(path)
    if content is not None:
        codes = pickle.loads(content)
        _linked_kernels[key] = tuple(native.link_callback(code) for code in codes)
        return _linked_kernels[key]
    made = [native.compile_callback(*entry) for entry in kernel_sources(kernel)]
    _linked_kernels[key] = made[0][0], made[1][0]
    if made[0][1] is not None and made[1][1] is not None:
        native.store(path, pickle.dumps((made[0][1], made[1][1])))
    return _linked_kernels[key]


def kernel_sources(kernel: Kernel) -> list[tuple[Any, Any]]:
    """Source and signature of the two callbacks of a kernel: its density, and a copy."""
    from numba import types

    inputs = tuple((f"d{i}", str(a.dtype), a.ndim) for i, a in enumerate(kernel.arrays))
    used = list(range(len(inputs)))
    body = f"""
    logp[0] = f(x{_arguments(used)}, carray(out, (dim,)))
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
    made = []
    shapes = (("dim", "out, logp", body, used), ("dim, size", "out", copy, []))
    for sizes, results, text, read in shapes:
        source = _views(inputs, read, "dim")
        source = f"def callback({sizes}, x_, {results}, table_):\n" + source + text
        number, real = types.uint64, types.CPointer(types.float64)
        arguments = [number] * (sizes.count(",") + 1) + [real] * (results.count(",") + 2)
        signature = types.int64(*arguments, types.CPointer(types.int64))
        made.append((_define(source, kernel.function), signature))
    return made


def _views(inputs: Sequence[tuple[str, str, int]], used: list[int], dim: str) -> str:
    """Lines that make arrays out of a callback's pointers."""
    lines, position = [], 0
    for i, (_, dtype, ndim) in enumerate(inputs):
        shape = "".join(f"table[{position + 1 + axis}], " for axis in range(ndim))
        view = f"carray(pointer(table[{position}]), ({shape}), np.{dtype})"
        if i in used:
            lines.append(f"    d{i} = {view}" + ("" if ndim else "[()]"))
        position += 1 + ndim
    head = f"    x = carray(x_, ({dim},))\n    table = carray(table_, ({position or 1},))\n"
    return head + "\n".join(lines)


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
    graph = _Graph(model, design, jacobian)
    density, density_code = native.compile_callback(*graph.density())
    expansion, expansion_code = native.compile_callback(*graph.expansion())
    layout = (graph.n_dim, graph.initial, graph.variables, graph.outputs, graph.inputs)
    code = Code(*layout, density_code, expansion_code)
    _linked[key] = code, density, expansion
    native.store(native.cache_folder() / "targets" / key, pickle.dumps(code))
    return _linked[key]


class _Graph:
    """A PyMC model flattened: functions of one vector, with the data as inputs."""

    def __init__(self, model: HasPyMC, design: Design, jacobian: bool) -> None:
        import pytensor.tensor as pt
        from pymc.model.transform.optimization import freeze_dims_and_data

        built = model.pymc_model(design)
        fixed = [dim for dim in built.coords if dim != "obs"]
        self.model = freeze_dims_and_data(built, dims=fixed, data=[])
        values = [self.model.rvs_to_values[rv] for rv in self.model.free_RVs]
        start = self.model.initial_point()
        shapes = [np.shape(start[value.name]) for value in values]
        self.initial = np.concatenate([np.ravel(start[value.name]) for value in values])
        self.n_dim = len(self.initial)
        sizes = [int(np.prod(shape)) for shape in shapes]
        self.variables = tuple(zip([str(v.name) for v in values], sizes, strict=True))
        self.point = pt.TensorType("float64", shape=(self.n_dim,))("point")
        self.pieces = dict(zip(values, _pieces(self.point, shapes), strict=True))
        self.values, self.jacobian = values, jacobian
        names = [name for name in model.dims(design) if name in self.model.named_vars]
        missing = [name for name in model.dims(design) if name not in self.model.named_vars]
        if missing:
            raise SpecError(f"{type(model).__name__}.pymc_model does not define {listed(missing)}")
        shapes_of = {n: _shape(model.dims(design)[n], design) for n in names}
        self.outputs = tuple((name, shapes_of[name]) for name in names)
        self.inputs = tuple(
            (name, str(shared.type.dtype), shared.type.ndim)
            for name, shared in self._data(design).items()
        )

    def _data(self, design: Design) -> dict[str, Any]:
        """The pm.Data that the model registered; each must be an array of the design."""
        data = {_array_name(variable): variable for variable in self.model.data_vars}
        foreign = sorted(set(data) - set(design.arrays))
        if foreign:
            raise SpecError(
                f"pymc_model registers pm.Data {listed(foreign)} that its design does not hold; "
                f"the design has {listed(design.arrays)}"
            )
        return data

    def _compiled(self, outputs: list[Any]) -> tuple[Any, list[int]]:
        """A numba function of (point, *data) and the positions of the data that it reads."""
        import pytensor
        from pytensor.graph import clone_replace

        function: Any = pytensor.function(
            [self.point], clone_replace(outputs, self.pieces), mode="NUMBA"
        )
        order = [name for name, _, _ in self.inputs]
        return function.vm.jit_fn, [order.index(_array_name(s)) for s in function.get_shared()]

    def density(self) -> tuple[Any, Any]:
        """Source and signature of ``(dim, x, gradient, logp, data) -> status``."""
        import pytensor.tensor as pt
        from pytensor.graph import rewrite_graph

        logp: Any = self.model.logp(jacobian=self.jacobian)
        logp = rewrite_graph(logp, include=["canonicalize", "stabilize"])
        gradients: Any = pt.grad(logp, self.values, disconnected_inputs="ignore")
        gradient = pt.concatenate([g.ravel() for g in gradients])
        function, used = self._compiled([logp, gradient])
        body = f"""
    value, slope = f(x{_arguments(used)})
    logp[0] = value.item()
    finite = np.isfinite(logp[0])
    for i in range({self.n_dim}):
        out[i] = slope[i]
        finite = finite and np.isfinite(slope[i])
    return 0 if finite else 3
"""
        return self._callback("dim", "out, logp", body, function, used)

    def expansion(self) -> tuple[Any, Any]:
        """Source and signature of ``(dim, size, x, values, data) -> status``."""
        import pytensor.tensor as pt

        named = dict(
            zip(
                [v.name for v in self.model.unobserved_value_vars],
                self.model.unobserved_value_vars,
                strict=True,
            )
        )
        flat = pt.concatenate([pt.as_tensor(named[name]).ravel() for name, _ in self.outputs])
        function, used = self._compiled([flat])
        size = sum(int(np.prod(shape)) for _, shape in self.outputs)
        body = f"""
    values = f(x{_arguments(used)})[0]
    for i in range({size}):
        out[i] = values[i]
    return 0
"""
        return self._callback("dim, size", "out", body, function, used)

    def _callback(
        self, sizes: str, results: str, body: str, function: Any, used: list[int]
    ) -> tuple[Any, Any]:
        from numba import types

        source = f"def callback({sizes}, x_, {results}, table_):\n"
        source += _views(self.inputs, used, str(self.n_dim)) + body
        number, real = types.uint64, types.CPointer(types.float64)
        arguments = [number] * (sizes.count(",") + 1) + [real] * (results.count(",") + 2)
        signature = types.int64(*arguments, types.CPointer(types.int64))
        return _define(source, function), signature


def _array_name(variable: Any) -> str:
    """The array of the design that a ``pm.Data`` stands for."""
    return str(variable.name).removeprefix(DATA)


def _pieces(point: Any, shapes: list[tuple[int, ...]]) -> list[Any]:
    pieces, position = [], 0
    for shape in shapes:
        size = int(np.prod(shape))
        pieces.append(point[position : position + size].reshape(shape))
        position += size
    return pieces


def _shape(dims: tuple[str, ...], design: Design) -> tuple[int, ...]:
    return tuple(len(design.coords[dim]) for dim in dims)


def _arguments(used: list[int]) -> str:
    return "".join(f", d{i}" for i in used)


def _define(source: str, function: Any) -> Any:
    """The callback as a Python function that numba can read; errors become a status."""
    from numba import carray

    head, rest = source.split("\n", 1)
    guarded = head + "\n    try:\n" + "\n".join("    " + line for line in rest.split("\n"))
    guarded += "\n    except Exception:\n        return 1\n"
    names: Mapping[str, Any] = {"f": function, "np": np, "carray": carray, "pointer": _pointer()}
    scope = dict(names)
    exec(compile(guarded, "<bayesmix callback>", "exec"), scope)
    return scope["callback"]


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
