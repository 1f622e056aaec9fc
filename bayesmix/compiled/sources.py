"""The source of the whole package as one digest, which names what compiled code was made of.

It is imported with the package itself, so that its clock starts before any other module is read,
and imports nothing that costs time.
"""

import functools
import os
import time

IMPORTED_AT = time.time()
HOME = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
_TICK = 0.02
"""Seconds by which the clock of a file system may lag behind that of the process."""


@functools.cache
def digest() -> str:
    """SHA-256 over every source file of the package: names and contents, read once a process."""
    import hashlib

    found = hashlib.sha256()
    for path in _files():
        with open(path, "rb") as file:
            content = file.read()
        found.update(f"{os.path.relpath(path, HOME)} {len(content)} ".encode())
        found.update(content)
    return found.hexdigest()


def unchanged() -> bool:
    """Whether the files are still those that this process imported, or will import.

    An editor or an installer may change them while a process runs: what it compiles is then the old
    source, and :func:`digest` that of the new. The time of change, unlike that of modification,
    cannot be set back.
    """
    return max(os.stat(path).st_ctime for path in _files()) < IMPORTED_AT - _TICK


def is_own(module: str) -> bool:
    """Whether a module of this name is part of the package."""
    return module.split(".")[0] == __name__.split(".")[0]


def _files() -> list[str]:
    found = os.walk(HOME)
    return sorted(
        os.path.join(folder, name) for folder, _, names in found for name in names
        if name.endswith(".py")
    )  # fmt: skip
