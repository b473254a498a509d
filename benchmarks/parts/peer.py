"""Cards a second of this platform, divided by those of FastStream and Pillow on the same cores.

Both get the same requests by JetStream from the same kind of nats-server, and write the same cards with the
same art into files. Both have drawn the sample deck before, so that each has what it keeps: template, fonts,
frames, art, words. The clock of the peer runs from its first publish to its last file; ours runs for the
whole of ``platform.generate``, which also reads, uploads and accounts.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nats.js.api import RetentionPolicy, StreamConfig
from PIL import Image, ImageChops, ImageStat

from parts import deck as decks
from parts.processes import Cpu
from parts.report import Figure, cores, median, say, work_folder
from platform_kit import Platform
from platform_kit.names import file_names

if TYPE_CHECKING:
    from nats.aio.client import Client

TARGET = 2.5
START_TIMEOUT_S, STOP_TIMEOUT_S = 60.0, 10.0
STREAM, SUBJECT, DURABLE = "PEER_REQUESTS", "peer.requested", "peer"
BENCHMARKS = Path(__file__).absolute().parents[1]


def measure(cards: int, runs: int, *, pictures: Path | None = None) -> list[Figure]:
    """Run both sides ``runs`` times on two decks of ``cards`` illustrated cards.

    In the first, pictures come again, as in a deck that is being worked on; in the second, each card has one
    that neither side has seen. ``pictures`` is a folder for some cards of both sides, one beside the other.
    """
    return [
        *_compare(cards, runs, "peer", new=False, target=TARGET, pictures=pictures),
        *_compare(cards, runs, "peer, every picture new", new=True, target=None, pictures=None),
    ]


def _compare(
    cards: int, runs: int, name: str, *, new: bool, target: float | None, pictures: Path | None
) -> list[Figure]:
    ours: list[Side] = []
    theirs: list[Side] = []
    likeness, sizes = 0.0, (0, 0)
    for run in range(runs):
        with work_folder() as folder:
            rows = decks.rows(cards, mark=f"{run}.", new=new)
            with Platform() as platform:
                decks.draw_art(platform, folder)
            if new:
                decks.vary_art(folder, cards)
            warm = decks.rows(len(decks.sample_rows()), mark="warm.")
            (folder / "warm.json").write_text(json.dumps(warm), encoding="utf-8")
            with Platform() as platform:
                platform.generate(decks.of(warm, folder), out=folder / "warm", progress=False)
                ours.append(_kit(platform, folder, rows))
            theirs.append(peer_side(folder, rows))
            sizes = (_bytes(folder / "kit" / "cards"), _bytes(folder / "peer"))
            likeness = difference(folder, rows[: len(decks.sample_rows())])
            if pictures is not None:
                side_by_side(folder, rows[: len(decks.sample_rows())], pictures)
            say(f"{name} {run + 1}/{runs}: ours {ours[-1]}, FastStream and Pillow {theirs[-1]}")
    ratios = [its.seconds / our.seconds for our, its in zip(ours, theirs, strict=True)]
    return [
        Figure(f"{name}: this platform, cards/s", median([cards / one.seconds for one in ours]), "1/s"),
        Figure(
            f"{name}: FastStream and Pillow, {cores()} processes, cards/s",
            median([cards / one.seconds for one in theirs]),
            "1/s",
        ),
        Figure(f"{name}: how many times as fast", median(ratios), "", at_least=target),
        Figure(
            f"{name}: our CPU a card, all processes",
            median([one.cpu_s for one in ours]) / cards * 1000,
            "ms",
        ),
        Figure(
            f"{name}: its CPU a card, all processes",
            median([one.cpu_s for one in theirs]) / cards * 1000,
            "ms",
        ),
        Figure(f"{name}: size of our files, mean", sizes[0] / cards / 1000, "kB"),
        Figure(f"{name}: size of its files, mean", sizes[1] / cards / 1000, "kB"),
        Figure(f"{name}: mean difference of the pictures, of 255", likeness, ""),
    ]


@dataclass(frozen=True)
class Side:
    """How long a side took, on the clock and of the cores."""

    seconds: float
    cpu_s: float

    def __str__(self) -> str:
        return f"{self.seconds:.2f} s, {self.cpu_s:.2f} s of CPU"


def _kit(platform: Platform, folder: Path, rows: list[dict[str, str]]) -> Side:
    deck = decks.of(rows, folder)
    begun = time.perf_counter()
    with Cpu(platform) as cpu:
        run = platform.generate(deck, out=folder / "kit", progress=False)
    seconds = time.perf_counter() - begun
    assert run.rendered == len(rows), run.counts
    return Side(seconds, sum(cpu.seconds.values()))


def peer_side(folder: Path, rows: list[dict[str, str]], *, processes: int = 0) -> Side:
    """Let the peer draw these rows into ``folder/peer``; its clock stops at the time of the last file."""
    out = folder / "peer"
    out.mkdir()
    names = file_names([row["id"] for row in rows], ".png")
    requests = [{"row": row, "file": names[row["id"]]} for row in rows]
    with Platform(workers=0) as platform:
        asyncio.run(_make_stream(platform))
        with _workers(platform, folder, processes or cores()) as pids, Cpu(platform, pids) as cpu:
            begun = asyncio.run(_publish(platform, requests))
    written = [path.stat().st_mtime for path in out.iterdir()]
    assert len(written) == len(rows), f"the peer wrote {len(written)} of {len(rows)} cards"
    return Side(max(written) - begun, sum(cpu.seconds.values()))


async def _make_stream(platform: Platform) -> None:
    client = await platform.connect()
    try:
        await client.jetstream().add_stream(
            StreamConfig(name=STREAM, subjects=[f"{SUBJECT}.*"], retention=RetentionPolicy.WORK_QUEUE)
        )
    finally:
        await client.close()


@contextmanager
def _workers(platform: Platform, folder: Path, count: int) -> Iterator[list[int]]:
    """So many processes of the peer, ready; gives their ids."""
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(BENCHMARKS), os.environ.get("PYTHONPATH", "")]),
        "PEER_NATS_URL": platform.nats_url,
        "PEER_SEED_FILE": str(platform.credentials_file("admin")),
        "PEER_FOLDER": str(folder),
    }
    command = [sys.executable, "-m", "peers.faststream_pillow.app"]
    running = [subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) for _ in range(count)]
    try:
        for process in running:
            assert process.stdout is not None
            if process.stdout.readline().strip() != "ready":
                raise RuntimeError(f"the peer ended with {process.wait(STOP_TIMEOUT_S)} before it was ready")
        yield [process.pid for process in running]
    finally:
        for process in running:
            process.terminate()
        for process in running:
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            assert process.stdout is not None
            process.stdout.close()


async def _publish(platform: Platform, requests: list[dict[str, Any]]) -> float:
    """Publish all requests and wait until each is acknowledged; returns when the first was published."""
    client: Client = await platform.connect()
    js, gate = client.jetstream(), asyncio.Semaphore(200)

    async def one(number: int, request: dict[str, Any]) -> None:
        async with gate:
            payload = json.dumps(request, ensure_ascii=False).encode()
            await js.publish(f"{SUBJECT}.{number}", payload, headers={"content-type": "application/json"})

    try:
        begun = time.time()
        await asyncio.gather(*(one(number, request) for number, request in enumerate(requests)))
        while True:
            info = await js.consumer_info(STREAM, DURABLE)
            if not info.num_pending and not info.num_ack_pending:
                return begun
            await asyncio.sleep(0.1)
    finally:
        await client.close()


def difference(folder: Path, rows: list[dict[str, str]]) -> float:
    """Mean absolute difference of the two sides' cards, over all pixels and colours, of 255."""
    found = [ImageStat.Stat(ImageChops.difference(*pair)).mean for pair in _pairs(folder, rows)]
    return sum(sum(channels) / len(channels) for channels in found) / len(found)


def side_by_side(folder: Path, rows: list[dict[str, str]], pictures: Path) -> None:
    """Write every tenth card of both sides and, made stronger, their difference into one picture each."""
    pictures.mkdir(parents=True, exist_ok=True)
    for number, (ours, theirs) in enumerate(_pairs(folder, rows[::10])):
        sheet = Image.new("RGB", (3 * ours.width, ours.height))
        changed = ImageChops.difference(ours, theirs).point(lambda value: min(255, 3 * value))
        for column, picture in enumerate((ours, theirs, changed)):
            sheet.paste(picture, (column * ours.width, 0))
        sheet.save(pictures / f"{number}.png")


def _pairs(folder: Path, rows: list[dict[str, str]]) -> Iterator[tuple[Image.Image, Image.Image]]:
    for name in file_names([row["id"] for row in rows], ".png").values():
        with (
            Image.open(folder / "kit" / "cards" / name) as ours,
            Image.open(folder / "peer" / name) as theirs,
        ):
            yield ours.convert("RGB"), theirs.convert("RGB")


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())
