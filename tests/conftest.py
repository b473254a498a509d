"""What every test gets: its own folder for temporary files, and a check that it leaves nothing behind."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

LEAK_WAIT_S = 3.0
"""The promise: nothing of a platform is left this long after its end, however it ended."""


@pytest.fixture(autouse=True, scope="session")
def _temporary_root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """All temporary folders of the session below one, so that a left one is seen."""
    root = tmp_path_factory.mktemp("tmp")
    before = os.environ.get("TMPDIR")
    os.environ["TMPDIR"] = str(root)
    tempfile.tempdir = None
    yield root
    if before is None:
        del os.environ["TMPDIR"]
    else:
        os.environ["TMPDIR"] = before
    tempfile.tempdir = None


def processes_below(*folders: Path) -> list[str]:
    """The processes that work in, or were told of, one of these folders; and this process's children."""
    marks = [str(folder) for folder in folders]
    mine = {child.pid for child in psutil.Process().children(recursive=True)}
    found = []
    for process in psutil.process_iter(["pid", "cmdline", "cwd", "status"]):
        command, cwd = process.info["cmdline"] or [], process.info["cwd"] or ""
        if process.info["status"] == psutil.STATUS_ZOMBIE and process.pid not in mine:
            continue
        below = any(mark in cwd or any(mark in word for word in command) for mark in marks)
        if (below or process.pid in mine) and process.pid != os.getpid():
            found.append(f"{process.pid} {process.info['status']} {' '.join(command)[:200]}")
    return found


def new_threads(before: set[threading.Thread]) -> list[threading.Thread]:
    """Threads that were not there before, but for those a pool that was there has grown by."""
    pools = tuple(f"{thread.name}-blocking" for thread in before if thread.is_alive())
    found = [thread for thread in threading.enumerate() if thread not in before and thread.is_alive()]
    return [thread for thread in found if not (pools and thread.name.startswith(pools))]


@pytest.fixture(autouse=True)
def no_leaks(_temporary_root: Path, tmp_path: Path) -> Iterator[None]:
    """Fail a test that leaves a process, a thread or a temporary folder."""
    threads = set(threading.enumerate())
    folders = set(_temporary_root.iterdir())
    processes = set(processes_below(_temporary_root, tmp_path))
    yield
    deadline = time.monotonic() + LEAK_WAIT_S
    while True:
        left = [
            *(f"thread {thread.name}" for thread in new_threads(threads)),
            *(f"folder {folder.name}" for folder in set(_temporary_root.iterdir()) - folders),
            *(f"process {line}" for line in set(processes_below(_temporary_root, tmp_path)) - processes),
        ]
        if not left:
            return
        if time.monotonic() > deadline:
            pytest.fail("left behind: " + "; ".join(left))
        time.sleep(0.02)
