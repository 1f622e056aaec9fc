"""Contestant: bambi. Called as CSV FORMULA ENGINE SEED OUT, where ENGINE is nutpie or numpyro.

It runs in an environment of its own (``own_bambi.txt``); the draws of the parameters that all
contestants share in meaning are written as a NumPy archive (chain, draw) by name.
"""

import json
import sys
import time

import bambi as bmb
import numpy as np
import pandas as pd


def main() -> None:
    """Fit once, and say how long it took in all and in the sampler alone."""
    path, formula, engine, seed, out = sys.argv[1:]
    data = pd.read_csv(path)
    model = bmb.Model(formula, data, family="binomial" if "p(" in formula else "bernoulli")
    wall, processor = time.perf_counter(), time.process_time()
    found = model.fit(
        inference_method=engine, draws=1000, tune=1000, chains=4, cores=2,
        random_seed=int(seed), progressbar=False,
    )  # fmt: skip
    said = {"wall": time.perf_counter() - wall, "processor": time.process_time() - processor}
    posterior = found["posterior"]
    sampling = dict(posterior.attrs).get("sampling_time")
    said["sampling"] = float(sampling) if sampling is not None else None
    stats = found["sample_stats"]
    said["divergences"] = int(np.asarray(stats["diverging"]).sum())
    keep = [name for name in posterior.data_vars if str(name) != "p"]
    np.savez(out, **{str(name).replace("/", "_"): np.asarray(posterior[name]) for name in keep})
    said["version"] = f"bambi {bmb.__version__}, {engine}"
    print(json.dumps(said))


main()
