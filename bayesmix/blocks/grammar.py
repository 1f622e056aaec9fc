"""The text of a formula: its sides, the columns it reads, and what is wrong with it."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from bayesmix.errors import FormulaError, listed

FUNCTIONS = ("C", "I", "bs", "center", "offset", "poly", "scale")
"""Functions that formulas know by themselves; NumPy's are known as ``np.log``."""


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
    names = parsed(rhs).var_names
    numbers = [name for name in names if not isinstance(name, str)]
    if numbers:
        raise FormulaError(
            f"formula {rhs!r} holds the number {numbers[0]} as a term: only 1 (intercept), 0 and "
            "-1 (no intercept) can be; write arithmetic as I(2 * x)"
        )
    return sorted(name for name in names if name and not re.fullmatch(r"[\d.]+", name))


def parsed(rhs: str) -> Any:
    """The terms of a right-hand side, as formulae reads them.

    Raises
    ------
    FormulaError
        The formula has a syntax error; the message shows it.
    """
    import formulae

    try:
        return formulae.model_description(rhs)
    except Exception as error:
        hint = ""
        if "||" in rhs:
            hint = "; effects of one group are always correlated here: write (x | g), not (x || g)"
        raise FormulaError(f"cannot parse formula {rhs!r}: {error}{hint}") from error


def predictors(description: Any) -> set[str]:
    """Columns that are read as predictors; the others only name groups."""
    common = (term.var_names for term in description.common_terms)
    varying = (term.expr.var_names for term in description.group_terms)
    return set().union(*common, *varying)


def groupings(rhs: str, description: Any) -> set[str]:
    """Columns that name groups, alone or joined by a colon.

    Raises
    ------
    FormulaError
        A function call stands where a column must be.
    """
    parts = [part for term in description.group_terms for part in term.factor.components]
    calls = [part.name for part in parts if part.var_names != {part.name}]
    if calls:
        raise FormulaError(
            f"groups in {rhs!r} must be columns, as in (1 | edu) or (1 | edu:state), got "
            f"{listed(calls)}; make it a column of the data first"
        )
    return {part.name for part in parts}


def cause(error: Exception, rhs: str) -> str:
    """What went wrong when a formula was evaluated, in words."""
    if not isinstance(error, KeyError):
        return str(error)
    name = str(error.args[0])
    if not re.search(rf"\b{re.escape(name)}\s*\(", rhs):
        return f"nothing is called {name!r}"
    if hasattr(np, name):
        return f"no function is called {name!r}; write np.{name}(...)"
    known = f"{listed(FUNCTIONS)} and those of NumPy, such as np.log"
    return f"no function is called {name!r}; known are {known}"
