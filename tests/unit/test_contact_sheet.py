"""The contact sheet: many cards on one picture, whatever they are called and however many there are."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from platform_kit.cards import contact_sheet as module
from platform_kit.cards.contact_sheet import alt_text, contact_sheet, fit_text, text_width
from platform_kit.errors import UsageError

RED, BLUE = (200, 30, 30), (30, 60, 200)


def card(colour: tuple[int, ...] = RED, size: tuple[int, int] = (75, 105), kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGBA" if len(colour) == 4 else "RGB", size, colour).save(buffer, kind)
    return buffer.getvalue()


def share(sheet: Image.Image, colour: tuple[int, ...]) -> int:
    """How many pixels have this colour."""
    counted = sheet.convert("RGB").getcolors(sheet.width * sheet.height) or []
    return sum(count for count, found in counted if found == colour[:3])


def test_cards_come_from_bytes_paths_and_functions(tmp_path: Path) -> None:
    file = tmp_path / "c.png"
    file.write_bytes(card())
    sheet = contact_sheet(
        {"a": card(), "b": file, "c": str(file), "d": lambda: card()}, columns=2, thumb_width=40
    )
    # Edge pixels are the cards' own too: nothing is blended into a card of one colour.
    assert share(sheet, RED) == 4 * 40 * 56


def test_layout_follows_columns_and_width() -> None:
    images = {str(number): card() for number in range(6)}
    wide, high = (contact_sheet(images, columns=columns, thumb_width=60) for columns in (6, 1))
    assert wide.width > 6 * 60 and wide.height < 3 * 84
    assert high.height > 6 * 84 and high.width < 2 * 60


def test_only_what_is_shown_is_read_and_the_sheet_says_so() -> None:
    read: list[int] = []

    def loader(number: int) -> bytes:
        read.append(number)
        return card()

    images = {str(number): (lambda number=number: loader(number)) for number in range(2000)}
    sheet = contact_sheet(images, max_cards=7, thumb_width=20)
    assert sorted(read) == list(range(7))
    assert sheet.info["alt"].startswith("Contact sheet, showing 7 of 2,000 cards: 0, 1, 2")
    second = contact_sheet(images, max_cards=7, thumb_width=20, page=2)
    assert "showing 8 to 14 of 2,000 cards: 7, 8" in second.info["alt"]
    assert sorted(read) == list(range(14))


def test_two_hundred_of_many_at_the_defaults_stay_a_reasonable_picture() -> None:
    data = card(size=(8, 11))
    sheet = contact_sheet({str(number): data for number in range(2000)})
    assert sheet.width * sheet.height < 10_000_000
    assert "showing 200 of 2,000" in sheet.info["alt"]


def test_an_unreadable_picture_is_a_tile_not_an_error(tmp_path: Path) -> None:
    def lost() -> bytes:
        raise FileNotFoundError("gone")

    sheet = contact_sheet(
        {"ok": card(), "bad": b"no png", "cut": card()[:60], "gone": tmp_path / "x.png", "lost": lost},
        columns=5,
        thumb_width=40,
    )
    assert share(sheet, RED) == 40 * 56
    assert share(sheet, module._TILE) > 4 * 1000


def test_transparent_and_jpeg_and_wide_cards() -> None:
    clear = contact_sheet({"a": card((200, 30, 30, 0))}, thumb_width=60)
    assert share(clear, RED) == 0, "what is transparent shows the background"
    wide = contact_sheet({"a": card(size=(200, 100)), "b": card(BLUE)}, columns=2, thumb_width=60)
    assert share(wide, RED) == 60 * 30 and share(wide, BLUE) == 60 * 84
    assert share(contact_sheet({"a": card((0, 0, 0), kind="JPEG")}, thumb_width=60), (0, 0, 0)) >= 60 * 84


def test_no_card_at_all() -> None:
    assert contact_sheet({}).info["alt"] == "Contact sheet, 0 cards."


HOSTILE = [
    "",
    "x" * 5000,
    "\x1b[2J\n\n",
    "竜の騎士",
    "ΑΒΓ Ж",
    "\u202eabc",
    "e\u0301" * 40,
    "\ud800",
    "🐉",
    " ",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_any_name_can_be_a_caption_and_an_id(name: str, tmp_path: Path) -> None:
    plain = contact_sheet({"a": card()}, {"a": "a"}, thumb_width=60)
    sheet = contact_sheet({name: card()}, {name: name}, thumb_width=60, title=name, path=tmp_path / "s.png")
    assert sheet.size == plain.size, "a name does not change the layout"
    assert share(sheet, RED) == share(plain, RED), "a caption never covers a card"
    with Image.open(tmp_path / "s.png") as saved:
        assert saved.info["Description"] == sheet.info["alt"]


def test_a_caption_is_drawn_and_cut_to_its_card() -> None:
    blank = contact_sheet({"a": card()}, {"a": "."}, thumb_width=120).tobytes()
    assert contact_sheet({"a": card()}, {"a": "Warden"}, thumb_width=120).tobytes() != blank
    cut = fit_text("Warden of the Northern Gate", 12, 80)
    assert cut.endswith("…") and 40 < text_width(cut, 12) <= 80
    assert fit_text("Warden", 12, 500) == "Warden"
    assert fit_text("Warden", 12, 1) == ""


def test_a_missing_letter_is_never_a_silent_box(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without any font of our own, accents fall back to the plain letter and the rest to a question mark."""
    for cached in (module._font_files, module._fonts, module._drawable):
        cached.cache_clear()
    monkeypatch.setattr(module, "FONT_FOLDER", tmp_path)
    try:
        assert "".join(part for _, part in module._parts("Aé竜")) in ("Ae?", "Aé?")
    finally:
        for cached in (module._font_files, module._fonts, module._drawable):
            cached.cache_clear()


def test_alt_text_matches_the_picture() -> None:
    images = {"a": card(), "b": card()}
    sheet = contact_sheet(images, {"a": "Ace"}, title="Deck", max_cards=1)
    assert sheet.info["alt"] == alt_text(images, {"a": "Ace"}, title="Deck", max_cards=1)
    assert sheet.info["alt"] == "Deck, showing 1 of 2 cards: Ace."


@pytest.mark.parametrize(
    "wrong",
    [{"max_cards": 0}, {"page": 0}, {"page": 3, "max_cards": 1}, {"columns": 0}, {"thumb_width": 3}],
)
def test_numbers_without_sense_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        contact_sheet({"a": card(), "b": card()}, **wrong)  # type: ignore[arg-type]


def test_a_sheet_too_large_for_memory_is_refused() -> None:
    def never() -> bytes:
        raise AssertionError("nothing is read for a sheet that cannot be")

    with pytest.raises(UsageError, match="too large"):
        contact_sheet(dict.fromkeys(map(str, range(60)), never), thumb_width=2000, columns=1)
    with pytest.raises(UsageError, match="too large"):
        contact_sheet({"a": card(), "b": card()}, thumb_width=1000, columns=60)
