"""Maximum likelihood with group effects: the marginal likelihood's summit as a posterior."""

from __future__ import annotations

from typing import Any

import numpy as np

from bayesmix import rng as random
from bayesmix.marginal.climb import Climbing, Summit, highest
from bayesmix.marginal.likelihood import Marginal
from bayesmix.marginal.quadrature import Quadrature
from bayesmix.maxima.climb import in_shapes, jacobian, root_of
from bayesmix.protocols import Array, Design, HasGroups, Posterior, Report

_DIMS = {"log_likelihood": ("iteration",), "restart_log_likelihood": ("restart",)}

STEP = 0.1
"""Standard errors by which the population moves to see how the groups' effects respond."""
MAX_CORRELATION = 0.999
"""A correlation nearer to one has no standard error: the likelihood ends there."""


def fit_groups(
    climbing: Climbing,
    n_quadrature: int,
    model: HasGroups,
    design: Design,
    seed: int,
    progress: Report,
) -> Posterior:
    """Maximise the marginal likelihood; standard errors from the observed information.

    Raises
    ------
    SpecError
        More than one node of quadrature, and not one grouping factor.
    """
    data = model.grouped(design)
    marginal = Marginal(data) if n_quadrature == 1 else Quadrature(data, n_quadrature)
    generator = random.stream(seed, "init")
    summit = highest(marginal, climbing, generator, lambda share: progress("maximise", share))
    params = model.population(marginal, summit.point, design)
    errors, moves = _standard_errors(marginal, summit, model, design)
    modes, conditional = model.deviations(marginal, summit.point, design)
    progress("maximise", 1.0)
    best = summit.climb
    stats = {
        "log_likelihood": best.trace,
        "restart_log_likelihood": summit.values,
        "gradient_norm": np.array(best.slope),
    }
    attrs: dict[str, Any] = {
        "engine": "point",
        "objective": "log_likelihood",
        "n_parameters": len(summit.point),
    }
    attrs["converged"] = int(best.slope <= climbing.tolerance)
    roots = _roots(marginal, summit, model, design, modes)
    errors = errors | conditional
    if summit.accuracy is not None:
        stats |= {
            "approximation_error": np.array(summit.accuracy.error),
            "approximation_uncertainty": np.array(summit.accuracy.uncertainty),
            "approximation_shift": np.array(max(moves.values(), default=0.0)),
        }
        attrs["approximation"] = summit.accuracy.how
        attrs["approximation_where"] = max(moves, key=lambda label: moves[label], default="")
        attrs["n_quadrature"] = n_quadrature
    dims = {name: _DIMS.get(name, ()) for name in stats}
    found = params | modes
    params = {name: found[name] for name in model.dims(design)}
    return Posterior(params, stats, dims, sampled=False, errors=errors, roots=roots, attrs=attrs)


def _roots(
    marginal: Marginal, summit: Summit, model: HasGroups, design: Design, modes: dict[str, Array]
) -> dict[str, Array]:
    """A root of the covariance, and how the groups' effects respond to its directions."""
    root = root_of(summit.covariance)
    if not np.isfinite(root).all():
        return {}

    def flat(point: Array) -> Array:
        found = model.population(marginal, point, design)
        return np.concatenate([np.ravel(value) for value in found.values()])

    slopes = jacobian(flat, summit.point)
    found = in_shapes(slopes @ root, model.population(marginal, summit.point, design))
    columns: dict[str, list[Array]] = {name: [] for name in modes}
    for direction in root.T:
        moved, _ = model.deviations(marginal, summit.point + STEP * direction, design)
        for name, value in moved.items():
            columns[name].append((value - modes[name]) / STEP)
    return found | {name: np.stack(column, axis=-1) for name, column in columns.items()}


def _standard_errors(
    marginal: Marginal, summit: Summit, model: HasGroups, design: Design
) -> tuple[dict[str, Array], dict[str, float]]:
    """Delta method; NaN for a spread of zero and a correlation of one, which end the likelihood.

    Also, by label, how many standard errors each parameter would move by a Newton step on the
    better approximation of the likelihood, where there is one.
    """
    reported = model.population(marginal, summit.point, design)

    def flat(point: Array) -> Array:
        found = model.population(marginal, point, design)
        return np.concatenate([np.ravel(value) for value in found.values()])

    slopes = jacobian(flat, summit.point)
    variance = np.einsum("ij,jk,ik->i", slopes, summit.covariance, slopes)
    slope = np.zeros(len(summit.point)) if summit.accuracy is None else summit.accuracy.slope
    step = slopes @ (summit.covariance @ slope)
    errors: dict[str, Array] = {}
    moves: dict[str, float] = {}
    position = 0
    for name, value in reported.items():
        here = slice(position, position + np.size(value))
        error = np.sqrt(np.maximum(variance[here], 0.0)).reshape(np.shape(value))
        error = np.where(_on_edge(name, value), np.nan, error)
        errors[name] = error
        moves |= _moves(name, step[here], error.ravel(), model, design)
        position = here.stop
    return errors, moves


def _moves(
    name: str, step: Array, error: Array, model: HasGroups, design: Design
) -> dict[str, float]:
    """Moves in standard errors by label; a correlation's are told by its spreads."""
    if name.startswith("corr_"):
        return {}
    levels = [design.coords[dim] for dim in model.dims(design)[name]]
    labels = [f"{name}[{level}]" for level in levels[0]] if levels else [name]
    return {
        label: abs(float(s / e))
        for label, s, e in zip(labels, step, error, strict=True)
        if np.isfinite(e) and e > 0
    }


def _on_edge(name: str, value: Array) -> Array:
    if name.startswith("sigma_"):
        return value == 0
    if name.startswith("corr_"):
        return (np.abs(value) > MAX_CORRELATION) & ~np.eye(len(value), dtype=bool)
    return np.zeros(np.shape(value), dtype=bool)
