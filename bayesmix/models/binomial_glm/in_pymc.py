r"""Correlated group effects in PyMC: one prior, three parametrizations of it.

Every function here is called inside a ``pm.Model`` context. With effects j = 0..d-1 and groups g,

.. math:: c_g \sim \mathrm{N}(\mu, \Sigma), \quad
          \Sigma = \mathrm{diag}(\sigma)\,L L^\top \mathrm{diag}(\sigma), \quad
          L L^\top \sim \mathrm{LKJ}(\eta).

``centered``
    the coefficients :math:`c_g` themselves are the free variables: right where each group is
    strongly identified by its own data.
``noncentered``
    :math:`c_g = \mu + \mathrm{diag}(\sigma) L z_g`, :math:`z_g \sim N(0, I)`: right where not.
``mixed``
    each effect of each group as far between the two as its own data say: coordinates z are written
    with the mean and the spread that a Gaussian likelihood of the group's information I and score h
    would leave the coefficients,

    .. math:: c_g = \mu + \Lambda v_g, \quad v_g = C^{-\top}(C^{-1} \Lambda^\top (h - I \mu) + z_g),
              \quad C C^\top = 1 + \Lambda^\top I \Lambda, \quad \Lambda = \mathrm{diag}(\sigma) L.

    I = 0 gives the non-centred form, I to infinity the centred one; the posterior is the same in
    all.

References
----------
Papaspiliopoulos, Roberts & Skold (2007), doi:10.1214/088342307000000014, on partial centring.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bayesmix.marginal.links import LARGEST
from bayesmix.priors import LKJ, Prior, pairs

PARAMETRIZATIONS = ("mixed", "centered", "noncentered")

_LOG_2PI, _ROOT_HALF = 1.8378770664093453, 0.7071067811865476
FAR = -30.0
"""A probit below which erfc nears the smallest numbers, and a series takes over."""


def log_odds(link: str, eta: Any) -> Any:
    """The log-odds of a success: what PyMC's binomial reads without a loss in either tail."""
    import pytensor.tensor as pt

    if link == "logit":
        return eta
    if link == "probit":
        return _log_normal_cdf(eta) - _log_normal_cdf(-eta)
    # every branch is kept among the numbers where it is not taken: zero times infinity is none
    u: Any = pt.exp(pt.clip(eta, -np.inf, LARGEST))
    rare: Any = pt.clip(u, 1e-300, 1.0)
    often: Any = pt.clip(u, 0.5, np.inf)
    few: Any = pt.expm1(-rare)
    rest: Any = pt.exp(-often)
    return pt.switch(u < 1, eta + pt.log(-few / rare), pt.log1p(-rest)) + u


def binomial(name: str, log_odds: Any, *, n: Any, observed: Any, case_weight: Any) -> None:
    """The outcome: a binomial variable, or its log probability times the weights of the rows."""
    import pymc as pm

    if case_weight is None:
        pm.Binomial(name, n=n, logit_p=log_odds, observed=observed)
        return
    one = pm.Binomial.dist(n=n, logit_p=log_odds)
    pm.Potential(f"weighted {name}", (case_weight * pm.logp(one, observed)).sum())


def _log_normal_cdf(x: Any) -> Any:
    """log Phi(x): above zero, below it, and far below it by an asymptotic series."""
    import pytensor.tensor as pt

    right: Any = pt.clip(x, 0.0, -FAR)
    left: Any = pt.clip(x, FAR, 0.0)
    far: Any = pt.clip(x, -np.inf, FAR)
    upper: Any = pt.erfc(right * _ROOT_HALF)
    lower: Any = pt.erfc(-left * _ROOT_HALF)
    above, below = pt.log1p(-0.5 * upper), pt.log(0.5 * lower)
    w: Any = 1 / far**2
    series = w * (-1 + w * (3 + w * (-15 + w * (105 + w * (-945 + w * 10395)))))
    size: Any = pt.log(-far)
    tail: Any = -0.5 * far**2 - size - 0.5 * _LOG_2PI + pt.log1p(series)
    return pt.switch(x > 0, above, pt.switch(x > FAR, below, tail))


def cholesky_of_correlation(partial: Sequence[Any], n: int, sqrt: Any) -> list[list[Any]]:
    """Rows of the Cholesky factor of a correlation matrix from its C-vine partial correlations.

    Works on floats, NumPy arrays and symbolic scalars alike: ``sqrt`` is the matching function.
    """
    partial_of = dict(zip(pairs(n), partial, strict=True))
    rows: list[list[Any]] = [[1.0]]
    for k in range(1, n):
        row, rest = [], 1.0
        for j in range(k):
            row.append(partial_of[j, k] * rest)
            rest = rest * sqrt(1 - partial_of[j, k] ** 2)
        rows.append([*row, rest])
    return rows


def population(
    terms: Mapping[str, tuple[slice, bool]],
    given: Mapping[str, Any],
    default: Any,
    *,
    scale: float,
    loc: Any,
    to_raw: Any,
) -> dict[str, Any]:
    """Coefficients by term, where some have independent priors in standard coordinates.

    Parameters
    ----------
    terms
        Columns of each term, and whether it is a scalar.
    given
        Random variables of the terms whose priors are in the data's units.
    default
        By column: its prior is Normal(loc, scale) in standard coordinates.
    to_raw
        What takes standard coordinates to coefficients (column, column).
    """
    import pymc as pm
    import pytensor.tensor as pt

    where = np.flatnonzero(default)
    standard: Any = pm.Normal(
        "standard coefficients", loc[where], np.float64(scale), shape=len(where)
    )
    place = {int(column): i for i, column in enumerate(where)}
    parts: list[Any] = []
    for name, (columns, _) in terms.items():
        for i, column in enumerate(range(columns.start, columns.stop)):
            if column in place:
                parts.append(standard[place[column]])
            else:
                parts.append(pt.atleast_1d(given[name])[i])
    raw: Any = (to_raw * pt.stack(parts)).sum(axis=1)
    found = dict(given)
    for name, (columns, scalar) in terms.items():
        if name not in given:
            value = raw[columns.start] if scalar else raw[columns]
            found[name] = pm.Deterministic(name, value, dims=None if scalar else f"{name}_level")
    return {name: found[name] for name in terms}


def correlation_factor(
    name: str, n: int, prior: LKJ, dims: tuple[str, str] | None
) -> list[list[Any]]:
    """Declare the correlations of one grouping factor; returns rows of the Cholesky factor.

    They are reported as ``corr_{name}`` unless ``dims`` is None.
    """
    import pymc as pm
    import pytensor.tensor as pt

    if n == 1:
        return [[1.0]]
    shape = prior.shapes(n)
    unit = pm.Beta(f"unit_partial_{name}", shape, shape, shape=len(shape))
    partial = [2 * unit[i] - 1 for i in range(len(shape))]
    rows = cholesky_of_correlation(partial, n, pt.sqrt)
    if dims is None:
        return rows
    dot = [[_dot(rows[i], rows[j]) for j in range(n)] for i in range(n)]
    for i in range(n):
        dot[i][i] = pt.ones(())
    pm.Deterministic(f"corr_{name}", pt.stack([pt.stack(row) for row in dot]), dims=dims)
    return rows


STANDARD = "standard "
"""Prefix of a variable in standard coordinates; without it, it is in the data's units."""


def _spread_in_units(name: str, to_raw: Any, factor: list[list[Any]], dims: Any) -> None:
    """Report spreads and correlations of ``to_raw`` times effects with this Cholesky factor."""
    import pymc as pm
    import pytensor.tensor as pt

    n, (_, effect, other) = len(factor), dims
    one: Any = pt.ones(())
    rows = [[_dot([to_raw[i, k] for k in range(n)], column) for column in _columns(factor)]
            for i in range(n)]  # fmt: skip
    length: list[Any] = [pt.sqrt(_dot(row, row)) for row in rows]
    pm.Deterministic(f"sigma_{name}", pt.stack(length), dims=effect)
    if n > 1:
        corr = [
            [_dot(rows[i], rows[j]) / (length[i] * length[j]) if i != j else one
             for j in range(n)]
            for i in range(n)
        ]  # fmt: skip
        pm.Deterministic(
            f"corr_{name}", pt.stack([pt.stack(r) for r in corr]), dims=(effect, other)
        )


def _columns(factor: list[list[Any]]) -> list[list[Any]]:
    """Columns of a lower triangular matrix that is given by its rows."""
    n = len(factor)
    return [[factor[i][k] if k <= i else 0.0 for i in range(n)] for k in range(n)]


def _product(matrix: Any, values: Sequence[Any]) -> list[Any]:
    """A matrix times a list of numbers or vectors."""
    n = len(values)
    return [_dot([matrix[i, k] for k in range(n)], values) for i in range(n)]


def group_effects(
    name: str,
    labels: Sequence[str],
    mean: Sequence[Any],
    *,
    scale: Prior,
    correlation: LKJ,
    parametrization: str,
    pivot: tuple[Any, Any],
    dims: tuple[str, str, str],
    units: tuple[Any, Any] | None = None,
) -> list[Any]:
    """Coefficients by group, one vector an effect; deviations are recorded under ``labels``.

    With ``units`` the coefficients that are returned, and the priors of their spread, are in
    standard coordinates, and so is ``pivot``; what is recorded is in the data's units.

    Parameters
    ----------
    name
        The grouping factor; its parameters are ``sigma_{name}`` and ``corr_{name}``.
    labels
        Names of the deviations, e.g. ``("1|edu", "sex|edu")``.
    mean
        Population value of each effect (0 where the formula has none).
    pivot
        ``(information, score)`` with dims (group, effect, effect) and (group, effect); read by
        ``mixed`` alone.
    dims
        Dims of groups, effects and effects again.
    units
        Matrices that take effects to standard coordinates and back, or None for none.
    """
    import pymc as pm

    group, effect, other = dims
    own = "" if units is None else STANDARD
    sigma = scale.pymc(f"{own}sigma_{name}", dims=effect)
    reported = (effect, other) if units is None else None
    rows = correlation_factor(name, len(labels), correlation, reported)
    mean = list(mean) if units is None else _product(units[0], mean)
    factor = [[sigma[i] * value for value in row] for i, row in enumerate(rows)]
    if parametrization == "mixed":
        coefficients = _mixed(labels, mean, factor, pivot, group)
    elif parametrization == "centered":
        coefficients = _centered(labels, mean, factor, group)
    else:
        coefficients = _noncentered(labels, mean, factor, group)
    deviations = [value - centre for value, centre in zip(coefficients, mean, strict=True)]
    if units is not None:
        _spread_in_units(name, units[1], factor, dims)
        deviations = _product(units[1], deviations)
    for label, value in zip(labels, deviations, strict=True):
        pm.Deterministic(label, value, dims=group)
    return coefficients


def _noncentered(
    labels: Sequence[str], mean: Any, factor: list[list[Any]], group: str
) -> list[Any]:
    import pymc as pm

    z = [pm.Normal(f"z_{label}", 0, 1, dims=group) for label in labels]
    return [centre + _dot(row, z) for centre, row in zip(mean, factor, strict=True)]


def _centered(labels: Sequence[str], mean: Any, factor: list[list[Any]], group: str) -> list[Any]:
    import pymc as pm

    coefficients, z = [], []
    for label, centre, row in zip(labels, mean, factor, strict=True):
        expected = centre + _dot(row[:-1], z)
        value = pm.Normal(f"centered_{label}", expected, row[-1], dims=group)
        coefficients.append(value)
        z.append((value - expected) / row[-1])
    return coefficients


def _mixed(
    labels: Sequence[str], mean: Any, factor: list[list[Any]], pivot: Any, group: str
) -> list[Any]:
    import pymc as pm
    import pytensor.tensor as pt

    information, score = pivot
    n = len(labels)
    free = [pm.Flat(f"free_{label}", dims=group) for label in labels]
    columns = _columns(factor)
    weighted = [[_dot([information[:, i, k] for k in range(n)], column) for i in range(n)]
                for column in columns]  # fmt: skip
    left = [score[:, i] - _dot([information[:, i, k] for k in range(n)], mean) for i in range(n)]
    square = [[_dot(columns[i], weighted[j]) + (1.0 if i == j else 0.0) for j in range(n)]
              for i in range(n)]  # fmt: skip
    lower = _cholesky(square, pt.sqrt)
    v = _solved(lower, [_dot(column, left) for column in columns])
    v = _solved_back(lower, [a + z for a, z in zip(v, free, strict=True)])
    density: Any = sum(-0.5 * v[j] ** 2 - pt.log(lower[j][j]) for j in range(n))
    pm.Potential(f"prior_{labels[0]}", (density - 0.5 * n * _LOG_2PI).sum())
    return [centre + _dot(row, v) for centre, row in zip(mean, factor, strict=True)]


def _cholesky(square: list[list[Any]], sqrt: Any) -> list[list[Any]]:
    """Rows of the lower triangular factor of a symmetric matrix of numbers or vectors."""
    rows: list[list[Any]] = []
    for i, given in enumerate(square):
        row: list[Any] = []
        for j in range(i):
            row.append((given[j] - _dot(row, rows[j][:j])) / rows[j][j])
        rows.append([*row, sqrt(given[i] - _dot(row, row))])
    return rows


def _solved(lower: list[list[Any]], right: Sequence[Any]) -> list[Any]:
    """L x = right."""
    x: list[Any] = []
    for row, value in zip(lower, right, strict=True):
        x.append((value - _dot(row[:-1], x)) / row[-1])
    return x


def _solved_back(lower: list[list[Any]], right: Sequence[Any]) -> list[Any]:
    """L' x = right."""
    x = list(right)
    for i in reversed(range(len(x))):
        x[i] = x[i] / lower[i][i]
        for k in range(i):
            x[k] = x[k] - lower[i][k] * x[i]
    return x


def _dot(left: Sequence[Any], right: Sequence[Any]) -> Any:
    """Sum of products over the shorter of two lists, leaving out the factors that are zero."""
    total: Any = 0.0
    for a, b in zip(left, right, strict=False):
        if not (_zero(a) or _zero(b)):
            total = total + a * b
    return total


def _zero(value: Any) -> bool:
    return isinstance(value, float) and value == 0.0
