"""Mixtures of every kind, with data and parameters, for tests that compare their readings."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pandas as pd
from pymc_reading import pymc_says

import bayesmix as bm
from bayesmix import rng as random

EXPERTS = {
    "gaussian": bm.MixtureOfExperts("y ~ x", 3),
    "constant scale, no floor": bm.MixtureOfExperts(
        "y ~ x + kind", 2, gate="x", scale="constant", floor=0
    ),
    "right-hand sides of their own": bm.MixtureOfExperts(
        "y ~ 0 + kind + x", 2, gate="~ kind", scale="w", floor=0.5
    ),
    "experts, raw": bm.MixtureOfExperts("y ~ x + kind", 3, priors=bm.Normal(0, 5), floor=0.01),
    "experts with priors of their own": bm.MixtureOfExperts(
        "y ~ x", 2, priors={"x": bm.Normal(1, 0.5), "gate": bm.Normal(0, 2), "scale_x": bm.Normal()}
    ),
    "one expert": bm.MixtureOfExperts("y ~ x + kind", 1),
    "binomial": bm.MixtureOfExperts("p(s, t) ~ x + kind", 2, "binomial"),
    "poisson": bm.MixtureOfExperts("k ~ x + offset(w)", 3, "poisson"),
}

BOTH = ("y1", "y2")
NETWORKS = {
    "diagonal": bm.MDN("x", "y1", 3),
    "diagonal, two targets": bm.MDN(("x", "kind", "w"), BOTH, 2, (4, 3), "relu", noise="diagonal"),
    "full": bm.MDN("x", BOTH, 3, noise="full"),
    "full, no floor": bm.MDN(("w", "x"), BOTH, 2, (4, 3), "softplus", noise="full", floor=0),
    "full, one target, linear": bm.MDN(("x", "kind"), "y1", 2, (), "sigmoid", noise="full"),
    "full, three targets": bm.MDN("x", (*BOTH, "w"), 2, (4,), "sigmoid", noise="full"),
    "isotropic": bm.MDN("x", BOTH, 2, (4, 3), "sigmoid", noise="isotropic", floor=0.5),
    "isotropic, one target": bm.MDN("x", "y1", 3, (20,), "relu", noise="isotropic"),
    "shared": bm.MDN(("x", "w"), BOTH, 3, (20,), "softplus", noise="isotropic-shared"),
    "shared, one target": bm.MDN("x", "y1", 2, (4, 3), noise="isotropic-shared"),
    "fixed, linear": bm.MDN("x", BOTH, 3, (), noise="fixed", fixed_scale=0.7),
    "fixed, one target": bm.MDN("x", "y1", 2, (20,), "sigmoid", noise="fixed", fixed_scale=2.5),
    "one component": bm.MDN("x", BOTH, 1, (20,), noise="full"),
    "one component, fixed, linear": bm.MDN("x", "y2", 1, (), noise="fixed", fixed_scale=1),
    "networks, raw": bm.MDN(("x", "w"), BOTH, 2, (4,), noise="full", priors=bm.Normal(0, 5)),
    "networks, inputs raw": bm.MDN(("x", "w"), "y1", 2, (4, 3), priors={"hidden": bm.Normal(0, 1)}),
    "networks, a bias raw": bm.MDN("x", "y1", 2, (4,), priors={"hidden_1_bias": bm.Normal(0, 1)}),
    "networks with priors of their own": bm.MDN(
        "x", BOTH, 2, (4,), priors={"hidden": bm.Normal(1, 0.5), "loc_bias": bm.Normal(-1, 2)}
    ),
}

DRAWS = 3


@functools.cache
def table_of_experts() -> pd.DataFrame:
    """300 rows, more than one block of the compiled loop, with a target for each family."""
    rng = random.stream(1, "experts")
    n = 300
    data = pd.DataFrame({"x": rng.normal(size=n), "w": rng.normal(size=n), "y": rng.normal(size=n)})
    kind = np.array(["a", "b", "c"])[rng.integers(3, size=n)]
    trials = rng.integers(1, 30, n)
    counted = {"t": trials, "s": rng.binomial(trials, rng.random(n)), "k": rng.poisson(4, n)}
    return data.assign(kind=kind, **counted)


@functools.cache
def table_of_networks() -> pd.DataFrame:
    """300 rows, more than two blocks of the compiled loop."""
    rng = random.stream(1, "networks")
    n = 300
    data = pd.DataFrame(rng.normal(size=(n, 4)), columns=["x", "w", "y1", "y2"])
    return data.assign(kind=np.array(["a", "b", "c"])[rng.integers(3, size=n)])


@functools.cache
def case(name: str) -> tuple[Any, Any, dict[str, np.ndarray]]:
    """A model, its design, and draws from its prior without those whose exponentials overflow."""
    experts = name in EXPERTS
    model: Any = EXPERTS[name] if experts else NETWORKS[name]
    design = model.design(table_of_experts() if experts else table_of_networks())
    params = model.draw_prior(design, random.stream(2, "prior"), DRAWS)
    largest = 3 if experts else 1
    free = {k: np.clip(v, -largest, largest) for k, v in model.free(params, design).items()}
    return model, design, model.reported(free, design)


@functools.cache
def in_pymc(name: str) -> tuple[np.ndarray, np.ndarray, list[dict[str, np.ndarray]]]:
    """Pointwise log-likelihood, log joint, and gradient by name, of every draw in PyMC."""
    return pymc_says(*case(name))


def agree(found: Any, expected: Any) -> None:
    """Equal to ten digits; where terms cancel, to ten digits of what is added up."""
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)
