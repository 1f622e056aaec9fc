"""Default priors of a mixture density network: free variables in standard units and back."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from bayesmix.compiled.kernels import Kernel
from bayesmix.models.mdn.equation import (
    Network,
    changes_of,
    first_layer,
    in_raw_units,
    in_standard_units,
)
from bayesmix.models.mdn.options import NetworkOptions
from bayesmix.models.mdn.units import DEFAULT_SCALE
from bayesmix.priors import Normal, worded
from bayesmix.protocols import Array, Design, Params


def given_names(model: NetworkOptions, network: Network) -> frozenset[str]:
    """Names of the parameters that have priors of their own, on data as they are."""
    return frozenset(name for name in network.shapes if model.is_given(name))


def reported(model: NetworkOptions, free: Params, design: Design) -> dict[str, Array]:
    """Parameters as a fit reports them from the free variables behind them."""
    named = {name: free[model.free_name(name)] for name in model.dims(design)}
    return _changed(model, named, design, in_raw_units)


def free(model: NetworkOptions, params: Params, design: Design) -> dict[str, Array]:
    """The free variables behind reported parameters."""
    found = _changed(model, params, design, in_standard_units)
    return {model.free_name(name): value for name, value in found.items()}


def _changed(
    model: NetworkOptions, params: Params, design: Design, change: Callable[..., dict[str, Array]]
) -> dict[str, Array]:
    network = model.network_of(design)
    given = given_names(model, network)
    if len(given) == len(network.shapes):
        return dict(params)
    dims, full = model.dims(design), {}
    for name, shape in network.shapes.items():
        value = np.asarray(params[name], dtype=float)
        full[name] = value.reshape((*value.shape[: value.ndim - len(dims[name])], *shape))
    return model.named(change(network, full, design.state.units, given), design)


def log_volume(model: NetworkOptions, design: Design) -> float:
    """log |d reported / d free|, a constant."""
    network = model.network_of(design)
    changes = changes_of(network, design.state.units, given_names(model, network))
    return float(sum(np.log(factor).sum() for factor, _ in changes.values()))


def table(model: NetworkOptions, design: Design) -> dict[str, str]:
    """The prior in force of each parameter: in the data's units where all entries have one."""
    network, found = model.network_of(design), dict[str, str]()
    given, units = given_names(model, network), design.state.units
    inputs = {f"{name}_bias" for name in first_layer(network)}
    for name, (factor, shift) in changes_of(network, units, given).items():
        prior = model.prior(name)
        found[name] = worded(prior)
        if name in given:
            continue
        scale = DEFAULT_SCALE * factor
        if name in inputs:  # W x_mean moves them, where W has its own default
            weight = name.replace("bias", "weight")
            off = 0.0 if weight in given else units.x_mean / units.x_scale
            scale = scale * np.sqrt(1 + np.square(off).sum())
        one = np.ptp(scale) <= 1e-12 * scale.max() and np.ptp(shift) <= 1e-12 * scale.max()
        words = f"Normal({shift.flat[0]:.3g}, {scale.flat[0]:.3g})"
        found[name] = words if one else f"{worded(prior)} on standardised data"
    return found


def kernel(model: NetworkOptions, design: Design) -> Kernel | None:
    """The compiled density of the free variables; None where some prior is not normal."""
    from bayesmix.models.mdn.task import kernel_of

    network = model.network_of(design)
    given = given_names(model, network)
    priors, variables = {}, []
    for name, dims in model.dims(design).items():
        prior = model.prior(name)
        if not isinstance(prior, Normal):
            return None
        priors[name] = prior
        variables.append((model.free_name(name), tuple(len(design.coords[d]) for d in dims)))
    found = kernel_of(network, design, priors, design.state.units, given, tuple(variables))
    if found is None or len(given) == len(priors):
        return found
    return replace(found, reported=functools.partial(model.reported, design=design))
