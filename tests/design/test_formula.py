"""Formulas to matrices: terms and groups by name, new rows as in training, any response."""

from __future__ import annotations

import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_fits import people

import bayesmix as bm
from bayesmix.design import formula, grammar
from bayesmix.design.response import Outcome, new_trials, read_outcome
from bayesmix.errors import DataError, FormulaError, SpecError


def matrices(rhs: str, data: pd.DataFrame | None = None) -> formula.Matrices:
    """A right-hand side evaluated on the people, or on other data."""
    return formula.evaluate(rhs, people() if data is None else data)


@pytest.mark.parametrize(
    ("rhs", "names"),
    [
        ("sex", ["sex"]),
        ("1", []),
        ("0 + edu + sex", ["edu", "sex"]),
        ("sex + (age | edu:region)", ["age", "edu", "region", "sex"]),
        ("np.log(age) + I(sex * 2) + 1", ["age", "sex"]),
        ("scale(age) * C(region) + offset(total)", ["age", "region", "total"]),
        ("`a b` + été + my.col", ["a b", "my.col", "été"]),
    ],
)
def test_variables(rhs: str, names: list[str]) -> None:
    """The columns that a formula reads, without functions and numbers, in a fixed order."""
    assert grammar.variables(rhs) == names


@pytest.mark.parametrize("text", ["y ~ x", "y~x", "  y  ~  x ", "y ~\n x"])
def test_split(text: str) -> None:
    """Blanks around the sides do not matter."""
    assert grammar.split(text) == ("y", "x")


def test_numeric_terms() -> None:
    """Numbers and truth values give one column each, under their own names."""
    found = matrices("age + sex + urban + age:sex")
    data = people()
    assert [term.name for term in found.terms] == ["Intercept", "age", "sex", "urban", "age:sex"]
    assert all(term.scalar for term in found.terms)
    wanted = [np.ones(8), data.age, data.sex, data.urban, data.age * data.sex]
    np.testing.assert_array_equal(found.common, np.column_stack(wanted).astype(float))
    assert found.column_labels == ("Intercept", "age", "sex", "urban", "age:sex")


def test_categories_without_an_intercept_have_all_their_levels() -> None:
    """``0 + edu`` gives an indicator column a level, in the order of the levels."""
    found = matrices("0 + edu")
    (term,) = found.terms
    assert term.levels == ("Some HS", "HS Grad", "Some College", "Prof School")
    np.testing.assert_array_equal(found.common, np.repeat(np.eye(4), 2, axis=0))
    assert found.column_labels[1] == "edu[HS Grad]"


def test_categories_beside_an_intercept_lack_the_first_level() -> None:
    """With an intercept, the first level is what the others are compared with."""
    found = matrices("edu + region")
    assert found.terms[1].levels == ("HS Grad", "Some College", "Prof School")
    assert found.terms[2].levels == ("south", "west")
    assert found.common.shape == (8, 6)


def test_categories_that_do_not_occur_are_left_out() -> None:
    """A level without rows, as a filter leaves them, gives no column of zeros."""
    data = people().query("edu != 'HS Grad'")
    assert "HS Grad" in data["edu"].cat.categories
    found = matrices("0 + edu", data.reset_index(drop=True))
    assert found.terms[0].levels == ("Some HS", "Some College", "Prof School")
    assert (found.common.sum(axis=0) == 2).all()


def test_offsets_are_kept_apart() -> None:
    """An offset is added to the linear predictor and has no parameter."""
    found = matrices("sex + offset(np.log(total))")
    assert [term.name for term in found.terms] == ["Intercept", "sex"]
    assert found.offset is not None
    np.testing.assert_allclose(found.offset, np.log(people().total))
    assert matrices("sex").offset is None


def test_group_effects() -> None:
    """``(sex | edu)`` varies the intercept and the slope over the levels of edu."""
    found = matrices("sex + (sex | edu)")
    (factor,) = found.factors
    assert factor.effects == ("Intercept", "sex")
    assert factor.levels == ("Some HS", "HS Grad", "Some College", "Prof School")
    assert [factor.deviation(effect) for effect in factor.effects] == ["1|edu", "sex|edu"]
    np.testing.assert_array_equal(found.index["edu"], np.repeat(range(4), 2))
    np.testing.assert_array_equal(found.effects["edu"], np.column_stack([np.ones(8), people().sex]))


def test_brackets_are_independent() -> None:
    """Each bracket is a block of its own; the second of a grouping is called as lme4 calls it."""
    found = matrices("(1 | edu) + (1 | region) + (0 + age | edu)")
    assert [factor.name for factor in found.factors] == ["edu", "region", "edu.1"]
    first, _, second = found.factors
    assert (first.effects, second.effects) == (("Intercept",), ("age",))
    assert (first.deviation("Intercept"), second.deviation("age")) == ("1|edu", "age|edu")
    assert first.dims[0] == second.dims[0] == "edu_group"
    assert first.levels == second.levels
    np.testing.assert_array_equal(found.effects["edu.1"][:, 0], people().age)


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("(age || edu)", "(1 | edu) + (0 + age | edu)"),
        ("(age + sex || edu)", "(1 | edu) + (0 + age | edu) + (0 + sex | edu)"),
        ("(0 + age + sex || edu)", "(0 + age | edu) + (0 + sex | edu)"),
        ("(region || edu)", "(1 | edu) + (0 + region | edu)"),
        ("sex + (age || edu + region)", "sex + (age || edu) + (age || region)"),
    ],
)
def test_two_bars_are_short_for_brackets(short: str, long: str) -> None:
    """``(x || g)`` means (1 | g) + (0 + x | g), as in lme4."""
    one, other = matrices(short), matrices(long)
    assert {f.terms: f.effects for f in one.factors} == {f.terms: f.effects for f in other.factors}
    by_terms = {factor.terms: other.effects[factor.name] for factor in other.factors}
    for factor in one.factors:
        np.testing.assert_array_equal(one.effects[factor.name], by_terms[factor.terms])


@pytest.mark.parametrize(
    ("rhs", "effects"),
    [
        ("(region | edu)", ["Intercept", "region[south]", "region[west]"]),
        ("(0 + region | edu)", ["region[north]", "region[south]", "region[west]"]),
        ("(1 | edu) + (0 + region | edu)", ["region[north]", "region[south]", "region[west]"]),
        (
            "(0 + region | edu + sex) + (1 | sex)",
            ["region[north]", "region[south]", "region[west]"],
        ),
    ],
)
def test_categories_of_a_bracket(rhs: str, effects: list[str]) -> None:
    """A category lacks its first level only beside an intercept in the same brackets."""
    assert effects in [list(factor.effects) for factor in matrices(rhs).factors]


def test_a_grouping_may_have_the_name_of_a_block() -> None:
    """A column called edu.1 keeps its name; the second block of edu takes the next number."""
    data = people().assign(**{"edu.1": list("aabbccdd")})
    found = matrices("(1 | edu) + (0 + age | edu) + (1 | edu.1)", data)
    assert [factor.name for factor in found.factors] == ["edu", "edu.2", "edu.1"]


def test_crossed_groups_are_joined_by_a_colon() -> None:
    """``(1 | edu:region)`` has a group for each pair that occurs."""
    data = people()
    found = matrices("(1 | edu:region)", data)
    (factor,) = found.factors
    labels = [f"{edu}:{region}" for edu, region in zip(data.edu, data.region, strict=True)]
    assert factor.labels(data) == labels
    assert set(factor.levels) == set(labels)
    assert [factor.levels[i] for i in found.index["edu:region"]] == labels


@pytest.mark.parametrize("zero", ["07001", "7001"])
def test_groups_may_be_numbers_as_text(zero: str) -> None:
    """A post code as text is a fine group, with its leading zero."""
    data = people().assign(post=[zero, "10115"] * 4)
    assert set(matrices("(1 | post)", data).factors[0].levels) == {zero, "10115"}


def test_whole_floats_are_the_same_groups_as_integers() -> None:
    """A group column that a CSV reader made 1.0 matches the 1 of training, and back."""
    data = people().assign(school=[1, 2, 3, 1, 2, 3, 1, 2])
    as_float = data.assign(school=data.school.astype(float))
    for trained, new in ((data, as_float), (as_float, data)):
        found = matrices("(1 | school)", trained)
        assert found.factors[0].levels == ("1", "2", "3")
        again = formula.evaluate_new(found, new)
        np.testing.assert_array_equal(again.index["school"], data.school - 1)


def test_numeric_groups_are_in_order_of_their_numbers() -> None:
    """Groups 2 and 10 come in that order, not in that of their texts."""
    data = people().assign(ward=[10, 2, 10, 2, 7.5, 7.5, 2, 10])
    assert matrices("(1 | ward)", data).factors[0].levels == ("2.0", "7.5", "10.0")


@pytest.mark.parametrize(
    ("column", "order"),
    [
        (list("bacb") * 2, "abc"),
        (pd.Categorical(list("bacb") * 2, categories=list("cab")), "abc"),
        (pd.Categorical(list("bacb") * 2, categories=list("czab"), ordered=True), "cab"),
        ([True, False] * 4, ["False", "True"]),
        (pd.Categorical([10, 9, 2, 9] * 2), ["2", "9", "10"]),
    ],
)
def test_order_of_groups(column: Any, order: Any) -> None:
    """Ordered categories keep their order; everything else is sorted by value."""
    data = people().assign(g=column)
    assert matrices("(1 | g)", data).factors[0].levels == tuple(order)
    assert matrices("g + (1 | g)", data).factors[0].levels == tuple(order)


def test_pairs_of_groups_are_in_the_order_of_their_parts() -> None:
    """The groups of edu:region run through the levels of edu, and within each through region."""
    levels = matrices("(1 | edu:region)").factors[0].levels
    assert levels[:3] == ("Some HS:north", "Some HS:south", "HS Grad:south")
    assert matrices("(1 | region:edu)").factors[0].levels[0] == "north:Some HS"


def test_new_groups_come_after_the_trained_ones() -> None:
    """Groups never seen get positions past the trained ones, in the order of their rows."""
    found = matrices("sex + (1 | edu)")
    new = people().iloc[:4].assign(edu=["new", "HS Grad", "other", "new"])
    again = formula.evaluate_new(found, new)
    np.testing.assert_array_equal(again.index["edu"], [4, 1, 5, 4])
    assert again.levels["edu"][4:] == ("new", "other")
    assert found.levels["edu"] == found.factors[0].levels


RIGHT = (
    "sex + age",
    "0 + edu + urban",
    "edu * age",
    "scale(age) + center(total) + region",
    "poly(age, 2) + C(sex)",
    "bs(age, df=4)",
    "np.log(age) + I(age / 10) + offset(age)",
    "age + (age + region | edu) + (1 | region)",
    "log(age) + (age + region || edu)",
    "cr(age, df=4) + tp(sex + age, df=5)",
)


@pytest.mark.parametrize("rhs", RIGHT)
def test_training_rows_come_out_the_same_as_new_rows(rhs: str) -> None:
    """Evaluated as new rows, the training rows give the training matrices."""
    found = matrices(rhs)
    assert_same_rows(formula.evaluate_new(found, people()), found, np.arange(8))


@pytest.mark.parametrize("rhs", RIGHT)
@settings(max_examples=12)
@given(rows=st.lists(st.integers(0, 7), min_size=1, max_size=12))
def test_a_row_is_evaluated_alone(rhs: str, rows: list[int]) -> None:
    """Levels and transforms come from training: a row's values do not depend on its company."""
    found = matrices(rhs)
    new = people().iloc[rows].reset_index(drop=True)
    assert_same_rows(formula.evaluate_new(found, new), found, np.array(rows))


def assert_same_rows(new: formula.Matrices, old: formula.Matrices, rows: np.ndarray) -> None:
    """Matrices of new rows hold the values of those training rows."""
    np.testing.assert_allclose(new.common, old.common[rows], rtol=1e-12, atol=1e-12)
    for name in old.effects:
        np.testing.assert_array_equal(new.effects[name], old.effects[name][rows])
        np.testing.assert_array_equal(new.index[name], old.index[name][rows])
    if old.offset is not None:
        assert new.offset is not None
        np.testing.assert_array_equal(new.offset, old.offset[rows])


@pytest.mark.parametrize("kind", ["category", "str", "object", "other categories"])
def test_new_rows_may_hold_categories_in_any_type(kind: str) -> None:
    """Text, objects and categoricals with other categories are read by their labels."""
    data = people()
    found = matrices("edu + age", data)
    new = data.iloc[[6, 1, 3]].reset_index(drop=True)
    if kind == "other categories":
        levels = ["Prof School", "HS Grad", "Some HS", "Some College", "unused"]
        new["edu"] = pd.Categorical(new["edu"].astype(str), categories=levels)
    else:
        new["edu"] = new["edu"].astype(kind)
    assert_same_rows(formula.evaluate_new(found, new), found, np.array([6, 1, 3]))


def test_evaluating_leaves_the_data_alone() -> None:
    """Neither training nor new data are changed."""
    data = people().assign(school=np.array([1.0, 2.0] * 4))
    kept = data.copy(deep=True)
    found = matrices("edu + (age | school)", data)
    formula.evaluate_new(found, data)
    pd.testing.assert_frame_equal(data, kept)


def test_a_slash_becomes_a_division_sign() -> None:
    """No name in a tree holds a slash, so I(age / 10) is reported as I(age ÷ 10)."""
    data = people().rename(columns={"edu": "a/b", "sex": "s/x"})
    found = matrices("I(age / 10) + (`s/x` | `a/b`)", data)
    assert found.column_labels == ("Intercept", "I(age ÷ 10)")
    (factor,) = found.factors
    assert (factor.name, factor.columns) == ("a÷b", ("a/b",))
    assert factor.effects == ("Intercept", "s÷x")
    assert_same_rows(formula.evaluate_new(found, data), found, np.arange(8))


def test_many_groups_take_no_time() -> None:
    """Groups are looked up, and never become indicator columns: 20,000 cost a moment."""
    labels = [f"g{i:05d}" for i in range(20_000)]
    data = pd.DataFrame({"g": labels[::-1], "h": labels, "x": 1.0})
    tracemalloc.start()
    start = time.process_time()
    found = formula.evaluate("x + (x | g) + (1 | g:h)", data)
    again = formula.evaluate_new(found, data.iloc[:5].assign(g="new"))
    spent, (_, peak) = time.process_time() - start, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (spent < 10, peak < 2e8) == (True, True)
    np.testing.assert_array_equal(found.index["g"], range(19_999, -1, -1))
    assert found.factors[0].levels == tuple(labels)
    np.testing.assert_array_equal(again.index["g"], 20_000)


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("p(high, total)", Outcome("high", "total")),
        ("prop( high ,total )", Outcome("high", "total")),
        ("proportion(sex, 3)", Outcome("sex", 3)),
        ("cbind(high, total)", Outcome("high", "total", adds=True)),
        ("cbind( high , total - high )", Outcome("high", "total")),
        ("rich", Outcome("rich", 1)),
        ("urban", Outcome("urban", 1)),
        ("answer", Outcome("answer", 1, "yes", ("no", "yes"))),
        ("answer['no']", Outcome("answer", 1, "no")),
        ('answer["no"]', Outcome("answer", 1, "no")),
        ("answer[no]", Outcome("answer", 1, "no")),
        ("region[west]", Outcome("region", 1, "west")),
        ("sex[0]", Outcome("sex", 1, "0")),
        ("p(`a b`, `n/n`)", Outcome("a b", "n/n")),
        ("été", Outcome("été", 1)),
    ],
)
def test_responses(text: str, outcome: Outcome) -> None:
    """Counts, 0/1, truth values and labels, with names of any kind."""
    data = people().assign(**{"a b": 1, "n/n": 2, "été": [0, 1] * 4})
    assert read_outcome(text, data) == outcome


@pytest.mark.parametrize(
    ("text", "successes", "trials"),
    [
        ("p(high, total)", people()["high"], people()["total"]),
        ("p(sex, 3)", [0, 1] * 4, [3] * 8),
        ("cbind(high, total)", people()["high"], people()["high"] + people()["total"]),
        ("cbind(high, total - high)", people()["high"], people()["total"]),
        ("urban", [1, 0, 1, 1, 0, 0, 1, 0], [1] * 8),
        ("answer", [0, 1, 1, 0, 0, 1, 0, 1], [1] * 8),
        ("answer['no']", [1, 0, 0, 1, 1, 0, 1, 0], [1] * 8),
        ("region['west']", [0, 0, 0, 1, 0, 1, 0, 0], [1] * 8),
    ],
)
def test_successes_and_trials(text: str, successes: Any, trials: Any) -> None:
    """Every kind of response becomes whole successes of whole trials."""
    data = people()
    values = read_outcome(text, data).values(data)
    np.testing.assert_array_equal(values["successes"], successes)
    np.testing.assert_array_equal(values["trials"], trials)
    assert {array.dtype for array in values.values()} == {np.dtype(np.int64)}


def test_the_second_category_is_the_success() -> None:
    """Of two categories in use, the second in their own order is the success."""
    levels = ["yes", "unused", "no"]
    data = people().assign(answer=lambda d: pd.Categorical(d["answer"], categories=levels))
    assert read_outcome("answer", data).success == "no"


def test_whole_floats_are_counts() -> None:
    """Counts that a CSV reader made floats are counts."""
    data = people().astype({"high": float, "total": float})
    values = read_outcome("p(high, total)", data).values(data)
    np.testing.assert_array_equal(values["successes"], people()["high"])


@pytest.mark.parametrize(
    ("columns", "wanted"),
    [
        (["high", "total"], {"successes", "trials"}),
        (["total"], {"trials"}),
        (["high"], {"trials"}),
        ([], {"trials"}),
    ],
)
def test_new_rows_need_no_outcome(columns: list[str], wanted: set[str]) -> None:
    """Without a column of trials each new row is one trial; an outcome is read where complete."""
    data = people()[["sex", *columns]]
    found = new_trials(Outcome("high", "total"), data)
    assert set(found) == wanted
    trials = people()["total"] if "total" in columns else np.ones(8)
    np.testing.assert_array_equal(found["trials"], trials)


def test_a_grouping_call_is_refused() -> None:
    """(1 | C(sex)) would need levels for rows never seen; the message says what to write."""
    with pytest.raises(FormulaError, match=r"must be columns.*got 'C\(sex\)'"):
        matrices("(1 | C(sex))")


def test_a_number_that_became_text_is_refused() -> None:
    """New rows with text where training had numbers are named with their value."""
    found = matrices("age + sex")
    with pytest.raises(DataError, match=r"'age' held numbers in training, now 'young'"):
        formula.evaluate_new(found, people().assign(age="young"))


def test_new_rows_of_cbind_are_one_trial_without_their_successes() -> None:
    """Trials of cbind(y, failures) are known where both are; else each new row is one trial."""
    data = people()[["high", "total"]]
    outcome = Outcome("high", "total", adds=True)
    np.testing.assert_array_equal(new_trials(outcome, data)["trials"], data.sum(axis=1))
    for columns in (["total"], ["high"], []):
        rows = people()[["sex", *columns]]
        np.testing.assert_array_equal(new_trials(outcome, rows)["trials"], np.ones(8))


def test_cbind_is_the_same_model() -> None:
    """Failures beside successes give the likelihood of successes among their trials."""
    data = people().assign(low=lambda rows: rows["total"] - rows["high"])
    fits = [
        bm.fit(bm.BinomialGLM(f"{side} ~ sex"), data, method="mle", seed=1, progress=False)
        for side in ("p(high, total)", "cbind(high, low)", "cbind(high, total - high)")
    ]
    tables = [fit.summary()["estimate"].to_numpy() for fit in fits]
    np.testing.assert_array_equal(tables[0], tables[1])
    np.testing.assert_array_equal(tables[0], tables[2])
    with pytest.raises(SpecError, match=r"would change the trials of cbind.*write p\("):
        bm.calibrate.sbc(fits[1].model, data, replications=2, progress=False)  # type: ignore[arg-type]


def test_a_column_may_be_called_obs(tmp_path: Path) -> None:
    """A predictor and a group may have the name of the rows' dim; the data come back as given."""
    data = people().assign(obs=people()["age"])
    for formula_text, options in (
        ("p(high, total) ~ obs", {}),
        ("p(high, total) ~ sex + (1 | obs)", {"obs": list("aabbccdd")}),
        ("p(high, obs) ~ sex", {"obs": people()["total"]}),
    ):
        rows = data.assign(**options)
        found = bm.fit(bm.BinomialGLM(formula_text), rows, method="mle", seed=1, progress=False)
        pd.testing.assert_series_equal(found.data["obs"], rows["obs"])
        found.save(tmp_path / "fit.nc")
        again = bm.load(tmp_path / "fit.nc")
        np.testing.assert_array_equal(again.predict(rows)["mean"], found.predict(rows)["mean"])
        pd.testing.assert_frame_equal(again.summary(), found.summary())
        pd.testing.assert_frame_equal(again.data, found.data)
