"""Components of a mixture of experts drawn for every sample and row in one compiled loop."""

from __future__ import annotations

import numpy as np
from numba import njit

from bayesmix.blocks import fastmath
from bayesmix.protocols import Array


@njit(nogil=True, cache=True, error_model="numpy")
def choose(gate: Array, gate_x: Array, race: Array, chosen: Array) -> None:
    """Gumbel-max on the gate's logits, one component for each sample and row.

    With E standard exponential, -log E is standard Gumbel, so the component is the argmax over k of
    logit_k - log E_k. The logits need no normalising, and are never held for all samples.

    Parameters
    ----------
    gate
        Coefficients (sample, component, column).
    gate_x
        Columns (obs, column).
    race
        Standard exponential draws (sample, obs, component).
    chosen
        Takes the components (sample, obs).
    """
    n_samples, n_parts, n_columns = gate.shape
    for s in range(n_samples):
        for i in range(len(gate_x)):
            best, winner = -np.inf, 0
            for k in range(n_parts):
                logit = -fastmath.log(race[s, i, k])
                for c in range(n_columns):
                    logit += gate[s, k, c] * gate_x[i, c]
                if logit > best:
                    best, winner = logit, k
            chosen[s, i] = winner


@njit(nogil=True, cache=True, error_model="numpy")
def predictor_of(coef: Array, columns: Array, chosen: Array, out: Array) -> None:
    """The linear predictor of the chosen component, added to ``out`` (sample, obs)."""
    for s in range(len(coef)):
        for i in range(len(columns)):
            k = chosen[s, i]
            for c in range(columns.shape[1]):
                out[s, i] += coef[s, k, c] * columns[i, c]
