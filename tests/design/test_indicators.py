"""Which text is a factor, and how many levels a factor may have."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
from small_fits import people

import bayesmix as bm
from bayesmix.design import formula, indicators
from bayesmix.design.columns import Columns
from bayesmix.errors import DataError


@pytest.mark.parametrize(
    "codes",
    [
        ["0", "1", "2", "3+"] * 2,
        ["01", "23", "46", "7p"] * 2,
        ["2", "2", "2", "2", "2", "2", "2", "b"],
    ],
    ids=["0 1 2 3+", "01 23 46 7p", "one word"],
)
def test_codes_are_a_factor(codes: list[str]) -> None:
    """A column of text is a factor where some value is not a number, in formulas and networks."""
    data = people().assign(code=codes)
    found = formula.evaluate("0 + code", data)
    assert found.terms[0].levels == tuple(sorted(set(codes)))
    assert Columns.of(["code"], data).levels == (tuple(sorted(set(codes))),)


@pytest.mark.parametrize("codes", [["1", "2"], ["01", "02"], ["1", "?"], ["1.5", "NA"]])
def test_numbers_as_text_are_refused(codes: list[str]) -> None:
    """Text of numbers, alone or beside a mark of missing values, is no factor by accident."""
    data = people().assign(code=codes * 4)
    with pytest.raises(DataError, match=r"'code' holds numbers as text, such as"):
        formula.evaluate("code", data)
    labels = data.assign(code=data["code"].astype("category"))
    assert formula.evaluate("0 + code", labels).common.shape == (8, 2)


@pytest.mark.parametrize(
    ("levels", "rows", "refused"),
    [
        ([f"n{i}" for i in range(100)], 100, False),
        ([f"n{i}" for i in range(101)], 201, True),
        ([f"n{i}" for i in range(101)], 202, False),
        ([f"n{i}" for i in range(1001)], 10**6, True),
        ([f"2020-01-{i}" for i in range(1, 32)], 31, False),
        ([f"{i % 28 + 1}/{i % 12 + 1}/{1900 + i}" for i in range(101)], 10**6, True),
    ],
    ids=["few", "a row each", "two rows each", "very many", "few dates", "many dates"],
)
def test_levels(levels: list[str], rows: int, refused: bool) -> None:
    """Up to 100 levels stand; more need two rows each and no dates; beyond 1,000 none do."""
    if not refused:
        indicators.check_levels("x", levels, rows)
        return
    with pytest.raises(DataError, match=f"'x' has {len(levels)} different labels in {rows} rows"):
        indicators.check_levels("x", levels, rows)


def test_many_dates_are_refused_within_a_second() -> None:
    """Twenty thousand dates as text cost no time and no memory, in formulas and networks."""
    when = pd.date_range("1750-01-01", periods=20_000).strftime("%Y-%m-%d")
    data = pd.DataFrame({"when": when, "g": ["a", "b"] * 10_000, "x": 1.0})
    for rhs in ("when", "C(when)", "x + g:when", "(when | g)"):
        start = time.process_time()
        with pytest.raises(DataError, match=r"these are dates"):
            formula.evaluate(rhs, data)
        assert time.process_time() - start < 1
    with pytest.raises(DataError, match=r"these are dates"):
        Columns.of(["when"], data)
    assert len(formula.evaluate("(1 | when)", data).factors[0].levels) == 20_000


def test_long_doubles_are_read_as_doubles() -> None:
    """A column in extended precision, which no file can hold, becomes one in double precision."""
    data = people()
    model = bm.BinomialGLM("p(high, total) ~ age")
    fits = [
        bm.fit(model, table, method="mle", seed=1, progress=False)
        for table in (data, data.assign(age=data["age"].to_numpy(np.longdouble)))
    ]
    assert fits[0].tree.attrs["data_hash"] == fits[1].tree.attrs["data_hash"]


@pytest.mark.parametrize("method", ["em", "map", "laplace"])
def test_separated_outcomes_of_poisson_experts(method: str) -> None:
    """True and False that a predictor separates send experts far out, and end without a crash."""
    x = np.linspace(-1, 1, 60)
    data = pd.DataFrame({"x": x, "over": x > 0})
    model = bm.MixtureOfExperts("over ~ poly(x, 3)", 3, expert="poisson")
    found = bm.fit(model, data, method=method, seed=1, progress=False)
    assert np.isfinite(found.predict()["mean"]).all()
