"""Networks trained by maximum likelihood: L-BFGS, Adam, restarts, checkpoints, what is reported."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_fits import branches
from threadpoolctl import threadpool_limits

import bayesmix as bm
from bayesmix.errors import DataError, FitFileError, NotConverged, SpecError
from bayesmix.models.mdn import in_torch
from bayesmix.networks import full_batch
from bayesmix.networks import stochastic as nets
from bayesmix.networks.recipe import Recipe
from bayesmix.rng import stream

SMALL = bm.MDN("x", "y", 2, hidden=(4,), floor=0.01)
TWO = ("x", "y")


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Small sums are not worth a second thread, least of all on a machine that is busy."""
    with threadpool_limits(1):
        yield


def trained(model=SMALL, data=None, *, optimizer="auto", seed=1, **options):
    """A network trained on sixty rows of two branches, unless other data are given."""
    table = branches() if data is None else data
    method = bm.MLE(optimizer=optimizer, **options)
    return bm.fit(model, table, method=method, seed=seed, progress=False)


def nll(fit):
    """Mean negative log density of the training rows."""
    return -float(fit.log_density().mean())


def parameters(fit):
    """All parameters as one vector."""
    return np.concatenate([v.to_numpy().ravel() for v in fit.tree["estimate"].data_vars.values()])


def weights_squared(fit):
    """Sum of squares of all weights, biases left out."""
    estimate = fit.tree["estimate"].data_vars
    return sum(float((v**2).sum()) for k, v in estimate.items() if k.endswith("weight"))


def held_out_rows(n, share, seed):
    """The rows that a fit holds out, from the stream that it draws them from."""
    return stream(seed, "validation").permutation(n)[: round(share * n)]


# --- the one-to-many problem ----------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_lbfgs_solves_one_to_many(seed):
    """By default the mean NLL falls below -2.03, the book's network's."""
    assert nll(trained(bm.MDN(), bm.datasets.one_to_many(), seed=seed)) < -2.03


def test_adam_solves_one_to_many():
    """Adam's defaults take the mean NLL below -1.9."""
    fit = trained(bm.MDN(), bm.datasets.one_to_many(), optimizer=bm.Adam())
    assert nll(fit) < -1.9


@pytest.mark.parametrize("optimizer", [bm.LBFGS(), bm.Adam()], ids=["LBFGS", "Adam"])
def test_a_linear_network_does_not_solve_it(optimizer):
    """Without hidden units the same data stay above -1.8, so the bounds above mean something."""
    model = bm.MDN(hidden=())
    assert nll(trained(model, bm.datasets.one_to_many(), optimizer=optimizer)) > -1.8


# --- what is reported -----------------------------------------------------------------------------


@pytest.mark.parametrize("noise", ["diagonal", "full", "isotropic", "isotropic-shared", "fixed"])
def test_the_reported_nll_is_that_of_the_fit(noise):
    """Training on standard units reports the NLL on data as they are, to rounding."""
    rows = branches()
    data = rows.assign(x=30 + 7 * rows["x"], y=0.01 * rows["y"], z=500 + 80 * rows["x"] ** 2)
    fixed = 3.0 if noise == "fixed" else None
    model = bm.MDN("x", ("y", "z"), 2, (3,), noise=noise, floor=0.002, fixed_scale=fixed)
    fit = trained(model, data, optimizer=bm.LBFGS(max_iter=30))
    stats = fit.tree["fit_stats"]
    assert float(stats["train_nll"]) == pytest.approx(nll(fit), rel=1e-9)
    assert float(stats["nll"][-1]) == pytest.approx(nll(fit), rel=1e-9)
    assert float(stats["start_nll"].min()) == float(stats["train_nll"])
    assert (np.diff(stats["nll"]) <= 1e-12).all()
    held = held_out_rows(60, 0.1, 1)
    fit = trained(model, data, optimizer=bm.Adam(epochs=3, double=True))
    found = float(fit.tree["fit_stats"]["validation_nll"])
    assert found == pytest.approx(-float(fit.log_density()[held].mean()), rel=1e-9)
    assert found == float(fit.tree["fit_stats"]["held_out_nll"].min())


def test_single_precision_agrees_with_double():
    """A few steps of Adam in single precision end where double precision does, to four digits."""
    settings = bm.Adam(epochs=5, batch_size=20)
    single = parameters(trained(optimizer=settings))
    double = parameters(trained(optimizer=replace(settings, double=True)))
    np.testing.assert_allclose(single, double, rtol=1e-3, atol=1e-4)
    assert not np.array_equal(single, double)


@pytest.mark.parametrize("optimizer", [bm.LBFGS(max_iter=20), bm.Adam(epochs=5)])
def test_the_same_seed_gives_the_same_parameters(optimizer):
    """Repeating a fit repeats every bit; another seed gives another network."""
    first, again = (parameters(trained(optimizer=optimizer, seed=4)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(parameters(trained(optimizer=optimizer, seed=5)) - first).max() > 0.1


def test_auto_takes_adam_where_quasi_newton_steps_would_not_do():
    """Many rows, a GPU or a checkpoint need steps on batches."""
    assert isinstance(Recipe("auto", 3, "auto", None).chosen(50_000), bm.EarlyStopping)
    assert isinstance(Recipe("auto", 3, "cpu", None).chosen(50_000), bm.EarlyStopping)
    many = Recipe("auto", 3, "auto", None).chosen(50_001)
    assert isinstance(many, bm.Adam) and many.batch_size == 4096
    assert isinstance(Recipe("auto", 3, "cuda", None).chosen(100), bm.Adam)
    assert isinstance(Recipe("auto", 3, "auto", "file").chosen(100), bm.Adam)


def test_columns_that_do_not_vary():
    """A constant input is refused, and so is a constant target."""
    data = branches().assign(one=1.0)
    with pytest.raises(DataError, match="nothing can depend on it"):
        trained(bm.MDN(("x", "one"), "y", 2, (3,)), data)
    with pytest.raises(DataError, match="has the same value in every row"):
        trained(bm.MDN("x", ("y", "one"), 2, (3,)), data)


# --- one step of Adam, against PyTorch's own ------------------------------------------------------


def task_of(model=SMALL, data=None):
    """A network with sixty rows in standard units."""
    return model.trainable(branches() if data is None else data)


def starts_of(task, count=1):
    """Random parameters, a row each."""
    return np.stack([task.start(stream(3, f"start {i}")) for i in range(count)])


def run(task, settings, starts, *, held=(), groups=None, report=lambda state: None):
    """Train on all rows but those held out, and return the last state."""
    held = np.asarray(held, dtype=int)
    rows = np.setdiff1d(np.arange(len(task.x)), held)
    training = nets.Training(task, settings, rows, held, torch.device("cpu"), 9)
    groups = np.zeros(len(starts), int) if groups is None else groups
    return nets.train(training, nets.State.at(starts, groups), report)


PLAIN = bm.Adam(
    learning_rate=0.05, batch_size=None, epochs=12, clip=None, validation=0, double=True
)


@pytest.mark.parametrize(
    "settings",
    [
        replace(PLAIN, schedule="constant"),
        PLAIN,
        replace(PLAIN, weight_decay=0.5),
        replace(PLAIN, clip=0.05, schedule="constant"),
    ],
    ids=["constant", "cosine", "weight decay", "clip"],
)
def test_steps_are_those_of_torchs_adamw(settings):
    """Twelve full-batch steps end where `torch.optim.AdamW` does, biases being free of decay."""
    task = task_of()
    start = starts_of(task)
    found = run(task, settings, start).point[0]
    network = replace(task.network, floor=float(task.floors[0]))
    weights = {
        key: torch.nn.Parameter(torch.as_tensor(value.copy()))
        for key, value in task.split(start[0]).items()
    }
    decayed = [value for key, value in weights.items() if key.endswith("weight")]
    free = [value for key, value in weights.items() if key.endswith("bias")]
    optimizer = torch.optim.AdamW(
        [
            {"params": decayed, "weight_decay": settings.weight_decay},
            {"params": free, "weight_decay": 0.0},
        ],
        lr=settings.learning_rate,
    )
    x, y = torch.as_tensor(task.x), torch.as_tensor(task.y)
    for step in range(1, settings.epochs + 1):
        share = 0.0 if settings.schedule == "constant" else step / settings.epochs
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * 0.5 * (1 + np.cos(np.pi * share))
        optimizer.zero_grad()
        (-in_torch.log_density(network, weights, x, y).mean()).backward()
        if settings.clip is not None:
            norm = float(torch.cat([v.grad.ravel() for v in weights.values()]).norm())
            for value in weights.values():
                value.grad *= min(1.0, settings.clip / norm)
        optimizer.step()
    expected = np.concatenate([value.detach().numpy().ravel() for value in weights.values()])
    # cosine ends at a rate of zero, so that all steps but the last count
    assert np.abs(expected - start[0]).max() > 0.05
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-11)


def test_clipping_is_by_member():
    """A member's gradient is clipped by its own norm, not by that of all members together."""
    task, settings = task_of(), replace(PLAIN, clip=0.05)
    starts = starts_of(task, 2)
    starts[1] *= 4
    both = run(task, settings, starts, groups=np.arange(2)).point
    for i in range(2):
        alone = run(task, settings, starts[i : i + 1]).point[0]
        np.testing.assert_allclose(both[i], alone, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("network", [SMALL, replace(SMALL, hidden=())], ids=["hidden", "linear"])
def test_members_side_by_side_are_members_alone(network):
    """Batches and all, three networks trained at once end where each ends by itself."""
    task = task_of(network)
    settings = bm.Adam(epochs=4, batch_size=16, validation=0, double=True)
    starts = starts_of(task, 3)
    together = run(task, settings, starts, groups=np.arange(3))
    for i in range(3):
        alone = run(task, settings, starts[i : i + 1])
        np.testing.assert_allclose(together.point[i], alone.point[0], rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(together.train[:, i], alone.train[:, 0], rtol=1e-10)


# --- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "decay", [bm.LBFGS(60, 0.05), bm.Adam(epochs=60, validation=0, weight_decay=5.0)]
)
def test_weight_decay_shrinks_weights(decay):
    """With decay the weights are less than half as large, and the likelihood is lower."""
    free = replace(decay, weight_decay=0.0)
    without, shrunk = trained(optimizer=free), trained(optimizer=decay)
    assert weights_squared(shrunk) < 0.5 * weights_squared(without)
    assert nll(shrunk) > nll(without)


def test_lbfgs_decay_is_the_penalty_it_says():
    """The decayed solution is best by NLL + decay / 2 times squared weights, on standard units."""
    task, decay = task_of(), 0.05
    starts = [list(starts_of(task))]

    def penalised(point):
        squares = sum((v**2).sum() for k, v in task.split(point).items() if k.endswith("weight"))
        likelihood, _ = task.likelihood().log_density(point)
        return -likelihood / 60 + 0.5 * decay * squares

    ends = []
    for each in (0.0, decay):
        density = task.likelihood(slice(None), 60 * each)
        ((found,),) = full_batch.train(
            [density], [60], starts, 400, lambda share: None, 60 * each * task.decays
        )
        likelihood, _ = task.likelihood().log_density(found.point)
        assert found.nll == pytest.approx(-likelihood / 60, rel=1e-10)
        ends.append(found)
    assert ends[1].objective == pytest.approx(penalised(ends[1].point), rel=1e-10)
    assert penalised(ends[1].point) < penalised(ends[0].point) - 0.1


def test_lbfgs_reports_the_likelihood_without_the_penalty():
    """`nll` and `train_nll` are negative log-likelihoods, whatever decay was added in training."""
    fit = trained(optimizer=bm.LBFGS(60, 0.05))
    stats = fit.tree["fit_stats"]
    assert float(stats["train_nll"]) == pytest.approx(nll(fit), rel=1e-9)
    assert float(stats["nll"][-1]) == pytest.approx(nll(fit), rel=1e-9)
    # the first step is where training without decay began, so that traces can be laid side by side
    free = trained(optimizer=bm.LBFGS(60), restarts=1).tree["fit_stats"]["nll"]
    decayed = trained(optimizer=bm.LBFGS(60, 0.05), restarts=1).tree["fit_stats"]["nll"]
    assert float(decayed[0]) == pytest.approx(float(free[0]), rel=1e-12)


def test_a_batch_larger_than_the_data_is_all_rows():
    """Any batch from the number of rows on gives the same steps as none."""
    few = [trained(optimizer=bm.Adam(epochs=3, batch_size=size)) for size in (None, 54, 10_000)]
    for other in few[1:]:
        np.testing.assert_array_equal(parameters(few[0]), parameters(other))
    smaller = parameters(trained(optimizer=bm.Adam(epochs=3, batch_size=27)))
    assert not np.array_equal(parameters(few[0]), smaller)


def test_an_epoch_looks_at_every_row_once():
    """Batches of one epoch are disjoint, cover whole batches, and the next epoch's differ."""
    task = task_of()
    settings = bm.Adam(epochs=2, batch_size=16, validation=0)
    training = nets.Training(task, settings, np.arange(60), np.arange(0), torch.device("cpu"), 9)
    seen, step = [], training._step
    training._step = lambda *parts: (seen.append(parts[3].numpy().copy()), step(*parts))[1]
    nets.train(training, nets.State.at(starts_of(task), np.zeros(1, int)), lambda state: None)
    assert [len(rows) for rows in seen] == [16] * 6
    first, second = np.concatenate(seen[:3]), np.concatenate(seen[3:])
    assert len(set(first)) == len(set(second)) == 48
    assert not np.array_equal(first, second)


def test_patience_stops_early_and_keeps_the_best_epoch():
    """Training ends so many epochs after the best, and the fit is that epoch's network."""
    settings = bm.Adam(0.05, 16, 400, "constant", validation=0.3, patience=7, double=True)
    fit = trained(bm.MDN("x", "y", 3, (20,)), optimizer=settings, restarts=1)
    held_out = fit.tree["fit_stats"]["held_out_nll"].to_numpy()
    assert len(held_out) < 400
    assert len(held_out) - 1 - int(held_out.argmin()) == 7
    # the last epoch is worse than the best, so keeping the last would show
    assert held_out[-1] > held_out.min() + 0.01
    held = held_out_rows(60, 0.3, 1)
    assert -float(fit.log_density()[held].mean()) == pytest.approx(held_out.min(), rel=1e-9)


def test_patience_is_nothing_without_rows_held_out():
    """With validation=0 all rows train, through every epoch, and no held-out NLL is reported."""
    fit = trained(optimizer=bm.Adam(epochs=12, validation=0, patience=1))
    stats = fit.tree["fit_stats"]
    assert stats["nll"].size == 12
    assert "held_out_nll" not in stats and "validation_nll" not in stats


def test_rows_held_out_are_not_trained_on():
    """Other targets in rows held out change their NLL and no bit of the trained parameters."""
    task = task_of()
    held = np.arange(0, 60, 5)
    moved = task.y.copy()
    moved[held] = moved[held[::-1]] + 1.0
    settings = bm.Adam(epochs=10, batch_size=16, patience=10)
    starts = starts_of(task).astype(np.float32)
    one, other = (run(t, settings, starts, held=held) for t in (task, replace(task, y=moved)))
    np.testing.assert_array_equal(one.point, other.point)
    np.testing.assert_array_equal(one.train, other.train)
    assert np.abs(one.held_out - other.held_out).min() > 0.01
    # power: one row that is trained on changes them
    moved = task.y.copy()
    moved[1] += 1.0
    changed = run(replace(task, y=moved), settings, starts, held=held)
    assert np.abs(changed.point - one.point).max() > 1e-4


def test_rows_held_out_enter_nothing_that_is_trained():
    """Neither standard units nor starts are made from them: other values leave the fit's bits."""
    table, settings = branches(), bm.Adam(epochs=5)
    held = held_out_rows(len(table), settings.validation, 1)
    moved = table.copy()
    moved.loc[moved.index[held], ["x", "y"]] *= 3.0
    one, other = (trained(data=rows, optimizer=settings).tree for rows in (table, moved))
    np.testing.assert_array_equal(one["fit_stats"]["nll"], other["fit_stats"]["nll"])
    assert not np.array_equal(one["fit_stats"]["held_out_nll"], other["fit_stats"]["held_out_nll"])
    # power: a row that is trained on changes them
    moved = table.copy()
    moved.loc[moved.index[np.setdiff1d(np.arange(len(table)), held)[0]], "y"] += 1.0
    changed = trained(data=moved, optimizer=settings).tree["fit_stats"]["nll"]
    assert not np.array_equal(one["fit_stats"]["nll"], changed)


# --- restarts -------------------------------------------------------------------------------------


def test_lbfgs_goes_on_from_the_best_short_run():
    """Of five short runs, a tenth of the steps each, the best is the one trained in full."""
    task = task_of()
    starts = list(starts_of(task, 5))
    density = task.likelihood()

    def climbed(these, steps):
        return full_batch.train([density], [60], [these], steps, lambda share: None)[0]

    alone = [climbed([start], 10)[0] for start in starts]
    best = min(alone, key=lambda one: one.nll)
    found = climbed(starts, 100)
    assert len(found) == 5
    np.testing.assert_array_equal(found[0].trace[: len(best.trace)], best.trace)
    assert found[0].nll < best.nll
    others = sorted(one.nll for one in alone)[1:]
    assert [one.nll for one in found[1:]] == others
    assert others[-1] > best.nll + 0.01


def test_adam_goes_on_with_the_best_run():
    """After a tenth of the epochs only the run with the best NLL on rows held out is left."""
    task, held = task_of(), np.arange(0, 60, 5)
    settings = bm.Adam(epochs=20, batch_size=16, double=True)
    starts = starts_of(task, 4)
    widths = []
    found = run(task, settings, starts, held=held, report=lambda s: widths.append(len(s.point)))
    alone = [run(task, settings, starts[i : i + 1], held=held) for i in range(4)]
    best = int(np.argmin([one.held_out[:2].min() for one in alone]))
    assert widths == [4] + [1] * 19
    np.testing.assert_allclose(found.held_out, alone[best].held_out, rtol=1e-8)
    np.testing.assert_allclose(found.best, alone[best].best, rtol=1e-7, atol=1e-9)
    assert max(one.held_out[:2].min() for one in alone) > found.held_out[:2].min() + 0.01


def test_more_restarts_do_no_worse():
    """The runs of one start are among those of four, so the best short run can only improve."""
    settings = bm.LBFGS(max_iter=10)
    one, four = (trained(optimizer=settings, restarts=count) for count in (1, 4))
    short = four.tree["fit_stats"]["start_nll"]
    assert short.sizes["restart"] == 4 and "start_nll" not in one.tree["fit_stats"]
    assert float(short[0]) == float(short.min())


# --- what goes wrong ------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [1e6, 8.0])
def test_an_exploding_rate_is_reported_with_the_best_state(rate):
    """The error names epoch and step, and carries finite parameters that score the data."""
    settings = bm.Adam(rate, 8, 60, "constant", clip=None, validation=0.2, patience=60)
    data = branches().assign(y=lambda rows: 1000 + 100 * rows["y"])
    with pytest.raises(
        NotConverged, match=r"in epoch \d+, by step \d+.*lower learning_rate .* or set clip"
    ) as caught:
        trained(data=data, optimizer=settings, restarts=1)
    design = SMALL.design(data)
    best = caught.value.best
    assert set(best) == set(SMALL.dims(design))
    one = {key: value[None] for key, value in SMALL.named(best, design).items()}
    # a network for these data as they are, if no good one; on standard units it is a million off
    assert -SMALL.log_density(one, design).mean() < 200


def test_a_start_without_a_finite_likelihood():
    """Where no start has a finite likelihood L-BFGS says so instead of returning the start."""
    task = task_of()
    starts = [[np.full(task.n_free, 1e200)]]
    with pytest.raises(NotConverged, match="is not finite at any start"):
        full_batch.train([task.likelihood()], [60], starts, 10, lambda share: None)


@pytest.mark.parametrize("device", ["cuda:99", "abacus"])
def test_a_device_that_is_not_there(device):
    """The name of the device and what to use instead are in the message."""
    with pytest.raises(SpecError, match=f"device='{device}' cannot be used here: .*use device="):
        trained(optimizer=bm.Adam(epochs=1), device=device)


# --- checkpoints ----------------------------------------------------------------------------------

SLOW_STEPS = bm.Adam(0.02, 8, 12, validation=0.2, patience=10)
CHILD = """
import sys
from threadpoolctl import threadpool_limits
sys.path[:0] = [{tests!r}, {tests!r} + "/support"]
from networks.test_training import resumable
with threadpool_limits(1):
    resumable({path!r})
"""


def resumable(path):
    """A fit of twelve epochs of a hundred steps each."""
    return trained(
        bm.MDN(), bm.datasets.one_to_many(), optimizer=SLOW_STEPS, restarts=2, checkpoint=path
    )


def epoch_of(path):
    """Epochs that a checkpoint has behind it; 0 without one."""
    if not path.exists():
        return 0
    with np.load(path) as held:
        return int(held["epoch"])


def test_a_killed_run_goes_on_to_the_same_end(tmp_path):
    """Killed with SIGKILL in the middle and called again, a fit ends as one never killed."""
    path = tmp_path / "training.npz"
    folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    script = CHILD.format(tests=folder, path=str(path))
    child = subprocess.Popen([sys.executable, "-c", script], cwd=os.path.dirname(folder))
    try:
        while epoch_of(path) < 2:
            assert child.poll() is None, "the run ended before it could be killed"
            time.sleep(0.005)
    finally:
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
    assert 2 <= epoch_of(path) < 12
    resumed, whole = resumable(str(path)), resumable(None)
    np.testing.assert_array_equal(parameters(resumed), parameters(whole))
    for name in ("nll", "held_out_nll", "validation_nll"):
        np.testing.assert_array_equal(
            resumed.tree["fit_stats"][name], whole.tree["fit_stats"][name]
        )


FEW = bm.Adam(epochs=4, batch_size=20)


def test_a_finished_run_is_not_trained_further(tmp_path):
    """The same call after the end, be it by epochs or by patience, gives the same fit."""
    impatient = bm.Adam(0.05, 16, 200, "constant", validation=0.3, patience=2)
    for name, settings in (("by epochs", FEW), ("by patience", impatient)):
        path = str(tmp_path / name)
        first, again = (trained(optimizer=settings, checkpoint=path) for _ in range(2))
        np.testing.assert_array_equal(parameters(first), parameters(again))
        np.testing.assert_array_equal(
            first.tree["fit_stats"]["nll"], again.tree["fit_stats"]["nll"]
        )
        assert epoch_of(tmp_path / name) == first.tree["fit_stats"]["nll"].size


def test_a_checkpoint_changes_nothing(tmp_path):
    """A fit with a checkpoint is the fit without one, and leaves one file."""
    path = tmp_path / "training.npz"
    with_file = trained(optimizer=FEW, checkpoint=str(path))
    np.testing.assert_array_equal(parameters(with_file), parameters(trained(optimizer=FEW)))
    assert [file.name for file in tmp_path.iterdir()] == ["training.npz"]
    assert epoch_of(path) == 4


@pytest.mark.parametrize("other", ["model", "data", "seed", "optimizer", "restarts"])
def test_a_checkpoint_of_another_fit_is_refused(tmp_path, other):
    """A file of another model, data, seed or setting is neither used nor overwritten."""
    path = tmp_path / "training.npz"
    given = {"model": SMALL, "data": branches(), "seed": 1, "optimizer": FEW, "restarts": 2}
    trained(**given, checkpoint=str(path))
    before = path.read_bytes()
    changed = {
        "model": replace(SMALL, activation="relu"),
        "data": branches().assign(y=lambda rows: rows["y"] + 1e-9),
        "seed": 2,
        "optimizer": replace(FEW, learning_rate=0.02),
        "restarts": 1,
    }
    given[other] = changed[other]
    with pytest.raises(FitFileError, match=r"belongs to another fit.*give another path, or delete"):
        trained(**given, checkpoint=str(path))
    assert path.read_bytes() == before


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.99])
def test_a_truncated_checkpoint_is_refused(tmp_path, keep):
    """A file that was cut short, by a byte or by all, is named and left as it is."""
    path = tmp_path / "training.npz"
    trained(optimizer=FEW, checkpoint=str(path))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole)) if keep < 1 else keep])
    with pytest.raises(FitFileError, match=r"training.npz' is no checkpoint of a training run"):
        trained(optimizer=FEW, checkpoint=str(path))
    assert len(path.read_bytes()) < len(whole)


def test_a_checkpoint_that_cannot_be_written(tmp_path):
    """A folder that is not there is named, and nothing lies around."""
    path = str(tmp_path / "nowhere" / "training.npz")
    with pytest.raises(FitFileError, match=r"the checkpoint '.*nowhere.*' cannot be written"):
        trained(optimizer=FEW, checkpoint=path)
    assert list(tmp_path.iterdir()) == []
