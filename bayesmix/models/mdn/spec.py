"""Mixture density networks: a neural network whose output is a mixture of Gaussians."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from bayesmix.compiled.kernels import Kernel
from bayesmix.design import ties
from bayesmix.mixtures import algebra
from bayesmix.mixtures.alignment import agreed_order, taken
from bayesmix.models.mdn import guides as network_guides
from bayesmix.models.mdn import priors
from bayesmix.models.mdn.equation import Heads, Network
from bayesmix.models.mdn.options import NetworkOptions
from bayesmix.protocols import Array, Design, DistributionFunction, Guide, Params


@dataclass(frozen=True)
class MDN(NetworkOptions):
    r"""Mixture density network: a mixture of Gaussians whose every parameter is a network's output.

    .. math:: p(y \mid x) = \sum_{k=1}^K \pi_k(x)\,
              \mathrm N\big(y \mid \mu_k(x), L_k(x) L_k(x)^\top\big), \quad
              \pi(x) = \mathrm{softmax}(W_\pi h + b_\pi),

    with h the last hidden layer and L lower triangular, its diagonal
    :math:`\exp(\cdot) + \text{floor}`. Trained by maximum likelihood or, with priors on all
    weights and biases, sampled: the spec is the same, the method decides. Components come back in
    the order of the first target's loc at the data's centre.

    Parameters
    ----------
    inputs
        A column or several. Labels become an indicator for each level.
    target
        A column of numbers, or several: then the mixture is over their joint values.
    n_components
        K.
    hidden
        Units of each hidden layer; ``()`` makes every output linear in the inputs.
    activation
        ``"tanh"``, ``"relu"``, ``"sigmoid"`` or ``"softplus"``.
    noise
        What is free in L: ``"full"`` (a scale for each component and target, and correlations),
        ``"diagonal"`` (those scales alone), ``"isotropic"`` (one scale for each component),
        ``"isotropic-shared"`` (one scale for all, still a function of the inputs), ``"fixed"``. For
        one target the first three are the same.
    floor
        Least scale, in units of the targets; None takes a hundredth of each target's standard
        deviation over all rows given, those held out by a trainer, too.
    fixed_scale
        The scale of ``noise="fixed"``, in units of the targets.
    priors
        By name of a parameter (``loc_bias``) or of a kind: ``hidden``, ``logit``, ``loc``,
        ``scale``, ``tril``, ``all``; one prior alone is for all. A prior given so is on the
        parameter as it is reported, on data as they are. The others have Normal(0, 5) on the
        parameters of the same network on standardised data, which knows no units: inputs and
        targets less their means, divided by their standard deviations (those of the training rows;
        with ``"isotropic"``, ``"isotropic-shared"`` and ``"fixed"`` noise all targets are divided
        by one number). ``in_raw_units`` in :mod:`bayesmix.models.mdn.equation` has the formulas.

    Raises
    ------
    SpecError
        An unknown option.

    References
    ----------
    Bishop (1994), Mixture density networks, Aston University NCRG/94/004.

    Examples
    --------
    >>> import bayesmix as bm
    >>> method = bm.MLE(optimizer=bm.LBFGS())  # all its steps on all rows, as the book has it
    >>> fit = bm.fit(MDN("x", "target", 3), bm.datasets.one_to_many(), method=method, seed=1)
    >>> -fit.log_density().mean().item() < -2.03
    True
    """

    default_method: ClassVar[str] = "ensemble"

    def notes(self, design: Design) -> list[str]:
        return ties.notes(self.target, design.arrays.get("Y"))

    # --- the executable equation ------------------------------------------------------------------

    def heads(self, params: Params, data: Any) -> tuple[Network, Heads]:
        """Everything that the network sets at each row, for each sample."""
        design = self.design(data)
        network = self.network_of(design)
        return network, network.heads(params, design.arrays["X"])

    def log_parts(self, params: Params, data: Any) -> tuple[Array, Array]:
        design = self.design(data)
        network, heads = self.heads(params, design)
        return heads.log_weight, network.log_parts(heads, design.arrays["Y"])

    def log_density(self, params: Params, data: Any) -> Array:
        return algebra.log_density(*self.log_parts(params, data))

    def curves(self, params: Params, data: Any) -> dict[str, Array]:
        """``weight`` (sample, obs, component), ``loc`` and ``scale``, by output where several."""
        network, heads = self.heads(params, data)
        scale = np.sqrt(network.variances(heads))
        weight = np.exp(heads.log_weight)
        return {"weight": weight, "loc": self._plain(heads.loc), "scale": self._plain(scale)}

    def _plain(self, values: Array) -> Array:
        """Without the axis of outputs, where there is one."""
        return values[..., 0] if len(self.target) == 1 else values

    def moments(self, params: Params, data: Any) -> tuple[Array, Array]:
        """Mean and variance of each target: they hide the branches, see :meth:`Fit.sample`."""
        network, heads = self.heads(params, data)
        by_output = [
            algebra.moments(np.exp(heads.log_weight), heads.loc[..., j], variance)
            for j, variance in enumerate(np.moveaxis(network.variances(heads), 3, 0))
        ]
        mean, variance = (np.stack(found, axis=2) for found in zip(*by_output, strict=True))
        return self._plain(mean), self._plain(variance)

    def cdf(self, params: Params, data: Any) -> DistributionFunction:
        from scipy.special import ndtr

        _, heads = self.heads(params, data)
        weight, loc, scale = np.exp(heads.log_weight), heads.loc[..., 0], heads.scale[..., 0]

        def below(at: Array, rows: Array | slice = slice(None), *, above: bool = False) -> Array:
            z = (at[:, None] - loc[:, rows]) / scale[:, rows]
            z = -z if above else z
            return (weight[:, rows] * ndtr(z)).sum(axis=2)

        return below

    def simulate(self, params: Params, data: Any, rng: np.random.Generator) -> dict[str, Array]:
        """Every target and its ``component`` for each sample and row."""
        design = self.design(data)
        drawn, part = self.network_of(design).draw(rng, params, design.arrays["X"])
        return {n: drawn[..., j] for j, n in enumerate(self.target)} | {"component": part}

    def relabel(self, params: Params, data: Any) -> tuple[Params, Array]:
        design = self.design(data)
        order = agreed_order(self, params, design)
        loc = taken(self._centre(params, design), order)
        order = order[:, np.argsort(loc.mean(axis=0), kind="stable")]
        return self._reordered(params, design, order), order

    def ordered(self, params: Params, data: Any) -> Params:
        design = self.design(data)
        order = np.argsort(self._centre(params, design), axis=1, kind="stable")
        return self._reordered(params, design, order)

    def _centre(self, params: Params, design: Design) -> Array:
        """The first target's loc (sample, component) at the mean of the inputs."""
        centre = design.arrays["X"].mean(axis=0, keepdims=True)
        return self.network_of(design).heads(params, centre).loc[:, 0, :, 0]

    def _reordered(self, params: Params, design: Design, order: Array) -> dict[str, Array]:
        by_component = {
            name for name, dims in self.dims(design).items() if dims[:1] == ("component",)
        }
        return {
            name: taken(value, order) if name in by_component else np.asarray(value)
            for name, value in params.items()
        }

    def reported(self, free: Params, design: Design) -> dict[str, Array]:
        return priors.reported(self, free, design)

    def free(self, params: Params, design: Design) -> dict[str, Array]:
        return priors.free(self, params, design)

    def log_volume(self, design: Design) -> float:
        return priors.log_volume(self, design)

    def prior_table(self, design: Design) -> dict[str, str]:
        return priors.table(self, design)

    def pymc_model(self, data: Any) -> Any:
        """The network in PyMC: priors on all weights, the mixture's components summed out.

        Variables called ``standard ...`` are parameters of the network on standardised data; those
        that a fit reports follow from them.
        """
        from bayesmix.models.mdn import in_pymc

        return in_pymc.model_of(self, self.design(data))

    def kernel(self, data: Any, *, jacobian: bool = True) -> Kernel | None:
        """The compiled density, where every prior is normal."""
        del jacobian  # nothing is transformed
        return priors.kernel(self, self.design(data))

    def modes(self, data: Any, rng: np.random.Generator) -> list[Params]:
        return network_guides.modes(self, self.design(data), rng)

    def guides(self, data: Any, rng: np.random.Generator) -> list[Guide]:
        return network_guides.guides(self, self.design(data), rng)

    def trainable(self, data: Any, rows: Array | None = None) -> Any:
        from bayesmix.models.mdn.task import Trainable

        design = self.design(data)
        x, y = design.arrays["X"], design.arrays["Y"]
        return Trainable.of(self.network_of(design), x, y, rows)

    def torch_module(self, data: Any) -> Any:
        """The log-likelihood in PyTorch, on data as they are."""
        from bayesmix.models.mdn.in_torch import NetworkLikelihood

        design = self.design(data)
        return NetworkLikelihood(self.network_of(design), design.arrays["X"], design.arrays["Y"])

    def from_torch(self, module: Any, data: Any) -> tuple[dict[str, Array], dict[str, Array]]:
        design = self.design(data)
        return self.named(module.arrays(), design), {}
