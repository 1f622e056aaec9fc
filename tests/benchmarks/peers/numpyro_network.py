"""One to many, a Bayesian mixture density network by numpyro's SVI: ``SEED DRAWS OUT``."""

from __future__ import annotations

import time

import numpyro

numpyro.enable_x64()

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpyro.distributions as dist  # noqa: E402
from contract import arguments, stop_clock  # noqa: E402
from experts import FLOOR, WIDE, data  # noqa: E402
from networks import PARTS, UNITS  # noqa: E402
from numpyro.infer import SVI, Trace_ELBO  # noqa: E402
from numpyro.infer.autoguide import AutoNormal  # noqa: E402

STEPS = 50_000


def model(x: jax.Array, y: jax.Array) -> None:
    """The network with N(0, 5) on every weight and bias."""

    def normal(name: str, *shape: int) -> jax.Array:
        return numpyro.sample(name, dist.Normal(0, WIDE).expand(shape).to_event(len(shape)))

    h = jnp.tanh(x[:, None] @ normal("w", 1, UNITS) + normal("b", UNITS))
    logit, loc, scale = (
        h @ normal(f"{name}_w", UNITS, PARTS) + normal(f"{name}_b", PARTS)
        for name in ("logit", "loc", "scale")
    )
    parts = dist.Normal(loc, jnp.exp(scale) + FLOOR)
    numpyro.sample("y", dist.MixtureSameFamily(dist.Categorical(logits=logit), parts), obs=y)


def main() -> None:
    """Mean-field SVI with Adam at 0.01, the last fifth of its trace as the ELBO."""
    seed, _, _ = arguments()
    x, y = (jnp.asarray(values) for values in data())
    start = time.perf_counter()
    svi = SVI(model, AutoNormal(model), numpyro.optim.Adam(0.01), Trace_ELBO())
    found = svi.run(jax.random.PRNGKey(seed), STEPS, x, y, progress_bar=False)
    losses = jax.device_get(found.losses)
    seconds = time.perf_counter() - start
    stop_clock(seconds=seconds, elbo=float(-losses[-STEPS // 5 :].mean()))


if __name__ == "__main__":
    main()
