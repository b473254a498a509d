"""A card drawn with Pillow from one of the kit's templates.

It knows what the template ``classic`` uses: rects, paths, groups, art, a row of cost symbols and text. What
does not depend on the card, the frame above all, is drawn once per look and kept; so are decoded art under
its frame, symbols, measured and drawn words. A card then is a copy of its frame, a few pastes, and the
encoding.
"""

from __future__ import annotations

import functools
import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from peers.faststream_pillow import paint
from peers.faststream_pillow.text import (
    ASCENT,
    DESCENT,
    Fonts,
    Paragraph,
    Style,
    Typesetter,
    clean,
    draw_line,
    lead,
)
from platform_kit.cards.template import Template

# Of Pillow's settings the quickest whose files are no larger than 1.5 times the kit's; see README.md.
COMPRESS_LEVEL = 1
COMPRESS_STRATEGY = 3  # Z_RLE

_FIELD = re.compile(r"\{([^{}]*)\}")
_STATIC = ("rect", "path")
Row = Mapping[str, str]
Numbers = tuple[int, ...]
"""Of layers."""


@dataclass(frozen=True)
class Frame:
    """What all cards of a look share: the card without words, and what is under, around and over its art."""

    card: Image.Image
    art: Mapping[str, Any] | None = None
    under_art: Image.Image | None = None
    corners: Image.Image | None = None
    over_art: Image.Image | None = None


class Painter:
    """Draws cards of one template.

    Parameters
    ----------
    template: Such as ``Template.read("classic")``.
    """

    def __init__(self, template: Template) -> None:
        self._bundle = json.loads(template.bundle())
        self._size = (self._bundle["width"], self._bundle["height"])
        self._fonts = Fonts(self._bundle, template.files())
        self._type = Typesetter(self._fonts)
        self._layers = list(_flat(self._bundle["layers"], []))
        self._frame = functools.lru_cache(maxsize=64)(self._draw_frame)
        self._framed = functools.lru_cache(maxsize=128)(self._draw_framed)
        self._sprite = functools.lru_cache(maxsize=256)(self._draw_sprite)
        self._icon = functools.lru_cache(maxsize=512)(self._draw_icon)
        self._look = functools.lru_cache(maxsize=256)(self._choose_look)
        self._symbols = functools.lru_cache(maxsize=512)(self._find_symbol)
        self._matter = functools.lru_cache(maxsize=4096)(self._find_matter)
        self._choice = functools.lru_cache(maxsize=4096)(self._choose)
        self._masks = functools.lru_cache(maxsize=256)(self._draw_masks)
        self._split = functools.lru_cache(maxsize=1024)(self._split_layers)

    def png(self, row: Row, art: Path) -> bytes:
        """The card as a PNG."""
        out = io.BytesIO()
        self.draw(row, art).save(
            out, "PNG", compress_level=COMPRESS_LEVEL, compress_type=COMPRESS_STRATEGY, dpi=(300, 300)
        )
        return out.getvalue()

    def draw(self, row: Row, art: Path) -> Image.Image:
        """The card as a picture."""
        shown = self._shown(row)
        below, art_layer, over, words = self._split(shown)
        keys = self._keys(row)
        look, plain = self._look(keys), self._look(self._matter(below + over, keys))
        frame = self._frame(below, art_layer, over, plain)
        card = frame.card.copy()
        if frame.art is not None:
            x, y = (math.floor(value) for value in frame.art["box"][:2])
            card.paste(self._framed(below, art_layer, over, plain, art), (x, y))
        left_of_cost = None
        for number in words:
            layer = self._layers[number][0]
            if layer["kind"] in _STATIC:
                sprite, place = self._sprite(number, self._look(self._matter((number,), keys)))
                card.paste(sprite, place, sprite)
            elif layer["kind"] == "icons":
                left_of_cost = self._draw_icons(card, layer, row)
            elif layer["kind"] == "text":
                self._draw_text(card, layer, row, look, left_of_cost)
        return card

    # ---------------------------------------------------------------- the look of a card

    def _style(self, field: str) -> Mapping[str, Any]:
        return next(style for style in self._bundle["styles"] if style["field"] == field)

    def _keys(self, row: Row) -> tuple[str, ...]:
        styles = enumerate(self._bundle["styles"])
        return tuple(self._choice(number, _field(row, style["field"])) for number, style in styles)

    def _choose(self, number: int, value: str) -> str:
        """Which of a style's values a text of the deck means; empty for the default."""
        style, value = self._bundle["styles"][number], value.casefold()
        if not value:
            return ""
        for one in style["values"]:
            if one["key"].casefold() == value:
                return str(one["key"])
        for one in style["values"]:
            if any(_has_word(value, word.casefold()) for word in (*one["words"], one["key"])):
                return str(one["key"])
        spread = style.get("spread")
        return str(spread[_hash(value) % len(spread)]) if spread else ""

    def _choose_look(self, keys: tuple[str, ...]) -> Look:
        colors = dict(self._bundle["colors"])
        for style, key in zip(self._bundle["styles"], keys, strict=True):
            colors.update(style["default"])
            colors.update(next((value["set"] for value in style["values"] if value["key"] == key), {}))
        return Look(keys, colors)

    def _find_matter(self, numbers: Numbers, keys: tuple[str, ...]) -> tuple[str, ...]:
        """The keys of the styles whose colours these layers use; other keys make no other picture."""
        used = set(
            re.findall(r"\$([a-z][a-z0-9_]*)", json.dumps([self._layers[number][0] for number in numbers]))
        )
        styles = zip(self._bundle["styles"], keys, strict=True)
        return tuple(key if used & style["default"].keys() else "" for style, key in styles)

    def _shown(self, row: Row) -> Numbers:
        return tuple(
            number for number, (_, when) in enumerate(self._layers) if all(_holds(row, one) for one in when)
        )

    def _split_layers(self, shown: Numbers) -> tuple[Numbers, int | None, Numbers, Numbers]:
        """Below the art, the art, over it, and from the first words on."""
        kinds = [self._layers[number][0]["kind"] for number in shown]
        words = next((k for k, kind in enumerate(kinds) if kind in ("icons", "text")), len(kinds))
        art = kinds.index("art") if "art" in kinds[:words] else None
        if art is None:
            return shown[:words], None, (), shown[words:]
        return shown[:art], shown[art], shown[art + 1 : words], shown[words:]

    # ---------------------------------------------------------------- what is drawn once and kept

    def _draw_frame(self, below: Numbers, art: int | None, over: Numbers, look: Look) -> Frame:
        under, top = self._static(below, look), self._static(over, look)
        picture = top.over(under).image().convert("RGB")
        if art is None:
            return Frame(picture)
        layer = self._layers[art][0]
        x, y, width, height = (int(value) for value in layer["box"])
        box = (x, y, x + width, y + height)
        corners = paint.fill_mask({**layer, "kind": "rect"}).image()
        return Frame(picture, layer, under.image(box).convert("RGB"), corners, top.image(box))

    def _static(self, numbers: Sequence[int], look: Look) -> paint.Canvas:
        canvas = paint.Canvas(*self._size)
        for number in numbers:
            self._paint(canvas, number, look)
        return canvas

    def _paint(self, canvas: paint.Canvas, number: int, look: Look) -> None:
        layer = self._layers[number][0]
        fill, stroke, shadow = self._masks(number)
        if shadow is not None:
            canvas.paint(shadow, np.array(paint.color(layer["shadow"]["color"], look.colors), np.float32))
        if fill is not None and "fill" in layer:
            canvas.paint(fill, paint.colors_of(layer["fill"], layer["box"], fill, look.colors))
        if stroke is not None:
            canvas.paint(stroke, paint.colors_of(layer["stroke"], layer["box"], stroke, look.colors))

    def _draw_masks(self, number: int) -> tuple[paint.Mask | None, paint.Mask | None, paint.Mask | None]:
        layer = self._layers[number][0]
        fill = paint.fill_mask(layer) if "fill" in layer or "shadow" in layer else None
        stroke = paint.stroke_mask(layer) if "stroke" in layer else None
        shadow = None
        if "shadow" in layer and fill is not None:
            shadow = fill.blurred(layer["shadow"]["blur"], layer["shadow"]["dx"], layer["shadow"]["dy"])
        return fill, stroke, shadow

    def _draw_framed(
        self, below: Numbers, art_layer: int | None, over: Numbers, look: Look, path: Path
    ) -> Image.Image:
        """Art, scaled to cover its box, with rounded corners and under what the frame puts over it."""
        frame = self._frame(below, art_layer, over, look)
        assert frame.art and frame.under_art and frame.corners and frame.over_art
        _, _, width, height = (int(value) for value in frame.art["box"])
        with Image.open(path) as file:
            art = file.convert("RGB")
        if art.size != (width, height):
            scale = max(width / art.width, height / art.height)
            dx, dy = (art.width - width / scale), (art.height - height / scale)
            px, py = frame.art.get("position", (0.5, 0.5))
            box = (dx * px, dy * py, dx * px + width / scale, dy * py + height / scale)
            art = art.resize((width, height), Image.Resampling.BICUBIC, box)
        framed = Image.composite(art, frame.under_art, frame.corners)
        framed.paste(frame.over_art, (0, 0), frame.over_art)
        return framed

    def _draw_sprite(self, number: int, look: Look) -> tuple[Image.Image, tuple[int, int]]:
        """A static layer that comes after the first words, such as the gem of the rarity."""
        masks = [mask for mask in self._masks(number) if mask is not None]
        left, top = min(mask.x for mask in masks), min(mask.y for mask in masks)
        right, bottom = (
            max(mask.x + mask.width for mask in masks),
            max(mask.y + mask.height for mask in masks),
        )
        return self._static([number], look).image((left, top, right, bottom)), (left, top)

    # ---------------------------------------------------------------- symbols

    def _find_symbol(self, symbol: str) -> Mapping[str, Any] | None:
        icons: Mapping[str, Any] = self._bundle["icons"]["cost"]
        known: Sequence[Mapping[str, Any]] = icons["symbols"]
        want = symbol.strip().casefold()
        for icon in known:
            if want in (icon["key"].casefold(), *(word.casefold() for word in icon["words"])):
                return icon
        short = 0 < len(want) <= 4 and all(one.isalnum() or one in "/½∞+-" for one in want)
        return {**icons["default"], "key": symbol.strip().upper()} if short else None

    def _draw_icons(self, card: Image.Image, layer: Mapping[str, Any], row: Row) -> float | None:
        """The row of symbols of a cost; returns where the room it wants begins."""
        cost = _field(row, layer["field"])
        symbols = re.findall(r"[^{}\s]+", cost) if "{" in cost else re.findall(r"[0-9]+|[A-Z]|\S", cost)
        if not symbols:
            return None
        x, y, width, height = layer["box"]
        size, gap = layer["size"], layer["gap"]
        needs = len(symbols) * size + (len(symbols) - 1) * gap * size
        if needs > width:
            size = max(layer["min_size"], size * width / needs)
            needs = len(symbols) * size + (len(symbols) - 1) * gap * size
        left, top = x + width - needs, y + (height - size) / 2
        pen = left
        for symbol in symbols:
            self._paste_icon(card, symbol, pen, top, size, shadow=True)
            pen += size * (1 + gap)
        return float(left - 0.25 * size)

    def _paste_icon(
        self, card: Image.Image, symbol: str, x: float, y: float, size: float, *, shadow: bool
    ) -> None:
        left, top = math.floor(x), math.floor(y)
        sprite, dx, dy = self._icon(symbol, round(x - left, 2), round(y - top, 2), round(size, 2), shadow)
        card.paste(sprite, (left + dx, top + dy), sprite)

    def _draw_icon(
        self, symbol: str, x: float, y: float, size: float, shadow: bool
    ) -> tuple[Image.Image, int, int]:
        icon = self._symbols(symbol) or {**self._bundle["icons"]["cost"]["default"], "key": symbol}
        pad = 8
        canvas = paint.Canvas(math.ceil(size) + 2 * pad + 1, math.ceil(size) + 2 * pad + 1)
        x, y, radius = x + pad, y + pad, size / 2
        disc = paint.circle(x + radius, y + radius, radius)
        if shadow:
            soft = disc.blurred(2, 0, 2)
            canvas.paint(soft, np.array([0, 0, 0, 127.5], np.float32))
        canvas.paint(disc, paint.colors_of(icon["fill"], [x, y, size, size], disc, {}))
        edge = np.array(paint.color(icon["stroke"], {}), np.float32)
        canvas.paint(paint.ring(x + radius, y + radius, radius, 0.05 * size), edge)
        ink = paint.color(icon["color"], {})
        if "path" in icon:
            inset = icon["inset"] * size
            scale = (size - 2 * inset) / 100
            outlines = [
                [(x + inset + u * scale, y + inset + v * scale) for u, v in outline]
                for outline in paint.outlines_of(icon["path"])
            ]
            canvas.paint(paint.polygons(outlines), np.array(ink, np.float32))
            return canvas.image(), -pad, -pad
        image = canvas.image()
        face = self._fonts.face(icon["font"], True, False)
        height = 0.74 * size
        height *= min(1.0, 0.78 * size / (face.width(icon["key"]) * height))
        place = (
            x + (size - face.width(icon["key"]) * height) / 2,
            round(y + (size + face.capital * height) / 2),
        )
        color = tuple(int(value) for value in ink)
        ImageDraw.Draw(image).text(place, icon["key"], color, face.at(height), anchor="ls")
        return image, -pad, -pad

    # ---------------------------------------------------------------- text

    def _draw_text(
        self, card: Image.Image, layer: Mapping[str, Any], row: Row, look: Look, left_of_cost: float | None
    ) -> None:
        x, y, width, height = layer["box"]
        if layer.get("beside") and left_of_cost is not None:
            width = max(1.0, min(width, left_of_cost - x))
        style = Style(
            layer["font"],
            layer.get("bold", False),
            layer.get("italic", False),
            layer.get("spacing", 0.0),
            layer.get("line_height", 1.15),
            layer.get("max_lines", 0),
            (lambda name: self._symbols(name) is not None) if layer.get("symbols") else None,
            layer.get("parentheses") == "italic",
        )
        paragraphs = self._paragraphs(layer, style, row)
        if not paragraphs:
            return
        box = [x, y, width, height]
        block = self._type.fit(paragraphs, style, (layer["size"], layer.get("min_size", layer["size"])), box)
        self._type.balance(block, paragraphs, width)
        size = block.size
        if layer.get("valign") == "middle":
            capital = self._fonts.face(style.family, style.bold, style.italic).capital
            low = 0.1 * size if len(block.lines) > 1 else 0.0
            ink = block.height - (ASCENT - capital) * size - DESCENT * size + low
            y += (height - ink) / 2 - (ASCENT - capital) * size
        previous = None
        for line in block.lines:
            ahead = lead(line, previous, style, size)
            if line.first and line.paragraph.divider and previous is not None:
                middle = y + (ahead - ASCENT * size) / 2 + 0.14 * size
                self._divider(card, line.paragraph.divider, look, x, round(middle), width)
            y += ahead
            part = line.paragraph.part
            red, green, blue, alpha = paint.color(part.get("color") or layer["color"], look.colors)
            align = part.get("align") or layer.get("align", "left")
            free = width - line.width * size
            start = x + {"left": 0.0, "center": free / 2, "right": free}[align]
            draw_line(
                card,
                line,
                style,
                start,
                math.floor(y + 0.5),
                size,
                (int(red), int(green), int(blue), int(alpha)),
                lambda name, sx, sy, side: self._paste_icon(card, name, sx, sy, side, shadow=False),
            )
            previous = line

    def _paragraphs(self, layer: Mapping[str, Any], style: Style, row: Row) -> list[Paragraph]:
        paragraphs: list[Paragraph] = []
        gap = layer.get("paragraph_gap", 0.0)
        for part in layer["parts"]:
            text = clean(_FIELD.sub(lambda found: _field(row, found[1]), part["text"]))
            lines = [line.strip() for line in text.split("\n") if line.strip()]
            for number, line in enumerate(lines):
                paragraph = self._type.paragraph(line, style, part)
                paragraph.gap = gap if paragraphs else 0.0
                if number == 0 and paragraphs:
                    paragraph.gap, paragraph.divider = max(part.get("gap", 0.0), gap), part.get("divider")
                paragraphs.append(paragraph)
        return paragraphs

    def _divider(self, card: Image.Image, color: str, look: Look, x: float, y: int, width: float) -> None:
        sprite = _rule(paint.color(color, look.colors), round(width * 0.92))
        card.paste(sprite, (round(x + width * 0.04), y), sprite)


@dataclass(frozen=True)
class Look:
    """The colours in force for a card; two looks are the same if the same styles were chosen."""

    keys: tuple[str, ...]
    colors: Mapping[str, str]

    def __hash__(self) -> int:
        return hash(self.keys)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Look) and self.keys == other.keys


@functools.lru_cache(maxsize=64)
def _rule(color: paint.Color, width: int) -> Image.Image:
    """A line, two pixels high, that fades out to both sides."""
    alpha = np.interp(np.linspace(0, 1, width), [0, 0.25, 0.75, 1], [0, color[3], color[3], 0])
    pixels = np.zeros((2, width, 4), np.uint8)
    pixels[..., :3] = [int(value) for value in color[:3]]
    pixels[..., 3] = alpha
    return Image.fromarray(pixels, "RGBA")


def _flat(layers: Sequence[Mapping[str, Any]], when: list[Any]) -> Any:
    """Layers without groups, each with all its conditions."""
    for layer in layers:
        conditions = [*when, *layer.get("when", [])]
        if layer["kind"] == "group":
            yield from _flat(layer["layers"], conditions)
        else:
            yield layer, conditions


def _field(row: Row, names: str) -> str:
    """A column's value, or the first of several as in ``power|attack`` that has one."""
    for name in names.split("|"):
        if value := (row.get(name) or "").strip():
            return value
    return ""


def _holds(row: Row, condition: Mapping[str, Any]) -> bool:
    value = _field(row, condition["field"])
    wanted = bool(condition.get("present", True))
    if "in" in condition:
        return value.casefold() in [one.casefold() for one in condition["in"]]
    return (value != "") == wanted


def _has_word(text: str, word: str) -> bool:
    """Whether it occurs as a whole word; in scripts without spaces, anywhere."""
    return word in text and (
        ord(word[0]) >= 0x2E80 or re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text) is not None
    )


def _hash(text: str) -> int:
    """The renderer's own spreading of unknown values: FNV-1a, mixed."""
    value, mask = 0xCBF29CE484222325, (1 << 64) - 1
    for byte in (*text.encode(), 0):
        value = (value ^ byte) * 0x100000001B3 & mask
    value = (value ^ value >> 33) * 0xFF51AFD7ED558CCD & mask
    return value ^ value >> 33
