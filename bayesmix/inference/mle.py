"""Maximum likelihood in PyTorch, with standard errors from the observed information."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from bayesmix import rng as random
from bayesmix.errors import SpecError
from bayesmix.marginal.climb import Climbing
from bayesmix.marginal.summit import fit_groups
from bayesmix.maxima.climb import Climb, best_of, climb, curvature, in_shapes, jacobian, root_of
from bayesmix.networks.recipe import Recipe, fit_network
from bayesmix.protocols import (
    Array,
    Design,
    HasGroups,
    HasNetwork,
    HasTorch,
    Method,
    Posterior,
    Report,
)
from bayesmix.specs import check_count, check_number

ADVICE = (
    "the likelihood may have no maximum (a predictor that separates the outcomes perfectly), or "
    "need more steps: look at the data, raise max_iter, or use method='nuts', whose priors keep "
    "the answer finite"
)


JITTER = 0.5
"""Standard errors of one row by which restarts part: far enough for another maximum."""


@dataclass(frozen=True)
class MLE(Method):
    r"""Maximum likelihood; with group effects, of the likelihood that integrates them out.

    Quasi-Newton steps on exact gradients in float64, from several starts; the best is kept and all
    are reported in ``fit_stats``. Standard errors come from the inverse observed information, and
    by the delta method for standard deviations and correlations; the errors of group deviations
    are conditional on the parameters, as lme4's are.

    Parameters
    ----------
    restarts
        Number of starts; the first is the module's own.
    max_iter
        Quasi-Newton steps of each start.
    tolerance
        Largest gradient entry of the objective, in log-likelihood units (with group effects: in
        these a standard error), that counts as converged.
    n_quadrature
        Nodes of adaptive Gauss-Hermite quadrature for each effect of a group; 1 is the Laplace
        approximation. More are for one grouping factor; ``diagnose()`` says where they are needed.
    optimizer
        Of networks: :class:`bayesmix.EarlyStopping`, :class:`bayesmix.LBFGS` or
        :class:`bayesmix.Adam`. ``"auto"`` takes the first up to 50,000 rows and Adam beyond: both
        stop on rows held out. ``LBFGS()`` takes all its steps on all rows, as the book does.
        Networks are trained on standard units, which their parameters are freed of afterwards,
        exactly; they have no standard errors, and ``max_iter`` and ``tolerance`` are not for them.
    device
        Where a network is trained: ``"auto"``, ``"cpu"``, ``"cuda"``.
    checkpoint
        A file that training with Adam writes after every epoch. The same call goes on from there,
        and ends with the parameters that it would have ended with.

    References
    ----------
    Bates et al. (2015), doi:10.18637/jss.v067.i01.
    """

    restarts: int = 3
    max_iter: int = 500
    tolerance: float = 1e-5
    n_quadrature: int = 1
    optimizer: Any = "auto"
    device: str = "auto"
    checkpoint: str | None = None
    requires: ClassVar[type] = HasTorch
    name: ClassVar[str] = "mle"

    def __post_init__(self) -> None:
        check_count("MLE", "restarts", self.restarts)
        check_count("MLE", "max_iter", self.max_iter)
        check_count("MLE", "n_quadrature", self.n_quadrature)
        tolerance = check_number("MLE", "tolerance", self.tolerance, low=0, strict=True)
        object.__setattr__(self, "tolerance", tolerance)
        _ = self.recipe

    @property
    def recipe(self) -> Recipe:
        """How a network is trained."""
        return Recipe(self.optimizer, self.restarts, self.device, self.checkpoint)

    def run(self, model: HasTorch, design: Design, *, seed: int, progress: Report) -> Posterior:
        """Maximise from every start and keep the best."""
        if self.n_quadrature != 1 and not isinstance(model, HasGroups):
            raise SpecError(
                f"MLE: n_quadrature={self.n_quadrature} is for models with group effects; "
                f"{type(model).__name__} has none"
            )
        if isinstance(model, HasNetwork):
            return fit_network(self.recipe, model, design, seed, progress)
        if (self.optimizer, self.device, self.checkpoint) != ("auto", "auto", None):
            raise SpecError(
                "MLE: optimizer, device and checkpoint are for networks; "
                f"{type(model).__name__} is fitted by Newton's method"
            )
        if isinstance(model, HasGroups):
            climbing = Climbing(self.restarts, self.max_iter, self.tolerance, ADVICE)
            return fit_groups(climbing, self.n_quadrature, model, design, seed, progress)
        generator = random.stream(seed, "init")
        objective = _Objective(model.torch_module(design))
        starts = objective.starts(generator, self.restarts, design.n_obs)
        climbs = []
        for i, start in enumerate(starts):
            progress("maximise", i / self.restarts)
            one = climb(objective, start, max_iter=self.max_iter, tolerance=self.tolerance)
            climbs.append(one)
        best = best_of(climbs, ADVICE)
        roots = _roots(objective, best.point, model, design)
        objective.set(best.point)
        params, conditional = model.from_torch(objective.module, design)
        progress("maximise", 1.0)
        errors = {name: np.sqrt((root**2).sum(axis=-1)) for name, root in roots.items()}
        found = _posterior(params, errors | conditional, best, climbs, self.tolerance)
        return replace(found, roots=roots)


class _Objective:
    """A module's log-likelihood as a function of one flat vector."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.parameters = list(module.parameters())

    def starts(self, generator: np.random.Generator, count: int, n_obs: int) -> list[Array]:
        """The module's own start, and that start moved at random, as many as asked for.

        A parameter moves in units of what a single row tells of it, so that its own units, and
        those of the data, do not matter.
        """
        own = np.concatenate([p.detach().numpy().ravel() for p in self.parameters])
        if count == 1:
            return [own]
        known = np.abs(np.diagonal(curvature(self, own))) / n_obs
        unit = 1 / np.sqrt(np.maximum(known, 1e-12 * known.max(initial=1e-300)))
        moved = [own + JITTER * unit * generator.normal(size=own.shape) for _ in range(count - 1)]
        return [own, *moved]

    def set(self, point: Array) -> None:
        """Put a flat vector into the module."""
        import torch

        with torch.no_grad():
            position = 0
            for parameter in self.parameters:
                values = point[position : position + parameter.numel()]
                parameter.copy_(torch.as_tensor(values.reshape(parameter.shape)))
                position += parameter.numel()

    def __call__(self, point: Array) -> tuple[float, Array]:
        import torch

        self.set(point)
        value = self.module()
        gradients = torch.autograd.grad(value, self.parameters)
        gradient = np.concatenate([g.numpy().ravel() for g in gradients])
        return float(value.detach()), gradient


def _roots(
    objective: _Objective, point: Array, model: HasTorch, design: Design
) -> dict[str, Array]:
    """Delta method: J R with R R' the inverse of the observed information, by differences."""
    root = root_of(_inverse(-curvature(objective, point)))

    def reported(x: Array) -> dict[str, Array]:
        objective.set(x)
        params, conditional = model.from_torch(objective.module, design)
        return {name: value for name, value in params.items() if name not in conditional}

    def flat(x: Array) -> Array:
        return np.concatenate([np.ravel(value) for value in reported(x).values()])

    return in_shapes(jacobian(flat, point) @ root, reported(point))


def _inverse(information: Array) -> Array:
    """Covariance from information; NaN where the data do not determine the parameters."""
    values, vectors = np.linalg.eigh(information)
    if (values <= 1e-8 * values.max(initial=0.0)).any():
        return np.full_like(information, np.nan)
    return (vectors / values) @ vectors.T


def _posterior(
    params: dict[str, Array],
    errors: dict[str, Array],
    best: Climb,
    climbs: list[Climb],
    tolerance: float,
) -> Posterior:
    stats = {
        "log_likelihood": best.trace,
        "restart_log_likelihood": np.array([climb.value for climb in climbs]),
        "gradient_norm": np.array(best.slope),
    }
    dims = {
        "log_likelihood": ("iteration",),
        "restart_log_likelihood": ("restart",),
        "gradient_norm": (),
    }
    attrs = {"engine": "point", "objective": "log_likelihood", "n_parameters": len(best.point)}
    attrs["converged"] = int(best.slope <= tolerance)
    return Posterior(params, stats, dims, sampled=False, errors=errors, attrs=attrs)
