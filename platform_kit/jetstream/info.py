"""Streams and consumers as they are at one moment: numbers, cards and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from platform_kit.jetstream.consumer_options import CONSUMER_OPTIONS
from platform_kit.jetstream.stream_options import STREAM_OPTIONS
from platform_kit.jetstream.values import time_of
from platform_kit.reprs import Shown, StatusCard, Table, Tone, human_bytes, human_count, human_seconds

if TYPE_CHECKING:
    import pandas as pd

KV_PREFIX = "KV_"
OBJECTS_PREFIX = "OBJ_"
_TEXT, _COUNT, _TIME, _SWITCH = "str", "int64", "datetime64[us, UTC]", "bool"


@dataclass(frozen=True, repr=False)
class StreamInfo(Shown):
    """A stream at one moment.

    Attributes
    ----------
    name: The stream's name.
    messages, bytes: What it holds; bytes as stored, headers and overhead included.
    first_sequence, last_sequence: Of the messages it holds; if it is empty after use, first is last + 1.
    first_time, last_time: When these were stored; None in an empty stream.
    subjects: How many different subjects its messages have.
    deleted: Sequences between first and last that are gone.
    consumers: How many consumers it has.
    created: When it was made.
    config: Its options, with Python's values; defaults are left out.
    """

    name: str
    messages: int
    bytes: int
    first_sequence: int
    last_sequence: int
    first_time: datetime | None
    last_time: datetime | None
    subjects: int
    deleted: int
    consumers: int
    created: datetime | None
    config: dict[str, Any]
    raw: Mapping[str, Any] = field(compare=False)

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> StreamInfo:
        """From the server's answer."""
        state, config = answer["state"], answer["config"]
        return cls(
            name=str(config["name"]),
            messages=int(state["messages"]),
            bytes=int(state["bytes"]),
            first_sequence=int(state["first_seq"]),
            last_sequence=int(state["last_seq"]),
            first_time=time_of(state.get("first_ts")),
            last_time=time_of(state.get("last_ts")),
            subjects=int(state.get("num_subjects", 0)),
            deleted=int(state.get("num_deleted", 0)),
            consumers=int(state["consumer_count"]),
            created=time_of(answer.get("created")),
            config=STREAM_OPTIONS.decode(config),
            raw=answer,
        )

    @property
    def kind(self) -> str:
        """ "stream", "key-value" or "object store": buckets are streams with names of a certain form."""
        if self.name.startswith(KV_PREFIX):
            return "key-value"
        return "object store" if self.name.startswith(OBJECTS_PREFIX) else "stream"

    def text(self) -> str:
        """The card as text."""
        return self.card().text()

    def html(self) -> str:
        """The card as HTML."""
        return self.card().html()

    def card(self, consumers: Sequence[ConsumerInfo] = ()) -> StatusCard:
        """What it holds, its options, and its consumers if they are given."""
        config = self.raw["config"]
        shown = STREAM_OPTIONS.shown(config)
        for named in ("subjects", "retention", "storage", "num_replicas", "duplicate_window", "description"):
            shown.pop(named, None)
        facts = {
            "description": config.get("description") or None,
            "subjects": STREAM_OPTIONS.options["subjects"].show(config.get("subjects")),
            "retention": config.get("retention"),
            "storage": f"{config.get('storage')}, {human_count(config.get('num_replicas', 1), 'replica')}",
            "size": f"{human_bytes(self.bytes)}, {human_count(self.subjects, 'subject')}",
            "first": _place(self.first_sequence, self.first_time) if self.messages else None,
            "last": _place(self.last_sequence, self.last_time),
            "deleted": human_count(self.deleted, "message") if self.deleted else None,
            "dedupe window": STREAM_OPTIONS.options["duplicate_window"].show(
                config.get("duplicate_window", 0)
            ),
            **shown,
            "consumers": None if consumers else "none" if not self.consumers else f"{self.consumers:,}",
        }
        tone: Tone = "good" if self.messages else "quiet"
        return StatusCard(
            self.name,
            human_count(self.messages, "message"),
            facts,
            consumer_table(consumers) if consumers else None,
            tone=tone,
        )


@dataclass(frozen=True, repr=False)
class ConsumerInfo(Shown):
    """A consumer at one moment.

    Attributes
    ----------
    name, stream: Its name and its stream's.
    pending: Messages it has still to deliver for the first time.
    ack_pending: Delivered, and not acknowledged yet.
    redelivered: Of these, delivered more than once.
    waiting: Pull requests that wait for messages.
    lag: Sequences of the stream after the last below which everything is acknowledged.
    delivered, ack_floor: The stream sequence of the last delivery, and up to which all is acknowledged.
    last_delivery, last_ack: When; None if never.
    paused: Whether it delivers nothing for now.
    created: When it was made.
    config: Its options, with Python's values; defaults are left out.
    """

    name: str
    stream: str
    pending: int
    ack_pending: int
    redelivered: int
    waiting: int
    lag: int
    delivered: int
    ack_floor: int
    last_delivery: datetime | None
    last_ack: datetime | None
    paused: bool
    created: datetime | None
    config: dict[str, Any]
    raw: Mapping[str, Any] = field(compare=False)

    @classmethod
    def of(cls, answer: Mapping[str, Any], last_sequence: int) -> ConsumerInfo:
        """From the server's answer, and the last sequence of the stream."""
        delivered, floor = answer["delivered"], answer["ack_floor"]
        return cls(
            name=str(answer["name"]),
            stream=str(answer["stream_name"]),
            pending=int(answer["num_pending"]),
            ack_pending=int(answer["num_ack_pending"]),
            redelivered=int(answer["num_redelivered"]),
            waiting=int(answer["num_waiting"]),
            lag=max(0, last_sequence - int(floor["stream_seq"])),
            delivered=int(delivered["stream_seq"]),
            ack_floor=int(floor["stream_seq"]),
            last_delivery=time_of(delivered.get("last_active")),
            last_ack=time_of(floor.get("last_active")),
            paused=bool(answer.get("paused", False)),
            created=time_of(answer.get("created")),
            config=CONSUMER_OPTIONS.decode(answer["config"]),
            raw=answer,
        )

    @property
    def state(self) -> str:
        """ "paused", "caught up", or how many messages are to come."""
        if self.paused:
            left = int(self.raw.get("pause_remaining", 0)) / 1e9
            return f"paused for {human_seconds(left)}"
        if not self.pending and not self.ack_pending:
            return "caught up"
        return f"{self.pending:,} pending" if self.pending else f"{self.ack_pending:,} without ack"

    def text(self) -> str:
        """The card as text."""
        return self._card().text()

    def html(self) -> str:
        """The card as HTML."""
        return self._card().html()

    def _card(self) -> StatusCard:
        config = self.raw["config"]
        shown = CONSUMER_OPTIONS.shown(config)
        for named in ("durable_name", "description", "deliver_subject", "filter_subject", "filter_subjects"):
            shown.pop(named, None)
        filters = config.get("filter_subjects") or [config.get("filter_subject") or "all"]
        kind = "push" if config.get("deliver_subject") else "pull"
        facts = {
            "description": config.get("description") or None,
            "stream": self.stream,
            "kind": f"{kind}, {'durable' if config.get('durable_name') else 'goes with its clients'}",
            "delivers to": config.get("deliver_subject") or None,
            "filter": ", ".join(filters),
            "pending": self.pending,
            "ack pending": self.ack_pending,
            "redelivered": self.redelivered,
            "waiting": self.waiting if kind == "pull" else None,
            "lag": self.lag,
            "delivered": _place(self.delivered, self.last_delivery),
            "ack floor": _place(self.ack_floor, self.last_ack),
            **shown,
        }
        tone: Tone = "busy" if self.paused or self.pending or self.ack_pending else "good"
        return StatusCard(self.name, self.state, facts, tone=tone)


def _place(sequence: int, at: datetime | None) -> str:
    when = f", {at:%Y-%m-%d %H:%M:%S}Z" if at is not None else ""
    return f"sequence {sequence:,}{when}" if sequence else "none yet"


def consumer_table(consumers: Sequence[ConsumerInfo]) -> Table:
    """Consumers as a table of numbers."""
    rows = [
        (item.name, item.state, item.pending, item.ack_pending, item.redelivered, item.waiting, item.lag)
        for item in consumers
    ]
    return Table(["consumer", "state", "pending", "ack pending", "redelivered", "waiting", "lag"], rows)


def frame_of(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> pd.DataFrame:
    """Rows as a DataFrame whose columns have their types, also without any row."""
    import pandas

    # numpy would turn a column of None into floats, and pandas would guess anew each time.
    return pandas.DataFrame(
        {name: pandas.Series([row[name] for row in rows], dtype=kind) for name, kind in columns.items()}
    )


def stream_frame(infos: Sequence[StreamInfo]) -> pd.DataFrame:
    """One row a stream."""
    columns = {
        **dict.fromkeys(("stream", "kind", "subjects"), _TEXT),
        **dict.fromkeys(("messages", "bytes", "first_sequence", "last_sequence"), _COUNT),
        **dict.fromkeys(("first_time", "last_time"), _TIME),
        **dict.fromkeys(("distinct_subjects", "deleted", "consumers"), _COUNT),
        **dict.fromkeys(("retention", "storage"), _TEXT),
        "replicas": _COUNT,
        "created": _TIME,
    }
    rows = []
    for info in infos:
        config = info.raw["config"]
        row = {name: getattr(info, name) for name in columns if hasattr(info, name)}
        rows.append(
            row
            | {
                "stream": info.name,
                "subjects": ", ".join(config.get("subjects") or []),
                "distinct_subjects": info.subjects,
                "retention": config.get("retention", ""),
                "storage": config.get("storage", ""),
                "replicas": config.get("num_replicas", 1),
            }
        )
    return frame_of(rows, columns)


def consumer_frame(infos: Sequence[ConsumerInfo]) -> pd.DataFrame:
    """One row a consumer."""
    columns = {
        **dict.fromkeys(("consumer", "stream", "kind", "filter", "ack_policy"), _TEXT),
        **dict.fromkeys(
            ("pending", "ack_pending", "redelivered", "waiting", "lag", "delivered", "ack_floor"), _COUNT
        ),
        **dict.fromkeys(("last_delivery", "last_ack"), _TIME),
        **dict.fromkeys(("durable", "paused"), _SWITCH),
        "created": _TIME,
    }
    rows = []
    for info in infos:
        config = info.raw["config"]
        row = {name: getattr(info, name) for name in columns if hasattr(info, name)}
        rows.append(
            row
            | {
                "consumer": info.name,
                "kind": "push" if config.get("deliver_subject") else "pull",
                "filter": ", ".join(config.get("filter_subjects") or [config.get("filter_subject") or ">"]),
                "ack_policy": config.get("ack_policy", ""),
                "durable": bool(config.get("durable_name")),
            }
        )
    return frame_of(rows, columns)
