"""Hierarchical binomial regression: pooled, unpooled, partially pooled, with correlated effects."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from bayesmix.compiled.kernels import HasStandardKernel, Kernel
from bayesmix.design import formula as formulas
from bayesmix.design import table as tables
from bayesmix.design.response import Outcome, case_weights, new_trials, read_outcome
from bayesmix.errors import DataError, FormulaError, SpecError, brief, listed
from bayesmix.marginal import links
from bayesmix.models.binomial_glm import design as glm_design
from bayesmix.models.binomial_glm import equation, in_pymc
from bayesmix.models.binomial_glm import grouped as glm_grouped
from bayesmix.models.binomial_glm.equation import binomial
from bayesmix.models.binomial_glm.priors import DEFAULTS, PriorsInForce
from bayesmix.priors import check_effect_prior, pairs_of
from bayesmix.protocols import CASE_WEIGHT, DATA, Array, Design, HasGroups, Params
from bayesmix.specs import check_choice


@dataclass(frozen=True)
class _State:
    """What the design of new rows needs to know of the training rows."""

    outcome: Outcome
    matrices: formulas.Matrices
    priors: PriorsInForce


@dataclass(frozen=True)
class BinomialGLM(HasStandardKernel, HasGroups):
    r"""Binomial regression with any number of correlated group effects.

    .. math::
        y_i \sim \mathrm{Binomial}(n_i, p_i), \quad
        \mathrm{link}(p_i) = x_i^\top \beta + \sum_f z_{if}^\top u_{f, g_f(i)}, \quad
        u_{fg} \sim \mathrm{N}(0, D_\sigma R D_\sigma), \quad R \sim \mathrm{LKJ}(\eta).

    Parameters
    ----------
    formula
        ``p(successes, trials) ~ ...`` for counts, ``y ~ ...`` for a column of 0/1, True/False or
        two labels (``y['yes'] ~ ...`` names the success). ``~ sex`` pools completely,
        ``~ 0 + edu + sex`` not at all, ``~ sex + (1 | edu)`` partially; ``(sex | edu)`` lets the
        slope vary too. Effects in one pair of brackets are correlated; ``(1 | edu) + (0 + sex |
        edu)``, or ``(sex || edu)`` for short, are independent, with ``sigma_edu`` of the first and
        ``sigma_edu.1`` of the second. What a formula may call: ``docs/trust.md``.
    priors
        By name of the term (``sex``, ``sigma_edu``, ``corr_edu``) or of the kind: ``Intercept``,
        ``slope``, ``sigma``, ``corr``; a prior given so is on the parameter as it is reported, in
        the data's units. What is not given has a default that knows no units: the intercept at the
        predictors' means is Normal(link of the overall share, 2.5), a slope is Normal(0, 2.5) for
        one standard deviation of what its column adds to those before it, spreads are
        HalfCauchy(2) and correlations LKJ(2) of effects standardised likewise
        (:mod:`bayesmix.models.binomial_glm.priors`); ``Fit.summary`` prints the numbers in force.
        Levels of a factor in a formula without intercept take the prior of ``Intercept``.
    parametrization
        ``"mixed"`` (default), ``"centered"`` or ``"noncentered"``: one posterior, three geometries
        (:mod:`bayesmix.models.binomial_glm.in_pymc`).
    link
        ``"logit"`` (default), ``"probit"``, :math:`\Phi^{-1}(p)`, or ``"cloglog"``,
        :math:`\log(-\log(1 - p))`: the probability that something with a hazard
        :math:`e^\eta` has happened. Coefficients are on the link's scale, and so are
        priors given by hand; default scales are those of logits times 0.627 for probits
        (dlogis(0) / dnorm(0)), the same for ``cloglog``. Whatever the link, ``curves`` has
        ``probability`` and the linear predictor under the link's own name.

    weights
        Column of case weights: the log-likelihood of a row is multiplied by its weight. A whole
        number w is that row repeated w times, exactly: in estimates, errors, draws, default
        priors, BIC; 0 leaves a row out of all that. They are not sampling weights: errors are
        those of as many independent cases, not those of a survey's design. ``log_density``,
        ``predict`` and ``sample`` are of one case of a row, and new rows need no weights.

    Raises
    ------
    SpecError, FormulaError
        An unknown option, a prior of a kind that its parameter cannot take.

    References
    ----------
    Gelman & Hill (2006), doi:10.1017/CBO9780511790942.

    Examples
    --------
    >>> from bayesmix import datasets
    >>> model = BinomialGLM("p(high, total) ~ sex + (sex | edu)")
    >>> list(model.dims(model.design(datasets.census())))
    ['Intercept', 'sex', '1|edu', 'sex|edu', 'sigma_edu', 'corr_edu']
    """

    formula: str
    priors: Any = ()
    parametrization: str = "mixed"
    link: str = "logit"
    weights: str | None = None
    default_method: ClassVar[str] = "nuts"

    def __post_init__(self) -> None:
        formulas.split(self.formula)
        check_choice(
            "BinomialGLM", "parametrization", self.parametrization, in_pymc.PARAMETRIZATIONS
        )
        check_choice("BinomialGLM", "link", self.link, links.LINKS)
        if self.weights is not None and not isinstance(self.weights, str):
            raise SpecError(
                "BinomialGLM: weights must be the name of a column or None, got "
                f"{brief(self.weights)}; put the values into a column of the data"
            )
        given = pairs_of(self.priors)
        for name, prior in given.items():
            check_effect_prior(name, prior)
        object.__setattr__(self, "priors", tuple(sorted(given.items())))

    def design(self, data: Any) -> Design:
        """Arrays ``X`` (obs, common), ``trials`` and ``successes`` (obs), and one set a factor."""
        if isinstance(data, Design):
            return data
        table = tables.frame(data)
        lhs, rhs = formulas.split(self.formula)
        outcome = read_outcome(lhs, table)
        predictors = tables.columns(table, formulas.variables(rhs))
        if outcome.target in predictors.columns:
            raise FormulaError(
                f"the outcome {outcome.target!r} stands on both sides of the formula"
            )
        matrices = formulas.evaluate(rhs, predictors)
        counts = outcome.values(table) | case_weights(self.weights, outcome, table)
        weighted = table[[self.weights]] if self.weights else table[[]]
        columns = pd.concat([predictors, outcome.columns(table), weighted], axis=1)
        columns = columns.loc[:, ~columns.columns.duplicated()]
        self._check_priors(matrices)
        times = counts.get(CASE_WEIGHT, 1)
        if not np.any(times):
            raise DataError(f"weights={self.weights!r}: every weight is 0, so that no row counts")
        weighed = times * counts["successes"], times * counts["trials"]
        priors = PriorsInForce.of(dict(self.priors), matrices, *weighed, self.link)
        design = self._assemble(_State(outcome, matrices, priors), counts, columns)
        return glm_design.with_pivots(glm_design.with_standard(design))

    def new_design(self, data: Any, trained: Design) -> Design:
        """New rows: the outcome may be absent, and without a column of trials each row is one."""
        table = tables.frame(data)
        state: _State = trained.state
        _, rhs = formulas.split(self.formula)
        predictors = tables.columns(table, formulas.variables(rhs))
        matrices = formulas.evaluate_new(state.matrices, predictors)
        known = replace(state, matrices=matrices)
        counts = new_trials(state.outcome, table)
        if self.weights in table.columns:
            counts |= case_weights(self.weights, state.outcome, table)
        return self._assemble(known, counts, predictors)

    def _assemble(self, state: _State, counts: dict[str, Array], columns: pd.DataFrame) -> Design:
        matrices = state.matrices
        arrays: dict[str, Array] = {"X": matrices.common, **counts}
        dims: dict[str, tuple[str, ...]] = {"X": ("obs", "common"), **{k: ("obs",) for k in counts}}
        coords: dict[str, tuple[Any, ...]] = {"common": matrices.column_labels}
        if matrices.offset is not None:
            arrays["offset"], dims["offset"] = matrices.offset, ("obs",)
        for term in matrices.terms:
            if not term.scalar:
                coords[f"{term.name}_level"] = term.levels
        for factor in matrices.factors:
            group, effect, other = factor.dims
            coords |= {
                group: matrices.levels[factor.name],
                effect: factor.effects,
                other: factor.effects,
            }
            arrays[f"index_{factor.name}"] = matrices.index[factor.name]
            arrays[f"Z_{factor.name}"] = matrices.effects[factor.name]
            dims |= {f"index_{factor.name}": ("obs",), f"Z_{factor.name}": ("obs", effect)}
        return Design(arrays, dims, coords, columns, state.outcome.target, state)

    def dims(self, design: Design) -> dict[str, tuple[str, ...]]:
        matrices: formulas.Matrices = design.state.matrices
        dims: dict[str, tuple[str, ...]] = {
            term.name: () if term.scalar else (f"{term.name}_level",) for term in matrices.terms
        }
        for factor in matrices.factors:
            group, effect, other = factor.dims
            dims |= {factor.deviation(name): (group,) for name in factor.effects}
            dims[f"sigma_{factor.name}"] = (effect,)
            if len(factor.effects) > 1:
                dims[f"corr_{factor.name}"] = (effect, other)
        return dims

    def prior_table(self, design: Design) -> dict[str, str]:
        return design.state.priors.table(design.state.matrices)

    def _check_priors(self, matrices: formulas.Matrices) -> None:
        allowed = [*DEFAULTS, *(term.name for term in matrices.terms)]
        for factor in matrices.factors:
            allowed += [f"sigma_{factor.name}", f"corr_{factor.name}"]
        unknown = [name for name, _ in self.priors if name not in allowed]
        if unknown:
            raise SpecError(
                f"priors for {listed(unknown)} match nothing in the formula; "
                f"allowed: {listed(allowed)}"
            )

    def linear_predictor(self, params: Params, design: Design) -> Array:
        """The link of the success probability, shape (sample, obs)."""
        matrices: formulas.Matrices = design.state.matrices
        first = next(iter(params.values()))
        eta = np.zeros((len(first), design.n_obs)) + design.arrays.get("offset", 0.0)
        for term in matrices.terms:
            beta = params[term.name].reshape(len(first), -1)
            eta += beta @ design.arrays["X"][:, term.columns].T
        for factor in matrices.factors:
            index = design.arrays[f"index_{factor.name}"]
            for effect, column in zip(
                factor.effects, design.arrays[f"Z_{factor.name}"].T, strict=True
            ):
                eta += params[factor.deviation(effect)][:, index] * column
        return eta

    def log_density(self, params: Params, data: Any) -> Array:
        design = self.design(data)
        eta = self.linear_predictor(params, design)
        return binomial(design.arrays["successes"], design.arrays["trials"], eta, self.link)

    def curves(self, params: Params, data: Any) -> dict[str, Array]:
        """``probability`` of a success and, under its own name, its link: each (sample, obs)."""
        eta = self.linear_predictor(params, self.design(data))
        return {"probability": links.probability(self.link, eta), self.link: eta}

    def moments(self, params: Params, data: Any) -> tuple[Array, Array]:
        design = self.design(data)
        p = self.curves(params, design)["probability"]
        trials = design.arrays["trials"]
        return trials * p, trials * p * (1 - p)

    def simulate(self, params: Params, data: Any, rng: np.random.Generator) -> dict[str, Array]:
        design = self.design(data)
        p = self.curves(params, design)["probability"]
        return {design.target: rng.binomial(design.arrays["trials"], p)}

    def require_outcome(self, design: Design) -> None:
        design.state.outcome.require(design.arrays)

    def complete(self, params: Params, design: Design, rng: np.random.Generator) -> Params:
        """Effects of groups never seen, drawn from the population of groups."""
        completed = dict(params)
        for factor in design.state.matrices.factors:
            n_new = len(design.coords[factor.dims[0]]) - len(factor.levels)
            if n_new:
                sigma, corr = factor.spread(params)
                new = equation.draw(rng, sigma, corr, n_new)
                for j, effect in enumerate(factor.effects):
                    name = factor.deviation(effect)
                    completed[name] = np.concatenate([params[name], new[..., j]], axis=1)
        return completed

    def log_prior(self, params: Params, data: Any) -> Array:
        state: _State = self.design(data).state
        return state.priors.log_density(params, state.matrices)

    def draw_prior(self, data: Any, rng: np.random.Generator, draws: int) -> dict[str, Array]:
        state: _State = self.design(data).state
        return state.priors.draw(state.matrices, rng, draws)

    def pymc_model(self, data: Any) -> Any:
        """The model in PyMC: variables named as in the fit, data as ``pm.Data``."""
        import pymc as pm
        import pytensor.tensor as pt

        design = self.design(data)
        matrices: formulas.Matrices = design.state.matrices
        with pm.Model(coords={dim: list(labels) for dim, labels in design.coords.items()}) as model:
            data_of: dict[str, Any] = {
                name: pm.Data(DATA + name, array) for name, array in design.arrays.items()
            }
            beta = self._population(design, data_of)
            columns: Any = (
                pt.concatenate([pt.atleast_1d(b) for b in beta.values()]) if beta else None
            )
            free = matrices.free_columns
            eta = data_of.get("offset", 0.0)
            if len(free):
                # a sum of products, not a matrix product: BLAS is slower to link than to run here
                eta = eta + (data_of["X"][:, free] * columns[free]).sum(axis=1)
            claimed: set[str] = set()
            for factor in matrices.factors:
                eta = eta + self._group(factor, design, beta, columns, claimed, data_of)
            counts = {"n": data_of["trials"], "observed": data_of["successes"]}
            counts["case_weight"] = data_of.get(CASE_WEIGHT)
            in_pymc.binomial(design.target, in_pymc.log_odds(self.link, eta), **counts)
        return model

    def notes(self, design: Design) -> list[str]:
        return glm_grouped.notes(design, design.state.matrices)

    def kernel(self, data: Any, *, jacobian: bool = True) -> Kernel | None:
        from bayesmix.models.binomial_glm import kernel as glm_kernel

        found = self._regression(data)
        return None if found is None else glm_kernel.kernel(found, jacobian=jacobian)

    def standard_kernel(self, data: Any) -> Kernel | None:
        from bayesmix.models.binomial_glm import pilot

        found = self._regression(data)
        return None if found is None else pilot.standard(found)

    def _regression(self, data: Any) -> Any:
        """What the compiled loop reads; None for priors, or a subclass's model, that it has not."""
        from bayesmix.models.binomial_glm import regression

        if type(self).pymc_model is not BinomialGLM.pymc_model:
            return None
        return regression.of(self.design(data), self.parametrization)

    def grouped(self, data: Any) -> Any:
        design = self.design(data)
        return glm_grouped.grouped_logit(design, design.state.matrices)

    def population(self, marginal: Any, point: Array, design: Design) -> dict[str, Array]:
        common = point[: marginal.n_common].copy()
        return glm_grouped.population(design.state.matrices, common, marginal.spreads(point))

    def deviations(
        self, marginal: Any, point: Array, design: Design
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        return glm_grouped.deviations(design.state.matrices, marginal.conditional(point))

    def torch_module(self, data: Any) -> Any:
        """A ``MixedModel`` (``in_torch``): the likelihood of `grouped`, in torch."""
        from bayesmix.models.binomial_glm import in_torch

        found = self.grouped(data)
        effects = [in_torch.GroupEffect(e.columns, e.index, e.n_groups) for e in found.effects]
        outcome = self.outcome_torch(data)
        return in_torch.MixedModel(found.common, found.offset, outcome, effects)

    def outcome_torch(self, data: Any) -> Any:
        """The outcome in torch: maps predictors to a ``torch.distributions.Binomial``."""
        import torch

        from bayesmix.models.binomial_glm import in_torch

        arrays = self.design(data).arrays
        counts = arrays["successes"], arrays["trials"]
        outcome: Any = in_torch.BinomialLogit.of(*counts)
        if self.link != "logit":
            outcome = in_torch.BinomialLinked.of(*counts, self.link)
        if (weight := self.design(data).case_weight) is None:
            return outcome
        return in_torch.Repeated(outcome, torch.as_tensor(weight))

    def from_torch(self, module: Any, data: Any) -> tuple[dict[str, Array], dict[str, Array]]:
        return glm_grouped.from_torch(self.design(data).state.matrices, module)

    def _population(self, design: Design, data_of: dict[str, Any]) -> dict[str, Any]:
        """Coefficients by term: those with a default prior through standard coordinates."""
        matrices, priors = design.state.matrices, design.state.priors
        given = {
            term.name: prior.pymc(term.name, dims=None if term.scalar else f"{term.name}_level")
            for term in matrices.terms
            if (prior := priors.of_term(term, matrices)) is not None
        }
        default = priors.defaults(matrices)
        if not default.any():
            return given
        return in_pymc.population(
            {term.name: (term.columns, term.scalar) for term in matrices.terms},
            given,
            default,
            scale=priors.scale,
            loc=data_of["prior_loc"],
            to_raw=data_of["to_raw"],
        )

    def _group(
        self,
        factor: formulas.Factor,
        design: Design,
        beta: dict[str, Any],
        columns: Any,
        claimed: set[str],
        data_of: dict[str, Any],
    ) -> Any:
        name, priors = factor.name, design.state.priors
        free = design.state.matrices.free_columns
        mean = [0.0 if e in claimed else beta.get(e, 0.0) for e in factor.effects]
        claimed.update(factor.effects)
        score = data_of[f"score_{name}"]
        if len(free):
            score = score - (data_of[f"cross_{name}"] * columns[free]).sum(axis=2)
        units = (data_of.get(f"to_standard_{name}"), data_of.get(f"to_raw_{name}"))
        coefficients = in_pymc.group_effects(
            name,
            [factor.deviation(effect) for effect in factor.effects],
            mean,
            scale=priors.of_factor(factor, "sigma"),
            correlation=priors.of_factor(factor, "corr"),
            parametrization=self.parametrization,
            pivot=(data_of[f"information_{name}"], score),
            units=None if units[0] is None else units,
            dims=factor.dims,
        )
        index = data_of[f"index_{name}"]
        effects = data_of.get(f"standard_{name}", data_of[f"Z_{name}"])
        parts = [
            value[index] if effect == "Intercept" else value[index] * effects[:, j]
            for j, (effect, value) in enumerate(zip(factor.effects, coefficients, strict=True))
        ]
        return sum(parts)
