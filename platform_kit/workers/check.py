"""Check a worker of any make against the protocol, on every transport, with real processes and servers."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from platform_kit import binaries
from platform_kit.binaries import Progress
from platform_kit.errors import BinaryError, UsageError
from platform_kit.jetstream.connection import Endpoint, connect
from platform_kit.jobs import LoopThread
from platform_kit.servers.credentials import load_or_create
from platform_kit.servers.guard import Guard
from platform_kit.servers.nats_server import NatsServer
from platform_kit.servers.ports import free_port
from platform_kit.servers.process import Process
from platform_kit.settings import Settings
from platform_kit.workers.check_command import CommandCheck
from platform_kit.workers.check_process import Talk
from platform_kit.workers.check_replies import Bodies
from platform_kit.workers.check_report import Check, Fault, Findings, WorkerReport
from platform_kit.workers.check_serve import ServeCheck, start_instance
from platform_kit.workers.check_subprocess import SLOW_S, SubprocessCheck
from platform_kit.workers.program import TRANSPORTS, Program, describe, locate, named_transports

TIMEOUT_S = 10.0
LONGEST_S = 1800.0
_DESCRIBE = "describe"


def check_worker(
    path: str | Path,
    *,
    transport: str = "all",
    request: bytes | None = None,
    timeout_s: float = TIMEOUT_S,
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> WorkerReport:
    """Check whether a worker keeps to the protocol; what it answers is its own affair.

    Parameters
    ----------
    path: A folder with a Go module, an executable in any language, or the name of one of the kit's workers.
    transport: "serve", "subprocess", "command", or "all" those the worker names.
    request: A body the worker takes. Without one an empty JSON object is sent, which it may refuse.
    timeout_s: How long one reply may take, in seconds.

    Errors: ``UsageError``, ``BuildError``. What is wrong with the worker is no error but in the report.

    Example
    -------
    >>> check_worker("card-renderer", transport="command").ok
    True
    """
    if transport not in (*TRANSPORTS, "all"):
        raise UsageError(f"transport={transport!r}.", hint=f"One of {', '.join(TRANSPORTS)}, or all.")
    if isinstance(timeout_s, bool) or not isinstance(timeout_s, (int, float)) or not 0 < timeout_s <= 3600:
        raise UsageError(f"timeout_s={timeout_s!r}.", hint="Give seconds above 0, at most 3600.")
    settings = settings or Settings.load()
    binary, source = locate(path, settings, progress=progress)
    first = Findings(_DESCRIBE)
    try:
        program = describe(binary, source)
    except BinaryError as error:
        first.fail("who it is", error.what, error.hint)
        return WorkerReport(str(path), None, first.checks, [])
    about = f"{program.name} {program.version}, build {program.build[:12] or 'unknown'}"
    first.run("who it is", lambda: about)
    chosen = TRANSPORTS if transport == "all" else (transport,)
    known = [name for name in program.transports if name in TRANSPORTS]
    first.run("transports", lambda: _named(known, program))
    checks: list[Check] = list(first.checks)
    notes: list[str] = []
    bodies = Bodies(b"{}" if request is None else request, program.max_request_bytes)
    wanted = [name for name in chosen if name in program.transports]
    for name in chosen:
        if name not in wanted:
            missing = Findings(name)
            missing.skip(["all"], "the worker does not name this transport")
            checks += missing.checks
    if wanted:
        with _bench(program, settings) as bench:
            for name in wanted:
                findings = Findings(name)
                bench.check(name, bodies, findings, float(timeout_s))
                checks += findings.checks
                notes += findings.notes
    if request is None:
        notes.append(
            "whether the answers are right: their content is the worker's own. Give a request that it takes, "
            "with --request FILE, and the checks use that one."
        )
    return WorkerReport(str(path), program, checks, notes)


def _named(known: list[str], program: Program) -> str:
    """The transports a worker names. Raises ``Fault`` when none of them can be used."""
    if known:
        return ", ".join(known)
    raise Fault(
        f"Its answer to `describe` names {named_transports(program)}.",
        f'List those it speaks under "transports": some of {", ".join(TRANSPORTS)}.',
    )


@dataclass
class _Bench:
    """A nats-server, a folder and a process group for one check."""

    program: Program
    settings: Settings
    server: NatsServer
    folder: Path
    guard: Guard

    def check(self, transport: str, bodies: Bodies, findings: Findings, timeout_s: float) -> None:
        """Make the checks of one transport."""
        slow_s = min(SLOW_S, timeout_s / 2)
        if transport == "subprocess":
            SubprocessCheck(lambda: self._talk("subprocess", timeout_s), bodies, findings, slow_s).run()
        elif transport == "command":
            start = lambda word: self._talk(word, timeout_s)  # noqa: E731
            CommandCheck(start, bodies, findings, timeout_s, slow_s).run()
        else:
            self._serve(bodies, findings, timeout_s, slow_s)

    @property
    def _env(self) -> dict[str, str]:
        """What a platform tells a worker; also as a subprocess it may need NATS."""
        return {
            "PLATFORM_NATS_URL": self.server.url,
            "PLATFORM_NKEY_FILE": str(self.folder / "credentials" / "worker.nk"),
            "PLATFORM_INSTANCE": "check",
            "PLATFORM_LOG_DIR": str(self.folder / "logs"),
        }

    def _talk(self, word: str, timeout_s: float) -> Talk:
        return Talk(
            [str(self.program.binary), word],
            env=self._env,
            cwd=self.folder,
            group=self.guard.group,
            timeout_s=timeout_s,
        )

    def _serve(self, bodies: Bodies, findings: Findings, timeout_s: float, slow_s: float) -> None:
        endpoint = Endpoint(self.server.url, self.folder / "credentials" / "admin.nk", "_INBOX_admin")

        async def work() -> None:
            client = await connect(endpoint, name="platform-kit-check")
            try:
                await ServeCheck(
                    self.program,
                    client,
                    lambda name: start_instance(
                        self.program, name, env=self._env, folder=self.folder, group=self.guard.group
                    ),
                    bodies,
                    findings,
                    timeout_s,
                    self.settings.max_payload_bytes,
                    slow_s,
                ).run()
            finally:
                await client.close()

        with LoopThread("platform-kit-check") as loop:
            loop.run(work(), LONGEST_S)


@contextlib.contextmanager
def _bench(program: Program, settings: Settings) -> Iterator[_Bench]:
    """A server with the roles' real permissions, in a folder that goes with it."""
    folder = Path(tempfile.gettempdir()) / f"platform-kit-{secrets.token_hex(8)}"
    guard = Guard(remove=folder)
    process: Process | None = None
    try:
        folder.mkdir(mode=0o700)
        (folder / "logs").mkdir(mode=0o700)
        server = NatsServer(
            binaries.ensure("nats-server", settings),
            folder,
            load_or_create(folder / "credentials"),
            max_payload_bytes=settings.max_payload_bytes,
            port=free_port(),
        )
        started = process = Process(server.spec(), group=guard.group)
        started.wait_until(lambda: server.ready(started), timeout_s=settings.startup_timeout_s)
        yield _Bench(program, settings, server, folder, guard)
    finally:
        guard.retire()
        if process is not None:
            process.stop(settings.stop_timeout_s)
        shutil.rmtree(folder, ignore_errors=True)
        guard.close()
