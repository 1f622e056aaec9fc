"""A mixture density network in PyTensor: the log density of its rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bayesmix.blocks.network import Network
from bayesmix.priors import LOG_2PI


def log_density(network: Network, weights: Mapping[str, Any], x: Any, y: Any) -> Any:
    """Log density of targets y (obs, output) given inputs x (obs, input): a vector (obs,).

    ``weights`` hold every parameter in its full shape.
    """
    import pytensor.tensor as pt

    h = x
    for number in range(1, len(network.hidden) + 1):
        h = _activate(network.activation, _affine(weights, f"hidden_{number}", h, 1))
    log_scale: Any
    parts: Any = 0.0
    if network.components > 1:
        parts = pt.special.log_softmax(_affine(weights, "logit", h, 1), axis=1)
    loc = _affine(weights, "loc", h, 2)
    scale = _scale(network, weights, h)
    tril = _affine(weights, "tril", h, 2) if network.pairs else None
    z: list[Any] = []
    for j in range(network.outputs):
        wide = scale[:, :, j] if scale.broadcastable[2] is False else scale[:, :, 0]
        residual = y[:, j, None] - loc[:, :, j]
        for at, (row, column) in enumerate(network.pairs):
            if row == j:
                assert tril is not None
                residual = residual - tril[:, :, at] * z[column]
        z.append(residual / wide)
        log_scale = pt.log(wide)
        parts = parts - np.float64(0.5) * z[j] ** 2 - log_scale
    total: Any = pt.logsumexp(parts, axis=1)
    return total - np.float64(0.5 * network.outputs * LOG_2PI)


def _affine(weights: Mapping[str, Any], name: str, h: Any, axes: int) -> Any:
    """W h + b (obs, ...), where the head's own outputs have that many axes."""
    w, b = weights[f"{name}_weight"], weights[f"{name}_bias"]
    out = h @ w.reshape((-1, w.shape[-1])).T + b.reshape((1, -1))
    shape = tuple(b.shape[i] for i in range(axes))
    return out.reshape((h.shape[0], *shape))


def _scale(network: Network, weights: Mapping[str, Any], h: Any) -> Any:
    """Scales (obs, component, output), of length one where they are constant along an axis."""
    import pytensor.tensor as pt

    if network.noise == "fixed":
        return pt.constant(np.full((1, 1, 1), network.fixed_scale))
    axes = {"isotropic": 1, "isotropic-shared": 0}.get(network.noise, 2)
    spread: Any = pt.exp(_affine(weights, "scale", h, axes))
    wide = spread + np.float64(network.floor)
    if axes == 0:
        return wide.reshape((-1, 1, 1))
    return wide[:, :, None] if axes == 1 else wide


def _activate(kind: str, a: Any) -> Any:
    import pytensor.tensor as pt

    functions: dict[str, Any] = {
        "tanh": pt.tanh,
        "relu": lambda v: pt.maximum(v, np.float64(0.0)),
        "sigmoid": pt.sigmoid,
        "softplus": pt.softplus,
    }
    return functions[kind](a)
