"""What the verbs of a platform stand on: its loop, its settings, and what is behind it once it runs."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from platform_kit import binaries
from platform_kit.backing import Backing
from platform_kit.errors import NotRunningError, UsageError
from platform_kit.jobs import LoopThread
from platform_kit.servers.fleet import LIMIT
from platform_kit.servers.status import PlatformStatus, platform_status
from platform_kit.servers.supervisor import ServiceState
from platform_kit.servers.wombat import WombatClient
from platform_kit.settings import Settings


class Verbs:
    """A platform as its verbs see it; :class:`platform_kit.platform.Platform` joins them."""

    settings: Settings
    durability: str
    _data_dir: Path | None
    _lock: threading.RLock
    _loop: LoopThread
    _backing: Backing | None

    @property
    def wombat(self) -> WombatClient:
        """Wombat's HTTP interface, authenticated. Raises ``NotRunningError``."""
        if self._backing is not None and self._backing.wombat is not None:
            return self._backing.wombat
        raise NotRunningError(
            "There is no Wombat here.",
            hint="Start the platform, or attach with wombat_url= and wombat_password=.",
        )

    @property
    def data_dir(self) -> Path | None:
        """The folder with streams, credentials and logs; None for a remote platform, or while stopped."""
        return self._backing.data_dir if self._backing is not None else self._data_dir

    def status(self) -> PlatformStatus:
        """Services, versions, ports, uptime, memory and restarts; shows itself as a card or as text."""
        states, versions = self.service_states()
        backing = self._backing
        return platform_status(
            states,
            versions,
            nats_url=backing.endpoint("admin").url if backing is not None else None,
            wombat_url=backing.wombat.url if backing is not None and backing.wombat is not None else None,
            data_dir=self.data_dir,
            durability=self.durability,
            attached=backing is not None and backing.attached,
        )

    def service_states(self) -> tuple[Sequence[ServiceState], dict[str, str]]:
        """Each process as its supervisor sees it, and the versions of the binaries."""
        if self._backing is None:
            return (), {item.name: item.version for item in binaries.inventory(self.settings)}
        states, versions = self._backing.states()
        return states, dict(versions)

    def _require(self) -> Backing:
        if self._backing is None:
            raise NotRunningError("The platform is not running.", hint="Call platform.start() first.")
        return self._backing

    def _stall_limit(self, given: float | None) -> float:
        limit = self.settings.stall_timeout_s if given is None else given
        if not (isinstance(limit, (int, float)) and limit > 0):
            raise UsageError(f"stall_timeout_s={given!r}.", hint="Give seconds above zero.")
        return limit


def folder_path(value: object, name: str) -> Path | None:
    """The parameter ``name`` as the path of a folder; None stays None. Errors: ``UsageError``."""
    if value is None:
        return None
    if not isinstance(value, (str, Path)) or not str(value) or "\0" in str(value):
        raise UsageError(f"{name}={value!r} is not the path of a folder.", hint="Give a text or a Path.")
    return Path(value).expanduser()


def check_count(name: str, value: object, *, least: int) -> None:
    """The parameter ``name`` as a number of processes. Errors: ``UsageError``."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= LIMIT:
        raise UsageError(f"{name}={value!r}.", hint=f"Give a whole number from {least} to {LIMIT}.")
