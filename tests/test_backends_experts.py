"""NumPy, PyMC, torch and the compiled loop are four readings of one mixture of experts."""

from __future__ import annotations

import functools

import numpy as np
import pandas as pd
import pytest

import bayesmix as bm
from bayesmix import rng as random
from bayesmix.blocks.target import Target, target

MODELS = {
    "gaussian": bm.MixtureOfExperts("y ~ x", 3),
    "constant scale, no floor": bm.MixtureOfExperts(
        "y ~ x + kind", 2, gate="x", scale="constant", floor=0
    ),
    "right-hand sides of their own": bm.MixtureOfExperts(
        "y ~ 0 + kind + x", 2, gate="~ kind", scale="w", floor=0.5
    ),
    "priors of their own": bm.MixtureOfExperts(
        "y ~ x", 2, priors={"x": bm.Normal(1, 0.5), "gate": bm.Normal(0, 2), "scale_x": bm.Normal()}
    ),
    "one expert": bm.MixtureOfExperts("y ~ x + kind", 1),
    "binomial": bm.MixtureOfExperts("p(s, t) ~ x + kind", 2, "binomial"),
    "poisson": bm.MixtureOfExperts("k ~ x + offset(w)", 3, "poisson"),
}
EACH = pytest.mark.parametrize("name", MODELS)
DRAWS = 4


@functools.cache
def table():
    """300 rows, more than one block of the compiled loop, with a target for each family."""
    rng = random.stream(1, "experts")
    n = 300
    data = pd.DataFrame({"x": rng.normal(size=n), "w": rng.normal(size=n), "y": rng.normal(size=n)})
    kind = np.array(["a", "b", "c"])[rng.integers(3, size=n)]
    trials = rng.integers(1, 30, n)
    counted = {"t": trials, "s": rng.binomial(trials, rng.random(n)), "k": rng.poisson(4, n)}
    return data.assign(kind=kind, **counted)


@functools.cache
def case(name):
    """A model, its design, and draws from its prior without those whose exponentials overflow."""
    model = MODELS[name]
    design = model.design(table())
    params = model.draw_prior(design, random.stream(2, "prior"), DRAWS)
    return model, design, {key: np.clip(value, -3, 3) for key, value in params.items()}


@functools.cache
def pymc_says(name):
    """Pointwise log-likelihood, log joint, and gradient by name, of every draw in PyMC."""
    import pytensor
    from pytensor.compile.mode import Mode

    model, design, params = case(name)
    built = model.pymc_model(design)
    names = [variable.name for variable in built.value_vars]
    total = built.logp()
    outputs = [
        *built.logp(vars=built.observed_RVs, sum=False),
        total,
        *pytensor.grad(total, built.value_vars),
    ]
    # as written: neither rewritten nor compiled, which would take half a minute
    evaluate = pytensor.function(built.value_vars, outputs, mode=Mode("py", None))
    found = [evaluate(*(params[key][i] for key in names)) for i in range(DRAWS)]
    gradients = [dict(zip(names, one[2:], strict=True)) for one in found]
    return (
        np.stack([one[0] for one in found]),
        np.array([float(one[1]) for one in found]),
        gradients,
    )


@EACH
def test_pymc_likelihood_equals_numpy(name):
    """Row by row, at prior draws, the observed variable has NumPy's log density."""
    model, design, params = case(name)
    np.testing.assert_allclose(pymc_says(name)[0], model.log_density(params, design), rtol=1e-10)


@EACH
def test_pymc_prior_equals_numpy(name):
    """What PyMC's joint density has beside the likelihood is NumPy's log prior."""
    model, design, params = case(name)
    pointwise, total, _ = pymc_says(name)
    expected = model.log_prior(params, design)
    # the difference is rounded relative to the larger joint density
    size = np.abs(total).max() / np.abs(expected).min()
    np.testing.assert_allclose(total - pointwise.sum(axis=1), expected, rtol=1e-12 * (1 + size))


@EACH
def test_compiled_loop_equals_numpy_and_pymc(name):
    """The kernel's joint density equals both others'; its gradient is PyMC's."""
    model, design, params = case(name)
    density = target(model, design)
    assert density.outputs_are_free
    _, total, gradients = pymc_says(name)
    numpy = model.log_density(params, design).sum(axis=1) + model.log_prior(params, design)
    for i in range(DRAWS):
        point = density.point({key: value[i] for key, value in params.items()})
        value, gradient = density.log_density(point)
        assert value == pytest.approx(numpy[i], rel=1e-10)
        assert value == pytest.approx(total[i], rel=1e-10)
        expected = np.concatenate([np.ravel(gradients[i][key]) for key, _ in density.variables])
        np.testing.assert_allclose(
            gradient, expected, rtol=1e-6, atol=1e-9 * np.abs(expected).max()
        )
        for key, value in density.expand(point).items():
            np.testing.assert_array_equal(value[0], params[key][i])


@EACH
def test_many_points_at_once_are_the_points_one_by_one(name):
    """Densities computed on every core are those of single calls."""
    model, design, _ = case(name)
    density = target(model, design)
    points = random.stream(3, "points").normal(0, 1, (40, density.n_dim))
    values, gradients = density.log_densities(points)
    for point, value, gradient in zip(points, values, gradients, strict=True):
        one = density.log_density(point)
        assert one[0] == value
        np.testing.assert_array_equal(one[1], gradient)


@EACH
def test_torch_equals_numpy(name):
    """The torch module at a draw has NumPy's log density row by row, and its total."""
    from bayesmix.blocks.nets_experts import ExpertsLikelihood

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
    from bayesmix.blocks.nets_experts import ExpertsLikelihood

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
        assert white.value(to_raw.whitened(c)) == pytest.approx(expected, rel=1e-11)


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
    from bayesmix.blocks import expert_kernel

    model, design, params = case("gaussian")
    kernel = model.kernel(design)
    point = target(model, design).point({key: value[0] for key, value in params.items()})
    arrays = kernel.arrays[:-1]
    expected = model.log_density(params, design)[0].sum()
    found = expert_kernel.log_likelihood(point, *arrays, np.zeros(point.size))
    assert found == pytest.approx(expected, rel=1e-10)
    point[1] = np.nan
    assert np.isnan(expert_kernel.log_likelihood(point, *arrays, np.zeros(point.size)))


def test_other_priors_are_left_to_pymc():
    """The compiled loop knows normal priors alone."""
    model = bm.MixtureOfExperts("y ~ x", 2, priors={"x": bm.StudentT(4, 0, 1)})
    assert model.kernel(model.design(table())) is None


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
