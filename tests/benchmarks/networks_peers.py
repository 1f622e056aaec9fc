"""Mixture density networks on one to many, by bayesmix and its peers; README.md tells the rules."""

from __future__ import annotations

import os
import sys

from census_peers import CHECKOUT, JAX_CACHE, PEERS, VENV
from contest import Contestant
from tournament import EXTRAS, hold


def role(name: str, note: str = "", *, slow: bool = False) -> Contestant:
    """A contestant of peers/networks.py."""
    paths = os.pathsep.join([CHECKOUT["PYTHONPATH"], str(EXTRAS)])
    command = (sys.executable, str(PEERS / "networks.py"), name)
    return Contestant(name, command, note, {"PYTHONPATH": paths}, slow)


def contests() -> dict[str, list[Contestant]]:
    """What is compared with what; ours first."""
    numpyro = (str(VENV / "bin" / "python"), str(PEERS / "numpyro_network.py"))
    return {
        "mle": [role("mle"), role("loop", "5,000 full-batch steps"), role("scikit-mdn")],
        "restarts": [role("mle-1"), role("mle-10")],
        "bayes": [
            role("advi"),
            Contestant("numpyro-svi", numpyro, "50,000 steps", JAX_CACHE, slow=True),
            role("pymc-advi", "150,000 steps", slow=True),
        ],
        "throughput": [role("throughput"), role("loop-throughput")],
    }


if __name__ == "__main__":
    hold(contests(), packages=("scikit-mdn",), report="networks_peers.json")
