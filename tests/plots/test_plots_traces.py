"""Traces show the draws in order; the bands beside them hold chains that agree."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from drawn import legend_texts, sampled, title
from matplotlib.axes import Axes
from scipy.stats import rankdata

from bayesmix.chains import statistics
from bayesmix.errors import SpecError
from bayesmix.plots import style, trace
from bayesmix.plots.chains import bin_band, ecdf_band
from bayesmix.result import Fit


def test_lines_are_the_draws_of_each_chain(slopes: Fit) -> None:
    """The left panel of a parameter draws every chain in order."""
    left = trace(slopes, names="sex").axes[0]
    lines = np.stack([line.get_ydata() for line in left.lines if len(line.get_xdata()) == 200])
    assert np.array_equal(lines, slopes.tree["posterior"]["sex"].to_numpy())


def test_one_row_for_each_distinct_entry(slopes: Fit) -> None:
    """By default the population's parameters are shown; a correlation appears once."""
    figure = trace(slopes)
    assert [title(axes) for axes in figure.axes[::2]] == [
        "Intercept",
        "sex",
        "sigma_edu[Intercept]",
        "sigma_edu[sex]",
        "corr_edu[Intercept, sex]",
    ]


def test_divergences_are_marked_where_they_happened(slopes: Fit) -> None:
    """Vermillion ticks stand at the divergent draws, and the legend names them."""
    figure = trace(slopes, names="sex")
    marks = [line for line in figure.axes[0].lines if line.get_color() == style.DIVERGENT]
    at = np.concatenate([line.get_xdata() for line in marks])
    expected = slopes.tree["sample_stats"]["diverging"].to_numpy().nonzero()[1]
    assert np.array_equal(np.sort(at), np.sort(expected))
    assert "divergent transition" in legend_texts(figure)


def test_without_divergences_the_legend_has_none() -> None:
    """A clean run does not speak of divergences."""
    assert legend_texts(trace(sampled(), names="sex")) == [
        *(f"chain {i}" for i in range(1, 5)),
        "95 % band",
    ]


def test_rank_ecdf_by_hand(slopes: Fit) -> None:
    """The curve is the share of a chain's ranks at or below r, minus r over all draws."""
    draws = slopes.tree["posterior"]["sex"].to_numpy()
    ranks = rankdata(draws).reshape(draws.shape)
    line = trace(slopes, names="sex").axes[1].lines[1 + 2]
    r, deviation = line.get_data()
    assert np.array_equal(r, np.sort(ranks[2]))
    expected = np.array([(ranks[2] <= x).mean() - x / 800 for x in r])
    np.testing.assert_allclose(deviation, expected, atol=1e-12)


def test_rank_histogram_counts_every_draw(slopes: Fit) -> None:
    """Each chain's bins add up to its draws, and equal a count by hand."""
    axes = trace(slopes, names="sex", ranks="histogram").axes[1]
    draws = slopes.tree["posterior"]["sex"].to_numpy()
    ranks = rankdata(draws).reshape(draws.shape)
    for chain, stairs in zip(ranks, axes.patches[1:], strict=True):
        counts = stairs.get_data().values
        assert counts.sum() == 200
        assert counts[0] == (chain <= 40).sum()


def test_rhat_is_that_of_the_diagnostics(slopes: Fit) -> None:
    """The title of the rank panel gives the rank-normalised split R-hat."""
    draws = slopes.tree["posterior"]["sex"].to_numpy()[..., None]
    expected = statistics.rhat_rank(draws)[0]
    assert title(trace(slopes, names="sex").axes[1]) == f"R-hat {expected:.3f}"


def test_independent_draws_get_no_rhat(approximation: Fit) -> None:
    """R-hat is about Markov chains; an approximation's draws agree however wrong it is."""
    figure = trace(approximation, names="sex")
    assert title(figure.axes[1]) == ""
    assert "ranks: second half" in legend_texts(figure)


def test_one_chain_is_compared_half_with_half(approximation: Fit) -> None:
    """The rank panel of a single chain shows two curves of half its length."""
    lines = trace(approximation, names="sex").axes[1].lines[1:]
    assert [len(line.get_xdata()) for line in lines] == [150, 150]


@pytest.mark.parametrize("shape", [(4, 200), (2, 500)])
def test_bands_hold_chains_that_agree(shape: tuple[int, int]) -> None:
    """Of 400 runs with independent draws, at most 5 % leave a band, within binomial error."""
    rng = np.random.default_rng(7)
    m, n = shape
    left_ecdf = left_bins = 0
    for _ in range(400):
        ranks = rng.permutation(m * n).reshape(shape) + 1
        share = np.arange(1, n + 1) / n
        deviation = np.abs(share - np.sort(ranks, axis=1) / (m * n)).max()
        counts = [np.histogram(chain - 0.5, 20, (0, m * n))[0] for chain in ranks]
        left_ecdf += deviation > ecdf_band(m, n)
        left_bins += np.abs(np.stack(counts) - n / 20).max() > bin_band(m, n, n)
    limit = 400 * 0.05 + 3 * np.sqrt(400 * 0.05 * 0.95)
    assert left_ecdf <= limit
    assert left_bins <= limit


@pytest.mark.parametrize("kind", ["ecdf", "histogram"])
def test_a_chain_elsewhere_leaves_the_band(kind: str) -> None:
    """A chain one standard deviation off is outside the band of either picture."""
    fit = sampled()
    fit.tree["posterior"]["sex"][1] += 0.05
    axes = trace(fit, names="sex", ranks=kind).axes[1]
    low, high = _band(axes)
    drawn = (
        axes.lines[1 + 1].get_ydata() if kind == "ecdf" else axes.patches[1 + 1].get_data().values
    )
    assert drawn.max() > high or drawn.min() < low


def test_a_stuck_chain_does_not_widen_the_band() -> None:
    """The band comes from chains judged alone, so disagreement cannot hide itself."""
    fit = sampled()
    good = _band(trace(fit, names="sex").axes[1])
    fit.tree["posterior"]["sex"][3] = 1.6
    spoilt = _band(trace(fit, names="sex").axes[1])
    assert np.ptp(spoilt) < 1.3 * np.ptp(good)


def _band(axes: Axes) -> tuple[float, float]:
    box = axes.patches[0].get_extents().transformed(axes.transData.inverted())
    return box.y0, box.y1


def test_unknown_rank_plot(slopes: Fit) -> None:
    """A kind of rank plot that is not there is refused with those that are."""
    with pytest.raises(SpecError, match=r"ranks='hist'.*'ecdf', 'histogram'"):
        trace(slopes, ranks="hist")


def test_too_many_panels() -> None:
    """A figure that does not fit on a page is refused, and names= is suggested."""
    data = pd.DataFrame({"town": [f"t{i}" for i in range(30)], "yes": 3, "all": 9})
    fit = sampled("p(yes, all) ~ 1 + (1 | town)", data)
    with pytest.raises(SpecError, match=r"trace\(\) would draw 30 panels, 24 fit.*names="):
        trace(fit, names="1|town")
