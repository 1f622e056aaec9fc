"""What the compiled density of a binomial regression reads, laid out as it wants it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import betaln

from bayesmix.compiled.kernels import Kernel
from bayesmix.models.binomial_glm import in_numba as loop
from bayesmix.models.binomial_glm import rows_in_numba as at
from bayesmix.models.binomial_glm.groups_in_numba import EXPONENTIAL, HALF_CAUCHY, HALF_NORMAL
from bayesmix.models.binomial_glm.regression import Grouped, Regression, Shapes
from bayesmix.priors import LOG_2PI, Exponential, HalfCauchy, HalfNormal, Normal, Prior, StudentT
from bayesmix.protocols import Array

_CHUNK = 512
"""Rows that are worked on at once: with a few columns they fill the first level of cache."""


def kernel(
    regression: Regression,
    *,
    jacobian: bool = True,
    weight: Array | None = None,
    order: Array | None = None,
    whiten: Array | None = None,
    middle: Array | None = None,
    initial: Array | None = None,
    raw: bool = True,
    renewed: bool = False,
) -> Kernel:
    """The loop with its arrays; rows must be :func:`in_order`.

    Parameters
    ----------
    jacobian
        Whether the density counts the volume of logarithms and logits.
    weight
        Information of each row (obs,), with which the largest factor is swept; None sweeps none.
    order, whiten, middle
        Which parameters come first, and the triangular matrix and the point from which the first
        few are made; None leaves every parameter as it is, in PyMC's order.
    renewed
        Whether the swept factor's information is that where its effects are, and not the pilot's.
    raw
        Whether parameters are reported in the units of the data.
    """
    n_free, p = regression.n_free, regression.columns.shape[1]
    swept = weight is not None
    ranks = _ranks(regression)
    factors = [regression.factors[k] for k in ranks]
    most = max([factor.n_effects for factor in factors], default=1)
    starts, chunks = _chunks(regression, swept)
    longest = int(np.diff(chunks[:, 0]).max(initial=1))
    volume = 0.0 if whiten is None else float(np.log(np.diagonal(whiten)).sum())
    constant = _constant(regression) + volume
    settings = [
        constant,
        float(jacobian),
        float(at.LINKS[regression.link]),
        float(swept),
        longest,
        float(swept and renewed),
    ]
    arrays = (
        np.array(settings),
        _plain(regression.columns.T),
        _plain(regression.successes),
        _plain(regression.trials),
        _plain(regression.offset),
        _plain(_stacked([f.effects.T for f in factors], regression.columns.shape[0])),
        np.array([f.index for f in factors], dtype=np.int32).reshape(
            len(factors), len(regression.offset)
        ),
        _plain(np.zeros(0) if weight is None else weight),
        starts,
        chunks,
        _table(regression, ranks),
        _prior_table(regression.priors),
        np.concatenate([np.zeros((0, 3)), *(_spreads(f) for f in factors)]),
        np.concatenate([np.zeros(0), *(f.correlation.shapes(f.n_effects) for f in factors)]),
        np.concatenate([np.zeros(0), *(f.information.ravel() for f in factors)]),
        np.concatenate([np.zeros(0), *(f.score.T.ravel() for f in factors)]),
        np.concatenate([np.zeros(0), *(f.cross.transpose(1, 0, 2).ravel() for f in factors)]),
        _plain(_stacked([f.claimed for f in factors], p)),
        np.arange(n_free) if order is None else np.ascontiguousarray(order, dtype=np.int64),
        np.zeros((0, 0)) if whiten is None else _plain(whiten),
        np.zeros(0) if middle is None else _plain(middle),
        _plain(regression.to_raw if raw else np.eye(p)),
        _plain(
            _stacked(
                [_padded(f.to_raw if raw else np.eye(f.n_effects), most) for f in factors], most
            )
        ),
    )
    return Kernel(
        loop.log_joint,
        arrays,
        _variables(regression) if order is None else (("coordinates", (n_free,)),),
        expansion=loop.expand,
        outputs=regression.outputs,
        initial=_initial(regression) if initial is None else initial,
        standard=whiten is not None,
    )


def _ranks(regression: Regression) -> list[int]:
    """Positions of the factors, the largest first."""
    if not regression.factors:
        return []
    first = regression.largest
    return [first, *(k for k in range(len(regression.factors)) if k != first)]


def _plain(values: Array) -> Array:
    return np.ascontiguousarray(values, dtype=float)


def _stacked(parts: list[Array], width: int) -> Array:
    return np.concatenate([np.zeros((0, width)), *parts])


def _padded(matrix: Array, width: int) -> Array:
    return np.pad(matrix, ((0, 0), (0, width - matrix.shape[1])))


def _chunks(regression: Regression, swept: bool) -> tuple[Array, Array]:
    """Where each group's rows start, and the first row and group of each chunk, and the ends."""
    n = len(regression.offset)
    if not swept:
        cuts = np.append(np.arange(0, n, _CHUNK), n)
        return np.zeros(1, dtype=np.int64), np.column_stack([cuts, np.zeros_like(cuts)])
    factor = regression.factors[regression.largest]
    starts = np.searchsorted(factor.index, np.arange(factor.size + 1))
    cuts = [0]
    while cuts[-1] < factor.size:
        fits = int(np.searchsorted(starts, starts[cuts[-1]] + _CHUNK, side="right")) - 1
        cuts.append(min(max(fits, cuts[-1] + 1), factor.size))
    groups = np.array(cuts)
    return starts.astype(np.int64), np.column_stack([starts[groups], groups]).astype(np.int64)


def _table(regression: Regression, ranks: list[int]) -> Array:
    """The factors as the loop reads them, the largest first."""
    p = regression.columns.shape[1]
    outputs = dict(zip((name for name, _ in regression.outputs), _places(regression), strict=True))
    table = np.zeros((len(ranks), at.OUTPUT + 1), dtype=np.int64)
    column = level = matrix = cross = 0
    for row, k in enumerate(ranks):
        factor = regression.factors[k]
        q, size = factor.n_effects, factor.size
        table[row, at.EFFECTS], table[row, at.GROUPS] = q, size
        table[row, at.THETA], table[row, at.COLUMN] = regression.starts[k], column
        table[row, at.INDEX], table[row, at.LEVELS] = row, level
        table[row, at.MATRIX], table[row, at.CROSS] = matrix, cross
        table[row, at.CENTRED] = regression.parametrization == "centered"
        table[row, at.ONES] = q == 1 and bool((factor.effects == 1.0).all())
        table[row, at.OUTPUT] = outputs[factor.labels[0]]
        column, level, matrix = column + q, level + q * size, matrix + q * q * size
        cross += q * size * p
    return table


def _places(regression: Regression) -> list[int]:
    sizes = [int(np.prod(shape)) for _, shape in regression.outputs]
    return [sum(sizes[:i]) for i in range(len(sizes))]


def _prior_table(priors: Sequence[Prior]) -> Array:
    """Kind, loc, inverse scale and degrees of freedom of each coefficient's prior."""
    table = np.zeros((len(priors), 4))
    for row, prior in zip(table, priors, strict=True):
        if isinstance(prior, StudentT):
            row[:] = loop.STUDENT, prior.loc, 1 / prior.scale, prior.df
        elif isinstance(prior, Normal):
            row[:] = loop.NORMAL, prior.loc, 1 / prior.scale, 0.0
    return table


_SPREADS = {HalfCauchy: HALF_CAUCHY, HalfNormal: HALF_NORMAL, Exponential: EXPONENTIAL}


def _spreads(factor: Grouped) -> Array:
    """Kind and scale of each standard deviation's prior, and where its logarithm bends."""
    kind, scale = _SPREADS[type(factor.spread)], factor.spread.scale  # type: ignore[attr-defined]
    return np.column_stack([np.tile([kind, scale], (factor.n_effects, 1)), factor.bend])


def _constant(regression: Regression) -> float:
    """What the log density has whatever the parameters."""
    total = regression.constant
    # a prior's density where its loop's terms vanish is its constant
    for prior in regression.priors:
        total += float(prior.log_density(prior.loc))  # type: ignore[attr-defined]
    for factor in regression.factors:
        q = factor.n_effects
        total += q * float(factor.spread.log_density(0.0))
        total -= 0.5 * LOG_2PI * q * factor.size
        shapes = factor.correlation.shapes(q)
        total -= float(betaln(shapes, shapes).sum())
    return total


def _variables(regression: Regression) -> Shapes:
    """PyMC's free variables, in its order."""
    kind = {"mixed": "free", "centered": "centered", "noncentered": "z"}
    found = list(regression.variables)
    for factor in regression.factors:
        q = factor.n_effects
        found.append((f"{factor.own}sigma_{factor.name}_log__", (q,)))
        if q > 1:
            found.append((f"unit_partial_{factor.name}_logodds__", (q * (q - 1) // 2,)))
        prefix = kind[regression.parametrization]
        found += [(f"{prefix}_{label}", (factor.size,)) for label in factor.labels]
    return tuple(found)


def _initial(regression: Regression) -> Array:
    """The centres of the priors, no correlation and no deviations."""
    start = np.zeros(regression.n_free)
    loc = np.array([prior.loc for prior in regression.priors])  # type: ignore[attr-defined]
    start[: len(loc)] = loc
    for factor, first in zip(regression.factors, regression.starts, strict=True):
        scale = factor.spread.scale  # type: ignore[attr-defined]
        start[first : first + factor.n_effects] = np.log(scale)
        if regression.parametrization == "centered":
            coefficients = np.repeat(factor.claimed @ loc, factor.size)
            start[first + factor.n_spreads : first + factor.n_free] = coefficients
    return start
