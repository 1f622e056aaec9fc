"""exp and log for vectorised loops, against those of NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from bayesmix.compiled import vector

ULPS = 4.0
"""Units in the last place by which either may differ; NumPy itself may be off by one."""


@njit
def exps(x):
    """exp of every element, in a loop that is compiled as those of the kernels are."""
    found = np.empty_like(x)
    for i in range(x.size):
        found[i] = vector.exp(x[i])
    return found


@njit
def logs(x):
    """log of every element."""
    found = np.empty_like(x)
    for i in range(x.size):
        found[i] = vector.log(x[i])
    return found


def ulps(found, expected):
    """The largest difference in units of the last place of what is expected."""
    return (np.abs(found - expected) / np.spacing(np.abs(expected))).max()


@pytest.mark.parametrize(
    ("low", "high"), [(-708, -300), (-300, -1), (-1, 1), (-1e-9, 1e-9), (1, 300), (300, 709)]
)
def test_exp_is_numpys_to_the_last_places(low, high):
    """On its whole range exp differs from NumPy's by rounding."""
    x = np.random.default_rng(1).uniform(low, high, 50_000)
    assert ulps(exps(x), np.exp(x)) <= ULPS


@pytest.mark.parametrize(
    ("low", "high"), [(-307, -100), (-100, -1), (-1, -0.01), (-0.01, 0.01), (0.01, 100), (100, 308)]
)
def test_log_is_numpys_to_the_last_places(low, high):
    """For every positive normal number, most of all near one, log differs by rounding."""
    x = 10 ** np.random.default_rng(2).uniform(low, high, 50_000)
    assert ulps(logs(x), np.log(x)) <= ULPS


def test_log_at_powers_of_two_and_beside_one():
    """Where the mantissa or the logarithm itself passes through zero nothing cancels."""
    x = np.concatenate(
        [2.0 ** np.arange(-1022, 1023), np.nextafter(1.0, [0, 2]), np.sqrt([0.5, 2.0])]
    )
    np.testing.assert_allclose(logs(x), np.log(x), rtol=ULPS * np.finfo(float).eps)
    assert logs(np.ones(1))[0] == 0


def test_nan_stays_nan():
    """A number that is none is not made one on the way."""
    assert np.isnan(exps(np.array([np.nan]))).all()
    assert np.isnan(logs(np.array([np.nan]))).all()


@pytest.mark.parametrize("x", [-709.0, -1000.0, -1e300, -np.inf])
def test_exp_far_below_is_harmless(x):
    """What has no normal number any more is the least of them, neither negative nor garbage."""
    assert 0 <= exps(np.array([x]))[0] <= np.exp(-707.9)


@pytest.mark.parametrize("x", [710.0, 1000.0, 1e300, np.inf])
def test_exp_far_above_is_the_largest(x):
    """What would overflow stays at the upper end of the range."""
    assert exps(np.array([x]))[0] == exps(np.array([709.0]))[0]
