"""One look for every figure: its width, colours, markers, grid and legend."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from bayesmix.calls import named
from bayesmix.protocols import Array

WIDTH = 6.8
"""Inches: the text width of a book page."""

PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#000000")
"""Okabe and Ito's colours for colour-blind readers, without vermillion and yellow."""

DIVERGENT = "#D55E00"
"""Vermillion, kept for divergent transitions."""

GREY = "0.45"
BAND = "0.88"
MARKERS = ("o", "s", "^", "D", "v", "P")
LINES: tuple[Any, ...] = ("-", "--", "-.", (0, (1.2, 0.8)))
OUTER, INNER = (0.05, 0.95), (0.25, 0.75)
"""Quantiles of the thin 90 % and the thick 50 % interval."""

RC: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": "0.4",
    "axes.formatter.useoffset": False,
    "axes.grid": True,
    "axes.labelsize": 9,
    "axes.linewidth": 0.7,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 9,
    "figure.dpi": 110,
    "figure.titlesize": 10,
    "font.size": 9,
    "grid.color": "0.92",
    "grid.linewidth": 0.7,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "legend.handlelength": 1.8,
    "lines.linewidth": 1.2,
    "xtick.color": "0.4",
    "xtick.labelcolor": "black",
    "xtick.labelsize": 8,
    "xtick.major.width": 0.7,
    "ytick.color": "0.4",
    "ytick.labelcolor": "black",
    "ytick.labelsize": 8,
    "ytick.major.width": 0.7,
}


def styled[**P](figure: Callable[P, Figure]) -> Callable[P, Figure]:
    """Decorator of a plotting function: the look holds inside it, unknown arguments are told."""
    return named(rc_context(RC)(figure))


class Drawing(Figure):
    """A figure outside pyplot that keeps its look when it is drawn, and that notebooks display."""

    def draw(self, renderer: Any) -> None:
        """Draw in the package's look: ticks are made only now."""
        with rc_context(RC):
            super().draw(renderer)

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()


def panels(
    rows: int, columns: int = 1, *, height: float, width: float = WIDTH, **options: Any
) -> tuple[Figure, Array]:
    """A figure and its axes, shape (rows, columns); ``height`` and ``width`` in inches."""
    layout = ConstrainedLayoutEngine(hspace=0.05)
    figure = Drawing(figsize=(width, height), layout=layout)
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def tiles(
    count: int, *, columns: int = 3, height: float = 1.7, **options: Any
) -> tuple[Figure, list[Axes]]:
    """A figure of ``count`` panels filled row by row; the rest of the last row stays empty."""
    columns = min(columns, count)
    rows = -(-count // columns)
    figure, grid = panels(rows, columns, height=height * rows + 0.6, **options)
    axes = list(grid.ravel())
    for unused in axes[count:]:
        unused.remove()
    for above in axes[max(0, count - columns) : count]:
        above.xaxis.set_tick_params(labelbottom=True)
    return figure, axes[:count]


def colour(position: int) -> str:
    """The colour of the chain, fit or group at a position; it repeats after six."""
    return PALETTE[position % len(PALETTE)]


def marker(position: int) -> str:
    """The marker that goes with :func:`colour`, for readers who see no colour."""
    return MARKERS[position % len(MARKERS)]


def line(position: int) -> Any:
    """The line style that goes with :func:`colour`."""
    return LINES[position % len(LINES)]


def sentence(figure: Figure, text: str) -> None:
    """A sentence below a figure, in small grey letters; none where there is nothing to say."""
    if text:
        figure.supxlabel(textwrap.fill(text, 112), fontsize=8, color=GREY)


def legend(figure: Figure, handles: Sequence[Any], *, columns: int = 4) -> None:
    """A legend above all panels, where it can cover nothing."""
    figure.legend(
        handles=list(handles),
        loc="outside upper center",
        ncols=min(columns, len(handles)),
        columnspacing=1.4,
    )


def key(label: str, **look: Any) -> Line2D:
    """A legend entry that stands for no one artist."""
    return Line2D([], [], label=label, **look)


def chain_handles(n_chains: int) -> list[Line2D]:
    """Legend entries of the chains."""
    return [key(f"chain {i + 1}", color=colour(i), linestyle=line(i)) for i in range(n_chains)]


def interval(
    axes: Axes, at: float, draws: Array, position: int, *, vertical: bool = False, **options: Any
) -> None:
    """A posterior mean with its 50 % (thick) and 90 % (thin) interval."""
    limits = np.quantile(draws, [*OUTER, *INNER])
    spans = [(limits[:2], 1.1), (limits[2:], 3.2)]
    bar(axes, at, float(draws.mean()), spans, position, vertical=vertical, **options)


def bar(
    axes: Axes,
    at: float,
    centre: float,
    spans: Sequence[tuple[Any, float]],
    position: int,
    *,
    vertical: bool = False,
    size: float = 5.5,
    **options: Any,
) -> None:
    """A point at ``centre`` on nested spans, each ``((low, high), line width)``."""
    for ends, width in spans:
        along, across = list(ends), [at, at]
        axes.plot(
            *((across, along) if vertical else (along, across)),
            color=colour(position),
            linewidth=width,
            solid_capstyle="butt",
        )
    axes.plot(
        *((at, centre) if vertical else (centre, at)),
        marker=marker(position),
        color=colour(position),
        markersize=size,
        markeredgecolor="white",
        markeredgewidth=0.7,
        linestyle="none",
        **options,
    )


def named_rows(axes: Axes, names: Sequence[str]) -> None:
    """Names down the vertical axis, the first on top, with room above and below."""
    axes.set_yticks(range(len(names)), list(names))
    axes.set_ylim(len(names) - 0.5, -0.5)
    for panel in axes.get_shared_y_axes().get_siblings(axes):
        panel.tick_params(axis="y", length=0)


def offsets(count: int, room: float = 0.5) -> Array:
    """Where ``count`` marks that share one place are put beside one another."""
    return (np.arange(count) - (count - 1) / 2) * min(room / max(count, 1), 0.25)
