"""Which model predicts best: one ranking by expected log predictive density, and its limits."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, overload

import numpy as np
import pandas as pd

from bayesmix.calls import named
from bayesmix.comparison import folds as kfolds
from bayesmix.comparison import loo as elpd
from bayesmix.comparison.folds import Selection
from bayesmix.comparison.report import Ranking
from bayesmix.comparison.stacking import stacking_weights
from bayesmix.diagnostics.diagnosis import engine_of
from bayesmix.errors import DataError, MissingCapability, NoDraws, SpecError, brief, listed
from bayesmix.progress import reporter
from bayesmix.protocols import Array, Report
from bayesmix.result import Fit
from bayesmix.specs import check_choice, check_count, check_switch
from bayesmix.tree import read

CRITERIA = ("loo", "waic", "kfold", *kfolds.INFORMATION)
"""Two that need draws, one that refits any fit by folds, two of maximum likelihood."""
LOO = ("auto", "psis", "exact")
BUDGET_SECONDS = 60.0
SMALL_DATA, SMALL_ELPD = 100, 4.0
_BAD = {"loo": "n_bad_k", "waic": "n_bad_variance"}


@dataclass(frozen=True, eq=False, repr=False)
class Comparison(Ranking):
    """Models in order of their expected log predictive density; it prints as a report to read.

    Parameters
    ----------
    criterion
        ``"loo"``, ``"waic"`` or ``"kfold"``; BIC and ICL have a table of their own,
        :class:`bayesmix.comparison.folds.Selection`.
    table
        One row a model, best first: ``rank``, ``elpd`` (log scale; multiply by -2 for a deviance)
        with its standard error ``se``, ``p_eff`` (effective number of parameters), ``elpd_diff``
        to the best with ``se_diff``, ``weight`` (stacking), ``mcse`` (Monte Carlo error of
        ``elpd``; NaN where it is unknown), the number of rows that cannot be trusted
        (``n_bad_k``: Pareto k too large; ``n_bad_variance`` for WAIC) and ``how`` it was computed.
    pointwise
        By model, a data frame with a row for each observation.
    notes
        Sentences: what was refitted, what cannot be trusted, what cannot be told apart.
    """

    criterion: str
    table: pd.DataFrame
    pointwise: Mapping[str, pd.DataFrame] = field(repr=False)
    notes: tuple[str, ...] = ()

    @property
    def ties(self) -> list[str]:
        """Models behind the best by less than 4, or by less than two standard errors."""
        behind, se = -self.table["elpd_diff"].iloc[1:], self.table["se_diff"].iloc[1:]
        return [str(name) for name in behind.index[~(behind >= np.maximum(2 * se, SMALL_ELPD))]]

    @property
    def verdict(self) -> str:
        """One sentence."""
        if len(self.table) == 1:
            row = self.table.iloc[0]
            return f"{self.best!r} has elpd {row['elpd']:.1f} (se {row['se']:.1f})."
        if self.ties:
            return (
                f"{self.best!r} ranks first, but {listed(self.ties)} cannot be told apart from it "
                "by this data."
            )
        return f"{self.best!r} predicts best, by more than two standard errors."


@overload
def compare(
    fits: Mapping[str, Fit], *, criterion: Literal["bic", "icl"], progress: bool = True
) -> Selection: ...
@overload
def compare(
    fits: Mapping[str, Fit],
    *,
    criterion: Literal["loo", "waic", "kfold"] = "loo",
    loo: str = "auto",
    folds: int = 10,
    progress: bool = True,
) -> Comparison: ...
@overload
def compare(
    fits: Mapping[str, Fit],
    *,
    criterion: str,
    loo: str = "auto",
    folds: int = 10,
    progress: bool = True,
) -> Comparison | Selection: ...
@named
def compare(
    fits: Mapping[str, Fit],
    *,
    criterion: str = "loo",
    loo: str = "auto",
    folds: int = 10,
    progress: bool = True,
) -> Comparison | Selection:
    r"""Rank fits of the same outcomes by how well they predict, or by an information criterion.

    .. math::
        \mathrm{elpd}_{loo} = \sum_i \log p(y_i \mid y_{-i}), \qquad
        \mathrm{elpd}_{waic} = \sum_i \log \mathrm{E}\, p(y_i \mid \theta)
        - \mathrm{Var} \log p(y_i \mid \theta)

    with mean and variance over posterior draws. Leave-one-out by Pareto-smoothed importance
    sampling (PSIS) is unreliable for a row whose Pareto k exceeds 0.7; there, and where k is within
    two standard errors of that, the model is fitted again without the row.

    Parameters
    ----------
    fits
        Fits by name; ``"loo"`` and ``"waic"`` need posterior draws, ``"bic"`` and ``"icl"`` fits
        of maximum likelihood.
    criterion
        ``"loo"`` (default); ``"waic"``, which cannot be repaired where it is unreliable;
        ``"kfold"``, the held-out log score of any fit, point or draws; ``"bic"`` or ``"icl"``,
        which weigh likelihood against the number of parameters (lower is better) and say nothing
        of predictions: their result is a :class:`bayesmix.comparison.folds.Selection`.
    loo
        ``"psis"`` never refits, ``"exact"`` refits without each row, ``"auto"`` does so for the
        rows with a large k if that takes less than a minute in all, else it says how long.
    folds
        Of ``"kfold"``: each is fitted again without its rows, which are then scored.
    progress
        Show a bar for the refits when someone is watching.

    Returns
    -------
    Comparison or Selection
        Of ``"loo"``, ``"waic"`` and ``"kfold"`` a :class:`Comparison`, whose weights are by
        stacking: the mixture of the models that predicts the rows best. Of ``"bic"`` and ``"icl"``
        a :class:`bayesmix.comparison.folds.Selection`: criterion, differences, numbers of
        parameters and log-likelihoods.

    Raises
    ------
    SpecError
        No fits, something that is not a fit, an unknown criterion or way of leaving out.
    NoDraws
        A fit is a point estimate, and the criterion needs draws.
    MissingCapability
        A fit is not of maximum likelihood (BIC, ICL), or not a mixture (ICL).
    DataError
        The fits are of different outcomes.

    References
    ----------
    Vehtari, Gelman & Gabry (2017), doi:10.1007/s11222-016-9696-4; Vehtari et al. (2024), JMLR
    25(72); Watanabe (2010), JMLR 11:3571; Yao et al. (2018), doi:10.1214/17-BA1091; Sivula et al.
    (2020), doi:10.48550/arXiv.2008.10296.

    Examples
    --------
    >>> import bayesmix as bm
    >>> from bayesmix import compare
    >>> census = bm.datasets.census()
    >>> fits = {
    ...     name: bm.fit(bm.BinomialGLM(f"p(high, total) ~ {terms}"), census, seed=1)
    ...     for name, terms in {"complete": "sex", "partial": "sex + (1 | edu)"}.items()
    ... }
    >>> compare(fits, loo="psis").best
    'partial'
    """
    check_choice("compare", "criterion", criterion, CRITERIA)
    check_choice("compare", "loo", loo, LOO)
    if criterion != "loo" and loo != "auto":
        raise SpecError(
            f"compare: loo={loo!r} belongs to criterion='loo'; {criterion.upper()} never refits "
            "row by row"
        )
    check_switch("compare", "progress", progress)
    fits = _checked(fits, draws=criterion in ("loo", "waic"))
    if criterion in kfolds.INFORMATION:
        notes = [note for name, fit in fits.items() for note in _cautions(name, fit)]
        return kfolds.by_information(fits, criterion, notes)
    with reporter(progress) as report:
        return _ranked(criterion, _scored(fits, criterion, loo, folds, report))


def _scored(
    fits: dict[str, Fit], criterion: str, loo: str, folds: int, report: Report
) -> list[elpd.Scored]:
    if criterion == "loo":
        return _leave_one_out(fits, loo, report)
    if criterion == "waic":
        return [elpd.waic(name, fit) for name, fit in fits.items()]
    check_count("compare", "folds", folds, low=2)
    return [kfolds.kfold(name, fit, folds, report) for name, fit in fits.items()]


def _checked(fits: Any, *, draws: bool) -> dict[str, Fit]:
    if not isinstance(fits, Mapping) or not fits:
        raise SpecError(
            f"compare takes at least one fit by name, such as {{'partial': fit}}, got {brief(fits)}"
        )
    for name, fit in fits.items():
        if not isinstance(fit, Fit):
            raise SpecError(f"compare takes fits; {name!r} is a {type(fit).__name__}")
        if draws and not read.is_sampled(fit.tree):
            raise NoDraws(
                f"compare by 'loo' or 'waic' needs draws, and {name!r} is a point estimate: "
                "compare points by criterion='kfold', which fits predict best, or criterion='bic', "
                "of maximum likelihood; or fit again with method='nuts'"
            )
        if draws and fit.design.case_weight is not None:
            raise MissingCapability(
                f"compare by 'loo' or 'waic' leaves out one case at a time, and a row of {name!r} "
                "stands for as many as its weight says: use criterion='kfold', or 'bic' of "
                "maximum likelihood, or repeat the rows"
            )
    named = {str(name): fit for name, fit in fits.items()}
    first, reference = next(iter(named.items()))
    expected = reference.tree["observed_data"].to_dataset()
    for name, fit in named.items():
        if not fit.tree["observed_data"].to_dataset().equals(expected):
            raise DataError(
                f"{name!r} and {first!r} are fits of different outcomes ({_outcome(fit)} against "
                f"{_outcome(reference)}); only models of the same rows of the same target compare"
            )
        if not _same_weights(fit, reference):
            raise DataError(
                f"{name!r} and {first!r} count the rows differently: fits compare that have the "
                "same weights"
            )
    return named


def _same_weights(one: Fit, other: Fit) -> bool:
    mine, theirs = one.design.case_weight, other.design.case_weight
    if mine is None or theirs is None:
        return mine is theirs
    return np.array_equal(mine, theirs)


def _outcome(fit: Fit) -> str:
    observed = fit.tree["observed_data"].to_dataset()
    return f"{observed.sizes['obs']} rows of {listed(observed.data_vars)}"


def _leave_one_out(fits: dict[str, Fit], loo: str, report: Report) -> list[elpd.Scored]:
    """By importance sampling first; then all fits or none get their bad rows put right.

    Importance sampling flatters, so a ranking of some models with refits and some without would
    favour those without.
    """
    scored = [elpd.psis(name, fit) for name, fit in fits.items()]
    again = _all_rows if loo == "exact" else _affordable(scored, report) if loo == "auto" else None
    for one in scored:
        rows = again(one) if again else []
        for i, row in enumerate(rows):
            report(f"loo {one.name}", i / len(rows))
            elpd.refit(one, row)
        elpd.settle(one)
    return scored


Rows = Callable[[elpd.Scored], list[int]]
"""Which rows of a fit are to be left out."""


def _all_rows(one: elpd.Scored) -> list[int]:
    return list(range(len(one.rows)))


def _doubtful_rows(one: elpd.Scored) -> list[int]:
    return one.doubtful.tolist()


def _bad_rows(one: elpd.Scored) -> list[int]:
    return one.bad.tolist()


def _affordable(scored: list[elpd.Scored], report: Report) -> Rows | None:
    """The rows whose refits end in time: all doubtful ones, else all bad ones, else none.

    It is judged by one refit of each model. The time of the fit itself will not do: it may have
    gone to compilation, which is not repeated.
    """
    start = time.perf_counter()
    for one in sorted(scored, key=lambda one: one.seconds):
        worst = _bad_rows(one) or _doubtful_rows(one)
        if worst and one.seconds <= BUDGET_SECONDS - (time.perf_counter() - start):
            report(f"loo {one.name}", 0.0)
            elpd.refit(one, worst[0])
    for rows in (_doubtful_rows, _bad_rows):
        if sum(one.seconds * len(rows(one)) for one in scored) <= BUDGET_SECONDS:
            return rows
    for one in scored:
        one.refits.clear()
        one.failed.clear()
    return None


def _ranked(criterion: str, scored: list[elpd.Scored]) -> Comparison:
    scored = sorted(scored, key=lambda one: -one.rows["elpd"].sum())
    values = np.column_stack([one.rows["elpd"] for one in scored])
    behind, weight = values - values[:, :1], stacking_weights(values)
    records = [
        {
            "rank": i + 1,
            "elpd": values[:, i].sum(),
            "se": _se(values[:, i]),
            "p_eff": one.rows["p_eff"].sum(skipna=False),
            "elpd_diff": behind[:, i].sum(),
            "se_diff": _se(behind[:, i]),
            "weight": weight[i],
            "mcse": math.sqrt((one.rows["mcse"] ** 2).sum(skipna=False)),
            **({_BAD[criterion]: len(one.bad)} if criterion in _BAD else {}),
            "how": _how(one.rows["how"]),
        }
        for i, one in enumerate(scored)
    ]
    table = pd.DataFrame(records, index=pd.Index([one.name for one in scored], name="model"))
    notes = [note for one in scored for note in (*one.notes, *_cautions(one.name, one.fit))]
    found = Comparison(criterion, table, {one.name: one.rows for one in scored})
    return replace(found, notes=(*notes, *_differences(found, len(values))))


def _se(values: Array) -> float:
    return math.sqrt(len(values)) * float(np.std(values, ddof=1))


def _how(ways: pd.Series) -> str:
    exact = int((ways == "exact").sum())
    if exact in (0, len(ways)):
        return str(ways.iloc[0])
    return f"psis, exact for {exact} row{'s' if exact > 1 else ''}"


def _cautions(name: str, fit: Fit) -> list[str]:
    """What stands against the fit itself."""
    notes = []
    if engine_of(fit.tree) == "independent":
        notes.append(
            f"{name!r}: its draws come from an approximation ({fit.method.name}), whose error is "
            "part of the elpd; confirm the ranking with method='nuts'."
        )
    diagnosis = fit.diagnose()
    if not diagnosis.ok:
        notes.append(f"{name!r}: {diagnosis.verdict}")
    return notes


def _differences(found: Comparison, n_obs: int) -> list[str]:
    """Which models are as good as the best (Sivula et al. 2020 on differences below 4)."""
    notes = []
    for name in found.ties:
        row = found.table.loc[name]
        noisy = -row["elpd_diff"] < 2 * row["se_diff"]
        reason = "less than two standard errors" if noisy else f"less than {SMALL_ELPD:g}"
        notes.append(
            f"{found.best!r} and {name!r} cannot be told apart by this data: their elpd differs by "
            f"{-row['elpd_diff']:.1f} (se {row['se_diff']:.1f}), {reason}."
        )
    if len(found.table) > 1 and n_obs < SMALL_DATA:
        notes.append(
            f"With {n_obs} rows (fewer than {SMALL_DATA}) the standard errors are rough, and tend "
            "to be too small."
        )
    return notes
