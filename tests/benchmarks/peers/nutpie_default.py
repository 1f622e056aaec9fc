"""Contestant: nutpie, default settings, on the model of the PyMC contestant."""

from __future__ import annotations

import nutpie
from contract import CHAINS, CORES, arguments, diagnose, stop_clock, write_draws
from noncentred import model, named


def main() -> None:
    """Fit, diagnose, stop the clock, write."""
    seed, draws, out = arguments()
    compiled = nutpie.compile_pymc_model(model())
    tree = nutpie.sample(
        compiled, draws=draws, chains=CHAINS, cores=CORES, seed=seed, progress_bar=False
    )
    sampled = named(tree)
    divergences = int(tree["sample_stats"]["diverging"].sum())
    stop_clock(**diagnose(sampled), divergences=divergences, version=f"nutpie {nutpie.__version__}")
    write_draws(out, sampled)


if __name__ == "__main__":
    main()
