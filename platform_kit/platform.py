"""The platform: real servers, started and stopped from a cell, and the jobs one does with them."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from platform_kit import binaries
from platform_kit.art.folder import ArtFolder
from platform_kit.art.preparation import Preparation
from platform_kit.art.run import ArtRun
from platform_kit.art.shown import Fetch
from platform_kit.art.streams import PIPELINE as ART_PIPELINE
from platform_kit.art.streams import WORKER as ART_WORKER
from platform_kit.art.watch import ArtWatch
from platform_kit.backing import CARD_WORKER, Attached, Backing, Place, Started, deploy_noted, find_background
from platform_kit.cards.deck import Deck
from platform_kit.cards.generation import Generation
from platform_kit.cards.output_folder import tight_disk
from platform_kit.cards.run import CardRun
from platform_kit.cards.template import Template
from platform_kit.errors import NotRunningError, UsageError
from platform_kit.jetstream.account import Account
from platform_kit.jetstream.api import Api
from platform_kit.jetstream.bucket_options import KEY_VALUE_OPTIONS, OBJECT_STORE_OPTIONS
from platform_kit.jetstream.buckets import KeyValue, ObjectStore
from platform_kit.jetstream.connection import Endpoint, connect
from platform_kit.jetstream.consumer_options import CONSUMER_OPTIONS
from platform_kit.jetstream.frames.transfers import Transfers
from platform_kit.jetstream.options import OptionTable, takes
from platform_kit.jetstream.stream import Caller, Stream
from platform_kit.jetstream.stream_options import STREAM_OPTIONS
from platform_kit.jobs import Job, LoopThread, Work
from platform_kit.ping import Answer, ping_all
from platform_kit.pipelines.deployment import Deployment
from platform_kit.pipelines.pipeline import Pipeline
from platform_kit.servers.credentials import ROLES
from platform_kit.servers.fleet import LIMIT
from platform_kit.servers.logs import log_tail
from platform_kit.servers.nats_server import SYNC_INTERVAL
from platform_kit.servers.pipeline_store import PipelineStore
from platform_kit.servers.status import PlatformStatus, platform_status
from platform_kit.servers.supervisor import ServiceState
from platform_kit.servers.uninterrupted import run_uninterrupted
from platform_kit.servers.wombat import WombatClient
from platform_kit.settings import Settings
from platform_kit.workers.program import find_program, worker_kind
from platform_kit.workers.running import WorkerProcesses, WorkerTable, ask_builds, ask_workers

if TYPE_CHECKING:
    import datetime

    import pandas as pd
    from nats.aio.client import Client

    from platform_kit.jetstream.frames.chunks import Chunks
    from platform_kit.jetstream.frames.replay import Replay
    from platform_kit.jetstream.frames.report import PublishReport

T = TypeVar("T")


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
        _check_count("workers", workers, least=0)
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
    def wombat(self) -> WombatClient:
        """Wombat's HTTP interface, authenticated. Raises ``NotRunningError``."""
        if self._backing is not None and self._backing.wombat is not None:
            return self._backing.wombat
        raise NotRunningError(
            "There is no Wombat here.",
            hint="Start the platform, or attach with wombat_url= and wombat_password=.",
        )

    @property
    def data_dir(self) -> Path | None:
        """The folder with streams, credentials and logs; None for a remote platform, or while stopped."""
        return self._backing.data_dir if self._backing is not None else self._data_dir

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

    def status(self) -> PlatformStatus:
        """Services, versions, ports, uptime, memory and restarts; shows itself as a card or as text."""
        states, versions = self.service_states()
        backing = self._backing
        return platform_status(
            states,
            versions,
            nats_url=backing.endpoint("admin").url if backing is not None else None,
            wombat_url=backing.wombat.url if backing is not None and backing.wombat is not None else None,
            data_dir=self.data_dir,
            durability=self.durability,
            attached=backing is not None and backing.attached,
        )

    def logs(self, service: str, lines: int = 50) -> str:
        """The last lines of a service's log.

        Errors: ``UsageError`` for a service there is none of, naming those there are.
        """
        fleet = self._backing.fleet if self._backing is not None else None
        if fleet is not None and fleet.has_log(service):
            return log_tail(fleet.log_folder, service, lines)
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

    # ------------------------------------------------------------------------- streams

    @takes(STREAM_OPTIONS)
    def create_stream(self, name: str, **options: object) -> Stream:
        """Create a stream; one that is there with the same options is left as it is.

        Options have nats-server's own names. What is not given, or None, has its default.

        Errors: ``OptionError`` that lists every wrong option, before anything is sent; ``ExistsError`` if it
        is there with other options, saying which (:meth:`Stream.update` changes them); ``StreamError`` with
        the server's reason; ``NotRunningError``.

        Example
        -------
        >>> with Platform(workers=0) as platform:
        ...     orders = platform.create_stream("ORDERS", subjects=["orders.>"], max_age="1h")
        ...     orders.messages
        0
        """
        return self._account.create_stream(name, options)

    def stream(self, name: str) -> Stream:
        """A stream that is there. Errors: ``StreamError`` naming those there are; ``NotRunningError``."""
        return self._account.stream(name)

    def streams(self) -> pd.DataFrame:
        """All streams, one row each: messages, bytes, first and last, subjects, retention, replicas and more.

        Buckets are streams too; the column ``kind`` says so. Errors: ``StreamError``, ``NotRunningError``.
        """
        return self._account.streams()

    def delete_stream(self, name: str) -> bool:
        """Delete a stream with its messages and consumers; False if there was none of this name."""
        return self._account.delete_stream(name)

    @takes(KEY_VALUE_OPTIONS)
    def create_key_value(self, name: str, **options: object) -> KeyValue:
        """Create a key-value bucket; one that is there with the same options is left as it is.

        Values are put and got with nats-py: ``kv = await nc.jetstream().key_value(name)``.

        Errors: as :meth:`create_stream`.
        """
        return self._account.create_key_value(name, options)

    def key_value(self, name: str) -> KeyValue:
        """A key-value bucket that is there. Errors: ``StreamError`` naming those there are."""
        return self._account.key_value(name)

    def delete_key_value(self, name: str) -> bool:
        """Delete a key-value bucket with all its keys; False if there was none of this name."""
        return self._account.delete_bucket(KeyValue, name)

    @takes(OBJECT_STORE_OPTIONS)
    def create_object_store(self, name: str, **options: object) -> ObjectStore:
        """Create an object store; one that is there with the same options is left as it is.

        Objects are put and got with nats-py: ``store = await nc.jetstream().object_store(name)``.

        Errors: as :meth:`create_stream`.
        """
        return self._account.create_object_store(name, options)

    def object_store(self, name: str) -> ObjectStore:
        """An object store that is there. Errors: ``StreamError`` naming those there are."""
        return self._account.object_store(name)

    def delete_object_store(self, name: str) -> bool:
        """Delete an object store with all its objects; False if there was none of this name."""
        return self._account.delete_bucket(ObjectStore, name)

    @staticmethod
    def stream_options() -> OptionTable:
        """Every option of a stream, as a table: what it takes, its default, whether it can be changed."""
        return STREAM_OPTIONS

    @staticmethod
    def consumer_options() -> OptionTable:
        """Every option of a consumer, as a table."""
        return CONSUMER_OPTIONS

    @staticmethod
    def key_value_options() -> OptionTable:
        """Every option of a key-value bucket, as a table."""
        return KEY_VALUE_OPTIONS

    @staticmethod
    def object_store_options() -> OptionTable:
        """Every option of an object store, as a table."""
        return OBJECT_STORE_OPTIONS

    @property
    def _account(self) -> Account:
        return Account(Caller(self._loop, self._api))

    def _api(self) -> Api:
        backing = self._require()
        key = backing.endpoint("admin").credentials
        who = "this connection" if key is None else f"the role {key.stem}" if key.stem in ROLES else key.name
        return Api(backing.client, who=who)

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
        _ = self.wombat  # says at once if there is none
        job = self._loop.submit(
            deploy_noted(self._require(), pipeline, self.settings, timeout_s=timeout_s),
            name=f"deploying {pipeline.name}",
            stall_timeout_s=timeout_s + 60.0,
        )
        if pipeline.name == ART_PIPELINE:
            self._art_pipeline_on = self._backing
        deployment = Deployment(pipeline.name, job)
        return deployment.wait() if wait else deployment

    def remove(self, name: str) -> bool:
        """Take a pipeline away; False if there was none of this name."""
        if self.data_dir is not None:
            PipelineStore(self.data_dir / "pipelines").remove(name)
        return self.wombat.delete(name)

    # ------------------------------------------------------------------------- workers

    def start_workers(
        self,
        path: str | Path,
        count: int = 1,
        *,
        name: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> WorkerProcesses:
        """Build a worker if need be, and run ``count`` processes of it, supervised, until the platform stops.

        A worker that runs already is brought to ``count``; one whose source was edited since is replaced: the
        new processes take over before the old ones have finished their work and end.

        Parameters
        ----------
        path: A folder with (or in) a Go module that uses ``platform-kit/worker``, an executable, or the name
            of one of the kit's workers.
        count: How many processes there are then.
        name: What they are called here; by default what the worker calls itself. Requests go to
            ``workers.<the worker's own name>`` either way.
        env: Further variables of the processes. ``ps`` shows them: pass a secret as the path of a file.

        Errors: ``UsageError``; ``BuildError`` with the compiler's lines; ``BinaryError`` for what is not a
        worker; ``StartupError`` with the log of one that does not become ready. What ran before runs on.

        Example
        -------
        >>> with Platform(workers=0) as platform:
        ...     workers = platform.start_workers("card-renderer", count=2)
        ...     workers.count
        2
        """
        _check_count("count", count, least=1)
        self._require()
        program = find_program(path, self.settings, progress=binaries.console_progress())
        kind = worker_kind(program, name=name, env={} if env is None else env)
        with self._lock:
            fleet = self._require().open_fleet()
            run_uninterrupted(
                lambda cancel: fleet.add(kind, count, cancel),
                name="platform-kit-workers",
                cancelled=f"The start of {kind.name} was cancelled.",
            )
        return WorkerProcesses(kind.name, program, fleet)

    def scale_workers(self, name: str, count: int) -> None:
        """Start or end processes of a worker until there are ``count``, also while a run is going.

        One that is to end finishes what it has accepted; the others get what comes now.

        Parameters
        ----------
        name: What :meth:`start_workers` or ``status`` calls it, such as "card-renderer".
        count: From 0 on. Without any, requests wait in the stream.

        Errors: ``UsageError`` for workers that this process does not run, saying who does; ``StartupError``.
        """
        _check_count("count", count, least=0)
        with self._lock:
            fleet = self._require().fleet
            if fleet is None or name not in fleet.kinds:
                raise self._not_ours(name)
            run_uninterrupted(
                lambda cancel: fleet.scale(name, count, cancel),
                name="platform-kit-workers",
                cancelled=f"Scaling {name} was cancelled.",
            )

    def workers(self, timeout_s: float = 2.0) -> WorkerTable:
        """All workers that answer on NATS, wherever they run, with what each says of itself.

        Errors: ``NotRunningError``.
        """
        client = self._require().client
        return WorkerTable(self._loop.run(ask_workers(client, timeout_s), timeout_s + 5.0))

    def _not_ours(self, name: str) -> UsageError:
        backing = self._require()
        fleet = backing.fleet
        # What answers as workers.<name> may run here under another name.
        called = [kind.name for kind in fleet.kinds.values() if kind.service == name] if fleet else []
        if called:
            shown = " and ".join(map(repr, called))
            return UsageError(
                f"The workers that answer as {name!r} are called {shown} here.",
                hint=f"Scale them by that name: scale_workers({called[0]!r}, ...).",
            )
        elsewhere = [row for row in self.workers().rows if row.name == name]
        if elsewhere:
            shown = ", ".join(f"{row.instance} (process {row.pid})" for row in elsewhere[:4])
            more = f" and {len(elsewhere) - 4} more" if len(elsewhere) > 4 else ""
            return UsageError(
                f"The workers {name!r} are run by {backing.where}, not by this process: {shown}{more}.",
                hint=f"Scale them there, or add some that run here: start_workers({name!r}, count=...).",
            )
        known = ", ".join(backing.fleet.kinds) if backing.fleet is not None else ""
        return UsageError(
            f"There are no workers {name!r}.",
            hint=f"Here run {known}." if known else "start_workers runs some here.",
        )

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
        limit = self._stall_limit(stall_timeout_s)
        if not isinstance(template, (Template, str, Path)):
            raise UsageError(f"template={template!r}.", hint="Give a name, a path or a Template.")
        folder = _path(out, "out")
        if not isinstance(deck, Deck):
            deck = Deck.read(deck) if isinstance(deck, (str, Path)) else Deck(deck)
        if not isinstance(template, Template):
            template = Template.read(template)
        backing = self._require()
        client = backing.client
        if folder is not None and (tight := tight_disk(folder, self.data_dir, len(deck), template.size_px)):
            warnings.warn(tight, stacklevel=2)
        generation = Generation(
            client,
            deck,
            template,
            seed=seed,
            renderers=lambda: self._renderers(backing),
            out=folder,
            follow=backing.endpoint("admin") if self.data_dir is not None else None,
        )
        job = self._loop.submit(
            generation.run,
            name=f"{template.name} cards",
            total=len(deck),
            unit="card",
            progress=progress,
            stall_timeout_s=limit,
            diagnose=lambda: _no_worker(client, CARD_WORKER),
        )
        run = CardRun(generation, job, self._loop, client, self.status, deck, template)
        return run.wait() if wait else run

    async def _renderers(self, backing: Backing) -> list[str]:
        """The builds of the renderers: as they say themselves where another process runs them."""
        own = [binaries.renderer_key(self.settings)]
        return own if isinstance(backing, Started) else await ask_builds(backing.client, CARD_WORKER) or own

    # ------------------------------------------------------------------------- frames

    def publish_frame(
        self,
        subject: str,
        frame: pd.DataFrame,
        *,
        payload: str = "json",
        columns: Sequence[str] | None = None,
        headers: Mapping[str, str] | None = None,
        message_id: str | None = "auto",
        engine: str = "auto",
        wait: bool = True,
        progress: bool = True,
        stall_timeout_s: float | None = None,
    ) -> PublishReport:
        """Publish each row of a table as a message, and account for every one of them.

        A row that cannot be published (an empty cell in the subject, a cell that is not JSON, a payload
        larger than the server takes, no stream for its subject) is in ``report.failed`` with the reason; the
        others go on.

        Parameters
        ----------
        subject: A subject with columns' names in braces: "cards.{set}.{id}". Values are percent-encoded, see
            :func:`platform_kit.names.token`.
        frame: The table.
        payload: "json" or "msgpack" (an object of the row's columns), or the name of a column with bytes or
            text.
        columns: The columns of the object; None for all.
        headers: Column by header: ``{"Card-Set": "set"}``. A missing value leaves the header out.
        message_id: "auto" gives every message an id of its own, so that after a broken connection it can be
            sent again and is stored once. A column's name takes the ids from there: the stream drops what it
            has seen within its window, in this frame or another. None sends none, which is a quarter faster:
            what was on its way when a connection broke is then reported as ``stored="unknown"``.
        engine: "native" is the compiled client, "python" nats-py; "auto" decides by the number of rows.
        wait: False returns at once; the report then fills up.
        progress: Whether a progress bar is drawn.
        stall_timeout_s: Give up after this long without any progress.

        Errors: ``UsageError`` before anything is sent; ``StreamError`` when no stream takes such subjects, or
        permission is denied; ``RunStalled`` when the server stays away.

        Example
        -------
        >>> import pandas as pd
        >>> with Platform(workers=0) as platform:
        ...     frame = pd.DataFrame({"id": ["a", "b"], "power": [3, 4]})
        ...     report = platform.publish_frame("cards.rendered.{id}", frame, progress=False)
        >>> report.published, len(report.failed)
        (2, 0)
        """
        limit = self._stall_limit(stall_timeout_s)
        report = self._transfers(engine).publish(
            subject,
            frame,
            payload=payload,
            columns=columns,
            headers=headers,
            message_id=message_id,
            progress=progress,
            stall_timeout_s=limit,
        )
        return report.wait() if wait else report

    def read_frame(
        self,
        stream: str,
        subjects: str | Sequence[str] | None = None,
        *,
        start: int | str | datetime.datetime = "all",
        limit: int | None = None,
        columns: Sequence[str] | None = None,
        payload: str = "json",
        headers: Sequence[str] | Mapping[str, str] | None = None,
        engine: str = "auto",
        wait: bool = True,
        progress: bool = True,
        stall_timeout_s: float | None = None,
    ) -> Any:
        """Read a stream, up to its last message now, as a table.

        The columns are sequence, subject, time (UTC), those of headers, then the payload's. One of the
        payload's whose name is taken (also "payload" and "error") has "payload." before it. A payload that
        cannot be decoded
        keeps its row: its bytes are in the column ``payload``, the reason in ``error``; both columns are
        there if there is such a row, or if ``columns`` names them.

        Parameters
        ----------
        stream: The stream's name.
        subjects: A filter, or several: "cards.*.7", "cards.>".
        start: "all"; a sequence; a datetime (UTC if it has no zone); "last_per_subject".
        limit: At most so many messages, from the start.
        columns: The payload's columns to keep, in this order; None for all.
        payload: "json", "msgpack", or "raw" for the bytes in the column ``payload``.
        headers: Headers to show, as a list or as column by header.
        engine, progress, stall_timeout_s: As for :meth:`publish_frame`.
        wait: False returns the :class:`~platform_kit.jobs.Job` that reads; its ``wait()`` returns the table.

        Errors: ``UsageError``; ``StreamError`` for a stream that is not there; ``RunStalled``.

        Example
        -------
        >>> with Platform(workers=0) as platform:
        ...     frame = platform.read_frame("CARD_RESULTS", progress=False)
        >>> list(frame.columns)
        ['sequence', 'subject', 'time']
        """
        limit_s = self._stall_limit(stall_timeout_s)
        job = self._transfers(engine).read(
            stream,
            subjects,
            start=start,
            limit=limit,
            columns=columns,
            payload=payload,
            headers=headers,
            progress=progress,
            stall_timeout_s=limit_s,
        )
        return job.wait() if wait else job

    def read_chunks(
        self,
        stream: str,
        subjects: str | Sequence[str] | None = None,
        *,
        rows: int = 100_000,
        start: int | str | datetime.datetime = "all",
        limit: int | None = None,
        columns: Sequence[str] | None = None,
        payload: str = "json",
        headers: Sequence[str] | Mapping[str, str] | None = None,
        engine: str = "auto",
        stall_timeout_s: float | None = None,
    ) -> Chunks:
        """Read a stream as tables of ``rows`` rows, one after the other, for ``for`` and ``async for``.

        For streams larger than memory: no more than one table and a few megabytes are held. What a column
        becomes is decided table by table. The other parameters and errors are those of :meth:`read_frame`.

        Example
        -------
        >>> with Platform(workers=0) as platform:
        ...     count = sum(len(chunk) for chunk in platform.read_chunks("CARD_RESULTS"))
        >>> count
        0
        """
        return self._transfers(engine).chunks(
            stream,
            subjects,
            rows=rows,
            start=start,
            limit=limit,
            columns=columns,
            payload=payload,
            headers=headers,
            stall_timeout_s=self._stall_limit(stall_timeout_s),
        )

    def export_stream(
        self,
        stream: str,
        path: str | Path,
        subjects: str | Sequence[str] | None = None,
        *,
        start: int | str | datetime.datetime = "all",
        limit: int | None = None,
        columns: Sequence[str] | None = None,
        payload: str = "json",
        headers: Sequence[str] | Mapping[str, str] | None = None,
        engine: str = "auto",
        wait: bool = True,
        progress: bool = True,
        stall_timeout_s: float | None = None,
    ) -> Any:
        """Write a stream into a file, without holding it in memory: ``.parquet``, ``.arrow`` or ``.feather``.

        Returns the :class:`~platform_kit.jetstream.frames.export.Export` with path, rows, bad and bytes; with
        ``wait=False`` the job that writes it.

        The file is complete or not there. Where messages differ in their columns or types, the file has all
        columns, with types that hold all values (text, as JSON, where there is no other).

        The other parameters and errors are those of :meth:`read_frame`.
        """
        job = self._transfers(engine).export(
            stream,
            path,
            subjects,
            start=start,
            limit=limit,
            columns=columns,
            payload=payload,
            headers=headers,
            progress=progress,
            stall_timeout_s=self._stall_limit(stall_timeout_s),
        )
        return job.wait() if wait else job

    def replay(
        self,
        stream: str,
        into: str,
        *,
        speed: float | str = 1.0,
        subjects: str | Sequence[str] | None = None,
        start: int | str | datetime.datetime = "all",
        limit: int | None = None,
        engine: str = "auto",
        wait: bool = True,
        progress: bool = True,
        stall_timeout_s: float | None = None,
    ) -> Replay:
        """Publish what a stream holds once more, under other subjects.

        Payloads and headers are kept, but for headers that told the server what to do with a message. Every
        message gets a new id, so one that is sent twice after a broken connection is stored once.

        Parameters
        ----------
        stream: The stream's name.
        into: The new subject: "replay.{subject}" puts a part before each message's own, "again.{2}" takes
            its second part; without braces all go to the same.
        speed: 1.0 keeps the original spacing, 10 is ten times as fast, "fast" as fast as it goes.
        subjects, start, limit: Which messages, as for :meth:`read_frame`.
        engine, wait, progress, stall_timeout_s: As for :meth:`publish_frame`.

        Errors: ``UsageError``, also when the stream itself takes the new subjects and would replay its own
        replay; ``StreamError``, ``RunStalled``.
        """
        limit_s = self._stall_limit(stall_timeout_s)
        handle = self._transfers(engine).replay(
            stream,
            into,
            speed=speed,
            subjects=subjects,
            start=start,
            limit=limit,
            progress=progress,
            stall_timeout_s=limit_s,
        )
        return handle.wait() if wait else handle

    def _transfers(self, engine: str) -> Transfers:
        backing = self._require()
        return Transfers(self._loop, backing.client, backing.endpoint("admin"), self.settings, engine=engine)

    # ------------------------------------------------------------------------- art

    def prepare_art(
        self,
        folder: str | Path,
        *,
        wait: bool = True,
        progress: bool = True,
        stall_timeout_s: float | None = None,
    ) -> ArtRun:
        """Prepare the pictures of a folder: normal forms, thumbnails and an atlas with its manifest.

        A picture whose bytes, name, rules and worker are what they were is not prepared again, if the
        platform's data folder has what was made of it. The first call starts the worker for art.

        Parameters
        ----------
        folder: With PNG, JPEG, WebP and SVG files, also in folders below.
        wait: False returns at once; the run then goes on, see :class:`ArtRun`.
        progress: Whether a progress bar is drawn.
        stall_timeout_s: Give up after this long without any progress.

        Errors: ``UsageError`` for a folder that is not there, ``RunStalled`` when nothing moves. A picture
        that cannot be used is no error: it is in ``run.rejected`` with the reason.

        Example
        -------
        >>> import tempfile
        >>> with Platform() as platform, tempfile.TemporaryDirectory() as folder:
        ...     _ = (Path(folder) / "fox.svg").write_text("<svg/>")
        ...     run = platform.prepare_art(folder, progress=False)
        ...     run.counts["prepared"]
        1
        """
        limit = self._stall_limit(stall_timeout_s)
        preparation = self._preparation(folder)
        job = self._loop.submit(
            preparation.look,
            name="preparing art",
            unit="picture",
            progress=progress,
            stall_timeout_s=limit,
        )
        run = ArtRun(preparation, job, Fetch(self._loop, self._require().client))
        return run.wait() if wait else run

    def watch_art(
        self,
        folder: str | Path,
        *,
        deck: Deck | str | Path | pd.DataFrame | None = None,
        template: Template | str | Path = "classic",
        seed: int = 0,
        out: str | Path | None = None,
        stall_timeout_s: float | None = None,
    ) -> ArtWatch:
        """Prepare the pictures of a folder, now and whenever one changes; returns at once.

        With a deck, its cards are rendered too, now and after each change; those whose picture did not change
        are left as they are. A deck given as a path is read again each time.

        Parameters
        ----------
        folder: With PNG, JPEG, WebP and SVG files, also in folders below.
        deck: A deck whose column ``art`` names pictures of the folder.
        template, seed, out: As for :meth:`generate`.
        stall_timeout_s: Give up after this long without any progress.

        Errors: as :meth:`prepare_art`.

        Example
        -------
        >>> import tempfile
        >>> with Platform() as platform, tempfile.TemporaryDirectory() as folder:
        ...     with platform.watch_art(folder) as watch:
        ...         _ = (Path(folder) / "fox.svg").write_text("<svg/>")
        ...         watch.wait_idle().counts["prepared"]
        1
        """
        limit = self._stall_limit(stall_timeout_s)
        render: Callable[[], CardRun] | None = None
        if deck is not None:
            given = deck if isinstance(deck, (Deck, str, Path)) else Deck(deck)

            def render_again() -> CardRun:
                # A deck finds its pictures when it is made.
                fresh = given.take(len(given)) if isinstance(given, Deck) else Deck.read(given)
                return self.generate(fresh, template, seed=seed, out=out, wait=False, progress=False)

            render = render_again
        preparation = self._preparation(folder)
        preparation.folder.refuse_output(_path(out, "out"))
        fetch = Fetch(self._loop, self._require().client)
        return ArtWatch(preparation, self._loop, fetch, render=render, stall_timeout_s=limit)

    def _preparation(self, folder: str | Path) -> Preparation:
        """A folder's pictures, with streams, pipeline and worker there; the first call starts them."""
        path = _path(folder, "folder")
        if path is None:
            raise UsageError("There is no folder.", hint="Name the folder the pictures are in.")
        pictures = ArtFolder(path)
        backing = self._require()
        if self._art_pipeline_on is not backing:
            shipped = self.settings.config_dir / "pipelines" / f"{ART_PIPELINE}.yaml"
            self.deploy(shipped, wait=False).wait(progress=False)
        if backing.fleet is None or ART_WORKER not in backing.fleet.kinds:
            self.start_workers(ART_WORKER)
        build = binaries.ensure(ART_WORKER, self.settings).parent.name
        return Preparation(backing.client, pictures, build=build)

    # ------------------------------------------------------------------------- inside

    def _stall_limit(self, given: float | None) -> float:
        limit = self.settings.stall_timeout_s if given is None else given
        if not (isinstance(limit, (int, float)) and limit > 0):
            raise UsageError(f"stall_timeout_s={given!r}.", hint="Give seconds above zero.")
        return limit

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

    def _require(self) -> Backing:
        if self._backing is None:
            raise NotRunningError("The platform is not running.", hint="Call platform.start() first.")
        return self._backing

    def service_states(self) -> tuple[Sequence[ServiceState], dict[str, str]]:
        """Each process as its supervisor sees it, and the versions of the binaries."""
        if self._backing is None:
            return (), {item.name: item.version for item in binaries.inventory(self.settings)}
        states, versions = self._backing.states()
        return states, dict(versions)

    def _changed(self) -> None:
        for listener in list(self._listeners):
            listener()


def _check_count(name: str, value: object, *, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= LIMIT:
        raise UsageError(f"{name}={value!r}.", hint=f"Give a whole number from {least} to {LIMIT}.")


def _path(value: object, name: str) -> Path | None:
    if value is None:
        return None
    if not isinstance(value, (str, Path)) or not str(value) or "\0" in str(value):
        raise UsageError(f"{name}={value!r} is not the path of a folder.", hint="Give a text or a Path.")
    return Path(value).expanduser()


async def _no_worker(client: Client, name: str) -> tuple[str, str] | None:
    """Why a job that needs workers of this name does not move, if it is that there is none."""
    if not client.is_connected:
        return "nats-server does not answer", "`platform.logs('nats-server')` says what became of it."
    if any(row.name == name for row in await ask_workers(client, 1.0)):
        return None
    return (
        f"no worker {name} answers",
        f"Start one: platform.scale_workers({name!r}, 1), or `platform-kit worker {name}` elsewhere. "
        "The requests wait for it in their stream.",
    )
