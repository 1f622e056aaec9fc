"""The highest point of a marginal likelihood, and the information there.

Steps are taken in directions in which the information at a rough fit is the identity, so that a
predictor's units change nothing and a gradient is in nats a standard error.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bayesmix.errors import NotConverged
from bayesmix.marginal.approximation import Accuracy, accuracy
from bayesmix.marginal.likelihood import Marginal
from bayesmix.maxima.climb import Climb, Objective, best_of, climb
from bayesmix.protocols import Array

_SMALL = 0.05
"""A spread, in logits at a typical row, that is tried at zero."""

_EQUAL_NATS = 1e-8
"""What a spread of zero may lose where the climb ended beside it and not on it."""

_ROUGH = 1e-2
"""Gradient, in nats a standard error, at which a restart has shown where it leads: to 1e-4 nats."""

_JOINT_STEPS, _JOINT_DECREMENT = 30, 1e-3
"""Newton steps to a start, and the gain in nats that is worth no further one."""

_LEAST_SHARE = 1e-4
"""Share of a Newton step below which it is taken, whatever it does."""

_DIFFERENCE = 1e-3
"""Step of differences of an exact gradient, in standard errors or in logits."""

_LEAST_CURVATURE = 1e-2
"""Curvature by a spread, in nats a squared logit, below which a direction counts as flat."""

_ARTEFACT_NATS, _SMALL_START = 1.0, 0.1
"""Nats by which Laplace's value may be too high before another ascent starts at small spreads."""

_APART = 0.05
"""Nats between two ends that are not one."""

_THREADED = 1000
"""Size of a dense factor from which on threads of BLAS pay."""

_EVALUATIONS = 25
"""What an ascent takes: the progress bar's guess, no more."""


@dataclass(frozen=True, eq=False)
class Summit:
    """Where the best ascent ended.

    Parameters
    ----------
    point
        The parameters, in the objective's order.
    climb
        The best ascent; its gradient is in nats a standard error.
    values
        The value that each start reached.
    covariance
        Inverse of the observed information, zero for what stands on an edge, NaN where the data do
        not determine the parameters.
    edges
        True for entries of T that are zero.
    accuracy
        How far the likelihood's approximation is off there; None where nothing is approximated.
    """

    point: Array
    climb: Climb
    values: Array
    covariance: Array
    edges: Array
    accuracy: Accuracy | None


@dataclass(frozen=True)
class Climbing:
    """How an ascent is made: number of starts, steps and tolerance of each, what to do without."""

    restarts: int
    max_iter: int
    tolerance: float
    advice: str


def highest(
    objective: Marginal,
    climbing: Climbing,
    generator: np.random.Generator,
    report: Callable[[float], None],
) -> Summit:
    """Climb from several starts, the first at spreads of one logit, and keep the best.

    The best is the end with the highest likelihood by the better approximation of
    :func:`bayesmix.marginal.approximation.accuracy`: where Laplace's is at its worst, it can be
    many nats too high.

    Raises
    ------
    NotConverged
        No start reached a maximum.
    """
    with _threads(objective):
        frame = _Frame.around(objective, _first_start(objective))
        starts = [np.zeros(frame.directions.shape[1])]
        starts += [_moved(objective, frame, generator) for _ in range(climbing.restarts - 1)]
        climbs = [
            _ascent(frame, start, climbing, i, lambda done, i=i: report((i + done) / len(starts)))
            for i, start in enumerate(starts)
        ]
        ends = _ends(objective, frame, climbs, climbing, generator)
        best, found = max(ends, key=_standing)
        if best.slope > climbing.tolerance:
            best = _ascent(frame, best.point, climbing, 0, lambda _: None)
        best_of([best], climbing.advice)
        point, edges = _snapped(objective, frame.point(best.point), best.value)
        covariance = _covariance(objective, frame, point, edges)
    wrong = [end for end in ends if end[0].value > best.value + _APART]
    values = np.array([_corrected(one, wrong) for one in climbs])
    return Summit(point, best, values, covariance, edges, found)


def _threads(objective: Marginal) -> Any:
    """One thread for small matrices: more of them wait for one another, and for other programs."""
    from threadpoolctl import threadpool_limits

    small = objective.solver is None or objective.solver.n_dense < _THREADED
    return threadpool_limits(1 if small else None, user_api="blas")


def _ascent(
    frame: _Frame, start: Array, climbing: Climbing, i: int, tell: Callable[[float], None]
) -> Climb:
    """The first to its end, the others until it is clear where they lead."""
    tolerance = climbing.tolerance if i == 0 else max(climbing.tolerance, _ROUGH)
    watched = _watched(frame, tell)
    return climb(watched, start, max_iter=climbing.max_iter, tolerance=tolerance)


_End = tuple[Climb, Accuracy | None]


def _ends(
    objective: Marginal,
    frame: _Frame,
    climbs: list[Climb],
    climbing: Climbing,
    generator: np.random.Generator,
) -> list[_End]:
    """Where the ascents lead that may be the best, and how far off the objective is there."""
    seed = generator.integers(2**32)

    def judged(one: Climb) -> _End:
        # the same draws for each, so that ends are compared and not draws
        return one, accuracy(objective, frame.point(one.point), np.random.default_rng(seed))

    first = judged(max(climbs, key=lambda one: one.value))
    if first[1] is None:
        return [first]
    if first[1].error < -_ARTEFACT_NATS:
        small = frame.origin.copy()
        small[objective.n_common :] *= _SMALL_START
        start = frame.coordinates(_joint_mode(objective, small))
        climbs = [*climbs, _ascent(frame, start, climbing, 0, lambda _: None)]
    return [first, *(judged(one) for one in _distinct(climbs) if one is not first[0])]


def _standing(end: _End) -> float:
    """What an end's value is worth: by the better approximation, as far as that is sure."""
    return end[0].value + (end[1].floor if end[1] else 0.0)


def _corrected(one: Climb, wrong: list[_End]) -> float:
    """An ascent's value, by the better approximation where the objective led it too high."""
    errors = [end[1].error for end in wrong if end[1] and abs(end[0].value - one.value) <= _APART]
    return one.value + errors[0] if errors else one.value


def _distinct(climbs: list[Climb]) -> list[Climb]:
    """The highest of the ends that are one, from the highest down."""
    kept: list[Climb] = []
    for one in sorted(climbs, key=lambda one: -one.value):
        if np.isfinite(one.value) and all(k.value - one.value > _APART for k in kept):
            kept.append(one)
    return kept


@dataclass(frozen=True, eq=False)
class _Frame:
    """Coordinates in which the information at ``origin`` is the identity, for free entries."""

    objective: Objective
    origin: Array
    information: Array
    units: Array
    directions: Array

    @classmethod
    def around(cls, objective: Marginal, origin: Array) -> _Frame:
        """The common effects' information by algebra, the spreads' by differences."""
        information = _information(objective, origin)
        own = np.diagonal(information)[: objective.n_common]
        units = np.concatenate([1 / np.sqrt(np.maximum(own, 1e-300)), objective.units()])
        whole = cls(objective, origin, information, units, np.empty(0))
        return whole.restricted(np.ones(len(origin), dtype=bool))

    def restricted(self, free: Array) -> _Frame:
        """The same frame for some of the entries."""
        scaled = self.units[:, None] * self.information * self.units
        values, vectors = np.linalg.eigh(scaled[np.ix_(free, free)])
        directions = np.zeros((len(free), int(free.sum())))
        directions[free] = vectors / np.sqrt(np.maximum(np.abs(values), _LEAST_CURVATURE))
        return replace(self, directions=self.units[:, None] * directions)

    def point(self, x: Array) -> Array:
        return self.origin + self.directions @ x

    def coordinates(self, point: Array) -> Array:
        return np.linalg.lstsq(
            self.directions / self.units[:, None], (point - self.origin) / self.units, rcond=None
        )[0]

    def __call__(self, x: Array) -> tuple[float, Array]:
        """Value and gradient; minus infinity where there is none, so that a step backs off."""
        try:
            with np.errstate(all="ignore"):
                value, gradient = self.objective(self.point(x))
        except (NotConverged, np.linalg.LinAlgError):
            return -np.inf, np.zeros_like(x)
        return value, self.directions.T @ gradient


def _watched(objective: Objective, tell: Callable[[float], None]) -> Objective:
    """The objective, which tells how far its ascent has come by its number of evaluations."""
    count = 0

    def counted(x: Array) -> tuple[float, Array]:
        nonlocal count
        count += 1
        tell(min(count / _EVALUATIONS, 0.95))
        return objective(x)

    return counted


def _first_start(objective: Marginal) -> Array:
    """Spreads of one logit, and the common effects at the mode of the joint density."""
    diagonal = np.array([float(a == b) for _, a, b in objective.entries])
    spreads = diagonal * objective.units()
    return _joint_mode(objective, np.concatenate([np.zeros(objective.n_common), spreads]))


def _moved(objective: Marginal, frame: _Frame, generator: np.random.Generator) -> Array:
    """Spreads multiplied at random; without groups, common effects moved by an error or so."""
    p, point = objective.n_common, frame.origin.copy()
    if p == len(point):
        return generator.normal(size=p)
    point[p:] *= np.exp(generator.normal(size=len(point) - p))
    return frame.coordinates(_joint_mode(objective, point))


def _joint_mode(objective: Marginal, point: Array) -> Array:
    """Common effects at the mode of the joint density, by Newton's method on its profile."""
    point = point.copy()
    for _ in range(_JOINT_STEPS):
        slope, information = objective.profiled(point)
        step = np.linalg.lstsq(information, slope, rcond=None)[0]
        size = 1.0 if objective.data.link == "logit" else _bearable(objective, point, step)
        point[: objective.n_common] += size * step
        if step @ slope < _JOINT_DECREMENT:
            break
    return point


def _bearable(objective: Marginal, point: Array, step: Array) -> float:
    """The share of a Newton step that does not lower the joint density.

    Behind a logit's step the density falls in a straight line and the next step returns; behind a
    cloglog's it falls like an exponential, from which Newton's method comes back one by one.
    """
    least, size = objective.at(point).joint, 1.0
    while size > _LEAST_SHARE:
        trial = point.copy()
        trial[: objective.n_common] += size * step
        if objective.at(trial).joint >= least:
            break
        size /= 2
    return size


def _information(objective: Marginal, point: Array) -> Array:
    p, n = objective.n_common, len(point)
    information = np.zeros((n, n))
    information[:p, :p] = objective.profiled(point)[1]
    slope = objective(point)[1] if n > p else np.empty(0)
    for j in range(p, n):
        shift = np.zeros(n)
        shift[j] = _DIFFERENCE * objective.units()[j - p]
        column = (slope - objective(point + shift)[1]) / shift[j]
        information[:, j] = information[j] = column
    return information


def _snapped(objective: Marginal, point: Array, value: float) -> tuple[Array, Array]:
    """Entries of T that are as good at zero set to zero, and which ones those are."""
    p, edges = objective.n_common, np.zeros(len(point), dtype=bool)
    least = value - _EQUAL_NATS - 1e-13 * abs(value)
    for row in _rows(objective):
        for at in row:
            if abs(point[p + at]) > _SMALL * objective.units()[at]:
                break
            trial = point.copy()
            trial[p + at] = 0.0
            if objective(trial)[0] < least:
                break
            point, edges[p + at] = trial, True
    return point, edges


def _rows(objective: Marginal) -> list[list[int]]:
    """Positions of the entries of each row of T, from the diagonal to the left."""
    rows: dict[tuple[int, int], list[int]] = {}
    for at, (where, a, _) in enumerate(objective.entries):
        rows.setdefault((where, a), []).insert(0, at)
    return list(rows.values())


def _covariance(objective: Marginal, frame: _Frame, point: Array, edges: Array) -> Array:
    """Inverse observed information of what stands on no edge, by differences of the gradient."""
    local = replace(frame.restricted(~edges), origin=point)
    reach = np.abs(local.directions[objective.n_common :]) / objective.units()[:, None]
    steps = _DIFFERENCE / np.maximum(1.0, reach.max(axis=0, initial=0.0))
    columns = []
    for j, step in enumerate(steps):
        shift = np.zeros(len(steps))
        shift[j] = step
        columns.append((local(-shift)[1] - local(shift)[1]) / (2 * step))
    information = np.stack(columns, axis=1) if columns else np.zeros((0, 0))
    information = 0.5 * (information + information.T)
    values, vectors = np.linalg.eigh(information)
    if not np.isfinite(values).all() or (values <= 1e-8 * values.max(initial=0.0)).any():
        return np.full((len(point), len(point)), np.nan)
    return local.directions @ ((vectors / values) @ vectors.T) @ local.directions.T
