"""The checks of fits without chains: approximations to a posterior, and point estimates."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import xarray as xr

from bayesmix.diagnostics.finding import Finding
from bayesmix.errors import DataError, listed
from bayesmix.protocols import Array
from bayesmix.tree.entries import labelled
from bayesmix.tree.read import estimates

OBJECTIVES = ("log_likelihood", "log_joint", "nll", "sse")
GOOD_PARETO_K, MAX_PARETO_K, MIN_PARETO_DRAWS = 0.5, 0.7, 100
TREND_ERRORS, TREND_NATS, TREND_BATCHES = 3.0, 0.1, 10
MAX_GRADIENT = 1e-2
MIN_SIGMA, MAX_CORRELATION = 1e-4, 0.999
RESTART_NATS = 0.01
MAX_SHIFT = 1.0
"""Standard errors by which an approximation may move an estimate before intervals miss it."""


def check_draws(tree: xr.DataTree) -> Finding:
    """Is every draw of an approximation a number?"""
    labels, draws = labelled(estimates(tree))
    wrong = ~np.isfinite(draws).all(axis=(0, 1))
    if not wrong.any():
        return Finding("draws", "pass", 0, 0, "", "All draws are finite.")
    where = labels[int(wrong.argmax())]
    message = (
        f"Draws of {where} are NaN or infinite ({wrong.sum()} of {wrong.size} parameters): the "
        "approximation has left the numbers' range. Rescale the predictors, narrow the priors."
    )
    return Finding("draws", "fail", int(wrong.sum()), 0, where, message)


def check_pareto_k(tree: xr.DataTree) -> Finding:
    """How far is the approximation from the posterior? Yao et al. (2018), arXiv:1802.02538."""
    k = _pareto_k(tree)
    start = f"The Pareto k of the importance ratios is {k:.2f}"
    if k <= GOOD_PARETO_K:
        message = f"{start}: the approximation is close to the posterior."
        return Finding("pareto_k", "pass", k, MAX_PARETO_K, "", message)
    if k <= MAX_PARETO_K:
        message = f"{start}: means are usable, but spreads and tails may be off. Check with NUTS."
        return Finding("pareto_k", "warn", k, MAX_PARETO_K, "", message)
    if math.isnan(k):
        message = (
            "How far the approximation is from the posterior is not known: it needs at least "
            f"{MIN_PARETO_DRAWS} draws with a finite `log_weight`. Compare with method='nuts'."
        )
        return Finding("pareto_k", "warn", k, MAX_PARETO_K, "", message)
    message = (
        f"{start}, above {MAX_PARETO_K}: the approximation misses a part of the posterior, as a "
        "mean-field one misses correlations, and its intervals can be many times too narrow. Fit "
        "with method='nuts'; where covariance is 'meanfield', 'fullrank' is nearer."
    )
    return Finding("pareto_k", "fail", k, MAX_PARETO_K, "", message)


def _pareto_k(tree: xr.DataTree) -> float:
    if "sample_stats" not in tree.children or "log_weight" not in tree["sample_stats"]:
        return math.nan
    weights = tree["sample_stats"]["log_weight"].to_numpy().astype(float).ravel()
    weights = weights[~np.isnan(weights)]
    if weights.size < MIN_PARETO_DRAWS or not (weights < np.inf).all():
        return math.nan
    if np.ptp(weights) < 1e-8:
        return 0.0
    from arviz_stats.base import array_stats

    with np.errstate(all="ignore"):
        return float(array_stats.psislw(-weights)[1])


def late_trend(trace: Any, batches: int = TREND_BATCHES) -> tuple[float, float]:
    """Rise of an optimiser's trace from its third to its last quarter, and its standard error.

    The error comes from the means of ``batches`` batches of each quarter, so it holds for noise
    that is correlated over less than a batch.
    """
    size = np.size(trace) // 4 // batches
    if size == 0:
        raise DataError(f"a trend needs at least {4 * batches} iterations, got {np.size(trace)}")
    means = np.asarray(trace, dtype=float)[-2 * batches * size :].reshape(2, batches, size).mean(2)
    third, fourth = means.mean(axis=1)
    return float(fourth - third), math.sqrt(means.var(axis=1, ddof=1).sum() / batches)


def check_elbo(tree: xr.DataTree) -> Finding | None:
    """Had the evidence lower bound stopped rising?"""
    stats = _fit_stats(tree)
    trace = stats.get("elbo", np.empty(0)).ravel()
    if trace.size < 4 * TREND_BATCHES:
        return None
    rise, error = late_trend(trace)
    final = float(stats.get("elbo_final", trace[-1:]).item())
    ended = f"The ELBO ended at {final:.2f}"
    if not (math.isfinite(final) and math.isfinite(rise)):
        message = f"{ended}: the optimiser left the numbers' range. Lower `learning_rate`."
        return Finding("elbo", "fail", rise, TREND_NATS, "", message)
    gap = float(stats.get("elbo_better", np.array(final)).item()) - final
    if gap > max(1.0, 5 * float(stats.get("elbo_final_mcse", np.array(0.0)).item())):
        message = (
            f"{ended}, but a second-order optimiser reached {final + gap:.2f}, {gap:.2f} nats "
            "higher: this is not the best approximation of its kind. Use method='dadvi', or more "
            "`steps` and another seed."
        )
        return Finding("elbo", "fail", gap, 1.0, "", message)
    limit = max(TREND_NATS, TREND_ERRORS * error)
    change = f"{rise:+.2f} +- {error:.2f} nats from the third quarter of its steps to the last"
    if rise > limit:
        message = (
            f"{ended} and was still rising ({change}): the optimiser was stopped before it got "
            "there, and all numbers would move on. Take more `steps`, or start nearer the mode."
        )
        return Finding("elbo", "fail", rise, limit, "", message)
    if rise < -limit:
        message = f"{ended} after falling ({change}): steps are too long. Lower `learning_rate`."
        return Finding("elbo", "warn", rise, limit, "", message)
    return Finding("elbo", "pass", rise, limit, "", f"{ended} and no longer rose ({change}).")


def check_objective(tree: xr.DataTree) -> Finding | None:
    """Did the optimiser end at a finite value, and does it say that it converged?"""
    stats = _fit_stats(tree)
    name = next((n for n in OBJECTIVES if n in stats and stats[n].size), None)
    final = float(stats[name].ravel()[-1]) if name else math.nan
    ended = f"The optimiser ended at {name} = {final:.4f}" if name else "The optimiser ended"
    if name and not math.isfinite(final):
        message = f"{ended}: it left the numbers' range. Rescale the predictors; try other starts."
        return Finding("objective", "fail", final, math.nan, "", message)
    converged = _flag(tree, "converged")
    if converged is not None and not bool(converged):
        reason = _flag(tree, "message")
        said = f", saying {str(reason)!r}" if reason else ""
        message = f"{ended} without converging{said}. Allow more steps (`max_iter`), or rescale."
        return Finding("objective", "fail", final, math.nan, "", message)
    if name is None:
        return None
    return Finding("objective", "pass", final, math.nan, "", f"{ended}.")


def check_gradient(tree: xr.DataTree) -> Finding | None:
    """Is the end point stationary?"""
    norm = _flag(tree, "gradient_norm")
    if norm is None:
        return None
    value = float(np.max(norm))
    start = f"The gradient at the end is {value:.2g}"
    if value <= MAX_GRADIENT:
        return Finding("gradient", "pass", value, MAX_GRADIENT, "", f"{start}: a stationary point.")
    message = (
        f"{start}, above {MAX_GRADIENT}: the optimiser stopped on a slope, not at an optimum. "
        "Allow more steps (`max_iter`), and standardise predictors whose scales differ."
    )
    return Finding("gradient", "fail", value, MAX_GRADIENT, "", message)


def check_restarts(tree: xr.DataTree) -> Finding | None:
    """Do several starts end in the same optimum?"""
    for name, values in _fit_stats(tree).items():
        if not name.startswith("restart_") or values.size < 2:
            continue
        ends = -values if name.endswith(("nll", "sse")) else values
        reached = int((ends >= np.nanmax(ends) - RESTART_NATS).sum())
        share = reached / values.size
        found = f"{reached} of {values.size} starts reached the best optimum"
        if tree.attrs.get("distinct_starts"):
            return _optima_found(tree, found, share)
        if reached > 1:
            return Finding("restarts", "pass", share, 2 / values.size, "", f"{found}.")
        message = f"{found}: there may be a better one that none has found. Use more `restarts`."
        return Finding("restarts", "warn", share, 2 / values.size, "", message)
    return None


def _optima_found(tree: xr.DataTree, found: str, share: float) -> Finding:
    """How sure one can be of a search: Good (1953), doi:10.1093/biomet/40.3-4.237."""
    runs = _fit_stats(tree).get("optimum_runs", np.empty(0)).ravel()
    if runs.size == 0 or runs[0] > 1:
        message = f"{found}; they began at distinct solutions of many more."
        return Finding("restarts", "pass", share, 0, "", message)
    once, total = int((runs == 1).sum()), int(runs.sum())
    message = (
        f"One run alone ended at the best of {runs.size} optima; {once} of them were met only once "
        f"in {total} runs, so a further run meets a new one with a chance of about "
        f"{once / total:.0%}, and that may be better. Use more `restarts`: they try all that these "
        "tried."
    )
    return Finding("restarts", "warn", once / total, 0, "", message)


def check_singular(tree: xr.DataTree) -> Finding | None:
    """Does a group covariance sit on the edge of what is possible?"""
    sizes = _sizes(tree)
    spreads = {k: v for k, v in sizes.items() if k.startswith("sigma_")}
    if not spreads:
        return None
    edges = _edges(sizes)
    least = min(spreads.values())
    if not edges:
        message = "Every group spread is above zero and every correlation inside (-1, 1)."
        return Finding("singular", "pass", least, MIN_SIGMA, "", message)
    where = edges[0]
    message = (
        f"Singular fit: {where} is {sizes[where]:.4g} in size, at the edge of what is possible, so "
        "these data cannot tell that effect from none (or two effects apart), and standard errors "
        "mean little. Drop that term from the formula, or fit with priors by method='nuts'."
    )
    return Finding("singular", "warn", sizes[where], MIN_SIGMA, where, message)


def _sizes(tree: xr.DataTree) -> dict[str, float]:
    """The size of each parameter, by label."""
    labels, values = labelled(estimates(tree))
    return {label: abs(float(v)) for label, v in zip(labels, values[0, 0], strict=True)}


def _edges(sizes: dict[str, float]) -> list[str]:
    """Spreads of zero, then correlations of one: what no standard error can be had for."""
    zero = [k for k, v in sizes.items() if k.startswith("sigma_") and v < MIN_SIGMA]
    one = [k for k, v in sizes.items() if k.startswith("corr_") and v > MAX_CORRELATION]
    return zero + one


def check_approximation(tree: xr.DataTree) -> Finding | None:
    """How far is the likelihood that was maximised from the one that the model states?"""
    stats = _fit_stats(tree)
    if "approximation_error" not in stats:
        return None
    error, sure, shift = (
        float(stats[f"approximation_{name}"]) for name in ("error", "uncertainty", "shift")
    )
    where = str(tree.attrs.get("approximation_where", ""))
    laplace = int(tree.attrs.get("n_quadrature", 1)) == 1
    by_nodes = tree.attrs.get("approximation") == "quadrature"
    way = "by quadrature with more nodes" if by_nodes else "by weighted draws"
    what = "The Laplace approximation" if laplace else "The quadrature"
    size = f"{-error:+.2g} nats off" if abs(error) >= 0.005 else "right to 0.01 nats"
    start = f"{what} of the likelihood is {size} ({way})"
    better = "Use MLE(n_quadrature=25)" if by_nodes and laplace else "Fit by method='nuts'"
    if not math.isfinite(sure):
        message = f"{start}, and how far estimates would move is not known. {better} to see."
        return Finding("approximation", "warn", shift, MAX_SHIFT, where, message)
    moved = f"a better one would move {where} by {shift:.2f} standard errors"
    if shift <= MAX_SHIFT / 2:
        message = f"{start}; {moved}, and others by less."
        return Finding("approximation", "pass", shift, MAX_SHIFT, where, message)
    message = f"{start}; {moved} or so. {better}."
    level = "warn" if shift <= MAX_SHIFT else "fail"
    return Finding("approximation", level, shift, MAX_SHIFT, where, message)


def check_errors(tree: xr.DataTree) -> Finding | None:
    """Do the data determine every parameter?"""
    if "standard_error" not in tree.children:
        return None
    labels, errors = labelled(tree["standard_error"].to_dataset())
    wrong = ~np.isfinite(errors[0, 0]) & ~np.isin(labels, _edges(_sizes(tree)))
    if not wrong.any():
        edges = [k for k in _edges(_sizes(tree)) if k in labels]
        rest = f" but for {listed(edges)}, which the check `singular` is about" if edges else ""
        message = f"Every standard error is finite{rest}: the data determine every parameter."
        return Finding("standard_error", "pass", 0, 0, "", message)
    where = labels[int(wrong.argmax())]
    message = (
        f"There is no standard error for {where} ({wrong.sum()} of {wrong.size} parameters): the "
        "likelihood is flat in some direction. Drop predictors that repeat one another or separate "
        "the outcomes perfectly, or fit with priors by method='nuts'."
    )
    return Finding("standard_error", "warn", int(wrong.sum()), 0, where, message)


APPROXIMATION_CHECKS = (check_draws, check_pareto_k, check_elbo, check_gradient, check_restarts)
OPTIMUM_CHECKS = (
    check_objective,
    check_gradient,
    check_restarts,
    check_singular,
    check_approximation,
    check_errors,
)


def _fit_stats(tree: xr.DataTree) -> dict[str, Array]:
    if "fit_stats" not in tree.children:
        return {}
    return {str(k): v.to_numpy() for k, v in tree["fit_stats"].data_vars.items()}


def _flag(tree: xr.DataTree, name: str) -> Any:
    """What an optimiser said of itself: a statistic, or an attribute of its group or the tree."""
    stats = _fit_stats(tree)
    if name in stats:
        return stats[name].all() if stats[name].dtype == bool else stats[name]
    group = tree["fit_stats"].attrs if "fit_stats" in tree.children else {}
    return group.get(name, tree.attrs.get(name))
