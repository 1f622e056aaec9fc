"""Rows of a binomial regression as compiled loops: the links probit and cloglog.

The equations are those of :mod:`bayesmix.marginal.links`, without the special functions that numba
does not have: where erfc leaves the numbers, an asymptotic series of log Phi takes over.
"""

from __future__ import annotations

import math

import numpy as np

from bayesmix.models.binomial_glm.groups_in_numba import plain
from bayesmix.protocols import Array

_HALF_LOG_2PI = 0.9189385332046727
_FAR = -30.0
"""Below it erfc is near the smallest numbers, and six terms of the series are exact to 1e-13."""
_LARGEST = 690.0
"""As in :mod:`.links`: exp beyond it would leave the numbers."""
_SMALL = 0.02
"""As in :mod:`.links`: below it a difference is a series."""


@plain
def _probit(x: float):
    """log Phi(x), its slope lambda, and lambda + x, which tends to zero on the left."""
    if x < _FAR:
        w = 1.0 / (x * x)
        tail = w * (-1.0 + w * (3.0 + w * (-15.0 + w * (105.0 + w * (-945.0 + w * 10395.0)))))
        ratio = -x / (1.0 + tail)
        return -0.5 * x * x - np.log(-x) - _HALF_LOG_2PI + np.log1p(tail), ratio, x + ratio
    half = 0.5 * math.erfc(abs(x) * 0.7071067811865476)
    density = 0.3989422804014327 * np.exp(-0.5 * x * x)
    if x > 0.0:
        ratio = density / (1.0 - half)
        return np.log1p(-half), ratio, x + ratio
    ratio = density / half
    return np.log(half), ratio, x + ratio


@plain
def _cloglog(eta: float):
    """u = e^eta, log(1 - e^-u), its slope r = u / (e^u - 1), and s = u + r - 1."""
    u = np.exp(min(eta, _LARGEST))
    if u < _SMALL:
        s = u * (0.5 + u * (1.0 / 12.0 - u * u / 720.0))
        rare = max(u, 1e-300)
        return u, eta + np.log(-np.expm1(-rare) / rare), 1.0 + s - u, s
    r = u / np.expm1(u)
    return u, np.log1p(-np.exp(-u)) if u > 0.7 else np.log(-np.expm1(-u)), r, u + r - 1.0


@plain
def outcomes(probit: bool, y: Array, trials: Array, m: int, eta: Array) -> float:
    """Log-likelihood of binomial rows; slopes by the linear predictor replace it."""
    value = 0.0
    for i in range(m):
        rest = trials[i] - y[i]
        if probit:
            log_p, a, _ = _probit(eta[i])
            log_q, b, _ = _probit(-eta[i])
            value += y[i] * log_p + rest * log_q
            eta[i] = y[i] * a - rest * b
        else:
            u, log_p, r, _ = _cloglog(eta[i])
            value += y[i] * log_p - rest * u
            eta[i] = y[i] * r - rest * u
    return value


@plain
def curve(probit: bool, y: Array, trials: Array, m: int, eta: Array, weight: Array, turn: Array):
    """Slopes of the log-likelihood replace eta; its curvature, and that one's slope."""
    for i in range(m):
        rest = trials[i] - y[i]
        if probit:
            _, a, over = _probit(eta[i])
            _, b, under = _probit(-eta[i])
            weight[i] = y[i] * a * over + rest * b * under
            turn[i] = rest * b * (under * (under + b) - 1.0) - y[i] * a * (over * (over + a) - 1.0)
            eta[i] = y[i] * a - rest * b
        else:
            u, _, r, s = _cloglog(eta[i])
            weight[i] = y[i] * r * s + rest * u
            turn[i] = rest * u - y[i] * ((r * s) * s - r * u + r * (r * s))
            eta[i] = y[i] * r - rest * u
