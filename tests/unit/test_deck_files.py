"""Files of every kind a deck comes in: read as they are, or refused with one clear error."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import openpyxl
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from platform_kit.cards.deck import Deck
from platform_kit.errors import DeckError

NAMES = {
    "cp1252": ["Café Élan", "Größe über alles", "Señor Nuñez", "Déjà vu – “naïve”"],
    "cp1250": ["Noční volavka žlutá", "Łódź i księżyc", "Příliš žluťoučký kůň"],
    "cp1251": ["Ночная цапля", "Королева морей", "Жук и маяк"],
    "koi8_r": ["Ночная цапля", "Королева морей", "Жук и маяк"],
    "cp1253": ["Νυχτερινός ερωδιός", "Φάρος της θάλασσας"],
    "cp932": ["夜の鷺", "潮の灯台", "カード ゲーム", "ドラゴンの巣"],
    "euc_jp": ["夜の鷺", "潮の灯台", "カード ゲーム", "ドラゴンの巣"],
    "gb18030": ["夜鹭之灯", "潮汐灯塔", "龙的巢穴", "卡牌"],
    "big5": ["夜鷺之燈", "潮汐燈塔", "龍的巢穴", "卡牌"],
    "cp949": ["밤의 왜가리", "바다의 등대", "용의 둥지"],
}


def names(deck: Deck) -> list[Any]:
    return [card.fields["name"] for card in deck.rows]


def write(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("encoding", NAMES)
@pytest.mark.parametrize("copies", [1, 30])
def test_a_legacy_encoding_is_detected_and_noted(tmp_path: Path, encoding: str, copies: int) -> None:
    expected = NAMES[encoding] * copies
    rows = [f"{number},{name},Draw a card: {name}." for number, name in enumerate(expected)]
    deck = Deck.read(write(tmp_path / "d.csv", "\r\n".join(["id,name,text", *rows]).encode(encoding)))
    assert names(deck) == expected
    assert any("detected" in note for note in deck.notes)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("suffix", [".csv", ".json"])
def test_unicode_with_and_without_a_byte_order_mark(tmp_path: Path, encoding: str, suffix: str) -> None:
    bom = "\ufeff" if encoding in ("utf-16-be",) else ""
    text = (
        "id,name\n1,Færge 夜鷺\n2,Маяк\n"
        if suffix == ".csv"
        else '[{"id": 1, "name": "Færge 夜鷺"},{"id":2,"name":"Маяк"}]'
    )
    assert names(Deck.read(write(tmp_path / f"d{suffix}", (bom + text).encode(encoding)))) == [
        "Færge 夜鷺",
        "Маяк",
    ]


def test_an_encoding_can_be_named(tmp_path: Path) -> None:
    path = write(tmp_path / "d.csv", "id,name\n1,ñandú\n".encode("cp850"))
    assert names(Deck.read(path, encoding="cp850")) == ["ñandú"]
    with pytest.raises(DeckError, match="no-such-encoding"):
        Deck.read(path, encoding="no-such-encoding")


def test_bytes_of_another_encoding_reject_their_row_alone(tmp_path: Path) -> None:
    deck = Deck.read(
        write(tmp_path / "d.csv", "id,name,text\n1,Færge,ok\n".encode() + b"2,B,caf\xe9\n3,C,ok\n")
    )
    assert names(deck) == ["Færge", "C"]
    assert [(item.row, item.column) for item in deck.rejected] == [(3, "text")]
    assert "byte 0xE9" in deck.rejected[0].reason


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(tmp_path: Path, delimiter: str) -> None:
    cells = [["id", "name", "text"], ["1", "A", "One, two; three"], ["2", "B", "x"]]
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter).writerows(cells)
    deck = Deck.read(write(tmp_path / "d.csv", out.getvalue()))
    assert [list(card.fields.values()) for card in deck.rows] == cells[1:]


def test_a_first_line_that_names_the_delimiter_is_no_row_but_counts(tmp_path: Path) -> None:
    deck = Deck.read(write(tmp_path / "d.csv", "sep=;\r\nid;name\r\n1;A, B\r\n"))
    assert [(card.row, card.fields["name"]) for card in deck.rows] == [(3, "A, B")]


def test_rows_count_as_a_spreadsheet_does(tmp_path: Path) -> None:
    text = 'id,name,text\n1,A,"two\nlines"\n\n3,C,\n,,\n5,,x\n'
    deck = Deck.read(write(tmp_path / "d.csv", text))
    assert [(card.row, card.id) for card in deck.rows] == [(2, "1"), (4, "3")]
    assert [item.row for item in deck.rejected] == [6]
    assert len(deck) == 3
    assert deck.notes[-1] == "blank rows skipped: 2"


def test_ragged_rows(tmp_path: Path) -> None:
    deck = Deck.read(write(tmp_path / "d.csv", "id,name,text\n1,A\n2,B,x,,\n3,C,x,y\n"))
    assert names(deck) == ["A", "B"]
    assert [(item.row, item.column) for item in deck.rejected] == [(4, None)]
    assert "4 fields where the header has 3" in deck.rejected[0].reason


@pytest.mark.parametrize("tail", ["", "3,C,x\n", '3,C,"x"\n4,D,"y"\n', '3,C,"x\ny"\n'])
def test_a_quote_never_closed_costs_one_row(tmp_path: Path, tail: str) -> None:
    deck = Deck.read(write(tmp_path / "d.csv", 'id,name,text\n1,A,x\n2,"B,x\n' + tail))
    assert names(deck) == ["A", *[name for name in "CD" if f",{name}," in tail]]
    assert [(item.row, item.id) for item in deck.rejected] == [(3, "2")]
    assert "never closed" in deck.rejected[0].reason


def test_columns_without_a_name_are_kept_only_if_they_hold_something(tmp_path: Path) -> None:
    assert Deck.read(write(tmp_path / "a.csv", "id,name,\n1,A,\n")).columns == ["id", "name"]
    assert Deck.read(write(tmp_path / "b.csv", "id,name,\n1,A,x\n")).columns == ["id", "name", "column 3"]


def xlsx(path: Path, rows: list[list[Any]], **more: list[list[Any]]) -> Path:
    book = openpyxl.Workbook()
    assert book.active is not None
    book.active.title = "Cards"
    for title, cells in {"Cards": rows, **more}.items():
        sheet = book[title] if title in book.sheetnames else book.create_sheet(title)
        for row in cells:
            sheet.append(row)
    book.save(path)
    return path


def test_a_workbook_reads_like_its_csv(tmp_path: Path) -> None:
    path = xlsx(
        tmp_path / "d.xlsx",
        [["id", "name", "cost", "power"], [1, "A", 3.0, 2.5], [None] * 4, ["007", "B", "2U", True]],
        Notes=[["x"]],
        Other=[["id", "name"], [9, "Z"]],
    )
    deck = Deck.read(path)
    assert [(card.row, card.fields) for card in deck.rows] == [
        (2, {"id": "1", "name": "A", "cost": "3", "power": 2.5}),
        (4, {"id": "007", "name": "B", "cost": "2U", "power": True}),
    ]
    assert deck.notes[0] == "read the sheet 'Cards'; the others: Notes, Other"
    assert names(Deck.read(path, sheet="other")) == names(Deck.read(path, sheet=2)) == ["Z"]
    with pytest.raises(DeckError, match="no sheet 'Deck'"):
        Deck.read(path, sheet="Deck")


def test_a_number_shown_with_leading_zeros_keeps_them(tmp_path: Path) -> None:
    path = tmp_path / "d.xlsx"
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(["id", "name"])
    sheet.append([7, "A"])
    sheet["A2"].number_format = "000"
    book.save(path)
    assert Deck.read(path).rows[0].id == "007"


def test_formulas_without_result_and_failed_formulas_reject_their_row(tmp_path: Path) -> None:
    path = xlsx(tmp_path / "d.xlsx", [["id", "name"], [1, "=A2"], [2, "#REF!"], [3, "C"]])
    deck = Deck.read(path)
    assert names(deck) == ["C"]
    assert "no stored result" in deck.rejected[0].reason
    assert "gives #REF!" in deck.rejected[1].reason


def zipped(path: Path, parts: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return path


def test_a_zip_bomb_is_refused_by_its_size(tmp_path: Path) -> None:
    path = tmp_path / "d.xlsx"
    block = bytes(1 << 20)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open(zipfile.ZipInfo("xl/workbook.xml"), "w", force_zip64=True) as part:
            part.write(b"<workbook/>")
        bomb = zipfile.ZipInfo("xl/worksheets/sheet1.xml")
        bomb.compress_type = zipfile.ZIP_DEFLATED
        with archive.open(bomb, "w", force_zip64=True) as part:
            for _ in range(513):
                part.write(block)
    with pytest.raises(DeckError, match="unpacks to 537,"):
        Deck.read(path)


def test_a_workbook_with_entities_is_refused(tmp_path: Path) -> None:
    evil = b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><x>&a;</x>'
    path = zipped(tmp_path / "d.xlsx", {"xl/workbook.xml": b"<workbook/>", "xl/sharedStrings.xml": evil})
    with pytest.raises(DeckError, match="document type declaration"):
        Deck.read(path)


def test_json_in_its_usual_shapes(tmp_path: Path) -> None:
    cards = [{"id": 1, "name": "A", "tags": ["x"]}, {"id": "2", "name": "B", "cost": None}]
    lines = "\n".join(map(json.dumps, cards))
    for name, text in {
        "a.json": json.dumps(cards),
        "b.json": json.dumps({"set": "x", "cards": cards}),
        "c.json": json.dumps({"meta": {}, "data": {"cards": cards}}),
        "d.jsonl": lines,
        "e.ndjson": lines + "\n",
        "f.json": lines,
    }.items():
        deck = Deck.read(write(tmp_path / name, text))
        assert [card.fields for card in deck.rows] == [
            {"id": "1", "name": "A", "tags": ["x"]},
            {"id": "2", "name": "B"},
        ]
        assert [card.row for card in deck.rows] == [1, 2]


def test_a_json_object_that_names_a_key_twice_is_rejected(tmp_path: Path) -> None:
    deck = Deck.read(
        write(tmp_path / "d.json", '[{"id":"1","name":"A","cost":1,"cost":2},{"id":"2","name":"B"}]')
    )
    assert [(item.row, item.column) for item in deck.rejected] == [(1, "cost")]
    assert names(deck) == ["B"]


def test_one_broken_line_of_json_lines_is_one_rejected_row(tmp_path: Path) -> None:
    deck = Deck.read(
        write(tmp_path / "d.jsonl", '{"id":"1","name":"A"}\n\n{"id":"2",\n[3]\n{"id":"4","name":"D"}\n')
    )
    assert names(deck) == ["A", "D"]
    assert [item.row for item in deck.rejected] == [3, 4]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("d.csv", b"", "is empty (0 bytes)"),
        ("d.csv", b"\xef\xbb\xbf\r\n  \n", "is empty"),
        ("d.csv", b"id,name\n", "has no cards"),
        ("d.csv", b"id,name\n,\n\n", "has no cards"),
        ("d.csv", b"id,name,name\n1,A,B\n", "'name' in columns 2 and 3"),
        ("d.csv", b"nothing here\n1\n", "no column 'id' and no column 'name'"),
        ("d.csv", b"PK\x03\x04junk", "a zip archive"),
        ("d.csv", b"\x89PNG\r\n\x1a\n", "a PNG picture"),
        ("d.csv", bytes(range(1, 32)) * 20, "control characters"),
        (
            "d.csv",
            b"id,na\xff\xfe\x81me\n1,A\n2,\xc3\xa9\n3,\xc3\xa9\n",
            "header of column 2 cannot be decoded",
        ),
        ("d.csv", b"id,name\n" + b"1,\xff\x81\x98\xfe\xff\x81\x98\n" * 9, "not readable as text"),
        ("d.xlsx", b"id,name\n1,A\n", "not an Excel workbook: it is plain text"),
        ("d.xlsx", b"<html><table></table></html>", "it is an HTML page"),
        (
            "d.xlsx",
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "EncryptedPackage".encode("utf-16-le"),
            "with a password",
        ),
        ("d.xlsx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1Workbook", "old .xls format"),
        ("d.xlsx", b"PK\x03\x04" + bytes(60), "not an Excel workbook"),
        ("d.json", b'[{"id" "1"}]', "line 1, column 8"),
        ("d.json", b"[1, 2]", "a number where card 1 should be"),
        ("d.json", b'{"id": "1", "name": "A"}', "an object with the keys id, name, not a list"),
        ("d.json", b'"text"', "not a list of cards"),
        ("d.json", b"[]", "has no cards"),
        ("d.json", b"[" * 200_000, "nested too deeply"),
        ("d.jsonl", b"not json\n", "is not JSON lines: line 1, column 1"),
        ("d.ods", b"x", "the extension '.ods'"),
        ("deck", b"x", "no extension"),
    ],
)
def test_a_broken_file_is_one_clear_error(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    with pytest.raises(DeckError) as caught:
        Deck.read(write(tmp_path / name, content))
    assert says in caught.value.what
    assert name in caught.value.what
    assert caught.value.hint


def test_a_workbook_that_is_another_zip_or_cut_short(tmp_path: Path) -> None:
    with pytest.raises(DeckError, match="a Word document"):
        Deck.read(zipped(tmp_path / "a.xlsx", {"word/document.xml": b"<x/>"}))
    good = xlsx(tmp_path / "b.xlsx", [["id", "name"], [1, "A"]]).read_bytes()
    for size in (len(good) // 3, len(good) - 40):
        with pytest.raises(DeckError):
            Deck.read(write(tmp_path / "c.xlsx", good[:size]))


def test_a_missing_file_and_a_folder_suggest_what_is_there(tmp_path: Path) -> None:
    write(tmp_path / "deck.csv", "id,name\n1,A\n")
    for wrong in ("deck.cvs", "Deck.xlsx", "dek.csv"):
        with pytest.raises(DeckError, match=r"Did you mean deck\.csv"):
            Deck.read(tmp_path / wrong)
    with pytest.raises(DeckError, match=r"is a folder[^→]*→ Name a file in it: deck\.csv"):
        Deck.read(tmp_path)
    with pytest.raises(DeckError, match="does not exist"):
        Deck.read(tmp_path / "no" / "deck.csv")
    with pytest.raises(DeckError, match="NUL"):
        Deck.read("a\0.csv")


def test_pictures_are_looked_for_beside_the_deck(tmp_path: Path) -> None:
    write(tmp_path / "a.svg", "<svg/>")
    deck = Deck.read(write(tmp_path / "d.csv", "id,name,art\n1,A,a.svg\n"))
    assert deck.rows[0].art == (tmp_path / "a.svg").resolve()


# ── round trips ─────────────────────────────────────────────────────────────────────────────────────

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30)
LINE = TEXT.map(str.strip).filter(bool)
CELL = st.text(
    st.characters(
        exclude_categories=["Cs"], exclude_characters=[chr(c) for c in (*range(9), *range(11, 32), 127)]
    ),
    max_size=40,
)
ROWS = st.lists(st.tuples(LINE, LINE, CELL), min_size=1, max_size=8, unique_by=lambda row: row[0])
SHARED = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def expected(rows: list[tuple[str, str, str]]) -> list[dict[str, str]]:
    return [{"id": a, "name": b} | ({"text": c} if c else {}) for a, b, c in rows]


@SHARED
@given(rows=ROWS, delimiter=st.sampled_from(",;\t|"), bom=st.booleans())
def test_any_rows_come_back_from_csv(
    tmp_path: Path, rows: list[tuple[str, str, str]], delimiter: str, bom: bool
) -> None:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows([("id", "name", "text"), *rows])
    deck = Deck.read(write(tmp_path / "d.csv", out.getvalue().encode("utf-8-sig" if bom else "utf-8")))
    assert [card.fields for card in deck.rows] == expected(rows)


@SHARED
@given(rows=ROWS, escaped=st.booleans(), lines=st.booleans())
def test_any_rows_come_back_from_json(
    tmp_path: Path, rows: list[tuple[str, str, str]], escaped: bool, lines: bool
) -> None:
    cards = [dict(zip(("id", "name", "text"), row, strict=True)) for row in rows]
    if lines:
        path = write(
            tmp_path / "d.jsonl", "\n".join(json.dumps(card, ensure_ascii=escaped) for card in cards)
        )
    else:
        path = write(tmp_path / "d.json", json.dumps(cards, ensure_ascii=escaped))
    assert [card.fields for card in Deck.read(path).rows] == expected(rows)


@SHARED
@given(rows=ROWS)
def test_any_rows_come_back_from_a_frame(rows: list[tuple[str, str, str]]) -> None:
    assert [
        card.fields for card in Deck(pd.DataFrame(rows, columns=["id", "name", "text"])).rows
    ] == expected(rows)


# What XML cannot hold, what a sheet takes for a formula or an error, and openpyxl's own escapes are left out.
PLAIN = st.text(st.characters(categories=["L", "M", "N", "P", "S"], exclude_characters="=#_"), min_size=1)
SHEET = st.lists(st.tuples(PLAIN, PLAIN, PLAIN), min_size=1, max_size=5, unique_by=lambda row: row[0])


@settings(SHARED, max_examples=20)
@given(rows=SHEET)
def test_any_rows_come_back_from_a_workbook(tmp_path: Path, rows: list[tuple[str, str, str]]) -> None:
    path = xlsx(tmp_path / "d.xlsx", [["id", "name", "text"]])
    book = openpyxl.load_workbook(path)
    for number, row in enumerate(rows, start=2):
        for column, cell in enumerate(row, start=1):
            book["Cards"].cell(number, column).value = cell or None
            book["Cards"].cell(number, column).data_type = "s" if cell else "n"
    book.save(path)
    assert [card.fields for card in Deck.read(path).rows] == expected(rows)


@settings(SHARED, max_examples=150)
@given(junk=st.binary(max_size=300), suffix=st.sampled_from([".csv", ".json", ".jsonl", ".xlsx", ".tsv"]))
def test_junk_is_a_deck_or_a_deck_error(tmp_path: Path, junk: bytes, suffix: str) -> None:
    for content in (junk, b"id,name,art\n" + junk):
        try:
            deck = Deck.read(write(tmp_path / f"d{suffix}", content))
        except DeckError:
            continue
        assert len(deck) == len(deck.rows) + len(deck.rejected)
        json.dumps([card.fields for card in deck.rows], allow_nan=False).encode()


def test_a_large_deck_in_twelve_languages(tmp_path: Path) -> None:
    words = [
        "Night Heron", "Reiher der Nacht", "Héron de nuit", "Garza nocturna", "Ночная цапля",
        "Νυχτερινός ερωδιός", "夜の鷺", "夜鹭", "밤의 왜가리", "Czapla nocna", "Gece balıkçılı", "Vạc đêm",
    ]  # fmt: skip
    path = tmp_path / "d.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "name", "type", "cost", "rarity", "text", "language"])
        for number in range(20_000):
            word = words[number % 12]
            writer.writerow(
                [
                    f"{number:06}",
                    f"{word} {number}",
                    "Creature — " + word,
                    "2WU",
                    "rare",
                    f"{word}.\n“{word}”",
                    number % 12,
                ]
            )
    deck = Deck.read(path)
    assert (len(deck), len(deck.rows), deck.rejected, deck.notes) == (20_000, 20_000, [], [])
    last = deck.rows[-1]
    assert (last.row, last.id, last.fields["name"]) == (20_001, "019999", f"{words[19_999 % 12]} 19999")
