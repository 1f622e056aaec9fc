"""One xarray DataTree whatever the engine: how it is built, checked, read and hashed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from bayesmix.errors import DataError, NoDraws, listed
from bayesmix.protocols import Array, Design, Model, Posterior

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

SAMPLE_DIMS = ("chain", "draw")


def frame(data: Any) -> pd.DataFrame:
    """A data frame out of a data frame, an xarray Dataset or a mapping of equally long columns.

    Raises
    ------
    DataError
        Not a table, no rows, columns of different lengths, or two columns of one name.
    """
    if isinstance(data, xr.Dataset):
        data = data.to_dataframe().reset_index(drop=True)
    if isinstance(data, Mapping):
        data = _frame_from_mapping(data)
    if not isinstance(data, pd.DataFrame):
        raise DataError(
            "data must be a pandas data frame, an xarray Dataset or a mapping of columns, "
            f"got {type(data).__name__}"
        )
    repeated = data.columns[data.columns.duplicated()]
    if len(repeated):
        raise DataError(f"column names must be unique, found twice: {listed(sorted(set(repeated)))}")
    if len(data) == 0:
        raise DataError("data has no rows: give at least two")
    return data.reset_index(drop=True)


def _frame_from_mapping(data: Mapping[Any, Any]) -> pd.DataFrame:
    lengths = {name: np.size(column) for name, column in data.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"columns must have one length, got {lengths}")
    if any(np.ndim(column) != 1 for column in data.values()):
        bad = [name for name, column in data.items() if np.ndim(column) != 1]
        raise DataError(f"columns must be one-dimensional, not so: {listed(bad)}")
    return pd.DataFrame(dict(data))


def columns(data: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """The named columns, every value present and finite.

    Raises
    ------
    DataError
        A column is missing, or holds NaN or infinities; the message names rows.
    """
    missing = [name for name in names if name not in data.columns]
    if missing:
        raise DataError(f"data lacks {listed(missing)}; its columns are {listed(data.columns)}")
    for name in names:
        _check_finite(data[name])
    return data.loc[:, list(names)]


def _check_finite(column: pd.Series) -> None:
    empty = np.flatnonzero(column.isna().to_numpy())
    if empty.size:
        raise DataError(
            f"column {str(column.name)!r} has {empty.size} missing values, first in row {empty[0]}; "
            f"drop or fill them before the fit"
        )
    if pd.api.types.is_complex_dtype(column.dtype):
        raise DataError(f"column {str(column.name)!r} holds complex numbers; give real ones")
    if pd.api.types.is_float_dtype(column.dtype):
        bad = np.flatnonzero(~np.isfinite(column.to_numpy(dtype=float)))
        if bad.size:
            raise DataError(
                f"column {str(column.name)!r} has {bad.size} infinite values, first in row {bad[0]}"
            )


def hash_frame(data: pd.DataFrame) -> str:
    """A content hash of a table: names, types, category order and every value."""
    digest = hashlib.sha256()
    for name in data.columns:
        column = data[name]
        digest.update(json.dumps([str(name), str(column.dtype), _levels(column)]).encode())
        digest.update(pd.util.hash_array(_plain(column)).tobytes())
    return digest.hexdigest()


def _levels(column: pd.Series) -> list[str] | None:
    if isinstance(column.dtype, pd.CategoricalDtype):
        return [repr(level) for level in column.cat.categories]
    return None


def _plain(column: pd.Series) -> Array:
    """Values that a netCDF file can hold: numbers as they are, everything else as text."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return column.astype(str).to_numpy(dtype=object)
    if column.dtype.kind in "iufb":
        return column.to_numpy()
    return column.astype(str).to_numpy(dtype=object)


def build_tree(result: Posterior, model: Model, design: Design) -> xr.DataTree:
    """Lift a method's arrays to the labelled tree of DESIGN, section 5."""
    dims = model.dims(design)
    lead = SAMPLE_DIMS if result.sampled else ()
    groups: dict[str, xr.Dataset] = {}
    main, stats = ("posterior", "sample_stats") if result.sampled else ("estimate", "fit_stats")
    groups[main] = _dataset(result.params, dims, design.coords, lead)
    if result.errors:
        groups["standard_error"] = _dataset(result.errors, dims, design.coords, lead)
    groups[stats] = xr.Dataset({k: (result.stat_dims[k], v) for k, v in result.stats.items()})
    if result.fit_stats:
        extra = {k: (result.fit_stat_dims[k], v) for k, v in result.fit_stats.items()}
        groups["fit_stats"] = xr.Dataset(extra).merge(groups.get("fit_stats", xr.Dataset()))
    groups.update(data_groups(design))
    tree = xr.DataTree.from_dict(groups)
    tree.attrs.update(result.attrs)
    return tree


def _dataset(
    values: Mapping[str, Array],
    dims: Mapping[str, tuple[str, ...]],
    coords: Mapping[str, tuple[Hashable, ...]],
    lead: tuple[str, ...],
) -> xr.Dataset:
    used = {dim for name in values for dim in dims[name]}
    labels: dict[str, Any] = {dim: list(coords[dim]) for dim in coords if dim in used}
    if lead:
        shape = next(iter(values.values())).shape
        labels |= {dim: np.arange(shape[i]) for i, dim in enumerate(lead)}
    return xr.Dataset({name: ((*lead, *dims[name]), values[name]) for name in values}, labels)


def data_groups(design: Design) -> dict[str, xr.Dataset]:
    """``observed_data`` (the target) and ``constant_data`` (the other columns), by ``obs``."""
    observed, constant = {}, {}
    for name in design.columns.columns:
        column = design.columns[name]
        attrs: dict[str, Any] = {"dtype": str(column.dtype)}
        if isinstance(column.dtype, pd.CategoricalDtype):
            levels = column.cat.categories
            attrs |= {"levels": json.dumps(levels.tolist()), "ordered": int(column.cat.ordered)}
        group = observed if name == design.target else constant
        group[name] = ("obs", _plain(column), attrs)
    obs = {"obs": np.arange(design.n_obs)}
    return {"observed_data": xr.Dataset(observed, obs), "constant_data": xr.Dataset(constant, obs)}


def training_columns(tree: xr.DataTree) -> pd.DataFrame:
    """The columns that a fit was made from, with their types: the inverse of :func:`data_groups`."""
    restored: dict[str, pd.Series] = {}
    for group in ("observed_data", "constant_data"):
        for name, values in tree[group].to_dataset().data_vars.items():
            restored[str(name)] = _restore(values)
    return pd.DataFrame(restored)


def _restore(values: xr.DataArray) -> pd.Series:
    column = pd.Series(values.to_numpy())
    if "levels" in values.attrs:
        levels = json.loads(values.attrs["levels"])
        texts = [str(level) for level in levels]
        codes = pd.Categorical(column.astype(str), categories=texts).codes
        return pd.Series(
            pd.Categorical.from_codes(codes, levels, ordered=bool(values.attrs["ordered"]))
        )
    if values.dtype.kind in "iufb":
        return column
    return column.astype("str")


def is_sampled(tree: xr.DataTree) -> bool:
    """True when the tree holds draws, False when it holds one point or several members."""
    return "posterior" in tree.children


def estimates(tree: xr.DataTree) -> xr.Dataset:
    """The reported parameters, whichever group holds them."""
    return tree["posterior" if is_sampled(tree) else "estimate"].to_dataset()


def draws(tree: xr.DataTree) -> dict[str, Array]:
    """The one adapter between draws, points and members: each array gets one leading sample axis."""
    values = estimates(tree)
    lead = [dim for dim in (*SAMPLE_DIMS, "member") if dim in values.dims]
    arrays: dict[str, Array] = {}
    for name, variable in values.data_vars.items():
        array = variable.transpose(*lead, ...).to_numpy()
        arrays[str(name)] = array.reshape(-1, *array.shape[len(lead) :])
    return arrays


def require_draws(tree: xr.DataTree, what: str) -> xr.Dataset:
    """The posterior, or a NoDraws error that says what a point estimate cannot answer.

    Raises
    ------
    NoDraws
        The fit is a point estimate.
    """
    if not is_sampled(tree):
        raise NoDraws(
            f"{what} needs draws and this fit is a point estimate; fit again with method='nuts'"
        )
    return tree["posterior"].to_dataset()
