"""Calibration: right posteriors pass, wrong ones of every kind do not, and the test is exact."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from conjugate import ExactDraws, NormalMean
from scipy import stats

import bayesmix as bm
from bayesmix.calibrate import ranks
from bayesmix.calibrate.intervals import recovery
from bayesmix.calibrate.ranks import Calibration, sbc, uniformity_p_values
from bayesmix.calibrate.study import Study, independent_draws
from bayesmix.errors import DataError, MissingCapability, NoDraws, NotConverged, SpecError
from bayesmix.protocols import Design, HasPyMC, Method, Posterior, Report

DATA = pd.DataFrame({"y": np.zeros(5), "x": range(5)})
QUICK = bm.NUTS(draws=250, tune=300, chains=2)
PRIORS = {"Intercept": bm.Normal(0, 2), "sigma": bm.HalfNormal(1)}


@dataclass(frozen=True)
class Stretched(Method):
    """NUTS, with draws moved away from their mean by a factor."""

    factor: float = 1.0
    inner: bm.NUTS = QUICK
    requires: ClassVar[type] = HasPyMC
    name: ClassVar[str] = "stretched"

    def run(self, model: Any, design: Design, *, seed: int, progress: Report) -> Posterior:
        """Spoil the draws of the common effects."""
        found = self.inner.run(model, design, seed=seed, progress=progress)
        params = dict(found.params)
        for name in ("Intercept", "sex"):
            middle = params[name].mean()
            params[name] = middle + self.factor * (params[name] - middle)
        return replace(found, params=params)


def check(method: Method, replications: int = 100, **options: Any) -> Calibration:
    """Calibration of the conjugate model."""
    return sbc(NormalMean(), DATA, method, replications=replications, seed=1, **options)


def test_an_exact_posterior_passes() -> None:
    """Exact draws have uniform ranks, in every bin as often."""
    found = check(ExactDraws(), 150, draws_per_rank=31)
    assert found.ok and found.rejected == [] and found.failed == ()
    assert list(found.ranks.columns) == ["mu", "log_likelihood"]
    assert len(found.ranks) == 150
    assert found.ranks.min().min() == 0 and found.ranks.max().max() == 31
    assert found.ranks["mu"].nunique() > 28
    assert (found.p_values > 0.01).all()
    assert "Calibrated as far as can be seen" in found.verdict
    assert (found.table[["bias", "spread"]].abs() < 3.5).all(axis=None)


@pytest.mark.parametrize(
    ("spoilt", "symptom"),
    [
        (ExactDraws(shift=0.6), "mu: the posterior lies too high"),
        (ExactDraws(shift=-0.6), "mu: the posterior lies too low"),
        (ExactDraws(stretch=0.5), "mu: the posterior is too narrow"),
        (ExactDraws(stretch=2.0), "mu: the posterior is too wide"),
    ],
)
def test_a_wrong_posterior_is_rejected_with_its_symptom(spoilt: Method, symptom: str) -> None:
    """Draws off by half a standard deviation, half or twice as wide, are found out."""
    found = check(spoilt)
    assert not found.ok and "mu" in found.rejected
    assert symptom in found.verdict and symptom in str(found)


def test_a_posterior_that_ignores_the_data_is_seen_by_the_likelihood() -> None:
    """Draws from the prior have uniform ranks for every parameter, but not for the likelihood."""
    found = check(ExactDraws(blind=True))
    assert found.p_values["mu"] > 0.01
    assert found.rejected == ["log_likelihood"]


def test_a_wrong_model_is_rejected() -> None:
    """Data simulated with another prior than the one fitted are found out."""

    @dataclass(frozen=True)
    class Other(NormalMean):
        def draw_prior(self, data: Any, rng: np.random.Generator, draws: int) -> dict[str, Any]:
            return {"mu": rng.normal(1.0, self.scale, draws)}

    found = sbc(Other(), DATA, ExactDraws(), replications=100, seed=1)
    assert not found.ok


def test_p_values_are_uniform_when_ranks_are() -> None:
    """Under uniform ranks the p-values are uniform, so that the level is the level."""
    rng = np.random.default_rng(2)
    found = uniformity_p_values(rng.integers(0, 64, (120, 500)), 63, rng)
    assert stats.kstest(found, "uniform").pvalue > 0.01
    assert abs((found < 0.05).mean() - 0.05) < 4 * np.sqrt(0.05 * 0.95 / 500)
    assert found.min() > 0


def test_p_values_see_every_kind_of_departure() -> None:
    """One bin too full, both ends too full and the middle too full are all rejected."""
    rng = np.random.default_rng(3)
    flat = rng.integers(0, 100, (200, 3))
    flat[:40, 0] = 50
    flat[:80, 1] = rng.choice([0, 1, 98, 99], 80)
    flat[:100, 2] = rng.integers(30, 70, 100)
    assert (uniformity_p_values(flat, 99, rng) < 0.01).all()


def test_the_same_seed_gives_the_same_ranks() -> None:
    """Truth, data, fits and ties all follow from the seed."""
    first, second = check(ExactDraws(), 5), check(ExactDraws(), 5)
    pd.testing.assert_frame_equal(first.ranks, second.ranks)
    pd.testing.assert_series_equal(first.p_values, second.p_values)
    other = sbc(NormalMean(), DATA, ExactDraws(), replications=5, seed=2)
    assert not first.ranks.equals(other.ranks)


def test_ties_are_broken_at_random() -> None:
    """True values that equal draws land anywhere among them."""
    found = check(ExactDraws(stretch=0.0), 30)
    assert set(found.ranks["mu"]) == {0, 99}
    study = Study.of(NormalMean(), DATA, ExactDraws(), 300, 1)
    study.truth[:] = 2.0
    _, fit = next(study.fits(False))
    fit.tree["posterior"]["mu"][:] = 2.0
    places = [int(ranks._ranks(study, r, fit, 99)[0]) for r in range(300)]
    assert stats.kstest((np.array(places) + 0.5) / 100, "uniform").pvalue > 0.01


def test_outcomes_are_simulated_and_the_predictors_kept() -> None:
    """Each fit sees the given columns with an outcome of its own, simulated from its truth."""
    study = Study.of(NormalMean(scale=5.0), DATA, ExactDraws(), 40, 1)
    for r, fit in study.fits(False):
        np.testing.assert_array_equal(fit.data["y"], study.outcomes[r])
        assert abs(fit.data["y"].mean() - study.truth[r, 0]) < 4 / np.sqrt(5)
    assert np.std(study.truth) > 3 and (DATA["y"] == 0).all()


def test_chains_too_short_for_a_rank_are_run_again() -> None:
    """A fit with few effective draws is repeated, longer; what stays short is told."""
    sticky = ExactDraws(repeat=20)
    study = Study.of(NormalMean(), DATA, sticky, 2, 1)
    short, long = (next(study.fits(False, at_least=n))[1] for n in (0, 400))
    assert independent_draws(short) < 200 < 400 < independent_draws(long)
    assert long.method.draws > short.method.draws == 500
    assert check(sticky, 20).notes == ()
    told = check(ExactDraws(repeat=250), 4).notes
    assert "4 of 4 fits have fewer than 99 effective draws" in told[0]


def test_failed_fits_forbid_a_good_verdict() -> None:
    """Leaving out fits that failed would bias the ranks, so they are told and never passed over."""
    found = check(ExactDraws(failing=0.1), 40)
    assert 0 < len(found.failed) < 40 and len(found.ranks) == 40 - len(found.failed)
    assert not found.ok and found.rejected == []
    assert f"{len(found.failed)} of 40 fits failed" in found.verdict
    assert "gave up on purpose" in str(found)
    with pytest.raises(NotConverged, match=r"every fit failed.*gave up on purpose"):
        check(ExactDraws(failing=1.0), 3)


def test_recovery_of_an_exact_posterior() -> None:
    """Intervals hold as often as they say, and the binomial interval says how surely."""
    found = recovery(NormalMean(), DATA, ExactDraws(), replications=100, seed=2)
    assert found.ok and "holds as often as it should" in found.verdict
    assert list(found.table.index) == [("mu", 0.5), ("mu", 0.9)]
    for (_, level), row in found.table.iterrows():
        test = stats.binomtest(round(100 * row["share"]), 100, level)
        assert row["low"] < level < row["high"]
        assert row["p_value"] == pytest.approx(test.pvalue)
        assert row["share"] == pytest.approx(level, abs=0.13)
    assert np.corrcoef(found.truth["mu"], found.mean["mu"])[0, 1] > 0.8
    wide = recovery(NormalMean(), DATA, ExactDraws(), replications=20, levels=(0.99,), seed=1)
    assert wide.table.index.get_level_values("level").tolist() == [0.99]


@pytest.mark.parametrize("stretch", [0.5, 2.5])
def test_recovery_rejects_wrong_widths(stretch: float) -> None:
    """Intervals that are too narrow or too wide do not hold as often as they say."""
    spoilt = ExactDraws(stretch=stretch)
    found = recovery(NormalMean(), DATA, spoilt, replications=80, seed=1)
    assert not found.ok and found.rejected == ["mu"]
    assert "'mu' hold too often or rarely" in found.verdict
    assert "mu" in str(found)


def test_recovery_tells_failed_fits() -> None:
    """A fit that failed forbids a good verdict here too."""
    found = recovery(NormalMean(), DATA, ExactDraws(failing=0.2), replications=30, seed=1)
    assert found.failed and not found.ok and "of 30 fits failed" in found.verdict


def test_nuts_on_a_regression_with_groups(census: pd.DataFrame) -> None:
    """A few replications of partial pooling pass, with every scalar ranked once."""
    model = bm.BinomialGLM("p(high, total) ~ sex + (1 | edu)", priors=PRIORS)
    found = sbc(model, census, QUICK, replications=20, draws_per_rank=31, seed=1)
    assert found.ok
    assert list(found.ranks.columns[:3]) == ["Intercept", "sex", "1|edu[Some HS]"]
    assert list(found.ranks.columns[-2:]) == ["sigma_edu[Intercept]", "log_likelihood"]
    assert found.ranks.shape == (20, 11)


def test_nuts_with_spoilt_draws_is_rejected(census: pd.DataFrame) -> None:
    """A few replications are enough to see draws three times too wide or too narrow."""
    model = bm.BinomialGLM("p(high, total) ~ sex", priors=PRIORS)
    for factor in (3.0, 1 / 3):
        spoilt = Stretched(factor)
        assert not sbc(model, census, spoilt, replications=25, draws_per_rank=31, seed=1).ok
    assert sbc(model, census, Stretched(1.0), replications=25, draws_per_rank=31, seed=1).ok


@dataclass(frozen=True)
class Flat(NormalMean):
    """A model whose outcome is text."""

    def design(self, data: Any) -> Design:
        """Read y from labels."""
        columns = pd.DataFrame({"y": ["a", "b"]})
        return Design({"y": np.zeros(2)}, {"y": ("obs",)}, {}, columns, "y")


class NoPrior:
    """Something without a prior."""


def _sbc(model: Any = None, data: Any = DATA, method: Any = None, **options: Any) -> Any:
    return sbc(model or NormalMean(), data, method or ExactDraws(), seed=1, **options)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"replications": 1}, SpecError, "replications must be a whole number >= 2"),
        ({"draws_per_rank": 0}, SpecError, "draws_per_rank"),
        ({"method": ExactDraws(draws=1, chains=1)}, SpecError, "yields 10: raise its draws"),
        ({"model": NoPrior()}, MissingCapability, "NoPrior offers none"),
        ({"model": Flat(), "data": {"y": ["a", "b"]}}, DataError, "recode it to 0 and 1"),
        ({"data": {"x": [1.0, 2.0]}}, DataError, "lacks 'y'"),
        (
            {
                "model": bm.MDN("x", ("y", "z")),
                "data": {"x": [1.0, 2.0], "y": [1.0, 3.0], "z": [0.0, 2.0]},
            },
            MissingCapability,
            r"2 \('y', 'z'\); calibrate it for each alone",
        ),
    ],
)
def test_bad_input_is_refused(options: dict[str, Any], error: type[Exception], words: str) -> None:
    """Each misuse has its own error."""
    with pytest.raises(error, match=words):
        _sbc(**options)


def test_a_method_without_draws_is_refused(census: pd.DataFrame) -> None:
    """A point estimate has no ranks, and no posterior intervals."""
    model = bm.BinomialGLM("p(high, total) ~ sex", priors=PRIORS)
    with pytest.raises(NoDraws, match="calibration needs draws"):
        sbc(model, census, "mle", replications=2, seed=1)


def test_levels_outside_the_unit_interval_are_refused() -> None:
    """An interval of level 1 holds everything and says nothing."""
    for levels in ((1.0,), ()):
        with pytest.raises(SpecError, match="levels must lie in"):
            recovery(NormalMean(), DATA, ExactDraws(), levels=levels, seed=1)
