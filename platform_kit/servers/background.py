"""The state file of a platform that runs in the background of a folder.

``platform-kit start`` keeps a process of its own running and writes here what others need to find it:
addresses, the credentials' folder, and what its services are doing. No secret is in it; mode 0600.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from platform_kit.servers.credentials import write_private
from platform_kit.servers.supervisor import ServiceState, State

FOLDER = ".platform"


@dataclass(frozen=True)
class BackgroundState:
    """What is known of the platform in a folder.

    ``pid`` and ``pid_created`` together name the process: a process id alone is used again.
    """

    pid: int
    pid_created: float
    ready: bool
    data_dir: str
    durability: str
    nats_url: str = ""
    wombat_url: str = ""
    credentials: str = ""
    problem: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    services: list[ServiceState] = field(default_factory=list)

    def is_alive(self) -> bool:
        """Whether the process that wrote this is still there."""
        import psutil

        try:
            process = psutil.Process(self.pid)
            # Ended, but nobody collected it yet: in a container the first process may never do so.
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            return abs(process.create_time() - self.pid_created) < 1.0
        except psutil.Error:
            return False


def state_path(folder: Path) -> Path:
    """Where the state of the platform in ``folder`` is written."""
    return folder / FOLDER / "state.json"


def write_state(folder: Path, state: BackgroundState) -> None:
    """Write the state, complete or not at all."""
    path = state_path(folder)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    content = asdict(state)
    content["services"] = [{**asdict(service), "state": service.state.value} for service in state.services]
    write_private(path, json.dumps(content, indent=1).encode())


def read_state(folder: Path) -> BackgroundState | None:
    """The state of the platform in ``folder``; None if there is none, or it cannot be read."""
    try:
        content: dict[str, Any] = json.loads(state_path(folder).read_text())
        services = [
            ServiceState(**{**item, "state": State(item["state"])}) for item in content.pop("services")
        ]
        state = BackgroundState(**content, services=services)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    # Whatever else somebody wrote there, these three decide whose process is asked to end.
    well_formed = (
        type(state.pid) is int
        and state.pid > 0
        and isinstance(state.pid_created, float)
        and bool(state.data_dir)
    )
    return state if well_formed else None
