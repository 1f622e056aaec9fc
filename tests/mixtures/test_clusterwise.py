"""Clusterwise least squares against every assignment there is, and against its own promises."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayesmix.mixtures import clusterwise


def crossing(n, seed=1, noise=0.1):
    """Rows of two lines that cross: columns (intercept, x), target, and whose row is whose."""
    rng = np.random.default_rng(seed)
    x = np.column_stack([np.ones(n), rng.uniform(-1, 1, n)])
    own = rng.integers(2, size=n)
    lines = np.array([[0.2, 1.0], [-0.3, -0.8]])
    y = (x * lines[own]).sum(axis=1) + noise * rng.normal(size=n)
    return x, y, own


def solved(x, y, lines, count, seed=0, pinned=None):
    """Solutions from many random starts."""
    starts = clusterwise.starts(np.random.default_rng(seed), x, y, lines, count)
    return clusterwise.descend(x, y, starts, pinned)


def test_the_best_of_many_starts_is_the_best_assignment_of_all():
    """On ten rows the least SSE of all 2^10 assignments is found."""
    x, y, _ = crossing(10, noise=0.4)
    least = np.inf
    for own in itertools.product([0, 1], repeat=10):
        member = np.array(own)
        total = 0.0
        for line in (0, 1):
            some = member == line
            coef = np.linalg.lstsq(x[some], y[some], rcond=None)[0]
            total += float(((y[some] - x[some] @ coef) ** 2).sum())
        least = min(least, total)
    assert solved(x, y, 2, 200).sse[0] == pytest.approx(least, rel=1e-9)


def test_exact_lines_are_found_exactly():
    """Without noise the lines come back, with nothing left over but rounding."""
    x, y, _ = crossing(60, noise=0.0)
    best = solved(x, y, 2, 50).coef[0]
    expected = [[-0.3, -0.8], [0.2, 1.0]]
    np.testing.assert_allclose(best[np.argsort(best[:, 0])], expected, rtol=1e-10)


@given(
    seed=st.integers(0, 2**31),
    n=st.integers(4, 40),
    lines=st.integers(1, 4),
    p=st.integers(1, 3),
    ties=st.booleans(),
    pins=st.booleans(),
)
def test_the_sum_of_squares_never_rises(seed, n, lines, p, ties, pins):
    """Whatever the rows, ties, repeated and pinned rows included, no turn makes the fit worse."""
    rng = np.random.default_rng(seed)
    x = np.column_stack([np.ones(n), rng.normal(size=(n, p - 1))])
    y = rng.normal(size=n)
    if ties:
        x, y = np.round(x), np.round(y)
    pinned = np.where(rng.random(n) < 0.5, rng.integers(lines, size=n), -1) if pins else None
    found = solved(x, y, lines, 8, seed=seed, pinned=pinned)
    size = float((y**2).sum()) + 1e-300
    for trace in found.trace:
        assert (np.diff(trace) <= 1e-12 * size).all()
    assert (np.diff(found.sse) >= 0).all()
    chosen, squares = clusterwise.assign(x, y, found.coef, pinned)
    # the fit ends at its own lines: nearest lines leave no more than what is reported
    assert (squares.sum(axis=1) <= found.sse + 1e-10 * size).all()
    assert ((chosen >= 0) & (chosen < lines)).all()


def test_every_row_is_given_its_nearest_line():
    """Assignment compares all lines."""
    x, y, _ = crossing(30)
    coef = np.random.default_rng(2).normal(size=(3, 4, 2))
    chosen, squares = clusterwise.assign(x, y, coef, None)
    residual = (y[None, :, None] - np.einsum("np,rkp->rnk", x, coef)) ** 2
    np.testing.assert_array_equal(chosen, residual.argmin(axis=2))
    np.testing.assert_allclose(squares, residual.min(axis=2), rtol=1e-12)


def test_pinned_rows_keep_their_line():
    """Rows that are held in a line stay in it, however far they are from it."""
    x, y, own = crossing(80, noise=0.05)
    held, wrong = np.arange(80) < 30, np.arange(80) < 4
    pinned = np.where(wrong, 1 - own, np.where(held, own, -1))
    found = solved(x, y, 2, 20, pinned=pinned)
    chosen, squares = clusterwise.assign(x, y, found.coef, pinned)
    np.testing.assert_array_equal(chosen[:, held], np.tile(pinned[held], (20, 1)))
    np.testing.assert_allclose(squares.sum(axis=1), found.sse, rtol=1e-9)
    right = np.where(held, own, -1)
    assert solved(x, y, 2, 20, pinned=right).sse[0] < found.sse[0] / 2


def test_a_line_without_rows_is_put_to_use():
    """A start whose second line is nearest to no row ends with two lines better than one."""
    x, y, _ = crossing(60)
    one = np.linalg.lstsq(x, y, rcond=None)[0]
    found = clusterwise.descend(x, y, np.array([[one, [1e3, 0.0]]]))
    alone = float(((y - x @ one) ** 2).sum())
    assert found.sse[0] < alone / 2


def test_batches_change_nothing(monkeypatch):
    """Starts that are worked on a few at a time give the same solutions."""
    x, y, _ = crossing(50)
    whole = solved(x, y, 3, 12)
    monkeypatch.setattr(clusterwise, "_BATCH", 4 * 50 * 3)
    cut = solved(x, y, 3, 12)
    np.testing.assert_allclose(cut.sse, whole.sse, rtol=1e-12)
    np.testing.assert_allclose(cut.coef, whole.coef, rtol=1e-7, atol=1e-9)
    for one, other in zip(cut.trace, whole.trace, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_distinct_solutions_differ():
    """Starts that ended in one place count once, the best first."""
    values = np.array([1.0, 1.0 + 1e-9, 1.5, 1.5, 2.0])
    found = clusterwise.Lines(np.zeros((5, 1, 1)), values, [])
    assert found.distinct(10) == [0, 2, 4]
    assert found.distinct(2) == [0, 2]


def test_starts_pass_near_the_data():
    """Lines through neighbourhoods: at some row each start predicts within the target's range."""
    x, y, _ = crossing(40)
    coef = clusterwise.starts(np.random.default_rng(3), x, y, 3, 25)
    assert coef.shape == (25, 3, 2)
    nearest = np.abs(y[None, None, :] - coef @ x.T).min(axis=2)
    assert (nearest < y.std()).all()
