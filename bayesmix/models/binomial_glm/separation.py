"""When a binomial likelihood has no maximum, or more than one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bayesmix.errors import DataError, listed
from bayesmix.protocols import Array

MAX_ROWS = 20_000
"""Beyond this many distinct rows the linear program is not worth its time."""


def require_maximum(
    columns: Array, labels: Sequence[object], successes: Array, trials: Array
) -> None:
    """Refuse data for which maximum likelihood has no unique answer.

    Raises
    ------
    DataError
        Some columns are combinations of others, or separate the outcomes perfectly.
    """
    scaled = columns / np.maximum(np.abs(columns).max(axis=0, initial=0.0), 1e-300)
    if np.linalg.matrix_rank(scaled) < columns.shape[1]:
        raise DataError(
            f"the columns {listed(labels)} are linearly dependent, so the likelihood has no unique "
            "maximum; drop one, or use method='nuts', whose priors decide between them"
        )
    along = separating_direction(columns, successes, trials)
    if along is not None:
        named = [name for name, b in zip(labels, along, strict=True) if abs(b) > 1e-8]
        raise DataError(
            f"a combination of {listed(named)} separates the outcomes perfectly, so the likelihood "
            "has no maximum; use method='nuts', whose priors keep the answer finite"
        )


def separating_direction(columns: Array, successes: Array, trials: Array) -> Array | None:
    r"""A direction b, :math:`x_i^\top b \ge 0` where all trials succeed, :math:`\le 0` where none.

    Along such a direction the binomial likelihood rises for ever. Rows with both outcomes demand
    :math:`x_i^\top b = 0`. None when there is no such direction.

    References
    ----------
    Albert & Anderson (1984), doi:10.1093/biomet/71.1.1, who class the cases; the test is one
    linear program over the box :math:`|b_j| \le 1`.
    """
    from scipy.optimize import linprog

    mixed = (successes > 0) & (successes < trials)
    scale = np.abs(columns).max(axis=0, initial=0.0)
    scaled = columns / np.where(scale > 0, scale, 1.0)
    if np.linalg.matrix_rank(scaled[mixed]) == columns.shape[1]:
        return None
    sign = np.where(successes == 0, -1.0, 1.0)[:, None]
    one_sided = np.unique((sign * scaled)[~mixed & (trials > 0)], axis=0)
    if len(one_sided) > MAX_ROWS or not len(one_sided):
        return None
    both = np.unique(scaled[mixed], axis=0) if mixed.any() else None
    found = linprog(
        -one_sided.sum(axis=0),
        A_ub=-one_sided,
        b_ub=np.zeros(len(one_sided)),
        A_eq=both,
        b_eq=None if both is None else np.zeros(len(both)),
        bounds=(-1, 1),
    )
    if found.status == 0 and -found.fun > 1e-8:
        return found.x / np.where(scale > 0, scale, 1.0)
    return None
