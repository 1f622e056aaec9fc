"""What this installation has, what it lacks, and how to get it."""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bayesmix.compiled import cache

if TYPE_CHECKING:
    from packaging.requirements import Requirement

CONSTRAINTS = Path(__file__).resolve().parents[2] / "constraints.txt"
"""The exact versions that the tests ran with; a checkout has the file, a wheel does not."""

_MODULES = {"scikit-learn": "sklearn"}
_INDENT = " " * 26


@dataclass(frozen=True)
class Check:
    """One thing looked at.

    Parameters
    ----------
    level
        ``"ok"``, ``"note"`` (works, but worth knowing) or ``"missing"`` (needed, and not there).
    found
        What there is, for reading.
    advice
        A sentence on how to get what is missing; empty when there is nothing to do.
    values
        The same as ``found``, as plain values.
    """

    name: str
    level: Literal["ok", "note", "missing"]
    found: str
    advice: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Health:
    """Everything looked at; ``str()`` is a report to read."""

    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """True when nothing that is needed is missing."""
        return not self._named("missing")

    @property
    def verdict(self) -> str:
        """One sentence."""
        if missing := self._named("missing"):
            return f"Something needed is missing: {', '.join(missing)}."
        notes = self._named("note")
        return "Everything needed is there" + (f"; see {', '.join(notes)}." if notes else ".")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        checks = [asdict(check) for check in self.checks]
        return {"ok": self.ok, "verdict": self.verdict, "checks": checks}

    def __str__(self) -> str:
        return "\n".join([self.verdict, *(_lines(check) for check in self.checks)])

    def _named(self, level: str) -> list[str]:
        return [check.name for check in self.checks if check.level == level]


def _lines(check: Check) -> str:
    line = f"  {check.level:<8}{check.name:<16}{check.found}"
    if not check.advice:
        return line
    advice = textwrap.fill(
        check.advice,
        100,
        initial_indent=_INDENT,
        subsequent_indent=_INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return f"{line}\n{advice}"


def examine() -> Health:
    """Look at Python, the libraries, the cache of compiled code, and the machine.

    Returns
    -------
    Health
        ``ok`` is False when something needed is missing or cannot be imported.
    """
    machine = (check_cache(), check_threads(), check_cores(), check_gpu(), check_bubblewrap())
    return Health((*check_package(), *check_libraries(), *machine))


def check_package() -> Iterator[Check]:
    """Python and bayesmix itself."""
    python = platform.python_version()
    try:
        own = metadata.metadata("bayesmix")
    except metadata.PackageNotFoundError:
        yield Check("python", "ok", python, values={"version": python})
        advice = "Run 'make demo' in the checkout, or 'pip install .'."
        yield Check("bayesmix", "missing", "is not installed", advice)
        return
    yield _check_python(python, own["Requires-Python"])
    yield Check("bayesmix", "ok", own["Version"], values={"version": own["Version"]})


def _check_python(python: str, needed: str | None) -> Check:
    from packaging.specifiers import SpecifierSet

    values = {"version": python, "needed": needed}
    if SpecifierSet(needed or "").contains(python, prereleases=True):
        return Check("python", "ok", python, values=values)
    advice = "Install a newer Python, make a new virtual environment with it, and install again."
    return Check("python", "missing", f"{python}; {needed} is needed", advice, values)


def check_libraries() -> Iterator[Check]:
    """Every library that bayesmix requires: is it there, new enough, and can it be imported?"""
    tested = _tested()
    for requirement in _requirements():
        yield _check_library(requirement, tested.get(_canonical(requirement.name)))


def _requirements() -> list[Requirement]:
    from packaging.requirements import Requirement

    try:
        lines = metadata.requires("bayesmix") or []
    except metadata.PackageNotFoundError:
        return []
    needed = [Requirement(line) for line in lines]
    return [one for one in needed if one.marker is None or one.marker.evaluate({"extra": ""})]


def _tested() -> dict[str, str]:
    if not CONSTRAINTS.is_file():
        return {}
    lines = CONSTRAINTS.read_text(encoding="utf-8").splitlines()
    pins = (line.split("#")[0].split(";")[0].partition("==") for line in lines)
    return {_canonical(name): pin.strip() for name, sign, pin in pins if sign}


def _canonical(name: str) -> str:
    return name.strip().lower().replace("_", "-").replace(".", "-")


def _check_library(requirement: Requirement, tested: str | None) -> Check:
    name, needed = requirement.name, str(requirement.specifier)
    install = f"To get it: pip install '{requirement}'"
    try:
        found = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Check(name, "missing", "is not installed", install, {"needed": needed})
    values = {"version": found, "needed": needed, "tested": tested}
    if not requirement.specifier.contains(found, prereleases=True):
        return Check(name, "missing", f"{found}; {needed} is needed", install, values)
    if problem := _import_problem(name):
        again = f"Install it again: pip install --force-reinstall '{name}=={found}'"
        return Check(name, "missing", f"{found} cannot be imported: {problem}", again, values)
    if tested is not None and tested != found:
        advice = f"To have the tested version: pip install '{name}=={tested}'"
        return Check(name, "note", f"{found}; the tests ran with {tested}", advice, values)
    return Check(name, "ok", found, values=values)


def _import_problem(name: str) -> str:
    """Why a library cannot be imported, or nothing."""
    try:
        importlib.import_module(_MODULES.get(name, name.replace("-", "_")))
    # A broken binary can raise anything at all; to say what is the point of looking.
    except Exception as error:
        return " ".join(f"{type(error).__name__}: {error}".split())
    return ""


def check_cache() -> Check:
    """Where compiled code is kept, how much there is, and whether more can be written."""
    name, folder = "compiled code", cache.folder()
    sizes = [path.lstat().st_size for path in cache.entries()]
    values = {"folder": str(folder), "entries": len(sizes), "bytes": sum(sizes)}
    if problem := cache.problem():
        values["writable"] = False
        return Check(name, "note", "is not kept", f"{problem}.", values)
    found = f"{len(sizes)} entries, {sum(sizes) / 1e6:.1f} MB in {folder}"
    return Check(name, "ok", found, values={**values, "writable": True})


def check_threads() -> Check:
    """Threads that numba, the linear algebra of NumPy, and torch use."""
    try:
        values = {"numba": _numba_threads(), "blas": _blas_threads(), "torch": _torch_threads()}
    except Exception as error:
        return Check("threads", "note", f"cannot be told: {type(error).__name__}: {error}")
    found = f"numba {values['numba']}, BLAS {values['blas']}, torch {values['torch']}"
    return Check("threads", "ok", found, values=values)


def _numba_threads() -> int:
    import numba

    return int(numba.get_num_threads())


def _blas_threads() -> int:
    import numpy as np
    from threadpoolctl import threadpool_info

    del np
    return max([pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"])


def _torch_threads() -> int:
    import torch

    return int(torch.get_num_threads())


def check_cores() -> Check:
    """Cores that this process may use, which a container or a scheduler can limit."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    machine = os.cpu_count() or 1
    cores = allowed or 1
    found = f"{cores} of {machine} can be used"
    return Check("cores", "ok", found, values={"available": cores, "machine": machine})


def check_gpu() -> Check:
    """A GPU that torch sees; nothing needs one."""
    try:
        import torch

        name = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
        name = name or ("Apple GPU" if torch.backends.mps.is_available() else None)
    except Exception as error:
        return Check("gpu", "note", f"cannot be told: {type(error).__name__}: {error}")
    return Check("gpu", "ok", name or "none; not needed", values={"name": name})


def check_bubblewrap() -> Check:
    """The sandbox in which exercises are graded."""
    path = shutil.which("bwrap")
    values = {"path": path}
    if path:
        return Check("bubblewrap", "ok", path, values=values)
    advice = (
        "Needed only to grade exercises for credit, on Linux: install the package 'bubblewrap' "
        "with the system's package manager."
    )
    return Check("bubblewrap", "note", "is not there", advice, values)
