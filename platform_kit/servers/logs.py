"""The logs of a platform's services, by name."""

from __future__ import annotations

from pathlib import Path

from platform_kit.errors import UsageError
from platform_kit.servers.process import tail


def log_tail(folder: Path, service: str, lines: int) -> str:
    """The last lines of a service's log; a worker may be named without its number.

    Errors: ``UsageError`` for a service there is none of, naming those there are.
    """
    names = sorted(path.stem for path in folder.glob("*.log"))
    for name in (service, f"{service}-1"):
        if name in names:
            return tail(folder / f"{name}.log", lines)
    known = ", ".join(names) or "none: start the platform"
    raise UsageError(f"There is no log of {service!r}.", hint=f"There are {known}.")
