"""From the bytes of a text file to its characters, and from those to rows.

A deck comes out of somebody's spreadsheet program: its encoding, its delimiter and its line ends are
whatever that program liked. What is guessed here is said in a note, and bytes that fit no guess stay
visible as lone surrogates, so that the row that holds them can be rejected by name.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass

from platform_kit.errors import DeckError

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_BOMS = (
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe\x00\x00", "utf-32-le"),
    (b"\x00\x00\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)
# The encodings spreadsheet programs still write. The detection chooses among these only: a longer list
# makes every guess on a short deck worse.
_CANDIDATES = (
    "cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp932", "euc_jp", "gb18030", "big5", "cp949", "koi8_r",
)  # fmt: skip
_SAMPLE_BYTES = 128 * 1024
_MAGIC = (
    (b"PK\x03\x04", "a zip archive, perhaps an Excel workbook", "Rename it to .xlsx if it came from Excel."),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel or Office file", "Save it as .xlsx or .csv."),
    (b"%PDF", "a PDF document", "Export the table behind it as .csv."),
    (b"\x89PNG\r\n", "a PNG picture", "Give the deck's table, not its picture."),
    (b"\xff\xd8\xff", "a JPEG picture", "Give the deck's table, not its picture."),
    (b"\x1f\x8b", "a gzip archive", "Unpack it first."),
    (b"PAR1", "a Parquet file", "Read it with pandas and pass the frame to Deck(frame)."),
)
_SURROGATE = re.compile("[\ud800-\udfff]")
_SEP_LINE = re.compile(r"sep=(.)\r?\n?", re.IGNORECASE)
_MAX_RESUMES = 100


@dataclass(frozen=True)
class Line:
    """One record of a delimited file: its row as a spreadsheet counts, its line as an editor counts."""

    row: int
    line: int
    cells: list[str]
    problem: str = ""


def decode(data: bytes, file: str, encoding: str | None = None) -> tuple[str, str, list[str]]:
    """Return the text of ``data``, the name of its encoding, and what was guessed.

    A byte order mark decides; then UTF-8, unless most lines with other than ASCII characters are not
    UTF-8; then the likeliest legacy encoding. Bytes that do not fit become lone surrogates.

    Raises ``DeckError`` for what is no text, or no text that can be read.
    """
    for magic, kind, hint in _MAGIC:
        if data.startswith(magic):
            raise DeckError(f"{file} is not a text file: it is {kind}.", hint=hint)
    if encoding is not None:
        try:
            return data.decode(encoding, "surrogateescape").removeprefix("\ufeff"), encoding, []
        except (LookupError, UnicodeError) as error:
            raise DeckError(
                f"{file} cannot be read as {encoding!r}: {error}.",
                hint="Leave encoding= out to have it detected.",
            ) from None
    for bom, name in _BOMS:
        if data.startswith(bom):
            handler = "surrogateescape" if name == "utf-8" else "replace"
            text = data[len(bom) :].decode(name, handler)
            # UTF-16 and UTF-32 have no byte to escape: a broken unit becomes a lone surrogate by hand.
            return (text if name == "utf-8" else text.replace("\ufffd", "\udcff")), name, []
    try:
        text = data.decode("utf-8")
        _refuse_binary(data, file)
        return text, "utf-8", []
    except UnicodeDecodeError:
        pass
    wide = _wide_without_bom(data)
    if wide is not None:
        return (
            data.decode(wide, "replace").replace("\ufffd", "\udcff"),
            wide,
            [f"read as {wide.upper()}, detected"],
        )
    _refuse_binary(data, file)
    lines = [line for line in re.split(rb"[\r\n]+", data) if not line.isascii()]
    readable = sum(_is_utf8(line) for line in lines)
    if readable and readable * 2 >= len(lines):
        return data.decode("utf-8", "surrogateescape"), "utf-8", []
    found = _detect(b"\n".join(lines)[:_SAMPLE_BYTES], data)
    if found is None:
        raise DeckError(
            f"{file} is not readable as text: {len(lines) - readable} of its {data.count(10) + 1} lines "
            "hold bytes that are not UTF-8, and no other known encoding fits.",
            hint='Save it as "CSV UTF-8", or name its encoding: Deck.read(path, encoding="cp1252").',
        )
    note = f'read as {found}, detected: if letters look wrong, name it with Deck.read(path, encoding="…")'
    return data.decode(found, "surrogateescape"), found, [note]


def undecoded(text: str) -> str:
    """Return the bytes, or the code unit, that could not be decoded in ``text``, or "" if all could."""
    found = _SURROGATE.search(text)
    if found is None:
        return ""
    code = ord(found.group())
    return f"byte 0x{code - 0xDC00:02X}" if 0xDC80 <= code <= 0xDCFF else f"lone surrogate U+{code:04X}"


def read_lines(
    text: str, file: str, delimiter: str | None, prefer: str = ","
) -> tuple[Iterator[Line], list[str]]:
    """Return the records of a delimited text and what was guessed about it.

    A quote that is never closed costs the row it stands in, not the rest of the file.
    """
    notes: list[str] = []
    skip = 0
    named = _SEP_LINE.match(text)
    if named:
        # Excel's own way to name the delimiter, in a first line that is no row.
        text, skip = text[named.end() :], 1
        delimiter = delimiter or named.group(1)
    if delimiter is None:
        delimiter = _sniff(text, prefer)
        if delimiter != prefer:
            notes.append(f"fields are separated by {DELIMITERS[delimiter]}")
    elif len(delimiter) != 1 or delimiter in '"\r\n':
        raise DeckError(
            f"{delimiter!r} cannot separate fields.", hint="delimiter= takes one character, such as ';'."
        )
    return _records(text, file, delimiter, skip), notes


def _records(text: str, file: str, delimiter: str, skip: int) -> Iterator[Line]:
    lines = list(io.StringIO(text, newline=""))
    limit = csv.field_size_limit(max(csv.field_size_limit(), len(text) + 1))
    try:
        start, row, resumes = 0, skip, 0
        while start < len(lines):
            reader = csv.reader(lines[start:], delimiter=delimiter)
            before = 0
            for cells in reader:
                row += 1
                first, before = start + before, reader.line_num
                last = start + before
                suspect = last == len(lines) or last - first > 1
                if suspect and _quote_left_open(lines[first:last], delimiter):
                    resumes += 1
                    if resumes > _MAX_RESUMES:
                        raise DeckError(
                            f"{file} has too many quotes that are opened and never closed, the last in line "
                            f"{first + skip + 1}.",
                            hint='Check the delimiter and the quotes; a quote inside a cell is written "".',
                        )
                    opened = next(csv.reader([lines[first]], delimiter=delimiter), [])
                    yield Line(
                        row, first + skip + 1, opened, "a quote is opened in this row and never closed"
                    )
                    start = first + 1
                    break
                yield Line(row, first + skip + 1, cells)
            else:
                return
    except csv.Error as error:
        raise DeckError(
            f"{file} is not a table this kit can read: {error}.", hint="Save it again as CSV."
        ) from None
    finally:
        csv.field_size_limit(limit)


def _quote_left_open(lines: list[str], delimiter: str) -> bool:
    if '"' not in "".join(lines):
        return False
    try:
        for _ in csv.reader(lines, delimiter=delimiter, strict=True):
            pass
    except csv.Error:
        # Either the end of the data came first, or the quote that closed it belongs to another row.
        return len(lines) > 1 or _ends_open(lines[0], delimiter)
    return False


def _ends_open(line: str, delimiter: str) -> bool:
    # A quote left open takes the next line into its cell; read as two, they are two records.
    return len(list(csv.reader([line.rstrip("\r\n") + "\n", "x"], delimiter=delimiter))) == 1


def _sniff(text: str, prefer: str) -> str:
    head = list(io.StringIO(text[:200_000], newline=""))
    best, best_score = prefer, (0, 0.0, 0, 0)
    for candidate in DELIMITERS:
        try:
            rows = [
                cells for cells in csv.reader(head[:60], delimiter=candidate) if any(map(str.strip, cells))
            ][:30]
        except csv.Error:
            continue
        if not rows or len(rows[0]) < 2:
            continue
        names = {re.sub(r"[\W_]+", "", cell).casefold() for cell in rows[0]}
        known = len(
            names
            & {"id", "name", "cardid", "cardname", "title", "uuid", "type", "cost", "text", "rarity", "art"}
        )
        same = sum(len(cells) == len(rows[0]) for cells in rows) / len(rows)
        score = (known, same, len(rows[0]), candidate == prefer)
        if score > best_score:
            best, best_score = candidate, score
    return best


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _wide_without_bom(data: bytes) -> str | None:
    sample = data[:4096]
    if len(sample) < 8:
        return None
    even, odd = sample[0::2].count(0) / len(sample[0::2]), sample[1::2].count(0) / len(sample[1::2])
    if odd > 0.3 and even < 0.05:
        return "utf-16-le"
    if even > 0.3 and odd < 0.05:
        return "utf-16-be"
    return None


def _refuse_binary(data: bytes, file: str) -> None:
    sample = data[:65536]
    controls = sum(sample.count(code) for code in (*range(9), *range(14, 32), 127))
    if sample and controls / len(sample) > 0.1:
        raise DeckError(
            f"{file} is not a text file: {controls} of its first {len(sample)} bytes are control characters.",
            hint="Save the deck as CSV (UTF-8), XLSX or JSON.",
        )


def _detect(sample: bytes, data: bytes) -> str | None:
    """Return the likeliest legacy encoding of ``sample``, the lines that hold other than ASCII."""
    import charset_normalizer

    fitting = [name for name in _CANDIDATES if _fits(sample, name)]
    if not fitting:
        return None
    best = charset_normalizer.from_bytes(sample, cp_isolation=fitting, enable_fallback=False).best()
    guess = best.encoding if best is not None else ""
    scores = {name: _score(sample.decode(name, "ignore"), name) + 0.05 * (name == guess) for name in fitting}
    likeliest = max(fitting, key=lambda name: scores[name])
    return likeliest if scores[likeliest] > 0.75 else None


def _score(text: str, name: str) -> float:
    """Return how plausible ``text`` is as what ``name`` was made for; short decks need the hints."""
    score = _plausibility(text)
    foreign = [char for char in text if ord(char) > 127]
    if name in ("cp932", "euc_jp"):
        # Japanese has kana, Chinese has none, and both may decode as the other's ideographs.
        return score + 0.2 * (sum("\u3040" <= char <= "\u30ff" for char in foreign) > 0.1 * len(foreign))
    if name == "cp1252":
        # Czech and Polish read as western text show these far too often.
        return score + 0.1 * (sum(char in "šžŠŽ³¹¿œŸ£" for char in foreign) <= 0.05 * len(foreign))
    return score


def _fits(sample: bytes, name: str) -> bool:
    # A few rows may be broken: their bytes must not rule out the encoding of all the others.
    lines = sample.split(b"\n")
    bad = 0
    for line in lines:
        try:
            line.decode(name)
        except UnicodeDecodeError:
            bad += 1
    return bad * 4 <= len(lines)


def _plausibility(text: str) -> float:
    """Return how much the characters beyond ASCII look like words of one script: 0 to 1."""
    scripts: dict[str, int] = {}
    total, good = 0, 0.0
    previous = " "
    for char in text:
        if ord(char) > 127:
            total += 1
            script = _script(char)
            scripts[script] = scripts.get(script, 0) + 1
            if script in _GOOD:
                good += 1.0
                if script == "latin" and char.isupper() and previous.islower():
                    good -= 0.7  # an upper-case accent inside a word: Cyrillic or Greek read as Latin
                if script == "latin" and ord(previous) > 127 and previous.isalpha():
                    good -= 0.5  # accents side by side: the same
            if script in {"latin", "cyrillic", "greek"} and previous.isascii() and previous.isalpha():
                good -= 0.9 if script != "latin" else 0.0
        previous = char
    if not total:
        return 0.0
    letters = {name: count for name, count in scripts.items() if name in _GOOD and name != "mark"}
    return good / total * (0.6 + 0.4 * max(letters.values(), default=0) / max(1, sum(letters.values())))


_GOOD = frozenset({"latin", "cyrillic", "greek", "cjk", "kana", "hangul", "mark"})


def _script(char: str) -> str:
    code = ord(char)
    if 0xC0 <= code <= 0x24F and char.isalpha():
        return "latin"
    if 0x370 <= code <= 0x3FF and char.isalpha():
        return "greek"
    if 0x400 <= code <= 0x45F or code in (0x490, 0x491):
        return "cyrillic"
    if 0x4E00 <= code <= 0x9FFF:
        return "cjk"
    if 0x3040 <= code <= 0x30FF:
        return "kana"
    if 0xAC00 <= code <= 0xD7A3:
        return "hangul"
    if (
        0x2010 <= code <= 0x203A
        or 0x3000 <= code <= 0x303F
        or 0xFF00 <= code <= 0xFF65
        or char in "€«»·§°–—…№™®©¿¡"
    ):
        return "mark"
    return "other"
