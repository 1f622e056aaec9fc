"""How EM, DADVI and ADVI in batches grow with rows and experts; each fit is a new process."""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

BUILD = Path(__file__).resolve().parents[2] / "build" / "benchmarks"
METHODS = ("em", "dadvi", "batches")


def one(method: str, n: int, k: int) -> dict[str, float]:
    """Fit k lines to n rows: seconds in the fit, and what it adds to the process's peak memory."""
    import pandas as pd

    import bayesmix as bm

    rng = np.random.default_rng(n + k)
    x, part = rng.uniform(-1, 1, n), rng.integers(k, size=n)
    height, slope = np.linspace(-3, 3, k), rng.uniform(-1, 1, k)
    y = height[part] + slope[part] * x + rng.normal(0, 0.15, n)
    data = pd.DataFrame({"x": x, "y": y})
    model = bm.MixtureOfExperts("y ~ x", n_experts=k, scale="constant")
    chosen = {"em": "em", "dadvi": "dadvi", "batches": bm.ADVI(batch_size=1000, steps=2000)}[method]
    bm.fit(model, data.iloc[:500], method=chosen, seed=0, progress=False)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    bm.fit(model, data, method=chosen, seed=0, progress=False)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": seconds, "added_mib": (peak - before) / 1024, "peak_mib": peak / 1024}


def exponent(sizes: list[int], values: list[float]) -> float:
    """Slope of log seconds on log size."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def main() -> None:
    """Sweep rows at 3 experts, then experts at 10,000 rows; print seconds, memory, exponents."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", nargs=3, metavar=("METHOD", "N", "K"))
    parser.add_argument("--rows", nargs="+", type=int, default=[1000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--experts", nargs="+", type=int, default=[2, 5, 10, 20])
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    chosen = parser.parse_args()
    if chosen.one:
        method, n, k = chosen.one
        print(json.dumps(one(method, int(n), int(k))))
        return
    report = {}
    for method in chosen.methods:
        for axis, cases in (
            ("rows", [(n, 3) for n in chosen.rows]),
            ("experts", [(10_000, k) for k in chosen.experts]),
        ):
            found = []
            for n, k in cases:
                command = [sys.executable, __file__, "--one", method, str(n), str(k)]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    print(method, n, k, "failed:", done.stderr.strip().splitlines()[-1:])
                    continue
                found.append((n, k, json.loads(done.stdout.splitlines()[-1])))
                print(method, n, k, found[-1][2], flush=True)
            sizes = [case[0] if axis == "rows" else case[1] for case in found]
            if len(sizes) > 1:
                slope = exponent(sizes, [case[2]["seconds"] for case in found])
                print(f"{method}: exponent in {axis} {slope:.2f}", flush=True)
                report[f"{method} by {axis}"] = {"exponent": slope, "cases": found}
    BUILD.mkdir(parents=True, exist_ok=True)
    (BUILD / "scaling.json").write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
