"""A disk that is really full: a small file system of its own, or a limit on the size of files."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import bayesmix

SIZE = 1 << 20
"""Bytes that the disk holds."""

_LIMITED = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (%d, %d))\n"


@contextmanager
def small_disk(folder: Path, kind: str = "disk") -> Iterator[bool]:
    """A folder where no more than :data:`SIZE` bytes can be written.

    ``"disk"``: a file system of that size. ``"limit"``, and where this process may not mount one:
    gives True, and :func:`run` has to limit the size of files instead.
    """
    folder.mkdir(exist_ok=True)
    mounted = kind == "disk" and os.geteuid() == 0 and _mounted(folder)
    try:
        yield not mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _mounted(folder: Path) -> bool:
    options = f"size={SIZE},mode=0700"
    command = ["mount", "-t", "tmpfs", "-o", options, "bayesmix", str(folder)]
    return subprocess.run(command, capture_output=True).returncode == 0


def run(
    script: str, *arguments: object, limited: bool, size: int = SIZE
) -> subprocess.CompletedProcess[str]:
    """Run a script on this package in a new process, whose files are limited if so asked."""
    home = str(Path(bayesmix.__file__).parents[1])
    limit = _LIMITED % (size, size) if limited else ""
    source = f"import sys; sys.path[:0] = [{home!r}]\n{limit}{script}"
    command = [sys.executable, "-c", source, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def fill(folder: Path) -> None:
    """Leave less than a page of room on a disk of :data:`SIZE` bytes."""
    with open(folder / "filler", "wb", buffering=0) as file, contextlib.suppress(OSError):
        for _ in range(SIZE // 4096):
            file.write(b"\0" * 4096)
