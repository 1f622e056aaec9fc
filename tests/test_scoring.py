"""Scores: against closed forms, scipy and scikit-learn, and their defining properties."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from conjugate import ExactDraws, NormalMean, normal_log_density
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from scipy.special import logsumexp
from sklearn import metrics

import bayesmix as bm
from bayesmix import scoring
from bayesmix.errors import DataError, SpecError
from bayesmix.protocols import Design, Params, Posterior, Report
from bayesmix.result import Fit

FINITE = st.floats(-100, 100)


def normal_crps(y: np.ndarray, loc: float, scale: float) -> np.ndarray:
    """CRPS of a normal (Gneiting & Raftery 2007, equation 21)."""
    z = (y - loc) / scale
    bracket = z * (2 * stats.norm.cdf(z) - 1) + 2 * stats.norm.pdf(z) - 1 / np.sqrt(np.pi)
    return scale * bracket


def test_log_score_is_the_log_of_the_mean_density() -> None:
    """The log score agrees with scipy's logsumexp, far below the smallest float too."""
    values = np.random.default_rng(1).normal(-2000, 300, (50, 7))
    expected = logsumexp(values, axis=0) - np.log(50)
    np.testing.assert_allclose(scoring.log_score(values), expected, rtol=1e-13)


@given(arrays(float, (6, 3), elements=FINITE), arrays(float, 3, elements=FINITE), st.booleans())
def test_crps_is_its_double_sum(draws: np.ndarray, y: np.ndarray, fair: bool) -> None:
    """Sorting gives the same number as the sum over all pairs of draws."""
    pairs = np.abs(draws[:, None] - draws[None]).sum(axis=(0, 1)) / 2
    expected = np.abs(draws - y).mean(axis=0) - pairs / (30 if fair else 36)
    np.testing.assert_allclose(scoring.crps(y, draws, fair=fair), expected, atol=1e-10)


def test_crps_of_a_normal() -> None:
    """Many draws of a normal have the normal's CRPS, within 4 standard errors over repeats."""
    y, rng = np.array([-3.0, 0.0, 0.4, 2.0]), np.random.default_rng(3)
    found = np.array([scoring.crps(y, rng.normal(0.5, 2.0, (2000, 4))) for _ in range(50)])
    error = found.std(axis=0, ddof=1) / np.sqrt(50)
    assert (np.abs(found.mean(axis=0) - normal_crps(y, 0.5, 2.0)) < 4 * error).all()
    assert (error < 0.01).all()


def test_only_the_fair_crps_is_unbiased_for_small_ensembles() -> None:
    """Three draws have the normal's CRPS on average if fair, and a larger one if not."""
    rng, n = np.random.default_rng(4), 100_000
    y, draws = np.full(n, 0.7), rng.standard_normal((3, n))
    truth = normal_crps(y[:1], 0.0, 1.0).item()
    for fair in (True, False):
        values = scoring.crps(y, draws, fair=fair)
        error = 4 * values.std() / np.sqrt(n)
        assert (abs(values.mean() - truth) < error) == fair
        assert values.mean() > truth - error


@given(arrays(float, (5, 2), elements=FINITE), FINITE, st.floats(0.1, 10))
def test_crps_moves_and_scales_with_the_units(draws: np.ndarray, y: float, scale: float) -> None:
    """Another origin changes nothing, another unit changes the score by its factor."""
    outcomes = np.array([y, -y])
    score = scoring.crps(outcomes, draws)
    np.testing.assert_allclose(scoring.crps(outcomes + 7, draws + 7), score, atol=1e-10)
    np.testing.assert_allclose(
        scoring.crps(outcomes * scale, draws * scale), score * scale, atol=1e-9
    )


def test_crps_keeps_its_digits_far_from_zero() -> None:
    """An offset of 1e9 costs no more digits than the numbers themselves lose."""
    draws, y = np.random.default_rng(5).normal(size=(500, 3)).round(3), np.array([0.1, 0.2, 0.3])
    shifted = scoring.crps(y + 1e9, draws + 1e9)
    np.testing.assert_allclose(shifted, scoring.crps(y, draws), atol=1e-6)


@pytest.mark.parametrize("m", [1, 5, 400])
def test_pit_of_counts_is_uniform(m: int) -> None:
    """Counts drawn from the predictive distribution have a uniform PIT, however few the draws."""
    rng = np.random.default_rng(6)
    found = scoring.pit(rng.poisson(1.5, 3000), rng.poisson(1.5, (m, 3000)), seed=1)
    assert ((found > 0) & (found < 1)).all()
    assert stats.kstest(found, "uniform").pvalue > 0.01


def test_pit_sees_predictions_that_are_too_narrow() -> None:
    """Over-confident predictions put outcomes at the ends of the PIT."""
    rng = np.random.default_rng(7)
    found = scoring.pit(rng.normal(0, 2, 1000), rng.normal(size=(200, 1000)), seed=1)
    assert stats.kstest(found, "uniform").pvalue < 1e-6
    assert np.var(found) > 1.3 / 12


def test_pit_repeats_with_its_seed() -> None:
    """The same seed breaks ties the same way, another seed another way."""
    y, draws = np.zeros(20), np.zeros((9, 20))
    first = scoring.pit(y, draws, seed=3)
    np.testing.assert_array_equal(first, scoring.pit(y, draws, seed=3))
    assert not np.array_equal(first, scoring.pit(y, draws, seed=4))


@given(arrays(bool, 12), arrays(float, 12, elements=st.floats(0, 1)))
def test_binary_scores_are_those_of_scikit_learn(y: np.ndarray, p: np.ndarray) -> None:
    """Brier, AUROC and average precision agree with scikit-learn and with their definitions."""
    y = y.astype(int)
    y[:2] = 0, 1
    assert scoring.brier(y, p).mean() == pytest.approx(metrics.brier_score_loss(y, p), abs=1e-12)
    wins = (p[y == 1][:, None] > p[y == 0]) + 0.5 * (p[y == 1][:, None] == p[y == 0])
    assert scoring.auroc(y, p) == pytest.approx(wins.mean())
    order = np.unique(p)[::-1]
    found = [(p >= t) for t in order]
    precision = np.array([y[f].mean() for f in found])
    recall = np.array([y[f].sum() / y.sum() for f in found])
    steps = np.diff(np.concatenate([[0], recall]))
    assert scoring.average_precision(y, p) == pytest.approx((steps * precision).sum())


def test_coverage_of_a_normal() -> None:
    """Central intervals hold their share of outcomes, each level its own."""
    rng = np.random.default_rng(8)
    y, draws = rng.normal(size=2000), rng.normal(size=(500, 2000))
    found = scoring.coverage(y, draws, [0.5, 0.8, 0.9])
    expected = np.array([0.5, 0.8, 0.9])
    assert (np.abs(found - expected) < 4 * np.sqrt(expected * (1 - expected) / 2000)).all()
    shifted = scoring.coverage(y + 3, draws, [0.9])
    assert shifted.item() < 0.2


def rain(rng: np.random.Generator, shape: Any, wet: float = 0.5) -> np.ndarray:
    """Daily rain: nothing on half of the days, an exponential amount on the others."""
    return np.where(rng.random(shape) < wet, rng.exponential(3.0, shape), 0.0)


def test_coverage_of_an_outcome_with_an_atom() -> None:
    """A right model with half of its mass at zero covers 50 % and 90 %; a wrong one does not."""
    rng, n = np.random.default_rng(12), 4000
    y = rain(rng, n)
    error = 4 * np.sqrt(np.array([0.5, 0.9]) * np.array([0.5, 0.1]) / n)
    right = scoring.coverage(y, rain(rng, (400, n)), seed=1)
    assert (np.abs(right - [0.5, 0.9]) < error).all()
    wrong = scoring.coverage(y, rain(rng, (400, n), wet=0.2), seed=1)
    assert (np.abs(wrong - [0.5, 0.9]) > error).all()


def test_coverage_repeats_with_its_seed() -> None:
    """Ties are broken by the seed given: the same one, the same shares; another one, others."""
    rng = np.random.default_rng(13)
    y, draws = rain(rng, 300), rain(rng, (50, 300))
    first = scoring.inside(y, draws, 0.5, seed=3)
    np.testing.assert_array_equal(first, scoring.inside(y, draws, 0.5, seed=3))
    assert not np.array_equal(first, scoring.inside(y, draws, 0.5, seed=4))
    assert scoring.coverage(y, draws, [0.5], seed=3).item() == first.mean()


@dataclass(frozen=True)
class UpTo(NormalMean):
    """y_i ~ Uniform(0, largest y of training): a support whose end is fitted."""

    def log_density(self, params: Params, data: Any) -> np.ndarray:
        """Minus infinity beyond the end."""
        y, end = self.design(data).arrays["y"], params["mu"][:, None]
        return np.where(y <= end, -np.log(end), -np.inf)

    def simulate(self, params: Params, data: Any, rng: np.random.Generator) -> dict[str, Any]:
        """Uniform."""
        shape = (len(params["mu"]), self.design(data).n_obs)
        return {"y": rng.uniform(0, params["mu"][:, None], shape)}


@dataclass(frozen=True)
class Largest(ExactDraws):
    """The largest y, as draws that are all alike."""

    name: ClassVar[str] = "largest"

    def run(self, model: Any, design: Design, *, seed: int, progress: Report) -> Posterior:
        """The same number in every draw."""
        end = np.full((2, 50), design.arrays["y"].max())
        return Posterior({"mu": end}, {}, {}, sampled=True, attrs={"engine": "mcmc"})


def test_outcomes_beyond_a_fitted_support_are_counted() -> None:
    """Values that the fit holds to be impossible are counted, and the mean is of the others."""
    fit = bm.fit(UpTo(), pd.DataFrame({"y": [1.0, 2.0, 4.0]}), method=Largest(), seed=1)
    table = scoring.score(fit, pd.DataFrame({"y": [0.5, 3.0, 4.5, 9.0]}))
    assert table.index.tolist()[:3] == ["log_score", "outside_support", "crps"]
    assert (
        table.loc["outside_support", "value"] == 2 and table.loc["outside_support", "best"] == "0"
    )
    assert table.loc["log_score", "value"] == pytest.approx(-np.log(4))
    assert np.isfinite(table.loc["log_score", "se"])
    within = scoring.score(fit, pd.DataFrame({"y": [0.5, 3.0]}))
    assert "outside_support" not in within.index
    nowhere = scoring.score(fit, pd.DataFrame({"y": [8.0, 9.0]}))
    assert nowhere.loc["outside_support", "value"] == 2
    assert np.isnan(nowhere.loc["log_score", "value"])


@pytest.fixture(scope="module")
def normal_fit() -> Fit:
    """A normal mean, fitted exactly."""
    y = np.random.default_rng(9).normal(1, 1, 50)
    return bm.fit(NormalMean(), pd.DataFrame({"y": y}), method=ExactDraws(), seed=1)


@pytest.fixture(scope="module")
def binary() -> tuple[Fit, pd.DataFrame]:
    """A logistic regression by maximum likelihood, and rows that it has not seen."""
    rng = np.random.default_rng(10)
    x = rng.normal(size=400)
    data = pd.DataFrame({"x": x, "y": (rng.random(400) < 1 / (1 + np.exp(-2 * x))).astype(int)})
    return bm.fit(bm.BinomialGLM("y ~ x"), data[:200], method="mle", seed=1), data[200:]


def test_scores_of_a_fit_on_new_rows(normal_fit: Fit) -> None:
    """The table of a conjugate model on fresh data agrees with closed forms."""
    y = np.random.default_rng(11).normal(1, 1, 4000)
    table = scoring.score(normal_fit, pd.DataFrame({"y": y}), seed=2)
    loc, variance = NormalMean().posterior(normal_fit.data["y"].to_numpy())
    truth = {
        "log_score": normal_log_density(y, loc, 1 + variance).mean(),
        "crps": normal_crps(y, loc, np.sqrt(1 + variance)).mean(),
    }
    for name, value in truth.items():
        assert table.loc[name, "value"] == pytest.approx(value, rel=0.01)
        assert 0 < table.loc[name, "se"] < 0.05
    for level in ("50", "90"):
        line = table.loc[f"coverage_{level}"]
        assert abs(line["value"] - int(level) / 100) < 4 * line["se"] + 0.02
        assert line["best"] == f"{int(level) / 100:g}"
    assert table["best"].tolist()[:2] == ["high", "low"]
    assert "brier" not in table.index


def test_scores_of_binary_outcomes(binary: tuple[Fit, pd.DataFrame]) -> None:
    """Outcomes of 0 and 1 also get Brier score, AUROC and average precision."""
    fit, new = binary
    rows, table = scoring.pointwise_scores(fit, new), scoring.score(fit, new)
    p = fit.predict(new)["mean"].to_numpy()
    assert table.loc["brier", "value"] == pytest.approx(((p - new["y"]) ** 2).mean())
    assert table.loc["auroc", "value"] == pytest.approx(metrics.roc_auc_score(new["y"], p))
    ap = metrics.average_precision_score(new["y"], p)
    assert table.loc["average_precision", "value"] == pytest.approx(ap)
    assert np.isnan(table.loc["auroc", "se"])
    np.testing.assert_allclose(rows["log_score"], fit.log_density(new).to_numpy())
    assert len(rows) == 200 and rows["outcome"].tolist() == new["y"].tolist()
    alike = scoring.score(fit, new[new["y"] == 1])
    assert "brier" in alike.index and "auroc" not in alike.index


def test_scores_repeat_with_their_seed(normal_fit: Fit) -> None:
    """Without a seed the fit's own is used; another seed changes the draws."""
    first = scoring.pointwise_scores(normal_fit)
    pd.testing.assert_frame_equal(first, scoring.pointwise_scores(normal_fit, seed=1))
    assert (scoring.pointwise_scores(normal_fit, seed=2)["pit"] != first["pit"]).all()
    assert first["outcome"].tolist() == normal_fit.data["y"].tolist()


def test_levels_name_their_columns(normal_fit: Fit) -> None:
    """The levels of the intervals are the caller's."""
    rows = scoring.pointwise_scores(normal_fit, levels=[0.955])
    assert "inside_95.5" in rows.columns and "inside_50" not in rows.columns
    assert "coverage_95.5" in scoring.score(normal_fit, levels=[0.955]).index


TWO = np.zeros((2, 2))
BAD: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "fair of one": (lambda: scoring.crps([1], [[1]]), SpecError, "at least two draws"),
    "lengths": (lambda: scoring.crps([1, 2, 3], TWO), DataError, r"\(3,\) outcomes"),
    "flat draws": (lambda: scoring.crps([1], [1, 2]), DataError, r"shape \(draw, obs\)"),
    "no draws": (lambda: scoring.log_score(np.empty((0, 3))), DataError, "shape"),
    "NaN draws": (lambda: scoring.crps([1, 2], TWO * np.nan), DataError, "NaN"),
    "NaN outcome": (lambda: scoring.pit([1, np.nan], TWO, seed=1), DataError, "finite"),
    "seed": (lambda: scoring.pit([1, 2], TWO, seed=-1), SpecError, "seed"),
    "level": (lambda: scoring.coverage([1, 2], TWO, [1.0]), SpecError, r"\(0, 1\)"),
    "counts": (lambda: scoring.brier([0, 2], [0.1, 0.2]), DataError, "0 or 1, got 2"),
    "percent": (lambda: scoring.brier([0, 1], [10, 20]), DataError, r"\[0, 1\]"),
    "short": (lambda: scoring.brier([0, 1], [0.1]), DataError, "as long"),
    "one class": (lambda: scoring.auroc([1, 1], [0.1, 0.2]), DataError, "all 2 are 1"),
    "infinite": (lambda: scoring.average_precision([0, 1], [1, np.inf]), DataError, "finite"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arrays_are_refused(case: str) -> None:
    """Each misuse has its own error."""
    call, error, words = BAD[case]
    with pytest.raises(error, match=words):
        call()


def test_rows_that_cannot_be_scored_are_refused(normal_fit: Fit) -> None:
    """The outcome must be there, as finite numbers."""
    with pytest.raises(DataError, match="give the outcome 'y'"):
        scoring.score(normal_fit, pd.DataFrame({"x": [1.0]}))
    with pytest.raises(DataError, match="recode it to 0 and 1"):
        scoring.score(normal_fit, pd.DataFrame({"y": ["a", "b"]}))
    with pytest.raises(DataError, match="missing"):
        scoring.score(normal_fit, pd.DataFrame({"y": [1.0, np.nan]}))
    with pytest.raises(SpecError, match="draws must be a whole number >= 2"):
        scoring.score(normal_fit, draws=1)
