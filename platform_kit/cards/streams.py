"""The streams, the bucket and the consumer cards travel through."""

from __future__ import annotations

from typing import TYPE_CHECKING

from platform_kit.jetstream.streams import ensure_consumer, ensure_streams, refused

if TYPE_CHECKING:
    from nats.js import JetStreamContext
    from nats.js.api import ConsumerConfig

REQUESTS = "CARD_REQUESTS"
RESULTS = "CARD_RESULTS"
IMAGES = "CARD_IMAGES"
ASSETS = "CARD_ASSETS"
PIPELINE = "render_cards"
PIPELINE_KEY = "platform-kit.pipeline"
DEDUPE_WINDOW_S = 600.0
ACK_WAIT_S = 3.0
"""How soon a card comes again when Wombat died with it; a living one says in time that it works on it."""


def _consumer(metadata: dict[str, str] | None = None) -> ConsumerConfig:
    from nats.js.api import AckPolicy, ConsumerConfig

    return ConsumerConfig(
        durable_name=PIPELINE,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=ACK_WAIT_S,
        max_deliver=-1,
        max_ack_pending=64,
        metadata=metadata,
    )


async def note_pipeline(js: JetStreamContext, digest: str) -> None:
    """Write down which pipeline consumes the requests, for everybody who asks this server for cards."""
    await ensure_consumer(js, REQUESTS, _consumer({PIPELINE_KEY: digest}))


async def noted_pipeline(js: JetStreamContext) -> str:
    """What :func:`note_pipeline` wrote; empty where nothing is known of the pipeline."""
    info = await js.consumer_info(REQUESTS, PIPELINE)
    return str((info.config.metadata or {}).get(PIPELINE_KEY, ""))


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
