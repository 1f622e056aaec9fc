"""The checks of priors: a prior that nothing was learned beside, and one that fights the data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from book import EXPERTS

import bayesmix as bm
from bayesmix.diagnostics.prior import Beside, check_conflict, check_learned, check_likelihood
from bayesmix.rng import stream

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "own"


def own(name: str) -> pd.DataFrame:
    """A data set of others."""
    path = SHARED / f"{name}.csv"
    assert path.exists(), f"this test needs {path}, which is not part of the project"
    return pd.read_csv(path)


def findings(fit: bm.Fit) -> dict[str, bm.Finding]:
    """What the checks found, by name."""
    return {finding.check: finding for finding in fit.diagnose().findings}


def normal_means(prior_sd: float, estimate: float, error: float, seed: int = 1) -> Beside:
    """Draws of a mean whose likelihood is normal about ``estimate``, and of its normal prior."""
    rng = stream(seed, "conjugate")
    precision = 1 / prior_sd**2 + 1 / error**2
    mean, sd = estimate / error**2 / precision, precision**-0.5
    dims = ("chain", "draw")
    after = xr.Dataset({"a": (dims, rng.normal(mean, sd, (4, 1000)))})
    before = xr.Dataset({"a": (dims, rng.normal(0, prior_sd, (1, 20_000)))})
    return Beside(after, before)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("estimate", "error", "level"),
    [(20, 2, "fail"), (4, 1, "warn"), (2, 1, "pass"), (40, 0.01, "pass"), (0, 5, "pass")],
)
def test_conflict_is_told_from_agreement(estimate, error, level, seed):
    """With known answers: an estimate in the prior's tail that is pulled; not one that is not."""
    found = check_conflict(normal_means(1.0, estimate, error, seed))
    assert found is not None and found.level == level
    if level != "pass":
        assert abs(found.value - estimate) < 0.5 * estimate


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("error", "level"), [(20.0, "warn"), (1.0, "pass"), (0.1, "pass")])
def test_a_prior_that_stayed_is_told(error, level, seed):
    """Where the likelihood is twenty times as wide as the prior, the posterior is the prior."""
    found = check_learned(normal_means(1.0, 0.1, error, seed))
    assert found is not None and found.level == level
    assert ("is the prior" in found.message) == (level == "warn")


def test_a_likelihood_out_of_reach_is_told():
    """Draws some nats below the best fit are their dimension's price; a hundred nats are not."""
    given = normal_means(1.0, 0.0, 1.0)
    reached = stream(1, "reached").normal(-100, 1, 100)
    levels = [
        check_likelihood(Beside(given.posterior, given.prior, best, reached)).level  # type: ignore[union-attr]
        for best in (-99.0, 0.0)
    ]
    assert levels == ["pass", "fail"]
    assert check_likelihood(given) is None


def test_contraception_with_a_raw_prior_is_refused():
    """N(0, 1) on `poly` columns, whose entries are of size 1/root n, forbids the curve."""
    model = bm.BinomialGLM("use ~ poly(age, 2) + urban", priors={"slope": bm.Normal(0, 1)})
    method = bm.NUTS(draws=400)
    fit = bm.fit(model, own("contraception"), method=method, seed=1, progress=False)
    found = findings(fit)["conflict"]
    assert found.level == "fail" and found.where.startswith("poly(age, 2)")
    assert not fit.diagnose().ok


def test_old_faithful_with_raw_priors_is_refused():
    """N(0, 5) in minutes leaves an expert its prior, and 90 nats: all three checks say so."""
    model = bm.MixtureOfExperts("waiting ~ duration", 2, scale="constant", priors=bm.Normal(0, 5))
    method = bm.NUTS(draws=400)
    found = findings(bm.fit(model, own("geyser"), method=method, seed=1, progress=False))
    levels = [found[name].level for name in ("learned", "conflict", "likelihood")]
    assert levels == ["warn", "fail", "fail"]
    default = bm.MixtureOfExperts("waiting ~ duration", 2, scale="constant")
    fit = bm.fit(default, own("geyser"), method=method, seed=1, progress=False)
    assert all(
        findings(fit)[name].level == "pass" for name in ("learned", "conflict", "likelihood")
    )


@pytest.mark.slow
def test_the_book_s_priors_pass():
    """On one to many and the census nothing fails, and every parameter has left its prior."""
    method = bm.NUTS(draws=400)
    for model, data in (
        (EXPERTS, bm.datasets.one_to_many()),
        (bm.BinomialGLM("p(high, total) ~ sex + (sex | edu)"), bm.datasets.census()),
    ):
        found = findings(bm.fit(model, data, method=method, seed=1, progress=False))
        assert found["learned"].level == "pass"
        assert found["conflict"].level != "fail"


def test_points_and_networks_have_no_such_checks():
    """A point has no posterior to compare, and a network's weights mean nothing one by one."""
    data = pd.DataFrame({"x": np.linspace(0, 1, 40), "y": np.sin(np.arange(40.0))})
    for model, method in (
        (bm.MixtureOfExperts("y ~ x", 1), "em"),
        (bm.MDN("x", "y", 1, (2,)), bm.Laplace(draws=50, layer="last")),
    ):
        fit = bm.fit(model, data, method=method, seed=1, progress=False)
        assert not {"learned", "conflict", "likelihood"} & set(findings(fit))
