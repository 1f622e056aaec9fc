"""Rows of the table of mistakes: mixtures of experts and piecewise regressions."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pandas as pd
from mistakes import INF, NAN, NO_TABLE, Call, Row, add
from small_fits import branches

import bayesmix as bm
from bayesmix.errors import DataError, FormulaError, MissingCapability, SpecError, UnknownName

ROWS: list[Row] = []
row = functools.partial(add, ROWS)
TABLE = branches().assign(
    k=lambda rows: range(len(rows)),
    t=60,
    one=1.0,
    twice=lambda rows: 2 * rows["x"],
    group=lambda rows: ["u", "v", "w"] * 20,
)


def experts(formula: Any = "y ~ x", n_experts: Any = 2, data: Any = None, **options: Any) -> Call:
    """A mixture fitted, and written to the folder if it should succeed."""
    method = options.pop("method", "em")
    table = TABLE if data is None else data

    def call(folder: Path) -> bm.Fit:
        model = bm.MixtureOfExperts(formula, n_experts, **options)
        return bm.fit(model, table, method=method, seed=1, progress=False, cache=folder)

    return call


def pieces(formula: Any = "y ~ x", n_pieces: Any = 2, data: Any = None, **options: Any) -> Call:
    """A piecewise regression fitted, and written to the folder if it should succeed."""
    method = options.pop("method", "em")
    table = TABLE if data is None else data

    def call(folder: Path) -> bm.Fit:
        model = bm.PiecewiseRegression(formula, n_pieces, **options)
        return bm.fit(model, table, method=method, seed=1, progress=False, cache=folder)

    return call


def changed(name: str, value: Any, place: int = 3) -> pd.DataFrame:
    """The table with another value in one cell."""
    column = TABLE[name].astype(object if isinstance(value, str) else float)
    column.iloc[place] = value
    return TABLE.assign(**{name: column})


@functools.cache
def fitted(kind: str) -> bm.Fit:
    """A small fit that is asked for something."""
    models = {
        "gaussian": bm.MixtureOfExperts("y ~ x + kind", 2, scale="constant", gate="1"),
        "binomial": bm.MixtureOfExperts("p(k, t) ~ x", 1, "binomial"),
        "piecewise": bm.PiecewiseRegression("y ~ x", 2),
    }
    method = bm.EM(restarts=1, max_iter=3)
    return bm.fit(models[kind], TABLE, method=method, seed=1, progress=False)


# Number of components
for value in (0, -1, 1.5, "3", None, True, NAN):
    words = f"must be a whole number >= 1, got {value!r}"
    row(f"experts: {value!r}", SpecError, f"n_experts {words}", experts(n_experts=value))
    row(f"pieces: {value!r}", SpecError, f"n_pieces {words}", pieces(n_pieces=value))
row(
    "more experts than rows",
    DataError,
    "5 experts need as many rows, got 4; use fewer",
    experts(n_experts=5, data=TABLE.iloc[:4]),
)
row(
    "more pieces than rows",
    DataError,
    "5 pieces need as many rows, got 4; use fewer",
    pieces(n_pieces=5, data=TABLE.iloc[:4]),
)

# Targets
for kind, fit in (("experts", experts), ("pieces", pieces)):
    row(
        f"{kind}: a constant target",
        DataError,
        "the target 'one' has the same value in every row, so there is no density to learn",
        fit("one ~ x"),
    )
    row(
        f"{kind}: True and False as a target",
        DataError,
        "column 'y' holds True and False, and a density is of measured numbers: use BinomialGLM",
        fit(data=TABLE.assign(y=TABLE["y"] > 0)),
    )
    row(
        f"{kind}: a target of 1e-300",
        DataError,
        "column 'y' goes up to .*e-300, and squares of such numbers are zero",
        fit(data=TABLE.assign(y=TABLE["y"] * 1e-300)),
    )
for what, call, free in (
    ("experts", experts("y ~ x", 1, TABLE.iloc[:2]), 4),
    ("experts in torch", experts("y ~ x", 1, TABLE.iloc[:2], method="mle"), 4),
    ("pieces", pieces("y ~ x", 1, TABLE.iloc[:2]), 3),
):
    words = f"has {free} coefficients, and the data have 2 rows.* Give at least {free} rows, and"
    row(f"{what}: two rows", DataError, words, call)
row(
    "experts: a floor wider than the target",
    DataError,
    "the target 'y' varies by 0.* floor=5 is the least scale .* such as floor=0.00",
    experts(floor=5.0),
)

# Predictors
for kind, fit in (("experts", experts), ("pieces", pieces)):
    for what, formula, culprit in (
        ("a constant predictor", "y ~ x + one", "one"),
        ("a predictor twice over", "y ~ x + twice", "twice"),
    ):
        words = f"the data do not determine the coefficient of '{culprit}': its column is constant"
        row(f"{kind}: {what}", DataError, words, fit(formula))
    row(
        f"{kind}: one row",
        DataError,
        "do not determine the coefficient of 'x': .* fewer rows than columns; drop it",
        fit("y ~ x", 1, TABLE.iloc[:1]),
    )
    row(f"{kind}: no rows", DataError, "data has no rows", fit(data=TABLE.iloc[:0]))
    for value, word in ((NAN, "missing"), (INF, "infinite")):
        for name in ("x", "y"):
            words = f"column '{name}' has 1 {word} value.s., first in row 3"
            row(f"{kind}: {value} in {name}", DataError, words, fit(data=changed(name, value)))
    row(
        f"{kind}: text in a column of numbers",
        DataError,
        "column 'x' holds 'float', 'str'; give one kind: numbers, text or a category",
        fit(data=changed("x", "oops")),
    )
    row(
        f"{kind}: an unknown predictor",
        DataError,
        "data lacks 'xx'.*; its columns are 'x', 'y'",
        fit("y ~ xx"),
    )
    row(
        f"{kind}: an unknown target",
        DataError,
        "data lacks 'yy'.*; its columns are 'x', 'y'",
        fit("yy ~ x"),
    )
    row(
        f"{kind}: group effects",
        FormulaError,
        r"mixtures take no group effects, 'x \+ \(1 \| group\)' has some of 'group'; use",
        fit("y ~ x + (1 | group)"),
    )
    row(
        f"{kind}: the target on both sides",
        FormulaError,
        "the target 'y' stands on both sides of the formula",
        fit("y ~ x + y"),
    )
    row(
        f"{kind}: a transformed target",
        FormulaError,
        r"the target 'np.log\(y\)' must be a column; .* data.assign\(log_y=np.log\(data.y\)\)",
        fit("np.log(y) ~ x"),
    )
    row(
        f"{kind}: a target of text",
        DataError,
        "column 'kind' must hold numbers, got '[ab]' .*convert it with",
        fit("kind ~ x"),
    )
    row(
        f"{kind}: trials of a measured target",
        FormulaError,
        r"'p\(k, t\)' is successes among trials, which need expert='binomial' \(got 'gaussian'\)",
        fit("p(k, t) ~ x"),
    )
    row(
        f"{kind}: a target called component",
        DataError,
        "the target cannot be called so; rename it, for example data.rename",
        fit("component ~ x", data=TABLE.rename(columns={"y": "component"})),
    )
    row(f"{kind}: no formula", FormulaError, "must read 'response ~ predictors'", fit("y"))
    row(f"{kind}: a number for a formula", FormulaError, "a formula is a text", fit(3))
    row(f"{kind}: no data", DataError, NO_TABLE.format("list"), fit(data=[1, 2]))
row(
    "experts: a constant predictor, in torch",
    DataError,
    "do not determine the coefficient of 'one'",
    experts("y ~ x + one", method="mle"),
)
row(
    "experts: the target in the gate",
    FormulaError,
    "the target 'y' stands on both sides",
    experts(gate="y"),
)
row(
    "experts: a column named as if it were the gate's",
    DataError,
    "'gate_size' would read as a coefficient of the gate or the scale; rename it",
    experts("y ~ gate_size", data=TABLE.assign(gate_size=TABLE["x"])),
)
row(
    "experts: a column named as a coefficient",
    DataError,
    "'gate_x' would name two coefficients each; rename the column",
    experts("y ~ x + gate_x", data=TABLE.rename(columns={"twice": "gate_x"})),
)
row(
    "experts: a column called expert",
    DataError,
    "has a dimension called 'expert', so a column cannot be; rename it",
    experts("y ~ expert", data=TABLE.rename(columns={"x": "expert"})),
)
for name in ("weight", "scale"):
    row(
        f"pieces: a column called {name}",
        DataError,
        f"a piecewise regression has a parameter '{name}' of its own; rename the predictor",
        pieces(f"y ~ x + {name}", data=TABLE.rename(columns={"one": name})),
    )

# Counts
for value, word in ((-1.0, "negative"), (1.5, "not whole")):
    words = f"column 'k' must hold counts; 1 value.s. are {word}, first {value} in row 3"
    data = changed("k", value)
    row(f"poisson: {value}", DataError, words, experts("k ~ x", expert="poisson", data=data))
    binomial = experts("p(k, t) ~ x", expert="binomial", data=data)
    row(f"binomial: {value}", DataError, words, binomial)
row(
    "binomial: successes above trials",
    DataError,
    "successes above trials: 'k' is 61 of 60 in row 3; 1 row.s. in all",
    experts("p(k, t) ~ x", expert="binomial", data=changed("k", 61)),
)
row(
    "binomial: a column of numbers alone",
    DataError,
    r"column 'y' must be 0 or 1, got .* for counts write p\(y, trials\) ~ \.\.\.",
    experts(expert="binomial"),
)
row(
    "poisson: trials",
    FormulaError,
    "need expert='binomial' .got 'poisson'.; a poisson target is a column",
    experts("p(k, t) ~ x", expert="poisson"),
)

# Options
row(
    "an unknown kind of expert",
    SpecError,
    "expert='gamma' is not known: Allowed: 'gaussian', 'binomial', 'poisson'",
    experts(expert="gamma"),
)
for value, words in (
    (-1, r"must be finite and lie in \[0, inf\], got -1"),
    (NAN, "must be finite"),
    (INF, "must be finite"),
    ("a", "must be a number, got 'a'"),
):
    row(f"floor {value!r}", SpecError, f"floor {words}", experts(floor=value))
for side in ("gate", "scale"):
    for value in (3, None, "", " ", "~", "y ~ x"):
        row(
            f"{side}={value!r}",
            SpecError,
            f"{side} must be the right-hand side of a formula, such as 'x', got {value!r}",
            experts(**{side: value}),
        )
    words = "data lacks 'xx'.*; its columns are"
    row(f"{side}: an unknown column", DataError, words, experts(**{side: "x + xx"}))
    words = "an offset belongs to the formula of the experts, not to 'x . offset.twice.'"
    row(f"{side}: an offset", FormulaError, words, experts(**{side: "x + offset(twice)"}))
    words = "mixtures take no group effects, '.1 . group.' has some"
    row(f"{side}: group effects", FormulaError, words, experts(**{side: "(1 | group)"}))
    words = "do not determine the coefficient of .*one': its column is constant"
    row(f"{side}: a constant", DataError, words, experts(**{side: "x + one"}))
    words = "formula '0' has no effects; write at least '1'"
    row(f"{side}: nothing", FormulaError, words, experts(**{side: "0"}))

# Priors
row(
    "a prior of nothing in the mixture",
    SpecError,
    "priors for 'z' match nothing in the model; allowed: 'all', 'loc', 'gate', 'scale', 'Inter.*x'",
    experts(priors={"z": bm.Normal(0, 1)}),
)
row(
    "a prior of the scale of counts",
    SpecError,
    "priors for 'scale_x' match nothing in the model; allowed: .*'gate_x'$",
    experts("k ~ x", expert="poisson", priors={"scale_x": bm.Normal(0, 1)}),
)
for value in (3, "Normal(0, 1)", None, bm.Normal, bm.LKJ(2.0)):
    words = "the prior of 'x' must be a prior such as Normal.0, 1., got "
    row(f"experts: {value!r} for a prior", SpecError, words, experts(priors={"x": value}))
for value in ([1, 2], "x", 3, [("x",)]):
    words = r"priors must be a mapping such as \{'x': Normal\(0, 1\)\}, got "
    row(f"experts: priors={value!r}", SpecError, words, experts(priors=value))
row(
    "experts: a prior without a name",
    SpecError,
    "the prior of 3 must be a prior such as",
    experts(priors={3: bm.Normal(0, 1), "x": bm.Normal(0, 1)}),
)

# Pins
for value in ((0.5, 0.2), [1, 0]):
    row(
        f"pins {value!r}",
        SpecError,
        r"pins must be \(low, high\) with low <= high, got",
        pieces(pins=value),
    )
for value in ((0.5,), (0, 1, 2), 0.5, "ab", {0, 1}):
    row(
        f"pins {value!r}",
        SpecError,
        r"pins must be two numbers \(low, high\) or None, got",
        pieces(pins=value),
    )
row("pins of text", SpecError, "pins must be a number, got 'a'", pieces(pins=("a", "b")))
row("pins of nothing", SpecError, "pins must be finite", pieces(pins=(NAN, 1)))
row(
    "pins without a numeric predictor",
    SpecError,
    "pins need a numeric predictor, and 'y ~ kind' has none",
    pieces("y ~ kind", pins=(0, 1)),
)

# Methods
for method, entry in (("nuts", "pymc_model"), ("mle", "torch_module"), ("dadvi", "pymc_model")):
    row(
        f"pieces by {method}",
        MissingCapability,
        f"{method.upper()} needs {entry}; PiecewiseRegression offers em_step.*; try method='em'",
        pieces(method=method),
    )
row(
    "EM of a regression",
    MissingCapability,
    "EM needs em_step; BinomialGLM offers",
    lambda folder: bm.fit(bm.BinomialGLM("p(k, t) ~ x"), TABLE, method="em", seed=1, cache=folder),
)
row(
    "experts by an unknown method",
    UnknownName,
    "unknown method 'emm': did you mean 'em'",
    experts(method="emm"),
)
row("EM: no starts", SpecError, "restarts must be a whole number >= 1", lambda _: bm.EM(restarts=0))
row("EM: no steps", SpecError, "max_iter must be a whole number >= 1", lambda _: bm.EM(max_iter=0))
row("EM: tolerance", SpecError, "tolerance must be finite", lambda _: bm.EM(tolerance=-1))
row(
    "DADVI: an unknown covariance",
    SpecError,
    "covariance='full' is not known: did you mean 'fullrank'",
    lambda _: bm.DADVI(covariance="full"),
)

# What is asked of a fit
row(
    "experts: new rows without a predictor",
    DataError,
    "data lacks 'x'; its columns are 'y', 'kind'",
    lambda _: fitted("gaussian").predict(TABLE[["y", "kind"]]),
)
row(
    "experts: new rows with an unseen category",
    DataError,
    "column 'kind' holds 'zz', unseen in training; known: 'a', 'b'",
    lambda _: fitted("gaussian").predict(TABLE.assign(kind="zz")),
)
row(
    "experts: new rows with a missing predictor",
    DataError,
    "column 'x' has 1 missing value.s., first in row 3",
    lambda _: fitted("gaussian").sample(changed("x", NAN)),
)
for kind, names in (("gaussian", "'y'"), ("piecewise", "'y'"), ("binomial", "'k', 't'")):
    lacking = TABLE[["x", "kind"]].assign(k=TABLE["k"])
    words = f"these rows cannot be scored: give the target, {names}, in every row"
    for ask in ("log_density", "responsibilities"):
        row(
            f"{kind}: {ask} without a target",
            DataError,
            words,
            lambda _, kind=kind, ask=ask, lacking=lacking: getattr(fitted(kind), ask)(lacking),
        )
row(
    "experts: a target with a gap",
    DataError,
    "give the target, 'y', in every row",
    lambda _: fitted("gaussian").log_density(changed("y", NAN)),
)
row(
    "experts: an infinite target",
    DataError,
    "column 'y' has 1 infinite value.s., first in row 3",
    lambda _: fitted("gaussian").log_density(changed("y", INF)),
)
