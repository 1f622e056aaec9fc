"""How an optimiser climbed: its objective by iteration."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bayesmix.errors import MissingCapability
from bayesmix.plots import style
from bayesmix.plots.entries import several
from bayesmix.protocols import Array
from bayesmix.result import Fit
from bayesmix.specs import check_number

_NAMES = {
    "elbo": "ELBO, nats",
    "nll": "negative log-likelihood, nats",
    "log_likelihood": "log-likelihood, nats",
    "log_joint": "log joint density, nats",
    "log_joint_unconstrained": "log joint density with Jacobian, nats",
    "sse": "sum of squared errors",
}
_MINIMISED = ("nll", "sse")
_SAME = 0.01
"""Nats between starts that found one optimum."""
_SMOOTHED = 200
"""Traces at least this long are drawn with their running mean."""
_DRAWN = 4000
"""Points of one line: a longer trace is thinned."""


@style.styled
def objective(fits: Any, *, late: float = 0.5) -> Figure:
    r"""The objective by iteration, whole and in its last part, where convergence is decided.

    A fit that has arrived is flat on the right, apart from noise. Traces of 200 iterations and more
    are drawn pale, with their mean over a window of 1/20 of the trace on top. A dotted line is the
    final value evaluated afresh, where the method makes one (``elbo_final``).

    Parameters
    ----------
    fits
        A fit with ``fit_stats``, or a mapping of names to such fits of one objective.
    late
        The share of the iterations that the right panel shows, in (0, 1).

    Raises
    ------
    MissingCapability
        A fit has no objective by iteration, or the fits have different ones.
    SpecError
        Neither a fit nor a mapping of fits; ``late`` outside (0, 1).

    Examples
    --------
    >>> import bayesmix as bm
    >>> model = bm.BinomialGLM("p(high, total) ~ sex")
    >>> fit = bm.fit(model, bm.datasets.census(), method="mle", seed=1)
    >>> bm.plots.objective(fit).axes[0].get_ylabel()
    'log-likelihood, nats'
    """
    share = check_number("objective", "late", late, low=0, high=1, strict=True)
    named = several(fits, "objective()")
    kinds = {_kind(fit) for fit in named.values()}
    if len(kinds) > 1:
        raise MissingCapability(f"objective() compares one objective, got {sorted(kinds)}")
    kind = kinds.pop()
    figure, grid = style.panels(1, 2, height=3.0)
    for i, (name, fit) in enumerate(named.items()):
        values = fit.tree["fit_stats"][kind].to_numpy().ravel()
        _climb(grid[0, 0], values, 0, i, name or type(fit.method).__name__)
        _climb(grid[0, 1], values, int(len(values) * (1 - share)), i, "")
        _final(grid[0, 1], fit, kind, i)
    grid[0, 0].set(xlabel="iteration", ylabel=_NAMES.get(kind, kind.replace("_", " ")))
    grid[0, 0].set_title("all iterations")
    grid[0, 1].set(xlabel="iteration")
    grid[0, 1].set_title(f"the last {100 * share:.0f} %{_starts(named, kind)}")
    style.legend(figure, _handles(grid[0]))
    return figure


def _kind(fit: Fit) -> str:
    """The name of the objective that was followed by iteration."""
    stats = fit.tree["fit_stats"].data_vars if "fit_stats" in fit.tree.children else {}
    traced = [str(name) for name in stats if stats[name].dims == ("iteration",)]
    if not traced:
        raise MissingCapability(
            f"objective() needs an objective by iteration; {type(fit.method).__name__} records none"
        )
    named = [name for name in (str(fit.tree.attrs.get("objective")), *_NAMES) if name in traced]
    return (named or traced)[0]


def _climb(axes: Axes, values: Array, start: int, position: int, label: str) -> None:
    shown = np.arange(start, len(values))
    look = {"color": style.colour(position), "linestyle": style.line(position)}
    noisy = len(values) >= _SMOOTHED
    thin = shown[:: max(1, len(shown) // _DRAWN)]
    if noisy:
        pale = {"color": look["color"], "linewidth": 0.5, "alpha": 0.3, "rasterized": True}
        axes.plot(thin, values[thin], **pale)
        window = len(values) // 20
        mean = np.convolve(values, np.full(window, 1 / window), mode="valid")
        at = np.arange(len(mean)) + window // 2
        axes.plot(at[at >= start], mean[at >= start], label=label, **look)
    else:
        dots = {"marker": style.marker(position), "markersize": 3}
        axes.plot(shown, values[shown], label=label, **look, **dots)
    axes.locator_params(axis="x", nbins=6, integer=True)


def _final(axes: Axes, fit: Fit, kind: str, position: int) -> None:
    """The objective evaluated afresh at the end, a better number than the last of a noisy trace."""
    stats = fit.tree["fit_stats"].data_vars
    if f"{kind}_final" in stats:
        value = float(stats[f"{kind}_final"])
        look = {"color": style.colour(position), "linestyle": ":", "linewidth": 1.2}
        axes.axhline(value, label=f"evaluated afresh: {_number(value)}", **look)


def _starts(named: dict[str, Fit], kind: str) -> str:
    """How many starts of a single fit found the best optimum."""
    fit = next(iter(named.values()))
    stats = fit.tree["fit_stats"].data_vars
    if len(named) > 1 or f"restart_{kind}" not in stats:
        return ""
    ends = stats[f"restart_{kind}"].to_numpy()
    best = np.nanmin(ends) if kind in _MINIMISED else np.nanmax(ends)
    same = int((np.abs(ends - best) <= _SAME).sum())
    return f"\n{same} of {ends.size} starts reached {_number(best)}"


def _number(value: float) -> str:
    """With a minus sign, as on the axes."""
    return f"{value:,.2f}".replace("-", "\N{MINUS SIGN}")


def _handles(axes: Array) -> list[Any]:
    found = [handle for panel in axes for handle in panel.get_legend_handles_labels()[0]]
    return [handle for handle in found if handle.get_label()]
