"""The experts' families against scipy, finite differences and their own draws."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, stats
from scipy.special import expit

from bayesmix.mixtures.components import Binomial, Gaussian, Poisson

LOC = np.array([-3.0, -0.7, 0.0, 0.4, 2.5])
SPREAD = np.array([-2.0, 1.0, 0.3, -0.5, -6.0])
TRIALS = np.array([12, 1, 30, 7, 400])
FAMILIES = {
    "gaussian": Gaussian(0.01),
    "gaussian without floor": Gaussian(0.0),
    "binomial": Binomial(),
    "poisson": Poisson(),
}
EACH = pytest.mark.parametrize("name", FAMILIES)


def reference(name):
    """The same distributions in scipy, one for each element of LOC."""
    if name == "binomial":
        return stats.binom(TRIALS, expit(LOC))
    if name == "poisson":
        return stats.poisson(np.exp(LOC))
    return stats.norm(LOC, np.exp(SPREAD) + FAMILIES[name].floor)


def observed(name, seed=1):
    """A few outcomes of every distribution, (draw, element), as the rows of a design."""
    y = reference(name).rvs((20, len(LOC)), random_state=seed)
    return {"target": y, "trials": TRIALS}


@EACH
def test_log_density_is_scipys(name):
    """Normalised log densities, constants included."""
    rows, law = observed(name), reference(name)
    expected = law.logpdf(rows["target"]) if name[0] == "g" else law.logpmf(rows["target"])
    np.testing.assert_allclose(
        FAMILIES[name].log_density(rows, LOC, SPREAD), expected, rtol=1e-11, atol=1e-12
    )


@pytest.mark.parametrize("loc", [-800.0, 800.0])
def test_extreme_logits_neither_overflow_nor_cancel(loc):
    """A success that is all but impossible has the log probability of its logit."""
    rows = {"target": np.array([0, 1]), "trials": np.array([1, 1])}
    found = Binomial().log_density(rows, np.full(2, loc), np.zeros(2))
    np.testing.assert_allclose(found, [-max(loc, 0.0), min(loc, 0.0)], rtol=1e-15)


@EACH
def test_densities_have_mass_one(name):
    """Probabilities sum, and densities integrate, to one."""
    family = FAMILIES[name]
    for loc, spread, trials in zip(LOC, SPREAD, TRIALS, strict=True):

        def density(y, loc=loc, spread=spread, trials=trials):
            rows = {"target": np.asarray(y), "trials": trials}
            return np.exp(family.log_density(rows, loc, spread))

        if name[0] == "g":
            width = 12 * family.scale(spread)
            mass = integrate.quad(density, loc - width, loc + width, points=[loc])[0]
        else:
            mass = density(np.arange(trials + 1 if name == "binomial" else 200)).sum()
        assert mass == pytest.approx(1, rel=1e-9)


def derivative(function, x, step=1e-3):
    """Central differences of fourth order, elementwise."""
    one, two = (function(x + k * step) - function(x - k * step) for k in (1, 2))
    return (8 * one - two) / (12 * step)


@EACH
def test_slopes_are_derivatives(name):
    """First and second derivatives equal finite differences of the log density and of the first."""
    family, rows = FAMILIES[name], observed(name)
    found = family.slopes(rows, LOC, SPREAD)
    by_loc = derivative(lambda x: family.log_density(rows, x, SPREAD), LOC)
    by_spread = derivative(lambda x: family.log_density(rows, LOC, x), SPREAD)
    expected = {
        "loc": by_loc,
        "spread": by_spread,
        "loc_loc": derivative(lambda x: family.slopes(rows, x, SPREAD).loc, LOC),
        "loc_spread": derivative(lambda x: family.slopes(rows, LOC, x).loc, SPREAD),
        "spread_spread": derivative(lambda x: family.slopes(rows, LOC, x).spread, SPREAD),
    }
    for slope, value in expected.items():
        ours = np.broadcast_to(getattr(found, slope), value.shape)
        # fourth-order truncation and rounding, both relative to the largest slope of a column
        size = 1e-7 * np.abs(value).max(axis=0) + 1e-9
        assert (np.abs(ours - value) < size).all(), slope


@EACH
def test_cdf_is_scipys(name):
    """Probabilities of at most a value, between whole numbers too."""
    law = reference(name)
    at = np.stack([law.mean() + shift * law.std() for shift in (-2, -0.5, 0, 0.3, 3)])
    found = FAMILIES[name].cdf({"trials": TRIALS}, at, LOC, SPREAD)
    np.testing.assert_allclose(found, law.cdf(at), rtol=1e-11, atol=1e-15)


@EACH
def test_moments_are_scipys(name):
    """Mean and variance are those of the distribution."""
    mean, variance = FAMILIES[name].moments({"trials": TRIALS}, LOC, SPREAD)
    np.testing.assert_allclose(mean, reference(name).mean(), rtol=1e-12)
    np.testing.assert_allclose(variance, reference(name).var(), rtol=1e-12)


@EACH
def test_draws_have_the_moments(name):
    """Mean and variance of 100,000 draws lie within 4 standard errors, and their law is right."""
    n = 100_000
    wide = [np.tile(values, (n, 1)) for values in (LOC, SPREAD, TRIALS)]
    rows = {"trials": wide[2]}
    drawn = FAMILIES[name].draw(np.random.default_rng(2), rows, wide[0], wide[1])
    mean, variance = FAMILIES[name].moments({"trials": TRIALS}, LOC, SPREAD)
    squares = (drawn - mean) ** 2
    assert (np.abs(drawn.mean(axis=0) - mean) < 4 * np.sqrt(variance / n)).all()
    assert (np.abs(squares.mean(axis=0) - variance) < 4 * squares.std(axis=0) / np.sqrt(n)).all()
    share = (drawn <= mean).mean(axis=0)
    expected = FAMILIES[name].cdf(rows={"trials": TRIALS}, at=mean, loc=LOC, spread=SPREAD)
    error = np.sqrt(expected * (1 - expected) / n)
    assert (np.abs(share - expected) < 4 * error + 1 / n).all()


@EACH
def test_working_targets_are_on_the_link_scale(name):
    """The mean at the working target is the target, but for half a count that keeps it finite."""
    rows = observed(name)
    mean, _ = FAMILIES[name].moments(rows, FAMILIES[name].working(rows), SPREAD)
    assert (np.abs(mean - rows["target"]) <= 0.5 + 1e-9).all()


@EACH
def test_the_scale_has_a_floor(name):
    """Gaussian experts have a scale, never below the floor; counts have none."""
    family = FAMILIES[name]
    assert family.has_scale == (name[0] == "g")
    if family.has_scale:
        assert family.scale(np.array(-50.0)) == pytest.approx(family.floor, abs=1e-20)
