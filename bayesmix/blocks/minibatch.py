r"""Stochastic ascent of the ELBO on batches of rows, for data too many to sweep at every step.

With B of N rows a step sees :math:`\frac NB \log p(y_B, x) - (\frac NB - 1)\log p(x)`, whose mean
over batches is the log joint density, as rows are independent given the parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from bayesmix.blocks.gaussian import Gaussian
from bayesmix.blocks.target import Target, target
from bayesmix.errors import NotConverged
from bayesmix.priors import LOG_2PI
from bayesmix.protocols import Array, Design, HasPyMC

_FEW = 5000
"""Rows on which a first rough solution is looked for."""


class Batches:
    """Unbiased log joint densities and gradients from batches of rows."""

    def __init__(self, model: HasPyMC, design: Design, size: int, rng: np.random.Generator) -> None:
        self.model, self.size, self.n = model, min(size, design.n_obs), design.n_obs
        self.design, self.rng = design, rng
        self.prior = target(model, design.rows(slice(0, 0)))

    def few(self) -> Design:
        """Some thousand rows taken at random."""
        chosen = self.rng.choice(self.n, min(self.n, _FEW), replace=False)
        return self.design.rows(np.sort(chosen))

    def targets(self) -> Iterator[Target]:
        """Targets of batches without end, every row once an epoch."""
        while True:
            shuffled = self.design.rows(self.rng.permutation(self.n))
            for start in range(0, self.n - self.size + 1, self.size):
                yield target(self.model, shuffled.rows(slice(start, start + self.size)))

    def joint(self, batch: Target, point: Array) -> tuple[float, Array]:
        """The estimate from one batch, with its gradient."""
        factor = self.n / self.size
        value, gradient = batch.log_density(point)
        before, slope = self.prior.log_density(point)
        return factor * value - (factor - 1) * before, factor * gradient - (factor - 1) * slope


def ascend(
    batches: Batches,
    start: Array,
    spread: Array,
    steps: int,
    rate: float,
    report: Callable[[int], None],
) -> tuple[Gaussian, Array]:
    """Adam on a diagonal Gaussian, one batch and one draw a step; the rate falls as a cosine.

    Means and log spreads are measured in units of ``spread``, so that one rate serves all.

    Raises
    ------
    NotConverged
        The objective is not finite.
    """
    n = len(start)
    x, first, second = np.zeros(2 * n), np.zeros(2 * n), np.zeros(2 * n)
    trace, tail = np.empty(steps), np.zeros(2 * n)
    for step, batch in zip(range(steps), batches.targets(), strict=False):
        z = batches.rng.standard_normal(n)
        scale = spread * np.exp(x[n:])
        value, gradient = batches.joint(batch, start + spread * x[:n] + scale * z)
        trace[step] = value + np.log(scale).sum() + 0.5 * n * (1 + LOG_2PI)
        if not np.isfinite(value):
            raise NotConverged(f"the ELBO became {value} at step {step}; lower learning_rate")
        slope = np.concatenate([spread * gradient, gradient * scale * z + 1])
        first = 0.9 * first + 0.1 * slope
        second = 0.999 * second + 0.001 * slope**2
        size = rate * 0.5 * (1 + np.cos(np.pi * step / steps)) + 1e-3 * rate
        corrected = (first / (1 - 0.9 ** (step + 1)), second / (1 - 0.999 ** (step + 1)))
        x = x + size * corrected[0] / (np.sqrt(corrected[1]) + 1e-8)
        if step >= steps - steps // 4:
            tail += x / (steps // 4)
        report(step)
    mean, scale = start + spread * tail[:n], spread * np.exp(tail[n:])
    return Gaussian(mean, np.diag(scale)), trace
