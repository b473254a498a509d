"""Messages as they pass: all of them, in order, and on again when the server comes back."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading

import pytest
from support import wait_for

from platform_kit import Platform
from platform_kit.jetstream.connection import Endpoint
from platform_kit.jetstream.tap import Tap

SIZES = (0, 1, 4094, 4095, 4096, 4097, 350_000, 3_000_000)


class Kept:
    """What a tap has handed on."""

    def __init__(self, platform: Platform) -> None:
        self.messages: list[tuple[str, bytes]] = []
        credentials = platform.credentials_file("admin")
        endpoint = Endpoint(platform.nats_url, credentials, "_INBOX_admin")
        self.tap = Tap(endpoint, "passing.*", self._keep)

    def _keep(self, subject: str, data: bytearray) -> None:
        self.messages.append((subject, bytes(data)))


def nats_pid(platform: Platform) -> int:
    found = next(item.pid for item in platform.status().services if item.name == "nats-server")
    assert found is not None
    return found


def test_all_that_passes_is_handed_on_in_order_before_it_is_asked_for() -> None:
    with Platform(workers=0) as platform:
        kept = Kept(platform)

        async def run() -> None:
            client = await platform.connect()
            try:
                kept.tap.start()
                assert await kept.tap.caught_up(5.0)
                for round_ in range(3):
                    for number, size in enumerate(SIZES):
                        data = bytes([65 + number]) * size
                        await client.publish(
                            f"passing.{number}", data, headers={"Content-Type": "text/plain"}
                        )
                    await client.jetstream().account_info()  # the server answers in order; flush() overtakes
                    assert await kept.tap.caught_up(5.0)
                    assert len(kept.messages) == (round_ + 1) * len(SIZES)
            finally:
                kept.tap.close()
                await client.close()

        asyncio.run(run())
        sent = [(f"passing.{number}", bytes([65 + number]) * size) for number, size in enumerate(SIZES)]
        assert kept.messages == 3 * sent


def test_a_tap_comes_back_with_its_server_and_holds_nobody_up_meanwhile() -> None:
    with Platform(workers=0) as platform:
        kept = Kept(platform)

        async def run() -> None:
            kept.tap.start()
            assert await kept.tap.caught_up(5.0)
            pid = nats_pid(platform)
            os.kill(pid, signal.SIGSTOP)
            asking = asyncio.create_task(kept.tap.caught_up(30.0))
            await asyncio.sleep(0)
            os.kill(pid, signal.SIGKILL)
            assert not await asking
            async with asyncio.timeout(30.0):
                while not await kept.tap.caught_up(5.0):
                    await asyncio.sleep(0.01)
            client = await platform.connect()
            try:
                await client.publish("passing.again", b"here")
                await client.jetstream().account_info()
                assert await kept.tap.caught_up(5.0)
            finally:
                await client.close()

        try:
            asyncio.run(run())
        finally:
            kept.tap.close()
        assert kept.messages == [("passing.again", b"here")]


@pytest.mark.parametrize("url", ["nats://127.0.0.1:1", "a server that says nothing"])
def test_a_tap_without_a_server_waits_no_longer_than_it_is_told_and_ends(url: str) -> None:
    async def run() -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            port = silent.getsockname()[1]
            endpoint = Endpoint(url if url.startswith("nats") else f"nats://127.0.0.1:{port}", None)
            tap = Tap(endpoint, "passing.*", lambda *_: None)
            tap.start()
            assert not await tap.caught_up(0.2)
            tap.close()

    asyncio.run(run())
    wait_for(lambda: "platform-kit-tap" not in {thread.name for thread in threading.enumerate()}, "its end")
