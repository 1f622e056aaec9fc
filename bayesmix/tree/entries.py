"""Entries of arrays of parameters, each with the label by which it is called."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import xarray as xr

from bayesmix.protocols import SAMPLE_DIMS, Array


def labelled(group: xr.Dataset) -> tuple[list[str], Array]:
    """Every distinct entry of a group's variables, with a label that a reader knows it by.

    Returns
    -------
    labels
        Such as ``1|edu[Some HS]``; of correlations one of each pair, ``corr_edu[Intercept, sex]``.
    values
        Shape (chain, draw, parameter); without chains (1, member, parameter) or (1, 1, parameter).
    """
    lead = [dim for dim in (*SAMPLE_DIMS, "member") if dim in group.dims]
    shape = (1, 1, *(group.sizes[dim] for dim in lead))[-2:]
    labels: list[str] = []
    values = [np.empty((*shape, 0))]
    for name, variable in group.data_vars.items():
        own = [dim for dim in variable.dims if dim not in lead]
        kept = _distinct(str(name), tuple(variable.sizes[dim] for dim in own))
        entries = product(*(variable[dim].to_numpy() for dim in own))
        labels += [_label(str(name), e) for e, keep in zip(entries, kept, strict=True) if keep]
        array = variable.transpose(*lead, *own).to_numpy().astype(float)
        values.append(array.reshape(*shape, kept.size)[..., kept])
    return labels, np.concatenate(values, axis=-1)


def _label(name: str, entry: Sequence[Any]) -> str:
    return f"{name}[{', '.join(map(str, entry))}]" if entry else name


def _distinct(name: str, shape: tuple[int, ...]) -> Array:
    """A flat mask; a correlation matrix is symmetric, so its pairs are listed once."""
    if name.startswith("corr_") and len(shape) == 2 and shape[0] == shape[1]:
        return np.triu(np.ones(shape, dtype=bool), k=1).ravel()
    return np.ones(math.prod(shape), dtype=bool)


def labelled_draws(posterior: xr.Dataset) -> tuple[list[str], Array]:
    """As :func:`labelled`, without entries that are one number in every draw: no parameters."""
    labels, draws = labelled(posterior)
    moves = (draws != draws[:1, :1]).any(axis=(0, 1))
    return [label for label, m in zip(labels, moves, strict=True) if m], draws[..., moves]
