r"""Standard units of a mixture density network: what its default priors are priors on.

Inputs are centred and of unit scale, targets less their means and in standard deviations. A
parameter of the network on such data is a free variable with prior Normal(0, 5); those reported are
of the network that has the same density on data as they are,

.. math:: W_1 = W_1' / s_x, \quad b_1 = b_1' - W_1 m_x, \quad
          \mu = m_y + s_y \mu', \quad L = \mathrm{diag}(s_y)\, L'.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bayesmix.design.columns import Columns
from bayesmix.models.mdn.equation import Network, NetworkUnits, changes_of, first_layer, units_of
from bayesmix.protocols import Array

DEFAULT_SCALE = 5.0
"""Of the default priors, as in the book, on the parameters of standardised data."""
FLOOR = 0.01
"""Least scale where none is given, in standard deviations of the target."""


@dataclass(frozen=True, eq=False)
class Standards:
    """What the design of new rows needs to know of the training rows.

    Parameters
    ----------
    columns
        The inputs' names and levels.
    units
        Means and scales of inputs and targets.
    floor
        Least scale, of each output or of all.
    """

    columns: Columns
    units: NetworkUnits
    floor: float | tuple[float, ...]

    @classmethod
    def of(
        cls, network: Network, columns: Columns, x: Array, y: Array, floor: float | None
    ) -> Standards:
        """The units of training rows; a floor of None is a hundredth of the targets' scales."""
        units = units_of(network, x, y)
        if floor is not None:
            return cls(columns, units, floor)
        least = tuple(float(value) for value in FLOOR * units.y_scale)
        return cls(columns, units, least if network.noise in ("diagonal", "full") else least[0])


def arrays(given: frozenset[str], network: Network, standards: Standards) -> dict[str, Array]:
    """What PyMC's reading takes of the units, one-dimensional: see ``graph_network.parameters``."""
    found = {"floor": np.atleast_1d(np.asarray(standards.floor, dtype=float))}
    for name, change in changes_of(network, standards.units, given).items():
        if name not in given:
            found |= {
                f"{p} {name}": v.ravel() for p, v in zip(("unit", "shift"), change, strict=True)
            }
    if any(f"{name}_bias" not in given for name in first_layer(network)):
        found["x_mean"] = standards.units.x_mean
    return found
