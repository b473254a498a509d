"""The figures cards are judged by: speed, cost of the way, memory, and what a crash does.

    .venv/bin/python benchmarks/cards.py [--part PART ...] [--cards N] [--runs N] [--json FILE]

Parts: peer, transport, workers, growth, echo, faults. Each figure is a ratio or a count taken within one run,
the median of ``--runs`` (3). Prints a table with targets, then one JSON object; progress goes to the error
stream. The peer wants the dependency group "bench": ``uv pip install --group bench``. Sizes:

    --part growth --large                    20,000 cards; 20 GB of disk for some minutes
    --part faults --kills 20 --cards 2000    what the project promises; an hour

Exit code 0 if every target is met, 1 if not.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
from pathlib import Path

from parts import echo, faults, growth, peer, transport, workers
from parts.report import Figure, cores, say, table

PARTS = ("peer", "transport", "workers", "growth", "echo", "faults")


def main() -> int:
    """Measure and print."""
    arguments = _arguments()
    chosen = arguments.part or PARTS
    if "peer" in chosen and importlib.util.find_spec("faststream") is None:
        sys.exit("FastStream is not installed: uv pip install --group bench")
    if os.getloadavg()[0] > 0.5:
        say(f"The machine is busy (load {os.getloadavg()[0]:.1f}): figures below are worse than they are.")
    figures: list[Figure] = []
    for part in chosen:
        figures += _measure(part, arguments)
    print(table(figures))
    print(f"(median of {arguments.runs} runs, {cores()} cores)")
    found = json.dumps({figure.name: figure.as_dict() for figure in figures}, ensure_ascii=False)
    print(found)
    if arguments.json is not None:
        arguments.json.write_text(found + "\n", encoding="utf-8")
    return 1 if any(figure.met is False for figure in figures) else 0


def _measure(part: str, arguments: argparse.Namespace) -> list[Figure]:
    cards, runs = arguments.cards, arguments.runs
    match part:
        case "peer":
            return peer.measure(cards or 300, runs, pictures=arguments.pictures)
        case "transport":
            return transport.measure(cards or 300, runs)
        case "workers":
            return workers.measure(cards or 300, runs)
        case "growth":
            sizes = (*growth.SIZES, growth.LARGE) if arguments.large else growth.SIZES
            return growth.measure(sizes, runs)
        case "echo":
            return echo.measure(runs)
        case _:
            return faults.measure(cards or 300, arguments.kills, seed=arguments.seed)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", action="append", choices=PARTS, help="only this one; may be given again")
    parser.add_argument("--cards", type=int, help="cards of a run (300)")
    parser.add_argument("--runs", type=int, default=3, help="the median of so many (3)")
    parser.add_argument("--large", action="store_true", help="growth: up to 20,000 cards")
    parser.add_argument("--kills", type=int, default=2, help="faults: kills of each kind (2)")
    parser.add_argument("--seed", type=int, default=7, help="faults: decides the moments (7)")
    parser.add_argument(
        "--pictures", type=Path, metavar="FOLDER", help="peer: write cards of both sides there"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
