"""Transfers as whole jobs on the platform's loop: what ``Platform`` calls."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from platform_kit.errors import UsageError
from platform_kit.jetstream.connection import Endpoint
from platform_kit.jetstream.frames.chunks import Chunks
from platform_kit.jetstream.frames.engines import Engine, check_engine, choose_engine
from platform_kit.jetstream.frames.export import CHUNK_ROWS, Export, export, export_path
from platform_kit.jetstream.frames.publish import Publication
from platform_kit.jetstream.frames.read import Reading, Shape
from platform_kit.jetstream.frames.replay import Counts, Mapping, Replay, check_speed, replay
from platform_kit.jetstream.frames.report import PublishReport
from platform_kit.jetstream.frames.request import read_request
from platform_kit.jobs import Job, LoopThread, Meter
from platform_kit.settings import Settings

if TYPE_CHECKING:
    import pandas as pd
    from nats.aio.client import Client

GRACE_S = 15.0
"""What a job gets beyond its engine's own limit, so that the engine's better words are heard."""


class Transfers:
    """Makes the jobs.

    Parameters
    ----------
    loop: The loop they run on.
    client: For the questions before a transfer, which has a connection of its own.
    endpoint: Where and as whom that connects.
    settings: Where the compiled client is.
    engine: "auto", "native" or "python".
    """

    def __init__(
        self,
        loop: LoopThread,
        client: Client,
        endpoint: Endpoint,
        settings: Settings,
        *,
        engine: str = "auto",
    ) -> None:
        check_engine(engine)
        self._loop = loop
        self._client = client
        self._endpoint = endpoint
        self._settings = settings
        self._engine = engine

    def _choose(self, count: int) -> Engine:
        return choose_engine(self._engine, count, self._endpoint, self._settings)

    def publish(
        self, subject: str, frame: pd.DataFrame, *, progress: bool, stall_timeout_s: float, **how: Any
    ) -> PublishReport:
        """A table into a stream."""
        publication = Publication(subject, frame, **how)

        async def work(meter: Meter) -> None:
            engine = await asyncio.to_thread(self._choose, len(frame))
            await publication.run(meter, self._client, engine, patience_s=stall_timeout_s)

        job = self._loop.submit(
            work,
            name=f"publishing to {subject}",
            total=len(frame),
            unit="row",
            progress=progress,
            stall_timeout_s=stall_timeout_s + GRACE_S,
        )
        return PublishReport(f"publishing to {subject}", publication.tally, job)

    def read(
        self, stream: str, subjects: object, *, progress: bool, stall_timeout_s: float, **how: Any
    ) -> Job[pd.DataFrame]:
        """A stream as a table."""
        reading = self._reading(stream, subjects, stall_timeout_s, **how)
        return self._loop.submit(
            reading.frame,
            name=f"reading {stream}",
            unit="message",
            progress=progress,
            stall_timeout_s=stall_timeout_s + GRACE_S,
        )

    def chunks(
        self, stream: str, subjects: object, *, rows: object, stall_timeout_s: float, **how: Any
    ) -> Chunks:
        """A stream as tables one after the other."""
        if isinstance(rows, bool) or not isinstance(rows, int) or rows < 1:
            raise UsageError(f"rows={rows!r}.", hint="Give a whole number from 1 on.")
        reading = self._reading(stream, subjects, stall_timeout_s, **how)
        return Chunks(
            self._loop,
            lambda meter: reading.frames(meter, rows),
            name=f"reading {stream}",
            limit_s=2 * (stall_timeout_s + GRACE_S),
        )

    def export(
        self,
        stream: str,
        path: object,
        subjects: object,
        *,
        progress: bool,
        stall_timeout_s: float,
        **how: Any,
    ) -> Job[Export]:
        """A stream into a file."""
        target, kind = export_path(path)
        reading = self._reading(stream, subjects, stall_timeout_s, **how)

        async def work(meter: Meter) -> Export:
            return await export(reading.frames(meter, CHUNK_ROWS), target, kind, meter)

        return self._loop.submit(
            work,
            name=f"exporting {stream}",
            unit="message",
            progress=progress,
            stall_timeout_s=stall_timeout_s + GRACE_S,
        )

    def replay(
        self,
        stream: str,
        into: str,
        *,
        speed: object,
        subjects: object,
        progress: bool,
        stall_timeout_s: float,
        **how: Any,
    ) -> Replay:
        """A stream once more."""
        mapping, factor, counts = Mapping(into), check_speed(speed), Counts()
        request = read_request(stream, subjects=subjects, patience_s=stall_timeout_s, **how)
        request = request.with_all_headers()
        reading = Reading(request, Shape("raw"), self._client, self._choose)

        async def work(meter: Meter) -> None:
            # As fast as it goes is worth a process however little there is to know before.
            engine = await asyncio.to_thread(self._choose, 0 if factor is not None else 1 << 30)
            await replay(
                meter, reading, self._client, engine, mapping, factor, counts, patience_s=stall_timeout_s
            )

        job = self._loop.submit(
            work,
            name=f"replaying {stream}",
            unit="message",
            progress=progress,
            stall_timeout_s=stall_timeout_s + GRACE_S,
        )
        return Replay(stream, into, counts, job)

    def _reading(
        self,
        stream: str,
        subjects: object,
        patience_s: float,
        *,
        start: object,
        limit: object,
        columns: object,
        payload: object,
        headers: object,
    ) -> Reading:
        request = read_request(
            stream, subjects=subjects, start=start, limit=limit, headers=headers, patience_s=patience_s
        )
        shape = Shape.checked(payload, columns, dict(request.headers))
        return Reading(request, shape, self._client, self._choose)
