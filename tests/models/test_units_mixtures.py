"""Rescaling or shifting a column of a mixture's data changes nothing but units."""

from __future__ import annotations

import functools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bayesmix as bm
from bayesmix.rng import stream

MODELS = {
    "gaussian": bm.MixtureOfExperts("y ~ x + kind", 2),
    "curve": bm.MixtureOfExperts("y ~ x + I(x ** 2)", 2, gate="x * w", scale="constant"),
    "interaction": bm.MixtureOfExperts("y ~ x * w", 2, scale="kind"),
    "poly": bm.MixtureOfExperts("y ~ poly(x, 3)", 2, gate="bs(x, df=4)", scale="scale(x)"),
    "groups without intercept": bm.MixtureOfExperts("y ~ 0 + kind + x", 2, gate="x"),
    "one expert": bm.MixtureOfExperts("y ~ x", 1),
    "poisson": bm.MixtureOfExperts("k ~ x + I(x ** 2) + offset(w)", 2, "poisson"),
    "binomial": bm.MixtureOfExperts("p(s, t) ~ x + kind", 2, "binomial"),
    "network": bm.MDN(("x", "kind"), "y", 2, (4,)),
    "network, two targets": bm.MDN(("x", "w"), ("y", "z"), 2, (3, 2), "softplus", noise="full"),
    "network, linear": bm.MDN(("x", "w"), "y", 2, ()),
}
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "own"
EACH = pytest.mark.parametrize("name", MODELS)
SHIFTS = st.floats(-30, 30)
"""In units of the column: farther away, the numbers themselves lose digits."""
SIZES = st.floats(-3, 3).map(lambda power: 10.0**power)


@functools.cache
def table(n: int = 120) -> pd.DataFrame:
    """Two branches in one predictor, with a target for each family."""
    rng = stream(1, "units")
    x, w = rng.normal(size=n), rng.uniform(-0.5, 0.5, n)
    upper, kind = rng.random(n) < 0.5, rng.integers(3, size=n)
    loc = np.where(upper, 2 + x, -2 - 0.5 * x) + 0.3 * kind
    t = rng.integers(5, 20, n)
    found = pd.DataFrame({"x": x, "w": w, "kind": np.array(["a", "b", "c"])[kind], "t": t})
    found["y"], found["z"] = loc + rng.normal(0, 0.3, n), loc**2 + rng.normal(0, 0.5, n)
    found["s"] = rng.binomial(t, 1 / (1 + np.exp(-loc)))
    return found.assign(k=rng.poisson(np.exp(1 + 0.4 * loc + w)))


def measured(shift: float, size: float, level: float = 0.0, unit: float = 1.0) -> pd.DataFrame:
    """The table with its predictor, and its targets, in other units."""
    data = table()
    other = {name: unit * (level + data[name]) for name in ("y", "z")}
    return data.assign(x=size * (shift + data["x"]), **other)


def log_unit(model, size: float) -> float:
    """What the new unit of the targets takes from the log density of a row."""
    if isinstance(model, bm.MixtureOfExperts) and model.expert != "gaussian":
        return 0.0
    return len(model.design(table()).observed) * np.log(size)


@EACH
@settings(max_examples=8, deadline=None)
@given(shift=SHIFTS, size=SIZES, level=SHIFTS, unit=SIZES)
def test_the_joint_density_knows_no_units(name, shift, size, level, unit):
    """At the same point of standard coordinates prior and likelihood differ by a constant alone."""
    model = MODELS[name]
    designs = [model.design(table()), model.design(measured(shift, size, level, unit))]
    free = model.free(model.draw_prior(designs[0], stream(2, "free"), 3), designs[0])
    free = {key: np.clip(value, -1, 1) for key, value in free.items()}
    params = [model.reported(free, design) for design in designs]
    rows = [model.log_density(p, d) for p, d in zip(params, designs, strict=True)]
    np.testing.assert_allclose(rows[1] + log_unit(model, unit), rows[0], rtol=1e-9, atol=1e-9)
    priors = [
        model.log_prior(p, d) + model.log_volume(d) for p, d in zip(params, designs, strict=True)
    ]
    np.testing.assert_allclose(priors[1], priors[0], rtol=1e-9)


def fitted(model, data, method):
    """A fit with the seed of all of them."""
    return bm.fit(model, data, method=method, seed=1, progress=False)


def same_but_units(model, method, tolerance):
    """Fits in minutes and seconds: one score a row but for units, one mean of the target."""
    before, after = table(), measured(-20.0, 60.0, 5.0, 1 / 60)
    one, other = (fitted(model, data, method) for data in (before, after))
    unit = 0.0 if "k" in one.design.observed or "s" in one.design.observed else np.log(1 / 60)
    scores = other.log_density() + len(one.design.observed) * unit
    np.testing.assert_allclose(scores, one.log_density(), rtol=tolerance, atol=tolerance)
    means = [fit.predict()["mean"].to_numpy() for fit in (one, other)]
    back = means[1] if unit == 0.0 else 60 * means[1] - 5.0
    np.testing.assert_allclose(back, means[0], rtol=tolerance, atol=tolerance)


FITS = {
    **{name: (MODELS[name], "em") for name in ("gaussian", "curve", "poly", "poisson", "binomial")},
    **{f"{name}, map": (MODELS[name], "map") for name in ("gaussian", "poisson", "binomial")},
    "pieces": (bm.PiecewiseRegression("y ~ x + kind", 2), "em"),
    "network": (bm.MDN("x", "y", 2, (2,)), bm.MLE(restarts=1, optimizer=bm.LBFGS(max_iter=20))),
    "variational": (MODELS["gaussian"], bm.DADVI(draws=200, tolerance=1e-6)),
}


@pytest.mark.parametrize("name", FITS)
def test_fits_know_no_units(name):
    """EM, the mode, a short descent of a network: the same scores and means, to a millionth."""
    model, method = FITS[name]
    same_but_units(model, method, 1e-6)


def test_given_priors_are_on_data_as_they_are():
    """A prior by hand means what it says: in other units it is another, and shows."""
    model = bm.MixtureOfExperts("y ~ x", 1, scale="constant", priors=bm.Normal(0, 1))
    with pytest.raises(AssertionError):
        same_but_units(model, "map", 1e-2)


def test_all_given_is_the_plain_sum_of_priors():
    """With one prior for all the log prior is that of independent raw coefficients."""
    for model in (
        bm.MixtureOfExperts("y ~ x + kind", 2, priors=bm.Normal(0, 5)),
        bm.MDN(("x", "w"), "y", 2, (4,), priors=bm.Normal(0, 5)),
    ):
        design = model.design(measured(7.0, 60.0))
        params = model.draw_prior(design, stream(3, "given"), 4)
        flat = np.concatenate([value.reshape(4, -1) for value in params.values()], axis=1)
        plain = bm.Normal(0, 5).log_density(flat).sum(axis=1)
        np.testing.assert_allclose(model.log_prior(params, design), plain, rtol=1e-13)
        assert model.log_volume(design) == 0.0


def test_some_given_keep_their_marginal():
    """A slope with a prior of its own has just that one, and the others stay standard."""
    model = bm.MixtureOfExperts("y ~ w + x", 1, priors={"x": bm.Normal(3, 0.5)})
    design = model.design(measured(7.0, 60.0))
    drawn = model.draw_prior(design, stream(3, "given"), 40_000)
    x, w, y = drawn["x"][:, 0], drawn["w"][:, 0], design.arrays["y"]
    assert abs(x.mean() - 3) < 4 * 0.5 / 200
    assert abs(x.std() - 0.5) < 4 * 0.5 / 282
    assert abs(w.std() / (5 * y.std() / table()["w"].std(ddof=0)) - 1) < 4 / 282
    centre = drawn["Intercept"][:, 0] + np.stack([w, x], axis=1) @ design.arrays["X"][:, 1:].mean(0)
    assert abs(centre.mean() - y.mean()) < 4 * 5 * y.std() / 200
    assert abs(centre.std() / (5 * y.std()) - 1) < 4 / 282


def test_the_table_of_priors_is_that_of_draws():
    """Each coefficient's prior in the table has the mean and sd of draws, and is in the fit."""
    model = bm.MixtureOfExperts("y ~ x + kind", 2, priors={"gate": bm.Normal(0, 1)})
    fit = fitted(model, measured(7.0, 60.0), bm.DADVI(draws=50))
    texts = json.loads(fit.tree.attrs["priors"])
    drawn = model.draw_prior(fit.design, stream(4, "table"), 40_000)
    assert texts["gate_x"] == "Normal(0, 1)" == fit.summary()["prior"]["gate_x[0]"]
    for label, values in (("x", drawn["x"][:, 0]), ("kind[1, c]", drawn["kind"][:, 1, 1])):
        loc, scale = map(float, texts[label].removeprefix("Normal(").rstrip(")").split(", "))
        assert abs(values.mean() - loc) < 4 * scale / 200 + 0.005 * abs(loc)
        assert abs(values.std() / scale - 1) < 4 / 282 + 0.005
    network = bm.MDN(("x", "w"), "y", 2, (3,), priors={"logit": bm.Normal(0, 1)})
    design = network.design(measured(7.0, 60.0))
    table_of = network.prior_table(design)
    assert table_of["logit_bias"] == "Normal(0, 1)"
    assert table_of["hidden_1_weight"] == "Normal(0, 5) on standardised data"
    drawn = network.draw_prior(design, stream(5, "table"), 40_000)
    for name in ("loc_bias", "loc_weight", "hidden_1_bias", "scale_bias"):
        loc, scale = map(float, table_of[name].removeprefix("Normal(").rstrip(")").split(", "))
        values = drawn[name].reshape(40_000, -1)[:, 0]
        assert abs(values.mean() - loc) < 4 * scale / 200 + 0.005 * abs(loc)
        assert abs(values.std() / scale - 1) < 4 / 282 + 0.005


def own(name: str) -> pd.DataFrame:
    """A data set of others."""
    path = SHARED / f"{name}.csv"
    assert path.exists(), f"this test needs {path}, which is not part of the project"
    return pd.read_csv(path)


def test_old_faithful_has_two_experts():
    """Draws of Old Faithful in minutes are as likely as EM's point, where N(0, 5) lost 92 nats."""
    model = bm.MixtureOfExperts("waiting ~ duration", 2, scale="constant")
    draws = fitted(model, own("geyser"), bm.NUTS(draws=400))
    best = float(fitted(model, own("geyser"), "em").log_density().sum())
    assert best == pytest.approx(-1067.57, abs=0.01)  # flexmix
    assert best - 4 < float(draws.log_density().sum()) < best + 1
    summary = draws.summary()
    assert (summary["rhat"] < 1.02).all()
    slopes = summary.loc[["duration[0]", "duration[1]"], "sd"]
    assert (slopes < 4).all()  # the prior's is 32
    raw = fitted(replace(model, priors=bm.Normal(0, 5)), own("geyser"), bm.NUTS(draws=400))
    assert float(raw.log_density().sum()) < best - 50


def test_diabetes_is_the_least_squares_line():
    """The line of scikit-learn's diabetes by its bmi, whose columns have length one."""
    from sklearn.datasets import load_diabetes

    data = load_diabetes(as_frame=True)["frame"]
    model = bm.MixtureOfExperts("target ~ bmi", 1, scale="constant")
    fit = fitted(model, data, bm.NUTS(draws=500))
    slope, intercept = np.polyfit(data["bmi"], data["target"], 1)
    summary = fit.summary()
    for name, value in {"Intercept[0]": intercept, "bmi[0]": slope}.items():
        row = summary.loc[name]
        # the prior pulls the slope by one part in 5,000
        assert abs(row["mean"] - value) < 4 * row["mcse_mean"] + 1e-3 * abs(value)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gaussian", "curve", "poisson", "binomial", "network"])
def test_draws_know_no_units(name):
    """By NUTS the log score of each row differs by units and Monte Carlo error alone."""
    before, after = table(), measured(-20.0, 60.0, 5.0, 1 / 60)
    model = bm.MDN("x", "y", 2, (2,)) if name == "network" else MODELS[name]
    fits = [fitted(model, data, bm.NUTS(draws=1000)) for data in (before, after)]
    unit = log_unit(model, 1 / 60)
    totals, errors = [], []
    for fit, extra in zip(fits, (0.0, unit), strict=True):
        params = {str(k): v.to_numpy().reshape(-1, *v.shape[2:]) for k, v in
                  fit.tree["posterior"].data_vars.items()}  # fmt: skip
        value = fit.model.log_density(params, fit.design).sum(axis=1) + len(before) * extra
        totals.append(value.mean())
        errors.append(value.std() / np.sqrt(400))  # an effective size that all of them exceed
    assert abs(totals[0] - totals[1]) < 4 * np.hypot(*errors)
