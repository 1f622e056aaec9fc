"""A full disk: an error with words wherever the package writes, the old file whole, no stray."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import full_disk
import pytest
from small_fits import FORMULA, from_prior, people, same_tree

import bayesmix as bm
from bayesmix.networks import checkpoint

BEGIN = """
import bayesmix as bm
from bayesmix.errors import FitFileError
sys.path.insert(0, sys.argv[2])
disk = sys.argv[1]
def tried(call):
    try:
        call()
    except FitFileError as error:
        print("refused:", error)
        return error
    print("written")
"""
WRITERS = """
import numpy as np
from bayesmix.networks import checkpoint
from small_fits import FORMULA, from_prior, people

found = from_prior(FORMULA, people())
tried(lambda: found.save(disk + "/fit.nc"))
fit = lambda: bm.fit(found.model, people(), method="mle", seed=1, cache=disk)
print(type(tried(fit).fit).__name__)
tried(lambda: checkpoint.write(disk + "/run.npz", "key", {"state": np.zeros(200_000)}))
"""
COMMAND = """
from bayesmix.cli.app import app
app(sys.argv[1:])
"""
MLE = ("fit", "census", "--formula", "p(high, total) ~ sex", "--method", "mle", "--seed", "1")
SMALL = 4096
"""Bytes of a file at which a disk counts as full where none can be mounted."""


@pytest.mark.parametrize("kind", ["disk", "limit"])
def test_fits_caches_and_checkpoints(kind: str, tmp_path: Path) -> None:
    """Each is refused with words, what was there is whole, and a fit for the cache is not lost."""
    disk, old = tmp_path / "disk", from_prior(FORMULA, people())
    with full_disk.small_disk(disk, kind) as limited:
        old.save(disk / "fit.nc")
        checkpoint.write(str(disk / "run.npz"), "key", {})
        full_disk.fill(disk)
        tests = Path(__file__).parent / "support"
        done = full_disk.run(BEGIN + WRITERS, disk, tests, limited=limited, size=SMALL)
        assert (done.returncode, done.stderr) == (0, "")
        why = "File too large" if limited else "No space left on device"
        saved, cached, kept, state = done.stdout.splitlines()
        assert saved == f"refused: cannot write '{disk}/fit.nc': {why}"
        assert re.fullmatch(rf"refused: cannot write '{disk}/\w{{32}}.nc': {why}; the .*", cached)
        assert kept == "Fit"
        assert state == f"refused: the checkpoint '{disk}/run.npz' cannot be written: {why}"
        assert sorted(path.name for path in disk.iterdir()) == ["filler", "fit.nc", "run.npz"]
        same_tree(bm.load(disk / "fit.nc").tree, old.tree)
        assert checkpoint.read(str(disk / "run.npz"), "key") == {}


def test_the_command_line(tmp_path: Path) -> None:
    """The command ends with status 2 and one line, and leaves the old file and nothing else."""
    disk = tmp_path / "disk"
    with full_disk.small_disk(disk) as limited:
        (disk / "fit.nc").write_bytes(b"old")
        full_disk.fill(disk)
        arguments = (*MLE, "--out", f"{disk}/fit.nc")
        done = full_disk.run(COMMAND, *arguments, limited=limited, size=SMALL)
        assert (done.returncode, done.stdout) == (2, "")
        assert re.fullmatch(rf"error: cannot write '{disk}/fit.nc': [\w ]+\n", done.stderr)
        assert (disk / "fit.nc").read_bytes() == b"old"
        assert sorted(path.name for path in disk.iterdir()) == ["filler", "fit.nc"]


@pytest.mark.parametrize("arguments", [(*MLE, "--json"), ("--version",)])
def test_a_full_standard_output(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """A report that cannot be written is one line on stderr and status 2, without a traceback."""
    home = str(Path(bm.__file__).parents[1])
    source = f"import sys; sys.path[:0] = [{home!r}]\n{COMMAND}"
    run = [sys.executable, "-c", source, *arguments]
    with open("/dev/full", "w") as full:
        done = subprocess.run(run, text=True, stdout=full, stderr=subprocess.PIPE, cwd=tmp_path)
    assert done.returncode == 2
    words = "error: the report cannot be written to standard output: No space left on device"
    saved = "; the fit is in 'fit.nc'" if "fit" in arguments else ""
    assert done.stderr == f"{words}{saved}\n"
    if saved:
        assert json.loads(bm.load(tmp_path / "fit.nc").tree.attrs["model"])["type"] == "BinomialGLM"
