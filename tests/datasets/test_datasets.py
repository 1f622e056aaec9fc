"""The data sets: the two that are shipped, the census from raw rows, and from OpenML."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from http.client import IncompleteRead
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.error import HTTPError, URLError

import numpy as np
import pandas as pd
import pytest

from bayesmix import datasets
from bayesmix.errors import DataError, DataFileError, Offline, UnknownName

# REFERENCE.md, section 1: label, women (total, low, high), men (total, low, high).
TABLE = [
    ("Some HS", (1321, 1298, 23), (2932, 2711, 221)),
    ("HS Grad", (3390, 3164, 226), (7111, 5662, 1449)),
    ("Some College", (3227, 2974, 253), (5131, 3732, 1399)),
    ("Prof School", (592, 483, 109), (1366, 691, 675)),
    ("Bachelors", (1619, 1280, 339), (3736, 1854, 1882)),
    ("Masters", (536, 357, 179), (1187, 407, 780)),
    ("Doctorate", (86, 36, 50), (327, 71, 256)),
]
LABELS = [label for label, *_ in TABLE]

# REFERENCE.md, section 1: how the raw levels were gathered.
RAW_LEVELS = {
    "Some HS": "11th, 7th-8th, 9th, 5th-6th, 10th, 1st-4th, Preschool, 12th",
    "HS Grad": "HS-grad",
    "Some College": "Some-college, Assoc-acdm",
    "Prof School": "Assoc-voc, Prof-school",
    "Bachelors": "Bachelors",
    "Masters": "Masters",
    "Doctorate": "Doctorate",
}


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    """32,561 raw rows whose counts are the census, raw education levels taking turns."""
    parts: list[dict[str, str]] = []
    for label, *groups in TABLE:
        raw = RAW_LEVELS[label].split(", ")
        for sex, (_, low, high) in zip(("Female", "Male"), groups, strict=True):
            for income, people in (("<=50K", low), (">50K", high)):
                parts += [
                    {"education": raw[i % len(raw)], "sex": sex, "class": income}
                    for i in range(people)
                ]
    frame = pd.DataFrame(parts)
    return frame.sample(frac=1, random_state=1).reset_index(drop=True)


# --- the files ------------------------------------------------------------------------------------


def test_census_is_the_table_of_the_reference(census: pd.DataFrame) -> None:
    """All 14 rows hold the counts of REFERENCE.md, section 1, by education, then sex."""
    expected = [
        (label, sex, *counts) for label, *groups in TABLE for sex, counts in enumerate(groups)
    ]
    assert list(census.itertuples(index=False, name=None)) == expected
    assert list(census.columns) == ["edu", "sex", "total", "low", "high"]
    assert census["total"].sum() == datasets.BOOK_ROWS == 32_561


def test_census_has_ordered_education_and_whole_numbers(census: pd.DataFrame) -> None:
    """``edu`` is an ordered categorical in the book's order, and all else is int64."""
    assert census["edu"].cat.ordered
    assert census["edu"].cat.categories.tolist() == LABELS == list(datasets.EDUCATION)
    assert {str(census[name].dtype) for name in ("sex", "total", "low", "high")} == {"int64"}
    assert census.index.tolist() == list(range(14))


def test_one_to_many_is_the_formula_of_the_reference() -> None:
    """The 1000 rows are REFERENCE.md's formula; its first five x to six decimals."""
    frame = datasets.one_to_many()
    noise = 0.05 * np.random.RandomState(42).rand(1000)
    target = np.linspace(0, 1, 1000)
    x = target + 0.3 * np.sin(2 * np.pi * target) + noise
    np.testing.assert_allclose(frame["target"], target, rtol=0, atol=1e-15)
    np.testing.assert_allclose(frame["x"], x, rtol=0, atol=1e-15)
    first = [0.018727, 0.050424, 0.042375, 0.038596, 0.019352]
    np.testing.assert_allclose(frame["x"].head(), first, rtol=0, atol=5e-7)
    assert list(frame.columns) == ["x", "target"]


def test_numbers_read_back_to_the_last_bit(repository: Path) -> None:
    """Every number of one_to_many is the double nearest to the text in the file."""
    lines = (repository / "data" / "one_to_many.csv").read_text().splitlines()[1:]
    texts = [tuple(map(float, line.split(","))) for line in lines]
    assert list(datasets.one_to_many().itertuples(index=False, name=None)) == texts


def test_each_call_gives_a_frame_of_its_own() -> None:
    """Changing one frame leaves the next one as it was."""
    first = datasets.census()
    first.loc[0, "high"] = 0
    assert datasets.census().loc[0, "high"] == 23


def test_load_and_names_know_both_data_sets(census: pd.DataFrame) -> None:
    """Data sets have names, sorted, and loading by name is the same as by function."""
    assert datasets.names() == ["census", "one_to_many"]
    pd.testing.assert_frame_equal(datasets.load("census"), census)
    pd.testing.assert_frame_equal(datasets.load("one_to_many"), datasets.one_to_many())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sensus", r"no data set is called 'sensus': did you mean 'census'\? Allowed: 'census', "),
        ("", "no data set is called '': Allowed: 'census', 'one_to_many'"),
        (3, "no data set is called 3"),
        (["census"], "no data set is called"),
    ],
)
def test_unknown_names_are_refused(name: Any, words: str) -> None:
    """A name that no data set has is an error with the closest name and all of them."""
    with pytest.raises(UnknownName, match=words):
        datasets.load(name)
    with pytest.raises(UnknownName, match=words):
        datasets.about(name)


# --- raw rows -------------------------------------------------------------------------------------


def spelled(frame: pd.DataFrame, names: dict[str, str], **spell: Callable[[str], Any]) -> Any:
    """Raw rows under other column names and with values spelled another way."""
    changed = {name: frame[name].map(how) for name, how in spell.items()}
    return frame.assign(**changed).rename(columns=names)


SPELLINGS: dict[str, tuple[dict[str, str], dict[str, Callable[[str], Any]]]] = {
    "as downloaded": ({}, {}),
    "the book's names": ({"education": "edu", "class": "earning"}, {}),
    "capitals": ({"education": "Education Level", "sex": "Gender", "class": "INCOME"}, {}),
    "underscores": ({"education": "education_level", "class": " salary "}, {}),
    "spaces": ({}, {"education": " {} ".format, "sex": " {}".format, "class": " {}".format}),
    "dots": ({}, {"class": "{}.".format}),
    "case": ({}, {"education": str.upper, "sex": str.lower, "class": str.lower}),
    "inner spaces": ({}, {"class": lambda v: v.replace("K", " K").replace("=", "= ")}),
    "numbers": ({}, {"sex": {"Female": 0, "Male": 1}.get}),
    "floats": ({}, {"sex": {"Female": 0.0, "Male": 1.0}.get}),
    "digits": ({}, {"sex": {"Female": "0", "Male": "1"}.get}),
    "letters": ({}, {"sex": {"Female": "F", "Male": "m"}.get}),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_raw_rows_make_the_census(rows: pd.DataFrame, census: pd.DataFrame, spelling: str) -> None:
    """However columns and values are spelled, 32,561 raw rows make the census, types included."""
    names, spell = SPELLINGS[spelling]
    made = datasets.census_from_rows(spelled(rows, names, **spell))
    pd.testing.assert_frame_equal(made, census)


def test_categoricals_and_other_columns_do_not_matter(
    rows: pd.DataFrame, census: pd.DataFrame
) -> None:
    """Categorical columns, as OpenML gives them, an odd index and other columns change nothing."""
    frame = rows.astype("category").set_index(pd.Index(range(5, 5 + len(rows))))
    frame = frame.assign(**{"education-num": np.nan, "workclass": "?", "age": 30})
    pd.testing.assert_frame_equal(datasets.census_from_rows(frame), census)


def test_raw_rows_are_left_as_they_were(rows: pd.DataFrame) -> None:
    """Counting does not change the frame that it is given."""
    before = rows.copy()
    datasets.census_from_rows(rows)
    pd.testing.assert_frame_equal(rows, before)


@pytest.mark.parametrize(
    ("label", "level"),
    [(label, level) for label, levels in RAW_LEVELS.items() for level in levels.split(", ")],
)
def test_every_raw_level_goes_where_the_reference_says(label: str, level: str) -> None:
    """Each of the 16 raw levels is counted under its label in REFERENCE.md, section 1."""
    raw = {"education": [level, label], "sex": ["Male", "Female"], "income": [">50K", "<=50K"]}
    made = datasets.census_from_rows(raw)
    assert made["edu"].tolist() == [label, label]
    assert made["high"].tolist() == [0, 1]


def test_groups_without_people_have_no_row(rows: pd.DataFrame, census: pd.DataFrame) -> None:
    """Women with a degree alone: a row for each group that occurs, all levels kept in order."""
    some = rows[(rows["sex"] == "Female") & rows["education"].isin(["Masters", "Doctorate"])]
    made = datasets.census_from_rows(some)
    expected = census[(census["sex"] == 0) & (census["edu"] >= "Masters")]
    pd.testing.assert_frame_equal(made, expected.reset_index(drop=True))
    assert made["edu"].cat.categories.tolist() == LABELS


GOOD = {"education": ["11th", "Masters"], "sex": ["Male", "Female"], "income": ["<=50K", ">50K"]}
BAD_ROWS: list[tuple[str, Any, str]] = [
    (
        "unknown levels, each with its rows",
        {"education": ["Kindergarten"] * 2 + ["?"], "sex": [0, 1, 1], "income": [">50K"] * 3},
        r"has unknown values 'Kindergarten' in 2 row\(s\), '\?' in 1 row\(s\); allowed: 'Pre",
    ),
    ("a number for education", GOOD | {"education": [9, 14]}, r"unknown values '9' in 1 row"),
    ("an unknown sex", GOOD | {"sex": ["Male", "X"]}, r"'sex' has unknown values 'X' in 1 row"),
    ("a sex of 2", GOOD | {"sex": [2, 1]}, r"'sex' has unknown values '2' .* allowed: 'Female'"),
    (
        "an unknown earning",
        GOOD | {"income": ["<=50K", "50K"]},
        "'income' has unknown values '50K'",
    ),
    (
        "unknown values in every column",
        {"education": ["a"], "sex": ["b"], "income": ["c"]},
        r"'education' has .* 'a' .*'sex' has .* 'b' .*'income' has .* 'c'",
    ),
    (
        "many unknown values",
        {"education": [f"level {i}" for i in range(30)], "sex": [1] * 30, "income": [">50K"] * 30},
        r"unknown values (?:'level \d+' in 1 row\(s\)(?:, | )){10}and 20 more; allowed",
    ),
    (
        "a missing value",
        GOOD | {"sex": ["Male", None]},
        "'sex' has 1 missing .*first in row 1",
    ),
    ("a NaN", GOOD | {"sex": [np.nan, 1]}, "'sex' has 1 missing .*first in row 0"),
    (
        "no education",
        {"sex": [1], "income": [">50K"]},
        "lacks a column for edu .any of 'edu', 'education', 'education level'.; its columns are 's",
    ),
    ("no columns that fit", {"a": [1]}, "for edu .* and for sex .* and for earning .any of 'earn"),
    (
        "two columns of a kind",
        GOOD | {"class": [">50K"] * 2},
        "'income', 'class' both name the earn",
    ),
    ("no rows", pd.DataFrame(GOOD).head(0), "data has no rows"),
    ("not a table", [1, 2], "must be a pandas data frame"),
    (
        "a column twice",
        pd.DataFrame([["11th", 1, 1, ">50K"]], columns=["edu", "sex", "sex", "class"]),
        "found twice: 'sex'",
    ),
]


@pytest.mark.parametrize(
    ("data", "words"), [row[1:] for row in BAD_ROWS], ids=[row[0] for row in BAD_ROWS]
)
def test_rows_that_cannot_be_counted_are_refused(data: Any, words: str) -> None:
    """Bad rows give one DataError that names what is wrong, and all of it."""
    with pytest.raises(DataError, match=words):
        datasets.census_from_rows(data)


# --- OpenML ---------------------------------------------------------------------------------------


def openml(
    monkeypatch: pytest.MonkeyPatch, answer: pd.DataFrame | Exception
) -> list[dict[str, Any]]:
    """Let scikit-learn's loader answer with a frame or an error; returns the calls it gets."""
    calls: list[dict[str, Any]] = []

    def fetch(**given: Any) -> SimpleNamespace:
        calls.append(given)
        if isinstance(answer, Exception):
            raise answer
        return SimpleNamespace(frame=answer)

    monkeypatch.setattr("sklearn.datasets.fetch_openml", fetch)
    return calls


@pytest.fixture
def merged(rows: pd.DataFrame) -> pd.DataFrame:
    """The Adult data as OpenML has it: 16,281 other rows, then those of the book; categoricals."""
    other = rows.sample(16_281, random_state=2)
    frame = pd.concat([other, rows], ignore_index=True)
    frame.insert(0, "age", np.arange(len(frame)))
    frame.insert(1, "workclass", None)
    return frame.astype({"education": "category", "sex": "category", "class": "category"})


def test_fetch_adult_gives_the_rows_of_the_book(
    monkeypatch: pytest.MonkeyPatch, merged: pd.DataFrame, census: pd.DataFrame, tmp_path: Path
) -> None:
    """Of OpenML's 48,842 rows the 32,561 of the training part are returned, and make the census."""
    calls = openml(monkeypatch, merged)
    found = datasets.fetch_adult(tmp_path)
    assert calls == [{"data_id": 1590, "data_home": tmp_path, "as_frame": True}]
    assert found["age"].tolist() == list(range(16_281, 48_842))
    assert found.index.tolist() == list(range(32_561))
    pd.testing.assert_frame_equal(datasets.census_from_rows(found), census)


def test_fetch_adult_finds_the_training_part_in_front(
    monkeypatch: pytest.MonkeyPatch, merged: pd.DataFrame
) -> None:
    """Should the two parts change places, the training part is still the one returned."""
    openml(monkeypatch, pd.concat([merged.tail(32_561), merged.head(16_281)], ignore_index=True))
    assert datasets.fetch_adult()["age"].tolist() == list(range(16_281, 48_842))


@pytest.mark.parametrize("change", ["fewer rows", "other columns", "other levels"])
def test_fetch_adult_refuses_other_data(
    monkeypatch: pytest.MonkeyPatch, merged: pd.DataFrame, change: str
) -> None:
    """Data that do not hold the book's rows are an error, not a silently different census."""
    other = {
        "fewer rows": merged.drop(index=[20_000, 3]),
        "other columns": merged.drop(columns="sex"),
        "other levels": merged.astype({"education": "str"}).replace(
            {"education": {"Masters": "Master"}}
        ),
    }
    openml(monkeypatch, other[change])
    with pytest.raises(DataFileError, match=r"1590 came with \d+ rows that do not hold the 32561"):
        datasets.fetch_adult()


@pytest.mark.parametrize(
    "failure",
    [
        URLError("no route"),
        HTTPError("https://www.openml.org", 503, "unavailable", None, None),  # pyright: ignore
        TimeoutError("timed out"),
        ConnectionResetError("reset"),
        IncompleteRead(b""),
    ],
    ids=lambda failure: type(failure).__name__,
)
def test_fetch_adult_says_what_to_do_offline(
    monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    """Whatever way the network fails, the error is Offline and names the two ways on."""
    openml(monkeypatch, failure)
    with pytest.raises(Offline, match=r"cannot be reached .*Use datasets\.census\(\).*from_rows"):
        datasets.fetch_adult()


def test_scikit_learns_own_loader_without_network_is_offline(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The real loader, where no name resolves, ends in Offline; its warnings stay inside."""

    def unresolved(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    def no_wait(seconds: float) -> None:
        del seconds

    monkeypatch.setattr(socket, "getaddrinfo", unresolved)
    monkeypatch.setattr(time, "sleep", no_wait)
    with pytest.raises(Offline, match="Name or service not known"):
        datasets.fetch_adult(tmp_path)


def test_fetch_adult_names_a_cache_that_cannot_be_used(tmp_path: Path) -> None:
    """A cache below a file cannot be made: the error names it and is not taken for the network."""
    (tmp_path / "file").write_text("")
    with pytest.raises(DataFileError, match=r"file/cache'.*give another cache folder"):
        datasets.fetch_adult(tmp_path / "file" / "cache")
