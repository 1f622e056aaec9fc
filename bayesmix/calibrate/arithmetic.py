"""Arithmetic over named parameters: ``"1|edu + Intercept"``, ``"sigma_edu[sex]"``, as values."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from bayesmix.errors import SpecError, UnknownName, listed, suggestion
from bayesmix.protocols import Array

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "stack": lambda *parts: np.stack(np.broadcast_arrays(*parts), axis=-1),
}

Dims = Mapping[str, Sequence[str]]
Coords = Mapping[str, Sequence[Hashable]]


def value(text: str, params: Mapping[str, Array], dims: Dims, coords: Coords) -> Array:
    """The value of an expression in named parameters, each without a sample axis.

    Raises
    ------
    UnknownName, SpecError
        A name or a label that is not there; anything but arithmetic.

    Examples
    --------
    >>> point = {"Intercept": np.array(-1.0), "1|edu": np.array([0.5, -0.5])}
    >>> value("Intercept + 1|edu", point, {"Intercept": (), "1|edu": ("edu",)}, {"edu": ("a", "b")})
    array([-0.5, -1.5])
    """
    known: dict[str, Array] = {}

    def stand_in(match: re.Match[str]) -> str:
        key = f"_{len(known)}"
        known[key] = _entry(match["name"], match["labels"], params, dims, coords)
        return key

    plain = _pattern(params).sub(stand_in, text)
    try:
        tree = ast.parse(plain.strip(), mode="eval").body
    except SyntaxError as error:
        raise SpecError(f"{text!r} is not arithmetic over {listed(params)}") from error
    return np.asarray(_evaluated(tree, known, text, params))


def _pattern(params: Mapping[str, Array]) -> re.Pattern[str]:
    """Any parameter's name, the longest first, with the labels of an entry behind it."""
    names = "|".join(re.escape(name) for name in sorted(params, key=len, reverse=True))
    return re.compile(rf"(?<![\w|.])(?P<name>{names})(?:\[(?P<labels>[^\]]*)\])?(?![\w|.(])")


def _entry(
    name: str, labels: str | None, params: Mapping[str, Array], dims: Dims, coords: Coords
) -> Array:
    """A parameter, or the entry of it that labels name."""
    found = params[name]
    if labels is None:
        return found
    given = [label.strip() for label in labels.split(",")]
    if len(given) != len(dims[name]):
        raise SpecError(
            f"{name}[{labels}]: {name!r} has {len(dims[name])} labels, of {listed(dims[name])}"
        )
    place = tuple(
        _position(label, coords[dim], name) for label, dim in zip(given, dims[name], strict=True)
    )
    return found[place]


def _position(label: str, labels: Sequence[Hashable], name: str) -> int:
    known = [str(one) for one in labels]
    if label not in known:
        raise UnknownName(f"{name!r} has no entry {label!r}: {suggestion(label, known)}")
    return known.index(label)


def _evaluated(
    node: ast.expr, known: Mapping[str, Array], text: str, params: Mapping[str, Array]
) -> Any:
    def inner(part: ast.expr) -> Any:
        return _evaluated(part, known, text, params)

    match node:
        case ast.Constant(value=float() | int() as number) if not isinstance(number, bool):
            return number
        case ast.Name(id=name) if name in known:
            return known[name]
        case ast.Name(id=name):
            raise UnknownName(f"{text!r}: unknown parameter {name!r}: {suggestion(name, params)}")
        case ast.UnaryOp(op=ast.USub(), operand=one):
            return -inner(one)
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _BINARY:
            return _BINARY[type(sign)](inner(left), inner(right))
        case ast.Call(func=ast.Name(id=name), args=parts, keywords=[]) if name in _FUNCTIONS:
            return _FUNCTIONS[name](*(inner(part) for part in parts))
        case _:
            raise SpecError(
                f"{text!r} is not arithmetic: allowed are + - * / and brackets over numbers, "
                f"{listed(params)}, and the functions {listed(_FUNCTIONS)}"
            )
