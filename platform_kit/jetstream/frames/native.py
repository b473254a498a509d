"""The compiled client, ``platform-frames``: a child process for each transfer, which speaks Arrow over its
pipes.

It is the platform's own connection in another process: it gets the credentials' file by name in its
environment, leads a process group of its own, which an interrupt of the cell does not reach, and ends by
itself when a pipe closes, so that it outlives no kernel.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import signal
import subprocess
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from platform_kit.errors import NotRunningError, PlatformKitError, RunError, RunStalled, StreamError
from platform_kit.jetstream.connection import Endpoint
from platform_kit.jetstream.frames.request import PublishRequest, ReadRequest
from platform_kit.servers.process import base_environment
from platform_kit.servers.worker import secret_file

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")
_PIPE_BYTES = 1024 * 1024
_END_S = 5.0


class NativeEngine:
    """Reads and publishes through the compiled client.

    Parameters
    ----------
    binary: The executable.
    endpoint: Where and as whom to connect.
    group: The process group to join, or None for one of its own.
    """

    name = "native"

    def __init__(self, binary: Path, endpoint: Endpoint, *, group: int | None = None) -> None:
        self._binary = binary
        self._endpoint = endpoint
        self._group = group

    async def read(
        self, request: ReadRequest, alive: Callable[[], None] = lambda: None
    ) -> AsyncIterator[pa.RecordBatch]:
        """The messages, in batches: sequence, time, subject, payload, headers."""

        async with self._child("read", request.line(), lambda _: alive()) as child:
            reader = await child.opened()
            while (batch := await child.call(_next, reader)) is not None:
                yield batch
            await child.ended()

    async def publish(
        self,
        request: PublishRequest,
        batches: AsyncIterator[pa.RecordBatch],
        settled: Callable[[int], None] = lambda _: None,
    ) -> AsyncIterator[pa.RecordBatch]:
        """Send batches (subject, payload, headers, at); each gives one of sequence, code, reason."""
        first = await anext(batches, None)
        if first is None:
            return
        async with self._child("publish", request.line(), settled) as child:
            feeding = asyncio.create_task(child.feed(first, batches), name="feeding platform-frames")
            try:
                reader = await child.opened()
                while (batch := await child.call(_next, reader)) is not None:
                    yield batch
                await child.ended()
                await feeding
            except PlatformKitError:
                if feeding.done() and not feeding.cancelled() and (error := feeding.exception()):
                    raise error from None
                raise
            finally:
                feeding.cancel()
                await asyncio.gather(feeding, return_exceptions=True)

    @contextlib.asynccontextmanager
    async def _child(self, mode: str, line: bytes, settled: Callable[[int], None]) -> AsyncIterator[_Child]:
        child = _Child(self._binary, mode, self._endpoint, self._group, settled)
        try:
            await child.begin(line)
            yield child
        finally:
            await child.end()


def _next(reader: pa.RecordBatchReader) -> pa.RecordBatch | None:
    """The next batch; None at the end, also where the stream broke off: its process then says why."""
    import pyarrow as pa

    try:
        return reader.read_next_batch()
    except (StopIteration, pa.ArrowException, OSError):
        return None


class _Child:
    """One process of the compiled client, and the threads that wait at its pipes."""

    def __init__(
        self,
        binary: Path,
        mode: str,
        endpoint: Endpoint,
        group: int | None,
        settled: Callable[[int], None],
    ) -> None:
        self._mode = mode
        self._settled = settled
        self._loop = asyncio.get_running_loop()
        self._error: dict[str, str] | None = None
        self._said: deque[str] = deque(maxlen=20)
        env = base_environment() | secret_file(endpoint.credentials)
        env |= {"PLATFORM_NATS_URL": endpoint.url, "PLATFORM_INBOX": endpoint.inbox}
        try:
            self._popen = self._start(binary, mode, env, group)
        except OSError as error:
            raise RunError(
                f"{binary} could not be started: {error.strerror}.",
                hint="Run `platform-kit doctor`; or pass engine='python'.",
            ) from error
        self.stdin: Any = self._popen.stdin
        self.stdout: Any = self._popen.stdout
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="platform-kit-frames")
        own: list[Any] = [self.stdin, self.stdout]
        for pipe in own:
            with contextlib.suppress(OSError, AttributeError):  # Linux only
                fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._listening = asyncio.ensure_future(self.call(self._listen))

    @staticmethod
    def _start(binary: Path, mode: str, env: dict[str, str], group: int | None) -> subprocess.Popen[bytes]:
        def start(group: int) -> subprocess.Popen[bytes]:
            pipe = subprocess.PIPE
            return subprocess.Popen(
                [str(binary), mode],
                stdin=pipe,
                stdout=pipe,
                stderr=pipe,
                env=env,
                cwd="/",
                process_group=group,
            )

        try:
            return start(group or 0)
        except PermissionError:  # the group is gone
            return start(0)

    async def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run what blocks in a thread of this child's."""
        return await self._loop.run_in_executor(self._threads, function, *arguments)

    async def begin(self, line: bytes) -> None:
        """Tell it what to do."""
        with contextlib.suppress(BrokenPipeError):
            await self.call(self._write, line)

    def _write(self, data: bytes) -> None:
        self.stdin.write(data)
        self.stdin.flush()

    async def opened(self) -> pa.RecordBatchReader:
        """Its output, once it begins."""
        import pyarrow as pa

        try:
            return await self.call(pa.ipc.open_stream, self.stdout)
        except (pa.ArrowException, OSError, ValueError) as error:
            await self.ended()
            raise RunError("The process that moves the messages gave no answer.") from error

    async def feed(self, first: pa.RecordBatch, batches: AsyncIterator[pa.RecordBatch]) -> None:
        """Write every batch to its input, as fast as it takes them."""
        import pyarrow as pa

        try:
            writer = await self.call(pa.ipc.new_stream, self.stdin, first.schema)
            await self.call(writer.write_batch, first)
            async for batch in batches:
                await self.call(writer.write_batch, batch)
            await self.call(writer.close)
            await self.call(self.stdin.flush)
        except (OSError, ValueError):
            pass  # it has ended, and says why elsewhere
        except BaseException:
            self.kill()  # so that nobody waits for results
            raise

    async def ended(self) -> None:
        """Wait for its end and raise what it says of a failure."""
        await asyncio.wait({self._listening}, timeout=_END_S)
        try:
            code = await self.call(self._popen.wait, _END_S)
        except subprocess.TimeoutExpired:
            self.kill()
            code = await self.call(self._popen.wait)
        if code == 0:
            return
        if self._error is not None:
            raise engine_error(self._error.get("kind", ""), self._error.get("reason", ""))
        ended = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        said = "\n".join(self._said)
        raise RunError(
            f"The process that moves the messages {ended}." + (f"\n{said}" if said else ""),
            hint="What was acknowledged until then is stored; the rest can be sent again.",
        )

    def kill(self) -> None:
        """End it at once."""
        self._popen.kill()

    async def end(self) -> None:
        """Leave nothing of it, however the transfer ended."""
        self._popen.kill()
        for pipe in (self.stdin, self.stdout):
            with contextlib.suppress(OSError, ValueError):
                # A thread may still write to it: it gets an error, and closes nothing that is ours.
                self._threads.submit(pipe.close)
        self._threads.submit(self._popen.wait)
        self._threads.shutdown(wait=False)
        await asyncio.wait({self._listening}, timeout=_END_S)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(_END_S)

    def _listen(self) -> None:
        """Take what it says, a line of JSON at a time."""
        assert self._popen.stderr is not None
        with self._popen.stderr as said:
            for line in said:
                text = line.decode("utf-8", "replace").rstrip()
                try:
                    event = json.loads(text)
                except ValueError:
                    self._said.append(text)
                    continue
                if "error" in event:
                    self._error = event["error"]
                elif "settled" in event:
                    self._loop.call_soon_threadsafe(self._settled, int(event["settled"]))


def engine_error(kind: str, reason: str) -> PlatformKitError:
    """What a transfer's failure is for the reader."""
    if kind == "denied":
        return StreamError(f"Permission denied: {reason}.", hint="Connect with a role that may do this.")
    if kind == "missing":
        return StreamError(f"The stream is not there any more: {reason}.")
    if kind == "stalled":
        return RunStalled(
            f"The server does not answer: {reason}.", hint="Look at platform.status() and platform.logs()."
        )
    if kind in ("connect", "credentials"):
        return NotRunningError(f"{reason[:1].upper()}{reason[1:]}.", hint="Check address and credentials.")
    if kind == "refused":
        return StreamError(f"nats-server refused: {reason}.")
    return RunError(f"The transfer failed: {reason}.")


__all__ = ["NativeEngine", "engine_error"]
