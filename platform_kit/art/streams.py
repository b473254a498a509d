"""The streams and the consumer that pictures of an art folder travel through."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from platform_kit.jetstream import streams
from platform_kit.jetstream.api import Api
from platform_kit.jetstream.management import ensure_stream, stream_info

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.js import JetStreamContext

REQUESTS = "ASSET_REQUESTS"
RESULTS = "ASSET_RESULTS"
FILES = "ASSET_FILES"
PIPELINE = "prepare_art"
WORKER = "art-worker"
DEDUPE_WINDOW_S = 600.0
RESULTS_KEPT = 64
"""Results of one path that are kept: a picture that is changed back is then known."""


async def _ensure_consumer(api: Api, pipeline: str = "") -> None:
    await streams.ensure_work_consumer(api, REQUESTS, PIPELINE, max_ack_pending=32, pipeline=pipeline)


async def note_art_pipeline(client: Client, digest: str) -> None:
    """Write down which pipeline consumes the changes: its rules decide what a picture becomes."""
    await _ensure_consumer(Api(client), digest)


async def noted_art_pipeline(js: JetStreamContext) -> str:
    """What :func:`note_art_pipeline` wrote; empty where nothing is known of the pipeline."""
    return await streams.noted_pipeline(js, REQUESTS, PIPELINE)


async def ensure_art_streams(client: Client) -> None:
    """Make everything a picture needs, or bring it to these options. Errors: ``StreamError``."""
    api = Api(client)
    await asyncio.gather(
        ensure_stream(
            api,
            REQUESTS,
            subjects=["assets.changed.*", "assets.pack.*"],
            retention="workqueue",
            duplicate_window=DEDUPE_WINDOW_S,
        ),
        ensure_stream(
            api,
            RESULTS,
            subjects=["assets.prepared.*", "assets.rejected.*", "assets.removed.*", "assets.atlas.*"],
            duplicate_window=DEDUPE_WINDOW_S,
            max_msgs_per_subject=RESULTS_KEPT,
            allow_direct=True,
        ),
        ensure_stream(api, FILES, subjects=["assets.files.*"], max_msgs_per_subject=1, allow_direct=True),
    )
    requests = await stream_info(api, REQUESTS)
    if requests["state"]["consumer_count"] == 0:  # made again, it would forget which pipeline was noted
        await _ensure_consumer(api)
