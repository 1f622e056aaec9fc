"""What the posterior says of parameters: intervals, and the prior beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bayesmix import rng as random
from bayesmix.errors import MissingCapability, SpecError
from bayesmix.plots import style
from bayesmix.plots.density import kernel_density
from bayesmix.plots.entries import Entries, Names, entries, everything, select, several, wanted
from bayesmix.protocols import Array, HasPrior
from bayesmix.result import Fit
from bayesmix.specs import check_count, check_switch
from bayesmix.tree.read import estimates, is_sampled, require_draws

_NORMAL = {0.05: -1.6449, 0.25: -0.6745, 0.75: 0.6745, 0.95: 1.6449}


@style.styled
def forest(fits: Any, *, names: Names = None, standard_errors: bool = False) -> Figure:
    r"""Posterior means with 50 % (thick) and 90 % (thin) intervals, one row a parameter.

    Parameters
    ----------
    fits
        A fit, or a mapping of names to fits, which are drawn side by side.
    names
        Parameters or entries of them; None means the population's.
    standard_errors
        Draw point estimates too: the estimate, with the 50 % and 90 % intervals of a normal
        distribution with its standard error, where it has one. Otherwise they are refused, because
        those are not posterior intervals.

    Raises
    ------
    NoDraws
        A point estimate, without ``standard_errors=True``.
    UnknownName
        A parameter that no fit has.
    SpecError
        Neither a fit nor a mapping of fits; more than 100 rows.

    Examples
    --------
    >>> import bayesmix as bm
    >>> model = bm.BinomialGLM("p(high, total) ~ sex")
    >>> fit = bm.fit(model, bm.datasets.census(), method=bm.NUTS(draws=200), seed=1)
    >>> point = bm.fit(model, bm.datasets.census(), method="mle", seed=1)
    >>> figure = bm.plots.forest({"NUTS": fit, "MLE": point}, standard_errors=True)
    >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
    ['Intercept', 'sex']
    """
    named = several(fits, "forest()")
    check_switch("forest", "standard_errors", standard_errors)
    summaries = {name: _intervals(fit, names, standard_errors) for name, fit in named.items()}
    _require_some(named, names)
    labels = list(dict.fromkeys(label for rows in summaries.values() for label in rows))
    if len(labels) > 100:
        raise SpecError(
            f"forest() would draw {len(labels)} rows: choose some with names={labels[:2]}"
        )
    height = 0.22 * len(labels) * max(1.0, 0.55 * len(named)) + 0.7
    figure, grid = style.panels(1, 1, height=max(height, 1.8))
    axes, shift = grid[0, 0], style.offsets(len(named), 0.7)
    for i, rows in enumerate(summaries.values()):
        for label, (centre, limits) in rows.items():
            spans = [(limits[[0, 3]], 1.1), (limits[[1, 2]], 3.2)]
            style.bar(axes, labels.index(label) + shift[i], centre, spans, i, size=4.8)
    style.named_rows(axes, labels)
    axes.set_xlabel("parameter value (mean, 50 % and 90 % interval)")
    axes.axvline(0, color=style.GREY, linewidth=0.7, zorder=0)
    if len(named) > 1:
        style.legend(figure, _fit_handles(named))
    return figure


def _intervals(fit: Fit, names: Names, standard_errors: bool) -> dict[str, tuple[float, Array]]:
    """By label: the centre, and the limits of the 90 % and 50 % intervals in ascending order."""
    if not (standard_errors and not is_sampled(fit.tree)):
        require_draws(fit.tree, "forest()")
    values, asked = estimates(fit.tree), wanted(names)
    if asked is not None:
        known = everything(values)
        asked = [name for name in asked if known.called(name)]
        if not asked:
            return {}
    chosen = entries(values, asked)
    if is_sampled(fit.tree):
        limits = np.quantile(chosen.draws, list(_NORMAL), axis=(0, 1))
    else:
        limits = _normal_limits(fit, chosen)
    centres = chosen.draws.mean(axis=(0, 1))
    return {label: (centres[k], limits[:, k]) for k, label in enumerate(chosen.labels)}


def _normal_limits(fit: Fit, chosen: Entries) -> Array:
    """Quantiles of a normal at the estimate; no width where there is no standard error."""
    centre = chosen.draws[0, 0]
    error = np.zeros_like(centre)
    if "standard_error" in fit.tree.children:
        by_label = dict(everything(fit.tree["standard_error"].to_dataset()))
        error = np.array([by_label.get(label, np.zeros((1, 1)))[0, 0] for label in chosen.labels])
        error = np.nan_to_num(error)
    return centre + np.outer(list(_NORMAL.values()), error)


def _require_some(named: Mapping[str, Fit], names: Names) -> None:
    """Every name must be known to at least one fit; the largest one answers what there is."""
    known = [everything(estimates(fit.tree)) for fit in named.values()]
    for name in wanted(names) or ():
        if not any(found.called(name) for found in known):
            entries(estimates(max(named.values(), key=_size).tree), [name])


def _size(fit: Fit) -> int:
    return len(estimates(fit.tree).data_vars)


def _fit_handles(named: Mapping[str, Fit]) -> list[Line2D]:
    return [
        style.key(
            name if is_sampled(fit.tree) else f"{name} (± standard errors)",
            color=style.colour(i), marker=style.marker(i), linewidth=1.1, markersize=5,
        )
        for i, (name, fit) in enumerate(named.items())
    ]  # fmt: skip


@style.styled
def prior_posterior(fit: Any, *, names: Names = None, draws: int = 20_000) -> Figure:
    """Prior and posterior density of each parameter: what the data have added.

    The window is that of the posterior with a margin, so that a wide prior may run out of it; both
    densities keep their own scale, one unit of area each.

    Parameters
    ----------
    names
        Parameters or entries of them; None means the population's.
    draws
        Draws from the prior.

    Raises
    ------
    NoDraws, UnknownName, SpecError
        A point estimate, a parameter that is not there, more than 24 panels.
    MissingCapability
        The family has no prior to draw from.

    Examples
    --------
    >>> import bayesmix as bm
    >>> model = bm.BinomialGLM("p(high, total) ~ sex")
    >>> fit = bm.fit(model, bm.datasets.census(), method=bm.NUTS(draws=200), seed=1)
    >>> [panel.get_title("left") for panel in bm.plots.prior_posterior(fit).axes]
    ['Intercept', 'sex']
    """
    check_count("prior_posterior", "draws", draws, low=100)
    chosen = select(fit, names, "prior_posterior()")
    before = _prior(fit, chosen, draws)
    figure, axes = style.tiles(len(chosen.labels))
    for panel, (label, after), drawn in zip(axes, chosen, before, strict=True):
        _two_densities(panel, drawn, after.ravel(), correlation=label.startswith("corr_"))
        panel.set_title(label)
    figure.supxlabel("parameter value", fontsize=9)
    figure.supylabel("density", fontsize=9)
    style.legend(figure, axes[0].get_legend_handles_labels()[0])
    return figure


def _prior(fit: Fit, chosen: Entries, draws: int) -> Array:
    """Prior draws of the entries, (entry, draw)."""
    if not isinstance(fit.model, HasPrior):
        raise MissingCapability(
            f"prior_posterior() needs a prior; {type(fit.model).__name__} has none to draw from"
        )
    generator = random.stream(fit.seed, "prior")
    drawn = fit.model.draw_prior(fit.design, generator, draws)
    dims, posterior = fit.model.dims(fit.design), estimates(fit.tree)
    values = {
        name: (("chain", "draw", *dims[name]), drawn[name][None])
        for name in dims
        if name in chosen.owners
    }
    coords = {dim: posterior[dim] for dim in posterior.coords if dim not in ("chain", "draw")}
    group = xr.Dataset(values)
    group = group.assign_coords({dim: coords[dim].values for dim in coords if dim in group.dims})
    return entries(group, chosen.labels).draws[0].T


def _two_densities(axes: Axes, prior: Array, posterior: Array, *, correlation: bool) -> None:
    low, high, bounds = _window(prior, posterior, correlation=correlation)
    for i, (name, values) in enumerate((("prior", prior), ("posterior", posterior))):
        x, density = kernel_density(values, low, high, bounds=bounds)
        shade = style.GREY if i == 0 else style.colour(0)
        axes.plot(x, density, label=name, color=shade, linestyle="--" if i == 0 else "-")
        axes.fill_between(x, density, alpha=0.2, linewidth=0, color=shade)
    axes.set_xlim(low, high)
    axes.set_ylim(bottom=0)
    axes.locator_params(nbins=5)


def _window(
    prior: Array, posterior: Array, *, correlation: bool
) -> tuple[float, float, tuple[float, float]]:
    """Where to look, and where the support ends: at 0 for what is never negative."""
    if correlation:
        return -1.0, 1.0, (-1.0, 1.0)
    low, high = np.quantile(posterior, [0.005, 0.995])
    margin = 0.6 * max(high - low, 1e-9)
    low, high = float(low - margin), float(high + margin)
    if prior.min() >= 0 and posterior.min() >= 0:
        return max(low, 0.0), high, (0.0, np.inf)
    return low, high, (-np.inf, np.inf)
