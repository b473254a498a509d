"""Jobs: the same behaviour from a script, from inside a running loop, and when things go wrong."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from platform_kit import jobs
from platform_kit.errors import NotRunningError, RunCancelled, RunStalled, StopError, UsageError, WaitTimeout
from platform_kit.jobs import Job, JobHandle, LoopThread, Meter, Progress


@pytest.fixture
def thread() -> Iterator[LoopThread]:
    before = set(threading.enumerate())
    thread = LoopThread("test-loop")
    thread.start()
    yield thread
    thread.stop(timeout_s=5)
    assert set(threading.enumerate()) <= before, "a thread was left"


async def value_of(value: Any) -> Any:
    await asyncio.sleep(0)
    return value


async def forever(_: Meter | None = None) -> None:
    await asyncio.Event().wait()


class BrokenError(Exception):
    pass


def python(script: str) -> str:
    """Run a script in a process of its own and return what it prints."""
    command = [sys.executable, "-c", textwrap.dedent(script)]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=30, check=True).stdout


async def breaks() -> None:
    raise BrokenError("as it should")


def started(event: threading.Event) -> Any:
    async def work() -> None:
        event.set()
        await asyncio.Event().wait()

    return work()


# ------------------------------------------------------------------ results


def test_a_script_waits_for_the_result(thread: LoopThread) -> None:
    job = thread.submit(value_of(42), name="answering")
    assert job.wait(timeout_s=5) == 42
    assert job.done and job.state == "finished" and job.result() == 42
    assert job.wait(timeout_s=5) == 42, "waiting again gives the same"


def test_a_cell_inside_a_running_loop_waits_too(thread: LoopThread) -> None:
    async def cell() -> int:
        return int(thread.submit(value_of(1)).wait(timeout_s=5) + thread.run(value_of(2), timeout_s=5))

    assert asyncio.run(cell()) == 3


def test_it_can_be_awaited_from_any_loop_by_several(thread: LoopThread) -> None:
    job = thread.submit(value_of("x"))

    async def both() -> list[str]:
        async def one() -> str:
            return str(await job)

        return list(await asyncio.gather(one(), one()))

    assert asyncio.run(both()) == ["x", "x"]

    async def inside() -> str:
        return str(await thread.submit(value_of("y")))

    assert thread.run(inside(), timeout_s=5) == "y"


def test_result_does_not_wait(thread: LoopThread) -> None:
    job = thread.submit(forever())
    with pytest.raises(UsageError, match="still running"):
        job.result()
    job.cancel()


# ------------------------------------------------------------------ errors


def test_the_error_keeps_its_own_traceback_for_every_waiter(thread: LoopThread) -> None:
    job = thread.submit(breaks())
    depths = []
    for _ in range(3):
        with pytest.raises(BrokenError) as caught:
            job.wait(timeout_s=5)
        frames = traceback.extract_tb(caught.value.__traceback__)
        assert frames[-1].name == "breaks"
        depths.append(len(frames))
    assert len(set(depths)) == 1, "waiting must not pile up frames"
    assert job.state == "failed"


def test_awaiting_raises_the_error(thread: LoopThread) -> None:
    async def cell() -> None:
        await thread.submit(breaks())

    with pytest.raises(BrokenError):
        asyncio.run(cell())


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_an_exit_inside_the_work_does_not_end_the_loop(thread: LoopThread, error: BaseException) -> None:
    async def leaves() -> None:
        raise error

    with pytest.raises(type(error)):
        thread.submit(leaves()).wait(timeout_s=5)
    assert thread.run(value_of(1), timeout_s=5) == 1


# ------------------------------------------------------------------ limits


def test_wait_reaches_its_limit_and_the_job_goes_on(thread: LoopThread) -> None:
    gate = threading.Event()

    async def gated() -> str:
        await asyncio.to_thread(gate.wait, 10)
        return "in the end"

    job = thread.submit(gated(), name="gated", total=7)
    with pytest.raises(TimeoutError, match=r"gated did not end within 0.05 s \(0 of 7 \(0%\)\)") as caught:
        job.wait(timeout_s=0.05)
    assert isinstance(caught.value, WaitTimeout)
    assert not job.done
    gate.set()
    assert job.wait(timeout_s=5) == "in the end"


def test_a_job_without_progress_is_stalled(thread: LoopThread) -> None:
    job = thread.submit(forever, name="copying", total=9, stall_timeout_s=0.05)
    with pytest.raises(RunStalled, match=r"copying stalled: nothing moved for 0.05 s at 0 of 9"):
        job.wait(timeout_s=5)
    assert job.state == "failed"


def test_progress_keeps_a_job_alive(thread: LoopThread) -> None:
    async def slow(meter: Meter) -> int:
        for _ in range(8):
            await asyncio.sleep(0.1)
            meter.advance()
        return meter.progress.done

    assert thread.submit(slow, stall_timeout_s=0.4, progress=False).wait(timeout_s=10) == 8


def test_a_stalled_job_may_clean_up(thread: LoopThread) -> None:
    cleaned = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            cleaned.append(True)

    with pytest.raises(RunStalled):
        thread.submit(work(), stall_timeout_s=0.05).wait(timeout_s=5)
    assert cleaned == [True]


def test_a_job_that_ignores_its_cancel_is_given_up(
    thread: LoopThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "CANCEL_GRACE_S", 0.05)
    ready, release = threading.Event(), threading.Event()

    async def stubborn() -> None:
        ready.set()
        while not release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.02)

    job = thread.submit(stubborn(), name="stubborn")
    assert ready.wait(5)
    job.cancel()
    with pytest.raises(RunCancelled, match="did not end within"):
        job.wait(timeout_s=5)
    release.set()


def test_run_cancels_what_does_not_end(thread: LoopThread) -> None:
    seen = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    with pytest.raises(TimeoutError, match="was cancelled"):
        thread.run(work(), timeout_s=0.05)
    assert seen == ["cancelled"]


@pytest.mark.parametrize("limit", [0, -1, float("nan")])
def test_a_stall_limit_is_a_limit(thread: LoopThread, limit: float) -> None:
    with pytest.raises(UsageError, match="stall_timeout_s"):
        thread.submit(value_of(1), stall_timeout_s=limit)


# ------------------------------------------------------------------ cancel and interrupt


def test_cancel(thread: LoopThread) -> None:
    event = threading.Event()
    job = thread.submit(started(event), name="copying")
    assert event.wait(5)
    assert job.cancel() is True
    with pytest.raises(RunCancelled, match="copying was cancelled"):
        job.wait(timeout_s=5)
    assert job.state == "cancelled" and job.cancel() is False


def test_cancel_before_it_started_closes_the_coroutine(thread: LoopThread) -> None:
    gate = threading.Event()
    thread.loop.call_soon_threadsafe(gate.wait, 5)
    coro = value_of(1)
    job = thread.submit(coro)
    job.cancel()
    gate.set()
    with pytest.raises(RunCancelled):
        job.wait(timeout_s=5)
    assert coro.cr_frame is None  # type: ignore[attr-defined]


def test_cancelling_the_awaiting_task_cancels_the_job(thread: LoopThread) -> None:
    job = thread.submit(forever())

    async def impatient() -> None:
        await asyncio.wait_for(job, timeout=0.05)

    with pytest.raises(TimeoutError):
        asyncio.run(impatient())
    with pytest.raises(RunCancelled):
        job.wait(timeout_s=5)


def test_an_interrupt_cancels_the_job_and_is_raised_again() -> None:
    script = """
        import asyncio, os, signal, threading
        from platform_kit.jobs import Job, LoopThread

        waiting = threading.Event()
        block = Job._block
        Job._block = lambda job, timeout_s: (waiting.set(), block(job, timeout_s))

        async def work():
            await asyncio.to_thread(waiting.wait, 10)
            os.kill(os.getpid(), signal.SIGINT)
            try:
                await asyncio.Event().wait()
            finally:
                print("cleaned up", flush=True)

        with LoopThread("loop") as thread:
            job = thread.submit(work(), progress=False)
            try:
                job.wait(timeout_s=20)
            except KeyboardInterrupt:
                print("interrupted", job.state, flush=True)
        print([t.name for t in threading.enumerate()])
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout.splitlines() == ["cleaned up", "interrupted cancelled", "['MainThread']"]


def test_interrupting_a_wait_in_this_process(thread: LoopThread, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = threading.Event()
    block = Job._block

    def blocks(job: Job[Any], timeout_s: float) -> None:
        waiting.set()
        block(job, timeout_s)

    monkeypatch.setattr(Job, "_block", blocks)
    job = thread.submit(forever(), progress=False)

    def interrupt() -> None:
        waiting.wait(5)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    sender = threading.Thread(target=interrupt)
    sender.start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        job.wait(timeout_s=20)
    sender.join(5)
    assert time.monotonic() - began < 10
    assert job.state == "cancelled"


# ------------------------------------------------------------------ the loop's thread


def test_starting_and_stopping_twice() -> None:
    before = threading.enumerate()
    thread = LoopThread("twice")
    thread.stop()
    thread.start()
    first = thread.loop
    thread.start()
    assert thread.loop is first
    thread.stop()
    thread.stop()
    assert first.is_closed() and not thread.running
    with pytest.raises(NotRunningError):
        thread.submit(value_of(1))
    with thread:
        assert thread.run(value_of(5), timeout_s=5) == 5
    assert threading.enumerate() == before


def test_stop_ends_jobs_and_blocking_threads() -> None:
    before = threading.enumerate()
    thread = LoopThread("stopping")
    thread.start()
    thread.run(asyncio.to_thread(lambda: None), timeout_s=5)
    event = threading.Event()
    job = thread.submit(started(event))
    assert event.wait(5)
    thread.stop(timeout_s=5)
    assert job.done
    with pytest.raises(RunCancelled):
        job.wait(timeout_s=1)
    assert threading.enumerate() == before


def test_a_waiter_elsewhere_is_told_when_the_loop_stops() -> None:
    thread = LoopThread("stopping")
    thread.start()
    event = threading.Event()
    job: Job[None] = thread.submit(started(event), progress=False)
    caught: list[BaseException] = []

    def waits() -> None:
        try:
            job.wait(timeout_s=10)
        except RunCancelled as error:
            caught.append(error)

    waiter = threading.Thread(target=waits)
    waiter.start()
    assert event.wait(5)
    thread.stop(timeout_s=5)
    waiter.join(5)
    assert len(caught) == 1


def test_stop_says_what_does_not_end() -> None:
    thread = LoopThread("blocked")
    thread.start()
    entered, gate = threading.Event(), threading.Event()

    async def blocks() -> None:
        entered.set()
        gate.wait(10)

    job = thread.submit(blocks())
    real = thread._thread
    assert real is not None and entered.wait(5)
    with pytest.raises(StopError, match="blocks the loop"):
        thread.stop(timeout_s=0.3)
    assert job.done, "nobody may wait for it any more"
    gate.set()
    real.join(5)
    assert not real.is_alive()


def test_waiting_on_the_own_loop_is_refused(thread: LoopThread) -> None:
    holder: list[Job[None]] = []

    async def waits_for_another() -> None:
        thread.submit(forever()).wait(timeout_s=1)

    async def waits_for_itself(_: Meter) -> None:
        while not holder:
            await asyncio.sleep(0)
        await holder[0]

    async def stops() -> None:
        thread.stop()

    with pytest.raises(UsageError, match="await job"):
        thread.run(waits_for_another(), timeout_s=5)
    with pytest.raises(UsageError, match="own thread"):
        thread.run(stops(), timeout_s=5)
    holder.append(thread.submit(waits_for_itself, name="selfish"))
    with pytest.raises(UsageError, match="waits for itself"):
        holder[0].wait(timeout_s=5)


def test_a_fork_is_told_so(thread: LoopThread) -> None:
    job = thread.submit(forever())
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover - the child reports through the pipe
        said = []
        for call in (lambda: thread.submit(value_of(1)), lambda: job.wait(timeout_s=1), job.cancel):
            try:
                call()
                said.append("nothing")
            except UsageError as error:
                said.append("fork" if "fork" in str(error) else str(error))
        thread.stop()
        thread.start()
        said.append(str(thread.run(value_of(7), timeout_s=5)))
        thread.stop()
        os.write(writer, ",".join(said).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        assert pipe.read() == "fork,fork,fork,7"
    os.waitpid(child, 0)
    assert thread.run(value_of(8), timeout_s=5) == 8, "the parent's loop is untouched"


def test_many_jobs_at_once(thread: LoopThread) -> None:
    jobs_ = [thread.submit(value_of(number), progress=False) for number in range(500)]
    assert [job.wait(timeout_s=10) for job in jobs_] == list(range(500))
    assert not thread._jobs


# ------------------------------------------------------------------ progress


def test_progress_reads_as_a_sentence() -> None:
    assert str(Progress()) == "0"
    assert str(Progress(1500, 6000, "drawing")) == "1,500 of 6,000 (25%), drawing"
    assert Progress(3, 0).fraction is None and Progress(9, 3).fraction == 1.0


def test_the_meter_counts_from_many_threads() -> None:
    meter = Meter(total=4000)

    def advance() -> None:
        for _ in range(1000):
            meter.advance()

    workers = [threading.Thread(target=advance) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert meter.progress == Progress(4000, 4000)
    meter.update(text="sorting")
    meter.update(total=5000)
    assert meter.progress == Progress(4000, 5000, "sorting")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def stepping(gate: threading.Event) -> Any:
    async def work(meter: Meter) -> None:
        meter.advance(3, text="drawing")
        await asyncio.to_thread(gate.wait, 10)
        meter.update(done=10, text="")

    return work


@pytest.mark.parametrize("stream", [Terminal(), io.StringIO()], ids=["terminal", "log"])
def test_the_bar(thread: LoopThread, stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(jobs._Bar, "DELAY_S", 0.0)
    gate = threading.Event()
    job = thread.submit(stepping(gate), name="rendering", total=10, unit="card")
    with pytest.raises(WaitTimeout):
        job.wait(timeout_s=0.35)
    gate.set()
    job.wait(timeout_s=5)
    drawn = stream.getvalue()
    assert "rendering" in drawn and "card" in drawn and "drawing" in drawn
    if stream.isatty():
        assert "3/10" in drawn
    else:
        assert "\r" not in drawn and "3 of 10 (30%)" in drawn
    from tqdm import tqdm

    assert not getattr(tqdm, "_instances", None), "a bar was left open"


def test_no_bar_when_not_wanted_or_when_quick(
    thread: LoopThread, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    thread.submit(value_of(1), total=1).wait(timeout_s=5)
    monkeypatch.setattr(jobs._Bar, "DELAY_S", 0.0)
    gate = threading.Event()
    job = thread.submit(stepping(gate), progress=False)
    with pytest.raises(WaitTimeout):
        job.wait(timeout_s=0.25)
    gate.set()
    job.wait(timeout_s=5)
    assert capsys.readouterr() == ("", "")


def test_a_lost_stderr_does_not_lose_the_job(thread: LoopThread, monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(Terminal):
        def write(self, text: str) -> int:
            raise BrokenPipeError("nobody reads this")

    monkeypatch.setattr(sys, "stderr", Gone())
    monkeypatch.setattr(jobs._Bar, "DELAY_S", 0.0)
    gate = threading.Event()
    job = thread.submit(stepping(gate), name="rendering", total=10)
    with pytest.raises(WaitTimeout):
        job.wait(timeout_s=0.25)
    gate.set()
    job.wait(timeout_s=5)
    assert job.progress.done == 10


def test_a_notebook_that_nobody_watches_keeps_lines_and_no_redraws() -> None:
    # nbclient is what papermill and nbconvert run a notebook with; a person's front end answers questions.
    script = """
        import json, nbformat
        from nbclient import NotebookClient
        cell = '''
        import threading
        from test_jobs import stepping
        from platform_kit import jobs
        jobs._Bar.DELAY_S = 0.0
        gate = threading.Event()
        with jobs.LoopThread("bar") as thread:
            job = thread.submit(stepping(gate), name="rendering", total=10, unit="card")
            try:
                job.wait(timeout_s=0.35)
            except jobs.WaitTimeout:
                gate.set()
            job.wait(timeout_s=20)
        '''
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for _ in "12"])
        client = NotebookClient(notebook, timeout=40, kernel_name="python3")
        with client.setup_kernel():
            for number, watched in enumerate((False, True)):
                client.kc.allow_stdin = client.kc.allow_stdin or watched
                client.execute_cell(notebook.cells[number], number)
        print(json.dumps(["".join(shown["text"] for shown in cell.outputs) for cell in notebook.cells]))
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=90,
        cwd=Path(__file__).parent,
    )
    assert done.returncode == 0, done.stderr
    unwatched, watched = json.loads(done.stdout)
    assert "\r" not in unwatched and "rendering: card 3 of 10 (30%), drawing" in unwatched
    assert "\r" in watched and "3/10" in watched


def test_the_bar_starts_no_thread_and_no_process() -> None:
    script = """
        import io, sys, threading
        from platform_kit.jobs import LoopThread, Meter, _Bar, _tqdm_class
        sys.stderr = io.StringIO()
        _tqdm_class()(total=3, file=sys.stderr).close()
        print(len(threading.enumerate()), "multiprocessing.resource_tracker" in sys.modules)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout.split() == ["1", "False"]


# ------------------------------------------------------------------ handles


class Count(JobHandle):
    def __init__(self, job: Job[int]) -> None:
        self._job = job

    @property
    def count(self) -> int:
        return int(self._job.result())


def test_a_handle_is_its_own_result(thread: LoopThread) -> None:
    count = Count(thread.submit(value_of(3), total=3))
    assert count.wait(timeout_s=5) is count
    assert count.done and count.count == 3 and count.cancel() is False

    async def awaits() -> Count:
        return await Count(thread.submit(value_of(4)))

    assert asyncio.run(awaits()).count == 4
    assert count.progress.total == 3
