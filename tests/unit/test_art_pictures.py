"""The rows of a prepared folder: counts, frames, and both twins of the table."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from platform_kit.art.pictures import STATUSES, Picture, counts, counts_text, frame, rejected_frame, table

RESULT = {
    "status": "prepared",
    "path": "a.png",
    "source": "5" * 64,
    "bytes": 10,
    "original": {"kind": "png", "width": 8, "height": 4, "orientation": 1},
    "picture": {"digest": "p", "bytes": 3, "width": 8, "height": 4},
    "thumbnail": {"digest": "t", "bytes": 2, "width": 4, "height": 2},
    "opaque": True,
    "warnings": ["one", "two"],
    "timings_ms": {"decode": 1.5},
    "worker": "art-worker-1",
    "attempt": 2,
}


def test_a_result_becomes_a_row() -> None:
    (row,) = frame([Picture.of(RESULT, "prepared", path="a.png", took_ms=12.0)]).to_dict("records")
    assert row["path"] == "a.png" and row["picture"] == "p" and row["thumbnail_bytes"] == 2
    assert row["decode_ms"] == 1.5 and row["took_ms"] == 12.0 and row["warnings"] == "one; two"


def test_a_rejection_has_a_reason_whatever_came() -> None:
    for result in ({"reason": None}, {"stage": "prepare", "column": "content", "reason": "torn"}):
        picture = Picture.of({"status": "rejected", **result}, "rejected", path="a.png", took_ms=None)
        assert picture.reason and picture.stage
    assert list(rejected_frame([picture]).loc[0]) == ["a.png", "prepare", "content", "torn"]
    assert list(rejected_frame([]).columns) == ["path", "stage", "column", "reason"]
    assert list(frame([]).columns) == list(frame([picture]).columns)


@given(st.lists(st.sampled_from(STATUSES)))
def test_the_counts_add_up(statuses: list[str]) -> None:
    pictures = [Picture(str(number), status) for number, status in enumerate(statuses)]  # type: ignore[arg-type]
    found = counts(pictures)
    assert found["seen"] == sum(found[status] for status in STATUSES) == len(statuses)
    assert int(counts_text(found).partition("=")[0].replace(",", "")) == len(statuses)


def test_the_table_shows_rejections_first_and_escapes() -> None:
    pictures = [Picture("a.png", "prepared"), Picture("<b>.png", "rejected", reason="<i>\nno")]
    shown = table(pictures)
    assert shown.rows[0][0] == "<b>.png" and "<b>" not in shown.html() and "⏎" in shown.text()
