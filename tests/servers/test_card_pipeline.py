"""What the card pipeline does when workers are slow, away or fail: it waits, tries again, loses nothing."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg
from PIL import Image
from support import wait_for

from platform_kit import Deck, Platform
from platform_kit.cards.run import CardRun

WORKING = "Worker-Working"
SILENCE_S = 3.0
"""As in the pipeline: after so long without a sign of life a worker is taken for dead."""


def deck_of(count: int) -> Deck:
    return Deck([{"id": f"card-{number}", "name": f"Card {number}"} for number in range(count)])


def picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (5, 7), (40, 80, 120)).save(buffer, "PNG")
    return buffer.getvalue()


async def store(client: Client, png: bytes) -> None:
    digest = hashlib.sha256(png).hexdigest()
    await client.request(f"cards.images.{digest}", png, timeout=10)


def reply(png: bytes) -> bytes:
    image = {"digest": hashlib.sha256(png).hexdigest(), "bytes": len(png), "width": 5, "height": 7}
    return json.dumps({"image": image, "warnings": [], "timings_ms": {}, "worker": "test"}).encode()


def with_worker(
    platform: Platform, handle: Callable[[Client, Msg], Coroutine[Any, Any, None]], during: Callable[[], None]
) -> None:
    """Answer requests for cards on a connection of this test while ``during`` runs in a thread."""

    async def work() -> None:
        client = await platform.connect("worker")
        tasks: set[asyncio.Task[None]] = set()

        async def received(message: Msg) -> None:
            task = asyncio.create_task(handle(client, message))
            tasks.add(task)

        try:
            await store(client, picture())
            await client.subscribe("workers.card-renderer", "workers", received)
            await client.flush()
            await asyncio.to_thread(during)
            for task in [task for task in tasks if task.done()]:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await client.close()

    asyncio.run(work())


def held(platform: Platform) -> int:
    async def ask() -> int:
        client = await platform.connect()
        try:
            info = await client.jetstream().consumer_info("CARD_REQUESTS", "render_cards")
            return info.num_ack_pending or 0
        finally:
            await client.close()

    return asyncio.run(ask())


def attempts(run: CardRun) -> dict[int, int]:
    return dict(Counter(outcome.attempt for outcome in run.outcomes))


def test_a_slow_worker_slows_the_intake_and_nothing_times_out() -> None:
    png = picture()
    asked: Counter[str] = Counter()

    async def slow(client: Client, message: Msg) -> None:
        card = json.loads(message.data)["id"]
        asked[card] += 1
        if sum(asked.values()) <= 8:  # longer than the silence, and than the consumer's ack_wait
            for _ in range(8):
                await asyncio.sleep(SILENCE_S / 6)
                await client.publish(message.reply, b"", headers={WORKING: "1s"})
        await message.respond(reply(png))

    with Platform(workers=0) as platform:
        runs: list[CardRun] = []
        most = 0

        def during() -> None:
            nonlocal most
            run = platform.generate(deck_of(120), wait=False, progress=False)
            runs.append(run)
            while not run.done:
                most = max(most, held(platform))
            run.wait(60)

        with_worker(platform, slow, during)
        assert runs[0].rendered == 120
        assert attempts(runs[0]) == {1: 120}
        assert set(asked.values()) == {1} and 0 < most <= 64


def test_cards_wait_for_a_worker_that_comes_later_and_no_attempt_is_counted() -> None:
    with Platform(workers=0) as platform:
        run = platform.generate(deck_of(20), wait=False, progress=False)
        wait_for(lambda: held(platform) == 20, "all cards in work", 30.0)
        platform.scale_workers("card-renderer", 1)
        run.wait(60)
        assert run.rendered == 20 and attempts(run) == {1: 20}


def test_a_card_that_always_fails_is_rejected_after_five_attempts_and_the_others_are_not() -> None:
    png = picture()
    asked: Counter[str] = Counter()

    async def poisoned(client: Client, message: Msg) -> None:
        card = json.loads(message.data)["id"]
        asked[card] += 1
        if card == "card-3":
            headers = {"Nats-Service-Error-Code": "500", "Nats-Service-Error": "the pen broke"}
            body = b'{"column":null,"reason":"the pen broke"}'
            await client.publish(message.reply, body, headers=headers)
            return
        await message.respond(reply(png))

    with Platform(workers=0) as platform:
        runs: list[CardRun] = []
        with_worker(platform, poisoned, lambda: runs.append(platform.generate(deck_of(12), progress=False)))
        run = runs[0]
        assert run.rendered == 11 and asked == {f"card-{n}": 5 if n == 3 else 1 for n in range(12)}
        (rejected,) = run.rejected.to_dict("records")
        assert rejected["id"] == "card-3" and rejected["stage"] == "render"
        assert rejected["reason"] == "the worker failed 5 times, at last: the pen broke"
