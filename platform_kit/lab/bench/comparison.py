"""Faster, slower, or no difference: the verdict on two sets of samples, at a stated confidence.

Two things make it trustworthy where machines are noisy. Within one run the samples of all points alternate,
and pairs of the same round are compared: what the machine did to one it did to the other. Between two runs
each sample is taken relative to the reference measured right before it (the probe), unless that makes the
samples less alike instead of more. And a difference counts only if it is both certain and large enough to
matter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from platform_kit.errors import UsageError
from platform_kit.lab.bench.fingerprint import differences
from platform_kit.lab.bench.run import Record, percentile
from platform_kit.lab.bench.scenarios import Point
from platform_kit.lab.bench.statistics import Interval, paired_shift, shift
from platform_kit.lab.bench.workbench import Sample
from platform_kit.reprs import Shown, Table

if TYPE_CHECKING:
    import pandas as pd

CONFIDENCE = 0.99
LEAST = 0.07
"""The smallest difference that counts, as a share: half of what is to be found for certain."""
BETWEEN_RUNS = 0.03
"""What is added to either side of the interval of a difference between two runs."""
METRICS = {"rate": "rate_msgs_per_s", "p50": "p50_ms", "p90": "p90_ms", "p99": "p99_ms"}
FASTER, SLOWER, SAME, UNDECIDED = "faster", "slower", "no difference", "undecided"


@dataclass(frozen=True)
class Verdict:
    """What is said of one point.

    Parameters
    ----------
    words: "faster", "slower", "no difference" or "undecided".
    ratio: How many times the rate (or the latency) of the earlier one, with its interval.
    before, after: The medians.
    repeats: How many samples, or pairs, it rests on.
    normalised: Whether the samples were taken relative to the reference.
    why: A word where there is no verdict.
    """

    what: str
    metric: str
    words: str
    ratio: Interval
    before: float
    after: float
    repeats: str
    normalised: bool = False
    why: str = ""

    @property
    def visible(self) -> float:
        """Differences smaller than this could not have been seen."""
        return float(max(self.ratio.high / self.ratio.estimate, self.ratio.estimate / self.ratio.low) - 1)

    def __str__(self) -> str:
        if self.words == UNDECIDED:
            return f"{self.what}: undecided, {self.why}"
        shown = f"{self.ratio.estimate - 1:+.1%} ({self.ratio.low - 1:+.1%} to {self.ratio.high - 1:+.1%})"
        return f"{self.what}: {self.words}, {self.metric} {shown}"


@dataclass(frozen=True, repr=False)
class Comparison(Shown):
    """A verdict for each point.

    Parameters
    ----------
    verdicts: One a point.
    confidence, least: What they were given with.
    warnings: In what the two runs' machines differ.
    """

    verdicts: tuple[Verdict, ...]
    confidence: float
    least: float
    warnings: tuple[str, ...] = ()

    @property
    def frame(self) -> pd.DataFrame:
        """The verdicts as a DataFrame."""
        import pandas as pd

        return pd.DataFrame(
            [
                {
                    "point": one.what,
                    "metric": one.metric,
                    "verdict": one.words,
                    "ratio": one.ratio.estimate,
                    "ratio_low": one.ratio.low,
                    "ratio_high": one.ratio.high,
                    "confidence": one.ratio.confidence,
                    "before": one.before,
                    "after": one.after,
                    "repeats": one.repeats,
                    "normalised": one.normalised,
                    "why": one.why,
                }
                for one in self.verdicts
            ]
        )

    @property
    def words(self) -> list[str]:
        """The verdicts alone, in the order of the points."""
        return [one.words for one in self.verdicts]

    def text(self) -> str:
        """The verdicts as a table of text."""
        return "\n".join([*(f"! {line}" for line in self.warnings), self._table().text()])

    def html(self) -> str:
        """The verdicts as a table in HTML."""
        warnings = Table(
            ("these runs are not of the same kind",), [(line,) for line in self.warnings], max_width=200
        )
        return (warnings.html() if self.warnings else "") + self._table().html()

    def _table(self) -> Table:
        rows = []
        for one in self.verdicts:
            known = not math.isnan(one.ratio.estimate)
            rows.append(
                (
                    one.what,
                    one.metric,
                    one.words,
                    f"{one.ratio.estimate - 1:+.1%}" if known else None,
                    f"{one.ratio.low - 1:+.1%} to {one.ratio.high - 1:+.1%}" if known else None,
                    one.repeats,
                    one.why or ("relative to the reference" if one.normalised else ""),
                )
            )
        caption = f"at a confidence of {self.confidence:.0%}; a difference below {self.least:.0%} is none"
        columns = ("point", "of", "verdict", "change", "interval", "samples", "")
        return Table(columns, rows, caption=caption, max_rows=200, max_width=120)


def compare_records(
    later: Record,
    earlier: Record,
    *,
    places: Sequence[int],
    earlier_places: Sequence[int],
    metric: str | None,
    confidence: float,
    least: float,
) -> Comparison:
    """Each point of ``later`` against the same point of ``earlier``."""
    check_options(metric, confidence, least)
    before = {_key(earlier.points[place]): place for place in earlier_places}
    after = {_key(later.points[place]): place for place in places}
    verdicts = []
    for key, place in after.items():
        point = later.points[place]
        one = chosen_metric(point, metric)
        if key not in before:
            verdicts.append(_undecided(str(point), one, "the baseline has no such point"))
            continue
        there = before[key]
        verdicts.append(
            _unpaired(point, one, earlier.samples[there], later.samples[place], confidence, least)
        )
    for key, place in before.items():
        if key not in after:
            point = earlier.points[place]
            verdicts.append(
                _undecided(str(point), chosen_metric(point, metric), "only the baseline has this point")
            )
    found = differences(earlier.fingerprint, later.fingerprint)
    warnings = tuple(f"{name}: {old} then, {new} now" for name, (old, new) in found.items())
    return Comparison(tuple(verdicts), confidence, least, warnings)


def compare_pairs(
    record: Record, *, before: int, after: int, what: str, metric: str | None, confidence: float, least: float
) -> Comparison:
    """Two points of one run, pair by pair of the same round."""
    check_options(metric, confidence, least)
    one = chosen_metric(record.points[after], metric)
    differences_ = pair_differences(record, before, after, one)
    if len(differences_) < 2:
        return Comparison((_undecided(what, one, "there are no pairs of good samples"),), confidence, least)
    found = paired_shift(differences_, confidence)
    medians = [_median(record.good(place), one) for place in (before, after)]
    verdict = _judged(what, one, found, medians, f"{len(differences_)} pairs", confidence, least)
    return Comparison((verdict,), confidence, least)


def ratio_of(record: Record, place: int, to: int, confidence: float) -> Interval:
    """How many times the rate of one point the rate of another is."""
    found = pair_differences(record, to, place, "rate")
    if len(found) < 2:
        raise UsageError(
            f"{record.points[place]} and {record.points[to]} have no pairs of good samples.",
            hint="Their rows say what went wrong.",
        )
    return _exponential(paired_shift(found, confidence))


def pair_differences(record: Record, before: int, after: int, metric: str) -> list[float]:
    """The difference of the logarithms, for each round in which both were measured."""
    first, second = record.samples.get(before, []), record.samples.get(after, [])
    pairs = [(_logarithm(a, metric), _logarithm(b, metric)) for a, b in zip(first, second, strict=False)]
    return [b - a for a, b in pairs if math.isfinite(a) and math.isfinite(b)]


def check_options(metric: str | None, confidence: float, least: float) -> None:
    """Errors: ``UsageError`` for options that cannot mean anything."""
    if metric is not None and metric not in METRICS:
        raise UsageError(f"metric={metric!r}.", hint=f"One of {', '.join(METRICS)}.")
    if not (isinstance(confidence, float) and 0.5 <= confidence < 1):
        raise UsageError(
            f"confidence={confidence!r}.", hint="Give a share from 0.5 to below 1, such as 0.99."
        )
    if not (isinstance(least, (int, float)) and 0 <= least < 1):
        raise UsageError(f"least={least!r}.", hint="Give a share from 0 to below 1, such as 0.07.")


def chosen_metric(point: Point, metric: str | None) -> str:
    """What a point is judged by: where its rate was given, the latency."""
    return metric or ("p50" if point.asked_msgs_per_s else "rate")


def _unpaired(
    point: Point,
    metric: str,
    before: Sequence[Sample],
    after: Sequence[Sample],
    confidence: float,
    least: float,
) -> Verdict:
    plain = [[_logarithm(one, metric) for one in samples] for samples in (before, after)]
    good = [[value for value in values if math.isfinite(value)] for values in plain]
    if min(map(len, good)) < 2:
        return _undecided(str(point), metric, "there are not enough good samples")
    # A latency gets longer where a rate gets smaller.
    sign = 1.0 if metric == "rate" else -1.0
    relative = [
        [
            value - sign * math.log(one.probe)
            for value, one in zip(values, samples, strict=True)
            if math.isfinite(value) and one.probe > 0
        ]
        for values, samples in zip(plain, (before, after), strict=True)
    ]
    normalised = min(map(len, relative)) == min(map(len, good)) and _spread(relative) < _spread(good)
    chosen = relative if normalised else good
    found = shift(chosen[0], chosen[1], confidence)
    # Two runs of the same differ by more than the samples within either can tell.
    found = replace(found, low=found.low - BETWEEN_RUNS, high=found.high + BETWEEN_RUNS)
    medians = [_median([one for one in samples if not one.error], metric) for samples in (before, after)]
    repeats = f"{len(chosen[0])} and {len(chosen[1])}"
    return _judged(str(point), metric, found, medians, repeats, confidence, least, normalised)


def _judged(
    what: str,
    metric: str,
    found: Interval,
    medians: Sequence[float],
    repeats: str,
    confidence: float,
    least: float,
    normalised: bool = False,
) -> Verdict:
    ratio = _exponential(found)
    if found.confidence < confidence - 1e-9:
        return Verdict(
            what,
            metric,
            UNDECIDED,
            ratio,
            medians[0],
            medians[1],
            repeats,
            normalised,
            f"so few samples reach a confidence of {found.confidence:.0%} only",
        )
    words = SAME
    # In logarithms a rise to 1 / 0.93 and a fall to 0.93 are as large.
    if (found.low > 0 or found.high < 0) and abs(found.estimate) >= -math.log1p(-least):
        words = FASTER if (found.estimate > 0) == (metric == "rate") else SLOWER
    return Verdict(what, metric, words, ratio, medians[0], medians[1], repeats, normalised)


def _undecided(what: str, metric: str, why: str) -> Verdict:
    nothing = Interval(*[math.nan] * 4)
    return Verdict(what, metric, UNDECIDED, nothing, math.nan, math.nan, "", why=why)


def _logarithm(sample: Sample, metric: str) -> float:
    if sample.error:
        return math.nan
    value = sample.rate if metric == "rate" else percentile(sample, METRICS[metric])
    return math.log(value) if value > 0 else math.nan


def _median(samples: Sequence[Sample], metric: str) -> float:
    values = [math.exp(value) for one in samples if math.isfinite(value := _logarithm(one, metric))]
    return float(np.median(values)) if values else math.nan


def _spread(samples: Sequence[Sequence[float]]) -> float:
    """How far the values of each set are apart, whatever they are around: of both sets together."""
    return float(sum(np.subtract(*np.percentile(values, [75, 25])) for values in samples))


def _exponential(found: Interval) -> Interval:
    return Interval(math.exp(found.estimate), math.exp(found.low), math.exp(found.high), found.confidence)


def _key(point: Point) -> tuple[Any, ...]:
    digest = point.pipeline.name if point.pipeline is not None else ""
    return (*(value for name, value in point.parameters.items() if name != "pipeline"), digest)
