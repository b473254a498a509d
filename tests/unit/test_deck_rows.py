"""What a deck accepts, what it rejects and why, and that it never changes."""

from __future__ import annotations

import datetime
import html
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from platform_kit.cards.deck import Deck
from platform_kit.errors import DeckError, UsageError


def reasons(deck: Deck) -> list[tuple[int, str | None, str]]:
    return [(item.row, item.column, item.reason) for item in deck.rejected]


def test_ids_stay_text_and_whole_numbers_lose_their_point() -> None:
    deck = Deck([{"id": "007", "name": "A", "cost": 3.0}, {"id": 8.0, "name": 9}, {"id": True, "name": "C"}])
    assert [card.fields for card in deck.rows] == [
        {"id": "007", "name": "A", "cost": "3"},
        {"id": "8", "name": "9"},
        {"id": "true", "name": "C"},
    ]


def test_id_and_name_are_required_stripped_and_without_control_characters() -> None:
    deck = Deck(
        [
            {"id": " 1 ", "name": "  A\n"},
            {"name": "B"},
            {"id": "3", "name": " \t"},
            {"id": "4\x00", "name": "D"},
            {"id": "5", "name": "two\nlines"},
            {"id": "6", "name": "\ud800"},
        ]
    )
    assert [(card.id, card.fields["name"]) for card in deck.rows] == [("1", "A")]
    assert reasons(deck) == [
        (2, "id", "id is missing"),
        (3, "name", "name is blank"),
        (4, "id", "holds the control character U+0000 at character 2"),
        (5, "name", "holds the control character U+000A at character 4"),
        (6, "name", "cannot be decoded (lone surrogate U+D800 at character 1)"),
    ]
    assert len(deck) == 6


def test_the_first_of_duplicate_ids_counts_even_if_it_is_rejected() -> None:
    deck = Deck([{"id": "1"}, {"id": "1", "name": "B"}, {"id": "2", "name": "C"}, {"id": " 2", "name": "D"}])
    assert [card.row for card in deck.rows] == [3]
    assert reasons(deck) == [
        (1, "name", "name is missing"),
        (2, "id", "duplicate of row 1"),
        (4, "id", "duplicate of row 3"),
    ]


def test_text_keeps_lines_tabs_and_invisible_letters() -> None:
    text = "one\n\ttwo \u200d \u202eright to left\u202c"
    assert Deck([{"id": "1", "name": "A", "text": text}]).rows[0].fields["text"] == text
    assert Deck([{"id": "1", "name": "A", "text": "a\r\nb\rc"}]).rows[0].fields["text"] == "a\nb\nc"


@pytest.mark.parametrize(("length", "accepted"), [(100_000, 1), (100_001, 0)])
def test_a_cell_has_a_limit_and_the_reason_names_it(length: int, accepted: int) -> None:
    deck = Deck([{"id": "1", "name": "A", "text": "x" * length}])
    assert len(deck.rows) == accepted
    if not accepted:
        assert reasons(deck) == [(1, "text", "100,001 characters; the limit is 100,000")]


def test_a_row_has_a_limit_too() -> None:
    deck = Deck([{"id": "1", "name": "A"} | {f"c{i}": "x" * 99_999 for i in range(11)}])
    assert deck.rejected[0].reason == "the row holds 1,099,991 characters; the limit is 1,000,000"


def test_every_kind_of_missing_value_in_a_frame_is_absent() -> None:
    frame = pd.DataFrame(
        {
            "id": [1, 2, 3, 4],
            "name": pd.Categorical(["A", "B", "C", "D"]),
            "power": [1.0, float("nan"), 2.5, None],
            "when": [pd.Timestamp("2026-11-23"), pd.NaT, pd.Timestamp("2026-11-23 12:30"), None],
            "note": [None, pd.NA, float("nan"), "nan"],
            "count": pd.array([1, None, 3, 4], dtype="Int64"),
            "share": pd.Series([0.1, 0.2, None, 1.0], dtype="float32"),
        }
    )
    fields = [card.fields for card in Deck(frame).rows]
    assert fields == [
        {"id": "1", "name": "A", "power": 1, "when": "2026-11-23", "count": 1, "share": 0.1},
        {"id": "2", "name": "B", "share": 0.2},
        {"id": "3", "name": "C", "power": 2.5, "when": "2026-11-23 12:30:00", "count": 3},
        {"id": "4", "name": "D", "note": "nan", "count": 4, "share": 1},
    ]
    json.dumps(fields, allow_nan=False)


def test_what_json_cannot_hold_becomes_what_it_can() -> None:
    values: dict[str, Any] = {
        "big": 2**70,
        "endless": float("inf"),
        "day": datetime.date(2026, 1, 2),
        "nested": {"a": [1, {"b": None}], 2: (3,)},
        "raw": b"caf\xc3\xa9",
    }
    fields = Deck([{"id": "1", "name": "A", **values}]).rows[0].fields
    assert fields["big"] == str(2**70)
    assert fields["endless"] == "Infinity"
    assert fields["day"] == "2026-01-02"
    assert fields["nested"] == {"a": [1, {"b": None}], "2": [3]}
    assert fields["raw"] == "café"


def test_a_lone_surrogate_deep_inside_rejects_the_row() -> None:
    deck = Deck([{"id": "1", "name": "A", "tags": ["fine", {"x": "\udc80"}]}])
    assert reasons(deck) == [(1, "tags", "cannot be decoded (byte 0x80 at character 1)")]


def test_headers_match_without_case_and_common_aliases_are_noted_and_kept() -> None:
    deck = Deck(
        [
            {
                "Card ID": "1",
                "NAME": "A",
                "Oracle Text": "Draw.",
                "manaCost": "2U",
                "description": "d",
                "Type": "X",
            }
        ]
    )
    assert deck.rows[0].fields == {
        "Card ID": "1", "id": "1", "name": "A", "Oracle Text": "Draw.", "text": "Draw.",
        "manaCost": "2U", "cost": "2U", "description": "d", "type": "X",
    }  # fmt: skip
    assert "column 'Oracle Text' is used as text" in deck.notes


def test_an_alias_is_not_used_beside_the_column_itself() -> None:
    deck = Deck([{"id": "1", "name": "A", "title": "B", "uuid": "z"}])
    assert deck.rows[0].fields == {"id": "1", "name": "A", "title": "B", "uuid": "z"}
    assert deck.notes == []


def test_two_columns_that_could_be_one_are_an_error() -> None:
    with pytest.raises(DeckError, match=r"2 columns that could be 'id': 'ID', 'Id'"):
        Deck([{"ID": "1", "Id": "2", "name": "A"}])


def test_pictures_elsewhere_on_the_net_are_no_art_unless_the_column_says_so() -> None:
    deck = Deck([{"id": "1", "name": "A", "image": "https://example.com/a.png"}])
    assert deck.rows[0].art is None
    assert deck.notes == ["column 'image' holds addresses, not files: not used as art"]


def test_a_missing_column_names_the_columns_found_and_what_may_be_meant() -> None:
    with pytest.raises(DeckError) as caught:
        Deck([{"number": "1", "name": "A"}, {"number": "2", "name": "A"}])
    assert "no column 'id'; its columns: 'number', 'name'" in caught.value.what
    assert "'number' differs in every row" in caught.value.hint


@pytest.mark.parametrize("wrong", ["deck.csv", {"id": "1"}, 7])
def test_what_is_no_table_is_a_usage_error(wrong: Any) -> None:
    with pytest.raises(UsageError, match=r"Deck\.read"):
        Deck(wrong)


def test_a_frame_with_doubled_or_nested_labels_or_no_rows_is_an_error() -> None:
    with pytest.raises(DeckError, match="'name' in columns 2 and 3"):
        Deck(pd.DataFrame([["1", "A", "B"]], columns=["id", "name", "name"]))
    with pytest.raises(DeckError, match="2 levels"):
        Deck(pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([("id", "x")])))
    with pytest.raises(DeckError, match="no rows"):
        Deck(pd.DataFrame({"id": [], "name": []}))


def test_an_index_named_id_is_the_id() -> None:
    deck = Deck(pd.DataFrame({"name": ["A"]}, index=pd.Index(["x"], name="id")))
    assert deck.rows[0].id == "x"


def test_with_value_changes_one_cell_of_a_new_deck() -> None:
    deck = Deck([{"id": "1", "Name": "A", "cost": "1"}, {"id": "2", "Name": "B", "cost": "2"}])
    changed = deck.with_value("2", "cost", 5).with_value("1", "Name", "Z").with_value("1", "mood", "calm")
    assert [card.fields["cost"] for card in deck.rows] == ["1", "2"]
    assert [card.fields["cost"] for card in changed.rows] == ["1", "5"]
    assert changed.rows[0].fields == {"id": "1", "name": "Z", "cost": "1", "mood": "calm"}
    assert changed.columns == ["id", "name", "cost", "mood"]
    assert "cost" not in deck.with_value("1", "cost", None).rows[0].fields


def test_with_value_checks_the_row_again() -> None:
    deck = Deck([{"id": "1", "name": "A"}, {"id": "2", "name": "B"}])
    assert reasons(deck.with_value("2", "id", "1")) == [(2, "id", "duplicate of row 1")]
    assert reasons(deck.with_value("1", "name", "")) == [(1, "name", "name is missing")]


def test_an_unknown_id_suggests_the_ids_like_it() -> None:
    deck = Deck([{"id": "lamp-1", "name": "A"}, {"id": "x"}])
    with pytest.raises(UsageError, match="Did you mean 'lamp-1'"):
        deck.with_value("lamp1", "cost", 1)
    with pytest.raises(UsageError, match="was rejected: name is missing"):
        deck.card("x")


def test_take_head_and_frame() -> None:
    deck = Deck([{"id": "1", "name": "A"}, {"id": "1", "name": "B"}, {"id": "3", "name": "C", "x": [1]}])
    assert (len(deck.take(2)), len(deck.take(2).rows), len(deck.take(0))) == (2, 1, 0)
    assert list(deck.frame.index) == [1, 3]
    assert list(deck.frame.columns) == ["id", "name", "x"]
    assert list(deck.head(1)["name"]) == ["A"]
    assert len(Deck(deck.frame).rows) == 2


def test_the_representations_say_what_is_there_and_escape_it() -> None:
    deck = Deck([{"id": "1", "name": "<b>A</b>", "<i>": "x"}, {"id": "<2>"}])
    text, page = repr(deck), deck._repr_html_()
    assert "1 of 2 rows" in text
    assert "name is missing" in text
    assert "<i>" in text
    assert "<b>A</b>" not in page
    assert "<i>" not in page
    assert html.escape("<b>A</b>") in page
    assert "name is missing" in page


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"/>'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    base = tmp_path / "deck"
    (base / "art").mkdir(parents=True)
    for name in ("art/a.svg", "art/Ærø.PNG", "art/b.jpeg", "art/c.webp", "art/it’s here.svg", "a..b.svg"):
        (base / name).write_bytes(SVG)
    (tmp_path / "secret.svg").write_bytes(SVG)
    (tmp_path / "deck-too").mkdir()
    (tmp_path / "deck-too" / "x.svg").write_bytes(SVG)
    (base / "out.svg").symlink_to(tmp_path / "secret.svg")
    (base / "up").symlink_to(tmp_path)
    (base / "near").symlink_to(tmp_path / "deck-too")
    (base / "in.svg").symlink_to(base / "art" / "a.svg")
    (base / "loop.svg").symlink_to(base / "loop.svg")
    (base / "folder.svg").mkdir()
    (base / "empty.svg").touch()
    with (base / "large.png").open("wb") as file:
        file.truncate(8 * 1024 * 1024 + 1)
    (base / "note.txt").write_text("x")
    (base / "disguise.svg").symlink_to(base / "note.txt")
    return base


@pytest.mark.parametrize(
    ("reference", "file"),
    [
        ("art/a.svg", "art/a.svg"),
        (" ./art//a.svg ", "art/a.svg"),
        ("art/../art/a.svg", "art/a.svg"),
        ("art\\a.svg", "art/a.svg"),
        ("art/Ærø.PNG", "art/Ærø.PNG"),
        ("art/c.webp", "art/c.webp"),
        ("art/it’s here.svg", "art/it’s here.svg"),
        ("a..b.svg", "a..b.svg"),
        ("in.svg", "art/a.svg"),
    ],
)
def test_art_inside_the_folder_is_found(folder: Path, reference: str, file: str) -> None:
    deck = Deck([{"id": "1", "name": "A", "art": reference}], base_dir=folder)
    assert [card.art for card in deck.rows] == [(folder / file).resolve()]


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("../secret.svg", "leads outside"),
        ("art/../../secret.svg", "leads outside"),
        ("..\\secret.svg", "leads outside"),
        ("../deck-too/x.svg", "leads outside"),
        ("../deck/art/a.svg", "leads outside"),
        ("../../../../../../etc/passwd", "leads outside"),
        ("up/secret.svg", "leads outside"),
        ("near/x.svg", "leads outside"),
        ("up/no-such-file.svg", "leads outside"),
        ("out.svg", "leads outside"),
        ("/etc/passwd", "absolute path"),
        ("C:\\art\\a.svg", "absolute path"),
        ("\\\\host\\share\\a.svg", "is an address"),
        ("//host/a.svg", "is an address"),
        ("https://example.com/a.svg", "is an address"),
        ("file:///etc/passwd", "is an address"),
        ("data:image/svg+xml,<svg/>", "is an address"),
        ("art/a\x00.svg", "control character"),
        ("art/no.svg", "not there"),
        ("art/A.SVG", "did you mean a.svg"),
        ("no/a.svg", "its folder does not exist"),
        ("art/a.svg/b.svg", "not there"),
        ("loop.svg", "not"),
        ("folder.svg", "not a regular file"),
        ("empty.svg", "empty file"),
        ("large.png", "the limit is 8,388,608"),
        ("note.txt", "extension '.txt'"),
        ("disguise.svg", "no picture"),
        ("art", "no extension"),
        ("x" * 300 + ".svg", "longer than a file name"),
        ("~/a.svg", "not there"),
    ],
)
def test_art_that_is_not_a_picture_in_the_folder_rejects_the_row(
    folder: Path, reference: str, reason: str
) -> None:
    deck = Deck([{"id": "1", "name": "A", "art": reference}, {"id": "2", "name": "B"}], base_dir=folder)
    assert [card.id for card in deck.rows] == ["2"]
    assert [(item.row, item.column) for item in deck.rejected] == [(1, "art")]
    assert reason in deck.rejected[0].reason
