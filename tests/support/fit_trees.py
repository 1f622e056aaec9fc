"""Small result trees, good ones and spoilt ones, as the fits of every engine leave them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xarray as xr

from bayesmix.diagnostics.diagnosis import Diagnosis
from bayesmix.diagnostics.finding import Finding

SAMPLE = ("chain", "draw")
EDU = ["Some HS", "HS Grad", "Masters"]
EFFECTS = ["Intercept", "sex"]
TREND_TRACE = np.random.default_rng(3).normal(-100, 5, 4000)

Change = Callable[[dict[str, xr.Dataset]], None]


def ar1(shape: tuple[int, ...], phi: float, rng: np.random.Generator) -> np.ndarray:
    """Stationary chains of sd 1 along the second axis."""
    noise = rng.normal(size=shape)
    draws = np.empty(shape)
    draws[:, 0] = noise[:, 0]
    for t in range(1, shape[1]):
        draws[:, t] = phi * draws[:, t - 1] + np.sqrt(1 - phi**2) * noise[:, t]
    return draws


def correlation(rho: np.ndarray) -> np.ndarray:
    """A 2 x 2 correlation matrix for each entry of ``rho``."""
    return np.stack([np.stack([rho**0, rho], -1), np.stack([rho, rho**0], -1)], -1)


def good_groups(m: int = 4, n: int = 1000, seed: int = 1, phi: float = 0.3) -> dict:
    """A posterior and sampler statistics that every check should pass."""
    rng = np.random.default_rng(seed)
    values = {
        "Intercept": (SAMPLE, ar1((m, n), phi, rng)),
        "1|edu": ((*SAMPLE, "edu"), ar1((m, n, 3), phi, rng)),
        "sigma_edu": ((*SAMPLE, "effect"), np.exp(0.3 * ar1((m, n, 2), phi, rng))),
        "corr_edu": (
            (*SAMPLE, "effect", "effect_"),
            correlation(np.tanh(ar1((m, n), phi, rng))),
        ),
    }
    coords = {"edu": EDU, "effect": EFFECTS, "effect_": EFFECTS}
    stats = {
        "diverging": (SAMPLE, np.zeros((m, n), dtype=bool)),
        "energy": (SAMPLE, 30 + ar1((m, n), 0.2, rng)),
        "tree_depth": (SAMPLE, rng.integers(2, 6, (m, n))),
    }
    return {"posterior": xr.Dataset(values, coords), "sample_stats": xr.Dataset(stats)}


def tree_of(groups: dict[str, xr.Dataset], **attrs: object) -> xr.DataTree:
    """Groups with root attributes."""
    tree = xr.DataTree.from_dict(groups)
    tree.attrs.update(attrs)
    return tree


def good_tree(change: Change | None = None, **sizes: int | float) -> xr.DataTree:
    """The good posterior, or one that a change has spoilt."""
    groups = good_groups(**sizes)  # type: ignore[arg-type]
    if change:
        change(groups)
    return tree_of(groups, engine="mcmc", max_treedepth=10)


def found(diagnosis: Diagnosis, check: str) -> Finding:
    """The one finding of that check."""
    (finding,) = [finding for finding in diagnosis.findings if finding.check == check]
    return finding


def shift_a_chain(groups: dict) -> None:
    """One chain in another place, in one parameter."""
    groups["posterior"]["1|edu"][2, :, 0] += 1


def freeze_energy(groups: dict) -> None:
    """One chain that creeps between energies."""
    energy = groups["sample_stats"]["energy"]
    energy[1] = ar1((1, energy.shape[1]), 0.95, np.random.default_rng(6))[0]


def deepen(groups: dict) -> None:
    """Every twentieth trajectory at the depth limit."""
    groups["sample_stats"]["tree_depth"][:, ::20] = 10


def drift(groups: dict) -> None:
    """Chains that start half a unit off: too little for R-hat to see."""
    for name in ("Intercept", "1|edu"):
        groups["posterior"][name][:, :100] += 0.5


def stick(groups: dict) -> None:
    """One chain that stands still in one parameter."""
    groups["posterior"]["Intercept"][3] = 0.1


def poison(groups: dict) -> None:
    """One draw that is not a number."""
    groups["posterior"]["1|edu"][0, 5, 1] = np.nan


def approximation(
    log_weight: np.ndarray | None = None, elbo: np.ndarray | None = None, **more: object
) -> xr.DataTree:
    """A tree as a variational method leaves it."""
    groups = {"posterior": good_groups(m=1, n=2000)["posterior"]}
    if log_weight is not None:
        groups["sample_stats"] = xr.Dataset({"log_weight": (SAMPLE, log_weight[None])})
    fit_stats = {"elbo": ("iteration", TREND_TRACE if elbo is None else elbo), **more}
    groups["fit_stats"] = xr.Dataset(fit_stats)
    return tree_of(groups, engine="independent")


def weights(scale: float) -> np.ndarray:
    """Log importance ratios of that sd."""
    return scale * np.random.default_rng(2).normal(size=2000)


def point(
    rho: float = -0.8,
    sigma: float = 0.06,
    how: str = "quadrature",
    nodes: int = 1,
    **stats: object,
) -> xr.DataTree:
    """A tree as maximum likelihood leaves it."""
    values = {
        "Intercept": ((), -1.78),
        "1|edu": ("edu", np.array([-2.2, -1.0, 1.1])),
        "sigma_edu": ("effect", np.array([1.26, sigma])),
        "corr_edu": (("effect", "effect_"), correlation(np.array(rho))),
    }
    coords = {"edu": EDU, "effect": EFFECTS, "effect_": EFFECTS}
    errors = xr.Dataset({"Intercept": ((), 0.48), "1|edu": ("edu", np.full(3, 0.05))}, coords)
    trace = {"log_likelihood": ("iteration", np.array([-300.0, -90.0, -79.72]))}
    restarts = ("restart", np.array([-79.72, -79.7201, -85.0]))
    defaults = {"gradient_norm": 1e-6, "restart_log_likelihood": restarts}
    defaults |= {f"approximation_{name}": 0.02 for name in ("error", "uncertainty", "shift")}
    groups = {
        "estimate": xr.Dataset(values, coords),
        "standard_error": errors,
        "fit_stats": xr.Dataset(trace | defaults | stats),
    }
    way = {"approximation": how, "approximation_where": "sigma_edu[sex]", "n_quadrature": nodes}
    return tree_of(groups, engine="point", **way)
