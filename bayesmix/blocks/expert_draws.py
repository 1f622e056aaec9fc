"""Outcomes of a mixture of experts for every sample and row, in compiled loops.

Rows are the inner loop and nothing branches, so that the processor's vector units do the work;
random numbers come in as arrays.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from bayesmix.blocks import fastmath
from bayesmix.protocols import Array

_FLAGS = {"nsz", "contract", "arcp"}


@njit(nogil=True, cache=True, error_model="numpy", fastmath=_FLAGS)
def choose(coefs, columns, uniform, part):
    """A component for each sample and row: where its uniform falls among the cumulated weights.

    Gumbel-max would need a random number and two logarithms for every component, at four times
    the cost. The last component is never compared, so rounding cannot lead past it.

    Parameters
    ----------
    coefs
        The gate's coefficients, (sample, component, column).
    columns
        Their columns, (column, obs).
    uniform
        Uniform draws (sample, obs); overwritten.
    part
        Takes the result, (sample, obs), as int32.
    """
    n, count = part.shape[1], coefs.shape[1]
    top, total, weight = np.empty(n), np.empty(n), np.empty((count, n))
    for s in range(len(part)):
        part_s, aim = part[s], uniform[s]
        top[:] = -np.inf
        for k in range(count):
            row = weight[k]
            row[:] = 0.0
            for c in range(len(columns)):
                b, column = coefs[s, k, c], columns[c]
                for i in range(n):
                    row[i] += b * column[i]
            for i in range(n):
                top[i] = max(top[i], row[i])
        total[:] = 0.0
        for k in range(count):
            row = weight[k]
            for i in range(n):
                row[i] = fastmath.exp(row[i] - top[i])
            for i in range(n):
                total[i] += row[i]
                row[i] = total[i]
        part_s[:] = 0
        for k in range(count - 1):
            row = weight[k]
            for i in range(n):
                part_s[i] += np.int32(aim[i] * total[i] >= row[i])


@njit(nogil=True, cache=True, error_model="numpy", fastmath=_FLAGS)
def add_own(coefs, columns, part, total):
    """Add to ``total`` (sample, obs) the linear predictor of the component that was chosen."""
    for s in range(len(part)):
        part_s, total_s = part[s], total[s]
        for c in range(len(columns)):
            own, column = coefs[s, :, c], columns[c]
            for i in range(part_s.size):
                total_s[i] += own[part_s[i]] * column[i]


@njit(nogil=True, cache=True, error_model="numpy", fastmath=_FLAGS)
def gaussian(loc: Array, spread: Array, noise: Array, floor: float) -> None:
    """Normal draws in place of their means: loc + (exp(spread) + floor) noise."""
    for s in range(len(loc)):
        mean, width, z = loc[s], spread[s], noise[s]
        for i in range(mean.size):
            mean[i] += (fastmath.exp(width[i]) + floor) * z[i]
