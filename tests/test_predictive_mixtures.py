"""What a fitted mixture predicts: outcomes with components, densities, quantiles."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from small_fits import branches

import bayesmix as bm
from bayesmix.errors import DataError, MissingCapability, SpecError
from bayesmix.models.experts import equation
from bayesmix.rng import stream

MODEL = bm.MixtureOfExperts("target ~ x", n_experts=3)


@pytest.fixture(scope="module")
def point() -> bm.Fit:
    """One to many by maximum likelihood."""
    return bm.fit(MODEL, bm.datasets.one_to_many(), method="em", seed=1, progress=False)


@pytest.fixture(scope="module")
def spread() -> bm.Fit:
    """One to many with draws of its coefficients."""
    method = bm.DADVI(draws=300)
    return bm.fit(MODEL, bm.datasets.one_to_many(), method=method, seed=1, progress=False)


def test_components_are_drawn_as_often_as_their_weights(point: bm.Fit) -> None:
    """Frequencies of components lie within 4 standard errors of the gate's weights, row by row."""
    rows, draws = bm.datasets.one_to_many().iloc[::50], 4000
    drawn = point.sample(rows, draws=draws, seed=3)["component"].to_numpy()
    weight = point.predict(rows)["weight"].to_numpy()
    share = (drawn[..., None] == np.arange(3)).mean(axis=0)
    error = np.sqrt(weight * (1 - weight) / draws)
    assert (np.abs(share - weight) <= 4 * error + 1e-9).all()
    flattened = np.exp(weight) / np.exp(weight).sum(axis=1, keepdims=True)
    assert (np.abs(share - flattened) > 4 * error).mean() > 0.8  # mistake 8 would be seen


def test_outcomes_are_drawn_from_their_component(point: bm.Fit) -> None:
    """Given its component, an outcome is normal about that expert's loc with that scale."""
    rows = pd.DataFrame({"x": [0.3, 0.5, 0.7]})
    drawn, curves = point.sample(rows, draws=6000, seed=4), point.predict(rows)
    for i in range(3):
        for k in range(3):
            own = drawn["target"].to_numpy()[:, i][drawn["component"].to_numpy()[:, i] == k]
            if len(own) < 200:
                continue
            z = (own - float(curves["loc"][i, k])) / float(curves["scale"][i, k])
            assert stats.kstest(z, "norm").pvalue > 1e-3
            assert stats.kstest(z + 0.6, "norm").pvalue < 1e-3  # power


@pytest.mark.parametrize("expert", ["binomial", "poisson"])
def test_counts_are_drawn_alike(expert: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Binomial and Poisson experts too: one distribution, whichever loop draws."""
    rng = stream(6, expert)
    data = pd.DataFrame({"x": np.linspace(-1, 1, 80), "n": 12})
    data["y"] = rng.binomial(12, np.where(rng.random(80) < 0.5, 0.2, 0.8))
    formula = "p(y, n) ~ x" if expert == "binomial" else "y ~ x"
    model = bm.MixtureOfExperts(formula, 2, expert=expert)
    fit = bm.fit(model, data, method="em", seed=1, progress=False)
    compiled, runs = equation._draw_compiled, list[int]()

    def counted(*args):
        runs.append(1)
        return compiled(*args)

    monkeypatch.setattr(equation, "_draw_compiled", counted)
    fast = fit.sample(draws=500, seed=2)
    assert runs
    runs.clear()
    monkeypatch.setattr(equation, "_COMPILED", np.inf)
    plain = fit.sample(draws=500, seed=2)
    mean, sd = fit.predict()["mean"].to_numpy(), fit.predict()["sd"].to_numpy()
    weight = fit.predict()["weight"].to_numpy()[:, 1]
    error = np.sqrt(weight * (1 - weight) / 500)
    for drawn in (fast, plain):
        assert (np.abs(drawn["y"].mean("draw") - mean) < 5 * sd / np.sqrt(500)).all()
        assert (np.abs(drawn["component"].mean("draw") - weight) < 5 * error + 1e-9).all()
    assert not runs


def energy(a: np.ndarray, b: np.ndarray) -> float:
    """Energy distance between two samples of points (point, dim)."""
    from scipy.spatial.distance import cdist

    return float(2 * cdist(a, b).mean() - cdist(a, a).mean() - cdist(b, b).mean())


def test_draws_have_the_branches_of_the_data(point: bm.Fit) -> None:
    """By the energy distance draws are near the data, and the mean curve with its sd is not."""
    data = bm.datasets.one_to_many()
    observed = data[["x", "target"]].to_numpy()
    drawn = point.sample(draws=1, seed=1)["target"].to_numpy()[0]
    ours = energy(observed, np.column_stack([data["x"], np.clip(drawn, -0.2, 1.2)]))
    rng = stream(8, "halves")
    apart = []
    for _ in range(20):
        order = rng.permutation(len(observed))
        apart.append(energy(observed[order[:500]], observed[order[500:]]))
    mean = point.predict()["mean"].to_numpy()
    wrong = energy(observed, np.column_stack([data["x"], mean + rng.normal(0, 0.1, len(mean))]))
    assert ours < np.max(apart) < wrong / 3


def test_pit_is_uniform_where_the_model_is_true() -> None:
    """On data simulated from the fitted experts the PIT is uniform; on another model's it is not.

    On one to many itself it is not: its branches are curved and the experts are straight.
    """
    rng = stream(9, "pit")
    x = rng.uniform(-1, 1, 1500)
    upper = rng.random(1500) < 1 / (1 + np.exp(-2 * x))
    y = np.where(upper, 1 + 0.5 * x, -1 - 0.5 * x) + rng.normal(0, 0.2, 1500)
    data = pd.DataFrame({"x": x, "y": y})
    train, test = data.iloc[:1000], data.iloc[1000:]
    pit = {}
    for k in (1, 2):
        fit = bm.fit(bm.MixtureOfExperts("y ~ x", k), train, method="em", seed=1, progress=False)
        design = fit.model.new_design(test, fit.design)
        params = {n: v.to_numpy()[None] for n, v in fit.tree["estimate"].data_vars.items()}
        pit[k] = fit.model.cdf(params, design)(test["y"].to_numpy())[0]
    assert stats.kstest(pit[2], "uniform").pvalue > 1e-3
    assert stats.kstest(pit[1], "uniform").pvalue < 1e-3


def test_conditional_density_integrates_to_one(point: bm.Fit) -> None:
    """The density over a wide grid integrates to one, and equals log_density at the data."""
    rows = pd.DataFrame({"x": [0.45, 0.5, 0.55]})
    grid = np.linspace(-4, 5, 20_001)
    found = point.conditional_density(rows, grid)
    assert found.dims == ("obs", "at")
    np.testing.assert_allclose(found.integrate("at"), 1, atol=1e-3)
    data = bm.datasets.one_to_many().iloc[[10]]
    at = point.conditional_density(data[["x"]], data["target"].to_numpy())
    np.testing.assert_allclose(np.log(at).to_numpy()[0], point.log_density(data))


def test_conditional_quantiles_invert_the_distribution(spread: bm.Fit) -> None:
    """At each quantile the distribution function, averaged over draws, has that level."""
    rows, levels = pd.DataFrame({"x": [0.2, 0.5, 0.8]}), (0.05, 0.5, 0.95)
    found = spread.conditional_quantiles(rows, levels)
    design = spread.model.new_design(rows, spread.design)
    posterior = spread.tree["posterior"]
    params = {n: v.to_numpy().reshape(-1, 3) for n, v in posterior.data_vars.items()}
    for level, at in zip(levels, found.to_numpy(), strict=True):
        share = spread.model.cdf(params, design)(at).mean(axis=0)
        np.testing.assert_allclose(share, level, atol=1e-9)


def test_conditional_quantiles_of_counts_are_counts() -> None:
    """The least count at which the distribution function reaches the level, as SciPy has it."""
    rng = stream(5, "counts")
    x = rng.uniform(-1, 1, 400)
    y = rng.poisson(np.exp(np.where(rng.random(400) < 0.5, 1.0, 3.0) + 0.5 * x))
    data = pd.DataFrame({"x": x, "y": y})
    model = bm.MixtureOfExperts("y ~ x", 2, "poisson")
    fit = bm.fit(model, data, method="em", seed=1, progress=False)
    rows, levels = pd.DataFrame({"x": [-0.9, 0.1, 0.9]}), (0.05, 0.4, 0.9)
    curves = {k: v.to_numpy()[0] for k, v in fit.curves(rows).items()}
    counts = np.arange(200)
    each = stats.poisson.cdf(counts[:, None, None], curves["loc"])
    below = (curves["weight"] * each).sum(axis=2)
    expected = [counts[(below >= level).argmax(axis=0)] for level in levels]
    np.testing.assert_array_equal(fit.conditional_quantiles(rows, levels), expected)


def test_quantiles_read_the_network_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many values are tried, curves are computed twice: for a start and for the values."""
    fit = bm.fit(bm.MDN("x", "y", 2, (4,)), branches(), method="mle", seed=1, progress=False)
    calls, heads = [], bm.MDN.heads
    monkeypatch.setattr(bm.MDN, "heads", lambda *parts: (calls.append(1), heads(*parts))[1])
    found = fit.conditional_quantiles(fit.data, (0.05, 0.25, 0.5, 0.75, 0.95))
    assert (found.diff("quantile") > 0).all()
    assert len(calls) == 2


def test_responsibilities_sum_to_one_and_find_the_branch(point: bm.Fit) -> None:
    """Ends of the curve belong to the flat experts, its middle to the steep one."""
    data = bm.datasets.one_to_many()
    found = point.responsibilities(data.iloc[[0, 500, 999]])
    np.testing.assert_allclose(found["responsibility"].sum("expert"), 1)
    slopes = point.tree["estimate"]["x"].to_numpy()[found["most_probable"].to_numpy()]
    assert slopes[1] < 0 < min(slopes[0], slopes[2])


@pytest.mark.parametrize("at", [[], [np.nan], ["a"], [[1.0], [2.0]]])
def test_bad_grids(point: bm.Fit, at: object) -> None:
    """Values of the target must be finite numbers in one dimension."""
    with pytest.raises(SpecError, match="values of the target as finite numbers"):
        point.conditional_density(pd.DataFrame({"x": [0.1]}), at)


def test_quantiles_of_no_mixture() -> None:
    """Exact quantiles are for mixtures; the error names what else there is."""
    census = bm.datasets.census()
    fit = bm.fit(bm.BinomialGLM("p(high, total) ~ sex"), census, method="mle", seed=1)
    with pytest.raises(MissingCapability, match=r"conditional_quantiles\(\) belongs to mixtures"):
        fit.conditional_quantiles(census)


def test_text_has_no_density() -> None:
    """A target of labels has probabilities, no density over numbers."""
    data = pd.DataFrame({"x": [0.0, 1.0, 2.0, 3.0] * 3, "answer": ["no", "yes", "no"] * 4})
    model = bm.BinomialGLM("answer['yes'] ~ x")
    fit = bm.fit(model, data, method="mle", seed=1, progress=False)
    with pytest.raises(DataError, match="'answer' is text"):
        fit.conditional_density(data[["x"]], [0.0, 1.0])
