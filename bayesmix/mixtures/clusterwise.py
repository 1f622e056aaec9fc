r"""Clusterwise least squares: hard assignment of rows to lines, from many starts at once.

Minimises :math:`\sum_i \min_k (y_i - x_i^\top \beta_k)^2` by turns: each row to its nearest line,
each line to its rows. The sum never rises, so it converges; from random lines it seldom converges
to the best, hence the many starts, each a set of lines through small neighbourhoods of the data.

References
----------
Spath (1979), doi:10.1007/BF02265317.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bayesmix.protocols import Array

_BATCH = 3_000_000
"""Largest (start, row, line) array that is held at a time: 24 MB."""


@dataclass(frozen=True, eq=False)
class Lines:
    """Solutions, best first: coefficients (start, line, column), SSE (start,) and its traces."""

    coef: Array
    sse: Array
    trace: list[Array]

    def distinct(self, count: int, tolerance: float = 1e-6) -> list[int]:
        """Positions of the best solutions whose SSE differ."""
        kept: list[int] = []
        for i, value in enumerate(self.sse):
            if all(abs(value - self.sse[j]) > tolerance * (1e-300 + abs(value)) for j in kept):
                kept.append(i)
            if len(kept) == count:
                break
        return kept


def starts(rng: np.random.Generator, x: Array, y: Array, lines: int, count: int) -> Array:
    """Coefficients (start, line, column) of lines through random neighbourhoods of the data."""
    n, p = x.shape
    spread = np.maximum(x.std(axis=0), 1e-12)
    place = np.column_stack(
        [(x / spread)[:, x.std(axis=0) > 1e-9], y / max(float(y.std()), 1e-300)]
    )
    coef = np.empty((count, lines, p))
    anchors = rng.integers(n, size=(count, lines))
    sizes = rng.integers(min(p + 1, n), max(n // lines, p + 2) + 1, size=(count, lines))
    for i in range(count):
        for j in range(lines):
            distance = ((place - place[anchors[i, j]]) ** 2).sum(axis=1)
            size = min(int(sizes[i, j]), n)
            near = np.argpartition(distance, size - 1)[:size]
            coef[i, j] = np.linalg.lstsq(x[near], y[near], rcond=1e-9)[0]
    return coef


def descend(
    x: Array, y: Array, coef: Array, pinned: Array | None = None, max_iter: int = 200
) -> Lines:
    """Turns of assignment and least squares from each start until no row changes its line.

    Parameters
    ----------
    pinned
        The line that each row must keep, -1 for rows that are free, shape (obs,).
    """
    size = max(1, _BATCH // (len(y) * coef.shape[1]))
    found = [
        _descend(x, y, coef[i : i + size], pinned, max_iter) for i in range(0, len(coef), size)
    ]
    coefs = np.concatenate([one[0] for one in found])
    sse = np.concatenate([one[1] for one in found])
    traces = [trace for one in found for trace in one[2]]
    order = np.argsort(sse, kind="stable")
    return Lines(coefs[order], sse[order], [traces[i] for i in order])


def _descend(
    x: Array, y: Array, coef: Array, pinned: Array | None, max_iter: int
) -> tuple[Array, Array, list[Array]]:
    coef, active = coef.copy(), np.arange(len(coef))
    sse, history = np.full(len(coef), np.inf), [[] for _ in coef]
    products = (x[:, :, None] * x[:, None, :]).reshape(len(x), -1)
    for _ in range(max_iter):
        chosen, squares = assign(x, y, coef[active], pinned)
        _rescue(x, y, coef, active, chosen, squares, pinned)
        coef[active] = _refit(x, y, products, chosen, coef[active])
        _, squares = assign(x, y, coef[active], pinned)
        new = squares.sum(axis=1)
        for i, value in zip(active, new, strict=True):
            history[i].append(float(value))
        moving = new < sse[active] * (1 - 1e-12)
        sse[active] = np.minimum(new, sse[active])
        active = active[moving]
        if not len(active):
            break
    return coef, sse, [np.array(one) for one in history]


def assign(x: Array, y: Array, coef: Array, pinned: Array | None) -> tuple[Array, Array]:
    """The nearest line of each row, and its squared residual, each (start, obs)."""
    squares = (y[:, None] - np.einsum("np,rkp->rnk", x, coef, optimize=True)) ** 2
    chosen = squares.argmin(axis=2)
    if pinned is not None:
        chosen = np.where(pinned >= 0, pinned, chosen)
    return chosen, np.take_along_axis(squares, chosen[:, :, None], axis=2)[:, :, 0]


def _refit(x: Array, y: Array, products: Array, chosen: Array, coef: Array) -> Array:
    """Least squares of each line on its rows; a line that its rows do not determine stays close."""
    runs, lines, p = coef.shape
    member = (chosen[:, None, :] == np.arange(lines)[None, :, None]).reshape(runs * lines, -1)
    member = member.astype(float)
    gram = (member @ products).reshape(runs, lines, p, p)
    residual = y - (coef.reshape(-1, p) @ x.T)
    gradient = ((member * residual) @ x).reshape(runs, lines, p)
    values, vectors = np.linalg.eigh(gram)
    top = np.maximum(values[..., -1:], 1e-300)
    inverse = np.where(values > 1e-10 * top, 1 / np.maximum(values, 1e-300), 0.0)
    along = np.einsum("rkij,rki->rkj", vectors, gradient)
    return coef + np.einsum("rkij,rkj->rki", vectors, inverse * along)


def _rescue(
    x: Array,
    y: Array,
    coef: Array,
    active: Array,
    chosen: Array,
    squares: Array,
    pinned: Array | None,
) -> None:
    """Put a line that no row chose through the free row fitted worst; the SSE cannot rise."""
    lines = coef.shape[1]
    for position, run in enumerate(active):
        empty = np.flatnonzero(np.bincount(chosen[position], minlength=lines) == 0)
        if not len(empty):
            continue
        worst = np.argsort(squares[position])[::-1]
        worst = worst if pinned is None else worst[pinned[worst] < 0]
        for line, row in zip(empty, worst, strict=False):
            own = coef[run, chosen[position, row]]
            length = float((x[row] ** 2).sum())
            coef[run, line] = own + x[row] * (y[row] - x[row] @ own) / max(length, 1e-300)
            chosen[position, row] = line
