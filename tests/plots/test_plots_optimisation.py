"""The objective by iteration is drawn as it was recorded."""

from __future__ import annotations

import numpy as np
import pytest
from drawn import legend_texts, point, sampled, title

from bayesmix.errors import MissingCapability, SpecError
from bayesmix.plots import objective
from bayesmix.result import Fit


def _trace(fit: Fit, name: str) -> np.ndarray:
    return fit.tree["fit_stats"][name].to_numpy()


def test_objective_draws_all_and_the_last_half(estimate: Fit) -> None:
    """The left panel holds every iteration, the right one the last half."""
    left, right = objective(estimate).axes
    values = _trace(estimate, "log_likelihood")
    assert np.array_equal(left.lines[0].get_ydata(), values)
    assert np.array_equal(right.lines[0].get_xydata(), np.c_[np.arange(6, 12), values[6:]])
    assert left.get_ylabel() == "log-likelihood, nats"


def test_objective_shows_the_share_asked_for(estimate: Fit) -> None:
    """late= sets what the right panel shows."""
    right = objective(estimate, late=0.25).axes[1]
    assert right.lines[0].get_xdata().tolist() == [9, 10, 11]
    assert title(right).startswith("the last 25 %")


def test_objective_counts_starts(estimate: Fit) -> None:
    """Starts within 0.01 nats of the best are counted as having found it."""
    panel = objective(estimate).axes[1]
    assert title(panel) == "the last 50 %\n3 of 4 starts reached \N{MINUS SIGN}79.00"


def test_a_noisy_trace_has_its_running_mean(approximation: Fit) -> None:
    """The mean over 1/20 of the trace lies on top of the pale trace, centred."""
    pale, smooth = objective(approximation).axes[0].lines[:2]
    values = _trace(approximation, "elbo")
    assert np.array_equal(pale.get_ydata(), values)
    x, y = smooth.get_data()
    assert x[0] == 25
    assert y[0] == pytest.approx(values[:50].mean())
    assert y[-1] == pytest.approx(values[-50:].mean())


def test_the_final_elbo_is_a_line(approximation: Fit) -> None:
    """The ELBO evaluated with fresh draws stands in the right panel and in the legend."""
    figure = objective(approximation)
    dotted = [line for line in figure.axes[1].lines if line.get_linestyle() == ":"]
    assert dotted[0].get_ydata() == [-91.5, -91.5]
    assert legend_texts(figure) == ["ADVI", "evaluated afresh: \N{MINUS SIGN}91.50"]


def test_several_fits_are_told_apart(estimate: Fit) -> None:
    """Fits of one objective share a figure, each with its name, colour and line."""
    figure = objective({"first": estimate, "second": point(np.linspace(-99, -80, 30))})
    assert legend_texts(figure) == ["first", "second"]
    one, two = figure.axes[0].lines
    assert one.get_color() != two.get_color()
    assert one.get_linestyle() != two.get_linestyle()
    assert title(figure.axes[1]) == "the last 50 %"


@pytest.mark.parametrize("kind", ["sse", "nll"])
def test_the_best_of_a_minimised_objective_is_the_least(kind: str) -> None:
    """For a sum of squares or a negative log-likelihood, the least start is the best."""
    fit = point(np.array([9.0, 5.0, 4.0]), restarts=np.array([4.0, 7.0]))
    stats = fit.tree["fit_stats"].to_dataset()
    names = {"log_likelihood": kind, "restart_log_likelihood": f"restart_{kind}"}
    fit.tree["fit_stats"] = stats.rename(names)
    fit.tree.attrs["objective"] = kind
    assert title(objective(fit).axes[1]).endswith("1 of 2 starts reached 4.00")


def test_objective_needs_a_trace() -> None:
    """NUTS has no objective."""
    with pytest.raises(MissingCapability, match="NUTS records none"):
        objective(sampled())


def test_objective_compares_one_objective(estimate: Fit, approximation: Fit) -> None:
    """An ELBO and a log-likelihood do not belong on one axis."""
    with pytest.raises(MissingCapability, match=r"one objective, got \['elbo', 'log_likelihood'\]"):
        objective({"MLE": estimate, "ADVI": approximation})


@pytest.mark.parametrize("late", [0, 1, -0.5, "half"])
def test_objective_refuses_a_share_outside_0_1(estimate: Fit, late: object) -> None:
    """late= is a share of the iterations."""
    with pytest.raises(SpecError, match="objective: late must"):
        objective(estimate, late=late)  # type: ignore[arg-type]
