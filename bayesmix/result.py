"""The result of a fit: one frozen object whatever the engine."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from bayesmix import prediction
from bayesmix import rng as random
from bayesmix.calls import named_verbs
from bayesmix.design import table as schema
from bayesmix.errors import DataError, MissingCapability
from bayesmix.mixtures import algebra
from bayesmix.prediction import check_levels, check_values, quantiles_of
from bayesmix.protocols import Array, Design, HasComponents, Method, Model, Params
from bayesmix.tree import read, storage, uncertainty

if TYPE_CHECKING:
    import pandas as pd

    from bayesmix.diagnostics.diagnosis import Diagnosis

_TARGET = ("mean", "sd", "quantile_of_target")


@named_verbs
@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted model: the spec, the method, and one labelled tree of results.

    Parameters
    ----------
    model, method
        The specs that were fitted.
    tree
        An xarray DataTree: ``posterior`` and ``sample_stats`` for draws, ``estimate`` and
        ``fit_stats`` for a point, ``observed_data`` and ``constant_data`` always.

    Examples
    --------
    >>> import bayesmix as bm
    >>> fit = bm.fit(
    ...     bm.BinomialGLM("p(high, total) ~ sex"), bm.datasets.census(), method="mle", seed=1
    ... )
    >>> fit.summary().round(2).loc["sex", "estimate"].item()
    1.28
    """

    model: Model
    method: Method
    tree: xr.DataTree = field(repr=False)

    @property
    def seed(self) -> int:
        """The seed that repeats this fit."""
        return int(self.tree.attrs["seed"])

    @property
    def data(self) -> pd.DataFrame:
        """The columns that the fit was made from."""
        return read.training_columns(self.tree)

    @functools.cached_property
    def design(self) -> Design:
        """The training data as the model sees them."""
        return self.model.design(self.data)

    @property
    def target(self) -> str:
        """The observed variable's name.

        Raises
        ------
        MissingCapability
            There are several.
        """
        if len(names := self.design.observed) != 1:
            raise MissingCapability(
                f"this is about one target, and the fit has {len(names)} ({', '.join(names)}); "
                "sample(), predict() and log_density() are for several"
            )
        return self.design.target

    def summary(
        self,
        quantiles: Sequence[float] = (0.05, 0.95),
        *,
        only: str | None = None,
        prob: float | None = None,
    ) -> pd.DataFrame:
        """A row for each parameter: mean, sd, quantiles and chain statistics, or the estimate.

        Parameters
        ----------
        only
            ``"population"``, ``"groups"`` (the effects of single groups) or ``"all"``. None shows
            all, but folds the effects of more than 40 groups into one line.
        prob
            Mass of a central interval, in place of ``quantiles``.
        """
        from bayesmix.diagnostics import diagnosis, tables

        levels = tuple(check_levels(quantiles)) if prob is None else tables.ends(prob)
        return tables.chosen(diagnosis.summary(self.tree, quantiles=levels), only)

    def comparisons(
        self,
        variable: str,
        *,
        values: Sequence[Any] | None = None,
        by: str | Sequence[str] | None = None,
        new_data: Any = None,
        of: str | None = None,
        measure: str = "difference",
        prob: float = 0.9,
    ) -> pd.DataFrame:
        """What a change of one predictor does to the prediction: :func:`effects.comparisons`."""
        from bayesmix import effects

        wanted = effects.Question(variable, by, new_data, of, prob)
        return effects.comparisons(self, wanted, values=values, measure=measure)

    def slopes(
        self,
        variable: str,
        *,
        by: str | Sequence[str] | None = None,
        new_data: Any = None,
        of: str | None = None,
        prob: float = 0.9,
    ) -> pd.DataFrame:
        """The average slope of the prediction by one predictor: :func:`effects.slopes`."""
        from bayesmix import effects

        return effects.slopes(self, effects.Question(variable, by, new_data, of, prob))

    def odds_ratios(self, *, prob: float = 0.9) -> pd.DataFrame:
        """Odds ratios of the population's slopes, with intervals: of logistic models only."""
        from bayesmix import effects

        return effects.odds_ratios(self, prob=prob)

    def coefficients(self, group: str) -> xr.Dataset:
        """The effects that vary by a grouping factor: the population's plus the group's own.

        Parameters
        ----------
        group
            The factor, such as ``"edu"`` of ``sex + (1 | edu)``.

        Returns
        -------
        Dataset
            ``Intercept``, ``sex``, ... of each group: dims (chain, draw, edu) for draws, (edu) for
            a point, in units of the linear predictor. The lme4 package calls it ``coef``.

        Raises
        ------
        MissingCapability, UnknownName
            The fit has no group effects; none by this factor.

        Examples
        --------
        >>> import bayesmix as bm
        >>> model = bm.BinomialGLM("p(high, total) ~ sex + (1 | edu)")
        >>> fit = bm.fit(model, bm.datasets.census(), method="mle", seed=1)
        >>> fit.coefficients("edu")["Intercept"].sel(edu="Doctorate").round(2).item()
        0.01
        """
        from bayesmix import effects

        return effects.by_group(self.tree, group)

    def information(self) -> pd.Series:
        """Log-likelihood, degrees of freedom, AIC and BIC of a fit by maximum likelihood."""
        from bayesmix.diagnostics import tables

        return tables.information(self)

    def diagnose(self) -> Diagnosis:
        """A verdict on the fit, with advice in sentences."""
        from bayesmix.diagnostics import diagnosis, prior_beside

        prior = prior_beside.beside(self.model, self.method, self.tree, self.design, self.seed)
        return diagnosis.diagnose(self.tree, self.model.notes(self.design), prior)

    def predict(
        self, new_data: Any = None, *, quantiles: Sequence[float] = (0.05, 0.5, 0.95)
    ) -> xr.Dataset:
        """The predictive distribution of the target, and the family's curves, by row.

        Parameters
        ----------
        new_data
            Rows to predict; None means the training rows. Groups never seen are drawn from their
            population.
        quantiles
            Levels in (0, 1).

        Returns
        -------
        Dataset
            ``mean`` and ``sd`` of the target (obs), ``quantile_of_target`` (quantile, obs) from
            simulated outcomes, and for each curve its mean under its own name (obs) and its
            quantiles over draws, ``{curve}_quantile`` (quantile, obs): of a point estimate, over
            parameters that its standard errors leave plausible, NaN where it has none.
            ``outside_training`` (obs)
            is 0 within the range of the training rows; else it is how far the row lies outside in
            its farthest numeric column, in ranges of that column.

        Warns
        -----
        FarOutside
            Rows lie more than one range outside; the message names columns and rows.
        NoNumber
            The mean, sd or a quantile of a row is beyond double precision.
        """
        levels = check_levels(quantiles)
        design, params = self._at(new_data)
        likely = self._spread(params, design)
        parts = [
            self._predict_rows(params, likely, part, levels, first)
            for first, part in prediction.chunks(
                design, max(prediction.n_samples(params), prediction.OUTCOMES)
            )
        ]
        joined = {
            k: (dims, np.concatenate([part[k][1] for part in parts], axis=dims.index("obs")))
            for k, (dims, _) in parts[0].items()
        }
        distances, sentences = prediction.outside(self.design, design)
        prediction.warn_outside(sentences)
        told = [np.moveaxis(v, d.index("obs"), -1) for d, v in (joined[name] for name in _TARGET)]
        prediction.warn_beyond("mean, sd and quantiles of the target", *told)
        joined["outside_training"] = (("obs",), distances)
        coords = {"quantile": list(levels), "obs": np.arange(design.n_obs)}
        return xr.Dataset(joined, coords | self._components(joined.values()))

    def _predict_rows(
        self, params: Params, likely: Params | None, design: Design, levels: Array, first: int
    ) -> dict[str, tuple[tuple[str, ...], Array]]:
        mean, variance = self.model.moments(params, design)
        repeats = -(-prediction.OUTCOMES // prediction.n_samples(params))
        samples = np.tile(np.arange(prediction.n_samples(params)), repeats)
        outcome = prediction.simulate(
            self.model, prediction.picked(params, samples), design, self.seed, "predict", first
        )
        names = design.observed
        several = ("output",) if len(names) > 1 else ()
        drawn = np.stack([outcome[n] for n in names], axis=2) if several else outcome[design.target]
        quantiles = prediction.quantiles(drawn, levels)
        rows = {
            "mean": (("obs", *several), mean.mean(axis=0)),
            "sd": (("obs", *several), prediction.spread(mean, variance)),
            "quantile_of_target": (("quantile", "obs", *several), quantiles),
        }
        curves = self.model.curves(params, design)
        spread = curves
        if likely is not None and likely is not params:
            spread = self.model.curves(likely, design)
        for name, curve in curves.items():
            dims = self._curve_dims(curve)
            rows[name] = dims, curve.mean(axis=0)
            ends = prediction.quantiles(spread[name], levels)
            ends = np.full(ends.shape, np.nan) if likely is None else ends
            rows[f"{name}_quantile"] = ("quantile", *dims), ends
        return rows

    @property
    def _has_samples(self) -> bool:
        """Whether the fit holds draws or members, rather than one point."""
        return prediction.n_samples(read.draws(self.tree)) > 1

    def _spread(self, params: Params, design: Design) -> Params | None:
        """Values behind intervals of curves: draws, else those that the data leave plausible.

        Without either, the draws of groups never seen; None where one value is all there is.
        """
        likely = None if self._has_samples else self._likely(design)
        if likely is None and prediction.n_samples(params) > 1:
            return params
        return likely

    def _likely(self, design: Design) -> Params | None:
        """Parameters that the data leave plausible, for all groups of the rows; None if unknown."""
        params = uncertainty.plausible(self.tree, self.seed)
        return None if params is None else self._complete(params, design)

    def _curve_dims(self, curve: Array) -> tuple[str, ...]:
        """Dims of a curve after its samples: by component in a mixture, by output of several."""
        if curve.ndim == 2:
            return ("obs",)
        return ("obs", self._mixture().component, "output")[: curve.ndim - 1]

    def _components(self, variables: Iterable[tuple[tuple[str, ...], Array]]) -> dict[str, Any]:
        """Labels of the components, where some variable has them."""
        if not isinstance(self.model, HasComponents):
            return {}
        used = {dim for dims, _ in variables for dim in dims}
        known = (self.model.component, "output")
        return {dim: list(self.design.coords[dim]) for dim in known if dim in used}

    def _n_parts(self) -> int:
        """Number of components of a mixture."""
        return len(self.design.coords[self._mixture().component])

    def _mixture(self, what: str = "responsibilities()") -> HasComponents:
        if not isinstance(self.model, HasComponents):
            raise MissingCapability(
                f"{what} belongs to mixtures; {type(self.model).__name__} is no "
                "mixture: use predict() or curves()"
            )
        return self.model

    def curves(self, new_data: Any = None) -> xr.Dataset:
        """The family's curves for every draw, dims (sample, obs): what questions are asked of.

        A probability such as P(p_a > p_b) is the share of samples in which it holds.
        """
        design, params = self._at(new_data)
        curves = self.model.curves(params, design)
        found = {k: (("sample", *self._curve_dims(v)), v) for k, v in curves.items()}
        return xr.Dataset(found, self._components(found.values()))

    def sample(
        self, new_data: Any = None, *, draws: int | None = None, seed: int | None = None
    ) -> xr.Dataset:
        """Outcomes from the posterior predictive distribution.

        Parameters
        ----------
        draws
            How many; None takes one outcome for each posterior draw (1000 for a point estimate).
        seed
            None repeats the fit's own seed, so that the same call gives the same numbers.

        Returns
        -------
        Dataset
            The target under its own name, dims (draw, obs).
        """
        seed = random.check_seed(self.seed if seed is None else seed)
        design, params = self._at(new_data)
        chosen = prediction.chosen(params, draws, design.n_obs, seed)
        drawn = prediction.simulate(
            self.model, prediction.picked(params, chosen), design, seed, "outcomes", 0
        )
        coords = {"draw": np.arange(len(chosen)), "obs": np.arange(design.n_obs)}
        return xr.Dataset({k: (("draw", "obs"), v) for k, v in drawn.items()}, coords)

    def log_density(self, new_data: Any = None) -> xr.DataArray:
        """Pointwise log predictive density of observed rows: log of the average over draws.

        Raises
        ------
        DataError
            The rows lack the outcome.
        """
        design, params = self._at(new_data, outcome=True)
        parts = []
        for _, part in prediction.chunks(design, prediction.n_samples(params)):
            pointwise = self.model.log_density(params, part)
            parts.append(np.logaddexp.reduce(pointwise, axis=0) - np.log(len(pointwise)))
        values = np.concatenate(parts)
        return xr.DataArray(values, {"obs": np.arange(design.n_obs)}, "obs", "log_density")

    def conditional_density(self, new_data: Any, at: Any) -> xr.DataArray:
        """Predictive density (or probability) of the target at given values, for each row.

        Parameters
        ----------
        new_data
            Rows of predictors.
        at
            Values of the target, in its units.

        Returns
        -------
        DataArray
            Dims (obs, at); densities per unit of the target, averaged over draws.

        Raises
        ------
        DataError
            The target is text, not numbers.
        """
        values = check_values(at)
        if self.data[self.target].dtype.kind not in "iufb":
            raise DataError(
                f"the target {self.target!r} is text, so it has no density over numbers; "
                "use predict() or curves() for the probability of its labels"
            )
        rows = schema.frame(new_data).drop(columns=self.target, errors="ignore")
        index = np.repeat(np.arange(len(rows)), len(values))
        table = rows.iloc[index].reset_index(drop=True)
        table[self.target] = np.tile(values, len(rows))
        density = np.exp(self.log_density(table).to_numpy()).reshape(len(rows), len(values))
        coords = {"obs": np.arange(len(rows)), "at": values}
        return xr.DataArray(density, coords, ("obs", "at"), name="density")

    def conditional_quantiles(
        self, new_data: Any, quantiles: Sequence[float] = (0.05, 0.5, 0.95)
    ) -> xr.DataArray:
        """Quantiles of the target at each row, from the exact distribution of a mixture.

        :meth:`predict` has quantiles of simulated outcomes for every family; these have no
        simulation noise: they are roots of the predictive distribution function.

        Returns
        -------
        DataArray
            Dims (quantile, obs), in units of the target.

        Warns
        -----
        NoNumber
            A quantile is beyond double precision, and NaN; the message names the rows.
        """
        levels = check_levels(quantiles)
        model, _ = self._mixture("conditional_quantiles()"), self.target
        design, params = self._at(new_data)
        parts = [
            quantiles_of(model, params, part, levels)
            for _, part in prediction.chunks(design, prediction.n_samples(params) * self._n_parts())
        ]
        coords = {"quantile": list(levels), "obs": np.arange(design.n_obs)}
        found = np.concatenate(parts, axis=1)
        prediction.warn_beyond(f"the quantiles {levels.tolist()}", found)
        return xr.DataArray(found, coords, ("quantile", "obs"), name="quantile_of_target")

    def responsibilities(self, new_data: Any = None) -> xr.Dataset:
        """Probability of each component given a row, averaged over draws; mixtures only.

        Returns
        -------
        Dataset
            ``responsibility`` (obs, component) and ``most_probable`` (obs), a component.

        Raises
        ------
        MissingCapability
            The family is no mixture.
        DataError
            The rows lack the target.
        """
        model = self._mixture()
        design, params = self._at(new_data, outcome=True)
        parts = [
            algebra.responsibilities(*model.log_parts(params, part)).mean(axis=0)
            for _, part in prediction.chunks(design, prediction.n_samples(params) * self._n_parts())
        ]
        found = np.concatenate(parts)
        labels = np.asarray(design.coords[model.component])
        return xr.Dataset(
            {
                "responsibility": (("obs", model.component), found),
                "most_probable": ("obs", labels[found.argmax(axis=1)]),
            },
            {"obs": np.arange(design.n_obs), model.component: labels},
        )

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write one netCDF file, whole or not at all; :func:`bayesmix.load` reads it back."""
        return storage.write(self.tree, path)

    def plausible(self, new_data: Any = None) -> tuple[Design, Params]:
        """The design of some rows, and parameters (sample, ...) that the data leave plausible.

        Draws as they are; of a point estimate, values that its standard errors describe, or the
        estimate alone where it has none.
        """
        design, params = self._at(new_data)
        likely = None if self._has_samples else self._likely(design)
        return design, params if likely is None else likely

    def estimated(self, new_data: Any = None) -> tuple[Design, Params]:
        """The design of some rows, and every draw, or the estimate, for all of their groups."""
        return self._at(new_data)

    def _at(self, new_data: Any, *, outcome: bool = False) -> tuple[Design, Params]:
        """The design of the rows asked for, and parameters for all their groups."""
        params = read.draws(self.tree)
        if new_data is None:
            return self.design, params
        design = self.model.new_design(new_data, self.design)
        if outcome:
            self.model.require_outcome(design)
        return design, self._complete(params, design)

    def _complete(self, params: Params, design: Design) -> Params:
        """Parameters for groups never seen: a point stands for many draws from their population."""
        generator = random.stream(self.seed, "new groups")
        if prediction.n_samples(params) > 1:
            return self.model.complete(params, design, generator)
        many = prediction.picked(params, np.zeros(prediction.OUTCOMES, dtype=np.int64))
        completed = self.model.complete(many, design, generator)
        return params if all(completed[name] is many[name] for name in many) else completed
