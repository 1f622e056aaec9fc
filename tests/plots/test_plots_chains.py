"""Autocorrelations, Geweke's scores and energies as drawn equal those computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
from drawn import legend_texts, sampled, title

from bayesmix.chains import statistics
from bayesmix.errors import MissingCapability, SpecError
from bayesmix.plots import autocorrelation, energy, geweke
from bayesmix.result import Fit


def test_autocorrelation_by_hand(slopes: Fit) -> None:
    """Each chain's value at a lag is its lagged covariance over its variance."""
    lines = autocorrelation(slopes, names="sex", max_lag=5).axes[0].lines[1:]
    for line, chain in zip(lines, slopes.tree["posterior"]["sex"].to_numpy(), strict=True):
        c = chain - chain.mean()
        expected = [(c[: 200 - k] * c[k:]).sum() / (c**2).sum() for k in range(6)]
        assert line.get_xdata().tolist() == [0, 1, 2, 3, 4, 5]
        np.testing.assert_allclose(line.get_ydata(), expected, atol=1e-12)


def test_autocorrelation_gives_the_effective_size(slopes: Fit) -> None:
    """The title holds the bulk effective sample size of all chains together."""
    size = statistics.ess_bulk(slopes.tree["posterior"]["sex"].to_numpy()[..., None])[0]
    panel = autocorrelation(slopes, names="sex").axes[0]
    assert title(panel) == f"sex\n{size:,.0f} effective of 800 draws"


def test_autocorrelation_of_short_chains() -> None:
    """Lags stop at the length of the chain."""
    panel = autocorrelation(sampled(shape=(2, 12)), names="sex", max_lag=50).axes[0]
    assert panel.lines[1].get_xdata().max() == 11


def test_a_chain_that_stands_still_is_drawn_empty() -> None:
    """A constant chain has no autocorrelation, and the others are still shown."""
    fit = sampled()
    fit.tree["posterior"]["sex"][2] = 1.0
    lines = autocorrelation(fit, names="sex").axes[0].lines[1:]
    assert [bool(np.isnan(line.get_ydata()).all()) for line in lines] == [False, False, True, False]


def test_autocorrelation_refuses_a_lag_below_one(slopes: Fit) -> None:
    """max_lag is a whole number of draws."""
    with pytest.raises(SpecError, match="max_lag must be a whole number >= 1, got 0"):
        autocorrelation(slopes, max_lag=0)


def test_geweke_leaves_out_more_and_more(slopes: Fit) -> None:
    """Scores at the first and the last start are those of the whole and of half the chain."""
    draws = slopes.tree["posterior"]["sex"].to_numpy()[..., None]
    lines = geweke(slopes, names="sex", intervals=5).axes[0].lines[1:]
    for i, line in enumerate(lines):
        x, z = line.get_data()
        assert x.tolist() == [0, 25, 50, 75, 100]
        assert z[0] == statistics.geweke_z(draws)[i, 0]
        assert z[-1] == statistics.geweke_z(draws[:, 100:])[i, 0]


def test_geweke_shows_every_score() -> None:
    """A chain that starts far away keeps its large first score inside the axes."""
    fit = sampled()
    fit.tree["posterior"]["sex"][0, :20] += 3.0
    panel = geweke(fit, names="sex").axes[0]
    first = panel.lines[1].get_ydata()[0]
    low, high = panel.get_ylim()
    assert first > 5
    assert low == -high and first < high


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"intervals": 1}, "intervals must be a whole number >= 2"),
        ({"first": 0.7}, "first and last must lie in"),
        ({"first": 0.001}, "longer chains than 200 draws"),
    ],
)
def test_geweke_refuses(slopes: Fit, options: dict, words: str) -> None:
    """Shares of the chain that cannot be compared are refused."""
    with pytest.raises(SpecError, match=words):
        geweke(slopes, **options)


def test_energy_gives_bfmi_by_chain(slopes: Fit) -> None:
    """The legend holds each chain's variance of steps over variance of energies."""
    levels = slopes.tree["sample_stats"]["energy"].to_numpy()
    ratio = (np.diff(levels, axis=1) ** 2).mean(axis=1) / levels.var(axis=1, ddof=1)
    expected = [f"chain {i + 1}: {value:.2f}" for i, value in enumerate(ratio)]
    assert legend_texts(energy(slopes))[2:] == expected


def test_energy_densities_are_of_energies_and_steps(slopes: Fit) -> None:
    """Both curves have unit area; independent energies make steps sqrt(2) as wide."""
    spreads = []
    for line in energy(slopes).axes[0].lines:
        x, density = line.get_data()
        weight = density * (x[1] - x[0])
        assert weight.sum() == pytest.approx(1, abs=0.01)
        spreads.append(np.sqrt((weight * x**2).sum() - (weight * x).sum() ** 2))
    assert spreads[1] / spreads[0] == pytest.approx(np.sqrt(2), rel=0.1)


def test_energy_needs_a_hamiltonian_sampler(approximation: Fit) -> None:
    """Draws of an approximation have no energies."""
    with pytest.raises(MissingCapability, match="ADVI records none: fit with method='nuts'"):
        energy(approximation)
