"""Whether a tree that was read is a whole fit: groups, types, sizes, and the hash of its data."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayesmix import protocols
from bayesmix import rng as random
from bayesmix.design import table
from bayesmix.errors import BayesmixError
from bayesmix.protocols import Array, Design, Model
from bayesmix.tree import read

DATA = ("observed_data", "constant_data")
_ENGINES = {"posterior": ("mcmc", "independent", "prior"), "estimate": ("point",)}
_LEADS = {"posterior": (protocols.SAMPLE_DIMS,), "estimate": ((), ("member",))}
_RECORDS = ("sample_stats", "fit_stats", "standard_error", "covariance", "functions")
_LARGE = 1_000_000
"""A size that a spec may name whatever the file: a layer, a number of components."""
_KINDS = (str, int, float, bool)
"""What the level of a category can be."""


class Broken(ValueError):
    """Something is missing from a fit, or does not fit the rest of it; the message says what."""


def check_sizes(text: str, length: int) -> None:
    """Refuse a model with sizes that nothing in a file of that length can have.

    Raises
    ------
    Broken
        Its whole numbers, which are numbers of components and layers, are too large.
    """
    sizes = sum(abs(value) for value in _values(json.loads(text)) if isinstance(value, int))
    if sizes > max(_LARGE, length):
        raise Broken(f"it has sizes of {sizes:.3g} in all, and the file is {length:,} bytes long")


def _values(found: Any) -> Iterator[Any]:
    inside = found.values() if isinstance(found, dict) else found
    if isinstance(found, dict | list):
        for value in inside:
            yield from _values(value)
    else:
        yield found


def check(tree: xr.DataTree, model: Model) -> Design:
    """The design of a fit's data, once all of the fit is known to belong together.

    Raises
    ------
    Broken
        The message says what is missing, or does not fit the rest.
    """
    _check_attributes(tree)
    data = _data(tree)
    try:
        design = model.design(data)
        dims = model.dims(design)
    except BayesmixError as error:
        raise Broken(f"its data cannot be those of its model: {error}") from error
    if table.hash_frame(design.columns) != tree.attrs.get("data_hash"):
        raise Broken("its data are not those that were fitted: their hash is another")
    if list(design.columns.columns) != list(data.columns):
        raise Broken(f"its model does not read the columns {list(data.columns)}")
    _check_draws(tree, dims, design)
    return design


def _check_attributes(tree: xr.DataTree) -> None:
    groups = [name for name in ("posterior", "estimate") if name in tree.children]
    if len(groups) != 1:
        raise Broken("it holds neither draws nor an estimate, or both")
    seed, seconds = tree.attrs.get("seed"), tree.attrs.get("wall_seconds")
    try:
        random.check_seed(seed if seed is not None else "none")
    except BayesmixError as error:
        raise Broken(f"its seed cannot repeat it: {error}") from error
    number = isinstance(seconds, float | int | np.floating | np.integer)
    if not (number and np.isfinite(seconds) and seconds >= 0):
        raise Broken(f"wall_seconds must be a number of seconds, got {seconds!r}")
    if tree.attrs.get("engine") not in _ENGINES[groups[0]]:
        allowed = " or ".join(map(repr, _ENGINES[groups[0]]))
        raise Broken(f"its engine must be {allowed}, got {str(tree.attrs.get('engine'))[:40]!r}")
    for name, value in tree.attrs.items():
        if name in _COUNTS and not (isinstance(value, int | np.integer) and value >= 0):
            raise Broken(f"{name} must be a whole number, got {value!r}")


_COUNTS = ("n_parameters", "max_treedepth", "distinct_starts", "converged", "network")


def _data(tree: xr.DataTree) -> pd.DataFrame:
    """The columns of a fit, each of which says where it stands, what it is called and its type."""
    stored = [values for group in DATA for values in tree[group].to_dataset().data_vars.values()]
    for values in stored:
        _check_column(values)
    for what in ("position", "name"):
        if len({values.attrs[what] for values in stored}) != len(stored):
            raise Broken(f"two columns of its data have one {what}")
    if len({values.size for values in stored}) != 1:
        raise Broken("the columns of its data have different lengths, or there are none")
    data = read.training_columns(tree)
    lost = [name for name in data.columns if data[name].isna().any()]
    if lost:
        raise Broken(f"the column {lost[0]!r} of its data has missing values")
    return data


def _check_column(values: xr.DataArray) -> None:
    attrs, name = values.attrs, str(values.name)
    if values.dims != ("obs",) or values.dtype.kind not in "iufbUO":
        raise Broken(f"the column {name!r} of its data is not one value for each row")
    if not isinstance(attrs.get("position"), np.integer) or not isinstance(attrs.get("name"), str):
        raise Broken(f"the column {name!r} of its data does not say what it is called, and where")
    if "levels" in attrs:
        _check_levels(name, attrs["levels"], attrs.get("ordered"))


def _check_levels(name: str, text: object, ordered: object) -> None:
    try:
        levels: Any = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        levels = None
    plain = isinstance(levels, list) and all(isinstance(level, _KINDS) for level in levels)
    if not plain or len({str(level) for level in levels}) != len(levels) or ordered not in (0, 1):
        raise Broken(f"the levels of the column {name!r} are not a list of different values")


def _check_draws(tree: xr.DataTree, dims: Mapping[str, tuple[str, ...]], design: Design) -> None:
    """Every parameter that the model reports, in its dims and sizes, finite, under its labels."""
    group = "posterior" if read.is_sampled(tree) else "estimate"
    found = tree[group].to_dataset()
    if set(found.data_vars) != set(dims):
        odd = sorted(set(dims).symmetric_difference(map(str, found.data_vars)))
        raise Broken(f"its parameters are not those of its model: {', '.join(odd[:5])}")
    leads = [lead for lead in _LEADS[group] if set(lead) <= set(map(str, found.dims))]
    lead = leads[-1] if leads else _LEADS[group][0]
    for name, values in found.data_vars.items():
        _check_parameter(str(name), values, (*lead, *dims[str(name)]), design)
    sizes = {dim: found.sizes[dim] for dim in lead}
    if 0 in sizes.values():
        raise Broken("it holds no draws")
    for name, labels in found.coords.items():
        expected = np.arange(sizes[str(name)]) if name in sizes else design.coords.get(str(name))
        if expected is None or list(map(str, expected)) != list(map(str, labels.to_numpy())):
            raise Broken(f"the labels of the dimension {str(name)!r} are not those of its data")
    _check_records(tree, sizes)


def _check_parameter(
    name: str, values: xr.DataArray, dims: tuple[str, ...], design: Design
) -> None:
    sizes = [len(design.coords[dim]) if dim in design.coords else None for dim in dims]
    fits = values.dims == dims and all(
        size in (None, found) for size, found in zip(sizes, values.shape, strict=True)
    )
    if not fits:
        raise Broken(
            f"the parameter {name!r} has dims {dict(zip(values.dims, values.shape, strict=True))}; "
            f"its model gives it {dict(zip(dims, sizes, strict=True))}"
        )
    if values.dtype.kind != "f" or not _is_finite(values.to_numpy()):
        raise Broken(f"the parameter {name!r} is not a finite real number throughout")


def _is_finite(values: Array) -> bool:
    """Whether every number is finite; the sum says so for nearly all, without a second array."""
    with np.errstate(all="ignore"):
        return bool(np.isfinite(values.sum()) or np.isfinite(values).all())


def _check_records(tree: xr.DataTree, sizes: Mapping[str, int]) -> None:
    """Statistics are numbers, over as many chains, draws or members as the parameters."""
    if "chain" in sizes and "sample_stats" not in tree.children:
        raise Broken("it holds draws without the statistics of their sampler")
    for group in (name for name in _RECORDS if name in tree.children):
        for name, values in tree[group].to_dataset().data_vars.items():
            if values.dtype.kind not in "iufb":
                raise Broken(f"{group} holds {str(name)!r}, which is not a number")
            other = {d: n for d, n in sizes.items() if d in values.dims and values.sizes[d] != n}
            if other or (group == "sample_stats" and values.dims[:2] != protocols.SAMPLE_DIMS):
                raise Broken(f"{group} holds {str(name)!r} of other chains or draws")
