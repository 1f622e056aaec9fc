"""Numbers of a chapter: those that it must give, and whether it gave them."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bayesmix.book.places import BOOK
from bayesmix.book.places import chapter as find
from bayesmix.calls import named
from bayesmix.errors import DataError, DataFileError, NumberOff, UnknownName, listed

if TYPE_CHECKING:
    import pandas as pd

_ROUNDING = 2e-4
"""Of the value: what optimisers on other processors may differ by where nothing is random."""


@dataclass(frozen=True)
class Expected:
    """One number: its value, and how far a right run of the chapter may be from it.

    Parameters
    ----------
    mcse
        Standard deviation of one run's number around ``value``, from runs with other seeds; 0 for
        a number without chance.
    k
        So many of them are allowed.
    printed
        Where the number stands elsewhere, for a reader who wants to compare.
    """

    name: str
    value: float
    mcse: float
    k: float
    printed: str = ""

    @property
    def allowed(self) -> float:
        """The largest difference that is allowed."""
        return max(self.k * self.mcse, _ROUNDING * abs(self.value))

    def accepts(self, given: float) -> bool:
        """Whether a run's number is right; NaN is not."""
        return abs(given - self.value) <= self.allowed


def read(path: Path) -> list[Expected]:
    """The expected numbers of a file.

    Raises
    ------
    DataFileError
        There is no such file, or it does not hold numbers.
    """
    try:
        return [Expected(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError) as error:
        raise DataFileError(f"{str(path)!r} does not hold expected numbers: {error}") from error


@named
def check(chapter: str, numbers: Mapping[str, Any]) -> pd.DataFrame:
    """Compare a chapter's numbers with those in its ``expected.json``.

    Parameters
    ----------
    chapter
        Such as ``"01_pooling"``.
    numbers
        By name; every name of the file, and no other.

    Returns
    -------
    DataFrame
        A row for each number: ``here``, ``expected`` and ``allowed``, the difference that chance
        may make.

    Raises
    ------
    NumberOff
        Numbers differ by more; the message names each with what was expected.
    UnknownName, DataError, DataFileError
        Names that the file does not have, or lacks; something that is not a number; no file.

    Examples
    --------
    >>> check("01_pooling", {})
    Traceback (most recent call last):
        ...
    bayesmix.errors.UnknownName: chapter '01_pooling' must give 'intercept', ...
    """
    import pandas as pd

    expected = read(find(chapter, os.environ.get(BOOK)).expected)
    names = [one.name for one in expected]
    if missing := [name for name in names if name not in numbers]:
        raise UnknownName(f"chapter {chapter!r} must give {listed(missing)}, and does not")
    if unknown := [name for name in numbers if name not in names]:
        raise UnknownName(
            f"chapter {chapter!r} gives {listed(unknown)}, which expected.json does not have; "
            "run tools/expected"
        )
    given = {one.name: _number(one.name, numbers[one.name]) for one in expected}
    wrong = [
        _difference(one, given[one.name]) for one in expected if not one.accepts(given[one.name])
    ]
    if wrong:
        raise NumberOff(f"chapter {chapter!r}: {'; '.join(wrong)}")
    rows = [(given[one.name], one.value, one.allowed) for one in expected]
    return pd.DataFrame(rows, index=names, columns=["here", "expected", "allowed"]).round(4)


def _number(name: str, given: Any) -> float:
    try:
        return float(given)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name!r} must be one number, got a {type(given).__name__}") from error


def _difference(one: Expected, given: float) -> str:
    said = "not a number" if math.isnan(given) else f"{given:.6g}"
    return (
        f"{one.name!r} is {said} and should be {one.value:.6g}, give or take {one.allowed:.2g} "
        f"(k = {one.k:g}, MCSE {one.mcse:.2g})"
    )
