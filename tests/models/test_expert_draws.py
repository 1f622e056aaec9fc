"""The compiled loop that draws outcomes of experts, against NumPy from the same random numbers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from bayesmix.mixtures.components import Gaussian, Poisson
from bayesmix.models.experts import equation
from bayesmix.models.experts.equation import Gated

SAMPLES, ROWS, FLOOR = 40, 70, 0.02


def case(count, columns, gate):
    """Rows, and coefficients (sample, component, column) of loc, gate and spread."""
    rng = np.random.default_rng(count)
    x = [rng.normal(size=(ROWS, c)) for c in (2, columns, 1)]
    rows = Gated(Gaussian(FLOOR), {}, *x, rng.normal(size=ROWS))
    coefs = tuple(rng.normal(size=(SAMPLES, count, c)) for c in (2, columns, 1))
    return rows, (coefs[0], gate * coefs[1], coefs[2])


def in_numpy(rows, coefs, rng, noisy):
    """Component, loc, spread and noise of each sample and row."""
    uniform, noise = np.empty((SAMPLES, ROWS)), np.empty((SAMPLES, ROWS))
    for s in range(SAMPLES):
        rng.random(out=uniform[s])
        if noisy:
            rng.standard_normal(out=noise[s])
    return (*equation._choose(rows, coefs, uniform), noise)


@pytest.mark.parametrize("bits", [np.random.PCG64, np.random.SFC64, np.random.MT19937])
def test_the_loops_numbers_are_those_of_numpys_generators(bits):
    """Whatever the generator, and it stands afterwards where NumPy's would."""
    rows, coefs = case(3, 2, 1.0)
    rng, same = np.random.Generator(bits(7)), np.random.Generator(bits(7))
    drawn, _ = equation._draw_compiled(rng, rows, coefs)
    _, loc, spread, noise = in_numpy(rows, coefs, same, True)
    np.testing.assert_allclose(drawn, loc + (np.exp(spread) + FLOOR) * noise, rtol=1e-10)
    assert rng.random() == same.random()


@pytest.mark.parametrize("gate", [1.0, 400.0], ids=["bounded", "extreme"])
@pytest.mark.parametrize(("count", "columns"), [(1, 2), (2, 0), (2, 1), (3, 2), (20, 3)])
def test_outcomes_are_those_of_numpy(count, columns, gate):
    """The same components, and the same outcomes up to rounding, however steep the gate."""
    rows, coefs = case(count, columns, gate)
    part, loc, spread, noise = in_numpy(rows, coefs, np.random.default_rng(1), True)
    drawn, found = equation._draw_compiled(np.random.default_rng(1), rows, coefs)
    np.testing.assert_array_equal(found, part)
    expected = loc + (np.exp(spread) + FLOOR) * noise
    np.testing.assert_allclose(drawn, expected, rtol=1e-10, atol=1e-10)
    assert len(np.unique(found)) == (count if columns else min(count, 2))


def test_predictors_are_those_of_numpy(monkeypatch):
    """What families without a scale read: components and predictors."""
    rows, coefs = case(3, 2, 1.0)
    rows = Gated(Poisson(), {}, rows.loc, rows.gate, rows.spread, rows.offset)
    read = {}
    monkeypatch.setattr(Poisson, "draw", lambda self, rng, rows, loc, spread: read.update(
        loc=loc, spread=spread) or loc)  # fmt: skip
    part, loc, spread, _ = in_numpy(rows, coefs, np.random.default_rng(2), False)
    _, found = equation._draw_compiled(np.random.default_rng(2), rows, coefs)
    np.testing.assert_array_equal(found, part)
    np.testing.assert_allclose(read["loc"], loc, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(read["spread"], spread, rtol=1e-12, atol=1e-12)


def test_outcomes_have_the_distribution_that_they_say():
    """One component's outcomes are normal and components fall by weight, with the power to see."""
    rows = Gated(
        Gaussian(FLOOR), {}, np.zeros((1000, 1)), np.ones((1000, 1)), np.ones((1000, 1)),
        np.zeros(1000),
    )  # fmt: skip
    gate = np.tile(np.log([[0.2], [0.3], [0.5]]), (300, 1, 1))
    coefs = (0 * gate, gate, 0 * gate + np.log(1 - FLOOR))
    drawn, part = equation._draw_compiled(np.random.default_rng(3), rows, coefs)
    assert stats.kstest(drawn.ravel(), "norm").pvalue > 1e-3
    # a scale of 1.02 moves sqrt(n) D to 2.65 +- 0.37 at each of -1 and 1; p < 1e-3 takes 1.95
    assert stats.kstest(1.02 * drawn.ravel(), "norm").pvalue < 1e-3
    counts = np.bincount(part.ravel())
    assert stats.chisquare(counts, part.size * np.array([0.2, 0.3, 0.5])).pvalue > 1e-3
    assert stats.chisquare(counts, part.size * np.array([0.21, 0.3, 0.49])).pvalue < 1e-3
    for step in (1, 1000):
        correlation = np.corrcoef(drawn.ravel()[:-step], drawn.ravel()[step:])[0, 1]
        assert abs(correlation) < 4 / np.sqrt(drawn.size)


def test_two_gates_beyond_all_bounds_are_told_apart():
    """Logits of 900 and 1000 above the first one's: the last has all, not half, of the weight."""
    rows = Gated(
        Gaussian(FLOOR), {}, np.zeros((ROWS, 1)), np.ones((ROWS, 1)), np.zeros((ROWS, 1)),
        np.zeros(ROWS),
    )  # fmt: skip
    gate = np.tile(np.array([[0.0], [900.0], [1000.0]]), (SAMPLES, 1, 1))
    part, _, _ = equation._choose(
        rows, (gate, gate, gate), np.random.default_rng(1).random((40, 70))
    )
    _, found = equation._draw_compiled(np.random.default_rng(3), rows, (0 * gate, gate, 0 * gate))
    assert (found == 2).all() and (part == 2).all()
