"""What the way through NATS and Wombat costs a run of the sample deck.

    .venv/bin/python benchmarks/generate.py [RUNS]

Each run renders the deck on a fresh platform that is already started. "busy" is the time the renderer says
it spent drawing and encoding, divided by the cores it may use: no run can be shorter. The ratio of the two is
the figure to quote; seconds alone say more about the machine.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
from pathlib import Path

from platform_kit import Deck, Platform

DECK = Path(__file__).resolve().parents[1] / "notebooks" / "data" / "deck.csv"


def main() -> None:
    """Measure and print."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    deck = Deck.read(DECK)
    # The renderer as a Go program uses the cores this process may use.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    seconds, ratios, again = [], [], []
    for _ in range(runs):
        with Platform() as platform:
            run = platform.generate(deck, seed=7, progress=False)
            assert run.rendered == len(deck), run
            frame = run.frame
            busy = float(frame["draw_ms"].sum() + frame["encode_ms"].sum()) / 1000 / cores
            seconds.append(run.seconds)
            ratios.append(busy / run.seconds)
            second = platform.generate(deck, seed=7, progress=False)
            assert second.unchanged == len(deck), second
            again.append(second.seconds)
    figures = {
        "cards": len(deck),
        "seconds, all rendered": round(statistics.median(seconds), 2),
        "cards a second": round(len(deck) / statistics.median(seconds), 1),
        "share of the time the cores draw": round(statistics.median(ratios), 2),
        "seconds, nothing changed": round(statistics.median(again), 2),
    }
    for name, value in figures.items():
        print(f"{name:36}{value:>10}")
    print(f"(median of {runs} runs, {cores} cores)")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
