"""How good predictions are: proper scores and calibration of predictive distributions.

Every score is a function of arrays: ``outcomes`` (obs) and ``draws`` of the predictive distribution
(draw, obs), or of ``probability`` (obs) where the outcome is 0 or 1. :func:`score` and
:func:`pointwise_scores` apply them to a fit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pandas as pd

from bayesmix import rng as random
from bayesmix.calls import named
from bayesmix.design import table as tables
from bayesmix.errors import DataError, SpecError, brief
from bayesmix.prediction import check_levels
from bayesmix.protocols import Array
from bayesmix.result import Fit
from bayesmix.specs import check_count, check_switch

LEVELS = (0.5, 0.9)


@named
def log_score(log_density: Any) -> Array:
    r"""Log predictive density, :math:`\log \frac1S \sum_s p(y_i \mid \theta_s)`; higher is better.

    Parameters
    ----------
    log_density
        :math:`\log p(y_i \mid \theta_s)`, shape (sample, obs).

    Returns
    -------
    ndarray, shape (obs,)
        In nats.

    References
    ----------
    Gneiting & Raftery (2007), doi:10.1198/016214506000001437.

    Examples
    --------
    >>> log_score(np.log([[0.2], [0.4]])).round(3).tolist()
    [-1.204]
    """
    values = _matrix("log_density", log_density)
    return np.logaddexp.reduce(values, axis=0) - math.log(len(values))


@named
def crps(outcomes: Any, draws: Any, *, fair: bool = True) -> Array:
    r"""Continuous ranked probability score, in the units of the outcome; lower is better.

    .. math::
        \mathrm{CRPS}_i = \frac1m \sum_s |x_{si} - y_i| - \frac{1}{2 M} \sum_{s,t} |x_{si} - x_{ti}|

    With :math:`M = m^2` this is the score of the empirical distribution of the m draws, exactly.
    With :math:`M = m (m - 1)` (``fair``) its mean is the score of the distribution that the draws
    come from, whatever m. Sorting makes the double sum cost :math:`m \log m`.

    Parameters
    ----------
    outcomes, draws
        Shapes (obs,) and (draw, obs).
    fair
        Needs at least two draws.

    Returns
    -------
    ndarray, shape (obs,)

    References
    ----------
    Gneiting & Raftery (2007), doi:10.1198/016214506000001437; Ferro (2014), doi:10.1002/qj.2270.

    Examples
    --------
    >>> crps([1.0], [[0.0], [2.0]], fair=False).tolist(), crps([1.0], [[0.0], [2.0]]).tolist()
    ([0.5], [0.0])
    """
    y, x = _pair(outcomes, draws)
    m = len(x)
    if check_switch("crps", "fair", fair) and m < 2:
        raise SpecError(
            "crps: the fair estimator needs at least two draws; give more, or fair=False"
        )
    error = np.sort(x - y, axis=0)
    # sum over pairs of |x_s - x_t| is a weighted sum of the order statistics
    spread = (2 * np.arange(1, m + 1) - m - 1.0) @ error
    return np.abs(error).mean(axis=0) - spread / (m * (m - 1) if fair else m * m)


@named
def pit(outcomes: Any, draws: Any, *, seed: int) -> Array:
    r"""Probability integral transform: uniform on (0, 1) if the predictions are calibrated.

    The outcome's place among the m draws, :math:`(\#\{x < y\} + v (\#\{x = y\} + 1)) / (m + 1)`
    with v uniform. If outcome and draws come from one distribution this is exactly uniform, for
    counts too, and however few the draws.

    Parameters
    ----------
    outcomes, draws
        Shapes (obs,) and (draw, obs).
    seed
        Of the v; the same seed gives the same numbers.

    References
    ----------
    Czado, Gneiting & Held (2009), doi:10.1111/j.1541-0420.2009.01191.x.

    Examples
    --------
    >>> 0.5 < pit([1], [[0], [1], [0], [0]], seed=1).item() < 1
    True
    """
    y, x = _pair(outcomes, draws)
    v = random.stream(random.check_seed(seed), "pit").random(len(y))
    return ((x < y).sum(axis=0) + v * ((x == y).sum(axis=0) + 1)) / (len(x) + 1)


@named
def brier(outcomes: Any, probability: Any) -> Array:
    r"""Brier score :math:`(p_i - y_i)^2` of outcomes 0 or 1, shape (obs,); lower is better.

    References
    ----------
    Brier (1950), doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2.

    Examples
    --------
    >>> brier([1, 0], [0.8, 0.5]).round(2).tolist()
    [0.04, 0.25]
    """
    y, p = _binary(outcomes, probability)
    return (p - y) ** 2


@named
def auroc(outcomes: Any, probability: Any) -> float:
    """Area under the receiver operating characteristic: P(a random 1 outranks a random 0).

    Any score that grows with the probability will do. 0.5 is chance, 1 is perfect.

    Raises
    ------
    DataError
        The outcomes are not 0 and 1, or all the same.

    Examples
    --------
    >>> auroc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.75
    """
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(*_both_classes(outcomes, probability)))


@named
def average_precision(outcomes: Any, probability: Any) -> float:
    """Area under the precision-recall curve, as the mean precision over the 1s.

    The share of 1s is chance, 1 is perfect.

    Raises
    ------
    DataError
        The outcomes are not 0 and 1, or all the same.

    Examples
    --------
    >>> round(average_precision([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]), 4)
    0.8333
    """
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(*_both_classes(outcomes, probability)))


@named
def inside(outcomes: Any, draws: Any, level: float, *, seed: int = 0) -> Array:
    r"""Whether each outcome lies in the central predictive interval of that level, shape (obs,).

    Inside means :math:`|u_i - \tfrac12| \le \text{level} / 2` with u the randomised :func:`pit`, so
    that a right model holds exactly ``level`` of its outcomes, whatever their kind. An interval
    with closed ends would not: where half of all outcomes are zero, an end lies on the zeros, and
    all of them would count.

    Parameters
    ----------
    outcomes, draws
        Shapes (obs,) and (draw, obs).
    level
        In (0, 1).
    seed
        Of the random places among ties; the same seed gives the same numbers.

    References
    ----------
    Czado, Gneiting & Held (2009), doi:10.1111/j.1541-0420.2009.01191.x.

    Examples
    --------
    >>> inside([3.0, 9.0], [[1.0, 1.0], [2.0, 2.0], [4.0, 4.0], [5.0, 5.0]], 0.5).tolist()
    [True, False]
    """
    return _central(pit(outcomes, draws, seed=seed), level)


def _central(places: Array, level: float) -> Array:
    if not isinstance(level, (int, float)) or not 0 < level < 1:
        raise SpecError(f"level must lie in (0, 1), got {brief(level)}")
    return np.abs(places - 0.5) <= level / 2


@named
def coverage(
    outcomes: Any, draws: Any, levels: Sequence[float] = LEVELS, *, seed: int = 0
) -> Array:
    """Share of outcomes inside central predictive intervals, shape (level,); see :func:`inside`.

    Examples
    --------
    >>> x = np.random.default_rng(1).normal(size=(1000, 5000))
    >>> bool(abs(coverage(x[0], x[1:], [0.9])[0] - 0.9) < 0.02)
    True
    """
    places = pit(outcomes, draws, seed=seed)
    return np.array([_central(places, level).mean() for level in check_levels(levels, "levels")])


@named
def pointwise_scores(
    fit: Fit,
    data: Any = None,
    *,
    draws: int = 1000,
    levels: Sequence[float] = LEVELS,
    seed: int | None = None,
) -> pd.DataFrame:
    """Every score of every row.

    Parameters
    ----------
    fit
        Any fit, of draws, a point or members.
    data
        Rows with their outcome; None takes the training rows, whose scores flatter the model.
    draws
        Predictive draws behind the CRPS, the PIT and the intervals.
    levels
        Of the central intervals.
    seed
        None repeats the fit's own seed.

    Returns
    -------
    DataFrame
        ``outcome``, ``log_score`` (minus infinity where the fit says that the outcome cannot be),
        ``crps``, ``pit``, ``inside_50``, ..., and for outcomes of 0 and 1 ``probability`` and
        ``brier``; one row for each row of the data.

    Raises
    ------
    DataError
        The rows lack the outcome, or hold it as text.
    """
    if not isinstance(fit, Fit):  # type: ignore[redundant-expr]  # what a user passes is anything
        raise SpecError(f"scores are of a fit, as bayesmix.fit returns it; got {brief(fit)}")
    check_count("scoring", "draws", draws, low=2)
    seed = random.check_seed(fit.seed if seed is None else seed)
    outcomes = _outcomes(fit, data)
    drawn = fit.sample(data, draws=draws, seed=seed)[fit.target].to_numpy()
    places = pit(outcomes, drawn, seed=seed)
    columns: dict[str, Any] = {
        "outcome": outcomes,
        "log_score": fit.log_density(data).to_numpy(),
        "crps": crps(outcomes, drawn),
        "pit": places,
    }
    for level in check_levels(levels, "levels"):
        columns[f"inside_{100 * level:g}"] = _central(places, level)
    if np.isin(drawn, (0, 1)).all() and np.isin(outcomes, (0, 1)).all():
        probability = fit.predict(data)["mean"].to_numpy()
        columns |= {"probability": probability, "brier": brier(outcomes, probability)}
    return pd.DataFrame(columns)


@named
def score(
    fit: Fit,
    data: Any = None,
    *,
    draws: int = 1000,
    levels: Sequence[float] = LEVELS,
    seed: int | None = None,
) -> pd.DataFrame:
    """How well a fit predicts some rows: one line a score.

    Parameters
    ----------
    fit, data, draws, levels, seed
        As in :func:`pointwise_scores`.

    Returns
    -------
    DataFrame
        By score: its mean ``value`` over rows, the standard error ``se`` of that mean (NaN where
        the score is not a mean), and what is ``best``: ``"high"``, ``"low"`` or the number itself.
        Outcomes that the fit holds to be impossible, such as values beyond the end of a fitted
        support, have a log score of minus infinity, and so would any mean with them. They are
        counted in a line of their own, ``outside_support`` (only where there are some), and
        ``log_score`` is the mean over the other rows: of two fits, look at that count first.

    Examples
    --------
    >>> import bayesmix as bm
    >>> fit = bm.fit(
    ...     bm.BinomialGLM("p(high, total) ~ sex + (1 | edu)"),
    ...     bm.datasets.census(),
    ...     method="mle",
    ...     seed=1,
    ... )
    >>> score(fit).index.tolist()
    ['log_score', 'crps', 'coverage_50', 'coverage_90']
    """
    rows = pointwise_scores(fit, data, draws=draws, levels=levels, seed=seed)
    possible = rows["log_score"] > -math.inf
    lines = {"log_score": (rows["log_score"][possible], "high"), "crps": (rows["crps"], "low")}
    for level in check_levels(levels, "levels"):
        name = f"{100 * level:g}"
        lines[f"coverage_{name}"] = rows[f"inside_{name}"], f"{level:g}"
    table = {name: _line(values, best) for name, (values, best) in lines.items()}
    if not possible.all():
        outside = {"value": float((~possible).sum()), "se": np.nan, "best": "0"}
        table = {"log_score": table.pop("log_score"), "outside_support": outside, **table}
    if "brier" in rows:
        table["brier"] = _line(rows["brier"], "low")
        if rows["outcome"].nunique() == 2:
            pair = rows["outcome"], rows["probability"]
            table["auroc"] = {"value": auroc(*pair), "se": np.nan, "best": "high"}
            table["average_precision"] = {**table["auroc"], "value": average_precision(*pair)}
    return pd.DataFrame.from_dict(table, orient="index").rename_axis("score")


def _line(values: pd.Series, best: str) -> dict[str, Any]:
    return {
        "value": float(values.mean()),
        "se": float(cast("float", values.astype(float).sem())),
        "best": best,
    }


def _outcomes(fit: Fit, data: Any) -> Array:
    """The observed outcome as numbers."""
    table = fit.data if data is None else tables.frame(data)
    target = fit.target
    if target not in table.columns:
        raise DataError(f"these rows cannot be scored: give the outcome {target!r}")
    column = table[target]
    if column.dtype.kind not in "iufb":
        raise DataError(
            f"scores need numbers, and column {target!r} holds {column.dtype} "
            f"({column.iloc[0]!r}): recode it to 0 and 1 before the fit"
        )
    tables.columns(table, [target])
    return column.to_numpy(dtype=float)


def _floats(name: str, values: Any) -> Array:
    try:
        return np.asarray(values, dtype=float)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{name} must be an array of numbers, got {brief(values)}") from error


def _matrix(name: str, values: Any) -> Array:
    array = _floats(name, values)
    if array.ndim != 2 or not array.size:
        raise DataError(f"{name} must have shape (draw, obs), got {array.shape}")
    if np.isnan(array).any():
        raise DataError(f"{name} holds NaN")
    return array


def _pair(outcomes: Any, draws: Any) -> tuple[Array, Array]:
    y, x = _floats("outcomes", outcomes), _matrix("draws", draws)
    if y.shape != x.shape[1:]:
        raise DataError(f"{y.shape} outcomes do not go with draws of shape {x.shape} (draw, obs)")
    if not np.isfinite(y).all():
        raise DataError("outcomes must be finite")
    return y, x


def _binary(outcomes: Any, probability: Any) -> tuple[Array, Array]:
    y, p = _floats("outcomes", outcomes), _floats("probability", probability)
    if y.ndim != 1 or y.shape != p.shape or not y.size:
        raise DataError(f"outcomes and probability must be as long, got {y.shape} and {p.shape}")
    if not np.isin(y, (0, 1)).all():
        raise DataError(f"outcomes must be 0 or 1, got {y[~np.isin(y, (0, 1))][0]:g}")
    if not ((p >= 0) & (p <= 1)).all():
        raise DataError("probability must lie in [0, 1]")
    return y, p


def _both_classes(outcomes: Any, probability: Any) -> tuple[Array, Array]:
    y, p = _floats("outcomes", outcomes), _floats("probability", probability)
    _binary(y, np.zeros_like(p))
    if not np.isfinite(p).all():
        raise DataError("probability must be finite")
    if y.min() == y.max():
        raise DataError(f"ranking needs outcomes of both kinds, all {len(y)} are {y[0]:g}")
    return y, p
