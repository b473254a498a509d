"""A deck becomes cards."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from platform_kit import binaries
from platform_kit.backing import CARD_WORKER, Backing, Started
from platform_kit.cards.deck import Deck
from platform_kit.cards.generation import Generation
from platform_kit.cards.output_folder import tight_disk
from platform_kit.cards.run import CardRun
from platform_kit.cards.template import Template
from platform_kit.errors import UsageError
from platform_kit.verbs.base import Verbs, folder_path
from platform_kit.workers.running import ask_builds, ask_workers

if TYPE_CHECKING:
    import pandas as pd
    from nats.aio.client import Client


class CardVerbs(Verbs):
    """Render a deck."""

    def generate(
        self,
        deck: Deck | str | Path | pd.DataFrame,
        template: Template | str | Path = "classic",
        *,
        seed: int = 0,
        out: str | Path | None = None,
        wait: bool = True,
        progress: bool = True,
        stall_timeout_s: float | None = None,
    ) -> CardRun:
        """Render a deck: publish a request a card and follow the results until all are accounted for.

        A card whose row, template, art and renderer are what they were is not rendered again, if ``out`` or
        the platform's data folder has its picture.

        Parameters
        ----------
        deck: A deck, a DataFrame, or the path of a file.
        template: "classic", "minimal", the path of a template, or a template.
        seed: Decides the procedural art of cards without a picture.
        out: A folder for the PNG files.
        wait: False returns at once; the run then goes on, see :class:`CardRun`.
        progress: Whether a progress bar is drawn.
        stall_timeout_s: Give up after this long without any progress.

        Errors: ``DeckError`` and ``TemplateError`` for files that cannot be used, ``RunStalled`` when
        nothing moves. A broken row is no error: it is in ``run.rejected``.
        """
        if isinstance(seed, bool) or not isinstance(seed, int) or abs(seed) >= 2**53:
            raise UsageError(f"seed={seed!r}.", hint="Give a whole number below 2**53.")
        limit = self._stall_limit(stall_timeout_s)
        if not isinstance(template, (Template, str, Path)):
            raise UsageError(f"template={template!r}.", hint="Give a name, a path or a Template.")
        folder = folder_path(out, "out")
        if not isinstance(deck, Deck):
            deck = Deck.read(deck) if isinstance(deck, (str, Path)) else Deck(deck)
        if not isinstance(template, Template):
            template = Template.read(template)
        backing = self._require()
        client = backing.client
        if folder is not None and (tight := tight_disk(folder, self.data_dir, len(deck), template.size_px)):
            warnings.warn(tight, stacklevel=2)
        generation = Generation(
            client,
            deck,
            template,
            seed=seed,
            renderers=lambda: self._renderers(backing),
            out=folder,
            follow=backing.endpoint("admin") if self.data_dir is not None else None,
        )
        job = self._loop.submit(
            generation.run,
            name=f"{template.name} cards",
            total=len(deck),
            unit="card",
            progress=progress,
            stall_timeout_s=limit,
            diagnose=lambda: _no_worker(client, CARD_WORKER),
        )
        run = CardRun(generation, job, self._loop, client, self.status, deck, template)
        return run.wait() if wait else run

    async def _renderers(self, backing: Backing) -> list[str]:
        """The builds of the renderers: as they say themselves where another process runs them."""
        own = [binaries.renderer_key(self.settings)]
        return own if isinstance(backing, Started) else await ask_builds(backing.client, CARD_WORKER) or own


async def _no_worker(client: Client, name: str) -> tuple[str, str] | None:
    """Why a job that needs workers of this name does not move, if it is that there is none."""
    if not client.is_connected:
        return "nats-server does not answer", "`platform.logs('nats-server')` says what became of it."
    if any(row.name == name for row in await ask_workers(client, 1.0)):
        return None
    return (
        f"no worker {name} answers",
        f"Start one: platform.scale_workers({name!r}, 1), or `platform-kit worker {name}` elsewhere. "
        "The requests wait for it in their stream.",
    )
