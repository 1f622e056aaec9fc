"""A progress bar for whoever is watching, silence for everyone else."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from bayesmix.protocols import Report


def _silent(phase: str, share: float) -> None:
    del phase, share


@contextmanager
def reporter(wanted: bool) -> Iterator[Report]:
    """A function that methods report to: a rich bar in a terminal or notebook, else nothing."""
    if not wanted or not (sys.stderr.isatty() or _in_notebook()):
        yield _silent
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description:>10}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=False) as bar:
        tasks: dict[str, int] = {}

        def report(phase: str, share: float) -> None:
            if phase not in tasks:
                for task in tasks.values():
                    bar.update(task, completed=1.0)  # type: ignore[arg-type]
                tasks[phase] = bar.add_task(phase, total=1.0)
            bar.update(tasks[phase], completed=share)  # type: ignore[arg-type]

        yield report


def _in_notebook() -> bool:
    """Whether this process is a notebook's kernel; a process may import one without being it."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return type(shell).__name__ == "ZMQInteractiveShell"
