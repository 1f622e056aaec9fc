"""Memory that a call would take: said, and refused, before any of it is taken."""

from __future__ import annotations

import os

from bayesmix.errors import SpecError

_SHARE = 0.5
"""Of the machine's memory: the rest is for the copies that a result is made of."""

_UNKNOWN = 8 * 2**30
"""Bytes, where the operating system does not say how much there is."""


def require(what: str, size: float) -> None:
    """Raise a SpecError where ``size`` bytes are more than half of the machine's memory.

    Examples
    --------
    >>> require("sample(draws=1000)", 8000)
    """
    limit = _SHARE * _installed()
    if size > limit:
        raise SpecError(
            f"{what} would take {size / 1e9:.3g} GB of memory, and this machine has "
            f"{_installed() / 1e9:.3g}; at most half of it is taken: ask for fewer draws, or for "
            "fewer rows at a time"
        )


def _installed() -> float:
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, OSError, ValueError):
        return float(_UNKNOWN)
