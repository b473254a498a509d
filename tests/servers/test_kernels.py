"""Real Jupyter kernels, papermill and pytest: however they end, nothing of the platform is left."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest
from conftest import LEAK_WAIT_S
from jupyter_client.manager import KernelManager
from jupyter_core.utils import ensure_event_loop
from nbformat import v4
from support import wait_for

REPLY_S = 60.0
START = """
from platform_kit import Deck, Platform
platform = Platform().start()
print(*(service.pid for service in platform.status().services), platform.data_dir)
"""
LEFT = """
import os, psutil, threading
print([child.name() for child in psutil.Process().children(recursive=True)], platform.running)
"""


@dataclass
class Ran:
    """What a cell printed, and the name of its error."""

    text: str = ""
    error: str = ""
    traceback: list[str] = field(default_factory=list)


class Kernel:
    """A kernel and the few things the tests do with it."""

    def __init__(self, folder: Path) -> None:
        self.manager = KernelManager(kernel_name="python3")
        self.manager.start_kernel(
            cwd=str(folder), extra_arguments=["--Application.log_level=ERROR"], stderr=subprocess.DEVNULL
        )
        self.client = self.manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=REPLY_S)

    @property
    def pid(self) -> int:
        pid = self.manager.provisioner.pid  # type: ignore[union-attr]
        assert isinstance(pid, int)
        return pid

    def run(self, code: str) -> Ran:
        return self.wait(self.client.execute(code))

    def wait(self, message_id: str) -> Ran:
        ran = Ran()

        def collect(message: dict[str, Any]) -> None:
            content = message["content"]
            if message["msg_type"] == "stream" and content["name"] == "stdout":
                ran.text += content["text"]

        reply: dict[str, Any] = {}
        deadline = time.monotonic() + REPLY_S
        while reply.get("parent_header", {}).get("msg_id") != message_id:
            reply = self.client.get_shell_msg(timeout=deadline - time.monotonic())
        idle = False
        while not idle:
            message = self.client.get_iopub_msg(timeout=deadline - time.monotonic())
            if message["parent_header"].get("msg_id") == message_id:
                collect(message)
                idle = message["msg_type"] == "status" and message["content"]["execution_state"] == "idle"
        if reply["content"]["status"] == "error":
            ran.error, ran.traceback = reply["content"]["ename"], reply["content"]["traceback"]
        return ran

    def start_platform(self) -> tuple[list[int], Path]:
        ran = self.run(START)
        assert not ran.error, ran.traceback
        *pids, folder = ran.text.split()
        assert len(pids) == 3 and all(psutil.pid_exists(int(pid)) for pid in pids)
        return [int(pid) for pid in pids], Path(folder)


@contextmanager
def kernel(folder: Path) -> Iterator[Kernel]:
    one = Kernel(folder)
    try:
        yield one
    finally:
        one.client.stop_channels()
        if one.manager.has_kernel:
            one.manager.shutdown_kernel(now=True)
        one.manager.cleanup_resources()


@pytest.fixture(autouse=True, scope="module")
def _loop_of_jupyter_client() -> Iterator[None]:
    """jupyter_client keeps an event loop of its own for its blocking calls, and leaves it open."""
    yield
    ensure_event_loop().close()


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def nothing_left(pids: list[int], folder: Path, ended: float) -> None:
    """Wait until the servers and their folder are gone, no longer than was promised."""
    wait_for(
        lambda: not any(alive(pid) for pid in pids) and not folder.exists(),
        "the end of the servers and their folder",
        max(0.05, ended + LEAK_WAIT_S - time.monotonic()),
    )


def below(folder: Path) -> list[psutil.Process]:
    """The processes that were told of a folder."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd", "status"]):
        words = [*(process.info["cmdline"] or []), process.info["cwd"] or ""]
        if process.info["status"] != psutil.STATUS_ZOMBIE and any(str(folder) in word for word in words):
            found.append(process)
    return found


# ------------------------------------------------------------------------------------- kernels


def test_platforms_of_two_kernels_do_not_meet_and_end_with_them(tmp_path: Path) -> None:
    cell = "run = platform.generate(Deck([{'id': 'one', 'name': '%s'}]), progress=False); print(run.counts)"
    with kernel(tmp_path) as first, kernel(tmp_path) as second:
        pids, folder = first.start_platform()
        others, other_folder = second.start_platform()
        assert set(pids).isdisjoint(others) and folder != other_folder
        for one in (first, second):
            counts = one.run(cell % "The same card")
            # If they met, the second would find the first one's picture: unchanged.
            assert "'rendered': 1, 'unchanged': 0" in counts.text, counts
        os.kill(first.pid, signal.SIGKILL)
        nothing_left(pids, folder, time.monotonic())
        assert all(alive(pid) for pid in others)
        assert "'unchanged': 1" in second.run(cell % "The same card").text
        second.manager.restart_kernel(now=False)
        nothing_left(others, other_folder, time.monotonic())


def test_a_restart_of_the_kernel_ends_its_servers_and_the_next_can_start(tmp_path: Path) -> None:
    with kernel(tmp_path) as one:
        for _ in range(2):
            pids, folder = one.start_platform()
            one.manager.restart_kernel(now=True)
            nothing_left(pids, folder, time.monotonic())
            one.client.wait_for_ready(timeout=REPLY_S)


def test_cells_with_top_level_await(tmp_path: Path) -> None:
    with kernel(tmp_path) as one:
        one.start_platform()
        cell = """
import json
nc = await platform.connect()
reply = await nc.request("$SYS.REQ.USER.INFO", timeout=5)
print(json.loads(reply.data)["data"]["account"])
run = platform.generate(Deck([{"id": "a", "name": "A"}]), progress=False)
print(run.rendered)
job = await platform.generate(Deck([{"id": "b", "name": "B"}]), wait=False, progress=False)
print(job.rendered, (await nc.jetstream().stream_info("CARD_RESULTS")).state.messages)
await nc.close()
"""
        ran = one.run(cell)
        assert not ran.error, ran.traceback
        assert ran.text.split() == ["PLATFORM", "1", "1", "2"]
        assert one.run(
            "platform.stop(); platform.start(); platform.stop(); print(platform.running)"
        ).text == ("False\n")


def test_interrupting_the_starting_cell_leaves_nothing(tmp_path: Path) -> None:
    # The moments are spread over a start, which is then complete, or undone.
    interrupted = 0
    with kernel(tmp_path) as one:
        one.run("from platform_kit import Platform")
        for moment_s in (0.0, 0.005, 0.02, 0.04, 0.06, 0.08, 0.1, 0.15):
            message = one.client.execute(
                "import time; platform = Platform(); print('begin', flush=True)\n"
                "platform.start(); time.sleep(20)"
            )
            while one.client.get_iopub_msg(timeout=REPLY_S)["msg_type"] != "stream":
                pass
            threading.Event().wait(moment_s)
            one.manager.interrupt_kernel()
            ran = one.wait(message)
            assert ran.error == "KeyboardInterrupt", ran
            left = one.run(LEFT).text.strip()
            if left != "[] False":
                # Interrupted once the start was complete: its servers are up, all of them.
                assert left.endswith("True") and left.count("nats-server") == 1, left
                one.run("platform.stop()")
                left = one.run(LEFT).text.strip()
            else:
                interrupted += 1
            assert left == "[] False"
        assert interrupted > 0


def test_interrupting_a_cell_leaves_the_servers_as_they_are(tmp_path: Path) -> None:
    # The signal goes to the kernel's whole process group; the servers are in another.
    with kernel(tmp_path) as one:
        pids, _ = one.start_platform()
        message = one.client.execute("print('begin', flush=True); import time; time.sleep(20)")
        while one.client.get_iopub_msg(timeout=REPLY_S)["msg_type"] != "stream":
            pass
        one.manager.interrupt_kernel()
        assert one.wait(message).error == "KeyboardInterrupt"
        state = one.run("s = platform.status(); print(s.state, *(x.pid for x in s.services))")
        assert state.text.split() == ["running", *map(str, pids)]


# ------------------------------------------------------------------------------------- papermill, pytest


def wait_for_line(process: subprocess.Popen[str], pattern: str) -> re.Match[str]:
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line)
        if match := re.search(pattern, line):
            return match
    raise AssertionError("it ended: " + "".join(seen))


def test_a_killed_papermill_leaves_nothing(tmp_path: Path) -> None:
    started = tmp_path / "started"
    notebook = v4.new_notebook(  # type: ignore[no-untyped-call]
        cells=[
            v4.new_code_cell(START),  # type: ignore[no-untyped-call]
            v4.new_code_cell(  # type: ignore[no-untyped-call]
                "import os, pathlib, time\n"
                "pids = [os.getpid(), *(service.pid for service in platform.status().services)]\n"
                "words = ' '.join(map(str, [*pids, platform.data_dir, '']))\n"
                f"pathlib.Path({str(started)!r}).write_text(words)\n"
                "time.sleep(60)"
            ),
        ],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )
    nbformat.write(notebook, tmp_path / "in.ipynb")  # type: ignore[no-untyped-call]
    command = [sys.executable, "-m", "papermill", "--no-progress-bar", "in.ipynb", "out.ipynb"]
    # papermill leaves its own connection file there.
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL) as process:
        wait_for(lambda: started.exists() and started.read_text().endswith(" "), "the start", REPLY_S)
        kernel_pid, *pids, folder = started.read_text().split()
        process.kill()
        process.wait()
        # A kernel whose parent is gone ends by itself, and then the servers with it.
        nothing_left([int(kernel_pid), *map(int, pids)], Path(folder), time.monotonic())


def test_a_killed_pytest_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "test_held.py").write_text(
        "import time\nfrom platform_kit import Platform\n\n"
        "def test_held():\n"
        "    with Platform() as platform:\n"
        "        print('held', *(s.pid for s in platform.status().services), platform.data_dir, flush=True)\n"
        "        time.sleep(60)\n"
    )
    command = [sys.executable, "-m", "pytest", "-s", "-p", "no:cacheprovider", "test_held.py"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        *pids, folder = wait_for_line(process, r"held (.*)")[1].split()
        process.kill()
        process.wait()
        nothing_left([int(pid) for pid in pids], Path(folder), time.monotonic())


# ------------------------------------------------------------------------------------- within a start

BEGIN = """
from platform_kit import Platform
platform = Platform()
print("begin", flush=True)
platform.start()
print("up", flush=True)
input()
"""


@pytest.mark.parametrize("moment_s", [0.0, 0.005, 0.015, 0.03, 0.05, 0.08, 0.12])
def test_killed_in_the_middle_of_a_start_leaves_nothing(tmp_path: Path, moment_s: float) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", BEGIN],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path.parent,
        env=environment,
    ) as process:
        wait_for_line(process, "begin")
        threading.Event().wait(moment_s)
        process.kill()
        process.wait()
        ended = time.monotonic()
        wait_for(
            lambda: not below(tmp_path) and not list(tmp_path.iterdir()),
            "the end of all that was started",
            max(0.05, ended + LEAK_WAIT_S - time.monotonic()),
        )


def test_killed_in_the_middle_of_a_start_lets_the_folder_be_used_again(tmp_path: Path) -> None:
    # Two seconds after a kill the folder must be free: the next start waits for the warden, no longer.
    folder = tmp_path / "data"
    held = BEGIN.replace("Platform()", f"Platform({str(folder)!r})")
    for wait in ("begin", "up"):
        with subprocess.Popen(
            [sys.executable, "-c", held], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            wait_for_line(process, wait)
            process.kill()
    done = subprocess.run(
        [sys.executable, "-c", held], input="\n", capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((folder / "ports.json").read_text())
