"""A platform that stays when the terminal's command has ended: ``platform-kit start`` and ``stop``.

It is a process of its own that holds a :class:`~platform_kit.platform.Platform`, supervises it, and writes
the state file of the folder. It ends with SIGTERM, and its servers with it, however it ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from platform_kit.errors import NotRunningError, PlatformKitError, StartupError, StopError
from platform_kit.platform import Platform
from platform_kit.servers.background import BackgroundState, read_state, state_path, write_state
from platform_kit.servers.process import tail
from platform_kit.servers.status import PlatformStatus, platform_status

LOG = "supervisor.log"
LOCK = "start.lock"
START_MARGIN_S = 20.0
"""What a start may take beyond the servers' own limits: Python's own, and reading from a cold disk."""


def start_background(
    folder: Path, *, workers: int = 1, durability: str = "lazy", data_dir: Path | None = None
) -> BackgroundState:
    """Start a platform that outlives this process; returns when it is ready.

    Starting twice is one start: a platform that runs already is returned as it is.

    Parameters
    ----------
    folder: Where its state file is; data goes below it unless ``data_dir`` says otherwise.

    Errors: ``StartupError`` with what the platform said.
    """
    process: subprocess.Popen[bytes] | None = None
    with _starting(folder) as lock:
        running = read_state(folder)
        if running is not None and running.is_alive():
            pid = running.pid
        else:
            state_path(folder).unlink(missing_ok=True)
            process = _spawn(folder, lock, workers, durability, data_dir)
            pid = process.pid
    try:
        return _wait_ready(folder, pid, process)
    except BaseException:
        if process is not None:
            process.terminate()
            process.wait(30)
        raise


@contextlib.contextmanager
def _starting(folder: Path) -> Iterator[int]:
    """Hold the folder's lock: from the look at the state file until whoever was started has written it."""
    base = state_path(folder).parent
    base.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(base / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock
    finally:
        os.close(lock)


def _spawn(
    folder: Path, lock: int, workers: int, durability: str, data_dir: Path | None
) -> subprocess.Popen[bytes]:
    base = state_path(folder).parent
    command = [
        sys.executable,
        "-m",
        "platform_kit.background",
        str(folder.resolve()),
        str(data_dir.resolve() if data_dir is not None else base.resolve() / "data"),
        str(workers),
        durability,
        str(lock),
    ]
    log = os.open(base / LOG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            start_new_session=True,
            pass_fds=(lock,),
        )
    finally:
        os.close(log)


def stop_background(folder: Path, *, timeout_s: float = 30.0) -> bool:
    """Stop the platform of ``folder``; False if none ran. A state left by a crash is cleared away.

    Errors: ``StopError`` when it does not end within ``timeout_s`` seconds.
    """
    state = read_state(folder)
    if state is None or not state.is_alive():
        state_path(folder).unlink(missing_ok=True)
        return False
    os.kill(state.pid, signal.SIGTERM)
    deadline = time.monotonic() + timeout_s
    while state.is_alive():
        if time.monotonic() > deadline:
            raise StopError(
                f"The platform of {folder} (process {state.pid}) did not end within {timeout_s:g} s.",
                hint=f"`kill -9 {state.pid}` ends it; its servers then end by themselves.",
            )
        time.sleep(0.01)
    state_path(folder).unlink(missing_ok=True)
    return True


def background_state(folder: Path) -> BackgroundState:
    """What the platform of ``folder`` wrote of itself, also while a part of it is down.

    Errors: ``NotRunningError``.
    """
    state = read_state(folder)
    if state is None or not state.is_alive():
        raise NotRunningError(f"No platform runs in {folder}.", hint="Run `platform-kit start`.")
    return state


def background_status(folder: Path) -> PlatformStatus:
    """The status of the platform of ``folder``. Raises ``NotRunningError``."""
    state = background_state(folder)
    return platform_status(
        state.services,
        state.versions,
        nats_url=state.nats_url or None,
        wombat_url=state.wombat_url or None,
        data_dir=Path(state.data_dir),
        durability=state.durability,
        attached=True,
    )


def _wait_ready(folder: Path, pid: int, process: subprocess.Popen[bytes] | None) -> BackgroundState:
    deadline = time.monotonic() + START_MARGIN_S * 3
    while True:
        # Asked first: what it wrote before it ended is then there to be read.
        ended = process is not None and process.poll() is not None
        state = read_state(folder)
        if state is not None and state.pid == pid:
            if state.ready:
                return state
            if state.problem:
                raise StartupError("The platform did not start.", log_tail=state.problem)
        if ended or (process is None and (state is None or not state.is_alive())):
            raise StartupError(
                "The platform ended while it was starting.",
                exit_code=process.returncode if process is not None else None,
                log_tail=tail(state_path(folder).parent / LOG, 20),
            )
        if time.monotonic() > deadline:
            raise StartupError(
                f"The platform was not ready within {START_MARGIN_S * 3:g} s.",
                log_tail=tail(state_path(folder).parent / LOG, 20),
            )
        time.sleep(0.01)


def serve(folder: Path, data_dir: Path, workers: int, durability: str, lock: int) -> int:
    """Run a platform until SIGTERM; the main function of the background process."""
    import psutil

    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    platform = Platform(data_dir, workers=workers, durability=durability)
    state = BackgroundState(
        pid=os.getpid(),
        pid_created=psutil.Process().create_time(),
        ready=False,
        data_dir=str(data_dir),
        durability=durability,
    )
    write_state(folder, state)
    os.close(lock)
    try:
        platform.start()
    except PlatformKitError as error:
        print(error, file=sys.stderr, flush=True)
        write_state(folder, replace(state, problem=str(error)))
        return 1
    changed = threading.Event()
    platform.on_change(changed.set)
    try:
        changed.set()
        while not ending.is_set():
            # Looked at in turns, so that neither a signal nor a change waits for the other.
            if changed.wait(0.2):
                changed.clear()
                write_state(folder, _current(platform, state))
    finally:
        platform.stop()
    return 0


def _current(platform: Platform, state: BackgroundState) -> BackgroundState:
    services, versions = platform.service_states()
    return replace(
        state,
        ready=True,
        nats_url=platform.nats_url,
        wombat_url=platform.wombat_url,
        credentials=str(platform.credentials_file("admin").parent),
        versions=versions,
        services=list(services),
    )


if __name__ == "__main__":
    sys.exit(serve(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4], int(sys.argv[5])))
