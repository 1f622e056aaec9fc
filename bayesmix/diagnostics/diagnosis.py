"""A verdict with advice: can a fit's draws or estimate be believed, and if not, what to do."""

from __future__ import annotations

import html
import json
import math
import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayesmix.diagnostics.components import MIXTURE_CHECKS
from bayesmix.diagnostics.finding import Finding, Level, made
from bayesmix.diagnostics.markov import MCMC_CHECKS, chain_table, read_run, unrecorded
from bayesmix.diagnostics.networks import check_held_out
from bayesmix.diagnostics.optima import APPROXIMATION_CHECKS, OPTIMUM_CHECKS
from bayesmix.diagnostics.prior import PRIOR_CHECKS, Beside
from bayesmix.errors import DataError, NoDraws, SpecError, suggestion
from bayesmix.tree.entries import labelled, labelled_draws
from bayesmix.tree.read import is_sampled, judged

COLUMNS = ("rhat", "ess_bulk", "ess_tail", "mcse_mean", "mcse_sd", "geweke")
OF_FUNCTIONS = (
    "R-hat and effective sample size are of functions, the predictive mean, sd and log density at "
    "some rows: a network's hidden units can change places and signs, so its weights, one by one, "
    "mean nothing."
)
NO_CHAINS = {
    "independent": (
        "R-hat, effective sample size and Geweke's scores are about Markov chains. These draws are "
        "independent draws from an approximation: they agree with one another however wrong it is."
    ),
    "prior": (
        "Checks are of what outcomes have taught; fit with method='nuts' for the posterior, and "
        "lay predictions of the two beside each other."
    ),
    "point": (
        "R-hat, effective sample size and Geweke's scores are about Markov chains. This fit is a "
        "point estimate; fit again with method='nuts' for draws."
    ),
}


_WHAT = {"mcmc": "draws", "independent": "approximation", "point": "estimate", "prior": "draws"}


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """What the checks found, with a verdict; it prints as a report to read.

    Parameters
    ----------
    engine
        ``"mcmc"``, ``"independent"`` (draws from an approximation), ``"point"`` or ``"prior"``.
    findings
        One :class:`Finding` for each check that could be made.
    notes
        Sentences about the model, and about checks that could not be made.
    statistics
        What :attr:`table` returns; None for a fit without Markov chains.
    """

    engine: str
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()
    statistics: pd.DataFrame | None = field(default=None, repr=False)

    @property
    def ok(self) -> bool:
        """True when no check failed; warnings are for reading."""
        return not self._at("fail")

    @property
    def verdict(self) -> str:
        """One sentence."""
        what = _WHAT[self.engine]
        if self.engine == "prior":
            return "These are draws from the prior: no outcome was looked at."
        count = f"{len(self._at('pass'))} of {len(self.findings)} checks passed"
        if failed := self._at("fail"):
            return f"Do not trust the {what} yet: {_and(failed)} failed; {count}."
        if warned := self._at("warn"):
            return f"The {what} can be used with care: look at {_and(warned)}; {count}."
        return f"The {what} can be used: {count}."

    @property
    def table(self) -> pd.DataFrame:
        r"""By parameter: R-hat, bulk and tail ESS, Monte Carlo errors, largest Geweke \|z\|.

        Raises
        ------
        NoDraws
            The fit has no Markov chains.
        """
        if self.statistics is None:
            raise NoDraws(NO_CHAINS[self.engine])
        return self.statistics.copy()

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings and lists for JSON; a number that is not finite becomes None."""
        table = None if self.statistics is None else self.statistics.to_dict("index")
        return {
            "ok": self.ok,
            "verdict": self.verdict,
            "engine": self.engine,
            "findings": [_plain(asdict(finding)) for finding in self.findings],
            "notes": list(self.notes),
            "table": table and {str(label): _plain(row) for label, row in table.items()},
        }

    def __str__(self) -> str:
        lines = [self.verdict]
        for level, check, text in self._rows():
            head = f"  {level:<5}{check:<17}"
            lines.append(textwrap.fill(text, 100, initial_indent=head, subsequent_indent=" " * 24))
        return "\n".join(lines)

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        rows = ("".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in self._rows())
        body = "".join(f"<tr>{row}</tr>" for row in rows)
        return f"<p><b>{html.escape(self.verdict)}</b></p><table>{body}</table>"

    def _rows(self) -> list[tuple[str, str, str]]:
        """Failures first, then warnings, what passed, and notes."""
        rows = [
            (finding.level, finding.check, finding.message)
            for level in ("fail", "warn", "pass")
            for finding in self.findings
            if finding.level == level
        ]
        return [*rows, *(("note", "", note) for note in self.notes)]

    def _at(self, level: Level) -> list[str]:
        return [finding.check for finding in self.findings if finding.level == level]


def diagnose(
    tree: xr.DataTree, model_notes: Sequence[str] = (), prior: Beside | None = None
) -> Diagnosis:
    """Judge a fit by the checks that suit its engine.

    Parameters
    ----------
    tree
        A fit as :mod:`bayesmix.tree` describes it; its attribute ``engine`` says what made it.
    model_notes
        Sentences of the model about this data, shown with the findings.
    prior
        Draws of the prior beside those of the posterior; without them priors are not judged.

    Examples
    --------
    >>> draws = np.random.default_rng(1).normal(size=(4, 500))
    >>> posterior = xr.Dataset({"a": (("chain", "draw"), draws)})
    >>> diagnose(xr.DataTree.from_dict({"posterior": posterior})).ok
    True
    """
    engine = engine_of(tree)
    if engine == "mcmc":
        run = read_run(tree)
        found = made((*MCMC_CHECKS, *MIXTURE_CHECKS), run) + _of_priors(prior)
        notes = (*model_notes, *unrecorded(run, found))
        notes = (*notes, *([OF_FUNCTIONS] if "functions" in tree.children else []))
        return Diagnosis(engine, found, notes, run.statistics.loc[:, list(COLUMNS)])
    if engine == "prior":
        return Diagnosis(engine, (), (*model_notes, NO_CHAINS[engine]))
    checks = (*OPTIMUM_CHECKS, check_held_out) if engine == "point" else APPROXIMATION_CHECKS
    found = made(checks, tree) + _of_priors(prior)
    return Diagnosis(engine, found, (*model_notes, NO_CHAINS[engine]))


def _of_priors(prior: Beside | None) -> tuple[Finding, ...]:
    return () if prior is None else made(PRIOR_CHECKS, prior)


def summary(tree: xr.DataTree, quantiles: tuple[float, ...] = (0.05, 0.95)) -> pd.DataFrame:
    """One row for each parameter, under a label that a reader knows it by.

    Parameters
    ----------
    tree
        A fit as :mod:`bayesmix.design.table` describes it.
    quantiles
        Probabilities in (0, 1); each becomes a column such as ``q5``.

    Returns
    -------
    DataFrame
        ``mean``, ``sd`` and quantiles of draws (or of an ensemble's members); with Markov chains
        also ``mcse_mean``, ``ess_bulk``, ``ess_tail`` and ``rhat``. Of a point, ``estimate`` and,
        where the fit has it, ``standard_error``. The ``prior`` in force, where the method has one.

    Raises
    ------
    SpecError
        A quantile lies outside (0, 1).
    """
    if not all(0 < q < 1 for q in quantiles):
        raise SpecError(f"quantiles must lie in (0, 1), got {tuple(quantiles)}")
    engine, group = engine_of(tree), judged(tree)
    if engine == "point" and "member" not in group.dims:
        return _with_priors(_point_summary(tree), tree)
    labels, draws = labelled_draws(group)
    table = pd.DataFrame({"mean": draws.mean((0, 1)), "sd": draws.std((0, 1), ddof=1)}, labels)
    for q in quantiles:
        table[f"q{100 * q:g}"] = np.quantile(draws, q, axis=(0, 1))
    if engine == "mcmc":
        names = ["mcse_mean", "ess_bulk", "ess_tail", "rhat"]
        table[names] = chain_table(labels, draws)[names].to_numpy()
    return _with_priors(table, tree)


def _with_priors(table: pd.DataFrame, tree: xr.DataTree) -> pd.DataFrame:
    """The table with the priors in force, by row, where the fit holds them."""
    priors = json.loads(tree.attrs.get("priors", "{}"))
    if priors:
        known = [
            priors.get(label, priors.get(label.rsplit("[", 1)[0], "")) for label in table.index
        ]
        if any(known):  # networks are summarised as functions, which have no prior of their own
            table["prior"] = known
    return table


def _point_summary(tree: xr.DataTree) -> pd.DataFrame:
    labels, values = labelled(judged(tree))
    table = pd.DataFrame({"estimate": values[0, 0]}, index=labels)
    if "standard_error" in tree.children:
        known, errors = labelled(tree["standard_error"].to_dataset())
        table["standard_error"] = pd.Series(errors[0, 0], index=known).reindex(labels)
    return table


def engine_of(tree: xr.DataTree) -> str:
    """What made the fit: ``"mcmc"``, ``"independent"`` or ``"point"``.

    Raises
    ------
    DataError
        The tree names another engine, or one that does not go with its groups.
    """
    allowed = ("mcmc", "independent", "prior") if is_sampled(tree) else ("point",)
    engine = str(tree.attrs.get("engine", allowed[0]))
    if engine not in allowed:
        what = "draws" if is_sampled(tree) else "a point estimate"
        raise DataError(f"engine={engine!r} for a tree with {what}: {suggestion(engine, allowed)}")
    return engine


def _plain(row: Any) -> dict[str, Any]:
    return {
        str(k): None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()
    }


def _and(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
