"""Observed shares by group beside what the fit predicts."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bayesmix.errors import SpecError, listed
from bayesmix.plots import rows, style
from bayesmix.plots.entries import one
from bayesmix.protocols import Array
from bayesmix.tree.read import require_draws

_LETTERS = 95
"""Letters of a tick label that fit along the page."""


@style.styled
def posterior_validation(
    fit: Any, *, by: str | Sequence[str] | None = None, labels: rows.Labels | None = None
) -> Figure:
    r"""Observed shares by group against intervals of shares that the fit predicts.

    Outcomes of all rows are simulated from the posterior predictive distribution and summed by
    group. A model that fits has about 9 in 10 observed shares inside the 90 % intervals. The lower
    panel shows the same with the mean prediction taken away, where narrow intervals can be seen.

    Parameters
    ----------
    by
        One or two columns: the first along the axis, the second by colour. None takes the
        predictors with most values. Numbers with more than 12 values are cut into ten slices of
        equal size.
    labels
        Names to print by column and value: ``{"sex": {0: "female", 1: "male"}}``.

    Raises
    ------
    NoDraws
        The fit is a point estimate.
    UnknownName, SpecError
        A column or value that the data do not have; more than two columns or more than 40 groups.
    MissingCapability
        The family has no successes and trials.

    References
    ----------
    Gelman, Meng & Stern (1996), Statistica Sinica 6:733-760.

    Examples
    --------
    >>> import bayesmix as bm
    >>> model = bm.BinomialGLM("p(high, total) ~ sex + (1 | edu)")
    >>> fit = bm.fit(model, bm.datasets.census(), method=bm.NUTS(draws=200), seed=1)
    >>> names = {"sex": {0: "female", 1: "male"}}
    >>> bm.plots.posterior_validation(fit, labels=names).axes[0].get_ylabel()
    'share of high among total'
    """
    require_draws(one(fit, "posterior_validation()").tree, "posterior_validation()")
    known = rows.counts(fit, "posterior_validation()")
    data = fit.data
    names = rows.check_labels(labels, data)
    columns = rows.chosen_columns(by, data, known.predictors)
    keys = [rows.sliced(data[column]) for column in columns]
    groups = _grouped(keys, known.trials)
    if len(groups) > rows.MOST_GROUPS:
        raise SpecError(
            f"posterior_validation() would draw {len(groups)} groups of {listed(columns)}, "
            f"{rows.MOST_GROUPS} at most: choose one or two of {listed(data.columns)} with by="
        )
    member = np.stack([row for _, row in groups], axis=1).astype(float)
    trials = known.trials @ member
    observed = (known.successes @ member) / trials
    predicted = rows.predicted_counts(fit, member) / trials
    return _validation_figure(columns, keys, groups, observed, predicted, names, known.share)


def _grouped(keys: list[pd.Series], trials: Array) -> list[tuple[tuple[int, int], Array]]:
    """Positions (along the axis, by colour) and the rows of every group that has trials."""
    first = keys[0]
    second = keys[1] if len(keys) > 1 else pd.Series(np.zeros(len(first)))
    found = []
    for i, a in enumerate(rows.levels(first)):
        for j, b in enumerate(rows.levels(second)):
            inside = ((first == a) & (second == b)).to_numpy()
            if trials[inside].any():
                found.append(((i, j), inside))
    return found


def _validation_figure(
    columns: list[str],
    keys: list[pd.Series],
    groups: list[tuple[tuple[int, int], Array]],
    observed: Array,
    predicted: Array,
    names: rows.Labels,
    share: str,
) -> Figure:
    figure, grid = style.panels(2, 1, height=4.6, sharex=True, height_ratios=(1.5, 1))
    top, bottom = grid[:, 0]
    n_colours = 1 + max(j for (_, j), _ in groups)
    shift = style.offsets(n_colours, 0.6)
    mean = predicted.mean(axis=0)
    for k, ((i, j), _) in enumerate(groups):
        _validate(top, i + shift[j], observed[k], predicted[:, k], j)
        error = 100 * (predicted[:, k] - mean[k])
        _validate(bottom, i + shift[j], 100 * (observed[k] - mean[k]), error, j)
    ticks = [rows.printed(columns[0], level, names) for level in rows.levels(keys[0])]
    _named_columns(bottom, ticks)
    bottom.set_xlabel(columns[0])
    top.set_ylabel(share)
    bottom.set_ylabel("share minus mean\nprediction, %-points")
    bottom.axhline(0, color=style.GREY, linewidth=0.7, zorder=0)
    low, high = np.quantile(predicted, style.OUTER, axis=0)
    inside = int(((observed >= low) & (observed <= high)).sum())
    bottom.set_title(f"{inside} of {len(groups)} observed shares lie in their 90 % interval")
    style.legend(figure, _validation_handles(columns, keys, names))
    return figure


def _validate(axes: Axes, at: float, observed: float, predicted: Array, position: int) -> None:
    limits = np.quantile(predicted, [*style.OUTER, *style.INNER])
    for (low, high), width, alpha in ((limits[:2], 7, 0.3), (limits[2:], 7, 0.55)):
        look = {"color": style.colour(position), "linewidth": width, "alpha": alpha}
        axes.plot([at, at], [low, high], solid_capstyle="butt", **look)
    axes.plot(
        at, observed, marker=style.marker(position), color=style.colour(position), markersize=4.5,
        markeredgecolor="black", markeredgewidth=0.8, linestyle="none", label="observed",
    )  # fmt: skip


def _validation_handles(
    columns: list[str], keys: list[pd.Series], names: rows.Labels
) -> list[Line2D]:
    groups = rows.levels(keys[1]) if len(keys) > 1 else [None]
    handles = []
    for j, level in enumerate(groups):
        suffix = "" if level is None else f", {rows.titled(columns[1], level, names)}"
        handles.append(
            style.key(
                f"observed{suffix}", linestyle="none", marker=style.marker(j),
                color=style.colour(j), markersize=5, markeredgecolor="black",
            )
        )  # fmt: skip
    for alpha, level in ((0.55, 50), (0.3, 90)):
        look = {"color": style.GREY, "linewidth": 7, "alpha": alpha}
        handles.append(style.key(f"{level} % predicted", **look))
    return handles


def _named_columns(axes: Axes, names: list[str]) -> None:
    """Names along the horizontal axis, in lines as wide as there is room, or else slanted."""
    room = _LETTERS // len(names)
    folded = [textwrap.fill(name, max(room, 1), break_long_words=False) for name in names]
    crowded = max(len(line) for name in folded for line in name.split("\n")) > room
    axes.set_xticks(range(len(names)), names if crowded else folded)
    axes.set_xlim(-0.6, len(names) - 0.4)
    if crowded:
        axes.tick_params(axis="x", rotation=35)
        for label in axes.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")
