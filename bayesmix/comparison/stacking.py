"""Stacking: weights of models whose mixture predicts the rows best."""

from __future__ import annotations

import numpy as np

from bayesmix.protocols import Array


def stacking_weights(log_density: Array) -> Array:
    r"""Weights of the mixture of models that predicts left-out rows best.

    Maximises :math:`\sum_i \log \sum_k w_k \exp(\mathrm{elpd}_{ik})` over the simplex.

    Parameters
    ----------
    log_density
        Pointwise log predictive densities of left-out rows, shape (obs, model).

    References
    ----------
    Yao et al. (2018), doi:10.1214/17-BA1091.

    Examples
    --------
    >>> stacking_weights(np.log([[0.9, 0.1], [0.1, 0.9]])).round(3).tolist()
    [0.5, 0.5]
    """
    from scipy.optimize import minimize

    density = np.exp(log_density - log_density.max(axis=1, keepdims=True))
    n = density.shape[1]

    def objective(weight: Array) -> tuple[float, Array]:
        mixed = np.maximum(density @ weight, 1e-300)
        return -np.log(mixed).mean(), -(density / mixed[:, None]).mean(axis=0)

    found = minimize(
        objective,
        np.full(n, 1 / n),
        jac=True,
        method="SLSQP",
        bounds=[(0.0, 1.0)] * n,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": lambda w: np.ones(n)},
        options={"ftol": 1e-10, "maxiter": 500},
    )
    weight = np.clip(found.x, 0.0, None)
    return weight / weight.sum()
