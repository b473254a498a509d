"""From what a cell of the art column says to a picture inside the deck's folder, or to a reason why not."""

from __future__ import annotations

import difflib
import os
import re
import stat
import unicodedata
from pathlib import Path

MAX_ART_BYTES = 8 * 1024 * 1024
ART_SUFFIXES = (".svg", ".png", ".jpg", ".jpeg", ".webp")
_MAX_SUGGESTIONS = 50  # a list of a large folder for every row of a large deck would take minutes
_ADDRESS = re.compile(r"(?:[a-z][a-z0-9+.-]+:|//|\\\\)", re.IGNORECASE)
_DRIVE = re.compile(r"[a-z]:", re.IGNORECASE)
_CONTROL = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")


def is_address(reference: str) -> bool:
    """Say whether ``reference`` is a URL, or the name of another machine, rather than a path."""
    return _ADDRESS.match(reference) is not None and _DRIVE.match(reference[:2]) is None


class ArtFolder:
    """The folder a deck's pictures come from; nothing outside it is looked at.

    Parameters
    ----------
    base_dir: The deck's folder. References are relative to it and stay inside it, symbolic links resolved.

    Example
    -------
    >>> ArtFolder(Path(".")).find("../secret.svg")
    "the reference leads outside the deck's folder: ../secret.svg"
    """

    def __init__(self, base_dir: Path) -> None:
        self.base = Path(os.path.realpath(base_dir))
        self._found: dict[str, Path | str] = {}
        self._folders: dict[str, str] = {}
        self._suggestions = 0

    def find(self, reference: str) -> Path | str:
        """Return the resolved path of the picture, or the reason why there is none."""
        if reference not in self._found:
            self._found[reference] = self._find(reference)
        return self._found[reference]

    def _find(self, reference: str) -> Path | str:
        shown = reference if len(reference) <= 120 else reference[:117] + "…"
        if _CONTROL.search(reference):
            return "the reference holds a control character"
        if is_address(reference):
            return f"the reference is an address, not a file: {shown}; save the picture in the deck's folder"
        path = reference.replace("\\", "/")
        if path.startswith("/") or _DRIVE.match(path):
            return f"the reference is an absolute path: {shown}; name a file relative to the deck's folder"
        if len(os.fsencode(path)) > 1024 or any(len(os.fsencode(part)) > 255 for part in path.split("/")):
            return f"the reference is longer than a file name can be: {shown}"
        # The text alone decides before the disk is asked, so that a reason never tells what lies outside.
        depth = 0
        for part in path.split("/"):
            depth += {"": 0, ".": 0, "..": -1}.get(part, 1)
            if depth < 0:
                return f"the reference leads outside the deck's folder: {shown}"
        suffix = os.path.splitext(path)[1].lower()
        if suffix not in ART_SUFFIXES:
            kind = f"the extension {suffix!r}" if suffix else "no extension"
            return f"the reference has {kind}: {shown}; pictures are {', '.join(ART_SUFFIXES)}"
        return self._on_disk(path, shown)

    def _on_disk(self, path: str, shown: str) -> Path | str:
        real = self._resolve(path)
        if real is None:
            return f"the reference leads outside the deck's folder: {shown}"
        try:
            status = os.lstat(real)
        except OSError:
            for form in ("NFC", "NFD"):
                other = unicodedata.normalize(form, path)
                if other != path and (again := self._resolve(other)) is not None and os.path.isfile(again):
                    return self._on_disk(other, shown)
            return f"the reference names a file that is not there: {shown}{self._near(real)}"
        if not stat.S_ISREG(status.st_mode):
            return f"the reference is not a regular file: {shown}"
        if status.st_size == 0:
            return f"the reference is an empty file: {shown}"
        if status.st_size > MAX_ART_BYTES:
            size = f"{status.st_size:,} bytes, the limit is {MAX_ART_BYTES:,}"
            return f"the reference is too large: {shown} has {size}"
        if os.path.splitext(real)[1].lower() not in ART_SUFFIXES:
            return f"the reference is a link to a file that is no picture: {shown}"
        return Path(real)

    def _resolve(self, path: str) -> str | None:
        """Return the real path if it lies inside the folder."""
        folder, name = os.path.split(path)
        real_folder = self._folders.get(folder)
        if real_folder is None:
            real_folder = self._folders[folder] = os.path.realpath(os.path.join(self.base, folder))
        real = os.path.realpath(os.path.join(real_folder, name)) if name in ("", ".", "..") else os.path.join(
            real_folder, name
        )  # fmt: skip
        if os.path.islink(real):
            real = os.path.realpath(real)
        base = str(self.base)
        inside = real.startswith(base if base.endswith(os.sep) else base + os.sep)
        return real if inside else None

    def _near(self, real: str) -> str:
        folder = os.path.dirname(real)
        self._suggestions += 1
        if self._suggestions > _MAX_SUGGESTIONS:
            return ""
        if not os.path.isdir(folder):
            return " (its folder does not exist)"
        try:
            names = [name for name in os.listdir(folder) if name.lower().endswith(ART_SUFFIXES)]
        except OSError:
            return ""
        wanted = os.path.basename(real)
        same = [name for name in names if name.casefold() == wanted.casefold()]
        near = same or difflib.get_close_matches(wanted, names[:2000], n=1, cutoff=0.6)
        return f"; did you mean {near[0]}?" if near else ""
