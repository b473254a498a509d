"""The worker: a FastStream application that draws a card a message and acknowledges when the file is written.

Environment: PEER_NATS_URL, PEER_SEED_FILE (an nkey seed), PEER_FOLDER (with ``art/``; cards go to ``peer/``;
the rows of ``warm.json`` are drawn before work begins), and if wanted PEER_BATCH. One process draws one card
at a time, so there is one process a core.
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

from faststream import FastStream
from faststream.nats import JStream, NatsBroker, PullSub
from nats.js.api import AckPolicy, ConsumerConfig, RetentionPolicy

from peers.faststream_pillow.card import Painter
from platform_kit.cards.template import Template

STREAM, SUBJECT, DURABLE = "PEER_REQUESTS", "peer.requested.*", "peer"
BATCH = int(os.environ.get("PEER_BATCH", "4"))
"""Requests a fetch: enough to hide its round trip, few enough that no process ends long after the other."""

CONSUMER = ConsumerConfig(
    durable_name=DURABLE, ack_policy=AckPolicy.EXPLICIT, ack_wait=60, max_ack_pending=1000
)


def application(url: str, seed_file: str, folder: Path) -> FastStream:
    """One worker, not started."""
    # The requests are this program's own: nothing is gained by checking their types once more.
    broker = NatsBroker(
        url, nkeys_seed=seed_file, inbox_prefix="_INBOX_admin", apply_types=False, logger=None
    )
    app = FastStream(broker, logger=None)
    painter = Painter(Template.read("classic"))
    for row in json.loads((folder / "warm.json").read_bytes()):
        painter.png(row, folder / row["art"])
    out = folder / "peer"

    @broker.subscriber(
        SUBJECT,
        durable=DURABLE,
        config=CONSUMER,
        stream=JStream(STREAM, subjects=[SUBJECT], retention=RetentionPolicy.WORK_QUEUE, declare=False),
        pull_sub=PullSub(batch_size=BATCH, timeout=5.0),
    )
    async def draw(request: dict[str, Any]) -> None:
        row = request["row"]
        (out / request["file"]).write_bytes(painter.png(row, folder / row["art"]))

    @app.after_startup
    async def ready() -> None:
        print("ready", flush=True)

    return app


def main() -> None:
    """Work until a SIGTERM comes."""
    env = os.environ
    app = application(env["PEER_NATS_URL"], env["PEER_SEED_FILE"], Path(env["PEER_FOLDER"]))
    try:
        import uvloop
    except ImportError:
        asyncio.run(app.run())
    else:
        uvloop.run(app.run())


if __name__ == "__main__":
    main()
