"""Output of a chapter that ran: a notebook with its results, and its figures."""

from __future__ import annotations

import base64
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bayesmix import files
from bayesmix.book import notebook as notebooks
from bayesmix.book.places import Chapter
from bayesmix.errors import DataFileError


def run(chapter: Chapter, out: Path, after: Callable[[int, int], None]) -> list[Path]:
    """Run a chapter and write what it made into a folder; the names of the files.

    Raises
    ------
    DataFileError
        The folder cannot be written; said before the first cell runs.
    ChapterFailed
        A cell failed; what ran before it is written, in a notebook that is called incomplete.
    """
    _check_writable(out)
    with tempfile.TemporaryDirectory() as scratch:
        try:
            found = notebooks.executed(chapter, Path(scratch), after)
        except notebooks.ChapterFailed as error:
            _write(out / f"{chapter.name}.incomplete.ipynb", _text(error.notebook).encode())
            raise
    written = [_write(out / f"{chapter.name}.ipynb", _text(found).encode())]
    written += [_write(out / name, content) for name, content in figures(found)]
    return written


def figures(notebook: Any) -> list[tuple[str, bytes]]:
    """The figures of a notebook that ran, as PNG, in order."""
    images = [
        output.data["image/png"]
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    return [
        (f"figure-{i:02d}.png", base64.b64decode(image)) for i, image in enumerate(images, start=1)
    ]


def _text(notebook: Any) -> str:
    return str(notebooks.library("nbformat").writes(notebook, version=4)) + "\n"


def _check_writable(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        good = os.access(out, os.W_OK)
    except OSError:
        good = False
    if not good:
        raise DataFileError(f"--out must be a folder that can be written; {str(out)!r} is not")


def _write(path: Path, content: bytes) -> Path:
    files.write_bytes(path, content)
    return path
