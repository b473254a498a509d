"""TCP ports of the loopback interface.

A port that is free now may be taken by somebody else before a server listens on it. The server then ends at
once, and whoever starts it tries another.
"""

from __future__ import annotations

import socket


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_free(port: int) -> bool:
    """Whether a server could listen on ``port`` now."""
    with socket.socket() as probe:
        # Connections of the last run may linger on the port; servers bind all the same.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def kept_or_free(port: int | None) -> int:
    """The port of an earlier start if it is free, else another."""
    return port if port is not None and is_free(port) else free_port()
