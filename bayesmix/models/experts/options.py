"""Options of a mixture of experts, and its data as the equation sees them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd

from bayesmix.compiled.kernels import HasKernel
from bayesmix.design import formula as formulas
from bayesmix.design import table as tables
from bayesmix.design.linear import Linear, check_names, check_side
from bayesmix.design.spread import require_target
from bayesmix.design.targets import RegressionTarget, read_target
from bayesmix.errors import DataError, FormulaError
from bayesmix.mixtures.components import Expert, expert_of
from bayesmix.models.experts import units as expert_units
from bayesmix.models.experts.equation import Coefficients, Gated
from bayesmix.models.experts.units import ExpertUnits, Whitening, whiten
from bayesmix.priors import IndependentPriors, Prior, given_prior, kind_of, named_priors
from bayesmix.protocols import Array, Design, HasComponents, HasEM, HasModes, HasTorch, Params
from bayesmix.specs import check_choice, check_count, check_number


@dataclass(frozen=True, eq=False)
class _State:
    """What the design of new rows needs to know of the training rows."""

    target: RegressionTarget
    linear: tuple[Linear, Linear, Linear]
    units: ExpertUnits


_whitened: WeakKeyDictionary[Design, tuple[Gated, Whitening]] = WeakKeyDictionary()


@dataclass(frozen=True)
class ExpertOptions(IndependentPriors, HasModes, HasKernel, HasTorch, HasEM, HasComponents):
    """What :class:`bayesmix.MixtureOfExperts` is told, checked; its readings are made of this."""

    formula: str = "target ~ x"
    n_experts: int = 3
    expert: str = "gaussian"
    gate: str = "same"
    scale: str = "linear"
    floor: float | None = None
    priors: Any = ()
    component: ClassVar[str] = "expert"

    def __post_init__(self) -> None:
        formulas.split(self.formula)
        check_count("MixtureOfExperts", "n_experts", self.n_experts)
        check_choice("MixtureOfExperts", "expert", self.expert, ("gaussian", "binomial", "poisson"))
        if self.floor is not None:
            floor = check_number("MixtureOfExperts", "floor", self.floor, low=0)
            object.__setattr__(self, "floor", floor)
        for name in ("gate", "scale"):
            check_side("MixtureOfExperts", name, getattr(self, name))
        object.__setattr__(self, "priors", named_priors(self.priors))

    # --- the data as the equation sees them -------------------------------------------------------

    def design(self, data: Any) -> Design:
        """Arrays ``y``, ``X``, ``G``, ``S``: target, and columns of loc, gate and scale."""
        if isinstance(data, Design):
            return data
        table = tables.frame(data)
        lhs, rhs = formulas.split(self.formula)
        target = read_target(lhs, self.expert, table)
        target.require_name()
        wanted = {"": rhs, "gate_": self._gate_rhs(rhs), "scale_": self._scale_rhs(rhs)}
        names = [n for text in wanted.values() if text for n in formulas.variables(text)]
        predictors = tables.columns(table, list(dict.fromkeys(names)))
        if target.name in predictors:
            raise FormulaError(f"the target {target.name!r} stands on both sides of the formula")
        inherited = {"": False, "gate_": self.gate == "same", "scale_": self.scale == "linear"}
        linear = tuple(
            Linear.of(kind, "expert", text, predictors, inherited=inherited[kind])
            for kind, text in wanted.items()
        )
        self._check(linear, len(table))
        columns = pd.concat([predictors, target.columns(table)], axis=1)
        columns = columns.loc[:, ~columns.columns.duplicated()]
        values = target.values(table)
        arrays = self._arrays(linear, values, len(columns))  # type: ignore[arg-type]
        units = expert_units.units_of(self.expert, linear, arrays, self.floor, self.is_given)  # type: ignore[arg-type]
        return self._assemble(_State(target, linear, units), arrays, columns)  # type: ignore[arg-type]

    def new_design(self, data: Any, trained: Design) -> Design:
        """New rows; the target may be absent."""
        table = tables.frame(data)
        state: _State = trained.state
        names = [str(n) for n in trained.columns if n not in state.target.names]
        predictors = tables.columns(table, names)
        linear = tuple(one.new(predictors) for one in state.linear)
        values = state.target.new_values(table)
        arrays = self._arrays(linear, values, len(table))  # type: ignore[arg-type]
        return self._assemble(replace(state, linear=linear), arrays, predictors)  # type: ignore[arg-type]

    def _gate_rhs(self, rhs: str) -> str | None:
        if self.n_experts == 1:
            return None
        return rhs if self.gate == "same" else self.gate.removeprefix("~").strip()

    def _scale_rhs(self, rhs: str) -> str | None:
        if self.expert != "gaussian":
            return None
        named = {"linear": rhs, "constant": "1"}
        return named.get(self.scale, self.scale.removeprefix("~").strip())

    def _check(self, linear: tuple[Linear, ...], n: int) -> None:
        if self.n_experts > n:
            raise DataError(f"{self.n_experts} experts need as many rows, got {n}; use fewer")
        check_names(linear, [name for name, _ in self.priors])

    def _arrays(
        self, linear: tuple[Linear, Linear, Linear], values: dict[str, Array], n: int
    ) -> dict[str, Array]:
        offset = None if linear[0].matrices is None else linear[0].matrices.offset
        arrays = {name: one.columns(n) for name, one in zip("XGS", linear, strict=True)}
        arrays = {name: x for name, x in arrays.items() if x.shape[1]}
        arrays["offset"] = np.zeros(n) if offset is None else offset
        return arrays | values

    def _assemble(self, state: _State, arrays: dict[str, Array], columns: pd.DataFrame) -> Design:
        dims = {name: ("obs", f"{name}_column") if name in "XGS" else ("obs",) for name in arrays}
        coords: dict[str, tuple[Any, ...]] = {"expert": tuple(range(self.n_experts))}
        for name, one in zip("XGS", state.linear, strict=True):
            coords |= one.coords()
            if name in arrays:
                coords[f"{name}_column"] = one.labels
        units = state.units.arrays(floor=self.expert == "gaussian")
        dims |= {name: ("standard",) * array.ndim for name, array in units.items()}
        return Design(arrays | units, dims, coords, columns, state.target.name, state)

    def rows(self, design: Design) -> Gated:
        """The design in the shape that densities and EM work on."""
        arrays, none = design.arrays, np.empty((design.n_obs, 0))
        held = {"target": arrays.get("y", np.full(design.n_obs, np.nan))}
        held |= {"trials": arrays["trials"]} if "trials" in arrays else {}
        x, g, s = (arrays.get(name, none) for name in "XGS")
        return Gated(self.family(design), held, x, g, s, arrays["offset"])

    def whitened(self, design: Design) -> tuple[Gated, Whitening]:
        """The rows in coordinates of unit scale, and the way back; kept as long as the design."""
        if design not in _whitened:
            labels = tuple(one.labels for one in design.state.linear)
            units: ExpertUnits = design.state.units
            _whitened[design] = whiten(self.rows(design), labels, units.location, units.scale)
        return _whitened[design]

    def family(self, design: Design) -> Expert:
        """The experts' family: densities, derivatives and draws of the target."""
        return expert_of(self.expert, design.state.units.floor)

    def dims(self, design: Design) -> dict[str, tuple[str, ...]]:
        return {k: v for one in design.state.linear for k, v in one.dims().items()}

    def check_outcome(self, design: Design) -> None:
        if self.expert == "gaussian":
            require_target(design.target, design.arrays["y"], self.floor)

    def require_outcome(self, design: Design) -> None:
        if "y" not in design.arrays:
            design.state.target.refuse()

    def prior(self, name: str) -> Prior:
        """The prior of one coefficient: its own, else its kind's, else the default in force."""
        return expert_units.prior_of(name, self.expert, dict(self.priors))

    def is_given(self, name: str) -> bool:
        return given_prior(name, kind_of(name), dict(self.priors)) is not None

    def n_free(self, design: Design) -> int:
        """Coefficients that the likelihood determines: the gate's common shift is none."""
        sizes = [len(one.labels) for one in design.state.linear]
        return self.n_experts * sum(sizes) - sizes[1]

    def coefficients(self, params: Params, design: Design) -> Coefficients:
        """The named parameters of one point as coefficients."""
        return Coefficients(*(one.gather(params, (self.n_experts,)) for one in design.state.linear))

    def named(self, c: Coefficients, design: Design) -> dict[str, Array]:
        """Coefficients as named parameters."""
        pairs = [one.scatter(coef) for one, coef in zip(design.state.linear, c, strict=True)]
        return {**pairs[0], **pairs[1], **pairs[2]}
