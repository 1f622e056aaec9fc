"""Folds of rows, each held out once: how long and how strictly a network should be trained."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from bayesmix import rng as random
from bayesmix.blocks.network_climb import watched
from bayesmix.blocks.straight_line import Line
from bayesmix.blocks.trainable import Trainable
from bayesmix.errors import NotConverged
from bayesmix.optimizers import EarlyStopping
from bayesmix.protocols import Array

_ENOUGH = 1000
"""Rows held out that tell decays apart; where one fold has them, the others need not try all."""

MakeTask = Callable[[Array], Trainable]
"""The network with all its data, standardised by the rows given."""


@dataclass(frozen=True, eq=False)
class Choice:
    """What rows held out say, in nats per row on data as they are.

    Parameters
    ----------
    decay, steps
        The strength of decay and the number of steps of the lowest NLL.
    path
        NLL by step with that decay (step,), over all folds.
    by_decay
        The lowest NLL with each decay (decay,), over the folds on which decays were compared.
    line
        NLL of the straight line, over all folds.
    fold
        The number of the fold of each row (obs,).
    """

    decay: float
    steps: int
    path: Array
    by_decay: Array
    line: float
    fold: Array

    @property
    def nll(self) -> float:
        """The lowest NLL of a network."""
        return float(self.path[self.steps])

    @property
    def is_line(self) -> bool:
        """Whether no network did better than the line."""
        return self.line <= self.nll


def folds_of(n: int, count: int, seed: int) -> Array:
    """The fold of each row, sizes differing by one at most."""
    return random.stream(seed, "validation").permutation(np.arange(n) % min(count, n))


def choose(
    make: MakeTask, n: int, settings: EarlyStopping, seed: int, report: Callable[[float], None]
) -> Choice:
    """Train without each fold, with every decay; see which decay and how many steps are best.

    Raises
    ------
    NotConverged
        The likelihood is not finite at any start.
    """
    fold = folds_of(n, settings.folds, seed)
    parts = [_Part.of(make, fold, number, seed) for number in range(fold.max() + 1)]
    few = parts[: -(-_ENOUGH * len(parts) // n)]
    runs = _Runs(settings, report, len(settings.weight_decays) * len(few) + len(parts) - len(few))
    runs.add([(decay, part) for decay in settings.weight_decays for part in few])
    by_decay = np.array([runs.path(decay, few).min() for decay in settings.weight_decays])
    decay = settings.weight_decays[int(np.argmin(by_decay))]
    runs.add([(decay, part) for part in parts[len(few) :]])
    path = runs.path(decay, parts)
    if not np.isfinite(path).any():
        raise NotConverged(
            "the likelihood is not finite at any start, from the first step on; look for targets "
            "with extreme values, or raise floor"
        )
    line = -sum(part.line() for part in parts) / n
    return Choice(decay, int(np.argmin(path)), path, by_decay, line, fold)


@dataclass(frozen=True, eq=False)
class _Part:
    """A network trained without one fold: its task, the rows of both kinds, and a start."""

    number: int
    task: Trainable
    trained: Array
    held_out: Array
    start: Array

    @classmethod
    def of(cls, make: MakeTask, fold: Array, number: int, seed: int) -> _Part:
        trained, held_out = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        task = make(trained)
        start = task.start(random.stream(seed, f"init of fold {number}"))
        return cls(number, task, trained, held_out, start)

    def path(self, decay: float, settings: EarlyStopping) -> Array:
        """Log density of the rows held out by step (step,), their sum, on data as they are."""
        task = self.task
        found = watched(
            task.likelihood(self.trained, decay), len(self.trained),
            task.likelihood(self.held_out), self.start, settings.max_iter, settings.patience,
        )  # fmt: skip
        return found - len(self.held_out) * task.log_volume

    def line(self) -> float:
        """The same of the straight line."""
        found = Line.of(self.task, self.trained).log_density(self.task, self.held_out)
        return float(found.sum()) - len(self.held_out) * self.task.log_volume


@dataclass(eq=False)
class _Runs:
    """Runs that were made, by decay and fold."""

    settings: EarlyStopping
    report: Callable[[float], None]
    expected: int
    made: dict[tuple[float, int], Array] = field(default_factory=dict[tuple[float, int], Array])

    def add(self, jobs: Sequence[tuple[float, _Part]]) -> None:
        """Make runs side by side."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            # the compiled density runs without the interpreter lock
            found = pool.map(lambda job: job[1].path(job[0], self.settings), jobs)
            for (decay, part), path in zip(jobs, found, strict=True):
                self.made[decay, part.number] = path
                self.report(len(self.made) / self.expected)

    def path(self, decay: float, parts: Sequence[_Part]) -> Array:
        """NLL per row by step (step,) over some folds; a run that has ended stays where it is."""
        own = [self.made[decay, part.number] for part in parts]
        longest = max(len(path) for path in own)
        padded = [np.pad(path, (0, longest - len(path)), mode="edge") for path in own]
        return -np.sum(padded, axis=0) / sum(len(part.held_out) for part in parts)
