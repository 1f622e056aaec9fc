r"""Uncertainty of a fit as parameter values: its draws, or those that standard errors describe.

Maximum likelihood leaves :math:`\hat\theta` with covariance :math:`R R^\top`; values that the data
leave plausible are :math:`\hat\theta + R z`, :math:`z \sim \mathrm N(0, I)`. Effects of groups move
with the rest by their linear response, which is in R, and by their own conditional error.

References
----------
King, Tomz & Wittenberg (2000), doi:10.2307/2669316, on intervals by simulated parameters.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from bayesmix import rng as random
from bayesmix.protocols import Array, Params
from bayesmix.tree import read

DRAWS = 400
"""Values behind an interval of a point estimate: its ends are then within a tenth of an sd."""
_FIXED = ("sigma_", "corr_")
"""Spreads and correlations stay at their estimates: a normal would leave their range."""


def plausible(tree: xr.DataTree, seed: int, draws: int = DRAWS) -> Params | None:
    """Parameters with a leading sample axis; None for a point estimate without a covariance."""
    known = read.draws(tree)
    if read.is_sampled(tree) or len(next(iter(known.values()))) > 1:
        return known
    if "covariance" not in tree.children:
        return None
    roots = {str(name): root.to_numpy() for name, root in tree["covariance"].data_vars.items()}
    if not all(np.isfinite(root).all() for root in roots.values()):
        return None
    generator = random.stream(seed, "plausible")
    size = next(iter(roots.values())).shape[-1]
    half = generator.standard_normal((draws // 2, size))
    z = np.concatenate([half, -half])
    found: dict[str, Array] = {}
    own = _conditional(tree)
    for name, value in known.items():
        values = np.repeat(value, len(z), axis=0)
        if name in roots and not name.startswith(_FIXED):
            values = values + np.tensordot(z, roots[name], axes=(1, -1))
        if name in own:
            values = values + own[name] * generator.standard_normal(values.shape)
        found[name] = values
    return found


def _conditional(tree: xr.DataTree) -> dict[str, Array]:
    """Standard errors of group effects given the rest: those of names such as ``1|edu``."""
    if "standard_error" not in tree.children:
        return {}
    errors = {str(k): v.to_numpy() for k, v in tree["standard_error"].data_vars.items()}
    return {name: error for name, error in errors.items() if "|" in name}
