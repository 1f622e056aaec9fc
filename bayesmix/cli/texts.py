"""Specs out of texts: each field converted to its type, for the command line."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from bayesmix.errors import SpecError, listed, suggestion


def built(
    kind: type[Any], options: Mapping[str, str], values: Mapping[str, Any] | None = None
) -> Any:
    """A spec out of texts, each converted to the type of its field, and of ready values."""
    ready = dict(values or {})
    owner, hints = kind.__name__, get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for name in [*options, *ready]:
        if name not in fields:
            raise SpecError(f"{owner} has no option {name!r}: {suggestion(name, fields)}")
    missing = [name for name, field in fields.items() if _required(field) and name not in options]
    if missing:
        flags = " ".join(
            "--formula '...'" if m == "formula" else f"--option {m}=..." for m in missing
        )
        raise SpecError(f"{owner} needs {listed(missing)}: give {flags}")
    twice = sorted(set(options) & set(ready))
    if twice:
        raise SpecError(f"{owner}: {listed(twice)} is given twice")
    return kind(**{k: converted(owner, k, text, hints[k]) for k, text in options.items()}, **ready)


def _required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _truth(text: str) -> bool:
    known = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if text.lower() not in known:
        raise ValueError(text)
    return known[text.lower()]


_READERS: Mapping[type, tuple[Callable[[str], Any], str]] = {
    bool: (_truth, "true or false"),
    int: (int, "a whole number"),
    float: (float, "a number"),
    str: (str, "a text"),
}


def converted(owner: str, name: str, text: str, hint: Any) -> Any:
    """A text as the type of a spec's field: int, float, bool, str, None, or a tuple by commas.

    Raises
    ------
    SpecError
        The text is no such value, or the field's type has no text form.

    Examples
    --------
    >>> converted("NUTS", "draws", "2000", int)
    2000
    """
    kinds = get_args(hint) if get_origin(hint) is not tuple else (hint,)
    kinds = kinds or (hint,)
    several = next((kind for kind in kinds if get_origin(kind) is tuple), None)
    if several is not None and ("," in text or str not in kinds):
        item = get_args(several)[0]
        parts = [part.strip() for part in text.strip("()[] ").split(",")]
        return tuple(converted(owner, name, part, item) for part in parts if part)
    if NoneType in kinds and text.lower() == "none":
        return None
    readable = [kind for kind in _READERS if kind in kinds]
    if not readable:
        raise SpecError(
            f"{owner}: {name} cannot be given on the command line; call bayesmix.fit in a script"
        )
    read, words = _READERS[readable[0]]
    try:
        return read(text)
    except ValueError as error:
        raise SpecError(f"{owner}: {name} must be {words}, got {text!r}") from error
