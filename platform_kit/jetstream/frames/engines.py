"""Which of the two ways a transfer takes: the compiled client, or nats-py alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Protocol

from platform_kit import binaries
from platform_kit.errors import BinaryError, UsageError
from platform_kit.jetstream.connection import Endpoint
from platform_kit.jetstream.frames.native import NativeEngine
from platform_kit.jetstream.frames.plain import PlainEngine
from platform_kit.jetstream.frames.request import PublishRequest, ReadRequest
from platform_kit.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

BINARY = "frames"
ENGINES = ("auto", "native", "python")
NATIVE_FROM = 5_000
"""Messages from which on starting a process is worth its time."""


class Engine(Protocol):
    """Moves batches of messages; both ways give the same results."""

    name: str

    def read(self, request: ReadRequest, alive: Callable[[], None] = ...) -> AsyncIterator[pa.RecordBatch]:
        """The messages: sequence, time, subject, payload, headers."""
        ...

    def publish(
        self,
        request: PublishRequest,
        batches: AsyncIterator[pa.RecordBatch],
        settled: Callable[[int], None] = ...,
    ) -> AsyncIterator[pa.RecordBatch]:
        """For each batch of messages one of results."""
        ...


def check_engine(name: object) -> None:
    """Raise ``UsageError`` for an engine there is none of."""
    if name not in ENGINES:
        raise UsageError(f"engine={name!r}.", hint=f"One of {', '.join(map(repr, ENGINES))}.")


def choose_engine(
    name: str, count: int, endpoint: Endpoint, settings: Settings, *, group: int | None = None
) -> Engine:
    """The engine for so many messages; may build the compiled client, so not on an event loop.

    Errors: ``BinaryError`` when it was asked for and cannot be built.
    """
    if name == "python" or (name == "auto" and count < NATIVE_FROM):
        return PlainEngine(endpoint)
    try:
        return NativeEngine(binaries.ensure(BINARY, settings), endpoint, group=group)
    except BinaryError:
        if name == "native":
            raise
        return PlainEngine(endpoint)
