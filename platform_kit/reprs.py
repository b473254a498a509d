"""Tables and status cards that read the same as text and as HTML.

Both twins are made from the same data. HTML is escaped, uses inherited colours over translucent backgrounds
(so it fits light and dark themes), and stays a plain readable table where styles are stripped. Text is
aligned by display width, so that Chinese, Japanese and Korean names keep the columns straight. What could
move a terminal's cursor or turn a line around is shown as an escape.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, Literal

Tone = Literal["good", "busy", "bad", "quiet"]

MAX_CELL_WIDTH = 48  # columns of a terminal; longer cells end in "…"
MAX_ROWS = 60

_TONES: dict[str, Tone] = {
    **dict.fromkeys(["running", "ready", "finished", "ok", "rendered", "connected"], "good"),
    **dict.fromkeys(["starting", "stopping", "restarting", "waiting", "stale"], "busy"),
    **dict.fromkeys(["failed", "crashed", "error", "rejected", "lost"], "bad"),
}
_TONE_COLOURS: dict[Tone, str] = {"good": "#2da44e", "busy": "#d4a017", "bad": "#d1434b", "quiet": "#8c8c8c"}
_TONE_MARKS: dict[Tone, str] = {"good": "●", "busy": "◐", "bad": "✗", "quiet": "○"}

_LINE = "1px solid rgba(128,128,128,.28)"
_FONT = "font-family:var(--jp-ui-font-family,system-ui,sans-serif);font-size:var(--jp-ui-font-size1,13px)"
_MUTED = "opacity:.66"

# Control characters, line and paragraph separators, bidirectional overrides and isolates, lone surrogates.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


# ------------------------------------------------------------------------- words and numbers


def human_bytes(count: float) -> str:
    """Return a size as a person reads it.

    >>> human_bytes(1536), human_bytes(12), human_bytes(353 * 1024**2)
    ('1.5 KiB', '12 B', '353 MiB')
    """
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(size) < 1023.5 or unit == "TiB":
            break
        size /= 1024
    return f"{size:.0f} {unit}" if unit == "B" or abs(size) >= 99.95 else f"{size:.1f} {unit}"


def human_seconds(seconds: float) -> str:
    """Return a duration as a person reads it.

    >>> human_seconds(0.0142), human_seconds(3.21), human_seconds(125), human_seconds(7380)
    ('14 ms', '3.2 s', '2 min 05 s', '2 h 03 min')
    """
    if seconds < 0:
        return f"-{human_seconds(-seconds)}"
    if seconds < 0.0095:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    hours = round(seconds / 3600)
    return f"{hours // 24} d {hours % 24:02d} h"


def human_count(count: int, noun: str, plural: str | None = None) -> str:
    """Return a count with its noun.

    >>> human_count(1, "card"), human_count(2000, "card"), human_count(0, "entry", "entries")
    ('1 card', '2,000 cards', '0 entries')
    """
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


# ---------------------------------------------------------------------------- safe text


def clean(text: str) -> str:
    """Return ``text`` without what could break out of a line: such characters are shown as escapes.

    >>> clean("two\\nlines \\x1b[31m")
    'two⏎lines \\\\x1b[31m'
    """

    def escape(found: re.Match[str]) -> str:
        char = found.group()
        if char == "\n":
            return "⏎"
        if char == "\t":
            return " "
        code = ord(char)
        if 0xD800 <= code <= 0xDFFF:
            return "\N{REPLACEMENT CHARACTER}"
        return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"

    return _UNSAFE.sub(escape, text.replace("\r\n", "\n"))


def display_width(text: str) -> int:
    """Return how many columns of a terminal ``text`` takes.

    >>> display_width("card"), display_width("卡片"), display_width("e\\u0301")
    (4, 4, 1)
    """
    return sum(map(_char_width, text)) if not text.isascii() else len(text)


def _char_width(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me", "Cf") or "\u1160" <= char <= "\u11ff":
        return 0
    return 2 if unicodedata.east_asian_width(char) in ("W", "F") else 1


def shorten(text: str, width: int) -> str:
    """Return ``text`` cut to ``width`` columns, ending in "…" where something is missing.

    >>> shorten("Dragon of the North", 9), shorten("卡片卡片", 5)
    ('Dragon o…', '卡片…')
    """
    if len(text) <= width * 8 and display_width(text) <= width:
        return text
    taken, used = [], 0
    for char in text[: width * 8]:
        used += _char_width(char)
        if used > width - 1:
            break
        taken.append(char)
    return "".join(taken).rstrip("\u200d ") + "…"


def pad(text: str, width: int, *, right: bool = False) -> str:
    """Fill ``text`` with spaces to ``width`` columns, on the left if ``right``."""
    space = " " * max(0, width - display_width(text))
    return space + text if right else text + space


def cell_text(value: object) -> str:
    """Return a value as it stands in a cell: one safe line, "–" for nothing."""
    if value is None or (isinstance(value, float) and value != value):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.3f}".rstrip("0").rstrip(".") if abs(value) < 1e15 else f"{value:g}"
    if isinstance(value, PurePath):
        return clean(str(value))
    return clean(str(value))


def escape(value: object) -> str:
    """Return a value safe to stand in HTML, as text or inside a quoted attribute."""
    return html.escape(cell_text(value), quote=True)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


# ------------------------------------------------------------------------------ building blocks


class Shown:
    """Base of everything with a text and an HTML twin; Jupyter and the terminal pick what they can show."""

    def text(self) -> str:
        """Return the text twin."""
        raise NotImplementedError

    def html(self) -> str:
        """Return the HTML twin."""
        raise NotImplementedError

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        return self.html()

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/plain": self.text(), "text/html": self.html()}


@dataclass(frozen=True, repr=False)
class Table(Shown):
    """Rows under named columns.

    Parameters
    ----------
    columns: The columns' names.
    rows: One sequence of values a row; None shows as "–", numbers align right.
    caption: A line above the table.
    max_rows: How many rows are shown; the rest is counted in a last line.
    max_width: The longest cell in columns of a terminal; the data itself is never cut.

    Example
    -------
    >>> print(Table(["name", "cards"], [["Wald", 12], ["森の王", 3]]))
    name    cards
    ──────  ─────
    Wald       12
    森の王      3
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    caption: str = ""
    max_rows: int = MAX_ROWS
    max_width: int = MAX_CELL_WIDTH

    def __post_init__(self) -> None:
        for number, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise ValueError(f"row {number} has {len(row)} values for {len(self.columns)} columns")

    @property
    def _note(self) -> str:
        hidden = len(self.rows) - self.max_rows
        return f"showing {self.max_rows:,} of {human_count(len(self.rows), 'row')}" if hidden > 0 else ""

    def _numeric(self) -> list[bool]:
        """Which columns hold numbers only (and blanks)."""
        columns = list(zip(*self.rows, strict=True)) or [()] * len(self.columns)
        return [
            any(map(_is_number, column)) and all(value is None or _is_number(value) for value in column)
            for column in columns
        ]

    def text(self) -> str:
        """Return the table as aligned lines."""
        head = [shorten(clean(name), self.max_width) for name in self.columns]
        body = [
            [shorten(cell_text(value), self.max_width) for value in row] for row in self.rows[: self.max_rows]
        ]
        widths = [max(map(display_width, column)) for column in zip(head, *body, strict=True)]
        numeric = self._numeric()
        lines = [clean(self.caption)] if self.caption else []
        for cells in [head, ["─" * width for width in widths], *body]:
            padded = [
                pad(cell, width, right=right)
                for cell, width, right in zip(cells, widths, numeric, strict=True)
            ]
            lines.append("  ".join(padded).rstrip())
        if self._note:
            lines.append(f"… {self._note}")
        return "\n".join(lines)

    def html(self) -> str:
        """Return the table as one ``<table>`` element."""
        numeric = self._numeric()

        def cell(tag: str, value: object, right: bool, style: str) -> str:
            full = cell_text(value)
            shown = shorten(full, self.max_width)
            title = f' title="{html.escape(full[:2000])}"' if shown != full else ""
            align = "right" if right else "left"
            digits = ";font-variant-numeric:tabular-nums" if right else ""
            return (
                f'<{tag} dir="auto"{title} style="text-align:{align};padding:3px 14px 3px 0;'
                f'vertical-align:top;background:transparent{digits}{style}">{html.escape(shown)}</{tag}>'
            )

        head = "".join(
            cell("th", name, right, f";font-weight:600;border-bottom:{_LINE}")
            for name, right in zip(self.columns, numeric, strict=True)
        )
        body = "".join(
            '<tr style="background:transparent">'
            + "".join(
                cell("td", value, right, f";border-bottom:{_LINE}")
                for value, right in zip(row, numeric, strict=True)
            )
            + "</tr>"
            for row in self.rows[: self.max_rows]
        )
        caption = (
            f'<caption style="text-align:left;caption-side:top;padding:2px 0;{_MUTED}">'
            f"{escape(self.caption)}</caption>"
            if self.caption
            else ""
        )
        note = (
            f'<tfoot><tr><td colspan="{len(self.columns)}" style="text-align:left;padding:4px 0;{_MUTED}">'
            f"{self._note}</td></tr></tfoot>"
            if self._note
            else ""
        )
        return (
            f'<table style="border-collapse:collapse;margin:4px 0;color:inherit;{_FONT}">{caption}'
            f'<thead><tr style="background:transparent">{head}</tr></thead>'
            f"<tbody>{body}</tbody>{note}</table>"
        )


@dataclass(frozen=True, repr=False)
class StatusCard(Shown):
    """A thing, its state, some facts about it, and perhaps a table of its parts.

    Parameters
    ----------
    title: What it is.
    state: One word ("running"); well-known words choose the tone.
    facts: Name and value, in order; facts whose value is None are left out.
    table: Its parts.
    tone: ``good``, ``busy``, ``bad`` or ``quiet``, where the word alone does not say it.

    Example
    -------
    >>> print(StatusCard("platform", "running", {"workers": 2, "memory": human_bytes(70_000_000)}))
    ● platform: running
      workers  2
      memory   66.8 MiB
    """

    title: str
    state: str
    facts: Mapping[str, object] = field(default_factory=dict)
    table: Table | None = None
    tone: Tone | None = None

    @property
    def _tone(self) -> Tone:
        return self.tone or _TONES.get(self.state.lower(), "quiet")

    def _facts(self) -> Iterable[tuple[str, object]]:
        return ((name, value) for name, value in self.facts.items() if value is not None)

    def text(self) -> str:
        """Return the card as indented lines under a headline."""
        facts = [(clean(name), shorten(cell_text(value), 120)) for name, value in self._facts()]
        width = max((display_width(name) for name, _ in facts), default=0)
        lines = [f"{_TONE_MARKS[self._tone]} {clean(self.title)}: {clean(self.state)}"]
        lines += [f"  {pad(name, width)}  {value}" for name, value in facts]
        if self.table is not None:
            lines += [f"  {line}".rstrip() for line in self.table.text().split("\n")]
        return "\n".join(lines)

    def html(self) -> str:
        """Return the card as one bordered block."""
        colour = _TONE_COLOURS[self._tone]
        facts = "".join(
            f'<tr style="background:transparent"><td style="text-align:left;padding:2px 16px 2px 0;'
            f'white-space:nowrap;vertical-align:top;background:transparent;{_MUTED}">{escape(name)}</td>'
            f'<td dir="auto" style="text-align:left;padding:2px 0;background:transparent;'
            f'font-variant-numeric:tabular-nums;overflow-wrap:anywhere">'
            f"{html.escape(shorten(cell_text(value), 400))}</td></tr>"
            for name, value in self._facts()
        )
        if facts:
            facts = (
                f'<table style="border-collapse:collapse;margin:6px 0 2px;color:inherit;{_FONT}">'
                f"<tbody>{facts}</tbody></table>"
            )
        table = self.table.html() if self.table is not None else ""
        return (
            f'<div style="display:inline-block;max-width:100%;box-sizing:border-box;overflow-x:auto;'
            f"padding:10px 16px;margin:2px 0;border:{_LINE};border-left:4px solid {colour};border-radius:6px;"
            f'background:rgba(128,128,128,.06);color:inherit;{_FONT};line-height:1.45">'
            f'<div style="font-size:115%"><b>{escape(self.title)}</b> '
            f'<span style="margin-left:8px;padding:1px 9px;border-radius:9px;font-size:86%;'
            f'border:1px solid {colour};background:{colour}2e">{escape(self.state)}</span></div>'
            f"{facts}{table}</div>"
        )
