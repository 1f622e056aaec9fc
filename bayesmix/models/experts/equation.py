r"""The likelihood of a mixture of experts as a function of its coefficients, and its EM step.

Row i has K experts with linear predictors :math:`\mu_{ik} = x_i^\top \beta_k`, log scales
:math:`\eta_{ik} = s_i^\top \delta_k` and a gate :math:`\log\pi_{ik}`, the log softmax of
:math:`z_i^\top \gamma_k`:

.. math:: \log p(y_i) = \log\sum_k \pi_{ik}\, f(y_i \mid \mu_{ik}, \eta_{ik}).

Work is done in chunks of rows, so that memory beyond the data is that of the responsibilities.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bayesmix.compiled import loops
from bayesmix.mixtures import algebra
from bayesmix.mixtures.components import Counts, Expert, Gaussian
from bayesmix.protocols import Array

_CHUNK = 2**16
"""Rows that are worked on at a time."""


class Coefficients(NamedTuple):
    """Coefficients of the experts: ``loc`` (K, p), ``gate`` (K, q), ``spread`` (K, r)."""

    loc: Array
    gate: Array
    spread: Array

    def flat(self) -> Array:
        """One vector, expert after expert: its loc, gate and spread."""
        return np.concatenate(self, axis=1).ravel()

    def like(self, flat: Array) -> Coefficients:
        """The inverse of :meth:`flat` for arrays of these shapes."""
        table = flat.reshape(len(self.loc), -1)
        cuts = np.cumsum([part.shape[1] for part in self])
        return Coefficients(*np.split(table, cuts[:2], axis=1))

    def ordered(self, order: Array) -> Coefficients:
        """The same mixture with its experts in another order."""
        return Coefficients(*(part[order] for part in self))


class Expansion(NamedTuple):
    """Log-likelihood with its gradient and Hessian, in the order of :meth:`Coefficients.flat`."""

    value: float
    gradient: Array
    hessian: Array


@dataclass(frozen=True, eq=False)
class Gated:
    """Rows of a mixture of experts: the target and the columns of its three predictors."""

    expert: Expert
    rows: Counts
    loc: Array
    gate: Array
    spread: Array
    offset: Array

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.loc)

    def part(self, chosen: slice | Array) -> Gated:
        """Some of the rows."""
        rows = {name: values[chosen] for name, values in self.rows.items()}
        arrays = (a[chosen] for a in (self.loc, self.gate, self.spread, self.offset))
        return Gated(self.expert, rows, *arrays)

    @functools.cached_property
    def parts(self) -> list[Gated]:
        """The rows in chunks."""
        if self.n <= _CHUNK:
            return [self]
        return [self.part(slice(i, i + _CHUNK)) for i in range(0, self.n, _CHUNK)]

    @functools.cached_property
    def constant_spread(self) -> bool:
        """True where the log scale is one number for each expert, which has a closed form."""
        return self.spread.shape[1] == 1 and float(np.ptp(self.spread)) < 1e-9

    def columns(self) -> Counts:
        """The target and its like as columns, to broadcast over experts."""
        return {name: values[:, None] for name, values in self.rows.items()}

    def log_weights(self, gate: Array) -> Array:
        """Log weights (obs, expert); columns are contiguous, which halves the time of a step."""
        return algebra.log_softmax((gate @ self.gate.T).T)

    def locs(self, loc: Array) -> Array:
        """Locs on the link scale (obs, expert)."""
        return (loc @ self.loc.T + self.offset).T

    def spreads(self, spread: Array) -> Array:
        """Log scales (obs, expert)."""
        return (spread @ self.spread.T).T

    def predictors(self, c: Coefficients) -> tuple[Array, Array, Array]:
        """Log weights, loc and spread, each (obs, expert)."""
        return self.log_weights(c.gate), self.locs(c.loc), self.spreads(c.spread)

    def log_parts(self, c: Coefficients) -> Array:
        """Joint log density of component and target, (obs, expert)."""
        log_weight, loc, spread = self.predictors(c)
        return log_weight + self.expert.log_density(self.columns(), loc, spread)

    def value(self, c: Coefficients) -> float:
        """The log-likelihood."""
        return float(sum(algebra.log_sum(part.log_parts(c)).sum() for part in self.parts))

    def memberships(self, c: Coefficients) -> tuple[list[Array], float]:
        """Responsibilities (obs, expert) by chunk, and the log-likelihood."""
        found, value = [], 0.0
        for part in self.parts:
            joint = part.log_parts(c)
            total = algebra.log_sum(joint)
            value += float(total.sum())
            found.append(np.exp(joint - total[:, None]))
        return found, value

    def expansion(self, c: Coefficients) -> Expansion:
        """Exact gradient and Hessian of the log-likelihood (Louis, 1982); not finite far out."""
        value, gradient, hessian = 0.0, 0.0, 0.0
        for part in self.parts:
            with np.errstate(over="ignore", invalid="ignore"):
                one = _expand(part, c)
            value, gradient, hessian = (
                value + one.value,
                gradient + one.gradient,
                hessian + one.hessian,
            )
        return Expansion(value, np.asarray(gradient), np.asarray(hessian))


def _expand(rows: Gated, c: Coefficients) -> Expansion:
    log_weight, loc, spread = rows.predictors(c)
    joint = log_weight + rows.expert.log_density(rows.columns(), loc, spread)
    total = algebra.log_sum(joint)
    h, weight = np.exp(joint - total[:, None]), np.exp(log_weight)
    d = rows.expert.slopes(rows.columns(), loc, spread)
    columns = (rows.loc, rows.gate, rows.spread)
    score = _spread_out(columns, (h * d.loc, h, h * d.spread))
    prior = _spread_out(columns, (0 * h, weight, 0 * h))
    hessian = prior.T @ prior - score.T @ score
    size = score.shape[1] // h.shape[1]
    for k in range(h.shape[1]):
        block = slice(k * size, (k + 1) * size)
        hessian[block, block] += _own_block(columns, h[:, k], weight[:, k], d, k)
    return Expansion(float(total.sum()), (score - prior).sum(axis=0), hessian)


def _own_block(
    columns: tuple[Array, Array, Array], h: Array, weight: Array, d: object, k: int
) -> Array:
    """Expected curvature and squared score of one expert's own coefficients."""
    first_loc, first_spread, ll, ls, ss = (slope[:, k] for slope in d)  # type: ignore[attr-defined]
    inner = (
        (ll + first_loc**2, first_loc, ls + first_loc * first_spread),
        (first_loc, 1.0, first_spread),
        (ls + first_loc * first_spread, first_spread, ss + first_spread**2),
    )
    rows = [
        [a.T @ (b * (h * value)[:, None]) for b, value in zip(columns, line, strict=True)]
        for a, line in zip(columns, inner, strict=True)
    ]
    block = np.block(rows)
    p, q = columns[0].shape[1], columns[1].shape[1]
    gate = slice(p, p + q)
    block[gate, gate] -= columns[1].T @ (columns[1] * weight[:, None])
    return block


def _spread_out(columns: tuple[Array, Array, Array], values: tuple[Array, Array, Array]) -> Array:
    """Values (obs, expert) times their columns, in the order of the flat coefficients."""
    parts = [v[:, :, None] * x[:, None, :] for x, v in zip(columns, values, strict=True)]
    return np.concatenate(parts, axis=2).reshape(len(parts[0]), -1)


def em_step(rows: Gated, c: Coefficients) -> tuple[Coefficients, float]:
    """One E-step and M-step; the log-likelihood before it. It never falls.

    Locs first: the exact M-step for a scalar target, as the constant scale's closed form needs the
    new residuals. Where there is no closed form, a Newton step on the expected log-likelihood is
    halved until it gains, which makes the whole a generalised EM step.

    References
    ----------
    Jordan & Xu (1995), doi:10.1016/0893-6080(95)00014-3.
    """
    h, value = rows.memberships(c)
    c = c._replace(loc=_new_loc(rows, h, c))
    c = c._replace(spread=_new_spread(rows, h, c))
    return c._replace(gate=_new_gate(rows, h, c)), value


def _expected(rows: Gated, h: list[Array], c: Coefficients) -> Array:
    """Expected log density of each expert's rows, (expert,)."""
    total = np.zeros(len(c.loc))
    for part, own in zip(rows.parts, h, strict=True):
        loc, spread = part.locs(c.loc), part.spreads(c.spread)
        total += (own * part.expert.log_density(part.columns(), loc, spread)).sum(axis=0)
    return total


def _new_loc(rows: Gated, h: list[Array], c: Coefficients) -> Array:
    gradient = np.zeros(c.loc.shape)
    information = np.zeros((*c.loc.shape, c.loc.shape[1]))
    for part, own in zip(rows.parts, h, strict=True):
        loc, spread = part.locs(c.loc), part.spreads(c.spread)
        d = part.expert.slopes(part.columns(), loc, spread)
        gradient += (own * d.loc).T @ part.loc
        information += _grams(part.loc, -own * d.loc_loc)
    step = _solved(information, gradient)
    if isinstance(rows.expert, Gaussian):
        return c.loc + step
    return _halved(lambda loc: _expected(rows, h, c._replace(loc=loc)), c.loc, step)


def _new_spread(rows: Gated, h: list[Array], c: Coefficients) -> Array:
    expert = rows.expert
    if not isinstance(expert, Gaussian):
        return c.spread
    gradient = np.zeros(c.spread.shape)
    information = np.zeros((*c.spread.shape, c.spread.shape[1]))
    mass, squares = np.zeros(len(c.loc)), np.zeros(len(c.loc))
    for part, own in zip(rows.parts, h, strict=True):
        loc, spread = part.locs(c.loc), part.spreads(c.spread)
        d = expert.slopes(part.columns(), loc, spread)
        mass += own.sum(axis=0)
        squares += (own * (part.columns()["target"] - loc) ** 2).sum(axis=0)
        gradient += (own * d.spread).T @ part.spread
        share = np.exp(spread) / expert.scale(spread)
        information += _grams(part.spread, 2 * own * share**2)
    if rows.constant_spread:
        scale = np.sqrt(squares / np.maximum(mass, 1e-300))
        unit, least = rows.spread[0, 0], 1e-6 * scale + 1e-300
        # where the floor is already too wide, the less above it the better: never go up to least
        near = np.minimum(least, np.maximum(np.exp(c.spread[:, 0] * unit), 1e-300))
        growth = np.where(scale - expert.floor > least, scale - expert.floor, near)
        exact = np.log(growth)[:, None] / unit
        return np.where(mass[:, None] > 1e-8, exact, c.spread)
    step = np.clip(_solved(information, gradient), -2.0, 2.0)
    return _halved(lambda spread: _expected(rows, h, c._replace(spread=spread)), c.spread, step)


def _new_gate(rows: Gated, h: list[Array], c: Coefficients) -> Array:
    n_experts, q = c.gate.shape
    if q == 0 or n_experts == 1:
        return c.gate
    gradient, information = np.zeros(n_experts * q), np.zeros((n_experts * q,) * 2)
    for part, own in zip(rows.parts, h, strict=True):
        weight = np.exp(part.log_weights(c.gate))
        gradient += ((own - weight).T @ part.gate).ravel()
        wide = (weight[:, :, None] * part.gate[:, None, :]).reshape(len(own), -1)
        information -= wide.T @ wide
        own_blocks = _grams(part.gate, weight)
        for k in range(n_experts):
            block = slice(k * q, (k + 1) * q)
            information[block, block] += own_blocks[k]

    def expected(gate: Array) -> Array:
        total = sum(
            (own * part.log_weights(gate)).sum() for part, own in zip(rows.parts, h, strict=True)
        )
        return np.full(n_experts, total)

    step = _solved(information[None], gradient[None])[0].reshape(n_experts, q)
    return _halved(expected, c.gate, step)


def _grams(x: Array, weight: Array) -> Array:
    """Sum of weight times x x' for every expert: (expert, column, column)."""
    return np.stack([x.T @ (x * w[:, None]) for w in weight.T])


def _solved(information: Array, gradient: Array) -> Array:
    """Newton steps; directions without information (the gate's common shift) stand still."""
    values, vectors = np.linalg.eigh(information)
    top = np.maximum(values.max(axis=-1, keepdims=True), 1e-300)
    inverse = np.where(values > 1e-11 * top, 1 / np.maximum(values, 1e-300), 0.0)
    along = np.einsum("kij,ki->kj", vectors, gradient)
    return np.einsum("kij,kj->ki", vectors, inverse * along)


def _halved(value: Callable[[Array], Array], current: Array, step: Array) -> Array:
    """The longest of step, step/2, ... that does not lose; each expert has its own.

    A step that is far too long may leave the numbers' range: that is a loss, no more.
    """
    before, size = value(current), np.ones((len(current), 1))
    for _ in range(30):
        with np.errstate(over="ignore", invalid="ignore"):
            after = value(current + size * step)
        worse = ~(after >= before)
        if not worse.any():
            return current + size * step
        size = np.where(worse[:, None], size / 2, size)
    return np.where(worse[:, None], current, current + size * step)


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
    from bayesmix.compiled import generators
    from bayesmix.models.experts import draws

    columns = [_plain(x.T) for x in (rows.loc, rows.gate, rows.spread)]
    arrays = (generators.addresses(rng), *(_plain(each) for each in coefs), *columns)
    part = np.empty((len(coefs[0]), rows.n), dtype=np.int32)
    if isinstance(rows.expert, Gaussian):
        drawn, floor = np.empty(part.shape), np.array([rows.expert.floor])
        with rng.bit_generator.lock:
            own = (_plain(rows.offset), floor, part, drawn)
            loops.run(draws.gaussian, *arrays, *own)
        return drawn, part
    mean, wide = np.tile(rows.offset, (len(part), 1)), np.zeros(part.shape)
    with rng.bit_generator.lock:
        loops.run(draws.predictors, *arrays, part, mean, wide)
    return rows.expert.draw(rng, rows.rows, mean, wide), part


def _plain(values: Array) -> Array:
    return np.ascontiguousarray(values, dtype=float)
