"""A fit's prior drawn beside its posterior, for the checks of priors."""

from __future__ import annotations

import numpy as np
import xarray as xr

from bayesmix import rng as random
from bayesmix.diagnostics.prior import Beside
from bayesmix.errors import BayesmixError
from bayesmix.maxima.em import best_runs
from bayesmix.protocols import Array, Design, HasEM, HasNetwork, HasPrior, Method, Model, Params
from bayesmix.tree import read

_NUMBERS, _DRAWS = 10_000_000, 20_000
"""Numbers that draws of a prior may hold, and draws at most."""
_ROWS, _SCORED = 20_000, 100
"""Rows up to which EM is run beside draws, and draws whose likelihood is compared with its."""


def beside(
    model: Model, method: Method, tree: xr.DataTree, design: Design, seed: int
) -> Beside | None:
    """Population parameters of a fit with draws, beside draws of their prior; None without any.

    Deviations of groups and correlations are left out, as theirs are priors that data of few groups
    rarely narrow; networks, too, whose weights mean nothing one by one.
    """
    if not isinstance(model, HasPrior) or not read.is_sampled(tree):
        return None
    if isinstance(model, HasNetwork) or not issubclass(method.requires, HasPrior):
        return None
    dims, posterior = model.dims(design), tree["posterior"].to_dataset()
    names = [n for n in dims if "|" not in n and not n.startswith("corr_")]
    size = sum(int(np.prod(v.shape[2:])) for v in posterior.data_vars.values())
    count = int(np.clip(_NUMBERS // max(size, 1), 200, _DRAWS))
    before = model.draw_prior(design, random.stream(seed, "prior beside"), count)
    after = {name: posterior[name].to_numpy() for name in names}
    prior = {name: before[name][None] for name in names}
    sets = [_dataset(_contrasts(each, model, dims), design, dims) for each in (after, prior)]
    return Beside(sets[0], sets[1], *_likelihoods(model, design, tree, seed))


def _contrasts(params: Params, model: Model, dims: dict[str, tuple[str, ...]]) -> dict[str, Array]:
    """A gate's coefficients less their mean over components, which data say nothing about."""
    component = getattr(model, "component", None)
    return {
        name: value - value.mean(axis=2, keepdims=True)
        if name.startswith("gate_") and dims[name][:1] == (component,)
        else value
        for name, value in params.items()
    }


def _dataset(
    params: dict[str, Array], design: Design, dims: dict[str, tuple[str, ...]]
) -> xr.Dataset:
    used = {dim for name in params for dim in dims[name]}
    coords = {dim: list(design.coords[dim]) for dim in used}
    found = {name: (("chain", "draw", *dims[name]), value) for name, value in params.items()}
    return xr.Dataset(found, coords)


def _likelihoods(
    model: Model, design: Design, tree: xr.DataTree, seed: int
) -> tuple[float | None, Array | None]:
    """The highest log-likelihood that EM and a wider search find, and that of some draws."""
    if not isinstance(model, HasEM) or design.n_obs > _ROWS:
        return None, None
    generator = random.stream(seed, "likelihood beside")
    try:
        found = best_runs(model, design, generator, restarts=5, max_iter=100, tolerance=1e-6)
    except BayesmixError:  # data that do not determine the maximum, which draws do not need
        return None, None
    wider = model.em_wider(found.best.params, design, generator)
    one = {name: np.asarray(value)[None] for name, value in wider.items()}
    best = max(found.best.value, float(model.log_density(one, design).sum()))
    params = read.draws(tree)
    chosen = np.linspace(0, len(next(iter(params.values()))) - 1, _SCORED).astype(int)
    some = {name: value[chosen] for name, value in params.items()}
    return best, model.log_density(some, design).sum(axis=1)
