"""Coefficients by group: population plus deviation, of draws and of a point."""

from __future__ import annotations

import numpy as np
import pytest

import bayesmix as bm

CENSUS = bm.datasets.census()


def fitted(terms: str, method: str | bm.NUTS = "mle") -> bm.Fit:
    """A quick fit of the census."""
    model = bm.BinomialGLM(f"p(high, total) ~ {terms}")
    return bm.fit(model, CENSUS, method=method, seed=1, progress=False)


def test_coefficients_of_draws_make_the_linear_predictor():
    """Intercept plus slope by group give the logit of every row, draw by draw."""
    fit = fitted("sex + (sex | edu)", bm.NUTS(draws=50, tune=200, chains=2))
    found = fit.coefficients("edu")
    assert list(found.data_vars) == ["Intercept", "sex"]
    assert found["sex"].dims == ("chain", "draw", "edu")
    rows = found.sel(edu=CENSUS["edu"].astype(str).to_numpy())
    logit = rows["Intercept"].to_numpy() + rows["sex"].to_numpy() * CENSUS["sex"].to_numpy()
    np.testing.assert_allclose(logit.reshape(100, 14), fit.curves()["logit"], atol=1e-12)


def test_coefficients_of_a_point_are_lme4_s():
    """Within a hundredth of the source's posterior means (REFERENCE, section 2), by level."""
    found = fitted("sex + (1 | edu)").coefficients("edu")["Intercept"]
    assert found.dims == ("edu",)
    source = [-3.891, -2.719, -2.374, -1.415, -1.350, -0.712, 0.020]
    np.testing.assert_allclose(found, source, atol=0.01)


def test_an_effect_without_a_population_is_its_deviation():
    """Where the formula has no common effect, a group's own is all there is."""
    fit = fitted("1 + (0 + sex | edu)")
    np.testing.assert_array_equal(fit.coefficients("edu")["sex"], fit.tree["estimate"]["sex|edu"])


@pytest.mark.parametrize(
    ("error", "words", "terms", "group"),
    [
        ("MissingCapability", "effects that vary by group", "sex", "edu"),
        ("UnknownName", "no effects vary by 'sex': Allowed: 'edu'", "sex + (1 | edu)", "sex"),
        ("UnknownName", "did you mean 'edu'", "sex + (1 | edu)", "eduu"),
        ("UnknownName", "no effects vary by 3", "sex + (1 | edu)", 3),
    ],
)
def test_bad_input_is_told(error, words, terms, group):
    """A fit without groups, or another factor, is an error that says what there is."""
    with pytest.raises(getattr(bm.errors, error)) as caught:
        fitted(terms).coefficients(group)
    assert words in str(caught.value)
