"""Where points are measured: its own streams and buckets, load generators, one sample at a time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import socket
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psutil

from platform_kit import binaries
from platform_kit.errors import PlatformKitError, RunError, StreamError
from platform_kit.jetstream.connection import connect
from platform_kit.lab.bench import nats_bench, wombat_streams
from platform_kit.lab.bench.generators import Generators
from platform_kit.lab.bench.latency import Histogram
from platform_kit.lab.bench.reference import Reference
from platform_kit.lab.bench.scenarios import Point
from platform_kit.platform import Platform
from platform_kit.servers.nats_cli import nats_cli_connection, nats_cli_environment

if TYPE_CHECKING:
    from nats.aio.client import Client

PREFIX = "BENCH_"
"""Of every stream and bucket a bench makes."""
OWNER = "platform-kit.bench"
"""The metadata in which a stream says which process made it, so that the next bench removes what is left."""
SAMPLE_LIMIT_S = 60.0
QUIET_S = 0.02
STILL_S = 10.0
"""A pipeline that moves nothing for so long has stopped."""
KEYS = 10_000
"""A bucket has no more keys than this."""
OVERHEAD = 100
"""Bytes a stored message takes beside its payload, about."""
MOST_BYTES = {"file": 1 << 30, "memory": 256 << 20, None: 1 << 30}
"""What all points of a bench together may store."""
MOST_MESSAGES = 5_000_000


@dataclass
class Sample:
    """One measurement of one point.

    Parameters
    ----------
    sent: The messages that had to arrive; one that goes to three subscribers counts three times.
    arrived, failed, lost: What became of them; together they are ``sent``.
    duplicates: Arrivals beyond the first.
    seconds: From the first to the last.
    probe: Messages a second of the reference, right before.
    series: Nanoseconds since the beginning, each after ``step`` further messages.
    error: What went wrong, in words.
    """

    sent: int = 0
    arrived: int = 0
    failed: int = 0
    duplicates: int = 0
    seconds: float = float("nan")
    probe: float = float("nan")
    latency: Histogram = field(default_factory=Histogram)
    late: Histogram = field(default_factory=Histogram)
    percentiles: dict[str, float] = field(default_factory=dict)
    series: list[tuple[list[int], int]] = field(default_factory=list)
    error: str = ""
    at: float = field(default_factory=time.time)

    @property
    def lost(self) -> int:
        """What neither arrived nor failed."""
        return max(0, self.sent - self.arrived - self.failed)

    @property
    def rate(self) -> float:
        """Messages a second; NaN for a sample that is none."""
        if self.error or not self.arrived or not self.seconds > 0:
            return float("nan")
        return self.arrived / self.seconds


@dataclass
class _Store:
    """The stream or bucket of one point, and how many messages are in it."""

    name: str
    subject: str
    bucket: bool = False
    filled: int = 0
    consumers: int = 0


class Workbench:
    """Makes what the points need, measures them one at a time, and leaves nothing behind.

    Parameters
    ----------
    platform: Where.
    points: What will be measured; decides how many generators there are, and how much each may store.
    reference: Whether the reference is measured with each sample.
    """

    def __init__(self, platform: Platform, points: Sequence[Point], *, reference: bool) -> None:
        self._with_reference = reference
        self._reference: Reference | None = None
        self._platform = platform
        self._points = points
        self._token = secrets.token_hex(4)
        self._stores: dict[int, _Store] = {}
        self._deployed: set[str] = set()
        self._folder = Path()
        self._client: Client
        self._nats = ""
        needed = max(one.generators + (1 if _fed(one) else 0) for one in points)
        self._generators = Generators(platform.endpoint(), max(2, needed))

    async def __aenter__(self) -> Self:
        # A path of a socket is short: not below a long TMPDIR where that can be helped.
        self._folder = Path(tempfile.mkdtemp(prefix="platform-kit-bench-"))
        try:
            if any(point.engine == "nats" for point in self._points):
                self._nats = str(await asyncio.to_thread(binaries.ensure, "nats", self._platform.settings))
            for point in self._points:
                if point.pipeline is not None:
                    await asyncio.to_thread(wombat_streams.check, point.pipeline, self._platform)
            self._client = await connect(self._platform.endpoint(), name="platform-kit-bench")
            await self._remove_left()
            await self._generators.__aenter__()
            if self._with_reference:
                self._reference = await Reference(self._folder, self._platform.settings).__aenter__()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Remove streams, pipelines, processes and files, as far as servers still answer."""
        try:
            if self._reference is not None:
                await self._reference.close()
            await self._generators.close()
            for name in sorted(self._deployed):
                with contextlib.suppress(PlatformKitError):
                    await asyncio.to_thread(self._platform.wombat.delete, name)
            if hasattr(self, "_client"):
                try:
                    if self._client.is_connected:
                        await asyncio.wait_for(self._remove_mine(), 4.0)
                except TimeoutError:
                    pass  # the next bench removes what this one could not
                finally:
                    await self._client.close()
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    # ------------------------------------------------------------------------------ what the runner asks

    def most_messages(self, point: Point) -> int:
        """How many messages a sample of this point may have, so that disk and memory are bounded."""
        share = sum(one.storage == point.storage for one in self._points)
        copies = 2 if point.pipeline is not None else 1
        fits = MOST_BYTES[point.storage] // (share * copies * (point.payload_bytes + OVERHEAD))
        return max(1, min(MOST_MESSAGES, fits))

    async def sample(self, place: int, messages: int, *, reference_s: float = 0.0) -> Sample:
        """Measure a point once; what goes wrong in the measurement is in the sample's ``error``.

        Parameters
        ----------
        reference_s: How long the reference is measured right before, where there is one.

        Errors: ``StreamError`` when the server does not take a stream of the point at all.
        """
        point = self._points[place]
        before = float("nan")
        try:
            if self._reference is not None and reference_s:
                before = await self._reference.rate(self._generators, point, reference_s)
            store = await self._store(place, point)
            if point.pipeline is not None:
                found = await self._pipeline(place, point, store, messages)
            elif point.engine == "nats":
                found = await self._nats_bench(point, store, messages)
            else:
                found = await self._python(point, store, messages)
        except RunError as error:
            found = Sample(error=error.what)
        except _transport_errors() as error:
            found = Sample(error=f"the server did not answer ({type(error).__name__})")
        found.probe = before
        return found

    async def alive(self) -> bool:
        """Whether the server still answers."""
        try:
            await self._client.flush(5)
        except _transport_errors():
            return False
        return True

    # ------------------------------------------------------------------------------ Python

    async def _python(self, point: Point, store: _Store, messages: int) -> Sample:
        match point.scenario:
            case "core_pubsub":
                return await self._core(point, messages)
            case "request_reply":
                return await self._requests(point, messages)
            case "js_publish" | "js_publish_awaited" | "kv_put":
                return await self._publish(point, store, messages)
            case "js_fetch" | "js_ordered":
                return await self._consume(point, store, messages)
            case "kv_get":
                return await self._get(point, store, messages)
        raise AssertionError(point.scenario)

    async def _core(self, point: Point, messages: int) -> Sample:
        subject = f"bench.{self._token}.core"
        collectors = [
            self._base(point) | {"role": "collect", "subject": subject, "messages": messages}
            for _ in range(point.consumers or 1)
        ]
        publishers = [
            spec | {"role": "publish", "subject": subject} for spec in self._senders(point, messages)
        ]
        answers = await self._generators.run([*collectors, *publishers], limit_s=SAMPLE_LIMIT_S)
        collected, published = answers[: len(collectors)], answers[len(collectors) :]
        sent = sum(one.get("sent", 0) for one in published) * len(collectors)
        found = _together(collected, sent=sent, begun=published)
        found.late = Histogram.merged(_histograms(published, "late"))
        return found

    async def _requests(self, point: Point, messages: int) -> Sample:
        subject = f"bench.{self._token}.ask"
        senders = [
            spec | {"role": "ask", "subject": subject, "window": point.batch, "answer": "echo"}
            for spec in self._senders(point, messages)
        ]
        # Work per message is the requester's; a responder answers at once.
        responders = [{"role": "respond", "subject": subject}] * (point.consumers or 1)
        answers = await self._generators.run(
            [*senders, *responders], limit_s=SAMPLE_LIMIT_S, until=len(responders)
        )
        return _together(answers[: len(senders)])

    async def _publish(self, point: Point, store: _Store, messages: int) -> Sample:
        role: dict[str, Any] = {"role": "one_by_one", "operation": "publish", "subject": store.subject}
        if point.scenario == "js_publish":
            role = {"role": "ask", "subject": store.subject, "window": point.batch, "answer": "ack"}
        if store.bucket:
            role = {"role": "one_by_one", "operation": "put", "bucket": store.name, "keys": KEYS}
        answers = await self._generators.run(
            [spec | role for spec in self._senders(point, messages)], limit_s=SAMPLE_LIMIT_S
        )
        found = _together(answers)
        await self._check_stored(store, found)
        return found

    async def _consume(self, point: Point, store: _Store, messages: int) -> Sample:
        readers = point.consumers or 1
        fed = _fed(point)
        if fed:
            await self._purge(store)
        else:
            await self._fill(point, store, messages)
        shared = point.scenario == "js_fetch"
        consumers = [await self._consumer(point, store)] * readers if shared else []
        specs = []
        for number in range(readers):
            name = consumers[number] if shared else await self._consumer(point, store)
            part = _part(messages, readers, number) if shared else messages
            role = {"role": "fetch" if shared else "ordered", "stream": store.name, "consumer": name}
            specs.append(self._base(point) | role | {"batch": point.batch, "messages": part, "fed": fed})
        feeding = []
        if fed:
            feeding = [
                spec
                | {"role": "ask", "subject": store.subject, "window": 10_000, "answer": "ack", "work_ns": 0}
                for spec in self._senders(point, messages)
            ]
        answers = await self._generators.run([*specs, *feeding], limit_s=SAMPLE_LIMIT_S)
        read, fed_by = answers[:readers], answers[readers:]
        for name in dict.fromkeys(spec["consumer"] for spec in specs):
            with contextlib.suppress(*_transport_errors()):
                await self._client.jetstream().delete_consumer(store.name, name)
        copies = 1 if shared else readers
        sent = sum(one.get("sent", 0) for one in fed_by) * copies if fed else messages * copies
        found = _together(read, sent=sent, begun=fed_by or None)
        found.late = Histogram.merged(_histograms(fed_by, "late"))
        found.error = found.error or next((one["error"] for one in fed_by if one.get("error")), "")
        return found

    async def _get(self, point: Point, store: _Store, messages: int) -> Sample:
        await self._fill(point, store, min(KEYS, messages))
        readers = point.consumers or 1
        specs = [
            spec | {"role": "one_by_one", "operation": "get", "bucket": store.name, "keys": store.filled}
            for spec in self._senders(point, messages, count=readers)
        ]
        return _together(await self._generators.run(specs, limit_s=SAMPLE_LIMIT_S))

    def _base(self, point: Point) -> dict[str, Any]:
        rate = point.asked_msgs_per_s
        return {
            "payload_bytes": point.payload_bytes,
            "work_ns": round((point.work_us or 0.0) * 1000),
            "slowdown": point.slowdown or 0.0,
            "silence_s": 5.0 + 3.0 / rate if rate else 5.0,
        }

    def _senders(self, point: Point, messages: int, *, count: int | None = None) -> list[dict[str, Any]]:
        """One for each publisher, with its part of the messages and of the rate."""
        senders = count or point.publishers or 1
        rate = point.asked_msgs_per_s
        found, first = [], 0
        for number in range(senders):
            part = _part(messages, senders, number)
            turn = {"rate": rate / senders, "offset": number / senders} if rate else {}
            found.append(self._base(point) | {"messages": part, "first": first} | turn)
            first += part
        return found

    # ------------------------------------------------------------------------------ nats bench

    async def _nats_bench(self, point: Point, store: _Store, messages: int) -> Sample:
        subject = store.subject
        consumer = ""
        if point.scenario in ("js_fetch", "js_ordered"):
            await self._fill(point, store, messages)
            consumer = await self._consumer(point, store) if point.scenario == "js_fetch" else ""
        elif point.scenario == "kv_get":
            await self._fill(point, store, messages)
        words = nats_bench.arguments(
            point, messages=messages, subject=subject, store=store.name, consumer=consumer
        )
        ending = f"{self._token}.csv"
        main = self._program(words, self._folder / f"main-{ending}")
        copies = 1
        if point.scenario in ("core_pubsub", "request_reply"):
            other = self._program(
                nats_bench.other_end(point, messages=messages, subject=subject),
                self._folder / f"other-{ending}",
            )
            copies = (point.consumers or 1) if point.scenario == "core_pubsub" else 1
            answers = await self._two_programs(point, subject, main, other)
        else:
            if point.scenario == "js_ordered":
                copies = point.consumers or 1
            answers = await self._generators.run([main], limit_s=SAMPLE_LIMIT_S + 5)
        error = next((one["error"] for one in answers if one.get("error")), "")
        found = Sample(sent=messages * copies, error=error)
        read = self._folder / (f"other-{ending}" if point.scenario == "core_pubsub" else f"main-{ending}")
        if not error:
            text = await asyncio.to_thread(read.read_text)
            outcome = nats_bench.read_csv(text, point.payload_bytes)
            found.arrived, found.seconds = outcome.messages, outcome.seconds
            found.percentiles = outcome.latencies_ms
        for file in self._folder.glob("*.csv"):
            file.unlink(missing_ok=True)
        if consumer:
            with contextlib.suppress(*_transport_errors()):
                await self._client.jetstream().delete_consumer(store.name, consumer)
        if point.scenario in ("js_publish", "js_publish_awaited", "kv_put"):
            await self._check_stored(store, found)
        return found

    async def _two_programs(
        self, point: Point, subject: str, main: dict[str, Any], other: dict[str, Any]
    ) -> list[dict[str, Any]]:
        """The other end first; the measured one begins when the server knows of all its subscriptions."""
        serving = point.scenario == "request_reply"
        one, two = self._generators.one(0), self._generators.one(1)
        try:
            await two.begin(other | {"until_told": serving})
            await self._subscribed(subject, point.consumers or 1)
            await one.begin(main)
            answers = [await one.hear(SAMPLE_LIMIT_S + 5)]
            if serving:
                await two.tell({"go": 0})
            found = await two.hear(SAMPLE_LIMIT_S + 5)
            answers.append(await two.hear(SAMPLE_LIMIT_S) if "ready" in found else found)
        except BaseException:
            await asyncio.shield(self._generators.replace())
            raise
        return answers

    async def _subscribed(self, subject: str, count: int) -> None:
        """Wait until so many connections have subscribed."""
        question = json.dumps({"filter_subject": subject}).encode()
        deadline = time.monotonic() + 10.0
        while time.monotonic() < deadline:
            reply = await self._client.request("$SYS.REQ.ACCOUNT.PING.CONNZ", question, timeout=5)
            if json.loads(reply.data).get("data", {}).get("num_connections", 0) >= count:
                return
            await asyncio.sleep(QUIET_S)
        raise RunError("`nats bench` did not subscribe within 10 s.", hint="Run it again.")

    def _program(self, words: Sequence[str], csv: Path) -> dict[str, Any]:
        where = self._platform.endpoint()
        connection = nats_cli_connection(where.url, where.credentials, where.inbox)
        kept = {name: "" for name in os.environ if name.startswith("NATS_")}
        return {
            "role": "program",
            "connect": None,
            "command": [self._nats, "bench", *words, "--csv", str(csv), *connection],
            "env": nats_cli_environment(self._folder),
            "without": list(kept),
            "cwd": str(self._folder),
            "limit_s": SAMPLE_LIMIT_S,
        }

    # ------------------------------------------------------------------------------ Wombat

    async def _pipeline(self, place: int, point: Point, store: _Store, messages: int) -> Sample:
        assert point.pipeline is not None
        js = self._client.jetstream()
        if _fed(point) or store.filled != messages:
            await self._purge(store)  # all of it passes, so there is exactly what a sample has
        if not _fed(point):
            await self._fill(point, store, messages)
        consumer = await self._consumer(point, store)
        # A new one each time: a pipeline may give messages ids, which a stream knows again after a purge.
        target = _Store(f"{store.name}_OUT{store.consumers}", f"{store.subject}_out{store.consumers}")
        await self._add_stream(point, target)
        try:
            return await self._through_wombat(place, point, store, consumer, target, messages)
        finally:
            with contextlib.suppress(*_transport_errors()):
                await js.delete_stream(target.name)
                await js.delete_consumer(store.name, consumer)

    async def _through_wombat(
        self, place: int, point: Point, store: _Store, consumer: str, target: _Store, messages: int
    ) -> Sample:
        assert point.pipeline is not None
        fed = _fed(point)
        name = f"bench_{self._token}_{place}"
        config = wombat_streams.rewired(
            point.pipeline,
            stream=store.name,
            source=store.subject,
            consumer=consumer,
            target=target.name,
            subject=target.subject,
        )
        found = Sample(sent=messages)
        wombat = self._platform.wombat
        try:
            self._deployed.add(name)
            await asyncio.to_thread(wombat.put, name, config)
            feeding = []
            if fed:
                await self._connected(name)
                specs = [
                    spec
                    | {
                        "role": "ask",
                        "subject": store.subject,
                        "window": 10_000,
                        "answer": "ack",
                        "json": True,
                    }
                    for spec in self._senders(point, messages)
                ]
                feeding = await self._generators.run(specs, limit_s=SAMPLE_LIMIT_S)
                found.sent = sum(one.get("arrived", 0) for one in feeding)
                found.late = Histogram.merged(_histograms(feeding, "late"))
            moved = await self._moved(store, target, found.sent)
        finally:
            await asyncio.to_thread(wombat.delete, name)
            self._deployed.discard(name)
        if moved:
            reader = await self._consumer(point, target, ordered=True)
            (answer,) = await self._generators.run(
                [
                    {
                        "role": "stored",
                        "stream": target.name,
                        "consumer": reader,
                        "messages": moved,
                        "fed": fed,
                    }
                ],
                limit_s=SAMPLE_LIMIT_S,
            )
            if answer.get("error") or answer["arrived"] != moved:
                found.error = answer.get("error") or f"only {answer['arrived']} of {moved} could be read back"
                return found
            found.arrived = answer["sent"]
            found.duplicates = moved - answer["sent"]
            found.seconds = (answer["ended"] - answer["begun"]) / 1e9
            found.latency = Histogram.from_dict(answer["latency"])
            marks, step = answer["series"]
            found.series = [([mark - answer["begun"] for mark in marks], step)]
        return found

    async def _connected(self, name: str) -> None:
        deadline = time.monotonic() + STILL_S
        while not await asyncio.to_thread(self._platform.wombat.stream_ready, name):
            if time.monotonic() > deadline:
                raise RunError(f"Wombat did not connect the pipeline within {STILL_S:g} s.")
            await asyncio.sleep(QUIET_S)

    async def _moved(self, store: _Store, target: _Store, expected: int) -> int:
        """How many messages are in the target, once nothing more is to come, or nothing has for long."""
        js = self._client.jetstream()
        seen, since = -1, time.monotonic()
        while True:
            count = (await js.stream_info(target.name)).state.messages
            quiet = time.monotonic() - since
            if count != seen:
                seen, since = count, time.monotonic()
            elif count >= expected and quiet > 5 * QUIET_S:
                return count
            elif quiet > 0.5 and count < expected:
                infos = await js.consumers_info(store.name)
                # What a pipeline has taken and acknowledged will not arrive any more.
                if infos and not any((one.num_pending or 0) + (one.num_ack_pending or 0) for one in infos):
                    return count
            if quiet > STILL_S:
                return count
            await asyncio.sleep(QUIET_S)

    # ------------------------------------------------------------------------------ streams

    async def _store(self, place: int, point: Point) -> _Store:
        if place not in self._stores:
            name = f"{PREFIX}{self._token.upper()}_{place}"
            subject = f"bench.{self._token}.{place}"
            store = _Store(name, subject, bucket=point.scenario.startswith("kv_"))
            if point.storage is not None:
                await self._add_stream(point, store)
            self._stores[place] = store
        return self._stores[place]

    async def _add_stream(self, point: Point, store: _Store) -> None:
        from nats.js.api import DiscardPolicy, StorageType, StreamConfig
        from nats.js.errors import APIError

        storage = StorageType.FILE if point.storage == "file" else StorageType.MEMORY
        config = StreamConfig(
            name=store.name,
            subjects=[store.subject],
            storage=storage,
            num_replicas=point.replicas,
            discard=DiscardPolicy.NEW,
            allow_direct=True,
            metadata={OWNER: _owner()},
        )
        if store.bucket:
            # What `kv.create` of the client makes, with the owner noted in it.
            config = StreamConfig(
                name=f"KV_{store.name}",
                subjects=[f"$KV.{store.name}.>"],
                storage=storage,
                num_replicas=point.replicas,
                discard=DiscardPolicy.NEW,
                allow_direct=True,
                allow_rollup_hdrs=True,
                deny_delete=True,
                max_msgs_per_subject=1,
                metadata={OWNER: _owner()},
            )
        try:
            await self._client.jetstream().add_stream(config)
        except APIError as error:
            raise StreamError(
                f"nats-server refused a stream for the measurement: {error.description or error}",
                hint="Look at storage= and replicas=, and at platform.streams() for one that takes bench.>.",
            ) from error

    async def _fill(self, point: Point, store: _Store, messages: int) -> None:
        """Have at least so many messages in the store, numbered from 0 on."""
        if store.filled >= messages:
            return
        missing = messages - store.filled
        spec = {
            "role": "ask",
            "subject": f"$KV.{store.name}" if store.bucket else store.subject,
            "numbered": store.bucket,
            "first": store.filled,
            "messages": missing,
            "payload_bytes": point.payload_bytes,
            "window": 1000,
            "answer": "ack",
            "json": point.pipeline is not None,
        }
        (answer,) = await self._generators.run([spec], limit_s=SAMPLE_LIMIT_S)
        if answer.get("error") or answer.get("arrived") != missing:
            raise RunError(
                f"Only {answer.get('arrived', 0):,} of {missing:,} messages to read could be stored: "
                f"{answer.get('error') or 'the others were not acknowledged'}."
            )
        store.filled = messages

    async def _purge(self, store: _Store) -> None:
        await self._client.jetstream().purge_stream(store.name)
        store.filled = 0

    async def _check_stored(self, store: _Store, found: Sample) -> None:
        """What was acknowledged has to be in the stream; then make room for the next sample."""
        js = self._client.jetstream()
        stream = f"KV_{store.name}" if store.bucket else store.name
        stored = (await js.stream_info(stream)).state.messages
        if not store.bucket and stored < found.arrived and not found.error:
            found.error = f"{found.arrived:,} messages were acknowledged, and {stored:,} are stored"
        await js.purge_stream(stream)

    async def _consumer(self, point: Point, store: _Store, *, ordered: bool | None = None) -> str:
        from nats.js.api import AckPolicy, ConsumerConfig

        store.consumers += 1
        if point.scenario == "js_ordered" or ordered:
            config = ConsumerConfig(
                name=f"o{store.consumers}",
                ack_policy=AckPolicy.NONE,
                mem_storage=True,
                inactive_threshold=120.0,
                num_replicas=1,
            )
        else:
            # What Wombat has in work at once; of readers twice what they ask for, so that it limits nobody.
            config = ConsumerConfig(
                durable_name=f"d{store.consumers}",
                ack_policy=AckPolicy.EXPLICIT,
                ack_wait=30.0,
                max_ack_pending=4000
                if point.pipeline is not None
                else max(20_000, 2 * (point.batch or 1) * (point.consumers or 1)),
            )
        await self._client.jetstream().add_consumer(store.name, config)
        return f"{'o' if config.name else 'd'}{store.consumers}"

    async def _remove_mine(self) -> None:
        await self._remove(lambda name, _: f"{PREFIX}{self._token.upper()}_" in name)

    async def _remove_left(self) -> None:
        """Remove what a bench on this machine left whose process is gone."""
        await self._remove(lambda _, owner: _abandoned(owner))

    async def _remove(self, which: Any) -> None:
        from nats.js.errors import Error as JetStreamError

        js = self._client.jetstream()
        offset = 0
        streams = []
        while page := await js.streams_info(offset=offset):
            streams += page
            offset += len(page)
        for info in streams:
            name, owner = info.config.name or "", (info.config.metadata or {}).get(OWNER, "")
            if owner and which(name, owner):
                with contextlib.suppress(JetStreamError):
                    await js.delete_stream(name)


def _fed(point: Point) -> bool:
    """Whether messages are published while others are read: what is read at a rate has to be."""
    return bool(point.asked_msgs_per_s) and point.scenario in ("js_fetch", "js_ordered", "pipeline")


def _part(messages: int, count: int, number: int) -> int:
    """The share of one of several, whole and together all."""
    return messages // count + (1 if number < messages % count else 0)


def _histograms(answers: Sequence[dict[str, Any]], key: str) -> list[Histogram]:
    return [Histogram.from_dict(one[key]) for one in answers if key in one]


def _together(
    answers: Sequence[dict[str, Any]],
    *,
    sent: int | None = None,
    begun: Sequence[dict[str, Any]] | None = None,
) -> Sample:
    """One sample of what several generators counted at the same time."""
    good = [one for one in answers if one.get("begun")]
    found = Sample(
        sent=sum(one["sent"] for one in good) if sent is None else sent,
        arrived=sum(one["arrived"] for one in good),
        failed=sum(one["failed"] for one in good),
        error=next((one["error"] for one in [*(begun or ()), *answers] if one.get("error")), ""),
    )
    starts = [one["begun"] for one in (begun if begun is not None else good) if one.get("begun")]
    if good and starts:
        first = min(starts)
        found.seconds = (max(one["ended"] for one in good) - first) / 1e9
        found.series = [([mark - first for mark in one["series"][0]], one["series"][1]) for one in good]
    found.latency = Histogram.merged(_histograms(good, "latency"))
    found.late = Histogram.merged(_histograms(good, "late"))
    return found


def _owner() -> str:
    started = psutil.Process().create_time()
    return f"{socket.gethostname()} {os.getpid()} {started:.0f}"


def _abandoned(owner: str) -> bool:
    host, _, rest = owner.partition(" ")
    pid, _, started = rest.partition(" ")
    if host != socket.gethostname() or not pid.isdigit():
        return False
    try:
        return abs(psutil.Process(int(pid)).create_time() - float(started)) > 2.0
    except (psutil.NoSuchProcess, ValueError):
        return True
    except psutil.AccessDenied:
        return False


def _transport_errors() -> tuple[type[BaseException], ...]:
    from nats.errors import Error
    from nats.js.errors import Error as JetStreamError

    return (Error, JetStreamError, TimeoutError, OSError)


__all__ = ["MOST_MESSAGES", "PREFIX", "Sample", "StreamError", "Workbench"]
