"""A stream as a table: which messages, decoded how, in frames as large as one likes."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from platform_kit.errors import UsageError
from platform_kit.jetstream.frames.decode import (
    Block,
    column_names,
    json_block,
    msgpack_block,
    series_of,
)
from platform_kit.jetstream.frames.engines import Engine
from platform_kit.jetstream.frames.lookup import StreamState, stream_state
from platform_kit.jetstream.frames.request import BAD_COLUMNS, OWN_COLUMNS, PAYLOADS, ReadRequest
from platform_kit.jobs import Meter

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from nats.aio.client import Client


@dataclass(frozen=True)
class Shape:
    """What a frame looks like.

    Parameters
    ----------
    payload: "json", "msgpack" or "raw".
    columns: The payload's columns, in this order; None for all there are.
    headers: Column by header.
    """

    payload: str = "json"
    columns: tuple[str, ...] | None = None
    headers: tuple[tuple[str, str], ...] = ()

    @classmethod
    def checked(cls, payload: object, columns: object, headers: dict[str, str]) -> Shape:
        """Errors: ``UsageError``, naming the value."""
        if payload not in PAYLOADS:
            raise UsageError(f"payload={payload!r}.", hint=f"One of {', '.join(map(repr, PAYLOADS))}.")
        if isinstance(columns, str):
            columns = [columns]
        if columns is not None:
            if payload == "raw":
                raise UsageError("columns= needs a decoded payload.", hint="payload='json' or 'msgpack'.")
            if not isinstance(columns, Sequence) or not all(isinstance(name, str) for name in columns):
                raise UsageError(f"columns={columns!r}.", hint="Give a list of names.")
            columns = tuple(dict.fromkeys(columns))
        taken = [*OWN_COLUMNS, *BAD_COLUMNS]
        for header, column in headers.items():
            if column in taken:
                raise UsageError(
                    f"The column {column!r} for the header {header!r} is taken.",
                    hint="Give it another: headers={" + f"{header!r}: 'name'" + "}.",
                )
            taken.append(column)
        return cls(str(payload), columns, tuple(headers.items()))

    @property
    def reserved(self) -> set[str]:
        """Names a payload's column cannot have; it gets "payload." before its name then."""
        return {*OWN_COLUMNS, *BAD_COLUMNS, *(column for _, column in self.headers)}

    def block(self, payloads: pa.Array) -> Block | None:
        """Payloads decoded, or None for raw ones."""
        if self.payload == "raw":
            return None
        return json_block(payloads) if self.payload == "json" else msgpack_block(payloads)


@dataclass
class Piece:
    """A batch of messages and its decoded payloads."""

    batch: pa.RecordBatch
    block: Block | None

    def __len__(self) -> int:
        return int(self.batch.num_rows)

    def part(self, start: int, length: int, shape: Shape) -> Piece:
        """Some rows of it; itself where these are all."""
        if length == len(self):
            return self
        batch = self.batch.slice(start, length)
        return Piece(batch, shape.block(batch.column("payload")))


def frame_from(pieces: Sequence[Piece], shape: Shape) -> pd.DataFrame:
    """Batches of messages as one frame: sequence, subject, time, headers, the payload's columns.

    Payloads that could not be decoded add the columns ``payload`` (their bytes) and ``error``.
    """
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    def whole(name: str, kind: pa.DataType) -> pa.ChunkedArray:
        return pa.chunked_array([piece.batch.column(name) for piece in pieces], kind)

    times = whole("time", pa.int64()).to_numpy().astype("datetime64[ns]")
    data: dict[str, Any] = {
        "sequence": whole("sequence", pa.int64()).to_numpy(),
        "subject": _texts(whole("subject", pa.binary())),
        "time": pd.Series(times).dt.tz_localize("UTC"),
    }
    for header, column in shape.headers:
        data[column] = _texts(whole(f"header.{header}", pa.binary()))
    if shape.payload == "raw":
        data["payload"] = whole("payload", pa.binary()).to_pandas().astype(object)
        return pd.DataFrame(data)
    blocks = [piece.block for piece in pieces if piece.block is not None]
    wanted = column_names(blocks) if shape.columns is None else list(shape.columns)
    asked = set(shape.columns or ())
    reserved = shape.reserved
    rows = len(times)
    for name in wanted:
        if name in BAD_COLUMNS and name in asked and not any(name in block.names for block in blocks):
            continue
        shown = name
        while shown in reserved or shown in data:
            shown = f"payload.{shown}"
        data[shown] = series_of(blocks, name) if blocks else pd.Series([None] * rows, dtype=object)
    if any(block.errors for block in blocks) or asked & set(BAD_COLUMNS):
        payloads, errors = np.empty(rows, object), np.empty(rows, object)
        start = 0
        for block in blocks:
            for row, reason in block.errors.items():
                payloads[start + row], errors[start + row] = block.payloads[row].as_py(), reason
            start += len(block)
        data["payload"] = payloads
        data["error"] = _texts(pa.chunked_array([pa.array(errors, pa.string())]))
    return pd.DataFrame(data)


def _texts(array: pa.ChunkedArray) -> pd.Series:
    """Text as pandas has it by default; bytes that are no UTF-8 with their replacement characters."""
    import pandas as pd
    import pyarrow as pa

    try:
        text = array.cast(pa.string())
    except pa.ArrowInvalid:
        values = [None if value is None else value.decode("utf-8", "replace") for value in array.to_pylist()]
        text = pa.chunked_array([pa.array(values, pa.string())])
    if not len(text):
        return pd.Series([], dtype=pd.Series(["x"]).dtype)
    return text.to_pandas()


class Reading:
    """One look through a stream.

    Parameters
    ----------
    request: Which messages; the end is fixed when it begins.
    shape: What frames look like.
    client: For the questions before the transfer.
    choose: The engine for so many messages; may block.
    """

    def __init__(
        self,
        request: ReadRequest,
        shape: Shape,
        client: Client,
        choose: Callable[[int], Engine],
    ) -> None:
        self.request = request
        self.shape = shape
        self._client = client
        self._choose = choose

    async def batches(self, meter: Meter) -> AsyncIterator[pa.RecordBatch]:
        """The messages as they come from the engine; the meter counts them."""
        state = await stream_state(self._client, self.request.stream)
        request = fixed(self.request, state)
        if request is None:
            return
        expected = self._expected(state)
        meter.update(total=expected)
        engine = await asyncio.to_thread(self._choose, expected)
        count = 0
        async for batch in engine.read(request, meter.update):
            count += batch.num_rows
            meter.update(done=count, total=max(expected, count))
            yield batch
        meter.update(done=count, total=count)

    def _expected(self, state: StreamState) -> int:
        """How many messages at most: what filters leave out is not known before."""
        request = self.request
        left = state.last - max(request.start_sequence, state.first) + 1
        return max(0, min(state.messages, left, request.limit or left))

    async def pieces(self, meter: Meter) -> AsyncIterator[Piece]:
        """The same, decoded; one batch is decoded while the next comes."""
        waiting: asyncio.Task[Piece] | None = None
        batches = self.batches(meter)
        try:
            async for batch in batches:
                if waiting is not None:
                    yield await waiting
                waiting = asyncio.create_task(asyncio.to_thread(self._decode, batch))
            if waiting is not None:
                yield await waiting
        finally:
            if waiting is not None:
                waiting.cancel()
            await batches.aclose()  # type: ignore[attr-defined]

    def _decode(self, batch: pa.RecordBatch) -> Piece:
        return Piece(batch, self.shape.block(batch.column("payload")))

    async def frame(self, meter: Meter) -> pd.DataFrame:
        """Everything as one frame."""
        pieces = [piece async for piece in self.pieces(meter)]
        return await asyncio.to_thread(frame_from, pieces, self.shape)

    async def frames(self, meter: Meter, rows: int) -> AsyncIterator[pd.DataFrame]:
        """Frames of ``rows`` rows each, the last one with what is left."""
        waiting: list[Piece] = []
        have = 0
        pieces = self.pieces(meter)
        try:
            async for piece in pieces:
                start = 0
                while have + len(piece) - start >= rows:
                    take = rows - have
                    waiting.append(piece.part(start, take, self.shape))
                    start += take
                    frame = await asyncio.to_thread(frame_from, waiting, self.shape)
                    waiting, have = [], 0
                    yield frame
                if start < len(piece):
                    waiting.append(piece.part(start, len(piece) - start, self.shape))
                    have += len(piece) - start
            if waiting:
                yield await asyncio.to_thread(frame_from, waiting, self.shape)
        finally:
            await pieces.aclose()  # type: ignore[attr-defined]


def fixed(request: ReadRequest, state: StreamState) -> ReadRequest | None:
    """The request with its end, which is the stream's last sequence now; None if there is nothing to read."""
    if not state.messages or request.start_sequence > state.last or request.limit == 0:
        return None
    each = max(state.bytes // state.messages, 1)
    pull = max(1, min(request.pull_messages, request.pull_bytes // each))
    return dataclasses.replace(request, end_sequence=state.last, pull_messages=pull)
