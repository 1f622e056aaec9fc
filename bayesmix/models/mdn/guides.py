r"""Where a network's posterior is looked for: maxima, and approximations to start at.

A Gaussian over all weights that starts at a maximum of the likelihood collapses: every unit that
is in use must be known to a hundredth, which costs the ELBO some eight nats a weight. One that
starts at a small network and has the other units switched off does not. A unit of tanh is off where
its *inputs* are pinned at zero, and then its outputs are free, so that it costs two weights and not
ten; units of other activations are off, and nearly free, with a bias far below zero.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bayesmix.compiled.density import Target, target
from bayesmix.maxima.climb import climb, curvature
from bayesmix.models.mdn.options import NetworkOptions
from bayesmix.networks import full_batch
from bayesmix.networks.task import Task
from bayesmix.priors import Normal
from bayesmix.protocols import Array, Design, Guide, Params

_SIZES = (1, 2, 3, 4, 5)
"""Units in use of each layer in the small networks."""
_PINNED, _FREE = 1e-3, 0.3
"""Spread of the weights into and out of a unit of tanh that is off, inputs having unit scale."""
_FAR = -15.0
"""Bias of other units that are off."""
_RESTARTS, _STEPS = 6, 200
_UPHILL = 3000


def modes(model: NetworkOptions, design: Design, rng: np.random.Generator) -> list[Params]:
    """The mode uphill from the best of several maxima of the likelihood."""
    task = model.trainable(design)
    starts = [task.start(rng) for _ in range(3)]
    best = _likeliest(task, starts, 500)
    named = model.named(task.raw(best), design)
    density = target(model, design)
    start = density.point(_drawn_in(model, named, design))
    # dense quasi-Newton: with a short memory the last stretch takes ten times the steps
    best = climb(density.log_density, start, max_iter=_UPHILL, tolerance=1e-3)
    return [density.split(best.point)]


def _likeliest(task: Task, starts: list[Array], steps: int) -> Array:
    n = task.n_obs
    runs = full_batch.train([task.likelihood()], [n], [starts], steps, lambda share: None)
    return runs[0][0].point


def guides(model: NetworkOptions, design: Design, rng: np.random.Generator) -> list[Guide]:
    """Small networks inside the large one, each with the spread of its posterior."""
    sizes = [size for size in _SIZES if size <= max(model.hidden, default=0)] or [0]
    return [_embedded(model, design, _small(model, design, size, rng)) for size in sizes]


def _small(
    model: NetworkOptions, design: Design, size: int, rng: np.random.Generator
) -> tuple[Params, Params]:
    """A network with that many units a layer: its mode, and the width of each weight there."""
    known = tuple(
        (name, prior if isinstance(prior, Normal) else Normal(0.0, 5.0))
        for name, prior in model.priors
    )
    hidden = tuple(min(size, units) for units in model.hidden)
    small = replace(model, hidden=hidden, priors=known)
    own = small.design(design.columns)
    task = small.trainable(own)
    starts = [task.start(rng) for _ in range(_RESTARTS)]
    named = small.named(task.raw(_likeliest(task, starts, _STEPS)), own)
    density = target(small, own)
    start = density.point(_drawn_in(small, named, own))
    point = full_batch.ascend(density, start, 1000)
    width = 1 / np.sqrt(np.maximum(_curving(density, point), 1e-2))
    return density.split(point), density.split(width)


def _curving(density: Target, point: Array) -> Array:
    """Minus the diagonal of the Hessian."""
    return -np.diag(curvature(density.log_density, point))


def _embedded(model: NetworkOptions, design: Design, found: tuple[Params, Params]) -> Guide:
    """The small network's weights in the large one, whose other units are off."""
    reach = _reach(model, design)
    mean: dict[str, Array] = {}
    spread: dict[str, Array] = {}
    sizes = {name: len(labels) for name, labels in design.coords.items()}
    for name, dims in model.dims(design).items():
        shape = tuple(sizes[dim] for dim in dims)
        key = model.free_name(name)
        used = tuple(slice(0, n) for n in np.shape(found[0][key]))
        mean[key], spread[key] = _off(model, name, shape, reach)
        mean[key][used], spread[key][used] = found[0][key], found[1][key]
    return Guide(mean, spread)


def _reach(model: NetworkOptions, design: Design) -> Array:
    """How far an input moves a unit of the first layer, for each unit of its weight."""
    x = design.arrays["X"]
    if not model.is_given("hidden_1_weight"):
        return np.ones(x.shape[1])
    return np.sqrt((x**2).mean(axis=0) + 1e-300)


def _off(
    model: NetworkOptions, name: str, shape: tuple[int, ...], reach: Array
) -> tuple[Array, Array]:
    """Means and spreads of a parameter where every unit is off."""
    mean, spread = np.zeros(shape), np.full(shape, _FREE)
    if not name.startswith("hidden"):
        return mean, spread
    weight, first = name.endswith("weight"), name.startswith("hidden_1_")
    if model.activation == "tanh":
        spread[:] = _PINNED / (reach if weight and first else 1.0)
    else:
        mean[:] = 0.0 if weight else _FAR
        spread[:] = 1.0 / (reach if weight and first else 1.0)
    return mean, spread


def _drawn_in(model: NetworkOptions, named: Params, design: Design) -> dict[str, Array]:
    """Free variables of these parameters, each clipped to the middle 99.7 % of its prior."""
    free, found = model.free(named, design), dict[str, Array]()
    for name in model.dims(design):
        draws = model.prior(name).draw(np.random.default_rng(0), (10_000,))
        low, high = np.quantile(draws, [0.0015, 0.9985])
        found[model.free_name(name)] = np.clip(free[model.free_name(name)], low, high)
    return found
