"""The census of the book from the raw rows of the Adult data."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from typing import Any, cast
from urllib.error import URLError

import pandas as pd

from bayesmix.calls import named
from bayesmix.datasets.catalogue import BOOK_ROWS, census
from bayesmix.design import table
from bayesmix.errors import BayesmixError, DataError, DataFileError, Offline, listed

EDUCATION: Mapping[str, Sequence[str]] = {
    "Some HS": (
        *("Preschool", "1st-4th", "5th-6th", "7th-8th"),
        *("9th", "10th", "11th", "12th"),
    ),
    "HS Grad": ("HS-grad",),
    "Some College": ("Some-college", "Assoc-acdm"),
    "Prof School": ("Assoc-voc", "Prof-school"),
    "Bachelors": ("Bachelors",),
    "Masters": ("Masters",),
    "Doctorate": ("Doctorate",),
}
"""The seven levels of ``edu`` in order, each with the raw education levels that it gathers."""
_COLUMNS = {
    "edu": ("edu", "education", "education level"),
    "sex": ("sex", "gender"),
    "earning": ("earning", "earnings", "income", "class", "salary"),
}
_SEX = {"female": 0, "f": 0, "0": 0, "0.0": 0, "male": 1, "m": 1, "1": 1, "1.0": 1}
_EARNING = {"<=50k": 0, ">50k": 1}
_ADULT_ID = 1590


@named
def census_from_rows(data: Any) -> pd.DataFrame:
    """Count raw census rows, one a person, by education and sex: the frame of :func:`census`.

    Parameters
    ----------
    data
        A data frame (or anything that becomes one) with an education column (``edu``,
        ``education`` or ``education level``), a sex column (``sex`` or ``gender``) and an earnings
        column (``earning``, ``earnings``, ``income``, ``class`` or ``salary``). Case, and spaces
        around names and values, do not matter, nor does the dot that ends ``>50K.`` in the test
        part of the Adult data. Sex is Female or Male, or 0 or 1. Other columns are ignored.

    Returns
    -------
    pandas.DataFrame
        As :func:`census`: one row for each education and sex that occurs, so 14 for the full
        data. A group without a person has no row, since a share of nobody says nothing; its level
        stays among the categories of ``edu``.

    Raises
    ------
    DataError
        A column is missing or there are two of a kind, a value is missing, or an education level,
        sex or earning is not known; the message names every one and how many rows hold it.

    Examples
    --------
    >>> raw = {"education": [" 11th", "10th"], "sex": ["Male", "Male"], "income": ["<=50K", ">50K"]}
    >>> census_from_rows(raw).to_dict("records")
    [{'edu': 'Some HS', 'sex': 1, 'total': 2, 'low': 1, 'high': 1}]
    """
    codes = _codes(table.frame(data))
    high = codes["earning"].groupby([codes["edu"], codes["sex"]]).agg(["size", "sum"])
    counts = high.reset_index()
    levels = list(EDUCATION)
    labels = [levels[int(code)] for code in counts["edu"].to_numpy()]
    return pd.DataFrame(
        {
            "edu": pd.Categorical(labels, levels, ordered=True),
            "sex": counts["sex"],
            "total": counts["size"],
            "low": counts["size"] - counts["sum"],
            "high": counts["sum"],
        }
    )


@named
def fetch_adult(cache: str | os.PathLike[str] | None = None) -> pd.DataFrame:
    """Raw rows of the census from OpenML, for :func:`census_from_rows`; kept after the first time.

    OpenML holds the training and the test part of the Adult data in one table of 48,842 rows. The
    rows returned are the 32,561 of the training part, which is what the book counts; they are
    recognised by their counts, which must be those of :func:`census`.

    Parameters
    ----------
    cache
        Folder that keeps the download; scikit-learn's own data folder when None.

    Returns
    -------
    pandas.DataFrame
        32,561 rows, one a person, with ``education``, ``sex``, ``class`` and 12 other columns.

    Raises
    ------
    Offline
        OpenML cannot be reached.
    DataFileError
        The cache folder cannot be used, or what came is not the Adult data.

    References
    ----------
    OpenML data set 1590; Becker & Kohavi (1996), doi:10.24432/C5XW20, CC BY 4.0.
    """
    return _book_rows(_download(cache))


def _codes(frame: pd.DataFrame) -> pd.DataFrame:
    """Education, sex and earning as whole numbers, or one error that names all that is unknown."""
    order = list(EDUCATION)
    raw = {level: order.index(key) for key in order for level in (key, *EDUCATION[key])}
    known = {
        "edu": {level.casefold().replace(" ", "-"): code for level, code in raw.items()},
        "sex": _SEX,
        "earning": _EARNING,
    }
    columns = _named_columns(frame)
    complete = table.columns(frame, list(columns.values()))
    codes = {kind: _text(complete[name], kind).map(known[kind]) for kind, name in columns.items()}
    problems = [
        _unknown(complete.loc[codes[kind].isna(), name], kind) for kind, name in columns.items()
    ]
    if any(problems):
        raise DataError("; ".join(filter(None, problems)))
    return pd.DataFrame(codes).astype("int64")


def _named_columns(frame: pd.DataFrame) -> dict[str, str]:
    """The frame's own name for each of the columns needed."""
    found: dict[str, str] = {}
    for kind, accepted in _COLUMNS.items():
        matches = [name for name in frame.columns if _plain(name) in accepted]
        if len(matches) > 1:
            raise DataError(f"{listed(matches)} both name the {kind} column: keep one of them")
        if matches:
            found[kind] = matches[0]
    missing = [
        f"{kind} (any of {listed(_COLUMNS[kind])})" for kind in _COLUMNS if kind not in found
    ]
    if missing:
        raise DataError(
            f"data lacks a column for {' and for '.join(missing)}; "
            f"its columns are {listed(frame.columns)}"
        )
    return found


def _plain(name: object) -> str:
    return " ".join(str(name).casefold().replace("_", " ").replace("-", " ").split())


def _text(column: pd.Series[Any], kind: str) -> pd.Series[str]:
    """Values as they are looked up: no case, no outer spaces, no final dot."""
    text = column.astype("str").str.strip().str.casefold().str.rstrip(".")
    inner = "" if kind == "earning" else "-"
    return text.str.replace(r"[\s_]+", inner, regex=True)


def _unknown(values: pd.Series[Any], kind: str) -> str:
    """A clause about the values of one column that nothing is known of; empty if there are none."""
    if values.empty:
        return ""
    counts = values.astype("str").value_counts()
    shown = [f"{value!r} in {rows} row(s)" for value, rows in counts.head(10).items()]
    more = f" and {len(counts) - 10} more" if len(counts) > 10 else ""
    allowed = {
        "edu": listed(level for levels in EDUCATION.values() for level in levels),
        "sex": "'Female', 'Male', 0, 1",
        "earning": "'<=50K', '>50K'",
    }
    return (
        f"column {str(values.name)!r} has unknown values {', '.join(shown)}{more}; "
        f"allowed: {allowed[kind]}"
    )


def _download(cache: str | os.PathLike[str] | None) -> pd.DataFrame:
    from sklearn.datasets import fetch_openml  # pyright: ignore

    try:
        with warnings.catch_warnings():
            # Each retry warns; what the reader needs is the one error at the end.
            warnings.filterwarnings("ignore", message="A network error occurred")
            fetch = cast("Any", fetch_openml)
            return fetch(data_id=_ADULT_ID, data_home=cache, as_frame=True).frame
    except (URLError, ConnectionError, TimeoutError, HTTPException) as error:
        raise Offline(
            f"OpenML cannot be reached ({error}). Use datasets.census(), which needs no network, "
            f"or datasets.census_from_rows(...) on a local copy of the Adult data"
        ) from error
    except (OSError, ValueError) as error:
        where = "scikit-learn's data folder" if cache is None else repr(str(cache))
        raise DataFileError(
            f"the Adult data could not be fetched into {where} ({error}); "
            f"give another cache folder, or use datasets.census()"
        ) from error


def _book_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """The training part of the merged table: last on OpenML, where the test part comes first."""
    for rows in (frame.tail(BOOK_ROWS), frame.head(BOOK_ROWS)):
        if _is_book(rows):
            return rows.reset_index(drop=True)
    raise DataFileError(
        f"OpenML's data set {_ADULT_ID} came with {len(frame)} rows that do not hold the "
        f"{BOOK_ROWS} rows of the book; use datasets.census()"
    )


def _is_book(rows: pd.DataFrame) -> bool:
    try:
        return census_from_rows(rows).equals(census())
    except BayesmixError:
        return False
