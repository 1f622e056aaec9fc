"""Parameters from the prior, data simulated from them, and one fit of each."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Any, cast

import numpy as np
import pandas as pd
import xarray as xr

from bayesmix import rng as random
from bayesmix import workflow
from bayesmix.chains import statistics
from bayesmix.design import table as tables
from bayesmix.diagnostics.diagnosis import engine_of
from bayesmix.errors import DataError, MissingCapability, NotConverged, SpecError, listed
from bayesmix.progress import reporter
from bayesmix.protocols import Array, Design, HasComponents, HasPrior, Method, Params, Report
from bayesmix.result import Fit
from bayesmix.specs import check_count
from bayesmix.tree import read
from bayesmix.tree.entries import labelled

_MAX_STRETCH = 10


@dataclass(eq=False)
class Study:
    """What a calibration repeats: parameters from the prior, data simulated from them, fits.

    ``truth`` (replication, parameter) holds the distinct scalars of ``params``, in the order of
    ``labels``; ``outcomes`` is (replication, obs).
    """

    model: HasPrior
    table: pd.DataFrame
    target: str
    method: str | Method
    seed: int
    params: Params
    outcomes: Array
    labels: list[str]
    truth: Array
    failed: list[str] = field(default_factory=list)

    @classmethod
    def of(
        cls, model: Any, data: Any, method: str | Method, replications: int, seed: int | None
    ) -> Study:
        """Draw the parameters and simulate the outcomes, on the predictors of ``data``."""
        check_count("calibrate", "replications", replications, low=2)
        if not isinstance(model, HasPrior):
            raise MissingCapability(
                f"calibration draws parameters from the prior; {type(model).__name__} offers none"
            )
        seed, table = random.check_seed(seed), tables.frame(data)
        design = model.design(table)
        if len(design.observed) > 1:
            raise MissingCapability(
                f"calibration simulates one outcome, and this model has {len(design.observed)} "
                f"({listed(design.observed)}); calibrate it for each alone"
            )
        if table[design.target].dtype.kind not in "iufb":
            raise DataError(
                f"the outcome {design.target!r} must hold numbers to be simulated, got "
                f"{table[design.target].dtype}: recode it to 0 and 1"
            )
        params = model.draw_prior(design, random.stream(seed, "prior"), replications)
        params = model.ordered(params, design) if isinstance(model, HasComponents) else params
        outcomes = model.simulate(params, design, random.stream(seed, "outcome"))[design.target]
        dims = model.dims(design)
        variables = {k: (("chain", "draw", *dims[k]), v[None]) for k, v in params.items()}
        used = {dim for name in params for dim in dims[name]}
        coords = {dim: list(design.coords[dim]) for dim in used}
        labels, truth = labelled(xr.Dataset(variables, coords))
        _check_trials(model, design, table.assign(**{design.target: outcomes[0]}))
        return cls(model, table, design.target, method, seed, params, outcomes, labels, truth[0])

    def fits(self, progress: bool, at_least: int = 0) -> Iterator[tuple[int, Fit]]:
        """One fit after the other, with the replication that it belongs to."""
        with reporter(progress) as report:
            yield from self._fits(report, at_least)
        if len(self.failed) == len(self.outcomes):
            raise NotConverged(f"every fit failed, the first with: {self.failed[0]}")

    def _fits(self, report: Report, at_least: int) -> Iterator[tuple[int, Fit]]:
        for r in range(len(self.outcomes)):
            report("calibrate", r / len(self.outcomes))
            try:
                found = self._fit(r, at_least)
            except NotConverged as error:
                self.failed.append(str(error))
                continue
            yield r, _each_in_order(found)
        report("calibrate", 1.0)

    def _fit(self, r: int, at_least: int) -> Fit:
        data = self.table.assign(**{self.target: self.outcomes[r]})
        seed = random.integer(random.stream(self.seed, f"replication {r}"))
        found = workflow.fit(self.model, data, method=self.method, seed=seed, progress=False)
        read.require_draws(found.tree, "calibration")
        size = independent_draws(found)
        if size >= at_least or "draws" not in {f.name for f in fields(cast("Any", found.method))}:
            return found
        stretch = min(math.ceil(1.5 * at_least / max(size, 1)), _MAX_STRETCH)
        longer: Any = found.method
        longer = replace(longer, draws=stretch * longer.draws)
        return workflow.fit(self.model, data, method=longer, seed=seed, progress=False)


def _each_in_order(found: Fit) -> Fit:
    """The same fit with each draw's components in its own order, as the true values are."""
    if not isinstance(found.model, HasComponents):
        return found
    posterior = found.tree["posterior"].to_dataset()
    params = found.model.ordered(read.draws(found.tree), found.design)
    values = {k: (posterior[k].dims, v.reshape(posterior[k].shape)) for k, v in params.items()}
    tree = found.tree.copy()
    tree["posterior"] = xr.DataTree(posterior.assign(values))
    return Fit(found.model, found.method, tree)


def scalars(found: Fit) -> Array:
    """Distinct scalar parameters, (sample, parameter)."""
    values = labelled(read.estimates(found.tree))[1]
    return values.reshape(-1, values.shape[-1])


def independent_draws(found: Fit) -> float:
    """The least bulk effective sample size, at most the number of draws."""
    values = labelled(read.estimates(found.tree))[1]
    if engine_of(found.tree) != "mcmc":
        return values.shape[0] * values.shape[1]
    sizes = statistics.ess_bulk(values)
    return float(sizes[np.isfinite(sizes)].min(initial=values.shape[0] * values.shape[1]))


def _check_trials(model: Any, design: Design, simulated: pd.DataFrame) -> None:
    """Refuse outcomes that trials are counted from, as in ``cbind(successes, failures)``."""
    trials = design.arrays.get("trials")
    if trials is not None and not np.array_equal(trials, model.design(simulated).arrays["trials"]):
        raise SpecError(
            "simulated successes would change the trials of cbind(successes, failures): write "
            "p(successes, trials) with a column of trials"
        )
