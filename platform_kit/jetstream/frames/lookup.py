"""Questions to JetStream before a transfer: is the stream there, which streams take a subject."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from platform_kit.errors import NotRunningError, StreamError

if TYPE_CHECKING:
    from nats.aio.client import Client

TIMEOUT_S = 5.0
_STREAM_NOT_FOUND = 10059


@dataclass(frozen=True)
class StreamState:
    """What a transfer needs to know of a stream."""

    name: str
    subjects: tuple[str, ...]
    messages: int
    bytes: int
    first: int
    last: int


async def ask(client: Client, subject: str, request: object = None) -> dict[str, Any]:
    """One question to JetStream's API, and its answer, an error included.

    Errors: ``NotRunningError`` when nothing answers within five seconds, which a missing permission looks
    like too.
    """
    from nats.errors import Error

    body = b"" if request is None else json.dumps(request).encode()
    try:
        reply = await client.request(f"$JS.API.{subject}", body, timeout=TIMEOUT_S)
    except (Error, TimeoutError, OSError) as error:
        raise NotRunningError(
            f"JetStream did not answer $JS.API.{subject}: {error or type(error).__name__}.",
            hint="Is the server up (platform.status()), and may this role ask?",
        ) from error
    answer: dict[str, Any] = json.loads(reply.data)
    return answer


async def stream_state(client: Client, name: str) -> StreamState:
    """The stream as it is now. Errors: ``StreamError`` for one that is not there, naming those there are."""
    answer = await ask(client, f"STREAM.INFO.{name}")
    if error := answer.get("error"):
        if error.get("err_code") != _STREAM_NOT_FOUND:
            raise StreamError(f"nats-server refused to tell of {name}: {error.get('description')}.")
        known = await stream_names(client)
        shown = ", ".join(known[:20]) + (", …" if len(known) > 20 else "")
        raise StreamError(
            f"There is no stream {name!r}.",
            hint=f"There are {shown}." if known else "There are no streams at all.",
        )
    state, config = answer["state"], answer["config"]
    return StreamState(
        name,
        tuple(config.get("subjects") or ()),
        state["messages"],
        state["bytes"],
        state["first_seq"],
        state["last_seq"],
    )


async def stream_names(client: Client, subject: str | None = None) -> list[str]:
    """The streams, or those that take (some of) a subject."""
    request = {"subject": subject} if subject is not None else {}
    answer = await ask(client, "STREAM.NAMES", request)
    return sorted(answer.get("streams") or ())


async def require_stream_for(client: Client, pattern: str) -> list[str]:
    """The streams that take some of these subjects.

    Errors: ``StreamError`` where there are none, naming the streams and their subjects.
    """
    found = await stream_names(client, pattern)
    if found:
        return found
    answer = await ask(client, "STREAM.LIST", {})
    known = [
        f"{item['config']['name']} takes {', '.join(item['config'].get('subjects') or ['nothing'])}"
        for item in (answer.get("streams") or [])[:10]
    ]
    raise StreamError(
        f"No stream takes {pattern!r}, so nothing would be stored.",
        hint=f"{'; '.join(known)}." if known else "Create a stream with this subject first.",
    )


def overlaps(one: str, other: str) -> bool:
    """Whether some subject matches both of two patterns.

    >>> overlaps("cards.*.7", "cards.>"), overlaps("cards.a", "cards.a.b")
    (True, False)
    """
    left, right = one.split("."), other.split(".")
    for a, b in zip(left, right, strict=False):
        if a == ">" or b == ">":
            return True
        if a != b and "*" not in (a, b):
            return False
    return len(left) == len(right)
