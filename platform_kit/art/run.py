"""A folder prepared once."""

from __future__ import annotations

from typing import Self

from platform_kit.art import pictures as rows
from platform_kit.art.preparation import Look, Preparation
from platform_kit.art.shown import ArtView, Fetch
from platform_kit.jobs import Job, JobHandle
from platform_kit.reprs import StatusCard, human_seconds


class ArtRun(JobHandle, ArtView):
    """One look at a folder of source art: still running, or done.

    While it runs, ``done``, ``progress``, ``wait()``, ``cancel()`` and ``await run`` are there; everything
    else waits for its end. It shows itself as a summary.
    """

    def __init__(self, preparation: Preparation, job: Job[Look], fetch: Fetch) -> None:
        self._preparation = preparation
        self._job = job
        self._fetch = fetch

    def wait(self, timeout_s: float | None = None, *, progress: bool | None = None) -> Self:
        """Wait for the end and return this run; errors and limits as :meth:`platform_kit.jobs.Job.wait`."""
        return super().wait(timeout_s, progress=progress)

    @property
    def seconds(self) -> float:
        """How long it took, or has taken so far."""
        return self._job.seconds

    @property
    def summary(self) -> StatusCard:
        """Counts, time and a row a picture, as a card with a text twin."""
        self._ready()
        return self._card("art prepared", "finished", {"time": human_seconds(self.seconds)})

    def text(self) -> str:
        """The text twin."""
        return self.summary.text() if self._job.state == "finished" else repr(self._job)

    def html(self) -> str:
        """The HTML twin."""
        if self._job.state == "finished":
            return self.summary.html()
        so_far = rows.counts_text(self._preparation.counts)
        return StatusCard("art", self._job.state, {"so far": so_far}).html()

    __repr__ = ArtView.__repr__

    def _ready(self) -> None:
        if not self._job.done:
            self.wait()
        self._job.result()
