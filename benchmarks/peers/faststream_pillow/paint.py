"""Shapes, gradients and shadows of a template, painted with NumPy and Pillow.

All of this is drawn once per frame and kept, so it is written to look right rather than to be quick.
"""

from __future__ import annotations

import functools
import itertools
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Floats = NDArray[np.floating[Any]]
Color = tuple[float, float, float, float]

FINE = 8
"""Masks are drawn this many times larger and then reduced: that is their antialiasing."""

_EXPRESSION = re.compile(r"([$#][a-z0-9_]+)([+-][0-9.]+)?(@[0-9.]+)?", re.IGNORECASE)


def color(expression: str, colors: Mapping[str, str]) -> Color:
    """Evaluate ``#rrggbb`` or ``$name``, then ``+N`` or ``-N`` per cent, then ``@alpha``; 0 to 255.

    >>> color("#ff0000@0.5", {})
    (255.0, 0.0, 0.0, 127.5)
    """
    found = _EXPRESSION.fullmatch(expression)
    assert found is not None, expression
    base, shift, alpha = found.groups()
    if base.startswith("$"):
        red, green, blue, opacity = color(colors[base[1:]], colors)
    else:
        digits = base[1:] if len(base) > 5 else "".join(2 * digit for digit in base[1:])
        red, green, blue, opacity = (float(int((digits + "ff")[k : k + 2], 16)) for k in (0, 2, 4, 6))
    if shift:
        part, towards = abs(float(shift)) / 100, 255.0 if float(shift) > 0 else 0.0
        red, green, blue = (value + (towards - value) * part for value in (red, green, blue))
    if alpha:
        opacity *= float(alpha[1:])
    return red, green, blue, opacity


class Canvas:
    """A picture with alpha, colours multiplied by it: float, 0 to 255, of shape (height, width, 4)."""

    def __init__(self, width: int, height: int) -> None:
        self.pixels: Floats = np.zeros((height, width, 4), np.float32)

    def paint(self, mask: Mask, colors: Floats) -> None:
        """Put ``colors``, RGBA without multiplied alpha, onto the canvas where ``mask`` is."""
        height, width = self.pixels.shape[:2]
        left, top = max(mask.x, 0), max(mask.y, 0)
        right, bottom = min(mask.x + mask.width, width), min(mask.y + mask.height, height)
        if right <= left or bottom <= top:
            return
        part = np.s_[top - mask.y : bottom - mask.y, left - mask.x : right - mask.x]
        colors = np.broadcast_to(colors, (mask.height, mask.width, 4))[part]
        strength = mask.pixels[part][..., None] * (colors[..., 3:] / 255)
        source = np.concatenate([colors[..., :3], np.full_like(colors[..., 3:], 255)], axis=2)
        target = self.pixels[top:bottom, left:right]
        target *= 1 - strength
        target += source * strength

    def over(self, other: Canvas) -> Canvas:
        """This canvas on top of another of the same size."""
        result = Canvas(self.pixels.shape[1], self.pixels.shape[0])
        result.pixels = self.pixels + other.pixels * (1 - self.pixels[..., 3:] / 255)
        return result

    def image(self, box: tuple[int, int, int, int] | None = None) -> Image.Image:
        """The picture, or what is inside of (left, top, right, bottom), for Pillow: straight alpha."""
        left, top, right, bottom = box or (0, 0, self.pixels.shape[1], self.pixels.shape[0])
        pixels = self.pixels[top:bottom, left:right]
        alpha = pixels[..., 3:]
        straight = np.divide(
            pixels[..., :3] * 255, alpha, out=np.zeros_like(pixels[..., :3]), where=alpha > 0
        )
        both = np.concatenate([straight, alpha], axis=2)
        return Image.fromarray(np.clip(both + 0.5, 0, 255).astype(np.uint8), "RGBA")


class Mask:
    """Coverage from 0 to 1, float of shape (height, width), whose corner is at (x, y) of the card."""

    def __init__(self, x: int, y: int, pixels: Floats) -> None:
        self.x, self.y, self.pixels = x, y, pixels
        self.height, self.width = pixels.shape

    def image(self) -> Image.Image:
        """The coverage for Pillow, 0 to 255."""
        return Image.fromarray((self.pixels * 255 + 0.5).astype(np.uint8))

    def blurred(self, radius: float, dx: float, dy: float) -> Mask:
        """The mask as a soft shadow, moved."""
        whole = int(radius + 0.5)
        pad = 2 * whole + 1
        image = Image.new("L", (self.width + 2 * pad, self.height + 2 * pad))
        image.paste(self.image(), (pad, pad))
        for _ in range(3):
            image = image.filter(ImageFilter.BoxBlur(max(1, 2 * whole // 3)))
        return Mask(self.x - pad + int(dx), self.y - pad + int(dy), np.asarray(image, np.float32) / 255)


def fill_mask(layer: Mapping[str, Any]) -> Mask:
    """The inside of a rect or path layer."""
    x, y, width, height = layer["box"]
    if layer["kind"] == "rect":
        return _rounded(x, y, width, height, layer.get("radius", 0))
    return polygons(_outlines(layer))


def stroke_mask(layer: Mapping[str, Any]) -> Mask:
    """The outline of a rect or path layer."""
    x, y, width, height = layer["box"]
    half, radius = layer["stroke_width"] / 2, layer.get("radius", 0)
    if layer["kind"] == "rect":
        outer = _rounded(x - half, y - half, width + 2 * half, height + 2 * half, radius + half)
        inner = _rounded(x + half, y + half, width - 2 * half, height - 2 * half, max(0, radius - half))
        return _without(outer, inner)
    left, top = math.floor(x - half) - 1, math.floor(y - half) - 1
    size = (math.ceil(width + 2 * half) + 3, math.ceil(height + 2 * half) + 3)
    image = Image.new("L", (size[0] * FINE, size[1] * FINE))
    for outline in _outlines(layer):
        corners = [((px - left) * FINE, (py - top) * FINE) for px, py in (*outline, *outline[:2])]
        ImageDraw.Draw(image).line(corners, 255, round(2 * half * FINE), joint="curve")
    return Mask(left, top, np.asarray(image.reduce(FINE), np.float32) / 255)


def _outlines(layer: Mapping[str, Any]) -> list[list[tuple[float, float]]]:
    """The outlines of a path layer in pixels of the card."""
    x, y, width, height = layer["box"]
    across, down = layer["view_box"]
    return [
        [(x + u * width / across, y + v * height / down) for u, v in outline]
        for outline in outlines_of(layer["path"])
    ]


def _without(outer: Mask, inner: Mask) -> Mask:
    """What a mask covers and a smaller one inside of it does not."""
    dx, dy = inner.x - outer.x, inner.y - outer.y
    pixels = outer.pixels.copy()
    pixels[dy : dy + inner.height, dx : dx + inner.width] -= inner.pixels
    return Mask(outer.x, outer.y, pixels)


def _rounded(x: float, y: float, width: float, height: float, radius: float) -> Mask:
    left, top = math.floor(x), math.floor(y)
    size = (math.ceil(x + width) - left, math.ceil(y + height) - top)
    image = Image.new("L", (size[0] * FINE, size[1] * FINE))
    corners = (
        (x - left) * FINE,
        (y - top) * FINE,
        (x - left + width) * FINE - 1,
        (y - top + height) * FINE - 1,
    )
    ImageDraw.Draw(image).rounded_rectangle(corners, radius * FINE, 255)
    return Mask(left, top, np.asarray(image.reduce(FINE), np.float32) / 255)


def polygons(outlines: list[list[tuple[float, float]]]) -> Mask:
    """The inside of closed outlines; an outline that runs the other way cuts a hole (the non-zero rule)."""
    points = [point for outline in outlines for point in outline]
    left, top = (math.floor(min(point[k] for point in points)) for k in (0, 1))
    right, bottom = (math.ceil(max(point[k] for point in points)) for k in (0, 1))
    size = (max(1, right - left) * FINE, max(1, bottom - top) * FINE)
    turns = np.zeros((size[1], size[0]), np.int8)
    for outline in outlines:
        if len(outline) < 3:
            continue
        image = Image.new("1", size)
        corners = [((px - left) * FINE - 0.5, (py - top) * FINE - 0.5) for px, py in outline]
        ImageDraw.Draw(image).polygon(corners, 1)
        turns += np.asarray(image, np.int8) * (1 if _area(outline) > 0 else -1)
    image = Image.fromarray(np.where(turns != 0, 255, 0).astype(np.uint8))
    return Mask(left, top, np.asarray(image.reduce(FINE), np.float32) / 255)


def _area(outline: list[tuple[float, float]]) -> float:
    following = outline[1:] + outline[:1]
    return sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(outline, following, strict=True))


def circle(x: float, y: float, radius: float) -> Mask:
    """A disc."""
    steps = [2 * math.pi * k / 180 for k in range(180)]
    return polygons([[(x + radius * math.cos(at), y + radius * math.sin(at)) for at in steps]])


def ring(x: float, y: float, radius: float, width: float) -> Mask:
    """The outline of a disc."""
    return _without(circle(x, y, radius + width / 2), circle(x, y, radius - width / 2))


def colors_of(paint: Any, box: list[float], mask: Mask, colors: Mapping[str, str]) -> Floats:
    """The RGBA of a paint at each pixel of a mask: one colour, or a gradient over ``box``."""
    if isinstance(paint, str):
        return np.array(color(paint, colors), np.float32)
    x, y, width, height = box
    (kind, gradient) = next(iter(paint.items()))
    rows, columns = np.mgrid[0 : mask.height, 0 : mask.width].astype(np.float32)
    px, py = columns + (mask.x + 0.5), rows + (mask.y + 0.5)
    if kind == "linear":
        angle = math.radians(gradient["angle"])
        along, down = math.cos(angle), math.sin(angle)
        length = abs(along) * width + abs(down) * height
        at = ((px - x - width / 2) * along + (py - y - height / 2) * down) / length + 0.5
    else:
        centre = (x + gradient["center"][0] * width, y + gradient["center"][1] * height)
        at = np.hypot(px - centre[0], py - centre[1]) / (gradient["radius"] * max(width, height))
    stops = [(stop["at"], color(stop["color"], colors)) for stop in gradient["stops"]]
    channels = [np.interp(at, [at for at, _ in stops], [rgba[k] for _, rgba in stops]) for k in range(4)]
    return np.stack(channels, axis=2).astype(np.float32)


# ---------------------------------------------------------------------------------------------- paths

_TOKEN = re.compile(r"[MLCQAZ]|[-+]?(?:[0-9]*\.[0-9]+|[0-9]+)")
_STEPS = 24


@functools.lru_cache(maxsize=64)
def outlines_of(path: str) -> list[list[tuple[float, float]]]:
    """The polygons of SVG path data with the commands M, L, C, Q, A and Z, which the templates use.

    >>> outlines_of("M0 0 L10 0 L10 10 Z")
    [[(0.0, 0.0), (10.0, 0.0), (10.0, 10.0)]]
    """
    tokens = _TOKEN.findall(path)
    done: list[list[tuple[float, float]]] = []
    outline: list[tuple[float, float]] = []
    command, at = "", 0

    def points(count: int) -> list[tuple[float, float]]:
        nonlocal at
        numbers = [float(number) for number in tokens[at : at + 2 * count]]
        at += 2 * count
        return list(zip(numbers[::2], numbers[1::2], strict=True))

    while at < len(tokens):
        if tokens[at].isalpha():
            command = tokens[at]
            at += 1
        if command == "M":
            outline = points(1)
            done.append(outline)
            command = "L"
        elif command == "L":
            outline += points(1)
        elif command in "CQ":
            outline += _bezier([outline[-1], *points(3 if command == "C" else 2)])
        elif command == "A":
            rx, ry, _, large, sweep = (float(number) for number in tokens[at : at + 5])
            at += 5
            outline += _arc(outline[-1], rx, ry, bool(large), bool(sweep), points(1)[0])
    return done


def _bezier(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    curve = []
    for step in range(1, _STEPS + 1):
        at, level = step / _STEPS, points
        while len(level) > 1:
            pairs = itertools.pairwise(level)
            level = [(a[0] + (b[0] - a[0]) * at, a[1] + (b[1] - a[1]) * at) for a, b in pairs]
        curve.append(level[0])
    return curve


def _arc(
    start: tuple[float, float], rx: float, ry: float, large: bool, sweep: bool, end: tuple[float, float]
) -> list[tuple[float, float]]:
    """An arc of an upright ellipse, by the formulas of SVG 1.1, appendix F.6."""
    dx, dy = (start[0] - end[0]) / 2, (start[1] - end[1]) / 2
    stretch = max(1.0, math.sqrt((dx / rx) ** 2 + (dy / ry) ** 2))
    rx, ry = rx * stretch, ry * stretch
    left = (rx * dy) ** 2 + (ry * dx) ** 2
    factor = math.sqrt(max(0.0, (rx * ry) ** 2 - left) / left) * (1 if large != sweep else -1)
    ux, uy = factor * rx * dy / ry, -factor * ry * dx / rx
    cx, cy = ux + (start[0] + end[0]) / 2, uy + (start[1] + end[1]) / 2
    first = math.atan2((dy - uy) / ry, (dx - ux) / rx)
    turn = math.atan2((-dy - uy) / ry, (-dx - ux) / rx) - first
    if sweep and turn <= 0:
        turn += 2 * math.pi
    elif not sweep and turn >= 0:
        turn -= 2 * math.pi
    steps = 3 * _STEPS
    angles = [first + turn * step / steps for step in range(1, steps + 1)]
    return [(cx + rx * math.cos(angle), cy + ry * math.sin(angle)) for angle in angles]
