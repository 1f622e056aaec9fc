"""Linear predictors of which every component of a mixture has its own coefficients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bayesmix.blocks import formula as formulas
from bayesmix.errors import FormulaError, SpecError, listed
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
