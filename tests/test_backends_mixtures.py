"""NumPy, PyMC and the compiled loop are readings of one mixture; torch's are tested by family."""

from __future__ import annotations

import numpy as np
import pytest
from mixture_cases import DRAWS, EXPERTS, NETWORKS, agree, case, in_pymc

from bayesmix import rng as random
from bayesmix.compiled.density import target

EACH = pytest.mark.parametrize("name", [*EXPERTS, *NETWORKS])


@EACH
def test_pymc_likelihood_equals_numpy(name):
    """Row by row, at prior draws, the observed variable has NumPy's log density."""
    model, design, params = case(name)
    agree(in_pymc(name)[0], model.log_density(params, design))


@EACH
def test_pymc_prior_equals_numpy(name):
    """What PyMC's joint density has beside the likelihood is NumPy's log prior."""
    model, design, params = case(name)
    pointwise, total, _ = in_pymc(name)
    expected = model.log_prior(params, design) + model.log_volume(design)
    # the difference is rounded relative to the larger joint density
    size = np.abs(total).max() / np.abs(expected).min()
    np.testing.assert_allclose(total - pointwise.sum(axis=1), expected, rtol=1e-12 * (1 + size))


@EACH
def test_compiled_loop_equals_numpy_and_pymc(name):
    """The kernel's joint density equals both others'; its gradient is PyMC's."""
    model, design, params = case(name)
    density = target(model, design)
    assert density.outputs_are_free
    _, total, gradients = in_pymc(name)
    numpy = model.log_density(params, design).sum(axis=1) + model.log_prior(params, design)
    numpy += model.log_volume(design)
    free = model.free(params, design)
    for i in range(DRAWS):
        point = density.point({key: value[i] for key, value in free.items()})
        value, gradient = density.log_density(point)
        assert value == pytest.approx(numpy[i], rel=1e-10)
        assert value == pytest.approx(total[i], rel=1e-10)
        expected = np.concatenate([np.ravel(gradients[i][key]) for key, _ in density.variables])
        np.testing.assert_allclose(
            gradient, expected, rtol=1e-6, atol=1e-9 * np.abs(expected).max()
        )
        for key, value in density.expand(point).items():
            np.testing.assert_allclose(value[0], params[key][i], rtol=1e-12, atol=1e-13)


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
