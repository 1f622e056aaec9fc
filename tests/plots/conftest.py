"""Fits to draw, made once: figures do not change them."""

from __future__ import annotations

import numpy as np
import pytest
from drawn import around, estimated, point, sampled, variational

from bayesmix.models.experts.spec import MixtureOfExperts
from bayesmix.result import Fit


@pytest.fixture(scope="session")
def slopes() -> Fit:
    """Varying slopes on the census, 4 chains of 200 draws, 9 of them divergent."""
    return sampled(divergences=9)


@pytest.fixture(scope="session")
def estimate() -> Fit:
    """A point estimate that three starts of four found."""
    trace = -79.0 - 10.0 * 0.5 ** np.arange(12)
    return point(trace, restarts=np.array([-79.0, -79.0, -85.0, -79.001]))


@pytest.fixture(scope="session")
def approximation() -> Fit:
    """Draws of a variational fit with a noisy ELBO."""
    elbo = np.random.default_rng(4).normal(-92, 2, 1000) - 40 * 0.98 ** np.arange(1000)
    return variational(elbo, -91.5)


@pytest.fixture(scope="session")
def top() -> Fit:
    """Two Gaussian experts at their maximum."""
    return estimated(MixtureOfExperts("y ~ x", 2))


@pytest.fixture(scope="session")
def mixture(top: Fit) -> Fit:
    """The same with 300 draws around it."""
    return around(top)
