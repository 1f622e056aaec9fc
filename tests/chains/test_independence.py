"""Independence chains: their density, and that a wrong proposal is put right."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import bayesmix as bm
from bayesmix.chains import independence, statistics
from bayesmix.rng import stream

SHARE, NARROW = 0.5, 0.05


def log_density(points: np.ndarray) -> np.ndarray:
    """Half of the mass on a standard normal about zero, half on a narrow one about (4, 4, 4)."""
    parts = [
        stats.norm.logpdf(points).sum(axis=1),
        stats.norm.logpdf(points, 4, NARROW).sum(axis=1),
    ]
    return np.logaddexp(*parts) + np.log(SHARE)


def pilot(rng: np.random.Generator, share: float = 0.9) -> np.ndarray:
    """Points of both parts, by far too many in the wide one, as chains that seldom cross have."""
    narrow = rng.random(2_000) > share
    wide = np.where(narrow[:, None], NARROW, 1.0)
    return 4.0 * narrow[:, None] + wide * rng.standard_normal((2_000, 3))


def test_the_proposal_has_the_density_of_its_draws() -> None:
    """Its log density is scipy's of each part, and averages of p / q over its draws are one."""
    rng = stream(1, "proposal")
    found = independence.placed(pilot(rng), rng)
    points = found.draw(rng, 20_000)
    each = [
        stats.multivariate_t(centre, root @ root.T, 3).logpdf(points)
        for centre, root in zip(found.centres, found.roots, strict=True)
    ]
    expected = np.log(np.exp(found.log_weights) @ np.exp(np.stack(each)))
    np.testing.assert_allclose(found.log_density(points), expected, rtol=1e-8)
    ratio = np.exp(log_density(points) - found.log_density(points))
    assert abs(ratio.mean() - 1) < 4 * ratio.std() / np.sqrt(len(points))


def crossings(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Whether each state of four chains is in the narrow part, and the chains."""
    rng = stream(seed, "independence")
    points = pilot(rng)
    proposal = independence.placed(points, rng)
    found = independence.run(log_density, proposal, points[:4], 1_000, rng)
    return (found[..., :1] > 2.5).astype(float), found


@pytest.mark.parametrize("seed", range(3))
def test_a_wrong_share_of_two_parts_is_put_right(seed: int) -> None:
    """The pilot has a tenth in the narrow part, the density half: the chains have half."""
    inside, found = crossings(seed)
    error = float(statistics.mcse_mean(inside)[0])
    expected = SHARE * (1 + 3 * stats.norm.sf(2.5))  # a little of the wide part lies there, too
    assert error < 0.03
    assert abs(inside.mean() - SHARE) < 4 * error + (expected - SHARE)
    assert float(statistics.rhat_rank(found).max()) < 1.01


def test_without_acceptance_the_share_would_be_the_pilot_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """The power of the test above: chains that take every proposal are far from half."""
    monkeypatch.setattr(independence, "_path", lambda ratio, _: np.arange(len(ratio)))
    inside, _ = crossings(0)
    assert abs(inside.mean() - SHARE) > 10 * float(statistics.mcse_mean(inside)[0])


def test_draws_that_took_the_place_of_others_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the pilot's chains did is kept, and the diagnosis warns of it; else there is nothing."""
    rng = stream(1, "two lines")
    x, first = rng.normal(size=200), rng.random(200) < 0.5
    data = pd.DataFrame({"x": x, "y": np.where(first, x, -x) + rng.normal(0, 0.3, 200)})
    model, method = bm.MixtureOfExperts("y ~ x", 2, gate="1", scale="constant"), bm.NUTS(draws=500)
    plain = bm.fit(model, data, method=method, seed=1, progress=False)
    assert "diverging" in plain.tree["sample_stats"]
    assert not [f for f in plain.diagnose().findings if f.check == "pilot"]
    monkeypatch.setattr(independence, "_MAX_DIVERGENT", -1.0)  # as if too many had diverged
    found = bm.fit(model, data, method=method, seed=1, progress=False)
    kept = found.tree["sample_stats"]
    assert kept["pilot_diverging"].dims == ("chain", "draw") and "diverging" not in kept
    (told,) = (f for f in found.diagnose().findings if f.check == "pilot")
    assert told.level == "warn" and "independence chains" in told.message
    mean, error = (found.summary()[name]["x[1]"] for name in ("mean", "mcse_mean"))
    before = plain.summary().loc["x[1]"]
    assert abs(mean - before["mean"]) < 5 * np.hypot(error, before["mcse_mean"])
