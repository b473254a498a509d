"""The streams, the bucket and the consumer cards travel through."""

from __future__ import annotations

from typing import TYPE_CHECKING

from platform_kit.jetstream import streams
from platform_kit.jetstream.streams import ensure_consumer, ensure_streams, refused

if TYPE_CHECKING:
    from nats.js import JetStreamContext
    from nats.js.api import ConsumerConfig

REQUESTS = "CARD_REQUESTS"
RESULTS = "CARD_RESULTS"
IMAGES = "CARD_IMAGES"
ASSETS = "CARD_ASSETS"
PIPELINE = "render_cards"
DEDUPE_WINDOW_S = 600.0


def _consumer(pipeline: str = "") -> ConsumerConfig:
    return streams.work_consumer(PIPELINE, max_ack_pending=64, pipeline=pipeline)


async def note_pipeline(js: JetStreamContext, digest: str) -> None:
    """Write down which pipeline consumes the requests, for everybody who asks this server for cards."""
    await ensure_consumer(js, REQUESTS, _consumer(digest))


async def noted_pipeline(js: JetStreamContext) -> str:
    """What :func:`note_pipeline` wrote; empty where nothing is known of the pipeline."""
    return await streams.noted_pipeline(js, REQUESTS, PIPELINE)


async def ensure_card_streams(js: JetStreamContext) -> None:
    """Make everything a card needs, or bring it to this configuration. Errors: ``StreamError``."""
    from nats.js.api import RetentionPolicy, StorageType, StreamConfig
    from nats.js.errors import APIError, BucketNotFoundError, NotFoundError

    file = StorageType.FILE
    await ensure_streams(
        js,
        [
            StreamConfig(
                name=REQUESTS,
                subjects=["cards.requested.*"],
                retention=RetentionPolicy.WORK_QUEUE,
                storage=file,
                duplicate_window=DEDUPE_WINDOW_S,
            ),
            StreamConfig(
                name=RESULTS,
                subjects=["cards.rendered.*", "cards.rejected.*"],
                storage=file,
                duplicate_window=DEDUPE_WINDOW_S,
                allow_direct=True,
            ),
            StreamConfig(
                name=IMAGES,
                subjects=["cards.images.*"],
                storage=file,
                max_msgs_per_subject=1,
                allow_direct=True,
            ),
        ],
    )
    await ensure_consumer(js, REQUESTS, _consumer())
    try:
        await js.object_store(ASSETS)
    except (BucketNotFoundError, NotFoundError):
        try:
            await js.create_object_store(ASSETS)
        except APIError as error:
            raise refused(f"bucket {ASSETS}", error) from error
