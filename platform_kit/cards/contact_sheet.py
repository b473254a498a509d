"""Many cards on one picture, with their names: what a run made, at a glance.

sheet = contact_sheet({"ace": "output/ace.png"}, {"ace": "Ace of Roots"}, path="output/contact_sheet.png")
sheet.info["alt"]      # the same in words, for those who cannot see it
"""

from __future__ import annotations

import io
import math
import os
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platform_kit.errors import UsageError
from platform_kit.reprs import clean, human_count

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage
    from PIL.ImageFont import FreeTypeFont
    from PIL.ImageFont import ImageFont as BitmapFont

ImageSource = bytes | str | os.PathLike[str] | Callable[[], bytes]

FONT_FOLDER = Path(__file__).parent / "fonts"
MAX_PIXELS = 60_000_000  # of the finished sheet

_TOP, _BOTTOM = (38, 43, 51), (26, 29, 35)
_TEXT, _MUTED, _TILE = (233, 231, 226), (154, 158, 166), (58, 64, 74)


def contact_sheet(
    images: Mapping[str, ImageSource],
    captions: Mapping[str, str] | None = None,
    *,
    columns: int | None = None,
    thumb_width: int | None = None,
    max_cards: int = 200,
    page: int = 1,
    title: str = "",
    path: str | os.PathLike[str] | None = None,
) -> PILImage:
    """Draw cards side by side and return the picture.

    Parameters
    ----------
    images: Card id to picture: a file's path, its bytes, or a function that returns the bytes. Only what
        is shown is read.
    captions: Card id to name; without one the id stands there.
    columns: Cards a row; None chooses.
    thumb_width: Width of one card in pixels; None chooses by their number.
    max_cards: The most cards on one sheet. The sheet says when there are more.
    page: Which ``max_cards`` of them, from 1.
    title: A heading.
    path: Where to save it as PNG, its words included; None does not.

    A picture that cannot be read becomes a grey tile that says so. The returned picture's
    ``info["alt"]`` lists the cards in words.

    Raises
    ------
    UsageError: a number makes no sense, or there is no such page.
    """
    from PIL import ImageDraw
    from PIL.PngImagePlugin import PngInfo

    ids, first = _on_page(list(images), max_cards, page)
    width = thumb_width or (220 if len(ids) <= 12 else 170 if len(ids) <= 80 else 120)
    if width < 16 or (columns is not None and columns < 1):
        raise UsageError(
            f"columns={columns!r}, thumb_width={thumb_width!r} is no layout.",
            hint="Give at least one column and 16 pixels.",
        )

    gap = max(8, width // 11)
    if len(ids) * (width + gap) * width * 0.4 > MAX_PIXELS or (columns or 1) * (width + gap) > MAX_PIXELS:
        raise _too_large(len(ids) * (width + gap) * width)

    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as readers:
        thumbs = list(readers.map(lambda card: _thumb(images[card], width), ids))
    ratios = sorted(thumb.height / thumb.width for thumb in thumbs if thumb is not None)
    height = round(width * min(2.5, max(0.4, ratios[-1]))) if ratios else round(width * 1.4)

    size = max(11, width // 12)
    caption_height = round(size * 1.9)
    across = columns or _columns(len(ids), (width + gap) / (height + caption_height + gap))
    down = max(1, math.ceil(len(ids) / across))
    heading = _heading(title, first, len(ids), len(images))
    heading_size = max(15, size + 5)
    top = round(heading_size * 2.3) + gap
    total = (across * (width + gap) + gap, top + down * (height + caption_height + gap) + gap // 2)
    if total[0] * total[1] > MAX_PIXELS:
        raise _too_large(total[0] * total[1])

    sheet = _background(total)
    draw = ImageDraw.Draw(sheet)
    side = heading[1]
    side_width = text_width(side, size)
    left_room = total[0] - 3 * gap - side_width
    draw_text(sheet, (gap, gap), fit_text(heading[0], heading_size, max(0, left_room)), heading_size, _TEXT)
    draw_text(sheet, (max(gap, total[0] - gap - side_width), gap + (heading_size - size)), side, size, _MUTED)

    shadow = _shadow(width, height, max(3, gap // 2))
    for index, (card, thumb) in enumerate(zip(ids, thumbs, strict=True)):
        x = gap + index % across * (width + gap)
        y = top + index // across * (height + caption_height + gap)
        if thumb is None:
            draw.rounded_rectangle((x, y, x + width - 1, y + height - 1), width // 20, fill=_TILE)
            words = fit_text("no picture", size, width - 8)
            middle = (x + (width - text_width(words, size)) // 2, y + height // 2)
            draw_text(sheet, middle, words, size, _MUTED)
        else:
            dy = (height - thumb.height) // 2
            spread = max(3, gap // 2)
            if thumb.height == height:
                sheet.paste((0, 0, 0), (x - spread, y - spread + 2), shadow)
            sheet.paste(thumb, (x, y + dy), thumb if thumb.mode == "RGBA" else None)
        words = fit_text(clean(_caption(card, captions)), size, width)
        draw_text(
            sheet,
            (x + (width - text_width(words, size)) // 2, y + height + round(size * 0.45)),
            words,
            size,
            _TEXT,
        )

    sheet.info["alt"] = alt_text(images, captions, max_cards=max_cards, page=page, title=title)
    if path is not None:
        words_chunk = PngInfo()
        words_chunk.add_itxt("Description", sheet.info["alt"])
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(target, format="PNG", pnginfo=words_chunk, compress_level=5)
    return sheet


def _too_large(pixels: int) -> UsageError:
    return UsageError(
        f"A sheet of {pixels / 1e6:,.0f} million pixels is too large.",
        hint="Lower thumb_width or max_cards, and use page=2 and so on for the rest.",
    )


def alt_text(
    images: Mapping[str, Any] | Sequence[str],
    captions: Mapping[str, str] | None = None,
    *,
    max_cards: int = 200,
    page: int = 1,
    title: str = "",
) -> str:
    """Return in words what :func:`contact_sheet` shows with the same arguments.

    >>> alt_text(["ace", "king"], {"ace": "Ace of Roots"})
    'Contact sheet, 2 cards: Ace of Roots, king.'
    """
    ids, first = _on_page(list(images), max_cards, page)
    head, count = _heading(title, first, len(ids), len(images))
    names = ", ".join(clean(_caption(card, captions)) for card in ids)
    return f"{head}, {count}{': ' + names if names else ''}."


def _on_page(ids: list[str], max_cards: int, page: int) -> tuple[list[str], int]:
    if max_cards < 1 or page < 1:
        raise UsageError(
            f"max_cards={max_cards!r}, page={page!r} shows nothing.", hint="Both count from one."
        )
    first = (page - 1) * max_cards
    if first and first >= len(ids):
        raise UsageError(
            f"There is no page {page} of {human_count(len(ids), 'card')} at {max_cards} a page.",
            hint=f"The last page is {math.ceil(len(ids) / max_cards) or 1}.",
        )
    return ids[first : first + max_cards], first


def _heading(title: str, first: int, shown: int, of: int) -> tuple[str, str]:
    if shown == of:
        count = human_count(of, "card")
    elif first == 0:
        count = f"showing {shown:,} of {human_count(of, 'card')}"
    else:
        count = f"showing {first + 1:,} to {first + shown:,} of {human_count(of, 'card')}"
    return clean(title) or "Contact sheet", count


def _caption(card: str, captions: Mapping[str, str] | None) -> str:
    return (captions or {}).get(card) or card


def _columns(count: int, aspect: float) -> int:
    """The columns that make a sheet a little wider than high, without a nearly empty last row."""
    ideal = max(1.0, math.sqrt(max(1, count) * 1.15 / aspect))
    around = range(max(1, int(ideal * 0.85)), math.ceil(ideal * 1.15) + 1)
    if count <= ideal + 1:
        return max(1, count)
    return min(around, key=lambda n: (-count % n / n + abs(n - ideal) / ideal, n))


def _read(source: ImageSource) -> io.BytesIO | str | os.PathLike[str]:
    if callable(source):
        return io.BytesIO(source())
    return io.BytesIO(source) if isinstance(source, bytes) else source


def _thumb(source: ImageSource, width: int) -> PILImage | None:
    from PIL import Image

    try:
        with Image.open(_read(source)) as image:
            height = max(1, min(round(width * image.height / image.width), round(width * 2.5)))
            image.draft("RGB", (width * 2, height * 2))  # a JPEG is decoded small; others ignore it
            mode = "RGBA" if "A" in image.getbands() or "transparency" in image.info else "RGB"
            return image.convert(mode).resize((width, height), Image.Resampling.LANCZOS, reducing_gap=2.0)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def _background(size: tuple[int, int]) -> PILImage:
    from PIL import Image

    strip = Image.new("RGB", (1, 64))
    for y in range(64):
        strip.putpixel((0, y), tuple(round(a + (b - a) * y / 63) for a, b in zip(_TOP, _BOTTOM, strict=True)))
    return strip.resize(size, Image.Resampling.BILINEAR)


def _shadow(width: int, height: int, spread: int) -> PILImage:
    from PIL import Image, ImageDraw, ImageFilter

    mask = Image.new("L", (width + 2 * spread, height + 2 * spread))
    ImageDraw.Draw(mask).rounded_rectangle((spread, spread, width + spread, height + spread), 6, fill=130)
    return mask.filter(ImageFilter.GaussianBlur(spread / 2))


# ----------------------------------------------------------------------------------- lettering
#
# A caption may hold any script. The fonts beside the templates are tried one after the other for each
# character, and PIL's own font last.

_NO_SUCH_CHARACTER = "\U0010fffe"


@cache
def _font_files() -> tuple[Path, ...]:
    files = [*FONT_FOLDER.rglob("*.ttf"), *FONT_FOLDER.rglob("*.otf"), *FONT_FOLDER.rglob("*.ttc")]

    def order(file: Path) -> tuple[bool, bool, bool, str]:
        name = file.stem.lower()
        regional = re.search(r"cjk|(jp|kr|sc|tc|hk)\b|(jp|kr|sc|tc)[-_]|arab|hebr|symbol|emoji", name)
        fancy = re.search(r"bold|italic|light|thin|black|medium|condensed|display", name)
        return regional is not None, fancy is not None, not re.search("sans|inter", name), name

    return tuple(sorted(files, key=order))


@lru_cache(maxsize=64)
def _fonts(size: int) -> tuple[FreeTypeFont | BitmapFont, ...]:
    from PIL import ImageFont

    fonts: list[FreeTypeFont | BitmapFont] = []
    for file in _font_files():
        try:
            fonts.append(ImageFont.truetype(str(file), size))
        except OSError:
            continue
    return (*fonts, ImageFont.load_default(size))


@lru_cache(maxsize=20_000)
def _drawable(char: str) -> tuple[int, str]:
    """Which of the fonts has this character, and what to draw: its plain letter or "?" where none has."""
    fonts = _fonts(24)
    for number, font in enumerate(fonts):
        missing, mask = font.getmask(_NO_SUCH_CHARACTER), font.getmask(char)
        if mask.size != missing.size or bytes(mask) != bytes(missing):
            return number, char
    plain = unicodedata.normalize("NFKD", char)[0]
    return len(fonts) - 1, plain if plain.isascii() else "?"


def _parts(text: str) -> list[tuple[int, str]]:
    """Split text where another font is needed."""
    parts: list[tuple[int, str]] = []
    for char in text:
        joins = parts and unicodedata.category(char) in ("Mn", "Me", "Cf")
        number, drawn = (parts[-1][0], char) if joins else _drawable(char)
        if parts and parts[-1][0] == number:
            parts[-1] = (number, parts[-1][1] + drawn)
        else:
            parts.append((number, drawn))
    return parts


def text_width(text: str, size: int) -> int:
    """Return the width of a line in pixels."""
    fonts = _fonts(size)
    return math.ceil(sum(fonts[number].getlength(part) for number, part in _parts(text)))


def fit_text(text: str, size: int, room: int) -> str:
    """Return the line cut to ``room`` pixels, ending in "…" where something is missing."""
    text = text[:300]
    if text_width(text, size) <= room:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if text_width(text[:middle].rstrip() + "…", size) <= room:
            low = middle
        else:
            high = middle - 1
    return text[:low].rstrip() + "…" if low else ""


def draw_text(image: PILImage, at: tuple[int, int], text: str, size: int, fill: Any) -> None:
    """Draw one line, its top left corner at ``at``, each character in a font that has it."""
    from PIL import ImageDraw

    draw = ImageDraw.Draw(image)
    fonts = _fonts(size)
    x = float(at[0])
    for number, part in _parts(text):
        font = fonts[number]
        # A common baseline: fonts of different scripts have different ascents.
        draw.text((x, at[1] + size), part, font=font, fill=fill, anchor="ls")
        x += font.getlength(part)
