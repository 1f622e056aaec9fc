"""Run contestants as new processes, by turns, on one clock: the parent's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGKILL
from subprocess import PIPE
from threading import Timer
from time import perf_counter
from typing import Any, TextIO

import numpy as np
from peers.contract import CHAINS, QUANTITIES, Draws, diagnose

SIGNAL = "DIAGNOSED "
Said = dict[str, Any]


@dataclass(frozen=True)
class Contestant:
    """A name, the command before ``SEED DRAWS OUT``, and what a reader of the table must know.

    One that is ``slow`` takes minutes: it is run in the first round alone, without a warm-up,
    which weighs little there.
    """

    name: str
    command: tuple[str, ...]
    note: str = ""
    env: dict[str, str] = field(default_factory=dict)
    slow: bool = False


@dataclass(frozen=True)
class Settings:
    """How a contest is run; ``folder`` takes draws and logs."""

    runs: int
    warm_ups: int
    draws: int
    timeout: float
    folder: Path


class Failed(Exception):
    """A contestant that could not be measured; the message is its last line on stderr."""


def launch(contestant: Contestant, seed: int, out: Path, settings: Settings) -> Said:
    """Start one process; return what it said, and under ``wall`` the seconds until it said so.

    Raises
    ------
    Failed
        If the process cannot be started, ends with an error, or never says DIAGNOSED.
    """
    command = [*contestant.command, str(seed), str(settings.draws), str(out)]
    log = out.with_suffix(".log")
    with log.open("w") as errors:
        try:
            status, said = listen(command, environment(contestant), errors, settings.timeout)
        except OSError as error:
            raise Failed(str(error)) from error
    if status or said is None:
        raise Failed(last_words(log, status))
    return said


def listen(
    command: Sequence[str], env: dict[str, str], errors: TextIO, timeout: float
) -> tuple[int, Said | None]:
    """Run a command to its end, reading the clock when it says DIAGNOSED."""
    said = None
    start = perf_counter()
    with subprocess.Popen(
        command, stdout=PIPE, stderr=errors, text=True, env=env, start_new_session=True
    ) as process:
        # The whole group: a worker that outlived its parent would hold the pipe open.
        killer = Timer(timeout, os.killpg, (process.pid, SIGKILL))
        killer.start()
        try:
            for line in process.stdout or ():
                if line.startswith(SIGNAL):
                    wall = perf_counter() - start
                    said = json.loads(line.removeprefix(SIGNAL)) | {"wall": wall}
        except BaseException:
            os.killpg(process.pid, SIGKILL)
            raise
        finally:
            killer.cancel()
    return process.returncode, said


def environment(contestant: Contestant) -> dict[str, str]:
    """The parent's, but byte code may be cached: a warm disk is what we promise to measure."""
    inherited = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return inherited | contestant.env


def last_words(log: Path, status: int) -> str:
    """The last line of the log that says something."""
    lines = [line.strip() for line in log.read_text().splitlines() if line.strip()]
    return lines[-1][:160] if lines else f"no DIAGNOSED line, exit status {status}"


def by_turns(
    contestants: Sequence[Contestant],
    settings: Settings,
    measure: Callable[[Contestant, int, Path], Said],
) -> tuple[dict[str, list[Said]], dict[str, str]]:
    """Measure A B C ... A B C ...; return runs by name, and why some have none.

    A contestant that fails once is out, with its reason; every other one keeps one run a round,
    a slow one in the first alone, so that ratios may be taken round by round.
    """
    runs: dict[str, list[Said]] = {c.name: [] for c in contestants}
    failures: dict[str, str] = {}
    for turn in range(-settings.warm_ups, settings.runs):
        for contestant in contestants:
            if contestant.name in failures or (contestant.slow and turn):
                continue
            out = settings.folder / f"{contestant.name}-{turn}.csv"
            try:
                result = measure(contestant, 1000 + turn, out)
            except Failed as failed:
                failures[contestant.name] = str(failed)
                say(turn, contestant.name, f"failed: {failed}")
                continue
            say(turn, contestant.name, f"{result['wall']:.2f} s")
            if turn >= 0:
                runs[contestant.name].append(result)
    return {name: r for name, r in runs.items() if name not in failures}, failures


def say(turn: int, name: str, what: str) -> None:
    """Progress, on stderr: a contest takes minutes."""
    label = f"round {turn + 1}" if turn >= 0 else "warm-up"
    print(f"{label}: {name}: {what}", file=sys.stderr, flush=True)


def measure_sampler(contestant: Contestant, seed: int, out: Path, settings: Settings) -> Said:
    """One run of a sampler: what it said, and ArviZ's diagnosis of the draws that it left."""
    said = launch(contestant, seed, out, settings)
    draws = read_draws(out)
    checked = diagnose(draws)
    return {
        "wall": said["wall"],
        "divergences": said["divergences"],
        "ess_per_second": min(checked["ess_bulk"], checked["ess_tail"]) / said["wall"],
        "means": {name: float(x.mean()) for name, x in draws.items()},
        "said": said,
        **checked,
    }


def read_draws(out: Path) -> Draws:
    """Read what a contestant wrote; refuse a table that is not the contest's."""
    with out.open() as file:
        names = [name.strip('"') for name in file.readline().strip().split(",")]
    if names != ["chain", *QUANTITIES]:
        raise Failed(f"{out.name} has columns {names}, expected chain and {QUANTITIES}")
    table = np.loadtxt(out, delimiter=",", skiprows=1).T
    if not np.array_equal(np.unique(table[0]), np.arange(CHAINS)):
        raise Failed(f"{out.name} does not hold {CHAINS} chains")
    return {name: x.reshape(CHAINS, -1) for name, x in zip(QUANTITIES, table[1:], strict=True)}
