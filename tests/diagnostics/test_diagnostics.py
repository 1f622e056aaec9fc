"""The diagnosis as a reader meets it: verdict, table, report, JSON; and the summary."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from fit_trees import (
    approximation,
    deepen,
    drift,
    freeze_energy,
    good_groups,
    good_tree,
    point,
    poison,
    shift_a_chain,
    stick,
    tree_of,
    weights,
)

from bayesmix.chains import statistics as chains
from bayesmix.diagnostics.diagnosis import COLUMNS, diagnose, engine_of, summary
from bayesmix.errors import DataError, SpecError


def test_table() -> None:
    """The table holds the chain statistics by readable label; changing it changes nothing."""
    tree = good_tree()
    diagnosis = diagnose(tree)
    table = diagnosis.table
    assert list(table.columns) == list(COLUMNS)
    assert list(table.index) == [
        "Intercept", "1|edu[Some HS]", "1|edu[HS Grad]", "1|edu[Masters]",
        "sigma_edu[Intercept]", "sigma_edu[sex]", "corr_edu[Intercept, sex]",
    ]  # fmt: skip
    draws = tree["posterior"]["1|edu"].to_numpy()[..., 1:2]
    assert table.loc["1|edu[HS Grad]", "rhat"] == chains.rhat_rank(draws).item()
    assert table.loc["1|edu[HS Grad]", "geweke"] == abs(chains.geweke_z(draws)).max()
    table.loc[:] = 0.0
    assert (diagnosis.table["rhat"] > 0).all()


def test_summary_of_chains() -> None:
    """Means, sds, quantiles and chain statistics are those of the draws, under readable labels."""
    tree = good_tree()
    table = summary(tree, quantiles=(0.025, 0.5))
    assert list(table.columns) == [
        "mean", "sd", "q2.5", "q50", "mcse_mean", "ess_bulk", "ess_tail", "rhat",
    ]  # fmt: skip
    assert list(table.index) == list(diagnose(tree).table.index)
    draws = tree["posterior"]["corr_edu"].to_numpy()[..., 1, 0]
    row = table.loc["corr_edu[Intercept, sex]"]
    assert row["mean"] == pytest.approx(draws.mean())
    assert row["sd"] == pytest.approx(draws.std(ddof=1))
    assert row["q2.5"] == pytest.approx(np.quantile(draws, 0.025))
    statistics = chains.chain_statistics(draws[..., None])
    for name in ("mcse_mean", "ess_bulk", "ess_tail", "rhat"):
        assert row[name] == statistics[name].item()


def test_summary_of_an_approximation() -> None:
    """Independent draws have mean, sd and quantiles only: R-hat would say nothing."""
    table = summary(approximation(weights(0.2)))
    assert list(table.columns) == ["mean", "sd", "q5", "q95"]
    assert len(table) == 7


def test_summary_of_a_point() -> None:
    """A point has estimates, and standard errors where the fit has them."""
    table = summary(point())
    assert list(table.columns) == ["estimate", "standard_error"]
    assert table.loc["corr_edu[Intercept, sex]", "estimate"] == -0.8
    assert table.loc["1|edu[Masters]", "standard_error"] == 0.05
    assert np.isnan(table.loc["sigma_edu[sex]", "standard_error"])
    tree = point()
    del tree["standard_error"]
    assert list(summary(tree).columns) == ["estimate"]


def test_summary_of_an_ensemble() -> None:
    """Members are summarised as draws are, without chain statistics."""
    members = xr.Dataset({"b": (("member", "i"), np.arange(10.0).reshape(5, 2))})
    table = summary(tree_of({"estimate": members}))
    assert list(table.index) == ["b[0]", "b[1]"]
    assert list(table["mean"]) == [4.0, 5.0]
    assert list(table.columns) == ["mean", "sd", "q5", "q95"]


def test_constant_entries_are_left_out() -> None:
    """An entry that is one number in every draw is left out; one frozen chain hides nothing."""
    groups = good_groups()
    groups["posterior"]["1|edu"][..., 0] = 0.0
    stick(groups)
    labels = list(summary(tree_of(groups)).index)
    assert "1|edu[Some HS]" not in labels
    assert "Intercept" in labels


@pytest.mark.parametrize("quantiles", [(0.0, 0.5), (0.5, 1.2), (np.nan,)])
def test_quantiles_are_checked(quantiles: tuple[float, ...]) -> None:
    """Quantiles outside (0, 1) are refused, with what was given."""
    with pytest.raises(SpecError, match=r"quantiles must lie in \(0, 1\), got \("):
        summary(good_tree(n=20), quantiles)


def test_engine() -> None:
    """The engine is read from the tree, guessed from its groups, and must go with them."""
    assert engine_of(good_tree(n=20)) == "mcmc"
    assert engine_of(tree_of({"estimate": point()["estimate"].to_dataset()})) == "point"
    with pytest.raises(DataError, match="engine='point' for a tree with draws"):
        diagnose(tree_of(good_groups(n=20), engine="point"))
    with pytest.raises(DataError, match="engine='mcmc' for a tree with a point estimate"):
        summary(tree_of({"estimate": point()["estimate"].to_dataset()}, engine="mcmc"))


@pytest.mark.parametrize("tree", [good_tree(poison), approximation(), point(converged=False)])
def test_to_dict_is_strict_json(tree: xr.DataTree) -> None:
    """The dictionary survives strict JSON, without NaN or infinity."""
    found = diagnose(tree, ["A note."]).to_dict()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["ok"] is diagnose(tree).ok
    assert "A note." in found["notes"]
    assert {"check", "level", "value", "threshold", "where", "message"} == set(found["findings"][0])


def test_report() -> None:
    """The report begins with the verdict, puts failures first, and keeps within 100 columns."""
    lines = str(diagnose(good_tree(shift_a_chain), ["A note."])).splitlines()
    assert lines[0].startswith("Do not trust the draws yet: rhat failed; ")
    assert lines[1].startswith("  fail rhat")
    assert lines[-1].split() == ["note", "A", "note."]
    assert max(map(len, lines)) <= 100


def test_a_terminal_shows_the_report() -> None:
    """What a prompt prints of a diagnosis is its report, not the names of its fields."""
    found = diagnose(good_tree(shift_a_chain))
    assert repr(found) == str(found) and "fail rhat" in repr(found)
    assert "statistics=" not in repr(found)


def test_html_is_escaped() -> None:
    """A level named like markup stays text in the notebook."""
    groups = good_groups()
    groups["posterior"] = groups["posterior"].assign_coords(edu=["<b>", "b", "c"])
    shift_a_chain(groups)
    html = diagnose(tree_of(groups))._repr_html_()
    assert "1|edu[&lt;b&gt;]" in html
    assert "<b>]" not in html


def test_verdict_lists_all() -> None:
    """The verdict names every failed check, and every warning when none failed."""

    def change(groups: dict) -> None:
        freeze_energy(groups)
        deepen(groups)
        drift(groups)

    warned = "The draws can be used with care: look at energy, treedepth and geweke; 8 of 11"
    assert diagnose(good_tree(change)).verdict.startswith(warned)


def test_survives_a_file(tmp_path) -> None:
    """A tree that was saved and loaded gets the same diagnosis and the same summary."""
    tree = good_tree(shift_a_chain)
    tree.to_netcdf(tmp_path / "fit.nc", engine="h5netcdf")
    with xr.open_datatree(tmp_path / "fit.nc", engine="h5netcdf") as loaded:
        assert diagnose(loaded).to_dict() == diagnose(tree).to_dict()
        pd.testing.assert_frame_equal(summary(loaded), summary(tree))


def test_tree_is_not_changed() -> None:
    """Diagnosis leaves the tree as it was."""
    tree = good_tree(poison)
    before = tree.copy(deep=True)
    diagnose(tree)
    summary(tree)
    assert tree.identical(before)


def test_imports_are_light() -> None:
    """Diagnosing chains loads neither SciPy, ArviZ nor matplotlib."""
    code = (
        "import sys, numpy as np, xarray as xr;"
        "from bayesmix.diagnostics.diagnosis import diagnose, summary;"
        "x = np.random.default_rng(0).normal(size=(4, 200));"
        "tree = xr.DataTree.from_dict({'posterior': xr.Dataset({'a': (('chain', 'draw'), x)})});"
        "diagnose(tree); summary(tree);"
        "heavy = {'scipy', 'arviz_stats', 'arviz', 'matplotlib', 'pymc', 'torch'};"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
