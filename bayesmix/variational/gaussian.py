"""A Gaussian over the unconstrained space in place of the posterior: draws, and their worth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bayesmix.compiled.density import Target
from bayesmix.priors import LOG_2PI
from bayesmix.protocols import Array

FRESH = 10_000
"""Draws that evaluate the ELBO after a fit; those behind the optimisation flatter it."""
_ROWS_WEIGHED = 200_000_000


@dataclass(frozen=True)
class GaussianApproximation:
    r""":math:`N(\mu, F F^\top)` with any square F; shapes (n,) and (m, m).

    ``free`` are the m coordinates that vary, the others stay at their mean; None means all.
    """

    mean: Array
    factor: Array
    free: tuple[int, ...] | None = None

    def draw(self, rng: np.random.Generator, draws: int) -> tuple[Array, Array]:
        """Points (sample, n) and the log density of each (sample,)."""
        z = rng.standard_normal((draws, len(self.factor)))
        log_q = -0.5 * (z**2).sum(axis=1) - 0.5 * len(self.factor) * LOG_2PI
        points = np.tile(self.mean, (draws, 1))
        points[:, slice(None) if self.free is None else list(self.free)] += z @ self.factor.T
        return points, log_q - np.linalg.slogdet(self.factor)[1]

    def log_weights(
        self, density: Target, rng: np.random.Generator, draws: int
    ) -> tuple[Array, Array, Array]:
        """Points, log posterior and log weights log p - log q, whose mean estimates the ELBO."""
        points, log_q = self.draw(rng, draws)
        log_p, _ = density.log_densities(points)
        return points, log_p, log_p - log_q

    def reported(
        self, density: Target, rng: np.random.Generator, draws: int, n_obs: int
    ) -> tuple[dict[str, Array], dict[str, Array], dict[str, Array]]:
        """As :meth:`sample`, with the ELBO from 10,000 fresh draws; the first are reported.

        Beyond 20,000 rows fewer draws are weighed, 200 at least, so that the verdict does not cost
        more than the fit; the weights of the others are NaN.
        """
        fresh = int(np.clip(_ROWS_WEIGHED / max(n_obs, 1), 200, FRESH))
        weighed = max(draws, fresh) if fresh == FRESH else fresh
        points, log_q = self.draw(rng, max(draws, weighed))
        log_p, _ = density.log_densities(points[:weighed])
        log_weight = log_p - log_q[:weighed]
        params = {name: value[None] for name, value in density.expand(points[:draws]).items()}
        stats = {"log_weight": log_weight, "lp": log_p}
        missing = np.full(max(0, draws - weighed), np.nan)
        stats = {k: np.concatenate([v, missing])[None, :draws] for k, v in stats.items()}
        used = log_weight[:fresh]
        elbo = {
            "elbo_final": np.array(used.mean()),
            "elbo_final_mcse": np.array(used.std() / np.sqrt(fresh)),
        }
        return params, stats, elbo

    def sample(
        self, density: Target, rng: np.random.Generator, draws: int
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """Named parameters and statistics of independent draws, as one chain."""
        points, log_p, log_weight = self.log_weights(density, rng, draws)
        params = {name: value[None] for name, value in density.expand(points).items()}
        return params, {"log_weight": log_weight[None], "lp": log_p[None]}
