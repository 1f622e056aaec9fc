"""Expected log predictive density row by row: WAIC, importance sampling, and honest refits."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import pandas as pd

from bayesmix import protocols, workflow
from bayesmix import rng as random
from bayesmix.chains import statistics
from bayesmix.diagnostics.diagnosis import engine_of
from bayesmix.errors import BayesmixError
from bayesmix.protocols import Array
from bayesmix.result import Fit
from bayesmix.tree import read

MAX_PARETO_K = 0.7
MAX_VARIANCE = 0.4
MAX_MCSE = 0.3
_CHUNK = 2_000_000
"""Largest (sample, obs) array held at a time: 16 MB."""
_NEW_GROUP_DRAWS = 100
_NAMED_ROWS, _NAMED_COLUMNS = 4, 4


@dataclass(frozen=True)
class Refit:
    """Log density of a left-out row, its Monte Carlo error, and whether the refit converged."""

    elpd: float
    mcse: float
    ok: bool


@dataclass(eq=False)
class Scored:
    """One fit, scored row by row.

    Parameters
    ----------
    rows
        ``elpd``, ``lppd`` (log density under all draws), ``p_eff`` (their difference), ``mcse``,
        ``how``, and for leave-one-out ``pareto_k``; one row an observation.
    limit
        Pareto k, or variance, up to which a row's value can be trusted.
    bad
        Rows beyond it.
    doubtful
        Rows that may be beyond it: within two standard errors of their k, the bad ones among them.
    seconds
        What one refit costs, as far as is known.
    refits, failed
        Rows that were left out: what was found, or why they cannot be.
    notes
        What there is to say about all this.
    """

    name: str
    fit: Fit
    rows: pd.DataFrame
    limit: float
    bad: Array
    doubtful: Array
    seconds: float
    refits: dict[int, Refit] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def unreliable(self) -> Array:
        """Bad rows that no refit has replaced."""
        return self.bad[(self.rows["how"].iloc[self.bad] != "exact").to_numpy()]


def waic(name: str, fit: Fit) -> Scored:
    r"""Widely applicable information criterion, :math:`\mathrm{lppd}_i - \mathrm{var} \log p(y_i)`.

    References
    ----------
    Watanabe (2010), JMLR 11:3571; Vehtari, Gelman & Gabry (2017), doi:10.1007/s11222-016-9696-4,
    whose bound of 0.4 on the variance is used.
    """
    parts = []
    for block in _log_densities(fit):
        flat = block.reshape(-1, block.shape[-1])
        parts.append(np.stack([_log_mean(flat), flat.var(axis=0, ddof=1)]))
    lppd, variance = np.concatenate(parts, axis=1)
    values = {"elpd": lppd - variance, "lppd": lppd, "p_eff": variance, "mcse": np.nan}
    rows = pd.DataFrame({**values, "how": "waic"})
    bad = np.flatnonzero(variance > MAX_VARIANCE)
    scored = Scored(name, fit, rows, MAX_VARIANCE, bad, bad, 0.0)
    if len(scored.bad):
        scored.notes.append(
            f"{name!r}: the variance of the log-likelihood over draws exceeds {MAX_VARIANCE} in "
            f"{len(scored.bad)} of {len(rows)} rows ({named(fit, scored.bad)}), so its WAIC is not "
            "to be trusted; use criterion='loo'."
        )
    return scored


def psis(name: str, fit: Fit) -> Scored:
    """Leave-one-out densities by Pareto-smoothed importance sampling.

    References
    ----------
    Vehtari et al. (2024), JMLR 25(72), whose equation 13 bounds Pareto k for few draws.
    """
    independent = engine_of(fit.tree) != "mcmc"
    columns = [
        _psis_row(block[..., i], independent)
        for block in _log_densities(fit)
        for i in range(block.shape[-1])
    ]
    rows = pd.DataFrame(columns, columns=["elpd", "lppd", "pareto_k", "mcse"])
    rows = rows.assign(p_eff=rows["lppd"] - rows["elpd"], how="psis")
    sizes = fit.tree["posterior"].sizes
    draws = sizes["chain"] * sizes["draw"]
    limit = min(1 - 1 / math.log10(draws), MAX_PARETO_K)
    k = rows["pareto_k"].to_numpy()
    bad = ~(k <= limit)
    doubtful = ~(k + 2 * _error_of_k(k, draws) <= limit)
    rows.loc[bad, "mcse"] = np.nan
    seconds = float(fit.tree.attrs["wall_seconds"])
    beyond, near = np.flatnonzero(bad), np.flatnonzero(doubtful)
    return Scored(name, fit, rows, limit, beyond, near, seconds)


def _error_of_k(k: Array, draws: int) -> Array:
    """Standard error of Pareto k, (1 + k) over the root of the number of ratios in the tail.

    A row whose k is 0.5 in one run has 0.8 in the next; that its importance sampling is fine was
    then luck, and its Monte Carlo error is of no use.
    """
    return (1 + k) / math.sqrt(min(draws / 5, 3 * math.sqrt(draws)))


def refit(scored: Scored, row: int) -> None:
    """Fit without one row and keep its density aside, for :func:`settle` to put in."""
    if row in scored.refits or row in scored.failed:
        return
    start = time.perf_counter()
    try:
        again = _without(scored.fit, row)
        values = left_out(again, scored.fit.data.iloc[[row]], _seen(scored.fit, again, row))
    except BayesmixError as error:
        scored.failed[row] = str(error)
    else:
        scored.refits[row] = Refit(*values, ok=again.diagnose().ok)
    scored.seconds = time.perf_counter() - start


def settle(scored: Scored) -> None:
    """Put the refits in the place of the rows they belong to, and say what was and is wrong."""
    for row, found in scored.refits.items():
        scored.rows.loc[row, ["elpd", "mcse", "how"]] = [found.elpd, found.mcse, "exact"]
    scored.rows["p_eff"] = scored.rows["lppd"] - scored.rows["elpd"]
    if scored.refits:
        scored.notes.append(_tell_refits(scored))
    if bad := sum(not found.ok for found in scored.refits.values()):
        scored.notes.append(
            f"{scored.name!r}: {bad} of {len(scored.refits)} refits failed their own diagnostics."
        )
    if far := [row for row, found in scored.refits.items() if not found.mcse <= MAX_MCSE]:
        scored.notes.append(
            f"{scored.name!r}: {named(scored.fit, far)} so far from what the other rows predict "
            f"that few draws come near: known roughly, with a Monte Carlo error above {MAX_MCSE}."
        )
    for row, reason in scored.failed.items():
        scored.notes.append(
            f"{scored.name!r}: cannot be fitted without {named(scored.fit, [row])}: {reason}"
        )
    if len(scored.unreliable):
        scored.notes.append(_tell_unreliable(scored))


def left_out(fit: Fit, row: pd.DataFrame, seen: Array | None = None) -> tuple[float, float]:
    r"""Log predictive density of a row that the fit never saw, with its Monte Carlo error.

    The mean of :math:`p(y_i \mid \theta)` over draws given :math:`y_{-i}` fails where no draw
    comes near the row: it can be wrong by tens of nats without a sign. Draws given all rows do come
    near. Bennett's ratio takes both; with l the row's log density under a draw, c solves

    .. math:: \sum_{y_{-i}} \sigma(l - c + m) = \sum_y \sigma(c - l - m), \quad
        m = \log(n_y / n_{-i}).

    Parameters
    ----------
    fit
        Draws given the other rows. If the row's group is new to them, its effect is drawn from the
        population of groups, many times over.
    seen
        The row's log density under draws given all rows, (chain, draw); None averages over
        ``fit`` alone.

    References
    ----------
    Bennett (1976), doi:10.1016/0021-9991(76)90078-4; Meng & Wong (1996), Statistica Sinica 6:831.
    """
    params, design = read.draws(fit.tree), fit.model.new_design(row, fit.design)
    fit.model.require_outcome(design)
    generator = random.stream(fit.seed, "new groups")
    values: list[Array] = []
    repeats = 1
    while len(values) < repeats:
        completed = fit.model.complete(params, design, generator)
        values.append(fit.model.log_density(completed, design)[:, 0])
        if any(completed[name].shape != params[name].shape for name in params):
            repeats = _NEW_GROUP_DRAWS
    unseen = np.stack(values).reshape(len(values), fit.tree["posterior"].sizes["chain"], -1)
    if seen is None:
        return _average(unseen, engine_of(fit.tree) != "mcmc")
    return bridge(unseen, seen)


def bridge(unseen: Array, seen: Array) -> tuple[float, float]:
    """Bennett's estimate of a log density, with its error from effective sample sizes.

    Parameters
    ----------
    unseen
        Log density of the row under draws without it, (repeat, chain, draw).
    seen
        The same under draws with it, (chain, draw).
    """
    from scipy.optimize import brentq
    from scipy.special import expit

    margin = math.log(seen.size / unseen.size)
    both = np.concatenate([unseen.ravel(), seen.ravel()])
    both = both[np.isfinite(both)]

    def excess(c: float) -> float:
        return float(expit(unseen - c + margin).sum() - expit(c - seen - margin).sum())

    c = brentq(excess, both.min() - abs(margin) - 1, both.max() + abs(margin) + 1)
    below, above = expit(unseen - c + margin), expit(c - seen - margin)
    slope = (below * (1 - below)).sum() + (above * (1 - above)).sum()
    noise = [
        size**2 * part.var() / _effective(part, False)
        for size, part in ((below.size, below.mean(axis=0)), (above.size, above))
    ]
    # without overlap c lies anywhere between the two sets, and their spread says nothing about it
    gap = max(float(seen.min() - unseen.max()), 0.0) / math.sqrt(12)
    return float(cast("float", c)), math.hypot(math.sqrt(sum(noise)) / float(slope), gap)


def named(fit: Fit, rows: Sequence[int] | Array) -> str:
    """Rows by position and predictors: ``row 12 (edu=Doctorate, sex=0)``."""
    chosen = fit.data.iloc[list(rows[:_NAMED_ROWS])]
    predictors = fit.model.new_design(chosen, fit.design).columns
    kept = [column for column in predictors if column not in fit.design.observed][:_NAMED_COLUMNS]
    names = []
    for row, values in zip(rows, predictors[kept].astype(object).to_numpy(), strict=False):
        known = ", ".join(f"{k}={_short(v)}" for k, v in zip(kept, values, strict=True))
        names.append(f"row {row} ({known})" if known else f"row {row}")
    more = len(rows) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")


def duration(seconds: float) -> str:
    """Seconds as a reader says them: ``40 s``, ``3 min``, ``2 h``."""
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{math.ceil(seconds / size)} {unit}"
    return f"{math.ceil(seconds)} s"


def _log_densities(fit: Fit) -> Iterator[Array]:
    """Pointwise log-likelihoods (chain, draw, obs), as many rows at a time as memory allows."""
    params = read.draws(fit.tree)
    n_chains, n_draws = (fit.tree["posterior"].sizes[dim] for dim in protocols.SAMPLE_DIMS)
    size = max(1, _CHUNK // (n_chains * n_draws))
    for start in range(0, fit.design.n_obs, size):
        part = fit.design.rows(slice(start, start + size))
        yield fit.model.log_density(params, part).reshape(n_chains, n_draws, -1)


def _log_mean(values: Array) -> Array:
    """Log of the mean of exp over the first axis."""
    return np.logaddexp.reduce(values, axis=0) - math.log(len(values))


def _effective(values: Array, independent: bool) -> float:
    """Effective number of draws behind the mean of (chain, draw) values."""
    size = values.size if independent else float(statistics.ess_mean(values[..., None])[0])
    return size if math.isfinite(size) else values.size


def _psis_row(log_density: Array, independent: bool) -> tuple[float, float, float, float]:
    """elpd, lppd, Pareto k and Monte Carlo error of one row; ``log_density`` is (chain, draw)."""
    from arviz_stats.base import array_stats

    flat = log_density.ravel()
    lppd = float(_log_mean(flat))
    if not math.isfinite(lppd) or not np.isfinite(flat).all():
        return lppd, lppd, math.inf, math.nan
    if np.ptp(flat) == 0:
        return lppd, lppd, 0.0, 0.0
    efficiency = _effective(np.exp(log_density - flat.max()), independent) / flat.size
    log_weight, k = array_stats.psislw(flat, r_eff=cast("Any", efficiency))
    elpd = float(np.logaddexp.reduce(log_weight + flat))
    error = np.exp(log_weight) * np.expm1(flat - elpd)
    return elpd, lppd, float(k), math.sqrt((error**2).sum() / efficiency)


def _without(fit: Fit, row: int) -> Fit:
    seed = random.integer(random.stream(fit.seed, f"leave out row {row}"))
    data = fit.data.drop(index=row)
    return workflow.fit(fit.model, data, method=fit.method, seed=seed, progress=False)


def _seen(fit: Fit, again: Fit, row: int) -> Array | None:
    """The row's log density under all draws of ``fit``, if its parameters mean what ``again``'s do.

    They do not when a transform of the formula, such as ``scale(x)``, was learnt from other rows;
    and an approximation's draws do not have the ratio that the bridge stands on.
    """
    if engine_of(fit.tree) != "mcmc":
        return None
    data = fit.data.iloc[[row]]
    old, new = (one.model.new_design(data, one.design) for one in (fit, again))
    for name, dims in old.dims.items():
        values = old.arrays[name]
        inputs = dims[:1] == ("obs",) and values.dtype.kind == "f"
        if inputs and not np.array_equal(values, new.arrays[name]):
            return None
    part = fit.design.rows(slice(row, row + 1))
    n_chains = fit.tree["posterior"].sizes["chain"]
    return fit.model.log_density(read.draws(fit.tree), part).reshape(n_chains, -1)


def _average(log_density: Array, independent: bool) -> tuple[float, float]:
    """Log of the mean density over (repeat, chain, draw), with its error."""
    by_draw = _log_mean(log_density)
    elpd = float(_log_mean(by_draw.ravel()))
    relative = np.exp(by_draw - elpd)
    return elpd, float(relative.std()) / math.sqrt(_effective(relative, independent))


def _tell_refits(scored: Scored) -> str:
    rows, n = sorted(scored.refits), len(scored.rows)
    which = f"{_rows(len(rows))} ({named(scored.fit, rows)})" if len(rows) < n else "each row"
    return (
        f"{scored.name!r}: fitted again without {which}; Pareto k exceeded {scored.limit:.2g} in "
        f"{len(scored.bad)} of {_rows(n)}{_tell_doubt(scored)}."
    )


def _tell_doubt(scored: Scored) -> str:
    near = len(scored.doubtful) - len(scored.bad)
    return f", and came within two standard errors of it in {near}" if near else ""


def _tell_unreliable(scored: Scored) -> str:
    still, n = scored.unreliable, len(scored.rows)
    return (
        f"{scored.name!r}: Pareto k exceeds {scored.limit:.2g} in {len(still)} of {_rows(n)} "
        f"({named(scored.fit, still)}), so its elpd is not to be trusted; loo='exact' fits again "
        f"without each row, which takes up to {duration(scored.seconds * n)}."
    )


def _rows(n: int) -> str:
    return f"{n} row" if n == 1 else f"{n} rows"


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
