"""Mixture density networks in NumPy: densities, coordinates, moments, symmetries, order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import simpson
from torch import distributions as dist

import bayesmix as bm
from bayesmix.models.mdn.equation import NOISE, Network, activate, in_raw_units, units_of
from bayesmix.models.mdn.task import Trainable
from bayesmix.rng import stream

EACH = pytest.mark.parametrize("noise", NOISE)
TARGETS = pytest.mark.parametrize("n_targets", [1, 2], ids=["one target", "two targets"])


def model_of(noise, n_targets=2, n_components=3, **options):
    """A small spec with that noise model."""
    known = {"hidden": (4,), "floor": 0.05, **options}
    known["fixed_scale"] = 0.6 if noise == "fixed" else None
    return bm.MDN(("x", "w"), ("y", "z")[:n_targets], n_components, noise=noise, **known)


def table(n=12, seed=1):
    """Rows of two inputs and two targets."""
    rng = stream(seed, "table")
    return pd.DataFrame(rng.normal(size=(n, 4)), columns=["x", "w", "y", "z"])


def drawn(model, design, samples=2, seed=2, spread=1.0):
    """Moderate parameters for each sample, component scales far apart."""
    rng = stream(seed, "parameters")
    sizes = {name: len(labels) for name, labels in design.coords.items()}
    params = {
        name: rng.normal(0, spread, (samples, *(sizes[dim] for dim in dims)))
        for name, dims in model.dims(design).items()
    }
    if "scale_bias" in params:
        size = params["scale_bias"][0].size
        steps = np.linspace(-2.0, 0.5, size) if size > 1 else np.full(1, -0.5)
        params["scale_bias"] = np.broadcast_to(
            steps.reshape(params["scale_bias"].shape[1:]), params["scale_bias"].shape
        ).copy()
        params["scale_weight"] = params["scale_weight"] * 0.3
    return params


def case(noise, n_targets=2, **options):
    """A spec, its design and parameters."""
    model = model_of(noise, n_targets, **options)
    design = model.design(table())
    return model, design, drawn(model, design)


# --- densities ------------------------------------------------------------------------------------


@EACH
@TARGETS
def test_the_density_integrates_to_one(noise, n_targets):
    """Over a grid of targets that holds all of the mass, at three rows of inputs."""
    model, design, params = case(noise, n_targets)
    few = design.rows(slice(0, 3))
    one = {key: value[:1] for key, value in params.items()}
    mean, variance = model.moments(one, few)
    half = (np.abs(mean) + 12 * np.sqrt(variance)).max()
    # on a grid finer than the narrowest component the trapezoid rule is exact to rounding
    narrow = model.heads(one, few)[1].scale.min()
    axis = np.arange(-half, half, 0.8 * narrow)
    grid = np.stack([np.ravel(g) for g in np.meshgrid(*[axis] * n_targets)], axis=1)
    for row in range(3 if n_targets == 1 else 1):
        density = np.exp(model.log_density(one, at_row(few, row, grid)))
        assert density.sum() * (0.8 * narrow) ** n_targets == pytest.approx(1, abs=1e-6)


def at_row(design, row, targets):
    """A design with the inputs of one row and many targets."""
    x = np.broadcast_to(design.arrays["X"][row], (len(targets), 2))
    columns = pd.DataFrame(index=range(len(targets)))
    return replace(design, arrays={"X": x, "Y": targets}, columns=columns)


def reference(model, params, design, i):
    """The mixture of one sample as a torch distribution, heads computed by matrix products here."""
    p = {key: value[i] for key, value in params.items()}
    h = np.tanh(design.arrays["X"] @ p["hidden_1_weight"].T + p["hidden_1_bias"])
    k, d = model.n_components, len(model.target)

    def head(name, *shape):
        w = p[f"{name}_weight"].reshape(-1, h.shape[1])
        return (h @ w.T + p[f"{name}_bias"].reshape(-1)).reshape(len(h), *shape)

    loc = torch.as_tensor(head("loc", k, d))
    if model.noise == "fixed":
        scale = np.full((len(h), k, d), model.fixed_scale)
    else:
        shape = {"isotropic": (k, 1), "isotropic-shared": (1, 1)}.get(model.noise, (k, d))
        scale = np.exp(head("scale", *shape)) + model.floor
    wide = torch.as_tensor(np.broadcast_to(scale, (len(h), k, d)).copy())
    mixing = dist.Categorical(logits=torch.as_tensor(head("logit", k)))
    if d == 1:
        parts = dist.Normal(loc[..., 0], wide[..., 0])
    elif model.noise == "full":
        lower = torch.diag_embed(wide)
        lower[..., 1, 0] = torch.as_tensor(head("tril", k))
        parts = dist.MultivariateNormal(loc, scale_tril=lower)
    elif model.noise == "diagonal":
        parts = dist.Independent(dist.Normal(loc, wide), 1)
    else:  # a covariance that is a multiple of the identity, as a matrix
        parts = dist.MultivariateNormal(loc, wide[..., :1, None] ** 2 * torch.eye(d).double())
    return dist.MixtureSameFamily(mixing, parts)


@EACH
@TARGETS
def test_log_density_equals_torchs_own_mixtures(noise, n_targets):
    """MixtureSameFamily of normals built from its parts: density, mean, variance and cdf."""
    model, design, params = case(noise, n_targets)
    y = torch.as_tensor(design.arrays["Y"])
    found = model.log_density(params, design)
    mean, variance = model.moments(params, design)
    for i in range(2):
        mixture = reference(model, params, design, i)
        value = y[:, 0] if n_targets == 1 else y
        np.testing.assert_allclose(found[i], mixture.log_prob(value).numpy(), rtol=1e-10)
        np.testing.assert_allclose(mean[i], mixture.mean.numpy(), rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(variance[i], mixture.variance.numpy(), rtol=1e-9)
        if n_targets == 1:
            at = design.arrays["Y"][:, 0]
            below = model.cdf({k: v[i : i + 1] for k, v in params.items()}, design)(at)[0]
            np.testing.assert_allclose(below, mixture.cdf(y[:, 0]).numpy(), rtol=1e-9)


def test_isotropic_scales_stay_with_their_components():
    """Two components a hundred apart in scale keep their own in both targets."""
    model = bm.MDN("x", ("y", "z"), 2, (), noise="isotropic", floor=0)
    design = model.design(pd.DataFrame({"x": [0.0], "y": [0.3], "z": [-0.2]}))
    params = drawn(model, design, 1)
    for name in params:
        params[name][:] = 0.0
    params["scale_bias"][0] = np.log([0.1, 10.0])
    _, parts = model.log_parts(params, design)
    for part, scale in zip(parts[0, 0], (0.1, 10.0), strict=True):
        expected = sum(dist.Normal(0.0, scale).log_prob(torch.tensor(v)) for v in (0.3, -0.2))
        assert part == pytest.approx(float(expected), rel=1e-6)
    np.testing.assert_allclose(
        model.curves(params, design)["scale"][0, 0], [[0.1, 0.1], [10, 10]], rtol=1e-12
    )


@EACH
def test_one_target_needs_no_more_than_a_scale(noise):
    """For one target, diagonal, full and isotropic noise are one model."""
    if noise in ("isotropic-shared", "fixed"):
        model = model_of(noise, 1)
        scale = model.curves(*reversed_case(model))["scale"]
        assert np.ptp(scale, axis=2).max() == 0  # one scale for all components
        return
    model, design, params = case(noise, 1)
    other = model_of("diagonal", 1)
    named = {
        key: np.reshape(value, (2, *(len(design.coords[d]) for d in other.dims(design)[key])))
        for key, value in params.items()
    }
    np.testing.assert_array_equal(
        model.log_density(params, design), other.log_density(named, design)
    )


def reversed_case(model):
    """Parameters and design, in the order of the model's functions."""
    design = model.design(table())
    return drawn(model, design), design


def test_the_floor_is_the_least_scale():
    """However low the head, no scale is below the floor, in units of the target."""
    model, design, params = case("full", floor=0.05)
    params["scale_bias"][:] = -50.0
    params["scale_weight"][:] = 0.0
    np.testing.assert_allclose(model.heads(params, design)[1].scale, 0.05, rtol=1e-12)


# --- coordinates ----------------------------------------------------------------------------------


@EACH
@TARGETS
@pytest.mark.parametrize("hidden", [(), (4,), (4, 3)], ids=str)
def test_raw_units_have_the_same_density(noise, n_targets, hidden):
    """Density on raw data = density on standard units less log volume, the floor included."""
    rng = stream(5, "units")
    n, floor = 30, 0.3
    x = rng.normal([10.0, -300.0], [0.1, 50.0], (n, 2))
    y = rng.normal([1000.0, -0.02], [40.0, 0.003], (n, 2))[:, :n_targets]
    fixed = noise == "fixed"
    network = Network(2, n_targets, 3, hidden, "tanh", noise, floor, 25.0)
    units = units_of(network, x, y)
    params = {name: rng.normal(size=shape) for name, shape in network.shapes.items()}
    raw = {k: v[None] for k, v in in_raw_units(network, params, units).items()}
    standard = {k: v[None] for k, v in params.items()}
    density = np.zeros((2, n))
    for i in range(n):  # a row at a time, as each target's floor is its own in standard units
        heads = replace(network, floor=0.0).heads(
            standard, (x[i] - units.x_mean)[None] / units.x_scale
        )
        scale = 25.0 / units.y_scale if fixed else heads.scale + floor / units.y_scale
        heads = heads._replace(scale=np.broadcast_to(scale, heads.scale.shape))
        parts = network.log_parts(heads, ((y[i] - units.y_mean) / units.y_scale)[None])
        density[0, i] = np.logaddexp.reduce(heads.log_weight + parts, axis=2)[0, 0]
        found = network.heads(raw, x[i : i + 1])
        parts = network.log_parts(found, y[i : i + 1])
        density[1, i] = np.logaddexp.reduce(found.log_weight + parts, axis=2)[0, 0]
    volume = np.log(units.y_scale).sum()
    np.testing.assert_allclose(density[1], density[0] - volume, rtol=1e-9)


@EACH
def test_targets_share_a_unit_where_the_noise_does(noise):
    """One scale for two targets means one unit for both; otherwise each has its own sd."""
    x, y = table()[["x", "w"]].to_numpy(), table()[["y", "z"]].to_numpy() * [1.0, 100.0]
    units = units_of(Network(2, 2, 3, (4,), "tanh", noise, 0.0, 1.0), x, y)
    own = noise in ("diagonal", "full")
    expected = y.std(axis=0) if own else np.full(2, np.sqrt((y.std(axis=0) ** 2).mean()))
    np.testing.assert_allclose(units.y_scale, expected, rtol=1e-12)
    np.testing.assert_allclose(((x - units.x_mean) / units.x_scale).std(axis=0), 1, rtol=1e-12)


# --- simulation -----------------------------------------------------------------------------------


def simulated(model, params, row, count=20_000):
    """Many outcomes at one row, components beside them."""
    few = model.design(table()).rows(np.full(count, row))
    one = {key: value[:1] for key, value in params.items()}
    found = model.simulate(one, few, stream(4, "simulate"))
    values = np.stack([found[name][0] for name in model.target], axis=1)
    return one, few.rows(slice(0, 1)), values, found["component"][0]


def errors_of(model, one, row, values, part):
    """How far moments, covariances and shares lie from the equation's, in standard errors."""
    network, heads = model.heads(one, row)
    n, d = values.shape
    found = []
    weight = np.exp(heads.log_weight[0, 0])
    share = np.bincount(part, minlength=len(weight)) / n
    found += list((share - weight) / np.sqrt(weight * (1 - weight) / n))
    for k in range(len(weight)):
        own, loc = values[part == k], heads.loc[0, 0, k]
        lower = np.diag(heads.scale[0, 0, k])
        for at, (i, j) in enumerate(network.pairs):
            lower[i, j] = heads.tril[0, 0, k, at]
        cov = lower @ lower.T
        found += list((own.mean(axis=0) - loc) / np.sqrt(np.diag(cov) / len(own)))
        for i in range(d):
            for j in range(i + 1):
                product = (own[:, i] - loc[i]) * (own[:, j] - loc[j])
                spread = np.sqrt((cov[i, i] * cov[j, j] + cov[i, j] ** 2) / len(own))
                found.append((product.mean() - cov[i, j]) / spread)
    mean, variance = (np.atleast_1d(m[0, 0]) for m in model.moments(one, row))
    found += list((values.mean(axis=0) - mean) / np.sqrt(variance / n))
    squares = (values - mean) ** 2
    found += list((squares.mean(axis=0) - variance) / (squares.std(axis=0) / np.sqrt(n)))
    return np.abs(found).max()


@EACH
@TARGETS
def test_outcomes_have_the_equations_moments(noise, n_targets):
    """Shares, means, covariances by component and moments overall lie within 5 standard errors."""
    model = model_of(noise, n_targets)
    params = drawn(model, model.design(table()), spread=0.7)
    for row in (0, 5):
        assert errors_of(model, *simulated(model, params, row)) < 5


def test_outcomes_of_another_l_would_be_noticed():
    """The check above has power: a wrong sign of L's entry, or another scale, is far outside."""
    model = model_of("full")
    params = drawn(model, model.design(table()), spread=0.7)
    one, row, values, part = simulated(model, params, 0)
    assert errors_of(model, one, row, values, part) < 5
    flipped = one | {name: -one[name] for name in ("tril_weight", "tril_bias")}
    assert errors_of(model, flipped, row, values, part) > 10
    wider = one | {"scale_bias": one["scale_bias"] + np.log(1.15)}
    assert errors_of(model, wider, row, values, part) > 10
    # L transposed has the same determinant and another covariance
    assert errors_of(model, one, row, values[:, ::-1], part) > 10


def test_components_are_counted_from_zero_in_the_fits_order():
    """The component of an outcome is the one whose loc it is drawn around."""
    model = bm.MDN("x", ("y", "z"), 3, (), noise="fixed", fixed_scale=1e-6)
    design = model.design(table(200))
    params = drawn(model, design, 1)
    found = model.simulate(params, design, stream(1, "simulate"))
    loc = model.curves(params, design)["loc"]
    near = np.take_along_axis(loc, found["component"][..., None, None], axis=2)[:, :, 0]
    np.testing.assert_allclose(near[..., 0], found["y"], atol=1e-5)
    np.testing.assert_allclose(near[..., 1], found["z"], atol=1e-5)
    assert set(found["component"].ravel()) == {0, 1, 2}


# --- symmetries and order -------------------------------------------------------------------------


@given(
    order=st.permutations(range(3)), noise=st.sampled_from(NOISE), n_targets=st.sampled_from([1, 2])
)
def test_the_order_of_components_is_free(order, noise, n_targets):
    """Components in another order have the same density, moments and simulated law."""
    model, design, params = case(noise, n_targets)
    moved = {
        name: value[:, list(order)] if dims[:1] == ("component",) else value
        for (name, dims), value in zip(model.dims(design).items(), params.values(), strict=True)
    }
    np.testing.assert_allclose(
        model.log_density(moved, design), model.log_density(params, design), rtol=1e-12
    )
    for found, expected in zip(
        model.moments(moved, design), model.moments(params, design), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)
    # and the parameters that belong to a component are all moved: curves come in the new order
    for name, curve in model.curves(moved, design).items():
        np.testing.assert_allclose(curve, model.curves(params, design)[name][:, :, list(order)])
    # brought into one order they are the same again
    once, again = (model.ordered(p, design) for p in (params, moved))
    for name in once:
        np.testing.assert_allclose(once[name], again[name], rtol=1e-12)


@given(
    units=st.permutations(range(4)),
    signs=st.lists(st.sampled_from([-1.0, 1.0]), min_size=4, max_size=4),
    noise=st.sampled_from(NOISE),
)
def test_hidden_units_of_tanh_can_change_places_and_signs(units, signs, noise):
    """Weights in and out of a unit, moved and flipped together, leave the density as it is."""
    model, design, params = case(noise, hidden=(4, 3))
    s = np.array(signs)
    moved = dict(params)
    for name in ("hidden_1_weight", "hidden_1_bias"):
        flip = s.reshape(4, *[1] * (params[name].ndim - 2))
        moved[name] = (params[name] * flip)[:, list(units)]
    moved["hidden_2_weight"] = (params["hidden_2_weight"] * s)[..., list(units)]
    np.testing.assert_allclose(
        model.log_density(moved, design), model.log_density(params, design), rtol=1e-10
    )
    if list(units) != [0, 1, 2, 3] or (s < 0).any():
        assert np.abs(moved["hidden_1_bias"] - params["hidden_1_bias"]).max() > 0.01


def test_the_order_is_that_of_the_first_targets_loc_at_the_centre():
    """Every sample is put in order of loc at the mean of the inputs, whatever order it was in."""
    model, _, params = case("full")
    data = table(60)
    data["y"] = np.tile([-4.0, 0.0, 4.0], 20) + 0.3 * data["y"]
    design = model.design(data)
    base = {name: value[0] for name, value in drawn(model, design, 1, spread=0.05).items()}
    base["loc_bias"][:, 0], base["tril_bias"][:, 0] = [-4.0, 0.0, 4.0], [0.1, 0.2, 0.3]
    rng = stream(6, "shuffle")
    # each sample has the same three components in an order of its own
    orders = np.stack([rng.permutation(3) for _ in range(6)])
    parts = {name for name, dims in model.dims(design).items() if dims[:1] == ("component",)}
    shuffled = {
        name: np.stack([value[o] if name in parts else value for o in orders])
        for name, value in base.items()
    }
    found, order = model.relabel(shuffled, design)
    np.testing.assert_array_equal(np.take_along_axis(orders, order, axis=1), [[0, 1, 2]] * 6)
    for name, value in base.items():
        np.testing.assert_array_equal(found[name], np.stack([value] * 6))
    centre = design.arrays["X"].mean(axis=0, keepdims=True)
    arranged = model.ordered(params, design)
    loc = model.network_of(design).heads(arranged, centre).loc[:, 0, :, 0]
    assert (np.diff(loc, axis=1) > 0).all()
    assert set(arranged) == set(params)


# --- distribution functions -----------------------------------------------------------------------


@EACH
def test_the_distribution_function_is_the_integral(noise):
    """At each row and sample, the cdf is the density integrated from below."""
    model, design, params = case(noise, 1)
    few = design.rows(slice(0, 4))
    at = few.arrays["Y"][:, 0]
    found = model.cdf(params, few)(at)
    mean, variance = model.moments(params, few)
    low = float((mean - 12 * np.sqrt(variance)).min())
    total = np.zeros_like(found)
    for i in range(len(at)):
        grid, step = np.linspace(low, at[i], 4001, retstep=True)
        density = np.exp(model.log_density(params, at_row(few, i, grid[:, None])))
        total[:, i] = simpson(density, dx=step, axis=1)
    np.testing.assert_allclose(found, total, atol=1e-7)
    assert found.min() < 0.2 and found.max() > 0.8


def test_many_samples_are_computed_in_pieces(monkeypatch):
    """Samples cut into pieces that fit in memory give what they give at once."""
    from bayesmix.models.mdn import equation as network

    model = model_of("full")
    design = model.design(table())
    params = drawn(model, design, 50)
    whole = model.log_density(params, design)
    monkeypatch.setattr(network, "_HELD", 12 * 6 * 7)
    np.testing.assert_array_equal(model.log_density(params, design), whole)


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "softplus", "tanh"])
def test_deeper_layers_begin_as_spread_out_as_with_tanh(activation: str) -> None:
    """A start's fourth layer sees inputs as spread out as tanh would give it."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(500, 2))
    y = rng.normal(size=(500, 1))

    def last(kind: str) -> float:
        network = Network(2, 1, 1, (64,) * 4, kind, "diagonal", 0.01, 1.0)
        task = Trainable.of(network, x, y)
        params, h = task.split(task.start(np.random.default_rng(2))), task.x
        for number in range(1, 5):
            a = h @ params[f"hidden_{number}_weight"].T + params[f"hidden_{number}_bias"]
            h = activate(kind, a)
        return float(np.sqrt(a.var(axis=0).mean()))

    assert 0.6 < last(activation) / last("tanh") < 1.7
