"""How time and memory grow with the deck."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence

import psutil

from parts import deck as decks
from parts.processes import Memory
from parts.report import Figure, median, say, work_folder
from platform_kit import Platform

SIZES, LARGE = (100, 1_000), 20_000
MEMORY_TARGET_MB = 400
LINEAR = 1.15
"""How much longer a card of the largest deck may take than one of the smallest: noise, and the disk."""
CARD_BYTES = 500_000


def measure(sizes: Sequence[int], runs: int) -> list[Figure]:
    """Run decks of these sizes, each on a new platform; the largest once, the others ``runs`` times."""
    # In the stream and in the folder.
    with work_folder(2 * max(sizes) * CARD_BYTES) as folder:
        with Platform() as platform:
            decks.draw_art(platform, folder)
        warm = decks.rows(len(decks.sample_rows()), mark="warm.")
        figures: list[Figure] = []
        a_card: dict[int, float] = {}
        for size in sizes:
            times, peaks = [], []
            for run in range(1 if size >= LARGE else runs):
                deck = decks.of(decks.rows(size, mark=f"{size}.{run}."), folder)
                # The streams are kept beside the cards, so that both are on the disk that was asked for room.
                with Platform(folder / "data") as platform, Memory(platform) as memory:
                    platform.generate(decks.of(warm, folder), progress=False)
                    begun = time.perf_counter()
                    done = platform.generate(deck, out=folder / "out", progress=False)
                    times.append((time.perf_counter() - begun) / size * 1000)
                    assert done.rendered == size, done.counts
                peaks.append(memory.peak / 1e6)
                say(f"growth {size:,}: {times[-1]:.2f} ms a card, {peaks[-1]:.0f} MB: {_parts(memory)}")
                shutil.rmtree(folder / "out")
                shutil.rmtree(folder / "data")
            a_card[size] = median(times)
            figures += [
                Figure(f"growth: {size:,} cards, time a card", a_card[size], "ms"),
                Figure(f"growth: {size:,} cards, peak memory", max(peaks), "MB", at_most=MEMORY_TARGET_MB),
            ]
    python = psutil.Process().memory_info().rss / 1e6
    figures.append(Figure("growth: this Python, with the deck and its outcomes", python, "MB"))
    if len(a_card) > 1:
        largest, smallest = max(a_card), min(a_card)
        figures.append(
            Figure(
                f"growth: time a card at {largest:,}, of that at {smallest:,}",
                a_card[largest] / a_card[smallest],
                "",
                at_most=LINEAR,
            )
        )
    return figures


def _parts(memory: Memory) -> str:
    return ", ".join(f"{name} {size / 1e6:.0f}" for name, size in memory.parts.items())
