"""Contestant: bayesmix as a reader would call it, no option set but priors, seed and silence."""

from __future__ import annotations

import numpy as np
from contract import Draws, arguments, quantities, stop_clock, write_draws

import bayesmix as bm

FORMULA = "p(high, total) ~ sex + (sex | edu)"
DEFAULT_DRAWS = 1000
PRIORS = {
    "Intercept": bm.Normal(0, 10),
    "slope": bm.Normal(0, 1),
    "sigma": bm.HalfCauchy(2),
    "corr": bm.LKJ(2),
}
"""Every contestant's."""


def named(fit: bm.Fit) -> Draws:
    """The contest's quantities from bayesmix's names; group effects there are deviations."""
    post = {name: x.to_numpy() for name, x in fit.tree["posterior"].data_vars.items()}
    a, b = post["Intercept"], post["sex"]
    coefs = np.stack([a[..., None] + post["1|edu"], b[..., None] + post["sex|edu"]], axis=-1)
    return quantities(a, b, post["sigma_edu"], post["corr_edu"][..., 0, 1], coefs)


def main() -> None:
    """Fit, diagnose, stop the clock, write."""
    seed, draws, out = arguments()
    method = "auto" if draws == DEFAULT_DRAWS else bm.NUTS(draws=draws)
    model, census = bm.BinomialGLM(FORMULA, PRIORS), bm.datasets.census()
    fit = bm.fit(model, census, method=method, seed=seed, progress=False)
    fit.diagnose()
    divergences = int(fit.tree["sample_stats"]["diverging"].sum())
    stop_clock(divergences=divergences, version="bayesmix, this checkout")
    write_draws(out, named(fit))


if __name__ == "__main__":
    main()
