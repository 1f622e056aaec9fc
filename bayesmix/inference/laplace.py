"""A Gaussian at the mode, with its own verdict on how well it fits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bayesmix import protocols
from bayesmix import rng as random
from bayesmix.compiled.density import Target, target
from bayesmix.errors import NotConverged, SpecError
from bayesmix.inference.map import ADVICE, MAP
from bayesmix.maxima.climb import Climb, Objective, best_of, climb, curvature
from bayesmix.maxima.modes import rough_starts
from bayesmix.priors import STANDARD
from bayesmix.protocols import Array, Design, HasNetwork, HasPyMC, Method, Posterior, Report
from bayesmix.specs import check_choice, check_count
from bayesmix.variational.gaussian import GaussianApproximation


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
    layer
        ``"all"`` parameters are uncertain, or of a network only those of the ``"last"`` layer, the
        others staying at the mode (Kristiadi et al., 2020, arXiv:2002.10118).

    References
    ----------
    Tierney & Kadane (1986), doi:10.1080/01621459.1986.10478240.
    """

    draws: int = 4000
    restarts: int = 4
    max_iter: int = 1000
    layer: str = "all"
    requires: ClassVar[type] = HasPyMC
    name: ClassVar[str] = "laplace"

    def __post_init__(self) -> None:
        for field in ("draws", "restarts", "max_iter"):
            check_count("Laplace", field, getattr(self, field))
        check_choice("Laplace", "layer", self.layer, ("all", "last"))

    def run(self, model: HasPyMC, design: Design, *, seed: int, progress: Report) -> Posterior:
        """Find the mode, measure the curvature, draw."""
        progress("compile", 0.0)
        density = target(model, design)
        generator = random.stream(seed, "init")
        known = rough_starts(model, design, density, generator)
        free = self._free(model, density)
        if isinstance(model, HasNetwork):
            progress("maximise", 0.0)
            climbs = [self._along(density, start, free) for start in known]
            best = max(climbs, key=lambda one: one.value)
        else:
            search = MAP(restarts=self.restarts, max_iter=self.max_iter)
            climbs = search.climbs(density, generator, progress, known)
            best = best_of(climbs, ADVICE)
        covariance = np.linalg.inv(_information(density, best.point, free))
        gaussian = GaussianApproximation(
            best.point, np.linalg.cholesky(0.5 * (covariance + covariance.T)), tuple(free)
        )
        params, stats = gaussian.sample(density, random.stream(seed, "draws"), self.draws)
        fit_stats = {
            "log_joint_unconstrained": best.trace,
            "restart_log_joint_unconstrained": np.array([one.value for one in climbs]),
            "gradient_norm": np.array(best.slope),
        }
        return Posterior(
            params,
            stats,
            dict.fromkeys(stats, protocols.SAMPLE_DIMS),
            sampled=True,
            fit_stats=fit_stats,
            fit_stat_dims={
                "log_joint_unconstrained": ("iteration",),
                "restart_log_joint_unconstrained": ("restart",),
                "gradient_norm": (),
            },
            attrs={"engine": "independent"},
        )

    def _along(self, density: Target, start: Array, free: Array) -> Climb:
        """An ascent by the free coordinates alone.

        A network's mode is a long ridge, on which a gradient of nearly nothing is out of reach; the
        gradient at the end is reported, and judged by ``diagnose()``.
        """
        objective = _restricted(density, start, free)
        found = climb(objective, start[free], max_iter=self.max_iter, tolerance=1e-5)
        point = start.copy()
        point[free] = found.point
        return Climb(point, found.value, found.slope, found.trace)

    def _free(self, model: HasPyMC, density: Target) -> Array:
        """Coordinates that are uncertain.

        Raises
        ------
        SpecError
            ``layer="last"`` for a family that has no layers.
        """
        if self.layer == "all":
            return np.arange(density.n_dim)
        if not isinstance(model, HasNetwork):
            raise SpecError(
                f"Laplace: layer='last' is for networks; {type(model).__name__} has no layers"
            )
        names = [name.removeprefix(STANDARD) for name, n in density.variables for _ in range(n)]
        return np.flatnonzero([not name.startswith("hidden_") for name in names])


def _restricted(density: Target, point: Array, free: Array) -> Objective:
    """The log density by some coordinates, the others staying where they are."""

    def objective(moved: Array) -> tuple[float, Array]:
        whole = point.copy()
        whole[free] = moved
        value, gradient = density.log_density(whole)
        return value, gradient[free]

    return objective


def _information(density: Target, point: Array, free: Array) -> Array:
    """Minus the Hessian at the mode, by the free coordinates.

    Raises
    ------
    NotConverged
        The point found is no mode: some direction does not curve downwards.
    """
    information = -curvature(_restricted(density, point, free), point[free])
    if np.linalg.eigvalsh(information).min() <= 0:
        raise NotConverged(
            "the posterior does not curve downwards in every direction at the point found, so no "
            "Gaussian fits there; use method='nuts' or narrower priors, and for a network "
            "layer='last' or ADVI(covariance='fullrank')"
        )
    return information
