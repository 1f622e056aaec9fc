"""Places of chapters: a checkout's folder, the one inside a wheel, or one that is named."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import bayesmix
from bayesmix.calls import named
from bayesmix.errors import DataFileError, UnknownName, listed, suggestion

_PACKAGE = Path(bayesmix.__file__).resolve().parent
FOLDERS = (_PACKAGE.parent / "chapters", _PACKAGE / "chapters")
"""A checkout's comes first, so that a chapter being written is the one that runs."""

BOOK = "BAYESMIX_BOOK"
"""Environment variable by which a kernel knows the book whose chapter it runs."""

_NAMED = re.compile(r"\d\d_[a-z_]+")


@dataclass(frozen=True)
class Chapter:
    """One chapter: a folder such as ``chapters/01_pooling``."""

    folder: Path

    @property
    def name(self) -> str:
        """Such as ``01_pooling``."""
        return self.folder.name

    @property
    def number(self) -> str:
        """Such as ``01``."""
        return self.name[:2]

    @property
    def source(self) -> Path:
        """The only source: Python with cells of text, in jupytext's percent format."""
        return self.folder / "chapter.py"

    @property
    def notebook(self) -> Path:
        """Made from the source, without outputs."""
        return self.folder / "chapter.ipynb"

    @property
    def expected(self) -> Path:
        """The numbers that the chapter must give."""
        return self.folder / "expected.json"


@named
def chapters(book: str | os.PathLike[str] | None = None) -> list[Chapter]:
    """Every chapter, in order.

    Parameters
    ----------
    book
        The folder that holds them; None takes the checkout's, else the one that was installed.

    Raises
    ------
    DataFileError
        There are none; the message says where they were looked for.

    Examples
    --------
    >>> chapters()[0].name
    '01_pooling'
    """
    places = FOLDERS if book is None else (Path(book),)
    for place in places:
        found = [path for path in sorted(place.glob("*/chapter.py")) if _is_chapter(path)]
        if found:
            return [Chapter(path.parent) for path in found]
    raise DataFileError(
        f"no chapters: looked for 01_NAME/chapter.py in {listed(places)}; name the folder that "
        "holds them with --book"
    )


def _is_chapter(path: Path) -> bool:
    return _NAMED.fullmatch(path.parent.name) is not None


def chapter(name: str, book: str | os.PathLike[str] | None = None) -> Chapter:
    """The chapter of a number or a name: ``1``, ``01``, ``pooling`` or ``01_pooling``.

    Raises
    ------
    UnknownName
        There is no such chapter; the message lists those that there are.
    """
    known = chapters(book)
    for one in known:
        if name.lower() in (one.name, one.name[3:]) or name.rjust(2, "0") == one.number:
            return one
    names = [one.name for one in known]
    raise UnknownName(f"no chapter {name!r}: {suggestion(name, names)}")
