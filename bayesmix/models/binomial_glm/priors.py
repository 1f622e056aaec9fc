r"""Priors of a binomial regression: in standard coordinates by default, in the data's where given.

The population's default priors are on the coefficients :math:`\gamma = U\beta` of standard columns
(:mod:`bayesmix.design.standard`, rows weighted by their trials),

.. math:: \gamma_0 \sim \mathrm N\big(\mathrm{link}(\bar p), 2.5\,c\big), \qquad
          \gamma_j \sim \mathrm N(0, 2.5\,c),

with :math:`\bar p` the overall share of successes: an intercept is that at the predictors' means, a
slope is a change in log-odds for one standard deviation. Effects of groups are standardised in the
same way, factor by factor, :math:`v_g = U_f u_g`, and

.. math:: v_g \sim \mathrm N(0, D_\sigma R D_\sigma), \quad \sigma \sim \mathrm{HalfCauchy}(2\,c),
          \quad R \sim \mathrm{LKJ}(2).

One logit is c units of the link: 1 of ``logit`` and of ``cloglog``, which is the log-odds where
successes are rare. Of ``probit`` it is the ratio of the densities at zero,

.. math:: c = \frac{\mathrm{dlogis}(0)}{\mathrm{dnorm}(0)} = \frac{1/4}{1/\sqrt{2\pi}}
            = \frac{1}{1.596} = 0.627,

so that a prior says the same of probabilities near one half under both links. (rstanarm has the
ratio the other way up and widens the priors of probits by 1.596.)

A prior given by hand is one on the coefficient, spread or correlation in the data's own units.

References
----------
Gelman, Jakulin, Pittau & Su (2008), doi:10.1214/08-AOAS191, on priors on scaled predictors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bayesmix.design.formula import Factor, Matrices, Term
from bayesmix.design.standard import Standard
from bayesmix.marginal import links
from bayesmix.models.binomial_glm import equation as groups
from bayesmix.priors import LKJ, HalfCauchy, Normal, Prior, worded
from bayesmix.protocols import Array, Params

COEFFICIENT_SCALE = 2.5
"""Prior sd of a log-odds: a change by 5 takes 1 % to 60 %, as large as effects of one sd come."""
DEFAULTS: dict[str, Prior | LKJ] = {
    "Intercept": Normal(0.0, COEFFICIENT_SCALE),
    "slope": Normal(0.0, COEFFICIENT_SCALE),
    "sigma": HalfCauchy(2.0),
    "corr": LKJ(2.0),
}


@dataclass(frozen=True, eq=False)
class PriorsInForce:
    """The priors of one formula on one set of training rows.

    Parameters
    ----------
    given
        Priors given by hand, by name of a term or parameter, or by kind.
    population
        Standard coordinates of the common effects.
    loc
        Prior means (column,) of standard coefficients.
    groups
        Standard coordinates of each factor's effects.
    link
        The link of the linear predictor, by which scales are chosen.
    """

    given: Mapping[str, Any]
    population: Standard
    loc: Array
    groups: Mapping[str, Standard]
    link: str = "logit"

    @classmethod
    def of(
        cls,
        given: Mapping[str, Any],
        matrices: Matrices,
        successes: Array,
        trials: Array,
        link: str = "logit",
    ) -> PriorsInForce:
        """The priors in force, given the training rows."""
        draft = cls(given, Standard.of(np.empty((1, 0))), np.empty(0), {})
        constant = _intercepts(matrices)
        own = np.zeros(len(constant), dtype=bool)
        for term in matrices.terms:
            own[term.columns] = draft.of_term(term, matrices) is not None
        population = Standard.of(matrices.common, trials, intercepts=constant, given=own)
        share = (successes.sum() + 0.5) / (trials.sum() + 1.0)
        loc = np.where(constant & ~own, links.predictor(link, share), 0.0)
        by_factor = {f.name: draft._effects(f, matrices, trials) for f in matrices.factors}
        return cls(given, population, loc, by_factor, link)

    @property
    def scale(self) -> float:
        """Prior sd of a standard coefficient."""
        return COEFFICIENT_SCALE * links.LOGIT_UNITS[self.link]

    def _effects(self, factor: Factor, matrices: Matrices, trials: Array) -> Standard:
        """Standard effects; a spread given by hand keeps them all in the data's units."""
        sigma, corr = (
            self.given.get(f"{kind}_{factor.name}", self.given.get(kind)) is not None
            for kind in ("sigma", "corr")
        )
        constant = np.array([effect == "Intercept" for effect in factor.effects])
        found = Standard.of(matrices.effects[factor.name], trials, intercepts=constant, given=sigma)
        if corr and not sigma:
            unit = np.diagonal(found.matrix)
            return Standard(np.diag(unit), np.diag(1 / unit))
        return found

    def of_term(self, term: Term, matrices: Matrices) -> Prior | None:
        """The prior that was given for a term's coefficients, or None for the default.

        Levels of a factor in a formula without intercept are intercepts.
        """
        kind = "Intercept" if _is_intercept(term, matrices) else "slope"
        return self.given.get(term.name) or self.given.get(kind)

    def of_factor(self, factor: Factor, kind: str) -> Any:
        """The prior of ``sigma`` or ``corr`` of a factor, in the coordinates of its effects."""
        named = self.given.get(f"{kind}_{factor.name}") or self.given.get(kind)
        return named or (self._spread if kind == "sigma" else DEFAULTS[kind])

    @property
    def _spread(self) -> HalfCauchy:
        return HalfCauchy(DEFAULTS["sigma"].scale * links.LOGIT_UNITS[self.link])  # type: ignore[union-attr]

    def defaults(self, matrices: Matrices) -> Array:
        """By column: it has the default prior."""
        found = np.zeros(len(self.loc), dtype=bool)
        for term in matrices.terms:
            found[term.columns] = self.of_term(term, matrices) is None
        return found

    def log_density(self, params: Params, matrices: Matrices) -> Array:
        """Log prior density (sample,) of the reported parameters."""
        total = np.zeros(len(next(iter(params.values()))))
        beta = _columns(params, matrices.terms, len(total))
        default = self.defaults(matrices)
        gamma = self.population.to_standard(beta)[:, default] - self.loc[default]
        total += Normal(0.0, self.scale).log_density(gamma).sum(axis=1)
        total += self.population.log_determinant
        for term in matrices.terms:
            if (prior := self.of_term(term, matrices)) is not None:
                total += prior.log_density(beta[:, term.columns]).sum(axis=1)
        for factor in matrices.factors:
            total += self._log_density_of_groups(factor, params)
        return total

    def _log_density_of_groups(self, factor: Factor, params: Params) -> Array:
        sigma, corr = factor.spread(params)
        standard = self.groups[factor.name]
        own_sigma, own_corr = spread_in(standard.matrix, sigma, corr)
        total = self.of_factor(factor, "sigma").log_density(own_sigma).sum(axis=1)
        if sigma.shape[1] > 1:
            total += groups.lkj_log_density(own_corr, self.of_factor(factor, "corr"))
        total += log_volume(standard, sigma, own_sigma)
        names = [factor.deviation(effect) for effect in factor.effects]
        return total + groups.log_density(np.stack([params[n] for n in names], axis=2), sigma, corr)

    def draw(self, matrices: Matrices, rng: np.random.Generator, draws: int) -> dict[str, Array]:
        """Draws of the reported parameters."""
        gamma = self.loc + rng.normal(0.0, self.scale, (draws, len(self.loc)))
        for term in matrices.terms:
            if (prior := self.of_term(term, matrices)) is not None:
                shape = (draws, term.columns.stop - term.columns.start)
                gamma[:, term.columns] = prior.draw(rng, shape)
        beta = self.population.to_raw(gamma)
        params = {
            term.name: beta[:, term.columns].reshape((draws,) if term.scalar else (draws, -1))
            for term in matrices.terms
        }
        for factor in matrices.factors:
            params |= self._draw_groups(factor, rng, draws)
        return params

    def _draw_groups(
        self, factor: Factor, rng: np.random.Generator, draws: int
    ) -> dict[str, Array]:
        n = len(factor.effects)
        sigma = self.of_factor(factor, "sigma").draw(rng, (draws, n))
        corr = groups.lkj_draw(rng, self.of_factor(factor, "corr"), draws, n)
        deviations = groups.draw(rng, sigma, corr, len(factor.levels))
        standard = self.groups[factor.name]
        raw = standard.to_raw(deviations)
        params = {factor.deviation(e): raw[..., j] for j, e in enumerate(factor.effects)}
        params[f"sigma_{factor.name}"], own = spread_in(standard.inverse, sigma, corr)
        return params | ({f"corr_{factor.name}": own} if n > 1 else {})

    def table(self, matrices: Matrices) -> dict[str, str]:
        """The prior of each parameter, or of each of its levels, in the data's units."""
        loc, scale = self.marginal(matrices)
        found: dict[str, str] = {}
        for term in matrices.terms:
            own = self.of_term(term, matrices)
            if own is not None:
                found[term.name] = worded(own)
                continue
            labels = [term.name] if term.scalar else [f"{term.name}[{v}]" for v in term.levels]
            normals = zip(labels, loc[term.columns], scale[term.columns], strict=True)
            found |= {label: f"Normal({a:.3g}, {b:.3g})" for label, a, b in normals}
        for factor in matrices.factors:
            found |= self._table_of_groups(factor)
        return found

    def marginal(self, matrices: Matrices) -> tuple[Array, Array]:
        """Mean and sd of each default coefficient's prior, in the data's units."""
        default = self.defaults(matrices)
        back = self.population.inverse[:, default]
        scale = self.scale * np.sqrt(np.square(back).sum(axis=1))
        return back @ self.loc[default], scale

    def _table_of_groups(self, factor: Factor) -> dict[str, str]:
        standard, names = self.groups[factor.name], factor.effects
        where = "" if standard.is_identity else " in standard units of the predictors"
        found = {factor.deviation(e): f"Normal(0, sigma_{factor.name}[{e}])" for e in names}
        found[f"sigma_{factor.name}"] = f"{worded(self.of_factor(factor, 'sigma'))}{where}"
        if len(names) > 1:
            found[f"corr_{factor.name}"] = f"{worded(self.of_factor(factor, 'corr'))}{where}"
        return found


def spread_in(matrix: Array, sigma: Array, corr: Array) -> tuple[Array, Array]:
    """Spreads (sample, effect) and correlations of ``matrix @ u``, where u has those given."""
    factor = matrix @ (sigma[:, :, None] * np.linalg.cholesky(corr))
    length = np.sqrt(np.square(factor).sum(axis=2))
    unit = factor / length[:, :, None]
    found = unit @ unit.transpose(0, 2, 1)
    found[:, np.arange(len(matrix)), np.arange(len(matrix))] = 1.0
    return length, found


def log_volume(standard: Standard, sigma: Array, own: Array) -> Array:
    r"""log of what a density of spreads and correlations gains in the data's units (sample,).

    :math:`S = D_\sigma R D_\sigma` has :math:`|\partial S / \partial(\sigma, R)| = 2^q \prod_i
    \sigma_i^q`, and :math:`U S U^\top` the volume :math:`|U|^{q + 1}` for q effects.
    """
    q = sigma.shape[1]
    ratio = q * (np.log(sigma) - np.log(own)).sum(axis=1)
    return ratio + (q + 1) * standard.log_determinant


def _is_intercept(term: Term, matrices: Matrices) -> bool:
    if any(other.name == "Intercept" for other in matrices.terms):
        return term.name == "Intercept"
    first = next((other.name for other in matrices.terms if not other.scalar), None)
    return term.name == first


def _intercepts(matrices: Matrices) -> Array:
    """By column: it is the intercept, or a level of the factor that stands in its place."""
    found = np.zeros(matrices.common.shape[1], dtype=bool)
    for term in matrices.terms:
        found[term.columns] = _is_intercept(term, matrices)
    return found


def _columns(params: Params, terms: Sequence[Term], count: int) -> Array:
    """Coefficients (sample, column) of all terms."""
    parts = [np.asarray(params[term.name]).reshape(count, -1) for term in terms]
    return np.concatenate(parts, axis=1) if parts else np.empty((count, 0))
