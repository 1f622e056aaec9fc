"""Fits that take minutes, and what becomes of one that is interrupted: run as a script, a fit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import bayesmix as bm

HOME = Path(bm.__file__).parents[1]
BEGUN, RAISED = "begun", "raised"
"""What a fit prints when its main phase has begun, and when it sees the KeyboardInterrupt."""
_PATIENCE = 300.0
"""Seconds within which a fit begins, compiling included, on a machine that does other things."""
_LONGEST = 60.0
"""Seconds after which a fit that did not end is killed."""
_PAUSE = 1.0
"""Seconds in the main phase before the interrupt comes."""


def census() -> tuple[Any, pd.DataFrame]:
    """A regression of 14 rows with groups."""
    return bm.BinomialGLM("p(high, total) ~ sex + (sex | edu)"), bm.datasets.census()


def lines() -> pd.DataFrame:
    """Four thousand rows around two lines."""
    rng = np.random.default_rng(0)
    x, z, side = rng.normal(size=4000), rng.normal(size=4000), rng.random(4000) < 0.5
    return pd.DataFrame({"x": x, "z": z, "y": np.where(side, x, -x) + rng.normal(0, 0.3, 4000)})


def experts() -> tuple[Any, pd.DataFrame]:
    """A mixture of three experts of those rows."""
    return bm.MixtureOfExperts("y ~ x + z", 3, gate="x + z"), lines()


def network(*hidden: int) -> Callable[[], tuple[Any, pd.DataFrame]]:
    """A network with layers of that many units, of those rows."""
    return lambda: (bm.MDN(("x", "z"), "y", 3, hidden=hidden), lines())


def endless(**options: Any) -> Any:
    """Maximum likelihood by a quasi-Newton method that takes many steps."""
    return bm.MLE(optimizer=bm.LBFGS(max_iter=100_000), **options)


Case = tuple[Callable[[], tuple[Any, pd.DataFrame]], Callable[[], Any], str]
"""Model and data, the method, and the phase in which the interrupt comes."""
CASES: dict[str, Case] = {
    "nuts": (census, lambda: bm.NUTS(draws=200_000), "sample"),
    "advi": (census, lambda: bm.ADVI(steps=2_000_000), "advi"),
    "em": (experts, lambda: bm.EM(restarts=2000, max_iter=10_000, tolerance=0), "em"),
    "network, L-BFGS": (network(40, 40), lambda: endless(restarts=4), "train"),
}
SLOW: dict[str, Case] = {
    "nuts, PyMC": (census, lambda: bm.NUTS(draws=200_000, sampler="pymc", cores=1), "sample"),
    "nuts, PyMC, processes": (
        census, lambda: bm.NUTS(draws=200_000, sampler="pymc", cores=2), "sample"
    ),
    "nuts, experts": (experts, lambda: bm.NUTS(draws=200_000), "sample"),
    "advi, compiling": (census, lambda: bm.ADVI(steps=2_000_000), "compile"),
    "nuts, PyMC, compiling": (census, lambda: bm.NUTS(sampler="pymc", cores=1), "compile"),
    "advi, full rank": (
        census, lambda: bm.ADVI(steps=2_000_000, covariance="fullrank"), "advi"
    ),
    "advi, batches": (experts, lambda: bm.ADVI(steps=5_000_000, batch_size=100), "advi"),
    "advi, network": (network(20), lambda: bm.ADVI(steps=500_000), "advi"),
    "advi, network, full rank": (
        network(8), lambda: bm.ADVI(steps=100_000, covariance="fullrank"), "advi"
    ),
    "dadvi": (
        experts,
        lambda: bm.DADVI(fixed_draws=4000, max_iter=100_000, tolerance=1e-12),
        "maximise",
    ),
    "dadvi, full rank": (
        experts,
        lambda: bm.DADVI(
            fixed_draws=4000, covariance="fullrank", max_iter=100_000, tolerance=1e-12
        ),
        "maximise",
    ),
    "dadvi, network": (network(20, 20), lambda: bm.DADVI(max_iter=100_000), "maximise"),
    "laplace": (experts, lambda: bm.Laplace(restarts=100_000), "maximise"),
    "laplace, network": (network(20, 20), lambda: bm.Laplace(), "maximise"),
    "map": (experts, lambda: bm.MAP(restarts=1_000_000), "maximise"),
    "map, network": (network(20, 20), lambda: bm.MAP(restarts=3), "maximise"),
    "mle": (
        lambda: (bm.BinomialGLM("p(high, total) ~ sex"), bm.datasets.census()),
        lambda: bm.Ensemble(bm.MLE(), members=100_000), "ensemble",
    ),
    "mle, groups": (census, lambda: bm.Ensemble(bm.MLE(), members=100_000), "ensemble"),
    "network, Adam": (
        network(40, 40), lambda: bm.MLE(optimizer=bm.Adam(epochs=100_000)), "train"
    ),
    "ensemble, networks": (
        network(40, 40), lambda: bm.Ensemble(endless(restarts=1), members=5), "train"
    ),
    "ensemble, em": (
        experts, lambda: bm.Ensemble(bm.EM(restarts=50), members=500, bootstrap=True), "ensemble"
    ),
}  # fmt: skip


@dataclass(frozen=True)
class End:
    """How a fit ended: seconds from the signal to the end, by the clock and of processor time."""

    status: int
    wall: float
    processor: float
    output: str
    errors: str


def interrupted(name: str, folder: Path) -> End:
    """Start a fit, interrupt it and its processes as a terminal does, and wait for its end."""
    command = [sys.executable, __file__, name, str(folder)]
    environment = os.environ | {"PYTHONPATH": str(HOME)}
    with open(folder.with_suffix(".errors"), "w+") as errors, subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=errors, start_new_session=True, env=environment
    ) as running:  # fmt: skip
        try:
            return _interrupted(running, errors)
        finally:
            if running.returncode is None:
                os.killpg(running.pid, signal.SIGKILL)


def _interrupted(running: subprocess.Popen[bytes], errors: Any) -> End:
    assert running.stdout is not None
    deadline = time.monotonic() + _PATIENCE
    os.set_blocking(running.stdout.fileno(), False)
    output = b""
    while BEGUN.encode() not in output and running.poll() is None:
        assert time.monotonic() < deadline, f"the fit did not begin: {output!r}"
        output += running.stdout.read() or b""
        time.sleep(0.02)
    time.sleep(_PAUSE)
    before, sent = _processor_time(running.pid), time.monotonic()
    os.killpg(running.pid, signal.SIGINT)
    while (found := os.wait4(running.pid, os.WNOHANG))[0] == 0:
        assert time.monotonic() < sent + _LONGEST, "the fit did not end"
        time.sleep(0.005)
    wall = time.monotonic() - sent
    running.returncode = os.waitstatus_to_exitcode(found[1])
    output += running.stdout.read() or b""
    errors.seek(0)
    used = found[2].ru_utime + found[2].ru_stime - before
    return End(running.returncode, wall, used, output.decode(), errors.read())


def _processor_time(group: int) -> float:
    """Seconds that all processes of a group have used, as Linux counts; elsewhere infinity."""
    total = 0
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        if int(fields[2]) == group:
            total += sum(map(int, fields[11:15]))
    return total / os.sysconf("SC_CLK_TCK") if total else -np.inf


def _fit(name: str, folder: str) -> None:
    """Run a fit that says when its phase has begun and when it is interrupted."""
    from bayesmix import workflow

    make, method, awaited = (CASES | SLOW)[name]

    @contextmanager
    def reporter(wanted: bool) -> Iterator[Callable[[str, float], None]]:
        del wanted

        def report(phase: str, share: float) -> None:
            del share
            if phase.startswith(awaited):
                print(BEGUN, flush=True)

        yield report

    workflow.reporter = reporter
    model, data = make()
    try:
        bm.fit(model, data, method=method(), seed=1, cache=folder)
    except KeyboardInterrupt:
        print(RAISED, flush=True)
        raise


if __name__ == "__main__":
    # a shell starts what runs in the background with interrupts ignored, and children inherit that
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _fit(*sys.argv[1:])
