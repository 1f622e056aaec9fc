"""A kernel density that respects hard bounds."""

from __future__ import annotations

import numpy as np

from bayesmix.protocols import Array

_GRID = 400


def kernel_density(
    draws: Array, low: float, high: float, *, bounds: tuple[float, float] = (-np.inf, np.inf)
) -> tuple[Array, Array]:
    r"""Gaussian kernel density of draws on an even grid of [low, high].

    The bandwidth is Scott's, :math:`1.06 \min(s, IQR / 1.34) n^{-1/5}`, of the draws near the
    window; mass that leaks over a bound is mirrored back. The density is of all draws, so that it
    integrates to the share of them in the window.

    Parameters
    ----------
    draws
        Any shape.
    bounds
        Where the support ends, such as (0, inf) for a scale.

    Returns
    -------
    grid, density
        Each (400,); the density in units of 1 / x.

    Examples
    --------
    >>> grid, density = kernel_density(np.random.default_rng(1).normal(size=4000), -4, 4)
    >>> bool(abs(density.sum() * (grid[1] - grid[0]) - 1) < 0.01)
    True
    """
    draws = np.ravel(draws)
    width = high - low
    near = draws[(draws >= low - width) & (draws <= high + width)]
    step = width / _GRID
    cells = np.arange(-_GRID, 2 * _GRID)
    grid = low + (cells + 0.5) * step
    mass = np.histogram(near, bins=3 * _GRID, range=(low - width, high + width))[0] / len(draws)
    bandwidth = max(_bandwidth(near[(near >= low) & (near <= high)]), step)
    kernel = np.exp(-0.5 * (np.arange(-_GRID, _GRID + 1) * step / bandwidth) ** 2)
    density = np.convolve(mass, kernel / kernel.sum(), mode="same") / step
    density = _reflected(grid, density, bounds)
    return grid[_GRID : 2 * _GRID], density[_GRID : 2 * _GRID]


def _bandwidth(draws: Array) -> float:
    if len(draws) < 2:
        return 0.0
    quartiles = np.subtract(*np.quantile(draws, [0.75, 0.25])) / 1.34
    return 1.06 * min(draws.std(), quartiles or draws.std()) * len(draws) ** -0.2


def _reflected(grid: Array, density: Array, bounds: tuple[float, float]) -> Array:
    mirrored = density.copy()
    for bound in (b for b in bounds if np.isfinite(b)):
        mirrored += np.interp(2 * bound - grid, grid, density, left=0.0, right=0.0)
    return np.where((grid >= bounds[0]) & (grid <= bounds[1]), mirrored, 0.0)
