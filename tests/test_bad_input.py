"""Everything a user can get wrong, a row each: what was done, the error, words of its message.

Every call runs in an empty folder and is given that folder to write to; none may write a file.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import mistakes_in_data
import mistakes_in_specs
import mistakes_with_fits
import mistakes_with_mixtures
import mistakes_with_networks
import numpy as np
import pytest
import xarray as xr
from mistakes import (
    FORMULA,
    TABLE,
    Call,
    Row,
    fit,
    point,
)

import bayesmix as bm
from bayesmix import datasets
from bayesmix.datasets import manifest
from bayesmix.errors import BayesmixError, DataFileError, FitFileError

ROWS = [
    *mistakes_in_data.ROWS,
    *mistakes_in_specs.ROWS,
    *mistakes_with_fits.ROWS,
    *mistakes_with_mixtures.ROWS,
    *mistakes_with_networks.ROWS,
]


@pytest.mark.parametrize(("what", "call", "error", "words"), ROWS, ids=[what for what, *_ in ROWS])
def test_bad_input(
    what: str,
    call: Call,
    error: type[BayesmixError],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each mistake raises its own error in words that help, and leaves no file behind."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=words) as caught:
        call(tmp_path)
    assert type(caught.value) is error, what
    assert list(tmp_path.rglob("*")) == []


def test_rows_have_names_of_their_own() -> None:
    """No row of the table hides another."""
    names = [what for what, *_ in ROWS]
    assert len(set(names)) == len(names) >= 50


def test_good_input_is_written(tmp_path: Path) -> None:
    """The call that the rows vary succeeds and writes a file, so rows fail for their reason."""
    assert np.isfinite(fit()(tmp_path).predict()["mean"]).all()
    assert len(list(tmp_path.iterdir())) == 1


FILES: list[Row] = [
    (
        "load: a text file",
        lambda path: path.write_text("high,total\n1,2\n") and bm.load(path),
        FitFileError,
        r"is not a fit of bayesmix, or it is cut short \(.*\); fit and save again",
    ),
    (
        "load: an empty file",
        lambda path: path.write_bytes(b"") or bm.load(path),
        FitFileError,
        "is not a fit of bayesmix, or it is cut short",
    ),
    (
        "load: a truncated file",
        lambda path: (
            point().save(path),
            path.write_bytes(path.read_bytes()[:-100]),
            bm.load(path),
        ),
        FitFileError,
        "is not a fit of bayesmix, or it is cut short",
    ),
    (
        "load: somebody else's netCDF file",
        lambda path: (xr.Dataset({"x": 1}).to_netcdf(path, engine="h5netcdf"), bm.load(path)),
        FitFileError,
        "is a netCDF file, but not a fit of bayesmix; give one that Fit.save wrote",
    ),
    (
        "save: below a file",
        lambda path: path.touch() or point().save(path / "x.nc"),
        FitFileError,
        "is not a folder; make it first",
    ),
    (
        "cache: a file",
        lambda path: (
            path.touch() or bm.fit(bm.BinomialGLM(FORMULA), TABLE, method="mle", cache=path)
        ),
        FitFileError,
        "cache must be a folder that can be written; '.*file' is not",
    ),
]


@pytest.mark.parametrize(
    ("what", "call", "error", "words"), FILES, ids=[what for what, *_ in FILES]
)
def test_bad_files(
    what: str, call: Call, error: type[BayesmixError], words: str, tmp_path: Path
) -> None:
    """A file that stands in the way is named, and no other file comes to lie beside it."""
    with pytest.raises(error, match=words):
        call(tmp_path / "file")
    assert [path.name for path in tmp_path.iterdir()] == ["file"], what


def test_changed_data_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shipped data file that was edited is refused by its checksum, and left as it is."""
    folder = shutil.copytree(manifest.folder(), tmp_path / "data")
    changed = (folder / "census.csv").read_text().replace("1321", "1322")
    (folder / "census.csv").write_text(changed)
    monkeypatch.setattr(manifest, "FOLDERS", (folder,))
    with pytest.raises(
        DataFileError, match=r"census\.csv is not the file in manifest.toml.*sha256"
    ):
        datasets.census()
    assert (folder / "census.csv").read_text() == changed


def test_a_failing_fit_writes_nothing(tmp_path: Path) -> None:
    """A method that gives up leaves no fit in the cache."""
    method = bm.MLE(max_iter=1, restarts=1, tolerance=1e-12)
    x = np.linspace(-1, 1, 60)
    data = {"x": x, "y": np.where(np.arange(60) % 2, 2 + x, -x) + 0.1 * np.cos(40 * x)}
    with pytest.raises(BayesmixError) as caught:
        bm.fit(bm.MixtureOfExperts("y ~ x", 4), data, method=method, seed=1, cache=tmp_path)
    assert "max_iter" in str(caught.value)
    assert list(tmp_path.iterdir()) == []
