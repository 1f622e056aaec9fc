"""A compiled loop as a process of its own runs it: what it answers, and what it says and keeps.

Run as a script it compiles a loop of two lines, or links it from the cache. The loop counts as part
of the package, so that its code is kept; it calls the package's own exp.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import bayesmix

HOME = Path(bayesmix.__file__).parents[1]
NOBODY = 65534

LOOP = """
import logging, sys
import numpy as np
from numba import njit
from bayesmix.compiled import cache, loops, native, vector

def small(x, out):
    for i in range(len(x)):
        out[i] = vector.exp(x[i])

small.__module__ = "bayesmix.small"
compiled, loop, compilations = native._compile, njit(small), []

def counted(*arguments):
    compilations.append(1)
    return compiled(*arguments)

native._compile = counted

def answer():
    native._linked.clear()
    loops._callable.cache_clear()
    x, out = np.linspace(-30.0, 30.0, 7), np.empty(7)
    loops.run(loop, x, out)
    return out.tobytes().hex()
"""
"""``answer()`` compiles or links anew at each call, and ``compilations`` counts the former."""

ONCE = LOOP + "print(answer(), len(compilations))\n"
FIT = """
import bayesmix as bm
found = bm.fit(
    bm.BinomialGLM("p(high, total) ~ sex"), bm.datasets.census(), method=bm.MAP(restarts=1), seed=1
)
print(float(found.tree["estimate"]["Intercept"]))
"""


_POWERLESS = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
"""Makes of root a user like any other, who cannot write where rights do not say so."""


def run(
    script: str, home: Path = HOME, *, powerless: bool = False, **environment: str | None
) -> subprocess.CompletedProcess[str]:
    """Run a script in a new process, on the package in ``home``; variables of None are unset."""
    found = os.environ | {"PYTHONPATH": str(home), "PYTHONDONTWRITEBYTECODE": "1"} | environment
    kept = {name: value for name, value in found.items() if value is not None}
    as_root = powerless and os.geteuid() == 0
    command = [*(_POWERLESS if as_root else []), sys.executable, "-c", script]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=300, env=kept, cwd="/"
    )  # fmt: skip


def answered(script: str, home: Path = HOME, **environment: str | None) -> list[str]:
    """The words that a script printed; it has to end well."""
    done = run(script, home, powerless=False, **environment)
    assert done.returncode == 0, done
    return done.stdout.split()
