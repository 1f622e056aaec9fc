"""One order of components for many samples of a mixture, by who is responsible for which rows."""

from __future__ import annotations

import numpy as np

from bayesmix.mixtures import algebra
from bayesmix.protocols import Array, Design, HasComponents, Params

_TOLD_APART = 100
"""Rows by whose responsibilities components are recognised."""


def agreed_order(model: HasComponents, params: Params, design: Design) -> Array:
    """Positions (sample, component) that bring every sample into the others' order.

    Samples are matched to their own average responsibilities, twice (Stephens, 2000,
    doi:10.1111/1467-9868.00265).
    """
    n_samples = len(next(iter(params.values())))
    n_parts = len(design.coords[model.component])
    step = max(1, design.n_obs // _TOLD_APART)
    few = design.rows(slice(None, None, step))
    size = max(1, 4_000_000 // (few.n_obs * n_parts))
    order = np.tile(np.arange(n_parts), (n_samples, 1))
    reference = None
    for _ in range(2):
        total = np.zeros((few.n_obs, n_parts))
        for start in range(0, n_samples, size):
            chunk = slice(start, start + size)
            some = {name: value[chunk] for name, value in params.items()}
            found = algebra.responsibilities(*model.log_parts(some, few))
            reference = found[0] if reference is None else reference
            order[chunk] = algebra.best_match(reference, found)
            total += np.take_along_axis(found, order[chunk][:, None, :], 2).sum(axis=0)
        reference = total / n_samples
        if (order == np.arange(n_parts)).all():
            break
    return order


def taken(values: Array, order: Array) -> Array:
    """Values (sample, component, ...) with each sample's components in its order."""
    index = order.reshape(*order.shape, *[1] * (values.ndim - 2))
    return np.take_along_axis(values, index, axis=1)
