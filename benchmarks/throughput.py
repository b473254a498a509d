"""What a Wombat pipeline passes on, held against what the server takes: ratios of one run on one server.

    .venv/bin/python benchmarks/throughput.py [--repeats N] [--messages N] [--json FILE]

The shipped relay, the stock input and Wombat's own batched one pass messages of 128 bytes from one stream to
another; `nats bench js pub async` (batch 500) publishes as many. All take turns, in an order drawn anew for
each round, and a ratio is that of the samples of the same round. Prints a table with targets, then one JSON
object. Exit code 0 if every target is met, 1 if not.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from parts.report import Figure, cores, say, table

from platform_kit import Pipeline, Platform, bench
from platform_kit.lab.bench import relay

OF_NATS_BENCH, OF_STOCK = 0.35, 1.3


def main() -> int:
    """Measure and print."""
    arguments = _arguments()
    if os.getloadavg()[0] > 0.5:
        say(f"The machine is busy (load {os.getloadavg()[0]:.1f}): figures below are worse than they are.")
    with Platform(workers=0) as platform:
        shipped = Pipeline.read(platform.settings.config_dir / "pipelines" / "relay.yaml")
        result = bench(
            platform,
            ["pipeline", "js_publish"],
            pipeline=[shipped, relay("batched"), relay("stock", "nats_jetstream")],
            engine="nats",
            batch=500,
            payload_bytes=128,
            messages=arguments.messages,
            repeats=arguments.repeats,
            most_repeats=arguments.repeats,
            reference=False,
        )
    say(str(result))
    ours, batched, stock, limit = range(4)
    rates = [float(rate) for rate in result["rate_msgs_per_s"]]
    unaccounted = int(result["lost"].sum() + result["failed"].sum() + result["duplicates"].sum())
    of_limit, of_stock = result.ratio(ours, limit), result.ratio(ours, stock)
    figures = [
        Figure("relay: share of nats bench js pub async", of_limit.estimate, at_least=OF_NATS_BENCH),
        Figure("relay: times the stock input", of_stock.estimate, at_least=OF_STOCK),
        Figure("relay: messages lost or twice", unaccounted, at_most=0),
        Figure("relay: messages/s", rates[ours], "1/s"),
        Figure("batched input of Wombat: messages/s", rates[batched], "1/s"),
        Figure("stock input: messages/s", rates[stock], "1/s"),
        Figure("nats bench js pub async: messages/s", rates[limit], "1/s"),
    ]
    print(table(figures))
    print(
        f"(medians of {arguments.repeats} rounds of {arguments.messages:,} messages, {cores()} cores; "
        f"the first ratio is from {of_limit.low:.2f} to {of_limit.high:.2f}, the second from "
        f"{of_stock.low:.2f} to {of_stock.high:.2f}, with {of_limit.confidence:.0%})"
    )
    found = json.dumps({figure.name: figure.as_dict() for figure in figures}, ensure_ascii=False)
    print(found)
    if arguments.json is not None:
        arguments.json.write_text(found + "\n", encoding="utf-8")
    return 1 if any(figure.met is False for figure in figures) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=9, help="rounds (9)")
    parser.add_argument("--messages", type=int, default=100_000, help="of each sample (100,000)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
