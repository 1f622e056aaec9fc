"""A network as functions of the inputs, because its weights mean nothing one by one.

Hidden units can change places and signs without changing the network, so two chains that agree
have unlike weights. What they agree on is the predictive distribution: its mean and spread at some
rows, and the log density of those rows.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from bayesmix.protocols import SAMPLE_DIMS, Array, Design, HasNetwork, Model, Posterior

GROUP = "functions"
_ROWS = 8


def of(posterior: Posterior, model: Model, design: Design) -> xr.Dataset | None:
    """Mean and sd of the target and its log density at eight rows; None but for networks.

    The rows lie at even ranks of the first input, and are labelled by its value.
    """
    if not isinstance(model, HasNetwork):
        return None
    lead = SAMPLE_DIMS if posterior.sampled else ("member",) if posterior.members else ()
    chosen = _rows(design)
    rows = design.rows(chosen)
    flat = {
        name: value.reshape(-1, *value.shape[len(lead) :])
        for name, value in posterior.params.items()
    }
    shape = next(iter(posterior.params.values())).shape[: len(lead)]
    mean, variance = model.moments(flat, rows)
    outputs = ("output",) if mean.ndim == 3 else ()
    density = model.log_density(flat, rows)
    found = {
        "mean": ((*lead, "at", *outputs), mean.reshape(*shape, *mean.shape[1:])),
        "sd": ((*lead, "at", *outputs), np.sqrt(variance).reshape(*shape, *mean.shape[1:])),
        "log_density": ((*lead, "at"), density.reshape(*shape, -1)),
    }
    coords = {dim: np.arange(size) for dim, size in zip(lead, shape, strict=True)}
    coords |= {"at": _labels(design, chosen)}
    if outputs:
        coords["output"] = np.array(design.observed)
    return xr.Dataset(found, coords)


def _rows(design: Design) -> Array:
    first = design.arrays["X"][:, 0]
    ranks = np.linspace(0, design.n_obs - 1, min(_ROWS, design.n_obs)).round().astype(int)
    return np.argsort(first, kind="stable")[ranks]


def _labels(design: Design, chosen: Array) -> Array:
    name, first = design.coords["input"][0], design.arrays["X"][chosen, 0]
    at = zip(first, chosen, strict=True)
    return np.array([f"{name}={value:.3g}, row {row}" for value, row in at])
