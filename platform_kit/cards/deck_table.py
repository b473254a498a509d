"""The table between a deck's file and its rows: records of plain values under named columns."""

from __future__ import annotations

import datetime
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from platform_kit.cards.deck_text import undecoded
from platform_kit.errors import DeckError

if TYPE_CHECKING:
    import pandas as pd

MAX_ROWS = 1_048_576  # what a sheet can hold
MAX_EXACT_INT = 2**53  # above it other languages lose digits


@dataclass(frozen=True)
class Record:
    """One row: its number, its values by column, and what is wrong with its form, if anything."""

    row: int
    values: dict[str, Any]
    problem: str = ""
    column: str | None = None


@dataclass
class Table:
    """What a file holds: its columns in order, its records, and what was guessed while reading it."""

    columns: list[str]
    records: list[Record]
    notes: list[str] = field(default_factory=list)


class Twice(dict[str, Any]):
    """An object that names a key twice; JSON leaves open which counts, so the row says it."""

    key = ""


def read_frame(frame: pd.DataFrame) -> Table:
    """Read a DataFrame; missing values of every kind become absent, numpy's types become Python's.

    Raises ``DeckError`` for duplicate or nested column labels, or a frame without rows.
    """
    import pandas as pd

    if frame.columns.nlevels > 1:
        raise DeckError(
            f"The frame's columns have {frame.columns.nlevels} levels.",
            hint="Flatten them: one label a column.",
        )
    notes: list[str] = []
    named = [str(name) for name in frame.index.names if name is not None]
    if any(name.strip().casefold() == "id" for name in named) and "id" not in frame.columns:
        frame = frame.reset_index()
        notes.append("the frame's index is used as column id")
    columns = [str(label) for label in frame.columns]
    check_columns(columns, "The frame")
    if frame.empty:
        raise DeckError("The frame has no rows.", hint="Pass a DataFrame with at least one card.")
    lists = []
    for position in range(len(columns)):
        series = frame.iloc[:, position]
        values = series.tolist()
        if str(series.dtype) in ("float32", "float16"):
            # The shortest decimal the narrow type stands for: 0.1, not 0.10000000149.
            values = [float(str(value)) for value in series.to_numpy()]
        lists.append(values)
    records = []
    for row, cells in enumerate(zip(*lists, strict=True), start=1):
        found: dict[str, Any] = {}
        for column, cell in zip(columns, cells, strict=True):
            if cell is None or cell is pd.NA or cell is pd.NaT:
                continue
            plain = plain_value(cell)
            if plain is not None:
                found[column] = plain
        records.append(Record(row, found))
    return Table(columns, records, notes)


def read_mappings(rows: Iterable[Mapping[str, Any]], what: str) -> Table:
    """Read a list of dicts, as JSON holds them."""
    columns: dict[str, None] = {}
    records = []
    for number, item in enumerate(rows, start=1):
        if not isinstance(item, Mapping):
            raise DeckError(
                f"{what} holds a {json_kind(item)} where card {number} should be.",
                hint='A deck in JSON is a list of objects: [{"id": "1", "name": "…"}, …].',
            )
        columns.update(dict.fromkeys(map(str, item)))
        records.append(object_record(number, item))
    return Table(list(columns), records)


def plain_value(value: Any) -> Any:
    """Return ``value`` as text, a JSON scalar, or a list or dict of them; None where it is missing."""
    if value is None or (value == "" and isinstance(value, str)):
        return None
    kind = type(value)
    if kind is str:
        return value.replace("\r\n", "\n").replace("\r", "\n") if "\r" in value else value
    if kind is bool:
        return value
    if kind is int:
        return value if -MAX_EXACT_INT <= value <= MAX_EXACT_INT else str(value)
    if kind is float:
        if math.isnan(value):
            return None
        if math.isinf(value):
            return "Infinity" if value > 0 else "-Infinity"
        return int(value) if value.is_integer() and abs(value) < 1e15 else value
    if isinstance(value, datetime.datetime):
        text = value.isoformat(sep=" ")
        return text.removesuffix(" 00:00:00")
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): plain_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain_value(item) for item in value]
    if isinstance(value, bytes):
        return plain_value(value.decode("utf-8", "surrogateescape"))
    # numpy's scalars and arrays, without importing numpy
    for method in ("item", "tolist"):
        convert = getattr(value, method, None)
        if convert is not None and getattr(value, "dtype", None) is not None:
            try:
                converted = convert()
            except ValueError:  # an array of several items has no item()
                continue
            return None if converted is value else plain_value(converted)
    text = str(value)
    return None if text in ("NaN", "nan", "NaT", "<NA>", "") else text


def check_columns(columns: Sequence[str], what: str) -> None:
    """Raise ``DeckError`` if a column name appears twice."""
    twice = [name for name, count in Counter(columns).items() if count > 1]
    if twice:
        where = [
            f"{name!r} in columns "
            + " and ".join(str(i) for i, other in enumerate(columns, 1) if other == name)
            for name in twice
        ]
        raise DeckError(
            f"{what} has a column name twice: {'; '.join(where)}.", hint="Give each column a name of its own."
        )


def read_header(cells: Sequence[str], file: str) -> tuple[list[str], list[str]]:
    """Return the names of a header's columns ("" for a column without one) and notes."""
    names = [cell.strip().lstrip("\ufeff") for cell in cells]
    for position, name in enumerate(names, start=1):
        bad = undecoded(name)
        if bad:
            raise DeckError(
                f"{file}: the header of column {position} cannot be decoded ({bad}).",
                hint='Save the file as UTF-8, or name its encoding: Deck.read(path, encoding="cp1252").',
            )
    check_columns([name for name in names if name], file)
    return names, []


def read_body(
    lines: Iterable[tuple[int, Sequence[Any], str]], names: list[str], file: str, notes: list[str]
) -> tuple[list[str], list[Record]]:
    """Lay rows of cells under a header; return the columns and the records."""
    width = len(names)
    columns = [name or f"column {position}" for position, name in enumerate(names, start=1)]
    unnamed = {column for column, name in zip(columns, names, strict=True) if not name}
    used: set[str] = set()
    records: list[Record] = []
    short = blank = 0
    for row, cells, problem in lines:
        if len(records) >= MAX_ROWS:
            raise DeckError(
                f"{file} has more than {MAX_ROWS:,} rows.", hint="Split the deck into several files."
            )
        values = {}
        for column, cell in zip(columns, cells, strict=False):
            plain = plain_value(cell)
            if plain is not None:
                values[column] = plain
        extra = [cell for cell in cells[width:] if cell is not None and str(cell).strip()]
        if extra and not problem:
            problem = (
                f"{len(cells)} fields where the header has {width}; "
                "a delimiter inside a cell needs quotes around the cell"
            )
        if not problem and not any(not isinstance(value, str) or value.strip() for value in values.values()):
            blank += 1
            continue
        short += len(cells) < width
        if unnamed:
            used |= unnamed & values.keys()
        records.append(Record(row, values, problem))
    if short and any(len(record.values) for record in records):
        notes.append(f"rows with fewer fields than the header: {short}; the missing fields count as empty")
    if blank:
        notes.append(f"blank rows skipped: {blank}")
    if used:
        notes.append(f"columns without a name in the header: {', '.join(sorted(used))}")
    return [column for column in columns if column not in unnamed or column in used], records


def check_mostly_readable(records: Sequence[Record], file: str, encoding: str) -> None:
    """Raise ``DeckError`` if most rows hold bytes that could not be decoded."""
    bad = [r for r in records if any(isinstance(v, str) and undecoded(v) for v in r.values.values())]
    if len(bad) > 1 and len(bad) * 2 > len(records):
        raise DeckError(
            f"{file} is not readable as {encoding}: {len(bad)} of its {len(records)} rows hold "
            f"bytes that are not, the first in row {bad[0].row}.",
            hint='Save it as "CSV UTF-8", or name its encoding: Deck.read(path, encoding="cp1252").',
        )


def object_record(number: int, item: Mapping[str, Any]) -> Record:
    """Return one object of a JSON deck as a record."""
    values = {str(key): plain for key, value in item.items() if (plain := plain_value(value)) is not None}
    if isinstance(item, Twice):
        return Record(number, values, f"the key {item.key!r} appears twice in this object", item.key)
    return Record(number, values)


def json_kind(value: Any) -> str:
    """Return what JSON calls the type of ``value``."""
    kinds = {dict: "object", list: "list", str: "text", bool: "true or false", int: "number", float: "number"}
    return next((name for kind, name in kinds.items() if isinstance(value, kind)), "null")
