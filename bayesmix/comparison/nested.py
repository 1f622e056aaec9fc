"""Nested fits of maximum likelihood, and the likelihood-ratio tests between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from bayesmix.marginal.outcomes import GroupedLogit
from bayesmix.protocols import Array, HasGroups
from bayesmix.result import Fit

_IN_SPAN = 1e-8
"""Share of a column that may be outside the span of others and still be rounding."""


@dataclass(frozen=True)
class RatioTest:
    r"""Twice the log-likelihood that a larger model gains on one nested in it.

    .. math:: 2 (\log L_1 - \log L_0) \sim \chi^2_{d} \quad\text{where the smaller model holds.}

    A standard deviation of zero lies on the edge of what is possible. Where the larger model adds
    one, the chi-square is too wide and its p-value too large; for a single standard deviation the
    right one is half of it.

    Parameters
    ----------
    smaller, larger
        Names of the fits.
    statistic
        Twice the gain, in nats.
    df
        Parameters that the larger model has more.
    p_value
        Of the chi-square.
    new_spreads
        Standard deviations of groups that the larger model adds.

    References
    ----------
    Wilks (1938), doi:10.1214/aoms/1177732360; Self & Liang (1987), doi:10.2307/2289471.
    """

    smaller: str
    larger: str
    statistic: float
    df: int
    p_value: float
    new_spreads: int

    def __str__(self) -> str:
        head = (
            f"Likelihood-ratio test of {self.smaller!r} within {self.larger!r}: "
            f"{self.statistic:.2f} on {self.df} degree{'s' if self.df > 1 else ''} of freedom, "
            f"p = {self.p_value:.2g}"
        )
        if not self.new_spreads:
            return f"{head}."
        edge = "a spread of zero lies on the edge of what is possible, so that this p is too large"
        if self.new_spreads == self.df == 1:
            return f"{head}; {edge}: half of it, {self.p_value / 2:.2g}, is right."
        return f"{head}; {edge}."


def ratio_tests(fits: Mapping[str, Fit], log_likelihood: Mapping[str, float]) -> list[RatioTest]:
    """A test for every pair of fits of which one is nested in the other.

    Nested are regressions whose common effects are combinations of the larger one's, and whose
    group effects are each among those of one factor there.
    """
    from scipy.stats import chi2

    found: list[RatioTest] = []
    data: dict[str, GroupedLogit] = {
        name: fit.model.grouped(fit.design)
        for name, fit in fits.items()
        if isinstance(fit.model, HasGroups)
    }
    free = {name: int(fits[name].tree.attrs["n_parameters"]) for name in data}
    for small, large in permutations(data, 2):
        if free[small] >= free[large] or not _is_nested(data[small], data[large]):
            continue
        statistic = max(2 * (log_likelihood[large] - log_likelihood[small]), 0.0)
        df = free[large] - free[small]
        spreads = [sum(e.n_effects for e in data[name].effects) for name in (small, large)]
        p_value = float(chi2.sf(statistic, df))
        found.append(RatioTest(small, large, statistic, df, p_value, spreads[1] - spreads[0]))
    return found


def _is_nested(small: GroupedLogit, large: GroupedLogit) -> bool:
    """Whether one regression is a case of the other."""
    if small.link != large.link:
        return False
    if not np.array_equal(small.offset, large.offset):
        return False
    if not _in_span(small.common, large.common):
        return False
    return all(
        any(
            _same_groups(own.index, other.index) and _in_span(own.columns, other.columns)
            for other in large.effects
        )
        for own in small.effects
    )


def _in_span(columns: Array, others: Array) -> bool:
    if not columns.shape[1]:
        return True
    if not others.shape[1]:
        return False
    scaled = others / np.maximum(np.abs(others).max(axis=0), 1e-300)
    rest = columns - scaled @ np.linalg.lstsq(scaled, columns, rcond=None)[0]
    size = np.sqrt((columns**2).sum(axis=0))
    return bool((np.sqrt((rest**2).sum(axis=0)) <= _IN_SPAN * np.maximum(size, 1e-300)).all())


def _same_groups(one: Array, other: Array) -> bool:
    """Whether two codings part the rows alike, whatever the groups are called."""
    both = len(np.unique(np.stack([one, other]), axis=1).T)
    return both == len(np.unique(one)) == len(np.unique(other))
