r"""The curvature of a log density in its group effects: factorised by blocks, not as a whole.

With spherical effects z of grouping factors f, minus the Hessian of the joint density is

.. math:: H = I + \sum_i w_i r_i r_i^\top,

where row i touches one block of each factor. The factor with most effects has a block-diagonal
share of H and is eliminated group by group; what remains (the Schur complement) is dense and as
small as the other factors together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bayesmix.errors import SpecError
from bayesmix.protocols import Array

MAX_DENSE = 6000
"""Effects of the smaller factors together; their dense factor is then 300 MB and takes seconds."""

_DENSE_SHARE = 0.05
"""Share of pairs of groups that occur, above which BLAS beats a sparse product."""

_CHUNK = 4_000_000
"""Entries of a dense intermediate that are held at once: 32 MB."""


@dataclass(frozen=True, eq=False)
class Effects:
    """Effects of one grouping factor.

    Parameters
    ----------
    columns
        The predictors that vary by group, shape (obs, effect).
    index
        The group of each row, shape (obs,).
    n_groups
        Number of groups.
    """

    columns: Array
    index: Array
    n_groups: int

    @property
    def n_effects(self) -> int:
        """Effects of one group."""
        return self.columns.shape[1]

    @property
    def size(self) -> int:
        """Effects of all groups."""
        return self.n_groups * self.n_effects

    def gathered(self, values: Array) -> Array:
        """Sums of rows (obs, ...) by group: (group, ...)."""
        return summed(self.index, values, self.n_groups)


def summed(index: Array, values: Array, size: int) -> Array:
    """Sums of rows (obs, ...) that share an index: (size, ...)."""
    flat = values.reshape(len(values), -1)
    total = [np.bincount(index, column, size) for column in flat.T]
    return np.stack(total, axis=1).reshape(size, *values.shape[1:])


def inverse_lower(blocks: Array) -> Array:
    """Inverses of the lower Cholesky factors of positive definite blocks (group, q, q)."""
    if blocks.shape[1] == 1:
        return 1 / np.sqrt(blocks)
    return np.linalg.inv(np.linalg.cholesky(blocks))


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Which groups of two factors meet in a row, and the pair that each row is of."""

    first: Array
    second: Array
    of_row: Array

    @classmethod
    def of(cls, one: Effects, other: Effects) -> _Pairs:
        code = one.index.astype(np.int64) * other.n_groups + other.index
        pairs, of_row = np.unique(code, return_inverse=True)
        return cls(pairs // other.n_groups, pairs % other.n_groups, of_row)

    def __len__(self) -> int:
        return len(self.first)


class GroupCurvature:
    """Factorises H for given weights; the pattern of which groups meet is found once.

    Parameters
    ----------
    effects
        One entry a grouping factor, in any order; results come back in that order.

    Raises
    ------
    SpecError
        The factors beside the largest have more effects than a dense factor can hold.
    """

    def __init__(self, effects: Sequence[Effects]) -> None:
        self.effects = list(effects)
        self.pivot = max(range(len(effects)), key=lambda f: effects[f].size)
        self.rest = [f for f in range(len(effects)) if f != self.pivot]
        sizes = [effects[f].size for f in self.rest]
        self.starts = dict(zip(self.rest, np.cumsum([0, *sizes])[:-1].tolist(), strict=True))
        self.n_dense = sum(sizes)
        if self.n_dense > MAX_DENSE:
            raise SpecError(
                f"maximum likelihood with {self.n_dense} effects of crossed groups beside the "
                f"{effects[self.pivot].size} of the largest factor is beyond the {MAX_DENSE} that "
                "are factorised densely; use method='nuts' or fewer groups"
            )
        order = [self.pivot, *self.rest]
        self.pairs = {
            (f, g): _Pairs.of(effects[f], effects[g])
            for i, f in enumerate(order)
            for g in order[i + 1 :]
        }
        met = sum(len(self.pairs[self.pivot, f]) * effects[f].n_effects for f in self.rest)
        self.is_dense = met > _DENSE_SHARE * effects[self.pivot].n_groups * self.n_dense

    def factorise(self, rows: list[Array], weight: Array) -> Factorised:
        """H of rows (obs, effect) for each factor and weights (obs,), ready to be solved with."""
        heavy = [row * weight[:, None] for row in rows]
        own = self.effects[self.pivot]
        lower = inverse_lower(_blocks(own, rows[self.pivot], heavy[self.pivot]))
        if not self.rest:
            return Factorised(self, lower, None, None)
        coupling = self._coupling(lower, rows, heavy)
        schur = self._dense(rows, heavy)
        product = coupling.T @ coupling
        schur -= product if isinstance(product, np.ndarray) else product.toarray()
        return Factorised(self, lower, coupling, np.linalg.cholesky(schur))

    def _coupling(self, lower: Array, rows: list[Array], heavy: list[Array]) -> Any:
        """L^-1 B of the pivot's blocks L L' and what couples them to the rest: (pivot, rest)."""
        values, places, targets = [], [], []
        q = self.effects[self.pivot].n_effects
        for f in self.rest:
            pair = self.pairs[self.pivot, f]
            block = _crossing(pair, rows[self.pivot], heavy[f])
            block = lower[pair.first] @ block
            place, target = np.broadcast_arrays(
                (pair.first * q)[:, None, None] + np.arange(q)[:, None],
                self._columns(f, pair.second)[:, None, :],
            )
            values.append(block.ravel())
            places.append(place.ravel())
            targets.append(target.ravel())
        entries = np.concatenate(values), np.concatenate(places), np.concatenate(targets)
        shape = (self.effects[self.pivot].size, self.n_dense)
        if self.is_dense:
            dense = np.zeros(shape)
            dense[entries[1], entries[2]] = entries[0]
            return dense
        from scipy.sparse import csr_array

        return csr_array((entries[0], (entries[1], entries[2])), shape=shape)

    def _columns(self, f: int, groups: Array) -> Array:
        """Where the effects of some groups of a smaller factor stand: (group, effect)."""
        q = self.effects[f].n_effects
        return self.starts[f] + groups[:, None] * q + np.arange(q)

    def _dense(self, rows: list[Array], heavy: list[Array]) -> Array:
        """The smaller factors' share of H, before the largest is eliminated."""
        dense = np.zeros((self.n_dense, self.n_dense))
        for i, f in enumerate(self.rest):
            at = self._columns(f, np.arange(self.effects[f].n_groups))
            dense[at[:, :, None], at[:, None, :]] = _blocks(self.effects[f], rows[f], heavy[f])
            for g in self.rest[i + 1 :]:
                pair = self.pairs[f, g]
                one, other = self._columns(f, pair.first), self._columns(g, pair.second)
                block = _crossing(pair, rows[f], heavy[g])
                dense[one[:, :, None], other[:, None, :]] = block
                dense[other[:, :, None], one[:, None, :]] = block.transpose(0, 2, 1)
        return dense


def _blocks(effects: Effects, row: Array, heavy: Array) -> Array:
    """I + sum of w r r' by group: (group, effect, effect)."""
    q = effects.n_effects
    blocks = np.empty((effects.n_groups, q, q))
    for a in range(q):
        for b in range(a + 1):
            total = np.bincount(effects.index, row[:, a] * heavy[:, b], effects.n_groups)
            blocks[:, a, b] = blocks[:, b, a] = total + (a == b)
    return blocks


def _crossing(pair: _Pairs, row: Array, heavy: Array) -> Array:
    """Sum of w r s' of two factors' rows by pair of groups: (pair, effect, other effect)."""
    block = np.empty((len(pair), row.shape[1], heavy.shape[1]))
    for a in range(row.shape[1]):
        for b in range(heavy.shape[1]):
            block[:, a, b] = np.bincount(pair.of_row, row[:, a] * heavy[:, b], len(pair))
    return block


@dataclass(frozen=True, eq=False)
class Factorised:
    """H = (L, C) and its Schur complement: solves, log determinant, blocks of the inverse.

    Parameters
    ----------
    lower
        Inverse Cholesky factors of the largest factor's blocks, (group, effect, effect).
    coupling
        C = L^-1 B, (pivot, rest), dense or sparse; None for a single grouping factor.
    schur
        Cholesky factor of what remains when the largest factor is eliminated.
    """

    pattern: GroupCurvature
    lower: Array
    coupling: Any
    schur: Array | None

    def solve(self, gradient: list[Array]) -> list[Array]:
        """H^-1 g for g as one array (group, effect, ...) a factor."""
        parts, pattern = list(gradient), self.pattern
        trailing = gradient[0].shape[2:]
        flat = [g.reshape(*g.shape[:2], -1) for g in gradient]
        top = self.lower @ flat[pattern.pivot]
        if self.schur is not None:
            from scipy.linalg import cho_solve

            width = top.shape[2]
            rest = np.concatenate([flat[f].reshape(-1, width) for f in pattern.rest])
            rest = rest - self.coupling.T @ top.reshape(-1, width)
            rest = cho_solve((self.schur, True), rest, check_finite=False)
            top = top - (self.coupling @ rest).reshape(top.shape)
            for f in pattern.rest:
                part = rest[pattern.starts[f] : pattern.starts[f] + pattern.effects[f].size]
                parts[f] = part.reshape(*gradient[f].shape[:2], *trailing)
        top = self.lower.transpose(0, 2, 1) @ top
        parts[pattern.pivot] = top.reshape(*top.shape[:2], *trailing)
        return parts

    def spread(self, noise: list[Array]) -> list[Array]:
        """M^-T e for H = M M': independent standard noise becomes noise of covariance H^-1."""
        parts, pattern = list(noise), self.pattern
        top = noise[pattern.pivot]
        if self.schur is not None:
            from scipy.linalg import solve_triangular

            flat = np.concatenate([noise[f].ravel() for f in pattern.rest])
            rest = solve_triangular(self.schur, flat, lower=True, trans=1, check_finite=False)
            top = top - (self.coupling @ rest).reshape(top.shape)
            for f in pattern.rest:
                part = rest[pattern.starts[f] : pattern.starts[f] + pattern.effects[f].size]
                parts[f] = part.reshape(noise[f].shape)
        parts[pattern.pivot] = (self.lower.transpose(0, 2, 1) @ top[..., None])[..., 0]
        return parts

    def log_det(self) -> float:
        """log det H."""
        total = -2 * np.log(np.diagonal(self.lower, axis1=1, axis2=2)).sum()
        if self.schur is not None:
            total += 2 * np.log(np.diagonal(self.schur)).sum()
        return float(total)

    def inverse(self) -> Inverse:
        """The blocks of H^-1 for groups that meet in a row."""
        pattern = self.pattern
        back = self.lower.transpose(0, 2, 1)
        if self.schur is None:
            return Inverse(pattern, {(pattern.pivot, pattern.pivot): back @ self.lower})
        from scipy.linalg import get_lapack_funcs

        potri: Any = get_lapack_funcs("potri", (self.schur,))
        rest, _ = potri(self.schur, lower=1)
        rest = np.tril(rest) + np.tril(rest, -1).T
        blocks = self._inverse_of_rest(rest)
        inner = np.zeros_like(self.lower)
        crossed: dict[int, list[Array]] = {f: [] for f in pattern.rest}
        for groups, product, coupled in self._chunks(rest):
            inner[groups] = product @ coupled.transpose(0, 2, 1)
            for f in pattern.rest:
                crossed[f].append(self._picked(f, groups, product))
        q = self.lower.shape[1]
        blocks[pattern.pivot, pattern.pivot] = back @ (np.eye(q) + inner) @ self.lower
        for f in pattern.rest:
            pair = pattern.pairs[pattern.pivot, f]
            blocks[pattern.pivot, f] = -back[pair.first] @ np.concatenate(crossed[f])
        return Inverse(pattern, blocks)

    def _inverse_of_rest(self, rest: Array) -> dict[tuple[int, int], Array]:
        pattern, blocks = self.pattern, {}
        for i, f in enumerate(pattern.rest):
            at = pattern._columns(f, np.arange(pattern.effects[f].n_groups))
            blocks[f, f] = rest[at[:, :, None], at[:, None, :]]
            for g in pattern.rest[i + 1 :]:
                pair = pattern.pairs[f, g]
                one, other = pattern._columns(f, pair.first), pattern._columns(g, pair.second)
                blocks[f, g] = rest[one[:, :, None], other[:, None, :]]
        return blocks

    def _chunks(self, rest: Array) -> Any:
        """C S^-1 and C for some groups of the largest factor at a time: (group, effect, rest)."""
        n_groups, q = self.lower.shape[:2]
        step = max(1, _CHUNK // (q * len(rest)))
        for start in range(0, n_groups, step):
            groups = slice(start, min(start + step, n_groups))
            part = self.coupling[groups.start * q : groups.stop * q]
            product = part @ rest
            part = part if isinstance(part, np.ndarray) else part.toarray()
            yield groups, product.reshape(-1, q, len(rest)), part.reshape(-1, q, len(rest))

    def _picked(self, f: int, groups: slice, product: Array) -> Array:
        """The entries of C S^-1 for the pairs that some groups are in: (pair, effect, effect)."""
        pair = self.pattern.pairs[self.pattern.pivot, f]
        low, high = np.searchsorted(pair.first, [groups.start, groups.stop])
        columns = self.pattern._columns(f, pair.second[low:high])
        return product[pair.first[low:high, None] - groups.start, :, columns].transpose(0, 2, 1)


@dataclass(frozen=True, eq=False)
class Inverse:
    """Blocks of H^-1: by factor (group, effect, effect), by two factors (pair, ...)."""

    pattern: GroupCurvature
    blocks: dict[tuple[int, int], Array]

    def own(self, f: int) -> Array:
        """The blocks of one factor: conditional covariances of its spherical effects."""
        return self.blocks[f, f]

    def applied(self, rows: list[Array]) -> list[Array]:
        """H^-1 r_i of each row, at that row's own groups: (obs, effect) for each factor."""
        effects = self.pattern.effects
        totals = [_times(self.blocks[f, f], effects[f].index, row) for f, row in enumerate(rows)]
        for (f, g), pair in self.pattern.pairs.items():
            block = self.blocks[f, g]
            totals[f] += _times(block, pair.of_row, rows[g])
            totals[g] += _times(block.transpose(0, 2, 1), pair.of_row, rows[f])
        return totals


def _times(blocks: Array, index: Array, row: Array) -> Array:
    """blocks[index] @ row, one row at a time: (obs, effect)."""
    if blocks.shape[1:] == (1, 1):
        return blocks[index, 0, 0][:, None] * row
    return np.stack(
        [
            sum(blocks[index, a, b] * row[:, b] for b in range(row.shape[1]))
            for a in range(blocks.shape[1])
        ],
        axis=1,
    )
