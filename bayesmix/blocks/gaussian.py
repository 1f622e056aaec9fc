"""A Gaussian over the unconstrained space in place of the posterior: draws, and their worth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bayesmix.blocks.target import Target
from bayesmix.priors import LOG_2PI
from bayesmix.protocols import Array


@dataclass(frozen=True)
class Gaussian:
    r""":math:`N(\mu, F F^\top)` with any square F; shapes (n,) and (n, n)."""

    mean: Array
    factor: Array

    def draw(self, rng: np.random.Generator, draws: int) -> tuple[Array, Array]:
        """Points (sample, n) and the log density of each (sample,)."""
        z = rng.standard_normal((draws, len(self.mean)))
        log_q = -0.5 * (z**2).sum(axis=1) - 0.5 * len(self.mean) * LOG_2PI
        return self.mean + z @ self.factor.T, log_q - np.linalg.slogdet(self.factor)[1]

    def log_weights(
        self, density: Target, rng: np.random.Generator, draws: int
    ) -> tuple[Array, Array, Array]:
        """Points, log posterior and log weights log p - log q, whose mean estimates the ELBO."""
        points, log_q = self.draw(rng, draws)
        log_p, _ = density.log_densities(points)
        return points, log_p, log_p - log_q

    def reported(
        self, density: Target, rng: np.random.Generator, draws: int, fresh: int
    ) -> tuple[dict[str, Array], dict[str, Array], dict[str, Array]]:
        """As :meth:`sample`, and the ELBO from ``fresh`` draws, the first of which are reported."""
        points, log_p, log_weight = self.log_weights(density, rng, max(draws, fresh))
        params = {name: value[None] for name, value in density.expand(points[:draws]).items()}
        stats = {"log_weight": log_weight[None, :draws], "lp": log_p[None, :draws]}
        used = log_weight[:fresh]
        error = used.std() / np.sqrt(fresh)
        return params, stats, {
            "elbo_final": np.array(used.mean()), "elbo_final_mcse": np.array(error)
        }  # fmt: skip

    def sample(
        self, density: Target, rng: np.random.Generator, draws: int
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """Named parameters and statistics of independent draws, as one chain."""
        points, log_p, log_weight = self.log_weights(density, rng, draws)
        params = {name: value[None] for name, value in density.expand(points).items()}
        return params, {"log_weight": log_weight[None], "lp": log_p[None]}
