"""How the sampler worked: autocorrelation, Geweke's scores, energies."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from bayesmix.blocks import chains
from bayesmix.errors import MissingCapability, SpecError
from bayesmix.plots import style
from bayesmix.plots.density import kernel_density
from bayesmix.plots.entries import Names, one, select
from bayesmix.protocols import Array
from bayesmix.schema import SAMPLE_DIMS, require_draws
from bayesmix.specs import check_count, check_number


@style.styled
def autocorrelation(fit: Any, *, names: Names = None, max_lag: int = 30) -> Figure:
    r"""Correlation of each chain with itself, ``lag`` draws later.

    The faster it falls, the more a draw is worth; each title gives the bulk effective sample size.
    The grey band, :math:`\pm 1.96 / \sqrt{n}`, holds 95 % of the values of independent draws.

    Parameters
    ----------
    names
        Parameters or entries of them; None means the population's.
    max_lag
        Largest lag, in draws.

    Raises
    ------
    NoDraws, UnknownName, SpecError
        A point estimate, a parameter that is not there, more than 24 panels.

    Examples
    --------
    >>> import bayesmix as bm
    >>> model = bm.BinomialGLM("p(high, total) ~ sex")
    >>> fit = bm.fit(model, bm.datasets.census(), method=bm.NUTS(draws=200), seed=1)
    >>> figure = bm.plots.autocorrelation(fit, max_lag=10)
    >>> [panel.get_title("left").splitlines()[0] for panel in figure.axes]
    ['Intercept', 'sex']
    """
    check_count("autocorrelation", "max_lag", max_lag)
    chosen = select(fit, names, "autocorrelation()")
    m, n = chosen.draws.shape[:2]
    lags = np.arange(min(max_lag + 1, n))
    values = chains.autocorrelation(chosen.draws)[:, : len(lags)]
    sizes = chains.ess_bulk(chosen.draws)
    figure, axes = style.tiles(len(chosen.labels), sharex=True, sharey=True)
    for k, panel in enumerate(axes):
        panel.axhspan(-1.96 / math.sqrt(n), 1.96 / math.sqrt(n), color=style.BAND, linewidth=0)
        panel.axhline(0, color=style.GREY, linewidth=0.7)
        for i in range(m):
            panel.plot(
                lags, values[i, :, k], color=style.colour(i), marker=style.marker(i), ms=2.5, lw=0.8
            )
        panel.set_title(f"{chosen.labels[k]}\n{sizes[k]:,.0f} effective of {m * n:,} draws")
    figure.supxlabel("lag, draws", fontsize=9)
    figure.supylabel("autocorrelation", fontsize=9)
    band = Patch(color=style.BAND, label="95 % band of independent draws")
    style.legend(figure, [*_marked_chains(m), band], columns=6)
    return figure


def _marked_chains(n_chains: int) -> list[Line2D]:
    handles = style.chain_handles(n_chains)
    for i, handle in enumerate(handles):
        handle.set(marker=style.marker(i), markersize=4, linestyle="-", linewidth=0.8)
    return handles


@style.styled
def geweke(
    fit: Any, *, names: Names = None, first: float = 0.1, last: float = 0.5, intervals: int = 20
) -> Figure:
    r"""Geweke's z-scores of each chain, with more and more of its start left out.

    A z-score compares the mean of the ``first`` share of what is left with that of its ``last``
    share (:func:`bayesmix.blocks.chains.geweke_z`). In a chain that had arrived before its first
    kept draw, about 1 in 20 lies outside :math:`\pm 1.96`; scores that start outside and come in
    tell how many draws to discard.

    Parameters
    ----------
    names
        Parameters or entries of them; None means the population's.
    first, last
        Shares of the chain that are compared.
    intervals
        Number of starts, even from the first draw to the middle of the chain.

    Raises
    ------
    NoDraws, UnknownName, SpecError
        A point estimate, a parameter that is not there, more than 24 panels.

    References
    ----------
    Geweke (1992), in Bayesian Statistics 4, pp. 169-193.

    Examples
    --------
    >>> import bayesmix as bm
    >>> model = bm.BinomialGLM("p(high, total) ~ sex")
    >>> fit = bm.fit(model, bm.datasets.census(), method=bm.NUTS(draws=200), seed=1)
    >>> [panel.get_title("left") for panel in bm.plots.geweke(fit).axes]
    ['Intercept', 'sex']
    """
    check_count("geweke", "intervals", intervals, low=2)
    for name, share in (("first", first), ("last", last)):
        check_number("geweke", name, share, low=0, high=1, strict=True)
    chosen = select(fit, names, "geweke()")
    m, n = chosen.draws.shape[:2]
    starts = np.unique(np.linspace(0, n // 2, intervals).astype(int))
    z = np.stack([chains.geweke_z(chosen.draws[:, start:], first, last) for start in starts])
    if np.isnan(z).all():
        raise SpecError(f"geweke() needs longer chains than {n} draws, or a larger first={first:g}")
    figure, axes = style.tiles(len(chosen.labels), sharex=True, sharey=True)
    for k, panel in enumerate(axes):
        panel.axhspan(-1.96, 1.96, color=style.BAND, linewidth=0)
        panel.axhline(0, color=style.GREY, linewidth=0.7)
        for i in range(m):
            look = {"color": style.colour(i), "marker": style.marker(i), "ms": 3}
            panel.plot(starts, z[:, i, k], linestyle="none", **look)
        panel.set_title(chosen.labels[k])
    axes[0].set_ylim(*_symmetric(z, 3.0))
    figure.supxlabel("draws left out at the start of the chain", fontsize=9)
    figure.supylabel("Geweke's z-score", fontsize=9)
    handles = _marked_chains(m)
    for handle in handles:
        handle.set_linestyle("none")
    style.legend(figure, [*handles, Patch(color=style.BAND, label="±1.96")], columns=6)
    return figure


def _symmetric(values: Array, least: float) -> tuple[float, float]:
    limit = max(least, 1.1 * float(np.nanmax(np.abs(values))))
    return -limit, limit


@style.styled
def energy(fit: Any) -> Figure:
    r"""Energies of a Hamiltonian sampler: their distribution, and that of their steps.

    Each draw takes the energy :math:`E` where the momentum puts it. When steps
    :math:`E_t - E_{t-1}` spread as wide as the energies themselves, the sampler crosses the
    posterior freely; a narrow step distribution means slow exploration of the tails. The legend
    gives the ratio of the variances by chain, the Bayesian fraction of missing information (BFMI);
    below 0.3 is a warning.

    Raises
    ------
    NoDraws
        The fit is a point estimate.
    MissingCapability
        The method has no energies.

    References
    ----------
    Betancourt (2016), arXiv:1604.00695.

    Examples
    --------
    >>> import bayesmix as bm
    >>> model = bm.BinomialGLM("p(high, total) ~ sex")
    >>> fit = bm.fit(model, bm.datasets.census(), method=bm.NUTS(draws=200), seed=1)
    >>> len(bm.plots.energy(fit).legends)
    2
    """
    require_draws(one(fit, "energy()").tree, "energy()")
    levels = _energies(fit)
    centred, steps = levels - levels.mean(), np.diff(levels, axis=1)
    low, high = (np.quantile(np.r_[centred.ravel(), steps.ravel()], q) for q in (0.0005, 0.9995))
    figure, grid = style.panels(1, 1, height=3.2)
    axes = grid[0, 0]
    for i, (name, values) in enumerate(
        (("energy minus its mean", centred), ("step between successive draws", steps))
    ):
        x, density = kernel_density(values, low, high)
        axes.fill_between(x, density, color=style.colour(i), alpha=0.25, linewidth=0)
        axes.plot(x, density, color=style.colour(i), linestyle=style.line(i), label=name)
    axes.set(xlabel="energy, nats", ylabel="density, 1/nat", ylim=(0, None), xlim=(low, high))
    handles = axes.get_legend_handles_labels()[0]
    figure.legend(handles=handles, loc="outside upper center", ncols=2)
    _bfmi_legend(figure, chains.bfmi(levels))
    return figure


def _energies(fit: Any) -> Array:
    stats = fit.tree.children.get("sample_stats")
    if stats is None or "energy" not in stats.data_vars:
        raise MissingCapability(
            f"energy() needs the energies of a Hamiltonian sampler; {type(fit.method).__name__} "
            "records none: fit with method='nuts'"
        )
    return stats["energy"].transpose(*SAMPLE_DIMS).to_numpy()


def _bfmi_legend(figure: Figure, values: Array) -> None:
    handles = [
        style.key(f"chain {i + 1}: {value:.2f}", linestyle="none") for i, value in enumerate(values)
    ]
    figure.legend(
        handles=handles,
        loc="outside right upper",
        title="BFMI",
        title_fontsize=8,
        handlelength=0,
        handletextpad=0,
    )
