"""Print sheets: the PDF is read back, because millimetres are what it is for."""

from __future__ import annotations

import io
import math
import random
import re
import tempfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pikepdf
import pytest
from PIL import Image

from platform_kit.cards import print_sheets as module
from platform_kit.cards.print_sheets import PAPERS_MM, POKER_MM, Layout, print_sheets
from platform_kit.errors import UsageError

POINTS = 72 / 25.4
NUMBER = r"-?\d+(?:\.\d+)?"


def stored_image(stream: Any) -> pikepdf.PdfImage:
    return pikepdf.PdfImage(stream)


def card(seed: int = 0, size: tuple[int, int] = (50, 70), mode: str = "RGB", kind: str = "PNG") -> bytes:
    noise = Image.frombytes("RGB", size, random.Random(seed).randbytes(size[0] * size[1] * 3))
    image = noise.quantize(16) if mode == "P" else noise.convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def deck(count: int) -> list[tuple[str, bytes]]:
    return [(f"card-{number}", card(number)) for number in range(count)]


def content(page: pikepdf.Page) -> str:
    parts = page.obj.Contents
    streams = list(parts) if isinstance(parts, pikepdf.Array) else [parts]
    return "\n".join(stream.read_bytes().decode("cp1252") for stream in streams)


def boxes_mm(page: pikepdf.Page) -> dict[int, tuple[float, float, float, float]]:
    """Place of each card: left, bottom, width, height."""
    found = re.findall(
        rf"q ({NUMBER}) 0 0 ({NUMBER}) ({NUMBER}) ({NUMBER}) cm /Card(\d+) Do Q", content(page)
    )
    return {int(n): (float(x) / POINTS, float(y) / POINTS, float(w) / POINTS, float(h) / POINTS)
            for w, h, x, y, n in found}  # fmt: skip


def lines_mm(page: pikepdf.Page) -> list[tuple[float, ...]]:
    found = re.findall(rf"({NUMBER}) ({NUMBER}) m ({NUMBER}) ({NUMBER}) l S", content(page))
    return [tuple(float(value) / POINTS for value in line) for line in found]


@pytest.mark.parametrize("paper", ["A4", "Letter"])
def test_nine_cards_a_page_at_their_exact_size(tmp_path: Path, paper: str) -> None:
    done = print_sheets(deck(20), tmp_path / "d.pdf", paper=paper, title="Deck")  # type: ignore[arg-type]
    assert (done.sheets, done.pages, done.cards) == (3, 3, 20)
    with pikepdf.Pdf.open(done.path) as pdf:
        assert [len(boxes_mm(page)) for page in pdf.pages] == [9, 9, 2]
        for page in pdf.pages:
            size = [float(value) / POINTS for value in page.mediabox]
            assert size == pytest.approx([0, 0, *PAPERS_MM[paper]], abs=0.001)
            for x, y, width, height in boxes_mm(page).values():
                assert (width, height) == pytest.approx(POKER_MM, abs=0.001)
                assert x >= 5 and y >= 5 and x + width <= size[2] - 5 and y + height <= size[3] - 5
        first = boxes_mm(pdf.pages[0])
        # Row by row from the top, edge to edge, in the middle of the paper.
        assert first[1][0] - first[0][0] == pytest.approx(POKER_MM[0], abs=0.001)
        assert first[0][1] - first[3][1] == pytest.approx(POKER_MM[1], abs=0.001)
        assert first[0][0] == pytest.approx(PAPERS_MM[paper][0] - first[2][0] - POKER_MM[0], abs=0.001)
        assert first[0][1] > first[8][1]


@pytest.mark.parametrize(("gap", "bleed"), [(0, 0), (2, 0), (2, 1), (0, 3), (6, 3)])
@pytest.mark.parametrize("paper", ["A4", "Letter"])
def test_cut_marks_point_at_the_edges_and_touch_no_card(
    tmp_path: Path, paper: str, gap: float, bleed: float
) -> None:
    print_sheets(deck(9), tmp_path / "d.pdf", paper=paper, gap_mm=gap, bleed_mm=bleed)  # type: ignore[arg-type]
    with pikepdf.Pdf.open(tmp_path / "d.pdf") as pdf:
        page = pdf.pages[0]
        boxes = list(boxes_mm(page).values())
        edges_x = {round(edge, 2) for x, _, w, _ in boxes for edge in (x, x + w)}
        edges_y = {round(edge, 2) for _, y, _, h in boxes for edge in (y, y + h)}
        lines = lines_mm(page)
        assert lines
        for x0, y0, x1, y1 in lines:
            upright = abs(x0 - x1) < 1e-6
            assert round(x0, 2) in edges_x if upright else round(y0, 2) in edges_y
            assert math.hypot(x1 - x0, y1 - y0) > 0.5
            for x, y, w, h in boxes:
                apart = max(
                    x - bleed - max(x0, x1), min(x0, x1) - x - w - bleed,
                    y - bleed - max(y0, y1), min(y0, y1) - y - h - bleed,
                )  # fmt: skip
                assert apart > 0.2, "a mark touches a card"
            assert all(0 <= value <= 297 for value in (x0, y0, x1, y1))
        marked = {round(x0, 2) for x0, _, x1, _ in lines if abs(x0 - x1) < 1e-6}
        assert marked == edges_x, "every edge is marked"


def test_no_cut_marks_when_not_wanted(tmp_path: Path) -> None:
    print_sheets(deck(1), tmp_path / "d.pdf", cut_marks=False)
    with pikepdf.Pdf.open(tmp_path / "d.pdf") as pdf:
        assert lines_mm(pdf.pages[0]) == []


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1", "RGBA", "LA", "I;16"])
@pytest.mark.parametrize("kind", ["PNG"])
def test_pixels_survive(tmp_path: Path, mode: str, kind: str) -> None:
    data = card(5, mode=mode, kind=kind)
    print_sheets([("a", data)], tmp_path / "d.pdf")
    with pikepdf.Pdf.open(tmp_path / "d.pdf") as pdf:
        stored = stored_image(pdf.pages[0].obj.Resources.XObject["/Card0"]).as_pil_image().convert("RGB")
    with Image.open(io.BytesIO(data)) as image:
        assert stored.tobytes() == image.convert("RGBA").convert("RGB").tobytes()


def test_compressed_pixels_are_copied_not_encoded_again(tmp_path: Path) -> None:
    data = card(5)
    start = data.index(b"IDAT") + 4
    idat = data[start : start + int.from_bytes(data[start - 8 : start - 4])]
    print_sheets([("a", data)], tmp_path / "d.pdf")
    assert idat in (tmp_path / "d.pdf").read_bytes()


def test_a_transparent_card_lies_on_white_paper(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGBA", (50, 70), (200, 0, 0, 0)).save(buffer, "PNG")
    print_sheets([("a", buffer.getvalue())], tmp_path / "d.pdf")
    with pikepdf.Pdf.open(tmp_path / "d.pdf") as pdf:
        image = stored_image(pdf.pages[0].obj.Resources.XObject["/Card0"]).as_pil_image()
    assert image.convert("RGB").getpixel((20, 20)) == (255, 255, 255)


def test_jpeg_is_taken_too(tmp_path: Path) -> None:
    assert print_sheets([("a", card(kind="JPEG"))], tmp_path / "d.pdf").cards == 1


def test_another_shape_is_centred_not_stretched(tmp_path: Path) -> None:
    print_sheets([("a", card(size=(100, 50)))], tmp_path / "d.pdf")
    with pikepdf.Pdf.open(tmp_path / "d.pdf") as pdf:
        _, y, width, height = boxes_mm(pdf.pages[0])[0]
    corner = Layout.fit("A4", POKER_MM, 0).place(0)
    assert (width, height) == pytest.approx((63.5, 31.75), abs=0.01)
    assert y - corner[1] == pytest.approx((88.9 - 31.75) / 2, abs=0.01)


def test_the_same_cards_give_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        print_sheets(deck(12), tmp_path / f"{name}.pdf", title="Deck", backs=card(99))
    assert (tmp_path / "a.pdf").read_bytes() == (tmp_path / "b.pdf").read_bytes()
    monkeypatch.setattr(module, "_PART_BYTES", 1)
    for name in ("c", "d"):
        print_sheets(deck(30), tmp_path / f"{name}.pdf", title="Deck")
    assert (tmp_path / "c.pdf").read_bytes() == (tmp_path / "d.pdf").read_bytes()


def test_a_deck_in_parts_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PART_BYTES", 30_000)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    cards = deck(50)
    done = print_sheets(iter(cards), tmp_path / "d.pdf", title="Deck")
    assert list((tmp_path / "scratch").iterdir()) == [], "no folder is left"
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["d.pdf"]
    with pikepdf.Pdf.open(done.path) as pdf:
        assert len(pdf.pages) == 6
        for number, page in enumerate(pdf.pages):
            assert f"page {number + 1} of 6" in content(page) and "(Deck)" in content(page)
            for index in boxes_mm(page):
                stored = stored_image(page.obj.Resources.XObject[f"/Card{index}"]).as_pil_image()
                with Image.open(io.BytesIO(cards[number * 9 + index][1])) as image:
                    assert stored.tobytes() == image.tobytes()


def test_pictures_are_loaded_page_by_page(tmp_path: Path) -> None:
    """At most a page of cards is asked for before it is drawn."""
    alive: list[int] = []

    def cards() -> Iterator[tuple[str, Callable[[], bytes]]]:
        for number in range(30):
            alive.append(number)
            yield f"{number}", partial(card, number)

    seen: list[int] = []
    print_sheets(cards(), tmp_path / "d.pdf", on_card=lambda count: seen.append(len(alive)))
    assert seen == list(range(1, 31))


def test_copies(tmp_path: Path) -> None:
    done = print_sheets(deck(4), tmp_path / "d.pdf", copies={"card-0": 3, "card-2": 0})
    assert done.cards == 5
    with pikepdf.Pdf.open(done.path) as pdf:
        pictures = pdf.pages[0].obj.Resources.XObject
        assert pictures["/Card0"].objgen == pictures["/Card2"].objgen, "one picture, three places"
        assert pictures["/Card3"].objgen != pictures["/Card0"].objgen


@pytest.mark.parametrize("copies", [{"card-0": -1}, {"card-0": 1.5}, {"card-0": 10**9}, {"nobody": 2}])
def test_impossible_copies_write_nothing(tmp_path: Path, copies: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="copies"):
        print_sheets(deck(2), tmp_path / "d.pdf", copies=copies)
    assert list(tmp_path.iterdir()) == []


def test_backs_lie_behind_their_cards(tmp_path: Path) -> None:
    backs = {f"card-{number}": card(100 + number) for number in range(4) if number != 2}
    done = print_sheets(deck(4), tmp_path / "d.pdf", backs=backs, title="Deck")
    assert (done.sheets, done.pages) == (1, 2)
    with pikepdf.Pdf.open(done.path) as pdf:
        front, back = (boxes_mm(page) for page in pdf.pages)
        assert set(back) == {0, 1, 3}, "a card without a back leaves its place empty"
        for index, (x, y, width, _) in back.items():
            assert x == pytest.approx(210 - front[index][0] - width, abs=0.001)
            assert y == pytest.approx(front[index][1], abs=0.001)
        assert "page 1 of 1, back" in content(pdf.pages[1])
        assert pdf.Root.ViewerPreferences.Duplex == "/DuplexFlipLongEdge"


def test_the_document_asks_not_to_be_scaled(tmp_path: Path) -> None:
    print_sheets(deck(1), tmp_path / "d.pdf", title="Wald & Dörfer (2)")
    with pikepdf.Pdf.open(tmp_path / "d.pdf") as pdf:
        assert pdf.Root.ViewerPreferences.PrintScaling == "/None"
        assert str(pdf.docinfo["/Title"]) == "Wald & Dörfer (2)"
        assert r"(Wald & Dörfer \(2\))" in content(pdf.pages[0])
        assert not pdf.check_pdf_syntax()


@pytest.mark.parametrize("title", ["竜の騎士", "Ελλάδα", "x" * 3000, "a)\\ Tj ET (", "\x00\n\ud800", "🐉"])
def test_any_title_makes_a_sound_document(tmp_path: Path, title: str) -> None:
    print_sheets(deck(1), tmp_path / "d.pdf", title=title)
    with pikepdf.Pdf.open(tmp_path / "d.pdf") as pdf:
        assert not pdf.check_pdf_syntax()
        operators = [str(item.operator) for item in pikepdf.parse_content_stream(pdf.pages[0])]
        assert operators.count("Tj") in (1, 2) and operators.count("BT") == operators.count("ET")


def damaged() -> list[bytes]:
    good = card(1)
    at = good.index(b"IDAT") + 20
    return [b"", b"no picture", good[:-30], good[:40], good[:at] + b"\0\0\0\0" + good[at + 4 :], good[:8]]


@pytest.mark.parametrize("data", damaged(), ids=["empty", "text", "cut", "head", "flipped", "magic"])
def test_a_broken_picture_names_its_card_and_keeps_the_old_file(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "d.pdf").write_bytes(b"old")
    with pytest.raises(UsageError, match="card 'bad'"):
        print_sheets([*deck(1), ("bad", data)], tmp_path / "d.pdf")
    assert (tmp_path / "d.pdf").read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1


def test_a_missing_file_names_its_card(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="card 'gone' cannot be read"):
        print_sheets([("gone", tmp_path / "gone.png")], tmp_path / "d.pdf")


@pytest.mark.parametrize(
    "wrong",
    [
        {"paper": "A9"},
        {"card_mm": (300, 400)},
        {"card_mm": (0, 10)},
        {"gap_mm": -1},
        {"gap_mm": 2, "bleed_mm": 1.5},
        {"bleed_mm": 9},
        {"bleed_mm": float("nan")},
    ],
)
def test_impossible_layouts_are_refused(tmp_path: Path, wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        print_sheets(deck(1), tmp_path / "d.pdf", **wrong)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_no_card_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no card"):
        print_sheets([], tmp_path / "d.pdf")


def test_bleed_has_the_colour_of_the_edge(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (50, 70), (255, 0, 51)).save(buffer, "PNG")
    print_sheets([("a", buffer.getvalue())], tmp_path / "d.pdf", bleed_mm=2)
    with pikepdf.Pdf.open(tmp_path / "d.pdf") as pdf:
        found = re.search(rf"1.000 0.000 0.200 rg ({NUMBER}) ({NUMBER}) ({NUMBER}) ({NUMBER}) re f",
                          content(pdf.pages[0]))  # fmt: skip
    assert found is not None
    assert float(found[3]) / POINTS == pytest.approx(67.5, abs=0.001)


def test_zlib_is_what_png_and_pdf_share() -> None:
    """The copy rests on this: IDAT is one zlib stream with a filter byte a row, PDF's predictor 15."""
    pixels = module._copied(card(3))
    assert pixels is not None
    assert len(zlib.decompress(pixels.data)) == pixels.height * (pixels.width * pixels.colours + 1)
