"""Simulation-based calibration of a mixture of experts, its labels put in order draw by draw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bayesmix as bm
from bayesmix.calibrate.ranks import sbc
from bayesmix.protocols import Array

pytestmark = pytest.mark.slow

METHOD = bm.NUTS(draws=300, tune=400, chains=2)
# experts that are mostly apart, so that the posterior has one mode but for its labels
PRIORS = {"loc": bm.Normal(0, 3), "gate": bm.Normal(0, 1), "scale": bm.Normal(-1, 0.3)}


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    """Sixty rows of one predictor; the target is simulated anew."""
    return pd.DataFrame({"x": np.linspace(-1, 1, 60), "y": np.zeros(60)})


@dataclass(frozen=True)
class NoisierExperts(bm.MixtureOfExperts):
    """Simulates with scales half as large again as the prior of the fit says."""

    def draw_prior(self, data: Any, rng: np.random.Generator, draws: int) -> dict[str, Array]:
        """Raise the log scale."""
        params = super().draw_prior(data, rng, draws)
        return params | {"scale_Intercept": params["scale_Intercept"] + np.log(1.5)}


def test_two_experts_are_calibrated(rows: pd.DataFrame) -> None:
    """Two Gaussian experts pass 100 replications of NUTS from the mode."""
    model = bm.MixtureOfExperts("y ~ x", 2, scale="constant", priors=PRIORS)
    found = sbc(model, rows, METHOD, replications=100, seed=1)
    assert found.ok, str(found)


def test_a_wrong_scale_is_found_out(rows: pd.DataFrame) -> None:
    """Scales half as large again as the model believes are rejected."""
    model = NoisierExperts("y ~ x", 2, scale="constant", priors=PRIORS)
    found = sbc(model, rows, METHOD, replications=100, seed=1)
    assert not found.ok
    assert any(name.startswith("scale_") for name in found.rejected), str(found)
