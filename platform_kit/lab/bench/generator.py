"""A load generator: one process that publishes or collects, told over its standard input what to do.

A process of its own shares neither the interpreter's lock nor the garbage of a notebook's kernel, and several
of them use several cores, as the parts of a real system do. It ends when its standard input closes, so it
never outlives whoever started it.

A line of JSON asks for a measurement. When everything is prepared it answers ``{"ready": true}``, begins at
the line ``{"go": <time>}``, and answers with counts, times and a histogram. Times are those of the
monotonic clock, which all processes of a machine share.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import gc
import json
import os
import re
import selectors
import signal
import struct
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.errors import Error as JetStreamError

from platform_kit.lab.bench.latency import Histogram

Spec = dict[str, Any]
Ready = Callable[[], Awaitable[int]]
STAMP = struct.Struct("<qq")
"""What a message begins with: when it was to be sent, in nanoseconds, and its number."""
SILENCE_S = 5.0
BURST = 64
"""Messages given to the client between two looks at what came back."""
POINTS = 200
"""Of a time series."""
MOST_IN_FLIGHT = 20_000
PULL = 5000
now = time.monotonic_ns
_NUMBER = re.compile(rb'"bench_n":\s*"?(\d+)')
_MOMENT = re.compile(rb'"bench_sent":\s*"?(\d+)')


class Connection:
    """A client of nats-py that does not come back by itself: a lost server ends the measurement."""

    def __init__(self) -> None:
        self.client = Client()
        self.closed = asyncio.Event()
        self.errors: list[str] = []

    async def open(self, settings: dict[str, Any]) -> None:
        """Connect as the platform does."""

        async def lost() -> None:
            self.closed.set()

        async def note(error: Exception) -> None:
            if len(self.errors) < 10:
                self.errors.append(f"{type(error).__name__}: {error}")

        await self.client.connect(
            **settings,
            allow_reconnect=False,
            max_reconnect_attempts=0,
            connect_timeout=5,
            disconnected_cb=lost,
            closed_cb=lost,
            error_cb=note,
            pending_size=16 * 1024 * 1024,
        )

    async def close(self) -> None:
        """Close it, whatever state it is in."""
        if self.client.last_error is None and not self.client.is_connected:
            return  # it never was open
        with contextlib.suppress(NatsError, OSError, asyncio.TimeoutError):
            await self.client.close()


class Tally:
    """What one generator counted in one measurement."""

    def __init__(self) -> None:
        self.sent = 0
        self.arrived = 0
        self.failed = 0
        self.error = ""
        self.begun = 0
        self.ended = 0
        self.when = array.array("q")
        """When each arrived, or was acknowledged."""
        self.took = np.zeros(0, dtype=np.int64)
        self.late = array.array("q")
        """How much later than intended each was sent."""

    def as_dict(self) -> dict[str, Any]:
        """For the one line that goes back."""
        when = np.frombuffer(self.when, dtype=np.int64) if len(self.when) else np.zeros(0, dtype=np.int64)
        step = max(1, len(when) // POINTS)
        marks = when[step - 1 :: step]
        late = np.frombuffer(self.late, dtype=np.int64) if len(self.late) else np.zeros(0, dtype=np.int64)
        return {
            "sent": self.sent,
            "arrived": self.arrived,
            "failed": self.failed,
            "error": self.error,
            "begun": self.begun,
            "ended": self.ended,
            "series": [marks.tolist(), step],
            "latency": Histogram.of(self.took).as_dict(),
            "late": Histogram.of(late).as_dict(),
        }


def spin(nanoseconds: int) -> None:
    """Keep the core busy for a time, as work of one's own on a message would."""
    end = now() + nanoseconds
    while now() < end:
        pass


class Slowdown:
    """Work of one's own that takes a share of the time the rest takes, whatever the machine's speed."""

    def __init__(self, share: float, begun: int) -> None:
        self._share, self._begun, self._spent = share, begun, 0

    def work(self) -> None:
        """Do what is due by now."""
        due = int((now() - self._begun - self._spent) * self._share) - self._spent
        if due > 0:
            before = now()
            spin(due)
            self._spent += now() - before


class Pace:
    """When each message is to be sent: at once, or at the times of a fixed rate.

    At a rate the time of a message does not depend on how the messages before it fared. A sender that was
    held up therefore sends later than intended, and the wait is part of the latency.
    """

    def __init__(self, spec: Spec, begun: int) -> None:
        rate = spec.get("rate") or 0
        self.interval = 1e9 / rate if rate else 0.0
        # Several senders take turns instead of sending in the same moment.
        self.begun = begun + spec.get("offset", 0.0) * self.interval

    def intended(self, number: int) -> int:
        """When this message is to be sent."""
        return int(self.begun + number * self.interval) if self.interval else now()

    def due(self, number: int, most: int) -> int:
        """How many of the next messages, at most ``most``, are to be sent by now."""
        if not self.interval:
            return most
        return min(most, int((now() - self.begun) / self.interval) + 1 - number)

    async def wait_for(self, number: int) -> None:
        """Until this message is to be sent."""
        left = (self.intended(number) - now()) / 1e9
        await asyncio.sleep(left if left > 0 else 0)


# ------------------------------------------------------------------------------------ what is measured


async def publish(connection: Connection, spec: Spec, ready: Ready) -> Tally:
    """Core publish, without an answer; ends when the server has read everything."""
    client, tally = connection.client, Tally()
    subject, total, work = spec["subject"], spec["messages"], spec.get("work_ns", 0)
    pad = bytes(spec["payload_bytes"] - STAMP.size)
    pack, late = STAMP.pack, tally.late.append
    tally.begun = await ready()
    pace = Pace(spec, tally.begun)
    paced = bool(pace.interval)
    while tally.sent < total and not connection.closed.is_set():
        if not (count := pace.due(tally.sent, min(BURST, total - tally.sent))) > 0:
            await pace.wait_for(tally.sent)
            continue
        for number in range(tally.sent, tally.sent + count):
            intended = pace.intended(number)
            if work:
                spin(work)
            await client.publish(subject, pack(intended, number) + pad)
            if paced:
                late(now() - intended)
        tally.sent += count
        # Waits for what does not fit: the server's pace is the sender's.
        if client._pending_data_size > 1_000_000:
            await client.flush(10)
        else:
            await asyncio.sleep(0)
    if not connection.closed.is_set():
        await client.flush(10)
    tally.ended = now()
    tally.arrived = tally.sent
    return tally


async def collect(connection: Connection, spec: Spec, ready: Ready) -> Tally:
    """A core subscription; ends with the last message, or when none comes any more."""
    client, tally = connection.client, Tally()
    total, work = spec["messages"], spec.get("work_ns", 0)
    done = asyncio.Event()
    stamps: list[bytes] = []
    note, keep = tally.when.append, stamps.append

    async def take(message: Msg) -> None:
        note(now())
        keep(message.data[:16])
        if work:
            spin(work)
        if len(stamps) >= total:
            done.set()

    subscription = await client.subscribe(
        spec["subject"], cb=take, pending_msgs_limit=0, pending_bytes_limit=0
    )
    await client.flush(10)
    tally.begun = await ready()
    await _until(done, lambda: len(stamps), connection, silence_s=spec.get("silence_s", SILENCE_S))
    with contextlib.suppress(NatsError):
        await subscription.unsubscribe()
    tally.arrived = len(stamps)
    tally.ended = tally.when[-1] if len(tally.when) else now()
    sent = np.frombuffer(b"".join(stamps), dtype=np.int64)[::2]
    tally.took = np.frombuffer(tally.when, dtype=np.int64)[: len(sent)] - sent if len(sent) else tally.took
    return tally


async def respond(connection: Connection, spec: Spec, ready: Ready) -> Tally:
    """Give back what is asked, until told to stop."""
    client, tally = connection.client, Tally()
    work = spec.get("work_ns", 0)

    async def answer(message: Msg) -> None:
        if work:
            spin(work)
        await client.publish(message.reply, message.data)
        tally.arrived += 1

    subscription = await client.subscribe(spec["subject"], queue="bench", cb=answer)
    await client.flush(10)
    tally.begun = await ready()
    await asyncio.wait(
        [asyncio.ensure_future(ready()), asyncio.ensure_future(connection.closed.wait())],
        return_when=asyncio.FIRST_COMPLETED,
    )
    with contextlib.suppress(NatsError):
        await subscription.unsubscribe()
    tally.ended = now()
    tally.sent = tally.arrived
    return tally


async def ask(connection: Connection, spec: Spec, ready: Ready) -> Tally:
    """Messages that are answered, a number of them on their way at once: requests, and JetStream's publishes.

    All answers come to one inbox, in which each message has its number.
    """
    client, tally = connection.client, Tally()
    subject, total, window = spec["subject"], spec["messages"], spec["window"]
    work = spec.get("work_ns", 0)
    good = b'{"stream"' if spec["answer"] == "ack" else None
    pad = bytes(spec["payload_bytes"] - STAMP.size)
    numbered, first = spec.get("numbered", False), spec.get("first", 0)
    stamp = _json_stamp if spec.get("json") else None
    # Where the other end is a time the server notes, the clock of the wall is what both have.
    wall = time.time_ns() - now() if spec.get("json") else 0
    inbox = client.new_inbox()
    cut = len(inbox) + 1
    intended = [0] * total
    answered = bytearray(total)
    took = array.array("q")
    waiter: asyncio.Future[None] | None = None
    open_, done = 0, asyncio.Event()
    note, keep, late = tally.when.append, took.append, tally.late.append

    async def answer(message: Msg) -> None:
        nonlocal open_, waiter
        moment = now()
        number = int(message.subject[cut:])
        if answered[number]:
            return
        answered[number] = 1
        open_ -= 1
        data = message.data
        if data.startswith(good) if good else len(data) > 15:
            note(moment)
            keep(moment - intended[number])
        else:
            tally.failed += 1
            if not tally.error:
                tally.error = _refusal(message)
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
        if tally.failed + len(took) >= total:
            done.set()

    subscription = await client.subscribe(
        f"{inbox}.*", cb=answer, pending_msgs_limit=0, pending_bytes_limit=0
    )
    await client.flush(10)
    loop = asyncio.get_running_loop()
    pack = STAMP.pack
    tally.begun = await ready()
    pace = Pace(spec, tally.begun)
    paced = bool(pace.interval)
    slowed = Slowdown(spec["slowdown"], tally.begun) if spec.get("slowdown") else None
    number = 0
    while number < total and not connection.closed.is_set():
        if open_ >= window:
            waiter = loop.create_future()
            if not await _woken(waiter, connection):
                break
            waiter = None
            continue
        if not (count := pace.due(number, min(BURST, window - open_, total - number))) > 0:
            await pace.wait_for(number)
            continue
        for number in range(number, number + count):  # noqa: B020
            moment = pace.intended(number)
            intended[number] = moment
            open_ += 1
            if work:
                spin(work)
            body = stamp(moment + wall, first + number, len(pad)) if stamp else pack(moment, number) + pad
            to = f"{subject}.{first + number}" if numbered else subject
            await client.publish(to, body, reply=f"{inbox}.{number}")
            if paced:
                late(now() - moment)
        number += 1
        tally.sent = number
        if slowed:
            slowed.work()
        if open_ < window:
            await asyncio.sleep(0)
    await _until(done, lambda: tally.failed + len(took), connection, only_if=tally.sent == total)
    with contextlib.suppress(NatsError):
        await subscription.unsubscribe()
    tally.arrived = len(took)
    tally.ended = tally.when[-1] if len(tally.when) else now()
    tally.took = np.frombuffer(took, dtype=np.int64) if len(took) else tally.took
    return tally


async def one_by_one(connection: Connection, spec: Spec, ready: Ready) -> Tally:
    """One operation of nats-py after the other, each awaited: publish, key-value put and get."""
    client, tally = connection.client, Tally()
    js, total, work = client.jetstream(), spec["messages"], spec.get("work_ns", 0)
    first, keys = spec.get("first", 0), spec.get("keys", 1)
    pad = bytes(spec["payload_bytes"] - STAMP.size)
    pack = STAMP.pack
    operation: Callable[[int, int], Awaitable[Any]]
    if spec["operation"] == "publish":
        subject = spec["subject"]

        async def operation(number: int, moment: int) -> None:
            await js.publish(subject, pack(moment, number) + pad)

    else:
        bucket = await js.key_value(spec["bucket"])
        if spec["operation"] == "put":

            async def operation(number: int, moment: int) -> None:
                await bucket.put(str(number % keys), pack(moment, number) + pad)

        else:

            async def operation(number: int, moment: int) -> None:
                await bucket.get(str(number % keys))

    took = array.array("q")
    tally.begun = await ready()
    pace = Pace(spec, tally.begun)
    paced = bool(pace.interval)
    slowed = Slowdown(spec["slowdown"], tally.begun) if spec.get("slowdown") else None
    for number in range(total):
        if paced and pace.due(number, 1) < 1:
            await pace.wait_for(number)
        moment = pace.intended(number)
        if paced:
            tally.late.append(now() - moment)
        if work:
            spin(work)
        if slowed:
            slowed.work()
        tally.sent += 1
        try:
            await operation(first + number, moment)
        except (TimeoutError, NatsError, JetStreamError) as error:
            tally.failed += 1
            tally.error = tally.error or f"{type(error).__name__}: {error}"
            if connection.closed.is_set() or tally.failed >= 10 > tally.arrived:
                break
            continue
        ended = now()
        took.append(ended - moment)
        tally.when.append(ended)
        tally.arrived += 1
    tally.ended = now()
    tally.took = np.frombuffer(took, dtype=np.int64) if len(took) else tally.took
    return tally


async def fetch(connection: Connection, spec: Spec, ready: Ready) -> Tally:
    """Messages of a durable consumer in batches, each message acknowledged."""
    client, tally = connection.client, Tally()
    js, total, batch = client.jetstream(), spec["messages"], spec["batch"]
    work, fed = spec.get("work_ns", 0), spec.get("fed", False)
    subscription = await js.pull_subscribe_bind(consumer=spec["consumer"], stream=spec["stream"])
    stamps: list[bytes] = []
    calls = array.array("q")
    note, keep = tally.when.append, stamps.append
    tally.begun = await ready()
    silent_since = now()
    # Several collectors share the messages: one has its part when nothing is left for anybody.
    while len(stamps) < total and not connection.closed.is_set():
        asked = now()
        try:
            messages = await subscription.fetch(min(batch, total - len(stamps)), timeout=0.5)
        except (TimeoutError, NatsError) as error:
            if not isinstance(error, asyncio.TimeoutError):
                tally.error = f"{type(error).__name__}: {error}"
            # A shared backlog that has run dry is the end; where messages are still being fed, silence is.
            if not fed or now() - silent_since > spec.get("silence_s", SILENCE_S) * 1e9:
                break
            continue
        silent_since = moment = now()
        calls.append(moment - asked)
        for message in messages:
            note(moment)
            keep(message.data[:16])
            if work:
                spin(work)
            await message.ack()
        await asyncio.sleep(0)
    if not connection.closed.is_set():
        with contextlib.suppress(NatsError, asyncio.TimeoutError):
            await client.flush(10)
            await subscription.unsubscribe()
    tally.arrived = tally.sent = len(stamps)
    tally.ended = now() if len(stamps) >= total else (tally.when[-1] if len(tally.when) else now())
    sent = np.frombuffer(b"".join(stamps), dtype=np.int64)[::2]
    if fed and len(sent):
        tally.took = np.frombuffer(tally.when, dtype=np.int64) - sent
    elif len(calls):
        tally.took = np.frombuffer(calls, dtype=np.int64)
    return tally


async def ordered(connection: Connection, spec: Spec, ready: Ready) -> Tally:
    """A stream from its first message on, in order, without acknowledgements, in pulls that overlap."""
    client, tally = connection.client, Tally()
    total, batch, work = spec["messages"], spec["batch"], spec.get("work_ns", 0)
    fed = spec.get("fed", False)
    stamps: list[bytes] = []
    done = asyncio.Event()
    note, keep = tally.when.append, stamps.append
    inbox = client.new_inbox()
    pull = f"$JS.API.CONSUMER.MSG.NEXT.{spec['stream']}.{spec['consumer']}"
    request = json.dumps({"batch": batch, "expires": 30_000_000_000}).encode()
    low = batch // 2
    left = gaps = 0

    async def take(message: Msg) -> None:
        nonlocal left, gaps
        moment = now()
        reply = message.reply
        if not reply:  # the end of a pull
            if (message.headers or {}).get("Status") not in ("100", None) and not done.is_set():
                left = batch
                await client.publish(pull, request, reply=inbox)
            return
        if len(stamps) >= total:
            return
        note(moment)
        keep(message.data[:16])
        left -= 1
        if int(reply.split(".", 8)[6]) != len(stamps):
            gaps += 1
        if work:
            spin(work)
        if left == low and len(stamps) + left < total:
            left += batch
            await client.publish(pull, request, reply=inbox)
        if len(stamps) >= total:
            done.set()

    subscription = await client.subscribe(inbox, cb=take, pending_msgs_limit=0, pending_bytes_limit=0)
    await client.flush(10)
    tally.begun = await ready()
    left = batch
    await client.publish(pull, request, reply=inbox)
    await _until(done, lambda: len(stamps), connection, silence_s=spec.get("silence_s", SILENCE_S))
    with contextlib.suppress(NatsError):
        await subscription.unsubscribe()
    tally.arrived = tally.sent = len(stamps)
    if gaps:
        tally.error = f"{gaps} messages came out of order"
    tally.ended = tally.when[-1] if len(tally.when) else now()
    sent = np.frombuffer(b"".join(stamps), dtype=np.int64)[::2]
    if fed and len(sent):
        tally.took = np.frombuffer(tally.when, dtype=np.int64) - sent
    return tally


async def stored(connection: Connection, spec: Spec, ready: Ready) -> Tally:
    """When the messages of a stream were stored, by the server's own times, and which of them are there.

    Latencies are from the time a message was to be sent. A number that is there twice, and one that is
    missing, show in the counts.
    """
    client, tally = connection.client, Tally()
    total = spec["messages"]
    numbers, sent = array.array("q"), array.array("q")
    done = asyncio.Event()
    inbox = client.new_inbox()
    pull = f"$JS.API.CONSUMER.MSG.NEXT.{spec['stream']}.{spec['consumer']}"
    request = json.dumps({"batch": PULL, "expires": 30_000_000_000}).encode()
    left = 0

    async def take(message: Msg) -> None:
        nonlocal left
        if not message.reply:
            return
        tally.when.append(int(message.reply.split(".", 9)[7]))
        data = message.data
        number, moment = _NUMBER.search(data), _MOMENT.search(data)
        numbers.append(int(number[1]) if number else -1)
        sent.append(int(moment[1]) if moment else 0)
        left -= 1
        if left == PULL // 2 and len(numbers) + left < total:
            left += PULL
            await client.publish(pull, request, reply=inbox)
        if len(numbers) >= total:
            done.set()

    subscription = await client.subscribe(inbox, cb=take, pending_msgs_limit=0, pending_bytes_limit=0)
    await ready()
    left = PULL
    await client.publish(pull, request, reply=inbox)
    await _until(done, lambda: len(numbers), connection)
    with contextlib.suppress(NatsError):
        await subscription.unsubscribe()
    known = np.frombuffer(numbers, dtype=np.int64) if len(numbers) else np.zeros(0, dtype=np.int64)
    when = np.frombuffer(tally.when, dtype=np.int64) if len(known) else known
    good = known >= 0
    # A pipeline may change what a message is: then only how many there are can be said.
    tally.sent = len(np.unique(known[good])) + int((~good).sum())
    tally.arrived = len(known)
    if len(known):
        tally.begun, tally.ended = int(when.min()), int(when.max())
        if spec.get("fed") and good.any():
            tally.took = when[good] - np.frombuffer(sent, dtype=np.int64)[good]
    return tally


async def program(connection: Connection, spec: Spec, ready: Ready) -> Tally:
    """Another program, ended with this process: ``nats bench``."""
    await ready()
    tally = Tally()
    tally.begun = now()
    process = await asyncio.create_subprocess_exec(
        *spec["command"],
        env={name: text for name, text in os.environ.items() if name not in spec["without"]} | spec["env"],
        cwd=spec["cwd"],
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        process_group=0,
    )
    try:
        waiting = asyncio.ensure_future(process.communicate())
        told = asyncio.ensure_future(ready()) if spec.get("until_told") else None
        either = [waiting] if told is None else [waiting, told]
        await asyncio.wait(either, timeout=spec["limit_s"], return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            if told is None:
                tally.error = f"it did not end within {spec['limit_s']:g} s"
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        output = (await waiting)[0]
        if process.returncode and not (told is not None and told.done()):
            lines = output.decode("utf-8", "replace").strip().splitlines()
            tally.error = tally.error or (lines[-1][-300:] if lines else f"exit code {process.returncode}")
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    tally.ended = now()
    return tally


ROLES: dict[str, Callable[[Connection, Spec, Ready], Awaitable[Tally]]] = {
    "publish": publish,
    "collect": collect,
    "respond": respond,
    "ask": ask,
    "one_by_one": one_by_one,
    "fetch": fetch,
    "ordered": ordered,
    "program": program,
    "stored": stored,
}


# ------------------------------------------------------------------------------------ waiting


async def _until(
    done: asyncio.Event,
    count: Callable[[], int],
    connection: Connection,
    *,
    silence_s: float = SILENCE_S,
    only_if: bool = True,
) -> None:
    """Wait for the end, or until nothing has moved for ``silence_s``, or the connection is lost."""
    if not only_if:
        return
    seen, since = count(), now()
    while not done.is_set() and not connection.closed.is_set():
        try:
            async with asyncio.timeout(0.05):
                await done.wait()
        except TimeoutError:
            if count() != seen:
                seen, since = count(), now()
            elif now() - since > silence_s * 1e9:
                return


async def _woken(waiter: asyncio.Future[None], connection: Connection) -> bool:
    """Wait for an answer; False when none came for a long time, or the connection is lost."""
    lost = asyncio.get_running_loop().call_later(SILENCE_S, waiter.cancel)
    try:
        await waiter
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        return False
    finally:
        lost.cancel()
    return not connection.closed.is_set()


def _json_stamp(moment: int, number: int, size: int) -> bytes:
    """A message that a pipeline can read, as long as any other with ``size`` bytes after its stamp."""
    head = b'{"bench_n":"%d","bench_sent":"%d","pad":"' % (number, moment)
    return head + b"x" * (size + STAMP.size - len(head) - 2) + b'"}'


def _refusal(message: Msg) -> str:
    if (message.headers or {}).get("Status") == "503":
        return "nobody answers on this subject"
    try:
        return str(json.loads(message.data)["error"]["description"])
    except (ValueError, KeyError, TypeError):
        return f"an answer that is none: {message.data[:100]!r}"


# ------------------------------------------------------------------------------------ the process


async def main() -> None:
    """Do what the lines on standard input say, until it closes."""
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader(limit=2**24)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    connections: dict[str, Connection] = {}
    inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    ended = asyncio.Event()

    async def read() -> None:
        while line := await lines.readline():
            inbox.put_nowait(json.loads(line))
        ended.set()

    def say(answer: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()

    async def ready() -> int:
        say({"ready": True})
        start = int((await inbox.get())["go"])
        while (left := start - now()) > 0:
            await asyncio.sleep(left / 1e9)
        return max(start, now()) if start else now()

    async def connected(settings: dict[str, Any] | None) -> Connection:
        """The connection to this server; it stays open for the next measurement."""
        if settings is None:
            return Connection()
        where = json.dumps(settings)
        if where not in connections or connections[where].closed.is_set():
            connection = Connection()
            await connection.open(settings)
            connections[where] = connection
        connections[where].errors.clear()
        return connections[where]

    async def serve() -> None:
        while True:
            spec = await inbox.get()
            try:
                settings = spec["connect"]
                connection = await connected(settings)
                gc.collect()
                tally = await ROLES[spec["role"]](connection, spec, ready)
                if connection.closed.is_set() and settings is not None and not tally.error:
                    tally.error = "the connection to the server was lost"
                if connection.errors and not tally.error and tally.arrived < spec.get("messages", 0):
                    tally.error = connection.errors[0]
                say(tally.as_dict())
            except Exception as error:
                say({"error": f"{type(error).__name__}: {error}"})

    gc.collect()
    gc.freeze()  # what the imports made stays for ever: no need to look through it before each measurement
    reading, serving = asyncio.ensure_future(read()), asyncio.ensure_future(serve())
    await ended.wait()
    serving.cancel()
    await asyncio.wait({serving}, timeout=2.0)
    for connection in connections.values():
        await connection.close()
    reading.cancel()


if __name__ == "__main__":
    # Ctrl-C in a terminal, and Jupyter's stop button, are for whoever started this.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # epoll's time-outs count in milliseconds, select's in microseconds: a message at its time needs these.
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())) as runner:
        runner.run(main())
