"""What a design of a binomial regression holds beside its matrices: standard units, pivots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from bayesmix.design.factors import Factor
from bayesmix.models.binomial_glm import equation
from bayesmix.models.binomial_glm.priors import PriorsInForce
from bayesmix.protocols import Array, Design


def with_standard(design: Design) -> Design:
    """What PyMC's reading needs where coefficients have priors in standard coordinates."""
    priors: PriorsInForce = design.state.priors
    added: dict[str, tuple[Array, tuple[str, ...]]] = {}
    if priors.defaults(design.state.matrices).any():
        added["to_raw"] = priors.population.inverse, ("common", "common_other")
        added["prior_loc"] = priors.loc, ("common",)
    for factor in design.state.matrices.factors:
        standard, (_, effect, other) = priors.groups[factor.name], factor.dims
        if not standard.is_identity:
            added[f"to_standard_{factor.name}"] = standard.matrix, (effect, other)
            added[f"to_raw_{factor.name}"] = standard.inverse, (effect, other)
            values = standard.values(design.arrays[f"Z_{factor.name}"])
            added[f"standard_{factor.name}"] = values, ("obs", effect)
    return _with_arrays(design, added)


def with_pivots(design: Design) -> Design:
    """What ``mixed`` needs: a Gaussian reading of each group's likelihood at a rough fit."""
    for factor in design.state.matrices.factors:
        design = _with_pivot(factor, design)
    return design


def _with_pivot(factor: Factor, design: Design) -> Design:
    group, effect, other = factor.dims
    arrays, matrices = design.arrays, design.state.matrices
    index, n_groups = arrays[f"index_{factor.name}"], len(factor.levels)
    counts, offset = (arrays["successes"], arrays["trials"]), arrays.get("offset", 0.0)
    link = design.state.priors.link
    weight, score = equation.gaussian_reading(
        *counts, index, n_groups, offset, link, design.case_weight
    )
    free = matrices.common[:, matrices.free_columns]
    effects = arrays.get(f"standard_{factor.name}", matrices.effects[factor.name])
    parts = equation.pivot(effects, free, index, n_groups, weight, score)
    names = ("information", "score", "cross")
    tails = ((effect, other), (effect,), (effect, f"free_{factor.name}"))
    added = {
        f"{name}_{factor.name}": (part, (group, *tail))
        for name, part, tail in zip(names, parts, tails, strict=True)
    }
    return _with_arrays(design, added)


def _with_arrays(design: Design, added: Mapping[str, tuple[Array, tuple[str, ...]]]) -> Design:
    """The same design with more arrays, each with its dims."""
    arrays = {name: array for name, (array, _) in added.items()}
    dims = {name: dims for name, (_, dims) in added.items()}
    return replace(design, arrays={**design.arrays, **arrays}, dims={**design.dims, **dims})
