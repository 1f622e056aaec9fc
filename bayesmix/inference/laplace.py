"""A Gaussian at the mode, with its own verdict on how well it fits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bayesmix import rng as random
from bayesmix import schema
from bayesmix.blocks.gaussian import Gaussian
from bayesmix.blocks.modes import rough_starts
from bayesmix.blocks.optimum import best_of, curvature
from bayesmix.blocks.target import Target, target
from bayesmix.errors import NotConverged
from bayesmix.inference.map import ADVICE, MAP
from bayesmix.protocols import Array, Design, HasPyMC, Method, Posterior, Report
from bayesmix.specs import check_count


@dataclass(frozen=True)
class Laplace(Method):
    r"""Laplace approximation: :math:`\mathrm{N}(\hat x, -H^{-1})` on the unconstrained space.

    :math:`\hat x` is the mode of the posterior over the unconstrained variables (log Jacobian
    included) and H the Hessian there. Draws are independent, and each carries its log importance
    weight :math:`\log p - \log q` in ``sample_stats``, from which ``diagnose()`` judges the
    approximation.

    Parameters
    ----------
    draws
        Independent draws from the approximation.
    restarts, max_iter
        Of the search for the mode.

    References
    ----------
    Tierney & Kadane (1986), doi:10.1080/01621459.1986.10478240.
    """

    draws: int = 4000
    restarts: int = 4
    max_iter: int = 1000
    requires: ClassVar[type] = HasPyMC
    name: ClassVar[str] = "laplace"

    def __post_init__(self) -> None:
        for field in ("draws", "restarts", "max_iter"):
            check_count("Laplace", field, getattr(self, field))

    def run(self, model: HasPyMC, design: Design, *, seed: int, progress: Report) -> Posterior:
        """Find the mode, measure the curvature, draw."""
        progress("compile", 0.0)
        density = target(model, design)
        search = MAP(restarts=self.restarts, max_iter=self.max_iter)
        generator = random.stream(seed, "init")
        known = rough_starts(model, design, density, generator)
        climbs = search.climbs(density, generator, progress, known)
        best = best_of(climbs, ADVICE)
        covariance = np.linalg.inv(_information(density, best.point))
        gaussian = Gaussian(best.point, np.linalg.cholesky(0.5 * (covariance + covariance.T)))
        params, stats = gaussian.sample(density, random.stream(seed, "draws"), self.draws)
        fit_stats = {
            "log_joint_unconstrained": best.trace,
            "restart_log_joint_unconstrained": np.array([one.value for one in climbs]),
            "gradient_norm": np.array(best.slope),
        }
        return Posterior(
            params,
            stats,
            dict.fromkeys(stats, schema.SAMPLE_DIMS),
            sampled=True,
            fit_stats=fit_stats,
            fit_stat_dims={
                "log_joint_unconstrained": ("iteration",),
                "restart_log_joint_unconstrained": ("restart",),
                "gradient_norm": (),
            },
            attrs={"engine": "independent"},
        )


def _information(density: Target, point: Array) -> Array:
    """Minus the Hessian at the mode.

    Raises
    ------
    NotConverged
        The point found is no mode: some direction does not curve downwards.
    """
    information = -curvature(density.log_density, point)
    if np.linalg.eigvalsh(information).min() <= 0:
        raise NotConverged(
            "the posterior does not curve downwards in every direction at the point found, so no "
            "Gaussian fits there; use method='nuts', or narrower priors"
        )
    return information
