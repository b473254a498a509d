"""Reads a deck in an Excel workbook, a zip archive of XML from somebody else: bounded and checked."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Sequence
from typing import Any

from platform_kit.cards.deck_table import MAX_ROWS, Table, plain_value, read_body, read_header
from platform_kit.errors import DeckError

MAX_UNPACKED_BYTES = 512 * 1024 * 1024
_SHEET_ERRORS = frozenset({"#N/A", "#REF!", "#VALUE!", "#DIV/0!", "#NAME?", "#NULL!", "#NUM!"})


def read_xlsx(data: bytes, file: str, sheet: str | int) -> Table:
    """Read one sheet of a workbook; ``DeckError`` for what is none, is damaged or is too large."""
    import io
    import warnings

    import openpyxl

    with_formulas = _check_workbook(data, file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # openpyxl warns of styles and validations it drops: no matter here
        try:
            book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
            formulas = (
                openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=False)
                if with_formulas
                else None
            )
            try:
                return _read_sheet(book, formulas, file, sheet)
            finally:
                book.close()
                if formulas is not None:
                    formulas.close()
        except DeckError:
            raise
        except Exception as error:
            raise DeckError(
                f"{file} is a damaged workbook: {type(error).__name__}: {str(error)[:200]}.",
                hint="Open it in a spreadsheet program and save it again.",
            ) from None


def _check_workbook(data: bytes, file: str) -> bool:
    """Refuse what is no workbook, or too much of one; return whether it holds formulas."""
    import io

    if data.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        if "EncryptedPackage".encode("utf-16-le") in data:
            raise DeckError(f"{file} is protected with a password.", hint="Save a copy without the password.")
        raise DeckError(f"{file} is a workbook of the old .xls format.", hint="Save it as .xlsx.")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            parts = archive.infolist()
            names = {part.filename for part in parts}
            if not any(re.fullmatch(r"xl/workbook\.xml", name, re.IGNORECASE) for name in names):
                kind = (
                    "an OpenDocument file" if "content.xml" in names
                    else "a Word document" if "word/document.xml" in names
                    else "a zip archive"
                )  # fmt: skip
                raise DeckError(
                    f"{file} is {kind}, not an Excel workbook.", hint="Save the deck as .xlsx or .csv."
                )
            unpacked = sum(part.file_size for part in parts)
            if unpacked > MAX_UNPACKED_BYTES:
                raise DeckError(
                    f"{file} unpacks to {unpacked:,} bytes; the limit is {MAX_UNPACKED_BYTES:,}.",
                    hint="Save the deck alone, as .csv or as a workbook without pictures.",
                )
            found = False
            for part in parts:
                if part.filename.lower().endswith((".xml", ".rels")):
                    found |= _scan_part(archive, part, file)
            return found
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError) as error:
        head = data[:200].lstrip()
        if head.isascii() and b"\0" not in head:
            kind, hint = ("an HTML page", "Save the table itself as .xlsx.") if head.startswith(b"<") else (
                "plain text", "Rename it to .csv if it is a table of text."
            )  # fmt: skip
            raise DeckError(f"{file} is not an Excel workbook: it is {kind}.", hint=hint) from None
        raise DeckError(
            f"{file} is not an Excel workbook: {error}.",
            hint="Save it again from the spreadsheet program as .xlsx.",
        ) from None
    except zipfile.zlib.error as error:  # type: ignore[attr-defined]
        raise DeckError(f"{file} is a damaged workbook: {error}.", hint="Save it again as .xlsx.") from None


def _scan_part(archive: zipfile.ZipFile, part: zipfile.ZipInfo, file: str) -> bool:
    """Refuse document type declarations, which only an attack puts there; say whether a formula is in it."""
    formula, tail = False, b""
    with archive.open(part) as stream:
        while chunk := stream.read(1 << 20):
            window = (tail + chunk).replace(b"\0", b"")
            if b"<!DOCTYPE" in window or b"<!ENTITY" in window:
                raise DeckError(
                    f"{file} holds a document type declaration in {part.filename}; a workbook has none.",
                    hint="Open it in a spreadsheet program and save it again.",
                )
            formula = formula or b"<f>" in window or b"<f " in window
            tail = chunk[-32:]
    return formula


def _read_sheet(book: Any, formulas: Any, file: str, sheet: str | int) -> Table:
    sheets = list(book.worksheets)
    titles = [item.title for item in sheets]
    if not sheets:
        raise DeckError(f"{file} has no sheet with cells.", hint="Put the deck on a worksheet.")
    if isinstance(sheet, str):
        index = next(
            (i for i, title in enumerate(titles) if title.strip().casefold() == sheet.strip().casefold()), -1
        )
    else:
        index = sheet
    if not 0 <= index < len(sheets):
        raise DeckError(
            f"{file} has no sheet {sheet!r}.", hint=f"Its sheets: {', '.join(titles)} (the first is 0)."
        )
    notes = [
        f"read the sheet {titles[index]!r}; the others: {', '.join(titles[:index] + titles[index + 1 :])}"
    ]
    if len(sheets) == 1:
        notes = []
    rows = _sheet_rows(sheets[index], None, file)
    number, cells = next(
        ((n, c) for n, c in rows if any(str(v).strip() for v in c if v is not None)), (0, [])
    )
    if not number:
        raise DeckError(
            f"{file}: the sheet {titles[index]!r} is empty.",
            hint="A deck starts with a header row that names id and name.",
        )
    header = [str(plain) if (plain := plain_value(cell)) is not None else "" for cell in cells]
    while header and not header[-1].strip():
        header.pop()
    names, _ = read_header(header, file)
    unfinished: dict[int, str] = {}
    if formulas is not None:
        unfinished = _formulas_without_result(sheets[index], formulas.worksheets[index], names, file)

    def body() -> Iterator[tuple[int, Sequence[Any], str]]:
        for row, values in _sheet_rows(sheets[index], len(names) + 8, file):
            if row <= number:
                continue
            problem = unfinished.get(row, "")
            for position, value in enumerate(values):
                if isinstance(value, str) and value in _SHEET_ERRORS and not problem:
                    column = names[position] if position < len(names) else str(position + 1)
                    problem = f"the formula in column {column!r} gives {value}"
            yield row, values, problem

    columns, records = read_body(body(), names, file, notes)
    # Cells that were never filled are no shorter rows in a sheet.
    notes = [note for note in notes if not note.startswith("rows with fewer fields")]
    return Table(columns, records, notes)


def _sheet_rows(worksheet: Any, width: int | None, file: str) -> Iterator[tuple[int, list[Any]]]:
    worksheet.reset_dimensions()  # the file's own claim about its size may be wrong
    for number, cells in enumerate(worksheet.iter_rows(max_col=width), start=1):
        if number > MAX_ROWS:
            raise DeckError(
                f"{file} has more than {MAX_ROWS:,} rows.", hint="Split the deck into several files."
            )
        yield number, [_cell(cell) for cell in cells]


def _cell(cell: Any) -> Any:
    value = cell.value
    if type(value) is int and value >= 0:
        # 7 in the format 000 is what the sheet shows as 007
        shown = cell.number_format
        if len(shown) > 1 and not shown.strip("0"):
            return str(value).zfill(len(shown))
    elif type(value) is str and "_x" in value:
        return re.sub(r"_x000[dD]_\n?", "\n", value)
    return value


def _formulas_without_result(values: Any, formulas: Any, names: list[str], file: str) -> dict[int, str]:
    missing: dict[int, str] = {}
    width = len(names)
    for (row, shown), (_, written) in zip(
        _sheet_rows(values, width, file), _sheet_rows(formulas, width, file), strict=False
    ):
        for position, (value, formula) in enumerate(zip(shown, written, strict=False)):
            if value is None and formula is not None:
                missing[row] = (
                    f"the formula in column {names[position]!r} has no stored result; "
                    "open the workbook in a spreadsheet program and save it"
                )
    return missing
