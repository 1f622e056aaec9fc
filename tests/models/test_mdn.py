"""Mixture density networks: inputs and targets of any number, function space, the engines."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from small_fits import branches
from threadpoolctl import threadpool_limits

import bayesmix as bm
from bayesmix import scoring
from bayesmix.compiled.density import target
from bayesmix.diagnostics.diagnosis import OF_FUNCTIONS
from bayesmix.errors import DataError, MissingCapability, NoDraws
from bayesmix.maxima.modes import rough_starts
from bayesmix.models.mdn.equation import NOISE
from bayesmix.protocols import SAMPLE_DIMS, Posterior
from bayesmix.rng import stream
from bayesmix.tree import build, function_space, read
from bayesmix.variational.stochastic import ascend, paired

SMALL = bm.MDN("x", "y", 2, hidden=(3,), floor=0.01)
QUICK = bm.MLE(restarts=1, optimizer=bm.LBFGS(max_iter=60))
NAMES = ("y", "z")


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Small sums are not worth a second thread, least of all on a machine that is busy."""
    with threadpool_limits(1):
        yield


def fit(model, data, method=QUICK, seed=1):
    """A fit without a progress bar."""
    return bm.fit(model, data, method=method, seed=seed, progress=False)


@functools.cache
def two_targets():
    """A network of two targets and two inputs, one of labels, fitted in a fraction of a second."""
    data = branches()
    data = data.assign(z=1.5 * data["y"] + np.sin(3 * data["x"]), w=np.arange(60.0) ** 1.5)
    return fit(bm.MDN(("x", "kind", "w"), NAMES, 2, (4,), noise="full"), data)


# --- inputs ---------------------------------------------------------------------------------------


def test_labels_become_an_indicator_for_each_level():
    """Numbers go in as they are, a column of labels as one column a level, named so."""
    found = two_targets()
    labels = found.design.coords["input"]
    assert labels == ("x", "kind[a]", "kind[b]", "w")
    assert found.tree["estimate"]["hidden_1_weight"].dims == ("unit_1", "input")
    assert list(found.tree["estimate"]["input"].to_numpy()) == list(labels)
    x = found.design.arrays["X"]
    np.testing.assert_array_equal(x[:, 1] == 1, found.data["kind"] == "a")
    np.testing.assert_array_equal(x[:, 1] + x[:, 2], 1)
    np.testing.assert_array_equal(x[:, [0, 3]], found.data[["x", "w"]])


def test_an_unknown_label_is_refused_at_prediction():
    """A level that training never saw is named, with those that it did."""
    found = two_targets()
    with pytest.raises(DataError, match=r"'kind' has labels .* did not see: 'c'; known: 'a', 'b'"):
        found.predict(found.data.iloc[:3].assign(kind=["a", "c", "b"]))


def test_a_level_that_is_absent_from_new_rows_keeps_its_column():
    """Rows of one level alone are predicted as they are among the others."""
    found = two_targets()
    rows = found.data[found.data["kind"] == "b"]
    whole = found.predict()["mean"].to_numpy()[rows.index]
    np.testing.assert_allclose(found.predict(rows)["mean"], whole, rtol=1e-12)


def test_categories_and_booleans():
    """A category gives its levels in its own order, a boolean is a number."""
    data = branches().assign(up=lambda rows: rows["y"] > 0)
    data["kind"] = pd.Categorical(data["kind"], categories=["b", "a", "never"])
    design = bm.MDN(("kind", "up"), "y", 2).design(data)
    assert design.coords["input"] == ("kind[b]", "kind[a]", "up")


def test_rows_in_another_order_or_alone_are_the_same_rows():
    """Nothing about a row's density or prediction depends on the rows beside it."""
    found = two_targets()
    rows = found.data.iloc[[7, 3, 50]]
    np.testing.assert_allclose(found.log_density(rows), found.log_density()[[7, 3, 50]], rtol=1e-12)
    np.testing.assert_allclose(
        found.predict(rows)["weight"], found.predict()["weight"][[7, 3, 50]], rtol=1e-12
    )


# --- several targets ------------------------------------------------------------------------------


def test_dims_of_two_targets():
    """Predictions and curves have an axis of outputs, labelled; outcomes are variables each."""
    found = two_targets()
    rows = found.data.iloc[:5]
    predicted = found.predict(rows, quantiles=(0.1, 0.9))
    dims = {
        "mean": ("obs", "output"),
        "sd": ("obs", "output"),
        "quantile_of_target": ("quantile", "obs", "output"),
        "weight": ("obs", "component"),
        "loc": ("obs", "component", "output"),
        "scale_quantile": ("quantile", "obs", "component", "output"),
    }
    for name, expected in dims.items():
        assert predicted[name].dims == expected, name
    assert list(predicted["output"].to_numpy()) == list(NAMES)
    assert predicted.sizes == {"obs": 5, "output": 2, "quantile": 2, "component": 2}
    curves = found.curves(rows)
    assert curves["scale"].dims == ("sample", "obs", "component", "output")
    drawn = found.sample(rows, draws=30, seed=2)
    assert set(drawn.data_vars) == {*NAMES, "component"}
    assert drawn["z"].dims == ("draw", "obs") and drawn["z"].shape == (30, 5)
    assert found.log_density(rows).dims == ("obs",)
    assert found.responsibilities(rows)["responsibility"].dims == ("obs", "component")


def test_predictions_of_two_targets_are_the_moments_of_their_outcomes():
    """Mean and sd by target agree with 4,000 simulated outcomes within 5 standard errors."""
    found = two_targets()
    rows = found.data.iloc[[0, 20, 40]]
    predicted, drawn = found.predict(rows), found.sample(rows, draws=4000, seed=3)
    for name in NAMES:
        values, one = drawn[name].to_numpy(), predicted.sel(output=name)
        mean, sd = one["mean"].to_numpy(), one["sd"].to_numpy()
        assert (np.abs(values.mean(axis=0) - mean) < 5 * sd / np.sqrt(4000)).all()
        squares = (values - mean) ** 2
        error = squares.std(axis=0) / np.sqrt(4000)
        assert (np.abs(squares.mean(axis=0) - sd**2) < 5 * error).all()
    # the entry of L is there: outcomes of one component are correlated
    assert abs(np.corrcoef(drawn["y"][:, 0], drawn["z"][:, 0])[0, 1]) > 0.3


ABOUT_ONE = {
    "conditional_density": lambda found: found.conditional_density(found.data, [0.0]),
    "conditional_quantiles": lambda found: found.conditional_quantiles(found.data),
    "target": lambda found: found.target,
    "score": scoring.score,
    "pointwise_scores": scoring.pointwise_scores,
    "plots.predictive": lambda found: bm.plots.predictive(found, "x"),
    "plots.conditional_density": lambda found: bm.plots.conditional_density(found, "x"),
    "plots.residual_pit": bm.plots.residual_pit,
    "plots.component_curves": lambda found: bm.plots.component_curves(found, "x"),
}


@pytest.mark.parametrize("what", ABOUT_ONE)
def test_what_is_about_one_target_says_so(what):
    """Plots and quantiles of one target refuse a fit of two, name both, and what to use."""
    with pytest.raises(
        MissingCapability, match=r"about one target, and the fit has 2 \(y, z\); .*sample\(\)"
    ):
        ABOUT_ONE[what](two_targets())


def test_new_rows_need_no_target():
    """Rows without the target are predicted alike, and refused where they must be scored."""
    found = two_targets()
    bare = found.data[["x", "kind", "w"]]
    xr.testing.assert_identical(found.predict(bare), found.predict())
    for rows in (bare, found.data.drop(columns="z"), found.data.assign(z=np.nan)):
        xr.testing.assert_identical(found.sample(rows, draws=5), found.sample(draws=5))
        for scored in (found.log_density, found.responsibilities):
            with pytest.raises(DataError, match="cannot be scored: give the target, 'y', 'z'"):
                scored(rows)


def test_a_target_cannot_be_called_component():
    """Draws have a variable of that name already."""
    data = branches().rename(columns={"y": "component"})
    with pytest.raises(DataError, match="a target cannot be called so; rename the column"):
        fit(bm.MDN("x", "component"), data)


def test_components_come_in_order_of_loc_at_the_centre():
    """Whatever the seed, the first target's loc at the mean of the inputs rises."""
    data = branches()
    for seed in (1, 2, 3):
        found = fit(bm.MDN("x", "y", 3, (4,)), data, seed=seed)
        centre = pd.DataFrame({"x": [data["x"].mean()]})
        assert (np.diff(found.predict(centre)["loc"][0]) > 0).all()


# --- function space -------------------------------------------------------------------------------


def chains_of_one_network(draws=200, moved=False):
    """Two chains about one network; the second with units that changed places and signs."""
    rng = stream(3, "chains")
    data = branches()
    point = fit(SMALL, data).tree["estimate"]
    params = {
        str(name): value.to_numpy() + 0.02 * rng.normal(size=(2, draws, *value.shape))
        for name, value in point.data_vars.items()
    }
    if moved:
        signs, order = np.array([-1.0, 1.0, -1.0]), [2, 0, 1]
        for name in ("hidden_1_weight", "hidden_1_bias"):
            flip = signs[:, None] if name.endswith("weight") else signs
            params[name][1] = (params[name][1] * flip)[:, order]
        for name in ("logit_weight", "loc_weight", "scale_weight"):
            params[name][1] = (params[name][1] * signs)[..., order]
    design = SMALL.design(data)
    stats = {"lp": np.zeros((2, draws))}
    posterior = Posterior(params, stats, {"lp": SAMPLE_DIMS}, True, attrs={"engine": "mcmc"})
    return posterior, design


def as_fit(posterior, design, *, in_function_space=True):
    """The fit that a sampler would have left with those draws."""
    tree = build.build_tree(posterior, SMALL, design)
    if in_function_space:
        tree[function_space.GROUP] = xr.DataTree(function_space.of(posterior, SMALL, design))
    tree.attrs["seed"] = 1
    return bm.Fit(SMALL, bm.NUTS(), tree)


def test_rhat_is_of_functions_not_of_weights():
    """Units that change places in one chain leave R-hat alone; that of raw weights explodes."""
    still = as_fit(*chains_of_one_network())
    posterior, design = chains_of_one_network(moved=True)
    moved = as_fit(posterior, design)
    # the two draws beside a median are equally far from it but for rounding, which differs from
    # machine to machine: whether they share their rank moves R-hat by up to 2e-4
    np.testing.assert_allclose(moved.summary()["rhat"], still.summary()["rhat"], rtol=1e-3)
    assert moved.summary()["rhat"].max() < 1.05
    raw = as_fit(posterior, design, in_function_space=False)
    # every weight into a unit that moved or flipped
    assert (raw.summary()["rhat"].filter(like="hidden_1") > 1.5).all()
    assert still.tree["functions"]["mean"].shape == moved.tree["functions"]["mean"].shape
    # power: a chain about another function is found out
    other = {name: value.copy() for name, value in posterior.params.items()}
    other["loc_bias"][1] += 0.3
    away = as_fit(replace(posterior, params=other), design)
    assert away.summary()["rhat"].filter(like="mean").min() > 1.5


def test_functions_are_the_predictive_mean_sd_and_density():
    """At eight rows spread over the first input; rows of the summary carry their labels."""
    posterior, design = chains_of_one_network(draws=20)
    found = as_fit(posterior, design).tree["functions"]
    assert found["mean"].dims == (*SAMPLE_DIMS, "at") and found.sizes["at"] == 8
    labels = [str(label) for label in found["at"].to_numpy()]
    assert labels[0] == "x=-1, row 0" and labels[-1] == "x=1, row 59"
    rows = [int(label.split("row ")[1]) for label in labels]
    flat = {name: v.reshape(-1, *v.shape[2:]) for name, v in posterior.params.items()}
    mean, variance = SMALL.moments(flat, design)
    np.testing.assert_allclose(found["mean"].to_numpy().reshape(40, 8), mean[:, rows], rtol=1e-12)
    sd = found["sd"].to_numpy().reshape(40, 8)
    np.testing.assert_allclose(sd, np.sqrt(variance[:, rows]), rtol=1e-12)
    density = found["log_density"].to_numpy().reshape(40, 8)
    np.testing.assert_allclose(density, SMALL.log_density(flat, design)[:, rows], rtol=1e-10)


@functools.cache
def sampled():
    """A short run of NUTS."""
    return fit(SMALL, branches(), bm.NUTS(draws=60, tune=150, chains=2))


def test_nuts_is_summarised_in_function_space():
    """Rows of the summary are functions at rows, and the report says so."""
    found = sampled()
    summary, diagnosis = found.summary(), found.diagnose()
    assert len(summary) == 24
    assert {label.split("[")[0] for label in summary.index} == {"mean", "sd", "log_density"}
    assert "mean[x=-1, row 0]" in summary.index
    assert OF_FUNCTIONS in diagnosis.notes
    assert list(diagnosis.table.index) == list(summary.index)
    # the weights themselves are all there for whoever wants them
    assert found.tree["posterior"]["hidden_1_weight"].shape == (2, 60, 3, 1)
    # and the draws predict: within the range of what was seen
    assert -0.7 < -float(found.log_density().mean()) < 0.2


def test_a_point_is_summarised_in_function_space_too():
    """The summary of one network is of its functions; weights are in the tree, R-hat an error."""
    found = two_targets()
    assert found.tree["functions"]["mean"].dims == ("at", "output")
    summary = found.summary()
    assert list(summary.columns) == ["estimate"] and len(summary) == 8 * 5
    rows = [int(str(label).split("row ")[1]) for label in found.tree["functions"]["at"].to_numpy()]
    expected = found.predict()["mean"].to_numpy()[rows]
    np.testing.assert_allclose(found.tree["functions"]["mean"], expected, rtol=1e-10)
    np.testing.assert_allclose(
        summary["estimate"].filter(like="mean["), expected.ravel(), rtol=1e-10
    )
    assert found.tree["estimate"]["loc_bias"].dims == ("component", "output")
    with pytest.raises(NoDraws, match="point estimate"):
        _ = found.diagnose().table


# --- Laplace and variational inference ------------------------------------------------------------


def test_laplace_of_the_last_layer_keeps_the_hidden_layers_at_the_mode():
    """Hidden weights do not vary, and are those of the mode; heads vary."""
    data = branches()
    found = fit(SMALL, data, bm.Laplace(draws=50, layer="last"))
    design = SMALL.design(data)
    density = target(SMALL, design)
    (start,) = rough_starts(SMALL, design, density, stream(1, "init"))
    mode = {name: value[0] for name, value in density.expand(start).items()}
    posterior = found.tree["posterior"]
    for name, values in posterior.data_vars.items():
        spread = np.ptp(values.to_numpy(), axis=1)
        if str(name).startswith("hidden"):
            assert spread.max() == 0
            np.testing.assert_allclose(values[0, 0], mode[name], rtol=1e-14)
        else:
            assert spread.min() > 0.01
    everything = fit(SMALL, data, bm.Laplace(draws=50))
    assert everything.tree["posterior"]["hidden_1_weight"].std("draw").min() > 0.01


def test_laplace_of_the_last_layer_is_the_conditional_gaussian():
    """Draws of the heads have the covariance of the posterior's own curvature along them."""
    model = bm.MDN("x", "y", 1, hidden=(2,))
    data = branches()
    found = fit(model, data, bm.Laplace(draws=4000, layer="last"))
    design = model.design(data)
    density = target(model, design)
    names = [name for name, size in density.variables for _ in range(size)]
    free = np.flatnonzero(["hidden" not in name for name in names])
    named = model.free(read.draws(found.tree), design)
    draws = np.concatenate([named[key].reshape(4000, -1) for key, _ in density.variables], axis=1)
    centre = draws.mean(axis=0)
    precision = np.empty((len(free), len(free)))
    for i, at in enumerate(free):
        step = np.zeros(density.n_dim)
        step[at] = 1e-4
        above, below = (density.log_density(centre + s * step)[1][free] for s in (1, -1))
        precision[i] = (below - above) / 2e-4
    covariance = np.linalg.inv(precision)
    z = (draws - centre)[:, free] @ np.linalg.cholesky(precision)
    # correlations of standardised draws: 4 standard errors of 4,000 draws and the centre's own
    assert np.abs(z.T @ z / 4000 - np.eye(len(free))).max() < 0.15
    assert (np.diag(covariance) > 0).all()


def test_without_hidden_layers_all_layers_are_the_last():
    """A linear network has one layer, so that both kinds of Laplace give the same draws."""
    model = bm.MDN("x", "y", 2, hidden=())
    one, other = (fit(model, branches(), bm.Laplace(draws=20, layer=k)) for k in ("all", "last"))
    for name in one.tree["posterior"].data_vars:
        np.testing.assert_array_equal(one.tree["posterior"][name], other.tree["posterior"][name])


@pytest.mark.parametrize(
    ("activation", "methods"),
    [
        ("tanh", (bm.ADVI(steps=100, draws=50), bm.DADVI(draws=50, max_iter=15))),
        ("relu", (bm.ADVI(steps=100, draws=50),)),
    ],
)
def test_variational_inference_begins_at_guides(activation, methods):
    """After a hundred steps ADVI is far above where the prior's centre or the MLE lead it."""
    model = bm.MDN("x", "y", 2, hidden=(6,), activation=activation)
    data = branches()
    design = model.design(data)
    density = target(model, design)
    likeliest = fit(model, data).tree["estimate"].data_vars
    named = {str(name): value.to_numpy() for name, value in likeliest.items()}
    best = density.point(model.free(named, design))
    n, least = density.n_dim, []
    for point, spread in ((np.zeros(n), 5.0), (np.zeros(n), 1.0), (best, 0.1), (best, 0.01)):
        gaussian, trace = ascend(
            density.log_densities, paired(stream(1, "advi"), 8, n), point, np.full(n, spread),
            100, 0.02, 0.1, lambda step: None,
        )  # fmt: skip
        assert trace.shape == (100,)
        least.append(gaussian.log_weights(density, stream(2, "fresh"), 2000)[2].mean())
    for method in methods:
        stats = fit(model, data, method).tree["fit_stats"]
        assert float(stats["elbo_final"]) > max(least) + 30


def test_full_rank_ends_higher_than_mean_field():
    """Weights of a network are correlated, and a Gaussian that knows it is nearer by far."""
    model, data = bm.MDN("x", "y", 2, hidden=(4,)), branches()
    methods = (bm.ADVI(steps=1000, draws=200), bm.ADVI(200, "fullrank", draws=200))
    flat, full = (fit(model, data, method) for method in methods)
    ends = [float(found.tree["fit_stats"]["elbo_final"]) for found in (flat, full)]
    assert ends[1] > ends[0] + 5
    again = fit(model, data, methods[1])
    for name in full.tree["posterior"].data_vars:
        np.testing.assert_array_equal(full.tree["posterior"][name], again.tree["posterior"][name])


@pytest.mark.parametrize("noise", NOISE)
def test_every_engine_serves_every_noise_model(noise):
    """Laplace, MAP and DADVI of two targets give finite densities, whatever the noise."""
    data = branches().assign(z=lambda rows: rows["y"] ** 2 + 0.1 * rows["x"])
    wide = 0.3 if noise == "fixed" else None
    model = bm.MDN("x", NAMES, 2, (2,), noise=noise, fixed_scale=wide)
    for method in (
        bm.Laplace(draws=20, layer="last"),
        bm.MAP(restarts=1),
        bm.DADVI(draws=20, max_iter=5),
    ):
        found = fit(model, data, method)
        assert np.isfinite(found.log_density()).all()
        assert found.sample(draws=3)["z"].shape == (3, 60)


# --- which noise model ----------------------------------------------------------------------------


def spec(noise):
    """Two components of two targets, linear in x."""
    return bm.MDN("x", NAMES, 2, (), noise=noise, fixed_scale=0.4 if noise == "fixed" else None)


def simulated(noise, n, seed):
    """Outcomes of that noise model, its scales and correlations well away from the others'."""
    rng = stream(seed, f"noise {noise}")
    data = pd.DataFrame({"x": rng.uniform(-1, 1, n), "y": 0.0, "z": 0.0})
    model = spec(noise)
    design = model.design(data)
    params = {
        "logit_weight": np.array([[0.5], [-0.5]]),
        "logit_bias": np.array([0.2, -0.2]),
        "loc_weight": np.array([[[1.0], [-1.0]], [[-0.5], [0.5]]]),
        "loc_bias": np.array([[-2.0, 1.0], [2.0, -1.0]]),
    }
    bias = {
        "diagonal": np.log([[0.2, 0.8], [0.5, 0.3]]),
        "full": np.log([[0.3, 0.3], [0.5, 0.5]]),
        "isotropic": np.log([0.2, 0.7]),
        "isotropic-shared": np.log(0.4),
    }
    if noise != "fixed":
        params["scale_bias"] = bias[noise]
        params["scale_weight"] = np.full((*np.shape(bias[noise]), 1), 0.4)
    if noise == "full":
        params["tril_bias"] = np.array([[0.6], [-0.5]])
        params["tril_weight"] = np.full((2, 1, 1), 0.2)
    found = model.simulate({k: np.asarray(v)[None] for k, v in params.items()}, design, rng)
    return data.assign(**{name: found[name][0] for name in NAMES})


@pytest.mark.parametrize("truth", NOISE)
def test_the_true_noise_model_wins_on_new_rows(truth):
    """Of the five noise models, that of the data has the best mean log score of 20,000 rows."""
    train, test = simulated(truth, 300, 1), simulated(truth, 20_000, 2)
    method = bm.MLE(restarts=4, optimizer=bm.LBFGS(max_iter=300))
    scores = {noise: fit(spec(noise), train, method).log_density(test) for noise in NOISE}
    best = max(scores, key=lambda noise: float(scores[noise].mean()))
    assert best == truth
    for noise, score in scores.items():
        if noise == truth:
            continue
        ahead = scores[truth] - score
        error = float(ahead.std()) / np.sqrt(20_000)
        assert float(ahead.mean()) > 2 * error, noise
