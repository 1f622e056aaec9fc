"""Contestant: numpyro's NUTS on the CPU, with JAX's compiled code cached on disk."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from contract import CHAINS, arguments, diagnose, quantities, stop_clock, write_draws
from numpyro.infer import MCMC, NUTS


def model(edu: jax.Array, sex: jax.Array, total: jax.Array, high: jax.Array) -> None:
    """Non-centred varying slopes, as in ``noncentred.py``."""
    a = numpyro.sample("a", dist.Normal(0, 10))
    b = numpyro.sample("b", dist.Normal(0, 1))
    with numpyro.plate("effects", 2):
        sigmas = numpyro.sample("sigmas", dist.HalfCauchy(2))
    lower = numpyro.sample("lower", dist.LKJCholesky(2, 2))
    z = numpyro.sample("z", dist.Normal(0, 1).expand([7, 2]).to_event(2))
    coefs = jnp.stack([a, b]) + z @ (sigmas[:, None] * lower).T
    numpyro.deterministic("coefs", coefs)
    logits = coefs[edu, 0] + coefs[edu, 1] * sex
    numpyro.sample("high", dist.Binomial(total, logits=logits), obs=high)


def main() -> None:
    """Fit, diagnose, stop the clock, write."""
    seed, draws, out = arguments()
    # Four devices on two cores beat chain_method="vectorized" by a factor of two, and double
    # precision costs nothing here: chains wait for each other where they are vectorized.
    numpyro.set_host_device_count(CHAINS)
    numpyro.enable_x64()
    file = Path(__file__).with_name("census.csv")
    data = np.loadtxt(file, delimiter=",", skiprows=1, dtype=int).T
    mcmc = MCMC(
        NUTS(model),
        num_warmup=1000,
        num_samples=draws,
        num_chains=CHAINS,
        chain_method="parallel",
        progress_bar=False,
    )
    mcmc.run(jax.random.key(seed), *map(jnp.asarray, data), extra_fields=("diverging",))
    post = {name: np.asarray(x) for name, x in mcmc.get_samples(group_by_chain=True).items()}
    corr = post["lower"][..., 1, 0]
    sampled = quantities(post["a"], post["b"], post["sigmas"], corr, post["coefs"])
    divergences = int(mcmc.get_extra_fields()["diverging"].sum())
    version = f"numpyro {numpyro.__version__}, jax {jax.__version__}"
    stop_clock(**diagnose(sampled), divergences=divergences, version=version)
    write_draws(out, sampled)


if __name__ == "__main__":
    main()
