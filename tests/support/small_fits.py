"""One small data set and spec a family, one cheap setting a method: what generic tests run on."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayesmix as bm
from bayesmix import specs, workflow
from bayesmix.design import table
from bayesmix.protocols import Method, Model, Posterior
from bayesmix.rng import stream
from bayesmix.tree import build, storage

FORMULA = "p(high, total) ~ sex + (1 | edu)"
CENSUS_PRIORS = {
    "Intercept": bm.Normal(0, 10),
    "slope": bm.Normal(0, 1),
    "sigma": bm.HalfCauchy(2),
    "corr": bm.LKJ(2),
}
"""The priors of the book's census, those of REFERENCE, section 2: on the data as they are."""


def people() -> pd.DataFrame:
    """Eight rows of the census, four levels of education, with columns of every type."""
    rows = bm.datasets.census().iloc[:8].reset_index(drop=True)
    return rows.assign(
        edu=rows["edu"].cat.remove_unused_categories(),
        age=[23.5, 31.0, 44.25, 52.0, 38.5, 29.0, 61.75, 47.0],
        region=["north", "south", "south", "west", "north", "west", "north", "south"],
        urban=[True, False, True, True, False, False, True, False],
        rich=[0, 1, 1, 0, 0, 1, 0, 1],
        answer=["no", "yes", "yes", "no", "no", "yes", "no", "yes"],
    )


def branches() -> pd.DataFrame:
    """Sixty rows of two branches that cross, with a predictor of every type."""
    rng = stream(7, "branches")
    x = np.linspace(-1, 1, 60)
    upper = np.arange(60) % 2 == 0
    y = np.where(upper, 0.8 * x + 0.5, -0.6 * x - 0.4) + rng.normal(0, 0.1, 60)
    return pd.DataFrame({"x": x, "y": y, "kind": np.where(rng.random(60) < 0.5, "a", "b")})


EXAMPLES: Mapping[str, tuple[Model, pd.DataFrame]] = {
    "BinomialGLM": (bm.BinomialGLM(FORMULA), people()),
    "MDN": (bm.MDN(("x", "kind"), "y", 2, hidden=(3,)), branches()),
    "MixtureOfExperts": (
        bm.MixtureOfExperts("y ~ x + kind", 2, gate="x", scale="constant"),
        branches(),
    ),
    "PiecewiseRegression": (bm.PiecewiseRegression("y ~ x + kind", 2), branches()),
}
CHEAP: Mapping[str, Method] = {
    "advi": bm.ADVI(steps=100, draws=60),
    "dadvi": bm.DADVI(draws=60),
    "em": bm.EM(restarts=3),
    "ensemble": bm.Ensemble(bm.MLE(restarts=1), members=2),
    "laplace": bm.Laplace(draws=60, restarts=1),
    "map": bm.MAP(restarts=1),
    "mle": bm.MLE(restarts=1),
    "nuts": bm.NUTS(draws=50, tune=60, chains=2),
    "prior": bm.FromPrior(draws=60),
}


def example(family: str) -> tuple[Model, pd.DataFrame]:
    """A spec of that family and data for it."""
    if family not in EXAMPLES:
        pytest.fail(f"family {family!r} has no example: add one to EXAMPLES in tests/small_fits.py")
    return EXAMPLES[family]


def cheap(method: str) -> Method:
    """That method with settings that cost little."""
    if method not in CHEAP:
        pytest.fail(f"method {method!r} has no cheap setting: add one to CHEAP in {__name__}.py")
    return CHEAP[method]


def pairs() -> list[tuple[str, str]]:
    """Every (family, method) that fits together; all methods of a family without an example."""
    return [
        (family, method)
        for family in workflow.models()
        for method in (
            workflow.methods_for(EXAMPLES[family][0]) if family in EXAMPLES else workflow.methods()
        )
    ]


@functools.cache
def fitted(family: str, method: str, seed: int = 1) -> bm.Fit:
    """The example of a family, fitted cheaply; the same object at every call."""
    model, data = example(family)
    return bm.fit(model, data, method=cheap(method), seed=seed, progress=False)


def from_prior(
    formula: str, data: Any, *, draws: int = 40, seed: int = 1, **options: Any
) -> bm.Fit:
    """A result as a sampler would leave it, with draws from the prior: costs milliseconds."""
    model = bm.BinomialGLM(formula, **options)
    design = model.design(data)
    values = model.draw_prior(design, stream(seed, "prior"), draws)
    shape = (2, draws // 2)
    params = {name: value.reshape(*shape, *value.shape[1:]) for name, value in values.items()}
    stats = {"lp": np.linspace(-3.0, -2.0, draws).reshape(shape)}
    result = Posterior(params, stats, {"lp": ("chain", "draw")}, True, attrs={"engine": "mcmc"})
    tree = build.build_tree(result, model, design)
    tree.attrs |= {
        "bayesmix_format": storage.FORMAT,
        "model": specs.to_json(model),
        "method": specs.to_json(cheap("nuts")),
        "seed": seed,
        "data_hash": table.hash_frame(design.columns),
        "wall_seconds": 0.5,
    }
    return bm.Fit(model, cheap("nuts"), tree)


def quick(formula: str, data: Any, **options: Any) -> bm.Fit:
    """A maximum-likelihood fit, which compiles nothing."""
    model = bm.BinomialGLM(formula, **options)
    return bm.fit(model, data, method=cheap("mle"), seed=1, progress=False)


def same_tree(left: xr.DataTree, right: xr.DataTree) -> None:
    """Two trees are equal in every group, label, type and attribute but the time they took."""
    pair = []
    for tree in (left, right):
        copy = tree.copy()
        copy.attrs = {k: v for k, v in tree.attrs.items() if k != "wall_seconds"}
        pair.append(copy)
    xr.testing.assert_identical(*pair)
    for a, b in zip(left.subtree, right.subtree, strict=True):
        kinds = [{n: v.dtype.kind for n, v in node.variables.items()} for node in (a, b)]
        assert kinds[0] == kinds[1], f"{a.path}: {kinds}"


def same_answers(left: bm.Fit, right: bm.Fit, data: pd.DataFrame) -> None:
    """Two fits predict, draw and score the same rows alike, to the last bit."""
    for rows in (None, data):
        xr.testing.assert_identical(left.predict(rows), right.predict(rows))
        xr.testing.assert_identical(left.sample(rows, draws=7), right.sample(rows, draws=7))
        xr.testing.assert_identical(left.log_density(rows), right.log_density(rows))
        assert np.isfinite(left.log_density(rows)).all()
