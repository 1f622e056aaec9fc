"""Interrupts (Ctrl-C), which are to end all threads of a fit and to reach whoever called it.

Python raises ``KeyboardInterrupt`` in the main thread, wherever that is. Other threads would go on
until their work is done, and the interpreter waits for them; PyMC takes the exception for a wish to
have what there is, and compiled code that is being called meanwhile can end the process.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any


class Halted(BaseException):
    """Work that nobody waits for any more has ended; never seen outside the package."""


@contextmanager
def threads(count: int | None = None) -> Generator[tuple[ThreadPoolExecutor, Callable[[], None]]]:
    """A pool of threads that end when the block is left by an exception.

    Parameters
    ----------
    count
        Threads, at most; None is Python's choice.

    Returns
    -------
    The pool, and a function that jobs call every few milliseconds: it raises :class:`Halted` in
    them once their results are not wanted.

    Examples
    --------
    >>> with threads(2) as (pool, proceed):
    ...     sorted(pool.map(abs, [-2, 1]))
    [1, 2]
    """
    unwanted = threading.Event()

    def proceed() -> None:
        if unwanted.is_set():
            raise Halted

    with ThreadPoolExecutor(count) as pool:
        try:
            yield pool, proceed
        except BaseException:
            unwanted.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


@contextmanager
def heeded() -> Generator[Callable[[], None]]:
    """Hold an interrupt back until the next safe place, and raise it whatever the block made of it.

    Returns
    -------
    A function for the block to call at safe places, after every step of a loop. From the first call
    on interrupts act only there: it raises :class:`Halted`, which no library takes for a wish to
    stop early with what there is. Before it they act at once, so that compiling can be ended.

    Raises
    ------
    KeyboardInterrupt
        At the end of the block, if one came: whatever handles SIGINT decides what is raised.

    Examples
    --------
    >>> with heeded() as proceed:
    ...     for step in range(3):
    ...         proceed()
    """
    usual = signal.getsignal(signal.SIGINT)
    main = threading.current_thread() is threading.main_thread()
    if not (main and callable(usual)):  # no interrupt can come here, or it is not for Python
        yield lambda: None
        return
    held = _Held(usual)
    signal.signal(signal.SIGINT, held.handle)
    try:
        yield held.proceed
    finally:
        signal.signal(signal.SIGINT, usual)
        held.release()


class _Held:
    """An interrupt that came, or not yet, and what the usual handler raised."""

    def __init__(self, usual: Callable[[int, Any], Any]) -> None:
        self.usual = usual
        self.has_begun = self.is_pending = False
        self.error: BaseException | None = None

    def handle(self, number: int, frame: Any) -> None:
        del number, frame
        self.is_pending = True
        if not self.has_begun:
            self._act()

    def proceed(self) -> None:
        self.has_begun = True
        if self.error is not None:  # it was raised before the loop began, and swallowed
            raise Halted
        if self.is_pending:
            try:
                self._act()
            except BaseException as error:
                raise Halted from error

    def release(self) -> None:
        if self.error is None and self.is_pending:
            self._act()
        if self.error is not None:
            raise self.error from None

    def _act(self) -> None:
        self.is_pending = False
        try:
            self.usual(signal.SIGINT, None)
        except BaseException as error:
            self.error = error
            raise
