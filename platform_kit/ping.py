"""Does each part answer, and how fast."""

from __future__ import annotations

import asyncio
import functools
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from platform_kit.servers.wombat import WombatClient

if TYPE_CHECKING:
    from nats.aio.client import Client


@dataclass(frozen=True)
class Answer:
    """Whether a part answered, after how long, and what."""

    name: str
    ok: bool
    seconds: float
    detail: str

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


async def ping_all(
    client: Client, wombat: WombatClient | None, services: Sequence[str], timeout_s: float
) -> list[Answer]:
    """Ask NATS, JetStream, Wombat and the workers at once; nobody is waited for longer than ``timeout_s``."""

    async def nats() -> str:
        await client.flush(int(timeout_s) or 1)
        return f"connected to {client.connected_url.netloc}" if client.connected_url else "not connected"

    async def jetstream() -> str:
        info = await client.jetstream(timeout=timeout_s).account_info()
        return f"{info.streams} streams, {info.consumers} consumers"

    async def streams_mode() -> str:
        assert wombat is not None
        found = await asyncio.to_thread(wombat.streams)
        if not await asyncio.to_thread(wombat.ready):
            raise RuntimeError("an input or output is not connected")
        return f"{len(found)} pipelines: {', '.join(sorted(found))}"

    async def worker(name: str) -> str:
        message = await client.request(f"$SRV.STATS.{name}", b"", timeout=timeout_s)
        stats = json.loads(message.data)
        endpoint = (stats.get("endpoints") or [{}])[0]
        return f"{endpoint.get('num_requests', 0):,} requests, {endpoint.get('num_errors', 0):,} errors"

    parts: dict[str, Callable[[], Awaitable[str]]] = {"nats": nats, "jetstream": jetstream}
    if wombat is not None:
        parts["wombat"] = streams_mode
    for service in services:
        parts[service] = functools.partial(worker, service)
    return list(await asyncio.gather(*(_timed(name, part, timeout_s) for name, part in parts.items())))


async def _timed(name: str, part: Callable[[], Awaitable[str]], timeout_s: float) -> Answer:
    started = time.perf_counter()
    try:
        detail, ok = await asyncio.wait_for(part(), timeout_s + 1.0), True
    except Exception as error:  # whatever is wrong with one part is its answer
        detail, ok = f"{type(error).__name__}: {error}".rstrip(": "), False
    return Answer(name, ok, time.perf_counter() - started, detail)
