"""A mixture of experts in PyTorch: a module that maps its context to a mixture distribution."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from bayesmix.models.experts.equation import Coefficients, Gated
from bayesmix.networks.likelihood import Likelihood


class ExpertsLikelihood(Likelihood):
    """The log-likelihood of :class:`bayesmix.MixtureOfExperts` with its coefficients as parameters.

    The gate's coefficients sum to zero over experts: a shift common to all changes no weight, so
    only K - 1 contrasts of them are free.

    Parameters
    ----------
    rows
        Target and columns of every predictor.
    start
        Coefficients to start from.
    """

    def __init__(self, rows: Gated, start: Coefficients) -> None:
        super().__init__()
        self.expert, k = rows.expert, len(start.loc)
        as_tensor = _double
        self.columns = tuple(as_tensor(x) for x in (rows.loc, rows.gate, rows.spread))
        self.offset, self.target = as_tensor(rows.offset), as_tensor(rows.rows["target"])
        self.trials = as_tensor(rows.rows.get("trials", rows.rows["target"]))
        self.contrasts = as_tensor(_contrasts(k))
        self.loc = nn.Parameter(as_tensor(start.loc))
        self.free_gate = _free(self.contrasts @ as_tensor(start.gate))
        self.spread = _free(as_tensor(start.spread))

    @property
    def gate(self) -> Tensor:
        """Coefficients of the gate, (expert, column), which sum to zero over experts."""
        return self.contrasts.T @ self.free_gate

    def predictors(self) -> tuple[Tensor, Tensor, Tensor]:
        """Log weights, locs on the link scale and log scales, each (obs, expert)."""
        x, g, s = self.columns
        loc = x @ self.loc.T + self.offset[:, None]
        return torch.log_softmax(g @ self.gate.T, dim=1), loc, s @ self.spread.T

    def distribution(self) -> torch.distributions.MixtureSameFamily:
        """The target's distribution, one entry a row."""
        log_weight, loc, spread = self.predictors()
        components = self.expert.distribution(self.trials[:, None], loc, spread)
        mixing = torch.distributions.Categorical(logits=log_weight, validate_args=False)
        return torch.distributions.MixtureSameFamily(mixing, components, validate_args=False)

    def log_prob(self) -> Tensor:
        """Pointwise log-likelihood (obs,)."""
        return self.distribution().log_prob(self.target)

    def forward(self) -> Tensor:
        return self.log_prob().sum()

    def coefficients(self) -> Coefficients:
        """The parameters as NumPy arrays."""
        parts = (self.loc, self.gate, self.spread)
        return Coefficients(*(part.detach().numpy().copy() for part in parts))


def _free(values: Tensor) -> Tensor:
    """A parameter, but for one without entries, which nothing could be differentiated by."""
    return nn.Parameter(values) if values.numel() else values


def _double(values: np.ndarray) -> Tensor:
    return torch.as_tensor(np.array(values, dtype=float))


def _contrasts(k: int) -> np.ndarray:
    """K - 1 orthonormal rows that each sum to zero."""
    centring = np.eye(k) - 1.0 / k
    return np.linalg.svd(centring)[0][:, : k - 1].T
