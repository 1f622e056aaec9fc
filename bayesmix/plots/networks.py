"""How a network was trained, what it predicts on average, and how often its intervals hold."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from bayesmix import scoring
from bayesmix.errors import MissingCapability
from bayesmix.plots import style
from bayesmix.plots.across import across, cut, dots, notes, thinned
from bayesmix.plots.entries import one, several
from bayesmix.protocols import Array

_MOST = 400
"""Draws behind the curves of means."""
_LEVELS = np.linspace(0.05, 0.95, 19)


@style.styled
def training(fit: Any) -> Figure:
    r"""Negative log-likelihood per row as a network was trained, on its rows and on those held out.

    Training rows alone always look better; where the line of the rows held out turns upwards, the
    network learns the noise. The dot is the state that was kept. Members of an ensemble have a pale
    line each.

    Raises
    ------
    MissingCapability
        The fit is no network trained by maximum likelihood.
    SpecError
        Not a fit.

    Examples
    --------
    >>> import bayesmix as bm
    >>> fit = bm.fit(bm.MDN("x", "target", 3), bm.datasets.one_to_many(), seed=1)
    >>> bm.plots.training(fit).axes[0].get_ylabel()
    'NLL per row, nats'
    """
    found = one(fit, "training()")
    stats = found.tree["fit_stats"].to_dataset() if "fit_stats" in found.tree.children else {}
    if "nll" not in stats:
        raise MissingCapability(
            f"training() needs the NLL by step of a network; {type(found.method).__name__} on "
            f"{type(found.model).__name__} records none: see objective()"
        )
    figure, grid = style.panels(1, 1, height=3.2)
    axes = grid[0, 0]
    lines = [("nll", "training rows", 0)]
    lines += [("held_out_nll", "rows held out", 1)] if "held_out_nll" in stats else []
    shown = []
    for name, label, position in lines:
        values = stats[name].to_numpy().reshape(stats[name].shape[0], -1)
        look = {"color": style.colour(position), "linestyle": style.line(position)}
        looks = name == "held_out_nll" and "held_out_step" in stats
        steps = stats["held_out_step"].to_numpy() if looks else np.arange(len(values))
        for member in values.T:
            axes.plot(steps, member, alpha=_alpha(values), linewidth=1.3, **look)
        if name == lines[-1][0]:
            best = values.argmin(axis=0)
            ends = values[best, np.arange(len(best))]
            axes.plot(steps[best], ends, "o", markersize=4, color=look["color"])
        shown.append(style.key(label, **look))
        low, high = float(np.nanmin(values)), float(np.nanquantile(values, 0.95))
        room = 0.08 * (high - low) or 0.1
        axes.set_ylim(min(low - room, axes.get_ylim()[0] if position else low), high + room)
    epochs = len(lines) > 1 and "held_out_step" not in stats
    unit = "epoch" if epochs else "iteration"
    axes.set(xlabel=unit, ylabel="NLL per row, nats")
    axes.locator_params(axis="x", integer=True)
    style.legend(figure, shown)
    return figure


def _alpha(values: Array) -> float:
    return 1.0 if values.shape[1] == 1 else 0.5


@style.styled
def mean_curves(fits: Any, predictor: str | None = None) -> Figure:
    r"""Predictive means along a predictor, fits beside one another: a point, and posteriors.

    The line is :math:`E(y \mid x)`, its band the 90 % interval of that mean over draws (or members
    of an ensemble), which a point estimate cannot have. Of a mixture with several branches the mean
    lies between them: it is drawn for comparison, not for prediction.

    Parameters
    ----------
    fits
        A fit, or a mapping of names to fits of the same data.
    predictor
        The numeric predictor on the horizontal axis; None takes the first.

    Raises
    ------
    MissingCapability
        A fit is no mixture, or has several targets.
    UnknownName, SpecError
        No such predictor; not a fit.

    Examples
    --------
    >>> import bayesmix as bm
    >>> fit = bm.fit(bm.MDN("x", "target", 3), bm.datasets.one_to_many(), seed=1)
    >>> bm.plots.mean_curves({"MLE": fit}).axes[0].get_xlabel()
    'x'
    """
    named = several(fits, "mean_curves()")
    figure, grid = style.panels(1, 1, height=3.8)
    axes, shown = grid[0, 0], []
    for position, (name, fit) in enumerate(named.items()):
        along = across(thinned(fit, _MOST), predictor, "mean_curves()")
        if position == 0:
            dots(axes, along, c=style.GREY, alpha=0.5)
            axes.set(xlabel=along.predictor, ylabel=along.target)
            cut(axes, along)
            notes(figure, along)
        means = _means(along)
        look = {"color": style.colour(position), "linestyle": style.line(position)}
        if len(means) > 1:
            ends = np.quantile(means, style.OUTER, axis=0)
            axes.fill_between(along.x, *ends, color=look["color"], alpha=0.25, linewidth=0)
        axes.plot(along.x, means.mean(axis=0), linewidth=1.5, **look)
        shown.append(style.key(name or type(fit.method).__name__, **look))
    band = Patch(color=style.GREY, alpha=0.4, linewidth=0, label="90 % interval of the mean")
    style.legend(figure, [*shown, band], columns=2)
    return figure


def _means(along: Any) -> Array:
    """The predictive mean (sample, point) on the grid."""
    fit = along.fit
    curves = fit.curves(along.grid)
    found = (curves["weight"] * curves["loc"]).sum(fit.model.component).to_numpy()
    return found / along.trials


@style.styled
def coverage(fits: Any, data: Any = None) -> Figure:
    r"""How often central predictive intervals hold the target, against how often they should.

    At level p a row counts if its place in its predictive distribution (PIT) is within p / 2 of one
    half. On the diagonal intervals are right, below it too narrow. The band holds the line with
    95 % at every level, if the fit is right.

    Parameters
    ----------
    fits
        A fit, or a mapping of names to fits.
    data
        Rows to check, best ones that no fit has seen; None takes the training rows.

    Raises
    ------
    MissingCapability
        A fit has several targets.
    DataError
        The rows lack the target, or it is text.

    References
    ----------
    Gneiting, Balabdaoui & Raftery (2007), doi:10.1111/j.1467-9868.2007.00587.x.

    Examples
    --------
    >>> import bayesmix as bm
    >>> fit = bm.fit(bm.MDN("x", "target", 3), bm.datasets.one_to_many(), seed=1)
    >>> bm.plots.coverage(fit).axes[0].get_xlabel()
    'level of the interval'
    """
    from scipy.stats import binom

    figure, grid = style.panels(1, 1, height=3.8)
    axes, shown, n = grid[0, 0], [], 0
    for position, (name, fit) in enumerate(several(fits, "coverage()").items()):
        values = scoring.pointwise_scores(fit, data)["pit"].to_numpy()
        n = len(values)
        held = (np.abs(values[:, None] - 0.5) <= _LEVELS / 2).mean(axis=0)
        look = {"color": style.colour(position), "linestyle": style.line(position)}
        axes.plot(_LEVELS, held, marker=style.marker(position), markersize=3, **look)
        label = name or type(fit.method).__name__
        at = held[np.argmin(np.abs(_LEVELS - 0.9))]
        shown.append(style.key(f"{label}: 90 % holds {100 * at:.0f} %", **look))
    ends = [binom.ppf(q, n, _LEVELS) / n for q in (0.025, 0.975)]
    axes.fill_between(_LEVELS, *ends, color=style.BAND, linewidth=0)
    axes.plot([0, 1], [0, 1], color=style.GREY, linewidth=0.8)
    rows = "rows seen in training" if data is None else "rows given"
    axes.set(xlabel="level of the interval", ylabel=f"share of {n:,} {rows}")
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    band = Patch(color=style.BAND, label="where 95 % of right fits are")
    style.legend(figure, [*shown, band], columns=2)
    return figure
