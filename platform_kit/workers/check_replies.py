"""What may come back from a worker, and what tells two answers apart when their content is not known."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from platform_kit.reprs import clean, shorten
from platform_kit.workers.check_report import Fault

ENVELOPE = "error envelope"
CODES = ("422", "500", "503", "504")
ENVELOPE_START = b'{"worker_error":'
MIB = 1024 * 1024
ROUNDS = 24
"""Requests sent at once to see whether their answers get mixed up."""


@dataclass(frozen=True)
class Reply:
    """An answer, or a failure with code and reason."""

    body: bytes
    code: str = ""
    reason: str = ""

    @property
    def exact(self) -> tuple[str, ...]:
        """All there is to tell it from another; answers by their bytes."""
        return (self.code, self.reason, self.body.hex() if not self.code else "")

    @property
    def kind(self) -> tuple[str, ...]:
        """The same without the content of an answer, which may hold times."""
        return (self.code, self.reason)

    def __str__(self) -> str:
        if self.code:
            return f"{self.code} {shorten(clean(self.reason), 60)}"
        return f"{len(self.body):,} bytes"


def frame_reply(body: bytes) -> Reply:
    """Read the body of a frame. Raises ``Fault`` for a failure that is not well formed."""
    if not body.startswith(ENVELOPE_START):
        return Reply(body)
    try:
        found = json.loads(body)["worker_error"]
    except (ValueError, KeyError, TypeError):
        raise _malformed("it is not the JSON object it begins as", body) from None
    if not isinstance(found, dict):
        raise _malformed("worker_error is no object", body)
    code = found.get("code")
    return Reply(body, *_checked(code, found, body))


def service_reply(headers: Mapping[str, str], body: bytes) -> Reply:
    """Read an answer of a micro service. Raises ``Fault`` for a failure that is not well formed."""
    code, reason = headers.get("Nats-Service-Error-Code"), headers.get("Nats-Service-Error")
    if code is None and reason is None:
        return Reply(body)
    if code is None or not reason:
        raise _malformed("one of the headers Nats-Service-Error-Code and Nats-Service-Error is missing", body)
    try:
        found = json.loads(body)
    except ValueError:
        raise _malformed("its body is not JSON", body) from None
    if not isinstance(found, dict):
        raise _malformed("its body is no JSON object", body)
    return Reply(body, *_checked(code, found, body))


def _checked(code: object, found: Mapping[str, object], body: bytes) -> tuple[str, str]:
    if code not in CODES:
        raise _malformed(f"its code is {code!r}, not one of {', '.join(CODES)}", body)
    reason = found.get("reason")
    if not isinstance(reason, str) or not reason:
        raise _malformed("it gives no reason", body)
    if "column" not in found or not isinstance(found["column"], (str, type(None))):
        raise _malformed("its column is neither a text nor null", body)
    return str(code), reason


def _malformed(why: str, body: bytes) -> Fault:
    shown = shorten(clean(body[:200].decode("utf-8", "replace")), 80)
    return Fault(
        f"A failure is not well formed: {why}. It was: {shown}",
        "A failure has a code (422, 500, 503 or 504), a reason, and a column that is a text or null.",
        check=ENVELOPE,
    )


@dataclass(frozen=True)
class Bodies:
    """The requests a check sends.

    Parameters
    ----------
    request: One that the worker may take: the user's own, or an empty JSON object.
    limit: The largest request the worker takes, in bytes, or None if it does not say.
    """

    request: bytes
    limit: int | None

    @property
    def large(self) -> bytes:
        """The request, filled up with spaces to 1 MiB or the limit: JSON stays JSON."""
        return self.request.ljust(min(MIB, self.limit or MIB))

    @property
    def too_large(self) -> bytes:
        """One byte above the limit."""
        assert self.limit is not None
        return self.request.ljust(self.limit + 1)

    def probes(self) -> list[bytes]:
        """Small requests that a worker is likely to answer differently."""
        return list(dict.fromkeys([self.request, b"", b"{}", b'{"probe":1}', b"[1]", b"\x00\xff", b"probe"]))


def distinct(probes: Sequence[bytes], ask: Callable[[bytes], Reply]) -> dict[bytes, Callable[[Reply], bool]]:
    """Of each kind of answer one request, with what its answer is known by.

    Each is asked twice: what changes from one time to the next, such as a duration in it, tells nothing.
    """
    found: dict[bytes, Callable[[Reply], bool]] = {}
    seen: set[tuple[str, ...]] = set()
    for body in probes:
        first, second = ask(body), ask(body)
        if first.exact == second.exact:
            known, test = first.exact, (lambda reply, exact=first.exact: reply.exact == exact)
        elif first.kind == second.kind:
            known, test = first.kind, (lambda reply, kind=first.kind: reply.kind == kind)
        else:
            continue
        if known not in seen:
            seen.add(known)
            found[body] = test
    return found


def shuffled(bodies: Sequence[bytes], rounds: int = ROUNDS) -> list[bytes]:
    """Requests in an order that is always the same, each kind several times."""
    return random.Random(7).choices(bodies, k=rounds)
