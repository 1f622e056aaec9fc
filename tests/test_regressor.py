"""The face of scikit-learn: its own checks, and what predict and score mean."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import cross_val_score
from sklearn.utils.estimator_checks import estimator_checks_generator

import bayesmix as bm

NAMED = [
    (check, getattr(check, "func", check).__name__)
    for _, check in estimator_checks_generator(bm.Regressor())
]
# arrays of other libraries are not claimed, and scikit-learn skips their check itself
CHECKS = [(check, name) for check, name in NAMED if "array_api" not in name]


@pytest.mark.parametrize("check", [c for c, _ in CHECKS], ids=[name for _, name in CHECKS])
@pytest.mark.filterwarnings("ignore::bayesmix.errors.FarOutside")
def test_scikit_learns_own_checks(check) -> None:
    """Every check that scikit-learn asks of an estimator."""
    check(bm.Regressor())


def test_the_default_is_least_squares() -> None:
    """The mean is LinearRegression's, the score the log density of its Gaussian noise."""
    x, y = load_diabetes(return_X_y=True)
    ours, theirs = bm.Regressor().fit(x, y), LinearRegression().fit(x, y)
    np.testing.assert_allclose(ours.predict(x), theirs.predict(x), rtol=1e-6)
    sd = (y - theirs.predict(x)).std()
    expected = -0.5 - np.log(sd) - 0.5 * np.log(2 * np.pi)
    assert ours.score(x, y) == pytest.approx(expected, abs=1e-3)


def test_a_model_of_ones_own_is_chosen_by_its_density() -> None:
    """Three branches: a mixture beats a line by cross-validated log density."""
    data = bm.datasets.one_to_many()
    mixture = bm.Regressor(bm.MixtureOfExperts("target ~ x", 3, floor=0.01), "em")
    line = bm.Regressor(bm.MixtureOfExperts("target ~ x", 1, floor=0.01), "em")
    scores = [
        cross_val_score(one, data[["x"]], data["target"], cv=3).mean() for one in (mixture, line)
    ]
    assert scores[0] > scores[1] + 0.5


def test_columns_keep_their_names() -> None:
    """A data frame's columns are those that the formula reads."""
    data = bm.datasets.one_to_many()
    fitted = bm.Regressor(bm.MixtureOfExperts("target ~ x", 1), "em").fit(
        data[["x"]], data["target"]
    )
    assert list(fitted.feature_names_in_) == ["x"]
    assert isinstance(fitted.fit_, bm.Fit)
    assert fitted.predict(pd.DataFrame({"x": [0.5]})).shape == (1,)
