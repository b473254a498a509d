"""Can a verdict be trusted? A scenario against itself, and against itself with a slowdown put in.

    .venv/bin/python benchmarks/verdict.py [--comparisons N] [--way ab|files] [--slowdown SHARE]
                                           [--scenario NAME] [--log FILE] [--json FILE]

The slowdown is real: the client is kept busy for 15 % of the time all the rest takes. Two ways: "ab" has
both sides in turn in one run (``bench.ab``), "files" measures one after the other and compares with the file
of the first, as with a baseline of last week.

With ``--log FILE`` each comparison is kept as a line there, and the figures are of all lines: so 40
comparisons can be made in several calls. Prints a table with targets, then one JSON object. Exit code 0 if
every target is met, 1 if not.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from parts.report import Figure, cores, say, table

from platform_kit import Platform, bench
from platform_kit.lab.bench.comparison import Verdict

SAME, SLOWER = "no difference", "slower"
OF, NONE_AT_LEAST, FOUND_AT_LEAST, WIDEST = 40, 38, 36, 0.10


def main() -> int:
    """Compare, and print."""
    arguments = _arguments()
    ways = arguments.way or ["ab", "files"]
    lines: list[dict[str, Any]] = []
    if arguments.log is not None and arguments.log.exists():
        lines = [json.loads(line) for line in arguments.log.read_text(encoding="utf-8").splitlines()]
    with Platform(workers=0) as platform:
        for number in range(arguments.comparisons):
            for way in ways:
                for slowed in (False, True):
                    line = _compare(platform, arguments.scenario, way, arguments.slowdown if slowed else 0.0)
                    lines.append(line)
                    if arguments.log is not None:
                        with arguments.log.open("a", encoding="utf-8") as file:
                            file.write(json.dumps(line) + "\n")
                    say(
                        f"{number + 1}/{arguments.comparisons} {way}, {'slowed' if slowed else 'itself'}: "
                        f"{line['verdict']} ({line['change']:+.1%}, ±{line['half_width']:.1%}), "
                        f"{line['seconds']:.0f} s"
                    )
    figures = [figure for way in ways for figure in _figures(way, lines)]
    print(table(figures))
    print(f"(of {len(lines)} comparisons, {arguments.scenario}, {cores()} cores)")
    found = json.dumps({figure.name: figure.as_dict() for figure in figures}, ensure_ascii=False)
    print(found)
    if arguments.json is not None:
        arguments.json.write_text(found + "\n", encoding="utf-8")
    return 1 if any(figure.met is False for figure in figures) else 0


def _compare(platform: Platform, scenario: str, way: str, slowdown: float) -> dict[str, Any]:
    """One comparison: what it says, how large the change is and how well it is known."""
    begun = time.monotonic()
    widths = []
    if way == "ab":
        found = bench.ab(platform, scenario, {}, {"slowdown": slowdown}, progress=False)
    else:
        with tempfile.TemporaryDirectory(prefix="platform-kit-verdict-") as folder:
            before = bench(platform, scenario, progress=False)
            path = before.save(Path(folder) / "baseline.json")
            after = bench(platform, scenario, slowdown=slowdown, progress=False)
            assert before._record is not None and after._record is not None
            # What was put in is no parameter to be told apart by: it stands for an edit of the code.
            after._record.points[0] = before._record.points[0]
            found = after.compare(path)
            widths = [float(one["half_width"].iloc[0]) for one in (before, after)]
    verdict: Verdict = found.verdicts[0]
    return {
        "way": way,
        "slowdown": slowdown,
        "verdict": verdict.words,
        "change": verdict.ratio.estimate - 1,
        "half_width": (verdict.ratio.high - verdict.ratio.low) / 2,
        "median_half_widths": widths,
        "normalised": verdict.normalised,
        "samples": verdict.repeats,
        "seconds": time.monotonic() - begun,
    }


def _figures(way: str, lines: list[dict[str, Any]]) -> list[Figure]:
    here = [line for line in lines if line["way"] == way]
    same = [line for line in here if not line["slowdown"]]
    slowed = [line for line in here if line["slowdown"]]
    found = []
    if same:
        share = sum(line["verdict"] == SAME for line in same) / len(same)
        found.append(Figure(f"{way}: itself, no difference, of 40", OF * share, at_least=NONE_AT_LEAST))
    if slowed:
        share = sum(line["verdict"] == SLOWER for line in slowed) / len(slowed)
        found.append(Figure(f"{way}: slowed, found, of 40", OF * share, at_least=FOUND_AT_LEAST))
        found.append(
            Figure(f"{way}: change of the rate that was put in", statistics.median(_changes(slowed)), "%")
        )
    if here:
        widest = max(line["half_width"] for line in here)
        found.append(Figure(f"{way}: widest half-interval of a change", widest, at_most=WIDEST))
    widths = [width for line in here for width in line["median_half_widths"]]
    if widths:
        found.append(Figure(f"{way}: widest half-interval of a median", max(widths), at_most=WIDEST))
    return found


def _changes(lines: list[dict[str, Any]]) -> list[float]:
    return [100 * line["change"] for line in lines]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--comparisons", type=int, default=OF, help="of each kind (40)")
    parser.add_argument("--way", action="append", choices=("ab", "files"), help="only this one")
    parser.add_argument("--slowdown", type=float, default=0.15, help="as a share of a message's time (0.15)")
    parser.add_argument("--scenario", default="js_publish_awaited", help="what is compared")
    parser.add_argument("--log", type=Path, metavar="FILE", help="keep each comparison there, and go on")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
