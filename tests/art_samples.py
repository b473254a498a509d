"""Pictures good, odd and hostile, made for the tests of the asset pipeline."""

from __future__ import annotations

import gzip
import io
import struct
import zlib
from collections.abc import Callable

from PIL import Image

SVG = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 4 3">'


def svg(colour: str = "red", body: str = "") -> bytes:
    """A circle of one colour."""
    return f'{SVG}<circle cx="2" cy="1" r="1" fill="{colour}"/>{body}</svg>'.encode()


def encoded(kind: str, size: tuple[int, int] = (40, 30), mode: str = "RGB", **options: object) -> bytes:
    """A picture written by Pillow."""
    image = Image.radial_gradient("L").resize(size)
    out = io.BytesIO()
    (Image.merge("RGB", [image] * 3).convert(mode) if mode != "I;16" else image.convert("I;16")).save(
        out, kind, **options
    )
    return out.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *, interlaced: bool = False) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def interlaced() -> bytes:
    """8 x 8 grey pixels in the seven passes of Adam7."""
    passes = [(1, 1), (1, 1), (2, 1), (2, 2), (4, 2), (4, 4), (8, 4)]
    return png(
        8, 8, 8, 0, b"".join(b"\0" + bytes([128] * w) for w, h in passes for _ in range(h)), interlaced=True
    )


def frames(kind: str) -> bytes:
    """An animation of two pictures."""
    images = [Image.new("RGB", (8, 6), colour) for colour in ("red", "blue")]
    out = io.BytesIO()
    images[0].save(out, kind, save_all=True, append_images=images[1:], duration=100)
    return out.getvalue()


def hostile() -> dict[str, tuple[bytes, str]]:
    """File name to bytes and a word of the reason each has to be rejected with."""
    good, photo = encoded("PNG"), encoded("JPEG", (64, 48))
    webp = encoded("WEBP", lossless=True)
    huge = b"\0" * 1_000_000
    wide = bytearray(photo)
    at = wide.index(b"\xff\xc0")
    wide[at + 5 : at + 9] = struct.pack(">HH", 50_000, 50_000)
    return {
        "empty.png": (b"", "empty"),
        "noise.png": (b"not a picture", "neither"),
        "cut.png": (good[: len(good) // 2], "not a whole PNG"),
        "cut.jpg": (photo[: len(photo) // 2], "not a whole JPEG"),
        "cut.webp": (webp[: len(webp) // 2], "not a whole WebP"),
        "cut.svg": (svg()[:-12], "well-formed"),
        "huge.png": (png(50_000, 50_000, 8, 2, huge), "50000 x 50000"),
        "huge.jpg": (bytes(wide), "50000 x 50000"),
        "deep.png": (png(6000, 6000, 16, 6, huge), "MB to decode"),
        "photo.png": (photo, "its content is JPEG"),
        "drawing.jpg": (svg(), "its content is SVG"),
        "moving.png": (frames("PNG"), "animated"),
        "moving.webp": (frames("WEBP"), "animated"),
        "moving.gif": (frames("GIF"), "the name ends in .gif"),
        "packed.svg": (gzip.compress(svg()), "gzip"),
        "packed.svgz": (gzip.compress(b"\0" * 50_000_000), "the name ends in .svgz"),
        "bomb.svg": (
            b'<!DOCTYPE svg [<!ENTITY a "ha">'
            + b"".join(b'<!ENTITY %c "%b">' % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(9))
            + b"]>"
            + svg(body="&j;"),
            "entities",
        ),
        "nested.svg": (svg(body="<g>" * 50_000 + "</g>" * 50_000), "nested more than"),
        "file.svg": (svg(body='<image xlink:href="file:///etc/passwd" width="4" height="3"/>'), "outside"),
        "address.svg": (svg(body='<image href="http://127.0.0.1/a.png" width="4" height="3"/>'), "outside"),
        "within.svg": (
            svg(body='<image href="data:image/svg+xml;base64,PHN2Zy8+" width="4" height="3"/>'),
            "neither PNG nor JPEG",
        ),
        "units.svg": (b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 5000000 5000000"/>', "units"),
        "slow.svg": (
            svg(
                body='<filter id="f"><feGaussianBlur stdDeviation="100000"/></filter>'
                + '<rect width="4" height="3" filter="url(#f)"/>' * 2000
            ),
            "too much work",
        ),
    }


def odd_but_good() -> dict[str, bytes]:
    """Files of every kind that has to be taken."""
    exif = Image.Exif()
    exif[0x0112] = 6
    make: dict[str, Callable[[], bytes]] = {
        "plain.png": lambda: encoded("PNG"),
        "grey.png": lambda: encoded("PNG", mode="L"),
        "alpha.png": lambda: encoded("PNG", mode="RGBA"),
        "palette.png": lambda: encoded("PNG", mode="P"),
        "deep.png": lambda: encoded("PNG", mode="I;16"),
        "bits.png": lambda: encoded("PNG", mode="1"),
        "interlaced.png": interlaced,
        "photo.jpg": lambda: encoded("JPEG"),
        "progressive.jpeg": lambda: encoded("JPEG", progressive=True),
        "grey.jpg": lambda: encoded("JPEG", mode="L"),
        "ink.jpg": lambda: encoded("JPEG", mode="CMYK"),
        "turned.jpg": lambda: encoded("JPEG", (64, 32), exif=exif),
        "lossy.webp": lambda: encoded("WEBP"),
        "lossless.webp": lambda: encoded("WEBP", mode="RGBA", lossless=True),
        "clear.webp": lambda: encoded("WEBP", mode="RGBA", quality=50),
        "CAPITALS.PNG": lambda: encoded("PNG"),
        "drawing.svg": svg,
        "日本 'quoted' \"name\" .svg": svg,
    }
    return {name: content() for name, content in make.items()}
