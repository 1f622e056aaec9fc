"""Folds of rows, each held out once: how long and how strictly a network should be trained."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from bayesmix import interrupts
from bayesmix import rng as random
from bayesmix.errors import NotConverged
from bayesmix.networks.full_batch import ascended
from bayesmix.networks.task import Task
from bayesmix.optimizers import EarlyStopping
from bayesmix.protocols import Array

_ENOUGH = 1000
"""Rows held out that tell decays apart; where one fold has them, the others need not try all."""
_NETWORKS = 3
"""Networks a fold whose mixture stands for that of all members."""
_ROWS_TRAINED = 10_000
"""Rows times networks a fold that are worth their time; with more rows one network is enough."""
_STRIDE = 10
"""Steps from one look at the rows held out to the next."""
_HOPELESS = 0.5
"""Nats per row behind the best decay at which, after two spells of patience, one is given up."""

MakeTask = Callable[[Array], Task]
"""The network with all its data, standardised by the rows given."""


@dataclass(frozen=True, eq=False)
class Choice:
    """What rows held out say, in nats per row on data as they are.

    Parameters
    ----------
    decay, steps
        The strength of decay and the number of steps of the lowest NLL.
    path
        NLL at every tenth step with that decay (look,), over all folds.
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
        return float(self.path.min())

    @property
    def looks(self) -> Array:
        """The steps of the path (look,)."""
        return _STRIDE * np.arange(len(self.path))

    @property
    def is_line(self) -> bool:
        """Whether no network did better than the line."""
        return self.line <= self.nll


def folds_of(n: int, count: int, seed: int) -> Array:
    """The fold of each row, sizes differing by one at most."""
    return random.stream(seed, "validation").permutation(np.arange(n) % min(count, n))


def choose(
    make: MakeTask,
    n: int,
    settings: EarlyStopping,
    seed: int,
    members: int,
    report: Callable[[float], None],
) -> Choice:
    """Train without each fold, with every decay; see which decay and how many steps are best.

    What is watched is a mixture of networks where the fit is to have several ``members``: together
    they can bear more steps and less decay than one alone.

    Raises
    ------
    NotConverged
        The likelihood is not finite at any start.
    """
    fold = folds_of(n, settings.folds, seed)
    count = max(1, min(members, _NETWORKS, _ROWS_TRAINED // n))
    parts = [_Part.of(make, fold, k, count, seed) for k in range(fold.max() + 1)]
    few = parts[: -(-_ENOUGH * len(parts) // n)]
    search = {decay: _Trial.of(decay, few) for decay in settings.weight_decays}
    _race(list(search.values()), settings, lambda share: report(share * len(few) / len(parts)))
    best = min(search.values(), key=lambda trial: trial.path().min())
    if not np.isfinite(best.path()).any():
        raise NotConverged(
            "the likelihood is not finite at any start, from the first step on; look for targets "
            "with extreme values, or raise floor"
        )
    by_decay = np.array([trial.path().min() for trial in search.values()])
    others = _Trial.of(best.decay, parts[len(few) :])
    others.go_on(best.steps)
    path = _Trial(best.decay, [*best.runs, *others.runs]).path()
    report(1.0)
    line = -sum(part.line() for part in parts) / n
    return Choice(best.decay, _STRIDE * int(np.argmin(path)), path, by_decay, line, fold)


def _race(trials: list[_Trial], settings: EarlyStopping, report: Callable[[float], None]) -> None:
    """Let each decay go on for as long as it gains, and is not far behind the best."""
    running, done = trials, 0
    while running and done < settings.max_iter:
        spell = min(settings.patience, settings.max_iter - done)
        _go_on([run for trial in running for run in trial.runs], spell)
        done += spell
        least = min(trial.path().min() for trial in trials)
        late = done >= 2 * settings.patience
        running = [
            trial for trial in running
            if trial.waited < settings.patience
            and not (late and trial.path().min() > least + _HOPELESS)
        ]  # fmt: skip
        report(done / settings.max_iter)


@dataclass(frozen=True, eq=False)
class _Part:
    """Networks trained without one fold: the task, the rows of both kinds, and starts."""

    task: Task
    trained: Array
    held_out: Array
    starts: list[Array]

    @classmethod
    def of(cls, make: MakeTask, fold: Array, number: int, count: int, seed: int) -> _Part:
        trained, held_out = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        task = make(trained)
        names = [f"init {i} of fold {number}" for i in range(count)]
        starts = [task.start(random.stream(seed, name)) for name in names]
        return cls(task, trained, held_out, starts)

    def log_density(self, point: Array) -> Array:
        """Of the rows held out (obs,), on data as they are."""
        return self.task.log_density(point, self.held_out)

    def line(self) -> float:
        """The sum of that, of the straight line."""
        return float(self.task.line(self.trained, self.held_out).sum())


@dataclass(eq=False)
class _Run:
    """One network as it is trained: where it is, and log densities of rows held out by look."""

    part: _Part
    decay: float
    point: Array
    looks: list[Array]
    step: int = 0
    ended: bool = False

    @classmethod
    def of(cls, part: _Part, decay: float, start: Array) -> _Run:
        return cls(part, decay, start, [part.log_density(start)])

    def go_on(self, steps: int, proceed: Callable[[], None]) -> None:
        """Take more steps, or fewer where the ascent ends."""
        target, rows = self.step + steps, self.part.trained
        if self.ended:
            return
        density = self.part.task.likelihood(rows, self.decay)
        found = ascended(density, len(rows), self.point, steps, self._see, proceed)
        self.ended = found is None or self.step < target
        if found is None:
            self.looks = [np.full(len(self.part.held_out), -np.inf)]
        else:
            self.point = found

    def _see(self, point: Array) -> None:
        self.step += 1
        if self.step % _STRIDE == 0:
            self.looks.append(self.part.log_density(point))


def _go_on(runs: Sequence[_Run], steps: int) -> None:
    """Side by side: the compiled density runs without the interpreter lock."""
    with interrupts.threads(os.cpu_count()) as (pool, proceed):
        list(pool.map(lambda run: run.go_on(steps, proceed), runs))


@dataclass(eq=False)
class _Trial:
    """Networks of all folds with one decay."""

    decay: float
    runs: list[_Run]

    @classmethod
    def of(cls, decay: float, parts: Sequence[_Part]) -> _Trial:
        return cls(decay, [_Run.of(part, decay, s) for part in parts for s in part.starts])

    @property
    def steps(self) -> int:
        """Steps that the longest run has taken."""
        return max(run.step for run in self.runs)

    @property
    def waited(self) -> int:
        """Steps since the lowest NLL."""
        return self.steps - _STRIDE * int(np.argmin(self.path()))

    def go_on(self, steps: int) -> None:
        """Take more steps with every network."""
        _go_on(self.runs, steps)

    def path(self) -> Array:
        """NLL per row by look (look,): of each fold's mixture; a run that ended stays there."""
        longest = max(len(run.looks) for run in self.runs)
        total, count = np.zeros(longest), 0
        for part in {id(run.part): run.part for run in self.runs}.values():
            own = [run for run in self.runs if run.part is part]
            looks = np.stack(
                [run.looks + [run.looks[-1]] * (longest - len(run.looks)) for run in own]
            )
            mixed = np.logaddexp.reduce(looks, axis=0) - np.log(len(own))
            total, count = total - mixed.sum(axis=1), count + len(part.held_out)
        return total / count
