"""The figures of a bench; each carries what it shows as a table, too: ``figure.twin``."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from platform_kit.errors import UsageError
from platform_kit.lab.bench.scenarios import PARAMETERS
from platform_kit.lab.figures import (
    COLOURS,
    GREY,
    MARKERS,
    closed,
    label_ends,
    milliseconds,
    panels,
    size_words,
    thousands,
)
from platform_kit.reprs import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from platform_kit.lab.bench.result import BenchResult

NUMBERS = {
    "payload_bytes": "bytes of a message",
    "batch": "batch: messages on their way at once",
    "publishers": "publishers",
    "consumers": "consumers",
    "replicas": "replicas",
    "asked_msgs_per_s": "messages a second asked for",
    "work_us": "µs of work with each message",
    "slowdown": "slowed by",
}
MOST_LINES = 8
LOG_FROM = 15
"""An axis whose largest value is so many times its smallest is logarithmic."""


def plot(result: BenchResult, kind: str, **options: Any) -> Figure:
    """The figure of this kind. Errors: ``UsageError`` naming the kinds, or for options one does not have."""
    if kind not in KINDS:
        raise UsageError(f"There is no figure {kind!r}.", hint=f"One of {', '.join(KINDS)}.")
    try:
        return KINDS[kind](result, **options)
    except TypeError as error:
        if "unexpected keyword" in str(error):
            raise UsageError(
                f"A figure {kind!r} has no option like that: {error}.", hint="x, title."
            ) from error
        raise


def plot_rate(result: BenchResult, *, x: str | None = None, title: str = "") -> Figure:
    """Messages a second over one parameter, with the intervals of the medians."""
    rows = _rows(result, "rate_msgs_per_s")
    axis, lines = _lines(rows, x)
    if axis is None:
        return _bars(rows, title or "How many messages a second?")
    figure, (panel,) = panels(1, height=3.9)
    figure.set_size_inches(7.6, 3.9)
    ends, table = [], []
    for number, (name, points) in enumerate(lines.items()):
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        points = sorted(points, key=lambda row: float(row[axis]))
        places = [row[axis] for row in points]
        rates = [row["rate_msgs_per_s"] for row in points]
        errors = [[row["rate_msgs_per_s"] - row["rate_low"] for row in points]]
        errors.append([row["rate_high"] - row["rate_msgs_per_s"] for row in points])
        panel.errorbar(
            places, rates, yerr=errors, color=colour, marker=marker, markersize=5, linewidth=1.8, capsize=3
        )
        ends.append((rates[-1], name, colour))
        table += [
            (name, row[axis], round(row["rate_msgs_per_s"]), round(row["rate_low"]), round(row["rate_high"]))
            for row in points
        ]
    _number_axis(panel, axis, sorted({row[axis] for row in rows}))
    _rate_axis(panel, [row["rate_low"] for row in rows] + [row["rate_high"] for row in rows])
    label_ends(panel, ends)
    return _finished(
        figure, title or "How many messages a second?", ("line", axis, "msgs/s", "from", "to"), table
    )


def plot_percentiles(result: BenchResult, *, x: str | None = None, title: str = "") -> Figure:
    """The latency half of the messages stay below, and 99 of 100: over a parameter, or in rows."""
    rows = _rows(result, "p50_ms")
    axis, lines = _lines(rows, x)
    table = []
    if axis is not None and len({row[axis] for row in rows}) > 1:
        figure, (panel,) = panels(1, height=3.9)
        figure.set_size_inches(7.6, 3.9)
        ends = []
        for number, (name, points) in enumerate(lines.items()):
            colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
            points = sorted(points, key=lambda row: float(row[axis]))
            places = [row[axis] for row in points]
            panel.plot(
                places, [row["p50_ms"] for row in points], "-", color=colour, marker=marker, markersize=5
            )
            slow = [row["p99_ms"] for row in points]
            panel.plot(places, slow, "--", color=colour, marker=marker, markersize=5, markerfacecolor="white")
            ends.append((points[-1]["p50_ms"], name, colour))
            table += [(name, row[axis], *_times(row)) for row in points]
        _number_axis(panel, axis, sorted({row[axis] for row in rows}))
        panel.set_yscale("log")
        panel.yaxis.set_major_formatter(milliseconds)
        panel.minorticks_off()
        panel.grid(True, axis="y", color="#e4e4e4", linewidth=0.8)
        panel.set_ylabel("time of one message (log scale)")
        label_ends(panel, ends)
        head: Sequence[str] = ("line", axis, "p50 ms", "p90 ms", "p99 ms", "p99.9 ms")
    else:
        names = _names(rows)
        figure, (panel,) = panels(1, height=0.34 * len(rows) + 1.5)
        figure.set_size_inches(7.6, 0.34 * len(rows) + 1.5)
        for place, row in enumerate(rows):
            colour = COLOURS[0]
            panel.plot([row["p50_ms"], row["p99_ms"]], [place, place], color=colour, linewidth=2)
            panel.plot([row["p50_ms"]], [place], "o", color=colour, markersize=6)
            panel.plot([row["p99_ms"]], [place], "o", color=colour, markersize=6, markerfacecolor="white")
            table.append((names[place], *_times(row)))
        panel.set_yticks(range(len(rows)), names)
        panel.set_ylim(len(rows) - 0.5, -0.5)
        panel.set_xscale("log")
        panel.xaxis.set_major_formatter(milliseconds)
        panel.minorticks_off()
        panel.grid(True, axis="x", color="#e4e4e4", linewidth=0.8)
        panel.set_xlabel("time of one message (log scale)")
        head = ("point", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms")
    words = title or "How long does a message take?"
    return _finished(figure, f"{words}  Filled: half are faster.  Hollow: 99 of 100 are.", head, table)


def plot_latency(result: BenchResult, *, title: str = "") -> Figure:
    """The distribution: for each time, the share of messages that took longer; both axes logarithmic."""
    rows = [row for row in result.to_dict("records") if result.latencies(row["point"]).count]
    if not rows:
        raise UsageError(
            "None of these points has the latencies of single messages.",
            hint="`nats bench` tells percentiles only; js_ordered and a pipeline have them at a rate.",
        )
    names = _names(rows)
    figure, (panel,) = panels(1, height=4.2)
    figure.set_size_inches(7.6, 4.2)
    table, least = [], 1.0
    for number, (row, name) in enumerate(zip(rows[:MOST_LINES], names, strict=False)):
        found = result.latencies(row["point"])
        times, slower = found.curve()
        # The last of n messages is at 1/n: below that nothing was seen.
        shares = np.maximum(np.concatenate([[1.0], slower[:-1]]), 1.0 / found.count)
        least = min(least, 1.0 / found.count)
        panel.plot(times, shares, color=COLOURS[number % len(COLOURS)], linewidth=1.8, label=name)
        table.append((name, f"{found.count:,}", *_times(found.milliseconds())))
    panel.set_xscale("log")
    panel.set_yscale("log")
    panel.set_ylim(max(least, 1e-6) * 0.7, 1.3)
    panel.xaxis.set_major_formatter(milliseconds)
    panel.yaxis.set_major_formatter(_share)
    panel.minorticks_off()
    panel.grid(True, color="#e4e4e4", linewidth=0.8)
    panel.set_xlabel("time of one message (log scale)")
    panel.set_ylabel("messages that took longer (log scale)")
    panel.legend(frameon=False, fontsize=9, loc="upper right")
    head = ("point", "messages", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms")
    return _finished(figure, title or "How many messages take how long?", head, table)


def plot_series(result: BenchResult, *, title: str = "", bins: int = 24) -> Figure:
    """Messages a second within a sample: each repeat a thin line, their median a thick one."""
    found = [
        (row, frame)
        for row in result.to_dict("records")
        if len(frame := result.series(row["point"], bins=bins)) > 0
    ]
    if not found:
        raise UsageError("None of these points has a series.", hint="`nats bench` tells its total only.")
    found = found[:6]
    names = _names([row for row, _ in found])
    figure, axes = panels(len(found), height=3.5)
    table = []
    for number, ((_, frame), panel, name) in enumerate(zip(found, axes, names, strict=True)):
        colour = COLOURS[number % len(COLOURS)]
        wide = []
        for _, one in frame.groupby("round"):
            share = np.linspace(0, 100, len(one), endpoint=False) + 50 / len(one)
            panel.plot(share, one["rate_msgs_per_s"], color=GREY, linewidth=0.6, alpha=0.45)
            wide.append(one["rate_msgs_per_s"].to_numpy())
        middle = np.median(np.vstack(wide), axis=0)
        panel.plot(share, middle, color=colour, linewidth=2.4)
        panel.set_title(name, fontsize=10)
        panel.set_xlabel("% of the sample's time")
        panel.yaxis.set_major_formatter(thousands)
        panel.grid(True, axis="y", color="#e4e4e4", linewidth=0.8)
        thirds = [round(float(np.median(part))) for part in np.array_split(middle, 3)]
        table.append((name, len(wide), *thirds))
    axes[0].set_ylabel("messages a second")
    axes[0].set_ylim(bottom=0)
    head = ("point", "repeats", "first third", "second third", "last third")
    return _finished(figure, title or "Is the rate the same from beginning to end?", head, table)


def plot_drift(result: BenchResult, *, title: str = "") -> Figure:
    """Each sample over the time of the run, relative to its point's median, and the reference beside them."""
    samples = result.samples
    good = samples[samples["error"] == ""] if len(samples) else samples
    if not len(good):
        raise UsageError("There are no good samples.", hint="The column 'error' says why.")
    figure, (panel,) = panels(1, height=3.7)
    figure.set_size_inches(7.6, 3.7)
    start, table = good["at"].min(), []
    names = dict(zip(result["point"], _names(result.to_dict("records")), strict=True))
    for number, (point, one) in enumerate(good.groupby("point", sort=False)):
        share = 100 * one["rate_msgs_per_s"] / one["rate_msgs_per_s"].median()
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        panel.plot(
            one["at"] - start, share, marker, color=colour, markersize=4, alpha=0.8, label=names[int(point)]
        )
        table.append((names[int(point)], len(one), round(share.min()), round(share.max())))
    reference = good.dropna(subset=["reference_msgs_per_s"])
    if len(reference):
        share = 100 * reference["reference_msgs_per_s"] / reference["reference_msgs_per_s"].median()
        panel.plot(reference["at"] - start, share, "-", color=GREY, linewidth=1, label="reference", zorder=0)
        table.append(("reference", len(reference), round(share.min()), round(share.max())))
    panel.axhline(100, color="#c8c8c8", linewidth=0.8, zorder=0)
    panel.set_xlabel("seconds since the first sample")
    panel.set_ylabel("% of the point's median")
    panel.set_ylim(bottom=0)
    panel.grid(True, axis="y", color="#e4e4e4", linewidth=0.8)
    panel.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    head = ("point", "samples", "least %", "most %")
    return _finished(figure, title or "How steady was the machine?", head, table)


KINDS: dict[str, Callable[..., Figure]] = {
    "rate": plot_rate,
    "percentiles": plot_percentiles,
    "latency": plot_latency,
    "series": plot_series,
    "drift": plot_drift,
}


def _bars(rows: list[dict[str, Any]], title: str) -> Figure:
    """Points that have no number in common to be put along: a row each."""
    names = _names(rows)
    figure, (panel,) = panels(1, height=0.42 * len(rows) + 1.4)
    figure.set_size_inches(7.6, 0.42 * len(rows) + 1.4)
    for place, row in enumerate(rows):
        rate = row["rate_msgs_per_s"]
        error = [[rate - row["rate_low"]], [row["rate_high"] - rate]]
        panel.barh(place, rate, color=COLOURS[0], height=0.55, alpha=0.85)
        panel.errorbar([rate], [place], xerr=error, color="#202020", linewidth=1.2, capsize=4)
        panel.annotate(
            f"{rate:,.0f}",
            (row["rate_high"], place),
            (6, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
        )
    panel.set_yticks(range(len(rows)), names)
    panel.set_ylim(len(rows) - 0.5, -0.5)
    panel.set_xlim(0, 1.18 * max(row["rate_high"] for row in rows))
    panel.xaxis.set_major_formatter(thousands)
    panel.grid(True, axis="x", color="#e4e4e4", linewidth=0.8)
    panel.set_axisbelow(True)
    panel.set_xlabel("messages a second")
    table = [
        (names[place], *(round(row[name]) for name in ("rate_msgs_per_s", "rate_low", "rate_high")))
        for place, row in enumerate(rows)
    ]
    return _finished(figure, title, ("point", "msgs/s", "from", "to"), table)


def _rows(result: BenchResult, column: str) -> list[dict[str, Any]]:
    missing = [name for name in (column, "point", *PARAMETERS) if name not in result.columns]
    if missing:
        raise UsageError(
            f"This frame has no column {missing[0]!r}.", hint="Plot it before columns are dropped."
        )
    rows: list[dict[str, Any]] = [row for row in result.to_dict("records") if row[column] == row[column]]
    if not rows:
        raise UsageError(f"No point has a {column}.", hint="The column 'error' says what went wrong.")
    return rows


def _lines(rows: list[dict[str, Any]], x: str | None) -> tuple[str | None, dict[str, list[dict[str, Any]]]]:
    """The parameter along the axis, and the points of each line."""
    if x is not None and x not in NUMBERS:
        raise UsageError(f"x={x!r}.", hint=f"One of {', '.join(NUMBERS)}.")
    varied = _varied(rows)
    numbers = [
        name
        for name in NUMBERS
        if name in varied and all(row[name] is not None and row[name] == row[name] for row in rows)
    ]
    axis = x or (numbers[0] if numbers else None)
    if axis is None:
        return None, {}
    lines: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        lines.setdefault(_name(row, [name for name in varied if name != axis]), []).append(row)
    return axis, lines


def _varied(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The parameters in which these points differ."""
    return [name for name in PARAMETERS if len({_key(row[name]) for row in rows} - {None}) > 1]


def _names(rows: Sequence[dict[str, Any]]) -> list[str]:
    varied = _varied(rows)
    return [_name(row, varied) for row in rows]


def _name(row: dict[str, Any], varied: Sequence[str]) -> str:
    """A point by what tells it from the others."""
    words = []
    for name in varied:
        value = row[name]
        if value is None or value != value:
            continue
        if name == "engine":
            words.append("nats bench" if value == "nats" else "nats-py")
        elif name == "payload_bytes":
            words.append(size_words(int(value)))
        elif name in NUMBERS:
            shown = f"{value:,.0f}" if float(value).is_integer() else f"{value:g}"
            words.append(f"{name.replace('asked_msgs_per_s', 'msgs/s').replace('_', ' ')} {shown}")
        else:
            words.append(str(value))
    if "pipeline" in varied and row["pipeline"] == row["pipeline"] and row["pipeline"] is not None:
        words = [word for word in words if word not in ("nats-py", "pipeline")]
    return ", ".join(words) or str(row["scenario"])


def _key(value: Any) -> Any:
    return None if value is None or value != value else value


def _times(row: Any) -> tuple[Any, ...]:
    return tuple(
        None if row[name] != row[name] else float(f"{row[name]:.3g}")
        for name in ("p50_ms", "p90_ms", "p99_ms", "p999_ms")
    )


def _number_axis(panel: Axes, axis: str, values: Sequence[float]) -> None:
    if len(values) > 1 and values[0] > 0 and values[-1] / values[0] >= LOG_FROM:
        panel.set_xscale("log")
        panel.set_xlim(values[0] * 0.8, values[-1] * 1.25)
    sizes = axis == "payload_bytes"
    words = [size_words(int(value)) if sizes else f"{value:,g}" for value in values]
    panel.set_xticks(list(values), words)
    panel.minorticks_off()
    scale = " (log scale)" if panel.get_xscale() == "log" else ""
    panel.set_xlabel(NUMBERS[axis].replace("bytes of a message", "size of a message") + scale)


def _rate_axis(panel: Axes, values: Sequence[float]) -> None:
    known = [value for value in values if value == value and value > 0]
    if known and max(known) / min(known) >= LOG_FROM:
        panel.set_yscale("log")
        panel.set_ylabel("messages a second (log scale)")
        low, high = math.floor(math.log10(min(known))), math.ceil(math.log10(max(known)))
        if high - low <= 3:
            panel.set_yticks([step * 10.0**power for power in range(low, high + 1) for step in (1, 2, 5)])
            panel.set_ylim(min(known) * 0.8, max(known) * 1.25)
    else:
        panel.set_ylim(bottom=0)
        panel.set_ylabel("messages a second")
    panel.yaxis.set_major_formatter(thousands)
    panel.minorticks_off()
    panel.grid(True, axis="y", color="#e4e4e4", linewidth=0.8)


def _share(value: float, _: object) -> str:
    return f"{value * 100:g} %" if value >= 0.001 else f"1 in {1 / value:,.0f}"


def _finished(figure: Figure, title: str, head: Sequence[str], table: Sequence[Sequence[object]]) -> Figure:
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    setattr(figure, "twin", Table(head, table, max_rows=200, max_width=80))  # noqa: B010
    return closed(figure)
