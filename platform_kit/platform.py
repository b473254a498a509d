"""The platform: real servers, started and stopped from a cell, and the jobs one does with them."""

from __future__ import annotations

import contextlib
import importlib
import os
import threading
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from platform_kit import binaries
from platform_kit.cards.deck import Deck
from platform_kit.cards.generation import Generation
from platform_kit.cards.run import CardRun
from platform_kit.cards.streams import PIPELINE, ensure_card_streams, note_pipeline
from platform_kit.cards.template import Template
from platform_kit.errors import (
    NotRunningError,
    PlatformKitError,
    SettingsError,
    StartupError,
    UsageError,
)
from platform_kit.jetstream.connection import Endpoint, connect
from platform_kit.jetstream.workers import WorkerPings
from platform_kit.jobs import LoopThread
from platform_kit.ping import Answer, ping_all
from platform_kit.pipelines.deployment import Deployment, deploy
from platform_kit.pipelines.pipeline import Pipeline
from platform_kit.servers.background import FOLDER, read_state
from platform_kit.servers.credentials import ROLES
from platform_kit.servers.group import Desired, ServerGroup
from platform_kit.servers.logs import log_tail
from platform_kit.servers.nats_server import SYNC_INTERVAL
from platform_kit.servers.pipeline_store import PipelineStore
from platform_kit.servers.process import Cancelled
from platform_kit.servers.status import PlatformStatus, platform_status
from platform_kit.servers.supervisor import ServiceState
from platform_kit.servers.wombat import WombatClient
from platform_kit.settings import Settings

if TYPE_CHECKING:
    import pandas as pd
    from nats.aio.client import Client

CARD_WORKER = "card-renderer"
WORKER_LIMIT = 256
"""More processes of one worker than any one machine has a use for."""


class Platform:
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
        if isinstance(workers, bool) or not isinstance(workers, int) or not 0 <= workers <= WORKER_LIMIT:
            raise UsageError(f"workers={workers!r}.", hint=f"Give a whole number from 0 to {WORKER_LIMIT}.")
        if durability not in SYNC_INTERVAL:
            raise UsageError(
                f"durability={durability!r}.", hint=f"One of {', '.join(map(repr, SYNC_INTERVAL))}."
            )
        self.durability = durability
        self.settings = settings or Settings.load()
        self._data_dir = _path(data_dir, "data_dir")
        self._workers = workers
        self._lock = threading.RLock()
        self._loop = LoopThread("platform-kit-loop")
        self._group: ServerGroup | None = None
        self._attachment: _Attachment | None = None
        self._kept_ports: dict[str, int] = {}
        self._client: Client | None = None
        self._listeners: list[Callable[[], None]] = []
        self._pid = os.getpid()

    # ------------------------------------------------------------------------- start and stop

    def start(self) -> Self:
        """Start everything, until a card can be requested; does nothing if it runs.

        Errors: ``StartupError`` with the command, the exit code and the log's tail. Whatever goes wrong, an
        interrupt included, no process and no temporary folder is left.
        """
        with self._lock:
            if self._group is not None or self._attachment is not None:
                return self
            cancel = threading.Event()
            _run_in_thread(lambda: self._start(cancel), on_interrupt=cancel.set, name="platform-kit-start")
            return self

    def stop(self) -> None:
        """Stop everything in reverse order; does nothing if it does not run. An attached one is only left."""
        if self._pid != os.getpid():
            # A fork of the process that started it has none of its threads; the servers are the parent's.
            self._group = self._attachment = self._client = None
            return
        with self._lock:
            if self._group is None and self._attachment is None:
                return
            _run_in_thread(self._stop, on_interrupt=lambda: None, name="platform-kit-stop")

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
            attachment = _find_background(platform.settings)
        else:
            path = Path(credentials).expanduser() if credentials is not None else None
            wombat = WombatClient(wombat_url, wombat_password) if wombat_url else None
            attachment = _Attachment(Endpoint(nats_url, path, inbox_prefix), wombat, None, None, "unknown")
        platform.durability = attachment.durability
        _run_in_thread(
            lambda: platform._attach(attachment), on_interrupt=lambda: None, name="platform-kit-attach"
        )
        return platform

    # ------------------------------------------------------------------------- what there is

    @property
    def running(self) -> bool:
        """Whether it was started, or attached, and not stopped since."""
        return self._group is not None or self._attachment is not None

    @property
    def nats_url(self) -> str:
        """Where NATS listens, without any secret. Raises ``NotRunningError``."""
        return self._endpoint().url

    @property
    def wombat_url(self) -> str:
        """Where Wombat's HTTP interface listens. Raises ``NotRunningError``."""
        return self.wombat.url

    @property
    def wombat(self) -> WombatClient:
        """Wombat's HTTP interface, authenticated. Raises ``NotRunningError``."""
        if self._group is not None:
            return self._group.wombat_client
        if self._attachment is not None and self._attachment.wombat is not None:
            return self._attachment.wombat
        raise NotRunningError(
            "There is no Wombat here.",
            hint="Start the platform, or attach with wombat_url= and wombat_password=.",
        )

    @property
    def data_dir(self) -> Path | None:
        """The folder with streams, credentials and logs; None for a remote platform, or while stopped."""
        if self._group is not None:
            return self._group.folder.path
        return self._attachment.data_dir if self._attachment is not None else self._data_dir

    @property
    def ports(self) -> dict[str, int]:
        """The ports of the servers started here, by service."""
        return dict(self._group.ports) if self._group is not None else {}

    def credentials_file(self, role: str = "admin") -> Path:
        """The file with the nkey seed of a role: admin, wombat, worker, viewer or system."""
        if role not in ROLES:
            raise UsageError(f"There is no role {role!r}.", hint=f"One of {', '.join(ROLES)}.")
        if self.data_dir is None or not self.running:
            raise NotRunningError("The platform's own credentials are not at hand.", hint="Start it first.")
        return self.data_dir / "credentials" / f"{role}.nk"

    def status(self) -> PlatformStatus:
        """Services, versions, ports, uptime, memory and restarts; shows itself as a card or as text."""
        states, versions = self.service_states()
        return platform_status(
            states,
            versions,
            nats_url=self._url_or_none(lambda: self.nats_url),
            wombat_url=self._url_or_none(lambda: self.wombat_url),
            data_dir=self.data_dir,
            durability=self.durability,
            attached=self._attachment is not None,
        )

    def logs(self, service: str, lines: int = 50) -> str:
        """The last lines of a service's log.

        Errors: ``UsageError`` for a service there is none of, naming those there are.
        """
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
        return await connect(self._endpoint(role), name=f"platform-kit-{role}", **options)

    def ping(self, timeout_s: float = 2.0) -> list[Answer]:
        """Ask NATS, JetStream, Wombat and the workers whether they answer. Raises ``NotRunningError``."""
        client = self._require_client()
        wombat = self._attachment.wombat if self._attachment is not None else self.wombat
        return self._loop.run(ping_all(client, wombat, CARD_WORKER, timeout_s), timeout_s + 5.0)

    # ------------------------------------------------------------------------- pipelines

    def deploy(
        self, pipeline: Pipeline | str | Path, *, wait: bool = True, timeout_s: float = 30.0
    ) -> Deployment:
        """Lint a pipeline, give it to Wombat, and wait until its input and output are connected.

        If it does not become ready within ``timeout_s`` seconds, what ran under its name before is put back.

        Errors: ``LintError`` with lines and columns, ``DeployError`` with Wombat's reason.
        """
        if not isinstance(pipeline, Pipeline):
            pipeline = Pipeline.read(pipeline)
        client, store = self.wombat, self._pipeline_store()
        log = self.data_dir / "logs" / "wombat.log" if self.data_dir is not None else None
        job = self._loop.submit(
            self._deploy(pipeline, client, store, timeout_s=timeout_s, log=log),
            name=f"deploying {pipeline.name}",
            stall_timeout_s=timeout_s + 60.0,
        )
        deployment = Deployment(pipeline.name, job)
        return deployment.wait() if wait else deployment

    def remove(self, name: str) -> bool:
        """Take a pipeline away; False if there was none of this name."""
        if (store := self._pipeline_store()) is not None:
            store.remove(name)
        return self.wombat.delete(name)

    # ------------------------------------------------------------------------- cards

    def generate(
        self,
        deck: Deck | str | Path | pd.DataFrame,
        template: Template | str | Path = "classic",
        *,
        seed: int = 0,
        out: str | Path | None = None,
        wait: bool = True,
        progress: bool = True,
        stall_timeout_s: float | None = None,
    ) -> CardRun:
        """Render a deck: publish a request a card and follow the results until all are accounted for.

        A card whose row, template, art and renderer are what they were is not rendered again, if ``out`` or
        the platform's data folder has its picture.

        Parameters
        ----------
        deck: A deck, a DataFrame, or the path of a file.
        template: "classic", "minimal", the path of a template, or a template.
        seed: Decides the procedural art of cards without a picture.
        out: A folder for the PNG files.
        wait: False returns at once; the run then goes on, see :class:`CardRun`.
        progress: Whether a progress bar is drawn.
        stall_timeout_s: Give up after this long without any progress.

        Errors: ``DeckError`` and ``TemplateError`` for files that cannot be used, ``RunStalled`` when
        nothing moves. A broken row is no error: it is in ``run.rejected``.
        """
        if isinstance(seed, bool) or not isinstance(seed, int) or abs(seed) >= 2**53:
            raise UsageError(f"seed={seed!r}.", hint="Give a whole number below 2**53.")
        limit = self.settings.stall_timeout_s if stall_timeout_s is None else stall_timeout_s
        if not (isinstance(limit, (int, float)) and limit > 0):
            raise UsageError(f"stall_timeout_s={stall_timeout_s!r}.", hint="Give seconds above zero.")
        if not isinstance(template, (Template, str, Path)):
            raise UsageError(f"template={template!r}.", hint="Give a name, a path or a Template.")
        folder = _path(out, "out")
        if not isinstance(deck, Deck):
            deck = Deck.read(deck) if isinstance(deck, (str, Path)) else Deck(deck)
        if not isinstance(template, Template):
            template = Template.read(template)
        client = self._require_client()
        generation = Generation(
            client,
            deck,
            template,
            seed=seed,
            renderer=binaries.renderer_key(self.settings),
            out=folder,
        )
        job = self._loop.submit(
            generation.run,
            name=f"{template.name} cards",
            total=len(deck),
            unit="card",
            progress=progress,
            stall_timeout_s=limit,
        )
        run = CardRun(generation, job, self._loop, client, self.status, deck, template)
        return run.wait() if wait else run

    # ------------------------------------------------------------------------- inside

    def _start(self, cancel: threading.Event) -> None:
        pipeline = Pipeline.read(self.settings.config_dir / "pipelines" / f"{PIPELINE}.yaml")
        preload = threading.Thread(
            target=_preload, args=(pipeline,), name="platform-kit-preload", daemon=True
        )
        preload.start()
        group: ServerGroup | None = None
        try:
            self._loop.start()
            pings = WorkerPings(self._loop, CARD_WORKER)
            group = ServerGroup(
                self._desired(),
                prepare=lambda group: self._prepare(group, pings),
                answers=pings.answered,
                kept_ports=self._kept_ports,
                on_change=self._changed,
            )
            group.start(cancel)
            self._group = group
            self._deploy_shipped(group, pipeline)
            self._kept_ports = dict(group.ports)
        except BaseException:
            self._group = None
            self._disconnect()
            if group is not None and hasattr(group, "folder"):
                group.stop()
            self._loop.stop()
            raise
        finally:
            preload.join()

    def _desired(self) -> Desired:
        settings = self.settings
        names = ("nats-server", "wombat", CARD_WORKER)
        include = settings.config_dir / "nats-server.conf"
        return Desired(
            binaries={name: binaries.ensure(name, settings) for name in names},
            data_dir=self._data_dir,
            workers={CARD_WORKER: self._workers},
            durability=self.durability,
            wombat_config=_read_yaml(settings.config_dir / "wombat.yaml"),
            nats_include=include if include.is_file() else None,
            max_payload_bytes=settings.max_payload_bytes,
            startup_timeout_s=settings.startup_timeout_s,
            stop_timeout_s=settings.stop_timeout_s,
        )

    def _prepare(self, group: ServerGroup, pings: WorkerPings) -> None:
        """While Wombat and the workers start: connect, and make the streams."""
        endpoint = Endpoint(group.nats.url, group.credentials.seed_file("admin"), "_INBOX_admin")

        async def prepare() -> Client:
            client = await connect(endpoint, name="platform-kit")
            await ensure_card_streams(client.jetstream())
            await pings.listen(client)
            return client

        self._client = self._loop.run(prepare(), self.settings.startup_timeout_s)

    def _deploy_shipped(self, group: ServerGroup, pipeline: Pipeline) -> None:
        limit = self.settings.startup_timeout_s
        work = self._deploy(
            pipeline, group.wombat_client, group.pipelines, timeout_s=limit, log=group.wombat.log_path
        )
        self._loop.run(work, limit + 5.0)
        for refused in group.deploy_kept(but=PIPELINE):
            warnings.warn(refused, stacklevel=2)

    async def _deploy(
        self,
        pipeline: Pipeline,
        client: WombatClient,
        store: PipelineStore | None,
        *,
        timeout_s: float,
        log: Path | None,
    ) -> None:
        await deploy(pipeline, client, store, settings=self.settings, timeout_s=timeout_s, log=log)
        if pipeline.name == PIPELINE and self._client is not None:
            await note_pipeline(self._client.jetstream(), pipeline.digest)

    def _stop(self) -> None:
        self._attachment = None
        group, self._group = self._group, None
        try:
            self._disconnect()
        finally:
            if group is not None:
                group.stop()
            self._loop.stop()
            self._changed()

    def _attach(self, attachment: _Attachment) -> None:
        self._loop.start()
        try:
            self._client = self._loop.run(connect(attachment.endpoint, name="platform-kit"), 15.0)
        except BaseException:
            self._loop.stop()
            raise
        self._attachment = attachment

    def _disconnect(self) -> None:
        client, self._client = self._client, None
        if client is not None and self._loop.running:
            self._loop.cancel_jobs()  # before their connection closes under them
            self._loop.run(client.close(), 5.0)

    def _endpoint(self, role: str = "admin") -> Endpoint:
        if self._group is not None:
            return Endpoint(self._group.nats.url, self.credentials_file(role), f"_INBOX_{role}")
        if self._attachment is not None:
            return self._attachment.endpoint
        raise NotRunningError("The platform is not running.", hint="Call platform.start() first.")

    def _require_client(self) -> Client:
        self._endpoint()
        assert self._client is not None
        return self._client

    def _pipeline_store(self) -> PipelineStore | None:
        return PipelineStore(self.data_dir / "pipelines") if self.data_dir is not None else None

    def service_states(self) -> tuple[Sequence[ServiceState], dict[str, str]]:
        """Each process as its supervisor sees it, and the versions of the binaries."""
        versions = {item.name: item.version for item in binaries.inventory(self.settings)}
        if self._group is not None:
            return self._group.snapshots(), versions
        if self._attachment is not None and self._attachment.folder is not None:
            state = read_state(self._attachment.folder)
            return (state.services, state.versions) if state is not None and state.is_alive() else ((), {})
        return (), versions

    def _url_or_none(self, url: Callable[[], str]) -> str | None:
        try:
            return url()
        except NotRunningError:
            return None

    def _changed(self) -> None:
        for listener in list(self._listeners):
            listener()


class _Attachment:
    """Servers somebody else runs."""

    def __init__(
        self,
        endpoint: Endpoint,
        wombat: WombatClient | None,
        data_dir: Path | None,
        folder: Path | None,
        durability: str,
    ) -> None:
        self.endpoint = endpoint
        self.wombat = wombat
        self.data_dir = data_dir
        self.folder = folder
        self.durability = durability


def _find_background(settings: Settings) -> _Attachment:
    cwd = Path.cwd()
    # Below the checkout, such as in notebooks/, its own platform is meant; elsewhere it is not.
    folders = [cwd, settings.root] if cwd.is_relative_to(settings.root) else [cwd]
    for folder in folders:
        state = read_state(folder)
        if state is None or not state.is_alive() or not state.ready:
            continue
        credentials = Path(state.credentials)
        password = (credentials / "wombat.password").read_text().strip()
        return _Attachment(
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


def _path(value: object, name: str) -> Path | None:
    if value is None:
        return None
    if not isinstance(value, (str, Path)) or not str(value) or "\0" in str(value):
        raise UsageError(f"{name}={value!r} is not the path of a folder.", hint="Give a text or a Path.")
    return Path(value).expanduser()


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


def _run_in_thread(work: Callable[[], None], *, on_interrupt: Callable[[], None], name: str) -> None:
    """Run ``work`` to its end, whatever interrupts the caller, and raise what it raised.

    An interrupt reaches the main thread between any two instructions; work that must clean up after itself
    is therefore done in another one, and told.
    """
    failures: list[BaseException] = []
    # Not thread.join(): an interrupted join takes the thread for ended (CPython before 3.13).
    ended = threading.Event()

    def guarded() -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)
        finally:
            ended.set()

    thread = threading.Thread(target=guarded, name=name, daemon=True)
    interrupted: KeyboardInterrupt | None = None
    begun = False
    while not ended.is_set():
        try:
            if not begun:
                begun = True
                thread.start()
            ended.wait()
        except KeyboardInterrupt as error:
            interrupted = error
            on_interrupt()
            if thread.ident is None:  # interrupted before it began
                break
    if interrupted is not None:
        raise interrupted
    if failures:
        if isinstance(failures[0], Cancelled):
            raise StartupError("The start was cancelled.") from failures[0]
        raise failures[0]
