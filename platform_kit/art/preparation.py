"""One look at a folder after another: what changed is prepared, until every picture is accounted for.

    seen = prepared + unchanged + rejected + removed

Nothing here decodes a picture. Its bytes go into the bucket CARD_ASSETS under their digest, a request goes to
ASSET_REQUESTS, the pipeline and the workers do the rest, and what they say comes back on ASSET_RESULTS. A
picture whose bytes, name, rules and worker are what they were is not asked about again, in this process or a
later one; one that has only another name is looked up under its bytes.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platform_kit.art.folder import ArtFolder, Found, Refusal, Stamp, read
from platform_kit.art.pictures import Picture, Status, counts
from platform_kit.art.streams import FILES, REQUESTS, RESULTS, noted_art_pipeline
from platform_kit.cards.assets import upload
from platform_kit.errors import RunError
from platform_kit.jetstream.streams import patiently
from platform_kit.jetstream.tail import Tail
from platform_kit.jobs import Meter
from platform_kit.names import token

if TYPE_CHECKING:
    from nats.aio.client import Client

AT_ONCE = 8
"""Pictures read and uploaded at the same moment; their bytes are in memory until then."""
PUBLISH_TIMEOUT_S = 2.0
LOOKING = "looking"
PREPARING = "preparing"
FINAL = ("folder", "rules", "prepare")
"""Rejections at these stages stand until something changes; what a worker failed on is tried again."""
_RESULTS = ["assets.prepared.*", "assets.rejected.*", "assets.removed.*", "assets.atlas.*"]


@dataclass(frozen=True)
class AtlasRef:
    """The atlas of a folder: the manifest by digest, the pages in their order."""

    manifest: str
    pages: Sequence[str]
    sprites: int
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    made: bool = False


@dataclass(frozen=True)
class Look:
    """What one look at the folder found and did.

    Parameters
    ----------
    changed: Pictures that were not as they had been, by what became of them.
    atlas: Whether the atlas was packed again.
    seconds: How long it took.
    """

    changed: Mapping[str, int]
    atlas: bool
    seconds: float

    @property
    def empty(self) -> bool:
        """Whether nothing had changed."""
        return self.changed["seen"] == 0


@dataclass
class _Known:
    """A picture as of the last time its bytes were looked at."""

    stamp: Stamp
    read_at_ns: int
    key: str


@dataclass(frozen=True)
class _Change:
    """A request that has no result yet: of a picture, or of the atlas (then without a path)."""

    path: str | None
    known: _Known | None
    noticed: float


class Preparation:
    """The pictures of one folder, look by look; :meth:`look` is to be called from one task at a time.

    Parameters
    ----------
    client: A connected client that may publish requests and read the streams.
    folder: The folder.
    build: Identifies the worker's build; part of each picture's digest, as are the pipeline's rules.
    """

    def __init__(self, client: Client, folder: ArtFolder, *, build: str) -> None:
        self._client = client
        self._js = client.jetstream(timeout=PUBLISH_TIMEOUT_S)
        self.folder = folder
        self._build = build
        self._pipeline = ""
        self.run_id = secrets.token_hex(8)
        self.folder_id = hashlib.sha256(str(folder.path).encode("utf-8", "surrogateescape")).hexdigest()[:32]
        self.pictures: dict[str, Picture] = {}
        self.atlas: AtlasRef | None = None
        self.atlas_problem: str | None = None
        self._atlas_key = ""
        self._known: dict[str, _Known] = {}
        self._number = 0
        self._by_digest: dict[str, dict[str, Any]] = {}
        self._by_content: dict[str, dict[str, Any]] = {}
        self._files: set[str] | None = None

    @property
    def counts(self) -> dict[str, int]:
        """seen = prepared + unchanged + rejected + removed."""
        return counts(self.pictures.copy().values())

    async def look(self, meter: Meter) -> Look:
        """Look at the folder and do what is to be done; every picture of it has a row afterwards.

        Errors: ``RunError``, ``StreamError``, and what the job raises when nothing moves.
        """
        started = time.monotonic()
        meter.update(text=LOOKING)
        if self._files is None:
            await self._remember()
        self._pipeline = await patiently(lambda: noted_art_pipeline(self._js))
        found = await asyncio.to_thread(self.folder.scan)
        dirty = [item for item in found.values() if not self._is_known(item)]
        here = (path for path, item in self.pictures.items() if item.status != "removed")
        gone = [path for path in here if path not in found]
        total = len(found) + len(gone)
        meter.update(done=total - len(dirty) - len(gone), total=total)
        changed: list[Picture] = []
        if dirty or gone:
            await self._settle(dirty, gone, changed, started, meter)
            self.pictures = dict(sorted(self.pictures.items()))
        made = await self._pack(meter)
        return Look(counts(changed), made, time.monotonic() - started)

    # -------------------------------------------------------------------- what there is to do

    def _is_known(self, item: Found) -> bool:
        """Whether this picture was read since it last changed, under the rules and the worker of now."""
        known = self._known.get(item.path)
        return (
            known is not None
            and known.stamp == item.stamp
            and item.stamp.settled(known.read_at_ns)
            and known.key.startswith(self._rules())
        )

    def _rules(self) -> str:
        return _digest({"pipeline": self._pipeline, "build": self._build})[:16]

    async def _remember(self) -> None:
        """Results of earlier looks, also of other processes, and which of their files are still there."""
        info = await patiently(lambda: self._js.stream_info(FILES, subjects_filter="assets.files.*"))
        self._files = {subject.rpartition(".")[2] for subject in (info.state.subjects or {})}
        results = await patiently(lambda: self._js.stream_info(RESULTS))
        if results.state.messages == 0:
            return
        last: dict[str, dict[str, Any]] = {}
        async with Tail(self._client, RESULTS, subjects=_RESULTS) as tail:
            while tail.pending != 0:
                message = await tail.next(5.0)
                if message is None:
                    break
                result = json.loads(message.data)
                self._index(result)
                if result.get("folder") == self.folder_id and result.get("path"):
                    last[result["path"]] = result
        # Pictures that went while nobody looked: their removal is noticed now.
        for path, result in last.items():
            if result["status"] in ("prepared", "rejected"):
                self.pictures[path] = Picture.of(result, "unchanged", path=path, took_ms=None)

    def _index(self, result: dict[str, Any]) -> None:
        final = result["status"] in ("prepared", "packed") or result.get("stage") in FINAL
        if final and result.get("digest"):
            self._by_digest[result["digest"]] = result
        if result["status"] == "prepared" and result.get("content"):
            self._by_content[result["content"]] = result
        if self._files is not None:
            self._files.update(_made(result))

    def _usable(self, result: Mapping[str, Any] | None) -> bool:
        """Whether a result is there, with all files it names: a stream can have been purged."""
        assert self._files is not None
        return result is not None and self._files.issuperset(_made(result))

    # -------------------------------------------------------------------- pictures

    async def _settle(
        self,
        dirty: Sequence[Found],
        gone: Sequence[str],
        changed: list[Picture],
        started: float,
        meter: Meter,
    ) -> None:
        info = await patiently(lambda: self._js.stream_info(RESULTS))
        waiting: dict[int, _Change] = {}
        async with Tail(self._client, RESULTS, subjects=_RESULTS, start_seq=info.state.last_seq + 1) as tail:
            asking = asyncio.create_task(self._ask(dirty, gone, waiting, changed, started, meter))
            try:
                while not asking.done() or waiting:
                    if asking.done():
                        asking.result()
                    message = await tail.next(0.01 if not waiting else 0.5)
                    if message is not None:
                        self._take(json.loads(message.data), waiting, changed, meter)
                asking.result()
            finally:
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)

    def _take(
        self, result: dict[str, Any], waiting: dict[int, _Change], changed: list[Picture], meter: Meter
    ) -> None:
        """A result from the stream; of others' requests it is only remembered what was made."""
        self._index(result)
        change = waiting.pop(result.get("change") or 0, None) if result.get("run") == self.run_id else None
        if change is None:
            return
        took_ms = (time.monotonic() - change.noticed) * 1000
        path = str(change.path)
        status: Status = result["status"]
        shown: Status = "unchanged" if status == "prepared" and result.get("reused") else status
        picture = Picture.of(result, shown, path=path, took_ms=took_ms)
        self._keep(path, picture, change.known, changed, meter)

    def _keep(
        self, path: str, picture: Picture, known: _Known | None, changed: list[Picture], meter: Meter
    ) -> None:
        self.pictures[path] = picture
        changed.append(picture)
        if known is not None and picture.stage != "worker":  # what a worker failed on is tried again
            self._known[path] = known
        else:
            self._known.pop(path, None)
        meter.advance()

    async def _ask(
        self,
        dirty: Sequence[Found],
        gone: Sequence[str],
        waiting: dict[int, _Change],
        changed: list[Picture],
        started: float,
        meter: Meter,
    ) -> None:
        """Read what changed and ask for what is not known, a few at a time."""
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(item: Found) -> None:
            async with gate:
                await self._ask_one(item, waiting, changed, started, meter)

        if gone:
            meter.update(text=PREPARING)
        for path in gone:
            before = self.pictures[path]
            body = {"task": "remove", "path": path, "digest": None, "content": None, "source": before.source}
            await self._publish(waiting, body, None, started)
        try:
            async with asyncio.TaskGroup() as group:
                for item in dirty:
                    group.create_task(one(item))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from errors

    async def _ask_one(
        self,
        item: Found,
        waiting: dict[int, _Change],
        changed: list[Picture],
        started: float,
        meter: Meter,
    ) -> None:
        read_at_ns = time.time_ns()
        stamp, refusal, data = item.stamp, item.refusal, b""
        if refusal is None:
            try:
                data, stamp = await asyncio.to_thread(read, item)
            except FileNotFoundError:
                meter.advance()
                return  # gone again: the next look says so
            except OSError as error:
                refusal = Refusal("bytes", f"the file cannot be read: {error.strerror or error}")
        source = hashlib.sha256(data).hexdigest() if refusal is None else None
        refused = [refusal.column, refusal.reason] if refusal is not None else None
        content = _digest([source, item.extension, self._pipeline, self._build]) if source else None
        digest = _digest([item.path, source, refused, self._pipeline, self._build])
        known = _Known(stamp, read_at_ns, self._rules() + digest)
        before = self._known.get(item.path)
        if before is not None and before.key == known.key and self.pictures[item.path].status != "removed":
            self._known[item.path] = known  # only touched
            meter.advance()
            return
        earlier = self._by_digest.get(digest)
        if earlier is not None and self._usable(earlier):
            status: Status = "unchanged" if earlier["status"] == "prepared" else "rejected"
            picture = Picture.of(earlier, status, path=item.path, took_ms=(time.monotonic() - started) * 1000)
            self._keep(item.path, replace(picture, timings_ms={}), known, changed, meter)
            return
        meter.update(text=PREPARING)
        body: dict[str, Any] = {"path": item.path, "digest": digest, "content": content, "source": source}
        if refusal is not None:
            body |= {"task": "refuse", "column": refusal.column, "reason": refusal.reason}
        else:
            alike = self._by_content.get(content or "")
            body |= {"task": "prepare", "extension": item.extension, "bytes": len(data)}
            if alike is not None and self._usable(alike):
                body["known"] = {name: alike[name] for name in _REPLY if name in alike}
            else:
                unconfirmed: set[str] = set()
                assert source is not None
                contents: dict[str, bytes | Path] = {source: data}
                await patiently(lambda: upload(self._js, contents, unconfirmed))
        await self._publish(waiting, body, known, started)

    async def _publish(
        self,
        waiting: dict[int, _Change],
        body: dict[str, Any],
        known: _Known | None,
        noticed: float,
    ) -> None:
        """Publish until acknowledged; the job's own limit ends it when the server stays away."""
        self._number += 1
        number = self._number
        path = body["path"]
        subject = f"assets.changed.{token(path)}" if path else f"assets.pack.{self.folder_id}"
        request = {"run": self.run_id, "change": number, "folder": self.folder_id, **body}
        payload = json.dumps(request, ensure_ascii=False).encode()
        headers = {"Nats-Msg-Id": f"{self.run_id}.{number}", "Asset-Run": self.run_id}
        waiting[number] = _Change(path, known, noticed)
        await patiently(lambda: self._js.publish(subject, payload, stream=REQUESTS, headers=headers))

    # -------------------------------------------------------------------- the atlas

    async def _pack(self, meter: Meter) -> bool:
        """Bring the atlas up to the pictures; whether it had to be packed."""
        items = [
            {
                "path": item.path,
                "source": item.source,
                "thumbnail": item.thumbnail.digest,
                "width": item.thumbnail.width,
                "height": item.thumbnail.height,
            }
            for item in sorted(self.pictures.values(), key=lambda item: item.path)
            if item.thumbnail is not None and item.status in ("prepared", "unchanged")
        ]
        if not items:
            self.atlas, self.atlas_problem, self._atlas_key = None, None, ""
            return False
        listed = json.dumps(items, ensure_ascii=False, separators=(",", ":")).encode()
        source = hashlib.sha256(listed).hexdigest()
        key = _digest(["atlas", source, self._pipeline, self._build])
        if key == self._atlas_key:
            return False
        meter.update(text="packing the atlas")
        result, made = self._by_digest.get(key), False
        if result is None or not self._usable(result):
            contents: dict[str, bytes | Path] = {source: listed}
            unconfirmed: set[str] = set()
            await patiently(lambda: upload(self._js, contents, unconfirmed))
            result, made = await self._ask_atlas(source, key, meter), True
        if result["status"] == "packed":
            pages = [page["digest"] for page in result["pages"]]
            timings = result.get("timings_ms") or {}
            self.atlas = AtlasRef(result["manifest"]["digest"], pages, result["sprites"], timings, made)
            self.atlas_problem = None
        else:
            self.atlas, self.atlas_problem = None, str(result.get("reason"))
        self._atlas_key = key if result.get("stage") != "worker" else ""
        return made

    async def _ask_atlas(self, source: str, key: str, meter: Meter) -> dict[str, Any]:
        info = await patiently(lambda: self._js.stream_info(RESULTS))
        waiting: dict[int, _Change] = {}
        async with Tail(
            self._client, RESULTS, subjects=["assets.atlas.*"], start_seq=info.state.last_seq + 1
        ) as tail:
            body = {"task": "pack", "path": None, "digest": key, "content": None, "source": source}
            await self._publish(waiting, body, None, time.monotonic())
            while True:
                message = await tail.next(0.5)
                if message is None:
                    continue
                result: dict[str, Any] = json.loads(message.data)
                self._index(result)
                if result.get("run") == self.run_id and result.get("change") in waiting:
                    meter.update()
                    return result


_REPLY = ("original", "picture", "thumbnail", "opaque", "warnings", "timings_ms", "worker")


def _made(result: Mapping[str, Any]) -> set[str]:
    """The digests of the files a result names."""
    files = [result.get("picture"), result.get("thumbnail"), result.get("manifest"), *result.get("pages", ())]
    return {file["digest"] for file in files if file}


def _digest(content: object) -> str:
    canonical = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


async def fetch_file(client: Client, digest: str) -> bytes:
    """A file that was made, from ASSET_FILES.

    Tries again while the server is away; the caller's own limit ends it. Errors: ``RunError`` if the stream
    does not have it, or holds other bytes.
    """
    from nats.js.errors import NotFoundError

    js = client.jetstream(timeout=PUBLISH_TIMEOUT_S)

    async def ask() -> bytes | None:
        try:
            message = await js.get_msg(FILES, subject=f"assets.files.{digest}", direct=True)
        except NotFoundError:
            return None
        return message.data or b""

    data = await patiently(ask)
    if data is None or hashlib.sha256(data).hexdigest() != digest:
        what = "does not have" if data is None else "holds other bytes under"
        raise RunError(f"{FILES} {what} {digest[:12]}…", hint="Was it purged? Prepare the folder again.")
    return data
