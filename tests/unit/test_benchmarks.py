"""The benchmarks' own tools: targets are judged right, every card differs, and the peer draws a card."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from parts import deck as decks
from parts import peer
from parts.report import Figure, table, work_folder
from peers.faststream_pillow import paint
from peers.faststream_pillow.card import Painter
from peers.faststream_pillow.text import Fonts
from PIL import Image, ImageChops

from platform_kit.cards.template import Template

ROW = {
    "id": "7",
    "name": "Night Heron",
    "type": "Creature — Bird",
    "cost": "2{U}",
    "rarity": "rare",
    "text": "Flight.\nTap: Look (it does not look back).",
    "flavor": "It stands where the water ends.",
    "power": "2",
    "health": "3",
    "set": "Lantern Archipelago",
}


@pytest.fixture(scope="module")
def painter() -> Painter:
    return Painter(Template.read("classic"))


@pytest.fixture(scope="module")
def art(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("art") / "green.png"
    Image.new("RGB", decks.ART_BOX, (10, 200, 30)).save(path)
    return path


# ------------------------------------------------------------------------------------------- the report


@pytest.mark.parametrize(
    ("value", "at_least", "at_most", "met"),
    [
        (2.5, 2.5, None, True),
        (2.49, 2.5, None, False),
        (1.2, None, 1.2, True),
        (1.21, None, 1.2, False),
        (1, None, None, None),
    ],
)
def test_a_figure_says_whether_its_target_is_met(
    value: float, at_least: float | None, at_most: float | None, met: bool | None
) -> None:
    figure = Figure("peer: ratio", value, at_least=at_least, at_most=at_most)
    assert figure.met is met
    assert json.loads(json.dumps(figure.as_dict())).get("met") is met
    line = table([figure])
    assert ("MISSED" in line, line.endswith("met")) == (met is False, met is True)


def test_the_work_folder_is_removed_and_asks_for_room() -> None:
    with work_folder() as folder:
        (folder / "card.png").write_bytes(b"png")
    assert not folder.exists()
    with pytest.raises(SystemExit, match="TMPDIR"), work_folder(10**18):
        pass


# ------------------------------------------------------------------------------------------- the deck


def test_every_card_has_an_id_and_a_name_of_its_own() -> None:
    sample = decks.sample_rows()
    rows = decks.rows(3 * len(sample), mark="a.") + decks.rows(len(sample), mark="b.")
    for column in ("id", "name"):
        assert len({row[column] for row in rows}) == len(rows)
    assert {row["art"] for row in rows} == {f"art/{row['id']}.png" for row in sample}
    deck = decks.of(decks.rows(200, art=False), Path())
    assert (len(deck.rows), deck.rejected) == (200, [])


# ------------------------------------------------------------------------------------------- the peer


def test_the_peer_draws_a_card_with_its_art_and_words(painter: Painter, art: Path) -> None:
    png = Image.open(io.BytesIO(painter.png(ROW, art)))
    assert (png.size, png.mode) == ((750, 1050), "RGB")
    assert png.getpixel((375, 365)) == (10, 200, 30)
    other = painter.draw({**ROW, "name": "Day Heron"}, art)
    changed = ImageChops.difference(png, other).getbbox()
    assert changed is not None
    left, top, right, bottom = changed  # the name stands in its box, and nothing else depends on it
    assert left >= 60 and top >= 44 and right < 500 and bottom <= 118


@pytest.mark.parametrize("column", ["type", "cost", "rarity", "text", "flavor", "power", "health", "set"])
def test_every_column_shows(painter: Painter, art: Path, column: str) -> None:
    without = {key: value for key, value in ROW.items() if key != column}
    assert ImageChops.difference(painter.draw(ROW, art), painter.draw(without, art)).getbbox()


def test_a_long_name_stays_left_of_the_cost(painter: Painter, art: Path) -> None:
    def right_of_the_name(name: str) -> Image.Image:
        return painter.draw({**ROW, "name": name}, art).crop((590, 44, 708, 118))

    same = ImageChops.difference(right_of_the_name("A"), right_of_the_name("The Heron of All Nights " * 2))
    assert same.getbbox() is None


def test_characters_come_from_the_first_font_that_has_them() -> None:
    template = Template.read("classic")
    fonts = Fonts(json.loads(template.bundle()), template.files())
    body = fonts.face("body", False, False)
    runs = fonts.runs("Cat 猫!", "body", False, False)
    assert [(run.text, run.face is body) for run in runs] == [("Cat ", True), ("猫", False), ("!", True)]
    assert runs[1].width > 0.5


def test_an_outline_that_runs_the_other_way_is_a_hole() -> None:
    square, hole = "M0 0 L100 0 L100 100 L0 100 Z", "M25 25 L25 75 L75 75 L75 25 Z"
    mask = paint.polygons(paint.outlines_of(square + hole))
    assert (mask.pixels[10, 10], mask.pixels[50, 50]) == (1, 0)
    assert mask.pixels.mean() == pytest.approx(0.75, abs=0.02)


def test_arcs_and_curves_end_where_they_should() -> None:
    (outline,) = paint.outlines_of("M50 30 A20 20 0 1 1 49.9 30 Z")
    assert outline[-1] == pytest.approx((49.9, 30))
    assert max(y for _, y in outline) == pytest.approx(70, abs=0.1)
    (curve,) = paint.outlines_of("M0 0 C0 10 10 10 10 0 Z")
    assert max(y for _, y in curve) == pytest.approx(7.5)
    assert curve[-1] == (10, 0)


def test_the_difference_of_two_sides_is_a_mean_over_pixels(tmp_path: Path) -> None:
    rows = [{"id": "a"}, {"id": "b"}]
    for side, colors in (("kit/cards", (0, 10)), ("peer", (0, 30))):
        (tmp_path / side).mkdir(parents=True)
        for row, color in zip(rows, colors, strict=True):
            Image.new("RGB", (4, 4), (color, color, color)).save(tmp_path / side / f"{row['id']}.png")
    assert peer.difference(tmp_path, rows) == pytest.approx(10)
    peer.side_by_side(tmp_path, rows, tmp_path / "pictures")
    with Image.open(tmp_path / "pictures" / "0.png") as sheet:
        assert sheet.size == (12, 4)
