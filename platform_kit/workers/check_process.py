"""A worker's process as a check runs it: bounded in time, talked to over pipes, ended for sure."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from platform_kit.reprs import clean, shorten
from platform_kit.servers.process import base_environment
from platform_kit.workers.check_frames import FrameBuffer
from platform_kit.workers.check_report import Fault
from platform_kit.workers.program import CRASHES, last_words

PIECE = 64 * 1024
KEPT_STDERR = 64 * 1024


class Talk:
    """A process with pipes on all its streams; nothing that it does or leaves undone blocks.

    Parameters
    ----------
    command: What to run.
    env: Variables beside the basic ones.
    cwd: Where it runs.
    group: The warden's process group.
    timeout_s: How long a single reply may take.
    """

    def __init__(
        self, command: Sequence[str], *, env: Mapping[str, str], cwd: Path, group: int, timeout_s: float
    ) -> None:
        self._timeout_s = timeout_s
        self._popen = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=base_environment() | dict(env),
            cwd=cwd,
            process_group=group,
            bufsize=0,
        )
        streams = (self._popen.stdin, self._popen.stdout, self._popen.stderr)
        self._in, self._out, self._err = (stream.fileno() for stream in streams if stream is not None)
        for number in (self._in, self._out, self._err):
            os.set_blocking(number, False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._out, selectors.EVENT_READ)
        self._selector.register(self._err, selectors.EVENT_READ)
        self._to_write = memoryview(b"")
        self._listening = False  # for room to write
        self.buffer = FrameBuffer()
        self.stdout_open = True
        self.stdin_open = True
        self.stdout_bytes = 0
        self.stderr = bytearray()
        self.slowest_s = 0.0

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._popen.pid

    def send(self, data: bytes) -> None:
        """Write as far as there is room; the rest is written while replies are awaited."""
        self._to_write = memoryview(bytes(self._to_write) + data)
        self._write()

    def frames(self, count: int) -> list[bytes]:
        """The next ``count`` frames. Raises ``Fault`` when they do not come."""
        found: list[bytes] = []
        since = time.monotonic()
        while len(found) < count:
            body = self.buffer.take()
            if body is not None:
                found.append(body)
                self.slowest_s = max(self.slowest_s, time.monotonic() - since)
                since = time.monotonic()
                continue
            if not self.stdout_open:
                raise self._ended(count - len(found))
            left = since + self._timeout_s - time.monotonic()
            if left <= 0:
                if self.buffer.pending:
                    raise self.buffer.unfinished()
                raise Fault(
                    f"{count - len(found)} of {count} requests had no reply after {self._timeout_s:g} s.",
                    "Answer each request with one frame, a failure too, and flush it. Wombat waits for a "
                    "subprocess without a limit: a handler needs a deadline.",
                )
            self._step(left)
        return found

    def quiet(self, seconds: float) -> None:
        """See that no more comes. Raises ``Fault`` for bytes that nobody asked for."""
        until = time.monotonic() + seconds
        while self.stdout_open and (left := until - time.monotonic()) > 0:
            self._step(left)
        if self.buffer.take() is not None:
            raise Fault(
                "There were more replies than requests.",
                "Write exactly one frame for each request: the next message gets the one too many.",
            )
        if self.buffer.pending:
            raise self.buffer.unfinished()

    def end_input(self) -> None:
        """Close its stdin once everything is written."""
        until = time.monotonic() + self._timeout_s
        while self._to_write and self.stdin_open and (left := until - time.monotonic()) > 0:
            self._step(left)
        self._close_stdin()

    def signal(self, number: int) -> None:
        """Send it a signal, if it is still there."""
        with contextlib.suppress(ProcessLookupError):
            self._popen.send_signal(number)

    def exit_code(self, timeout_s: float) -> int | None:
        """Its exit code, reading on until it has ended; None if it does not end in time."""
        until = time.monotonic() + timeout_s
        while (self.stdout_open or self._popen.poll() is None) and (left := until - time.monotonic()) > 0:
            self._step(min(left, 0.05))
        return self._popen.poll()

    def rest(self) -> list[bytes]:
        """The whole frames that have come."""
        found = []
        while (body := self.buffer.take()) is not None:
            found.append(body)
        return found

    def close(self) -> None:
        """End it, whatever it is doing."""
        self._close_stdin()
        if self._popen.poll() is None:
            try:
                self._popen.wait(0.2)
            except subprocess.TimeoutExpired:
                self._popen.kill()
                self._popen.wait()
        while self.stdout_open and self._step(0.0):
            pass
        self._selector.close()
        for stream in (self._popen.stdout, self._popen.stderr):
            assert stream is not None
            stream.close()

    def _ended(self, missing: int) -> Fault:
        code = self.exit_code(1.0)
        if self.buffer.pending:
            return self.buffer.unfinished()
        return Fault(
            f"It {ending(code)} while {missing} of its requests had no reply.{said(bytes(self.stderr))}",
            "A request that fails is answered with a failure, and the process goes on: catch what is thrown.",
        )

    def _step(self, timeout_s: float) -> bool:
        """Wait for something to happen, for at most so long; False if nothing did."""
        if self._to_write and self.stdin_open and not self._listening:
            self._selector.register(self._in, selectors.EVENT_WRITE)
            self._listening = True
        happened = False
        for key, _ in self._selector.select(max(0.0, timeout_s)):
            happened = True
            if key.fd == self._in:
                self._write()
                continue
            try:
                data = os.read(key.fd, PIECE)
            except BlockingIOError:
                continue
            if not data:
                self._selector.unregister(key.fd)
                self.stdout_open = self.stdout_open and key.fd != self._out
            elif key.fd == self._out:
                self.buffer.feed(data)
                self.stdout_bytes += len(data)
            else:
                self.stderr += data[: max(0, KEPT_STDERR - len(self.stderr))]
        if not happened and not self._selector.get_map():
            time.sleep(max(0.0, min(timeout_s, 0.01)))  # both closed: only its end is left to wait for
        return happened

    def _write(self) -> None:
        try:
            written = os.write(self._in, self._to_write[: 16 * PIECE]) if self.stdin_open else 0
            self._to_write = self._to_write[written:]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._to_write = memoryview(b"")
            self._close_stdin()
        if not self._to_write and self._listening:
            self._selector.unregister(self._in)
            self._listening = False

    def _close_stdin(self) -> None:
        if self._listening:
            self._selector.unregister(self._in)
            self._listening = False
        if self.stdin_open:
            self.stdin_open = False
            assert self._popen.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                self._popen.stdin.close()


@contextlib.contextmanager
def talking(talk: Talk) -> Iterator[Talk]:
    """Close the process in the end."""
    try:
        yield talk
    finally:
        talk.close()


def ending(code: int | None) -> str:
    """How a process ended, in words."""
    if code is None:
        return "closed its stdout"
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def said(stderr: bytes) -> str:
    """What a process says of its end on stderr, as a sentence."""
    line = last_words(stderr.decode("utf-8", "replace"))
    if line.startswith(CRASHES):
        return f" It crashed: {shorten(clean(line), 120)}"
    return f" Its last line on stderr: {shorten(clean(line), 120)}" if line else ""
