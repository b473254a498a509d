"""Templates, art and fonts in the bucket CARD_ASSETS, each under the SHA-256 of its bytes."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from platform_kit.cards.streams import ASSETS
from platform_kit.errors import RunError

if TYPE_CHECKING:
    from nats.js import JetStreamContext

PARALLEL = 8
CHUNK_BYTES = 512 * 1024
"""Each chunk is awaited, and the usual 128 KiB make four times as many waits; many servers allow 1 MiB."""


async def upload(js: JetStreamContext, contents: Mapping[str, bytes | Path], unconfirmed: set[str]) -> int:
    """Store what is not there yet; returns how many were.

    Parameters
    ----------
    contents: SHA-256 to the bytes, or the file that holds them.
    unconfirmed: Objects an earlier attempt began and did not see acknowledged. They are stored again whatever
        the bucket says of them: the client takes the parts of a failed upload back, and its entry may stay.

    Errors: ``RunError`` for a file whose bytes are not those of its digest any more.
    """
    from nats.js.api import ObjectMeta, ObjectMetaOptions
    from nats.js.errors import ObjectNotFoundError

    if not contents:
        return 0
    bucket = await js.object_store(ASSETS)
    gate = asyncio.Semaphore(PARALLEL)

    async def store(digest: str, content: bytes | Path) -> bool:
        async with gate:
            if digest not in unconfirmed:
                try:
                    await bucket.get_info(digest)
                    return False
                except ObjectNotFoundError:
                    unconfirmed.add(digest)
            data = content if isinstance(content, bytes) else await asyncio.to_thread(_read, content, digest)
            options = ObjectMetaOptions(max_chunk_size=CHUNK_BYTES)
            await bucket.put(digest, data, ObjectMeta(name=digest, options=options))
            unconfirmed.discard(digest)
            return True

    tasks = [asyncio.create_task(store(digest, content)) for digest, content in contents.items()]
    try:
        return sum(await asyncio.gather(*tasks))
    finally:
        # After a failure the others end too, before anybody tries again.
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _read(path: Path, digest: str) -> bytes:
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != digest:
        # Stored under a digest that is not theirs, these bytes would spoil it for good.
        raise RunError(f"{path} changed while it was read.", hint="Run it again.")
    return data


class ArtDigests:
    """The SHA-256 of pictures, each file read once."""

    def __init__(self) -> None:
        self._known: dict[Path, str] = {}
        self.files: dict[str, Path] = {}

    def of(self, path: Path) -> str:
        """The digest of the file's bytes."""
        if path not in self._known:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            self._known[path] = digest
            self.files[digest] = path
        return self._known[path]
