r"""Standard coordinates of a linear predictor: centred columns of unit scale.

A prior that is to mean the same in minutes and in seconds must be a prior on coefficients that do
not know units. With columns :math:`x_1, \dots, x_p` of the training rows and weights w of the rows,
Gram-Schmidt gives residuals :math:`r_j`, each column less what the columns before it explain,

.. math:: X = r\,C, \quad C \text{ unit upper triangular}, \qquad
          \gamma = U \beta, \quad U = \mathrm{diag}(d)\,C, \qquad X\beta = (r / d)\,\gamma,

where :math:`d_j` is the root mean square of :math:`r_j`, and 1 for columns that are intercepts.
With an intercept, the residuals are centred. Replacing x by a + b x anywhere in the formula, also
inside ``x + I(x ** 2)`` or ``x * z``, changes no entry of :math:`r / d` (but signs), so a prior on
:math:`\gamma` is the same prior in any units.

References
----------
Goodrich, Gabry, Ali & Brilleman, rstanarm: priors on a scaled model matrix, and its QR option.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import solve_triangular

from bayesmix.protocols import Array

NOTHING_ADDED = 1e-11
"""A residual below this share of its column is rounding: the column repeats those before it.

Rounding leaves some 1e-15; the cube of a year, after the year and its square, leaves 4e-9.
"""


@dataclass(frozen=True, eq=False)
class Standard:
    """A change of coordinates, ``gamma = matrix @ beta``.

    Parameters
    ----------
    matrix
        U, shape (column, column).
    inverse
        Its inverse.

    Examples
    --------
    >>> import numpy as np
    >>> minutes = np.column_stack([np.ones(4), [1.0, 2.0, 3.0, 6.0]])
    >>> seconds = minutes * [1, 60]
    >>> units = [Standard.of(x, intercepts=[True, False]) for x in (minutes, seconds)]
    >>> np.allclose(units[0].values(minutes), units[1].values(seconds))
    True
    """

    matrix: Array
    inverse: Array

    @classmethod
    def of(
        cls,
        columns: Array,
        weights: Array | None = None,
        *,
        intercepts: object = False,
        given: object = False,
    ) -> Standard:
        """The standard coordinates of these columns (obs, column).

        Parameters
        ----------
        weights
            Of the rows, such as trials; None counts each row once.
        intercepts
            By column: it is constant, or an indicator of groups that have an intercept each.
        given
            By column: its coefficient has a prior of its own in the units of the data, so that it
            stays as it is. An intercept that is not given is still that at its mean.
        """
        n = columns.shape[1]
        is_intercept = np.broadcast_to(np.asarray(intercepts, dtype=bool), (n,))
        is_given = np.broadcast_to(np.asarray(given, dtype=bool), (n,))
        order = [*np.flatnonzero(is_intercept), *np.flatnonzero(~is_intercept)]
        share, size = _orthogonal(columns, weights, order, is_intercept)
        share[np.ix_(~is_intercept, is_given)] = 0.0
        share[is_given] = 0.0
        np.fill_diagonal(share, 1.0)
        unit = np.where(is_intercept | is_given, 1.0, size)
        inside = share[np.ix_(order, order)]
        back = np.empty_like(inside)
        back[np.ix_(order, order)] = solve_triangular(inside, np.eye(n), unit_diagonal=True)
        return cls(unit[:, None] * share, back / unit)

    @property
    def is_identity(self) -> bool:
        """True where standard coordinates are those of the data."""
        return np.array_equal(self.matrix, np.eye(len(self.matrix)))

    @functools.cached_property
    def log_determinant(self) -> float:
        """log |det U|, what a density gains when it is read in the units of the data."""
        return float(np.linalg.slogdet(self.matrix)[1])

    def values(self, columns: Array) -> Array:
        """The columns whose coefficients are gamma: (obs, column)."""
        return columns @ self.inverse

    def to_standard(self, beta: Array) -> Array:
        """Coefficients (..., column) of the data's columns in standard coordinates."""
        return beta @ self.matrix.T

    def to_raw(self, gamma: Array) -> Array:
        """Standard coefficients (..., column) in the units of the data."""
        return gamma @ self.inverse.T


def _orthogonal(
    columns: Array, weights: Array | None, order: Sequence[Any], is_intercept: Array
) -> tuple[Array, Array]:
    """Shares C of residuals in columns, and the root mean square of each residual."""
    weight = np.ones(len(columns)) if weights is None else np.asarray(weights, dtype=float)
    root = np.sqrt(weight / weight.sum())
    n = columns.shape[1]
    share, size = np.eye(n), np.ones(n)
    basis, kept = np.empty((len(columns), n)), list[int]()
    for j in order:
        own = root * columns[:, j]
        rest, along = _residual(own, basis[:, : len(kept)])
        least = NOTHING_ADDED * _length(own)
        if _length(rest) > least:
            size[j] = _length(rest)
            basis[:, len(kept)] = rest / size[j]
            share[kept, j] = along / size[kept]
            kept.append(j)
            continue
        first = [i for i, other in enumerate(kept) if is_intercept[other]]
        rest, along = _residual(own, basis[:, first])
        share[[kept[i] for i in first], j] = along / size[[kept[i] for i in first]]
        size[j] = _length(rest) if _length(rest) > least else 1.0
    return share, size


def _residual(own: Array, basis: Array) -> tuple[Array, Array]:
    """What an orthonormal basis leaves of a column, and what it takes; twice, for rounding."""
    rest, along = own, np.zeros(basis.shape[1])
    for _ in range(2):
        part = basis.T @ rest
        rest = rest - basis @ part
        along = along + part
    return rest, along


def _length(column: Array) -> float:
    """Euclidean length, scaled first: the squares of 1e-200 are zero."""
    largest = float(np.abs(column).max(initial=0.0))
    return largest * float(np.linalg.norm(column / largest)) if largest > 0 else 0.0
