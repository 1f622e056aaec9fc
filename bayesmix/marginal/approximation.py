"""How far a marginal likelihood's approximation is from the integral that it stands for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bayesmix.marginal.likelihood import Marginal
from bayesmix.marginal.quadrature import Quadrature, nodes
from bayesmix.protocols import Array

NODES = {1: (25, 13), 2: (9, 6), 3: (5, 4)}
"""By effects of a group: nodes of the check, and fewer, whose difference says how sure it is."""

_FEW_NODES = {1: (9, 5), 2: (5, 4), 3: (4, 3)}
_MANY_ROWS = 200_000
"""Rows from which on groups are large, their integrands near Gaussian, and fewer nodes enough."""

_INNER_NODES = {1: 5, 2: 4, 3: 3}
"""Nodes by effects of a group where each draw of the others integrates the largest factor anew."""

_CENTRE_STEPS = 3
"""Newton steps from the joint mode to the others' own."""

DRAWS, _LEAST_DRAWS = 100, 8
"""Draws of the smaller factors' effects, and how few where rows are many."""

MAX_NOISE = 0.25
"""Relative error of a mean weight beyond which the draws say no more than that they differ."""

_READS = 20_000_000
"""Rows read at all draws and nodes together: a few seconds."""


@dataclass(frozen=True, eq=False)
class Accuracy:
    """The approximation at one point, held against a better one.

    Parameters
    ----------
    how
        ``"quadrature"`` or ``"importance"``.
    error
        Better value less the approximation, in nats.
    uncertainty
        What the better value may be off by itself; infinite where the draws cannot say.
    slope
        Gradient of the better value: zero at its own maximum.
    """

    how: str
    error: float
    uncertainty: float
    slope: Array

    @property
    def floor(self) -> float:
        """The error, less what is not sure of it."""
        return self.error - self.uncertainty


def accuracy(marginal: Marginal, point: Array, generator: np.random.Generator) -> Accuracy | None:
    """By quadrature for one grouping factor, else by importance weights; None without groups."""
    if not marginal.groupings:
        return None
    if len(marginal.groupings) == 1 and marginal.groupings[0].n_effects in NODES:
        return _by_quadrature(marginal, point)
    return _by_weights(marginal, point, generator)


def _by_quadrature(marginal: Marginal, point: Array) -> Accuracy:
    chosen = _FEW_NODES if len(marginal.data.offset) > _MANY_ROWS else NODES
    many, few = chosen[marginal.groupings[0].n_effects]
    value, slope = Quadrature(marginal.data, many)(point)
    rough = Quadrature(marginal.data, few).by_group(point).sum() + marginal.constant
    return Accuracy("quadrature", value - marginal(point)[0], float(abs(value - rough)), slope)


def _by_weights(marginal: Marginal, point: Array, generator: np.random.Generator) -> Accuracy:
    r"""Draws of the smaller factors' effects, weighted, with the largest factor integrated out.

    Given the others, the groups of the largest factor are independent, so that quadrature serves
    for them; the others are drawn from the Gaussian that Laplace reads them as. The gradient of a
    log marginal likelihood is the mean gradient of the joint density (Fisher's identity).
    """
    inner = _Inner(marginal, point)
    at, curvature, centre = inner.at, inner.curvature, inner.centre()
    values, slopes = [], []
    affordable = _READS // (len(marginal.data.offset) * len(inner.grid))
    count = min(DRAWS, max(_LEAST_DRAWS, affordable)) // 2
    for noise in _standard(generator, count, curvature.schur.shape[0]):
        moves = curvature.spread(inner.parts(noise))
        for sign in (1.0, -1.0):
            modes = [z + sign * m for z, m in zip(centre, moves, strict=True)]
            value, score, moved = inner(modes)
            values.append(value + 0.5 * float((noise**2).sum()))
            slopes.append(marginal.held_slope(score, modes, inner.pivot, moved))
    ratio = np.array(values) - (at.joint - 0.5 * curvature.log_det())
    ratio -= float(np.log(np.diagonal(curvature.schur)).sum())
    weight = np.exp(ratio - ratio.max())
    error = float(np.log(weight.mean()) + ratio.max())
    weight /= weight.sum()
    # the variance of a mean of weights is (n sum w^2 - 1) / n in units of its square
    relative = float(np.sqrt(max((weight**2).sum() - 1 / len(weight), 0.0)))
    uncertainty = 2 * relative if relative < MAX_NOISE else np.inf
    return Accuracy("importance", error, uncertainty, weight @ np.array(slopes))


def _standard(generator: np.random.Generator, count: int, size: int) -> Array:
    """Standard noise (draw, size), to be used with both signs, of unit variance as it is drawn.

    Means of quadratic functions are then those of the Gaussian itself, and gradients nearly so.
    """
    noise = generator.normal(size=(count, size))
    if count < 2 * size:
        return noise / np.sqrt((noise**2).mean(axis=0))
    return np.linalg.solve(np.linalg.cholesky(noise.T @ noise / count), noise.T).T


class _Inner:
    """The joint density with the largest factor integrated out, given the others' effects."""

    def __init__(self, marginal: Marginal, point: Array) -> None:
        assert marginal.solver is not None
        self.marginal, self.at, self.pivot = marginal, marginal.at(point), marginal.solver.pivot
        self.curvature: Any = self.at.curvature
        q = marginal.groupings[self.pivot].n_effects
        self.grid, self.log_weights = nodes(_INNER_NODES.get(q, 2), q)

    def parts(self, noise: Array) -> list[Array]:
        """Noise of the others as one array a factor, none for the largest."""
        solver: Any = self.marginal.solver
        shapes = [(g.n_groups, g.n_effects) for g in self.marginal.groupings]
        return [
            np.zeros(shape)
            if f == self.pivot
            else noise[solver.starts[f] : solver.starts[f] + np.prod(shape)].reshape(shape)
            for f, shape in enumerate(shapes)
        ]

    def centre(self) -> list[Array]:
        """Where the others' density is highest once the largest factor is integrated out."""
        modes = self.at.modes
        for _ in range(_CENTRE_STEPS):
            _, score, _ = self(modes)
            slope = [
                g.gathered(r * score[:, None]) - z
                for g, r, z in zip(self.marginal.groupings, self.at.rows, modes, strict=True)
            ]
            slope[self.pivot] = np.zeros_like(modes[self.pivot])
            step = self.curvature.solve(slope)
            modes = [z + s for z, s in zip(modes, step, strict=True)]
        return modes

    def __call__(self, modes: list[Array]) -> tuple[float, Array, Array]:
        """Log density, and its derivatives by the logits and by the largest factor's coefficients.

        ``modes`` of the largest factor are where the nodes are centred.
        """
        marginal, at, lower = self.marginal, self.at, self.curvature.lower
        own, others = marginal.groupings[self.pivot], list(modes)
        heights, scores, centres = [], [], []
        others[self.pivot] = np.zeros_like(modes[self.pivot])
        rest = at.fixed + marginal.along(at.rows, others)
        for x, log_weight in zip(self.grid, self.log_weights, strict=True):
            z = modes[self.pivot] + lower.transpose(0, 2, 1) @ x
            logits = rest + (at.rows[self.pivot] * z[own.index]).sum(axis=1)
            read = marginal.outcome.read(logits)
            inside = np.bincount(own.index, marginal.outcome.log_prob(logits), own.n_groups)
            heights.append(inside + log_weight + 0.5 * ((x**2).sum() - (z**2).sum(axis=1)))
            scores.append(read.score)
            centres.append(z)
        top = np.max(heights, axis=0)
        share = np.exp(np.array(heights) - top)
        total = share.sum(axis=0)
        share = share / total
        half_log_det = np.log(np.diagonal(lower, axis1=1, axis2=2)).sum()
        value = float((np.log(total) + top).sum() + half_log_det)
        value -= 0.5 * sum(float((z**2).sum()) for z in others)
        mine = [s * w[own.index] for s, w in zip(scores, share, strict=True)]
        moved = sum(m[:, None] * z[own.index] for m, z in zip(mine, centres, strict=True))
        return value, np.sum(mine, axis=0), np.asarray(moved)
