"""Expectation maximisation from many starts: short runs of all, long runs of the promising."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from bayesmix.errors import NotConverged
from bayesmix.protocols import Array, Design, HasEM, Params

SHORT, KEPT = 5, 2
"""Steps that every start is given; it goes on if fewer than so many before it got further."""
LOT = 10
"""Starts that share a stream of random numbers."""
ROUNDS = 5
"""Times that the best is moved about, at most."""
TRIED, LOOKED_AT, CHEAP = 1, 6, 1_500
"""Moves that are climbed from and looked at, at least; more where rows are fewer than the last."""
NEAR = 0.1
"""Log densities that agree so well in every row are of one maximum: a run there is not ended."""
GAIN = 1e-9
"""A relative gain below this is rounding: two runs that ended at one maximum."""
MANY, SOME = 20_000, 5_000
"""Beyond so many rows the starts compete on some of them, and only the best see all."""


@dataclass(frozen=True, eq=False)
class Run:
    """One EM run: where it ended, the objective by step, and what the finish said."""

    params: Params
    trace: Array
    errors: dict[str, Array]
    slope: float

    @property
    def value(self) -> float:
        """The objective at the end."""
        return float(self.trace[-1])


@dataclass(frozen=True, eq=False)
class Found:
    """What a search found.

    Parameters
    ----------
    best
        The best run.
    ends
        The objective that each start reached (restart,), after a few steps or at its end.
    optima, runs
        The objective at each distinct maximum, best first (optimum,), and the runs ended there.
    """

    best: Run
    ends: Array
    optima: Array
    runs: Array


def steps(
    model: HasEM, design: Design, params: Params, trace: list[float], count: int, tolerance: float
) -> Params:
    """Up to ``count`` EM steps; ``trace`` takes the objective before each.

    Raises
    ------
    NotConverged
        The objective is not a finite number.
    """
    for _ in range(count):
        params_after, value = model.em_step(params, design)
        if not np.isfinite(value):
            raise NotConverged(
                f"the {model.objective} became {value} at step {len(trace)}: look for predictors "
                "or targets of extreme size"
            )
        trace.append(value)
        if len(trace) > 1 and abs(value - trace[-2]) <= tolerance * (1e-300 + abs(value)):
            return params
        params = params_after
    return params


def best_runs(
    model: HasEM,
    design: Design,
    rng: np.random.Generator,
    *,
    restarts: int,
    max_iter: int,
    tolerance: float,
    report: Callable[[float], None] = lambda share: None,
) -> Found:
    """The best of several runs, and what the others found.

    Starts are judged one after the other, each by those before it alone, so that more starts try
    all that fewer try: a few steps for each, and to the end for one that is among the best so far.
    Each new best is moved about, too, for as long as that gains (:meth:`HasEM.em_moves`).
    """
    search = _Search(model, design, max_iter, tolerance)
    if design.n_obs > MANY:
        some = design.rows(np.sort(rng.choice(design.n_obs, SOME, replace=False)))
        rough = _Search(model, some, max_iter, tolerance)
        for done, start in enumerate(_starts(model, some, rng, restarts)):
            rough.look(start)
            report(0.5 * done / restarts)
        for run in rough.ladder:
            search.ends.append(search.climb(run.params, []).value)
        return search.found()
    for done, start in enumerate(_starts(model, design, rng, restarts)):
        search.look(start)
        report(done / restarts)
    return search.found()


def _starts(model: HasEM, design: Design, rng: np.random.Generator, count: int) -> Iterator[Params]:
    """Starts in lots, each with random numbers of its own: the first are the same of any count."""
    seen = 0
    for generator in rng.spawn(-(-count // LOT)):
        yield from model.em_starts(design, generator, LOT)[: count - seen]
        seen += LOT


class _Search:
    """The best run so far, and how it was come by."""

    def __init__(self, model: HasEM, design: Design, max_iter: int, tolerance: float) -> None:
        self.model, self.design = model, design
        self.max_iter, self.tolerance = max_iter, tolerance
        self.sign = 1.0 if model.objective == "sse" else -1.0
        self.ladder: list[Run] = []
        """Every run that was the best when it ended; the last is the best."""
        self.ends: list[float] = []
        self.runs: list[int] = []
        """Runs that ended at each maximum."""
        self._short: list[float] = []
        self._ended: list[tuple[Run, Array]] = []

    @property
    def best(self) -> Run:
        """The best run so far."""
        return self.ladder[-1]

    def found(self) -> Found:
        """All that there is to tell."""
        return Found(self.best, np.array(self.ends), *self.optima())

    def look(self, start: Params) -> None:
        """A few steps from a start; to the end, if it is among the best so far."""
        trace: list[float] = []
        params = self._steps(start, trace, SHORT)
        cost = self.sign * trace[-1]
        rank = sum(cost > other for other in self._short)
        self._short.append(cost)
        if rank >= KEPT:
            self.ends.append(trace[-1])
            return
        before = len(self.ladder)
        self.ends.append(self.climb(params, trace).value)
        if len(self.ladder) > before:
            self._move()

    def climb(self, params: Params, trace: list[float]) -> Run:
        """A run to its end, or to where another has been; the best so far, if it is."""
        for done in range(0, self.max_iter, SHORT):
            if (known := self._known(params)) is not None:
                return known
            before = len(trace)
            params = self._steps(params, trace, min(SHORT, self.max_iter - done))
            if len(trace) < before + SHORT or self._settled(trace):
                break
        params, errors, slope = self.model.em_finish(params, self.design)
        trace.append(self.model.em_step(params, self.design)[1])
        run = Run(params, np.array(trace), errors, slope)
        better = not self.ladder or self._gain(run.value) > GAIN
        if better:
            self.ladder.append(run)
        if not better and (known := self._known(params)) is not None:
            return known
        self._ended.append((run, self._by_row(params)))
        self.runs.append(1)
        return run

    def _settled(self, trace: list[float]) -> bool:
        return abs(trace[-1] - trace[-2]) <= self.tolerance * (1e-300 + abs(trace[-1]))

    def _known(self, params: Params) -> Run | None:
        """The run that ended where this one is going, seen by every row's density."""
        here = self._by_row(params)
        for i, (run, there) in enumerate(self._ended):
            if np.abs(here - there).max() < NEAR:
                self.runs[i] += 1
                return run
        return None

    def optima(self) -> tuple[Array, Array]:
        """The objective at each maximum that a run ended at, best first, and how many runs did."""
        values = np.array([run.value for run, _ in self._ended])
        order = np.argsort(self.sign * values, kind="stable")
        return values[order], np.array(self.runs)[order]

    def _by_row(self, params: Params) -> Array:
        one = {name: np.asarray(value)[None] for name, value in params.items()}
        return self.model.log_density(one, self.design)[0]

    def _move(self) -> None:
        """Move the best about and climb from the most promising places, for as long as it gains."""
        for _ in range(ROUNDS):
            before = len(self.ladder)
            tried: list[tuple[float, Params, list[float]]] = []
            plenty = CHEAP // self.design.n_obs
            moves = self.model.em_moves(self.best.params, self.design)
            for moved in moves[: LOOKED_AT * max(1, plenty)]:
                trace: list[float] = []
                with contextlib.suppress(NotConverged):  # a place that leads nowhere
                    params = self._steps(moved, trace, SHORT)
                    tried.append((self.sign * trace[-1], params, trace))
            for _, params, trace in sorted(tried, key=lambda one: one[0])[
                : max(TRIED, CHEAP // self.design.n_obs)
            ]:
                self.climb(params, trace)
            if len(self.ladder) == before:
                return

    def _steps(self, params: Params, trace: list[float], count: int) -> Params:
        return steps(self.model, self.design, params, trace, count, self.tolerance)

    def _gain(self, value: float) -> float:
        """How much better than the best, relative to its size."""
        return self.sign * (self.best.value - value) / (1.0 + abs(value))
