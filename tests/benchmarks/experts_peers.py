"""Mixtures of experts on one to many, by bayesmix and its peers; README.md tells the rules."""

from __future__ import annotations

import os
import sys

import numpy as np
from census_peers import BUILD, CHECKOUT, JAX_CACHE, PEERS, VENV
from contest import Contestant
from tournament import EXTRAS, hold

TABLE = BUILD / "one_to_many.csv"
PACKAGES = ("pymc-extras", "better-optimize", "preliz")


def role(name: str, note: str = "", *, slow: bool = False) -> Contestant:
    """A contestant of peers/experts.py."""
    paths = os.pathsep.join([CHECKOUT["PYTHONPATH"], str(EXTRAS)])
    command = (sys.executable, str(PEERS / "experts.py"), name)
    return Contestant(name, command, note, {"PYTHONPATH": paths}, slow)


def contests() -> dict[str, list[Contestant]]:
    """What is compared with what; ours first."""
    env = {"ONE_TO_MANY": str(TABLE)}
    return {
        "em": [
            role("em"),
            role("em-linear", "linear log scale, which the others lack"),
            Contestant("flexmix", ("Rscript", str(PEERS / "flexmix.R")), "a start of 15", env),
            Contestant(
                "mixtools", ("Rscript", str(PEERS / "mixtools.R")), "a start of 15, no gate", env
            ),
        ],
        "vi": [role("dadvi"), role("pymc-advi", "50,000 steps"), role("extras-dadvi", "defaults")],
        "nuts": [
            role("nuts"),
            role("pymc-nuts", "defaults", slow=True),
            role("nutpie-nuts", "defaults", slow=True),
            Contestant(
                "numpyro-nuts",
                (str(VENV / "bin" / "python"), str(PEERS / "numpyro_experts.py")),
                "defaults",
                JAX_CACHE,
                slow=True,
            ),
        ],
        "predictive": [role("predictive"), role("pymc-predictive")],
    }


def write_table() -> None:
    """The data, for the peers that read a file."""
    sys.path.insert(0, str(PEERS))
    from experts import data

    columns = np.column_stack(data())
    np.savetxt(TABLE, columns, delimiter=",", header="x,target", comments="", fmt="%.17g")


if __name__ == "__main__":
    hold(contests(), packages=PACKAGES, report="experts_peers.json", prepare=write_table)
