"""Pairs, intervals, and priors beside posteriors: what is drawn is what the draws say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from drawn import bars, legend_texts, point, sampled, ticks, title
from scipy.stats import halfcauchy, norm

from bayesmix.errors import MissingCapability, NoDraws, SpecError, UnknownName
from bayesmix.plots import forest, pair, prior_posterior, style
from bayesmix.plots.density import kernel_density
from bayesmix.plots.entries import entries
from bayesmix.protocols import Model
from bayesmix.result import Fit


def _flat(fit: Fit, name: str) -> np.ndarray:
    return fit.tree["posterior"][name].to_numpy().ravel()


def test_pair_marks_the_divergent_draws(slopes: Fit) -> None:
    """Vermillion crosses stand exactly at the divergent draws, dots at all others."""
    panel = pair(slopes, names=["Intercept", "sex"]).axes[2]
    bad = slopes.tree["sample_stats"]["diverging"].to_numpy().ravel()
    points = np.stack([_flat(slopes, "Intercept"), _flat(slopes, "sex")], axis=1)
    dots, crosses = panel.lines
    assert crosses.get_color() == style.DIVERGENT
    assert np.array_equal(crosses.get_xydata(), points[bad])
    assert np.array_equal(dots.get_xydata(), points[~bad])


def test_pair_shares_each_parameter_axis() -> None:
    """All panels of a column have one range, also where a scatter shows only every third draw."""
    fit = sampled(shape=(4, 3000))
    grid = np.reshape(pair(fit, names=["Intercept", "sigma_edu"]).axes, (3, 3))
    assert len(grid[1, 0].lines[0].get_xdata()) == 4000
    for k in range(3):
        assert len({grid[row, k].get_xlim() for row in range(k, 3)}) == 1
        assert len({grid[k, column].get_ylim() for column in range(k)}) <= 1


def test_pair_counts_in_its_legend(slopes: Fit) -> None:
    """The legend gives the number of draws and of divergences."""
    assert legend_texts(pair(slopes)) == ["draw (800)", "divergent transition (9)"]


def test_pair_on_a_logarithmic_axis(slopes: Fit) -> None:
    """A standard deviation can be shown on a logarithmic axis, as x, as y and alone."""
    names = ["sigma_edu[Intercept]", "sigma_edu[sex]", "sex|edu[Doctorate]"]
    grid = np.reshape(pair(slopes, names=names, log="sigma_edu[sex]").axes, (3, 3))
    assert grid[1, 0].get_yscale() == grid[1, 1].get_xscale() == grid[2, 1].get_xscale() == "log"
    assert grid[1, 0].get_xscale() == grid[2, 1].get_yscale() == "linear"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"names": "sex"}, "at least two entries"),
        ({"names": ["1|edu", "sex"]}, "8 panels, 7 fit"),
        ({"log": "sex|edu"}, r"not shown: \['sex\|edu\[Some HS\]'"),
        ({"log": "Intercept"}, r"not positive: \['Intercept'\]"),
    ],
)
def test_pair_refuses(slopes: Fit, options: dict, words: str) -> None:
    """Too few or too many entries, and logarithms that cannot be taken."""
    with pytest.raises(SpecError, match=words):
        pair(slopes, **options)


def test_forest_draws_means_and_intervals(slopes: Fit) -> None:
    """Points are posterior means, thin bars 5 to 95 %, thick bars 25 to 75 %."""
    axes = forest(slopes, names="1|edu").axes[0]
    draws = slopes.tree["posterior"]["1|edu"].to_numpy().reshape(-1, 7)
    points = np.stack([line.get_xydata()[0] for line in axes.lines if line.get_marker() == "o"])
    np.testing.assert_allclose(points, np.c_[draws.mean(axis=0), np.arange(7)])
    for width, levels in ((1.1, [0.05, 0.95]), (3.2, [0.25, 0.75])):
        ends = bars(axes, width)[:, :, 0]
        np.testing.assert_allclose(ends, np.quantile(draws, levels, axis=0).T)


def test_forest_names_rows_by_group(slopes: Fit) -> None:
    """Rows carry the group's own name, the first on top."""
    axes = forest(slopes, names="1|edu").axes[0]
    assert ticks(axes)[0] == "1|edu[Some HS]"
    assert axes.get_ylim()[0] > axes.get_ylim()[1]


def test_forest_puts_fits_side_by_side(slopes: Fit) -> None:
    """Two fits stand beside each other in a row, told apart by colour, marker and legend."""
    other = sampled("p(high, total) ~ sex + (1 | edu)", seed=9)
    figure = forest({"slopes": slopes, "partial": other}, names=["sex", "sigma_edu"])
    axes = figure.axes[0]
    assert ticks(axes) == ["sex", "sigma_edu[Intercept]", "sigma_edu[sex]"]
    first = [line for line in axes.lines if line.get_marker() == "o"]
    second = [line for line in axes.lines if line.get_marker() == "s"]
    assert (len(first), len(second)) == (3, 2)  # partial pooling has no sigma_edu[sex]
    assert first[0].get_color() != second[0].get_color()
    assert first[0].get_ydata()[0] < 0 < second[0].get_ydata()[0]
    assert legend_texts(figure) == ["slopes", "partial"]


def test_forest_draws_point_estimates_only_when_told(slopes: Fit, estimate: Fit) -> None:
    """standard_errors=True draws an estimate with normal intervals; the default refuses it."""
    fits = {"NUTS": slopes, "MLE": estimate}
    with pytest.raises(NoDraws, match=r"forest\(\) needs draws"):
        forest(fits)
    figure = forest({"MLE": estimate}, names="sex", standard_errors=True)
    value = float(estimate.tree["estimate"]["sex"])
    expected = value + 0.06 * norm.ppf([0.05, 0.95])
    np.testing.assert_allclose(bars(figure.axes[0], 1.1)[0, :, 0], expected, atol=1e-5)
    assert "MLE (± standard errors)" in legend_texts(forest(fits, standard_errors=True))


def test_forest_without_standard_errors_is_a_point() -> None:
    """An estimate without standard errors has no width."""
    fit = point(np.arange(5.0), errors=False)
    ends = bars(forest(fit, names="sex", standard_errors=True).axes[0], 1.1)[0, :, 0]
    assert ends[0] == ends[1] == float(fit.tree["estimate"]["sex"])


def test_forest_refuses_a_name_that_no_fit_has(slopes: Fit) -> None:
    """A name must be known to one fit at least."""
    with pytest.raises(UnknownName, match=r"'age'.*Allowed: 'Intercept', 'sex'"):
        forest({"a": slopes, "b": slopes}, names=["sex", "age"])


def test_forest_refuses_more_rows_than_a_page(slopes: Fit) -> None:
    """More than 100 rows are not readable."""
    data = pd.DataFrame({"town": [f"t{i}" for i in range(120)], "yes": 3, "all": 9})
    fit = sampled("p(yes, all) ~ 1 + (1 | town)", data, shape=(1, 20))
    with pytest.raises(SpecError, match="would draw 120 rows"):
        forest(fit, names="1|town")


def test_entries_keep_the_order_asked_for(slopes: Fit) -> None:
    """Parameters and single entries mix, in the order given, each once."""
    posterior = slopes.tree["posterior"].to_dataset()
    found = entries(posterior, ["sigma_edu[sex]", "sex", "sigma_edu"])
    assert found.labels == ["sigma_edu[sex]", "sex", "sigma_edu[Intercept]"]
    assert np.array_equal(found.draws[..., 1], posterior["sex"])


def test_entries_show_one_of_each_correlation(slopes: Fit) -> None:
    """A correlation matrix is symmetric: its pair is shown, its diagonal is not."""
    posterior = slopes.tree["posterior"].to_dataset()
    found = entries(posterior, "corr_edu")
    assert found.labels == ["corr_edu[Intercept, sex]"]
    assert np.array_equal(found.draws[..., 0], posterior["corr_edu"][..., 1, 0])


@pytest.mark.parametrize(
    ("names", "error", "words"),
    [
        ("1|edu[Doctrate]", UnknownName, r"did you mean '1\|edu\[Doctorate\]'"),
        ("tau", UnknownName, "Allowed: 'Intercept', 'sex', '1|edu'"),
        ([], SpecError, "at least one parameter"),
        (7, SpecError, "names must be a parameter or a list of them, got 7"),
        ([7], SpecError, "names must be strings"),
    ],
)
def test_entries_refuse(slopes: Fit, names: object, error: type, words: str) -> None:
    """Wrong names are refused with the closest right one."""
    with pytest.raises(error, match=words):
        entries(slopes.tree["posterior"].to_dataset(), names)  # type: ignore[arg-type]


def test_prior_density_is_that_of_the_prior(slopes: Fit) -> None:
    """The dashed curves follow N(0, 10), N(0, 1) and HalfCauchy(2), up to their own noise."""
    figure = prior_posterior(slopes, draws=200_000)
    known = {
        "Intercept": norm(0, 10),
        "sex": norm(0, 1),
        "sigma_edu[Intercept]": halfcauchy(scale=2),
        "sigma_edu[sex]": halfcauchy(scale=2),
    }
    for panel in figure.axes[:4]:
        x, density = panel.lines[0].get_data()
        expected = known[title(panel)].pdf(x)
        assert np.abs(density - expected).max() < 0.08 * expected.max()


def test_posterior_density_is_that_of_the_draws(slopes: Fit) -> None:
    """The solid curve has unit area and the mean of the draws; the legend names both."""
    figure = prior_posterior(slopes, names="sex")
    x, density = figure.axes[0].lines[1].get_data()
    weight = density * (x[1] - x[0])
    assert weight.sum() == pytest.approx(1, abs=0.01)
    assert (weight * x).sum() == pytest.approx(_flat(slopes, "sex").mean(), abs=0.002)
    assert legend_texts(figure) == ["prior", "posterior"]


def test_a_scale_is_shown_from_zero_and_a_correlation_from_minus_one(slopes: Fit) -> None:
    """Densities end where their support ends."""
    scale, corr = prior_posterior(slopes, names=["sigma_edu[sex]", "corr_edu"]).axes
    assert scale.get_xlim()[0] == 0
    assert corr.get_xlim() == (-1, 1)


class _NoPrior(Model):
    """A family without a prior."""

    design = new_design = dims = log_density = simulate = curves = moments = Model.complete
    require_outcome = Model.notes


def test_prior_posterior_needs_a_prior(slopes: Fit) -> None:
    """A family that has no prior is named."""
    with pytest.raises(MissingCapability, match="_NoPrior has none"):
        prior_posterior(replace(slopes, model=_NoPrior()))


def test_prior_draws_must_be_enough_for_a_density(slopes: Fit) -> None:
    """Fewer than 100 draws make no density."""
    with pytest.raises(SpecError, match="draws must be a whole number >= 100, got 10"):
        prior_posterior(slopes, draws=10)


def test_kernel_density_of_a_normal() -> None:
    """Within 3 % of the peak of the true density."""
    draws = np.random.default_rng(1).normal(size=100_000)
    x, density = kernel_density(draws, -3, 3)
    assert np.abs(density - norm.pdf(x)).max() < 0.03 * norm.pdf(0)


def test_kernel_density_keeps_mass_inside_a_bound() -> None:
    """An exponential density does not sag at zero, and nothing lies below it."""
    draws = np.random.default_rng(2).exponential(size=100_000)
    x, density = kernel_density(draws, -1, 8, bounds=(0, np.inf))
    assert (density[x < 0] == 0).all()
    assert density[x > 0][0] == pytest.approx(1, abs=0.08)
    assert density.sum() * (x[1] - x[0]) == pytest.approx(1, abs=0.01)


def test_kernel_density_of_a_window_keeps_its_share() -> None:
    """A wide prior seen through a narrow window has the window's share of the mass."""
    draws = np.random.default_rng(3).normal(0, 10, 100_000)
    _, density = kernel_density(draws, 0, 1)
    assert density.mean() == pytest.approx(norm(0, 10).pdf(0.5), rel=0.05)


def test_kernel_density_of_one_value() -> None:
    """Draws that are all alike make a peak, not an error."""
    x, density = kernel_density(np.full(50, 2.0), 1, 3)
    assert x[density.argmax()] == pytest.approx(2, abs=0.01)


def test_entries_of_an_unlabelled_group() -> None:
    """A group with one scalar is shown under its own name."""
    group = xr.Dataset({"mu": (("chain", "draw"), np.zeros((2, 3)))})
    assert entries(group, None).labels == ["mu"]
