"""Finite mixtures from logits, weights and component densities that a reader computed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from bayesmix import rng as random
from bayesmix.calls import named
from bayesmix.errors import DataError, SpecError, brief
from bayesmix.mixtures import algebra
from bayesmix.protocols import Array


@named
def log_softmax(logits: ArrayLike) -> Array:
    r"""Log weights :math:`z_k - \log\sum_j e^{z_j}` from logits, over the last axis.

    Parameters
    ----------
    logits
        Shape (..., component); minus infinity stands for a weight of zero.

    Raises
    ------
    DataError
        Logits that are not numbers, NaN or plus infinity, or minus infinity throughout a row.

    Examples
    --------
    >>> log_softmax([0.0, 1000.0])
    array([-1000.,     0.])
    """
    return algebra.log_softmax(_logits(logits, "logits"))


@named
def gumbel_max(logits: ArrayLike, *, seed: int | None, size: int | None = None) -> Array:
    r"""A component for each row of logits: :math:`\arg\max_k (z_k + G_k)`, :math:`G_k` Gumbel.

    The Gumbel-max trick: k is drawn with probability :math:`e^{z_k} / \sum_j e^{z_j}`. Logits are
    *logarithms* of probabilities, up to a constant; probabilities in their place would be taken
    for nearly equal ones.

    Parameters
    ----------
    logits
        Shape (..., component).
    seed
        The same seed gives the same components; None draws one.
    size
        How many draws for each row; None means one, without a dim of its own.

    Returns
    -------
    Array
        Whole numbers from 0, shape (...) or (size, ...).

    Raises
    ------
    DataError
        As :func:`log_softmax`.
    SpecError
        ``size`` is not a whole number of at least one.

    References
    ----------
    Maddison, Tarlow & Minka (2014), arXiv:1411.0030.

    Examples
    --------
    >>> drawn = gumbel_max(np.log([0.7, 0.2, 0.1]), seed=1, size=10_000)
    >>> (np.bincount(drawn) / 10_000).round(1)
    array([0.7, 0.2, 0.1])
    """
    values = _logits(logits, "logits")
    if size is None:
        return algebra.choose(_generator(seed), values)
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise SpecError(f"gumbel_max: size must be a whole number >= 1 or None, got {brief(size)}")
    return algebra.choose(_generator(seed), np.broadcast_to(values, (size, *values.shape)))


@named
def log_density(log_weight: ArrayLike, log_part: ArrayLike) -> Array:
    r"""Log density of a mixture, :math:`\log\sum_k e^{\log\pi_k + \ell_k}`, over the last axis.

    Parameters
    ----------
    log_weight, log_part
        Log weights and component log densities, shapes (..., component) that broadcast.

    Raises
    ------
    DataError
        Log weights as in :func:`log_softmax`; densities that are NaN or no numbers; shapes that do
        not go together.

    Examples
    --------
    >>> log_density(np.log([0.5, 0.5]), [-1000.0, -1000.0]).item()
    -1000.0
    """
    return algebra.log_density(*_pair(log_weight, log_part))


@named
def responsibilities(log_weight: ArrayLike, log_part: ArrayLike) -> Array:
    r"""Probability of each component given the observation, :math:`h_k`; rows sum to one.

    Parameters
    ----------
    log_weight, log_part
        As in :func:`log_density`.

    Raises
    ------
    DataError
        As :func:`log_density`, and a row that no component can have made.

    Examples
    --------
    >>> responsibilities(np.log([0.5, 0.5]), np.log([0.1, 0.3]))
    array([0.25, 0.75])
    """
    weight, part = _pair(log_weight, log_part)
    return np.exp(algebra.log_softmax(_logits(weight + part, "log_weight + log_part")))


@named
def moments(weight: ArrayLike, mean: ArrayLike, variance: ArrayLike) -> tuple[Array, Array]:
    r"""Mean and variance of a mixture from those of its components.

    .. math:: \mu = \sum_k \pi_k \mu_k, \qquad
              \sigma^2 = \sum_k \pi_k (\sigma_k^2 + (\mu_k - \mu)^2).

    Parameters
    ----------
    weight
        Probabilities, not their logarithms, shape (..., component); rows sum to one.
    mean, variance
        Of the components, shapes that broadcast with ``weight``.

    Raises
    ------
    DataError
        Weights that are negative or do not sum to one; NaN; negative variances.

    Examples
    --------
    >>> mean, variance = moments([0.5, 0.5], [-1.0, 1.0], [0.25, 0.25])
    >>> mean.item(), variance.item()
    (0.0, 1.25)
    """
    shares = _numbers(weight, "weight")
    wrong = (shares < 0).any(axis=-1) | ~np.isclose(shares.sum(axis=-1), 1.0)
    if wrong.any():
        raise DataError(
            f"weight: row {_row(wrong)} is {brief(shares[wrong][0].tolist())}; weights are "
            "probabilities that sum to one, such as np.exp(log_softmax(logits))"
        )
    spreads = _numbers(variance, "variance")
    if (spreads < 0).any():
        raise DataError(f"variance: row {_row((spreads < 0).any(axis=-1))} has a negative number")
    means = _numbers(mean, "mean")
    _check_shapes(weight=shares, mean=means, variance=spreads)
    return algebra.moments(shares, means, spreads)


def _generator(seed: int | None) -> np.random.Generator:
    return random.stream(random.check_seed(seed), "gumbel")


def _pair(log_weight: ArrayLike, log_part: ArrayLike) -> tuple[Array, Array]:
    weight, part = _logits(log_weight, "log_weight"), _numbers(log_part, "log_part")
    _check_shapes(log_weight=weight, log_part=part)
    return weight, part


def _logits(given: Any, what: str) -> Array:
    """Logits, of which some but not all in a row may be minus infinity."""
    values = _numbers(given, what)
    if (values == np.inf).any():
        raise DataError(f"{what}: row {_row((values == np.inf).any(axis=-1))} has plus infinity")
    empty = (values == -np.inf).all(axis=-1)
    if empty.any():
        raise DataError(
            f"{what}: row {_row(empty)} is minus infinity throughout, so no component is possible"
        )
    return values


def _numbers(given: Any, what: str) -> Array:
    """Floats with a component axis, none of them NaN."""
    try:
        values = np.asarray(given, dtype=float)
    except (TypeError, ValueError) as error:
        raise DataError(f"{what} must be numbers, got {brief(given)}") from error
    if values.ndim == 0 or values.shape[-1] == 0:
        raise DataError(f"{what} needs components along its last axis, got shape {values.shape}")
    missing = np.isnan(values).any(axis=-1)
    if missing.any():
        raise DataError(f"{what}: row {_row(missing)} has NaN")
    return values


def _row(wrong: Array) -> str:
    """Where the first of some rows is, as a reader would index it."""
    place = np.argwhere(np.atleast_1d(wrong))[0].tolist()
    return ", ".join(map(str, place))


def _check_shapes(**arrays: Array) -> None:
    shapes = {name: array.shape for name, array in arrays.items()}
    try:
        np.broadcast_shapes(*shapes.values())
    except ValueError as error:
        told = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise DataError(
            f"shapes do not go together: {told}; components run along the last axis of each"
        ) from error
