"""The figures tables are judged by: how fast they go into a stream and come out, and what memory that takes.

    .venv/bin/python benchmarks/frames.py [--part PART ...] [--messages N] [--runs N] [--large] [--json FILE]

Parts: publish, read, memory. Each ratio is taken within one run on one server, against `nats bench` with the
same messages of 128 bytes, the median of ``--runs`` (3). Prints a table with targets, then one JSON object;
progress goes to the error stream. ``--large`` takes a million messages (300,000 otherwise), and reads up to
2,000,000 in chunks (600,000 otherwise).

Exit code 0 if every target is met, 1 if not.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from parts import frames
from parts.report import Figure, cores, say, table

PARTS = ("publish", "read", "memory")


def main() -> int:
    """Measure and print."""
    arguments = _arguments()
    if os.getloadavg()[0] > 0.5:
        say(f"The machine is busy (load {os.getloadavg()[0]:.1f}): figures below are worse than they are.")
    messages = arguments.messages or (1_000_000 if arguments.large else 300_000)
    chosen = arguments.part or PARTS
    figures: list[Figure] = []
    if "publish" in chosen or "read" in chosen:
        figures += frames.transfers(
            messages, arguments.runs, publish="publish" in chosen, read="read" in chosen
        )
    if "memory" in chosen:
        figures += frames.memory((100_000, 2_000_000 if arguments.large else 600_000))
    print(table(figures))
    print(f"(median of {arguments.runs} runs of {messages:,} messages, {cores()} cores)")
    found = json.dumps({figure.name: figure.as_dict() for figure in figures}, ensure_ascii=False)
    print(found)
    if arguments.json is not None:
        arguments.json.write_text(found + "\n", encoding="utf-8")
    return 1 if any(figure.met is False for figure in figures) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", action="append", choices=PARTS, help="only this one; may be given again")
    parser.add_argument("--messages", type=int, help="messages of a transfer (300,000)")
    parser.add_argument("--runs", type=int, default=3, help="the median of so many (3)")
    parser.add_argument("--large", action="store_true", help="a million messages, chunks of up to 2,000,000")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
