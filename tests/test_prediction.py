"""Predictions far from the training rows: numbers where they exist, and words where they do not."""

from __future__ import annotations

import functools
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import bayesmix as bm
from bayesmix.errors import BayesmixWarning, FarOutside, NoNumber
from bayesmix.mixtures import algebra, components
from bayesmix.rng import stream


def table() -> pd.DataFrame:
    """Two branches, and counts with two rates."""
    rng = stream(4, "far")
    x = rng.normal(size=200)
    upper = rng.random(200) < 0.5
    return pd.DataFrame(
        {
            "x": x,
            "y": np.where(upper, 1 + x, -1 - x) + rng.normal(0, 0.1, 200),
            "k": rng.poisson(np.exp(np.where(upper, 0.5 + x, 1 - x))),
            "id": np.arange(200) % 5 + 1000,
            "one": (rng.random(200) < 0.4).astype(int),
        }
    )


@functools.cache
def fitted(kind: str) -> bm.Fit:
    """Gaussian or Poisson experts, by EM."""
    target = {"gaussian": "y", "poisson": "k"}[kind]
    model = bm.MixtureOfExperts(f"{target} ~ x", 2, kind)
    return bm.fit(model, table(), method=bm.EM(restarts=2), seed=1, progress=False)


def at(*x: float) -> pd.DataFrame:
    """Rows with these predictors."""
    return pd.DataFrame({"x": list(x)})


def test_gaussian_experts_have_moments_far_out() -> None:
    """At x = 1e5 one expert is infinitely wide and weighs nothing: mean and sd are the other's."""
    fit, rows = fitted("gaussian"), at(1e5, -1e5)
    with pytest.warns(FarOutside):
        found = fit.predict(rows)
    loc, weight = (fit.curves(rows)[name].to_numpy()[0] for name in ("loc", "weight"))
    heavy = weight.argmax(axis=1)
    np.testing.assert_allclose(found["mean"], loc[[0, 1], heavy], rtol=1e-12)
    assert np.isfinite(found["sd"]).all() and (found["sd"] > 0).all()
    assert np.isfinite(found["quantile_of_target"]).all()
    for quantiles in ((0.05, 0.5, 0.95), (1 - 1e-16, 1e-300)):
        assert np.isfinite(fit.conditional_quantiles(rows, quantiles)).all()


def test_poisson_experts_have_a_mean_as_long_as_doubles_do() -> None:
    """A rate of 1e38 is drawn and averaged; one beyond 1e308 is told, by row, and is not zero."""
    fit, rate = fitted("poisson"), 100.0
    with pytest.warns(FarOutside):
        found = fit.predict(at(rate))
    curves = fit.curves(at(rate))
    expected = (curves["weight"] * curves["loc"]).sum().item()
    assert expected > 1e30
    assert found["mean"].item() == pytest.approx(expected)
    assert found["quantile_of_target"][1].item() > 1e30
    with (
        pytest.warns(FarOutside),
        pytest.warns(NoNumber, match="mean, sd and quantiles of the target .* in rows 1, 2; look"),
    ):
        beyond = fit.predict(at(0.0, 1e5, -1e5))
    assert np.isfinite(beyond["mean"][0]) and np.isinf(beyond["mean"][1:]).all()
    assert np.isinf(beyond["quantile_of_target"][:, 1]).all()
    with pytest.warns(NoNumber, match=r"quantiles \[0.5\] .* in row 1; look at the predictors"):
        assert np.isnan(fit.conditional_quantiles(at(0.0, 1e5), [0.5])[0, 1])


def test_a_block_of_counts_beyond_whole_numbers_is_kept() -> None:
    """Outcomes of rows that fit into whole numbers are the same beside rows that do not."""
    fit, near = fitted("poisson"), at(*np.linspace(-1, 1, 300))
    far = pd.concat([near, at(100.0)], ignore_index=True)
    plain, wide = (fit.sample(rows, draws=20)["k"] for rows in (near, far))
    assert plain.dtype.kind == "i" and wide.dtype.kind == "f"
    np.testing.assert_array_equal(plain[:, :256], wide[:, :256])
    assert (wide[:, 300] > 1e30).any()


def test_moments_in_logarithms_are_the_moments() -> None:
    """Where nothing overflows, logarithms give the mixture's mean and variance."""
    rng = np.random.default_rng(5)
    log_weight = algebra.log_softmax(rng.normal(size=(3, 7, 4)))
    loc, spread = rng.normal(size=(2, 3, 7, 4))
    rows = {"trials": np.full((7, 1), 9.0)}
    for expert in (components.Gaussian(0.01), components.Poisson(), components.Binomial()):
        direct = algebra.moments(np.exp(log_weight), *expert.moments(rows, loc, spread))
        logs = algebra.far_moments(log_weight, expert.log_moments(rows, loc, spread))
        np.testing.assert_allclose(logs, direct, rtol=1e-10)
    # a mean of e^1000 and a weight of e^-990: their product exists
    far = algebra.LogMoments(*np.array([[[1000.0, 0.0]], [[1.0, 1.0]], [[-np.inf, -np.inf]]]))
    mean, _ = algebra.far_moments(np.array([[-990.0, 0.0]]), far)
    assert mean.item() == pytest.approx(np.exp(10) + 1)


def test_tails_of_a_mixture_have_all_their_digits() -> None:
    """The quantile of 1 - 1e-16 is as exact as that of 1e-16: one expert's is scipy's."""
    model = bm.MixtureOfExperts("y ~ x", 1, scale="constant")
    fit = bm.fit(model, table(), method="em", seed=1, progress=False)
    high, low = fit.conditional_quantiles(at(0.3), [1 - 2.0**-53, 2.0**-53]).to_numpy()[:, 0]
    found = fit.predict(at(0.3))
    mean, sd = found["mean"].item(), found["sd"].item()
    assert high == pytest.approx(mean + sd * stats.norm.isf(2.0**-53), rel=1e-9)
    assert low == pytest.approx(mean - sd * stats.norm.isf(2.0**-53), rel=1e-9)
    for kind in ("gaussian", "poisson"):
        model, design = fitted(kind).model, fitted(kind).design
        params = {k: v.to_numpy()[None] for k, v in fitted(kind).tree["estimate"].data_vars.items()}
        function, values = model.cdf(params, design), np.full(design.n_obs, 1.5)
        both = function(values) + function(values, above=True)
        np.testing.assert_allclose(both, 1, rtol=1e-12)


def test_how_far_rows_lie_outside_is_told_for_every_row() -> None:
    """The distance is in ranges of the farthest column; only more than one range is warned of."""
    data = table()
    low, high = data["x"].min(), data["x"].max()
    width = high - low
    rows = at(0.0, low, high + 0.5 * width, low - 0.25 * width)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = fitted("gaussian").predict(rows)
        inside = fitted("gaussian").predict()
    np.testing.assert_allclose(found["outside_training"], [0, 0, 0.5, 0.25])
    assert (inside["outside_training"] == 0).all()
    words = r"'x' in row 1 \(.* in row 1, 1.5 ranges beyond \[.*'outside_training'"
    with pytest.warns(FarOutside, match=words) as told:
        fitted("gaussian").predict(at(0.0, high + 1.5 * width))
    assert len(told) == 1 and issubclass(FarOutside, BayesmixWarning)
    assert told[0].filename == __file__


def test_numbers_that_name_groups_have_no_range() -> None:
    """A new group is not far out, however its number compares; its predictors may be."""
    data = table().assign(n=5)
    model = bm.BinomialGLM("one ~ x + (1 | id)")
    fit = bm.fit(model, data, method="mle", seed=1, progress=False)
    new = pd.DataFrame({"x": [0.0], "id": [999_999]})
    assert fit.predict(new)["outside_training"].item() == 0
    with pytest.warns(FarOutside, match="'x' in row 0"):
        fit.predict(new.assign(x=99.0))
