"""What pipelines share: the consumer of one, the note of which one consumes, and patience with JetStream."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from platform_kit.errors import StreamError
from platform_kit.jetstream.api import Api
from platform_kit.jetstream.management import ensure_consumer

if TYPE_CHECKING:
    from nats.js import JetStreamContext

T = TypeVar("T")
PIPELINE_KEY = "platform-kit.pipeline"
ACK_WAIT_S = 3.0
"""How soon a message comes again when Wombat died with it; a living one says in time that it works on it."""


async def ensure_work_consumer(
    api: Api, stream: str, name: str, *, max_ack_pending: int, pipeline: str = ""
) -> None:
    """Make the consumer of a pipeline that acknowledges each message once its result is stored.

    Parameters
    ----------
    stream, name: The stream with the requests; the pipeline's name, and the durable's.
    max_ack_pending: Messages in work at once.
    pipeline: A digest of the pipeline, noted for everybody who asks this server; see :func:`noted_pipeline`.
    """
    await ensure_consumer(
        api,
        stream,
        name,
        ack_wait=ACK_WAIT_S,
        max_ack_pending=max_ack_pending,
        metadata={PIPELINE_KEY: pipeline} if pipeline else None,
    )


async def noted_pipeline(js: JetStreamContext, stream: str, name: str) -> str:
    """The digest that was noted with :func:`work_consumer`; empty where nothing is known of the pipeline."""
    info = await js.consumer_info(stream, name)
    return str((info.config.metadata or {}).get(PIPELINE_KEY, ""))


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
