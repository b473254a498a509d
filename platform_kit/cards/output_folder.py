"""A folder of rendered cards that knows what it holds: PNG files and a manifest.

The manifest says which content each file was rendered from, so that the next run can leave it as it is.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from platform_kit.errors import RunError
from platform_kit.names import file_names

MANIFEST = "manifest.json"
HISTORY = "runs.jsonl"
VERSION = 1


@dataclass(frozen=True)
class Kept:
    """A card's file. ``digest`` is that of everything that decides the picture, ``image`` that of the PNG."""

    file: str
    digest: str
    image: str
    bytes: int
    mtime_ns: int


class OutputFolder:
    """Where a run writes its cards.

    Parameters
    ----------
    path: The folder; it is made if it is not there.
    ids: The ids of the run, which get distinct file names inside ``cards/``.

    Errors: ``RunError`` when it cannot be written.
    """

    def __init__(self, path: Path, ids: Iterable[str]) -> None:
        self.path = path.expanduser().resolve()
        self._names = file_names(ids, ".png")
        try:
            (self.path / "cards").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(
                f"The output folder {path} cannot be made: {error.strerror}.", hint="Name another with out=."
            ) from error
        self._kept = self._read()

    def file(self, card_id: str) -> Path:
        """The file of a card of this run."""
        return self.path / "cards" / self._names[card_id]

    def unchanged(self, card_id: str, digest: str) -> Kept | None:
        """What is kept of this card, if it was rendered from the same content and is still there."""
        kept = self._kept.get(card_id)
        path = self.file(card_id)
        if kept is None or kept.digest != digest or kept.file != path.name:
            return None
        try:
            state = path.stat()
            if state.st_size != kept.bytes:
                return None
            same = state.st_mtime_ns == kept.mtime_ns or _sha256(path) == kept.image
        except OSError:
            return None
        return kept if same else None

    def write(self, card_id: str, digest: str, png: bytes) -> Path:
        """Write a card, complete or not at all."""
        path = self.file(card_id)
        temporary = path.with_suffix(".new")
        try:
            temporary.write_bytes(png)
            os.replace(temporary, path)
        except OSError as error:
            raise RunError(
                f"{path} cannot be written: {error.strerror}.",
                hint="Make room, or name another folder with out=.",
            ) from error
        image = hashlib.sha256(png).hexdigest()
        self._kept[card_id] = Kept(path.name, digest, image, len(png), path.stat().st_mtime_ns)
        return path

    def save(self) -> None:
        """Write the manifest."""
        content = {"version": VERSION, "cards": {key: asdict(kept) for key, kept in self._kept.items()}}
        temporary = self.path / (MANIFEST + ".new")
        temporary.write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")
        os.replace(temporary, self.path / MANIFEST)

    def record(self, counts: Mapping[str, int]) -> None:
        """Add a line on how a run went to ``runs.jsonl``, the folder's history."""
        with (self.path / HISTORY).open("a", encoding="utf-8") as file:
            file.write(json.dumps(dict(counts)) + "\n")

    def _read(self) -> dict[str, Kept]:
        """The manifest; one that cannot be read only means that everything is rendered again."""
        try:
            content = json.loads((self.path / MANIFEST).read_text(encoding="utf-8"))
            if content["version"] != VERSION:
                return {}
            return {str(key): Kept(**value) for key, value in content["cards"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
