"""Full-batch training of networks: quasi-Newton ascents side by side; the best go on."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bayesmix import interrupts
from bayesmix.compiled.density import Target
from bayesmix.errors import NotConverged
from bayesmix.protocols import Array

_SHORT = 0.1
"""Share of its steps that every restart is given before the best goes on."""
_MEMORY = 30
_NOT_FINITE = 1e100
"""What the objective is where the likelihood is not finite: no line search goes there."""


@dataclass(frozen=True)
class Trained:
    """One run: its parameters on standard units, what it minimised, and the NLL per row by step.

    With weight decay the objective is the NLL and a penalty; runs are compared by the objective.
    """

    point: Array
    objective: float
    trace: Array

    @property
    def nll(self) -> float:
        """NLL per row at the end."""
        return float(self.trace[-1])


def train(
    densities: Sequence[Target],
    n_obs: Sequence[int],
    starts: Sequence[Sequence[Array]],
    max_iter: int,
    report: Callable[[float], None],
    decays: Array | float = 0.0,
) -> list[list[Trained]]:
    """For each member ascend from every one of its starts, and from the best in full.

    The densities are less ``decays`` / 2 times squared parameters, which the traces leave out.

    Returns
    -------
    The runs of each member, the one that was trained in full first.

    Raises
    ------
    NotConverged
        The likelihood of a member is not finite at any of its starts.
    """
    several = len(starts[0]) > 1
    short = max(1, round(_SHORT * max_iter)) if several else max_iter
    jobs = [(m, start) for m, own in enumerate(starts) for start in own]
    report(0.0)
    with interrupts.threads(os.cpu_count()) as (pool, proceed):
        # the compiled density runs without the interpreter lock
        quick = list(pool.map(
            lambda job: _climb(
                densities[job[0]], n_obs[job[0]], job[1], short, decays, proceed=proceed
            ),
            jobs,
        ))  # fmt: skip
        runs = [_sorted(quick, jobs, m) for m in range(len(starts))]
        report(short / max_iter)
        for m, own in enumerate(runs):
            if not np.isfinite(own[0].objective):
                raise NotConverged(
                    f"the likelihood{f' of member {m}' if len(runs) > 1 else ''} is not finite at "
                    "any start, from the first step on; look for targets with extreme values, or "
                    "raise floor"
                )
        if short < max_iter:
            watched = report if len(runs) == 1 else lambda share: None
            rest = [
                pool.submit(
                    _climb, densities[m], n_obs[m], own[0].point, max_iter - short, decays,
                    watched, proceed,
                )
                for m, own in enumerate(runs)
            ]  # fmt: skip
            runs = [[_joined(own[0], more.result()), *own[1:]]
                    for own, more in zip(runs, rest, strict=True)]  # fmt: skip
    return runs


def _sorted(
    runs: Sequence[Trained], jobs: Sequence[tuple[int, Array]], member: int
) -> list[Trained]:
    own = [run for run, job in zip(runs, jobs, strict=True) if job[0] == member]
    return sorted(own, key=lambda run: run.objective)


def _joined(first: Trained, more: Trained) -> Trained:
    return Trained(more.point, more.objective, np.concatenate([first.trace, more.trace[1:]]))


def ascend(density: Target, start: Array, max_iter: int) -> Array:
    """The point that one ascent of a log density reaches."""
    return _climb(density, 1, start, max_iter).point


def _climb(
    density: Target,
    n_obs: int,
    start: Array,
    max_iter: int,
    decays: Array | float = 0.0,
    report: Callable[[float], None] = lambda share: None,
    proceed: Callable[[], None] = lambda: None,
) -> Trained:
    trace: list[float] = []
    objective = _objective(density, n_obs, proceed)

    def nll(value: float, point: Array) -> float:
        return value - 0.5 * float((decays * point**2).sum()) / n_obs

    def record(intermediate_result: Any) -> None:
        trace.append(nll(float(intermediate_result.fun), intermediate_result.x))
        if len(trace) % 50 == 0:
            report(len(trace) / max_iter)

    first = objective(start)[0]
    if first == _NOT_FINITE:
        return Trained(start, np.inf, np.array([np.inf]))
    found = _minimised(objective, start, record, max_iter)
    return Trained(np.asarray(found.x), float(found.fun), np.array([nll(first, start), *trace]))


def ascended(
    density: Target,
    n_obs: int,
    start: Array,
    steps: int,
    seen: Callable[[Array], None],
    proceed: Callable[[], None],
) -> Array | None:
    """Where so many steps lead, ``seen`` being shown the point after each; None if nowhere."""
    objective = _objective(density, n_obs, proceed)
    if objective(start)[0] == _NOT_FINITE:
        return None
    found = _minimised(
        objective, start, lambda intermediate_result: seen(intermediate_result.x), steps
    )
    return np.asarray(found.x)


def _objective(
    density: Target, n_obs: int, proceed: Callable[[], None]
) -> Callable[[Array], tuple[float, Array]]:
    """Minus the density per row, and its gradient."""

    def objective(point: Array) -> tuple[float, Array]:
        proceed()
        value, gradient = density.log_density(point)
        if not np.isfinite(value):
            return _NOT_FINITE, np.zeros_like(point)
        return -value / n_obs, -gradient / n_obs

    return objective


def _minimised(
    objective: Callable[[Array], tuple[float, Array]],
    start: Array,
    record: Callable[..., None],
    max_iter: int,
) -> Any:
    from scipy.optimize import minimize

    return minimize(
        objective, start, jac=True, method="L-BFGS-B", callback=record,
        options={"maxiter": max_iter, "maxfun": 10 * max_iter, "maxcor": _MEMORY,
                 "ftol": 1e-12, "gtol": 1e-8},
    )  # fmt: skip
