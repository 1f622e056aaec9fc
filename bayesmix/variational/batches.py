r"""Log joint densities estimated on batches of rows, for data too many to sweep at every step.

With B of N rows a step sees :math:`\frac NB \log p(y_B, x) - (\frac NB - 1)\log p(x)`, whose mean
over batches is the log joint density, as rows are independent given the parameters.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bayesmix.compiled.density import Target, target
from bayesmix.protocols import Array, Design, HasPyMC

_FEW = 5000
"""Rows on which a first rough solution is looked for."""


class Batches:
    """Unbiased log joint densities and gradients from batches of rows."""

    def __init__(self, model: HasPyMC, design: Design, size: int, rng: np.random.Generator) -> None:
        self.model, self.size, self.n = model, min(size, design.n_obs), design.n_obs
        self.design, self.rng = design, rng
        self.prior = target(model, design.rows(slice(0, 0)))
        self.targets = self._targets()

    def few(self) -> Design:
        """Some thousand rows taken at random."""
        chosen = self.rng.choice(self.n, min(self.n, _FEW), replace=False)
        return self.design.rows(np.sort(chosen))

    def _targets(self) -> Iterator[Target]:
        """Targets of batches without end, every row once an epoch."""
        while True:
            shuffled = self.design.rows(self.rng.permutation(self.n))
            for start in range(0, self.n - self.size + 1, self.size):
                yield target(self.model, shuffled.rows(slice(start, start + self.size)))

    def estimate(self, points: Array) -> tuple[Array, Array]:
        """Estimates from the next batch at points (draw, n_dim), with their gradients."""
        factor = self.n / self.size
        values, gradients = next(self.targets).log_densities(points)
        before, slopes = self.prior.log_densities(points)
        return factor * values - (factor - 1) * before, factor * gradients - (factor - 1) * slopes
