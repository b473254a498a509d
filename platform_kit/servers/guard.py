"""A warden that is always there: one that was killed is replaced."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from platform_kit.servers.warden import Warden


class Guard:
    """The process group servers are started in, watched by a warden as long as this is open.

    Without a warden, a killed kernel would leave its servers.

    Parameters
    ----------
    remove: A folder that goes with the servers, or None.
    hold: File descriptors the warden keeps open (a lock).

    Example
    -------
    >>> guard = Guard()
    >>> guard.group > 0
    True
    >>> guard.close()
    """

    def __init__(self, *, remove: Path | None = None, hold: tuple[int, ...] = ()) -> None:
        self._remove = remove
        self._hold = hold
        self._closing = threading.Event()
        self._warden: Warden | None = Warden(remove=remove, hold=hold)
        self.group = self._warden.group
        self._watcher = threading.Thread(target=self._watch, name="platform-kit-warden", daemon=True)
        self._watcher.start()

    def retire(self) -> None:
        """Replace no warden from now on: the servers are being stopped."""
        self._closing.set()

    def close(self, *, timeout_s: float = 5.0) -> None:
        """End what is left of the group, the warden included. Call it after the servers were stopped."""
        self.retire()
        if self._warden is not None:
            self._warden.close()
            self._warden = None
        self._watcher.join(timeout_s)

    def _watch(self) -> None:
        while (warden := self._warden) is not None and not self._closing.is_set():
            warden.wait()
            if self._closing.is_set():
                return
            replacement = Warden(remove=self._remove, group=self._living_group(), hold=self._hold)
            self._warden, self.group = replacement, replacement.group
            warden.release()
            if self._closing.is_set():
                replacement.close()

    def _living_group(self) -> int | None:
        """The group, as long as a server is in it: nobody can join one that is empty."""
        import psutil

        for child in psutil.Process().children():
            try:
                if child.status() != psutil.STATUS_ZOMBIE and os.getpgid(child.pid) == self.group:
                    return self.group
            except (psutil.Error, ProcessLookupError):
                continue
        return None
