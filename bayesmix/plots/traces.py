"""Traces of the chains, with the ranks that show whether they agree."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from bayesmix.blocks import chains
from bayesmix.plots import style
from bayesmix.plots.entries import Names, divergent, select
from bayesmix.protocols import Array
from bayesmix.specs import check_choice

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
    rhat = chains.rhat_rank(chosen.draws, min_chains=1)
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
    sizes = chains.ess_bulk(groups.T[None])
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
