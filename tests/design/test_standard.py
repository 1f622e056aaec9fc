"""Standard coordinates of a linear predictor."""

from __future__ import annotations

import numpy as np
import pytest

from bayesmix.design.standard import Standard
from bayesmix.rng import stream


def powers(x, z):
    """An intercept, x, x squared, z, and the product of x and z."""
    return np.column_stack([np.ones(len(x)), x, x**2, z, x * z])


ONE = [True, False, False, False, False]


@pytest.mark.parametrize(("shift", "factor"), [(0.0, 60.0), (1950.0, 1.0), (-32.0, 5 / 9)])
def test_standard_columns_do_not_know_units(shift, factor):
    """Shifting and rescaling a predictor, also inside powers and products, changes no column."""
    generator = stream(1, "columns")
    x, z, weights = generator.normal(size=(3, 60))
    found = [
        Standard.of(c, weights**2, intercepts=ONE).values(c)
        for c in (powers(x, z), powers(shift + factor * x, z))
    ]
    np.testing.assert_allclose(found[1], found[0], atol=1e-8)


def test_standard_columns_are_orthogonal_and_of_unit_scale():
    """The weighted products of the columns are the identity, apart from the intercept's own 1."""
    generator = stream(2, "columns")
    x, z = generator.normal(3.0, 2.0, size=(2, 50))
    weights = generator.integers(1, 9, 50)
    values = Standard.of(powers(x, z), weights, intercepts=ONE).values(powers(x, z))
    products = (weights[:, None] * values).T @ values / weights.sum()
    np.testing.assert_allclose(products, np.eye(5), atol=1e-10)


def test_coefficients_go_there_and_back():
    """The linear predictor is the same, the way back is exact, the determinant is its volume."""
    generator = stream(3, "columns")
    x, z = generator.normal(size=(2, 30))
    columns = powers(x, z)
    standard = Standard.of(columns, intercepts=ONE)
    beta = generator.normal(size=(7, 5))
    gamma = standard.to_standard(beta)
    np.testing.assert_allclose(gamma @ standard.values(columns).T, beta @ columns.T, rtol=1e-10)
    np.testing.assert_allclose(standard.to_raw(gamma), beta, rtol=1e-12)
    assert standard.log_determinant == pytest.approx(np.log(np.linalg.det(standard.matrix)))


def test_given_coefficients_stay_in_the_units_of_the_data():
    """A slope with its own prior is left alone, but the intercept is that at its mean."""
    x, z = stream(4, "columns").normal(5.0, 2.0, size=(2, 40))
    columns = np.column_stack([np.ones(40), x, z])
    standard = Standard.of(columns, intercepts=[True, False, False], given=[False, True, False])
    np.testing.assert_allclose(standard.matrix[0], [1.0, x.mean(), z.mean()])
    np.testing.assert_array_equal(standard.matrix[1], [0.0, 1.0, 0.0])
    assert standard.matrix[2, 1] == 0.0
    everything = Standard.of(columns, intercepts=[True, False, False], given=True)
    assert everything.is_identity


def test_a_column_that_repeats_others_keeps_its_own_scale():
    """What adds nothing, or is constant, has a finite unit and couples with no slope."""
    x = stream(5, "columns").normal(5.0, 2.0, size=40)
    columns = np.column_stack([np.ones(40), x, 3 * x, np.full(40, 7.0), np.zeros(40)])
    standard = Standard.of(columns, intercepts=[True, *[False] * 4])
    assert np.isfinite(standard.inverse).all()
    assert standard.matrix[2, 2] == pytest.approx(3 * x.std())
    assert standard.matrix[1, 2] == 0.0
    assert standard.matrix[3, 3] == standard.matrix[4, 4] == 1.0


def test_without_an_intercept_nothing_is_centred():
    """The unit of a lone slope is its root mean square."""
    x = stream(6, "columns").normal(5.0, 2.0, size=40)
    standard = Standard.of(x[:, None])
    assert standard.matrix[0, 0] == pytest.approx(np.sqrt((x**2).mean()))
