"""Rows of the table of mistakes: data that cannot be used."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from mistakes import (
    FORMULA,
    INF,
    NAN,
    NO_TABLE,
    TABLE,
    Row,
    add,
    fit,
    objects,
    table,
)

import bayesmix as bm
from bayesmix.errors import DataError

ROWS: list[Row] = []
row = functools.partial(add, ROWS)

# Names of columns
lacks = "data lacks 'agee' .did you mean 'age'..; its columns are 'high', 'total', 'age'"
row("unknown predictor", DataError, lacks, fit("p(high, total) ~ agee"))
row(
    "unknown successes",
    DataError,
    "data lacks 'hgh' .did you mean 'high'",
    fit("p(hgh, total) ~ 1"),
)
row("unknown trials", DataError, "data lacks 'n'; its columns are", fit("p(high, n) ~ age"))
row("unknown group", DataError, "data lacks 'town'", fit("p(high, total) ~ age + (1 | town)"))
row("two unknown", DataError, "data lacks 'u', 'v';", fit("p(high, total) ~ u + v"))
row("wrong case", DataError, "data lacks 'Age' .did you mean 'age'", fit("p(high, total) ~ Age"))
row(
    "duplicate columns",
    DataError,
    "names must be unique, found twice: 'age'; rename or drop one",
    fit(data=pd.concat([TABLE, TABLE[["age"]]], axis=1)),
)
row(
    "columns without text names",
    DataError,
    "data lacks 'high', 'total'; its columns are '0', '1'",
    fit(data=pd.DataFrame(np.ones((3, 2)))),
)
for name in ("chain", "draw", "member", "sample", "quantile"):
    row(
        f"predictor called {name}",
        DataError,
        rf"a dimension called '{name}'.*rename it, for example data.rename\(columns=.'{name}'",
        fit(f"p(high, total) ~ {name}", TABLE.rename(columns={"age": name})),
    )
row(
    "response called draw",
    DataError,
    "a dimension called 'draw'",
    fit("p(draw, total) ~ age", TABLE.rename(columns={"high": "draw"})),
)
row(
    "response called obs",
    DataError,
    "a dimension called 'obs'.*rename",
    fit("p(obs, total) ~ age", TABLE.rename(columns={"high": "obs"})),
)
row(
    "predictor called like the groups of edu",
    DataError,
    "a dimension called 'edu_group'",
    fit("p(high, total) ~ edu_group + (1 | edu)", TABLE.rename(columns={"age": "edu_group"})),
)
row(
    "predictor called like the spread of edu",
    DataError,
    "column 'sigma_edu' has the name of a parameter of the groups 'edu'; rename",
    fit("p(high, total) ~ sigma_edu + (1 | edu)", TABLE.rename(columns={"age": "sigma_edu"})),
)
row(
    "predictor called Intercept",
    DataError,
    "column 'Intercept' has the name of the constant term; rename it",
    fit("p(high, total) ~ Intercept", TABLE.rename(columns={"age": "Intercept"})),
)
row(
    "response with a slash",
    DataError,
    "'a/b' has a slash in its name",
    fit("p(`a/b`, total) ~ age", TABLE.rename(columns={"high": "a/b"})),
)

# Missing and infinite values
missing = r"column '{}' has 1 missing value\(s\), first in row 1; drop those rows, data.dropna\(\)"
infinite = r"column '{}' has 1 infinite value\(s\), first in row 1; drop those rows or replace"
for value in (NAN, None, pd.NA, pd.NaT):
    odd = objects("a", value, "b", "b", "c", "c")
    odds = objects(1.0, value, 2.0, 3.0, 4.0, 5.0)
    kind = f"{value!r} among the "
    row(kind + "predictors", DataError, missing.format("age"), fit(data=table(age=odds)))
    row(kind + "successes", DataError, missing.format("high"), fit(data=table(high=odds)))
    row(
        kind + "groups",
        DataError,
        missing.format("edu"),
        fit("p(high, total) ~ (1 | edu)", table(edu=odd)),
    )
row("NaN trials", DataError, missing.format("total"), fit(data=table(total=[9, NAN, 9, 9, 9, 9])))
row(
    "missing nullable integer",
    DataError,
    missing.format("high"),
    fit(data=table(high=pd.array([3, None, 2, 8, 1, 6], dtype="Int64"))),
)
for value in (INF, -INF):
    odds = [0.0, value, 1.0, 2.0, 3.0, 4.0]
    row(f"{value} predictor", DataError, infinite.format("age"), fit(data=table(age=odds)))
    row(f"{value} successes", DataError, infinite.format("high"), fit(data=table(high=odds)))
    row(f"{value} trials", DataError, infinite.format("total"), fit(data=table(total=odds)))
row(
    "infinite object",
    DataError,
    infinite.format("age"),
    fit(data=table(age=objects(1.0, INF, 2, 3, 4, 5))),
)
row(
    "function outside its domain",
    DataError,
    r"'np.log\(age\)' is not finite in row 2",
    fit("p(high, total) ~ np.log(age)"),
)
row(
    "offset outside its domain",
    DataError,
    "'offset' is not finite in row 2",
    fit("p(high, total) ~ 1 + offset(np.log(age))"),
)

# Counts
counts = r"column '{}' must hold counts; 1 value\(s\) are {}, first {} in row 0"
bad_counts = (("negative", -1), ("not whole", 2.5), ("above 2\\*\\*53", 2.0**54))
for what, value in bad_counts:
    for name in ("high", "total"):
        shown = str(np.asarray([value, 1])[0]).replace("+", r"\+")
        row(
            f"{name} that are {what}",
            DataError,
            counts.format(name, what, shown),
            fit(data=table(**{name: [value, 1, 1, 1, 1, 1]})),
        )
row(
    "counts beyond 64 bits",
    DataError,
    "'total' must hold counts; 6 .* above 2",
    fit(data=table(total=np.array([2**63 + 5] * 6, dtype=np.uint64))),
)
row(
    "successes above trials",
    DataError,
    r"successes above trials: 'high' is 8 of 7 in row 3; 1 row\(s\)",
    fit(data=table(total=[3, 5, 2, 7, 1, 6])),
)
row(
    "successes and trials the wrong way round",
    DataError,
    r"successes above trials.*Is it p\(successes, trials\)\?",
    fit("p(total, high) ~ age"),
)
row(
    "a fixed number of trials that is too small",
    DataError,
    "successes above trials: 'high' is 8 of 5 in row 3",
    fit("p(high, 5) ~ age"),
)
row(
    "no trials at all",
    DataError,
    r"every row of 'p\(high, total\)' has 0 trials",
    fit(data=table(high=[0] * 6, total=[0] * 6)),
)
for name in ("high", "total"):
    row(
        f"text {name}",
        DataError,
        rf"column '{name}' must hold numbers, got '1' \(str\); convert it with .astype\(float\)",
        fit(data=table(**{name: list("123456")})),
    )

# 0/1 and labels
zero_one = r"column 'rich' must be 0 or 1, got {} in row 2; for counts write p\(rich, trials\)"
row(
    "a 2 among 0 and 1", DataError, zero_one.format(2), fit("rich ~ age", table(rich=[0, 1, 2] * 2))
)
row("a share", DataError, zero_one.format(0.5), fit("rich ~ age", table(rich=[0, 1, 0.5] * 2)))
row("a -1", DataError, zero_one.format(-1), fit("rich ~ age", table(rich=[0, 1, -1] * 2)))
row(
    "three labels",
    DataError,
    r"must hold 0/1 or two labels, got 3: 'u', 'v', 'w'; name the success as party\['label'\]",
    fit("party ~ age"),
)
row("one label", DataError, "two labels, got 1: 'no'", fit("answer ~ age", table(answer="no")))
row(
    "unknown label",
    DataError,
    "column 'answer' never holds 'maybe', only 'no', 'yes'",
    fit("answer['maybe'] ~ age"),
)
row(
    "labels as counts",
    DataError,
    "column 'answer' must hold numbers, got 'no'",
    fit("p(answer, total) ~ age"),
)

# Types of columns
row(
    "numbers as text",
    DataError,
    r"column 'age' holds numbers as text, such as '1'; convert it with .astype\(float\)",
    fit(data=table(age=list("123456"))),
)
row(
    "a mark of a missing value among numbers as text",
    DataError,
    "holds numbers as text, such as '1'; not a number: '\\?' in row 5; convert",
    fit(data=table(age=[*"12345", "?"])),
)
row(
    "one word among many numbers as text",
    DataError,
    "holds numbers as text, such as '0'; not a number: 'six' in row 30; convert",
    fit("y ~ age", {"y": [0, 1] * 31, "age": [*map(str, range(30)), "six", "8"] + ["7"] * 30}),
)
days = pd.date_range("2020-01-01", periods=300).strftime("%Y-%m-%d").tolist()
many = {"y": [0, 1] * 150, "when": days, "who": [f"n{i}" for i in range(300)]}
levels = "'{}' has 300 different labels in 300 rows, such as '{}', and each would be a predictor"
row("dates as text", DataError, levels.format("when", "2020-01-01"), fit("y ~ when", many))
row(
    "dates as a factor",
    DataError,
    r"'C\(when\)' has 300.* pd.to_datetime",
    fit("y ~ C(when)", many),
)
row("dates in new words", DataError, r"these are dates: .* days since", fit("y ~ when", many))
row("a name for every row", DataError, levels.format("who", "n0"), fit("y ~ who", many))
row(
    "dates that repeat",
    DataError,
    "'when' has 300 different labels in 3000 rows.*these are dates",
    fit("y ~ when", {name: column * 10 for name, column in many.items()}),
)
row(
    "more labels than anybody reads",
    DataError,
    "'who' has 1001 different labels in 5005 rows",
    fit("y ~ who", {"y": [0, 1, 0, 1, 1] * 1001, "who": [f"n{i}" for i in range(1001)] * 5}),
)
row(
    "an interaction of many labels",
    DataError,
    "the term 'a:b' would have 3600 columns.*join rare labels",
    fit("y ~ a:b", {"y": [0, 1] * 60, "a": [f"n{i}" for i in range(60)] * 2, "b": days[:60] * 2}),
)
row(
    "numbers and text",
    DataError,
    "column 'age' holds 'int', 'str'; give one kind: numbers, text or a category",
    fit(data=table(age=objects(1, 2, 3, 4, 5, "six"))),
)
row(
    "numbers and text among groups",
    DataError,
    "column 'edu' holds 'int', 'str'; give one kind",
    fit("p(high, total) ~ (1 | edu)", table(edu=objects(1, 1, 2, 2, "x", "x"))),
)
row("lists in a column", DataError, "column 'age' holds 'list'", fit(data=table(age=[[1]] * 6)))
row("complex predictor", DataError, "complex numbers; give real", fit(data=table(age=[1j] * 6)))
row("complex counts", DataError, "complex numbers; give real", fit(data=table(high=[1j] * 6)))
dates = r"column '{}' holds dates or times \({}.*\); turn it into a number, such as days"
row("date predictor", DataError, dates.format("born", "datetime64"), fit("p(high, total) ~ born"))
row("date response", DataError, dates.format("born", "datetime64"), fit("born ~ age"))
row(
    "date groups",
    DataError,
    dates.format("born", "datetime64"),
    fit("p(high, total) ~ (1 | born)"),
)
row(
    "duration",
    DataError,
    dates.format("age", "timedelta64"),
    fit(data=table(age=TABLE["born"] - TABLE["born"].iloc[0])),
)
row(
    "period",
    DataError,
    dates.format("age", "period"),
    fit(data=table(age=TABLE["born"].dt.to_period("M"))),
)
row(
    "categories that read alike",
    DataError,
    "column 'edu' has categories that read alike: '1', '1'",
    fit("p(high, total) ~ edu", table(edu=pd.Categorical([1, "1"] * 3, categories=[1, "1"]))),
)

row(
    "a factor with one level",
    DataError,
    r"'edu' has one level \('a'\), as the intercept has; drop it",
    fit("p(high, total) ~ age + edu", table(edu="a")),
)
row(
    "a factor with one level among a group's effects",
    DataError,
    "'party' has one level",
    fit("p(high, total) ~ (party | edu)", table(party="u")),
)
for value, kind in ((1e160, "infinite"), (1e-160, "zero"), (5e-324, "zero")):
    row(
        f"predictors of {value}",
        DataError,
        f"column 'age' goes up to .*, and squares of such numbers are {kind} .* in other units",
        fit(data=table(age=TABLE["age"] * value)),
    )
row(
    "a function that leaves the range of squares",
    DataError,
    r"'I\(age \*\* 99\)' goes up to .*infinite in double precision",
    fit("p(high, total) ~ I(age ** 99)", table(age=100 + TABLE["age"])),
)
unicode = r"data hold text that is not valid Unicode \(.*half a character"
broken = {"high": [1, 2], "total": [3, 4], "age": [1.0, 2.0], "edu": ["a\ud800", "b"]}
row("half a character among the labels", DataError, unicode, fit("p(high, total) ~ edu", broken))
row("half a character elsewhere", DataError, unicode, fit(data=broken))
row(
    "half a character among objects",
    DataError,
    unicode,
    fit("p(high, total) ~ edu", table(edu=objects(*"aabbc", "c\ud800"))),
)
row(
    "half a character in a name",
    DataError,
    unicode,
    fit(data={**broken, "edu": ["a", "b"], "x\ud800": [1, 2]}),
)

# The table as a whole
records = [{"high": 1, "total": 2, "age": 3.0}]
for what, value, kind in (
    ("a list", [1, 2, 3], "list"),
    ("a list of records", records, "list"),
    ("a file name", "census.csv", "str"),
    ("an array", np.ones((3, 3)), "numpy.ndarray"),
    ("one column", TABLE["age"], "pandas.Series"),
    ("a number", 7, "int"),
):
    row(f"{what} as data", DataError, NO_TABLE.format(kind), fit(data=value))
row("None as data", DataError, NO_TABLE.format("NoneType"), lambda folder: _fit_none(folder))
row("no rows", DataError, "data has no rows", fit(data=TABLE.iloc[:0]))
row("no columns", DataError, "data has no rows", fit(data=pd.DataFrame()))
row("an empty mapping", DataError, "data has no rows", fit(data={}))
row("one row", DataError, "data has one row", fit(data=TABLE.iloc[:1]))
row(
    "one group",
    DataError,
    r"grouping factor 'edu' has one level \('a'\): the spread .* drop the group term",
    fit("p(high, total) ~ age + (1 | edu)", table(edu="a")),
)
row(
    "columns of different lengths",
    DataError,
    "columns must have one length, got .'high': 2, 'total': 3, 'age': 3.",
    fit(data={"high": [1, 2], "total": [3, 4, 5], "age": [1.0, 2.0, 3.0]}),
)
flat = "columns must be one-dimensional, not so: 'age'; give one value for each row"
two = {"high": [1, 2], "total": [3, 4]}
row("a matrix as a column", DataError, flat, fit(data={**two, "age": np.ones((2, 2))}))
row("a ragged column", DataError, flat, fit(data={**two, "age": [[1], [2, 3]]}))
row("a number as a column", DataError, flat, fit(data={**two, "age": 1.0}))
row(
    "series with different indexes",
    DataError,
    "Series in data have different indexes",
    fit(data={"high": TABLE["high"], "total": TABLE["total"][::-1], "age": TABLE["age"]}),
)
row("a Dataset without the column", DataError, "data lacks 'age'", fit(data=xr.Dataset(two)))


def _fit_none(folder: Path) -> bm.Fit:
    return bm.fit(bm.BinomialGLM(FORMULA), None, method="mle", cache=folder)
