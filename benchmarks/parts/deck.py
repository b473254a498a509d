"""The deck the benchmarks render: the sample deck again and again, every card with words of its own."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageChops, ImageOps

from platform_kit import Deck

if TYPE_CHECKING:
    from platform_kit import Platform

SAMPLE = Path(__file__).absolute().parents[2] / "notebooks" / "data" / "deck.csv"
ART_BOX = (642, 474)
"""The art box of the template ``classic`` in pixels, and where its art is cut if the shape differs."""

# The art alone, as the template ``classic`` would draw it.
ART_TEMPLATE = f"""
name: art
size: {{width: {ART_BOX[0]}, height: {ART_BOX[1]}, dpi: 300}}
layers:
  - kind: art
    box: [0, 0, {ART_BOX[0]}, {ART_BOX[1]}]
    fit: cover
    position: [0.5, 0.4]
    palette: ["#000000", "#555555", "#aaaaaa", "#ffffff"]
"""


def sample_rows() -> list[dict[str, str]]:
    """The rows of the sample deck."""
    with SAMPLE.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def draw_art(platform: Platform, folder: Path) -> None:
    """Make ``folder/art/ID.png`` of each card's art: what every side of a comparison gets.

    Pillow reads no SVG, so the kit's own renderer draws the pictures beforehand, in the size of the art box.
    """
    template = folder / "art.yaml"
    template.write_text(ART_TEMPLATE, encoding="utf-8")
    run = platform.generate(Deck.read(SAMPLE), template, out=folder / "drawn", progress=False)
    assert run.rejected.empty, run.rejected
    (folder / "art").mkdir()
    for outcome in run.outcomes:
        assert outcome.file is not None and outcome.id is not None
        outcome.file.rename(folder / "art" / f"{outcome.id}.png")


def vary_art(folder: Path, cards: int) -> None:
    """Make a picture of its own for each of so many cards, out of those of :func:`draw_art`."""
    pictures = [Image.open(folder / "art" / f"{row['id']}.png").convert("RGB") for row in sample_rows()]
    (folder / "new").mkdir()
    for number in range(cards):
        turn, picture = number // len(pictures), pictures[number % len(pictures)]
        channels = picture.split()
        picture = Image.merge("RGB", channels[turn % 3 :] + channels[: turn % 3])
        if turn // 3 % 2:
            picture = ImageOps.mirror(picture)
        picture = ImageChops.offset(picture, turn // 6)
        picture.save(folder / "new" / f"{number}.png", compress_level=1)


def rows(cards: int, *, art: bool = True, mark: str = "", new: bool = False) -> list[dict[str, str]]:
    """So many cards: each row of the sample deck in turn, with an id, a name and a text of its own.

    ``mark`` makes them differ from those of other decks. Art is that of :func:`draw_art`, which comes again
    every 75 cards, or with ``new`` that of :func:`vary_art`.
    """
    sample, made = sample_rows(), []
    for number in range(cards):
        row = dict(sample[number % len(sample)])
        picture = (f"new/{number}.png" if new else f"art/{row['id']}.png") if art else ""
        row.update(
            id=f"{row['id']}-{mark}{number}",
            name=f"{row['name']} {mark}{number}",
            # Ahead of the rest, so that every line is another one.
            text=f"{mark}{number}: {row['text']}",
            flavor=f"{mark}{number}: {row['flavor']}" if row["flavor"] else "",
            art=picture,
        )
        made.append(row)
    return made


def of(rows: list[dict[str, str]], folder: Path) -> Deck:
    """A deck of these rows, whose art is in ``folder``."""
    return Deck(rows, base_dir=folder)
