"""What stands behind a platform: servers started here, or servers somebody else runs.

Both connect, name addresses and files, and run workers; a :class:`~platform_kit.platform.Platform` asks
either without knowing which it has.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import secrets
import shutil
import socket
import tempfile
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from platform_kit import binaries
from platform_kit.art.streams import PIPELINE as ART_PIPELINE
from platform_kit.art.streams import ensure_art_streams, note_art_pipeline
from platform_kit.cards.streams import PIPELINE, ensure_card_streams, note_pipeline
from platform_kit.errors import NotRunningError, PlatformKitError, SettingsError
from platform_kit.jetstream.connection import Endpoint, connect
from platform_kit.jetstream.workers import WorkerPings
from platform_kit.jobs import LoopThread
from platform_kit.pipelines.deployment import deploy
from platform_kit.pipelines.pipeline import Pipeline
from platform_kit.servers.background import FOLDER, read_state
from platform_kit.servers.fleet import Fleet
from platform_kit.servers.group import Desired, ServerGroup
from platform_kit.servers.guard import Guard
from platform_kit.servers.pipeline_store import PipelineStore
from platform_kit.servers.supervisor import ServiceState
from platform_kit.servers.wombat import WombatClient
from platform_kit.servers.worker import WorkerKind, secret_file
from platform_kit.settings import Settings

if TYPE_CHECKING:
    from nats.aio.client import Client

CARD_WORKER = "card-renderer"
CONNECT_TIMEOUT_S = 15.0


class Backing(Protocol):
    """What a platform needs of its servers."""

    attached: bool
    client: Client
    durability: str
    where: str
    """Whose servers these are, in words."""

    @property
    def wombat(self) -> WombatClient | None:
        """Wombat's HTTP interface; None where there is none."""
        ...

    @property
    def data_dir(self) -> Path | None:
        """The folder with streams, credentials and logs; None for remote servers."""
        ...

    @property
    def ports(self) -> Mapping[str, int]:
        """The ports of servers started here."""
        ...

    @property
    def fleet(self) -> Fleet | None:
        """The workers run by this process; None while there never were any."""
        ...

    def endpoint(self, role: str) -> Endpoint:
        """Where and as whom to connect."""
        ...

    def states(self) -> tuple[Sequence[ServiceState], Mapping[str, str]]:
        """Each process as its supervisor sees it, and the versions that are known."""
        ...

    def open_fleet(self) -> Fleet:
        """The workers run by this process, ready for the first."""
        ...

    def close(self) -> None:
        """Disconnect, and stop what was started here."""
        ...


class Started:
    """Servers of this process, with the card streams and the shipped pipeline.

    Parameters
    ----------
    settings: Where binaries and configuration are.
    loop: The running loop the connection lives on.
    data_dir: A folder to keep, or None for a temporary one.
    workers: Processes of the card renderer.
    durability: "lazy" or "fsync".
    kept_ports: Ports to use again.
    on_change: Called after each change of a service's state.
    cancel: Ends the start when it is set.

    Errors: ``StartupError``, ``Cancelled``; nothing is left then.
    """

    attached = False
    where = "this process"

    def __init__(
        self,
        settings: Settings,
        loop: LoopThread,
        *,
        data_dir: Path | None,
        workers: int,
        durability: str,
        kept_ports: Mapping[str, int],
        on_change: Callable[[], None],
        cancel: threading.Event,
    ) -> None:
        self.durability = durability
        self.client: Client
        self._settings = settings
        self._loop = loop
        pipeline = Pipeline.read(settings.config_dir / "pipelines" / f"{PIPELINE}.yaml")
        preload = threading.Thread(
            target=_preload, args=(pipeline,), name="platform-kit-preload", daemon=True
        )
        preload.start()
        try:
            pings = WorkerPings(loop)
            self._group = ServerGroup(
                _desired(settings, data_dir, workers, durability),
                prepare=lambda group: self._prepare(group, pings),
                answers=pings.answered,
                kept_ports=kept_ports,
                on_change=on_change,
            )
            self._group.start(cancel)
            self._deploy_shipped(pipeline)
        except BaseException:
            self.close()
            raise
        finally:
            preload.join()

    @property
    def wombat(self) -> WombatClient:
        """Wombat's HTTP interface."""
        return self._group.wombat_client

    @property
    def data_dir(self) -> Path:
        """The folder with streams, credentials and logs."""
        return self._group.folder.path

    @property
    def ports(self) -> Mapping[str, int]:
        """The ports by service."""
        return self._group.ports

    @property
    def fleet(self) -> Fleet | None:
        """The workers."""
        return self._group.workers

    def endpoint(self, role: str) -> Endpoint:
        """NATS, as ``role``."""
        seed = self._group.credentials.seed_file(role)
        return Endpoint(self._group.nats.url, seed, f"_INBOX_{role}")

    def states(self) -> tuple[Sequence[ServiceState], Mapping[str, str]]:
        """Each process as its supervisor sees it, and the versions of the binaries."""
        return self._group.snapshots(), _versions(self._settings) | _kind_versions(self.fleet)

    def open_fleet(self) -> Fleet:
        """The workers beside the card renderer, under the same warden."""
        assert self._group.workers is not None
        return self._group.workers

    def close(self) -> None:
        """Disconnect and stop everything."""
        try:
            _disconnect(self._loop, getattr(self, "client", None))
        finally:
            group = getattr(self, "_group", None)
            if group is not None and hasattr(group, "folder"):
                group.stop()

    def _prepare(self, group: ServerGroup, pings: WorkerPings) -> None:
        """While Wombat and the workers start: connect, and make the streams."""
        endpoint = Endpoint(group.nats.url, group.credentials.seed_file("admin"), "_INBOX_admin")

        async def prepare() -> Client:
            client = await connect(endpoint, name="platform-kit")
            await ensure_card_streams(client)
            await pings.listen(client)
            return client

        self.client = self._loop.run(prepare(), self._settings.startup_timeout_s)

    def _deploy_shipped(self, pipeline: Pipeline) -> None:
        limit = self._settings.startup_timeout_s
        self._loop.run(deploy_noted(self, pipeline, self._settings, timeout_s=limit), limit + 5.0)
        for refused in self._group.deploy_kept(but=PIPELINE):
            warnings.warn(refused, stacklevel=2)


@dataclass(frozen=True)
class Place:
    """Where servers that somebody else runs are found.

    Parameters
    ----------
    endpoint: Where NATS is.
    wombat: Its HTTP interface, if known.
    data_dir: Their folder, if it is on this machine.
    folder: The folder whose state file names them, if there is one.
    durability: "lazy", "fsync" or "unknown".
    """

    endpoint: Endpoint
    wombat: WombatClient | None = None
    data_dir: Path | None = None
    folder: Path | None = None
    durability: str = "unknown"


class Attached:
    """Servers that somebody else runs; only the workers started from here are this process's own.

    Parameters
    ----------
    settings: Where binaries and configuration are.
    loop: The running loop the connection lives on.
    place: Where they are.
    on_change: Called after each change of a worker's state.

    Errors: ``NotRunningError`` when nobody lets us in.
    """

    attached = True

    def __init__(
        self, settings: Settings, loop: LoopThread, place: Place, *, on_change: Callable[[], None]
    ) -> None:
        self.durability = place.durability
        self.where = f"the platform of {place.folder}" if place.folder else f"others at {place.endpoint.url}"
        self._settings = settings
        self._loop = loop
        self._place = place
        self._on_change = on_change
        self._suffix = f"-{socket.gethostname()}-{os.getpid()}"
        self._guard: Guard | None = None
        self._folder: Path | None = None
        self.fleet: Fleet | None = None
        self.client: Client = loop.run(connect(place.endpoint, name="platform-kit"), CONNECT_TIMEOUT_S)

    @property
    def wombat(self) -> WombatClient | None:
        """Wombat's HTTP interface, if it was named."""
        return self._place.wombat

    @property
    def data_dir(self) -> Path | None:
        """The folder of the platform that ``platform-kit start`` runs; None for a remote one."""
        return self._place.data_dir

    @property
    def ports(self) -> Mapping[str, int]:
        """None: no server was started here."""
        return {}

    def endpoint(self, role: str) -> Endpoint:
        """NATS, with the one credentials file there is."""
        return self._place.endpoint

    def states(self) -> tuple[Sequence[ServiceState], Mapping[str, str]]:
        """What the background platform wrote of its services, and the workers started here."""
        versions = _versions(self._settings) | _kind_versions(self.fleet)
        own = []
        for service in self.fleet.snapshots() if self.fleet is not None else []:
            # Others count from 1 too: by what it answers as it can be told from theirs.
            instance = service.name + self._suffix
            versions[instance] = versions.get(service.name.rpartition("-")[0], "")
            own.append(replace(service, name=instance))
        if self._place.folder is None:
            return own, versions
        state = read_state(self._place.folder)
        if state is None or not state.is_alive():
            return own, versions
        return [*state.services, *own], {**versions, **state.versions}

    def open_fleet(self) -> Fleet:
        """Workers as children of this process, in a temporary folder, under a warden of their own."""
        if self.fleet is not None:
            return self.fleet
        pings = WorkerPings(self._loop)
        self._loop.run(pings.listen(self.client), CONNECT_TIMEOUT_S)
        secret = secret_file(self._worker_credentials())
        folder = self._folder = Path(tempfile.gettempdir()) / f"platform-kit-{secrets.token_hex(8)}"
        guard = self._guard = Guard(remove=folder)
        folder.mkdir(mode=0o700)
        (folder / "logs").mkdir(mode=0o700)
        self.fleet = Fleet(
            group=lambda: guard.group,
            folder=folder,
            nats_url=self._place.endpoint.url,
            secret=secret,
            answers=pings.answered,
            startup_timeout_s=self._settings.startup_timeout_s,
            stop_timeout_s=self._settings.stop_timeout_s,
            on_change=self._on_change,
            suffix=self._suffix,
        )
        return self.fleet

    def close(self) -> None:
        """Disconnect, and stop the workers started here."""
        try:
            _disconnect(self._loop, self.client)
        finally:
            if self._guard is not None:
                self._guard.retire()
                if self.fleet is not None:
                    self.fleet.stop()
                _remove(self._folder)
                self._guard.close()

    def _worker_credentials(self) -> Path | None:
        """The worker's own key where it stands beside ours: it may do less."""
        mine = self._place.endpoint.credentials
        beside = mine.with_name("worker.nk") if mine is not None else None
        return beside if beside is not None and beside.is_file() else mine


def find_background(settings: Settings) -> Place:
    """The platform that ``platform-kit start`` runs in this folder.

    Errors: ``NotRunningError``.
    """
    cwd = Path.cwd()
    # Below the checkout, such as in notebooks/, its own platform is meant; elsewhere it is not.
    folders = [cwd, settings.root] if cwd.is_relative_to(settings.root) else [cwd]
    for folder in folders:
        state = read_state(folder)
        if state is None or not state.is_alive() or not state.ready:
            continue
        credentials = Path(state.credentials)
        password = (credentials / "wombat.password").read_text().strip()
        return Place(
            Endpoint(state.nats_url, credentials / "admin.nk", "_INBOX_admin"),
            WombatClient(state.wombat_url, password),
            Path(state.data_dir),
            folder,
            state.durability,
        )
    raise NotRunningError(
        f"No platform runs in {cwd} (there is no {FOLDER}/state.json of a living one).",
        hint="Run `platform-kit start` here, or pass the address of an existing server.",
    )


async def deploy_noted(backing: Backing, pipeline: Pipeline, settings: Settings, *, timeout_s: float) -> None:
    """Deploy a pipeline; of those for cards and art it is noted which one runs, for it decides the pictures.

    Errors: ``LintError``, ``DeployError``, ``NotRunningError``.
    """
    assert backing.wombat is not None
    folder = backing.data_dir
    if pipeline.name == ART_PIPELINE:  # its streams are made at its first use, not at the start
        await ensure_art_streams(backing.client)
    await deploy(
        pipeline,
        backing.wombat,
        PipelineStore(folder / "pipelines") if folder is not None else None,
        settings=settings,
        timeout_s=timeout_s,
        log=folder / "logs" / "wombat.log" if folder is not None else None,
    )
    if pipeline.name == PIPELINE:
        await note_pipeline(backing.client, pipeline.digest)
    if pipeline.name == ART_PIPELINE:
        await note_art_pipeline(backing.client, pipeline.digest)


# ------------------------------------------------------------------------------ inside


def _desired(settings: Settings, data_dir: Path | None, workers: int, durability: str) -> Desired:
    include = settings.config_dir / "nats-server.conf"
    binary = binaries.ensure(CARD_WORKER, settings)
    renderer = WorkerKind(CARD_WORKER, CARD_WORKER, binary, source=Path(CARD_WORKER))
    return Desired(
        binaries={name: binaries.ensure(name, settings) for name in ("nats-server", "wombat")},
        data_dir=data_dir,
        workers=[(renderer, workers)],
        durability=durability,
        wombat_config=_read_yaml(settings.config_dir / "wombat.yaml"),
        nats_include=include if include.is_file() else None,
        max_payload_bytes=settings.max_payload_bytes,
        startup_timeout_s=settings.startup_timeout_s,
        stop_timeout_s=settings.stop_timeout_s,
    )


def _versions(settings: Settings) -> dict[str, str]:
    return {item.name: item.version for item in binaries.inventory(settings)}


def _kind_versions(fleet: Fleet | None) -> dict[str, str]:
    kinds = fleet.kinds if fleet is not None else {}
    return {name: kind.version for name, kind in kinds.items() if kind.version}


def _disconnect(loop: LoopThread, client: Client | None) -> None:
    if client is not None and loop.running:
        loop.cancel_jobs()  # before their connection closes under them
        loop.run(client.close(), 5.0)


def _remove(folder: Path | None) -> None:

    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


def _read_yaml(path: Path) -> dict[str, Any]:
    import yaml

    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"{path} cannot be read: {error}", hint="Mend it, or remove it.") from error
    if found is not None and not isinstance(found, dict):
        raise SettingsError(f"{path} is {type(found).__name__}, not a mapping.", hint="See the shipped file.")
    return found or {}


def _preload(pipeline: Pipeline) -> None:
    """Import and parse what is needed in a moment, while the servers start."""
    for name in ("nats", "nats.js.object_store", "nkeys", "psutil", "yaml"):
        importlib.import_module(name)
    with contextlib.suppress(PlatformKitError):  # raised again where it is asked for
        _ = pipeline.config
