"""Where fits of a mixture of experts begin and end: starts, polish, order of experts, errors."""

from __future__ import annotations

import numpy as np

from bayesmix.blocks import clusterwise
from bayesmix.blocks.alignment import agreed_order, taken
from bayesmix.blocks.ascent import best_runs
from bayesmix.blocks.expert_options import ExpertOptions
from bayesmix.blocks.gated import Coefficients, Gated
from bayesmix.blocks.outcomes import Gaussian
from bayesmix.blocks.whitening import Whitening
from bayesmix.protocols import Array, Design, Params

_LOOKED_AT = 500
"""Rows from which starts are made."""
_CLUSTERINGS = 50
_SLOPE = 1e-5


def starts(rows: Gated, n_experts: int, rng: np.random.Generator, count: int) -> list[Coefficients]:
    """Distinct solutions of hard assignment, as coefficients; most promising first."""
    few = rows.part(np.sort(rng.choice(rows.n, min(rows.n, _LOOKED_AT), replace=False)))
    y = few.expert.working(few.rows) - few.offset
    coef = clusterwise.starts(rng, few.loc, y, n_experts, max(_CLUSTERINGS, count))
    lines = clusterwise.descend(few.loc, y, coef)
    return [_soft(few, y, lines.coef[i]) for i in lines.distinct(count)]


def _soft(rows: Gated, y: Array, loc: Array) -> Coefficients:
    """Lines as experts: a common scale, and a gate that knows their shares alone."""
    chosen, squares = clusterwise.assign(rows.loc, y, loc[None], None)
    share = (np.bincount(chosen[0], minlength=len(loc)) + 1.0) / (rows.n + len(loc))
    gate = _constant(rows.gate, np.log(share))
    if not isinstance(rows.expert, Gaussian):
        return Coefficients(loc, gate, np.zeros((len(loc), rows.spread.shape[1])))
    scale = np.sqrt(squares.mean()) + 1e-3 * max(float(y.std()), 1e-6)
    growth = max(scale - rows.expert.floor, 0.1 * scale)
    return Coefficients(loc, gate, _constant(rows.spread, np.full(len(loc), np.log(growth))))


def _constant(columns: Array, values: Array) -> Array:
    """Coefficients whose predictor is closest to a constant for each expert."""
    if columns.shape[1] == 0:
        return np.zeros((len(values), 0))
    unit = np.linalg.lstsq(columns, np.ones(len(columns)), rcond=None)[0]
    return values[:, None] * unit


def polish(rows: Gated, c: Coefficients, max_iter: int = 200) -> tuple[Coefficients, float]:
    """Newton steps up the observed log-likelihood, each halved until it gains.

    Directions of the wrong curvature are followed uphill by their absolute value; EM alone needs
    thousands of steps where experts overlap.
    """
    point = c.flat()
    for _ in range(max_iter):
        value, gradient, hessian = rows.expansion(c.like(point))
        if not np.isfinite(hessian).all():  # experts that ran off after separated outcomes
            break
        values, vectors = np.linalg.eigh(-hessian)
        along = vectors.T @ gradient
        if np.abs(gradient).max() < _SLOPE:
            break
        weight = np.maximum(np.abs(values), 1e-9 * np.abs(values).max())
        step = vectors @ np.where(np.abs(along) > 1e-9, along / weight, 0.0)
        step *= min(1.0, 10.0 / max(float(np.abs(step).max()), 1e-300))
        size = _gaining(rows, c, point, step, value, float(gradient @ step))
        if size == 0.0:
            break
        point = point + size * step
    c = c.like(point)
    return centred(c), float(np.abs(rows.expansion(c).gradient).max())


def _gaining(
    rows: Gated, c: Coefficients, point: Array, step: Array, value: float, slope: float
) -> float:
    size = 1.0
    with np.errstate(over="ignore"):
        for _ in range(40):
            after = rows.value(c.like(point + size * step))
            if after >= value + 1e-4 * size * slope:
                return size
            size /= 2
    return 0.0


def centred(c: Coefficients) -> Coefficients:
    """The same gate with coefficients that sum to zero over experts."""
    return c._replace(gate=c.gate - c.gate.mean(axis=0)) if c.gate.size else c


def in_order(c: Coefficients, rows: Gated) -> Coefficients:
    """Experts by their loc at the data's centre."""
    return c.ordered(np.argsort(c.loc @ rows.loc.mean(axis=0), kind="stable"))


def covariance_root(rows: Gated, to_raw: Whitening, c: Coefficients) -> Array | None:
    """A root (coefficient, direction) of the inverse observed information, in raw coefficients.

    None where the data do not determine them. The gate's common shift carries no information; its
    coefficients sum to zero instead.
    """
    information = -rows.expansion(c).hessian
    if not np.isfinite(information).all():
        return None
    values, vectors = np.linalg.eigh(information)
    null = c.gate.shape[1] if len(c.gate) > 1 else 0
    rest, directions = values[null:], vectors[:, null:]
    if (rest <= 1e-9 * values.max()).any():
        return None
    return to_raw.jacobian(len(c.loc)) @ directions / np.sqrt(rest)


def standard_errors(rows: Gated, to_raw: Whitening, c: Coefficients) -> Coefficients:
    """From the inverse observed information; NaN where the data do not determine them."""
    root = covariance_root(rows, to_raw, c)
    if root is None:
        return c.like(np.full(c.flat().shape, np.nan))
    return c.like(np.sqrt((root**2).sum(axis=1)))


def modes(model: ExpertOptions, design: Design, rng: np.random.Generator) -> list[Params]:
    """The best maxima of the likelihood, drawn in to where the priors have their mass."""
    run = best_runs(model, design, rng, restarts=10, max_iter=50, tolerance=1e-6).best
    params = model.em_wider(run.params, design, rng)
    free, names = model.free(params, design), list(model.dims(design))
    keys = {name: model.free_name(name) for name in names}
    return [{key: np.clip(free[key], *_bounds(model, name)) for name, key in keys.items()}]


def _bounds(model: ExpertOptions, name: str) -> tuple[float, float]:
    """The middle 99 % of a coefficient's prior."""
    draws = model.prior(name).draw(np.random.default_rng(0), (10_000,))
    low, high = np.quantile(draws, [0.005, 0.995])
    return float(low), float(high)


def relabel(model: ExpertOptions, params: Params, design: Design) -> tuple[Params, Array]:
    """Every sample's experts in the order that agrees best with the others' responsibilities."""
    n_samples = len(next(iter(params.values())))
    order = agreed_order(model, params, design)
    aligned = _reordered(params, order)
    centre = design.arrays["X"].mean(axis=0)
    loc = design.state.linear[0].gather(aligned, (n_samples, model.n_experts)) @ centre
    final = np.argsort(loc.mean(axis=0), kind="stable")
    order = order[:, final]
    return _reordered(params, order), order


def ordered(model: ExpertOptions, params: Params, design: Design) -> dict[str, Array]:
    """Each sample's experts by their own loc at the data's centre."""
    lead = (len(next(iter(params.values()))), model.n_experts)
    loc = design.state.linear[0].gather(params, lead) @ design.arrays["X"].mean(axis=0)
    return _reordered(params, np.argsort(loc, axis=1, kind="stable"))


def _reordered(params: Params, order: Array) -> dict[str, Array]:
    return {name: taken(value, order) for name, value in params.items()}
