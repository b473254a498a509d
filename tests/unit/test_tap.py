"""The protocol as a tap reads it: the same operations however the bytes are cut, and never a wrong one."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_kit.errors import StreamError
from platform_kit.jetstream.tap import BUFFER_BYTES, LINE_BYTES, Operation, read_operation

TOKEN = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=12)
SIZE = st.one_of(st.integers(0, 40), st.integers(BUFFER_BYTES - 60, 3 * BUFFER_BYTES))


class Cut(io.RawIOBase):
    """Bytes that arrive in pieces of these sizes, again and again."""

    def __init__(self, data: bytes, pieces: Sequence[int]) -> None:
        self._data = io.BytesIO(data)
        self._pieces = list(pieces)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._pieces.append(self._pieces.pop(0))
        piece = self._data.read(min(len(buffer), self._pieces[-1]))
        buffer[: len(piece)] = piece
        return len(piece)


@st.composite
def operations(draw: st.DrawFn) -> tuple[bytes, Operation]:
    kind = draw(st.sampled_from(["PING", "PONG", "INFO", "MSG", "MSG with a reply"]))
    if not kind.startswith("MSG"):
        rest = b'{"nonce":"a b"}' if kind == "INFO" else b""
        line = kind.encode() + (b" " + rest if rest else b"") + b"\r\n"
        return line, Operation(kind.encode(), "", bytearray(rest))
    subject, size = draw(TOKEN), draw(SIZE)
    data = (draw(st.binary(min_size=1, max_size=9)) * (size + 1))[:size]  # line ends and MSG may be in it
    reply = f"{draw(TOKEN)} " if kind != "MSG" else ""
    line = f"MSG {subject} 1 {reply}{size}\r\n".encode()
    return line + data + b"\r\n", Operation(b"MSG", subject, bytearray(data))


def read_all(data: bytes, pieces: Sequence[int]) -> Iterator[Operation]:
    stream = io.BufferedReader(Cut(data, pieces), BUFFER_BYTES)
    while (operation := read_operation(stream)) is not None:
        yield operation


PIECES = st.lists(st.integers(1, 5000), min_size=1, max_size=8)


@given(st.lists(operations(), max_size=6), PIECES)
def test_what_is_sent_is_read_however_it_is_cut(
    sent: list[tuple[bytes, Operation]], pieces: list[int]
) -> None:
    data = b"".join(line for line, _ in sent)
    assert list(read_all(data, pieces)) == [operation for _, operation in sent]


@given(st.lists(operations(), min_size=1, max_size=4), PIECES, st.data())
def test_a_stream_that_ends_early_gives_whole_operations_only(
    sent: list[tuple[bytes, Operation]], pieces: list[int], data: st.DataObject
) -> None:
    whole = b"".join(line for line, _ in sent)
    end = data.draw(st.integers(0, len(whole)))
    complete, length = [], 0
    for line, operation in sent:
        length += len(line)
        if length <= end:
            complete.append(operation)
    assert list(read_all(whole[:end], pieces)) == complete


@given(st.binary(max_size=300))
def test_whatever_comes_is_an_operation_an_end_or_one_error(data: bytes) -> None:
    try:
        for operation in read_all(data, [64]):
            assert operation.word == operation.word.upper()
    except StreamError:
        pass


@pytest.mark.parametrize(
    "wrong",
    [
        b"MSG a 1 2\r\nhixx",
        b"MSG a 1 -2\r\nhi\r\n",
        b"MSG a 1 2\xc2\xb2\r\nhi\r\n",
        b"MSG 2\r\nhi\r\n",
        b"MSG a 1 9999999999\r\nhi\r\n",
        b"I" * LINE_BYTES,
    ],
)
def test_what_is_not_the_protocol_is_an_error(wrong: bytes) -> None:
    with pytest.raises(StreamError):
        list(read_all(wrong, [64]))
