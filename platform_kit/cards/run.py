"""A run of a deck, for the person who asked for it: counts, tables, pictures, sheets."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from platform_kit.cards.contact_sheet import contact_sheet
from platform_kit.cards.deck import Deck
from platform_kit.cards.generation import CardOutcome, Generation
from platform_kit.cards.pictures import fetch_picture
from platform_kit.cards.print_sheets import print_sheets
from platform_kit.cards.report import ReportCard, ReportData, ReportRejection, write_report
from platform_kit.cards.template import Template
from platform_kit.errors import NotRunningError, UsageError
from platform_kit.jobs import Job, JobHandle, LoopThread
from platform_kit.names import file_names
from platform_kit.reprs import StatusCard, Table, human_seconds
from platform_kit.servers.status import PlatformStatus

if TYPE_CHECKING:
    import pandas as pd
    from nats.aio.client import Client
    from PIL import Image

FETCH_TIMEOUT_S = 10.0


class CardImage(bytes):
    """A card's PNG: bytes that show themselves as a picture in a notebook.

    Example
    -------
    >>> CardImage(b"").png
    b''
    """

    @property
    def png(self) -> bytes:
        """The plain bytes."""
        return bytes(self)

    def image(self) -> Image.Image:
        """The picture for Pillow."""
        from PIL import Image

        return Image.open(io.BytesIO(self))

    def _repr_png_(self) -> bytes:
        return bytes(self)

    def __repr__(self) -> str:
        return f"<CardImage, {len(self):,} bytes>"


class CardImages(Mapping[str, CardImage]):
    """The pictures of a run by card id, in the deck's order; read when asked for.

    Errors: ``KeyError`` for an id without a picture, ``NotRunningError`` for a picture that was never
    written to a folder once the platform has stopped.
    """

    def __init__(self, outcomes: Mapping[str, CardOutcome], load: Callable[[CardOutcome], bytes]) -> None:
        self._outcomes = outcomes
        self._load = load

    def __getitem__(self, card_id: str) -> CardImage:
        if card_id not in self._outcomes:
            raise KeyError(f"The run has no picture of {card_id!r}.")
        return CardImage(self._load(self._outcomes[card_id]))

    def __iter__(self) -> Iterator[str]:
        return iter(self._outcomes)

    def __len__(self) -> int:
        return len(self._outcomes)

    def save(self, folder: str | Path) -> list[Path]:
        """Write every picture into ``folder``; returns the files, named by the card's id."""
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        files = []
        for card_id, name in file_names(self, ".png").items():
            (path / name).write_bytes(self[card_id])
            files.append(path / name)
        return files

    def __repr__(self) -> str:
        return f"<CardImages: {len(self):,} pictures>"


class CardRun(JobHandle):
    """A run of a deck: still running, or done.

    While it runs, ``done``, ``progress``, ``wait()``, ``cancel()`` and ``await run`` are there; everything
    else waits for its end. It shows itself as a summary.

    Attributes
    ----------
    deck, template: What was rendered.
    out: The folder with the PNG files, or None.

    Example
    -------
    >>> from platform_kit import Platform
    >>> with Platform() as platform:
    ...     run = platform.generate(Deck([{"id": "1", "name": "Night Heron"}]), progress=False)
    >>> run.requested == run.rendered + run.unchanged + len(run.rejected)
    True
    """

    def __init__(
        self,
        generation: Generation,
        job: Job[None],
        loop: LoopThread,
        client: Client,
        status: Callable[[], PlatformStatus],
        deck: Deck,
        template: Template,
    ) -> None:
        self._generation = generation
        self._job = job
        self._loop = loop
        self._client = client
        self._status = status
        self._platform_facts: dict[str, object] | None = None
        self.deck = deck
        self.template = template
        self.out = generation.folder.path if generation.folder is not None else None

    def wait(self, timeout_s: float | None = None, *, progress: bool | None = None) -> Self:
        """Wait for the end and return this run; errors and limits as :meth:`platform_kit.jobs.Job.wait`."""
        super().wait(timeout_s, progress=progress)
        self._remember_platform()
        return self

    # ------------------------------------------------------------------------- counts

    @property
    def id(self) -> str:
        """The run's id, as it stands in every request and result."""
        return self._generation.run_id

    @property
    def requested(self) -> int:
        """Rows of the deck: rendered + unchanged + rejected."""
        return len(self.deck)

    @property
    def rendered(self) -> int:
        """Cards rendered in this run."""
        return self.counts["rendered"]

    @property
    def unchanged(self) -> int:
        """Cards whose picture was there already."""
        return self.counts["unchanged"]

    @property
    def rejected_count(self) -> int:
        """Rows that did not become a card."""
        return self.counts["rejected"]

    @property
    def seconds(self) -> float:
        """How long the run took."""
        return self._job.seconds

    @property
    def outcomes(self) -> list[CardOutcome]:
        """What became of each row, in the deck's order."""
        self._finished()
        return self._generation.outcomes

    @property
    def counts(self) -> dict[str, int]:
        """The four counts by name."""
        self._finished()
        return self._generation.counts

    # ------------------------------------------------------------------------- tables

    @property
    def frame(self) -> pd.DataFrame:
        """One row a row of the deck: status, reason, image digest and size, file, timings in ms, warnings."""
        import pandas as pd

        records = []
        for outcome in self.outcomes:
            image, rejection = outcome.image, outcome.rejection
            records.append(
                {
                    "row": outcome.row,
                    "id": outcome.id,
                    "name": outcome.name,
                    "status": outcome.status,
                    "column": rejection.column if rejection else None,
                    "reason": rejection.reason if rejection else None,
                    "digest": image.digest if image else None,
                    "bytes": image.bytes if image else None,
                    "file": str(outcome.file) if outcome.file else None,
                    **{
                        f"{stage}_ms": outcome.timings_ms.get(stage)
                        for stage in ("fetch", "draw", "encode", "store")
                    },
                    "worker": outcome.worker or None,
                    "attempt": outcome.attempt or None,
                    "sequence": outcome.sequence,
                    "warnings": "; ".join(outcome.warnings),
                }
            )
        return pd.DataFrame(records)

    @property
    def rejected(self) -> pd.DataFrame:
        """One row a rejected row of the deck: row, id, column, reason, stage (deck, rules or render)."""
        import pandas as pd

        found = [outcome.rejection for outcome in self.outcomes if outcome.rejection is not None]
        records = [
            {
                "row": item.row,
                "id": item.id,
                "column": item.column,
                "reason": item.reason,
                "stage": item.stage,
            }
            for item in found
        ]
        return pd.DataFrame(records, columns=["row", "id", "column", "reason", "stage"])

    @property
    def warnings(self) -> list[tuple[str, str]]:
        """What the renderer had to say: card id and warning."""
        return [(outcome.id or "", text) for outcome in self.outcomes for text in outcome.warnings]

    @property
    def unshown_columns(self) -> list[str]:
        """Columns of the deck the template does not look at."""
        shown = self.template.columns | {"id", "lang", "language"}
        return [name for name in self.deck.columns if name.lower() not in shown]

    @property
    def missing_columns(self) -> list[str]:
        """Columns of a template of your own that the deck does not have: perhaps a slip of the pen."""
        shipped = Template.shipped()
        if self.template.name in shipped:
            return []
        usual = {name.lower() for name in self.deck.columns}.union(
            *(Template.read(name).columns for name in shipped)
        )
        return sorted(self.template.columns - usual)

    # ------------------------------------------------------------------------- pictures

    @property
    def images(self) -> CardImages:
        """The pictures by card id."""
        shown = {outcome.id: outcome for outcome in self.outcomes if outcome.image is not None and outcome.id}
        return CardImages(shown, self._load)

    def contact_sheet(self, path: str | Path | None = None, **options: Any) -> Image.Image:
        """All cards on one picture; ``options`` as :func:`platform_kit.cards.contact_sheet.contact_sheet`."""
        images = self.images
        captions = {outcome.id: outcome.name for outcome in self.outcomes if outcome.id}
        return contact_sheet(images, captions, path=path, **options)

    def print_sheets(
        self, path: str | Path | None = None, *, paper: Literal["A4", "Letter"] = "A4", **options: Any
    ) -> Path:
        """A PDF with nine cards a page at their exact size, with cut marks.

        Parameters
        ----------
        path: Where to write it; by default into the output folder.
        paper: "A4" or "Letter".

        Errors: ``UsageError`` without a path and an output folder.
        """
        target = self._target(path, f"cards-{paper.lower()}.pdf")
        pictures = ((card_id, partial(self.images.__getitem__, card_id)) for card_id in self.images)
        return print_sheets(pictures, target, paper=paper, title=self.deck.source, **options).path

    def report(self, path: str | Path | None = None) -> Path:
        """An HTML page of the run; its pictures are the files of the output folder beside it."""
        return write_report(self._target(path, "report.html"), self._report_data())

    # ------------------------------------------------------------------------- shown

    @property
    def summary(self) -> StatusCard:
        """Counts, time and what was rejected, as a card with a text twin."""
        rejected = [outcome.rejection for outcome in self.outcomes if outcome.rejection is not None]
        facts: dict[str, object] = {
            "requested": f"{self.requested:,} = {self.rendered:,} rendered + {self.unchanged:,} unchanged "
            f"+ {self.rejected_count:,} rejected",
            "time": human_seconds(self.seconds),
            "template": self.template.name,
            "warnings": _such_as(self.warnings),
            "deck": "; ".join(self.deck.notes) or None,
            "renderers": self._renderer_note(),
            "not shown": ", ".join(self.unshown_columns) or None,
            "no column": ", ".join(self.missing_columns) or None,
            "output": str(self.out) if self.out else None,
        }
        table = None
        if rejected:
            rows = [(item.row, item.id, item.column, item.reason, item.stage) for item in rejected]
            table = Table(("row", "id", "column", "reason", "stage"), rows, caption="Rejected", max_width=90)
        return StatusCard(f"run of {self.deck.source}", "finished", facts, table)

    def __repr__(self) -> str:
        return self.summary.text() if self._job.state == "finished" else repr(self._job)

    def _repr_html_(self) -> str | None:
        return self.summary.html() if self._job.state == "finished" else None

    # ------------------------------------------------------------------------- inside

    def _renderer_note(self) -> str | None:
        builds = self._generation.renderers
        if len(builds) < 2:
            return None
        shown = ", ".join(build[:12] for build in builds)
        return f"{len(builds)} different builds answer ({shown}): the same card may differ by a pixel"

    def _finished(self) -> None:
        if not self._job.done:
            self.wait()
        self._job.result()
        self._remember_platform()

    def _remember_platform(self) -> None:
        """Facts for the report, taken while the platform runs."""
        if self._platform_facts is None:
            status = self._status()
            facts: dict[str, object] = {item.name: item.version for item in status.services if item.version}
            self._platform_facts = {**facts, "durability": status.durability}

    def _load(self, outcome: CardOutcome) -> bytes:
        assert outcome.image is not None and outcome.id is not None
        digest = outcome.image.digest
        if outcome.file is not None and (png := _read(outcome.file, digest)) is not None:
            return png
        if (png := self._generation.images.get(outcome.id)) is not None:
            return png
        where = "was written over by a later run" if outcome.file is not None else "was kept in CARD_IMAGES"
        if not self._loop.running:
            raise NotRunningError(
                f"The picture of {outcome.id!r} {where}, and the platform has stopped.",
                hint="Ask while it runs, or give each run a folder of its own: generate(..., out=...).",
            )
        found = self._loop.run(fetch_picture(self._client, digest), FETCH_TIMEOUT_S)
        if found is None:
            raise NotRunningError(
                f"The picture of {outcome.id!r} {where}, and is gone.", hint="Run it again."
            )
        return found

    def _target(self, path: str | Path | None, name: str) -> Path:
        if path is not None:
            return Path(path)
        if self.out is None:
            raise UsageError(
                "There is no folder to write to.", hint="Pass a path, or give generate(..., out=folder)."
            )
        return self.out / name

    def _report_data(self) -> ReportData:
        shown = [outcome for outcome in self.outcomes if outcome.image is not None and outcome.id is not None]
        links = {}
        if self.out is not None:
            made = {
                "Contact sheet": "contact-sheet.png",
                "To print": "cards-a4.pdf",
                "To print (Letter)": "cards-letter.pdf",
            }
            links = {label: self.out / name for label, name in made.items() if (self.out / name).exists()}
        return ReportData(
            title=self.deck.source,
            requested=self.requested,
            cards=[
                ReportCard(
                    id=outcome.id or "",
                    name=outcome.name,
                    image=outcome.file,
                    status="rendered" if outcome.status == "rendered" else "unchanged",
                    type=str(outcome.fields.get("type", "")),
                    rarity=str(outcome.fields.get("rarity", "")),
                    warnings=outcome.warnings,
                )
                for outcome in shown
            ],
            rejected=[
                ReportRejection(item.row, item.id, item.column, item.reason, item.stage)
                for outcome in self.outcomes
                if (item := outcome.rejection) is not None
            ],
            seconds=self.seconds,
            warnings=self.deck.notes,
            timings_ms=[sum(outcome.timings_ms.values()) for outcome in shown if outcome.timings_ms],
            facts={"template": self.template.name, **(self._platform_facts or {})},
            links=links,
        )


def _read(path: Path, digest: str) -> bytes | None:
    """The file's bytes, if they still are those of the picture."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    return data if hashlib.sha256(data).hexdigest() == digest else None


def _such_as(warnings: list[tuple[str, str]]) -> str | None:
    """How many there are, and the first: all of them are in ``run.warnings`` and the report."""
    if not warnings:
        return None
    card, text = warnings[0]
    return f"{len(warnings)}, the first: {card}: {text}"
