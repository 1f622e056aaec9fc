"""Binomial outcomes in torch whose link is not the logit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bayesmix.marginal.links import LARGEST
from bayesmix.protocols import Array

_SMALL = 0.02
"""As in :mod:`.links`: below it a difference is a series."""


@dataclass(frozen=True)
class BinomialLinked:
    """Binomial outcomes given their linear predictors: log probability, and two derivatives."""

    successes: Tensor
    trials: Tensor
    link: str

    @classmethod
    def of(cls, successes: Array, trials: Array, link: str) -> BinomialLinked:
        """From counts in NumPy arrays."""
        y, n = (torch.as_tensor(part, dtype=torch.float64) for part in (successes, trials))
        return cls(y, n, link)

    def distribution(self, predictors: Tensor) -> torch.distributions.Binomial:
        """The outcome's distribution, one entry a row."""
        log_p, log_q = log_probabilities(self.link, predictors)
        return torch.distributions.Binomial(self.trials, logits=log_p - log_q, validate_args=False)

    def log_prob(self, predictors: Tensor) -> Tensor:
        """Log probability of the observed counts, by row."""
        log_p, log_q = log_probabilities(self.link, predictors)
        rest = self.trials - self.successes
        coefficient = (
            torch.lgamma(self.trials + 1)
            - torch.lgamma(self.successes + 1)
            - torch.lgamma(rest + 1)
        )
        return coefficient + self.successes * log_p + rest * log_q

    def score(self, predictors: Tensor) -> Tensor:
        """First derivative of the log probability."""
        (up, _), (down, _) = _slopes(self.link, predictors)
        return self.successes * up - (self.trials - self.successes) * down

    def information(self, predictors: Tensor) -> Tensor:
        """Minus the second derivative: the observed information, not the expected one."""
        (_, up), (_, down) = _slopes(self.link, predictors)
        return self.successes * up + (self.trials - self.successes) * down


@dataclass(frozen=True)
class Repeated:
    """Outcomes of which each row counts as many cases as its weight says."""

    outcome: Any
    weight: Tensor

    @property
    def successes(self) -> Tensor:
        """Of one case."""
        return self.outcome.successes

    def distribution(self, predictors: Tensor) -> torch.distributions.Binomial:
        """Of one case of each row."""
        return self.outcome.distribution(predictors)

    def log_prob(self, predictors: Tensor) -> Tensor:
        """Log probability of all cases of each row."""
        return self.weight * self.outcome.log_prob(predictors)

    def score(self, predictors: Tensor) -> Tensor:
        """First derivative of the log probability."""
        return self.weight * self.outcome.score(predictors)

    def information(self, predictors: Tensor) -> Tensor:
        """Minus the second derivative."""
        return self.weight * self.outcome.information(predictors)


def log_probabilities(link: str, eta: Tensor) -> tuple[Tensor, Tensor]:
    """log p and log(1 - p), each with all its digits, and with finite slopes."""
    if link == "probit":
        return torch.special.log_ndtr(eta), torch.special.log_ndtr(-eta)
    u = torch.exp(eta.clamp(max=LARGEST))
    # every branch is kept among the numbers where it is not taken: zero times infinity is none
    rare, often = u.clamp(1e-300, 1.0), u.clamp(min=0.5)
    low = eta + torch.log(-torch.expm1(-rare) / rare)
    return torch.where(u < 1, low, torch.log1p(-torch.exp(-often))), -u


Pair = tuple[Tensor, Tensor]


def _slopes(link: str, eta: Tensor) -> tuple[Pair, Pair]:
    """Of log p and, by -log(1 - p), of failures: the slope's size, and minus the second slope."""
    if link == "probit":
        return _inverse_mills(eta), _inverse_mills(-eta)
    u = torch.exp(eta.clamp(max=LARGEST))
    safe = u.clamp(1e-300, LARGEST)
    r = torch.where(u < LARGEST, safe / torch.expm1(safe), torch.zeros_like(u))
    little = u.clamp(max=_SMALL)
    series = little * (0.5 + little * (1 / 12 - little * little / 720))
    s = torch.where(u < _SMALL, series, u + r - 1)
    return (r, r * s), (u, u)


def _inverse_mills(eta: Tensor) -> Pair:
    # erfcx overflows above 37, where the ratio is zero
    ratio = math.sqrt(2 / math.pi) / torch.special.erfcx(-eta.clamp(max=36.0) / math.sqrt(2))
    return ratio, ratio * (eta + ratio)
