"""Scores of fits that need no draws: held-out density by folds, and information criteria."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from bayesmix import rng as random
from bayesmix import workflow
from bayesmix.elpd import Scored
from bayesmix.errors import BayesmixError, DataError, MissingCapability, SpecError
from bayesmix.protocols import Array, Report
from bayesmix.result import Fit

INFORMATION = ("bic", "icl")


def folds_of(n: int, count: int) -> Array:
    """The fold of each row: sizes differ by one at most, and every model sees the same folds.

    Raises
    ------
    SpecError
        Fewer than two folds, or more than rows.
    """
    if not 2 <= count <= n:
        raise SpecError(f"compare: folds must lie in [2, {n}], the number of rows, got {count}")
    return random.stream(0, f"{count} folds of {n}").permutation(np.arange(n) % count)


def kfold(name: str, fit: Fit, count: int, report: Report) -> Scored:
    r"""Log density of each row under a fit to the folds that it is not in.

    Every fold is fitted again with the fit's own method and seed, so that point fits and draws are
    scored alike: by :math:`\log p(y_i \mid y_{-\mathrm{fold}(i)})`.

    Raises
    ------
    DataError
        A fold cannot be fitted, or holds a category that the others lack.
    """
    data, fold = fit.data, folds_of(fit.design.n_obs, count)
    values = np.empty(len(fold))
    for i in range(count):
        report(f"{count}-fold {name}", i / count)
        rest = data[fold != i].reset_index(drop=True)
        held = data[fold == i].reset_index(drop=True)
        try:
            again = workflow.fit(fit.model, rest, method=fit.method, seed=fit.seed, progress=False)
            values[fold == i] = again.log_density(held).to_numpy()
        except BayesmixError as error:
            raise DataError(f"{name!r} cannot be fitted without fold {i}: {error}") from error
    rows = pd.DataFrame({"elpd": values, "p_eff": np.nan, "mcse": np.nan, "how": f"{count}-fold"})
    scored = Scored(name, fit, rows, math.inf, np.empty(0, dtype=int), 0.0)
    lost = int((~np.isfinite(values)).sum())
    if lost:
        scored.notes.append(f"{name!r}: {lost} held-out rows have density zero under the rest.")
    return scored


def information(name: str, fit: Fit, criterion: str) -> Scored:
    r"""Minus half of BIC, or of ICL, row by row, so that higher is better as for elpd.

    .. math:: -\tfrac12\mathrm{BIC} = \log L - \tfrac{p}{2}\log n, \qquad
              -\tfrac12\mathrm{ICL} = -\tfrac12\mathrm{BIC} + \sum_{ik} h_{ik}\log h_{ik},

    with p free parameters and responsibilities h: ICL also asks that components be told apart.

    Raises
    ------
    MissingCapability
        The fit is not of maximum likelihood, or no mixture (ICL).

    References
    ----------
    Schwarz (1978), doi:10.1214/aos/1176344136; Biernacki, Celeux & Govaert (2000),
    doi:10.1109/34.865189.
    """
    if fit.tree.attrs.get("objective") != "log_likelihood":
        raise MissingCapability(
            f"criterion={criterion!r} is of maximum-likelihood fits, and {name!r} was fitted by "
            f"{fit.method.name!r}; fit with method='em' or 'mle', or use criterion='kfold'"
        )
    values, n = fit.log_density().to_numpy(), fit.design.n_obs
    p = int(fit.tree.attrs["n_parameters"])
    values = values - 0.5 * p * math.log(n) / n
    if criterion == "icl":
        h = fit.responsibilities()["responsibility"].to_numpy()
        values = values + (h * np.log(np.where(h > 0, h, 1.0))).sum(axis=1)
    rows = pd.DataFrame({"elpd": values, "p_eff": p / n, "mcse": 0.0, "how": criterion})
    return Scored(name, fit, rows, math.inf, np.empty(0, dtype=int), 0.0)
