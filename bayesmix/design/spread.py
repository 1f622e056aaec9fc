"""The spread of a column: whether it has any, and whether double precision can work with it."""

from __future__ import annotations

import numpy as np

from bayesmix.errors import DataError
from bayesmix.protocols import Array

SMALLEST, LARGEST = 1e-100, 1e100
"""Beyond these, squares and products of residuals come near the ends of double precision."""
LEAST_SHARE = 1e-12
"""Of its largest value, the spread that a column needs for its digits to mean anything."""


_BULK = 1e-6
"""Share of an input's standard deviation in which its bulk cannot be told apart by a network."""


def spread_of(values: Array) -> float:
    """Standard deviation, also where squares of the values would over- or underflow."""
    top = float(np.abs(values).max(initial=0.0))
    return top * float((values / top).std()) if top > 0 else 0.0


def require_spread(what: str, name: str, values: Array, constant: str) -> float:
    """The standard deviation of a column that a fit can work with.

    Parameters
    ----------
    what, name
        Such as ``"input"`` and the column's name.
    constant
        What follows from a column with one value.

    Raises
    ------
    DataError
        Two rows or more, and the column has one value, or varies too little or too much for double
        precision.
    """
    sd, top = spread_of(values), float(np.abs(values).max(initial=0.0))
    if len(values) < 2:
        return sd
    if np.ptp(values) == 0:
        raise DataError(f"the {what} {name!r} has the same value in every row, {constant}; drop it")
    if not SMALLEST <= sd <= LARGEST:
        row = int(np.abs(values).argmax())
        raise DataError(
            f"the {what} {name!r} varies by {sd:.2g} (its largest size is {top:.2g}, in row {row}) "
            f"and squares of such numbers leave double precision: it must vary by {SMALLEST:g} to "
            f"{LARGEST:g}. Look at that row, or give the column in other units"
        )
    if sd < LEAST_SHARE * top:
        raise DataError(
            f"the {what} {name!r} varies by {sd:.2g} around values of size {top:.2g}, which leaves "
            "no digits to work with; subtract a constant, such as the first value, before the fit"
        )
    return sd


def require_input(name: str, values: Array) -> None:
    """Refuse an input that nothing can depend on.

    Raises
    ------
    DataError
        As :func:`require_spread`, or a few values are so far out that the others, in standard
        units, are one number.
    """
    sd = require_spread("input", name, values, "so nothing can depend on it")
    low, high = np.quantile(values, [0.05, 0.95])
    if 0 < high - low < _BULK * sd:
        row = int(np.abs(values - low).argmax())
        raise DataError(
            f"the input {name!r} is {values[row]:.3g} in row {row}, and nine tenths of its values "
            f"lie in [{low:.3g}, {high:.3g}]: beside that row they are one number to a network. "
            "Look at that row, or give the column on another scale, such as its logarithm"
        )


def require_target(name: str, values: Array, floor: float | None = None) -> None:
    """Refuse a measured target that no density can be learnt of; ``floor`` is the least scale.

    Raises
    ------
    DataError
        As :func:`require_spread`, or the floor is wider than the target itself.
    """
    sd = require_spread("target", name, values, "so there is no density to learn")
    if floor is not None and len(values) > 1 and sd <= floor:
        raise DataError(
            f"the target {name!r} varies by {sd:.2g} (its standard deviation) and floor={floor:g} "
            "is the least scale of a component, so that each would be wider than all data: give a "
            f"floor well below, such as floor={0.01 * sd:.1g}, or the target in other units"
        )


def require_rows(what: str, n: int, free: int, ways: str) -> None:
    """Refuse to maximise the likelihood of more coefficients than there are rows.

    Raises
    ------
    DataError
        There are fewer rows than coefficients.
    """
    if n < free:
        raise DataError(
            f"{what} has {free} coefficients, and the data have {n} rows: the likelihood of a "
            "measured target has no sensible maximum with fewer rows than coefficients, as some "
            f"curve passes through all of them. Give at least {free} rows, and for standard errors "
            f"several times as many; or {ways}"
        )
