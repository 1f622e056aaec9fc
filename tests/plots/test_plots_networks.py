"""Figures of networks: training curves, curves of means, coverage."""

from __future__ import annotations

import functools

import numpy as np
import pandas as pd
import pytest

import bayesmix as bm
from bayesmix.errors import MissingCapability
from bayesmix.rng import stream


def rows(seed: int, n: int = 400, wide: float = 0.3) -> pd.DataFrame:
    """A bent line with noise."""
    rng = stream(seed, "bent")
    x = rng.uniform(-1, 1, n)
    return pd.DataFrame({"x": x, "y": np.sin(3 * x) + rng.normal(0, wide, n)})


@functools.cache
def fitted(kind: str) -> bm.Fit:
    """One component, a small network."""
    methods = {
        "mle": bm.MLE(restarts=2, optimizer=bm.LBFGS(max_iter=60)),
        "adam": bm.MLE(restarts=1, optimizer=bm.Adam(epochs=12, batch_size=64)),
        "ensemble": bm.Ensemble(bm.MLE(restarts=1, optimizer=bm.LBFGS(max_iter=60)), members=3),
    }
    model = bm.MDN("x", "y", 1, hidden=(6,))
    return bm.fit(model, rows(1), method=methods[kind], seed=1, progress=False)


def test_training_draws_what_was_recorded() -> None:
    """The lines are the NLL on the rows and on those held out; the dot is the best epoch."""
    axes = bm.plots.training(fitted("adam")).axes[0]
    stats = fitted("adam").tree["fit_stats"]
    lines = [line.get_ydata() for line in axes.get_lines()]
    np.testing.assert_array_equal(lines[0], stats["nll"])
    np.testing.assert_array_equal(lines[1], stats["held_out_nll"])
    best = int(np.argmin(stats["held_out_nll"].to_numpy()))
    assert (axes.get_lines()[2].get_xdata()[0], lines[2][0]) == (best, lines[1][best])
    assert axes.get_xlabel() == "epoch"


def test_every_member_has_a_line() -> None:
    """An ensemble's members are drawn one by one."""
    axes = bm.plots.training(fitted("ensemble")).axes[0]
    full = [line for line in axes.get_lines() if len(line.get_xdata()) > 3]
    assert len(full) == 3


def test_training_of_something_else_is_refused() -> None:
    """A fit without the NLL by step is told where to look."""
    fit = bm.fit(bm.MixtureOfExperts("y ~ x", 2), rows(1), method="em", seed=1, progress=False)
    with pytest.raises(MissingCapability, match=r"EM on MixtureOfExperts .* see objective"):
        bm.plots.training(fit)


def test_mean_curves_are_the_predicted_means() -> None:
    """The line is predict()'s mean on the grid; members give a band, a point does not."""
    axes = bm.plots.mean_curves({"point": fitted("mle"), "members": fitted("ensemble")}).axes[0]
    for name, line in zip(("mle", "ensemble"), axes.get_lines(), strict=True):
        table = pd.DataFrame({"x": line.get_xdata()})
        expected = fitted(name).predict(table)["mean"]
        np.testing.assert_allclose(line.get_ydata(), expected, rtol=1e-12)
    bands = [c for c in axes.collections if type(c).__name__ == "FillBetweenPolyCollection"]
    assert len(bands) == 1


def test_coverage_is_on_the_diagonal_for_the_true_model_and_not_for_another() -> None:
    """New rows of the same kind keep the levels within the band; rows twice as wide do not."""
    from scipy.stats import binom

    n = 2000
    held = {}
    for wide in (0.3, 0.6):
        axes = bm.plots.coverage(fitted("mle"), rows(2, n, wide)).axes[0]
        levels, held[wide] = axes.get_lines()[0].get_data()
    # the network is an estimate: allow its scale to be off by a tenth beside the counts' noise
    low, high = (binom.ppf(q, n, levels) / n for q in (1e-4, 1 - 1e-4))
    assert ((held[0.3] > low - 0.04) & (held[0.3] < high + 0.04)).all()
    assert (held[0.6] < low - 0.04).sum() > 10


def test_several_targets_are_refused() -> None:
    """A figure of one target says so."""
    data = rows(1).assign(z=lambda t: t["y"] ** 2)
    method = bm.MLE(restarts=1, optimizer=bm.LBFGS(max_iter=5))
    fit = bm.fit(bm.MDN("x", ("y", "z"), 2, hidden=(3,)), data, method=method, seed=1)
    for figure in (bm.plots.experts, bm.plots.coverage, bm.plots.mean_curves):
        with pytest.raises(MissingCapability, match="about one target, and the fit has 2"):
            figure(fit)
