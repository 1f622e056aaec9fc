"""The marginal likelihood in NumPy is torch's, with its gradients, whatever the groups."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bayesmix as bm
from bayesmix import rng as random
from bayesmix.marginal.curvature import Effects, GroupCurvature
from bayesmix.marginal.likelihood import Marginal
from bayesmix.marginal.outcomes import GroupedLogit, aggregated

FORMULAS = {
    "no groups": "p(high, total) ~ x",
    "one factor": "p(high, total) ~ x + (1 | big)",
    "correlated slopes": "p(high, total) ~ x + (x | big)",
    "three effects": "p(high, total) ~ x + w + (x + w | small)",
    "crossed": "p(high, total) ~ x + (x | small) + (1 | big)",
    "nested": "p(high, total) ~ x + (1 | small) + (1 | small:inner)",
    "three factors": "p(high, total) ~ x + (1 | small) + (1 | big) + (x | third)",
}


def crossed_table(n: int = 400, seed: int = 1) -> pd.DataFrame:
    """Counts in groups of several factors, with known spreads of 0.7, 0.5 and a slope's 0.4."""
    generator = random.stream(seed, "crossed")
    small, big = generator.integers(0, 20, n), generator.integers(0, 40, n)
    table = pd.DataFrame({"x": generator.normal(size=n), "w": generator.uniform(-1, 1, n)})
    logit = -0.3 + generator.normal(0, 0.7, 40)[big] + generator.normal(0, 0.5, 20)[small]
    logit += (0.5 + generator.normal(0, 0.4, 20)[small]) * table["x"]
    table["total"] = generator.integers(1, 6, n)
    table["high"] = generator.binomial(table["total"], 1 / (1 + np.exp(-logit)))
    labels = {"small": small, "big": big, "third": generator.integers(0, 5, n)}
    labels["inner"] = generator.integers(0, 4, n)
    return table.assign(**{name: [f"{name}{i:02}" for i in at] for name, at in labels.items()})


def objective(formula: str, table: pd.DataFrame) -> Marginal:
    """The marginal likelihood of a formula."""
    return Marginal(bm.BinomialGLM(formula).grouped(table))


def a_point(marginal: Marginal, seed: int = 2) -> np.ndarray:
    """Common effects and triangles of T, none of them special."""
    generator = random.stream(seed, "point")
    spreads = [0.8 if a == b else 0.3 for _, a, b in marginal.entries]
    spreads *= np.exp(generator.normal(0, 0.3, len(spreads)))
    return np.concatenate([generator.normal(0, 0.3, marginal.n_common), spreads])


@pytest.mark.parametrize("formula", FORMULAS.values(), ids=FORMULAS.keys())
def test_value_and_gradient_are_those_of_torch(formula):
    """The blocked factorisation and the written-out derivatives give what autodiff gives."""
    import torch

    table = crossed_table()
    marginal, module = objective(formula, table), bm.BinomialGLM(formula).torch_module(table)
    point = a_point(marginal)
    position = 0
    with torch.no_grad():
        for parameter in module.parameters():
            values = point[position : position + parameter.numel()].reshape(parameter.shape)
            parameter.copy_(torch.as_tensor(values))
            position += parameter.numel()
    assert position == len(point)
    theirs = module()
    gradients = torch.autograd.grad(theirs, list(module.parameters()))
    gradient = np.concatenate([g.numpy().ravel() for g in gradients])
    value, ours = marginal(point)
    assert value == pytest.approx(float(theirs.detach()), rel=1e-10)
    np.testing.assert_allclose(ours, gradient, rtol=1e-6, atol=1e-6 * np.abs(gradient).max())
    for mine, torchs in zip(marginal.conditional(point), module.conditional(), strict=True):
        np.testing.assert_allclose(mine[0], torchs[0], rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(mine[1], torchs[1], rtol=1e-6)


@pytest.mark.parametrize("formula", FORMULAS.values(), ids=FORMULAS.keys())
def test_gradient_is_the_difference_of_values(formula):
    """Central differences of the value give each entry of the gradient."""
    marginal = objective(formula, crossed_table())
    point = a_point(marginal)
    gradient = marginal(point)[1]
    for i in range(len(point)):
        shift = 1e-5 * (np.arange(len(point)) == i)
        rise = (marginal(point + shift)[0] - marginal(point - shift)[0]) / 2e-5
        assert rise == pytest.approx(gradient[i], rel=1e-5, abs=1e-4)


def test_independent_effects_of_one_grouping_are_one_block():
    """Two factors of one grouping equal their correlated block with a zero off its diagonal."""
    data = bm.BinomialGLM(FORMULAS["correlated slopes"]).grouped(crossed_table())
    (both,) = data.effects
    apart = [Effects(both.columns[:, [j]], both.index, both.n_groups) for j in range(2)]
    given = data.common, data.offset, data.successes, data.trials
    split, whole = Marginal(GroupedLogit.of(*given, apart)), Marginal(data)
    value, gradient = split(np.array([0.1, 0.2, 0.7, 0.4]))
    expected, slopes = whole(np.array([0.1, 0.2, 0.7, 0.0, 0.4]))
    assert value == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(gradient, np.delete(slopes, 3), rtol=1e-9)
    assert len(split.solver.effects) == 1
    assert [s.shape for s, _ in split.spreads(np.array([0.1, 0.2, 0.7, 0.4]))] == [(1,), (1,)]


@pytest.mark.parametrize("is_dense", [True, False])
def test_solves_and_inverse_are_those_of_the_whole_matrix(is_dense):
    """The Schur complement, dense or sparse, solves with H, has its determinant and inverse."""
    generator = random.stream(3, "solver")
    sizes, q = (30, 4, 3), (1, 2, 1)
    index = [generator.integers(0, size, 150) for size in sizes]
    columns = [generator.normal(size=(150, n)) for n in q]
    effects = [Effects(c, i, n) for c, i, n in zip(columns, index, sizes, strict=True)]
    solver = GroupCurvature(effects)
    solver.is_dense = is_dense
    weight = generator.uniform(0.1, 1, 150)
    wide = np.concatenate(
        [
            (np.eye(n)[i][:, :, None] * c[:, None, :]).reshape(150, -1)
            for c, i, n in zip(columns, index, sizes, strict=True)
        ],
        axis=1,
    )
    hessian = np.eye(wide.shape[1]) + wide.T @ (weight[:, None] * wide)
    found = solver.factorise(columns, weight)
    assert found.log_det() == pytest.approx(np.linalg.slogdet(hessian)[1], rel=1e-12)
    right = [generator.normal(size=(n, k)) for n, k in zip(sizes, q, strict=True)]
    solved = np.concatenate([part.ravel() for part in found.solve(right)])
    flat = np.concatenate([part.ravel() for part in right])
    np.testing.assert_allclose(solved, np.linalg.solve(hessian, flat), rtol=1e-9, atol=1e-12)
    applied = np.concatenate(found.inverse().applied(columns), axis=1)
    starts = np.cumsum([0, *(n * k for n, k in zip(sizes, q, strict=True))])
    each = wide @ np.linalg.inv(hessian)
    expected = np.concatenate(
        [
            each[np.arange(150)[:, None], starts[f] + index[f][:, None] * q[f] + np.arange(q[f])]
            for f in range(3)
        ],
        axis=1,
    )
    np.testing.assert_allclose(applied, expected, rtol=1e-9, atol=1e-12)


def test_the_inverse_is_the_same_in_chunks(monkeypatch):
    """Holding a few groups of the largest factor at a time changes no number."""
    marginal = objective(FORMULAS["crossed"], crossed_table())
    point = a_point(marginal)
    whole = marginal(point)[1]
    monkeypatch.setattr("bayesmix.marginal.curvature._CHUNK", 40)
    np.testing.assert_allclose(marginal(point)[1], whole, rtol=1e-12)


def test_rows_that_repeat_are_counted_once():
    """Rows equal in everything but the outcome are one row of more trials; others are kept."""
    table = crossed_table(600).round({"x": 0, "w": 0}).assign(small="a", third="b")
    data = bm.BinomialGLM("p(high, total) ~ x + (x | big)").grouped(table)
    few = aggregated(data)
    assert len(few.offset) == len(table[["x", "big"]].drop_duplicates()) < 300
    assert few.trials.sum() == table["total"].sum()
    assert few.successes.sum() == table["high"].sum()
    merged = Marginal(data)
    point = a_point(merged)
    whole = Marginal(data, merge=False)
    assert merged(point)[0] == pytest.approx(whole(point)[0], rel=1e-12)
    np.testing.assert_allclose(merged(point)[1], whole(point)[1], rtol=1e-9)
    distinct = bm.BinomialGLM(FORMULAS["crossed"]).grouped(crossed_table())
    assert len(aggregated(distinct).trials) == 400


def test_a_wrong_gradient_would_be_seen():
    """The tests above have power: without the mode's derivative a gradient is off by 1 %."""
    marginal = objective(FORMULAS["crossed"], crossed_table())
    point = a_point(marginal)
    at, gradient = marginal.at(point), marginal(point)[1]
    bare = marginal.data.common.T @ at.reading.score
    assert np.abs(bare - gradient[:2]).max() > 1e-2 * np.abs(gradient).max()


def test_crossed_groups_recover_their_spreads():
    """3,000 rows of the generated table: each spread within three standard errors of the truth."""
    fit = bm.fit(bm.BinomialGLM(FORMULAS["crossed"]), crossed_table(3000), method="mle", seed=1)
    estimate, error = fit.tree["estimate"], fit.tree["standard_error"]
    truth = {"sigma_big": [0.7], "sigma_small": [0.5, 0.4], "x": 0.5}
    for name, value in truth.items():
        away = np.abs(estimate[name].to_numpy() - value)
        assert (away < 3 * error[name].to_numpy()).all()
        assert (error[name].to_numpy() < 0.3).all()
