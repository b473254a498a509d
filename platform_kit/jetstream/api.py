"""One request to JetStream's API and one answer, or an error that says what was wrong.

Requests are made of JSON under the server's own names, because nats-py's classes lack some of the options.
API: https://docs.nats.io/reference/reference-protocols/nats_api_reference
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from platform_kit.errors import NotRunningError, StreamError
from platform_kit.jetstream.connection import server_errors

if TYPE_CHECKING:
    from nats.aio.client import Client

T = TypeVar("T")
PREFIX = "$JS.API."
REQUEST_S = 5.0
"""How long an answer may take, reconnecting included."""
STREAM_NOT_FOUND = 10059
CONSUMER_NOT_FOUND = 10014
STREAM_NAME_IN_USE = 10058
SUBJECT_OVERLAP = 10065
CONSUMER_EXISTS = 10148
CONSUMER_MISSING = 10149
UNAVAILABLE = 10008
"""JetStream is still recovering its streams after a restart."""
HINTS: Mapping[int, str] = {
    10074: "num_replicas above 1 needs a cluster, and this is one server.",
    10023: "Ask for less with max_bytes, or delete a stream that is not needed.",
    10028: "Ask for less with max_bytes, or delete a stream that is not needed.",
    10047: "Ask for less with max_bytes, or delete a stream that is not needed.",
    10099: 'With retention="workqueue" each message has one consumer: let filter_subject tell them apart.',
    10100: 'With retention="workqueue" each message has one consumer: let filter_subject tell them apart.',
    10039: "JetStream has to be enabled for this account.",
    10076: "JetStream has to be enabled in this server.",
}
"""What to do about some of the server's reasons."""
_VIOLATION = re.compile(r'permissions violation for (publish|subscription) to "([^"]*)"', re.IGNORECASE)
_PAUSE_S = 0.05


class Api:
    """JetStream's API over one connection.

    Parameters
    ----------
    client: A client made by :func:`~platform_kit.jetstream.connection.connect`.
    who: Whose key it connected with, in words; for errors about permissions.
    timeout_s: The limit of each request.
    """

    def __init__(self, client: Client, *, who: str = "this connection", timeout_s: float = REQUEST_S) -> None:
        self.client = client
        self.who = who
        self.timeout_s = timeout_s

    @property
    def server_version(self) -> str:
        """The version of the server that is connected; empty while none is."""
        version = self.client.connected_server_version
        return f"{version.major}.{version.minor}.{version.patch}" if version.major else ""

    async def request(
        self, subject: str, body: Mapping[str, Any] | None = None, *, what: str
    ) -> dict[str, Any]:
        """Ask and return the answer.

        Parameters
        ----------
        subject: After ``$JS.API.``.
        body: Becomes JSON.
        what: What is asked for, for errors: "create the stream ORDERS".

        Errors: ``StreamError`` when the server refuses, or does not let one; ``NotRunningError`` when it does
        not answer within the limit. What could not be sent in this time is not sent later.
        """
        deadline = time.monotonic() + self.timeout_s
        payload = json.dumps(body).encode() if body is not None else b""
        while True:
            await self._connected(deadline, what)
            answer = await self._ask(PREFIX + subject, payload, deadline, what)
            error = answer.get("error")
            if error is None:
                return answer
            code = int(error.get("err_code", 0))
            if code != UNAVAILABLE or time.monotonic() + _PAUSE_S >= deadline:
                reason = str(error.get("description") or error)
                raise StreamError(f"Could not {what}: {reason}.", hint=HINTS.get(code, ""), err_code=code)
            await asyncio.sleep(_PAUSE_S)

    async def pages(
        self, subject: str, items: str, body: Mapping[str, Any] | None = None, *, what: str
    ) -> AsyncIterator[Any]:
        """The items of a list the server gives page by page."""
        offset, total = 0, 1
        while offset < total:
            answer = await self.request(subject, {**(body or {}), "offset": offset}, what=what)
            page = answer.get(items) or []
            for item in page:
                yield item
            offset, total = offset + len(page), int(answer.get("total", 0)) if page else 0

    async def _connected(self, deadline: float, what: str) -> None:
        # A request made without a connection is kept and sent when there is one again, minutes after its
        # caller was told that it failed.
        while not self.client.is_connected:
            if self.client.is_closed or time.monotonic() >= deadline:
                gone = "is closed" if self.client.is_closed else f"was not back within {self.timeout_s:g} s"
                raise NotRunningError(
                    f"Could not {what}: the connection to nats-server {gone}. Nothing was sent.",
                    hint="platform.status() says whether it runs, platform.logs('nats-server') why not.",
                )
            await asyncio.sleep(_PAUSE_S)

    async def _ask(self, subject: str, payload: bytes, deadline: float, what: str) -> dict[str, Any]:
        from nats.errors import Error, NoRespondersError

        left = max(0.05, deadline - time.monotonic())
        try:
            message = await self.allowed(self.client.request(subject, payload, timeout=left), what, subject)
            answer = json.loads(message.data)
        except NoRespondersError:
            raise StreamError(
                f"Could not {what}: nobody answers for JetStream.",
                hint="JetStream is off in this server or this account, or just starting: try again.",
            ) from None
        except (Error, TimeoutError, OSError) as error:
            raise NotRunningError(
                f"Could not {what}: no answer from nats-server within {self.timeout_s:g} s{_reason(error)}. "
                "It may have been done.",
                hint="platform.status() says whether it runs, platform.logs('nats-server') why not.",
            ) from error
        if not isinstance(answer, dict):
            raise StreamError(f"Could not {what}: JetStream answered {answer!r:.100}.")
        return answer

    async def allowed(self, asking: Coroutine[Any, Any, T], what: str, subject: str = "") -> T:
        """Run a call, unless the server says that this key may not do what it needs.

        The server says so of the connection, not of the request, which then is never answered. With
        ``subject``, what it says of publishing to others is not about this call.
        """
        violated: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        inbox = self.client.new_inbox().rpartition(".")[0].lower()

        def hear(error: str) -> None:
            found = _VIOLATION.search(error)
            if found is None or violated.done():
                return
            answers = found[1].lower() == "subscription" and found[2].lower().startswith(inbox)
            if answers or found[2].lower() == subject.lower() or not subject:
                violated.set_result(error)

        with server_errors(self.client, hear) as earlier:
            for known in earlier:
                # Said once for a connection, when it first subscribed to its answers.
                if "for subscription" in known:
                    hear(known)
            task = asyncio.ensure_future(asking)
            try:
                both: set[asyncio.Future[Any]] = {task, violated}
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
                if task.done():
                    return task.result()
                raise self._forbidden(violated.result(), what)
            finally:
                violated.cancel()
                if not task.done():
                    task.cancel()
                    await asyncio.wait({task})

    def _forbidden(self, error: str, what: str) -> StreamError:
        found = _VIOLATION.search(error)
        assert found is not None
        if found[1].lower() == "subscription":
            return StreamError(
                f"Could not {what}: {self.who} may not subscribe to {found[2]}, where answers would come.",
                hint="Attach with its inbox_prefix; those of a platform's roles are _INBOX_<role>.",
            )
        return StreamError(
            f"Could not {what}: {self.who} may not publish to {_as_written(found[2])}.",
            hint="Use a key that may, such as the role admin's, or have the permission added.",
        )


def _as_written(subject: str) -> str:
    """The subject of the API again in capitals: the client hands errors on in lower case."""
    return subject.upper() if subject.startswith(PREFIX.lower()) else subject


def _reason(error: BaseException) -> str:
    text = str(error).removeprefix("nats: ")
    return f" ({text})" if text and not isinstance(error, TimeoutError) else ""
