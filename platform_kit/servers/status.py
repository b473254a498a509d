"""What a platform's processes are doing, as data with a text and an HTML twin."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from platform_kit.reprs import Shown, StatusCard, Table, human_bytes, human_seconds
from platform_kit.servers.pipeline_store import PipelineStore
from platform_kit.servers.supervisor import ServiceState, State


@dataclass(frozen=True)
class ServiceStatus:
    """One process. Times are seconds since the epoch, memory is the resident set in bytes."""

    name: str
    state: str
    version: str
    pid: int | None
    address: str
    started_at: float | None
    memory_bytes: int | None
    restarts: int
    last_problem: str

    @property
    def uptime_s(self) -> float | None:
        """Seconds since the present process was started."""
        return None if self.started_at is None else max(0.0, time.time() - self.started_at)


@dataclass(frozen=True, repr=False)
class PlatformStatus(Shown):
    """A platform as a whole: "running", "degraded" (a part is being restarted), or "stopped"."""

    state: str
    services: Sequence[ServiceStatus]
    pipelines: Sequence[str]
    nats_url: str | None
    wombat_url: str | None
    data_dir: str | None
    durability: str
    attached: bool = False

    def as_dict(self) -> dict[str, Any]:
        """The status for JSON."""
        return {
            **asdict(self),
            "services": [{**asdict(service), "uptime_s": service.uptime_s} for service in self.services],
        }

    def text(self) -> str:
        """The status as lines of text."""
        return self._card().text()

    def html(self) -> str:
        """The status as HTML."""
        return self._card().html()

    def _card(self) -> StatusCard:
        rows: list[tuple[object, ...]] = [
            (
                service.name,
                service.state,
                service.version,
                service.pid or "",
                service.address,
                "" if service.uptime_s is None else human_seconds(service.uptime_s),
                "" if service.memory_bytes is None else human_bytes(service.memory_bytes),
                service.restarts,
                service.last_problem,
            )
            for service in self.services
        ]
        columns = ["service", "state", "version", "pid", "address", "up", "memory", "restarts"]
        if any(service.last_problem for service in self.services):
            columns.append("last problem")
        else:
            rows = [row[:-1] for row in rows]
        facts: Mapping[str, object] = {
            "nats": self.nats_url,
            "wombat": self.wombat_url,
            "data": self.data_dir,
            "durability": f"{self.durability} ({DURABILITY[self.durability]})"
            if self.durability in DURABILITY
            else None,
            "pipelines": ", ".join(self.pipelines) or None,
        }
        tone = {"running": "good", "degraded": "busy"}.get(self.state, "quiet")
        table = Table(columns, rows) if rows else None
        title = "platform (attached)" if self.attached else "platform"
        return StatusCard(title, self.state, facts, table, tone=tone)  # type: ignore[arg-type]


DURABILITY = {
    "lazy": "acknowledged before it is synced to disk: a power failure can lose the last two minutes",
    "fsync": "synced to disk before it is acknowledged",
}


def platform_status(
    states: Sequence[ServiceState],
    versions: Mapping[str, str],
    *,
    nats_url: str | None,
    wombat_url: str | None,
    data_dir: Path | None,
    durability: str,
    attached: bool,
) -> PlatformStatus:
    """The status of a platform, with the memory of its processes now.

    Parameters
    ----------
    states: Its services; empty for servers somebody else watches.
    versions: Of the binaries, by service.
    data_dir: Its folder, where the pipelines are kept; None for a remote platform.
    """
    addresses = {"nats-server": nats_url, "wombat": wombat_url}
    services = [
        ServiceStatus(
            name=state.name,
            state=state.state.value,
            version=versions.get(state.name) or versions.get(state.name.rpartition("-")[0], ""),
            pid=state.pid,
            address=(addresses.get(state.name) or "").rpartition("/")[2],
            started_at=state.started_at,
            memory_bytes=memory_of(state.pid),
            restarts=state.restarts,
            last_problem=state.last_problem,
        )
        for state in states
    ]
    running = nats_url is not None
    return PlatformStatus(
        state="attached" if running and not states else overall(services),
        services=services,
        pipelines=tuple(PipelineStore(data_dir / "pipelines").all()) if running and data_dir else (),
        nats_url=nats_url,
        wombat_url=wombat_url,
        data_dir=str(data_dir) if data_dir is not None else None,
        durability=durability,
        attached=attached,
    )


def overall(services: Sequence[ServiceStatus]) -> str:
    """One word for all services together."""
    states = {service.state for service in services}
    if not states or states == {State.STOPPED.value}:
        return "stopped"
    return "running" if states == {State.RUNNING.value} else "degraded"


def memory_of(pid: int | None) -> int | None:
    """The resident memory of a process in bytes; None when it is gone."""
    if pid is None:
        return None
    import psutil

    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return None
