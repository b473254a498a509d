"""The command ``platform-kit`` as a person runs it: a process in a folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from platform_kit.servers.background import state_path

ROOT = Path(__file__).parents[1]
COMMAND = Path(sys.executable).with_name("platform-kit")


def command(
    folder: Path,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    module: bool = False,
    timeout_s: float = 100,
) -> subprocess.CompletedProcess[str]:
    """Run the command in ``folder`` to its end."""
    start = [sys.executable, "-m", "platform_kit"] if module else [str(COMMAND)]
    return subprocess.run(
        [*start, *arguments],
        cwd=folder,
        env={**os.environ, "COLUMNS": "200", **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def answer(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The one JSON object on the last line of what a command printed."""
    found = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(found, dict)
    return found


def state(folder: Path) -> dict[str, Any]:
    """The state file of the background platform."""
    found = json.loads(state_path(folder).read_text())
    assert isinstance(found, dict)
    return found


def service_pids(folder: Path) -> dict[str, int]:
    return {service["name"]: service["pid"] for service in state(folder)["services"]}


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@contextmanager
def background(folder: Path, *options: str) -> Iterator[Path]:
    """A platform that ``platform-kit start`` keeps running in ``folder``."""
    folder.mkdir(exist_ok=True)
    started = command(folder, "start", *options)
    try:
        assert started.returncode == 0, started.stderr
        yield folder
    finally:
        stopped = command(folder, "stop")
        assert stopped.returncode == 0, stopped.stderr
