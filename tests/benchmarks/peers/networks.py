"""One to many, mixture density networks: ``networks.py ROLE SEED DRAWS OUT``, one function a role.

20 units of tanh, 3 components, floor 0.01; ``seconds`` leaves imports out. The Bayesian ones have
N(0, 5) on every weight and bias.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from contract import stop_clock
from experts import FLOOR, WIDE, data

UNITS, PARTS = 20, 3
LARGE, BATCH, STEPS = 1_000_000, 4096, 200


def fit(method: Any, seed: int) -> tuple[Any, float]:
    """A fit by bayesmix and its seconds; the code is compiled and loaded before."""
    import bayesmix as bm

    book = {"priors": bm.Normal(0, WIDE), "floor": FLOOR}
    table, model = bm.datasets.one_to_many(), bm.MDN("x", "target", PARTS, (UNITS,), **book)
    bm.fit(model, table.iloc[:50], method=bm.MLE(optimizer=bm.LBFGS(max_iter=2)), progress=False)
    start = time.perf_counter()
    found = bm.fit(model, table, method=method, seed=seed, progress=False)
    return found, time.perf_counter() - start


def mle(seed: int, restarts: int = 3) -> dict[str, float]:
    """Ours, defaults."""
    import bayesmix as bm

    found, seconds = fit(bm.MLE(restarts=restarts), seed)
    return {"seconds": seconds, "nll": -float(found.log_density().mean())}


def one_start(seed: int) -> dict[str, float]:
    """Ours, one start."""
    return mle(seed, 1)


def ten_starts(seed: int) -> dict[str, float]:
    """Ours, ten starts."""
    return mle(seed, 10)


def loop_network() -> Any:
    """The network of a published loop."""
    from torch import nn, tanh

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = nn.Linear(1, UNITS)
            self.logit, self.loc, self.scale = (nn.Linear(UNITS, PARTS) for _ in range(3))

        def forward(self, x: Any) -> Any:
            h = tanh(self.hidden(x))
            return self.logit(h).log_softmax(-1), self.loc(h), self.scale(h).exp() + FLOOR

    return Network()


def loop_loss(network: Any, x: Any, y: Any) -> Any:
    """Mean negative log-likelihood."""
    import torch

    log_weight, loc, scale = network(x)
    parts = torch.distributions.Normal(loc, scale).log_prob(y)
    return -torch.logsumexp(log_weight + parts, dim=-1).mean()


def loop(seed: int) -> dict[str, float]:
    """The source's loop: 5,000 full-batch steps of Adam at 1e-3."""
    import torch

    torch.manual_seed(seed)
    x, y = (torch.tensor(v, dtype=torch.float32)[:, None] for v in data())
    network = loop_network()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    start = time.perf_counter()
    for _ in range(5000):
        optimizer.zero_grad()
        loss = loop_loss(network, x, y)
        loss.backward()
        optimizer.step()
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "nll": float(loop_loss(network, x, y).detach())}


def scikit_mdn(seed: int) -> dict[str, float]:
    """The package scikit-mdn, 20 units, 3 components, else its defaults."""
    import torch
    from skmdn import MixtureDensityEstimator, mdn_loss

    torch.manual_seed(seed)
    x, y = (v.reshape(-1, 1) for v in data())
    start = time.perf_counter()
    found = MixtureDensityEstimator(hidden_dim=UNITS, n_gaussians=PARTS).fit(x, y)
    seconds = time.perf_counter() - start
    tensors = [torch.tensor(v, dtype=torch.float32) for v in (x, y)]
    return {"seconds": seconds, "nll": float(mdn_loss(*found.model_(tensors[0]), tensors[1]))}


def variational(method: str, seed: int) -> dict[str, float]:
    """Ours: the ELBO from 10,000 fresh draws, and the time."""
    found, seconds = fit(method, seed)
    return {"seconds": seconds, "elbo": float(found.tree["fit_stats"]["elbo_final"])}


def advi(seed: int) -> dict[str, float]:
    """Ours, defaults."""
    return variational("advi", seed)


def pymc_model() -> Any:
    """The network as a reader of the book writes it in PyMC."""
    import pymc as pm

    x, y = data()
    with pm.Model() as model:
        w = pm.Normal("w", 0, WIDE, shape=(1, UNITS))
        b = pm.Normal("b", 0, WIDE, shape=UNITS)
        h = pm.math.tanh(x[:, None] @ w + b)
        heads = []
        for name in ("logit", "loc", "scale"):
            out = pm.Normal(f"{name}_w", 0, WIDE, shape=(UNITS, PARTS))
            heads.append(h @ out + pm.Normal(f"{name}_b", 0, WIDE, shape=PARTS))
        parts = pm.Normal.dist(heads[1], pm.math.exp(heads[2]) + FLOOR)
        weight = pm.math.softmax(heads[0], axis=1)
        pm.Mixture("y", w=weight, comp_dists=parts, observed=y)
    return model


def pymc_advi(seed: int) -> dict[str, float]:
    """The source's recipe: PyMC's ADVI, 150,000 steps."""
    import pymc as pm

    with pymc_model():
        start = time.perf_counter()
        found = pm.fit(
            150_000, obj_optimizer=pm.adam(learning_rate=0.01), random_seed=seed, progressbar=False
        )
        seconds = time.perf_counter() - start
        elbo = float(np.mean(-found.hist[-10_000:]))
    return {"seconds": seconds, "elbo": elbo}


def ours_throughput(seed: int) -> dict[str, float]:
    """Rows a second in our Adam over a million rows, and what the training adds to memory."""
    import resource

    import torch

    import bayesmix as bm
    from bayesmix.networks.stochastic import State, Training, device_of

    x, y = million(seed)
    model = bm.MDN("x", "y", PARTS, hidden=(UNITS,))
    task = model.trainable(model.design({"x": x, "y": y}))
    settings = bm.Adam(batch_size=BATCH, epochs=1, validation=0)
    rng = np.random.default_rng(seed)
    state = State.at(task.start(rng)[None].astype(np.float32), np.zeros(1, int))
    few = Training(task, settings, np.arange(BATCH * 5), np.empty(0, int), device_of("cpu"), seed)
    few.epoch(state)  # what a first step allocates
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rows = np.arange(BATCH * STEPS)
    training = Training(task, settings, rows, np.empty(0, int), device_of("cpu"), seed)
    start = time.perf_counter()
    training.epoch(state)
    seconds = time.perf_counter() - start
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert torch.get_num_threads() > 0
    return {"seconds": seconds, "rows_a_second": STEPS * BATCH / seconds, "grown_mib": grown}


def loop_throughput(seed: int) -> dict[str, float]:
    """The same steps by a bare loop over the published network, batches shuffled alike."""
    import torch

    x, y = (torch.tensor(v, dtype=torch.float32)[:, None] for v in million(seed))
    network = loop_network()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)

    def steps(count: int) -> None:
        order = torch.randperm(BATCH * count)
        for i in range(count):
            rows = order[i * BATCH : (i + 1) * BATCH]
            optimizer.zero_grad()
            loop_loss(network, x[rows], y[rows]).backward()
            optimizer.step()

    steps(5)
    start = time.perf_counter()
    steps(STEPS)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "rows_a_second": STEPS * BATCH / seconds}


def million(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A million rows of two branches."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, LARGE)
    sign = np.where(rng.random(LARGE) < 0.5, 1.0, -1.0)
    return x, sign * np.sin(3 * x) + rng.normal(0, 0.1, LARGE)


ROLES: dict[str, Callable[[int], dict[str, float]]] = {
    "mle": mle,
    "mle-1": one_start,
    "mle-10": ten_starts,
    "loop": loop,
    "scikit-mdn": scikit_mdn,
    "advi": advi,
    "pymc-advi": pymc_advi,
    "throughput": ours_throughput,
    "loop-throughput": loop_throughput,
}

if __name__ == "__main__":
    stop_clock(**ROLES[sys.argv[1]](int(sys.argv[2])))
