"""Expectation maximisation: maximum likelihood of mixtures from many starts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bayesmix import rng as random
from bayesmix.maxima.em import best_runs
from bayesmix.protocols import Array, Design, HasEM, Method, Posterior, Report
from bayesmix.specs import check_count, check_number


@dataclass(frozen=True)
class EM(Method):
    r"""Expectation maximisation, monotone, finished by the family's own Newton steps.

    Starts are distinct solutions of hard assignment. Every start gets five steps; one that is then
    among the best so far goes on until the objective moves by less than ``tolerance`` of its size
    or it comes to where another run has ended; then, where the family knows its exact gradient and
    Hessian, Newton steps end at the stationary point (EM alone converges linearly, slowly where
    components overlap). From each new best, mixtures with one component taken away and another
    split are climbed from, too. More ``restarts`` try all that fewer try, so they never end lower
    (beyond 20,000 rows, where starts compete on some of the rows, they may). ``fit_stats`` holds
    the objective by step under its own name, what each start reached, and each maximum with the
    number of runs that ended there.

    Parameters
    ----------
    restarts
        Starts that are tried.
    max_iter
        Steps of a run that goes on.
    tolerance
        Relative change of the objective at which EM steps end.

    References
    ----------
    Dempster, Laird & Rubin (1977), doi:10.1111/j.2517-6161.1977.tb01600.x;
    Biernacki, Celeux & Govaert (2003), doi:10.1016/S0167-9473(02)00163-9, on short runs;
    Ueda et al. (2000), doi:10.1162/089976600300015088, on splitting and merging.
    """

    restarts: int = 10
    max_iter: int = 100
    tolerance: float = 1e-6
    requires: ClassVar[type] = HasEM
    name: ClassVar[str] = "em"

    def __post_init__(self) -> None:
        check_count("EM", "restarts", self.restarts)
        check_count("EM", "max_iter", self.max_iter)
        tolerance = check_number("EM", "tolerance", self.tolerance, low=0)
        object.__setattr__(self, "tolerance", tolerance)

    def run(self, model: HasEM, design: Design, *, seed: int, progress: Report) -> Posterior:
        """Climb from every start and keep the best."""
        found = best_runs(
            model,
            design,
            random.stream(seed, "init"),
            restarts=self.restarts,
            max_iter=self.max_iter,
            tolerance=self.tolerance,
            report=lambda share: progress("em", share),
        )
        progress("em", 1.0)
        run = found.best
        stats: dict[str, Array] = {
            model.objective: run.trace,
            f"restart_{model.objective}": found.ends,
            f"optimum_{model.objective}": found.optima,
            "optimum_runs": found.runs,
            "gradient_norm": np.array(run.slope),
        }
        dims = {
            model.objective: ("iteration",),
            f"restart_{model.objective}": ("restart",),
            f"optimum_{model.objective}": ("optimum",),
            "optimum_runs": ("optimum",),
            "gradient_norm": (),
        }
        attrs = {"engine": "point", "objective": model.objective, "distinct_starts": 1}
        attrs["n_parameters"] = model.n_free(design)
        return Posterior(
            dict(run.params),
            stats,
            dims,
            sampled=False,
            errors=run.errors,
            roots=model.em_roots(run.params, design),
            attrs=attrs,
        )
