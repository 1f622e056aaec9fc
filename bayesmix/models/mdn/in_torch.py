"""Mixture density networks in PyTorch: a module that maps inputs to a mixture distribution.

The equation is written once for any leading axes of the parameters, so that restarts and members
of an ensemble are one batched computation: (member, unit, input) beside (obs, input).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch import distributions as dist

from bayesmix.errors import SpecError
from bayesmix.models.mdn.equation import ACTIVATIONS, NOISE, Network
from bayesmix.networks.likelihood import Likelihood
from bayesmix.priors import LOG_2PI
from bayesmix.protocols import Array
from bayesmix.specs import check_choice, check_count, check_number

Weights = Mapping[str, Tensor]
_ACTIVATE = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "softplus": nn.functional.softplus,
}
_BISECTIONS = 200


class TorchHeads(NamedTuple):
    """Log weights (..., component), locs and scales (..., component, output), L below its diagonal.

    Scales have one entry along an axis that they are constant over.
    """

    log_weight: Tensor
    loc: Tensor
    scale: Tensor
    tril: Tensor | None


def heads(
    network: Network, weights: Weights, x: Tensor, floor: Tensor | float | None = None
) -> TorchHeads:
    """What the network sets at x (obs, input): leading axes are those of the weights, then obs.

    ``floor`` takes the place of the network's own, and may differ from output to output.
    """
    h = x
    for number in range(1, len(network.hidden) + 1):
        h = _ACTIVATE[network.activation](_affine(weights, f"hidden_{number}", h, 1))
    k, d = network.components, network.outputs
    loc = _affine(weights, "loc", h, 2)
    if k > 1:
        log_weight = torch.log_softmax(_affine(weights, "logit", h, 1), dim=-1)
    else:
        log_weight = loc.new_zeros(loc.shape[:-1])
    tril = _affine(weights, "tril", h, 2) if network.pairs else None
    if network.noise == "fixed":
        return TorchHeads(log_weight, loc, h.new_full((1, 1), network.fixed_scale), tril)
    axes = {"isotropic": 1, "isotropic-shared": 0}.get(network.noise, 2)
    spread = torch.exp(_affine(weights, "scale", h, axes))
    lead = loc.shape[:-2]  # of h only where there is a hidden layer
    shape = {0: (*lead, 1, 1), 1: (*lead, k, 1), 2: (*lead, k, d)}[axes]
    least = torch.as_tensor(network.floor, dtype=spread.dtype) if floor is None else floor
    scale = spread.reshape(shape) + least
    return TorchHeads(log_weight, loc, scale, tril)


def _affine(weights: Weights, name: str, h: Tensor, axes: int) -> Tensor:
    """W h + b, where the head's own outputs have that many axes."""
    w, b = weights[f"{name}_weight"], weights[f"{name}_bias"]
    lead = b.shape[: b.ndim - axes]
    flat = w.reshape(*lead, -1, w.shape[-1])
    out = h @ flat.mT + b.reshape(*lead, 1, -1)
    return out.reshape(*out.shape[:-1], *b.shape[b.ndim - axes :])


def split(network: Network, points: Tensor) -> dict[str, Tensor]:
    """Vectors (run, parameter) cut into named weights with a leading axis of runs."""
    found, position = {}, 0
    for name, shape in network.shapes.items():
        size = math.prod(shape)
        found[name] = points[:, position : position + size].reshape(len(points), *shape)
        position += size
    return found


def log_density(
    network: Network, weights: Weights, x: Tensor, y: Tensor, floor: Tensor | float | None = None
) -> Tensor:
    """Log density of targets y (obs, output): shape (..., obs)."""
    found = heads(network, weights, x, floor)
    z = (y.unsqueeze(-2) - found.loc) / found.scale
    if found.tril is not None:
        z = _substituted(network, z, found)
    log_scale = torch.log(found.scale).expand(found.loc.shape).sum(dim=-1)
    parts = found.log_weight - 0.5 * (z * z).sum(dim=-1) - log_scale
    return torch.logsumexp(parts, dim=-1) - 0.5 * network.outputs * LOG_2PI


def _substituted(network: Network, z: Tensor, found: TorchHeads) -> Tensor:
    """Forward substitution: the solution of L z = residual from residual / diagonal."""
    columns = list(z.unbind(dim=-1))
    assert found.tril is not None
    for at, (i, j) in enumerate(network.pairs):
        columns[i] = columns[i] - found.tril[..., at] * columns[j] / found.scale[..., i]
    return torch.stack(columns, dim=-1)


class MixtureDistribution(dist.MixtureSameFamily):
    """A mixture that also has quantiles, where its target is one number.

    Everything else is :class:`torch.distributions.MixtureSameFamily`: ``log_prob``, ``sample``,
    ``mean``, ``variance``, ``cdf``.
    """

    def icdf(self, value: Tensor) -> Tensor:
        """Quantile at a level in (0, 1), by bisection of the distribution function.

        Raises
        ------
        NotImplementedError
            The target is a vector.
        """
        if self.event_shape:
            raise NotImplementedError("quantiles are for one target; this mixture has several")
        parts: Any = self.component_distribution
        level = torch.as_tensor(value, dtype=parts.mean.dtype, device=parts.mean.device)
        ends = parts.icdf(level[..., None].expand(torch.broadcast_shapes(
            level[..., None].shape, parts.mean.shape)))  # fmt: skip
        low, high = ends.amin(dim=-1), ends.amax(dim=-1)
        for _ in range(_BISECTIONS):
            middle = 0.5 * (low + high)
            below = self.cdf(middle) < level
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
            if bool((high - low <= 1e-15 * (1 + middle.abs())).all()):
                break
        return 0.5 * (low + high)


class MixtureDensityNetwork(nn.Module):
    r"""A network whose output is a mixture of Gaussians: inputs -> ``torch.distributions``.

    Bishop's (1994) network, for a training loop of your own; :class:`bayesmix.MDN` is the spec
    that :func:`bayesmix.fit` trains. Parameters are called as there: ``hidden_1_weight``,
    ``loc_bias`` and so on.

    Parameters
    ----------
    n_inputs, n_outputs, n_components
        Columns in, targets out, components.
    hidden, activation, noise, floor, fixed_scale
        As for :class:`bayesmix.MDN`.

    Raises
    ------
    SpecError
        A size that is no whole number, an unknown activation or noise model.

    References
    ----------
    Bishop (1994), Mixture density networks, Aston University NCRG/94/004.

    Examples
    --------
    >>> import torch
    >>> _ = torch.manual_seed(1)
    >>> network = MixtureDensityNetwork(2, 1, 3)
    >>> found = network(torch.zeros(5, 2))
    >>> found.log_prob(torch.zeros(5)).shape, found.sample((7,)).shape
    (torch.Size([5]), torch.Size([7, 5]))
    """

    def __init__(
        self,
        n_inputs: int,
        n_outputs: int = 1,
        n_components: int = 3,
        hidden: Sequence[int] = (20,),
        activation: str = "tanh",
        noise: str = "diagonal",
        floor: float = 0.01,
        fixed_scale: float | None = None,
    ) -> None:
        super().__init__()
        owner = "MixtureDensityNetwork"
        for name, size in (
            ("n_inputs", n_inputs), ("n_outputs", n_outputs), ("n_components", n_components),
            *(("hidden", units) for units in hidden),
        ):  # fmt: skip
            check_count(owner, name, size)
        check_choice(owner, "activation", activation, ACTIVATIONS)
        check_choice(owner, "noise", noise, NOISE)
        if (noise == "fixed") != (fixed_scale is not None):
            raise SpecError(f"{owner}: fixed_scale goes with noise='fixed', and with no other")
        known = 1.0 if fixed_scale is None else fixed_scale
        self.network = Network(
            n_inputs, n_outputs, n_components, tuple(hidden), activation, noise,
            check_number(owner, "floor", floor, low=0),
            check_number(owner, "fixed_scale", known, low=0, strict=True),
        )  # fmt: skip
        for name, values in starting(self.network).items():
            self.register_parameter(name, nn.Parameter(values))

    def forward(self, inputs: Tensor) -> MixtureDistribution:
        """The distribution of the targets given inputs (obs, input)."""
        return distribution(self.network, dict(self.named_parameters()), inputs)


def distribution(network: Network, weights: Weights, inputs: Tensor) -> MixtureDistribution:
    """The mixture at inputs (obs, input); one target has no event axis."""
    found = heads(network, weights, inputs)
    mixing = dist.Categorical(logits=found.log_weight, validate_args=False)
    scale = found.scale.expand(found.loc.shape)
    parts: dist.Distribution
    if network.outputs == 1:
        parts = dist.Normal(found.loc[..., 0], scale[..., 0], validate_args=False)
    elif found.tril is None:
        parts = dist.Independent(dist.Normal(found.loc, scale, validate_args=False), 1)
    else:
        lower = torch.diag_embed(scale)
        rows, columns = zip(*network.pairs, strict=True)
        lower[..., list(rows), list(columns)] = found.tril
        parts = dist.MultivariateNormal(found.loc, scale_tril=lower, validate_args=False)
    return MixtureDistribution(mixing, parts, validate_args=False)


class NetworkLikelihood(Likelihood):
    """The log-likelihood of :class:`bayesmix.MDN`, its parameters at a random start.

    Parameters
    ----------
    network
        Sizes and noise model.
    x, y
        Inputs (obs, input) and targets (obs, output).
    """

    def __init__(self, network: Network, x: Array, y: Array) -> None:
        super().__init__()
        self.network, self.x, self.y = network, torch.as_tensor(x), torch.as_tensor(y)
        for name, values in starting(network, torch.float64).items():
            self.register_parameter(name, nn.Parameter(values))

    def log_prob(self) -> Tensor:
        """Pointwise log-likelihood (obs,)."""
        return log_density(self.network, dict(self.named_parameters()), self.x, self.y)

    def forward(self) -> Tensor:
        return self.log_prob().sum()

    def arrays(self) -> dict[str, Array]:
        """The parameters as NumPy arrays."""
        return {name: value.detach().numpy().copy() for name, value in self.named_parameters()}


def starting(network: Network, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
    """Random parameters: uniform within one over the root of the columns, as ``nn.Linear`` has."""
    found, wide = {}, 1
    for name, shape in network.shapes.items():
        wide = shape[-1] if name.endswith("_weight") else wide
        bound = 1 / math.sqrt(wide)
        found[name] = torch.empty(shape, dtype=dtype).uniform_(-bound, bound)
    return found
