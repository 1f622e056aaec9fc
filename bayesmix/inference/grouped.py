"""Maximum likelihood with group effects: the marginal likelihood's summit as a posterior."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bayesmix import rng as random
from bayesmix.blocks.marginal import Marginal
from bayesmix.blocks.marginal_climb import Summit, highest
from bayesmix.blocks.optimum import jacobian
from bayesmix.protocols import Array, Design, HasGroups, Posterior, Report

MAX_CORRELATION = 0.999
"""A correlation nearer to one has no standard error: the likelihood ends there."""


@dataclass(frozen=True)
class Climbing:
    """What a method's fields say about the ascent."""

    restarts: int
    max_iter: int
    tolerance: float
    advice: str


def fit_groups(
    climbing: Climbing, model: HasGroups, design: Design, seed: int, progress: Report
) -> Posterior:
    """Maximise the marginal likelihood; standard errors from the observed information."""
    marginal = Marginal(model.grouped(design))
    summit = highest(
        marginal,
        random.stream(seed, "init"),
        restarts=climbing.restarts,
        max_iter=climbing.max_iter,
        tolerance=climbing.tolerance,
        advice=climbing.advice,
        report=lambda share: progress("maximise", share),
    )
    params = model.population(marginal, summit.point, design)
    errors = _standard_errors(marginal, summit, model, design)
    modes, conditional = model.deviations(marginal, summit.point, design)
    progress("maximise", 1.0)
    best = summit.climb
    stats = {
        "log_likelihood": best.trace,
        "restart_log_likelihood": summit.values,
        "gradient_norm": np.array(best.slope),
    }
    dims = {
        "log_likelihood": ("iteration",),
        "restart_log_likelihood": ("restart",),
        "gradient_norm": (),
    }
    attrs = {"engine": "point", "objective": "log_likelihood", "n_parameters": len(summit.point)}
    attrs["converged"] = int(best.slope <= climbing.tolerance)
    errors = errors | conditional
    found = params | modes
    params = {name: found[name] for name in model.dims(design)}
    return Posterior(params, stats, dims, sampled=False, errors=errors, attrs=attrs)


def _standard_errors(
    marginal: Marginal, summit: Summit, model: HasGroups, design: Design
) -> dict[str, Array]:
    """Delta method; NaN for a spread of zero and a correlation of one, which end the likelihood."""
    reported = model.population(marginal, summit.point, design)

    def flat(point: Array) -> Array:
        found = model.population(marginal, point, design)
        return np.concatenate([np.ravel(value) for value in found.values()])

    slopes = jacobian(flat, summit.point)
    variance = np.einsum("ij,jk,ik->i", slopes, summit.covariance, slopes)
    errors, position = {}, 0
    for name, value in reported.items():
        one = np.sqrt(np.maximum(variance[position : position + np.size(value)], 0.0))
        one = one.reshape(np.shape(value))
        position += np.size(value)
        errors[name] = np.where(_on_edge(name, value), np.nan, one)
    return errors


def _on_edge(name: str, value: Array) -> Array:
    if name.startswith("sigma_"):
        return value == 0
    if name.startswith("corr_"):
        return (np.abs(value) > MAX_CORRELATION) & ~np.eye(len(value), dtype=bool)
    return np.zeros(np.shape(value), dtype=bool)
