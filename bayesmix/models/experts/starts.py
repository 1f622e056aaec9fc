"""Where fits of a mixture of experts begin and end: starts, moves, polish, order, errors.

Maxima of the likelihood differ by where experts stand: two on one branch, none on another. EM never
crosses from one to the other; taking an expert from where it adds least to where one expert serves
two branches does. Lines through the data know nothing of the gate: where experts hold in regions of
their own, the way to the highest maximum leads over regions.

References
----------
Ueda, Nakano, Ghahramani & Hinton (2000), doi:10.1162/089976600300015088, split and merge EM.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from bayesmix.maxima.em import GAIN, MANY, SOME, best_runs
from bayesmix.mixtures import clusterwise
from bayesmix.mixtures.alignment import agreed_order, taken
from bayesmix.mixtures.components import Gaussian
from bayesmix.models.experts.equation import Coefficients, Gated, em_step
from bayesmix.models.experts.options import ExpertOptions
from bayesmix.models.experts.units import Whitening
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


MOST = 36
"""Moves that are tried at a time: all of four experts, the most promising of more."""
_LINK_STEP = 0.5
"""How far the halves of a split part on a log or logit scale, where no scale of noise says."""


def moves(rows: Gated, c: Coefficients) -> list[Coefficients]:
    """Mixtures with one expert removed and another split, the least needed removed first."""
    if len(c.loc) < 2:
        return []
    share = np.concatenate(rows.memberships(c)[0]).mean(axis=0)
    order = np.argsort(share, kind="stable")
    pairs = [(int(i), int(k)) for i in order for k in order[::-1] if i != k]
    directions = list(_directions(rows))
    pairs = pairs[: max(1, MOST // len(directions))]
    return [_moved(rows, c, i, k, direction) for direction in directions for i, k in pairs]


def _directions(rows: Gated) -> Iterator[Array]:
    """Coefficients (column,) of a unit step: of the height, and of each further column."""
    x = rows.loc
    flat = np.linalg.lstsq(x, np.ones(len(x)), rcond=None)[0]
    yield flat
    for j in range(x.shape[1]):
        unit = np.eye(x.shape[1])[j] / max(float(x[:, j].std()), 1e-12)
        if x[:, j].std() > 1e-9:
            yield unit - flat * float((x @ unit).mean())


def _moved(rows: Gated, c: Coefficients, gone: int, split: int, direction: Array) -> Coefficients:
    """The expert ``gone`` becomes a second half of the expert ``split``."""
    step = direction * _distance(rows, c, split)
    loc, gate, spread = (part.copy() for part in c)
    loc[gone], loc[split] = loc[split] + step, loc[split] - step
    gate[gone], spread[gone] = gate[split], spread[split]
    return Coefficients(loc, gate, spread)


def _distance(rows: Gated, c: Coefficients, expert: int) -> float:
    """How far the halves of an expert part, on the scale of its predictor."""
    if not isinstance(rows.expert, Gaussian):
        return _LINK_STEP
    return float(np.median(rows.expert.scale(rows.spreads(c.spread)[:, expert])))


_REGIONS = 12
"""Partitions of the predictors' space that are tried."""
_SHORT, _LONG, _STEPS = 6, 60, 5
"""EM steps that every candidate is given, the promising ones at most, and between two looks."""
_STILL = 1e-5
"""A gain in nats between two looks below which a climb has arrived."""
_CLIMBED, _ROUNDS = 3, 5
"""Candidates that are climbed from in a round, and rounds at most."""
_SHARPNESS = 2.0
"""Slope of the logits between two regions' centres, in standard units: soft, as EM sharpens it."""
Valued = tuple[float, Coefficients]


def wider(model: ExpertOptions, params: Params, design: Design, rng: np.random.Generator) -> Params:
    """The best parameters that the search finds; ``params`` themselves where none are better."""
    rows, to_raw = model.whitened(design)
    start = to_raw.whitened(model.coefficients(params, design))
    found = highest(rows, start, rng.spawn(1)[0])
    return params if found is start else model.named(to_raw.raw(found), design)


def highest(rows: Gated, c: Coefficients, rng: np.random.Generator) -> Coefficients:
    """The best mixture found from ``c`` and from regions; ``c`` itself where none is better."""
    few = rows
    if rows.n > MANY:
        few = rows.part(np.sort(rng.choice(rows.n, SOME, replace=False)))
    best: Valued = (few.value(c), c)
    for number in range(_ROUNDS):
        candidates = moves(few, best[1])
        if number == 0:
            candidates = [*candidates, *regions(few, len(c.loc), rng, _REGIONS)]
        found = _best_of(few, candidates)
        if found is None or found[0] - best[0] <= GAIN * (1 + abs(best[0])):
            break
        best = found
    return best[1] if few is rows else max((c, _climbed(rows, best[1], _LONG)[1]), key=rows.value)


def _best_of(rows: Gated, candidates: Iterable[Coefficients]) -> Valued | None:
    """A few steps from each candidate, many from the promising; the best."""
    short = [_climbed(rows, one, _SHORT) for one in candidates]
    short = sorted((one for one in short if np.isfinite(one[0])), key=lambda one: -one[0])
    climbed = [_climbed(rows, c, _LONG) for _, c in short[:_CLIMBED]]
    return max(climbed, key=lambda one: one[0], default=None)


def _climbed(rows: Gated, c: Coefficients, count: int) -> Valued:
    """Up to so many steps; fewer where they have arrived."""
    before = -np.inf
    for done in range(count):
        c, value = em_step(rows, c)
        if done % _STEPS == _STEPS - 1:
            if value - before < _STILL:
                break
            before = value
    return rows.value(c), c


def regions(rows: Gated, k: int, rng: np.random.Generator, count: int) -> list[Coefficients]:
    """Mixtures whose gate cuts the predictors' space about k rows, each expert fitted to its part.

    The logits of the cells about centres a are linear, as a softmax of :math:`-|z - a_k|^2` is.
    """
    moving = rows.gate.std(axis=0) > 1e-9
    if not moving.any() or k < 2:
        return []
    few = rows.part(np.sort(rng.choice(rows.n, min(rows.n, _LOOKED_AT), replace=False)))
    z = few.gate[:, moving] / np.maximum(few.gate[:, moving].std(axis=0), 1e-12)
    y = few.expert.working(few.rows) - few.offset
    return [_region(few, y, z, z[rng.choice(few.n, k, replace=False)]) for _ in range(count)]


def _region(rows: Gated, y: Array, z: Array, centres: Array) -> Coefficients:
    away = ((z[:, None] - centres) ** 2).sum(axis=2)
    part = away.argmin(axis=1)
    logits = -0.5 * _SHARPNESS * (away - away.mean(axis=1, keepdims=True))
    gate = np.linalg.lstsq(rows.gate, logits, rcond=None)[0].T
    all_rows = np.linalg.lstsq(rows.loc, y, rcond=None)[0]
    loc = np.tile(all_rows, (len(centres), 1))
    for j in range(len(centres)):
        own = part == j
        if own.sum() > rows.loc.shape[1]:
            loc[j] = np.linalg.lstsq(rows.loc[own], y[own], rcond=1e-3)[0]
    residual = y - np.einsum("np,np->n", rows.loc, loc[part])
    return Coefficients(loc, gate, _spread(rows, float(residual.std()), len(centres)))


def _spread(rows: Gated, scale: float, k: int) -> Array:
    """One scale for all experts."""
    if not isinstance(rows.expert, Gaussian):
        return np.zeros((k, rows.spread.shape[1]))
    growth = max(scale - rows.expert.floor, 0.1 * scale, 1e-300)
    unit = np.linalg.lstsq(rows.spread, np.ones(rows.n), rcond=None)[0]
    return np.full((k, 1), np.log(growth)) * unit
