"""Restarts of maximum likelihood part by what a row tells, whatever the units."""

from __future__ import annotations

import numpy as np
import pytest

import bayesmix as bm
from bayesmix.inference.mle import _Objective
from bayesmix.rng import stream


@pytest.mark.parametrize("factor", [1e-3, 60.0])
def test_restarts_are_the_same_in_other_units(factor):
    """A predictor in other units moves its coefficients' starts by the factor, and no others."""
    data = bm.datasets.one_to_many()
    model = bm.MixtureOfExperts("target ~ x", 2, scale="constant", floor=0.01)
    moved = []
    for table in (data, data.assign(x=factor * data["x"])):
        design = model.design(table)
        objective = _Objective(model.torch_module(design))
        starts = objective.starts(stream(1, "starts"), 3, design.n_obs)
        objective.set(starts[2])
        moved.append(objective.module.coefficients())
    np.testing.assert_allclose(moved[1].loc[:, 0], moved[0].loc[:, 0], rtol=1e-3)
    np.testing.assert_allclose(moved[1].loc[:, 1] * factor, moved[0].loc[:, 1], rtol=1e-3)
    assert np.abs(moved[0].loc).max() < 50
