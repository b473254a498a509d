"""Rows of a table as payloads: JSON column by column, MessagePack row by row, or a column's own bytes.

JSON is made a column at a time: each cell becomes its piece of JSON, typed columns in C++, and the pieces of
a row are joined. A cell that cannot be JSON fails its row and no other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from platform_kit.jetstream.frames.cells import CellError, plain

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_NEEDS_ESCAPE = r'["\\\x00-\x1f]'


def encode_json(frame: pd.DataFrame, columns: Sequence[str]) -> tuple[pa.Array, dict[int, str]]:
    """Each row as a JSON object, and the reason for each row that cannot be one (by position).

    Missing cells are ``null``, dates ISO 8601 text.

    Example
    -------
    >>> import pandas as pd
    >>> payloads, failed = encode_json(pd.DataFrame({"id": [1, 2], "x": ["a", {1, 2}]}), ["id", "x"])
    >>> payloads[0].as_py(), failed
    (b'{"id":1,"x":"a"}', {1: "column 'x': a set cannot be sent"})
    """
    import msgspec
    import pyarrow as pa
    import pyarrow.compute as pc

    failed: dict[int, str] = {}
    if not columns:
        return pa.array([b"{}"] * len(frame), pa.binary()), failed
    parts: list[Any] = []
    for place, name in enumerate(columns):
        key = msgspec.json.encode(name).decode()
        parts.append(pa.scalar(("," if place else "{") + key + ":"))
        parts.append(_json_cells(frame[name], name, failed))
    return pc.cast(pc.binary_join_element_wise(*parts, "}", ""), pa.binary()), failed


def encode_msgpack(frame: pd.DataFrame, columns: Sequence[str]) -> tuple[pa.Array, dict[int, str]]:
    """Each row as a MessagePack map; as :func:`encode_json`, but bytes stay bytes."""
    import msgspec
    import pyarrow as pa

    failed: dict[int, str] = {}
    encode = msgspec.msgpack.Encoder().encode
    cells = [_plain_cells(frame[name], name, failed, binary=True) for name in columns]
    rows = zip(*cells, strict=True) if cells else iter([()] * len(frame))
    return pa.array([encode(dict(zip(columns, row, strict=True))) for row in rows], pa.binary()), failed


def encode_raw(column: pd.Series, name: str) -> tuple[pa.Array, dict[int, str]]:
    """The cells themselves: bytes, or text as UTF-8."""
    import pyarrow as pa

    failed: dict[int, str] = {}
    payloads: list[bytes] = []
    for row, value in enumerate(column):
        if isinstance(value, bytes):
            payloads.append(value)
            continue
        try:
            if isinstance(value, (bytearray, memoryview)):
                payloads.append(bytes(value))
                continue
            if isinstance(value, str):
                payloads.append(value.encode())
                continue
            failed[row] = f"column {name!r}: a {type(value).__name__} is neither bytes nor text"
        except UnicodeEncodeError:
            failed[row] = f"column {name!r}: the text has half a surrogate pair"
        payloads.append(b"")
    return pa.array(payloads, pa.binary()), failed


def _json_cells(column: pd.Series, name: str, failed: dict[int, str]) -> pa.Array:
    """Each cell as a piece of JSON text."""
    import pyarrow as pa
    import pyarrow.compute as pc

    array = _typed(column)
    if array is None:
        return _json_objects(column, name, failed)
    if pa.types.is_floating(array.type):
        infinite = pc.fill_null(pc.is_inf(array), False)
        if pc.any(infinite).as_py():
            for row in pc.indices_nonzero(infinite).to_pylist():
                failed.setdefault(row, f"column {name!r}: infinity is no number in JSON")
            array = pc.if_else(infinite, None, array)
        array = pc.if_else(pc.is_nan(array), None, array)
    if pa.types.is_string(array.type):
        return _json_strings(array)
    if pa.types.is_timestamp(array.type):
        return pc.fill_null(
            pc.binary_join_element_wise('"', _iso(array), '"', "", null_handling="emit_null"), "null"
        )
    text = pc.cast(array, pa.string())
    if pa.types.is_floating(array.type):  # 1.0 stays a float for whoever reads it
        text = pc.replace_substring_regex(text, r"^(-?[0-9]+)$", r"\1.0")
    return pc.fill_null(text, "null")


def _typed(column: pd.Series) -> pa.Array | None:
    """The column as an Arrow array of numbers, booleans, text or times; None for anything else."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
    if getattr(column.dtype, "kind", "O") == "m":
        return None
    try:
        array = pa.array(column, from_pandas=True)
    except (pa.ArrowException, UnicodeError, TypeError, ValueError, OverflowError):
        return None
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    kind = array.type
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pc.cast(array, pa.string())
    if pa.types.is_string(kind) or pa.types.is_null(kind):
        return array
    # In a column of objects Arrow would make one type of several: 1 and 1.5, a date and a time.
    if column.dtype == object:
        return None
    known = (pa.types.is_integer, pa.types.is_boolean, pa.types.is_timestamp)
    if any(check(kind) for check in known) or kind in (pa.float32(), pa.float64()):
        return array
    return None


def _json_strings(array: pa.Array) -> pa.Array:
    import msgspec
    import pyarrow as pa
    import pyarrow.compute as pc

    quoted = pc.fill_null(pc.binary_join_element_wise('"', array, '"', "", null_handling="emit_null"), "null")
    escape = pc.fill_null(pc.match_substring_regex(array, _NEEDS_ESCAPE), False)
    if not pc.any(escape).as_py():
        return quoted
    encode = msgspec.json.Encoder().encode
    special = [encode(text).decode() for text in array.filter(escape).to_pylist()]
    return pc.replace_with_mask(quoted, escape, pa.array(special, pa.string()))


def _iso(array: pa.Array) -> pa.Array:
    """2026-01-31T12:00:00.5, with a Z where there is a time zone; no zeros at the end."""
    import pyarrow as pa
    import pyarrow.compute as pc

    zone = array.type.tz is not None
    naive = pc.cast(array, pa.timestamp(array.type.unit))
    text = pc.replace_substring(pc.cast(naive, pa.string()), " ", "T")
    text = pc.replace_substring_regex(text, r"(\.\d*?)0+$", r"\1")
    text = pc.replace_substring_regex(text, r"\.$", "")
    return pc.binary_join_element_wise(text, "Z", "", null_handling="emit_null") if zone else text


def _json_objects(column: pd.Series, name: str, failed: dict[int, str]) -> pa.Array:
    import msgspec
    import pyarrow as pa

    encode = msgspec.json.Encoder().encode
    return pa.array([encode(cell).decode() for cell in _plain_cells(column, name, failed)], pa.string())


def _plain_cells(column: pd.Series, name: str, failed: dict[int, str], *, binary: bool = False) -> list[Any]:
    cells: list[Any] = []
    for row, value in enumerate(column):
        try:
            cells.append(plain(value, binary=binary))
        except CellError as error:
            failed.setdefault(row, f"column {name!r}: {error}")
            cells.append(None)
        except RecursionError:
            failed.setdefault(row, f"column {name!r}: it is nested too deeply")
            cells.append(None)
    return cells
