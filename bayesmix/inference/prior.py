"""The prior as a method: draws before any outcome is seen, for every verb that takes draws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bayesmix import protocols
from bayesmix import rng as random
from bayesmix.protocols import Design, HasPrior, Method, Posterior, Report
from bayesmix.specs import check_count


@dataclass(frozen=True)
class FromPrior(Method):
    r"""Draws from the prior, :math:`\theta \sim p(\theta)`; outcomes are not looked at.

    ``fit.predict()``, ``.sample()``, ``.curves()`` and the plots then show what the model believes
    before it sees an outcome. The predictors are looked at, and where default priors are on the
    scale of the data, so are the location and scale of the outcome.

    Parameters
    ----------
    draws
        How many.

    References
    ----------
    Gabry, Simpson, Vehtari, Betancourt & Gelman (2019), doi:10.1111/rssa.12378, on prior
    predictive checks.

    Examples
    --------
    >>> import bayesmix as bm
    >>> model = bm.BinomialGLM("p(high, total) ~ sex + (1 | edu)")
    >>> before = bm.fit(model, bm.datasets.census(), method="prior", seed=1)
    >>> before.tree["posterior"]["sex"].shape
    (1, 1000)
    """

    draws: int = 1000
    requires: ClassVar[type] = HasPrior
    name: ClassVar[str] = "prior"

    def __post_init__(self) -> None:
        check_count("FromPrior", "draws", self.draws)

    def run(self, model: HasPrior, design: Design, *, seed: int, progress: Report) -> Posterior:
        """Draw."""
        params = model.draw_prior(design, random.stream(seed, "prior"), self.draws)
        density = model.log_prior(params, design)
        progress("draw", 1.0)
        return Posterior(
            {name: np.asarray(value)[None] for name, value in params.items()},
            {"log_prior": density[None]},
            {"log_prior": protocols.SAMPLE_DIMS},
            sampled=True,
            attrs={"engine": "prior"},
        )
