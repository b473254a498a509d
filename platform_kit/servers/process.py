"""One process of the platform: launch, poll, wait until ready, stop, read its log.

Each step is separate and shares one budget of time. Output goes to a file, never to a pipe: a pipe that
nobody drains freezes the process behind it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from platform_kit.errors import StartupError

TAIL_BYTES = 64 * 1024
QUICK_S = 0.3
"""How long a starting process is asked every two milliseconds; after that, every twenty."""


class Cancelled(Exception):
    """Somebody asked a start to end before it was complete."""


@dataclass(frozen=True)
class Spec:
    """What to run. ``command`` and ``env`` never hold a secret: both can be read with ``ps``."""

    name: str
    command: Sequence[str]
    log_path: Path
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None


class Process:
    """A child process in the platform's process group.

    Parameters
    ----------
    spec: What to run.
    group: The process group to join, so that the warden ends it too; None for a group of its own.
    """

    def __init__(self, spec: Spec, *, group: int | None = None) -> None:
        self.spec = spec
        self.started_at = time.time()
        # O_APPEND: a truncated log does not leave a hole, and earlier starts stay readable.
        log = os.open(spec.log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._log_start = os.fstat(log).st_size
        try:
            self._popen = subprocess.Popen(
                list(spec.command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=base_environment() | dict(spec.env),
                cwd=spec.cwd,
                process_group=group if group is not None else 0,
            )
        except OSError as error:
            raise StartupError(
                f"{spec.name} could not be started: {error.strerror} ({spec.command[0]}).",
                command=spec.command,
                hint="Run `platform-kit doctor`; it says what is missing.",
            ) from error
        finally:
            os.close(log)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._popen.pid

    @property
    def exit_code(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._popen.poll()

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Wait for the end; None if ``timeout_s`` ran out first."""
        try:
            return self._popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def log_tail(self, lines: int = 20) -> str:
        """The last lines this process wrote, without those of an earlier start."""
        return tail(self.spec.log_path, lines, since=self._log_start)

    def wait_until(
        self,
        ready: Callable[[], bool],
        *,
        timeout_s: float,
        cancel: threading.Event | None = None,
    ) -> None:
        """Poll ``ready`` until it is true.

        Raises ``StartupError`` when it ends or the time runs out, ``Cancelled`` when ``cancel`` is set.
        """
        deadline = time.monotonic() + timeout_s
        pause = 0.0005
        patient_from = time.monotonic() + QUICK_S
        while True:
            if cancel is not None and cancel.is_set():
                raise Cancelled
            # Asked before readiness: something else may answer on the port of a process that is gone.
            if (code := self.exit_code) is not None:
                raise StartupError(
                    f"{self.spec.name} ended before it was ready.",
                    command=self.spec.command,
                    exit_code=code,
                    log_tail=self.log_tail(),
                    hint="The log above says why.",
                )
            if ready():
                return
            if time.monotonic() > deadline:
                raise StartupError(
                    f"{self.spec.name} was not ready within {timeout_s:g} s.",
                    command=self.spec.command,
                    log_tail=self.log_tail(),
                    hint="Set PLATFORM_KIT_STARTUP_TIMEOUT_S higher if this machine is slow.",
                )
            time.sleep(pause)
            pause = min(pause * 1.5, 0.02 if time.monotonic() > patient_from else 0.002)

    def stop(self, timeout_s: float) -> bool:
        """Ask it to end, wait, then kill; its own children too. True if it went when asked."""
        children = descendants(self.pid)
        asked = True
        if self.exit_code is None:
            self._popen.terminate()
            if self.wait(timeout_s) is None:
                asked = False
                self._popen.kill()
                self._popen.wait()
        for child in children:
            kill_quietly(child)
        return asked

    def kill(self) -> None:
        """End it at once."""
        self._popen.kill()
        self._popen.wait()


def base_environment() -> dict[str, str]:
    """The few variables a server needs; the notebook's own, which may hold secrets, stay here."""
    keep = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR")
    return {name: os.environ[name] for name in keep if name in os.environ}


def tail(path: Path, lines: int, *, since: int = 0) -> str:
    """The last ``lines`` lines of a file, reading no more than its last 64 KiB."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(since if since <= size else 0, size - TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def descendants(pid: int) -> list[int]:
    """The process ids below ``pid``; empty when it is gone."""
    import psutil

    try:
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    except psutil.Error:
        return []


def kill_quietly(pid: int) -> None:
    """SIGKILL to a process that may be gone already."""
    try:
        os.kill(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
