"""A verdict with advice: can these draws, or this estimate, be believed, and if not, what to do."""

from __future__ import annotations

import html
import math
import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import product
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from bayesmix import schema
from bayesmix.blocks import chains
from bayesmix.errors import DataError, NoDraws, SpecError, suggestion
from bayesmix.protocols import Array

Level = Literal["pass", "warn", "fail"]
ENGINES = ("mcmc", "independent", "point")
COLUMNS = ("rhat", "ess_bulk", "ess_tail", "mcse_mean", "mcse_sd", "geweke")
MAX_RHAT = 1.01
MIN_ESS_PER_CHAIN = 100
MAX_MCSE_SHARE = 0.1
MAX_DIVERGENT_SHARE = 0.001
MIN_BFMI = 0.3
MAX_DEPTH_SHARE = 0.01
MIN_DRAWS = 100
GEWEKE_Z, GEWEKE_SHARE, MIN_GEWEKE_ESS = 1.96, 0.05, 50
GOOD_PARETO_K, MAX_PARETO_K = 0.5, 0.7
TREND_ERRORS, TREND_NATS = 3.0, 0.1
MAX_GRADIENT = 1e-2
MIN_SIGMA, MAX_CORRELATION = 1e-4, 0.999
REPARAMETRIZE = 'reparametrize the group effects (`parametrization="mixed"` or `"noncentered"`)'


@dataclass(frozen=True)
class Finding:
    """One check: what was found, against what threshold, where, and what to do about it."""

    check: str
    level: Level
    value: float
    threshold: float
    where: str
    message: str


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """What the checks found, with a verdict; ``str()`` is a report to read.

    Parameters
    ----------
    engine
        ``"mcmc"``, ``"independent"`` (draws from an approximation) or ``"point"``.
    findings
        One :class:`Finding` for each check that could be made.
    notes
        Sentences about the model and about checks that could not be made.
    statistics
        By parameter: R-hat, ESS, Monte Carlo errors, largest Geweke score. None without chains.
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
        what = {"mcmc": "draws", "independent": "approximation", "point": "estimate"}[self.engine]
        passed, total = len(self._at("pass")), len(self.findings)
        if failed := self._at("fail"):
            return f"Do not trust this fit's {what} yet: {_and(failed)} failed ({passed} of {total} checks passed)."
        if warned := self._at("warn"):
            return f"This fit's {what} can be used with care: look at {_and(warned)} ({passed} of {total} checks passed)."
        return f"This fit's {what} can be used: all {total} checks passed."

    @property
    def table(self) -> pd.DataFrame:
        """R-hat, bulk and tail ESS, Monte Carlo errors and the largest Geweke score by parameter.

        Raises
        ------
        NoDraws
            The fit has no Markov chains.
        """
        if self.statistics is None:
            raise NoDraws(_no_chains(self.engine))
        return self.statistics.copy()

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings and lists for JSON; what is not finite becomes None."""
        table = None
        if self.statistics is not None:
            table = {str(k): _plain(v) for k, v in self.statistics.to_dict("index").items()}
        return {
            "ok": self.ok,
            "verdict": self.verdict,
            "engine": self.engine,
            "findings": [_plain(asdict(finding)) for finding in self.findings],
            "notes": list(self.notes),
            "table": table,
        }

    def __str__(self) -> str:
        rows = [(f"{f.level:<5} {f.check:<16} ", f.message) for f in self._by_level()]
        rows += [("note  ", note) for note in self.notes]
        lines = [
            textwrap.fill(text, 100, initial_indent=head, subsequent_indent=" " * len(head))
            for head, text in rows
        ]
        return "\n".join([self.verdict, *lines])

    def _repr_html_(self) -> str:
        rows = [(f.level, f.check, f.message) for f in self._by_level()]
        rows += [("note", "", note) for note in self.notes]
        cells = [
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
            for row in rows
        ]
        return f"<p><b>{html.escape(self.verdict)}</b></p><table>{''.join(cells)}</table>"

    def _at(self, level: Level) -> list[str]:
        return [finding.check for finding in self.findings if finding.level == level]

    def _by_level(self) -> list[Finding]:
        return sorted(self.findings, key=lambda finding: ("fail", "warn", "pass").index(finding.level))


def diagnose(tree: xr.DataTree, model_notes: Sequence[str] = ()) -> Diagnosis:
    """Judge a fit by the checks that suit its engine.

    Parameters
    ----------
    tree
        A fit as :mod:`bayesmix.schema` describes it.
    model_notes
        Sentences of the model about this data; they are shown with the findings.

    Examples
    --------
    >>> draws = np.random.default_rng(1).normal(size=(4, 500))
    >>> posterior = xr.Dataset({"a": (("chain", "draw"), draws)})
    >>> diagnose(xr.DataTree.from_dict({"posterior": posterior})).ok
    True
    """
    engine = engine_of(tree)
    notes, table = list(model_notes), None
    if engine == "mcmc":
        run = _run(tree)
        table = run.table.loc[:, list(COLUMNS)]
        findings = [check(run) for check in MCMC_CHECKS]
        notes += run.unrecorded()
    else:
        notes.append(_no_chains(engine))
        checks = INDEPENDENT_CHECKS if engine == "independent" else POINT_CHECKS
        findings = [check(tree) for check in checks]
    return Diagnosis(engine, tuple(f for f in findings if f is not None), tuple(notes), table)
