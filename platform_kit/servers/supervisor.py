"""Keep one service running: start it, notice when it ends, start it again with back-off, stop it.

A :class:`Service` says what a server is (its command, when it is ready); a :class:`Supervisor` says what
happens to it. The desired state (it should run) is kept apart from the observed one (:class:`State`).
"""

from __future__ import annotations

import enum
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from platform_kit.errors import ServerError, StartupError
from platform_kit.servers.process import Cancelled, Process, Spec

FIRST_BACKOFF_S = 0.05
LONGEST_BACKOFF_S = 5.0
STABLE_AFTER_S = 10.0
"""A service that ran this long before it ended starts again with the first, short pause."""


class State(enum.Enum):
    """What a supervised service is doing."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    RESTARTING = "restarting"


class Service(Protocol):
    """What a supervisor needs to know of a server."""

    name: str
    log_path: Path

    def spec(self) -> Spec:
        """Write what the process reads at its start, and say how to run it."""
        ...

    def ready(self, process: Process) -> bool:
        """Whether it answers, asked again and again; never waits long."""
        ...


@dataclass(frozen=True)
class ServiceState:
    """A snapshot of one service.

    ``uptime_s`` is in seconds since the present process was started, ``restarts`` counts the starts after
    a crash.
    """

    name: str
    state: State
    pid: int | None
    started_at: float | None
    restarts: int
    last_problem: str


class Supervisor:
    """Runs one service in the platform's process group.

    Parameters
    ----------
    service: What to run.
    group: The warden's process group.
    startup_timeout_s, stop_timeout_s: Limits for one start and for asking it to end, in seconds.
    on_restart: Called, in the supervisor's thread, each time the service is ready again after a crash.
    on_change: Called after each change of state.
    """

    def __init__(
        self,
        service: Service,
        *,
        group: int | None,
        startup_timeout_s: float,
        stop_timeout_s: float,
        on_restart: Callable[[], None] = lambda: None,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.service = service
        self._group = group
        self._startup_timeout_s = startup_timeout_s
        self._stop_timeout_s = stop_timeout_s
        self._on_restart = on_restart
        self._on_change = on_change
        self._process: Process | None = None
        self._state = State.STOPPED
        self._restarts = 0
        self._last_problem = ""
        self._stopping = threading.Event()
        self._watcher: threading.Thread | None = None

    @property
    def process(self) -> Process | None:
        """The present process; None before the first start and after the stop."""
        return self._process

    def snapshot(self) -> ServiceState:
        """The service as it is now."""
        process = self._process
        return ServiceState(
            name=self.service.name,
            state=self._state,
            pid=process.pid if process and self._state is not State.STOPPED else None,
            started_at=process.started_at if process and self._state is State.RUNNING else None,
            restarts=self._restarts,
            last_problem=self._last_problem,
        )

    def launch(self) -> None:
        """Start the process without waiting; :meth:`wait_ready` completes the start."""
        self._stopping.clear()
        self._set(State.STARTING)
        self._process = Process(self.service.spec(), group=self._group)

    def wait_ready(self, cancel: threading.Event | None = None) -> None:
        """Wait until the service answers, then watch it. Raises ``StartupError`` or ``Cancelled``."""
        assert self._process is not None
        self._await_ready(self._process, cancel)
        self._watcher = threading.Thread(
            target=self._watch, name=f"platform-kit-{self.service.name}", daemon=True
        )
        self._watcher.start()

    def start(self, cancel: threading.Event | None = None) -> None:
        """Launch and wait until ready."""
        self.launch()
        self.wait_ready(cancel)

    def stop(self) -> None:
        """End the service and stop watching; does nothing if it does not run."""
        self._stopping.set()
        if self._process is not None:
            asked = self._process.stop(self._stop_timeout_s)
            if not asked:
                self._last_problem = f"did not end within {self._stop_timeout_s:g} s and was killed"
        if self._watcher is not None and self._watcher is not threading.current_thread():
            self._watcher.join(self._stop_timeout_s + self._startup_timeout_s)
            self._watcher = None
        # The watcher may have started another process just before it saw the flag.
        if self._process is not None and self._process.exit_code is None:
            self._process.stop(self._stop_timeout_s)
        self._process = None
        self._set(State.STOPPED)

    def _await_ready(self, process: Process, cancel: threading.Event | None) -> None:
        process.wait_until(
            lambda: self.service.ready(process), timeout_s=self._startup_timeout_s, cancel=cancel
        )
        self._set(State.RUNNING)

    def _set(self, state: State) -> None:
        self._state = state
        self._on_change()

    def _watch(self) -> None:
        pause = FIRST_BACKOFF_S
        while not self._stopping.is_set():
            process = self._process
            assert process is not None
            code = process.wait()
            if self._stopping.is_set():
                return
            if time.time() - process.started_at > STABLE_AFTER_S:
                pause = FIRST_BACKOFF_S
            self._restarts += 1
            self._last_problem = _describe_exit(code)
            self._set(State.RESTARTING)
            if self._stopping.wait(pause):
                return
            pause = min(pause * 2, LONGEST_BACKOFF_S)
            self._start_again()

    def _start_again(self) -> None:
        """One attempt; if it fails, the watcher sees an ended process and tries again later."""
        try:
            process = Process(self.service.spec(), group=self._group)
        except (ServerError, OSError) as error:
            self._last_problem = str(error)
            return
        self._process = process
        try:
            self._await_ready(process, self._stopping)
            self._on_restart()
        except Cancelled:
            return
        except Exception as error:  # whatever it was must not end the watching
            self._last_problem = error.what if isinstance(error, StartupError) else str(error)
            process.kill()


def _describe_exit(code: int | None) -> str:
    if code is not None and code < 0:
        return f"ended by signal {-code}"
    return f"ended with exit code {code}"
