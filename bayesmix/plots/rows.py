"""The rows of the data behind a figure: counts, groups, names to print, predictions for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bayesmix.design import formula as formulas
from bayesmix.design.response import Outcome, read_outcome
from bayesmix.errors import (
    MissingCapability,
    SpecError,
    UnknownName,
    brief,
    listed,
    shortened,
    suggestion,
)
from bayesmix.protocols import Array, Params
from bayesmix.result import Fit
from bayesmix.tree import read

Labels = Mapping[str, Mapping[Any, str]]
_VALUES = 20_000_000
"""Largest number of (sample, row) values held at a time: 160 MB."""
_MOST_LEVELS = 12
_SLICES = 10
_COLOURS = 6
MOST_GROUPS = 40
PAGE = 60
"""Groups that a figure of one row each shows at most: two screens, one page of a book."""

_NAME_WIDTH = 40
"""Characters of a label beside which there is still room for the data."""

"""Groups that one figure can hold."""


@dataclass(frozen=True)
class Counts:
    """Successes out of trials by row, and what to call them."""

    successes: Array
    trials: Array
    share: str
    predictors: list[str]


def counts(fit: Fit, what: str) -> Counts:
    """The counts that a binomial fit was made from.

    Raises
    ------
    MissingCapability
        The family has no successes and trials.
    """
    arrays = fit.design.arrays
    if "successes" not in arrays or "trials" not in arrays:
        raise MissingCapability(
            f"{what} is about shares of successes among trials; {type(fit.model).__name__} has none"
        )
    left, right = formulas.split(fit.model.formula)  # type: ignore[attr-defined]
    outcome = read_outcome(left, fit.data)
    return Counts(arrays["successes"], arrays["trials"], _share(outcome), formulas.variables(right))


def _share(outcome: Outcome) -> str:
    if isinstance(outcome.trials, str):
        among = f"{outcome.target} + {outcome.trials}" if outcome.adds else outcome.trials
        return f"share of {outcome.target} among {among}"
    if outcome.success is not None:
        return f"share of {outcome.target} = {outcome.success}"
    return f"share of {outcome.target}"


def check_labels(labels: Labels | None, data: pd.DataFrame) -> Labels:
    """Names to print by column and value, every one of which must be in the data.

    Raises
    ------
    SpecError, UnknownName
        Not a mapping of mappings; a column or a value that the data do not have.
    """
    labels = {} if labels is None else labels
    if not isinstance(labels, Mapping) or not all(isinstance(v, Mapping) for v in labels.values()):
        raise SpecError(
            "labels must map columns to names, as {'sex': {0: 'female', 1: 'male'}}, "
            f"got {brief(labels)}"
        )
    for column, names in labels.items():
        check_column(column, data, "labels")
        known = set(data[column].unique())
        absent = [value for value in names if value not in known]
        if absent:
            raise UnknownName(
                f"labels: column {column!r} never holds {listed(absent)}, only {listed(known)}"
            )
    return labels


def check_column(column: Any, data: pd.DataFrame, what: str) -> str:
    """A column of the fit's data, or an error that lists them."""
    if not isinstance(column, str) or column not in data.columns:
        hint = suggestion(str(column), map(str, data.columns))
        raise UnknownName(f"{what}: the fit has no column {brief(column)}: {hint}")
    return str(column)


def printed(column: str, value: Any, labels: Labels) -> str:
    """The name to print for a value of a column; a long text is cut."""
    return shortened(_named(column, value, labels) or str(value), _NAME_WIDTH)


def titled(column: str, value: Any, labels: Labels) -> str:
    """A value that is read away from its column: its own name, else ``sex 1``."""
    return shortened(_named(column, value, labels) or f"{column} {value}", _NAME_WIDTH)


def _named(column: str, value: Any, labels: Labels) -> str | None:
    """As given; by text, because groups of a fit are named by text, whatever the column held."""
    names = {str(key): str(name) for key, name in labels.get(column, {}).items()}
    return names.get(str(value))


def levels(column: pd.Series) -> list[Any]:
    """Values that occur, in the order to print them: of the categories, else ascending."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        present = set(column)
        return [level for level in column.cat.categories if level in present]
    return sorted(column.unique().tolist())


def sliced(column: pd.Series) -> pd.Series:
    """The column itself, or ten slices of equal size of a numeric column with many values."""
    if column.dtype.kind not in "iuf" or column.nunique() <= _MOST_LEVELS:
        return column
    cut = pd.qcut(column, _SLICES, duplicates="drop")
    found = column.groupby(cut, observed=True).agg(["min", "max"])
    names = [f"{low:.4g} to {high:.4g}" for low, high in found.to_numpy()]
    return cut.cat.remove_unused_categories().cat.rename_categories(names)


def chosen_columns(by: Any, data: pd.DataFrame, predictors: Sequence[str]) -> list[str]:
    """One or two columns that make the groups; by default the predictors with most values.

    Raises
    ------
    UnknownName, SpecError
        A column that is not there; more than two, or none that could be chosen.
    """
    if by is not None:
        wanted = [by] if isinstance(by, str) else list(by) if isinstance(by, (list, tuple)) else []
        if not 1 <= len(wanted) <= 2:
            raise SpecError(f"by must name one or two columns, got {brief(by)}")
        return [check_column(column, data, "by") for column in wanted]
    sizes = {column: sliced(data[column]).nunique() for column in predictors}
    ranked = sorted(sizes, key=lambda column: -sizes[column])
    if not ranked:
        raise SpecError(f"the formula has no predictors: choose by= from {listed(data.columns)}")
    room = min(_COLOURS, MOST_GROUPS // sizes[ranked[0]])
    return [ranked[0], *[column for column in ranked[1:] if sizes[column] <= room][:1]]


def predicted_counts(fit: Fit, membership: Array) -> Array:
    """Simulated successes of each group, (draw, group); ``membership`` is (row, group) of 0/1."""
    n = fit.design.n_obs
    kept = fit.tree["posterior"].sizes["chain"] * fit.tree["posterior"].sizes["draw"]
    draws = min(kept, max(200, _VALUES // n))
    return fit.sample(draws=draws)[fit.target].to_numpy() @ membership


@dataclass(frozen=True)
class Cells:
    """The distinct rows of predictors of a fit, each with its counts.

    Parameters
    ----------
    table
        One row a cell.
    trials, successes
        Summed over the rows of the data in each cell.
    """

    fit: Fit
    table: pd.DataFrame
    trials: Array
    successes: Array

    def curves(
        self, params: Params, *, changed: Mapping[str, Any] | None = None
    ) -> dict[str, Array]:
        """``probability`` and its link by (sample, cell), with columns set to one value each."""
        table = self.table.copy()
        for column, value in (changed or {}).items():
            table[column] = _constant(self.table[column], value)
        design = self.fit.model.new_design(table, self.fit.design)
        return self.fit.model.curves(params, design)

    def of_group(self, factor: str) -> Array:
        """The group of each cell, as a position among the levels seen in training."""
        design = self.fit.model.new_design(self.table, self.fit.design)
        return design.arrays[f"index_{factor}"]


def _constant(column: pd.Series, value: Any) -> pd.Series:
    """A column that holds one value; a categorical keeps its levels."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return pd.Series([value] * len(column), dtype=column.dtype)
    return pd.Series([value] * len(column))


def cells(fit: Fit, what: str) -> Cells:
    """Rows of the fit's data gathered by their predictors."""
    known = counts(fit, what)
    predictors = fit.data[known.predictors]
    position = predictors.groupby(known.predictors, observed=True, sort=False).ngroup().to_numpy()
    table = predictors.iloc[np.unique(position, return_index=True)[1]].reset_index(drop=True)
    sums = [np.bincount(position, x, len(table)) for x in (known.trials, known.successes)]
    return Cells(fit, table, *sums)


def grouping_factor(fit: Fit, by: Any, what: str) -> str:
    """The grouping factor asked for; None means the only one.

    Raises
    ------
    UnknownName, SpecError
        No such factor; several of them and none named.
    """
    factors = list(dict.fromkeys(
        str(name).split("|", 1)[1]
        for name in fit.tree["posterior"].data_vars
        if "|" in str(name)
    ))  # fmt: skip
    if by is None and len(factors) == 1:
        return factors[0]
    if not factors:
        raise SpecError(f"{what} needs group effects, as in '~ sex + (1 | edu)'; this fit has none")
    if by is None:
        raise SpecError(f"{what}: say by which of {listed(factors)}")
    if not isinstance(by, str) or by not in factors:
        hint = suggestion(str(by), factors)
        raise UnknownName(f"{what}: no group effects by {brief(by)}: {hint}")
    return str(by)


def group_levels(fit: Fit, factor: str) -> list[str]:
    """Names of a factor's groups, in the order of their positions."""
    posterior = fit.tree["posterior"].to_dataset()
    deviation = next(v for k, v in posterior.data_vars.items() if str(k).endswith(f"|{factor}"))
    return [str(level) for level in deviation[deviation.dims[-1]].to_numpy()]


def page(order: Sequence[int], which: str) -> tuple[list[int], str]:
    """The first groups, as many as a page holds, and a sentence where there are more."""
    kept = [int(group) for group in order[:PAGE]]
    more = f"{len(kept)} of {len(order)} groups are shown: {which}." if len(order) > PAGE else ""
    return kept, more


def draws_and_population(fit: Fit, factor: str) -> tuple[Params, Params]:
    """All draws, thinned where rows are very many, and the same without a factor's deviations.

    Deviations of other factors stay: what a group is pulled towards is its like in all else.
    """
    params = read.draws(fit.tree)
    n = len(next(iter(params.values())))
    step = max(1, n * fit.design.n_obs // _VALUES) if fit.design.n_obs > 1000 else 1
    params = {name: values[::step] for name, values in params.items()}
    tail = f"|{factor}"
    population = {k: np.zeros_like(v) if k.endswith(tail) else v for k, v in params.items()}
    return params, population
