"""Mixtures for a reader's own arrays: densities, weights, components, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp, softmax

import bayesmix as bm

LOGITS = np.array([[0.0, 1.0, -2.0], [700.0, -800.0, 690.0]])
PARTS = np.array([[-1.0, -3.0, -0.5], [-2000.0, -2001.0, -1999.0]])


def test_log_softmax_and_density_are_scipy_s():
    """Log weights and mixture densities agree with SciPy, also where exponentials underflow."""
    weight = bm.mixtures.log_softmax(LOGITS)
    np.testing.assert_allclose(weight, LOGITS - logsumexp(LOGITS, axis=1, keepdims=True))
    expected = logsumexp(weight + PARTS, axis=1)
    np.testing.assert_allclose(bm.mixtures.log_density(weight, PARTS), expected, rtol=1e-12)
    shares = bm.mixtures.responsibilities(weight, PARTS)
    np.testing.assert_allclose(shares, softmax(weight + PARTS, axis=1), atol=1e-12)


def test_moments_are_those_of_many_draws():
    """Mean and variance of a mixture of two normals, against an exact integral."""
    mean, variance = bm.mixtures.moments([0.3, 0.7], [-1.0, 2.0], [0.5, 0.2])
    grid = np.linspace(-10, 10, 200_001)
    density = 0.3 * stats.norm.pdf(grid, -1, 0.5**0.5) + 0.7 * stats.norm.pdf(grid, 2, 0.2**0.5)
    step = grid[1] - grid[0]
    first = (density * grid).sum() * step
    assert mean == pytest.approx(first, abs=1e-9)
    assert variance == pytest.approx((density * (grid - first) ** 2).sum() * step, abs=1e-9)


def test_gumbel_max_draws_each_component_with_its_probability():
    """Counts of 40,000 draws pass a chi-squared test against softmax; a flattened one fails it."""
    logits = np.log([0.6, 0.25, 0.1, 0.05])
    counts = np.bincount(bm.mixtures.gumbel_max(logits, seed=3, size=40_000), minlength=4)
    assert stats.chisquare(counts, 40_000 * np.exp(logits)).pvalue > 1e-3
    flat = bm.mixtures.gumbel_max(np.exp(logits), seed=3, size=40_000)
    wrong = np.bincount(flat, minlength=4)
    assert stats.chisquare(wrong, 40_000 * np.exp(logits)).pvalue < 1e-9


def test_gumbel_max_has_one_draw_a_row_and_repeats_with_its_seed():
    """Shapes follow the rows; a weight of zero is never drawn; the seed decides."""
    rows = np.tile([-np.inf, 0.0, 0.0], (50, 1))
    first, again = (bm.mixtures.gumbel_max(rows, seed=1) for _ in range(2))
    assert first.shape == (50,) and set(first) == {1, 2}
    np.testing.assert_array_equal(first, again)
    assert bm.mixtures.gumbel_max(rows, seed=1, size=7).shape == (7, 50)
    assert (bm.mixtures.gumbel_max(rows, seed=2) != first).any()


def test_sampling_by_a_fit_and_by_gumbel_max_have_one_distribution():
    """Components of a fit's outcomes occur as often as Gumbel-max on its weights draws them."""
    data = bm.datasets.one_to_many()
    fit = bm.fit(bm.MixtureOfExperts("target ~ x", 3, floor=0.01), data, method="em", seed=1)
    rows = data.iloc[[500]]
    drawn = fit.sample(rows, draws=20_000, seed=1)
    component = next(str(n) for n in drawn.data_vars if n != "target")
    ours = np.bincount(drawn[component].to_numpy().ravel().astype(int), minlength=3)
    weight = fit.curves(rows)["weight"].to_numpy()[0, 0]
    theirs = np.bincount(bm.mixtures.gumbel_max(np.log(weight), seed=2, size=20_000), minlength=3)
    table = np.array([ours, theirs])[:, (ours + theirs) > 0]
    assert stats.chi2_contingency(table).pvalue > 1e-3


@pytest.mark.parametrize(
    ("error", "words", "call"),
    [
        ("DataError", "logits: row 1 has NaN", lambda m: m.log_softmax([[0, 1], [np.nan, 0]])),
        (
            "DataError",
            "logits: row 1 is minus infinity throughout",
            lambda m: m.gumbel_max([[0.0, 1.0], [-np.inf, -np.inf]], seed=1),
        ),
        ("DataError", "logits must be numbers", lambda m: m.gumbel_max(["a", "b"], seed=1)),
        ("DataError", "row 0 has plus infinity", lambda m: m.log_softmax([np.inf, 0.0])),
        ("DataError", "needs components along its last axis", lambda m: m.log_softmax(1.0)),
        ("DataError", "shape (2, 0)", lambda m: m.log_softmax(np.empty((2, 0)))),
        (
            "SpecError",
            "size must be a whole number",
            lambda m: m.gumbel_max([0, 1], seed=1, size=0),
        ),
        ("SpecError", "seed", lambda m: m.gumbel_max([0, 1], seed=-1)),
        (
            "DataError",
            "log_weight (2,), log_part (3,)",
            lambda m: m.log_density([0.0, 0.0], [0.0, 0.0, 0.0]),
        ),
        ("DataError", "log_part: row 0 has NaN", lambda m: m.log_density([0.0, 0], [np.nan, 0])),
        (
            "DataError",
            "no component is possible",
            lambda m: m.responsibilities([0.0, -np.inf], [-np.inf, 0.0]),
        ),
        ("DataError", "sum to one", lambda m: m.moments([0.5, 0.6], [0, 0], [1, 1])),
        ("DataError", "negative number", lambda m: m.moments([0.5, 0.5], [0, 0], [1, -1])),
        ("UnknownArgument", "no argument 'sed'", lambda m: m.gumbel_max([0, 1], sed=1)),
    ],
)
def test_bad_input_is_told(error, words, call):
    """What cannot be logits, weights or densities is an error that names the row."""
    with pytest.raises(getattr(bm.errors, error)) as caught:
        call(bm.mixtures)
    assert words in str(caught.value)
