"""One xarray DataTree whatever the engine: how it is built from what a method found."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd
import xarray as xr

from bayesmix.errors import DataError, listed
from bayesmix.protocols import Array, Design, Model, Posterior

if TYPE_CHECKING:
    from collections.abc import Hashable
from bayesmix.design.table import plain_values
from bayesmix.protocols import SAMPLE_DIMS

RESERVED = (*SAMPLE_DIMS, "member", "obs", "quantile", "sample")
"""Dims of every result; no column that becomes a variable can be called so."""


def check_names(dims: Mapping[str, tuple[str, ...]], design: Design) -> None:
    """Refuse column names that would mean two things in the tree of a fit.

    Raises
    ------
    DataError
        A column is called like a dimension of the result, or the response has a slash in its name.
    """
    taken = {*RESERVED, *(dim for named in dims.values() for dim in named)}
    # parameters have no dim obs, so a predictor or a group may be called so; outcomes have
    names = [*(name for name in dims if name != "obs"), *design.observed]
    clash = [name for name in dict.fromkeys(names) if name in taken]
    if clash:
        raise DataError(
            f"the result of a fit has a dimension called {listed(clash)}, so a column cannot be; "
            f"rename it, for example data.rename(columns={{{clash[0]!r}: {clash[0] + '_'!r}}})"
        )
    slashed = [name for name in design.observed if "/" in name]
    if slashed:
        raise DataError(
            f"the response {slashed[0]!r} has a slash in its name, which no variable of the "
            "result can have; rename the column"
        )


def build_tree(result: Posterior, model: Model, design: Design) -> xr.DataTree:
    """Lift a method's arrays to the labelled tree of DESIGN, section 5."""
    dims = model.dims(design)
    lead = SAMPLE_DIMS if result.sampled else ("member",) if result.members else ()
    groups: dict[str, xr.Dataset] = {}
    main, stats = ("posterior", "sample_stats") if result.sampled else ("estimate", "fit_stats")
    groups[main] = _dataset(result.params, dims, design.coords, lead)
    if result.errors:
        groups["standard_error"] = _dataset(result.errors, dims, design.coords, lead)
    if result.roots:
        groups["covariance"] = _roots(result.roots, dims)
    groups[stats] = xr.Dataset({k: (result.stat_dims[k], v) for k, v in result.stats.items()})
    if result.fit_stats:
        extra = {k: (result.fit_stat_dims[k], v) for k, v in result.fit_stats.items()}
        known = groups.get("fit_stats", xr.Dataset()).data_vars
        groups["fit_stats"] = xr.Dataset(extra).assign({str(k): v for k, v in known.items()})
    groups.update(data_groups(design))
    # cast: the overloads of from_dict are only partly typed
    tree: xr.DataTree = cast("Any", xr.DataTree).from_dict(groups)
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
    # one memory layout, as a file gives it back: sums in another order differ in their last bit
    arrays = {name: np.asarray(value, order="C") for name, value in values.items()}
    return xr.Dataset({name: ((*lead, *dims[name]), arrays[name]) for name in arrays}, labels)


def _roots(roots: Mapping[str, Array], dims: Mapping[str, tuple[str, ...]]) -> xr.Dataset:
    """Square roots of the covariance, each with the dims of its parameter and ``direction``."""
    return xr.Dataset({name: ((*dims[name], "direction"), root) for name, root in roots.items()})


def data_groups(design: Design) -> dict[str, xr.Dataset]:
    """``observed_data`` (the target) and ``constant_data`` (the other columns), by ``obs``."""
    observed: dict[str, Any] = {}
    constant: dict[str, Any] = {}
    for name in design.columns.columns:
        column = design.columns[name]
        # xarray keeps "dtype" for itself
        attrs: dict[str, Any] = {
            "position": len(observed) + len(constant),
            "type": str(column.dtype),
        }
        if isinstance(column.dtype, pd.CategoricalDtype):
            levels = column.cat.categories
            attrs |= {
                "levels": json.dumps(levels.tolist()),
                "ordered": int(bool(column.cat.ordered)),
            }
        group = observed if name in design.observed else constant
        values = plain_values(column)
        values = values.astype(str) if values.dtype == object else values
        group[_stored(str(name))] = ("obs", values, attrs | {"name": str(name)})
    obs = {"obs": np.arange(design.n_obs)}
    return {"observed_data": xr.Dataset(observed, obs), "constant_data": xr.Dataset(constant, obs)}


def _stored(name: str) -> str:
    """A column's name in the tree, where a slash parts groups and ``obs`` is the dim of rows."""
    return "obs (column)" if name == "obs" else name.replace("/", "÷")
