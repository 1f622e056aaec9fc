"""The highest mode of a posterior that a family knows rough solutions of, and its width there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bayesmix.compiled.density import Target
from bayesmix.maxima.climb import Climb, climb, curvature
from bayesmix.protocols import Array, Design, HasModes, HasPyMC

_ADVANCE = {"max_iter": 1000, "tolerance": 1e-5}


@dataclass(frozen=True, eq=False)
class Mode:
    """A mode (n,) and a factor F of the covariance F F' of the Gaussian that touches it there."""

    point: Array
    factor: Array

    def near(self, rng: np.random.Generator) -> Array:
        """A point about as far from the mode as a draw of the posterior is."""
        return self.point + self.factor @ rng.standard_normal(len(self.point))


def rough_starts(
    model: HasPyMC, design: Design, density: Target, rng: np.random.Generator
) -> list[Array]:
    """Unconstrained points near the modes that the family knows of; none by default."""
    if not isinstance(model, HasModes):
        return []
    return [density.point(values) for values in model.modes(design, rng)]


def best_mode(
    model: HasPyMC, design: Design, density: Target, rng: np.random.Generator
) -> Mode | None:
    """The highest mode reached from the family's rough solutions; None where it has none."""
    climbs: list[Climb] = [
        climb(density.log_density, start, **_ADVANCE)  # type: ignore[arg-type]
        for start in rough_starts(model, design, density, rng)
    ]
    if not climbs:
        return None
    best = max(climbs, key=lambda one: one.value)
    return Mode(best.point, _width(density, best.point))


def mode_at(density: Target, start: Array) -> Mode:
    """The mode uphill from a point."""
    best = climb(density.log_density, start, **_ADVANCE)  # type: ignore[arg-type]
    return Mode(best.point, _width(density, best.point))


def _width(density: Target, point: Array) -> Array:
    """A factor of the inverse of minus the Hessian; flat directions are taken as wide as one."""
    values, vectors = np.linalg.eigh(-curvature(density.log_density, point))
    return vectors / np.sqrt(np.maximum(values, 1.0))
