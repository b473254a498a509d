"""The pipelines a platform should run, as files, so that whoever restarts Wombat finds them.

Wombat itself forgets every stream when it ends.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from platform_kit.errors import UsageError
from platform_kit.servers.credentials import write_private


class PipelineStore:
    """One JSON file a pipeline in ``folder``; readable by several processes of this user."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, name: str, config: Mapping[str, Any]) -> None:
        """Keep a pipeline's configuration."""
        path = self._path(name)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(path, json.dumps(config).encode())

    def get(self, name: str) -> dict[str, Any] | None:
        """The configuration kept under this name, or None."""
        try:
            found: dict[str, Any] = json.loads(self._path(name).read_text())
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def remove(self, name: str) -> None:
        """Forget a pipeline."""
        self._path(name).unlink(missing_ok=True)

    def set_aside(self, name: str) -> Path:
        """Keep a pipeline that cannot be used under a name nobody deploys; returns its file."""
        path = self._path(name)
        aside = path.with_suffix(".refused")
        path.replace(aside)
        return aside

    def all(self) -> dict[str, dict[str, Any]]:
        """Every pipeline that is kept, by name."""
        found = {}
        for path in sorted(self._folder.glob("*.json")):
            if (config := self.get(path.stem)) is not None:
                found[path.stem] = config
        return found

    def _path(self, name: str) -> Path:
        if "/" in name or "\0" in name:
            raise UsageError(f"{name!r} cannot be the name of a pipeline.", hint="Give a name, not a path.")
        return self._folder / f"{name}.json"
