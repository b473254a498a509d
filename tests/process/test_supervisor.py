"""A supervised service comes back when it ends, until it is stopped."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support import Fake, wait_for

from platform_kit.errors import StartupError
from platform_kit.servers.supervisor import State, Supervisor


def supervisor(mode: str, folder: Path, **hooks: Callable[[], None]) -> Supervisor:
    return Supervisor(Fake(mode, folder), group=None, startup_timeout_s=10.0, stop_timeout_s=1.0, **hooks)


def test_a_killed_service_comes_back_and_is_counted(tmp_path: Path) -> None:
    back = threading.Event()
    watched = supervisor("good", tmp_path, on_restart=back.set)
    watched.start()
    try:
        first = watched.snapshot()
        assert first.state is State.RUNNING and first.restarts == 0 and first.pid is not None
        os.kill(first.pid, signal.SIGKILL)
        assert back.wait(10.0)
        second = watched.snapshot()
        assert second.state is State.RUNNING and second.restarts == 1 and second.pid != first.pid
        assert second.last_problem == "ended by signal 9"
    finally:
        watched.stop()
    assert watched.snapshot().state is State.STOPPED


def test_one_that_keeps_crashing_is_started_with_growing_pauses(tmp_path: Path) -> None:
    starts: list[float] = []
    watched = supervisor("crashes", tmp_path, on_restart=lambda: starts.append(time.monotonic()))
    watched.start()
    try:
        wait_for(lambda: len(starts) >= 4, "a fourth restart")
        pauses = [later - earlier for earlier, later in itertools.pairwise(starts)]
        assert pauses[-1] > pauses[0], pauses
        assert watched.snapshot().last_problem == "ended with exit code 9"
    finally:
        watched.stop()


def test_a_first_start_that_fails_is_an_error_and_is_not_tried_again(tmp_path: Path) -> None:
    watched = supervisor("exits", tmp_path)
    with pytest.raises(StartupError):
        watched.start()
    assert watched.snapshot().restarts == 0
    watched.stop()


def test_a_failing_hook_counts_as_a_failed_restart(tmp_path: Path) -> None:
    calls: list[int] = []

    def hook() -> None:
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("the pipelines could not be deployed")

    watched = supervisor("good", tmp_path, on_restart=hook)
    watched.start()
    try:
        pid = watched.snapshot().pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: len(calls) == 2, "another attempt")
        assert watched.snapshot().restarts == 2
    finally:
        watched.stop()


def test_stopping_during_the_pause_ends_it(tmp_path: Path) -> None:
    watched = supervisor("crashes", tmp_path)
    watched.start()
    wait_for(lambda: watched.snapshot().restarts >= 3, "a third crash")
    before = time.monotonic()
    watched.stop()
    assert time.monotonic() - before < 5.0
    restarts = watched.snapshot().restarts
    assert watched.process is None
    assert watched.snapshot().restarts == restarts


def test_stopping_twice_is_one_stop(tmp_path: Path) -> None:
    watched = supervisor("good", tmp_path)
    watched.start()
    watched.stop()
    watched.stop()
    assert watched.snapshot().state is State.STOPPED
