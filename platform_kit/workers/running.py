"""What a cell shows of workers: the processes one started, and all that answer on NATS."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from platform_kit.reprs import Shown, StatusCard, Table, Tone, human_bytes, human_count, human_seconds
from platform_kit.servers.fleet import Fleet
from platform_kit.servers.status import memory_of
from platform_kit.servers.supervisor import ServiceState, State
from platform_kit.workers.program import Program

if TYPE_CHECKING:
    import pandas as pd
    from nats.aio.client import Client

QUIET_S = 0.15
"""How long nobody has to answer for all to have answered."""

SHOWN_BUILD = 12


class WorkerProcesses(Shown):
    """The processes of one worker, as they are whenever they are shown.

    Attributes
    ----------
    name: What they are called: ``platform.scale_workers(name, n)``.
    program: The binary and what it says of itself.
    """

    def __init__(self, name: str, program: Program, fleet: Fleet) -> None:
        self.name = name
        self.program = program
        self._fleet = fleet

    @property
    def subject(self) -> str:
        """Where requests go."""
        return f"workers.{self.program.name}"

    @property
    def count(self) -> int:
        """How many processes there should be."""
        return self._fleet.count(self.name)

    @property
    def processes(self) -> list[ServiceState]:
        """Each process now."""
        return self._fleet.snapshots(self.name)

    def text(self) -> str:
        """The table as text."""
        return self._card().text()

    def html(self) -> str:
        """The table as HTML."""
        return self._card().html()

    def _card(self) -> StatusCard:
        processes = self.processes
        running = sum(process.state is State.RUNNING for process in processes)
        facts = {
            "subject": self.subject,
            "version": self.program.version or None,
            "build": self.program.build[:SHOWN_BUILD] or None,
            "from": self.program.source,
        }
        rows = [_row(process) for process in processes]
        columns = ["process", "state", "pid", "up", "memory", "restarts", "last problem"]
        if not any(process.last_problem for process in processes):
            columns, rows = columns[:-1], [row[:-1] for row in rows]
        state = (
            f"{running} running" if running == len(processes) else f"{running} of {len(processes)} running"
        )
        tone: Tone = "quiet" if not processes else "good" if running == len(processes) else "busy"
        return StatusCard(self.name, state, facts, Table(columns, rows) if rows else None, tone=tone)


def _row(process: ServiceState) -> tuple[object, ...]:
    memory = memory_of(process.pid)
    return (
        process.name,
        process.state.value,
        process.pid or "",
        human_seconds(max(0.0, time.time() - process.started_at)) if process.started_at else "",
        human_bytes(memory) if memory is not None else "",
        process.restarts,
        process.last_problem,
    )


@dataclass(frozen=True)
class WorkerStats:
    """What one worker process says of itself.

    Counts are since its start; ``average_ms`` is the mean time of one request in its handler. What a worker
    of somebody else's making does not say is None.
    """

    name: str
    instance: str
    pid: int | None
    version: str
    build: str
    requests: int
    failed: int | None
    rejected: int | None
    running: int | None
    waiting: int | None
    average_ms: float | None


class WorkerTable(Shown):
    """All workers that answer, one row a process.

    Attributes
    ----------
    rows: What each says of itself.
    """

    def __init__(self, rows: Sequence[WorkerStats]) -> None:
        self.rows = tuple(rows)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def frame(self) -> pd.DataFrame:
        """The rows as a DataFrame, with the columns of :class:`WorkerStats`."""
        import pandas

        columns = list(WorkerStats.__dataclass_fields__)
        return pandas.DataFrame([asdict(row) for row in self.rows], columns=columns)

    def text(self) -> str:
        """The table as text."""
        return self._table().text()

    def html(self) -> str:
        """The table as HTML."""
        return self._table().html()

    def _table(self) -> Table:
        columns = ("worker", "instance", "version", "build", "requests", "failed", "rejected", "running")
        rows = [
            (
                row.name,
                row.instance,
                row.version,
                row.build[:SHOWN_BUILD],
                row.requests,
                row.failed,
                row.rejected,
                row.running,
                row.waiting,
                round(row.average_ms, 2) if row.average_ms is not None else None,
            )
            for row in self.rows
        ]
        names = len({row.name for row in self.rows})
        caption = f"{human_count(len(rows), 'process', 'processes')} of {human_count(names, 'worker')}"
        return Table(
            (*columns, "waiting", "average ms"), rows, caption=caption if rows else "no worker answers"
        )


async def ask_workers(client: Client, timeout_s: float) -> list[WorkerStats]:
    """Ask all workers for their statistics; ends when nobody answers any more, or after ``timeout_s``."""
    subject = client.new_inbox()
    subscription = await client.subscribe(subject)
    found: list[WorkerStats] = []
    deadline = time.monotonic() + timeout_s
    try:
        await client.publish("$SRV.STATS", b"", reply=subject)
        wait = timeout_s
        while (left := deadline - time.monotonic()) > 0:
            try:
                message = await subscription.next_msg(min(wait, left))
            except TimeoutError:
                break
            if (stats := _stats(message.data)) is not None:
                found.append(stats)
            wait = QUIET_S
    finally:
        await subscription.unsubscribe()
    return sorted(found, key=lambda row: (row.name, _natural(row.instance)))


async def ask_builds(client: Client, name: str, timeout_s: float = 1.0) -> list[str]:
    """The distinct builds of the workers of this name that answer, sorted; empty if none says its build."""
    return sorted(
        {row.build for row in await ask_workers(client, timeout_s) if row.name == name and row.build}
    )


def _natural(text: str) -> tuple[str, int]:
    head, _, number = text.rpartition("-")
    return (head, int(number)) if number.isdecimal() else (text, 0)


def _stats(data: bytes) -> WorkerStats | None:
    """What a micro service says, if it is a worker: it listens on ``workers.<name>``."""
    try:
        answer = json.loads(data)
        name = answer["name"]
        endpoint = next(item for item in answer["endpoints"] if item["subject"] == f"workers.{name}")
    except (ValueError, KeyError, TypeError, StopIteration):
        return None
    metadata = answer.get("metadata") or {}
    own = endpoint.get("data")
    own = own if isinstance(own, dict) else {}
    requests = _count(own.get("requests"))
    if requests is None:
        requests = _count(endpoint.get("num_requests")) or 0
    average = own.get("average_ms", endpoint.get("average_processing_time", 0) / 1e6 if not own else None)
    return WorkerStats(
        name=str(name),
        instance=str(metadata.get("instance") or answer.get("id", "")),
        pid=_count(metadata.get("pid")),
        version=str(answer.get("version", "")),
        build=str(metadata.get("build", "")),
        requests=requests,
        failed=_count(own.get("failed", endpoint.get("num_errors") if not own else None)),
        rejected=_count(own.get("rejected")),
        running=_count(own.get("running")),
        waiting=_count(own.get("waiting")),
        average_ms=float(average) if requests and isinstance(average, (int, float)) else None,
    )


def _count(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError):
        return None
