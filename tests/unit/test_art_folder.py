"""What is found in an art folder: only what is in it, whatever it is called."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platform_kit.art import folder as art_folder
from platform_kit.art.folder import ArtFolder, Stamp, read
from platform_kit.errors import RunError, UsageError


def names(folder: Path) -> dict[str, bool]:
    """Path to whether it would be read."""
    return {path: found.refusal is None for path, found in ArtFolder(folder).scan().items()}


def test_pictures_are_found_by_name_in_folders_below(tmp_path: Path) -> None:
    for path in (
        "b.PNG",
        "a.svg",
        "deep/er/c.jpeg",
        "deep/d.gif",
        "readme.md",
        ".hidden/e.png",
        ".f.png",
        "g.png~",
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"x")
    assert names(tmp_path) == dict.fromkeys(["a.svg", "b.PNG", "deep/d.gif", "deep/er/c.jpeg"], True)
    assert ArtFolder(tmp_path).scan()["b.PNG"].extension == "png"


def test_links_stay_inside(tmp_path: Path) -> None:
    inside, outside = tmp_path / "art", tmp_path / "art-outside"
    for folder in (inside, outside):
        folder.mkdir()
        (folder / "a.png").write_bytes(b"x")
    (inside / "to-inside.png").symlink_to(inside / "a.png")
    (inside / "to-outside.png").symlink_to(outside / "a.png")  # its path begins like the folder's
    (inside / "to-folder").symlink_to(outside)
    (inside / "loop.png").symlink_to(inside / "loop.png")
    assert names(inside) == {"a.png": True, "to-inside.png": True, "to-outside.png": False, "loop.png": False}


def test_cards_are_not_written_to_where_art_is_looked_for(tmp_path: Path) -> None:
    art = tmp_path / "art"
    art.mkdir()
    (tmp_path / "link").symlink_to(art)
    (tmp_path / "beside" / "cards").mkdir(parents=True)
    folder = ArtFolder(art)
    for out in (None, tmp_path, tmp_path / "art-cards", tmp_path / "cards", art / ".." / "beside"):
        folder.refuse_output(out)
    for out in (art, art / "cards", art / "deep" / "er", tmp_path / "link", art / ".." / "art"):
        with pytest.raises(UsageError, match="lies in the watched folder") as caught:
            folder.refuse_output(out)
        assert "beside the folder" in caught.value.hint
    with pytest.raises(UsageError, match="lies in"):  # cards go to out/cards
        ArtFolder(tmp_path / "beside" / "cards").refuse_output(tmp_path / "beside")


def test_a_folder_that_is_gone_says_so_until_it_is_back(tmp_path: Path) -> None:
    art = tmp_path / "art"
    art.mkdir()
    folder = ArtFolder(art)
    assert folder.problem is None
    art.rename(tmp_path / "elsewhere")
    assert "the folder is not there any more; " in str(folder.problem)
    art.write_bytes(b"")
    assert "not there any more: a file has its name" in str(folder.problem)
    art.unlink()
    art.mkdir()
    assert folder.problem is None


def test_a_file_that_became_a_link_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "art").mkdir()
    picture = tmp_path / "art" / "a.png"
    picture.write_bytes(b"picture")
    found = ArtFolder(tmp_path / "art").scan()["a.png"]
    assert read(found)[0] == b"picture"
    picture.unlink()
    picture.symlink_to(tmp_path / "secret")
    with pytest.raises(OSError):
        read(found)
    picture.unlink()
    os.mkfifo(picture)
    with pytest.raises(OSError, match="regular"):
        read(found)  # and does not wait for a writer


def test_a_folder_that_is_none_is_wrong_usage(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for name in ("file", "nothing"):
        with pytest.raises(UsageError, match=name):
            ArtFolder(tmp_path / name)
    gone = tmp_path / "gone"
    gone.mkdir()
    folder = ArtFolder(gone)
    gone.rmdir()
    assert folder.scan() == {}


def test_there_is_a_limit_to_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(art_folder, "MAX_PICTURES", 3)
    for number in range(4):
        (tmp_path / f"{number}.png").write_bytes(b"x")
    with pytest.raises(RunError, match="more than 3 pictures"):
        ArtFolder(tmp_path).scan()


def test_a_stamp_is_trusted_only_some_time_after_the_change() -> None:
    stamp = Stamp(1_000_000_000, 1_000_000_000, 1, 1, 1)
    assert not stamp.settled(1_000_000_000) and not stamp.settled(1_040_000_000)
    assert stamp.settled(1_100_000_000)


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=1, max_size=40).filter(lambda name: b"/" not in name and b"\0" not in name))
def test_any_file_name_is_shown_as_text(tmp_path_factory: pytest.TempPathFactory, name: bytes) -> None:
    folder = tmp_path_factory.mktemp("art")
    raw = os.path.join(os.fsencode(folder), name + b".png")
    with open(raw, "wb") as file:
        file.write(b"x")
    found = ArtFolder(folder).scan()
    if name.startswith((b".", b"~")):
        assert not found
        return
    ((path, item),) = found.items()
    path.encode()  # text that can go into a message
    try:
        assert (name + b".png").decode() == path and item.refusal is None
        assert hashlib.sha256(read(item)[0]).hexdigest() == hashlib.sha256(b"x").hexdigest()
    except UnicodeDecodeError:
        assert item.refusal is not None and "UTF-8" in item.refusal.reason
