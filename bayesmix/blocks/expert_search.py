r"""A search for the highest maximum of a mixture of experts beyond what EM from lines has found.

A sampler that starts on a lower maximum stays there, however many chains it runs. Lines through the
data know nothing of the gate: where experts hold in regions of their own, the way to the highest
maximum leads over regions, or over an expert taken from one place and put to another.

References
----------
Ueda, Nakano, Ghahramani & Hinton (2000), doi:10.1162/089976600300015088, split and merge EM.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from bayesmix.blocks import expert_moves
from bayesmix.blocks.ascent import GAIN, MANY, SOME
from bayesmix.blocks.expert_options import ExpertOptions
from bayesmix.blocks.gated import Coefficients, Gated, em_step
from bayesmix.blocks.outcomes import Gaussian
from bayesmix.protocols import Array, Design, Params

_REGIONS = 12
"""Partitions of the predictors' space that are tried."""
_SHORT, _LONG, _STEPS = 6, 60, 5
"""EM steps that every candidate is given, the promising ones at most, and between two looks."""
_STILL = 1e-5
"""A gain in nats between two looks below which a climb has arrived."""
_CLIMBED, _ROUNDS = 3, 5
"""Candidates that are climbed from in a round, and rounds at most."""
_SHARPNESS = 2.0
"""Slope of the logits between two regions' centres, in standard units: soft, as EM sharpens it."""
_LOOKED_AT = 500
"""Rows from which regions are made."""

Valued = tuple[float, Coefficients]


def wider(model: ExpertOptions, params: Params, design: Design, rng: np.random.Generator) -> Params:
    """The best parameters that the search finds; ``params`` themselves where none are better."""
    rows, to_raw = model.whitened(design)
    start = to_raw.whitened(model.coefficients(params, design))
    found = highest(rows, start, rng.spawn(1)[0])
    return params if found is start else model.named(to_raw.raw(found), design)


def highest(rows: Gated, c: Coefficients, rng: np.random.Generator) -> Coefficients:
    """The best mixture found from ``c`` and from regions; ``c`` itself where none is better."""
    few = rows
    if rows.n > MANY:
        few = rows.part(np.sort(rng.choice(rows.n, SOME, replace=False)))
    best: Valued = (few.value(c), c)
    for number in range(_ROUNDS):
        candidates = expert_moves.moves(few, best[1])
        if number == 0:
            candidates = [*candidates, *regions(few, len(c.loc), rng, _REGIONS)]
        found = _best_of(few, candidates)
        if found is None or found[0] - best[0] <= GAIN * (1 + abs(best[0])):
            break
        best = found
    return best[1] if few is rows else max((c, _climbed(rows, best[1], _LONG)[1]), key=rows.value)


def _best_of(rows: Gated, candidates: Iterable[Coefficients]) -> Valued | None:
    """A few steps from each candidate, many from the promising; the best."""
    short = [_climbed(rows, one, _SHORT) for one in candidates]
    short = sorted((one for one in short if np.isfinite(one[0])), key=lambda one: -one[0])
    climbed = [_climbed(rows, c, _LONG) for _, c in short[:_CLIMBED]]
    return max(climbed, key=lambda one: one[0], default=None)


def _climbed(rows: Gated, c: Coefficients, count: int) -> Valued:
    """Up to so many steps; fewer where they have arrived."""
    before = -np.inf
    for done in range(count):
        c, value = em_step(rows, c)
        if done % _STEPS == _STEPS - 1:
            if value - before < _STILL:
                break
            before = value
    return rows.value(c), c


def regions(rows: Gated, k: int, rng: np.random.Generator, count: int) -> list[Coefficients]:
    """Mixtures whose gate cuts the predictors' space about k rows, each expert fitted to its part.

    The logits of the cells about centres a are linear, as a softmax of :math:`-|z - a_k|^2` is.
    """
    moving = rows.gate.std(axis=0) > 1e-9
    if not moving.any() or k < 2:
        return []
    few = rows.part(np.sort(rng.choice(rows.n, min(rows.n, _LOOKED_AT), replace=False)))
    z = few.gate[:, moving] / np.maximum(few.gate[:, moving].std(axis=0), 1e-12)
    y = few.expert.working(few.rows) - few.offset
    return [_region(few, y, z, z[rng.choice(few.n, k, replace=False)]) for _ in range(count)]


def _region(rows: Gated, y: Array, z: Array, centres: Array) -> Coefficients:
    away = ((z[:, None] - centres) ** 2).sum(axis=2)
    part = away.argmin(axis=1)
    logits = -0.5 * _SHARPNESS * (away - away.mean(axis=1, keepdims=True))
    gate = np.linalg.lstsq(rows.gate, logits, rcond=None)[0].T
    all_rows = np.linalg.lstsq(rows.loc, y, rcond=None)[0]
    loc = np.tile(all_rows, (len(centres), 1))
    for j in range(len(centres)):
        own = part == j
        if own.sum() > rows.loc.shape[1]:
            loc[j] = np.linalg.lstsq(rows.loc[own], y[own], rcond=1e-3)[0]
    residual = y - np.einsum("np,np->n", rows.loc, loc[part])
    return Coefficients(loc, gate, _spread(rows, float(residual.std()), len(centres)))


def _spread(rows: Gated, scale: float, k: int) -> Array:
    """One scale for all experts."""
    if not isinstance(rows.expert, Gaussian):
        return np.zeros((k, rows.spread.shape[1]))
    growth = max(scale - rows.expert.floor, 0.1 * scale, 1e-300)
    unit = np.linalg.lstsq(rows.spread, np.ones(rows.n), rcond=None)[0]
    return np.full((k, 1), np.log(growth)) * unit
