"""From a deck to its cards: every row accounted for, nothing twice, whatever is killed on the way."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from nats.js.object_store import ObjectStore
from PIL import Image, ImageChops, ImageOps, ImageStat
from support import wait_for

from platform_kit import Deck, Pipeline, Platform, Template
from platform_kit.cards import output_folder
from platform_kit.cards.run import CardRun
from platform_kit.errors import DeckError, NotRunningError, RunCancelled, RunError, TemplateError, UsageError

ROOT = Path(__file__).parents[2]
SVG = "http://www.w3.org/2000/svg"
SAMPLE = ROOT / "notebooks" / "data"


def small_deck(count: int = 6, **more: object) -> Deck:
    return Deck([{"id": f"card-{number}", "name": f"Card {number}", **more} for number in range(count)])


def adds_up(run: CardRun) -> bool:
    frame = run.frame
    return (
        run.requested == run.rendered + run.unchanged + len(run.rejected) == len(frame)
        and dict(run.counts) == {"requested": len(frame), **_statuses(run)}
        and not frame["row"].duplicated().any()
    )


def _statuses(run: CardRun) -> dict[str, int]:
    counted = run.frame["status"].value_counts()
    return {status: int(counted.get(status, 0)) for status in ("rendered", "unchanged", "rejected")}


def test_a_deck_becomes_pictures(platform: Platform) -> None:
    run = platform.generate(small_deck(), progress=False)
    assert (run.rendered, run.unchanged, len(run.rejected)) == (6, 0, 0) and adds_up(run)
    assert list(run.images) == [f"card-{number}" for number in range(6)]
    for card_id, png in run.images.items():
        with Image.open(io.BytesIO(png)) as image:
            image.load()
            assert image.size == (750, 1050) and image.format == "PNG"
        row = run.frame.set_index("id").loc[card_id]
        assert row["digest"] == hashlib.sha256(png).hexdigest() and row["bytes"] == len(png)
        assert row["attempt"] == 1 and row["draw_ms"] > 0
    assert len({bytes(png) for png in run.images.values()}) == 6


def test_the_same_deck_and_seed_give_the_same_bytes(tmp_path: Path) -> None:
    pictures = []
    for attempt in range(2):
        with Platform(tmp_path / str(attempt)) as platform:
            run = platform.generate(small_deck(3), seed=5, progress=False)
            assert run.rendered == 3
            pictures.append({card_id: bytes(png) for card_id, png in run.images.items()})
    assert pictures[0] == pictures[1]


def test_only_what_changed_is_rendered_again_with_the_same_data(platform: Platform) -> None:
    deck = small_deck(5, text="the same text", set="incremental data")
    assert platform.generate(deck, seed=1, progress=False).rendered == 5
    assert platform.generate(deck, seed=1, progress=False).unchanged == 5
    edited = platform.generate(deck.with_value("card-2", "text", "another text"), seed=1, progress=False)
    assert (edited.rendered, edited.unchanged) == (1, 4)
    assert edited.frame.set_index("id").loc["card-2", "status"] == "rendered"
    assert platform.generate(deck, "minimal", seed=1, progress=False).rendered == 5
    assert platform.generate(deck, "minimal", seed=2, progress=False).rendered == 5


def test_only_what_changed_is_rendered_again_with_the_same_folder(tmp_path: Path) -> None:
    deck = small_deck(4)
    with Platform() as platform:
        first = platform.generate(deck, out=tmp_path / "out", progress=False)
        files = {path.name: path.read_bytes() for path in (tmp_path / "out" / "cards").iterdir()}
        assert first.rendered == len(files) == 4
    with Platform() as platform:  # nothing of the first is left but the folder
        assert platform.generate(deck, out=tmp_path / "out", progress=False).unchanged == 4
        (tmp_path / "out" / "cards" / "card-1.png").unlink()
        (tmp_path / "out" / "cards" / "card-2.png").write_bytes(b"painted over")
        mended = platform.generate(deck, out=tmp_path / "out", progress=False)
        assert (mended.rendered, mended.unchanged) == (2, 2)
        assert files == {path.name: path.read_bytes() for path in (tmp_path / "out" / "cards").iterdir()}
        (tmp_path / "out" / "manifest.json").write_text("{ torn")
        from_streams = platform.generate(deck, out=tmp_path / "out", progress=False)
        assert (from_streams.rendered, from_streams.unchanged) == (2, 2)


def test_a_picture_that_changes_renders_the_cards_that_show_it(platform: Platform, tmp_path: Path) -> None:
    circle = f'<svg xmlns="{SVG}" viewBox="0 0 4 3"><circle cx="2" cy="1" r="1" fill="{{}}"/></svg>'
    for name in ("a", "b"):
        (tmp_path / f"{name}.svg").write_text(circle.format("red"))
    rows = [{"id": f"art-{name}", "name": name, "art": f"{name}.svg"} for name in ("a", "b")]
    assert platform.generate(Deck(rows, base_dir=tmp_path), progress=False).rendered == 2
    (tmp_path / "b.svg").write_text(circle.format("blue"))
    second = platform.generate(Deck(rows, base_dir=tmp_path), progress=False)
    assert (second.rendered, second.unchanged) == (1, 1)
    # The seed decides procedural art only: cards with a picture stay as they are.
    assert platform.generate(Deck(rows, base_dir=tmp_path), seed=99, progress=False).unchanged == 2


def test_the_broken_deck_loses_no_row(platform: Platform, tmp_path: Path) -> None:
    deck = Deck.read(SAMPLE / "broken.csv")
    run = platform.generate(deck, out=tmp_path / "out", progress=False)
    assert adds_up(run) and run.requested == len(deck)
    assert run.rendered >= 8 and len(run.rejected) >= 15
    assert set(run.rejected["stage"]) == {"deck", "rules"}
    assert run.rejected["reason"].str.len().min() > 5
    inside = (tmp_path / "out").resolve()
    assert all(path.resolve().is_relative_to(inside) for path in inside.rglob("*"))
    assert len(list((inside / "cards").glob("*.png"))) == run.rendered


@pytest.mark.parametrize(
    "card_id",
    [
        "../../escape",
        "a.b.*.>",
        "spaces and\ttabs?",
        "Æther Vial",
        "龙",
        "%41",
        "~",
        "x" * 5000,
        "CON",
        ".",
        "*",
        ">",
    ],
)
def test_any_text_can_be_an_id(platform: Platform, tmp_path: Path, card_id: str) -> None:
    if "\t" in card_id:
        card_id = card_id.replace("\t", " ")
    run = platform.generate(Deck([{"id": card_id, "name": "odd"}]), out=tmp_path / "out", progress=False)
    assert run.rendered + run.unchanged == 1, run
    assert list(run.images) == [card_id]
    (file,) = (tmp_path / "out" / "cards").iterdir()
    assert file.name == Path(run.frame["file"][0]).name


def test_ids_that_differ_only_in_case_get_files_of_their_own(platform: Platform, tmp_path: Path) -> None:
    deck = Deck([{"id": "Ace", "name": "upper"}, {"id": "ace", "name": "lower"}])
    run = platform.generate(deck, out=tmp_path / "out", progress=False)
    names = [Path(file).name.casefold() for file in run.frame["file"]]
    assert len(set(names)) == 2 and run.images["Ace"] != run.images["ace"]


def test_bad_art_is_the_cards_own_fault(platform: Platform, tmp_path: Path) -> None:
    (tmp_path / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n and then nothing")
    (tmp_path / "outside.svg").write_text(
        f'<svg xmlns="{SVG}" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 4 3">'
        '<image xlink:href="file:///etc/passwd" width="4" height="3"/></svg>'
    )
    rows = [
        {"id": "torn", "name": "torn", "art": "torn.png"},
        {"id": "outside", "name": "outside", "art": "outside.svg"},
        {"id": "fine", "name": "fine"},
    ]
    run = platform.generate(Deck(rows, base_dir=tmp_path), progress=False)
    assert adds_up(run) and "fine" in run.images
    rejected = run.rejected.set_index("id")
    assert rejected.loc["torn", "stage"] == "render" and rejected.loc["torn", "column"] == "art"


def test_webp_and_photographs_are_shown_as_pillow_shows_them(platform: Platform, tmp_path: Path) -> None:
    plain = Image.merge("RGB", [Image.radial_gradient("L").resize((90, 60), box=(0, 0, 200, 100))] * 3)
    plain.paste((200, 30, 20), (0, 0, 30, 15))
    clear = plain.convert("RGBA")
    clear.putalpha(Image.linear_gradient("L").resize(plain.size))
    exif = Image.Exif()
    pictures: dict[str, tuple[Image.Image, dict[str, Any]]] = {
        "lossy.webp": (plain, {"quality": 95}),
        "lossless.webp": (clear, {"lossless": True}),
    }
    for orientation in range(1, 9):
        exif[274] = orientation
        pictures[f"turned-{orientation}.jpg"] = (plain, {"quality": 95, "exif": exif.tobytes()})
    exif[274] = 6
    pictures["turned.webp"] = (plain, {"lossless": True, "exif": exif.tobytes()})
    rows = []
    for name, (image, options) in pictures.items():
        image.save(tmp_path / name, **options)
        ImageOps.exif_transpose(Image.open(tmp_path / name)).save(tmp_path / f"{name}.png")
        rows += [{"id": file, "name": file, "art": file} for file in (name, f"{name}.png")]
    whole = (tmp_path / "lossy.webp").read_bytes()
    torn = {"cut.webp": whole[: len(whole) // 2], "other.webp": (tmp_path / "turned-1.jpg").read_bytes()}
    for name, data in torn.items():
        (tmp_path / name).write_bytes(data)
        rows.append({"id": name, "name": name, "art": name})
    (tmp_path / "art.yaml").write_text(
        "name: art\nsize: {width: 80, height: 70}\nlayers:\n- {kind: art, box: [0, 0, 80, 70], fit: cover, "
        "position: [0.2, 0.7], palette: ['#000', '#333', '#999', '#fff']}\n"
    )
    template = Template.read(tmp_path / "art.yaml")
    run = platform.generate(Deck(rows, base_dir=tmp_path), template=template, progress=False)
    assert adds_up(run) and set(run.rejected["id"]) == set(torn), run.rejected
    rejected = run.rejected.set_index("id")
    assert set(rejected["column"]) == {"art"} and "not a whole WebP" in rejected.loc["cut.webp", "reason"]
    assert "its content is JPEG; name it .jpg" in rejected.loc["other.webp", "reason"]
    for name in pictures:
        # Where a photograph's colours are fewer than its pixels, programs guess differently what is between.
        shown, wanted = (run.images[card].image().convert("RGB") for card in (name, f"{name}.png"))
        difference = ImageStat.Stat(ImageChops.difference(shown, wanted))
        assert max(difference.mean) < 2, (name, difference.mean)


def test_missing_glyphs_are_named(platform: Platform) -> None:
    run = platform.generate(Deck([{"id": "linear-b", "name": "𐀀𐀁 Tablet"}]), progress=False)
    assert run.rendered == 1
    assert any("U+10000" in text for _, text in run.warnings), run.warnings


def test_a_run_can_be_followed_waited_for_and_awaited(platform: Platform) -> None:
    run = platform.generate(small_deck(12, text="followed"), wait=False, progress=False)
    assert run.progress.total == 12
    assert run.wait(60) is run and run.done and run.rendered == 12

    async def cell() -> CardRun:
        return await platform.generate(small_deck(2, text="awaited"), wait=False, progress=False)

    assert asyncio.run(cell()).rendered == 2


def test_a_run_can_be_cancelled_and_run_again(platform: Platform) -> None:
    deck = small_deck(60, text="cancelled")
    run = platform.generate(deck, wait=False, progress=False)
    assert run.cancel()
    with pytest.raises(RunCancelled):
        run.wait(30)
    again = platform.generate(deck, progress=False)
    assert again.rendered + again.unchanged == 60


def test_two_runs_at_once_keep_their_results_apart(platform: Platform) -> None:
    decks = [small_deck(10, text=f"at once {name}") for name in ("one", "two")]
    runs = [platform.generate(deck, wait=False, progress=False) for deck in decks]
    assert [run.wait(60).rendered for run in runs] == [10, 10]
    assert runs[0].images["card-0"] != runs[1].images["card-0"]


def test_a_run_whose_file_was_written_over_still_shows_its_own_picture(
    platform: Platform, tmp_path: Path
) -> None:
    deck = small_deck(1, text="written over")
    first = platform.generate(deck, out=tmp_path / "out", progress=False)
    before = bytes(first.images["card-0"])
    second = platform.generate(deck.with_value("card-0", "name", "New"), out=tmp_path / "out", progress=False)
    assert bytes(first.images["card-0"]) == before != bytes(second.images["card-0"])


def test_sheets_and_report_are_written(platform: Platform, tmp_path: Path) -> None:
    rows = [{"id": "<b>", "name": "<script>alert(1)</script>"}, {"id": "broken"}]
    run = platform.generate(Deck(rows), out=tmp_path / "out", progress=False)
    sheet = run.contact_sheet(tmp_path / "sheet.png")
    assert sheet.size[0] > 100 and (tmp_path / "sheet.png").exists()
    assert run.print_sheets().read_bytes().startswith(b"%PDF")
    assert run.print_sheets(tmp_path / "letter.pdf", paper="Letter").exists()
    page = run.report().read_text(encoding="utf-8")
    assert "<script>alert(1)" not in page and "&lt;script&gt;alert(1)" in page
    assert "<script>alert(1)" not in (run._repr_html_() or "")
    assert "name is missing" in page and "name is missing" in repr(run)


def test_without_a_folder_pictures_outlive_the_platform() -> None:
    with Platform() as platform:
        run = platform.generate(small_deck(2), progress=False)
    assert all(png.startswith(b"\x89PNG") for png in run.images.values())
    with pytest.raises(UsageError, match="no folder"):
        run.print_sheets()
    with pytest.raises(KeyError, match="nobody"):
        _ = run.images["nobody"]
    with pytest.raises(NotRunningError, match=r"platform\.start"):
        platform.generate(small_deck(1))


def test_files_that_cannot_be_used_are_one_clear_error(platform: Platform, tmp_path: Path) -> None:
    with pytest.raises(DeckError, match=r"nothing\.csv"):
        platform.generate(tmp_path / "nothing.csv")
    with pytest.raises(TemplateError, match="baroque"):
        platform.generate(small_deck(1), "baroque")
    with pytest.raises(UsageError, match="seed="):
        platform.generate(small_deck(1), seed=1.5)  # type: ignore[arg-type]


def results(platform: Platform) -> list[str]:
    """The card ids in CARD_RESULTS, one a message."""

    async def read() -> list[str]:
        client = await platform.connect()
        try:
            subscription = await client.jetstream().subscribe(
                "cards.>", stream="CARD_RESULTS", ordered_consumer=True
            )
            count = (await client.jetstream().stream_info("CARD_RESULTS")).state.messages
            return [json.loads((await subscription.next_msg(5)).data)["id"] for _ in range(count)]
        finally:
            await client.close()

    return asyncio.run(read())


FAULTS = ["nats-server", "wombat", "card-renderer-1", "all three"]


@pytest.mark.parametrize("victim", FAULTS)
def test_sigkill_in_the_middle_of_a_run_loses_no_card_and_doubles_none(victim: str) -> None:
    moments = random.Random(FAULTS.index(victim))
    with Platform() as platform:
        deck = small_deck(120, text=f"killed: {victim}")
        run = platform.generate(deck, wait=False, progress=False)
        for name in FAULTS[:3] if victim == "all three" else [victim]:
            reach = moments.randint(10, 40)
            wait_for(progressed(run, reach), f"card {reach}", 60.0)
            pid = next(item.pid for item in platform.status().services if item.name == name)
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
        run.wait(100)
        assert (run.rendered, run.unchanged, len(run.rejected)) == (120, 0, 0) and adds_up(run)
        assert sorted(results(platform)) == sorted(row.id for row in deck.rows)
        assert sum(item.restarts for item in platform.status().services) >= (
            3 if victim == "all three" else 1
        )


def test_a_changed_rule_is_applied_to_cards_that_were_rendered(tmp_path: Path) -> None:
    shipped = (ROOT / ".config" / "pipelines" / "render_cards.yaml").read_text(encoding="utf-8")
    stricter = shipped.replace("let name_characters = 200", "let name_characters = 5")
    assert stricter != shipped
    deck = Deck([{"id": "long", "name": "A Long Name"}, {"id": "short", "name": "Short"}])
    with Platform() as platform:
        assert platform.generate(deck, out=tmp_path / "out", progress=False).rendered == 2
        platform.deploy(Pipeline("render_cards", stricter))
        again = platform.generate(deck, out=tmp_path / "out", progress=False)
        assert (again.rendered, list(again.rejected["id"])) == (1, ["long"])


def test_two_runs_do_not_write_to_one_folder(platform: Platform, tmp_path: Path) -> None:
    first = platform.generate(small_deck(40, text="first"), out=tmp_path / "out", wait=False, progress=False)
    wait_for(lambda: first.progress.done > 0, "the first card", 30.0)
    with pytest.raises(RunError, match="Another run is writing"):
        platform.generate(small_deck(2), out=tmp_path / "out", progress=False)
    assert first.wait(60).rendered == 40
    assert (
        platform.generate(small_deck(40, text="first"), out=tmp_path / "out", progress=False).unchanged == 40
    )


def test_what_a_killed_run_had_done_is_not_done_again(tmp_path: Path) -> None:
    script = (
        "import sys; from platform_kit import Deck, Platform\n"
        "from platform_kit.cards import output_folder; output_folder.SAVE_EVERY_S = 0.0\n"
        "rows = [{'id': str(number), 'name': f'Card {number}'} for number in range(400)]\n"
        "Platform().start().generate(Deck(rows), out=sys.argv[1], progress=False)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "out")]) as process:
        manifest = tmp_path / "out" / "manifest.json"
        wait_for(manifest.exists, "a first manifest, in the middle of the run", 60.0)
        process.kill()
    known = json.loads(manifest.read_text(encoding="utf-8"))["cards"]
    assert 0 < len(known) < 400
    deck = Deck([{"id": card, "name": f"Card {card}"} for card in [*known, "400"]])
    with Platform() as platform:
        run = platform.generate(deck, out=tmp_path / "out", progress=False)
        assert (run.unchanged, run.rendered) == (len(known), 1)


@pytest.mark.parametrize("name", ["ünï", 'quo"te', "sp ace", "do$llar", "龙"])
def test_any_folder_can_hold_the_data(tmp_path: Path, name: str) -> None:
    with Platform(tmp_path / name) as platform:
        assert platform.generate(small_deck(1), out=tmp_path / name / "out", progress=False).rendered == 1


def test_what_cannot_be_meant_is_a_usage_error(platform: Platform) -> None:
    deck = small_deck(1)
    wrong: list[dict[str, Any]] = [
        {"template": None},
        {"template": 5},
        {"out": 5},
        {"out": "a\0b"},
        {"out": ""},
        {"stall_timeout_s": "x"},
        {"stall_timeout_s": 0},
    ]
    for arguments in wrong:
        with pytest.raises(UsageError, match=next(iter(arguments))):
            platform.generate(deck, **arguments)
    with pytest.raises(UsageError, match="data_dir"):
        Platform(5)  # type: ignore[arg-type]


def test_a_fork_leaves_the_platform_alone(platform: Platform) -> None:
    child = os.fork()
    if child == 0:
        try:
            platform.stop()
        finally:
            os._exit(0 if not platform.running else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert platform.generate(small_deck(1, text="after the fork"), progress=False).rendered == 1


def test_columns_that_nothing_shows_are_named(platform: Platform, tmp_path: Path) -> None:
    shipped = ROOT / "platform_kit" / "cards" / "templates" / "minimal.yaml"
    mine = tmp_path / "mine.yaml"
    text = shipped.read_text(encoding="utf-8")
    mine.write_text(text.replace("{name}", "{nmae}").replace("name: minimal", "name: mine"))
    run = platform.generate(Deck([{"id": "1", "name": "A", "preis": "3"}]), mine, progress=False)
    assert "preis" in run.unshown_columns and "nmae" in run.missing_columns
    assert "preis" in repr(run) and "nmae" in repr(run)


def test_an_upload_whose_answer_was_lost_is_done_again(monkeypatch: pytest.MonkeyPatch) -> None:
    # What is left when the server dies between storing an entry and saying so: an entry without its parts.
    real, lost = ObjectStore.put, [Template.read("classic").digest]

    async def put(self: ObjectStore, name: str, data: Any, meta: Any = None) -> Any:
        info = await real(self, name, data, meta)
        if name in lost:
            lost.remove(name)
            await self._js.purge_stream("OBJ_CARD_ASSETS", subject=f"$O.CARD_ASSETS.C.{info.nuid}")
            raise TimeoutError
        return info

    monkeypatch.setattr(ObjectStore, "put", put)
    with Platform() as platform:
        assert platform.generate(small_deck(1), progress=False, stall_timeout_s=20).rendered == 1
    assert not lost


@pytest.mark.parametrize("delay_s", [0.0, 0.05, 0.2])
def test_sigkill_of_nats_before_the_first_card_only_delays_the_run(delay_s: float) -> None:
    with Platform() as platform:
        pid = next(item.pid for item in platform.status().services if item.name == "nats-server")
        assert pid is not None
        killer = threading.Timer(delay_s, os.kill, (pid, signal.SIGKILL))
        killer.start()
        run = platform.generate(small_deck(10, text="early"), progress=False)
        killer.join()
        assert run.rendered == 10 and adds_up(run)


def progressed(run: CardRun, count: int) -> Callable[[], bool]:
    return lambda: run.progress.done >= count


def test_a_platform_without_a_worker_says_so_and_does_not_hang() -> None:
    from platform_kit.errors import RunStalled

    with Platform(workers=0) as platform:
        with pytest.raises(
            RunStalled, match=r"nothing moved for 1 s.*no worker card-renderer answers"
        ) as caught:
            platform.generate(small_deck(2), progress=False, stall_timeout_s=1.0)
        assert "scale_workers" in caught.value.hint
        platform.scale_workers("card-renderer", 1)
        assert platform.generate(small_deck(2), progress=False).rendered == 2


def test_a_deck_too_large_for_the_disk_is_told_before_it_is_rendered(
    platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = shutil.disk_usage(tmp_path).free
    monkeypatch.setattr(output_folder, "BYTES_PER_PIXEL", free)  # a card then needs more than there is
    with pytest.warns(
        UserWarning, match=r"1 cards may need .* each twice there .* are free\. If it runs full"
    ):
        platform.generate(small_deck(1, text="tight"), out=tmp_path / "out", progress=False)


def test_a_full_disk_is_one_error_that_says_so_and_the_next_run_goes_on(
    platform: Platform, tmp_path: Path
) -> None:
    cards = tmp_path / "out" / "cards"
    cards.mkdir(parents=True)
    # What is written there finds no room: the kernel's own answer, for one card and for the manifest.
    (cards / "card-7.png.new").symlink_to("/dev/full")
    (tmp_path / "out" / "manifest.json.new").symlink_to("/dev/full")
    deck = small_deck(20, text="no room")
    with pytest.raises(RunError, match=r"disk is full: .*card-7\.png takes .* are free") as caught:
        platform.generate(deck, out=tmp_path / "out", progress=False)
    assert "manifest" not in str(caught.value)
    assert not (cards / "card-7.png").exists() and not list(cards.glob("*.new"))
    again = platform.generate(deck, out=tmp_path / "out", progress=False)
    assert adds_up(again) and again.rendered + again.unchanged == 20
    assert len(list(cards.glob("*.png"))) == 20


def test_stopping_during_a_run_ends_the_run() -> None:
    platform = Platform().start()
    run = platform.generate(small_deck(200, text="stopped"), wait=False, progress=False)
    stopper = threading.Thread(target=platform.stop)
    stopper.start()
    with pytest.raises(RunCancelled):
        run.wait(30)
    stopper.join(30)
