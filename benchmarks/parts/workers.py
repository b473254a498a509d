"""Four worker processes against two on the same cores: more processes must not make a run slower."""

from __future__ import annotations

import time
from pathlib import Path

from parts import deck as decks
from parts.report import Figure, median, say, work_folder
from platform_kit import Platform

TARGET = 0.97
"""1, less the noise of a run."""
WARM_ROUNDS = 4
"""How often each process has drawn each picture, on average, before the clock starts."""


def measure(cards: int, runs: int) -> list[Figure]:
    """Run a deck with 2 and with 4 workers, ``runs`` times, whichever is first taking turns."""
    with work_folder() as folder:
        with Platform() as platform:
            decks.draw_art(platform, folder)
        rates: dict[int, list[float]] = {2: [], 4: []}
        for run in range(runs):
            for count in (2, 4) if run % 2 == 0 else (4, 2):
                rates[count].append(_rate(folder, cards, count, f"{run}.{count}."))
            say(f"workers {run + 1}/{runs}: 2: {rates[2][-1]:.1f}, 4: {rates[4][-1]:.1f} cards/s")
    ratios = [four / two for two, four in zip(rates[2], rates[4], strict=True)]
    return [
        Figure("workers: 2 processes, cards/s", median(rates[2]), "1/s"),
        Figure("workers: 4 processes, cards/s", median(rates[4]), "1/s"),
        Figure("workers: 4 processes against 2", median(ratios), "", at_least=TARGET),
    ]


def _rate(folder: Path, cards: int, count: int, mark: str) -> float:
    # Each process has caches of its own, and gets a card of each picture only after some rounds.
    warm = decks.rows(WARM_ROUNDS * count * len(decks.sample_rows()), mark=f"warm.{mark}")
    with Platform(workers=count) as platform:
        platform.generate(decks.of(warm, folder), progress=False)
        deck = decks.of(decks.rows(cards, mark=mark), folder)
        begun = time.perf_counter()
        run = platform.generate(deck, out=folder / f"out-{mark}", progress=False)
        assert run.rendered == cards, run.counts
        return cards / (time.perf_counter() - begun)
