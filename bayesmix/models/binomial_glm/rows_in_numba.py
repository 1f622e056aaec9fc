"""Rows of a binomial regression as compiled loops: linear predictors, slopes, and sums by group."""

from __future__ import annotations

from bayesmix.compiled import vector
from bayesmix.models.binomial_glm import links_in_numba
from bayesmix.models.binomial_glm.groups_in_numba import fast, plain
from bayesmix.protocols import Array

EFFECTS, GROUPS, THETA, COLUMN, INDEX, LEVELS, MATRIX, CROSS, CENTRED, ONES, OUTPUT = range(11)
"""Columns of the table of factors: numbers of effects and groups; where its parameters are in
theta, its effects among the columns of Z, its groups in the index, its values among all effects,
its information and cross; whether it is centred; whether its one effect is the constant; where its
values are among the reported ones."""
LINKS = {"logit": 0, "probit": 1, "cloglog": 2}
"""How a compiled loop calls the links."""
_PROBIT, _LOGIT = LINKS["probit"], LINKS["logit"]


@fast
def add_columns(columns: Array, first: int, m: int, coefs: Array, eta: Array) -> None:
    """Columns (column, obs) times coefficients, added to the rows first, ..., first + m - 1."""
    for c in range(columns.shape[0]):
        b, row = coefs[c], columns[c, first : first + m]
        for i in range(m):
            eta[i] += b * row[i]


@fast
def collect_columns(columns: Array, first: int, m: int, slope: Array, bar: Array) -> None:
    """The transpose of :func:`add_columns`."""
    for c in range(columns.shape[0]):
        total, row = 0.0, columns[c, first : first + m]
        for i in range(m):
            total += slope[i] * row[i]
        bar[c] += total


@fast
def add_groups(one: Array, effects: Array, index: Array, first: int, m: int, u: Array,
                eta: Array) -> None:  # fmt: skip
    """A factor's effects, added to the rows; ``one`` is its line in the table of factors."""
    group = index[one[INDEX], first : first + m]
    for j in range(one[EFFECTS]):
        at = one[LEVELS] + j * one[GROUPS]
        own = u[at : at + one[GROUPS]]
        if one[ONES]:
            for i in range(m):
                eta[i] += own[group[i]]
        else:
            z = effects[one[COLUMN] + j, first : first + m]
            for i in range(m):
                eta[i] += own[group[i]] * z[i]


@fast
def collect_groups(one: Array, effects: Array, index: Array, first: int, m: int, slope: Array,
                    u_bar: Array) -> None:  # fmt: skip
    """The transpose of :func:`add_groups`, rows in any order."""
    group = index[one[INDEX], first : first + m]
    for j in range(one[EFFECTS]):
        at = one[LEVELS] + j * one[GROUPS]
        own = u_bar[at : at + one[GROUPS]]
        if one[ONES]:
            for i in range(m):
                own[group[i]] += slope[i]
        else:
            z = effects[one[COLUMN] + j, first : first + m]
            for i in range(m):
                own[group[i]] += slope[i] * z[i]


@fast
def collect_sorted(one: Array, effects: Array, starts: Array, groups: Array, first: int,
                    slope: Array, sign: float, bar: Array) -> None:  # fmt: skip
    """Sums of rows by group, where each group's rows stand together; added to ``bar``."""
    for j in range(one[EFFECTS]):
        at = one[LEVELS] + j * one[GROUPS]
        for g in range(groups[0], groups[1]):
            start, m = starts[g] - first, starts[g + 1] - starts[g]
            own, total = slope[start : start + m], 0.0
            if one[ONES]:
                for i in range(m):
                    total += own[i]
            else:
                z = effects[one[COLUMN] + j, starts[g] : starts[g + 1]]
                for i in range(m):
                    total += own[i] * z[i]
            bar[at + g] += sign * total


@fast
def _logit(y: Array, trials: Array, m: int, eta: Array) -> float:
    """Log-likelihood of binomial rows; slopes by the logit replace it."""
    value = 0.0
    for i in range(m):
        size = abs(eta[i])
        small = vector.exp(-size)
        value += y[i] * eta[i] - trials[i] * (0.5 * (eta[i] + size) + vector.log(1.0 + small))
        p = 1.0 / (1.0 + small)
        eta[i] = y[i] - trials[i] * (p if eta[i] > 0 else 1.0 - p)
    return value


@fast
def _logit_curve(y: Array, trials: Array, m: int, eta: Array, weight: Array, turn: Array) -> None:
    """Slopes of the log-likelihood by the logit replace it; its curvature, and that one's slope."""
    for i in range(m):
        small = vector.exp(-abs(eta[i]))
        p = 1.0 / (1.0 + small)
        q = small * p
        weight[i] = trials[i] * p * q
        turn[i] = weight[i] * (q - p if eta[i] > 0 else p - q)
        eta[i] = y[i] - trials[i] * (p if eta[i] > 0 else q)


@plain
def outcomes(link: int, y: Array, trials: Array, m: int, eta: Array) -> float:
    """Log-likelihood of binomial rows; slopes by the linear predictor replace it."""
    if link == _LOGIT:
        return _logit(y, trials, m, eta)
    return links_in_numba.outcomes(link == _PROBIT, y, trials, m, eta)


@plain
def curve(link: int, y: Array, trials: Array, m: int, eta: Array, weight: Array, turn: Array):
    """Slopes of the log-likelihood replace eta; its curvature, and that one's slope."""
    if link == _LOGIT:
        _logit_curve(y, trials, m, eta, weight, turn)
    else:
        links_in_numba.curve(link == _PROBIT, y, trials, m, eta, weight, turn)
