"""A Go worker: a NATS micro service that joins a queue group and opens no listener.

The protocol of readiness is the micro service's own ``$SRV.PING``:
https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-32.md
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from platform_kit.servers.credentials import Credentials
from platform_kit.servers.process import Process, Spec


class Worker:
    """One process of a worker.

    Parameters
    ----------
    service: The micro service's name, such as ``card-renderer``.
    number: Which of the processes of this service, from 1.
    binary: The executable.
    answers: Whether the process with this instance name and process id answers a ping; must not wait.
    """

    def __init__(
        self,
        service: str,
        number: int,
        binary: Path,
        data_dir: Path,
        credentials: Credentials,
        *,
        nats_url: str,
        answers: Callable[[str, int], bool],
    ) -> None:
        self.service = service
        self.name = f"{service}-{number}"
        self._binary = binary
        self._data_dir = data_dir
        self._answers = answers
        self._environment = {
            "PLATFORM_NATS_URL": nats_url,
            "PLATFORM_NKEY_FILE": str(credentials.seed_file("worker")),
            "PLATFORM_INSTANCE": self.name,
        }
        self.log_path = data_dir / "logs" / f"{self.name}.log"

    def spec(self) -> Spec:
        """How to run it."""
        return Spec(self.name, (str(self._binary),), self.log_path, env=self._environment, cwd=self._data_dir)

    def ready(self, process: Process) -> bool:
        """True when this very process answers on NATS."""
        return self._answers(self.name, process.pid)
