"""Draws of models with group effects on data of others: effective draws a second, beside bambi."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from census_peers import BUILD, CHECKOUT, PEERS, machine
from own_models import GROUPED, ROWS, tables

from bayesmix.chains import statistics

REPORT = BUILD / "own_samplers.json"
VENV = BUILD / "bambi"
MODELS = ("cbpp", "cbpp, rows", "bacteria", "contraception, slopes", "verbagg", "guimmun",
          "generated 1e5")  # fmt: skip
ENGINES = ("nutpie", "numpyro")
_LONGEST = 900


def install() -> None:
    """Make the virtual environment of bambi."""
    subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
    pip = [VENV / "bin" / "python", "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "-r", PEERS / "own_bambi.txt"], check=True)


def judged(path: Path) -> dict[str, float]:
    """Least bulk ESS and largest R-hat over every parameter of an archive of draws."""
    with np.load(path) as held:
        parts = [held[name].reshape(*held[name].shape[:2], -1) for name in held.files]
    draws = np.concatenate(parts, axis=2)
    moving = draws.std(axis=(0, 1)) > 0
    found = draws[:, :, moving]
    return {
        "ess": float(statistics.ess_bulk(found).min()),
        "rhat": float(statistics.rhat_rank(found).max()),
        "parameters": int(moving.sum()),
    }


def run(command: list[str], environment: dict[str, str]) -> dict[str, Any]:
    """One contestant in a new process; what it says, and how good its draws are."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "draws.npz"
        try:
            done = subprocess.run(
                [*command, str(out)], capture_output=True, text=True, check=False,
                timeout=_LONGEST, env=os.environ | environment,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return {"absent": f"did not end in {_LONGEST} s"}
        if done.returncode:
            return {"absent": done.stderr.strip().splitlines()[-1][:200]}
        return json.loads(done.stdout.strip().splitlines()[-1]) | judged(out)


def contest(names: list[str], runs: int, engines: list[str]) -> dict[str, Any]:
    """Every model by every contestant, in turns; kept after each, as a run may be cut off."""
    report: dict[str, Any] = json.loads(REPORT.read_text()) if REPORT.exists() else {}
    report["machine"] = machine()
    for name in names:
        table, formula = GROUPED[name]
        path = ROWS / f"{table}.csv"
        for seed in range(1, runs + 1):
            turns = {"bayesmix": ([sys.executable, str(PEERS / "own_nuts.py"), str(path), formula,
                                   str(seed)], CHECKOUT)}  # fmt: skip
            for engine in engines:
                command = [str(VENV / "bin" / "python"), str(PEERS / "own_bambi.py"), str(path),
                           formula, engine, str(seed)]  # fmt: skip
                turns[f"bambi, {engine}"] = (command, {})
            for who, (command, environment) in turns.items():
                found = run(command, environment)
                report.setdefault(name, {}).setdefault(who, []).append(found)
                print(f"  {name}, {who}: {found}", flush=True)
                REPORT.write_text(json.dumps(report, indent=1))
    return report


def main() -> None:
    """Fit by turns, and keep what was measured for the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--only", nargs="*", default=list(MODELS))
    parser.add_argument("--engines", nargs="*", default=list(ENGINES))
    parser.add_argument("--install", action="store_true")
    asked = parser.parse_args()
    if asked.install:
        install()
    ROWS.mkdir(parents=True, exist_ok=True)
    for name, table in tables().items():
        table.to_csv(ROWS / f"{name}.csv", index=False)
    contest(asked.only, asked.runs, asked.engines)


if __name__ == "__main__":
    main()
