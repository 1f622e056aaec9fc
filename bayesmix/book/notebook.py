"""Notebooks of chapters: made from the source, the same bytes each time, and executed."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bayesmix.book.places import BOOK, Chapter
from bayesmix.errors import BayesmixError, MissingCapability

_SECONDS_A_CELL = 300


def library(name: str) -> Any:
    """A library of the group ``book``, or an error that says how to have it."""
    import importlib

    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise MissingCapability(
            f"chapters are run and synced with {error.name}, which is not installed; "
            "pip install 'bayesmix[book]'"
        ) from error


def made(chapter: Chapter) -> str:
    """The notebook's text: cells of the source, ids from position and text, no outputs."""
    jupytext, nbformat = library("jupytext"), library("nbformat")
    notebook = jupytext.reads(chapter.source.read_text(encoding="utf-8"), fmt="py:percent")
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata = nbformat.from_dict({"kernelspec": kernel})
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for position, cell in enumerate(notebook.cells):
        text = f"{position}\n{cell.cell_type}\n{cell.source}"
        cell["id"] = hashlib.sha256(text.encode()).hexdigest()[:12]
    return nbformat.writes(notebook, version=4).rstrip("\n") + "\n"


def synced(chapter: Chapter) -> bool:
    """Whether the notebook beside the source is the one that the source makes."""
    path = chapter.notebook
    return path.is_file() and path.read_text(encoding="utf-8") == made(chapter)


class ChapterFailed(BayesmixError, RuntimeError):
    """A cell of a chapter raised an error; ``notebook`` holds what ran before it."""

    notebook: Any = None


def executed(
    chapter: Chapter, folder: Path, after: Callable[[int, int], None] = lambda done, all_: None
) -> Any:
    """Run a chapter's committed notebook in a kernel of its own, and return it with its outputs.

    Parameters
    ----------
    folder
        Where the kernel stands.
    after
        Called after each cell with how many are done, of how many.

    Raises
    ------
    ChapterFailed
        A cell raised an error, or took more than five minutes.
    """
    nbformat, nbclient = library("nbformat"), library("nbclient")
    exceptions, config = library("nbclient.exceptions"), library("traitlets.config")
    notebook = nbformat.read(chapter.notebook, as_version=4)
    count = len(notebook.cells)
    try:
        # sockets in the file system: nobody else on this machine can talk to the kernel
        with tempfile.TemporaryDirectory(prefix="bayesmix-") as sockets:
            kernel = {"transport": "ipc", "ip": str(Path(sockets, "kernel"))}
            nbclient.NotebookClient(
                notebook,
                kernel_name="python3",
                config=config.Config(KernelManager=kernel),
                timeout=_SECONDS_A_CELL,
                resources={"metadata": {"path": str(folder)}},
                on_cell_complete=lambda cell, cell_index: after(cell_index + 1, count),
            ).execute(env={**os.environ, BOOK: str(chapter.folder.parent.resolve())})
    except (exceptions.CellExecutionError, exceptions.CellTimeoutError) as error:
        failed = ChapterFailed(_told(chapter, notebook, error))
        failed.notebook = notebook
        raise failed from error
    return notebook


def _told(chapter: Chapter, notebook: Any, error: Exception) -> str:
    """Which cell failed, where it stands in the source, and what it said."""
    for position, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                line = _line(chapter, cell.source)
                said = f"{output.ename}: {output.evalue}"
                return f"chapter {chapter.name}, cell {position}, line {line} of chapter.py: {said}"
    return f"chapter {chapter.name}: {error}"


def _line(chapter: Chapter, source: str) -> int:
    """Where a cell begins in the source."""
    text = chapter.source.read_text(encoding="utf-8")
    return text.count("\n", 0, max(text.find(source), 0)) + 1
