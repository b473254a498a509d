"""The platform: real servers, started and stopped from a cell, and the jobs one does with them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from platform_kit.backing import CARD_WORKER, Attached, Backing, Place, Started, find_background
from platform_kit.errors import NotRunningError, UsageError
from platform_kit.jetstream.connection import Endpoint, connect
from platform_kit.jobs import Job, LoopThread, Work
from platform_kit.ping import Answer, ping_all
from platform_kit.servers.credentials import ROLES
from platform_kit.servers.logs import log_tail
from platform_kit.servers.nats_server import SYNC_INTERVAL
from platform_kit.servers.uninterrupted import run_uninterrupted
from platform_kit.servers.wombat import WombatClient
from platform_kit.settings import Settings
from platform_kit.verbs.art import ArtVerbs
from platform_kit.verbs.base import check_count, folder_path
from platform_kit.verbs.streams import StreamVerbs
from platform_kit.verbs.tables import TableVerbs

if TYPE_CHECKING:
    from nats.aio.client import Client


T = TypeVar("T")


class Platform(ArtVerbs, StreamVerbs, TableVerbs):
    """NATS, Wombat and workers as one thing with a start and a stop.

    Making one starts nothing. ``start`` and ``stop`` are synchronous and may be called twice; both work in
    a notebook's cell, a script and a test alike.

    Parameters
    ----------
    data_dir: A folder that keeps streams, credentials and ports; without one, a temporary folder goes with
        the platform.
    servers: How many NATS servers; more than one is not there yet.
    workers: Processes of the card renderer. One uses all cores of this machine.
    durability: "lazy" acknowledges before syncing to disk, "fsync" after; see docs/architecture.md.
    settings: Other than those of the checkout.

    Example
    -------
    >>> from platform_kit import Deck, Platform
    >>> with Platform() as platform:
    ...     run = platform.generate(Deck([{"id": "1", "name": "Night Heron"}]), progress=False)
    >>> run.rendered
    1
    """

    def __init__(
        self,
        data_dir: str | Path | None = None,
        servers: int = 1,
        workers: int = 1,
        durability: str = "lazy",
        *,
        settings: Settings | None = None,
    ) -> None:
        if servers != 1:
            raise UsageError(f"servers={servers!r}: clusters are not there yet.", hint="Use servers=1.")
        check_count("workers", workers, least=0)
        if durability not in SYNC_INTERVAL:
            raise UsageError(
                f"durability={durability!r}.", hint=f"One of {', '.join(map(repr, SYNC_INTERVAL))}."
            )
        self.durability = durability
        self.settings = settings or Settings.load()
        self._data_dir = folder_path(data_dir, "data_dir")
        self._workers = workers
        self._lock = threading.RLock()
        self._loop = LoopThread("platform-kit-loop")
        self._backing: Backing | None = None
        self._art_pipeline_on: Backing | None = None
        self._kept_ports: dict[str, int] = {}
        self._listeners: list[Callable[[], None]] = []
        self._pid = os.getpid()

    # ------------------------------------------------------------------------- start and stop

    def start(self) -> Self:
        """Start everything, until a card can be requested; does nothing if it runs.

        Errors: ``StartupError`` with the command, the exit code and the log's tail. Whatever goes wrong, an
        interrupt included, no process and no temporary folder is left.
        """
        with self._lock:
            if self._backing is None:
                run_uninterrupted(self._start, name="platform-kit-start")
            return self

    def stop(self) -> None:
        """Stop everything in reverse order; does nothing if it does not run. An attached one is only left."""
        if self._pid != os.getpid():
            # A fork of the process that started it has none of its threads; the servers are the parent's.
            self._backing = None
            return
        with self._lock:
            if self._backing is not None:
                run_uninterrupted(self._stop, name="platform-kit-stop")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @classmethod
    def attach(
        cls,
        nats_url: str | None = None,
        *,
        credentials: str | Path | None = None,
        inbox_prefix: str = "_INBOX",
        wombat_url: str | None = None,
        wombat_password: str | None = None,
        settings: Settings | None = None,
    ) -> Platform:
        """Use servers that run already; ``stop`` then only disconnects.

        Parameters
        ----------
        nats_url: An existing NATS server or cluster; ``tls://`` unless it is on this machine. Without one,
            the platform that ``platform-kit start`` runs in this folder.
        credentials: A file with an nkey seed or a ``.creds`` file.
        inbox_prefix: Where replies go; those of a platform's own roles are ``_INBOX_<role>``.
        wombat_url, wombat_password: An existing Wombat in streams mode; without one nothing can be deployed.

        Errors: ``NotRunningError`` when there is nothing to attach to, or it does not let one in.
        """
        platform = cls(settings=settings)
        if nats_url is None:
            place = find_background(platform.settings)
        else:
            path = Path(credentials).expanduser() if credentials is not None else None
            wombat = WombatClient(wombat_url, wombat_password) if wombat_url else None
            place = Place(Endpoint(nats_url, path, inbox_prefix), wombat)
        platform.durability = place.durability
        run_uninterrupted(lambda cancel: platform._attach(place), name="platform-kit-attach")
        return platform

    # ------------------------------------------------------------------------- what there is

    @property
    def running(self) -> bool:
        """Whether it was started, or attached, and not stopped since."""
        return self._backing is not None

    @property
    def nats_url(self) -> str:
        """Where NATS listens, without any secret. Raises ``NotRunningError``."""
        return self._require().endpoint("admin").url

    @property
    def wombat_url(self) -> str:
        """Where Wombat's HTTP interface listens. Raises ``NotRunningError``."""
        return self.wombat.url

    @property
    def ports(self) -> dict[str, int]:
        """The ports of the servers started here, by service."""
        return dict(self._backing.ports) if self._backing is not None else {}

    def endpoint(self, role: str = "admin") -> Endpoint:
        """Where NATS is, and the file that lets a program in as ``role``. Raises ``NotRunningError``."""
        return self._require().endpoint(role)

    def credentials_file(self, role: str = "admin") -> Path:
        """The file with the nkey seed of a role: admin, wombat, worker, viewer or system."""
        if role not in ROLES:
            raise UsageError(f"There is no role {role!r}.", hint=f"One of {', '.join(ROLES)}.")
        if self.data_dir is None or not self.running:
            raise NotRunningError("The platform's own credentials are not at hand.", hint="Start it first.")
        return self.data_dir / "credentials" / f"{role}.nk"

    def logs(self, service: str, lines: int = 50) -> str:
        """The last lines of a service's log.

        Errors: ``UsageError`` for a service there is none of, naming those there are.
        """
        fleet = self._backing.fleet if self._backing is not None else None
        if fleet is not None and (name := fleet.log_of(service)) is not None:
            return log_tail(fleet.log_folder, name, lines)
        if self.data_dir is None:
            raise NotRunningError("There are no logs here.", hint="Start the platform first.")
        return log_tail(self.data_dir / "logs", service, lines)

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call ``listener``, from any thread, each time a service's state changes."""
        self._listeners.append(listener)

    def __repr__(self) -> str:
        return self.status().text()

    def _repr_html_(self) -> str:
        return self.status().html()

    # ------------------------------------------------------------------------- NATS

    async def connect(self, role: str = "admin", **options: Any) -> Client:
        """Return a nats-py client on the running event loop, with the credentials of ``role``.

        Whoever asks for it closes it. ``options`` go to ``nats.connect``.

        Errors: ``NotRunningError``.
        """
        return await connect(self._require().endpoint(role), name=f"platform-kit-{role}", **options)

    def submit(self, work: Work[T], *, name: str, **options: Any) -> Job[T]:
        """Run a whole job on the platform's own loop; ``options`` as :meth:`LoopThread.submit` takes them.

        ``stop`` cancels what still runs. Errors: ``NotRunningError``.
        """
        self._require()
        return self._loop.submit(work, name=name, **options)

    def ping(self, timeout_s: float = 2.0) -> list[Answer]:
        """Ask NATS, JetStream, Wombat and the workers whether they answer. Raises ``NotRunningError``."""
        backing = self._require()
        fleet = backing.fleet
        own = [kind.service for kind in fleet.kinds.values() if fleet.count(kind.name)] if fleet else []
        services = list(dict.fromkeys([CARD_WORKER, *own]))
        return self._loop.run(ping_all(backing.client, backing.wombat, services, timeout_s), timeout_s + 5.0)

    # ------------------------------------------------------------------------- inside

    def _start(self, cancel: threading.Event) -> None:
        self._loop.start()
        try:
            self._backing = Started(
                self.settings,
                self._loop,
                data_dir=self._data_dir,
                workers=self._workers,
                durability=self.durability,
                kept_ports=self._kept_ports,
                on_change=self._changed,
                cancel=cancel,
            )
        except BaseException:
            self._loop.stop()
            raise
        self._kept_ports = dict(self._backing.ports)

    def _attach(self, place: Place) -> None:
        self._loop.start()
        try:
            self._backing = Attached(self.settings, self._loop, place, on_change=self._changed)
        except BaseException:
            self._loop.stop()
            raise

    def _stop(self, _: threading.Event) -> None:
        backing, self._backing = self._backing, None
        try:
            if backing is not None:
                backing.close()
        finally:
            self._loop.stop()
            self._changed()

    def _changed(self) -> None:
        for listener in list(self._listeners):
            listener()
