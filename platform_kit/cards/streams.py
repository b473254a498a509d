"""The streams, the bucket and the consumer cards travel through."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from platform_kit.jetstream import streams
from platform_kit.jetstream.api import Api
from platform_kit.jetstream.buckets import ensure_object_store
from platform_kit.jetstream.management import ensure_stream

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.js import JetStreamContext

REQUESTS = "CARD_REQUESTS"
RESULTS = "CARD_RESULTS"
IMAGES = "CARD_IMAGES"
ASSETS = "CARD_ASSETS"
PIPELINE = "render_cards"
DEDUPE_WINDOW_S = 600.0


async def _ensure_consumer(api: Api, pipeline: str = "") -> None:
    await streams.ensure_work_consumer(api, REQUESTS, PIPELINE, max_ack_pending=64, pipeline=pipeline)


async def note_pipeline(client: Client, digest: str) -> None:
    """Write down which pipeline consumes the requests, for everybody who asks this server for cards."""
    await _ensure_consumer(Api(client), digest)


async def noted_pipeline(js: JetStreamContext) -> str:
    """What :func:`note_pipeline` wrote; empty where nothing is known of the pipeline."""
    return await streams.noted_pipeline(js, REQUESTS, PIPELINE)


async def ensure_card_streams(client: Client) -> None:
    """Make everything a card needs, or bring it to these options. Errors: ``StreamError``."""
    api = Api(client)
    await asyncio.gather(
        ensure_stream(
            api,
            REQUESTS,
            subjects=["cards.requested.*"],
            retention="workqueue",
            duplicate_window=DEDUPE_WINDOW_S,
        ),
        ensure_stream(
            api,
            RESULTS,
            subjects=["cards.rendered.*", "cards.rejected.*"],
            duplicate_window=DEDUPE_WINDOW_S,
            allow_direct=True,
        ),
        ensure_stream(api, IMAGES, subjects=["cards.images.*"], max_msgs_per_subject=1, allow_direct=True),
        ensure_object_store(api, ASSETS),
    )
    await _ensure_consumer(api)
