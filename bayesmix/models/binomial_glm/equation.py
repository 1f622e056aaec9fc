"""A binomial regression with correlated group effects in NumPy: densities, draws, new groups."""

from __future__ import annotations

import numpy as np
from scipy.special import betaln, gammaln

from bayesmix.marginal import links
from bayesmix.models.binomial_glm.in_pymc import cholesky_of_correlation
from bayesmix.priors import LKJ, LOG_2PI, pairs
from bayesmix.protocols import Array


def log_sigmoid(x: Array) -> Array:
    """log(1 / (1 + exp(-x))) without overflow."""
    return -np.logaddexp(0.0, -x)


def log_binomial_coefficient(trials: Array, successes: Array) -> Array:
    """log of the number of ways to choose ``successes`` out of ``trials``."""
    return gammaln(trials + 1.0) - gammaln(successes + 1.0) - gammaln(trials - successes + 1.0)


def binomial_logit(successes: Array, trials: Array, logit: Array) -> Array:
    r"""Binomial log probability with :math:`p = 1/(1+e^{-\eta})`.

    .. math:: \log\binom{n}{y} + y \log p + (n - y) \log(1 - p)

    Examples
    --------
    >>> round(float(binomial_logit(np.array(1), np.array(2), np.array(0.0))), 4)
    -0.6931
    """
    inside = successes * log_sigmoid(logit) + (trials - successes) * log_sigmoid(-logit)
    return log_binomial_coefficient(trials, successes) + inside


def binomial(successes: Array, trials: Array, predictor: Array, link: str) -> Array:
    """Binomial log probability where a link of p is the linear predictor.

    Examples
    --------
    >>> round(float(binomial(np.array(1), np.array(2), np.array(0.0), "probit")), 4)
    -0.6931
    """
    if link == "logit":
        return binomial_logit(successes, trials, predictor)
    log_p, log_q = links.log_probabilities(link, predictor)
    inside = successes * log_p + (trials - successes) * log_q
    return log_binomial_coefficient(trials, successes) + inside


def log_density(deviation: Array, sigma: Array, corr: Array) -> Array:
    r"""Log density of group effects, :math:`u_g \sim N(0, D_\sigma R D_\sigma)`, over all groups.

    Parameters
    ----------
    deviation
        Shape (sample, group, effect).
    sigma, corr
        Standard deviations (sample, effect) and correlations (sample, effect, effect).
    """
    factor = sigma[:, :, None] * np.linalg.cholesky(corr)
    z = np.linalg.solve(factor[:, None], deviation[..., None])[..., 0]
    log_det = np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(axis=1)
    n_groups, n = deviation.shape[1:]
    return -0.5 * (z**2).sum(axis=(1, 2)) - n_groups * (log_det + 0.5 * n * LOG_2PI)


def draw(rng: np.random.Generator, sigma: Array, corr: Array, n_groups: int) -> Array:
    """Effects of new groups from their population: (sample, group, effect)."""
    factor = sigma[:, :, None] * np.linalg.cholesky(corr)
    z = rng.standard_normal((len(sigma), n_groups, sigma.shape[1]))
    return np.einsum("sij,sgj->sgi", factor, z)


def lkj_log_density(corr: Array, prior: LKJ) -> Array:
    r"""Normalised LKJ log density of correlation matrices (sample, effect, effect).

    :math:`(\eta - 1)\log\det R - \log c_d(\eta)`, with the constant of Lewandowski et al. (2009),
    doi:10.1016/j.jmva.2009.04.008, equation 16.
    """
    n = corr.shape[-1]
    log_det = np.linalg.slogdet(corr)[1]
    k = np.arange(1, n)
    b = prior.eta + 0.5 * (n - k - 1)
    # d - k pairs share the k-th tree of the vine; 2^(2b-1) maps the beta from (0, 1) to (-1, 1)
    constant = ((2 * prior.eta - 2 + n - k) * (n - k)).sum() * np.log(2.0)
    return (prior.eta - 1) * log_det - constant - ((n - k) * betaln(b, b)).sum()


def lkj_draw(rng: np.random.Generator, prior: LKJ, draws: int, n: int) -> Array:
    """Correlation matrices from the LKJ prior: (sample, effect, effect)."""
    shapes = prior.shapes(n)
    partial = 2 * rng.beta(shapes, shapes, (draws, len(shapes))) - 1
    factor = cholesky_of_correlation(list(partial.T), n, np.sqrt)
    lower = np.zeros((draws, n, n))
    for i, row in enumerate(factor):
        for j, value in enumerate(row):
            lower[:, i, j] = value
    return lower @ lower.transpose(0, 2, 1)


def partial_correlations(corr: Array) -> Array:
    """C-vine partial correlations (sample, pair) of correlation matrices."""
    factor, n = np.linalg.cholesky(corr), corr.shape[-1]
    rest = np.ones((len(corr), n))
    partial = []
    for j, k in pairs(n):
        partial.append(factor[:, k, j] / rest[:, k])
        rest[:, k] *= np.sqrt(1 - partial[-1] ** 2)
    return np.stack(partial, axis=1) if partial else np.empty((len(corr), 0))


def gaussian_reading(
    successes: Array,
    trials: Array,
    index: Array,
    n_groups: int,
    offset: Array | float,
    link: str = "logit",
    case_weight: Array | None = None,
) -> tuple[Array, Array]:
    """A binomial likelihood read as a Gaussian one about each row's predictor, at a rough fit.

    The fit is each row's own share, drawn to that of its group by one trial's weight.

    Returns
    -------
    weight (obs,), the information of each row, and score (obs,), weight times working response.
    """
    times = 1 if case_weight is None else case_weight
    rate = (np.bincount(index, times * successes, n_groups) + 0.5) / (
        np.bincount(index, times * trials, n_groups) + 1.0
    )
    p = (successes + rate[index]) / (trials + 1.0)
    weight, score = reading(successes, trials, p, offset, link)
    return times * weight, times * score


def reading(
    successes: Array, trials: Array, p: Array, offset: Array | float, link: str
) -> tuple[Array, Array]:
    """Information of each row about its predictor at a share p, and that times working response."""
    if link == "logit":
        weight = trials * p * (1 - p)
        return weight, weight * (np.log(p / (1 - p)) - offset) + successes - trials * p
    eta, information, factor = links.working(link, p)
    weight = trials * information
    return weight, weight * (eta - offset) + (successes - trials * p) * factor


def pivot(
    effects: Array, free: Array, index: Array, n_groups: int, weight: Array, score: Array
) -> tuple[Array, Array, Array]:
    """Each group's own information, and the scores that go with it.

    Parameters
    ----------
    effects, free
        Columns that vary by group (obs, effect), and those that do not (obs, common).
    weight, score
        Information of each row about its linear predictor, and weight times working response.

    Returns
    -------
    information sum w x x' (group, effect, effect), score sum x s (group, effect) and cross
    sum w x f' (group, effect, common).
    """
    weighted = (weight[:, None] * effects)[:, :, None]
    information = _sums(weighted * effects[:, None, :], index, n_groups)
    shift = _sums(effects * score[:, None], index, n_groups)
    return information, shift, _sums(weighted * free[:, None, :], index, n_groups)


def _sums(values: Array, index: Array, n_groups: int) -> Array:
    total = np.zeros((n_groups, *values.shape[1:]))
    np.add.at(total, index, values)
    return total
