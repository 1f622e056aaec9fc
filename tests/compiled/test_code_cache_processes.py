"""Compiled code between processes: sources that were edited, entries that were spoilt, no home."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from _pytest.mark.structures import ParameterSet
from small_loop import FIT, HOME, LOOP, NOBODY, ONCE, answered, run

DAMAGE: dict[str, Callable[[Path, bytes, bytes], object]] = {
    "empty": lambda path, own, foreign: path.write_bytes(b""),
    "cut": lambda path, own, foreign: path.write_bytes(own[: len(own) // 2]),
    "header cut": lambda path, own, foreign: path.write_bytes(own[:20]),
    "flipped": lambda path, own, foreign: path.write_bytes(flipped(own)),
    "another's": lambda path, own, foreign: path.write_bytes(foreign),
    "writable": lambda path, own, foreign: path.chmod(0o666),
    "link": lambda path, own, foreign: linked(path, own),
    "pipe": lambda path, own, foreign: (path.unlink(), os.mkfifo(path)),
}
"""What stands in the place of an entry, from its path, its bytes, and those of another entry."""

_FOREIGN = LOOP.replace("vector.exp(x[i])", "666.0").replace("bayesmix.small", "bayesmix.other")


def marked(kinds: Iterable[str], fast: tuple[str, ...]) -> list[ParameterSet]:
    """Cases, of which all but some are slow: each takes a process or more."""
    return [pytest.param(k, marks=() if k in fast else pytest.mark.slow) for k in kinds]


def flipped(content: bytes) -> bytes:
    """One bit of the code's first half is another."""
    at = len(content) // 2
    return content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :]


def linked(path: Path, own: bytes) -> None:
    """A link to the same bytes elsewhere."""
    target = path.parents[2] / "elsewhere"
    target.write_bytes(own)
    path.unlink()
    path.symlink_to(target)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, bytes, bytes]:
    """The small loop's answer, its key and its entry, and the entry of another loop."""
    cache = tmp_path_factory.mktemp("kept")
    (answer, count) = answered(ONCE, BAYESMIX_CACHE=str(cache))
    assert count == "1"
    (entry,) = (cache / "code").iterdir()
    other = tmp_path_factory.mktemp("other")
    answered(_FOREIGN + "answer()", BAYESMIX_CACHE=str(other))
    (foreign,) = (other / "code").iterdir()
    return answer, entry.name, entry.read_bytes(), foreign.read_bytes()


@pytest.mark.parametrize("kind", marked(DAMAGE, fast=("flipped", "another's", "link")))
def test_a_spoilt_entry_is_compiled_anew_and_replaced(
    kind: str, kept: tuple[str, str, bytes, bytes], tmp_path: Path
) -> None:
    """A process answers right, leaves a whole entry, and nothing foreign was linked."""
    answer, key, own, foreign = kept
    path = tmp_path / "cache" / "code" / key
    path.parent.mkdir(parents=True, mode=0o700)
    path.write_bytes(own)
    path.chmod(0o600)
    DAMAGE[kind](path, own, foreign)
    twice = "print(answer(), len(compilations), answer(), len(compilations))\n"
    found = answered(LOOP + twice, BAYESMIX_CACHE=str(tmp_path / "cache"))
    if kind == "pipe":  # what is no file is left to its owner, as it may be there for a reason
        assert found == [answer, "1", answer, "2"]
        assert path.is_fifo()
        return
    assert found == [answer, "1", answer, "1"]
    assert path.is_file() and not path.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_bytes().startswith(own[:44])  # what it is, and its key: the rest may differ
    assert [each.name for each in path.parent.iterdir()] == [key]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the package, which can be edited."""
    home = tmp_path / "home"
    shutil.copytree(HOME / "bayesmix", home / "bayesmix", ignore=shutil.ignore_patterns("__pyc*"))
    return home


def edit(home: Path, old: str, new: str) -> None:
    """Change what ``vector`` says, its size and the time of its modification staying."""
    path = home / "bayesmix" / "compiled" / "vector.py"
    before, text = path.stat(), path.read_text()
    assert text.count(old) == 1 and len(old) == len(new)
    path.write_text(text.replace(old, new))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_an_edited_constant_is_in_the_next_answer(copy: Path, tmp_path: Path) -> None:
    """Every source file is in the key: the code is another, and the old one is found again."""
    cache = str(tmp_path / "cache")
    answer, count = answered(ONCE, copy, BAYESMIX_CACHE=cache)
    assert count == "1"
    assert answered(ONCE, copy, BAYESMIX_CACHE=cache) == [answer, "0"]
    edit(copy, "p = 1.0 / 479001600.0", "p = 1.0 / 1.000000000")
    changed, count = answered(ONCE, copy, BAYESMIX_CACHE=cache)
    assert changed != answer and count == "1"
    edit(copy, "p = 1.0 / 1.000000000", "p = 1.0 / 479001600.0")
    assert answered(ONCE, copy, BAYESMIX_CACHE=cache) == [answer, "0"]


@pytest.mark.slow
def test_edited_draws_are_drawn(copy: Path, tmp_path: Path) -> None:
    """The same for outcomes that a fit predicts, whose loops stand in other files."""
    script = """
import numpy as np, pandas as pd, bayesmix as bm
rng = np.random.default_rng(1)
x = rng.normal(size=200)
data = pd.DataFrame({"x": x, "y": np.where(rng.random(200) < 0.5, x, -x) + rng.normal(size=200)})
model = bm.MixtureOfExperts("y ~ x", 2, gate="x")
found = bm.fit(model, data, method=bm.EM(restarts=3), seed=1)
print(np.asarray(found.sample(draws=500, seed=2)["y"]).sum())
"""
    cache = str(tmp_path / "cache")
    (drawn,) = answered(script, copy, BAYESMIX_CACHE=cache)
    assert answered(script, copy, BAYESMIX_CACHE=cache) == [drawn]
    edit(copy, "p = 1.0 / 479001600.0", "p = 1.0 / 1.000000000")
    assert answered(script, copy, BAYESMIX_CACHE=cache) != [drawn]


def made(path: Path, mode: int) -> str:
    """A folder with these rights."""
    path.mkdir()
    path.chmod(mode)
    return str(path)


def anothers(path: Path) -> str:
    """A folder of another user; who is not root cannot make one and takes the system's."""
    if os.geteuid() != 0:
        return "/"
    path.mkdir()
    os.chown(path, NOBODY, NOBODY)
    return str(path)


Place = Callable[[Path], dict[str, str | None]]
HOMES: dict[str, tuple[Place, str]] = {
    "missing": (
        lambda path: {"HOME": made(path / "closed", 0o555) + "/home"}, "Permission denied"
    ),
    "read-only": (lambda path: {"HOME": made(path / "home", 0o555)}, "Permission denied"),
    "another's": (lambda path: {"HOME": anothers(path / "home")}, "belongs to another user"),
    "not to be entered": (
        lambda path: {"BAYESMIX_CACHE": made(path / "closed", 0o000) + "/cache"},
        "Permission denied",
    ),
}  # fmt: skip
"""What a user has instead of a home, and words of the sentence that says so."""


def check_home(kind: str, path: Path, script: str) -> str:
    """A script answers whatever its user's home is; one sentence says what is not kept."""
    place, words = HOMES[kind]
    environment = {"BAYESMIX_CACHE": None, "XDG_CACHE_HOME": None} | place(path)
    done = run(script, HOME, powerless=True, **environment)
    assert done.returncode == 0, done
    assert words in done.stderr, done
    assert done.stderr.count("Compiled code is not kept") == 1, done
    return done.stdout


@pytest.mark.parametrize("kind", marked(HOMES, fast=("another's",)))
def test_a_loop_runs_whatever_the_home_is(
    kind: str, tmp_path: Path, kept: tuple[str, str, bytes, bytes]
) -> None:
    """It is compiled, and one sentence says why it is not kept."""
    assert check_home(kind, tmp_path, ONCE).split() == [kept[0], "1"]


def test_a_loop_runs_without_any_home(tmp_path: Path, kept: tuple[str, str, bytes, bytes]) -> None:
    """HOME unset, and a user whom the system does not know; who is not root has a home still."""
    unknown = """
import os
answer()
del os.environ["HOME"], os.environ["BAYESMIX_CACHE"]
if os.geteuid() == 0:
    os.setgroups([]), os.setgid(54321), os.setuid(54321)
compilations.clear()
print(answer(), len(compilations))
"""
    environment = {"BAYESMIX_CACHE": str(tmp_path), "HOME": "/", "XDG_CACHE_HOME": None}
    done = run(LOOP + unknown, powerless=False, **environment)
    assert done.returncode == 0, done
    if os.geteuid() == 0:
        assert done.stdout.split() == [kept[0], "1"]
        assert done.stderr.count("Compiled code is not kept: there is no HOME") == 1
    assert done.stdout.split()[0] == kept[0]


@pytest.mark.slow
@pytest.mark.parametrize("kind", HOMES)
def test_a_fit_runs_whatever_the_home_is(kind: str, tmp_path: Path) -> None:
    """PyMC too, whose PyTensor wants a folder of its own."""
    assert -5 < float(check_home(kind, tmp_path, FIT)) < 5
