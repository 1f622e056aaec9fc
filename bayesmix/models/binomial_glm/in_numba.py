"""The log joint density of a binomial regression with groups, and its gradient, for any formula.

One compiled loop: what the formula says is in arrays, so that a new formula compiles nothing. Rows
stand in the order of one grouping factor, the *swept* one, and are worked on in chunks of whole
groups that stay in the cache. The scores of its groups (``groups_in_numba``) can be
those given all other effects, at their present values: then its coordinates are nearly independent
of everything else, whatever the spreads are. Where groups have few rows their information is
*renewed*: taken where the information of the pilot leads, one Newton step nearer to the truth.

The arrays are made in :mod:`bayesmix.models.binomial_glm.kernel`.
"""

from __future__ import annotations

import numpy as np

from bayesmix.models.binomial_glm import groups_in_numba, rows_in_numba
from bayesmix.models.binomial_glm.rows_in_numba import (
    CENTRED,
    COLUMN,
    CROSS,
    EFFECTS,
    GROUPS,
    INDEX,
    LEVELS,
    MATRIX,
    OUTPUT,
    THETA,
)
from bayesmix.protocols import Array

CONSTANT, JACOBIAN, LINK, SWEPT, LONGEST, RENEWED = range(6)
"""Entries of the settings: what the log density has whatever the parameters; whether the volume of
logs and logits counts; the link; whether the first factor is swept; rows of the longest chunk;
whether its information is renewed."""
NORMAL, STUDENT = 0, 1
_plain, _fast = groups_in_numba.plain, groups_in_numba.fast


@_fast
def _inner(left: Array, right: Array, n: int) -> float:
    total = 0.0
    for i in range(n):
        total += left[i] * right[i]
    return total


@_plain
def _place(xi: Array, order: Array, whiten: Array, middle: Array, theta: Array) -> None:
    """A sampler's vector to parameters: the first few by a triangular matrix and a shift."""
    few = whiten.shape[0]
    for k in range(few):
        theta[order[k]] = middle[k] + _inner(whiten[k], xi, k + 1)
    for k in range(few, xi.size):
        theta[order[k]] = xi[k]


@_fast
def _unplace(bar: Array, order: Array, whiten: Array, out: Array) -> None:
    """The transpose of :func:`_place`."""
    few = whiten.shape[0]
    for k in range(out.size):
        out[k] = 0.0 if k < few else bar[order[k]]
    for k in range(few):
        slope, row = bar[order[k]], whiten[k]
        for j in range(k + 1):
            out[j] += slope * row[j]


@_plain
def _population(theta: Array, prior: Array, bar: Array) -> float:
    """Log prior of the population's coefficients; rows of ``prior``: kind, loc, 1/scale, df."""
    value = 0.0
    for j in range(prior.shape[0]):
        z = (theta[j] - prior[j, 1]) * prior[j, 2]
        if prior[j, 0] == NORMAL:
            value -= 0.5 * z * z
            bar[j] -= z * prior[j, 2]
        else:
            df = prior[j, 3]
            value -= 0.5 * (df + 1.0) * np.log1p(z * z / df)
            bar[j] -= (df + 1.0) * z / (df + z * z) * prior[j, 2]
    return value


@_plain
def spreads(theta: Array, factors: Array, shapes: Array, spread: Array, jacobian: float,
            sigma: Array, lower: Array, lam: Array, bar: Array) -> float:  # fmt: skip
    """Sigma, L and Lambda of every factor; the log prior of spreads and correlations."""
    value, pair = 0.0, 0
    for f in range(factors.shape[0]):
        q, column = factors[f, EFFECTS], factors[f, COLUMN]
        value += groups_in_numba.factor_of(
            q, factors[f, THETA], theta, shapes[pair:], spread[column:], jacobian, sigma[f],
            lower[f], bar,
        )  # fmt: skip
        pair += q * (q - 1) // 2
        for k in range(q):
            for j in range(k + 1):
                lam[f, k, j] = sigma[f, k] * lower[f, k, j]
    return value


@_plain
def _given_population(one: Array, cross: Array, beta: Array, score: Array) -> None:
    """Scores of a factor's groups less what the population's coefficients explain."""
    p = beta.size
    for k in range(one[EFFECTS] * one[GROUPS]):
        at = one[CROSS] + k * p
        for c in range(p):
            score[one[LEVELS] + k] -= cross[at + c] * beta[c]


@_plain
def _given_population_back(one: Array, cross: Array, score_bar: Array, bar: Array, p: int):
    """The transpose of :func:`_given_population`."""
    for k in range(one[EFFECTS] * one[GROUPS]):
        at = one[CROSS] + k * p
        for c in range(p):
            bar[c] -= cross[at + c] * score_bar[one[LEVELS] + k]


@_plain
def forward(one, first, last, theta, lam, information, score, centre, u, v, extra, work):
    """Effects of a factor's groups first, ..., last - 1, and the log density of coordinates."""
    q, size = one[EFFECTS], one[GROUPS]
    at = one[THETA] + q + q * (q - 1) // 2
    own = slice(one[LEVELS], one[LEVELS] + q * size)
    z, matrix = theta[at : at + q * size], information[one[MATRIX] :]
    if one[CENTRED]:
        shift = work[5, 0]
        for j in range(q):
            shift[j] = _inner(centre[one[COLUMN] + j], theta, centre.shape[1])
        return groups_in_numba.centred(q, size, lam, z, shift, u[own], v[own])
    if q == 1:
        return groups_in_numba.forward_one(
            first, last, lam[0, 0], matrix, score[own], z, u[own], v[own], extra[own]
        )
    return groups_in_numba.forward_many(
        q, size, first, last, lam, matrix, score[own], z, u[own], v[own], extra[own], work
    )


@_plain
def _back(one, first, last, theta, lam, information, score, centre, v, extra, work, u_bar,
          score_bar, matrix_bar, bar, lam_bar):  # fmt: skip
    """The transpose of :func:`forward`."""
    q, size = one[EFFECTS], one[GROUPS]
    at = one[THETA] + q + q * (q - 1) // 2
    own = slice(one[LEVELS], one[LEVELS] + q * size)
    z_bar, matrix = bar[at : at + q * size], information[one[MATRIX] :]
    if one[CENTRED]:
        shift_bar = work[5, 1]
        shift_bar[:q] = 0.0
        groups_in_numba.centred_back(
            q, size, lam, v[own], u_bar[own], z_bar, shift_bar, lam_bar, work
        )
        for j in range(q):
            for c in range(centre.shape[1]):
                bar[c] += shift_bar[j] * centre[one[COLUMN] + j, c]
    elif q == 1:
        lam_bar[0, 0] += groups_in_numba.back_one(
            first, last, lam[0, 0], matrix, score[own], v[own], extra[own], u_bar[own],
            score_bar[own], matrix_bar[own], z_bar,
        )  # fmt: skip
    else:
        groups_in_numba.back_many(
            q, size, first, last, lam, matrix, score[own], v[own], extra[own], work, u_bar[own],
            score_bar[own], z_bar, lam_bar,
        )  # fmt: skip


@_fast
def _rest(bounds, columns, offset, factors, swept, effects, index, beta, u, eta):
    """Linear predictor of a chunk of rows, without the swept factor."""
    first, m = bounds[0, 0], bounds[1, 0] - bounds[0, 0]
    for i in range(m):
        eta[i] = offset[first + i]
    rows_in_numba.add_columns(columns, first, m, beta, eta)
    for f in range(swept, factors.shape[0]):
        rows_in_numba.add_groups(factors[f], effects, index, first, m, u, eta)


@_fast
def _sweep(bounds, one, effects, starts, weight, eta, rest, score):
    """Scores of the swept factor's groups less what all other effects explain."""
    first, m = bounds[0, 0], bounds[1, 0] - bounds[0, 0]
    for i in range(m):
        rest[i] = weight[first + i] * eta[i]
    rows_in_numba.collect_sorted(one, effects, starts, bounds[:, 1], first, rest, -1.0, score)


@_fast
def _sweep_back(bounds, one, effects, index, weight, score_bar, rest, eta):
    """The transpose of :func:`_sweep`, taken off the slopes of the rows."""
    first, m = bounds[0, 0], bounds[1, 0] - bounds[0, 0]
    for i in range(m):
        rest[i] = 0.0
    rows_in_numba.add_groups(one, effects, index, first, m, score_bar, rest)
    for i in range(m):
        eta[i] -= weight[first + i] * rest[i]


@_fast
def _renew(bounds, one, effects, index, starts, y, trials, link, scale, eta, rows, information,
           score, guess, matrix, renewed):  # fmt: skip
    """Information and scores of the swept groups where information and scores so far lead."""
    first, m = bounds[0, 0], bounds[1, 0] - bounds[0, 0]
    groups_in_numba.first_guess(bounds[0, 1], bounds[1, 1], scale, information, score, guess)
    at, weight, turn = rows[0], rows[1], rows[2]
    for i in range(m):
        at[i] = eta[i]
    rows_in_numba.add_groups(one, effects, index, first, m, guess, at)
    rows_in_numba.curve(link, y[first : first + m], trials[first : first + m], m, at, weight, turn)
    for g in range(bounds[0, 1], bounds[1, 1]):
        matrix[g] = 0.0
        renewed[g] = 0.0
    rows_in_numba.collect_sorted(one, effects, starts, bounds[:, 1], first, weight, 1.0, matrix)
    rows_in_numba.collect_sorted(one, effects, starts, bounds[:, 1], first, at, 1.0, renewed)
    for g in range(bounds[0, 1], bounds[1, 1]):
        renewed[g] += matrix[g] * guess[g]


@_fast
def _renew_back(bounds, one, effects, index, starts, scale, rows, information, score, guess, matrix,
                score_bar, matrix_bar, eta):  # fmt: skip
    """The transpose of :func:`_renew`, added to the slopes of the rows; the slope by the scale."""
    first, m = bounds[0, 0], bounds[1, 0] - bounds[0, 0]
    group, slope, weight, turn = index[one[INDEX], first : first + m], rows[0], rows[1], rows[2]
    for g in range(bounds[0, 1], bounds[1, 1]):
        matrix_bar[g] += score_bar[g] * guess[g]
    for i in range(m):
        slope[i] = turn[i] * matrix_bar[group[i]] - weight[i] * score_bar[group[i]]
        eta[i] += slope[i]
    for g in range(bounds[0, 1], bounds[1, 1]):
        matrix_bar[g] = score_bar[g] * matrix[g]
    rows_in_numba.collect_sorted(one, effects, starts, bounds[:, 1], first, slope, 1.0, matrix_bar)
    return groups_in_numba.first_guess_back(
        bounds[0, 1], bounds[1, 1], scale, information, score, matrix_bar, score_bar
    )


@_plain
def log_joint(xi, settings, columns, y, trials, offset, effects, index, weight, starts, chunks,
              factors, prior, spread, shapes, information, scores, cross, centre, order, whiten,
              middle, to_raw, effects_to_raw, out):  # fmt: skip
    """Log prior plus log-likelihood; ``out`` takes the gradient."""
    p, n_factors, most = columns.shape[0], factors.shape[0], effects_to_raw.shape[1]
    swept, longest, link = int(settings[SWEPT]), int(settings[LONGEST]), int(settings[LINK])
    theta, bar = np.empty(xi.size), np.zeros(xi.size)
    _place(xi, order, whiten, middle, theta)
    beta = theta[:p]
    value = settings[CONSTANT] + _population(theta, prior, bar)
    sigma, lower = np.zeros((n_factors, most)), np.zeros((n_factors, most, most))
    lam, lam_bar = np.zeros((n_factors, most, most)), np.zeros((n_factors, most, most))
    value += spreads(theta, factors, shapes, spread, settings[JACOBIAN], sigma, lower, lam, bar)
    score, u_bar, score_bar = scores.copy(), np.zeros(scores.size), np.zeros(scores.size)
    u, v, extra = np.empty(scores.size), np.empty(scores.size), np.empty(scores.size)
    work, renewed = np.empty((6, max(most, 2), max(most, 2))), settings[RENEWED]
    matrix_bar, guess = np.empty(scores.size), np.empty(scores.size)
    matrix, now = (information.copy(), score.copy()) if renewed else (information, score)
    rows = np.empty((3, longest))
    for f in range(swept, n_factors):
        _given_population(factors[f], cross, beta, score)
        value += forward(factors[f], 0, factors[f, GROUPS], theta, lam[f], information, score,
                         centre, u, v, extra, work)  # fmt: skip
    etas, rests = np.empty(longest), np.empty(longest)
    for chunk in range(chunks.shape[0] - 1):
        bounds = chunks[chunk : chunk + 2]
        first, m = bounds[0, 0], bounds[1, 0] - bounds[0, 0]
        eta, rest = etas[:m], rests[:m]
        _rest(bounds, columns, offset, factors, swept, effects, index, beta, u, eta)
        if swept:
            _sweep(bounds, factors[0], effects, starts, weight, eta, rest, score)
            if renewed:
                _renew(bounds, factors[0], effects, index, starts, y, trials, link,
                       lam[0, 0, 0], eta, rows, information, score, guess, matrix, now)  # fmt: skip
            value += forward(factors[0], bounds[0, 1], bounds[1, 1], theta, lam[0], matrix, now,
                             centre, u, v, extra, work)  # fmt: skip
            rows_in_numba.add_groups(factors[0], effects, index, first, m, u, eta)
        value += rows_in_numba.outcomes(
            link, y[first : first + m], trials[first : first + m], m, eta
        )
        if swept:
            rows_in_numba.collect_sorted(
                factors[0], effects, starts, bounds[:, 1], first, eta, 1.0, u_bar
            )
            _back(factors[0], bounds[0, 1], bounds[1, 1], theta, lam[0], matrix, now, centre, v,
                  extra, work, u_bar, score_bar, matrix_bar, bar, lam_bar[0])  # fmt: skip
            if renewed:
                lam_bar[0, 0, 0] += _renew_back(
                    bounds, factors[0], effects, index, starts, lam[0, 0, 0], rows, information,
                    score, guess, matrix, score_bar, matrix_bar, eta,
                )  # fmt: skip
            _sweep_back(bounds, factors[0], effects, index, weight, score_bar, rest, eta)
        rows_in_numba.collect_columns(columns, first, m, eta, bar)
        for f in range(swept, n_factors):
            rows_in_numba.collect_groups(factors[f], effects, index, first, m, eta, u_bar)
    for f in range(swept, n_factors):
        _back(factors[f], 0, factors[f, GROUPS], theta, lam[f], information, score, centre, v,
              extra, work, u_bar, score_bar, matrix_bar, bar, lam_bar[f])  # fmt: skip
        _given_population_back(factors[f], cross, score_bar, bar, p)
    for f in range(n_factors):
        own = spread[factors[f, COLUMN] :]
        groups_in_numba.factor_back(factors[f, EFFECTS], factors[f, THETA], theta, own, sigma[f],
                               lower[f], lam_bar[f], bar)  # fmt: skip
    _unplace(bar, order, whiten, out)
    return value


@_plain
def expand(xi, settings, columns, y, trials, offset, effects, index, weight, starts, chunks,
           factors, prior, spread, shapes, information, scores, cross, centre, order, whiten,
           middle, to_raw, effects_to_raw, out):  # fmt: skip
    """The reported parameters, in the units of the data, of a sampler's vector."""
    p, n_factors, most = columns.shape[0], factors.shape[0], effects_to_raw.shape[1]
    swept, longest, link = int(settings[SWEPT]), int(settings[LONGEST]), int(settings[LINK])
    theta, bar = np.empty(xi.size), np.zeros(xi.size)
    _place(xi, order, whiten, middle, theta)
    beta = theta[:p]
    for k in range(p):
        out[k] = _inner(to_raw[k], beta, p)
    sigma, lower = np.zeros((n_factors, most)), np.zeros((n_factors, most, most))
    lam = np.zeros((n_factors, most, most))
    spreads(theta, factors, shapes, spread, 0.0, sigma, lower, lam, bar)
    score, work, renewed = (
        scores.copy(),
        np.empty((6, max(most, 2), max(most, 2))),
        settings[RENEWED],
    )
    u, v, extra = np.empty(scores.size), np.empty(scores.size), np.empty(scores.size)
    for f in range(swept, n_factors):
        _given_population(factors[f], cross, beta, score)
        forward(factors[f], 0, factors[f, GROUPS], theta, lam[f], information, score, centre, u, v,
                extra, work)  # fmt: skip
    matrix, now = (information.copy(), score.copy()) if renewed else (information, score)
    etas, rests = np.empty(longest), np.empty(longest)
    rows, guess = np.empty((3, longest)), np.empty(scores.size)
    for chunk in range((chunks.shape[0] - 1) * swept):
        bounds = chunks[chunk : chunk + 2]
        m = bounds[1, 0] - bounds[0, 0]
        _rest(bounds, columns, offset, factors, swept, effects, index, beta, u, etas[:m])
        _sweep(bounds, factors[0], effects, starts, weight, etas[:m], rests[:m], score)
        if renewed:
            _renew(bounds, factors[0], effects, index, starts, y, trials, link,
                   lam[0, 0, 0], etas[:m], rows, information, score, guess, matrix,
                   now)  # fmt: skip
        forward(factors[0], bounds[0, 1], bounds[1, 1], theta, lam[0], matrix, now, centre, u, v,
                extra, work)  # fmt: skip
    for f in range(n_factors):
        _report(factors[f], effects_to_raw, lam[f], u, work, out)


@_plain
def _report(one: Array, to_raw: Array, lam: Array, u: Array, work: Array, out: Array) -> None:
    """Deviations, standard deviations and correlations of a factor, in the data's units."""
    q, size, at, raw = one[EFFECTS], one[GROUPS], one[OUTPUT], work[0]
    for i in range(q):
        for g in range(size):
            total = 0.0
            for j in range(q):
                total += to_raw[one[COLUMN] + i, j] * u[one[LEVELS] + j * size + g]
            out[at + i * size + g] = total
        for k in range(q):
            raw[i, k] = 0.0
            for j in range(k, q):
                raw[i, k] += to_raw[one[COLUMN] + i, j] * lam[j, k]
    at += q * size
    for i in range(q):
        out[at + i] = np.sqrt(_inner(raw[i], raw[i], q))
    for i in range(q if q > 1 else 0):
        for k in range(q):
            inner = _inner(raw[i], raw[k], q) / (out[at + i] * out[at + k])
            out[at + q + i * q + k] = 1.0 if i == k else inner
