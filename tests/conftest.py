"""What all tests share: repeatable examples, marks by folder, the data most tests start from."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import settings

from bayesmix import datasets

TESTS = Path(__file__).resolve().parent

# Not to be searched for examples: the scripts of other samplers, which have environments of their
# own, and the conftest files, which would all be imported under one name.
collect_ignore_glob = ["benchmarks/peers/*", "*conftest.py"]

settings.register_profile("fixed", derandomize=True, deadline=None, database=None)
settings.load_profile("fixed")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything under tests/benchmarks, so that only `make bench` runs it."""
    for item in items:
        if item.path.is_relative_to(TESTS / "benchmarks"):
            item.add_marker(pytest.mark.benchmark)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The folder that holds pyproject.toml."""
    return TESTS.parent


@pytest.fixture
def census() -> pd.DataFrame:
    """The 14 rows of the census."""
    return datasets.census()
