"""The compiled loop of a binomial regression is the model that PyMC and NumPy state."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from test_backends import CASES, FORMULAS, PRIORS, built, table

import bayesmix as bm
from bayesmix import rng as random
from bayesmix.compiled.density import of_graph, of_kernel, target
from bayesmix.models.binomial_glm import regression as glm_regression


def by_name(density):
    """Where each free variable of a target is, by name."""
    ends = np.cumsum([size for _, size in density.variables])
    return {
        name: np.arange(end - size, end)
        for (name, size), end in zip(density.variables, ends, strict=True)
    }


GRAPHS = [*((*case, False) for case in CASES), (FORMULAS[3], "by hand", "mixed", True)]


@pytest.mark.parametrize(("formula", "given", "parametrization", "jacobian"), GRAPHS)
def test_loop_is_the_density_of_the_graph(formula, given, parametrization, jacobian):
    """At one point of PyMC's variables the loop has PyMC's density, gradient and parameters."""
    model, design = built(formula, parametrization, PRIORS[given])
    graph = of_graph(model, design, jacobian=jacobian)
    loop = of_kernel(model.kernel(design, jacobian=jacobian))
    order = np.concatenate([by_name(graph)[name] for name, _ in loop.variables])
    points = graph.initial + random.stream(7, "points").normal(0, 0.7, (10, graph.n_dim))
    np.testing.assert_allclose(loop.initial, graph.initial[order], rtol=1e-12, atol=1e-12)
    for point in points:
        (theirs, slope), (ours, own) = graph.log_density(point), loop.log_density(point[order])
        assert ours == pytest.approx(theirs, rel=1e-10)
        np.testing.assert_allclose(own, slope[order], rtol=1e-6, atol=1e-9 * np.abs(slope).max())
    theirs, ours = graph.expand(points), loop.expand(points[:, order])
    assert list(ours) == list(theirs)
    for name, values in theirs.items():
        np.testing.assert_allclose(ours[name], values, rtol=1e-9, atol=1e-11)


def flat(design, params):
    """As many numbers as there are free parameters: correlations once."""
    parts = []
    for name, values in params.items():
        if name.startswith("corr_"):
            below = np.tril_indices(values.shape[-1], -1)
            parts.append(values[(slice(None), *below)])
        else:
            parts.append(values.reshape(len(values), -1))
    return np.concatenate(parts, axis=1)


def log_volume(density, design, point):
    """log |d(reported) / d(coordinates)| by central differences."""
    step = 1e-5
    shifts = np.concatenate([np.eye(len(point)), -np.eye(len(point))]) * step
    moved = flat(design, density.expand(point + shifts))
    up, down = moved[: len(point)], moved[len(point) :]
    return np.linalg.slogdet((up - down) / (2 * step))[1]


def assert_same_posterior(model, design, density, spread=0.7):
    """The density of the reported parameters is NumPy's, and its gradient that of the density."""
    points = density.initial + random.stream(8, "points").normal(0, spread, (5, density.n_dim))
    params = density.expand(points)
    numpy = model.log_prior(params, design) + model.log_density(params, design).sum(axis=1)
    for point, expected in zip(points, numpy, strict=True):
        value, gradient = density.log_density(point)
        assert value - log_volume(density, design, point) == pytest.approx(expected, abs=1e-5)
        for i in range(density.n_dim):
            shift = np.eye(density.n_dim)[i] * 1e-5
            up, down = density.log_density(point + shift)[0], density.log_density(point - shift)[0]
            scale = max(1.0, np.abs(gradient).max())
            assert (up - down) / 2e-5 == pytest.approx(gradient[i], abs=1e-6 * scale)


@pytest.mark.parametrize("given", list(PRIORS))
@pytest.mark.parametrize("formula", FORMULAS)
def test_pilot_moves_coordinates_and_not_the_posterior(formula, given):
    """In the coordinates of NUTS the density of the reported parameters is NumPy's."""
    model, design = built(formula, "mixed", PRIORS[given])
    density = target(model, design, standard=True)
    assert density.standard
    assert_same_posterior(model, design, density)


def bernoulli(n=400, groups=12):
    """Rows of 0 and 1 that repeat, with two crossed factors."""
    generator = random.stream(9, "rows")
    return pd.DataFrame(
        {
            "y": generator.integers(0, 2, n),
            "x": generator.integers(0, 3, n) - 1.0,
            "g": [f"g{i}" for i in generator.integers(0, groups, n)],
            "h": [f"h{i}" for i in generator.integers(0, 4, n)],
        }
    )


@pytest.mark.parametrize("formula", ["y ~ x + (1 | g)", "y ~ x + (x | g) + (1 | h)"])
def test_rows_that_repeat_are_counted_together(formula):
    """Aggregated rows are fewer, and give the same posterior."""
    model = bm.BinomialGLM(formula)
    design = model.design(bernoulli())
    regression = glm_regression.of(design, "mixed")
    assert len(regression.trials) < design.n_obs
    assert regression.trials.sum() == design.n_obs
    assert_same_posterior(model, design, target(model, design, standard=True), spread=0.3)


def test_small_groups_are_read_where_their_effects_are():
    """Groups of three rows have their information renewed; the posterior is the same."""
    from bayesmix.models.binomial_glm.in_numba import RENEWED

    model = bm.BinomialGLM("y ~ x + (1 | g) + (1 | h)")
    design = model.design(bernoulli(60, 20))
    density = target(model, design, standard=True)
    assert density.arrays[0][RENEWED] == 1
    assert_same_posterior(model, design, density)


def test_coordinates_of_the_pilot_are_nearly_standard():
    """Draws have means near 0 and spreads near 1 in the coordinates that are made standard."""
    model = bm.BinomialGLM("y ~ x + (1 | g) + (1 | h)")
    density = target(model, model.design(bernoulli()), standard=True)
    step = 1e-4
    curvature = []
    for i in range(density.n_dim):
        shift = np.eye(density.n_dim)[i] * step
        up, down = (density.log_density(density.initial + s)[1] for s in (shift, -shift))
        curvature.append((down - up) / (2 * step))
    values = np.linalg.eigvalsh(np.array(curvature))
    assert values.min() > 0.5 and values.max() < 2.0


def test_priors_that_the_loop_does_not_know_are_left_to_pymc():
    """A slope that must be positive has PyMC's transform, and so PyMC's graph."""
    model = bm.BinomialGLM("p(high, total) ~ sex", {"sex": bm.HalfNormal(1)})
    design = model.design(table())
    assert model.kernel(design) is None
    assert model.standard_kernel(design) is None


def test_a_new_formula_compiles_nothing(monkeypatch):
    """Once the loop is there, no formula needs the compiler."""
    from bayesmix.compiled import native

    model = bm.BinomialGLM("p(high, total) ~ sex + (1 | edu)")
    target(model, model.design(table()), standard=True)

    def refuse(*_):
        raise AssertionError("something was compiled")

    monkeypatch.setattr(native, "_compile", refuse)
    other = bm.BinomialGLM("p(high, total) ~ sex * z + (sex + z | edu) + (0 + z | region)")
    target(other, other.design(table()), standard=True)
