"""Simulation-based calibration of the census models, at full size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bayesmix as bm
from bayesmix.calibrate.intervals import recovery
from bayesmix.calibrate.ranks import sbc
from bayesmix.protocols import Array

pytestmark = pytest.mark.slow

METHOD = bm.NUTS(draws=500, tune=500, chains=2)
PARTIAL = "p(high, total) ~ sex + (1 | edu)"
SLOPES = "p(high, total) ~ sex + (sex | edu)"
# narrow enough that simulated groups are seldom all zeros or all ones
PRIORS = {"Intercept": bm.Normal(0, 2), "sigma": bm.HalfNormal(1)}


@dataclass(frozen=True)
class WiderGroups(bm.BinomialGLM):
    """Simulates groups that lie half as far apart again as the prior of the fit says."""

    def draw_prior(self, data: Any, rng: np.random.Generator, draws: int) -> dict[str, Array]:
        """Stretch the group deviations and their spread."""
        params = super().draw_prior(data, rng, draws)
        return {k: 1.5 * v if k in ("1|edu", "sigma_edu") else v for k, v in params.items()}


@pytest.mark.parametrize("parametrization", ["mixed", "centered"])
def test_partial_pooling_is_calibrated(census: pd.DataFrame, parametrization: str) -> None:
    """Partial pooling passes 200 replications on the census's own numbers of people."""
    model = bm.BinomialGLM(PARTIAL, priors=PRIORS, parametrization=parametrization)
    found = sbc(model, census, METHOD, replications=200, seed=1)
    assert found.ok, str(found)


def test_noncentered_partial_pooling_is_calibrated(census: pd.DataFrame) -> None:
    """The non-centred form passes where it is apt: groups of few people.

    With the census's thousands of people in a group its chains hardly move (32 of 200 fits keep
    fewer than 99 effective draws), and ranks among dependent draws say nothing of calibration.
    """
    few = census.assign(total=census["total"] // 60 + 1, high=0)
    model = bm.BinomialGLM(PARTIAL, priors=PRIORS, parametrization="noncentered")
    found = sbc(model, few, METHOD, replications=200, seed=1)
    assert found.ok, str(found)
    short = [int(note.split()[0]) for note in found.notes if "effective draws" in note]
    assert sum(short) <= 4, found.notes  # ranks of so few of 200 fits move no p-value


@pytest.mark.parametrize("parametrization", ["mixed", "noncentered"])
def test_varying_slopes_are_calibrated(census: pd.DataFrame, parametrization: str) -> None:
    """Varying slopes pass 200 replications, correlation and joint likelihood included."""
    model = bm.BinomialGLM(SLOPES, priors=PRIORS, parametrization=parametrization)
    found = sbc(model, census, METHOD, replications=200, seed=1)
    assert found.ok, str(found)
    assert "corr_edu[Intercept, sex]" in found.ranks


def test_the_default_priors_are_calibrated(census: pd.DataFrame) -> None:
    """Heavy tails, which make groups of zeros and ones only, are sampled faithfully too."""
    found = sbc(bm.BinomialGLM(PARTIAL), census, METHOD, replications=200, seed=1)
    assert found.ok, str(found)


def test_a_wrong_model_is_not(census: pd.DataFrame) -> None:
    """Groups half as far apart again as the model believes are found out."""
    model = WiderGroups(PARTIAL, priors=PRIORS)
    found = sbc(model, census, METHOD, replications=200, seed=1)
    assert not found.ok
    assert "sigma_edu[Intercept]" in found.rejected, str(found)


def test_varying_slopes_are_recovered(census: pd.DataFrame) -> None:
    """Central 50 % and 90 % intervals hold the true values as often as they say."""
    model = bm.BinomialGLM(SLOPES, priors=PRIORS)
    found = recovery(model, census, METHOD, replications=200, seed=2)
    assert found.ok, str(found)
