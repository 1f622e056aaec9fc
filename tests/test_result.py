"""What a fit answers: predictions, outcomes, scores; for rows seen, new rows and new groups."""

from __future__ import annotations

import dataclasses
import tracemalloc
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats
from scipy.special import expit
from small_fits import FORMULA, fitted, from_prior, people, quick

import bayesmix as bm
from bayesmix import prediction
from bayesmix.errors import MissingCapability
from bayesmix.tree import read


@pytest.fixture
def drawn() -> bm.Fit:
    """A fit with draws and groups."""
    return from_prior(FORMULA, people(), draws=400)


def many(n: int, **columns: Any) -> pd.DataFrame:
    """That many rows."""
    rows = people().iloc[np.arange(n) % 8].reset_index(drop=True)
    return rows.assign(**columns)


def test_a_fit_is_frozen(drawn: bm.Fit) -> None:
    """A result cannot be given another tree."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        drawn.tree = xr.DataTree()  # type: ignore[misc]


def test_training_rows_are_the_default(drawn: bm.Fit) -> None:
    """Without rows, a fit is asked about the rows that it was made from."""
    data = people()
    xr.testing.assert_identical(drawn.predict(), drawn.predict(data))
    xr.testing.assert_identical(drawn.sample(draws=9), drawn.sample(data, draws=9))
    xr.testing.assert_identical(drawn.log_density(), drawn.log_density(data))
    xr.testing.assert_identical(drawn.curves(), drawn.curves(data))


def probabilities(found: bm.Fit, data: pd.DataFrame) -> np.ndarray:
    """The equation of the example, written out: (sample, obs)."""
    values = read.draws(found.tree)
    level = data["edu"].cat.codes.to_numpy()
    logit = values["Intercept"][:, None] + values["sex"][:, None] * data["sex"].to_numpy()
    return expit(logit + values["1|edu"][:, level])


def test_predictions_are_those_of_the_equation(drawn: bm.Fit) -> None:
    """Mean and sd of the target, and the probability with its quantiles, from the draws by hand."""
    data = people()
    p, n = probabilities(drawn, data), data["total"].to_numpy()
    found = drawn.predict(quantiles=(0.1, 0.9))
    np.testing.assert_allclose(found["mean"], (n * p).mean(axis=0), rtol=1e-12)
    spread = (n * p * (1 - p)).mean(axis=0) + (n * p).var(axis=0)
    np.testing.assert_allclose(found["sd"], np.sqrt(spread), rtol=1e-12)
    np.testing.assert_allclose(found["probability"], p.mean(axis=0), rtol=1e-12)
    wanted = np.quantile(p, (0.1, 0.9), axis=0)
    np.testing.assert_allclose(found["probability_quantile"], wanted, rtol=1e-12)
    np.testing.assert_array_equal(found["quantile"], (0.1, 0.9))


def test_curves_hold_every_draw(drawn: bm.Fit) -> None:
    """Questions about probabilities are shares of draws, so every draw is there."""
    data = people()
    curves = drawn.curves()
    assert curves["probability"].dims == ("sample", "obs")
    np.testing.assert_allclose(curves["probability"], probabilities(drawn, data), rtol=1e-12)
    np.testing.assert_allclose(expit(curves["logit"]), curves["probability"], rtol=1e-12)


def test_log_density_averages_over_draws(drawn: bm.Fit) -> None:
    """Pointwise log of the mean over draws of the binomial probability, against scipy."""
    data = people()
    mass = stats.binom.pmf(data["high"], data["total"], probabilities(drawn, data))
    assert (mass.max(axis=0) > 0).all()
    np.testing.assert_allclose(drawn.log_density(), np.log(mass.mean(axis=0)), rtol=1e-9)


def test_quantiles_of_the_target_are_those_of_outcomes(drawn: bm.Fit) -> None:
    """The predictive quantiles agree with the exact predictive distribution, to their noise."""
    data = people().assign(total=[5, 10, 20, 50, 5, 10, 20, 50], high=1)
    levels = (0.1, 0.5, 0.9)
    found = drawn.predict(data, quantiles=levels)["quantile_of_target"]
    p, n = probabilities(drawn, data), data["total"].to_numpy()
    for level, row in zip(levels, found.to_numpy(), strict=True):
        error = 4 * np.sqrt(level * (1 - level) / 400)
        assert (stats.binom.cdf(row, n, p).mean(axis=0) >= level - error).all()
        assert (stats.binom.cdf(row - 1, n, p).mean(axis=0) <= level + error).all()


def test_outcomes_of_a_point_estimate_are_spread() -> None:
    """A point estimate predicts outcomes with binomial spread, not one outcome again and again."""
    found = quick("p(high, total) ~ sex", people())
    predicted = found.predict(quantiles=(0.05, 0.95))
    low, high = predicted["quantile_of_target"].to_numpy()
    width = stats.norm.ppf(0.95) * predicted["sd"].to_numpy()
    np.testing.assert_allclose(high - low, 2 * width, rtol=0.1)
    np.testing.assert_allclose((high + low) / 2, predicted["mean"], atol=0.3 * width.min())
    known = predicted["probability_quantile"].to_numpy()
    assert (known[0] < known[1]).all()


def test_outcomes_have_the_targets_name(drawn: bm.Fit) -> None:
    """sample() gives whole outcomes within the trials by (draw, obs), named as the target."""
    found = drawn.sample(draws=25)
    assert list(found.data_vars) == ["high"]
    assert found["high"].dims == ("draw", "obs")
    assert found["high"].shape == (25, 8)
    assert found["high"].dtype.kind == "i"
    assert ((found["high"] >= 0) & (found["high"] <= people()["total"].to_numpy())).all()


@pytest.mark.parametrize(("draws", "wanted"), [(None, 400), (1, 1), (400, 400), (1000, 1000)])
def test_number_of_outcomes(drawn: bm.Fit, draws: int | None, wanted: int) -> None:
    """One outcome a draw unless said otherwise; more outcomes than draws reuse them evenly."""
    assert drawn.sample(draws=draws).sizes["draw"] == wanted


def test_outcomes_of_a_point() -> None:
    """A point estimate gives a thousand outcomes."""
    assert quick("p(high, total) ~ sex", people()).sample().sizes["draw"] == 1000


def test_each_draw_is_used_as_often() -> None:
    """Asked for more outcomes than draws, each draw serves equally often, or once more."""
    params = {"a": np.zeros(40)}
    chosen = prediction.chosen(params, 100, 6, 1)
    assert set(np.bincount(chosen)) == {2, 3}
    assert sorted(prediction.chosen(params, None, 6, 1)) == list(range(40))
    assert len(set(prediction.chosen(params, 30, 6, 1))) == 30


def test_outcomes_have_the_predictive_moments(drawn: bm.Fit) -> None:
    """The mean of many outcomes is the predictive mean, within four standard errors."""
    data = many(8, total=30, high=1)
    outcomes = drawn.sample(data, draws=4000)["high"].to_numpy()
    predicted = drawn.predict(data)
    error = predicted["sd"].to_numpy() / np.sqrt(4000)
    assert (np.abs(outcomes.mean(axis=0) - predicted["mean"].to_numpy()) < 4 * error).all()
    np.testing.assert_allclose(outcomes.std(axis=0), predicted["sd"], rtol=0.1)


def test_seeds_of_outcomes(drawn: bm.Fit) -> None:
    """The same call repeats itself; another seed gives other outcomes."""
    first = drawn.sample(draws=50)
    xr.testing.assert_identical(first, drawn.sample(draws=50))
    xr.testing.assert_identical(first, drawn.sample(draws=50, seed=drawn.seed))
    assert (first["high"] != drawn.sample(draws=50, seed=99)["high"]).mean() > 0.5


def test_rows_without_an_outcome(drawn: bm.Fit) -> None:
    """Prediction needs predictors alone; without trials each row is one trial."""
    bare = people()[["sex", "edu"]]
    found = drawn.predict(bare)
    np.testing.assert_allclose(found["mean"], found["probability"], rtol=1e-12)
    np.testing.assert_allclose(found["probability"], drawn.predict()["probability"], rtol=1e-12)
    assert set(np.unique(drawn.sample(bare)["high"])) == {0, 1}
    trials = people()[["sex", "edu", "total"]]
    np.testing.assert_allclose(drawn.predict(trials)["mean"], drawn.predict()["mean"], rtol=1e-12)


@pytest.mark.parametrize("as_type", ["str", "object", "category"])
def test_groups_are_known_by_their_labels(drawn: bm.Fit, as_type: str) -> None:
    """New rows may hold groups as text or categories of any order: labels count."""
    rows = people().iloc[[5, 0, 3]].astype({"edu": as_type})
    found = drawn.predict(rows)["probability"].to_numpy()
    np.testing.assert_array_equal(found, drawn.predict()["probability"].to_numpy()[[5, 0, 3]])


NEW = people().iloc[:2].assign(edu=["Unheard of", "Also new"])


def test_new_groups_are_drawn_from_their_population(drawn: bm.Fit) -> None:
    """A group never seen has the logit of the population with the spread between groups."""
    values = read.draws(drawn.tree)
    sigma = values["sigma_edu"][:, 0]
    logit = drawn.curves(NEW)["logit"].to_numpy()
    population = values["Intercept"][:, None] + values["sex"][:, None] * NEW["sex"].to_numpy()
    z = (logit - population) / sigma[:, None]
    assert stats.kstest(z.ravel(), "norm").pvalue > 0.01
    assert abs(np.corrcoef(z.T)[0, 1]) < 0.2


@pytest.mark.parametrize("method", ["nuts", "laplace", "mle", "map"])
def test_new_groups_are_less_certain(method: str) -> None:
    """The outcome of a group never seen is spread wider than that of every group seen."""
    found = fitted("BinomialGLM", method)
    new = pd.concat([NEW.iloc[[0]]] * 2, ignore_index=True).assign(sex=[0, 1], total=2000, high=1)
    known = people().assign(total=2000, high=1)
    unseen, seen = found.predict(new), found.predict(known)
    for sex in (0, 1):
        assert (
            unseen["sd"].to_numpy()[sex] > 1.2 * seen["sd"].to_numpy()[people()["sex"] == sex].max()
        )
    low, high = unseen["probability_quantile"].sel(quantile=[0.05, 0.95]).to_numpy()
    assert (high - low > 0.02).all()
    assert np.isfinite(found.log_density(new)).all()


def test_new_groups_are_the_same_at_every_call(drawn: bm.Fit) -> None:
    """New groups are drawn under the fit's own seed: the same question has one answer."""
    xr.testing.assert_identical(drawn.predict(NEW), drawn.predict(NEW))
    again = dataclasses.replace(drawn)
    xr.testing.assert_identical(drawn.predict(NEW), again.predict(NEW))


def test_rows_of_one_new_group_share_its_effect(drawn: bm.Fit) -> None:
    """Two rows of one unseen group have one deviation, draw by draw."""
    twice = pd.concat([NEW.iloc[[0]]] * 2, ignore_index=True)
    logit = drawn.curves(twice)["logit"].to_numpy()
    np.testing.assert_array_equal(logit[:, 0], logit[:, 1])


def test_a_point_without_new_groups_stays_a_point() -> None:
    """A point estimate has one sample for groups seen, and a population for those that are not."""
    found = fitted("BinomialGLM", "mle")
    assert found.curves(people()).sizes["sample"] == 1
    assert found.curves(NEW).sizes["sample"] == 1000


@pytest.mark.parametrize("draws", [None, 23])
def test_chunks_change_nothing(
    drawn: bm.Fit, draws: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However few rows are worked on at a time, every number is the same."""
    rows = many(3 * prediction.BLOCK + 2)
    rows.loc[prediction.BLOCK + 9 :, "edu"] = rows["edu"].cat.add_categories("new").iloc[0]
    asked = [
        lambda: drawn.predict(rows, quantiles=(0.2, 0.8)),
        lambda: drawn.sample(rows, draws=draws),
        lambda: drawn.log_density(rows),
        lambda: drawn.curves(rows),
    ]
    whole = [question() for question in asked]
    sizes = []
    chunks = prediction.chunks

    def counted(*arguments: Any) -> Any:
        for first, part in chunks(*arguments):
            sizes.append(part.n_obs)
            yield first, part

    monkeypatch.setattr(prediction, "chunks", counted)
    monkeypatch.setattr(prediction, "_CHUNK", 1)
    for one, question in zip(whole, asked, strict=True):
        xr.testing.assert_identical(one, question())
    assert max(sizes) == prediction.BLOCK


def test_rows_do_not_depend_on_the_rows_that_follow(drawn: bm.Fit) -> None:
    """Whole blocks of rows are predicted alike, however many more are asked for."""
    n = 2 * prediction.BLOCK
    first, more = drawn.predict(many(n)), drawn.predict(many(3 * n + 5))
    xr.testing.assert_identical(first, more.isel(obs=slice(n)))


def test_equal_rows_have_outcomes_of_their_own(drawn: bm.Fit) -> None:
    """Two rows with the same predictors are drawn apart, wherever they stand."""
    rows = pd.concat([people().iloc[[0]]] * 40, ignore_index=True)
    outcomes = drawn.sample(rows)["high"].to_numpy()
    assert len(np.unique(outcomes.T, axis=0)) == 40


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Predicting many rows holds a few chunks of (sample, obs) values, never all of them."""
    draws = 1000
    monkeypatch.setattr(prediction, "_CHUNK", draws * prediction.BLOCK)
    found = from_prior("p(high, total) ~ sex", people(), draws=draws)
    rows = many(8000, total=10, high=1)
    found.predict(rows.iloc[:100])
    tracemalloc.start()
    found.predict(rows)
    found.log_density(rows)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 14 * 8 * prediction._CHUNK < 8 * draws * len(rows) / 2


def test_quantiles_in_any_order(drawn: bm.Fit) -> None:
    """Quantiles come back in the order asked for, from any sequence of numbers."""
    found = drawn.predict(quantiles=np.array([0.9, 0.1]))
    np.testing.assert_array_equal(found["quantile"], [0.9, 0.1])
    assert (found["quantile_of_target"][0] >= found["quantile_of_target"][1]).all()


def test_data_of_a_fit(drawn: bm.Fit) -> None:
    """The columns that were read, typed as they were given."""
    pd.testing.assert_frame_equal(drawn.data, people()[["edu", "sex", "high", "total"]])


def test_responsibilities_are_for_mixtures(drawn: bm.Fit) -> None:
    """A regression has no components, and says so."""
    with pytest.raises(MissingCapability, match=r"BinomialGLM is no mixture: use predict\(\)"):
        drawn.responsibilities()


def test_a_new_frame_of_old_rows_is_scored_alike(drawn: bm.Fit) -> None:
    """Scoring some of the rows gives their entries, in their order."""
    whole = drawn.log_density().to_numpy()
    some = drawn.log_density(people().iloc[[6, 2]]).to_numpy()
    np.testing.assert_allclose(some, whole[[6, 2]], rtol=1e-12)
