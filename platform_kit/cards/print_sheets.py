"""Cards as a PDF to print and cut: exact size, cut marks, nine on a page.

A card's PNG goes into the PDF as it is: its compressed pixels are copied, not encoded again, so that a
deck is written as fast as it is read. Pages are gathered in parts of limited size, so that memory
does not grow with the deck. The same cards give the same bytes.

    print_sheets([("ace", "output/ace.png")], "output/deck.pdf", paper="A4", title="Roots and Thorns")
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from platform_kit.cards.contact_sheet import draw_text, fit_text, text_width
from platform_kit.errors import UsageError
from platform_kit.reprs import clean, human_count

if TYPE_CHECKING:
    from pikepdf import Object, Page, Pdf

CardPicture = bytes | str | os.PathLike[str] | Callable[[], bytes]

PAPERS_MM = {"A4": (210.0, 297.0), "Letter": (215.9, 279.4)}
POKER_MM = (63.5, 88.9)
MAX_COPIES = 1000

_POINTS = 72 / 25.4
_MIN_MARGIN_MM = 5.0  # what most printers cannot reach
_MARK_OFFSET_MM, _MARK_LENGTH_MM = 1.0, 4.0
_PART_BYTES = 64 * 1024 * 1024
_FOOTER_POINTS = 6.0


@dataclass(frozen=True)
class PrintedSheets:
    """What was written: the file, its sheets of paper, its pages (backs count), its cards."""

    path: Path
    sheets: int
    pages: int
    cards: int

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        return f"{self.path}: {human_count(self.cards, 'card')} on {human_count(self.sheets, 'sheet')}"


@dataclass(frozen=True)
class Layout:
    """Where the cards of a page are; millimetres from its lower left corner, upwards as in PDF."""

    page_mm: tuple[float, float]
    card_mm: tuple[float, float]
    gap_mm: float
    columns: int
    rows: int

    @classmethod
    def fit(cls, paper: str, card_mm: tuple[float, float], gap_mm: float) -> Layout:
        """Return the layout with the most cards that fits the paper.

        Raises
        ------
        UsageError: the paper is unknown, a size makes no sense, or not one card fits.
        """
        page = PAPERS_MM.get(paper)
        if page is None:
            raise UsageError(f"paper={paper!r} is unknown.", hint=f"Choose {' or '.join(PAPERS_MM)}.")
        if not (len(card_mm) == 2 and min(card_mm) >= 10 and 0 <= gap_mm <= 50):
            raise UsageError(
                f"card_mm={card_mm!r}, gap_mm={gap_mm!r} is no layout.",
                hint="Give width and height of at least 10 mm, and a gap between 0 and 50 mm.",
            )
        columns, rows = (
            int((side - 2 * _MIN_MARGIN_MM + gap_mm + 1e-6) // (card + gap_mm))
            for side, card in zip(page, card_mm, strict=True)
        )
        if columns < 1 or rows < 1:
            raise UsageError(
                f"A card of {card_mm[0]:g} x {card_mm[1]:g} mm does not fit on {paper}.",
                hint=f"{paper} is {page[0]:g} x {page[1]:g} mm and needs a margin of {_MIN_MARGIN_MM:g} mm.",
            )
        return cls(page, card_mm, gap_mm, columns, rows)

    @property
    def margins_mm(self) -> tuple[float, float]:
        """The empty border: left and right, bottom and top."""
        counts = (self.columns, self.rows)
        x, y = (
            (self.page_mm[i] - counts[i] * self.card_mm[i] - (counts[i] - 1) * self.gap_mm) / 2
            for i in (0, 1)
        )
        return x, y

    @property
    def per_page(self) -> int:
        """Cards a page."""
        return self.columns * self.rows

    def place(self, index: int, *, back: bool = False) -> tuple[float, float]:
        """Return the lower left corner of a card, counted by rows from the top; a back is mirrored."""
        row, column = divmod(index, self.columns)
        if back:
            column = self.columns - 1 - column
        x, y = self.margins_mm
        return (
            x + column * (self.card_mm[0] + self.gap_mm),
            y + (self.rows - 1 - row) * (self.card_mm[1] + self.gap_mm),
        )

    def marks(self) -> Iterator[tuple[float, float, float, float]]:
        """Yield the cut marks as lines x0, y0, x1, y1: in the margins, a little off the cards."""
        margin_x, margin_y = self.margins_mm
        width, height = self.page_mm
        for column in range(self.columns):
            for x in {self.place(column)[0], self.place(column)[0] + self.card_mm[0]}:
                end = max(_MARK_OFFSET_MM + 1, min(_MARK_OFFSET_MM + _MARK_LENGTH_MM, margin_y))
                yield x, margin_y - _MARK_OFFSET_MM, x, margin_y - end
                yield x, height - margin_y + _MARK_OFFSET_MM, x, height - margin_y + end
        for row in range(self.rows):
            for y in {self.place(row * self.columns)[1], self.place(row * self.columns)[1] + self.card_mm[1]}:
                end = max(_MARK_OFFSET_MM + 1, min(_MARK_OFFSET_MM + _MARK_LENGTH_MM, margin_x))
                yield margin_x - _MARK_OFFSET_MM, y, margin_x - end, y
                yield width - margin_x + _MARK_OFFSET_MM, y, width - margin_x + end, y


def print_sheets(
    images: Iterable[tuple[str, CardPicture]],
    path: str | os.PathLike[str],
    *,
    paper: Literal["A4", "Letter"] = "A4",
    card_mm: tuple[float, float] = POKER_MM,
    gap_mm: float = 0.0,
    bleed_mm: float = 0.0,
    cut_marks: bool = True,
    copies: Mapping[str, int] | None = None,
    backs: CardPicture | Mapping[str, CardPicture] | None = None,
    title: str = "",
    on_card: Callable[[int], None] | None = None,
) -> PrintedSheets:
    """Write cards as printable pages and return what was written.

    Parameters
    ----------
    images: Id and picture of each card, in order: a path, PNG bytes, or a function that returns them. Read
        one at a time.
    path: The PDF to write; replaced in one step when all of it is there.
    paper: ``A4`` or ``Letter``.
    card_mm: Width and height of a cut card. A picture of another shape is centred in it.
    gap_mm: Space between cards.
    bleed_mm: How far the colour of a card's edge runs on around it, at most half the gap between cards.
    cut_marks: Whether to draw lines in the margins that say where to cut.
    copies: How often to print a card; 1 for the cards not named, 0 leaves one out.
    backs: A picture for the back of every card, or one by id. Each page is followed by its back, mirrored
        for printers that turn along the long edge.
    title: The deck's name, for the footer and the document's title.
    on_card: Called with 1 for every card placed, for a progress bar.

    Raises
    ------
    UsageError: the layout is impossible, there is no card, ``copies`` names a card that is not there,
        or a picture cannot be read.
    """
    layout = Layout.fit(paper, (float(card_mm[0]), float(card_mm[1])), float(gap_mm))
    if not 0 <= bleed_mm <= 10 or (gap_mm and bleed_mm > gap_mm / 2):
        raise UsageError(
            f"bleed_mm={bleed_mm!r} does not fit a gap of {gap_mm:g} mm.",
            hint="Give at most half the gap, or no gap at all to bleed around the whole block.",
        )
    if cut_marks and bleed_mm >= _MARK_OFFSET_MM + _MARK_LENGTH_MM:
        raise UsageError(f"bleed_mm={bleed_mm!r} would cover the cut marks.", hint="Give less than 5 mm.")
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    sheets = _Sheets(layout, float(bleed_mm), cut_marks, clean(title), paper)
    placed = 0
    with contextlib.closing(sheets):
        for card, front, back in _expand(images, copies, backs):
            sheets.add(card, front, back)
            placed += 1
            if on_card is not None:
                on_card(1)
        if not placed:
            raise UsageError("There is no card to print.", hint="Run the deck first; look at run.rejected.")
        count, pages = sheets.save(target)
    return PrintedSheets(target, count, pages, placed)


def _expand(
    images: Iterable[tuple[str, CardPicture]],
    copies: Mapping[str, int] | None,
    backs: CardPicture | Mapping[str, CardPicture] | None,
) -> Iterator[tuple[str, CardPicture, CardPicture | None]]:
    """Yield each card as often as it is printed, with its back."""
    wanted = dict(copies or {})
    for card, times in wanted.items():
        if isinstance(times, bool) or not isinstance(times, int) or not 0 <= times <= MAX_COPIES:
            raise UsageError(
                f"copies[{card!r}] is {times!r}.", hint=f"Give a whole number from 0 to {MAX_COPIES}."
            )
    unseen = set(wanted)
    for card, picture in images:
        unseen.discard(card)
        back = backs.get(card) if isinstance(backs, Mapping) else backs
        for _ in range(wanted.get(card, 1)):
            yield card, picture, back
    if unseen:
        raise UsageError(
            f"copies names {human_count(len(unseen), 'card')} that are not there, first {min(unseen)!r}.",
            hint="The keys are card ids.",
        )


# ----------------------------------------------------------------------------- pictures


@dataclass(frozen=True)
class _Pixels:
    """A picture as PDF wants it: compressed pixel rows, and how to read them."""

    data: bytes
    width: int
    height: int
    bits: int
    colours: int
    palette: bytes | None = None
    predictor: bool = True


def _load(card: str, picture: CardPicture) -> bytes:
    try:
        if callable(picture):
            return picture()
        return picture if isinstance(picture, bytes) else Path(picture).read_bytes()
    except OSError as error:
        raise UsageError(
            f"The picture of card {card!r} cannot be read: {error.strerror or error}.",
            hint="Run the deck again to render it.",
        ) from error


def _pixels(card: str, data: bytes) -> _Pixels:
    """Return the pixels of a picture, copied from the PNG where PDF can take them as they are."""
    try:
        return _copied(data) or _encoded(data)
    except (OSError, ValueError, SyntaxError, struct.error) as error:
        raise UsageError(
            f"The picture of card {card!r} is broken: {error}.", hint="Run the deck again to render it."
        ) from error


def _copied(data: bytes) -> _Pixels | None:
    """Take a PNG apart; None where it has to be decoded: transparent, interlaced, 16 bit, or no PNG."""
    if data[:8] != b"\x89PNG\r\n\x1a\n":
        return None
    width, height, bits, colour, _, _, interlaced = struct.unpack(">IIBBBBB", data[16:29])
    if interlaced or bits > 8 or colour not in (0, 2, 3):
        return None
    rows: list[bytes] = []
    palette: bytes | None = None
    at = 8
    while True:
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        body = data[at + 8 : at + 8 + length]
        if len(body) != length:
            raise ValueError("it ends too early")
        if kind == b"IDAT":
            if zlib.crc32(body, zlib.crc32(kind)) != int.from_bytes(data[at + 8 + length : at + 12 + length]):
                raise ValueError("its checksum is wrong")
            rows.append(body)
        elif kind == b"PLTE":
            palette = body
        elif kind == b"tRNS":
            return None
        elif kind == b"IEND":
            break
        at += 12 + length
    if not rows or (colour == 3 and not palette):
        raise ValueError("it has no pixels")
    return _Pixels(b"".join(rows), width, height, bits, 3 if colour == 2 else 1, palette)


def _encoded(data: bytes) -> _Pixels:
    """Decode a picture of any other kind, put it on white paper, and compress its rows."""
    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        rgba = image.convert("RGBA")
    paper = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
    paper.alpha_composite(rgba)
    flat = paper.convert("RGB")
    return _Pixels(zlib.compress(flat.tobytes(), 6), flat.width, flat.height, 8, 3, predictor=False)


def _edge_colour(data: bytes) -> tuple[float, float, float]:
    """Return the colour a card's edge mostly has, from 0 to 1."""
    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        flat = image.convert("RGB")
    width, height = flat.size
    middle = [(x, y) for x in (1, width - 2) for y in range(height // 4, height * 3 // 4, 7)]
    middle += [(x, y) for y in (1, height - 2) for x in range(width // 4, width * 3 // 4, 7)]
    colours: list[Any] = [flat.getpixel((max(0, x), max(0, y))) for x, y in middle] or [(255, 255, 255)]
    red, green, blue = (sorted(c[i] for c in colours)[len(colours) // 2] / 255 for i in range(3))
    return red, green, blue


# -------------------------------------------------------------------------------- pages


@dataclass
class _Part:
    """Pages on their way to the disk, and the pictures they share."""

    pdf: Pdf
    size: int = 0
    pictures: dict[str, tuple[Object, _Pixels]] = field(default_factory=dict)


class _Sheets:
    """Fills pages, puts full parts on disk, and joins them at the end."""

    def __init__(self, layout: Layout, bleed_mm: float, cut_marks: bool, title: str, paper: str) -> None:
        self.layout = layout
        self.bleed_mm = bleed_mm
        self.cut_marks = cut_marks
        self.title = title
        self.paper = paper
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._parts: list[Path] = []
        self._part: _Part | None = None
        self._waiting: list[tuple[str, bytes, bytes | None]] = []
        self._is_back: list[bool] = []

    def close(self) -> None:
        if self._part is not None:
            self._part.pdf.close()
            self._part = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def add(self, card: str, front: CardPicture, back: CardPicture | None) -> None:
        self._waiting.append((card, _load(card, front), None if back is None else _load(card, back)))
        if len(self._waiting) == self.layout.per_page:
            self._flush_page()

    def save(self, target: Path) -> tuple[int, int]:
        """Write the file; return the number of sheets and of pages."""
        import pikepdf

        if self._waiting:
            self._flush_page()
        stream = pikepdf.AccessMode.stream  # pixels are copied from file to file, not held
        with contextlib.ExitStack() as opened:
            if self._parts:
                self._flush_part()
                pdf = opened.enter_context(pikepdf.Pdf.open(self._joined(), access_mode=stream))
            else:
                assert self._part is not None
                pdf = self._part.pdf
            self._finish(pdf)
            handle, name = tempfile.mkstemp(prefix=".", suffix=".pdf.part", dir=target.parent)
            os.close(handle)
            try:
                pdf.save(
                    name,
                    deterministic_id=True,
                    stream_decode_level=pikepdf.StreamDecodeLevel.none,
                    object_stream_mode=pikepdf.ObjectStreamMode.generate,
                )
                os.chmod(name, 0o666 & ~_umask())
                os.replace(name, target)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        return self._is_back.count(False), len(self._is_back)

    # ---------------------------------------------------------------- inside

    def _flush_page(self) -> None:
        import pikepdf

        if self._part is None:
            self._part = _Part(pikepdf.Pdf.new())
        cards, self._waiting = self._waiting, []
        self._add_page(self._part, [(card, front) for card, front, _ in cards], back=False)
        if any(back is not None for _, _, back in cards):
            self._add_page(self._part, [(card, back) for card, _, back in cards], back=True)
        if self._part.size >= _PART_BYTES:
            self._flush_part()

    def _flush_part(self) -> None:
        import pikepdf

        if self._part is None:
            return
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="platform-kit-sheets-")
        path = Path(self._folder.name) / f"{len(self._parts):04d}.pdf"
        with self._part.pdf as pdf:
            pdf.save(path, static_id=True, stream_decode_level=pikepdf.StreamDecodeLevel.none)
        self._parts.append(path)
        self._part = None

    def _joined(self) -> Path:
        """Join the parts on disk. Pages copied from document to document would all be held in memory."""
        import pikepdf

        assert self._folder is not None
        joined = Path(self._folder.name) / "joined.pdf"
        parts = [str(part) for part in self._parts]
        pikepdf.Job(
            ["qpdf", "--empty", "--static-id", "--decode-level=none", "--pages", *parts, "--", str(joined)]
        ).run()
        for part in self._parts:
            part.unlink()
        return joined

    def _add_page(self, part: _Part, cards: list[tuple[str, bytes | None]], *, back: bool) -> None:
        from pikepdf import Dictionary, Stream

        page = part.pdf.add_blank_page(
            page_size=(self.layout.page_mm[0] * _POINTS, self.layout.page_mm[1] * _POINTS)
        )
        underneath: list[str] = []
        drawing: list[str] = []
        names = Dictionary()
        for index, (card, data) in enumerate(cards):
            if data is None:
                continue
            picture, pixels = self._picture(part, card, data)
            names[f"/Card{index}"] = picture
            x, y = self.layout.place(index, back=back)
            width, height = self.layout.card_mm
            if self.bleed_mm:
                colour = " ".join(f"{value:.3f}" for value in _edge_colour(data))
                bleed = self.bleed_mm
                box = _points(x - bleed, y - bleed, width + 2 * bleed, height + 2 * bleed)
                underneath.append(f"{colour} rg {box} re f")
            w, h = _inside(pixels.width / pixels.height, width, height)
            size, at = _points(w, h).split(), _points(x + (width - w) / 2, y + (height - h) / 2)
            drawing.append(f"q {size[0]} 0 0 {size[1]} {at} cm /Card{index} Do Q")
        if self.cut_marks and not back:
            drawing.append("q 0.25 w 0.35 G")
            offset = self.bleed_mm and self.bleed_mm + 0.3 - _MARK_OFFSET_MM
            for line in self.layout.marks():
                x0, y0, x1, y1 = _shortened(line, max(0.0, offset))
                drawing.append(f"{_points(x0, y0)} m {_points(x1, y1)} l S")
            drawing.append("Q")
        page.obj.Resources = Dictionary(XObject=names)
        page.obj.Contents = Stream(part.pdf, "\n".join(underneath + drawing).encode("ascii"))
        self._is_back.append(back)

    def _picture(self, part: _Part, card: str, data: bytes) -> tuple[Object, _Pixels]:
        from pikepdf import Array, Dictionary, Name, Stream, String

        digest = hashlib.sha256(data).hexdigest()
        if digest in part.pictures:
            return part.pictures[digest]
        pixels = _pixels(card, data)
        space: Any = Name.DeviceRGB if pixels.colours == 3 else Name.DeviceGray
        if pixels.palette is not None:
            last = len(pixels.palette) // 3 - 1
            space = Array([Name.Indexed, Name.DeviceRGB, last, String(pixels.palette)])
        stream = Stream(part.pdf, pixels.data)
        stream.stream_dict = Dictionary(
            Type=Name.XObject,
            Subtype=Name.Image,
            Width=pixels.width,
            Height=pixels.height,
            BitsPerComponent=pixels.bits,
            ColorSpace=space,
            Filter=Name.FlateDecode,
            Interpolate=True,
        )
        if pixels.predictor:
            stream.stream_dict.DecodeParms = Dictionary(
                Predictor=15, Colors=pixels.colours, BitsPerComponent=pixels.bits, Columns=pixels.width
            )
        part.size += len(pixels.data)
        part.pictures[digest] = (part.pdf.make_indirect(stream), pixels)
        return part.pictures[digest]

    def _finish(self, pdf: Pdf) -> None:
        """Add what is known only at the end: footers with the number of sheets, and the title."""
        from pikepdf import Dictionary, Name, Stream, String

        font = pdf.make_indirect(
            Dictionary(
                Type=Name.Font, Subtype=Name.Type1, BaseFont=Name.Helvetica, Encoding=Name.WinAnsiEncoding
            )
        )
        sheets = self._is_back.count(False)
        room_mm = self.layout.card_mm[0] - 4
        title_picture, title_points = self._title_picture(pdf, room_mm * _POINTS)
        number = 0
        for page, back in zip(pdf.pages, self._is_back, strict=True):
            number += not back
            place = f"page {number:,} of {sheets:,}" + (", back" if back else "")
            self._add_footer(page, font, place, title_picture, title_points)
            page.obj.Contents.append(Stream(pdf, self._footer(place, title_points).encode("cp1252")))
        pdf.Root.ViewerPreferences = Dictionary(PrintScaling=Name("/None"), DisplayDocTitle=True)
        if True in self._is_back:
            pdf.Root.ViewerPreferences.Duplex = Name.DuplexFlipLongEdge
        pdf.docinfo[Name.Title] = String(self.title or "Cards")
        pdf.docinfo[Name.Producer] = String("platform_kit")

    def _add_footer(
        self,
        page: Page,
        font: Object,
        place: str,
        picture: Object | None,
        points: tuple[float, float],
    ) -> None:
        from pikepdf import Array, Dictionary

        page.obj.Resources.Font = Dictionary(Small=font)
        if picture is not None:
            page.obj.Resources.XObject["/Title"] = picture
        page.obj.Contents = Array([page.obj.Contents])

    def _footer(self, place: str, title_points: tuple[float, float]) -> str:
        """Return the drawing of the footer: the title under the first card, the page under the last."""
        margin_x, margin_y = self.layout.margins_mm
        base = max(2.2, margin_y / 2 - 1) * _POINTS
        left = (margin_x + 2) * _POINTS
        right = (self.layout.page_mm[0] - margin_x - 2) * _POINTS
        scale = f"print at 100 %, {self.layout.card_mm[0]:g} x {self.layout.card_mm[1]:g} mm"
        one_column = self.layout.columns == 1
        place = place if one_column else f"{place}  \u00b7  {scale}"
        start = right - _helvetica_width(place) * _FOOTER_POINTS
        lines = ["q 0.35 g"]
        width, height = title_points
        if one_column and width + _helvetica_width(place) * _FOOTER_POINTS > right - left - 6:
            width = 0.0
        if width and height:
            lines.append(
                f"q {width:.3f} 0 0 {height:.3f} {left:.3f} {base - height * 0.25:.3f} cm /Title Do Q"
            )
        elif width:
            lines.append(self._words(left, base, self._short_title((right - left) / _FOOTER_POINTS / 3)))
        lines.append(self._words(start, base, place))
        return "\n".join([*lines, "Q"])

    def _words(self, x: float, y: float, text: str) -> str:
        safe = text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")
        return f"BT /Small {_FOOTER_POINTS:g} Tf {x:.3f} {y:.3f} Td ({safe}) Tj ET"

    def _short_title(self, ems: float) -> str:
        text = self.title
        while text and _helvetica_width(text) > ems:
            text = text[:-2].rstrip() + "\u2026" if len(text) > 2 else ""
        return text

    def _title_picture(self, pdf: Pdf, room: float) -> tuple[Object | None, tuple[float, float]]:
        """Return the title drawn as a picture where PDF's own fonts lack its letters, and its size.

        A height of zero means that it can be written; a width of zero that there is no title.
        """
        from pikepdf import Dictionary, Name, Stream
        from PIL import Image

        if not self.title:
            return None, (0.0, 0.0)
        with contextlib.suppress(UnicodeEncodeError):
            self.title.encode("cp1252")
            return None, (_helvetica_width(self.title) * _FOOTER_POINTS, 0.0)
        size = 60  # pixels for the letters' height: ten a point
        text = fit_text(self.title, size, round(room * size / _FOOTER_POINTS))
        image = Image.new("L", (max(1, text_width(text, size)), round(size * 1.4)), 255)
        draw_text(image, (0, 0), text, size, 90)
        stream = Stream(pdf, zlib.compress(image.tobytes(), 9))
        stream.stream_dict = Dictionary(
            Type=Name.XObject,
            Subtype=Name.Image,
            Width=image.width,
            Height=image.height,
            BitsPerComponent=8,
            ColorSpace=Name.DeviceGray,
            Filter=Name.FlateDecode,
        )
        scale = _FOOTER_POINTS / size
        return pdf.make_indirect(stream), (image.width * scale, image.height * scale)


def _points(*millimetres: float) -> str:
    return " ".join(f"{value * _POINTS:.4f}" for value in millimetres)


def _inside(ratio: float, width: float, height: float) -> tuple[float, float]:
    """Return the size of a picture inside a card; one that differs by a pixel or two fills it."""
    if abs(ratio / (width / height) - 1) < 0.01:
        return width, height
    return (width, width / ratio) if ratio > width / height else (height * ratio, height)


def _shortened(line: tuple[float, float, float, float], by: float) -> tuple[float, float, float, float]:
    """Move the start of a mark away from the card."""
    x0, y0, x1, y1 = line
    along_x = (x1 > x0) - (x1 < x0)
    along_y = (y1 > y0) - (y1 < y0)
    return x0 + along_x * by, y0 + along_y * by, x1, y1


def _helvetica_width(text: str) -> float:
    """Return a line's width in multiples of the letters' size, a little generous."""
    narrow, wide = "iljtfrI.,:;'|!()[] \u00b7", "mwMW@%\u2026"
    return sum(0.3 if char in narrow else 0.9 if char in wide else 0.58 for char in text)


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
