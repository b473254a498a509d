"""The intervals behind a verdict: known values, exact distributions, and what must hold for any numbers."""

from __future__ import annotations

import itertools
import math
import random

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from platform_kit.lab.bench.latency import Histogram
from platform_kit.lab.bench.statistics import (
    median_interval,
    paired_shift,
    rank_sum_counts,
    shift,
    signed_rank_counts,
)

VALUES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40)


@pytest.mark.parametrize("count", [1, 2, 5, 8])
def test_the_signed_rank_distribution_is_that_of_all_signs(count: int) -> None:
    sums = [
        sum(rank for rank, sign in enumerate(signs, 1) if sign)
        for signs in itertools.product((False, True), repeat=count)
    ]
    assert list(signed_rank_counts(count)) == [sums.count(value) for value in range(max(sums) + 1)]


@pytest.mark.parametrize(("first", "second"), [(1, 1), (2, 3), (4, 4), (5, 2)])
def test_the_rank_sum_distribution_is_that_of_all_orders(first: int, second: int) -> None:
    found = []
    for places in itertools.combinations(range(first + second), first):
        found.append(sum(place - number for number, place in enumerate(places)))
    assert list(rank_sum_counts(first, second)) == [found.count(value) for value in range(first * second + 1)]


def test_the_paired_interval_is_the_published_one() -> None:
    # Hollander and Wolfe, depression scale factors (R: ?wilcox.test): estimate 0.46 and p = 0.0391, so that
    # the interval excludes zero at 95 % and not at 98 %.
    before = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30]
    after = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29]
    differences = [one - other for one, other in zip(before, after, strict=True)]
    found = paired_shift(differences, 0.95)
    assert found.estimate == pytest.approx(0.46, abs=0.005)
    assert found.low > 0 and found.confidence == pytest.approx(1 - 2 * 10 / 512, abs=0.01)
    assert paired_shift(differences, 0.98).low < 0


def test_the_interval_of_a_median_covers_as_often_as_it_says() -> None:
    source = random.Random(7)
    hits = 0
    for _ in range(2000):
        found = median_interval([source.lognormvariate(0, 0.4) for _ in range(11)], 0.95)
        hits += found.low <= 1.0 <= found.high
    assert 0.93 <= hits / 2000 <= 0.97


def test_the_interval_of_a_difference_covers_as_often_as_it_says() -> None:
    source = random.Random(8)
    paired = unpaired = 0
    for _ in range(500):
        one = [source.gauss(0, 1) for _ in range(12)]
        other = [source.gauss(0.5, 1) for _ in range(12)]
        found = shift(one, other, 0.99)
        unpaired += found.low <= 0.5 <= found.high
        found = paired_shift([b - a for a, b in zip(one, other, strict=True)], 0.99)
        paired += found.low <= 0.5 <= found.high
    assert paired >= 485 and unpaired >= 485


def test_one_wild_sample_moves_neither_far() -> None:
    calm = [10.0, 10.1, 9.9, 10.2, 9.8, 10.05, 9.95, 10.15, 9.85, 10.0]
    wild = [*calm[:-1], 1e9]
    assert median_interval(wild).high < 10.3
    assert abs(shift(calm, wild).estimate) < 0.1


def test_too_few_values_say_so() -> None:
    assert median_interval([1.0]).confidence == 0
    assert median_interval([1.0, 2.0, 3.0], 0.95).confidence == pytest.approx(0.75)
    assert paired_shift([0.1, 0.2, 0.3], 0.99).confidence == pytest.approx(0.75)
    assert shift([1.0, 2.0], [3.0, 4.0], 0.99).confidence == pytest.approx(2 / 3)


@given(VALUES, st.floats(0.5, 0.99))
@example([1.0, 1.0, 5.276991480948561e-115, 5.276991480948561e-115], 0.53125)  # rounding went below the least
def test_an_interval_holds_its_estimate(values: list[float], confidence: float) -> None:
    for found in (median_interval(values, confidence), paired_shift(values, confidence)):
        assert found.low <= found.estimate <= found.high
        assert min(values) <= found.low and found.high <= max(values)


@given(VALUES, VALUES)
def test_a_difference_changes_its_sign_with_its_order(one: list[float], other: list[float]) -> None:
    forth, back = shift(one, other, 0.9), shift(other, one, 0.9)
    assert forth.estimate == pytest.approx(-back.estimate, abs=1e-6)
    assert forth.low == pytest.approx(-back.high, abs=1e-6)
    assert forth.confidence == back.confidence


@given(st.lists(st.integers(1, 10**12), min_size=1, max_size=300), st.sampled_from([50.0, 90.0, 99.0]))
def test_a_percentile_of_a_histogram_is_close(times: list[int], percent: float) -> None:
    found = Histogram.of(times).percentile(percent)
    if len(times) * (100 - percent) / 100 < 1:
        assert math.isnan(found)
        return
    exact = sorted(times)[math.ceil(len(times) * percent / 100 - 1e-9) - 1]
    assert exact <= found * (1 + 1e-9) and found <= exact * 1.008 + 1


@given(st.lists(st.integers(1, 10**9), max_size=50), st.lists(st.integers(1, 10**9), max_size=50))
def test_histograms_add_up(one: list[int], other: list[int]) -> None:
    both = Histogram.merged([Histogram.of(one), Histogram.of(other)])
    whole = Histogram.of(one + other)
    assert (both.counts, both.least, both.most) == (whole.counts, whole.least, whole.most)
    again = Histogram.from_dict(whole.as_dict())
    assert (again.counts, again.count) == (whole.counts, len(one) + len(other))


def test_the_curve_ends_with_the_last_message() -> None:
    times, slower = Histogram.of(np.arange(1, 1001) * 1000).curve()
    assert times[-1] == pytest.approx(1.0) and slower[-1] == 0 and (np.diff(slower) <= 0).all()
