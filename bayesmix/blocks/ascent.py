"""Expectation maximisation from many starts: short runs of all, long runs of the best."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bayesmix.errors import NotConverged
from bayesmix.protocols import Array, Design, HasEM, Params

SHORT, KEPT = 5, 5
"""Steps that every start is given, and how many of them go on."""
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
) -> tuple[Run, Array]:
    """The best of several runs, and the objective that each start reached.

    All starts get a few steps; the most promising go on to the end.
    """
    if design.n_obs > MANY:
        some = design.rows(np.sort(rng.choice(design.n_obs, SOME, replace=False)))
        runs, _ = _runs(model, some, model.em_starts(some, rng, restarts), max_iter, tolerance)
        starts = [run.params for run in runs]
    else:
        starts = model.em_starts(design, rng, restarts)
    report(0.5)
    runs, ends = _runs(model, design, starts, max_iter, tolerance)
    return runs[0], ends


def _runs(
    model: HasEM, design: Design, starts: list[Params], max_iter: int, tolerance: float
) -> tuple[list[Run], Array]:
    """The runs that went on, best first, and what every start reached."""
    short: list[tuple[Params, list[float]]] = []
    for start in starts:
        trace: list[float] = []
        short.append((steps(model, design, start, trace, SHORT, tolerance), trace))
    ends = np.array([trace[-1] for _, trace in short])
    sign = 1.0 if model.objective == "sse" else -1.0
    runs = []
    for i in np.argsort(sign * ends, kind="stable")[:KEPT]:
        params, trace = short[i]
        params = steps(model, design, params, trace, max_iter, tolerance)
        params, errors, slope = model.em_finish(params, design)
        trace.append(model.em_step(params, design)[1])
        runs.append(Run(params, np.array(trace), errors, slope))
        ends[i] = trace[-1]
    return sorted(runs, key=lambda run: sign * run.value), ends
