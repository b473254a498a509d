"""What the lab's figures have in common: panels, labels at the ends of lines, units in words."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from platform_kit.reprs import human_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# After Okabe and Ito: told apart by everybody, and in grey print by their shapes.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#cc8400", "#56b4e9", "#6a3d9a", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
GREY = "#767676"
LABEL_GAP = 0.055
"""The least distance of two labels, as a share of an axis."""


def panels(count: int, *, height: float) -> tuple[Figure, Sequence[Axes]]:
    """A row of panels with one size for all, sharing their axes."""
    import matplotlib.pyplot as plt

    figure, grid = plt.subplots(
        1,
        count,
        figsize=(max(6.0, 3.6 * count), height),
        sharex="row" if count > 1 else False,
        sharey="row" if count > 1 else False,
        squeeze=False,
        layout="constrained",
    )
    for panel in grid[0]:
        panel.spines[["top", "right"]].set_visible(False)
        panel.tick_params(labelsize=9)
    return figure, list(grid[0])


def closed(figure: Figure) -> Figure:
    """A figure that pyplot has forgotten: a notebook shows it once, where it is the value of a cell."""
    import matplotlib.pyplot as plt

    plt.close(figure)
    return figure


def label_ends(panel: Axes, ends: Sequence[tuple[float, str, str]]) -> None:
    """The lines' names at their right ends, moved apart where they would cover each other."""
    if not ends:
        return
    panel.figure.canvas.draw()
    to_axes = panel.transScale + panel.transLimits
    places: list[list[Any]] = sorted(
        [to_axes.transform((1.0, rate))[1], name, colour] for rate, name, colour in ends
    )
    for below, above in itertools.pairwise(places):
        above[0] = max(above[0], below[0] + LABEL_GAP)
    for place, name, colour in places:
        panel.text(1.02, place, name, transform=panel.transAxes, color=colour, va="center", fontsize=9)


def size_words(count: int) -> str:
    """A size without needless digits: 2 KiB."""
    return human_bytes(count).replace(".0 ", " ")


def thousands(value: float, _: object) -> str:
    """A number with separators, for an axis."""
    return f"{value:,.0f}"


def milliseconds(value: float, _: object) -> str:
    """A time as a person says it: 1 µs, 10 ms, 1 s."""
    if value < 0.9995:
        return f"{value * 1000:g} µs"
    return f"{value:g} ms" if value < 999.5 else f"{value / 1000:g} s"
