"""Counts: how many successes some rows would have, drawn again, beside how many they had."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bayesmix.errors import DataError, SpecError, brief, listed
from bayesmix.plots import rows, style
from bayesmix.plots.entries import one
from bayesmix.protocols import Array
from bayesmix.tree.read import require_draws


@style.styled
def predictive_count(
    fit: Any, where: Mapping[str, Any], *, labels: rows.Labels | None = None
) -> Figure:
    r"""The posterior predictive distribution of a count, with the count that was observed.

    For every draw of the parameters the outcomes of the chosen rows are simulated and summed: the
    width holds both what is not known of the parameters and the luck of a sample.

    Parameters
    ----------
    where
        The rows, by columns and values: ``{"edu": "Doctorate", "sex": 0}``.
    labels
        Names to print by column and value.

    Raises
    ------
    NoDraws, UnknownName, SpecError, DataError, MissingCapability
        A point estimate; a column that is not there; nothing chosen, or no such row; a family
        without successes and trials.

    References
    ----------
    Gelman, Meng & Stern (1996), Statistica Sinica 6:733-760.

    Examples
    --------
    >>> import bayesmix as bm
    >>> model = bm.BinomialGLM("p(high, total) ~ sex + (1 | edu)")
    >>> fit = bm.fit(model, bm.datasets.census(), method=bm.NUTS(draws=200), seed=1)
    >>> doctors = {"edu": "Doctorate", "sex": 0}
    >>> bm.plots.predictive_count(fit, doctors).axes[0].get_xlabel()
    'high of 86: Doctorate, sex 0'
    """
    require_draws(one(fit, "predictive_count()").tree, "predictive_count()")
    known = rows.counts(fit, "predictive_count()")
    names = rows.check_labels(labels, fit.data)
    chosen = _chosen(fit, where)
    drawn = rows.predicted_counts(fit, chosen[:, None].astype(float))[:, 0]
    figure, grid = style.panels(1, height=2.6)
    title = ", ".join(_title(column, value, names) for column, value in where.items())
    grid[0, 0].set_xlabel(f"{fit.target} of {int(known.trials[chosen].sum())}: {title}")
    _histogram(grid[0, 0], drawn, float(known.successes[chosen].sum()))
    style.legend(figure, grid[0, 0].get_legend_handles_labels()[0])
    return figure


def _title(column: str, value: Any, names: rows.Labels) -> str:
    """A text says what it is; a number is named with its column."""
    words = rows.printed if isinstance(value, str) else rows.titled
    return words(column, value, names)


def _chosen(fit: Any, where: Any) -> Array:
    """Which rows hold the values asked for."""
    if not isinstance(where, Mapping) or not where:
        raise SpecError(
            f"where must map columns to values, as {{'edu': 'Doctorate'}}, got {brief(where)}"
        )
    keep = np.ones(len(fit.data), dtype=bool)
    for column, value in where.items():
        keep &= (fit.data[rows.check_column(column, fit.data, "where")] == value).to_numpy()
    if not keep.any():
        held = [f"{column}: {brief(rows.levels(fit.data[column]))}" for column in where]
        raise DataError(f"no row has {brief(dict(where))}; the columns hold {listed(held)}")
    return keep


def _histogram(axes: Axes, drawn: Array, observed: float) -> None:
    low, high = int(drawn.min()), int(drawn.max())
    step = max(1, (high - low) // 60)
    edges = np.arange(low - 0.5, high + step + 0.5, step).tolist()
    ends = np.quantile(drawn, style.OUTER)
    axes.axvspan(
        *ends, color=style.BAND, lw=0, zorder=0.5, label=f"90 %: {ends[0]:g} to {ends[1]:g}"
    )
    share = np.full(len(drawn), 1 / len(drawn))
    axes.hist(drawn, edges, weights=share, color=style.colour(0), label="predicted, one draw each")
    axes.axvline(observed, color="black", linestyle="--", label=f"observed: {observed:g}")
    axes.set_ylabel("share of draws")
