"""The checks behind :mod:`bayesmix.diagnostics`: one function each, one finding with advice each."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from bayesmix.blocks import chains
from bayesmix.protocols import Array
from bayesmix.schema import SAMPLE_DIMS, estimates

Level = Literal["pass", "warn", "fail"]
MAX_RHAT = 1.01
MIN_ESS = 100  # for each chain
MAX_MCSE = 0.1  # in posterior standard deviations
MAX_DIVERGENT = 0.001
MIN_BFMI = 0.3
MAX_DEPTH_SHARE = 0.01
MIN_DRAWS = 100
GEWEKE_Z, GEWEKE_SHARE, GEWEKE_ESS = 1.96, 0.05, 50
GOOD_PARETO_K, MAX_PARETO_K = 0.5, 0.7
TREND_ERRORS, TREND_NATS, TREND_LENGTH = 3.0, 0.1, 80
MAX_GRADIENT = 1e-2
MIN_SIGMA, MAX_CORRELATION = 1e-4, 0.999
RESTART_NATS = 0.01
REPARAMETRIZE = '`parametrization="mixed"` (or `"noncentered"`, for groups with little data)'


@dataclass(frozen=True)
class Finding:
    """One check: what was found, against which threshold, where, and what to do about it."""

    check: str
    level: Level
    value: float
    threshold: float
    where: str
    message: str


@dataclass(frozen=True, eq=False)
class Run:
    """Markov chains with their statistics, as the checks read them.

    Parameters
    ----------
    labels, draws
        Every parameter that is not constant: its label, and (chain, draw, parameter).
    statistics
        Of :func:`bayesmix.blocks.chains.chain_statistics`, and ``geweke`` (largest \\|z\\|).
    z
        Geweke scores, (chain, parameter).
    stats
        The sampler's own record by (chain, draw).
    max_treedepth
        Longest trajectory allowed, as a power of two; None where it is not known.
    """

    labels: list[str]
    draws: Array
    statistics: pd.DataFrame
    z: Array
    stats: xr.Dataset
    max_treedepth: int | None


def labelled(group: xr.Dataset) -> tuple[list[str], Array]:
    """Every distinct entry of a group's variables, with a label that a reader knows it by.

    Returns
    -------
    labels
        Such as ``sigma_edu[sex]``; of a correlation matrix only the pairs, ``corr_edu[Intercept, sex]``.
    values
        Shape (chain, draw, parameter); (1, member, parameter) and (1, 1, parameter) without chains.
    """
    lead = [dim for dim in (*SAMPLE_DIMS, "member") if dim in group.dims]
    shape = (1, 1, *(group.sizes[dim] for dim in lead))[-2:]
    labels: list[str] = []
    values = [np.empty((*shape, 0))]
    for name, variable in group.data_vars.items():
        own = [dim for dim in variable.dims if dim not in lead]
        array = variable.transpose(*lead, *own).to_numpy().astype(float)
        kept = _distinct(str(name), tuple(variable.sizes[dim] for dim in own))
        entries = product(*(variable[dim].to_numpy() for dim in own))
        labels += [_label(str(name), entry) for entry, keep in zip(entries, kept, strict=True) if keep]
        values.append(array.reshape(*shape, -1)[..., kept])
    return labels, np.concatenate(values, axis=-1)


def _label(name: str, entry: Sequence[Any]) -> str:
    return f"{name}[{', '.join(map(str, entry))}]" if entry else name


def _distinct(name: str, shape: tuple[int, ...]) -> Array:
    """A flat mask; a correlation matrix is symmetric, so its pairs are listed once."""
    if name.startswith("corr_") and len(shape) == 2 and shape[0] == shape[1]:
        return np.triu(np.ones(shape, dtype=bool), k=1).ravel()
    return np.ones(math.prod(shape), dtype=bool)


def moving(labels: list[str], draws: Array) -> tuple[list[str], Array]:
    """Without the entries that are the same number in every draw (they are no parameters)."""
    still = (draws == draws[:1, :1]).all(axis=(0, 1))
    return [label for label, s in zip(labels, still, strict=True) if not s], draws[..., ~still]


def chain_table(labels: list[str], draws: Array) -> pd.DataFrame:
    """R-hat, effective sizes and Monte Carlo errors by parameter; one chain is split for R-hat."""
    return pd.DataFrame(chains.chain_statistics(draws, min_chains=1), index=labels)


def read_run(tree: xr.DataTree) -> Run:
    """The chains of a tree, with every statistic that the checks need."""
    labels, draws = moving(*labelled(estimates(tree)))
    z = chains.geweke_z(draws)
    table = chain_table(labels, draws).assign(geweke=np.fmax.reduce(np.abs(z), axis=0))
    has_stats = "sample_stats" in tree.children
    stats = tree["sample_stats"].to_dataset() if has_stats else xr.Dataset()
    return Run(labels, draws, table, z, stats, tree.attrs.get("max_treedepth"))


def _record(run: Run, *names: str) -> Array | None:
    """The first of the named sampler statistics that was recorded, (chain, draw)."""
    found = [name for name in names if name in run.stats.data_vars]
    return run.stats[found[0]].transpose(*SAMPLE_DIMS).to_numpy() if found else None


def check_chains(run: Run) -> Finding:
    """Are there several chains?"""
    n = run.draws.shape[0]
    if n > 1:
        return Finding("chains", "pass", n, 2, "", f"{n} chains were run and can be compared.")
    return Finding(
        "chains", "warn", n, 2, "",
        "Only one chain was run, so nothing shows that another start would end in the same place, "
        "and R-hat (from the chain's two halves) is a weak check. Run four: `chains=4`.",
    )  # fmt: skip
