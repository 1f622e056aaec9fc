"""The data folder: what its manifest says of each file, and reading a file against it."""

from __future__ import annotations

import hashlib
import io
import tomllib
from pathlib import Path
from typing import Any, NotRequired, TypedDict, cast

import pandas as pd

from bayesmix.errors import DataFileError, UnknownName, listed, suggestion

_PACKAGE = Path(__file__).resolve().parents[1]
FOLDERS = (_PACKAGE / "data", _PACKAGE.parent / "data")
"""Where the files lie in a wheel, and in a checkout."""


class Column(TypedDict):
    """One column of a data file, as the manifest describes it."""

    name: str
    dtype: str
    unit: str
    meaning: str
    levels: NotRequired[list[str]]


class Entry(TypedDict):
    """One data file, as the manifest describes it."""

    file: str
    sha256: str
    rows: int
    title: str
    licence: str
    source: str
    credit: str
    notes: str
    columns: list[Column]


def folder() -> Path:
    """The data folder of this installation.

    Raises
    ------
    DataFileError
        There is none with a manifest.
    """
    for place in FOLDERS:
        if (place / "manifest.toml").is_file():
            return place
    raise DataFileError(
        f"manifest.toml is missing: looked in {listed(FOLDERS)}; install bayesmix again"
    )


def read(folder: Path) -> dict[str, Entry]:
    """Every entry of the manifest, by the name of its data set."""
    path = folder / "manifest.toml"
    try:
        return cast("dict[str, Entry]", tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise DataFileError(f"{path} cannot be read ({error}); install bayesmix again") from error


def entry(folder: Path, name: str) -> Entry:
    """What the manifest says of the data set of that name.

    Raises
    ------
    UnknownName
        No data set has that name.
    """
    known = read(folder)
    if str(name) not in known:
        raise UnknownName(f"no data set is called {name!r}: {suggestion(str(name), known)}")
    return known[str(name)]


def table(folder: Path, entry: Entry) -> pd.DataFrame:
    """The file of one entry, if its bytes are the ones that were registered.

    Raises
    ------
    DataFileError
        The file is missing, was changed, or does not fit the schema of its entry.
    """
    path = folder / entry["file"]
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataFileError(
            f"{path} cannot be read ({error.strerror}); install bayesmix again"
        ) from error
    found = hashlib.sha256(content).hexdigest()
    if found != entry["sha256"]:
        raise DataFileError(
            f"{path} is not the file in manifest.toml: expected sha256 {entry['sha256']}, "
            f"found {found}; restore it, or install bayesmix again"
        )
    return _parse(path, content, entry)


def _parse(path: Path, content: bytes, entry: Entry) -> pd.DataFrame:
    # Read as text first: float() rounds correctly to the last bit, read_csv need not.
    frame = pd.read_csv(io.BytesIO(content), dtype="str")
    names = [column["name"] for column in entry["columns"]]
    if list(frame.columns) != names or len(frame) != entry["rows"]:
        raise DataFileError(
            f"{path} does not fit its schema in manifest.toml: expected {entry['rows']} rows of "
            f"{listed(names)}, found {len(frame)} rows of {listed(frame.columns)}"
        )
    return pd.DataFrame(
        {column["name"]: _typed(path, frame[column["name"]], column) for column in entry["columns"]}
    )


def _typed(path: Path, text: pd.Series[str], column: Column) -> pd.Series[Any]:
    levels = column.get("levels")
    if levels:
        _check_levels(path, text, levels)
        return text.astype(pd.CategoricalDtype(levels, ordered=True))
    try:
        # The stubs list pandas' dtype names one by one; here the name comes from the manifest.
        return cast("pd.Series[Any]", text.astype(cast("Any", column["dtype"])))
    except ValueError as error:
        raise DataFileError(f"{path}: column {column['name']!r}: {error}") from error


def _check_levels(path: Path, text: pd.Series[str], levels: list[str]) -> None:
    unknown = text[~text.isin(levels)].unique()
    if len(unknown):
        raise DataFileError(f"{path}: {listed(unknown)} not among the levels {listed(levels)}")
