"""A folder for what PyTensor writes, where the user's home is none."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile


def prepare() -> None:
    """Give PyTensor a folder for this process if it has not one that is the user's own.

    Without one its import fails: a container without ``HOME``, a home that cannot be written. And
    what it keeps are pickles, so that a root who works in another user's home would run what that
    user put there. Where the user has chosen a folder (``PYTENSOR_FLAGS``), that stands.
    """
    flags = os.environ.get("PYTENSOR_FLAGS", "")
    if "pytensor" in sys.modules or "compiledir" in flags or _is_usable("~/.pytensor"):
        return
    if not os.path.isabs(os.path.expanduser("~")):  # PyTensor cannot do without
        os.environ["HOME"] = os.sep
    folder = tempfile.mkdtemp(prefix="bayesmix-pytensor-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    own = f"base_compiledir={folder}"
    os.environ["PYTENSOR_FLAGS"] = f"{flags},{own}" if flags else own


def _is_usable(path: str) -> bool:
    """Whether a folder is the user's and can be written, or can be made in one that is."""
    place = os.path.expanduser(path)
    if not os.path.isabs(place):
        return False
    while not os.path.lexists(place):
        place = os.path.dirname(place)
    try:
        return os.stat(place).st_uid == os.geteuid() and os.access(place, os.W_OK | os.X_OK)
    except OSError:
        return False
