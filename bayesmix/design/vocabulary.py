"""The functions that a formula may call, and the check of its parse tree before anything runs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from types import SimpleNamespace
from typing import Any, NoReturn

import numpy as np

from bayesmix.errors import FormulaError, listed, suggestion

UFUNCS: Mapping[str, int] = {
    **dict.fromkeys(("log", "log2", "log10", "log1p", "exp", "exp2", "expm1"), 1),
    **dict.fromkeys(("sqrt", "cbrt", "square", "reciprocal", "abs", "absolute", "fabs", "sign"), 1),
    **dict.fromkeys(("floor", "ceil", "trunc", "rint"), 1),
    **dict.fromkeys(("sin", "cos", "tan", "arcsin", "arccos", "arctan", "radians", "degrees"), 1),
    **dict.fromkeys(("sinh", "cosh", "tanh", "arcsinh", "arccosh", "arctanh"), 1),
    **dict.fromkeys(("minimum", "maximum", "power", "hypot", "arctan2", "logaddexp"), 2),
}
"""NumPy's elementwise functions of numbers, with how many arguments they take: never ``out``."""

_NUMBER, _WHOLE, _SWITCH, _LABEL = (int, float), (int,), (bool,), (str, int, float)
_SPLINE: Mapping[str, tuple[type, ...]] = {
    "df": _WHOLE,
    "lower_bound": _NUMBER,
    "upper_bound": _NUMBER,
    "center": _SWITCH,
}
TRANSFORMS: Mapping[str, Mapping[str, tuple[type, ...]]] = {
    "B": {"success": _LABEL},
    "C": {},
    "I": {},
    "S": {"omit": _LABEL},
    "T": {"ref": _LABEL},
    "binary": {"success": _LABEL},
    "bs": {**_SPLINE, "degree": _WHOLE},
    "cc": {"period": _NUMBER, "df": _WHOLE, "lower_bound": _NUMBER, "center": _SWITCH},
    "center": {},
    "cr": _SPLINE,
    "offset": {},
    "poly": {"degree": _WHOLE, "raw": _SWITCH},
    "scale": {},
    "standardize": {},
    "tp": {"df": _WHOLE, "center": _SWITCH},
}
"""Transforms of one column or expression, with the options they take and the types of those.

An option is written by its name; the first may also stand in second place, as in ``poly(x, 2)``.
"""

_OUTCOMES = ("p", "prop", "proportion", "cbind")
_SUMS = ("PLUS", "MINUS")
_ARITHMETIC = (*_SUMS, "STAR", "SLASH", "STAR_STAR")
_COMPARISONS = ("EQUAL_EQUAL", "BANG_EQUAL", "LESS", "LESS_EQUAL", "GREATER", "GREATER_EQUAL")
_TERMS = 1000
"""So many terms no formula needs; thirty variables joined by ``*`` would make a billion."""
_OPTION = 1000
"""The largest whole number as an option: each unit of ``df`` or ``degree`` is a column."""
_EXACT = 2**53
"""Numbers beyond it have gaps in double precision."""


@cache
def namespace() -> dict[str, Any]:
    """All that an evaluated formula can see besides its columns and formulae's own transforms."""
    functions = {name: getattr(np, name) for name in UFUNCS}
    return {**functions, "np": SimpleNamespace(**functions)}


def check(tree: Any, rhs: str) -> None:
    """Refuse a parse tree that calls or computes anything outside the lists.

    Numbers in arithmetic become floats, so that none of it can overflow or run away; how they were
    written stays, as it is part of a term's name.

    Raises
    ------
    FormulaError
        A function, an option or an operator that is not allowed, or more terms than can be meant.
    """
    if _Check(rhs).terms(tree) > _TERMS:
        raise FormulaError(
            f"formula {_short(rhs)} expands to more than {_TERMS} terms; leave interactions out"
        )


class _Check:
    """One walk over the tree of one formula."""

    def __init__(self, rhs: str) -> None:
        self.rhs = _short(rhs)

    def terms(self, node: Any) -> int:
        """Check a node outside of calls; returns a bound on how many terms it expands to."""
        kind = type(node).__name__
        if kind == "Grouping":
            return self.terms(node.expression)
        if kind == "Unary":
            return self.terms(node.right)
        if kind == "Call":
            self.call(node)
        elif kind == "Binary":
            return self._expanded(node)
        elif kind == "Assign":
            self._refuse("has a '='; an equality is written '==', inside I(...)")
        elif kind == "Variable":
            self._plain(node)
        return 1

    def _expanded(self, node: Any) -> int:
        operator = node.operator.kind
        if operator == "STAR_STAR":
            return self._power(self.terms(node.left), node.right)
        left, right = self.terms(node.left), self.terms(node.right)
        if operator in _SUMS:
            return left + right
        if operator in ("COLON", "PIPE"):
            return left * right + right
        if operator in ("STAR", "SLASH"):
            return left + right + left * right
        return self._refuse(
            f"has {node.operator.lexeme!r} outside of a function; write it as I(x "
            f"{node.operator.lexeme} 1)"
        )

    def _power(self, terms: int, exponent: Any) -> int:
        value = _literal(exponent)
        if type(value) is not int or not 1 <= value <= _TERMS:
            self._refuse(f"has a power of terms that is not one of 1 to {_TERMS}")
        return sum(math.comb(terms, k) for k in range(1, min(terms, value) + 1))

    def call(self, node: Any) -> None:
        """Check a call: its function, its arguments and its options."""
        name = self._function(node.callee)
        given = [a for a in node.args if type(a).__name__ != "Assign"]
        named = {a.name.name.lexeme: a.value for a in node.args if type(a).__name__ == "Assign"}
        bare = name.removeprefix("np.")
        if name in TRANSFORMS:
            self._transform(name, given, named)
        elif named or len(given) != UFUNCS[bare]:
            self._refuse(f"must give {name} {UFUNCS[bare]} argument(s) and no options")
        else:
            for argument in given:
                self.value(argument)

    def _function(self, callee: Any) -> str:
        if type(callee).__name__ != "Variable" or callee.level is not None:
            self._refuse("calls what is not the name of a function")
        name = str(callee.name.lexeme)
        if name in _OUTCOMES:
            self._refuse(f"has {name}(...) among the predictors; it belongs to the left-hand side")
        if name in TRANSFORMS or name.removeprefix("np.") in UFUNCS:
            return name
        plain = name.startswith("np.") and name.count(".") == 1
        functions = [f"np.{known}" for known in UFUNCS] if plain else [*TRANSFORMS, *UFUNCS]
        close = suggestion(name, functions).split("Allowed:")[0]
        return self._refuse(
            f"may not call {name!r}: {close}Allowed are {listed(TRANSFORMS)}, and of NumPy, with "
            f"or without 'np.', {listed(UFUNCS)}; compute anything else as a column of the data"
        )

    def _transform(self, name: str, given: list[Any], named: dict[str, Any]) -> None:
        options = TRANSFORMS[name]
        if not 1 <= len(given) <= 1 + bool(options):
            self._refuse(f"must give {name} one column or expression{_known(options)}")
        self.value(given[0])
        placed = dict(zip(options, given[1:], strict=False))
        unknown = [option for option in named if option not in options or option in placed]
        if unknown:
            self._refuse(f"gives {name} the option {unknown[0]!r}{_known(options)}")
        for option, node in {**placed, **named}.items():
            self._option(name, option, _literal(node), options[option])

    def _option(self, name: str, option: str, value: Any, kinds: tuple[type, ...]) -> None:
        if type(value) not in kinds:
            words = " or ".join(_WORDS[kind] for kind in kinds)
            self._refuse(f"must give {name} a plain {words} as {option}")
        if kinds == _WHOLE and not 0 <= value <= _OPTION:
            self._refuse(f"gives {name} {option}={value}; allowed are 0 to {_OPTION}")

    def value(self, node: Any) -> None:
        """Check an expression inside a call."""
        kind = type(node).__name__
        if kind == "Grouping":
            self.value(node.expression)
        elif kind == "Unary":
            self.value(node.right)
        elif kind == "Call":
            self.call(node)
        elif kind == "Binary":
            self._operation(node)
        elif kind == "Literal":
            self._number(node)
        elif kind == "Variable":
            self._plain(node)
        elif kind != "QuotedName":
            self._refuse(f"has an {kind.lower()} inside a function")

    def _operation(self, node: Any) -> None:
        operator = node.operator.kind
        if operator not in (*_ARITHMETIC, *_COMPARISONS):
            self._refuse(f"has {node.operator.lexeme!r} inside a function")
        for side in (node.left, node.right):
            if not (operator in _COMPARISONS and isinstance(_literal(side), str)):
                self.value(side)

    def _number(self, node: Any) -> None:
        if type(node.value) not in _NUMBER:
            self._refuse(f"computes with {node.value!r}, which is not a number")
        if abs(node.value) > _EXACT:
            self._refuse("has a number above 2**53, which double precision cannot hold")
        node.lexeme = str(node.value) if node.lexeme is None else node.lexeme
        node.value = float(node.value)

    def _plain(self, node: Any) -> None:
        if node.level is not None:
            name = node.name.lexeme
            self._refuse(
                f"has {name}[{node.level.value!r}] among the predictors; write "
                f"I({name} == {node.level.value!r})"
            )

    def _refuse(self, what: str) -> NoReturn:
        raise FormulaError(f"formula {self.rhs} {what}")


_WORDS = {int: "whole number", float: "number", bool: "True or False", str: "text"}


def _literal(node: Any) -> Any:
    """The value of a number, signed or not, of a string or of True and False; else None."""
    kind = type(node).__name__
    if kind == "Unary":
        value = _literal(node.right)
        if type(value) not in _NUMBER:
            return None
        return -value if node.operator.kind == "MINUS" else value
    return node.value if kind == "Literal" else None


def _known(options: Mapping[str, Any]) -> str:
    return f"; its options are {listed(options)}" if options else "; it has no options"


def _short(rhs: str) -> str:
    """The formula as a message shows it."""
    return repr(rhs if len(rhs) <= 200 else f"{rhs[:200]}...")
