"""Which workers answer: the micro services' own ``$SRV.PING``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from platform_kit.jobs import LoopThread

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg


class WorkerPings:
    """Asks the workers of a service who is there, without waiting for an answer.

    Parameters
    ----------
    loop: The loop the client lives on.
    """

    def __init__(self, loop: LoopThread) -> None:
        self._loop = loop
        self._client: Client | None = None
        self._inbox = ""
        self._answered: set[tuple[str, str, int]] = set()

    async def listen(self, client: Client) -> None:
        """Subscribe to the answers."""
        self._inbox = client.new_inbox()
        await client.subscribe(self._inbox, cb=self._answer)
        self._client = client

    def answered(self, service: str, instance: str, pid: int) -> bool:
        """Whether this process has answered; asks all again if it has not. Called from any thread."""
        if (service, instance, pid) in self._answered:
            return True
        if self._client is not None:
            self._loop.submit(self._ask(self._client, service), name="ping", progress=False)
        return False

    async def _ask(self, client: Client, service: str) -> None:
        await client.publish(f"$SRV.PING.{service}", b"", reply=self._inbox)
        await client.flush()

    async def _answer(self, message: Msg) -> None:
        try:
            answer = json.loads(message.data)
            metadata = answer.get("metadata") or {}
            self._answered.add((str(answer["name"]), str(metadata["instance"]), int(metadata["pid"])))
        except (ValueError, KeyError, AttributeError, TypeError):
            return  # another program's micro service of this name, or no responders
