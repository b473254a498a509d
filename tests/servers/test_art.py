"""Source art: prepared, accounted for, watched; hostile pictures refused in bounded memory and time."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from art_samples import encoded, hostile, odd_but_good, svg
from PIL import Image
from support import wait_for

from platform_kit import Deck, Pipeline, Platform
from platform_kit.art.run import ArtRun
from platform_kit.art.shown import ArtView
from platform_kit.art.watch import ArtWatch
from platform_kit.errors import DeckError, NotRunningError, UsageError

ROOT = Path(__file__).parents[2]
PIPELINE = ROOT / ".config" / "pipelines" / "prepare_art.yaml"
WORKER_LIMIT_MB = 400
"""What one art worker may ever take, hostile pictures included."""


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with Platform() as running:
        running.prepare_art(tmp_path_factory.mktemp("first"), progress=False)  # starts the worker
        yield running


@pytest.fixture
def art(tmp_path: Path) -> Path:
    folder = tmp_path / "art"
    folder.mkdir()
    return folder


@pytest.fixture
def watch(platform: Platform, art: Path) -> Iterator[ArtWatch]:
    with platform.watch_art(art) as watch:
        yield watch


def own(art: Path, colour: str) -> bytes:
    """A drawing no other test of the same platform has shown."""
    return svg(colour, f"<!-- {art.parent.name} -->")


def write(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).write_bytes(content)


def adds_up(view: ArtView) -> bool:
    counts, frame = view.counts, view.frame
    statuses = frame["status"].value_counts().to_dict()
    named = {name: counts[name] for name in ("prepared", "unchanged", "rejected", "removed")}
    return (
        counts["seen"] == sum(named.values()) == len(frame)
        and {name: count for name, count in named.items() if count} == statuses
        and not frame["path"].duplicated().any()
        and len(view.rejected) == counts["rejected"]
    )


def statuses(view: ArtView) -> dict[str, str]:
    frame = view.frame  # once: a watch goes on
    return dict(zip(frame["path"], frame["status"], strict=True))


def prepare(platform: Platform, folder: Path) -> ArtRun:
    run = platform.prepare_art(folder, progress=False)
    assert adds_up(run), run
    return run


# ---------------------------------------------------------------- one look


def test_every_kind_of_picture_is_prepared(platform: Platform, art: Path) -> None:
    files = odd_but_good()
    write(art, files)
    (art / "below").mkdir()
    write(art / "below", {"again.svg": svg("blue")})
    write(art, {"notes.txt": b"no picture", ".hidden.png": b"", "draft.png~": b""})
    run = prepare(platform, art)
    assert statuses(run) == dict.fromkeys(sorted([*files, "below/again.svg"]), "prepared"), run.rejected
    frame = run.frame.set_index("path")
    for path, png in run.images.items():
        row = frame.loc[path]
        source = (art / path).read_bytes()
        assert row["source"] == hashlib.sha256(source).hexdigest() and row["bytes"] == len(source)
        assert row["picture"] == hashlib.sha256(png).hexdigest() and row["attempt"] == 1
        with Image.open(io.BytesIO(png)) as image:
            image.load()
            assert image.format == "PNG" and set(image.info) <= {"srgb", "transparency", "dpi"}
            assert image.size == (row["picture_width"], row["picture_height"])
            assert max(image.size) <= 1024
        with Image.open(io.BytesIO(run.thumbnails[path])) as image:
            assert max(image.size) <= 256
    assert run.images["turned.jpg"].image().size == (32, 64), "EXIF says it stands"
    assert run.images["drawing.svg"].image().size == (1024, 768)
    assert not frame.loc["alpha.png", "warnings"] and "CMYK" in frame.loc["ink.jpg", "warnings"]
    with Image.open(io.BytesIO(files["palette.png"])) as image:
        assert run.images["palette.png"].image().convert("RGB").tobytes() == image.convert("RGB").tobytes()


def test_the_atlas_holds_every_picture_and_is_always_the_same(
    platform: Platform, art: Path, tmp_path: Path
) -> None:
    write(art, {f"{name}.svg": svg(name) for name in ("red", "green", "blue", "gold")})
    write(art, {"photo.jpg": encoded("JPEG", (600, 300)), "torn.png": b"\x89PNG"})
    run = prepare(platform, art)
    atlas = run.atlas
    assert atlas is not None and list(atlas.sprites["path"]) == [
        "blue.svg", "gold.svg", "green.svg", "photo.jpg", "red.svg"
    ]  # fmt: skip
    for path, thumbnail in run.thumbnails.items():
        assert atlas.crop(path).convert("RGBA").tobytes() == thumbnail.image().convert("RGBA").tobytes()
    saved = {path.name: path.read_bytes() for path in atlas.save(tmp_path / "saved")}
    assert set(saved) == {"atlas.json", "atlas-0.png"}
    assert json.loads(saved["atlas.json"])["sprites"][0]["source"] == hashlib.sha256(svg("blue")).hexdigest()
    with Platform() as other:  # nothing is shared but the pictures
        again = prepare(other, art).atlas
        assert again is not None and again.digest == atlas.digest
        assert [bytes(page) for page in again.pages] == [bytes(page) for page in atlas.pages]


def test_nothing_is_prepared_twice_also_after_a_restart(art: Path, tmp_path: Path) -> None:
    write(art, {"a.svg": svg("red"), "b.svg": svg("blue"), "torn.png": b"\x89PNG\r\n\x1a\n"})
    with Platform(tmp_path / "data") as platform:
        first = prepare(platform, art)
        assert (first.counts["prepared"], first.counts["rejected"]) == (2, 1)
        assert prepare(platform, art).counts == {**first.counts, "prepared": 0, "unchanged": 2}
    write(art, {"b.svg": svg("green")})
    (art / "torn.png").unlink()
    with Platform(tmp_path / "data") as platform:
        second = prepare(platform, art)
        assert statuses(second) == {"a.svg": "unchanged", "b.svg": "prepared", "torn.png": "removed"}
        assert second.images["a.svg"].image().size == (1024, 768)
        (art / "a.svg").rename(art / "c.svg")
        renamed = prepare(platform, art)
        assert statuses(renamed) == {"a.svg": "removed", "b.svg": "unchanged", "c.svg": "unchanged"}
        write(art, {"b.svg": svg("blue")})  # as it was at first
        assert statuses(prepare(platform, art))["b.svg"] == "unchanged"
        atlases = platform.prepare_art(art, progress=False)
        assert atlases._preparation.atlas is not None and not atlases._preparation.atlas.made


def test_what_the_folder_must_not_lead_to_is_refused(platform: Platform, art: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(encoded("PNG"))
    (art / "out.png").symlink_to(tmp_path / "secret.png")
    (art / "nowhere.png").symlink_to(art / "missing.png")
    (art / "folder.png").mkdir()
    (art / "outside").symlink_to(tmp_path)
    os.mkfifo(art / "pipe.png")
    (art / "in.png").write_bytes(encoded("PNG"))
    (art / "link.png").symlink_to(art / "in.png")
    (art / "two\nlines.png").write_bytes(encoded("PNG"))
    (art / ("long" * 60 + ".png")).write_bytes(encoded("PNG"))
    odd = os.fsdecode(b"caf\xe9.png")
    (art / odd).write_bytes(encoded("PNG"))
    run = prepare(platform, art)
    reasons = run.rejected.set_index("path")["reason"]
    taken = {path for path, status in statuses(run).items() if status != "rejected"}
    assert taken == {"in.png", "link.png"}
    assert "leads out of the folder" in reasons["out.png"] and str(tmp_path) not in reasons["out.png"]
    assert "not there" in reasons["nowhere.png"] and "folder" in reasons["folder.png"]
    assert "regular" in reasons["pipe.png"] and "UTF-8" in reasons["caf\\xe9.png"]
    assert "control characters" in reasons["two\nlines.png"]
    assert "characters, the limit is 200" in reasons["long" * 60 + ".png"]
    assert "two⏎lines" in run.text() and "two⏎lines" in run.html()


def test_markup_in_a_name_is_text(platform: Platform, art: Path) -> None:
    name = "<img src=x onerror=alert(1)>.gif"
    write(art, {name: b"GIF89a"})
    run = prepare(platform, art)
    assert "<img" not in run.html() and "&lt;img" in run.html()


# ---------------------------------------------------------------- hostile pictures


def test_hostile_pictures_are_refused_in_bounded_memory(art: Path) -> None:
    samples = hostile()
    write(art, {name: data for name, (data, _) in samples.items()})
    write(art, {f"large-{number}.png": encoded("PNG", (5000, 4000)) for number in range(2)})
    write(art, {"large.jpg": encoded("JPEG", (5000, 4000), progressive=True), "good.svg": svg()})
    with Platform() as platform:
        run = prepare(platform, art)
        reasons = run.rejected.set_index("path")["reason"]
        assert set(reasons.index) == set(samples)
        for name, (_, says) in samples.items():
            assert says in reasons[name], name
        assert run.counts["prepared"] == 4
        frame = run.frame.set_index("path")
        assert (frame["attempt"] == 1).all(), "each is answered within its first deadline"
        (worker,) = [row for row in platform.workers().rows if row.name == "art-worker"]
        peak_kb = next(
            int(line.split()[1])
            for line in Path(f"/proc/{worker.pid}/status").read_text().splitlines()
            if line.startswith("VmHWM")
        )
        assert peak_kb / 1000 < WORKER_LIMIT_MB
        assert psutil.Process(worker.pid).is_running()


# ---------------------------------------------------------------- the pipeline


def test_a_worker_that_is_killed_costs_no_picture(art: Path) -> None:
    write(art, {f"{number}.svg": svg(f"#{number:02}{number:02}00") for number in range(10, 40)})
    with Platform() as platform:
        run = platform.prepare_art(art, progress=False, wait=False)
        (worker,) = [row for row in platform.workers().rows if row.name == "art-worker"]
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGKILL)
        assert run.wait(60).counts["prepared"] == 30 and adds_up(run)


def test_servers_that_are_killed_cost_no_picture(art: Path) -> None:
    write(art, {f"{number}.svg": svg(f"#{number:02}00{number:02}") for number in range(10, 50)})
    with Platform() as platform:
        run = platform.prepare_art(art, progress=False, wait=False)
        wait_for(lambda: run.progress.done >= 5, "the first pictures")
        pids = {service.name: service.pid for service in platform.status().services}
        for name in ("wombat", "nats-server"):
            pid = pids[name]
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
        assert run.wait(100).counts["prepared"] == 40 and adds_up(run)
        assert run.atlas is not None and len(run.atlas.sprites) == 40
        # One result for each request, and no request is left.
        results = asyncio.run(messages(platform, "ASSET_RESULTS"))
        assert results == 41 and asyncio.run(messages(platform, "ASSET_REQUESTS")) == 0


async def messages(platform: Platform, stream: str) -> int:
    client = await platform.connect()
    try:
        return int((await client.jetstream().stream_info(stream)).state.messages)
    finally:
        await client.close()


def test_a_rule_that_changes_decides_anew(art: Path, tmp_path: Path) -> None:
    write(art, {"a.png": encoded("PNG", (400, 300)), "b.webp": encoded("WEBP")})
    text = PIPELINE.read_text(encoding="utf-8")
    own = tmp_path / "prepare_art.yaml"
    own.write_text(
        text.replace("let longest_side = 1024", "let longest_side = 100").replace('"webp", ', ""), "utf-8"
    )
    with Platform() as platform:
        with platform.watch_art(art) as watch:
            assert watch.wait_idle().counts["prepared"] == 2
            platform.deploy(Pipeline.read(own))
            watch.wait_idle()
            assert statuses(watch) == {"a.png": "prepared", "b.webp": "rejected"}
            assert watch.images["a.png"].image().size == (100, 75)
            assert ".webp; pictures are .png" in watch.rejected["reason"][0]
        # Deployed by hand, it stays for this platform.
        assert prepare(platform, art).counts["unchanged"] == 1


# ---------------------------------------------------------------- the watch


def test_what_changes_is_noticed_without_asking(watch: ArtWatch, art: Path) -> None:
    watch.wait_idle()
    write(art, {"new.svg": own(art, "red")})
    wait_for(lambda: statuses(watch).get("new.svg") == "prepared", "the new picture")
    write(art, {"new.svg": b"<svg"})
    wait_for(lambda: statuses(watch)["new.svg"] == "rejected", "the broken picture")
    (art / "draft.tmp").write_bytes(own(art, "blue"))
    (art / "draft.tmp").rename(art / "new.svg")  # as careful editors save
    wait_for(lambda: statuses(watch)["new.svg"] == "prepared", "the mended picture")
    (art / "new.svg").rename(art / "other.svg")
    wait_for(lambda: statuses(watch) == {"new.svg": "removed", "other.svg": "unchanged"}, "the other name")
    (art / "below").mkdir()
    write(art / "below", {"deep.svg": own(art, "green")})
    wait_for(lambda: "below/deep.svg" in statuses(watch), "the picture in a new folder")
    watch.wait_idle()
    assert adds_up(watch) and watch.running


def test_waiting_sees_what_was_written_just_before(watch: ArtWatch, art: Path) -> None:
    for number in range(20):  # the same size, the same moment: only the bytes differ
        write(art, {"a.svg": own(art, f"#0000{number:02}")})
        source = hashlib.sha256(own(art, f"#0000{number:02}")).hexdigest()
        assert list(watch.wait_idle().frame["source"]) == [source]
        assert adds_up(watch)


def test_a_folder_that_goes_and_comes_back_is_watched_on(watch: ArtWatch, art: Path) -> None:
    write(art, {"a.svg": own(art, "red")})
    assert watch.wait_idle().counts["prepared"] == 1
    art.rename(art.with_name("elsewhere"))
    assert statuses(watch.wait_idle()) == {"a.svg": "removed"}
    assert watch.text().startswith("✗ art: watching") and "not there any more" in watch.text()
    art.write_bytes(b"")
    assert "a file has its name" in watch.wait_idle().text()
    art.unlink()
    art.mkdir()
    assert watch.wait_idle().text().startswith("● art: watching") and "any more" not in watch.text()
    wait_for(lambda: watch._watcher._thread.is_alive(), "the watcher")
    write(art, {"b.svg": own(art, "blue")})
    wait_for(lambda: statuses(watch).get("b.svg") == "prepared", "the picture in the new folder")


def test_a_look_that_finds_nothing_is_not_called_work(
    watch: ArtWatch, art: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform_kit.art.watch.MOMENT_S", float("inf"))  # however slow the machine is
    write(art, {"a.svg": own(art, "red")})
    watch.wait_idle()
    for _ in range(20):
        watch._changed()  # an event that comes late
        assert "art: watching" in watch.text()
    watch.wait_idle()
    assert "art: watching" in watch.text() and len(watch.history) == 1
    seconds = watch.history[["art_s", "seconds"]]
    assert (seconds == seconds.round(2)).all(axis=None)


def test_cards_that_show_a_changed_picture_render_again(
    platform: Platform, art: Path, tmp_path: Path
) -> None:
    write(art, {"fox.svg": own(art, "red"), "owl.svg": own(art, "blue")})
    rows = [{"id": f"watched-{name}", "name": name, "art": f"art/{name}.svg"} for name in ("fox", "owl")]
    deck = Deck([*rows, {"id": "watched-plain", "name": "plain"}], base_dir=tmp_path)
    with platform.watch_art(art, deck=deck, out=tmp_path / "cards", seed=3) as watch:
        assert watch.wait_idle().cards[-1].rendered == 3
        before = dict(watch.cards[-1].images)
        write(art, {"fox.svg": own(art, "green")})
        run = watch.wait_idle().cards[-1]
        assert (run.rendered, run.unchanged) == (1, 2)
        assert run.images["watched-fox"] != before["watched-fox"]
        assert run.images["watched-owl"] == before["watched-owl"]
        write(art, {"fox.svg": b"<svg"})
        run = watch.wait_idle().cards[-1]
        assert list(run.rejected["id"]) == ["watched-fox"] and run.unchanged == 2
        assert list(watch.rejected["path"]) == ["fox.svg"] and len(watch.rejected["reason"][0]) > 10
        (art / "fox.svg").unlink()
        run = watch.wait_idle().cards[-1]
        assert "not there" in run.rejected["reason"][0] and run.rejected["stage"][0] == "deck"
        write(art, {"fox.svg": own(art, "red")})
        run = watch.wait_idle().cards[-1]
        assert run.rejected.empty and bytes(run.images["watched-fox"]) == bytes(before["watched-fox"])
        assert list(watch.history["cards_rejected"])[-1] == 0
        files = {path.name for path in (tmp_path / "cards" / "cards").iterdir()}
        assert files == {"watched-fox.png", "watched-owl.png", "watched-plain.png"}


def test_a_deck_that_cannot_be_read_is_said_and_the_watch_goes_on(
    platform: Platform, art: Path, tmp_path: Path
) -> None:
    (tmp_path / "deck.csv").write_text("no,deck\n1,2\n")
    write(art, {"fox.svg": own(art, "red")})
    with platform.watch_art(art, deck=tmp_path / "deck.csv") as watch:
        with pytest.raises(DeckError):
            watch.wait_idle()
        assert "problem" in watch.text() and watch.counts["prepared"] == 1
        assert "⏎" not in watch.text() + watch.html() and "→" in watch.history["problem"].iloc[-1]
        (tmp_path / "deck.csv").write_text("id,name,art\nf,Fox,art/fox.svg\n")
        assert watch.wait_idle().cards[-1].rendered == 1


def test_a_watch_ends_with_its_platform_and_can_be_stopped_twice(art: Path) -> None:
    write(art, {"a.svg": svg()})
    with Platform() as platform:
        watch = platform.watch_art(art)
        watch.wait_idle()
        second = platform.watch_art(art)
        second.stop()
        second.stop()
        with pytest.raises(NotRunningError, match="stopped"):
            second.wait_idle()
    assert not watch.running and watch.counts["seen"] == 1
    with pytest.raises(NotRunningError, match="stopped"):
        _ = watch.images["a.svg"]
    with pytest.raises(NotRunningError, match=r"watch was stopped.*\n.*makes another"):
        watch.wait_idle()
    assert "art: stopped" in watch.text()
    watch.stop()


def test_what_cannot_be_watched_is_wrong_usage(platform: Platform, tmp_path: Path) -> None:
    (tmp_path / "file.png").write_bytes(b"")
    for folder, says in (("nothing", "is not there"), ("file.png", "is a file")):
        with pytest.raises(UsageError, match=says):
            platform.watch_art(tmp_path / folder)
    for out in (tmp_path, tmp_path / "cards"):
        with pytest.raises(UsageError, match="lies in the watched folder"):
            platform.watch_art(tmp_path, out=out)
    with pytest.raises(NotRunningError):
        Platform().prepare_art(tmp_path)


def test_an_empty_folder_is_no_error(platform: Platform, art: Path) -> None:
    run = prepare(platform, art)
    assert run.counts["seen"] == 0 and run.atlas is None and "0 = 0 prepared" in run.text()
