"""A second fit in the same process, on new counts of the same shape."""

from __future__ import annotations

from time import perf_counter

import numpy as np
import pandas as pd
from contract import arguments, stop_clock
from ours import FORMULA, PRIORS

import bayesmix as bm


def perturbed(census: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The census with up to three people in each row moved across the line."""
    moved = np.random.default_rng(seed).integers(-3, 4, len(census))
    high = (census["high"] + moved).clip(0, census["total"])
    return census.assign(high=high, low=census["total"] - high)


def main() -> None:
    """Fit twice; tell how long each took."""
    seed, _, _ = arguments()
    model, census = bm.BinomialGLM(FORMULA, PRIORS), bm.datasets.census()
    new = perturbed(census, seed)
    ticks = [perf_counter()]
    bm.fit(model, census, seed=seed, progress=False).diagnose()
    ticks.append(perf_counter())
    fit = bm.fit(model, new, seed=seed + 1, progress=False)
    ticks.append(perf_counter())
    fit.diagnose()
    ticks.append(perf_counter())
    stop_clock(
        first_diagnosed=ticks[1] - ticks[0],
        second=ticks[2] - ticks[1],
        second_diagnosed=ticks[3] - ticks[1],
    )


if __name__ == "__main__":
    main()
