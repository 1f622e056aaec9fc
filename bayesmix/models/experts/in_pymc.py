"""A mixture of experts in PyMC: the marginal mixture, its components summed out."""

from __future__ import annotations

from typing import Any

import numpy as np

from bayesmix.design.linear import Linear
from bayesmix.mixtures.components import Gaussian
from bayesmix.models.experts.options import ExpertOptions
from bayesmix.protocols import DATA, Design


def model_of(model: ExpertOptions, design: Design) -> Any:
    """The ``pm.Model``, its data under the names of the design's arrays."""
    import pymc as pm
    import pytensor.tensor as pt

    coords = {dim: list(labels) for dim, labels in design.coords.items()}
    with pm.Model(coords=coords) as built:
        held: dict[str, Any] = {
            name: pm.Data(DATA + name, array) for name, array in design.arrays.items()
        }
        etas = [
            _predictor(model, one, name, held)
            for name, one in zip("XGS", design.state.linear, strict=True)
        ]
        loc = etas[0] + held["offset"][:, None]
        wide = [eta + pt.zeros_like(loc) for eta in (etas[1], etas[2])]
        trials = held.get("trials", held["offset"])
        floor = held["floor"][0] if "floor" in held else np.float64(0.0)

        def logp(y: Any, loc: Any, gate: Any, spread: Any, trials: Any, floor: Any) -> Any:
            family = model.family(design)
            family = Gaussian(floor) if family.has_scale else family
            part = family.graph(y[..., None], trials[..., None], loc, spread)
            joint: Any = pt.logsumexp(gate + part, axis=-1)
            normaliser: Any = pt.logsumexp(gate, axis=-1)
            return joint - normaliser

        pm.CustomDist(
            design.target, loc, *wide, trials, floor, logp=logp,
            signature="(k),(k),(k),(),()->()", observed=held["y"],
        )  # fmt: skip
    return built


def _predictor(model: ExpertOptions, one: Linear, name: str, held: dict[str, Any]) -> Any:
    """One linear predictor of every expert, (obs, expert)."""
    tables = _coefficients(model, one, name, held)
    eta: Any = np.zeros((1, model.n_experts))
    for term, table in zip(one.terms, tables, strict=True):
        columns = held[name][:, term.columns]
        for j in range(term.columns.stop - term.columns.start):
            eta = eta + columns[:, j, None] * table[None, :, j]
    return eta


def _coefficients(model: ExpertOptions, one: Linear, name: str, held: dict[str, Any]) -> list[Any]:
    """Coefficients of every term, (expert, column): beta = T u + t where priors are standard."""
    import pymc as pm
    import pytensor.tensor as pt

    dims, free = one.dims(), []
    for term in one.terms:
        key = one.prefix + term.name
        beta = model.prior(key).pymc(model.free_name(key), dims=dims[key])
        free.append(beta[:, None] if term.scalar else beta)
    if f"{name}_matrix" not in held:
        return free
    u: Any = pt.concatenate(free, axis=1)
    matrix, shift = held[f"{name}_matrix"], held[f"{name}_shift"]
    raw = (u[:, None, :] * matrix[None]).sum(axis=2) + shift
    tables = []
    for term, own in zip(one.terms, free, strict=True):
        key = one.prefix + term.name
        if model.is_given(key):
            tables.append(own)
            continue
        part = raw[:, term.columns]
        pm.Deterministic(key, part[:, 0] if term.scalar else part, dims=dims[key])
        tables.append(part)
    return tables
