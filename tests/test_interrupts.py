"""Ctrl-C: a real signal to a real process, for every method; nothing of the fit is kept."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from interruption import CASES, RAISED, SLOW, interrupted

from bayesmix import interrupts

_SECONDS = 2.0
"""From the signal to the end of the process, by the clock or, as the clock counts what others do,
of processor time. Where others share the cores' caches the same work takes up to twice as much of
that (most is the interpreter's, which clears away PyMC's modules), so twice as much is allowed."""
_PATIENCE = 20.0
"""The same by the clock, however loaded the machine is: who sleeps uses no processor time."""


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """Interrupts as a terminal has them: a shell starts what runs in the background without."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def check_interrupted(name: str, folder: Path) -> None:
    """The interrupt reaches the caller, the process ends soon, and the fit is not stored."""
    fits = folder / "fits"
    end = interrupted(name, fits)
    assert RAISED in end.output, end
    assert end.status == -signal.SIGINT, end
    assert end.errors.endswith("KeyboardInterrupt\n"), end.errors
    assert list(fits.iterdir()) == []
    loaded = os.getloadavg()[0] > (os.cpu_count() or 1)
    assert min(end.wall, end.processor) < _SECONDS * (2 if loaded else 1), end
    assert end.wall < _PATIENCE, end


@pytest.mark.parametrize("name", CASES)
def test_an_interrupt_ends_a_fit(name: str, tmp_path: Path) -> None:
    """KeyboardInterrupt goes through within two seconds, and nothing is cached."""
    check_interrupted(name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_an_interrupt_ends_a_fit_by_every_method(name: str, tmp_path: Path) -> None:
    """The same for all other methods and variants, also while PyMC compiles."""
    check_interrupted(name, tmp_path)


def test_threads_end_when_their_results_are_not_wanted() -> None:
    """An exception in the block stops jobs that run and drops those that wait."""
    begun, ended = threading.Event(), []

    def job(_: int) -> None:
        begun.set()
        try:
            while True:
                proceed()
                time.sleep(0.001)
        except interrupts.Halted:
            ended.append(1)
            raise

    with pytest.raises(KeyboardInterrupt), interrupts.threads(1) as (pool, proceed):
        jobs = [pool.submit(job, i) for i in range(3)]
        begun.wait()
        signal.raise_signal(signal.SIGINT)
    assert len(ended) == 1
    assert [job.cancelled() for job in jobs] == [False, True, True]


def swallowed(steps: int, proceed: object, at: int, safe: int) -> list[int]:
    """Like PyMC's loop: an interrupt at one step, safe places from another on; stops early."""
    done = []
    try:
        for step in range(steps):
            done.append(step)
            if step == at:
                signal.raise_signal(signal.SIGINT)
            if step >= safe:
                proceed()  # type: ignore[operator]
    except KeyboardInterrupt:
        pass
    return done


@pytest.mark.parametrize("safe", [0, 5, 100], ids=["in the loop", "before it", "without places"])
def test_an_interrupt_that_is_swallowed_is_raised_all_the_same(safe: int) -> None:
    """Whatever the block made of it, and the usual handler is back afterwards."""
    usual = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), interrupts.heeded() as proceed:
        swallowed(10, proceed, 3, safe)
    assert signal.getsignal(signal.SIGINT) is usual


def test_a_block_that_is_not_interrupted_keeps_its_own_error() -> None:
    """And one without an error ends as usual."""
    usual = signal.getsignal(signal.SIGINT)
    with pytest.raises(ZeroDivisionError), interrupts.heeded() as proceed:
        proceed()
        1 / 0  # noqa: B018
    with interrupts.heeded() as proceed:
        done = swallowed(10, proceed, 99, 0)
    assert len(done) == 10
    assert signal.getsignal(signal.SIGINT) is usual


@pytest.mark.parametrize("usual", [signal.SIG_IGN, None], ids=["ignored", "the caller's own"])
def test_who_handles_the_signal_decides(usual: signal.Handlers | None) -> None:
    """A process that ignores interrupts, or takes note of them itself, is not ended."""
    noted: list[int] = []
    before = signal.signal(signal.SIGINT, usual or (lambda number, _: noted.append(number)))
    try:
        with interrupts.heeded() as proceed:
            done = swallowed(10, proceed, 3, 0)
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(done) == 10
    assert noted == ([] if usual is signal.SIG_IGN else [signal.SIGINT])


def test_other_threads_are_none_of_its_business() -> None:
    """Signals do not come to them, and only the main thread may ask for signals."""
    done: list[int] = []

    def work() -> None:
        with interrupts.heeded() as proceed:
            done.extend(swallowed(10, proceed, 99, 0))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert len(done) == 10
