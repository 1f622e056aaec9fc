"""ADVI says when it ended below the optimum, and serves data in batches of rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from book import EXPERTS

import bayesmix as bm
from bayesmix.compiled.density import target
from bayesmix.errors import SpecError
from bayesmix.rng import stream
from bayesmix.variational.batches import Batches


def test_batches_reach_the_optimum() -> None:
    """Batches of 100 of 1,000 rows end within a nat of DADVI's optimum."""
    data = bm.datasets.one_to_many()
    method = bm.ADVI(batch_size=100, steps=4000, draws=200)
    fit = bm.fit(EXPERTS, data, method=method, seed=1, progress=False)
    best = bm.fit(EXPERTS, data, method=bm.DADVI(draws=200), seed=1, progress=False)
    ours, theirs = (f.tree["fit_stats"]["elbo_final"].item() for f in (fit, best))
    assert theirs - 1 < ours < theirs + 1


def test_batches_are_unbiased() -> None:
    """Averaged over the batches of an epoch, density and gradient are those of all rows."""
    design = EXPERTS.design(bm.datasets.one_to_many())
    batches = Batches(EXPERTS, design, 50, stream(1, "batches"))
    whole = target(EXPERTS, design)
    point = stream(2, "point").normal(0, 0.5, whole.n_dim)
    epoch = [batches.estimate(point[None]) for _ in range(20)]
    value, gradient = whole.log_density(point)
    assert np.mean([one[0] for one in epoch]) == pytest.approx(value, rel=1e-10)
    np.testing.assert_allclose(np.mean([one[1][0] for one in epoch], axis=0), gradient, rtol=1e-8)


def test_batches_of_group_effects() -> None:
    """Batches serve every family whose rows are independent: census rows, one by one."""
    census = bm.datasets.census()
    model = bm.BinomialGLM("p(high, total) ~ sex")
    method = bm.ADVI(batch_size=7, steps=3000, draws=500)
    fit = bm.fit(model, census, method=method, seed=1, progress=False)
    exact = bm.fit(model, census, method=bm.DADVI(draws=500), seed=1, progress=False)
    mean = exact.tree["posterior"]["sex"].mean().item()
    sd = exact.tree["posterior"]["sex"].std().item()
    assert abs(fit.tree["posterior"]["sex"].mean().item() - mean) < sd


def test_a_stopped_fit_is_told_how_much_was_left() -> None:
    """After 100 steps diagnose() names the better optimum and fails the fit."""
    rng = stream(4, "line")
    x = rng.uniform(-1, 1, 200)
    data = pd.DataFrame({"x": x, "y": 3 + 2 * x + rng.normal(0, 0.3, 200)})
    model = bm.MixtureOfExperts("y ~ x", 1, scale="constant")
    fit = bm.fit(model, data, method=bm.ADVI(steps=100, draws=200), seed=1, progress=False)
    stats = fit.tree["fit_stats"]
    gap = (stats["elbo_better"] - stats["elbo_final"]).item()
    assert gap > 10
    finding = next(f for f in fit.diagnose().findings if f.check == "elbo")
    assert finding.level == "fail"
    assert f"{gap:.2f} nats higher" in finding.message


def test_no_batches_of_full_rank() -> None:
    """A full-rank fit in batches is refused with another way."""
    with pytest.raises(SpecError, match="method='dadvi'"):
        bm.ADVI(batch_size=10, covariance="fullrank")
