"""What pictures there are in a folder, without leaving it and without trusting what is in it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from platform_kit.errors import RunError, UsageError

_USABLE = ("png", "jpg", "jpeg", "webp", "svg")
_OTHERS = (
    "svgz",
    "gif",
    "bmp",
    "tif",
    "tiff",
    "avif",
    "heic",
    "heif",
    "jxl",
    "jp2",
    "psd",
    "ico",
    "apng",
    "jfif",
)
EXTENSIONS = frozenset(_USABLE + _OTHERS)
"""What is taken for a picture by its name. Which of them are taken is a rule of the pipeline."""
MAX_PICTURES = 10_000
MAX_DEPTH = 32
MAX_SOURCE_BYTES = 32 * 1024 * 1024
_RACY_NS = 50_000_000
"""A file changed within this time before it was read could change again without its times moving."""


class Stamp(NamedTuple):
    """What moves when a file changes."""

    mtime_ns: int
    ctime_ns: int
    size: int
    inode: int
    device: int

    @classmethod
    def of(cls, state: os.stat_result) -> Stamp:
        """From what ``stat`` says."""
        return cls(state.st_mtime_ns, state.st_ctime_ns, state.st_size, state.st_ino, state.st_dev)

    def settled(self, read_at_ns: int) -> bool:
        """Whether the same stamp means the same bytes, if they were read at this time."""
        return max(self.mtime_ns, self.ctime_ns) < read_at_ns - _RACY_NS


@dataclass(frozen=True)
class Refusal:
    """Why a picture is not even read."""

    column: str
    reason: str


@dataclass(frozen=True)
class Found:
    """A picture of the folder.

    Parameters
    ----------
    path: Relative to the folder, with "/", as it is shown: what is not UTF-8 stands as an escape.
    file: Where its bytes are, links resolved.
    stamp: Changes when it does.
    refusal: Why it is not read, or None.
    """

    path: str
    file: Path
    stamp: Stamp
    refusal: Refusal | None = None

    @property
    def extension(self) -> str:
        """Of its name, in lower case and without the dot."""
        return os.path.splitext(self.path)[1].lower().lstrip(".")


class ArtFolder:
    """A folder with source art; nothing outside it is looked at.

    Hidden files, editors' temporary files and whatever is not named like a picture are left alone. Links to
    pictures inside the folder are followed, links to folders are not.

    Parameters
    ----------
    path: The folder.

    Errors: ``UsageError`` if it is not one.

    Example
    -------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = (Path(folder) / "fox.svg").write_text("<svg/>")
    ...     list(ArtFolder(Path(folder)).scan())
    ['fox.svg']
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(os.path.realpath(path.expanduser()))
        if not self.path.is_dir():
            what = "is a file" if self.path.exists() else "is not there"
            raise UsageError(f"The folder {path} {what}.", hint="Name the folder the pictures are in.")

    @property
    def problem(self) -> str | None:
        """Why there is nothing to see any more, in words; None while the folder is there."""
        if os.path.isdir(self.path):
            return None
        instead = ": a file has its name" if os.path.lexists(self.path) else ""
        return f"the folder is not there any more{instead}; it is watched on once it is back"

    def refuse_output(self, out: Path | None) -> None:
        """Refuse a folder for cards whose cards would be taken for source art.

        Parameters
        ----------
        out: As for :meth:`platform_kit.platform.Platform.generate`: cards are written to its ``cards``.

        Errors: ``UsageError`` if ``out`` or its ``cards`` is this folder or lies in it.

        Example
        -------
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     ArtFolder(Path(folder) / ".").refuse_output(Path(folder).parent / "elsewhere")
        """
        if out is None:
            return
        for written in (out.expanduser(), out.expanduser() / "cards"):
            if Path(os.path.realpath(written)).is_relative_to(self.path):
                raise UsageError(
                    f"The cards would be written to {written}, which lies in the watched folder {self.path}: "
                    f"each card would be taken for a new picture, and that would never end.",
                    hint="Give an out= beside the folder with the art, not in it.",
                )

    def scan(self) -> dict[str, Found]:
        """Every picture by path, in the order of their paths; none if the folder is gone.

        Errors: ``RunError`` for more pictures than an atlas may hold.
        """
        found: dict[str, Found] = {}
        for item in self._walk(str(self.path), "", 0):
            found[item.path] = item
            if len(found) > MAX_PICTURES:
                raise RunError(
                    f"{self.path} has more than {MAX_PICTURES:,} pictures.",
                    hint="Spread them over several folders.",
                )
        return dict(sorted(found.items()))

    def _walk(self, folder: str, above: str, depth: int) -> Iterator[Found]:
        try:
            with os.scandir(folder) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            if not above:
                raise RunError(
                    f"The folder {self.path} cannot be read: {error.strerror}.", hint="Check its permissions."
                ) from error
            reason = f"a folder that cannot be read: {error.strerror}"
            yield Found(_shown(above), Path(folder), Stamp(0, 0, 0, 0, 0), Refusal("path", reason))
            return
        for entry in listed:
            if _passed_over(entry.name):
                continue
            path = above + entry.name
            picture = os.path.splitext(entry.name)[1].lower().lstrip(".") in EXTENSIONS
            try:
                if entry.is_dir(follow_symlinks=False) and not picture:
                    if depth < MAX_DEPTH:
                        yield from self._walk(entry.path, path + "/", depth + 1)
                elif picture:
                    yield self._found(entry, path)
            except FileNotFoundError:
                continue

    def _found(self, entry: os.DirEntry[str], path: str) -> Found:
        state = entry.stat(follow_symlinks=False)
        shown = _shown(path)
        real = entry.path

        def refused(column: str, reason: str) -> Found:
            return Found(shown, Path(real), Stamp.of(state), Refusal(column, reason))

        if shown != path:
            return refused("path", "the name is not UTF-8; give it another")
        if stat.S_ISLNK(state.st_mode):
            real = os.path.realpath(entry.path)
            if not real.startswith(os.path.join(self.path, "")):
                return refused("path", "a link that leads out of the folder; put the picture itself there")
            try:
                state = os.lstat(real)
            except OSError:
                return refused("path", "a link to a picture that is not there")
        if stat.S_ISDIR(state.st_mode):
            return refused("path", "a folder with a picture's name")
        if not stat.S_ISREG(state.st_mode):
            return refused("path", "not a regular file")
        if state.st_size == 0:
            return refused("bytes", "the file is empty")
        if state.st_size > MAX_SOURCE_BYTES:
            return refused(
                "bytes", f"the file has {state.st_size:,} bytes; at most {MAX_SOURCE_BYTES:,} are read"
            )
        return Found(path, Path(real), Stamp.of(state))


def read(found: Found) -> tuple[bytes, Stamp]:
    """The bytes of a picture, and its stamp when they were read.

    Errors: ``OSError`` if it is not there any more, not a regular file any more, or not ours to read.
    """
    descriptor = os.open(found.file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        state = os.fstat(file.fileno())
        if not stat.S_ISREG(state.st_mode):
            raise OSError(None, "it is not a regular file any more")
        return file.read(MAX_SOURCE_BYTES + 1), Stamp.of(state)


def _shown(path: str) -> str:
    """A path as text: what is not UTF-8 as an escape."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _passed_over(name: str) -> bool:
    """Hidden files and what editors and browsers write on the way."""
    return name.startswith((".", "~")) or name.endswith(("~", ".tmp", ".part", ".swp", ".crdownload"))
