"""Labels as indicator columns: which columns of text are labels, and how many there may be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from bayesmix.errors import DataError, brief
from bayesmix.protocols import Array

_FEW_LEVELS = 100
"""Up to here every factor is taken as meant: states, schools, months."""

_MOST_LEVELS = 1000
"""More coefficients of one factor than anybody reads; groups are what is meant."""

_FEW_NUMBERS = 20
"""Codes such as 0, 1, 2, 3+ or 01, 23, 46, 7p are few; more numbers beside text are a slip."""

_DATES = r"\s*(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4})([ T]\d{1,2}:\d{2}.*)?"
_MISSING = ("?", "-", "--", ".", "*", "na", "n/a", "nan", "none", "null", "missing", "unknown", "")
"""Marks that stand for a missing number, in small letters."""


def check_text(column: pd.Series) -> None:
    """Refuse text that is likely to be numbers.

    A column of text is a factor where some value is not a number, as in ``0, 1, 2, 3+``. It is
    refused where all are, since labels and numbers then look alike; where those that are not only
    mark missing values, such as ``?``; and where there are more than 20 different numbers.

    Raises
    ------
    DataError
        The column holds numbers as text.
    """
    if not isinstance(column.dtype, pd.StringDtype):
        return
    values = pd.Series(column.unique(), dtype="str")
    numeric = pd.to_numeric(values, errors="coerce").notna()
    others = values[~numeric]
    slip = others.str.strip().str.lower().isin(_MISSING).all()
    if not numeric.any() or not (slip or numeric.sum() > _FEW_NUMBERS):
        return
    example = ""
    if len(others):
        row = int(np.flatnonzero(column == others.iloc[0])[0])
        example = f"; not a number: {brief(others.iloc[0])} in row {row}"
    raise DataError(
        f"column {column.name!r} holds numbers as text, such as {values[numeric].iloc[0]!r}"
        f"{example}; convert it with .astype(float), or with .astype('category') if these are "
        "labels"
    )


def check_levels(what: str, levels: Sequence[str] | Array | pd.Index, rows: int) -> None:
    """Refuse a factor whose levels are so many that each row all but has its own.

    Up to 100 levels are taken as they are. More are refused if they are dates, if a level has fewer
    than two rows in the mean, and in any case beyond 1,000.

    Raises
    ------
    DataError
        Each level would have a coefficient of its own; the message says what to do instead.
    """
    count = len(levels)
    if count <= _FEW_LEVELS:
        return
    dates = pd.Series(levels[:_FEW_LEVELS]).astype(str).str.fullmatch(_DATES).all()
    if not (dates or 2 * count > rows or count > _MOST_LEVELS):
        return
    example = brief(str(levels[0]))
    remedy = "turn it into numbers"
    if dates:
        remedy = (
            f"these are dates: turn them into numbers, such as days since the first, "
            f"(when - when.min()).dt.days with when = pd.to_datetime(data[{what!r}])"
        )
    raise DataError(
        f"{what!r} has {count} different labels in {rows} rows, such as {example}, and each would "
        f"be a predictor of its own; {remedy}, join rare ones, or, in a BinomialGLM, let them be "
        f"groups: (1 | {what})"
    )


def check_width(what: str, width: int) -> None:
    """Refuse a term, such as an interaction of factors, that has too many columns.

    Raises
    ------
    DataError
        The term would have more than 1,000 columns.
    """
    if width > _MOST_LEVELS:
        raise DataError(
            f"the term {what!r} would have {width} columns, a coefficient each; at most "
            f"{_MOST_LEVELS} are taken: join rare labels, or let them be groups"
        )
