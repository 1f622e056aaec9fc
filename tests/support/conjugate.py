"""Models and methods whose answers have closed forms, so that what is built on fits can be tested.

``ExactDraws`` returns independent draws of the exact posterior of ``NormalMean``, unless it is told
to spoil them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from bayesmix import rng as random
from bayesmix.design import table
from bayesmix.errors import DataError, NotConverged
from bayesmix.protocols import Array, Design, HasPrior, Method, Params, Posterior, Report

LOG_2PI = np.log(2 * np.pi)


def normal_log_density(y: Any, loc: Any, variance: Any) -> Array:
    """Log density of a normal."""
    return -0.5 * (LOG_2PI + np.log(variance) + (y - loc) ** 2 / variance)


@dataclass(frozen=True)
class NormalMean(HasPrior):
    """y_i ~ N(mu, 1), mu ~ N(0, scale); ``least`` rows are needed, as some models do need rows."""

    scale: float = 1.0
    least: int = 1
    default_method: ClassVar[str] = "nuts"

    def design(self, data: Any) -> Design:
        """The column y."""
        if isinstance(data, Design):
            return data
        columns = table.columns(table.frame(data), ["y"])
        if len(columns) < self.least:
            raise DataError(f"needs {self.least} rows")
        return Design({"y": columns["y"].to_numpy(float)}, {"y": ("obs",)}, {}, columns, "y")

    def new_design(self, data: Any, trained: Design) -> Design:
        """The column y."""
        columns = table.frame(data)
        return Design({"y": columns["y"].to_numpy(float)}, {"y": ("obs",)}, {}, columns, "y")

    def dims(self, design: Design) -> dict[str, tuple[str, ...]]:
        """One scalar."""
        return {"mu": ()}

    def posterior(self, y: Array) -> tuple[float, float]:
        """Mean and variance of mu given y."""
        variance = 1 / (len(y) + self.scale**-2)
        return float(y.sum() * variance), float(variance)

    def log_density(self, params: Params, data: Any) -> Array:
        """Shape (sample, obs)."""
        return normal_log_density(self.design(data).arrays["y"], params["mu"][:, None], 1.0)

    def simulate(self, params: Params, data: Any, rng: np.random.Generator) -> dict[str, Array]:
        """Shape (sample, obs)."""
        mu = params["mu"][:, None]
        return {"y": mu + rng.standard_normal((len(mu), self.design(data).n_obs))}

    def curves(self, params: Params, data: Any) -> dict[str, Array]:
        """The mean."""
        return {"loc": np.repeat(params["mu"][:, None], self.design(data).n_obs, axis=1)}

    def moments(self, params: Params, data: Any) -> tuple[Array, Array]:
        """Mean and variance 1."""
        loc = self.curves(params, data)["loc"]
        return loc, np.ones_like(loc)

    def require_outcome(self, design: Design) -> None:
        """Always there."""

    def log_prior(self, params: Params, data: Any) -> Array:
        """Shape (sample,)."""
        return normal_log_density(params["mu"], 0.0, self.scale**2)

    def draw_prior(self, data: Any, rng: np.random.Generator, draws: int) -> dict[str, Array]:
        """Shape (sample,)."""
        return {"mu": rng.normal(0, self.scale, draws)}


@dataclass(frozen=True)
class ExactDraws(Method):
    """Draws from the posterior of NormalMean, or from something else on purpose.

    ``shift`` and ``stretch`` are in posterior standard deviations; ``blind`` draws from the prior;
    ``apart`` moves chains apart; ``repeat`` repeats each draw; ``failing`` is the share of data
    sets on which it gives up.
    """

    draws: int = 500
    chains: int = 4
    shift: float = 0.0
    stretch: float = 1.0
    blind: bool = False
    apart: float = 0.0
    repeat: int = 1
    failing: float = 0.0
    engine: str = "mcmc"
    requires: ClassVar[type] = HasPrior
    name: ClassVar[str] = "exact"

    def run(self, model: Any, design: Design, *, seed: int, progress: Report) -> Posterior:
        """Draw."""
        rng = random.stream(seed, "exact")
        if rng.random() < self.failing:
            raise NotConverged("gave up on purpose")
        loc, variance = model.posterior(design.arrays["y"])
        if self.blind:
            loc, variance = 0.0, model.scale**2
        z = rng.standard_normal((self.chains, self.draws // self.repeat)).repeat(
            self.repeat, axis=1
        )
        z = self.shift + self.stretch * z + self.apart * np.arange(self.chains)[:, None]
        params = {"mu": loc + np.sqrt(variance) * z}
        return Posterior(params, {}, {}, sampled=True, attrs={"engine": self.engine})


@dataclass(frozen=True)
class GroupMeans(NormalMean):
    """y_i ~ N(mu + u_g, 1), u_g ~ N(0, spread): known spread, effects of trained groups zero."""

    spread: float = 1.0

    def new_design(self, data: Any, trained: Design) -> Design:
        """Rows of groups never seen."""
        columns = table.frame(data)
        arrays = {"y": columns["y"].to_numpy(float), "new": np.ones(len(columns), dtype=bool)}
        return Design(arrays, {"y": ("obs",), "new": ("obs",)}, {}, columns, "y")

    def dims(self, design: Design) -> dict[str, tuple[str, ...]]:
        """The mean and two groups."""
        return {"mu": (), "u": ("group",)}

    def complete(self, params: Params, design: Design, rng: np.random.Generator) -> Params:
        """An effect for the group never seen."""
        new = rng.normal(0, self.spread, (len(params["mu"]), 1))
        return {**params, "u": np.concatenate([params["u"], new], axis=1)}

    def log_density(self, params: Params, data: Any) -> Array:
        """The last group's effect is added in rows of a new group."""
        effect = params["u"][:, -1:] if "new" in data.arrays else 0.0
        return normal_log_density(data.arrays["y"], params["mu"][:, None] + effect, 1.0)


@dataclass(frozen=True)
class GroupDraws(ExactDraws):
    """Draws for GroupMeans."""

    name: ClassVar[str] = "group"

    def run(self, model: Any, design: Design, *, seed: int, progress: Report) -> Posterior:
        """The mean's posterior without group effects, and two effects of zero."""
        found = super().run(model, design, seed=seed, progress=progress)
        params = {**found.params, "u": np.zeros((self.chains, self.draws, 2))}
        return Posterior(params, {}, {}, sampled=True, attrs=found.attrs)
