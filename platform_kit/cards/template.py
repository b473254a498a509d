"""Templates: what a card looks like, declared in YAML.

A template is a YAML file. All lengths are numbers of pixels or texts with a unit: ``12``, ``"12px"``,
``"3.5mm"``.

    name: mine                      # shown in messages
    size: {width: 63.5mm, height: 88.9mm, dpi: 300}          # 750 x 1050 pixels
    fonts:                          # families; files are beside the template or among the shipped fonts
      title: {regular: Alegreya-Bold.ttf}
      body: {regular: Alegreya-Regular.ttf, italic: ..., bold: ..., bold_italic: ...}
    fallback: [NotoSansCJK-Subset.otf]         # for characters the family has not; default: all shipped
    colors: {ink: "#1d1a16", paper: "#f4ead6"}
    styles:                         # colours by a field's value; other values use the default
      rarity:
        default: {gem: "#444444"}
        values:
          rare: {words: [seltene, редкая], set: {gem: "#c9a227"}}   # words: other texts that mean it
        spread: [rare]              # optional: unknown values are spread over these entries
    icons:                          # sets of symbols, for costs, inline symbols and icons by field
      cost:
        default: {shape: circle, fill: "#ccc", color: "#111"}
        symbols:
          R: {words: [red], shape: circle, fill: "#d3202a", color: "#fff", path: "M50 0 L100 100 L0 100 Z"}
    layers:                         # drawn in this order
      - {kind: rect, box: [0, 0, 750, 1050], fill: $paper}
      - {kind: text, box: [60, 60, 500, 50], text: "{name}", font: title, size: 44, min_size: 24}

**Colours** are ``#rgb``, ``#rrggbb``, ``#rrggbbaa`` or ``$name`` from colors or styles; then, if wanted,
``+20`` or ``-20`` (lighter or darker, in per cent) and ``@0.5`` (alpha): ``$gem-30@0.8``. A **paint** is a
colour, ``{linear: {angle: 90, stops: [[0, $a], [1, $b]]}}`` or ``{radial: {center: [0.5, 0.5], radius: 0.7,
stops: ...}}``; angle 0 runs to the right, 90 down.

**Text** holds columns in braces: ``"{power}/{toughness}"``; ``{{`` and ``}}`` are braces. Any column of the
deck can be used; ``{power|attack}`` is the first of several that has a value, and names may differ from the
deck's in upper and lower case. The columns ``lang`` or ``language`` decide between regional forms of Han
characters.

Every layer has ``kind`` and may have ``name``, ``opacity`` (0 to 1) and ``when``: a column's name (drawn if
it has a value), ``power|attack`` (one of them has), ``not column``, ``{field: rarity, in: [rare, mythic]}``,
or a list, of which all have to hold. ``art`` in a condition is the card's picture. A layer's keys, with *
where required; ``box`` is [x, y, width, height]:

group
    layers*
rect, ellipse
    box*, fill, stroke, stroke_width, shadow {dx, dy, blur, color}; rect also radius
path
    box*, path* (SVG path data), view_box* [width, height], and a rect's other keys
text
    box*, font*, size*, min_size, color, bold, italic, align (left, center, right; without it, text begins
    where its script does), valign (top, middle, bottom), line_height, spacing (em), case (upper, lower),
    max_lines, paragraph_gap (em), outline {color, width}, shadow, symbols (an icon set for {X} in
    the text), parentheses (italic), beside (name of an icons layer to leave room for), quiet (no warnings),
    and either text* or parts*: a list of {text*, when, bold, italic, color, scale, gap, divider, align}
icons
    box*, field*, set*, size*, min_size, gap (in sizes), align, color, shadow, split (cost: "{2}{R}", "2RR" or
    a list; whole: one icon for the field's value)
art
    box*, palette* (dark, middle, light, accent: for cards without art), fit (cover, contain), position (of
    what is kept, [0.5, 0.5] is the middle), radius, fill
image
    box*, file*, fit, color (an SVG's currentColor)

An icon has ``shape`` (circle, square, diamond, hexagon, octagon, shield, drop, none), ``fill`` (a paint),
``stroke``, ``stroke_width`` (in sizes), ``color``, ``words``, ``inset`` (in sizes), and shows ``path`` (path
data in a box of 100 by 100), a ``file``, or ``text`` (default: the symbol).

Text shrinks from ``size`` down to ``min_size`` to fit its box; what does not fit even then ends with an
ellipsis and a warning. A text of at most two lines stays on one as long as that keeps it readable. Layers
without words or art are drawn once per style and kept, so they belong together.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from platform_kit.errors import TemplateError

HERE = Path(__file__).parent
SHIPPED = HERE / "templates"
FONTS = HERE / "fonts"
ICONS = HERE / "icons"

#: Fonts tried, in this order, for characters that a template's own families have not.
FALLBACK = (
    "Inter-Regular.ttf",
    "NotoSansHebrew-Regular.ttf",
    "NotoSansThai-Regular.ttf",
    "NotoSansDevanagari-Regular.ttf",
    "NotoSansArabic-Regular.ttf",
    "NotoSansCJK-Subset.otf",
    "NotoSansSymbols-Regular.ttf",
    "NotoSansSymbols2-Regular.ttf",
)

_FORMAT = 1
_MAX_FILE = 32 << 20
_MAX_YAML = 2 << 20
_COLOR = re.compile(
    r"(\$[a-z][a-z0-9_]*|#(?:[0-9a-fA-F]{3,4}|[0-9a-fA-F]{6}|[0-9a-fA-F]{8}))([+-]\d+(?:\.\d+)?)?(@\d*\.?\d+)?"
)
_LENGTH = re.compile(r"([+-]?\d+(?:\.\d+)?)\s*(px|mm)?")
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_FACES = ("regular", "bold", "italic", "bold_italic")
_SHAPES = ("circle", "square", "diamond", "hexagon", "octagon", "shield", "drop", "none")
_IMAGE_TYPES = {".svg": "svg", ".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}
_FONT_TYPES = (".ttf", ".otf")


@dataclass(frozen=True)
class Template:
    """A checked template, ready to be sent to the renderer.

    Parameters
    ----------
    name: What the template calls itself.
    path: The YAML file it was read from.

    Example
    -------
    >>> template = Template.read("classic")
    >>> template.name, len(template.digest)
    ('classic', 64)
    """

    name: str
    path: Path
    _bundle: bytes = field(repr=False)
    _files: Mapping[str, bytes] = field(repr=False)

    @classmethod
    def read(cls, name: str | Path) -> Template:
        """Read and check a template.

        Parameters
        ----------
        name: Name of a shipped template, such as ``"classic"``, or the path of a YAML file.

        Raises
        ------
        TemplateError
            There is no such template, it is not valid YAML, or something in it cannot mean anything. The
            message names the place, as in ``layers[3].font``, and what would be allowed.

        Example
        -------
        >>> Template.read("minimal").name
        'minimal'
        """
        path = _find(name)
        try:
            raw = path.read_bytes()
        except OSError as error:
            raise TemplateError(
                f"The template {path} cannot be read: {error.strerror}.",
                hint="Check the path and its permissions.",
            ) from error
        if len(raw) > _MAX_YAML:
            raise TemplateError(
                f"The template {path} has {len(raw)} bytes.",
                hint=f"At most {_MAX_YAML} are allowed; pictures go beside it.",
            )
        try:
            data = copy.deepcopy(_parse(raw))
        except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
            raise TemplateError(
                f"The template {path} is not valid YAML: {error}", hint="Correct it there."
            ) from error
        reader = _Reader(path)
        try:
            bundle = reader.template(data)
        except RecursionError as error:
            raise TemplateError(
                f"The template {path} refers to itself.", hint="Remove the YAML alias that does."
            ) from error
        text = json.dumps(bundle, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return cls(bundle["name"], path, text.encode(), dict(reader.files))

    @staticmethod
    def shipped() -> list[str]:
        """Names of the templates that come with the kit.

        Example
        -------
        >>> Template.shipped()
        ['classic', 'minimal']
        """
        return sorted(p.stem for p in SHIPPED.glob("*.yaml"))

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height of a card in pixels."""
        bundle = json.loads(self._bundle)
        return bundle["width"], bundle["height"]

    def bundle(self) -> bytes:
        """The resolved template as canonical JSON, every file named by its SHA-256."""
        return self._bundle

    def files(self) -> dict[str, bytes]:
        """Contents of the fonts, icons and images that the bundle names, by SHA-256."""
        return dict(self._files)

    @property
    def columns(self) -> frozenset[str]:
        """The columns of a deck it looks at, in lower case.

        >>> {"name", "rarity", "art"} <= Template.read("minimal").columns
        True
        """
        found = {"art"}

        def walk(node: Any) -> None:
            if isinstance(node, dict):
                for key, value in node.items():
                    if key == "field" and isinstance(value, str):
                        found.update(value.split("|"))
                    elif key == "text" and isinstance(value, str):
                        for names in _COLUMN.findall(value.replace("{{", "").replace("}}", "")):
                            found.update(names.split("|"))
                    walk(value)
            elif isinstance(node, list):
                for value in node:
                    walk(value)

        bundle = json.loads(self._bundle)
        walk([bundle["layers"], bundle["styles"]])
        return frozenset(name.strip().lower() for name in found)

    @property
    def digest(self) -> str:
        """SHA-256 of :meth:`bundle`; it changes when the template or any of its files does."""
        return hashlib.sha256(self._bundle).hexdigest()


_COLUMN = re.compile(r"\{([^{}]+)\}")


class _Loader(yaml.SafeLoader):
    """YAML without duplicate keys."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode):
            if key.value in seen and key.value != "<<":
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} is there twice", key.start_mark
                )
            seen.add(key.value)
    loader.flatten_mapping(node)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


@functools.lru_cache(maxsize=8)
def _parse(raw: bytes) -> Any:
    """The document. Parsing takes longer than drawing a card, and most runs use the template of the last."""
    return yaml.load(raw, Loader=_Loader)


def _find(name: str | Path) -> Path:
    text = str(name)
    if isinstance(name, str) and _NAME.fullmatch(text) and (SHIPPED / f"{text}.yaml").is_file():
        return SHIPPED / f"{text}.yaml"
    path = Path(name).expanduser()
    if path.is_file():
        return path
    raise TemplateError(
        f"There is no template {text!r}.",
        hint=f"Use one of {', '.join(Template.shipped())}, or the path of a YAML file.",
    )


class _Reader:
    """Checks a template and resolves everything in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder = path.resolve().parent
        self.files: dict[str, bytes] = {}
        self.dpi = 300.0
        self.names: set[str] = set()  # of colours
        self.fonts: set[str] = set()
        self.sets: set[str] = set()
        self.layer_names: set[str] = set()
        self.count = 0

    def fail(self, where: str, what: str, hint: str) -> TemplateError:
        return TemplateError(f"{self.path.name}: {where}: {what}", hint=hint)

    # values

    def table(
        self, value: Any, where: str, required: tuple[str, ...] = (), optional: tuple[str, ...] | None = ()
    ) -> dict[str, Any]:
        """A mapping with known keys; ``optional=None`` allows any."""
        if not isinstance(value, dict):
            raise self.fail(
                where, f"{_show(value)} is not a mapping.", "Write keys and values, as in {key: value}."
            )
        for key in value:
            if not isinstance(key, str):
                raise self.fail(where, f"the key {key!r} is not a text.", "Put it into quotes.")
            if optional is not None and key not in required and key not in optional:
                allowed = ", ".join(sorted({*required, *optional}))
                raise self.fail(
                    f"{where}.{key}" if where else key, "there is no such key.", f"Allowed here: {allowed}."
                )
        for key in required:
            if value.get(key) is None:
                raise self.fail(where or "the template", f"{key!r} is missing.", f"Add {key}.")
        return value

    def items(self, value: Any, where: str, length: int | None = None) -> list[Any]:
        if not isinstance(value, list) or (length is not None and len(value) != length):
            wanted = "a list" if length is None else f"a list of {length}"
            raise self.fail(where, f"{_show(value)} is not {wanted}.", "Write it as [a, b, ...].")
        return value

    def number(self, value: Any, where: str, low: float = -1e5, high: float = 1e5) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self.fail(
                where, f"{_show(value)} is not a number.", f"Use a number from {low:g} to {high:g}."
            )
        if not low <= value <= high:
            raise self.fail(where, f"{value} is out of range.", f"Use a number from {low:g} to {high:g}.")
        return float(value)

    def length(self, value: Any, where: str, low: float = -1e4, high: float = 1e4) -> float:
        """Pixels."""
        if isinstance(value, str):
            match = _LENGTH.fullmatch(value.strip())
            if not match:
                raise self.fail(
                    where,
                    f"{_show(value)} is not a length.",
                    "Use a number of pixels, or a text such as 12px or 3.5mm.",
                )
            amount = float(match[1]) * (self.dpi / 25.4 if match[2] == "mm" else 1.0)
            return self.number(round(amount, 4), where, low, high)
        return self.number(value, where, low, high)

    def text(self, value: Any, where: str, limit: int = 10_000) -> str:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise self.fail(where, f"{_show(value)} is not a text.", "Write a text, in quotes if in doubt.")
        if len(str(value)) > limit:
            raise self.fail(
                where, f"a text of {len(str(value))} characters.", f"At most {limit} are allowed."
            )
        return str(value)

    def flag(self, value: Any, where: str) -> bool:
        if not isinstance(value, bool):
            raise self.fail(where, f"{_show(value)} is neither true nor false.", "Use true or false.")
        return value

    def choice(self, value: Any, where: str, allowed: tuple[str, ...]) -> str:
        if value not in allowed:
            raise self.fail(where, f"{_show(value)} is not known.", f"Use one of {', '.join(allowed)}.")
        return str(value)

    def name_in(self, value: Any, where: str, known: set[str], what: str) -> str:
        if value not in known:
            raise self.fail(
                where,
                f"there is no {what} {_show(value)}.",
                f"Use one of {', '.join(sorted(known)) or 'none: define one'}.",
            )
        return str(value)

    def color(self, value: Any, where: str) -> str:
        match = _COLOR.fullmatch(value) if isinstance(value, str) else None
        if not match:
            raise self.fail(
                where,
                f"{_show(value)} is not a colour.",
                'Use "#rrggbb" (in quotes) or $name, then +20, -20 or @0.5 if wanted.',
            )
        if match[1].startswith("$") and match[1][1:] not in self.names:
            known = ", ".join(f"${n}" for n in sorted(self.names))
            raise self.fail(
                where, f"there is no colour {match[1]}.", f"Use one of {known or 'colors, which is empty'}."
            )
        return str(value)

    def paint(self, value: Any, where: str) -> Any:
        if not isinstance(value, dict):
            return self.color(value, where)
        spec = self.table(value, where, (), ("linear", "radial"))
        if len(spec) != 1:
            raise self.fail(where, "a gradient is either linear or radial.", "Keep one of the two.")
        kind, inner = next(iter(spec.items()))
        place = f"{where}.{kind}"
        if kind == "linear":
            inner = self.table(inner, place, ("stops",), ("angle",))
            out: dict[str, Any] = {"angle": self.number(inner.get("angle", 90), f"{place}.angle", -360, 360)}
        else:
            inner = self.table(inner, place, ("stops",), ("center", "radius"))
            center = self.items(inner.get("center", [0.5, 0.5]), f"{place}.center", 2)
            out = {
                "center": [self.number(v, f"{place}.center[{i}]", -5, 5) for i, v in enumerate(center)],
                "radius": self.number(inner.get("radius", 0.5), f"{place}.radius", 0.001, 10),
            }
        stops = self.items(inner["stops"], f"{place}.stops")
        if not 2 <= len(stops) <= 50:
            raise self.fail(
                f"{place}.stops", f"{len(stops)} stops.", "Give 2 to 50, each as [position, colour]."
            )
        out["stops"] = []
        for i, stop in enumerate(stops):
            at, color = self.items(stop, f"{place}.stops[{i}]", 2)
            out["stops"].append(
                {
                    "at": self.number(at, f"{place}.stops[{i}][0]", 0, 1),
                    "color": self.color(color, f"{place}.stops[{i}][1]"),
                }
            )
        return {kind: out}

    # files

    def file(self, value: Any, where: str, shipped: Path, types: tuple[str, ...]) -> str:
        """The digest of a file beside the template or among the shipped ones."""
        name = self.text(value, where, 300)
        if Path(name).suffix.lower() not in types:
            raise self.fail(
                where, f"{_show(name)} is of the wrong type.", f"Use a file that ends in {', '.join(types)}."
            )
        for base in (self.folder, shipped):
            try:
                path = (base / name).resolve()
                inside = path.is_relative_to(base.resolve())
                found = inside and path.is_file()
            except (OSError, ValueError):
                continue
            if found:
                if path.stat().st_size > _MAX_FILE:
                    raise self.fail(
                        where, f"{name} has {path.stat().st_size} bytes.", f"At most {_MAX_FILE} are allowed."
                    )
                data = path.read_bytes()
                digest = hashlib.sha256(data).hexdigest()
                self.files[digest] = data
                return digest
        raise self.fail(
            where,
            f"there is no file {_show(name)} in {self.folder} or among the shipped ones.",
            "A file has to be in the template's folder, or one of "
            + ", ".join(sorted(p.name for p in shipped.glob("*") if p.suffix in types)),
        )

    def image(self, value: Any, where: str) -> dict[str, str]:
        digest = self.file(value, where, ICONS, tuple(_IMAGE_TYPES))
        return {"digest": digest, "type": _IMAGE_TYPES[Path(str(value)).suffix.lower()]}

    # sections

    def template(self, data: Any) -> dict[str, Any]:
        top = self.table(
            data, "", ("name", "layers"), ("size", "fonts", "fallback", "colors", "styles", "icons")
        )
        size = self.table(top.get("size", {}), "size", (), ("width", "height", "dpi"))
        self.dpi = self.number(size.get("dpi", 300), "size.dpi", 36, 2400)
        width = round(self.length(size.get("width", "63.5mm"), "size.width", 16, 6000))
        height = round(self.length(size.get("height", "88.9mm"), "size.height", 16, 6000))
        if width * height > 16_000_000:
            raise self.fail("size", f"{width} x {height} pixels.", "At most 16 million are allowed.")
        out: dict[str, Any] = {
            "format": _FORMAT,
            "name": self.text(top["name"], "name", 100),
            "width": width,
            "height": height,
            "dpi": self.dpi,
        }
        out["fonts"] = self.font_families(top.get("fonts", {}))
        fallback = self.items(top.get("fallback", list(FALLBACK)), "fallback")
        out["fallback"] = [self.file(f, f"fallback[{i}]", FONTS, _FONT_TYPES) for i, f in enumerate(fallback)]
        colors = self.table(top.get("colors", {}), "colors", (), None)
        styles = self.table(top.get("styles", {}), "styles", (), None)
        self.names = set(colors)
        for name, style in styles.items():
            spec = self.table(style, f"styles.{name}", ("default",), ("values", "spread"))
            self.names |= set(self.table(spec["default"], f"styles.{name}.default", (), None))
        for name in self.names:
            if not _NAME.fullmatch(name):
                raise self.fail(
                    "colors", f"{name!r} cannot be a colour's name.", "Use lower case letters, digits and _."
                )
        out["colors"] = {n: self.color(c, f"colors.{n}") for n, c in colors.items()}
        out["styles"] = [self.style(n, s) for n, s in styles.items()]
        out["icons"] = self.icon_sets(top.get("icons", {}))
        out["layers"] = self.layers(top["layers"], "layers", 0)
        return out

    def font_families(self, value: Any) -> dict[str, dict[str, str]]:
        out: dict[str, dict[str, str]] = {}
        for name, faces in self.table(value, "fonts", (), None).items():
            where = f"fonts.{name}"
            faces = self.table(faces, where, ("regular",), _FACES)
            out[name] = {f: self.file(p, f"{where}.{f}", FONTS, _FONT_TYPES) for f, p in faces.items()}
        self.fonts = set(out)
        return out

    def style(self, name: str, value: Any) -> dict[str, Any]:
        where = f"styles.{name}"
        default = {k: self.color(v, f"{where}.default.{k}") for k, v in value["default"].items()}
        values = []
        table = self.table(value.get("values", {}), f"{where}.values", (), None)
        for key, entry in table.items():
            place = f"{where}.values.{key}"
            entry = self.table(entry, place, ("set",), ("words",))
            colors = self.table(entry["set"], f"{place}.set", (), tuple(default))
            values.append(
                {
                    "key": key,
                    "words": self.words(entry, place),
                    "set": {k: self.color(v, f"{place}.set.{k}") for k, v in colors.items()},
                }
            )
        spread = self.items(value.get("spread", []), f"{where}.spread")
        keys = set(table)
        return {
            "field": name,
            "default": default,
            "values": values,
            "spread": [self.name_in(v, f"{where}.spread[{i}]", keys, "entry") for i, v in enumerate(spread)],
        }

    def words(self, entry: dict[str, Any], where: str) -> list[str]:
        return [
            self.text(w, f"{where}.words[{i}]", 100)
            for i, w in enumerate(self.items(entry.get("words", []), f"{where}.words"))
        ]

    def icon_sets(self, value: Any) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for name, spec in self.table(value, "icons", (), None).items():
            where = f"icons.{name}"
            spec = self.table(spec, where, (), ("default", "symbols"))
            symbols = self.table(spec.get("symbols", {}), f"{where}.symbols", (), None)
            out[name] = {"symbols": [self.icon(k, v, f"{where}.symbols.{k}") for k, v in symbols.items()]}
            if spec.get("default") is not None:
                out[name]["default"] = self.icon("", spec["default"], f"{where}.default")
        self.sets = set(out)
        return out

    def icon(self, key: str, value: Any, where: str) -> dict[str, Any]:
        keys = (
            "words",
            "shape",
            "fill",
            "stroke",
            "stroke_width",
            "color",
            "inset",
            "path",
            "file",
            "text",
            "font",
        )
        spec = self.table(value, where, (), keys)
        if sum(k in spec for k in ("path", "file", "text")) > 1:
            raise self.fail(where, "path, file and text exclude each other.", "Keep one of them.")
        out: dict[str, Any] = {"key": key, "words": self.words(spec, where)}
        out["shape"] = self.choice(spec.get("shape", "circle"), f"{where}.shape", _SHAPES)
        out["inset"] = self.number(spec.get("inset", 0.2), f"{where}.inset", 0, 0.49)
        readers: dict[str, tuple[str, Callable[[Any, str], Any]]] = {
            "fill": ("fill", self.paint),
            "stroke": ("stroke", self.color),
            "stroke_width": ("stroke_width", lambda v, w: self.number(v, w, 0, 1)),
            "color": ("color", self.color),
            "path": ("path", self.path_data),
            "file": ("image", self.image),
            "text": ("text", lambda v, w: self.text(v, w, 20)),
            "font": ("font", lambda v, w: self.name_in(v, w, self.fonts, "font")),
        }
        for k, (target, read) in readers.items():
            if k in spec:
                out[target] = read(spec[k], f"{where}.{k}")
        return out

    def path_data(self, value: Any, where: str) -> str:
        text = self.text(value, where, 100_000)
        if not re.fullmatch(r"\s*[Mm][MmLlHhVvCcSsQqTtAaZz0-9eE\s,.+-]*", text):
            raise self.fail(
                where, f"{_show(text)} is not SVG path data.", "It starts with M, as in M0 0 L10 0 L5 8 Z."
            )
        return text

    # layers

    def layers(self, value: Any, where: str, depth: int) -> list[dict[str, Any]]:
        if depth > 8:
            raise self.fail(where, "groups are nested more than 8 deep.", "Use fewer groups.")
        return [self.layer(v, f"{where}[{i}]", depth) for i, v in enumerate(self.items(value, where))]

    def layer(self, value: Any, where: str, depth: int) -> dict[str, Any]:
        self.count += 1
        if self.count > 1000:
            raise self.fail(where, "more than 1000 layers.", "Use fewer layers.")
        if not isinstance(value, dict):
            raise self.fail(where, f"{_show(value)} is not a layer.", "Write {kind: ..., box: [...], ...}.")
        kind = self.choice(value.get("kind"), f"{where}.kind", tuple(_LAYERS))
        required, optional = _LAYERS[kind]
        common = ("kind", "name", "when", "opacity")
        spec = self.table(value, where, required, (*optional, *common))
        readers = self.readers(depth)
        out: dict[str, Any] = {"kind": kind}
        for key, item in spec.items():
            if key != "kind":
                target, read = readers[key]
                out[target] = read(item, f"{where}.{key}")
        if kind == "text":
            if "parts" not in out:
                raise self.fail(where, "neither text nor parts is there.", 'Add text, as in text: "{name}".')
            if "text" in spec and "parts" in spec:
                raise self.fail(where, "text and parts exclude each other.", "Keep one of them.")
            out.setdefault("color", "#000000")
            out.setdefault("line_height", 1.15)
            if out.get("min_size", 0) > out["size"]:
                raise self.fail(
                    f"{where}.min_size", f"{out['min_size']:g} is larger than size.", "Use a smaller one."
                )
        if kind == "art":
            out.setdefault("position", [0.5, 0.5])
            if len(out["palette"]) != 4:
                raise self.fail(
                    f"{where}.palette",
                    f"{len(out['palette'])} colours.",
                    "Give four: dark, middle, light, accent.",
                )
        if kind == "icons":
            out.setdefault("split", "cost")
        if "name" in out:
            self.layer_names.add(out["name"])
        return out

    def readers(self, depth: int) -> dict[str, tuple[str, Callable[[Any, str], Any]]]:
        """For every key of a layer: its name in the bundle, and what reads it."""
        size = lambda v, w: self.length(v, w, 2, 1900)  # noqa: E731
        return {
            "name": ("name", lambda v, w: self.text(v, w, 60)),
            "when": ("when", self.conditions),
            "opacity": ("opacity", lambda v, w: self.number(v, w, 0, 1)),
            "layers": ("layers", lambda v, w: self.layers(v, w, depth + 1)),
            "box": ("box", self.box),
            "fill": ("fill", self.paint),
            "stroke": ("stroke", self.paint),
            "stroke_width": ("stroke_width", lambda v, w: self.length(v, w, 0, 500)),
            "radius": ("radius", lambda v, w: self.length(v, w, 0, 5000)),
            "shadow": ("shadow", self.shadow),
            "path": ("path", self.path_data),
            "view_box": (
                "view_box",
                lambda v, w: [
                    self.number(x, f"{w}[{i}]", 0.001, 1e5) for i, x in enumerate(self.items(v, w, 2))
                ],
            ),
            "text": ("parts", lambda v, w: [{"text": self.text(v, w)}]),
            "parts": ("parts", self.parts),
            "font": ("font", lambda v, w: self.name_in(v, w, self.fonts, "font")),
            "size": ("size", size),
            "min_size": ("min_size", size),
            "color": ("color", self.color),
            "bold": ("bold", self.flag),
            "italic": ("italic", self.flag),
            "align": ("align", lambda v, w: self.choice(v, w, ("left", "center", "right"))),
            "valign": ("valign", lambda v, w: self.choice(v, w, ("top", "middle", "bottom"))),
            "line_height": ("line_height", lambda v, w: self.number(v, w, 0.5, 5)),
            "spacing": ("spacing", lambda v, w: self.number(v, w, -0.2, 2)),
            "case": ("case", lambda v, w: self.choice(v, w, ("upper", "lower"))),
            "max_lines": ("max_lines", lambda v, w: int(self.number(v, w, 1, 200))),
            "paragraph_gap": ("paragraph_gap", lambda v, w: self.number(v, w, 0, 5)),
            "outline": ("outline", self.outline),
            "symbols": ("symbols", lambda v, w: self.name_in(v, w, self.sets, "icon set")),
            "parentheses": ("parentheses", lambda v, w: self.choice(v, w, ("italic",))),
            "beside": ("beside", lambda v, w: self.name_in(v, w, self.layer_names, "earlier layer")),
            "quiet": ("quiet", self.flag),
            "field": ("field", lambda v, w: self.text(v, w, 200)),
            "set": ("set", lambda v, w: self.name_in(v, w, self.sets, "icon set")),
            "gap": ("gap", lambda v, w: self.number(v, w, -1, 5)),
            "split": ("split", lambda v, w: self.choice(v, w, ("cost", "whole"))),
            "file": ("image", self.image),
            "fit": ("fit", lambda v, w: self.choice(v, w, ("cover", "contain"))),
            "position": (
                "position",
                lambda v, w: [self.number(x, f"{w}[{i}]", 0, 1) for i, x in enumerate(self.items(v, w, 2))],
            ),
            "palette": (
                "palette",
                lambda v, w: [self.color(x, f"{w}[{i}]") for i, x in enumerate(self.items(v, w))],
            ),
        }

    def box(self, value: Any, where: str) -> list[float]:
        x, y, w, h = self.items(value, where, 4)
        return [
            self.length(x, f"{where}[0]"),
            self.length(y, f"{where}[1]"),
            self.length(w, f"{where}[2]", 0.5),
            self.length(h, f"{where}[3]", 0.5),
        ]

    def shadow(self, value: Any, where: str) -> dict[str, Any]:
        spec = self.table(value, where, ("color",), ("dx", "dy", "blur"))
        out: dict[str, Any] = {
            k: self.length(spec.get(k, 0), f"{where}.{k}", -500, 500) for k in ("dx", "dy")
        }
        out["blur"] = self.length(spec.get("blur", 0), f"{where}.blur", 0, 200)
        out["color"] = self.color(spec["color"], f"{where}.color")
        return out

    def outline(self, value: Any, where: str) -> dict[str, Any]:
        spec = self.table(value, where, ("color", "width"))
        return {
            "color": self.color(spec["color"], f"{where}.color"),
            "width": self.length(spec["width"], f"{where}.width", 0, 40),
        }

    def parts(self, value: Any, where: str) -> list[dict[str, Any]]:
        parts = self.items(value, where)
        if not 1 <= len(parts) <= 50:
            raise self.fail(where, f"{len(parts)} parts.", "Give 1 to 50.")
        readers: dict[str, Callable[[Any, str], Any]] = {
            "text": self.text,
            "when": self.conditions,
            "bold": self.flag,
            "italic": self.flag,
            "color": self.color,
            "divider": self.color,
            "scale": lambda v, w: self.number(v, w, 0.1, 5),
            "gap": lambda v, w: self.number(v, w, 0, 10),
            "align": lambda v, w: self.choice(v, w, ("left", "center", "right")),
        }
        out = []
        for i, item in enumerate(parts):
            spec = self.table(item, f"{where}[{i}]", ("text",), tuple(readers))
            out.append({k: readers[k](v, f"{where}[{i}].{k}") for k, v in spec.items()})
        return out

    def conditions(self, value: Any, where: str) -> list[dict[str, Any]]:
        if not isinstance(value, list):
            return [self.condition(value, where)]
        return [self.condition(v, f"{where}[{i}]") for i, v in enumerate(value)]

    def condition(self, value: Any, where: str) -> dict[str, Any]:
        if isinstance(value, str):
            name = value.removeprefix("not ").strip()
            if not name:
                raise self.fail(
                    where, "an empty condition.", "Write a column's name, or not and a column's name."
                )
            return {"field": name, "present": not value.startswith("not ")}
        spec = self.table(value, where, ("field",), ("in", "not"))
        out: dict[str, Any] = {"field": self.text(spec["field"], f"{where}.field", 200)}
        if "in" in spec:
            out["in"] = [
                self.text(v, f"{where}.in[{i}]") for i, v in enumerate(self.items(spec["in"], f"{where}.in"))
            ]
        else:
            out["present"] = True
        out["not"] = self.flag(spec.get("not", False), f"{where}.not")
        return out


_SHAPE = ("fill", "stroke", "stroke_width", "shadow")

#: Required and optional keys of every kind of layer.
_LAYERS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "group": (("layers",), ()),
    "rect": (("box",), (*_SHAPE, "radius")),
    "ellipse": (("box",), _SHAPE),
    "path": (("box", "path", "view_box"), _SHAPE),
    "text": (
        ("box", "font", "size"),
        (
            "text",
            "parts",
            "min_size",
            "color",
            "bold",
            "italic",
            "align",
            "valign",
            "line_height",
            "spacing",
            "case",
            "max_lines",
        )
        + ("paragraph_gap", "outline", "shadow", "symbols", "parentheses", "beside", "quiet"),
    ),
    "icons": (("box", "field", "set", "size"), ("min_size", "gap", "align", "color", "shadow", "split")),
    "art": (("box", "palette"), ("fit", "position", "radius", "fill")),
    "image": (("box", "file"), ("fit", "color")),
}


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
