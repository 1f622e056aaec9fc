"""One atomic write: a reader sees the old file or the new one, whole, whatever happens."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
import time
from pathlib import Path

_DRAFT = re.compile(r"\.bayesmix-[0-9a-f]{8}\.draft")
"""The name of a draft: hidden, and short enough for a target whose name has the full length."""
_STALE = 3600.0
"""Seconds without a byte written after which a draft is what a killed process left behind."""


def write_bytes(
    path: str | os.PathLike[str],
    content: bytes | bytearray | memoryview,
    *,
    mode: int | None = None,
    follow: bool = True,
) -> None:
    """Put bytes in the place of a file, safely on disk when this returns.

    They go to a draft beside the target, which then takes the target's place. On any failure the
    draft is removed and the old file is as it was. Drafts of killed processes in the same folder
    are removed on the way (:func:`sweep`).

    Parameters
    ----------
    path
        The target; its folder has to exist.
    content
        All bytes of the new file.
    mode
        Rights of the file, less the process's umask; None means those of any new file, 0o666.
    follow
        Where the path is a link: True replaces the file behind it, False the link itself.

    Raises
    ------
    OSError
        The disk is full, the folder is missing or cannot be written, or the target is a folder, a
        device or a pipe.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     target = pathlib.Path(folder, "numbers")
    ...     write_bytes(target, b"1 2 3")
    ...     target.read_bytes(), len(list(target.parent.iterdir()))
    (b'1 2 3', 1)
    """
    target = Path(os.path.realpath(path) if follow else path)
    _check_target(target)
    draft = target.with_name(f".bayesmix-{secrets.token_hex(4)}.draft")
    rights = 0o666 if mode is None else mode
    try:
        with open(draft, "xb", opener=lambda name, flags: os.open(name, flags, rights)) as file:
            # the clock of the file system, which need not be this machine's
            sweep(draft.parent, now=os.fstat(file.fileno()).st_mtime)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, target)
    except BaseException:
        _remove(draft)
        raise
    _sync_folder(target.parent)


def sweep(folder: str | os.PathLike[str], *, now: float | None = None) -> None:
    """Remove drafts in a folder that nobody has written to for an hour; never raises.

    Parameters
    ----------
    folder
        Where to look; folders in it are left alone.
    now
        Seconds since the epoch; None means the clock of this machine.
    """
    latest = (time.time() if now is None else now) - _STALE
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if _DRAFT.fullmatch(entry.name) and _is_stale(entry, latest):
                _remove(entry.path)


def _is_stale(entry: os.DirEntry[str], latest: float) -> bool:
    """A regular file, not a link that somebody named like a draft, last written before then."""
    try:
        found = entry.stat(follow_symlinks=False)
    except OSError:  # another process was faster
        return False
    return stat.S_ISREG(found.st_mode) and found.st_mtime < latest


def _check_target(target: Path) -> None:
    """Refuse what a rename would destroy: a device node such as /dev/null, a pipe, a socket."""
    try:
        kind = os.lstat(target).st_mode
    except OSError:  # not there; what else is wrong the write itself says
        return
    if stat.S_ISDIR(kind):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    if not (stat.S_ISREG(kind) or stat.S_ISLNK(kind)):
        raise OSError(errno.EINVAL, "it is a device, a pipe or a socket", str(target))


def _remove(draft: str | os.PathLike[str]) -> None:
    with contextlib.suppress(OSError):
        os.unlink(draft)


def _sync_folder(folder: Path) -> None:
    """Make the new name safe as well, where folders can be synced; the bytes already are."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
