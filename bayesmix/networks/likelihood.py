"""A log-likelihood in PyTorch as a module: what maximum likelihood climbs."""

from __future__ import annotations

from torch import Tensor, nn

from bayesmix.errors import SpecError


class Likelihood(nn.Module):
    """A log-likelihood to maximise: ``forward()`` is its sum, in float64."""

    def forward(self) -> Tensor:
        """The log-likelihood of the data at the current parameters."""
        raise SpecError(f"{type(self).__name__} defines no log-likelihood")
