"""Notice that something in a folder changed: a thread around ``watchfiles``, which asks the system."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

STEP_MS = 50
"""A burst ends when nothing more came for this long."""
GATHER_MS = 400
"""A burst that does not end is told of after this long."""
LOOK_MS = 500
"""How often the folder itself is looked for: one that is replaced takes its watch along."""


class Watcher:
    """Calls back after each burst of changes below a folder; says nothing of what changed.

    Parameters
    ----------
    folder: The folder; it may go and come back.
    changed: Called from the watcher's thread, also once it has begun to watch.
    failed: Called with the error that ended it.

    Who is told looks for himself: events can be late, doubled or lost, and what a folder holds is a fact.
    """

    def __init__(
        self, folder: Path, changed: Callable[[], None], failed: Callable[[BaseException], None]
    ) -> None:
        self._folder = folder
        self._changed = changed
        self._failed = failed
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._main, name="platform-kit-art", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> bool:
        """End and wait for the thread; False if it did not end in time."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _main(self) -> None:
        try:
            while not self._stop.is_set():
                identity = _identity(self._folder)
                if identity is None:
                    self._stop.wait(LOOK_MS / 1000)
                    continue
                try:
                    self._follow(identity)
                except FileNotFoundError:  # gone between the look and the watch
                    continue
        except BaseException as error:
            self._failed(error)

    def _follow(self, identity: tuple[int, int]) -> None:
        from watchfiles import watch

        bursts = watch(
            self._folder,
            watch_filter=None,
            debounce=GATHER_MS,
            step=STEP_MS,
            stop_event=self._stop,
            rust_timeout=LOOK_MS,
            yield_on_timeout=True,
            raise_interrupt=False,
            ignore_permission_denied=True,
        )
        begun = False
        for burst in bursts:
            if burst or not begun:  # what happened before the watch was set up made no event
                self._changed()
            begun = True
            if _identity(self._folder) != identity:
                self._changed()
                return


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        state = os.stat(folder)
    except OSError:
        return None
    return state.st_dev, state.st_ino
