"""Binomial outcomes of rows in groups: data of a likelihood, derivatives by the predictor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from bayesmix.marginal import links
from bayesmix.marginal.curvature import Effects
from bayesmix.protocols import Array


@dataclass(frozen=True, eq=False)
class LogitCounts:
    """Binomial outcomes given their logits: log probability and three derivatives of it."""

    successes: Array
    trials: Array

    def log_prob(self, logits: Array) -> Array:
        """By row, without the binomial coefficient."""
        softplus = np.maximum(logits, 0) + np.log1p(np.exp(-np.abs(logits)))
        return self.successes * logits - self.trials * softplus

    def read(self, logits: Array) -> LogitReading:
        """Sum of the log probabilities, and their first two derivatives by row."""
        small = np.exp(-np.abs(logits))
        total = 1 + small
        inverse = 1 / total
        p = np.where(logits >= 0, inverse, small * inverse)
        softplus = np.maximum(logits, 0) + np.log(total)
        value = self.successes @ logits - self.trials @ softplus
        score, weight = self.successes - self.trials * p, self.trials * (small * inverse * inverse)
        return LogitReading(float(value), score, weight, p)


class Reading(Protocol):
    """The outcomes at some linear predictors, summed and by row."""

    @property
    def value(self) -> float:
        """The log probability."""
        ...

    @property
    def score(self) -> Array:
        """Its derivative by the linear predictor (obs,)."""
        ...

    @property
    def weight(self) -> Array:
        """Minus its second derivative, the observed information (obs,)."""
        ...

    @property
    def slope(self) -> Array:
        """Derivative of the information by the linear predictor (obs,)."""
        ...


@dataclass(frozen=True, eq=False)
class LogitReading:
    """The outcomes at some logits: log probability; score, information and probability by row."""

    value: float
    score: Array
    weight: Array
    probability: Array

    @property
    def slope(self) -> Array:
        """Derivative of the information by the logit."""
        return self.weight * (1 - 2 * self.probability)


@dataclass(frozen=True, eq=False)
class LinkedCounts:
    """Binomial outcomes given the linear predictors of another link."""

    successes: Array
    trials: Array
    link: str

    def log_prob(self, predictors: Array) -> Array:
        """By row, without the binomial coefficient."""
        log_p, log_q = links.log_probabilities(self.link, predictors)
        return self.successes * log_p + (self.trials - self.successes) * log_q

    def read(self, predictors: Array) -> LinkedReading:
        """Sum of the log probabilities, and three derivatives by row."""
        (a1, a2, a3), (b1, b2, b3) = links.slopes(self.link, predictors)
        y, rest = self.successes, self.trials - self.successes
        value = float(self.log_prob(predictors).sum())
        return LinkedReading(value, y * a1 + rest * b1, -y * a2 - rest * b2, -y * a3 - rest * b3)


@dataclass(frozen=True, eq=False)
class LinkedReading:
    """The outcomes at some linear predictors: log probability; three derivatives by row."""

    value: float
    score: Array
    weight: Array
    slope: Array


@dataclass(frozen=True, eq=False)
class GroupedLogit:
    r"""A binomial regression with group effects: data, and nothing fitted.

    .. math:: \mathrm{link}(p_i) = x_i^\top\beta + o_i + \sum_f s_{if}^\top T_f z_{f,g_f(i)},
              \qquad z \sim \mathrm{N}(0, I).

    Parameters
    ----------
    common
        x, shape (obs, common).
    offset
        o, shape (obs,).
    successes, trials
        Counts, shape (obs,).
    effects
        s and g of each factor. Factors of one grouping are independent of each other.
    constant
        What the log-likelihood holds besides: the logs of binomial coefficients.
    link
        ``"logit"``, ``"probit"`` or ``"cloglog"``.
    """

    common: Array
    offset: Array
    successes: Array
    trials: Array
    effects: tuple[Effects, ...]
    constant: float = 0.0
    link: str = "logit"

    @property
    def outcome(self) -> LogitCounts | LinkedCounts:
        """The outcomes, as a function of their linear predictors."""
        counts = self.successes.astype(float), self.trials.astype(float)
        return LogitCounts(*counts) if self.link == "logit" else LinkedCounts(*counts, self.link)

    @classmethod
    def of(
        cls,
        common: Array,
        offset: Array,
        successes: Array,
        trials: Array,
        effects: Sequence[Effects],
        link: str = "logit",
        weight: Array | None = None,
    ) -> GroupedLogit:
        """With the logs of the binomial coefficients summed, each row counted ``weight`` times."""
        from scipy.special import gammaln

        failures = trials - successes
        terms = gammaln(trials + 1) - gammaln(successes + 1) - gammaln(failures + 1)
        if weight is not None:
            successes, trials, terms = weight * successes, weight * trials, weight * terms
        return cls(common, offset, successes, trials, tuple(effects), float(terms.sum()), link)


def aggregated(data: GroupedLogit) -> GroupedLogit:
    """The same likelihood with rows that repeat counted as one, where many do.

    Rows are sorted by one random combination of their columns, and merged only if those beside
    each other are then equal, entry by entry.
    """
    columns = [data.common, data.offset[:, None]]
    columns += [part for e in data.effects for part in (e.columns, e.index[:, None].astype(float))]
    whole = np.concatenate(columns, axis=1)
    # fixed weights: the same data are merged in the same way
    key = whole @ np.random.default_rng(0).normal(size=whole.shape[1])
    order = np.argsort(key, kind="stable")
    ordered = whole[order]
    new = np.concatenate([[True], key[order][1:] != key[order][:-1]])
    if 2 * new.sum() > len(whole):
        return data
    differs = (ordered[1:] != ordered[:-1]).any(axis=1)
    new[1:] |= differs
    groups, first = np.cumsum(new) - 1, order[new]
    return replace(
        data,
        common=data.common[first],
        offset=data.offset[first],
        successes=np.bincount(groups, data.successes[order]),
        trials=np.bincount(groups, data.trials[order]),
        effects=tuple(
            replace(e, columns=e.columns[first], index=e.index[first]) for e in data.effects
        ),
    )
