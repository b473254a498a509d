"""What became of the rows of a published table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from platform_kit.errors import RunError
from platform_kit.jobs import Job, JobHandle
from platform_kit.reprs import StatusCard, Table, human_seconds

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

PUBLISHED, DUPLICATE, FAILED, UNKNOWN, UNSENT = range(5)


class Tally:
    """A result for each row, as it comes.

    Parameters
    ----------
    labels: The frame's index.
    """

    def __init__(self, labels: pd.Index) -> None:
        import numpy as np

        self.labels = labels
        self.codes: np.ndarray[Any, Any] = np.full(len(labels), UNSENT, np.int8)
        self.sequences: np.ndarray[Any, Any] = np.zeros(len(labels), np.int64)
        self.reasons: dict[int, str] = {}
        self.subjects: dict[int, str] = {}

    def fail(self, row: int, reason: str, subject: str = "") -> None:
        """Note that a row was not sent, and why."""
        self.codes[row] = FAILED
        self.reasons[row] = reason
        self.subjects[row] = subject

    def count(self, *codes: int) -> int:
        """How many rows have one of these results."""
        import numpy as np

        return int(np.isin(self.codes, codes).sum())


class PublishReport(JobHandle):
    """A table on its way into a stream: still running, or done.

    ``rows == published + duplicates + len(failed)``, at every moment: a row that was not sent yet counts as
    failed with the reason "not sent". While it runs ``done``, ``progress``, ``wait()``, ``cancel()`` and
    ``await report`` are there too; after an error or a cancel the tables still say what became of each row.

    Example
    -------
    >>> import pandas as pd
    >>> from platform_kit import Platform
    >>> with Platform(workers=0) as platform:
    ...     frame = pd.DataFrame({"id": ["a", None]})
    ...     report = platform.publish_frame("cards.rendered.{id}", frame, progress=False)
    >>> report.published, report.failed["reason"].tolist()
    (1, ["column 'id' is empty"])
    """

    def __init__(self, name: str, tally: Tally, job: Job[None]) -> None:
        self._name = name
        self._tally = tally
        self._job = job

    @property
    def rows(self) -> int:
        """Rows of the table."""
        return len(self._tally.codes)

    @property
    def published(self) -> int:
        """Rows the stream has acknowledged."""
        return self._tally.count(PUBLISHED)

    @property
    def duplicates(self) -> int:
        """Rows whose message id the stream had seen within its window: it kept the first."""
        return self._tally.count(DUPLICATE)

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self._job.seconds

    @property
    def rate_msgs_per_s(self) -> float:
        """Acknowledged rows a second."""
        return (self.published + self.duplicates) / self.seconds if self.seconds else 0.0

    @property
    def sequences(self) -> np.ndarray[Any, Any]:
        """The sequence of each row in its stream, int64; 0 where it has none."""
        return self._tally.sequences.copy()

    @property
    def failed(self) -> pd.DataFrame:
        """Rows without an acknowledgement: row (its place from 0), label (its index), subject, reason,
        stored.

        ``stored`` is "no" where it is certain that the stream does not have it, "unknown" where the server
        or the connection was gone before it could answer.
        """
        import numpy as np
        import pandas as pd

        tally = self._tally
        rows = np.flatnonzero(np.isin(tally.codes, (FAILED, UNKNOWN, UNSENT)))
        default = "not sent" if self.done else "not sent yet"
        return pd.DataFrame(
            {
                "row": rows,
                "label": tally.labels[rows],
                "subject": pd.array([tally.subjects.get(int(row), "") for row in rows], dtype="str"),
                "reason": pd.array([tally.reasons.get(int(row), default) for row in rows], dtype="str"),
                "stored": pd.array(
                    ["unknown" if tally.codes[row] == UNKNOWN else "no" for row in rows], dtype="str"
                ),
            }
        )

    def raise_for_failed(self) -> None:
        """Raise ``RunError`` with the first reasons if any row failed: for all or nothing."""
        failed = self.failed
        if len(failed):
            first = "; ".join(
                f"row {row}: {reason}" for row, reason in zip(failed.row[:3], failed.reason[:3], strict=True)
            )
            raise RunError(f"{len(failed):,} of {self.rows:,} rows were not published ({first}).")

    def _card(self) -> StatusCard:
        failed = self.rows - self.published - self.duplicates
        state = self._job.state if failed == 0 or not self.done else f"{self._job.state}, some rows failed"
        facts = {
            "rows": f"{self.rows:,}",
            "published": f"{self.published:,}",
            "duplicates": f"{self.duplicates:,}",
            "failed": f"{failed:,}",
            "time": f"{human_seconds(self.seconds)}, {self.rate_msgs_per_s:,.0f} messages a second",
        }
        if not self.done:
            facts["progress"] = str(self.progress)
        table = None
        if self.done and failed:
            reasons = self.failed.groupby("reason", sort=False)["row"].agg(["size", "first"]).head(10)
            table = Table(
                ["reason", "rows", "first row"],
                [
                    [reason, int(size), int(first)]
                    for reason, (size, first) in zip(reasons.index, reasons.values, strict=True)
                ],
            )
        tone = "bad" if self.done and failed else None
        return StatusCard(self._name, state, facts, table, tone)  # type: ignore[arg-type]

    def __repr__(self) -> str:
        return self._card().text()

    def _repr_html_(self) -> str:
        return self._card().html()
