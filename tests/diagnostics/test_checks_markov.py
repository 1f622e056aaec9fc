"""Every check of Markov chains fires on chains built to be bad, and none on good ones."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from fit_trees import (
    SAMPLE,
    Change,
    ar1,
    deepen,
    drift,
    found,
    freeze_energy,
    good_groups,
    good_tree,
    poison,
    shift_a_chain,
    stick,
    tree_of,
)

from bayesmix.chains import statistics
from bayesmix.diagnostics import markov
from bayesmix.diagnostics.diagnosis import diagnose


def gather_the_tail(groups: dict) -> None:
    """Visit the upper tail once a chain, in one stretch, however well the bulk mixes."""
    draws = groups["posterior"]["Intercept"].values
    for chain in draws:
        high = chain > np.quantile(draws, 0.95)
        chain[:] = np.concatenate([chain[~high][:500], chain[high], chain[~high][500:]])


def creep(groups: dict) -> None:
    """One parameter with an autocorrelation time of 400 draws."""
    draws = groups["posterior"]["Intercept"]
    draws[:] = ar1(draws.shape, 0.995, np.random.default_rng(5))


def diverge(count: int) -> Change:
    """That many divergences, anywhere."""

    def change(groups: dict) -> None:
        groups["sample_stats"]["diverging"].values.ravel()[:count] = True

    return change


def diverge_at_small_sigma(groups: dict) -> None:
    """Divergences in the neck of a funnel."""
    sigma = groups["posterior"]["sigma_edu"].values[..., 1]
    groups["sample_stats"]["diverging"].values[:] = sigma < np.quantile(sigma, 0.01)


def rename_depth(name: str) -> Change:
    """A sampler that records which trajectories were cut, 5 % of them."""

    def change(groups: dict) -> None:
        stats = groups["sample_stats"].drop_vars("tree_depth")
        cut = np.zeros(stats["diverging"].shape, dtype=bool)
        cut[0, ::5] = True
        groups["sample_stats"] = stats.assign({name: (SAMPLE, cut)})

    return change


def stick_all(groups: dict) -> None:
    """Every chain stands still, each at its own place."""
    groups["posterior"]["Intercept"][:] = np.arange(4.0)[:, None]


def freeze(groups: dict) -> None:
    """No parameter moves."""
    groups["posterior"] = 0 * groups["posterior"] + 0.5


BAD = [
    (shift_a_chain, "rhat", "fail", r"for 1\|edu\[Some HS\], above 1.01.*trace plot"),
    (creep, "ess_bulk", "warn", r"for Intercept, below 400.*`draws`"),
    (gather_the_tail, "ess_tail", "warn", r"for Intercept, below 400.*`draws`"),
    (creep, "mcse", "warn", r"mean of Intercept is \d\d% of the posterior sd.*`draws`"),
    (diverge(2), "divergences", "warn", r"2 of 4000 draws \(0.05%\).*`parametrization=\"mixed\"`"),
    (diverge(4), "divergences", "fail", r"4 of 4000 .*`target_accept`"),
    (diverge_at_small_sigma, "divergences", "fail", r"mostly where sigma_edu\[sex\] is small"),
    (freeze_energy, "energy", "warn", r"in chain 1, below 0.3.*funnels"),
    (deepen, "treedepth", "warn", r"5.0% of trajectories were cut.*`max_treedepth=12`"),
    (rename_depth("maxdepth_reached"), "treedepth", "warn", r"5.0% of trajectories"),
    (rename_depth("reached_max_treedepth"), "treedepth", "warn", r"5.0% of trajectories"),
    (drift, "geweke", "warn", r"warm-up was too short. Raise `tune`"),
    (stick, "movement", "fail", r"Chain 3 never moved in Intercept.*another seed"),
    (stick_all, "movement", "fail", r"Chain 0 never moved in Intercept"),
    (stick, "rhat", "fail", r"for Intercept"),
    (poison, "movement", "fail", r"1\|edu\[HS Grad\] are NaN or infinite.*narrower priors"),
    (freeze, "movement", "fail", r"No parameter ever moved"),
]


@pytest.mark.parametrize(("change", "check", "expected", "words"), BAD)
def test_bad_chains(change: Change, check: str, expected: str, words: str) -> None:
    """A run built to fail one check fails it, and the message names the place and a way out."""
    diagnosis = diagnose(good_tree(change))
    assert found(diagnosis, check).level == expected
    assert re.search(words, found(diagnosis, check).message)
    assert diagnosis.ok == all(finding.level != "fail" for finding in diagnosis.findings)
    assert check in diagnosis.verdict or expected == "warn"


@pytest.mark.parametrize("change", [diverge(2), freeze_energy, deepen, drift])
def test_one_fault_raises_one_alarm(change: Change) -> None:
    """A fault that one check alone can see leaves all the others quiet."""
    diagnosis = diagnose(good_tree(change))
    alarms = [f.check for f in diagnosis.findings if f.level != "pass"]
    assert len(alarms) == 1
    assert alarms[0] in diagnosis.verdict


@pytest.mark.parametrize(
    ("sizes", "check", "words"),
    [
        ({"m": 1}, "chains", "weak check. Run four"),
        ({"n": 99, "phi": 0.0}, "draws", "99 draws, fewer than 100.*`draws=1000`"),
    ],
)
def test_too_little(sizes: dict[str, int], check: str, words: str) -> None:
    """One chain and short chains are warned of, because the other checks are weak on them."""
    diagnosis = diagnose(good_tree(**sizes))
    assert found(diagnosis, check).level == "warn"
    assert re.search(words, found(diagnosis, check).message)


def test_one_drifting_chain() -> None:
    """The halves of a single chain are compared: a drift fails R-hat, noise does not."""

    def drift_along(groups: dict) -> None:
        groups["posterior"]["Intercept"] += np.linspace(0, 2, 1000)[None, :]

    finding = found(diagnose(good_tree(drift_along, m=1)), "rhat")
    assert finding.level == "fail"
    assert "halves of the one chain have not settled" in finding.message
    for seed in range(10):
        assert found(diagnose(good_tree(m=1, seed=seed)), "rhat").level == "pass"


@pytest.mark.parametrize("seed", range(10))
def test_good_chains_pass(seed: int) -> None:
    """Ten well-mixing runs pass all eleven checks, so a warning means something."""
    diagnosis = diagnose(good_tree(seed=seed))
    assert [f.level for f in diagnosis.findings] == ["pass"] * len(markov.MCMC_CHECKS)
    assert diagnosis.ok and not diagnosis.notes
    assert diagnosis.verdict == "The draws can be used: 11 of 11 checks passed."


def test_geweke_false_alarms() -> None:
    """Correlated scores exceed 1.96 together; the limit allows for it: 1 alarm in 150 at most."""
    rng = np.random.default_rng(7)
    alarms = 0
    for _ in range(150):
        common = ar1((4, 300, 1), 0.3, rng)
        draws = 0.9 * common + np.sqrt(1 - 0.81) * ar1((4, 300, 8), 0.3, rng)
        run = markov.SamplerRun(
            list("abcdefgh"), draws, pd.DataFrame(), statistics.geweke_z(draws), {}, None
        )
        finding = markov.check_geweke(run)
        assert finding is not None
        alarms += finding.level != "pass"
    assert alarms <= 1


def test_effective_parameters() -> None:
    """Copies count once, independent parameters each, and constants not at all."""
    one = np.random.default_rng(8).normal(size=(4, 500, 1))
    ten = np.random.default_rng(9).normal(size=(4, 500, 10))
    assert markov.effective_parameters(np.repeat(one, 7, axis=2)) == pytest.approx(1)
    assert markov.effective_parameters(ten) == pytest.approx(10, rel=0.05)
    assert markov.effective_parameters(0 * one) == 1
    with_constant = np.concatenate([one, 0 * one], axis=2)
    assert markov.effective_parameters(with_constant) == pytest.approx(1)


@pytest.mark.parametrize(("trials", "share"), [(1, 0.05), (16, 0.05), (800, 0.05), (40, 0.5)])
def test_binomial_limit(trials: int, share: float) -> None:
    """The limit is SciPy's least count that is exceeded with probability below 0.001."""
    from scipy.stats import binom

    counts = np.arange(trials + 1)
    expected = counts[binom.sf(counts, trials, share) < 0.001].min() / trials
    assert markov.binomial_limit(trials, share) == pytest.approx(expected)


def test_unrecorded_statistics() -> None:
    """A sampler that records neither divergences, energy nor depth is judged on its draws alone."""
    groups = good_groups()
    del groups["sample_stats"]
    diagnosis = diagnose(tree_of(groups), ["The rows are few."])
    assert diagnosis.ok
    assert diagnosis.notes == (
        "The rows are few.",
        "Not checked, as the sampler did not record them: divergences, energy, treedepth.",
    )


def test_geweke_needs_effective_draws() -> None:
    """Where the last half is too sticky to say what noise is, Geweke's scores are not judged."""
    groups = good_groups()
    groups["posterior"] = groups["posterior"][["Intercept"]]
    creep(groups)
    diagnosis = diagnose(tree_of(groups))
    assert "geweke" not in [finding.check for finding in diagnosis.findings]
    assert any("Geweke" in note for note in diagnosis.notes)
