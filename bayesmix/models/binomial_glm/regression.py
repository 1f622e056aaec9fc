"""A binomial regression with groups as the compiled density sees it, without formula or units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import gammaln

from bayesmix.design.factors import Factor
from bayesmix.models.binomial_glm.in_pymc import STANDARD
from bayesmix.priors import LKJ, Exponential, HalfCauchy, HalfNormal, Normal, Prior, StudentT
from bayesmix.protocols import Array, Design

Shapes = tuple[tuple[str, tuple[int, ...]], ...]
"""Names and shapes of parameters, in order."""
NO_BEND = -1e30
"""A bend so far below that there is none."""


@dataclass(frozen=True, eq=False)
class Grouped:
    """One grouping factor: its rows' groups and effects, its priors, its pivot.

    Parameters
    ----------
    name, labels
        The factor and its deviations, such as ``edu`` and ``("1|edu", "sex|edu")``.
    index
        Group of each row, (obs,).
    effects
        Columns whose coefficients vary, in standard coordinates (obs, effect).
    size
        Number of groups.
    own
        What precedes the name of the standard deviations' variable in PyMC.
    spread, correlation
        Priors of each standard deviation and of the correlations.
    bend
        Where the logarithm of each standard deviation bends (:mod:`.glm_groups`), (effect,).
    to_raw
        Effects in the units of the data are this matrix times standard ones (effect, effect).
    claimed
        Effects of the population about which ``centered`` centres: (effect, column) times the
        population's coefficients.
    information, score, cross
        Gaussian reading of each group's likelihood: (group, effect, effect), (group, effect) and
        (group, effect, column); zero is ``noncentered``.
    """

    name: str
    labels: tuple[str, ...]
    index: Array
    effects: Array
    size: int
    own: str
    spread: Prior
    correlation: LKJ
    bend: Array
    to_raw: Array
    claimed: Array
    information: Array
    score: Array
    cross: Array

    @property
    def n_effects(self) -> int:
        """Number of effects, q."""
        return self.effects.shape[1]

    @property
    def n_spreads(self) -> int:
        """Number of standard deviations and correlations."""
        return self.n_effects * (self.n_effects + 1) // 2

    @property
    def n_free(self) -> int:
        """Number of free parameters."""
        return self.n_spreads + self.n_effects * self.size


@dataclass(frozen=True, eq=False)
class Regression:
    """A binomial regression with groups, every matrix in the coordinates of its priors.

    Parameters
    ----------
    terms
        Names and shapes of the population's reported parameters.
    variables
        Names and shapes of its free parameters in PyMC, in the order of the columns.
    columns
        Predictors (obs, column).
    priors
        Of the coefficients, one a column.
    to_raw
        Reported coefficients are this matrix times the free ones (reported, column).
    constant
        What the rows add to the log density whatever the parameters.
    parametrization
        ``mixed``, ``centered`` or ``noncentered``.
    link
        ``logit``, ``probit`` or ``cloglog``.
    """

    terms: Shapes
    variables: Shapes
    columns: Array
    successes: Array
    trials: Array
    offset: Array
    priors: tuple[Prior, ...]
    to_raw: Array
    factors: tuple[Grouped, ...]
    constant: float
    parametrization: str
    link: str = "logit"

    @property
    def starts(self) -> list[int]:
        """Where each factor's free parameters begin."""
        first = self.columns.shape[1]
        return [first + sum(f.n_free for f in self.factors[:k]) for k in range(len(self.factors))]

    @property
    def n_free(self) -> int:
        """Number of free parameters."""
        return self.columns.shape[1] + sum(factor.n_free for factor in self.factors)

    @property
    def largest(self) -> int:
        """The factor that is swept: that with most groups."""
        return int(np.argmax([factor.size for factor in self.factors]))

    @property
    def outputs(self) -> Shapes:
        """Names and shapes of the reported parameters."""
        found = list(self.terms)
        for factor in self.factors:
            q = factor.n_effects
            found += [(label, (factor.size,)) for label in factor.labels]
            found.append((f"sigma_{factor.name}", (q,)))
            if q > 1:
                found.append((f"corr_{factor.name}", (q, q)))
        return tuple(found)

    def predictor(self, beta: Array, effects: Sequence[Array]) -> Array:
        """Linear predictor by row, of coefficients (column,) and effects (effect, group)."""
        eta = self.offset + self.columns @ beta
        for factor, own in zip(self.factors, effects, strict=True):
            eta = eta + (own[:, factor.index].T * factor.effects).sum(axis=1)
        return eta


def of(design: Design, parametrization: str) -> Regression | None:
    """The regression that a design of ``BinomialGLM`` states, rows in order and counted together.

    None where a prior is of a kind that the loop does not know.
    """
    priors, matrices, arrays = design.state.priors, design.state.matrices, design.arrays
    own = [priors.of_term(term, matrices) for term in matrices.terms]
    spreads = [priors.of_factor(factor, "sigma") for factor in matrices.factors]
    if not all(prior is None or isinstance(prior, Normal | StudentT) for prior in own):
        return None
    if not all(isinstance(prior, HalfCauchy | HalfNormal | Exponential) for prior in spreads):
        return None
    order, variables, kinds = _population(design, own)
    to_raw = arrays.get("to_raw", np.eye(len(order)))[:, order]
    claimed: set[str] = set()
    successes, trials = (np.asarray(arrays[name], dtype=float) for name in ("successes", "trials"))
    weight = design.case_weight
    constant = _binomial_constant(successes, trials, weight)
    if weight is not None:
        successes, trials = weight * successes, weight * trials
    terms = tuple((t.name, () if t.scalar else (len(t.levels),)) for t in matrices.terms)
    found = Regression(
        terms,
        variables,
        arrays["X"] @ to_raw,
        successes,
        trials,
        np.zeros(design.n_obs) + arrays.get("offset", 0.0),
        kinds,
        to_raw,
        tuple(_grouped(f, design, to_raw, claimed, parametrization) for f in matrices.factors),
        constant,
        parametrization,
        priors.link,
    )
    return in_order(aggregated(found))


def _population(
    design: Design, own: Sequence[Prior | None]
) -> tuple[Array, Shapes, tuple[Prior, ...]]:
    """Columns in the order of PyMC's variables, those variables, and the prior of each column."""
    priors, terms = design.state.priors, design.state.matrices.terms
    default = np.flatnonzero(priors.defaults(design.state.matrices))
    order = [int(column) for column in default]
    variables: list[tuple[str, tuple[int, ...]]] = []
    kinds: list[Prior] = [Normal(priors.loc[j], priors.scale) for j in default]
    if len(default):
        variables.append(("standard coefficients", (len(default),)))
    for term, prior in zip(terms, own, strict=True):
        if prior is not None:
            width = term.columns.stop - term.columns.start
            order += range(term.columns.start, term.columns.stop)
            variables.append((term.name, () if term.scalar else (width,)))
            kinds += [prior] * width
    return np.array(order, dtype=int), tuple(variables), tuple(kinds)


def _grouped(
    factor: Factor, design: Design, to_raw: Array, claimed: set[str], parametrization: str
) -> Grouped:
    """One factor, with the pivot of PyMC's reading."""
    arrays, matrices, name = design.arrays, design.state.matrices, factor.name
    standard = design.state.priors.groups[name]
    q, size = len(factor.effects), len(factor.levels)
    position = {term.name: term.columns.start for term in matrices.terms if term.scalar}
    centre = np.zeros((q, to_raw.shape[1]))
    for j, effect in enumerate(factor.effects):
        if effect in position and effect not in claimed:
            centre[j] = to_raw[position[effect]]
    claimed.update(factor.effects)
    centre = standard.matrix @ centre
    pivot = (arrays[f"{kind}_{name}"] for kind in ("information", "score", "cross"))
    information, score, cross = (part * (parametrization == "mixed") for part in pivot)
    cross = cross @ to_raw[matrices.free_columns] + information @ centre
    return Grouped(
        name,
        tuple(factor.deviation(effect) for effect in factor.effects),
        arrays[f"index_{name}"],
        arrays.get(f"standard_{name}", arrays[f"Z_{name}"]),
        size,
        "" if standard.is_identity else STANDARD,
        design.state.priors.of_factor(factor, "sigma"),
        design.state.priors.of_factor(factor, "corr"),
        np.full(q, NO_BEND),
        standard.inverse,
        centre,
        information,
        score,
        cross,
    )


def aggregated(regression: Regression) -> Regression:
    """The same regression with rows that repeat counted together."""
    parts = [regression.columns, regression.offset[:, None]]
    for factor in regression.factors:
        parts += [factor.index[:, None], factor.effects]
    rows = np.column_stack(parts)
    key = np.zeros(len(rows))
    for column, weight in zip(
        rows.T, np.random.default_rng(0).normal(size=rows.shape[1]), strict=True
    ):
        key += weight * column
    _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
    if len(first) == len(rows) or not np.array_equal(rows, rows[first[inverse]]):
        return regression
    successes = np.bincount(inverse, regression.successes, len(first))
    trials = np.bincount(inverse, regression.trials, len(first))
    return replace(_taken(regression, first), successes=successes, trials=trials)


def in_order(regression: Regression) -> Regression:
    """The same regression with rows in the order of the largest factor's groups."""
    if not regression.factors:
        return regression
    index = regression.factors[regression.largest].index
    return _taken(regression, np.argsort(index, kind="stable"))


def _taken(regression: Regression, rows: Array) -> Regression:
    parts = ("columns", "successes", "trials", "offset")
    factors = tuple(
        replace(factor, index=factor.index[rows], effects=factor.effects[rows])
        for factor in regression.factors
    )
    return replace(
        regression, factors=factors, **{name: getattr(regression, name)[rows] for name in parts}
    )


def _binomial_constant(successes: Array, trials: Array, weight: Array | None) -> float:
    """The sum of the log binomial coefficients."""
    rest = trials - successes
    terms = gammaln(trials + 1) - gammaln(successes + 1) - gammaln(rest + 1)
    return float(terms.sum() if weight is None else weight @ terms)
