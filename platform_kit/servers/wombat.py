"""Wombat in streams mode: its configuration, its readiness, its HTTP interface.

The interface: https://docs.redpanda.com/redpanda-connect/guides/streams_mode/streams_api/
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from platform_kit.errors import DeployError, NotRunningError
from platform_kit.servers.credentials import Credentials, write_private
from platform_kit.servers.process import Process, Spec

USER = "platform"
COLLECT_LESS = {"GOGC": "400", "GOMEMLIMIT": "256MiB"}
"""Parsing mappings makes short-lived garbage: collecting it less often takes a quarter off a start, for some
10 MB of memory. Above the limit Go collects as usual."""
REQUEST_TIMEOUT_S = 10.0
RESOURCES = ("cache", "input", "output", "processor", "rate_limit")


@dataclass(frozen=True)
class WombatClient:
    """Wombat's HTTP interface, with credentials.

    Parameters
    ----------
    url: ``http://host:port``.
    password: Of the user ``platform``; None for a Wombat without authentication.

    Errors: ``NotRunningError`` when nobody answers or lets one in, ``DeployError`` when Wombat refuses.
    """

    url: str
    password: str | None = field(default=None, repr=False)
    user: str = USER

    def ready(self) -> bool:
        """Whether every input and output of every stream is connected."""
        try:
            return self._call("GET", "/ready", timeout_s=1.0)[0] == 200
        except NotRunningError:
            return False

    def stream_ready(self, name: str) -> bool:
        """Whether this stream runs and its input and output are connected."""
        status, body = self._call("GET", "/ready", timeout_s=2.0)
        if status != 200:
            # "streams a, b are not connected"
            waiting = (
                body.decode("utf-8", "replace").removeprefix("streams ").partition(" are not connected")[0]
            )
            if name in waiting.split(", "):
                return False
        return bool(self.streams().get(name, {}).get("active"))

    def streams(self) -> dict[str, Any]:
        """The streams that are deployed: name to state (active, uptime in seconds)."""
        status, body = self._call("GET", "/streams")
        if status != 200:
            raise DeployError(
                f"Wombat at {self.url} answered {status} to a list of its streams: {_short(body)}"
            )
        found: dict[str, Any] = json.loads(body)
        return found

    def config(self, name: str) -> dict[str, Any] | None:
        """The config a stream runs with; None if there is no such stream."""
        status, body = self._call("GET", f"/streams/{quote(name, safe='')}")
        found = json.loads(body).get("config") if status == 200 else None
        return found if isinstance(found, dict) else None

    def put(self, name: str, config: Mapping[str, Any]) -> None:
        """Create the stream, or replace it while the rest goes on; it is taken to be linted already.

        Resources the config declares (``processor_resources`` and so on) are given to Wombat first: a stream
        alone cannot hold them. Their labels are shared by all streams.
        """
        for kind in RESOURCES:
            for resource in config.get(f"{kind}_resources") or ():
                self._put_resource(kind, resource)
        # Wombat's own linting on the way would parse every mapping once more, and misses errors inside them.
        path = f"/streams/{quote(name, safe='')}?chilled=true"
        alone = {key: value for key, value in config.items() if not key.endswith("_resources")}
        payload = json.dumps(alone).encode()
        status, body = self._call("PUT", path, payload)
        if status == 404:
            status, body = self._call("POST", path, payload)
        if status != 200:
            raise DeployError(
                f"Wombat did not take the pipeline {name!r}: {_short(body)}",
                hint="`platform-kit lint` shows the line, `platform-kit logs wombat` what Wombat says of it.",
            )

    def _put_resource(self, kind: str, resource: Mapping[str, Any]) -> None:
        label = str(resource.get("label", ""))
        body = {key: value for key, value in resource.items() if key != "label"}
        path = f"/resources/{kind}/{quote(label, safe='')}?chilled=true"
        status, answer = self._call("POST", path, json.dumps(body).encode())
        if status != 200:
            raise DeployError(
                f"Wombat did not take the {kind} resource {label!r}: {_short(answer)}",
                hint="A resource needs a label of letters, digits and _, and one component.",
            )

    def delete(self, name: str) -> bool:
        """Remove a stream; False if there was none."""
        status, body = self._call("DELETE", f"/streams/{quote(name, safe='')}", timeout_s=30.0)
        if status not in (200, 404):
            raise DeployError(f"Wombat did not remove the pipeline {name!r}: {_short(body)}")
        return status == 200

    def _call(
        self, method: str, path: str, body: bytes | None = None, *, timeout_s: float = REQUEST_TIMEOUT_S
    ) -> tuple[int, bytes]:
        parts = urlsplit(self.url)
        connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = connect(parts.hostname or "127.0.0.1", parts.port, timeout=timeout_s)
        headers = {"Content-Type": "application/json"}
        if self.password is not None:
            pair = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
            headers["Authorization"] = f"Basic {pair}"
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            status, content = response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            raise NotRunningError(
                f"Wombat does not answer at {self.url} ({type(error).__name__}).",
                hint="Start the platform, or look at `platform-kit logs wombat`.",
            ) from error
        finally:
            connection.close()
        if status == 401:
            raise NotRunningError(
                f"Wombat at {self.url} does not let us in: the password is not its own.",
                hint="Pass its password as wombat_password=.",
            )
        return status, content


class Wombat:
    """The Wombat of this platform, in streams mode.

    Parameters
    ----------
    binary: The Wombat executable.
    data_dir: The platform's folder.
    credentials: The roles' keys and Wombat's password.
    nats_url: What pipelines find as ``${PLATFORM_NATS_URL}``.
    base_config: Settings from ``.config/wombat.yaml`` (logger, metrics, shutdown).
    port: Where its HTTP interface listens.
    """

    name = "wombat"

    def __init__(
        self,
        binary: Path,
        data_dir: Path,
        credentials: Credentials,
        *,
        nats_url: str,
        base_config: Mapping[str, Any],
        port: int,
    ) -> None:
        self._binary = binary
        self._data_dir = data_dir
        self._credentials = credentials
        self._base_config = base_config
        self.nats_url = nats_url
        self.log_path = data_dir / "logs" / "wombat.log"
        self.port = port

    @property
    def url(self) -> str:
        """Where its HTTP interface listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def client(self) -> WombatClient:
        """The HTTP interface."""
        return WombatClient(self.url, self._credentials.wombat_password)

    def spec(self) -> Spec:
        """Write the configuration and say how to run it."""
        config = self._data_dir / "config" / "wombat.json"
        config.parent.mkdir(parents=True, exist_ok=True)
        write_private(config, json.dumps(self.configuration(), indent=2).encode())
        return Spec(
            self.name,
            (str(self._binary), "streams", "--observability", str(config)),
            self.log_path,
            env={
                **COLLECT_LESS,
                "PLATFORM_NATS_URL": self.nats_url,
                # Put into pipelines as text: relative, no name of a folder can break their YAML.
                "PLATFORM_NKEY_FILE": os.path.relpath(self._credentials.seed_file("wombat"), self._data_dir),
            },
            cwd=self._data_dir,
        )

    def ready(self, process: Process) -> bool:
        """True when the HTTP interface answers to the platform's password."""
        return self.client.ready()

    def configuration(self) -> dict[str, Any]:
        """The observability configuration; it holds a digest of the password, never the password."""
        digest = hashlib.sha256(self._credentials.wombat_password.encode()).digest()
        http_part = {
            **dict(self._base_config.get("http", {})),
            "enabled": True,
            "address": f"127.0.0.1:{self.port}",
            "debug_endpoints": False,
            "basic_auth": {
                "enabled": True,
                "realm": "platform",
                "username": USER,
                "password_hash": base64.b64encode(digest).decode(),
                "algorithm": "sha256",
            },
        }
        return {**self._base_config, "http": http_part}


def _short(body: bytes) -> str:
    text = body.decode("utf-8", "replace").strip()
    return text if len(text) <= 500 else text[:500] + "…"
