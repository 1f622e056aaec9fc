"""A binomial regression with group effects in PyTorch, its effects integrated out by Laplace.

The module holds the parameters that maximum likelihood climbs by; group effects are found inside
:meth:`MixedModel.forward`, at the mode of their density given the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bayesmix.errors import NotConverged, SpecError
from bayesmix.models.binomial_glm.links_in_torch import BinomialLinked, Repeated
from bayesmix.networks.likelihood import Likelihood
from bayesmix.protocols import Array

MAX_CROSSED = 3000
"""Largest number of crossed group effects whose dense Hessian is worth factorising."""


@dataclass(frozen=True)
class BinomialLogit:
    """Binomial outcomes given their logits: log probability, and two derivatives of it."""

    successes: Tensor
    trials: Tensor

    @classmethod
    def of(cls, successes: Array, trials: Array) -> BinomialLogit:
        """From counts in NumPy arrays."""
        return cls(
            *(torch.as_tensor(counts, dtype=torch.float64) for counts in (successes, trials))
        )

    def distribution(self, logits: Tensor) -> torch.distributions.Binomial:
        """The outcome's distribution, one entry a row."""
        return torch.distributions.Binomial(self.trials, logits=logits, validate_args=False)

    def log_prob(self, logits: Tensor) -> Tensor:
        """Log probability of the observed counts, by row."""
        coefficient = (
            torch.lgamma(self.trials + 1)
            - torch.lgamma(self.successes + 1)
            - torch.lgamma(self.trials - self.successes + 1)
        )
        inside = self.successes * logits - self.trials * nn.functional.softplus(logits)
        return coefficient + inside

    def score(self, logits: Tensor) -> Tensor:
        """First derivative of the log probability."""
        return self.successes - self.trials * torch.sigmoid(logits)

    def information(self, logits: Tensor) -> Tensor:
        """Minus the second derivative, which is also the expected one."""
        p = torch.sigmoid(logits)
        return self.trials * p * (1 - p)


Outcomes = BinomialLogit | BinomialLinked | Repeated


class GroupEffect(nn.Module):
    r"""Effects of one grouping factor, :math:`u_g = T z_g`, :math:`z_g \sim N(0, I)`.

    Parameters
    ----------
    columns
        The predictors that vary, shape (obs, effect).
    index
        The group of each row, shape (obs,).
    """

    def __init__(self, columns: Array, index: Array, n_groups: int) -> None:
        super().__init__()
        self.columns, self.index = torch.as_tensor(columns), torch.as_tensor(index)
        self.n_groups, self.n_effects = n_groups, columns.shape[1]
        self.free = nn.Parameter(torch.eye(self.n_effects, dtype=torch.float64)[self._lower()])

    def _lower(self) -> tuple[Tensor, Tensor]:
        rows, cols = torch.tril_indices(self.n_effects, self.n_effects)
        return rows, cols

    def factor(self) -> Tensor:
        """T, lower triangular; its sign is free, so that a variance of zero is an inner point."""
        lower = torch.zeros(self.n_effects, self.n_effects, dtype=torch.float64)
        return lower.index_put(self._lower(), self.free)

    def rows(self) -> Tensor:
        """The predictors of the spherical effects z, shape (obs, effect)."""
        return self.columns @ self.factor()

    def spread(self) -> tuple[Tensor, Tensor]:
        """Standard deviations (effect,) and correlations (effect, effect)."""
        covariance = self.factor() @ self.factor().T
        sigma = torch.sqrt(torch.diagonal(covariance).clamp_min(1e-300))
        return sigma, covariance / torch.outer(sigma, sigma)


class MixedModel(Likelihood):
    r"""A generalized linear mixed model; ``forward`` is its Laplace-approximated log-likelihood.

    .. math:: \log p(y) \approx \log p(y \mid \hat z) - \tfrac12 \|\hat z\|^2 - \tfrac12 \log\det H

    with :math:`\hat z` the mode and H minus the Hessian of the joint density there; without group
    effects it is the plain log-likelihood.

    References
    ----------
    Bates et al. (2015), doi:10.18637/jss.v067.i01; Breslow & Clayton (1993), doi:10.2307/2290687.
    """

    def __init__(
        self, common: Array, offset: Array, outcome: Outcomes, effects: Sequence[GroupEffect]
    ) -> None:
        super().__init__()
        self.common, self.offset = torch.as_tensor(common), torch.as_tensor(offset)
        self.outcome = outcome
        self.beta = nn.Parameter(torch.zeros(common.shape[1], dtype=torch.float64))
        self.effects: Any = nn.ModuleList(effects)
        self.solver: Any = _solver(list(effects))
        self.mode = [torch.zeros(e.n_groups, e.n_effects, dtype=torch.float64) for e in effects]

    def forward(self) -> Tensor:
        if not self.effects:
            return self.outcome.log_prob(self.fixed()).sum()
        rows = [effect.rows() for effect in self.effects]
        with torch.no_grad():
            self._find_mode([r.detach() for r in rows])
            curvature = self.solver.factorise(
                [r.detach() for r in rows], self.outcome.information(self._logits(rows, self.mode))
            )
        # one Newton step from the mode moves nothing, and carries the mode's derivative
        score = self.outcome.score(self._logits(rows, self.mode))
        gradient = [g - z for g, z in zip(self.solver.project(rows, score), self.mode, strict=True)]
        step = self.solver.solve(curvature, gradient)
        modes = [z + s for z, s in zip(self.mode, step, strict=True)]
        logits = self._logits(rows, modes)
        joint = self.outcome.log_prob(logits).sum() - 0.5 * sum((z**2).sum() for z in modes)
        final = self.solver.factorise(rows, self.outcome.information(logits))
        return joint - 0.5 * self.solver.log_det(final)

    def fixed(self) -> Tensor:
        """The linear predictor without group effects."""
        return self.common @ self.beta + self.offset

    def _logits(self, rows: list[Tensor], modes: list[Tensor]) -> Tensor:
        logits = self.fixed()
        for effect, row, z in zip(self.effects, rows, modes, strict=True):
            logits = logits + (row * z[effect.index]).sum(1)
        return logits

    def _joint(self, rows: list[Tensor], modes: list[Tensor]) -> Tensor:
        inside = self.outcome.log_prob(self._logits(rows, modes)).sum()
        return inside - 0.5 * sum((z**2).sum() for z in modes)

    def _find_mode(self, rows: list[Tensor]) -> None:
        """Newton with step halving on the concave joint density, from the last mode."""
        value = self._joint(rows, self.mode)
        for _ in range(100):
            logits = self._logits(rows, self.mode)
            curvature = self.solver.factorise(rows, self.outcome.information(logits))
            projected = self.solver.project(rows, self.outcome.score(logits))
            gradient = [g - z for g, z in zip(projected, self.mode, strict=True)]
            step = self.solver.solve(curvature, gradient)
            size = 1.0
            while size > 1e-8:
                trial = [z + size * s for z, s in zip(self.mode, step, strict=True)]
                new = self._joint(rows, trial)
                if new >= value - 1e-12 * abs(value):
                    break
                size /= 2
            self.mode, gain, value = trial, float(new - value), new
            if gain < 1e-12 * (1 + abs(float(value))):
                return
        raise NotConverged("the mode of the group effects was not found in 100 Newton steps")

    def conditional(self) -> list[tuple[Array, Array]]:
        """Modes of the effects and their conditional standard deviations, (group, effect) each."""
        if not self.effects:
            return []
        with torch.no_grad():
            self.forward()
            rows = [effect.rows() for effect in self.effects]
            logits = self._logits(rows, self.mode)
            curvature = self.solver.factorise(rows, self.outcome.information(logits))
            inverses = self.solver.blocks_of_inverse(curvature)
        found = []
        for effect, z, inverse in zip(self.effects, self.mode, inverses, strict=True):
            factor = effect.factor().detach()
            variance = torch.einsum("ij,gjk,ik->gi", factor, inverse, factor)
            found.append(((z @ factor.T).numpy(), np.sqrt(variance.numpy())))
        return found


class _OneFactor:
    """The Hessian of a single grouping factor: one small block a group."""

    def __init__(self, effect: GroupEffect) -> None:
        self.effect = effect

    def factorise(self, rows: list[Tensor], weight: Tensor) -> Tensor:
        (row,) = rows
        products = row[:, :, None] * (weight[:, None] * row)[:, None, :]
        size = (self.effect.n_groups, *products.shape[1:])
        blocks = torch.zeros(size, dtype=torch.float64).index_add(0, self.effect.index, products)
        return torch.linalg.cholesky(blocks + torch.eye(size[1], dtype=torch.float64))

    def project(self, rows: list[Tensor], score: Tensor) -> list[Tensor]:
        return [_gather(self.effect, rows[0] * score[:, None])]

    def solve(self, curvature: Tensor, gradient: list[Tensor]) -> list[Tensor]:
        return [torch.cholesky_solve(gradient[0][..., None], curvature)[..., 0]]

    def log_det(self, curvature: Tensor) -> Tensor:
        return 2 * torch.log(torch.diagonal(curvature, dim1=1, dim2=2)).sum()

    def blocks_of_inverse(self, curvature: Tensor) -> list[Tensor]:
        return [torch.cholesky_inverse(curvature)]


class _Crossed:
    """The Hessian of several grouping factors, dense."""

    def __init__(self, effects: list[GroupEffect]) -> None:
        self.effects = effects
        self.sizes = [e.n_groups * e.n_effects for e in effects]
        if sum(self.sizes) > MAX_CROSSED:
            raise SpecError(
                f"maximum likelihood with {sum(self.sizes)} crossed group effects is beyond the "
                f"{MAX_CROSSED} that are factorised densely; use method='nuts' or fewer groups"
            )

    def _wide(self, rows: list[Tensor]) -> Tensor:
        parts = []
        for effect, row in zip(self.effects, rows, strict=True):
            wide = torch.zeros(len(row), effect.n_groups, effect.n_effects, dtype=torch.float64)
            where = (torch.arange(len(row)), effect.index)
            parts.append(wide.index_put(where, row).reshape(len(row), -1))
        return torch.cat(parts, dim=1)

    def factorise(self, rows: list[Tensor], weight: Tensor) -> Tensor:
        wide = self._wide(rows)
        hessian = wide.T @ (weight[:, None] * wide)
        return torch.linalg.cholesky(hessian + torch.eye(len(hessian), dtype=torch.float64))

    def project(self, rows: list[Tensor], score: Tensor) -> list[Tensor]:
        return [_gather(e, row * score[:, None]) for e, row in zip(self.effects, rows, strict=True)]

    def solve(self, curvature: Tensor, gradient: list[Tensor]) -> list[Tensor]:
        flat = torch.cat([g.reshape(-1) for g in gradient])
        parts = torch.cholesky_solve(flat[:, None], curvature)[:, 0].split(self.sizes)
        return [p.reshape(g.shape) for p, g in zip(parts, gradient, strict=True)]

    def log_det(self, curvature: Tensor) -> Tensor:
        return 2 * torch.log(torch.diagonal(curvature)).sum()

    def blocks_of_inverse(self, curvature: Tensor) -> list[Tensor]:
        inverse, start, blocks = torch.cholesky_inverse(curvature), 0, []
        for effect, size in zip(self.effects, self.sizes, strict=True):
            own = inverse[start : start + size, start : start + size]
            shape = (effect.n_groups, effect.n_effects) * 2
            blocks.append(torch.einsum("gigj->gij", own.reshape(shape)))
            start += size
        return blocks


def _solver(effects: list[GroupEffect]) -> _OneFactor | _Crossed:
    return _OneFactor(effects[0]) if len(effects) == 1 else _Crossed(effects)


def _gather(effect: GroupEffect, values: Tensor) -> Tensor:
    size = (effect.n_groups, effect.n_effects)
    return torch.zeros(size, dtype=torch.float64).index_add(0, effect.index, values)
