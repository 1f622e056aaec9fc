"""The binomial family on data other than the census."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bayesmix as bm
from bayesmix import rng as random
from bayesmix.errors import FormulaError


def test_columns_may_have_the_names_of_design_arrays():
    """An outcome ``successes`` and predictors ``X`` and ``trials`` clash with nothing."""
    generator = random.stream(1, "names")
    data = pd.DataFrame({"X": generator.normal(size=20), "trials": generator.normal(size=20)})
    data["successes"], data["n"] = generator.binomial(9, 0.4, 20), 9
    model = bm.BinomialGLM("p(successes, n) ~ X + trials")
    fit = bm.fit(model, data, method=bm.NUTS(draws=50, tune=60, chains=2), seed=1)
    assert list(fit.tree["posterior"].data_vars) == ["Intercept", "X", "trials"]


def test_the_outcome_is_no_predictor():
    """An outcome on both sides is refused by name."""
    with pytest.raises(FormulaError, match="'high' stands on both sides"):
        bm.BinomialGLM("p(high, total) ~ high").design(bm.datasets.census())


def test_groups_recover_the_truth_from_yes_no_data():
    """300 people in 30 groups, outcome 0/1: 90 % intervals hold the truth as often as said."""
    generator = random.stream(2, "truth")
    group = np.repeat(np.arange(30), 10)
    effects = generator.multivariate_normal([0, 0], [[1.0, 0.3], [0.3, 0.5]], 30)
    x = generator.normal(size=300)
    logit = 0.5 + effects[group, 0] + (1.0 + effects[group, 1]) * x
    data = pd.DataFrame({"y": generator.random(300) < 1 / (1 + np.exp(-logit)), "x": x})
    data["g"] = [f"g{i:02}" for i in group]
    fit = bm.fit(bm.BinomialGLM("y ~ x + (x | g)"), data, seed=3)
    assert fit.tree["sample_stats"]["diverging"].to_numpy().mean() < 1e-2
    posterior = fit.tree["posterior"].to_dataset()
    total = (posterior["Intercept"] + posterior["1|g"]).to_numpy().reshape(-1, 30)
    low, high = np.quantile(total, [0.05, 0.95], axis=0)
    covered = ((low < 0.5 + effects[:, 0]) & (0.5 + effects[:, 0] < high)).sum()
    # binomial(30, 0.9): fewer than 22 has probability 0.002
    assert covered >= 22
    assert np.corrcoef(total.mean(axis=0), effects[:, 0])[0, 1] > 0.5
