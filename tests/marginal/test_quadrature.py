"""Quadrature over group effects, and what is said of the Laplace approximation by it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import quad
from scipy.special import expit
from scipy.stats import norm

import bayesmix as bm
from bayesmix import rng as random
from bayesmix.marginal.approximation import accuracy
from bayesmix.marginal.likelihood import Marginal
from bayesmix.marginal.quadrature import Quadrature, nodes

FORMULAS = {1: "y ~ x + (1 | g)", 2: "y ~ x + (x | g)"}


def people(n: int = 60, n_groups: int = 12) -> pd.DataFrame:
    """0/1 outcomes in small groups, whose integrands are far from Gaussian."""
    generator = random.stream(1, "people")
    group, x = np.arange(n) % n_groups, generator.normal(size=n)
    logit = generator.normal(0, 1.5, n_groups)[group] + 0.5 * x
    y = (generator.random(n) < expit(logit)) * 1
    half = np.where(group < n_groups // 2, "a", "b")
    return pd.DataFrame({"y": y, "x": x, "g": [f"g{i:02}" for i in group], "half": half})


def data(formula: str) -> object:
    """The data of a formula's likelihood."""
    return bm.BinomialGLM(formula).grouped(people())


POINTS = {1: np.array([0.2, 0.6, 1.4]), 2: np.array([0.2, 0.6, 1.4, 0.5, 0.8])}


@pytest.mark.parametrize("q", [1, 2])
def test_one_node_is_laplace(q):
    """Value and gradient with one node are those of the Laplace approximation."""
    (value, slope), laplace = (
        Quadrature(data(FORMULAS[q]), 1)(POINTS[q]),
        Marginal(data(FORMULAS[q])),
    )
    assert value == pytest.approx(laplace(POINTS[q])[0], rel=1e-12)
    np.testing.assert_allclose(slope, laplace(POINTS[q])[1], rtol=1e-9)


@pytest.mark.parametrize("q", [1, 2])
@pytest.mark.parametrize("count", [2, 5])
def test_gradient_is_the_difference_of_values(q, count):
    """Also where few nodes make the value itself rough: the nodes' own moves are in it."""
    objective, point = Quadrature(data(FORMULAS[q]), count), POINTS[q]
    gradient = objective(point)[1]
    for i in range(len(point)):
        shift = 1e-5 * (np.arange(len(point)) == i)
        rise = (objective(point + shift)[0] - objective(point - shift)[0]) / 2e-5
        assert rise == pytest.approx(gradient[i], rel=1e-5, abs=1e-5)


def test_many_nodes_are_the_integral():
    """Each group's value with 41 nodes is that of adaptive integration, and Laplace's is not."""
    table, (b0, b1, t) = people(), POINTS[1]
    exact = []
    for _, rows in table.groupby("g"):
        sign, x = 2 * rows["y"].to_numpy() - 1, rows["x"].to_numpy()

        def integrand(z, sign=sign, x=x):
            return norm.pdf(z) * expit(sign * (b0 + b1 * x + t * z)).prod()

        exact.append(np.log(quad(integrand, -10, 10, epsabs=1e-13, epsrel=1e-12)[0]))
    found = Quadrature(data(FORMULAS[1]), 41).by_group(POINTS[1])
    np.testing.assert_allclose(found, exact, atol=1e-8)
    assert abs(Marginal(data(FORMULAS[1]))(POINTS[1])[0] - np.sum(exact)) > 0.1


def test_nodes_integrate_polynomials_of_normals():
    """Weights sum to one, and moments up to twice the nodes are the standard normal's."""
    x, log_weights = nodes(4, 2)
    weights = np.exp(log_weights + 0 * x[:, 0])
    assert weights.sum() == pytest.approx(1, rel=1e-12)
    assert (weights * x[:, 0] ** 6).sum() == pytest.approx(15, rel=1e-12)
    assert (weights * x[:, 0] ** 2 * x[:, 1] ** 4).sum() == pytest.approx(3, rel=1e-12)


def test_weighted_draws_find_the_error_of_crossed_groups():
    """Two groups beside twelve: the integral on a fine grid, within the uncertainty said."""
    marginal = Marginal(data("y ~ x + (1 | g) + (1 | half)"))
    point = np.array([0.2, 0.6, 1.4, 0.7])
    inner = Quadrature(data(FORMULAS[1]), 41)
    table, grid = people(), np.linspace(-8, 8, 161)
    in_a = (np.arange(12) < 6) * 1
    shifted = []
    for z in grid:
        inner.data.offset[:] = point[3] * z
        shifted.append(inner.by_group(point[:3]))
    log_prior = norm.logpdf(grid) + np.log(grid[1] - grid[0])
    exact = sum(
        np.logaddexp.reduce(np.array(shifted) @ (in_a == which) + log_prior) for which in (0, 1)
    )
    assert len(table) == len(marginal.data.offset)
    found = accuracy(marginal, point, random.stream(1, "draws"))
    assert found.how == "importance"
    laplace = marginal(point)[0]
    assert abs(laplace + found.error - exact) < 1.5 * found.uncertainty + 1e-3 < 0.05
    assert abs(exact - laplace) > 0.2


def test_the_slope_of_weighted_draws_is_that_of_the_integral():
    """One grouping, told by weights and by quadrature: slopes agree where both can be had."""
    marginal = Marginal(data("y ~ x + (1 | g) + (1 | half)"))
    point = np.array([0.2, 0.6, 1.4, 0.7])
    found = accuracy(marginal, point, random.stream(1, "draws"))
    for i in range(4):
        shift = 0.05 * (np.arange(4) == i)
        ends = []
        for at in (point + shift, point - shift):
            one = accuracy(marginal, at, random.stream(1, "draws"))
            ends.append(marginal(at)[0] + one.error)
        assert (ends[0] - ends[1]) / 0.1 == pytest.approx(found.slope[i], abs=0.03)


def test_quadrature_moves_a_spread_that_laplace_has_too_low():
    """On small groups of 0/1 the likelihood by nodes is higher at a wider spread, as diagnosed."""
    model = bm.BinomialGLM(FORMULAS[1])
    fits = [
        bm.fit(model, people(), method=bm.MLE(n_quadrature=n), seed=1, progress=False)
        for n in (1, 25)
    ]
    laplace, exact = (float(fit.tree["estimate"]["sigma_g"][0]) for fit in fits)
    error = float(fits[0].tree["standard_error"]["sigma_g"][0])
    stats = fits[0].tree["fit_stats"]
    assert exact > laplace
    assert float(stats["approximation_shift"]) == pytest.approx((exact - laplace) / error, rel=0.5)
