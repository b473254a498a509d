"""What a transfer is asked for, checked before anything moves."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from platform_kit.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

PULL_MESSAGES = 20_000
PULL_BYTES = 24 * 1024 * 1024
BATCH_ROWS = 16_384
BATCH_BYTES = 4 * 1024 * 1024
WINDOW = 1000
"""Messages on their way at once: enough to keep a server busy, few enough that none waits long."""
WINDOW_BYTES = 16 * 1024 * 1024
ACK_TIMEOUT_S = 5.0

PAYLOADS = ("json", "msgpack", "raw")
OWN_COLUMNS = ("sequence", "subject", "time")
BAD_COLUMNS = ("payload", "error")


@dataclass(frozen=True)
class ReadRequest:
    """Which messages of a stream, and in what form.

    Parameters
    ----------
    stream: Its name.
    subjects: Filters; empty for all.
    start_sequence: The first sequence.
    start_time: Start with the first message stored from then on, ISO 8601 in UTC; or None.
    last_per_subject: Only the last message of each subject.
    limit: How many at most; None for all.
    headers: Column by header.
    all_headers: Whether all headers of each message are needed.
    end_sequence: The last sequence to read; known once the stream was looked at.
    pull_messages: How many messages the server may send ahead.
    patience_s: How long a server may be away.
    """

    stream: str
    subjects: tuple[str, ...] = ()
    start_sequence: int = 1
    start_time: str | None = None
    last_per_subject: bool = False
    limit: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    all_headers: bool = False
    end_sequence: int = 0
    pull_messages: int = PULL_MESSAGES
    pull_bytes: int = PULL_BYTES
    batch_rows: int = BATCH_ROWS
    batch_bytes: int = BATCH_BYTES
    patience_s: float = 60.0

    def with_all_headers(self) -> ReadRequest:
        """The same, with every header of each message."""
        return replace(self, all_headers=True)

    def line(self) -> bytes:
        """The request as the compiled client reads it."""
        return _line(
            stream=self.stream,
            subjects=list(self.subjects),
            start_sequence=self.start_sequence,
            start_time=self.start_time or "",
            last_per_subject=self.last_per_subject,
            limit=self.limit or 0,
            headers=list(self.headers),
            all_headers=self.all_headers,
            end_sequence=self.end_sequence,
            pull_messages=self.pull_messages,
            pull_bytes=self.pull_bytes,
            batch_rows=self.batch_rows,
            batch_bytes=self.batch_bytes,
            patience_s=self.patience_s,
        )


@dataclass(frozen=True)
class PublishRequest:
    """How to publish.

    Parameters
    ----------
    safe: Every message has an id, so one that was not acknowledged may be sent again.
    headers: Whether any message has headers.
    paced: Whether each message has a moment of its own.
    patience_s: How long a server may be away.
    """

    safe: bool
    headers: bool = False
    paced: bool = False
    window: int = WINDOW
    window_bytes: int = WINDOW_BYTES
    ack_timeout_s: float = ACK_TIMEOUT_S
    patience_s: float = 60.0

    def line(self) -> bytes:
        """The request as the compiled client reads it."""
        return _line(
            safe=self.safe,
            window=self.window,
            window_bytes=self.window_bytes,
            ack_timeout_s=self.ack_timeout_s,
            patience_s=self.patience_s,
        )


def _line(**request: Any) -> bytes:
    return json.dumps(request).encode() + b"\n"


def read_request(
    stream: object,
    *,
    subjects: object = None,
    start: object = "all",
    limit: object = None,
    headers: object = None,
    patience_s: float,
) -> ReadRequest:
    """Check what a reader was asked for. Errors: ``UsageError``, naming the value."""
    name = stream_name(stream)
    sequence, time, last = _start(start)
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 0):
        raise UsageError(f"limit={limit!r}.", hint="Give a whole number from 0 on, or None for all.")
    return ReadRequest(
        stream=name,
        subjects=_subjects(subjects),
        start_sequence=sequence,
        start_time=time,
        last_per_subject=last,
        limit=limit,
        headers=header_columns(headers),
        pull_messages=min(PULL_MESSAGES, limit) if limit else PULL_MESSAGES,
        patience_s=patience_s,
    )


def stream_name(stream: object) -> str:
    """A stream's name, or the ``UsageError`` that says it cannot be one."""
    if not isinstance(stream, str) or not stream or any(char in " \t\r\n.*>/\\" for char in stream):
        raise UsageError(
            f"stream={stream!r} cannot be a stream's name.",
            hint='A name has no dots, wildcards, slashes or spaces, such as "CARD_RESULTS".',
        )
    return stream


def _subjects(subjects: object) -> tuple[str, ...]:
    given = [subjects] if isinstance(subjects, str) else subjects
    if given is None:
        return ()
    if not isinstance(given, Sequence) or not all(isinstance(item, str) for item in given):
        raise UsageError(
            f"subjects={subjects!r}.", hint='Give a text such as "cards.*.7", or a list of them.'
        )
    for subject in given:
        parts = subject.split(".")
        bad = any(not part or any(char.isspace() for char in part) for part in parts)
        if bad or ">" in parts[:-1]:
            raise UsageError(
                f"subjects={subject!r} is no filter.",
                hint="Parts are separated by dots; * stands for one part, > for all that follow at the end.",
            )
    return tuple(given)


def _start(start: object) -> tuple[int, str | None, bool]:
    if start == "all":
        return 1, None, False
    if start == "last_per_subject":
        return 1, None, True
    if isinstance(start, int) and not isinstance(start, bool) and start >= 0:
        return max(start, 1), None, False
    if isinstance(start, datetime.datetime):
        moment = start if start.tzinfo is not None else start.replace(tzinfo=datetime.UTC)
        return 1, moment.astimezone(datetime.UTC).replace(tzinfo=None).isoformat() + "Z", False
    raise UsageError(
        f"start={start!r}.",
        hint='Give a sequence, a datetime (UTC if it has no time zone), "all" or "last_per_subject".',
    )


def header_columns(headers: object) -> dict[str, str]:
    """Column by header, from a list of headers or a mapping.

    >>> header_columns(["Nats-Msg-Id"])
    {'Nats-Msg-Id': 'Nats-Msg-Id'}
    """
    if headers is None:
        return {}
    if isinstance(headers, str):
        headers = [headers]
    if isinstance(headers, Mapping):
        found = dict(headers)
    elif isinstance(headers, Sequence):
        found = {name: name for name in headers}
    else:
        raise UsageError(f"headers={headers!r}.", hint='Give {"Header": "column"} or a list of headers.')
    for header, column in found.items():
        if not isinstance(header, str) or not header or not _is_header(header):
            raise UsageError(
                f"{header!r} cannot be a header's name.",
                hint='Letters, digits and dashes, such as "Card-Set".',
            )
        if not isinstance(column, str):
            raise UsageError(f"The column of the header {header!r} is {column!r}.", hint="Give its name.")
    return found


def _is_header(name: str) -> bool:
    return name.isascii() and all(33 <= ord(char) <= 126 and char != ":" for char in name)


def frame_of(frame: object) -> pd.DataFrame:
    """The frame itself, or a ``UsageError``."""
    import pandas as pd

    if not isinstance(frame, pd.DataFrame):
        raise UsageError(
            f"A {type(frame).__name__} is no DataFrame.", hint="Make one: pandas.DataFrame(rows)."
        )
    return frame
