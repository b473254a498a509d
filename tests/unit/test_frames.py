"""Tables and messages: subjects, payloads there and back, and the fast way against the plain one."""

from __future__ import annotations

import datetime
import decimal
import json
import math
import uuid
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platform_kit.errors import UsageError
from platform_kit.jetstream.frames.cells import CellError, plain
from platform_kit.jetstream.frames.decode import (
    Block,
    column_names,
    json_block,
    json_decoder,
    msgpack_block,
    series_of,
)
from platform_kit.jetstream.frames.encode import encode_json, encode_msgpack, encode_raw
from platform_kit.jetstream.frames.lookup import overlaps
from platform_kit.jetstream.frames.publish import Publication
from platform_kit.jetstream.frames.read import Shape
from platform_kit.jetstream.frames.replay import Mapping, check_speed
from platform_kit.jetstream.frames.request import header_columns, read_request
from platform_kit.jetstream.frames.templates import MAX_SUBJECT_BYTES, Template
from platform_kit.names import token, untoken

# ------------------------------------------------------------------------------------------- subjects


def test_a_template_becomes_a_subject_a_row() -> None:
    frame = pd.DataFrame({"set": ["a.b", "x", "x"], "id": [1, 2, 3]})
    subjects, failed = Template.parse("cards.{set}.n{id}").subjects(frame)
    assert subjects.to_pylist() == ["cards.a%2Eb.n1", "cards.x.n2", "cards.x.n3"]
    assert failed == {}


@settings(deadline=None)
@given(st.lists(st.text() | st.none() | st.integers() | st.floats(), min_size=1, max_size=20))
def test_every_value_is_one_token_or_a_failed_row(values: list[Any]) -> None:
    frame = pd.DataFrame({"id": pd.Series(values, dtype=object)})
    subjects, failed = Template.parse("cards.{id}").subjects(frame)
    for row, (value, subject) in enumerate(zip(values, subjects.to_pylist(), strict=True)):
        empty = value is None or value == "" or (isinstance(value, float) and math.isnan(value))
        if empty or (isinstance(value, str) and not value.isprintable() and _surrogate(value)):
            assert row in failed and subject == ""
            continue
        assert row not in failed
        head, _, rest = subject.partition(".")
        assert head == "cards" and "." not in rest and rest
        if isinstance(value, str):
            assert rest == token(value)
            assert untoken(rest) in (value, None)


def _surrogate(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def test_whole_floats_name_as_whole_numbers() -> None:
    frame = pd.DataFrame({"id": [1.0, 2.5, np.nan], "on": [True, False, True]})
    subjects, failed = Template.parse("a.{id}.{on}").subjects(frame)
    assert subjects.to_pylist() == ["a.1.true", "a.2%2E5.false", ""]
    assert failed == {2: "column 'id' is empty"}


def test_a_subject_that_is_too_long_fails_its_row() -> None:
    names = [f"c{number}" for number in range(12)]
    frame = pd.DataFrame([["x" * 200] * 12, ["y"] * 12], columns=names)
    template = Template.parse(".".join(f"{{{name}}}" for name in names))
    subjects, failed = template.subjects(frame)
    assert list(failed) == [0] and str(f"{MAX_SUBJECT_BYTES:,}") in failed[0]
    assert subjects.to_pylist() == ["", ".".join("y" * 12)]


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("", "no subject"),
        (7, "no subject"),
        ("cards.{id", "do not match"),
        ("cards.id}", "do not match"),
        ("cards.{}", "no name"),
        ("cards.*.{id}", "wildcard"),
        ("cards.>", "wildcard"),
        ("a b", "space"),
        ("a..b", "empty part"),
        (".a", "empty part"),
    ],
)
def test_a_template_that_cannot_be_is_refused(template: object, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        Template.parse(template)


def test_a_missing_column_is_named_with_those_there_are() -> None:
    frame = pd.DataFrame({"id": [1], "set": [2]})
    with pytest.raises(UsageError, match=r"no column 'nope'.*\n.*id, set"):
        Publication("cards.{nope}", frame)
    with pytest.raises(UsageError, match=r"no column 'nope'.*headers="):
        Publication("cards.{id}", frame, headers={"X": "nope"})
    with pytest.raises(UsageError, match=r"no column 'nope'.*message_id="):
        Publication("cards.{id}", frame, message_id="nope")
    with pytest.raises(UsageError, match="no column 'nope'"):
        Publication("cards.{id}", frame, columns=["nope"])
    with pytest.raises(UsageError, match="no column 'yaml'"):
        Publication("cards.{id}", frame, payload="yaml")
    with pytest.raises(UsageError, match="message_id='column'"):
        Publication("cards.{id}", frame, headers={"nats-msg-id": "id"})
    with pytest.raises(UsageError, match="header's name"):
        Publication("cards.{id}", frame, headers={"a:b": "id"})
    with pytest.raises(UsageError, match="2 columns 'id'"):
        Publication("cards.{id}", pd.DataFrame([[1, 2]], columns=["id", "id"]))
    with pytest.raises(UsageError, match="list is no DataFrame"):
        Publication("cards.{id}", [{"id": 1}])


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ("a.b", "a.b", True),
        ("a.b", "a.c", False),
        ("a.*", "a.c", True),
        ("a.*", "a.c.d", False),
        ("a.>", "a.c.d", True),
        ("a.>", "a", False),
        (">", "x.y", True),
        ("*.b", "a.*", True),
        ("*.b", "a.c", False),
    ],
)
def test_patterns_that_share_a_subject(one: str, other: str, both: bool) -> None:
    assert overlaps(one, other) is overlaps(other, one) is both


# -------------------------------------------------------------------------------- payloads, there and back

SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text()
)
NESTED = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)
COLUMNS = st.one_of(
    st.lists(SCALARS, min_size=4, max_size=4),
    st.lists(NESTED, min_size=4, max_size=4),
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=4, max_size=4),
    st.lists(st.integers() | st.none(), min_size=4, max_size=4),
    st.lists(st.floats(), min_size=4, max_size=4),
    st.lists(st.booleans(), min_size=4, max_size=4),
    st.lists(st.text(), min_size=4, max_size=4),
    st.lists(st.datetimes(), min_size=4, max_size=4),
    st.lists(st.binary() | st.sets(st.integers()), min_size=4, max_size=4),
)


def _frame(columns: dict[str, list[Any]]) -> pd.DataFrame:
    series = {}
    for name, values in columns.items():
        try:
            series[name] = pd.Series(values)
        except (OverflowError, ValueError):
            series[name] = pd.Series(values, dtype=object)
    return pd.DataFrame(series, index=range(4))


@settings(deadline=None)
@given(st.dictionaries(st.text(min_size=1).filter(lambda name: not _surrogate(name)), COLUMNS, max_size=4))
def test_a_row_becomes_the_json_its_cells_are(columns: dict[str, list[Any]]) -> None:
    frame = _frame(columns)
    payloads, failed = encode_json(frame, list(frame.columns))
    for row in range(4):
        cells: dict[str, Any] = {}
        refused = False
        for name in frame.columns:
            value = frame[name].iloc[row]
            if isinstance(value, float) and math.isnan(value):
                value = None
            try:
                cells[name] = plain(value)
            except CellError:
                refused = True
        assert (row in failed) is refused
        if not refused:
            assert msgspec.json.decode(payloads[row].as_py()) == json.loads(json.dumps(cells))


def test_what_each_kind_of_cell_becomes() -> None:
    moment = datetime.datetime(
        2026, 1, 31, 12, 0, 0, 500_000, tzinfo=datetime.timezone(datetime.timedelta(hours=1))
    )
    values: list[tuple[Any, str]] = [
        (np.int8(3), "3"),
        (np.float64(0.5), "0.5"),
        (np.nan, "null"),
        (pd.NA, "null"),
        (pd.NaT, "null"),
        (np.array([1, 2]), "[1,2]"),
        ([np.nan, {"x": np.int64(1)}], '[null,{"x":1}]'),
        (pd.Timestamp("2026-01-31 12:00"), '"2026-01-31T12:00:00"'),
        (moment, '"2026-01-31T11:00:00.5Z"'),
        (datetime.date(2026, 1, 31), '"2026-01-31"'),
        (decimal.Decimal("1.10"), '"1.10"'),
        (uuid.UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
        ('a"\\\n\x01é', '"a\\"\\\\\\n\\u0001é"'),
    ]
    frame = pd.DataFrame({"x": pd.Series([value for value, _ in values], dtype=object)})
    payloads, failed = encode_json(frame, ["x"])
    assert failed == {}
    assert [payload.decode() for payload in payloads.to_pylist()] == [f'{{"x":{text}}}' for _, text in values]


def test_typed_columns() -> None:
    frame = pd.DataFrame(
        {
            "i": pd.array([1, None], dtype="Int64"),
            "f": np.array([0.1, np.nan], np.float32),
            "b": pd.array([True, None], dtype="boolean"),
            "c": pd.Categorical(["x", None]),
            "t": pd.to_datetime(["2026-01-31T12:00:00.000000001", None]),
            "z": pd.to_datetime(["2026-01-31T12:00:00+01:00", None], utc=True),
            "d": pd.to_timedelta(["1h", None]),
            "u": np.array([2**64 - 1, 0], np.uint64),
        }
    )
    payloads, failed = encode_json(frame, list(frame.columns))
    assert failed == {}
    first, second = (json.loads(payload) for payload in payloads.to_pylist())
    assert first == {
        "i": 1,
        "f": 0.1,
        "b": True,
        "c": "x",
        "t": "2026-01-31T12:00:00.000000001",
        "z": "2026-01-31T11:00:00Z",
        "d": "P0DT1H0M0S",
        "u": 2**64 - 1,
    }
    assert second == dict.fromkeys("ifbctzd") | {"u": 0}


@pytest.mark.parametrize("bad", [{1, 2}, b"x", math.inf, object(), {1: 2}, 1j, [math.inf], "\ud800", 2**64])
def test_a_cell_that_is_no_json_fails_its_row_alone(bad: Any) -> None:
    frame = pd.DataFrame({"id": [1, 2, 3], "x": pd.Series(["a", bad, "c"], dtype=object)})
    payloads, failed = encode_json(frame, ["id", "x"])
    assert list(failed) == [1] and failed[1].startswith("column 'x': ")
    assert json.loads(payloads[2].as_py()) == {"id": 3, "x": "c"}
    _, failed = encode_json(pd.DataFrame({"x": [1.0, -math.inf]}), ["x"])
    assert list(failed) == [1]


@settings(deadline=None)
@given(st.dictionaries(st.text(min_size=1, max_size=5), COLUMNS, max_size=3))
def test_messagepack_there_and_back(columns: dict[str, list[Any]]) -> None:
    frame = _frame({name: values for name, values in columns.items() if not _surrogate(name)})
    payloads, failed = encode_msgpack(frame, list(frame.columns))
    for row, payload in enumerate(payloads.to_pylist()):
        if row in failed:
            continue
        found = msgspec.msgpack.decode(payload)
        for name in frame.columns:
            value = frame[name].iloc[row]
            missing = (isinstance(value, float) and math.isnan(value)) or value is pd.NaT
            assert found[name] == (None if missing else plain(value, binary=True))


def test_raw_payloads() -> None:
    column = pd.Series([b"a", "é", bytearray(b"c"), 7, None, "\ud800"], dtype=object)
    payloads, failed = encode_raw(column, "x")
    assert payloads.to_pylist()[:3] == [b"a", "é".encode(), b"c"]
    assert sorted(failed) == [3, 4, 5] and "int is neither" in failed[3]


# ----------------------------------------------------------------------- decoding: fast as slow


def _rows(blocks: list[Block]) -> dict[str, pd.Series]:
    return {name: series_of(blocks, name) for name in column_names(blocks)}


def _same(fast: dict[str, pd.Series], slow: dict[str, pd.Series]) -> None:
    assert list(fast) == list(slow)
    for name, column in fast.items():
        assert column.dtype == slow[name].dtype, name
        left, right = column.tolist(), slow[name].tolist()
        assert [type(value) for value in left] == [type(value) for value in right], name
        # -0 is a whole number row by row, and -0.0 where Arrow sees it among others: the same value
        assert all(str(a) == str(b) or a == b for a, b in zip(left, right, strict=True)), name


def _compare(payloads: list[bytes], cut: int) -> None:
    cut = min(cut, len(payloads))
    parts = [pa.array(part, pa.binary()) for part in (payloads[:cut], payloads[cut:]) if part]
    fast = [json_block(part) for part in parts]
    slow = [Block(pa.array(payloads, pa.binary()), json_decoder())]
    _same(_rows(fast), _rows(slow))
    errors: dict[int, str] = {}
    start = 0
    for block in fast:
        errors |= {start + row: reason for row, reason in block.errors.items()}
        start += len(block)
    assert errors == slow[0].errors


JSON_ROWS = st.lists(
    st.dictionaries(st.sampled_from(["a", "b", "time", "ü", ""]), NESTED | SCALARS, max_size=3),
    min_size=1,
    max_size=8,
)
# Columns of one kind, which is what the fast way is for.
LIKE_TABLES = st.fixed_dictionaries(
    {
        "i": st.integers(-(2**63), 2**63 - 1),
        "f": st.floats(allow_nan=False, allow_infinity=False),
        "s": st.text() | st.sampled_from(["2026-01-31", "2026-01-31T12:00:00Z", "2026-01-31 12:00:00", "1"]),
    },
    optional={"b": st.booleans() | st.none(), "n": st.none(), "m": st.integers(-5, 5) | st.floats(-5, 5)},
)
ANY_BYTES = st.one_of(
    st.binary(max_size=20),
    st.sampled_from(
        [
            b"",
            b" ",
            b"{}",
            b"[]",
            b"null",
            b'"x"',
            b"{}{}",
            b"{}\n{}",
            b'{"a":1}{"a":2}',
            b'{"a":1,"a":2}',
            b'{"a":NaN}',
            b'{"a":[NaN]}',
            b'{"a":{"b":-Infinity}}',
            b'{"a":Inf}',
            b'{"a":nan}',
            b'{"a":1e999}',
            b'{"a":-0}',
            b'{"a":-0.0}',
            b'{"a":1E5}',
            b'{"a":01}',
            b'{"a":+1}',
            b'{"a":.5}',
            b'{"a":1.}',
            b'{"a":18446744073709551615}',
            b'{"a":9223372036854775808}',
            b'{"a":123456789012345678901234567890}',
            b'{"a":"\\ud800"}',
            b'{"a":"\\u0000"}',
            b'{"a":"\\ud83d\\ude00"}',
            b'{"a":"\xff"}',
            b'{"a":"x\ty"}',
            b'{"a":"x\x7fy"}',
            b'{"a":tru}',
            b'{"a":1}x',
            b'{"a":1,}',
            b'{ "a" : 1 }',
            b' {"a":1}',
            b'{"a":1} ',
            b'{"a":1}\n',
            b'{\n"a":1}',
            b'{\r"a":1}',
            b"{'a':1}",
            b'{"a":1/**/}',
            b'{"a":"2026-01-31"}',
            b'{"\\u0061":1}',
            b'{"a":{}}',
            b'{"a":[]}',
            b'{"a":[1,"x"]}',
            b'\xef\xbb\xbf{"a":1}',
        ]
    ),
)


@settings(deadline=None, max_examples=200)
@given(JSON_ROWS, st.integers(0, 8))
def test_any_json_decodes_as_row_by_row(rows: list[dict[str, Any]], cut: int) -> None:
    payloads = [json.dumps(row).encode("utf-8", "surrogatepass") for row in rows]
    _compare(payloads, cut)


@settings(deadline=None, max_examples=200)
@given(st.lists(LIKE_TABLES, min_size=2, max_size=8), st.integers(0, 8), st.booleans())
def test_tables_decode_as_row_by_row(rows: list[dict[str, Any]], cut: int, ascii_only: bool) -> None:
    texts = [json.dumps(row, ensure_ascii=ascii_only) for row in rows]
    _compare([text.encode("utf-8", "replace") for text in texts], cut)


@settings(deadline=None, max_examples=200)
@given(
    st.lists(
        ANY_BYTES | LIKE_TABLES.map(lambda row: json.dumps({"a": row["f"]}).encode()), min_size=1, max_size=6
    ),
    st.integers(0, 6),
)
def test_bad_payloads_keep_their_rows(payloads: list[bytes], cut: int) -> None:
    _compare(payloads, cut)


def test_the_fast_way_is_taken_for_a_table() -> None:
    payloads = pa.array(
        [
            json.dumps({"id": f"c{n}", "n": n, "f": n / 3, "d": "2026-01-31", "x": [n]}).encode()
            for n in range(50)
        ],
        pa.binary(),
    )
    block = json_block(payloads)
    assert [block.array(name) is not None for name in ("id", "n", "f", "d", "x")] == [True] * 4 + [False]
    assert block.values("x")[3] == [3]
    assert series_of([block], "d").tolist()[0] == "2026-01-31"


def test_kinds_of_columns_over_blocks() -> None:
    def column(*rows: object) -> pd.Series:
        blocks = [
            json_block(pa.array([json.dumps({"a": value}).encode()] * 2, pa.binary())) for value in rows
        ]
        return series_of(blocks, "a")

    assert column(1, 2).dtype == "int64"
    assert column(1, None).dtype == "Int64"
    assert column(1, 2.5).dtype == "float64"
    assert column(2**53 + 1, 2.5).dtype == object
    assert column(2**63, 1).dtype == object
    assert column(True, None).dtype == "boolean"
    assert column(True, 1).tolist() == [True, True, 1, 1]
    assert column("x", None).dtype == pd.Series(["x"]).dtype
    assert column({"x": 1}, [1]).tolist() == [{"x": 1}, {"x": 1}, [1], [1]]


def test_messagepack_blocks() -> None:
    payloads = [
        msgspec.msgpack.encode({"a": 1, "b": b"x"}),
        b"\xc1",
        msgspec.msgpack.encode([1]),
        msgspec.msgpack.encode({1: 2}),
    ]
    block = msgpack_block(pa.array(payloads, pa.binary()))
    assert sorted(block.errors) == [1, 2]
    assert series_of([block], "b").tolist() == [b"x", None, None, None]
    assert series_of([block], "1").tolist() == [pd.NA, pd.NA, pd.NA, 2]


# -------------------------------------------------------------------------------------- what is asked for


@pytest.mark.parametrize(
    "wrong",
    [
        {"stream": "a.b"},
        {"stream": ""},
        {"stream": 7},
        {"subjects": "a..b"},
        {"subjects": "a.>.b"},
        {"subjects": 7},
        {"start": "first"},
        {"start": -1},
        {"start": True},
        {"limit": -1},
        {"limit": 2.5},
        {"headers": {"a b": "x"}},
        {"headers": 7},
    ],
)
def test_a_request_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        read_request(**{"stream": "S", "patience_s": 1.0, **wrong})


def test_starts() -> None:
    moment = datetime.datetime(2026, 1, 31, 12, tzinfo=datetime.timezone(datetime.timedelta(hours=2)))
    assert read_request("S", start=moment, patience_s=1.0).start_time == "2026-01-31T10:00:00Z"
    assert read_request("S", start=pd.Timestamp(moment), patience_s=1.0).start_time == "2026-01-31T10:00:00Z"
    assert read_request("S", start=0, patience_s=1.0).start_sequence == 1
    assert read_request("S", start="last_per_subject", patience_s=1.0).last_per_subject


def test_shapes_that_cannot_be_are_refused() -> None:
    with pytest.raises(UsageError, match="taken"):
        Shape.checked("json", None, {"Time": "time"})
    with pytest.raises(UsageError, match="taken"):
        Shape.checked("json", None, {"A": "x", "B": "x"})
    with pytest.raises(UsageError, match="payload='yaml'"):
        Shape.checked("yaml", None, {})
    with pytest.raises(UsageError, match="decoded"):
        Shape.checked("raw", ["a"], {})
    with pytest.raises(UsageError, match="columns="):
        Shape.checked("json", [1], {})
    assert header_columns("X") == {"X": "X"}


@pytest.mark.parametrize(
    ("into", "subject", "becomes"),
    [
        ("replay.{subject}", "cards.>", "replay.cards.>"),
        ("again.{2}", "cards.*.x", "again.*"),
        ("again.{1}", "cards.>", "again.cards"),
        ("again.{3}", "cards.>", "again.*"),
        ("a.{subject}.b", "cards.>", "a.cards.>"),
        ("a-{2}", "cards.*", "*"),
        ("plain", "cards.>", "plain"),
    ],
)
def test_patterns_a_replay_writes_to(into: str, subject: str, becomes: str) -> None:
    assert Mapping(into).pattern(subject) == becomes


@pytest.mark.parametrize("into", ["", "a.{x}", "a.{0}", "a.*", "a b", "a..b", "a.{subject", None])
def test_a_mapping_that_cannot_be_is_refused(into: object) -> None:
    with pytest.raises(UsageError):
        Mapping(into)


@pytest.mark.parametrize("speed", [0, -1, "slow", True, math.inf, None])
def test_speeds(speed: object) -> None:
    assert check_speed("fast") is None and check_speed(2) == 2.0
    with pytest.raises(UsageError):
        check_speed(speed)
