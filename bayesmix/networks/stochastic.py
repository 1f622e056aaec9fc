"""Stochastic training of many networks at once in PyTorch: restarts, or members of an ensemble.

All parameters of all networks are one tensor (member, parameter), so that a step is one batched
computation whatever their number, and Adam's own arithmetic a handful of operations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from bayesmix import rng as random
from bayesmix.errors import NotConverged, SpecError
from bayesmix.networks.task import Task
from bayesmix.optimizers import Adam
from bayesmix.protocols import Array

_WARM, _DECAY, _TINY = 0.9, 0.999, 1e-8
_WORTH_THREADS = 50_000
"""Numbers in the hidden layer of a batch from which on threads are worth their cost."""


@dataclass
class State:
    """Everything that training goes on from, as arrays; runs go along the first axis.

    ``groups`` says which member a run is of, as every member is begun several times. ``best`` are
    the parameters of each run's best epoch and ``best_nll`` what they reached; ``train`` and
    ``held_out`` (epoch, run) the NLL per row by epoch.
    """

    epoch: int
    step: int
    groups: Array
    point: Array
    first: Array
    second: Array
    best: Array
    best_nll: Array
    best_epoch: Array
    train: Array
    held_out: Array

    @classmethod
    def at(cls, starts: Array, groups: Array) -> State:
        """Before the first step."""
        none, zeros = np.empty((0, len(starts))), np.zeros_like(starts)
        best, when = np.full(len(starts), np.inf), np.zeros(len(starts), int)
        return cls(0, 0, groups, starts, zeros, zeros, starts, best, when, none, none)

    def best_of_each(self) -> State:
        """The best run of each member."""
        order = np.argsort(np.nan_to_num(self.best_nll, nan=np.inf), kind="stable")
        _, first = np.unique(self.groups[order], return_index=True)
        return self.kept(order[first])

    def kept(self, chosen: Array) -> State:
        """Some of the runs."""
        by_member = ("groups", "point", "first", "second", "best", "best_nll", "best_epoch")
        found = {name: getattr(self, name)[chosen] for name in by_member}
        return replace(
            self, **found, train=self.train[:, chosen], held_out=self.held_out[:, chosen]
        )


def device_of(name: str) -> torch.device:
    """The device of that name; ``"auto"`` takes a GPU where there is one.

    Raises
    ------
    SpecError
        The machine has no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(name)
        torch.empty(1, device=found)
    except (RuntimeError, AssertionError) as error:
        raise SpecError(
            f"device={name!r} cannot be used here: {str(error).splitlines()[0]}; use device='auto' "
            "or 'cpu'"
        ) from error
    return found


class Training:
    """Rows on a device, split once, and steps of Adam over them.

    Parameters
    ----------
    task
        Network and data in standard units.
    rows
        Training rows of each member (member, row), or of all members (row,).
    held_out
        Rows to stop by; may be empty.
    """

    def __init__(
        self, task: Task, settings: Adam, rows: Array, held_out: Array, device: torch.device,
        seed: int,
    ) -> None:  # fmt: skip
        self.task, self.settings, self.rows, self.seed = task, settings, rows, seed
        self.device = device
        self.dtype = torch.float64 if settings.double else torch.float32
        self.log_density = task.in_torch(self._tensor)
        self.held_out = torch.as_tensor(held_out, device=device)
        self.size = min(settings.batch_size or rows.shape[-1], rows.shape[-1])
        self.decays = self._tensor(task.decays)

    def _tensor(self, values: Array) -> Tensor:
        return torch.as_tensor(np.asarray(values), dtype=self.dtype, device=self.device)

    @property
    def steps_an_epoch(self) -> int:
        """Whole batches; rows left over come first in no epoch twice, as each is shuffled."""
        return max(1, self.rows.shape[-1] // self.size)

    def nll(self, points: Tensor, rows: Tensor) -> Tensor:
        """Mean negative log-likelihood by member on rows (row,) or (member, row)."""
        return -self.log_density(points, rows).mean(dim=-1)

    def epoch(self, state: State) -> State:
        """One pass over the rows, and the NLL on the rows held out."""
        order = random.stream(self.seed, f"epoch {state.epoch}").permutation(self.rows.shape[-1])
        rows = self.rows[state.groups] if self.rows.ndim == 2 else self.rows
        shuffled = torch.as_tensor(rows[..., order], device=self.device)
        point, first, second = (
            self._tensor(values).clone() for values in (state.point, state.first, state.second)
        )
        total = torch.zeros(len(point), dtype=self.dtype, device=self.device)
        step = state.step
        for batch in range(self.steps_an_epoch):
            some = shuffled[..., batch * self.size : (batch + 1) * self.size]
            step += 1
            loss = self._step(point, first, second, some, step)
            total += loss
        train = (total / self.steps_an_epoch).cpu().numpy().astype(float)
        held = self.validate(point) if len(self.held_out) else train
        better = held < state.best_nll
        now = self._array(point)
        return State(
            state.epoch + 1,
            step,
            state.groups,
            now,
            self._array(first),
            self._array(second),
            np.where(better[:, None], now, state.best),
            np.where(better, held, state.best_nll),
            np.where(better, state.epoch + 1, state.best_epoch),
            np.vstack([state.train, train]),
            np.vstack([state.held_out, held]),
        )

    def _array(self, values: Tensor) -> Array:
        return values.detach().cpu().numpy()

    def _step(
        self, point: Tensor, first: Tensor, second: Tensor, rows: Tensor, step: int
    ) -> Tensor:
        """One step of AdamW, in place; returns the loss by member before it."""
        settings = self.settings
        leaf = point.detach().requires_grad_(True)
        loss = self.nll(leaf, rows)
        (slope,) = torch.autograd.grad(loss.sum(), leaf)
        if settings.clip is not None:
            norm = slope.norm(dim=1, keepdim=True)
            slope = slope * (settings.clip / norm.clamp_min(settings.clip))
        rate = self._rate(step)
        with torch.no_grad():
            first.mul_(_WARM).add_(slope, alpha=1 - _WARM)
            second.mul_(_DECAY).addcmul_(slope, slope, value=1 - _DECAY)
            wide = (second / (1 - _DECAY**step)).sqrt_().add_(_TINY)
            if settings.weight_decay:
                point.sub_(rate * settings.weight_decay * self.decays * point)
            point.addcdiv_(first, wide, value=-rate / (1 - _WARM**step))
        return loss.detach()

    def _rate(self, step: int) -> float:
        if self.settings.schedule == "constant":
            return self.settings.learning_rate
        share = step / (self.settings.epochs * self.steps_an_epoch)
        return self.settings.learning_rate * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))

    def validate(self, points: Tensor, chunk: int = 65_536) -> Array:
        """NLL per row on the rows held out, in pieces."""
        total = torch.zeros(len(points), dtype=self.dtype, device=self.device)
        with torch.no_grad():
            for some in self.held_out.split(chunk):
                total += self.nll(points, some) * len(some)
        return (total / len(self.held_out)).cpu().numpy().astype(float)


@contextmanager
def _threads(training: Training, runs: int) -> Generator[None]:
    """One thread where batches are small: threads would spend the time waiting for one another."""
    before = torch.get_num_threads()
    if training.size * training.task.width * runs < _WORTH_THREADS:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def train(training: Training, state: State, report: Callable[[State], None]) -> State:
    """Epochs until the last, or until no run has patience left.

    After a tenth of them only the best run of each member goes on. ``report`` is called after
    every epoch, for progress and checkpoints.

    Raises
    ------
    NotConverged
        The loss of every run of some member is NaN or infinite.
    """
    with _threads(training, len(state.point)):
        return _epochs(training, state, report)


def _epochs(training: Training, state: State, report: Callable[[State], None]) -> State:
    settings = training.settings
    prune = max(1, settings.epochs // 10)
    while state.epoch < settings.epochs and not _out_of_patience(training, state):
        state = training.epoch(state)
        _check(training, state)
        if state.epoch >= prune and len(np.unique(state.groups)) < len(state.groups):
            state = state.best_of_each()
        report(state)
    return state


def _out_of_patience(training: Training, state: State) -> bool:
    """Asked before an epoch, so that a run that goes on from its end stays there."""
    waited = state.epoch - state.best_epoch
    return bool(len(training.held_out) and (waited >= training.settings.patience).all())


def _check(training: Training, state: State) -> None:
    finite = np.isfinite(state.train[-1]) & np.isfinite(state.point).all(axis=1)
    if set(state.groups[finite]) == set(state.groups):
        return
    member = int(np.argmin(finite))
    named = training.task.split(state.point[member])
    wrong = [name for name, values in named.items() if not np.isfinite(values).all()]
    best = int(np.argmin(state.best_nll))
    error = NotConverged(
        f"the loss became {state.train[-1][member]} in epoch {state.epoch}, by step {state.step}"
        f"{', in ' + wrong[0] if wrong else ''}: lower learning_rate "
        f"({training.settings.learning_rate:g}) or set clip. The best state, of epoch "
        f"{state.best_epoch[best]}, is in the error's attribute best, by name of the parameter"
    )
    error.best = training.task.raw(state.best[best].astype(float))
    raise error
