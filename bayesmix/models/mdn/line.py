r"""The straight line: least squares with Gaussian noise, as a measure of networks and as a network.

.. math:: y = \hat B x + \hat b + \varepsilon, \qquad
          \varepsilon \sim \mathrm N(0, \hat\Sigma), \quad
          \hat\Sigma = \tfrac1n \sum_i \hat\varepsilon_i \hat\varepsilon_i^\top,

the maximum of the likelihood; without the noise model ``"full"`` only the diagonal of the matrix.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular

from bayesmix.models.mdn.equation import Network
from bayesmix.priors import LOG_2PI
from bayesmix.protocols import Array

_GENTLE = 0.01
"""Input of a unit that is to be linear, for a standard deviation: tanh is off by 3e-5 of it."""

_COLLINEAR = 1e-14
"""Variance, on standard units, that gives collinear targets a factor; the floors then take over."""


@dataclass(frozen=True, eq=False)
class Line:
    """Slopes (output, input), intercepts (output,) and the lower triangle of the noise's scale."""

    slopes: Array
    intercepts: Array
    lower: Array

    @classmethod
    def of(cls, network: Network, floors: Array, x: Array, y: Array) -> Line:
        """Of rows x (obs, input) and y (obs, output); scales have floors (output,)."""
        known = np.column_stack([np.ones(len(x)), x])
        found = np.linalg.lstsq(known, y)[0]
        left = y - known @ found
        spread = left.T @ left / len(x)
        if network.noise != "full":
            spread = np.diag(np.diag(spread))
        lower = np.linalg.cholesky(spread + _COLLINEAR * np.eye(len(spread)))
        own = np.arange(len(lower))
        lower[own, own] = np.maximum(lower[own, own], floors)
        return cls(found[1:].T, found[0], lower)

    def log_density(self, x: Array, y: Array) -> Array:
        """Of the targets of rows, (obs,)."""
        left = y - x @ self.slopes.T - self.intercepts
        z = solve_triangular(self.lower, left.T, lower=True)
        constant = np.log(np.diag(self.lower)).sum() + 0.5 * len(self.lower) * LOG_2PI
        return -0.5 * (z**2).sum(axis=0) - constant


def as_network(network: Network, floors: Array, x: Array, y: Array) -> Array | None:
    """Parameters of a network that is the line of some rows; None where none of these sizes is.

    In each layer one unit carries one target, so gently that its activation is linear; all
    components are alike.
    """
    line = Line.of(network, floors, x, y)
    units = min(network.hidden, default=network.outputs)
    free = network.noise in ("diagonal", "full") or (
        network.outputs == 1 and network.noise != "fixed"
    )
    if units < network.outputs or not free:
        return None
    found = {name: np.zeros(shape) for name, shape in network.shapes.items()}
    found["loc_bias"][:] = line.intercepts
    if network.hidden:
        _carry(network, line, found)
    else:
        found["loc_weight"][:] = line.slopes
    scale = np.diag(line.lower) - floors
    found["scale_bias"][...] = np.log(np.maximum(scale, 1e-3 * floors + 1e-12))
    if network.pairs:
        found["tril_bias"][:] = [line.lower[pair] for pair in network.pairs]
    return np.concatenate([np.ravel(found[name]) for name in network.shapes])


def _carry(network: Network, line: Line, found: dict[str, Array]) -> None:
    """Let the first units of each layer carry the line to the locs."""
    at, value, steep = _LINEAR_AT[network.activation]
    own = np.arange(network.outputs)
    size = np.linalg.norm(line.slopes, axis=1)
    size = np.where(size > 0, size, 1.0) * np.sqrt(network.inputs) / _GENTLE
    found["hidden_1_weight"][own] = line.slopes / size[:, None]
    found["hidden_1_bias"][own] = at
    for number in range(2, len(network.hidden) + 1):
        found[f"hidden_{number}_weight"][own, own] = 1 / steep
        found[f"hidden_{number}_bias"][own] = at - value / steep
    found["loc_weight"][:, own, own] = size / steep
    found["loc_bias"][:] -= size / steep * value


_LINEAR_AT = {
    "tanh": (0.0, 0.0, 1.0),
    "relu": (1.0, 1.0, 1.0),
    "sigmoid": (0.0, 0.5, 0.25),
    "softplus": (0.0, float(np.log(2)), 0.5),
}
"""Where an activation is linear: what goes in, what comes out, and its slope there."""
