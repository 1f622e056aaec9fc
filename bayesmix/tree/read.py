"""What a DataTree holds, read back: draws, points and members, and the training data."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pandas as pd
import xarray as xr

from bayesmix.errors import NoDraws
from bayesmix.protocols import Array

if TYPE_CHECKING:
    pass
from bayesmix.protocols import SAMPLE_DIMS


def training_columns(tree: xr.DataTree) -> pd.DataFrame:
    """The columns that a fit was made from, typed and in order: inverts :func:`data_groups`."""
    stored = [
        values
        for group in ("observed_data", "constant_data")
        for values in tree[group].to_dataset().data_vars.values()
    ]
    stored.sort(key=lambda values: values.attrs["position"])
    return pd.DataFrame({values.attrs["name"]: _restore(values) for values in stored})


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


def judged(tree: xr.DataTree) -> xr.Dataset:
    """What summaries and chains are about: functions where a network has them, else parameters."""
    return tree["functions"].to_dataset() if "functions" in tree.children else estimates(tree)


def draws(tree: xr.DataTree) -> dict[str, Array]:
    """The one adapter between draws, points and members: one leading sample axis each."""
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
