"""The one atomic write: whole or not at all, no strays, no device replaced, on a full disk too."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import full_disk
import pytest

from bayesmix import files

DRAFT = ".bayesmix-0123abcd.draft"
HOUR = 3600


def names(folder: Path) -> list[str]:
    """What is in a folder, hidden files too."""
    return sorted(path.name for path in folder.iterdir())


def aged(path: Path, seconds: float) -> Path:
    """That file, last written so long ago."""
    path.write_bytes(b"half")
    os.utime(path, (time.time() - seconds,) * 2)
    return path


@pytest.mark.parametrize("content", [b"", b"abc", bytearray(3), memoryview(b"x" * 3_000_000)])
def test_bytes_are_written_as_given(content: bytes, tmp_path: Path) -> None:
    """Every byte arrives, nothing else is left in the folder, and an old file is replaced."""
    (tmp_path / "file").write_bytes(b"old and longer than the new")
    files.write_bytes(tmp_path / "file", content)
    assert (tmp_path / "file").read_bytes() == bytes(content)
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize(
    ("mask", "mode", "rights"),
    [(0o022, None, 0o644), (0o077, None, 0o600), (0o022, 0o600, 0o600), (0o000, 0o600, 0o600)],
)
def test_rights(mask: int, mode: int | None, rights: int, tmp_path: Path) -> None:
    """A file has the rights that the umask leaves to any new file, or the narrower ones asked."""
    before = os.umask(mask)
    try:
        files.write_bytes(tmp_path / "file", b"", mode=mode)
        assert os.umask(mask) == mask
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == rights


def test_a_link_is_followed_or_replaced(tmp_path: Path) -> None:
    """A link stays and the file behind it is replaced; ``follow=False`` replaces the link."""
    (tmp_path / "behind").write_bytes(b"old")
    (tmp_path / "link").symlink_to("behind")
    files.write_bytes(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "behind").read_bytes() == b"new"
    files.write_bytes(tmp_path / "link", b"own", follow=False)
    assert not (tmp_path / "link").is_symlink()
    assert (tmp_path / "behind").read_bytes() == b"new"


def test_a_name_of_full_length(tmp_path: Path) -> None:
    """A name as long as the file system allows is written: the draft's own name is short."""
    files.write_bytes(tmp_path / ("n" * 255), b"x")
    assert names(tmp_path) == ["n" * 255]


def test_what_is_not_a_file_is_not_replaced(tmp_path: Path) -> None:
    """A pipe, which a rename would destroy, and a folder are refused and stay."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="it is a device, a pipe or a socket"):
        files.write_bytes(tmp_path / "pipe", b"x")
    with pytest.raises(IsADirectoryError):
        files.write_bytes(tmp_path / "folder", b"x")
    assert names(tmp_path) == ["folder", "pipe"]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_drafts_of_killed_processes_are_swept(tmp_path: Path) -> None:
    """A write removes drafts older than an hour, and neither young ones nor what is named alike."""
    stale = aged(tmp_path / DRAFT, HOUR + 60)
    aged(tmp_path / ".bayesmix-fedcba98.draft", HOUR - 60)
    aged(tmp_path / ".bayesmix-0123abcd.draft.txt", HOUR + 60)
    (tmp_path / ".bayesmix-00000000.draft").mkdir()
    os.utime(tmp_path / ".bayesmix-00000000.draft", (0, 0))
    kept = set(names(tmp_path)) - {stale.name}
    files.write_bytes(tmp_path / "file", b"x")
    assert set(names(tmp_path)) == kept | {"file"}


def test_a_link_named_like_a_draft_is_left(tmp_path: Path) -> None:
    """A link is nothing that this package wrote, and is neither removed nor followed."""
    (tmp_path / "else").mkdir()
    aged(tmp_path / "else" / "file", HOUR + 60)
    (tmp_path / DRAFT).symlink_to("else/file")
    os.utime(tmp_path / DRAFT, (0, 0), follow_symlinks=False)
    files.sweep(tmp_path)
    assert names(tmp_path) == [DRAFT, "else"]
    assert names(tmp_path / "else") == ["file"]


def test_sweeping_never_raises(tmp_path: Path) -> None:
    """A folder that is missing, or is a file, is nothing to sweep."""
    files.sweep(tmp_path / "nowhere")
    files.sweep(aged(tmp_path / "file", 0))
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), KeyboardInterrupt()])
def test_a_failed_write_leaves_nothing(
    failing: str, error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever stops a write, at whichever step, the old file is whole and no draft stays."""
    (tmp_path / "file").write_bytes(b"old")

    def stop(*_: object) -> None:
        raise error

    monkeypatch.setattr(os, failing, stop)
    with pytest.raises(type(error)):
        files.write_bytes(tmp_path / "file", b"new")
    monkeypatch.undo()
    assert names(tmp_path) == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


WRITER = """
from bayesmix import files
try:
    files.write_bytes(sys.argv[1], bytes(2 << 20))
except OSError as error:
    print(error.strerror)
"""


@pytest.mark.parametrize("kind", ["disk", "limit"])
def test_a_full_disk(kind: str, tmp_path: Path) -> None:
    """A disk with less room than the file needs is an OSError; old file whole, no draft."""
    disk = tmp_path / "disk"
    with full_disk.small_disk(disk, kind) as limited:
        (disk / "file").write_bytes(b"old")
        done = full_disk.run(WRITER, disk / "file", limited=limited)
        words = "File too large" if limited else "No space left on device"
        assert (done.returncode, done.stdout.strip(), done.stderr) == (0, words, "")
        assert names(disk) == ["file"]
        assert (disk / "file").read_bytes() == b"old"


def test_a_stale_draft_makes_room(tmp_path: Path) -> None:
    """What a killed process left is removed before the bytes, which may need its room."""
    disk = tmp_path / "disk"
    with full_disk.small_disk(disk):
        aged(disk / DRAFT, 0).write_bytes(bytes(700_000))
        os.utime(disk / DRAFT, (0, 0))
        done = full_disk.run(WRITER.replace("2 << 20", "700_000"), disk / "file", limited=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert names(disk) == ["file"]
