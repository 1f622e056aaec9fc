"""What every Python contestant shares: its arguments, its diagnosis, the line that stops the clock.

A contestant is a script called as ``SCRIPT SEED DRAWS OUT``. It fits the census, diagnoses the
fit, prints ``DIAGNOSED {json}`` (the clock stops when the parent reads that line) and only then
writes the draws to OUT, a CSV with one column for each of QUANTITIES and one for the chain.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np

Draws = dict[str, np.ndarray]
"""Quantity to draws, shape (chain, draw)."""

CHAINS = 4
CORES = 2
QUANTITIES = (
    *("a", "b", "sigma_a", "sigma_b", "corr"),
    *(f"intercept_{j}" for j in range(7)),
    *(f"slope_{j}" for j in range(7)),
)


def arguments() -> tuple[int, int, str]:
    """Seed, draws a chain, and the file for the draws."""
    seed, draws, out = sys.argv[1:4]
    return int(seed), int(draws), out


def quantities(a: Any, b: Any, sigmas: Any, corr: Any, coefs: Any) -> Draws:
    """Name the draws; ``sigmas`` ends in (2,), ``coefs`` in (7, 2), intercept before slope."""
    sigmas, coefs = np.asarray(sigmas), np.asarray(coefs)
    columns = [a, b, sigmas[..., 0], sigmas[..., 1], corr]
    columns += [coefs[..., j, k] for k in (0, 1) for j in range(7)]
    return {name: np.asarray(c) for name, c in zip(QUANTITIES, columns, strict=True)}


def diagnose(draws: Draws) -> dict[str, float]:
    """Worst R-hat and least bulk and tail ESS over all quantities, by ArviZ's array functions."""
    from arviz_stats.base import array_stats

    def each(statistic: Any, **options: Any) -> list[float]:
        return [float(statistic(x, chain_axis=0, draw_axis=1, **options)) for x in draws.values()]

    return {
        "rhat": max(each(array_stats.rhat)),
        "ess_bulk": min(each(array_stats.ess, method="bulk")),
        "ess_tail": min(each(array_stats.ess, method="tail", prob=(0.05, 0.95))),
    }


def stop_clock(**payload: Any) -> None:
    """Tell the parent that the fit is diagnosed."""
    print("DIAGNOSED " + json.dumps(payload), flush=True)


def write_draws(out: str, draws: Draws) -> None:
    """Write the draws, chain after chain."""
    n_chains, n_draws = draws["a"].shape
    table = {"chain": np.repeat(np.arange(n_chains), n_draws)}
    table |= {name: np.ravel(x) for name, x in draws.items()}
    np.savetxt(
        out,
        np.column_stack(list(table.values())),
        delimiter=",",
        header=",".join(table),
        comments="",
    )
