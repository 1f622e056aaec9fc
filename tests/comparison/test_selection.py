"""How many experts: held-out density by folds, BIC and ICL."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import bayesmix as bm
from bayesmix.comparison.folds import evidence, folds_of
from bayesmix.errors import MissingCapability, SpecError
from bayesmix.rng import stream


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    """Two straight branches, well apart."""
    rng = stream(3, "two")
    x = rng.uniform(-1, 1, 240)
    y = np.where(rng.random(240) < 0.5, 1 + x, -1 - 0.5 * x) + rng.normal(0, 0.15, 240)
    return pd.DataFrame({"x": x, "y": y})


@pytest.fixture(scope="module")
def fits(data: pd.DataFrame) -> dict[str, bm.Fit]:
    """One, two and three experts by EM."""
    return {
        f"K={k}": bm.fit(
            bm.MixtureOfExperts("y ~ x", k, scale="constant"), data, method="em", seed=1,
            progress=False,
        )
        for k in (1, 2, 3)
    }  # fmt: skip


@pytest.mark.parametrize("criterion", ["bic", "icl", "kfold"])
def test_the_true_number_of_experts_wins(fits: dict[str, bm.Fit], criterion: str) -> None:
    """Two branches: two experts rank first, one far behind."""
    found = bm.compare(fits, criterion=criterion, folds=5)
    assert found.best == "K=2"
    behind = found.table.loc["K=1"]
    assert behind["elpd_diff"] < -50 if criterion == "kfold" else behind[f"{criterion}_diff"] > 100


def test_bic_is_its_formula(fits: dict[str, bm.Fit], data: pd.DataFrame) -> None:
    """Minus twice the log-likelihood and log n for each free parameter, lowest first."""
    found = bm.compare(fits, criterion="bic").table
    for k in (1, 2, 3):
        value = float(fits[f"K={k}"].tree["fit_stats"]["log_likelihood"][-1])
        row, free = found.loc[f"K={k}"], k * 3 + (k - 1) * 2
        assert row["n_parameters"] == free
        assert row["log_likelihood"] == pytest.approx(value)
        assert row["bic"] == pytest.approx(-2 * value + free * np.log(len(data)))
        assert row["bic_diff"] == pytest.approx(row["bic"] - found["bic"].min())
    assert found["rank"].tolist() == [1, 2, 3] and found["bic"].is_monotonic_increasing


def test_icl_is_bic_with_the_entropy(fits: dict[str, bm.Fit]) -> None:
    """ICL asks that components be told apart: it is BIC less 2 sum h log h."""
    bic, icl = (bm.compare(fits, criterion=c).table for c in ("bic", "icl"))
    for name, fit in fits.items():
        h = fit.responsibilities()["responsibility"].to_numpy()
        entropy = -(h * np.log(np.where(h > 0, h, 1))).sum()
        assert icl.loc[name, "entropy"] == pytest.approx(entropy)
        assert icl.loc[name, "icl"] == pytest.approx(bic.loc[name, "bic"] + 2 * entropy)
    assert "weight" not in icl


@pytest.mark.parametrize("criterion", ["bic", "icl"])
def test_a_criterion_claims_nothing_that_it_does_not_know(
    fits: dict[str, bm.Fit], criterion: str
) -> None:
    """No standard error, no stacking weight, no word of predictions; mixtures have no weights."""
    found = bm.compare(fits, criterion=criterion)
    assert not {"se", "se_diff", "elpd", "weight", "mcse"} & set(found.table)
    name = criterion.upper()
    assert f"has the lowest {name}" in found.verdict and "standard error" not in str(found)
    assert "predicts best, by" not in str(found) and repr(found) == str(found)
    said = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert [row["model"] for row in said["table"]] == found.table.index.tolist()
    assert any("There are no weights" in note for note in found.notes) == (criterion == "bic")


def test_bic_weights_of_regular_models() -> None:
    """Of regressions BIC weighs: exp(-diff / 2) over its sum, in Kass and Raftery's words."""
    fits = {
        terms: bm.fit(
            bm.BinomialGLM(f"p(high, total) ~ {terms}"), bm.datasets.census(), method="mle", seed=1
        )
        for terms in ("1", "sex", "sex + edu")
    }
    found = bm.compare(fits, criterion="bic")
    weight = np.exp(-0.5 * found.table["bic_diff"])
    np.testing.assert_allclose(found.table["weight"], weight / weight.sum())
    assert found.best == "sex + edu"
    assert found.verdict.endswith("below 'sex': very strong evidence.")
    assert not any("no weights" in note for note in found.notes)
    alone = bm.compare({"one": fits["sex"]}, criterion="bic")
    assert alone.verdict.startswith("'one' has BIC ")


@pytest.mark.parametrize(
    ("difference", "words"),
    [(0.5, "bare mention"), (4, "positive"), (8, "strong evidence"), (99, "very strong")],
)
def test_words_for_a_difference(difference: float, words: str) -> None:
    """Kass and Raftery (1995), section 3.2: limits of 2, 6 and 10."""
    assert words in evidence(difference)


def test_what_has_no_information_criterion(data: pd.DataFrame) -> None:
    """Networks, ensembles and least squares have none, and each is told why and what else."""
    quick = bm.MLE(restarts=1, optimizer=bm.LBFGS(max_iter=3))
    networks = bm.fit(bm.MDN("x", "y", 2, hidden=(2,)), data, method=quick, seed=1)
    with pytest.raises(MissingCapability, match="weights of the network 'net' are not such"):
        bm.compare({"net": networks}, criterion="bic")
    pieces = bm.fit(bm.PiecewiseRegression("y ~ x", 2), data, method="em", seed=1)
    with pytest.raises(MissingCapability, match="fitted by 'em'; use criterion='kfold'"):
        bm.compare({"pieces": pieces}, criterion="bic")
    members = bm.Ensemble(bm.EM(restarts=1), members=2)
    several = bm.fit(bm.MixtureOfExperts("y ~ x", 1), data, method=members, seed=1)
    with pytest.raises(MissingCapability, match="'em' or 'mle'"):
        bm.compare({"several": several}, criterion="bic")


def test_kfold_scores_rows_that_the_fit_has_not_seen(data: pd.DataFrame) -> None:
    """A fold's rows are scored by a fit to the others: done by hand, the same numbers."""
    model = bm.MixtureOfExperts("y ~ x", 1, scale="constant")
    fit = bm.fit(model, data, method="em", seed=1, progress=False)
    pointwise = bm.compare({"one": fit}, criterion="kfold", folds=4).pointwise["one"]["elpd"]
    fold = folds_of(len(data), 4)
    for i in range(4):
        rest = data[fold != i]
        x = np.column_stack([np.ones(len(rest)), rest["x"]])
        beta, *_ = np.linalg.lstsq(x, rest["y"], rcond=None)
        sd = np.sqrt(np.mean((rest["y"] - x @ beta) ** 2))
        held = data[fold == i]
        z = (held["y"] - beta[0] - beta[1] * held["x"]) / sd
        expected = -0.5 * z**2 - np.log(sd) - 0.5 * np.log(2 * np.pi)
        np.testing.assert_allclose(pointwise[fold == i], expected, rtol=1e-6)


def test_folds_are_equal_and_shared() -> None:
    """Sizes differ by one at most; every model gets the same folds."""
    fold = folds_of(103, 10)
    assert set(np.bincount(fold)) == {10, 11}
    np.testing.assert_array_equal(fold, folds_of(103, 10))


def test_draws_have_no_bic(data: pd.DataFrame) -> None:
    """BIC is of maximum-likelihood fits; the error says which criterion serves draws."""
    fit = bm.fit(
        bm.MixtureOfExperts("y ~ x", 2), data, method=bm.DADVI(draws=50), seed=1, progress=False
    )
    with pytest.raises(MissingCapability, match="criterion='kfold'"):
        bm.compare({"draws": fit}, criterion="bic")


@pytest.mark.parametrize("folds", [1, 0, 241, 2.5])
def test_bad_folds(fits: dict[str, bm.Fit], folds: object) -> None:
    """Folds are a whole number from two to the number of rows."""
    with pytest.raises(SpecError, match="folds"):
        bm.compare(fits, criterion="kfold", folds=folds)  # type: ignore[arg-type]
