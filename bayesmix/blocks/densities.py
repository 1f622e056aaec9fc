"""Log densities in NumPy: the reference that PyMC and torch are held to."""

from __future__ import annotations

import numpy as np
from scipy.special import gammaln

from bayesmix.blocks import links
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
