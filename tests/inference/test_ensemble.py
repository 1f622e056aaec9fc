"""Ensembles: members trained apart, mixed with equal weights, labelled and in one order."""

from __future__ import annotations

import functools

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from small_fits import branches, people, same_answers, same_tree
from threadpoolctl import threadpool_limits

import bayesmix as bm
from bayesmix.errors import (
    DataError,
    FitFileError,
    MissingCapability,
    NoDraws,
    NotConverged,
    SpecError,
)
from bayesmix.networks.recipe import _member_rows
from bayesmix.rng import integer, stream

NETWORK = bm.MDN("x", "y", 2, hidden=(4,))
EXPERTS = bm.MixtureOfExperts("y ~ x", 2, scale="constant")
GLM = bm.BinomialGLM("p(high, total) ~ age")
# enough steps for every member to part the two branches
ADAM = bm.Adam(epochs=400, learning_rate=1e-2, validation=0)
METHODS = {
    "networks by L-BFGS": (NETWORK, bm.MLE(restarts=1, optimizer=bm.LBFGS(max_iter=40)), False),
    "networks by Adam": (NETWORK, bm.MLE(restarts=2, optimizer=ADAM), False),
    "networks by Adam, bootstrap": (NETWORK, bm.MLE(optimizer=ADAM), True),
    "networks by MAP": (NETWORK, bm.MAP(restarts=1), True),
    "experts by EM": (EXPERTS, bm.EM(restarts=2), True),
    "a GLM by MLE": (GLM, bm.MLE(restarts=1), True),
}
EACH = pytest.mark.parametrize("name", METHODS)
M = 3


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Small sums are not worth a second thread, least of all on a machine that is busy."""
    with threadpool_limits(1):
        yield


def rows_for(model):
    """Data for each family."""
    return people() if model is GLM else branches()


@functools.cache
def ensemble(name, members=M, seed=1):
    """An ensemble, fitted in a fraction of a second."""
    model, method, bootstrap = METHODS[name]
    chosen = bm.Ensemble(method, members, bootstrap)
    return bm.fit(model, rows_for(model), method=chosen, seed=seed, progress=False)


def member(found, i):
    """One member as a fit of its own."""
    estimate = found.tree["estimate"].to_dataset().isel(member=i, drop=True)
    groups = {"estimate": estimate, "fit_stats": xr.Dataset()}
    groups |= {key: found.tree[key].to_dataset() for key in ("observed_data", "constant_data")}
    tree = xr.DataTree.from_dict(groups)
    tree.attrs.update(found.tree.attrs)
    return bm.Fit(found.model, found.method, tree)


# --- the predictive distribution ------------------------------------------------------------------


@EACH
def test_the_predictive_density_is_the_average_of_the_members(name):
    """Log density is the log of the mean of the members' own densities, row by row."""
    found = ensemble(name)
    own = np.stack([member(found, i).log_density().to_numpy() for i in range(M)])
    expected = np.logaddexp.reduce(own, axis=0) - np.log(M)
    np.testing.assert_allclose(found.log_density(), expected, rtol=1e-12)
    # a mixture is no worse than the average member (Jensen)
    assert (found.log_density().to_numpy() >= own.mean(axis=0) - 1e-12).all()


@EACH
def test_members_differ(name):
    """No two members are one fit; their parameters and densities differ."""
    found = ensemble(name)
    own = [member(found, i).log_density().to_numpy() for i in range(M)]
    for i in range(M):
        for j in range(i):
            assert np.abs(own[i] - own[j]).max() > 1e-3


def test_mean_and_spread_are_those_of_the_mixture():
    """The mean is the members' average, the variance theirs plus that of their means."""
    found = ensemble("networks by L-BFGS")
    own = [member(found, i).predict() for i in range(M)]
    mean = np.stack([one["mean"] for one in own])
    sd = np.stack([one["sd"] for one in own])
    np.testing.assert_allclose(found.predict()["mean"], mean.mean(axis=0), rtol=1e-12)
    variance = (sd**2).mean(axis=0) + mean.var(axis=0)
    np.testing.assert_allclose(found.predict()["sd"], np.sqrt(variance), rtol=1e-12)


def test_outcomes_come_from_all_members_alike():
    """With as many draws a member, outcomes are the members' own in equal numbers."""
    found = ensemble("networks by L-BFGS")
    drawn = found.sample(found.data.iloc[:1], draws=6000, seed=2)["y"].to_numpy()[:, 0]
    predicted = found.predict(found.data.iloc[:1])
    mean, sd = float(predicted["mean"][0]), float(predicted["sd"][0])
    assert abs(drawn.mean() - mean) < 5 * sd / np.sqrt(6000)
    squares = (drawn - mean) ** 2
    assert abs(squares.mean() - sd**2) < 5 * squares.std() / np.sqrt(6000)


# --- rows and seeds -------------------------------------------------------------------------------


def test_without_bootstrap_a_deterministic_method_gives_equal_members():
    """Members differ by their starts alone, and a GLM's likelihood has one maximum."""
    found = bm.fit(GLM, people(), method=bm.Ensemble(bm.MLE(restarts=1), 2), seed=1, progress=False)
    slopes = found.tree["estimate"]["age"].to_numpy()
    assert slopes[0] == pytest.approx(slopes[1], rel=1e-6)
    resampled = ensemble("a GLM by MLE").tree["estimate"]["age"].to_numpy()
    assert np.ptp(resampled) > 0.001


def test_bootstrap_members_are_fits_of_rows_drawn_with_replacement():
    """Each member equals the method run on its rows, as many as there are, some of them twice."""
    found = ensemble("a GLM by MLE")
    data = people()
    seen = []
    for i in range(M):
        rows = np.sort(stream(1, f"bootstrap {i}").integers(len(data), size=len(data)))
        seen.append(tuple(rows))
        own = bm.fit(
            GLM,
            data.iloc[rows],
            method=bm.MLE(restarts=1),
            seed=integer(stream(1, f"member {i}")),
            progress=False,
        )
        for name, value in own.tree["estimate"].data_vars.items():
            np.testing.assert_allclose(found.tree["estimate"][name][i], value, rtol=1e-9)
    assert len(set(seen)) == M
    assert all(1 < len(set(rows)) < len(data) for rows in seen)


def test_networks_see_their_own_rows():
    """The reported NLL of each bootstrapped network is that of its rows, not of all."""
    method = bm.Ensemble(bm.MLE(restarts=1, optimizer=bm.LBFGS(max_iter=30)), M, True)
    data = branches()
    found = bm.fit(NETWORK, data, method=method, seed=1, progress=False)
    for i in range(M):
        rows = stream(1, f"bootstrap {i}").integers(len(data), size=len(data))
        own = -float(member(found, i).log_density()[rows].mean())
        assert float(found.tree["fit_stats"]["train_nll"][i]) == pytest.approx(own, rel=1e-9)
        everywhere = -float(member(found, i).log_density().mean())
        assert abs(everywhere - own) > 1e-3


def test_held_out_rows_are_in_no_members_rows():
    """Bootstrapped rows that are held out are left out, and others kept from the whole table."""
    kept = np.setdiff1d(np.arange(100), np.arange(0, 100, 10))
    rng = stream(1, "rows")
    members = [np.sort(rng.integers(100, size=100)) for _ in range(4)]
    found = _member_rows(members, kept)
    assert found.shape[0] == 4 and set(found.ravel()) <= set(kept)
    for own, rows in zip(members, found, strict=True):
        allowed = own[np.isin(own, kept)]
        # a member with rows too many does not lose the end of the table
        assert rows[0] == allowed[0] and rows[-1] == allowed[-1]
    np.testing.assert_array_equal(_member_rows([None, None], kept), kept)


@pytest.mark.parametrize("name", ["networks by L-BFGS", "networks by Adam"])
def test_a_member_does_not_depend_on_how_many_there_are(name):
    """The first two of three members are the members of an ensemble of two."""
    two, three = ensemble(name, 2), ensemble(name, 3)
    for key, value in two.tree["estimate"].data_vars.items():
        np.testing.assert_allclose(value, three.tree["estimate"][key][:2], rtol=1e-3, atol=1e-4)


def test_an_ensemble_scores_better_than_its_members_on_new_rows():
    """On rows not trained on, the mixture's mean log score beats its members' average."""
    data = bm.datasets.one_to_many()
    method = bm.Ensemble(bm.MLE(restarts=1, optimizer=bm.LBFGS(max_iter=150)), 5, True)
    found = bm.fit(bm.MDN(), data.iloc[::4], method=method, seed=1, progress=False)
    rest = data.drop(index=data.index[::4])
    own = [float(member(found, i).log_density(rest).mean()) for i in range(5)]
    assert float(found.log_density(rest).mean()) > np.mean(own) + 0.01


# --- labels ---------------------------------------------------------------------------------------


@EACH
def test_members_are_labelled(name):
    """Every parameter has a leading axis of members, numbered from zero, and so have statistics."""
    found = ensemble(name)
    estimate = found.tree["estimate"]
    assert list(estimate["member"].to_numpy()) == [0, 1, 2]
    assert all(value.dims[0] == "member" for value in estimate.data_vars.values())
    assert any("member" in value.dims for value in found.tree["fit_stats"].data_vars.values())
    summary = found.summary()
    assert list(summary.columns[:2]) == ["mean", "sd"] and (summary["sd"] > 0).any()
    with pytest.raises(NoDraws):
        _ = found.diagnose().table


@pytest.mark.parametrize("name", [n for n in METHODS if "GLM" not in n])
def test_components_are_aligned_over_members(name):
    """Component 0 is the lower branch in every member, so averages over members mean something."""
    found = ensemble(name)
    centre = pd.DataFrame({"x": [0.0]})
    curves = found.curves(centre)["loc"].to_numpy()[:, 0]
    assert curves.shape == (M, 2)
    assert (np.diff(curves, axis=1) > 0.3).all()


def test_functions_of_networks_are_by_member():
    """Summaries of an ensemble of networks are of functions, the members standing for draws."""
    found = ensemble("networks by L-BFGS")
    functions = found.tree["functions"]
    assert functions["mean"].dims == ("member", "at")
    rows = [int(str(label).split("row ")[1]) for label in functions["at"].to_numpy()]
    own = np.stack([member(found, i).predict()["mean"][rows] for i in range(M)])
    np.testing.assert_allclose(functions["mean"], own, rtol=1e-12)
    np.testing.assert_allclose(
        found.summary()["mean"].filter(like="mean["), own.mean(axis=0), rtol=1e-12
    )
    assert "functions" not in ensemble("experts by EM").tree.children


def test_a_checkpoint_of_other_rows_is_refused(tmp_path):
    """An ensemble on all rows does not go on from one on rows drawn with replacement."""
    method = bm.MLE(optimizer=bm.Adam(epochs=2), checkpoint=str(tmp_path / "training.npz"))
    bm.fit(NETWORK, branches(), method=bm.Ensemble(method, 2, True), seed=1, progress=False)
    with pytest.raises(FitFileError, match="belongs to another fit"):
        bm.fit(NETWORK, branches(), method=bm.Ensemble(method, 2), seed=1, progress=False)


# --- round trips ----------------------------------------------------------------------------------


@EACH
def test_a_saved_ensemble_comes_back(name, tmp_path):
    """Tree, specs and every prediction survive the file."""
    found = ensemble(name)
    back = bm.load(found.save(tmp_path / "ensemble.nc"))
    same_tree(found.tree, back.tree)
    assert (back.model, back.method) == (found.model, found.method)
    same_answers(found, back, rows_for(found.model).iloc[:5])


@pytest.mark.parametrize("name", ["networks by Adam, bootstrap", "experts by EM"])
def test_the_same_seed_gives_the_same_members(name):
    """Fitted again, every number is the same; another seed gives other members."""
    model, method, bootstrap = METHODS[name]
    chosen = bm.Ensemble(method, M, bootstrap)
    again = bm.fit(model, rows_for(model), method=chosen, seed=1, progress=False)
    same_tree(ensemble(name).tree, again.tree)
    other = ensemble(name, seed=2).tree["estimate"]
    key = next(iter(other.data_vars))
    assert not np.allclose(other[key], again.tree["estimate"][key])


# --- what goes wrong ------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 0, -2, 2.0, "5", None, True])
def test_the_count_of_members(count):
    """Members are two at least, and a whole number."""
    with pytest.raises(SpecError, match=rf"members must be a whole number >= 2, got {count!r}"):
        bm.Ensemble(bm.MLE(), count)


@pytest.mark.parametrize("method", ["mle", None, bm.MLE, bm.Ensemble(bm.MLE(), 2)])
def test_what_an_ensemble_is_of(method):
    """A method, and no ensemble of ensembles."""
    with pytest.raises(SpecError, match=r"Ensemble: method must be one such as MLE\(\)"):
        bm.Ensemble(method)
    with pytest.raises(SpecError, match="bootstrap must be True or False, got 1"):
        bm.Ensemble(bm.MLE(), 2, 1)


def test_a_method_that_gives_draws_is_refused():
    """Draws are members already."""
    for method, name in (
        (bm.Laplace(draws=20), "Laplace"),
        (bm.NUTS(draws=20, tune=50, chains=1), "NUTS"),
    ):
        with pytest.raises(SpecError, match=f"{name} gives draws, .* such as MLE"):
            bm.fit(GLM, people(), method=bm.Ensemble(method, 2), seed=1, progress=False)


def test_an_ensemble_needs_what_its_method_needs():
    """EM of a network, or MLE of a mixture without torch, is refused as the method itself is."""
    with pytest.raises(MissingCapability):
        bm.fit(NETWORK, branches(), method=bm.Ensemble(bm.EM(), 2), seed=1, progress=False)
    with pytest.raises(MissingCapability):
        bm.fit(GLM, people(), method=bm.Ensemble(bm.EM(), 2), seed=1, progress=False)


def test_the_member_that_fails_is_named():
    """An error says which member could not be fitted."""
    method = bm.Ensemble(bm.MLE(max_iter=1, restarts=1, tolerance=1e-12), 2)
    model = bm.MixtureOfExperts("y ~ x", 4)
    with pytest.raises(NotConverged, match="member 0 of the ensemble: "):
        bm.fit(model, branches(), method=method, seed=1, progress=False)


def test_a_constant_target_is_refused_for_networks():
    """Data are checked as for one network."""
    with pytest.raises(DataError, match="has the same value in every row"):
        bm.fit(
            NETWORK, branches().assign(y=1.0), method=bm.Ensemble(bm.MLE(), 2), seed=1,
            progress=False,
        )  # fmt: skip
