"""Several contests of one benchmark: held by turns, printed as tables, written as JSON."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from census_peers import BUILD, install, machine
from contest import Contestant, Settings, by_turns, launch

EXTRAS = BUILD / "extras"


def row(runs: list[dict[str, Any]]) -> dict[str, list[float]]:
    """Median, least and greatest of every number that a contestant said."""
    found = {}
    for key in runs[0]:
        values = [run[key] for run in runs if isinstance(run[key], (int, float))]
        if values:
            found[key] = [float(np.median(values)), float(min(values)), float(max(values))]
    return found


def ratios(runs: dict[str, list[dict[str, Any]]], ours: str, key: str) -> dict[str, list[float]]:
    """Each one's ``key`` over ours, round by round: median, least, greatest.

    A slow peer has the first round alone; where we could not be measured there is no ratio.
    """
    if ours not in runs:
        return {}
    found = {}
    for name, own in runs.items():
        pairs = [theirs[key] / mine[key] for mine, theirs in zip(runs[ours], own, strict=False)]
        found[name] = [float(np.median(pairs)), float(min(pairs)), float(max(pairs))]
    return found


def shown(values: list[float]) -> str:
    """Median (least-greatest)."""
    middle, low, high = values
    return f"{middle:.4g} ({low:.4g}-{high:.4g})"


def show(
    name: str, ours: str, runs: dict[str, list[dict[str, Any]]], absent: dict[str, str]
) -> None:
    """Print what each contestant said, and its times over ours."""
    print(f"\n{name}")
    for who, own in runs.items():
        numbers = "  ".join(f"{k} {shown(v)}" for k, v in row(own).items())
        print(f"  {who:16} {numbers}")
    for key in ("seconds", "wall"):
        for who, ratio in ratios(runs, ours, key).items():
            print(f"  {key} over ours: {who:16} {shown(ratio)}")
    for who, reason in absent.items():
        print(f"  absent: {who}: {reason}", flush=True)


def hold(
    contests: dict[str, Sequence[Contestant]],
    *,
    packages: Sequence[str],
    report: str,
    prepare: Callable[[], None] = lambda: None,
) -> None:
    """Hold the contests that the command line asks for.

    ``packages`` are the peers' and go beside the environment, not into it; ``prepare`` writes
    what contestants read.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", nargs="+", default=list(contests), choices=list(contests))
    parser.add_argument("--without", nargs="+", default=[], help="contestants to leave out")
    parser.add_argument("--install", action="store_true", help="first install the peers")
    parser.add_argument("--timeout", type=float, default=900)
    chosen = parser.parse_args()
    folder = BUILD / "draws"
    folder.mkdir(parents=True, exist_ok=True)
    if chosen.install:
        install()
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target"]
        subprocess.run([*command, str(EXTRAS), *packages], check=True)
    prepare()
    settings = Settings(chosen.runs, 1, 1000, chosen.timeout, folder)
    written: dict[str, Any] = {"machine": machine()}
    for name in chosen.only:
        contestants = [c for c in contests[name] if c.name not in chosen.without]
        runs, absent = by_turns(contestants, settings, partial(launch, settings=settings))
        show(name, contestants[0].name, runs, absent)
        written[name] = {"runs": runs, "absent": absent}
        (BUILD / report).write_text(json.dumps(written, indent=1))
