"""Every draw of a mixture in one order of components, whatever order it was drawn in."""

from __future__ import annotations

import functools
import json
from dataclasses import replace

import numpy as np
import pytest
from small_fits import branches, example

import bayesmix as bm
from bayesmix.protocols import Posterior
from bayesmix.rng import stream
from bayesmix.tree import order as label_order

CHAINS, DRAWS = 3, 40


@functools.cache
def mixture(k=3):
    """A model, its design, and a posterior whose draws lie close to its maximum."""
    model = bm.MixtureOfExperts("y ~ x + kind", k, gate="x", scale="constant")
    design = model.design(branches())
    point = bm.EM(restarts=3).run(model, design, seed=1, progress=lambda phase, share: None)
    rng = stream(1, "draws")
    params = {
        name: value + 0.01 * rng.normal(size=(CHAINS, DRAWS, *np.shape(value)))
        for name, value in point.params.items()
    }
    stats = {"lp": rng.normal(size=(CHAINS, DRAWS))}
    posterior = Posterior(params, stats, {"lp": ("chain", "draw")}, True, attrs={"engine": "mcmc"})
    return model, design, label_order.aligned(posterior, model, design)


def turned(posterior, orders):
    """The same draws with the experts of each, (chain, draw), in the order given for it."""
    params = {
        name: np.take_along_axis(value, orders.reshape(*orders.shape, *[1] * (value.ndim - 3)), 2)
        for name, value in posterior.params.items()
    }
    return replace(posterior, params=params)


def orders_of(kind):
    """An order of three experts for every draw."""
    rng = stream(2, kind)
    straight = np.tile(np.arange(3), (CHAINS, DRAWS, 1))
    if kind == "each draw its own":
        return rng.permuted(straight, axis=2)
    if kind == "each chain its own":
        return np.stack([np.tile(order, (DRAWS, 1)) for order in ([2, 0, 1], [0, 1, 2], [1, 0, 2])])
    if kind == "one switch within a chain":
        straight[1, 30:] = [1, 2, 0]
    return straight


KINDS = ["none", "each draw its own", "each chain its own", "one switch within a chain"]


@pytest.mark.parametrize("kind", KINDS)
def test_shuffled_draws_come_back(kind):
    """Parameters of every draw are those before the shuffle, to the last bit."""
    model, design, posterior = mixture()
    found = label_order.aligned(turned(posterior, orders_of(kind)), model, design)
    for name, value in posterior.params.items():
        np.testing.assert_array_equal(found.params[name], value)
    np.testing.assert_array_equal(found.stats["lp"], posterior.stats["lp"])


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_switched_is_on_record(kind):
    """Draws that differ from their chain's usual order are marked, and that order is kept."""
    model, design, posterior = mixture()
    orders = orders_of(kind)
    found = label_order.aligned(turned(posterior, orders), model, design)
    inverse = np.argsort(orders, axis=2)
    usual = np.array(json.loads(found.attrs[label_order.ORDER]))
    assert usual.shape == (CHAINS, 3)
    for chain in range(CHAINS):
        counts = {tuple(o): (inverse[chain] == o).all(axis=1).sum() for o in inverse[chain]}
        assert counts[tuple(usual[chain])] == max(counts.values())
    expected = (inverse != usual[:, None, :]).any(axis=2)
    np.testing.assert_array_equal(found.stats[label_order.SWITCHED], expected)
    assert found.stat_dims[label_order.SWITCHED] == ("chain", "draw")
    if kind == "one switch within a chain":
        assert found.stats[label_order.SWITCHED].sum() == 10
    if kind == "each chain its own":
        assert found.stats[label_order.SWITCHED].sum() == 0
        assert len(np.unique(usual, axis=0)) == 3


def test_averages_over_shuffled_draws_mean_nothing_and_over_aligned_ones_something():
    """What alignment is for: the spread of a slope over draws falls to that of one expert."""
    model, design, posterior = mixture()
    shuffled = turned(posterior, orders_of("each draw its own"))
    found = label_order.aligned(shuffled, model, design)
    assert (shuffled.params["x"].std(axis=(0, 1)) > 0.1).all()
    assert (found.params["x"].std(axis=(0, 1)) < 0.02).all()


def test_a_point_takes_its_errors_along():
    """Estimates and standard errors of an expert stay together when experts are reordered."""
    model, design, posterior = mixture()
    params = {name: value[0, 0] for name, value in posterior.params.items()}
    errors = {
        name: 1 + np.arange(value.size).reshape(value.shape) for name, value in params.items()
    }
    straight = Posterior(params, {}, {}, False, errors=errors)
    order = [2, 0, 1]
    mixed = replace(
        straight,
        params={name: value[order] for name, value in params.items()},
        errors={name: value[order] for name, value in errors.items()},
    )
    found = label_order.aligned(mixed, model, design)
    for name in params:
        np.testing.assert_array_equal(found.params[name], params[name])
        np.testing.assert_array_equal(found.errors[name], errors[name])
    assert found.stats == {}


def test_pieces_keep_what_belongs_to_none():
    """Lines and weights of a piecewise regression are reordered, its common scale is not."""
    model = bm.PiecewiseRegression("y ~ x", 2)
    design = model.design(branches())
    point = {
        "Intercept": np.array([0.5, -0.4]),
        "x": np.array([0.8, -0.6]),
        "weight": np.array([0.7, 0.3]),
        "scale": np.array(0.1),
    }
    found = label_order.aligned(Posterior(point, {}, {}, False), model, design).params
    for name in ("Intercept", "x", "weight"):
        np.testing.assert_array_equal(found[name], point[name][::-1])
    assert found["scale"] == 0.1


def test_models_without_components_are_left_alone():
    """A regression's posterior passes through, the very same object."""
    model, data = example("BinomialGLM")
    posterior = Posterior({"Intercept": np.zeros((2, 5))}, {}, {}, True)
    assert label_order.aligned(posterior, model, model.design(data)) is posterior


def test_one_expert_is_in_order():
    """With one component there is nothing to switch."""
    model = bm.MixtureOfExperts("y ~ x", 1)
    design = model.design(branches())
    params = {name: np.zeros((2, 5, 1)) for name in model.dims(design)}
    found = label_order.aligned(Posterior(params, {}, {}, True), model, design)
    assert not found.stats[label_order.SWITCHED].any()
    assert json.loads(found.attrs[label_order.ORDER]) == [[0], [0]]
