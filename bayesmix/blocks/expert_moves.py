r"""Moves of a mixture of experts: one expert removed, another split, as a place to climb from.

Maxima of the likelihood differ by where experts stand: two on one branch, none on another. EM never
crosses from one to the other; taking an expert from where it adds least to where one expert serves
two branches does.

References
----------
Ueda, Nakano, Ghahramani & Hinton (2000), doi:10.1162/089976600300015088, split and merge EM.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bayesmix.blocks.gated import Coefficients, Gated
from bayesmix.blocks.outcomes import Gaussian
from bayesmix.protocols import Array

MOST = 36
"""Moves that are tried at a time: all of four experts, the most promising of more."""
_LINK_STEP = 0.5
"""How far the halves of a split part on a log or logit scale, where no scale of noise says."""


def moves(rows: Gated, c: Coefficients) -> list[Coefficients]:
    """Mixtures with one expert removed and another split, the least needed removed first."""
    if len(c.loc) < 2:
        return []
    share = np.concatenate(rows.memberships(c)[0]).mean(axis=0)
    order = np.argsort(share, kind="stable")
    pairs = [(int(i), int(k)) for i in order for k in order[::-1] if i != k]
    directions = list(_directions(rows))
    pairs = pairs[: max(1, MOST // len(directions))]
    return [_moved(rows, c, i, k, direction) for direction in directions for i, k in pairs]


def _directions(rows: Gated) -> Iterator[Array]:
    """Coefficients (column,) of a unit step: of the height, and of each further column."""
    x = rows.loc
    flat = np.linalg.lstsq(x, np.ones(len(x)), rcond=None)[0]
    yield flat
    for j in range(x.shape[1]):
        unit = np.eye(x.shape[1])[j] / max(float(x[:, j].std()), 1e-12)
        if x[:, j].std() > 1e-9:
            yield unit - flat * float((x @ unit).mean())


def _moved(rows: Gated, c: Coefficients, gone: int, split: int, direction: Array) -> Coefficients:
    """The expert ``gone`` becomes a second half of the expert ``split``."""
    step = direction * _distance(rows, c, split)
    loc, gate, spread = (part.copy() for part in c)
    loc[gone], loc[split] = loc[split] + step, loc[split] - step
    gate[gone], spread[gone] = gate[split], spread[split]
    return Coefficients(loc, gate, spread)


def _distance(rows: Gated, c: Coefficients, expert: int) -> float:
    """How far the halves of an expert part, on the scale of its predictor."""
    if not isinstance(rows.expert, Gaussian):
        return _LINK_STEP
    return float(np.median(rows.expert.scale(rows.spreads(c.spread)[:, expert])))
