"""Time bayesmix beside its peers on the census with varying slopes; README.md tells the rules."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

from contest import Contestant, Settings, by_turns, launch, measure_sampler
from peer_table import (
    OURS,
    best_peer,
    cell,
    column,
    ratio,
    render,
    render_extras,
    spread,
    summarise,
)

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PEERS = HERE / "peers"
BUILD = ROOT / "build" / "benchmarks"
VENV = BUILD / "venv"
CHECKOUT = {"PYTHONPATH": str(ROOT)}
JAX_CACHE = {
    "JAX_PLATFORMS": "cpu",
    "JAX_COMPILATION_CACHE_DIR": str(BUILD / "jax_cache"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}
DECOV = (
    "decov(2), rstanarm's only prior for a covariance, stands for HalfCauchy(2) sds and LKJ(2); "
    "its N(0, 10) is on the intercept at the mean of sex"
)


def python(script: str) -> tuple[str, ...]:
    """The command of a Python script in this interpreter."""
    return sys.executable, str(PEERS / script)


def rscript(script: str) -> tuple[str, ...]:
    """The command of an R script."""
    return "Rscript", str(PEERS / script)


SAMPLERS = (
    Contestant(OURS, python("ours.py"), env=CHECKOUT),
    Contestant("pymc", python("pymc_default.py"), "defaults, non-centred"),
    Contestant("nutpie", python("nutpie_default.py"), "defaults, non-centred"),
    Contestant(
        "numpyro",
        (str(VENV / "bin" / "python"), str(PEERS / "numpyro_nuts.py")),
        "non-centred, 1000 warm-up draws, chains in parallel, float64, compiled code from disk",
        JAX_CACHE,
    ),
    Contestant("rstanarm", rscript("stan_glmer.R"), DECOV),
)
MLE = (
    Contestant("bayesmix-mle", python("ours_mle.py"), env=CHECKOUT),
    Contestant("lme4", rscript("glmer.R")),
)
AGAIN = Contestant("bayesmix-again", python("ours_again.py"), env=CHECKOUT)
ESTIMATES = ("log_likelihood", "a", "b", "sigma_a", "sigma_b", "corr")


def install() -> None:
    """Make the virtual environment of numpyro; the other peers come with the project or with R."""
    subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
    pip = [VENV / "bin" / "python", "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "-r", PEERS / "numpyro.txt"], check=True)


def importing(settings: Settings) -> dict[str, Any]:
    """Seconds that ``import bayesmix`` adds to a new process, by turns with an empty one."""
    said = "; print('DIAGNOSED {}')"
    two = [
        Contestant("empty", (sys.executable, "-c", "pass" + said), env=CHECKOUT),
        Contestant("import", (sys.executable, "-c", "import bayesmix" + said), env=CHECKOUT),
    ]
    runs, failures = by_turns(two, settings, partial(launch, settings=settings))
    if failures:
        return {"absent": failures}
    pairs = zip(column(runs["import"], "wall"), column(runs["empty"], "wall"), strict=True)
    return {"seconds": spread([full - empty for full, empty in pairs])}


def again(settings: Settings) -> dict[str, Any]:
    """Seconds of a second fit in one process, on new counts of the same shape."""
    runs, failures = by_turns([AGAIN], settings, partial(launch, settings=settings))
    if failures:
        return {"absent": failures}
    names = ("first_diagnosed", "second", "second_diagnosed")
    return {name: spread(column(runs[AGAIN.name], name)) for name in names}


def likelihood(settings: Settings) -> dict[str, Any]:
    """Maximum likelihood beside lme4's: wall times, their ratio, and estimates one by one."""
    runs, failures = by_turns(MLE, settings, partial(launch, settings=settings))
    report: dict[str, Any] = {"absent": failures} if failures else {}
    for name, own in runs.items():
        estimates = {key: own[0][key] for key in ESTIMATES}
        report[name] = {"wall": spread(column(own, "wall")), "estimates": estimates}
    if len(runs) == len(MLE):
        ours, theirs = runs.values()
        report["ours_over_lme4_wall"] = ratio(column(ours, "wall"), column(theirs, "wall"))
        report["ours_minus_lme4"] = {key: ours[0][key] - theirs[0][key] for key in ESTIMATES}
    return report


def contest(samplers: list[Contestant], settings: Settings, extras: bool) -> dict[str, Any]:
    """Everything that is measured, ready for JSON."""
    runs, failures = by_turns(samplers, settings, partial(measure_sampler, settings=settings))
    report = {
        "machine": machine(),
        "settings": {"runs": settings.runs, "draws": settings.draws, "chains": 4, "cores": 2},
        "notes": {c.name: c.note for c in samplers},
        "table": summarise(runs),
        "absent": failures,
        "runs": runs,
    }
    if extras:
        report["import"] = importing(settings)
        report["second_fit"] = again(settings)
        report["maximum_likelihood"] = likelihood(settings)
    return report


def machine() -> dict[str, Any]:
    """What the numbers depend on."""
    return {
        "platform": platform.platform(),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load_before": os.getloadavg()[0],
    }


def tell(report: dict[str, Any]) -> str:
    """The report as text."""
    lines = [render(report["table"], report["absent"], report["notes"])]
    best = best_peer(report["table"])
    if best and OURS in report["table"]:
        times = cell(report["table"][best]["ours_over_peer"]["ess_per_second"], ".2f")
        lines.append(f"best peer by ESS/s: {best}; ours over it: {times} (goal 5)")
    if "import" in report:
        lines += render_extras(report)
    return "\n".join(lines)


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    names = [c.name for c in SAMPLERS]
    parser.add_argument("--runs", type=int, default=3, help="counted rounds")
    parser.add_argument("--warm-ups", type=int, default=1, help="uncounted rounds")
    parser.add_argument("--draws", type=int, default=1000, help="draws a chain")
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    parser.add_argument("--no-extras", action="store_true", help="samplers only")
    parser.add_argument("--install", action="store_true", help="first install numpyro, apart")
    parser.add_argument("--timeout", type=float, default=900, help="seconds for one process")
    parser.add_argument("--out", type=Path, default=BUILD, help="folder of results")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run the contest, print the table, write the JSON; 1 if bayesmix itself was not measured."""
    chosen = arguments(argv)
    if chosen.install:
        install()
    draws = chosen.out / "draws"
    draws.mkdir(parents=True, exist_ok=True)
    settings = Settings(chosen.runs, chosen.warm_ups, chosen.draws, chosen.timeout, draws)
    samplers = [c for c in SAMPLERS if c.name in chosen.only]
    report = contest(samplers, settings, extras=not chosen.no_extras)
    file = chosen.out / "census_peers.json"
    file.write_text(json.dumps(report, indent=1))
    print(tell(report), f"written to {file}", sep="\n")
    return int(OURS in report["absent"])


if __name__ == "__main__":
    raise SystemExit(main())
