"""Reading back what a figure shows, and fits to draw: synthetic draws near the census posterior."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from small_fits import CENSUS_PRIORS

from bayesmix import datasets, workflow
from bayesmix.inference.advi import ADVI
from bayesmix.inference.em import EM
from bayesmix.inference.mle import MLE
from bayesmix.inference.nuts import NUTS
from bayesmix.models.binomial_glm.spec import BinomialGLM
from bayesmix.protocols import Array, Design, Method, Model, Posterior
from bayesmix.result import Fit
from bayesmix.tree import build

SLOPES = "p(high, total) ~ sex + (sex | edu)"
INTERCEPTS = np.array([-2.16, -0.92, -0.65, 0.33, 0.43, 1.06, 1.84])
STATS = ("chain", "draw")


def draws_of(model: Any, design: Design, shape: tuple[int, int], seed: int) -> dict[str, Array]:
    """Draws of every parameter of a binomial GLM, near the census posterior where it is known."""
    rng = np.random.default_rng(seed)
    params: dict[str, Array] = {}
    for name, dims in model.dims(design).items():
        size = tuple(len(design.coords[dim]) for dim in dims)
        if name.startswith("corr_"):
            rho = np.tanh(rng.normal(-0.2, 0.4, shape))
            one = np.ones(shape)
            params[name] = np.stack([np.stack([one, rho], -1), np.stack([rho, one], -1)], -1)
        elif name.startswith("sigma_"):
            params[name] = np.exp(rng.normal(-1.0, 0.4, (*shape, *size)))
        else:
            params[name] = _centre(name, size) + rng.normal(0.0, 0.05, (*shape, *size))
    return params


def _centre(name: str, size: tuple[int, ...]) -> Any:
    known = {"Intercept": -1.77, "sex": 1.37}
    if name == "1|edu" and size == (7,):
        return INTERCEPTS
    return known.get(name, 0.0)


def sampled(
    formula: str = SLOPES,
    data: pd.DataFrame | None = None,
    *,
    shape: tuple[int, int] = (4, 200),
    seed: int = 1,
    method: Method | None = None,
    divergences: int = 0,
    fit_stats: dict[str, Array] | None = None,
) -> Fit:
    """A fit with draws, as NUTS leaves it, by the book's priors."""
    model = BinomialGLM(formula, CENSUS_PRIORS)
    design = model.design(datasets.census() if data is None else data)
    rng = np.random.default_rng(seed + 1)
    bad = np.zeros(shape, dtype=bool)
    bad.ravel()[rng.choice(bad.size, divergences, replace=False)] = True
    stats = {"diverging": bad, "energy": rng.normal(100, 3, shape)}
    extra = fit_stats or {}
    posterior = Posterior(
        draws_of(model, design, shape, seed),
        stats,
        dict.fromkeys(stats, STATS),
        sampled=True,
        fit_stats=extra,
        fit_stat_dims={k: ("iteration",) if v.ndim else () for k, v in extra.items()},
        attrs={"engine": "mcmc"},
    )
    return _fit(model, design, posterior, method or NUTS())


def variational(elbo: Array, final: float) -> Fit:
    """A fit with independent draws and an ELBO trace, without a sampler's energies."""
    stats = {"elbo": elbo, "elbo_final": np.array(final)}
    fit = sampled(shape=(1, 300), method=ADVI(), fit_stats=stats)
    fit.tree["sample_stats"] = fit.tree["sample_stats"].to_dataset().drop_vars("energy")
    fit.tree.attrs["engine"] = "independent"
    return fit


def point(trace: Array, *, restarts: Array | None = None, errors: bool = True) -> Fit:
    """A point estimate with its objective by iteration, as MLE leaves it."""
    model = BinomialGLM(SLOPES)
    design = model.design(datasets.census())
    params = {k: v[0, 0] for k, v in draws_of(model, design, (1, 1), 5).items()}
    stats = {"log_likelihood": trace}
    dims: dict[str, tuple[str, ...]] = {"log_likelihood": ("iteration",)}
    if restarts is not None:
        stats["restart_log_likelihood"], dims["restart_log_likelihood"] = restarts, ("restart",)
    posterior = Posterior(
        params,
        stats,
        dims,
        sampled=False,
        errors={"sex": np.array(0.06)} if errors else {},
        attrs={"engine": "point", "objective": "log_likelihood"},
    )
    return _fit(model, design, posterior, MLE())


def branches(n: int = 240) -> pd.DataFrame:
    """Two lines that part, with a predictor of every type, counts, and successes among trials."""
    rng = np.random.default_rng(11)
    x = rng.permutation(np.linspace(-2, 2, n))
    upper = rng.random(n) < 1 / (1 + np.exp(-2.5 * x))
    data = pd.DataFrame({"x": x, "w": rng.normal(10, 3, n), "year": rng.integers(2000, 2007, n)})
    data["kind"] = rng.choice(["b", "a", "c"], n, p=[0.2, 0.5, 0.3])
    data["y"] = np.where(upper, 2 + 0.5 * x, -2 - 0.5 * x) + rng.normal(0, 0.3, n)
    data["count"] = rng.poisson(np.exp(np.where(upper, 2.5 - 0.2 * x, 0.3 + 0.2 * x)))
    data["tried"] = rng.integers(8, 30, n)
    data["hit"] = rng.binomial(data["tried"], np.where(upper, 0.85, 0.15))
    return data


def estimated(model: Model, data: pd.DataFrame | None = None) -> Fit:
    """A mixture at its maximum, by EM."""
    data = branches() if data is None else data
    return workflow.fit(model, data, method=EM(restarts=2), seed=1, progress=False)


def around(fit: Fit, draws: int = 300, spread: float = 0.05) -> Fit:
    """Draws of two chains near a point estimate, as NUTS leaves them."""
    rng = np.random.default_rng(3)
    params = {
        str(name): values.to_numpy() + spread * rng.normal(size=(2, draws // 2, *values.shape))
        for name, values in fit.tree["estimate"].data_vars.items()
    }
    stats = {"diverging": np.zeros((2, draws // 2), dtype=bool)}
    posterior = Posterior(params, stats, {"diverging": STATS}, sampled=True)
    return _fit(fit.model, fit.design, posterior, NUTS())


def _fit(model: Model, design: Design, posterior: Posterior, method: Method) -> Fit:
    tree = build.build_tree(posterior, model, design)
    tree.attrs["seed"] = 1
    return Fit(model, method, tree)


def title(axes: Axes) -> str:
    """The title of a panel, which stands on the left."""
    return axes.get_title("left")


def ticks(axes: Axes, which: str = "y") -> list[str]:
    """The names along an axis."""
    labels = axes.get_yticklabels() if which == "y" else axes.get_xticklabels()
    return [label.get_text() for label in labels]


def legend_texts(figure: Figure) -> list[str]:
    """Every entry of every legend of a figure and its panels."""
    inside = [axes.get_legend() for axes in figure.axes if axes.get_legend()]
    return [text.get_text() for box in [*figure.legends, *inside] for text in box.get_texts()]


def marked(axes: Axes, label: str) -> Array:
    """Positions (x, y) of the points that carry a label, in the order drawn."""
    found = [line.get_xydata() for line in axes.lines if line.get_label() == label]
    return np.concatenate(found)


def bars(axes: Axes, width: float) -> Array:
    """Ends of the lines of a width: (bar, end, xy)."""
    return np.stack([line.get_xydata() for line in axes.lines if line.get_linewidth() == width])
