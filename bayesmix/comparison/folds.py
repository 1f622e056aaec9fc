"""Scores of fits that need no draws: held-out density by folds, and information criteria."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bayesmix import rng as random
from bayesmix import workflow
from bayesmix.comparison.loo import Scored
from bayesmix.comparison.nested import RatioTest, ratio_tests
from bayesmix.comparison.report import Ranking
from bayesmix.errors import BayesmixError, DataError, MissingCapability, SpecError, listed
from bayesmix.protocols import Array, HasComponents, HasEM, HasGroups, HasNetwork, Report
from bayesmix.result import Fit

INFORMATION = ("bic", "icl")
_WORTH_A_NOTE = 1.0
"""Error of a log-likelihood, in nats, from which on a difference of BIC of 2 may be its doing."""


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
    scored alike: by :math:`\log p(y_i \mid y_{-\mathrm{fold}(i)})`, times the row's case weight:
    all of its cases are in one fold, and each is scored.

    Raises
    ------
    DataError
        A fold cannot be fitted, or holds a category that the others lack.
    """
    data, fold = fit.data, folds_of(fit.design.n_obs, count)
    values = np.empty(len(fold))
    weight = fit.design.case_weight
    times = np.ones(len(fold)) if weight is None else weight
    for i in range(count):
        report(f"{count}-fold {name}", i / count)
        rest = data[fold != i].reset_index(drop=True)
        held = data[fold == i].reset_index(drop=True)
        try:
            again = workflow.fit(fit.model, rest, method=fit.method, seed=fit.seed, progress=False)
            values[fold == i] = again.log_density(held).to_numpy() * times[fold == i]
        except BayesmixError as error:
            raise DataError(f"{name!r} cannot be fitted without fold {i}: {error}") from error
    rows = pd.DataFrame({"elpd": values, "p_eff": np.nan, "mcse": np.nan, "how": f"{count}-fold"})
    none = np.empty(0, dtype=int)
    scored = Scored(name, fit, rows, math.inf, none, none, 0.0)
    lost = int((~np.isfinite(values)).sum())
    if lost:
        scored.notes.append(f"{name!r}: {lost} held-out rows have density zero under the rest.")
    return scored


# --- information criteria -------------------------------------------------------------------------


@dataclass(frozen=True, eq=False, repr=False)
class Selection(Ranking):
    r"""Fits of maximum likelihood in order of BIC or ICL, lowest first; it prints as a report.

    .. math:: \mathrm{BIC} = -2 \log L + p \log n, \qquad
              \mathrm{ICL} = \mathrm{BIC} - 2 \sum_{ik} h_{ik} \log h_{ik},

    with p free parameters, n rows and responsibilities h: ICL also asks that components be told
    apart. With group effects, L has them integrated out, and p counts common effects, standard
    deviations and correlations. Neither is a sum of scores of rows, so there are no standard
    errors of differences and no stacking weights: use ``criterion="kfold"`` for what predicts best.

    Parameters
    ----------
    criterion
        ``"bic"`` or ``"icl"``.
    table
        One row a model: ``rank``, the criterion under its own name, its difference to the best
        (``bic_diff``, ``icl_diff``, from zero up), ``n_parameters``, ``log_likelihood``; for ICL
        ``entropy``, :math:`-\sum h \log h`. For BIC also ``weight``,
        :math:`e^{-\mathrm{diff}/2}` over its sum, where every model is regular: an approximation
        of its posterior probability if all were as probable before. In a mixture of more
        components than the data have, parameters are not identified and that approximation fails;
        then there are no weights, and a note says so.
    notes
        Sentences: what stands against a fit, what a number is not, and the tests.
    tests
        A likelihood-ratio test for every pair of nested regressions, beside their BIC.

    References
    ----------
    Schwarz (1978), doi:10.1214/aos/1176344136; Kass & Raftery (1995),
    doi:10.1080/01621459.1995.10476572; Biernacki, Celeux & Govaert (2000), doi:10.1109/34.865189;
    Drton & Plummer (2017), doi:10.1111/rssb.12187, on mixtures.
    """

    criterion: str
    table: pd.DataFrame
    notes: tuple[str, ...] = ()
    tests: tuple[RatioTest, ...] = ()

    @property
    def verdict(self) -> str:
        """One sentence."""
        name = self.criterion.upper()
        if len(self.table) == 1:
            return f"{self.best!r} has {name} {self.table[self.criterion].iloc[0]:.1f}."
        behind = float(self.table[f"{self.criterion}_diff"].iloc[1])
        second = str(self.table.index[1])
        if behind == 0:
            return f"{self.best!r} and {second!r} have the same {name}."
        found = f"{self.best!r} has the lowest {name}, {behind:.1f} below {second!r}"
        return f"{found}: {evidence(behind)}." if "weight" in self.table else f"{found}."


def evidence(difference: float) -> str:
    """Kass and Raftery's words for a difference of BIC, about twice a log Bayes factor.

    Examples
    --------
    >>> evidence(3.0)
    'positive evidence, not strong'
    """
    words = ((2, "not worth more than a bare mention"), (6, "positive evidence, not strong"))
    words = (*words, (10, "strong evidence"), (math.inf, "very strong evidence"))
    return next(text for limit, text in words if difference <= limit)


def by_information(fits: Mapping[str, Fit], criterion: str, notes: Sequence[str]) -> Selection:
    """Rank fits by BIC or ICL; ``notes`` are what else there is to say of them.

    Raises
    ------
    MissingCapability
        A fit is not of maximum likelihood, or not a mixture (ICL).
    """
    records = {name: information(name, fit, criterion) for name, fit in fits.items()}
    table = pd.DataFrame.from_dict(records, orient="index").rename_axis("model")
    table = table.sort_values(criterion, kind="stable")
    difference = table[criterion] - table[criterion].iloc[0]
    table.insert(1, f"{criterion}_diff", difference)
    table.insert(0, "rank", np.arange(1, len(table) + 1))
    table = table.astype({"n_parameters": int})
    several = [name for name, fit in fits.items() if _n_components(fit) > 1]
    if criterion == "bic" and not several:
        weight = np.exp(-0.5 * difference)
        table["weight"] = weight / weight.sum()
    if criterion == "bic" and several and len(fits) > 1:
        notes = [*notes, _SINGULAR.format(listed(several))]
    reached = {name: record["log_likelihood"] for name, record in records.items()}
    tests = ratio_tests(fits, reached) if criterion == "bic" else []
    notes = [*notes, *_approximated(fits), *map(str, tests)]
    return Selection(criterion, table, tuple(notes), tuple(tests))


_SINGULAR = (
    "There are no weights: of several components ({}) some may be superfluous, and exp(-BIC / 2) "
    "does not approximate the evidence of such a mixture. The order still finds the number of "
    "components as rows increase; criterion='kfold' says what predicts best."
)


def information(name: str, fit: Fit, criterion: str) -> dict[str, float]:
    """BIC or ICL of one fit, with what it is made of.

    Raises
    ------
    MissingCapability
        The fit is not of maximum likelihood, or not a mixture (ICL).
    """
    _require_maximum(name, fit, criterion)
    free, value = int(fit.tree.attrs["n_parameters"]), log_likelihood(fit)
    found = -2 * value + free * math.log(fit.design.n_cases)
    parts = {"n_parameters": free, "log_likelihood": value}
    if criterion == "bic":
        return {"bic": found, **parts}
    h = fit.responsibilities()["responsibility"].to_numpy()
    entropy = -float((h * np.log(np.where(h > 0, h, 1.0))).sum())
    return {"icl": found + 2 * entropy, **parts, "entropy": entropy}


def log_likelihood(fit: Fit) -> float:
    """The log-likelihood that a fit has reached, with group effects integrated out."""
    if isinstance(fit.model, HasGroups):
        return float(fit.tree["fit_stats"]["log_likelihood"].to_numpy()[-1])
    return float(fit.log_density().sum())


def _approximated(fits: Mapping[str, Fit]) -> list[str]:
    """Whose log-likelihood is not known well enough for what rests on it."""
    errors = {name: _approximation_error(fit) for name, fit in fits.items()}
    return [
        f"{name!r}: its log-likelihood is an approximation, {-error:+.1f} nats off (diagnose() "
        "says more), and so is what rests on it."
        for name, error in errors.items()
        if abs(error) > _WORTH_A_NOTE
    ]


def _approximation_error(fit: Fit) -> float:
    stats = fit.tree["fit_stats"].to_dataset()
    return float(stats["approximation_error"]) if "approximation_error" in stats else 0.0


def _n_components(fit: Fit) -> int:
    if not isinstance(fit.model, HasComponents):
        return 1
    return len(fit.design.coords[fit.model.component])


def _require_maximum(name: str, fit: Fit, criterion: str) -> None:
    attrs = fit.tree.attrs
    if attrs.get("objective") == "log_likelihood" and "n_parameters" in attrs:
        return
    if isinstance(fit.model, HasNetwork):
        raise MissingCapability(
            f"criterion={criterion!r} counts parameters that the data determine, and the weights "
            f"of the network {name!r} are not such; use criterion='kfold'"
        )
    possible = [m for m in ("em", "mle") if m in workflow.methods_for(fit.model)]
    maximum = not (isinstance(fit.model, HasEM) and fit.model.objective != "log_likelihood")
    way = f"fit with method={' or '.join(map(repr, possible))}, or " if possible and maximum else ""
    raise MissingCapability(
        f"criterion={criterion!r} is of maximum-likelihood fits, and {name!r} was fitted by "
        f"{fit.method.name!r}; {way}use criterion='kfold'"
    )
