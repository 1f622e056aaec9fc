"""Outcomes of a mixture of experts for every sample and row, in compiled loops.

Rows are the inner loop and nothing branches, so that the processor's vector units do the work.
numba's cache looks at this file alone: after a change of ``lanes`` or ``fastmath`` touch it too.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from bayesmix.blocks import fastmath, lanes

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
            total[i] = fastmath.exp(-top[i])
    for i in range(n):
        weight[0, i] = total[i]
        part[i] = 0
    for k in range(1, count):
        row = weight[k]
        for i in range(n):
            total[i] += fastmath.exp(row[i])
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


@njit(nogil=True, cache=True, error_model="numpy", fastmath=_FLAGS)
def predictors(state, coefs, columns, part, loc, spread):
    """A component for each sample and row, and its predictors, added to ``loc`` and ``spread``.

    Parameters
    ----------
    state
        Of the random numbers, :mod:`bayesmix.blocks.lanes`.
    coefs
        Coefficients of loc, gate and spread, each (sample, component, column).
    columns
        Their columns, each (column, obs).
    part
        Takes the components, (sample, obs), as int32.
    """
    (samples, n), count = part.shape, coefs[1].shape[1]
    aim, top, total, weight = np.empty(n), np.empty(n), np.empty(n), np.empty((count, n))
    largest = _largest(columns[1])
    for s in range(samples):
        lanes.uniform(state, aim)
        _choose(coefs[1][s], columns[1], largest, aim, top, total, weight, part[s])
        _add_own(coefs[0][s], columns[0], part[s], loc[s])
        _add_own(coefs[2][s], columns[2], part[s], spread[s])


@njit(nogil=True, cache=True, error_model="numpy", fastmath=_FLAGS)
def gaussian(state, coefs, columns, offset, floor, part, drawn):
    """As :func:`predictors`, and of them normal outcomes, into ``drawn`` (sample, obs)."""
    (samples, n), count = part.shape, coefs[1].shape[1]
    radius, share = np.empty(lanes.LANES), np.empty(lanes.LANES)
    aim, top, total, weight = np.empty(n), np.empty(n), np.empty(n), np.empty((count, n))
    largest = _largest(columns[1])
    for s in range(samples):
        lanes.uniform(state, aim)
        _choose(coefs[1][s], columns[1], largest, aim, top, total, weight, part[s])
        mean, width = drawn[s], total
        mean[:] = offset
        width[:] = 0.0
        _add_own(coefs[0][s], columns[0], part[s], mean)
        _add_own(coefs[2][s], columns[2], part[s], width)
        lanes.normals(state, radius, share, aim)
        for i in range(n):
            mean[i] += (fastmath.exp(width[i]) + floor) * aim[i]
