"""The default of networks: as many steps as rows held out can bear, and never worse than a line."""

from __future__ import annotations

import functools

import numpy as np
import pandas as pd
import pytest
from small_fits import branches
from threadpoolctl import threadpool_limits

import bayesmix as bm
from bayesmix.models.mdn.equation import ACTIVATIONS
from bayesmix.models.mdn.task import Trainable
from bayesmix.networks import folds, full_batch
from bayesmix.rng import stream

INPUTS = tuple("abcdef")
BOOK = bm.MLE(optimizer=bm.LBFGS())
QUICK = bm.EarlyStopping(weight_decays=(3, 30), max_iter=60, folds=3)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Small sums are not worth a second thread, least of all on a machine that is busy."""
    with threadpool_limits(1):
        yield


def noisy(n, name, noise=1.0):
    """A target that half depends on the first of six inputs."""
    rng = stream(5, name)
    table = pd.DataFrame(rng.normal(size=(n, 6)), columns=list(INPUTS))
    return table.assign(y=0.7 * table["a"] + noise * rng.normal(size=n))


def line_nll(train, test, inputs=INPUTS, target="y"):
    """NLL of new rows under least squares with Gaussian noise."""
    known, new = (np.column_stack([np.ones(len(t)), t[list(inputs)]]) for t in (train, test))
    found = np.linalg.lstsq(known, train[target].to_numpy())[0]
    scale = (train[target] - known @ found).std(ddof=0)
    z = (test[target] - new @ found) / scale
    return float((0.5 * z**2 + np.log(scale) + 0.5 * np.log(2 * np.pi)).mean())


def nll(fit, data=None):
    """Mean negative log density."""
    return -float(fit.log_density(data).mean())


@functools.cache
def default():
    """A call without options on 150 rows of noise."""
    return bm.fit(bm.MDN(INPUTS, "y"), noisy(150, "train"), seed=1, progress=False)


@functools.cache
def book():
    """The same data, 500 steps on all rows from the best of three starts."""
    model = bm.MDN(INPUTS, "y")
    return bm.fit(model, noisy(150, "train"), method=BOOK, seed=1, progress=False)


# --- on rows that it has not seen -----------------------------------------------------------------


def test_the_default_is_no_worse_than_a_line_where_there_is_only_a_line():
    """On new rows the default is within 0.05 of a straight line; 500 steps lose a nat and more."""
    train, test = noisy(150, "train"), noisy(2000, "test")
    line = line_nll(train, test)
    assert nll(default(), test) < line + 0.05
    assert nll(book(), test) > line + 1.0


def test_the_default_follows_a_curve():
    """Where the inputs say more than a line can, the default beats the line by half a nat."""
    train, test = ((t := noisy(150, name, 0.2)).assign(y=np.sin(2 * t["a"]) + t["y"] - 0.7 * t["a"])
                   for name in ("train", "test"))  # fmt: skip
    fit = bm.fit(bm.MDN(("a", "b"), "y"), train, seed=1, progress=False)
    assert nll(fit, test) < line_nll(train, test, ("a", "b")) - 0.5


def test_where_no_network_wins_the_fit_is_the_line():
    """Twelve inputs and forty rows of a steep line: the density is that of least squares."""
    rng = stream(2, "line")
    names = [f"x{i}" for i in range(12)]
    table = pd.DataFrame(rng.normal(size=(240, 12)), columns=names)
    table["y"] = table[names].to_numpy() @ np.linspace(1, 3, 12) + 0.01 * rng.normal(size=240)
    train, test = table.iloc[:40], table.iloc[40:]
    fit = bm.fit(bm.MDN(tuple(names), "y", floor=1e-6), train, seed=1, progress=False)
    stats = fit.tree["fit_stats"]
    assert float(stats["validation_nll"]) == float(stats["line_nll"])
    assert nll(fit, test) == pytest.approx(line_nll(train, test, names), abs=0.05)
    found = next(f for f in fit.diagnose().findings if f.check == "held_out")
    assert found.level == "pass" and "the fit is that line" in found.message


# --- units ----------------------------------------------------------------------------------------


def test_units_of_inputs_and_target_change_nothing():
    """Fahrenheit for Celsius, pence for pounds: the same predictions, to six digits of a scale."""
    table = noisy(120, "train")
    model = bm.MDN(("a", "b"), "y")
    method = bm.Ensemble(bm.MLE(optimizer=QUICK), 2)
    moved = table.assign(a=32 + 1.8 * table["a"], b=1e-3 * table["b"], y=250 + 100 * table["y"])
    one = bm.fit(model, table, method=method, seed=1, progress=False)
    two = bm.fit(model, moved, method=method, seed=1, progress=False)
    np.testing.assert_allclose(two.log_density() + np.log(100), one.log_density(), atol=1e-6)
    first, second = one.predict(), two.predict()
    np.testing.assert_allclose((second["mean"] - 250) / 100, first["mean"], atol=1e-6)
    np.testing.assert_allclose(second["sd"] / 100, first["sd"], rtol=1e-6)


# --- what rows held out decide --------------------------------------------------------------------


def chosen(data=None, settings=QUICK, members=2):
    """What the rows held out say of a small network."""
    model = bm.MDN("x", "y", 2, (4,))
    table = branches() if data is None else data
    return folds.choose(
        lambda rows: model.trainable(table, rows), len(table), settings, 1, members,
        lambda share: None,
    )  # fmt: skip


def test_every_row_is_held_out_once():
    """`fold` numbers each row's fold; sizes differ by one at most, and the seed decides."""
    fold = default().tree["fit_stats"]["fold"].to_numpy()
    np.testing.assert_array_equal(np.bincount(fold), [30] * 5)
    assert set(np.bincount(folds.folds_of(62, 5, 1))) == {12, 13}
    assert not np.array_equal(folds.folds_of(62, 5, 1), folds.folds_of(62, 5, 2))
    assert folds.folds_of(3, 5, 1).max() == 2


def ascend_from(density, start, steps, n_obs):
    """The point that so many quasi-Newton steps reach, as a full-batch fit takes them."""
    return full_batch.train([density], [n_obs], [[start]], steps, lambda share: None)[0][0].point


def test_the_path_is_the_density_of_rows_that_were_not_trained_on():
    """Training without each fold, by hand, gives the NLL of mixtures that is said of the steps."""
    settings = bm.EarlyStopping(weight_decays=3, max_iter=20, folds=3, patience=20)
    found, data = chosen(settings=settings), branches()
    model, total = bm.MDN("x", "y", 2, (4,)), np.zeros(3)
    for number in range(3):
        kept, held = np.flatnonzero(found.fold != number), np.flatnonzero(found.fold == number)
        task, rows = model.trainable(data, kept), model.design(data).rows(held)
        density = task.likelihood(kept, 3.0)
        starts = [task.start(stream(1, f"init {i} of fold {number}")) for i in range(2)]
        for look in range(3):
            points = [
                ascend_from(density, start, 10 * look, len(kept)) if look else start
                for start in starts
            ]
            raw = [model.named(task.raw(point), rows) for point in points]
            both = {name: np.stack([one[name] for one in raw]) for name in raw[0]}
            mixed = np.logaddexp.reduce(model.log_density(both, rows), axis=0) - np.log(2)
            total[look] -= mixed.sum()
    np.testing.assert_allclose(found.path, total / 60, rtol=1e-8)
    assert found.steps == 10 * int(np.argmin(found.path)) and found.nll == found.path.min()


def test_the_line_is_scored_on_the_same_folds():
    """Least squares without each fold, on data as they are, has the NLL that is said of it."""
    found, data = chosen(), branches()
    each = [line_nll(data[found.fold != k], data[found.fold == k], ["x"]) for k in range(3)]
    assert found.line == pytest.approx(np.mean(each), rel=1e-9)


def test_the_best_decay_is_taken():
    """The strengths are compared on the same folds, and the one with the lowest NLL trains."""
    settings = bm.EarlyStopping(weight_decays=(0.3, 3000.0), max_iter=60, folds=3)
    found = chosen(settings=settings)
    assert found.decay == 0.3 and found.by_decay[0] < found.by_decay[1] - 0.3
    again = chosen(settings=bm.EarlyStopping(weight_decays=(3000.0, 0.3), max_iter=60, folds=3))
    assert again.decay == 0.3 and again.nll == found.nll


def test_an_ensemble_is_watched_as_one():
    """A mixture has a lower NLL on rows held out than one network, and bears more steps."""
    settings = bm.EarlyStopping(weight_decays=0.3, max_iter=100, folds=3)
    table = branches().assign(y=lambda t: t["y"] + 0.3 * stream(1, "noise").normal(size=60))
    one, three = (chosen(table, settings, members) for members in (1, 3))
    assert three.nll < one.nll - 0.02
    assert chosen(table, settings, 9).nll == three.nll


def test_a_decay_is_given_up_when_patience_ends():
    """Networks that overfit are not trained to the last step."""
    table, model = noisy(60, "train"), bm.MDN(INPUTS, "y", 3, (20,))
    settings = bm.EarlyStopping(weight_decays=0, max_iter=400, folds=2, patience=20)
    found = folds.choose(
        lambda rows: model.trainable(table, rows), 60, settings, 1, 1, lambda share: None
    )
    assert 10 * (len(found.path) - 1) < 100
    assert 20 <= 10 * (len(found.path) - 1) - found.steps < 40


def test_all_rows_train_with_what_was_learned():
    """The fit is the book's full-batch fit with the steps and the decay that are reported."""
    model, data = bm.MDN("x", "y", 2, (4,)), branches()
    fit = bm.fit(model, data, method=bm.MLE(optimizer=QUICK), seed=1, progress=False)
    stats = fit.tree["fit_stats"]
    steps = 10 * int(np.argmin(stats["held_out_nll"].to_numpy()))
    optimizer = bm.LBFGS(steps, float(stats["weight_decay"]) / len(data))
    again = bm.fit(model, data, method=bm.MLE(optimizer=optimizer), seed=1, progress=False)
    np.testing.assert_allclose(fit.log_density(), again.log_density(), rtol=1e-12)
    assert float(stats["train_nll"]) == pytest.approx(nll(fit), rel=1e-9)


# --- the line as a network ------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("noise", ["diagonal", "full"])
@pytest.mark.parametrize("hidden", [(), (3,), (5, 2, 4)], ids=str)
def test_a_network_can_be_the_line(activation, noise, hidden):
    """For every activation, depth and noise model the network's density is the line's."""
    data = branches()
    data = data.assign(z=3 + data["y"] + data["x"] ** 2, w=np.arange(60.0))
    model = bm.MDN(("x", "w"), ("y", "z"), 2, hidden, activation, noise, floor=1e-4)
    task: Trainable = model.trainable(data)
    rows = np.arange(60)
    expected = task.line(rows, rows).sum() + 60 * task.log_volume
    found = task.likelihood().log_density(task.as_line(rows))[0]
    assert found == pytest.approx(expected, abs=0.02)


def test_a_network_without_the_units_cannot_be_the_line():
    """One unit does not carry two targets, nor does a scale that is given fit."""
    data = branches().assign(z=lambda t: t["x"] ** 2)
    for model in (
        bm.MDN("x", ("y", "z"), 2, (1,)),
        bm.MDN("x", "y", 2, (3,), noise="fixed", fixed_scale=0.3),
        bm.MDN("x", ("y", "z"), 2, (3,), noise="isotropic"),
    ):
        assert model.trainable(data).as_line(np.arange(60)) is None


# --- what diagnose() says -------------------------------------------------------------------------


def held_out(fit):
    """The finding about rows held out."""
    return next(f for f in fit.diagnose().findings if f.check == "held_out")


def test_a_network_that_lost_to_the_line_fails():
    """500 steps on 150 rows of noise fail, in a sentence of three numbers; the default passes."""
    found = held_out(book())
    assert found.level == "fail" and not book().diagnose().ok
    stats = book().tree["fit_stats"]
    for name in ("validation_nll", "train_nll", "line_nll"):
        assert f"{float(stats[name]):.3f}" in found.message
    assert float(stats["train_nll"]) < float(stats["line_nll"]) < float(stats["validation_nll"])
    assert held_out(default()).level == "pass" and default().diagnose().ok


def test_adam_is_compared_with_the_line_too():
    """Ten inputs of noise and patience without end: rows held out tell, for a network by Adam."""
    adam = bm.Adam(0.03, 16, 5, "constant", validation=0.3, patience=100)
    table = noisy(60, "train", noise=3.0)
    fit = bm.fit(
        bm.MDN(INPUTS, "y"), table, method=bm.MLE(1, optimizer=adam), progress=False, seed=1
    )
    stats = fit.tree["fit_stats"]
    held = stats["fold"].to_numpy() == 0
    assert held.sum() == 18 and set(stats["fold"].to_numpy()) == {0, -1}
    assert float(stats["line_nll"]) == pytest.approx(line_nll(table[~held], table[held]), rel=1e-9)
    assert str(round(float(stats["line_nll"]), 3)) in held_out(fit).message


def test_a_fit_without_rows_held_out_is_not_called_good():
    """Where nothing was held out, the report says so and how to change it."""
    method = bm.MLE(optimizer=bm.LBFGS(20, validation=0))
    fit = bm.fit(bm.MDN("x", "y", 2, (3,)), branches(), method=method, seed=1, progress=False)
    found = held_out(fit)
    assert found.level == "warn" and "No rows were held out" in found.message


def test_targets_with_few_values_or_ties_have_a_note():
    """Six grades, or one value in a tenth of the rows, are named; a measurement is not."""
    table = noisy(120, "train")
    graded = table.assign(y=np.clip(np.round(table["y"] + 5), 3, 8))
    capped = table.assign(y=np.minimum(table["y"], table["y"].quantile(0.85)))

    def notes(data):
        model = bm.MDN("a", "y", 1, ())
        return model.notes(model.design(data))

    assert notes(table) == []
    (grades,), (cap,) = notes(graded), notes(capped)
    assert "y has 6 distinct values in 120 rows, all whole numbers" in grades
    assert "a density of them is a convention" in grades
    assert cap.startswith("18 of 120 rows have y = ")
