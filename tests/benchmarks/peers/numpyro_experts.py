"""One to many, mixture of experts by numpyro's NUTS, defaults: ``SEED DRAWS OUT``."""

from __future__ import annotations

import time

import numpyro

numpyro.enable_x64()
numpyro.set_host_device_count(2)

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpyro.distributions as dist  # noqa: E402
from contract import arguments, stop_clock  # noqa: E402
from experts import EXPERTS, FLOOR, WIDE, data, judged  # noqa: E402
from numpyro.infer import MCMC, NUTS  # noqa: E402


def model(x: jax.Array, y: jax.Array) -> None:
    """Three experts, gate and log scale linear in x."""
    wide = dist.Normal(0, WIDE).expand([2, EXPERTS]).to_event(2)
    loc, gate, scale = (numpyro.sample(name, wide) for name in ("loc", "gate", "scale"))
    at = x[:, None]
    parts = dist.Normal(loc[0] + loc[1] * at, jnp.exp(scale[0] + scale[1] * at) + FLOOR)
    mixing = dist.Categorical(logits=gate[0] + gate[1] * at)
    numpyro.sample("y", dist.MixtureSameFamily(mixing, parts), obs=y)


def main() -> None:
    """Sample, stop the clock with the diagnosis."""
    seed, draws, _ = arguments()
    x, y = (jnp.asarray(values) for values in data())
    start = time.perf_counter()
    sampler = MCMC(
        NUTS(model), num_warmup=1000, num_samples=draws, num_chains=4, progress_bar=False
    )
    sampler.run(jax.random.PRNGKey(seed), x, y)
    found = {name: jax.device_get(v) for name, v in sampler.get_samples(True).items()}
    seconds = time.perf_counter() - start
    diverging = int(sampler.get_extra_fields(True)["diverging"].sum())
    stop_clock(seconds=seconds, divergences=diverging, **judged(found))


if __name__ == "__main__":
    main()
