"""What every figure keeps to: no global state, points refused, names and legends readable."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import bayesmix as bm
from bayesmix.errors import NoDraws, SpecError, UnknownName
from bayesmix.plots import style
from bayesmix.result import Fit

LABELS = {"sex": {0: "female", 1: "male"}}
DRAWS: dict[str, Callable[[Any], Figure]] = {
    "trace": lambda fit: bm.plots.trace(fit),
    "autocorrelation": lambda fit: bm.plots.autocorrelation(fit),
    "pair": lambda fit: bm.plots.pair(fit),
    "forest": lambda fit: bm.plots.forest({"one": fit, "other": fit}, names=["1|edu", "sex"]),
    "geweke": lambda fit: bm.plots.geweke(fit),
    "energy": lambda fit: bm.plots.energy(fit),
    "posterior_validation": lambda fit: bm.plots.posterior_validation(fit, labels=LABELS),
    "shrinkage": lambda fit: bm.plots.shrinkage(fit, by="edu", effect="sex", labels=LABELS),
    "prior_posterior": lambda fit: bm.plots.prior_posterior(fit),
    "pooling": lambda fit: bm.plots.pooling({"one": fit, "other": fit}, by="edu", labels=LABELS),
    "predictive_count": lambda fit: bm.plots.predictive_count(fit, {"edu": "Doctorate", "sex": 0}),
    "effect_by_group": lambda fit: bm.plots.effect_by_group(fit, effect="sex", labels=LABELS),
}
NAMED = ("trace", "autocorrelation", "pair", "forest", "geweke", "prior_posterior")
MIXTURES: dict[str, Callable[[Any], Figure]] = {
    "experts": lambda fit: bm.plots.experts(fit),
    "component_curves": lambda fit: bm.plots.component_curves(fit),
    "predictive": lambda fit: bm.plots.predictive(fit),
    "conditional_density": lambda fit: bm.plots.conditional_density(fit),
    "residual_pit": lambda fit: bm.plots.residual_pit(fit),
    "mean_curves": lambda fit: bm.plots.mean_curves(fit),
    "coverage": lambda fit: bm.plots.coverage(fit),
}
ALL = [*DRAWS, *MIXTURES, "objective", "training"]
every = pytest.mark.parametrize("name", ALL)
with_draws = pytest.mark.parametrize("name", DRAWS)


@pytest.fixture(scope="module")
def figures(slopes: Fit, estimate: Fit, mixture: Fit) -> dict[str, Figure]:
    """One figure of each function, drawn."""
    made = {name: draw(slopes) for name, draw in DRAWS.items()}
    made |= {name: draw(mixture) for name, draw in MIXTURES.items()}
    made["objective"] = bm.plots.objective(estimate)
    short = bm.MLE(restarts=1, optimizer=bm.LBFGS(max_iter=20))
    network = bm.MDN("x", "target", 2, hidden=(3,))
    fit = bm.fit(network, bm.datasets.one_to_many(), method=short, seed=1, progress=False)
    made["training"] = bm.plots.training(fit)
    for figure in made.values():
        FigureCanvasAgg(figure).draw()
    return made


def test_every_plot_is_in_these_tests() -> None:
    """A new function of bayesmix.plots must be added to the table above."""
    assert sorted(ALL) == sorted(bm.plots.__all__) == sorted(dir(bm.plots))


def test_importing_the_room_loads_no_matplotlib() -> None:
    """Neither the package nor its plots load matplotlib before a figure is asked for."""
    code = (
        "import sys, bayesmix; bayesmix.plots; dir(bayesmix.plots); "
        "print('matplotlib' in sys.modules); bayesmix.plots.trace; "
        "print('matplotlib' in sys.modules, 'matplotlib.pyplot' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "True", "False"]


@every
def test_returns_a_figure_of_page_width(figures: dict[str, Figure], name: str) -> None:
    """Each function returns one matplotlib figure between 6.5 and 7 inches wide."""
    assert isinstance(figures[name], Figure)
    assert 6.5 <= figures[name].get_figwidth() <= 7.0


@pytest.mark.parametrize("name", [*DRAWS, *MIXTURES])
def test_leaves_no_state(slopes: Fit, mixture: Fit, name: str) -> None:
    """No figure stays open in pyplot and no setting of matplotlib changes."""
    from matplotlib import pyplot as plt

    before, open_before = dict(mpl.rcParams), plt.get_fignums()
    (DRAWS | MIXTURES)[name](mixture if name in MIXTURES else slopes)
    assert plt.get_fignums() == open_before
    assert dict(mpl.rcParams) == before


@with_draws
def test_refuses_point_estimates(estimate: Fit, name: str) -> None:
    """A point estimate has no draws to show, and the error says what to do."""
    with pytest.raises(NoDraws, match=rf"{name}\(\) needs draws .* method='nuts'"):
        DRAWS[name](estimate)


@pytest.mark.parametrize("given", [None, "fit.nc", {"posterior": 1}, {}, []])
@every
def test_refuses_what_is_no_fit(name: str, given: object) -> None:
    """Anything but a fit (or a mapping of fits) is named in the error."""
    draw = (DRAWS | MIXTURES).get(name) or getattr(bm.plots, name)
    with pytest.raises(SpecError, match=rf"{name}\(\) needs a fit"):
        draw(given)


@pytest.mark.parametrize("name", NAMED)
def test_unknown_names_are_refused_with_a_hint(slopes: Fit, name: str) -> None:
    """A parameter that is not there is an error with the closest one that is."""
    with pytest.raises(UnknownName, match=r"'sigma_ed'.*did you mean 'sigma_edu'"):
        getattr(bm.plots, name)(slopes, names=["sex", "sigma_ed"])


@every
def test_every_axis_has_a_name(figures: dict[str, Figure], name: str) -> None:
    """Each figure names what its axes measure, itself or through its panels."""
    figure = figures[name]
    for which in ("x", "y"):
        own = [getattr(axes, f"get_{which}label")() for axes in figure.axes]
        shared = figure.get_supxlabel() if which == "x" else figure.get_supylabel()
        titled = name == "forest" and which == "y"  # the rows are named instead
        assert shared or any(own) or titled


@every
def test_legends_cover_no_data(figures: dict[str, Figure], name: str) -> None:
    """No legend lies over a panel that shows data."""
    figure = figures[name]
    boxes = [legend.get_window_extent() for legend in figure.legends]
    boxes += [axes.get_legend().get_window_extent() for axes in figure.axes if axes.get_legend()]
    panels = [axes.get_window_extent() for axes in figure.axes if axes.axison]
    assert boxes
    assert not any(box.overlaps(panel) for box in boxes for panel in panels)


@every
def test_tick_labels_do_not_overlap(figures: dict[str, Figure], name: str) -> None:
    """Neighbouring tick labels leave room for each other."""
    for axes in figures[name].axes:
        for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
            shown = [t for t in labels if t.get_visible() and t.get_text()]
            boxes = [t.get_window_extent() for t in shown if _inside(axes, t)]
            assert not any(a.overlaps(b) for a, b in pairwise(boxes))


def _inside(axes: Any, label: Any) -> bool:
    """Whether a tick lies on the axis: matplotlib keeps a few beyond its ends."""
    x, y = axes.transLimits.transform(axes.transScale.transform(label.get_position()))
    return -0.01 <= x <= 1.01 and -0.01 <= y <= 1.01


@every
def test_nothing_is_cut_off(figures: dict[str, Figure], name: str) -> None:
    """Every label lies inside the page."""
    figure = figures[name]
    page, used = figure.bbox, figure.get_tightbbox(figure.canvas.get_renderer())
    used = used.transformed(figure.dpi_scale_trans)
    assert used.x0 >= page.x0 - 1 and used.x1 <= page.x1 + 1
    assert used.y0 >= page.y0 - 1 and used.y1 <= page.y1 + 1


def test_notebooks_display_the_figure(figures: dict[str, Figure]) -> None:
    """A figure outside pyplot brings its own picture for a notebook."""
    assert figures["forest"]._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["energy", "effect_by_group"])
def test_the_look_travels_with_the_figure(slopes: Fit, name: str) -> None:
    """Settings in force when a figure is made, or when it is drawn, change no pixel of it."""
    expected = _pixels(DRAWS[name](slopes))
    with mpl.rc_context({"xtick.labelsize": 30, "grid.color": "red", "axes.linewidth": 5}):
        made_elsewhere = DRAWS[name](slopes)
    assert np.array_equal(_pixels(made_elsewhere), expected)
    figure = DRAWS[name](slopes)
    with mpl.rc_context({"xtick.labelsize": 30, "grid.color": "red", "axes.linewidth": 5}):
        assert np.array_equal(_pixels(figure), expected)


def _pixels(figure: Figure) -> np.ndarray:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba()).copy()


def test_colours_are_those_of_okabe_and_ito() -> None:
    """Every colour comes from the palette, and vermillion is kept for divergences."""
    okabe_ito = {
        *("#000000", "#E69F00", "#56B4E9", "#009E73"),
        *("#F0E442", "#0072B2", "#D55E00", "#CC79A7"),
    }
    assert {*style.PALETTE, style.DIVERGENT} <= okabe_ito
    assert style.DIVERGENT not in style.PALETTE


def test_neighbours_differ_in_more_than_colour() -> None:
    """The first six markers and the first four line styles are distinct."""
    assert len({style.marker(i) for i in range(6)}) == 6
    assert len({style.line(i) for i in range(4)}) == 4
    assert len({style.colour(i) for i in range(6)}) == 6


def test_offsets_are_centred() -> None:
    """Marks that share a place are spread evenly around it, inside the room."""
    shift = style.offsets(3, 0.6)
    np.testing.assert_allclose(shift, [-0.2, 0.0, 0.2])
    assert np.ptp(style.offsets(20, 0.6)) <= 0.6
