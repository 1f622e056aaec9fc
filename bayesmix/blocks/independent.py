"""Priors that are independent, one for every entry of every parameter."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np

from bayesmix.priors import Prior
from bayesmix.protocols import Array, HasPrior, Params


class IndependentPriors(HasPrior):
    """The prior of a family whose parameters each have their own."""

    @abstractmethod
    def prior(self, name: str) -> Prior:
        """The prior of each entry of one parameter."""

    def log_prior(self, params: Params, data: Any) -> Array:
        total = np.zeros(len(next(iter(params.values()))))
        for name in self.dims(self.design(data)):
            total += self.prior(name).log_density(params[name]).reshape(len(total), -1).sum(axis=1)
        return total

    def draw_prior(self, data: Any, rng: np.random.Generator, draws: int) -> dict[str, Array]:
        design = self.design(data)
        return {
            name: self.prior(name).draw(rng, (draws, *(len(design.coords[d]) for d in dims)))
            for name, dims in self.dims(design).items()
        }
