"""What the command shows beyond tables: messages as they pass."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from typing import TYPE_CHECKING

from platform_kit.errors import UsageError
from platform_kit.platform import Platform
from platform_kit.reprs import clean, human_bytes, shorten

if TYPE_CHECKING:
    from nats.aio.msg import Msg

LINES_PER_S = 50
"""More lines than this a second nobody reads: the rest is counted."""


def watch(platform: Platform, subject: str, count: int | None) -> None:
    """Print the messages of a subject until interrupted, or ``count`` of them have passed."""
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_watch(platform, subject, count))


async def _watch(platform: Platform, subject: str, count: int | None) -> None:
    from nats.errors import BadSubjectError

    client = await platform.connect()
    skipped, shown, second = 0, 0, int(time.monotonic())
    try:
        try:
            subscription = await client.subscribe(subject)
        except BadSubjectError as error:
            raise UsageError(
                f"{subject!r} is not a subject.",
                hint='Write words with dots between them, such as "cards.>".',
            ) from error
        await client.flush()  # what is published once the line below is printed is seen
        print(f"listening to {subject}; Ctrl-C ends it", file=sys.stderr, flush=True)
        seen = 0
        async for message in subscription.messages:
            seen += 1
            if int(time.monotonic()) != second:
                if skipped:
                    print(f"… {skipped:,} more in that second", file=sys.stderr, flush=True)
                skipped, shown, second = 0, 0, int(time.monotonic())
            if shown < LINES_PER_S:
                shown += 1
                print(_line(message), flush=True)
            else:
                skipped += 1
            if count is not None and seen >= count:
                return
    finally:
        await client.close()


def _line(message: Msg) -> str:
    text = message.data.decode("utf-8", "backslashreplace")
    return f"{clean(message.subject)}  {human_bytes(len(message.data))}  {shorten(clean(text[:2000]), 100)}"
