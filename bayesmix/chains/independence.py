r"""Independence chains: proposals from a mixture of t distributions that a pilot run has placed.

Where a mixture has an expert that the data hardly need, its posterior has parts of very unlike
width: the expert empty, with coefficients as wide as their prior, and the expert in use. A
trajectory with one step size crosses between them rarely, or diverges. A proposal q that does not
depend on where the chain is crosses at once; it is accepted with probability

.. math:: \min\left\{1, \frac{p(\theta') / q(\theta')}{p(\theta) / q(\theta)}\right\},

which leaves p as it is whatever q. How good q is shows in how often it is accepted, and in R-hat.

References
----------
Tierney (1994), doi:10.1214/aos/1176325750; Cappe, Douc, Guillin, Marin & Robert (2008),
doi:10.1007/s11222-008-9059-x, on proposals that are placed anew by what was drawn.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import gammaln, logsumexp

from bayesmix.chains import statistics
from bayesmix.compiled.density import Target
from bayesmix.priors import IndependentPriors
from bayesmix.protocols import Array, Design, HasComponents, HasNetwork, Model, Params

_FREEDOM = 3.0
"""Degrees of freedom: tails heavier than a posterior's, or chains would stick far out."""
_PARTS = 16
"""Components of the proposal."""
_EACH, _ROUNDS = 8, 5
"""Proposals for each kept draw in the first round, and rounds, at most, each longer by so many."""
_PILOT, _WIDEST = 2_000, 40
"""Draws, at least, that a proposal is placed by, and dimensions, at most, where one is of use."""
_MAX_RHAT, _MAX_DIVERGENT, _MIN_ESS = 1.01, 0.001, 100
"""What a run must not exceed, and effective draws a chain: as the checks of chains have it."""
_RIDGE = 1e-6
"""Added to variances of standardised draws, so that a component on a few draws has a root."""


@dataclass(frozen=True, eq=False)
class Proposal:
    """A mixture of t distributions: log weights (part,), centres (part, n), roots (part, n, n)."""

    log_weights: Array
    centres: Array
    roots: Array

    def draw(self, rng: np.random.Generator, count: int) -> Array:
        """Independent points (count, n)."""
        part = rng.choice(len(self.log_weights), size=count, p=np.exp(self.log_weights))
        normal = rng.standard_normal((count, self.centres.shape[1]))
        wide = np.sqrt(_FREEDOM / rng.chisquare(_FREEDOM, count))
        found = self.centres[part]
        for k, root in enumerate(self.roots):
            own = part == k
            found[own] += (normal[own] @ root.T) * wide[own, None]
        return found

    def log_density(self, points: Array) -> Array:
        """Log density of points (sample, n)."""
        from scipy.linalg import solve_triangular

        n, nu = points.shape[1], _FREEDOM
        constant = gammaln((nu + n) / 2) - gammaln(nu / 2) - n / 2 * np.log(nu * np.pi)
        parts = []
        for weight, centre, root in zip(self.log_weights, self.centres, self.roots, strict=True):
            z = solve_triangular(root, (points - centre).T, lower=True)
            far = np.log1p((z**2).sum(axis=0) / nu)
            parts.append(weight + constant - np.log(np.diag(root)).sum() - (nu + n) / 2 * far)
        return np.asarray(logsumexp(parts, axis=0))


def placed(points: Array, rng: np.random.Generator) -> Proposal:
    """The proposal whose Gaussians fit the points (sample, n) best."""
    from sklearn.mixture import GaussianMixture

    unit = np.maximum(points.std(axis=0), 1e-12)
    seed = int(rng.integers(2**31))
    fit: Any = GaussianMixture(_PARTS, reg_covar=_RIDGE, random_state=seed)
    with warnings.catch_warnings():  # it need not have converged: any proposal is valid
        warnings.simplefilter("ignore")
        fit.fit(points / unit)
    roots = np.linalg.cholesky(fit.covariances_) * unit[:, None]
    weights = np.maximum(fit.weights_, 1e-12)
    return Proposal(np.log(weights / weights.sum()), fit.means_ * unit, roots)


def run(
    log_density: Callable[[Array], Array],
    proposal: Proposal,
    starts: Array,
    draws: int,
    rng: np.random.Generator,
    each: int = _EACH,
) -> Array:
    """Every ``each``-th state of a chain from each start: points (chain, draw, n).

    Parameters
    ----------
    log_density
        Log densities (sample,) of points (sample, n), up to a constant.
    """
    proposals = [proposal.draw(rng, each * draws) for _ in starts]
    found = np.empty((len(starts), draws, starts.shape[1]))
    for c, (start, own) in enumerate(zip(starts, proposals, strict=True)):
        points = np.concatenate([start[None], own])
        ratio = log_density(points) - proposal.log_density(points)
        found[c] = points[_path(ratio, np.log(rng.random(len(own))))[each::each]]
    return found


def _path(ratio: Array, uniform: Array) -> Array:
    """Which point the chain is at after each proposal, from the first on."""
    at, path = 0, np.zeros(len(ratio), dtype=int)
    for i in range(1, len(ratio)):
        if uniform[i - 1] < ratio[i] - ratio[at]:
            at = i
        path[i] = at
    return path


def settled(points: Array) -> bool:
    """Whether chains (chain, draw, n) agree and say enough."""
    found = statistics.chain_statistics(points)
    least = min(np.min(found["ess_bulk"]), np.min(found["ess_tail"]))
    return _worst(points) <= _MAX_RHAT and bool(least >= _MIN_ESS * len(points))


def _worst(points: Array) -> float:
    found = float(np.max(statistics.rhat_rank(points)))
    return found if np.isfinite(found) else np.inf


def mixed(
    model: Model,
    design: Design,
    density: Target,
    params: dict[str, Array],
    stats: dict[str, Array],
    rng: np.random.Generator,
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Draws of chains that agree, where a mixture's chains of a pilot run do not; else the pilot's.

    Parameters
    ----------
    params, stats
        Of the pilot run, each (chain, draw, ...).

    Returns
    -------
    Parameters and statistics. Where draws were replaced, ``pilot_diverging`` says which of the
    pilot's had diverged, as there are no trajectories of their own.
    """
    lead = next(iter(params.values())).shape[:2]
    diverging = stats.get("diverging", np.zeros(lead))
    pilot = _points(model, design, density, params)
    if pilot is None:
        return params, stats
    before = _worst(pilot)
    if before <= _MAX_RHAT and diverging.mean() < _MAX_DIVERGENT:
        return params, stats
    found = _in_rounds(lambda at: density.log_densities(at)[0], pilot, rng)
    if _worst(found) > _MAX_RHAT and not _worst(found) < before:
        return params, stats
    params, stats = _named(density, found)
    return params, stats | {"pilot_diverging": diverging}


def _in_rounds(
    log_density: Callable[[Array], Array], pilot: Array, rng: np.random.Generator
) -> Array:
    """Chains (chain, draw, n) of the last round; each goes on where the one before it ended.

    A proposal is placed by all distinct points of the pilot and the last round: one where a chain
    stood still for long is of a part that the proposal has missed, and would else count as many.
    """
    found = pilot
    for number in range(1, _ROUNDS + 1):
        both = np.concatenate([pilot, found], axis=1).reshape(-1, pilot.shape[-1])
        proposal = placed(np.unique(both, axis=0), rng)
        starts, draws = found[:, -1], pilot.shape[1]
        found = run(log_density, proposal, starts, draws, rng, number * _EACH)
        if settled(found):
            break
    return found


def _points(model: Model, design: Design, density: Target, params: Params) -> Array | None:
    """The draws as unconstrained points (chain, draw, n), labels in one order.

    None where chains are not of a mixture that a proposal can be placed by.
    """
    if not isinstance(model, IndependentPriors) or not isinstance(model, HasComponents):
        return None
    lead = next(iter(params.values())).shape[:2]
    if isinstance(model, HasNetwork) or lead[0] * lead[1] < _PILOT or density.n_dim > _WIDEST:
        return None
    flat = {name: value.reshape(-1, *value.shape[2:]) for name, value in params.items()}
    free = model.free(model.relabel(flat, design)[0], design)
    if any(name not in free for name, _ in density.variables):  # a transformed variable
        return None
    found = [free[name].reshape(lead[0] * lead[1], -1) for name, _ in density.variables]
    return np.concatenate(found, axis=1).reshape(*lead, -1)


def _named(density: Target, points: Array) -> tuple[dict[str, Array], dict[str, Array]]:
    lead, flat = points.shape[:2], points.reshape(-1, points.shape[-1])
    params = {k: v.reshape(*lead, *v.shape[1:]) for k, v in density.expand(flat).items()}
    moved = (np.diff(points, axis=1) != 0).any(axis=2).astype(float)
    moved = np.concatenate([moved[:, :1], moved], axis=1)
    values = density.log_densities(flat)[0].reshape(lead)
    return params, {"lp": values, "acceptance_rate": moved}
