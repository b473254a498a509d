"""A folder of source art that is watched: what changes is prepared, and cards that show it render again."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from platform_kit.art.pictures import STATUSES
from platform_kit.art.preparation import LOOKING, Look, Preparation
from platform_kit.art.shown import ArtView, Fetch
from platform_kit.art.watcher import Watcher
from platform_kit.cards.run import CardRun
from platform_kit.errors import NotRunningError, PlatformKitError, RunCancelled, StopError, WaitTimeout
from platform_kit.jobs import Job, LoopThread, Meter
from platform_kit.reprs import StatusCard, Tone

if TYPE_CHECKING:
    import pandas as pd

CARDS_KEPT = 10
LOOKS_KEPT = 1000
BREATH_S = 1.0
"""How often a watch that has nothing to do says that it is alive."""
MOMENT_S = 1.0
"""A look that finds nothing to do is not worth showing before it has taken this long."""


@dataclass(frozen=True)
class _Line:
    """One look at which something had changed."""

    at: float
    look: Look
    cards: CardRun | None
    problem: str | None
    seconds: float


class ArtWatch(ArtView):
    """A watched folder; made by :meth:`platform_kit.platform.Platform.watch_art`. Works until :meth:`stop`.

    ``counts``, ``frame``, ``rejected``, ``images``, ``thumbnails`` and ``atlas`` say how things stand now;
    :meth:`wait_idle` first lets everything that has changed until then become visible there.

    Parameters
    ----------
    preparation: The pictures.
    loop: The running loop to work on.
    fetch: Gets what was made.
    render: Starts a run of the deck whose art is in the folder; None without a deck.
    stall_timeout_s: Give up after this long without any progress.
    """

    def __init__(
        self,
        preparation: Preparation,
        loop: LoopThread,
        fetch: Fetch,
        *,
        render: Callable[[], CardRun] | None,
        stall_timeout_s: float,
    ) -> None:
        self._preparation = preparation
        self._fetch = fetch
        self._loop = loop
        self._render = render
        self._news = threading.Condition()
        self._asked = 1  # looks asked for; the first is the watch's own
        self._answered = 0
        self._looking_since: float | None = None
        self._problem: PlatformKitError | None = None
        self._failure: BaseException | None = None
        self._ending = False
        self._cards: deque[CardRun] = deque(maxlen=CARDS_KEPT)
        self._lines: deque[_Line] = deque(maxlen=LOOKS_KEPT)
        self._cards_due = render is not None
        self._wake: asyncio.Event | None = None
        self._watcher = Watcher(preparation.folder.path, self._changed, self._fail)
        self._job: Job[None] = loop.submit(
            self._main, name="watching art", progress=False, stall_timeout_s=stall_timeout_s
        )

    # ------------------------------------------------------------------------- from outside

    @property
    def running(self) -> bool:
        """Whether it still watches."""
        return not self._job.done

    def wait_idle(self, timeout_s: float = 60.0) -> Self:
        """Wait until everything that changed before this call is prepared, packed and, with a deck, rendered.

        It looks at the folder itself and does not depend on an event having arrived.

        Errors: ``WaitTimeout`` when ``timeout_s`` is over, the watch goes on; ``NotRunningError`` if it has
        been stopped; what the last look ended with, such as a ``DeckError`` for a deck that cannot be read.
        """
        target = self._ask()
        deadline = time.monotonic() + timeout_s
        with self._news:
            while self._answered < target and not self._job.done:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise WaitTimeout(
                        f"The art in {self.folder} was not ready within {timeout_s:g} s "
                        f"({self._job.progress}). The watch goes on.",
                        hint="Wait again with more time, or look at the logs of the platform.",
                    )
                self._news.wait(min(left, 0.2))
            answered, problem = self._answered >= target, self._problem
        if not answered:
            self._say_why_ended()
        if problem is not None:
            raise problem
        return self

    def stop(self) -> None:
        """End the watch and wait until nothing of it is left; does nothing if it has ended."""
        self._ending = True
        self._job.cancel()
        try:
            self._job.wait(15.0, progress=False)
        except RunCancelled:
            pass
        if not self._watcher.stop():
            raise StopError("The thread that watches the folder did not end.", hint="Please report this.")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def cards(self) -> list[CardRun]:
        """The last ten runs of the deck it caused, the newest at the end."""
        return list(self._cards)

    @property
    def history(self) -> pd.DataFrame:
        """One row a look at which something had changed: what became of it, and how long it took."""
        import pandas as pd

        records = [
            {
                "time": pd.Timestamp(line.at, unit="s"),
                **{status: line.look.changed[status] for status in STATUSES},
                "atlas": "packed" if line.look.atlas else "unchanged",
                "art_s": round(line.look.seconds, 2),
                "cards_rendered": line.cards.rendered if line.cards and line.problem is None else None,
                "cards_rejected": line.cards.rejected_count if line.cards and line.problem is None else None,
                "seconds": round(line.seconds, 2),
                "problem": line.problem,
            }
            for line in list(self._lines)
        ]
        return pd.DataFrame(records)

    # ------------------------------------------------------------------------- shown

    def text(self) -> str:
        """The text twin."""
        return self._summary().text()

    def html(self) -> str:
        """The HTML twin."""
        return self._summary().html()

    def _summary(self) -> StatusCard:
        state = "watching" if self.running else "stopped" if self._stopped else self._job.state
        if self.running and self._working:
            state = "working"
        missing = self._preparation.folder.problem if self.running else None
        error = self._problem or self._failure
        problems = [missing, _one_line(error) if error is not None else None]
        newest = self._cards[-1] if self._cards else None
        facts: dict[str, object] = {
            "problem": "; ".join(problem for problem in problems if problem) or None,
            "cards": _cards_text(newest) if newest is not None else None,
            "looks": f"{len(self._lines)} with changes",
        }
        tones: dict[str, Tone] = {"watching": "good", "working": "busy"}
        if facts["problem"] is not None:
            tones["watching"] = "bad"
        return self._card("art", state, facts, tones.get(state))

    @property
    def _working(self) -> bool:
        """Whether a look has something to do, as far as one can tell; a late event makes one that has not."""
        if self._answered == 0:
            return True
        since = self._looking_since
        if since is None:
            return False
        return self._job.progress.text != LOOKING or time.monotonic() - since > MOMENT_S

    @property
    def _stopped(self) -> bool:
        """Whether it was ended on purpose: by itself, or with its platform."""
        return self._ending or (self._failure is None and self._job.state == "cancelled")

    def _ready(self) -> None:
        """A watch that was stopped shows how things stood, one that failed says so."""
        if self._failure is not None or self._job.state == "failed":
            self._say_why_ended()

    def _say_why_ended(self) -> None:
        if self._failure is not None:
            raise NotRunningError(
                f"The folder {self.folder} cannot be watched: {self._failure}.",
                hint="Where the system has no more watches to give, set WATCHFILES_FORCE_POLLING=1.",
            ) from self._failure
        if not self._stopped:
            self._job.result()  # raises what ended it
        raise NotRunningError("The watch was stopped.", hint="platform.watch_art(...) makes another.")

    # ------------------------------------------------------------------------- inside

    def _ask(self) -> int:
        """Ask for a look; returns its number."""
        with self._news:
            self._asked += 1
            asked = self._asked
        if self._wake is not None:
            with contextlib.suppress(
                NotRunningError, RuntimeError
            ):  # the loop has just ended: so has the watch
                self._loop.loop.call_soon_threadsafe(self._wake.set)
        return asked

    def _changed(self) -> None:
        self._ask()

    def _fail(self, error: BaseException) -> None:
        self._failure = error
        self._job.cancel()

    async def _main(self, meter: Meter) -> None:
        self._wake = asyncio.Event()
        await asyncio.to_thread(self._watcher.start)
        try:
            while True:
                asked = self._asked
                self._wake.clear()
                meter.update(text=LOOKING)
                self._looking_since = time.monotonic()
                await self._look(meter)
                with self._news:
                    self._looking_since = None
                    self._answered = asked
                    self._news.notify_all()
                await self._rest(meter, asked)
        finally:
            with self._news:
                self._news.notify_all()
            await asyncio.to_thread(self._watcher.stop)

    async def _rest(self, meter: Meter, asked: int) -> None:
        assert self._wake is not None
        meter.update(text="watching")
        while self._asked == asked:
            try:
                async with asyncio.timeout(BREATH_S):
                    await self._wake.wait()
            except TimeoutError:
                meter.update()

    async def _look(self, meter: Meter) -> None:
        started, at = time.monotonic(), time.time()
        look: Look | None = None
        run: CardRun | None = None
        problem: PlatformKitError | None = None
        try:
            look = await self._preparation.look(meter)
            if self._render is not None and (self._cards_due or not look.empty):
                self._cards_due = True
                run = await self._run_cards(self._render, meter)
                self._cards_due = False
        except (
            PlatformKitError
        ) as error:  # said to whoever waits, and in the table; the next change tries again
            problem = error
        self._problem = problem
        if look is not None and (not look.empty or run is not None or problem is not None):
            text = _one_line(problem) if problem is not None else None
            self._lines.append(_Line(at, look, run, text, time.monotonic() - started))

    async def _run_cards(self, render: Callable[[], CardRun], meter: Meter) -> CardRun:
        meter.update(text="rendering cards")
        run = await asyncio.to_thread(render)
        self._cards.append(run)
        waiting = asyncio.ensure_future(_finished(run))
        try:
            while not waiting.done():  # the run has a limit of its own
                await asyncio.wait({waiting}, timeout=BREATH_S)
                meter.update()
        finally:
            if not waiting.done():
                run.cancel()
                waiting.cancel()
        await waiting
        return run


async def _finished(run: CardRun) -> None:
    await run


def _one_line(error: BaseException) -> str:
    """What is said of an error where there is one line for it."""
    return " ".join(str(error).split())


def _cards_text(run: CardRun) -> str:
    if not run.done:
        return f"rendering: {run.progress}"
    try:
        counts = run.counts
    except PlatformKitError as error:
        return f"the last run failed: {' '.join(error.what.split())}"
    return (
        f"{counts['rendered']:,} rendered + {counts['unchanged']:,} unchanged + "
        f"{counts['rejected']:,} rejected in the last run"
    )
