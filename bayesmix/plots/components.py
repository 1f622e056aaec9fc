"""The components of a mixture: which rows are whose, and each one's curves."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb, to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import NullFormatter

from bayesmix.plots import style
from bayesmix.plots.across import HEAVY, Across, across, cut, dot_size, keys, notes, number
from bayesmix.protocols import Array

_PALE = 0.12
"""Opacity of a point that may belong to any component."""
_DARKER = 0.65
"""Share of its brightness that a component's line keeps, to stand out from its points."""


@style.styled
def experts(fit: Any, predictor: str | None = None) -> Figure:
    r"""The data, each row in the colour of its most probable component, and every component's line.

    A point is the paler the less its responsibility :math:`p(z_i = k \mid x_i, y_i)` exceeds 1 / K.
    A line is the component's mean, its narrow band the 90 % interval over draws, its wide band
    :math:`\pm` one scale, its median over draws. Where a component weighs less than 5 %, it has no
    bands and a thin line: few rows decide what it does there.

    Parameters
    ----------
    predictor
        The numeric predictor on the horizontal axis; None takes the first of the formula. Lines
        are drawn with other numbers at their median, categories at the most frequent.

    Raises
    ------
    MissingCapability
        The fit is no mixture.
    UnknownName, SpecError
        No such predictor; one that holds no numbers; not a fit.

    References
    ----------
    Jacobs, Jordan, Nowlan & Hinton (1991), doi:10.1162/neco.1991.3.1.79.

    Examples
    --------
    >>> import bayesmix as bm
    >>> model = bm.MixtureOfExperts("target ~ x", n_experts=3)
    >>> fit = bm.fit(model, bm.datasets.one_to_many(), method="em", seed=1)
    >>> panel = bm.plots.experts(fit).axes[0]
    >>> panel.get_xlabel(), panel.get_ylabel()
    ('x', 'target')
    """
    along = across(fit, predictor, "experts()")
    curves = along.predicted()
    member = fit.responsibilities(along.table)["responsibility"].to_numpy()
    figure, grid = style.panels(1, 1, height=4.3)
    axes = grid[0, 0]
    for k in range(len(along.components)):
        _members(axes, along, member, k)
        _line(axes, along, curves, "loc", k)
    for k in range(len(along.components) if "scale" in curves else 0):
        _scale_band(axes, along, curves, k)
    cut(axes, along)
    axes.set(xlabel=along.predictor, ylabel=along.target)
    keys(figure, _component_keys(along, member), _band_keys(along, curves))
    notes(figure, along)
    return figure


def _members(axes: Axes, along: Across, member: Array, position: int) -> None:
    """The rows whose most probable component is this one."""
    mine = member.argmax(axis=1) == position
    colours = np.tile(to_rgba(style.colour(position)), (int(mine.sum()), 1))
    colours[:, 3] = opacity(member[mine, position], member.shape[1])
    axes.scatter(
        along.at[mine], along.observed[mine], c=colours, marker=style.marker(position),
        s=1.6 * dot_size(len(along.rows)), linewidths=0, rasterized=True,
    )  # fmt: skip


def opacity(responsibility: Array, n_components: int) -> Array:
    """From pale at 1 / K to nearly full at 1."""
    if n_components == 1:
        return np.full(len(responsibility), 0.5)
    certainty = (responsibility - 1 / n_components) / (1 - 1 / n_components)
    return _PALE + (0.75 - _PALE) * np.clip(certainty, 0, 1)


def _line(axes: Axes, along: Across, curves: xr.Dataset, name: str, position: int) -> None:
    """One component's curve: with its interval where the component has weight, else thin."""
    values = curves[name].to_numpy()[:, position]
    heavy = (curves["weight"].to_numpy()[:, position] >= HEAVY) | (name == "weight")
    colour = shade(position)
    if along.sampled:
        ends = curves[f"{name}_quantile"].to_numpy()[:, :, position]
        look = {"color": style.colour(position), "alpha": 0.35, "linewidth": 0}
        axes.fill_between(along.x, *ends, where=heavy, **look)
    light = np.convolve(~heavy, np.ones(3), mode="same") > 0
    axes.plot(along.x, np.where(light, values, np.nan), linewidth=0.7, color=colour)
    axes.plot(
        along.x, np.where(heavy, values, np.nan), linewidth=1.6, color=colour,
        linestyle=style.line(position), label=along.components[position],
    )  # fmt: skip


def shade(position: int) -> str:
    """A darker :func:`style.colour`."""
    red, green, blue = to_rgb(style.colour(position))
    return to_hex((_DARKER * red, _DARKER * green, _DARKER * blue))


def _scale_band(axes: Axes, along: Across, curves: xr.Dataset, position: int) -> None:
    loc, scale, weight = (curves[k].to_numpy()[:, position] for k in ("loc", "scale", "weight"))
    axes.fill_between(
        along.x, loc - scale, loc + scale, where=weight >= HEAVY, color=style.colour(position),
        alpha=0.15, linewidth=0,
    )  # fmt: skip


def _component_keys(along: Across, member: Array | None = None) -> list[Line2D]:
    """An entry for each component, with its share of the rows where they are drawn."""
    found = []
    for k, name in enumerate(along.components):
        label = name if member is None else f"{name}: {100 * member[:, k].mean():.0f} % of rows"
        dot = {} if member is None else _dot(k)
        look = {"color": shade(k), "linestyle": style.line(k), "linewidth": 1.6}
        found.append(style.key(label, **look, **dot))
    return found


def _dot(position: int) -> dict[str, Any]:
    colour = style.colour(position)
    edge, face = {"markeredgecolor": colour}, {"markerfacecolor": colour}
    return {"marker": style.marker(position), "markersize": 4.5, **edge, **face}


def _band_keys(along: Across, curves: xr.Dataset) -> list[Any]:
    scale = Patch(color=style.GREY, alpha=0.2, linewidth=0, label="± one scale")
    return [*([scale] if "scale" in curves else []), *_line_keys(along)]


def _line_keys(along: Across) -> list[Any]:
    interval = Patch(color=style.GREY, alpha=0.5, linewidth=0, label="90 % interval")
    label = f"where its weight is below {100 * HEAVY:.0f} %"
    thin = style.key(label, color=style.GREY, linewidth=0.7)
    several = len(along.components) > 1
    return [*([interval] if along.sampled else []), *([thin] if several else [])]


@style.styled
def component_curves(fit: Any, predictor: str | None = None) -> Figure:
    r"""Weight, loc and scale of every component along a predictor, with 90 % intervals.

    The weights :math:`\pi_k(x)` sum to one at every x. Loc and scale are thin where the component
    weighs less than 5 %; scales are medians over draws, and where they span a factor of ten they
    stand on a log axis. A family whose scale is no curve (counts, pieces) has two panels.

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

    Examples
    --------
    >>> import bayesmix as bm
    >>> model = bm.MixtureOfExperts("target ~ x", n_experts=3)
    >>> fit = bm.fit(model, bm.datasets.one_to_many(), method="em", seed=1)
    >>> [panel.get_ylabel() for panel in bm.plots.component_curves(fit).axes]
    ['weight', 'loc of target', 'scale of target']
    """
    along = across(fit, predictor, "component_curves()")
    curves = along.predicted()
    names = [name for name in ("weight", "loc", "scale") if name in curves]
    figure, grid = style.panels(len(names), 1, height=1.55 * len(names) + 0.8, sharex=True)
    for name, axes in zip(names, grid[:, 0], strict=True):
        for k in range(len(along.components)):
            _line(axes, along, curves, name, k)
        of = ":\n" if along.is_share else " of "
        axes.set_ylabel(name if name == "weight" else f"{name}{of}{along.target}")
    grid[0, 0].set(ylim=(-0.03, 1.03), yticks=(0, 0.25, 0.5, 0.75, 1))
    sentences = [_cut_locs(grid[1, 0], along, curves)]
    if "scale" in names:
        sentences.append(_cut_scales(grid[2, 0], curves))
    grid[0, 0].set_xlim(along.x[0], along.x[-1])
    grid[-1, 0].set_xlabel(along.predictor)
    keys(figure, _component_keys(along), _line_keys(along))
    notes(figure, along, sentences)
    return figure


def _cut_locs(axes: Axes, along: Across, curves: xr.Dataset) -> str:
    """Cut the panel of locs at the data's range, and say how far they run."""
    axes.set_ylim(*along.limits())
    axes.locator_params(axis="y", nbins=5)
    low, high = float(curves["loc"].min()), float(curves["loc"].max())
    if low >= axes.get_ylim()[0] and high <= axes.get_ylim()[1]:
        return ""
    return f"Locs are cut at the range of the data; they run from {number(low)} to {number(high)}."


def _cut_scales(axes: Axes, curves: xr.Dataset) -> str:
    """Cut the panel of scales where the components have weight, and say how far they run."""
    scale = curves["scale"].to_numpy()
    heavy = curves["weight"].to_numpy() >= HEAVY
    shown = np.concatenate([scale[heavy], *curves["scale_quantile"].to_numpy()[:, heavy]])
    low, high = shown.min() / 1.5, 1.5 * shown.max()
    if high < 10 * low:
        low = 0.0
    else:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_ylim(low, high)
    if low <= scale.min() and scale.max() <= high:
        return ""
    return (
        f"Scales are cut where the weight is below {100 * HEAVY:.0f} %; "
        f"they run from {number(scale.min())} to {number(scale.max())}."
    )
