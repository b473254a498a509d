"""Large messages of a subject as they pass, received by a thread of its own.

nats-py reads 32 KiB at a time on the event loop and copies every byte six times: of a message of 350 KB that
is a millisecond. A :class:`Tap` has a connection that does one thing, so the kernel writes each message
straight into the bytes that are handed on, with the interpreter's lock released. What passes while it is away
is missed: whoever uses a tap fetches from the stream what it did not bring.
Protocol: https://docs.nats.io/reference/reference-protocols/nats-protocol
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
import logging
import socket
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from platform_kit.errors import StreamError
from platform_kit.jetstream.connection import Endpoint

_log = logging.getLogger("platform_kit.nats")

LINE_BYTES = 32 * 1024
"""The longest line: INFO has some kilobytes and grows with a cluster."""
LARGEST_BYTES = 64 * 1024 * 1024
"""nats-server takes no message beyond this, whatever its configuration says."""
BUFFER_BYTES = 4096
"""Read at once where a line is expected; what is larger than this is read to its very end."""
CONNECT_TIMEOUT_S = 5.0
CLOSE_TIMEOUT_S = 5.0
PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0
PING = b"PING\r\n"


@dataclass(frozen=True)
class Operation:
    """One line of the protocol, and what follows it.

    ``word`` is in capitals. ``subject`` and ``data`` are those of a message; of any other operation ``data``
    is the rest of the line.
    """

    word: bytes
    subject: str
    data: bytearray


def read_operation(stream: BinaryIO) -> Operation | None:
    """Read what the server sends next; None at the end of the stream, also in the middle of an operation.

    Errors: ``StreamError`` for bytes that are not the protocol's.

    Example
    -------
    >>> import io
    >>> read_operation(io.BufferedReader(io.BytesIO(b"MSG cards.1 1 2\\r\\nhi\\r\\n"))).data
    bytearray(b'hi')
    """
    line = stream.readline(LINE_BYTES)
    if not line.endswith(b"\n"):
        if len(line) < LINE_BYTES:
            return None
        raise StreamError(f"nats-server sent a line of more than {LINE_BYTES:,} bytes: {line[:40]!r}…")
    word, _, rest = line.strip().partition(b" ")
    word = word.upper()
    if word != b"MSG":
        return Operation(word, "", bytearray(rest))
    fields = rest.split()  # subject, subscription, perhaps a reply subject, size
    if len(fields) not in (3, 4) or not fields[-1].isdigit():
        raise StreamError(f"nats-server sent a message that cannot be read: {line[:200]!r}")
    if int(fields[-1]) > LARGEST_BYTES:
        raise StreamError(f"nats-server sent a message larger than it allows: {line[:200]!r}")
    data = bytearray(int(fields[-1]) + 2)
    if stream.readinto(data) < len(data):  # type: ignore[attr-defined]
        return None
    if data[-2:] != b"\r\n":
        raise StreamError(f"A message of nats-server does not end where it says: {line[:200]!r}")
    del data[-2:]
    return Operation(word, fields[0].decode(errors="replace"), data)


class _Socket(io.RawIOBase):
    """The reading side of a socket; a large read waits in the kernel until all of it is there."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__()
        self._connection = connection

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        whole = socket.MSG_WAITALL if len(buffer) > BUFFER_BYTES else 0
        return self._connection.recv_into(buffer, 0, whole)


class Tap:
    """The messages of a subject, for as long as there is a connection.

    Parameters
    ----------
    endpoint: The server, on this machine; its credentials are an nkey seed.
    subject: What to listen to; may have wildcards.
    keep: Called with subject and bytes of each message, on the tap's thread, in order. It may not block.

    It connects again when the server comes back, until :meth:`close`.
    """

    def __init__(self, endpoint: Endpoint, subject: str, keep: Callable[[str, bytearray], None]) -> None:
        self._endpoint = endpoint
        self._subject = subject
        self._keep = keep
        self._changing = threading.Lock()
        self._connection: socket.socket | None = None
        self._trying = True
        self._listening = False
        self._asked: deque[Callable[[], None]] = deque()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._main, name="platform-kit-tap", daemon=True)

    def start(self) -> None:
        """Begin to connect; :meth:`caught_up` says when the server knows of the subscription."""
        self._thread.start()

    def close(self) -> None:
        """Disconnect and end the thread; whoever waits is woken."""
        self._closed.set()
        with self._changing:
            if self._connection is not None:
                with contextlib.suppress(OSError):  # the other side was faster
                    self._connection.shutdown(socket.SHUT_RDWR)
        if self._thread.is_alive():
            self._thread.join(CLOSE_TIMEOUT_S)

    async def caught_up(self, timeout_s: float) -> bool:
        """Wait until the tap listens and has handed on all that the server had sent by now: whether it has.

        Returns False without waiting while the server is away, and after ``timeout_s`` seconds.
        """
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[None] = loop.create_future()

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(_set, answered)

        with self._changing:
            if not self._trying:
                return False
            if self._listening:
                try:
                    self._send(PING)
                except OSError:
                    return False
            self._asked.append(wake)
        try:
            async with asyncio.timeout(timeout_s):
                await answered
        except TimeoutError:
            return False
        return self._listening

    # ---------------------------------------------------------------------- on the thread

    def _main(self) -> None:
        pause_s = PAUSE_S
        while not self._closed.is_set():
            try:
                self._connect_and_read()
            except (OSError, StreamError, ValueError, KeyError) as error:
                _log.debug("tap of %s: %s", self._subject, error)
            pause_s = PAUSE_S if self._listening else min(2 * pause_s, LONGEST_PAUSE_S)
            self._disconnected()
            self._closed.wait(pause_s)
            with self._changing:
                self._trying = True
        self._disconnected()

    def _connect_and_read(self) -> None:
        parts = urlsplit(self._endpoint.url)
        with socket.create_connection((parts.hostname, parts.port), CONNECT_TIMEOUT_S) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.settimeout(None)  # close() ends every wait
            with self._changing:
                self._connection = connection
            if self._closed.is_set():  # before there was a connection to shut down
                return
            with io.BufferedReader(_Socket(connection), BUFFER_BYTES) as stream:
                first = read_operation(stream)
                if first is None or first.word != b"INFO":
                    raise StreamError(f"{self._endpoint.url} does not greet like nats-server.")
                with self._changing:
                    self._send(self._greeting(json.loads(first.data)))
                while (operation := read_operation(stream)) is not None:
                    if operation.word == b"MSG":
                        self._keep(operation.subject, operation.data)
                    else:
                        self._heed(operation)

    def _greeting(self, info: dict[str, Any]) -> bytes:
        if info.get("tls_required"):
            raise StreamError("A tap speaks no TLS.")
        options: dict[str, Any] = {
            "verbose": False,
            "pedantic": False,
            "headers": False,  # the server then leaves them out
            "name": "platform-kit-tap",
            "lang": "python",
            "version": "1",
            "protocol": 1,
        }
        if self._endpoint.credentials is not None:
            import nkeys

            pair = nkeys.from_seed(bytearray(self._endpoint.credentials.read_bytes().strip()))
            options["nkey"] = pair.public_key.decode()
            options["sig"] = base64.b64encode(pair.sign(info["nonce"].encode())).decode()
            pair.wipe()
        return f"CONNECT {json.dumps(options)}\r\nSUB {self._subject} 1\r\n".encode() + PING

    def _heed(self, operation: Operation) -> None:
        if operation.word == b"PING":
            with self._changing:
                self._send(b"PONG\r\n")
        elif operation.word == b"PONG":
            with self._changing:
                # The first answers the greeting, and all who waited for it.
                count = min(1, len(self._asked)) if self._listening else len(self._asked)
                answers = [self._asked.popleft() for _ in range(count)]
                self._listening = True
            for answer in answers:
                answer()
        elif operation.word == b"-ERR":
            raise StreamError(f"nats-server says {operation.data.decode(errors='replace')}.")

    def _send(self, data: bytes) -> None:
        if self._connection is not None:
            self._connection.sendall(data)

    def _disconnected(self) -> None:
        with self._changing:
            self._connection, self._trying, self._listening = None, False, False
            answers = list(self._asked)
            self._asked.clear()
        for answer in answers:
            answer()


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():  # whoever waited may have given up
        future.set_result(None)
