"""What several tests use: a misbehaving server, and waiting for a condition with a limit."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

from platform_kit.servers.process import Process, Spec

FAKE = Path(__file__).parent / "process" / "fake_server.py"


class Fake:
    """A fake server as a supervised service."""

    def __init__(self, mode: str, folder: Path) -> None:
        self.name = f"fake-{mode}"
        self.mode = mode
        self.ready_file = folder / "ready"
        self.log_path = folder / "fake.log"

    def spec(self) -> Spec:
        self.ready_file.unlink(missing_ok=True)
        command = (sys.executable, "-I", str(FAKE), self.mode, str(self.ready_file))
        return Spec(self.name, command, self.log_path)

    def ready(self, process: Process) -> bool:
        return self.ready_file.exists() and self.ready_file.read_text() == str(process.pid)


def wait_for(condition: Callable[[], bool], what: str, timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {timeout_s} s"
        time.sleep(0.005)
