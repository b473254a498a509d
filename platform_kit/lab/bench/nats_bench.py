"""`nats bench`, the server's own load generator in Go: how it is called, and what its CSV says."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from platform_kit.errors import RunError
from platform_kit.lab.bench.scenarios import Point

PERCENTILES = {
    "p50_ms": "P50LatencyMicroSecs",
    "p90_ms": "P90LatencyMicroSecs",
    "p99_ms": "P99LatencyMicroSecs",
    "p999_ms": "P99.9LatencyMicroSecs",
    "max_ms": "MaxLatencyMicroSecs",
}
LATENCY_OF = {
    "request_reply": "message",
    "js_publish_awaited": "message",
    "js_publish": "batch",
    "js_fetch": "fetch",
    "kv_put": "message",
    "kv_get": "message",
}
"""What one latency of it is of; it measures none for the others."""


@dataclass(frozen=True)
class Outcome:
    """What one run of ``nats bench`` says of itself: all its clients together."""

    rate_msgs_per_s: float
    seconds: float
    messages: int
    latencies_ms: dict[str, float]


def arguments(point: Point, *, messages: int, subject: str, store: str, consumer: str = "") -> list[str]:
    """The words after ``nats bench`` for the part that is measured.

    Parameters
    ----------
    messages: In all; its clients share them.
    subject: Where it publishes.
    store: The stream or bucket.
    consumer: The durable consumer it fetches from.

    >>> point = Point("js_publish", "nats", 128, 500, 1)
    >>> arguments(point, messages=9, subject="bench.x", store="BENCH_X")[:4]
    ['js', 'pub', 'async', 'bench.x']
    """
    clients = point.publishers or point.consumers or 1
    stream = ["--stream", store]
    words: list[str]
    match point.scenario:
        case "core_pubsub":
            words = ["pub", subject]
        case "request_reply":
            words = ["service", "request", subject]
        case "js_publish_awaited":
            words = ["js", "pub", "sync", subject, *stream]
        case "js_publish":
            words = ["js", "pub", "async", subject, *stream, "--batch", str(point.batch)]
        case "js_fetch":
            words = ["js", "fetch", *stream, "--consumer", consumer, "--batch", str(point.batch)]
        case "js_ordered":
            words = ["js", "ordered", *stream, "--batch", str(point.batch)]
        case "kv_put":
            words = ["kv", "put", "--bucket", store]
        case "kv_get":
            words = ["kv", "get", "--bucket", store]
        case other:
            raise AssertionError(other)
    return [*words, *common(messages=messages, payload_bytes=point.payload_bytes, clients=clients)]


def other_end(point: Point, *, messages: int, subject: str) -> list[str]:
    """The words of the process at the other end: a subscriber or a responder."""
    words = ["sub", subject] if point.scenario == "core_pubsub" else ["service", "serve", subject]
    clients = point.consumers or 1
    return [*words, *common(messages=messages, payload_bytes=point.payload_bytes, clients=clients)]


def common(*, messages: int, payload_bytes: int, clients: int) -> list[str]:
    """What all of them take."""
    sizes = ["--msgs", str(messages), "--size", f"{payload_bytes}B", "--clients", str(clients)]
    return [*sizes, "--no-progress"]


def read_csv(text: str, payload_bytes: int) -> Outcome:
    """What its CSV says: a line for each client, which all begin in the same moment.

    Its column ``MsgCount`` counts all that passed a connection, acknowledgements too: how many messages the
    job had is in the bytes.

    Errors: ``RunError`` for a file that is none of its making.

    >>> head = "#RunID,ClientID,MsgCount,MsgBytes,MsgsPerSec,BytesPerSec,DurationSecs"
    >>> read_csv(head + chr(10) + "x,P0,20,1280,5,640.0,2.0", 128).rate_msgs_per_s
    5.0
    """
    rows: Sequence[dict[str, Any]] = list(csv.DictReader(io.StringIO(text)))
    try:
        messages = sum(int(row["MsgBytes"]) for row in rows) // payload_bytes
        seconds = max(float(row["DurationSecs"]) for row in rows)
        latencies = {}
        if rows[0].get(PERCENTILES["p50_ms"]):
            # Percentiles of several clients cannot be put together; the slowest client's are no better than
            # what all had.
            latencies = {
                name: max(float(row[column]) for row in rows) / 1e3 for name, column in PERCENTILES.items()
            }
        return Outcome(messages / seconds, seconds, messages, latencies)
    except (KeyError, ValueError, ZeroDivisionError, IndexError, TypeError) as error:
        raise RunError(
            "What `nats bench` wrote is not the CSV that is known here.",
            hint="`platform-kit deps` builds the version this kit is made for.",
        ) from error
