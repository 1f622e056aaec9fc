"""Values and levels that a fit is asked about, and the quantiles that answer."""

from __future__ import annotations

from typing import Any

import numpy as np

from bayesmix.errors import SpecError, brief
from bayesmix.protocols import Array, Design, HasComponents, Params


def check_levels(quantiles: Any, what: str = "quantiles") -> Array:
    """Levels of quantiles, or of intervals, numbers in (0, 1); anything else is a SpecError."""
    try:
        levels = np.asarray(quantiles, dtype=float)
    except (TypeError, ValueError, OverflowError):
        levels = np.empty(0)
    if levels.ndim != 1 or not len(levels) or not ((levels > 0) & (levels < 1)).all():
        raise SpecError(
            f"{what} must be numbers in (0, 1), such as (0.05, 0.95), got {brief(quantiles)}"
        )
    return levels


def check_values(values: Any) -> Array:
    """Finite numbers in one dimension.

    Raises
    ------
    SpecError
        Anything else.
    """
    try:
        found = np.atleast_1d(np.asarray(values, dtype=float))
    except (TypeError, ValueError, OverflowError):
        found = np.empty(0)
    if found.ndim != 1 or not len(found) or not np.isfinite(found).all():
        raise SpecError(f"give values of the target as finite numbers, got {brief(values)}")
    return found


def quantiles_of(model: HasComponents, params: Params, design: Design, levels: Array) -> Array:
    """Least values at which the distribution function, averaged over samples, reaches each level.

    Returns
    -------
    Array (level, obs). A row of which no finite value reaches the level has NaN.
    """
    from scipy.optimize import elementwise

    below, rows = model.cdf(params, design), np.arange(design.n_obs)
    mean, variance = model.moments(params, design)
    # the middle one of the samples: a few may be far out
    centre = np.median(mean, axis=0)
    width = 1e-3 * (1e-12 + np.abs(centre)) + np.sqrt(np.median(variance, axis=0))
    known = np.isfinite(centre) & np.isfinite(width)
    # where the moments are beyond all numbers, quantiles may not be
    centre, width = np.where(known, centre, 0.0), np.where(known, width, 1.0)
    found = np.empty((len(levels), design.n_obs))
    for i, level in enumerate(levels):

        def excess(at: Array, rows: Array, level: float = level) -> Array:
            if level <= 0.5:
                return below(at, rows).mean(axis=0) - level
            # 1 - level has digits that a probability near one has not
            return (1 - level) - below(at, rows, above=True).mean(axis=0)

        with np.errstate(over="ignore", invalid="ignore"):
            ends = elementwise.bracket_root(excess, centre - width, centre + width, args=(rows,))
            root = elementwise.find_root(excess, ends.bracket, args=(rows,))
        # where the function jumps, as that of counts does, the upper end has reached the level, and
        # so has the whole number that it lies a rounding error above
        reached = root.bracket[1]
        whole = np.floor(reached)
        reached = np.where(excess(whole, rows) >= 0, whole, reached)
        found[i] = np.where(root.success, reached, np.nan)
    return found
