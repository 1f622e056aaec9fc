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

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import special

from bayesmix.blocks import mixtures
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
        Least scale; the scale of ``noise="fixed"``.
    """

    inputs: int
    outputs: int
    components: int
    hidden: tuple[int, ...]
    activation: str
    noise: str
    floor: float
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
        return Heads(mixtures.log_softmax(logits), self._head(params, "loc", h), scale, tril)

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
            scale = np.exp(self._head(params, "scale", h)) + self.floor
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
        part = mixtures.choose(rng, heads.log_weight)
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


class Units(NamedTuple):
    """Means and scales that a network is trained in: each (input,) or (output,)."""

    x_mean: Array
    x_scale: Array
    y_mean: Array
    y_scale: Array


def units_of(network: Network, x: Array, y: Array) -> Units:
    """Standard units of the data; noise models with one scale need one for all targets."""

    def scale(values: Array) -> Array:
        sd = values.std(axis=0)
        return np.where(sd > 1e-12 * (1 + np.abs(values).max(axis=0)), sd, 1.0)

    y_scale = scale(y)
    if network.noise not in ("diagonal", "full"):
        y_scale = np.full_like(y_scale, np.sqrt((y_scale**2).mean()))
    return Units(x.mean(axis=0), scale(x), y.mean(axis=0), y_scale)


def in_raw_units(network: Network, params: Params, units: Units) -> dict[str, Array]:
    """Parameters on data as they are from those on standard units: the same density, exactly.

    Parameters have their full shapes, without a sample axis. The scale's bias moves by log y_scale,
    so the floor must have been divided by it, target by target.
    """
    found = {name: np.array(params[name], dtype=float) for name in network.shapes}
    first = ["hidden_1"] if network.hidden else list(network.heads_present)
    for name in first:
        weight = found[f"{name}_weight"] / units.x_scale
        found[f"{name}_weight"] = weight
        found[f"{name}_bias"] = found[f"{name}_bias"] - weight @ units.x_mean
    for kind in ("weight", "bias"):
        wide = units.y_scale if kind == "bias" else units.y_scale[:, None]
        found[f"loc_{kind}"] = found[f"loc_{kind}"] * wide
        if network.pairs:
            rows = units.y_scale[[i for i, _ in network.pairs]]
            found[f"tril_{kind}"] = found[f"tril_{kind}"] * (
                rows if kind == "bias" else rows[:, None]
            )
    found["loc_bias"] = found["loc_bias"] + units.y_mean
    if "scale_bias" in found:
        own = units.y_scale if network.noise in ("diagonal", "full") else units.y_scale[0]
        found["scale_bias"] = found["scale_bias"] + np.log(own)
    return found
