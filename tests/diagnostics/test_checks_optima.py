"""The checks of approximations and point estimates fire on bad ones, and none on good ones."""

from __future__ import annotations

import re

import numpy as np
import pytest
import xarray as xr
from fit_trees import (
    TREND_TRACE,
    approximation,
    found,
    point,
    weights,
)

from bayesmix.diagnostics import optima
from bayesmix.diagnostics.diagnosis import diagnose
from bayesmix.errors import DataError, NoDraws


def test_good_approximation() -> None:
    """A close approximation whose ELBO has settled passes; nothing is said of R-hat but why not."""
    diagnosis = diagnose(approximation(weights(0.2), elbo_final=-100.0))
    assert [f.level for f in diagnosis.findings] == ["pass"] * 3
    assert "The ELBO ended at -100.00 and no longer rose" in found(diagnosis, "elbo").message
    assert "about Markov chains" in diagnosis.notes[0]
    with pytest.raises(NoDraws, match="independent draws from an approximation"):
        _ = diagnosis.table


@pytest.mark.parametrize(
    ("scale", "expected", "words"),
    [(0.2, "pass", "close"), (1.5, "warn", "Check with NUTS"), (4.0, "fail", "method='nuts'")],
)
def test_pareto_k(scale: float, expected: str, words: str) -> None:
    """The wider the importance ratios the worse the verdict; k is the one that ArviZ finds."""
    from arviz_stats.base import array_stats

    diagnosis = diagnose(approximation(weights(scale)))
    (finding,) = [f for f in diagnosis.findings if f.check == "pareto_k"]
    assert finding.level == expected and words in finding.message
    assert finding.value == pytest.approx(float(array_stats.psislw(-weights(scale))[1]))


@pytest.mark.parametrize("log_weight", [None, weights(1.0)[:50], np.full(2000, np.nan)])
def test_pareto_k_unknown(log_weight: np.ndarray | None) -> None:
    """Without usable importance ratios nobody knows how close the approximation is: a warning."""
    tree = approximation()
    if log_weight is not None:
        stats = xr.Dataset({"log_weight": (("chain", "other"), log_weight[None])})
        tree["sample_stats"] = xr.DataTree(stats)
    diagnosis = diagnose(tree)
    assert found(diagnosis, "pareto_k").level == "warn"
    assert "is not known" in found(diagnosis, "pareto_k").message


def test_exact_approximation() -> None:
    """When q is the posterior all ratios are equal, and k is at its best."""
    assert found(diagnose(approximation(np.full(2000, 3.0))), "pareto_k").level == "pass"


@pytest.mark.parametrize(
    ("elbo", "expected", "words"),
    [
        (TREND_TRACE + np.linspace(0, 20, 4000), "fail", "still rising.*`steps`"),
        (TREND_TRACE - np.linspace(0, 20, 4000), "warn", "falling.*`learning_rate`"),
        (np.linspace(-100, -99.9, 4000), "pass", "no longer rose"),
        (np.where(np.arange(4000) > 3990, np.nan, TREND_TRACE), "fail", "`learning_rate`"),
    ],
)
def test_elbo(elbo: np.ndarray, expected: str, words: str) -> None:
    """A rise beyond its noise and beyond a tenth of a nat is not converged; nor is a NaN."""
    diagnosis = diagnose(approximation(weights(0.2), elbo))
    assert found(diagnosis, "elbo").level == expected
    assert re.search(words, found(diagnosis, "elbo").message)


def test_elbo_not_finite() -> None:
    """An infinite final ELBO fails however flat the trace is, as does a NaN on the way."""
    diagnosis = diagnose(approximation(weights(0.2), elbo_final=-np.inf))
    assert found(diagnosis, "elbo").level == "fail"
    trace = np.where(np.arange(4000) == 3000, np.nan, TREND_TRACE)
    diagnosis = diagnose(approximation(weights(0.2), trace, elbo_final=-100.0))
    assert found(diagnosis, "elbo").level == "fail"


def test_elbo_too_short_to_judge() -> None:
    """A trace of a few steps has no trend that could be told from noise, so there is no finding."""
    diagnosis = diagnose(approximation(weights(0.2), np.linspace(-9, 0, 39)))
    assert "elbo" not in [finding.check for finding in diagnosis.findings]
    with pytest.raises(DataError, match="at least 40 iterations, got 39"):
        optima.late_trend(np.zeros(39))


def test_trend_of_noise() -> None:
    """The rise of pure noise, over its error, is beyond 3 about as rarely as it should be."""
    rng = np.random.default_rng(10)
    scores = [np.divide(*optima.late_trend(rng.normal(size=2000))) for _ in range(400)]
    assert np.std(scores) == pytest.approx(1, abs=0.15)
    rise, _ = optima.late_trend(np.arange(400.0))
    assert rise == 100


def test_approximation_with_bad_draws() -> None:
    """An approximation with infinite draws fails, naming the parameter."""
    tree = approximation(weights(0.2))
    tree["posterior"]["Intercept"][0, 3] = np.inf
    diagnosis = diagnose(tree)
    assert found(diagnosis, "draws").level == "fail"
    assert "Intercept" in found(diagnosis, "draws").message


def test_good_point() -> None:
    """A converged estimate passes; asking it for R-hat is an error that says what to do."""
    diagnosis = diagnose(point())
    assert [f.level for f in diagnosis.findings] == ["pass"] * len(optima.OPTIMUM_CHECKS)
    assert diagnosis.verdict == "The estimate can be used: 6 of 6 checks passed."
    assert diagnosis.to_dict()["table"] is None
    with pytest.raises(NoDraws, match="point estimate; fit again with method='nuts'"):
        _ = diagnosis.table


@pytest.mark.parametrize(
    ("tree", "check", "expected", "words"),
    [
        (point(gradient_norm=0.5), "gradient", "fail", "stopped on a slope.*`max_iter`"),
        (point(converged=False), "objective", "fail", "without converging.*`max_iter`"),
        (
            point(log_likelihood=("iteration", [-9.0, np.nan])),
            "objective", "fail", "numbers' range.*other starts",
        ),
        (
            point(restart_log_likelihood=("restart", [-79.7, -85.0, -90.0])),
            "restarts", "warn", "1 of 3 starts.*`restarts`",
        ),
        (
            point(restart_log_likelihood=("restart", [-79.7, np.nan, -79.7])),
            "restarts", "pass", "2 of 3 starts",
        ),
        (
            point(approximation_error=3.1, approximation_shift=2.0),
            "approximation", "fail",
            r"Laplace .* is -3.1 nats off .*move sigma_edu\[sex\] by 2.00 standard errors or so. "
            r"Use MLE\(n_quadrature=25\)",
        ),
        (
            point(how="importance", approximation_error=-3.1, approximation_shift=0.7),
            "approximation", "warn", r"is \+3.1 nats off \(by weighted draws\).*method='nuts'",
        ),
        (
            point(how="importance", approximation_uncertainty=np.inf),
            "approximation", "warn", "how far estimates would move is not known. .*nuts",
        ),
        (
            point(nodes=9, approximation_shift=0.6),
            "approximation", "warn", "The quadrature of the likelihood is -0.02 .*method='nuts'",
        ),
        (point(sigma=1e-6), "singular", "warn", r"sigma_edu\[sex\] is 1e-06.*method='nuts'"),
        (point(rho=-0.9999), "singular", "warn", r"corr_edu\[Intercept, sex\] is 0.9999"),
    ],
)  # fmt: skip
def test_bad_points(tree: xr.DataTree, check: str, expected: str, words: str) -> None:
    """An estimate built to fail one check fails it, with advice."""
    diagnosis = diagnose(tree)
    assert found(diagnosis, check).level == expected
    assert re.search(words, found(diagnosis, check).message)
    assert diagnosis.ok == (expected != "fail")


def test_reason_of_an_optimiser() -> None:
    """What an optimiser says in the tree's attributes is passed on."""
    tree = point()
    tree.attrs |= {"converged": 0, "message": "iteration limit reached"}
    assert "saying 'iteration limit reached'" in found(diagnose(tree), "objective").message


def test_least_squares_restarts_count_downwards() -> None:
    """Of negative log-likelihoods and sums of squares the least is the best."""
    tree = point()
    tree["fit_stats"] = xr.DataTree(xr.Dataset({"restart_nll": ("restart", [1.0, 1.0, 5.0])}))
    assert "2 of 3 starts" in found(diagnose(tree), "restarts").message


def test_missing_standard_error() -> None:
    """A NaN among the standard errors means a flat likelihood: the parameter is named."""
    tree = point()
    tree["standard_error"]["1|edu"][1] = np.nan
    diagnosis = diagnose(tree)
    assert found(diagnosis, "standard_error").level == "warn"
    assert "1|edu[HS Grad] (1 of 4 parameters)" in found(diagnosis, "standard_error").message
