"""Model formulas to labelled matrices, for the training data and for rows never seen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from bayesmix import schema
from bayesmix.blocks import vocabulary
from bayesmix.blocks.grammar import groupings, parsed, predictors
from bayesmix.blocks.grammar import split as split
from bayesmix.blocks.grammar import variables as variables
from bayesmix.errors import DataError, FormulaError, listed
from bayesmix.protocols import Array, Params


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

    @property
    def dims(self) -> tuple[str, str, str]:
        """Dims of groups, effects, and effects again (the other side of a correlation)."""
        return f"{self.name}_group", f"{self.name}_effect", f"{self.name}_effect_other"

    def spread(self, params: Params) -> tuple[Array, Array]:
        """Standard deviations (sample, effect) and correlations (sample, effect, effect)."""
        sigma, n = params[f"sigma_{self.name}"], len(self.effects)
        return sigma, params[f"corr_{self.name}"] if n > 1 else np.ones((len(sigma), 1, 1))

    def deviation(self, effect: str) -> str:
        """The name of a deviation as lme4 and bambi write it: ``1|edu``, ``sex|edu``."""
        return f"{'1' if effect == 'Intercept' else effect}|{self.name}"

    def labels(self, data: pd.DataFrame) -> list[str]:
        """The group that each row belongs to."""
        parts = [_group_text(data[column]) for column in self.columns]
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
    factors, effects = _factors(state.group, data)
    index, levels = {}, {}
    for factor in factors:
        index[factor.name], levels[factor.name] = _index(factor, data)
    matrices = Matrices(terms, factors, common, offset, effects, index, levels, state)
    _check(matrices)
    return matrices


def _state(rhs: str, data: pd.DataFrame) -> Any:
    """What formulae makes of the training data, seeing nothing but them and the vocabulary."""
    from formulae.environment import Environment
    from formulae.matrices import DesignMatrices

    description = parsed(rhs)
    schema.columns(data, variables(rhs))
    read = predictors(description) & set(data.columns)
    if "Intercept" in read:
        raise DataError("column 'Intercept' has the name of the constant term; rename it")
    for name in sorted(read):
        _refuse_numbers_as_text(data[name])
    # formulae would make one indicator column a group, which is read from _index here
    groups = dict.fromkeys(groupings(rhs, description) - read, 0)
    known: Any = Environment([vocabulary.namespace()])
    try:
        with np.errstate(all="ignore"):
            return DesignMatrices(description, data.assign(**groups), known)
    except Exception as error:
        raise FormulaError(f"cannot evaluate formula {rhs!r}: {error}") from error


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
        index[factor.name], levels[factor.name] = _index(factor, data)
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
        terms = _terms_of(state.group, factor.name)
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


def _terms_of(group: Any, factor: str) -> list[Any]:
    return [term for term in group.terms.values() if _plain(term.factor.name) == factor]


def _factors(group: Any, data: pd.DataFrame) -> tuple[tuple[Factor, ...], dict[str, Array]]:
    if group is None:
        return (), {}
    factors, effects = [], {}
    for name in dict.fromkeys(_plain(term.factor.name) for term in group.terms.values()):
        terms = _terms_of(group, name)
        blocks = [_new_columns(term, data) for term in terms]
        labels = [
            label
            for term, block in zip(terms, blocks, strict=True)
            for label in _effects(term, block)
        ]
        parts = terms[0].factor.components
        draft = Factor(name, tuple(str(part.name) for part in parts), (), tuple(labels))
        factors.append(replace(draft, levels=_levels(data[list(draft.columns)])))
        effects[name] = np.column_stack(blocks)
    return tuple(factors), effects


def _levels(columns: pd.DataFrame) -> tuple[str, ...]:
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


def _index(factor: Factor, data: pd.DataFrame) -> tuple[Array, tuple[str, ...]]:
    labels = factor.labels(data)
    levels = tuple(dict.fromkeys([*factor.levels, *labels]))
    position = {label: i for i, label in enumerate(levels)}
    return np.array([position[label] for label in labels], dtype=np.int64), levels


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


def _refuse_numbers_as_text(column: pd.Series) -> None:
    if not isinstance(column.dtype, pd.StringDtype):
        return
    numeric = pd.to_numeric(column, errors="coerce").notna().to_numpy()
    if 2 * numeric.sum() > len(column):
        rest = column[~numeric]
        example = f"; not a number: {rest.iloc[0]!r} in row {rest.index[0]}" if len(rest) else ""
        raise DataError(
            f"column {column.name!r} holds numbers as text, such as {column[numeric].iloc[0]!r}"
            f"{example}; convert it with .astype(float), or with .astype('category') if these are "
            "labels"
        )


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
