"""The streams and the consumer that pictures of an art folder travel through."""

from __future__ import annotations

from typing import TYPE_CHECKING

from platform_kit.jetstream import streams
from platform_kit.jetstream.streams import ensure_consumer, ensure_streams

if TYPE_CHECKING:
    from nats.js import JetStreamContext
    from nats.js.api import ConsumerConfig

REQUESTS = "ASSET_REQUESTS"
RESULTS = "ASSET_RESULTS"
FILES = "ASSET_FILES"
PIPELINE = "prepare_art"
WORKER = "art-worker"
DEDUPE_WINDOW_S = 600.0
RESULTS_KEPT = 64
"""Results of one path that are kept: a picture that is changed back is then known."""


def _consumer(pipeline: str = "") -> ConsumerConfig:
    return streams.work_consumer(PIPELINE, max_ack_pending=32, pipeline=pipeline)


async def note_art_pipeline(js: JetStreamContext, digest: str) -> None:
    """Write down which pipeline consumes the changes: its rules decide what a picture becomes."""
    await ensure_consumer(js, REQUESTS, _consumer(digest))


async def noted_art_pipeline(js: JetStreamContext) -> str:
    """What :func:`note_art_pipeline` wrote; empty where nothing is known of the pipeline."""
    return await streams.noted_pipeline(js, REQUESTS, PIPELINE)


async def ensure_art_streams(js: JetStreamContext) -> None:
    """Make everything a picture needs, or bring it to this configuration. Errors: ``StreamError``."""
    from nats.js.api import RetentionPolicy, StorageType, StreamConfig

    file = StorageType.FILE
    await ensure_streams(
        js,
        [
            StreamConfig(
                name=REQUESTS,
                subjects=["assets.changed.*", "assets.pack.*"],
                retention=RetentionPolicy.WORK_QUEUE,
                storage=file,
                duplicate_window=DEDUPE_WINDOW_S,
            ),
            StreamConfig(
                name=RESULTS,
                subjects=["assets.prepared.*", "assets.rejected.*", "assets.removed.*", "assets.atlas.*"],
                storage=file,
                duplicate_window=DEDUPE_WINDOW_S,
                max_msgs_per_subject=RESULTS_KEPT,
                allow_direct=True,
            ),
            StreamConfig(
                name=FILES,
                subjects=["assets.files.*"],
                storage=file,
                max_msgs_per_subject=1,
                allow_direct=True,
            ),
        ],
    )
    js_info = await js.stream_info(REQUESTS)
    if js_info.state.consumer_count == 0:  # made again, it would forget which pipeline was noted
        await ensure_consumer(js, REQUESTS, _consumer())
