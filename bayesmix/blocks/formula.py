"""Model formulas to labelled matrices, for the training data and for rows never seen."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bayesmix import schema
from bayesmix.errors import DataError, FormulaError, listed
from bayesmix.protocols import Array


@dataclass(frozen=True)
class Term:
    """A common effect: its name, its columns in X, and the labels of those columns."""

    name: str
    columns: slice
    levels: tuple[str, ...]

    @property
    def scalar(self) -> bool:
        """True for the intercept and for numeric predictors: one column, no level names."""
        return not self.levels


@dataclass(frozen=True)
class Factor:
    """A grouping factor: ``edu`` in ``(sex | edu)``.

    Parameters
    ----------
    name
        The factor as written, e.g. ``edu`` or ``edu:state``.
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

    def deviation(self, effect: str) -> str:
        """The name of a deviation as lme4 and bambi write it: ``1|edu``, ``sex|edu``."""
        return f"{'1' if effect == 'Intercept' else effect}|{self.name}"

    def labels(self, data: pd.DataFrame) -> list[str]:
        """The group that each row belongs to."""
        parts = [data[column].astype(str) for column in self.columns]
        return [":".join(row) for row in zip(*parts, strict=True)]


@dataclass(frozen=True, eq=False)
class Matrices:
    """The right-hand side of a formula, evaluated."""

    terms: tuple[Term, ...]
    factors: tuple[Factor, ...]
    common: Array
    offset: Array | None
    effects: dict[str, Array]
    index: dict[str, Array]
    levels: dict[str, tuple[str, ...]]
    state: Any


def split(formula: str) -> tuple[str, str]:
    """The left and right-hand side of ``response ~ predictors``.

    Raises
    ------
    FormulaError
        No tilde, more than one, or an empty side.
    """
    if not isinstance(formula, str):
        raise FormulaError(f"a formula is a text, got {type(formula).__name__} {formula!r}")
    sides = [side.strip() for side in formula.split("~")]
    if len(sides) != 2 or not all(sides):
        raise FormulaError(
            f"formula {formula!r} must read 'response ~ predictors', "
            "for example 'p(high, total) ~ sex + (sex | edu)'"
        )
    return sides[0], sides[1]


def variables(rhs: str) -> list[str]:
    """The data columns that a right-hand side reads, in a fixed order.

    Raises
    ------
    FormulaError
        The formula has a syntax error; the message shows it.
    """
    import formulae

    try:
        names = formulae.model_description(rhs).var_names
    except Exception as error:
        raise FormulaError(f"cannot parse formula {rhs!r}: {error}") from error
    return sorted(name for name in names if name and not re.fullmatch(r"[\d.]+", name))


def evaluate(rhs: str, data: pd.DataFrame) -> Matrices:
    """Build every matrix of the right-hand side from training data.

    Raises
    ------
    FormulaError
        The formula calls an unknown function or has no effects at all.
    DataError
        A grouping factor has a single level, or text stands where numbers belong.
    """
    import formulae

    _refuse_numbers_as_text(data)
    try:
        state = formulae.design_matrices(rhs, data, na_action="error")
    except Exception as error:
        raise FormulaError(f"cannot evaluate formula {rhs!r}: {_cause(error)}") from error
    if state.common is None and state.group is None:
        raise FormulaError(f"formula {rhs!r} has no effects; write at least '1'")
    terms, common, offset = _common(state.common, len(data))
    factors, effects = _factors(state.group, data)
    index, levels = {}, {}
    for factor in factors:
        index[factor.name], levels[factor.name] = _index(factor, data)
    matrices = Matrices(terms, factors, common, offset, effects, index, levels, state)
    _check(matrices)
    return matrices


def evaluate_new(trained: Matrices, data: pd.DataFrame) -> Matrices:
    """The same matrices for new rows; groups never seen get an index past the trained ones.

    Raises
    ------
    DataError
        A category of a common effect was not in the training data.
    """
    state = trained.state
    common, offset = np.empty((len(data), 0)), None
    _refuse_new_categories(state, data)
    if state.common is not None:
        new = state.common.evaluate_new_data(data)
        common, offset = _split_offset(new, np.asarray(new.design_matrix, dtype=float))
    effects, index, levels = {}, {}, {}
    for factor in trained.factors:
        terms = _terms_of(state.group, factor.name)
        effects[factor.name] = np.column_stack([_new_columns(term, data) for term in terms])
        index[factor.name], levels[factor.name] = _index(factor, data)
    return Matrices(
        trained.terms, trained.factors, common, offset, effects, index, levels, state
    )


def _common(matrix: Any, n: int) -> tuple[tuple[Term, ...], Array, Array | None]:
    if matrix is None:
        return (), np.empty((n, 0)), None
    terms, position = [], 0
    for name, term in matrix.terms.items():
        if term.kind == "offset":
            continue
        labels = [str(label) for label in term.labels]
        levels = () if len(labels) == 1 and labels[0] == name else tuple(_bare(labels, name))
        terms.append(Term(str(name), slice(position, position + len(labels)), levels))
        position += len(labels)
    values, offset = _split_offset(matrix, np.asarray(matrix.design_matrix, dtype=float))
    return tuple(terms), values, offset


def _split_offset(matrix: Any, values: Array) -> tuple[Array, Array | None]:
    held = [matrix.slices[name] for name, term in matrix.terms.items() if term.kind == "offset"]
    if not held:
        return values, None
    is_offset = np.zeros(values.shape[1], dtype=bool)
    for columns in held:
        is_offset[columns] = True
    return values[:, ~is_offset], values[:, is_offset].sum(axis=1)


def _bare(labels: list[str], name: str) -> list[str]:
    """``edu[HS Grad]`` to ``HS Grad`` when every label has that form."""
    if all(label.startswith(f"{name}[") for label in labels):
        return [label[len(name) + 1 : -1] for label in labels]
    return labels


def _terms_of(group: Any, factor: str) -> list[Any]:
    return [term for term in group.terms.values() if term.factor.name == factor]


def _factors(group: Any, data: pd.DataFrame) -> tuple[tuple[Factor, ...], dict[str, Array]]:
    if group is None:
        return (), {}
    factors, effects = [], {}
    for name in dict.fromkeys(term.factor.name for term in group.terms.values()):
        terms = _terms_of(group, name)
        blocks = [_new_columns(term, data) for term in terms]
        names = [label for term, block in zip(terms, blocks, strict=True) for label in _effects(term, block)]
        columns = tuple(str(part.name) for part in terms[0].factor.components)
        draft = Factor(str(name), columns, (), tuple(names))
        seen = set(draft.labels(data))
        levels = tuple(str(level) for level in terms[0].groups if str(level) in seen)
        factors.append(Factor(str(name), columns, levels, tuple(names)))
        effects[str(name)] = np.column_stack(blocks)
    return tuple(factors), effects


def _effects(term: Any, block: Array) -> list[str]:
    name = str(term.expr.name)
    if block.shape[1] == 1 and term.expr.kind in ("intercept", "numeric"):
        return [name]
    return [str(label) for label in term.expr.labels]


def _new_columns(term: Any, data: pd.DataFrame) -> Array:
    if term.expr.kind == "intercept":
        return np.ones((len(data), 1))
    values = np.asarray(term.expr.eval_new_data(data), dtype=float)
    return values.reshape(len(data), -1)


def _index(factor: Factor, data: pd.DataFrame) -> tuple[Array, tuple[str, ...]]:
    labels = factor.labels(data)
    unseen = [label for label in dict.fromkeys(labels) if label not in set(factor.levels)]
    levels = (*factor.levels, *unseen)
    position = {label: i for i, label in enumerate(levels)}
    return np.array([position[label] for label in labels], dtype=np.int64), levels


def _check(matrices: Matrices) -> None:
    for factor in matrices.factors:
        if len(factor.levels) < 2:
            raise DataError(
                f"grouping factor {factor.name!r} has one level ({listed(factor.levels)}): the spread "
                "between groups cannot be learnt from one group; drop the group term"
            )
    for name, values in [("common effects", matrices.common), *matrices.effects.items()]:
        if not np.isfinite(values).all():
            raise DataError(f"the formula makes values that are not finite in {name}")


def _refuse_numbers_as_text(data: pd.DataFrame) -> None:
    for name in data.columns:
        column = data[name]
        if isinstance(column.dtype, pd.CategoricalDtype) or column.dtype.kind in "iufb":
            continue
        if pd.to_numeric(column, errors="coerce").notna().all():
            raise DataError(
                f"column {name!r} holds numbers as text (first {column.iloc[0]!r}); convert it with "
                f"data[{name!r}].astype(float), or with .astype('category') if they are labels"
            )


def _refuse_new_categories(state: Any, data: pd.DataFrame) -> None:
    if state.common is None:
        return
    for term in state.common.terms.values():
        parts = [] if term.kind == "intercept" else term.components
        for part in parts:
            if part.kind != "categoric" or part.name not in data.columns:
                continue
            levels = list(part.levels)
            known = {str(level) for level in levels}
            unseen = sorted(set(data[part.name].astype(str)) - known)
            if unseen:
                raise DataError(
                    f"column {part.name!r} holds {listed(unseen)}, unseen in training; "
                    f"known: {listed(levels)}. Only grouping factors, (1 | {part.name}), predict new levels"
                )


def _cause(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"nothing is called {error}"
    return str(error)
