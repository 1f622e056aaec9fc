"""Default priors of binomial regression know no units: minutes and seconds are one model."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_fits import CENSUS_PRIORS

import bayesmix as bm
from bayesmix.rng import stream

FORMULAS = (
    "y ~ x + z",
    "y ~ x + I(x ** 2) + z + x:z",
    "y ~ poly(x, 2) + kind",
    "y ~ bs(x, df=4) + scale(z)",
    "y ~ 0 + kind + x",
    "y ~ x + (x | g)",
    "y ~ x * z + (x + z | g) + (1 | kind)",
)


def rows(count: int = 120) -> pd.DataFrame:
    """Outcomes that bend with x, in eight groups of three kinds."""
    rng = stream(3, "rows")
    x, z = rng.normal(size=(2, count))
    g = rng.integers(0, 8, count)
    logit = -0.5 + 0.8 * x - 0.6 * x**2 + 0.3 * z + rng.normal(0, 0.7, 8)[g]
    y = rng.random(count) < 1 / (1 + np.exp(-logit))
    kind = np.array(["a", "b", "c"])[rng.integers(0, 3, count)]
    return pd.DataFrame({"x": x, "z": z, "g": g, "kind": kind, "y": y.astype(int)})


def in_other_units(data: pd.DataFrame, shift: float, factor: float) -> pd.DataFrame:
    """The same rows with x measured from another origin in other units."""
    return data.assign(x=shift + factor * data["x"])


def drawn(formula: str, data: pd.DataFrame, priors: object = ()) -> tuple[np.ndarray, np.ndarray]:
    """Linear predictors (draw, obs) and log prior of prior draws, one stream of random numbers."""
    model = bm.BinomialGLM(formula, priors)
    design = model.design(data)
    params = model.draw_prior(design, stream(1, "prior"), 30)
    return model.linear_predictor(params, design), model.log_prior(params, design)


@settings(max_examples=15)
@given(
    formula=st.sampled_from(FORMULAS),
    shift=st.floats(-50, 50),
    factor=st.sampled_from([1 / 60, 5 / 9, 60.0, 3600.0]),
)
def test_the_prior_is_one_whatever_the_units(formula: str, shift: float, factor: float) -> None:
    """A prior draw is the same function of the rows, and its density changes by one constant."""
    data = rows()
    eta, density = drawn(formula, data)
    other_eta, other_density = drawn(formula, in_other_units(data, shift, factor))
    np.testing.assert_allclose(other_eta, eta, rtol=1e-5, atol=1e-5)
    change = other_density - density
    np.testing.assert_allclose(change, change[0], atol=1e-5)


def test_priors_given_by_hand_are_on_the_data_as_they_are() -> None:
    """Power: with the census's priors given, other units are another model."""
    data = rows()
    eta, _ = drawn(FORMULAS[0], data, CENSUS_PRIORS)
    other, _ = drawn(FORMULAS[0], in_other_units(data, 0.0, 60.0), CENSUS_PRIORS)
    assert np.abs(other - eta).max() > 10


def test_the_prior_does_not_count_rows_but_people() -> None:
    """Ten rows of one trial have the prior of one row of ten trials."""
    table = pd.DataFrame({"x": [0.0, 1.0, 5.0], "n": [10, 4, 1], "k": [3, 2, 1]})
    single = pd.DataFrame({"x": np.repeat(table["x"], table["n"])})
    single["y"] = np.concatenate([[1] * 3 + [0] * 7, [1] * 2 + [0] * 2, [1]])
    counted = bm.BinomialGLM("p(k, n) ~ x")
    one_by_one = bm.BinomialGLM("y ~ x")
    assert counted.prior_table(counted.design(table)) == one_by_one.prior_table(
        one_by_one.design(single)
    )


@pytest.mark.parametrize("shift", [0.0, 2000.0])
def test_the_mode_is_one_whatever_the_units(shift: float) -> None:
    """MAP predicts the same probabilities of x and of x in other units, of squares and slopes."""
    data, formula = rows(), "y ~ x + I(x ** 2) + (x | g)"
    found = [
        bm.fit(bm.BinomialGLM(formula), table, method="map", seed=1, progress=False)
        .curves()["probability"]
        .to_numpy()
        for table in (data, in_other_units(data, shift, 60.0))
    ]
    np.testing.assert_allclose(found[1], found[0], atol=1e-3)


def test_a_curve_in_orthogonal_columns_is_not_forbidden() -> None:
    """The posterior of poly(x, 2) keeps the curve that the data show, as glm finds it."""
    data = rows(600)
    point = bm.fit(bm.BinomialGLM("y ~ poly(x, 2)"), data, method="mle", seed=1, progress=False)
    fit = bm.fit(bm.BinomialGLM("y ~ poly(x, 2)"), data, method="laplace", seed=1, progress=False)
    gap = np.abs(fit.predict()["probability"] - point.predict()["probability"])
    assert float(gap.max()) < 0.02
