"""A stream and a consumer as objects of a cell: what they hold now, and what one does with them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from platform_kit.errors import OptionError, PlatformKitError
from platform_kit.jetstream import management, values
from platform_kit.jetstream.api import Api
from platform_kit.jetstream.consumer_options import CONSUMER_OPTIONS
from platform_kit.jetstream.info import ConsumerInfo, StreamInfo, consumer_frame
from platform_kit.jetstream.options import Difference, takes
from platform_kit.jetstream.stream_options import STREAM_OPTIONS
from platform_kit.jobs import LoopThread, Meter
from platform_kit.reprs import Shown, StatusCard, Table

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")
LOOK_S = 30.0
"""The limit of one call, which may be several requests."""
READ_STALL_S = 10.0
"""After this long without a message, reading is given up."""


class Caller:
    """Runs requests on the platform's loop, over the connection it has at that moment.

    Parameters
    ----------
    loop: The platform's loop.
    api: Gives the connection; raises ``NotRunningError`` where there is none.
    """

    def __init__(self, loop: LoopThread, api: Callable[[], Api]) -> None:
        self._loop = loop
        self._api = api

    def __call__(self, ask: Callable[[Api], Coroutine[Any, Any, T]]) -> T:
        """Run a call of a few requests and wait for its result."""
        api = self._api()
        return self._loop.run(ask(api), LOOK_S)

    def reading(self, read: Callable[[Api, Meter], Coroutine[Any, Any, T]], name: str) -> T:
        """Run one that reads messages, for as long as they come, with a progress bar."""
        api = self._api()
        job = self._loop.submit(
            lambda meter: read(api, meter), name=name, unit="message", stall_timeout_s=READ_STALL_S
        )
        return job.wait()


class Changes(Shown):
    """What an update has changed; empty, and false, if nothing had to be.

    Attributes
    ----------
    differences: Option, old and new of each.
    """

    def __init__(self, what: str, differences: list[Difference]) -> None:
        self.what = what
        self.differences = tuple(differences)

    def __bool__(self) -> bool:
        return bool(self.differences)

    def __len__(self) -> int:
        return len(self.differences)

    @property
    def options(self) -> tuple[str, ...]:
        """The names of the options that changed."""
        return tuple(item.option for item in self.differences)

    def text(self) -> str:
        """The table as text."""
        return self._table().text() if self else f"{self.what}: nothing to change"

    def html(self) -> str:
        """The table as HTML."""
        return self._table().html()

    def _table(self) -> Table:
        rows = [(item.option, item.old_text, item.new_text) for item in self.differences]
        caption = f"{self.what}: {'changed' if self else 'nothing to change'}"
        return Table(["option", "was", "is"], rows, caption=caption)


class Stream(Shown):
    """One stream of the server; it shows itself as it is at that moment, with its consumers.

    Attributes
    ----------
    name: The stream's name.

    Example
    -------
    >>> from platform_kit import Platform
    >>> with Platform(workers=0) as platform:
    ...     stream = platform.create_stream("ORDERS", subjects=["orders.>"], max_age="1h")
    ...     worker = stream.create_consumer("billing", ack_wait="10s")
    ...     changes = stream.update(max_age="2h", max_msgs=1000)
    >>> print(changes)
    ORDERS: changed
    option    was       is
    ────────  ────────  ─────
    max_msgs  no limit  1,000
    max_age   1h        2h
    """

    def __init__(self, call: Caller, name: str) -> None:
        self.name = name
        self._call = call

    # ------------------------------------------------------------------ what it holds

    def info(self) -> StreamInfo:
        """Everything the server says of it now. Errors: ``StreamError`` if it is gone."""
        return StreamInfo.of(self._call(lambda api: management.stream_info(api, self.name)))

    @property
    def config(self) -> dict[str, Any]:
        """Its options that are not the default; ``create_stream(other, **config)`` makes one like it."""
        return self.info().config

    @property
    def messages(self) -> int:
        """How many messages it holds."""
        return self.info().messages

    @property
    def first(self) -> int:
        """The sequence of its first message."""
        return self.info().first_sequence

    @property
    def last(self) -> int:
        """The sequence of its last message."""
        return self.info().last_sequence

    def text(self) -> str:
        """The card as text."""
        return self._card().text()

    def html(self) -> str:
        """The card as HTML."""
        return self._card().html()

    def _card(self) -> StatusCard:
        try:
            info, consumers = self._call(self._look)
        except PlatformKitError as error:
            return StatusCard(self.name, "unknown", {"reason": error.what, "what to do": error.hint or None})
        return info.card(consumers)

    async def _look(self, api: Api) -> tuple[StreamInfo, list[ConsumerInfo]]:
        info = StreamInfo.of(await management.stream_info(api, self.name))
        infos = await management.consumer_infos(api, self.name) if info.consumers else []
        return info, [ConsumerInfo.of(item, info.last_sequence) for item in infos]

    # ------------------------------------------------------------------ what one does with it

    @takes(STREAM_OPTIONS)
    def update(self, **options: object) -> Changes:
        """Change the options that are given, leave the others, and return what has changed.

        An option given as None gets its default. What cannot be changed is named before anything is sent.

        Errors: ``OptionError``, ``StreamError``.
        """
        changed = self._call(lambda api: management.update_stream(api, self.name, options))
        return Changes(self.name, changed)

    def purge(
        self, *, subject: str | None = None, keep: int | None = None, up_to_sequence: int | None = None
    ) -> int:
        """Remove messages for good, and return how many.

        Parameters
        ----------
        subject: Only those of this subject; wildcards allowed.
        keep: All but this many of the latest.
        up_to_sequence: Only those before this sequence, which itself stays.

        Errors: ``OptionError``, ``StreamError``.
        """
        return self._call(
            lambda api: management.purge_stream(
                api, self.name, subject=subject, keep=keep, up_to_sequence=up_to_sequence
            )
        )

    def delete(self) -> bool:
        """Delete it with its messages and consumers; False if it was gone."""
        return self._call(lambda api: management.delete_stream(api, self.name))

    # ------------------------------------------------------------------ its consumers

    @takes(CONSUMER_OPTIONS)
    def create_consumer(self, name: str, **options: object) -> Consumer:
        """Create a consumer; one that is there with the same options is left as it is.

        It is durable and wants explicit acks, unless ``durable_name=""`` and ``ack_policy`` say otherwise.

        Errors: ``OptionError`` that lists every wrong option, before anything is sent; ``ExistsError`` if it
        is there with other options, saying which; ``StreamError``.
        """
        self._call(lambda api: management.create_consumer(api, self.name, name, options))
        return Consumer(self._call, self.name, name)

    def consumer(self, name: str) -> Consumer:
        """A consumer that is there. Errors: ``StreamError`` naming those there are."""
        self._call(lambda api: management.consumer_info(api, self.name, name))
        return Consumer(self._call, self.name, name)

    def consumers(self) -> pd.DataFrame:
        """Its consumers, one row each: pending, ack_pending, redelivered, waiting, lag and more."""
        return consumer_frame(self._call(self._look)[1])

    def delete_consumer(self, name: str) -> bool:
        """Delete a consumer; False if there was none of this name."""
        return self._call(lambda api: management.delete_consumer(api, self.name, name))


class Consumer(Shown):
    """One consumer of a stream; it shows itself as it is at that moment.

    Attributes
    ----------
    name, stream: Its name and its stream's.
    """

    def __init__(self, call: Caller, stream: str, name: str) -> None:
        self.name = name
        self.stream = stream
        self._call = call

    def info(self) -> ConsumerInfo:
        """Everything the server says of it now. Errors: ``StreamError`` if it is gone."""

        async def look(api: Api) -> ConsumerInfo:
            answer = await management.consumer_info(api, self.stream, self.name)
            stream = StreamInfo.of(await management.stream_info(api, self.stream))
            return ConsumerInfo.of(answer, stream.last_sequence)

        return self._call(look)

    @property
    def config(self) -> dict[str, Any]:
        """Its options that are not the default; ``create_consumer(other, **config)`` makes one like it."""
        config = self.info().config
        config.pop("durable_name", None)
        return config

    @takes(CONSUMER_OPTIONS, but=["durable_name"])
    def update(self, **options: object) -> Changes:
        """Change the options that are given, leave the others, and return what has changed.

        Errors: as :meth:`Stream.update`.
        """
        changed = self._call(lambda api: management.update_consumer(api, self.stream, self.name, options))
        return Changes(self.name, changed)

    def pause(self, until: object) -> None:
        """Deliver nothing for a duration such as "10m", or until a moment (a datetime, or RFC 3339).

        Errors: ``OptionError``, ``StreamError``.
        """
        moment = _moment(until)
        self._call(lambda api: management.pause_consumer(api, self.stream, self.name, moment))

    def resume(self) -> None:
        """Deliver again at once."""
        self._call(lambda api: management.pause_consumer(api, self.stream, self.name, None))

    def delete(self) -> bool:
        """Delete it; False if it was gone."""
        return self._call(lambda api: management.delete_consumer(api, self.stream, self.name))

    def text(self) -> str:
        """The card as text."""
        return self._shown().text()

    def html(self) -> str:
        """The card as HTML."""
        return self._shown().html()

    def _shown(self) -> Shown:
        try:
            return self.info()
        except PlatformKitError as error:
            return StatusCard(self.name, "unknown", {"reason": error.what, "what to do": error.hint or None})


def _moment(until: object) -> str:
    """A duration from now, or a moment."""
    try:
        if isinstance(until, datetime) or (isinstance(until, str) and "T" in until):
            return values.time_text(until)
        ahead = timedelta(microseconds=values.duration_ns(until) // 1000)
        return values.time_text(datetime.now(UTC) + ahead)
    except (ValueError, OverflowError):
        forms = f"{values.DURATION_FORMS}, or {values.TIME_FORMS}"
        raise OptionError(
            "Not a pause, nothing was sent",
            [f"until: {until!r:.100} is not possible; it takes {forms}"],
        ) from None
