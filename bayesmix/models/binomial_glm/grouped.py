"""A binomial model with group effects: from a design to its data, and back to named numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bayesmix.design.formula import Matrices
from bayesmix.marginal.curvature import Effects
from bayesmix.marginal.outcomes import GroupedLogit
from bayesmix.models.binomial_glm.separation import require_maximum
from bayesmix.protocols import Array, Design


def grouped_logit(design: Design, matrices: Matrices) -> GroupedLogit:
    """The data of a binomial design, for :class:`bayesmix.marginal.likelihood.Marginal`.

    Raises
    ------
    DataError
        Some columns are combinations of others, or separate the outcomes perfectly.
    """
    arrays = design.arrays
    counts, weight = (arrays["successes"], arrays["trials"]), design.case_weight
    there = slice(None) if weight is None else weight > 0
    require_maximum(arrays["X"][there], design.coords["common"], *(part[there] for part in counts))
    offset = np.zeros(design.n_obs) + arrays.get("offset", 0.0)
    effects = [
        Effects(arrays[f"Z_{f.name}"], arrays[f"index_{f.name}"], len(f.levels))
        for f in matrices.factors
    ]
    link = design.state.priors.link
    return GroupedLogit.of(arrays["X"], offset, *counts, effects, link, weight)


def population(
    matrices: Matrices, common: Array, spreads: Sequence[tuple[Array, Array]]
) -> dict[str, Array]:
    """Common effects, standard deviations and correlations under a fit's names."""
    named: dict[str, Array] = {
        term.name: common[term.columns].reshape(() if term.scalar else -1)
        for term in matrices.terms
    }
    for factor, (sigma, corr) in zip(matrices.factors, spreads, strict=True):
        named[f"sigma_{factor.name}"] = sigma
        if len(factor.effects) > 1:
            named[f"corr_{factor.name}"] = corr
    return named


def deviations(
    matrices: Matrices, conditional: Sequence[tuple[Array, Array]]
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Group deviations and their conditional standard deviations under a fit's names."""
    modes: dict[str, Array] = {}
    errors: dict[str, Array] = {}
    for factor, (mode, error) in zip(matrices.factors, conditional, strict=True):
        for j, effect in enumerate(factor.effects):
            modes[factor.deviation(effect)] = mode[:, j]
            errors[factor.deviation(effect)] = error[:, j]
    return modes, errors


def from_torch(matrices: Matrices, module: Any) -> tuple[dict[str, Array], dict[str, Array]]:
    """What a ``MixedModel`` (``in_torch``) says, under the same names."""
    common = module.beta.detach().numpy().copy()
    spreads = [tuple(part.detach().numpy() for part in e.spread()) for e in module.effects]
    modes, errors = deviations(matrices, module.conditional())
    return population(matrices, common, spreads) | modes, errors


def notes(design: Design, matrices: Matrices) -> list[str]:
    """What group effects cannot tell, whatever the method."""
    trials, weight = design.arrays.get("trials"), design.case_weight
    if trials is not None and weight is not None:
        trials = trials * weight
    found: list[str] = []
    for factor in matrices.factors:
        index = design.arrays[f"index_{factor.name}"]
        if trials is None or np.bincount(index, trials).max() > 1:
            continue
        found.append(
            f"{factor.name!r} has one row a group, and that row one trial: the spread cannot be "
            "learnt from 0/1 outcomes, it only rescales the other effects; drop the term "
            f"(... | {factor.name})."
        )
    return found
