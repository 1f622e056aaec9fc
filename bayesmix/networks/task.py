"""Task: what a trainer needs of a network, whatever its data and its density."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from bayesmix.compiled.density import Target
from bayesmix.protocols import Array


class Task(Protocol):
    """A network with its data on standard units; its parameters are one vector (parameter,).

    Log densities are those of data as they are. ``Trainable`` of :class:`bayesmix.MDN` is one.
    """

    rows: Array
    """Positions of the rows that train: units and starts are made from these alone."""

    @property
    def n_obs(self) -> int:
        """Rows, those held out included."""
        ...

    @property
    def width(self) -> int:
        """Numbers that one row sets in the widest layer."""
        ...

    @property
    def log_volume(self) -> float:
        """What a row's log density on the data as they are falls short of the objective's."""
        ...

    @property
    def decays(self) -> Array:
        """What of weight decay each parameter takes, (parameter,): zero for a bias."""
        ...

    def start(self, rng: np.random.Generator) -> Array:
        """Random parameters (parameter,) to begin at."""
        ...

    def split(self, flat: Array) -> dict[str, Array]:
        """A vector (..., parameter) cut into named parameters on standard units."""
        ...

    def raw(self, flat: Array) -> dict[str, Array]:
        """The parameters that give the same density on the data as they are."""
        ...

    def likelihood(self, rows: Array | slice = slice(None), decay: float = 0.0) -> Target:
        """The objective of full-batch training: log-likelihood of some rows, less the decay."""
        ...

    def log_density(self, point: Array, rows: Array) -> Array:
        """Log density (obs,) of some rows at one vector of parameters."""
        ...

    def line(self, trained: Array, rows: Array) -> Array:
        """Log density (obs,) of some rows by the straight line of others."""
        ...

    def as_line(self, rows: Array) -> Array | None:
        """Parameters of a network that is the straight line of some rows; None if none is."""
        ...

    def in_torch(self, tensor: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
        """The objective in torch: points (run, parameter) and rows to log density (run, obs).

        Rows are (row,) or, where runs have their own, (run, row). ``tensor`` puts an array on the
        trainer's device in its precision.
        """
        ...
