"""What the way through NATS and Wombat costs a card in CPU time, beyond drawing it.

The CPU time of nats-server, Wombat and worker in a run, divided by its cards, less what the same handler
takes for the same requests when nothing is between: a Go program (alone_test.go beside the renderer's
source) that reads the requests from a file, the assets from a folder, and drops the pictures. Both have
drawn the same cards with other names before. The way ends where the picture is stored and its result told;
what fetching it into a file adds is told apart. A second way to the same figure is a worker that draws
nothing and stores random bytes of a picture's size.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parts import deck as decks
from parts.processes import Cpu
from parts.report import Figure, cores, median, say, work_folder
from platform_kit import Platform, Template
from platform_kit.binaries.keys import Toolchain
from platform_kit.cards import generation

if TYPE_CHECKING:
    from nats.aio.client import Client

TARGET_MS = 1.2
STUB = Path(__file__).absolute().parents[1] / "stub_worker"
MODULE = Path(__file__).absolute().parents[2] / "platform_kit" / "go"
WORKER_SUBJECT = "workers.card-renderer"
BUILD_TIMEOUT_S, RUN_TIMEOUT_S = 600.0, 600.0
PICTURE_BYTES = 350_000
WARM_ROUNDS = 3
"""How often the renderer alone has drawn each picture of the sample deck before it is measured."""


def measure(cards: int, runs: int) -> list[Figure]:
    """Run a deck of ``cards`` illustrated cards ``runs`` times, each time beside the renderer alone."""
    with work_folder() as folder:
        program = _build(folder)
        with Platform() as platform:
            decks.draw_art(platform, folder)
        _requests(folder, decks.rows(cards, mark="same."))
        found: dict[str, list[float]] = {}
        for run in range(runs):
            whole, size = _through(folder, decks.rows(cards, mark=f"{run}."), out=None)
            fetched, _ = _through(folder, decks.rows(cards, mark=f"{run}."), out=folder / f"out-{run}")
            parts = {name: seconds / cards * 1000 for name, seconds in whole.items()}
            parts["alone"] = _alone(program, folder)
            parts["added"] = _servers(whole) / cards * 1000 - parts["alone"]
            parts["fetching"] = (_servers(fetched) - _servers(whole)) / cards * 1000
            parts["python"], parts["python fetching"] = (
                taken["python"] / cards * 1000 for taken in (whole, fetched)
            )
            parts["size"] = size / 1000
            parts["stub"] = _servers(_stub(cards)) / cards * 1000
            for name, value in parts.items():
                found.setdefault(name, []).append(value)
            say(
                f"transport {run + 1}/{runs}: "
                + ", ".join(f"{key} {value:.2f}" for key, value in parts.items())
            )
    middle = {name: median(values) for name, values in found.items()}
    return [
        Figure("transport: nats-server, CPU a card", middle["nats-server"], "ms"),
        Figure("transport: Wombat, CPU a card", middle["wombat"], "ms"),
        Figure("transport: worker, CPU a card", middle["worker"], "ms"),
        Figure("transport: renderer alone, CPU a card", middle["alone"], "ms"),
        Figure(
            "transport: added to the renderer alone, CPU a card", middle["added"], "ms", at_most=TARGET_MS
        ),
        Figure("transport: size of a picture, mean", middle["size"], "kB"),
        Figure(
            f"transport: all with {PICTURE_BYTES // 1000} kB that nobody draws, CPU a card",
            middle["stub"],
            "ms",
        ),
        Figure("transport: fetching into files, CPU a card of the servers", middle["fetching"], "ms"),
        Figure("transport: Python without pictures, CPU a card", middle["python"], "ms"),
        Figure("transport: Python with all pictures in files, CPU a card", middle["python fetching"], "ms"),
    ]


def _servers(taken: dict[str, float]) -> float:
    """What all but this Python took."""
    return sum(seconds for name, seconds in taken.items() if name != "python")


@contextmanager
def _leaving_pictures() -> Iterator[None]:
    """Runs without an output folder then keep no picture in memory, and so fetch none."""
    kept, generation.MEMORY_LIMIT_BYTES = generation.MEMORY_LIMIT_BYTES, 0
    try:
        yield
    finally:
        generation.MEMORY_LIMIT_BYTES = kept


def _through(folder: Path, rows: list[dict[str, str]], *, out: Path | None) -> tuple[dict[str, float], float]:
    """CPU seconds of each part for a run on a warm platform, and the mean size of a picture in bytes.

    Without ``out`` the pictures stay in their stream.
    """
    warm = decks.rows(len(decks.sample_rows()), mark="warm.")
    with Platform() as platform, _leaving_pictures():
        platform.generate(decks.of(warm, folder), progress=False)
        with Cpu(platform) as cpu:
            run = platform.generate(decks.of(rows, folder), out=out, progress=False)
        assert run.rendered == len(rows), run.counts
        sizes = [outcome.image.bytes for outcome in run.outcomes if outcome.image is not None]
    return cpu.seconds, sum(sizes) / len(sizes)


def _stub(cards: int) -> dict[str, float]:
    """CPU seconds of each part with a worker that stores random bytes instead of a drawn card."""
    with Platform(workers=0) as platform, _leaving_pictures():
        platform.start_workers(STUB, env={"STUB_BYTES": str(PICTURE_BYTES)})
        platform.generate(decks.of(decks.rows(20, art=False, mark="warm."), STUB), progress=False)
        with Cpu(platform) as cpu:
            run = platform.generate(decks.of(decks.rows(cards, art=False), STUB), progress=False)
        assert run.rendered == cards, run.counts
    return cpu.seconds


# ----------------------------------------------------------------------------------- the renderer alone


def _build(folder: Path) -> Path:
    """The renderer with nothing around it, as a program."""
    program = folder / "alone"
    _go("test", "-c", "-trimpath", "-ldflags", "-s -w", "-o", str(program), "./cmd/card-renderer")
    return program


def _go(*arguments: str) -> None:
    env = {
        **os.environ,
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-mod=readonly",
        "GOWORK": "off",
        "CGO_ENABLED": "0",
    }
    done = subprocess.run(
        [str(Toolchain.find().go), *arguments],
        cwd=MODULE,
        env=env,
        capture_output=True,
        text=True,
        timeout=BUILD_TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"go {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")


def _requests(folder: Path, rows: list[dict[str, str]]) -> None:
    """Write what a worker is sent for these rows, one request a line, what to draw before, and the assets."""
    warm = decks.rows(WARM_ROUNDS * len(decks.sample_rows()), mark="warm.")
    seen: list[bytes] = []
    with Platform() as platform:

        async def listen() -> Client:
            client = await platform.connect()

            async def keep(message: Any) -> None:
                seen.append(message.data)

            await client.subscribe(WORKER_SUBJECT, cb=keep)
            await client.flush()
            return client

        async def whole_run() -> None:
            client = await listen()
            run = await asyncio.to_thread(
                platform.generate, decks.of([*warm, *rows], folder), out=folder / "same", progress=False
            )
            assert run.rendered == len(warm) + len(rows), run.counts
            await client.close()

        asyncio.run(whole_run())
    by_id = {json.loads(data)["id"]: data for data in seen}  # asked again, a card is there twice
    for file, wanted in (("warm.jsonl", warm), ("requests.jsonl", rows)):
        (folder / file).write_bytes(b"\n".join(by_id[row["id"]] for row in wanted))
    assets = folder / "assets"
    assets.mkdir()
    template = Template.read("classic")
    for digest, data in {template.digest: template.bundle(), **template.files()}.items():
        (assets / digest).write_bytes(data)
    for path in (folder / "art").iterdir():
        data = path.read_bytes()
        (assets / hashlib.sha256(data).hexdigest()).write_bytes(data)


def _alone(program: Path, folder: Path) -> float:
    """CPU milliseconds a card of the handler without a platform, as many cards at once as there are cores."""
    done = subprocess.run(
        [str(program), "-test.run", "^$", "-test.bench", "^BenchmarkAlone$", "-test.benchtime", "1x"],
        env={
            **os.environ,
            "ALONE_FOLDER": str(folder),
            "ALONE_WARM": str(folder / "warm.jsonl"),
            "ALONE_REQUESTS": str(folder / "requests.jsonl"),
            "GOMAXPROCS": str(cores()),
        },
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
        check=False,
    )
    found = re.search(r"([0-9.]+) cpu-ms/card", done.stdout)
    if found is None:
        raise SystemExit(f"the renderer alone said no figure:\n{done.stdout}{done.stderr}")
    return float(found[1])
