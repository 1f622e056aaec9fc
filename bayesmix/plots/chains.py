"""How the sampler worked: traces with ranks, autocorrelation, Geweke's scores, energies."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from bayesmix.chains import statistics
from bayesmix.errors import MissingCapability, SpecError
from bayesmix.plots import style
from bayesmix.plots.density import kernel_density
from bayesmix.plots.entries import Names, divergent, one, select
from bayesmix.protocols import SAMPLE_DIMS, Array
from bayesmix.specs import check_choice, check_count, check_number
from bayesmix.tree.read import require_draws


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
    values = statistics.autocorrelation(chosen.draws)[:, : len(lags)]
    sizes = statistics.ess_bulk(chosen.draws)
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
    share (:func:`~bayesmix.chains.statistics.geweke_z`). In a chain that had arrived before its
    first kept draw, about 1 in 20 lies outside :math:`\pm 1.96`; scores that start outside and
    come in tell how many draws to discard.

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
    z = np.stack([statistics.geweke_z(chosen.draws[:, start:], first, last) for start in starts])
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
    _bfmi_legend(figure, statistics.bfmi(levels))
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


_LEVEL = 0.95
_BINS = 20


@style.styled
def trace(fit: Any, *, names: Names = None, ranks: str = "ecdf") -> Figure:
    r"""Draws of each chain in order, and beside them the ranks of each chain among all draws.

    Chains that agree are noise around one level on the left, and stay in the grey band on the
    right: the band holds all chains with probability 95 % when they draw from one distribution.

    Parameters
    ----------
    names
        Parameters or entries of them; None means the population's.
    ranks
        ``"ecdf"``: the share of a chain's ranks at or below r, minus r / S, with S draws in all;
        below zero means that the chain has too few small values. ``"histogram"``: the count of a
        chain's ranks in 20 bins. A single chain is compared half with half.

    Returns
    -------
    Figure
        One row a parameter, two panels a row.

    Raises
    ------
    NoDraws, UnknownName, SpecError
        A point estimate, a parameter that is not there, more than 24 panels.

    References
    ----------
    Vehtari et al. (2021), doi:10.1214/20-BA1221; Sailynoja, Buerkner & Vehtari (2022),
    doi:10.1007/s11222-022-10090-6.

    Examples
    --------
    >>> import bayesmix as bm
    >>> model = bm.BinomialGLM("p(high, total) ~ sex + (1 | edu)")
    >>> fit = bm.fit(model, bm.datasets.census(), method=bm.NUTS(draws=200), seed=1)
    >>> len(trace(fit).axes)
    6
    """
    check_choice("trace", "ranks", ranks, ("ecdf", "histogram"))
    chosen = select(fit, names, "trace()")
    rows = len(chosen.labels)
    figure, grid = style.panels(
        rows, 2, height=1.25 * rows + 0.8, sharex="col", width_ratios=(1.7, 1)
    )
    diverging = divergent(fit, chosen.draws.shape[:2])
    markov = fit.tree.attrs.get("engine", "mcmc") == "mcmc"
    rhat = statistics.rhat_rank(chosen.draws, min_chains=1)
    for k, (label, draws) in enumerate(chosen):
        _lines(grid[k, 0], draws, diverging)
        grid[k, 0].set_title(label)
        _ranks(grid[k, 1], draws, ranks)
        if markov:
            grid[k, 1].set_title(f"R-hat {rhat[k]:.3f}")
    grid[-1, 0].set_xlabel("draw")
    grid[-1, 1].set_xlabel("rank among all draws")
    figure.supylabel("parameter value", fontsize=9)
    style.legend(figure, _trace_handles(chosen.draws.shape[0], bool(diverging.any())), columns=6)
    return figure


def _lines(axes: Axes, draws: Array, diverging: Array) -> None:
    for i, chain in enumerate(draws):
        axes.plot(chain, color=style.colour(i), linewidth=0.4, alpha=0.8, rasterized=True)
        at = np.flatnonzero(diverging[i])
        if at.size:
            floor = axes.get_xaxis_transform()
            axes.plot(at, np.full(at.size, 0.03), "|", color=style.DIVERGENT, ms=7, transform=floor)
    axes.margins(x=0.01)


def _ranks(axes: Axes, draws: Array, kind: str) -> None:
    groups = draws if len(draws) > 1 else np.array_split(draws[0], 2)
    groups = np.stack([group[: len(groups[-1])] for group in groups])
    m, n = groups.shape
    ranks = groups.ravel().argsort(kind="stable").argsort().reshape(m, n) + 1
    size = _effective_size(groups)
    draw = _rank_ecdf if kind == "ecdf" else _rank_histogram
    draw(axes, ranks, size)
    axes.set_xlim(0, m * n)


def _effective_size(groups: Array) -> float:
    """Independent draws that a typical chain is worth by itself, at most its length.

    Each chain is judged alone: chains that disagree must not widen the band that shows it.
    """
    sizes = statistics.ess_bulk(groups.T[None])
    size = float(np.median(np.nan_to_num(sizes, nan=groups.shape[1])))
    return min(size, groups.shape[1])


def ecdf_band(m: int, size: float) -> float:
    r"""Half-width that all m rank ECDFs keep with probability 95 %.

    Kolmogorov's limit for one chain of ``size`` draws against the other m - 1, at level 5 % / m:
    :math:`(1 - 1/m) \sqrt{-\log(0.05 / 2m) / 2} \sqrt{m / ((m - 1) \mathrm{size})}`.
    """
    quantile = math.sqrt(-0.5 * math.log((1 - _LEVEL) / (2 * m)))
    return (1 - 1 / m) * quantile * math.sqrt(m / ((m - 1) * size))


def bin_band(m: int, n: int, size: float) -> float:
    """Half-width around n / 20 that all m x 20 counts keep with probability 95 %.

    Counts are hypergeometric; correlated draws, worth ``size`` of n, spread them wider.
    """
    from scipy.stats import norm

    spread = math.sqrt(n / _BINS * (1 - 1 / _BINS) * (1 - 1 / m) * n / size)
    return float(norm.isf((1 - _LEVEL) / (2 * m * _BINS))) * spread


def _rank_ecdf(axes: Axes, ranks: Array, size: float) -> None:
    m, n = ranks.shape
    half = ecdf_band(m, size)
    axes.axhspan(-half, half, color=style.BAND, linewidth=0)
    axes.axhline(0, color=style.GREY, linewidth=0.7)
    share = np.arange(1, n + 1) / n
    for i, chain in enumerate(np.sort(ranks, axis=1)):
        deviation = share - chain / (m * n)
        axes.plot(chain, deviation, color=style.colour(i), linestyle=style.line(i), linewidth=1)
    axes.set_ylabel("rank ECDF\nminus uniform", fontsize=8)


def _rank_histogram(axes: Axes, ranks: Array, size: float) -> None:
    m, n = ranks.shape
    mean, half = n / _BINS, bin_band(m, n, size)
    axes.axhspan(max(0, mean - half), mean + half, color=style.BAND, linewidth=0)
    axes.axhline(mean, color=style.GREY, linewidth=0.7)
    edges = np.linspace(0, m * n, _BINS + 1)
    for i, chain in enumerate(ranks):
        counts = np.histogram(chain - 0.5, edges)[0]
        look = {"color": style.colour(i), "linestyle": style.line(i), "linewidth": 1}
        axes.stairs(counts, edges, baseline=None, **look)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("draws in bin", fontsize=8)


def _trace_handles(n_chains: int, any_divergent: bool) -> list[Any]:
    handles: list[Any] = style.chain_handles(n_chains)
    if n_chains == 1:
        handles = style.chain_handles(2)
        handles[0].set_label("chain 1 (ranks: first half)")
        handles[1].set_label("ranks: second half")
    handles.append(Patch(color=style.BAND, label="95 % band"))
    if any_divergent:
        look = {"color": style.DIVERGENT, "marker": "|", "linestyle": "none"}
        handles.append(style.key("divergent transition", **look))
    return handles
