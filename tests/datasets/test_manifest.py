"""The data folder: every file against the manifest, in the checkout and in the wheel."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from bayesmix import datasets
from bayesmix.datasets import manifest
from bayesmix.errors import DataFileError


@pytest.fixture
def copied(tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the data folder that bayesmix reads instead of its own."""
    folder = tmp_path / "data"
    shutil.copytree(repository / "data", folder)
    monkeypatch.setattr(manifest, "FOLDERS", (folder,))
    return folder


def register(folder: Path, name: str, content: str) -> None:
    """Change a data file together with its hash in the manifest."""
    path, listing = folder / f"{name}.csv", folder / "manifest.toml"
    old = hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_text(content)
    new = hashlib.sha256(path.read_bytes()).hexdigest()
    listing.write_text(listing.read_text().replace(old, new))


def test_shipped_files_are_those_of_the_manifest(repository: Path) -> None:
    """The data folder holds the manifest and its files, no more, each with the registered hash."""
    folder = repository / "data"
    entries = manifest.read(folder)
    found = {path.name for path in folder.iterdir()}
    assert found == {entry["file"] for entry in entries.values()} | {"manifest.toml"}
    for entry in entries.values():
        content = (folder / entry["file"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == entry["sha256"]
        assert b"\r" not in content


@pytest.mark.parametrize("name", ["census", "one_to_many"])
def test_shipped_entries_say_where_data_come_from(name: str) -> None:
    """Every entry has a licence, a source and credit, and a unit and meaning for each column."""
    entry = datasets.about(name)
    assert all(entry[key] for key in ("title", "licence", "source", "credit", "notes"))
    assert all(column["unit"] and column["meaning"] for column in entry["columns"])
    described = [(column["name"], column["dtype"]) for column in entry["columns"]]
    frame = datasets.load(name)
    assert described == [(column, str(frame[column].dtype)) for column in frame.columns]
    assert entry["rows"] == len(frame)


def test_a_changed_file_is_refused(copied: Path) -> None:
    """One changed digit: the error names the file, the expected hash and the found one."""
    path = copied / "census.csv"
    old = hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_text(path.read_text().replace("1321", "1322"))
    new = hashlib.sha256(path.read_bytes()).hexdigest()
    words = rf"census\.csv is not the file .* expected sha256 {old}, found {new}; restore it"
    with pytest.raises(DataFileError, match=words):
        datasets.census()
    assert len(datasets.one_to_many()) == 1000


def test_a_missing_file_is_named(copied: Path) -> None:
    """A file of the manifest that is not there is an error that names it."""
    (copied / "census.csv").unlink()
    with pytest.raises(DataFileError, match=r"census\.csv cannot be read \(No such file"):
        datasets.census()


def test_a_missing_manifest_is_named(copied: Path) -> None:
    """Without a manifest nothing is read, and the error says where it was looked for."""
    (copied / "manifest.toml").unlink()
    with pytest.raises(DataFileError, match=r"manifest\.toml is missing: looked in '.*data'"):
        datasets.names()


@pytest.mark.parametrize("content", [b"[census\n", b"\xff\xfe\x00"], ids=["syntax", "bytes"])
def test_a_broken_manifest_is_named(copied: Path, content: bytes) -> None:
    """A manifest that is not TOML is an error that names the file."""
    (copied / "manifest.toml").write_bytes(content)
    with pytest.raises(DataFileError, match=r"manifest\.toml cannot be read"):
        datasets.census()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("edu,sex,total", "edu,sex,all", "expected 14 rows of 'edu', 'sex', 'total', 'low', 'hi"),
        ("Doctorate,1,327,71,256\n", "", "found 13 rows of 'edu'"),
        ("1321", "1321.5", "column 'total': "),
        ("1321", "many", "column 'total': "),
        ("1321", "", "column 'total': "),
        ("Masters,0", "Master,0", "'Master' not among the levels 'Some HS', 'HS Grad'"),
    ],
    ids=["column", "row", "fraction", "text", "empty", "level"],
)
def test_a_file_must_fit_its_schema(copied: Path, old: str, new: str, words: str) -> None:
    """A file with a registered hash still needs the columns, rows and types of its entry."""
    content = (copied / "census.csv").read_text()
    assert old in content
    register(copied, "census", content.replace(old, new))
    with pytest.raises(DataFileError, match=words):
        datasets.census()


def test_the_wheel_carries_the_data(repository: Path, tmp_path: Path) -> None:
    """A wheel of the checkout holds every data file unchanged, and reads them from itself."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=repository, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    unpacked = tmp_path / "unpacked"
    zipfile.ZipFile(wheel).extractall(unpacked)
    for path in (repository / "data").iterdir():
        assert (unpacked / "bayesmix" / "data" / path.name).read_bytes() == path.read_bytes()
    read = (
        "from bayesmix import datasets; from bayesmix.datasets import manifest; "
        "print(manifest.folder(), len(datasets.census()))"
    )
    command = [sys.executable, "-c", read]
    environment = {"PYTHONPATH": str(unpacked), "PATH": ""}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
    )
    assert done.stdout.split() == [str(unpacked / "bayesmix" / "data"), "14"]
