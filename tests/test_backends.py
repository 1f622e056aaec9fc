"""NumPy, PyMC and torch are three readings of one equation: they agree to rounding."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special, stats
from small_fits import CENSUS_PRIORS

import bayesmix as bm
from bayesmix import rng as random
from bayesmix.compiled import native
from bayesmix.compiled.density import of_graph, target
from bayesmix.models.binomial_glm import equation
from bayesmix.models.binomial_glm.in_pymc import PARAMETRIZATIONS
from bayesmix.models.binomial_glm.priors import log_volume, spread_in
from bayesmix.priors import LOG_2PI

FORMULAS = [
    "p(high, total) ~ sex",
    "p(high, total) ~ 0 + edu + sex",
    "p(high, total) ~ sex + (1 | edu)",
    "p(high, total) ~ sex + (sex | edu)",
    "p(high, total) ~ sex + z + (z || edu)",
    "p(high, total) ~ sex + z + offset(w) + (sex + z | edu) + (1 | region)",
]


def table():
    """The census with two made-up predictors and a second grouping factor."""
    data = bm.datasets.census()
    extra = random.stream(5, "extra")
    return data.assign(
        z=extra.normal(size=len(data)),
        w=extra.normal(size=len(data)),
        region=[f"r{i % 3}" for i in range(len(data))],
    )


PRIORS = {
    "default": {},
    "by hand": CENSUS_PRIORS,
    "slopes by hand": {"slope": bm.StudentT(3, 0, 2)},
    "correlations by hand": {"corr": bm.LKJ(1.5), "Intercept": bm.Normal(1, 3)},
}


def built(formula, parametrization, priors=()):
    """A model, its design, and the target density over the unconstrained space."""
    model = bm.BinomialGLM(formula, priors, parametrization)
    return model, model.design(table())


def unit_volume(design, params):
    """log |d(standard) / d(reported)|: of coefficients, spreads, correlations and deviations."""
    matrices, priors = design.state.matrices, design.state.priors
    total = priors.population.log_determinant
    for factor in matrices.factors:
        standard, spread = priors.groups[factor.name], factor.spread(params)
        total = total + log_volume(standard, spread[0], spread_in(standard.matrix, *spread)[0])
        total = total + len(factor.levels) * standard.log_determinant
    return total


def standard_spread(design, factor, params):
    """Spreads and correlations of a factor's effects in the coordinates that are sampled."""
    return spread_in(design.state.priors.groups[factor.name].matrix, *factor.spread(params))


def coefficient_volume(model, design, params):
    """log |d(free) / d(coefficients)| of the group effects, parametrization by parametrization."""
    total = np.zeros(len(next(iter(params.values()))))
    for factor in design.state.matrices.factors:
        sigma, corr = standard_spread(design, factor, params)
        covariance = sigma[:, :, None] * corr * sigma[:, None, :]
        if model.parametrization == "centered":
            continue
        if model.parametrization == "noncentered":
            log_det = np.linalg.slogdet(covariance)[1] / 2
            total += len(factor.levels) * log_det
            continue
        information = design.arrays[f"information_{factor.name}"]
        precision = np.linalg.inv(covariance)[:, None] + information[None]
        total -= np.linalg.slogdet(precision)[1].sum(axis=1) / 2
    return total


def correlation_volume(design, params):
    """log |d(partial correlations on (0, 1)) / d(correlations)|, from the two normalised priors."""
    from scipy.stats import beta

    total = np.zeros(len(next(iter(params.values()))))
    for factor in design.state.matrices.factors:
        n = len(factor.effects)
        if n > 1:
            prior = design.state.priors.of_factor(factor, "corr")
            _, corr = standard_spread(design, factor, params)
            unit = (equation.partial_correlations(corr) + 1) / 2
            shape = prior.shapes(n)
            total += beta(shape, shape).logpdf(unit).sum(axis=1)
            total -= equation.lkj_log_density(corr, prior)
    return total


CASES = [
    *((formula, "default", form) for formula in FORMULAS for form in PARAMETRIZATIONS),
    *((FORMULAS[i], "by hand", "mixed") for i in (1, 3)),
    (FORMULAS[4], "slopes by hand", "mixed"),
    (FORMULAS[4], "correlations by hand", "mixed"),
]


@pytest.mark.parametrize(("formula", "given", "parametrization"), CASES)
def test_pymc_density_equals_numpy_prior_and_likelihood(formula, given, parametrization):
    """PyMC's density equals NumPy's log prior + likelihood, up to the change of variables."""
    model, design = built(formula, parametrization, PRIORS[given])
    density = of_graph(model, design, jacobian=False)
    points = density.initial + random.stream(1, "points").normal(0, 0.7, (20, density.n_dim))
    params = density.expand(points)
    native = np.array([density.log_density(point)[0] for point in points])
    numpy = model.log_prior(params, design) + model.log_density(params, design).sum(axis=1)
    numpy += coefficient_volume(model, design, params) + correlation_volume(design, params)
    numpy -= unit_volume(design, params)
    np.testing.assert_allclose(native, numpy, rtol=1e-10)


@pytest.mark.parametrize("parametrization", PARAMETRIZATIONS)
def test_native_gradient_equals_finite_differences(parametrization):
    """The gradient that the sampler uses is that of the density that it sees."""
    _, design = built(FORMULAS[3], parametrization)
    density = target(bm.BinomialGLM(FORMULAS[3], parametrization=parametrization), design)
    point = density.initial + random.stream(2, "point").normal(0, 0.5, density.n_dim)
    _, gradient = density.log_density(point)
    for i in range(density.n_dim):
        shift = np.zeros(density.n_dim)
        shift[i] = 1e-5
        up, down = density.log_density(point + shift)[0], density.log_density(point - shift)[0]
        assert (up - down) / 2e-5 == pytest.approx(gradient[i], rel=1e-5, abs=1e-4)


@pytest.mark.parametrize("formula", FORMULAS)
def test_torch_log_probability_equals_numpy(formula):
    """At prior draws torch gives the pointwise log-likelihood of the NumPy equation."""
    import torch

    model, design = built(formula, "mixed")
    params = model.draw_prior(design, random.stream(3, "prior"), 10)
    params = {name: np.clip(value, -4, 4) for name, value in params.items()}
    logits = torch.as_tensor(model.linear_predictor(params, design))
    outcome = model.outcome_torch(design)
    np.testing.assert_allclose(
        outcome.log_prob(logits).numpy(), model.log_density(params, design), rtol=1e-10
    )
    np.testing.assert_allclose(
        outcome.log_prob(logits).numpy(),
        outcome.distribution(logits).log_prob(outcome.successes).numpy(),
        rtol=1e-9,
    )


def test_torch_linear_predictor_equals_numpy():
    """Fixed and group effects enter the torch module as they enter the NumPy equation."""
    import torch

    model, design = built(FORMULAS[4], "mixed")
    module = model.torch_module(design)
    generator = random.stream(4, "module")
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.as_tensor(generator.normal(0, 0.3, parameter.shape)))
    params, _ = model.from_torch(module, design)
    rows = [effect.rows() for effect in module.effects]
    theirs = module._logits(rows, module.mode).detach().numpy()
    ours = model.linear_predictor({k: np.asarray(v)[None] for k, v in params.items()}, design)[0]
    np.testing.assert_allclose(theirs, ours, rtol=1e-10)


def test_lkj_density_in_two_dimensions_is_the_beta_of_the_correlation():
    """In two dimensions LKJ(eta) is (r + 1)/2 ~ Beta(eta, eta), a closed form."""
    from scipy.stats import beta

    r = np.linspace(-0.9, 0.9, 7)
    corr = np.array([[[1, x], [x, 1]] for x in r])
    ours = equation.lkj_log_density(corr, bm.LKJ(2.0))
    np.testing.assert_allclose(ours, beta(2, 2).logpdf((r + 1) / 2) - np.log(2), rtol=1e-12)


def test_lkj_density_in_three_dimensions_integrates_to_one():
    """Monte Carlo over the cube of correlations: the mass is 1 within 4 standard errors."""
    generator = random.stream(6, "cube")
    r = generator.uniform(-1, 1, (200_000, 3))
    corr = np.tile(np.eye(3), (len(r), 1, 1))
    for column, (i, j) in enumerate([(0, 1), (0, 2), (1, 2)]):
        corr[:, i, j] = corr[:, j, i] = r[:, column]
    inside = np.linalg.eigvalsh(corr).min(axis=1) > 0
    density = np.zeros(len(r))
    density[inside] = 8 * np.exp(equation.lkj_log_density(corr[inside], bm.LKJ(2.0)))
    assert abs(density.mean() - 1) < 4 * density.std() / np.sqrt(len(r))


def test_group_density_is_the_multivariate_normal():
    """The sum over groups equals scipy's multivariate normal."""
    from scipy.stats import multivariate_normal

    generator = random.stream(7, "groups")
    corr = equation.lkj_draw(generator, bm.LKJ(2.0), 3, 2)
    sigma, deviation = generator.uniform(0.5, 2, (3, 2)), generator.normal(size=(3, 5, 2))
    for s in range(3):
        covariance = np.outer(sigma[s], sigma[s]) * corr[s]
        expected = multivariate_normal([0, 0], covariance).logpdf(deviation[s]).sum()
        found = equation.log_density(deviation, sigma, corr)[s]
        assert found == pytest.approx(expected, rel=1e-12)


def test_a_matrix_product_is_compiled_without_a_way_through_python(tmp_path, monkeypatch):
    """BLAS is called by name, so the code can be kept and linked again; its numbers are SciPy's."""
    import pymc as pm
    import pytensor.tensor as pt

    class Direct(bm.BinomialGLM):
        def pymc_model(self, data):
            arrays = self.design(data).arrays
            with pm.Model() as model:
                x, n, y = (pm.Data(k, arrays[k]) for k in ("X", "trials", "successes"))
                b = [pm.Normal("Intercept"), pm.Normal("sex")]
                pm.Binomial("high", n=n, logit_p=x @ pt.stack(b), observed=y)
            return model

    monkeypatch.setenv("BAYESMIX_CACHE", str(tmp_path))
    monkeypatch.setattr(native.sources, "is_own", lambda module: True)
    monkeypatch.setattr(native, "_linked", {})
    model = Direct("p(high, total) ~ sex")
    design = model.design(bm.datasets.census())
    density = of_graph(model, design)
    coef = np.array([0.1, 0.2])
    point = density.point({"Intercept": coef[:1], "sex": coef[1:]})
    first = density.log_density(point)
    p = special.expit(design.arrays["X"] @ coef)
    y, n = design.arrays["successes"], design.arrays["trials"]
    expected = stats.binom.logpmf(y, n, p).sum() + stats.norm.logpdf(coef).sum()
    assert first[0] == pytest.approx(expected, rel=1e-12)
    assert len(list((tmp_path / "code").iterdir())) == 1
    native._linked.clear()
    monkeypatch.setattr(native, "_compile", None)
    np.testing.assert_array_equal(of_graph(model, design).log_density(point)[1], first[1])


def test_log_2pi_is_the_constant_of_the_normal():
    """One constant, one place."""
    assert pytest.approx(np.log(2 * np.pi)) == LOG_2PI
