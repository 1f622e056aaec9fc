"""Options of a mixture density network, and its data as the equation sees them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from bayesmix.compiled.kernels import HasKernel
from bayesmix.design import table as tables
from bayesmix.design.columns import Columns
from bayesmix.design.response import measured
from bayesmix.design.spread import require_target
from bayesmix.errors import DataError, SpecError, listed
from bayesmix.models.mdn import units as network_units
from bayesmix.models.mdn.equation import ACTIVATIONS, NOISE, Network
from bayesmix.models.mdn.units import DEFAULT_SCALE, FLOOR, Standards
from bayesmix.priors import ALL, IndependentPriors, Normal, Prior, given_prior, named_priors
from bayesmix.protocols import Array, Design, HasComponents, HasGuides, HasModes, HasNetwork, Params
from bayesmix.specs import as_tuple, check_choice, check_count, check_number

KINDS = ("hidden", "logit", "loc", "scale", "tril")
DEFAULT_PRIOR = Normal(0.0, DEFAULT_SCALE)


@dataclass(frozen=True)
class NetworkOptions(IndependentPriors, HasModes, HasGuides, HasKernel, HasNetwork, HasComponents):
    """What :class:`bayesmix.MDN` is told, checked; its readings are made of this."""

    inputs: str | tuple[str, ...] = "x"
    target: str | tuple[str, ...] = "target"
    n_components: int = 3
    hidden: tuple[int, ...] = (20,)
    activation: str = "tanh"
    noise: str = "full"
    floor: float | None = None
    fixed_scale: float | None = None
    priors: Any = ()
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
        table = tables.frame(data)
        if "component" in self.target:
            raise DataError(
                "draws of a mixture come with a variable 'component', so a target cannot be called "
                "so; rename the column"
            )
        tables.columns(table, [*self.inputs, *self.target])
        columns = Columns.of(self.inputs, table)
        x, y = columns.values(table), self._targets(table)
        standards = Standards.of(self.network(x.shape[1]), columns, x, y, self.floor)
        return self._assemble(standards, table, scored=True)

    def new_design(self, data: Any, trained: Design) -> Design:
        """New rows; the targets may be absent."""
        table = tables.frame(data)
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
        given = frozenset(name for name in network.shapes if self.is_given(name))
        units = network_units.arrays(given, network, standards)
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

    def prior(self, name: str) -> Prior:
        """The prior of one parameter: its own, else its kind's, else the default in force."""
        return given_prior(name, name.split("_")[0], dict(self.priors)) or DEFAULT_PRIOR

    def is_given(self, name: str) -> bool:
        return given_prior(name, name.split("_")[0], dict(self.priors)) is not None


def _names(field: str, given: Any) -> tuple[str, ...]:
    names = (given,) if isinstance(given, str) else given
    if not isinstance(names, Sequence) or not names or not all(isinstance(n, str) for n in names):
        raise SpecError(f"MDN: {field} must be a column's name or several, got {given!r}")
    if len(set(names)) < len(names):
        raise SpecError(f"MDN: {field} names a column twice: {listed(names)}")
    return tuple(names)
