"""Random numbers: named streams from one seed, and no global state."""

from __future__ import annotations

import hashlib
import importlib
import operator
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, cast

import numpy as np

from bayesmix.errors import SpecError

MAX_SEED = 2**63 - 1


def check_seed(seed: object) -> int:
    """Return ``seed`` as an int, drawing one from the operating system when it is None.

    Raises
    ------
    SpecError
        If ``seed`` is neither None nor an int in [0, 2**63).
    """
    if seed is None:
        return secrets.randbelow(2**31)
    if isinstance(seed, np.integer):
        seed = operator.index(cast("np.int64", seed))
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise SpecError(f"seed must be an int or None, got {type(seed).__name__} {seed!r}")
    if not 0 <= seed <= MAX_SEED:
        raise SpecError(f"seed must lie in [0, 2**63), got {seed}")
    return seed


def stream(seed: int, name: str) -> np.random.Generator:
    """A generator that depends on ``seed`` and ``name`` alone, independent of every other name.

    Examples
    --------
    >>> bool(stream(1, "predict").random() == stream(1, "predict").random())
    True
    >>> bool(stream(1, "predict").random() == stream(1, "init").random())
    False
    """
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, key])))


def streams(seed: int, *names: str) -> dict[str, np.random.Generator]:
    """Named generators, one for each purpose: ``streams(seed, "init", "minibatch", "predict")``."""
    return {name: stream(seed, name) for name in names}


def integer(rng: np.random.Generator) -> int:
    """A seed for an engine that wants a plain integer below 2**31."""
    return int(rng.integers(2**31))


@contextmanager
def torch_seed(rng: np.random.Generator) -> Generator[None]:
    """Run a block of torch code under a seed of its own, leaving torch's global state as it was."""
    torch: Any = importlib.import_module("torch")
    with torch.random.fork_rng():
        torch.manual_seed(integer(rng))
        yield
