"""One process: ready, not ready, stopped, killed, with a real child that misbehaves."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from support import FAKE, Fake

from platform_kit.errors import StartupError
from platform_kit.servers.process import Cancelled, Process, Spec

Launch = Callable[[str], tuple[Fake, Process]]


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    started: list[Process] = []

    def start(mode: str) -> tuple[Fake, Process]:
        fake = Fake(mode, tmp_path)
        process = Process(fake.spec())
        started.append(process)
        return fake, process

    yield start
    for process in started:
        process.stop(0.1)


def test_ready_and_stopped_when_asked(launch: Launch) -> None:
    fake, process = launch("good")
    process.wait_until(lambda: fake.ready(process), timeout_s=10)
    assert process.exit_code is None
    assert process.stop(5.0) is True
    assert process.exit_code == -15


def test_one_that_exits_says_its_code_and_its_log(launch: Launch) -> None:
    fake, process = launch("exits")
    with pytest.raises(StartupError) as caught:
        process.wait_until(lambda: fake.ready(process), timeout_s=10)
    assert caught.value.exit_code == 3
    assert "no such option: --frobnicate" in caught.value.log_tail
    assert str(FAKE) in str(caught.value) and "exit code: 3" in str(caught.value)


def test_a_silent_one_is_given_up_in_time(launch: Launch) -> None:
    fake, process = launch("silent")
    before = time.monotonic()
    with pytest.raises(StartupError, match=r"not ready within 0\.5 s"):
        process.wait_until(lambda: fake.ready(process), timeout_s=0.5)
    assert time.monotonic() - before < 5.0


def test_waiting_can_be_cancelled(launch: Launch) -> None:
    fake, process = launch("silent")
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Cancelled):
        process.wait_until(lambda: fake.ready(process), timeout_s=60, cancel=cancel)


def test_a_stubborn_one_is_killed(launch: Launch) -> None:
    fake, process = launch("stubborn")
    process.wait_until(lambda: fake.ready(process), timeout_s=10)
    assert process.stop(0.2) is False
    assert process.exit_code == -9


def test_what_it_forked_goes_too(launch: Launch, tmp_path: Path) -> None:
    fake, process = launch("forks")
    process.wait_until(lambda: fake.ready(process), timeout_s=10)
    child = psutil.Process(int((tmp_path / "ready.child").read_text()))
    process.stop(5.0)
    child.wait(3.0)
    assert not child.is_running()


def test_a_flood_of_output_neither_blocks_nor_fills_memory(launch: Launch) -> None:
    fake, process = launch("floods")
    process.wait_until(lambda: fake.ready(process), timeout_s=30)
    assert fake.log_path.stat().st_size > 19_000_000
    assert len(process.log_tail(10)) < 11_000


def test_the_log_of_an_earlier_start_is_not_shown(launch: Launch, tmp_path: Path) -> None:
    (tmp_path / "fake.log").write_text("an old complaint\n")
    fake, process = launch("exits")
    with pytest.raises(StartupError) as caught:
        process.wait_until(lambda: fake.ready(process), timeout_s=10)
    assert "an old complaint" not in caught.value.log_tail
    assert "an old complaint" in (tmp_path / "fake.log").read_text()


def test_a_missing_program_is_a_startup_error(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="could not be started: No such file"):
        Process(Spec("nothing", ("/nonexistent/program",), tmp_path / "x.log"))


def test_secrets_of_the_notebook_stay_out_of_its_environment(
    launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    _, process = launch("silent")
    assert "AWS_SECRET_ACCESS_KEY" not in psutil.Process(process.pid).environ()
