"""nats-server with JetStream: its configuration, its readiness, its ports.

Configuration format: https://docs.nats.io/running-a-nats-service/configuration
"""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

from platform_kit.servers.credentials import PERMISSIONS, Credentials, Permissions, write_private
from platform_kit.servers.process import Process, Spec

ACCOUNT = "PLATFORM"
OWN_SETTINGS = "nats-server.conf"
"""The copy of the user's file, under its own name: an error in it names it."""
SYNC_INTERVAL = {"lazy": '"2m"', "fsync": "always"}
"""What ``durability`` means: acknowledged messages are synced to disk every two minutes, or each at once.

Without its quotes ``2m`` would be two million seconds.
"""

COLLECT = {"GOGC": "100"}
"""How much garbage nats-server may gather, in percent of what lives; a variable of one's own wins.

It makes a megabyte of it a card. In a run of 20,000 cards, half as much garbage saves 20 MB and costs half a
millisecond a card; twice as much costs 50 MB and saves a third of one.
"""


class NatsServer:
    """A nats-server of this platform.

    Nothing but its port listens: no HTTP monitor (it knows no authentication), no cluster, no WebSocket.

    Parameters
    ----------
    binary: The nats-server executable.
    data_dir: The platform's folder; streams live in ``jetstream/`` below it.
    credentials: The roles' keys.
    durability: "lazy" or "fsync".
    include: A configuration file of the user's with further settings, or None.
    port: Where to listen.
    """

    name = "nats-server"

    def __init__(
        self,
        binary: Path,
        data_dir: Path,
        credentials: Credentials,
        *,
        durability: str = "lazy",
        max_payload_bytes: int = 8 * 1024 * 1024,
        include: Path | None = None,
        port: int,
    ) -> None:
        self._binary = binary
        self._data_dir = data_dir
        self._credentials = credentials
        self._durability = durability
        self._max_payload_bytes = max_payload_bytes
        self._include = include
        self.port = port
        self.log_path = data_dir / "logs" / "nats-server.log"

    @property
    def url(self) -> str:
        """Where clients connect; without any secret."""
        return f"nats://127.0.0.1:{self.port}"

    def spec(self) -> Spec:
        """Write the configuration and say how to run it."""
        self._ports_dir.mkdir(parents=True, exist_ok=True)
        for old in self._ports_dir.glob("*.ports"):
            old.unlink()
        config = self._data_dir / "config" / "platform.conf"
        config.parent.mkdir(parents=True, exist_ok=True)
        if self._include is not None:
            write_private(config.with_name(OWN_SETTINGS), self._include.read_bytes())
        write_private(config, self.configuration().encode())
        env = {name: os.environ.get(name, value) for name, value in COLLECT.items()}
        command = (str(self._binary), "--config", str(config))
        return Spec(self.name, command, self.log_path, env=env, cwd=self._data_dir)

    def ready(self, process: Process) -> bool:
        """True when this very process has written its port and greets on it."""
        return self._port_written_by(process.pid) == self.port and self._greets(self.port)

    def configuration(self) -> str:
        """The configuration file's text; it holds public keys only.

        Paths are relative to the data folder, in which the server runs: no name of a folder has to be quoted.
        """
        include = f'include "{OWN_SETTINGS}"\n' if self._include is not None else ""
        keys = self._credentials.public
        users = "\n".join(
            f"      {{ nkey: {keys[role]}, permissions: {_permissions(PERMISSIONS[role])} }}"
            for role in ("admin", "wombat", "worker", "viewer")
        )
        return (
            f"# Written at each start. Your own settings belong in .config/nats-server.conf.\n"
            f"max_payload: {self._max_payload_bytes}\n"
            f"{include}"
            f"server_name: platform\n"
            f"host: 127.0.0.1\n"
            f"port: {self.port}\n"
            "ports_file_dir: ports\n"
            f"jetstream {{\n"
            "  store_dir: jetstream\n"
            f"  sync_interval: {SYNC_INTERVAL[self._durability]}\n"
            f"}}\n"
            f"system_account: SYS\n"
            f"accounts {{\n"
            f"  SYS {{ users: [ {{ nkey: {self._credentials.public['system']} }} ] }}\n"
            f"  {ACCOUNT} {{\n"
            f"    jetstream: enabled\n"
            f"    users: [\n{users}\n    ]\n"
            f"  }}\n"
            f"}}\n"
        )

    @property
    def _ports_dir(self) -> Path:
        return self._data_dir / "ports"

    def _port_written_by(self, pid: int) -> int | None:
        for path in self._ports_dir.glob(f"*_{pid}.ports"):
            try:
                urls = json.loads(path.read_text())["nats"]
            except (OSError, ValueError, KeyError):  # still being written
                return None
            return int(urls[0].rpartition(":")[2])
        return None

    @staticmethod
    def _greets(port: int) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=0.5) as connection:
                return connection.recv(5) == b"INFO "
        except OSError:
            return False


def _permissions(permissions: Permissions) -> str:
    def rule(allow: tuple[str, ...], deny: tuple[str, ...]) -> str:
        parts = []
        if allow:
            parts.append(f"allow: {json.dumps(list(allow))}")
        if deny:
            parts.append(f"deny: {json.dumps(list(deny))}")
        return "{ " + ", ".join(parts) + " }"

    parts = []
    if permissions.publish or permissions.publish_denied:
        parts.append(f"publish: {rule(permissions.publish, permissions.publish_denied)}")
    if permissions.subscribe or permissions.subscribe_denied:
        parts.append(f"subscribe: {rule(permissions.subscribe, permissions.subscribe_denied)}")
    if permissions.responses:
        parts.append('allow_responses: { max: 1000, expires: "5m" }')
    return "{ " + ", ".join(parts) + " }"
