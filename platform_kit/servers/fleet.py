"""The worker processes of one platform: started, scaled while work goes on, replaced by a newer build."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from platform_kit.errors import StartupError, UsageError
from platform_kit.servers.supervisor import ServiceState, Supervisor
from platform_kit.servers.worker import Answers, Worker, WorkerKind

LIMIT = 256
"""More processes of one worker than any one machine has a use for."""

DRAIN_S = 7.0
"""A worker finishes within five seconds what it has accepted; this is a little more."""

AT_ONCE = 32


class Fleet:
    """Supervised workers by name.

    Parameters
    ----------
    group: The process group of the warden that ends them should this process be killed.
    folder: Where they work; their logs are in ``logs/`` below.
    nats_url: The server they join.
    secret: The variable that names the file with their key.
    answers: Whether a process answers a ping.
    startup_timeout_s, stop_timeout_s: Limits of one start and one stop, in seconds.
    on_change: Called after each change of a worker's state.
    suffix: See :class:`Worker`.
    """

    def __init__(
        self,
        *,
        group: Callable[[], int],
        folder: Path,
        nats_url: str,
        secret: Mapping[str, str],
        answers: Answers,
        startup_timeout_s: float,
        stop_timeout_s: float,
        on_change: Callable[[], None],
        suffix: str = "",
    ) -> None:
        self._group = group
        self._folder = folder
        self._nats_url = nats_url
        self._secret = secret
        self._answers = answers
        self._startup_timeout_s = startup_timeout_s
        self._stop_timeout_s = max(stop_timeout_s, DRAIN_S)
        self._on_change = on_change
        self._suffix = suffix
        self._lock = threading.Lock()
        self._kinds: dict[str, WorkerKind] = {}
        self._running: dict[str, list[Supervisor]] = {}

    @property
    def kinds(self) -> Mapping[str, WorkerKind]:
        """The workers by name, also those with no process at the moment."""
        return dict(self._kinds)

    @property
    def log_folder(self) -> Path:
        """Where the logs are."""
        return self._folder / "logs"

    def log_of(self, service: str) -> str | None:
        """The log that a process of this name, or the first of this worker, has written here."""
        own = service.removesuffix(self._suffix)  # status shows the name it answers with
        names = (own, f"{own}-1")
        return next((name for name in names if (self.log_folder / f"{name}.log").is_file()), None)

    def count(self, name: str) -> int:
        """How many processes of this worker there should be."""
        return len(self._running.get(name, ()))

    def instances(self) -> set[str]:
        """The instance names of all processes."""
        running = [supervisor for group in list(self._running.values()) for supervisor in list(group)]
        return {
            supervisor.service.instance for supervisor in running if isinstance(supervisor.service, Worker)
        }

    def snapshots(self, name: str | None = None) -> list[ServiceState]:
        """Each process as it is now, of one worker or of all, in the order of their start."""
        groups = list(self._running.values()) if name is None else [self._running.get(name, [])]
        return [supervisor.snapshot() for group in groups for supervisor in list(group)]

    def launch(self, kind: WorkerKind, count: int) -> None:
        """Start processes of a new worker without waiting for them; :meth:`wait` completes the start."""
        self._kinds[kind.name] = kind
        self._running[kind.name] = []
        for supervisor in self._new(kind, count, kept=()):
            self._running[kind.name].append(supervisor)
            supervisor.launch()

    def wait(self, cancel: threading.Event) -> None:
        """Wait until all that were launched answer. Raises ``StartupError`` or ``Cancelled``."""
        for group in self._running.values():
            for supervisor in group:
                _wait_ready(supervisor, cancel)

    def add(self, kind: WorkerKind, count: int, cancel: threading.Event) -> None:
        """Run ``count`` processes of a worker; a newer build takes over from an older one without a gap.

        Whatever goes wrong, what ran before runs on, and nothing of the new is left.

        Errors: ``UsageError`` when another program runs under this name, ``StartupError``, ``Cancelled``.
        """
        with self._lock:
            before = self._kinds.get(kind.name)
            if before == kind:
                self._scale(kind, count, cancel)
                return
            if before is not None and self.count(kind.name) and not _same_program(before, kind):
                raise UsageError(
                    f"Another worker runs as {kind.name!r} already: {before.source or before.binary}.",
                    hint=f"Give this one another name with name=, or scale_workers({kind.name!r}, 0) first.",
                )
            old = self._running.get(kind.name, [])
            new = self._start(self._new(kind, count, kept=old), cancel)
            self._kinds[kind.name] = kind
            self._running[kind.name] = [*old, *new]
            self._end(kind.name, old)

    def scale(self, name: str, count: int, cancel: threading.Event) -> None:
        """Start or drain processes until there are ``count``.

        Errors: ``KeyError`` for a name there is none of, ``StartupError``, ``Cancelled``.
        """
        with self._lock:
            self._scale(self._kinds[name], count, cancel)

    def stop(self) -> None:
        """Ask all to end, all at once."""
        with self._lock:
            _all_at_once(Supervisor.stop, [s for group in self._running.values() for s in group])
            self._running.clear()
            self._kinds.clear()

    # ----------------------------------------------------------------------------------------------

    def _scale(self, kind: WorkerKind, count: int, cancel: threading.Event) -> None:
        running = self._running[kind.name]
        if count > len(running):
            new = self._start(self._new(kind, count - len(running), kept=running), cancel)
            self._running[kind.name] = [*running, *new]
            self._on_change()
        elif count < len(running):
            self._end(kind.name, running[count:])

    def _new(self, kind: WorkerKind, count: int, *, kept: Sequence[Supervisor]) -> list[Supervisor]:
        """Supervisors with the lowest numbers nobody has."""
        taken = {supervisor.service.name for supervisor in kept}
        numbers = [n for n in range(1, len(kept) + count + 1) if f"{kind.name}-{n}" not in taken]
        return [self._supervisor(kind, number) for number in numbers[:count]]

    def _supervisor(self, kind: WorkerKind, number: int) -> Supervisor:
        worker = Worker(
            kind,
            number,
            self._folder,
            nats_url=self._nats_url,
            secret=self._secret,
            answers=self._answers,
            suffix=self._suffix,
        )
        return Supervisor(
            worker,
            group=self._group(),
            startup_timeout_s=self._startup_timeout_s,
            stop_timeout_s=self._stop_timeout_s,
            on_change=self._on_change,
        )

    def _start(self, supervisors: list[Supervisor], cancel: threading.Event) -> list[Supervisor]:
        """All of them, or none."""
        try:
            for supervisor in supervisors:
                supervisor.launch()
            for supervisor in supervisors:
                _wait_ready(supervisor, cancel)
        except BaseException:
            _all_at_once(Supervisor.stop, supervisors)
            raise
        return supervisors

    def _end(self, name: str, ending: list[Supervisor]) -> None:
        """Drain some; they are shown until they are gone."""
        _all_at_once(Supervisor.stop, ending)
        self._running[name] = [s for s in self._running[name] if s not in ending]
        self._on_change()


def _same_program(one: WorkerKind, other: WorkerKind) -> bool:
    """Whether both were built from the same source, be it edited in between."""
    return (one.source or one.binary, one.service) == (other.source or other.binary, other.service)


def _wait_ready(supervisor: Supervisor, cancel: threading.Event) -> None:
    try:
        supervisor.wait_ready(cancel)
    except StartupError as error:
        if error.exit_code is not None or not isinstance(worker := supervisor.service, Worker):
            raise
        service, program = worker.kind.service, worker.kind.source or worker.kind.binary
        raise StartupError(
            f"{worker.name} runs, but did not answer on $SRV.PING.{service} in time.",
            command=error.command,
            log_tail=error.log_tail,
            hint=f"`platform-kit check-worker {program}` says what is wrong; "
            "if it only starts slowly, set PLATFORM_KIT_STARTUP_TIMEOUT_S higher.",
        ) from error


def _all_at_once(work: Callable[[Supervisor], None], supervisors: Iterable[Supervisor]) -> None:
    """A drain takes seconds; of many workers none should wait for the others'."""
    todo = list(supervisors)
    if len(todo) <= 1:
        for supervisor in todo:
            work(supervisor)
        return
    with ThreadPoolExecutor(min(AT_ONCE, len(todo)), thread_name_prefix="platform-kit-workers") as pool:
        for done in [pool.submit(work, supervisor) for supervisor in todo]:
            done.result()
