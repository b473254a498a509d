"""Latencies without keeping each one: a histogram whose bins are 0.8 % wide, exact at both ends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

PER_OCTAVE = 88
"""Bins between a time and its double: 2 ** (1 / 88) is 1.0079."""
PERCENTILES = {"p50_ms": 50.0, "p90_ms": 90.0, "p99_ms": 99.0, "p999_ms": 99.9}


class Histogram:
    """How many messages took how long; times in nanoseconds.

    Histograms of several processes and repeats add up without loss, which percentiles do not.

    Parameters
    ----------
    counts: How many fell into each bin; bin ``b`` ends at ``2 ** (b / 88)`` nanoseconds.
    least, most: The smallest and the largest, exact.

    Example
    -------
    >>> found = Histogram.of([1_000_000] * 98 + [5_000_000, 9_000_000])
    >>> found.count, round(found.percentile(50), -4), found.most
    (100, 1000000.0, 9000000)
    """

    def __init__(self, counts: Mapping[int, int] | None = None, least: int = 0, most: int = 0) -> None:
        self.counts: dict[int, int] = dict(counts or {})
        self.least = least
        self.most = most

    @classmethod
    def of(cls, nanoseconds: ArrayLike) -> Histogram:
        """The histogram of these times; one below a nanosecond counts as one.

        >>> Histogram.of([]).count
        0
        """
        values = np.maximum(np.asarray(nanoseconds, dtype=np.int64), 1)
        if not len(values):
            return cls()
        bins, counts = np.unique(
            np.ceil(np.log2(values.astype(np.float64)) * PER_OCTAVE - 1e-9).astype(np.int64),
            return_counts=True,
        )
        return cls(
            dict(zip(bins.tolist(), counts.tolist(), strict=True)), int(values.min()), int(values.max())
        )

    @classmethod
    def merged(cls, several: Iterable[Histogram]) -> Histogram:
        """All of them together."""
        total = cls()
        for one in several:
            if not one.count:
                continue
            total.least = one.least if not total.counts else min(total.least, one.least)
            total.most = max(total.most, one.most)
            for place, count in one.counts.items():
                total.counts[place] = total.counts.get(place, 0) + count
        return total

    @property
    def count(self) -> int:
        """How many messages."""
        return sum(self.counts.values())

    def percentile(self, percent: float) -> float:
        """The time within which ``percent`` of the messages were done, at most 0.8 % too long; NaN if empty.

        Also NaN where the messages are too few to say: the slowest of a thousand has to be one of ten at
        least that were that slow or slower... of a thousand messages there is one, which is what is given.
        """
        total = self.count
        if not total or total * (100.0 - percent) / 100.0 < 1.0 - 1e-9:
            return float("nan")
        rank, seen = int(np.ceil(total * percent / 100.0 - 1e-9)), 0
        for place in sorted(self.counts):
            seen += self.counts[place]
            if seen >= rank:
                return float(min(max(2.0 ** (place / PER_OCTAVE), self.least), self.most))
        raise AssertionError("the ranks end with the last bin")

    def milliseconds(self) -> dict[str, float]:
        """The percentiles a row of a result has, and the largest."""
        found = {name: self.percentile(percent) / 1e6 for name, percent in PERCENTILES.items()}
        return found | {"max_ms": self.most / 1e6 if self.count else float("nan")}

    def curve(self) -> tuple[np.ndarray[Any, np.dtype[np.float64]], np.ndarray[Any, np.dtype[np.float64]]]:
        """For a plot: times in milliseconds, and the share of messages that took longer."""
        places = sorted(self.counts)
        times = np.minimum(2.0 ** (np.array(places, dtype=np.float64) / PER_OCTAVE), self.most) / 1e6
        done = np.cumsum([self.counts[place] for place in places]) / max(1, self.count)
        return times, np.maximum(0.0, 1.0 - done)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        places = sorted(self.counts)
        return {
            "least": self.least,
            "most": self.most,
            "bins": places,
            "counts": [self.counts[place] for place in places],
        }

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Histogram:
        """What :meth:`as_dict` gave."""
        pairs = zip(map(int, found["bins"]), map(int, found["counts"]), strict=True)
        return cls(dict(pairs), int(found["least"]), int(found["most"]))
