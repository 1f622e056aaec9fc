"""Every error and warning given on purpose: what was given, what is allowed, what to do."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

LISTED = 40
"""So many names stand in one message; a table may have thousands of columns, a column of labels."""

_SCREEN = 2400
"""Characters of a screen of 80 by 30: no message is longer."""

_BRIEF = reprlib.Repr(maxstring=100, maxother=100, maxlong=60, maxlevel=3)


class BayesmixError(Exception):
    """Base of all errors raised on purpose, so that ``except BayesmixError`` catches just those.

    A message that would fill more than a screen is cut in its middle: what was given stands at its
    beginning, what to do at its end.
    """

    def __init__(self, message: str = "", *more: object) -> None:
        if len(message) > _SCREEN:
            message = f"{message[: _SCREEN // 2]} [...] {message[-_SCREEN // 2 :]}"
        # half a character, which no terminal prints, can stand in a name that is reported
        super().__init__(message.encode("utf-8", "backslashreplace").decode(), *more)


class DataError(BayesmixError, ValueError):
    """The data cannot be used: a column is missing, not finite, of the wrong type, ..."""


class FormulaError(BayesmixError, ValueError):
    """The formula cannot be parsed or does not describe a model of this family."""


class SpecError(BayesmixError, ValueError):
    """A model, a prior or a method was given an option outside its range."""


class UnknownName(BayesmixError, ValueError):
    """A name (model, method, data set, variable, ...) that nothing answers to."""


class UnknownArgument(BayesmixError, TypeError):
    """A call was given an argument, or a spec an option, that it does not have."""


class MissingCapability(BayesmixError, TypeError):
    """The method needs something that the model family does not offer."""


class NotConverged(BayesmixError, RuntimeError):
    """An optimisation or a sampler stopped before it could give an answer.

    Where training of a network stopped, ``best`` holds the parameters of its best epoch by name.
    """

    best: Mapping[str, Any] | None = None


class FitFileError(BayesmixError, ValueError):
    """A file is not a fit that this version can read, or cannot be written.

    Where a fit was made and could not be stored in its cache, ``fit`` holds it.
    """

    fit: Any = None


class DataFileError(BayesmixError, ValueError):
    """A data file shipped with the package is missing or not the one in the manifest."""


class NumberOff(BayesmixError, ValueError):
    """A number of a chapter differs from the expected one by more than chance would."""


class Offline(BayesmixError, ConnectionError):
    """Data has to be fetched and there is no way to reach it."""


class NoDraws(BayesmixError, TypeError):
    """A point estimate was asked for something that only posterior draws can answer."""


class BayesmixWarning(UserWarning):
    """Base of all warnings of bayesmix, so that a filter can name just those."""


class FarOutside(BayesmixWarning):
    """Rows to predict lie more than one range outside the training rows."""


class NoNumber(BayesmixWarning):
    """A result is beyond the largest number that double precision holds, in rows that are named."""


def listed(names: Iterable[object]) -> str:
    """Join names for an error message, in the order given: ``'a', 'b', 'c'``; the first 40."""
    given = [repr(str(name)) for name in names]
    rest = f" and {len(given) - LISTED} more" if len(given) > LISTED else ""
    return ", ".join(given[:LISTED]) + rest or "none"


def brief(value: object) -> str:
    """A value as an error message shows it: in one line, and not much of a long one.

    Examples
    --------
    >>> brief(list(range(100)))
    '[0, 1, 2, 3, 4, 5, ...]'
    """
    return " ".join(_BRIEF.repr(value).split())


def shortened(text: str, width: int) -> str:
    """A text of at most so many characters, cut at its end.

    Examples
    --------
    >>> shortened("a label of many words", 12)
    'a label of ...'
    """
    return text if len(text) <= width else f"{text[: width - 1]}..."


def suggestion(given: str, allowed: Iterable[str]) -> str:
    """A sentence for an error message: the closest allowed name, then all of them.

    Examples
    --------
    >>> suggestion("nust", ["nuts", "mle"])
    "did you mean 'nuts'? Allowed: 'nuts', 'mle'."
    """
    allowed = list(allowed)
    close = get_close_matches(given, allowed, n=1, cutoff=0.6)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}Allowed: {listed(allowed)}."
