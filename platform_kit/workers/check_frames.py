"""Frames as a worker writes them, read with distrust: what is no frame is said, not waited for."""

from __future__ import annotations

import struct

from platform_kit.reprs import clean, human_bytes, shorten
from platform_kit.workers.check_report import Fault

FRAMING, STDOUT = "framing", "quiet stdout"
LARGEST = 256 * 1024 * 1024
"""No answer of a worker is larger; a length above it is none."""

_PRINTABLE = frozenset(b"\t\n\r" + bytes(range(32, 127)))


def frame(body: bytes) -> bytes:
    """One frame: the length in four bytes, big-endian, and the body.

    >>> frame(b"card")
    b'\\x00\\x00\\x00\\x04card'
    """
    return struct.pack(">I", len(body)) + body


class FrameBuffer:
    """Takes bytes as they come and gives whole frames.

    Example
    -------
    >>> buffer = FrameBuffer()
    >>> buffer.feed(frame(b"one") + b"\\0\\0")
    >>> buffer.take(), buffer.take(), buffer.pending
    (b'one', None, 2)
    """

    def __init__(self) -> None:
        self._data = bytearray()

    @property
    def pending(self) -> int:
        """Bytes of a frame that is not whole yet."""
        return len(self._data)

    def feed(self, data: bytes) -> None:
        """Take more bytes."""
        self._data += data

    def take(self) -> bytes | None:
        """The next whole frame, or None. Raises ``Fault`` for what cannot be a frame."""
        if len(self._data) < 4:
            return None
        (length,) = struct.unpack_from(">I", self._data)
        if length > LARGEST:
            raise self._no_frame(length)
        if len(self._data) < 4 + length:
            return None
        body = bytes(self._data[4 : 4 + length])
        del self._data[: 4 + length]
        return body

    def unfinished(self) -> Fault:
        """What is wrong when no more bytes come."""
        if len(self._data) < 4:
            return Fault(
                f"After the last frame came {len(self._data)} more bytes: {self._shown()}.",
                "Write the length and the body, and nothing else; flush after each frame.",
                check=STDOUT if set(self._data) <= _PRINTABLE else FRAMING,
            )
        (length,) = struct.unpack_from(">I", self._data)
        if self._little_endian():
            return self._no_frame(length)
        return Fault(
            f"A frame says it has {length:,} bytes, but only {len(self._data) - 4:,} came.",
            "The length counts the body's bytes, not its characters and not its own four; flush each frame.",
            check=FRAMING,
        )

    def _no_frame(self, length: int) -> Fault:
        if set(self._data[:4]) <= _PRINTABLE:
            return Fault(
                f"Where a length should be there is text: {self._shown()}.",
                "stdout belongs to the frames: send prints and logs to a file in PLATFORM_LOG_DIR.",
                check=STDOUT,
            )
        if self._little_endian():
            return Fault(
                f"The length {bytes(self._data[:4]).hex(' ')} is little-endian: read as {length:,} bytes.",
                "Write the length big-endian, as Wombat's length_prefixed_uint32_be does.",
                check=FRAMING,
            )
        return Fault(
            f"A frame says it has {length:,} bytes ({human_bytes(length)}).",
            "A frame is four bytes of length, big-endian, and the body; nothing may stand between frames.",
            check=FRAMING,
        )

    def _little_endian(self) -> bool:
        """Whether the length makes sense only with its bytes the other way round."""
        length = int.from_bytes(self._data[:4], "little")
        return 0 < length <= len(self._data) - 4

    def _shown(self) -> str:
        return f"'{shorten(clean(bytes(self._data[:80]).decode('utf-8', 'replace')), 60)}'"
