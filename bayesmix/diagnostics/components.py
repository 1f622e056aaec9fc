"""The checks of chains over mixtures: swapped labels, different modes, replaced chains."""

from __future__ import annotations

import numpy as np

from bayesmix.diagnostics.finding import Finding
from bayesmix.diagnostics.markov import SamplerRun
from bayesmix.tree.order import SWITCHED

MAX_SWITCHED = 0.01
MAX_RHAT_OF_MODES = 1.1


def check_labels(run: SamplerRun) -> Finding | None:
    """Did a mixture's components swap their labels on the way?"""
    if SWITCHED not in run.stats:
        return None
    share = float(run.stats[SWITCHED].mean())
    if share == 0:
        message = "No chain swapped its components' labels: each draw's components are the same."
        return Finding("labels", "pass", 0, MAX_SWITCHED, "", message)
    found = f"{share:.1%} of draws had swapped labels and were put back in one order"
    if share <= MAX_SWITCHED:
        return Finding("labels", "pass", share, MAX_SWITCHED, "", f"{found}: no harm done.")
    message = (
        f"{found}: components overlap so much that which is which is partly a matter of taste. "
        "Ask about the whole predictive distribution, or fit fewer components."
    )
    return Finding("labels", "warn", share, MAX_SWITCHED, "", message)


def check_modes(run: SamplerRun) -> Finding | None:
    """Do a mixture's chains, labels apart, sit in one mode?"""
    if SWITCHED not in run.stats or run.draws.shape[0] < 2:
        return None
    worst = float(np.nanmax(run.statistics["rhat"].to_numpy(dtype=float), initial=1.0))
    if worst <= MAX_RHAT_OF_MODES:
        message = "With labels put in one order, all chains sit in the same mode."
        return Finding("modes", "pass", worst, MAX_RHAT_OF_MODES, "", message)
    levels = ""
    if "lp" in run.stats:
        means = ", ".join(f"{value:.1f}" for value in run.stats["lp"].mean(axis=1))
        levels = f" (mean log density by chain: {means})"
    message = (
        f"Labels apart, the chains sit in different modes{levels}: this is no label switching, and "
        "averages over all chains mix unlike solutions. Believe the chains with the highest log "
        "density at most; give narrower priors or other numbers of components, and fit again."
    )
    return Finding("modes", "fail", worst, MAX_RHAT_OF_MODES, "", message)


def check_pilot(run: SamplerRun) -> Finding | None:
    """Were the sampler's own chains replaced?"""
    if "pilot_diverging" not in run.stats:
        return None
    share = float(run.stats["pilot_diverging"].mean())
    moved = float(run.stats["acceptance_rate"].mean())
    message = (
        f"NUTS's own chains did not agree, or diverged ({share:.1%} of their draws), so they are a "
        "pilot run: these draws are of independence chains, whose proposals it placed. They differ "
        f"from the draw before in {moved:.0%} of cases, but can only come to where the pilot was. "
        "Fit again with another seed, and compare."
    )
    return Finding("pilot", "warn", share, 0.0, "", message)


MIXTURE_CHECKS = (check_labels, check_modes, check_pilot)
