"""Poolings and counts as drawn: observed log-odds by hand, estimates from the draws."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from drawn import legend_texts, sampled, ticks

import bayesmix as bm
from bayesmix.plots import pooling, predictive_count, style
from bayesmix.result import Fit

LABELS = {"sex": {0: "female", 1: "male"}}
CENSUS = bm.datasets.census()


@pytest.fixture(scope="module")
def complete() -> Fit:
    """A fit without groups."""
    return sampled("p(high, total) ~ sex")


def points(axes: Any, position: int) -> np.ndarray:
    """The marks of the fit at a position, (x, y), in the order drawn."""
    lines = [line for line in axes.lines if line.get_marker() == style.marker(position)]
    return np.array([line.get_xydata()[0] for line in lines])


def test_pooling_shows_observed_log_odds_and_errors(slopes: Fit, complete: Fit) -> None:
    """A stroke at the log-odds of each level's counts; a band of one standard error beside it."""
    figure = pooling({"complete": complete, "slopes": slopes}, by="edu")
    left, right = figure.axes
    counts = CENSUS.groupby("edu", observed=True)[["high", "low"]].sum().to_numpy()
    strokes = [line for line in left.lines if line.get_color() == "black"]
    logit = np.log(counts[:, 0] / counts[:, 1])
    np.testing.assert_allclose([line.get_xdata()[0] for line in strokes], logit)
    width = [
        path.get_extents().width / 2 for band in right.collections for path in band.get_paths()
    ]
    np.testing.assert_allclose(width, np.sqrt((1 / counts).sum(axis=1)))
    assert ticks(left, "y") == [str(level) for level in CENSUS["edu"].cat.categories]


def test_pooling_shows_each_fit_s_own_estimate(slopes: Fit, complete: Fit) -> None:
    """Marks are posterior means of the log-odds of the expected share, of cells as of levels."""
    figure = pooling({"complete": complete, "slopes": slopes}, by=["edu", "sex"], labels=LABELS)
    for position, fit in enumerate((complete, slopes)):
        mean = fit.curves(CENSUS)["logit"].mean("sample").to_numpy()
        np.testing.assert_allclose(points(figure.axes[0], position)[:, 0], mean, rtol=1e-9)
    assert ticks(figure.axes[0], "y")[:2] == ["Some HS, female", "Some HS, male"]


def test_pooling_points_to_what_lies_beyond(slopes: Fit, complete: Fit) -> None:
    """On the right an estimate is a mark, or an arrow where it is out of reach."""
    right = pooling({"complete": complete, "slopes": slopes}, by="edu").axes[1]
    low, high = right.get_xlim()
    inside = points(right, 0)
    assert len(inside) + len(right.texts) == 7 and len(right.texts) > 3
    assert ((low < inside[:, 0]) & (inside[:, 0] < high)).all()


def test_count_is_of_the_rows_asked_for(slopes: Fit) -> None:
    """Bars are shares of draws, which sum to one; observed is the count of the data."""
    figure = predictive_count(slopes, {"edu": "Doctorate"}, labels=LABELS)
    axes = figure.axes[0]
    assert axes.get_xlabel() == "high of 413: Doctorate"
    assert "observed: 306" in legend_texts(figure)
    assert sum(bar.get_height() for bar in axes.patches[1:]) == pytest.approx(1)
    drawn = slopes.sample()["high"].to_numpy()[:, 12:].sum(axis=1)
    centre = sum(bar.get_height() * (bar.get_x() + bar.get_width() / 2) for bar in axes.patches[1:])
    width = axes.patches[1].get_width()
    assert centre == pytest.approx(drawn.mean(), abs=width)


@pytest.mark.parametrize(
    ("error", "words", "draw"),
    [
        ("UnknownName", "no formula has 'age'; together", lambda f: pooling(f, by="age")),
        ("UnknownName", "no formula has 3", lambda f: pooling(f, by=3)),
        ("UnknownName", "column 'age'", lambda f: predictive_count(f, {"age": 3})),
        ("SpecError", "where must map columns", lambda f: predictive_count(f, "Doctorate")),
        ("SpecError", "where must map columns", lambda f: predictive_count(f, {})),
        ("DataError", "no row has {'sex': 2}", lambda f: predictive_count(f, {"sex": 2})),
        (
            "MissingCapability",
            "successes among trials",
            lambda f: pooling({"a": f, "b": mixture_fit()}, by="edu"),
        ),
    ],
)
def test_bad_input_is_told(slopes: Fit, error: str, words: str, draw: Any) -> None:
    """A column, a value or a model that does not suit is named."""
    with pytest.raises(getattr(bm.errors, error)) as caught:
        draw(slopes)
    assert words in str(caught.value)


def mixture_fit() -> Fit:
    """A mixture with draws: no counts."""
    from drawn import around, estimated

    return around(estimated(bm.MixtureOfExperts("y ~ x", 2)))
