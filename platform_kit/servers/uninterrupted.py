"""Work that has to clean up after itself, done where no interrupt reaches it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from platform_kit.errors import StartupError
from platform_kit.servers.process import Cancelled

T = TypeVar("T")


def run_uninterrupted(
    work: Callable[[threading.Event], T], *, name: str, cancelled: str = "The start was cancelled."
) -> T:
    """Run ``work`` to its end in another thread, whatever interrupts the caller; return what it returned.

    An interrupt reaches the main thread between any two instructions; work that must clean up after itself
    is therefore done in another one, and told.

    Parameters
    ----------
    work: Called with an event that is set when the caller is interrupted; it may raise ``Cancelled`` then.
    name: The thread's name.
    cancelled: What the error says when ``work`` gave up although nobody was interrupted.

    Errors: whatever ``work`` raised; ``StartupError`` for ``Cancelled``.

    >>> run_uninterrupted(lambda cancel: cancel.is_set(), name="doctest")
    False
    """
    cancel = threading.Event()
    results: list[T] = []
    failures: list[BaseException] = []
    # Not thread.join(): an interrupted join takes the thread for ended (CPython before 3.13).
    ended = threading.Event()

    def guarded() -> None:
        try:
            results.append(work(cancel))
        except BaseException as error:
            failures.append(error)
        finally:
            ended.set()

    thread = threading.Thread(target=guarded, name=name, daemon=True)
    interrupted: KeyboardInterrupt | None = None
    begun = False
    while not ended.is_set():
        try:
            if not begun:
                begun = True
                thread.start()
            ended.wait()
        except KeyboardInterrupt as error:
            interrupted = error
            cancel.set()
            if thread.ident is None:  # interrupted before it began
                break
    if interrupted is not None:
        raise interrupted
    if failures:
        if isinstance(failures[0], Cancelled):
            raise StartupError(cancelled) from failures[0]
        raise failures[0]
    return results[0]
