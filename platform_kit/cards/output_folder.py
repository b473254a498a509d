"""A folder of rendered cards that knows what it holds: PNG files and a manifest.

The manifest says which content each file was rendered from, so that the next run can leave it as it is.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from platform_kit.errors import RunError
from platform_kit.names import file_names
from platform_kit.reprs import human_bytes

MANIFEST = "manifest.json"
HISTORY = "runs.jsonl"
LOCK = ".lock"
SAVE_EVERY_S = 2.0
VERSION = 1
BYTES_PER_PIXEL = 0.5
"""Of an illustrated card as PNG: 350 KB have 0.44. Plain ones take a fifth."""


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

    One run at a time holds the folder, from :meth:`open` to :meth:`close`; several of its threads may write.

    Errors: ``RunError`` when it cannot be written, or another run is writing there.
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
        self._lock = -1
        self._kept: dict[str, Kept] = {}
        self._changing = threading.Lock()
        self._saving = threading.Lock()
        self._saved_at = time.monotonic()
        self._save_took_s = 0.0

    def open(self) -> None:
        """Keep other runs out, and read what is there."""
        self._lock = self._hold()
        self._kept = self._read()

    def close(self) -> None:
        """Let another run write here."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

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

    def write(self, card_id: str, digest: str, image: str, png: bytes | bytearray) -> Path:
        """Write a card, complete or not at all, and now and then the manifest.

        Parameters
        ----------
        digest: Of everything that decides the picture.
        image: The SHA-256 of ``png``, in hex.
        """
        path = self.file(card_id)
        kept = Kept(path.name, digest, image, len(png), self._replace(path, png))
        with self._changing:
            self._kept[card_id] = kept
        self._save_if_due()
        return path

    def save(self) -> None:
        """Write the manifest."""
        with self._saving:
            self._save()

    def _save_if_due(self) -> None:
        """Write the manifest if the last time is a while ago.

        What a run had done when it was killed is then known to the next one. The while grows with the deck,
        so that writing never takes more than a small part of a run.
        """
        if time.monotonic() - self._saved_at < max(SAVE_EVERY_S, 50 * self._save_took_s):
            return
        if self._saving.acquire(blocking=False):
            try:
                self._save()
            finally:
                self._saving.release()

    def _save(self) -> None:
        started = time.monotonic()
        with self._changing:
            cards = dict(self._kept)
        content = {"version": VERSION, "cards": {key: asdict(kept) for key, kept in cards.items()}}
        self._replace(self.path / MANIFEST, json.dumps(content, ensure_ascii=False, indent=1).encode())
        self._saved_at = time.monotonic()
        self._save_took_s = self._saved_at - started

    def record(self, counts: Mapping[str, int]) -> None:
        """Add a line on how a run went to ``runs.jsonl``, the folder's history."""
        try:
            with (self.path / HISTORY).open("a", encoding="utf-8") as file:
                file.write(json.dumps(dict(counts)) + "\n")
        except OSError as error:
            raise _not_written(self.path / HISTORY, error) from error

    def _replace(self, path: Path, content: bytes | bytearray) -> int:
        """Write a file, complete or not at all; returns when it was modified, in ns."""
        temporary = f"{path}.new"
        try:
            # Not Path.write_bytes(): of what a card costs here, its objects and calls would be a quarter.
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
            try:
                written = os.write(descriptor, content)
                while written < len(content):
                    written += os.write(descriptor, memoryview(content)[written:])
                modified = os.fstat(descriptor).st_mtime_ns
            finally:
                os.close(descriptor)
            os.replace(temporary, path)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise _not_written(path, error, len(content)) from error
        return modified

    def _hold(self) -> int:
        lock = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            raise RunError(
                f"Another run is writing to {self.path}.",
                hint="Wait for it, or name another folder with out=.",
            ) from error
        return lock

    def _read(self) -> dict[str, Kept]:
        """The manifest; one that cannot be read only means that everything is rendered again."""
        try:
            content = json.loads((self.path / MANIFEST).read_text(encoding="utf-8"))
            if content["version"] != VERSION:
                return {}
            return {str(key): Kept(**value) for key, value in content["cards"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}


def free_bytes(folder: Path) -> int | None:
    """How much may still be written to the disk a folder is on, or will be; None if nobody knows."""
    for place in (folder, *folder.parents):
        with contextlib.suppress(OSError):
            return shutil.disk_usage(place).free
    return None


def tight_disk(out: Path, data_dir: Path | None, cards: int, size_px: tuple[int, int]) -> str | None:
    """What to tell before a run whose pictures may not find room; None if they will.

    Parameters
    ----------
    out: The folder of the run.
    data_dir: Where the platform keeps its streams, with each picture once more; None for one elsewhere.
    cards: Rows of the deck. All count, for whether a card has changed is not known yet.
    size_px: Width and height of a card.

    Example
    -------
    >>> tight_disk(Path("."), None, 10**12, (750, 1050))[:32]
    '1,000,000,000,000 cards may need'
    """
    free = free_bytes(out)
    once = int(cards * size_px[0] * size_px[1] * BYTES_PER_PIXEL)
    doubled = data_dir is not None and _device(out) == _device(data_dir)
    needed = 2 * once if doubled else once
    if free is None or needed <= free:
        return None
    twice = f", each twice there (also in the streams in {data_dir})" if doubled else ""
    return (
        f"{cards:,} cards may need {human_bytes(needed)} on the disk of {out}{twice}, "
        f"and {human_bytes(free)} are free. If it runs full the run ends, and another goes on from there: "
        "make room, name a folder on another disk with out=, or render the deck in parts."
    )


def _device(folder: Path) -> int | None:
    for place in (folder, *folder.parents):
        with contextlib.suppress(OSError):
            return place.stat().st_dev
    return None


def _not_written(path: Path, error: OSError, size: int = 0) -> RunError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        free = free_bytes(path.parent)
        left = f", and {human_bytes(free)} are free" if free is not None else ""
        return RunError(
            f"The disk is full: {path} takes {human_bytes(size)}{left} ({error.strerror}).",
            hint="Make room, or name a folder on another disk with out=, and run again: cards that are there "
            "stay as they are. Pictures are on disk twice, in out= and in the platform's data folder.",
        )
    return RunError(
        f"{path} cannot be written: {error.strerror}.",
        hint="Make room, or name another folder with out=; what is there is used again.",
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
