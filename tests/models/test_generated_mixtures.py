"""Generated mixtures of experts: the search for the mode, chains that agree, a true verdict."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from generated_mixtures import Problem, judged, measure, model_of, problem, true_parameters

import bayesmix as bm
from bayesmix.chains import independence
from bayesmix.compiled.density import target
from bayesmix.inference import nuts
from bayesmix.maxima.em import best_runs
from bayesmix.maxima.modes import mode_at
from bayesmix.rng import stream

LOWER, MANY_LOWER = 26, 77
"""Problems whose starts all end at a lower maximum, by 80 nats and by almost a thousand."""
EMPTY = 40
"""A problem with an expert that its rows hardly need: empty in a part of the posterior."""


def log_likelihood(model: Any, design: Any, params: Any) -> float:
    """Of one point."""
    one = {name: np.asarray(value)[None] for name, value in params.items()}
    return float(model.log_density(one, design).sum())


def searched(given: Problem) -> dict[str, float]:
    """Log-likelihoods of the truth, of the best of ten starts, and of the wider search."""
    model = model_of(given)
    design, generator = model.design(given.rows), stream(given.number, "nuts")
    best = best_runs(model, design, generator, restarts=10, max_iter=50, tolerance=1e-6).best
    wider = model.em_wider(best.params, design, generator)
    return {
        "truth": log_likelihood(model, design, true_parameters(given, model, design)),
        "starts": best.value,
        "wider": log_likelihood(model, design, wider),
    }


@pytest.mark.parametrize("number", [MANY_LOWER, pytest.param(LOWER, marks=pytest.mark.slow)])
def test_the_wider_search_leaves_a_lower_maximum(number: int) -> None:
    """Starts from lines end below the truth itself; regions and moved experts end above it."""
    found = searched(problem(number))
    assert found["starts"] < found["truth"] - 20  # else this problem shows nothing
    assert found["wider"] > found["truth"]


def test_the_wider_search_gives_back_what_it_cannot_better() -> None:
    """The very same parameters, so that fits which start well are what they were."""
    given = problem(1)
    model = model_of(given)
    design = model.design(given.rows)
    best = best_runs(model, design, stream(1, "nuts"), restarts=10, max_iter=50, tolerance=1e-6)
    assert model.em_wider(best.best.params, design, stream(1, "search")) is best.best.params


@pytest.mark.slow
def test_chains_in_a_lower_mode_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """All chains agree on a mode a thousand nats too low: the verdict says so, and why."""
    given = problem(MANY_LOWER)
    model = model_of(given)
    design = model.design(given.rows)
    best = best_runs(model, design, stream(1, "nuts"), restarts=5, max_iter=50, tolerance=1e-6)
    density = target(model, design)
    point = density.point(model.free(best.best.params, design))
    monkeypatch.setattr(nuts, "best_mode", lambda *_: mode_at(density, point))
    method = bm.NUTS(draws=300, tune=300)
    diagnosis = bm.fit(model, given.rows, method=method, seed=1, progress=False).diagnose()
    finding = next(one for one in diagnosis.findings if one.check == "likelihood")
    assert finding.level == "fail" and "another mode" in finding.message
    assert not diagnosis.ok


def record(**changes: Any) -> dict[str, Any]:
    """A fine fit's record, with some entries other."""
    chains = [[[0.0, 0.0]], [[0.0, 0.0]]]
    heights = {"truth": [0.0, 0.0], "em": [0.0, 0.0], "chains": chains}
    fine = {"rhat": 1.0, "divergent": 0, "ok": True, "heights": heights, "family": "poisson",
            "n_experts": 2, "jumps": False, "processor": 1.0}  # fmt: skip
    return judged({**fine, **changes})


def test_the_judge_knows_a_lower_mode_and_a_false_verdict() -> None:
    """A peak that is higher and has its mass counts; a narrow one, or agreed sharing, does not."""
    fine = record()
    assert fine["mode"] and fine["truthful"]
    higher = {**fine["heights"], "truth": [5.0, 5.0]}
    assert not record(heights=higher)["mode"] and not record(heights=higher)["truthful"]
    assert record(heights=higher, ok=False)["truthful"]
    assert record(heights={**higher, "truth": [5.0, -5.0]})["mode"]
    one = {**higher, "chains": [[[0.0, 0.0]], [[5.0, 5.0]]]}
    assert record(heights=one)["mode"] and not record(heights=one, rhat=1.2)["mode"]
    assert not record(rhat=1.2)["truthful"] and not record(divergent=40)["truthful"]


def test_problems_are_those_of_the_recipe() -> None:
    """Families and numbers of experts by turns, sizes within bounds, counts of moderate size."""
    every = [problem(i) for i in range(100)]
    assert {(p.family, p.n_experts) for p in every} == {
        (f, k) for f in ("gaussian", "poisson", "binomial") for k in (2, 3, 4)
    }
    sizes = [len(p.rows) for p in every]
    assert 300 <= min(sizes) < 500 and 2_800 < max(sizes) <= 3_000
    counts = max(p.rows["y"].max() for p in every if p.family == "poisson")
    assert 100 < counts < 30_000
    pd.testing.assert_frame_equal(every[7].rows, problem(7).rows)


@pytest.mark.slow
@pytest.mark.parametrize("number", [LOWER, 31, EMPTY, MANY_LOWER])
def test_the_hardest_are_fitted_in_the_best_mode(number: int) -> None:
    """R-hat at most 1.01, the best known mode and a true verdict, by a call without options."""
    found = measure(number)
    assert found["settled"] and found["mode"] and found["truthful"], found["verdict"]


@pytest.mark.slow
def test_without_jumps_an_empty_expert_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The power of the test above: trajectories alone do not settle, and the verdict says so."""
    monkeypatch.setattr(independence, "_PILOT", 10**9)
    found = measure(EMPTY)
    assert found["rhat"] > 1.05 and not found["ok"] and found["truthful"]
