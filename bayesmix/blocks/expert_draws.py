"""Outcomes of a mixture of experts for every sample and row, in compiled loops.

Rows are the inner loop and every branch is a choice between two numbers, so that the processor's
vector units do the work; random numbers come in as arrays.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from bayesmix.blocks import fastmath
from bayesmix.protocols import Array

_FLAGS = {"nsz", "contract", "arcp"}


@njit(nogil=True, cache=True, error_model="numpy", fastmath=_FLAGS)
def choose(loc_c, gate_c, spread_c, loc_x, gate_x, spread_x, race, part, loc, spread):
    """A component for each sample and row by Gumbel-max, and its linear predictors.

    With U uniform, -log(-log U) is standard Gumbel, so the component is the argmax over k of
    logit_k - log(-log U_k). The logits need no normalising, and are never held for all samples.

    Parameters
    ----------
    loc_c, gate_c, spread_c
        Coefficients, each (sample, component, column).
    loc_x, gate_x, spread_x
        Their columns, each (column, obs).
    race
        Uniform draws (sample, component, obs).
    part, loc, spread
        Take the results, (sample, obs), as doubles; ``loc`` and ``spread`` hold offsets before.
    """
    n = part.shape[1]
    best, key = np.empty(n), np.empty(n)
    own, wide = np.empty(n), np.empty(n)
    first, base = np.empty(n), np.empty(n)
    for s in range(len(part)):
        part_s, loc_s, spread_s = part[s], loc[s], spread[s]
        for i in range(n):
            best[i] = -np.inf
            first[i] = loc_s[i]
            base[i] = spread_s[i]
        for k in range(race.shape[1]):
            race_k, label = race[s, k], float(k)
            for i in range(n):
                key[i] = -fastmath.log(-fastmath.log(race_k[i]))
                own[i] = first[i]
                wide[i] = base[i]
            for c in range(len(gate_x)):
                b, row = gate_c[s, k, c], gate_x[c]
                for i in range(n):
                    key[i] += b * row[i]
            for c in range(len(loc_x)):
                b, row = loc_c[s, k, c], loc_x[c]
                for i in range(n):
                    own[i] += b * row[i]
            for c in range(len(spread_x)):
                b, row = spread_c[s, k, c], spread_x[c]
                for i in range(n):
                    wide[i] += b * row[i]
            for i in range(n):
                ahead = key[i] > best[i]
                best[i] = key[i] if ahead else best[i]
                part_s[i] = label if ahead else part_s[i]
                loc_s[i] = own[i] if ahead else loc_s[i]
                spread_s[i] = wide[i] if ahead else spread_s[i]


@njit(nogil=True, cache=True, error_model="numpy", fastmath=_FLAGS)
def gaussian(loc: Array, spread: Array, noise: Array, floor: float) -> None:
    """Normal draws in place of their means: loc + (exp(spread) + floor) noise."""
    for s in range(len(loc)):
        mean, width, z = loc[s], spread[s], noise[s]
        for i in range(mean.size):
            mean[i] += (fastmath.exp(width[i]) + floor) * z[i]
