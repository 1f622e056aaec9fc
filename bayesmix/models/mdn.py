"""Mixture density networks: a neural network whose output is a mixture of Gaussians."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from bayesmix import schema
from bayesmix.blocks import mixtures, network_guides, network_units, ties
from bayesmix.blocks.alignment import agreed_order, taken
from bayesmix.blocks.columns import Columns
from bayesmix.blocks.independent import IndependentPriors
from bayesmix.blocks.network import ACTIVATIONS, NOISE, Heads, Network
from bayesmix.blocks.network_units import DEFAULT_SCALE, FLOOR, Standards
from bayesmix.blocks.response import measured
from bayesmix.blocks.spread import require_target
from bayesmix.errors import DataError, SpecError, listed
from bayesmix.kernels import HasKernel, Kernel
from bayesmix.priors import ALL, Normal, Prior, given_prior, named_priors
from bayesmix.protocols import (
    Array,
    Design,
    DistributionFunction,
    Guide,
    HasComponents,
    HasGuides,
    HasModes,
    HasNetwork,
    Params,
)
from bayesmix.specs import as_tuple, check_choice, check_count, check_number

KINDS = ("hidden", "logit", "loc", "scale", "tril")
DEFAULT_PRIOR = Normal(0.0, DEFAULT_SCALE)


@dataclass(frozen=True)
class MDN(IndependentPriors, HasModes, HasGuides, HasKernel, HasNetwork, HasComponents):
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
        by one number). ``in_raw_units`` in :mod:`bayesmix.blocks.network` has the formulas.

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

    inputs: str | tuple[str, ...] = "x"
    target: str | tuple[str, ...] = "target"
    n_components: int = 3
    hidden: tuple[int, ...] = (20,)
    activation: str = "tanh"
    noise: str = "full"
    floor: float | None = None
    fixed_scale: float | None = None
    priors: Any = ()
    default_method: ClassVar[str] = "ensemble"
    component: ClassVar[str] = "component"

    def __post_init__(self) -> None:
        for name in ("inputs", "target"):
            object.__setattr__(self, name, _names(name, getattr(self, name)))
        both = sorted(set(self.inputs) & set(self.target))
        if both:
            raise SpecError(f"MDN: {listed(both)} cannot be both an input and a target")
        check_count("MDN", "n_components", self.n_components)
        hidden = as_tuple("MDN", "hidden", self.hidden)
        for units in hidden:
            check_count("MDN", "hidden", units)
        object.__setattr__(self, "hidden", hidden)
        check_choice("MDN", "activation", self.activation, ACTIVATIONS)
        check_choice("MDN", "noise", self.noise, NOISE)
        if self.floor is not None:
            object.__setattr__(self, "floor", check_number("MDN", "floor", self.floor, low=0))
        if (self.noise == "fixed") != (self.fixed_scale is not None):
            raise SpecError(
                "MDN: fixed_scale, a number in units of the targets, goes with noise='fixed' and "
                f"with no other; got noise={self.noise!r}, fixed_scale={self.fixed_scale!r}"
            )
        if self.fixed_scale is not None:
            wide = check_number("MDN", "fixed_scale", self.fixed_scale, low=0)
            if wide == 0:
                raise SpecError("MDN: fixed_scale must be above zero")
            object.__setattr__(self, "fixed_scale", wide)
        object.__setattr__(self, "priors", named_priors(self.priors))
        known = (ALL, *KINDS, *self.network(1).shapes)
        unknown = [name for name, _ in self.priors if name not in known]
        if unknown:
            raise SpecError(
                f"priors for {listed(unknown)} match nothing in the model; allowed: {listed(known)}"
            )

    def network(self, n_inputs: int, floor: float | tuple[float, ...] = FLOOR) -> Network:
        """Sizes of the network with that many numbers in; ``floor`` is for where none was given."""
        wide = 1.0 if self.fixed_scale is None else self.fixed_scale
        least = floor if self.floor is None else self.floor
        sizes = (n_inputs, len(self.target), self.n_components, self.hidden)
        return Network(*sizes, self.activation, self.noise, least, wide)

    @property
    def formula(self) -> str:
        """What depends on what, as other families have it: for axes and tables."""
        sides = ([f"`{n}`" if not n.isidentifier() else n for n in names]
                 for names in (self.target, self.inputs))  # fmt: skip
        return " ~ ".join(" + ".join(names) for names in sides)

    def design(self, data: Any) -> Design:
        """Arrays ``X`` (obs, input) and ``Y`` (obs, output)."""
        if isinstance(data, Design):
            return data
        table = schema.frame(data)
        if "component" in self.target:
            raise DataError(
                "draws of a mixture come with a variable 'component', so a target cannot be called "
                "so; rename the column"
            )
        schema.columns(table, [*self.inputs, *self.target])
        columns = Columns.of(self.inputs, table)
        x, y = columns.values(table), self._targets(table)
        standards = Standards.of(self.network(x.shape[1]), columns, x, y, self.floor)
        return self._assemble(standards, table, scored=True)

    def new_design(self, data: Any, trained: Design) -> Design:
        """New rows; the targets may be absent."""
        table = schema.frame(data)
        given = [name for name in self.target if name in table and bool(table[name].notna().all())]
        return self._assemble(trained.state, table, scored=len(given) == len(self.target))

    def _targets(self, table: pd.DataFrame) -> Array:
        return np.stack([measured(table[name]) for name in self.target], axis=1)

    def _assemble(self, standards: Standards, table: pd.DataFrame, *, scored: bool) -> Design:
        columns = standards.columns
        arrays = {"X": columns.values(table)} | ({"Y": self._targets(table)} if scored else {})
        network = self.network(len(columns.labels))
        coords: dict[str, tuple[Any, ...]] = {
            "input": columns.labels,
            "output": tuple(self.target),
            "component": tuple(range(self.n_components)),
            "pair": tuple(f"{self.target[i]}, {self.target[j]}" for i, j in network.pairs),
        }
        coords |= {f"unit_{i}": tuple(range(n)) for i, n in enumerate(self.hidden, start=1)}
        kept = [*columns.names, *(self.target if scored else ())]
        known = {"X": ("obs", "input"), "Y": ("obs", "output")}
        dims = {name: known[name] for name in arrays}
        units = network_units.arrays(self, network, standards)
        dims |= {name: (f"{name} entry",) for name in units}
        return Design(
            arrays | units, dims, coords, table.loc[:, kept], self.target[0], standards,
            tuple(self.target),
        )  # fmt: skip

    def dims(self, design: Design) -> dict[str, tuple[str, ...]]:
        wide = "input"
        found: dict[str, tuple[str, ...]] = {}
        for number in range(1, len(self.hidden) + 1):
            unit = f"unit_{number}"
            found |= {f"hidden_{number}_weight": (unit, wide), f"hidden_{number}_bias": (unit,)}
            wide = unit
        output = ("output",) if len(self.target) > 1 else ()
        own = {"diagonal": ("component", *output), "full": ("component", *output)}
        own |= {"isotropic": ("component",), "isotropic-shared": ()}
        leads = {"logit": ("component",), "loc": ("component", *output)}
        leads |= {"scale": own.get(self.noise, ()), "tril": ("component", "pair")}
        for name in self.network(design.arrays["X"].shape[1]).heads_present:
            found |= {f"{name}_weight": (*leads[name], wide), f"{name}_bias": leads[name]}
        return found

    def check_outcome(self, design: Design) -> None:
        for name, values in zip(self.target, design.arrays["Y"].T, strict=True):
            require_target(name, values, None if self.noise == "fixed" else self.floor)

    def require_outcome(self, design: Design) -> None:
        if "Y" not in design.arrays:
            raise DataError(
                f"these rows cannot be scored: give the target, {listed(self.target)}, in every row"
            )

    def named(self, full: Params, design: Design) -> dict[str, Array]:
        """Parameters in the shapes that are reported: one target has no axis of its own."""
        sizes = {name: len(labels) for name, labels in design.coords.items()}
        found = {}
        for name, dims in self.dims(design).items():
            lead = np.ndim(full[name]) - len(self.network_of(design).shapes[name])
            shape = (*np.shape(full[name])[:lead], *(sizes[dim] for dim in dims))
            found[name] = np.reshape(full[name], shape)
        return found

    def network_of(self, design: Design) -> Network:
        """The network for these data."""
        return self.network(design.arrays["X"].shape[1], design.state.floor)

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
        return mixtures.log_density(*self.log_parts(params, data))

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
            mixtures.moments(np.exp(heads.log_weight), heads.loc[..., j], variance)
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

    def prior(self, name: str) -> Prior:
        """The prior of one parameter: its own, else its kind's, else the default in force."""
        return given_prior(name, name.split("_")[0], dict(self.priors)) or DEFAULT_PRIOR

    def is_given(self, name: str) -> bool:
        return given_prior(name, name.split("_")[0], dict(self.priors)) is not None

    def reported(self, free: Params, design: Design) -> dict[str, Array]:
        return network_units.reported(self, free, design)

    def free(self, params: Params, design: Design) -> dict[str, Array]:
        return network_units.free(self, params, design)

    def log_volume(self, design: Design) -> float:
        return network_units.log_volume(self, design)

    def prior_table(self, design: Design) -> dict[str, str]:
        return network_units.table(self, design)

    def pymc_model(self, data: Any) -> Any:
        """The network in PyMC: priors on all weights, the mixture's components summed out.

        Variables called ``standard ...`` are parameters of the network on standardised data; those
        that a fit reports follow from them.
        """
        from bayesmix.blocks import graph_network

        return graph_network.model_of(self, self.design(data))

    def kernel(self, data: Any, *, jacobian: bool = True) -> Kernel | None:
        """The compiled density, where every prior is normal."""
        del jacobian  # nothing is transformed
        return network_units.kernel(self, self.design(data))

    def modes(self, data: Any, rng: np.random.Generator) -> list[Params]:
        return network_guides.modes(self, self.design(data), rng)

    def guides(self, data: Any, rng: np.random.Generator) -> list[Guide]:
        return network_guides.guides(self, self.design(data), rng)

    def trainable(self, data: Any, rows: Array | None = None) -> Any:
        from bayesmix.blocks.trainable import Trainable

        design = self.design(data)
        x, y = design.arrays["X"], design.arrays["Y"]
        return Trainable.of(self.network_of(design), x, y, rows)

    def torch_module(self, data: Any) -> Any:
        """The log-likelihood in PyTorch, on data as they are."""
        from bayesmix.blocks.nets_mdn import NetworkLikelihood

        design = self.design(data)
        return NetworkLikelihood(self.network_of(design), design.arrays["X"], design.arrays["Y"])

    def from_torch(self, module: Any, data: Any) -> tuple[dict[str, Array], dict[str, Array]]:
        design = self.design(data)
        return self.named(module.arrays(), design), {}


def _names(field: str, given: Any) -> tuple[str, ...]:
    names = (given,) if isinstance(given, str) else given
    if not isinstance(names, Sequence) or not names or not all(isinstance(n, str) for n in names):
        raise SpecError(f"MDN: {field} must be a column's name or several, got {given!r}")
    if len(set(names)) < len(names):
        raise SpecError(f"MDN: {field} names a column twice: {listed(names)}")
    return tuple(names)
