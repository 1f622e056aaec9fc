"""Data of others that stand beside the project, not in it, with columns that models here use."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "data" / "own"


def own(name: str) -> pd.DataFrame:
    """One table as published, labels as labels; the test fails where the folder is missing."""
    path = FOLDER / f"{name}.csv"
    if not path.exists():
        pytest.fail(
            f"this test needs {name}.csv in shared/data/own beside the project's folder; it is not "
            "part of the project: get the folder, or run the tests that do not need it"
        )
    return pd.read_csv(path)


def as_labels(table: pd.DataFrame, *names: str) -> pd.DataFrame:
    """The table with some columns as categories."""
    return table.astype(dict.fromkeys(names, str)).astype(dict.fromkeys(names, "category"))


def numbered(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """The table with a column that labels each row."""
    return table.assign(**{name: [f"r{i}" for i in range(len(table))]})
