"""A finding: what one check says of a fit, and how sure it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Level = Literal["pass", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """One check: what was found, against which threshold, where, and what to do about it."""

    check: str
    level: Level
    value: float
    threshold: float
    where: str
    message: str


def made(tests: Sequence[Callable[[Any], Finding | None]], given: Any) -> tuple[Finding, ...]:
    """The findings of those checks that could be made."""
    found = (test(given) for test in tests)
    return tuple(finding for finding in found if finding is not None)
