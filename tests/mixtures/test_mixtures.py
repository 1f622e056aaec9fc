"""Finite mixtures against scipy, against simulation, and under permutations."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.special import log_softmax, logsumexp

from bayesmix.mixtures import algebra

EPS = np.finfo(float).eps
LOGS = arrays(
    float,
    array_shapes(min_dims=1, max_dims=3, max_side=5),
    elements=st.floats(-2000, 2000),
)


def logits(*shape, seed=0, size=300.0):
    """Logits so far apart that exponentials of them overflow and underflow."""
    return np.random.default_rng(seed).normal(0, size, shape)


@pytest.mark.parametrize("size", [1.0, 300.0, 3000.0])
@pytest.mark.parametrize("order", ["C", "F"])
def test_log_density_is_scipys_logsumexp(size, order):
    """The log of a sum of exponentials, of any size and in any memory order."""
    weight = algebra.log_softmax(logits(6, 50, 4, seed=1, size=size))
    part = np.asarray(logits(6, 50, 4, seed=2, size=size), order=order)
    expected = logsumexp(weight + part, axis=-1)
    np.testing.assert_allclose(algebra.log_density(weight, part), expected, rtol=1e-13)
    np.testing.assert_allclose(
        algebra.log_softmax(part), log_softmax(part, axis=-1), rtol=1e-12, atol=EPS * size
    )


def test_components_without_mass_count_for_nothing():
    """Log weights of -inf leave the others; where all are, the density is zero, without NaN."""
    part = logits(5, 3, size=2.0)
    some = np.array([0.0, -np.inf, -np.inf])
    np.testing.assert_array_equal(algebra.log_density(some, part), part[:, 0])
    assert algebra.log_density(np.full(3, -np.inf), part[0]) == -np.inf


@given(LOGS)
def test_responsibilities_sum_to_one(values):
    """Probabilities of components are no less than zero and sum to one."""
    weight = algebra.log_softmax(values[::-1])
    found = algebra.responsibilities(weight, values)
    assert (found >= 0).all()
    # each of K terms is rounded relative to the size of its logarithm
    tolerance = 10 * EPS * (1 + np.abs(values).max()) * values.shape[-1]
    np.testing.assert_allclose(found.sum(axis=-1), 1, rtol=tolerance)


def test_responsibilities_are_bayes_rule():
    """Weight times density, over their sum."""
    weight, density = np.array([0.2, 0.3, 0.5]), np.array([[4.0, 1.0, 0.5], [0.0, 2.0, 8.0]])
    with np.errstate(divide="ignore"):
        found = algebra.responsibilities(np.log(weight), np.log(density))
    joint = weight * density
    np.testing.assert_allclose(found, joint / joint.sum(axis=1, keepdims=True), rtol=1e-13)


WEIGHT = np.array([0.02, 0.08, 0.3, 0.6, 0.0])
DRAWS = 40_000


def worst_frequency(values):
    """The largest distance of a component's frequency from its weight, in standard errors."""
    chosen = algebra.choose(np.random.default_rng(3), np.tile(values, (DRAWS, 1)))
    assert chosen.shape == (DRAWS,)
    share = np.bincount(chosen, minlength=len(WEIGHT)) / DRAWS
    error = np.sqrt(WEIGHT * (1 - WEIGHT) / DRAWS)
    return (np.abs(share - WEIGHT) / np.where(error > 0, error, 1e-300)).max()


def test_components_are_drawn_as_often_as_their_weights_say():
    """Frequencies lie within 4 standard errors of the weights; a weight of zero is never drawn."""
    with np.errstate(divide="ignore"):
        assert worst_frequency(np.log(WEIGHT)) < 4


def test_probabilities_in_place_of_their_logarithms_are_noticed():
    """The source's mistake, Gumbel noise on probabilities, fails the check of frequencies."""
    assert worst_frequency(WEIGHT) > 100


def test_moments_are_those_of_draws():
    """Mean and variance equal those of simulated outcomes within 4 standard errors."""
    rng = np.random.default_rng(4)
    weight, mean = np.array([0.5, 0.3, 0.2]), np.array([-2.0, 0.5, 3.0])
    variance = np.array([0.25, 4.0, 0.01])
    average, spread = algebra.moments(weight, mean, variance)
    own = algebra.choose(rng, np.tile(np.log(weight), (200_000, 1)))
    drawn = mean[own] + np.sqrt(variance[own]) * rng.standard_normal(len(own))
    squares = (drawn - average) ** 2
    assert abs(drawn.mean() - average) < 4 * drawn.std() / np.sqrt(len(drawn))
    assert abs(squares.mean() - spread) < 4 * squares.std() / np.sqrt(len(drawn))


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_best_match_undoes_a_permutation(order):
    """Shuffled components, somewhat changed, are put back as the reference has them."""
    rng = np.random.default_rng(5)
    reference = rng.dirichlet([0.3, 0.3, 0.3], 40)
    noisy = 0.8 * reference + 0.2 * rng.dirichlet([1.0, 1.0, 1.0], 40)
    found = algebra.best_match(reference, np.stack([noisy, noisy[:, list(order)]]))
    np.testing.assert_array_equal(found[0], [0, 1, 2])
    np.testing.assert_array_equal(noisy[:, list(order)][:, found[1]], noisy)


def test_best_match_is_a_permutation_and_the_best():
    """Where two components favour one partner, the pairing with the largest total agreement."""
    rng = np.random.default_rng(6)
    reference, membership = rng.dirichlet(np.ones(4), 30), rng.dirichlet(np.ones(4), (20, 30))
    for sample, found in zip(membership, algebra.best_match(reference, membership), strict=True):
        totals = {
            order: (reference * sample[:, list(order)]).sum()
            for order in itertools.permutations(range(4))
        }
        assert totals[tuple(found)] == pytest.approx(max(totals.values()), rel=1e-12)
