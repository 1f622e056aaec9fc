"""Full-batch training of a network: quasi-Newton ascents side by side, the best of which goes on."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from bayesmix.blocks.target import Target
from bayesmix.errors import NotConverged
from bayesmix.protocols import Array

_SHORT = 0.1
"""Share of its steps that every restart is given before the best goes on."""
_MEMORY = 30


@dataclass(frozen=True)
class Trained:
    """One run: its parameters on standard units, the NLL per row that it ended at and by step."""

    point: Array
    nll: float
    trace: Array


def train(
    density: Target,
    n_obs: int,
    starts: Sequence[Array],
    max_iter: int,
    report: Callable[[float], None],
) -> list[Trained]:
    """Ascend from every start; the most promising first, trained in full.

    Raises
    ------
    NotConverged
        The likelihood is not finite at any start.
    """
    short = max_iter if len(starts) == 1 else max(1, round(_SHORT * max_iter))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        # the compiled density runs without the interpreter lock
        runs = list(pool.map(lambda start: _climb(density, n_obs, start, short), starts))
    runs.sort(key=lambda run: run.nll)
    report(short / max_iter)
    best = runs[0]
    if not np.isfinite(best.nll):
        raise NotConverged(
            "the likelihood is not finite at any start, from the first step on; look for targets "
            "with extreme values, or raise floor"
        )
    if max_iter > short:
        last = _climb(density, n_obs, best.point, max_iter - short, report)
        best = Trained(last.point, last.nll, np.concatenate([best.trace, last.trace[1:]]))
    return [best, *runs[1:]]


def _climb(
    density: Target,
    n_obs: int,
    start: Array,
    max_iter: int,
    report: Callable[[float], None] = lambda share: None,
) -> Trained:
    from scipy.optimize import minimize

    trace: list[float] = []

    def objective(point: Array) -> tuple[float, Array]:
        value, gradient = density.log_density(point)
        finite = np.isfinite(value)
        return (-value / n_obs, -gradient / n_obs) if finite else (1e100, np.zeros_like(point))

    def record(intermediate_result: object) -> None:
        trace.append(float(intermediate_result.fun))  # type: ignore[attr-defined]
        if len(trace) % 50 == 0:
            report(len(trace) / max_iter)

    first = objective(start)[0]
    if first == 1e100:
        return Trained(start, np.inf, np.array([np.inf]))
    found = minimize(
        objective, start, jac=True, method="L-BFGS-B", callback=record,
        options={"maxiter": max_iter, "maxfun": 10 * max_iter, "maxcor": _MEMORY,
                 "ftol": 1e-12, "gtol": 1e-8},
    )  # fmt: skip
    return Trained(np.asarray(found.x), float(found.fun), np.array([first, *trace]))


def train_members(
    densities: Sequence[Target],
    n_obs: Sequence[int],
    starts: Sequence[Array],
    max_iter: int,
    report: Callable[[float], None],
) -> list[Trained]:
    """Ascend once on each density, side by side.

    Raises
    ------
    NotConverged
        A member's likelihood is not finite at its start.
    """
    done: list[int] = []

    def one(density: Target, n: int, start: Array) -> Trained:
        found = _climb(density, n, start, max_iter)
        done.append(1)
        report(len(done) / len(starts))
        return found

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        runs = list(pool.map(one, densities, n_obs, starts))
    wrong = [i for i, run in enumerate(runs) if not np.isfinite(run.nll)]
    if wrong:
        raise NotConverged(f"the likelihood of member {wrong[0]} is not finite at its start")
    return runs
