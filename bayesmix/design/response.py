"""The left-hand side of a binomial formula: counts, 0/1 outcomes or two labels."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bayesmix.design import table
from bayesmix.errors import DataError, FormulaError, SpecError, listed
from bayesmix.protocols import CASE_WEIGHT, Array

_NAME = r"(`[^`]+`|[^\W\d][\w.]*)"
_COUNTS = re.compile(rf"(?:p|prop|proportion)\(\s*{_NAME}\s*,\s*({_NAME}|\d+)\s*\)")
_CBIND = re.compile(rf"cbind\(\s*{_NAME}\s*,\s*{_NAME}\s*(?:-\s*{_NAME}\s*)?\)")
_LABEL = re.compile(rf"{_NAME}\s*\[\s*['\"]?([^'\"\]]+)['\"]?\s*\]")
_PLAIN = re.compile(_NAME)
_EXACT = 2**53
"""Beyond this, whole numbers have gaps in double precision."""


@dataclass(frozen=True)
class Outcome:
    """How to read successes and trials: columns, a fixed number of trials, a success label.

    ``labels`` holds both labels where the success was not named, so that a third one is noticed.
    ``adds`` says that ``trials`` names the failures, to which the successes add.
    """

    target: str
    trials: str | int
    success: str | None = None
    labels: tuple[str, ...] = ()
    adds: bool = False

    def columns(self, data: pd.DataFrame) -> pd.DataFrame:
        """The columns of the outcome."""
        names = [self.target, *([self.trials] if isinstance(self.trials, str) else [])]
        return data.loc[:, list(dict.fromkeys(names))]

    def values(self, data: pd.DataFrame) -> dict[str, Array]:
        """``successes`` and ``trials`` of every row, checked.

        Raises
        ------
        DataError
            Counts that are negative, fractional, text or above the trials; a column that is
            neither 0/1 nor two labels.
        """
        trials = self.counted(data)
        if self.success is not None:
            return {"successes": self._labelled(data[self.target]), "trials": trials}
        if self.trials == 1:
            return {"successes": _zero_one(data[self.target]), "trials": trials}
        successes = counts(data[self.target])
        above = np.flatnonzero(successes > trials)
        if above.size:
            row = int(above[0])
            raise DataError(
                f"successes above trials: {self.target!r} is {successes[row]} of {trials[row]} in "
                f"row {row}; {above.size} row(s) in all. Is it p(successes, trials)?"
            )
        return {"successes": successes, "trials": trials}

    def counted(self, data: pd.DataFrame) -> Array:
        """Trials of every row."""
        if isinstance(self.trials, int):
            return np.full(len(data), self.trials, dtype=np.int64)
        return counts(data[self.trials]) + (counts(data[self.target]) if self.adds else 0)

    def require(self, arrays: Mapping[str, Array]) -> None:
        """Raise a DataError unless the rows hold an outcome to be scored."""
        if "successes" not in arrays:
            trials = f" and {self.trials!r}" if isinstance(self.trials, str) else ""
            raise DataError(
                f"these rows cannot be scored: give the outcome {self.target!r}{trials}"
            )

    def _labelled(self, column: pd.Series) -> Array:
        text = column.astype(str)
        unknown = sorted(set(text) - set(self.labels)) if self.labels else []
        if unknown:
            raise DataError(
                f"column {self.target!r} holds {listed(unknown)}, unseen in training; known: "
                f"{listed(self.labels)}"
            )
        return (text == self.success).to_numpy().astype(np.int64)


def read_outcome(lhs: str, data: pd.DataFrame) -> Outcome:
    """Parse ``p(high, total)``, ``y`` or ``y['yes']`` against the data.

    Raises
    ------
    FormulaError
        The left-hand side has another form.
    DataError
        A column is missing, or a column of labels has not exactly two.
    """
    if len(data) < 2:
        raise DataError("data has one row: a regression needs at least two")
    if match := _COUNTS.fullmatch(lhs):
        trials = match[2]
        outcome = Outcome(_bare(match[1]), int(trials) if trials.isdigit() else _bare(trials))
    elif match := _CBIND.fullmatch(lhs):
        outcome = _bound(lhs, [_bare(name) for name in match.groups() if name])
    elif match := _LABEL.fullmatch(lhs):
        outcome = Outcome(_bare(match[1]), 1, match[2].strip())
    elif match := _PLAIN.fullmatch(lhs):
        outcome = Outcome(_bare(match[1]), 1)
    else:
        raise FormulaError(
            f"cannot read the response {lhs!r}: write p(successes, trials) or cbind(successes, "
            "failures), a column of 0 and 1, or column['success']"
        )
    names = [outcome.target, *([outcome.trials] if isinstance(outcome.trials, str) else [])]
    table.columns(data, names)
    if not np.any(outcome.counted(data)):
        raise DataError(f"every row of {lhs!r} has 0 trials: nothing was observed")
    return _with_label(outcome, data[outcome.target])


def _bound(lhs: str, names: list[str]) -> Outcome:
    """``cbind(y, failures)``, or ``cbind(y, n - y)`` with n the trials."""
    if len(names) == 2:
        return Outcome(names[0], names[1], adds=True)
    if names[2] != names[0]:
        raise FormulaError(
            f"cannot read the response {lhs!r}: write cbind({names[0]}, failures), or "
            f"cbind({names[0]}, {names[1]} - {names[0]}) where {names[1]} are the trials"
        )
    return Outcome(names[0], names[1])


def _with_label(outcome: Outcome, column: pd.Series) -> Outcome:
    if column.dtype.kind in "iufb" and outcome.success is None:
        return outcome
    if outcome.trials != 1:
        _numbers(column)
    labels = sorted(column.astype(str).unique())
    if isinstance(column.dtype, pd.CategoricalDtype):
        labels = [str(level) for level in column.cat.remove_unused_categories().cat.categories]
    if outcome.success is None:
        if len(labels) != 2:
            raise DataError(
                f"column {outcome.target!r} must hold 0/1 or two labels, got {len(labels)}: "
                f"{listed(labels[:5])}; name the success as {outcome.target}['label']"
            )
        return Outcome(outcome.target, 1, labels[1], tuple(labels))
    if outcome.success not in labels:
        raise DataError(
            f"column {outcome.target!r} never holds {outcome.success!r}, only {listed(labels[:9])}"
        )
    return outcome


def new_trials(outcome: Outcome, data: pd.DataFrame) -> dict[str, Array]:
    """Trials (and successes, where they are given) of rows to predict; one trial when unsaid."""
    if outcome.target in data.columns:
        known = isinstance(outcome.trials, int) or outcome.trials in data.columns
        if known and data[outcome.target].notna().all():
            return outcome.values(data)
    if isinstance(outcome.trials, str) and outcome.trials not in data.columns:
        return {"trials": np.ones(len(data), dtype=np.int64)}
    if outcome.adds and not (outcome.target in data.columns and data[outcome.target].notna().all()):
        return {"trials": np.ones(len(data), dtype=np.int64)}
    return {"trials": outcome.counted(data)}


def _zero_one(column: pd.Series) -> Array:
    values = _numbers(column)
    bad = np.flatnonzero((values != 0) & (values != 1))
    if bad.size:
        raise DataError(
            f"column {str(column.name)!r} must be 0 or 1, got {values[bad[0]]!s} in row {bad[0]}; "
            f"for counts write p({column.name}, trials) ~ ..., with a column of trials"
        )
    return values.astype(np.int64)


def counts(column: pd.Series) -> Array:
    """A column of counts, checked."""
    values = _numbers(column)
    checks = (
        (values < 0, "negative"),
        (values != np.floor(values), "not whole"),
        (values > _EXACT, "above 2**53"),
    )
    for wrong, what in checks:
        rows = np.flatnonzero(wrong)
        if rows.size:
            raise DataError(
                f"column {str(column.name)!r} must hold counts; {rows.size} value(s) are {what}, "
                f"first {values[rows[0]]!s} in row {rows[0]}"
            )
    return values.astype(np.int64)


def measured(column: pd.Series) -> Array:
    """A column of finite numbers, in double precision.

    Raises
    ------
    DataError
        Text, missing or infinite values, or True and False, which nothing has measured.
    """
    values = _numbers(column)
    if values.dtype.kind == "b":
        raise DataError(
            f"column {str(column.name)!r} holds True and False, and a density is of measured "
            "numbers: use BinomialGLM, or MixtureOfExperts with expert='binomial'"
        )
    return values.astype(float)


def case_weights(name: str | None, outcome: Outcome, data: pd.DataFrame) -> dict[str, Array]:
    """How many cases each row stands for, checked; nothing where no column says it.

    Raises
    ------
    SpecError
        The column is one of the outcome's.
    DataError
        The column is missing, not of numbers, negative or infinite.
    """
    if name is None:
        return {}
    if name in (outcome.target, outcome.trials):
        raise SpecError(
            f"weights={name!r} is a column of the outcome: trials are told by the formula, as "
            "p(successes, trials), and weights say how often a row counts"
        )
    column = table.columns(data, [name])[name]
    found = measured(column)
    bad = np.flatnonzero(~(np.isfinite(found) & (found >= 0)))
    if bad.size:
        raise DataError(
            f"weights={name!r}: a row cannot count {found[bad[0]]!s} times (row {bad[0]}, "
            f"{bad.size} row(s) in all); weights are finite and at least 0"
        )
    return {CASE_WEIGHT: found}


def _numbers(column: pd.Series) -> Array:
    if column.dtype.kind not in "iufb":
        raise DataError(
            f"column {str(column.name)!r} must hold numbers, got {column.iloc[0]!r} "
            f"({column.dtype}); convert it with .astype(float)"
        )
    table.columns(column.to_frame(), [str(column.name)])
    return column.to_numpy()


def _bare(name: str) -> str:
    return name.strip("`")
