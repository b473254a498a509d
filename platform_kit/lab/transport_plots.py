"""The two figures of a comparison of transports: how much goes through, and how long one message takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from platform_kit.lab.figures import GREY, closed, label_ends, milliseconds, panels, size_words, thousands

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

# After Okabe and Ito: told apart by everybody, and in grey print by their shapes.
STYLES = {
    "in-process": ("#0072b2", "o"),
    "micro service": ("#009e73", "s"),
    "subprocess": ("#cc8400", "^"),
    "command": ("#d55e00", "D"),
}


def plot_rates(frame: pd.DataFrame, *, baseline: str) -> Figure:
    """Messages a second over threads: a panel for each payload, a line for each transport."""
    payloads = list(dict.fromkeys(frame["payload_bytes"]))
    figure, axes = panels(len(payloads), height=3.9)
    threads = sorted(set(frame["threads"]))
    ends: list[list[tuple[float, str, str]]] = []
    for panel, payload in zip(axes, payloads, strict=True):
        ends.append([])
        here = frame[(frame["payload_bytes"] == payload) & (frame["rate_msgs_per_s"] > 0)]
        for transport, rows in here.groupby("transport", sort=False):
            colour, marker = STYLES.get(str(transport), (GREY, ""))
            style = "--" if transport == baseline else "-"
            rates = rows["rate_msgs_per_s"]
            panel.plot(
                rows["threads"], rates, style, color=colour, marker=marker, markersize=5, linewidth=1.8
            )
            ends[-1].append((float(rates.iloc[-1]), str(transport), colour))
        panel.set_xscale("log", base=2)
        panel.set_yscale("log")
        panel.set_xticks(threads, [str(count) for count in threads])
        panel.minorticks_off()
        panel.set_title(f"messages of {size_words(payload)}", fontsize=10)
        panel.set_xlabel("threads: messages at the worker at once")
        panel.yaxis.set_major_formatter(thousands)
        panel.grid(True, axis="y", color="#e4e4e4", linewidth=0.8)
        panel.set_xlim(threads[0] * 0.8, threads[-1] * 1.25)
    axes[0].set_ylabel("messages a second (log scale)")
    for panel, names in zip(axes, ends, strict=True):  # only now the shared axis is as long as it will be
        label_ends(panel, names)
    figure.suptitle("How many messages does each transport carry?", x=0.01, ha="left", fontsize=12)
    return closed(figure)


def plot_latencies(frame: pd.DataFrame, *, baseline: str) -> Figure:
    """From the median to the 99th percentile of one message's time: a row for each transport and threads."""
    payloads = list(dict.fromkeys(frame["payload_bytes"]))
    asked = frame[frame["transport"] != baseline]
    rows = list(dict.fromkeys(zip(asked["transport"], asked["threads"], strict=True)))
    figure, axes = panels(len(payloads), height=0.27 * len(rows) + 1.6)
    for panel, payload in zip(axes, payloads, strict=True):
        here = asked[asked["payload_bytes"] == payload].set_index(["transport", "threads"])
        for place, key in enumerate(rows):
            colour, marker = STYLES[key[0]]
            median, slow = here.loc[key, "p50_ms"], here.loc[key, "p99_ms"]
            panel.plot([median, slow], [place, place], color=colour, linewidth=2)
            panel.plot([median], [place], marker, color=colour, markersize=6)
            panel.plot([slow], [place], marker, color=colour, markersize=6, markerfacecolor="white")
            if place and rows[place - 1][0] != key[0]:
                panel.axhline(place - 0.5, color="#c8c8c8", linewidth=0.8)
        panel.set_xscale("log")
        panel.xaxis.set_major_formatter(milliseconds)
        panel.minorticks_off()
        panel.grid(True, axis="x", color="#e4e4e4", linewidth=0.8)
        panel.set_title(f"messages of {size_words(payload)}", fontsize=10)
        panel.set_xlabel("time of one message (log scale)")
        panel.set_ylim(len(rows) - 0.5, -0.5)
    names = [f"{name}, {count} {'thread' if count == 1 else 'threads'}" for name, count in rows]
    axes[0].set_yticks(range(len(rows)), names)
    figure.suptitle(
        "How long does a message take?  Filled: half are faster.  Hollow: 99 of 100 are faster.",
        x=0.01,
        ha="left",
        fontsize=12,
    )
    return closed(figure)
