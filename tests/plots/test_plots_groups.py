"""Groups as drawn: observed shares and log-odds by hand, posterior quantities from the draws."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from drawn import bars, legend_texts, marked, sampled, ticks, title
from small_fits import from_prior

from bayesmix import datasets
from bayesmix.errors import MissingCapability, SpecError, UnknownName
from bayesmix.plots import effect_by_group, posterior_validation, rows, shrinkage, style
from bayesmix.result import Fit

EDU = ["Some HS", "HS Grad", "Some College", "Prof School", "Bachelors", "Masters", "Doctorate"]
HIGH = np.array([[23, 226, 253, 109, 339, 179, 50], [221, 1449, 1399, 675, 1882, 780, 256]])
LOW = np.array(
    [[1298, 3164, 2974, 483, 1280, 357, 36], [2711, 5662, 3732, 691, 1854, 407, 71]]
)  # female, male, as printed in the 1994 census table (UCI Adult)
LABELS = {"sex": {0: "female", 1: "male"}}
BINS = np.random.default_rng(8)
VOTES = pd.DataFrame(
    {
        "age": BINS.integers(18, 80, 400),
        "arm": BINS.choice(["a", "b"], 400),
        "vote": BINS.choice(["no", "yes"], 400),
        "state": BINS.choice(["north", "south", "east"], 400),
    }
)


def _draws(fit: Fit, name: str) -> np.ndarray:
    values = fit.tree["posterior"][name].to_numpy()
    return values.reshape(-1, *values.shape[2:])


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def test_validation_shows_the_observed_shares(slopes: Fit) -> None:
    """A point for each education and sex at its share above 50K."""
    top = posterior_validation(slopes).axes[0]
    shares = marked(top, "observed")[:, 1].reshape(7, 2)
    np.testing.assert_allclose(shares, (HIGH / (HIGH + LOW)).T)


def test_validation_puts_groups_in_their_columns(slopes: Fit) -> None:
    """Education runs along the axis in its own order; sexes stand beside each other."""
    figure = posterior_validation(slopes, labels=LABELS)
    x = marked(figure.axes[0], "observed")[:, 0].reshape(7, 2)
    assert np.array_equal(x.round(), np.tile(np.arange(7)[:, None], 2))
    assert (x[:, 0] < x[:, 1]).all()
    assert ticks(figure.axes[1], "x") == EDU
    assert legend_texts(figure)[:2] == ["observed, female", "observed, male"]
    assert figure.axes[0].get_ylabel() == "share of high among total"


def test_validation_intervals_are_of_simulated_shares(slopes: Fit) -> None:
    """Light bars run from the 5 to the 95 % quantile of simulated counts, by trials."""
    top = posterior_validation(slopes).axes[0]
    simulated = slopes.sample()["high"].to_numpy() / slopes.data["total"].to_numpy()
    light = [line.get_xydata() for line in top.lines if line.get_alpha() == 0.3]
    expected = np.quantile(simulated, [0.05, 0.95], axis=0).T
    np.testing.assert_allclose(np.stack(light)[:, :, 1], expected)


def test_validation_centres_the_lower_panel(slopes: Fit) -> None:
    """The lower panel holds percentage points around the mean prediction."""
    top, bottom = posterior_validation(slopes).axes
    simulated = slopes.sample()["high"].to_numpy() / slopes.data["total"].to_numpy()
    error = 100 * (marked(top, "observed")[:, 1] - simulated.mean(axis=0))
    np.testing.assert_allclose(marked(bottom, "observed")[:, 1], error, atol=1e-9)
    spread = 100 * (simulated - simulated.mean(axis=0))
    light = np.stack([line.get_ydata() for line in bottom.lines if line.get_alpha() == 0.3])
    np.testing.assert_allclose(light, np.quantile(spread, [0.05, 0.95], axis=0).T, atol=1e-9)


def test_validation_counts_what_lies_inside(slopes: Fit) -> None:
    """The title counts observed shares inside their 90 % intervals, both panels agreeing."""
    top, bottom = posterior_validation(slopes).axes
    light = np.stack([line.get_ydata() for line in top.lines if line.get_alpha() == 0.3])
    shares = marked(top, "observed")[:, 1]
    inside = ((shares >= light[:, 0]) & (shares <= light[:, 1])).sum()
    assert title(bottom) == f"{inside} of 14 observed shares lie in their 90 % interval"


def test_validation_sums_over_what_is_not_asked_for(slopes: Fit) -> None:
    """By education alone, both sexes are added up before the share is taken."""
    top = posterior_validation(slopes, by="edu").axes[0]
    expected = HIGH.sum(axis=0) / (HIGH + LOW).sum(axis=0)
    np.testing.assert_allclose(marked(top, "observed")[:, 1], expected)


def test_validation_slices_numbers() -> None:
    """A numeric predictor with many values is cut into ten slices that hold every row."""
    fit = sampled("vote['yes'] ~ age + arm", VOTES)
    figure = posterior_validation(fit)
    names = ticks(figure.axes[1], "x")
    assert len(names) == 10
    assert names[0].startswith("18 to ")
    young = VOTES[VOTES["age"] <= int(names[0].split(" to ")[1])]
    expected = (young[young["arm"] == "a"]["vote"] == "yes").mean()
    assert marked(figure.axes[0], "observed")[0, 1] == pytest.approx(expected)
    assert figure.axes[0].get_ylabel() == "share of vote = yes"


def test_validation_leaves_out_groups_without_trials() -> None:
    """A group of zero trials has no share, and is not drawn."""
    data = pd.DataFrame({"g": list("aabbcc"), "y": [1, 2, 0, 0, 3, 1], "n": [5, 5, 0, 0, 5, 5]})
    figure = posterior_validation(sampled("p(y, n) ~ 1 + (1 | g)", data), by="g")
    points = marked(figure.axes[0], "observed")
    np.testing.assert_allclose(points, [[0, 0.3], [2, 0.4]])


def test_long_names_are_folded_and_many_are_slanted() -> None:
    """Names fold into the room of their column; where a word is too long they slant."""
    long = pd.DataFrame({"g": ["far north west territory", *"abcd"], "y": 1, "n": 4})
    folded = posterior_validation(sampled("p(y, n) ~ 1 + (1 | g)", long)).axes[1]
    assert "far north west\nterritory" in ticks(folded, "x")
    many = pd.DataFrame({"g": [f"hospital number{i:02d}" for i in range(14)], "y": 1, "n": 4})
    slanted = posterior_validation(sampled("p(y, n) ~ 1 + (1 | g)", many)).axes[1]
    assert {label.get_rotation() for label in slanted.get_xticklabels()} == {35}


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"by": "education"}, UnknownName, "by: the fit has no column 'education'"),
        ({"by": ["edu", "sex", "total"]}, SpecError, "one or two columns"),
        ({"by": []}, SpecError, "one or two columns"),
        ({"labels": {"gender": {0: "f"}}}, UnknownName, "labels: the fit has no column 'gender'"),
        ({"labels": {"sex": {2: "x"}}}, UnknownName, "'sex' never holds '2', only '0', '1'"),
        ({"labels": {"sex": "f"}}, SpecError, "labels must map columns to names"),
        ({"labels": ["sex"]}, SpecError, "labels must map columns to names"),
    ],
)
def test_validation_refuses(slopes: Fit, options: dict, error: type, words: str) -> None:
    """Columns and values that are not in the data are named."""
    with pytest.raises(error, match=words):
        posterior_validation(slopes, **options)


def test_validation_refuses_more_groups_than_a_page() -> None:
    """More than 40 groups are refused, and by= is suggested."""
    fit = sampled("vote['yes'] ~ age + state + arm", VOTES)
    data = pd.DataFrame({"town": [f"t{i:02d}" for i in range(41)], "y": 1, "n": 4})
    with pytest.raises(SpecError, match=r"41 groups of 'town', 40 at most: .*by="):
        posterior_validation(sampled("p(y, n) ~ 1 + (1 | town)", data))
    assert len(marked(posterior_validation(fit).axes[0], "observed")) <= rows.MOST_GROUPS


def test_numbered_groups_can_be_named() -> None:
    """Groups that are numbers in the data take the names given for those numbers."""
    data = pd.DataFrame({"county": [1, 2, 3], "y": [1, 2, 3], "n": [9, 9, 9]})
    fit = sampled("p(y, n) ~ 1 + (1 | county)", data)
    named = shrinkage(fit, labels={"county": {2: "Aitkin"}}).axes[0]
    assert sorted(ticks(named)) == ["1", "3", "Aitkin"]


@pytest.mark.parametrize("draw", [posterior_validation, shrinkage])
def test_shares_need_trials(slopes: Fit, draw: object) -> None:
    """A family whose design has no successes and trials is named."""
    fit = replace(slopes)
    design = replace(slopes.design, arrays={"X": slopes.design.arrays["X"]})
    fit.__dict__["design"] = design
    with pytest.raises(MissingCapability, match="shares of successes among trials; BinomialGLM"):
        draw(fit)  # type: ignore[operator]


def _shrunk(fit: Fit, **options: object) -> tuple[list[str], np.ndarray, np.ndarray, object]:
    figure = shrinkage(fit, **options)  # type: ignore[arg-type]
    left = figure.axes[0]
    return ticks(left), marked(left, "observed")[:, 0], marked(left, "posterior")[:, 0], figure


def test_shrinkage_observed_log_odds_by_hand(slopes: Fit) -> None:
    """Each group's point is log(high / low) of both sexes together."""
    names, observed, _, _ = _shrunk(slopes, by="edu")
    expected = dict(zip(EDU, np.log(HIGH.sum(axis=0) / LOW.sum(axis=0)), strict=True))
    np.testing.assert_allclose(observed, [expected[name] for name in names])
    assert expected["Doctorate"] == pytest.approx(np.log(306 / 107))


def test_shrinkage_sorts_by_standard_error(slopes: Fit) -> None:
    """The right panel shows the standard errors, largest on top, and bars have that length."""
    names, observed, _, figure = _shrunk(slopes, by="edu")
    error = np.sqrt(1 / HIGH.sum(axis=0) + 1 / LOW.sum(axis=0))
    order = np.argsort(-error)
    assert names == [EDU[g] for g in order]
    right = figure.axes[1]
    np.testing.assert_allclose(marked(right, "standard error")[:, 0], error[order])
    orange = [line for line in figure.axes[0].lines if line.get_color() == style.colour(1)]
    ends = np.stack([line.get_xdata() for line in orange if len(line.get_xdata()) == 2])
    expected = observed[:, None] + error[order][:, None] * [-1, 1]
    np.testing.assert_allclose(ends, expected)


def test_shrinkage_posterior_is_of_the_same_quantity(slopes: Fit) -> None:
    """The posterior is of the log-odds of each group's expected share over its own rows."""
    names, _, posterior, _ = _shrunk(slopes, by="edu")
    base = _draws(slopes, "Intercept")[:, None] + _draws(slopes, "1|edu")
    slope = _draws(slopes, "sex")[:, None] + _draws(slopes, "sex|edu")
    n = HIGH + LOW
    share = (n[0] * _sigmoid(base) + n[1] * _sigmoid(base + slope)) / n.sum(axis=0)
    expected = dict(zip(EDU, np.log(share / (1 - share)).mean(axis=0), strict=True))
    np.testing.assert_allclose(posterior, [expected[name] for name in names])


def test_shrinkage_of_an_effect(slopes: Fit) -> None:
    """With effect=, observed log odds ratios stand beside the group's own slope."""
    names, observed, posterior, figure = _shrunk(slopes, by="edu", effect="sex", labels=LABELS)
    ratio = np.log(HIGH[1] * LOW[0] / (LOW[1] * HIGH[0]))
    slope = (_draws(slopes, "sex")[:, None] + _draws(slopes, "sex|edu")).mean(axis=0)
    order = [EDU.index(name) for name in names]
    np.testing.assert_allclose(observed, ratio[order])
    np.testing.assert_allclose(posterior, slope[order])
    error = np.sqrt((1 / HIGH + 1 / LOW).sum(axis=0))
    np.testing.assert_allclose(marked(figure.axes[1], "standard error")[:, 0], error[order])
    moved = np.abs(slope - ratio)[order]
    np.testing.assert_allclose(marked(figure.axes[1], "moved")[:, 0], moved)
    assert figure.axes[0].get_xlabel() == "difference of log-odds, male \N{MINUS SIGN} female"


def test_shrinkage_population_is_without_the_deviation(slopes: Fit) -> None:
    """The dashed line of the effect stands at the population's slope."""
    axes = shrinkage(slopes, by="edu", effect="sex").axes[0]
    dashed = [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == "--"]
    np.testing.assert_allclose(dashed, _draws(slopes, "sex").mean())


def test_shrinkage_keeps_the_deviations_of_other_factors() -> None:
    """In nested groups a group is pulled towards its parent, not towards everyone."""
    fit = sampled("vote['yes'] ~ 1 + (1 | state) + (1 | arm:state)", VOTES)
    axes = shrinkage(fit, by="arm:state").axes[0]
    dashed = [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == "--"]
    states = fit.tree["posterior"]["1|state"]
    pulled = (fit.tree["posterior"]["Intercept"] + states).mean(["chain", "draw"])
    expected = [float(pulled.sel(state_group=name.split(":")[1])) for name in ticks(axes)]
    np.testing.assert_allclose(dashed, expected)


def test_shrinkage_with_an_empty_cell() -> None:
    """No successes: one half is added to both counts; no trials: the group is left out."""
    data = pd.DataFrame({"g": list("abc"), "y": [0, 3, 0], "n": [8, 9, 0]})
    names, observed, _, _ = _shrunk(sampled("p(y, n) ~ 1 + (1 | g)", data))
    assert names == ["a", "b"]
    np.testing.assert_allclose(observed, [np.log(0.5 / 8.5), np.log(3 / 6)])


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"by": "sex"}, UnknownName, r"shrinkage\(\): no group effects by 'sex': .*'edu'"),
        ({"effect": "age"}, UnknownName, "effect: the fit has no column 'age'"),
        ({"effect": "edu"}, SpecError, "effect 'edu' has 7 values and two are compared"),
    ],
)
def test_shrinkage_refuses(slopes: Fit, options: dict, error: type, words: str) -> None:
    """Factors and effects that are not there."""
    with pytest.raises(error, match=words):
        shrinkage(slopes, **options)


def test_group_plots_ask_which_factor() -> None:
    """Without group effects there is nothing to show; with several, one must be named."""
    with pytest.raises(SpecError, match="needs group effects, as in"):
        shrinkage(sampled("p(high, total) ~ sex"))
    fit = sampled("vote['yes'] ~ arm + (1 | state) + (1 | arm:state)", VOTES)
    with pytest.raises(SpecError, match="say by which of 'state', 'arm:state'"):
        effect_by_group(fit, effect="arm")


def test_effect_on_both_scales(slopes: Fit) -> None:
    """Points are the group's slope, and the difference of its two probabilities."""
    left, right = effect_by_group(slopes, effect="sex", group="edu").axes
    slope = _draws(slopes, "sex")[:, None] + _draws(slopes, "sex|edu")
    base = _draws(slopes, "Intercept")[:, None] + _draws(slopes, "1|edu")
    difference = _sigmoid(base + slope) - _sigmoid(base)
    assert ticks(left) == EDU
    for axes, draws in ((left, slope), (right, difference)):
        points = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "o"]
        np.testing.assert_allclose(points, draws.mean(axis=0))
        limits = np.quantile(draws, [0.05, 0.95], axis=0).T
        np.testing.assert_allclose(bars(axes, 1.1)[:, :, 0], limits)


def test_effect_of_the_population_is_a_band(slopes: Fit) -> None:
    """The band is the 90 % interval without deviations, the dashed line its mean."""
    left, right = effect_by_group(slopes, effect="sex").axes
    base, slope = _draws(slopes, "Intercept"), _draws(slopes, "sex")
    for axes, draws in ((left, slope), (right, _sigmoid(base + slope) - _sigmoid(base))):
        box = axes.patches[0].get_extents().transformed(axes.transData.inverted())
        np.testing.assert_allclose([box.x0, box.x1], np.quantile(draws, [0.05, 0.95]))
        dashed = [line for line in axes.lines if line.get_linestyle() == "--"]
        np.testing.assert_allclose(dashed[0].get_xdata(), draws.mean())


def test_effect_names_its_contrast(slopes: Fit) -> None:
    """Axes say what is subtracted from what, in the names given or in the data's own."""
    named = effect_by_group(slopes, effect="sex", labels=LABELS).axes[1]
    plain = effect_by_group(slopes, effect="sex").axes[0]
    assert named.get_xlabel() == "difference of probability,\nmale \N{MINUS SIGN} female"
    assert plain.get_xlabel() == "difference of log-odds,\nsex 1 \N{MINUS SIGN} sex 0"


def test_effect_on_the_scale_of_another_link() -> None:
    """Of probits the left panel shows differences of probits, and says so."""
    fit = from_prior("p(high, total) ~ sex + (sex | edu)", datasets.census(), link="probit")
    left = effect_by_group(fit, effect="sex", group="edu").axes[0]
    assert left.get_xlabel() == "difference of probit,\nsex 1 \N{MINUS SIGN} sex 0"
    points = [line.get_xdata()[0] for line in left.lines if line.get_marker() == "o"]
    slope = _draws(fit, "sex")[:, None] + _draws(fit, "sex|edu")
    np.testing.assert_allclose(points, slope.mean(axis=0))


def test_effect_of_a_number_between_two_values() -> None:
    """values= compares two values of a numeric predictor: the slope times their distance."""
    fit = sampled("vote['yes'] ~ age + (1 | state)", VOTES.assign(age=VOTES["age"] / 20))
    left = effect_by_group(fit, effect="age", values=(1, 3)).axes[0]
    points = [line.get_xdata()[0] for line in left.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(points, 2 * _draws(fit, "age").mean())


def test_effect_of_a_text_column() -> None:
    """Two labels are compared in their order, with the other predictors as they are."""
    fit = sampled("vote['yes'] ~ arm + (1 | state)", VOTES)
    left = effect_by_group(fit, effect="arm").axes[0]
    points = [line.get_xdata()[0] for line in left.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(points, _draws(fit, "arm").mean())


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"effect": "arm", "values": ("a", "z")}, UnknownName, "'arm' never holds 'z', only 'a'"),
        ({"effect": "arm", "values": ("a", "a")}, SpecError, "two different values"),
        ({"effect": "arm", "values": "ab"}, SpecError, "two different values"),
        ({"effect": "age"}, SpecError, r"effect 'age' has \d+ values .*values="),
        ({"effect": "vote"}, UnknownName, "effect: the fit has no column 'vote'"),
        ({"effect": "arm", "group": "town"}, UnknownName, "no group effects by 'town'"),
    ],
)
def test_effect_refuses(options: dict, error: type, words: str) -> None:
    """Effects, values and groups that are not there."""
    fit = sampled("vote['yes'] ~ age + arm + (1 | state)", VOTES)
    with pytest.raises(error, match=words):
        effect_by_group(fit, **options)


def test_cells_gather_equal_rows() -> None:
    """400 rows of two predictors make six cells that hold every trial and success."""
    fit = sampled("vote['yes'] ~ arm + (1 | state)", VOTES)
    cells = rows.cells(fit, "test")
    assert len(cells.table) == 6
    assert cells.trials.sum() == 400
    first = cells.table.iloc[0]
    same = VOTES[(VOTES["arm"] == first["arm"]) & (VOTES["state"] == first["state"])]
    assert cells.trials[0] == len(same)
    assert cells.successes[0] == (same["vote"] == "yes").sum()


def test_predicted_counts_are_thinned_for_many_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer draws are simulated when rows are many, never fewer than 200."""
    fit = sampled("vote['yes'] ~ arm", VOTES)
    assert rows.predicted_counts(fit, np.ones((400, 1))).shape == (800, 1)
    monkeypatch.setattr(rows, "_VALUES", 1000)
    assert rows.predicted_counts(fit, np.ones((400, 1))).shape == (200, 1)


def test_figures_of_many_groups_are_cut_with_a_sentence() -> None:
    """Of 300 groups a page of 60 is drawn, with a sentence that says so; long labels are cut."""
    rng = np.random.default_rng(3)
    names = [f"{'county with a very long name ' * 3}{i}" for i in range(300)]
    data = pd.DataFrame({"y": rng.integers(1, 9, 600), "n": 9, "x": [0, 1] * 300})
    data["county"] = np.repeat(names, 2)
    fit = from_prior("p(y, n) ~ x + (1 | county)", data)
    for figure, which in (
        (shrinkage(fit), "those whose own data say least"),
        (effect_by_group(fit, effect="x"), "those with most trials"),
    ):
        ticks = [label.get_text() for label in figure.axes[0].get_yticklabels()]
        assert len(ticks) == 60
        assert max(len(tick) for tick in ticks) <= 42
        assert figure.get_supxlabel() == f"60 of 300 groups are shown: {which}."
        assert figure.get_size_inches()[1] < 30
