"""One to many, mixtures of experts: ``experts.py ROLE SEED DRAWS OUT``, a function for each role.

Every role prints ``DIAGNOSED {json}``: what it reached, and ``seconds``, the time in the process
without imports; the parent's clock has the rest.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from contract import stop_clock

EXPERTS, FLOOR, WIDE = 3, 0.01, 5.0


def data() -> tuple[np.ndarray, np.ndarray]:
    """x and target of Bishop's inverse problem."""
    noise = np.random.RandomState(42).rand(1000)
    target = np.linspace(0, 1, 1000)
    return target + 0.3 * np.sin(2 * np.pi * target) + 0.05 * noise, target


def pymc_model() -> Any:
    """The model as a reader of the book writes it."""
    import pymc as pm

    x, y = data()
    with pm.Model() as model:
        shape = (2, EXPERTS)
        loc, gate, scale = (pm.Normal(n, 0, WIDE, shape=shape) for n in ("loc", "gate", "scale"))
        at = x[:, None]
        parts = pm.Normal.dist(loc[0] + loc[1] * at, pm.math.exp(scale[0] + scale[1] * at) + FLOOR)
        weight = pm.math.softmax(gate[0] + gate[1] * at, axis=1)
        pm.Mixture("y", w=weight, comp_dists=parts, observed=y)
    return model


def bayesmix_fit(method: Any, seed: int, **options: Any) -> tuple[Any, float]:
    """A fit by bayesmix and its seconds."""
    import bayesmix as bm

    table = bm.datasets.one_to_many()
    book = {"priors": bm.Normal(0, WIDE), "floor": FLOOR}
    model = bm.MixtureOfExperts("target ~ x", n_experts=EXPERTS, **book, **options)
    model.design(table)  # loads what the peers' imports load before their clocks start
    start = time.perf_counter()
    fit = bm.fit(model, table, method=method, seed=seed, progress=False)
    return fit, time.perf_counter() - start


def em(seed: int) -> dict[str, float]:
    """EM, constant scale, as flexmix has it."""
    fit, seconds = bayesmix_fit("em", seed, scale="constant")
    trace = fit.tree["fit_stats"]["log_likelihood"].to_numpy()
    return {"seconds": seconds, "log_likelihood": float(trace[-1])}


def em_linear(seed: int) -> dict[str, float]:
    """EM, linear log-scale, which flexmix does not have."""
    fit, seconds = bayesmix_fit("em", seed)
    trace = fit.tree["fit_stats"]["log_likelihood"].to_numpy()
    return {"seconds": seconds, "log_likelihood": float(trace[-1])}


def dadvi(seed: int) -> dict[str, float]:
    """DADVI from the mode; the ELBO from 10,000 fresh draws is part of the fit."""
    fit, seconds = bayesmix_fit("dadvi", seed)
    return {"seconds": seconds, "elbo": float(fit.tree["fit_stats"]["elbo_final"])}


def pymc_advi(seed: int) -> dict[str, float]:
    """PyMC's 50,000 steps of ADVI, Adam, as in the book."""
    import pymc as pm

    start = time.perf_counter()
    with pymc_model() as model:
        found = pm.fit(
            50_000, obj_optimizer=pm.adam(learning_rate=0.01), random_seed=seed, progressbar=False
        )
    seconds = time.perf_counter() - start
    mean, sd = found.mean.eval(), found.std.eval()
    return {"seconds": seconds, "elbo": fresh_elbo(model, mean, sd, found.ordering)}


def fresh_elbo(model: Any, mean: Any, sd: Any, ordering: Any) -> float:
    """ELBO of a mean-field fit from 2000 fresh draws, outside the clock."""
    draws = np.random.default_rng(0).standard_normal((2000, len(mean)))
    logp = model.compile_logp()
    point_map = {name: (entry[1], entry[2]) for name, entry in ordering.items()}
    values = []
    for z in draws:
        flat = mean + sd * z
        values.append(logp({n: flat[s].reshape(shape) for n, (s, shape) in point_map.items()}))
    entropy = np.log(sd).sum() + 0.5 * len(sd) * (1 + np.log(2 * np.pi))
    return float(np.mean(values) + entropy)


def extras_dadvi(seed: int) -> dict[str, float]:
    """DADVI of pymc_extras, defaults."""
    import pymc_extras as pmx

    model = pymc_model()
    start = time.perf_counter()
    with model:
        tree = pmx.fit(method="dadvi", random_seed=seed, progressbar=False)
    seconds = time.perf_counter() - start
    posterior = getattr(tree, "posterior", None)
    posterior = tree["posterior"] if posterior is None else posterior
    flat = np.concatenate(
        [posterior[n].to_numpy().reshape(-1, 2 * EXPERTS) for n in ("loc", "gate", "scale")], axis=1
    )
    logp = model.compile_logp()
    mean, sd = flat.mean(0), flat.std(0)
    values = []
    for z in np.random.default_rng(0).standard_normal((2000, len(mean))):
        point = (mean + sd * z).reshape(3, 2, EXPERTS)
        values.append(logp(dict(zip(("loc", "gate", "scale"), point, strict=True))))
    entropy = np.log(sd).sum() + 0.5 * len(sd) * (1 + np.log(2 * np.pi))
    return {"seconds": seconds, "elbo": float(np.mean(values) + entropy)}


def judged(draws: dict[str, Any]) -> dict[str, float]:
    """Worst R-hat and least ESS over all coefficients, by ArviZ's array functions."""
    from contract import diagnose

    flat = {}
    for name, values in draws.items():
        values = np.asarray(values).reshape(*values.shape[:2], -1)
        flat |= {f"{name}{j}": values[..., j] for j in range(values.shape[2])}
    return diagnose(flat)


def nuts(seed: int) -> dict[str, float]:
    """NUTS, defaults."""
    fit, seconds = bayesmix_fit("nuts", seed)
    posterior = fit.tree["posterior"]
    return {
        "seconds": seconds,
        "divergences": int(fit.tree["sample_stats"]["diverging"].sum()),
        **judged({name: v.to_numpy() for name, v in posterior.data_vars.items()}),
    }


def sampled(sampler: str) -> Callable[[int], dict[str, float]]:
    """PyMC's model by one of its samplers, defaults."""

    def run(seed: int) -> dict[str, float]:
        import pymc as pm

        start = time.perf_counter()
        with pymc_model():
            tree = pm.sample(
                random_seed=seed, nuts_sampler=sampler, chains=4, cores=2, progressbar=False,
                compute_convergence_checks=False,
            )  # fmt: skip
        seconds = time.perf_counter() - start
        names = ("loc", "gate", "scale")
        diverging = tree["sample_stats"]["diverging"]
        return {
            "seconds": seconds,
            "divergences": int(diverging.sum()),
            **judged({n: tree["posterior"][n].to_numpy() for n in names}),
        }

    return run


def predictive(seed: int) -> dict[str, float]:
    """5,000 predictive draws at the 1,000 points of a DADVI fit."""
    import resource

    fit, _ = bayesmix_fit("dadvi", seed)
    fit.sample(draws=5000, seed=seed)
    start = time.perf_counter()
    fit.sample(draws=5000, seed=seed + 1)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "peak_mib": peak}


def pymc_predictive(seed: int) -> dict[str, float]:
    """The same number of draws by ``pm.sample_posterior_predictive``, from the same posterior."""
    import pymc as pm
    import xarray as xr

    fit, _ = bayesmix_fit("dadvi", seed)
    posterior = fit.tree["posterior"]
    pairs = {n: (f"{p}Intercept", f"{p}x") for n, p in
             (("loc", ""), ("gate", "gate_"), ("scale", "scale_"))}  # fmt: skip
    pick = np.random.default_rng(seed).integers(posterior.sizes["draw"], size=5000)
    values = {
        name: (("chain", "draw", f"{name}_a", f"{name}_b"), np.stack(
            [posterior[a].to_numpy()[:, pick], posterior[b].to_numpy()[:, pick]], axis=2))
        for name, (a, b) in pairs.items()
    }  # fmt: skip
    tree = xr.DataTree.from_dict({"posterior": xr.Dataset(values)})
    with pymc_model():
        seconds = []
        for _ in range(2):
            start = time.perf_counter()
            pm.sample_posterior_predictive(tree, random_seed=seed, progressbar=False)
            seconds.append(time.perf_counter() - start)
    return {"seconds": seconds[-1], "first": seconds[0]}


ROLES: dict[str, Callable[[int], dict[str, float]]] = {
    "em": em,
    "em-linear": em_linear,
    "dadvi": dadvi,
    "pymc-advi": pymc_advi,
    "extras-dadvi": extras_dadvi,
    "nuts": nuts,
    "pymc-nuts": sampled("pymc"),
    "nutpie-nuts": sampled("nutpie"),
    "predictive": predictive,
    "pymc-predictive": pymc_predictive,
}

if __name__ == "__main__":
    stop_clock(**ROLES[sys.argv[1]](int(sys.argv[2])))
