"""Stochastic ascent of the ELBO: Adam on a Gaussian without correlations."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bayesmix.errors import NotConverged
from bayesmix.priors import LOG_2PI
from bayesmix.protocols import Array
from bayesmix.variational.gaussian import GaussianApproximation

Estimate = Callable[[Array], tuple[Array, Array]]
"""Log joint densities (draw,) of points (draw, n_dim), or unbiased estimates, with gradients."""


def ascend(
    estimate: Estimate,
    noise: Callable[[], Array],
    start: Array,
    spread: Array,
    steps: int,
    rate: float,
    tail: float,
    report: Callable[[int], None],
) -> tuple[GaussianApproximation, Array]:
    """Adam, with fresh ``noise`` (draw, n_dim) at every step; its rate falls to zero as a cosine.

    Means and log spreads are measured in units of ``spread``, so that one rate serves all. The
    Gaussian is that of their averages over the last steps, a share of ``tail``.

    Returns
    -------
    The Gaussian and the ELBO's estimate at each step.

    Raises
    ------
    NotConverged
        An estimate is not finite.
    """
    n, kept = len(start), max(1, int(tail * steps))
    x, first, second, total = (np.zeros(2 * n) for _ in range(4))
    trace = np.empty(steps)
    for step in range(steps):
        z, scale = noise(), spread * np.exp(x[n:])
        values, gradients = estimate(start + spread * x[:n] + scale * z)
        trace[step] = values.mean() + np.log(scale).sum() + 0.5 * n * (1 + LOG_2PI)
        if not np.isfinite(trace[step]):
            raise NotConverged(f"the ELBO became {trace[step]} at step {step}; lower learning_rate")
        slope = np.concatenate(
            [spread * gradients.mean(axis=0), (gradients * z).mean(axis=0) * scale + 1]
        )
        first = 0.9 * first + 0.1 * slope
        second = 0.999 * second + 0.001 * slope**2
        corrected = (first / (1 - 0.9 ** (step + 1)), second / (1 - 0.999 ** (step + 1)))
        size = rate * 0.5 * (1 + np.cos(np.pi * step / steps))
        x = x + size * corrected[0] / (np.sqrt(corrected[1]) + 1e-8)
        if step >= steps - kept:
            total += x / kept
        report(step)
    return GaussianApproximation(
        start + spread * total[:n], np.diag(spread * np.exp(total[n:]))
    ), trace


def paired(rng: np.random.Generator, draws: int, n_dim: int) -> Callable[[], Array]:
    """Noise in pairs of opposite sign, fresh at every call; ``draws`` is even, or one."""

    def noise() -> Array:
        half = rng.standard_normal((max(1, draws // 2), n_dim))
        return half if draws == 1 else np.concatenate([half, -half])

    return noise
