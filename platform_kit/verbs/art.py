"""Pictures of a folder, prepared once or whenever they change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from platform_kit import binaries
from platform_kit.art.folder import ArtFolder
from platform_kit.art.preparation import Preparation
from platform_kit.art.run import ArtRun
from platform_kit.art.shown import Fetch
from platform_kit.art.streams import PIPELINE as ART_PIPELINE
from platform_kit.art.streams import WORKER as ART_WORKER
from platform_kit.art.watch import ArtWatch
from platform_kit.cards.deck import Deck
from platform_kit.cards.run import CardRun
from platform_kit.cards.template import Template
from platform_kit.errors import UsageError
from platform_kit.verbs.base import folder_path
from platform_kit.verbs.cards import CardVerbs
from platform_kit.verbs.pipelines import PipelineVerbs
from platform_kit.verbs.workers import WorkerVerbs

if TYPE_CHECKING:
    import pandas as pd


class ArtVerbs(CardVerbs, PipelineVerbs, WorkerVerbs):
    """Prepare art, and render the cards that use it."""

    def prepare_art(
        self,
        folder: str | Path,
        *,
        wait: bool = True,
        progress: bool = True,
        stall_timeout_s: float | None = None,
    ) -> ArtRun:
        """Prepare the pictures of a folder: normal forms, thumbnails and an atlas with its manifest.

        A picture whose bytes, name, rules and worker are what they were is not prepared again, if the
        platform's data folder has what was made of it. The first call starts the worker for art.

        Parameters
        ----------
        folder: With PNG, JPEG, WebP and SVG files, also in folders below.
        wait: False returns at once; the run then goes on, see :class:`ArtRun`.
        progress: Whether a progress bar is drawn.
        stall_timeout_s: Give up after this long without any progress.

        Errors: ``UsageError`` for a folder that is not there, ``RunStalled`` when nothing moves. A picture
        that cannot be used is no error: it is in ``run.rejected`` with the reason.

        Example
        -------
        >>> from platform_kit import Platform
        >>> import tempfile
        >>> with Platform() as platform, tempfile.TemporaryDirectory() as folder:
        ...     _ = (Path(folder) / "fox.svg").write_text("<svg/>")
        ...     run = platform.prepare_art(folder, progress=False)
        ...     run.counts["prepared"]
        1
        """
        limit = self._stall_limit(stall_timeout_s)
        preparation = self._preparation(folder)
        job = self._loop.submit(
            preparation.look,
            name="preparing art",
            unit="picture",
            progress=progress,
            stall_timeout_s=limit,
        )
        run = ArtRun(preparation, job, Fetch(self._loop, self._require().client))
        return run.wait() if wait else run

    def watch_art(
        self,
        folder: str | Path,
        *,
        deck: Deck | str | Path | pd.DataFrame | None = None,
        template: Template | str | Path = "classic",
        seed: int = 0,
        out: str | Path | None = None,
        stall_timeout_s: float | None = None,
    ) -> ArtWatch:
        """Prepare the pictures of a folder, now and whenever one changes; returns at once.

        With a deck, its cards are rendered too, now and after each change; those whose picture did not change
        are left as they are. A deck given as a path is read again each time.

        Parameters
        ----------
        folder: With PNG, JPEG, WebP and SVG files, also in folders below.
        deck: A deck whose column ``art`` names pictures of the folder.
        template, seed, out: As for :meth:`generate`.
        stall_timeout_s: Give up after this long without any progress.

        Errors: as :meth:`prepare_art`.

        Example
        -------
        >>> from platform_kit import Platform
        >>> import tempfile
        >>> with Platform() as platform, tempfile.TemporaryDirectory() as folder:
        ...     with platform.watch_art(folder) as watch:
        ...         _ = (Path(folder) / "fox.svg").write_text("<svg/>")
        ...         watch.wait_idle().counts["prepared"]
        1
        """
        limit = self._stall_limit(stall_timeout_s)
        render: Callable[[], CardRun] | None = None
        if deck is not None:
            given = deck if isinstance(deck, (Deck, str, Path)) else Deck(deck)

            def render_again() -> CardRun:
                # A deck finds its pictures when it is made.
                fresh = given.take(len(given)) if isinstance(given, Deck) else Deck.read(given)
                return self.generate(fresh, template, seed=seed, out=out, wait=False, progress=False)

            render = render_again
        preparation = self._preparation(folder)
        preparation.folder.refuse_output(folder_path(out, "out"))
        fetch = Fetch(self._loop, self._require().client)
        return ArtWatch(preparation, self._loop, fetch, render=render, stall_timeout_s=limit)

    def _preparation(self, folder: str | Path) -> Preparation:
        """A folder's pictures, with streams, pipeline and worker there; the first call starts them."""
        path = folder_path(folder, "folder")
        if path is None:
            raise UsageError("There is no folder.", hint="Name the folder the pictures are in.")
        pictures = ArtFolder(path)
        backing = self._require()
        if self._art_pipeline_on is not backing:
            shipped = self.settings.config_dir / "pipelines" / f"{ART_PIPELINE}.yaml"
            self.deploy(shipped, wait=False).wait(progress=False)
        if backing.fleet is None or ART_WORKER not in backing.fleet.kinds:
            self.start_workers(ART_WORKER)
        build = binaries.ensure(ART_WORKER, self.settings).parent.name
        return Preparation(backing.client, pictures, build=build)
