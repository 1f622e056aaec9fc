"""Automatic differentiation variational inference, through PyMC."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from bayesmix import interrupts, protocols
from bayesmix import rng as random
from bayesmix.compiled.density import Target, target
from bayesmix.errors import NotConverged, SpecError
from bayesmix.maxima.modes import Mode, best_mode, mode_at
from bayesmix.protocols import Array, Design, HasGuides, HasPyMC, Method, Posterior, Report
from bayesmix.specs import check_choice, check_count, check_number
from bayesmix.variational import natural
from bayesmix.variational.batches import Batches
from bayesmix.variational.fixed_draws import FixedDraws, paired_draws
from bayesmix.variational.gaussian import GaussianApproximation
from bayesmix.variational.guides import best_guide
from bayesmix.variational.stochastic import ascend, paired

_STEPS = 50_000
_LARGEST, _FASTEST = 3000, 0.06
"""Parameters and learning rate of a network of full rank, at most."""
_NARROW = 30.0
"""How much more precise than at the mode the first Gaussian of full rank is."""
_FIXED, _CHECKED = 64, 2000
"""Draws behind the look for a better optimum, and fresh ones that its ELBO is measured with."""


@dataclass(frozen=True)
class ADVI(Method):
    r"""Stochastic maximisation of the evidence lower bound with Adam.

    .. math:: \mathrm{ELBO}(q) = \mathrm{E}_q[\log p(y, x) - \log q(x)]

    with q a Gaussian on the unconstrained space, one draw a step. ``fit_stats`` holds ``elbo`` by
    iteration, noisy, and ``elbo_final``, evaluated with 10,000 fresh draws. From where Adam ended,
    and from the highest mode that the family knows, a second-order optimiser then looks for a
    better optimum; what it reaches is ``elbo_better``, and ``diagnose()`` says how far apart the
    two are. The fit itself stays as Adam left it: :class:`DADVI` is the better method.

    Parameters
    ----------
    steps
        Adam steps; None takes 50,000, or 4,000 of eight draws each for a network, which starts at
        a small network inside it, the other units switched off: PyMC's own start collapses. A
        network of full rank takes 250 steps along the natural gradient, from two starts.
    covariance
        ``"meanfield"`` (diagonal) or ``"fullrank"``. For a network the second ends higher by far,
        as weights are strongly correlated; its cost a step grows with the cube of their number.
    learning_rate
        Of Adam; steps along the natural gradient are 15 times as long, in standard deviations.
    draws
        Independent draws from the fitted approximation.
    batch_size
        Rows that a step looks at; None takes all, by PyMC's own ADVI. Batches start near the mode
        of a few thousand rows, are for mean-field alone, and make cost a step independent of N.

    References
    ----------
    Kucukelbir et al. (2017), JMLR 18(14).
    """

    steps: int | None = None
    covariance: str = "meanfield"
    learning_rate: float = 0.01
    draws: int = 4000
    batch_size: int | None = None
    requires: ClassVar[type] = HasPyMC
    name: ClassVar[str] = "advi"

    def __post_init__(self) -> None:
        if self.steps is not None:
            check_count("ADVI", "steps", self.steps, low=100)
        check_count("ADVI", "draws", self.draws)
        check_choice("ADVI", "covariance", self.covariance, ("meanfield", "fullrank"))
        if self.batch_size is not None:
            check_count("ADVI", "batch_size", self.batch_size)
            if self.covariance == "fullrank":
                raise SpecError("ADVI: batches are for covariance='meanfield'; use method='dadvi'")
        rate = check_number("ADVI", "learning_rate", self.learning_rate, low=0, strict=True)
        object.__setattr__(self, "learning_rate", rate)

    def run(self, model: HasPyMC, design: Design, *, seed: int, progress: Report) -> Posterior:
        """Fit q, evaluate its ELBO with fresh draws, look for a better optimum, and draw."""
        streams = random.streams(seed, "advi", "draws", "better")
        density = target(model, design)
        fit = self._fit if self.batch_size is None else self._fit_batches
        guided_fit = isinstance(model, HasGuides) and self.batch_size is None
        fit = self._fit_guided if guided_fit else fit
        approximation, elbo = fit(model, design, density, streams["advi"], progress)
        params, stats, fresh = approximation.reported(
            density, streams["draws"], self.draws, design.n_obs
        )
        better = {}
        if self.batch_size is None and not guided_fit:
            best = self._better(model, design, density, approximation, streams["better"])
            better = {"elbo_better": np.array(max(best, float(fresh["elbo_final"])))}
        fit_stats = {"elbo": elbo, **fresh, **better}
        dims: dict[str, tuple[str, ...]] = {name: () for name in fit_stats} | {
            "elbo": ("iteration",)
        }
        return Posterior(
            params,
            stats,
            dict.fromkeys(stats, protocols.SAMPLE_DIMS),
            sampled=True,
            fit_stats=fit_stats,
            fit_stat_dims=dims,
            attrs={"engine": "independent"},
        )

    def _better(
        self,
        model: HasPyMC,
        design: Design,
        density: Target,
        found: GaussianApproximation,
        generator: np.random.Generator,
    ) -> float:
        """The best ELBO that a second-order optimiser reaches from here, or from a known mode."""
        full = self.covariance == "fullrank"
        modes = [Mode(found.mean, found.factor), best_mode(model, design, density, generator)]
        count = 4 * density.n_dim if full else _FIXED
        values = []
        for mode in modes:
            if mode is None:
                continue
            draws = paired_draws(generator, count, density.n_dim)
            objective = FixedDraws(density, mode, draws, full)
            x, _, _ = objective.maximise(objective.start(), 100, 1e-2)
            weights = objective.gaussian(x).log_weights(density, generator, _CHECKED)[2]
            values.append(float(weights.mean()))
        return max(values)

    def _fit_guided(
        self,
        model: HasPyMC,
        design: Design,
        density: Target,
        generator: np.random.Generator,
        progress: Report,
    ) -> tuple[GaussianApproximation, Array]:
        if self.covariance == "fullrank":
            return self._fit_network_in_full(model, design, density, generator, progress)
        progress("start", 0.0)
        start = best_guide(model, design, density, generator)
        assert start is not None
        steps = self.steps or 4000
        return ascend(
            density.log_densities,
            paired(generator, 8, density.n_dim),
            start.point,
            np.diag(start.factor),
            steps,
            2 * self.learning_rate,
            0.1,
            _every(100, steps, progress),
        )

    def _fit_network_in_full(
        self,
        model: HasPyMC,
        design: Design,
        density: Target,
        generator: np.random.Generator,
        progress: Report,
    ) -> tuple[GaussianApproximation, Array]:
        if density.n_dim > _LARGEST:
            raise SpecError(
                f"ADVI: covariance='fullrank' is for at most {_LARGEST} parameters, and this "
                f"network has {density.n_dim}; use covariance='meanfield'"
            )
        if self.learning_rate > _FASTEST:
            raise SpecError(
                f"ADVI: for a network of full rank learning_rate is at most {_FASTEST}, got "
                f"{self.learning_rate}"
            )
        progress("start", 0.0)
        mode, guide = (find(model, design, density, generator) for find in (best_mode, best_guide))
        assert mode is not None and guide is not None
        # as wide as at the mode, a Gaussian would leave its basin
        starts = [Mode(mode.point, mode.factor / np.sqrt(_NARROW)), guide]
        steps = self.steps or 250
        report = _every(10, steps * len(starts), progress)
        return natural.best_ascent(
            density, starts, steps, 15 * self.learning_rate, generator, report
        )

    def _fit_batches(
        self,
        model: HasPyMC,
        design: Design,
        density: Target,
        generator: np.random.Generator,
        progress: Report,
    ) -> tuple[GaussianApproximation, Array]:
        batches = Batches(model, design, self.batch_size or design.n_obs, generator)
        few = batches.few()
        small = target(model, few)
        mode = best_mode(model, few, small, generator) or mode_at(small, small.initial)
        spread = np.sqrt((mode.factor**2).sum(axis=1) * few.n_obs / design.n_obs)
        steps = self.steps or _STEPS
        return ascend(
            batches.estimate,
            paired(generator, 1, density.n_dim),
            mode.point,
            spread,
            steps,
            self.learning_rate,
            0.25,
            _every(100, steps, progress),
        )

    def _fit(
        self,
        model: HasPyMC,
        design: Design,
        density: Target,
        generator: np.random.Generator,
        progress: Report,
    ) -> tuple[GaussianApproximation, Array]:
        import pymc as pm

        steps = self.steps or _STEPS

        def report(_: Any, losses: Array, step: int) -> None:
            if step % 100 == 0:
                progress("advi", step / steps)
                if not np.isfinite(losses[-1]):
                    raise NotConverged(
                        f"the ELBO became {-losses[-1]} at step {step}; lower learning_rate"
                    )

        progress("compile", 0.0)
        with interrupts.heeded() as proceed, _quiet(), model.pymc_model(design):
            fitted = pm.fit(
                steps,
                method="advi" if self.covariance == "meanfield" else "fullrank_advi",
                obj_optimizer=pm.adam(learning_rate=self.learning_rate),
                random_seed=random.integer(generator),
                callbacks=[report, lambda *_: proceed()],
                progressbar=False,
            )
        progress("advi", 1.0)
        order = _order(fitted, density)
        mean, covariance = fitted.mean.eval()[order], fitted.cov.eval()[np.ix_(order, order)]
        return GaussianApproximation(mean, np.linalg.cholesky(covariance)), -np.asarray(fitted.hist)


def _every(count: int, steps: int, progress: Report) -> Callable[[int], None]:
    """Reports every so many steps, and the last."""

    def report(step: int) -> None:
        if step % count == 0 or step == steps - 1:
            progress("advi", (step + 1) / steps)

    return report


def _order(fitted: Any, density: Target) -> Array:
    """Where each coordinate of the target sits in PyMC's flat vector, whose order is its own."""
    slices = {name: entry[1] for name, entry in fitted.ordering.items()}
    return np.concatenate([np.r_[slices[name]] for name, _ in density.variables])


@contextmanager
def _quiet() -> Generator[None]:
    """PyMC logs the average loss of every fit; the trace holds it."""
    logger = logging.getLogger("pymc")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
