"""The table of mistakes, a row each, and what its rows are made with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from small_fits import from_prior, quick

import bayesmix as bm
from bayesmix.errors import BayesmixError

Call = Callable[[Path], Any]
Row = tuple[str, Call, type[BayesmixError], str]
FORMULA = "p(high, total) ~ age"
NO_TABLE = "data must be a pandas data frame, an xarray Dataset or a mapping of columns, got {}"
NAN, INF = float("nan"), float("inf")
TABLE = pd.DataFrame(
    {
        "high": [3, 5, 2, 8, 1, 6],
        "total": [10, 12, 9, 15, 7, 11],
        "age": [0.1, 0.5, -0.3, 1.2, -0.7, 0.4],
        "sex": [0, 1, 0, 1, 0, 1],
        "edu": list("aabbcc"),
        "rich": [0, 1, 0, 1, 1, 0],
        "answer": ["no", "yes", "no", "yes", "no", "no"],
        "party": list("uvwuvw"),
        "born": pd.date_range("2020-01-01", periods=6),
    }
)


def add(rows: list[Row], what: str, error: type[BayesmixError], words: str, call: Call) -> None:
    """Add a row: what was done, the error, words of its message, and the call."""
    rows.append((what, call, error, words))


def fit(formula: Any = FORMULA, data: Any = None, **options: Any) -> Call:
    """A fit, written to the folder if it should succeed."""
    data = TABLE if data is None else data
    options = {"method": "mle", "seed": 1, "progress": False, **options}
    fields = ("priors", "parametrization", "link", "weights")
    spec = {key: options.pop(key) for key in fields if key in options}
    return lambda folder: bm.fit(bm.BinomialGLM(formula, **spec), data, cache=folder, **options)


def table(**columns: Any) -> pd.DataFrame:
    """The table with other columns."""
    return TABLE.assign(**columns)


def objects(*values: Any) -> pd.Series:
    """A column of Python objects."""
    return pd.Series(list(values), dtype=object)


def drawn() -> bm.Fit:
    """A fit with draws."""
    return from_prior("p(high, total) ~ age + party + C(sex) + (1 | edu)", TABLE)


def point() -> bm.Fit:
    """A point estimate."""
    return quick(FORMULA, TABLE)


def new(**columns: Any) -> pd.DataFrame:
    """Rows to predict."""
    return table(**columns).iloc[:2]
