"""Threads that prove pictures and write them, and tell the event loop in batches what is done."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from platform_kit.cards.output_folder import OutputFolder
from platform_kit.cards.pictures import prove

THREADS = 2
"""One keeps up with a disk of this machine and costs least; the second writes while the first waits."""

Done = Callable[[Path | BaseException], None]


@dataclass(frozen=True)
class _Order:
    card_id: str
    digest: str
    image: str
    data: bytes | bytearray
    done: Done


class FileWriter:
    """Writes pictures into a folder, off the event loop.

    A thread of its own costs less than one borrowed for each file: all a file takes is a place in a queue,
    and the loop is woken once for all that is done by then.

    Parameters
    ----------
    folder: Where to write; open for as long as the writer is.

    Use as an async context manager, on the loop that asks. At its end what was begun is finished, and what
    was not is left.
    """

    def __init__(self, folder: OutputFolder) -> None:
        self._folder = folder
        self._loop: asyncio.AbstractEventLoop
        self._orders: queue.SimpleQueue[_Order | None] = queue.SimpleQueue()
        self._results: deque[tuple[Done, Path | BaseException]] = deque()
        self._telling = False
        self._closed = False
        self._threads = [
            threading.Thread(target=self._main, name=f"platform-kit-files-{number}", daemon=True)
            for number in range(THREADS)
        ]

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        for thread in self._threads:
            thread.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closed = True
        for _thread in self._threads:
            self._orders.put(None)
        joining = asyncio.ensure_future(asyncio.to_thread(self._join))
        try:
            await asyncio.shield(joining)
        except asyncio.CancelledError:
            # The threads go on by themselves; the folder is not given up before they have ended.
            await asyncio.wait([joining])
            raise

    def put(self, card_id: str, digest: str, image: str, data: bytes | bytearray, done: Done) -> None:
        """Have a picture written; ``done`` is called on the loop with its file, or with what went wrong.

        Parameters as :meth:`OutputFolder.write`; a picture whose digest is not ``image`` is a ``RunError``.
        """
        self._orders.put(_Order(card_id, digest, image, data, done))

    async def write(self, card_id: str, digest: str, image: str, data: bytes | bytearray) -> Path:
        """:meth:`put`, and wait for it."""
        future: asyncio.Future[Path] = self._loop.create_future()

        def done(result: Path | BaseException) -> None:
            if future.done():  # nobody waits any more
                return
            if isinstance(result, Path):
                future.set_result(result)
            else:
                future.set_exception(result)

        self.put(card_id, digest, image, data, done)
        return await future

    def _main(self) -> None:
        while (order := self._orders.get()) is not None:
            if self._closed:
                continue
            result: Path | BaseException
            try:
                prove(order.data, order.image)
                result = self._folder.write(order.card_id, order.digest, order.image, order.data)
            except BaseException as error:
                result = error
            self._results.append((order.done, result))
            if not self._telling:
                self._telling = True
                with contextlib.suppress(RuntimeError):  # the loop has ended
                    self._loop.call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        self._telling = False  # before it looks: what comes from now on may tell again
        while self._results:
            done, result = self._results.popleft()
            done(result)

    def _join(self) -> None:
        for thread in self._threads:
            thread.join()
