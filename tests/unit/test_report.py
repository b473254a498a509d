"""The HTML report: complete, self-contained, and harmless whatever the deck holds."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_kit.cards.report import ReportCard, ReportData, ReportRejection, _histogram, write_report
from platform_kit.reprs import clean

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onclick='alert(1)",
    "</title></style></script><h1>",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:alert(1)",
    "\u202eevil\x00",
    "\ud800",
]


class Page(HTMLParser):
    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self._skips = False
        self.source = path.read_text("utf-8")
        self.feed(self.source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        self._skips = tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._skips = False

    def handle_data(self, data: str) -> None:
        if not self._skips:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


def report(tmp_path: Path, **changes: object) -> Page:
    given: dict[str, object] = {
        "title": "Roots",
        "requested": 4,
        "cards": [
            ReportCard("ace", "Ace", tmp_path / "cards" / "ace.png", "rendered", "Plant", "rare"),
            ReportCard("king", "King", tmp_path / "cards" / "king.png", "unchanged", warnings=["no glyph"]),
            ReportCard("gone", "Gone", None),
        ],
        "rejected": [ReportRejection(12, "joker", "cost", "a cost of 1,000 is over 99", "rules")],
        "seconds": 1.5,
        "warnings": ["unused column"],
        "timings_ms": [10.0, 11.0, 12.0, 40.0],
        "facts": {"Wombat": "1.0.7", "durability": "lazy"},
        "links": {"sheets": tmp_path / "my deck.pdf"},
        **changes,
    }
    return Page(write_report(tmp_path / "report.html", ReportData(**given)))  # type: ignore[arg-type]


def test_everything_is_there(tmp_path: Path) -> None:
    page = report(tmp_path)
    for words in (
        "Roots",
        "Ace",
        "Plant",
        "rare",
        "a cost of 1,000 is over 99",
        "rules",
        "cost",
        "12",
        "1.0.7",
    ):
        assert words in page.text
    for words in ("lazy", "unused column", "no glyph", "no picture", "1.5 s", "median"):
        assert words in page.text
    groups = [attributes.get("aria-label") for attributes in page.all("div")]
    assert "4 requested = 2 rendered + 1 unchanged + 1 rejected" in groups
    assert not any("alarm" in a.get("class", "") for a in page.all("p"))


def test_a_run_that_lost_cards_says_so(tmp_path: Path) -> None:
    page = report(tmp_path, requested=9)
    assert "5 of the requested cards have no result" in page.text
    assert any(a.get("role") == "alert" for a in page.all("p"))


def test_it_needs_nothing_from_elsewhere(tmp_path: Path) -> None:
    page = report(tmp_path)
    addresses = [a[key] for _, a in page.tags for key in ("src", "href") if key in a]
    assert addresses
    for address in addresses:
        parts = urlsplit(address)
        assert not parts.scheme and not parts.netloc and not parts.path.startswith("/")
    assert "url(" not in page.source and "@import" not in page.source and "http" not in page.source


NAMES = [
    "100%.png",
    "%C3%86.png",
    "a b#c?d.png",
    "竜.png",
    'it\'s "q".png',
    "a&b;<i>.png",
    "javascript:x.png",
]


@pytest.mark.parametrize("name", NAMES)
def test_pictures_are_found_again(tmp_path: Path, name: str) -> None:
    (tmp_path / "cards").mkdir()
    file = tmp_path / "cards" / name
    file.write_bytes(b"x")
    page = report(tmp_path, cards=[ReportCard("a", "A", file)], requested=2)
    source = page.all("img")[0]["src"]
    assert (tmp_path / unquote(urlsplit(source).path)).read_bytes() == b"x"
    assert urlsplit(source).query == "" and urlsplit(source).fragment == ""


def test_a_picture_beside_the_folder(tmp_path: Path) -> None:
    page = report(tmp_path / "output", cards=[ReportCard("a", "A", tmp_path / "a.png")])
    assert page.all("img")[0]["src"] == "../a.png"


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_stays_text(tmp_path: Path, name: str) -> None:
    calm = report(tmp_path)
    page = report(
        tmp_path,
        title=name,
        cards=[
            ReportCard(name, name, tmp_path / "a.png", "rendered", name, name, [name]),
            ReportCard(name, "", tmp_path / "b.png", "unchanged", warnings=[]),
            ReportCard(name, name, None),
        ],
        rejected=[ReportRejection(1, name, name, name, name)],
        warnings=[name],
        facts={name: name, "x": 1},
        links={name: tmp_path / "d.pdf"},
        created=name,
    )
    assert page.text.count(clean(name)) >= 12
    assert {tag for tag, _ in page.tags} <= {tag for tag, _ in calm.tags}
    assert len(page.all("script")) == 1 and len(page.all("img")) == 2
    known = {key for _, attributes in calm.tags for key in attributes}
    assert {key for _, attributes in page.tags for key in attributes} <= known


def test_it_can_be_used_without_sight_or_mouse(tmp_path: Path) -> None:
    page = report(tmp_path)
    assert page.all("html")[0]["lang"] == "en"
    assert [a["alt"] for a in page.all("img")] == ["Card: Ace", "Card: King"]
    assert all(a["loading"] == "lazy" and a["width"] and a["height"] for a in page.all("img"))
    assert all(a.get("scope") for a in page.all("th"))
    assert len(page.all("label")) == len(page.all("input")) + len(page.all("select"))
    assert page.all("svg")[0]["aria-label"].startswith("Time a card: 4 cards, median 11.5 ms")


def test_thousands(tmp_path: Path) -> None:
    page = report(
        tmp_path,
        requested=14_000,
        cards=[ReportCard(str(i), f"Card {i}", f"{tmp_path}/{i}.png") for i in range(2000)],
        rejected=[ReportRejection(i, str(i), None, "no", "deck") for i in range(12_000)],
    )
    assert len(page.all("img")) == 2000
    assert "showing 5,000 of 12,000 rows" in page.text and "14,000" in page.text


def test_an_empty_run(tmp_path: Path) -> None:
    page = report(
        tmp_path,
        requested=0,
        cards=[],
        rejected=[],
        warnings=[],
        timings_ms=[],
        facts={},
        links={},
        seconds=None,
    )
    assert "No card was made." in page.text and not page.all("table") and not page.all("svg")


def test_a_failing_write_keeps_the_old_report(tmp_path: Path) -> None:
    report(tmp_path)
    before = (tmp_path / "report.html").read_text("utf-8")
    with pytest.raises(TypeError):
        report(tmp_path, requested=None)
    assert (tmp_path / "report.html").read_text("utf-8") == before
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=60))
def test_any_timings_make_a_histogram(values: list[float]) -> None:
    drawn = str(_histogram(values))
    assert not re.search(r'="(nan|-?inf|-)', drawn)
    usable = [value for value in values if 0 <= value < 1e12]
    assert bool(drawn) == (len(usable) > 1)


def test_the_histogram_counts_every_card() -> None:
    drawn = str(_histogram([5.0] * 10 + [6.0] * 20 + [900.0]))
    assert sum(map(int, re.findall(r"ms: (\d+) cards?</title>", drawn))) == 31
