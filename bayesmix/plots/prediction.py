"""What a mixture predicts: the whole distribution at each x, and whether the rows bear it out."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap, PowerNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from bayesmix import scoring
from bayesmix.errors import DataError
from bayesmix.plots import style
from bayesmix.plots.across import (
    Across,
    across,
    cut,
    data_key,
    dot_size,
    dots,
    keys,
    notes,
    number,
    thinned,
)
from bayesmix.plots.entries import one
from bayesmix.protocols import Array
from bayesmix.specs import check_count

_POINTS = 160
"""Values of the predictor at which a density is evaluated."""
_STRIDE = 4
"""Of these, where the density at the mean is looked at: every fourth."""
_LEVELS = 240
"""Values of the target at which a density is evaluated, at most."""
_SAMPLES = 200
"""Posterior draws behind a density or a cloud of outcomes."""
_DOTS = 2000
"""Outcomes drawn in a cloud."""
_LEAST = 0.05
"""Share of the highest density at the same x from which a local maximum is a mode."""
_DEEP = 0.5
"""Density at the mean, as a share of the highest at that x, below which the mean misleads."""
_STEP = 0.05
"""Share of the vertical axis that a mode moves between neighbouring x, at most."""
_BINS = 20
_MAP = ListedColormap(colormaps["Blues"](np.linspace(0, 0.8, 256)))
"""Light enough for points and lines on top of it."""


@style.styled
def predictive(fit: Any, predictor: str | None = None, *, draws: int | None = None) -> Figure:
    r"""The misleading predictive, mean and sd, beside the right one: outcomes by component.

    Left, :math:`E[y \mid x] \pm 2\,\mathrm{sd}[y \mid x]`, with the lowest density
    :math:`p(E[y \mid x] \mid x)` as a share of the highest density at the same x: where it is
    small, the mean is a value that hardly occurs. Right, outcomes simulated for the rows of the
    data, each from its own draw of the parameters, in the colour of the component it came from.
    The vertical axis is cut at the range of the data.

    Parameters
    ----------
    predictor
        The numeric predictor on the horizontal axis; None takes the first of the formula.
    draws
        Outcomes for each row; None takes as many as make about 2000.

    Raises
    ------
    MissingCapability
        The fit is no mixture.
    UnknownName, SpecError
        No such predictor; one that holds no numbers; ``draws`` below 1; not a fit.
    DataError
        The target is text.

    References
    ----------
    Bishop (1994), Mixture Density Networks, Aston University, NCRG/94/004.

    Examples
    --------
    >>> import bayesmix as bm
    >>> model = bm.MixtureOfExperts("target ~ x", n_experts=3)
    >>> fit = bm.fit(model, bm.datasets.one_to_many(), method="em", seed=1)
    >>> [panel.get_title("left").splitlines()[0] for panel in bm.plots.predictive(fit).axes]
    ['Misleading: mean ± 2 sd', 'Right: outcomes by expert']
    """
    along = across(fit, predictor, "predictive()", points=_POINTS)
    if draws is not None:
        check_count("predictive", "draws", draws)
    figure, grid = style.panels(1, 2, height=4.0, sharex=True, sharey=True)
    left, right = grid[0]
    for axes in (left, right):
        dots(axes, along, color=style.GREY, alpha=0.35)
        axes.set_xlabel(along.predictor)
    said = [_moments(left, along), _outcomes(right, along, draws)]
    cut(left, along)
    left.set_ylabel(along.target)
    keys(figure, _moment_keys(along), _outcome_keys(along))
    notes(figure, along, said)
    return figure


def _moments(axes: Axes, along: Across) -> str:
    """Mean and two standard deviations; a sentence on how far the band runs over the axis."""
    found = along.predicted()
    mean, sd = found["mean"].to_numpy(), found["sd"].to_numpy()
    low, high = mean - 2 * sd, mean + 2 * sd
    axes.fill_between(along.x, low, high, color=style.colour(4), alpha=0.35, linewidth=0)
    axes.plot(along.x, mean, color="black", linewidth=1.8)
    axes.set_title(_moments_title(along, lowest_at_mean(along, mean)))
    bottom, top = along.limits()
    if low.min() >= bottom and high.max() <= top:
        return ""
    return (
        "The vertical axis is cut at the range of the data: mean ± 2 sd runs from "
        f"{number(low.min())} to {number(high.max())}."
    )


def _moments_title(along: Across, lowest: float) -> str:
    kind = "probability" if along.is_count else "density"
    share = f"{100 * lowest:.0f} %" if lowest >= 0.01 else "under 1 %"
    verdict = "Misleading: mean ± 2 sd" if lowest < _DEEP else "Mean ± 2 sd"
    return f"{verdict}\nleast {kind} at the mean: {share} of peak"


def lowest_at_mean(along: Across, mean: Array) -> float:
    """Least density at the mean, as a share of the highest density at the same x."""
    at, density = densities(along, step=_STRIDE)
    nearest = np.abs(at / along.trials - mean[::_STRIDE, None]).argmin(axis=1)
    share = np.take_along_axis(density, nearest[:, None], axis=1)[:, 0] / density.max(axis=1)
    return float(share.min())


def _outcomes(axes: Axes, along: Across, draws: int | None) -> str:
    """Simulated outcomes by component; a sentence on those beyond the axis."""
    outcome, component = simulated(along, draws)
    for k in range(len(along.components)):
        mine = component == k
        axes.scatter(
            np.broadcast_to(along.at, mine.shape)[mine], outcome[mine], color=style.colour(k),
            s=dot_size(outcome.size), alpha=0.6, linewidths=0, rasterized=True,
        )  # fmt: skip
    axes.set_title(f"Right: outcomes by {along.dim}\nsimulated for every row from the fit")
    low, high = along.limits()
    beyond = int(((outcome < low) | (outcome > high)).sum())
    return f"{beyond} of {outcome.size:,} outcomes lie beyond the axis." if beyond else ""


def simulated(along: Across, draws: int | None) -> tuple[Array, Array]:
    """Outcomes on the vertical axis and their components, each (outcome, row)."""
    n = len(along.rows)
    wanted = draws or -(-_DOTS // n)
    kept = max(wanted, _SAMPLES)
    found = along.fit.sample(along.table, draws=kept)
    pick = (np.arange(wanted)[:, None] * (kept // wanted) + np.arange(n)) % kept
    outcome = found[along.fit.target].to_numpy() / along.row_trials
    return outcome[pick, np.arange(n)], found["component"].to_numpy()[pick, np.arange(n)]


def _moment_keys(along: Across) -> list[Any]:
    mean = style.key("mean", color="black", linewidth=1.8)
    band = Patch(color=style.colour(4), alpha=0.35, linewidth=0, label="± 2 sd")
    return [data_key(along, color=style.GREY), mean, band]


def _outcome_keys(along: Across) -> list[Line2D]:
    look = {"linestyle": "none", "marker": "o", "markersize": 4.5}
    return [style.key(n, color=style.colour(k), **look) for k, n in enumerate(along.components)]


@style.styled
def conditional_density(fit: Any, predictor: str | None = None) -> Figure:
    r"""The density :math:`p(y \mid x)` as a map, with its modes in y at each x, and the data.

    The colour scale is that of the square root, so that low densities show. A mode is a local
    maximum over y of at least 5 % of the highest density at the same x. The density is the average
    over draws, of at most 200; for counts it is a probability.

    Parameters
    ----------
    predictor
        The numeric predictor on the horizontal axis; None takes the first of the formula. Other
        numbers are held at their median, categories at the most frequent.

    Raises
    ------
    MissingCapability
        The fit is no mixture.
    UnknownName, SpecError
        No such predictor; one that holds no numbers; not a fit.
    DataError
        The target is text.

    Examples
    --------
    >>> import bayesmix as bm
    >>> model = bm.MixtureOfExperts("target ~ x", n_experts=3)
    >>> fit = bm.fit(model, bm.datasets.one_to_many(), method="em", seed=1)
    >>> bm.plots.conditional_density(fit).axes[1].get_ylabel()
    'density of target given x'
    """
    along = across(fit, predictor, "conditional_density()", points=_POINTS)
    at, density = densities(along)
    figure, grid = style.panels(1, 1, height=4.3)
    axes = grid[0, 0]
    top = float(np.quantile(density.max(axis=1), 0.98))
    look = {"cmap": _MAP, "norm": PowerNorm(0.5, 0, top)}
    image = axes.pcolormesh(along.x, at / along.trials, density.T, rasterized=True, **look)
    axes.grid(visible=False)
    bar = figure.colorbar(
        image, ax=axes, extend="max" if density.max() > top else "neither", pad=0.02
    )
    kind = "probability" if along.is_count else "density"
    bar.set_label(f"{kind} of {along.fit.target} given {along.predictor}")
    dots(axes, along, color="black", alpha=0.3, s=0.6 * dot_size(len(along.rows)))
    _draw_modes(axes, along, at, density)
    cut(axes, along)
    axes.set(xlabel=along.predictor, ylabel=along.target)
    label = f"mode: at least {100 * _LEAST:.0f} % of the highest {kind} at its {along.predictor}"
    line = style.key(label, color=style.colour(1), linewidth=1.3)
    style.legend(figure, [data_key(along, color="black", alpha=0.6), line])
    notes(figure, along)
    return figure


def densities(along: Across, *, step: int = 1) -> tuple[Array, Array]:
    """Values of the target over the vertical axis, and p(target | x) by (grid, value)."""
    _check_numbers(along)
    low, high = (end * along.trials for end in along.limits())
    at = np.linspace(low, high, _LEVELS)
    if along.is_count:
        most = along.trials if along.is_share else np.inf
        at = np.unique(np.linspace(max(low, 0), min(high, most), _LEVELS).round())
    found = thinned(along.fit, _SAMPLES).conditional_density(along.grid.iloc[::step], at)
    return at, found.transpose("obs", "at").to_numpy()


def _check_numbers(along: Across) -> None:
    """A density is asked for at numbers, which a target of text does not hold."""
    column = along.fit.data[along.fit.target]
    if column.dtype.kind not in "iufb":
        raise DataError(
            f"a density needs a target of numbers, and column {column.name!r} holds "
            f"{column.dtype} ({column.iloc[0]!r}): recode it to 0 and 1 before the fit"
        )


def modes(at: Array, density: Array, *, closed: tuple[bool, bool] = (False, False)) -> list[Array]:
    """Local maxima over ``at`` of at least 5 % of the highest, for each row of ``density``.

    ``closed`` says at which ends the support ends, so that a maximum there is one. Between values
    the density is read as a parabola in its logarithm, which is exact for a normal density.
    """
    rims = [np.full((len(density), 1), 0.0 if end else np.inf) for end in closed]
    padded = np.hstack([rims[0], density, rims[1]])
    higher = (density > padded[:, :-2]) & (density >= padded[:, 2:])
    high = density >= _LEAST * density.max(axis=1, keepdims=True)
    found = [np.flatnonzero(row) for row in higher & high]
    if any(closed):
        return [at[row] for row in found]
    return [_peaks(at, values, row) for values, row in zip(density, found, strict=True)]


def _peaks(at: Array, density: Array, places: Array) -> Array:
    """Where a parabola through three values of the log density is highest."""
    with np.errstate(divide="ignore"):
        logs = np.log(density)
    left, right = (logs[places + step] - logs[places] for step in (-1, 1))
    shift = 0.5 * (left - right) / (left + right)
    return at[places] + np.where(np.isfinite(shift), shift, 0.0) * (at[1] - at[0])


def _draw_modes(axes: Axes, along: Across, at: Array, density: Array) -> None:
    """Lines between modes of neighbouring x that are each other's nearest."""
    closed = (along.is_count, along.is_share)
    found = [row / along.trials for row in modes(at, density, closed=closed)]
    low, high = along.limits()
    reach = max(_STEP * (high - low), 1.01 / along.trials if along.is_count else 0.0)
    lines = [
        [(along.x[i], a), (along.x[i + 1], b)]
        for i, (here, there) in enumerate(pairwise(found))
        for a, b in matched(here, there, reach)
    ]
    look = {"colors": style.colour(1), "capstyle": "round", "linewidths": 1.3}
    axes.add_collection(LineCollection(lines, **look))


def matched(here: Array, there: Array, reach: float) -> list[tuple[float, float]]:
    """Pairs of values that are each other's nearest and at most ``reach`` apart."""
    if not len(here) or not len(there):
        return []
    gap = np.abs(here[:, None] - there)
    pairs = [(i, int(gap[i].argmin())) for i in range(len(here))]
    return [
        (float(here[i]), float(there[j]))
        for i, j in pairs
        if gap[:, j].argmin() == i and gap[i, j] <= reach
    ]


@style.styled
def residual_pit(fit: Any) -> Figure:
    r"""Probability integral transforms of the rows: flat if the fit predicts them rightly.

    Each row's place among 1000 outcomes that the fit predicts for it, in [0, 1]
    (:func:`bayesmix.scoring.pit`), is uniform if the row came from the same distribution. Any fit
    has this figure. It is of the rows that the fit was made from, which flatters it.

    Raises
    ------
    SpecError
        Not a fit.
    DataError
        The target is text.

    References
    ----------
    Czado, Gneiting & Held (2009), doi:10.1111/j.1541-0420.2009.01191.x.

    Examples
    --------
    >>> import bayesmix as bm
    >>> model = bm.MixtureOfExperts("target ~ x", n_experts=3)
    >>> fit = bm.fit(model, bm.datasets.one_to_many(), method="em", seed=1)
    >>> bm.plots.residual_pit(fit).axes[0].get_ylabel()
    'rows in bin'
    """
    values = scoring.pointwise_scores(one(fit, "residual_pit()"))["pit"].to_numpy()
    n_bins = int(np.clip(len(values) // 20, 5, _BINS))
    edges = np.linspace(0, 1, n_bins + 1)
    counts = np.histogram(values, edges)[0]
    single, joint = (count_band(len(values), n_bins, looks) for looks in (1, n_bins))
    figure, grid = style.panels(1, 1, height=3.3)
    axes = grid[0, 0]
    axes.axhspan(*joint, color=style.BAND, linewidth=0)
    axes.axhspan(*single, color="0.8", linewidth=0)
    axes.axhline(len(values) / n_bins, color=style.GREY, linewidth=0.8)
    axes.stairs(counts, edges, baseline=None, color=style.colour(0), linewidth=1.6)
    axes.set(xlabel=_pit_label(fit), ylabel="rows in bin", xlim=(0, 1), ylim=(0, None))
    axes.set_title(_pit_title(counts, joint))
    style.legend(figure, _pit_keys(n_bins))
    return figure


def count_band(n: int, n_bins: int, looks: int) -> tuple[float, float]:
    """Counts that a bin keeps with probability 95 %, or that as many bins as ``looks`` all keep.

    Each count is binomial(n, 1 / n_bins); several are held at level 5 % / looks each.
    """
    from scipy.stats import binom

    tail = 0.05 / (2 * looks)
    low, high = binom.ppf([tail, 1 - tail], n, 1 / n_bins)
    return float(low), float(high)


def _pit_label(fit: Any) -> str:
    return f"place of {fit.target} in its predicted distribution (PIT)"


def _pit_title(counts: Array, band: tuple[float, float]) -> str:
    outside = int(((counts < band[0]) | (counts > band[1])).sum())
    return (
        f"{outside} of {len(counts)} bins lie outside the band that all keep\n"
        "a hump in the middle: predicted too wide; high ends: too narrow; a slope: too high or low"
    )


def _pit_keys(n_bins: int) -> list[Any]:
    return [
        style.key("rows", color=style.colour(0), linewidth=1.6),
        style.key("expected", color=style.GREY, linewidth=0.8),
        Patch(color="0.8", label="one bin keeps with 95 %"),
        Patch(color=style.BAND, label=f"all {n_bins} keep with 95 %"),
    ]
