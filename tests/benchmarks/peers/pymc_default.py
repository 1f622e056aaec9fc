"""Contestant: PyMC's own sampler, default settings."""

from __future__ import annotations

import pymc as pm
from contract import CHAINS, CORES, arguments, diagnose, stop_clock, write_draws
from noncentred import model, named


def main() -> None:
    """Fit, diagnose, stop the clock, write."""
    seed, draws, out = arguments()
    with model():
        tree = pm.sample(
            draws,
            nuts_sampler="pymc",
            chains=CHAINS,
            cores=CORES,
            random_seed=seed,
            progressbar=False,
        )
    sampled = named(tree)
    divergences = int(tree["sample_stats"]["diverging"].sum())
    stop_clock(**diagnose(sampled), divergences=divergences, version=f"pymc {pm.__version__}")
    write_draws(out, sampled)


if __name__ == "__main__":
    main()
