"""Mixtures of experts: what they reduce to, what they recover, and what changes nothing."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pandas as pd
import pytest
from book import EXPERTS
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, special

import bayesmix as bm
from bayesmix.rng import stream

KINDS = ["gaussian", "binomial", "poisson"]


def table(n=80, seed=1):
    """Predictors of every type and a target for every family, with no mixture behind them."""
    rng = stream(seed, "table")
    x, w = rng.normal(size=n), rng.uniform(0.5, 2, n)
    trials = rng.integers(1, 20, n)
    return pd.DataFrame(
        {
            "x": x,
            "log_w": np.log(w),
            "kind": np.array(["a", "b", "c"])[rng.integers(3, size=n)],
            "y": 0.5 + 2 * x + rng.normal(0, 0.7, n),
            "t": trials,
            "s": rng.binomial(trials, special.expit(0.3 + x)),
            "k": rng.poisson(w * np.exp(0.4 + 0.5 * x)),
        }
    )


FORMULAS = {
    "gaussian": "y ~ x + kind",
    "binomial": "p(s, t) ~ x + kind",
    "poisson": "k ~ x + kind + offset(log_w)",
}


def em(model, data, **options):
    """An EM fit."""
    return bm.fit(model, data, method=bm.EM(**options), seed=1, progress=False)


def estimate(fit):
    """Estimates of all coefficients of one expert, by name."""
    return {name: np.ravel(value) for name, value in fit.tree["estimate"].data_vars.items()}


def likelihood(fit):
    """The log-likelihood that a fit ended at."""
    return float(fit.tree["fit_stats"]["log_likelihood"][-1])


# --- one expert is a plain regression -------------------------------------------------------------


@pytest.mark.parametrize("floor", [0.0, 0.01])
def test_one_gaussian_expert_is_least_squares(floor):
    """Coefficients of lstsq, the scale sqrt(SSE / n), and the likelihood that goes with them."""
    data = table()
    fit = em(bm.MixtureOfExperts("y ~ x + kind", 1, scale="constant", floor=floor), data)
    columns = fit.design.arrays["X"]
    coef, sse, *_ = np.linalg.lstsq(columns, data["y"], rcond=None)
    found = estimate(fit)
    ours = np.concatenate([found["Intercept"], found["x"], found["kind"]])
    np.testing.assert_allclose(ours, coef, rtol=1e-8)
    scale = np.sqrt(sse[0] / len(data))
    assert np.exp(found["scale_Intercept"][0]) + floor == pytest.approx(scale, rel=1e-6)
    value = -0.5 * len(data) * (1 + np.log(2 * np.pi * scale**2))
    assert likelihood(fit) == pytest.approx(value, rel=1e-10)
    error = np.sqrt(np.diag(np.linalg.inv(columns.T @ columns))) * scale
    errors = fit.tree["standard_error"]
    np.testing.assert_allclose(np.ravel(errors["x"]), error[1], rtol=1e-6)


def test_one_binomial_expert_is_the_binomial_regression():
    """Estimates, errors and likelihood are those of the GLM."""
    data = table()
    fit = em(bm.MixtureOfExperts("p(s, t) ~ x + kind", 1, "binomial"), data)
    glm = bm.fit(bm.BinomialGLM("p(s, t) ~ x + kind"), data, method="mle", seed=1, progress=False)
    for group in ("estimate", "standard_error"):
        for name in ("Intercept", "x", "kind"):
            ours, theirs = (np.ravel(one.tree[group][name]) for one in (fit, glm))
            np.testing.assert_allclose(ours, theirs, rtol=1e-4)
    assert likelihood(fit) == pytest.approx(likelihood(glm), rel=1e-9)


def test_one_poisson_expert_is_poisson_regression_with_its_offset():
    """Coefficients and likelihood are those of a general optimiser on the written-out density."""
    data = table()
    fit = em(bm.MixtureOfExperts(FORMULAS["poisson"], 1, "poisson"), data)
    columns, y, offset = fit.design.arrays["X"], data["k"].to_numpy(), data["log_w"].to_numpy()

    def negated(coef):
        loc = columns @ coef + offset
        gradient = columns.T @ (y - np.exp(loc))
        return -(y * loc - np.exp(loc) - special.gammaln(y + 1)).sum(), -gradient

    best = optimize.minimize(negated, np.zeros(columns.shape[1]), jac=True, options={"gtol": 1e-7})
    found = estimate(fit)
    ours = np.concatenate([found["Intercept"], found["x"], found["kind"]])
    np.testing.assert_allclose(ours, best.x, rtol=1e-5)
    assert likelihood(fit) == pytest.approx(-best.fun, rel=1e-10)


# --- what changes nothing -------------------------------------------------------------------------


def drawn(kind, k, seed=2, draws=5):
    """A model, its design and draws from its prior."""
    model = bm.MixtureOfExperts(FORMULAS[kind], k, kind)
    design = model.design(table())
    params = model.draw_prior(design, stream(seed, "prior"), draws)
    return model, design, {name: np.clip(value, -3, 3) for name, value in params.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_permuting_experts_changes_no_density(kind):
    """All orders of three experts have one density, row by row, and one prior."""
    model, design, params = drawn(kind, 3)
    expected, prior = model.log_density(params, design), model.log_prior(params, design)
    for order in itertools.permutations(range(3)):
        turned = {name: value[:, list(order)] for name, value in params.items()}
        np.testing.assert_allclose(model.log_density(turned, design), expected, rtol=1e-11)
        np.testing.assert_allclose(model.log_prior(turned, design), prior, rtol=1e-12)


@given(seed=st.integers(0, 2**31), k=st.integers(1, 4))
def test_relabel_undoes_any_shuffle(seed, k):
    """Draws whose experts were shuffled one by one come back in one and the same order."""
    rng = np.random.default_rng(seed)
    data = table(40)
    model = bm.MixtureOfExperts("y ~ x", k, scale="constant")
    design = model.design(data)
    centre = {
        "Intercept": 3.0 * np.arange(k) - 3,
        "x": rng.normal(size=k),
        "gate_Intercept": np.zeros(k),
        "gate_x": np.zeros(k),
        "scale_Intercept": np.full(k, -1.0),
    }
    straight = {n: v + 0.02 * rng.normal(size=(30, *v.shape)) for n, v in centre.items()}
    orders = np.stack([rng.permutation(k) for _ in range(30)])
    shuffled = {n: np.take_along_axis(v, orders, axis=1) for n, v in straight.items()}
    back, order = model.relabel(shuffled, design)
    for name, value in straight.items():
        np.testing.assert_array_equal(back[name], value)
        np.testing.assert_array_equal(np.take_along_axis(shuffled[name], order, 1), value)


def test_experts_are_ordered_by_their_loc_at_the_centre():
    """The mean loc of each expert at the data's centre rises."""
    fit = em(bm.MixtureOfExperts("y ~ x + kind", 3), table())
    coef = fit.design.state.linear[0].gather(fit.tree["estimate"], (3,))
    assert (np.diff(coef @ fit.design.arrays["X"].mean(axis=0)) > 0).all()


@functools.cache
def in_given_units(kind):
    """The likelihood and the slopes of two experts on the table as it is."""
    fit = em(bm.MixtureOfExperts(FORMULAS[kind], 2, kind), table(), restarts=3)
    return likelihood(fit), fit.tree["estimate"]["x"].to_numpy()


@pytest.mark.parametrize(
    ("kind", "shift", "scale"),
    [
        ("gaussian", 0, 1e8),
        ("gaussian", 0, 1e-8),
        ("gaussian", 1e8, 1),
        ("gaussian", 1e8, 1e8),
        ("binomial", 1e8, 1e8),
        ("poisson", 1e8, 1e8),
    ],
)
def test_units_of_the_predictors_change_no_likelihood(kind, shift, scale):
    """A predictor in other units, or counted from elsewhere, gives the same maximum."""
    expected, slopes = in_given_units(kind)
    data = table().assign(x=lambda rows: shift + scale * rows["x"])
    moved = em(bm.MixtureOfExperts(FORMULAS[kind], 2, kind), data, restarts=3)
    # the shifted column keeps as many digits of x as rounding leaves it
    lost = np.finfo(float).eps * (1 + shift / scale)
    assert likelihood(moved) == pytest.approx(expected, rel=1e-9 + 1e3 * lost)
    found = moved.tree["estimate"]["x"] * scale
    np.testing.assert_allclose(found, slopes, atol=1e-4 * np.abs(slopes).max())


@pytest.mark.parametrize("kind", KINDS)
def test_free_parameters_are_those_with_information(kind):
    """``n_free`` is the rank of the observed information at the maximum."""
    model = bm.MixtureOfExperts(FORMULAS[kind], 2, kind)
    fit = em(model, table())
    rows, to_raw = model.whitened(fit.design)
    params = {name: value.to_numpy() for name, value in fit.tree["estimate"].data_vars.items()}
    c = to_raw.whitened(model.coefficients(params, fit.design))
    values = np.linalg.eigvalsh(-rows.expansion(c).hessian)
    # above rounding: the binomial gate separates nearly, so its least information is 1e-10
    assert (values > 1e-13 * values.max()).sum() == model.n_free(fit.design)
    assert fit.tree.attrs["n_parameters"] == model.n_free(fit.design)


# --- draws and moments ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_simulated_targets_have_the_moments_and_weights(kind):
    """Over 20,000 draws, means, variances and shares of components are those of the equation."""
    model, design, params = drawn(kind, 3, draws=1)
    few = design.rows(slice(6))
    free = {name: 0.2 * value for name, value in model.free(params, design).items()}
    near = model.reported(free, design)
    many = {name: np.tile(v, (20_000,) + (1,) * (v.ndim - 1)) for name, v in near.items()}
    one = {name: value[:1] for name, value in many.items()}
    found = model.simulate(many, few, stream(3, "simulate"))
    mean, variance = (part[0] for part in model.moments(one, few))
    target = found[design.target]
    squares, n = (target - mean) ** 2, len(target)
    assert (np.abs(target.mean(axis=0) - mean) < 4 * np.sqrt(variance / n)).all()
    assert (np.abs(squares.mean(axis=0) - variance) < 4.5 * squares.std(axis=0) / np.sqrt(n)).all()
    weight = model.curves(one, few)["weight"][0]
    share = np.stack([(found["component"] == k).mean(axis=0) for k in range(3)], axis=1)
    assert (np.abs(share - weight) < 4 * np.sqrt(weight * (1 - weight) / n) + 1e-4).all()


@pytest.mark.parametrize("kind", KINDS)
def test_component_and_target_go_together(kind):
    """A draw comes from the expert that it is said to come from."""
    model, design, params = drawn(kind, 2, draws=1)
    few = design.rows(slice(4))
    free = {name: 0.2 * value for name, value in model.free(params, design).items()}
    near = model.reported(free, design)
    many = {name: np.tile(v, (20_000,) + (1,) * (v.ndim - 1)) for name, v in near.items()}
    one = {name: value[:1] for name, value in many.items()}
    found = model.simulate(many, few, stream(4, "simulate"))
    loc = model.curves(one, few)["loc"][0]
    for k in range(2):
        own = np.where(found["component"] == k, found[design.target], np.nan)
        count = (~np.isnan(own)).sum(axis=0)
        assert (count > 200).all()
        error = np.nanstd(own, axis=0) / np.sqrt(count)
        assert (np.abs(np.nanmean(own, axis=0) - loc[:, k]) < 4 * error).all()


def test_responsibilities_are_bayes_rule():
    """Weight times density over their sum, at the estimate."""
    fit = em(bm.MixtureOfExperts("y ~ x", 2), table())
    found = fit.responsibilities()["responsibility"]
    curves = fit.curves().isel(sample=0)
    y = fit.data["y"].to_numpy()[:, None]
    z = (y - curves["loc"]) / curves["scale"]
    joint = curves["weight"] * np.exp(-0.5 * z**2) / curves["scale"]
    np.testing.assert_allclose(found, joint / joint.sum("expert"), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.sum("expert"), 1, rtol=1e-14)


# --- new rows -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_new_rows_are_read_as_training_rows_were(kind):
    """Some training rows, given anew and in another order, have their own densities."""
    data = table()
    fit = em(bm.MixtureOfExperts(FORMULAS[kind], 2, kind), data)
    chosen = [5, 3, 40, 3]
    new = fit.log_density(data.iloc[chosen]).to_numpy()
    np.testing.assert_allclose(new, fit.log_density().to_numpy()[chosen], rtol=1e-12)


def test_the_offset_belongs_to_the_experts_alone():
    """An offset in the formula multiplies every expert's mean; the gate has none."""
    data = table()
    fit = em(bm.MixtureOfExperts("k ~ x + offset(log_w)", 2, "poisson"), data)
    plain = bm.MixtureOfExperts("k ~ x", 2, "poisson")
    twice = fit.curves(data.assign(log_w=data["log_w"] + np.log(2)))
    once = fit.curves()
    np.testing.assert_allclose(twice["loc"], 2 * once["loc"], rtol=1e-12)
    np.testing.assert_array_equal(twice["weight"], once["weight"])
    assert list(fit.model.dims(fit.design)) == list(plain.dims(plain.design(data)))


def test_levels_of_experts_and_gate_may_differ():
    """Without an intercept the experts have all levels, the gate beside its own one fewer."""
    fit = em(bm.MixtureOfExperts("y ~ 0 + kind + x", 2, gate="kind", scale="1"), table())
    found = fit.tree["estimate"]
    assert found["kind"].dims == ("expert", "kind_level")
    assert found["kind"]["kind_level"].to_numpy().tolist() == ["a", "b", "c"]
    assert found["gate_kind"]["gate_kind_level"].to_numpy().tolist() == ["b", "c"]


# --- recovery -------------------------------------------------------------------------------------


def simulated(kind, n=3000, seed=5):
    """Data of two known experts: the table, the formula, and the truth by name."""
    rng = stream(seed, "truth")
    x = rng.normal(size=n)
    place = rng.choice(["inland", "shore"], n)
    shore = (place == "shore").astype(float)
    log_w, trials = rng.uniform(-1, 1, n), rng.integers(10, 40, n)
    truth = {
        "Intercept": [-1.0, 1.2],
        "x": [0.8, -0.5],
        "place": [0.6, -0.7],
        "gate_Intercept": [0.2, -0.2],
        "gate_x": [-0.4, 0.4],
    }
    upper = rng.random(n) < special.expit(2 * (-0.2 + 0.4 * x))
    own = upper.astype(int)
    loc = sum(
        np.array(truth[name])[own] * column
        for name, column in (("Intercept", 1.0), ("x", x), ("place", shore))
    )
    data = pd.DataFrame({"x": x, "place": place, "log_w": log_w, "t": trials})
    if kind == "gaussian":
        truth["scale_Intercept"] = [np.log(0.5 - 0.01), np.log(1.0 - 0.01)]
        return data.assign(y=loc + np.array([0.5, 1.0])[own] * rng.normal(size=n)), "y", truth
    if kind == "binomial":
        return data.assign(s=rng.binomial(trials, special.expit(loc))), "p(s, t)", truth
    return data.assign(k=rng.poisson(np.exp(1.5 + loc + log_w))), "k", truth


@pytest.mark.parametrize("kind", KINDS)
def test_em_recovers_known_experts(kind):
    """Every coefficient of two simulated experts lies within 4 standard errors of the truth."""
    data, lhs, truth = simulated(kind)
    offset = " + offset(log_w)" if kind == "poisson" else ""
    if kind == "poisson":
        truth["Intercept"] = [-1.0 + 1.5, 1.2 + 1.5]
    model = bm.MixtureOfExperts(f"{lhs} ~ x + place{offset}", 2, kind, gate="x", scale="constant")
    fit = em(model, data)
    for name, expected in truth.items():
        found = fit.tree["estimate"][name].to_numpy().reshape(2, -1)[:, 0]
        error = fit.tree["standard_error"][name].to_numpy().reshape(2, -1)[:, 0]
        assert (error > 0).all() and (error < 0.3).all(), name
        assert (np.abs(found - expected) < 4 * error).all(), (name, found, expected, error)


def test_a_gate_that_separates_perfectly_still_gives_the_lines():
    """Where x alone decides the expert, the gate's slope has no maximum, but all else is right."""
    rng = stream(6, "separated")
    x = np.linspace(-1, 1, 200)
    y = np.where(x > 0, 2 - x, -1 + 0.5 * x) + rng.normal(0, 0.1, 200)
    fit = em(bm.MixtureOfExperts("y ~ x", 2, scale="constant"), pd.DataFrame({"x": x, "y": y}))
    alone = 0.0
    for side, line in ((x < 0, 0), (x > 0, 1)):
        slope, intercept = np.polyfit(x[side], y[side], 1)
        sse = ((y[side] - intercept - slope * x[side]) ** 2).sum()
        assert float(fit.tree["estimate"]["x"][line]) == pytest.approx(slope, rel=1e-4)
        alone -= 0.5 * side.sum() * (1 + np.log(2 * np.pi * sse / side.sum()))
    # the gate's own part of the likelihood is at most zero, and nothing is left of it
    assert likelihood(fit) == pytest.approx(alone, rel=1e-6)
    chosen = fit.responsibilities()["most_probable"].to_numpy()
    np.testing.assert_array_equal(chosen, (x > 0).astype(int))


# --- the one-to-many problem ----------------------------------------------------------------------


def test_nuts_gives_the_reference_posterior():
    """The book's priors on one-to-many: R-hat 1.01, no divergences, REFERENCE.md's slopes."""
    fit = bm.fit(EXPERTS, bm.datasets.one_to_many(), seed=1, progress=False)
    summary = fit.summary()
    assert float(fit.tree["sample_stats"]["diverging"].sum()) == 0
    assert (summary["rhat"] <= 1.01).all()
    assert summary[["ess_bulk", "ess_tail"]].to_numpy().min() >= 2000
    reference = {"x[0]": (0.419, 0.0056), "x[1]": (-1.544, 0.033), "x[2]": (0.420, 0.0058)}
    for name, (mean, sd) in reference.items():
        row = summary.loc[name]
        # both runs' Monte Carlo errors (REFERENCE.md: ESS 6473), and its last digit
        error = row["sd"] * np.sqrt(1 / row["ess_bulk"] + 1 / 6473)
        assert abs(row["mean"] - mean) < 4 * error + 0.0005
        spread = np.sqrt(1 / (2 * row["ess_tail"]) + 1 / (2 * 6473))
        digit = 0.0005 if sd > 0.01 else 0.00005
        assert abs(row["sd"] - sd) < 4 * spread * sd + digit
    assert fit.diagnose().ok
