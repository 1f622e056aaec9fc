r"""Links of a binomial regression: from a linear predictor to log probabilities, and their slopes.

.. math:: \mathrm{logit}: p = \frac{1}{1 + e^{-\eta}}, \qquad
          \mathrm{probit}: p = \Phi(\eta), \qquad
          \mathrm{cloglog}: p = 1 - e^{-e^\eta}.

The logarithms of p and of 1 - p are computed each by itself, so that neither is lost where the
other is near one. All three are concave in :math:`\eta`: a posterior mode of group effects is one,
and what separates outcomes under one link separates them under all.

References
----------
McCullagh & Nelder (1989), doi:10.1007/978-1-4899-3242-6, section 4.3.
"""

from __future__ import annotations

import numpy as np
from scipy import special

from bayesmix.protocols import Array

LINKS = ("logit", "probit", "cloglog")

LOGIT_UNITS = {"logit": 1.0, "probit": 0.25 * np.sqrt(2 * np.pi), "cloglog": 1.0}
"""What one logit is on the scale of a link: of probits, the ratio of the two densities at zero,
dlogis(0) / dnorm(0) = 0.627; a complementary log-log is a log-odds where successes are rare."""

LARGEST = 690.0
"""A cloglog predictor beyond which exp would leave the numbers; the density is flat there."""
_SMALL = 0.02
"""Below it the series of u + u / (e^u - 1) - 1 has all digits, and the difference loses them."""

Slopes = tuple[Array, Array, Array]
"""First, second and third derivative by the linear predictor."""


def probability(link: str, eta: Array) -> Array:
    """The probability of a success.

    Examples
    --------
    >>> [round(float(probability(link, np.array(1.0))), 4) for link in LINKS]
    [0.7311, 0.8413, 0.934]
    """
    if link == "logit":
        return special.expit(eta)
    if link == "probit":
        return special.ndtr(eta)
    return -np.expm1(-np.exp(np.minimum(eta, LARGEST)))


def predictor(link: str, share: Array) -> Array:
    """The linear predictor of a probability between 0 and 1: the link itself."""
    if link == "logit":
        return np.log(share / (1 - share))
    return special.ndtri(share) if link == "probit" else np.log(-np.log1p(-share))


def log_probabilities(link: str, eta: Array) -> tuple[Array, Array]:
    """log p and log(1 - p), each with all its digits."""
    if link == "logit":
        return -np.logaddexp(0.0, -eta), -np.logaddexp(0.0, eta)
    if link == "probit":
        return special.log_ndtr(eta), special.log_ndtr(-eta)
    u = np.exp(np.minimum(eta, LARGEST))
    rare = np.clip(u, 1e-300, 1.0)
    low = eta + np.log(-np.expm1(-rare) / rare)
    return np.where(u < 1, low, np.log1p(-np.exp(-np.maximum(u, 0.5)))), -u


def slopes(link: str, eta: Array) -> tuple[Slopes, Slopes]:
    r"""Three derivatives of log p, and three of log(1 - p), of ``probit`` and ``cloglog``.

    With :math:`\lambda = \varphi(\eta) / \Phi(\eta)` the slopes of :math:`\log\Phi` are
    :math:`\lambda`, :math:`-\lambda(\eta + \lambda)` and :math:`\lambda\{(\eta + \lambda)(\eta + 2
    \lambda) - 1\}`; with :math:`u = e^\eta`, :math:`r = u / (e^u - 1)` and :math:`s = u + r - 1`
    those of :math:`\log(1 - e^{-u})` are r, -rs and :math:`r(s^2 - u + rs)`.
    """
    if link == "probit":
        below, (first, second, third) = _probit_slopes(eta), _probit_slopes(-eta)
        return below, (-first, second, -third)
    u = np.exp(np.minimum(eta, LARGEST))
    with np.errstate(over="ignore"):
        r = np.where(u > 0, u / np.expm1(np.maximum(u, 1e-300)), 1.0)
    series = u * (0.5 + u * (1 / 12 - u * u / 720))
    s = np.where(u < _SMALL, series, u + r - 1)
    # r first: it is zero where the square of s would overflow
    third = (r * s) * s - r * u + r * (r * s)
    return (r, -r * s, third), (-u, -u, -u)


def _probit_slopes(eta: Array) -> Slopes:
    # erfcx overflows above 37, where the ratio is zero
    ratio = np.sqrt(2 / np.pi) / special.erfcx(-eta / np.sqrt(2))
    above = eta + ratio
    return ratio, -ratio * above, ratio * (above * (above + ratio) - 1)


def working(link: str, share: Array) -> tuple[Array, Array, Array]:
    r"""The linear predictor at a share, its information a trial, and the factor of the score.

    The information is the expected one, :math:`f^2 / \{p(1 - p)\}` with f the slope of p, and
    the score of y successes in n trials is :math:`(y - np) f / \{p(1 - p)\}`.
    """
    eta = predictor(link, share)
    variance = share * (1 - share)
    if link == "logit":
        return eta, variance, np.ones_like(share)
    if link == "probit":
        slope = np.exp(-0.5 * eta * eta) / np.sqrt(2 * np.pi)
    else:
        slope = np.exp(eta) * (1 - share)
    return eta, slope * slope / variance, slope / variance
