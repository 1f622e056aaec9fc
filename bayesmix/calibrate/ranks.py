"""Simulation-based calibration: ranks of what was drawn among draws of its posterior.

Parameters come from the prior, the outcome is simulated on the same predictors and fitted, and the
posterior is compared with the parameters that the outcome came from. That tests model, sampler and
code in one: whatever is wrong between the prior and the draws shows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from bayesmix import rng as random
from bayesmix.calibrate.study import Study, independent_draws, scalars
from bayesmix.calls import named
from bayesmix.errors import SpecError
from bayesmix.protocols import Array, HasPrior, Method
from bayesmix.result import Fit
from bayesmix.specs import check_count
from bayesmix.tree import read

JOINT = "log_likelihood"
LEVEL = 0.01
_NULL_SIMULATIONS = 10_000


@dataclass(frozen=True, eq=False)
class Calibration:
    """Ranks of true values among posterior draws: uniform if the posterior is right.

    Parameters
    ----------
    ranks
        A row a replication, a column a parameter, and ``log_likelihood``; values 0 to
        ``draws_per_rank``.
    draws_per_rank
        Posterior draws that each true value is ranked among.
    p_values
        Of uniformity, by column (:func:`uniformity_p_values`).
    failed
        What fits said that could not be finished; a single one forbids a good verdict.
    notes
        Sentences about the draws.
    level
        Probability of a bad verdict on a right posterior, over all columns together.
    """

    ranks: pd.DataFrame = field(repr=False)
    draws_per_rank: int
    p_values: pd.Series
    failed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    level: float = LEVEL

    @property
    def rejected(self) -> list[str]:
        """Columns whose ranks are not uniform (Bonferroni over columns)."""
        return [str(k) for k, p in self.p_values.items() if p < self.level / len(self.p_values)]

    @property
    def ok(self) -> bool:
        """True when all ranks look uniform and every fit was finished."""
        return not self.rejected and not self.failed

    @property
    def table(self) -> pd.DataFrame:
        """By column: ``p_value``, and two z-scores of the ranks.

        ``bias`` is positive when true values rank high (the posterior lies too low); ``spread`` is
        positive when they fall at the ends too often (the posterior is too narrow).
        """
        centred = (self.ranks + 0.5) / (self.draws_per_rank + 1) - 0.5
        root = math.sqrt(len(centred))
        return pd.DataFrame(
            {
                "p_value": self.p_values,
                "bias": centred.mean() * root * math.sqrt(12),
                "spread": ((centred**2).mean() - 1 / 12) * root * math.sqrt(180),
            }
        )

    @property
    def verdict(self) -> str:
        """One sentence."""
        n = len(self.ranks)
        if self.failed:
            return f"Not calibrated: {len(self.failed)} of {n + len(self.failed)} fits failed."
        least = f"least p-value {self.p_values.min():.2g} of {len(self.p_values)}, {n} replications"
        if not self.rejected:
            return f"Calibrated as far as can be seen: {least}."
        return f"Not calibrated ({least}): {'; '.join(map(self._symptom, self.rejected))}."

    def _symptom(self, name: str) -> str:
        row: Any = self.table.loc[name]
        if abs(row["spread"]) > abs(row["bias"]):
            return f"{name}: the posterior is too {'narrow' if row['spread'] > 0 else 'wide'}"
        return f"{name}: the posterior lies too {'low' if row['bias'] > 0 else 'high'}"

    def __str__(self) -> str:
        notes = [f"- {note}" for note in (*self.notes, *dict.fromkeys(self.failed))]
        return "\n".join([self.verdict, self.table.round(3).to_string(), *notes])


@named
def sbc(
    model: HasPrior,
    data: Any,
    method: str | Method = "auto",
    *,
    replications: int = 200,
    draws_per_rank: int = 99,
    seed: int | None = None,
    progress: bool = True,
) -> Calibration:
    r"""Simulation-based calibration of a model and a method on given predictors.

    For each replication :math:`\theta \sim p(\theta)`, :math:`y \sim p(y \mid \theta)`, and L draws
    from the posterior given y; the rank of :math:`\theta` among them is uniform on 0..L. Draws are
    thinned to near independence; a chain that is too short for that is run again, longer. Next to
    every parameter the joint log-likelihood is ranked, which also sees a posterior that ignores
    the data. Fits whose data are all zero or all ones are part of a wide prior and count.

    Parameters
    ----------
    model, data
        The spec, and rows whose predictors (and trials) are used; their outcome is replaced.
    method
        Anything that ``bayesmix.fit`` takes and that yields draws.
    replications
        Fits to make; 200 find a posterior that is off by a third of its standard deviation.
    draws_per_rank
        L.
    seed
        The same seed gives the same ranks; None draws one.

    Raises
    ------
    MissingCapability
        The model has no prior that can be drawn from.
    NoDraws
        The method yields a point.
    SpecError, DataError
        Too few draws for a rank; an outcome that is no column of numbers.

    References
    ----------
    Talts et al. (2018), arXiv:1804.06788; Modrak et al. (2023), doi:10.1214/23-BA1404.

    Examples
    --------
    >>> import bayesmix as bm
    >>> from bayesmix.calibrate import sbc
    >>> model = bm.BinomialGLM("p(high, total) ~ sex", priors={"Intercept": bm.Normal(0, 2)})
    >>> check = sbc(model, bm.datasets.census(), bm.NUTS(draws=200), replications=4, seed=1)
    >>> list(check.ranks.columns)
    ['Intercept', 'sex', 'log_likelihood']
    """
    check_count("sbc", "draws_per_rank", draws_per_rank)
    study = Study.of(model, data, method, replications, seed)
    rows, short = [], 0
    for r, found in study.fits(progress, at_least=draws_per_rank):
        short += independent_draws(found) < draws_per_rank
        rows.append(_ranks(study, r, found, draws_per_rank))
    ranks = pd.DataFrame(rows, columns=[*study.labels, JOINT])
    rng = random.stream(study.seed, "null")
    p_values = uniformity_p_values(ranks.to_numpy(), draws_per_rank, rng)
    notes = []
    if short:
        notes.append(
            f"{short} of {len(ranks)} fits have fewer than {draws_per_rank} effective draws even "
            "after a longer run; their ranks are rougher than the test assumes"
        )
    p_values = pd.Series(p_values, ranks.columns)
    return Calibration(ranks, draws_per_rank, p_values, tuple(study.failed), tuple(notes))


@named
def uniformity_p_values(ranks: Array, draws_per_rank: int, rng: np.random.Generator) -> Array:
    r"""P-values of ranks being uniform on 0..L, by the simultaneous band around their ECDF.

    Under uniformity the number of ranks up to j is binomial. The statistic is the least two-sided
    binomial probability over j; its distribution is simulated.

    Parameters
    ----------
    ranks
        Shape (replication, column).
    draws_per_rank
        L.

    Returns
    -------
    ndarray, shape (column,)
        At least 1e-4, the resolution of the simulation.

    References
    ----------
    Sailynoja, Buerkner & Vehtari (2022), doi:10.1007/s11222-022-10090-6.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> ranks = np.column_stack(
    ...     [rng.integers(0, 100, 200), np.minimum(rng.integers(0, 150, 200), 99)]
    ... )
    >>> (uniformity_p_values(ranks, 99, rng) < 0.01).tolist()
    [False, True]
    """
    from scipy.stats import binom

    n, places = len(ranks), np.arange(draws_per_rank)
    share, count = (places + 1) / (draws_per_rank + 1), np.arange(n + 1)[:, None]
    tail = 2 * np.minimum(binom.cdf(count, n, share), binom.sf(count - 1, n, share))
    observed = (ranks[:, :, None] <= places).sum(axis=0)
    evenly = np.full(draws_per_rank + 1, 1 / (draws_per_rank + 1))
    null = rng.multinomial(n, evenly, _NULL_SIMULATIONS).cumsum(axis=1)[:, :-1]
    least, least_null = tail[observed, places].min(axis=1), tail[null, places].min(axis=1)
    return (1 + (least_null <= least[:, None]).sum(axis=1)) / (1 + _NULL_SIMULATIONS)


def _ranks(study: Study, r: int, found: Fit, draws_per_rank: int) -> Array:
    """Ranks of the truth among evenly spaced draws; ties are broken at random."""
    values = scalars(found)
    if len(values) < draws_per_rank:
        raise SpecError(
            f"a rank among {draws_per_rank} needs as many draws and the method yields "
            f"{len(values)}: raise its draws, or lower draws_per_rank"
        )
    chosen = ((np.arange(draws_per_rank) + 0.5) * len(values) / draws_per_rank).astype(int)
    params = {name: v[chosen] for name, v in read.draws(found.tree).items()}
    truth = {name: v[r : r + 1] for name, v in study.params.items()}
    joint = [study.model.log_density(p, found.design).sum(axis=1) for p in (params, truth)]
    drawn = np.column_stack([values[chosen], joint[0]])
    true = np.append(study.truth[r], joint[1])
    ties = (drawn == true).sum(axis=0)
    rng = random.stream(study.seed, f"ties {r}")
    return (drawn < true).sum(axis=0) + rng.integers(0, ties, endpoint=True)
