"""The shipped relay from stream to stream: every message once, as it was, whoever is ended in between."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

from nats.errors import Error as NatsError
from support import wait_for

from platform_kit import Platform
from platform_kit.errors import PlatformKitError
from platform_kit.pipelines.pipeline import Pipeline

RELAY = Path(__file__).parents[2] / ".config" / "pipelines" / "relay.yaml"
COUNT = 4000


def make_streams(platform: Platform) -> None:
    requests = platform.create_stream("RELAY_IN", subjects=["relay.in.>"])
    requests.create_consumer("relay", ack_wait="3s", max_ack_pending=1000)
    platform.create_stream("RELAY_OUT", subjects=["relay.out.>"], duplicate_window="2m")


async def publish(platform: Platform) -> None:
    client = await platform.connect()
    js = client.jetstream()
    sent = [
        await js.publish_async(
            f"relay.in.{number % 7}.x", b"\x00%d" % number, headers={"Number": str(number)}
        )
        for number in range(COUNT)
    ]
    await asyncio.gather(*sent)
    await client.close()


async def stored(platform: Platform) -> int:
    client = await platform.connect()
    state = (await client.jetstream().stream_info("RELAY_OUT")).state
    await client.close()
    return int(state.messages)


async def relayed(platform: Platform) -> dict[bytes, tuple[str, str]]:
    """Bodies with subject and header, of all there are."""
    client = await platform.connect()
    reading = await client.jetstream().subscribe("relay.out.>", ordered_consumer=True)
    found: dict[bytes, tuple[str, str]] = {}
    for _ in range(COUNT):
        message = await reading.next_msg(timeout=20)
        found[message.data] = (message.subject, (message.headers or {})["Number"])
    await client.close()
    return found


def pid_of(platform: Platform, name: str) -> int:
    states, _ = platform.service_states()
    return next(state.pid for state in states if state.name == name and state.pid is not None)


def test_every_message_is_relayed_once_although_both_servers_are_killed() -> None:
    assert Pipeline.read(RELAY).test().passed
    with Platform(workers=0) as platform:
        make_streams(platform)
        asyncio.run(publish(platform))
        platform.deploy(RELAY, wait=False)
        wait_for(lambda: asyncio.run(stored(platform)) > 0, "the first messages")
        for name in ("wombat", "nats-server"):
            os.kill(pid_of(platform, name), signal.SIGKILL)

        def all_there() -> bool:
            try:
                return asyncio.run(stored(platform)) >= COUNT
            except (PlatformKitError, NatsError, TimeoutError, OSError):  # the server is on its way back
                return False

        wait_for(all_there, "all messages")
        found = asyncio.run(relayed(platform))
        assert found == {b"\x00%d" % n: (f"relay.out.{n % 7}.x", str(n)) for n in range(COUNT)}
        assert asyncio.run(stored(platform)) == COUNT, "none is there twice"
