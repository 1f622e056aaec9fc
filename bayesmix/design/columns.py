"""Columns of a table as a network takes them: numbers as they are, labels as indicators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bayesmix.design import indicators
from bayesmix.design import table as tables
from bayesmix.design.spread import require_input
from bayesmix.errors import DataError, listed
from bayesmix.protocols import Array


@dataclass(frozen=True)
class Columns:
    """Names of the columns and, of those that hold labels, the levels; None marks numbers."""

    names: tuple[str, ...]
    levels: tuple[tuple[str, ...] | None, ...]

    @classmethod
    def of(cls, names: Sequence[str], table: pd.DataFrame) -> Columns:
        """Read the levels off training data.

        Raises
        ------
        DataError
            A column is missing or not finite, holds numbers as text, or a label for every row; it
            has one value, or varies by more or less than double precision can hold.
        """
        checked = tables.columns(table, list(names))
        for name in names:
            indicators.check_text(checked[name])
        levels = tuple(_levels(checked[name]) for name in names)
        for name, known in zip(names, levels, strict=True):
            indicators.check_levels(str(name), known or (), len(checked))
            _require_spread(checked[name], known)
        return cls(tuple(names), levels)

    @property
    def labels(self) -> tuple[str, ...]:
        """A label for each number that the network sees, such as ``kind[a]``."""
        found: list[str] = []
        for name, levels in zip(self.names, self.levels, strict=True):
            found += [name] if levels is None else [f"{name}[{level}]" for level in levels]
        return tuple(found)

    def values(self, table: pd.DataFrame) -> Array:
        """The numbers (obs, input) of a table.

        Raises
        ------
        DataError
            A column is missing, not finite, of another kind than in training, or has new labels.
        """
        checked = tables.columns(table, list(self.names))
        parts = [
            _numbers(checked[name]) if levels is None else _indicators(checked[name], levels)
            for name, levels in zip(self.names, self.levels, strict=True)
        ]
        return np.concatenate(parts, axis=1)


def _require_spread(column: pd.Series, levels: tuple[str, ...] | None) -> None:
    if levels is None:
        require_input(str(column.name), column.to_numpy(dtype=float))
    elif len(levels) == 1 and len(column) > 1:
        raise DataError(
            f"the input {str(column.name)!r} has the label {levels[0]!r} in every row, so "
            "nothing can depend on it; drop it"
        )


def _levels(column: pd.Series) -> tuple[str, ...] | None:
    if isinstance(column.dtype, pd.CategoricalDtype):
        return tuple(column.cat.remove_unused_categories().cat.categories.astype(str))
    if column.dtype.kind in "iufb":
        return None
    return tuple(sorted(set(column.astype(str))))


def _numbers(column: pd.Series) -> Array:
    if column.dtype.kind not in "iufb":
        raise DataError(
            f"column {str(column.name)!r} held numbers in training and holds {column.dtype} here"
        )
    return column.to_numpy(dtype=float)[:, None]


def _indicators(column: pd.Series, levels: tuple[str, ...]) -> Array:
    texts = column.astype(str)
    unknown = sorted(set(texts) - set(levels))
    if unknown:
        raise DataError(
            f"column {str(column.name)!r} has labels that training did not see: {listed(unknown)}; "
            f"known: {listed(levels)}"
        )
    codes = pd.Categorical(texts, categories=list(levels)).codes
    return np.eye(len(levels))[codes]
