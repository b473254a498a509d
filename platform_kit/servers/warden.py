"""The warden: a tiny process that ends the platform when the process that started it is gone.

A notebook's kernel is often ended with SIGKILL, and then runs nothing of its own any more. So the first
process of a platform is a warden. It holds the reading end of a pipe whose writing end only the kernel
has, and it leads the process group in which every server is started. When the pipe closes, for whatever
reason, it ends the group and removes the temporary folder.

Nothing can slip through: a server that is being started holds a copy of the pipe's end until it has
become a member of the group and runs its own program (``exec`` closes the copy).

This file runs as a script under ``python -I -S``: standard library only, nothing of the package.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import weakref
from pathlib import Path

GRACE_S = 1.0
"""How long servers may take to end by themselves after their kernel is gone."""

KILL_S = 0.3


class Warden:
    """The handle a kernel holds.

    Parameters
    ----------
    remove: A folder that goes with the platform, or None. It need not be there yet: a folder whose name the
        warden knew before it was made cannot be left behind.
    group: A group that exists already (a warden that died is replaced), or None to lead a new one.
    hold: File descriptors to keep open as long as anything of the group may live (a lock).

    Example
    -------
    >>> warden = Warden()
    >>> warden.group > 0
    True
    >>> warden.close()
    """

    def __init__(
        self, *, remove: Path | None = None, group: int | None = None, hold: tuple[int, ...] = ()
    ) -> None:
        reading, self._writing = os.pipe()
        try:
            self._popen = subprocess.Popen(
                [sys.executable, "-I", "-S", __file__, str(reading), str(remove) if remove else ""],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={"PATH": os.environ.get("PATH", "")},
                cwd="/",
                pass_fds=(reading, *hold),
                process_group=group or 0,
            )
        except BaseException:
            os.close(self._writing)
            raise
        finally:
            os.close(reading)
        self.group = group or self._popen.pid
        _open_wardens.add(self)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._popen.pid

    @property
    def alive(self) -> bool:
        """Whether it still watches."""
        return self._popen.poll() is None

    def wait(self) -> None:
        """Return when the warden has ended."""
        self._popen.wait()

    def release(self) -> None:
        """Close the pipe's end here without waiting (for a forked child that must not hold it)."""
        if self._writing >= 0:
            os.close(self._writing)
            self._writing = -1

    def close(self) -> None:
        """End what is left of the group, the warden included; returns when the warden is gone.

        Servers have been stopped in order before; this is for what they left behind.
        """
        _open_wardens.discard(self)
        _signal_group(self.group, signal.SIGKILL)
        self._popen.kill()
        self._popen.wait()
        self.release()


_open_wardens: weakref.WeakSet[Warden] = weakref.WeakSet()


def _release_all() -> None:
    for warden in list(_open_wardens):
        warden.release()


# A forked child (multiprocessing) would hold the pipe open and keep the servers alive without a kernel.
os.register_at_fork(after_in_child=_release_all)


def _signal_group(group: int, number: int) -> bool:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def main(reading: int, remove: str) -> None:
    """Wait for the pipe to close, then end the group this process leads."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while os.read(reading, 1):
        pass
    group = os.getpgrp()
    # In a group of its own it can see when the other is empty; its leader can only leave by a fork.
    if os.fork():
        os._exit(0)
    os.setsid()
    _signal_group(group, signal.SIGTERM)
    if not _empty_within(group, GRACE_S):
        _signal_group(group, signal.SIGKILL)
        _empty_within(group, KILL_S)
    if remove:
        shutil.rmtree(remove, ignore_errors=True)


def _empty_within(group: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while _signal_group(group, 0):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
