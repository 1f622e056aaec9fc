"""How many experts: held-out density by folds, BIC and ICL."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bayesmix as bm
from bayesmix.errors import MissingCapability, SpecError
from bayesmix.rng import stream
from bayesmix.selection import folds_of


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
    assert found.table.loc["K=1", "elpd_diff"] < -50


def test_bic_is_its_formula(fits: dict[str, bm.Fit], data: pd.DataFrame) -> None:
    """Minus half of BIC: log-likelihood less half of log n for each free parameter."""
    found = bm.compare(fits, criterion="bic").table
    for k in (1, 2, 3):
        value = float(fits[f"K={k}"].tree["fit_stats"]["log_likelihood"][-1])
        free = k * 3 + (k - 1) * 2
        assert found.loc[f"K={k}", "elpd"] == pytest.approx(value - 0.5 * free * np.log(len(data)))


def test_icl_is_bic_less_the_entropy(fits: dict[str, bm.Fit]) -> None:
    """ICL asks that components be told apart: it is BIC plus sum h log h."""
    bic, icl = (bm.compare(fits, criterion=c).table["elpd"] for c in ("bic", "icl"))
    for name, fit in fits.items():
        h = fit.responsibilities()["responsibility"].to_numpy()
        entropy = -(h * np.log(np.where(h > 0, h, 1))).sum()
        assert icl[name] == pytest.approx(bic[name] - entropy)


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
