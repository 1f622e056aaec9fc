"""Maximum likelihood for networks: which optimiser, how many starts, what is reported."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from bayesmix import rng as random
from bayesmix import specs
from bayesmix.design import table
from bayesmix.errors import SpecError
from bayesmix.networks import checkpoint, folds, full_batch
from bayesmix.networks.task import Task
from bayesmix.optimizers import LBFGS, Adam, EarlyStopping
from bayesmix.protocols import Array, Design, HasNetwork, Posterior, Report

_MANY = 50_000
"""Rows from which on full-batch steps cost more than they are worth."""


OPTIMIZERS = (EarlyStopping, LBFGS, Adam)


@dataclass(frozen=True)
class Recipe:
    """What a method's fields say about training; ``restarts`` networks are begun, one is kept."""

    optimizer: EarlyStopping | LBFGS | Adam | str
    restarts: int
    device: str
    checkpoint: str | None

    def __post_init__(self) -> None:
        auto = isinstance(self.optimizer, str) and self.optimizer == "auto"
        if not (auto or isinstance(self.optimizer, OPTIMIZERS)):
            raise SpecError(
                "optimizer must be 'auto', LBFGS(...), EarlyStopping(...) or Adam(...), such as "
                f"Adam(batch_size=512), got {self.optimizer!r}"
            )
        if not isinstance(self.device, str):
            raise SpecError(f"device must be 'auto', 'cpu' or 'cuda', got {self.device!r}")
        if self.checkpoint is not None and not isinstance(self.checkpoint, str):
            raise SpecError(f"checkpoint must be a path as text, got {self.checkpoint!r}")

    def chosen(self, n_obs: int) -> EarlyStopping | LBFGS | Adam:
        """The optimiser for that many rows.

        Raises
        ------
        SpecError
            A GPU or a checkpoint is asked for where steps are quasi-Newton.
        """
        if isinstance(self.optimizer, OPTIMIZERS):
            found = self.optimizer
        elif n_obs > _MANY or self.device not in ("auto", "cpu") or self.checkpoint:
            found = Adam(batch_size=4096, epochs=30, patience=5) if n_obs > _MANY else Adam()
        else:
            found = EarlyStopping()
        name = type(found).__name__
        if not isinstance(found, Adam) and self.device not in ("auto", "cpu"):
            raise SpecError(f"{name} runs on the CPU; for device={self.device!r} use Adam(...)")
        if not isinstance(found, Adam) and self.checkpoint:
            raise SpecError(f"{name} takes seconds and keeps no checkpoint; use Adam(...) with one")
        return found


@dataclass(frozen=True, eq=False)
class Runs:
    """Networks that were trained: raw parameters of each, and what became of the objective."""

    params: list[dict[str, Array]]
    stats: dict[str, Array]
    dims: dict[str, tuple[str, ...]]
    is_line: bool = False


def fit_network(
    recipe: Recipe, model: HasNetwork, design: Design, seed: int, progress: Report
) -> Posterior:
    """Train one network from several starts and keep the best."""
    model.require_outcome(design)
    runs = train(recipe, model, design, [None], seed, progress)
    attrs = {"engine": "point", "objective": "nll", "network": 1}
    params = model.named(runs.params[0], design)
    attrs["n_parameters"] = sum(int(np.size(value)) for value in params.values())
    stats = {name: value[..., 0] if runs.dims[name][-1:] == ("member",) else value
             for name, value in runs.stats.items()}  # fmt: skip
    dims = {name: tuple(d for d in dims if d != "member") for name, dims in runs.dims.items()}
    return Posterior(params, stats, dims, sampled=False, attrs=attrs)


def fit_members(
    recipe: Recipe,
    model: HasNetwork,
    design: Design,
    rows: list[Array | None],
    seed: int,
    progress: Report,
) -> Posterior:
    """Train a network for each member, on its own rows, side by side."""
    model.require_outcome(design)
    runs = train(recipe, model, design, rows, seed, progress)
    each = [model.named(params, design) for params in runs.params]
    params = {name: np.stack([one[name] for one in each]) for name in each[0]}
    attrs = {"engine": "point", "objective": "nll", "network": 1}
    return Posterior(params, runs.stats, runs.dims, sampled=False, attrs=attrs, members=True)


def train(
    recipe: Recipe,
    model: HasNetwork,
    design: Design,
    members: list[Array | None],
    seed: int,
    progress: Report,
) -> Runs:
    """Train a network for each member, on its own rows; None stands for all rows.

    Each is begun ``restarts`` times and the best kept; all are trained side by side.
    """
    optimizer = recipe.chosen(design.n_obs)
    if isinstance(optimizer, EarlyStopping):
        return _stopped(recipe, optimizer, model, design, members, seed, progress)
    if isinstance(optimizer, LBFGS):
        runs = _full_batch(recipe, optimizer, model.trainable(design), members, seed, progress)
        return replace(runs, **_audit(runs, optimizer, model, design, seed))
    held, kept = _split(design.n_obs, optimizer.validation, seed)
    task, rows = model.trainable(design, kept), _member_rows(members, kept)
    key = json.dumps([
        specs.to_json(model), table.hash_frame(design.columns), seed, asdict(optimizer),
        len(members), recipe.restarts, hashlib.sha256(rows.tobytes()).hexdigest(),
    ])  # fmt: skip
    return _stochastic(recipe, optimizer, task, (rows, held), len(members), seed, progress, key)


def _starts(task: Task, recipe: Recipe, member: int, seed: int) -> list[Array]:
    """Where the networks of one member begin; those of a single network are member 0's."""
    names = [f"init {member} {i}" for i in range(recipe.restarts)]
    return [task.start(random.stream(seed, name)) for name in names]


def _stopped(
    recipe: Recipe,
    optimizer: EarlyStopping,
    model: HasNetwork,
    design: Design,
    members: list[Array | None],
    seed: int,
    progress: Report,
) -> Runs:
    """All rows, for as many steps and with the decay that are best for rows held out."""
    n = design.n_obs
    choice = folds.choose(
        lambda rows: model.trainable(design, rows), n, optimizer, seed, len(members),
        lambda share: progress("choose decay and steps", share),
    )  # fmt: skip
    task = model.trainable(design)
    runs = _lines(task, members) if choice.is_line else None
    if runs is None:
        steps = LBFGS(max(1, choice.steps), choice.decay / n)
        runs = _full_batch(recipe, steps, task, members, seed, progress)
    progress("train", 1.0)
    stats = {
        "held_out_nll": choice.path, "held_out_step": choice.looks,
        "validation_nll": np.array(choice.line if runs.is_line else choice.nll),
        "line_nll": np.array(choice.line), "decay_nll": choice.by_decay,
        "weight_decay": np.array(choice.decay), "fold": choice.fold.astype(np.int32),
    }  # fmt: skip
    dims = {
        "held_out_nll": ("look",),
        "held_out_step": ("look",),
        "decay_nll": ("decay",),
        "fold": ("row",),
    }
    dims = runs.dims | dims | _scalars(stats)
    return replace(runs, stats=runs.stats | stats, dims=dims)


def _audit(
    runs: Runs, optimizer: LBFGS, model: HasNetwork, design: Design, seed: int
) -> dict[str, Any]:
    """Statistics, with what one network like these reaches on rows that it was not trained on."""
    held, kept = _split(design.n_obs, optimizer.validation, seed)
    if not len(held):
        return {}
    task = model.trainable(design, kept)
    density = task.likelihood(kept, optimizer.weight_decay * len(kept))
    start = task.start(random.stream(seed, "init of audit"))
    point = full_batch.ascend(density, start, optimizer.max_iter)
    nll = -task.likelihood(held).log_density(point)[0] / len(held) + task.log_volume
    stats = {"validation_nll": np.array(nll)} | _held_out(task, kept, held)
    return {"stats": runs.stats | stats, "dims": runs.dims | {"fold": ("row",)} | _scalars(stats)}


def _held_out(task: Task, kept: Array, held: Array) -> dict[str, Array]:
    """What a straight line reaches on rows held out, and which these are: fold 0, the others -1."""
    fold = np.full(task.n_obs, -1, dtype=np.int32)
    fold[held] = 0
    return {"line_nll": np.array(-task.line(kept, held).mean()), "fold": fold}


def _scalars(stats: dict[str, Array]) -> dict[str, tuple[str, ...]]:
    return {name: () for name, value in stats.items() if np.ndim(value) == 0}


def _lines(task: Task, members: list[Array | None]) -> Runs | None:
    """Networks that are the straight lines of their rows; None where these cannot be."""
    points, ends = [], []
    for rows in members:
        own = np.arange(task.n_obs) if rows is None else rows
        point = task.as_line(own)
        if point is None:
            return None
        points.append(point)
        ends.append(-task.likelihood(own).log_density(point)[0] / len(own) + task.log_volume)
    stats = {"nll": np.array([ends]), "train_nll": np.array(ends)}
    dims = {"nll": ("iteration", "member"), "train_nll": ("member",)}
    return Runs([task.raw(point) for point in points], stats, dims, is_line=True)


def _full_batch(
    recipe: Recipe,
    optimizer: LBFGS,
    task: Task,
    members: list[Array | None],
    seed: int,
    progress: Report,
) -> Runs:
    n, decay = task.n_obs, optimizer.weight_decay * task.n_obs
    found = full_batch.train(
        [task.likelihood(slice(None) if rows is None else rows, decay) for rows in members],
        [n if rows is None else len(rows) for rows in members],
        [_starts(task, recipe, m, seed) for m in range(len(members))],
        optimizer.max_iter,
        lambda share: progress("train", share),
        decay * task.decays,
    )
    runs = [own[0] for own in found]
    ends = np.array([run.nll for run in found[0]]) if len(members) == 1 else np.empty(0)
    progress("train", 1.0)
    longest = max(len(run.trace) for run in runs)
    traces = [np.pad(run.trace, (0, longest - len(run.trace)), mode="edge") for run in runs]
    stats = {
        "nll": np.stack(traces, axis=1) + task.log_volume,
        "train_nll": np.array([run.nll for run in runs]) + task.log_volume,
    }
    dims: dict[str, tuple[str, ...]] = {"nll": ("iteration", "member"), "train_nll": ("member",)}
    if ends.size > 1:
        stats["start_nll"], dims["start_nll"] = ends + task.log_volume, ("restart",)
    return Runs([task.raw(run.point) for run in runs], stats, dims)


def _stochastic(
    recipe: Recipe,
    optimizer: Adam,
    task: Task,
    split: tuple[Array, Array],
    n_members: int,
    seed: int,
    progress: Report,
    key: str,
) -> Runs:
    from bayesmix.networks import stochastic as nets

    rows, held = split
    device = nets.device_of(recipe.device)
    training = nets.Training(task, optimizer, rows, held, device, seed)
    state = _state(recipe, key)
    if state is None:
        starts = [_starts(task, recipe, m, seed) for m in range(n_members)]
        kind = np.float64 if optimizer.double else np.float32
        groups = np.repeat(np.arange(n_members), recipe.restarts)
        state = nets.State.at(np.concatenate(starts).astype(kind), groups)

    def report(now: nets.State) -> None:
        loss = float(now.held_out[-1].min()) + task.log_volume
        progress(f"train, NLL {loss:.3f}", now.epoch / optimizer.epochs)
        if recipe.checkpoint:
            checkpoint.write(recipe.checkpoint, _digest(key), vars(now))

    state = nets.train(training, state, report).best_of_each()
    progress("train", 1.0)
    best = state.best_epoch - 1
    at = (best, np.arange(len(best)))
    stats = {"nll": state.train + task.log_volume, "train_nll": state.train[at] + task.log_volume}
    dims: dict[str, tuple[str, ...]] = {"nll": ("iteration", "member"), "train_nll": ("member",)}
    if len(held):
        stats |= {
            "held_out_nll": state.held_out + task.log_volume,
            "validation_nll": state.held_out[at] + task.log_volume,
        }
        dims |= {"held_out_nll": ("iteration", "member"), "validation_nll": ("member",)}
        unseen = _held_out(task, task.rows, held)
        stats |= unseen
        dims |= {"fold": ("row",)} | _scalars(unseen)
    return Runs([task.raw(point.astype(float)) for point in state.best], stats, dims)


def _split(n: int, share: float, seed: int) -> tuple[Array, Array]:
    """Rows held out, and the others."""
    order = random.stream(seed, "validation").permutation(n)
    count = min(round(share * n), n - 2)
    return np.sort(order[:count]), np.sort(order[count:])


def _member_rows(members: list[Array | None], kept: Array) -> Array:
    """Training rows of all members (row,), or where they differ of each (member, row)."""
    if all(rows is None for rows in members):
        return kept
    own = [kept if rows is None else rows[np.isin(rows, kept)] for rows in members]
    least = min(len(rows) for rows in own)
    # of rows too many, those at even ranks are kept: the table may be sorted
    ranks = [np.linspace(0, len(rows) - 1, least).round().astype(int) for rows in own]
    return np.stack([rows[at] for rows, at in zip(own, ranks, strict=True)])


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _state(recipe: Recipe, key: str) -> Any:
    from bayesmix.networks.stochastic import State

    if recipe.checkpoint is None:
        return None
    held: dict[str, Any] | None = checkpoint.read(recipe.checkpoint, _digest(key))
    if held is None:
        return None
    counts: dict[str, Any] = {name: int(held.pop(name)) for name in ("epoch", "step")}
    return State(**counts, **held)
