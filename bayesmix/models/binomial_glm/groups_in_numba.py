r"""Correlated group effects as compiled loops: coordinates to effects, and slopes back again.

With :math:`\Sigma = \Lambda\Lambda^\top`, :math:`\Lambda = \mathrm{diag}(\sigma) L` lower
triangular, information I and score h of a group, and standard normal coordinates z,

.. math:: Q = 1 + \Lambda^\top I \Lambda = C C^\top, \quad
          v = C^{-\top}(C^{-1} \Lambda^\top h + z), \quad u = \Lambda v,

which is the mean and the spread that a Gaussian likelihood of that information would leave the
effects; I = 0 is the non-centred form. The density of z is
:math:`-\tfrac12 v^\top v - \sum_j \log C_{jj}` plus the likelihood.

A standard deviation is :math:`\log\sigma = x + \log\Phi(x - b)`: a logarithm above the bend b;
below it, where data say only that the spread is small, its tail is that of a normal, not an
exponential.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from bayesmix.compiled import vector
from bayesmix.protocols import Array

HALF_CAUCHY, HALF_NORMAL, EXPONENTIAL = 0, 1, 2
_INSIDE = {"error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
plain: Any = njit(**_INSIDE)
"""Decorator of functions that are called by compiled code alone: half the time to compile."""
fast: Any = njit(fastmath={"nsz", "contract", "arcp", "reassoc"}, **_INSIDE)
"""The same for loops over rows or groups, whose sums may be taken in any order."""


@fast
def _log_spread(kind: int, sigma: float, scale: float):
    """Log prior of a standard deviation and its slope, up to a constant."""
    r = sigma / scale
    if kind == HALF_CAUCHY:
        return -np.log1p(r * r), -2.0 * r / (1.0 + r * r) / scale
    if kind == HALF_NORMAL:
        return -0.5 * r * r, -r / scale
    return -r, -1.0 / scale


@plain
def _log_normal_cdf(x: float):
    """log Phi(x), and its slope phi(x) / Phi(x)."""
    if x > 8.0:  # 1 - Phi is 6e-16
        return 0.0, 0.0
    if x < -30.0:  # the first terms of the asymptotic series
        return -0.5 * x * x - np.log(-x) - 0.9189385332046727, -x - 1.0 / x
    below = 0.5 * math.erfc(-x * 0.7071067811865476)
    return np.log(below), 0.3989422804014327 * np.exp(-0.5 * x * x) / below


@plain
def factor_of(q: int, at: int, theta: Array, shape: Array, spread: Array, jacobian: float,
              sigma: Array, lower: Array, slope: Array) -> float:  # fmt: skip
    """Standard deviations and the factor L of the correlations at theta[at:]; their log prior.

    ``slope`` takes the slopes of the prior by log sigma and by the logits of the partial
    correlations; ``shape`` holds the latter's beta parameters, ``spread`` kinds, scales and bends.
    """
    value: Any = 0.0
    for j in range(q):
        x = theta[at + j]
        log_below, ratio = _log_normal_cdf(x - spread[j, 2])
        sigma[j] = np.exp(x + log_below)
        log_prior, growth = _log_spread(int(spread[j, 0]), sigma[j], spread[j, 1])
        value += log_prior + jacobian * (x + log_below) + np.log(1.0 + ratio)
        slope[at + j] += (growth * sigma[j] + jacobian) * (1.0 + ratio)
        slope[at + j] -= ratio * (x - spread[j, 2] + ratio) / (1.0 + ratio) if ratio > 0.0 else 0.0
    for k in range(q):
        rest = 1.0
        for j in range(k):
            i = _pair(q, j, k)
            half = 0.5 * theta[at + q + i]
            partial = np.tanh(half)
            root = 1.0 / np.cosh(half)
            # log of share times its complement, (1 - r^2) / 4
            excess = shape[i] - 1.0 + jacobian
            value -= excess * 2.0 * (abs(half) + np.log1p(np.exp(-2.0 * abs(half))))
            slope[at + q + i] -= excess * partial
            lower[k, j] = partial * rest
            rest *= root
        lower[k, k] = rest
    return value


@plain
def _pair(q: int, j: int, k: int) -> int:
    """Position of the pair j < k among (0, 1), (0, 2), ..., (1, 2), ..."""
    return j * q - (j * (j + 1)) // 2 + k - j - 1


@plain
def factor_back(q: int, at: int, theta: Array, spread: Array, sigma: Array, lower: Array,
                bar: Array, slope: Array) -> None:  # fmt: skip
    """Slopes by the factor Lambda to slopes by log sigma and the logits of partial correlations."""
    for k in range(q):
        along = 0.0
        for j in range(k + 1):
            along += bar[k, j] * lower[k, j]
        _, ratio = _log_normal_cdf(theta[at + k] - spread[k, 2])
        slope[at + k] += along * sigma[k] * (1.0 + ratio)
        rest_bar = bar[k, k] * sigma[k]
        for j in range(k - 1, -1, -1):
            half = 0.5 * theta[at + q + _pair(q, j, k)]
            partial = np.tanh(half)
            root = 1.0 / np.cosh(half)
            before = 1.0
            for i in range(j):
                before *= 1.0 / np.cosh(0.5 * theta[at + q + _pair(q, i, k)])
            own = bar[k, j] * sigma[k]
            # d r / d logit = root^2 / 2 and d root / d logit = -r root / 2
            slope[at + q + _pair(q, j, k)] += (
                0.5 * before * (own * root * root - rest_bar * partial * root)
            )
            rest_bar = own * partial + rest_bar * root


@fast
def forward_one(first: int, last: int, scale: float, information: Array, score: Array, z: Array,
                u: Array, v: Array, root: Array) -> float:  # fmt: skip
    """One effect a group: coordinates of groups first, ..., last - 1 to effects."""
    value = 0.0
    for g in range(first, last):
        q = 1.0 + scale * scale * information[g]
        c = np.sqrt(q)
        root[g] = 1.0 / c
        v[g] = (scale * score[g] * root[g] + z[g]) * root[g]
        u[g] = scale * v[g]
        value -= 0.5 * (v[g] * v[g] + vector.log(q))
    return value


@fast
def back_one(first: int, last: int, scale: float, information: Array, score: Array, v: Array,
             root: Array, u_bar: Array, score_bar: Array, matrix_bar: Array,
             z_bar: Array):  # fmt: skip
    """Slopes by effect to slopes by coordinate, score and information; that by the scale."""
    total = 0.0
    for g in range(first, last):
        v_bar = scale * u_bar[g] - v[g]
        a_bar = v_bar * root[g]
        z_bar[g] = a_bar
        b_bar = a_bar * root[g]
        score_bar[g] = scale * b_bar
        c_bar = -(v[g] + scale * score[g] * root[g] * root[g]) * a_bar - root[g]
        matrix_bar[g] = 0.5 * scale * scale * root[g] * c_bar
        total += u_bar[g] * v[g] + score[g] * b_bar + c_bar * root[g] * scale * information[g]
    return total


@fast
def first_guess(first: int, last: int, scale: float, information: Array, score: Array, u: Array):
    """The effects that information and score would leave, one a group."""
    for g in range(first, last):
        u[g] = scale * scale * score[g] / (1.0 + scale * scale * information[g])


@fast
def first_guess_back(first: int, last: int, scale: float, information: Array, score: Array,
                     u_bar: Array, score_bar: Array):  # fmt: skip
    """The transpose of :func:`first_guess`; the slope by the scale."""
    total = 0.0
    for g in range(first, last):
        shrink = 1.0 / (1.0 + scale * scale * information[g])
        score_bar[g] = scale * scale * shrink * u_bar[g]
        total += 2.0 * scale * score[g] * shrink * shrink * u_bar[g]
    return total


@plain
def _decompose(q: int, lam: Array, information: Array, half: Array, c: Array) -> None:
    """C of one group, lower triangular, with half = I Lambda."""
    for k in range(q):
        for j in range(q):
            total = 0.0
            for i in range(j, q):
                total += information[k * q + i] * lam[i, j]
            half[k, j] = total
    for i in range(q):
        for j in range(i + 1):
            total = 1.0 if i == j else 0.0
            for k in range(i, q):
                total += lam[k, i] * half[k, j]
            for k in range(j):
                total -= c[i, k] * c[j, k]
            c[i, j] = np.sqrt(total) if i == j else total / c[j, j]


@plain
def _solve(q: int, c: Array, x: Array) -> None:
    """x to C^-1 x."""
    for i in range(q):
        for k in range(i):
            x[i] -= c[i, k] * x[k]
        x[i] /= c[i, i]


@plain
def _solve_back(q: int, c: Array, x: Array) -> None:
    """x to C^-T x."""
    for i in range(q - 1, -1, -1):
        for k in range(i + 1, q):
            x[i] -= c[k, i] * x[k]
        x[i] /= c[i, i]


@plain
def forward_many(q: int, size: int, first: int, last: int, lam: Array, information: Array,
                 score: Array, z: Array, u: Array, v: Array, y: Array, work: Array):  # fmt: skip
    """Several effects a group; z, u, v and y run over effects outside, groups inside."""
    half, c, a = work[0], work[1], work[2, 0]
    value = 0.0
    for g in range(first, last):
        _decompose(q, lam, information[g * q * q : (g + 1) * q * q], half, c)
        for j in range(q):
            a[j] = 0.0
            for k in range(j, q):
                a[j] += lam[k, j] * score[k * size + g]
        _solve(q, c, a)
        for j in range(q):
            y[j * size + g] = a[j]
            a[j] += z[j * size + g]
        _solve_back(q, c, a)
        for j in range(q):
            v[j * size + g] = a[j]
            value -= 0.5 * a[j] * a[j] + np.log(c[j, j])
            u[j * size + g] = 0.0
            for k in range(j + 1):
                u[j * size + g] += lam[j, k] * a[k]
    return value


@plain
def back_many(q: int, size: int, first: int, last: int, lam: Array, information: Array,
              score: Array, v: Array, y: Array, work: Array, u_bar: Array, score_bar: Array,
              z_bar: Array, lam_bar: Array) -> None:  # fmt: skip
    """The transpose of :func:`forward_many`; slopes by Lambda are added to ``lam_bar``."""
    half, c, c_bar, p = work[0], work[1], work[3], work[4]
    a, b = work[2, 0], work[2, 1]
    for g in range(first, last):
        _decompose(q, lam, information[g * q * q : (g + 1) * q * q], half, c)
        for j in range(q):
            a[j] = -v[j * size + g]
            for k in range(j, q):
                a[j] += lam[k, j] * u_bar[k * size + g]
        _solve(q, c, a)
        for j in range(q):
            z_bar[j * size + g] = a[j]
            b[j] = a[j]
        _solve_back(q, c, b)
        for i in range(q):
            for j in range(i + 1):
                c_bar[i, j] = -v[i * size + g] * a[j] - b[i] * y[j * size + g]
            c_bar[i, i] -= 1.0 / c[i, i]
        _symmetric_slope(q, c, c_bar, p)
        for i in range(q):
            score_bar[i * size + g] = 0.0
            for j in range(i + 1):
                score_bar[i * size + g] += lam[i, j] * b[j]
                total = u_bar[i * size + g] * v[j * size + g] + score[i * size + g] * b[j]
                for k in range(q):
                    total += 2.0 * half[i, k] * p[k, j]
                lam_bar[i, j] += total


@plain
def _symmetric_slope(q: int, c: Array, bar: Array, p: Array) -> None:
    """The symmetric slopes by C C' from those by C: C^-T phi(C' bar) C^-1, made symmetric."""
    for i in range(q):
        for j in range(q):
            p[i, j] = 0.0
    for i in range(q):
        for j in range(i + 1):
            total = 0.0
            for k in range(i, q):
                total += c[k, i] * bar[k, j]
            p[i, j] = 0.5 * total
            p[j, i] = 0.5 * total
    # phi made symmetric is half the lower part on both sides of the diagonal, which stays half
    for j in range(q):
        _solve_back(q, c, p[:, j])
    for i in range(q):
        _solve_back(q, c, p[i])


@plain
def centred(q: int, size: int, lam: Array, z: Array, shift: Array, u: Array, v: Array):
    """Effects that are coordinates less a shift (effect,); their log density given Lambda."""
    value = 0.0
    for j in range(q):
        value -= size * np.log(lam[j, j])
    for g in range(size):
        for j in range(q):
            u[j * size + g] = z[j * size + g] - shift[j]
            v[j * size + g] = u[j * size + g]
            for k in range(j):
                v[j * size + g] -= lam[j, k] * v[k * size + g]
            v[j * size + g] /= lam[j, j]
            value -= 0.5 * v[j * size + g] ** 2
    return value


@plain
def centred_back(q: int, size: int, lam: Array, v: Array, u_bar: Array, z_bar: Array,
                 shift_bar: Array, lam_bar: Array, work: Array) -> None:  # fmt: skip
    """The transpose of :func:`centred`."""
    a = work[2, 0]
    for j in range(q):
        lam_bar[j, j] -= size / lam[j, j]
    for g in range(size):
        for j in range(q):
            a[j] = v[j * size + g]
        _solve_back(q, lam, a)
        for j in range(q):
            z_bar[j * size + g] = u_bar[j * size + g] - a[j]
            shift_bar[j] -= z_bar[j * size + g]
            for k in range(j + 1):
                lam_bar[j, k] += a[j] * v[k * size + g]
