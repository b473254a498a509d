"""The decks in notebooks/data: the good one is good, the broken ones break as their README says."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest

from platform_kit.cards.deck import Deck
from platform_kit.errors import DeckError

DATA = Path(__file__).parents[2] / "notebooks" / "data"
README = (DATA / "README.md").read_text(encoding="utf-8")


def table(header: str) -> list[list[str]]:
    lines = README.split(header, 1)[1].splitlines()[2:]
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def test_the_sample_deck_is_whole() -> None:
    deck = Deck.read(DATA / "deck.csv")
    assert deck.rejected == []
    assert deck.notes == []
    assert len(deck.rows) >= 64
    assert all(card.art is not None for card in deck.rows)
    assert len({card.art for card in deck.rows}) == len(deck.rows)
    assert {card.fields["rarity"] for card in deck.rows} == {"common", "uncommon", "rare", "mythic"}
    assert len({str(card.fields["type"]).split(" — ")[0] for card in deck.rows}) >= 5
    assert all(len(str(card.fields["text"])) <= 240 for card in deck.rows)


def test_no_picture_is_left_over() -> None:
    used = {card.art for card in Deck.read(DATA / "deck.csv").rows}
    assert {path.resolve() for path in (DATA / "art").iterdir()} == used


@pytest.mark.parametrize("path", sorted((DATA / "art").glob("*.svg")), ids=lambda path: path.stem)
def test_a_picture_is_plain_svg_of_the_window_s_shape(path: Path) -> None:
    root = ElementTree.fromstring(path.read_text(encoding="utf-8"))
    assert root.get("viewBox") == "0 0 640 480"
    assert 2_000 < path.stat().st_size < 40_000
    tags = Counter(re.sub(r"\{.*\}", "", element.tag) for element in root.iter())
    plain = {
        "svg",
        "defs",
        "g",
        "path",
        "circle",
        "ellipse",
        "rect",
        "linearGradient",
        "radialGradient",
        "stop",
    }
    assert set(tags) <= plain
    assert sum(tags.values()) > 40
    assert not any(
        "href" in name or name.startswith("on") for element in root.iter() for name in element.attrib
    )


def test_the_broken_deck_breaks_as_its_readme_says() -> None:
    deck = Deck.read(DATA / "broken.csv")
    listed = table("| row | id | stage | column | reason begins |")
    form = [row for row in listed if row[2] == "deck"]
    assert len(deck) == 30
    assert [(str(item.row), item.id or "", item.stage, item.column or "") for item in deck.rejected] == [
        tuple(row[:4]) for row in form
    ]
    for item, row in zip(deck.rejected, form, strict=True):
        assert item.reason.startswith(row[4])
    rules = {int(row[0]): row[1] for row in listed if row[2] == "rules"}
    good = {card.row: card.id for card in deck.rows if card.row not in rules}
    assert {card.row: card.id for card in deck.rows} == good | rules
    assert sorted(good) == [2, 3, 9, 14, 23, 25, 26, 27, 31]


@pytest.mark.parametrize(("file", "says"), [tuple(row) for row in table("| file | error says |")])
def test_a_broken_file_is_the_error_its_readme_says(file: str, says: str) -> None:
    with pytest.raises(DeckError) as caught:
        Deck.read(DATA / file)
    assert caught.value.what.startswith(file)
    assert says in caught.value.what
