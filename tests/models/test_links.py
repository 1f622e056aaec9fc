"""Links of binomial models: R's numbers, priors, curves, files, and what is not for every link."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from own_tables import as_labels, own
from small_fits import people

import bayesmix as bm
from bayesmix import specs
from bayesmix.errors import DataError, MissingCapability, SpecError
from bayesmix.marginal import links
from bayesmix.rng import stream

OTHERS = pytest.mark.parametrize("link", ["probit", "cloglog"])


def beetles() -> pd.DataFrame:
    """Beetles killed by carbon disulphide, by log dose: Bliss (1935), in every textbook of GLMs."""
    return pd.DataFrame(
        {
            "dose": [1.6907, 1.7242, 1.7552, 1.7842, 1.8113, 1.8369, 1.8610, 1.8839],
            "n": [59, 60, 62, 56, 63, 59, 62, 60],
            "y": [6, 13, 18, 28, 52, 53, 61, 60],
        }
    )


def fitted(formula: str, data: pd.DataFrame, link: str, **options: int) -> bm.Fit:
    """The maximum of the likelihood."""
    model = bm.BinomialGLM(formula, link=link)
    return bm.fit(model, data, method=bm.MLE(**options), seed=1, progress=False)


def numbers(fit: bm.Fit, group: str = "estimate") -> list[float]:
    """The population's coefficients, or their standard errors, in order."""
    found = fit.tree[group].to_dataset()
    names = [name for name in found if "|" not in str(name) and not str(name).startswith("sigma")]
    return [float(v) for name in names for v in np.ravel(found[name])]


@pytest.mark.parametrize(
    ("link", "estimates", "errors", "log_likelihood", "bic"),
    [
        ("probit", [-34.9352589157, 19.7279342201], [2.63950748981, 1.48406045958], -18.158898165,
         40.4766794135),
        ("cloglog", [-39.5723106061, 22.0411698207], [3.22906030833, 1.79309596865],
         -14.8222384751, 33.8033600335),
    ],
)  # fmt: skip
def test_beetles_as_in_r(link, estimates, errors, log_likelihood, bic):
    """R 4.2.2; errors are of the observed information, which glm's expected one is 0.3 % from.

    m <- glm(cbind(y, n - y) ~ dose, binomial(link), d, control = glm.control(1e-14, 100))
    f <- function(b) sum(dbinom(d$y, d$n, binomial(link)$linkinv(b[1] + b[2] * d$dose), log = TRUE))
    H <- optimHess(coef(m), f, control = list(ndeps = c(1e-4, 1e-4))); sqrt(diag(solve(-H)))
    """
    fit = fitted("p(y, n) ~ dose", beetles(), link)
    np.testing.assert_allclose(numbers(fit), estimates, rtol=1e-6)
    np.testing.assert_allclose(numbers(fit, "standard_error"), errors, rtol=3e-5)
    assert fit.information()["log_likelihood"] == pytest.approx(log_likelihood, abs=1e-7)
    assert fit.information()["BIC"] == pytest.approx(bic, abs=1e-6)


@pytest.mark.parametrize(
    ("link", "estimates", "log_likelihood"),
    [
        ("probit", [0.81854972642321, -0.02440740745477, -0.00721493482904, 0.41697551638177],
         -111.333426945),
        ("cloglog", [0.7599767231906, -0.0301924557733, -0.0100981033936, 0.5197142542633],
         -111.619398426),
    ],
)  # fmt: skip
def test_birthwt_as_in_r(link, estimates, log_likelihood):
    """R 4.2.2, MASS: glm(low ~ age + lwt + smoke, binomial(link), birthwt), epsilon 1e-14."""
    fit = fitted("low ~ age + lwt + smoke", own("birthwt"), link)
    np.testing.assert_allclose(numbers(fit), estimates, rtol=1e-5)
    assert fit.information()["log_likelihood"] == pytest.approx(log_likelihood, abs=1e-7)


CBPP = {
    "probit": ([-0.832014451, -0.526279023, -0.614781195, -0.797531752], 0.339648135),
    "cloglog": ([-1.532822166, -0.912095204, -1.030153307, -1.478373319], 0.590306017),
}


@OTHERS
def test_groups_by_quadrature_as_in_lme4(link):
    """lme4 1.1.31, 25 nodes, where neither approximates: estimates and spread.

    glmer(cbind(incidence, size - incidence) ~ period + (1 | herd), cbpp, binomial(link),
          nAGQ = 25, control = glmerControl(tolPwrss = 1e-12, optimizer = "bobyqa"))
    """
    data = as_labels(own("cbpp"), "period", "herd")
    formula = "p(incidence, size) ~ period + (1 | herd)"
    fit, (estimates, spread) = fitted(formula, data, link, n_quadrature=25), CBPP[link]
    np.testing.assert_allclose(numbers(fit), estimates, atol=1e-5)
    assert float(fit.tree["estimate"]["sigma_herd"].item()) == pytest.approx(spread, abs=1e-5)


def test_laplace_is_near_the_integral():
    """With the observed information Laplace is 0.016 nats off; lme4's expected one makes 0.054."""
    data = as_labels(own("cbpp"), "period", "herd")
    formula = "p(incidence, size) ~ period + (1 | herd)"
    values = [
        fitted(formula, data, "probit", n_quadrature=n).information()["log_likelihood"]
        for n in (1, 25)
    ]
    assert values[0] - values[1] == pytest.approx(-0.0160, abs=1e-3)


@OTHERS
def test_nuts_is_at_the_likelihood_where_priors_are_wide(link):
    """With many trials and wide priors draws have the mean and the spread of the likelihood."""
    table = beetles()
    data = table.assign(n=40 * table["n"], y=40 * table["y"], dose=table["dose"] - 1.8)
    model = bm.BinomialGLM("p(y, n) ~ dose", link=link)
    draws = bm.fit(model, data, method=bm.NUTS(draws=1000, tune=500), seed=1, progress=False)
    point = fitted("p(y, n) ~ dose", data, link)
    for name in ("Intercept", "dose"):
        values = draws.tree["posterior"][name].to_numpy()
        error = float(point.tree["standard_error"][name])
        away = values.mean() - float(point.tree["estimate"][name])
        assert abs(away) < 0.2 * error
        assert values.std() == pytest.approx(error, rel=0.1)
    assert draws.diagnose().ok


@OTHERS
@pytest.mark.parametrize("method", ["map", "laplace", "advi", "dadvi", "prior"])
def test_every_method_takes_the_link(link, method):
    """Points and approximations are of the same density: the curves of all are near one another."""
    from small_fits import cheap

    model = bm.BinomialGLM("p(high, total) ~ sex", link=link)
    fit = bm.fit(model, bm.datasets.census(), method=cheap(method), seed=1, progress=False)
    assert fit.model.link == link
    assert set(fit.model.curves(*reversed(fit.plausible()))) == {"probability", link}
    if method in ("map", "laplace", "dadvi"):
        exact = fitted("p(high, total) ~ sex", bm.datasets.census(), link)
        near = fit.predict()["probability"] - exact.predict()["probability"]
        assert float(abs(near).max()) < 0.02


def test_links_of_one_model_answer_alike_and_not_the_same():
    """Saturated models have one likelihood whatever the link; with a straight line they differ."""
    data = people()
    reached = [
        fitted("p(high, total) ~ sex", data, link).information()["log_likelihood"]
        for link in ("logit", "probit", "cloglog")
    ]
    np.testing.assert_allclose(reached, reached[0], rtol=1e-8)
    lines = [
        fitted("p(high, total) ~ age", data, link).information()["log_likelihood"]
        for link in ("logit", "probit", "cloglog")
    ]
    assert min(abs(np.diff(lines))) > 1e-4


@pytest.mark.parametrize(
    ("link", "scale", "spread"),
    [("logit", 2.5, 2.0), ("probit", 2.5 * 0.626657, 2.0 * 0.626657), ("cloglog", 2.5, 2.0)],
)
def test_default_priors_are_on_the_scale_of_the_link(link, scale, spread):
    """dlogis(0) / dnorm(0) = 0.626657 probits are a logit; the intercept's mean is the link's."""
    model = bm.BinomialGLM("p(high, total) ~ sex + (1 | edu)", link=link)
    design = model.design(bm.datasets.census())
    priors, counts = design.state.priors, design.arrays
    assert priors.scale == pytest.approx(scale, rel=1e-6)
    share = (counts["successes"].sum() + 0.5) / (counts["trials"].sum() + 1)
    p = model.curves({"Intercept": priors.loc[:1], "sex": np.zeros(1), "1|edu": np.zeros((1, 16))},
                     design)["probability"]  # fmt: skip
    assert p[0, 0] == pytest.approx(share, rel=1e-9)
    drawn = model.draw_prior(design, stream(1, "prior"), 20_000)
    # the quartiles of a half-Cauchy are scale times tan(pi / 8), 1 and tan(3 pi / 8)
    assert np.median(drawn["sigma_edu"]) == pytest.approx(spread, rel=0.06)
    assert f"HalfCauchy({spread:.3g}"[:14] in model.prior_table(design)["sigma_edu"]


def test_a_link_that_there_is_not():
    """A typing mistake names the links that there are."""
    with pytest.raises(SpecError, match=r"link='probot' is not known: .*probit"):
        bm.BinomialGLM("y ~ x", link="probot")
    with pytest.raises(SpecError, match=r"'logit', 'probit'.*'cloglog'"):
        bm.BinomialGLM("y ~ x", link="loglog")


def test_specs_of_before_have_the_logit():
    """JSON that was written before there was a choice of links is read as a logistic model."""
    text = '{"formula": "y ~ x", "parametrization": "mixed", "priors": [], "type": "BinomialGLM"}'
    found = specs.from_json(text, {"BinomialGLM": bm.BinomialGLM})
    assert found == bm.BinomialGLM("y ~ x")
    assert found.link == "logit"


@OTHERS
def test_files_keep_the_link(link, tmp_path):
    """A fit that was saved predicts the same probabilities when it is loaded."""
    fit = fitted("p(high, total) ~ sex", people(), link)
    loaded = bm.load(fit.save(tmp_path / "fit.nc"))
    assert loaded.model == fit.model
    np.testing.assert_array_equal(loaded.predict()["probability"], fit.predict()["probability"])
    assert link in loaded.predict() and "logit" not in loaded.predict()


def test_odds_ratios_are_of_logits():
    """Probits are not log-odds: the refusal says so, and what there is instead."""
    fit = fitted("p(high, total) ~ sex", people(), "probit")
    with pytest.raises(MissingCapability, match=r"link='probit'.*measure='odds-ratio'"):
        fit.odds_ratios()
    assert len(fit.comparisons("sex", measure="odds-ratio")) == 1


@OTHERS
def test_separation_is_refused_whatever_the_link(link):
    """What separates outcomes does so under every link."""
    data = pd.DataFrame({"y": [0, 0, 0, 1, 1, 1], "x": [1.0, 2, 3, 4, 5, 6]})
    with pytest.raises(DataError, match="separates the outcomes perfectly"):
        fitted("y ~ x", data, link)


def test_fits_of_other_links_are_not_nested():
    """A likelihood-ratio test needs one link; BIC compares any."""
    data = own("birthwt")
    fits = {
        "small": fitted("low ~ age", data, "probit"),
        "large": fitted("low ~ age + smoke", data, "probit"),
        "logit": fitted("low ~ age + smoke + lwt", data, "logit"),
    }
    found = bm.compare(fits, criterion="bic")
    assert [(test.smaller, test.larger) for test in found.tests] == [("small", "large")]


@OTHERS
def test_rare_events_far_from_the_start_converge(link):
    """Shares of one in ten thousand and offsets of five are no trouble to Newton's steps."""
    generator = stream(1, "rare")
    x, w = generator.normal(size=400), generator.normal(0, 5, size=400)
    p = links.probability(link, -3.5 + 0.4 * x + 0.3 * w)
    data = pd.DataFrame({"y": generator.binomial(10_000, p), "n": 10_000, "x": x, "w": 0.3 * w})
    fit = fitted("p(y, n) ~ x + offset(w)", data, link)
    errors = numbers(fit, "standard_error")
    away = np.array(numbers(fit)) - [-3.5, 0.4]
    assert (np.abs(away) < 4 * np.array(errors)).all()
