r"""Effects on the scale of predictions: contrasts and slopes, averaged over rows, with intervals.

With :math:`f(x)` what a fit predicts at a row (a probability, a mean), x_v a row with predictor v
set to a value, and the average over the rows of a group,

.. math:: \text{comparison} = \frac1n \sum_i \big\{ f(x_{i, v = b}) - f(x_{i, v = a}) \big\}, \qquad
          \text{slope} = \frac1n \sum_i \frac{\partial f(x_i)}{\partial v},

each computed for every draw, so that an interval is one of the average itself. A row of counts
weighs as its trials would alone. A point estimate has draws too: of the Gaussian that its standard
errors describe.

References
----------
Arel-Bundock, Greifer & Heiss (2024), doi:10.18637/jss.v111.i09, whose words these are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayesmix.design import table
from bayesmix.errors import (
    DataError,
    MissingCapability,
    SpecError,
    UnknownName,
    brief,
    listed,
    suggestion,
)
from bayesmix.prediction import Fitted, chunks, n_samples
from bayesmix.protocols import Array, Design, Params
from bayesmix.specs import check_number
from bayesmix.tree import read as tree_read

MEASURES: dict[str, Callable[[Array, Array], Array]] = {
    "difference": lambda low, high: high - low,
    "ratio": lambda low, high: high / low,
    "odds-ratio": lambda low, high: high * (1 - low) / (low * (1 - high)),
}
"""How two averages are compared; differences are averages of differences, too."""
STEP = 1e-4
"""Half of a slope's central difference, in standard deviations: its error is of order 1e-8."""


@dataclass(frozen=True)
class Question:
    """What is asked of a fit.

    Parameters
    ----------
    variable
        A column that the model reads.
    by
        Columns whose values are kept apart; None averages over all rows.
    new_data
        The rows that are averaged over; None means the training rows.
    of
        A curve of the family (``"probability"``), or ``"mean"``; None takes the probability where
        there is one.
    prob
        Mass of the interval.
    """

    variable: str
    by: Any = None
    new_data: Any = None
    of: str | None = None
    prob: float = 0.9


def comparisons(
    fit: Fitted,
    wanted: Question,
    *,
    values: Sequence[Any] | None = None,
    measure: str = "difference",
) -> pd.DataFrame:
    """What a change of one predictor does to the prediction, averaged over rows.

    Parameters
    ----------
    values
        The two values compared, low then high. None compares the two that there are, each further
        level with the first, or of numbers x with x + 1.
    measure
        ``"difference"``, ``"ratio"`` or ``"odds-ratio"`` of the averages.

    Returns
    -------
    DataFrame
        A row for each contrast and group: ``variable``, ``contrast``, the columns of ``by``,
        ``estimate``, ``sd``, ``low``, ``high``. For a point fit the estimate is the point's.

    Raises
    ------
    DataError
        The model does not read the column, or it holds one value.
    SpecError
        An option is out of range.

    Examples
    --------
    >>> import bayesmix as bm
    >>> model = bm.BinomialGLM("p(high, total) ~ sex + edu")
    >>> fit = bm.fit(model, bm.datasets.census(), method="mle", seed=1)
    >>> round(float(fit.comparisons("sex")["estimate"].iloc[0]), 2)
    0.19
    """
    if measure not in MEASURES:
        raise SpecError(f"measure={measure!r} is not known: {suggestion(measure, MEASURES)}")
    rows, variable = _rows(fit, wanted), wanted.variable
    found = []
    for low, high, contrast in _contrasts(rows[variable], variable, values):
        ends = [_averages(fit, rows, _set(rows, variable, v), wanted) for v in (low, high)]
        (keys, first, first_point), (_, second, second_point) = ends
        compare = MEASURES[measure]
        drawn, point = compare(first, second), compare(first_point, second_point)
        found.append(_table(wanted, contrast, keys, drawn, point))
    return pd.concat(found, ignore_index=True)


def slopes(fit: Fitted, wanted: Question) -> pd.DataFrame:
    """The derivative of the prediction by one numeric predictor, averaged over rows.

    The table has the columns of :func:`comparisons`; the unit is the prediction's for one unit of
    the predictor.

    Raises
    ------
    DataError
        The column is not one of measured numbers.
    """
    rows, variable = _rows(fit, wanted), wanted.variable
    column = rows[variable]
    if column.dtype.kind not in "iuf":
        raise DataError(f"column {variable!r} has no slope: it holds labels; use comparisons()")
    step = STEP * (float(column.astype(float).std()) or 1.0)
    ends = [
        _averages(fit, rows, rows.assign(**{variable: column + sign * step}), wanted)
        for sign in (-1, 1)
    ]
    (keys, first, first_point), (_, second, second_point) = ends
    slope, point = (second - first) / (2 * step), (second_point - first_point) / (2 * step)
    return _table(wanted, "dY/dX", keys, slope, point)


def odds_ratios(fit: Fitted, *, prob: float = 0.9) -> pd.DataFrame:
    r"""Odds ratios :math:`e^{\beta}` of the population's slopes.

    Parameters
    ----------
    prob
        Mass of the interval.

    Returns
    -------
    DataFrame
        By coefficient: ``odds_ratio`` (of draws the median), ``low``, ``high``.

    Raises
    ------
    MissingCapability
        The model's coefficients are not log-odds.
    """
    mass = check_number("odds_ratios", "prob", prob, low=0, high=1, strict=True)
    design, params = fit.plausible()
    dims = fit.model.dims(design)
    if "logit" not in fit.model.curves(
        {k: v[:1] for k, v in params.items()}, design.rows(slice(0, 1))
    ):
        link = getattr(fit.model, "link", None)
        kind = f"{type(fit.model).__name__}(link={link!r})" if link else type(fit.model).__name__
        raise MissingCapability(
            f"odds ratios are of logistic models; {kind} has other coefficients: "
            "comparisons(measure='odds-ratio') has them of averages, whatever the link"
        )
    names = [n for n in dims if "|" not in n and not n.startswith(("sigma_", "corr_"))]
    rows: dict[str, Any] = {}
    for name in (n for n in names if n != "Intercept"):
        estimate = tree_read.estimates(fit.tree)[name].to_numpy()
        point = params[name] if tree_read.is_sampled(fit.tree) else np.asarray(estimate)[None]
        drawn = np.exp(params[name].reshape(len(params[name]), -1))
        middle = np.median(np.exp(point.reshape(len(point), -1)), axis=0)
        low, high = np.quantile(drawn, [(1 - mass) / 2, (1 + mass) / 2], axis=0)
        levels = design.coords[dims[name][0]] if dims[name] else [None]
        for level, *values in zip(levels, middle, low, high, strict=True):
            rows[name if level is None else f"{name}[{level}]"] = values
    return pd.DataFrame.from_dict(rows, orient="index", columns=["odds_ratio", "low", "high"])


def _rows(fit: Fitted, wanted: Question) -> pd.DataFrame:
    variable, new_data = wanted.variable, wanted.new_data
    rows = fit.data if new_data is None else table.frame(new_data)
    read = [name for name in fit.data.columns if name not in fit.design.observed]
    if variable not in read:
        raise DataError(
            f"the model does not read {variable!r} as a predictor: {suggestion(variable, read)}"
        )
    if variable not in rows:
        raise DataError(f"new_data lacks {variable!r}; its columns are {listed(rows.columns)}")
    return rows


def _contrasts(
    column: pd.Series, name: str, values: Sequence[Any] | None
) -> list[tuple[Any, Any, str]]:
    """Pairs of values (or of whole columns) and their label."""
    if values is not None:
        if len(values) != 2:
            raise SpecError(f"values must be two, low then high, got {list(values)!r}")
        return [(values[0], values[1], f"{values[1]} - {values[0]}")]
    levels = list(pd.unique(column.sort_values()))
    if isinstance(column.dtype, pd.CategoricalDtype):
        levels = [level for level in column.cat.categories if (column == level).any()]
    if len(levels) < 2:
        raise DataError(f"column {name!r} holds one value, {levels[0]!r}: give values=(low, high)")
    if column.dtype.kind in "iuf" and len(levels) > 2:
        return [(column, column + 1, "+1")]
    return [(levels[0], level, f"{level} - {levels[0]}") for level in levels[1:]]


def _set(rows: pd.DataFrame, variable: str, value: Any) -> pd.DataFrame:
    """The rows with one column set, of the type that it had."""
    if isinstance(value, pd.Series):
        return rows.assign(**{variable: value})
    column = pd.Series([value] * len(rows), index=rows.index)
    if isinstance(rows[variable].dtype, pd.CategoricalDtype):
        column = column.astype(rows[variable].dtype)
    return rows.assign(**{variable: column})


def _averages(
    fit: Fitted, rows: pd.DataFrame, changed: pd.DataFrame, wanted: Question
) -> tuple[pd.DataFrame, Array, Array]:
    """Groups, and the average prediction of each group's rows, by draw and at the point."""
    by, of = wanted.by, wanted.of
    names: list[str] = [by] if isinstance(by, str) else list(by or ())
    if missing := [name for name in names if name not in rows]:
        raise DataError(f"by={missing} are not columns of these rows: {listed(rows.columns)}")
    codes, keys = _groups(rows, names)
    drawn = _by_group(*fit.plausible(changed), fit, codes, len(keys), of)
    if tree_read.is_sampled(fit.tree) or len(drawn) == 1:
        return keys, drawn, drawn.mean(axis=0)
    point = _by_group(*fit.estimated(changed), fit, codes, len(keys), of)
    return keys, drawn, point.mean(axis=0)


def _groups(rows: pd.DataFrame, names: list[str]) -> tuple[Array, pd.DataFrame]:
    """Each row's group, and the values that groups stand for."""
    if not names:
        return np.zeros(len(rows), dtype=np.int64), pd.DataFrame(index=[0])
    grouped = rows.groupby(names, observed=True, sort=True)
    keys = grouped.size().reset_index()[names]
    return grouped.ngroup().to_numpy(), keys


def _by_group(
    design: Design, params: Params, fit: Fitted, codes: Array, n_groups: int, of: str | None
) -> Array:
    """Average prediction (sample, group); a row of counts weighs as its trials would alone."""
    people = np.asarray(design.arrays.get("trials", np.ones(design.n_obs)), dtype=float)
    people = people if design.case_weight is None else people * design.case_weight
    total = 0.0
    for first, part in chunks(design, n_samples(params)):
        values = _predicted(fit, params, part, of)
        here = slice(first, first + part.n_obs)
        indicator = (codes[here, None] == np.arange(n_groups)) * people[here, None]
        total = total + values @ indicator
    return np.asarray(total) / np.bincount(codes, people, minlength=n_groups)


def _predicted(fit: Fitted, params: Params, design: Design, of: str | None) -> Array:
    """What is averaged, (sample, obs)."""
    if of == "mean":
        return fit.model.moments(params, design)[0]
    curves = {k: v for k, v in fit.model.curves(params, design).items() if v.ndim == 2}
    if of is None and "probability" not in curves:
        return fit.model.moments(params, design)[0]
    name = of or "probability"
    if name not in curves:
        raise SpecError(f"of={name!r} is not known: {suggestion(name, ['mean', *curves])}")
    return curves[name]


def _table(
    wanted: Question, contrast: str, keys: pd.DataFrame, drawn: Array, point: Array
) -> pd.DataFrame:
    prob = check_number("effects", "prob", wanted.prob, low=0, high=1, strict=True)
    ends = np.quantile(drawn, [(1 - prob) / 2, (1 + prob) / 2], axis=0)
    one = len(drawn) == 1
    nothing = np.full(len(keys), np.nan)
    columns = {
        "estimate": point,
        "sd": nothing if one else drawn.std(axis=0, ddof=1),
        "low": nothing if one else ends[0],
        "high": nothing if one else ends[1],
    }
    head = pd.DataFrame({"variable": wanted.variable, "contrast": contrast}, index=keys.index)
    return pd.concat([head, keys, pd.DataFrame(columns, index=keys.index)], axis=1)


def by_group(tree: xr.DataTree, factor: Any) -> xr.Dataset:
    """The effects that vary by a grouping factor, population and deviation added.

    Raises
    ------
    MissingCapability, UnknownName
        The fit has no group effects; none by this factor.
    """
    found = tree_read.estimates(tree)
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
