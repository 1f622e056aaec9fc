"""The state of a training run in one file, replaced whole, so that a killed run can go on."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bayesmix import files
from bayesmix.errors import FitFileError
from bayesmix.protocols import Array

_KEY = "fit"


def write(path: str, key: str, arrays: Mapping[str, Array]) -> None:
    """Save arrays under the key of the fit that they belong to; the old file stays until then."""
    content = io.BytesIO()
    np.savez(content, **{_KEY: np.array(key)}, **dict(arrays))  # type: ignore[arg-type]
    try:
        files.write_bytes(path, content.getvalue())
    except OSError as error:
        raise FitFileError(
            f"the checkpoint {path!r} cannot be written: {error.strerror or error}"
        ) from error


def read(path: str, key: str) -> dict[str, Array] | None:
    """The arrays saved under that key; None where there is no file yet.

    Raises
    ------
    FitFileError
        The file is no checkpoint, or one of another model, data, method or seed.
    """
    if not Path(path).exists():
        return None
    try:
        with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as held:
            found = {name: held[name] for name in held.files}
        stored = str(found.pop(_KEY))
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise FitFileError(f"{path!r} is no checkpoint of a training run: {error}") from error
    if stored != key:
        raise FitFileError(
            f"the checkpoint {path!r} belongs to another fit: its model, data, method or seed is "
            "not that of this call; give another path, or delete the file to start anew"
        )
    return found
