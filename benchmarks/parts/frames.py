"""Tables into streams and out, beside `nats bench` and nats-py's own way on the same server."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from parts.report import Figure, median, say
from platform_kit import Platform, binaries

if TYPE_CHECKING:
    import pandas as pd

BYTES = 128
PEER_MESSAGES = 50_000  # of nats-py's publish_async, which takes a minute for a million
ENGINES = {"native": "compiled client", "python": "nats-py"}
READ_TARGETS = {"native": (0.6, 0.4), "python": (0.55, 0.35)}
READ_IN_CHUNKS = """
import resource, sys
from platform_kit import Platform

url, credentials, stream = sys.argv[1:]
platform = Platform.attach(url, credentials=credentials, inbox_prefix="_INBOX_admin")
rows = sum(len(chunk) for chunk in platform.read_chunks(stream, rows=50_000))
platform.stop()
peaks = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(rows, *peaks)
"""


def sample(rows: int) -> pd.DataFrame:
    """A table whose rows are JSON of 128 bytes."""
    import numpy as np
    import pandas as pd

    numbers = np.arange(rows)
    frame = pd.DataFrame(
        {"id": [f"card-{number:08d}" for number in numbers], "power": 100_000 + numbers % 900_000}
    )
    frame["weight"] = 1.0 + numbers % 9 / 8  # a few digits: rows differ in length by two
    frame["text"] = "a heron stands where the water ends; it looks at the tide coming in"[: BYTES - 62]
    return frame


class Bench:
    """`nats bench` against a platform's server.

    Parameters
    ----------
    platform: A running one.
    """

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._binary = binaries.ensure("nats", platform.settings)

    def rate(self, *words: str) -> float:
        """Run it and return its messages a second."""
        seed = str(self._platform.credentials_file("admin"))
        command = [
            *(str(self._binary), "--server", self._platform.nats_url, "--nkey", seed),
            *("--inbox-prefix", "_INBOX_admin", "--no-context", "bench", "js", *words, "--no-progress"),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=True)
        found = re.search(r"stats: ([\d,]+) msgs/sec", done.stdout + done.stderr)
        assert found, done.stdout + done.stderr
        return float(found.group(1).replace(",", ""))


def fresh_stream(platform: Platform, name: str, subject: str) -> None:
    """An empty stream of this name."""

    async def make() -> None:
        from nats.js.api import StreamConfig
        from nats.js.errors import NotFoundError

        client = await platform.connect()
        try:
            try:
                await client.jetstream().delete_stream(name)
            except NotFoundError:
                pass
            await client.jetstream().add_stream(StreamConfig(name=name, subjects=[subject]))
        finally:
            await client.close()

    asyncio.run(make())


def transfers(messages: int, runs: int, *, publish: bool, read: bool) -> list[Figure]:
    """Ratios of publishing and of reading."""
    found: dict[str, list[float]] = {}
    frame = sample(messages)
    with Platform(workers=0) as platform:
        bench = Bench(platform)
        for run in range(runs):
            rates = _run(platform, bench, frame, publish=publish, read=read)
            say(
                f"run {run + 1}/{runs}: " + ", ".join(f"{name} {rate:,.0f}/s" for name, rate in rates.items())
            )
            for name, rate in rates.items():
                found.setdefault(name, []).append(rate)

    def ratio(one: str, other: str) -> float:
        return median([a / b for a, b in zip(found[one], found[other], strict=True)])

    figures = []
    if publish:
        figures += [
            Figure("publish: a table as JSON, messages/s", median(found["publish"]), "1/s"),
            Figure("publish: against nats bench js pub async", ratio("publish", "bench pub"), at_least=0.85),
            Figure("publish: against nats-py's publish_async", ratio("publish", "publish_async")),
            Figure(
                "publish without message ids: against nats bench", ratio("publish without ids", "bench pub")
            ),
            # Neither has message ids.
            Figure(
                "publish without message ids: against publish_async",
                ratio("publish without ids", "publish_async"),
                at_least=6,
            ),
        ]
    if read:
        figures.append(Figure("read: JSON columns, messages/s", median(found["native json"]), "1/s"))
        for engine, title in ENGINES.items():
            raw, decoded = READ_TARGETS[engine]
            figures += [
                Figure(f"read: raw, {title}", ratio(f"{engine} raw", "bench read"), at_least=raw),
                Figure(
                    f"read: JSON columns, {title}", ratio(f"{engine} json", "bench read"), at_least=decoded
                ),
            ]
    return figures


def _run(
    platform: Platform, bench: Bench, frame: pd.DataFrame, *, publish: bool, read: bool
) -> dict[str, float]:
    count = str(len(frame))
    rates: dict[str, float] = {}
    if publish:
        fresh_stream(platform, "BENCH", "bench.x")
        words = ("--batch", "500", "--msgs", count, "--size", str(BYTES), "--stream", "BENCH")
        rates["bench pub"] = bench.rate("pub", "async", "bench.x", *words)
        fresh_stream(platform, "BENCH", "bench.x")
        rates["publish without ids"] = _publish(platform, frame, message_id=None)
        fresh_stream(platform, "BENCH", "bench.x")
        rates["publish_async"] = asyncio.run(_publish_async(platform, min(PEER_MESSAGES, len(frame))))
    fresh_stream(platform, "BENCH", "bench.x")
    rates["publish"] = _publish(platform, frame, message_id="auto")
    if read:
        rates["bench read"] = bench.rate("ordered", "--msgs", count, "--stream", "BENCH")
        for engine in ENGINES:
            for payload in ("raw", "json"):
                rates[f"{engine} {payload}"] = _timed(
                    len(frame),
                    lambda engine=engine, payload=payload: platform.read_frame(  # type: ignore[misc]
                        "BENCH", payload=payload, engine=engine, progress=False
                    ),
                )
    return rates


def _publish(platform: Platform, frame: pd.DataFrame, *, message_id: str | None) -> float:
    report = platform.publish_frame("bench.x", frame, message_id=message_id, engine="native", progress=False)
    assert report.published == len(frame), report
    return len(frame) / report.seconds


def _timed(rows: int, read: Callable[[], object]) -> float:
    begun = time.perf_counter()
    frame = read()
    rate = rows / (time.perf_counter() - begun)
    assert len(frame) == rows  # type: ignore[arg-type]
    return rate


async def _publish_async(platform: Platform, messages: int) -> float:
    """nats-py's own way to publish without waiting for each."""
    client = await platform.connect()
    js = client.jetstream(publish_async_max_pending=4000)
    payload = b"x" * BYTES
    begun = time.perf_counter()
    answers = [await js.publish_async("bench.x", payload) for _ in range(messages)]
    await asyncio.gather(*answers)
    rate = messages / (time.perf_counter() - begun)
    await client.close()
    return rate


def memory(sizes: tuple[int, int]) -> list[Figure]:
    """Peak memory of reading a small and a large stream in chunks, the compiled client included."""
    peaks = []
    with Platform(workers=0) as platform:
        for size in sizes:
            fresh_stream(platform, "BENCH", "bench.x")
            platform.publish_frame("bench.x", sample(size), message_id=None, progress=False)
            words = [platform.nats_url, str(platform.credentials_file("admin")), "BENCH"]
            done = subprocess.run(
                [sys.executable, "-c", READ_IN_CHUNKS, *words],
                capture_output=True,
                text=True,
                timeout=180,
                check=True,
                cwd=Path(__file__).resolve().parents[2],
            )
            rows, own, client = map(int, done.stdout.split())
            assert rows == size
            unit = 1 if sys.platform == "darwin" else 1024
            peaks.append((own + client) * unit / 1e6)
            say(f"{size:,} messages in chunks: {peaks[-1]:.0f} MB")
    small, large = sizes
    return [
        Figure(f"memory: chunks of {small:,} messages", peaks[0], "MB"),
        Figure(f"memory: chunks of {large:,} messages", peaks[1], "MB"),
        Figure("memory: the second against the first", peaks[1] / peaks[0], at_most=1.15),
    ]
