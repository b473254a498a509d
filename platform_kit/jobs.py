"""Whole jobs on an event loop of their own, so that they work in a cell, a script and pytest alike.

A notebook's cell runs inside Jupyter's event loop, a script has none, and pytest may have either. A
:class:`LoopThread` owns a loop in a daemon thread; what runs there is a :class:`Job` that can be waited for
(with a progress bar), awaited from any other loop, and cancelled. No wait is without a limit: a job that
reports no progress for ``stall_timeout_s`` is cancelled and raises :class:`~platform_kit.errors.RunStalled`.

    with LoopThread("example") as thread:
        job = thread.submit(lambda meter: copy_cards(meter), name="copying", total=60, unit="card")
        job.wait(timeout_s=30)
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import inspect
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Generic, Self, TextIO, TypeVar

from platform_kit.errors import NotRunningError, RunCancelled, RunStalled, StopError, UsageError, WaitTimeout

T = TypeVar("T")

DEFAULT_STALL_TIMEOUT_S = 60.0
DIAGNOSIS_S = 2.0  # what finding out why a job is stalled may take
CANCEL_GRACE_S = 5.0  # what a cancelled job gets for its own cleaning up
_TICK_S = 0.1  # how often a waiter looks at the progress


@dataclass(frozen=True)
class Progress:
    """How far a job is: ``done`` of ``total`` (None while unknown), and what it is doing now."""

    done: int = 0
    total: int | None = None
    text: str = ""

    @property
    def fraction(self) -> float | None:
        """Between 0 and 1, or None while the total is unknown or zero."""
        return min(1.0, self.done / self.total) if self.total else None

    def __str__(self) -> str:
        count = f"{self.done:,}" if self.total is None else f"{self.done:,} of {self.total:,}"
        percent = "" if self.fraction is None else f" ({self.fraction:.0%})"
        return f"{count}{percent}{', ' + self.text if self.text else ''}"


class Meter:
    """What a job tells about its progress; cheap enough to call once a card, from any thread.

    Every report, even of an unchanged count, says that the job is alive and resets the stall limit.
    """

    def __init__(self, total: int | None = None) -> None:
        self._lock = threading.Lock()
        self._progress = Progress(total=total)
        self._moved_at = time.monotonic()

    @property
    def progress(self) -> Progress:
        """The latest state, as an immutable value."""
        return self._progress

    @property
    def idle_s(self) -> float:
        """Seconds since the last report."""
        return time.monotonic() - self._moved_at

    def advance(self, count: int = 1, text: str | None = None) -> None:
        """Add ``count`` finished items."""
        with self._lock:
            changed = replace(self._progress, done=self._progress.done + count)
            self._progress = changed if text is None else replace(changed, text=text)
            self._moved_at = time.monotonic()

    def update(self, done: int | None = None, total: int | None = None, text: str | None = None) -> None:
        """Set what is given and leave the rest; without arguments: a sign of life."""
        with self._lock:
            now = self._progress
            self._progress = Progress(
                done=now.done if done is None else done,
                total=now.total if total is None else total,
                text=now.text if text is None else text,
            )
            self._moved_at = time.monotonic()


Work = Coroutine[Any, Any, T] | Callable[[Meter], Coroutine[Any, Any, T]]
Diagnosis = Callable[[], Awaitable[tuple[str, str] | None]]
"""Says why nothing moves, and what to do about it; None if it does not know."""


class Job(Generic[T]):
    """A job that runs on a :class:`LoopThread`, which makes it: ``thread.submit(...)``.

    Example
    -------
    >>> async def answer() -> int:
    ...     return 42
    >>> with LoopThread("doctest") as thread:
    ...     thread.submit(answer(), name="answering", progress=False).wait(timeout_s=5)
    42
    """

    def __init__(
        self,
        thread: LoopThread,
        work: Work[T],
        *,
        name: str,
        total: int | None,
        unit: str,
        progress: bool,
        stall_timeout_s: float,
        diagnose: Diagnosis | None = None,
    ) -> None:
        self.name = name
        self.unit = unit
        self.stall_timeout_s = stall_timeout_s
        self._thread = thread
        self._work: Work[T] | None = work
        self._diagnose = diagnose
        self._meter = Meter(total)
        self._shows_progress = progress
        self._started_at = time.monotonic()
        self._ended_at: float | None = None
        self._inner: asyncio.Task[tuple[T | None, BaseException | None]] | None = None
        self._supervisor: asyncio.Task[None] | None = None  # a loop holds its tasks only weakly
        self._cancel_asked = threading.Event()
        self._cancel_seen: asyncio.Event | None = None
        self._future: concurrent.futures.Future[T] = concurrent.futures.Future()
        self._future.set_running_or_notify_cancel()  # from here on only the job itself can end it
        self._traceback: TracebackType | None = None

    # ------------------------------------------------------------------ what anybody may ask

    @property
    def done(self) -> bool:
        """Whether it has ended: with a result, an error, or cancelled."""
        return self._future.done()

    @property
    def progress(self) -> Progress:
        """How far it is."""
        return self._meter.progress

    @property
    def seconds(self) -> float:
        """How long it has been running, or ran."""
        return (self._ended_at or time.monotonic()) - self._started_at

    @property
    def state(self) -> str:
        """One of ``running``, ``finished``, ``failed``, ``cancelled``."""
        if not self.done:
            return "running"
        error = self._future.exception()
        if error is None:
            return "finished"
        return "cancelled" if isinstance(error, RunCancelled) else "failed"

    def __repr__(self) -> str:
        return f"<Job {self.name}: {self.state}, {self.progress}, {self.seconds:.1f} s>"

    def result(self) -> T:
        """Return the result of a job that has ended, or raise its error; never waits.

        Raises
        ------
        UsageError: it is still running.
        """
        if not self.done:
            raise UsageError(f"{self.name} is still running ({self.progress}).", hint="Call wait() first.")
        return self._outcome()

    def cancel(self) -> bool:
        """Ask the job to end early. Returns False if it had ended already; waits for nothing."""
        if self.done:
            return False
        self._thread._check_process()
        self._cancel_asked.set()
        self._thread._call(self._cancel_inner)
        return True

    def wait(self, timeout_s: float | None = None, *, progress: bool | None = None) -> T:
        """Wait for the end and return the result.

        Parameters
        ----------
        timeout_s: Seconds to wait at most; None waits as long as the job makes progress.
        progress: Whether to draw a progress bar on stderr; None as the job was started.

        Raises
        ------
        WaitTimeout: ``timeout_s`` is over. The job goes on.
        RunStalled: the job reported nothing for its ``stall_timeout_s``; it is cancelled.
        RunCancelled: somebody cancelled it.
        UsageError: called on the job's own event loop, which could then never end it.

        The job's own error is raised with its own traceback. An interrupt (Ctrl-C, or Jupyter's stop
        button) cancels the job, waits a moment for its cleaning up, and is raised again.
        """
        try:
            self._check_waitable()
            deadline = None if timeout_s is None else time.monotonic() + timeout_s
            with _Bar(self, enabled=self._shows_progress if progress is None else progress) as bar:
                while not self.done:
                    left = _TICK_S if deadline is None else deadline - time.monotonic()
                    if left <= 0:
                        raise WaitTimeout(
                            f"{self.name} did not end within {timeout_s:g} s ({self.progress}). It goes on.",
                            hint="Call wait() again, or cancel().",
                        )
                    self._block(min(left, _TICK_S))
                    self._check_alive()
                    bar.show()
        except KeyboardInterrupt:
            self._cancel_and_settle()
            raise
        return self._outcome()

    def __await__(self) -> Generator[Any, None, T]:
        """``await job`` works on any event loop; cancelling the awaiting task cancels the job."""
        return self._awaited().__await__()

    # ------------------------------------------------------------------ inside

    async def _awaited(self) -> T:
        self._thread._check_process()
        if asyncio.current_task() is self._inner:
            raise UsageError(f"{self.name} waits for itself.", hint="Await it from outside the job.")
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()

        def wake(_: object) -> None:
            with contextlib.suppress(RuntimeError):  # the awaiting loop is closed: nobody is left to tell
                loop.call_soon_threadsafe(lambda: None if waiter.done() else waiter.set_result(None))

        self._future.add_done_callback(wake)
        try:
            while not self.done:
                await asyncio.wait({waiter}, timeout=1.0)
                self._check_alive()
        except asyncio.CancelledError:
            self.cancel()
            raise
        return self._outcome()

    def _outcome(self) -> T:
        error = self._future.exception()
        if error is not None:
            # Each waiter gets the job's own traceback, not those of the waiters before it.
            raise error.with_traceback(self._traceback)
        return self._future.result()

    def _block(self, timeout_s: float) -> None:
        with contextlib.suppress(concurrent.futures.TimeoutError):
            self._future.exception(timeout=timeout_s)

    def _check_waitable(self) -> None:
        if self.done:
            return
        self._thread._check_process()
        if self._thread.inside:
            raise UsageError(
                f"wait() for {self.name} was called on the event loop the job runs on.",
                hint="Write `await job` there.",
            )

    def _check_alive(self) -> None:
        """Notice what the loop itself cannot: its end, and a blocking call that keeps it from looking."""
        if self.done:
            return
        if not self._thread.running:
            self._end(error=RunCancelled(f"{self.name} was cut off: its event loop has stopped."))
        elif self._meter.idle_s > self.stall_timeout_s + CANCEL_GRACE_S + 5.0:
            self.cancel()
            self._end(error=self._stalled(", and its event loop does not answer"))

    def _cancel_and_settle(self) -> None:
        if not self.done:
            self.cancel()
            self._block(CANCEL_GRACE_S)

    def _stalled(self, extra: str = "", hint: str = "") -> RunStalled:
        return RunStalled(
            f"{self.name} stalled: nothing moved for {self.stall_timeout_s:g} s at {self.progress}{extra}.",
            hint=hint or "Look at the logs of the platform, or allow more time.",
        )

    async def _stalled_because(self) -> RunStalled:
        """The error of a stalled job, with the reason where one is found in time."""
        found = None
        if self._diagnose is not None:
            with contextlib.suppress(Exception):  # what keeps the job from moving may keep us from asking
                async with asyncio.timeout(DIAGNOSIS_S):
                    found = await self._diagnose()
        return self._stalled(f": {found[0]}", found[1]) if found is not None else self._stalled()

    def _end(self, *, value: T | None = None, error: BaseException | None = None) -> None:
        if self._future.done():
            return
        self._ended_at = time.monotonic()
        try:
            if error is None:
                self._future.set_result(value)  # type: ignore[arg-type]
            else:
                self._traceback = error.__traceback__
                self._future.set_exception(error)
        except concurrent.futures.InvalidStateError:  # another thread ended it in this instant
            pass
        self._thread._jobs.discard(self)

    def _cancel_inner(self) -> None:
        if self._inner is not None and not self._inner.done():
            self._inner.cancel()
        if self._cancel_seen is not None:
            self._cancel_seen.set()

    def _discard_work(self) -> None:
        """Close a coroutine that never started, so that Python does not warn about it."""
        if inspect.iscoroutine(self._work):
            self._work.close()
        self._work = None

    async def _supervise(self) -> None:
        """Run the work; end the job with its outcome, or when it is stalled or does not heed a cancel."""
        if self._cancel_asked.is_set():
            self._discard_work()
            self._end(error=RunCancelled(f"{self.name} was cancelled before it started."))
            return
        self._cancel_seen = asyncio.Event()
        self._meter.update()
        self._inner = asyncio.create_task(self._guard(), name=self.name)
        cancel_seen = asyncio.create_task(self._cancel_seen.wait())
        stalled: RunStalled | None = None
        try:
            while not self._inner.done() and not self._cancel_asked.is_set():
                left = self.stall_timeout_s - self._meter.idle_s
                if left <= 0:
                    reason = await self._stalled_because()
                    if self._inner.done() or self._meter.idle_s < self.stall_timeout_s:
                        continue  # it moved meanwhile
                    stalled = reason
                    self._inner.cancel()
                    break
                await asyncio.wait(
                    {self._inner, cancel_seen}, timeout=left, return_when=asyncio.FIRST_COMPLETED
                )
            if not self._inner.done():
                await asyncio.wait({self._inner}, timeout=CANCEL_GRACE_S)
        except asyncio.CancelledError:  # the loop is being stopped
            self._inner.cancel()
            await asyncio.wait({self._inner}, timeout=CANCEL_GRACE_S)
        finally:
            cancel_seen.cancel()
            if not self._inner.done():
                ignored = f"{self.name} was cancelled, and did not end within {CANCEL_GRACE_S:g} s."
                self._end(error=stalled or RunCancelled(ignored))
            elif self._inner.cancelled():
                self._discard_work()
                self._end(error=stalled or RunCancelled(f"{self.name} was cancelled at {self.progress}."))
            else:
                value, error = self._inner.result()
                self._end(value=value, error=error)

    async def _guard(self) -> tuple[T | None, BaseException | None]:
        """Return the outcome: an exit or interrupt raised by the work must not end the loop itself."""
        work, self._work = self._work, None
        assert work is not None
        try:
            return await (work(self._meter) if callable(work) else work), None
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            # Cut this frame: the traceback starts where the work starts.
            trace = error.__traceback__
            return None, error.with_traceback(trace.tb_next if trace is not None else None)


class JobHandle:
    """Base of a result that may still be running: it has its job's methods, and ``wait()`` returns itself.

    A subclass sets ``_job``; the job's own result is what the subclass keeps for its properties.

    Example
    -------
    >>> class Count(JobHandle):
    ...     def __init__(self, job: Job[int]) -> None:
    ...         self._job = job
    """

    _job: Job[Any]

    @property
    def done(self) -> bool:
        """Whether it has ended: with a result, an error, or cancelled."""
        return self._job.done

    @property
    def progress(self) -> Progress:
        """How far it is."""
        return self._job.progress

    def wait(self, timeout_s: float | None = None, *, progress: bool | None = None) -> Self:
        """Wait for the end and return this object; errors and limits as :meth:`Job.wait`."""
        self._job.wait(timeout_s, progress=progress)
        return self

    def cancel(self) -> bool:
        """Ask it to end early. Returns False if it had ended already; waits for nothing."""
        return self._job.cancel()

    def __await__(self) -> Generator[Any, None, Self]:
        yield from self._job.__await__()
        return self


class LoopThread:
    """A daemon thread with an asyncio event loop, for one owner that starts and stops it.

    Parameters
    ----------
    name: Shown in ``threading.enumerate()`` and in messages.

    ``start`` and ``stop`` may be called twice; after ``stop`` it can be started again. A forked child has
    no such thread: every call there raises ``UsageError`` that says so, and ``stop`` only forgets.
    """

    def __init__(self, name: str = "platform-kit") -> None:
        self.name = name
        self._lock = threading.RLock()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._executor: ThreadPoolExecutor | None = None
        self._pid = os.getpid()
        self._stopping = False
        self._jobs: set[Job[Any]] = set()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        state = "running" if self.running else "stopped"
        return f"<LoopThread {self.name}: {state}, {len(self._jobs)} jobs>"

    @property
    def running(self) -> bool:
        """Whether its loop is there to take work, in this process."""
        return self._pid == os.getpid() and self._thread is not None and self._thread.is_alive()

    @property
    def inside(self) -> bool:
        """Whether the caller is on this loop's own thread."""
        return self._thread is threading.current_thread()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop; raises ``NotRunningError`` when stopped."""
        self._check_process()
        if self._loop is None or not self.running:
            raise NotRunningError(f"The event loop {self.name} is not running.", hint="Call start() first.")
        return self._loop

    def start(self) -> None:
        """Start the thread and its loop; does nothing if it runs."""
        with self._lock:
            if self.running:
                return
            self._forget()
            loop = asyncio.new_event_loop()
            executor = ThreadPoolExecutor(thread_name_prefix=f"{self.name}-blocking")
            loop.set_default_executor(executor)
            ready = threading.Event()
            thread = threading.Thread(target=self._main, args=(loop, ready), name=self.name, daemon=True)
            self._loop, self._thread, self._executor = loop, thread, executor
            try:
                thread.start()
            except BaseException:
                self._forget()
                loop.close()
                raise
            if not ready.wait(10.0):
                raise NotRunningError(
                    f"The event loop {self.name} did not start within 10 s.",
                    hint="The machine may be overloaded.",
                )

    def submit(
        self,
        work: Work[T],
        *,
        name: str = "job",
        total: int | None = None,
        unit: str = "",
        progress: bool = True,
        stall_timeout_s: float = DEFAULT_STALL_TIMEOUT_S,
        diagnose: Diagnosis | None = None,
    ) -> Job[T]:
        """Start ``work`` on the loop and return its job at once.

        Parameters
        ----------
        work: A coroutine, or a function that takes a :class:`Meter` and returns one.
        name: What the progress bar and messages call it.
        total: How many items there will be, if known already.
        unit: What is counted ("card").
        progress: Whether ``wait()`` draws a bar.
        stall_timeout_s: Seconds without any report after which the job is given up.
        diagnose: Asked on the loop, once that is so, for the reason to give.

        Raises
        ------
        NotRunningError: the loop is stopped.
        UsageError: this process is a fork of the one that started the loop.
        """
        try:
            if not stall_timeout_s > 0:
                raise UsageError(f"stall_timeout_s is {stall_timeout_s!r}.", hint="Give seconds above zero.")
            job = Job(
                self,
                work,
                name=name,
                total=total,
                unit=unit,
                progress=progress,
                stall_timeout_s=stall_timeout_s,
                diagnose=diagnose,
            )
            with self._lock:
                loop = self.loop
                if self._stopping:
                    raise NotRunningError(f"The event loop {self.name} is stopping.", hint="Start it again.")
                self._jobs.add(job)
                loop.call_soon_threadsafe(self._begin, job)
        except BaseException:
            if inspect.iscoroutine(work):
                work.close()
            raise
        return job

    def run(self, coro: Coroutine[Any, Any, T], timeout_s: float) -> T:
        """Run a coroutine on the loop and return its result; for short operations, without progress.

        Raises
        ------
        WaitTimeout: it did not end within ``timeout_s`` seconds; it is cancelled.
        UsageError: called on the loop's own thread.
        """
        name = getattr(coro, "__qualname__", "the call")
        if self.inside:
            coro.close()
            raise UsageError(f"run({name}) was called on the loop's own thread.", hint="Await it instead.")
        job = self.submit(coro, name=name, progress=False, stall_timeout_s=timeout_s + 60.0)
        try:
            return job.wait(timeout_s)
        except WaitTimeout:
            if job.done:
                return job.result()
            job._cancel_and_settle()
            raise WaitTimeout(
                f"{name} did not end within {timeout_s:g} s and was cancelled.",
                hint="Look at the logs of the platform, or allow more time.",
            ) from None

    def cancel_jobs(self) -> None:
        """Ask every job that still runs to end; waits for nothing."""
        for job in list(self._jobs):
            job.cancel()

    def stop(self, timeout_s: float = 10.0) -> None:
        """Cancel what is left, end the loop and its thread; does nothing if it is stopped.

        Raises
        ------
        StopError: a task or a blocking call did not end within ``timeout_s`` seconds. The thread is
            abandoned then; being a daemon it does not keep Python from exiting.
        UsageError: called on the loop's own thread.
        """
        if self._pid != os.getpid():
            self._forget()
            return
        if self.inside:
            raise UsageError(f"stop() of {self.name} was called on its own thread.", hint="Stop it outside.")
        with self._lock:
            thread, loop, executor = self._thread, self._loop, self._executor
            if thread is None or loop is None or executor is None:
                return
            self._stopping = True
        deadline = time.monotonic() + timeout_s
        left_over: list[str] = []
        try:
            if thread.is_alive():
                budget = max(0.1, timeout_s - 0.5)
                ending = asyncio.run_coroutine_threadsafe(_cancel_others(budget * 0.8), loop)
                try:
                    left_over = ending.result(budget)
                except (concurrent.futures.TimeoutError, concurrent.futures.CancelledError):
                    ending.cancel()
                    left_over = ["a call that blocks the loop"]
                loop.call_soon_threadsafe(loop.stop)
                thread.join(max(0.1, deadline - time.monotonic()))
            closer = threading.Thread(
                target=executor.shutdown,
                kwargs={"cancel_futures": True},
                name=f"{self.name}-end",
                daemon=True,
            )
            closer.start()
            closer.join(max(0.1, deadline - time.monotonic()))
            if closer.is_alive():
                left_over.append("a blocking call in a thread")
        finally:
            self._call(loop.stop)  # also when this wait was interrupted
            for job in list(self._jobs):
                job._discard_work()
                job._end(error=RunCancelled(f"{job.name} was cut off: its event loop was stopped."))
            with self._lock:
                self._forget()
        if thread.is_alive() or left_over:
            raise StopError(
                f"The event loop {self.name} did not end within {timeout_s:g} s; still there: "
                f"{', '.join(left_over) or 'its thread'}.",
                hint="It does not keep Python from exiting. Please report what was running.",
            )

    # ------------------------------------------------------------------ inside

    def _main(self, loop: asyncio.AbstractEventLoop, ready: threading.Event) -> None:
        asyncio.set_event_loop(loop)
        loop.call_soon(ready.set)
        try:
            loop.run_forever()
            left = asyncio.all_tasks(loop)
            for task in left:
                task.cancel()
            if left:
                loop.run_until_complete(asyncio.wait(left, timeout=0.2))
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            asyncio.set_event_loop(None)
            loop.close()

    def _begin(self, job: Job[Any]) -> None:
        job._supervisor = asyncio.create_task(job._supervise(), name=f"{job.name} (supervisor)")

    def _call(self, function: Callable[[], None]) -> None:
        loop = self._loop
        with contextlib.suppress(RuntimeError):  # it has just been closed; stop() ends what is left
            if loop is not None:
                loop.call_soon_threadsafe(function)

    def _check_process(self) -> None:
        if self._pid != os.getpid() and self._thread is not None:
            raise UsageError(
                f"The event loop {self.name} runs in process {self._pid}; this is its fork {os.getpid()}.",
                hint="Start a platform of its own in the child, or use multiprocessing's 'spawn' method.",
            )

    def _forget(self) -> None:
        # In a fork the lock may be held by a thread that does not exist here, and the loop's descriptors are
        # the parent's: touch neither.
        if self._pid != os.getpid():
            self._lock = threading.RLock()
        self._thread = self._loop = self._executor = None
        self._stopping = False
        self._jobs = set()
        self._pid = os.getpid()


async def _cancel_others(timeout_s: float) -> list[str]:
    """Cancel every other task of this loop; return the names of those that did not end in time."""
    deadline = time.monotonic() + timeout_s
    me = asyncio.current_task()
    while others := {task for task in asyncio.all_tasks() if task is not me}:
        left = deadline - time.monotonic()
        if left <= 0:
            return sorted(task.get_name() for task in others)
        for task in others:
            if not task.cancelling():
                task.cancel()
        await asyncio.wait(others, timeout=min(left, 0.5))
    return []


# ---------------------------------------------------------------------- the progress bar


class _Bar:
    """A job's progress on stderr, drawn by the waiting thread, so that a notebook puts it under its cell.

    In a terminal and a notebook a tqdm bar that overwrites itself; in a log, and in a notebook that papermill
    or nbconvert runs, a line now and then. A job that ends at once draws nothing.
    """

    DELAY_S = 0.3

    def __init__(self, job: Job[Any], *, enabled: bool) -> None:
        self._job = job
        self._enabled = enabled
        self._bar: Any = None
        self._stream: TextIO = sys.stderr
        self._next_at = time.monotonic() + self.DELAY_S
        self._drawn: Progress | None = None
        in_notebook = type(self._stream).__module__.startswith("ipykernel")
        self._overwrites = not _runs_unattended() if in_notebook else _is_terminal(self._stream)
        # A notebook keeps every redraw in its file, and a log every line.
        self._interval_s = 5.0 if not self._overwrites else 0.5 if in_notebook else 0.1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._drawn is not None:
            self._draw()
        if self._bar is not None:
            self._bar.close()

    def show(self) -> None:
        """Draw if enough time has passed."""
        now = time.monotonic()
        if not self._enabled or now < self._next_at or self._job.done:
            return
        self._next_at = now + self._interval_s
        self._draw()

    def _draw(self) -> None:
        try:
            if self._overwrites:
                self._draw_bar()
            else:
                self._draw_line()
        except (OSError, ValueError):  # stderr is gone; the job matters, its bar does not
            self._enabled = False
            self._bar = None

    def _draw_line(self) -> None:
        progress = self._job.progress
        if progress != self._drawn:
            unit = f" {self._job.unit}" if self._job.unit else ""
            self._stream.write(f"{self._job.name}:{unit} {progress}, {self._job.seconds:.0f} s\n")
            self._stream.flush()
        self._drawn = progress

    def _draw_bar(self) -> None:
        progress = self._job.progress
        if self._bar is None:
            self._bar = _tqdm_class()(
                desc=self._job.name,
                total=progress.total,
                unit=f" {self._job.unit}" if self._job.unit else "it",
                file=self._stream,
                mininterval=0.0,
                dynamic_ncols=_is_terminal(self._stream),
                ncols=None if _is_terminal(self._stream) else 90,
            )
            self._bar.start_t -= self._job.seconds
        self._bar.total = progress.total
        self._bar.n = progress.done
        self._bar.set_postfix_str(progress.text, refresh=False)
        self._bar.refresh()
        self._drawn = progress


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except (AttributeError, ValueError):
        return False


def _runs_unattended() -> bool:
    """Whether the cell's request came from a program that collects what is written, not from a front end.

    A front end in front of a person overwrites a line that is drawn again, and takes questions (``input()``);
    nbclient, which papermill and nbconvert run cells with, keeps each redraw and says that it takes none.
    """
    ipython = sys.modules.get("IPython")  # it is there where a kernel is
    if ipython is None:
        return False
    try:
        request = ipython.get_ipython().kernel.get_parent("shell")
        return request["content"]["allow_stdin"] is False
    except (AttributeError, KeyError, LookupError, TypeError):
        return False


def _tqdm_class() -> Any:
    from tqdm import tqdm

    class Bar(tqdm):  # type: ignore[type-arg]
        """tqdm without its monitor thread and its multiprocessing lock, neither of which a bar needs here."""

        monitor_interval = 0

    Bar.set_lock(threading.RLock())
    return Bar


__all__ = ["DEFAULT_STALL_TIMEOUT_S", "Job", "JobHandle", "LoopThread", "Meter", "Progress"]
