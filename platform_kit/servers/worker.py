"""A worker: a NATS micro service that joins a queue group and opens no listener.

The protocol of readiness is the micro service's own ``$SRV.PING``:
https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-32.md
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from platform_kit.errors import SettingsError
from platform_kit.servers.process import Process, Spec

SETTINGS = ("PLATFORM_NATS_URL", "PLATFORM_NKEY_FILE", "PLATFORM_CREDS_FILE", "PLATFORM_INSTANCE")
"""The variables by which a worker is told where it belongs; nobody else sets them."""

Answers = Callable[[str, str, int], bool]
"""Whether the process with this service, instance name and process id answers a ping; must not wait."""


@dataclass(frozen=True)
class WorkerKind:
    """One worker program; any number of its processes may run.

    Parameters
    ----------
    name: How its processes are called here: ``<name>-1``, ``<name>-2``, ...
    service: What it answers as: the subject is ``workers.<service>``.
    binary: The executable.
    version: What it says of itself.
    source: What it was built from; the same source built again takes the place of what runs.
    env: Further variables of its processes.
    """

    name: str
    service: str
    binary: Path
    version: str = field(default="", compare=False)
    source: Path | None = None
    env: Mapping[str, str] = field(default_factory=dict)


class Worker:
    """One process of a worker.

    Parameters
    ----------
    kind: What it runs.
    number: Which of the processes of this kind, from 1.
    folder: Where it works; its log is in ``logs/`` below.
    nats_url: The server it joins.
    secret: The variable that names the file with its key.
    answers: Asked for readiness.
    suffix: Makes the instance's name distinct where other processes may count from 1 too.
    """

    def __init__(
        self,
        kind: WorkerKind,
        number: int,
        folder: Path,
        *,
        nats_url: str,
        secret: Mapping[str, str],
        answers: Answers,
        suffix: str = "",
    ) -> None:
        self.kind = kind
        self.number = number
        self.name = f"{kind.name}-{number}"
        self.instance = self.name + suffix
        self._folder = folder
        self._answers = answers
        logs = folder / "logs"
        self._environment = {
            **kind.env,
            **secret,
            "PLATFORM_NATS_URL": nats_url,
            "PLATFORM_INSTANCE": self.instance,
            "PLATFORM_LOG_DIR": str(logs),
        }
        self.log_path = logs / f"{self.name}.log"

    def spec(self) -> Spec:
        """How to run it."""
        return Spec(
            self.name, (str(self.kind.binary),), self.log_path, env=self._environment, cwd=self._folder
        )

    def ready(self, process: Process) -> bool:
        """True when this very process answers on NATS."""
        return self._answers(self.kind.service, self.instance, process.pid)


def secret_file(path: Path | None) -> dict[str, str]:
    """The variable by which a worker is told its credentials: a ``.creds`` file, or one with an nkey seed.

    Errors: ``SettingsError`` when the file cannot be read.
    """
    if path is None:
        return {}
    try:
        is_jwt = b"BEGIN NATS USER JWT" in path.read_bytes()
    except OSError as error:
        raise SettingsError(
            f"The credentials file {path} cannot be read: {error.strerror}.",
            hint="Name a file with an nkey seed or a .creds file.",
        ) from error
    return {"PLATFORM_CREDS_FILE" if is_jwt else "PLATFORM_NKEY_FILE": str(path.resolve())}
