r"""Standard coordinates of a mixture of experts: what its default priors are priors on.

Each predictor's coefficients :math:`\beta` are read in coordinates u that know no units,

.. math:: U \beta = d\,u + c,

with U from :class:`bayesmix.design.standard.Standard` (columns centred, of unit scale, each less
what the columns before it explain). For the experts' locs d is the target's scale s and c, in the
rows of intercepts, its location m; for log scales c is log s; for the gate d = 1 and c = 0. A
coefficient with a prior of its own stays as it is: its row of U is that of the identity.

EM climbs in other coordinates, :class:`Whitening`: orthonormal columns, and a target of unit scale.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp

from bayesmix.design.linear import Linear, orthonormal
from bayesmix.design.standard import Standard
from bayesmix.mixtures.components import Gaussian
from bayesmix.models.experts.equation import Coefficients, Gated
from bayesmix.priors import Normal, Prior, given_prior, kind_of
from bayesmix.protocols import Array

WIDE, LINKED = Normal(0.0, 5.0), Normal(0.0, 2.5)
"""Default priors in standard coordinates. A local line may be several times as steep as the cloud
of all rows is, and a gate sharper; on a log or logit scale 2.5 is a factor of twelve already."""
FLOOR = 0.01
"""Least scale where none is given, in standard deviations of the target."""
_CONSTANT = 1e-12
"""Spread of a target, relative to its size, below which it is rounding."""


@dataclass(frozen=True, eq=False)
class Side:
    r"""The coordinates of one predictor, :math:`U\beta = d\,u + c`.

    Parameters
    ----------
    standard
        U.
    width, centre
        d and c, (column,).
    """

    standard: Standard
    width: Array
    centre: Array

    @property
    def is_identity(self) -> bool:
        """True where u is beta: every coefficient has a prior of its own."""
        plain = bool((self.width == 1).all() and (self.centre == 0).all())
        return plain and self.standard.is_identity

    @property
    def matrix(self) -> Array:
        """T in beta = T u + t."""
        return self.standard.inverse * self.width

    @property
    def shift(self) -> Array:
        """t in beta = T u + t."""
        return self.standard.inverse @ self.centre

    @property
    def log_volume(self) -> float:
        """log |d beta / d u| of one component."""
        return float(np.log(self.width).sum()) - self.standard.log_determinant

    def columns(self, x: Array) -> Array:
        """X T: the columns (obs, column) whose coefficients are u."""
        return x if self.is_identity else x @ self.matrix

    def offset(self, x: Array) -> Array | float:
        """X t, (obs,): what the predictor is where u is zero."""
        return 0.0 if self.is_identity else x @ self.shift

    def raw(self, free: Array) -> Array:
        """Coefficients beta (..., column) from u."""
        if self.is_identity:
            return free
        return self.standard.to_raw(self.width * free + self.centre)

    def free(self, raw: Array) -> Array:
        """u from coefficients beta (..., column)."""
        if self.is_identity:
            return raw
        return (self.standard.to_standard(raw) - self.centre) / self.width


@dataclass(frozen=True, eq=False)
class ExpertUnits:
    """The units of a data set: the target's location, scale and floor, and three predictors'."""

    location: float
    scale: float
    floor: float
    sides: tuple[Side, Side, Side]

    @property
    def log_volume(self) -> float:
        """log |d beta / d u| of all coefficients of one component."""
        return sum(side.log_volume for side in self.sides)

    @property
    def unit(self) -> float:
        """What every log scale is relative to: the target's scale where priors are standard."""
        return self.scale if self.sides[2].centre.any() else 1.0

    def arrays(self, *, floor: bool) -> dict[str, Array]:
        """What PyMC's reading takes of them: T and t of each predictor that has standard priors."""
        found = {"floor": np.array([self.floor])} if floor else {}
        for name, side in zip("XGS", self.sides, strict=True):
            if not side.is_identity:
                found |= {f"{name}_matrix": side.matrix, f"{name}_shift": side.shift}
        return found


def units_of(
    kind: str,
    linear: tuple[Linear, Linear, Linear],
    arrays: dict[str, Array],
    floor: float | None,
    given: Callable[[str], bool],
) -> ExpertUnits:
    """The units of training rows.

    Parameters
    ----------
    kind
        The experts' family.
    arrays
        The design's: columns ``X``, ``G``, ``S``, the target ``y``, ``trials``, ``offset``.
    floor
        Least scale in units of the target; None takes :data:`FLOOR` of the target's scale.
    given
        Whether the coefficient of that name has a prior of its own.
    """
    n = len(arrays["y"])
    columns = [arrays.get(name, np.empty((n, 0))) for name in "XGS"]
    intercepts = [one.intercepts() for one in linear]
    location, scale = target_units(kind, arrays, centred=bool(intercepts[0].any()))
    centres = (location, 0.0, np.log(scale))
    widths = (scale, 1.0, 1.0)
    sides = []
    for one, x, is_intercept, centre, width in zip(
        linear, columns, intercepts, centres, widths, strict=True
    ):
        own = one.by_column(given)
        standard = Standard.of(x, intercepts=is_intercept, given=own)
        centred = np.where(is_intercept & ~own, centre, 0.0)
        sides.append(Side(standard, np.where(own, 1.0, width), centred))
    least = FLOOR * scale if floor is None else floor
    return ExpertUnits(location, scale, least, (sides[0], sides[1], sides[2]))


def target_units(kind: str, arrays: dict[str, Array], *, centred: bool) -> tuple[float, float]:
    """Location and scale of the target on the link scale, less its offset.

    A Gaussian target has its mean and standard deviation (zero and root mean square where it is
    not ``centred``); counts have the link of their overall mean, and unit scale.
    """
    y, offset = arrays["y"], arrays["offset"]
    if kind == "poisson":
        return float(np.log(y.sum() + 0.5) - logsumexp(offset)), 1.0
    if kind == "binomial":
        hits, misses = y.sum() + 0.5, (arrays["trials"] - y).sum() + 0.5
        return float(np.log(hits) - np.log(misses) - offset.mean()), 1.0
    rest = y - offset
    location = float(rest.mean()) if centred else 0.0
    size = float(np.abs(rest).max(initial=0.0))
    scale = size * float(np.sqrt((((rest - location) / size) ** 2).mean())) if size > 0 else 0.0
    return location, scale if scale > _CONSTANT * size else 1.0


def prior_of(name: str, kind: str, given: Mapping[str, Prior]) -> Prior:
    """The prior of one coefficient of experts of that kind: the one given, else the default."""
    linked = kind_of(name) == "scale" or (kind_of(name) == "loc" and kind != "gaussian")
    return given_prior(name, kind_of(name), given) or (LINKED if linked else WIDE)


class Whitening(NamedTuple):
    """Maps of coefficients on orthonormal columns to those on the user's: raw = T (c u + t).

    A Gaussian target is less its mean and in standard deviations ``unit`` there, so locs are
    multiplied by it, and log scales move by its log; ``centre`` (loc, spread) holds t.
    """

    loc: Array
    gate: Array
    spread: Array
    unit: float = 1.0
    centre: tuple[Array, Array] = (np.zeros(()), np.zeros(()))

    def raw(self, c: Coefficients) -> Coefficients:
        """Coefficients of the user's columns."""
        loc = self.unit * c.loc + self.centre[0]
        return Coefficients(
            loc @ self.loc.T, c.gate @ self.gate.T, (c.spread + self.centre[1]) @ self.spread.T
        )

    def whitened(self, c: Coefficients) -> Coefficients:
        """Coefficients of the orthonormal columns."""
        maps = (self.loc, self.gate, self.spread)
        loc, gate, spread = (np.linalg.solve(t, part.T).T for part, t in zip(c, maps, strict=True))
        return Coefficients((loc - self.centre[0]) / self.unit, gate, spread - self.centre[1])

    @property
    def log_unit(self) -> float:
        """What a row's log density on the data as they are falls short of that of whitened rows."""
        return float(np.log(self.unit))

    def jacobian(self, n_experts: int) -> Array:
        """Derivative of the flat raw coefficients by the flat whitened ones."""
        maps = (self.unit * self.loc, self.gate, self.spread)
        sizes = [len(t) for t in maps]
        block = np.zeros((sum(sizes), sum(sizes)))
        start = 0
        for t, size in zip(maps, sizes, strict=True):
            block[start : start + size, start : start + size] = t
            start += size
        return np.kron(np.eye(n_experts), block)


def whiten(
    rows: Gated, labels: tuple[tuple[str, ...], ...], location: float = 0.0, unit: float = 1.0
) -> tuple[Gated, Whitening]:
    """The same rows with orthonormal columns (times root n), and the way back.

    Parameters
    ----------
    location, unit
        What a Gaussian target is centred at and divided by, where its predictors allow for it.

    Raises
    ------
    DataError
        Columns that repeat one another, so that no coefficients are determined.
    """
    found = [
        orthonormal(x, names)
        for x, names in zip((rows.loc, rows.gate, rows.spread), labels, strict=True)
    ]
    columns = {name: z for name, (z, _) in zip(("loc", "gate", "spread"), found, strict=True)}
    rows, maps = replace(rows, **columns), (found[0][1], found[1][1], found[2][1])
    one_loc, one_spread = (_of_constant(x) for x in (rows.loc, rows.spread))
    if not isinstance(rows.expert, Gaussian) or one_spread is None:
        return rows, Whitening(*maps)
    centre = np.zeros(rows.loc.shape[1]) if one_loc is None else location * one_loc
    target = (rows.rows["target"] - rows.loc @ centre) / unit
    rows = replace(
        rows,
        expert=Gaussian(rows.expert.floor / unit),
        rows={**rows.rows, "target": target},
        offset=rows.offset / unit,
    )
    return rows, Whitening(*maps, unit, (centre, np.log(unit) * one_spread))


def _of_constant(columns: Array) -> Array | None:
    """Coefficients of orthonormal columns whose predictor is one; None where there are none."""
    coef = columns.mean(axis=0)
    return coef if np.allclose(columns @ coef, 1.0, rtol=0.0, atol=1e-9) else None
