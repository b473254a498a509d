"""How fast the machine is right now: a nats-server of the bench's own that publishes the same way each time.

A machine, above all a virtual one, is now half and now twice as fast, for seconds and for hours. What is
measured of a platform today can be held against last week's only relative to something that is always the
same: this server, of the pinned version, with a stream in memory and nothing else to do. It is of the same
make as what is measured (a Python client, sockets, a Go server), so its moods hit both alike, and it
is not the platform's, so what was changed there does not hit it.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any, Self

from platform_kit import binaries
from platform_kit.errors import NotRunningError, RunError
from platform_kit.jetstream.connection import Endpoint, client_options, connect
from platform_kit.lab.bench.generators import Generator, Generators
from platform_kit.lab.bench.scenarios import Point
from platform_kit.servers.credentials import load_or_create
from platform_kit.servers.nats_server import NatsServer
from platform_kit.servers.ports import free_port
from platform_kit.settings import Settings

AWAITED = ("js_publish_awaited", "kv_put", "kv_get")
FIRST = {True: 300, False: 5000}
START_S = 10.0
ATTEMPTS = 5
LIMIT_S = 30.0


class Reference:
    """The server and its stream; an asynchronous context manager that leaves nothing.

    Parameters
    ----------
    folder: A temporary folder, which the caller removes.
    """

    def __init__(self, folder: Path, settings: Settings) -> None:
        self._folder = folder
        self._settings = settings
        self._process: Generator | None = None
        self._connect: dict[str, Any] = {}
        self._rates: dict[bool, float] = {}

    async def __aenter__(self) -> Self:
        try:
            for attempt in range(ATTEMPTS):
                try:
                    await self._start(self._folder / f"reference-{attempt}")
                    return self
                except NotRunningError:  # somebody else took the port in between
                    await self.close()
            raise RunError("The reference server did not start.", hint="`platform-kit doctor` may say why.")
        except BaseException:
            await self.close()
            raise

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End the server."""
        if self._process is not None:
            process, self._process = self._process, None
            await process.stop()

    async def rate(self, generators: Generators, point: Point, seconds: float) -> float:
        """Messages a second of the reference, measured for about so long in the point's own way.

        What is awaited one by one depends on how fast a sleeping process is woken, what is sent by the
        hundred on how fast a busy one computes; a machine may be good at the one while bad at the other.
        """
        single = point.scenario in AWAITED or point.batch == 1
        known = self._rates.get(single)
        messages = FIRST[single] if known is None else max(20, round(known * min(seconds, 0.25)))
        way = {"role": "one_by_one", "operation": "publish"} if single else {"role": "ask", "window": 500}
        spec = {
            "connect": self._connect,
            "subject": "reference",
            "payload_bytes": 128,
            "messages": messages,
            "answer": "ack",
        }
        (found,) = await generators.run([spec | way], limit_s=LIMIT_S)
        if found.get("error") or not found.get("arrived"):
            return float("nan")
        rate = float(found["arrived"] / ((found["ended"] - found["begun"]) / 1e9))
        self._rates.setdefault(single, rate)
        return rate

    async def _start(self, folder: Path) -> None:
        from nats.js.api import DiscardPolicy, StorageType, StreamConfig

        folder.mkdir(mode=0o700)
        (folder / "logs").mkdir()
        binary = await asyncio.to_thread(binaries.ensure, "nats-server", self._settings)
        server = NatsServer(binary, folder, load_or_create(folder / "credentials"), port=free_port())
        spec = server.spec()
        self._process = await Generator.start()
        await self._process.begin(
            {
                "role": "program",
                "command": [*spec.command, "--log", str(server.log_path)],
                "env": dict(spec.env),
                "without": [],
                "cwd": str(folder),
                "limit_s": None,
                "until_told": True,
            }
        )
        seed = folder / "credentials" / "admin.nk"
        endpoint = Endpoint(server.url, seed, "_INBOX_admin")
        deadline = time.monotonic() + START_S
        while True:
            try:
                client = await connect(endpoint, name="platform-kit-bench", max_reconnect_attempts=1)
                break
            except NotRunningError:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.02)
        try:
            await client.jetstream().add_stream(
                StreamConfig(
                    name="REFERENCE",
                    subjects=["reference"],
                    storage=StorageType.MEMORY,
                    max_msgs=50_000,
                    discard=DiscardPolicy.OLD,
                )
            )
        finally:
            await client.close()
        self._connect = client_options(endpoint) | {"name": "platform-kit-bench", "servers": [server.url]}
