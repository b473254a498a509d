"""The pipelines a platform should run, as files, so that whoever restarts Wombat finds them.

Wombat itself forgets every stream when it ends.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from platform_kit.servers.credentials import write_private


class PipelineStore:
    """One JSON file a pipeline in ``folder``; readable by several processes of this user."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, name: str, config: Mapping[str, Any]) -> None:
        """Keep a pipeline's configuration."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(self._folder / f"{name}.json", json.dumps(config).encode())

    def get(self, name: str) -> dict[str, Any] | None:
        """The configuration kept under this name, or None."""
        try:
            found: dict[str, Any] = json.loads((self._folder / f"{name}.json").read_text())
        except (OSError, ValueError):
            return None
        return found

    def remove(self, name: str) -> None:
        """Forget a pipeline."""
        (self._folder / f"{name}.json").unlink(missing_ok=True)

    def all(self) -> dict[str, dict[str, Any]]:
        """Every pipeline that is kept, by name."""
        found = {}
        for path in sorted(self._folder.glob("*.json")):
            if (config := self.get(path.stem)) is not None:
                found[path.stem] = config
        return found
