"""Tables: data frames, mappings and datasets as columns of plain types, checked and hashed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd
import xarray as xr

from bayesmix.errors import DataError, listed
from bayesmix.protocols import Array

if TYPE_CHECKING:
    from collections.abc import Sequence

LARGEST, SMALLEST = 1e150, 1e-150
"""Beyond these a square over- or underflows, and with it every variance and every norm."""
_CATEGORIES = ("string", "integer", "floating", "boolean", "empty")


def frame(data: Any) -> pd.DataFrame:
    """A data frame out of a data frame, an xarray Dataset or a mapping of equally long columns.

    Other frames, such as those of polars, are taken by their own ``to_pandas()``.

    A copy: columns of objects and of nullable types become plain ones where they hold nothing else,
    and categories that are neither numbers nor text (intervals, dates) become text.

    Raises
    ------
    DataError
        Not a table, no rows, columns of different lengths, two columns of one name, or text that is
        not Unicode.
    """
    try:
        return _frame(data)
    except UnicodeError as error:
        raise DataError(
            f"data hold text that is not valid Unicode ({error.args[-1]}): half a character, as a "
            "file leaves it that was read in the wrong encoding; read it again with its own"
        ) from error


def _frame(data: Any) -> pd.DataFrame:
    if isinstance(data, xr.Dataset):
        data = _frame_from_dataset(data)
    if isinstance(data, Mapping):
        data = _frame_from_mapping(cast("Mapping[Any, Any]", data))
    if not isinstance(data, pd.DataFrame):
        data = _converted(data)
    if not isinstance(data, pd.DataFrame):
        raise DataError(
            "data must be a pandas data frame, an xarray Dataset or a mapping of columns, "
            f"got {_kind(data)}; other data frames have a method such as to_pandas()"
        )
    repeated = data.columns[data.columns.duplicated()]
    if len(repeated):
        raise DataError(
            f"column names must be unique, found twice: {listed(dict.fromkeys(repeated))}; "
            "rename or drop one of each"
        )
    if len(data) == 0:
        raise DataError("data has no rows: give at least two")
    data = data.reset_index(drop=True).infer_objects()
    return pd.DataFrame({name: _plain_type(data[name]) for name in data.columns}, data.index)


def _converted(data: Any) -> Any:
    """What the data's own ``to_pandas`` makes of them, as polars and Arrow tables have it."""
    convert = None if isinstance(data, type) else getattr(data, "to_pandas", None)
    if not callable(convert):
        return cast("object", data)
    try:
        return convert()
    except Exception as error:
        raise DataError(
            f"{_kind(data)}.to_pandas() failed: {error}; give a pandas frame"
        ) from error


def _kind(value: object) -> str:
    """The type of a value with the library that it is from: ``numpy.ndarray``."""
    kind = type(value)
    library = kind.__module__.split(".")[0]
    return kind.__name__ if library == "builtins" else f"{library}.{kind.__name__}"


def _frame_from_dataset(data: xr.Dataset) -> pd.DataFrame:
    """Variables, and those dims that have labels, as columns."""
    table = data.to_dataframe().reset_index()
    return table.drop(columns=[dim for dim in data.dims if dim not in data.coords])


def _frame_from_mapping(data: Mapping[Any, Any]) -> pd.DataFrame:
    bad = [name for name, column in data.items() if not _is_flat(column)]
    if bad:
        raise DataError(
            f"columns must be one-dimensional, not so: {listed(bad)}; give one value for each row"
        )
    lengths = {str(name): len(column) for name, column in data.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"columns must have one length, got {lengths}")
    indexes = [column.index for column in data.values() if isinstance(column, pd.Series)]
    if any(not index.equals(indexes[0]) for index in indexes):
        raise DataError(
            "the Series in data have different indexes, so it is unclear which values belong to "
            "one row; give one data frame, or arrays: column.to_numpy()"
        )
    plain: dict[Any, Any] = {
        k: cast(Any, v).array if isinstance(v, pd.Series) else v for k, v in data.items()
    }
    return pd.DataFrame(plain)


def _is_flat(column: Any) -> bool:
    try:
        return np.ndim(column) == 1
    except ValueError:  # a list of lists of different lengths
        return False


def _plain_type(column: pd.Series) -> pd.Series:
    """The same values in a type that NumPy and a netCDF file know."""
    dtype = column.dtype
    if dtype.kind == "f" and getattr(dtype, "itemsize", 8) > 8:  # long double, which no file holds
        return pd.Series(column.to_numpy().astype(float), column.index, name=column.name)
    if isinstance(dtype, pd.CategoricalDtype):
        texts = dtype.categories.astype(str)
        plain = pd.api.types.infer_dtype(dtype.categories) in _CATEGORIES
        return (
            column if plain or texts.has_duplicates else column.cat.rename_categories(list(texts))
        )
    if not isinstance(dtype, np.dtype) and not column.hasnans:
        if dtype.kind in "iufb":
            return column.astype(np.dtype(f"{dtype.kind}{getattr(dtype, 'itemsize', 8)}"))
        if pd.api.types.is_string_dtype(dtype):
            return column.astype("str")
    return column


def columns(data: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """The named columns, every value present and finite.

    Raises
    ------
    DataError
        A column is missing, or holds NaN or infinities; the message names rows.
    """
    missing = [name for name in names if name not in data.columns]
    if missing:
        known = [str(name) for name in data.columns]
        close = {match for name in missing for match in get_close_matches(name, known, n=1)}
        hint = f" (did you mean {listed(sorted(close))}?)" if close else ""
        raise DataError(f"data lacks {listed(missing)}{hint}; its columns are {listed(known)}")
    for name in names:
        _check_values(data[name])
    return data.loc[:, list(names)]


def _check_values(column: pd.Series) -> None:
    name = str(column.name)
    empty = np.flatnonzero(column.isna().to_numpy())
    if empty.size:
        raise DataError(
            f"column {name!r} has {empty.size} missing value(s), first in row {empty[0]}; "
            "drop those rows, data.dropna(), or fill them in"
        )
    _check_type(column)
    if pd.api.types.is_float_dtype(column.dtype):
        values = column.to_numpy(dtype=float)
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            raise DataError(
                f"column {name!r} has {bad.size} infinite value(s), first in row {bad[0]}; "
                "drop those rows or replace the values"
            )
        check_size(f"column {name!r}", values)


def check_size(what: str, values: Array) -> None:
    """Raise a DataError where the squares of numbers would over- or underflow."""
    top = float(np.abs(values).max(initial=0.0))
    if top > LARGEST or 0 < top < SMALLEST:
        raise DataError(
            f"{what} goes up to {top:.3g}, and squares of such numbers are "
            f"{'infinite' if top > LARGEST else 'zero'} in double precision; give it in other units"
        )


def _check_type(column: pd.Series) -> None:
    name, dtype = str(column.name), column.dtype
    if dtype.kind == "c":
        raise DataError(f"column {name!r} holds complex numbers; give real ones")
    if dtype.kind in "mM" or isinstance(dtype, (pd.PeriodDtype, pd.DatetimeTZDtype)):
        raise DataError(
            f"column {name!r} holds dates or times ({dtype}); turn it into a number, such as days "
            "since the first, or into text where it only names groups"
        )
    if isinstance(dtype, pd.CategoricalDtype):
        if dtype.categories.astype(str).has_duplicates:
            raise DataError(
                f"column {name!r} has categories that read alike: {listed(dtype.categories)}"
            )
    elif not (dtype.kind in "iufb" or isinstance(dtype, pd.StringDtype)):
        kinds = dict.fromkeys(type(value).__name__ for value in column)
        raise DataError(
            f"column {name!r} holds {listed(kinds)}; give one kind: numbers, text or a category"
        )


def hash_frame(data: pd.DataFrame) -> str:
    """A content hash of a table: names, types, category order and every value."""
    digest = hashlib.sha256()
    for name in data.columns:
        column = data[name]
        digest.update(json.dumps([str(name), str(column.dtype), _levels(column)]).encode())
        digest.update(pd.util.hash_array(plain_values(column)).tobytes())
    return digest.hexdigest()


def _levels(column: pd.Series) -> list[str] | None:
    if isinstance(column.dtype, pd.CategoricalDtype):
        return [str(column.cat.ordered), *(repr(level) for level in column.cat.categories)]
    return None


def plain_values(column: pd.Series) -> Array:
    """Values that a netCDF file can hold: numbers as they are, everything else as text."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return column.astype(str).to_numpy(dtype=object)
    if column.dtype.kind in "iufb":
        return column.to_numpy()
    return column.astype(str).to_numpy(dtype=object)
