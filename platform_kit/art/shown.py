"""What a person sees of a prepared folder: pictures, thumbnails, the atlas."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platform_kit.art import pictures as rows
from platform_kit.art.pictures import FileRef, Picture
from platform_kit.art.preparation import AtlasRef, Preparation, fetch_file
from platform_kit.cards.run import CardImage
from platform_kit.errors import NotRunningError, RunError
from platform_kit.jobs import LoopThread
from platform_kit.names import file_names
from platform_kit.reprs import Shown, StatusCard, Tone, human_bytes, human_count

if TYPE_CHECKING:
    import pandas as pd
    from nats.aio.client import Client
    from PIL import Image

FETCH_TIMEOUT_S = 10.0


class Fetch:
    """Gets files of the stream ASSET_FILES for whoever is not on the loop.

    Errors: ``NotRunningError`` once the platform has stopped, ``RunError`` for a file that is gone.
    """

    def __init__(self, loop: LoopThread, client: Client) -> None:
        self._loop = loop
        self._client = client

    def __call__(self, digest: str) -> bytes:
        """The bytes with this SHA-256."""
        if not self._loop.running or self._client.is_closed:
            raise NotRunningError(
                "The platform that keeps these pictures has stopped.",
                hint="Ask while it runs, or save() them.",
            )
        return self._loop.run(fetch_file(self._client, digest), FETCH_TIMEOUT_S)


class ArtImages(Mapping[str, CardImage]):
    """Pictures by path, in the order of their paths; read when asked for. Errors: as of :class:`Fetch`."""

    def __init__(self, files: Mapping[str, FileRef], fetch: Callable[[str], bytes], what: str) -> None:
        self._files = files
        self._fetch = fetch
        self._what = what

    def __getitem__(self, path: str) -> CardImage:
        if path not in self._files:
            raise KeyError(f"There is no {self._what} of {path!r}.")
        return CardImage(self._fetch(self._files[path].digest))

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    def save(self, folder: str | Path) -> list[Path]:
        """Write every picture as a PNG into ``folder``; returns the files, named by the picture's path."""
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        files = []
        for name, file in file_names(self, ".png").items():
            (path / file).write_bytes(self[name])
            files.append(path / file)
        return files

    def __repr__(self) -> str:
        return f"<{human_count(len(self), self._what)}>"


class Atlas:
    """The pictures of a folder on a few pages, each by its thumbnail.

    Attributes
    ----------
    digest: The SHA-256 of the manifest.

    Example
    -------
    ``atlas.sprites`` is a frame with path, source, page, x, y, w, h; ``atlas.pages[0]`` shows itself in a
    notebook; ``atlas.crop("fox.svg")`` is one sprite for Pillow.
    """

    def __init__(self, ref: AtlasRef, fetch: Callable[[str], bytes]) -> None:
        self.digest = ref.manifest
        self.timings_ms = dict(ref.timings_ms)
        self._fetch = fetch
        self._bytes = fetch(ref.manifest)
        self.manifest: dict[str, Any] = json.loads(self._bytes)

    @property
    def sprites(self) -> pd.DataFrame:
        """One row a sprite: path, source digest, page, x, y, w, h in pixels."""
        import pandas as pd

        columns = ["path", "source", "page", "x", "y", "w", "h"]
        return pd.DataFrame(self.manifest["sprites"], columns=columns)

    @property
    def pages(self) -> list[CardImage]:
        """The pages as PNG."""
        return [CardImage(self._fetch(page["digest"])) for page in self.manifest["pages"]]

    def crop(self, path: str) -> Image.Image:
        """One sprite. Raises ``KeyError`` for a path that is not on the atlas."""
        found = next((item for item in self.manifest["sprites"] if item["path"] == path), None)
        if found is None:
            raise KeyError(f"There is no sprite of {path!r}.")
        page = CardImage(self._fetch(self.manifest["pages"][found["page"]]["digest"])).image()
        x, y = found["x"], found["y"]
        return page.crop((x, y, x + found["w"], y + found["h"]))

    def save(self, folder: str | Path) -> list[Path]:
        """Write ``atlas.json`` and the pages ``atlas-0.png``, ... into ``folder``; returns the files."""
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        contents = {"atlas.json": self._bytes}
        contents |= {f"atlas-{number}.png": bytes(page) for number, page in enumerate(self.pages)}
        for name, content in contents.items():
            (path / name).write_bytes(content)
        return [path / name for name in contents]

    def __repr__(self) -> str:
        pages, sprites = self.manifest["pages"], self.manifest["sprites"]
        size = human_bytes(sum(page["bytes"] for page in pages))
        return f"<Atlas: {human_count(len(sprites), 'sprite')} on {human_count(len(pages), 'page')}, {size}>"


class ArtView(Shown):
    """What a watch and a single run have in common: the pictures of a folder as they are now."""

    _preparation: Preparation
    _fetch: Fetch

    def _ready(self) -> None:
        """Wait for what has to have ended before the pictures are looked at, and raise what went wrong."""

    def _pictures(self) -> list[Picture]:
        self._ready()
        return list(self._preparation.pictures.copy().values())

    @property
    def folder(self) -> Path:
        """The folder with the sources."""
        return self._preparation.folder.path

    @property
    def counts(self) -> dict[str, int]:
        """seen = prepared + unchanged + rejected + removed."""
        return rows.counts(self._pictures())

    @property
    def frame(self) -> pd.DataFrame:
        """One row a picture: path, status, reason, sizes, digests, timings in ms, warnings."""
        return rows.frame(self._pictures())

    @property
    def rejected(self) -> pd.DataFrame:
        """One row a rejected picture: path, stage (folder, rules, prepare or worker), column, reason."""
        return rows.rejected_frame(self._pictures())

    @property
    def images(self) -> ArtImages:
        """The normal forms by path: PNG in sRGB, upright, of bounded size, without metadata."""
        found = {item.path: item.picture for item in self._pictures() if item.picture is not None}
        return ArtImages(found, self._fetch, "picture")

    @property
    def thumbnails(self) -> ArtImages:
        """The thumbnails by path."""
        found = {item.path: item.thumbnail for item in self._pictures() if item.thumbnail is not None}
        return ArtImages(found, self._fetch, "thumbnail")

    @property
    def atlas(self) -> Atlas | None:
        """The atlas of all pictures; None while there are none. Raises ``RunError`` if it was refused."""
        self._ready()
        if self._preparation.atlas_problem is not None:
            raise RunError(f"The atlas was refused: {self._preparation.atlas_problem}.")
        ref = self._preparation.atlas
        return Atlas(ref, self._fetch) if ref is not None else None

    def _card(self, title: str, state: str, facts: dict[str, object], tone: Tone | None = None) -> StatusCard:
        pictures = list(self._preparation.pictures.copy().values())
        atlas = self._preparation.atlas
        packed = self._preparation.atlas_problem
        if atlas is not None:
            packed = f"{human_count(atlas.sprites, 'sprite')} on {human_count(len(atlas.pages), 'page')}"
        shown: dict[str, object] = {
            "pictures": rows.counts_text(rows.counts(pictures)),
            "atlas": packed,
            **facts,
            "folder": str(self._preparation.folder.path),
        }
        return StatusCard(title, state, shown, rows.table(pictures) if pictures else None, tone)
