"""Coefficients by group: what the population has plus what the group has of its own."""

from __future__ import annotations

from typing import Any

import xarray as xr

from bayesmix import schema
from bayesmix.errors import MissingCapability, UnknownName, brief, suggestion


def by_group(tree: xr.DataTree, factor: Any) -> xr.Dataset:
    """The effects that vary by a grouping factor, population and deviation added.

    Raises
    ------
    MissingCapability, UnknownName
        The fit has no group effects; none by this factor.
    """
    found = schema.estimates(tree)
    groups = {str(name).split("|", 1)[1] for name in found.data_vars if "|" in str(name)}
    if not groups:
        raise MissingCapability(
            "coefficients() is about effects that vary by group, as in '~ sex + (1 | edu)'; this "
            "fit has none: see summary()"
        )
    if not isinstance(factor, str) or factor not in groups:
        raise UnknownName(
            f"coefficients(): no effects vary by {brief(factor)}: "
            f"{suggestion(str(factor), sorted(groups))}"
        )
    tail = f"|{factor}"
    names = [str(name) for name in found.data_vars if str(name).endswith(tail)]
    effects = {name.removesuffix(tail): found[name] for name in names}
    sums = {_effect(name): _added(found, _effect(name), values) for name, values in effects.items()}
    return xr.Dataset(sums).rename({f"{factor}_group": factor})


def _effect(name: str) -> str:
    """The population's name of an effect: the deviation of the intercept is called ``1``."""
    return "Intercept" if name == "1" else name


def _added(found: xr.Dataset, name: str, deviation: xr.DataArray) -> xr.DataArray:
    """Deviations around the population's effect; around zero where the formula has none."""
    if name not in found or found[name].dims != deviation.dims[:-1]:
        return deviation
    return found[name] + deviation
