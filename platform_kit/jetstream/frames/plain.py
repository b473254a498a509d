"""The same transfers with nats-py alone: for small frames, and where the compiled client cannot be built.

Messages are asked for in large pulls and published with one shared reply inbox and a window of
acknowledgements; both are several times as fast as one call a message. It has a connection of its own, so
that a transfer neither waits for the platform's other traffic nor holds it up.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from platform_kit.jetstream.connection import Endpoint, connect
from platform_kit.jetstream.frames.native import engine_error
from platform_kit.jetstream.frames.request import PublishRequest, ReadRequest

if TYPE_CHECKING:
    import pyarrow as pa
    from nats.aio.client import Client
    from nats.aio.msg import Msg

PUBLISHED, DUPLICATE, FAILED, UNKNOWN = range(4)
_HEARTBEAT_S = 0.5
_SILENCE_S = 1.75
_PULL_EXPIRES_S = 30.0
_RETRY_S = 0.1
_API_TIMEOUT_S = 5.0
_PASSING = {10008, 10009, 10039, 10076}
"""JetStream's codes for "not now": it has just started, or a cluster has no leader yet."""


class _Link:
    """A connection and what happens to it."""

    def __init__(self) -> None:
        self.client: Client
        self.breaks = 0
        self.since = time.monotonic()
        self.denied: list[str] = []
        self.changed = asyncio.Event()

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, endpoint: Endpoint, name: str) -> AsyncIterator[_Link]:
        link = cls()

        async def lost() -> None:
            link.breaks += 1
            link.changed.set()

        async def back() -> None:
            link.since = time.monotonic()
            link.changed.set()

        async def error(found: Exception) -> None:
            text = str(found)
            if "permissions violation" in text.lower():
                link.denied.append(text)
                link.changed.set()

        link.client = await connect(
            endpoint,
            name=name,
            disconnected_cb=lost,
            reconnected_cb=back,
            error_cb=error,
            ping_interval=5,
            max_outstanding_pings=2,
        )
        try:
            yield link
        finally:
            await link.client.close()

    async def api(self, subject: str, request: object) -> dict[str, Any]:
        """Ask JetStream. Errors: ``_Refused``, or nats-py's own when nothing answers."""
        reply = await self.client.request(
            f"$JS.API.{subject}", json.dumps(request).encode(), timeout=_API_TIMEOUT_S
        )
        answer: dict[str, Any] = json.loads(reply.data)
        if error := answer.get("error"):
            raise _Refused(error.get("code", 0), error.get("err_code", 0), error.get("description", ""))
        return answer


class _Refused(Exception):
    def __init__(self, code: int, err_code: int, description: str) -> None:
        super().__init__(description)
        self.code, self.err_code, self.description = code, err_code, description


class PlainEngine:
    """Reads and publishes through nats-py.

    Parameters
    ----------
    endpoint: Where and as whom to connect.
    """

    name = "python"

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    async def read(
        self, request: ReadRequest, alive: Callable[[], None] = lambda: None
    ) -> AsyncIterator[pa.RecordBatch]:
        """As :meth:`NativeEngine.read`."""
        async with _Link.open(self._endpoint, "platform-kit-frames-read") as link:
            reader = _Reader(link, request)
            try:
                async for batch in reader.batches():
                    yield batch
            finally:
                await reader.leave()

    async def publish(
        self,
        request: PublishRequest,
        batches: AsyncIterator[pa.RecordBatch],
        settled: Callable[[int], None] = lambda _: None,
    ) -> AsyncIterator[pa.RecordBatch]:
        """As :meth:`NativeEngine.publish`."""
        async with _Link.open(self._endpoint, "platform-kit-frames-publish") as link:
            publisher = _Publisher(link, request, settled)
            await publisher.listen()
            async for batch in batches:
                yield await publisher.publish(batch)


# ------------------------------------------------------------------------------------------- reading


class _Reader:
    """Follows a stream up to a fixed end, over whatever the server does meanwhile."""

    def __init__(self, link: _Link, request: ReadRequest) -> None:
        self._link = link
        self._request = request
        self._next = request.start_sequence
        self._got = 0
        self._consumer = ""
        self._subscription: Any = None
        self._messages: list[Msg] = []
        self._arrived = asyncio.Event()
        self._asked = 0
        self._position = 0
        self._breaks = 0
        self._heard = 0.0
        self._moved = time.monotonic()
        self._finished = False

    async def batches(self) -> AsyncIterator[pa.RecordBatch]:
        while not self._done():
            if self._subscription is None and not await self._open():
                continue
            if self._done():
                return
            try:
                # Before Python 3.12, asyncio.wait_for swallows a cancellation that meets the event.
                async with asyncio.timeout(0.25):
                    await self._arrived.wait()
            except TimeoutError:
                pass
            self._arrived.clear()
            if self._link.denied:
                raise engine_error("denied", self._link.denied[0])
            while self._messages and not self._done() and self._subscription is not None:
                if (batch := await self._take()) is not None:
                    yield batch
                    self._moved = self._heard = time.monotonic()  # whoever reads may take any time
            if self._done():
                return
            silent = time.monotonic() - self._heard > _SILENCE_S
            if silent or self._breaks != self._link.breaks:
                await self.leave()
            self._check_patience()

    def _done(self) -> bool:
        return self._finished

    def _check_patience(self) -> None:
        waited = time.monotonic() - self._moved
        if waited > self._request.patience_s:
            raise engine_error("stalled", f"nothing came for {waited:.0f} s after sequence {self._next - 1}")

    async def _open(self) -> bool:
        """Make a consumer from the next sequence on."""
        from nats.errors import Error

        request = self._request
        config: dict[str, Any] = {
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": self._next,
            "ack_policy": "none",
            "replay_policy": "instant",
            "inactive_threshold": 60_000_000_000,
            "mem_storage": True,
            "num_replicas": 1,
        }
        if request.last_per_subject:
            config |= {"deliver_policy": "last_per_subject", "filter_subjects": [">"]}
            del config["opt_start_seq"]
        elif request.start_time is not None and not self._got:
            config |= {"deliver_policy": "by_start_time", "opt_start_time": request.start_time}
            del config["opt_start_seq"]
        if request.subjects:
            config["filter_subjects"] = list(request.subjects)
        self._breaks = self._link.breaks
        try:
            made = await self._link.api(
                f"CONSUMER.CREATE.{request.stream}", {"stream_name": request.stream, "config": config}
            )
            self._consumer = made["name"]
            if not made.get("num_pending"):
                self._finished = True
                return True
            self._asked = self._position = 0
            self._messages = []
            self._heard = time.monotonic()
            self._subscription = await self._link.client.subscribe(
                self._link.client.new_inbox(),
                cb=self._receive,
                pending_msgs_limit=0,
                pending_bytes_limit=0,
            )
            await self._pull()
        except _Refused as error:
            back = self._got and time.monotonic() - self._moved < 3.0
            if error.code < 500 and not (error.code == 404 and back):
                kind = "missing" if error.code == 404 else "refused"
                raise engine_error(kind, error.description) from error
        except (Error, TimeoutError, OSError):
            pass
        else:
            return True
        if self._link.denied:
            raise engine_error("denied", self._link.denied[0])
        self._check_patience()
        await asyncio.sleep(_RETRY_S)
        return False

    async def _receive(self, message: Msg) -> None:
        self._messages.append(message)
        reply = message.reply
        if len(self._messages) >= 4096 or not reply or reply.endswith(".0"):  # a status; the last one
            self._arrived.set()

    async def _pull(self) -> None:
        while self._asked <= self._request.pull_messages // 2:
            pull = {
                "batch": self._request.pull_messages,
                "max_bytes": self._request.pull_bytes,
                "expires": int(_PULL_EXPIRES_S * 1e9),
                "idle_heartbeat": int(_HEARTBEAT_S * 1e9),
            }
            self._asked += self._request.pull_messages
            await self._link.client.publish(
                f"$JS.API.CONSUMER.MSG.NEXT.{self._request.stream}.{self._consumer}",
                json.dumps(pull).encode(),
                reply=self._subscription.subject,
            )

    async def leave(self) -> None:
        """Let go of the consumer; it would go by itself."""
        from nats.errors import Error

        subscription, self._subscription = self._subscription, None
        consumer, self._consumer = self._consumer, ""
        with contextlib.suppress(Error, OSError):
            if subscription is not None:
                await subscription.unsubscribe()
            if consumer:
                await self._link.client.publish(
                    f"$JS.API.CONSUMER.DELETE.{self._request.stream}.{consumer}", b""
                )

    async def _take(self) -> pa.RecordBatch | None:
        """What has come up to the next message of the server's own, as one batch."""
        self._heard = time.monotonic()
        messages, self._messages = self._messages, []
        own = next((number for number, message in enumerate(messages) if not message.reply), None)
        status = None
        if own is not None:
            status, rest = messages[own], messages[own + 1 :]
            self._messages = rest + self._messages
            messages = messages[:own]
        batch = self._batch(messages) if messages else None
        if status is not None and not self._finished and self._subscription is not None:
            await self._status(status)
        elif not self._finished and self._subscription is not None:
            await self._pull()
        return batch

    def _batch(self, messages: list[Msg]) -> pa.RecordBatch | None:
        import numpy as np

        place = _places([message.reply for message in messages])
        sequence, delivery, moment, pending = place
        expected = np.arange(self._position + 1, self._position + 1 + len(messages))
        if (wrong := np.flatnonzero(delivery != expected)).size:  # some were sent into a broken connection
            messages = messages[: wrong[0]]
            self._heard = 0.0
        count = len(messages)
        if not count:
            return None
        self._position += count
        self._asked -= count
        sequence, moment, pending = sequence[:count], moment[:count], pending[:count]
        end = self._request.end_sequence
        if sequence[-1] >= end or pending[-1] == 0:
            self._finished = True
        wanted = (sequence <= end) & (sequence >= self._next)
        rows = np.flatnonzero(wanted)
        if self._request.limit is not None:
            rows = rows[: self._request.limit - self._got]
        if not rows.size:
            return None
        if rows.size < count:
            messages = [messages[row] for row in rows]
        self._got += len(messages)
        self._next = int(sequence[rows[-1]]) + 1
        self._moved = time.monotonic()
        if self._request.limit is not None and self._got >= self._request.limit:
            self._finished = True
        return _record_batch(messages, sequence[rows], moment[rows], self._request)

    async def _status(self, message: Msg) -> None:
        """A heartbeat, or the end of a pull."""
        from nats.errors import Error

        headers = message.headers or {}
        status = headers.get("Status", "")
        if status == "100":
            # Nothing comes though something is left: it may have been deleted meanwhile.
            try:
                info = await self._link.api(f"CONSUMER.INFO.{self._request.stream}.{self._consumer}", {})
            except (Error, TimeoutError, _Refused):
                await self.leave()
                return
            if not info.get("num_pending") and info["delivered"]["consumer_seq"] == self._position:
                self._finished = True
        elif status in ("404", "408"):
            self._asked = 0
            await self._pull()
        elif status == "409" and "Consumer Deleted" not in str(headers):
            self._asked = max(self._asked - int(headers.get("Nats-Pending-Messages", "0")), 0)
            await self._pull()
        else:
            await self.leave()


def _places(replies: list[str]) -> tuple[Any, Any, Any, Any]:
    """Sequence, delivery, time and pending of each message, from the subjects one would acknowledge to."""
    import pyarrow as pa
    import pyarrow.csv

    dots = replies[0].count(".")
    names = [str(number) for number in range(dots + 1)]
    first = 7 if dots >= 10 else 5
    wanted = names[first : first + 4]
    table = pyarrow.csv.read_csv(
        pa.py_buffer("\n".join(replies).encode()),
        read_options=pyarrow.csv.ReadOptions(
            column_names=names, use_threads=False, block_size=max(len(replies) * 400, 1 << 20)
        ),
        parse_options=pyarrow.csv.ParseOptions(delimiter=".", quote_char=False),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(wanted, pa.int64()), include_columns=wanted
        ),
    )
    found = [column.to_numpy() for column in table.columns]
    return found[0], found[1], found[2], found[3]


def _record_batch(messages: list[Msg], sequence: Any, moment: Any, request: ReadRequest) -> pa.RecordBatch:
    import pyarrow as pa

    columns: dict[str, pa.Array] = {
        "sequence": pa.array(sequence, pa.int64()),
        "time": pa.array(moment, pa.int64()),
        "subject": pa.array([message.subject for message in messages], pa.string()),
        "payload": pa.array([message.data for message in messages], pa.binary()),
    }
    columns["subject"] = columns["subject"].cast(pa.binary())
    if request.all_headers:
        lines = [_header_lines(message.headers) for message in messages]
        columns["headers"] = pa.array(lines, pa.binary())
    for name in request.headers:
        values = [(message.headers or {}).get(name) for message in messages]
        columns[f"header.{name}"] = pa.array(
            [None if value is None else value.encode("utf-8", "surrogateescape") for value in values],
            pa.binary(),
        )
    return pa.RecordBatch.from_pydict(columns)


def _header_lines(headers: dict[str, str] | None) -> bytes | None:
    if not headers:
        return None
    lines = [f"{name}: {headers[name]}\r\n" for name in sorted(headers)]
    return "".join(lines).encode("utf-8", "surrogateescape")


# ---------------------------------------------------------------------------------------- publishing


@dataclass
class _Row:
    """A message on its way."""

    row: int
    sent: float = 0.0
    tries: int = 0
    resend: bool = False


class _Publisher:
    """Publishes batches with a window of acknowledgements; results in the order of the rows."""

    def __init__(self, link: _Link, request: PublishRequest, settled: Callable[[int], None]) -> None:
        self._link = link
        self._request = request
        self._settled = settled
        self._count = 0
        self._index = 0
        self._rows: dict[int, _Row] = {}
        self._bytes = 0
        self._inbox = ""
        self._room = asyncio.Event()
        self._begun = time.monotonic()
        self._moved = time.monotonic()
        self._denied: dict[str, str] = {}
        self._again: deque[int] = deque()

    async def listen(self) -> None:
        self._inbox = self._link.client.new_inbox() + "."
        await self._link.client.subscribe(
            self._inbox + "*", cb=self._answer, pending_msgs_limit=0, pending_bytes_limit=0
        )

    async def publish(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Send a batch and wait until each of its rows has a result."""
        import pyarrow as pa

        names = batch.schema.names
        self._subjects = batch.column("subject").cast(pa.string()).to_pylist()
        self._payloads = batch.column("payload").to_pylist()
        self._headers = batch.column("headers").to_pylist() if "headers" in names else None
        moments = batch.column("at").to_pylist() if "at" in names else None
        self._sequences = [0] * len(batch)
        self._codes = [PUBLISHED] * len(batch)
        self._reasons: list[str | None] = [None] * len(batch)
        self._moved = time.monotonic()
        breaks = self._link.breaks
        row, said = 0, time.monotonic()
        while row < len(batch) or self._rows:
            if self._link.breaks != breaks and self._link.client.is_connected:
                breaks = self._link.breaks
                self._resume()
            self._deny()
            now = time.monotonic()
            sent = 0
            if self._link.client.is_connected:
                await self._send_again()
                while row < len(batch) and self._has_room() and sent < 512:
                    if moments is not None and moments[row] / 1e9 > time.monotonic() - self._begun:
                        break
                    self._index += 1
                    self._rows[self._index] = _Row(row, now)
                    self._bytes += len(self._payloads[row]) + 64
                    await self._send(self._index)
                    row, sent = row + 1, sent + 1
            if now - said > 0.2:
                said = now
                self._overdue(now)
                self._settled(self._count)
                if moments is not None and row < len(batch) and not self._rows:
                    self._moved = now
                self._check_patience(now)
            if not sent:
                self._room.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.02):
                        await self._room.wait()
            else:
                await asyncio.sleep(0)
        self._settled(self._count)
        return pa.RecordBatch.from_pydict(
            {
                "sequence": pa.array(self._sequences, pa.int64()),
                "code": pa.array(self._codes, pa.int8()),
                "reason": pa.array(self._reasons, pa.string()),
            }
        )

    def _has_room(self) -> bool:
        return len(self._rows) < self._request.window and self._bytes < self._request.window_bytes

    async def _send(self, index: int) -> None:
        from nats.errors import Error, MaxPayloadError

        item = self._rows[index]
        subject, payload = self._subjects[item.row], self._payloads[item.row]
        if subject in self._denied:
            self._settle(index, 0, FAILED, "permission denied")
            return
        lines = self._headers[item.row] if self._headers is not None else None
        size = len(payload) + (len(lines) + 12 if lines else 0)
        limit = self._link.client.max_payload
        if size > limit:
            self._settle(index, 0, FAILED, f"{size} bytes with its headers, and the server takes {limit}")
            return
        item.tries += 1
        try:
            await self._link.client.publish(
                subject,
                payload,
                reply=f"{self._inbox}{index}",
                headers=_parse_headers(lines) if lines else None,
            )
        except MaxPayloadError:
            self._settle(index, 0, FAILED, f"{size} bytes with its headers, and the server takes {limit}")
        except (Error, OSError) as error:
            if self._link.client.is_connected:
                self._settle(index, 0, FAILED, str(error))
            else:
                item.tries -= 1
                self._later(index)

    def _later(self, index: int) -> None:
        item = self._rows[index]
        if not item.resend:
            item.resend, item.sent = True, time.monotonic()
            self._again.append(index)

    async def _send_again(self) -> None:
        if not self._again:
            return
        oldest = self._rows.get(self._again[0])
        if oldest is not None and time.monotonic() - oldest.sent < _RETRY_S:
            return
        again, self._again = sorted(self._again), deque()
        for index in again:
            item = self._rows.get(index)
            if item is not None and item.resend:
                item.resend, item.sent = False, time.monotonic()
                await self._send(index)

    async def _answer(self, message: Msg) -> None:
        index = int(message.subject[len(self._inbox) :])
        item = self._rows.get(index)
        if item is None:
            return
        if not message.data and (message.headers or {}).get("Status") == "503":
            if self._link.breaks and time.monotonic() - self._link.since < _API_TIMEOUT_S:
                self._later(index)
                return
            self._settle(index, 0, FAILED, "no stream takes this subject")
            return
        try:
            answer = json.loads(message.data)
            error = answer.get("error")
            sequence = 0 if error else int(answer["seq"])
        except (ValueError, KeyError, AttributeError, TypeError):
            self._settle(index, 0, FAILED, f"the answer is no acknowledgement: {message.data[:80]!r}")
            return
        if error is None:
            self._settle(index, sequence, DUPLICATE if answer.get("duplicate") else PUBLISHED, None)
        elif error.get("code") == 429 or error.get("err_code") in _PASSING:
            self._later(index)
        else:
            self._settle(index, 0, FAILED, str(error.get("description")))

    def _settle(self, index: int, sequence: int, code: int, reason: str | None) -> None:
        item = self._rows.pop(index)
        self._sequences[item.row] = sequence
        self._codes[item.row] = code
        self._reasons[item.row] = reason
        self._bytes -= len(self._payloads[item.row]) + 64
        self._count += 1
        if code != UNKNOWN:
            self._moved = time.monotonic()
        self._room.set()

    def _resume(self) -> None:
        for index, item in list(self._rows.items()):
            if item.resend:
                continue
            if self._request.safe:
                self._later(index)
            else:
                reason = "the connection broke before it was acknowledged: it may be stored, or not"
                self._settle(index, 0, UNKNOWN, reason)

    def _overdue(self, now: float) -> None:
        if not self._link.client.is_connected:
            return
        limit = self._request.ack_timeout_s
        for index, item in list(self._rows.items()):
            if item.resend or now - item.sent < limit:
                continue
            if self._request.safe and item.tries < 2:
                self._later(index)
            else:
                reason = f"no acknowledgement within {limit:g} s: it may be stored, or not"
                self._settle(index, 0, UNKNOWN, reason)

    def _check_patience(self, now: float) -> None:
        if now - self._moved <= self._request.patience_s:
            return
        for index, item in list(self._rows.items()):
            if item.tries:
                reason = "the server went away before it was acknowledged: it may be stored, or not"
                self._settle(index, 0, UNKNOWN, reason)
            else:
                self._settle(index, 0, FAILED, "it was not sent: the server was away")
        if not self._link.client.is_connected:
            raise engine_error("stalled", f"the server was away for {self._request.patience_s:.0f} s")

    def _deny(self) -> None:
        while self._link.denied:
            _, _, rest = self._link.denied.pop().partition('"')
            subject = rest.partition('"')[0]
            for index, item in list(self._rows.items()):
                # The client tells the server's words in small letters.
                if self._subjects[item.row].lower() == subject.lower():
                    self._denied[self._subjects[item.row]] = "permission denied"
                    self._settle(index, 0, FAILED, "permission denied")


def _parse_headers(lines: bytes) -> dict[str, str]:
    headers = {}
    for line in lines.decode("utf-8", "surrogateescape").split("\r\n"):
        name, found, value = line.partition(":")
        if found:
            headers[name] = value.removeprefix(" ")
    return headers
