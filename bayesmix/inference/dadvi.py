"""Deterministic variational inference: fixed draws, a second-order optimiser, from the mode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bayesmix import protocols
from bayesmix import rng as random
from bayesmix.compiled.density import Target, target
from bayesmix.errors import NotConverged
from bayesmix.maxima.modes import Mode, best_mode, mode_at
from bayesmix.protocols import Array, Design, HasPyMC, Method, Posterior, Report
from bayesmix.specs import check_choice, check_count, check_number
from bayesmix.variational.fixed_draws import FixedDraws, paired_draws
from bayesmix.variational.gaussian import GaussianApproximation
from bayesmix.variational.guides import best_guide


@dataclass(frozen=True)
class DADVI(Method):
    r"""Variational inference with fixed draws, from the posterior's highest mode.

    ADVI's bound is maximised with its draws held fixed, so the objective is smooth, a
    quasi-Newton method converges in some tens of steps (hundreds for a network, which starts from
    a small one inside it), and convergence is a fact and no guess:
    the gradient at the end is in ``fit_stats``, and ``elbo_final`` is evaluated with 10,000 fresh
    draws.

    Parameters
    ----------
    fixed_draws
        Draws behind the objective, in pairs z, -z. Full rank takes at least four for each
        dimension, below which the bound has no maximum; networks take at least one.
    covariance
        ``"meanfield"`` (diagonal), ``"fullrank"``, or ``"linear-response"``: the mean-field fit
        with the covariance that its mean responds with, which sees the correlations that
        mean-field leaves out.
    draws
        Independent draws from the fitted approximation.
    max_iter, tolerance
        Steps of the optimiser, and the gradient at which it has converged, in nats.

    References
    ----------
    Giordano, Ingram & Broderick (2024), JMLR 25:18.
    """

    fixed_draws: int = 128
    covariance: str = "meanfield"
    draws: int = 4000
    max_iter: int = 500
    tolerance: float = 1e-3
    requires: ClassVar[type] = HasPyMC
    name: ClassVar[str] = "dadvi"

    def __post_init__(self) -> None:
        check_count("DADVI", "fixed_draws", self.fixed_draws, low=2)
        for field in ("draws", "max_iter"):
            check_count("DADVI", field, getattr(self, field))
        kinds = ("meanfield", "fullrank", "linear-response")
        check_choice("DADVI", "covariance", self.covariance, kinds)
        tolerance = check_number("DADVI", "tolerance", self.tolerance, low=0, strict=True)
        object.__setattr__(self, "tolerance", tolerance)

    def run(self, model: HasPyMC, design: Design, *, seed: int, progress: Report) -> Posterior:
        """Find the mode, maximise the bound from there, draw."""
        streams = random.streams(seed, "init", "dadvi", "draws")
        progress("compile", 0.0)
        density = target(model, design)
        progress("maximise", 0.0)
        guide = best_guide(model, design, density, streams["init"])
        mode = guide or best_mode(model, design, density, streams["init"])
        mode = mode or mode_at(density, density.initial)
        least = density.n_dim if guide else 0
        gaussian, trace, slope = self._fit(density, mode, streams["dadvi"], least)
        params, stats, elbo = gaussian.reported(density, streams["draws"], self.draws, design.n_obs)
        progress("maximise", 1.0)
        return Posterior(
            params,
            stats,
            dict.fromkeys(stats, protocols.SAMPLE_DIMS),
            sampled=True,
            fit_stats={"elbo": trace, "gradient_norm": np.array(slope), **elbo},
            fit_stat_dims={
                "elbo": ("iteration",),
                **dict.fromkeys(("gradient_norm", "elbo_final", "elbo_final_mcse"), ()),
            },
            attrs={"engine": "independent"},
        )

    def _fit(
        self, density: Target, mode: Mode, rng: np.random.Generator, least: int = 0
    ) -> tuple[GaussianApproximation, Array, float]:
        full = self.covariance == "fullrank"
        count = max(self.fixed_draws, 4 * density.n_dim if full else least)
        draws = paired_draws(rng, count, density.n_dim)
        objective = FixedDraws(density, mode, draws, full)
        x, trace, slope = objective.maximise(objective.start(), self.max_iter, self.tolerance)
        if not np.isfinite(trace[-1]):
            raise NotConverged(
                f"the ELBO is {trace[-1]} at the mode's own spread: the posterior is too far from "
                "a Gaussian there; use method='nuts', or narrower priors"
            )
        gaussian = objective.gaussian(x)
        if self.covariance == "linear-response":
            covariance = objective.linear_response(x)
            gaussian = GaussianApproximation(gaussian.mean, _factor(covariance))
        return gaussian, trace, slope


def _factor(covariance: Array) -> Array:
    """A square root of a covariance matrix.

    Raises
    ------
    NotConverged
        The matrix is not positive: the bound has no maximum where the optimiser stopped.
    """
    try:
        return np.linalg.cholesky(0.5 * (covariance + covariance.T))
    except np.linalg.LinAlgError as error:
        raise NotConverged(
            "the linear response is no covariance, so the optimiser did not end at a maximum; "
            "raise fixed_draws or max_iter"
        ) from error
