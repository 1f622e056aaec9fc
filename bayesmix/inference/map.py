"""The mode of the posterior density."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bayesmix import rng as random
from bayesmix.compiled.density import Target, target
from bayesmix.maxima.climb import Climb, best_of, climb
from bayesmix.maxima.modes import rough_starts
from bayesmix.protocols import Array, Design, HasPyMC, Method, Posterior, Report
from bayesmix.specs import check_count, check_number

ADVICE = (
    "a joint density can grow without bound as a spread runs to zero: use parametrization='mixed', "
    "method='laplace' or method='nuts', or raise max_iter"
)


@dataclass(frozen=True)
class MAP(Method):
    r"""Maximum a posteriori: the mode of :math:`p(\theta \mid y)` over the model's free variables.

    A mode moves with the coordinates, as a mean does not. With ``parametrization="centered"`` it
    is the joint mode of population and group coefficients, which can run off to a spread of zero;
    with ``"mixed"`` the group coefficients are written relative to their conditional means and
    spreads, so that the mode is close to that of the *marginal* posterior of the population.

    Parameters
    ----------
    restarts
        Number of starts: those that the family knows of (a mixture's maxima of the likelihood),
        then the model's own, then that with jitter. The best is kept, all are in ``fit_stats``.
    max_iter, tolerance
        Steps of each start, and the largest gradient entry that counts as converged.
    """

    restarts: int = 4
    max_iter: int = 1000
    tolerance: float = 1e-5
    requires: ClassVar[type] = HasPyMC
    name: ClassVar[str] = "map"

    def __post_init__(self) -> None:
        check_count("MAP", "restarts", self.restarts)
        check_count("MAP", "max_iter", self.max_iter)
        tolerance = check_number("MAP", "tolerance", self.tolerance, low=0, strict=True)
        object.__setattr__(self, "tolerance", tolerance)

    def run(self, model: HasPyMC, design: Design, *, seed: int, progress: Report) -> Posterior:
        """Climb from every start and keep the highest mode."""
        progress("compile", 0.0)
        density = target(model, design, jacobian=False)
        generator = random.stream(seed, "init")
        known = rough_starts(model, design, density, generator)
        climbs = self.climbs(density, generator, progress, known)
        best = best_of(climbs, ADVICE)
        params = {name: value[0] for name, value in density.expand(best.point).items()}
        stats = {
            "log_joint": best.trace,
            "restart_log_joint": np.array([one.value for one in climbs]),
            "gradient_norm": np.array(best.slope),
        }
        dims = {"log_joint": ("iteration",), "restart_log_joint": ("restart",), "gradient_norm": ()}
        attrs = {"engine": "point", "objective": "log_joint", "n_parameters": density.n_dim}
        attrs["converged"] = int(best.slope <= self.tolerance)
        return Posterior(params, stats, dims, sampled=False, attrs=attrs)

    def climbs(
        self,
        density: Target,
        generator: np.random.Generator,
        progress: Report,
        known: Sequence[Array] = (),
    ) -> list[Climb]:
        """One ascent from each start: those that the family knows, then the model's own."""
        found = []
        for i in range(self.restarts):
            progress("maximise", i / self.restarts)
            jitter = generator.uniform(-1, 1, density.n_dim) if i else 0.0
            start = known[i] if i < len(known) else density.initial + jitter
            one = climb(
                density.log_density, start, max_iter=self.max_iter, tolerance=self.tolerance
            )
            found.append(one)
        progress("maximise", 1.0)
        return found
