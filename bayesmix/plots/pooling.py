"""Poolings: what several models of the same groups say of each, beside the group's own data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from bayesmix.errors import UnknownName, brief, listed
from bayesmix.plots import groups, rows, style
from bayesmix.plots.entries import several
from bayesmix.protocols import Array
from bayesmix.result import Fit
from bayesmix.tree.read import require_draws

_REACH = 3.5
"""Standard errors of the least certain group to which the right panel reaches."""


@style.styled
def pooling(fits: Any, *, by: str | Sequence[str], labels: rows.Labels | None = None) -> Figure:
    r"""What models that pool groups differently say of each, beside the group's own log-odds.

    On the left the log-odds of each group's expected share, :math:`\log(y / (n - y))` of expected
    counts, and the observed ones. On the right the same as distances from the observed log-odds,
    whose standard error :math:`\sqrt{1 / y + 1 / (n - y)}` is the grey band: there intervals can
    be seen. An arrow stands for an estimate that lies beyond the panel.

    Parameters
    ----------
    fits
        By name: ``{"complete": a, "none": b, "partial": c}``, all of the same rows. One of them at
        least must have ``by`` in its formula.
    by
        The column that makes the groups, or two: ``["edu", "sex"]`` shows every cell.
    labels
        Names to print by column and value.

    Raises
    ------
    NoDraws, UnknownName, SpecError, MissingCapability
        A point estimate; no formula with that column; a family without successes and trials.

    References
    ----------
    Gelman & Hill (2006), doi:10.1017/CBO9780511790942, chapter 12.

    Examples
    --------
    >>> import bayesmix as bm
    >>> models = {"complete": "sex", "partial": "sex + (1 | edu)"}
    >>> fits = {
    ...     name: bm.fit(
    ...         bm.BinomialGLM(f"p(high, total) ~ {terms}"),
    ...         bm.datasets.census(),
    ...         method=bm.NUTS(draws=200),
    ...         seed=1,
    ...     )
    ...     for name, terms in models.items()
    ... }
    >>> bm.plots.pooling(fits, by="edu").axes[1].get_xlabel()
    'minus observed, log-odds'
    """
    named = several(fits, "pooling()")
    for fit in named.values():
        require_draws(fit.tree, "pooling()")
    cells = rows.cells(_with_columns(named, by), "pooling()")
    names = rows.check_labels(labels, cells.fit.data)
    columns = rows.chosen_columns(by, cells.table, [])
    index, ticks = _groups(cells.table, columns, names)
    everyone = [np.ones(len(cells.table), dtype=bool)]
    own, error = groups.observed(cells, index, len(ticks), everyone)
    estimates = {
        name: groups.expected(cells, _probability(fit, cells), index, len(ticks), everyone)
        for name, fit in named.items()
    }
    figure, axes = _panels(ticks, ", ".join(columns), list(named))
    _draw(axes, estimates, own, error)
    return figure


def _with_columns(named: Mapping[str, Fit], by: Any) -> Fit:
    """The first fit whose formula reads all the columns."""
    wanted = {by} if isinstance(by, str) else set(by) if isinstance(by, (list, tuple)) else set()
    known = {name: rows.counts(fit, "pooling()").predictors for name, fit in named.items()}
    for name, fit in named.items():
        if wanted and wanted <= set(known[name]):
            return fit
    read = sorted({column for columns in known.values() for column in columns})
    raise UnknownName(f"by: no formula has {brief(by)}; together they have {listed(read)}")


def _groups(
    table: pd.DataFrame, columns: Sequence[str], names: rows.Labels
) -> tuple[Array, list[str]]:
    """The group of each cell, and what to call the groups, in the order of their levels."""
    levels = [rows.levels(table[column]) for column in columns]
    present = set(table[list(columns)].itertuples(index=False, name=None))
    groups = [group for group in product(*levels) if group in present]
    index = np.array([
        groups.index(row) for row in table[list(columns)].itertuples(index=False, name=None)
    ])  # fmt: skip
    ticks = [
        ", ".join(rows.printed(*pair, names) for pair in zip(columns, group, strict=True))
        for group in groups
    ]
    return index, ticks


def _probability(fit: Fit, cells: rows.Cells) -> Array:
    """The probability of each cell of another fit, (sample, cell)."""
    return fit.curves(cells.table)["probability"].to_numpy()


def _panels(ticks: list[str], by: str, names: list[str]) -> tuple[Figure, Array]:
    height = max(2.6, 0.17 * (len(names) + 1) * len(ticks) + 1.2)
    figure, grid = style.panels(1, 2, height=height, sharey=True)
    left, right = grid[0]
    style.named_rows(left, ticks)
    left.set(xlabel="log-odds", ylabel=by)
    right.set_xlabel("minus observed, log-odds")
    handles: list[Any] = [style.key("observed", color="black", marker="|", ms=9, ls="none")]
    handles += [
        style.key(name, color=style.colour(i), marker=style.marker(i), ms=5, lw=1.1)
        for i, name in enumerate(names)
    ]
    handles.append(Patch(color=style.BAND, label="observed ± 1 standard error"))
    style.legend(figure, handles, columns=5)
    return figure, grid[0]


def _draw(axes: Array, estimates: Mapping[str, Array], own: Array, error: Array) -> None:
    left, right = axes
    reach = _REACH * float(np.nanmax(error))
    right.set_xlim(-reach, reach)
    shifts = style.offsets(len(estimates), room=0.62)
    for y, (logit, width) in enumerate(zip(own, error, strict=True)):
        left.plot([logit, logit], [y - 0.4, y + 0.4], color="black", lw=1)
        right.fill_betweenx([y - 0.4, y + 0.4], -width, width, color=style.BAND, lw=0, zorder=0.5)
        right.plot([0, 0], [y - 0.4, y + 0.4], color="black", lw=1)
        for i, draws in enumerate(estimates.values()):
            style.interval(left, y + shifts[i], draws[:, y], i, size=5)
            _from_observed(right, y + shifts[i], draws[:, y] - logit, i, reach)


def _from_observed(axes: Axes, at: float, distance: Array, position: int, reach: float) -> None:
    """An interval, or an arrow at the edge where it lies beyond."""
    centre = float(distance.mean())
    if abs(centre) < reach:
        style.interval(axes, at, distance, position, size=5)
        return
    side = float(np.sign(centre))
    arrow = {"arrowstyle": "-|>", "color": style.colour(position), "lw": 1.2}
    axes.annotate("", (side * reach, at), (0.85 * side * reach, at), arrowprops=arrow)
