"""Requests a second of the micro service transport: Wombat asks a worker that gives back what it gets."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

from parts.report import Figure, median, say, work_folder
from platform_kit import Pipeline, Platform

if TYPE_CHECKING:
    from pathlib import Path

    from nats.aio.client import Client

TARGET = 35_000
WORKER = "echo-worker"
WARM_S, MEASURED_S = 1.5, 4.0
THREADS, CONNECTIONS, BYTES = 128, 1, 128


def pipeline(
    folder: Path, subject: str, *, threads: int = THREADS, connections: int = CONNECTIONS
) -> Pipeline:
    """A pipeline that asks for ever, as fast as it is answered.

    ``connections`` is over how many connections to NATS the threads' requests are spread.
    """
    ask = {
        "urls": ["${PLATFORM_NATS_URL}"],
        "auth": {"nkey_file": "${PLATFORM_NKEY_FILE}"},
        "max_reconnects": -1,
        "subject": subject,
        "timeout": "5s",
    }
    cases = [
        {"check": f"counter() % {connections} == {number}", "processors": [{"resource": f"ask_{number}"}]}
        for number in range(connections)
    ]
    config: dict[str, Any] = {
        "input": {
            "generate": {"count": 0, "interval": "", "batch_size": 64, "mapping": f'root = "{"x" * BYTES}"'}
        },
        "processor_resources": [
            {"label": f"ask_{number}", "nats_request_reply": ask} for number in range(connections)
        ],
        "pipeline": {
            "threads": threads,
            "processors": [{"resource": "ask_0"}] if connections == 1 else [{"switch": cases}],
        },
        "output": {"drop": {}},
    }
    path = folder / "echo.yaml"
    path.write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML
    return Pipeline.read(path)


def measure(runs: int) -> list[Figure]:
    """Let a pipeline ask one worker process for a few seconds, ``runs`` times."""
    rates = []
    for run in range(runs):
        with work_folder() as folder, Platform(workers=0) as platform:
            workers = platform.start_workers(WORKER)
            platform.deploy(pipeline(folder, workers.subject))
            rates.append(asyncio.run(_rate(platform, workers.program.name)))
            platform.remove("echo")
        say(f"echo {run + 1}/{runs}: {rates[-1]:,.0f} requests/s")
    return [Figure("echo: through Wombat, requests/s", median(rates), "1/s", at_least=TARGET)]


async def _rate(platform: Platform, worker: str) -> float:
    client = await platform.connect()
    try:
        await asyncio.sleep(WARM_S)
        first, begun = await _answered(client, worker), time.perf_counter()
        await asyncio.sleep(MEASURED_S)
        last, ended = await _answered(client, worker), time.perf_counter()
        return (last - first) / (ended - begun)
    finally:
        await client.close()


async def _answered(client: Client, worker: str) -> int:
    """How many requests the worker says it has answered; none of them may have failed."""
    reply = await client.request(f"$SRV.STATS.{worker}", b"", timeout=5)
    (endpoint,) = json.loads(reply.data)["endpoints"]
    assert endpoint["num_errors"] == 0, endpoint
    return int(endpoint["num_requests"])
