"""What the compiled density of a mixture of experts reads, laid out as it wants it."""

from __future__ import annotations

import functools

import numpy as np
from scipy.special import gammaln

from bayesmix.blocks import expert_priors, loops
from bayesmix.blocks.expert_options import ExpertOptions
from bayesmix.blocks.gated import Gated
from bayesmix.blocks.outcomes import Gaussian
from bayesmix.kernels import Kernel
from bayesmix.priors import LOG_2PI, Normal
from bayesmix.protocols import Array, Design

_COMPILED = 20_000
"""Draws from which on loading the compiled loop pays for itself."""


def draw(
    rng: np.random.Generator, rows: Gated, loc: Array, gate: Array, spread: Array
) -> tuple[Array, Array]:
    """A target and its component for each sample and row: each (sample, obs).

    Coefficients are (sample, expert, column). One distribution, whether the loop is NumPy's or
    compiled; the random numbers are in another order.
    """
    coefs = (loc, gate, spread)
    if len(loc) * rows.n >= _COMPILED:
        return _draw_compiled(rng, rows, coefs)
    part, mean, wide = _choose(rows, coefs, rng.random((len(loc), rows.n)))
    return rows.expert.draw(rng, rows.rows, mean, wide), part


def _choose(
    rows: Gated, coefs: tuple[Array, Array, Array], uniform: Array
) -> tuple[Array, Array, Array]:
    """The component where each uniform falls among the cumulated weights, and its predictors."""
    logits = np.einsum("np,skp->skn", rows.gate, coefs[1])
    upto = np.cumsum(np.exp(logits - logits.max(axis=1, keepdims=True)), axis=1)
    aim = uniform * upto[:, -1]
    part = (aim[:, None] >= upto[:, :-1]).sum(axis=1, dtype=np.int32)
    take = (np.arange(len(part))[:, None], part)
    loc = np.einsum("np,snp->sn", rows.loc, coefs[0][take]) + rows.offset
    return part, loc, np.einsum("np,snp->sn", rows.spread, coefs[2][take])


def _draw_compiled(
    rng: np.random.Generator, rows: Gated, coefs: tuple[Array, Array, Array]
) -> tuple[Array, Array]:
    from bayesmix.blocks import expert_draws, generators

    columns = [_plain(x.T) for x in (rows.loc, rows.gate, rows.spread)]
    arrays = (generators.addresses(rng), *(_plain(each) for each in coefs), *columns)
    part = np.empty((len(coefs[0]), rows.n), dtype=np.int32)
    if isinstance(rows.expert, Gaussian):
        drawn, floor = np.empty(part.shape), np.array([rows.expert.floor])
        with rng.bit_generator.lock:
            own = (_plain(rows.offset), floor, part, drawn)
            loops.run(expert_draws.gaussian, *arrays, *own)
        return drawn, part
    mean, wide = np.tile(rows.offset, (len(part), 1)), np.zeros(part.shape)
    with rng.bit_generator.lock:
        loops.run(expert_draws.predictors, *arrays, part, mean, wide)
    return rows.expert.draw(rng, rows.rows, mean, wide), part


def _plain(values: Array) -> Array:
    return np.ascontiguousarray(values, dtype=float)


def kernel(model: ExpertOptions, design: Design) -> Kernel:
    """The compiled density with its arrays; every prior must be normal.

    Its parameters are the free variables u: for a predictor X (T u + t) the loop is given X T as
    columns and X t as an offset. That of the log scale, a constant, becomes the target's unit.
    """
    from bayesmix.blocks import expert_kernel

    units, dims = design.state.units, model.dims(design)
    shapes = tuple((n, tuple(len(design.coords[d]) for d in dims[n])) for n in dims)
    rows, unit = model.rows(design), units.unit
    y = _plain(rows.rows["target"] / unit)
    trials = _plain(rows.rows.get("trials", y))
    numbers = {"gaussian": 0.0, "binomial": 1.0, "poisson": 2.0}
    sides = zip((rows.loc, rows.gate, rows.spread), units.sides, strict=True)
    loc, gate, spread = (_plain(side.columns(x).T) for x, side in sides)
    offset = _plain((rows.offset + units.sides[0].offset(rows.loc)) / unit)
    constants = _constants(model.expert, y, trials) - np.log(unit)
    settings = np.array([numbers[model.expert], units.floor / unit])
    arrays = (y, trials, constants, offset, loc / unit, gate, spread)
    arrays = (*arrays, *_positions(model, design), settings, _priors(model, shapes))
    variables = tuple((model.free_name(name), shape) for name, shape in shapes)
    plain = all(side.is_identity for side in units.sides)
    reported = None if plain else functools.partial(expert_priors.reported, model, design=design)
    return Kernel(expert_kernel.log_joint, arrays, variables, reported)


def _constants(kind: str, y: Array, trials: Array) -> Array:
    """What each row adds to the log density whatever the parameters."""
    if kind == "gaussian":
        return np.full(len(y), -0.5 * LOG_2PI)
    if kind == "poisson":
        return -gammaln(y + 1)
    return gammaln(trials + 1) - gammaln(y + 1) - gammaln(trials - y + 1)


def _positions(model: ExpertOptions, design: Design) -> list[Array]:
    """Where each coefficient (column, expert) of each predictor is among the free parameters."""
    found, start, k = [], 0, model.n_experts
    for one in design.state.linear:
        own = np.empty((len(one.labels), k), dtype=np.int64)
        for term in one.terms:
            width = term.columns.stop - term.columns.start
            own[term.columns] = start + np.arange(k * width).reshape(k, width).T
            start += k * width
        found.append(own)
    return found


def _priors(model: ExpertOptions, shapes: tuple[tuple[str, tuple[int, ...]], ...]) -> Array:
    """Means and inverse scales of the normal priors, (2, coefficient)."""
    parts = []
    for name, shape in shapes:
        prior = model.prior(name)
        assert isinstance(prior, Normal)
        parts.append(np.tile([[prior.loc], [1 / prior.scale]], (1, int(np.prod(shape)))))
    return np.concatenate(parts, axis=1)
