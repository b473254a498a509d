"""A table into a stream: subjects, payloads and headers a slice at a time, and a result for every row."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from platform_kit.errors import UsageError
from platform_kit.jetstream.frames.encode import encode_json, encode_msgpack, encode_raw
from platform_kit.jetstream.frames.engines import Engine
from platform_kit.jetstream.frames.lookup import require_stream_for
from platform_kit.jetstream.frames.report import FAILED, UNKNOWN, UNSENT, Tally
from platform_kit.jetstream.frames.request import PublishRequest, frame_of, header_columns
from platform_kit.jetstream.frames.templates import Template, require_column, texts_of
from platform_kit.jobs import Meter

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from nats.aio.client import Client

SLICE_ROWS = 8192
SLICE_BYTES = 8 * 1024 * 1024
AUTO = "auto"
MESSAGE_ID = "Nats-Msg-Id"


class Publication:
    """A table and how it is to be published; checked when it is made, before anything is sent.

    Parameters
    ----------
    subject: A template with columns' names in braces.
    frame: The table.
    payload: "json", "msgpack", or the name of a column with bytes or text.
    columns: The columns of a JSON or MessagePack payload; None for all.
    headers: Column by header.
    message_id: "auto", a column's name, or None for none.

    Errors: ``UsageError``.
    """

    def __init__(
        self,
        subject: str,
        frame: pd.DataFrame,
        *,
        payload: str = "json",
        columns: Sequence[str] | None = None,
        headers: Mapping[str, str] | None = None,
        message_id: str | None = AUTO,
    ) -> None:
        self.frame = frame_of(frame)
        self.template = Template.parse(subject)
        names = list(self.frame.columns)
        self.template.require(names)
        self.headers = header_columns(headers)
        for header, column in self.headers.items():
            if header.lower() == MESSAGE_ID.lower():
                raise UsageError(f"headers= names {header}.", hint="Write message_id='column'.")
            require_column(column, names, f"headers= names it for {header}; so the frame must have")
        if message_id is not None and message_id != AUTO:
            require_column(message_id, names, "message_id= names")
        self.message_id = message_id
        self.payload = payload
        if payload in ("json", "msgpack"):
            chosen = names if columns is None else _column_list(columns)
            for column in chosen:
                if not isinstance(column, str):
                    raise UsageError(
                        f"The column {column!r} has no text for a name.",
                        hint="Rename it, or choose columns=.",
                    )
                require_column(column, names, "the payload has")
            self.columns = list(chosen)
        else:
            if columns is not None:
                raise UsageError(
                    f"columns= goes with payload='json' or 'msgpack', not with {payload!r}.",
                    hint="The payload is then the bytes of that one column.",
                )
            if not isinstance(payload, str):
                raise UsageError(f"payload={payload!r}.", hint="'json', 'msgpack' or a column's name.")
            require_column(payload, names, "payload= (other than 'json' and 'msgpack') names")
            self.columns = [payload]
        self.tally = Tally(self.frame.index)
        self._id = secrets.token_hex(6)

    async def run(self, meter: Meter, client: Client, engine: Engine, *, patience_s: float) -> None:
        """Send everything; the tally has a result for each row then, whatever happens."""
        import numpy as np

        rows = len(self.frame)
        meter.update(total=rows)
        if not rows:
            return
        await require_stream_for(client, self.template.pattern())
        request = PublishRequest(
            safe=self.message_id is not None,
            headers=bool(self.headers) or self.message_id is not None,
            patience_s=patience_s,
        )
        skipped = 0
        tally = self.tally

        def settled(count: int) -> None:
            meter.update(done=min(rows, count + skipped))

        pending: list[tuple[Any, pa.Array]] = []

        async def batches() -> AsyncIterator[pa.RecordBatch]:
            nonlocal skipped
            start, size = 0, 2048
            while start < rows:
                part = self.frame.iloc[start : start + size]
                batch, kept = await asyncio.to_thread(self._encode, part, start)
                skipped += len(part) - len(kept)
                start += len(part)
                # Rows of megabytes go in small slices.
                each = max(batch.nbytes // max(len(kept), 1), 1)
                size = max(1, min(SLICE_ROWS, SLICE_BYTES // each))
                if len(kept):
                    pending.append((kept, batch.column("subject")))
                    yield batch

        try:
            async for result in engine.publish(request, batches(), settled):
                kept, subjects = pending.pop(0)
                codes = result.column("code").to_numpy()
                tally.codes[kept] = codes
                tally.sequences[kept] = result.column("sequence").to_numpy()
                bad = np.flatnonzero((codes == FAILED) | (codes == UNKNOWN))
                if bad.size:
                    reasons = result.column("reason").take(bad).to_pylist()
                    names = subjects.take(bad).to_pylist()
                    for row, reason, name in zip(kept[bad], reasons, names, strict=True):
                        tally.reasons[int(row)] = str(reason)
                        tally.subjects[int(row)] = name.decode("utf-8", "replace")
                meter.update(done=tally.count(*range(UNSENT)))
        except BaseException:
            # What was on its way has no result: it may be stored.
            for kept, subjects in pending:
                tally.codes[kept] = UNKNOWN
                for row, name in zip(kept, subjects.to_pylist(), strict=True):
                    tally.reasons[int(row)] = "the transfer ended before it was acknowledged"
                    tally.subjects[int(row)] = name.decode("utf-8", "replace")
            raise
        meter.update(done=rows)

    def _encode(self, part: pd.DataFrame, start: int) -> tuple[pa.RecordBatch, Any]:
        """A slice as a batch of messages, without the rows that failed; and the places of those in it."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        subjects, failed = self.template.subjects(part)
        if self.payload == "json":
            payloads, bad = encode_json(part, self.columns)
        elif self.payload == "msgpack":
            payloads, bad = encode_msgpack(part, self.columns)
        else:
            payloads, bad = encode_raw(part[self.payload], self.payload)
        for row, reason in bad.items():
            failed.setdefault(row, reason)
        columns = {"subject": pc.cast(subjects, pa.binary()), "payload": payloads}
        if self.headers or self.message_id is not None:
            columns["headers"] = pc.cast(self._header_lines(part, start, failed), pa.binary())
        batch = pa.RecordBatch.from_pydict(columns)
        kept = np.arange(start, start + len(part))
        if failed:
            names = subjects.to_pylist()
            for row, reason in failed.items():
                self.tally.fail(start + row, reason, names[row])
            good = np.ones(len(part), bool)
            good[list(failed)] = False
            batch, kept = batch.filter(pa.array(good)), kept[good]
        return batch, kept

    def _header_lines(self, part: pd.DataFrame, start: int, failed: dict[int, str]) -> pa.Array:
        """The headers of each row as the protocol writes them."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        lines: list[Any] = []
        if self.message_id == AUTO:
            numbers = pc.cast(pa.array(np.arange(start, start + len(part))), pa.string())
            lines.append(pc.binary_join_element_wise(f"{MESSAGE_ID}: {self._id}.", numbers, "\r\n", ""))
        elif self.message_id is not None:
            texts = texts_of(part[self.message_id], self.message_id, failed)
            empty = pc.or_(pc.is_null(texts), pc.equal(pc.fill_null(texts, ""), ""))
            for row in pc.indices_nonzero(empty).to_pylist():
                failed.setdefault(row, f"column {self.message_id!r} is empty, and it has the message ids")
            lines.append(self._line(MESSAGE_ID, texts, self.message_id, failed))
        for header, column in self.headers.items():
            texts = texts_of(part[column], column, failed)
            lines.append(self._line(header, texts, column, failed))
        return lines[0] if len(lines) == 1 else pc.binary_join_element_wise(*lines, "")

    @staticmethod
    def _line(header: str, texts: pa.Array, column: str, failed: dict[int, str]) -> pa.Array:
        import pyarrow.compute as pc

        broken = pc.fill_null(pc.match_substring_regex(texts, r"[\r\n]"), False)
        for row in pc.indices_nonzero(broken).to_pylist():
            failed.setdefault(row, f"column {column!r}: a header cannot hold a line break")
        line = pc.binary_join_element_wise(f"{header}: ", texts, "\r\n", "", null_handling="emit_null")
        return pc.fill_null(line, "")


def _column_list(columns: object) -> list[Any]:
    if isinstance(columns, str):
        return [columns]
    if not isinstance(columns, Sequence):
        raise UsageError(f"columns={columns!r}.", hint="Give a list of columns' names.")
    return list(dict.fromkeys(columns))
