"""A mixture density network in PyMC: its priors, what it sets, the log density of its rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bayesmix.models.mdn.equation import Network, first_layer
from bayesmix.models.mdn.options import NetworkOptions
from bayesmix.priors import LOG_2PI
from bayesmix.protocols import DATA, Design


def model_of(model: NetworkOptions, design: Design) -> Any:
    """The ``pm.Model``: priors on all weights, the mixture's components summed out."""
    import pymc as pm

    network = model.network_of(design)
    used = {dim for dims in model.dims(design).values() for dim in dims}
    coords = {dim: list(design.coords[dim]) for dim in design.coords if dim in used}
    several = network.outputs > 1

    def logp(value: Any, *heads: Any) -> Any:
        return log_density(network, value if several else value[:, None], *heads)

    with pm.Model(coords=coords) as built:
        held: dict[str, Any] = {
            name: pm.Data(DATA + name, array) for name, array in design.arrays.items()
        }
        weights = parameters(model, network, design, held)
        found = heads(network, weights, held["X"], held["floor"])
        shapes = ["(k)", "(k,d)", "(k,d)", "(k,p)"][: len(found)]
        pm.CustomDist(
            ", ".join(model.target), *found, logp=logp,
            signature=f"{','.join(shapes)}->{'(d)' if several else '()'}",
            observed=held["Y"] if several else held["Y"][:, 0],
        )  # fmt: skip
    return built


def parameters(
    model: NetworkOptions, network: Network, design: Design, held: Mapping[str, Any]
) -> Any:
    """Every parameter in its full shape: those with standard priors follow from free variables.

    raw = unit * u + shift; biases of the first layer are less W x_mean, as inputs are centred.
    """
    import pymc as pm

    weights: dict[str, Any] = {}
    for name, dims in model.dims(design).items():
        free = model.prior(name).pymc(model.free_name(name), dims=dims)
        value = free.reshape(network.shapes[name])
        if not model.is_given(name):
            change = (held[f"{part} {name}"] for part in ("unit", "shift"))
            unit, shift = (part.reshape(network.shapes[name]) for part in change)
            value = unit * value + shift
        weights[name] = value
    for name in first_layer(network):
        if not model.is_given(f"{name}_bias"):
            moved: Any = (weights[f"{name}_weight"] * held["x_mean"]).sum(axis=-1)
            weights[f"{name}_bias"] = weights[f"{name}_bias"] - moved
    for name, dims in model.dims(design).items():
        if not model.is_given(name):
            shape = tuple(len(design.coords[dim]) for dim in dims)
            pm.Deterministic(name, weights[name].reshape(shape), dims=dims)
    return weights


def heads(network: Network, weights: Mapping[str, Any], x: Any, floor: Any) -> tuple[Any, ...]:
    """What the network sets at x (obs, input), with a floor for each output or one for all.

    Log weights (obs, component), locs and scales (obs, component, output) and, where targets are
    correlated, L below its diagonal (obs, component, pair). ``weights`` hold every parameter in
    its full shape.
    """
    import pytensor.tensor as pt

    h = x
    for number in range(1, len(network.hidden) + 1):
        h = _activate(network.activation, _affine(weights, f"hidden_{number}", h, 1))
    loc = _affine(weights, "loc", h, 2)
    logits: Any = pt.zeros_like(loc[:, :, 0])
    if network.components > 1:
        logits = _affine(weights, "logit", h, 1)
    log_weight: Any = pt.special.log_softmax(logits, axis=1)
    found = (log_weight, loc, _scale(network, weights, h, floor) + pt.zeros_like(loc))
    return (*found, _affine(weights, "tril", h, 2)) if network.pairs else found


def log_density(
    network: Network, y: Any, log_weight: Any, loc: Any, scale: Any, tril: Any = None
) -> Any:
    """Log density of targets y (obs, output), given the :func:`heads`: a vector (obs,)."""
    import pytensor.tensor as pt

    z: list[Any] = []
    parts: Any = log_weight
    for j in range(network.outputs):
        residual = y[:, j, None] - loc[:, :, j]
        for at, (row, column) in enumerate(network.pairs):
            if row == j:
                residual = residual - tril[:, :, at] * z[column]
        z.append(residual / scale[:, :, j])
        log_scale: Any = pt.log(scale[:, :, j])
        parts = parts - np.float64(0.5) * z[j] ** 2 - log_scale
    total: Any = pt.logsumexp(parts, axis=1)
    return total - np.float64(0.5 * network.outputs * LOG_2PI)


def _affine(weights: Mapping[str, Any], name: str, h: Any, axes: int) -> Any:
    """W h + b (obs, ...), where the head's own outputs have that many axes."""
    w, b = weights[f"{name}_weight"], weights[f"{name}_bias"]
    out = h @ w.reshape((-1, w.shape[-1])).T + b.reshape((1, -1))
    shape = tuple(b.shape[i] for i in range(axes))
    return out.reshape((h.shape[0], *shape))


def _scale(network: Network, weights: Mapping[str, Any], h: Any, floor: Any) -> Any:
    """Scales (obs, component, output), of length one where they are constant along an axis."""
    import pytensor.tensor as pt

    if network.noise == "fixed":
        return pt.constant(np.full((1, 1, 1), network.fixed_scale))
    axes = {"isotropic": 1, "isotropic-shared": 0}.get(network.noise, 2)
    spread: Any = pt.exp(_affine(weights, "scale", h, axes))
    wide = spread + (floor if isinstance(network.floor, tuple) else floor[0])
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
