"""CPU time and memory of a platform's processes."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

import psutil

if TYPE_CHECKING:
    from platform_kit import Platform

SAMPLE_EVERY_S = 0.05


def pid_of(platform: Platform, service: str) -> int:
    """The process id of a service, such as ``wombat`` or ``card-renderer-1``, as it is now."""
    states, _ = platform.service_states()
    found = next(state.pid for state in states if state.name == service)
    assert found is not None, f"{service} does not run"
    return found


def services(platform: Platform) -> dict[str, psutil.Process]:
    """The servers and workers, by name."""
    states, _ = platform.service_states()
    return {state.name: psutil.Process(state.pid) for state in states if state.pid is not None}


class Cpu:
    """CPU seconds, user and system, that each service and this process take inside a ``with`` block.

    Parameters
    ----------
    platform: Whose services.
    workers: Ids of further processes to count as workers.

    Attributes
    ----------
    seconds: By service; those of all worker processes are together under ``worker``, those of this process
        under ``python``.
    """

    def __init__(self, platform: Platform, workers: Sequence[int] = ()) -> None:
        self._services = services(platform) | {f"worker {pid}": psutil.Process(pid) for pid in workers}
        self.seconds: dict[str, float] = {}

    def _now(self) -> dict[str, float]:
        taken = {"python": time.process_time()}
        for name, process in self._services.items():
            key = name if name in ("nats-server", "wombat") else "worker"
            times = process.cpu_times()
            taken[key] = taken.get(key, 0.0) + times.user + times.system
        return taken

    def __enter__(self) -> Self:
        self._before = self._now()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.seconds = {name: value - self._before[name] for name, value in self._now().items()}


class Memory:
    """The largest resident set of a platform inside a ``with`` block, in bytes.

    All processes of its group count: servers, workers and the warden. This Python does not; it is the
    user's, and reads the deck.

    Attributes
    ----------
    peak: Of the sum; ``parts`` has what each process had at that moment.
    """

    def __init__(self, platform: Platform) -> None:
        group = os.getpgid(pid_of(platform, "nats-server"))
        self._processes = [process for process in psutil.process_iter() if _group(process.pid) == group]
        self._stopped = threading.Event()
        self._sampler = threading.Thread(target=self._sample, name="benchmark-memory", daemon=True)
        self.peak = 0
        self.parts: dict[str, int] = {}

    def _sample(self) -> None:
        while True:
            sizes = [(process.name(), process.memory_info().rss) for process in self._processes]
            total = sum(size for _, size in sizes)
            if total > self.peak:
                self.peak, self.parts = total, dict(sizes)
            if self._stopped.wait(SAMPLE_EVERY_S):
                return

    def __enter__(self) -> Self:
        self._sampler.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._sampler.join()


def _group(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except OSError:
        return None
