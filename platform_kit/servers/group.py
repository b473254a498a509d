"""The servers of one platform, started in order and stopped in reverse: nats-server, Wombat, workers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from platform_kit.errors import DeployError, ServerError, StartupError
from platform_kit.servers.credentials import Credentials, load_or_create
from platform_kit.servers.data_dir import DataDir
from platform_kit.servers.fleet import Fleet
from platform_kit.servers.guard import Guard
from platform_kit.servers.nats_server import NatsServer
from platform_kit.servers.pipeline_store import PipelineStore
from platform_kit.servers.ports import free_port, is_free, kept_or_free
from platform_kit.servers.supervisor import Service, ServiceState, Supervisor
from platform_kit.servers.wombat import Wombat, WombatClient
from platform_kit.servers.worker import Answers, WorkerKind, secret_file

PORT_ATTEMPTS = 5
"""How often another port is tried when somebody else was quicker."""


@dataclass(frozen=True)
class Desired:
    """What should run; starts nothing.

    Parameters
    ----------
    binaries: Name to path of nats-server and wombat.
    data_dir: A folder to keep, or None for a temporary one.
    workers: Each worker, and how many processes of it.
    durability: "lazy" or "fsync".
    wombat_config: Settings from ``.config/wombat.yaml``.
    nats_include: The user's own nats-server settings, or None.
    """

    binaries: Mapping[str, Path]
    data_dir: Path | None
    workers: Sequence[tuple[WorkerKind, int]]
    durability: str
    wombat_config: Mapping[str, Any]
    nats_include: Path | None
    max_payload_bytes: int
    startup_timeout_s: float
    stop_timeout_s: float


class ServerGroup:
    """The processes of one platform, from start to stop.

    Parameters
    ----------
    desired: What should run.
    prepare: Called once nats-server answers, while the others start: creates what they need.
    answers: Whether a worker's process answers a ping.
    kept_ports: Ports to use again.
    on_change: Called after each change of a service's state.
    """

    def __init__(
        self,
        desired: Desired,
        *,
        prepare: Callable[[ServerGroup], None],
        answers: Answers,
        kept_ports: Mapping[str, int] | None = None,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.desired = desired
        self._prepare = prepare
        self._answers = answers
        self._kept_ports = dict(kept_ports or {})
        self._on_change = on_change
        self._supervisors: list[Supervisor] = []
        self._guard: Guard | None = None
        self.folder: DataDir
        self.pipelines: PipelineStore
        self.credentials: Credentials
        self.nats: NatsServer
        self.wombat: Wombat
        self.workers: Fleet | None = None

    @property
    def wombat_client(self) -> WombatClient:
        """Wombat's HTTP interface."""
        return self.wombat.client

    @property
    def ports(self) -> dict[str, int]:
        """The ports chosen at the first start."""
        return {"nats": self.nats.port, "wombat": self.wombat.port}

    def start(self, cancel: threading.Event) -> None:
        """Start everything; on any failure nothing is left. Raises ``StartupError`` or ``Cancelled``."""
        self.folder = DataDir(self.desired.data_dir)
        try:
            self._start(cancel)
        except BaseException:
            self.stop()
            raise

    def _start(self, cancel: threading.Event) -> None:
        guard = self._guard = Guard(
            remove=self.folder.path if self.folder.temporary else None,
            hold=(self.folder.lock_fd,) if self.folder.lock_fd >= 0 else (),
        )
        self.folder.make()
        self.credentials = load_or_create(self.folder.path / "credentials")
        self.pipelines = PipelineStore(self.folder.path / "pipelines")
        ports = self._kept_ports or self.folder.ports()

        self.nats = NatsServer(
            self.desired.binaries["nats-server"],
            self.folder.path,
            self.credentials,
            durability=self.desired.durability,
            max_payload_bytes=self.desired.max_payload_bytes,
            include=self.desired.nats_include,
            port=kept_or_free(ports.get("nats")),
        )
        self.wombat = Wombat(
            self.desired.binaries["wombat"],
            self.folder.path,
            self.credentials,
            nats_url=self.nats.url,
            base_config=self.desired.wombat_config,
            port=kept_or_free(ports.get("wombat")),
        )
        nats = self._supervisor(self.nats)
        wombat = self._supervisor(self.wombat, on_restart=self._deploy_again)
        self._start_nats_beside(wombat, nats, cancel)
        workers = self.workers = Fleet(
            group=lambda: guard.group,
            folder=self.folder.path,
            nats_url=self.nats.url,
            secret=secret_file(self.credentials.seed_file("worker")),
            answers=self._answers,
            startup_timeout_s=self.desired.startup_timeout_s,
            stop_timeout_s=self.desired.stop_timeout_s,
            on_change=self._on_change,
        )
        for kind, count in self.desired.workers:
            workers.launch(kind, count)
        self._prepare(self)
        self._wait_for_wombat(wombat, cancel)
        workers.wait(cancel)
        self.folder.keep_ports(self.ports)

    def stop(self) -> None:
        """Stop Wombat, then the workers it asks, then NATS; then nothing of the group is left."""
        if self._guard is not None:
            self._guard.retire()
        nats, others = self._supervisors[:1], self._supervisors[1:]
        for supervisor in others:
            supervisor.stop()
        if self.workers is not None:
            self.workers.stop()
        for supervisor in nats:
            supervisor.stop()
        self._supervisors.clear()
        # Before the warden, who removes a temporary folder should this process be killed right now.
        self.folder.close()
        if self._guard is not None:
            self._guard.close()
            self._guard = None

    def snapshots(self) -> list[ServiceState]:
        """Each service as it is now, in the order of their start."""
        servers = [supervisor.snapshot() for supervisor in self._supervisors]
        return servers + (self.workers.snapshots() if self.workers is not None else [])

    # ----------------------------------------------------------------------------------------------

    def _supervisor(self, service: Service, on_restart: Callable[[], None] = lambda: None) -> Supervisor:
        assert self._guard is not None
        supervisor = Supervisor(
            service,
            group=self._guard.group,
            startup_timeout_s=self.desired.startup_timeout_s,
            stop_timeout_s=self.desired.stop_timeout_s,
            on_restart=on_restart,
            on_change=self._on_change,
        )
        self._supervisors.append(supervisor)
        return supervisor

    def _start_nats_beside(self, wombat: Supervisor, nats: Supervisor, cancel: threading.Event) -> None:
        """Start NATS while Wombat, which takes longest, starts too: it needs no more than the address."""
        for last in _attempts():
            nats.launch()
            wombat.launch()
            try:
                nats.wait_ready(cancel)
                return
            except StartupError as error:
                if last or error.exit_code is None or is_free(self.nats.port):
                    raise
            wombat.stop()
            self.nats.port = free_port()
            self.wombat.nats_url = self.nats.url

    def _wait_for_wombat(self, wombat: Supervisor, cancel: threading.Event) -> None:
        for last in _attempts():
            try:
                wombat.wait_ready(cancel)
                return
            except StartupError as error:
                if last or error.exit_code is None or is_free(self.wombat.port):
                    raise
            self.wombat.port = free_port()
            wombat.launch()

    def deploy_kept(self, *, but: str = "") -> list[str]:
        """Give Wombat every pipeline of the folder except ``but``; returns what it refused, and why.

        One it does not take any more is set aside: it must stop neither a start nor the others.
        """
        refused = []
        for name, config in self.pipelines.all().items():
            if name == but:
                continue
            try:
                self.wombat_client.put(name, config)
            except DeployError as error:
                kept = self.pipelines.set_aside(name)
                refused.append(f"{error.what} It was set aside as {kept}.")
        return refused

    def _deploy_again(self) -> None:
        if refused := self.deploy_kept():
            raise ServerError(" ".join(refused))


def _attempts() -> Iterator[bool]:
    """Another port is tried when somebody else was quicker; True marks the last attempt."""
    yield from (number == PORT_ATTEMPTS for number in range(1, PORT_ATTEMPTS + 1))
