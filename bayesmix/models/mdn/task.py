"""A network with its data in standard units: what training works on, and the way back."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bayesmix.compiled.density import Target, of_kernel
from bayesmix.compiled.kernels import Kernel
from bayesmix.errors import DataError
from bayesmix.mixtures import algebra
from bayesmix.models.mdn.equation import (
    ACTIVATIONS,
    Network,
    NetworkUnits,
    activate,
    changes_of,
    first_layer,
    in_raw_units,
    units_of,
)
from bayesmix.models.mdn.line import Line, as_network
from bayesmix.priors import LOG_2PI, Normal
from bayesmix.protocols import Array, Design

_SLOPE = 2.0
"""Spread of the first layer's weights at a start, inputs having unit scale."""


@dataclass(frozen=True, eq=False)
class Trainable:
    """Inputs (obs, input) and targets (obs, output) of unit scale, and a network for them.

    Parameters
    ----------
    network
        On standard units; its ``floor`` is not used, :attr:`floors` (output,) are.
    units
        What was taken off and divided by.
    rows
        Positions of the rows that train: units and starts are made from these alone.
    """

    network: Network
    units: NetworkUnits
    floors: Array
    x: Array
    y: Array
    rows: Array

    @classmethod
    def of(cls, network: Network, x: Array, y: Array, rows: Array | None = None) -> Trainable:
        """Standardise by the rows that train; None means all.

        Raises
        ------
        DataError
            There are fewer rows than even a straight line with its noise has coefficients.
        """
        least = x.shape[1] + 2
        if len(x) < least:
            raise DataError(
                f"a network of {x.shape[1]} input(s) needs at least {least} rows, as many as a "
                f"straight line with its noise has coefficients, got {len(x)}; for its density to "
                "hold for new rows it takes many times as many"
            )
        rows = np.arange(len(x)) if rows is None else rows
        units = units_of(network, x[rows], y[rows])
        wide = network.fixed_scale / float(units.y_scale[0])
        return cls(
            replace(network, fixed_scale=wide if network.noise == "fixed" else 1.0),
            units, np.asarray(network.floor) / units.y_scale, (x - units.x_mean) / units.x_scale,
            (y - units.y_mean) / units.y_scale, rows,
        )  # fmt: skip

    @property
    def n_obs(self) -> int:
        """Rows, those held out included."""
        return len(self.x)

    @property
    def width(self) -> int:
        """Units of the widest layer."""
        return max(self.network.hidden, default=1)

    @property
    def n_free(self) -> int:
        """Number of parameters."""
        return sum(int(np.prod(shape)) for shape in self.network.shapes.values())

    @property
    def log_volume(self) -> float:
        """What a row's log density on the data as they are falls short of that on these units."""
        return float(np.log(self.units.y_scale).sum())

    @property
    def decays(self) -> Array:
        """One for each weight, zero for each bias, which no decay is for."""
        return np.concatenate(
            [
                np.full(int(np.prod(shape)), float(name.endswith("weight")))
                for name, shape in self.network.shapes.items()
            ]
        )

    def start(self, rng: np.random.Generator) -> Array:
        """Random parameters as one vector: units that bend where the data are.

        Weights and biases of the first layer put the bend of each unit at a row taken at random;
        heads start with locs at targets taken at random and scales of about one half.
        """
        few = rng.choice(self.rows, min(len(self.rows), 1000), replace=False)
        found, h = {}, self.x[few]
        shapes = self.network.shapes
        gain = 1.0
        for number, units in enumerate(self.network.hidden, start=1):
            w = gain * rng.normal(0, _SLOPE / np.sqrt(h.shape[1]), (units, h.shape[1]))
            at = h[rng.integers(len(h), size=units)]
            found |= {f"hidden_{number}_weight": w, f"hidden_{number}_bias": -(w * at).sum(axis=1)}
            before = h @ w.T + found[f"hidden_{number}_bias"]
            h = activate(self.network.activation, before)
            gain = _gain(before, h)
        for name in self.network.heads_present:
            shape = shapes[f"{name}_weight"]
            spread = (1.0 if name == "loc" else 0.5) / np.sqrt(shape[-1])
            found[f"{name}_weight"] = rng.normal(0, spread, shape)
            found[f"{name}_bias"] = rng.normal(0, 0.1, shape[:-1])
        found["loc_bias"] = self.y[rng.choice(self.rows, self.network.components)]
        if "scale_bias" in found:
            found["scale_bias"] = found["scale_bias"] - 0.5
        return np.concatenate([np.ravel(found[name]) for name in shapes])

    def split(self, flat: Array) -> dict[str, Array]:
        """A vector (..., n_free) cut into parameters of their full shapes."""
        found, position = {}, 0
        for name, shape in self.network.shapes.items():
            size = int(np.prod(shape))
            part = flat[..., position : position + size]
            found[name] = part.reshape((*flat.shape[:-1], *shape))
            position += size
        return found

    def raw(self, flat: Array) -> dict[str, Array]:
        """The parameters that give the same density on the data as they are."""
        return in_raw_units(self.network, self.split(flat), self.units)

    def likelihood(self, rows: Array | slice = slice(None), decay: float = 0.0) -> Target:
        """Log-likelihood of some rows, less ``decay`` / 2 times the sum of squared weights."""
        prior = np.stack([np.zeros(self.n_free), np.sqrt(decay) * self.decays])
        variables = (("weights", (self.n_free,)),)
        as_it_is = np.stack([np.ones(self.n_free), np.zeros(self.n_free)])
        arrays = _arrays(
            self.network, self.x[rows], self.y[rows], self.floors, prior, 0.0, as_it_is
        )
        return of_kernel(_kernel(arrays, variables))

    def log_density(self, point: Array, rows: Array) -> Array:
        """Log density (obs,) of some rows at one vector, on data as they are; in NumPy."""
        network = replace(self.network, floor=self._floor)
        params = {name: value[None] for name, value in self.split(point).items()}
        heads = network.heads(params, self.x[rows])
        parts = network.log_parts(heads, self.y[rows])
        return algebra.log_density(heads.log_weight, parts)[0] - self.log_volume

    @property
    def _floor(self) -> Any:
        """The floors as the equation in NumPy takes them: one, or one a target."""
        by_target = self.network.noise in ("diagonal", "full")
        return tuple(self.floors.tolist()) if by_target else float(self.floors[0])

    def line(self, trained: Array, rows: Array) -> Array:
        """Log density (obs,) of some rows by the straight line of others, on data as they are."""
        found = Line.of(self.network, self.floors, self.x[trained], self.y[trained])
        return found.log_density(self.x[rows], self.y[rows]) - self.log_volume

    def as_line(self, rows: Array) -> Array | None:
        """Parameters of a network that is the straight line of some rows; None if none is."""
        return as_network(self.network, self.floors, self.x[rows], self.y[rows])

    def in_torch(self, tensor: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
        """Log density in torch of the rows of each run, (run, obs), on standard units."""
        from bayesmix.models.mdn import in_torch as mdn_in_torch

        floors = tensor(self.floors)
        if self.network.noise in ("isotropic", "isotropic-shared"):
            floors = floors[:1]
        x, y = tensor(self.x), tensor(self.y)

        def log_density(points: Any, rows: Any) -> Any:
            weights = mdn_in_torch.split(self.network, points)
            return mdn_in_torch.log_density(self.network, weights, x[rows], y[rows], floors)

        return log_density


def _gain(before: Array, after: Array) -> float:
    """What makes the next layer's weights see units as spread out as those of tanh are.

    The spread of weights at a start was chosen for tanh. Without this, layers of ``"relu"`` would
    begin steeper one after another, and those of ``"sigmoid"`` ever flatter.
    """
    own, tanh = (np.sqrt(units.var(axis=0).mean()) for units in (after, np.tanh(before)))
    return float(tanh / own) if own > 0 else 1.0


def kernel_of(
    network: Network,
    design: Design,
    priors: Mapping[str, Normal],
    units: NetworkUnits,
    given: Collection[str],
    variables: tuple[tuple[str, tuple[int, ...]], ...],
) -> Kernel | None:
    """The compiled log joint density with its arrays; ``variables`` are names and shapes.

    Parameters
    ----------
    priors
        Of every parameter, in standard units but for those ``given``.

    Returns
    -------
    None where heads that are linear in the inputs have biases of both kinds: the loop takes either
    centred inputs or inputs as they are.
    """
    biases = [f"{name}_bias" in given for name in first_layer(network)]
    if any(biases) and not all(biases):
        return None
    shapes, constant = network.shapes, 0.0
    columns = []
    for name, prior in priors.items():
        size = int(np.prod(shapes[name]))
        columns.append(np.tile([[prior.loc], [1 / prior.scale]], (1, size)))
        constant -= size * (np.log(prior.scale) + 0.5 * LOG_2PI)
    x, y = design.arrays["X"], design.arrays["Y"]
    x = x if all(biases) else x - units.x_mean
    floors = np.broadcast_to(np.asarray(network.floor, dtype=float), (network.outputs,))
    changes = changes_of(network, units, given)
    changed = np.array([
        np.concatenate([change[i].ravel() for change in changes.values()]) for i in (0, 1)
    ])  # fmt: skip
    prior = np.concatenate(columns, axis=1)
    return _kernel(_arrays(network, x, y, floors, prior, constant, changed), variables)


def _kernel(
    arrays: tuple[Array, ...], variables: tuple[tuple[str, tuple[int, ...]], ...]
) -> Kernel:
    from bayesmix.models.mdn import in_numba

    return Kernel(in_numba.log_joint, arrays, variables)


def _arrays(
    network: Network, x: Array, y: Array, floors: Array, prior: Array, constant: float,
    changed: Array,
) -> tuple[Array, ...]:  # fmt: skip
    """What the compiled loop reads, in its order."""
    k, d = network.components, network.outputs
    shapes = network.shapes
    rows = [
        int(np.prod(shapes[f"{name}_bias"])) if f"{name}_bias" in shapes else 0
        for name in ("logit", "loc", "scale", "tril")
    ]
    own = np.arange(k)[:, None]
    which = {"isotropic": own + np.zeros(d, dtype=int), "isotropic-shared": np.zeros((k, d))}
    which |= {"fixed": np.zeros((k, d))}
    index = which.get(network.noise, own * d + np.arange(d)).astype(np.int64)
    settings = [float(ACTIVATIONS.index(network.activation)), network.fixed_scale, constant]
    scale_floors = np.empty(int(index.max()) + 1)
    scale_floors[index] = floors  # components that share a scale share its floor
    return (
        np.ascontiguousarray(y.T, dtype=float), np.ascontiguousarray(x.T, dtype=float),
        np.array([network.inputs, *network.hidden], dtype=np.int64),
        np.array(rows, dtype=np.int64), np.ascontiguousarray(index),
        np.array(network.pairs, dtype=np.int64).reshape(-1, 2), scale_floors,
        np.array(settings), np.ascontiguousarray(prior), np.ascontiguousarray(changed),
    )  # fmt: skip
