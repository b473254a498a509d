"""The streams, the bucket and the consumer cards travel through."""

from __future__ import annotations

from typing import TYPE_CHECKING

from platform_kit.jetstream.streams import ensure_consumer, ensure_streams, refused

if TYPE_CHECKING:
    from nats.js import JetStreamContext

REQUESTS = "CARD_REQUESTS"
RESULTS = "CARD_RESULTS"
IMAGES = "CARD_IMAGES"
ASSETS = "CARD_ASSETS"
PIPELINE = "render_cards"
DEDUPE_WINDOW_S = 600.0
ACK_WAIT_S = 10.0
"""How soon a card comes again when Wombat died with it: twice what the pipeline first gives a worker."""


async def ensure_card_streams(js: JetStreamContext) -> None:
    """Make everything a card needs, or bring it to this configuration. Errors: ``StreamError``."""
    from nats.js.api import AckPolicy, ConsumerConfig, RetentionPolicy, StorageType, StreamConfig
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
    await ensure_consumer(
        js,
        REQUESTS,
        ConsumerConfig(
            durable_name=PIPELINE,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=ACK_WAIT_S,
            max_deliver=-1,
            max_ack_pending=64,
        ),
    )
    try:
        await js.object_store(ASSETS)
    except (BucketNotFoundError, NotFoundError):
        try:
            await js.create_object_store(ASSETS)
        except APIError as error:
            raise refused(f"bucket {ASSETS}", error) from error
