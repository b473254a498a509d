"""Figures with their targets, and what every part needs: progress, a folder to work in, medians."""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One line of the table.

    Parameters
    ----------
    name: What it is; the part of the benchmark before the colon.
    value: The median of the runs.
    unit: Such as "ms", or empty for a ratio or a count.
    at_least, at_most: The target, where there is one.

    Example
    -------
    >>> Figure("peer: how many times as fast", 2.6, "", at_least=2.5).met
    True
    """

    name: str
    value: float
    unit: str = ""
    at_least: float | None = None
    at_most: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        if self.at_least is None and self.at_most is None:
            return None
        above = self.at_least is None or self.value >= self.at_least
        return above and (self.at_most is None or self.value <= self.at_most)

    @property
    def target(self) -> str:
        """The target as text."""
        if self.at_least is not None:
            return f"≥ {_number(self.at_least)}"
        return f"≤ {_number(self.at_most)}" if self.at_most is not None else ""

    def as_dict(self) -> dict[str, Any]:
        """The figure for JSON."""
        target = {"at_least": self.at_least, "at_most": self.at_most, "met": self.met}
        return {"value": round(self.value, 4), "unit": self.unit} | {
            key: value for key, value in target.items() if value is not None
        }


def table(figures: Sequence[Figure]) -> str:
    """The figures, their targets and whether they are met, as lines of text.

    >>> print(table([Figure("workers: 4 against 2", 1.01, at_least=0.97)]))
    workers: 4 against 2   1.01   ≥ 0.97   met
    """
    verdicts = {True: "met", False: "MISSED", None: ""}
    rows = [
        (figure.name, f"{_number(figure.value)} {figure.unit}".strip(), figure.target, verdicts[figure.met])
        for figure in figures
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join(
        f"{name:{widths[0]}}   {value:>{widths[1]}}   {target:{widths[2]}}   {verdict}".rstrip()
        for name, value, target, verdict in rows
    )


def _number(value: float) -> str:
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def median(values: Sequence[float]) -> float:
    """The middle one."""
    return statistics.median(values)


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def say(text: str) -> None:
    """Progress, on the error stream."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def work_folder(needs_bytes: int = 0) -> Iterator[Path]:
    """A folder that is removed afterwards, on a disk with room for ``needs_bytes``."""
    folder = Path(tempfile.mkdtemp(prefix="platform-kit-benchmark-"))
    try:
        if shutil.disk_usage(folder).free < needs_bytes:
            raise SystemExit(
                f"{folder.parent} has not the {needs_bytes / 1e9:.1f} GB this needs: set TMPDIR."
            )
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
