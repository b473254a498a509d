"""Workers, of the kit and of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from platform_kit import binaries
from platform_kit.errors import UsageError
from platform_kit.servers.uninterrupted import run_uninterrupted
from platform_kit.verbs.base import Verbs, check_count
from platform_kit.workers.program import find_program, worker_kind
from platform_kit.workers.running import WorkerProcesses, WorkerTable, ask_workers


class WorkerVerbs(Verbs):
    """Start, scale and list workers."""

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
        >>> from platform_kit import Platform
        >>> with Platform(workers=0) as platform:
        ...     workers = platform.start_workers("card-renderer", count=2)
        ...     workers.count
        2
        """
        check_count("count", count, least=1)
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
        check_count("count", count, least=0)
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
