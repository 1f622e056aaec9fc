"""Grouping factors: the groups that a column or several name, and the effects that vary by them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from bayesmix.protocols import Array, Params


@dataclass(frozen=True)
class Factor:
    """Effects that vary together by one grouping: ``(sex | edu)``.

    Effects of one grouping that stand in brackets of their own, as in ``(1 | g) + (0 + x | g)``,
    are independent: each bracket is a factor, with the same groups. As in lme4, the first is called
    by the grouping, ``g``, and the next ``g.1``; deviations are named by the grouping in all.

    Parameters
    ----------
    name
        Of the factor's own parameters, ``sigma_{name}`` and ``corr_{name}``.
    grouping
        The groups as written, e.g. ``edu`` or ``edu:state``.
    terms
        Keys of the effects in the evaluated formula, such as ``sex|edu``.
    columns
        The data columns that make it up.
    levels
        Labels of the groups seen in training.
    effects
        Names of the effects that vary, e.g. ``("Intercept", "sex")``.
    """

    name: str
    columns: tuple[str, ...]
    levels: tuple[str, ...]
    effects: tuple[str, ...]
    grouping: str
    terms: tuple[str, ...]

    @property
    def dims(self) -> tuple[str, str, str]:
        """Dims of groups, effects, and effects again (the other side of a correlation)."""
        return f"{self.grouping}_group", f"{self.name}_effect", f"{self.name}_effect_other"

    def spread(self, params: Params) -> tuple[Array, Array]:
        """Standard deviations (sample, effect) and correlations (sample, effect, effect)."""
        sigma, n = params[f"sigma_{self.name}"], len(self.effects)
        return sigma, params[f"corr_{self.name}"] if n > 1 else np.ones((len(sigma), 1, 1))

    def deviation(self, effect: str) -> str:
        """The name of a deviation as lme4 and bambi write it: ``1|edu``, ``sex|edu``."""
        return f"{'1' if effect == 'Intercept' else effect}|{self.grouping}"

    def labels(self, data: pd.DataFrame) -> list[str]:
        """The group that each row belongs to."""
        parts = [_group_text(data[column]) for column in self.columns]
        return [":".join(row) for row in zip(*parts, strict=True)]


def levels_of(columns: pd.DataFrame) -> tuple[str, ...]:
    """Labels of the groups that occur, in the order of their columns' values or categories."""
    parts = [_ordered(columns[name]) for name in columns]
    rows = np.unique(np.column_stack([codes for codes, _ in parts]), axis=0)
    texts = [_group_text(pd.Series(values)) for _, values in parts]
    labels = [":".join(text[i] for text, i in zip(texts, row, strict=True)) for row in rows]
    return tuple(dict.fromkeys(labels))


def _ordered(column: pd.Series) -> tuple[Array, pd.Index]:
    """Codes of the values, and the values in order: of size, or as ordered categories say."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        if column.cat.ordered:
            return column.cat.codes.to_numpy(), column.cat.categories
        column = column.astype(column.cat.categories.dtype)
    codes, values = pd.factorize(column, sort=True)
    return codes, pd.Index(values)


def _group_text(column: pd.Series) -> list[str]:
    """Values as group labels; 1 and 1.0 are one group, whatever a CSV reader made of the column."""
    if column.dtype.kind == "f" and (column == np.floor(column)).all():
        column = column.astype("int64")
    return column.astype(str).tolist()


def index(factor: Factor, data: pd.DataFrame) -> tuple[Array, tuple[str, ...]]:
    """The group of each row, groups never seen past the trained ones, and all labels."""
    labels = factor.labels(data)
    levels = tuple(dict.fromkeys([*factor.levels, *labels]))
    position = {label: i for i, label in enumerate(levels)}
    return np.array([position[label] for label in labels], dtype=np.int64), levels
