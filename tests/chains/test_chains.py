"""Chain statistics against ArviZ, against theory, and against their own invariances."""

from __future__ import annotations

import subprocess
import sys
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bayesmix.chains import statistics
from bayesmix.errors import DataError, SpecError

RTOL = 1e-9


def ar1(shape: tuple[int, int, int], phi: float, seed: int) -> np.ndarray:
    """Stationary autoregressive chains with innovations of sd 1."""
    noise = np.random.default_rng(seed).normal(size=shape)
    draws = np.empty(shape)
    draws[:, 0] = noise[:, 0] / np.sqrt(1 - phi**2)
    for t in range(1, shape[1]):
        draws[:, t] = phi * draws[:, t - 1] + noise[:, t]
    return draws


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    """Independent standard normal draws."""
    return np.random.default_rng(seed).normal(size=shape)


def with_gaps() -> np.ndarray:
    """Four parameters: one sound, one with a NaN, two with infinities."""
    draws = normal(4, 100, 4)
    draws[1, 3, 1] = np.nan
    draws[0, 0, 2] = np.inf
    draws[:, 5:20, 3] = -np.inf
    return draws


CASES = {
    **{f"{m} chains of {n}": normal(m, n, 5) for m in (1, 2, 4) for n in (*range(3, 13), 99, 500)},
    **{f"ar1 {phi}": ar1((4, 501, 6), phi, seed=1) for phi in (-0.9, -0.4, 0.3, 0.9, 0.99, 0.999)},
    "one sticky chain": ar1((1, 1000, 4), 0.9, seed=2),
    "heavy tails": np.random.default_rng(3).standard_cauchy((4, 500, 6)) ** 3,
    "constant": np.full((4, 100, 2), 3.3),
    "constant but for one draw": np.eye(1, 400).reshape(4, 100, 1) + 0.1,
    "binary": (normal(4, 200, 6) > 0).astype(float),
    "counts": np.random.default_rng(4).poisson(2, (4, 301, 6)),
    "far from zero": 1e8 + normal(4, 100, 3),
    "below the resolution": 1e-17 * normal(4, 100, 3),
    "shifted chains": normal(4, 200, 3) + np.arange(4)[:, None, None],
    "scaled chains": normal(4, 200, 3) * np.arange(1, 5)[:, None, None],
    "trend": normal(4, 200, 3) + np.linspace(0, 3, 200)[:, None],
    "not finite": with_gaps(),
}


def arviz(draws: np.ndarray) -> dict[str, np.ndarray]:
    """The same statistics by arviz-stats, which warns where it divides zero by zero."""
    from arviz_stats.base import array_stats

    x = np.moveaxis(np.asarray(draws, dtype=float), -1, 0)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return {
            "rhat": array_stats.rhat(x),
            "ess_bulk": array_stats.ess(x, method="bulk"),
            "ess_tail": array_stats.ess(x, method="tail", prob=(0.05, 0.95)),
            "ess_mean": array_stats.ess(x, method="mean"),
            "mcse_mean": array_stats.mcse(x, method="mean"),
            "mcse_sd": array_stats.mcse(x, method="sd"),
        }


@pytest.mark.parametrize("name", CASES)
def test_equals_arviz(name: str) -> None:
    """Every statistic equals ArviZ's to 1e-9, NaN for NaN, on easy and on awkward chains."""
    ours, theirs = statistics.chain_statistics(CASES[name]), arviz(CASES[name])
    for statistic in statistics.STATISTICS:
        np.testing.assert_allclose(
            ours[statistic], theirs[statistic], rtol=RTOL, atol=0, err_msg=statistic
        )


def test_alone_or_together() -> None:
    """A statistic asked for alone is the one of the shared computation, bit for bit."""
    draws = ar1((4, 301, 5), 0.6, seed=5) * np.array([1, 1, 3, 1])[:, None, None]
    together = statistics.chain_statistics(draws)
    alone = {
        "rhat": statistics.rhat_rank(draws),
        "ess_bulk": statistics.ess_bulk(draws),
        "ess_tail": statistics.ess_tail(draws),
        "ess_mean": statistics.ess_mean(draws),
        "mcse_mean": statistics.mcse_mean(draws),
        "mcse_sd": statistics.mcse_sd(draws),
    }
    assert set(alone) == set(statistics.STATISTICS)
    for name, values in alone.items():
        np.testing.assert_array_equal(values, together[name])


@pytest.mark.parametrize("prob", [(0.11, 0.89), (0.025, 0.5)])
def test_tail_probabilities(prob: tuple[float, float]) -> None:
    """Tail ESS takes any two probabilities, ArviZ 1.x's own default among them."""
    from arviz_stats.base import array_stats

    draws = ar1((4, 400, 4), 0.7, seed=6)
    theirs = array_stats.ess(np.moveaxis(draws, -1, 0), method="tail", prob=prob)
    np.testing.assert_allclose(statistics.ess_tail(draws, prob), theirs, rtol=RTOL)


def test_one_chain_is_split_when_allowed() -> None:
    """With min_chains=1 the halves of one chain are compared: a trend shows, a settled one not."""
    still, trend = normal(1, 1000, 1, seed=7), np.linspace(0, 3, 1000)[None, :, None]
    draws = np.concatenate([still, still + trend], axis=2)
    assert np.isnan(statistics.rhat_rank(draws)).all()
    settled, drifting = statistics.rhat_rank(draws, min_chains=1)
    assert settled < 1.01 < 1.3 < drifting
    both = statistics.chain_statistics(draws, min_chains=1)["rhat"]
    np.testing.assert_array_equal(both, [settled, drifting])


def test_frozen_chains_have_no_small_rhat() -> None:
    """Chains that each stand still at their own place have an R-hat beyond all bounds."""
    frozen = np.broadcast_to(np.arange(4.0)[:, None, None], (4, 100, 1))
    assert statistics.rhat_rank(frozen).item() > 1e6


@pytest.mark.parametrize("phi", [-0.5, 0.0, 0.5, 0.9])
def test_ess_of_ar1(phi: float) -> None:
    """ESS and MCSE of AR(1) chains meet theory: 4 errors of a mean over 200, and 2 % of bias."""
    draws = ar1((4, 2000, 200), phi, seed=8)
    ess = 8000 * (1 - phi) / (1 + phi)
    ratios = np.stack([statistics.ess_mean(draws), statistics.ess_bulk(draws)]) / ess
    assert (abs(ratios.mean(1) - 1) < 4 * ratios.std(1) / np.sqrt(200) + 0.02).all()
    error = statistics.mcse_mean(draws)
    assert error.mean() == pytest.approx(draws.mean((0, 1)).std(), rel=4 / np.sqrt(2 * 200))


@given(st.integers(0, 2**31), st.integers(1, 4), st.integers(4, 40))
@settings(max_examples=25, deadline=None)
def test_ranks_only(seed: int, m: int, n: int) -> None:
    """Bulk ESS sees ranks only, so a monotone transform changes nothing; nor do chains' names."""
    draws = normal(m, n, 2, seed=seed)
    np.testing.assert_allclose(
        statistics.ess_bulk(np.exp(draws)), statistics.ess_bulk(draws), rtol=RTOL
    )
    ours, swapped = statistics.chain_statistics(draws), statistics.chain_statistics(draws[::-1])
    for name in statistics.STATISTICS:
        np.testing.assert_allclose(ours[name], swapped[name], rtol=RTOL)


def test_nan_stays_with_its_parameter() -> None:
    """A NaN blanks its own parameter and leaves the others as they are."""
    draws = normal(4, 50, 3)
    gap = draws.copy()
    gap[2, 7, 1] = np.nan
    for name, values in statistics.chain_statistics(gap).items():
        assert np.isnan(values[1])
        np.testing.assert_array_equal(
            values[[0, 2]], statistics.chain_statistics(draws)[name][[0, 2]]
        )


@pytest.mark.parametrize("order", ["C", "F", "parameter first"])
def test_draws_are_not_changed(order: str) -> None:
    """No statistic writes to the draws that it is given, however they lie in memory."""
    draws = with_gaps()
    if order == "parameter first":
        draws = np.ascontiguousarray(draws.transpose(2, 0, 1)).transpose(1, 2, 0)
    else:
        draws = np.asarray(draws, order="F" if order == "F" else "C")
    before = draws.copy()
    statistics.chain_statistics(draws)
    statistics.geweke_z(draws)
    statistics.autocorrelation(draws)
    np.testing.assert_array_equal(draws, before)


def test_bfmi() -> None:
    """BFMI equals ArviZ's; AR(1) energies have 2 (1 - phi), within 4 of their errors."""
    from arviz_stats.base import array_stats

    energy = ar1((200, 1000, 1), 0.8, seed=9)[..., 0]
    np.testing.assert_allclose(statistics.bfmi(energy), array_stats.bfmi(energy), rtol=RTOL)
    values = statistics.bfmi(energy)
    assert abs(values.mean() - 0.4) < 4 * values.std() / np.sqrt(200) + 0.4 * 9 / 1000


def test_autocorrelation() -> None:
    """Autocorrelations equal ArviZ's; a chain that stands still has none."""
    from arviz_stats.base import array_stats

    draws = ar1((3, 77, 2), 0.7, seed=10)
    theirs = array_stats.autocorr(np.moveaxis(draws, -1, 0), axis=-1)
    np.testing.assert_allclose(
        statistics.autocorrelation(draws), np.moveaxis(theirs, 0, -1), atol=1e-12
    )
    draws[1, :, 0] = 0.1
    assert np.isnan(statistics.autocorrelation(draws)[1, :, 0]).all()
    assert np.isfinite(statistics.autocorrelation(draws)[[0, 2]]).all()


def test_geweke_equation() -> None:
    """The score is the stretches' difference over the error that the last stretch gives."""
    draws = ar1((2, 300, 1), 0.5, seed=11)
    chain = draws[1, :, 0]
    head, tail = chain[:60], chain[180:]
    from arviz_stats.base import array_stats

    spectrum = tail.var(ddof=1) * 120 / array_stats.ess(tail[None], method="identity")
    expected = (head.mean() - tail.mean()) / np.sqrt(spectrum * (1 / 60 + 1 / 120))
    assert statistics.geweke_z(draws, first=0.2, last=0.4)[1, 0] == pytest.approx(
        expected, rel=RTOL
    )


def test_geweke_of_settled_chains() -> None:
    """In stationary chains about 5 % of the scores exceed 1.96, sticky chains included."""
    for phi, most in [(0.0, 0.06), (0.5, 0.06), (0.8, 0.08)]:
        z = statistics.geweke_z(ar1((4, 1000, 800), phi, seed=12))
        assert z.shape == (4, 800)
        assert 0.035 < (abs(z) > 1.96).mean() < most


def test_geweke_of_a_drift() -> None:
    """A chain that begins two sds away is found, in that chain and parameter alone."""
    draws = normal(3, 1000, 2, seed=13)
    draws[1, :100, 0] += 2
    z = abs(statistics.geweke_z(draws))
    assert z[1, 0] > 8
    assert np.delete(z.ravel(), 2).max() < 3


@pytest.mark.parametrize("shares", [(0.0, 0.5), (0.1, 1.0), (0.6, 0.5), (-0.1, 0.5)])
def test_geweke_shares(shares: tuple[float, float]) -> None:
    """Stretches that are empty or overlap are refused, with the range that is allowed."""
    with pytest.raises(SpecError, match=r"first and last must lie in \(0, 1\)"):
        statistics.geweke_z(normal(2, 100, 1), *shares)


def test_geweke_without_answer() -> None:
    """Too few draws, or a last stretch that stands still, give NaN and no warning."""
    for n in (7, 9):
        z = statistics.geweke_z(normal(2, n, 3))
        assert z.shape == (2, 3) and np.isnan(z).all()
    still = normal(1, 100, 1)
    still[:, 50:] = 0.1
    assert np.isnan(statistics.geweke_z(still)).all()


@pytest.mark.parametrize(
    "statistic",
    [
        statistics.chain_statistics,
        statistics.rhat_rank,
        statistics.geweke_z,
        statistics.autocorrelation,
    ],
)
def test_shape_is_checked(statistic) -> None:
    """Draws without a parameter axis are refused, with the axes that are wanted."""
    with pytest.raises(DataError, match=r"axes \(chain, draw, parameter\), got shape \(4, 100\)"):
        statistic(normal(4, 100))


def test_no_parameters() -> None:
    """No parameter gives no number, and no error."""
    empty = np.empty((4, 100, 0))
    assert all(values.shape == (0,) for values in statistics.chain_statistics(empty).values())
    assert statistics.geweke_z(empty).shape == (4, 0)


def test_imports_are_light() -> None:
    """Neither SciPy nor ArviZ is loaded: they cost more time than all the statistics."""
    code = (
        "import sys, numpy as np; from bayesmix.chains import statistics as chains; "
        "chains.chain_statistics(np.random.default_rng(0).normal(size=(2, 50, 2))); "
        "heavy = {'scipy', 'arviz_stats', 'arviz', 'matplotlib', 'pymc', 'torch'}; "
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
