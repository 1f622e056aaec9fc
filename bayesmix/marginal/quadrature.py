"""The marginal likelihood of one grouping factor by adaptive Gauss-Hermite quadrature."""

from __future__ import annotations

from itertools import product

import numpy as np

from bayesmix.errors import SpecError
from bayesmix.marginal.likelihood import ConditionalMode, Marginal
from bayesmix.marginal.outcomes import GroupedLogit
from bayesmix.protocols import Array

MAX_NODES = 2000
"""Nodes of all effects of a group together; each reads every row twice."""


def nodes(count: int, n_effects: int) -> tuple[Array, Array]:
    r"""Nodes x (node, effect) and log weights, for integrals of :math:`e^{-|x|^2/2} f(x)`.

    The weights sum to one, as the density's own normal constant is divided out.
    """
    x, w = np.polynomial.hermite_e.hermegauss(count)
    grid = np.array(list(product(x, repeat=n_effects)))
    weights = np.array(list(product(w / np.sqrt(2 * np.pi), repeat=n_effects)))
    return grid, np.log(weights).sum(axis=1)


class Quadrature(Marginal):
    r"""Each group's integral on nodes about its mode, spread as its curvature says.

    .. math:: \log \int e^{f_g(z)} \frac{dz}{(2\pi)^{q/2}} \approx
              \log\sum_k \omega_k e^{f_g(\hat z_g + L_g^{-\top} x_k) + |x_k|^2/2} - \log|L_g|,

    with :math:`H_g = L_g L_g^\top`. One node is the Laplace approximation. The gradient is of this
    sum itself, nodes moving with mode and curvature.

    Parameters
    ----------
    data
        What is fitted; all of its factors have the same groups.
    n_points
        Nodes for each effect of a group.

    Raises
    ------
    SpecError
        Several grouping factors, or more nodes than are worth their time.

    References
    ----------
    Pinheiro & Bates (1995), doi:10.1080/10618600.1995.10474663.
    """

    def __init__(self, data: GroupedLogit, n_points: int) -> None:
        super().__init__(data)
        if len(self.groupings) != 1:
            raise SpecError(
                f"n_quadrature={n_points} is for one grouping factor, and this formula has "
                f"{len(self.groupings)}; leave n_quadrature at 1: diagnose() says how far that "
                "approximation is off"
            )
        q = self.groupings[0].n_effects
        if n_points**q > MAX_NODES:
            raise SpecError(
                f"n_quadrature={n_points} for {q} effects of a group makes {n_points**q} nodes, "
                f"above {MAX_NODES}; use at most {int(MAX_NODES ** (1 / q))}"
            )
        self.grid, self.log_weights = nodes(n_points, q)

    def __call__(self, point: Array) -> tuple[float, Array]:
        at = self.at(point)
        group_values, share = self._shares(at)
        assert at.curvature is not None
        lower, grouping = at.curvature.lower, self.groupings[0]
        n, q = at.rows[0].shape
        score, moved = np.zeros(n), np.zeros((n, q))
        pull, bend = np.zeros((grouping.n_groups, q)), np.zeros((grouping.n_groups, q, q))
        for x, weight in zip(self.grid, share, strict=True):
            z, logits = self._node(at, x)
            read = self.outcome.read(logits)
            mine = weight[grouping.index] * read.score
            score += mine
            moved += mine[:, None] * z[grouping.index]
            slope = grouping.gathered(at.rows[0] * mine[:, None]) - weight[:, None] * z
            pull += slope
            bend += x[:, None] * (lower @ slope[..., None]).transpose(0, 2, 1)
        half = 0.5 * (np.eye(q) + _symmetric(bend))
        stretch = 2 * lower.transpose(0, 2, 1) @ half @ lower
        leverage = [np.einsum("iab,ib->ia", stretch[grouping.index], at.rows[0])]
        gradient = self.chained(at, score, [moved], leverage, [pull])
        return float(group_values.sum()) + self.constant, gradient

    def by_group(self, point: Array) -> Array:
        """Each group's log marginal likelihood, without the constant: (group,)."""
        return self._shares(self.at(point))[0]

    def _shares(self, at: ConditionalMode) -> tuple[Array, Array]:
        """Log integrals by group, and each node's share of them (node, group)."""
        assert at.curvature is not None
        grouping = self.groupings[0]
        heights = np.empty((len(self.grid), grouping.n_groups))
        for k, (x, log_weight) in enumerate(zip(self.grid, self.log_weights, strict=True)):
            z, logits = self._node(at, x)
            inside = np.bincount(grouping.index, self.outcome.log_prob(logits), grouping.n_groups)
            heights[k] = inside + log_weight + 0.5 * ((x**2).sum() - (z**2).sum(axis=1))
        top = heights.max(axis=0)
        share = np.exp(heights - top)
        total = share.sum(axis=0)
        half_log_det = np.log(np.diagonal(at.curvature.lower, axis1=1, axis2=2)).sum(axis=1)
        return np.log(total) + top + half_log_det, share / total

    def _node(self, at: ConditionalMode, x: Array) -> tuple[Array, Array]:
        """Effects (group, effect) and logits (obs,) at a node."""
        assert at.curvature is not None
        z = at.modes[0] + at.curvature.lower.transpose(0, 2, 1) @ x
        return z, at.fixed + self.along(at.rows, [z])


def _symmetric(blocks: Array) -> Array:
    """The lower triangle of each block, mirrored."""
    lower = np.tril(blocks)
    return lower + np.tril(blocks, -1).transpose(0, 2, 1)
