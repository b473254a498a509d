"""Status cards and tables: two twins of the same data, safe whatever the data holds."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_kit.reprs import (
    StatusCard,
    Table,
    cell_text,
    clean,
    display_width,
    human_bytes,
    human_count,
    human_seconds,
    shorten,
)

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</td></table><h1>out</h1>",
    "&lt;b&gt;",
    "\x1b[2J\x1b[31mred",
    "two\nlines\r\nthree\ttabs",
    "\u202eevil\u202c",
    "lone \ud800 surrogate",
    "\x00\x07",
]


class Page(HTMLParser):
    """What a browser would see: tags, their attributes, the text; and whether tags are balanced."""

    VOID = frozenset(["br", "img"])

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(source)
        self.close()
        assert not self._open, f"unclosed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.update(name for name, _ in attrs)
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open and self._open.pop() == tag, f"</{tag}> does not match"

    def handle_data(self, data: str) -> None:
        self.words.append(data)


TAGS = {"div", "b", "span", "table", "caption", "thead", "tbody", "tfoot", "tr", "th", "td"}
ATTRIBUTES = {"style", "title", "dir", "colspan"}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_stays_text(name: str) -> None:
    card = StatusCard(name, name, {name: name}, Table([name], [[name]], caption=name))
    page = Page(card.html())
    assert set(page.tags) <= TAGS and page.attributes <= ATTRIBUTES
    assert page.words.count(clean(name)) == 7
    for twin in (card.text(), card.html()):
        twin.encode("utf-8")
        assert not set(twin.replace("\n", "")) & set(map(chr, [*range(32), 0x7F, 0x202E, 0xD800]))
    assert len(card.text().splitlines()) == 6, "a name cannot add a line"


@given(st.lists(st.lists(st.text(), min_size=2, max_size=2), max_size=5), st.text())
def test_any_text_is_one_safe_cell(rows: list[list[str]], caption: str) -> None:
    table = Table(["a", "b"], rows, caption=caption)
    page = Page(table.html())
    assert set(page.tags) <= TAGS
    assert page.tags.count("td") == 2 * len(rows)
    lines = table.text().split("\n")
    assert len(lines) == 2 + len(rows) + bool(caption)
    assert all(len(line.splitlines()) <= 1 for line in lines)
    assert json.loads(json.dumps(table._repr_mimebundle_()))["text/plain"] == table.text()


def test_columns_stay_straight_with_wide_letters() -> None:
    table = Table(["id", "name", "n"], [["a", "竜の騎士", 1], ["bb", "Ελλάδα", 22], ["c", "한국어", 333]])
    widths = {display_width(line) for line in table.text().splitlines()}
    assert len(widths) == 1, table.text()
    assert table.text().splitlines()[2] == "a   竜の騎士    1"


def test_numbers_align_right_and_blanks_show() -> None:
    lines = Table(["n", "t"], [[1, "x"], [1000, None], [None, "z"]]).text().splitlines()
    assert lines[2:] == ["   1  x", "1000  –", "   –  z"]
    assert "text-align:right" in Table(["n"], [[1], [2]]).html()
    assert "text-align:right" not in Table(["n"], [["1"], [True]]).html()


def test_long_cells_are_cut_in_display_only() -> None:
    long = "word " * 2000
    table = Table(["text"], [[long]], max_width=20)
    assert max(map(display_width, table.text().splitlines())) <= 20
    assert "…" in table.text() and table.rows[0][0] == long
    assert "title=" in table.html() and len(table.html()) < 4000


def test_many_rows_are_counted() -> None:
    table = Table(["n"], [[number] for number in range(2000)], max_rows=10)
    assert "showing 10 of 2,000 rows" in table.text()
    assert "showing 10 of 2,000 rows" in table.html()
    assert len(table.text().splitlines()) == 13
    assert "showing" not in Table(["n"], [[1]]).text()


def test_an_empty_table_still_has_its_head() -> None:
    assert Table(["id", "reason"], []).text() == "id  reason\n──  ──────"
    Page(Table(["id", "reason"], []).html())


def test_a_row_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(ValueError, match="row 1 has 1 values for 2 columns"):
        Table(["a", "b"], [[1, 2], [3]])


def test_both_twins_say_the_same() -> None:
    card = StatusCard(
        "platform",
        "running",
        {"url": "nats://127.0.0.1:4222", "path": Path("/data"), "left out": None},
        Table(["service", "version"], [["nats-server", "2.15.0"], ["wombat", "1.0.7"]]),
    )
    words = "".join(Page(card.html()).words)
    for value in ("platform", "running", "nats://127.0.0.1:4222", "nats-server", "2.15.0", "wombat"):
        assert value in card.text() and value in words
    assert "left out" not in card.text() + words
    assert repr(card) == str(card) == card.text()
    assert card._repr_html_() == card.html()


def test_the_state_is_not_told_by_colour_alone() -> None:
    marks = {StatusCard("x", state).text()[0] for state in ("running", "starting", "failed", "stopped")}
    assert len(marks) == 4
    assert StatusCard("x", "odd word", tone="bad").text()[0] == StatusCard("x", "failed").text()[0]


def test_html_sets_no_absolute_text_or_background_colour() -> None:
    """Colours are inherited or translucent, so that the dark theme stays readable."""
    source = StatusCard("x", "running", {"a": 1}, Table(["b"], [[2]], caption="c")).html()
    for style in source.split('style="')[1:]:
        for rule in style.split('"')[0].split(";"):
            name, _, value = rule.partition(":")
            if name == "color":
                assert value == "inherit"
            if name == "background":
                translucent = value.startswith("rgba(") or (value.startswith("#") and len(value) == 9)
                assert value == "transparent" or translucent


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [
        ("short", 5, "short"),
        ("longer", 5, "long…"),
        ("", 5, ""),
        ("竜竜竜", 4, "竜…"),
        ("e\u0301e\u0301e\u0301", 3, "e\u0301e\u0301e\u0301"),
        ("e\u0301e\u0301e\u0301", 2, "e\u0301…"),
    ],
)
def test_shorten(text: str, width: int, expected: str) -> None:
    assert shorten(text, width) == expected


def test_stacked_marks_cannot_fill_the_page() -> None:
    assert len(shorten("a" + "\u0301" * 10_000, 10)) <= 81


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0.0 ms"),
        (0.0032, "3.2 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.0 s"),
        (59.96, "1 min 00 s"),
        (119.6, "2 min 00 s"),
        (3599.9, "1 h 00 min"),
        (86399, "1 d 00 h"),
        (200_000, "2 d 08 h"),
        (-2, "-2.0 s"),
    ],
)
def test_human_seconds(seconds: float, expected: str) -> None:
    assert human_seconds(seconds) == expected


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1024**2 - 1, "1.0 MiB"),
        (99.99 * 1024, "100 KiB"),
        (5 * 1024**5, "5120 TiB"),
    ],
)
def test_human_bytes(count: float, expected: str) -> None:
    assert human_bytes(count) == expected


def test_counts_and_cells() -> None:
    assert human_count(1, "card") == "1 card" and human_count(12_000, "card") == "12,000 cards"
    assert [cell_text(value) for value in (None, True, 3, 0.5, 2.0, float("nan"), 1e300)] == [
        "–",
        "yes",
        "3",
        "0.5",
        "2",
        "–",
        "1e+300",
    ]
