"""Recovery: whether intervals hold the parameters that data were simulated from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from bayesmix.calibrate.ranks import LEVEL
from bayesmix.calibrate.study import Study, scalars
from bayesmix.calls import named
from bayesmix.errors import SpecError, listed
from bayesmix.protocols import Array, HasPrior, Method


@dataclass(frozen=True, eq=False)
class Recovery:
    """How often intervals hold the parameters that the data were simulated from.

    Parameters
    ----------
    table
        By parameter and interval level: the share of intervals that hold the true value, its 95 %
        confidence interval ``low`` to ``high``, and ``p_value``, of that share being the level.
    truth, mean
        True values and posterior means; a row a replication, a column a parameter.
    failed
        What fits said that could not be finished.
    level
        Probability of a bad verdict on right intervals, over all rows together.
    """

    table: pd.DataFrame
    truth: pd.DataFrame = field(repr=False)
    mean: pd.DataFrame = field(repr=False)
    failed: tuple[str, ...] = ()
    level: float = LEVEL

    @property
    def rejected(self) -> list[str]:
        """Parameters whose intervals hold too often or too rarely (Bonferroni over rows)."""
        wrong = self.table["p_value"] < self.level / len(self.table)
        return list(dict.fromkeys(str(name) for name, _ in self.table.index[wrong]))

    @property
    def ok(self) -> bool:
        """True when all shares agree with their levels and every fit was finished."""
        return not self.rejected and not self.failed

    @property
    def verdict(self) -> str:
        """One sentence."""
        n = len(self.truth)
        if self.failed:
            return f"Not recovered: {len(self.failed)} of {n + len(self.failed)} fits failed."
        if self.rejected:
            return f"Not recovered: intervals of {listed(self.rejected)} hold too often or rarely."
        return f"Recovered: every interval holds as often as it should, in {n} replications."

    def __str__(self) -> str:
        return "\n".join(
            [self.verdict, self.table.round(3).to_string(), *dict.fromkeys(self.failed)]
        )


@named
def recovery(
    model: HasPrior,
    data: Any,
    method: str | Method = "auto",
    *,
    replications: int = 100,
    levels: Sequence[float] = (0.5, 0.9),
    seed: int | None = None,
    progress: bool = True,
) -> Recovery:
    """Coverage of central posterior intervals when the truth is drawn from the prior.

    Parameters
    ----------
    model, data, method, replications, seed
        As in :func:`sbc`, which is the sharper test; this one is easier to read.
    levels
        Of the intervals, in (0, 1).

    Raises
    ------
    MissingCapability, NoDraws, SpecError, DataError
        As in :func:`sbc`.

    Examples
    --------
    >>> import bayesmix as bm
    >>> from bayesmix.calibrate import recovery
    >>> model = bm.BinomialGLM("p(high, total) ~ sex", priors={"Intercept": bm.Normal(0, 2)})
    >>> found = recovery(model, bm.datasets.census(), bm.NUTS(draws=200), replications=4, seed=1)
    >>> found.table.index.names
    FrozenList(['parameter', 'level'])
    """
    if not len(levels) or not all(0 < level < 1 for level in levels):
        raise SpecError(f"recovery: levels must lie in (0, 1), got {tuple(levels)}")
    study = Study.of(model, data, method, replications, seed)
    tails = np.array([[(1 - level) / 2, (1 + level) / 2] for level in levels])
    held, means, kept = [], [], []
    for r, found in study.fits(progress):
        values = scalars(found)
        low, high = np.quantile(values, tails, axis=0).transpose(1, 0, 2)
        held.append((low <= study.truth[r]) & (study.truth[r] <= high))
        means.append(values.mean(axis=0))
        kept.append(r)
    table = _coverage(np.array(held), study.labels, levels)
    truth = pd.DataFrame(study.truth[kept], columns=study.labels)
    return Recovery(table, truth, pd.DataFrame(means, columns=study.labels), tuple(study.failed))


def _coverage(held: Array, labels: list[str], levels: Sequence[float]) -> pd.DataFrame:
    """Shares of (replication, level, parameter) with their binomial uncertainty."""
    from scipy.stats import binomtest

    rows = []
    for i, label in enumerate(labels):
        for j, level in enumerate(levels):
            test = binomtest(int(held[:, j, i].sum()), len(held), level)
            interval = test.proportion_ci(0.95)
            values = {"share": test.statistic, "low": interval.low, "high": interval.high}
            rows.append({"parameter": label, "level": level, **values, "p_value": test.pvalue})
    return pd.DataFrame(rows).set_index(["parameter", "level"])
