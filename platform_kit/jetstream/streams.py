"""Streams and consumers, made as declared, again and again without harm."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING

from platform_kit.errors import StreamError

if TYPE_CHECKING:
    from nats.js import JetStreamContext
    from nats.js.api import ConsumerConfig, StreamConfig

NAME_IN_USE = 10058
"""The server's code for "a stream of this name exists with another configuration"."""


async def ensure_stream(js: JetStreamContext, config: StreamConfig) -> None:
    """Create the stream, or bring an existing one to this configuration.

    Errors: ``StreamError`` with the server's reason when it refuses.
    """
    from nats.js.errors import APIError

    try:
        await js.add_stream(config)
    except APIError as error:
        if error.err_code != NAME_IN_USE:
            raise refused(f"stream {config.name}", error) from error
        try:
            await js.update_stream(config)
        except APIError as second:
            raise refused(f"stream {config.name}", second) from second


async def ensure_consumer(js: JetStreamContext, stream: str, config: ConsumerConfig) -> None:
    """Create the durable consumer, or bring an existing one to this configuration."""
    from nats.js.errors import APIError

    try:
        await js.add_consumer(stream, config)
    except APIError as error:
        raise refused(f"consumer {config.durable_name} of {stream}", error) from error


async def ensure_streams(js: JetStreamContext, configs: Iterable[StreamConfig]) -> None:
    """:func:`ensure_stream` for several at once."""
    await asyncio.gather(*(ensure_stream(js, config) for config in configs))


def refused(what: str, error: Exception) -> StreamError:
    """The server's reason as an error of ours."""
    description = getattr(error, "description", None) or str(error)
    return StreamError(
        f"nats-server refused the {what}: {description}",
        hint="If another version made it, remove it (`platform-kit nats stream rm`), or use another folder.",
    )
