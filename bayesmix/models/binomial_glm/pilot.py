r"""A pilot fit of a binomial regression: coordinates in which its posterior is nearly standard.

At the mode of the density over the coordinates of ``groups_in_numba`` the likelihood
is read as a Gaussian one, with information W of each row. The largest factor is swept: its
effects get the mean and the spread that this reading leaves them given all others. The other
factors get what is left of the information when the largest is integrated out,

.. math:: S = E^\top W E - E^\top W Z (Z^\top W Z + \Sigma^{-1})^{-1} Z^\top W E,

with Z the swept factor's columns and E all the others. What remains correlated among these few (an
intercept lies along the means of every factor) is made standard by the curvature at the mode. The
posterior is the same whatever the pilot; only the geometry is better.

References
----------
Papaspiliopoulos, Roberts & Skold (2007), doi:10.1214/088342307000000014, on partial centring.
Gelman, Van Dyk, Huang & Boscardin (2008), doi:10.1198/106186008X287337, on sweeping.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bayesmix.compiled.density import Target, of_kernel
from bayesmix.compiled.kernels import Kernel
from bayesmix.marginal.outcomes import LinkedCounts
from bayesmix.maxima.climb import curvature
from bayesmix.models.binomial_glm import equation
from bayesmix.models.binomial_glm.kernel import kernel
from bayesmix.models.binomial_glm.regression import Grouped, Regression
from bayesmix.protocols import Array

_ROUNDS = 3
"""Times that the Gaussian reading is renewed at the mode that it led to."""
_STEPS = 60
"""Steps to a mode: it is a place to look from, not an answer."""
_FEW = 8.0
"""Trials a group below which a Gaussian reading holds only near the place where it was taken."""
_DENSE = 600
"""Coordinates that are made standard together; beyond it a factor's own stay as they are."""
_SPREAD_FLOOR = 0.1
"""Least information about a log spread or a logit, in nats: at most three wide."""
_FAR = 30.0
"""A linear predictor beyond which a pilot does not look."""
_START = 0.5
"""Standard deviation of effects where the pilot starts, on the scale of logits."""


@dataclass(frozen=True, eq=False)
class _Reading:
    """A place: coefficients, effects (effect, group) and factors Lambda, and the rows there."""

    beta: Array
    effects: tuple[Array, ...]
    covariance: tuple[Array, ...]
    eta: Array
    weight: Array
    score: Array


def standard(regression: Regression) -> Kernel | None:
    """The density in coordinates of a pilot, at whose mode it starts; None unless ``mixed``.

    ``regression`` must be in order (:func:`bayesmix.models.binomial_glm.regression.in_order`).
    """
    if regression.parametrization != "mixed":
        return None
    place, theta = _start(regression), None
    for _ in range(_ROUNDS):
        pivoted = _pivoted(regression, place)
        density = of_kernel(_kernel(pivoted, place))
        theta = _ascent(density, _coordinates(pivoted, place))
        place = _reading(regression, density.expand(theta))
    first, order = _order(regression)
    pivoted, theta, whiten = _bent(_pivoted(regression, place), place, order[:first])
    initial = theta[order]
    initial[:first] = 0.0
    options = {"order": order, "whiten": whiten, "middle": theta[order[:first]], "initial": initial}
    return _kernel(pivoted, place, raw=True, **options)


def _bent(
    regression: Regression, place: _Reading, chosen: Array
) -> tuple[Regression, Array, Array]:
    """Logarithms bent where they stop to matter, the mode then, and what makes it standard."""
    density = of_kernel(_kernel(regression, place))
    theta = _coordinates(regression, place)
    is_spread = _is_spread(regression)[chosen]
    whiten = _whitening(density, theta, chosen, is_spread)
    variance = np.full(regression.n_free, np.nan)
    variance[chosen] = (whiten**2).sum(axis=1)
    factors = []
    for factor, first in zip(regression.factors, regression.starts, strict=True):
        own = slice(first, first + factor.n_effects)
        # a likelihood that is flat at zero has two nats of information at the mode
        bend = theta[own] + 0.5 * np.log(2.0 * variance[own])
        theta[own] = [_unbent(t, b) for t, b in zip(theta[own], bend, strict=True)]
        factors.append(replace(factor, bend=bend))
    regression = replace(regression, factors=tuple(factors))
    density = of_kernel(_kernel(regression, place))
    theta = _ascent(density, theta)
    return regression, theta, _whitening(density, theta, chosen, is_spread)


def _unbent(log_sigma: float, bend: float) -> float:
    """x of log sigma = x + log Phi(x - bend)."""
    from scipy.optimize import brentq
    from scipy.special import log_ndtr

    def gap(x: float) -> float:
        return x + log_ndtr(x - bend) - log_sigma

    return float(brentq(gap, log_sigma, log_sigma + 50.0))  # type: ignore[arg-type]


def _kernel(
    regression: Regression, place: _Reading, *, raw: bool = False, **options: Any
) -> Kernel:
    weight = place.weight if regression.factors else None
    return kernel(regression, weight=weight, raw=raw, renewed=_renewed(regression), **options)


def _renewed(regression: Regression) -> bool:
    """Whether groups of the swept factor have so few trials that no place stands for others."""
    if not regression.factors:
        return False
    swept = regression.factors[regression.largest]
    plain = swept.n_effects == 1 and bool((swept.effects == 1.0).all())
    return plain and regression.trials.sum() < _FEW * swept.size


def _start(regression: Regression) -> _Reading:
    """Each row's own share, drawn to the overall one by one trial's weight, without groups."""
    y, n = regression.successes, regression.trials
    rate = (y.sum() + 0.5) / (n.sum() + 1.0)
    p = (y + rate) / (n + 1.0)
    weight, score = equation.reading(y, n, p, regression.offset, regression.link)
    information = (regression.columns * weight[:, None]).T @ regression.columns
    information += np.diag([prior.scale**-2.0 for prior in regression.priors])  # type: ignore[attr-defined]
    beta = np.linalg.solve(information, regression.columns.T @ score)
    effects = tuple(np.zeros((f.n_effects, f.size)) for f in regression.factors)
    covariance = tuple(_START**2 * np.eye(f.n_effects) for f in regression.factors)
    return _at(regression, beta, effects, covariance)


def _at(
    regression: Regression, beta: Array, effects: tuple[Array, ...], covariance: tuple[Array, ...]
) -> _Reading:
    eta = regression.predictor(beta, effects)
    weight, score = _curvature(regression, eta)
    return _Reading(beta, effects, covariance, eta, weight, score)


def _curvature(regression: Regression, eta: Array) -> tuple[Array, Array]:
    """Information and score of each row about its linear predictor."""
    y, n = regression.successes, regression.trials
    if regression.link == "logit":
        p = 1 / (1 + np.exp(-np.clip(eta, -30, 30)))
        return n * p * (1 - p), y - n * p
    read = LinkedCounts(y, n, regression.link).read(np.clip(eta, -_FAR, _FAR))
    return read.weight, read.score


def _reading(regression: Regression, named: dict[str, Array]) -> _Reading:
    """The place that expanded parameters, in standard coordinates, are."""
    beta = np.concatenate(
        [np.ravel(named[name][0]) for name, _ in regression.terms] or [np.zeros(0)]
    )
    effects, covariance = [], []
    for f in regression.factors:
        effects.append(np.stack([named[label][0] for label in f.labels]))
        sigma = named[f"sigma_{f.name}"][0]
        corr = named[f"corr_{f.name}"][0] if f.n_effects > 1 else np.eye(1)
        covariance.append(sigma[:, None] * corr * sigma)
    return _at(regression, beta, tuple(effects), tuple(covariance))


def _pivoted(regression: Regression, place: _Reading) -> Regression:
    """The same regression with the information and scores that this place says."""
    if not regression.factors:
        return regression
    first = regression.largest
    swept = regression.factors[first]
    information = _sums(swept, _products(swept, place.weight))
    score = _sums(swept, swept.effects * (place.weight * place.eta + place.score)[:, None])
    p = regression.columns.shape[1]
    none = np.zeros((swept.size, swept.n_effects, p))
    prior = np.linalg.inv(place.covariance[first])
    left = np.linalg.inv(information + prior)
    factors = list(regression.factors)
    factors[first] = replace(swept, information=information, score=score, cross=none)
    for k, factor in enumerate(regression.factors):
        if k != first:
            factors[k] = _other(regression, place, k, factor, swept, left)
    return replace(regression, factors=tuple(factors))


def _other(
    regression: Regression, place: _Reading, k: int, factor: Grouped, swept: Grouped, left: Array
) -> Grouped:
    """A factor's information when the swept one is integrated out, and its score at the mode."""
    weight, x = place.weight, regression.columns
    own = _sums(factor, _products(factor, weight))
    key = factor.index * swept.size + swept.index
    cells, inverse = np.unique(key, return_inverse=True)
    pairs = factor.effects[:, :, None] * (weight[:, None] * swept.effects)[:, None, :]
    c = _sums_at(inverse, len(cells), pairs)
    lost = c @ left[cells % swept.size] @ c.transpose(0, 2, 1)
    own = own - _sums_at(cells // swept.size, factor.size, lost)
    own = 0.5 * (own + own.transpose(0, 2, 1))
    values, vectors = np.linalg.eigh(own)
    own = (vectors * np.maximum(values, 0.0)[:, None, :]) @ vectors.transpose(0, 2, 1)
    along = _sums(swept, swept.effects[:, :, None] * (weight[:, None] * x)[:, None, :])
    explained = np.einsum("nq,nqc->nc", swept.effects, (left @ along)[swept.index])
    cross = _sums(
        factor, factor.effects[:, :, None] * (weight[:, None] * (x - explained))[:, None, :]
    )
    prior = np.linalg.inv(place.covariance[k])
    at = place.effects[k].T
    score = np.einsum("gij,gj->gi", own + prior, at) + cross @ place.beta
    return replace(factor, information=own, score=score, cross=cross)


def _products(factor: Grouped, weight: Array) -> Array:
    return factor.effects[:, :, None] * (weight[:, None] * factor.effects)[:, None, :]


def _sums(factor: Grouped, rows: Array) -> Array:
    """Sums of rows by group."""
    return _sums_at(factor.index, factor.size, rows)


def _sums_at(index: Array, size: int, rows: Array) -> Array:
    total = np.empty((size, *rows.shape[1:]))
    for entry in np.ndindex(*rows.shape[1:]):
        total[:, *entry] = np.bincount(index, rows[:, *entry], size)
    return total


def _coordinates(regression: Regression, place: _Reading) -> Array:
    """The coordinates of a place, by the equations of the kernel backwards."""
    theta = np.zeros(regression.n_free)
    p = regression.columns.shape[1]
    theta[:p] = place.beta
    for k, (factor, first) in enumerate(zip(regression.factors, regression.starts, strict=True)):
        q = factor.n_effects
        sigma = np.sqrt(np.diag(place.covariance[k]))
        theta[first : first + q] = np.log(sigma)
        lower = np.linalg.cholesky(place.covariance[k] / np.outer(sigma, sigma))
        theta[first + q : first + factor.n_spreads] = _logits(lower)
        theta[first + factor.n_spreads :][: q * factor.size] = _standard(
            regression, place, k
        ).ravel()
    return theta


def _logits(lower: Array) -> Array:
    """Logits of the C-vine partial correlations, from the factor of the correlations."""
    n = len(lower)
    rest, found = np.ones(n), []
    for j in range(n):
        for k in range(j + 1, n):
            partial = np.clip(lower[k, j] / rest[k], -0.999, 0.999)
            rest[k] *= np.sqrt(1 - partial**2)
            found.append(2 * np.arctanh(partial))
    return np.array(found)


def _standard(regression: Regression, place: _Reading, k: int) -> Array:
    """Coordinates z (effect, group) of a factor's effects at a place.

    Those of the swept factor are zero, where its effects are most likely given all others.
    """
    factor, q = regression.factors[k], regression.factors[k].n_effects
    if k == regression.largest:
        return np.zeros((q, factor.size))
    lam = np.linalg.cholesky(place.covariance[k])
    v = np.linalg.solve(lam, place.effects[k])
    c = np.linalg.cholesky(np.eye(q) + lam.T @ factor.information @ lam)
    score = factor.score - factor.cross @ place.beta
    b = np.linalg.solve(c, (score @ lam)[..., None])[..., 0]
    return (np.einsum("gji,gj->gi", c, v.T) - b).T


def _ascent(density: Target, start: Array) -> Array:
    """The mode uphill, roughly."""
    from scipy.optimize import minimize

    def negated(point: Array) -> tuple[float, Array]:
        value, gradient = density.log_density(point)
        return (-value, -gradient) if np.isfinite(value) else (1e100, np.zeros_like(gradient))

    options = {"maxiter": _STEPS, "maxcor": 20}
    return np.asarray(minimize(negated, start, jac=True, method="L-BFGS-B", options=options).x)


def _order(regression: Regression) -> tuple[int, Array]:
    """How many coordinates are made standard together, and the order with them first."""
    head, swept = list(range(regression.columns.shape[1])), list[int]()
    others = list[int]()
    for k, (factor, first) in enumerate(zip(regression.factors, regression.starts, strict=True)):
        head += range(first, first + factor.n_spreads)
        own = swept if k == regression.largest else others
        own += range(first + factor.n_spreads, first + factor.n_free)
    few = len(head) + (len(others) if len(head) + len(others) <= _DENSE else 0)
    return few, np.array([*head, *others, *swept], dtype=np.int64)


def _is_spread(regression: Regression) -> Array:
    found = np.zeros(regression.n_free, dtype=bool)
    for factor, first in zip(regression.factors, regression.starts, strict=True):
        found[first : first + factor.n_spreads] = True
    return found


def _whitening(density: Target, theta: Array, chosen: Array, spread: Array) -> Array:
    """A triangular factor of the inverse of the information about the chosen coordinates."""

    def some(point: Array) -> tuple[float, Array]:
        whole = theta.copy()
        whole[chosen] = point
        value, gradient = density.log_density(whole)
        return value, gradient[chosen]

    information = -curvature(some, theta[chosen]) + np.diag(_SPREAD_FLOOR * spread)
    values, vectors = np.linalg.eigh(information)
    values = np.maximum(values, 1e-2)
    covariance = (vectors / values) @ vectors.T
    return np.linalg.cholesky(0.5 * (covariance + covariance.T))
