"""Setting text as the templates want it: fallback fonts, wrapping, shrinking to fit, words kept as masks.

Lengths are measured once in em, so that trying a size costs additions only, and a word that was drawn at some
size is kept as a mask and pasted from then on.
"""

from __future__ import annotations

import functools
import io
import itertools
import math
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fontTools.ttLib import TTFont
from PIL import Image, ImageDraw, ImageFont

EM = 1000
"""Pixels an em at which widths are measured; at that size hinting rounds nothing that matters."""

FEATURES = ["lnum"]  # figures as high as capitals

ASCENT, DESCENT = 0.74, 0.24
SYMBOL_WIDTH = 0.92
PLACES = 4
"""Positions between two pixels a word is kept at, and how many times larger it is drawn at first."""


class Face:
    """One font file at every size."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        font = TTFont(io.BytesIO(data), lazy=True)
        self.characters = frozenset(font.getBestCmap())
        self.capital: float = font["OS/2"].sCapHeight / font["head"].unitsPerEm
        self.at = functools.lru_cache(maxsize=256)(self._at)
        self.width = functools.lru_cache(maxsize=20_000)(self._width)
        self.mask = functools.lru_cache(maxsize=4_000)(self._mask)

    def _at(self, size: float) -> ImageFont.FreeTypeFont:
        return ImageFont.truetype(io.BytesIO(self._data), size)

    def _width(self, text: str) -> float:
        """In em."""
        return self.at(EM).getlength(text, features=FEATURES) / EM

    def _mask(self, text: str, size: float, place: int, ink: int) -> tuple[Image.Image, int, int] | None:
        """Coverage of a word that begins ``place`` quarters of a pixel right of a whole one, up to ``ink``.

        Drawn larger and reduced: letters then stand where the layout has them, not at whole pixels.
        """
        font = self.at(size * PLACES)
        left, top, right, bottom = font.getbbox(text, anchor="ls", features=FEATURES)
        if right <= left or bottom <= top:
            return None
        left, top = math.floor(left / PLACES) - 1, math.floor(top / PLACES) - 1
        width, height = math.ceil(right / PLACES) - left + 2, math.ceil(bottom / PLACES) - top + 1
        image = Image.new("L", (width * PLACES, height * PLACES))
        pen = (place - left * PLACES, -top * PLACES)
        ImageDraw.Draw(image).text(pen, text, ink, font, anchor="ls", features=FEATURES)
        return image.reduce(PLACES), left, top


class Fonts:
    """The families of a template and what stands in for characters they have not."""

    def __init__(self, bundle: Mapping[str, Any], files: Mapping[str, bytes]) -> None:
        faces = functools.lru_cache(maxsize=None)(lambda digest: Face(files[digest]))
        self._families = {
            name: {style: faces(digest) for style, digest in styles.items()}
            for name, styles in bundle["fonts"].items()
        }
        self._fallback = [faces(digest) for digest in bundle["fallback"]]
        self.runs = functools.lru_cache(maxsize=20_000)(self._runs)

    def face(self, family: str, bold: bool, italic: bool) -> Face:
        """The face of a style, or the nearest there is."""
        styles = self._families[family]
        names = {
            (True, True): ("bold_italic", "bold", "italic"),
            (True, False): ("bold",),
            (False, True): ("italic",),
            (False, False): (),
        }
        return next(styles[name] for name in (*names[bold, italic], "regular") if name in styles)

    def _runs(self, text: str, family: str, bold: bool, italic: bool) -> tuple[Run, ...]:
        own = self.face(family, bold, italic)
        if own.characters.issuperset(map(ord, text)):  # nearly always
            return (Run(own, text, 1.0, own.width(text)),)
        runs = []
        for face, characters in itertools.groupby(text, lambda one: self._holding(own, one)):
            piece = "".join(characters)
            scale = 1.0 if face is own else min(max(own.capital / face.capital, 0.88), 1.1)
            runs.append(Run(face, piece, scale, face.width(piece) * scale))
        return tuple(runs)

    def _holding(self, own: Face, character: str) -> Face:
        return next((face for face in (own, *self._fallback) if ord(character) in face.characters), own)


@dataclass(frozen=True)
class Run:
    """Text in one face; ``scale`` makes a fallback face match the text around it, ``width`` is in em."""

    face: Face
    text: str
    scale: float
    width: float


@dataclass(frozen=True)
class Atom:
    """What a line is made of: text that is not broken, or a symbol. Lengths are in em."""

    runs: tuple[Run, ...]
    symbol: str | None
    width: float
    space: float
    breaks: bool


@dataclass
class Paragraph:
    """Text between two line ends; ``gap`` is the space before it in em."""

    atoms: list[Atom]
    part: Mapping[str, Any]
    gap: float = 0.0
    divider: str | None = None


@dataclass
class Line:
    """A set line, its width in em."""

    paragraph: Paragraph
    atoms: list[Atom]
    first: bool
    width: float = 0.0

    def __post_init__(self) -> None:
        if self.atoms:
            self.atoms[-1] = replace(self.atoms[-1], space=0.0)
        self.width = sum(atom.width + atom.space for atom in self.atoms)


@dataclass
class Block:
    """Text at its final size in pixels."""

    size: float
    lines: list[Line]
    height: float = 0.0
    fits: bool = True


@dataclass(frozen=True)
class Style:
    """How a layer sets its text."""

    family: str
    bold: bool = False
    italic: bool = False
    spacing: float = 0.0
    line_height: float = 1.15
    max_lines: int = 0
    symbols: Callable[[str], bool] | None = field(default=None, compare=False)
    parentheses: bool = False


_SYMBOL = re.compile(r"\{([^{}]{1,14})\}")
# After spaces, hyphens and dashes, before dashes, and around the characters of Chinese and Japanese.
_HAN = "\u3040-\u30ff\u3400-\u9fff"
_CLOSING = "\u3001\u3002\uff0c\u30fc\u300d\uff09\u3041-\u3049\u3083\u3085\u3087"
_BREAK = re.compile(
    rf"(?<= )(?=[^ ])|(?<=[^\W\d]-)(?=\w)|(?<=—)(?=\w)|(?<=\w)(?=—)|(?<=[{_HAN}、。，])(?=[^{_CLOSING} ])"
)


class Typesetter:
    """Breaks, fits and draws text with the fonts of a template."""

    def __init__(self, fonts: Fonts) -> None:
        self.fonts = fonts

    def paragraph(self, text: str, style: Style, part: Mapping[str, Any]) -> Paragraph:
        """Text between two line ends as atoms."""
        atoms: list[Atom] = []
        for piece in _BREAK.split(text):
            atoms += self._atoms(piece, style, bool(part.get("italic", style.italic)), atoms)
        return Paragraph(atoms, part)

    def _atoms(self, piece: str, style: Style, italic: bool, before: list[Atom]) -> Iterator[Atom]:
        """The atoms of a piece after which a line may end; symbols and changes of style divide it."""
        parts: list[tuple[str, bool, str | None]] = []
        position = 0
        for found in _SYMBOL.finditer(piece):
            if style.symbols is not None and style.symbols(found[1]):
                parts += [(piece[position : found.start()], italic, None), ("", italic, found[1])]
                position = found.end()
        parts.append((piece[position:], italic, None))
        parts = [part for part in parts if part[0] or part[2]]
        for number, (text, slanted, symbol) in enumerate(parts):
            last = number == len(parts) - 1
            if symbol is not None:
                yield Atom((), symbol, SYMBOL_WIDTH, 0.0, last)
                continue
            body = text.rstrip(" ")
            runs = self.fonts.runs(body, style.family, bool(style.bold), slanted) if body else ()
            width = sum(run.width for run in runs) + style.spacing * len(body)
            space = self.fonts.runs(" ", style.family, bool(style.bold), slanted)[0].width + style.spacing
            yield Atom(runs, None, width, space * (len(text) - len(body)), last)

    def fit(
        self, paragraphs: Sequence[Paragraph], style: Style, sizes: tuple[float, float], box: list[float]
    ) -> Block:
        """The text at the largest of ``sizes``, from (largest, smallest), at which it fits into ``box``."""
        largest, smallest = sizes
        if style.max_lines == 2 and 0.62 * largest > smallest:  # better smaller than on two lines
            single = self.fit(paragraphs, replace(style, max_lines=1), (largest, 0.62 * largest), box)
            if single.fits:
                return single
        block = self._set(paragraphs, style, largest, box)
        if block.fits or smallest >= largest:
            return block
        best = self._set(paragraphs, style, smallest, box)
        low, high = 0, math.ceil((largest - smallest) / 0.25)
        while best.fits and high - low > 1:
            middle = (low + high) // 2
            block = self._set(paragraphs, style, max(smallest, largest - middle * 0.25), box)
            if block.fits:
                high, best = middle, block
            else:
                low = middle
        return best

    def _set(self, paragraphs: Sequence[Paragraph], style: Style, size: float, box: list[float]) -> Block:
        block = Block(size, [])
        for paragraph in paragraphs:
            block.fits &= self._wrap(paragraph, box[2] / size, block.lines)
        previous = None
        for line in block.lines:
            block.height += lead(line, previous, style, size)
            previous = line
        block.height += DESCENT * size
        block.fits &= block.height <= box[3] + 0.5 and not 0 < style.max_lines < len(block.lines)
        return block

    def _wrap(self, paragraph: Paragraph, width: float, lines: list[Line]) -> bool:
        fits, first, used = True, True, 0.0
        current: list[Atom] = []
        unit: list[Atom] = []
        for atom in paragraph.atoms:
            unit.append(atom)
            if not atom.breaks and atom is not paragraph.atoms[-1]:
                continue
            needs = sum(one.width + one.space for one in unit) - unit[-1].space
            if current and used + needs > width + 1e-9:
                lines.append(Line(paragraph, current, first))
                current, used, first = [], 0.0, False
            fits &= needs <= width + 1e-9
            current += unit
            used += needs + unit[-1].space
            unit = []
        if current or first:
            lines.append(Line(paragraph, current, first))
        return fits

    def balance(self, block: Block, paragraphs: Sequence[Paragraph], width: float) -> None:
        """Narrow paragraphs that end with a short word, as long as that takes no more lines."""
        balanced: list[Line] = []
        for paragraph in paragraphs:
            lines = [line for line in block.lines if line.paragraph is paragraph]
            whole, count = width / block.size, len(lines)
            for step in range(1, 11):
                if count < 2 or lines[-1].width >= 0.25 * whole:
                    break
                narrow: list[Line] = []
                if not self._wrap(paragraph, whole * (1 - 0.03 * step), narrow) or len(narrow) > count:
                    break
                lines = narrow
            balanced += lines
        block.lines = balanced


def lead(line: Line, previous: Line | None, style: Style, size: float) -> float:
    """From a line's baseline up to the one before, or to the top, in pixels."""
    if previous is None:
        return ASCENT * size
    return (style.line_height + (line.paragraph.gap if line.first else 0.0)) * size


def draw_line(
    image: Image.Image,
    line: Line,
    style: Style,
    x: float,
    baseline: int,
    size: float,
    ink: tuple[int, ...],
    symbol: Callable[[str, float, float, float], None],
) -> None:
    """Paste the words of a line; ``symbol`` draws a symbol of a side at a place."""
    solid = ink[:3]
    for atom in line.atoms:
        if atom.symbol is not None:
            symbol(atom.symbol, x + 0.03 * size, baseline - 0.78 * size, 0.86 * size)
        pen = x
        for run in atom.runs:
            # Letters that are spaced out stand alone, others together as a word.
            for text in run.text if style.spacing else (run.text,):
                whole = math.floor(pen)
                drawn = run.face.mask(text, size * run.scale, int((pen - whole) * PLACES), ink[3])
                if drawn is not None:
                    mask, dx, dy = drawn
                    image.paste(solid, (whole + dx, baseline + dy), mask)
                pen += (run.face.width(text) * run.scale + style.spacing) * size
        x += (atom.width + atom.space) * size


def clean(text: str) -> str:
    """Text fit for setting: composed, and without control characters."""
    text = unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\r", "\n").replace("\t", " ")
    return "".join(one for one in text if one == "\n" or unicodedata.category(one) != "Cc").strip()
