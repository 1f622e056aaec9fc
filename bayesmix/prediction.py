"""Predictions row by row: pieces that fit in memory, quantiles, and rows far outside training."""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import pandas as pd
import xarray as xr

from bayesmix import interrupts
from bayesmix import rng as random
from bayesmix.errors import FarOutside, NoNumber, SpecError, brief
from bayesmix.protocols import Array, Design, HasComponents, Method, Model, Params
from bayesmix.specs import check_count

_CHUNK = 2_000_000
"""Largest (sample, obs) array that a prediction holds, 16 MB, where a block is not larger."""
BLOCK = 256
"""Rows that share a stream of random numbers, so that chunks of any size give the same outcomes."""
OUTCOMES = 1000
"""Outcomes behind a predictive quantile, at least; samples are reused where there are fewer."""
FAR = 1.0
"""Ranges of the training rows beyond which a warning tells of a row."""
_NAMED = 5
_USER = 4
"""Frames from a warning to who called the verb: the verb and the check of its arguments between."""


class Fitted(Protocol):
    """What tables and effects ask of a fit; :class:`bayesmix.Fit` is one."""

    @property
    def model(self) -> Model: ...

    @property
    def method(self) -> Method: ...

    @property
    def tree(self) -> xr.DataTree: ...

    @property
    def data(self) -> pd.DataFrame: ...

    @functools.cached_property
    def design(self) -> Design: ...

    def plausible(self, new_data: Any = None) -> tuple[Design, Params]:
        """The design of some rows, and parameters (sample, ...) that the data leave plausible."""
        ...

    def estimated(self, new_data: Any = None) -> tuple[Design, Params]:
        """The design of some rows, and every draw, or the estimate, for all of their groups."""
        ...


def picked(params: Params, samples: Array) -> dict[str, Array]:
    """Some of the samples."""
    return {name: values[samples] for name, values in params.items()}


def n_samples(params: Params) -> int:
    """How many samples there are."""
    return len(next(iter(params.values())))


def chosen(params: Params, draws: int | None, rows: int, seed: int) -> Array:
    """Which samples to use: each once, or as many as asked for, all as often as possible."""
    n = n_samples(params)
    draws = (n if n > 1 else 1000) if draws is None else check_count("sample", "draws", draws)
    numbers = rows + sum(values[0].size for values in params.values())
    require(f"sample(draws={draws}) of {rows} rows", 8.0 * draws * numbers)
    whole, rest = divmod(draws, n)
    extra = random.stream(seed, "sample").choice(n, rest, replace=False)
    return np.concatenate([np.tile(np.arange(n), whole), np.sort(extra)]).astype(np.int64)


def chunks(design: Design, n: int) -> Iterator[tuple[int, Design]]:
    """Whole blocks of rows, each with the number of its first row, for n samples."""
    size = max(1, _CHUNK // (n * BLOCK)) * BLOCK
    for start in range(0, design.n_obs, size):
        yield start, design.rows(slice(start, start + size))


def simulate(
    model: Model, params: Params, design: Design, seed: int, purpose: str, first: int
) -> dict[str, Array]:
    """Outcomes (sample, obs) of rows that start at number ``first``."""
    starts = range(0, design.n_obs, BLOCK)

    def block(start: int) -> dict[str, Array]:
        generator = random.stream(seed, f"{purpose} {first + start}")
        return model.simulate(params, design.rows(slice(start, start + BLOCK)), generator)

    first_block = block(0)
    shape = (n_samples(params), design.n_obs)
    found = {name: np.empty(shape, values.dtype) for name, values in first_block.items()}
    # of counts, a block with one beyond all whole numbers comes as floats
    wider: dict[tuple[str, int], Array] = {}

    def into(start: int) -> None:
        for name, values in (block(start) if start else first_block).items():
            if values.dtype == found[name].dtype:
                found[name][:, start : start + BLOCK] = values
            else:
                wider[name, start] = values

    if is_small(shape):
        for start in starts:
            into(start)
    else:  # random numbers and compiled loops run without the interpreter lock
        with interrupts.threads() as (pool, _):
            list(pool.map(into, starts))
    for (name, start), values in wider.items():
        found[name] = found[name].astype(float, copy=False)
        found[name][:, start : start + BLOCK] = values
    return found


def is_small(shape: tuple[int, int]) -> bool:
    """Whether threads would cost more than they save."""
    return bool(np.prod(shape) < _CHUNK)


def spread(mean: Array, variance: Array) -> Array:
    """Standard deviation over samples, of means and variances given each: (obs, ...)."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.sqrt(variance.mean(axis=0) + mean.var(axis=0))


def quantiles(values: Array, levels: Array) -> Array:
    """Quantiles over samples; between infinite ones, where nothing can be interpolated, the lower.

    ``values`` is (sample, obs, ...).
    """
    if np.isfinite(values).all():
        return np.quantile(values, levels, axis=0)
    with np.errstate(invalid="ignore"):
        found = np.quantile(values, levels, axis=0)
    steps = np.quantile(values, levels, axis=0, method="inverted_cdf")
    return np.where(np.isnan(found), steps, found)


def outside(trained: Design, new: Design) -> tuple[Array, list[str]]:
    """How far each new row lies outside the training rows, and sentences about the farthest.

    Returns
    -------
    distances
        Shape (obs,): 0 within the range of every numeric column, else the distance to it, in
        ranges, of the column where that is largest.
    sentences
        One for each column with a row more than :data:`FAR` ranges out.
    """
    distances, sentences = np.zeros(new.n_obs), []
    for name in _measured(trained, new):
        known = trained.columns[name].to_numpy(dtype=float)
        values, low, high = new.columns[name].to_numpy(dtype=float), known.min(), known.max()
        with np.errstate(all="ignore"):
            beyond = np.maximum(np.maximum(low - values, values - high), 0.0) / (high - low)
        beyond = np.nan_to_num(beyond, nan=0.0, posinf=np.inf)  # 0 / 0: a constant stays itself
        distances = np.maximum(distances, beyond)
        if (far := np.flatnonzero(beyond > FAR)).size:
            worst = int(beyond.argmax())
            sentences.append(
                f"{name!r} in {named(far)} ({values[worst]:.4g} in row {worst}, "
                f"{beyond[worst]:.2g} ranges beyond [{low:.4g}, {high:.4g}])"
            )
    return distances, sentences


def _measured(trained: Design, new: Design) -> list[str]:
    """Numeric predictors; numbers that only name groups have no range."""
    groups = {
        part
        for dim in trained.coords
        if dim.endswith("_group")
        for part in dim.removesuffix("_group").split(":")
    }
    return [
        str(name)
        for name in new.columns.columns
        if name in trained.columns
        and name not in (*trained.observed, *groups)
        and trained.columns[name].dtype.kind in "iuf"
    ]


def warn_outside(sentences: list[str]) -> None:
    """Tell of rows far outside training, once a call."""
    if sentences:
        warnings.warn(
            f"more than {FAR:g} range outside the training rows: {'; '.join(sentences)}. What is "
            "predicted there is the formula's and not the data's. The variable 'outside_training' "
            "of the result has the distance of every row; to silence this, filter "
            "bayesmix.errors.FarOutside",
            FarOutside,
            stacklevel=_USER,
        )


def warn_beyond(what: str, *values: Array) -> None:
    """Tell of rows (the last axis) where a result is not a finite number."""
    wrong = np.zeros(values[0].shape[-1], dtype=bool)
    for array in values:
        wrong |= ~np.isfinite(array).reshape(-1, array.shape[-1]).all(axis=0)
    if wrong.any():
        warnings.warn(
            f"{what} cannot be given as finite double precision numbers in "
            f"{named(np.flatnonzero(wrong))}; look at the predictors of these rows",
            NoNumber,
            stacklevel=_USER,
        )


def named(rows: Array) -> str:
    """``row 3``, ``rows 3, 4`` or ``rows 3, 4, ... (20 rows)``."""
    first = ", ".join(str(row) for row in rows[:_NAMED])
    if len(rows) > _NAMED:
        return f"rows {first}, ... ({len(rows)} rows)"
    return f"row{'s' if len(rows) > 1 else ''} {first}"


_SHARE = 0.5
"""Of the machine's memory: the rest is for the copies that a result is made of."""
_UNKNOWN = 8 * 2**30
"""Bytes, where the operating system does not say how much there is."""


def require(what: str, size: float) -> None:
    """Raise a SpecError where ``size`` bytes are more than half of the machine's memory.

    Examples
    --------
    >>> require("sample(draws=1000)", 8000)
    """
    limit = _SHARE * _installed()
    if size > limit:
        raise SpecError(
            f"{what} would take {size / 1e9:.3g} GB of memory, and this machine has "
            f"{_installed() / 1e9:.3g}; at most half of it is taken: ask for fewer draws, or for "
            "fewer rows at a time"
        )


def _installed() -> float:
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, OSError, ValueError):
        return float(_UNKNOWN)


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
