"""Mixtures of experts: several regressions, and a gate that says which one holds where."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd

from bayesmix import schema
from bayesmix.blocks import (
    expert_arrays,
    expert_moves,
    expert_search,
    expert_starts,
    expert_units,
    gated,
    mixtures,
)
from bayesmix.blocks import formula as formulas
from bayesmix.blocks.expert_units import Units
from bayesmix.blocks.gated import Coefficients, Gated
from bayesmix.blocks.independent import IndependentPriors
from bayesmix.blocks.linear import Linear, check_names, check_side
from bayesmix.blocks.outcomes import Expert, mixed_moments
from bayesmix.blocks.spread import require_rows, require_target
from bayesmix.blocks.targets import Target, expert_of, read_target
from bayesmix.blocks.whitening import Whitening, whiten
from bayesmix.errors import DataError, FormulaError
from bayesmix.kernels import HasKernel, Kernel
from bayesmix.priors import Normal, Prior, given_prior, kind_of, named_priors
from bayesmix.protocols import (
    Array,
    Design,
    DistributionFunction,
    HasComponents,
    HasEM,
    HasModes,
    HasTorch,
    Params,
)
from bayesmix.specs import check_choice, check_count, check_number


@dataclass(frozen=True, eq=False)
class _State:
    """What the design of new rows needs to know of the training rows."""

    target: Target
    linear: tuple[Linear, Linear, Linear]
    units: Units


_whitened: WeakKeyDictionary[Design, tuple[Gated, Whitening]] = WeakKeyDictionary()


@dataclass(frozen=True)
class MixtureOfExperts(IndependentPriors, HasModes, HasKernel, HasTorch, HasEM, HasComponents):
    r"""Mixture of generalised linear experts with a softmax gate.

    .. math:: p(y \mid x) = \sum_{k=1}^K \pi_k(x)\, f\big(y \mid \mu_k(x), \sigma_k(x)\big),
              \quad \pi(x) = \mathrm{softmax}(\gamma_1^\top x, \dots, \gamma_K^\top x),

    with :math:`\mu_k = \beta_k^\top x` on the link scale and, for Gaussian experts,
    :math:`\sigma_k = \exp(\delta_k^\top x) + \text{floor}`. Experts come back in the order of their
    locs at the data's centre.

    Parameters
    ----------
    formula
        ``target ~ predictors``; ``p(successes, trials) ~ ...`` for binomial experts. Counts may
        have an ``offset(...)``.
    n_experts
        K.
    expert
        ``"gaussian"``, ``"binomial"`` (logit link) or ``"poisson"`` (log link).
    gate
        The gate's right-hand side, such as ``"x"``; ``"same"`` takes the experts'.
    scale
        The log scale's right-hand side: ``"linear"`` takes the experts', ``"constant"`` is ``"1"``.
    floor
        Least scale, in units of the target; None takes a hundredth of the target's standard
        deviation. It keeps the likelihood bounded: without it an expert can collapse on one point.
    priors
        By name of a coefficient (``x``, ``gate_x``, ``scale_Intercept``) or of a kind: ``loc``,
        ``gate``, ``scale``, ``all``; one prior alone is for all. A prior given so is on the
        coefficient as it is reported, on data as they are. The others have defaults that know no
        units, on the coefficients u of standardised data,

        .. math:: \beta = U^{-1}(s\,u + m e), \quad u_j \sim \mathrm N(0, 5^2),

        where U centres the columns of the training rows and scales what each adds to those before
        it to one (:mod:`bayesmix.blocks.standard`); m and s are the target's mean and sd. For log
        scales m is :math:`\log s` and s one, for the gate zero and one, for counts the link of the
        overall mean and one; log scales and counts have :math:`\mathrm N(0, 2.5^2)`. Beside priors
        given for other coefficients, an intercept's default is on the predictor at the columns'
        means, a slope's on the slope.

    Raises
    ------
    SpecError, FormulaError
        An unknown option, a formula with group effects.

    References
    ----------
    Jacobs, Jordan, Nowlan & Hinton (1991), doi:10.1162/neco.1991.3.1.79.

    Examples
    --------
    >>> import bayesmix as bm
    >>> model = MixtureOfExperts("target ~ x", n_experts=3, floor=0.01)
    >>> fit = bm.fit(model, bm.datasets.one_to_many(), method="em", seed=1)
    >>> [round(float(slope), 2) for slope in fit.tree["estimate"]["x"]]
    [0.42, -1.54, 0.42]
    """

    formula: str = "target ~ x"
    n_experts: int = 3
    expert: str = "gaussian"
    gate: str = "same"
    scale: str = "linear"
    floor: float | None = None
    priors: Any = ()
    default_method: ClassVar[str] = "nuts"
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
        table = schema.frame(data)
        lhs, rhs = formulas.split(self.formula)
        target = read_target(lhs, self.expert, table)
        target.require_name()
        wanted = {"": rhs, "gate_": self._gate_rhs(rhs), "scale_": self._scale_rhs(rhs)}
        names = [n for text in wanted.values() if text for n in formulas.variables(text)]
        predictors = schema.columns(table, list(dict.fromkeys(names)))
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
        table = schema.frame(data)
        state: _State = trained.state
        names = [str(n) for n in trained.columns if n not in state.target.names]
        predictors = schema.columns(table, names)
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
            units: Units = design.state.units
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

    # --- the executable equation ------------------------------------------------------------------

    def predictors(self, params: Params, data: Any) -> tuple[Array, Array, Array]:
        """Log weights, locs on the link scale and log scales: each (sample, obs, expert)."""
        design = self.design(data)
        lead = (len(next(iter(params.values()))), self.n_experts)
        rows = self.rows(design)
        loc, gate, spread = (
            np.einsum("np,skp->snk", columns, one.gather(params, lead), optimize=True)
            for columns, one in zip(
                (rows.loc, rows.gate, rows.spread), design.state.linear, strict=True
            )
        )
        loc = loc + design.arrays["offset"][:, None]
        return mixtures.log_softmax(gate), loc, spread

    def log_parts(self, params: Params, data: Any) -> tuple[Array, Array]:
        design = self.design(data)
        log_weight, loc, spread = self.predictors(params, design)
        return log_weight, self.family(design).log_density(self.rows(design).columns(), loc, spread)

    def log_density(self, params: Params, data: Any) -> Array:
        return mixtures.log_density(*self.log_parts(params, data))

    def curves(self, params: Params, data: Any) -> dict[str, Array]:
        """``weight``, ``loc`` (the expert's mean) and ``scale``, each (sample, obs, expert)."""
        design = self.design(data)
        family = self.family(design)
        log_weight, loc, spread = self.predictors(params, design)
        mean, variance = family.moments(self.rows(design).columns(), loc, spread)
        found = {"weight": np.exp(log_weight), "loc": mean}
        return found | ({"scale": np.sqrt(variance)} if family.has_scale else {})

    def moments(self, params: Params, data: Any) -> tuple[Array, Array]:
        """Mean and variance of the mixture: they hide its branches, see :meth:`Fit.sample`."""
        design = self.design(data)
        columns = self.rows(design).columns()
        return mixed_moments(self.family(design), columns, *self.predictors(params, design))

    def cdf(self, params: Params, data: Any) -> DistributionFunction:
        design = self.design(data)
        log_weight, loc, spread = self.predictors(params, design)
        weight, columns = np.exp(log_weight), self.rows(design).columns()
        family = self.family(design)

        def below(at: Array, rows: Array | slice = slice(None), *, above: bool = False) -> Array:
            own = {name: values[rows] for name, values in columns.items()}
            function = family.sf if above else family.cdf
            each = function(own, at[:, None], loc[:, rows], spread[:, rows])
            return (weight[:, rows] * each).sum(axis=2)

        return below

    def simulate(self, params: Params, data: Any, rng: np.random.Generator) -> dict[str, Array]:
        """One target and its ``component`` for each sample and row."""
        design = self.design(data)
        coefficients = [
            one.gather(params, (len(next(iter(params.values()))), self.n_experts))
            for one in design.state.linear
        ]
        drawn, part = expert_arrays.draw(rng, self.rows(design), *coefficients)
        return {design.target: drawn, "component": part}

    def relabel(self, params: Params, data: Any) -> tuple[Params, Array]:
        return expert_starts.relabel(self, params, self.design(data))

    def ordered(self, params: Params, data: Any) -> Params:
        return expert_starts.ordered(self, params, self.design(data))

    # --- priors and PyMC --------------------------------------------------------------------------

    def prior(self, name: str) -> Prior:
        """The prior of one coefficient: its own, else its kind's, else the default in force."""
        return expert_units.prior_of(name, self.expert, dict(self.priors))

    def is_given(self, name: str) -> bool:
        return given_prior(name, kind_of(name), dict(self.priors)) is not None

    def reported(self, free: Params, design: Design) -> dict[str, Array]:
        return expert_units.reported(self, free, design)

    def free(self, params: Params, design: Design) -> dict[str, Array]:
        return expert_units.free(self, params, design)

    def log_volume(self, design: Design) -> float:
        return self.n_experts * design.state.units.log_volume

    def prior_table(self, design: Design) -> dict[str, str]:
        return expert_units.table(self, design)

    def pymc_model(self, data: Any) -> Any:
        """The model in PyMC: the marginal mixture, its components summed out.

        Variables called ``standard ...`` are coefficients of standardised data; those that a fit
        reports follow from them.
        """
        from bayesmix.blocks import graph_experts

        return graph_experts.model_of(self, self.design(data))

    def kernel(self, data: Any, *, jacobian: bool = True) -> Kernel | None:
        """The density as a compiled loop, for normal priors; others are left to PyMC."""
        del jacobian  # nothing is transformed
        design = self.design(data)
        priors = [self.prior(name) for name in self.dims(design)]
        if not all(isinstance(prior, Normal) for prior in priors):
            return None
        return expert_arrays.kernel(self, design)

    def modes(self, data: Any, rng: np.random.Generator) -> list[Params]:
        return expert_starts.modes(self, self.design(data), rng)

    # --- maximum likelihood -----------------------------------------------------------------------

    def em_starts(self, data: Any, rng: np.random.Generator, count: int) -> list[Params]:
        design = self.design(data)
        rows, to_raw = self.whitened(design)
        if self.expert == "gaussian":
            require_rows("this mixture", design.n_obs, self.n_free(design), "use method='nuts'")
        found = expert_starts.starts(rows, self.n_experts, rng, count)
        return [self.named(to_raw.raw(c), design) for c in found]

    def em_roots(self, params: Params, data: Any) -> dict[str, Array]:
        design = self.design(data)
        rows, to_raw = self.whitened(design)
        at = to_raw.whitened(self.coefficients(params, design))
        root, parts = expert_starts.covariance_root(rows, to_raw, at), list[dict[str, Array]]()
        if root is None:
            return {}
        for column in root.T:
            parts.append(self.named(at.like(column), design))
        return {name: np.stack([part[name] for part in parts], axis=-1) for name in parts[0]}

    def em_moves(self, params: Params, data: Any) -> list[Params]:
        """One expert removed and another split, in every way that promises most."""
        design = self.design(data)
        rows, to_raw = self.whitened(design)
        found = expert_moves.moves(rows, to_raw.whitened(self.coefficients(params, design)))
        return [self.named(to_raw.raw(c), design) for c in found]

    def em_wider(self, params: Params, data: Any, rng: np.random.Generator) -> Params:
        """Regions of their own for experts, and experts moved from one place to another."""
        return expert_search.wider(self, params, self.design(data), rng)

    def em_step(self, params: Params, data: Any) -> tuple[Params, float]:
        design = self.design(data)
        rows, to_raw = self.whitened(design)
        after, value = gated.em_step(rows, to_raw.whitened(self.coefficients(params, design)))
        return self.named(to_raw.raw(after), design), value - rows.n * to_raw.log_unit

    def em_finish(self, params: Params, data: Any) -> tuple[Params, dict[str, Array], float]:
        """Newton steps to the stationary point, experts in order, errors from the information."""
        design = self.design(data)
        rows, to_raw = self.whitened(design)
        c, slope = expert_starts.polish(rows, to_raw.whitened(self.coefficients(params, design)))
        raw = expert_starts.in_order(to_raw.raw(c), self.rows(design))
        errors = expert_starts.standard_errors(rows, to_raw, to_raw.whitened(raw))
        return self.named(raw, design), self.named(errors, design), slope

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

    def torch_module(self, data: Any) -> Any:
        """The log-likelihood in PyTorch, at a rough solution; its context is the design's rows."""
        from bayesmix.blocks.nets_experts import ExpertsLikelihood

        design = self.design(data)
        start = self.em_starts(design, np.random.default_rng(0), 1)[0]
        return ExpertsLikelihood(self.rows(design), self.coefficients(start, design))

    def from_torch(self, module: Any, data: Any) -> tuple[dict[str, Array], dict[str, Array]]:
        design = self.design(data)
        return self.named(
            expert_starts.in_order(module.coefficients(), self.rows(design)), design
        ), {}
