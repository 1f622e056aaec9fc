"""Torch, EM and the compiled loop are readings of one mixture of experts; so is PyMC."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from mixture_cases import DRAWS, EXPERTS, case, table_of_experts

import bayesmix as bm
from bayesmix import rng as random
from bayesmix.compiled.density import Target, target

EACH = pytest.mark.parametrize("name", EXPERTS)


@EACH
def test_torch_equals_numpy(name):
    """The torch module at a draw has NumPy's log density row by row, and its total."""
    from bayesmix.models.experts.in_torch import ExpertsLikelihood

    model, design, params = case(name)
    expected = model.log_density(params, design)
    for i in range(DRAWS):
        point = {key: value[i] for key, value in params.items()}
        module = ExpertsLikelihood(model.rows(design), model.coefficients(point, design))
        found = module.log_prob().detach().numpy()
        np.testing.assert_allclose(found, expected[i], rtol=1e-10)
        assert float(module().detach()) == pytest.approx(expected[i].sum(), rel=1e-10)


@EACH
def test_torch_parameters_are_named_as_numpy_has_them(name):
    """Coefficients come back in order of the experts, the gate's summing to zero."""
    from bayesmix.models.experts.in_torch import ExpertsLikelihood

    model, design, params = case(name)
    point = {key: value[0] for key, value in params.items()}
    module = ExpertsLikelihood(model.rows(design), model.coefficients(point, design))
    found, _ = model.from_torch(module, design)
    assert list(found) == list(model.dims(design))
    back = {key: np.asarray(value)[None] for key, value in found.items()}
    np.testing.assert_allclose(
        model.log_density(back, design)[0], model.log_density(params, design)[0], rtol=1e-10
    )
    for key, value in found.items():
        if key.startswith("gate_"):
            size = np.abs(value).max()
            np.testing.assert_allclose(value.sum(axis=0), 0, atol=1e-14 * (1 + size))


@EACH
def test_the_likelihood_of_em_is_the_same(name):
    """EM's chunks of rows and whitened columns sum to NumPy's log density."""
    model, design, params = case(name)
    white, to_raw = model.whitened(design)
    for i in range(DRAWS):
        c = model.coefficients({key: value[i] for key, value in params.items()}, design)
        expected = model.log_density(params, design)[i].sum()
        assert model.rows(design).value(c) == pytest.approx(expected, rel=1e-11)
        found = white.value(to_raw.whitened(c)) - design.n_obs * to_raw.log_unit
        assert found == pytest.approx(expected, rel=1e-11)


def test_a_density_of_nan_is_refused_by_the_loop():
    """A parameter that is no number gives no density, not one without that expert."""
    density = target(*case("gaussian")[:2])
    for i in range(density.n_dim):
        point = np.zeros(density.n_dim)
        point[i] = np.nan
        assert density.log_density(point)[0] == -np.inf


@pytest.mark.slow
def test_nan_in_one_expert_is_not_taken_for_no_weight():
    """The likelihood itself, without the prior, is NaN where one expert's loc is."""
    from bayesmix.models.experts import in_numba

    model, design, params = case("gaussian")
    kernel = model.kernel(design)
    free = model.free(params, design)
    point = target(model, design).point({key: value[0] for key, value in free.items()})
    arrays = kernel.arrays[:-1]
    expected = model.log_density(params, design)[0].sum()
    found = in_numba.log_likelihood(point, *arrays, np.zeros(point.size))
    assert found == pytest.approx(expected, rel=1e-10)
    point[1] = np.nan
    assert np.isnan(in_numba.log_likelihood(point, *arrays, np.zeros(point.size)))


def test_other_priors_are_left_to_pymc():
    """The compiled loop knows normal priors alone."""
    model = bm.MixtureOfExperts("y ~ x", 2, priors={"x": bm.StudentT(4, 0, 1)})
    assert model.kernel(model.design(table_of_experts())) is None


def test_positive_variables_start_from_their_logarithm():
    """Where PyMC samples the log of a positive coefficient, so does the point of named values."""
    layout = (("b", 1), ("x_log__", 2))
    density = Target(3, np.zeros(3), layout, (), None, None, (), np.zeros(1))  # type: ignore[arg-type]
    point = density.point({"x": np.array([0.5, 2.0]), "b": np.array([-1.0])})
    np.testing.assert_allclose(point, [-1.0, np.log(0.5), np.log(2.0)], rtol=1e-15)


@pytest.mark.slow
def test_a_positive_slope_is_sampled():
    """A half-normal prior on the slopes, which PyMC samples in logs, keeps every draw positive."""
    model = bm.MixtureOfExperts("y ~ x", 2, scale="constant", priors={"x": bm.HalfNormal(1)})
    rng = random.stream(4, "positive")
    x = rng.normal(size=200)
    y = np.where(np.arange(200) % 2, 2 + 0.5 * x, -2 + 1.5 * x) + rng.normal(0, 0.3, 200)
    data = pd.DataFrame({"x": x, "y": y})
    fit = bm.fit(model, data, method="nuts", seed=1, progress=False)
    slopes = fit.tree["posterior"]["x"]
    assert (slopes > 0).all()
    mean, sd = slopes.mean(("chain", "draw")).to_numpy(), slopes.std(("chain", "draw")).to_numpy()
    assert (np.abs(mean - [1.5, 0.5]) < 4 * sd).all()
