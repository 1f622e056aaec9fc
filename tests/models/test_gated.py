"""A mixture of experts in its coefficients: exact derivatives, an EM step that never loses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bayesmix.design import linear
from bayesmix.errors import DataError
from bayesmix.mixtures.components import Binomial, Gaussian, Poisson
from bayesmix.models.experts import equation, units
from bayesmix.models.experts.equation import Coefficients, Gated

FAMILIES = {"gaussian": Gaussian(0.01), "binomial": Binomial(), "poisson": Poisson()}
EPS = np.finfo(float).eps


def columns(rng, n, p):
    """An intercept and p - 1 predictors that are far from orthogonal."""
    x = rng.normal(size=(n, p)) + 0.5
    x[:, :1] = 1.0
    return x


def rows_of(kind, k, *, n=40, p=3, q=2, r=2, seed=1, floor=0.01):
    """Rows whose target is drawn from no mixture in particular."""
    rng = np.random.default_rng(seed)
    loc, gate, spread = columns(rng, n, p), columns(rng, n, q), columns(rng, n, r)
    offset = rng.normal(0, 0.3, n)
    trials = rng.integers(1, 20, n)
    if kind == "gaussian":
        held = {"target": rng.normal(0, 2, n)}
    elif kind == "binomial":
        held = {"target": rng.binomial(trials, rng.beta(1, 1, n)), "trials": trials}
    else:
        held = {"target": rng.poisson(rng.gamma(1.0, 3.0, n))}
    expert = Gaussian(floor) if kind == "gaussian" else FAMILIES[kind]
    spread = spread if kind == "gaussian" else np.empty((n, 0))
    return Gated(expert, held, loc, gate if k > 1 else np.empty((n, 0)), spread, offset)


def coefficients(rows, k, seed=2, size=0.7):
    """Random coefficients for k experts."""
    rng = np.random.default_rng(seed)
    widths = (rows.loc.shape[1], rows.gate.shape[1], rows.spread.shape[1])
    return Coefficients(*(rng.normal(0, size, (k, width)) for width in widths))


def jacobian(function, x, step=1e-3):
    """Central differences of fourth order, shape (*output, x)."""
    found = []
    for i in range(len(x)):
        at = [function(x + s * step * np.eye(len(x))[i]) for s in (1, -1, 2, -2)]
        found.append((8 * (at[0] - at[1]) - (at[2] - at[3])) / (12 * step))
    return np.stack(found, axis=-1)


SIZES = pytest.mark.parametrize("k", [1, 2, 4])
KINDS = pytest.mark.parametrize("kind", FAMILIES)


@KINDS
@SIZES
def test_gradient_and_hessian_are_derivatives(kind, k):
    """Both equal finite differences, for several predictors of each kind."""
    rows = rows_of(kind, k)
    c = coefficients(rows, k)
    value, gradient, hessian = rows.expansion(c)
    assert value == pytest.approx(rows.value(c), rel=1e-12)
    by_value = jacobian(lambda x: rows.value(c.like(x)), c.flat())
    by_gradient = jacobian(lambda x: rows.expansion(c.like(x)).gradient, c.flat())
    # truncation and rounding of the differences, relative to the largest entry
    assert np.abs(gradient - by_value).max() < 1e-8 * np.abs(gradient).max()
    assert np.abs(hessian - by_gradient).max() < 1e-8 * np.abs(hessian).max()


@KINDS
@SIZES
def test_value_is_the_sum_over_rows_and_experts(kind, k):
    """The log-likelihood, written row by row with plain exponentials."""
    rows = rows_of(kind, k, n=9)
    c = coefficients(rows, k, size=0.3)
    total = 0.0
    for i in range(rows.n):
        one = rows.part(slice(i, i + 1))
        logits = c.gate @ one.gate[0]
        weight = np.exp(logits) / np.exp(logits).sum()
        loc, spread = c.loc @ one.loc[0] + one.offset[0], c.spread @ one.spread[0]
        density = np.exp(rows.expert.log_density(one.columns(), loc[None], spread[None]))[0]
        total += np.log(weight @ density)
    assert rows.value(c) == pytest.approx(total, rel=1e-12)


@KINDS
def test_chunks_change_nothing(kind, monkeypatch):
    """Value, derivatives and EM step of rows in chunks are those of the rows at once."""
    c = coefficients(rows_of(kind, 3), 3)
    whole = rows_of(kind, 3)
    expected, stepped = whole.expansion(c), equation.em_step(whole, c)
    assert len(whole.parts) == 1
    monkeypatch.setattr(equation, "_CHUNK", 7)
    cut = rows_of(kind, 3)
    assert [part.n for part in cut.parts] == [7] * 5 + [5]
    found = cut.expansion(c)
    size = np.abs(expected.hessian).max()
    assert found.value == pytest.approx(expected.value, rel=1e-13)
    assert cut.value(c) == pytest.approx(expected.value, rel=1e-13)
    assert np.abs(found.gradient - expected.gradient).max() < 1e-13 * size
    assert np.abs(found.hessian - expected.hessian).max() < 1e-13 * size
    after, value = equation.em_step(cut, c)
    assert value == pytest.approx(stepped[1], rel=1e-13)
    np.testing.assert_allclose(after.flat(), stepped[0].flat(), rtol=1e-7, atol=1e-9)


def rises(rows, c, steps):
    """Assert that no step loses; what rounding of the sum over rows can take is allowed."""
    _, before = equation.em_step(rows, c)
    for _ in range(steps):
        c, value = equation.em_step(rows, c)
        assert value == pytest.approx(before, rel=1e-12)
        after = rows.value(c)
        largest = np.abs(rows.log_parts(c)).max()
        assert after >= before - 100 * EPS * rows.n * largest, (before, after)
        before = after


@given(
    kind=st.sampled_from(list(FAMILIES)),
    k=st.integers(1, 4),
    p=st.integers(1, 4),
    q=st.integers(1, 4),
    r=st.integers(1, 3),
    size=st.sampled_from([0.1, 0.7, 2.0]),
    floor=st.sampled_from([0.0, 0.01, 1.0]),
    seed=st.integers(0, 2**31),
)
@example(kind="gaussian", k=3, p=2, q=2, r=1, size=0.7, floor=0.01, seed=0)
def test_every_em_step_raises_the_log_likelihood(kind, k, p, q, r, size, floor, seed):
    """Whatever the family, the predictors and where it starts, a step never loses."""
    rows = rows_of(kind, k, n=25, p=p, q=q, r=r, seed=seed, floor=floor)
    rises(rows, coefficients(rows, k, seed=seed, size=size), steps=4)


@pytest.mark.parametrize("growth", [1e-20, 1e-9, 1e-3])
def test_em_does_not_lose_where_residuals_are_below_the_floor(growth):
    """The best constant scale is then the floor itself, and a step never leaves it for more."""
    rows = rows_of("gaussian", 1, r=1, floor=0.01)
    exact = rows.loc @ np.array([0.3, -1.0, 2.0]) + rows.offset
    target = exact + np.random.default_rng(1).normal(0, 1e-3, rows.n)
    rows = Gated(rows.expert, {"target": target}, rows.loc, rows.gate, rows.spread, rows.offset)
    best, _ = equation.em_step(
        rows, Coefficients(np.zeros((1, 3)), np.zeros((1, 0)), np.zeros((1, 1)))
    )
    rises(rows, best._replace(spread=np.full((1, 1), np.log(growth))), steps=2)


def test_one_step_is_exact_for_one_gaussian_expert():
    """With one expert and a constant scale the M-step is least squares and the root of SSE / n."""
    rows = rows_of("gaussian", 1, r=1)
    after, _ = equation.em_step(rows, coefficients(rows, 1))
    y = rows.rows["target"] - rows.offset
    coef, squares, *_ = np.linalg.lstsq(rows.loc, y, rcond=None)
    np.testing.assert_allclose(after.loc[0], coef, rtol=1e-10)
    scale = np.exp(after.spread[0, 0]) + 0.01
    assert scale == pytest.approx(np.sqrt(squares[0] / rows.n), rel=1e-10)


@KINDS
def test_experts_in_another_order_are_the_same_mixture(kind):
    """Permuting experts, or shifting every gate alike, changes no likelihood."""
    rows = rows_of(kind, 4)
    c = coefficients(rows, 4)
    value = rows.value(c)
    assert rows.value(c.ordered(np.array([2, 0, 3, 1]))) == pytest.approx(value, rel=1e-13)
    assert rows.value(c._replace(gate=c.gate + np.array([3.0, -2.0]))) == pytest.approx(
        value, rel=1e-12
    )


def test_flat_coefficients_come_back():
    """One vector and back, whatever the widths."""
    c = coefficients(rows_of("gaussian", 3, p=4, q=2, r=1), 3)
    for back, part in zip(c.like(c.flat()), c, strict=True):
        np.testing.assert_array_equal(back, part)


# --- coordinates of unit scale --------------------------------------------------------------------


def labels(rows):
    """A name for each column of the three predictors."""
    return tuple(
        tuple(f"{kind}{i}" for i in range(x.shape[1]))
        for kind, x in (("x", rows.loc), ("g", rows.gate), ("s", rows.spread))
    )


@KINDS
@pytest.mark.parametrize("k", [1, 3])
def test_whitening_and_back(kind, k):
    """Orthonormal columns, coefficients there and back, one likelihood, and the Jacobian."""
    rows = rows_of(kind, k)
    white, to_raw = units.whiten(rows, labels(rows))
    for x in (white.loc, white.gate, white.spread):
        np.testing.assert_allclose(x.T @ x, rows.n * np.eye(x.shape[1]), atol=100 * EPS * rows.n)
    c = coefficients(rows, k)
    back = to_raw.raw(to_raw.whitened(c))
    np.testing.assert_allclose(back.flat(), c.flat(), rtol=1e-12)
    assert white.value(to_raw.whitened(c)) == pytest.approx(rows.value(c), rel=1e-12)
    by_unit = np.stack([to_raw.raw(c.like(e)).flat() for e in np.eye(c.flat().size)], axis=1)
    np.testing.assert_allclose(to_raw.jacobian(k), by_unit, rtol=1e-14)


@pytest.mark.parametrize("scale", [1e-150, 1e-8, 1.0, 1e8, 1e150])
def test_columns_of_any_size_are_made_orthonormal(scale):
    """Predictors on very different scales are told from predictors that repeat one another."""
    x = columns(np.random.default_rng(3), 50, 3) * [1.0, scale, 1.0]
    z, back = linear.orthonormal(x, ("a", "b", "c"))
    np.testing.assert_allclose(z.T @ z, 50 * np.eye(3), atol=1e-11)
    np.testing.assert_allclose(x @ back, z, atol=1e-9)


REPEATS = {
    "a constant beside the intercept": lambda x: np.column_stack([x, np.full(len(x), 7.0)]),
    "twice another": lambda x: np.column_stack([x, 2 * x[:, 1]]),
    "a sum of others": lambda x: np.column_stack([x, x[:, 1] - x[:, 2] + 3]),
    "nothing but zeros": lambda x: np.column_stack([x, np.zeros(len(x))]),
}


@pytest.mark.parametrize("what", REPEATS)
def test_a_column_that_repeats_others_is_named(what):
    """The error names the column that the data say nothing about."""
    x = REPEATS[what](columns(np.random.default_rng(4), 30, 3))
    with pytest.raises(DataError, match="do not determine the coefficient of 'culprit'"):
        linear.orthonormal(x, ("Intercept", "u", "v", "culprit"))


def test_more_columns_than_rows_are_refused():
    """Three rows do not determine four coefficients."""
    x = columns(np.random.default_rng(5), 3, 4)
    with pytest.raises(DataError, match="fewer rows than columns"):
        linear.orthonormal(x, ("Intercept", "u", "v", "w"))
