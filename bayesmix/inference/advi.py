"""Automatic differentiation variational inference, through PyMC."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from bayesmix import rng as random
from bayesmix import schema
from bayesmix.blocks.gaussian import Gaussian
from bayesmix.blocks.target import Target, target
from bayesmix.errors import NotConverged
from bayesmix.protocols import Array, Design, HasPyMC, Method, Posterior, Report
from bayesmix.specs import check_choice, check_count, check_number

_FRESH = 10_000
"""Draws that evaluate the ELBO after the fit; the trace itself has one draw a step."""


@dataclass(frozen=True)
class ADVI(Method):
    r"""Stochastic maximisation of the evidence lower bound with Adam.

    .. math:: \mathrm{ELBO}(q) = \mathrm{E}_q[\log p(y, x) - \log q(x)]

    with q a Gaussian on the unconstrained space, one draw a step. ``fit_stats`` holds ``elbo`` by
    iteration, noisy, and ``elbo_final``, evaluated with 10,000 fresh draws.

    Parameters
    ----------
    steps
        Adam steps.
    covariance
        ``"meanfield"`` (diagonal) or ``"fullrank"``.
    learning_rate
        Of Adam.
    draws
        Independent draws from the fitted approximation.

    References
    ----------
    Kucukelbir et al. (2017), JMLR 18(14).
    """

    steps: int = 50_000
    covariance: str = "meanfield"
    learning_rate: float = 0.01
    draws: int = 4000
    requires: ClassVar[type] = HasPyMC
    name: ClassVar[str] = "advi"

    def __post_init__(self) -> None:
        check_count("ADVI", "steps", self.steps, low=100)
        check_count("ADVI", "draws", self.draws)
        check_choice("ADVI", "covariance", self.covariance, ("meanfield", "fullrank"))
        rate = check_number("ADVI", "learning_rate", self.learning_rate, low=0, strict=True)
        object.__setattr__(self, "learning_rate", rate)

    def run(self, model: HasPyMC, design: Design, *, seed: int, progress: Report) -> Posterior:
        """Fit q, evaluate its ELBO with fresh draws, and draw from it."""
        streams = random.streams(seed, "advi", "elbo", "draws")
        density = target(model, design)
        approximation, elbo = self._fit(model, design, density, streams["advi"], progress)
        _, _, fresh = approximation.log_weights(density, streams["elbo"], _FRESH)
        params, stats = approximation.sample(density, streams["draws"], self.draws)
        fit_stats = {
            "elbo": elbo,
            "elbo_final": np.array(fresh.mean()),
            "elbo_final_mcse": np.array(fresh.std() / np.sqrt(_FRESH)),
        }
        dims = {"elbo": ("iteration",), "elbo_final": (), "elbo_final_mcse": ()}
        stat_dims = dict.fromkeys(stats, schema.SAMPLE_DIMS)
        attrs = {"engine": "independent"}
        return Posterior(
            params,
            stats,
            stat_dims,
            sampled=True,
            fit_stats=fit_stats,
            fit_stat_dims=dims,
            attrs=attrs,
        )

    def _fit(
        self,
        model: HasPyMC,
        design: Design,
        density: Target,
        generator: np.random.Generator,
        progress: Report,
    ) -> tuple[Gaussian, Array]:
        import pymc as pm

        def report(_: Any, losses: Array, step: int) -> None:
            if step % 100 == 0:
                progress("advi", step / self.steps)
                if not np.isfinite(losses[-1]):
                    raise NotConverged(
                        f"the ELBO became {-losses[-1]} at step {step}; lower learning_rate"
                    )

        progress("compile", 0.0)
        with _quiet(), model.pymc_model(design):
            fitted = pm.fit(
                self.steps,
                method="advi" if self.covariance == "meanfield" else "fullrank_advi",
                obj_optimizer=pm.adam(learning_rate=self.learning_rate),
                random_seed=random.integer(generator),
                callbacks=[report],
                progressbar=False,
            )
        progress("advi", 1.0)
        order = _order(fitted, density)
        mean, covariance = fitted.mean.eval()[order], fitted.cov.eval()[np.ix_(order, order)]
        return Gaussian(mean, np.linalg.cholesky(covariance)), -np.asarray(fitted.hist)


def _order(fitted: Any, density: Target) -> Array:
    """Where each coordinate of the target sits in PyMC's flat vector, whose order is its own."""
    slices = {name: entry[1] for name, entry in fitted.ordering.items()}
    return np.concatenate([np.r_[slices[name]] for name, _ in density.variables])


@contextmanager
def _quiet() -> Generator[None]:
    """PyMC logs the average loss of every fit; the trace holds it."""
    logger = logging.getLogger("pymc")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
