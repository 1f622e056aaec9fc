"""A mixture along one predictor: the rows to predict, the data shown, and names for both."""

from __future__ import annotations

import functools
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bayesmix import protocols
from bayesmix.design import formula as formulas
from bayesmix.errors import (
    MissingCapability,
    SpecError,
    UnknownName,
    brief,
    listed,
    shortened,
    suggestion,
)
from bayesmix.plots import style
from bayesmix.plots.entries import one
from bayesmix.protocols import Array, HasComponents
from bayesmix.result import Fit
from bayesmix.tree import read

HEAVY = 0.05
"""Weight from which a component matters where it stands."""
_GRID = 200
_SHOWN = 4000
"""Rows drawn at most."""
_HELD = 12
"""Columns held still that a sentence names; the others are counted."""
_LETTERS = 118
"""Letters of a legend that fit in a row, with six for each of its lines."""
_MARGIN = 0.08
"""Room above and below the data, as a share of their range."""


@dataclass(frozen=True, eq=False)
class Across:
    """A mixture, the predictor on its horizontal axis, and the rows of a grid along it.

    Parameters
    ----------
    grid
        Evenly spaced over the predictor's range in the data; other columns hold one value.
    held
        The other columns and that value: the median, or the most frequent category.
    """

    fit: Fit
    predictor: str
    grid: pd.DataFrame
    held: dict[str, Any]

    @property
    def x(self) -> Array:
        """Values of the predictor on the grid, (obs,)."""
        return self.grid[self.predictor].to_numpy()

    @property
    def dim(self) -> str:
        """What a component is called: ``expert``, ``piece``."""
        return _mixture(self.fit, "a plot of components").component

    @property
    def components(self) -> list[str]:
        """Names such as ``expert 0``."""
        return [f"{self.dim} {label}" for label in self.fit.design.coords[self.dim]]

    @property
    def is_share(self) -> bool:
        """Whether the target is a count among trials, which is drawn as a share of them."""
        return "trials" in self.fit.design.arrays

    @property
    def target(self) -> str:
        """What the vertical axis measures."""
        name = self.fit.target
        trials = [other for other in _left(self.fit) if other != name]
        among = f" among {trials[0]}" if trials else ""
        return f"share of {name}{among}" if self.is_share else name

    @property
    def sampled(self) -> bool:
        """Whether there are several draws, and so intervals."""
        return len(next(iter(read.draws(self.fit.tree).values()))) > 1

    @functools.cached_property
    def trials(self) -> float:
        """Trials on the grid; 1 for a target that is no count among trials."""
        new = self.fit.model.new_design(self.grid.iloc[:1], self.fit.design)
        return float(new.arrays["trials"][0]) if self.is_share else 1.0

    @functools.cached_property
    def is_count(self) -> bool:
        """Whether the fit predicts whole numbers."""
        drawn = self.fit.sample(self.grid.iloc[:1], draws=1)[self.fit.target]
        return drawn.dtype.kind in "iu"

    @functools.cached_property
    def rows(self) -> Array:
        """Positions of the rows that are drawn: all, or 4000 evenly spaced ones."""
        n = self.fit.design.n_obs
        return np.linspace(0, n - 1, min(n, _SHOWN)).round().astype(int)

    @property
    def table(self) -> pd.DataFrame | None:
        """The rows that are drawn, for methods of the fit; None stands for all."""
        data = self.fit.data
        return None if len(self.rows) == len(data) else data.iloc[self.rows]

    @property
    def at(self) -> Array:
        """The predictor of the rows drawn, (row,)."""
        return self.fit.data[self.predictor].to_numpy()[self.rows]

    @property
    def observed(self) -> Array:
        """The target of the rows drawn, as on the vertical axis, (row,)."""
        arrays = self.fit.design.arrays
        values = arrays["y"] if "y" in arrays else self.fit.data[self.fit.target].to_numpy(float)
        return values[self.rows] / self.row_trials

    @property
    def row_trials(self) -> Array:
        """Trials of the rows drawn, (row,); 1 for a target that is no count among trials."""
        ones = np.ones(self.fit.design.n_obs)
        return self.fit.design.arrays.get("trials", ones)[self.rows]

    def predicted(self) -> xr.Dataset:
        """:meth:`Fit.predict` on the grid, 90 % intervals, in units of the vertical axis.

        A scale is its median over draws: it is an exponential, whose mean a few draws can make
        larger than all others.
        """
        low, high = style.OUTER
        found = self.fit.predict(self.grid, quantiles=(low, 0.5, high))
        if "scale" in found:
            found["scale"] = found["scale_quantile"].isel(quantile=1, drop=True)
        found = found.isel(quantile=[0, 2])
        measured = [str(name) for name in found.data_vars if not str(name).startswith("weight")]
        return found.assign({name: found[name] / self.trials for name in measured})

    def limits(self) -> tuple[float, float]:
        """Ends of the vertical axis: the range of the data and a margin."""
        low, high = float(self.observed.min()), float(self.observed.max())
        room = _MARGIN * (high - low) or 1.0
        return low - room, high + room


def across(fit: Any, predictor: str | None, what: str, *, points: int = _GRID) -> Across:
    """A mixture along one of its numeric predictors.

    Parameters
    ----------
    predictor
        None takes the first numeric one of the formula.
    what
        The caller, for error messages.
    points
        Rows of the grid.

    Raises
    ------
    MissingCapability
        The fit is no mixture.
    UnknownName, SpecError
        No such predictor; one that holds no numbers, or one value only.
    """
    _mixture(one(fit, what), what)
    _ = fit.target  # several targets are refused
    data = fit.data
    column = _chosen(fit, predictor, what)
    low, high = float(data[column].min()), float(data[column].max())
    if low == high:
        raise SpecError(f"{what}: column {column!r} is {low:g} in every row, nothing to draw along")
    kept = [str(name) for name in data.columns if name not in (column, fit.target)]
    held = {name: _typical(data[name]) for name in kept}
    values = {k: pd.Series([v] * points, dtype=data[k].dtype) for k, v in held.items()}
    grid = pd.DataFrame({column: np.linspace(low, high, points), **values})
    return Across(fit, column, grid, held)


def _mixture(fit: Fit, what: str) -> HasComponents:
    if not isinstance(fit.model, HasComponents):
        raise MissingCapability(
            f"{what} draws the components of a mixture; {type(fit.model).__name__} is no mixture: "
            "see bayesmix.plots for figures that any fit has"
        )
    return fit.model


def _sides(fit: Fit) -> tuple[str, str]:
    return formulas.split(fit.model.formula)  # type: ignore[attr-defined]


def _left(fit: Fit) -> list[str]:
    """Columns on the left-hand side of the formula: the target, and its trials."""
    return [name for name in fit.data.columns if _place(name, _sides(fit)[0]) >= 0]


def _place(name: str, text: str) -> int:
    """Where a column stands in a formula; -1 where it does not."""
    found = re.search(rf"(?<![\w.]){re.escape(name)}(?![\w.]|\s*\()", text)
    return found.start() if found else -1


def _is_coded(name: str, text: str) -> bool:
    """Whether a formula takes a column of numbers as categories, ``C(u)``."""
    return re.search(rf"\bC\(\s*{re.escape(name)}(?![\w.])", text) is not None


def _chosen(fit: Fit, predictor: Any, what: str) -> str:
    data, (_, right) = fit.data, _sides(fit)
    known = [n for n in data.columns if n not in _left(fit) or _place(n, right) >= 0]
    numeric = [n for n in known if data[n].dtype.kind in "iuf" and not _is_coded(n, right)]
    if not numeric:
        raise SpecError(f"{what} needs a numeric predictor; this fit has {listed(known)}")
    if predictor is None:
        places = {name: _place(name, right) for name in numeric}
        return min(numeric, key=lambda name: (places[name] < 0, places[name]))
    if not isinstance(predictor, str) or predictor not in known:
        hint = suggestion(str(predictor), numeric)
        raise UnknownName(f"{what}: the fit has no predictor {brief(predictor)}: {hint}")
    if predictor not in numeric:
        raise SpecError(
            f"{what}: predictor {predictor!r} is a category; choose one of {listed(numeric)}"
        )
    return str(predictor)


def _typical(column: pd.Series) -> Any:
    """The median of numbers, a value that occurs where they are whole; else the most frequent."""
    if column.dtype.kind == "f":
        return float(column.median())
    if column.dtype.kind in "iu":
        return int(column.quantile(0.5, interpolation="nearest"))
    return column.value_counts().idxmax()


def thinned(fit: Fit, most: int) -> Fit:
    """The same fit with at most so many draws, evenly spaced in every chain."""
    if not read.is_sampled(fit.tree):
        return fit
    chains, draws = (fit.tree["posterior"].sizes[dim] for dim in protocols.SAMPLE_DIMS)
    step = -(-chains * draws // most)
    tree = fit.tree.copy()
    tree["posterior"] = fit.tree["posterior"].to_dataset().isel(draw=slice(None, None, step))
    return replace(fit, tree=tree)


# --- what these figures draw alike ----------------------------------------------------------------


def dots(axes: Axes, along: Across, **look: Any) -> None:
    """The data as small points."""
    style_of = {"s": dot_size(len(along.rows)), "linewidths": 0, "rasterized": True, **look}
    axes.scatter(along.at, along.observed, **style_of)


def dot_size(count: int) -> float:
    """Area of one of so many points, in square points."""
    return float(np.clip(3000 / count, 3.0, 16.0))


def data_key(along: Across, **look: Any) -> Line2D:
    """The legend entry of the data: how many rows, where not all are drawn."""
    n, shown = along.fit.design.n_obs, len(along.rows)
    label = f"{n:,} rows" if shown == n else f"{shown:,} of {n:,} rows"
    return style.key(label, linestyle="none", marker="o", markersize=3, **look)


def cut(axes: Axes, along: Across) -> None:
    """Both axes at the range of the data, with ticks that do not depend on the panel's height."""
    axes.set_xlim(along.x[0], along.x[-1])
    axes.margins(x=0.0)
    axes.set_ylim(*along.limits())
    axes.locator_params(axis="y", nbins=7)


def keys(figure: Figure, first: Sequence[Any], second: Sequence[Any]) -> None:
    """A legend of one row where all entries fit, else of rows of three that do not mix the two."""
    if sum(len(entry.get_label()) + 6 for entry in (*first, *second)) <= _LETTERS:
        style.legend(figure, [*first, *second], columns=len(first) + len(second))
        return
    rows = [list(half[i : i + 3]) for half in (first, second) for i in range(0, len(half), 3)]
    columns = zip_longest(*rows, fillvalue=style.key("", linestyle="none"))
    style.legend(figure, [entry for column in columns for entry in column], columns=3)


def notes(figure: Figure, along: Across, sentences: Sequence[str] = ()) -> None:
    """Sentences below a figure; the first says at what the other columns are held."""
    names = list(along.held)
    held = ", ".join(f"{name} = {_printed(along.held[name])}" for name in names[:_HELD])
    held += f" and {len(names) - _HELD} more" if len(names) > _HELD else ""
    said = [f"Curves are drawn at {held}; the rows have values of their own."] if held else []
    lines = [textwrap.fill(text, 112) for text in (*said, *sentences) if text]
    if lines:
        figure.supxlabel("\n".join(lines), fontsize=8, color=style.GREY)


def _printed(value: Any) -> str:
    return number(value) if isinstance(value, float) else shortened(str(value), 40)


def number(value: float) -> str:
    """Three digits, thousands apart, with a minus sign as on the axes."""
    rounded = float(f"{value:.3g}")
    text = f"{rounded:,.0f}" if abs(rounded) >= 100 else f"{rounded:.3g}"
    return text.replace("-", "\N{MINUS SIGN}")
