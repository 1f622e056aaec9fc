"""Coordinates in which every predictor of a mixture of experts, and its target, have unit scale."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from bayesmix.blocks.gated import Coefficients, Gated
from bayesmix.blocks.outcomes import Gaussian
from bayesmix.errors import DataError
from bayesmix.protocols import Array

_RANK = 1e-9
"""Columns of unit length whose smallest singular value is below this repeat one another."""


class Whitening(NamedTuple):
    """Maps of coefficients on orthonormal columns to those on the user's: raw = T (c u + t).

    A Gaussian target is less its mean and in standard deviations ``unit`` there, so locs are
    multiplied by it, and log scales move by its log; ``centre`` (loc, spread) holds t.
    """

    loc: Array
    gate: Array
    spread: Array
    unit: float = 1.0
    centre: tuple[Array, Array] = (np.zeros(()), np.zeros(()))

    def raw(self, c: Coefficients) -> Coefficients:
        """Coefficients of the user's columns."""
        loc = self.unit * c.loc + self.centre[0]
        return Coefficients(
            loc @ self.loc.T, c.gate @ self.gate.T, (c.spread + self.centre[1]) @ self.spread.T
        )

    def whitened(self, c: Coefficients) -> Coefficients:
        """Coefficients of the orthonormal columns."""
        maps = (self.loc, self.gate, self.spread)
        loc, gate, spread = (np.linalg.solve(t, part.T).T for part, t in zip(c, maps, strict=True))
        return Coefficients((loc - self.centre[0]) / self.unit, gate, spread - self.centre[1])

    @property
    def log_unit(self) -> float:
        """What a row's log density on the data as they are falls short of that of whitened rows."""
        return float(np.log(self.unit))

    def jacobian(self, n_experts: int) -> Array:
        """Derivative of the flat raw coefficients by the flat whitened ones."""
        maps = (self.unit * self.loc, self.gate, self.spread)
        sizes = [len(t) for t in maps]
        block = np.zeros((sum(sizes), sum(sizes)))
        start = 0
        for t, size in zip(maps, sizes, strict=True):
            block[start : start + size, start : start + size] = t
            start += size
        return np.kron(np.eye(n_experts), block)


def whiten(
    rows: Gated, labels: tuple[tuple[str, ...], ...], location: float = 0.0, unit: float = 1.0
) -> tuple[Gated, Whitening]:
    """The same rows with orthonormal columns (times root n), and the way back.

    Parameters
    ----------
    location, unit
        What a Gaussian target is centred at and divided by, where its predictors allow for it.

    Raises
    ------
    DataError
        Columns that repeat one another, so that no coefficients are determined.
    """
    found = [
        orthonormal(x, names)
        for x, names in zip((rows.loc, rows.gate, rows.spread), labels, strict=True)
    ]
    columns = {name: z for name, (z, _) in zip(("loc", "gate", "spread"), found, strict=True)}
    rows, maps = replace(rows, **columns), (found[0][1], found[1][1], found[2][1])
    one_loc, one_spread = (_of_constant(x) for x in (rows.loc, rows.spread))
    if not isinstance(rows.expert, Gaussian) or one_spread is None:
        return rows, Whitening(*maps)
    centre = np.zeros(rows.loc.shape[1]) if one_loc is None else location * one_loc
    target = (rows.rows["target"] - rows.loc @ centre) / unit
    rows = replace(
        rows,
        expert=Gaussian(rows.expert.floor / unit),
        rows={**rows.rows, "target": target},
        offset=rows.offset / unit,
    )
    return rows, Whitening(*maps, unit, (centre, np.log(unit) * one_spread))


def _of_constant(columns: Array) -> Array | None:
    """Coefficients of orthonormal columns whose predictor is one; None where there are none."""
    coef = columns.mean(axis=0)
    return coef if np.allclose(columns @ coef, 1.0, rtol=0.0, atol=1e-9) else None


def orthonormal(x: Array, labels: tuple[str, ...]) -> tuple[Array, Array]:
    """Columns of unit mean square that are orthogonal, Z = X T, and T.

    Raises
    ------
    DataError
        Columns that repeat one another.
    """
    if x.shape[1] == 0:
        return x, np.eye(0)
    top = np.abs(x).max(axis=0)
    top = np.where(top > 0, top, 1.0)  # squares of extreme numbers would over- or underflow
    length = top * np.sqrt(((x / top) ** 2).sum(axis=0))
    unit = x / np.where(length > 0, length, 1.0)
    q, r = np.linalg.qr(unit)
    least = np.abs(np.diag(r))
    if len(x) < x.shape[1] or (least < _RANK).any():
        at = int(np.argmin(least)) if len(x) >= x.shape[1] else x.shape[1] - 1
        raise DataError(
            f"the data do not determine the coefficient of {labels[at]!r}: its column is constant "
            "beside an intercept or repeats others, or there are fewer rows than columns; drop it"
        )
    root = np.sqrt(len(x))
    return q * root, np.linalg.inv(r) * root / length[:, None]
