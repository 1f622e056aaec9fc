"""The page docs/own-data.md, out of what the benchmarks on data of others have written."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
from census_peers import BUILD, ROOT
from own_mixtures import COUNT
from own_networks import BEST_SETTING, CGMM, KNOWN

_ARRIVED = 1.05
"""R-hat above which draws are not of the posterior, and their number says nothing."""
PAGE = ROOT / "docs" / "own-data.md"
HEAD = """# On data that nobody here chose

`make bench-own` fits the data sets of other packages, as an analyst would, by calls without
options, beside the tools that they would have used, and writes this page. The data stand beside
the project (`shared/data/own`), not in it. Seconds are of the processor; only their ratios mean
anything on another machine.
"""


def rows(header: list[str], body: list[list[str]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def grouped(report: dict[str, Any]) -> str:
    """Group effects beside lme4."""
    body = []
    for name, own in report["grouped"].items():
        peer = report["lme4"].get(name)
        theirs = [f"{peer['log_likelihood']:.4f}", f"{peer['seconds']:.2f}",
                  f"{own['seconds'] / peer['seconds']:.2f}"] if peer else ["", "", ""]  # fmt: skip
        sds = ", ".join(f"{value:.4f}" for value in own["sds"])
        body.append([name, f"{own['log_likelihood']:.4f}", sds, f"{own['seconds']:.2f}", *theirs])
    header = ["model", "log-likelihood", "sds", "seconds", "lme4", "its seconds", "ratio"]
    return "## Group effects by maximum likelihood\n\n" + rows(header, body)


def mixtures(report: dict[str, Any]) -> str:
    """Mixtures of regressions beside flexmix and mixtools."""
    body = [
        [name, f"{own['log_likelihood']:.3f}", f"{own['seconds']:.2f}", f"{own['known']:.3f}",
         own["peer"]]
        for name, own in report["mixtures"].items()
    ]  # fmt: skip
    header = ["model", "log-likelihood", "seconds", "best that the peer printed", "peer"]
    return "## Mixtures of regressions by EM\n\n" + rows(header, body)


def networks(report: dict[str, Any]) -> str:
    """Networks by a default call beside what is known of peers."""
    body = []
    for name, runs in report["splits"].items():
        mean = {key: float(np.mean([run[key] for run in runs])) for key in ("nll", "line")}
        spread = float(np.std([run["nll"] for run in runs], ddof=1)) if len(runs) > 1 else 0.0
        seconds = float(np.mean([run["processor_seconds"] for run in runs]))
        known = dict(KNOWN[name])
        if name in BEST_SETTING:
            known["best setting before"] = BEST_SETTING[name]
        peers = ", ".join(f"{peer} {value:.2f}" for peer, value in known.items())
        body.append([name, str(len(runs)), f"{mean['nll']:.3f} (sd {spread:.3f})",
                     f"{mean['line']:.3f}", peers, f"{seconds:.0f}"])  # fmt: skip
    header = ["set", "splits", "test NLL", "straight line", "peers", "seconds"]
    text = "## Networks: one call without options\n\n" + rows(header, body)
    table = [
        [name, f"{-run['nll']:.3f}", f"{-run['line']:.3f}", f"{CGMM[name]:.3f}"]
        for name, run in report["table"].items()
    ]
    header = ["set", "held-out log-likelihood a row", "straight line", "cgmm, as published"]
    note = (
        "\nThe class among the predictors and a scaler over all rows are the publisher's choices.\n"
    )
    return text + "\n" + rows(header, table) + note


def generated(report: dict[str, Any]) -> str:
    """Draws of generated mixtures of experts, by family and number of experts."""
    every = list(report["problems"].values())
    groups = sorted({(run["family"], run["n_experts"]) for run in every})
    body = [
        [*map(str, group), *_counted([r for r in every if (r["family"], r["n_experts"]) == group])]
        for group in groups
    ]
    header = ["experts", "K", "problems", "R-hat <= 1.01", "best known mode", "both",
              "verdict true", "can be used", "by jumps", "median seconds"]  # fmt: skip
    note = (
        "\nRows, predictors and coefficients are drawn anew for each (`own_mixtures.py` has the "
        "recipe). The best known mode is the highest found from the truth, from forty starts of EM "
        "and from the draws. A verdict is true that passes a fit with both and few divergences, "
        "and no other. By jumps: chains that did not agree were replaced by independence chains.\n"
    )
    missing = sorted(set(range(COUNT)) - {run["number"] for run in every})
    if missing:
        note += (
            f"\nNot measured of {COUNT}: {', '.join(map(str, missing))}. {report.get('note', '')}\n"
        )
    table = rows(header, [*body, ["all", "", *_counted(every)]])
    return "## Draws of generated mixtures of experts\n\n" + table + note


def _counted(runs: list[dict[str, Any]]) -> list[str]:
    both = sum(run["settled"] and run["mode"] for run in runs)
    settled, mode, true, ok, jumps = (
        sum(bool(run[key]) for run in runs)
        for key in ("settled", "mode", "truthful", "ok", "jumps")
    )
    seconds = float(np.median([run["processor"] for run in runs]))
    numbers = (len(runs), settled, mode, both, true, ok, jumps)
    return [*map(str, numbers), f"{seconds:.1f}"]


def samplers(report: dict[str, Any]) -> str:
    """Draws of models with group effects beside bambi."""
    body, first = [], []
    for name, runs in report.items():
        if name == "machine":
            continue
        ours = [run for run in runs["bayesmix"] if "ess" in run]
        rate = float(np.median([run["ess"] / run["second"]["wall"] for run in ours]))
        body.append([name, "bayesmix", *_draws(ours), f"{_median(ours, _warm):.2f}",
                     f"{rate:.0f}", ""])  # fmt: skip
        ratios = [run["first"]["wall"] / run["second"]["wall"] for run in ours]
        first.append(f"{name} {float(np.median(ratios)):.1f}")
        for who in (who for who in runs if who != "bayesmix"):
            theirs = [run for run in runs[who] if "ess" in run]
            if not theirs:
                body.append([name, who, runs[who][-1]["absent"], "", "", "", "", ""])
                continue
            own = float(np.median([run["ess"] / _sampling(run) for run in theirs]))
            arrived = max(run["rhat"] for run in theirs) <= _ARRIVED
            said = f"{rate / own:.1f}" if arrived else "did not arrive"
            seconds = f"{_median(theirs, _sampling):.2f}"
            body.append([name, who, *_draws(theirs), seconds, f"{own:.0f}", said])
    header = ["model", "by", "least bulk ESS", "largest R-hat", "divergences", "seconds",
              "ESS a second", "ours / theirs"]  # fmt: skip
    note = (
        "\nFour chains of 1,000 draws after 1,000 of warm-up on two cores, default priors of each. "
        "Seconds are of the clock: of a whole second `fit` call for bayesmix, search for a start "
        "and all; for bambi with nutpie of its sampler alone, without the 10 to 20 s that it "
        "compiles in each process; with numpyro as it reports them, compiling included.\n"
        "\nA first fit of a formula in a new process, over the second: " + ", ".join(first) + ".\n"
    )
    return "## Draws of models with group effects\n\n" + rows(header, body) + note


def _draws(runs: list[dict[str, Any]]) -> list[str]:
    ess, rhat = (float(np.median([run[key] for run in runs])) for key in ("ess", "rhat"))
    return [f"{ess:.0f}", f"{rhat:.4f}", str(sum(run["divergences"] for run in runs))]


def _median(runs: list[dict[str, Any]], seconds: Callable[[dict[str, Any]], float]) -> float:
    return float(np.median([seconds(run) for run in runs]))


def _warm(run: dict[str, Any]) -> float:
    return run["second"]["wall"]


def _sampling(run: dict[str, Any]) -> float:
    """Seconds of a peer's sampler alone, where it says so."""
    return run["sampling"] or run["wall"]


MAKERS: tuple[tuple[str, str, Callable[[dict[str, Any]], str]], ...] = (
    ("own_models", "Group effects by maximum likelihood", grouped),
    ("own_samplers", "Draws of models with group effects", samplers),
    ("own_models", "Mixtures of regressions by EM", mixtures),
    ("own_networks", "Networks: one call without options", networks),
    ("own_mixtures", "Draws of generated mixtures of experts", generated),
)


def main() -> None:
    """Write the page of what has been measured; what has not keeps the section that it had."""
    before = {part.split("\n", 1)[0]: "## " + part for part in PAGE.read_text().split("## ")[1:]}
    parts = [HEAD]
    for name, title, make in MAKERS:
        path = BUILD / f"{name}.json"
        if path.exists():
            parts.append(make(json.loads(path.read_text())))
        elif title in before:
            parts.append(before[title].rstrip() + "\n")
    PAGE.write_text("\n".join(parts))
    print(f"wrote {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
