r"""Finite mixtures in NumPy: densities, responsibilities, component draws, one order of labels.

With log weights :math:`\log\pi_k` and component log densities :math:`\ell_k`,

.. math:: \log p = \log\sum_k e^{\log\pi_k + \ell_k}, \qquad
          h_k = e^{\log\pi_k + \ell_k - \log p}.

Components run along the last axis throughout, and everything stays in log space.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bayesmix.protocols import Array


def log_sum(values: Array) -> Array:
    """Log of the sum of exponentials over the last axis, without overflow.

    Far faster than SciPy's for the few components of a mixture, most of all where the array is in
    Fortran order, so that each component's column is contiguous.
    """
    top = values.max(axis=-1)
    shift = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        return shift + np.log(np.exp(values - shift[..., None]).sum(axis=-1))


def log_softmax(logits: Array) -> Array:
    """Log weights from logits, over the last axis."""
    return logits - log_sum(logits)[..., None]


def log_density(log_weight: Array, log_part: Array) -> Array:
    """Log density of the mixture; the component axis is summed over.

    Examples
    --------
    >>> half = np.log([0.5, 0.5])
    >>> float(log_density(half, np.array([-1.0, -1.0])))
    -1.0
    """
    return log_sum(log_weight + log_part)


def responsibilities(log_weight: Array, log_part: Array) -> Array:
    """Probability of each component given the observation; sums to one over the last axis."""
    return np.exp(log_softmax(log_weight + log_part))


def moments(weight: Array, mean: Array, variance: Array) -> tuple[Array, Array]:
    """Mean and variance of a mixture, from those of its components."""
    with np.errstate(over="ignore", invalid="ignore"):
        average = (weight * mean).sum(axis=-1)
        spread = (weight * (variance + (mean - average[..., None]) ** 2)).sum(axis=-1)
    return average, spread


class LogMoments(NamedTuple):
    """Moments of components beyond double precision: log |mean|, its sign, log variance."""

    size: Array
    sign: Array
    variance: Array


def far_moments(log_weight: Array, parts: LogMoments) -> tuple[Array, Array]:
    r"""As :func:`moments`, where a component's are beyond double precision and the mixture's not.

    A component may have a mean of :math:`e^{1000}` and a weight of :math:`e^{-2000}`. Differences
    of means are taken as :math:`\log|e^a - e^b| = \max(a, b) + \log(1 - e^{-|a - b|})`.
    """
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        sizes = log_weight + parts.size
        top = np.maximum(sizes.max(axis=-1, keepdims=True), -1e300)
        signed = (parts.sign * np.exp(sizes - top)).sum(axis=-1, keepdims=True)
        average, size = np.sign(signed), top + np.log(np.abs(signed))
        apart = np.abs(parts.size - size)
        gap = np.maximum(parts.size, size) + np.log(-np.expm1(-apart))
        gap = np.where(parts.sign == average, gap, np.logaddexp(parts.size, size))
        spread = np.exp(log_sum(log_weight + np.logaddexp(parts.variance, 2 * gap)))
        return (average * np.exp(size))[..., 0], spread


def choose(rng: np.random.Generator, log_weight: Array) -> Array:
    r"""A component for each set of log weights, by the Gumbel-max trick.

    :math:`\arg\max_k (\log\pi_k + G_k)`, :math:`G_k` standard Gumbel, is k with probability
    :math:`\pi_k`. The weights enter as *logarithms*: probabilities in their place would flatten
    them. Unlike a search in cumulated weights it cannot return a component that does not exist.

    References
    ----------
    Maddison, Tarlow & Minka (2014), arXiv:1411.0030.
    """
    return (log_weight - np.log(rng.standard_exponential(log_weight.shape))).argmax(axis=-1)


def best_match(reference: Array, membership: Array) -> Array:
    """For each sample the order of its components that agrees best with a reference.

    Parameters
    ----------
    reference
        Responsibilities (obs, component).
    membership
        Responsibilities of each sample (sample, obs, component).

    Returns
    -------
    Positions (sample, component): ``membership[s][:, found[s]]`` is in the reference's order.

    References
    ----------
    Stephens (2000), doi:10.1111/1467-9868.00265, on relabelling.
    """
    from scipy.optimize import linear_sum_assignment

    agreement = np.einsum("nk,snj->skj", reference, membership)
    straight = np.tile(np.arange(reference.shape[1]), (len(membership), 1))
    # where every component's best partner is its own, no assignment problem need be solved
    unclear = np.flatnonzero((agreement.argmax(axis=2) != straight).any(axis=1))
    for sample in unclear:
        straight[sample] = linear_sum_assignment(agreement[sample], maximize=True)[1]
    return straight
