"""Mixture density networks on one to many, by bayesmix and its peers; README.md tells the rules."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from functools import partial
from typing import Any

from census_peers import BUILD, CHECKOUT, JAX_CACHE, PEERS, VENV, install, machine
from contest import Contestant, Settings, by_turns, launch
from experts_peers import EXTRAS, ratios, row, shown


def role(name: str, note: str = "") -> Contestant:
    """A contestant of peers/networks.py."""
    paths = os.pathsep.join([CHECKOUT["PYTHONPATH"], str(EXTRAS)])
    command = (sys.executable, str(PEERS / "networks.py"), name)
    return Contestant(name, command, note, {"PYTHONPATH": paths})


def contests() -> dict[str, list[Contestant]]:
    """What is compared with what; ours first."""
    numpyro = (str(VENV / "bin" / "python"), str(PEERS / "numpyro_network.py"))
    return {
        "mle": [role("mle"), role("loop", "5,000 full-batch steps"), role("scikit-mdn")],
        "restarts": [role("mle-1"), role("mle-10")],
        "bayes": [
            role("advi"),
            Contestant("numpyro-svi", numpyro, "50,000 steps", JAX_CACHE),
            role("pymc-advi", "150,000 steps"),
        ],
        "throughput": [role("throughput"), role("loop-throughput")],
    }


def main(argv: list[str] | None = None) -> int:
    """Run the contests that were asked for, print tables, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", nargs="+", default=list(contests()), choices=list(contests()))
    parser.add_argument("--without", nargs="+", default=[], help="contestants to leave out")
    parser.add_argument("--install", action="store_true", help="first install the peers")
    parser.add_argument("--timeout", type=float, default=900)
    chosen = parser.parse_args(argv)
    folder = BUILD / "draws"
    folder.mkdir(parents=True, exist_ok=True)
    if chosen.install:
        install()
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target"]
        subprocess.run([*command, str(EXTRAS), "scikit-mdn"], check=True)
    settings = Settings(chosen.runs, 1, 1000, chosen.timeout, folder)
    report: dict[str, Any] = {"machine": machine()}
    for name in chosen.only:
        contestants = [c for c in contests()[name] if c.name not in chosen.without]
        runs, absent = by_turns(contestants, settings, partial(launch, settings=settings))
        report[name] = {"runs": runs, "absent": absent}
        print(f"\n{name}")
        for who, own in runs.items():
            numbers = "  ".join(f"{k} {shown(v)}" for k, v in row(own).items())
            print(f"  {who:16} {numbers}")
        for who, ratio in ratios(runs, "seconds").items():
            print(f"  seconds over ours: {who:16} {shown(ratio)}")
        for who, reason in absent.items():
            print(f"  absent: {who}: {reason}")
    (BUILD / "networks_peers.json").write_text(json.dumps(report, indent=1))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
