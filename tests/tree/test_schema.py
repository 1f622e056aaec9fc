"""Tables in, trees out: what counts as data, how content is hashed, how draws are read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from small_fits import FORMULA, fitted, from_prior, people

import bayesmix as bm
from bayesmix.design import table as tables
from bayesmix.errors import DataError, NoDraws
from bayesmix.protocols import Posterior
from bayesmix.tree import build, read

PLAIN = pd.DataFrame({"n": [1, 2, 3], "x": [0.5, 1.5, 2.5], "g": ["a", "b", "a"]})


@pytest.mark.parametrize(
    "data",
    [
        PLAIN,
        PLAIN.set_index(pd.Index([7, 7, 9])),
        {"n": [1, 2, 3], "x": (0.5, 1.5, 2.5), "g": np.array(["a", "b", "a"])},
        {name: PLAIN[name] for name in PLAIN},
        PLAIN.to_xarray().drop_vars("index"),
        PLAIN.rename_axis("row").to_xarray().reset_coords(drop=True).drop_vars("row"),
        PLAIN.astype(object),
        PLAIN.convert_dtypes(),
        PLAIN.astype({"n": "Int64", "x": "Float64", "g": "string"}),
    ],
    ids=["frame", "index", "mapping", "series", "dataset", "dim", "objects", "nullable", "types"],
)
def test_tables_of_every_kind(data: Any) -> None:
    """Frames with any index, mappings, datasets, objects and nullable types are one table."""
    pd.testing.assert_frame_equal(tables.frame(data), PLAIN)


def test_dims_with_labels_are_columns() -> None:
    """A Dataset over (edu, sex) becomes rows with both as columns."""
    counts = xr.Dataset(
        {"high": (("edu", "sex"), [[1, 2], [3, 4]])}, {"edu": ["HS", "BA"], "sex": [0, 1]}
    )
    found = tables.frame(counts).sort_values(["edu", "sex"], ignore_index=True)
    wanted = {"edu": ["BA", "BA", "HS", "HS"], "sex": [0, 1, 0, 1], "high": [3, 4, 1, 2]}
    pd.testing.assert_frame_equal(found, pd.DataFrame(wanted))


@pytest.mark.parametrize(
    ("given_column", "kind"),
    [
        (pd.array([True, False], dtype="boolean"), "bool"),
        (pd.array([1, 2], dtype="UInt8"), "uint8"),
        (pd.array([1.5, 2.5], dtype="Float32"), "float32"),
        (pd.Series([True, False], dtype=object), "bool"),
        (pd.Series([1, 2.5], dtype=object), "float64"),
        (np.array(["a", "b"], dtype=object), "str"),
    ],
)
def test_plain_types(given_column: Any, kind: str) -> None:
    """Nullable and object columns get the plain type of what they hold."""
    assert str(tables.frame({"x": given_column})["x"].dtype) == kind


def test_odd_categories_become_text() -> None:
    """Intervals, as pd.cut makes them, become labels in the same order."""
    cut = pd.cut(pd.Series([0.5, 2.5, 1.5]), [0, 1, 2, 3])
    found = tables.frame({"x": cut})["x"]
    assert list(found.cat.categories) == ["(0, 1]", "(1, 2]", "(2, 3]"]
    assert found.cat.ordered
    assert list(found.astype(str)) == ["(0, 1]", "(2, 3]", "(1, 2]"]


def test_a_table_is_a_copy() -> None:
    """What is done to the table is not done to the user's data."""
    data = PLAIN.copy()
    table = tables.frame(data)
    table.loc[0, "x"] = 99.0
    pd.testing.assert_frame_equal(data, PLAIN)


def test_columns_keeps_the_order_asked_for() -> None:
    """Only the columns asked for are looked at, so that NaN elsewhere is no error."""
    table = PLAIN.assign(junk=np.nan, more=[[1], [2], [3]])
    assert list(tables.columns(table, ["x", "n"]).columns) == ["x", "n"]


CHANGES: dict[str, pd.DataFrame] = {
    "value": PLAIN.assign(x=[0.5, 1.5, 2.5000000001]),
    "name": PLAIN.rename(columns={"x": "z"}),
    "type": PLAIN.astype({"n": float}),
    "text": PLAIN.assign(g=["a", "b", "b"]),
    "order of rows": PLAIN.iloc[::-1],
    "order of columns": PLAIN[["x", "n", "g"]],
    "fewer rows": PLAIN.iloc[:2],
    "category": PLAIN.astype({"g": "category"}),
    "column": PLAIN.assign(more=1),
}


@pytest.mark.parametrize("change", CHANGES)
def test_hash_sees_every_change(change: str) -> None:
    """Names, types, values and their order all count."""
    assert tables.hash_frame(CHANGES[change]) != tables.hash_frame(PLAIN)


def test_hash_sees_the_order_of_categories() -> None:
    """The first category is what others are compared with, so their order counts."""
    hashes = {
        tables.hash_frame(pd.DataFrame({"g": pd.Categorical(list("aba"), levels, ordered=ordered)}))
        for levels in (["a", "b"], ["b", "a"], ["a", "b", "c"])
        for ordered in (True, False)
    }
    assert len(hashes) == 6


@given(st.lists(st.tuples(st.integers(-5, 5), st.text(max_size=3)), min_size=1, max_size=6))
def test_hash_is_of_content(rows: list[tuple[int, str]]) -> None:
    """Equal tables have equal hashes, whatever their index and memory."""
    table = pd.DataFrame(rows, columns=["n", "text"]).astype({"text": "str"})
    same = table.copy(deep=True).set_index(np.arange(len(rows)) + 3)
    assert tables.hash_frame(table) == tables.hash_frame(same)


def test_draws_have_one_sample_axis() -> None:
    """Chains and draws become samples, chain by chain; a point is one sample."""
    found = from_prior(FORMULA, people())
    flat, posterior = read.draws(found.tree), found.tree["posterior"]
    np.testing.assert_array_equal(flat["sex"], posterior["sex"].to_numpy().ravel())
    assert flat["1|edu"].shape == (40, 4)
    np.testing.assert_array_equal(flat["1|edu"][20], posterior["1|edu"].isel(chain=1, draw=0))
    point = fitted("BinomialGLM", "mle").tree
    assert read.draws(point)["1|edu"].shape == (1, 4)


def test_draws_of_members() -> None:
    """Members of an ensemble are samples, wherever their axis stands."""
    values = np.arange(6.0).reshape(2, 3)
    estimate = xr.Dataset({"w": (("unit", "member"), values), "b": ("member", values[0])})
    flat = read.draws(xr.DataTree.from_dict({"estimate": estimate}))
    np.testing.assert_array_equal(flat["w"], values.T)
    np.testing.assert_array_equal(flat["b"], values[0])


def test_points_have_no_draws() -> None:
    """What only draws can answer is refused for a point, and the message says what was asked."""
    with pytest.raises(NoDraws, match=r"a trace plot needs draws .* fit again with method='nuts'"):
        read.require_draws(fitted("BinomialGLM", "mle").tree, "a trace plot")
    assert "sex" in read.require_draws(from_prior(FORMULA, people()).tree, "a trace plot")


def test_statistics_of_an_optimiser_behind_draws() -> None:
    """Draws from an approximation keep the trace of its optimiser in fit_stats."""
    model = bm.BinomialGLM("p(high, total) ~ sex")
    design = model.design(people())
    draws = {"Intercept": np.zeros((1, 5)), "sex": np.ones((1, 5))}
    result = Posterior(
        draws,
        {"log_weight": np.zeros((1, 5))},
        {"log_weight": ("chain", "draw")},
        sampled=True,
        fit_stats={"elbo": np.arange(3.0), "elbo_final": np.array(2.0)},
        fit_stat_dims={"elbo": ("iteration",), "elbo_final": ()},
        attrs={"engine": "independent"},
    )
    tree = build.build_tree(result, model, design)
    assert tree["fit_stats"]["elbo"].dims == ("iteration",)
    assert tree["sample_stats"]["log_weight"].dims == ("chain", "draw")
    assert tree.attrs["engine"] == "independent"


def test_dims_name_one_thing() -> None:
    """A predictor cannot be called like the groups of a factor in the same result."""
    data = people().rename(columns={"age": "edu_group"})
    model = bm.BinomialGLM("p(high, total) ~ edu_group + (1 | edu)")
    design = model.design(data)
    with pytest.raises(DataError, match=r"a dimension called 'edu_group'"):
        build.check_names(model.dims(design), design)


def test_frames_of_polars_are_taken() -> None:
    """A frame of polars, eager or of its own types, gives the fit that its pandas twin gives."""
    table = people()[["high", "total", "sex", "edu", "age"]]
    ours = tables.frame(table)
    theirs = tables.frame(polars.from_pandas(table))
    pd.testing.assert_frame_equal(theirs, ours, check_categorical=False, check_dtype=False)
    assert theirs["edu"].astype(str).tolist() == ours["edu"].astype(str).tolist()


def test_a_frame_that_does_not_convert_is_refused() -> None:
    """What goes wrong in a frame's own conversion is said."""

    class Broken:
        def to_pandas(self) -> pd.DataFrame:
            raise ValueError("no such type")

    with pytest.raises(DataError, match=r"Broken.to_pandas\(\) failed: no such type"):
        tables.frame(Broken())
