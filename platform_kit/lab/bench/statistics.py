"""Intervals for a median and for a difference, without assuming any distribution.

Rates of a busy machine have outliers and are few, so everything here rests on ranks: the interval of a median
on order statistics, that of a difference on the Hodges-Lehmann estimator with the exact distribution of
Wilcoxon's statistic. One sample that is off by any amount moves neither far.

Sources: Hollander, Wolfe, Chicken, Nonparametric Statistical Methods, chapters 3 and 4; Hettmansperger and
Sheather (1986) for the interpolated interval of a median.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np


@dataclass(frozen=True)
class Interval:
    """An estimate and the interval it is believed to be in.

    Parameters
    ----------
    estimate: The value itself.
    low, high: The interval's ends.
    confidence: What the interval really has: less than what was asked where the values are too few.

    Example
    -------
    >>> Interval(100.0, 96.0, 103.0, 0.95).half_width
    0.035
    """

    estimate: float
    low: float
    high: float
    confidence: float

    @property
    def half_width(self) -> float:
        """Half of the interval, as a share of the estimate; NaN if that is zero."""
        return (self.high - self.low) / 2 / abs(self.estimate) if self.estimate else float("nan")


def median_interval(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """The median and its interval between order statistics, interpolated to the confidence asked for.

    Parameters
    ----------
    values: At least one. Below six values 95 % cannot be had: the interval is then from the smallest to the
        largest, and ``confidence`` says how much that is worth.

    >>> found = median_interval([10, 11, 12, 13, 14, 15, 16, 17, 18, 19])
    >>> found.estimate, round(found.low, 2), round(found.high, 2)
    (14.5, 11.66, 17.34)
    """
    ordered = sorted(float(value) for value in values)
    count = len(ordered)
    middle = float(np.median(ordered))
    if count == 1:
        return Interval(middle, middle, middle, 0.0)

    def covered(rank: int) -> float:
        """The confidence of the interval from the ``rank``-th smallest to the ``rank``-th largest."""
        return 1.0 - 2.0 * sum(math.comb(count, below) for below in range(rank)) / 2.0**count

    if covered(1) < confidence:
        return Interval(middle, ordered[0], ordered[-1], covered(1))
    rank = max(rank for rank in range(1, count // 2 + 1) if covered(rank) >= confidence)
    if rank == count // 2:
        return Interval(middle, ordered[rank - 1], ordered[count - rank], covered(rank))
    share = (covered(rank) - confidence) / (covered(rank) - covered(rank + 1))
    inward = (count - rank) * share / (rank + (count - 2 * rank) * share)
    low = _between(ordered[rank - 1], ordered[rank], inward)
    high = _between(ordered[count - rank], ordered[count - rank - 1], inward)
    return Interval(middle, low, high, confidence)


def _between(start: float, end: float, share: float) -> float:
    """So far on the way from one to the other; rounding takes it to neither side of them."""
    low, high = min(start, end), max(start, end)
    return min(max(start + share * (end - start), low), high)


def paired_shift(differences: Sequence[float], confidence: float = 0.99) -> Interval:
    """How far differences of pairs are from zero: the median of all means of two of them, with its interval.

    Parameters
    ----------
    differences: One a pair, at least one.

    >>> found = paired_shift([0.1, 0.3, 0.2, 0.4, 0.15, 0.25, 0.35, 0.05])
    >>> round(found.estimate, 3), round(found.low, 3), round(found.high, 3)
    (0.225, 0.05, 0.4)
    """
    values = np.asarray(differences, dtype=np.float64)
    first, second = np.triu_indices(len(values))
    means = np.sort((values[first] + values[second]) / 2)
    return _ranked(means, signed_rank_counts(len(values)), confidence)


def shift(before: Sequence[float], after: Sequence[float], confidence: float = 0.99) -> Interval:
    """How far ``after`` is from ``before``: the median of all differences, with its interval.

    >>> found = shift([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [11.0, 12.0, 13.0, 14.0, 15.0, 16.0])
    >>> found.estimate, found.low, found.high
    (10.0, 6.0, 14.0)
    """
    differences = np.sort(np.subtract.outer(np.asarray(after, float), np.asarray(before, float)).ravel())
    return _ranked(differences, rank_sum_counts(len(before), len(after)), confidence)


def _ranked(
    ordered: np.ndarray[tuple[int], np.dtype[np.float64]], ways: Sequence[int], asked: float
) -> Interval:
    """The interval between two of the ordered values, by how many ways the statistic has to each value."""
    total, below, rank = sum(ways), 0, 0
    while 2 * (below + ways[rank]) / total <= (1.0 - asked) * (1 + 1e-12):
        below += ways[rank]
        rank += 1
    estimate = float(np.median(ordered))
    if rank == 0:  # even the extremes are likelier than that
        return Interval(estimate, float(ordered[0]), float(ordered[-1]), 1.0 - 2 * ways[0] / total)
    return Interval(estimate, float(ordered[rank - 1]), float(ordered[-rank]), 1.0 - 2 * below / total)


@lru_cache(maxsize=64)
def signed_rank_counts(count: int) -> tuple[int, ...]:
    """In how many ways the ranks 1 to ``count``, each with a sign, give each sum of the positive ones.

    >>> signed_rank_counts(3)
    (1, 1, 1, 2, 1, 1, 1)
    """
    ways = [1]
    for rank in range(1, count + 1):
        longer = ways + [0] * rank
        for total, number in enumerate(ways):
            longer[total + rank] += number
        ways = longer
    return tuple(ways)


@lru_cache(maxsize=64)
def rank_sum_counts(first: int, second: int) -> tuple[int, ...]:
    """In how many orders of two samples so many pairs have the one of the second sample in front.

    >>> rank_sum_counts(2, 2)
    (1, 1, 2, 1, 1)
    """
    # The Gaussian binomial coefficient: multiply by 1 - q^(first + k), divide by 1 - q^k.
    ways = [1] + [0] * (first * second)
    for k in range(1, second + 1):
        step = first + k
        for place in range(len(ways) - 1, step - 1, -1):
            ways[place] -= ways[place - step]
        for place in range(k, len(ways)):
            ways[place] += ways[place - k]
    return tuple(ways)
