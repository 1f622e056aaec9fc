r"""Mixture density networks in NumPy: layers, heads, and the component densities they set.

With :math:`h_0 = x` and :math:`h_l = a(W_l h_{l-1} + b_l)`, the last layer h sets, for every
component k,

.. math:: \text{logit}_k = w_k^\top h + c_k, \quad \mu_k = V_k h + v_k, \quad
          \Sigma_k = L_k L_k^\top,

with L lower triangular, its diagonal :math:`\exp(\cdot) + \text{floor}`. How much of L is free is
the noise model: see :data:`NOISE`.

References
----------
Bishop (1994), Mixture density networks, Aston University NCRG/94/004.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import special

from bayesmix.mixtures import algebra
from bayesmix.priors import LOG_2PI
from bayesmix.protocols import Array, Params

NOISE = ("diagonal", "full", "isotropic", "isotropic-shared", "fixed")
"""A scale for each component and target; that and correlations; one scale for each component; one
scale for all components; a scale that is given."""
ACTIVATIONS = ("tanh", "relu", "sigmoid", "softplus")
_HELD = 4_000_000
"""Numbers in the largest array of one pass: 32 MB."""


class Heads(NamedTuple):
    """What the network sets for each sample and row.

    Log weights (sample, obs, component), locs and scales (sample, obs, component, output), and the
    entries of L below its diagonal (sample, obs, component, pair), row by row.
    """

    log_weight: Array
    loc: Array
    scale: Array
    tril: Array


@dataclass(frozen=True)
class Network:
    """The sizes of a network and its noise model.

    Parameters
    ----------
    inputs, outputs, components
        Numbers of columns in and of targets out, and of components.
    hidden
        Units of each hidden layer; none makes every head linear in the inputs.
    activation, noise
        One of :data:`ACTIVATIONS`, one of :data:`NOISE`.
    floor, fixed_scale
        Least scale, of each output where there are several; the scale of ``noise="fixed"``.
    """

    inputs: int
    outputs: int
    components: int
    hidden: tuple[int, ...]
    activation: str
    noise: str
    floor: float | tuple[float, ...]
    fixed_scale: float

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """Positions (row, column) below the diagonal of L."""
        if self.noise != "full":
            return ()
        return tuple((i, j) for i in range(self.outputs) for j in range(i))

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every parameter with its full shape, in the order of the equation."""
        found: dict[str, tuple[int, ...]] = {}
        wide = self.inputs
        for number, units in enumerate(self.hidden, start=1):
            found |= {f"hidden_{number}_weight": (units, wide), f"hidden_{number}_bias": (units,)}
            wide = units
        for name, lead in self._leads().items():
            found |= {f"{name}_weight": (*lead, wide), f"{name}_bias": lead}
        return found

    @property
    def heads_present(self) -> tuple[str, ...]:
        """Names of the heads that there are, of logit, loc, scale and tril."""
        return tuple(self._leads())

    def _leads(self) -> dict[str, tuple[int, ...]]:
        """The outputs of each head."""
        k, d = self.components, self.outputs
        scale = {"diagonal": (k, d), "full": (k, d), "isotropic": (k,), "isotropic-shared": ()}
        found: dict[str, tuple[int, ...]] = {"logit": (k,)} if k > 1 else {}
        found["loc"] = (k, d)
        if self.noise in scale:
            found["scale"] = scale[self.noise]
        if self.pairs:
            found["tril"] = (k, len(self.pairs))
        return found

    # --- the forward pass -------------------------------------------------------------------------

    def heads(self, params: Params, x: Array) -> Heads:
        """Everything that the network sets; x is (obs, input), params carry a sample axis."""
        parts = [self._heads(some, x) for some in self._slabs(params, len(x))]
        return Heads(*(np.concatenate(found) for found in zip(*parts, strict=True)))

    def _slabs(self, params: Params, n: int) -> Iterator[dict[str, Array]]:
        """The samples in pieces whose hidden layers fit in memory."""
        shapes, total = self.shapes, len(next(iter(params.values())))
        full = {name: np.reshape(params[name], (total, *shapes[name])) for name in shapes}
        wide = max(*self.hidden, self.components * self.outputs, 1)
        size = max(1, _HELD // (n * wide))
        for start in range(0, total, size):
            yield {name: value[start : start + size] for name, value in full.items()}

    def _heads(self, params: Params, x: Array) -> Heads:
        h = np.broadcast_to(x, (len(next(iter(params.values()))), *x.shape))
        for number in range(1, len(self.hidden) + 1):
            w, b = params[f"hidden_{number}_weight"], params[f"hidden_{number}_bias"]
            h = activate(self.activation, h @ w.transpose(0, 2, 1) + b[:, None])
        shape = (*h.shape[:2], self.components)
        logits = self._head(params, "logit", h) if self.components > 1 else np.zeros(shape)
        scale = np.broadcast_to(self._scale(params, h), (*shape, self.outputs))
        tril = self._head(params, "tril", h) if self.pairs else np.zeros((*shape, 0))
        return Heads(algebra.log_softmax(logits), self._head(params, "loc", h), scale, tril)

    def _head(self, params: Params, name: str, h: Array) -> Array:
        w, b = params[f"{name}_weight"], params[f"{name}_bias"]
        flat = w.reshape(len(w), -1, h.shape[2])
        out = h @ flat.transpose(0, 2, 1) + b.reshape(len(b), 1, -1)
        return out.reshape(*h.shape[:2], *b.shape[1:])

    def _scale(self, params: Params, h: Array) -> Array:
        """Scales that broadcast to (sample, obs, component, output)."""
        if self.noise == "fixed":
            return np.full((1, 1, 1, 1), self.fixed_scale)
        with np.errstate(over="ignore"):  # infinitely wide is as far as it goes
            scale = np.exp(self._head(params, "scale", h)) + np.asarray(self.floor)
        return scale.reshape(*scale.shape, *[1] * (4 - scale.ndim))

    # --- densities --------------------------------------------------------------------------------

    def log_parts(self, heads: Heads, y: Array) -> Array:
        """Log densities (sample, obs, component) of targets y (obs, output)."""
        z = self.whitened(heads, y[None, :, None, :] - heads.loc)
        return -0.5 * (z**2).sum(axis=3) - np.log(heads.scale).sum(axis=3) - self.constant

    @property
    def constant(self) -> float:
        """Minus the log density of a standard normal vector at zero."""
        return 0.5 * self.outputs * LOG_2PI

    def whitened(self, heads: Heads, residual: Array) -> Array:
        """z with L z = residual, by forward substitution."""
        z = residual / heads.scale
        for row in range(1, self.outputs if self.pairs else 0):
            for at, (i, j) in enumerate(self.pairs):
                if i == row:
                    z[..., i] -= heads.tril[..., at] * z[..., j] / heads.scale[..., i]
        return z

    def draw(self, rng: np.random.Generator, params: Params, x: Array) -> tuple[Array, Array]:
        """Targets (sample, obs, output) and their components (sample, obs)."""
        parts = [self._draw(rng, self._heads(some, x)) for some in self._slabs(params, len(x))]
        return np.concatenate([y for y, _ in parts]), np.concatenate([part for _, part in parts])

    def _draw(self, rng: np.random.Generator, heads: Heads) -> tuple[Array, Array]:
        part = algebra.choose(rng, heads.log_weight)
        drawn, scale, tril = (
            np.take_along_axis(values, part[..., None, None], axis=2)[:, :, 0]
            for values in (heads.loc, heads.scale, heads.tril)
        )
        z = rng.standard_normal(drawn.shape)
        drawn += scale * z
        for at, (i, j) in enumerate(self.pairs):
            drawn[..., i] += tril[..., at] * z[..., j]
        return drawn, part.astype(np.int32)

    def variances(self, heads: Heads) -> Array:
        """Marginal variance of each target in each component."""
        with np.errstate(over="ignore"):  # infinitely wide is as far as it goes
            found = heads.scale**2
        for at, (i, _) in enumerate(self.pairs):
            found[..., i] += heads.tril[..., at] ** 2
        return found


def activate(kind: str, a: Array) -> Array:
    """The activation function, elementwise."""
    if kind == "tanh":
        return np.tanh(a)
    if kind == "relu":
        return np.maximum(a, 0.0)
    return special.expit(a) if kind == "sigmoid" else np.logaddexp(0.0, a)


# --- coordinates ----------------------------------------------------------------------------------


class NetworkUnits(NamedTuple):
    """Means and scales that a network is trained in: each (input,) or (output,)."""

    x_mean: Array
    x_scale: Array
    y_mean: Array
    y_scale: Array


def units_of(network: Network, x: Array, y: Array) -> NetworkUnits:
    """Standard units of the data; noise models with one scale need one for all targets."""

    def scale(values: Array) -> Array:
        sd = values.std(axis=0)
        return np.where(sd > 1e-12 * np.abs(values).max(axis=0), sd, 1.0)

    y_scale = scale(y)
    if network.noise not in ("diagonal", "full"):
        y_scale = np.full_like(y_scale, np.sqrt((y_scale**2).mean()))
    return NetworkUnits(x.mean(axis=0), scale(x), y.mean(axis=0), y_scale)


def in_raw_units(
    network: Network, params: Params, units: NetworkUnits, given: Collection[str] = ()
) -> dict[str, Array]:
    """Parameters on data as they are from those on standard units: the same density, exactly.

    Parameters have their full shapes, with any leading axes. The scale's bias moves by log y_scale,
    so the floor must have been divided by it, target by target. Parameters that are ``given`` are
    on data as they are already.
    """
    changes = changes_of(network, units, given)
    found = {
        name: np.asarray(params[name], dtype=float) * factor + shift
        for name, (factor, shift) in changes.items()
    }
    for name in first_layer(network):
        if f"{name}_bias" not in given:
            found[f"{name}_bias"] = found[f"{name}_bias"] - found[f"{name}_weight"] @ units.x_mean
    return found


def in_standard_units(
    network: Network, params: Params, units: NetworkUnits, given: Collection[str] = ()
) -> dict[str, Array]:
    """The inverse of :func:`in_raw_units`."""
    found = {name: np.asarray(params[name], dtype=float) for name in network.shapes}
    for name in first_layer(network):
        if f"{name}_bias" not in given:
            found[f"{name}_bias"] = found[f"{name}_bias"] + found[f"{name}_weight"] @ units.x_mean
    changes = changes_of(network, units, given)
    return {name: (found[name] - shift) / factor for name, (factor, shift) in changes.items()}


def first_layer(network: Network) -> tuple[str, ...]:
    """The layer, or the heads, that take the inputs."""
    return ("hidden_1",) if network.hidden else network.heads_present


def changes_of(
    network: Network, units: NetworkUnits, given: Collection[str] = ()
) -> dict[str, tuple[Array, Array]]:
    """What each parameter is multiplied and moved by as data leave standard units, in full shape.

    Inputs stay centred: biases of the first layer have yet to move by W x_mean.
    """
    found: dict[str, tuple[Array, Array]] = {}
    inputs = {f"{name}_weight" for name in first_layer(network)}
    for name, shape in network.shapes.items():
        factor, shift = np.ones(()), np.zeros(())
        if name not in given:
            factor, shift = _target_change(network, name, units)
            factor = factor / units.x_scale if name in inputs else factor
        found[name] = np.broadcast_to(factor, shape), np.broadcast_to(shift, shape)
    return found


def _target_change(network: Network, name: str, units: NetworkUnits) -> tuple[Array, Array]:
    """What a parameter is multiplied and moved by as targets leave standard units."""
    one, none = np.ones(()), np.zeros(())
    kind, part = name.rsplit("_", 1)
    bias = part == "bias"
    if kind == "loc":
        return (units.y_scale, units.y_mean) if bias else (units.y_scale[:, None], none)
    if kind == "tril":
        rows = units.y_scale[[i for i, _ in network.pairs]]
        return (rows if bias else rows[:, None]), none
    if kind == "scale" and bias:
        own = units.y_scale if network.noise in ("diagonal", "full") else units.y_scale[0]
        return one, np.log(own)
    return one, none
