"""Reads a deck in JSON: a list of objects, an object that holds one, or one object a line."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from platform_kit.cards.deck_table import (
    Record,
    Table,
    Twice,
    check_mostly_readable,
    json_kind,
    object_record,
    read_mappings,
)
from platform_kit.cards.deck_text import decode
from platform_kit.errors import DeckError


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    twice = Twice(found)
    twice.key = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
    return twice


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) <= 16 else digits


def _loads(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_object, parse_int=_integer, strict=False)


def read_json(data: bytes, file: str, encoding: str | None, *, lines_expected: bool) -> Table:
    """Read a list of objects, an object that holds one, or one object a line; ``DeckError`` for all else."""
    text, used, notes = decode(data, file, encoding)
    text = text.lstrip("\ufeff")
    if lines_expected:
        table = _read_json_lines(text, file)
    else:
        try:
            found = _loads(text)
        except json.JSONDecodeError as error:
            if not _looks_like_json_lines(text):
                raise _broken_json(error, text, file) from None
            table = _read_json_lines(text, file)
            notes.append("read as JSON lines: one object a line")
        except RecursionError:
            raise DeckError(
                f"{file} is nested too deeply.", hint="A deck in JSON is a list of flat objects."
            ) from None
        else:
            cards, where = _find_cards(found, file)
            if where:
                notes.append(f"the cards were found under {where}")
            table = read_mappings(cards, file)
    table.notes = notes + table.notes
    check_mostly_readable(table.records, file, used)
    return table


def _read_json_lines(text: str, file: str) -> Table:
    columns: dict[str, None] = {}
    records: list[Record] = []
    broken: list[tuple[int, json.JSONDecodeError]] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            item = _loads(line)
        except json.JSONDecodeError as error:
            broken.append((number, error))
            records.append(Record(number, {}, f"not JSON: {error.msg} at column {error.colno}"))
            continue
        except RecursionError:
            records.append(Record(number, {}, "nested too deeply"))
            continue
        if not isinstance(item, dict):
            records.append(Record(number, {}, f"a {json_kind(item)} where an object should be"))
            continue
        columns.update(dict.fromkeys(item))
        records.append(object_record(number, item))
    if records and all(record.problem and not record.values for record in records):
        where = (
            f"line {broken[0][0]}, column {broken[0][1].colno}: {broken[0][1].msg}"
            if broken
            else "no line is an object"
        )
        raise DeckError(
            f"{file} is not JSON lines: {where}.", hint="Each line is one object with an id and a name."
        )
    return Table(list(columns), records)


def _looks_like_json_lines(text: str) -> bool:
    lines = [line.strip() for line in text.split("\n", 5)[:5] if line.strip()]
    if len(lines) < 2 or not all(line.startswith("{") for line in lines[:2]):
        return False
    try:
        return isinstance(_loads(lines[0]), dict)
    except (json.JSONDecodeError, RecursionError):
        return False


def _broken_json(error: json.JSONDecodeError, text: str, file: str) -> DeckError:
    line = text.split("\n")[error.lineno - 1] if text else ""
    around = line[max(0, error.colno - 21) : error.colno + 19].strip()
    return DeckError(
        f"{file} is not JSON: {error.msg}, line {error.lineno}, column {error.colno}"
        + (f", near {around!r}." if around else "."),
        hint="Check commas, quotes and brackets just before that place.",
    )


def _find_cards(found: Any, file: str) -> tuple[list[Any], str]:
    path: list[str] = []
    while isinstance(found, dict):
        key = next((key for key in ("cards", "data") if isinstance(found.get(key), (list, dict))), None)
        if key is None:
            break
        path.append(key)
        found = found[key]
    if not isinstance(found, list):
        has = (
            f" with the keys {', '.join(list(map(str, found))[:8])}"
            if isinstance(found, dict) and found
            else ""
        )
        raise DeckError(
            f"{file} holds {_a(json_kind(found))}{has}, not a list of cards.",
            hint='Write [{"id": "1", "name": "…"}, …] or {"cards": […]}, or one object a line in .jsonl.',
        )
    return found, ".".join(path)


def _a(kind: str) -> str:
    if kind in ("null", "text", "true or false"):
        return kind
    return f"an {kind}" if kind == "object" else f"a {kind}"
