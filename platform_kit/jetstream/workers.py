"""Which workers answer: the micro services' own ``$SRV.PING``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from platform_kit.jobs import LoopThread

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg


class WorkerPings:
    """Asks the workers of one service who is there, without waiting for an answer.

    Parameters
    ----------
    loop: The loop the client lives on.
    service: The micro service's name.
    """

    def __init__(self, loop: LoopThread, service: str) -> None:
        self._loop = loop
        self._service = service
        self._client: Client | None = None
        self._inbox = ""
        self._answered: set[tuple[str, int]] = set()

    async def listen(self, client: Client) -> None:
        """Subscribe to the answers."""
        self._inbox = client.new_inbox()
        await client.subscribe(self._inbox, cb=self._answer)
        self._client = client

    def answered(self, instance: str, pid: int) -> bool:
        """Whether this process has answered; asks all again if it has not. Called from any thread."""
        if (instance, pid) in self._answered:
            return True
        if self._client is not None:
            self._loop.submit(self._ask(self._client), name="ping", progress=False)
        return False

    async def _ask(self, client: Client) -> None:
        await client.publish(f"$SRV.PING.{self._service}", b"", reply=self._inbox)
        await client.flush()

    async def _answer(self, message: Msg) -> None:
        try:
            metadata = json.loads(message.data).get("metadata") or {}
            self._answered.add((str(metadata["instance"]), int(metadata["pid"])))
        except (ValueError, KeyError, AttributeError):
            return  # another program's micro service of this name, or no responders
