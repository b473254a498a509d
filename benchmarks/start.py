"""How long a platform takes from ``start()`` until a card can be requested, and an import of the package.

    .venv/bin/python benchmarks/start.py [RUNS]

Prints a table and one JSON object. The binaries have to be built; the first start of a process, which also
imports the NATS client, is listed apart. "ready" is measured to the end of the first card as well, to show
that nothing was put off.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time

IMPORT = "import time; t = time.perf_counter(); import platform_kit; print(time.perf_counter() - t)"
FIRST = """
import time
from platform_kit import Platform
platform = Platform()
t = time.perf_counter()
platform.start()
print(time.perf_counter() - t)
platform.stop()
"""


def in_new_process(code: str, runs: int) -> list[float]:
    """Seconds the code prints, each in a Python of its own."""
    command = [sys.executable, "-c", code]
    return [float(subprocess.check_output(command, text=True)) for _ in range(runs)]


def in_this_process(runs: int) -> tuple[list[float], list[float], list[float]]:
    """Seconds to start, to the first card of a started platform, and to stop."""
    from platform_kit import Deck, Platform

    deck = Deck([{"id": "1", "name": "First Card"}])
    starts, cards, stops = [], [], []
    for run in range(runs + 1):
        platform = Platform()
        begun = time.perf_counter()
        platform.start()
        started = time.perf_counter()
        assert platform.generate(deck, progress=False).rendered == 1
        rendered = time.perf_counter()
        platform.stop()
        if run:  # the first imports modules
            starts.append(started - begun)
            cards.append(rendered - started)
            stops.append(time.perf_counter() - rendered)
    return starts, cards, stops


def main() -> None:
    """Measure and print."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    starts, cards, stops = in_this_process(runs)
    figures = {
        "start": starts,
        "start, first of a process": in_new_process(FIRST, runs),
        "first card after start": cards,
        "stop": stops,
        "import platform_kit": in_new_process(IMPORT, runs),
    }
    print(f"{'':28}{'median':>10}{'min':>10}{'max':>10}   (milliseconds, {runs} runs)")
    for name, seconds in figures.items():
        values = (statistics.median(seconds), min(seconds), max(seconds))
        print(f"{name:28}" + "".join(f"{value * 1000:10.1f}" for value in values))
    print(json.dumps({name: round(statistics.median(seconds), 4) for name, seconds in figures.items()}))


if __name__ == "__main__":
    main()
