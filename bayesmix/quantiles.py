"""Values and levels that a fit is asked about, and the quantiles that answer."""

from __future__ import annotations

from typing import Any

import numpy as np

from bayesmix.errors import SpecError
from bayesmix.protocols import Array, Design, HasComponents, Params


def check_levels(quantiles: Any) -> Array:
    """Levels of quantiles, numbers in (0, 1); anything else is a SpecError."""
    try:
        levels = np.asarray(quantiles, dtype=float)
    except (TypeError, ValueError):
        levels = np.empty(0)
    if levels.ndim != 1 or not len(levels) or not ((levels > 0) & (levels < 1)).all():
        raise SpecError(
            f"quantiles must be numbers in (0, 1), such as (0.05, 0.95), got {quantiles!r}"
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
    except (TypeError, ValueError):
        found = np.empty(0)
    if found.ndim != 1 or not len(found) or not np.isfinite(found).all():
        raise SpecError(f"give values of the target as finite numbers, got {values!r}")
    return found


def bisected(model: HasComponents, params: Params, design: Design, level: float) -> Array:
    """Where the predictive distribution function, averaged over samples, reaches a level."""
    mean, variance = model.moments(params, design)
    centre = np.median(mean, axis=0)
    width = 1e-3 * (1e-12 + np.abs(centre)) + np.sqrt(np.median(variance, axis=0))

    def share(at: Array) -> Array:
        return model.cdf(params, design, at).mean(axis=0)

    low, high = centre - width, centre + width
    for _ in range(200):
        outside = (share(low) > level) | (share(high) < level)
        if not outside.any():
            break
        width = np.where(outside, 2 * width, width)
        low, high = centre - width, centre + width
    for _ in range(80):
        middle = 0.5 * (low + high)
        below = share(middle) < level
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return high
