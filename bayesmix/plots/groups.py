"""Groups: how far each is pulled towards the population, and how an effect differs between them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from bayesmix.errors import SpecError, UnknownName, brief, listed
from bayesmix.plots import rows, style
from bayesmix.plots.entries import one
from bayesmix.protocols import Array
from bayesmix.tree.read import require_draws

_ARROW = {"arrowstyle": "-|>", "color": style.GREY, "lw": 0.8, "shrinkA": 0, "shrinkB": 0}


@style.styled
def shrinkage(
    fit: Any,
    *,
    by: str | None = None,
    effect: str | None = None,
    labels: rows.Labels | None = None,
) -> Figure:
    r"""How far partial pooling moves each group from its own data towards the population.

    The observed log-odds of a group, :math:`\log(y / (n - y))`, have the standard error
    :math:`\sqrt{1 / y + 1 / (n - y)}`. Groups are sorted by it: those whose data say least
    move most. The posterior is of the same quantity, the log-odds of the group's expected share;
    the population's is that share without the group's deviation. A group with no successes or no
    failures has one half added to both.

    Parameters
    ----------
    by
        The grouping factor; it may be left out when there is one.
    effect
        A predictor with two values: show the difference of log-odds between them instead.
    labels
        Names to print by column and value.

    Raises
    ------
    NoDraws, UnknownName, SpecError, MissingCapability
        A point estimate; no such factor or column; an effect without exactly two values; a family
        without successes and trials.

    References
    ----------
    Efron & Morris (1975), doi:10.1080/01621459.1975.10479864.

    Examples
    --------
    >>> import bayesmix as bm
    >>> model = bm.BinomialGLM("p(high, total) ~ sex + (1 | edu)")
    >>> fit = bm.fit(model, bm.datasets.census(), method=bm.NUTS(draws=200), seed=1)
    >>> bm.plots.shrinkage(fit, by="edu").axes[0].get_yticklabels()[0].get_text()
    'Doctorate'
    """
    require_draws(one(fit, "shrinkage()").tree, "shrinkage()")
    factor = rows.grouping_factor(fit, by, "shrinkage()")
    names = rows.check_labels(labels, fit.data)
    cells = rows.cells(fit, "shrinkage()")
    sides, quantity = _sides(cells, effect, names)
    params, population = rows.draws_and_population(fit, factor)
    index, levels = cells.of_group(factor), rows.group_levels(fit, factor)
    n_groups = len(levels)
    logit, error = observed(cells, index, n_groups, sides)
    posterior = expected(cells, cells.curves(params)["probability"], index, n_groups, sides)
    target = expected(cells, cells.curves(population)["probability"], index, n_groups, sides)
    finite = [g for g in np.argsort(-error, kind="stable") if np.isfinite(error[g])]
    order, more = rows.page(finite, "those whose own data say least")
    ticks = [rows.printed(factor, levels[g], names) for g in order]
    figure, axes = _shrinkage_panels(ticks, factor, quantity)
    for y, g in enumerate(order):
        _shrink(axes, y, float(logit[g]), float(error[g]), posterior[:, g], target[:, g].mean())
    axes[1].set_xlim(0, 1.08 * axes[1].dataLim.x1)
    style.sentence(figure, more)
    return figure


def _sides(cells: rows.Cells, effect: str | None, names: rows.Labels) -> tuple[list[Array], str]:
    """Cells that are compared: all of them, or those with the high and the low value."""
    if effect is None:
        return [np.ones(len(cells.table), dtype=bool)], "log-odds"
    rows.check_column(effect, cells.table, "effect")
    low, high = two_values(cells.table[effect], "choose a predictor with two values")
    sides = [(cells.table[effect] == value).to_numpy() for value in (high, low)]
    return sides, f"difference of log-odds, {contrast(effect, low, high, names)}"


def two_values(column: pd.Series, remedy: str) -> tuple[Any, Any]:
    """The two values of a predictor, in order."""
    found = rows.levels(column)
    if len(found) != 2:
        raise SpecError(
            f"effect {column.name!r} has {len(found)} values and two are compared; {remedy}"
        )
    return found[0], found[1]


def _low_and_high(column: pd.Series, values: Any) -> tuple[Any, Any]:
    """The values asked for, or the two that the predictor has."""
    if values is None:
        return two_values(column, "give values=(low, high)")
    if not isinstance(values, (tuple, list)) or len(values) != 2 or values[0] == values[1]:
        raise SpecError(f"values must be two different values, low and high, got {brief(values)}")
    absent = [value for value in values if value not in set(column)]
    if absent and column.dtype.kind not in "iuf":
        raise UnknownName(
            f"values: column {column.name!r} never holds {listed(absent)}, "
            f"only {listed(rows.levels(column))}"
        )
    return values[0], values[1]


def contrast(effect: str, low: Any, high: Any, names: rows.Labels) -> str:
    """What a difference is of: ``male - female``, or ``sex 1 - 0`` without names."""
    first, second = (rows.titled(effect, value, names) for value in (high, low))
    return f"{first} \N{MINUS SIGN} {second}"


def observed(
    cells: rows.Cells, index: Array, n_groups: int, sides: list[Array]
) -> tuple[Array, Array]:
    """Log-odds of each group's counts, or their difference between sides, and standard errors."""
    value, variance = np.zeros(n_groups), np.zeros(n_groups)
    for sign, side in zip((1, -1), sides, strict=False):
        yes = np.bincount(index[side], cells.successes[side], n_groups)
        no = np.bincount(index[side], (cells.trials - cells.successes)[side], n_groups)
        empty = (yes + no) == 0
        added = np.where((yes == 0) | (no == 0), 0.5, 0.0)
        value += sign * np.log((yes + added) / (no + added))
        variance += 1 / (yes + added) + 1 / (no + added)
        variance[empty] = np.nan
    return value, np.sqrt(variance)


def expected(
    cells: rows.Cells, probability: Array, index: Array, n_groups: int, sides: list[Array]
) -> Array:
    """The same of expected counts, (sample, group)."""
    value = np.zeros((len(probability), n_groups))
    for sign, side in zip((1, -1), sides, strict=False):
        member = np.eye(n_groups)[index[side]]
        with np.errstate(invalid="ignore"):
            expected = (probability[:, side] * cells.trials[side]) @ member
            share = np.clip(expected / (cells.trials[side] @ member), 1e-300, 1 - 1e-16)
        value += sign * np.log(share / (1 - share))
    return value


def _shrinkage_panels(ticks: list[str], factor: str, quantity: str) -> tuple[Figure, Array]:
    height = max(2.6, 0.38 * len(ticks) + 1.2)
    figure, grid = style.panels(1, 2, height=height, sharey=True, width_ratios=(2, 1))
    left, right = grid[0]
    style.named_rows(left, ticks)
    left.set(xlabel=quantity, ylabel=factor)
    right.set_xlabel("distance, log-odds")
    left.locator_params(axis="x", nbins=6)
    right.locator_params(axis="x", nbins=4)
    open_square = {"color": style.colour(1), "marker": "s", "ms": 4.5, "mfc": "white"}
    moved = {"color": style.colour(2), "marker": "D", "ms": 4.5}
    handles = [
        style.key("observed ± 1 standard error", lw=1.1, **open_square),
        style.key(
            "posterior mean, 50 % and 90 % interval",
            color=style.colour(0),
            marker="o",
            ms=5,
            lw=1.1,
        ),
        style.key("population mean", color="black", linestyle="--", lw=1),
        style.key("standard error", ls="none", **open_square),
        style.key("distance moved", ls="none", **moved),
    ]
    style.legend(figure, handles, columns=3)
    return figure, grid[0]


def _shrink(
    axes: Array, y: int, observed: float, error: float, posterior: Array, target: float
) -> None:
    left, right = axes
    centre = float(posterior.mean())
    left.plot([target, target], [y - 0.5, y + 0.5], color="black", linestyle="--", linewidth=1)
    orange = {"color": style.colour(1), "marker": "s", "mfc": "white", "ms": 4.5}
    left.plot([observed - error, observed + error], [y - 0.18] * 2, color=style.colour(1), lw=1.1)
    left.plot(observed, y - 0.18, label="observed", **orange)
    style.interval(left, y + 0.18, posterior, 0, size=5, label="posterior")
    left.annotate(
        "", (centre, y + 0.1), (observed, y - 0.1),
        arrowprops=_ARROW,
    )  # fmt: skip
    right.plot(error, y, linestyle="none", label="standard error", clip_on=False, **orange)
    right.plot(
        abs(centre - observed), y, "D", color=style.colour(2), ms=4.5, label="moved", clip_on=False
    )


@style.styled
def effect_by_group(
    fit: Any,
    *,
    effect: str,
    group: str | None = None,
    values: tuple[Any, Any] | None = None,
    labels: rows.Labels | None = None,
) -> Figure:
    r"""The effect of a predictor in each group, on the link (log-odds) and on the probability.

    One effect on the log-odds makes different differences of probability, largest where the
    probability is near one half: the two panels can tell opposite stories. Each value is the mean,
    over the group's own rows, of the prediction with the predictor at its high value minus that at
    its low value. The band is the population's: the same over all rows, without the groups'
    deviations.

    Parameters
    ----------
    effect
        A predictor, such as ``"sex"``.
    group
        The grouping factor; it may be left out when there is one.
    values
        The low and the high value; None takes the two that the predictor has.
    labels
        Names to print by column and value: ``{"sex": {0: "female", 1: "male"}}``.

    Raises
    ------
    NoDraws, UnknownName, SpecError, MissingCapability
        A point estimate; no such factor or column; a predictor without exactly two values and no
        ``values``; a family without successes and trials.

    References
    ----------
    Gelman & Pardoe (2007), doi:10.1111/j.1467-9531.2007.00181.x.

    Examples
    --------
    >>> import bayesmix as bm
    >>> model = bm.BinomialGLM("p(high, total) ~ sex + (1 | edu)")
    >>> fit = bm.fit(model, bm.datasets.census(), method=bm.NUTS(draws=200), seed=1)
    >>> figure = bm.plots.effect_by_group(fit, effect="sex", group="edu")
    >>> figure.axes[1].get_xlabel().splitlines()[0]
    'difference of probability,'
    """
    require_draws(one(fit, "effect_by_group()").tree, "effect_by_group()")
    factor = rows.grouping_factor(fit, group, "effect_by_group()")
    names = rows.check_labels(labels, fit.data)
    cells = rows.cells(fit, "effect_by_group()")
    rows.check_column(effect, cells.table, "effect")
    low, high = _low_and_high(cells.table[effect], values)
    params, population = rows.draws_and_population(fit, factor)
    index, levels = cells.of_group(factor), rows.group_levels(fit, factor)
    trials = np.bincount(index, cells.trials, len(levels))
    most = np.argsort(-trials, kind="stable")[: int((trials > 0).sum())]
    kept, more = rows.page(most.tolist(), "those with most trials")
    present = np.sort(kept)
    member = np.eye(len(levels))[index][:, present] * cells.trials[:, None]
    ticks = [rows.printed(factor, levels[g], names) for g in present]
    what = contrast(effect, low, high, names)
    figure, axes = _effect_panels(ticks, factor, what, link_of(fit))
    inside = _differences(cells, params, effect, low, high)
    outside = _differences(cells, population, effect, low, high)
    for panel, curve in zip(axes, inside, strict=True):
        by_group = inside[curve] @ (member / member.sum(axis=0))
        overall = outside[curve] @ (cells.trials / cells.trials.sum())
        _effects(panel, by_group, overall)
    style.sentence(figure, more)
    return figure


def _differences(
    cells: rows.Cells, params: Any, effect: str, low: Any, high: Any
) -> dict[str, Array]:
    """By curve, the prediction of each cell at the high minus that at the low value."""
    above = cells.curves(params, changed={effect: high})
    below = cells.curves(params, changed={effect: low})
    names = (link_of(cells.fit), "probability")
    return {name: above[name] - below[name] for name in names}


def link_of(fit: Any) -> str:
    """The link whose curve the model has beside the probability."""
    return getattr(fit.model, "link", "logit")


def _effect_panels(ticks: list[str], factor: str, what: str, link: str) -> tuple[Figure, Array]:
    height = max(2.4, 0.3 * len(ticks) + 1.1)
    figure, grid = style.panels(1, 2, height=height, sharey=True)
    left, right = grid[0]
    style.named_rows(left, ticks)
    scale = "log-odds" if link == "logit" else link
    left.set(xlabel=f"difference of {scale},\n{what}", ylabel=factor)
    right.set_xlabel(f"difference of probability,\n{what}")
    handles = [
        style.key("group: mean, 50 % and 90 % interval", color=style.colour(0), marker="o", ms=5),
        style.key("population: mean", color="black", linestyle="--", lw=1),
        Patch(color=style.BAND, label="population: 90 % interval"),
    ]
    style.legend(figure, handles)
    return figure, grid[0]


def _effects(axes: Any, by_group: Array, overall: Array) -> None:
    axes.axvspan(*np.quantile(overall, style.OUTER), color=style.BAND, linewidth=0, zorder=0.5)
    axes.axvline(overall.mean(), color="black", linestyle="--", linewidth=1)
    for y, draws in enumerate(by_group.T):
        style.interval(axes, y, draws, 0)
