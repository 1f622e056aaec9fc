"""Mixtures of experts on one to many, by bayesmix and its peers; README.md tells the rules."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from census_peers import BUILD, CHECKOUT, JAX_CACHE, PEERS, VENV, install, machine
from contest import Contestant, Settings, by_turns, launch

EXTRAS = BUILD / "extras"
PACKAGES = ("pymc-extras", "better-optimize", "preliz")


def role(name: str, note: str = "") -> Contestant:
    """A contestant of peers/experts.py."""
    paths = os.pathsep.join([CHECKOUT["PYTHONPATH"], str(EXTRAS)])
    command = (sys.executable, str(PEERS / "experts.py"), name)
    return Contestant(name, command, note, {"PYTHONPATH": paths})


def contests(table: Path) -> dict[str, list[Contestant]]:
    """What is compared with what; ours first."""
    env = {"ONE_TO_MANY": str(table)}
    return {
        "em": [
            role("em"),
            role("em-linear", "linear log scale, which the others lack"),
            Contestant("flexmix", ("Rscript", str(PEERS / "flexmix.R")), "a start of 15", env),
            Contestant(
                "mixtools", ("Rscript", str(PEERS / "mixtools.R")), "a start of 15, no gate", env
            ),
        ],
        "vi": [role("dadvi"), role("pymc-advi", "50,000 steps"), role("extras-dadvi", "defaults")],
        "nuts": [
            role("nuts"),
            role("pymc-nuts", "defaults"),
            role("nutpie-nuts", "defaults"),
            Contestant(
                "numpyro-nuts",
                (str(VENV / "bin" / "python"), str(PEERS / "numpyro_experts.py")),
                "defaults",
                JAX_CACHE,
            ),
        ],
        "predictive": [role("predictive"), role("pymc-predictive")],
    }


def row(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Median, least and greatest of every number that a contestant said."""
    found = {}
    for key in runs[0]:
        values = [run[key] for run in runs if isinstance(run[key], (int, float))]
        if values:
            found[key] = [float(np.median(values)), float(min(values)), float(max(values))]
    return found


def ratios(runs: dict[str, list[dict[str, Any]]], key: str) -> dict[str, list[float]]:
    """Each peer's ``key`` over ours, round by round: median, least, greatest."""
    ours = next(iter(runs))
    found = {}
    for name, own in runs.items():
        pairs = [theirs[key] / mine[key] for mine, theirs in zip(runs[ours], own, strict=True)]
        found[name] = [float(np.median(pairs)), float(min(pairs)), float(max(pairs))]
    return found


def shown(values: list[float]) -> str:
    """Median (least-greatest)."""
    middle, low, high = values
    return f"{middle:.4g} ({low:.4g}-{high:.4g})"


def main(argv: list[str] | None = None) -> int:
    """Run the contests that were asked for, print tables, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", nargs="+", default=["em", "vi", "nuts", "predictive"])
    parser.add_argument("--install", action="store_true", help="first install numpyro and extras")
    parser.add_argument("--timeout", type=float, default=900)
    chosen = parser.parse_args(argv)
    folder = BUILD / "draws"
    folder.mkdir(parents=True, exist_ok=True)
    if chosen.install:
        install()
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target"]
        subprocess.run([*command, str(EXTRAS), *PACKAGES], check=True)
    table = BUILD / "one_to_many.csv"
    sys.path.insert(0, str(PEERS))
    from experts import data

    np.savetxt(
        table, np.column_stack(data()), delimiter=",", header="x,target", comments="", fmt="%.17g"
    )
    settings = Settings(chosen.runs, 1, 1000, chosen.timeout, folder)
    report: dict[str, Any] = {"machine": machine()}
    for name, contestants in contests(table).items():
        if name not in chosen.only:
            continue
        runs, absent = by_turns(contestants, settings, partial(launch, settings=settings))
        report[name] = {"runs": runs, "absent": absent}
        print(f"\n{name}")
        for who, own in runs.items():
            numbers = "  ".join(f"{k} {shown(v)}" for k, v in row(own).items())
            print(f"  {who:16} {numbers}")
        for key in ("seconds", "wall"):
            for who, ratio in ratios(runs, key).items():
                print(f"  {key} over ours: {who:16} {shown(ratio)}")
        for who, reason in absent.items():
            print(f"  absent: {who}: {reason}")
    (BUILD / "experts_peers.json").write_text(json.dumps(report, indent=1))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
