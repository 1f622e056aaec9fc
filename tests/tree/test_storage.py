"""Fits on disk: whole or not at all, readable by others, and errors that say what is wrong."""

from __future__ import annotations

import json
import os
import random
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from small_fits import FORMULA, fitted, from_prior, people, same_answers, same_tree

import bayesmix as bm
from bayesmix import specs
from bayesmix.design import table
from bayesmix.errors import FitFileError
from bayesmix.protocols import Design
from bayesmix.tree import build, read, storage


@pytest.fixture
def small() -> bm.Fit:
    """A fit that costs nothing."""
    return from_prior(FORMULA, people())


@pytest.fixture
def saved(small: bm.Fit, tmp_path: Path) -> Path:
    """The file of that fit."""
    return small.save(tmp_path / "fit.nc")


def test_save_returns_the_path(small: bm.Fit, tmp_path: Path) -> None:
    """save() takes a text or a path, gives the path, and leaves one file."""
    assert small.save(str(tmp_path / "fit.nc")) == tmp_path / "fit.nc"
    assert [path.name for path in tmp_path.iterdir()] == ["fit.nc"]


def test_saving_again_replaces_the_file(saved: Path) -> None:
    """A second fit under the same name takes the place of the first."""
    other = from_prior("p(high, total) ~ 1", people())
    other.save(saved)
    same_tree(bm.load(saved).tree, other.tree)
    assert [path.name for path in saved.parent.iterdir()] == ["fit.nc"]


def test_saving_through_a_link(saved: Path, small: bm.Fit) -> None:
    """A link to a file on another disk stays a link; the file behind it is replaced."""
    (saved.parent / "elsewhere").mkdir()
    behind = saved.rename(saved.parent / "elsewhere" / "fit.nc")
    saved.symlink_to(behind)
    behind.write_bytes(b"old")
    assert small.save(saved) == saved
    assert saved.is_symlink()
    same_tree(bm.load(behind).tree, small.tree)


def test_the_file_has_the_rights_of_any_other(saved: Path) -> None:
    """A saved fit can be read by whoever may read other files, not by its owner alone."""
    other = saved.with_name("other")
    other.touch()
    assert stat.S_IMODE(saved.stat().st_mode) == stat.S_IMODE(other.stat().st_mode)


def test_xarray_reads_the_file(saved: Path, small: bm.Fit) -> None:
    """The file is plain netCDF: xarray opens it without this package."""
    with xr.open_datatree(saved, engine="h5netcdf") as tree:
        for group in small.tree.children:
            xr.testing.assert_identical(tree[group].to_dataset(), small.tree[group].to_dataset())
        assert json.loads(tree.attrs["model"])["formula"] == FORMULA


def test_loading_holds_no_file_open(saved: Path) -> None:
    """A loaded fit lives in memory: its file can go."""
    loaded = bm.load(saved)
    saved.unlink()
    assert np.isfinite(loaded.predict()["mean"]).all()


COLUMNS = {
    "whole": [3, 1, 2, 5, 4, 9, 7, 8],
    "small": np.array([3, 1, 2, 5, 4, 9, 7, 8], dtype=np.int8),
    "real": [0.1, -2.5, 3.3, 4.0, 1e-300, 1e300, 7.0, 8.5],
    "single": np.array([0.1, 2.5, 3.3, 4.0, 1.5, 6.25, 7.0, 8.5], dtype=np.float32),
    "flag": [True, False, True, True, False, False, True, False],
    "text": ["ä", "b c", "", "d/e", "x[1]", "|", ":", "nan"],
    "level": pd.Categorical(list("bacabcab"), categories=list("cabz"), ordered=True),
    "kind": pd.Categorical(list("bacabcab"), categories=list("cabz")),
    "grade": pd.Categorical([1, 2, 3, 3, 2, 1, 1, 2], categories=[3, 2, 1], ordered=True),
    "dose": pd.Categorical([0.5, 2.0, 0.5, 2.0, 2.0, 0.5, 0.5, 2.0]),
    "yes": pd.Categorical([True, False, True, True, False, False, True, False]),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_come_back_with_their_types(name: str, tmp_path: Path) -> None:
    """Numbers, truth values, text and categories of any kind are what they were before."""
    columns = pd.DataFrame({"high": range(8), name: COLUMNS[name], "after": 1.5})
    tree = xr.DataTree.from_dict(build.data_groups(Design({}, {}, {}, columns, "high")))
    tree.attrs["bayesmix_format"] = storage.FORMAT
    back = read.training_columns(storage.read(storage.write(tree, tmp_path / "fit.nc")))
    pd.testing.assert_frame_equal(back, columns)
    assert table.hash_frame(back) == table.hash_frame(columns)


@pytest.mark.parametrize("name", ["edu", "level of (edu)", "a/b", "été", "100%", "|x|", "x[1]:y"])
def test_names_survive(name: str, tmp_path: Path) -> None:
    """Columns of any name give parameters and groups that are saved and found again."""
    data = people().rename(columns={"edu": name, "age": f"age {name}"})
    found = from_prior(f"p(high, total) ~ `age {name}` + (1 | `{name}`)", data)
    loaded = bm.load(found.save(tmp_path / "fit.nc"))
    same_tree(loaded.tree, found.tree)
    same_answers(loaded, found, data)
    assert set(loaded.data.columns) == {"high", "total", name, f"age {name}"}
    shown = name.replace("/", "÷")
    assert {f"1|{shown}", f"age {shown}"} < set(loaded.tree["posterior"].data_vars)


def test_functions_with_a_slash_can_be_saved(tmp_path: Path) -> None:
    """I(age / 10) is a fine predictor although a slash names nothing in a tree."""
    found = from_prior("p(high, total) ~ I(age / 10)", people())
    assert "I(age ÷ 10)" in found.tree["posterior"].data_vars
    same_answers(bm.load(found.save(tmp_path / "fit.nc")), found, people())


@pytest.mark.parametrize(
    "priors",
    [{"sex": bm.StudentT(4, 0, 2.5)}, {"slope": bm.Normal(0, 3), "sigma": bm.HalfNormal()}],
)
def test_priors_come_back(priors: dict[str, bm.Normal], saved: Path) -> None:
    """A spec with priors of its own is rebuilt from the file."""
    model = bm.BinomialGLM(FORMULA, priors)
    _changed(saved, model=specs.to_json(model))
    assert bm.load(saved).model == model


SAVER = """
import sys
import bayesmix as bm
fits = [bm.load(path) for path in sys.argv[2:]]
print("ready", flush=True)
while True:
    for found in fits:
        found.save(sys.argv[1])
"""


def started(script: str, *arguments: object) -> subprocess.Popen[bytes]:
    """A new process that runs a script on this package."""
    source = f"import sys; sys.path[:0] = {[str(Path(bm.__file__).parents[1])]!r}\n{script}"
    command = [sys.executable, "-c", source, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


def test_a_process_killed_while_saving_leaves_a_whole_file(saved: Path, tmp_path: Path) -> None:
    """However often a saving process is killed, the file is one fit or the other, never a part."""
    moments = random.Random(5)
    fits = [from_prior(FORMULA, people(), draws=draws) for draws in (20, 2000)]
    sources = [found.save(tmp_path / f"{i}.nc") for i, found in enumerate(fits)]
    for _ in range(3):
        with started(SAVER, saved, *sources) as saver:
            assert saver.stdout is not None
            assert saver.stdout.readline() == b"ready\n"
            time.sleep(moments.uniform(0.05, 0.3))
            saver.send_signal(signal.SIGKILL)
            assert saver.wait() == -signal.SIGKILL
        assert bm.load(saved).tree["posterior"].sizes["draw"] in (20, 10, 1000)


STOPPED = """
import os, sys, time
import bayesmix as bm

found, step = bm.load(sys.argv[1]), sys.argv[2]

def stop(*_):
    print("stopped", flush=True)
    time.sleep(60)

if step == "before the draft is safe on disk":
    os.fsync = stop
else:
    os.replace = stop
found.save(sys.argv[1])
"""


@pytest.mark.parametrize(
    "step", ["before the draft is safe on disk", "before the draft takes its place"]
)
def test_killed_at_every_step(step: str, saved: Path, small: bm.Fit) -> None:
    """Killed at any step of a save, the old file is whole, and what is left is swept in time."""
    before = saved.read_bytes()
    with started(STOPPED, saved, step) as saver:
        assert saver.stdout is not None
        assert saver.stdout.readline() == b"stopped\n"
        saver.kill()
    assert saved.read_bytes() == before
    same_tree(bm.load(saved).tree, small.tree)
    (draft,) = set(saved.parent.iterdir()) - {saved}
    small.save(saved)
    assert draft.exists()
    os.utime(draft, (0, 0))
    small.save(saved)
    assert list(saved.parent.iterdir()) == [saved]
    same_tree(bm.load(saved).tree, small.tree)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.9, 0.999])
def test_truncated_files(share: float, saved: Path) -> None:
    """A file that is cut short anywhere is refused."""
    content = saved.read_bytes()
    saved.write_bytes(content[: int(share * len(content))])
    with pytest.raises(FitFileError, match=r"not a fit of bayesmix, or it is cut short"):
        bm.load(saved)


def _foreign(path: Path) -> None:
    xr.Dataset({"x": ("t", [1.0, 2.0])}).to_netcdf(path, engine="h5netcdf")


def _groupless(path: Path) -> None:
    tree = xr.DataTree.from_dict({"posterior": xr.Dataset({"x": 1.0})})
    tree.attrs["bayesmix_format"] = storage.FORMAT
    tree.to_netcdf(path, engine="h5netcdf")


@pytest.mark.parametrize("write", [_foreign, _groupless])
def test_foreign_netcdf(write: object, tmp_path: Path) -> None:
    """Somebody else's netCDF file is named as such."""
    write(tmp_path / "foreign.nc")  # type: ignore[operator]
    with pytest.raises(
        FitFileError, match=r"foreign\.nc' is a netCDF file, but not a fit of bayesmix"
    ):
        bm.load(tmp_path / "foreign.nc")


def _changed(saved: Path, **attrs: object) -> Path:
    tree = storage.read(saved)
    tree.attrs.update(attrs)
    return storage.write(tree, saved)


def test_another_format(saved: Path) -> None:
    """A file of another format names both formats and the versions that wrote it."""
    _changed(saved, bayesmix_format="99", versions="bayesmix 7.0")
    with pytest.raises(FitFileError, match=r"has format 99, this version reads 1; .*bayesmix 7"):
        bm.load(saved)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"type": "Nonsense"}', r"no class is called 'Nonsense'"),
        ('{"type": "BinomialGLM", "formula": "y ~ x", "colour": 1}', r"colour"),
        ('{"formula": "y ~ x"}', r"cannot be built: 'type'"),
        ("{", r"cannot be built"),
        ("[1, 2]", r"does not name a model and a method"),
        ('{"type": "Normal"}', r"does not name a model and a method"),
        ('{"type": "BinomialGLM", "formula": "y"}', r"must read 'response ~ predictors'"),
    ],
)
def test_specs_that_cannot_be_built(text: str, words: str, saved: Path) -> None:
    """A file whose model is unknown, or no model at all, is refused with the reason."""
    _changed(saved, model=text)
    with pytest.raises(FitFileError, match=words):
        bm.load(saved)


def test_draws_are_stored_whole(tmp_path: Path) -> None:
    """Draws and sampler statistics keep every bit and their types."""
    found = fitted("BinomialGLM", "nuts")
    loaded = bm.load(found.save(tmp_path / "fit.nc"))
    for group in ("posterior", "sample_stats"):
        for name, values in found.tree[group].data_vars.items():
            back = loaded.tree[group][name]
            assert back.dtype == values.dtype
            assert back.to_numpy().tobytes() == values.to_numpy().tobytes()
