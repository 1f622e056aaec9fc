"""Expectation maximisation: maximum likelihood of mixtures from many starts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bayesmix import rng as random
from bayesmix.blocks.ascent import best_runs
from bayesmix.protocols import Array, Design, HasEM, Method, Posterior, Report
from bayesmix.specs import check_count, check_number


@dataclass(frozen=True)
class EM(Method):
    r"""Expectation maximisation, monotone, finished by the family's own Newton steps.

    Starts are distinct solutions of hard assignment. Every start gets five steps, the best five
    go on until the objective moves by less than ``tolerance`` of its size; then, where the family
    knows its exact gradient and Hessian, Newton steps end at the stationary point (EM alone
    converges linearly, slowly where components overlap). ``fit_stats`` holds the objective by step
    under its own name and what each start reached.

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
    Biernacki, Celeux & Govaert (2003), doi:10.1016/S0167-9473(02)00163-9, on short runs.
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
        run, ends = best_runs(
            model,
            design,
            random.stream(seed, "init"),
            restarts=self.restarts,
            max_iter=self.max_iter,
            tolerance=self.tolerance,
            report=lambda share: progress("em", share),
        )
        progress("em", 1.0)
        stats: dict[str, Array] = {
            model.objective: run.trace,
            f"restart_{model.objective}": ends,
            "gradient_norm": np.array(run.slope),
        }
        dims = {
            model.objective: ("iteration",),
            f"restart_{model.objective}": ("restart",),
            "gradient_norm": (),
        }
        attrs = {"engine": "point", "objective": model.objective, "distinct_starts": 1}
        attrs["n_parameters"] = model.n_free(design)
        return Posterior(
            dict(run.params), stats, dims, sampled=False, errors=run.errors, attrs=attrs
        )
