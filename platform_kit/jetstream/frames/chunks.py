"""A stream as frames one after the other, for streams larger than memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, Self

from platform_kit.jobs import Job, LoopThread, Meter, Progress

if TYPE_CHECKING:
    import pandas as pd


class Chunks:
    """Frames of a stream, made when they are asked for: ``for frame in chunks`` or ``async for frame in
    chunks``.

    While you work on one, no more than a few megabytes of the next are fetched. The end is the stream's last
    message at the moment of the first chunk. ``close()`` (or ``with``) ends it early; so does letting go of
    it.

    Example
    -------
    >>> from platform_kit import Platform
    >>> with Platform(workers=0) as platform:
    ...     sizes = [len(chunk) for chunk in platform.read_chunks("CARD_RESULTS", rows=50_000)]
    >>> sizes
    []
    """

    def __init__(
        self,
        loop: LoopThread,
        make: Callable[[Meter], AsyncIterator[pd.DataFrame]],
        *,
        name: str,
        limit_s: float,
    ) -> None:
        self._loop = loop
        self._name = name
        self._limit_s = limit_s
        self._meter = Meter()
        self._frames: Any = make(self._meter)
        self._ended = False

    @property
    def progress(self) -> Progress:
        """How many messages have come, of how many at most."""
        return self._meter.progress

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> pd.DataFrame:
        frame = self._ask().wait(progress=False)
        if frame is None:
            raise StopIteration
        return frame

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> pd.DataFrame:
        frame = await self._ask()
        if frame is None:
            raise StopAsyncIteration
        return frame

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ended = True
        await self._loop.submit(self._frames.aclose(), name=self._name, progress=False)

    def close(self) -> None:
        """Stop reading; what was begun is let go of. May be called twice."""
        self._ended = True
        if self._loop.running:
            self._loop.run(self._frames.aclose(), 10.0)

    def __repr__(self) -> str:
        return f"<Chunks of {self._name}: {self.progress}>"

    def _ask(self) -> Job[pd.DataFrame | None]:
        return self._loop.submit(self._next(), name=self._name, progress=False, stall_timeout_s=self._limit_s)

    async def _next(self) -> pd.DataFrame | None:
        if self._ended:
            return None
        try:
            frame: pd.DataFrame = await anext(self._frames)
            return frame
        except StopAsyncIteration:
            self._ended = True
            return None
