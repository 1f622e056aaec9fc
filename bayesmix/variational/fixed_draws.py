r"""The evidence lower bound with its draws held fixed: a smooth function, maximised exactly.

With q = N(m, F F') and fixed z_1..z_M,

.. math:: \widehat{\mathrm{ELBO}} = \frac1M \sum_j \log p(m + F z_j, y)
          + \log\lvert\det F\rvert + \tfrac{D}{2}(1 + \log 2\pi).

The draws come in pairs z, -z and, where M > 2 D, have unit covariance exactly, so that for a
Gaussian posterior the maximum is the exact one whatever M.

References
----------
Giordano, Ingram & Broderick (2024), JMLR 25:18, on DADVI.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from bayesmix.compiled.density import Target
from bayesmix.maxima.climb import jacobian
from bayesmix.maxima.modes import Mode
from bayesmix.priors import LOG_2PI
from bayesmix.protocols import Array
from bayesmix.variational.gaussian import GaussianApproximation


def paired_draws(rng: np.random.Generator, count: int, n: int) -> Array:
    """Standard normal draws (sample, n) in pairs z, -z, with unit covariance.

    Of no more pairs than dimensions only the variances can be made one.
    """
    half = rng.standard_normal((max(1, -(-count // 2)), n))
    if len(half) > n:
        covariance = half.T @ half / len(half)
        half = np.linalg.solve(np.linalg.cholesky(covariance), half.T).T
    else:
        half /= np.sqrt((half**2).mean(axis=0))
    return np.concatenate([half, -half])


@dataclass
class FixedDraws:
    """The objective, in coordinates in which the Laplace approximation is the origin.

    The mean is m = mode + C u, with C C' the Laplace covariance; the factor is a diagonal
    :math:`s_0 e^{v}` (mean-field), or C T, T lower triangular with diagonal :math:`e^{v}`.
    """

    density: Target
    mode: Mode
    draws: Array
    full: bool
    trace: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.n = len(self.mode.point)
        precision = np.linalg.inv(self.mode.factor @ self.mode.factor.T)
        self.spread = 1 / np.sqrt(np.diag(precision))
        self.lower = np.tril_indices(self.n, -1)

    def start(self) -> Array:
        """The Laplace approximation (mean-field: with its conditional spreads)."""
        return np.zeros(2 * self.n + (len(self.lower[0]) if self.full else 0))

    def gaussian(self, x: Array) -> GaussianApproximation:
        """The approximation at a point of the optimiser."""
        mean = self.mode.point + self.mode.factor @ x[: self.n]
        return GaussianApproximation(mean, self._factor(x))

    def _triangle(self, x: Array) -> Array:
        triangle = np.diag(np.exp(x[self.n : 2 * self.n]))
        triangle[self.lower] = x[2 * self.n :]
        return triangle

    def _factor(self, x: Array) -> Array:
        if self.full:
            return self.mode.factor @ self._triangle(x)
        return np.diag(self.spread * np.exp(x[self.n : 2 * self.n]))

    def __call__(self, x: Array) -> tuple[float, Array]:
        """The ELBO and its gradient."""
        mean = self.mode.point + self.mode.factor @ x[: self.n]
        half_log = 0.5 * self.n * (1 + LOG_2PI)
        if not self.full:
            scale = self.spread * np.exp(x[self.n :])
            values, gradients = self.density.log_densities(mean + self.draws * scale)
            by_mean = self.mode.factor.T @ gradients.mean(axis=0)
            by_scale = (gradients * self.draws).mean(axis=0) * scale + 1
            value = float(values.mean() + np.log(scale).sum() + half_log)
            return value, np.concatenate([by_mean, by_scale])
        values, gradients = self.density.log_densities(mean + self.draws @ self._factor(x).T)
        volume = x[self.n : 2 * self.n].sum() + np.linalg.slogdet(self.mode.factor)[1]
        value = float(values.mean() + volume + half_log)
        by_mean = self.mode.factor.T @ gradients.mean(axis=0)
        outer = gradients.T @ self.draws / len(self.draws)
        inner = self.mode.factor.T @ outer
        scale = np.exp(x[self.n : 2 * self.n])
        return value, np.concatenate([by_mean, np.diag(inner) * scale + 1, inner[self.lower]])

    def maximise(
        self, start: Array, max_iter: int, tolerance: float, gain: float = 1e-10
    ) -> tuple[Array, Array, float]:
        """Quasi-Newton ascent: the end, the ELBO by step, and the largest gradient entry.

        It also ends where a step gains less than ``gain`` times the ELBO.
        """
        from scipy.optimize import minimize

        trace = [self(start)[0]]

        def negated(x: Array) -> tuple[float, Array]:
            value, gradient = self(x)
            finite = np.isfinite(value)
            return (-value, -gradient) if finite else (1e100, np.zeros_like(gradient))

        found = minimize(
            negated,
            start,
            jac=True,
            method="L-BFGS-B",
            callback=lambda intermediate_result: trace.append(-float(intermediate_result.fun)),
            options={"maxiter": max_iter, "gtol": tolerance, "ftol": gain, "maxcor": 100},
        )
        _, gradient = self(found.x)
        return found.x, np.array(trace), float(np.abs(gradient).max())

    def linear_response(self, x: Array) -> Array:
        """Covariance of the means under a perturbation of the posterior; it sees correlations.

        The block of the inverse Hessian that belongs to the mean (Giordano et al., 2018,
        JMLR 19:51), where mean-field variances are those of the conditionals.
        """
        hessian = -jacobian(lambda at: self(at)[1], x)
        inverse = np.linalg.inv(0.5 * (hessian + hessian.T))[: self.n, : self.n]
        return self.mode.factor @ inverse @ self.mode.factor.T
