"""Fits on disk: one netCDF file each, written whole or not at all, never pickled."""

from __future__ import annotations

import io
import os
from pathlib import Path
from urllib.parse import quote, unquote

import xarray as xr

from bayesmix import files
from bayesmix.errors import FitFileError
from bayesmix.tree import netcdf

FORMAT = "1"
_ENGINE = "h5netcdf"
_GROUPS = {"observed_data", "constant_data"}
_SAFE = " |[]():,.+-*^~!'\"{}=<>&@#$;?`\\"


def write(tree: xr.DataTree, path: str | os.PathLike[str]) -> Path:
    """Write a tree to one file; a reader sees the old file or the new one, never a part.

    The file is built in memory, which needs as much again as the tree itself.

    Raises
    ------
    FitFileError
        The folder does not exist, the file cannot be written, or the tree holds what no file can.
    """
    path = as_path(path)
    if os.path.isdir(path):
        raise FitFileError(f"cannot write {str(path)!r}: it is a folder; name a file in it")
    if not os.path.isdir(path.parent):
        raise FitFileError(
            f"cannot write {str(path)!r}: {str(path.parent)!r} is not a folder; make it first"
        )
    # in memory: HDF5 that cannot flush, as on a full disk, ends the process
    content = _content(tree, path)
    try:
        files.write_bytes(path, content)
    except (OSError, ValueError) as error:  # a name that is not text, or holds a zero byte
        raise FitFileError(
            f"cannot write {str(path)!r}: {getattr(error, 'strerror', None) or error}"
        ) from error
    return path


def read(path: str | os.PathLike[str]) -> xr.DataTree:
    """Read a tree into memory and close the file.

    Raises
    ------
    FitFileError
        There is no such file, it is cut short or foreign, it holds what a fit does not hold, or
        another version wrote it.
    """
    path = as_path(path)
    if not os.path.isfile(path):
        what = "a folder" if os.path.isdir(path) else "no file"
        raise FitFileError(
            f"there is no fit at {str(path)!r}: it is {what}; give a file that Fit.save wrote"
        )
    try:
        tree = netcdf.read(path)
    except netcdf.Unsafe as error:
        raise FitFileError(f"{str(path)!r} is not a fit of bayesmix: {error}") from error
    except Exception as error:
        raise FitFileError(
            f"{str(path)!r} is not a fit of bayesmix, or it is cut short ({type(error).__name__}); "
            "fit and save again"
        ) from error
    _check_format(tree, path)
    return _named(tree, unquote)


def _check_format(tree: xr.DataTree, path: Path) -> None:
    found = tree.attrs.get("bayesmix_format")
    if found is not None and str(found) != FORMAT:
        raise FitFileError(
            f"{str(path)!r} has format {found}, this version reads {FORMAT}; load it with the "
            f"version that wrote it: {tree.attrs.get('versions', 'unknown')}"
        )
    if found is None or _GROUPS.difference(tree.children):
        raise FitFileError(
            f"{str(path)!r} is a netCDF file, but not a fit of bayesmix; "
            "give one that Fit.save wrote"
        )


def as_path(path: object) -> Path:
    """A path out of a text or a path.

    Raises
    ------
    FitFileError
        Anything else was given.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise FitFileError(f"a path is a text or a pathlib.Path, got {path!r}")
    return Path(os.fspath(path))


def _content(tree: xr.DataTree, path: Path) -> bytes:
    """The bytes of a file; values stand in it plainly, whatever file they came from."""
    content = io.BytesIO()
    try:
        named = _named(tree, lambda name: quote(name, safe=_SAFE))
        named.to_netcdf(content, engine=_ENGINE)
    except (TypeError, ValueError) as error:
        raise FitFileError(
            f"cannot write {str(path)!r}: the tree holds what a netCDF file cannot: {error}"
        ) from error
    return content.getvalue()


def _named(tree: xr.DataTree, rename: object) -> xr.DataTree:
    """The tree with its variables renamed: netCDF keeps '/' for the names of groups."""
    groups = {}
    for path, node in tree.subtree_with_keys:
        data = node.to_dataset(inherit=False).drop_encoding()
        names = {str(n): rename(str(n)) for n in (*data.variables, *data.dims)}  # type: ignore[operator]
        groups["/" if path == "." else path] = data.rename(
            {old: new for old, new in names.items() if old != new}
        )
    return xr.DataTree.from_dict(groups)
