"""The public `MixtureDensityNetwork`: a module for a training loop of the reader's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_limits

import bayesmix as bm
from bayesmix.errors import SpecError
from bayesmix.models.mdn.equation import NOISE
from bayesmix.rng import stream, torch_seed


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Small sums are not worth a second thread, least of all on a machine that is busy."""
    with threadpool_limits(1):
        yield


def network(*sizes, seed=1, **options):
    """A module in double precision from a seed, without touching torch's own."""
    with torch_seed(stream(seed, "network")):
        return bm.MixtureDensityNetwork(*sizes, **options).double()


def distribution(n_outputs=1, n_components=3, rows=6, **options):
    """Distributions at a few rows, of components well apart."""
    module = network(2, n_outputs, n_components, **options)
    with torch.no_grad():
        module.loc_bias.mul_(8)
        return module(torch.linspace(-2, 2, 2 * rows).double().reshape(rows, 2))


def looped(hidden, steps=300):
    """The NLL by step of the book's loop, torch's Adam on the mean NLL."""
    data = bm.datasets.one_to_many()
    x = torch.tensor(data[["x"]].to_numpy(), dtype=torch.float32)
    y = torch.tensor(data["target"].to_numpy(), dtype=torch.float32)
    with torch_seed(stream(3, "network")):
        module = bm.MixtureDensityNetwork(1, 1, 3, hidden)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.03)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = -module(x).log_prob(y).mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def test_a_reader_can_train_it():
    """A loop of one's own learns the one-to-many problem, where a linear network does not."""
    losses, linear = looped((20,)), looped(())
    assert losses[0] > 0
    assert losses[-1] < -1.0
    assert linear[-1] > losses[-1] + 0.3


def test_parameters_are_called_as_those_of_a_fit():
    """A fit's estimates, loaded by name, give the module the fit's densities."""
    data = bm.datasets.one_to_many()
    method = bm.MLE(restarts=1, optimizer=bm.LBFGS(max_iter=30))
    fit = bm.fit(bm.MDN(hidden=(5,), floor=0.01), data, method=method, seed=1, progress=False)
    module = network(1, 1, 3, hidden=(5,))
    shapes = {name: value.shape for name, value in module.state_dict().items()}
    estimate = fit.tree["estimate"].data_vars
    assert list(shapes) == [str(name) for name in estimate]
    module.load_state_dict(
        {str(k): torch.as_tensor(v.to_numpy()).reshape(shapes[str(k)]) for k, v in estimate.items()}
    )
    with torch.no_grad():
        inputs, target = (torch.tensor(data[names].to_numpy()) for names in (["x"], "target"))
        found = module(inputs).log_prob(target)
    np.testing.assert_allclose(found.numpy(), fit.log_density(), rtol=1e-9)


@pytest.mark.parametrize("noise", NOISE)
@pytest.mark.parametrize("n_outputs", [1, 2])
def test_shapes_and_moments(noise, n_outputs):
    """One target has no axis of its own; samples have the mean and variance that are stated."""
    known = {"noise": noise, "fixed_scale": 0.5 if noise == "fixed" else None}
    found = distribution(n_outputs, **known)
    event = () if n_outputs == 1 else (n_outputs,)
    assert found.batch_shape == (6,) and found.event_shape == event
    with torch_seed(stream(2, "sample")):
        drawn = found.sample((20_000,))
    assert drawn.shape == (20_000, 6, *event)
    mean, variance = found.mean, found.variance
    assert mean.shape == variance.shape == (6, *event)
    error = (variance / 20_000).sqrt()
    assert ((drawn.mean(dim=0) - mean).abs() < 5 * error).all()
    squares = (drawn - mean) ** 2
    error = squares.std(dim=0) / 20_000**0.5
    assert ((squares.mean(dim=0) - variance).abs() < 5 * error).all()
    assert found.log_prob(drawn[:3]).shape == (3, 6)


def test_the_density_is_the_slope_of_the_distribution_function():
    """Differences of the cdf are the density, and it runs from zero to one."""
    found = distribution()
    at = torch.linspace(-6, 6, 41).double()[:, None].expand(41, 6)
    step = 1e-5
    slope = (found.cdf(at + step) - found.cdf(at - step)) / (2 * step)
    np.testing.assert_allclose(slope.detach(), found.log_prob(at).exp().detach(), atol=1e-8)
    assert float(found.cdf(torch.tensor(-200.0).double()).max()) < 1e-12
    assert float(found.cdf(torch.tensor(200.0).double()).min()) > 1 - 1e-12


@pytest.mark.parametrize("n_components", [1, 3])
def test_quantiles_invert_the_distribution_function(n_components):
    """icdf and cdf undo each other at every row, for one level, one a row, and many."""
    found = distribution(n_components=n_components)
    levels = torch.tensor([1e-6, 0.01, 0.3, 0.5, 0.9, 0.999]).double()
    one = found.icdf(torch.tensor(0.25).double())
    assert one.shape == (6,)
    np.testing.assert_allclose(found.cdf(one).detach(), 0.25, rtol=1e-9)
    each = found.icdf(levels)
    np.testing.assert_allclose(found.cdf(each).detach(), levels, rtol=1e-7)
    many = found.icdf(levels[:, None].expand(6, 6))
    assert many.shape == (6, 6)
    np.testing.assert_allclose(found.cdf(many).detach(), levels[:, None].expand(6, 6), rtol=1e-7)
    assert (many.diff(dim=0) > 0).all()
    back = found.icdf(found.cdf(torch.full((6,), 0.7).double()))
    np.testing.assert_allclose(back.detach(), 0.7, rtol=1e-6)


def test_the_quantile_of_a_single_normal_is_exact():
    """With one component the bisection has nothing to do."""
    found = distribution(n_components=1)
    part = found.component_distribution
    level = torch.tensor(0.8).double()
    expected = torch.distributions.Normal(part.mean[:, 0], part.stddev[:, 0]).icdf(level)
    np.testing.assert_allclose(found.icdf(level).detach(), expected.detach(), rtol=1e-9)


def test_a_plain_number_is_a_level_too():
    """A Python float is taken at the precision of the module."""
    found = distribution()
    np.testing.assert_array_equal(
        found.icdf(0.3).detach(), found.icdf(torch.tensor(0.3, dtype=torch.double)).detach()
    )


@pytest.mark.parametrize("noise", ["diagonal", "full"])
def test_several_targets_have_no_quantiles(noise):
    """A vector has no quantile, and the error says so."""
    with pytest.raises(NotImplementedError, match=r"quantiles are for one target; .* has several"):
        distribution(2, noise=noise).icdf(torch.tensor(0.5))


def test_gradients_reach_every_parameter():
    """One backward pass leaves a finite, nonzero gradient everywhere."""
    for noise in NOISE:
        known = {"noise": noise, "fixed_scale": 0.5 if noise == "fixed" else None}
        module = network(2, 2, 3, hidden=(5, 4), activation="softplus", **known)
        inputs = torch.linspace(-1, 1, 20).double().reshape(10, 2)
        module(inputs).log_prob(inputs.flip(0)).sum().backward()
        for name, value in module.named_parameters():
            assert value.grad is not None and torch.isfinite(value.grad).all(), name
            assert value.grad.abs().max() > 0, name


BAD = {
    "n_inputs": ({"n_inputs": 0}, "n_inputs must be a whole number >= 1, got 0"),
    "n_outputs": ({"n_outputs": 1.5}, "n_outputs must be a whole number >= 1, got 1.5"),
    "n_components": ({"n_components": -1}, "n_components must be a whole number >= 1, got -1"),
    "hidden": ({"hidden": (3, 0)}, "hidden must be a whole number >= 1, got 0"),
    "activation": ({"activation": "tahn"}, "activation='tahn' is not known: did you mean 'tanh'"),
    "noise": ({"noise": "ful"}, "noise='ful' is not known: did you mean 'full'"),
    "no scale": ({"noise": "fixed"}, "fixed_scale goes with noise='fixed', and with no other"),
    "a scale": ({"fixed_scale": 1.0}, "fixed_scale goes with noise='fixed', and with no other"),
    "floor": ({"floor": -1}, "floor must be"),
    "negative scale": ({"noise": "fixed", "fixed_scale": -1.0}, "fixed_scale must be"),
    "no width": ({"noise": "fixed", "fixed_scale": 0.0}, "fixed_scale must be"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_arguments(what):
    """Sizes, names and scales are checked when the module is built."""
    options, words = BAD[what]
    with pytest.raises(SpecError, match=f"MixtureDensityNetwork: {words}"):
        bm.MixtureDensityNetwork(**{"n_inputs": 1, **options})
