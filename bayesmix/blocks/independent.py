r"""Priors that are independent, one for every entry of every free variable of a family.

A parameter with a prior of its own is a free variable as it is. One with a default prior is a
linear function of free variables in standard coordinates, which know no units, so that
:math:`\log p(\theta) = \log p(u) - \log\lvert\partial\theta/\partial u\rvert`, the last a constant.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np

from bayesmix.priors import STANDARD, Prior
from bayesmix.protocols import Array, Design, HasPrior, Params


class IndependentPriors(HasPrior):
    """The prior of a family whose free variables each have their own."""

    @abstractmethod
    def prior(self, name: str) -> Prior:
        """The prior of each entry of one parameter, in standard units where none was given."""

    @abstractmethod
    def is_given(self, name: str) -> bool:
        """Whether the parameter has a prior of its own, in the units of the data."""

    @abstractmethod
    def reported(self, free: Params, design: Design) -> dict[str, Array]:
        """The reported parameters from free variables; any leading axes."""

    @abstractmethod
    def free(self, params: Params, design: Design) -> dict[str, Array]:
        """The free variables from reported parameters; any leading axes."""

    @abstractmethod
    def log_volume(self, design: Design) -> float:
        """log |d reported / d free|, a constant."""

    def free_name(self, name: str) -> str:
        """The free variable behind a parameter."""
        return name if self.is_given(name) else STANDARD + name

    def log_prior(self, params: Params, data: Any) -> Array:
        design = self.design(data)
        free = self.free(params, design)
        total = np.full(len(next(iter(params.values()))), -self.log_volume(design))
        for name in self.dims(design):
            density = self.prior(name).log_density(free[self.free_name(name)])
            total += density.reshape(len(total), -1).sum(axis=1)
        return total

    def draw_prior(self, data: Any, rng: np.random.Generator, draws: int) -> dict[str, Array]:
        design = self.design(data)
        free = {
            self.free_name(name): self.prior(name).draw(
                rng, (draws, *(len(design.coords[d]) for d in dims))
            )
            for name, dims in self.dims(design).items()
        }
        return self.reported(free, design)
