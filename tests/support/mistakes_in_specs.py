"""Rows of the table of mistakes: formulas, models, methods, priors, seeds."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, ClassVar

from mistakes import (
    FORMULA,
    INF,
    NAN,
    TABLE,
    Row,
    add,
    fit,
    table,
)

import bayesmix as bm
from bayesmix.errors import (
    DataError,
    FormulaError,
    MissingCapability,
    SpecError,
    UnknownArgument,
    UnknownName,
)
from bayesmix.protocols import HasEM, Method, Model

ROWS: list[Row] = []
row = functools.partial(add, ROWS)

# Formulas
sides = r"must read 'response ~ predictors', for example 'p\(high, total\) ~ sex \+ \(sex \| edu\)'"
for what, text in (
    ("without a tilde", "p(high, total)"),
    ("with two tildes", "p(high, total) ~ age ~ sex"),
    ("that is empty", ""),
    ("of blanks", "   "),
    ("without predictors", "p(high, total) ~ "),
    ("without a response", "~ age"),
):
    row(f"a formula {what}", FormulaError, sides, fit(text))
row("a number for a formula", FormulaError, "a formula is a text, got int 3", fit(3))
row("a list for a formula", FormulaError, r"a formula is a text, got list \['y'\]", fit(["y"]))
for text, words in (
    ("age +* sex", r"cannot parse formula 'age \+\* sex': Don't know how to parse '\*'"),
    ("\ud800", r"cannot parse formula '.ud800': Unexpected character"),
    ("(age", "cannot parse formula '.age': Expect '.' after expression"),
    ("age ? sex", r"cannot parse formula 'age \? sex': Unexpected character: \?"),
    ("age +", "cannot parse formula 'age .'"),
    ("(1 | edu) + (age | edu)", r"'1\|edu' stands in two terms: write \(1 \+ x \| edu\)"),
    ("(age | edu) + (0 + age | edu)", r"'age\|edu' stands in two terms.*age in one alone"),
    ("(age ||| edu)", "cannot parse formula"),
    ("age sex", "cannot parse formula 'age sex': 'sex' follows a complete term"),
    ("age > 1", r"has '>' outside of a function; write it as I\(x > 1\)"),
    ("edu['a']", r"has edu\['a'\] among the predictors; write I\(edu == 'a'\)"),
    ("logg(age)", "may not call 'logg': did you mean 'log'.*Allowed are 'B', 'C', .*of NumPy"),
    ("np.logg(age)", "may not call 'np.logg': did you mean 'np.log'"),
    ("np.sort(age)", "may not call 'np.sort': did you mean 'np.sqrt'"),
    ("log(age, total)", r"must give log 1 argument\(s\) and no options"),
    ("log(age, out=total)", r"must give log 1 argument\(s\) and no options"),
    ("p(high, total)", r"has p\(...\) among the predictors; it belongs to the left-hand side"),
    ("scale(age, 2)", "must give scale one column or expression; it has no options"),
    ("bs(age, dff=3)", "gives bs the option 'dff'; its options are 'df', 'lower_bound'"),
    ("bs(age, df='3')", "must give bs a plain whole number as df"),
    ("bs(age, df=total)", "must give bs a plain whole number as df"),
    ("poly(age, 5000)", "gives poly degree=5000; allowed are 0 to 1000"),
    ("I(edu * 'a')", "computes with 'a', which is not a number"),
    ("I(age ** 9007199254740993)", r"a number above 2\*\*53"),
    ("I(age:sex)", "has ':' inside a function"),
    ("(age + sex) ** age", "a power of terms that is not one of 1 to 1000"),
    ("age ** sex", "a power of terms that is not one of 1 to 1000"),
    (" * ".join(f"I(age + {i})" for i in range(12)), "expands to more than 1000 terms"),
    ("(" * 4000 + "age" + ")" * 4000, "the formula: it is nested too deeply"),
    ("0", "formula '0' has no effects; write at least '1'"),
    ("age + 3", r"'age \+ 3' holds the number 3 as a term: .* write arithmetic as I\(2 \* x\)"),
    ("2 * age", r"holds the number 2 as a term"),
    ("0 + offset(age)", r"formula '0 \+ offset\(age\)' has no effects; write at least '1'"),
    ("-1", "formula '-1' has no effects"),
    ("(1 | C(sex))", r"groups in .* must be columns, as in \(1 \| edu\).* got 'C\(sex\)'"),
):
    row(f"~ {text}", FormulaError, words, fit(f"p(high, total) ~ {text}"))
for text in (
    "log(rich)",
    "p(high)",
    "p(high, total, 1)",
    "high / total",
    "p(high, 2.5)",
    "cbind(high)",
    "cbind(high, 5)",
    "answer[]",
):
    row(
        f"{text} ~",
        FormulaError,
        "cannot read the response .* write p.successes",
        fit(f"{text} ~ 1"),
    )
row(
    "cbind of another difference",
    FormulaError,
    r"cannot read the response .*: write cbind\(high, failures\), or cbind\(high, total - high\)",
    fit("cbind(high, total - rich) ~ age"),
)
for text in ("high", "age + np.log(high)", "(high | edu)", "age:high"):
    words = "the outcome 'high' stands on both sides of the formula"
    row(f"the response in {text}", FormulaError, words, fit(f"p(high, total) ~ {text}"))

# Models and methods
spec = r"model must be a spec such as BinomialGLM\('p\(high, total\) ~ sex'\), got {}"
row(
    "a model class",
    SpecError,
    spec.format("the class BinomialGLM; call it: BinomialGLM"),
    lambda folder: bm.fit(bm.BinomialGLM, TABLE, cache=folder),  # type: ignore[arg-type]
)
row(
    "a formula for a model",
    SpecError,
    spec.format("'rich ~ age'. Families: BinomialGLM"),
    lambda folder: bm.fit("rich ~ age", TABLE, cache=folder),  # type: ignore[arg-type]
)
row(
    "model and data the wrong way round",
    SpecError,
    spec.format("a DataFrame"),
    lambda folder: bm.fit(TABLE, bm.BinomialGLM(FORMULA), cache=folder),  # type: ignore[arg-type]
)
row(
    "unknown method",
    UnknownName,
    r"unknown method 'nust': did you mean 'nuts'\? Allowed: 'advi', .* 'mle', 'nuts'",
    fit(method="nust"),
)
row("no method", UnknownName, "unknown method '': Allowed: 'advi'", fit(method=""))
row("a method class", SpecError, r"got the class MLE; call it: MLE\(...\)", fit(method=bm.MLE))
row("None for a method", SpecError, "got None; 'auto' is 'nuts' for this", fit(method=None))
row("a prior for a method", SpecError, "got Normal.loc=0.0", fit(method=bm.Normal()))


@dataclasses.dataclass(frozen=True)
class Step(Method):
    """A method for models with an EM step."""

    requires: ClassVar[type] = HasEM
    name: ClassVar[str] = "step"

    def run(self, model: Any, design: Any, *, seed: int, progress: Any) -> Any:
        """Never reached."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Plain(Model):
    """A model with nothing that a method needs."""

    default_method: ClassVar[str] = "nuts"

    def _none(self, *_: Any) -> Any:
        raise NotImplementedError

    design = new_design = dims = log_density = simulate = curves = moments = _none
    require_outcome = _none


row(
    "a method that the family lacks",
    MissingCapability,
    "Step needs em_step; BinomialGLM offers .*pymc_model, .*torch_module; try method='advi'",
    fit(method=Step()),
)
row(
    "a family that no method can fit",
    MissingCapability,
    "NUTS needs pymc_model; Plain offers nothing that a method needs",
    lambda folder: bm.fit(Plain(), TABLE, cache=folder),
)
whole = r"{}: {} must be a whole number >= {}, got {}"
for method, field, low, value in (
    (bm.NUTS, "draws", 1, -5),
    (bm.NUTS, "draws", 1, 10.5),
    (bm.NUTS, "draws", 1, True),
    (bm.NUTS, "draws", 1, "100"),
    (bm.NUTS, "chains", 1, 0),
    (bm.NUTS, "tune", 50, 0),
    (bm.NUTS, "cores", 1, 0),
    (bm.NUTS, "max_treedepth", 1, 0),
    (bm.ADVI, "steps", 100, 10),
    (bm.ADVI, "draws", 1, 0),
    (bm.Laplace, "draws", 1, 0),
    (bm.Laplace, "restarts", 1, 0),
    (bm.MAP, "max_iter", 1, 0),
    (bm.MLE, "restarts", 1, -1),
    (bm.MLE, "n_quadrature", 1, 0),
):
    row(
        f"{method.__name__}({field}={value!r})",
        SpecError,
        whole.format(method.__name__, field, low, repr(value)),
        lambda _, method=method, field=field, value=value: method(**{field: value}),
    )
real = r"{}: {} must be finite and lie in \({}, {}\), got {}"
for method, field, high, value in (
    (bm.NUTS, "target_accept", "1", 1.5),
    (bm.NUTS, "target_accept", "1", 0),
    (bm.NUTS, "target_accept", "1", NAN),
    (bm.ADVI, "learning_rate", "inf", 0),
    (bm.MAP, "tolerance", "inf", -1e-3),
    (bm.MLE, "tolerance", "inf", INF),
    (bm.Normal, "scale", "inf", -1),
    (bm.HalfCauchy, "scale", "inf", 0),
    (bm.StudentT, "df", "inf", -2),
    (bm.LKJ, "eta", "inf", 0),
):
    row(
        f"{method.__name__}({field}={value!r})",
        SpecError,
        real.format(method.__name__, field, 0, high, value),
        lambda _, method=method, field=field, value=value: method(**{field: value}),
    )
for method, field, value, words in (
    (bm.NUTS, "sampler", "stan", "sampler='stan' is not known: Allowed: 'nutpie', 'pymc'"),
    (bm.NUTS, "adaptation", "low-rank", "did you mean 'low_rank'"),
    (bm.ADVI, "covariance", "full", "did you mean 'fullrank'. Allowed: 'meanfield', 'fullrank'"),
    (bm.HalfNormal, "scale", "1", "HalfNormal: scale must be a number, got '1'"),
    (bm.Normal, "loc", INF, "Normal: loc must be finite"),
):
    row(
        f"{method.__name__}({field}={value!r})",
        SpecError,
        words,
        lambda _, method=method, field=field, value=value: method(**{field: value}),
    )
row(
    "unknown parametrization",
    SpecError,
    "parametrization='centred' is not known: did you mean 'centered'",
    fit(parametrization="centred"),
)
row(
    "values for weights",
    SpecError,
    "weights must be the name of a column or None, got .*; put the values into a column",
    fit(weights=(1.0, 2.0)),
)
row(
    "a column of weights that is not there",
    DataError,
    "'people'",
    fit(weights="people"),
)
row(
    "unknown link",
    SpecError,
    "link='cauchit' is not known: Allowed: 'logit', 'probit', 'cloglog'",
    fit(link="cauchit"),
)
for name, prior, words in (
    ("sigma", bm.Normal(), r"'sigma' must live on \[0, inf\), such as HalfNormal\(1\), got Normal"),
    ("age", 1.0, r"'age' must be a prior such as Normal\(0, 1\), got 1.0"),
    ("age", bm.LKJ(2), r"'age' must be a prior such as Normal\(0, 1\), got LKJ"),
    ("corr", bm.Normal(), "'corr' must be an LKJ, got Normal"),
    ("agee", bm.Normal(), "priors for 'agee' match nothing in the formula; allowed: .*'age'"),
):
    row(f"prior {name}={prior!r}", SpecError, words, fit(priors={name: prior}))

# Seeds and switches
for value, words in (
    ("1", "seed must be an int or None, got str '1'"),
    (-1, r"seed must lie in \[0, 2\*\*63\), got -1"),
    (2**63, r"seed must lie in \[0, 2\*\*63\), got 9223372036854775808"),
    (True, "seed must be an int or None, got bool True"),
    (1.5, "seed must be an int or None, got float 1.5"),
):
    row(f"seed={value!r}", SpecError, words, fit(seed=value))
row("progress='no'", SpecError, "progress must be True or False, got 'no'", fit(progress="no"))

# What has no answer
row(
    "linearly dependent columns",
    DataError,
    "'age', 'twice' are linearly dependent, .* use method='nuts'",
    fit("p(high, total) ~ age + twice", table(twice=2 * TABLE["age"])),
)
row(
    "a constant predictor",
    DataError,
    "'Intercept', 'age' are linearly dependent",
    fit(data=table(age=1.0)),
)
separated = "separates the outcomes perfectly, .* use method='nuts'"
row("perfect separation", DataError, separated, fit("rich ~ age", table(rich=TABLE["age"] > 0.2)))
row("all outcomes alike", DataError, separated, fit("rich ~ age", table(rich=1)))
for what, words, formula, method in (
    (
        "two grouping factors",
        "n_quadrature=5 is for one grouping factor, and this formula has 2; leave n_quadrature",
        "p(high, total) ~ age + (1 | edu) + (1 | party)",
        bm.MLE(n_quadrature=5),
    ),
    (
        "no groups",
        "n_quadrature=5 is for one grouping factor, and this formula has 0",
        "p(high, total) ~ age",
        bm.MLE(n_quadrature=5),
    ),
    (
        "too many nodes",
        "n_quadrature=50 for 2 effects of a group makes 2500 nodes, above 2000; use at most 44",
        "p(high, total) ~ age + (age | edu)",
        bm.MLE(n_quadrature=50),
    ),
):
    row(f"quadrature: {what}", SpecError, words, fit(formula, method=method))

# Arguments that a call does not have
for what, call, words in (
    ("a model", lambda: bm.BinomialGLM(formla="y ~ x"), "BinomialGLM has no option 'formla': did"),
    ("a method", lambda: bm.NUTS(chians=2), "NUTS has no option 'chians': did you mean 'chains'"),
    ("a prior", lambda: bm.Normal(sd=1), "Normal has no option 'sd': Allowed: 'loc', 'scale'"),
    ("an LKJ", lambda: bm.LKJ(n=2), "LKJ has no option 'n': Allowed: 'eta'"),
    ("an optimizer", lambda: bm.Adam(lr=0.1), "Adam has no option 'lr': Allowed: 'learning_rate'"),
    (
        "fit",
        lambda: bm.fit(1, 2, methd="mle"),
        "fit has no argument 'methd': did you mean 'method'",
    ),
    ("load", lambda: bm.load(file="x"), "load has no argument 'file': .*Allowed: 'path'"),
    ("compare", lambda: bm.compare({}, by="bic"), "compare has no argument 'by': .*'criterion'"),
    (
        "a verb",
        lambda: bm.Fit.predict(None, data=1),
        "predict has no argument 'data': .*'new_data'",
    ),
    ("a score", lambda: bm.scoring.crps([1], [[1]], exact=1), "crps has no argument 'exact'"),
    ("a figure", lambda: bm.plots.trace(None, name="x"), "trace has no .*: did you mean 'names'"),
    ("sbc", lambda: bm.calibrate.sbc(1, 2, n=3), "sbc has no argument 'n': Allowed: 'model'"),
    (
        "a data set",
        lambda: bm.datasets.census(year=1),
        "census has no argument 'year': Allowed: none",
    ),
):
    row(f"an argument that {what} lacks", UnknownArgument, words, lambda _, call=call: call())
