"""The compiled loop that draws outcomes of experts, against NumPy from the same random numbers."""

from __future__ import annotations

import numpy as np
import pytest

from bayesmix.blocks import expert_arrays, expert_draws, lanes
from bayesmix.blocks.gated import Gated
from bayesmix.blocks.outcomes import Gaussian

SAMPLES, ROWS, FLOOR = 40, 70, 0.02


def case(count, columns, gate):
    """Rows, and coefficients (sample, component, column) of loc, gate and spread."""
    rng = np.random.default_rng(count)
    x = [rng.normal(size=(ROWS, c)) for c in (2, columns, 1)]
    rows = Gated(Gaussian(FLOOR), {}, *x, rng.normal(size=ROWS))
    coefs = tuple(rng.normal(size=(SAMPLES, count, c)) for c in (2, columns, 1))
    return rows, (coefs[0], gate * coefs[1], coefs[2])


def laid_out(rows, coefs):
    """Arrays as the loops want them."""
    columns = tuple(np.ascontiguousarray(x.T) for x in (rows.loc, rows.gate, rows.spread))
    return tuple(np.ascontiguousarray(each) for each in coefs), columns


def in_numpy(rows, coefs, state, noisy):
    """Component, loc, spread and noise of each sample and row."""
    uniform, noise = np.empty((SAMPLES, ROWS)), np.empty((SAMPLES, ROWS))
    for s in range(SAMPLES):
        lanes.uniform(state, uniform[s])
        if noisy:
            lanes.normal(state, noise[s])
    return (*expert_arrays._choose(rows, coefs, uniform), noise)


@pytest.mark.parametrize("gate", [1.0, 400.0], ids=["bounded", "extreme"])
@pytest.mark.parametrize(("count", "columns"), [(1, 2), (2, 0), (2, 1), (3, 2), (20, 3)])
def test_outcomes_are_those_of_numpy(count, columns, gate):
    """The same components, and the same outcomes up to rounding, however steep the gate."""
    rows, coefs = case(count, columns, gate)
    plain, by_column = laid_out(rows, coefs)
    state = lanes.new_state(np.random.default_rng(1))
    part, loc, spread, noise = in_numpy(rows, coefs, state.copy(), True)
    found, drawn = np.empty((SAMPLES, ROWS), np.int32), np.empty((SAMPLES, ROWS))
    expert_draws.gaussian(state, plain, by_column, rows.offset, FLOOR, found, drawn)
    np.testing.assert_array_equal(found, part)
    expected = loc + (np.exp(spread) + FLOOR) * noise
    np.testing.assert_allclose(drawn, expected, rtol=1e-10, atol=1e-10)
    assert len(np.unique(found)) == (count if columns else min(count, 2))


def test_predictors_are_those_of_numpy():
    """What families without a scale read: components and predictors."""
    rows, coefs = case(3, 2, 1.0)
    plain, by_column = laid_out(rows, coefs)
    state = lanes.new_state(np.random.default_rng(2))
    part, loc, spread, _ = in_numpy(rows, coefs, state.copy(), False)
    found = np.empty((SAMPLES, ROWS), np.int32)
    mean, wide = np.tile(rows.offset, (SAMPLES, 1)), np.zeros((SAMPLES, ROWS))
    expert_draws.predictors(state, plain, by_column, found, mean, wide)
    np.testing.assert_array_equal(found, part)
    np.testing.assert_allclose(mean, loc, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(wide, spread, rtol=1e-12, atol=1e-12)


def test_two_gates_beyond_all_bounds_are_told_apart():
    """Logits of 900 and 1000 above the first one's: the last has all, not half, of the weight."""
    rows = Gated(
        Gaussian(FLOOR), {}, np.zeros((ROWS, 1)), np.ones((ROWS, 1)), np.zeros((ROWS, 1)),
        np.zeros(ROWS),
    )  # fmt: skip
    gate = np.tile(np.array([[0.0], [900.0], [1000.0]]), (SAMPLES, 1, 1))
    part, _, _ = expert_arrays._choose(
        rows, (gate, gate, gate), np.random.default_rng(1).random((40, 70))
    )
    found, drawn = np.empty((SAMPLES, ROWS), np.int32), np.empty((SAMPLES, ROWS))
    plain, by_column = laid_out(rows, (0 * gate, gate, 0 * gate))
    state = lanes.new_state(np.random.default_rng(3))
    expert_draws.gaussian(state, plain, by_column, rows.offset, FLOOR, found, drawn)
    assert (found == 2).all() and (part == 2).all()
