"""Arguments of public calls: one that is not known is an error that says which there are."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, Self

from bayesmix.errors import UnknownArgument, suggestion


def named[**P, R](function: Callable[P, R]) -> Callable[P, R]:
    """Decorator of a public function: an argument that it lacks is an UnknownArgument.

    Examples
    --------
    >>> @named
    ... def area(width: float, height: float = 1.0) -> float:
    ...     return width * height
    >>> area(2, heigth=3)
    Traceback (most recent call last):
        ...
    bayesmix.errors.UnknownArgument: area has no argument 'heigth': did you mean 'height'? ...
    """
    inner: Any = inspect.unwrap(function)
    code = inner.__code__
    known = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    name, allowed = inner.__name__, [argument for argument in known if argument != "self"]

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if not kwargs.keys() <= set(known):
            _refuse(name, "argument", kwargs, allowed)
        return function(*args, **kwargs)

    return call


def named_verbs[C](kind: type[C]) -> type[C]:
    """Class decorator: every public method as :func:`named` has it."""
    for name, member in list(vars(kind).items()):
        if inspect.isfunction(member) and not name.startswith("_"):
            setattr(kind, name, named(member))
    return kind


class Named:
    """Base of specs: an option that the class lacks is an UnknownArgument."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Check the names of the options before ``__init__`` takes them."""
        del args
        if kwargs:
            known = [name for name in inspect.signature(cls.__init__).parameters if name != "self"]
            _refuse(cls.__name__, "option", kwargs, known)
        return super().__new__(cls)


def _refuse(owner: str, what: str, given: Iterable[str], known: list[str]) -> None:
    for name in given:
        if name not in known:
            raise UnknownArgument(f"{owner} has no {what} {name!r}: {suggestion(name, known)}")
