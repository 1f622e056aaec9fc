"""Local maxima of smooth functions with exact gradients, and the curvature there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from bayesmix.errors import NotConverged
from bayesmix.protocols import Array

Objective = Callable[[Array], tuple[float, Array]]
"""Value and gradient at a point, shape (n,)."""


@dataclass(frozen=True)
class Climb:
    """One ascent: where it ended, the value and largest gradient entry there, the value by step."""

    point: Array
    value: float
    slope: float
    trace: Array


def climb(objective: Objective, start: Array, *, max_iter: int, tolerance: float) -> Climb:
    """Quasi-Newton ascent (BFGS) from ``start``, finished by Newton steps.

    Raises
    ------
    NotConverged
        The objective is not finite at the start.
    """
    from scipy.optimize import minimize

    value, _ = objective(start)
    if not np.isfinite(value):
        raise NotConverged(
            f"the objective is {value} at its start; look for predictors on very different scales "
            "or priors that rule the data out"
        )
    trace = [value]

    def record(intermediate_result: object) -> None:
        trace.append(-float(intermediate_result.fun))  # type: ignore[attr-defined]

    found = minimize(
        lambda point: _negated(objective(point)),
        start,
        jac=True,
        method="BFGS",
        options={"maxiter": max_iter, "gtol": tolerance},
        callback=record,
    )
    point = _polish(objective, np.asarray(found.x), tolerance)
    value, gradient = objective(point)
    return Climb(point, value, float(np.abs(gradient).max(initial=0.0)), np.array([*trace, value]))


def _negated(found: tuple[float, Array]) -> tuple[float, Array]:
    """Minus the function; a huge value where it is not finite, so that a line search backs off."""
    value, gradient = found
    if not np.isfinite(value):
        return 1e100, np.zeros_like(gradient)
    return -value, -gradient


def _polish(objective: Objective, point: Array, tolerance: float) -> Array:
    """A few Newton steps: BFGS stops early where values round off before gradients do."""
    value, gradient = objective(point)
    for _ in range(5):
        if np.abs(gradient).max(initial=0.0) <= tolerance:
            break
        information = -curvature(objective, point)
        values, vectors = np.linalg.eigh(information)
        step = (vectors / np.maximum(values, 1e-6 * values.max())) @ vectors.T @ gradient
        trial, slope = objective(point + step)
        if not (np.isfinite(trial) and trial >= value - 1e-8 * (1 + abs(value))):
            break
        point, value, gradient = point + step, trial, slope
    return point


def curvature(objective: Objective, point: Array, step: float = 1e-4) -> Array:
    """The Hessian at ``point`` by central differences of the gradient, symmetric."""
    hessian = jacobian(lambda x: objective(x)[1], point, step)
    return 0.5 * (hessian + hessian.T)


def jacobian(function: Callable[[Array], Array], point: Array, step: float = 1e-4) -> Array:
    """Derivatives of a vector function by central differences, shape (outputs, n)."""
    columns = []
    for i in range(len(point)):
        shift = np.zeros_like(point)
        shift[i] = step * max(1.0, abs(point[i]))
        columns.append((function(point + shift) - function(point - shift)) / (2 * shift[i]))
    return np.stack(columns, axis=1)


def root_of(covariance: Array) -> Array:
    """A square root R of a covariance R R', also of a singular one."""
    if not np.isfinite(covariance).all():
        return np.full_like(covariance, np.nan)
    values, vectors = np.linalg.eigh(covariance)
    return vectors * np.sqrt(np.maximum(values, 0.0))


def in_shapes(flat: Array, like: Mapping[str, Array]) -> dict[str, Array]:
    """Rows (entry, ...) of all parameters one after the other, back in each one's own shape."""
    found: dict[str, Array] = {}
    position = 0
    for name, value in like.items():
        rows = flat[position : position + np.size(value)]
        found[name] = rows.reshape(*np.shape(value), *flat.shape[1:])
        position += np.size(value)
    return found


STUCK = 1e-2
"""A gradient entry above this, after every step allowed, is no maximum in anyone's units."""


def best_of(climbs: list[Climb], advice: str) -> Climb:
    """The highest of several ascents.

    Raises
    ------
    NotConverged
        The highest did not end at a maximum.
    """
    best = max(climbs, key=lambda one: one.value)
    if not np.isfinite(best.value) or best.slope > STUCK:
        raise NotConverged(
            f"no maximum was reached: after {len(best.trace) - 2} steps the objective is "
            f"{best.value:.6g} and still climbs (gradient {best.slope:.2g}); {advice}"
        )
    return best
