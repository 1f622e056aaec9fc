"""Posteriors of the census against REFERENCE section 2: 40,000 draws of an independent program."""

from __future__ import annotations

import numpy as np
import pytest
from small_fits import CENSUS_PRIORS

import bayesmix as bm
from bayesmix.chains import statistics

PARTIAL = {
    "Intercept": -1.766,
    "sex": 1.3710,
    "sigma": [1.541],
    "groups": [-3.892, -2.720, -2.374, -1.415, -1.350, -0.713, 0.020],
}
SLOPES = {
    "Intercept": -1.764,
    "sex": 1.363,
    "sigma": [1.586, 0.0983],
    "corr": -0.17,
    "groups": [-3.926, -2.685, -2.416, -1.435, -1.338, -0.700, 0.072],
    "slopes": [1.409, 1.331, 1.424, 1.395, 1.355, 1.352, 1.298],
}
ROUNDING = {
    "Intercept": 5e-4,
    "sex": 5e-4,
    "sigma": 5e-4,
    "corr": 5e-3,
    "groups": 5e-4,
    "slopes": 5e-4,
}


def quantities(fit):
    """What REFERENCE lists, each (chain, draw, n)."""
    posterior = fit.tree["posterior"].to_dataset()
    found = {
        "Intercept": posterior["Intercept"].to_numpy()[..., None],
        "sex": posterior["sex"].to_numpy()[..., None],
        "sigma": posterior["sigma_edu"].to_numpy(),
        "groups": (posterior["Intercept"] + posterior["1|edu"]).to_numpy(),
    }
    if "sex|edu" in posterior:
        found["slopes"] = (posterior["sex"] + posterior["sex|edu"]).to_numpy()
        found["corr"] = posterior["corr_edu"].to_numpy()[..., 1, 0][..., None]
    return found


def far_off(fit, reference):
    """Distances to the reference beyond 4 MCSE of both runs and the reference's rounding."""
    failures = []
    for name, expected in reference.items():
        values = quantities(fit)[name]
        mcse = statistics.mcse_mean(values)
        # the reference is itself a mean of 40,000 draws, with an error of its own
        allowed = 4 * np.hypot(mcse, values.std(axis=(0, 1)) / np.sqrt(10_000)) + ROUNDING[name]
        gap = np.abs(values.mean(axis=(0, 1)) - np.atleast_1d(expected))
        failures += [(name, float(g), float(a)) for g, a in zip(gap, allowed, strict=True) if g > a]
    return failures


def census_fit(formula, **options):
    """A fit of the census by the book's priors, with the method's options under ``method``."""
    method = options.pop("method", bm.NUTS())
    priors = {**CENSUS_PRIORS, **options.pop("priors", {})}
    model = bm.BinomialGLM(formula, priors, **options)
    return bm.fit(model, bm.datasets.census(), method=method, seed=11)


@pytest.fixture(scope="module")
def slopes():
    """Varying slopes by the book's priors, every other option at its default."""
    return census_fit("p(high, total) ~ sex + (sex | edu)")


def test_partial_pooling_has_the_reference_posterior():
    """Partial pooling lies within 4 MCSE of the reference."""
    assert not far_off(census_fit("p(high, total) ~ sex + (1 | edu)"), PARTIAL)


def test_varying_slopes_have_the_reference_posterior(slopes):
    """Varying slopes lie within 4 MCSE of the reference."""
    assert not far_off(slopes, SLOPES)


def test_a_wrong_prior_is_told_from_the_reference():
    """Power: a prior ten times narrower on the spread moves the posterior out of tolerance."""
    wrong = census_fit("p(high, total) ~ sex + (1 | edu)", priors={"sigma": bm.HalfNormal(0.3)})
    assert far_off(wrong, PARTIAL)


def test_defaults_sample_varying_slopes_well(slopes):
    """Under 0.1 % divergences, R-hat at most 1.01, least bulk and tail ESS at least 1000."""
    assert slopes.tree["sample_stats"]["diverging"].to_numpy().mean() < 1e-3
    for values in quantities(slopes).values():
        assert statistics.rhat_rank(values).max() <= 1.01
        assert statistics.ess_bulk(values).min() >= 1000
        assert statistics.ess_tail(values).min() >= 1000


def test_questions_of_the_book(slopes):
    """P(Bachelor's above professional school, men) is 0.832; 44.5 of 86 female doctorates."""
    census = bm.datasets.census()
    men = census[(census["sex"] == 1) & census["edu"].isin(["Prof School", "Bachelors"])]
    p = slopes.curves(men)["probability"].to_numpy()
    share = (p[:, 1] > p[:, 0]).mean()
    assert abs(share - 0.832) < 4 * np.sqrt(0.832 * 0.168 / 1500)
    women = census[(census["sex"] == 0) & (census["edu"] == "Doctorate")]
    drawn = slopes.sample(women)["high"].to_numpy()
    assert abs(drawn.mean() - 44.5) < 4 * 5.6 / np.sqrt(2000) + 0.05
    assert abs(drawn.std() - 5.6) < 4 * 5.6 / np.sqrt(2 * 2000) + 0.05
    assert np.quantile(drawn, [0.05, 0.95]) == pytest.approx([35, 54], abs=1)


def test_complete_pooling_is_the_maximum_likelihood_fit():
    """With 32,561 people the priors vanish: posterior mean and sd equal the MLE and its error."""
    mle = census_fit("p(high, total) ~ sex", method=bm.MLE())
    nuts = census_fit("p(high, total) ~ sex")
    for name in ("Intercept", "sex"):
        values = nuts.tree["posterior"][name].to_numpy()[..., None]
        error = float(mle.tree["standard_error"][name])
        gap = abs(values.mean() - float(mle.tree["estimate"][name]))
        assert gap < 4 * statistics.mcse_mean(values)[0] + 0.05 * error
        assert values.std() == pytest.approx(error, rel=0.1)


def test_maximum_likelihood_equals_lme4():
    """lme4 1.1 `glmer(cbind(high, low) ~ sex + (sex | edu), binomial)`: REFERENCE section 2."""
    fit = census_fit("p(high, total) ~ sex + (sex | edu)", method=bm.MLE())
    estimate = fit.tree["estimate"].to_dataset()
    trace = fit.tree["fit_stats"]["log_likelihood"].to_numpy()
    assert trace[-1] == pytest.approx(-79.71784, abs=1e-3)
    assert estimate["sigma_edu"].to_numpy() == pytest.approx([1.257765, 0.058555], abs=1e-3)
    assert float(estimate["corr_edu"][1, 0]) == pytest.approx(-0.833, abs=1e-3)
    assert float(estimate["Intercept"]) == pytest.approx(-1.777794, abs=1e-3)
    assert float(estimate["sex"]) == pytest.approx(1.367471, abs=1e-3)


def test_laplace_is_close_and_says_how_close():
    """The Laplace approximation in mixed coordinates lands near the posterior it stands for."""
    fit = census_fit("p(high, total) ~ sex + (1 | edu)", method=bm.Laplace())
    posterior = fit.tree["posterior"].to_dataset()
    assert float(posterior["sex"].mean()) == pytest.approx(1.371, abs=0.1 * 0.0362)
    assert float(posterior["sex"].std()) == pytest.approx(0.0362, rel=0.1)
    assert "log_weight" in fit.tree["sample_stats"]


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["nutpie", "pymc"])
@pytest.mark.parametrize("parametrization", ["mixed", "centered", "noncentered"])
@pytest.mark.parametrize(
    ("formula", "reference"),
    [
        ("p(high, total) ~ sex + (1 | edu)", PARTIAL),
        ("p(high, total) ~ sex + (sex | edu)", SLOPES),
    ],
)
def test_every_form_and_sampler_has_the_reference_posterior(
    formula, reference, parametrization, sampler
):
    """Long chains: three parametrizations and two samplers, one posterior."""
    accept = 0.99 if parametrization == "centered" else 0.95
    method = bm.NUTS(draws=5000, tune=2000, sampler=sampler, target_accept=accept)
    fit = census_fit(formula, parametrization=parametrization, method=method)
    assert not far_off(fit, reference)


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["nutpie", "pymc"])
@pytest.mark.parametrize("formula", ["p(high, total) ~ sex", "p(high, total) ~ 0 + edu + sex"])
def test_models_without_groups_equal_their_gaussian(formula, sampler):
    """No groups: the posterior of 32,561 people is the MLE's Gaussian, priors being wide."""
    nuts = census_fit(formula, method=bm.NUTS(draws=5000, sampler=sampler))
    mle = census_fit(formula, method=bm.MLE())
    for name, values in nuts.tree["posterior"].to_dataset().data_vars.items():
        flat = values.to_numpy().reshape(4, 5000, -1)
        error = np.ravel(mle.tree["standard_error"][name].to_numpy())
        gap = np.abs(flat.mean(axis=(0, 1)) - np.ravel(mle.tree["estimate"][name].to_numpy()))
        # a posterior mean differs from a mode by skewness, a small share of its sd
        assert (gap < 4 * statistics.mcse_mean(flat) + 0.05 * error).all()
