"""A PyMC model flattened: its log density and reported parameters as functions of one vector."""

from __future__ import annotations

from typing import Any

import numpy as np

from bayesmix.compiled.callbacks import arguments, callback
from bayesmix.errors import SpecError, listed
from bayesmix.protocols import DATA, Design, HasPyMC


class FlatGraph:
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

        from bayesmix.compiled.products import with_products

        flat = with_products(clone_replace(outputs, self.pieces))
        function: Any = pytensor.function([self.point], flat, mode="NUMBA")
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
    value, slope = f(x{arguments(used)})
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
    values = f(x{arguments(used)})[0]
    for i in range({size}):
        out[i] = values[i]
    return 0
"""
        return self._callback("dim, size", "out", body, function, used)

    def _callback(
        self, sizes: str, results: str, body: str, function: Any, used: list[int]
    ) -> tuple[Any, Any]:
        return callback(sizes, results, body, function, self.inputs, used)


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
