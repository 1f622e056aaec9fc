"""The verdict on mixtures: swapped labels are told apart from chains in different modes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import bayesmix as bm
from bayesmix.inference import nuts
from bayesmix.protocols import Posterior
from bayesmix.rng import stream
from bayesmix.tree import order

MODEL = bm.MixtureOfExperts("target ~ x", n_experts=3)


@pytest.fixture(scope="module")
def draws() -> bm.Fit:
    """One to many by NUTS."""
    method = bm.NUTS(draws=300, tune=300)
    return bm.fit(MODEL, bm.datasets.one_to_many(), method=method, seed=2, progress=False)


def test_nuts_from_the_mode_passes(draws: bm.Fit) -> None:
    """All chains sit in one mode and no label was swapped."""
    found = {finding.check: finding for finding in draws.diagnose().findings}
    assert (found["labels"].level, found["modes"].level) == ("pass", "pass")


def test_swapped_labels_are_put_back_and_told(draws: bm.Fit) -> None:
    """Draws whose experts were shuffled come back in one order, with the swaps recorded."""
    posterior = draws.tree["posterior"]
    params = {str(n): v.to_numpy().copy() for n, v in posterior.data_vars.items()}
    swapped = stream(1, "swap").random((4, 300)) < 0.3
    for values in params.values():
        values[swapped] = values[swapped][:, [2, 0, 1]]
    shuffled = Posterior(params, {}, {}, sampled=True)
    again = order.aligned(shuffled, MODEL, draws.design)
    for name, values in posterior.data_vars.items():
        np.testing.assert_array_equal(again.params[str(name)], values)
    np.testing.assert_array_equal(again.stats[order.SWITCHED], swapped)


def test_a_chain_with_other_labels_is_no_switching(draws: bm.Fit) -> None:
    """A chain that is in another order throughout is aligned, and counts as no switch."""
    params = {str(n): v.to_numpy().copy() for n, v in draws.tree["posterior"].data_vars.items()}
    for values in params.values():
        values[1] = values[1][:, [1, 0, 2]]
    again = order.aligned(Posterior(params, {}, {}, sampled=True), MODEL, draws.design)
    assert not again.stats[order.SWITCHED].any()
    np.testing.assert_array_equal(again.params["x"], draws.tree["posterior"]["x"])


def test_chains_in_different_modes_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the prior's centre chains end in different modes, and the verdict says so."""
    monkeypatch.setattr(nuts, "best_mode", lambda *_: None)
    method = bm.NUTS(draws=200, tune=300)
    model = replace(MODEL, priors=bm.Normal(0, 5), floor=0.01)
    fit = bm.fit(model, bm.datasets.one_to_many(), method=method, seed=1, progress=False)
    finding = next(f for f in fit.diagnose().findings if f.check == "modes")
    assert finding.level == "fail"
    assert "this is no label switching" in finding.message
    assert not fit.diagnose().ok
