"""Outcomes of a mixture of experts for every sample and row, in compiled loops.

Rows are the inner loop and nothing but the random numbers branches, so that the processor's vector
units do the work. The two last functions are called through :mod:`bayesmix.compiled.loops`.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from bayesmix.compiled import vector
from bayesmix.compiled.generators import generator

_FLAGS = {"nsz", "contract", "arcp"}
_SAFE = 600.0  # e^600 and a sum of many such stay below the largest double


@njit(error_model="numpy")
def _largest(columns):
    """The largest absolute value of each column."""
    found = np.zeros(len(columns))
    for c in range(len(columns)):
        for value in columns[c]:
            found[c] = max(found[c], abs(value))
    return found


@njit(error_model="numpy", fastmath=_FLAGS)
def _bounded(coefs, largest):
    """Whether no row's logits, less the first component's, can overflow where ``largest`` is.

    That is the largest absolute value of each column.
    """
    for k in range(1, len(coefs)):
        total = 0.0
        for c in range(largest.size):
            total += abs(coefs[k, c] - coefs[0, c]) * largest[c]
        if not total < _SAFE:
            return False
    return True


@njit(error_model="numpy", fastmath=_FLAGS)
def _choose(coefs, columns, largest, aim, top, total, weight, part):
    """A component for each row: where its uniform ``aim`` falls among the cumulated weights.

    Gumbel-max would need a random number and two logarithms for every component, at four times
    the cost. The last component is never compared, so rounding cannot lead past it.
    """
    count, n = weight.shape
    for k in range(1, count):
        row = weight[k]
        for i in range(n):
            row[i] = 0.0
        for c in range(len(columns)):
            b, column = coefs[k, c] - coefs[0, c], columns[c]
            for i in range(n):
                row[i] += b * column[i]
    for i in range(n):
        total[i] = 1.0
    if not _bounded(coefs, largest):
        for i in range(n):
            top[i] = 0.0
        for k in range(1, count):
            row = weight[k]
            for i in range(n):
                top[i] = max(top[i], row[i])
        for k in range(1, count):
            row = weight[k]
            for i in range(n):
                row[i] -= top[i]
        for i in range(n):
            total[i] = vector.exp(-top[i])
    for i in range(n):
        weight[0, i] = total[i]
        part[i] = 0
    for k in range(1, count):
        row = weight[k]
        for i in range(n):
            total[i] += vector.exp(row[i])
            row[i] = total[i]
    for i in range(n):
        aim[i] *= total[i]
    for k in range(count - 1):
        row = weight[k]
        for i in range(n):
            part[i] += np.int32(aim[i] >= row[i])


@njit(error_model="numpy", fastmath=_FLAGS)
def _add_own(coefs, columns, part, total):
    """Add to ``total`` the linear predictor of the component that was chosen, row by row."""
    for c in range(len(columns)):
        own, column = coefs[:, c], columns[c]
        for i in range(part.size):
            # without a sign no index counts from the end, which would be looked at each time
            total[i] += own[np.uint32(part[i])] * column[i]


@njit(error_model="numpy")
def _uniform(rng, out):
    """Fill a vector with uniform numbers in [0, 1)."""
    for i in range(out.size):
        out[i] = rng.random()


@njit(error_model="numpy")
def _normal(rng, out):
    """Fill a vector with standard normal numbers."""
    for i in range(out.size):
        out[i] = rng.standard_normal()


@njit(error_model="numpy", fastmath=_FLAGS)
def predictors(state, loc, gate, spread, loc_x, gate_x, spread_x, part, centre, width):
    """A component for each sample and row, and its predictors, added to ``centre`` and ``width``.

    Parameters
    ----------
    state
        Of the random numbers, :func:`bayesmix.compiled.generators.addresses`.
    loc, gate, spread
        Coefficients, each (sample, component, column).
    loc_x, gate_x, spread_x
        Their columns, each (column, obs).
    part
        Takes the components, (sample, obs), as int32.
    """
    rng = generator(state[0], state[1], state[2], state[3])
    (samples, n), count = part.shape, gate.shape[1]
    aim, top, total, weight = np.empty(n), np.empty(n), np.empty(n), np.empty((count, n))
    largest = _largest(gate_x)
    for s in range(samples):
        _uniform(rng, aim)
        _choose(gate[s], gate_x, largest, aim, top, total, weight, part[s])
        _add_own(loc[s], loc_x, part[s], centre[s])
        _add_own(spread[s], spread_x, part[s], width[s])


@njit(error_model="numpy", fastmath=_FLAGS)
def gaussian(state, loc, gate, spread, loc_x, gate_x, spread_x, offset, floor, part, drawn):
    """As :func:`predictors`, and of them normal outcomes, into ``drawn`` (sample, obs)."""
    rng = generator(state[0], state[1], state[2], state[3])
    (samples, n), count = part.shape, gate.shape[1]
    aim, top, total, weight = np.empty(n), np.empty(n), np.empty(n), np.empty((count, n))
    largest = _largest(gate_x)
    for s in range(samples):
        _uniform(rng, aim)
        _choose(gate[s], gate_x, largest, aim, top, total, weight, part[s])
        mean, width = drawn[s], total
        mean[:] = offset
        width[:] = 0.0
        _add_own(loc[s], loc_x, part[s], mean)
        _add_own(spread[s], spread_x, part[s], width)
        _normal(rng, aim)
        for i in range(n):
            mean[i] += (vector.exp(width[i]) + floor[0]) * aim[i]
