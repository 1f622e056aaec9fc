"""A PyMC model written by hand is a spec's, or is told to be another."""

from __future__ import annotations

from typing import Any

import numpy as np
import pymc as pm
import pytest

import bayesmix as bm
from bayesmix.calibrate import arithmetic

CENSUS = bm.datasets.census()
EDU, SEX = CENSUS["edu"].cat.codes.to_numpy(), CENSUS["sex"].to_numpy()
PRIORS = {"Intercept": bm.Normal(0, 10), "sex": bm.Normal(0, 1), "sigma_edu": bm.HalfCauchy(2)}
PARTIAL = bm.BinomialGLM("p(high, total) ~ sex + (1 | edu)", PRIORS)
SLOPES = bm.BinomialGLM("p(high, total) ~ sex + (sex | edu)", PRIORS)

CENTRED = {
    "a": "Intercept",
    "b": "sex",
    "sigma": "sigma_edu[Intercept]",
    "alpha": "1|edu + Intercept",
}
CORR = "corr_edu[Intercept, sex]"
FIRST, SECOND = "1|edu / sigma_edu[Intercept]", "sex|edu / sigma_edu[sex]"
UNIT = {
    "a": "Intercept",
    "b": "sex",
    "s": "sigma_edu",
    "h": f"({CORR} + 1) / 2",
    "z": f"stack({FIRST}, ({SECOND} - {CORR} * {FIRST}) / sqrt(1 - {CORR} * {CORR}))",
}


def intercepts(slope_sd: float = 1.0, offset: float = 0.0) -> Any:
    """Partial pooling by hand, with the slope's prior and a slip in the likelihood to choose."""
    with pm.Model() as model:
        a, b = pm.Normal("a", 0, 10), pm.Normal("b", 0, slope_sd)
        sigma = pm.HalfCauchy("sigma", 2)
        alpha = pm.Normal("alpha", a, sigma, shape=7)
        logit = alpha[EDU] + b * (SEX + offset)
        pm.Binomial("high", n=CENSUS["total"], logit_p=logit, observed=CENSUS["high"])
    return model


def noncentred(added: int) -> Any:
    """Varying slopes from unit normals, with or without the population's means."""
    with pm.Model() as model:
        a, b = pm.Normal("a", 0, 10), pm.Normal("b", 0, 1)
        s, h = pm.HalfCauchy("s", 2, shape=2), pm.Beta("h", 2, 2)
        rho, z = 2 * h - 1, pm.Normal("z", 0, 1, shape=(7, 2))
        alpha = added * a + s[0] * z[:, 0]
        beta = added * b + s[1] * (rho * z[:, 0] + pm.math.sqrt(1 - rho**2) * z[:, 1])
        logit = alpha[EDU] + beta[EDU] * SEX
        pm.Binomial("high", n=CENSUS["total"], logit_p=logit, observed=CENSUS["high"])
    return model


def test_the_same_model_by_hand_is_the_same():
    """Intercepts and deviations added up are another name for one posterior."""
    found = bm.same_posterior(PARTIAL, CENSUS, intercepts(), CENTRED)
    assert found.same and bool(found) and found.parts == () and found.variables == ()
    assert found.draws == 50
    assert str(found).startswith("The same posterior")


def test_other_coordinates_are_the_same_model():
    """Unit normals carry a Jacobian that depends on spreads and correlation, and it is counted."""
    assert bm.same_posterior(SLOPES, CENSUS, noncentred(1), UNIT, draws=20)


def test_the_source_s_noncentred_model_is_another():
    """Without '+ [a, b]' it is another posterior, by its likelihood, most of all in a."""
    found = bm.same_posterior(SLOPES, CENSUS, noncentred(0), UNIT, draws=20)
    assert not found
    assert found.parts == ("likelihood",)
    assert found.variables[0] == "Intercept" and "sex" in found.variables
    assert str(found).startswith("Another posterior")


def test_a_wrong_prior_is_found_where_it_stands():
    """A slope's prior of another width is told as the prior, of that slope alone."""
    found = bm.same_posterior(PARTIAL, CENSUS, intercepts(slope_sd=1.01), CENTRED)
    assert (found.same, found.parts, found.variables) == (False, ("prior",), ("sex",))


def test_a_small_slip_in_the_likelihood_is_found():
    """A predictor off by 1e-6 is another model."""
    found = bm.same_posterior(PARTIAL, CENSUS, intercepts(offset=1e-6), CENTRED)
    assert not found.same and found.parts == ("likelihood",)


def discrete() -> Any:
    """A PyMC model with a variable that has no density."""
    with pm.Model() as model:
        k = pm.Poisson("k", 1)
        pm.Normal("y", k, 1, observed=[0.0])
    return model


@pytest.mark.parametrize(
    ("error", "words", "changed"),
    [
        ("MissingCapability", "has none", {"model": bm.PiecewiseRegression("high ~ low", 2)}),
        ("SpecError", "must be a pm.Model, got a str", {"pymc_model": "by_hand"}),
        ("SpecError", "of these discrete: 'k'", {"pymc_model": discrete()}),
        ("UnknownName", "no free variable 'alhpa'", {"names": {"alhpa": "sex"}}),
        ("UnknownName", "unknown parameter 'Intercep'", {"names": {**CENTRED, "a": "Intercep"}}),
        ("UnknownName", "no entry 'sex'", {"names": {**CENTRED, "sigma": "sigma_edu[sex]"}}),
        ("SpecError", "has 0 labels", {"names": {**CENTRED, "b": "sex[male]"}}),
        ("SpecError", "'1|edu' has shape (7,)", {"names": {**CENTRED, "b": "1|edu"}}),
        ("SpecError", "given the same value", {"names": {**CENTRED, "b": "Intercept"}}),
        ("SpecError", "is not arithmetic", {"names": {**CENTRED, "b": "sex ** 2"}}),
        ("SpecError", "is not arithmetic", {"names": {**CENTRED, "b": "sex +"}}),
        ("SpecError", "draws must be a whole number >= 5", {"draws": 1}),
        ("UnknownArgument", "no argument 'name'", {"name": {}}),
    ],
)
def test_bad_input_is_told(error, words, changed):
    """Each mistake is an error that says what was given and what there is."""
    given: dict[str, Any] = {"model": PARTIAL, "data": CENSUS, "names": CENTRED, **changed}
    given.setdefault("pymc_model", intercepts())
    with pytest.raises(getattr(bm.errors, error)) as caught:
        bm.same_posterior(**given)
    assert words in str(caught.value)


def test_a_spec_of_another_size_is_told():
    """A model with fewer parameters is an error that counts both."""
    complete = bm.BinomialGLM("p(high, total) ~ sex", {k: PRIORS[k] for k in ("Intercept", "sex")})
    names = {"a": "Intercept", "b": "sex", "sigma": "exp(sex)", "alpha": "Intercept"}
    with pytest.raises(bm.errors.SpecError, match="'alpha' has shape"):
        bm.same_posterior(complete, CENSUS, intercepts(), names)


def test_names_with_brackets_and_bars_are_read():
    """Names of formulas are names, not operators; entries go by label."""
    point = {"1|edu": np.array([1.0, 2.0]), "center(sex)": np.array(3.0), "sex": np.array(5.0)}
    dims = {"1|edu": ("edu_group",), "center(sex)": (), "sex": ()}
    coords = {"edu_group": ("HS Grad", "PhD")}
    found = arithmetic.value("-1|edu[HS Grad] * center(sex) + sex/2", point, dims, coords)
    assert found == -1.0 * 3.0 + 2.5
