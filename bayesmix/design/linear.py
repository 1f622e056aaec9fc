"""Linear predictors of which every component of a mixture has its own coefficients."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bayesmix.design import formula as formulas
from bayesmix.errors import DataError, FormulaError, SpecError, listed
from bayesmix.priors import ALL, LOC_KINDS
from bayesmix.protocols import Array


@dataclass(frozen=True, eq=False)
class Linear:
    """One right-hand side and the names of its coefficients.

    Parameters
    ----------
    prefix
        Put before the names of terms, e.g. ``gate_``; empty for the experts' own.
    component
        Dim of the components, e.g. ``expert``.
    matrices
        The evaluated formula; None where there is no such predictor.
    """

    prefix: str
    component: str
    matrices: formulas.Matrices | None

    @classmethod
    def of(
        cls,
        prefix: str,
        component: str,
        rhs: str | None,
        data: pd.DataFrame,
        *,
        inherited: bool = False,
    ) -> Linear:
        """Evaluate a right-hand side on training data.

        One that is ``inherited`` from the experts' formula leaves the offset there to them.

        Raises
        ------
        FormulaError
            It has group effects, or an offset where there is no place for one.
        """
        if rhs is None:
            return cls(prefix, component, None)
        matrices = formulas.evaluate(rhs, data)
        if matrices.factors:
            names = [factor.name for factor in matrices.factors]
            raise FormulaError(
                f"mixtures take no group effects, {rhs!r} has some of {listed(names)}; use the "
                "group as a predictor, or BinomialGLM"
            )
        if prefix and matrices.offset is not None and not inherited:
            raise FormulaError(f"an offset belongs to the formula of the experts, not to {rhs!r}")
        return cls(prefix, component, matrices)

    def new(self, data: pd.DataFrame) -> Linear:
        """The same predictor for new rows."""
        if self.matrices is None:
            return self
        return Linear(self.prefix, self.component, formulas.evaluate_new(self.matrices, data))

    @property
    def terms(self) -> tuple[formulas.Term, ...]:
        """The terms, none where there is no such predictor."""
        return () if self.matrices is None else self.matrices.terms

    @property
    def labels(self) -> tuple[str, ...]:
        """A label for each column."""
        return () if self.matrices is None else self.matrices.column_labels

    def columns(self, n: int) -> Array:
        """The predictor's columns, (obs, column)."""
        return np.empty((n, 0)) if self.matrices is None else self.matrices.common

    def by_column(self, holds: Callable[[str], bool]) -> Array:
        """What holds of a coefficient's name, for each of its columns: (column,)."""
        found = np.zeros(len(self.labels), dtype=bool)
        for term in self.terms:
            found[term.columns] = holds(self.prefix + term.name)
        return found

    def intercepts(self) -> Array:
        """Which columns are intercepts, (column,): the constant, else one indicator a group.

        Without a constant the first categorical term has an indicator for every level.
        """
        groups = next((term.name for term in self.terms if not term.scalar), None)
        names = [term.name for term in self.terms]
        own = self.prefix + ("Intercept" if "Intercept" in names else groups or "Intercept")
        found = self.by_column(lambda name: name == own)
        return found & bool(self._sum_to_one(found))

    def _sum_to_one(self, chosen: Array) -> bool:
        """Whether these columns add up to one in every row."""
        if self.matrices is None or not chosen.any():
            return False
        return bool(np.allclose(self.matrices.common[:, chosen].sum(axis=1), 1.0))

    def dims(self) -> dict[str, tuple[str, ...]]:
        """Names of the coefficients with their dims."""
        return {
            self.prefix + term.name: (self.component,)
            if term.scalar
            else (self.component, self._levels(term))
            for term in self.terms
        }

    def coords(self) -> dict[str, tuple[Any, ...]]:
        """Labels of the levels of categorical terms."""
        return {self._levels(term): term.levels for term in self.terms if not term.scalar}

    def _levels(self, term: formulas.Term) -> str:
        """Dim of a term's levels: its own, as one predictor may lack a level that another has."""
        return f"{self.prefix}{term.name}_level"

    def gather(self, params: Mapping[str, Array], shape: tuple[int, ...]) -> Array:
        """Coefficients (..., component, column) out of named parameters; ``shape`` leads."""
        parts = [
            np.asarray(params[self.prefix + term.name], dtype=float).reshape(*shape, -1)
            for term in self.terms
        ]
        return np.concatenate(parts, axis=-1) if parts else np.empty((*shape, 0))

    def scatter(self, coef: Array) -> dict[str, Array]:
        """Named parameters out of coefficients (..., component, column)."""
        return {
            self.prefix + term.name: coef[..., term.columns.start]
            if term.scalar
            else coef[..., term.columns]
            for term in self.terms
        }


def check_side(owner: str, name: str, given: Any) -> None:
    """Raise a SpecError unless this is the right-hand side of a formula, or a name for one."""
    side = given.removeprefix("~").strip() if isinstance(given, str) else ""
    if not side or "~" in side:
        raise SpecError(
            f"{owner}: {name} must be the right-hand side of a formula, such as 'x', got {given!r}"
        )


def check_names(linear: Sequence[Linear], priors: Sequence[str]) -> None:
    """Refuse coefficients that cannot be told apart, and priors that are for none of them.

    Raises
    ------
    DataError
        A name is that of two coefficients, or one of the experts' reads as the gate's.
    SpecError
        A prior's name matches nothing.
    """
    names = [name for one in linear for name in one.dims()]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{listed(twice)} would name two coefficients each; rename the column")
    taken = [name for name in linear[0].dims() if name.startswith(("gate_", "scale_"))]
    if taken:
        raise DataError(
            f"{listed(taken)} would read as a coefficient of the gate or the scale; rename it"
        )
    unknown = [name for name in priors if name not in (ALL, *LOC_KINDS, *names)]
    if unknown:
        raise SpecError(
            f"priors for {listed(unknown)} match nothing in the model; allowed: "
            f"{listed([ALL, *LOC_KINDS, *names])}"
        )


_RANK = 1e-9
"""Columns of unit length whose smallest singular value is below this repeat one another."""


def orthonormal(x: Array, labels: tuple[str, ...]) -> tuple[Array, Array]:
    """Columns of unit mean square that are orthogonal, Z = X T, and T.

    Raises
    ------
    DataError
        Columns that repeat one another.
    """
    if x.shape[1] == 0:
        return x, np.eye(0)
    top = np.abs(x).max(axis=0)
    top = np.where(top > 0, top, 1.0)  # squares of extreme numbers would over- or underflow
    length = top * np.sqrt(((x / top) ** 2).sum(axis=0))
    unit = x / np.where(length > 0, length, 1.0)
    q, r = np.linalg.qr(unit)
    least = np.abs(np.diag(r))
    if len(x) < x.shape[1] or (least < _RANK).any():
        at = int(np.argmin(least)) if len(x) >= x.shape[1] else x.shape[1] - 1
        raise DataError(
            f"the data do not determine the coefficient of {labels[at]!r}: its column is constant "
            "beside an intercept or repeats others, or there are fewer rows than columns; drop it"
        )
    root = np.sqrt(len(x))
    return q * root, np.linalg.inv(r) * root / length[:, None]
