"""Probit and cloglog: NumPy, PyMC, torch and the compiled loop state one equation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from test_backends import (
    FORMULAS,
    PRIORS,
    coefficient_volume,
    correlation_volume,
    table,
    unit_volume,
)
from test_backends_glm import assert_same_posterior, bernoulli, by_name

import bayesmix as bm
from bayesmix import rng as random
from bayesmix.compiled.density import of_graph, of_kernel, target
from bayesmix.marginal import links
from bayesmix.marginal.outcomes import LinkedCounts
from bayesmix.models.binomial_glm import regression as glm_regression

OTHERS = pytest.mark.parametrize("link", ["probit", "cloglog"])
ETA = np.array([-40.0, -31.0, -29.0, -8.0, -2.5, -0.1, 0.0, 0.3, 2.0, 5.0, 8.0, 31.0, 40.0])
CASES = [(FORMULAS[1], "by hand", "mixed"), (FORMULAS[3], "default", "mixed")]
"""Few, as each compiles a graph; what else formulas hold is the same for every link."""


def rows():
    """Every linear predictor with no, some and only successes."""
    eta, y = (part.ravel() for part in np.meshgrid(ETA, [0.0, 3.0, 7.0]))
    return eta, y, np.full(len(y), 7.0)


def built(formula, link, given="default", parametrization="mixed"):
    """A model with that link, and its design for the census with made-up columns."""
    model = bm.BinomialGLM(formula, PRIORS[given], parametrization, link)
    return model, model.design(table())


@pytest.mark.parametrize(
    ("link", "eta", "expected"),
    [
        ("probit", -40.0, (-804.6084420137538, 0.0)),
        ("probit", 40.0, (0.0, -804.6084420137538)),
        ("probit", -3.0, (-6.607726221510349, -0.0013508099647481938)),
        ("cloglog", -40.0, (-40.0, -4.248354255291589e-18)),
        ("cloglog", 40.0, (0.0, -2.3538526683702e17)),
        ("cloglog", 1.0, (-0.06826603124787668, -2.718281828459045)),
        ("cloglog", 3.5, (-4.150896920109045e-15, -33.11545195869231)),
    ],
)
def test_log_probabilities_keep_their_digits(link, eta, expected):
    """mpmath at forty digits: log(erfc(-x / sqrt(2)) / 2) and log(-expm1(-exp(x)))."""
    found = links.log_probabilities(link, np.array(eta))
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-300)


@OTHERS
def test_log_probabilities_are_those_of_the_probability(link):
    """Where nothing is lost, the logarithms are those of p and 1 - p, and the link leads back."""
    eta = np.linspace(-3, 1.2, 30)
    p = links.probability(link, eta)
    np.testing.assert_allclose(links.log_probabilities(link, eta), [np.log(p), np.log1p(-p)], 1e-12)
    np.testing.assert_allclose(links.predictor(link, p), eta, rtol=1e-11, atol=1e-12)
    known = {"probit": stats.norm.cdf, "cloglog": lambda x: 1 - np.exp(-np.exp(x))}
    np.testing.assert_allclose(p, known[link](eta), rtol=1e-12)


@OTHERS
def test_torch_log_probability_and_slopes_equal_numpy(link):
    """Torch has NumPy's log probability, and its gradients are NumPy's score, to both far ends."""
    import torch

    from bayesmix.models.binomial_glm.in_torch import BinomialLinked

    eta, y, n = rows()
    outcome, counts = BinomialLinked.of(y, n, link), LinkedCounts(y, n, link)
    at = torch.tensor(eta, requires_grad=True)
    value = outcome.log_prob(at)
    coefficient = stats.binom.logpmf(y, n, 0.5) - n * np.log(0.5)
    ours = counts.log_prob(eta) + coefficient
    np.testing.assert_allclose(value.detach().numpy(), ours, rtol=1e-10, atol=1e-12)
    slope = torch.autograd.grad(value.sum(), at)[0].numpy()
    read = counts.read(eta)
    assert read.value == pytest.approx(counts.log_prob(eta).sum(), rel=1e-12)
    np.testing.assert_allclose(slope, read.score, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(outcome.score(at).detach().numpy(), read.score, 1e-10, 1e-12)
    information = outcome.information(at)
    np.testing.assert_allclose(information.detach().numpy(), read.weight, rtol=1e-8, atol=1e-12)
    turn = torch.autograd.grad(information.sum(), at)[0].numpy()
    np.testing.assert_allclose(turn, read.slope, rtol=1e-6, atol=1e-6)
    theirs = outcome.distribution(at).log_prob(outcome.successes).detach().numpy()
    np.testing.assert_allclose(theirs, ours, rtol=1e-9, atol=1e-9)


@OTHERS
def test_information_is_the_slope_of_the_score(link):
    """Second and third derivatives by central differences of the first and second."""
    eta = np.linspace(-6, 2, 60)
    y, step = np.arange(60) % 8.0, 1e-5
    counts = LinkedCounts(y, np.full(60, 7.0), link)
    up, down, here = (counts.read(eta + s) for s in (step, -step, 0.0))
    scale = np.maximum(1.0, np.abs(here.slope))
    assert (np.abs((down.score - up.score) / (2 * step) - here.weight) < 1e-7 * scale).all()
    assert (np.abs((up.weight - down.weight) / (2 * step) - here.slope) < 1e-7 * scale).all()
    assert (here.weight > 0).all()


@OTHERS
@pytest.mark.parametrize("case", CASES)
def test_pymc_loop_and_numpy_are_one_density(link, case):
    """PyMC's density is NumPy's prior and likelihood; the loop has its gradient and parameters."""
    formula, given, parametrization = case
    model, design = built(formula, link, given, parametrization)
    graph = of_graph(model, design, jacobian=False)
    loop = of_kernel(model.kernel(design, jacobian=False))
    order = np.concatenate([by_name(graph)[name] for name, _ in loop.variables])
    points = graph.initial + random.stream(1, "points").normal(0, 0.6, (10, graph.n_dim))
    params = graph.expand(points)
    numpy = model.log_prior(params, design) + model.log_density(params, design).sum(axis=1)
    numpy += coefficient_volume(model, design, params) + correlation_volume(design, params)
    numpy -= unit_volume(design, params)
    np.testing.assert_allclose(loop.initial, graph.initial[order], rtol=1e-12, atol=1e-12)
    for point, expected in zip(points, numpy, strict=True):
        (theirs, slope), (ours, own) = graph.log_density(point), loop.log_density(point[order])
        assert theirs == pytest.approx(expected, rel=1e-10)
        assert ours == pytest.approx(expected, rel=1e-10)
        np.testing.assert_allclose(own, slope[order], rtol=1e-6, atol=1e-9 * np.abs(slope).max())
    for name, values in params.items():
        np.testing.assert_allclose(loop.expand(points[:, order])[name], values, 1e-9, 1e-11)


@OTHERS
def test_far_rows_are_finite_and_right_in_every_reading(link):
    """Rows at predictors of +-40 and between, one by one: PyMC, the loop and NumPy agree."""
    eta, y, n = rows()
    model = bm.BinomialGLM("p(y, n) ~ 1 + offset(w)", {"Intercept": bm.Normal(0, 1)}, link=link)
    counts = LinkedCounts(y, n, link).read(eta)
    for i in range(len(eta)):
        # a second row without trials, as a design has at least two
        both = {"y": [y[i], 0], "n": [n[i], 0], "w": [eta[i], 0]}
        design = model.design(pd.DataFrame(both))
        graph, loop = of_graph(model, design), of_kernel(model.kernel(design))
        expected = float(model.log_density({"Intercept": np.zeros(1)}, design)[0].sum())
        expected += float(stats.norm.logpdf(0))
        for density in (graph, loop):
            value, slope = density.log_density(np.zeros(1))
            assert value == pytest.approx(expected, rel=1e-10, abs=1e-10)
            assert slope[0] == pytest.approx(counts.score[i], rel=1e-6, abs=1e-10)


@OTHERS
@pytest.mark.parametrize("formula", [FORMULAS[0], FORMULAS[3], FORMULAS[5]])
def test_pilot_moves_coordinates_and_not_the_posterior(formula, link):
    """In the coordinates of NUTS the density of the reported parameters is NumPy's."""
    model, design = built(formula, link)
    density = target(model, design, standard=True)
    assert density.standard
    assert_same_posterior(model, design, density, spread=0.5)


@OTHERS
def test_small_groups_are_read_where_their_effects_are(link):
    """Groups of three rows have their information renewed; the posterior is the same."""
    from bayesmix.models.binomial_glm.in_numba import RENEWED

    model = bm.BinomialGLM("y ~ x + (1 | g) + (1 | h)", link=link)
    design = model.design(bernoulli(60, 20))
    density = target(model, design, standard=True)
    assert density.arrays[0][RENEWED] == 1
    assert_same_posterior(model, design, density, spread=0.5)


@OTHERS
def test_coordinates_of_the_pilot_are_nearly_standard(link):
    """Draws have means near 0 and spreads near 1 in the coordinates that are made standard."""
    model = bm.BinomialGLM("y ~ x + (1 | g) + (1 | h)", link=link)
    density = target(model, model.design(bernoulli()), standard=True)
    step, curvature = 1e-4, []
    for i in range(density.n_dim):
        shift = np.eye(density.n_dim)[i] * step
        up, down = (density.log_density(density.initial + s)[1] for s in (shift, -shift))
        curvature.append((down - up) / (2 * step))
    values = np.linalg.eigvalsh(np.array(curvature))
    assert values.min() > 0.5
    assert values.max() < 2.0


@OTHERS
def test_marginal_likelihood_equals_torch(link):
    """NumPy's Laplace approximation and its gradient are torch's, with the observed information."""
    import torch

    from bayesmix.marginal.likelihood import Marginal

    model, design = built(FORMULAS[5], link)
    marginal, module = Marginal(model.grouped(design)), model.torch_module(design)
    generator = random.stream(3, "point")
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.as_tensor(generator.normal(0, 0.2, parameter.shape)))
    point = np.concatenate([p.detach().numpy().ravel() for p in module.parameters()])
    value, gradient = marginal(point)
    theirs = module()
    slopes = torch.autograd.grad(theirs, list(module.parameters()))
    assert value == pytest.approx(float(theirs.detach()), rel=1e-10)
    flat = np.concatenate([slope.numpy().ravel() for slope in slopes])
    np.testing.assert_allclose(gradient, flat, rtol=1e-6, atol=1e-6 * np.abs(flat).max())


@OTHERS
def test_quadrature_has_the_gradient_of_its_value(link):
    """The gradient of adaptive quadrature is that of central differences of its sum."""
    from bayesmix.marginal.quadrature import Quadrature

    model, design = built(FORMULAS[3], link)
    objective = Quadrature(model.grouped(design), 5)
    point = random.stream(4, "point").normal(0.3, 0.2, objective.n_free)
    _, gradient = objective(point)
    for i, slope in enumerate(gradient):
        shift = np.eye(len(point))[i] * 1e-5
        up, down = objective(point + shift)[0], objective(point - shift)[0]
        assert (up - down) / 2e-5 == pytest.approx(slope, rel=1e-6, abs=1e-5)


@OTHERS
def test_the_compiled_regression_has_the_link(link):
    """The loop is told the link, and rows that repeat are still counted together."""
    design = bm.BinomialGLM("y ~ x + (1 | g)", link=link).design(bernoulli())
    regression = glm_regression.of(design, "mixed")
    assert regression.link == link
    assert len(regression.trials) < design.n_obs
