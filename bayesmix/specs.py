"""Frozen values (models, methods, priors) to JSON and back."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Mapping
from typing import Any, cast

from bayesmix.errors import SpecError, UnknownName, brief, suggestion

Fields = dict[str, Any]
_LONGEST = 1 << 20
"""Characters of a spec as JSON; a prior for each of a thousand columns takes a tenth."""
_DEEPEST = 20
"""Values within values; an ensemble of fits by an optimiser has three levels."""
_TOO_DEEP = f"it is nested more than {_DEEPEST} deep; no spec is"


def to_json(spec: object) -> str:
    """A frozen dataclass as canonical JSON: sorted keys, its class name under ``type``.

    Examples
    --------
    >>> from bayesmix.priors import Normal
    >>> to_json(Normal(0, 10))
    '{"loc": 0.0, "scale": 10.0, "type": "Normal"}'
    """
    return json.dumps(_encode(spec), sort_keys=True, allow_nan=False)


def from_json(text: str, types: Mapping[str, type]) -> Any:
    """Rebuild a spec from :func:`to_json`; ``types`` maps class names to the classes allowed.

    Raises
    ------
    ValueError
        The text is not JSON, or is longer or nested deeper than a spec can be.
    """
    if len(text) > _LONGEST:
        raise ValueError(f"it is {len(text):,} characters long; a spec has at most {_LONGEST:,}")
    try:
        found = json.loads(text)
    except RecursionError as error:
        raise ValueError(_TOO_DEEP) from error
    return _decode(found, types, _DEEPEST)


def _encode(value: object) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: _encode(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"type": type(value).__name__, **fields}
    if isinstance(value, (tuple, list)):
        return [_encode(item) for item in cast("list[object]", value)]
    if isinstance(value, float) and not math.isfinite(value):
        raise SpecError(f"a spec holds finite numbers only, got {value!r}")
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise SpecError(f"a spec cannot hold a {type(value).__name__}: {value!r}")


def _decode(value: Any, types: Mapping[str, type], depth: int) -> Any:
    if depth < 0:
        raise ValueError(_TOO_DEEP)
    if isinstance(value, list):
        return tuple(_decode(item, types, depth - 1) for item in cast("list[Any]", value))
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        name = str(fields.pop("type"))
        if name not in types:
            raise UnknownName(f"no class is called {name!r}: {suggestion(name, types)}")
        return types[name](**{key: _decode(item, types, depth - 1) for key, item in fields.items()})
    return value


def check_number(
    owner: str,
    name: str,
    value: object,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    strict: bool = False,
) -> float:
    """Return ``value`` as a float, or raise a SpecError that names the field and the range."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise SpecError(f"{owner}: {name} must be a number, got {brief(value)}")
    if abs(value) > sys.float_info.max:  # a whole number too long for a float
        value = math.inf
    inside = low < value < high if strict else low <= value <= high
    if not (math.isfinite(value) and inside):
        bounds = f"({low:g}, {high:g})" if strict else f"[{low:g}, {high:g}]"
        raise SpecError(f"{owner}: {name} must be finite and lie in {bounds}, got {brief(value)}")
    return float(value)


def check_count(owner: str, name: str, value: object, *, low: int = 1) -> int:
    """Return ``value`` as an int >= ``low``, or raise a SpecError that names the field."""
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise SpecError(f"{owner}: {name} must be a whole number >= {low}, got {brief(value)}")
    return value


def check_switch(owner: str, name: str, value: object) -> bool:
    """Return ``value`` if it is True or False, or raise a SpecError."""
    if not isinstance(value, bool):
        raise SpecError(f"{owner}: {name} must be True or False, got {brief(value)}")
    return value


def check_choice(owner: str, name: str, value: object, allowed: tuple[str, ...]) -> str:
    """Return ``value`` if it is one of ``allowed``, or raise a SpecError that lists them."""
    if not isinstance(value, str) or value not in allowed:
        hint = suggestion(brief(value) if not isinstance(value, str) else value[:100], allowed)
        raise SpecError(f"{owner}: {name}={brief(value)} is not known: {hint}")
    return value


def as_tuple(owner: str, name: str, value: object) -> tuple[Any, ...]:
    """A number as a tuple of one, a list or tuple as a tuple; anything else is a SpecError."""
    if isinstance(value, (list, tuple)):
        return tuple(cast("list[Any]", value))
    if isinstance(value, (int, float, str)):
        return (value,)
    raise SpecError(f"{owner}: {name} must be a number or a tuple of them, got {brief(value)}")
