"""A stream once more, under other subjects: with its own spacing, faster, or as fast as it goes."""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from platform_kit.errors import UsageError
from platform_kit.jetstream.frames.engines import Engine
from platform_kit.jetstream.frames.lookup import overlaps, require_stream_for, stream_state
from platform_kit.jetstream.frames.publish import MESSAGE_ID
from platform_kit.jetstream.frames.read import Reading
from platform_kit.jetstream.frames.report import DUPLICATE, FAILED, PUBLISHED, UNKNOWN
from platform_kit.jetstream.frames.request import PublishRequest
from platform_kit.jobs import Job, JobHandle, Meter
from platform_kit.reprs import StatusCard, Table, human_seconds

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from nats.aio.client import Client

_FIELD = re.compile(r"\{([^{}]*)\}")
FAST = "fast"
DROPPED = ("nats-msg-id", "nats-expected-", "nats-rollup", "nats-ttl", "nats-schedule", "nats-batch-")
"""Headers that tell the server what to do with a message: they were meant for the first time only."""


class Mapping:
    """The new subject of a message: ``{subject}`` is its own, ``{1}``, ``{2}``, ... its parts.

    Example
    -------
    >>> Mapping("replay.{subject}")("cards.a.7"), Mapping("again.{3}")("cards.a.7")
    ('replay.cards.a.7', 'again.7')
    """

    def __init__(self, into: object) -> None:
        if not isinstance(into, str) or not into:
            raise UsageError(f"into={into!r} is no subject.", hint='Write "replay.{subject}".')
        self.text = into
        pieces = _FIELD.split(into)
        literal, fields = "".join(pieces[0::2]), pieces[1::2]
        for name in fields:
            if name != "subject" and not (name.isascii() and name.isdigit() and int(name) > 0):
                raise UsageError(
                    f"into={into!r} names {{{name}}}.",
                    hint="{subject} is the message's own subject, {1} its first part, {2} its second.",
                )
        if "{" in literal or "}" in literal or any(char.isspace() or char in "*>" for char in literal):
            raise UsageError(
                f"into={into!r} cannot be published to.", hint='Write "replay.{subject}" or a plain subject.'
            )
        if "" in _FIELD.sub("x", into).split("."):
            raise UsageError(f"into={into!r} has an empty part.", hint="Parts are separated by one dot each.")

    def __call__(self, subject: str) -> str | None:
        """The new subject; None for one that has not so many parts."""
        parts = subject.split(".")

        def fill(found: re.Match[str]) -> str:
            name = found.group(1)
            return subject if name == "subject" else parts[int(name) - 1]

        try:
            return _FIELD.sub(fill, self.text)
        except IndexError:
            return None

    def pattern(self, subject: str) -> str:
        """The subjects that a pattern of subjects becomes."""
        parts = subject.split(".")

        def fill(found: re.Match[str]) -> str:
            name = found.group(1)
            if name == "subject":
                return subject
            place = int(name) - 1
            return parts[place] if place < len(parts) and parts[place] != ">" else "*"

        tokens: list[str] = []
        for token in _FIELD.sub(fill, self.text).split("."):
            wild = any(char in token for char in "*>")
            tokens.append(token if not wild or token in ("*", ">") else "*")
            if token == ">":
                break  # what follows is decided by nobody
        return ".".join(tokens)


class Replay(JobHandle):
    """A replay, still running or done: messages == published + duplicates + failed.

    Attributes
    ----------
    stream, into: From where, to where.
    """

    def __init__(self, stream: str, into: str, counts: Counts, job: Job[None]) -> None:
        self.stream = stream
        self.into = into
        self._counts = counts
        self._job = job

    @property
    def messages(self) -> int:
        """Messages read so far."""
        return self._counts.read

    @property
    def published(self) -> int:
        """Messages acknowledged under their new subject."""
        return self._counts.codes[PUBLISHED]

    @property
    def duplicates(self) -> int:
        """Messages that the target had already: sent twice because an answer was lost, stored once."""
        return self._counts.codes[DUPLICATE]

    @property
    def failed_count(self) -> int:
        """Messages that were not stored, or nobody knows whether they were."""
        return self.messages - self.published - self.duplicates

    @property
    def failed(self) -> pd.DataFrame:
        """The first of those: sequence, subject (the new one), reason. At most 10,000 are kept."""
        import pandas as pd

        return pd.DataFrame(self._counts.failed, columns=["sequence", "subject", "reason"])

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self._job.seconds

    def _card(self) -> StatusCard:
        state = (
            self._job.state if not (self.done and self.failed_count) else f"{self._job.state}, some failed"
        )
        facts = {
            "messages": f"{self.messages:,}",
            "published": f"{self.published:,}",
            "duplicates": f"{self.duplicates:,}",
            "failed": f"{self.failed_count:,}",
            "time": human_seconds(self.seconds),
        }
        table = None
        if self.done and self._counts.failed:
            table = Table(["sequence", "subject", "reason"], self._counts.failed[:10])
        tone = "bad" if self.done and self.failed_count else None
        return StatusCard(f"{self.stream} → {self.into}", state, facts, table, tone)  # type: ignore[arg-type]

    def __repr__(self) -> str:
        return self._card().text()

    def _repr_html_(self) -> str:
        return self._card().html()


class Counts:
    """What became of the messages so far."""

    KEPT = 10_000

    def __init__(self) -> None:
        self.read = 0
        self.codes = [0, 0, 0, 0]
        self.failed: list[tuple[int, str, str]] = []

    def fail(self, sequence: int, subject: str, reason: str, code: int = FAILED) -> None:
        """Note one that was not stored."""
        self.codes[code] += 1
        if len(self.failed) < self.KEPT:
            self.failed.append((sequence, subject, reason))


def check_speed(speed: object) -> float | None:
    """Times the original speed, or None for as fast as it goes. Errors: ``UsageError``."""
    if speed == FAST:
        return None
    if isinstance(speed, bool) or not isinstance(speed, (int, float)) or not 0 < speed < float("inf"):
        raise UsageError(
            f"speed={speed!r}.", hint='1.0 is the original spacing, 10 ten times as fast; or "fast".'
        )
    return float(speed)


async def replay(
    meter: Meter,
    reading: Reading,
    client: Client,
    engine: Engine,
    mapping: Mapping,
    speed: float | None,
    counts: Counts,
    *,
    patience_s: float,
) -> None:
    """Read, and publish again what was read."""
    request = reading.request
    state = await stream_state(client, request.stream)
    for subject in state.subjects:
        target = mapping.pattern(subject)
        caught = next((own for own in state.subjects if overlaps(target, own)), None)
        if caught is not None:
            raise UsageError(
                f"into={mapping.text!r} makes {target!r} of {subject!r}, and {request.stream} itself takes "
                f"{caught!r}: it would replay what it has just replayed.",
                hint='Choose subjects of another stream, such as into="replay.{subject}".',
            )
    if not state.messages:
        return
    targets = [mapping.pattern(subject) for subject in request.subjects or state.subjects]
    for target in targets:
        await require_stream_for(client, target)
    run = secrets.token_hex(6)
    waiting: list[tuple[Any, list[str]]] = []
    first: int | None = None
    # The reader counts what it has read; what this job has done is what was published.
    read_meter = Meter()

    async def batches() -> AsyncIterator[pa.RecordBatch]:
        nonlocal first
        source = reading.batches(read_meter)
        try:
            async for batch in source:
                meter.update(total=read_meter.progress.total)
                counts.read += batch.num_rows
                if first is None:
                    first = batch.column("time")[0].as_py()
                made, sequences, subjects = _again(batch, mapping, run, speed, first, counts)
                if made.num_rows:
                    waiting.append((sequences, subjects))
                    yield made
        finally:
            await source.aclose()  # type: ignore[attr-defined]

    publishing = PublishRequest(safe=True, headers=True, paced=speed is not None, patience_s=patience_s)
    results = engine.publish(publishing, batches(), lambda count: meter.update(done=count))
    try:
        async for result in results:
            sequences, subjects = waiting.pop(0)
            codes = result.column("code").to_pylist()
            reasons = result.column("reason").to_pylist()
            for row, code in enumerate(codes):
                if code in (PUBLISHED, DUPLICATE):
                    counts.codes[code] += 1
                else:
                    counts.fail(int(sequences[row]), subjects[row], str(reasons[row]), code)
            meter.update(done=sum(counts.codes))
    except BaseException:
        for sequences, subjects in waiting:
            for sequence, subject in zip(sequences, subjects, strict=True):
                reason = "the replay ended before it was acknowledged"
                counts.fail(int(sequence), subject, reason, UNKNOWN)
        raise


def _again(
    batch: pa.RecordBatch, mapping: Mapping, run: str, speed: float | None, first: int, counts: Counts
) -> tuple[pa.RecordBatch, Any, list[str]]:
    """A batch as it is published again, the sequences it came from and its new subjects."""
    import numpy as np
    import pyarrow as pa

    sequences = batch.column("sequence").to_numpy()
    known: dict[bytes, str | None] = {}
    subjects: list[str] = []
    kept: list[int] = []
    for row, old in enumerate(batch.column("subject").to_pylist()):
        if old not in known:
            known[old] = mapping(old.decode("utf-8", "replace"))
        new = known[old]
        if new is None:
            text = old.decode("utf-8", "replace")
            counts.fail(int(sequences[row]), "", f"{text!r} has not the parts that {mapping.text!r} names")
            continue
        subjects.append(new)
        kept.append(row)
    if len(kept) < batch.num_rows:
        batch, sequences = batch.take(pa.array(kept, pa.int64())), sequences[kept]
    headers = [
        _headers(lines, f"{run}.{sequence}")
        for lines, sequence in zip(batch.column("headers").to_pylist(), sequences.tolist(), strict=True)
    ]
    columns = {
        "subject": pa.array([subject.encode() for subject in subjects], pa.binary()),
        "payload": batch.column("payload"),
        "headers": pa.array(headers, pa.binary()),
    }
    if speed is not None:
        times = batch.column("time").to_numpy()
        moments = np.maximum((times - first) / speed, 0).astype(np.int64)
        columns["at"] = pa.array(moments, pa.int64())
    return pa.RecordBatch.from_pydict(columns), sequences, subjects


def _headers(lines: bytes | None, message_id: str) -> bytes:
    own = f"{MESSAGE_ID}: {message_id}\r\n".encode()
    if not lines:
        return own
    kept = [line for line in lines.split(b"\r\n") if line and not line.lower().startswith(_DROPPED_BYTES)]
    return own + b"".join(line + b"\r\n" for line in kept)


_DROPPED_BYTES = tuple(name.encode() for name in DROPPED)
