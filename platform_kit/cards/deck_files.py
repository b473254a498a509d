"""Reads a deck's file into plain records; judges the file, never a row's meaning.

What comes out is a :class:`Table`: the columns as the file names them and one :class:`Record` a row,
numbered as a person counts them in a spreadsheet (the header is row 1) or in a JSON list (the first
is 1). A file that cannot be read is one ``DeckError``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from platform_kit.cards.deck_json import read_json
from platform_kit.cards.deck_table import Table, check_mostly_readable, read_body, read_header
from platform_kit.cards.deck_text import decode, read_lines
from platform_kit.cards.deck_xlsx import read_xlsx
from platform_kit.errors import DeckError

MAX_FILE_BYTES = 256 * 1024 * 1024
TEXT_SUFFIXES = {".csv": ",", ".tsv": "\t", ".tab": "\t", ".txt": ","}
JSON_SUFFIXES = (".json", ".jsonl", ".ndjson")
XLSX_SUFFIXES = (".xlsx", ".xlsm")
_OTHER_FORMATS = {
    ".xls": "Save it as .xlsx.",
    ".ods": "Save it as .xlsx or .csv.",
    ".numbers": "Export it as .xlsx or .csv.",
    ".parquet": "Read it with pandas and pass the frame to Deck(frame).",
}


def read_file(path: Path, *, sheet: str | int, encoding: str | None, delimiter: str | None) -> Table:
    """Read the deck in ``path`` by its extension.

    Raises ``DeckError`` if there is no such file, or nothing in it that is a deck.
    """
    file, suffix = path.name, path.suffix.lower()
    _check_there(path)
    if suffix not in (*TEXT_SUFFIXES, *JSON_SUFFIXES, *XLSX_SUFFIXES):
        known = ", ".join((*TEXT_SUFFIXES, *XLSX_SUFFIXES, *JSON_SUFFIXES))
        ending = f"the extension {suffix!r}" if suffix else "no extension"
        raise DeckError(
            f"{file} has {ending}; a deck is one of {known}.",
            hint=_OTHER_FORMATS.get(suffix, "Save the deck as CSV (UTF-8), XLSX or JSON."),
        )
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise DeckError(
                f"{file} has {size:,} bytes; the limit is {MAX_FILE_BYTES:,}.",
                hint="Split the deck into several files.",
            )
        data = path.read_bytes()
    except OSError as error:
        raise DeckError(
            f"{file} cannot be read: {error.strerror}.", hint="Check the file's permissions."
        ) from None
    if not data.strip(b"\xef\xbb\xbf \t\r\n"):
        raise DeckError(
            f"{file} is empty ({size} bytes).", hint="A deck starts with a header row that names id and name."
        )
    if suffix in XLSX_SUFFIXES:
        table = read_xlsx(data, file, sheet)
    elif suffix in JSON_SUFFIXES:
        table = read_json(data, file, encoding, lines_expected=suffix != ".json")
    else:
        table = _read_delimited(data, file, encoding, delimiter, TEXT_SUFFIXES[suffix])
    if not table.records:
        raise DeckError(
            f"{file} has no cards: a header with {', '.join(table.columns)} and no row below it."
            if table.columns
            else f"{file} has no cards in it.",
            hint="Add at least one row with an id and a name.",
        )
    return table


def _check_there(path: Path) -> None:
    if "\0" in str(path):
        raise DeckError(f"{str(path)!r} is not a file name.", hint="A path cannot hold a NUL character.")
    if path.is_dir():
        decks = _decks_in(path)
        raise DeckError(
            f"{path} is a folder, not a deck.",
            hint=f"Name a file in it: {', '.join(decks[:5])}."
            if decks
            else "It holds no CSV, XLSX or JSON file.",
        )
    if path.exists():
        if not path.is_file():
            raise DeckError(
                f"{path} is not a regular file.", hint="Save the deck as CSV (UTF-8), XLSX or JSON."
            )
        return
    if not path.parent.is_dir():
        raise DeckError(
            f"There is no file {path}: the folder {path.parent} does not exist.", hint="Check the path."
        )
    decks = _decks_in(path.parent)
    near = difflib.get_close_matches(path.name, decks, n=3, cutoff=0.5)
    near += [
        name for name in decks if Path(name).stem.casefold() == path.stem.casefold() and name not in near
    ]
    if near:
        hint = f"Did you mean {' or '.join(near)}?"
    else:
        hint = (
            f"That folder holds {', '.join(decks[:5])}."
            if decks
            else f"The folder {path.parent.name!r} holds no deck."
        )
    raise DeckError(f"There is no file {path}.", hint=hint)


def _decks_in(folder: Path) -> list[str]:
    known = (*TEXT_SUFFIXES, *JSON_SUFFIXES, *XLSX_SUFFIXES)
    try:
        return sorted(item.name for item in folder.iterdir() if item.suffix.lower() in known)
    except OSError:
        return []


def _read_delimited(
    data: bytes, file: str, encoding: str | None, delimiter: str | None, prefer: str
) -> Table:
    text, used, notes = decode(data, file, encoding)
    lines, guessed = read_lines(text, file, delimiter, prefer)
    notes += guessed
    header = next((line for line in lines if any(cell.strip() for cell in line.cells)), None)
    if header is None:
        raise DeckError(f"{file} is empty.", hint="A deck starts with a header row that names id and name.")
    if header.problem:
        raise DeckError(
            f"{file}: {header.problem} (line {header.line}, the header).", hint="Close the quote."
        )
    names, _ = read_header(header.cells, file)

    def rows() -> Iterator[tuple[int, Sequence[Any], str]]:
        for line in lines:
            problem = line.problem
            if problem and line.line != line.row:
                problem += f" (line {line.line})"
            yield line.row, line.cells, problem

    columns, records = read_body(rows(), names, file, notes)
    check_mostly_readable(records, file, used)
    return Table(columns, records, notes)
