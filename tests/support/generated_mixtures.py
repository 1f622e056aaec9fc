"""Generated mixtures of experts, and a judge of what the sampler makes of them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

FAMILIES = ("gaussian", "poisson", "binomial")
FINE = 1.01
SAME = 0.5
"""Nats below the highest point known from which on a chain counts as elsewhere."""
CLIMBED = 6
"""Draws of each chain that are climbed from."""
LEAST = 1 / 25
"""Curvature at least: that of the widest prior."""


@dataclass(frozen=True, eq=False)
class Problem:
    """Rows of a mixture of experts, and the coefficients that they were drawn with."""

    number: int
    family: str
    n_experts: int
    rows: pd.DataFrame
    formula: str
    truth: dict[str, np.ndarray]


def problem(number: int) -> Problem:
    """One problem of the recipe; the seed is the number.

    Predictors are standard normal, gate coefficients N(0, 1.5), locs N(0, 2), log scales
    N(-0.7, 0.4), one an expert. Poisson locs are 0.4 of that and one more, so that counts stay
    below some ten thousand; binomial rows have 1 to 30 trials.
    """
    family, k = FAMILIES[number % 3], (2, 3, 4)[number // 3 % 3]
    rng = np.random.default_rng([11, number])
    n, p = int(rng.integers(300, 3001)), int(rng.integers(1, 5))
    x = rng.normal(size=(n, p))
    columns = np.column_stack([np.ones(n), x])
    gate, loc = rng.normal(0, 1.5, (p + 1, k)), rng.normal(0, 2, (p + 1, k))
    spread = rng.normal(-0.7, 0.4, k)
    if family == "poisson":
        loc = 0.4 * loc + np.eye(p + 1)[:, :1]
    part = (columns @ gate + rng.gumbel(size=(n, k))).argmax(axis=1)
    centre = (columns @ loc)[np.arange(n), part]
    names = [f"x{j + 1}" for j in range(p)]
    rows = pd.DataFrame(x, columns=names)
    target = "y"
    if family == "gaussian":
        rows["y"] = rng.normal(centre, np.exp(spread)[part])
    elif family == "poisson":
        rows["y"] = rng.poisson(np.exp(centre))
    else:
        rows["trials"] = rng.integers(1, 31, n)
        rows["y"] = rng.binomial(rows["trials"], 1 / (1 + np.exp(-centre)))
        target = "p(y, trials)"
    truth = {"loc": loc, "gate": gate, "scale": spread}
    return Problem(number, family, k, rows, f"{target} ~ {' + '.join(names)}", truth)


def model_of(given: Problem) -> Any:
    """The model without any option but the family and the number of experts."""
    import bayesmix as bm

    return bm.MixtureOfExperts(given.formula, given.n_experts, given.family)


def true_parameters(given: Problem, model: Any, design: Any) -> dict[str, np.ndarray]:
    """The truth as the model's named parameters."""
    from bayesmix.models.experts.equation import Coefficients

    gate, loc = given.truth["gate"].T, given.truth["loc"].T
    spread = np.zeros((given.n_experts, len(design.state.linear[2].labels)))
    if spread.size:
        spread[:, 0] = given.truth["scale"]
    return model.named(Coefficients(loc, gate - gate.mean(axis=0), spread), design)


def heights(given: Problem, fit: Any) -> dict[str, Any]:
    """The log posterior at the highest points known, and uphill from draws of each chain.

    Looked for from the truth, from forty starts of EM with other random numbers than the fit's,
    and from the draws themselves.
    """
    from bayesmix.compiled.density import target
    from bayesmix.maxima.em import best_runs

    model, design = fit.model, fit.design
    density = target(model, design)
    generator = np.random.default_rng([12, given.number])
    em = best_runs(model, design, generator, restarts=40, max_iter=200, tolerance=1e-7).best
    found = {
        "truth": summit(density, model, design, true_parameters(given, model, design)),
        "em": summit(density, model, design, em.params),
    }
    posterior = fit.tree["posterior"]
    chains = []
    for chain in range(posterior.sizes["chain"]):
        own = []
        for draw in np.linspace(0, posterior.sizes["draw"] - 1, CLIMBED).astype(int):
            at = posterior.isel(chain=chain, draw=draw)
            params = {str(name): value.to_numpy() for name, value in at.data_vars.items()}
            own.append(summit(density, model, design, params))
        chains.append(own)
    return {**found, "chains": chains}


def summit(density: Any, model: Any, design: Any, params: Any) -> list[float]:
    """The log posterior at the mode uphill from a point, and the log mass about it by Laplace."""
    from bayesmix.maxima.climb import climb, curvature

    names = {name: model.free_name(name) for name in model.dims(design)}
    free = model.free({name: params[name] for name in names}, design)
    bounded = {key: np.clip(free[key], -15, 15) for key in names.values()}
    found = climb(density.log_density, density.point(bounded), max_iter=2000, tolerance=1e-5)
    values = np.linalg.eigvalsh(-curvature(density.log_density, found.point))
    width = -0.5 * np.log(np.maximum(values, LEAST)).sum() + 0.5 * len(values) * np.log(2 * np.pi)
    return [float(found.value), float(found.value + width)]


def judged(record: dict[str, Any]) -> dict[str, Any]:
    """The record with what follows: whether the fit is fine, and whether the verdict is true.

    Chains that agree share their modes; else each must have been to the highest. A higher peak
    with less than a twentieth of their mass is not the mode that draws should be in.
    """
    chains = np.array(record["heights"]["chains"])
    peaks = np.array([record["heights"]["truth"], record["heights"]["em"], *chains.reshape(-1, 2)])
    peak, mass = peaks[peaks[:, 0].argmax()]
    settled = record["rhat"] <= FINE
    groups = chains.reshape(1, -1, 2) if settled else chains
    there = [own[:, 0].max() > peak - SAME or own[:, 1].max() > mass + np.log(20) for own in groups]
    mode = bool(np.all(there))
    followed = record["divergent"] / 4000 < 0.001
    truthful = record["ok"] == (mode and settled and followed)
    short = [float(own[:, 0].max() - peak) for own in chains]
    return {**record, "mode": mode, "settled": settled, "truthful": truthful, "short": short}


def measure(number: int, seed: int | None = None) -> dict[str, Any]:
    """One problem fitted by NUTS with nothing else said, and what became of it."""
    import bayesmix as bm

    given = problem(number)
    start = time.perf_counter(), time.process_time()
    seed = number if seed is None else seed
    fit = bm.fit(model_of(given), given.rows, method="nuts", seed=seed, progress=False)
    wall, processor = time.perf_counter() - start[0], time.process_time() - start[1]
    diagnosis = fit.diagnose()
    table = diagnosis.table
    stats = fit.tree["sample_stats"].to_dataset()
    return judged({
        "number": number, "seed": seed, "family": given.family, "n_experts": given.n_experts,
        "n": len(given.rows), "predictors": given.rows.filter(like="x").shape[1],
        "rhat": float(table["rhat"].max()), "rhat_at": str(table["rhat"].idxmax()),
        "ess": float(table[["ess_bulk", "ess_tail"]].min().min()),
        "divergent": int(stats["diverging"].sum()) if "diverging" in stats else 0,
        "depth": float(stats["tree_depth"].mean()) if "tree_depth" in stats else 0.0,
        "jumps": "diverging" not in stats,
        "lp": [float(v) for v in stats["lp"].mean("draw")],
        "ok": bool(diagnosis.ok), "verdict": diagnosis.verdict,
        "findings": {f.check: [f.level, f.message] for f in diagnosis.findings},
        "wall": wall, "processor": processor, "heights": heights(given, fit),
    })  # fmt: skip
