"""Model formulas to labelled matrices, for the training data and for rows never seen."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bayesmix.design import indicators, table, vocabulary
from bayesmix.design.factors import Factor as Factor
from bayesmix.design.factors import index as index_of
from bayesmix.design.factors import levels_of
from bayesmix.design.grammar import Block, blocks_of, groupings, parsed, predictors
from bayesmix.design.grammar import split as split
from bayesmix.design.grammar import variables as variables
from bayesmix.errors import BayesmixError, DataError, FormulaError, brief, listed
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

    @property
    def column_labels(self) -> tuple[str, ...]:
        """A label for each column of the common effects, ``edu[HS Grad]`` for a level."""
        return tuple(
            label
            for term in self.terms
            for label in (
                [term.name] if term.scalar else [f"{term.name}[{v}]" for v in term.levels]
            )
        )

    @property
    def free_columns(self) -> Array:
        """Columns whose effects do not vary by group; the others enter through their groups."""
        varying = {effect for factor in self.factors for effect in factor.effects}
        free = [
            np.arange(term.columns.start, term.columns.stop)
            for term in self.terms
            if not (term.scalar and term.name in varying)
        ]
        return np.concatenate(free) if free else np.empty(0, dtype=int)


def evaluate(rhs: str, data: pd.DataFrame) -> Matrices:
    """Build every matrix of the right-hand side from training data.

    Raises
    ------
    FormulaError
        The formula calls an unknown function or has no effects at all.
    DataError
        A grouping factor has a single level, or text stands where numbers belong.
    """
    data = _without_unused(data)
    state = _state(rhs, data)
    terms, common, offset = _common(state.common, len(data))
    if not terms and state.group is None:
        raise FormulaError(f"formula {rhs!r} has no effects; write at least '1'")
    factors, effects = _factors(state.group, blocks_of(rhs), data)
    index, levels = {}, {}
    for factor in factors:
        index[factor.name], levels[factor.name] = index_of(factor, data)
    matrices = Matrices(terms, factors, common, offset, effects, index, levels, state)
    _check(matrices)
    return matrices


def _state(rhs: str, data: pd.DataFrame) -> Any:
    """What formulae makes of the training data, seeing nothing but them and the vocabulary."""
    from formulae.environment import Environment
    from formulae.matrices import DesignMatrices

    description = parsed(rhs)
    if missing := [name for name in variables(rhs) if name not in data.columns]:
        table.columns(data, missing)
    read = predictors(description) & set(data.columns)
    if "Intercept" in read:
        raise DataError("column 'Intercept' has the name of the constant term; rename it")
    for name in sorted(read):
        indicators.check_text(data[name])
    # formulae would make one indicator column a group, which is read from the rows here
    groups = dict.fromkeys(groupings(rhs, description) - read, 0)
    known: Any = Environment([vocabulary.namespace()])
    evaluated = data.assign(**groups)
    try:
        with np.errstate(all="ignore"):
            _check_levels(description, evaluated, known)
            return DesignMatrices(description, evaluated, known)
    except BayesmixError:
        raise
    except Exception as error:
        raise FormulaError(f"cannot evaluate formula {rhs!r}: {error}") from error


def _check_levels(description: Any, data: pd.DataFrame, known: Any) -> None:
    """Refuse factors with one level or with too many, before any indicator is made."""
    terms = [*description.common_terms, *(term.expr for term in description.group_terms)]
    widths: dict[str, int] = {}
    for term in terms:
        for part in getattr(term, "components", ()):
            if part.name not in widths:
                widths[part.name] = _levels_of(part, data, known)
        width = math.prod(widths[part.name] for part in getattr(term, "components", ()))
        indicators.check_width(term.name, width)


def _levels_of(part: Any, data: pd.DataFrame, known: Any) -> int:
    """How many levels a factor has, checked; 1 for numbers."""
    part.set_type(*((data, known) if type(part).__name__ == "Call" else (data,)))
    if part.kind != "categoric":
        return 1
    values = part._intermediate_data
    levels = pd.Series(np.asarray(getattr(values, "data", values))).unique()
    if len(levels) < 2:
        raise DataError(
            f"{part.name!r} has one level ({brief(str(levels[0]))}), as the intercept has; drop it"
        )
    indicators.check_levels(part.name, levels, len(data))
    return len(levels)


def evaluate_new(trained: Matrices, data: pd.DataFrame) -> Matrices:
    """The same matrices for new rows; groups never seen get an index past the trained ones.

    Raises
    ------
    DataError
        A category of a predictor was not in the training data, a predictor changed between numbers
        and text, or a function of it is not finite.
    """
    known = _as_trained(trained.state, data)
    try:
        with np.errstate(all="ignore"):
            common, offset, effects = _new_matrices(trained, known)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"the formula cannot be evaluated for these rows: {error}") from error
    index, levels = {}, {}
    for factor in trained.factors:
        index[factor.name], levels[factor.name] = index_of(factor, data)
    new = Matrices(
        trained.terms, trained.factors, common, offset, effects, index, levels, trained.state
    )
    _check_finite(new)
    return new


def _new_matrices(
    trained: Matrices, data: pd.DataFrame
) -> tuple[Array, Array | None, dict[str, Array]]:
    state, effects = trained.state, {}
    common, offset = np.empty((len(data), 0)), None
    if state.common is not None:
        new = state.common.evaluate_new_data(data)
        common, offset = _split_offset(new, np.asarray(new.design_matrix, dtype=float))
    for factor in trained.factors:
        terms = [state.group.terms[term] for term in factor.terms]
        effects[factor.name] = np.column_stack([_new_columns(term, data) for term in terms])
    return common, offset, effects


def _common(matrix: Any, n: int) -> tuple[tuple[Term, ...], Array, Array | None]:
    if matrix is None:
        return (), np.empty((n, 0)), None
    terms, position = [], 0
    for name, term in matrix.terms.items():
        if term.kind == "offset":
            continue
        labels = [str(label) for label in term.labels]
        levels = () if len(labels) == 1 and labels[0] == name else tuple(_bare(labels, name))
        terms.append(Term(_plain(name), slice(position, position + len(labels)), levels))
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


def _factors(
    group: Any, blocks: list[Block], data: pd.DataFrame
) -> tuple[tuple[Factor, ...], dict[str, Array]]:
    """A factor for each block of correlated effects, and the columns of its effects."""
    factors: dict[str, Factor] = {}
    effects: dict[str, Array] = {}
    for block in blocks:
        grouping = _plain(block.grouping)
        # a grouping may be called g.1 itself
        taken = {*factors, *(_plain(other.grouping) for other in blocks)} - {grouping}
        names = (f"{grouping}.{k}" if k else grouping for k in itertools.count())
        name = next(n for n in names if n not in taken and n not in factors)
        terms = [group.terms[term] for term in block.terms]
        _code(terms)
        columns = [_new_columns(term, data) for term in terms]
        labels = [e for term, c in zip(terms, columns, strict=True) for e in _effects(term, c)]
        parts = tuple(str(part.name) for part in terms[0].factor.components)
        levels = levels_of(data[list(parts)])
        factors[name] = Factor(name, parts, levels, tuple(labels), grouping, block.terms)
        effects[name] = np.column_stack(columns)
    return tuple(factors.values()), effects


def _code(terms: list[Any]) -> None:
    """Give categories all their levels where no intercept stands in the same brackets.

    formulae looks for the intercept in all brackets of a grouping, and shares one expression among
    the groupings of ``(x | g + h)``.
    """
    whole = all(term.expr.kind != "intercept" for term in terms)
    for term in terms:
        if term.expr.kind != "intercept":
            term.expr = copy.copy(term.expr)
            term.expr.components = [copy.copy(part) for part in term.expr.components]
            term.expr.set_data(whole)


def _without_unused(data: pd.DataFrame) -> pd.DataFrame:
    """The same rows without categories that do not occur, as a filter leaves them."""
    tidy = data.copy(deep=False)
    for name in data.columns:
        if isinstance(data[name].dtype, pd.CategoricalDtype):
            tidy[name] = data[name].cat.remove_unused_categories()
    return tidy


def _effects(term: Any, block: Array) -> list[str]:
    if block.shape[1] == 1 and term.expr.kind in ("intercept", "numeric"):
        return [_plain(term.expr.name)]
    return [_plain(label) for label in term.expr.labels]


def _plain(name: object) -> str:
    """``I(x / 10)`` to ``I(x ÷ 10)``: in a tree, a slash parts groups and is in no name."""
    return str(name).replace("/", "÷")


def _new_columns(term: Any, data: pd.DataFrame) -> Array:
    if term.expr.kind == "intercept":
        return np.ones((len(data), 1))
    values = np.asarray(term.expr.eval_new_data(data), dtype=float)
    return values.reshape(len(data), -1)


def _check(matrices: Matrices) -> None:
    names = [term.name for term in matrices.terms]
    for factor in matrices.factors:
        if len(factor.levels) < 2:
            raise DataError(
                f"grouping factor {factor.name!r} has one level ({listed(factor.levels)}): the "
                "spread between groups cannot be learnt from one group; drop the group term"
            )
        clash = [f"{kind}_{factor.name}" for kind in ("sigma", "corr")]
        if clash := [name for name in clash if name in names]:
            raise DataError(
                f"column {clash[0]!r} has the name of a parameter of the groups {factor.name!r}; "
                "rename the column"
            )
    _check_finite(matrices)


def _check_finite(matrices: Matrices) -> None:
    blocks = [(matrices.column_labels, matrices.common)]
    blocks += [(factor.effects, matrices.effects[factor.name]) for factor in matrices.factors]
    if matrices.offset is not None:
        blocks.append((("offset",), matrices.offset[:, None]))
    for labels, values in blocks:
        rows, columns = np.nonzero(~np.isfinite(values))
        if rows.size:
            raise DataError(
                f"{labels[columns[0]]!r} is not finite in row {rows[0]}: the formula takes a value "
                "there that its function is not defined for"
            )
        for label, column in zip(labels, values.T, strict=True):
            table.check_size(repr(label), column)


def _variables(state: Any) -> Iterator[Any]:
    """The plain columns among the predictors of a formula, as trained."""
    terms = [] if state.common is None else list(state.common.terms.values())
    terms += [] if state.group is None else [term.expr for term in state.group.terms.values()]
    for term in terms:
        for part in getattr(term, "components", ()):
            if part.var_names == {part.name}:
                yield part


def _as_trained(state: Any, data: pd.DataFrame) -> pd.DataFrame:
    """New rows with each category written as in training, whatever type holds it now."""
    known = data.copy(deep=False)
    for part in _variables(state):
        column = data[part.name]
        if part.kind != "categoric":
            if column.dtype.kind not in "iufb":
                raise DataError(
                    f"column {part.name!r} held numbers in training, now {column.iloc[0]!r}; "
                    "convert it with .astype(float)"
                )
            continue
        levels = {str(level): level for level in part.levels}
        unseen = sorted(set(column.astype(str)) - set(levels))
        if unseen:
            raise DataError(
                f"column {part.name!r} holds {listed(unseen)}, unseen in training; known: "
                f"{listed(levels)}. Only groups, as in (1 | {part.name}), can be new"
            )
        known[part.name] = column.astype(str).map(levels)
    return known
