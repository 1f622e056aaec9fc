"""Default priors of a mixture of experts: free variables in standard coordinates, and back."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bayesmix.models.experts.options import ExpertOptions
from bayesmix.models.experts.units import Side
from bayesmix.priors import STANDARD, Normal, Prior, worded
from bayesmix.protocols import Array, Design, Params

_DRAWS = 20_000
"""Draws where the marginal of a prior has no closed form."""


def reported(model: ExpertOptions, free: Params, design: Design) -> dict[str, Array]:
    """Named coefficients from the free variables behind them; any leading axes."""
    values = {name.removeprefix(STANDARD): np.asarray(value) for name, value in free.items()}
    return _mapped(model, values, design, lambda side, coef: side.raw(coef))


def free(model: ExpertOptions, params: Params, design: Design) -> dict[str, Array]:
    """The free variables behind named coefficients; any leading axes."""
    values = {name: np.asarray(value) for name, value in params.items()}
    found = _mapped(model, values, design, lambda side, coef: side.free(coef))
    return {model.free_name(name): value for name, value in found.items()}


def _mapped(
    model: ExpertOptions,
    values: dict[str, Array],
    design: Design,
    change: Callable[[Side, Array], Array],
) -> dict[str, Array]:
    found: dict[str, Array] = {}
    dims = model.dims(design)
    for one, side in zip(design.state.linear, design.state.units.sides, strict=True):
        if not one.terms:
            continue
        name = next(iter(one.dims()))
        lead = values[name].shape[: values[name].ndim - len(dims[name])]
        coef = one.gather(values, (*lead, model.n_experts))
        found |= one.scatter(change(side, coef))
    return {name: found[name] for name in dims}


def table(model: ExpertOptions, design: Design) -> dict[str, str]:
    """The prior in force of each coefficient, or of each of its entries, in the data's units."""
    found: dict[str, str] = {}
    for one, side in zip(design.state.linear, design.state.units.sides, strict=True):
        own = {term: model.prior(one.prefix + term.name) for term in one.terms}
        width = [prior for term, prior in own.items() for _ in one.labels[term.columns]]
        loc, scale = _marginal(side, width)
        for term, prior in own.items():
            name = one.prefix + term.name
            if model.is_given(name):
                found[name] = worded(prior)
                continue
            pairs = zip(loc[term.columns], scale[term.columns], strict=True)
            normals = [f"Normal({a:.3g}, {b:.3g})" for a, b in pairs]
            entries = [f"{name}[{k}, {v}]" for k in design.coords["expert"] for v in term.levels]
            found |= {name: normals[0]} if term.scalar else dict(
                zip(entries, normals * model.n_experts, strict=True)
            )  # fmt: skip
    return found


def _marginal(side: Side, priors: list[Prior]) -> tuple[Array, Array]:
    """Mean and sd of the prior of each coefficient, in the data's units."""
    if not priors:
        return np.empty(0), np.empty(0)
    if all(isinstance(prior, Normal) for prior in priors):
        moments = np.array([[p.loc, p.scale] for p in priors if isinstance(p, Normal)])
        variance = np.square(side.matrix) @ np.square(moments[:, 1])
        return side.raw(moments[:, 0]), np.sqrt(variance)
    rng = np.random.default_rng(0)
    drawn = side.raw(np.stack([prior.draw(rng, (_DRAWS,)) for prior in priors], axis=1))
    return drawn.mean(axis=0), drawn.std(axis=0)
