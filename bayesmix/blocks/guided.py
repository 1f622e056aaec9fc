"""Variational inference from the approximations that a family gives, where a mode would mislead."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bayesmix.blocks.fixed_draws import FixedDraws, paired_draws
from bayesmix.blocks.gaussian import Gaussian
from bayesmix.blocks.modes import Mode
from bayesmix.blocks.target import Target
from bayesmix.errors import NotConverged
from bayesmix.priors import LOG_2PI
from bayesmix.protocols import Array, Design, HasGuides, HasPyMC

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


def ascend(
    density: Target,
    start: Mode,
    steps: int,
    rate: float,
    draws: int,
    rng: np.random.Generator,
    report: Callable[[int], None],
) -> tuple[Gaussian, Array]:
    """Adam on a diagonal Gaussian with fresh paired draws at every step; the rate falls to zero.

    Raises
    ------
    NotConverged
        The ELBO is not finite.
    """
    n, spread = density.n_dim, np.diag(start.factor)
    x, first, second, tail = (np.zeros(2 * n) for _ in range(4))
    trace = np.empty(steps)
    for step in range(steps):
        half = rng.standard_normal((draws // 2, n))
        z = np.concatenate([half, -half])
        scale = spread * np.exp(x[n:])
        values, gradients = density.log_densities(start.point + spread * x[:n] + scale * z)
        trace[step] = values.mean() + np.log(scale).sum() + 0.5 * n * (1 + LOG_2PI)
        if not np.isfinite(trace[step]):
            raise NotConverged(f"the ELBO became {trace[step]} at step {step}; lower learning_rate")
        slope = np.concatenate(
            [spread * gradients.mean(axis=0), (gradients * z).mean(axis=0) * scale + 1]
        )
        first = 0.9 * first + 0.1 * slope
        second = 0.999 * second + 0.001 * slope**2
        corrected = (first / (1 - 0.9 ** (step + 1)), second / (1 - 0.999 ** (step + 1)))
        x = x + rate * 0.5 * (1 + np.cos(np.pi * step / steps)) * corrected[0] / (
            np.sqrt(corrected[1]) + 1e-8
        )
        if step >= steps - max(1, steps // 10):
            tail += x / max(1, steps // 10)
        report(step)
    return Gaussian(start.point + spread * tail[:n], np.diag(spread * np.exp(tail[n:]))), trace
