"""What became of each picture of a folder: the rows of its table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from platform_kit.reprs import Table, human_bytes

if TYPE_CHECKING:
    import pandas as pd

Status = Literal["prepared", "unchanged", "rejected", "removed"]
STATUSES: tuple[Status, ...] = ("prepared", "unchanged", "rejected", "removed")
STAGES = ("fetch", "decode", "scale", "encode", "store")


@dataclass(frozen=True)
class FileRef:
    """A file that was made: the SHA-256 of its bytes, their number, and its size in pixels."""

    digest: str
    bytes: int
    width: int
    height: int

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> FileRef:
        """From a worker's answer."""
        return cls(str(value["digest"]), int(value["bytes"]), int(value["width"]), int(value["height"]))


@dataclass(frozen=True)
class Picture:
    """What became of one picture.

    Parameters
    ----------
    path: Relative to the folder.
    status: "prepared", "unchanged" (it was there already), "rejected" or "removed".
    stage, column, reason: Of a rejection: who said so ("folder", "rules", "prepare" or "worker"), of what
        ("path", "bytes", "content"), and why.
    source: The SHA-256 of the file's bytes; None if they were not read.
    bytes: The file's size.
    kind, width, height: Of the source; an SVG has no size in pixels.
    picture, thumbnail: The normal form and the thumbnail.
    took_ms: From the moment it was noticed until its result was there.
    """

    path: str
    status: Status
    stage: str | None = None
    column: str | None = None
    reason: str | None = None
    source: str | None = None
    bytes: int | None = None
    kind: str | None = None
    width: int | None = None
    height: int | None = None
    picture: FileRef | None = None
    thumbnail: FileRef | None = None
    opaque: bool | None = None
    warnings: Sequence[str] = ()
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    worker: str = ""
    attempt: int = 0
    took_ms: float | None = None

    @classmethod
    def of(cls, result: Mapping[str, Any], status: Status, *, path: str, took_ms: float | None) -> Picture:
        """From a result of the stream."""
        original = result.get("original") or {}
        picture, thumbnail = result.get("picture"), result.get("thumbnail")
        rejected = status == "rejected"
        return cls(
            path,
            status,
            stage=str(result.get("stage") or "rules") if rejected else None,
            column=str(result["column"]) if rejected and result.get("column") else None,
            reason=str(result.get("reason") or "no reason was given") if rejected else None,
            source=result.get("source"),
            bytes=result.get("bytes"),
            kind=original.get("kind"),
            width=original.get("width") or None,
            height=original.get("height") or None,
            picture=FileRef.of(picture) if picture else None,
            thumbnail=FileRef.of(thumbnail) if thumbnail else None,
            opaque=result.get("opaque"),
            warnings=result.get("warnings") or (),
            timings_ms=result.get("timings_ms") or {},
            worker=str(result.get("worker", "")),
            attempt=int(result.get("attempt") or 0),
            took_ms=took_ms,
        )

    def record(self) -> dict[str, object]:
        """As a row of :attr:`ArtWatch.frame`."""
        picture, thumbnail = self.picture, self.thumbnail
        return {
            "path": self.path,
            "status": self.status,
            "reason": self.reason,
            "stage": self.stage,
            "column": self.column,
            "kind": self.kind,
            "width": self.width,
            "height": self.height,
            "bytes": self.bytes,
            "source": self.source,
            "picture": picture.digest if picture else None,
            "picture_width": picture.width if picture else None,
            "picture_height": picture.height if picture else None,
            "picture_bytes": picture.bytes if picture else None,
            "thumbnail": thumbnail.digest if thumbnail else None,
            "thumbnail_bytes": thumbnail.bytes if thumbnail else None,
            "opaque": self.opaque,
            **{f"{stage}_ms": self.timings_ms.get(stage) for stage in STAGES},
            "took_ms": self.took_ms,
            "attempt": self.attempt or None,
            "worker": self.worker or None,
            "warnings": "; ".join(self.warnings),
        }


def frame(pictures: Iterable[Picture]) -> pd.DataFrame:
    """One row a picture."""
    import pandas as pd

    columns = list(Picture("", "removed").record())
    return pd.DataFrame([picture.record() for picture in pictures], columns=columns)


def rejected_frame(pictures: Iterable[Picture]) -> pd.DataFrame:
    """One row a rejected picture: path, stage, column, reason."""
    import pandas as pd

    columns = ["path", "stage", "column", "reason"]
    rows = [[getattr(item, name) for name in columns] for item in pictures if item.status == "rejected"]
    return pd.DataFrame(rows, columns=columns)


def counts(pictures: Iterable[Picture]) -> dict[str, int]:
    """seen = prepared + unchanged + rejected + removed."""
    found = Counter(picture.status for picture in pictures)
    return {"seen": found.total(), **{status: found[status] for status in STATUSES}}


def counts_text(found: Mapping[str, int]) -> str:
    """The counts as an equation.

    >>> counts_text({"seen": 3, "prepared": 2, "unchanged": 0, "rejected": 1, "removed": 0})
    '3 = 2 prepared + 0 unchanged + 1 rejected'
    """
    shown = [f"{found[status]:,} {status}" for status in STATUSES if found[status] or status != "removed"]
    return f"{found['seen']:,} = {' + '.join(shown)}"


def table(pictures: Sequence[Picture], *, caption: str = "", max_rows: int = 20) -> Table:
    """The rows as text and as HTML; the rejected ones first."""
    ordered = sorted(pictures, key=lambda picture: (picture.status != "rejected", picture.path))
    rows = []
    for item in ordered:
        size = f"{item.picture.width} x {item.picture.height}" if item.picture else None
        source = human_bytes(item.bytes) if item.bytes is not None else None
        rows.append((item.path, item.status, item.kind, source, size, item.reason))
    columns = ("path", "status", "kind", "source", "picture", "reason")
    return Table(columns, rows, caption=caption, max_rows=max_rows, max_width=90)
