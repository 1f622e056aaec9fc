"""Parameters against each other."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bayesmix.errors import SpecError
from bayesmix.plots import style
from bayesmix.plots.entries import Entries, Names, divergent, entries, select
from bayesmix.protocols import Array
from bayesmix.result import Fit
from bayesmix.tree.read import require_draws

_SHOWN = 4000
"""Points of a scatter plot: more only darken it."""


@style.styled
def pair(fit: Any, *, names: Names = None, log: Names = ()) -> Figure:
    """Each parameter against each other, with the draws that ended in a divergence on top.

    Divergences that gather in one place, such as the neck of a funnel, show where the sampler could
    not go; scattered ones are mostly false alarms.

    Parameters
    ----------
    names
        Two to seven parameters or entries of them; None means the population's.
    log
        Those of ``names`` that are positive and shown on a logarithmic axis, where a funnel of a
        small standard deviation is easiest to see.

    Raises
    ------
    NoDraws, UnknownName, SpecError
        A point estimate; a parameter that is not there; fewer than two or more than seven entries;
        a logarithm of what is not positive.

    Examples
    --------
    >>> import bayesmix as bm
    >>> model = bm.BinomialGLM("p(high, total) ~ sex")
    >>> fit = bm.fit(model, bm.datasets.census(), method=bm.NUTS(draws=200), seed=1)
    >>> len(bm.plots.pair(fit).axes)
    4
    """
    chosen = select(fit, names, "pair()", limit=7)
    count = len(chosen.labels)
    if count < 2:
        raise SpecError(f"pair() needs at least two entries, got {chosen.labels}")
    on_log = _logarithmic(chosen, fit, log)
    figure, grid = style.panels(count, count, height=max(4.0, min(style.WIDTH, 1.35 * count + 0.5)))
    bad = divergent(fit, chosen.draws.shape[:2]).ravel()
    flat = chosen.draws.reshape(-1, count)
    for row in range(count):
        for column in range(count):
            _cell(grid[row, column], flat, row, column, bad, on_log)
            grid[row, column].set_xlim(*_limits(flat[:, column], logarithmic=column in on_log))
    for k, label in enumerate(chosen.labels):
        grid[-1, k].set_xlabel(_broken(label))
        if k:
            grid[k, 0].set_ylabel(_broken(label))
    figure.align_labels()
    _pair_legend(grid[0, count - 1], len(flat), int(bad.sum()))
    return figure


def _logarithmic(chosen: Entries, fit: Fit, log: Names) -> set[int]:
    """Positions of the entries on a logarithmic axis."""
    if isinstance(log, (str, tuple)) and not log:
        return set()
    asked = entries(require_draws(fit.tree, "pair()"), log).labels
    missing = [label for label in asked if label not in chosen.labels]
    positions = {chosen.labels.index(label) for label in asked if not missing}
    negative = [chosen.labels[k] for k in positions if (chosen.draws[..., k] <= 0).any()]
    if missing or negative:
        raise SpecError(
            f"log must name positive parameters among names; not shown: {missing or 'none'}, "
            f"not positive: {negative or 'none'}"
        )
    return positions


def _cell(axes: Axes, flat: Array, row: int, column: int, bad: Array, on_log: set[int]) -> None:
    if column > row:
        axes.set_axis_off()
        return
    if column in on_log:
        axes.set_xscale("log")
    if row == column:
        _marginal(axes, flat[:, row], logarithmic=row in on_log)
    else:
        if row in on_log:
            axes.set_yscale("log")
        _scatter(axes, flat[:, column], flat[:, row], bad)
    axes.label_outer(remove_inner_ticks=True)
    for axis in (axes.xaxis, axes.yaxis):
        if axis.get_scale() == "linear":
            axis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))


def _limits(values: Array, *, logarithmic: bool) -> tuple[float, float]:
    """One range for all panels of a column, of which the inner ones show no numbers."""
    ends = np.array([values.min(), values.max()])
    ends = np.log(ends) if logarithmic else ends
    margin = 0.04 * (ends[1] - ends[0]) or 0.5
    low, high = ends[0] - margin, ends[1] + margin
    return (float(np.exp(low)), float(np.exp(high))) if logarithmic else (float(low), float(high))


def _marginal(axes: Axes, values: Array, *, logarithmic: bool) -> None:
    edges = np.histogram_bin_edges(np.log(values) if logarithmic else values, bins=40)
    counts = np.histogram(values, np.exp(edges) if logarithmic else edges)[0]
    axes.stairs(
        counts, np.exp(edges) if logarithmic else edges, fill=True, color=style.colour(0), alpha=0.6
    )
    axes.tick_params(axis="y", left=False, labelleft=False)
    axes.spines["left"].set_visible(False)
    axes.grid(False)


def _scatter(axes: Axes, x: Array, y: Array, bad: Array) -> None:
    shown = np.flatnonzero(~bad)[:: max(1, len(x) // _SHOWN)]
    look = {"linestyle": "none", "rasterized": True}
    axes.plot(x[shown], y[shown], ".", color=style.colour(0), ms=2, alpha=0.25, mew=0, **look)
    axes.plot(x[bad], y[bad], "x", color=style.DIVERGENT, ms=3.5, mew=0.9, **look)


def _pair_legend(corner: Axes, draws: int, bad: int) -> None:
    """In the empty upper triangle, flush with its corner."""
    handles = [
        style.key(f"draw ({draws:,})", color=style.colour(0), marker="o", ls="none", ms=4),
        style.key(
            f"divergent transition ({bad:,})", color=style.DIVERGENT, marker="x", ls="none", ms=5
        ),
    ]
    corner.legend(handles=handles, loc="upper right", borderaxespad=0).set_in_layout(False)


def _broken(label: str) -> str:
    """A long label in two lines."""
    return label.replace("[", "\n[") if len(label) > 10 else label
