r"""Outcomes of regressions: what one expert needs to know of its family, and nothing more.

An expert maps linear predictors to a distribution of the target: ``loc``, the predictor of the
mean on the link scale, and, where the family has one, ``spread``, the predictor of the log scale.
Every function works elementwise on arrays that broadcast.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy import special

from bayesmix.mixtures import algebra
from bayesmix.mixtures.algebra import LogMoments
from bayesmix.priors import LOG_2PI
from bayesmix.protocols import Array

Counts = Mapping[str, Array]
"""The observed rows: ``target``, and ``trials`` for binomial experts."""


class Slopes(NamedTuple):
    """First and second derivatives of a log density by its two linear predictors."""

    loc: Array
    spread: Array
    loc_loc: Array
    loc_spread: Array
    spread_spread: Array


class Expert(ABC):
    """The family of an expert's target given its linear predictors."""

    has_scale: bool = False

    @abstractmethod
    def log_density(self, rows: Counts, loc: Array, spread: Array) -> Array:
        """Log density (or probability) of the target."""

    @abstractmethod
    def slopes(self, rows: Counts, loc: Array, spread: Array) -> Slopes:
        """Derivatives of :meth:`log_density`."""

    @abstractmethod
    def moments(self, rows: Counts, loc: Array, spread: Array) -> tuple[Array, Array]:
        """Mean and variance of the target."""

    @abstractmethod
    def log_moments(self, rows: Counts, loc: Array, spread: Array) -> LogMoments:
        """:meth:`moments` as logarithms, which do not overflow."""

    @abstractmethod
    def draw(self, rng: np.random.Generator, rows: Counts, loc: Array, spread: Array) -> Array:
        """One target for each entry."""

    @abstractmethod
    def cdf(self, rows: Counts, at: Array, loc: Array, spread: Array) -> Array:
        """Probability of a target of at most ``at``."""

    @abstractmethod
    def sf(self, rows: Counts, at: Array, loc: Array, spread: Array) -> Array:
        """Probability of a target above ``at``, with all its digits where it is small."""

    @abstractmethod
    def graph(self, y: Any, trials: Any, loc: Any, spread: Any) -> Any:
        """:meth:`log_density` in PyTensor."""

    @abstractmethod
    def distribution(self, trials: Any, loc: Any, spread: Any) -> Any:
        """The target's ``torch.distributions`` object."""

    @abstractmethod
    def working(self, rows: Counts) -> Array:
        """The target on the link scale, to start least squares from."""


@dataclass(frozen=True)
class Gaussian(Expert):
    r"""Normal target: mean ``loc``, scale :math:`e^{\text{spread}} + \text{floor}`."""

    floor: float = 0.01
    has_scale = True

    def scale(self, spread: Array) -> Array:
        """Standard deviation, in units of the target."""
        with np.errstate(over="ignore"):  # infinitely wide is as far as it goes
            return np.exp(spread) + self.floor

    def log_density(self, rows: Counts, loc: Array, spread: Array) -> Array:
        scale = self.scale(spread)
        with np.errstate(over="ignore"):  # an expert that collapsed on one row: minus infinity
            square = ((rows["target"] - loc) / scale) ** 2
        return -0.5 * square - np.log(scale) - 0.5 * LOG_2PI

    def slopes(self, rows: Counts, loc: Array, spread: Array) -> Slopes:
        inverse = 1 / self.scale(spread)
        r = (rows["target"] - loc) * inverse
        # d log scale / d spread = e^spread / scale, without overflow; it grows at rate g (1 - g)
        g = special.expit(spread - np.log(self.floor)) if self.floor > 0 else np.ones_like(r)
        first = g * (r**2 - 1)
        curved = first * (1 - g) - 2 * (g * r) ** 2
        return Slopes(r * inverse, first, -(inverse**2) + 0 * r, -2 * r * g * inverse, curved)

    def moments(self, rows: Counts, loc: Array, spread: Array) -> tuple[Array, Array]:
        with np.errstate(over="ignore"):
            return loc, self.scale(spread) ** 2

    def log_moments(self, rows: Counts, loc: Array, spread: Array) -> LogMoments:
        with np.errstate(divide="ignore"):
            log_floor, size = np.log(self.floor), np.log(np.abs(loc))
        return LogMoments(size, np.sign(loc), 2 * np.logaddexp(spread, log_floor))

    def draw(self, rng: np.random.Generator, rows: Counts, loc: Array, spread: Array) -> Array:
        return loc + self.scale(spread) * rng.standard_normal(np.shape(loc))

    def cdf(self, rows: Counts, at: Array, loc: Array, spread: Array) -> Array:
        return special.ndtr((at - loc) / self.scale(spread))

    def sf(self, rows: Counts, at: Array, loc: Array, spread: Array) -> Array:
        return special.ndtr((loc - at) / self.scale(spread))

    def graph(self, y: Any, trials: Any, loc: Any, spread: Any) -> Any:
        import pytensor.tensor as pt

        growth: Any = pt.exp(spread)
        floor: Any = self.floor
        scale = growth + (np.float64(floor) if isinstance(floor, float) else floor)
        half = np.float64(0.5)
        log_scale: Any = pt.log(scale)
        return -half * ((y - loc) / scale) ** 2 - log_scale - half * np.float64(LOG_2PI)

    def distribution(self, trials: Any, loc: Any, spread: Any) -> Any:
        import torch

        return torch.distributions.Normal(loc, spread.exp() + self.floor, validate_args=False)

    def working(self, rows: Counts) -> Array:
        return np.asarray(rows["target"], dtype=float)


_COUNTABLE = 1e15
"""Rates above it have counts that double precision still holds and a generator does not draw.

A Poisson distribution is normal there: its skewness is below 10^-7.
"""


def _rate(loc: Array) -> Array:
    with np.errstate(over="ignore"):
        return np.exp(loc)


@dataclass(frozen=True)
class Poisson(Expert):
    r"""Poisson counts with mean :math:`e^{\text{loc}}`."""

    def log_density(self, rows: Counts, loc: Array, spread: Array) -> Array:
        y = rows["target"]
        return y * loc - np.exp(loc) - special.gammaln(y + 1.0)

    def slopes(self, rows: Counts, loc: Array, spread: Array) -> Slopes:
        rate, none = np.exp(loc), np.zeros(np.shape(loc))
        return Slopes(rows["target"] - rate, none, -rate, none, none)

    def moments(self, rows: Counts, loc: Array, spread: Array) -> tuple[Array, Array]:
        rate = _rate(loc)
        return rate, rate

    def log_moments(self, rows: Counts, loc: Array, spread: Array) -> LogMoments:
        return LogMoments(loc, np.ones(np.shape(loc)), loc)

    def draw(self, rng: np.random.Generator, rows: Counts, loc: Array, spread: Array) -> Array:
        """Whole numbers; as floats, some of them infinite, where a rate is beyond 10^15."""
        rate = _rate(loc)
        drawn = rng.poisson(np.minimum(rate, _COUNTABLE))
        large = rate > _COUNTABLE
        if not np.any(large):
            return drawn
        with np.errstate(invalid="ignore"):
            normal = np.rint(rate + np.sqrt(rate) * rng.standard_normal(np.shape(rate)))
        return np.where(large, np.where(np.isfinite(rate), normal, np.inf), drawn)

    def cdf(self, rows: Counts, at: Array, loc: Array, spread: Array) -> Array:
        below = special.pdtr(np.floor(np.maximum(at, 0.0)), _rate(loc))
        return np.where(np.asarray(at) < 0, 0.0, below)

    def sf(self, rows: Counts, at: Array, loc: Array, spread: Array) -> Array:
        above = special.pdtrc(np.floor(np.maximum(at, 0.0)), _rate(loc))
        return np.where(np.asarray(at) < 0, 1.0, above)

    def graph(self, y: Any, trials: Any, loc: Any, spread: Any) -> Any:
        import pytensor.tensor as pt

        rate: Any = pt.exp(loc)
        constant: Any = pt.gammaln(y + np.float64(1.0))
        return y * loc - rate - constant

    def distribution(self, trials: Any, loc: Any, spread: Any) -> Any:
        import torch

        return torch.distributions.Poisson(loc.exp(), validate_args=False)

    def working(self, rows: Counts) -> Array:
        return np.log(rows["target"] + 0.5)


@dataclass(frozen=True)
class Binomial(Expert):
    r"""Successes among ``trials``, with logit ``loc``."""

    def log_density(self, rows: Counts, loc: Array, spread: Array) -> Array:
        y, n = rows["target"], rows["trials"]
        choices = special.gammaln(n + 1.0) - special.gammaln(y + 1.0)
        return choices - special.gammaln(n - y + 1.0) + y * loc - n * np.logaddexp(0.0, loc)

    def slopes(self, rows: Counts, loc: Array, spread: Array) -> Slopes:
        p, none = special.expit(loc), np.zeros(np.shape(loc))
        n = rows["trials"]
        return Slopes(rows["target"] - n * p, none, -n * p * (1 - p), none, none)

    def moments(self, rows: Counts, loc: Array, spread: Array) -> tuple[Array, Array]:
        p, n = special.expit(loc), rows["trials"]
        return n * p, n * p * (1 - p)

    def log_moments(self, rows: Counts, loc: Array, spread: Array) -> LogMoments:
        log_n = np.log(np.maximum(rows["trials"], 1e-300))
        size = log_n - np.logaddexp(0.0, -loc)
        return LogMoments(size, np.ones(np.shape(size)), size - np.logaddexp(0.0, loc))

    def draw(self, rng: np.random.Generator, rows: Counts, loc: Array, spread: Array) -> Array:
        return rng.binomial(rows["trials"], special.expit(loc))

    def cdf(self, rows: Counts, at: Array, loc: Array, spread: Array) -> Array:
        n = rows["trials"]
        below = special.bdtr(np.floor(np.clip(at, 0.0, n)), n, special.expit(loc))
        return np.where(np.asarray(at) < 0, 0.0, below)

    def sf(self, rows: Counts, at: Array, loc: Array, spread: Array) -> Array:
        n = rows["trials"]
        above = special.bdtrc(np.floor(np.clip(at, 0.0, n)), n, special.expit(loc))
        return np.where(np.asarray(at) < 0, 1.0, above)

    def graph(self, y: Any, trials: Any, loc: Any, spread: Any) -> Any:
        import pytensor.tensor as pt

        one = np.float64(1.0)
        log_factorials: list[Any] = [pt.gammaln(n + one) for n in (trials, y, trials - y)]
        choices = log_factorials[0] - log_factorials[1] - log_factorials[2]
        softplus: Any = pt.softplus(loc)
        return choices + y * loc - trials * softplus

    def distribution(self, trials: Any, loc: Any, spread: Any) -> Any:
        import torch

        return torch.distributions.Binomial(trials, logits=loc, validate_args=False)

    def working(self, rows: Counts) -> Array:
        y, n = rows["target"], rows["trials"]
        return np.log((y + 0.5) / (n - y + 0.5))


def mixed_moments(
    expert: Expert, rows: Counts, log_weight: Array, loc: Array, spread: Array
) -> tuple[Array, Array]:
    """Mean and variance of a mixture of experts, components along the last axis.

    A component far out may have moments beyond double precision and a weight that is smaller still;
    such rows are worked out in logarithms.
    """
    mean, variance = algebra.moments(np.exp(log_weight), *expert.moments(rows, loc, spread))
    far = ~(np.isfinite(mean) & np.isfinite(variance))
    if far.any():
        parts = (
            np.broadcast_to(part, loc.shape)[far] for part in expert.log_moments(rows, loc, spread)
        )
        found = algebra.far_moments(log_weight[far], algebra.LogMoments(*parts))
        mean[far] = np.where(np.isfinite(mean[far]), mean[far], found[0])
        variance[far] = found[1]
    return mean, variance


def expert_of(kind: str, floor: float) -> Expert:
    """The family of that name."""
    return {"gaussian": Gaussian(floor), "poisson": Poisson(), "binomial": Binomial()}[kind]
