"""Single cells: what is missing, what is text, and what JSON and MessagePack can hold."""

from __future__ import annotations

import datetime
import decimal
import math
import uuid
from typing import Any


class CellError(ValueError):
    """A cell that cannot be sent; the message says why, without the column's name."""


def is_missing(value: object) -> bool:
    """None, NaN, NaT and pandas' NA.

    >>> is_missing(float("nan")), is_missing(""), is_missing([])
    (True, False, False)
    """
    if value is None:
        return True
    if isinstance(value, float):
        return value != value
    kind = type(value).__name__
    if kind in ("NAType", "NaTType"):
        return True
    return kind in ("float32", "float16", "datetime64", "timedelta64") and value != value


def cell_as_text(value: object) -> str:
    """What a cell becomes in a subject, a header or a message id; a whole float loses its ".0".

    >>> cell_as_text(7.0), cell_as_text(True), cell_as_text("a b")
    ('7', 'true', 'a b')
    """
    if isinstance(value, str):
        return value
    if hasattr(value, "item") and type(value).__module__ == "numpy":
        value = value.item()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, (int, float, decimal.Decimal, uuid.UUID)):
        return str(value)
    if isinstance(value, (datetime.date, datetime.time)):
        return _moment(value)
    raise CellError(f"a {type(value).__name__} is no text")


def plain(value: Any, *, binary: bool = False) -> Any:
    """A cell as the types JSON knows; ``binary`` allows bytes, which MessagePack knows too.

    NaN and the like become None, dates ISO 8601 text, decimals and UUIDs text.

    Errors: ``CellError`` for anything else.

    >>> plain({"a": [1, float("nan")]})
    {'a': [1, None]}
    """
    kind = type(value)
    if kind is str:
        try:
            value.encode()
        except UnicodeEncodeError:
            raise CellError("the text has half a surrogate pair") from None
        return value
    if kind is bool or value is None:
        return value
    if kind is int:
        if not -(2**63) <= value < 2**64:
            raise CellError(f"{value} needs more than 64 bits")
        return value
    if is_missing(value):
        return None
    if kind is float:
        if math.isinf(value):
            raise CellError("infinity is no number in JSON")
        return value
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise CellError(f"the key {key!r} is no text")
        return {plain(str(key)): plain(item, binary=binary) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, binary=binary) for item in value]
    if kind.__module__ == "numpy" and hasattr(value, "tolist"):
        if kind.__name__ in ("datetime64", "timedelta64"):
            import pandas as pd

            converted: Any = (pd.Timestamp if kind.__name__ == "datetime64" else pd.Timedelta)(value)
            return plain(converted)
        return plain(value.tolist(), binary=binary)
    if isinstance(value, (datetime.date, datetime.time)):
        return _moment(value)
    if isinstance(value, datetime.timedelta):
        import pandas as pd

        return pd.Timedelta(value).isoformat()
    if isinstance(value, (decimal.Decimal, uuid.UUID)):
        return str(value)
    if isinstance(value, (bytes, bytearray, memoryview)) and binary:
        return bytes(value)
    for base in (str, bool, int, float):
        if isinstance(value, base):
            return plain(base(value), binary=binary)
    raise CellError(f"a {kind.__name__} cannot be sent")


def _moment(value: Any) -> str:
    """ISO 8601, without zeros at the end of a fraction; with a time zone, in UTC and with a Z."""
    zone = ""
    if isinstance(value, datetime.datetime) and value.tzinfo is not None:
        value, zone = value.astimezone(datetime.UTC).replace(tzinfo=None), "Z"
    text = str(value.isoformat())
    return (text.rstrip("0").rstrip(".") if "." in text else text) + zone
