"""Case weights of a binomial model: a row that counts w times is w rows, whatever asks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from small_fits import cheap

import bayesmix as bm
from bayesmix.compiled.density import of_graph, of_kernel
from bayesmix.errors import DataError, MissingCapability, SpecError
from bayesmix.marginal.likelihood import Marginal
from bayesmix.rng import stream

GROUPED = "p(y, n) ~ x + (x | g)"
FORMULAS = pytest.mark.parametrize("formula", ["p(y, n) ~ x", GROUPED])


def counted() -> pd.DataFrame:
    """Sixty rows in six groups, each to be counted 0 to 3 times."""
    rng = stream(3, "counted")
    g, x = np.arange(60) % 6, rng.normal(size=60)
    p = 1 / (1 + np.exp(-(0.3 + 0.8 * x + np.linspace(-1, 1, 6)[g])))
    n = rng.integers(1, 9, 60)
    names = [f"g{k}" for k in g]
    w = rng.integers(0, 4, 60)
    return pd.DataFrame({"y": rng.binomial(n, p), "n": n, "x": x, "g": names, "w": w})


def repeated() -> pd.DataFrame:
    """The same rows, each as often as it counts."""
    data = counted()
    return data.loc[data.index.repeat(data["w"])].reset_index(drop=True)


def both(formula: str, method: str, **options: str) -> tuple[bm.Fit, bm.Fit]:
    """A fit with weights and one to rows repeated."""
    weighted = bm.BinomialGLM(formula, weights="w", **options)
    plain = bm.BinomialGLM(formula, **options)
    how = {"method": cheap(method), "seed": 1, "progress": False}
    return bm.fit(weighted, counted(), **how), bm.fit(plain, repeated(), **how)


@FORMULAS
@pytest.mark.parametrize("link", ["logit", "cloglog"])
def test_maximum_likelihood_of_weights_is_that_of_repeated_rows(formula, link):
    """Estimates, standard errors, log-likelihood, AIC, BIC and the number of cases."""
    one, other = both(formula, "mle", link=link)
    for group in ("estimate", "standard_error"):
        for name, values in other.tree[group].data_vars.items():
            np.testing.assert_allclose(one.tree[group][name], values, rtol=2e-4, atol=1e-6)
    np.testing.assert_allclose(one.information(), other.information(), rtol=1e-9)
    assert one.information()["n_obs"] == counted()["w"].sum()


@FORMULAS
def test_the_mode_of_weights_is_that_of_repeated_rows(formula):
    """Default priors are of the cases, too, so that the mode is one."""
    one, other = both(formula, "map")
    for name, values in other.tree["estimate"].data_vars.items():
        np.testing.assert_allclose(one.tree["estimate"][name], values, rtol=1e-4, atol=1e-5)


@FORMULAS
@pytest.mark.parametrize("kind", ["kernel", "standard_kernel"])
def test_the_density_that_nuts_sees_is_that_of_repeated_rows(formula, kind):
    """Value and gradient at the same points, in PyMC's coordinates and in those of the pilot."""
    targets = []
    for model, data in (
        (bm.BinomialGLM(formula, weights="w"), counted()),
        (bm.BinomialGLM(formula), repeated()),
    ):
        targets.append(of_kernel(getattr(model, kind)(model.design(data))))
    one, other = targets
    np.testing.assert_allclose(one.initial, other.initial, rtol=1e-5, atol=1e-5)
    for point in one.initial + stream(1, "points").normal(0, 0.4, (5, one.n_dim)):
        (value, slope), (theirs, their_slope) = one.log_density(point), other.log_density(point)
        tight = 1e-11 if kind == "kernel" else 1e-5
        assert value == pytest.approx(theirs, rel=tight)
        scale = np.abs(their_slope).max()
        np.testing.assert_allclose(slope, their_slope, rtol=tight, atol=10 * tight * scale)


def test_pymc_and_the_loop_agree_on_weights_that_are_not_whole():
    """PyMC's graph multiplies log probabilities by the weights, and the loop its counts."""
    data = counted().assign(w=lambda d: d["w"] * 0.37 + 0.2)
    model = bm.BinomialGLM("p(y, n) ~ x + (1 | g)", weights="w")
    design = model.design(data)
    graph = of_graph(model, design, jacobian=False)
    loop = of_kernel(model.kernel(design, jacobian=False))
    assert [name for name, _ in graph.variables] == [name for name, _ in loop.variables]
    points = graph.initial + stream(1, "points").normal(0, 0.4, (5, graph.n_dim))
    values = [(graph.log_density(p), loop.log_density(p)) for p in points]
    for (theirs, slope), (ours, own) in values:
        assert ours == pytest.approx(theirs, rel=1e-10)
        np.testing.assert_allclose(own, slope, rtol=1e-6, atol=1e-9 * np.abs(slope).max())


@FORMULAS
def test_torch_reads_weights_as_the_marginal_likelihood_does(formula):
    """The value and the gradient of NumPy's marginal likelihood are torch's."""
    import torch

    model = bm.BinomialGLM(formula, weights="w")
    design = model.design(counted().assign(w=np.linspace(0.1, 2.5, 60)))
    module, marginal = model.torch_module(design), Marginal(model.grouped(design))
    point = np.concatenate([p.detach().numpy().ravel() for p in module.parameters()])
    value, gradient = marginal(point)
    theirs = module()
    slopes = torch.autograd.grad(theirs, list(module.parameters()))
    assert value == pytest.approx(float(theirs.detach()), rel=1e-10)
    flat = np.concatenate([slope.numpy().ravel() for slope in slopes])
    np.testing.assert_allclose(gradient, flat, rtol=1e-6, atol=1e-6 * np.abs(flat).max())


def test_log_density_is_of_one_case_and_the_total_is_weighted():
    """Row by row one case is scored; their weighted sum is the maximised log-likelihood."""
    one, _ = both("p(y, n) ~ x", "mle")
    pointwise = one.log_density().to_numpy()
    plain = bm.BinomialGLM("p(y, n) ~ x")
    params = {k: np.asarray(v)[None] for k, v in one.tree["estimate"].data_vars.items()}
    np.testing.assert_allclose(pointwise, plain.log_density(params, counted())[0], rtol=1e-12)
    total = pointwise @ counted()["w"]
    assert total == pytest.approx(one.information()["log_likelihood"], rel=1e-12)


def test_a_row_of_weight_zero_changes_nothing():
    """Whatever such a row holds, even what would separate the outcomes."""
    data = counted()[["y", "n", "x", "w"]].query("w > 0")
    wild = pd.DataFrame({"y": [0, 50], "n": [50, 50], "x": [40.0, -40.0], "w": [0, 0]})
    fits = [
        bm.fit(bm.BinomialGLM("p(y, n) ~ x", weights="w"), d, method="mle", seed=1, progress=False)
        for d in (data, pd.concat([data, wild], ignore_index=True))
    ]
    for group in ("estimate", "standard_error"):
        for name, values in fits[0].tree[group].data_vars.items():
            np.testing.assert_allclose(fits[1].tree[group][name], values, rtol=1e-6)
    separated = pd.DataFrame({"y": [0, 0, 1, 1, 1], "x": [1.0, 2, 3, 4, 0], "w": [1, 1, 1, 1, 0]})
    with pytest.raises(DataError, match="separates"):
        bm.fit(bm.BinomialGLM("y ~ x", weights="w"), separated, method="mle", seed=1)


def test_new_rows_need_no_weights_and_files_keep_them(tmp_path):
    """Predictions, draws and scores are of one case; a fit that was saved is the same fit."""
    one, _ = both(GROUPED, "mle")
    rows = counted().drop(columns="w")
    near, again = one.predict(rows), one.predict(rows.assign(w=7.0))
    np.testing.assert_array_equal(near["mean"], again["mean"])
    assert (one.sample(rows, draws=5, seed=1)["y"] <= rows["n"].to_numpy()).all()
    assert len(one.log_density(rows)) == len(rows)
    loaded = bm.load(one.save(tmp_path / "fit.nc"))
    assert loaded.model == one.model
    np.testing.assert_array_equal(loaded.design.case_weight, counted()["w"])
    assert loaded.information()["BIC"] == one.information()["BIC"]


def test_average_effects_weigh_rows_by_their_cases():
    """An average over rows is one over cases."""
    one, other = both("p(y, n) ~ x", "mle")
    for found, expected in ((one.comparisons("x"), other.comparisons("x")),
                            (one.slopes("x"), other.slopes("x"))):  # fmt: skip
        np.testing.assert_allclose(found["estimate"], expected["estimate"], rtol=1e-5)


def test_folds_keep_the_cases_of_a_row_together():
    """kfold multiplies a held-out row's log density by its weight; loo refuses, in words."""
    one, other = both("p(y, n) ~ x", "mle")
    found = bm.compare({"weighted": one}, criterion="kfold", folds=60)
    again = []
    for i in range(60):
        rest, held = counted().drop(index=i).reset_index(drop=True), counted().iloc[[i]]
        fit = bm.fit(one.model, rest, method=cheap("mle"), seed=1, progress=False)
        again.append(float(fit.log_density(held).item()) * counted()["w"][i])
    assert found.table["elpd"].iloc[0] == pytest.approx(sum(again), rel=1e-6)
    drawn = bm.fit(one.model, counted(), method=cheap("laplace"), seed=1, progress=False)
    with pytest.raises(MissingCapability, match="criterion='kfold'"):
        bm.compare({"weighted": drawn})
    with pytest.raises(DataError, match="different outcomes"):
        bm.compare({"weighted": one, "repeated": other}, criterion="bic")
    plain = bm.fit(bm.BinomialGLM("p(y, n) ~ x"), counted(), method="mle", seed=1, progress=False)
    with pytest.raises(DataError, match="count the rows differently"):
        bm.compare({"weighted": one, "plain": plain}, criterion="bic")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (lambda d: d.drop(columns="w"), "'w'"),
        (lambda d: d.assign(w=-d["w"]), "a row cannot count -[123].0 times"),
        (lambda d: d.assign(w=np.where(d.index == 3, np.inf, 1.0)), "'w'"),
        (lambda d: d.assign(w=np.where(d.index == 3, np.nan, 1.0)), "'w'"),
        (lambda d: d.assign(w=0), "every weight is 0"),
        (lambda d: d.assign(w="one"), "'w' must hold numbers"),
    ],
)
def test_columns_that_are_no_weights(values, words):
    """A missing, negative, infinite or empty column of weights, or one of text, is refused."""
    with pytest.raises(DataError, match=words):
        bm.BinomialGLM("p(y, n) ~ x", weights="w").design(values(counted()))


def test_weights_that_are_no_column():
    """Values themselves, or the trials, are not what weights names."""
    with pytest.raises(SpecError, match="weights must be the name of a column or None"):
        bm.BinomialGLM("p(y, n) ~ x", weights=[1.0, 2.0])  # type: ignore[arg-type]
    with pytest.raises(SpecError, match=r"weights='n' is a column of the outcome"):
        bm.BinomialGLM("p(y, n) ~ x", weights="n").design(counted())
