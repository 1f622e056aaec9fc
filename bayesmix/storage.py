"""Fits on disk: one netCDF file each, written whole or not at all, never pickled."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from urllib.parse import quote, unquote

import xarray as xr

from bayesmix.errors import FitFileError

FORMAT = "1"
_ENGINE = "h5netcdf"
_SAFE = " |[]():,.+-*^~!'\"{}=<>&@#$;?`\\"


def write(tree: xr.DataTree, path: str | os.PathLike[str]) -> Path:
    """Write a tree to one file; a reader sees the old file or the new one, never a part.

    Raises
    ------
    FitFileError
        The folder does not exist or the file cannot be written.
    """
    path = Path(path)
    try:
        handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise FitFileError(f"cannot write {str(path)!r}: {error.strerror or error}") from error
    os.close(handle)
    try:
        _named(tree, lambda name: quote(name, safe=_SAFE)).to_netcdf(draft, engine=_ENGINE)
        _flush(draft)
        os.replace(draft, path)
    except OSError as error:
        raise FitFileError(f"cannot write {str(path)!r}: {error.strerror or error}") from error
    finally:
        Path(draft).unlink(missing_ok=True)
    return path


def read(path: str | os.PathLike[str]) -> xr.DataTree:
    """Read a tree into memory and close the file.

    Raises
    ------
    FitFileError
        There is no such file, it is cut short or foreign, or another version wrote it.
    """
    path = Path(path)
    if not path.is_file():
        raise FitFileError(f"there is no fit at {str(path)!r}")
    try:
        with xr.open_datatree(path, engine=_ENGINE) as stored:
            tree = stored.load()
    except Exception as error:
        raise FitFileError(
            f"{str(path)!r} is not a fit of bayesmix, or it is cut short ({type(error).__name__})"
        ) from error
    found = tree.attrs.get("bayesmix_format")
    if found is None:
        raise FitFileError(f"{str(path)!r} is a netCDF file, but no fit of bayesmix")
    if str(found) != FORMAT:
        raise FitFileError(
            f"{str(path)!r} has format {found}, this version reads {FORMAT}; load it with the "
            f"version that wrote it: {tree.attrs.get('versions', 'unknown')}"
        )
    return _named(tree, unquote)


def _named(tree: xr.DataTree, rename: object) -> xr.DataTree:
    """The tree with its variables renamed: '/' separates groups in netCDF and cannot be in a name."""
    groups = {}
    for path, node in tree.subtree_with_keys:
        data = node.to_dataset(inherit=False)
        names = {str(n): rename(str(n)) for n in (*data.variables, *data.dims)}  # type: ignore[operator]
        groups["/" if path == "." else path] = data.rename(
            {old: new for old, new in names.items() if old != new}
        )
    return xr.DataTree.from_dict(groups)


def _flush(path: str) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())
