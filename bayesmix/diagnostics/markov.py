"""The checks of Markov chains: do they agree, and do they say enough?"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from bayesmix.chains import statistics as chains
from bayesmix.diagnostics.finding import Finding, Level
from bayesmix.protocols import SAMPLE_DIMS, Array
from bayesmix.tree.entries import labelled_draws
from bayesmix.tree.read import judged

MAX_RHAT, MAX_RHAT_OF_HALVES = 1.01, 1.05
MIN_ESS_PER_CHAIN = 100
MAX_MCSE = 0.1
MAX_DIVERGENT = 0.001
MIN_BFMI = 0.3
MAX_DEPTH_SHARE = 0.01
MIN_DRAWS = 100
GEWEKE_Z, GEWEKE_SHARE, GEWEKE_ESS = 1.96, 0.05, 50
REPARAMETRIZE = (
    'with group effects, use `parametrization="mixed"` (or `"noncentered"`, for groups with little '
    "data)"
)


@dataclass(frozen=True, eq=False)
class SamplerRun:
    r"""Markov chains with their statistics, as the checks read them.

    Parameters
    ----------
    labels, draws
        Every parameter that is not constant: its label, and (chain, draw, parameter).
    statistics
        Of :func:`~bayesmix.chains.statistics.chain_statistics`; ``geweke`` is the largest \|z\|,
        and ``mcse``, the error of the mean in posterior standard deviations.
    z
        Geweke scores, (chain, parameter).
    stats
        The sampler's own record, each (chain, draw).
    max_treedepth
        Longest trajectory allowed, as a power of two; None where it is not known.
    """

    labels: list[str]
    draws: Array
    statistics: pd.DataFrame
    z: Array
    stats: dict[str, Array]
    max_treedepth: int | None


def chain_table(labels: list[str], draws: Array) -> pd.DataFrame:
    """R-hat, effective sizes and Monte Carlo errors by parameter; one chain is split for R-hat."""
    return pd.DataFrame(chains.chain_statistics(draws, min_chains=1), index=labels)


def read_run(tree: xr.DataTree) -> SamplerRun:
    """The chains of a tree, with every statistic that the checks need."""
    labels, draws = labelled_draws(judged(tree))
    z = chains.geweke_z(draws)
    table = chain_table(labels, draws).assign(geweke=np.fmax.reduce(np.abs(z), axis=0))
    with np.errstate(all="ignore"):
        table["mcse"] = table["mcse_mean"] / draws.std(axis=(0, 1), ddof=1)
    stats: dict[str, Array] = {}
    if "sample_stats" in tree.children:
        for name, record in tree["sample_stats"].data_vars.items():
            if set(record.dims) == set(SAMPLE_DIMS):
                stats[str(name)] = record.transpose(*SAMPLE_DIMS).to_numpy()
    return SamplerRun(labels, draws, table, z, stats, tree.attrs.get("max_treedepth"))


def check_chains(run: SamplerRun) -> Finding:
    """Are there several chains?"""
    n = run.draws.shape[0]
    if n > 1:
        return Finding("chains", "pass", n, 2, "", f"{n} chains were run and can be compared.")
    message = (
        "Only one chain was run: nothing shows that another start would end in the same place, and "
        "R-hat, taken from the chain's two halves, is a weak check. Run four (`chains=4`)."
    )
    return Finding("chains", "warn", n, 2, "", message)


def check_draws(run: SamplerRun) -> Finding:
    """Are there enough draws for the other checks to mean anything?"""
    n = run.draws.shape[1]
    if n >= MIN_DRAWS:
        return Finding("draws", "pass", n, MIN_DRAWS, "", f"Each chain has {n} draws.")
    message = (
        f"Each chain has {n} draws, fewer than {MIN_DRAWS}: R-hat, effective sample sizes and tail "
        "quantiles cannot be judged on so few. Fit again with `draws=1000`."
    )
    return Finding("draws", "warn", n, MIN_DRAWS, "", message)


def check_movement(run: SamplerRun) -> Finding:
    """Is every draw a number, and did every chain move?"""
    if not run.labels:
        message = (
            "No parameter ever moved: every proposal was rejected. Look at the model's density at "
            "the start (infinite priors, a wrong unit), and fit again from another seed."
        )
        return Finding("movement", "fail", 0, 1, "", message)
    wrong = ~np.isfinite(run.draws).all(axis=(0, 1))
    if wrong.any():
        where = run.labels[int(wrong.argmax())]
        message = (
            f"Draws of {where}{_others(wrong)} are NaN or infinite: the sampler left the range of "
            "floating-point numbers. Rescale the predictors and give narrower priors."
        )
        return Finding("movement", "fail", int(wrong.sum()), 0, where, message)
    still = (run.draws == run.draws[:, :1]).all(axis=1)
    if still.any() and run.draws.shape[1] > 1:
        chain, parameter = np.argwhere(still)[0]
        where = run.labels[parameter]
        message = (
            f"Chain {chain} never moved in {where}{_others(still.any(axis=0))}: every proposal was "
            "rejected and its draws are one point. Fit again with a longer `tune` or another seed."
        )
        return Finding("movement", "fail", int(still.sum()), 0, where, message)
    return Finding("movement", "pass", 0, 0, "", "All draws are finite and every chain moves.")


def check_rhat(run: SamplerRun) -> Finding | None:
    """Do the chains agree? Split R-hat of ranks, bulk and tail."""
    several = run.draws.shape[0] > 1
    parts = "chains" if several else "halves of the one chain"
    good = "R-hat is at most {value:.3f} ({where}): the " + parts + " agree on every parameter."
    bad = (
        "R-hat is {value:.3g} for {where}{others}, above {threshold}: the " + parts + " have not "
        "settled on one distribution, so their averages are not yet posterior averages. Run longer "
        "(`tune`, `draws`). If it stays high, see the trace plot: chains on different levels "
        "mean several modes, which ask for better starts, ordered components or narrower priors."
    )
    limit = MAX_RHAT if several else MAX_RHAT_OF_HALVES
    return _of_worst(run, "rhat", limit, "fail", good, bad)


def check_ess_bulk(run: SamplerRun) -> Finding | None:
    """Are there enough effective draws for means and medians?"""
    good = "Bulk ESS is at least {value:.0f} ({where}): means and medians are well determined."
    bad = (
        "Bulk ESS is {value:.0f} for {where}{others}, below {threshold} (100 a chain): means, and "
        "R-hat itself, are too noisy to report. Take more `draws`; if the chain moves slowly in a "
        "few parameters only, " + REPARAMETRIZE + "."
    )
    return _of_worst(run, "ess_bulk", _least_ess(run), "warn", good, bad)


def check_ess_tail(run: SamplerRun) -> Finding | None:
    """Are there enough effective draws for intervals?"""
    good = "Tail ESS is at least {value:.0f} ({where}): 90 % intervals are well determined."
    bad = (
        "Tail ESS is {value:.0f} for {where}{others}, below {threshold} (100 a chain): the ends of "
        "its 90 % interval are too noisy to report. Take more `draws`; with heavy tails or a scale "
        "near zero, give that parameter a narrower prior."
    )
    return _of_worst(run, "ess_tail", _least_ess(run), "warn", good, bad)


def check_mcse(run: SamplerRun) -> Finding | None:
    """Is the Monte Carlo error small against the posterior's own width?"""
    good = "The Monte Carlo error of a mean is at most {value:.1%} of the posterior sd ({where})."
    bad = (
        "The Monte Carlo error of the mean of {where}{others} is {value:.0%} of the posterior sd: "
        "another run would print other digits. Four times the `draws` halve the error."
    )
    return _of_worst(run, "mcse", MAX_MCSE, "warn", good, bad)


def check_divergences(run: SamplerRun) -> Finding | None:
    """Could the sampler follow the posterior everywhere?"""
    if "diverging" not in run.stats:
        return None
    diverging = run.stats["diverging"].astype(bool)
    count, share = int(diverging.sum()), float(diverging.mean())
    if count == 0:
        return Finding("divergences", "pass", 0, MAX_DIVERGENT, "", "No draw diverged.")
    where, gathered = _gathering(run, diverging)
    message = (
        f"{count} of {diverging.size} draws ({share:.2%}) diverged{gathered}: the sampler could "
        "not follow the posterior there and may leave a part of it out, so that intervals come out "
        f"too narrow. First {REPARAMETRIZE}; then raise `target_accept` to 0.95 or 0.99."
    )
    level: Level = "warn" if share < MAX_DIVERGENT else "fail"
    return Finding("divergences", level, share, MAX_DIVERGENT, where, message)


def check_energy(run: SamplerRun) -> Finding | None:
    """Do the chains travel between energies?"""
    if "energy" not in run.stats:
        return None
    values = chains.bfmi(run.stats["energy"])
    if not np.isfinite(values).any():
        return None
    worst = int(np.nanargmin(values))
    value, where = float(values[worst]), f"chain {worst}"
    if value >= MIN_BFMI:
        message = f"The energy's BFMI is at least {value:.2f} ({where})."
        return Finding("energy", "pass", value, MIN_BFMI, where, message)
    message = (
        f"The energy's BFMI is {value:.2f} in {where}, below {MIN_BFMI}: the chain creeps between "
        "energies, as it does in heavy tails and in funnels (a group scale near zero). Run longer, "
        f"and {REPARAMETRIZE} or a prior with lighter tails on the group scales."
    )
    return Finding("energy", "warn", value, MIN_BFMI, where, message)


def check_treedepth(run: SamplerRun) -> Finding | None:
    """Were trajectories cut short?"""
    cut = _cut_short(run)
    if cut is None:
        return None
    share = float(np.mean(cut))
    if share <= MAX_DEPTH_SHARE:
        message = f"{share:.1%} of trajectories reached the maximal tree depth."
        return Finding("treedepth", "pass", share, MAX_DEPTH_SHARE, "", message)
    message = (
        f"{share:.1%} of trajectories were cut at the maximal tree depth: the draws are valid but "
        "slow and correlated, because some directions are far wider than others. Standardise the "
        "predictors, tune longer (`tune`), or allow longer ones (`max_treedepth=12`)."
    )
    return Finding("treedepth", "warn", share, MAX_DEPTH_SHARE, "", message)


def check_geweke(run: SamplerRun) -> Finding | None:
    """Do the chains start where they end? Asked where the last half can say what noise is."""
    m, n, _ = run.draws.shape
    size = chains.ess_mean(run.draws[:, n // 2 :])
    judged = np.isfinite(run.z).all(axis=0) & (size >= GEWEKE_ESS * m)
    if n < MIN_DRAWS or not judged.any():
        return None
    z = np.where(judged, np.abs(run.z), 0.0)
    trials = max(1, round(m * effective_parameters(run.draws[..., judged])))
    limit = binomial_limit(trials, GEWEKE_SHARE)
    share = float((z[:, judged] > GEWEKE_Z).mean())
    chain, parameter = np.unravel_index(z.argmax(), z.shape)
    where = run.labels[parameter]
    found = (
        f"{share:.0%} of Geweke's z-scores exceed {GEWEKE_Z} (5 % would in settled chains, up to "
        f"{limit:.0%} by chance; largest {z.max():.1f}, {where}, chain {chain})"
    )
    if share <= limit:
        return Finding("geweke", "pass", share, limit, where, found + ".")
    advice = ": chains start elsewhere than they end, so warm-up was too short. Raise `tune`."
    return Finding("geweke", "warn", share, limit, where, found + advice)


MCMC_CHECKS: tuple[Callable[[SamplerRun], Finding | None], ...] = (
    check_movement,
    check_chains,
    check_draws,
    check_rhat,
    check_ess_bulk,
    check_ess_tail,
    check_mcse,
    check_divergences,
    check_energy,
    check_treedepth,
    check_geweke,
)


def unrecorded(run: SamplerRun, findings: Sequence[Finding]) -> list[str]:
    """Sentences about the checks that this run could not be put to."""
    made = {finding.check for finding in findings}
    missing = [name for name in ("divergences", "energy", "treedepth") if name not in made]
    notes = []
    if missing:
        notes.append(f"Not checked, as the sampler did not record them: {', '.join(missing)}.")
    if "geweke" not in made:
        notes.append("Geweke's z-scores were not judged: the chains have too few effective draws.")
    return notes


def effective_parameters(draws: Array) -> float:
    r"""How many independent parameters are as informative as these correlated ones.

    :math:`n^2 / \sum_{ij} \rho_{ij}^2`: n when all are uncorrelated, 1 when all are the same.
    Events :math:`|z_i| > c` of standard normals that correlate by :math:`\rho_{ij}` have
    covariances of at most :math:`p (1 - p) \rho_{ij}^2`, so the share of parameters that show the
    event varies at most as a binomial share of this many trials. About 1000 draws are looked at.
    """
    flat = np.asarray(draws, dtype=float).reshape(-1, np.shape(draws)[-1])
    flat = flat[:: max(1, len(flat) // 1000)]
    with np.errstate(all="ignore"):
        scores = (flat - flat.mean(0)) / flat.std(0)
    scores = scores[:, np.isfinite(scores).all(0)]
    if scores.shape[1] == 0:
        return 1.0
    gram = scores.T @ scores if scores.shape[1] < len(scores) else scores @ scores.T
    return scores.shape[1] ** 2 / float(np.square(gram / len(scores)).sum())


def binomial_limit(trials: int, share: float, level: float = 0.001) -> float:
    """The least share k / ``trials`` that a binomial count exceeds with probability < ``level``.

    Examples
    --------
    >>> binomial_limit(100, 0.05)
    0.13
    """
    log_odds = math.log(share) - math.log1p(-share)
    log_mass = trials * math.log1p(-share)
    above = 1.0 - math.exp(log_mass)
    count = 0
    while above >= level and count < trials:
        log_mass += math.log((trials - count) / (count + 1)) + log_odds
        above -= math.exp(log_mass)
        count += 1
    return count / trials


def _of_worst(
    run: SamplerRun, check: str, threshold: float, level: Level, good: str, bad: str
) -> Finding | None:
    """The finding about the parameter farthest to the bad side; None if no value is a number."""
    numbers = run.statistics[check].to_numpy(dtype=float)
    if np.isnan(numbers).all():
        return None
    low = check.startswith("ess")
    worst = int(np.nanargmin(numbers) if low else np.nanargmax(numbers))
    failing = numbers < threshold if low else numbers > threshold
    words = {"value": numbers[worst], "where": run.labels[worst], "threshold": threshold}
    text = bad.format(others=_others(failing), **words) if failing.any() else good.format(**words)
    found: Level = level if failing.any() else "pass"
    return Finding(check, found, float(numbers[worst]), threshold, run.labels[worst], text)


def _least_ess(run: SamplerRun) -> int:
    return MIN_ESS_PER_CHAIN * run.draws.shape[0]


def _cut_short(run: SamplerRun) -> Array | None:
    """Which trajectories reached the depth limit, under nutpie's names, PyMC's, or from depths."""
    for name in ("reached_max_treedepth", "maxdepth_reached"):
        if name in run.stats:
            return run.stats[name]
    for name in ("tree_depth", "depth"):
        if name in run.stats and run.max_treedepth is not None:
            return run.stats[name] >= run.max_treedepth
    return None


def _others(failing: Array) -> str:
    more = int(np.sum(failing)) - 1
    return f" (and {more} of {failing.size - 1} others)" if more else ""


def _gathering(run: SamplerRun, diverging: Array) -> tuple[str, str]:
    """The parameter whose divergent draws lie farthest from the rest, if that is no accident."""
    count = int(diverging.sum())
    with np.errstate(all="ignore"):
        shift = run.draws[diverging].mean(axis=0) - run.draws.mean(axis=(0, 1))
        shift = np.nan_to_num(shift / run.draws.std(axis=(0, 1)), posinf=0.0, neginf=0.0)
    if count < 10 or not shift.size or np.abs(shift).max() < max(0.5, 4 / math.sqrt(count)):
        return "", ""
    worst = int(np.abs(shift).argmax())
    side = "small" if shift[worst] < 0 else "large"
    return run.labels[worst], f", mostly where {run.labels[worst]} is {side}"
