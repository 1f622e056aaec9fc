"""Priors: each one's density, its draws and its PyMC twin are the same distribution."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from bayesmix import priors, rng, specs
from bayesmix.errors import SpecError
from bayesmix.priors import LKJ, Exponential, HalfCauchy, HalfNormal, Normal, Prior, StudentT

# Each prior beside the same distribution in scipy.stats, the reference.
PAIRS: list[tuple[Prior, Any]] = [
    (Normal(0, 1), stats.norm(0, 1)),
    (Normal(-3.5, 10), stats.norm(-3.5, 10)),
    (HalfCauchy(2), stats.halfcauchy(scale=2)),
    (HalfCauchy(0.1), stats.halfcauchy(scale=0.1)),
    (HalfNormal(1), stats.halfnorm(scale=1)),
    (HalfNormal(7.5), stats.halfnorm(scale=7.5)),
    (Exponential(1), stats.expon(scale=1)),
    (Exponential(0.25), stats.expon(scale=0.25)),
    (StudentT(4, 0, 1), stats.t(4, 0, 1)),
    (StudentT(1.5, 2, 3), stats.t(1.5, 2, 3)),
]
NAMES = [repr(prior) for prior, _ in PAIRS]
each_pair = pytest.mark.parametrize(("prior", "reference"), PAIRS, ids=NAMES)
each_prior = pytest.mark.parametrize("prior", [prior for prior, _ in PAIRS], ids=NAMES)
POSITIVE = st.floats(0.05, 50)
DRAWS = 20_000


@each_pair
def test_log_density_equals_scipy(prior: Prior, reference: Any) -> None:
    """On a grid that reaches far into both tails, log densities agree to 1e-12."""
    grid = np.concatenate([np.linspace(-80, 80, 321), [1e-9, 1e3, 1e5]])
    np.testing.assert_allclose(prior.log_density(grid), reference.logpdf(grid), rtol=1e-12)


@each_pair
def test_draws_follow_the_density(prior: Prior, reference: Any) -> None:
    """20,000 draws pass a Kolmogorov-Smirnov test against scipy's distribution function."""
    drawn = prior.draw(rng.stream(20, repr(prior)), (DRAWS,))
    assert stats.kstest(drawn, reference.cdf).pvalue > 1e-3


@each_prior
def test_density_integrates_to_one(prior: Prior) -> None:
    """The density is normalised: its integral over the support is 1."""
    total, error = integrate.quad(
        lambda x: float(np.exp(prior.log_density(x))), prior.support_low, math.inf, limit=200
    )
    assert total == pytest.approx(1, abs=max(1e-7, 10 * error))


@given(df=POSITIVE, loc=st.floats(-50, 50), scale=POSITIVE, x=st.floats(-100, 100))
def test_any_parameters_agree_with_scipy(df: float, loc: float, scale: float, x: float) -> None:
    """Whatever the location, scale and degrees of freedom, log densities agree with scipy."""
    t = StudentT(df, loc, scale).log_density(x)
    np.testing.assert_allclose(t, stats.t(df, loc, scale).logpdf(x), rtol=1e-9, atol=1e-9)
    normal = Normal(loc, scale).log_density(x)
    np.testing.assert_allclose(normal, stats.norm(loc, scale).logpdf(x), rtol=1e-9, atol=1e-9)


@each_prior
def test_support_starts_where_it_says(prior: Prior) -> None:
    """Below ``support_low`` the log density is -inf and nothing is drawn; from it on, finite."""
    below, at = np.array([-1e-9, -5.0]), np.array([0.0, 5.0])
    assert np.isfinite(prior.log_density(at)).all()
    half_line = prior.support_low == 0
    assert np.isneginf(prior.log_density(below)).all() == half_line
    assert (prior.draw(rng.stream(1, "support"), (1000,)).min() >= 0) == half_line


@each_prior
def test_shapes_are_kept(prior: Prior) -> None:
    """Densities are elementwise, and draws have the shape that was asked for."""
    assert prior.log_density(np.ones((2, 3))).shape == (2, 3)
    assert prior.log_density(1).shape == ()
    assert prior.draw(rng.stream(1, "shape"), (4, 2)).shape == (4, 2)
    assert prior.draw(rng.stream(1, "shape"), ()) == prior.draw(rng.stream(1, "shape"), ())


@each_prior
def test_same_stream_same_draws(prior: Prior) -> None:
    """Draws repeat under the same seed and differ under another."""
    first, again, other = (prior.draw(rng.stream(seed, "p"), (5,)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_pymc_twins_have_the_same_density() -> None:
    """PyMC has every prior of NumPy: its shape to 1e-10, its constant to 1e-8."""
    import pymc as pm
    import pytensor

    grid = np.array([0.0, 0.01, 0.7, 3.0, 40.0])
    with pm.Model():
        twins = [prior.pymc(f"p{i}") for i, (prior, _) in enumerate(PAIRS)]
    graphs = [pm.logp(twin, grid) for twin in twins]
    found = pytensor.function([], graphs, mode="FAST_COMPILE")()
    for (prior, _), values in zip(PAIRS, found, strict=True):
        ours = prior.log_density(grid)
        # PyMC takes log(2) of a half-Cauchy in single precision: a constant, 2e-9 off
        np.testing.assert_allclose(values, ours, rtol=0, atol=1e-8, err_msg=repr(prior))
        inside = np.isfinite(ours)
        shape = (values - values[inside][0])[inside], (ours - ours[inside][0])[inside]
        np.testing.assert_allclose(*shape, rtol=1e-10, atol=1e-14, err_msg=repr(prior))


def test_pymc_twins_take_a_name_and_dims() -> None:
    """The PyMC variable has the name and the dims that it was given."""
    import pymc as pm

    with pm.Model(coords={"edu": ["a", "b", "c"]}) as model:
        for i, (prior, _) in enumerate(PAIRS):
            prior.pymc(f"p{i}", dims="edu")
    assert list(model.named_vars) == [f"p{i}" for i in range(len(PAIRS))]
    assert set(model.named_vars_to_dims.values()) == {("edu",)}


@pytest.mark.parametrize("prior", [*(p for p, _ in PAIRS), LKJ(2), LKJ(0.5)], ids=repr)
def test_json_round_trip(prior: object) -> None:
    """A prior comes back from JSON equal, with the same hash and text."""
    types = {type(prior).__name__: type(prior)}
    back = specs.from_json(specs.to_json(prior), types)
    assert back == prior
    assert hash(back) == hash(prior)
    assert specs.to_json(back) == specs.to_json(prior)


@pytest.mark.parametrize("prior", [*(p for p, _ in PAIRS), LKJ(2), StudentT(4, 0, 1)], ids=repr)
def test_fields_are_floats(prior: Any) -> None:
    """Whole numbers become floats, so that ``Normal(0, 10)`` and ``Normal(0.0, 10.0)`` are one."""
    assert {type(value) for value in dataclasses.astuple(prior)} == {float}


def test_priors_are_frozen() -> None:
    """A prior cannot be changed once it is made."""
    with pytest.raises(AttributeError, match="cannot assign to field 'scale'"):
        Normal(0, 1).scale = 2.0  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ("kind", "fields", "words"),
    [
        (Normal, {"scale": 0}, r"Normal: scale must be finite and lie in \(0, inf\), got 0"),
        (Normal, {"scale": -1}, "Normal: scale must be finite"),
        (Normal, {"loc": math.nan}, "Normal: loc must be finite"),
        (Normal, {"loc": math.inf}, "Normal: loc must be finite"),
        (Normal, {"loc": "0"}, "Normal: loc must be a number, got '0'"),
        (Normal, {"scale": None}, "Normal: scale must be a number, got None"),
        (Normal, {"scale": True}, "Normal: scale must be a number, got True"),
        (HalfCauchy, {"scale": 0}, "HalfCauchy: scale must be finite"),
        (HalfCauchy, {"scale": math.inf}, "HalfCauchy: scale must be finite"),
        (HalfNormal, {"scale": -2}, "HalfNormal: scale must be finite"),
        (HalfNormal, {"scale": [1]}, r"HalfNormal: scale must be a number, got \[1\]"),
        (Exponential, {"scale": 0}, "Exponential: scale must be finite"),
        (Exponential, {"scale": math.nan}, "Exponential: scale must be finite"),
        (StudentT, {"df": 0}, "StudentT: df must be finite"),
        (StudentT, {"df": math.inf}, "StudentT: df must be finite"),
        (StudentT, {"scale": -1}, "StudentT: scale must be finite"),
        (StudentT, {"loc": "a"}, "StudentT: loc must be a number, got 'a'"),
        (LKJ, {"eta": 0}, r"LKJ: eta must be finite and lie in \(0, inf\), got 0"),
        (LKJ, {"eta": "2"}, "LKJ: eta must be a number, got '2'"),
    ],
)
def test_parameters_out_of_range_are_refused(
    kind: type, fields: dict[str, Any], words: str
) -> None:
    """Every parameter out of its range is refused, with the prior, its name and the range."""
    with pytest.raises(SpecError, match=words):
        kind(**fields)


def test_every_prior_is_tested() -> None:
    """A prior that is added to the module has to be added to the pairs of this file."""
    made = {
        value
        for value in vars(priors).values()
        if isinstance(value, type) and issubclass(value, Prior) and value is not Prior
    }
    assert made == {type(prior) for prior, _ in PAIRS}


def test_pairs_run_row_by_row() -> None:
    """The partial correlations of n variables are stored by first, then second variable."""
    assert priors.pairs(4) == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    assert priors.pairs(1) == []
    assert len(priors.pairs(5)) == len(LKJ(1).shapes(5)) == 10


@pytest.mark.parametrize("eta", [0.5, 1.0, 2.0, 5.0])
def test_lkj_of_two_is_a_beta(eta: float) -> None:
    """For two variables the density of r is (1 - r^2)^(eta - 1): (r + 1) / 2 ~ Beta(eta, eta)."""
    assert LKJ(eta).shapes(2).tolist() == [eta]


@pytest.mark.parametrize("eta", [0.5, 1.0, 2.0, 5.0])
def test_vine_of_three_has_the_lkj_density(eta: float) -> None:
    """Partial correlations with these shapes give a matrix of density det(R)^(eta - 1), scaled.

    Lewandowski, Kurowicka & Joe (2009), doi:10.1016/j.jmva.2009.04.008: with
    r12 = p12 sqrt((1 - p01^2)(1 - p02^2)) + p01 p02, the change of variables has the Jacobian
    sqrt((1 - p01^2)(1 - p02^2)).
    """
    shapes = LKJ(eta).shapes(3)
    partial = rng.stream(4, "vine").uniform(-0.95, 0.95, (200, 3))
    log_partial = stats.beta(shapes, shapes).logpdf((partial + 1) / 2).sum(1)
    rest = np.log1p(-(partial**2))
    log_density = log_partial - (rest[:, 0] + rest[:, 1]) / 2
    log_det = rest.sum(1)
    constant = log_density - (eta - 1) * log_det
    np.testing.assert_allclose(constant, constant[0], atol=1e-10)
