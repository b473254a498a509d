"""Tables into streams and out of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platform_kit.jetstream.frames.transfers import Transfers
from platform_kit.verbs.base import Verbs

if TYPE_CHECKING:
    import datetime

    import pandas as pd

    from platform_kit.jetstream.frames.chunks import Chunks
    from platform_kit.jetstream.frames.replay import Replay
    from platform_kit.jetstream.frames.report import PublishReport


class TableVerbs(Verbs):
    """Publish a table, read a stream as one, write it to a file, replay it."""

    def publish_frame(
        self,
        subject: str,
        frame: pd.DataFrame,
        *,
        payload: str = "json",
        columns: Sequence[str] | None = None,
        headers: Mapping[str, str] | None = None,
        message_id: str | None = "auto",
        engine: str = "auto",
        wait: bool = True,
        progress: bool = True,
        stall_timeout_s: float | None = None,
    ) -> PublishReport:
        """Publish each row of a table as a message, and account for every one of them.

        A row that cannot be published (an empty cell in the subject, a cell that is not JSON, a payload
        larger than the server takes, no stream for its subject) is in ``report.failed`` with the reason; the
        others go on.

        Parameters
        ----------
        subject: A subject with columns' names in braces: "cards.{set}.{id}". Values are percent-encoded, see
            :func:`platform_kit.names.token`.
        frame: The table.
        payload: "json" or "msgpack" (an object of the row's columns), or the name of a column with bytes or
            text.
        columns: The columns of the object; None for all.
        headers: Column by header: ``{"Card-Set": "set"}``. A missing value leaves the header out.
        message_id: "auto" gives every message an id of its own, so that after a broken connection it can be
            sent again and is stored once. A column's name takes the ids from there: the stream drops what it
            has seen within its window, in this frame or another. None sends none, which is a quarter faster:
            what was on its way when a connection broke is then reported as ``stored="unknown"``.
        engine: "native" is the compiled client, "python" nats-py; "auto" decides by the number of rows.
        wait: False returns at once; the report then fills up.
        progress: Whether a progress bar is drawn.
        stall_timeout_s: Give up after this long without any progress.

        Errors: ``UsageError`` before anything is sent; ``StreamError`` when no stream takes such subjects, or
        permission is denied; ``RunStalled`` when the server stays away.

        Example
        -------
        >>> from platform_kit import Platform
        >>> import pandas as pd
        >>> with Platform(workers=0) as platform:
        ...     frame = pd.DataFrame({"id": ["a", "b"], "power": [3, 4]})
        ...     report = platform.publish_frame("cards.rendered.{id}", frame, progress=False)
        >>> report.published, len(report.failed)
        (2, 0)
        """
        limit = self._stall_limit(stall_timeout_s)
        report = self._transfers(engine).publish(
            subject,
            frame,
            payload=payload,
            columns=columns,
            headers=headers,
            message_id=message_id,
            progress=progress,
            stall_timeout_s=limit,
        )
        return report.wait() if wait else report

    def read_frame(
        self,
        stream: str,
        subjects: str | Sequence[str] | None = None,
        *,
        start: int | str | datetime.datetime = "all",
        limit: int | None = None,
        columns: Sequence[str] | None = None,
        payload: str = "json",
        headers: Sequence[str] | Mapping[str, str] | None = None,
        engine: str = "auto",
        wait: bool = True,
        progress: bool = True,
        stall_timeout_s: float | None = None,
    ) -> Any:
        """Read a stream, up to its last message now, as a table.

        The columns are sequence, subject, time (UTC), those of headers, then the payload's. One of the
        payload's whose name is taken (also "payload" and "error") has "payload." before it. A payload that
        cannot be decoded
        keeps its row: its bytes are in the column ``payload``, the reason in ``error``; both columns are
        there if there is such a row, or if ``columns`` names them.

        Parameters
        ----------
        stream: The stream's name.
        subjects: A filter, or several: "cards.*.7", "cards.>".
        start: "all"; a sequence; a datetime (UTC if it has no zone); "last_per_subject".
        limit: At most so many messages, from the start.
        columns: The payload's columns to keep, in this order; None for all.
        payload: "json", "msgpack", or "raw" for the bytes in the column ``payload``.
        headers: Headers to show, as a list or as column by header.
        engine, progress, stall_timeout_s: As for :meth:`publish_frame`.
        wait: False returns the :class:`~platform_kit.jobs.Job` that reads; its ``wait()`` returns the table.

        Errors: ``UsageError``; ``StreamError`` for a stream that is not there; ``RunStalled``.

        Example
        -------
        >>> from platform_kit import Platform
        >>> with Platform(workers=0) as platform:
        ...     frame = platform.read_frame("CARD_RESULTS", progress=False)
        >>> list(frame.columns)
        ['sequence', 'subject', 'time']
        """
        limit_s = self._stall_limit(stall_timeout_s)
        job = self._transfers(engine).read(
            stream,
            subjects,
            start=start,
            limit=limit,
            columns=columns,
            payload=payload,
            headers=headers,
            progress=progress,
            stall_timeout_s=limit_s,
        )
        return job.wait() if wait else job

    def read_chunks(
        self,
        stream: str,
        subjects: str | Sequence[str] | None = None,
        *,
        rows: int = 100_000,
        start: int | str | datetime.datetime = "all",
        limit: int | None = None,
        columns: Sequence[str] | None = None,
        payload: str = "json",
        headers: Sequence[str] | Mapping[str, str] | None = None,
        engine: str = "auto",
        stall_timeout_s: float | None = None,
    ) -> Chunks:
        """Read a stream as tables of ``rows`` rows, one after the other, for ``for`` and ``async for``.

        For streams larger than memory: no more than one table and a few megabytes are held. What a column
        becomes is decided table by table. The other parameters and errors are those of :meth:`read_frame`.

        Example
        -------
        >>> from platform_kit import Platform
        >>> with Platform(workers=0) as platform:
        ...     count = sum(len(chunk) for chunk in platform.read_chunks("CARD_RESULTS"))
        >>> count
        0
        """
        return self._transfers(engine).chunks(
            stream,
            subjects,
            rows=rows,
            start=start,
            limit=limit,
            columns=columns,
            payload=payload,
            headers=headers,
            stall_timeout_s=self._stall_limit(stall_timeout_s),
        )

    def export_stream(
        self,
        stream: str,
        path: str | Path,
        subjects: str | Sequence[str] | None = None,
        *,
        start: int | str | datetime.datetime = "all",
        limit: int | None = None,
        columns: Sequence[str] | None = None,
        payload: str = "json",
        headers: Sequence[str] | Mapping[str, str] | None = None,
        engine: str = "auto",
        wait: bool = True,
        progress: bool = True,
        stall_timeout_s: float | None = None,
    ) -> Any:
        """Write a stream into a file, without holding it in memory: ``.parquet``, ``.arrow`` or ``.feather``.

        Returns the :class:`~platform_kit.jetstream.frames.export.Export` with path, rows, bad and bytes; with
        ``wait=False`` the job that writes it.

        The file is complete or not there. Where messages differ in their columns or types, the file has all
        columns, with types that hold all values (text, as JSON, where there is no other).

        The other parameters and errors are those of :meth:`read_frame`.
        """
        job = self._transfers(engine).export(
            stream,
            path,
            subjects,
            start=start,
            limit=limit,
            columns=columns,
            payload=payload,
            headers=headers,
            progress=progress,
            stall_timeout_s=self._stall_limit(stall_timeout_s),
        )
        return job.wait() if wait else job

    def replay(
        self,
        stream: str,
        into: str,
        *,
        speed: float | str = 1.0,
        subjects: str | Sequence[str] | None = None,
        start: int | str | datetime.datetime = "all",
        limit: int | None = None,
        engine: str = "auto",
        wait: bool = True,
        progress: bool = True,
        stall_timeout_s: float | None = None,
    ) -> Replay:
        """Publish what a stream holds once more, under other subjects.

        Payloads and headers are kept, but for headers that told the server what to do with a message. Every
        message gets a new id, so one that is sent twice after a broken connection is stored once.

        Parameters
        ----------
        stream: The stream's name.
        into: The new subject: "replay.{subject}" puts a part before each message's own, "again.{2}" takes
            its second part; without braces all go to the same.
        speed: 1.0 keeps the original spacing, 10 is ten times as fast, "fast" as fast as it goes.
        subjects, start, limit: Which messages, as for :meth:`read_frame`.
        engine, wait, progress, stall_timeout_s: As for :meth:`publish_frame`.

        Errors: ``UsageError``, also when the stream itself takes the new subjects and would replay its own
        replay; ``StreamError``, ``RunStalled``.
        """
        limit_s = self._stall_limit(stall_timeout_s)
        handle = self._transfers(engine).replay(
            stream,
            into,
            speed=speed,
            subjects=subjects,
            start=start,
            limit=limit,
            progress=progress,
            stall_timeout_s=limit_s,
        )
        return handle.wait() if wait else handle

    def _transfers(self, engine: str) -> Transfers:
        backing = self._require()
        return Transfers(self._loop, backing.client, backing.endpoint("admin"), self.settings, engine=engine)
