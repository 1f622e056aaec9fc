"""Rows of the table of mistakes: mixture density networks, how they are trained, ensembles."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mistakes import FORMULA, INF, NAN, NO_TABLE, TABLE, Call, Row, add
from small_fits import branches

import bayesmix as bm
from bayesmix.errors import DataError, MissingCapability, SpecError

ROWS: list[Row] = []
row = functools.partial(add, ROWS)
PAIRS = branches().assign(z=lambda rows: 2 * rows["y"] + rows["x"] ** 2, one=1.0)
QUICK = bm.MLE(restarts=1, optimizer=bm.LBFGS(max_iter=3))


def network(inputs: Any = "x", target: Any = "y", data: Any = None, **options: Any) -> Call:
    """A network fitted, and written to the folder if it should succeed."""
    method = options.pop("method", QUICK)
    table = PAIRS if data is None else data
    options = {"n_components": 2, "hidden": (2,), **options}

    def call(folder: Path) -> bm.Fit:
        model = bm.MDN(inputs, target, **options)
        return bm.fit(model, table, method=method, seed=1, progress=False, cache=folder)

    return call


def changed(name: str, value: Any, place: int = 3) -> pd.DataFrame:
    """The table with another value in one cell."""
    column = PAIRS[name].astype(object if isinstance(value, str) else float)
    column.iloc[place] = value
    return PAIRS.assign(**{name: column})


@functools.cache
def fitted() -> bm.Fit:
    """A small network that is asked for something."""
    model = bm.MDN(("x", "kind"), "y", 2, hidden=(2,))
    return bm.fit(model, PAIRS, method=QUICK, seed=1, progress=False)


# Data
for value, word in ((NAN, "missing"), (INF, "infinite")):
    for name, what in (("x", "an input"), ("y", "the target")):
        words = f"column '{name}' has 1 {word} value.s., first in row 3"
        row(f"network: {value} in {what}", DataError, words, network(data=changed(name, value)))
DAYS = PAIRS.assign(
    when=pd.date_range("2020-01-01", periods=60).strftime("%Y-%m-%d"),
    number=[str(i) for i in range(60)],
)
LONG = pd.concat([DAYS.assign(when=f"{year}" + DAYS["when"].str[4:]) for year in (2020, 2021)])
row(
    "network: dates as text",
    DataError,
    "'when' has 120 different labels in 120 rows.*these are dates: turn them into numbers",
    network(("x", "when"), data=LONG),
)
row(
    "network: numbers as text",
    DataError,
    r"column 'number' holds numbers as text, such as '0'; convert it with .astype\(float\)",
    network("number", data=DAYS),
)
for value in (1e160, 1e-160):
    row(
        f"network: a target of {value}",
        DataError,
        "column 'y' goes up to .* give it in other units",
        network(data=PAIRS.assign(y=PAIRS["y"] * value)),
    )
row(
    "network: a missing label",
    DataError,
    "column 'kind' has 1 missing value.s., first in row 3",
    network(("x", "kind"), data=PAIRS.assign(kind=PAIRS["kind"].mask(PAIRS.index == 3))),
)
row(
    "network: text in a column of numbers",
    DataError,
    "column 'x' holds 'float', 'str'; give one kind: numbers, text or a category",
    network(data=changed("x", "oops")),
)
row(
    "network: a constant target",
    DataError,
    "has the same value in every row, so there is no density to learn; drop it",
    network(target="one"),
)
row(
    "network: one constant target of two",
    DataError,
    "the target 'one' has the same value in every row",
    network(target=("y", "one")),
)
row(
    "network: one row",
    DataError,
    "a network of 1 input.s. needs at least 3 rows, .* got 1",
    network(data=PAIRS.iloc[:1]),
)
row(
    "network: two rows",
    DataError,
    "needs at least 3 rows, as many as a straight line with its noise has coefficients, got 2",
    network(data=PAIRS.iloc[:2]),
)
row(
    "network: a constant input",
    DataError,
    "the input 'one' has the same value in every row, so nothing can depend on it; drop it",
    network(("x", "one")),
)
row(
    "network: an input with one label",
    DataError,
    "the input 'kind' has the label 'a' in every row, so nothing can depend on it",
    network(("x", "kind"), data=PAIRS.assign(kind="a")),
)
for value, words in (
    (1e160, r"column 'x' goes up to 1e\+160, and squares of such numbers are infinite"),
    (
        1e50,
        r"the input 'x' is 1e\+50 in row 3, and nine tenths .* lie in .-0.8.*: beside that row",
    ),
    (1e9, r"the input 'x' is 1e\+09 in row 3, .*on another scale, such as its logarithm"),
):
    row(f"network: an input of {value:g}", DataError, words, network(data=changed("x", value)))
for name, what in (("x", "input"), ("y", "target")):
    words = f"the {what} '{name}' varies by .* squares of such numbers leave double precision"
    for unit in (1e-130, 1e140):
        table = PAIRS.assign(**{name: PAIRS[name] * unit})
        row(f"network: {what} in units of {unit:g}", DataError, words, network(data=table))
    table = PAIRS.assign(**{name: PAIRS[name] * 1e-300})
    tiny = f"column '{name}' goes up to .*e-300, and squares of such numbers are zero"
    row(f"network: {what} in units of 1e-300", DataError, tiny, network(data=table))
    words = f"the {what} '{name}' varies by .* around values of size 1e.17.*; subtract a constant"
    table = PAIRS.assign(**{name: 1e17 + 64 * np.arange(60)})
    row(f"network: {what} far from zero", DataError, words, network(data=table))
row(
    "network: True and False as a target",
    DataError,
    "column 'y' holds True and False, and a density is of measured numbers: use BinomialGLM, or",
    network(data=PAIRS.assign(y=PAIRS["y"] > 0)),
)
row(
    "network: a floor wider than the target",
    DataError,
    "the target 'y' varies by 0.* floor=5 is the least scale .* such as floor=0.00",
    network(floor=5.0),
)
row("network: no rows", DataError, "data has no rows", network(data=PAIRS.iloc[:0]))
row(
    "network: a target of text",
    DataError,
    "column 'kind' must hold numbers, got '[ab]' .*convert it with",
    network(target="kind"),
)
row("network: no table", DataError, NO_TABLE.format("list"), network(data=[1, 2]))
for inputs, target, culprit in (("xx", "y", "xx"), (("x", "u"), "y", "u"), ("x", "yy", "yy")):
    words = f"data lacks '{culprit}'.*; its columns are 'x', 'y'"
    row(f"network: unknown column {culprit}", DataError, words, network(inputs, target))
row(
    "network: a target called component",
    DataError,
    "a target cannot be called so; rename the column",
    network(target="component", data=PAIRS.rename(columns={"y": "component"})),
)

# The spec
for inputs, target, culprit in (("y", "y", "y"), (("x", "z"), ("y", "z"), "z")):
    words = f"MDN: '{culprit}' cannot be both an input and a target"
    row(f"network: {culprit} on both sides of {inputs}", SpecError, words, network(inputs, target))
for field in ("inputs", "target"):
    for value in (3, None, (), ("x", 3), [None]):
        words = f"MDN: {field} must be a column's name or several, got"
        row(f"network: {field}={value!r}", SpecError, words, network(**{field: value}))
    words = f"MDN: {field} names a column twice: "
    row(f"network: {field} twice", SpecError, words, network(**{field: ("x", "x")}))
for value in (0, -1, 1.5, "3", None, True, NAN):
    words = f"MDN: n_components must be a whole number >= 1, got {value!r}"
    row(f"network: n_components={value!r}", SpecError, words, network(n_components=value))
for value in (0, -2, 2.5, "4", True):
    words = f"MDN: hidden must be a whole number >= 1, got {value!r}"
    row(f"network: hidden=({value!r},)", SpecError, words, network(hidden=(value,)))
row(
    "network: hidden=0",
    SpecError,
    "MDN: hidden must be a whole number >= 1, got 0",
    network(hidden=0),
)
for field, wrong, allowed in (
    ("noise", "diagnal", "diagonal"),
    ("noise", "spherical", "isotropic"),
    ("activation", "tan", "tanh"),
    ("activation", "gelu", "softplus"),
):
    words = f"MDN: {field}='{wrong}' is not known: .*'{allowed}'"
    row(f"network: {field}={wrong}", SpecError, words, network(**{field: wrong}))
row(
    "network: an unknown prior",
    SpecError,
    "priors for 'wieght' match nothing in the model; allowed: 'all', 'hidden', 'logit', 'loc', 's",
    network(priors={"wieght": bm.Normal()}),
)
row(
    "network: a prior of a layer that there is not",
    SpecError,
    "priors for 'hidden_2_weight' match nothing in the model; allowed: .*'hidden_1_weight'",
    network(priors={"hidden_2_weight": bm.Normal()}),
)
row(
    "network: fixed noise without its scale",
    SpecError,
    "fixed_scale, .* goes with noise='fixed' and with no other; got noise='fixed', fixed_.*None",
    network(noise="fixed"),
)
for noise in ("diagonal", "full", "isotropic", "isotropic-shared"):
    row(
        f"network: a fixed scale with {noise} noise",
        SpecError,
        f"goes with noise='fixed' and with no other; got noise='{noise}', fixed_scale=0.5",
        network(noise=noise, fixed_scale=0.5),
    )
for value, words in (
    (0, "MDN: fixed_scale must be above zero"),
    (-1, "MDN: fixed_scale must be"),
    (NAN, "MDN: fixed_scale must be"),
    ("wide", "MDN: fixed_scale must be a number"),
):
    row(
        f"network: fixed_scale={value!r}",
        SpecError,
        words,
        network(noise="fixed", fixed_scale=value),
    )
for value in (-0.1, NAN, INF, "low"):
    row(f"network: floor={value!r}", SpecError, "MDN: floor must be", network(floor=value))

# Training
for value in ("sgd", "adam", bm.Adam, None, 0.1):
    row(
        f"network: optimizer={value!r}",
        SpecError,
        "optimizer must be 'auto', LBFGS.* or Adam.*, such as Adam.batch_size=512., got",
        lambda folder, value=value: bm.MLE(optimizer=value),
    )
for value in (None, 0, ("cpu",)):
    row(
        f"network: device={value!r}",
        SpecError,
        "device must be 'auto', 'cpu' or 'cuda', got",
        lambda folder, value=value: bm.MLE(device=value),
    )
row(
    "network: a checkpoint that is no text",
    SpecError,
    "checkpoint must be a path as text, got",
    lambda folder: bm.MLE(checkpoint=folder),
)
row(
    "network: a checkpoint with L-BFGS",
    SpecError,
    "LBFGS takes seconds and keeps no checkpoint; use Adam",
    network(method=bm.MLE(optimizer=bm.LBFGS(), checkpoint="here.npz")),
)
row(
    "network: a GPU with L-BFGS",
    SpecError,
    "LBFGS runs on the CPU; for device='cuda' use Adam",
    network(method=bm.MLE(optimizer=bm.LBFGS(), device="cuda")),
)
row(
    "network: a device that no machine has",
    SpecError,
    "device='cuda:99' cannot be used here: .*; use device='auto' or 'cpu'",
    network(method=bm.MLE(device="cuda:99")),
)
row(
    "MLE: quadrature of a network",
    SpecError,
    "MLE: n_quadrature=3 is for models with group effects; MDN has none",
    network(method=bm.MLE(n_quadrature=3)),
)
for what, method in (
    ("Adam", bm.MLE(optimizer=bm.Adam())),
    ("a GPU", bm.MLE(device="cuda")),
    ("a checkpoint", bm.MLE(checkpoint="here.npz")),
):
    row(
        f"MLE: {what} on a GLM",
        SpecError,
        "MLE: optimizer, device and checkpoint are for networks; BinomialGLM is fitted by Newton",
        lambda folder, method=method: bm.fit(
            bm.BinomialGLM(FORMULA), TABLE, method=method, seed=1, progress=False, cache=folder
        ),
    )
for field, value, words in (
    ("learning_rate", 0, "Adam: learning_rate must be"),
    ("learning_rate", -1, "Adam: learning_rate must be"),
    ("learning_rate", NAN, "Adam: learning_rate must be"),
    ("batch_size", 0, "Adam: batch_size must be a whole number >= 1"),
    ("batch_size", 2.5, "Adam: batch_size must be a whole number >= 1"),
    ("epochs", 0, "Adam: epochs must be a whole number >= 1"),
    ("patience", 0, "Adam: patience must be a whole number >= 1"),
    ("weight_decay", -1, "Adam: weight_decay must be"),
    ("clip", 0, "Adam: clip must be"),
    ("validation", 1, "Adam: validation must be"),
    ("validation", -0.1, "Adam: validation must be"),
    ("double", 1, "Adam: double must be True or False, got 1"),
):
    row(
        f"Adam: {field}={value!r}",
        SpecError,
        words,
        lambda folder, field=field, value=value: bm.Adam(**{field: value}),
    )
row(
    "Adam: an unknown schedule",
    SpecError,
    "Adam: schedule='cosin' is not known: did you mean 'cosine'",
    lambda folder: bm.Adam(schedule="cosin"),
)
for field, value in (
    ("max_iter", 0),
    ("max_iter", 1.5),
    ("weight_decay", -1),
    ("validation", -0.1),
    ("validation", 1),
):
    row(
        f"LBFGS: {field}={value!r}",
        SpecError,
        f"LBFGS: {field} must be",
        lambda folder, field=field, value=value: bm.LBFGS(**{field: value}),
    )
for field, value in (
    ("weight_decays", ()),
    ("weight_decays", "3"),
    ("weight_decays", (1, -1)),
    ("max_iter", 0),
    ("folds", 1),
    ("patience", 0.5),
):
    row(
        f"EarlyStopping: {field}={value!r}",
        SpecError,
        f"EarlyStopping: {field} must (be|hold)",
        lambda folder, field=field, value=value: bm.EarlyStopping(**{field: value}),
    )
row(
    "network: EarlyStopping on a GPU",
    SpecError,
    "EarlyStopping runs on the CPU; for device='cuda' use Adam",
    network(method=bm.MLE(optimizer=bm.EarlyStopping(), device="cuda")),
)

# Other methods
row(
    "Laplace: the last layer of experts",
    SpecError,
    "Laplace: layer='last' is for networks; MixtureOfExperts has no layers",
    lambda folder: bm.fit(
        bm.MixtureOfExperts("y ~ x", 2, scale="constant"),
        PAIRS,
        method=bm.Laplace(draws=20, layer="last"),
        seed=1,
        progress=False,
        cache=folder,
    ),
)
row(
    "Laplace: an unknown layer",
    SpecError,
    "Laplace: layer='first' is not known: Allowed: 'all', 'last'",
    lambda folder: bm.Laplace(layer="first"),
)
row(
    "network: full-rank ADVI of too many parameters",
    SpecError,
    "covariance='fullrank' is for at most 3000 parameters, and this network has 4146",
    network(method=bm.ADVI(steps=100, covariance="fullrank"), hidden=(60, 60)),
)
row(
    "network: full-rank ADVI in great steps",
    SpecError,
    "for a network of full rank learning_rate is at most 0.06, got 0.1",
    network(method=bm.ADVI(steps=100, covariance="fullrank", learning_rate=0.1)),
)
row("network: EM", MissingCapability, "EM needs em_step", network(method="em"))

# Questions to a fit
row(
    "network: new rows lack an input",
    DataError,
    "data lacks 'kind'; its columns are 'x', 'y'",
    lambda folder: fitted().predict(PAIRS[["x", "y"]].iloc[:3]),
)
row(
    "network: new rows with an unknown label",
    DataError,
    "column 'kind' has labels that training did not see: 'q'; known: 'a', 'b'",
    lambda folder: fitted().sample(PAIRS.iloc[:2].assign(kind="q")),
)
row(
    "network: new rows with text for numbers",
    DataError,
    "column 'x' held numbers in training and holds str here",
    lambda folder: fitted().predict(PAIRS.iloc[:2].assign(x="one")),
)
row(
    "network: new rows with a missing input",
    DataError,
    "column 'x' has 1 missing value.s., first in row 1",
    lambda folder: fitted().predict(PAIRS.iloc[:2].assign(x=[0.1, NAN])),
)
row(
    "network: a score without the target",
    DataError,
    "these rows cannot be scored: give the target, 'y', in every row",
    lambda folder: fitted().log_density(PAIRS[["x", "kind"]]),
)
