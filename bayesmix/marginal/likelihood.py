"""The marginal likelihood of a binomial model with group effects, in NumPy, with exact gradients.

The reading in torch (``models.binomial_glm.in_torch.MixedModel``) states the same equation and is
what tests hold this one to;
here the curvature is factorised by blocks and the derivatives of the mode
and of the determinant are written out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from bayesmix.errors import NotConverged
from bayesmix.marginal.curvature import Effects, Factorised, GroupCurvature
from bayesmix.marginal.outcomes import GroupedLogit, Reading, aggregated
from bayesmix.protocols import Array

MODE_DECREMENT = 1e-20
"""Squared Newton step, in units of the mode's spread, below which the mode stands to 1e-10."""

FAR = 1.0
"""A predicted move of a spherical effect, in its own spreads, beyond which it is not believed."""

MODE_STEPS = 100
"""Newton steps that the mode of a concave density never needs."""


@dataclass(frozen=True, eq=False)
class ConditionalMode:
    """The mode of the spherical effects at some parameters, and what was found on the way."""

    modes: list[Array]
    rows: list[Array]
    fixed: Array
    logits: Array
    reading: Reading
    curvature: Factorised | None

    @property
    def joint(self) -> float:
        """The log joint density of outcomes and effects, but for its constant."""
        return self.reading.value - 0.5 * sum(float((z**2).sum()) for z in self.modes)


class Marginal:
    r"""The Laplace approximation of the log marginal likelihood, as a function of one flat vector.

    .. math:: \log p(y) \approx \log p(y \mid \hat z) - \tfrac12 \|\hat z\|^2 - \tfrac12 \log\det H.

    The vector holds the common effects, then the lower triangle of each factor's T by rows. Signs
    of T are free, so that a variance of zero is an inner point.

    Parameters
    ----------
    data
        What is fitted.
    merge
        Count rows that repeat as one; the likelihood is the same.

    References
    ----------
    Bates et al. (2015), doi:10.18637/jss.v067.i01; Breslow & Clayton (1993), doi:10.2307/2290687.
    """

    def __init__(self, data: GroupedLogit, *, merge: bool = True) -> None:
        data = aggregated(data) if merge else data
        self.data = data
        self.outcome = data.outcome
        self.constant = data.constant
        self.n_common = data.common.shape[1]
        self._merge(data.effects)
        self.solver = GroupCurvature(self.groupings) if self.groupings else None
        self.last: ConditionalMode | None = None

    def _merge(self, effects: Sequence[Effects]) -> None:
        """One block a group for all factors of one grouping, and where their T entries stand."""
        members: list[list[Effects]] = []
        self.places: list[tuple[int, slice]] = []
        for factor in effects:
            same = (i for i, m in enumerate(members) if _same_groups(m[0], factor))
            where = next(same, len(members))
            if where == len(members):
                members.append([])
            start = sum(one.n_effects for one in members[where])
            members[where].append(factor)
            self.places.append((where, slice(start, start + factor.n_effects)))
        self.groupings = [
            Effects(np.column_stack([one.columns for one in m]), m[0].index, m[0].n_groups)
            for m in members
        ]
        self.entries = [
            (where, columns.start + a, columns.start + b)
            for where, columns in self.places
            for a, b in zip(*np.tril_indices(columns.stop - columns.start), strict=True)
        ]

    @property
    def n_free(self) -> int:
        """Length of the flat vector: what an information criterion counts."""
        return self.n_common + len(self.entries)

    def units(self) -> Array:
        """For each entry of T, what a logit at a typical row is in the predictor's units."""
        typical = [np.sqrt((g.columns**2).mean(axis=0)) for g in self.groupings]
        return np.array([1 / max(typical[where][a], 1e-300) for where, a, _ in self.entries])

    def factors(self, point: Array) -> list[Array]:
        """T of each grouping, lower triangular, with zeros between independent factors."""
        found = [np.zeros((g.n_effects, g.n_effects)) for g in self.groupings]
        for (where, a, b), value in zip(self.entries, point[self.n_common :], strict=True):
            found[where][a, b] = value
        return found

    def __call__(self, point: Array) -> tuple[float, Array]:
        """The approximated log-likelihood and its gradient."""
        at = self.at(point)
        score = at.reading.score
        if at.curvature is None:
            return at.joint + self.constant, self.data.common.T @ score
        leverage = at.curvature.inverse().applied(at.rows)
        moved = [score[:, None] * z[g.index] for g, z in zip(self.groupings, at.modes, strict=True)]
        value = at.joint + self.constant - 0.5 * at.curvature.log_det()
        return value, self.chained(at, score, moved, leverage, None)

    def profiled(self, point: Array) -> tuple[Array, Array]:
        """Slope and information of the common effects in the joint density at the mode."""
        at, common = self.at(point), self.data.common
        heavy = at.reading.weight[:, None] * common
        information = common.T @ heavy
        if at.curvature is not None:
            cross = [
                g.gathered(r[:, :, None] * heavy[:, None, :])
                for g, r in zip(self.groupings, at.rows, strict=True)
            ]
            for one, other in zip(cross, at.curvature.solve(cross), strict=True):
                information = information - np.einsum("gap,gaq->pq", one, other)
        return common.T @ at.reading.score, information

    def chained(
        self,
        at: ConditionalMode,
        score: Array,
        moved: list[Array],
        leverage: list[Array],
        pull: list[Array] | None,
    ) -> Array:
        r"""The gradient by the parameters, from those by the logits, the mode and H.

        Parameters
        ----------
        score
            Derivative by each row's fixed part, shape (obs,).
        moved
            Derivative by each row's coefficients :math:`T^\top s`: (obs, effect) a grouping.
        leverage
            :math:`2 G r_i`, where :math:`-\mathrm{tr}(G\,dH)` is the share of H in the objective.
        pull
            Derivative by the mode, where that is not zero.
        """
        assert at.curvature is not None
        at_mode, weight = at.reading.score, at.reading.weight
        heavy = sum((r * k).sum(1) for r, k in zip(at.rows, leverage, strict=True))
        bent = -0.5 * heavy * at.reading.slope
        right = [
            g.gathered(r * bent[:, None]) for g, r in zip(self.groupings, at.rows, strict=True)
        ]
        if pull is not None:
            right = [one + other for one, other in zip(right, pull, strict=True)]
        adjoint = at.curvature.solve(right)
        shift = bent - weight * self.along(at.rows, adjoint)
        gradient = [self.data.common.T @ (score + shift)]
        by_factor = []
        for g, z, v, k, m in zip(self.groupings, at.modes, adjoint, leverage, moved, strict=True):
            total = m + shift[:, None] * z[g.index] + at_mode[:, None] * v[g.index]
            by_factor.append(g.columns.T @ (total - weight[:, None] * k))
        gradient.append(np.array([by_factor[where][a, b] for where, a, b in self.entries]))
        return np.concatenate(gradient)

    def at(self, point: Array) -> ConditionalMode:
        """The mode at some parameters, by Newton steps from where the last one leads.

        Raises
        ------
        NotConverged
            No mode was found; the density is concave, so that the parameters are not numbers.
        """
        fixed = self.data.common @ point[: self.n_common] + self.data.offset
        rows = [g.columns @ t for g, t in zip(self.groupings, self.factors(point), strict=True)]
        if self.solver is None:
            return ConditionalMode([], [], fixed, fixed, self.outcome.read(fixed), None)
        at = self.placed(rows, fixed, self._predicted(rows, fixed))
        for _ in range(MODE_STEPS):
            curvature = self.solver.factorise(rows, at.reading.weight)
            slope = [
                g.gathered(r * at.reading.score[:, None]) - z
                for g, r, z in zip(self.groupings, rows, at.modes, strict=True)
            ]
            step = curvature.solve(slope)
            decrement = sum(float((s * g).sum()) for s, g in zip(step, slope, strict=True))
            if decrement < MODE_DECREMENT * (1 + abs(at.joint)):
                self.last = replace(at, curvature=curvature)
                return self.last
            at = self._moved(at, step)
        raise NotConverged(
            f"the mode of the group effects was not found in {MODE_STEPS} Newton steps"
        )

    def _predicted(self, rows: list[Array], fixed: Array) -> list[Array]:
        """The last mode, moved as the parameters have, by its derivative."""
        last = self.last
        if last is None or last.curvature is None:
            return [np.zeros((g.n_groups, g.n_effects)) for g in self.groupings]
        change = [new - old for new, old in zip(rows, last.rows, strict=True)]
        pushed = last.reading.weight * (fixed - last.fixed + self.along(change, last.modes))
        right = [
            g.gathered(c * last.reading.score[:, None] - r * pushed[:, None])
            for g, c, r in zip(self.groupings, change, last.rows, strict=True)
        ]
        step = last.curvature.solve(right)
        far = max(float(np.abs(s).max()) for s in step) > FAR
        return last.modes if far else [z + s for z, s in zip(last.modes, step, strict=True)]

    def held_slope(self, score: Array, modes: list[Array], own: int, moved: Array) -> Array:
        """Gradient by the parameters with the effects held, from those by the logits.

        ``moved`` is the derivative by each row's coefficients of the grouping ``own``, whose
        effects are not one value; those of the others are ``modes``.
        """
        gradient = [self.data.common.T @ score]
        by_factor = [
            g.columns.T @ (moved if f == own else score[:, None] * z[g.index])
            for f, (g, z) in enumerate(zip(self.groupings, modes, strict=True))
        ]
        gradient.append(np.array([by_factor[where][a, b] for where, a, b in self.entries]))
        return np.concatenate(gradient)

    def placed(self, rows: list[Array], fixed: Array, modes: list[Array]) -> ConditionalMode:
        """The outcomes at given effects, which need not be the mode."""
        logits = fixed + self.along(rows, modes)
        return ConditionalMode(modes, rows, fixed, logits, self.outcome.read(logits), None)

    def _moved(self, at: ConditionalMode, step: list[Array]) -> ConditionalMode:
        """The Newton step, halved until the joint density does not fall."""
        size, least = 1.0, at.joint - 1e-12 * (1 + abs(at.joint))
        while True:
            trial = [z + size * s for z, s in zip(at.modes, step, strict=True)]
            found = self.placed(at.rows, at.fixed, trial)
            if found.joint >= least or size < 1e-8:
                return found
            size /= 2

    def along(self, rows: list[Array], modes: list[Array]) -> Array:
        """The share of the groups in each row's logit."""
        total = np.zeros(len(self.data.offset))
        for g, row, z in zip(self.groupings, rows, modes, strict=True):
            for b in range(g.n_effects):
                total += row[:, b] * z[g.index, b]
        return total

    def conditional(self, point: Array) -> list[tuple[Array, Array]]:
        """Modes of the effects and conditional standard deviations, (group, effect) a factor."""
        at = self.at(point)
        if at.curvature is None:
            return []
        inverse, found = at.curvature.inverse(), []
        for where, t in enumerate(self.factors(point)):
            variance = np.einsum("ij,gjk,ik->gi", t, inverse.own(where), t)
            found.append((at.modes[where] @ t.T, np.sqrt(np.maximum(variance, 0.0))))
        return [
            tuple(part[:, columns] for part in found[where])  # type: ignore[misc]
            for where, columns in self.places
        ]

    def spreads(self, point: Array) -> list[tuple[Array, Array]]:
        """Standard deviations (effect,) and correlations (effect, effect) of each factor."""
        factors, found = self.factors(point), []
        for where, columns in self.places:
            t = factors[where][columns, columns]
            covariance = t @ t.T
            sigma = np.sqrt(np.diagonal(covariance))
            corr = covariance / np.maximum(np.outer(sigma, sigma), 1e-300)
            np.fill_diagonal(corr, 1.0)
            found.append((sigma, corr))
        return found


def _same_groups(one: Effects, other: Effects) -> bool:
    return one.n_groups == other.n_groups and np.array_equal(one.index, other.index)
