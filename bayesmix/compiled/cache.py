"""The folder of compiled code: entries that are ours, whole, and about what was asked for.

Machine code runs with all rights of the process that links it, and a damaged piece ends it. So an
entry is read only where nobody else can have written it, and linked only if its digest is right;
whatever else lies in its place is compiled anew and replaced.

An entry is, in this order: ``MAGIC``, version, key (32 bytes), SHA-256 of all that follows, the
size of the description and of the code (each 8 bytes, little-endian), the description (JSON), the
code.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import stat
import struct
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bayesmix import files

MAGIC = b"bayesmix"
VERSION = 1
_HEADER = struct.Struct("<8sI32s32s")
_SIZES = struct.Struct("<QQ")
_LARGEST = 2**28
"""Bytes of an entry, at most; those of the largest models have a million."""
_SAFE = os.O_CLOEXEC | os.O_NOFOLLOW
_OTHERS = stat.S_IWGRP | stat.S_IWOTH

_log = logging.getLogger("bayesmix")
_said: set[str] = set()


@dataclass(frozen=True)
class CodeEntry:
    """Machine code, and what has to be known to link and to call it (values of JSON)."""

    description: dict[str, Any]
    code: bytes


class NoCache(Exception):
    """Why nothing can be kept, as part of a sentence."""


def folder() -> Path | None:
    """Where entries are kept: in ``$BAYESMIX_CACHE``, or in the user's cache folder.

    None where neither is known: no ``HOME``, and a user that the system has no entry for.
    """
    if chosen := os.environ.get("BAYESMIX_CACHE"):
        return Path(chosen) / "code"
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):  # as its specification says
        home = os.path.expanduser("~")
        if not os.path.isabs(home):
            return None
        base = os.path.join(home, ".cache")
    return Path(base, "bayesmix", "code")


def problem() -> str | None:
    """Why code cannot be kept, as a sentence, or None; makes the folder where it can."""
    try:
        with _opened(make=True) as handle:
            del handle
            if os.access(_known(), os.W_OK | os.X_OK):
                return None
            raise NoCache("it cannot be written")
    except (OSError, NoCache) as error:
        return _sentence(error)


def read(key: str) -> CodeEntry | None:
    """The entry of this key; None where there is none that can be trusted."""
    try:
        with _opened() as place:
            handle = os.open(key, os.O_RDONLY | os.O_NONBLOCK | _SAFE, dir_fd=place)
            with open(handle, "rb") as file:
                found = os.fstat(handle)
                if not stat.S_ISREG(found.st_mode) or not _is_mine(found):
                    return None
                if found.st_size > _LARGEST:
                    return None
                return decoded(file.read(), key)
    except (OSError, NoCache):
        return None


def write(key: str, entry: CodeEntry) -> None:
    """Keep an entry; where that cannot be, one sentence says so once a process."""
    content = encoded(entry, key)
    if len(content) > _LARGEST:
        return
    try:
        with _opened(make=True):
            files.write_bytes(_known() / key, content, mode=0o600, follow=False)
    except (OSError, NoCache) as error:
        tell(_sentence(error))


def tell(sentence: str) -> None:
    """Log a sentence, once a process."""
    if sentence not in _said:
        _said.add(sentence)
        _log.warning(sentence)


def encoded(entry: CodeEntry, key: str) -> bytes:
    """An entry as bytes."""
    description = json.dumps(entry.description).encode()
    rest = _SIZES.pack(len(description), len(entry.code)) + description + entry.code
    name = bytes.fromhex(key)
    return _HEADER.pack(MAGIC, VERSION, name, hashlib.sha256(rest).digest()) + rest


def decoded(content: bytes, key: str) -> CodeEntry | None:
    """The entry that these bytes are; None if they are damaged or belong to another key."""
    if len(content) < _HEADER.size + _SIZES.size:
        return None
    rest = content[_HEADER.size :]
    expected = (MAGIC, VERSION, bytes.fromhex(key), hashlib.sha256(rest).digest())
    if _HEADER.unpack_from(content) != expected:
        return None
    size, code_size = _SIZES.unpack_from(rest)
    if len(rest) != _SIZES.size + size + code_size:
        return None
    try:
        description = json.loads(rest[_SIZES.size : _SIZES.size + size])
    except (ValueError, RecursionError):
        return None
    return CodeEntry(description, rest[_SIZES.size + size :])


def entries() -> list[Path]:
    """The entries that there are, whatever is in them."""
    try:
        with _opened():
            return sorted(path for path in _known().iterdir() if not path.name.startswith("."))
    except (OSError, NoCache):
        return []


def _known() -> Path:
    found = folder()
    if found is None:
        raise NoCache("there is no HOME")
    return found


@contextmanager
def _opened(make: bool = False) -> Generator[int]:
    """The folder as a descriptor that is judged: ours, and written by nobody else."""
    path = _known()
    if make:
        _make(path)
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | _SAFE)
    try:
        if not _is_mine(os.fstat(handle)):
            raise NoCache("it belongs to another user, or others can write into it")
        yield handle
    finally:
        os.close(handle)


def _make(path: Path) -> None:
    """Make the folder; never in the home of another user, who could not write there afterwards."""
    if os.path.exists(path):
        return
    parent = next(place for place in path.parents if os.path.exists(place))
    if not parent.is_dir():
        raise NoCache(f"{str(parent)!r} is a file")
    if not os.environ.get("BAYESMIX_CACHE") and parent.stat().st_uid != os.geteuid():
        raise NoCache(f"it would be made in {str(parent)!r}, which belongs to another user")
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.mkdir(exist_ok=True, mode=0o700)


def _is_mine(found: os.stat_result) -> bool:
    return found.st_uid == os.geteuid() and not found.st_mode & _OTHERS


def _sentence(error: Exception) -> str:
    """Why nothing is kept, and what to do."""
    why = (error.strerror or "cannot be used") if isinstance(error, OSError) else str(error)
    place = folder()
    where = f"Compiled code is not kept in {str(place)!r}" if place else "Compiled code is not kept"
    return (
        f"{where}: {why}. Every new process compiles again, which takes seconds; set "
        "BAYESMIX_CACHE to a folder of your own"
    )
