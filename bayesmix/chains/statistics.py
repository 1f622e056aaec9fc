"""NumPy reference: what Markov chains say about themselves, many parameters at once.

Draws come as (chain, draw, parameter) and a statistic goes out as (parameter,). The definitions
are those of Vehtari, Gelman, Simpson, Carpenter & Buerkner (2021), doi:10.1214/20-BA1221, and of
Geweke (1992) and Betancourt (2016) where a docstring says so. A parameter with a NaN among its
draws, and a run of fewer than four draws, get NaN; so does an R-hat without two chains.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bayesmix.errors import DataError, SpecError

Array = NDArray[np.float64]
MIN_DRAWS = 4
RESOLUTION = float(np.finfo(float).resolution)
STATISTICS = ("rhat", "ess_bulk", "ess_tail", "ess_mean", "mcse_mean", "mcse_sd")
TAIL = (0.05, 0.95)


def rhat_rank(draws: Any, *, min_chains: int = 2) -> Array:
    r"""Split R-hat of the rank-normalised draws, bulk or tail, whichever is worse.

    Each chain is cut in two, giving m chains of n draws, and every draw is replaced by the normal
    score of its rank (see the paper's eq. 14). With W the mean variance within and B the variance
    between the halves,

    .. math:: \hat R = \sqrt{\frac{(n - 1) W / n + B / n}{W}} .

    The same is done with the distance from the median, which sees chains that differ in scale.

    Parameters
    ----------
    draws
        Shape (chain, draw, parameter).
    min_chains
        1 lets one chain be judged by its two halves; the default asks for two chains.

    Returns
    -------
    ndarray, shape (parameter,)
        1 when the chains agree; infinite or huge when every chain stands still at its own place.

    Examples
    --------
    >>> x = np.random.default_rng(1).normal(size=(4, 500, 2))
    >>> bool(rhat_rank(x).max() < 1.01)
    True
    """
    return _over_parameters(draws, _rhat_rank, min_chains)


def ess_bulk(draws: Any) -> Array:
    """Effective sample size of the rank-normalised split chains: (parameter,), in draws."""
    return _over_parameters(draws, _ess_bulk)


def ess_tail(draws: Any, prob: tuple[float, float] = TAIL) -> Array:
    """The lesser effective sample size of two tail probabilities: (parameter,), in draws.

    The series is the indicator of a draw at or below the quantile. The paper takes the 5 % and
    95 % quantiles; ArviZ 1.x takes ``prob=(0.11, 0.89)`` unless told otherwise.
    """
    return _over_parameters(draws, lambda a: _ess_tail(a, prob))


def ess_mean(draws: Any) -> Array:
    """Effective sample size for the posterior mean (split chains, draws as they are)."""
    return _over_parameters(draws, lambda a: _ess(_split(a)))


def mcse_mean(draws: Any) -> Array:
    """Monte Carlo standard error of the posterior mean, in the parameter's units."""
    return _over_parameters(draws, lambda a: _mcse_mean(a, _ess(_split(a))))


def mcse_sd(draws: Any) -> Array:
    r"""Monte Carlo standard error of the posterior standard deviation, in the parameter's units.

    With :math:`e = (\theta - \bar\theta)^2` and S its effective sample size, the delta method
    gives :math:`\mathrm{var}(s) \approx \mathrm{var}(e) / (4 \bar e S)`.
    """
    return _over_parameters(draws, _mcse_sd)


def chain_statistics(draws: Any, *, min_chains: int = 2) -> dict[str, Array]:
    """All of :data:`STATISTICS`, each (parameter,), sharing sorts and transforms.

    Parameters
    ----------
    draws
        Shape (chain, draw, parameter).
    min_chains
        As in :func:`rhat_rank`; the other statistics need one chain only.
    """
    table = _over_parameters(draws, _statistics)
    if np.shape(draws)[0] < min_chains:
        table[0] = np.nan
    return dict(zip(STATISTICS, table, strict=True))


def bfmi(energy: Any) -> Array:
    r"""Bayesian fraction of missing information by chain, from the energies of a Hamiltonian run.

    .. math:: \sum_t (E_t - E_{t-1})^2 / (T - 1) \big/ \mathrm{var}(E)

    Small values mean that momentum resampling moves too little along the energy axis, so that heavy
    tails are explored slowly. Betancourt (2016), arXiv:1604.00695.

    Parameters
    ----------
    energy
        Shape (chain, draw).

    Returns
    -------
    ndarray, shape (chain,)
    """
    energy = np.asarray(energy, dtype=float)
    with np.errstate(all="ignore"):
        return np.square(np.diff(energy, axis=1)).mean(axis=1) / energy.var(axis=1, ddof=1)


def geweke_z(draws: Any, first: float = 0.1, last: float = 0.5) -> Array:
    r"""Geweke's z-scores: does the start of each chain have the mean of its end?

    .. math:: z = (\bar\theta_A - \bar\theta_B)
              \big/ \sqrt{\hat S(0) (1 / n_A + 1 / n_B)}

    A is the ``first`` and B the ``last`` share of the chain; z is standard normal when the chain is
    long and stationary. The spectral density at frequency zero is the variance times the integrated
    autocorrelation time, :math:`\hat S(0) = s^2 n / ESS`, and is that of stretch B for both: they
    are equal in a stationary chain, and the short stretch A would underestimate it.
    Geweke (1992), in Bayesian Statistics 4, pp. 169-193.

    Parameters
    ----------
    draws
        Shape (chain, draw, parameter).
    first, last
        Shares of the chain, each in (0, 1), together at most 1.

    Returns
    -------
    ndarray, shape (chain, parameter)
        NaN where stretch A is empty, or B has fewer than four draws or never moves.
    """
    if not (0 < first < 1 and 0 < last < 1 and first + last <= 1):
        raise SpecError(
            f"geweke_z: first and last must lie in (0, 1) and sum to 1 at most, got {first}, {last}"
        )
    chains = _by_parameter(draws)
    n = chains.shape[2]
    head, tail = chains[:, :, : int(first * n)], chains[:, :, n - int(last * n) :]
    if head.shape[2] == 0 or tail.shape[2] < MIN_DRAWS:
        return np.full(chains.shape[1::-1], np.nan)
    with np.errstate(all="ignore"):
        noise = _variance_of_mean(tail) * (1 + tail.shape[2] / head.shape[2])
        z = (head.mean(axis=-1) - tail.mean(axis=-1)) / np.sqrt(noise)
        return np.where(np.ptp(tail, axis=-1) > 0, z, np.nan).T


def autocorrelation(draws: Any) -> Array:
    """Autocorrelation of every chain at all lags, same shape as ``draws``; NaN for a constant."""
    chains = _by_parameter(draws)
    size = chains.shape[-1]
    with np.errstate(all="ignore"):
        power = np.square(np.abs(_waves(chains)))
        covariance = np.fft.irfft(power, n=_fast_length(2 * size))[..., :size]
        moves = np.ptp(chains, axis=-1, keepdims=True) > 0
        return np.where(moves, covariance / covariance[..., :1], np.nan).transpose(1, 2, 0)


def _by_parameter(draws: Any) -> Array:
    array = np.asarray(draws, dtype=float)
    if array.ndim != 3:
        raise DataError(f"draws must have axes (chain, draw, parameter), got shape {array.shape}")
    return np.ascontiguousarray(array.transpose(2, 0, 1))


def _over_parameters(draws: Any, kernel: Callable[[Array], Array], min_chains: int = 1) -> Array:
    chains = _by_parameter(draws)
    unknown = np.isnan(chains).any(axis=(1, 2))
    if chains.shape[2] < MIN_DRAWS or chains.shape[1] < min_chains:
        unknown[:] = True
        chains = np.zeros((len(chains), 1, MIN_DRAWS))
    if unknown.any():
        chains = np.where(unknown[:, None, None], 0.0, chains)
    with np.errstate(all="ignore"):
        result = kernel(chains)
    result[..., unknown] = np.nan
    return result


def _statistics(chains: Array) -> Array:
    split = _split(chains)
    order = _sorted(split)
    scores, folded = _placed(split, *order), _folded_scores(split, *order)
    mean = _ess(split)
    return np.stack(
        [
            np.fmax(_rhat(scores), _rhat(folded)),
            _ess(scores),
            _ess_tail(chains, TAIL),
            mean,
            _mcse_mean(chains, mean),
            _mcse_sd(chains),
        ]
    )


def _split(chains: Array) -> Array:
    """Halve each chain: (parameter, 2 chain, draw // 2); an odd chain's middle is left out."""
    half = chains.shape[2] // 2
    return np.concatenate([chains[:, :, :half], chains[:, :, -half:]], axis=1)


def _rhat_rank(chains: Array) -> Array:
    split = _split(chains)
    order = _sorted(split)
    return np.fmax(_rhat(_placed(split, *order)), _rhat(_folded_scores(split, *order)))


def _rhat(chains: Array) -> Array:
    n = chains.shape[2]
    between = chains.mean(axis=2).var(axis=1, ddof=1)
    within = chains.var(axis=2, ddof=1).mean(axis=1)
    return np.sqrt(between / within + (n - 1) / n)


def _sorted(chains: Array) -> tuple[NDArray[np.intp], Array]:
    flat = chains.reshape(len(chains), chains.shape[1] * chains.shape[2])
    order = np.argsort(flat, axis=1)
    return order, np.take_along_axis(flat, order, axis=1)


def _placed(chains: Array, order: NDArray[np.intp], ordered: Array) -> Array:
    """Normal scores of ``ordered``, put back where ``order`` took the draws from."""
    scores = np.empty(order.shape)
    np.put_along_axis(scores, order, _scores_of_sorted(ordered), axis=1)
    return scores.reshape(chains.shape)


def _folded_scores(chains: Array, order: NDArray[np.intp], ordered: Array) -> Array:
    """Normal scores of the distances from the median, ranked over all chains."""
    middle = ordered.shape[1] // 2
    median = 0.5 * (ordered[:, middle - 1] + ordered[:, middle])
    distance = np.abs(ordered - median[:, None])
    # Distances fall, then rise: the stable sort merges two runs, three times faster than sorting.
    inner = np.argsort(distance, axis=1, kind="stable")
    outer = np.take_along_axis(order, inner, axis=1)
    return _placed(chains, outer, np.take_along_axis(distance, inner, axis=1))


def _scores_of_sorted(ordered: Array) -> Array:
    """Normal scores of rows in ascending order; a run of equal draws shares its average rank."""
    size = ordered.shape[1]
    table = _score_table(size)
    scores = np.tile(table[::2], (len(ordered), 1))
    row, column = np.nonzero(ordered[:, 1:] == ordered[:, :-1])
    if row.size:
        pair = row * size + column
        opens = np.flatnonzero(np.diff(pair, prepend=-2) != 1)
        length = np.diff(opens, append=pair.size) + 1
        start = pair[opens]
        shared = table[2 * (start % size) + length - 1]
        within = np.arange(length.sum()) - np.repeat(length.cumsum() - length, length)
        scores.flat[np.repeat(start, length) + within] = np.repeat(shared, length)
    return scores


@lru_cache(maxsize=8)
def _score_table(size: int) -> Array:
    """Normal scores of the ranks 1, 1.5, 2, ..., ``size``, with Blom's offset of 3/8."""
    share = (np.arange(2, 2 * size + 1) / 2 - 0.375) / (size + 0.25)
    table = np.fromiter(map(NormalDist().inv_cdf, share.tolist()), dtype=float, count=len(share))
    table.flags.writeable = False
    return table


def _fast_length(least: int) -> int:
    """The next length whose only prime factors are 2, 3 and 5."""
    while True:
        rest = least
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return least
        least += 1


def _waves(chains: Array) -> NDArray[np.complex128]:
    """Fourier amplitudes of the centred chains, padded against wrapping around."""
    centred = chains - chains.mean(axis=-1, keepdims=True)
    return np.fft.rfft(centred, n=_fast_length(2 * chains.shape[-1]))


def _autocorrelation_between_chains(chains: Array) -> Array:
    """The paper's eq. 10, (parameter, lag): between-chain variance counts as correlation."""
    _, m, n = chains.shape
    parts = _waves(chains).view(float)
    squares = np.einsum("pcf,pcf->pf", parts, parts) / m
    power = squares[:, ::2] + squares[:, 1::2]
    covariance = np.fft.irfft(power, n=_fast_length(2 * n))[:, :n] / n
    within = covariance[:, :1] * n / (n - 1)
    total = covariance[:, :1].copy()
    if m > 1:
        total[:, 0] += chains.mean(axis=2).var(axis=1, ddof=1)
    rho = 1.0 - (within - covariance) / total
    rho[:, 0] = 1.0
    return rho


def _ess(chains: Array) -> Array:
    """Draws over the integrated autocorrelation time: (parameter, chain, draw) to (parameter,)."""
    size = chains.shape[1] * chains.shape[2]
    rho = _autocorrelation_between_chains(chains)
    time = np.maximum(_integrated_time(rho), 1 / math.log10(size))
    still = chains.max(axis=(1, 2)) - chains.min(axis=(1, 2)) < RESOLUTION
    return np.where(still, float(size), np.where(np.isnan(rho[:, 1]), np.nan, size / time))


def _integrated_time(rho: Array) -> Array:
    """Geyer's initial monotone sequence, with the even lag after the last positive pair.

    Pairs of successive lags sum to a positive, decreasing sequence in a reversible chain; so sums
    are held from rising, and cut at the first that is not positive.
    """
    n = rho.shape[1]
    count = max(0, (n - 3) // 2) + 1
    pairs = rho[:, 0 : 2 * count : 2] + rho[:, 1 : 2 * count : 2]
    ended = ~(pairs > 0)
    ended[:, -1] = True
    end = ended.argmax(axis=1)
    kept = np.where(np.arange(count) < end[:, None], np.minimum.accumulate(pairs, axis=1), 0.0)
    rows = np.arange(len(rho))
    even, pair = rho[rows, 2 * end], pairs[rows, end]
    return -1.0 + 2.0 * kept.sum(axis=1) + np.where((even > 0) | (pair >= 0), even, 0.0)


def _ess_bulk(chains: Array) -> Array:
    split = _split(chains)
    return _ess(_placed(split, *_sorted(split)))


def _ess_tail(chains: Array, prob: tuple[float, float]) -> Array:
    limits = np.quantile(chains, prob, axis=(1, 2))
    below = (chains[None] <= limits[:, :, None, None]).astype(float)
    sizes = _ess(_split(below.reshape(-1, *chains.shape[1:])))
    return sizes.reshape(2, len(chains)).min(axis=0)


def _mcse_mean(chains: Array, size: Array) -> Array:
    return chains.std(axis=(1, 2), ddof=1) / np.sqrt(size)


def _mcse_sd(chains: Array) -> Array:
    squares = np.square(chains - chains.mean(axis=(1, 2), keepdims=True))
    variance = squares.mean(axis=(1, 2))
    spread = np.square(squares).mean(axis=(1, 2)) - variance**2
    return np.sqrt(spread / _ess(_split(squares)) / variance / 4)


def _variance_of_mean(chains: Array) -> Array:
    """Variance of each chain's own mean: (parameter, chain)."""
    flat = chains.reshape(-1, 1, chains.shape[2])
    return (flat.var(axis=(1, 2), ddof=1) / _ess(flat)).reshape(chains.shape[:2])
