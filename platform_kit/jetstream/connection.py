"""Connecting with the platform's credentials."""

from __future__ import annotations

import logging
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from platform_kit.errors import NotRunningError, SettingsError, UsageError

if TYPE_CHECKING:
    from nats.aio.client import Client

_log = logging.getLogger("platform_kit.nats")
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class _Errors:
    """What the server says of a connection without being asked: the last of it, and who wants to hear."""

    def __init__(self) -> None:
        self.last: deque[str] = deque(maxlen=8)
        self.listeners: list[Callable[[str], None]] = []


_ERRORS: weakref.WeakKeyDictionary[Client, _Errors] = weakref.WeakKeyDictionary()


@contextmanager
def server_errors(client: Client, listener: Callable[[str], None]) -> Iterator[deque[str]]:
    """Call ``listener``, on the client's loop, with each error the server reports of this connection.

    Gives those it reported before. Permission violations come this way: no answer to a request says them.
    """
    errors = _ERRORS.setdefault(client, _Errors())
    errors.listeners.append(listener)
    try:
        yield errors.last
    finally:
        errors.listeners.remove(listener)


@dataclass(frozen=True)
class Endpoint:
    """Where a NATS server is, and the file that lets one in.

    Parameters
    ----------
    url: ``nats://host:port``, or ``tls://host:port`` where the host is not this machine.
    credentials: A file with an nkey seed, or a ``.creds`` file (user JWT and seed); None for an open server.
    inbox: The prefix of reply subjects this role may subscribe to.
    """

    url: str
    credentials: Path | None
    inbox: str = "_INBOX"

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("nats", "tls") or not parts.hostname:
            raise UsageError(
                f"{self.url!r} is not a NATS address.", hint="Write nats://host:port or tls://host:port."
            )
        if parts.username or parts.password:
            raise UsageError(
                "The NATS address holds a user or password.",
                hint="Put the secret into a file and pass credentials=path: addresses end up in logs.",
            )
        if parts.scheme == "nats" and parts.hostname not in LOOPBACK:
            raise UsageError(
                f"{parts.hostname} is not this machine, and nats:// is not encrypted.",
                hint=f"Use tls://{parts.hostname}:{parts.port or 4222}.",
            )


async def connect(endpoint: Endpoint, *, name: str = "platform-kit", **options: Any) -> Client:
    """Return a connected nats-py client; it reconnects by itself for as long as it is open.

    ``options`` go to ``nats.connect``. Errors: ``NotRunningError`` when nobody answers or lets one in.
    """
    from nats.aio.client import Client
    from nats.errors import Error, NoServersError

    client = Client()
    reported = _ERRORS[client] = _Errors()

    async def log(error: Exception) -> None:
        _log.debug("nats: %s", error)
        reported.last.append(str(error))
        for listener in list(reported.listeners):
            listener(str(error))

    settings: dict[str, Any] = {
        "name": name,
        "error_cb": log,
        **client_options(endpoint),
        "connect_timeout": 5,
        "reconnect_time_wait": 0.05,
        "max_reconnect_attempts": -1,
        "ping_interval": 10,
        "pending_size": 16 * 1024 * 1024,
    }
    first_attempts = {"max_reconnect_attempts": 3} if "max_reconnect_attempts" not in options else {}
    try:
        await client.connect(endpoint.url, **{**settings, **options, **first_attempts})
    except BaseException as error:
        await client.close()  # the library leaves the socket of a refused connection open
        if not isinstance(error, (OSError, NoServersError, Error)):
            raise
        raise NotRunningError(
            f"No NATS server lets us in at {endpoint.url}: {error}",
            hint="Start the platform, or check the address and the credentials file.",
        ) from error
    # Only the first connection gives up; one that was established is kept for the platform's life.
    client.options["max_reconnect_attempts"] = options.get("max_reconnect_attempts", -1)
    return client


def client_options(endpoint: Endpoint) -> dict[str, str]:
    """What ``nats.connect`` needs to be let in; it holds the path of a secret, never the secret."""
    found = {"inbox_prefix": endpoint.inbox}
    if endpoint.credentials is not None:
        key = "user_credentials" if _is_jwt(endpoint.credentials) else "nkeys_seed"
        found[key] = str(endpoint.credentials)
    return found


def _is_jwt(path: Path) -> bool:
    try:
        return b"BEGIN NATS USER JWT" in path.read_bytes()
    except OSError as error:
        raise SettingsError(
            f"The credentials file {path} cannot be read: {error.strerror}.",
            hint="Pass a file with an nkey seed or a .creds file.",
        ) from error
