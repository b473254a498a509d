"""A run as one HTML page that opens from the disk: cards, rejected rows, warnings, timings, platform.

The page needs no network and no server. Its pictures are files beside it, loaded as they scroll into view.

    write_report("output/report.html", ReportData(title="Sample deck", requested=64, cards=cards))
"""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

from platform_kit.reprs import cell_text, clean, human_count, human_seconds, shorten

if TYPE_CHECKING:
    from markupsafe import Markup

MAX_REPORT_ROWS = 5000
_TEMPLATE = "report.html.j2"


@dataclass(frozen=True)
class ReportCard:
    """One card of a report; ``image`` is the path of its picture, None if there is none."""

    id: str
    name: str
    image: str | os.PathLike[str] | None
    status: Literal["rendered", "unchanged"] = "rendered"
    type: str = ""
    rarity: str = ""
    warnings: Sequence[str] = ()


@dataclass(frozen=True)
class ReportRejection:
    """One rejected row of a report."""

    row: int
    id: str | None
    column: str | None
    reason: str
    stage: str


@dataclass(frozen=True)
class ReportData:
    """What a report tells.

    Parameters
    ----------
    title: The deck's name.
    requested: The rows of the deck.
    cards: The cards that have a picture, in the deck's order.
    rejected: The rows that have none, and why.
    seconds: How long the run took; None leaves it out.
    warnings: What is worth knowing and belongs to no single card.
    timings_ms: Milliseconds each rendered card took, for the histogram.
    facts: Versions, durability and so on, by name.
    links: Other files of the run by what they are called ("printable sheets").
    created: When, as it shall stand there; empty leaves it out.
    """

    title: str
    requested: int
    cards: Sequence[ReportCard] = ()
    rejected: Sequence[ReportRejection] = ()
    seconds: float | None = None
    warnings: Sequence[str] = ()
    timings_ms: Sequence[float] = ()
    facts: Mapping[str, object] = field(default_factory=dict)
    links: Mapping[str, str | os.PathLike[str]] = field(default_factory=dict)
    created: str = ""

    @property
    def rendered(self) -> int:
        """Cards made in this run."""
        return sum(card.status == "rendered" for card in self.cards)

    @property
    def unchanged(self) -> int:
        """Cards an earlier run had made already."""
        return sum(card.status == "unchanged" for card in self.cards)

    @property
    def missing(self) -> int:
        """Requested cards that are neither made nor rejected; zero in a complete run."""
        return self.requested - len(self.cards) - len(self.rejected)


def write_report(path: str | os.PathLike[str], data: ReportData) -> Path:
    """Write a report and return its path; pictures and links become relative to it.

    Parameters
    ----------
    path: The HTML file to write; replaced in one step.
    data: What it tells.
    """
    import jinja2
    from markupsafe import Markup

    target = Path(path)
    folder = target.parent
    folder.mkdir(parents=True, exist_ok=True)

    def safe(value: object) -> object:
        return value if isinstance(value, Markup) or not isinstance(value, str) else clean(value)

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        finalize=safe,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template(_TEMPLATE).render(
        data=data,
        headline=_headline(data),
        cards=[(card, _href(card.image, folder)) for card in data.cards],
        links=[(name, _href(file, folder)) for name, file in data.links.items()],
        histogram=_histogram(data.timings_ms),
        count=lambda number: f"{number:,}",
        words=human_count,
        short=lambda value: shorten(cell_text(value), 300),
        max_rows=MAX_REPORT_ROWS,
    )
    part = target.with_name(f".{target.name}.part")
    try:
        part.write_text(page, encoding="utf-8")
        os.replace(part, target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return target


def _headline(data: ReportData) -> str:
    words = [human_count(data.requested, "card")]
    if data.seconds is not None:
        words[0] += f" in {human_seconds(data.seconds)}"
        if data.rendered and data.seconds > 0:
            words.append(f"{data.rendered / data.seconds:,.0f} rendered a second")
    if data.created:
        words.append(data.created)
    return " · ".join(words)


def _href(file: str | os.PathLike[str] | None, folder: Path) -> str:
    """Return a file's address relative to the page; its name may hold anything a file's name can."""
    if file is None:
        return ""
    relative = os.path.relpath(os.path.abspath(os.fspath(file)), os.path.abspath(folder))
    address = quote(os.fsencode(relative.replace(os.sep, "/")), safe="/")
    return address if address.startswith("../") else f"./{address}"


def _histogram(timings_ms: Sequence[float]) -> Markup | str:
    """Draw how many cards took how long, with median and 95th percentile, as inline SVG."""
    from markupsafe import Markup

    values = sorted(value for value in timings_ms if 0 <= value < 1e12)
    if len(values) < 2:
        return ""
    median = statistics.median(values)
    late = values[min(len(values) - 1, math.ceil(len(values) * 0.95) - 1)]
    # A few stragglers must not press all the others into one bar: they share the last.
    top = _round_up(max(0.001, min(values[-1], max(late * 1.6, median * 2))))
    bins = min(30, max(6, round(math.sqrt(len(values)) * 1.6)))
    counts = [0] * bins
    for value in values:
        counts[min(bins - 1, int(value / top * bins))] += 1
    width, height, left, bottom, head = 560.0, 220.0, 44.0, 34.0, 30.0
    room_x, room_y = width - left - 12, height - bottom - head
    highest = max(counts)

    def at(value: float) -> float:
        return left + min(1.0, value / top) * room_x

    parts = []
    for number, count in enumerate(counts):
        if not count:
            continue
        bar = count / highest * room_y
        low, high = number * top / bins, (number + 1) * top / bins
        until = f"{high:,.4g}" if number < bins - 1 or values[-1] <= top else f"{values[-1]:,.4g}"
        parts.append(
            f'<rect x="{at(low) + 1:.1f}" y="{head + room_y - bar:.1f}" width="{room_x / bins - 2:.1f}" '
            f'height="{bar:.1f}" rx="1.5"><title>{low:,.4g} to {until} ms: {human_count(count, "card")}'
            f"</title></rect>"
        )
    ticks = "".join(
        f'<text x="{at(top * step / 4):.1f}" y="{height - bottom + 17:.0f}" text-anchor="middle">'
        f"{top * step / 4:,.4g}</text>"
        for step in range(5)
    )
    close = at(late) - at(median) < 120
    marks = ""
    for name, value, anchor in (
        ("median", median, "end" if close and at(median) > 130 else "middle"),
        ("95 %", late, "start" if close and at(late) < width - 110 else "end" if close else "middle"),
    ):
        marks += (
            f'<line class="mark" x1="{at(value):.1f}" x2="{at(value):.1f}" y1="{head - 6:.0f}" '
            f'y2="{head + room_y:.0f}"/><text class="strong" x="{at(value):.1f}" y="{head - 12:.0f}" '
            f'text-anchor="{anchor}">{name} {value:,.3g} ms</text>'
        )
    summary = f"{human_count(len(values), 'card')}, median {median:,.3g} ms, 95 % within {late:,.3g} ms"
    return Markup(
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="Time a card: {summary}">'
        f'<g class="bars">{"".join(parts)}</g>'
        f'<line class="axis" x1="{left}" x2="{width - 12}" y1="{head + room_y}" y2="{head + room_y}"/>'
        f'<text x="{left - 8}" y="{head + 9}" text-anchor="end">{highest}</text>'
        f'<text x="{left - 8}" y="{head + room_y}" text-anchor="end">0</text>{ticks}'
        f'<text x="{left + room_x / 2:.0f}" y="{height - 2:.0f}" text-anchor="middle">milliseconds in the '
        f"worker; height: cards</text>{marks}</svg>"
    )


def _round_up(value: float) -> float:
    """Return the next number a scale of four steps reads well with."""
    scale = 10.0 ** math.floor(math.log10(value))
    return next(step * scale for step in (1, 1.2, 1.6, 2, 2.4, 3.2, 4, 6, 8, 10) if step * scale >= value)
