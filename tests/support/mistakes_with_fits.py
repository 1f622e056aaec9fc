"""Rows of the table of mistakes: files, and what is asked of a fit."""

from __future__ import annotations

import functools

import pandas as pd
from mistakes import (
    FORMULA,
    NAN,
    NO_TABLE,
    TABLE,
    Row,
    add,
    drawn,
    new,
    point,
)
from small_fits import from_prior

import bayesmix as bm
from bayesmix import datasets, scoring
from bayesmix.errors import (
    DataError,
    FitFileError,
    MissingCapability,
    NoDraws,
    SpecError,
    UnknownName,
)

ROWS: list[Row] = []
row = functools.partial(add, ROWS)

# Files
row(
    "load: no file",
    FitFileError,
    "there is no fit at '.*none.nc': it is no file; give a file that Fit.save wrote",
    lambda folder: bm.load(folder / "none.nc"),
)
row("load: a folder", FitFileError, "it is a folder; give a file", lambda folder: bm.load(folder))
for value in (None, 3, b"x.nc"):
    words = f"a path is a text or a pathlib.Path, got {value!r}"
    row(f"load({value!r})", FitFileError, words, lambda _, value=value: bm.load(value))
    row(f"save({value!r})", FitFileError, words, lambda _, value=value: point().save(value))
row(
    "save: no folder",
    FitFileError,
    "cannot write '.*x.nc': '.*none' is not a folder; make it first",
    lambda folder: point().save(folder / "none" / "x.nc"),
)
row(
    "save: onto a folder",
    FitFileError,
    "it is a folder; name a file in it",
    lambda folder: point().save(folder),
)
row(
    "save: where nothing can be written",
    FitFileError,
    "cannot write '/proc/x.nc': ",
    lambda _: point().save("/proc/x.nc"),
)
row(
    "save: a name that is too long",
    FitFileError,
    "cannot write .*: File name too long",
    lambda folder: point().save(folder / ("x" * 300)),
)
row(
    "cache: no path",
    FitFileError,
    "a path is a text or a pathlib.Path, got 3",
    lambda _: bm.fit(bm.BinomialGLM(FORMULA), TABLE, method="mle", cache=3),  # type: ignore[arg-type]
)
row(
    "cache: where nothing can be written",
    FitFileError,
    "cache must be a folder that can be written; '/proc/none' is not",
    lambda _: bm.fit(bm.BinomialGLM(FORMULA), TABLE, method="mle", cache="/proc/none"),
)
row(
    "an unknown data set",
    UnknownName,
    "no data set is called 'cencus': did you mean 'census'",
    lambda _: datasets.load("cencus"),
)

# Asking a fit
for verb in ("predict", "sample", "curves", "log_density"):
    row(
        f"{verb}: a column is missing",
        DataError,
        "data lacks 'age'; its columns are",
        lambda _, verb=verb: getattr(drawn(), verb)(TABLE.drop(columns="age")),
    )
    row(
        f"{verb}: a category unseen in training",
        DataError,
        "column 'party' holds 'x', unseen in training; known: 'u', 'v', 'w'. Only groups",
        lambda _, verb=verb: getattr(drawn(), verb)(new(party="x")),
    )
row(
    "predict: a number unseen as a category",
    DataError,
    r"cannot be evaluated for these rows: The levels \(7\) in 'C\(sex\)' are not present",
    lambda _: drawn().predict(new(sex=7)),
)
row(
    "predict: text where training had numbers",
    DataError,
    r"column 'age' held numbers in training, now 'old'; convert it with .astype\(float\)",
    lambda _: drawn().predict(new(age="old")),
)
row(
    "predict: a missing value",
    DataError,
    r"column 'age' has 2 missing value\(s\)",
    lambda _: drawn().predict(new(age=NAN)),
)
row(
    "predict: a function outside its domain",
    DataError,
    r"'np.sqrt\(total\)' is not finite in row 0",
    lambda _: from_prior("rich ~ np.sqrt(total)", TABLE).predict(new(total=-1)),
)
row("predict: no rows", DataError, "data has no rows", lambda _: drawn().predict(TABLE.iloc[:0]))
row("predict: a list", DataError, NO_TABLE.format("list"), lambda _: drawn().predict([1, 2]))
row(
    "predict: negative trials",
    DataError,
    "column 'total' must hold counts; 2 .* negative",
    lambda _: drawn().predict(new(total=-1)),
)
for value in ((0.0, 0.5), (0.5, 1.0), (-0.1,), (), (NAN,), 0.5, "all", ((0.1, 0.2),), (None,)):
    row(
        f"quantiles={value!r}",
        SpecError,
        r"quantiles must be numbers in \(0, 1\), such as \(0.05, 0.95\), got ",
        lambda _, value=value: drawn().predict(quantiles=value),
    )
for value in (0, -1, 2.5, True, "7"):
    row(
        f"sample(draws={value!r})",
        SpecError,
        f"sample: draws must be a whole number >= 1, got {value!r}",
        lambda _, value=value: drawn().sample(draws=value),
    )
row(
    "sample(draws=10**9)",
    SpecError,
    r"sample\(draws=1000000000\) of 6 rows would take \d+ GB of memory, and this machine has \d+",
    lambda _: drawn().sample(draws=10**9),
)
row("sample(seed=-1)", SpecError, "seed must lie in", lambda _: drawn().sample(seed=-1))
row(
    "log_density: no outcome",
    DataError,
    "these rows cannot be scored: give the outcome 'high' and 'total'",
    lambda _: drawn().log_density(TABLE.drop(columns="high")),
)
row(
    "log_density: no trials",
    DataError,
    "these rows cannot be scored: give the outcome 'high' and 'total'",
    lambda _: drawn().log_density(TABLE.drop(columns="total")),
)
row(
    "log_density: an outcome is missing",
    DataError,
    "these rows cannot be scored",
    lambda _: drawn().log_density(new(high=NAN)),
)
row(
    "log_density: successes above trials",
    DataError,
    "successes above trials: 'high' is 99 of 10",
    lambda _: drawn().log_density(new(high=99)),
)
row(
    "log_density: a label unseen in training",
    DataError,
    "column 'answer' holds 'maybe', unseen in training; known: 'no', 'yes'",
    lambda _: from_prior("answer ~ age", TABLE).log_density(new(answer="maybe")),
)
row(
    "responsibilities of a regression",
    MissingCapability,
    r"responsibilities\(\) belongs to mixtures; BinomialGLM is no mixture: use predict\(\)",
    lambda _: drawn().responsibilities(),
)
row(
    "R-hat of a point",
    NoDraws,
    "R-hat, .* about Markov chains. This fit is a point estimate; fit again with method='nuts'",
    lambda _: point().diagnose().table,
)
row(
    "summary: quantiles",
    SpecError,
    r"quantiles must be numbers in \(0, 1\)",
    lambda _: drawn().summary(quantiles=(5, 95)),
)

# Scores
for value in (None, "fit", TABLE):
    words = "scores are of a fit, as bayesmix.fit returns it; got "
    row(f"score({type(value).__name__})", SpecError, words, lambda _, v=value: scoring.score(v))
    row(
        f"pointwise_scores({type(value).__name__})",
        SpecError,
        words,
        lambda _, v=value: scoring.pointwise_scores(v),
    )
TEXT = ["a", "b"]
for name, call, words in (
    ("log_score", lambda: scoring.log_score([TEXT]), "log_density must be an array of numbers"),
    ("crps", lambda: scoring.crps(TEXT, [[1.0, 2.0]]), r"outcomes must be .* got \['a', 'b'\]"),
    ("crps's draws", lambda: scoring.crps([1.0, 2.0], [TEXT]), "draws must be an array of numbers"),
    (
        "pit",
        lambda: scoring.pit(TEXT, [[1.0, 2.0]], seed=1),
        "outcomes must be an array of numbers",
    ),
    ("brier", lambda: scoring.brier(TEXT, [0.5, 0.5]), "outcomes must be an array of numbers"),
    ("brier's", lambda: scoring.brier([0, 1], TEXT), "probability must be an array of numbers"),
    ("auroc", lambda: scoring.auroc(TEXT, [0.5, 0.5]), "outcomes must be an array of numbers"),
    ("average_precision", lambda: scoring.average_precision(None, None), "must be as long"),
    ("inside", lambda: scoring.inside(TEXT, [[1.0, 2.0]], 0.5), "outcomes must be an array"),
    ("coverage", lambda: scoring.coverage(TEXT, [[1.0, 2.0]]), "outcomes must be an array"),
):
    row(f"{name} of text", DataError, words, lambda _, call=call: call())

# Comparing
row(
    "compare points without a criterion",
    NoDraws,
    "'loo' or 'waic' needs draws, and 'a' is a point .*criterion='kfold', .*criterion='bic'",
    lambda _: bm.compare({"a": point()}),
)
row(
    "compare something long",
    SpecError,
    r"compare takes at least one fit by name, .* got \[0, 1, 2, 3, 4, 5, ...\]$",
    lambda _: bm.compare(list(range(1000))),  # type: ignore[arg-type]
)
# What would print a page
WIDE = pd.DataFrame({f"column number {i}": [1.0, 2.0] for i in range(5000)})
row(
    "a table of 5,000 columns",
    DataError,
    "data lacks 'high', 'total'; its columns are 'column number 0', .* and 4960 more$",
    lambda _: bm.fit(bm.BinomialGLM(FORMULA), WIDE, method="mle"),
)
for what, error, call in (
    ("trace", SpecError, lambda: bm.plots.trace(WIDE)),
    ("trace's names", UnknownName, lambda: bm.plots.trace(drawn(), names=WIDE)),
    ("forest", SpecError, lambda: bm.plots.forest([WIDE])),
    ("shrinkage", UnknownName, lambda: bm.plots.shrinkage(drawn(), by=WIDE)),
    ("shrinkage's labels", SpecError, lambda: bm.plots.shrinkage(drawn(), labels=[TABLE])),
    ("predict", SpecError, lambda: drawn().predict(quantiles=list("ab" * 5000))),
):
    what = f"a whole table as an argument of {what}"
    row(what, error, "^.{1,600}$", lambda _, call=call: call())  # type: ignore[misc]
