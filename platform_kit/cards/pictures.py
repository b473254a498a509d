"""The pictures of a run: taken as they pass on their way into CARD_IMAGES, or fetched from there.

On its way through nats-server a picture is in its memory anyhow. Asking for it a moment later has the server
keep ten seconds of all that was asked for, hundreds of megabytes, and copy each once more.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections import OrderedDict
from typing import TYPE_CHECKING

from platform_kit.cards.streams import IMAGES
from platform_kit.errors import RunError
from platform_kit.jetstream.streams import patiently

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

SUBJECT = "cards.images"
ANSWER_TIMEOUT_S = 2.0
PASSED_BYTES = 48 * 1024 * 1024
"""How much of what passed waits for its result: more pictures than a run has in flight."""


class Pictures:
    """The pictures of a run, by digest.

    Parameters
    ----------
    client: A connected client.
    follow: Whether to listen to all pictures that pass: right where the server is this machine's, wrong where
        many share one, for each listener gets the pictures of all.

    Use as an async context manager.
    """

    def __init__(self, client: Client, *, follow: bool) -> None:
        self._client = client
        self._follow = follow
        self._subscription: Subscription | None = None
        self._passed: OrderedDict[str, bytes] = OrderedDict()
        self._bytes = 0

    async def __aenter__(self) -> Pictures:
        if self._follow:
            self._subscription = await self._client.subscribe(
                f"{SUBJECT}.*", cb=self._pass, pending_bytes_limit=2 * PASSED_BYTES
            )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.ignore()

    async def ignore(self) -> None:
        """Listen no more; :meth:`take` fetches."""
        from nats.errors import Error

        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            with contextlib.suppress(Error):  # a connection that is gone listens no more
                await subscription.unsubscribe()
        self._passed.clear()
        self._bytes = 0

    async def take(self, digest: str) -> bytes | None:
        """The bytes stored under this digest, not proved to be those; None if there are none."""
        # The server sent the picture before the result that names it: it has arrived, if it was sent at all.
        while digest not in self._passed and self._subscription and self._subscription.pending_msgs:
            if self._client.is_closed:
                break
            await asyncio.sleep(0)
        data = self._passed.pop(digest, None)
        if data is None:
            return await _stored(self._client, digest)
        self._bytes -= len(data)
        return data

    async def _pass(self, message: Msg) -> None:
        digest = message.subject.rpartition(".")[2]
        if self._subscription is None or digest in self._passed:
            return
        self._passed[digest] = message.data
        self._bytes += len(message.data)
        while self._bytes > PASSED_BYTES:
            _, dropped = self._passed.popitem(last=False)
            self._bytes -= len(dropped)


async def fetch_picture(client: Client, digest: str) -> bytes | None:
    """The PNG with this digest from CARD_IMAGES; None if the stream does not have it.

    Tries again while the server is away; the caller's own limit ends it. Errors: ``RunError`` when the stream
    holds other bytes under this digest.
    """
    data = await _stored(client, digest)
    return proved(data, digest) if data is not None else None


def proved(data: bytes, digest: str) -> bytes:
    """``data``, if it is what the digest says. Errors: ``RunError``."""
    if hashlib.sha256(data).hexdigest() != digest:
        raise RunError(
            f"{IMAGES} holds other bytes under {digest[:12]}… than that digest.", hint="Purge the stream."
        )
    return data


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
