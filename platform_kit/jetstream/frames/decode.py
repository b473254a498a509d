"""Payloads as columns: JSON decoded a block at a time in C++, with a row at a time as the rule it must agree
with.

What a column becomes depends on its values alone, never on how they were decoded:

    whole numbers        int64, with missing values Int64 (64 bits; others make the column objects)
    numbers              float64; missing is NaN
    true and false       bool, with missing values boolean
    text                 pandas' type for text
    anything else        objects: lists, dicts, or values of several kinds, as Python has them

A payload that cannot be decoded keeps its row: its columns are missing, its bytes stand in ``payload`` and
the reason in ``error``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

Kind = Literal["int", "float", "bool", "str", "null", "object"]
EXACT = 2**53
"""Beyond it a float cannot hold every whole number."""

JSON_KINDS = {dict: "an object", list: "a list", str: "a text", int: "a number", float: "a number"}


class Block:
    """Some payloads and their columns; a column's Python values are decoded when something asks for them.

    Parameters
    ----------
    payloads: A binary array without nulls.
    decode: One payload to a Python object; raises for a bad one.
    arrays: What was decoded column by column already, or None to decode row by row.
    """

    def __init__(
        self,
        payloads: pa.Array,
        decode: Callable[[bytes], Any],
        arrays: dict[str, pa.Array | None] | None = None,
    ) -> None:
        self.payloads = payloads
        self._decode = decode
        self._arrays = arrays
        self._rows: list[dict[str, Any] | None] | None = None
        self._values: dict[str, list[Any]] = {}
        self.errors: dict[int, str] = {}
        if arrays is None:
            names: dict[str, None] = {}
            for row in self.rows():
                if row:
                    names.update(dict.fromkeys(row))
            self.names = list(names)
        else:
            self.names = list(arrays)

    def __len__(self) -> int:
        return len(self.payloads)

    def rows(self) -> list[dict[str, Any] | None]:
        """Each payload as a dict, None for a bad one, whose reason is in ``errors``."""
        if self._rows is None:
            decode, rows = self._decode, []
            for number, payload in enumerate(self.payloads.to_pylist()):
                row: dict[str, Any] | None = None
                try:
                    found = decode(payload)
                    if isinstance(found, dict):
                        row = found if all(type(key) is str for key in found) else _with_text_keys(found)
                    else:
                        what = JSON_KINDS.get(type(found), repr(found)[:40])
                        self.errors[number] = f"{what}, not an object with columns"
                except Exception as error:  # whatever a decoder says of bytes from elsewhere
                    self.errors[number] = str(error) or type(error).__name__
                rows.append(row)
            self._rows = rows
        return self._rows

    def values(self, name: str) -> list[Any]:
        """A column as Python has it; None where it is missing."""
        if name not in self._values:
            self._values[name] = [None if row is None else row.get(name) for row in self.rows()]
        return self._values[name]

    def array(self, name: str) -> pa.Array | None:
        """A column as Arrow decoded it, or None."""
        return self._arrays.get(name) if self._arrays is not None else None

    def kind(self, name: str) -> Kind:
        """What the column's values are."""
        if name not in self.names:
            return "null"
        array = self.array(name)
        return kind_of(self.values(name)) if array is None else _arrow_kind(array.type)

    def exact(self, name: str) -> bool:
        """Whether a float can hold every value of this column of whole numbers."""
        import pyarrow.compute as pc

        array = self.array(name)
        if array is None:
            return all(value is None or -EXACT <= value <= EXACT for value in self.values(name))
        ends = pc.min_max(array)
        low, high = ends["min"].as_py(), ends["max"].as_py()
        return low is None or (low >= -EXACT and high <= EXACT)


def _arrow_kind(kind: pa.DataType) -> Kind:
    import pyarrow as pa

    if pa.types.is_null(kind):
        return "null"
    if pa.types.is_boolean(kind):
        return "bool"
    if pa.types.is_string(kind):
        return "str"
    return "int" if pa.types.is_integer(kind) else "float"


def kind_of(values: Iterable[Any]) -> Kind:
    """What these values are together.

    >>> kind_of([1, None, 2.5]), kind_of([1, "a"]), kind_of([2**53 + 1, 0.5])
    ('float', 'object', 'object')
    """
    kinds = {type(value) for value in values}
    kinds.discard(type(None))
    if not kinds:
        return "null"
    if kinds == {int}:
        whole = all(value is None or -(2**63) <= value < 2**63 for value in values)
        return "int" if whole else "object"
    if kinds <= {int, float}:
        exact = all(type(value) is not int or -EXACT <= value <= EXACT for value in values)
        return "float" if exact else "object"
    if len(kinds) == 1:
        (kind,) = kinds
        return "bool" if kind is bool else "str" if kind is str else "object"
    return "object"


def json_decoder() -> Callable[[bytes], Any]:
    """Decodes one payload of JSON."""
    import msgspec

    return msgspec.json.Decoder().decode


def msgpack_decoder() -> Callable[[bytes], Any]:
    """Decodes one payload of MessagePack."""
    import msgspec

    return msgspec.msgpack.Decoder().decode


def json_block(payloads: pa.Array) -> Block:
    """Decode a block of JSON, in C++ where it is certain that this gives what row by row gives."""
    return Block(payloads, json_decoder(), _json_arrays(payloads))


def msgpack_block(payloads: pa.Array) -> Block:
    """Decode a block of MessagePack."""
    return Block(payloads, msgpack_decoder())


def _json_arrays(payloads: pa.Array) -> dict[str, pa.Array | None] | None:
    """The columns of the block, None for one that has to be decoded row by row; None if all have to be."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if len(payloads) < 2:
        return None
    try:
        text = pc.cast(payloads, pa.string())  # checks the UTF-8
    except pa.ArrowInvalid:
        return None
    # One line each: then as many rows as payloads means one row each.
    whole = pc.and_(pc.starts_with(text, "{"), pc.ends_with(text, "}"))
    if not pc.all(whole).as_py():
        return None
    lines = pc.binary_join(pa.ListArray.from_arrays(pa.array([0, len(text)], pa.int32()), text), "\n")
    joined = lines.buffers()[2]
    body = joined.to_pybytes()
    # Arrow takes NaN and Inf for numbers, which JSON does not know.
    if body.count(b"\n") != len(payloads) - 1 or any(sign in body for sign in (b"\r", b"NaN", b"Inf")):
        return None
    try:
        table = _read_json(joined)
        times = {field.name: pa.string() for field in table.schema if pa.types.is_timestamp(field.type)}
        names = table.column_names
        if times:  # text that looks like a time stays text
            table = _read_json(joined, pa.schema(times))
    except (pa.ArrowException, ValueError, UnicodeError):
        return None
    if table.num_rows != len(payloads) or len(set(names)) != len(names):
        return None
    arrays: dict[str, pa.Array | None] = {}
    for name in names:
        column = table.column(name)
        arrays[name] = None if pa.types.is_nested(column.type) else column.combine_chunks()
        if arrays[name] is not None and not _certain(arrays[name]):
            arrays[name] = None
    return arrays


def _certain(array: pa.Array) -> bool:
    """Whether Arrow's inference leaves no doubt about what the values were."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = array.type
    if pa.types.is_floating(kind):
        # Whole numbers may be among them: beyond 2**53 they would have lost digits.
        ends = pc.min_max(array)
        low, high = ends["min"].as_py(), ends["max"].as_py()
        return low is None or (low > -EXACT and high < EXACT)
    return bool(
        kind == pa.int64() or pa.types.is_boolean(kind) or pa.types.is_string(kind) or pa.types.is_null(kind)
    )


def _read_json(buffer: pa.Buffer, schema: pa.Schema | None = None) -> pa.Table:
    import pyarrow as pa
    import pyarrow.json

    return pyarrow.json.read_json(
        pa.BufferReader(buffer),
        read_options=pyarrow.json.ReadOptions(use_threads=False, block_size=len(buffer) + 16),
        parse_options=pyarrow.json.ParseOptions(explicit_schema=schema, newlines_in_values=False),
    )


# ------------------------------------------------------------------------------------- columns of a frame


def column_names(blocks: Sequence[Block]) -> list[str]:
    """The names in the blocks, in the order of their first appearance."""
    return list(dict.fromkeys(name for block in blocks for name in block.names))


def series_of(blocks: Sequence[Block], name: str) -> pd.Series:
    """One column of all blocks."""
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    kinds = {block.kind(name) for block in blocks} - {"null"}
    if kinds == {"int", "float"}:
        exact = all(block.exact(name) for block in blocks if block.kind(name) == "int")
        kinds = {"float"} if exact else {"object"}
    kind = kinds.pop() if len(kinds) == 1 else "object" if kinds else "null"
    if kind in ("object", "null"):
        values = [value for block in blocks for value in _python_values(block, name, kind)]
        column = np.empty(len(values), object)
        column[:] = values
        return pd.Series(column, dtype=object)
    arrow = {"int": pa.int64(), "float": pa.float64(), "bool": pa.bool_(), "str": pa.string()}[kind]
    pieces = []
    for block in blocks:
        if block.kind(name) == "null":
            pieces.append(pa.nulls(len(block), arrow))
            continue
        array = block.array(name)
        if array is None:
            array = pa.array(block.values(name), arrow if kind != "float" else pa.float64())
        pieces.append(array.cast(arrow))
    chunked = pa.chunked_array(pieces, arrow)
    if chunked.null_count and kind in ("int", "bool"):
        nullable = {"int": pd.Int64Dtype(), "bool": pd.BooleanDtype()}[kind]
        return pd.Series(nullable.__from_arrow__(chunked))
    return chunked.to_pandas()


def _python_values(block: Block, name: str, kind: str) -> Iterable[Any]:
    if kind == "null" or name not in block.names:
        return [None] * len(block)
    return block.values(name)


def _with_text_keys(row: dict[Any, Any]) -> dict[str, Any]:
    """MessagePack has keys of any kind; a column's name is text."""
    return {key if type(key) is str else str(key): value for key, value in row.items()}
