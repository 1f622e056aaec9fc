"""The log joint density of a mixture of experts and its gradient, as one compiled loop.

The same equation as ``MixtureOfExperts.log_density`` and ``pymc_model`` (tests hold the three
together), written so that the processor's vector units run it: rows in blocks that stay in the
cache, experts outside, rows inside.
"""

from __future__ import annotations

import functools

import numpy as np
from numba import njit
from scipy.special import gammaln

from bayesmix.compiled import vector
from bayesmix.compiled.kernels import Kernel
from bayesmix.models.experts import priors
from bayesmix.models.experts.equation import _plain
from bayesmix.models.experts.options import ExpertOptions
from bayesmix.priors import LOG_2PI, Normal
from bayesmix.protocols import Array, Design

GAUSSIAN, BINOMIAL, POISSON = 0, 1, 2
_BLOCK = 128
_STRICT = {"nsz", "contract", "arcp"}
_RELAXED = {*_STRICT, "reassoc"}


@njit(fastmath=_RELAXED, error_model="numpy")
def _linear(columns: Array, first: int, m: int, theta: Array, where: Array, k: int, out: Array):
    """One expert's linear predictor on rows first, ..., first + m - 1, added to ``out``."""
    for c in range(columns.shape[0]):
        b, row = theta[where[c, k]], columns[c, first : first + m]
        for i in range(m):
            out[i] += b * row[i]


@njit(fastmath=_RELAXED, error_model="numpy")
def _collect(columns: Array, first: int, m: int, slope: Array, where: Array, k: int, out: Array):
    """The transpose of :func:`_linear`: slopes by row to slopes by coefficient."""
    for c in range(columns.shape[0]):
        total, row = 0.0, columns[c, first : first + m]
        for i in range(m):
            total += slope[i] * row[i]
        out[where[c, k]] += total


@njit(fastmath=_STRICT, error_model="numpy")
def _gaussian(y: Array, m: int, floor: float, loc: Array, spread: Array, joint: Array):
    """Adds log densities to ``joint``; slopes by loc and spread replace the predictors."""
    for i in range(m):
        growth = vector.exp(spread[i])
        scale = growth + floor
        inverse = 1.0 / scale
        r = (y[i] - loc[i]) * inverse
        joint[i] += -0.5 * r * r - vector.log(scale)
        loc[i] = r * inverse
        spread[i] = (r * r - 1.0) * growth * inverse


@njit(fastmath=_STRICT, error_model="numpy")
def _binomial(y: Array, trials: Array, m: int, loc: Array, joint: Array):
    for i in range(m):
        size = abs(loc[i])
        small = vector.exp(-size)
        joint[i] += y[i] * loc[i] - trials[i] * (0.5 * (loc[i] + size) + vector.log(1.0 + small))
        p = 1.0 / (1.0 + small)
        loc[i] = y[i] - trials[i] * (p if loc[i] > 0 else 1.0 - p)


@njit(fastmath=_STRICT, error_model="numpy")
def _poisson(y: Array, m: int, loc: Array, joint: Array):
    for i in range(m):
        rate = vector.exp(loc[i])
        joint[i] += y[i] * loc[i] - rate
        loc[i] = y[i] - rate


@njit(fastmath=_RELAXED, error_model="numpy")
def _sum(values: Array) -> float:
    total = 0.0
    for i in range(values.size):
        total += values[i]
    return total


@njit(fastmath=_STRICT, error_model="numpy")
def _weigh(share: Array, loc: Array, spread: Array, gate: Array):
    """Slopes times responsibilities; the gate's own slope is what they exceed its weights by."""
    for i in range(share.size):
        loc[i] *= share[i]
        spread[i] *= share[i]
        gate[i] = share[i] - gate[i]


@njit(error_model="numpy")
def log_likelihood(theta, y, trials, constant, offset, loc_x, gate_x, spread_x, loc_at, gate_at,
                   spread_at, settings, out):  # fmt: skip
    """Log-likelihood of all rows; its gradient is added to ``out``.

    Parameters
    ----------
    loc_x, gate_x, spread_x
        Columns of the three predictors, (column, obs).
    loc_at, gate_at, spread_at
        Where in ``theta`` each coefficient is, (column, expert).
    settings
        The family's number and the floor of the scale.
    """
    n, n_experts = y.size, loc_at.shape[1]
    family, floor = int(settings[0]), settings[1]
    # whole arrays with a count of rows: a slice of columns would lose its known stride of one
    joint, gate = np.empty((n_experts, _BLOCK)), np.empty((n_experts, _BLOCK))
    locs, spreads = np.empty((n_experts, _BLOCK)), np.empty((n_experts, _BLOCK))
    tops, totals = np.empty(_BLOCK), np.empty(_BLOCK)
    value = 0.0
    for first in range(0, n, _BLOCK):
        last = min(first + _BLOCK, n)
        m = last - first
        rows, tries = y[first:last], trials[first:last]
        top, total = tops[:m], totals[:m]
        for k in range(n_experts):
            loc, spread = locs[k][:m], spreads[k][:m]
            own, prior = joint[k][:m], gate[k][:m]
            loc[:] = offset[first:last]
            prior[:] = 0.0
            spread[:] = 0.0
            _linear(loc_x, first, m, theta, loc_at, k, loc)
            _linear(gate_x, first, m, theta, gate_at, k, prior)
            _linear(spread_x, first, m, theta, spread_at, k, spread)
            own[:] = prior
            if family == GAUSSIAN:
                _gaussian(rows, m, floor, loc, spread, own)
            elif family == BINOMIAL:
                _binomial(rows, tries, m, loc, own)
            else:
                _poisson(rows, m, loc, own)
        vector.shares(joint, m, total, top)
        value += _sum(top) + _sum(constant[first:last])
        vector.shares(gate, m, total, top)
        value -= _sum(top)
        for k in range(n_experts):
            loc, spread = locs[k][:m], spreads[k][:m]
            own, prior = joint[k][:m], gate[k][:m]
            _weigh(own, loc, spread, prior)
            _collect(loc_x, first, m, loc, loc_at, k, out)
            _collect(gate_x, first, m, prior, gate_at, k, out)
            _collect(spread_x, first, m, spread, spread_at, k, out)
    return value


@njit(error_model="numpy")
def log_joint(theta, y, trials, constant, offset, loc_x, gate_x, spread_x, loc_at, gate_at,
              spread_at, settings, prior, out):  # fmt: skip
    """Log prior plus log-likelihood; ``out`` takes the gradient.

    ``prior`` holds the means and the inverse scales of normal priors, (2, coefficient).
    """
    value = 0.0
    for j in range(theta.size):
        z = (theta[j] - prior[0, j]) * prior[1, j]
        value += -0.5 * z * z + np.log(prior[1, j]) - 0.9189385332046727
        out[j] = -z * prior[1, j]
    return value + log_likelihood(
        theta, y, trials, constant, offset, loc_x, gate_x, spread_x, loc_at, gate_at, spread_at,
        settings, out,
    )  # fmt: skip


def kernel(model: ExpertOptions, design: Design) -> Kernel:
    """The compiled density with its arrays; every prior must be normal.

    Its parameters are the free variables u: for a predictor X (T u + t) the loop is given X T as
    columns and X t as an offset. That of the log scale, a constant, becomes the target's unit.
    """
    pass

    units, dims = design.state.units, model.dims(design)
    shapes = tuple((n, tuple(len(design.coords[d]) for d in dims[n])) for n in dims)
    rows, unit = model.rows(design), units.unit
    y = _plain(rows.rows["target"] / unit)
    trials = _plain(rows.rows.get("trials", y))
    numbers = {"gaussian": 0.0, "binomial": 1.0, "poisson": 2.0}
    sides = zip((rows.loc, rows.gate, rows.spread), units.sides, strict=True)
    loc, gate, spread = (_plain(side.columns(x).T) for x, side in sides)
    offset = _plain((rows.offset + units.sides[0].offset(rows.loc)) / unit)
    constants = _constants(model.expert, y, trials) - np.log(unit)
    settings = np.array([numbers[model.expert], units.floor / unit])
    arrays = (y, trials, constants, offset, loc / unit, gate, spread)
    arrays = (*arrays, *_positions(model, design), settings, _priors(model, shapes))
    variables = tuple((model.free_name(name), shape) for name, shape in shapes)
    plain = all(side.is_identity for side in units.sides)
    reported = None if plain else functools.partial(priors.reported, model, design=design)
    return Kernel(log_joint, arrays, variables, reported)


def _constants(kind: str, y: Array, trials: Array) -> Array:
    """What each row adds to the log density whatever the parameters."""
    if kind == "gaussian":
        return np.full(len(y), -0.5 * LOG_2PI)
    if kind == "poisson":
        return -gammaln(y + 1)
    return gammaln(trials + 1) - gammaln(y + 1) - gammaln(trials - y + 1)


def _positions(model: ExpertOptions, design: Design) -> list[Array]:
    """Where each coefficient (column, expert) of each predictor is among the free parameters."""
    found, start, k = [], 0, model.n_experts
    for one in design.state.linear:
        own = np.empty((len(one.labels), k), dtype=np.int64)
        for term in one.terms:
            width = term.columns.stop - term.columns.start
            own[term.columns] = start + np.arange(k * width).reshape(k, width).T
            start += k * width
        found.append(own)
    return found


def _priors(model: ExpertOptions, shapes: tuple[tuple[str, tuple[int, ...]], ...]) -> Array:
    """Means and inverse scales of the normal priors, (2, coefficient)."""
    parts = []
    for name, shape in shapes:
        prior = model.prior(name)
        assert isinstance(prior, Normal)
        parts.append(np.tile([[prior.loc], [1 / prior.scale]], (1, int(np.prod(shape)))))
    return np.concatenate(parts, axis=1)
