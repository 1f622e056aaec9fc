"""Mixtures of experts: several regressions, and a gate that says which one holds where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from bayesmix.compiled.kernels import Kernel
from bayesmix.design.spread import require_rows
from bayesmix.mixtures import algebra
from bayesmix.mixtures.components import mixed_moments
from bayesmix.models.experts import equation, starts
from bayesmix.models.experts import priors as expert_priors
from bayesmix.models.experts.options import ExpertOptions
from bayesmix.priors import Normal
from bayesmix.protocols import Array, Design, DistributionFunction, Params


@dataclass(frozen=True)
class MixtureOfExperts(ExpertOptions):
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
        it to one (:mod:`bayesmix.design.standard`); m and s are the target's mean and sd. For log
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

    default_method: ClassVar[str] = "nuts"

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
        return algebra.log_softmax(gate), loc, spread

    def log_parts(self, params: Params, data: Any) -> tuple[Array, Array]:
        design = self.design(data)
        log_weight, loc, spread = self.predictors(params, design)
        return log_weight, self.family(design).log_density(self.rows(design).columns(), loc, spread)

    def log_density(self, params: Params, data: Any) -> Array:
        return algebra.log_density(*self.log_parts(params, data))

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
        drawn, part = equation.draw(rng, self.rows(design), *coefficients)
        return {design.target: drawn, "component": part}

    def relabel(self, params: Params, data: Any) -> tuple[Params, Array]:
        return starts.relabel(self, params, self.design(data))

    def ordered(self, params: Params, data: Any) -> Params:
        return starts.ordered(self, params, self.design(data))

    # --- priors and PyMC --------------------------------------------------------------------------

    def reported(self, free: Params, design: Design) -> dict[str, Array]:
        return expert_priors.reported(self, free, design)

    def free(self, params: Params, design: Design) -> dict[str, Array]:
        return expert_priors.free(self, params, design)

    def log_volume(self, design: Design) -> float:
        return self.n_experts * design.state.units.log_volume

    def prior_table(self, design: Design) -> dict[str, str]:
        return expert_priors.table(self, design)

    def pymc_model(self, data: Any) -> Any:
        """The model in PyMC: the marginal mixture, its components summed out.

        Variables called ``standard ...`` are coefficients of standardised data; those that a fit
        reports follow from them.
        """
        from bayesmix.models.experts import in_pymc

        return in_pymc.model_of(self, self.design(data))

    def kernel(self, data: Any, *, jacobian: bool = True) -> Kernel | None:
        """The density as a compiled loop, for normal priors; others are left to PyMC."""
        del jacobian  # nothing is transformed
        design = self.design(data)
        priors = [self.prior(name) for name in self.dims(design)]
        if not all(isinstance(prior, Normal) for prior in priors):
            return None
        from bayesmix.models.experts import in_numba

        return in_numba.kernel(self, design)

    def modes(self, data: Any, rng: np.random.Generator) -> list[Params]:
        return starts.modes(self, self.design(data), rng)

    # --- maximum likelihood -----------------------------------------------------------------------

    def em_starts(self, data: Any, rng: np.random.Generator, count: int) -> list[Params]:
        design = self.design(data)
        rows, to_raw = self.whitened(design)
        if self.expert == "gaussian":
            require_rows("this mixture", design.n_obs, self.n_free(design), "use method='nuts'")
        found = starts.starts(rows, self.n_experts, rng, count)
        return [self.named(to_raw.raw(c), design) for c in found]

    def em_roots(self, params: Params, data: Any) -> dict[str, Array]:
        design = self.design(data)
        rows, to_raw = self.whitened(design)
        at = to_raw.whitened(self.coefficients(params, design))
        root, parts = starts.covariance_root(rows, to_raw, at), list[dict[str, Array]]()
        if root is None:
            return {}
        for column in root.T:
            parts.append(self.named(at.like(column), design))
        return {name: np.stack([part[name] for part in parts], axis=-1) for name in parts[0]}

    def em_moves(self, params: Params, data: Any) -> list[Params]:
        """One expert removed and another split, in every way that promises most."""
        design = self.design(data)
        rows, to_raw = self.whitened(design)
        found = starts.moves(rows, to_raw.whitened(self.coefficients(params, design)))
        return [self.named(to_raw.raw(c), design) for c in found]

    def em_wider(self, params: Params, data: Any, rng: np.random.Generator) -> Params:
        """Regions of their own for experts, and experts moved from one place to another."""
        return starts.wider(self, params, self.design(data), rng)

    def em_step(self, params: Params, data: Any) -> tuple[Params, float]:
        design = self.design(data)
        rows, to_raw = self.whitened(design)
        after, value = equation.em_step(rows, to_raw.whitened(self.coefficients(params, design)))
        return self.named(to_raw.raw(after), design), value - rows.n * to_raw.log_unit

    def em_finish(self, params: Params, data: Any) -> tuple[Params, dict[str, Array], float]:
        """Newton steps to the stationary point, experts in order, errors from the information."""
        design = self.design(data)
        rows, to_raw = self.whitened(design)
        c, slope = starts.polish(rows, to_raw.whitened(self.coefficients(params, design)))
        raw = starts.in_order(to_raw.raw(c), self.rows(design))
        errors = starts.standard_errors(rows, to_raw, to_raw.whitened(raw))
        return self.named(raw, design), self.named(errors, design), slope

    def torch_module(self, data: Any) -> Any:
        """The log-likelihood in PyTorch, at a rough solution; its context is the design's rows."""
        from bayesmix.models.experts.in_torch import ExpertsLikelihood

        design = self.design(data)
        start = self.em_starts(design, np.random.default_rng(0), 1)[0]
        return ExpertsLikelihood(self.rows(design), self.coefficients(start, design))

    def from_torch(self, module: Any, data: Any) -> tuple[dict[str, Array], dict[str, Array]]:
        design = self.design(data)
        return self.named(starts.in_order(module.coefficients(), self.rows(design)), design), {}
