"""Natural-gradient ascent of the ELBO, on targets whose best Gaussian is known."""

from __future__ import annotations

import numpy as np
import pytest

from bayesmix.errors import NotConverged
from bayesmix.maxima.modes import Mode
from bayesmix.rng import stream
from bayesmix.variational import natural

N = 6
RATES = natural.falling(300, 0.15)
HILLS = ((1.0, -10.0), (10.0, 10.0))


class Normal:
    """A correlated Gaussian, unnormalised: its highest ELBO is the log of its integral."""

    n_dim = N

    def __init__(self):
        rng = stream(1, "normal")
        shape = rng.normal(size=(N, N))
        self.cov = shape @ shape.T + 0.1 * np.eye(N)
        self.mean = rng.normal(0, 3, N)
        self.precision = np.linalg.inv(self.cov)

    def log_densities(self, points):
        """Log densities and gradients."""
        slope = -(points - self.mean) @ self.precision
        return 0.5 * ((points - self.mean) * slope).sum(axis=1), slope

    @property
    def best(self):
        """The log of the integral."""
        return 0.5 * (N * np.log(2 * np.pi) + np.linalg.slogdet(self.cov)[1])


def short_of_best(density, gaussian):
    """How far a Gaussian's exact ELBO is below the best."""
    cov = gaussian.factor @ gaussian.factor.T
    away = gaussian.mean - density.mean
    quadratic = np.trace(density.precision @ cov) + away @ density.precision @ away
    entropy = 0.5 * (N * (1 + np.log(2 * np.pi)) + np.linalg.slogdet(cov)[1])
    return density.best - (entropy - 0.5 * quadratic)


@pytest.mark.parametrize("spread", [0.05, 1.0, 20.0])
def test_a_gaussian_is_found(spread):
    """From far too narrow, and from far too wide, in the wrong place."""
    density = Normal()
    start = Mode(np.zeros(N), spread * np.eye(N))
    found, trace = natural.ascend(density, start, RATES, stream(2, "draws"), lambda step: None)
    assert short_of_best(density, found) < 0.02
    assert abs(trace[-20:].mean() - density.best) < 0.1
    # power: the best Gaussian without correlations is far below
    alone = np.diag(1 / np.sqrt(np.diag(density.precision)))
    assert short_of_best(density, type(found)(density.mean, alone)) > 1


class Curved:
    """A banana, which is not log-concave: x2 about x1^2."""

    n_dim = 2

    def log_densities(self, points):
        """Log densities and gradients."""
        x, y = points.T
        bend = y - x**2
        slope = np.stack([-x / 4 + 20 * x * bend, -10 * bend], axis=1)
        return -(x**2) / 8 - 5 * bend**2, slope


def test_a_posterior_that_bends_is_approximated():
    """Where Hessians are indefinite the precision stays positive, and the ELBO rises."""
    start = Mode(np.array([1.0, 1.0]), 0.05 * np.eye(2))
    found, trace = natural.ascend(Curved(), start, RATES, stream(3, "draws"), lambda _: None)
    assert trace[-50:].mean() > trace[:10].mean() + 1
    assert np.linalg.eigvalsh(found.factor @ found.factor.T).min() > 0
    # a stationary point: the expected gradient is zero, the precision the expected Hessian
    points, _ = found.draw(stream(4, "check"), 200_000)
    _, slopes = Curved().log_densities(points)
    size = found.factor.T @ slopes.T
    assert np.abs(size.mean(axis=1)).max() < 0.15
    curvature = size @ (points - found.mean) @ np.linalg.inv(found.factor).T / len(points)
    np.testing.assert_allclose(curvature, -np.eye(2), atol=0.15)


def test_the_better_of_two_starts_is_followed():
    """Of two separate hills the ascent goes on with the one of higher ELBO, in either order."""

    class Hills(Normal):
        """A mixture of two unit Gaussians far apart, one of ten times the mass of the other."""

        def log_densities(self, points):
            parts = np.stack(
                [np.log(mass) - 0.5 * ((points - at) ** 2).sum(axis=1) for mass, at in HILLS]
            )
            share = np.exp(parts - np.logaddexp(*parts))
            slope = sum(s[:, None] * (at - points) for s, (_, at) in zip(share, HILLS, strict=True))
            return np.logaddexp(*parts), slope

    starts = [Mode(np.full(N, at), 0.3 * np.eye(N)) for at in (-9.0, 11.0)]
    for both in (starts, starts[::-1]):
        found, trace = natural.best_ascent(
            Hills(), both, 200, 0.15, stream(5, "hills"), lambda step: None
        )
        assert trace.shape == (200,)
        np.testing.assert_allclose(found.mean, 10, atol=0.3)


def test_a_density_that_is_not_finite_stops_the_ascent():
    """The step is named, and what to do."""

    class Broken(Normal):
        def log_densities(self, points):
            values, slopes = super().log_densities(points)
            return values + np.nan, slopes

    with pytest.raises(NotConverged, match="became nan at step 0; lower learning_rate"):
        natural.ascend(
            Broken(), Mode(np.zeros(N), np.eye(N)), RATES, stream(1, "x"), lambda _: None
        )


def test_a_precision_that_is_singular_is_told():
    """Not as an error of linear algebra."""
    with pytest.raises(NotConverged, match="singular at step 0; lower learning_rate"):
        natural.ascend(
            Normal(), Mode(np.zeros(N), 1e200 * np.eye(N)), RATES, stream(1, "x"), lambda _: None
        )


def test_one_start_that_fails_does_not_end_the_fit():
    """The other is taken; where every start fails the error is told."""
    broken, good = (Mode(np.zeros(N), size * np.eye(N)) for size in (1e200, 1.0))
    found, _ = natural.best_ascent(
        Normal(), (broken, good), 300, 0.15, stream(2, "draws"), lambda step: None
    )
    assert short_of_best(Normal(), found) < 0.02
    with pytest.raises(NotConverged, match="singular at step 0"):
        natural.best_ascent(Normal(), (broken, broken), 300, 0.15, stream(2, "x"), lambda _: None)
