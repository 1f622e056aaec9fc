r"""The checks of priors: has the posterior left its prior, and does the prior fight the data?

With a posterior of mean m and sd s and a prior of mean :math:`m_0` and sd :math:`s_0`, both taken
for Gaussian, the likelihood alone holds the share :math:`c = 1 - s^2 / s_0^2` of the precision and
has its maximum at :math:`m_0 + (m - m_0) / c`.

References
----------
Evans & Moshonov (2006), Bayesian Analysis 1:893, on prior-data conflict, doi:10.1214/06-BA129.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from bayesmix.chains import statistics
from bayesmix.diagnostics.finding import Finding
from bayesmix.protocols import Array
from bayesmix.tree.entries import labelled

SAME_SD, SAME_MEAN = 0.15, 0.15
"""A posterior is its prior where their sds and means differ by less, in the prior's sds."""
MAX_AWAY, LEAST_PULL, MAX_PULL = 3.0, 0.5, 3.0
"""Prior sds to the likelihood's maximum; posterior sds by which the prior moves the mean, from
which on that is worth a word, and wrong."""
_ERRORS = 3.0
_NORMAL = 0.08
"""How much a normal prior's quantiles may be off; those of some thousand draws are by half."""


@dataclass(frozen=True, eq=False)
class Beside:
    """A posterior beside its prior.

    Parameters
    ----------
    posterior, prior
        Draws of the population's parameters, dims (chain, draw, ...).
    best
        Highest log-likelihood known; None where none was looked for.
    reached
        Log-likelihood of each of some draws, (sample,).
    """

    posterior: xr.Dataset
    prior: xr.Dataset
    best: float | None = None
    reached: Array | None = None


def check_learned(given: Beside) -> Finding | None:
    """Did the data say something about every parameter?"""
    labels, after, before = _moments(given)
    if not labels:
        return None
    moved = np.abs(after[0] - before[0]) / before[1]
    same = (np.abs(after[1] / before[1] - 1) < SAME_SD) & (moved < SAME_MEAN)
    share = float(same.mean())
    if not same.any():
        message = "The data have narrowed every parameter's prior, or moved it."
        return Finding("learned", "pass", share, 0.0, "", message)
    names = [label for label, is_same in zip(labels, same, strict=True) if is_same]
    shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    message = (
        f"The posterior of {shown} is the prior: these data say nothing about "
        f"{'it' if len(names) == 1 else 'them'}. Where that is a whole component of a mixture, no "
        "row belongs to it: fit fewer, or give priors that suit the units of the data."
    )
    return Finding("learned", "warn", share, 0.0, names[0], message)


def check_conflict(given: Beside) -> Finding | None:
    """Does the likelihood's own estimate lie in the prior's tail, and the prior pull it in?"""
    labels, after, before = _moments(given, normal=True)
    if not labels:
        return None
    share = np.maximum(1 - np.square(after[1] / before[1]), 1e-12)
    shift = (after[0] - before[0]) / before[1]
    away = np.abs(shift) / share
    pull = np.abs(shift * before[1] * (1 / share - 1)) / after[1]
    # the errors of two sds, which the share is made of
    off = 2 * (1 - share) * np.hypot(after[2], before[2])
    error = away * off / share
    wrong = (away - _ERRORS * error > MAX_AWAY) & (pull > LEAST_PULL)
    if not wrong.any():
        message = "Nowhere does a prior pull against the data."
        return Finding("conflict", "pass", 0.0, MAX_AWAY, "", message)
    worst = int(np.where(wrong, pull, 0.0).argmax())
    value, where = float(away[worst]), labels[worst]
    message = (
        f"The prior of {where} fights the data: the likelihood alone would have it some "
        f"{value:.0f} prior standard deviations from the prior's mean, and the prior holds it "
        f"back by {pull[worst]:.1f} posterior standard deviations{_others(wrong)}. Give it a prior "
        "on the scale of its column, or none: the defaults are."
    )
    level = "fail" if pull[wrong].max() > MAX_PULL else "warn"
    return Finding("conflict", level, value, MAX_AWAY, where, message)


def check_likelihood(given: Beside) -> Finding | None:
    """Are the draws as likely as the best fit known, but for what their dimension costs?"""
    if given.best is None or given.reached is None:
        return None
    free = sum(int(np.prod(v.shape[2:])) for v in given.posterior.data_vars.values())
    gap = given.best - float(np.mean(given.reached))
    limit = 0.5 * free + _ERRORS * np.sqrt(0.5 * free) + 5.0
    found = f"Draws have a log-likelihood {gap:.1f} below the highest found by EM"
    if gap <= limit:
        message = f"{found}, as {free} free parameters cost about half of that number."
        return Finding("likelihood", "pass", gap, limit, "", message)
    message = (
        f"{found}, where {free} free parameters cost some {free / 2:.0f}: the priors keep draws "
        "away from what the data say, or the chains are in another mode. Look at the priors in "
        "`summary()`; the defaults are on the scale of the data."
    )
    return Finding("likelihood", "fail", gap, limit, "", message)


PRIOR_CHECKS = (check_learned, check_conflict, check_likelihood)


def _moments(given: Beside, *, normal: bool = False) -> tuple[list[str], Array, Array]:
    """Labels, and mean, sd and relative error of the sd of posterior and prior, (3, parameter).

    Of a prior the median and half of the middle 68 %, as it may have no mean; ``normal`` keeps
    those that are normal.
    """
    labels, after = labelled(given.posterior)
    known, before = labelled(given.prior)
    where = [known.index(label) for label in labels]
    flat = before.reshape(-1, before.shape[-1])[:, where]
    low, middle, high = np.quantile(flat, [0.1587, 0.5, 0.8413], axis=0)
    widest = np.quantile(flat, [0.0228, 0.9772], axis=0)
    scale = 0.5 * (high - low)
    kept = scale > 0
    if normal:
        with np.errstate(all="ignore"):
            wide = (widest[1] - widest[0]) / (high - low) / 2.0
            tilt = (high + low - 2 * middle) / (high - low)
        kept = kept & (np.abs(wide - 1) < _NORMAL) & (np.abs(tilt) < _NORMAL)
        middle, scale = flat.mean(axis=0), flat.std(axis=0)
    first = np.stack([middle, scale, np.full_like(scale, 1 / np.sqrt(2 * len(flat)))])
    draws, size = after.reshape(-1, after.shape[-1]), statistics.ess_bulk(after)
    error = 1 / np.sqrt(2 * np.where(size > 50, size, 50))
    second = np.stack([draws.mean(axis=0), draws.std(axis=0), error])
    chosen = [label for label, keep in zip(labels, kept, strict=True) if keep]
    return chosen, second[:, kept], first[:, kept]


def _others(wrong: Array) -> str:
    more = int(wrong.sum()) - 1
    return f" ({more} more of {wrong.size} are held back, too)" if more else ""
