"""Streams and consumers, made as declared, again and again without harm."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

from platform_kit.errors import StreamError

if TYPE_CHECKING:
    from nats.js import JetStreamContext
    from nats.js.api import ConsumerConfig, StreamConfig

T = TypeVar("T")
PIPELINE_KEY = "platform-kit.pipeline"
ACK_WAIT_S = 3.0
"""How soon a message comes again when Wombat died with it; a living one says in time that it works on it."""
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


def work_consumer(name: str, *, max_ack_pending: int, pipeline: str = "") -> ConsumerConfig:
    """The consumer of a pipeline that acknowledges each message once its result is stored.

    Parameters
    ----------
    name: The pipeline's, and the durable's.
    max_ack_pending: Messages in work at once.
    pipeline: A digest of the pipeline, noted for everybody who asks this server; see :func:`noted_pipeline`.
    """
    from nats.js.api import AckPolicy, ConsumerConfig

    return ConsumerConfig(
        durable_name=name,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=ACK_WAIT_S,
        max_deliver=-1,
        max_ack_pending=max_ack_pending,
        metadata={PIPELINE_KEY: pipeline} if pipeline else None,
    )


async def noted_pipeline(js: JetStreamContext, stream: str, name: str) -> str:
    """The digest that was noted with :func:`work_consumer`; empty where nothing is known of the pipeline."""
    info = await js.consumer_info(stream, name)
    return str((info.config.metadata or {}).get(PIPELINE_KEY, ""))


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


async def patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask JetStream again while it does not answer; the job's own limit ends it when the server stays away.

    Errors: ``StreamError`` when it answers that something is not there, or not allowed.
    """
    from nats.errors import Error
    from nats.js.errors import APIError, NotFoundError

    while True:
        try:
            return await ask()
        except NotFoundError as error:
            raise StreamError(
                f"A stream of the platform is not there: {error.description or error}.",
                hint="This server was not started by the kit. Platform().start() makes them on its own.",
            ) from error
        except APIError as error:
            # 503 and 5xx pass: the server has just come back and is still recovering its streams.
            if error.code is not None and error.code < 500:
                raise StreamError(f"nats-server refused: {error.description or error}.") from error
        except (Error, TimeoutError):
            pass
        await asyncio.sleep(0.1)
