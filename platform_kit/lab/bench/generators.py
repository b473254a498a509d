"""The load generators of a bench, seen from the platform's loop: started once, told what to do, ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from typing import Any, Self

from platform_kit.errors import RunError
from platform_kit.jetstream.connection import Endpoint, client_options

LINE_BYTES = 2**24
START_S = 20.0
LEAD_S = 0.002
"""How long after the order everybody begins, so that nobody begins late."""


class Generator:
    """One process of :mod:`platform_kit.lab.bench.generator`.

    Errors: ``RunError`` when it does not answer in time, or has died.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls) -> Self:
        """Start the process; it needs a moment until it answers."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "platform_kit.lab.bench.generator",
            # The same hashes in each process: otherwise one in ten is some per cent slower than the others.
            env=os.environ | {"PYTHONHASHSEED": "0", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            limit=LINE_BYTES,
            process_group=0,
        )
        return cls(process)

    @property
    def alive(self) -> bool:
        """Whether it can be told something."""
        return self._process.returncode is None

    async def tell(self, message: dict[str, Any]) -> None:
        """Send one line."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            await self._process.stdin.drain()
        except (BrokenPipeError, ConnectionResetError) as error:
            raise RunError("A load generator has died.", hint="Run it again.") from error

    async def hear(self, timeout_s: float) -> dict[str, Any]:
        """The next line it says."""
        assert self._process.stdout is not None
        try:
            line = await asyncio.wait_for(self._process.stdout.readline(), timeout_s)
        except TimeoutError as error:
            raise RunError(f"A load generator said nothing for {timeout_s:g} s.") from error
        if not line:
            raise RunError("A load generator has died.", hint="The machine may be out of memory.")
        found: dict[str, Any] = json.loads(line)
        return found

    async def begin(self, spec: dict[str, Any]) -> None:
        """Let it do this alone, at once."""
        await self.tell({"connect": None} | spec)
        answer = await self.hear(START_S)
        if "ready" not in answer:
            raise RunError(str(answer.get("error", "A load generator could not begin.")))
        await self.tell({"go": 0})

    async def stop(self) -> None:
        """End it, kindly at first."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), 3.0)
        except (TimeoutError, asyncio.CancelledError):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            await self._process.wait()
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise


class Generators:
    """As many processes as the largest measurement needs; an asynchronous context manager.

    Parameters
    ----------
    endpoint: Where they connect, and with which credentials file.
    count: How many.
    """

    def __init__(self, endpoint: Endpoint, count: int) -> None:
        self._connect = client_options(endpoint) | {"name": "platform-kit-bench", "servers": [endpoint.url]}
        self._count = count
        self._all: list[Generator] = []

    async def __aenter__(self) -> Self:
        try:
            for _ in range(self._count):
                self._all.append(await Generator.start())
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End all."""
        everybody, self._all = self._all, []
        await asyncio.gather(*(one.stop() for one in everybody), return_exceptions=True)

    async def run(
        self, specs: Sequence[dict[str, Any]], *, limit_s: float, until: int | None = None
    ) -> list[dict[str, Any]]:
        """Let the first ``len(specs)`` processes do these, beginning in the same moment; what each counted.

        Parameters
        ----------
        limit_s: How long the measurement may take. Whoever does not answer by then is ended, and replaced.
        until: How many of them, from the last, only serve the others and are told to end after them.

        An entry with ``error`` and without counts is a generator that could not do it.
        """
        try:
            return await self._run(specs, limit_s, until or 0)
        except BaseException:
            # Nobody knows what they are doing now.
            await asyncio.shield(self.replace())
            raise

    async def _run(
        self, specs: Sequence[dict[str, Any]], limit_s: float, serving: int
    ) -> list[dict[str, Any]]:
        used = self._all[: len(specs)]
        for one, spec in zip(used, specs, strict=True):
            await one.tell({"connect": self._connect} | spec)
        ready = await asyncio.gather(*(one.hear(START_S) for one in used))
        if any("ready" not in answer for answer in ready):
            await asyncio.shield(self.replace())
            return [answer if "error" in answer else {} for answer in ready]
        start = time.monotonic_ns() + int(LEAD_S * 1e9)
        for one in used:
            await one.tell({"go": start})
        working = used[: len(used) - serving]
        answers = await asyncio.gather(*(one.hear(limit_s) for one in working))
        if serving:
            # The other end of a `ready` inside a role: told once more, it is to end.
            for one in used[len(working) :]:
                await one.tell({"go": 0})
            for one in used[len(working) :]:
                answer = await one.hear(START_S)
                answers.append(await one.hear(START_S) if "ready" in answer else answer)
        return answers

    def one(self, number: int) -> Generator:
        """One of them."""
        return self._all[number]

    async def replace(self) -> None:
        """New processes instead of these, of which nobody knows any more what they are doing."""
        await self.close()
        for _ in range(self._count):
            self._all.append(await Generator.start())
