"""Figures of mixtures show the right rows, curves, densities and counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from drawn import around, branches, estimated, legend_texts, title
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PathCollection, PolyCollection, QuadMesh
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, StepPatch
from scipy import stats

import bayesmix as bm
from bayesmix import plots, scoring
from bayesmix.errors import DataError, MissingCapability, SpecError, UnknownName
from bayesmix.plots import across as shared
from bayesmix.plots import components, prediction, style
from bayesmix.protocols import Array
from bayesmix.result import Fit

MIXTURES: dict[str, Callable[..., Figure]] = {
    "experts": lambda fit, **options: plots.experts(fit, **options),
    "component_curves": lambda fit, **options: plots.component_curves(fit, **options),
    "predictive": lambda fit, **options: plots.predictive(fit, **options),
    "conditional_density": lambda fit, **options: plots.conditional_density(fit, **options),
}
FAMILIES = {
    "poisson": bm.MixtureOfExperts("count ~ x", 2, expert="poisson"),
    "binomial": bm.MixtureOfExperts("p(hit, tried) ~ x", 2, expert="binomial"),
    "piece": bm.PiecewiseRegression("y ~ x", 2),
    "single": bm.MixtureOfExperts("y ~ x", 1),
}
every = pytest.mark.parametrize("name", MIXTURES)


@pytest.fixture(scope="module")
def families() -> dict[str, Fit]:
    """A point estimate of other families of mixtures, on the same rows."""
    return {name: estimated(model) for name, model in FAMILIES.items()}


@pytest.fixture(scope="module")
def several() -> Fit:
    """Experts with numeric, whole and categorical predictors."""
    model = bm.MixtureOfExperts("y ~ x + w + year + kind", 2, gate="x", scale="constant")
    return estimated(model)


def grid_of(points: int = 200) -> pd.DataFrame:
    """What the horizontal axis runs over."""
    return pd.DataFrame({"x": np.linspace(-2, 2, points)})


def curves_of(fit: Fit, points: int = 200) -> xr.Dataset:
    """The predictions that a figure should show; of scales the median over draws."""
    found = fit.predict(grid_of(points), quantiles=(0.05, 0.95))
    if "scale" in found:
        found["scale"] = fit.curves(grid_of(points))["scale"].median("sample")
    return found


def clouds(axes: Axes) -> list[PathCollection]:
    """The scattered points of a panel, in the order drawn."""
    return [found for found in axes.collections if isinstance(found, PathCollection)]


def bands(axes: Axes) -> list[Array]:
    """The outline of every filled band of a panel, (vertex, xy)."""
    found = [each for each in axes.collections if isinstance(each, PolyCollection)]
    return [each.get_paths()[0].vertices for each in found]


def holds(outline: Array, x: Array, y: Any) -> bool:
    """Whether an outline runs through points."""
    corners = {tuple(corner) for corner in np.round(outline, 9)}
    return {tuple(point) for point in np.round(np.c_[x, y], 9)} <= corners


def said(figure: Figure) -> str:
    """The sentences below a figure in one line."""
    return figure.get_supxlabel().replace("\n", " ")


# --- experts --------------------------------------------------------------------------------------


def test_experts_draws_every_row_once_as_its_most_probable_expert(mixture: Fit) -> None:
    """Each expert's points are the rows that it is most responsible for."""
    axes = plots.experts(mixture).axes[0]
    chosen = mixture.responsibilities()["most_probable"].to_numpy()
    data = mixture.data[["x", "y"]].to_numpy()
    assert sorted(np.unique(chosen)) == [0, 1]
    for k, cloud in enumerate(clouds(axes)):
        assert np.array_equal(cloud.get_offsets(), data[chosen == k])
        assert to_hex(cloud.get_facecolors()[0]) == style.colour(k).lower()


def test_experts_are_the_paler_the_less_certain(mixture: Fit) -> None:
    """A row between two experts is pale, one that is surely an expert's is not."""
    found = mixture.responsibilities()["responsibility"].to_numpy()
    mine = found.argmax(axis=1) == 0
    alpha = clouds(plots.experts(mixture).axes[0])[0].get_facecolors()[:, 3]
    np.testing.assert_allclose(alpha, components.opacity(found[mine, 0], 2))
    np.testing.assert_allclose(components.opacity(np.array([0.5, 1.0]), 2), [0.12, 0.75])
    assert components.opacity(np.ones(3), 1).tolist() == [0.5, 0.5, 0.5]


def test_experts_draws_locs_where_the_expert_has_weight(mixture: Fit) -> None:
    """The thick line is the posterior mean of loc where the mean weight is 5 % or more."""
    curves = curves_of(mixture)
    lines = [line for line in plots.experts(mixture).axes[0].lines if line.get_linewidth() == 1.6]
    for k, line in enumerate(lines):
        heavy = curves["weight"].to_numpy()[:, k] >= 0.05
        assert 0 < heavy.sum() < 200
        expected = np.where(heavy, curves["loc"].to_numpy()[:, k], np.nan)
        np.testing.assert_allclose(line.get_ydata(), expected)
        np.testing.assert_allclose(line.get_xdata(), np.linspace(-2, 2, 200))


def test_experts_bands_are_intervals_and_scales(mixture: Fit) -> None:
    """Narrow bands run through the 5 % and 95 % quantiles of loc, wide ones through ± scale."""
    curves = curves_of(mixture)
    outlines = bands(plots.experts(mixture).axes[0])
    assert len(outlines) == 4
    for k in range(2):
        one = curves.isel(expert=k)
        heavy = one["weight"].to_numpy() >= 0.05
        x = np.linspace(-2, 2, 200)[heavy]
        for ends in one["loc_quantile"].to_numpy():
            assert holds(outlines[k], x, ends[heavy])
        for sign in (-1, 1):
            assert holds(outlines[2 + k], x, (one["loc"] + sign * one["scale"]).to_numpy()[heavy])


def test_experts_names_components_with_their_share(mixture: Fit) -> None:
    """The legend says who is who, how many rows each has, and what bands and thin lines are."""
    shares = 100 * mixture.responsibilities()["responsibility"].mean("obs").to_numpy()
    expected = {f"expert {k}: {share:.0f} % of rows" for k, share in enumerate(shares)}
    texts = set(legend_texts(plots.experts(mixture))) - {""}
    assert texts - expected == {"± one scale", "90 % interval", "where its weight is below 5 %"}
    assert expected <= texts


def test_a_point_estimate_has_no_intervals(top: Fit) -> None:
    """Without draws, neither bands nor legend speak of intervals."""
    for draw in (plots.experts, plots.component_curves):
        assert "90 % interval" not in legend_texts(draw(top))
    assert len(bands(plots.experts(top).axes[0])) == 2
    assert [bands(panel) for panel in plots.component_curves(top).axes] == [[], [], []]


@pytest.mark.parametrize("name", ["poisson", "piece", "binomial"])
def test_families_without_scale_curves_have_no_scale(families: dict[str, Fit], name: str) -> None:
    """Counts and pieces have weights and locs only."""
    assert "± one scale" not in legend_texts(plots.experts(families[name]))
    assert len(plots.component_curves(families[name]).axes) == 2


def test_pieces_are_called_pieces(families: dict[str, Fit]) -> None:
    """Names come from the family's own component dimension."""
    assert "piece 0" in legend_texts(plots.component_curves(families["piece"]))
    assert title(plots.predictive(families["piece"]).axes[1]).startswith("Right: outcomes by piece")


# --- component_curves -----------------------------------------------------------------------------


def test_component_curves_draws_weights_locs_and_scales(mixture: Fit) -> None:
    """Each panel shows its curve of every expert; weights sum to one at every x."""
    curves = curves_of(mixture)
    panels = plots.component_curves(mixture).axes
    assert [p.get_ylabel() for p in panels] == ["weight", "loc of y", "scale of y"]
    drawn = [line.get_ydata() for line in panels[0].lines if line.get_linewidth() == 1.6]
    np.testing.assert_allclose(np.sum(drawn, axis=0), 1.0)
    for panel, name in zip(panels, ("weight", "loc", "scale"), strict=True):
        for k in range(2):
            values = curves[name].to_numpy()[:, k]
            thick = next(line for line in panel.lines if line.get_label() == f"expert {k}")
            shown = np.isfinite(thick.get_ydata())
            assert shown.sum() > 50
            np.testing.assert_allclose(thick.get_ydata()[shown], values[shown])


def test_component_curves_have_intervals_over_draws(mixture: Fit) -> None:
    """The band of a weight runs through its 5 % and 95 % quantiles."""
    quantiles = curves_of(mixture)["weight_quantile"].to_numpy()
    outlines = bands(plots.component_curves(mixture).axes[0])
    for k, outline in enumerate(outlines):
        for ends in quantiles[:, :, k]:
            assert holds(outline, np.linspace(-2, 2, 200), ends)


def test_scales_of_many_sizes_stand_on_a_log_axis() -> None:
    """On the inverse problem scales span decades; the axis is cut and the figure says so."""
    fit = estimated(bm.MixtureOfExperts("target ~ x", 3, floor=0.01), bm.datasets.one_to_many())
    figure = plots.component_curves(fit)
    panel = figure.axes[2]
    assert panel.get_yscale() == "log"
    x = fit.data["x"]
    found = fit.predict(pd.DataFrame({"x": np.linspace(x.min(), x.max(), 200)}))
    largest = float(found["scale"].max())
    assert largest > 100 > 10 > panel.get_ylim()[1]
    assert f"they run from 0.01 to {shared.number(largest)}." in said(figure)


def test_scales_of_one_size_stand_on_an_axis_from_zero(several: Fit) -> None:
    """A constant scale is judged from zero, on a linear axis."""
    panel = plots.component_curves(several).axes[2]
    assert panel.get_yscale() == "linear"
    assert panel.get_ylim()[0] == 0


# --- predictive -----------------------------------------------------------------------------------


def test_predictive_draws_mean_and_two_sd(mixture: Fit) -> None:
    """The left panel shows the moments that predict() gives."""
    found = curves_of(mixture, 160)
    mean, sd = found["mean"].to_numpy(), found["sd"].to_numpy()
    left = plots.predictive(mixture).axes[0]
    np.testing.assert_allclose(left.lines[0].get_ydata(), mean)
    x = np.linspace(-2, 2, 160)
    assert holds(bands(left)[0], x, mean - 2 * sd)
    assert holds(bands(left)[0], x, mean + 2 * sd)
    assert np.array_equal(clouds(left)[0].get_offsets(), mixture.data[["x", "y"]])


def test_predictive_says_why_the_mean_misleads(top: Fit) -> None:
    """The title has the density at the mean, as a share of the peak: here from normal densities."""
    found = curves_of(top, 160).isel(obs=slice(None, None, 4))
    weight, loc, scale = (found[name].to_numpy() for name in ("weight", "loc", "scale"))

    def density(y: Array) -> Array:
        return (weight * stats.norm.pdf(y[:, None], loc, scale)).sum(axis=1)

    peak = np.maximum(density(loc[:, 0]), density(loc[:, 1]))
    expected = (density(found["mean"].to_numpy()) / peak).min()
    along = shared.across(top, None, "a test", points=160)
    lowest = prediction.lowest_at_mean(along, curves_of(top, 160)["mean"].to_numpy())
    assert expected < 0.1
    assert lowest == pytest.approx(expected, abs=0.01)
    assert title(plots.predictive(top).axes[0]).startswith("Misleading: mean ± 2 sd")


def test_predictive_does_not_warn_of_a_single_expert(families: dict[str, Fit]) -> None:
    """The mean of one normal density is its peak."""
    heading = title(plots.predictive(families["single"]).axes[0])
    assert heading == "Mean ± 2 sd\nleast density at the mean: 100 % of peak"


def test_predictive_draws_outcomes_in_the_colour_of_their_expert(top: Fit) -> None:
    """Outcomes of an expert lie around its own line, each row as often as asked for."""
    figure = plots.predictive(top, draws=3)
    truth = curves_of(top)
    total = 0
    for k, cloud in enumerate(clouds(figure.axes[1])[1:]):
        x, y = np.asarray(cloud.get_offsets()).T
        loc, scale = (
            np.interp(x, np.linspace(-2, 2, 200), truth[n][:, k]) for n in ("loc", "scale")
        )
        assert abs(stats.kstest((y - loc) / scale, "norm").statistic) < 0.1
        assert to_hex(cloud.get_facecolors()[0]) == style.colour(k).lower()
        total += len(x)
    assert total == 3 * 240


def test_scales_are_medians_over_draws(mixture: Fit) -> None:
    """A draw whose scale is huge moves neither the band nor the curve; intervals stay."""
    along = shared.across(mixture, None, "a test")
    found, each = along.predicted(), mixture.curves(along.grid)["scale"]
    np.testing.assert_allclose(found["scale"], each.median("sample"), rtol=1e-12)
    assert np.abs(found["scale"] / each.mean("sample") - 1).max() > 1e-3  # power
    ends = each.quantile(style.OUTER, "sample").to_numpy()
    np.testing.assert_allclose(found["scale_quantile"], ends, rtol=1e-12)


def test_outcomes_are_those_that_the_fit_samples(mixture: Fit) -> None:
    """Every outcome is one of sample()'s for its row, and neighbours come from other draws."""
    along = shared.across(mixture, None, "a test")
    outcome, component = prediction.simulated(along, None)
    assert outcome.shape == component.shape == (9, 240)
    found = mixture.sample(draws=200)
    for values, drawn in ((outcome, found["y"]), (component, found["component"])):
        assert (values[:, None, :] == drawn.to_numpy()[None]).any(axis=1).all()
    assert (outcome[0] == found["y"].to_numpy()[0]).sum() == 2  # rows 0 and 200 of 240


def test_predictive_cuts_the_axis_and_says_so() -> None:
    """An sd of hundreds hides no data: the axis ends near them, a sentence has the rest."""
    data = bm.datasets.one_to_many()
    fit = estimated(bm.MixtureOfExperts("target ~ x", 3, floor=0.01), data)
    figure = plots.predictive(fit)
    low, high = figure.axes[0].get_ylim()
    room = 0.08 * np.ptp(data["target"])
    np.testing.assert_allclose(
        [low, high], [data["target"].min() - room, data["target"].max() + room]
    )
    x = np.linspace(data["x"].min(), data["x"].max(), 160)
    found = fit.predict(pd.DataFrame({"x": x}))
    top = float((found["mean"] + 2 * found["sd"]).max())
    assert top > 100
    assert "cut at the range of the data: mean ± 2 sd runs from" in said(figure)
    assert f"to {shared.number(top)}." in said(figure)
    y = np.concatenate([np.asarray(c.get_offsets())[:, 1] for c in clouds(figure.axes[1])[1:]])
    beyond = int(((y < low) | (y > high)).sum())
    assert beyond > 0
    assert f"{beyond} of 2,000 outcomes lie beyond the axis." in said(figure)


# --- conditional_density --------------------------------------------------------------------------


def mesh(figure: Figure) -> Array:
    """The values of a heat map, (row from below, column)."""
    found = [each for each in figure.axes[0].collections if isinstance(each, QuadMesh)]
    return np.asarray(found[0].get_array()).reshape(-1, 160)


def modes_of(figure: Figure) -> Array:
    """Ends of every piece of the mode curves, (piece, end, xy)."""
    found = [each for each in figure.axes[0].collections if isinstance(each, LineCollection)]
    return np.stack(found[0].get_segments())


def test_conditional_density_is_a_map_of_the_density(top: Fit) -> None:
    """Colours are the mixture of normal densities, y upwards."""
    figure = plots.conditional_density(top)
    found = curves_of(top, 160)
    low, high = figure.axes[0].get_ylim()
    y = np.linspace(low, high, 240)[:, None, None]
    parts = stats.norm.pdf(y, found["loc"].to_numpy(), found["scale"].to_numpy())
    expected = (found["weight"].to_numpy() * parts).sum(axis=-1)
    np.testing.assert_allclose(mesh(figure), expected, rtol=1e-6)
    assert figure.axes[1].get_ylabel() == "density of y given x"


def test_conditional_density_averages_over_draws(mixture: Fit) -> None:
    """With draws, the map is the average of at most 200 of them, evenly spaced."""
    figure = plots.conditional_density(mixture)
    low, high = figure.axes[0].get_ylim()
    kept = shared.thinned(mixture, 200)
    expected = kept.conditional_density(grid_of(160), np.linspace(low, high, 240))
    np.testing.assert_allclose(mesh(figure), expected.to_numpy().T)
    assert kept.tree["posterior"].sizes["draw"] == 75
    assert np.array_equal(kept.tree["posterior"]["draw"], np.arange(0, 150, 2))


def test_modes_lie_on_the_experts_lines(top: Fit) -> None:
    """Where experts are far apart, the modes are their locs."""
    ends = modes_of(plots.conditional_density(top)).reshape(-1, 2)
    far = ends[ends[:, 0] > 0]
    loc = curves_of(top)["loc"].to_numpy()
    lines = [np.interp(far[:, 0], np.linspace(-2, 2, 200), loc[:, k]) for k in range(2)]
    gap = np.abs(far[:, 1] - np.stack(lines)).min(axis=0)
    assert len(far) > 150
    assert gap.max() < 0.01


def test_modes_are_exact_for_a_normal_density() -> None:
    """Between the values of a coarse grid, the peak of a normal density is found."""
    at = np.linspace(-3, 3, 25)
    density = np.stack([stats.norm.pdf(at, 0.1, 0.7), stats.norm.pdf(at, -1.37, 0.4)])
    found = prediction.modes(at, density)
    np.testing.assert_allclose(np.concatenate(found), [0.1, -1.37], atol=1e-10)


def test_modes_leave_out_ripples_and_edges() -> None:
    """A bump of 4 % of the peak is no mode, nor is the edge, unless the support ends there."""
    at = np.arange(7.0)
    density = np.array([[9.0, 1.0, 10.0, 1.0, 1.4, 0.2, 1.0], [9.0, 1.0, 10.0, 0.1, 0.4, 0.2, 0.1]])
    ends = (False, False), (True, False), (True, True)
    found = [prediction.modes(at, density, closed=closed) for closed in ends]
    assert [[len(row) for row in rows] for rows in found] == [[2, 1], [3, 2], [4, 2]]
    assert found[2][0].tolist() == [0, 2, 4, 6]


def test_matched_pairs_are_mutual_and_near() -> None:
    """Modes of neighbouring x are joined when each is the other's nearest, and not too far."""
    here, there = np.array([0.0, 0.3, 5.0]), np.array([0.1, 9.0])
    assert prediction.matched(here, there, 1.0) == [(0.0, 0.1)]
    assert prediction.matched(here, np.array([]), 1.0) == []
    assert prediction.matched(here, there, 10.0) == [(0.0, 0.1), (5.0, 9.0)]


def test_counts_have_probabilities_at_whole_numbers(families: dict[str, Fit]) -> None:
    """The map of a count has a row for each value, and columns that sum to one, almost."""
    fit = families["poisson"]
    figure = plots.conditional_density(fit)
    at = np.arange(0, int(figure.axes[0].get_ylim()[1]) + 1)
    expected = fit.conditional_density(grid_of(160), at).to_numpy().T
    assert mesh(figure).shape[0] in (len(at), len(at) + 1)
    np.testing.assert_allclose(mesh(figure)[: len(at)], expected)
    assert figure.axes[1].get_ylabel() == "probability of count given x"
    assert "least probability" in title(plots.predictive(fit).axes[0])


def test_successes_are_drawn_as_shares(families: dict[str, Fit]) -> None:
    """Rows of different trials are compared by their share; curves stand for the median trials."""
    fit = families["binomial"]
    data = fit.data
    shares = np.sort(data["hit"] / data["tried"])
    axes = plots.experts(fit).axes[0]
    drawn = np.concatenate([np.asarray(cloud.get_offsets())[:, 1] for cloud in clouds(axes)])
    np.testing.assert_allclose(np.sort(drawn), shares)
    assert axes.get_ylabel() == "share of hit among tried"
    line = next(line for line in axes.lines if line.get_label() == "expert 1").get_ydata()
    assert 0.75 < np.nanmin(line) <= np.nanmax(line) < 0.95
    trials = int(data["tried"].quantile(0.5, interpolation="nearest"))
    assert f"Curves are drawn at tried = {trials};" in said(plots.experts(fit))
    figure = plots.conditional_density(fit)
    np.testing.assert_allclose(mesh(figure).sum(axis=0), 1.0)
    ends = modes_of(figure).reshape(-1, 2)[:, 1] * trials
    np.testing.assert_allclose(ends, ends.round(), atol=1e-9)


# --- residual_pit ---------------------------------------------------------------------------------


def test_residual_pit_counts_the_transforms(mixture: Fit) -> None:
    """The steps are the histogram of scoring's PIT in bins of equal width."""
    axes = plots.residual_pit(mixture).axes[0]
    values = scoring.pointwise_scores(mixture)["pit"]
    steps = next(patch for patch in axes.patches if isinstance(patch, StepPatch)).get_data()
    expected, edges = np.histogram(values, 12, (0, 1))
    assert np.array_equal(steps.values, expected)
    np.testing.assert_allclose(steps.edges, edges)


def test_residual_pit_of_any_fit(slopes: Fit) -> None:
    """A family that is no mixture has the figure too."""
    assert plots.residual_pit(slopes).axes[0].get_xlabel().startswith("place of high in its")


def test_pit_bands_hold_what_they_promise() -> None:
    """A uniform sample's bins stay in the band of one in 95 %, in the band of all in 95 %."""
    rng = np.random.default_rng(5)
    counts = rng.multinomial(1000, np.full(20, 0.05), size=4000)
    one, together = (prediction.count_band(1000, 20, looks) for looks in (1, 20))
    inside = [(counts >= low) & (counts <= high) for low, high in (one, together)]
    assert 0.945 < inside[0].mean() < 0.97
    assert 0.945 < inside[1].all(axis=1).mean() < 0.985


def test_residual_pit_shows_a_bad_fit(families: dict[str, Fit], mixture: Fit) -> None:
    """One line through two branches leaves bins outside the band; its title counts them."""
    axes = plots.residual_pit(families["single"]).axes[0]
    counts = axes.patches[-1].get_data().values  # type: ignore[attr-defined]
    low, high = prediction.count_band(240, 12, 12)
    outside = int(((counts < low) | (counts > high)).sum())
    assert outside >= 2
    assert title(axes).startswith(f"{outside} of 12 bins lie outside")
    assert title(plots.residual_pit(mixture).axes[0]).startswith("0 of 12 bins")
    spans = [p for p in axes.patches if not isinstance(p, StepPatch)]
    drawn = {tuple(np.round(_heights(p), 6)) for p in spans}
    assert drawn == {(low, high), prediction.count_band(240, 12, 1)}


def _heights(patch: Any) -> tuple[float, float]:
    y = patch.get_xy()[:, 1] if isinstance(patch, Polygon) else patch.get_bbox().get_points()[:, 1]
    return float(min(y)), float(max(y))


# --- along which predictor ------------------------------------------------------------------------


def test_the_first_numeric_predictor_of_the_formula_is_the_axis(several: Fit) -> None:
    """Not the first column of the data, which may stand in another order."""
    along = shared.across(several, None, "a test")
    assert along.predictor == "x"
    model = bm.MixtureOfExperts("y ~ kind + w + x", 1)
    assert shared.across(estimated(model), None, "a test").predictor == "w"


def test_other_columns_are_held_at_typical_values(several: Fit) -> None:
    """Medians of numbers, a value that occurs of whole ones, the most frequent category."""
    along = shared.across(several, "w", "a test")
    data = several.data
    year = int(data["year"].quantile(0.5, interpolation="nearest"))
    expected = {"x": data["x"].median(), "year": year, "kind": "a"}
    assert along.held == expected
    for name, value in expected.items():
        assert (along.grid[name] == value).all()
    assert along.grid["w"].min() == data["w"].min()
    assert along.grid["w"].max() == data["w"].max()


def test_whole_numbers_are_held_at_one_that_occurs() -> None:
    """A year of 2001.5, or trials of 2.5, would be refused by some formulas."""
    years = np.where(np.arange(240) < 120, 2000, 2003)
    fit = estimated(bm.MixtureOfExperts("y ~ x + year", 1), branches().assign(year=years))
    assert shared.across(fit, None, "a test").held["year"] in (2000, 2003)


@every
def test_another_predictor_can_be_chosen(several: Fit, name: str) -> None:
    """The axis carries its name and range, and a sentence what the others are held at."""
    figure = MIXTURES[name](several, predictor="w")
    FigureCanvasAgg(figure).draw()
    assert "w" in [axes.get_xlabel() for axes in figure.axes]
    w = several.data["w"]
    np.testing.assert_allclose(figure.axes[0].get_xlim(), [w.min(), w.max()])
    assert "kind = a" in said(figure)


@every
def test_unknown_predictors_are_refused_with_a_hint(several: Fit, name: str) -> None:
    """A column that is no predictor is an error with the closest one that is."""
    with pytest.raises(UnknownName, match=rf"{name}\(\): .*'yeer'.*did you mean 'year'"):
        MIXTURES[name](several, predictor="yeer")
    with pytest.raises(UnknownName, match="no predictor 'y'"):
        MIXTURES[name](several, predictor="y")


@every
def test_a_category_cannot_be_the_axis(several: Fit, name: str) -> None:
    """Categories have no order to draw curves along."""
    with pytest.raises(SpecError, match=r"predictor 'kind' is a category; choose one of .*'x'"):
        MIXTURES[name](several, predictor="kind")


@every
def test_a_numeric_predictor_is_needed(name: str) -> None:
    """A formula of categories only, and one of no predictor at all, have no axis."""
    for formula, there in (("y ~ kind", "'kind'"), ("y ~ C(year)", "'year'"), ("y ~ 1", "none")):
        with pytest.raises(SpecError, match=f"needs a numeric predictor; this fit has {there}"):
            MIXTURES[name](estimated(bm.MixtureOfExperts(formula, 1)))


@every
def test_only_mixtures_have_components(slopes: Fit, name: str) -> None:
    """A regression without components is refused by name."""
    with pytest.raises(MissingCapability, match=rf"{name}\(\) .* BinomialGLM is no mixture"):
        MIXTURES[name](slopes)


@pytest.mark.parametrize("draws", [0, -1, 2.5, "many"])
def test_predictive_refuses_a_bad_number_of_draws(top: Fit, draws: Any) -> None:
    """draws= is a whole number from 1."""
    with pytest.raises(SpecError, match="predictive: draws must be a whole number >= 1"):
        plots.predictive(top, draws=draws)


@pytest.mark.parametrize("name", ["predictive", "conditional_density"])
def test_text_has_no_density(name: str) -> None:
    """Numbers cannot be put in the place of 'yes' and 'no'; the other figures are drawn."""
    data = branches().assign(answer=lambda rows: np.where(rows["y"] > 0, "yes", "no"))
    fit = estimated(bm.MixtureOfExperts("answer['yes'] ~ w", 1, expert="binomial"), data)
    with pytest.raises(DataError, match=r"target of numbers, and column 'answer' holds str"):
        MIXTURES[name](fit)
    assert plots.experts(fit).axes[0].get_ylabel() == "share of answer"


# --- every family, many rows, many experts --------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
@every
def test_every_family_is_drawn_whole(families: dict[str, Fit], family: str, name: str) -> None:
    """Figures of points and of draws are drawn without a warning, and nothing is cut off."""
    for fit in (families[family], *([] if family == "piece" else [around(families[family], 20)])):
        figure = MIXTURES[name](fit)
        FigureCanvasAgg(figure).draw()
        used = figure.get_tightbbox().transformed(figure.dpi_scale_trans)
        assert used.x0 >= -1 and used.x1 <= figure.bbox.x1 + 1


def test_many_rows_are_thinned_and_counted(top: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond a limit rows are drawn evenly spaced, and the legend says how many of how many."""
    monkeypatch.setattr(shared, "_SHOWN", 60)
    figure = plots.predictive(top)
    assert "60 of 240 rows" in legend_texts(figure)
    rows = np.linspace(0, 239, 60).round().astype(int)
    expected = top.data[["x", "y"]].to_numpy()[rows]
    assert np.array_equal(clouds(figure.axes[0])[0].get_offsets(), expected)
    chosen = top.responsibilities()["most_probable"].to_numpy()[rows]
    for k, cloud in enumerate(clouds(plots.experts(top).axes[0])):
        assert np.array_equal(cloud.get_offsets(), expected[chosen == k])


def test_legends_of_many_experts_stay_on_the_page() -> None:
    """Six experts make rows of three, the bands in a row of their own."""
    fit = estimated(bm.MixtureOfExperts("y ~ x", 6, scale="constant"))
    figure = plots.experts(fit)
    FigureCanvasAgg(figure).draw()
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0 and box.x1 <= figure.bbox.x1
    assert [text.split(":")[0] for text in legend_texts(figure)[:3]] == [
        "expert 0",
        "expert 3",
        "± one scale",
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [(53123.4, "53,100"), (-0.3021, "\N{MINUS SIGN}0.302"), (120, "120"), (2.0, "2")],
)
def test_numbers_are_printed_to_three_digits(value: float, text: str) -> None:
    """Thousands apart, and the minus sign of the axes."""
    assert shared.number(value) == text


# --- objective ------------------------------------------------------------------------------------


def test_objective_of_mixtures(top: Fit, families: dict[str, Fit]) -> None:
    """EM's log-likelihood, a hard assignment's sum of squares and DADVI's ELBO are all drawn."""
    approximate = bm.fit(top.model, branches(), method=bm.DADVI(draws=60), seed=1, progress=False)
    labels = {
        "log-likelihood, nats": (top, "log_likelihood"),
        "sum of squared errors": (families["piece"], "sse"),
        "ELBO, nats": (approximate, "elbo"),
    }
    for label, (fit, name) in labels.items():
        axes = plots.objective(fit).axes[0]
        assert axes.get_ylabel() == label
        assert np.array_equal(axes.lines[0].get_ydata(), fit.tree["fit_stats"][name])
