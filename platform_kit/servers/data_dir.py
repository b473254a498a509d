"""A platform's folder on disk: temporary or kept, and held by one platform at a time."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import tempfile
import time
from pathlib import Path

from platform_kit.errors import StartupError
from platform_kit.servers.credentials import write_private

LOCK_WAIT_S = 4.0
"""Longer than a warden takes to end the servers of a kernel that was killed a moment ago."""


class DataDir:
    """The folder, locked. Layout: ``jetstream/ credentials/ config/ logs/ ports/ ports.json lock``.

    Parameters
    ----------
    path: A folder to keep, or None for a temporary one that :meth:`close` removes.

    Errors: ``StartupError`` when another platform holds it, or it cannot be written.
    """

    def __init__(self, path: Path | None) -> None:
        self.temporary = path is None
        self.lock_fd = -1
        if path is None:
            self.path = Path(tempfile.gettempdir()) / f"platform-kit-{secrets.token_hex(8)}"
            return
        self.path = Path(path).expanduser().resolve()
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            (self.path / "logs").mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise self._unusable("made", error) from error
        self.lock_fd = self._lock()

    def make(self) -> None:
        """Make a temporary folder, once somebody knows its name who removes it whatever happens.

        Errors: ``StartupError``.
        """
        if self.temporary:
            try:
                self.path.mkdir(mode=0o700)
                (self.path / "logs").mkdir(mode=0o700)
            except OSError as error:
                raise self._unusable("made", error) from error

    def ports(self) -> dict[str, int]:
        """The ports of an earlier start; empty if there was none."""
        try:
            found = json.loads((self.path / "ports.json").read_text())
        except (OSError, ValueError):
            return {}
        return {str(name): int(port) for name, port in found.items()} if isinstance(found, dict) else {}

    def keep_ports(self, ports: dict[str, int]) -> None:
        """Write the ports down, for the next start on this folder."""
        write_private(self.path / "ports.json", json.dumps(ports).encode())

    def close(self) -> None:
        """Let the folder go; a temporary one is removed."""
        if self.temporary:
            shutil.rmtree(self.path, ignore_errors=True)
        if self.lock_fd >= 0:
            os.close(self.lock_fd)
            self.lock_fd = -1

    def _lock(self) -> int:
        path = self.path / "lock"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise self._unusable("written", error) from error
        deadline = time.monotonic() + LOCK_WAIT_S
        try:
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        holder = os.pread(descriptor, 32, 0).decode().strip() or "unknown"
                        raise StartupError(
                            f"The data folder {self.path} is in use by the platform of process {holder}.",
                            hint="Stop that one, attach to it, or name another folder with data_dir=.",
                        ) from None
                    time.sleep(0.05)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _unusable(self, what: str, error: OSError) -> StartupError:
        return StartupError(
            f"The data folder {self.path} cannot be {what}: {error.strerror}.",
            hint="Set TMPDIR, or name another with Platform(data_dir=...).",
        )
