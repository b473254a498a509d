"""The pictures of a run: taken as they pass on their way into CARD_IMAGES, or fetched from there.

On its way through nats-server a picture is in its memory anyhow. Asking for it a moment later has the server
keep ten seconds of all that was asked for, hundreds of megabytes, and copy each once more.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from platform_kit.cards.streams import IMAGES
from platform_kit.errors import RunError
from platform_kit.jetstream.connection import Endpoint
from platform_kit.jetstream.streams import patiently
from platform_kit.jetstream.tap import Tap

if TYPE_CHECKING:
    from nats.aio.client import Client

SUBJECT = "cards.images"
ANSWER_TIMEOUT_S = 2.0
PASSED_BYTES = 48 * 1024 * 1024
"""How much of what passed waits for its result: more pictures than a run has in flight."""


class Pictures:
    """The pictures of a run, by digest.

    Parameters
    ----------
    client: A connected client.
    follow: The server to listen at for all pictures that pass, or None not to: right where the server is this
        machine's, wrong where many share one, for each listener gets the pictures of all.

    Use as an async context manager.
    """

    def __init__(self, client: Client, *, follow: Endpoint | None) -> None:
        self._client = client
        self._tap = Tap(follow, f"{SUBJECT}.*", self._pass) if follow is not None else None
        self._changing = threading.Lock()
        self._passed: OrderedDict[str, bytearray] = OrderedDict()
        self._bytes = 0

    async def __aenter__(self) -> Pictures:
        if self._tap is not None:
            self._tap.start()
            await self._tap.caught_up(ANSWER_TIMEOUT_S)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.ignore()

    def ignore(self) -> None:
        """Listen no more; :meth:`take` fetches."""
        tap, self._tap = self._tap, None
        if tap is not None:
            tap.close()
        with self._changing:
            self._passed.clear()
            self._bytes = 0

    def passed(self, digest: str) -> bytearray | None:
        """The bytes under this digest, not proved to be those, if they have passed and were not taken yet."""
        with self._changing:
            data = self._passed.pop(digest, None)
            if data is not None:
                self._bytes -= len(data)
        return data

    async def take(self, digest: str) -> bytes | bytearray | None:
        """The bytes stored under this digest, not proved to be those; None if there are none."""
        data = self.passed(digest)
        # The server sent the picture before the result that names it: it is on its way, if it ever was.
        if data is None and self._tap is not None and await self._tap.caught_up(ANSWER_TIMEOUT_S):
            data = self.passed(digest)
        return data if data is not None else await _stored(self._client, digest)

    def _pass(self, subject: str, data: bytearray) -> None:
        digest = subject.rpartition(".")[2]
        with self._changing:
            if digest in self._passed:
                return
            self._passed[digest] = data
            self._bytes += len(data)
            while self._bytes > PASSED_BYTES:
                _, dropped = self._passed.popitem(last=False)
                self._bytes -= len(dropped)


async def fetch_picture(client: Client, digest: str) -> bytes | None:
    """The PNG with this digest from CARD_IMAGES; None if the stream does not have it.

    Tries again while the server is away; the caller's own limit ends it. Errors: ``RunError`` when the stream
    holds other bytes under this digest.
    """
    data = await _stored(client, digest)
    if data is not None:
        prove(data, digest)
    return data


def prove(data: bytes | bytearray, digest: str) -> None:
    """Errors: ``RunError`` if ``data`` is not what the digest says."""
    if hashlib.sha256(data).hexdigest() != digest:
        raise RunError(
            f"{IMAGES} holds other bytes under {digest[:12]}… than that digest.", hint="Purge the stream."
        )


async def _stored(client: Client, digest: str) -> bytes | None:
    from nats.js.errors import NotFoundError

    js = client.jetstream(timeout=ANSWER_TIMEOUT_S)

    async def ask() -> bytes | None:
        try:
            message = await js.get_msg(IMAGES, subject=f"{SUBJECT}.{digest}", direct=True)
        except NotFoundError:
            return None
        return message.data or b""

    return await patiently(ask)
