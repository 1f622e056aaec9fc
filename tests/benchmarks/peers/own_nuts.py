"""Contestant: bayesmix by defaults, twice. Called as CSV FORMULA SEED OUT; the second is warm."""

import json
import sys
import time

import numpy as np
import pandas as pd

import bayesmix as bm


def main() -> None:
    """Fit in a new process, and again: the first compiles what is not in the cache."""
    path, formula, seed, out = sys.argv[1:]
    data, said = pd.read_csv(path), {}
    for turn in ("first", "second"):
        wall, processor = time.perf_counter(), time.process_time()
        fit = bm.fit(bm.BinomialGLM(formula), data, method="nuts", seed=int(seed), progress=False)
        said[turn] = {
            "wall": time.perf_counter() - wall,
            "processor": time.process_time() - processor,
        }
    posterior, stats = fit.tree["posterior"], fit.tree["sample_stats"]
    said["divergences"] = int(stats["diverging"].to_numpy().sum()) if "diverging" in stats else 0
    said["ok"] = bool(fit.diagnose().ok)
    np.savez(out, **{str(name).replace("/", "_"): posterior[name] for name in posterior.data_vars})
    print(json.dumps(said))


main()
