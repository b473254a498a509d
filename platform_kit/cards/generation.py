"""From a deck to its cards: publish a request a card, follow the results until every card is accounted for.

    requested = rendered + unchanged + rejected

Nothing here renders. Requests go to the stream CARD_REQUESTS, the pipeline and the workers do the rest,
and what they say comes back on CARD_RESULTS. A request that could not be published is published again
under the same message id, which the stream takes once; results are followed by sequence, so a server that
is killed and comes back costs time and no card.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from platform_kit.cards.assets import ArtDigests, upload
from platform_kit.cards.deck import CardRow, Deck, Rejection
from platform_kit.cards.file_writer import FileWriter
from platform_kit.cards.output_folder import OutputFolder
from platform_kit.cards.pictures import Pictures, prove
from platform_kit.cards.streams import IMAGES, REQUESTS, RESULTS, noted_pipeline
from platform_kit.cards.template import Template
from platform_kit.errors import RunError
from platform_kit.jetstream.connection import Endpoint
from platform_kit.jetstream.streams import patiently
from platform_kit.jetstream.tail import Tail
from platform_kit.jobs import Meter
from platform_kit.names import token

if TYPE_CHECKING:
    from nats.aio.client import Client

IN_FLIGHT = 128
"""Cards that are requested and not yet here: twice what the pipeline has in work, few enough to wait for a
slow reader of results. So a deck of any size takes the same memory."""
BURST = 32
"""Once so many are in flight, wait until this many more may be requested: sent one by one, each request wakes
this process, the server and the pipeline. What is left in flight keeps the pipeline busy meanwhile."""
FETCH_WINDOW = 16
PUBLISH_TIMEOUT_S = 2.0
MEMORY_LIMIT_BYTES = 64 * 1024 * 1024
"""Without an output folder, images up to this size in all are kept; others are fetched when asked for."""

Status = Literal["rendered", "unchanged", "rejected"]


@dataclass(frozen=True)
class CardImageRef:
    """Where a card's picture is, and what it is: ``digest`` is the SHA-256 of the PNG."""

    digest: str
    bytes: int
    width: int
    height: int


@dataclass
class CardOutcome:
    """What became of one row of the deck. Times are in milliseconds."""

    row: int
    id: str | None
    name: str
    status: Status
    image: CardImageRef | None = None
    file: Path | None = None
    warnings: Sequence[str] = ()
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    worker: str = ""
    attempt: int = 0
    sequence: int | None = None
    rejection: Rejection | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class _Pending:
    row: CardRow
    token: str
    digest: str
    art: str | None


class Generation:
    """One run of a deck through the platform; :meth:`run` is its coroutine.

    Parameters
    ----------
    client: A connected client that may publish requests and read the streams.
    deck, template, seed: What to render.
    renderers: Asks for the builds of the renderers there are; part of each card's digest, as are the
        pipeline's rules.
    out: A folder for the PNG files, or None.
    follow: Where to take pictures as they pass, or None; see :class:`Pictures`.
    """

    def __init__(
        self,
        client: Client,
        deck: Deck,
        template: Template,
        *,
        seed: int,
        renderers: Callable[[], Awaitable[Sequence[str]]],
        out: Path | None,
        follow: Endpoint | None,
    ) -> None:
        self._client = client
        self._js = client.jetstream(timeout=PUBLISH_TIMEOUT_S)
        self._deck = deck
        self._template = template
        self._seed = seed
        self._ask_renderers = renderers
        self.renderers: Sequence[str] = ()
        self._pipeline = ""
        self.run_id = secrets.token_hex(8)
        self.folder = OutputFolder(out, (row.id for row in deck.rows)) if out is not None else None
        self.outcomes: list[CardOutcome] = []
        self.images: dict[str, bytes] = {}
        self._held_bytes = 0
        self._arts = ArtDigests()
        self._pictures = Pictures(client, follow=follow)
        self._files: FileWriter | None = None

    async def run(self, meter: Meter) -> None:
        """Render what is new; every row of the deck has an outcome afterwards.

        Errors: ``RunError`` when nats-server refuses, and what the job raises when nothing moves.
        """
        meter.update(total=len(self._deck), text="reading")
        if self.folder is None:
            await self._account(meter)
            return
        await asyncio.to_thread(self.folder.open)
        try:
            try:
                async with FileWriter(self.folder) as self._files:
                    await self._account(meter)
                self.folder.record(self.counts)
            except BaseException:
                with contextlib.suppress(RunError):  # a disk that is full is told of once
                    await asyncio.to_thread(self.folder.save)
                raise
            await asyncio.to_thread(self.folder.save)
        finally:
            self.folder.close()

    async def _account(self, meter: Meter) -> None:
        self._pipeline = await patiently(lambda: noted_pipeline(self._js))
        self.renderers = await patiently(self._ask_renderers)
        for rejection in self._deck.rejected:
            self._reject(rejection, name="")
        cards = await asyncio.to_thread(lambda: [self._pending(row) for row in self._deck.rows])
        waiting = {card.token: card for card in cards if card is not None}
        meter.update(done=len(self.outcomes))
        await self._settle_unchanged(waiting, meter)
        if waiting:
            await self._upload_assets(waiting.values(), meter)
            async with self._pictures:
                await self._render(waiting, meter)
        self.outcomes.sort(key=lambda outcome: outcome.row)

    @property
    def counts(self) -> dict[str, int]:
        """requested = rendered + unchanged + rejected, once the run has ended."""
        statuses = Counter(outcome.status for outcome in self.outcomes)
        return {
            "requested": len(self._deck),
            "rendered": statuses["rendered"],
            "unchanged": statuses["unchanged"],
            "rejected": statuses["rejected"],
        }

    # -------------------------------------------------------------------- what there is to do

    def _pending(self, row: CardRow) -> _Pending | None:
        art = None
        if row.art is not None:
            try:
                art = self._arts.of(row.art)
            except OSError as error:
                reason = f"the picture cannot be read: {error.strerror}"
                self._reject(Rejection(row.row, row.id, "art", reason, "deck"), name=_name(row))
                return None
        content = {
            "card": {key: value for key, value in row.fields.items() if key != "art"},
            "art": art,
            "seed": None if art else self._seed,
            "template": self._template.digest,
            "renderer": "+".join(self.renderers),
            "pipeline": self._pipeline,
        }
        canonical = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        return _Pending(row, token(row.id), digest, art)

    async def _settle_unchanged(self, waiting: dict[str, _Pending], meter: Meter) -> None:
        """Take out of ``waiting`` the cards whose picture is there already."""
        if self.folder is not None:
            for card in list(waiting.values()):
                if kept := self.folder.unchanged(card.row.id, card.digest):
                    image = CardImageRef(kept.image, kept.bytes, *self._template.size_px)
                    self._settle(waiting, card, "unchanged", image, file=self.folder.file(card.row.id))
            meter.update(done=len(self.outcomes))
        if not waiting:
            return
        earlier = await self._earlier_results(set(waiting))
        gate = asyncio.Semaphore(FETCH_WINDOW)

        async def reuse(card: _Pending, result: dict[str, Any]) -> None:
            async with gate:
                image = CardImageRef(**result["image"])
                found, file = await self._keep(card, image)
                if found:  # the stream may have been purged since
                    self._settle(
                        waiting, card, "unchanged", image, file=file, warnings=result.get("warnings") or ()
                    )
                    meter.update(done=len(self.outcomes))

        found = [(waiting[name], result) for name, result in earlier.items()]
        await asyncio.gather(
            *(reuse(card, result) for card, result in found if result["digest"] == card.digest)
        )

    async def _earlier_results(self, names: set[str]) -> dict[str, dict[str, Any]]:
        """The last rendered result of each of these cards, from earlier runs on the same data."""
        info = await patiently(lambda: self._js.stream_info(RESULTS))
        found: dict[str, dict[str, Any]] = {}
        if info.state.messages == 0:
            return found
        async with Tail(self._client, RESULTS, subjects=["cards.rendered.*"], last_per_subject=True) as tail:
            while tail.pending != 0:
                message = await tail.next(5.0)
                if message is None:
                    break
                name = message.subject.rpartition(".")[2]
                if name in names:
                    found[name] = json.loads(message.data)
        return found

    # -------------------------------------------------------------------- rendering

    async def _upload_assets(self, cards: Any, meter: Meter) -> None:
        meter.update(text="uploading templates and art")
        assets: dict[str, bytes | Path] = {self._template.digest: self._template.bundle()}
        assets.update(self._template.files())
        for card in cards:
            if card.art is not None:
                assets[card.art] = self._arts.files[card.art]
        unconfirmed: set[str] = set()
        await patiently(lambda: upload(self._js, assets, unconfirmed))

    async def _render(self, waiting: dict[str, _Pending], meter: Meter) -> None:
        meter.update(text="rendering")
        info = await patiently(lambda: self._js.stream_info(RESULTS))
        async with Tail(
            self._client,
            RESULTS,
            subjects=["cards.rendered.*", "cards.rejected.*"],
            start_seq=info.state.last_seq + 1,
        ) as tail:
            window = _Window()
            publishing = asyncio.create_task(self._publish(list(waiting.values()), window))
            try:
                await self._collect(waiting, tail, publishing, window, meter)
            finally:
                publishing.cancel()
                await asyncio.gather(publishing, return_exceptions=True)

    async def _publish(self, cards: Sequence[_Pending], window: _Window) -> None:
        async with asyncio.TaskGroup() as group:
            for card in cards:
                await window.acquire()
                group.create_task(self._publish_one(card))

    async def _publish_one(self, card: _Pending) -> None:
        """Publish until acknowledged; the job's own limit ends it when the server stays away."""
        from nats.errors import MaxPayloadError

        payload = json.dumps(self._request(card), ensure_ascii=False).encode()
        headers = {
            "Nats-Msg-Id": f"{self.run_id}.{card.token}.{card.digest}",
            "Card-Id": quote(card.row.id, safe="")[:2000],
            "Card-Run": self.run_id,
        }

        async def publish() -> None:
            try:
                await self._js.publish(
                    f"cards.requested.{card.token}", payload, stream=REQUESTS, headers=headers
                )
            except MaxPayloadError as error:
                raise RunError(
                    f"The request of card {card.row.id!r} has {len(payload):,} bytes, too many.",
                    hint="Shorten the row, or raise max_payload_bytes.",
                ) from error

        await patiently(publish)

    def _request(self, card: _Pending) -> dict[str, Any]:
        row = card.row
        kind = row.art.suffix.lower().lstrip(".") if row.art is not None else None
        return {
            "run": self.run_id,
            "id": row.id,
            "row": row.row,
            "digest": card.digest,
            "card": row.fields,
            "template": self._template.digest,
            "art": card.art,
            "art_type": "jpeg" if kind == "jpg" else kind,
            "seed": self._seed,
        }

    async def _collect(
        self,
        waiting: dict[str, _Pending],
        tail: Tail,
        publishing: asyncio.Task[None],
        window: _Window,
        meter: Meter,
    ) -> None:
        keeping = _Keeping()
        try:
            while waiting:
                if publishing.done():
                    publishing.result()
                if keeping.failed is not None:
                    raise keeping.failed
                if len(keeping.cards) >= FETCH_WINDOW or len(keeping.cards) == len(waiting):
                    await keeping.changes()
                    continue
                message = await tail.next(0.5)
                if message is None:
                    continue
                result = json.loads(message.data)
                name = message.subject.rpartition(".")[2]
                card = waiting.get(name)
                if card is None or name in keeping.cards or result.get("run") != self.run_id:
                    continue
                if result["status"] == "rejected":
                    del waiting[name]
                    self._reject(_rejection(card, result), name=_name(card.row))
                    window.release()
                    meter.update(done=len(self.outcomes))
                    continue
                sequence = message.metadata.sequence.stream

                def kept(
                    file: Path | None, card: _Pending = card, result: Any = result, sequence: int = sequence
                ) -> None:
                    self._rendered(waiting, card, result, sequence, file)
                    window.release()
                    meter.update(done=len(self.outcomes))

                self._keep_rendered(card, CardImageRef(**result["image"]), keeping, kept)
        finally:
            await keeping.end()

    def _keep_rendered(
        self, card: _Pending, image: CardImageRef, keeping: _Keeping, kept: Callable[[Path | None], None]
    ) -> None:
        """Have the picture of a rendered card kept; ``kept`` is called when that is done."""
        done = keeping.begin(card.token, kept)
        if self._files is not None and (data := self._pictures.passed(image.digest)) is not None:
            self._files.put(card.row.id, card.digest, image.digest, data, done)
        else:
            keeping.follow(self._find_rendered(card, image), done)

    async def _find_rendered(self, card: _Pending, image: CardImageRef) -> Path | None:
        found, file = await self._keep(card, image, just_stored=True)
        if not found:
            raise RunError(
                f"The picture of card {card.row.id!r} is not in {IMAGES}, though its result names it.",
                hint="Was the stream purged during the run? Run again: only missing cards are rendered.",
            )
        return file

    async def _keep(
        self, card: _Pending, image: CardImageRef, *, just_stored: bool = False
    ) -> tuple[bool, Path | None]:
        """Fetch a picture and keep it: whether the stream has it, and its file if there is a folder."""
        room = self._held_bytes + image.bytes <= MEMORY_LIMIT_BYTES
        if self._files is None and not room and just_stored:
            self._pictures.ignore()
            return True, None  # it is fetched when somebody looks at it
        data = await self._pictures.take(image.digest)
        if data is None:
            return False, None
        if self._files is not None:
            return True, await self._files.write(card.row.id, card.digest, image.digest, data)
        if room:
            prove(data, image.digest)
            self.images[card.row.id] = bytes(data)
            self._held_bytes += len(data)
        return True, None

    # -------------------------------------------------------------------- accounting

    def _settle(
        self, waiting: dict[str, _Pending], card: _Pending, status: Status, image: CardImageRef, **more: Any
    ) -> None:
        if waiting.pop(card.token, None) is not None:
            row = card.row
            self.outcomes.append(
                CardOutcome(row.row, row.id, _name(row), status, image, fields=row.fields, **more)
            )

    def _rendered(
        self,
        waiting: dict[str, _Pending],
        card: _Pending,
        result: Mapping[str, Any],
        sequence: int,
        file: Path | None,
    ) -> None:
        self._settle(
            waiting,
            card,
            "rendered",
            CardImageRef(**result["image"]),
            file=file,
            warnings=result.get("warnings") or (),
            timings_ms=result.get("timings_ms") or {},
            worker=str(result.get("worker", "")),
            attempt=int(result.get("attempt", 1)),
            sequence=sequence,
        )

    def _reject(self, rejection: Rejection, *, name: str) -> None:
        self.outcomes.append(CardOutcome(rejection.row, rejection.id, name, "rejected", rejection=rejection))


class _Window:
    """How many cards may be requested: ``IN_FLIGHT``, and after that ``BURST`` at a time."""

    def __init__(self) -> None:
        self._free = IN_FLIGHT
        self._opened = asyncio.Event()
        self._opened.set()

    async def acquire(self) -> None:
        await self._opened.wait()
        self._free -= 1
        if self._free == 0:
            self._opened.clear()

    def release(self) -> None:
        self._free += 1
        if self._free >= BURST:
            self._opened.set()


class _Keeping:
    """Cards whose pictures are being fetched or written; all of it happens on the event loop."""

    def __init__(self) -> None:
        self.cards: set[str] = set()
        self.failed: BaseException | None = None
        self._tasks: set[asyncio.Task[Path | None]] = set()
        self._changed = asyncio.Event()

    def begin(
        self, card: str, kept: Callable[[Path | None], None]
    ) -> Callable[[Path | BaseException | None], None]:
        """Note a card; the function returned is to be called with its file, or with what went wrong."""
        self.cards.add(card)

        def done(result: Path | BaseException | None) -> None:
            self.cards.discard(card)
            self._changed.set()
            if not isinstance(result, BaseException):
                kept(result)
            elif self.failed is None:
                self.failed = result

        return done

    def follow(
        self, work: Coroutine[Any, Any, Path | None], done: Callable[[Path | BaseException | None], None]
    ) -> None:
        """Call ``done`` with the outcome of ``work``."""

        def ended(task: asyncio.Task[Path | None]) -> None:
            self._tasks.discard(task)
            if not task.cancelled():
                done(task.exception() or task.result())

        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(ended)

    async def changes(self) -> None:
        """Wait until one of the cards is done."""
        self._changed.clear()
        await self._changed.wait()

    async def end(self) -> None:
        """Give up what is still being fetched."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _name(row: CardRow) -> str:
    return str(row.fields.get("name", ""))


def _rejection(card: _Pending, result: Mapping[str, Any]) -> Rejection:
    stage: Literal["rules", "render"] = "render" if result.get("stage") == "render" else "rules"
    column = result.get("column")
    reason = str(result.get("reason") or "no reason was given")
    return Rejection(card.row.row, card.row.id, str(column) if column else None, reason, stage)
