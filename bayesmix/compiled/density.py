"""A model's log posterior as native code: compiled once, kept on disk, fed with any data.

The target density lives on the unconstrained space. Its code depends on the spec, on the shapes of
the parameters and on versions, never on the numbers in the data: those are passed by pointer, so a
fit to new data, or in a new process, compiles nothing and does not even import PyMC.
"""

from __future__ import annotations

import ctypes
import dataclasses
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from bayesmix import interrupts
from bayesmix.compiled import callbacks, loops, native
from bayesmix.compiled.flatten import FlatGraph
from bayesmix.compiled.kernels import HasKernel, HasStandardKernel, Kernel
from bayesmix.errors import DataError
from bayesmix.protocols import Array, Design, HasPyMC
from bayesmix.specs import to_json


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
        Names and shapes of what the expansion writes: the reported parameters, or a kernel's free
        ones.
    report
        The reported parameters from a kernel's free ones, where they are others.
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
    report: Callable[[Mapping[str, Array]], dict[str, Array]] | None = None
    standard: bool = False

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

        def some(first: int, last: int, proceed: Callable[[], None]) -> None:
            for i in range(first, last):
                proceed()
                at = [base + i * stride for base, stride in zip(bases, strides, strict=True)]
                if density(self.n_dim, *at, table):
                    values[i], gradients[i] = -np.inf, 0.0

        cores = os.cpu_count() or 1
        cuts = np.linspace(0, len(points), cores + 1).astype(int)
        if cores == 1 or len(points) < 16:
            some(0, len(points), lambda: None)
        else:  # the callback runs without the interpreter lock
            with interrupts.threads(cores) as (pool, proceed):
                list(pool.map(some, cuts[:-1], cuts[1:], [proceed] * cores))
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
            return self.reported(self.split(points))
        flat = np.empty((len(points), self.n_expanded))
        for point, row in zip(points, flat, strict=True):
            self._expansion(
                self.n_dim,
                self.n_expanded,
                point.ctypes.data,
                row.ctypes.data,
                self.table.ctypes.data,
            )
        return self.reported(self.split(flat))

    def reported(self, outputs: dict[str, Array]) -> dict[str, Array]:
        """The reported parameters from :attr:`outputs`, which they are but for some kernels."""
        return outputs if self.report is None else self.report(outputs)

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


def target(
    model: HasPyMC, design: Design, *, jacobian: bool = True, standard: bool = False
) -> Target:
    """The target density of ``model`` given ``design``, compiled or recalled.

    Parameters
    ----------
    jacobian
        Include the log Jacobian of the transforms (a density over the unconstrained space, for
        sampling) or leave it out (a density over the parameters themselves, for their mode).
    standard
        Prefer coordinates in which the posterior is nearly standard, where the family knows some.
    """
    kernel = _kernel(model, design, jacobian, standard)
    return of_graph(model, design, jacobian=jacobian) if kernel is None else of_kernel(kernel)


def _kernel(model: HasPyMC, design: Design, jacobian: bool, standard: bool) -> Kernel | None:
    """The family's own loop, or None."""
    found = None
    if standard and isinstance(model, HasStandardKernel):
        found = model.standard_kernel(design)
    if found is None and isinstance(model, HasKernel):
        found = model.kernel(design, jacobian=jacobian)
    return found


def of_graph(model: HasPyMC, design: Design, *, jacobian: bool = True) -> Target:
    """The target that PyMC's graph states, differentiated and compiled, or recalled."""
    writers = tuple(sorted(_types(model), key=lambda kind: kind.__qualname__))
    code = native.code(
        _key(model, design, jacobian), writers, lambda: _graph(model, design, jacobian)
    )
    arrays = tuple(_input(design, *entry) for entry in code.layout["inputs"])
    density, expansion = code.callbacks
    return Target(
        code.layout["n_dim"],
        np.array(code.layout["initial"]),
        tuple((name, size) for name, size in code.layout["variables"]),
        tuple((name, tuple(shape)) for name, shape in code.layout["outputs"]),
        density,
        expansion,
        arrays,
        callbacks.table_of(arrays),
    )


def of_kernel(kernel: Kernel) -> Target:
    """The target of a hand-written loop: nothing to differentiate or transform."""
    sizes = tuple((name, int(np.prod(shape))) for name, shape in kernel.variables)
    n_dim = sum(size for _, size in sizes)
    types = tuple((str(a.dtype), a.ndim) for a in kernel.arrays)
    density, expansion = native.code(
        _kernel_key(kernel.function, types),
        (kernel.function,),
        lambda: (callbacks.kernel_sources(kernel), {}),
    ).callbacks
    initial = np.zeros(n_dim) if kernel.initial is None else kernel.initial
    free = kernel.expansion is None
    layout_of = (n_dim, initial, sizes, kernel.variables if free else kernel.outputs)
    table = callbacks.table_of(kernel.arrays)
    more = (kernel.reported, kernel.standard)
    return Target(*layout_of, density, expansion, kernel.arrays, table, free, *more)


@functools.cache
def _kernel_key(function: Any, types: tuple[tuple[str, int], ...]) -> str:
    """The key of a loop's density: which loop it is, and the types of its arrays."""
    return native.key_of(["kernel", loops.name_of(function), types])


def _key(model: HasPyMC, design: Design, jacobian: bool) -> str:
    layouts = {name: [str(array.dtype), array.ndim] for name, array in design.arrays.items()}
    sizes = {dim: len(labels) for dim, labels in design.coords.items()}
    shapes = {name: [sizes.get(dim, -1) for dim in design.dims[name]] for name in design.arrays}
    reported = list(model.dims(design).items())
    layout = [layouts, sizes, shapes, reported]
    return native.key_of(["model", to_json(model), layout, jacobian])


def _types(spec: Any) -> set[type]:
    """Classes of a spec and of what is in its fields: those that can write into its graph."""
    if isinstance(spec, (tuple, list)):
        return set().union(*map(_types, cast("Sequence[Any]", spec)))
    if not dataclasses.is_dataclass(spec):
        return set()
    fields = (getattr(spec, field.name) for field in dataclasses.fields(spec))
    return {type(spec)}.union(*map(_types, fields))


def _graph(
    model: HasPyMC, design: Design, jacobian: bool
) -> tuple[list[native.Source], dict[str, Any]]:
    """What is compiled of a model, and the layout of its arguments."""
    graph = FlatGraph(model, design, jacobian)
    names = ("n_dim", "variables", "outputs", "inputs")
    layout = {name: getattr(graph, name) for name in names}
    layout["initial"] = [float(value) for value in graph.initial]
    return [graph.density(), graph.expansion()], layout


def _input(design: Design, name: str, dtype: str, ndim: int) -> Array:
    array = design.arrays[name]
    if array.ndim != ndim:
        raise DataError(f"array {name!r} must have {ndim} dims, got {array.ndim}")
    cast = np.ascontiguousarray(array, dtype=dtype)
    if not np.array_equal(cast, array):
        raise DataError(f"values of {name!r} do not fit {dtype}: the largest is {array.max()}")
    return cast
