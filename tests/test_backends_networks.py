"""NumPy, PyMC, torch and the compiled loop are four readings of one mixture density network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from mixture_cases import DRAWS, NETWORKS, agree, case, table_of_networks
from pymc_reading import pymc_says

import bayesmix as bm
from bayesmix import rng as random
from bayesmix.compiled.density import target

EACH = pytest.mark.parametrize("name", NETWORKS)


def single(name, i):
    """One draw without the sample axis, each parameter in the network's full shape."""
    model, design, params = case(name)
    shapes = model.network(design.arrays["X"].shape[1]).shapes
    return {key: params[key][i].reshape(shape) for key, shape in shapes.items()}


def torch_module(name, i):
    """The torch module with a draw's values for parameters."""
    import torch

    model, design, _ = case(name)
    with random.torch_seed(random.stream(3, "module")):
        module = model.torch_module(design)
    values = single(name, i)
    with torch.no_grad():
        for key, parameter in module.named_parameters():
            parameter.copy_(torch.as_tensor(values.pop(key)))
    assert not values
    return module


@EACH
def test_the_prior_of_the_compiled_loop_is_numpys(name):
    """Joint density less likelihood is the log prior, at draws where the likelihood is small."""
    model, design, params = case(name)
    few = design.rows(slice(0, 2))
    density = target(model, few)
    for i in range(DRAWS):
        one = {key: value[i : i + 1] for key, value in params.items()}
        free = model.free(one, design)
        value, _ = density.log_density(density.point({k: v[0] for k, v in free.items()}))
        likelihood = float(model.log_density(one, few).sum())
        prior = float(model.log_prior(one, few)[0]) + model.log_volume(few)
        expected = pytest.approx(prior, rel=1e-12 * (1 + abs(likelihood / prior)))
        assert value - likelihood == expected


@EACH
def test_torch_equals_numpy(name):
    """The torch module at a draw has NumPy's log density row by row, and its total."""
    model, design, params = case(name)
    expected = model.log_density(params, design)
    for i in range(DRAWS):
        module = torch_module(name, i)
        agree(module.log_prob().detach().numpy(), expected[i])
        assert float(module().detach()) == pytest.approx(expected[i].sum(), rel=1e-10)


@EACH
def test_torch_gradient_is_that_of_the_compiled_likelihood(name):
    """Autodiff of the torch module equals the kernel's gradient without a prior."""
    import torch

    from bayesmix.models.mdn.equation import NetworkUnits
    from bayesmix.models.mdn.task import Trainable

    model, design, _ = case(name)
    x, y = design.arrays["X"], design.arrays["Y"]
    network = model.network_of(design)
    as_they_are = NetworkUnits(
        *(np.full(m, v) for m in (x.shape[1], y.shape[1]) for v in (0.0, 1.0))
    )
    task = Trainable(
        network,
        as_they_are,
        np.full(y.shape[1], network.floor, dtype=float),
        x,
        y,
        np.arange(len(x)),
    )
    for i in range(DRAWS):
        module = torch_module(name, i)
        slopes = torch.autograd.grad(module(), list(module.parameters()))
        expected = np.concatenate([slope.numpy().ravel() for slope in slopes])
        point = np.concatenate([np.ravel(value) for value in single(name, i).values()])
        value, gradient = task.likelihood().log_density(point)
        assert value == pytest.approx(float(module().detach()), rel=1e-10)
        np.testing.assert_allclose(
            gradient, expected, rtol=1e-6, atol=1e-9 * np.abs(expected).max()
        )


@EACH
def test_torch_computes_many_networks_at_once(name):
    """With a leading axis of members on every parameter, each member has its own log density."""
    import torch

    from bayesmix.models.mdn.in_torch import log_density

    model, design, params = case(name)
    network = model.network_of(design)
    each = [single(name, i) for i in range(DRAWS)]
    weights = {key: torch.as_tensor(np.stack([one[key] for one in each])) for key in each[0]}
    x, y = (torch.as_tensor(design.arrays[key]) for key in ("X", "Y"))
    agree(log_density(network, weights, x, y).numpy(), model.log_density(params, design))
    # rows of their own for each member
    own = torch.stack([torch.arange(i, i + 40) for i in range(DRAWS)])
    found = log_density(network, weights, x[own], y[own]).numpy()
    expected = model.log_density(params, design)
    agree(found, np.stack([expected[i, i : i + 40] for i in range(DRAWS)]))


@EACH
def test_the_public_module_is_the_same_distribution(name):
    """`MixtureDensityNetwork` at a draw gives NumPy's log density, mean and variance."""
    import torch

    model, design, params = case(name)
    x, y = (torch.as_tensor(design.arrays[key]) for key in ("X", "Y"))
    model = replace(model, floor=0.3)
    module = bm.MixtureDensityNetwork(
        x.shape[1], y.shape[1], model.n_components, model.hidden, model.activation, model.noise,
        model.floor, model.fixed_scale,
    ).double()  # fmt: skip
    design = model.design(table_of_networks())
    module.load_state_dict({key: torch.as_tensor(v) for key, v in single(name, 0).items()})
    with torch.no_grad():
        found = module(x)
        scored = found.log_prob(y if y.shape[1] > 1 else y[:, 0])
    agree(scored.numpy(), model.log_density(params, design)[0])
    mean, variance = model.moments(params, design)
    agree(found.mean.numpy(), mean[0])
    np.testing.assert_allclose(found.variance.numpy(), variance[0], rtol=1e-9)


@EACH
def test_torch_parameters_are_named_as_numpy_has_them(name):
    """Parameters come back under the names of the fit, in its shapes, with the same density."""
    model, design, params = case(name)
    found, errors = model.from_torch(torch_module(name, 0), design)
    assert not errors and list(found) == list(model.dims(design)) == list(params)
    for key, value in params.items():
        np.testing.assert_array_equal(found[key], value[0])


@pytest.mark.parametrize("name", ["diagonal", "full", "shared", "one component, fixed, linear"])
def test_a_density_of_nan_is_refused_by_the_loop(name):
    """A parameter that is no number gives no density, not one without that component."""
    model, design, _ = case(name)
    density = target(model, design)
    for i in range(density.n_dim):
        point = np.zeros(density.n_dim)
        point[i] = np.nan
        assert density.log_density(point)[0] == -np.inf


@pytest.mark.parametrize("target", ["y1", ("y1", "y2")])
def test_the_targets_are_what_pymc_observes(target):
    """The observed variable holds the data, so that PyMC's own tools see them."""
    model = bm.MDN("x", target, 2, (3,), noise="diagonal")
    built = model.pymc_model(model.design(table_of_networks()))
    (observed,) = built.observed_RVs
    held = built.rvs_to_values[observed].eval()
    np.testing.assert_array_equal(
        held, table_of_networks()[target if target == "y1" else list(target)]
    )


def test_other_priors_are_left_to_pymc():
    """The compiled loop knows normal priors alone; PyMC and NumPy agree on others."""
    model = bm.MDN("x", "y1", 2, (3,), priors={"loc": bm.StudentT(4, 0, 1)})
    design = model.design(table_of_networks())
    assert model.kernel(design) is None
    params = model.draw_prior(design, random.stream(5, "prior"), 1)
    expected = model.log_density(params, design).sum() + model.log_prior(params, design)[0]
    expected += model.log_volume(design)
    assert pymc_says(model, design, params)[1] == pytest.approx(float(expected), rel=1e-10)
