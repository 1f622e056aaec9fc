"""What the compiled density of a mixture of experts reads, laid out as it wants it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import gammaln

from bayesmix.blocks.gated import Gated
from bayesmix.priors import LOG_2PI, Normal
from bayesmix.protocols import Array, Design, Kernel

if TYPE_CHECKING:
    from bayesmix.models.experts import MixtureOfExperts


_COMPILED = 20_000
"""Draws from which on loading the compiled loop pays for itself."""


def draw_experts(
    rng: np.random.Generator, rows: Gated, loc: Array, gate: Array, spread: Array
) -> tuple[Array, Array, Array]:
    """A component for each sample and row, and its predictors: each (sample, obs).

    Coefficients are (sample, expert, column). The exponentials are the same, and the result too up
    to rounding, whether the loop is NumPy's or compiled.
    """
    race = rng.standard_exponential((len(loc), rows.n, loc.shape[1]))
    if race.size < _COMPILED:
        logits = np.einsum("np,skp->snk", rows.gate, gate)
        chosen = (logits - np.log(race)).argmax(axis=2).astype(np.int32)
        take = (np.arange(len(loc))[:, None], chosen)
        own = [
            np.einsum("np,snp->sn", columns, coef[take])
            for columns, coef in ((rows.loc, loc), (rows.spread, spread))
        ]
        return chosen, own[0] + rows.offset, own[1]
    from bayesmix.blocks import expert_draws

    chosen = np.empty(race.shape[:2], dtype=np.int32)
    expert_draws.choose(_plain(gate), _plain(rows.gate), race, chosen)
    found = np.tile(rows.offset, (len(loc), 1)), np.zeros(chosen.shape)
    for out, columns, coef in zip(found, (rows.loc, rows.spread), (loc, spread), strict=True):
        expert_draws.predictor_of(_plain(coef), _plain(columns), chosen, out)
    return chosen, *found


def _plain(values: Array) -> Array:
    return np.ascontiguousarray(values, dtype=float)


def kernel(model: MixtureOfExperts, design: Design) -> Kernel:
    """The compiled density with its arrays; every prior must be normal."""
    from bayesmix.blocks import expert_kernel

    dims = model.dims(design)
    shapes = tuple((n, tuple(len(design.coords[d]) for d in dims[n])) for n in dims)
    rows = model.rows(design)
    y = np.ascontiguousarray(rows.rows["target"], dtype=float)
    trials = np.ascontiguousarray(rows.rows.get("trials", y), dtype=float)
    numbers = {"gaussian": 0.0, "binomial": 1.0, "poisson": 2.0}
    columns = [np.ascontiguousarray(x.T, dtype=float) for x in (rows.loc, rows.gate, rows.spread)]
    settings = np.array([numbers[model.expert], model.floor])
    arrays = (y, trials, _constants(model.expert, y, trials), rows.offset, *columns)
    arrays = (*arrays, *_positions(model, design), settings, _priors(model, shapes))
    return Kernel(expert_kernel.log_joint, arrays, shapes)


def _constants(kind: str, y: Array, trials: Array) -> Array:
    """What each row adds to the log density whatever the parameters."""
    if kind == "gaussian":
        return np.full(len(y), -0.5 * LOG_2PI)
    if kind == "poisson":
        return -gammaln(y + 1)
    return gammaln(trials + 1) - gammaln(y + 1) - gammaln(trials - y + 1)


def _positions(model: MixtureOfExperts, design: Design) -> list[Array]:
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


def _priors(model: MixtureOfExperts, shapes: tuple[tuple[str, tuple[int, ...]], ...]) -> Array:
    """Means and inverse scales of the normal priors, (2, coefficient)."""
    parts = []
    for name, shape in shapes:
        prior = model.prior(name)
        assert isinstance(prior, Normal)
        parts.append(np.tile([[prior.loc], [1 / prior.scale]], (1, int(np.prod(shape)))))
    return np.concatenate(parts, axis=1)
