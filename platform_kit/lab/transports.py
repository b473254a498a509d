"""What it costs to ask a worker, by transport: the same echo handler behind four processors of Wombat.

One pipeline for each combination runs in the platform's Wombat. A clock is read right before and right after
the processor, inside Wombat, for every message. The load is closed: as many messages as the pipeline has
threads are at the worker at any time, and the next goes when one is answered.
"""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import os
import random
import re
import secrets
import string
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from platform_kit import binaries
from platform_kit.errors import RunError, UsageError
from platform_kit.jobs import LoopThread, Meter
from platform_kit.lab.transport_plots import plot_latencies, plot_rates
from platform_kit.pipelines.pipeline import Pipeline
from platform_kit.platform import Platform
from platform_kit.reprs import Shown, Table, human_bytes, human_count
from platform_kit.servers.wombat import WombatClient

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

WORKER = "echo"
BINARY = "echo-worker"
TRANSPORTS = ("in-process", "micro service", "subprocess", "command")
NONE = "no worker"
"""The same pipeline without a processor: the most that the measuring itself lets through."""

WARM_UP_S = 0.1
ATTEMPTS = 5
DRAIN_S = 30.0
QUIET_S = 0.02
ABANDONED_S = 60.0
LONGEST_S = 120.0
LARGEST_PAYLOAD = 1024 * 1024
# What no measurement shows: who may fail with whom, and where a worker may be.
CHOICES = {
    "in-process": (
        "the handler is Go and trusted, and nothing may stand between it and the message",
        "a crash or exhausted memory takes Wombat along; a new version is a new Wombat",
    ),
    "micro service": (
        "you are in doubt: processes on any number of machines share the work, each replaceable in its turn",
        "needs NATS, and many messages at once to fill it; one without an answer fails at its time-out",
    ),
    "subprocess": (
        "the handler has to be a program of its own, in any language, on Wombat's machine",
        "one child answers one message at a time; no time-out; max_buffer bounds an answer",
    ),
    "command": (
        "a program that reads stdin and writes stdout is there already, and asked rarely",
        "a process starts and ends for each message",
    ),
}
COLUMNS = (
    "transport",
    "payload_bytes",
    "threads",
    "rate_msgs_per_s",
    "p50_ms",
    "p90_ms",
    "p99_ms",
    "measured",
    "sent",
    "answered",
    "failed",
    "repeated",
)


@dataclass(frozen=True, repr=False)
class TransportComparison(Shown):
    """What came of :func:`compare_transports`.

    Parameters
    ----------
    frame: A row for each transport, payload and number of threads. ``rate_msgs_per_s`` counts the answers
        within the window; ``p50_ms`` to ``p99_ms`` are of the time one message spent in the processor;
        ``measured`` is how many messages these figures stand on. ``sent`` = ``answered`` + ``failed`` counts
        all messages, those of the warm-up too. ``repeated`` counts the messages of attempts that began too
        late and were made again, as happens on a busy machine; nothing else holds them.
    seconds: The window each row was measured in.
    cores: Of this machine; Wombat, nats-server and the workers share them.
    """

    frame: pd.DataFrame
    seconds: float
    cores: int

    def text(self) -> str:
        """The rows as a table of text."""
        return self._table().text()

    def html(self) -> str:
        """The rows as a table in HTML."""
        return self._table().html()

    def rates(self) -> pd.DataFrame:
        """Messages a second: a row for each payload and number of threads, a column for each transport."""
        return self._pivot("rate_msgs_per_s")

    def latencies(self, percentile: int = 50) -> pd.DataFrame:
        """Milliseconds of one message: a row for each payload and number of threads, a column a transport.

        Errors: ``UsageError`` for a percentile other than 50, 90 and 99.
        """
        if percentile not in (50, 90, 99):
            raise UsageError(f"percentile={percentile!r}.", hint="One of 50, 90, 99.")
        return self._pivot(f"p{percentile}_ms")

    def choices(self) -> Table:
        """What was measured of each transport in words, and what else speaks for and against it."""
        rows = []
        for transport, (when, mind) in CHOICES.items():
            found = self.frame[self.frame["transport"] == transport]
            if len(found):
                rows.append((transport, _in_words(found), when, mind))
        return Table(("transport", "measured here", "choose it when", "mind"), rows, max_width=400)

    def plot_rates(self) -> Figure:
        """How many messages a second each transport carries as more are asked at once, by size."""
        return plot_rates(self.frame, baseline=NONE)

    def plot_latencies(self) -> Figure:
        """How long one message takes, and the slowest of a hundred, by transport, size and threads."""
        return plot_latencies(self.frame, baseline=NONE)

    def _pivot(self, column: str) -> pd.DataFrame:
        wide = self.frame.pivot(index=["payload_bytes", "threads"], columns="transport", values=column)
        return wide[list(dict.fromkeys(self.frame["transport"]))]

    def _table(self) -> Table:
        rows = [
            [
                row.transport,
                row.payload_bytes,
                row.threads,
                round(row.rate_msgs_per_s),
                row.p50_ms,
                row.p90_ms,
                row.p99_ms,
                row.measured,
                row.failed,
            ]
            for row in self.frame.itertuples()
        ]
        columns = [
            "transport",
            "bytes",
            "threads",
            "msgs/s",
            "p50 ms",
            "p90 ms",
            "p99 ms",
            "measured",
            "failed",
        ]
        caption = f"{self.seconds:g} s a row, {self.cores} cores"
        return Table(columns, rows, caption=caption, max_rows=200)


def compare_transports(
    platform: Platform,
    transports: Sequence[str] = TRANSPORTS,
    *,
    payload_bytes: Sequence[int] = (128, 4096, 65536),
    threads: Sequence[int] = (1, 4, 16),
    seconds: float = 0.25,
    baseline: bool = True,
    progress: bool = True,
) -> TransportComparison:
    """Measure each transport with each payload and each number of threads, one after the other.

    Parameters
    ----------
    platform: A platform on this machine. For "micro service" its echo worker has to run:
        ``platform.start_workers("echo-worker")``.
    transports: Of "in-process", "micro service", "subprocess" and "command".
    payload_bytes: Sizes of a message, from 1 byte to 1 MiB.
    threads: Messages at the worker at once.
    seconds: The window each combination is measured in, after a warm-up of 0.1 s.
    baseline: Whether the same pipeline without a worker is measured too, as "no worker".
    progress: Whether a progress bar is drawn.

    Errors: ``UsageError`` for what cannot be measured here, ``RunError`` when a message is unaccounted for.

    Example
    -------
    >>> with Platform(workers=0) as platform:
    ...     found = compare_transports(platform, ["in-process"], payload_bytes=[64], threads=[2], seconds=0.1)
    >>> list(found.frame["transport"]), int(found.frame["failed"].sum())
    (['no worker', 'in-process'], 0)
    """
    _check(platform, transports, payload_bytes, threads, seconds)
    names = [NONE, *transports] if baseline else list(transports)
    points = [(name, size, count) for name in names for size in payload_bytes for count in threads]
    with (
        tempfile.TemporaryDirectory(prefix="platform-kit-lab-") as folder,
        LoopThread("platform-kit-lab") as loop,
    ):
        bench = _Bench(platform, Path(folder), seconds)
        job = loop.submit(
            lambda meter: bench.run(points, meter),
            name="measuring transports",
            total=len(points),
            unit="pipeline",
            progress=progress,
            stall_timeout_s=seconds + 90.0,
        )
        rows = job.wait()
    import pandas as pd

    return TransportComparison(pd.DataFrame(rows, columns=list(COLUMNS)), seconds, os.cpu_count() or 1)


def transport_config(transport: str, *, binary: str = BINARY, payload_bytes: int = 65536) -> dict[str, Any]:
    """The processor that asks the echo worker by this transport, as it stands in a Wombat config.

    Parameters
    ----------
    transport: One of :data:`TRANSPORTS`.
    binary: The worker's executable.
    payload_bytes: The largest answer; ``subprocess`` has to know.

    >>> transport_config("command")
    {'command': {'name': 'echo-worker', 'args_mapping': 'root = ["command"]'}}
    """
    if transport == "in-process":
        return {"worker_echo": {}}
    if transport == "micro service":
        return {
            "nats_request_reply": {
                "urls": ["${PLATFORM_NATS_URL}"],
                "auth": {"nkey_file": "${PLATFORM_NKEY_FILE}"},
                "subject": f"workers.{WORKER}",
                "timeout": "5s",
            }
        }
    if transport == "subprocess":
        return {
            "subprocess": {
                "name": binary,
                "args": ["subprocess"],
                "codec_send": "length_prefixed_uint32_be",
                "codec_recv": "length_prefixed_uint32_be",
                # The default is 64 KiB, and a longer answer ends the child.
                "max_buffer": max(65536, 2 * payload_bytes),
            }
        }
    if transport == "command":
        return {"command": {"name": binary, "args_mapping": 'root = ["command"]'}}
    raise UsageError(f"There is no transport {transport!r}.", hint=f"One of {', '.join(TRANSPORTS)}.")


class _Bench:
    """Runs the pipelines one after the other and reads what they found."""

    def __init__(self, platform: Platform, folder: Path, seconds: float) -> None:
        self._platform = platform
        self._folder = folder
        self._seconds = seconds
        self._token = secrets.token_hex(4)
        self._linted: set[str] = set()
        self._lead_s = WARM_UP_S
        self._binary = str(binaries.ensure(BINARY, platform.settings))

    async def run(self, points: Sequence[tuple[str, int, int]], meter: Meter) -> list[list[Any]]:
        """A row for each point."""
        rows = []
        for number, point in enumerate(points):
            meter.update(done=number, text=point[0])
            rows.append([*point, *await self._point(number, *point)])
        meter.update(done=len(points))
        return rows

    async def _point(self, number: int, transport: str, payload_bytes: int, threads: int) -> list[Any]:
        what = f"{transport}, {payload_bytes} bytes, {threads} threads"
        if transport not in self._linted:  # the others of this transport differ in numbers only
            config = self._config(transport, payload_bytes, threads, self._folder / "linted", 0)
            pipeline = Pipeline(f"lab_{self._token}", json.dumps(config))
            await asyncio.to_thread(pipeline.lint, settings=self._platform.settings)
            self._linted.add(transport)
        repeated = 0
        for attempt in range(ATTEMPTS):
            name = f"lab_{self._token}_{number}_{attempt}"
            file = self._folder / name
            end = time.time_ns() + int((self._lead_s + self._seconds) * 1e9)
            begin = end - int(self._seconds * 1e9)
            sent = await self._run_pipeline(
                name, self._config(transport, payload_bytes, threads, file, end), file, end
            )
            results = await asyncio.to_thread(_results, file)
            if len(results) and int(results["begun"].min()) < begin:
                return [*_summary(results, sent, begin, end, what=what), repeated]
            # Wombat began within the window. On a machine so busy the other pipelines need more time too.
            repeated += len(results)
            self._lead_s *= 2
        raise RunError(
            f"{what}: Wombat took longer than {self._lead_s / 2:.1f} s to start the pipeline.",
            hint="The machine is too busy to measure anything on.",
        )

    async def _run_pipeline(self, name: str, config: dict[str, Any], file: Path, end: int) -> int:
        """Run it until ``end``, and until every message has its result; how many it sent by Wombat's count.

        It is removed only then: Wombat closes a processor that its threads share when the first of them ends,
        and what is at the worker in that moment fails.
        """
        wombat = self._platform.wombat
        # Not kept as a file: Wombat must not be given it again when it, or the platform, starts anew.
        try:
            await asyncio.to_thread(wombat.put, name, config)
            await asyncio.sleep(max(0.0, end / 1e9 - time.time()))
            deadline = time.monotonic() + DRAIN_S
            earlier = -1
            while True:
                await asyncio.sleep(QUIET_S)
                sent = await asyncio.to_thread(_received, wombat, name)
                written = await asyncio.to_thread(_lines, file)
                if written == sent == earlier:
                    return sent
                if time.monotonic() > deadline:
                    raise RunError(
                        f"{name}: {written:,} of {sent:,} messages have a result after {DRAIN_S:g} s.",
                        hint="platform.logs('wombat') may say what the others wait for.",
                    )
                earlier = sent
        finally:
            await asyncio.to_thread(wombat.delete, name)

    def _config(
        self, transport: str, payload_bytes: int, threads: int, file: Path, end: int
    ) -> dict[str, Any]:
        payload = self._folder / f"payload-{payload_bytes}"
        if not payload.exists():
            letters = random.Random(payload_bytes).choices(
                string.ascii_letters + string.digits, k=payload_bytes
            )
            payload.write_text("".join(letters))
        asked = (
            []
            if transport == NONE
            else [transport_config(transport, binary=self._binary, payload_bytes=payload_bytes)]
        )
        # Of a file named by a literal the content is read once, when the mapping is parsed.
        # No message is made after the end. Much later one is made that ends the pipeline, should whoever
        # started it be gone by then.
        abandoned = end + int(ABANDONED_S * 1e9)
        made = (
            "let now = timestamp_unix_nano()\n"
            f"let over = $now >= {end} && $now < {abandoned}\n"
            f"root = if $over {{ deleted() }} else {{ file({json.dumps(str(payload))}) }}\n"
            "meta number = counter()"
        )
        # A failure is an error of the processor (nobody there, a time-out, an exit code), an error code of
        # the worker, or an answer that is not as long as the question.
        judged = (
            "let took = timestamp_unix_nano() - @begun\n"
            'let refused = errored() || @."Nats-Service-Error-Code" != null\n'
            f"let good = !$refused && content().length() == {payload_bytes}\n"
            'root = "%d %d %d %d".format(@number, @begun, $took, if $good { 1 } else { 0 })'
        )
        generate = {"generate": {"interval": "", "mapping": made}}
        return {
            "input": {"read_until": {"check": f"timestamp_unix_nano() >= {abandoned}", "input": generate}},
            "pipeline": {
                "threads": threads,
                "processors": [
                    {"mutation": "meta begun = timestamp_unix_nano()"},
                    *asked,
                    {"mapping": judged},
                    {"catch": []},
                ],
            },
            # A line of text for each message weighs least on what is measured; batches to JetStream weigh
            # more, and Wombat cuts the last one off when a pipeline ends.
            "output": {"file": {"path": str(file), "codec": "lines"}},
        }


def _results(file: Path) -> pd.DataFrame:
    """What a pipeline that has ended wrote; the file is removed."""
    import pandas as pd

    names = ["number", "begun", "took", "good"]
    try:
        return pd.read_csv(file, sep=" ", names=names, dtype=dict.fromkeys(names, "int64"))
    except (FileNotFoundError, pd.errors.EmptyDataError):
        return pd.DataFrame(columns=names, dtype="int64")
    finally:
        file.unlink(missing_ok=True)


def _received(wombat: WombatClient, name: str) -> int:
    """How many messages the input of a stream has made, by Wombat's own metrics."""
    # Not urllib, which would send the password through a proxy of the environment.
    parts = urlsplit(wombat.url)
    connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=10.0)
    pair = base64.b64encode(f"{wombat.user}:{wombat.password or ''}".encode()).decode()
    try:
        connection.request("GET", "/metrics", headers={"Authorization": f"Basic {pair}"})
        response = connection.getresponse()
        text = response.read().decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        raise RunError(f"Wombat does not answer at {wombat.url}: {error!r}") from error
    finally:
        connection.close()
    if response.status != 200:
        raise RunError(
            f"Wombat at {wombat.url} answered {response.status} to a question for its metrics.",
            hint="Give .config/wombat.yaml the line `metrics: { prometheus: {} }`.",
        )
    found = re.findall(rf'^input_received\{{[^}}]*stream="{name}"[^}}]*\}} (\S+)$', text, re.MULTILINE)
    return int(sum(map(float, found)))


def _lines(file: Path) -> int:
    try:
        return file.read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def _summary(results: pd.DataFrame, sent: int, begin: int, end: int, *, what: str) -> list[Any]:
    """The row of one pipeline, without its first three columns and the last."""
    if not sent == len(results) == results["number"].nunique() == results["number"].max():
        raise RunError(
            f"{what}: {sent:,} messages were sent, and there are {len(results):,} results.",
            hint="Wombat may have been started anew meanwhile; run it again.",
        )
    good = results[results["good"] == 1]
    ended = good["begun"] + good["took"]
    window = good[(ended >= begin) & (ended < end)]
    latencies = [float("nan")] * 3
    if len(window):
        latencies = [float(value) / 1e6 for value in window["took"].quantile([0.5, 0.9, 0.99])]
    rate = len(window) / ((end - begin) / 1e9)
    return [rate, *latencies, len(window), sent, len(good), sent - len(good)]


def _in_words(rows: pd.DataFrame) -> str:
    """The rows of one transport in a sentence.

    >>> import pandas as pd
    >>> rows = {"transport": "command", "payload_bytes": 128, "threads": [1, 16], "p50_ms": 0.2}
    >>> _in_words(pd.DataFrame({**rows, "rate_msgs_per_s": [100.0, 80.0]})).split("; ")[1:]
    ['200 µs a message with 1 thread', '16 threads carry no more than 1 thread']
    """
    sizes = sorted(set(rows["payload_bytes"]))
    most = {
        size: rows[rows["payload_bytes"] == size]["rate_msgs_per_s"].max() for size in (sizes[0], sizes[-1])
    }
    said = " and ".join(
        f"{rate:,.0f} msgs/s of {human_bytes(size).replace('.0 ', ' ')}" for size, rate in most.items()
    )
    words = [f"up to {said}"]
    small = rows[rows["payload_bytes"] == sizes[0]].sort_values("threads")
    first, last = small.iloc[0], small.iloc[-1]
    if first["p50_ms"] == first["p50_ms"]:
        took = f"{first['p50_ms']:.1f} ms" if first["p50_ms"] >= 1 else f"{first['p50_ms'] * 1000:.0f} µs"
        words.append(f"{took} a message with {human_count(first['threads'], 'thread')}")
    if len(small) > 1 and first["rate_msgs_per_s"] > 0:
        times = last["rate_msgs_per_s"] / first["rate_msgs_per_s"]
        many = human_count(last["threads"], "thread")
        few = human_count(first["threads"], "thread")
        more = f"{times:.1f} times as much as {first['threads']}" if times >= 1.05 else f"no more than {few}"
        words.append(f"{many} carry {more}")
    return "; ".join(words)


def _check(
    platform: Platform,
    transports: Sequence[str],
    payload_bytes: Sequence[int],
    threads: Sequence[int],
    seconds: float,
) -> None:
    def numbers(name: str, values: Sequence[int], most: int) -> None:
        good = all(isinstance(one, int) and not isinstance(one, bool) and 1 <= one <= most for one in values)
        if not values or not good or len(set(values)) != len(values):
            raise UsageError(f"{name}={values!r}.", hint=f"Give different whole numbers from 1 to {most}.")

    numbers("payload_bytes", payload_bytes, LARGEST_PAYLOAD)
    numbers("threads", threads, 1024)
    if not isinstance(seconds, (int, float)) or not 0 < seconds <= LONGEST_S:
        raise UsageError(f"seconds={seconds!r}.", hint=f"Give a time above 0, at most {LONGEST_S:g}.")
    unknown = [name for name in transports if name not in TRANSPORTS]
    if not transports or unknown or len(set(transports)) != len(transports):
        raise UsageError(f"transports={transports!r}.", hint=f"Give some of {', '.join(TRANSPORTS)}.")
    if platform.data_dir is None:
        raise UsageError(
            "This platform is on another machine.",
            hint="The pipelines start programs and read the clock beside Wombat: measure where Wombat runs.",
        )
    if "micro service" in transports and not any(row.name == WORKER for row in platform.workers().rows):
        raise UsageError(
            "No echo worker answers.", hint='Start one first: platform.start_workers("echo-worker").'
        )
