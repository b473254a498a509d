"""Read a stream from a sequence on, in order, without gaps, across restarts of the server.

An ephemeral consumer lives in the server's memory and dies with it. A :class:`Tail` therefore keeps the
last sequence it has seen and makes itself another consumer from there. One pull asks for many messages,
which then stream in; heartbeats tell an idle server from a dead one.
Protocol: https://docs.nats.io/reference/reference-protocols/nats_api_reference
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from platform_kit.errors import StreamError

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

PULL_MESSAGES = 2000
PULL_EXPIRES_S = 30.0
HEARTBEAT_S = 0.5
SILENCE_S = 1.5
"""After this long without a message or a heartbeat the consumer is taken for lost."""


class Tail:
    """Messages of a stream as they come.

    Parameters
    ----------
    client: A connected client.
    stream: The stream's name.
    subjects: Filter subjects; empty for all.
    start_seq: The first sequence to deliver.
    last_per_subject: Start with the last message of each subject instead.

    Use as an async context manager; :meth:`next` returns a message, or None when ``timeout_s`` is over.
    """

    def __init__(
        self,
        client: Client,
        stream: str,
        *,
        subjects: Sequence[str] = (),
        start_seq: int = 1,
        last_per_subject: bool = False,
    ) -> None:
        self._client = client
        self._js = client.jetstream()
        self._stream = stream
        self._subjects = list(subjects)
        self._next_seq = start_seq
        self._last_per_subject = last_per_subject
        self._subscription: Subscription | None = None
        self._arrived: deque[Msg] = deque()
        self._wake = asyncio.Event()
        self._consumer = ""
        self._delivered = 0
        self._heard = 0.0
        self._left = 0
        self.pending: int | None = None
        """Messages the server still holds for this tail, as of the last one; 0 when it has caught up."""

    async def __aenter__(self) -> Tail:
        from nats.errors import Error

        try:
            await self._open()
        except (Error, TimeoutError):
            pass  # next() opens, and opens again
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._close()

    async def next(self, timeout_s: float) -> Msg | None:
        """The next message in order; None after ``timeout_s`` seconds without one."""
        from nats.errors import Error

        deadline = time.monotonic() + timeout_s
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            if self._subscription is None:
                try:
                    await self._open()  # not cut short by our limit: JetStream's own is some seconds
                except (Error, StreamError, TimeoutError):
                    await asyncio.sleep(min(0.05, left))
                continue
            if (message := await self._receive(min(left, HEARTBEAT_S))) is not None:
                return message
            if time.monotonic() - self._heard > SILENCE_S:
                await self._close()

    async def _receive(self, timeout_s: float) -> Msg | None:
        from nats.errors import ConnectionClosedError

        if not self._arrived:
            self._wake.clear()
            try:
                async with asyncio.timeout(timeout_s):
                    await self._wake.wait()
            except TimeoutError:
                if self._client.is_closed:
                    raise ConnectionClosedError from None
                return None
        message = self._arrived.popleft()
        self._heard = time.monotonic()
        status = (message.headers or {}).get("Status")
        if status is not None and not message.reply:
            # 100 is a heartbeat; all others end the pull. A consumer that is gone answers 503 or 409.
            if status in ("503", "409") and "Expired" not in str(message.headers):
                await self._close()
            elif status != "100":
                await self._pull()
            return None
        delivered = message.metadata.sequence.consumer
        if delivered != self._delivered + 1:  # some were sent into a connection that is gone
            await self._close()
            return None
        self._delivered = delivered
        sequence = message.metadata.sequence.stream
        self.pending = message.metadata.num_pending
        self._left -= 1
        if self._left <= PULL_MESSAGES // 4:
            await self._pull()
        if sequence < self._next_seq:
            return None
        self._next_seq = sequence + 1
        self._last_per_subject = False
        return message

    async def _open(self) -> None:
        from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
        from nats.js.errors import Error as JetStreamError

        policy = DeliverPolicy.LAST_PER_SUBJECT if self._last_per_subject else DeliverPolicy.BY_START_SEQUENCE
        config = ConsumerConfig(
            deliver_policy=policy,
            opt_start_seq=None if self._last_per_subject else max(self._next_seq, 1),
            ack_policy=AckPolicy.NONE,
            inactive_threshold=60.0,
            mem_storage=True,
            num_replicas=1,
            filter_subjects=self._subjects or None,
        )
        try:
            info = await self._js.add_consumer(self._stream, config)
        except JetStreamError as error:
            if (getattr(error, "code", None) or 0) >= 500:
                raise TimeoutError(f"the stream {self._stream} is not there yet") from error
            raise StreamError(
                f"The stream {self._stream} cannot be read: {error}",
                hint="`platform-kit nats stream ls` lists the streams.",
            ) from error
        self._consumer, self._delivered = info.name, 0
        self.pending = info.num_pending
        # A queue of our own: the library's next_msg() makes two tasks and a UUID a message.
        arrived: deque[Msg] = deque()

        async def keep(message: Msg) -> None:
            arrived.append(message)
            self._wake.set()

        self._arrived = arrived
        self._subscription = await self._client.subscribe(
            self._client.new_inbox(), cb=keep, pending_bytes_limit=256 * 1024 * 1024
        )
        await self._pull()
        self._heard = time.monotonic()

    async def _pull(self) -> None:
        assert self._subscription is not None
        request: dict[str, Any] = {
            "batch": PULL_MESSAGES,
            "expires": int(PULL_EXPIRES_S * 1e9),
            "idle_heartbeat": int(HEARTBEAT_S * 1e9),
        }
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._consumer}"
        self._left = max(self._left, 0) + PULL_MESSAGES
        await self._client.publish(subject, json.dumps(request).encode(), reply=self._subscription.subject)

    async def _close(self) -> None:
        from nats.errors import Error

        subscription, self._subscription, self._left = self._subscription, None, 0
        self._arrived = deque()
        if subscription is None:
            return
        try:
            await subscription.unsubscribe()
            # Nobody waits for the answer: a consumer that cannot be deleted now goes by itself.
            await self._client.publish(f"$JS.API.CONSUMER.DELETE.{self._stream}.{self._consumer}", b"")
        except Error:
            pass
