"""The model that the two PyMC contestants share: non-centred varying slopes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pymc as pm
from contract import Draws, quantities
from xarray import DataTree


def model() -> pm.Model:
    """Build the graph; the ``+ [a, b]`` is what makes it the centred model's equal."""
    file = Path(__file__).with_name("census.csv")
    edu, sex, total, high = np.loadtxt(file, delimiter=",", skiprows=1, dtype=int).T
    with pm.Model() as graph:
        a = pm.Normal("a", 0, 10)
        b = pm.Normal("b", 0, 1)
        chol, _, _ = pm.LKJCholeskyCov("chol", n=2, eta=2, sd_dist=pm.HalfCauchy.dist(2))
        z = pm.Normal("z", 0, 1, shape=(2, 7))
        coefs = pm.Deterministic("coefs", (chol @ z).T + pm.math.stack([a, b]))
        pm.Binomial("high", n=total, logit_p=coefs[edu, 0] + coefs[edu, 1] * sex, observed=high)
    return graph


def named(tree: DataTree) -> Draws:
    """The contest's quantities from PyMC's names."""
    post = tree["posterior"]
    corr = post["chol_corr"].to_numpy()[..., 0, 1]
    return quantities(post["a"], post["b"], post["chol_stds"], corr, post["coefs"])
