"""The rows of a deck: which column is which, and what is wrong with the form of a row."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from platform_kit.cards.deck_art import ArtFolder, is_address
from platform_kit.cards.deck_table import Record, Table
from platform_kit.cards.deck_text import undecoded
from platform_kit.errors import DeckError

REQUIRED = ("id", "name")
KNOWN = ("id", "name", "type", "cost", "rarity", "text", "art")
MAX_CELL_CHARS = 100_000
MAX_ROW_CHARS = 1_000_000

# Headers other programs and card databases use, by the column they stand for, the likeliest first.
# Compared without case, spaces and punctuation, and only where the column itself is absent.
ALIASES: dict[str, tuple[str, ...]] = {
    "id": ("cardid", "uuid", "guid", "identifier"),
    "name": ("cardname", "title", "cardtitle"),
    "type": ("cardtype", "typeline"),
    "cost": ("manacost", "castingcost", "cardcost", "playcost", "cmc"),
    "rarity": ("cardrarity",),
    "text": (
        "rulestext",
        "oracletext",
        "cardtext",
        "rules",
        "description",
        "desc",
        "effect",
        "abilities",
        "ability",
    ),
    "art": (
        "image",
        "artwork",
        "picture",
        "illustration",
        "imagefile",
        "artfile",
        "imagepath",
        "artpath",
        "img",
    ),
}
# Text whatever type the file has for them: 3, 3.0 and "3" are one cost.
_AS_TEXT = frozenset(KNOWN)
_STRIPPED = frozenset(KNOWN) - {"text"}
_ONE_LINE = frozenset(REQUIRED)
_FORBIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
_FORBIDDEN_IN_LINE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")

Value = str | int | float | bool | list[Any] | dict[str, Any]


@dataclass(frozen=True)
class CardRow:
    """One row that can become a card.

    Attributes
    ----------
    row: Its number as a person counts: the sheet's row (the header is 1), the position in a JSON list or
        frame (the first is 1), the line in JSON lines.
    id: The card's id, as text.
    fields: Every column that has a value, id and name included; JSON can hold all of it.
    art: The picture's file, resolved and inside the deck's folder, or None.
    """

    row: int
    id: str
    fields: dict[str, Value]
    art: Path | None = None


@dataclass(frozen=True)
class Rejection:
    """One row that does not become a card: which, in which column, why, and who said so.

    Attributes
    ----------
    row: Its number, counted as in :class:`CardRow`.
    id: Its id, or None if it has none that can be shown.
    column: The column at fault, or None for the row as a whole.
    reason: Why, for a person to read.
    stage: "deck" (its form), "rules" (the pipeline's business rules) or "render" (the renderer).
    """

    row: int
    id: str | None
    column: str | None
    reason: str
    stage: Literal["deck", "rules", "render"] = "deck"


# ── columns ─────────────────────────────────────────────────────────────────────────────────────────


def header_key(header: str) -> str:
    """Return what is left of a header without case, spaces and punctuation."""
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", header)).casefold()


def with_known_names(table: Table, what: str) -> Table:
    """Give the known columns their own names; what only resembles them keeps its column beside."""
    rename: dict[str, str] = {}
    copy: dict[str, str] = {}
    notes = list(table.notes)
    by_key: dict[str, list[str]] = {}
    for column in table.columns:
        by_key.setdefault(header_key(column), []).append(column)
    for known in KNOWN:
        if known in table.columns:
            continue
        same = by_key.get(known, [])
        if len(same) > 1:
            raise DeckError(
                f"{what} has {len(same)} columns that could be {known!r}: {', '.join(map(repr, same))}.",
                hint=f"Name one of them {known!r}.",
            )
        if same:
            rename[same[0]] = known
            continue
        candidates = [column for alias in ALIASES[known] for column in by_key.get(alias, [])]
        for column in candidates:
            if known == "art" and any(
                _is_address_cell(record.values.get(column)) for record in table.records
            ):
                notes.append(f"column {column!r} holds addresses, not files: not used as art")
                continue
            copy[column] = known
            notes.append(f"column {column!r} is used as {known}")
            break
    columns = [rename.get(column, column) for column in table.columns]
    columns += list(copy.values())
    missing = [name for name in REQUIRED if name not in columns]
    if missing:
        raise DeckError(
            f"{what} has no column {' and no column '.join(map(repr, missing))}; "
            f"its columns: {', '.join(map(repr, table.columns[:30])) or 'none'}.",
            hint=_column_hint(table, missing),
        )
    if not rename and not copy:
        return Table(columns, table.records, notes)
    records = []
    for record in table.records:
        values = (
            {rename.get(column, column): value for column, value in record.values.items()}
            if rename
            else dict(record.values)
        )
        for column, known in copy.items():
            if column in record.values:
                values[known] = record.values[column]
        records.append(replace(record, values=values, column=rename.get(record.column or "", record.column)))
    return Table(columns, records, notes)


def _is_address_cell(value: object) -> bool:
    return isinstance(value, (dict, list)) or (isinstance(value, str) and is_address(value.strip()))


def _column_hint(table: Table, missing: Sequence[str]) -> str:
    needed = "A deck needs the columns id and name."
    near = [
        f"{column!r} to {name!r}"
        for name in missing
        for column in difflib.get_close_matches(name, [c.casefold() for c in table.columns], n=1, cutoff=0.75)
    ]
    if near:
        return f"{needed} Rename {' and '.join(near)}?"
    if "id" in missing:
        for column in table.columns:
            values = [str(record.values.get(column, "")) for record in table.records]
            if (
                header_key(column) != "name"
                and all(values)
                and len(set(values)) == len(values)
                and max(map(len, values)) <= 64
            ):
                return f"{needed} Column {column!r} differs in every row: rename it to 'id' if it fits."
    if len(table.columns) == 1:
        return f'{needed} Only one column was found: if the delimiter is wrong, Deck.read(…, delimiter=";").'
    return f"{needed} Add them to the header, or rename those that hold them."


# ── rows ────────────────────────────────────────────────────────────────────────────────────────────


def check_rows(records: Sequence[Record], art: ArtFolder) -> tuple[list[CardRow], list[Rejection]]:
    """Sort records into rows that can become cards and rejections, in their order."""
    rows: list[CardRow] = []
    rejected: list[Rejection] = []
    first: dict[str, int] = {}
    for record in records:
        checked = _check_row(record, art, first)
        if isinstance(checked, CardRow):
            rows.append(checked)
        else:
            rejected.append(checked)
    return rows, rejected


def id_of(record: Record) -> str | None:
    """Return the id of a record as text, or None if it has none."""
    value = record.values.get("id")
    return None if value is None else _as_text(value).strip() or None


def _check_row(record: Record, art: ArtFolder, first: dict[str, int]) -> CardRow | Rejection:
    id = id_of(record)
    # Of two rows with one id the first counts, whatever is wrong with it: else a mistake in the
    # first would quietly put the second in its place.
    earlier = first.setdefault(id, record.row) if id is not None and not _FORBIDDEN.search(id) else record.row

    def no(column: str | None, reason: str) -> Rejection:
        shown = None if id is None else re.sub("[\ud800-\udfff]", "\ufffd", id)
        return Rejection(record.row, shown, column, reason)

    if record.problem:
        return no(record.column, record.problem)
    fields: dict[str, Value] = {}
    picture: Path | None = None
    chars = 0
    for column, value in record.values.items():
        if column in _AS_TEXT:
            value = _as_text(value)
            if column in _STRIPPED:
                value = value.strip()
                if not value:
                    continue
        if isinstance(value, str):
            chars += len(value)
            reason = _wrong_with(value, one_line=column in _ONE_LINE)
        elif isinstance(value, (dict, list)):
            chars += len(str(value))
            reason = next((why for text in _texts(value) if (why := _wrong_with(text, one_line=False))), "")
        else:
            reason = ""
        if reason:
            return no(column, reason)
        fields[column] = value
    for column in REQUIRED:
        if column not in fields:
            return no(column, f"{column} is missing" if column not in record.values else f"{column} is blank")
    if earlier != record.row:
        return no("id", f"duplicate of row {earlier}")
    if chars > MAX_ROW_CHARS:
        return no(None, f"the row holds {chars:,} characters; the limit is {MAX_ROW_CHARS:,}")
    if "art" in fields:
        found = art.find(str(fields["art"]))
        if isinstance(found, str):
            return no("art", found)
        picture = found
    return CardRow(record.row, str(fields["id"]), fields, picture)


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "\n".join(map(_as_text, value))
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_as_text(item)}" for key, item in value.items())
    return "" if value is None else str(value)


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield str(key)
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def _wrong_with(text: str, *, one_line: bool) -> str:
    """Return why no card can show this text, or ""."""
    if len(text) > MAX_CELL_CHARS:
        return f"{len(text):,} characters; the limit is {MAX_CELL_CHARS:,}"
    if text.isprintable():
        return ""
    found = (_FORBIDDEN_IN_LINE if one_line else _FORBIDDEN).search(text)
    if found is None:
        return ""
    if bad := undecoded(found.group()):
        return f"cannot be decoded ({bad} at character {found.start() + 1})"
    return f"holds the control character U+{ord(found.group()):04X} at character {found.start() + 1}"
