r"""Ascent of the ELBO along its natural gradient: a Gaussian with all correlations.

With precision :math:`\Lambda` and :math:`G = -\mathrm E_q[\nabla^2 \log p] - \Lambda`, a step of
size r is

.. math:: \Lambda \leftarrow \Lambda + r G + \tfrac{r^2}{2} G \Lambda^{-1} G, \qquad
          \mu \leftarrow \mu + r \Lambda^{-1} \mathrm E_q[\nabla \log p],

which keeps :math:`\Lambda` positive definite whatever G is. The expected Hessian needs gradients
alone: by Stein's identity it is :math:`\mathrm E_q[\nabla \log p\,(x - \mu)^\top]\,\Lambda`.

References
----------
Lin, Schmidt & Khan (2020), Handling the positive-definite constraint in the Bayesian learning
rule, ICML; arXiv:2002.10060.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from bayesmix.compiled.density import Target
from bayesmix.errors import NotConverged
from bayesmix.maxima.modes import Mode
from bayesmix.priors import LOG_2PI
from bayesmix.protocols import Array
from bayesmix.variational.gaussian import GaussianApproximation

_REACH = 5.0
"""Longest step of the mean, in standard deviations."""
_PAIRS = 1.3
"""Pairs of draws a step, for each dimension; and two hundred at least."""


def ascend(
    density: Target,
    start: Mode,
    rates: Array,
    rng: np.random.Generator,
    report: Callable[[int], None],
) -> tuple[GaussianApproximation, Array]:
    """A step of each of the ``rates``, with fresh paired draws.

    Returns
    -------
    The Gaussian and the ELBO's estimate at each step.

    Raises
    ------
    NotConverged
        The ELBO is not finite, or the precision singular.
    """
    mean, n = start.point, density.n_dim
    inverse = np.linalg.inv(start.factor)
    precision = inverse.T @ inverse
    trace, pairs = np.empty(len(rates)), max(200, int(_PAIRS * n))
    for step, size in enumerate(rates):
        root = _root(precision, step)
        away = np.linalg.solve(root.T, rng.standard_normal((n, pairs))).T
        value, slope, bend = _expected(density, mean, away)
        trace[step] = value - np.log(np.diag(root)).sum() + 0.5 * n * (1 + LOG_2PI)
        if not np.isfinite(trace[step]):
            raise NotConverged(f"the ELBO became {trace[step]} at step {step}; lower learning_rate")
        hessian = bend @ precision
        gap = -0.5 * (hessian + hessian.T) - precision
        precision = precision + size * gap + 0.5 * size**2 * gap @ np.linalg.solve(precision, gap)
        precision = 0.5 * (precision + precision.T)
        move = np.linalg.solve(precision, slope)
        length = np.sqrt(max(float(move @ slope), 1e-300))
        mean = mean + size * move * min(1.0, _REACH / length)
        report(step)
    return GaussianApproximation(mean, np.linalg.inv(np.linalg.cholesky(precision)).T), trace


def best_ascent(
    density: Target,
    starts: Sequence[Mode],
    steps: int,
    rate: float,
    rng: np.random.Generator,
    report: Callable[[int], None],
) -> tuple[GaussianApproximation, Array]:
    """From each start, to the end: which one is best shows late. The highest ELBO is kept.

    Raises
    ------
    NotConverged
        From no start did the ascent succeed.
    """
    rates, found, failures = falling(steps, rate), [], []
    for number, start in enumerate(starts):

        def told(step: int, done: int = steps * number) -> None:
            report(done + step)

        try:
            found.append(ascend(density, start, rates, rng, told))
        except NotConverged as error:
            failures.append(error)
    if not found:
        raise failures[0]
    return max(found, key=lambda one: float(one[1][-max(1, steps // 10) :].mean()))


def falling(steps: int, rate: float) -> Array:
    """Rates that fall to a fiftieth as a cosine."""
    return rate * (0.02 + 0.49 * (1 + np.cos(np.pi * np.arange(steps) / steps)))


def _root(precision: Array, step: int) -> Array:
    """A triangular factor, which rounding alone can stand in the way of."""
    try:
        return np.linalg.cholesky(precision)
    except np.linalg.LinAlgError as error:
        raise NotConverged(
            f"the approximation's precision became singular at step {step}; lower learning_rate"
        ) from error


def _expected(density: Target, mean: Array, away: Array) -> tuple[float, Array, Array]:
    """Means over q of log p, of its gradient, and of gradient times distance from the mean."""
    above, up = density.log_densities(mean + away)
    below, down = density.log_densities(mean - away)
    bend = (0.5 * (up - down)).T @ away / len(away)
    return 0.5 * float((above + below).mean()), 0.5 * (up + down).mean(axis=0), bend
