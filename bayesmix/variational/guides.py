"""The best of the approximations that a family gives, where starting at a mode would mislead."""

from __future__ import annotations

import numpy as np

from bayesmix.compiled.density import Target
from bayesmix.errors import NotConverged
from bayesmix.maxima.modes import Mode
from bayesmix.protocols import Design, HasGuides, HasPyMC
from bayesmix.variational.fixed_draws import FixedDraws, paired_draws

_TRIED, _STEPS, _GAIN = 64, 12, 1e-7
"""Draws and steps with which guides are compared; the least gain of a step that is worth making."""


def best_guide(
    model: HasPyMC, design: Design, density: Target, rng: np.random.Generator
) -> Mode | None:
    """The family's guide from which the ELBO rises highest in a few steps; None without any."""
    if not isinstance(model, HasGuides):
        return None
    found = [
        Mode(density.point(guide.mean), np.diag(density.point(guide.spread)))
        for guide in model.guides(design, rng)
    ]
    draws = paired_draws(rng, _TRIED, density.n_dim)
    tried = [FixedDraws(density, mode, draws, False) for mode in found]
    reached = []
    for objective in tried:
        _, trace, _ = objective.maximise(objective.start(), _STEPS, 1e-3, _GAIN)
        reached.append(trace[-1] if np.isfinite(trace[-1]) else -np.inf)
    if not np.isfinite(max(reached)):
        raise NotConverged("the ELBO is not finite at any start that the family knows")
    return found[int(np.argmax(reached))]
