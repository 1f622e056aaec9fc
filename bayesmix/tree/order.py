"""One order of components for every draw of a mixture, so that averages mean something."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np

from bayesmix.protocols import SAMPLE_DIMS, Array, Design, HasComponents, Model, Posterior

SWITCHED = "label_switched"
"""Name of the record in ``sample_stats``: draws whose labels differ from their chain's usual."""
ORDER = "label_order"
"""Attribute of the tree: the order of labels most common in each chain, as JSON."""


def aligned(posterior: Posterior, model: Model, design: Design) -> Posterior:
    """Draws of a mixture with their components in one order; anything else is left as it is.

    ``sample_stats`` records which draws had switched labels within their chain, and an attribute
    the order that each chain was in, so that ``diagnose()`` can tell switching from chains that
    sit in different modes.
    """
    if not isinstance(model, HasComponents):
        return posterior
    if posterior.members:
        params, _ = model.relabel(posterior.params, design)
        return replace(posterior, params=dict(params))
    if not posterior.sampled:
        return _aligned_point(posterior, model, design)
    lead = next(iter(posterior.params.values())).shape[:2]
    flat = {name: value.reshape(-1, *value.shape[2:]) for name, value in posterior.params.items()}
    params, order = model.relabel(flat, design)
    order = order.reshape(*lead, -1)
    usual = np.stack([_most_common(chain) for chain in order])
    switched = (order != usual[:, None, :]).any(axis=2)
    return replace(
        posterior,
        params={name: value.reshape(*lead, *value.shape[1:]) for name, value in params.items()},
        stats={**posterior.stats, SWITCHED: switched},
        stat_dims={**posterior.stat_dims, SWITCHED: SAMPLE_DIMS},
        attrs={**posterior.attrs, ORDER: json.dumps(usual.tolist())},
    )


def _aligned_point(posterior: Posterior, model: HasComponents, design: Design) -> Posterior:
    one = {name: np.asarray(value)[None] for name, value in posterior.params.items()}
    params, order = model.relabel(one, design)
    dims = model.dims(design)
    errors = {
        name: value[order[0]] if dims[name][:1] == (model.component,) else value
        for name, value in posterior.errors.items()
    }
    params = {name: value[0] for name, value in params.items()}
    return replace(posterior, params=params, errors=errors)


def _most_common(orders: Array) -> Array:
    rows, counts = np.unique(orders, axis=0, return_counts=True)
    return rows[counts.argmax()]
