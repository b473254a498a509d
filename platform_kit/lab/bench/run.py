"""The order of a bench: warm up, then rounds in which every point has one turn, in an order drawn anew."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from platform_kit.errors import UsageError
from platform_kit.jobs import Meter
from platform_kit.lab.bench.scenarios import Point
from platform_kit.lab.bench.statistics import median_interval, paired_shift
from platform_kit.lab.bench.workbench import MOST_MESSAGES, Sample, Workbench
from platform_kit.platform import Platform

FIRST_MESSAGES = 300
RELATIVE = 0.3
"""The rate relative to the reference is measured until its interval is so much narrower than the median's."""
FAILURES = 3
"""After so many failed samples a point is given up."""


@dataclass(frozen=True)
class Options:
    """How a bench is run.

    Parameters
    ----------
    repeats: Samples of each point, at least.
    most_repeats: At most: more are taken while the interval of the median is too wide.
    precision: How wide that may be: half of it, as a share of the median.
    duration_s: How long one sample takes; short ones in turn with the others' share the machine's moods.
    messages: Of one sample, instead of as many as take ``duration_s``.
    warm_up_s: How long each point runs before it is measured.
    seed: Decides the order.
    reference: Whether each sample is preceded by one of the reference, of the same length. It doubles the
        time; without it a later result cannot be compared with this one where the machine is not steady.
    """

    repeats: int = 12
    most_repeats: int = 96
    precision: float = 0.1
    duration_s: float | None = None
    messages: int | None = None
    warm_up_s: float = 0.1
    seed: int = 1
    reference: bool = True

    def __post_init__(self) -> None:
        for name, most in (("repeats", 10_000), ("most_repeats", 10_000), ("messages", MOST_MESSAGES)):
            value = getattr(self, name)
            if value is None and name == "messages":
                continue
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
                raise UsageError(f"{name}={value!r}.", hint=f"Give a whole number from 1 to {most:,}.")
        for name, least, most_s in (
            ("duration_s", 0.01, 30.0),
            ("warm_up_s", 0.0, 60.0),
            ("precision", 0.001, 1.0),
        ):
            value = getattr(self, name)
            if value is None and name == "duration_s":
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most_s:
                raise UsageError(f"{name}={value!r}.", hint=f"Give a number from {least:g} to {most_s:g}.")
        if self.duration_s is not None and self.messages is not None:
            raise UsageError("duration_s and messages contradict each other.", hint="Give one of them.")

    def seconds(self, point: Point) -> float:
        """How long a sample of this point is to take."""
        if self.duration_s is not None:
            return float(self.duration_s)
        if point.scenario == "pipeline":
            return 1.0  # the deployment has its share in a shorter one
        return 0.5 if point.asked_msgs_per_s else 0.1

    def steady(self, point: Point, samples: Sequence[Sample]) -> bool:
        """Whether what these samples say is precise enough."""
        values = [value for one in samples if (value := figure(point, one)) == value]
        if len(values) < 6 or median_interval(values).half_width > self.precision:
            return False
        if not self.reference or point.asked_msgs_per_s:
            return True
        # What a later result is compared by has to be known better than that.
        relative = [math.log(one.rate / one.probe) for one in samples if one.rate > 0 and one.probe > 0]
        if not relative:
            return True
        found = paired_shift(relative, 0.95)
        return found.high - found.low <= 2 * self.precision * RELATIVE


def figure(point: Point, sample: Sample) -> float:
    """What a point is judged by: its rate, or where the rate was given, the latency; NaN if there is none."""
    if point.asked_msgs_per_s:
        return percentile(sample, "p50_ms") if not sample.error else float("nan")
    return sample.rate


def percentile(sample: Sample, name: str) -> float:
    """One of a sample's percentiles, in milliseconds."""
    if sample.percentiles:
        return sample.percentiles.get(name, float("nan"))
    return sample.latency.milliseconds()[name]


@dataclass
class Record:
    """What a bench found: its points, and the samples of each, in the order of the rounds."""

    points: list[Point]
    options: Options
    fingerprint: dict[str, Any]
    messages: dict[int, int] = field(default_factory=dict)
    samples: dict[int, list[Sample]] = field(default_factory=dict)
    """By point; the sample with index ``r`` was taken in round ``r``."""
    failures: dict[int, str] = field(default_factory=dict)
    """Points that could not be measured to the end, and why."""

    def good(self, place: int) -> list[Sample]:
        """The samples that are none of an error."""
        return [one for one in self.samples.get(place, []) if not one.error]


async def measure(
    platform: Platform,
    record: Record,
    meter: Meter,
    *,
    enough: Callable[[Record, int], bool] | None = None,
    together: bool = False,
) -> None:
    """Fill the record, round by round.

    Parameters
    ----------
    enough: Says, after a round, whether a point has enough repeats; by default its median's interval does.
    together: Whether all go on until all have enough, each with as many messages as the first.
    """
    options, points = record.options, record.points
    places = list(range(len(points)))
    meter.update(total=options.repeats * len(points), text="starting load generators")
    async with Workbench(platform, points, reference=options.reference) as bench:
        for place in places:
            meter.update(text=f"warming up: {points[place]}")
            known = record.messages.get(0) if together else None
            await _warm_up(bench, record, place, meter, known)
        order = random.Random(options.seed)
        done = enough or (lambda record, place: options.steady(points[place], record.samples[place]))
        for turn in range(options.most_repeats):
            due = [place for place in places if place not in record.failures]
            if turn >= options.repeats:
                open_ = [place for place in due if not done(record, place)]
                due = due if together and open_ else open_
            if not due:
                break
            order.shuffle(due)
            for place in due:
                meter.update(text=str(points[place]))
                length = options.seconds(points[place])
                sample = await bench.sample(place, record.messages[place], reference_s=length)
                record.samples.setdefault(place, []).append(sample)
                meter.advance()
                if sample.error:
                    await _failed(bench, record, place, sample)
            meter.update(total=max(meter.progress.total or 0, meter.progress.done))


async def _warm_up(bench: Workbench, record: Record, place: int, meter: Meter, known: int | None) -> None:
    """Run a point unmeasured, and find out how many messages a sample of it has."""
    options, point = record.options, record.points[place]
    record.samples.setdefault(place, [])
    if place in record.failures:
        return
    most = bench.most_messages(point)
    wanted = options.seconds(point)
    if options.messages is not None and options.messages > most:
        raise UsageError(
            f"messages={options.messages:,} of {point.payload_bytes:,} bytes are more than one may store.",
            hint=f"Give at most {most:,}.",
        )
    fixed = options.messages or known
    if point.asked_msgs_per_s and not fixed:
        fixed = max(1, min(most, round(point.asked_msgs_per_s * wanted)))
    messages, warmed = fixed or min(most, FIRST_MESSAGES), 0.0
    for _ in range(12):
        sample = await bench.sample(place, messages)
        meter.update()
        if sample.error:
            record.samples[place].append(sample)
            await _failed(bench, record, place, sample, at_once=True)
            break
        seconds = max(sample.seconds, 1e-6)
        warmed += seconds
        if not fixed:
            # A short sample says little: go on in steps until one is nearly as long as wanted.
            near = seconds > wanted / 3
            messages = max(1, min(most, round(messages * min(20.0, wanted / seconds))))
            if not near and messages < most:
                continue
        if warmed >= options.warm_up_s:
            break
    record.messages[place] = messages


async def _failed(
    bench: Workbench, record: Record, place: int, sample: Sample, *, at_once: bool = False
) -> None:
    """Give up a point that fails again and again, and all of them when the server is gone."""
    failures = sum(bool(one.error) for one in record.samples[place])
    if at_once or failures >= FAILURES:
        record.failures[place] = sample.error
    if not await bench.alive():
        for other in range(len(record.points)):
            record.failures.setdefault(other, "the server is gone")
        record.failures[place] = f"{sample.error}; the server is gone"
