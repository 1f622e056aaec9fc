"""The left-hand side of a regression: a measured quantity, counts, or successes among trials."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NoReturn

import pandas as pd

from bayesmix.design import table
from bayesmix.design.response import Outcome, counts, measured, new_trials, read_outcome
from bayesmix.errors import DataError, FormulaError, listed
from bayesmix.protocols import Array

_PLAIN = re.compile(r"`[^`]+`|[^\W\d][\w.]*")


@dataclass(frozen=True)
class RegressionTarget:
    """Which columns hold the target, and how they are read; values under ``y`` and ``trials``."""

    name: str
    kind: str
    outcome: Outcome | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The columns of the target."""
        trials = None if self.outcome is None else self.outcome.trials
        return (self.name, trials) if isinstance(trials, str) else (self.name,)

    def columns(self, data: pd.DataFrame) -> pd.DataFrame:
        """The columns of the target, unchanged."""
        return data.loc[:, list(self.names)]

    def values(self, data: pd.DataFrame) -> dict[str, Array]:
        """The target of every row, checked.

        Raises
        ------
        DataError
            Text, missing or infinite values; counts that are negative or fractional.
        """
        if self.outcome is not None:
            found = self.outcome.values(data)
            return {"y": found["successes"], "trials": found["trials"]}
        read = counts if self.kind == "poisson" else measured
        return {"y": read(data[self.name])}

    def require_name(self) -> None:
        """Raise a DataError where the target's name is taken by a draw's component."""
        if self.name == "component":
            raise DataError(
                "draws of a mixture come with a variable 'component', so the target cannot be "
                "called so; rename it, for example data.rename(columns={'component': 'y'})"
            )

    def refuse(self) -> NoReturn:
        """Raise the DataError of rows without a target that are to be scored."""
        raise DataError(
            f"these rows cannot be scored: give the target, {listed(self.names)}, in every row"
        )

    def new_values(self, data: pd.DataFrame) -> dict[str, Array]:
        """The target of new rows where it is given; trials in any case."""
        if self.outcome is not None:
            found = new_trials(self.outcome, data)
            return {"y" if k == "successes" else k: v for k, v in found.items()}
        given = self.name in data and bool(data[self.name].notna().all())
        return self.values(data) if given else {}


def read_target(lhs: str, kind: str, data: pd.DataFrame) -> RegressionTarget:
    """Read the left-hand side of a formula for a family of that kind.

    Raises
    ------
    FormulaError
        It is no column (and no ``p(successes, trials)`` for binomial targets).
    """
    if kind == "binomial":
        outcome = read_outcome(lhs, data)
        return RegressionTarget(outcome.target, kind, outcome)
    if re.match(r"(p|prop|proportion)\(", lhs.strip()):
        raise FormulaError(
            f"the target {lhs!r} is successes among trials, which need expert='binomial' (got "
            f"{kind!r}); a {kind} target is a column"
        )
    if not _PLAIN.fullmatch(lhs.strip()):
        raise FormulaError(
            f"the target {lhs!r} must be a column; make a transformed one in the data frame, such "
            "as data.assign(log_y=np.log(data.y))"
        )
    name = lhs.strip().strip("`")
    table.columns(data, [name])
    return RegressionTarget(name, kind)
