"""The data of the book by name: files checked against their manifest."""

from __future__ import annotations

import pandas as pd

from bayesmix.calls import named
from bayesmix.datasets import manifest
from bayesmix.datasets.manifest import Entry

BOOK_ROWS = 32_561
"""Rows of the census that the book uses: the training part of the Adult data."""


@named
def census() -> pd.DataFrame:
    """Income of 32,561 people of the 1994 US census, counted by education and sex.

    Returns
    -------
    pandas.DataFrame
        14 rows sorted by education, then sex. ``edu``: ordered categorical of seven levels;
        ``sex``: 0 female, 1 male; ``total``, ``low`` (at most 50,000 US dollars a year) and
        ``high`` (more): people.

    Raises
    ------
    DataFileError
        The file is missing, or is not the one in the manifest.

    References
    ----------
    Becker & Kohavi (1996), Adult, UCI Machine Learning Repository, doi:10.24432/C5XW20, CC BY 4.0.

    Examples
    --------
    >>> frame = census()
    >>> int(frame["total"].sum())
    32561
    >>> str(frame["edu"].cat.categories[0])
    'Some HS'
    """
    return load("census")


@named
def one_to_many() -> pd.DataFrame:
    r"""Bishop's inverse problem: regress ``target`` on ``x``, where one x has several targets.

    :math:`x = t + 0.3 \sin(2 \pi t) + 0.05 u` with :math:`u \sim U(0, 1)`, at 1000 even steps of
    the target :math:`t` from 0 to 1.

    Returns
    -------
    pandas.DataFrame
        1000 rows; ``x`` and ``target``, both without unit.

    Raises
    ------
    DataFileError
        The file is missing, or is not the one in the manifest.

    References
    ----------
    Bishop (1994), Mixture Density Networks, Aston University, NCRG/94/004.

    Examples
    --------
    >>> one_to_many()["x"].head(2).round(6).tolist()
    [0.018727, 0.050424]
    """
    return load("one_to_many")


@named
def names() -> list[str]:
    """Names of the data sets that :func:`load` knows.

    Examples
    --------
    >>> names()
    ['census', 'one_to_many']
    """
    return sorted(manifest.read(manifest.folder()))


@named
def load(name: str) -> pd.DataFrame:
    """The data set of that name, checked against the manifest.

    Raises
    ------
    UnknownName
        No data set has that name.
    DataFileError
        The file is missing, or is not the one in the manifest.
    """
    folder = manifest.folder()
    return manifest.table(folder, manifest.entry(folder, name))


@named
def about(name: str) -> Entry:
    """What the manifest says of a data set: licence, source, and the meaning of every column.

    Raises
    ------
    UnknownName
        No data set has that name.
    DataFileError
        The manifest is missing or cannot be read.

    Examples
    --------
    >>> about("census")["licence"]
    'CC-BY-4.0'
    >>> {column["name"]: column["unit"] for column in about("census")["columns"]}["high"]
    'people'
    """
    return manifest.entry(manifest.folder(), name)
