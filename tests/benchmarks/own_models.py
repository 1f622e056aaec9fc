"""Maximum likelihood and mixtures on data of others, beside lme4, flexmix and mixtools."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from census_peers import BUILD, PEERS, ROOT, machine
from own_data import folder

REPORT = BUILD / "own_models.json"
ROWS = BUILD / "own_rows"
MIXTURES: dict[str, tuple[str, dict[str, Any], str, float, str]] = {
    "tonedata, K = 2": ("tuned ~ stretchratio", {"n_experts": 2, "gate": "1"}, "tonedata",
                        141.1984, "mixtools"),
    "co2, K = 2": ("CO2 ~ GNP", {"n_experts": 2, "gate": "1"}, "co2", -66.9398, "mixtools"),
    "npreg, K = 2": ("yn ~ x + I(x ** 2)", {"n_experts": 2, "gate": "1"}, "npreg", -642.545,
                     "flexmix"),
    "npreg, gate": ("yn ~ x + I(x ** 2)", {"n_experts": 2, "gate": "x + I(x ** 2)"}, "npreg",
                    -640.333, "flexmix"),
    "npreg, Poisson": ("yp ~ x", {"n_experts": 2, "gate": "1", "expert": "poisson"}, "npreg",
                       -440.640, "flexmix"),
    "nodata, NO": ("NO ~ Equivalence", {"n_experts": 2, "gate": "1"}, "nodata", -82.611,
                   "flexmix"),
    "nodata, Equivalence": ("Equivalence ~ NO", {"n_experts": 2, "gate": "1"}, "nodata", 122.025,
                            "flexmix"),
    "patent, K = 3": ("Patents ~ lgRD", {"n_experts": 3, "gate": "RDS", "expert": "poisson"},
                      "patent", -197.675, "flexmix"),
    "patent, K = 4": ("Patents ~ lgRD", {"n_experts": 4, "gate": "RDS", "expert": "poisson"},
                      "patent", -193.878, "flexmix, 30 starts"),
    "geyser, K = 2": ("waiting ~ duration", {"n_experts": 2, "gate": "duration"}, "geyser",
                      -1067.573, "flexmix"),
}  # fmt: skip
"""Formula, options, data, and the best log-likelihood that the peer named was seen to print."""


def own(name: str) -> pd.DataFrame:
    """A table of others."""
    return pd.read_csv(folder(f"{name}.csv"))


def generated(count: int) -> pd.DataFrame:
    """Outcomes of 200 groups; the recipe is that of the page of reference."""
    rng = np.random.default_rng(0)
    g, x, u = rng.integers(0, 200, count), rng.normal(size=count), rng.normal(0, 0.7, 200)
    y = rng.random(count) < 1 / (1 + np.exp(-(-0.3 + 0.5 * x + u[g])))
    return pd.DataFrame({"x": x, "g": g, "y": y.astype(int)})


def tables() -> dict[str, pd.DataFrame]:
    """Every table with the columns that the models read; the same files are given to R."""
    cbpp, bacteria, birthwt = own("cbpp"), own("bacteria"), own("birthwt")
    labels = {"district": "contraception", "id": "verbagg", "mom": "guimmun"}
    found = {name: own(name) for name in labels.values()}
    for column, name in labels.items():
        found[name][column] = found[name][column].map("g{}".format)
    found["guimmun"]["comm"] = found["guimmun"]["comm"].map("c{}".format)
    return found | {
        "cbpp": cbpp.assign(
            period=cbpp["period"].map("p{}".format), row=[f"r{i}" for i in range(len(cbpp))]
        ),
        "bacteria": bacteria.assign(late=(bacteria["week"] > 2).astype(int)),
        "birthwt": birthwt.assign(rid=[f"r{i}" for i in range(len(birthwt))]),
        "generated 1e4": generated(10_000),
        "generated 1e5": generated(100_000),
    }


GROUPED: dict[str, tuple[str, str]] = {
    "cbpp": ("cbpp", "p(incidence, size) ~ period + (1 | herd)"),
    "cbpp, rows": ("cbpp", "p(incidence, size) ~ period + (1 | herd) + (1 | row)"),
    "bacteria": ("bacteria", "y['y'] ~ trt + late + (1 | ID)"),
    "bacteria, independent": ("bacteria", "y['y'] ~ late + (1 | ID) + (0 + late | ID)"),
    "birthwt, rows": ("birthwt", "low ~ age + (1 | rid)"),
    "contraception, slopes": (
        "contraception", "use['Y'] ~ age + I(age ** 2) + urban + livch + (urban | district)"),
    "contraception, nested": (
        "contraception",
        "use['Y'] ~ poly(age, 2) + urban * livch + (1 | district) + (1 | district:urban)"),
    "verbagg": ("verbagg", "r2['Y'] ~ Anger + Gender + btype + situ + (1 | id) + (1 | item)"),
    "guimmun": ("guimmun", "immun['Y'] ~ kid2p + ord + ethn + rural + (1 | comm) + (1 | mom)"),
    "generated 1e4": ("generated 1e4", "y ~ x + (1 | g)"),
    "generated 1e5": ("generated 1e5", "y ~ x + (1 | g)"),
}  # fmt: skip


def clocked(call: Callable[[], Any], runs: int) -> tuple[Any, float]:
    """The last result, and the least processor time of several runs."""
    seconds, found = [], None
    for _ in range(runs):
        start = time.process_time()
        found = call()
        seconds.append(time.process_time() - start)
    return found, min(seconds)


def grouped(data: dict[str, pd.DataFrame], runs: int) -> dict[str, dict[str, Any]]:
    """Every model with group effects by ``mle``: log-likelihood and processor seconds."""
    import bayesmix as bm

    bm.fit(bm.BinomialGLM("y ~ x + (1 | g)"), data["generated 1e4"][:500], method="mle", seed=1)
    found: dict[str, dict[str, Any]] = {}
    for name, (table, formula) in GROUPED.items():
        model = bm.BinomialGLM(formula)
        fit, seconds = clocked(
            lambda m=model, t=table: bm.fit(m, data[t], method="mle", seed=1, progress=False), runs
        )
        estimate = fit.tree["estimate"].to_dataset()
        sds = [v for n in estimate if str(n).startswith("sigma_") for v in np.ravel(estimate[n])]
        value = float(fit.tree["fit_stats"]["log_likelihood"].to_numpy()[-1])
        found[name] = {"log_likelihood": value, "sds": [float(v) for v in sds], "seconds": seconds}
        print(f"  {name}: {value:.4f} in {seconds:.2f} s", flush=True)
    return found


def lme4(data: dict[str, pd.DataFrame]) -> dict[str, dict[str, Any]]:
    """The same models by lme4; empty, with a sentence, where R or lme4 is missing."""
    ROWS.mkdir(parents=True, exist_ok=True)
    for name, table in data.items():
        table.to_csv(ROWS / f"{name}.csv", index=False)
    if shutil.which("Rscript") is None:
        print("  lme4 is left out: there is no Rscript (apt-get install r-cran-lme4)")
        return {}
    command = ["Rscript", str(PEERS / "own_glmer.R"), str(ROWS)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        print(f"  lme4 is left out: {run.stderr.strip().splitlines()[-1]}")
    rows = [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]
    return {row["name"]: row for row in rows}


def mixtures(runs: int) -> dict[str, dict[str, Any]]:
    """Every mixture of regressions by ``em``."""
    import bayesmix as bm

    found: dict[str, dict[str, Any]] = {}
    for name, (formula, options, table, known, peer) in MIXTURES.items():
        model = bm.MixtureOfExperts(formula, scale="constant", floor=0.01, **options)
        rows = own(table)
        fit, seconds = clocked(
            lambda m=model, r=rows: bm.fit(m, r, method="em", seed=1, progress=False), runs
        )
        value = float(fit.tree["fit_stats"]["log_likelihood"].to_numpy()[-1])
        found[name] = {"log_likelihood": value, "seconds": seconds, "known": known, "peer": peer}
        print(f"  {name}: {value:.4f} in {seconds:.2f} s; {peer} {known}", flush=True)
    return found


def main() -> None:
    """Run both, and write every number to ``build/benchmarks/own_models.json``."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=3, help="of each model; the least time counts")
    runs = parser.parse_args().runs
    BUILD.mkdir(parents=True, exist_ok=True)
    data = tables()
    report = {"machine": machine(), "grouped": grouped(data, runs), "lme4": lme4(data)}
    report["mixtures"] = mixtures(runs)
    REPORT.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
