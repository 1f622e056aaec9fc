"""The folder of compiled code: what is read from it, what is not, and what stands there after."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from bayesmix.compiled import cache
from bayesmix.compiled.cache import CodeEntry

KEY, OTHER = "0f" * 32, "a1" * 32
ENTRY = CodeEntry({"functions": [["f", 5]], "layout": {"initial": [0.1, -2.5e-300]}}, b"\x00code")
NOBODY = 65534


def give_away(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a file or folder another user's; who is not root becomes another user instead."""
    if os.geteuid() == 0:
        os.chown(path, NOBODY, NOBODY)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: NOBODY)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The folder of a cache that holds one entry."""
    monkeypatch.setenv("BAYESMIX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "_said", set())
    cache.write(KEY, ENTRY)
    return tmp_path / "cache" / "code"


def replaced(place: Path) -> bool:
    """Whether writing the entry makes it a readable one, nothing else left in the folder."""
    cache.write(KEY, ENTRY)
    return cache.read(KEY) == ENTRY and [path.name for path in place.iterdir()] == [KEY]


def test_an_entry_comes_back(place):
    """Description and code, from a file and a folder that are the user's alone."""
    assert cache.read(KEY) == ENTRY
    assert cache.read(OTHER) is None
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert stat.S_IMODE((place / KEY).stat().st_mode) == 0o600


def test_every_flip_and_every_cut_is_seen():
    """One bit of any byte, or any number of bytes less or more: no entry."""
    content = cache.encoded(ENTRY, KEY)
    assert cache.decoded(content, KEY) == ENTRY
    for i in range(len(content)):
        flipped = bytearray(content)
        flipped[i] ^= 1 << i % 8
        assert cache.decoded(bytes(flipped), KEY) is None
        assert cache.decoded(content[:i], KEY) is None
    assert cache.decoded(content + b"\0", KEY) is None


def test_the_entry_of_another_key_is_not_taken(place):
    """Renamed, it says itself what it is."""
    cache.write(OTHER, CodeEntry({}, b"other"))
    os.replace(place / OTHER, place / KEY)
    assert cache.read(KEY) is None
    assert replaced(place)


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_an_entry_that_others_can_write_is_not_taken(place, mode):
    """Whoever can write it can plant code."""
    (place / KEY).chmod(mode)
    assert cache.read(KEY) is None
    assert replaced(place)


def test_a_link_is_not_followed_and_what_it_names_not_touched(place, tmp_path):
    """Neither on reading nor on writing."""
    elsewhere = tmp_path / "elsewhere"
    os.replace(place / KEY, elsewhere)
    content = elsewhere.read_bytes()
    (place / KEY).symlink_to(elsewhere)
    assert cache.read(KEY) is None
    assert replaced(place)
    assert elsewhere.read_bytes() == content


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_what_is_no_file_stops_nothing(place, make):
    """A pipe would wait for ever, a folder cannot be replaced: no entry, no error."""
    (place / KEY).unlink()
    make(place / KEY)
    assert cache.read(KEY) is None
    cache.write(KEY, ENTRY)


def test_an_entry_of_another_user_is_not_taken(place, monkeypatch):
    """Root could read it, but does not run it."""
    give_away(place / KEY, monkeypatch)
    assert cache.read(KEY) is None
    monkeypatch.undo()
    monkeypatch.setenv("BAYESMIX_CACHE", str(place.parent))
    assert replaced(place)


@pytest.mark.parametrize("spoil", ["mode", "link", "owner"])
def test_a_folder_that_is_not_the_users_alone_is_not_used(place, caplog, monkeypatch, spoil):
    """Nothing is read from it nor written to it, and one sentence says so."""
    if spoil == "mode":
        place.chmod(0o770)
    elif spoil == "link":
        place.rename(place.with_name("elsewhere"))
        place.symlink_to(place.with_name("elsewhere"))
    else:
        give_away(place, monkeypatch)
    before = sorted(place.iterdir())
    assert cache.read(KEY) is None
    for _ in range(2):
        cache.write(OTHER, ENTRY)
    assert sorted(place.iterdir()) == before
    assert len(caplog.messages) == 1
    assert "set BAYESMIX_CACHE to a folder of your own" in caplog.messages[0]
    assert cache.problem() == caplog.messages[0]


def test_a_parent_that_is_a_link_is_the_users_business(place, tmp_path, monkeypatch):
    """Caches are moved to larger disks by links; the folder itself is judged."""
    (tmp_path / "link").symlink_to(place.parent)
    monkeypatch.setenv("BAYESMIX_CACHE", str(tmp_path / "link"))
    assert cache.read(KEY) == ENTRY


def test_the_users_own_folder_where_none_is_named(tmp_path, monkeypatch):
    """XDG_CACHE_HOME if it is absolute, else .cache in HOME."""
    monkeypatch.delenv("BAYESMIX_CACHE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache.folder() == tmp_path / ".cache" / "bayesmix" / "code"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.folder() == tmp_path / "xdg" / "bayesmix" / "code"
    assert cache.problem() is None


def test_nothing_is_made_in_the_home_of_another(tmp_path, monkeypatch):
    """Root with a user's HOME leaves no folder there that the user could not write."""
    monkeypatch.delenv("BAYESMIX_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    give_away(tmp_path, monkeypatch)
    cache.write(KEY, ENTRY)
    assert "belongs to another user" in str(cache.problem())
    assert list(tmp_path.iterdir()) == []
