"""``bench(...)``: measure, compare two things in turn, load what was measured before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from platform_kit.errors import RunError, UsageError
from platform_kit.jobs import Meter
from platform_kit.lab.bench.comparison import (
    CONFIDENCE,
    LEAST,
    Comparison,
    check_options,
    chosen_metric,
    compare_pairs,
    pair_differences,
)
from platform_kit.lab.bench.fingerprint import fingerprint
from platform_kit.lab.bench.result import BenchResult
from platform_kit.lab.bench.run import Options, Record, measure
from platform_kit.lab.bench.scenarios import SCENARIOS, Point, points_of
from platform_kit.lab.bench.statistics import paired_shift
from platform_kit.pipelines.pipeline import Pipeline
from platform_kit.platform import Platform

STALL_S = 200.0
LEAST_PAIRS = 30
MOST_PAIRS = 240
PAIR_PRECISION = 0.05


class Bench:
    """What ``from platform_kit import bench`` gives: call it to measure.

    Example
    -------
    >>> with Platform(workers=0) as platform:
    ...     found = Bench()(platform, "js_publish", messages=200, repeats=6, most_repeats=6, progress=False)
    >>> int(found["sent"].sum()), int(found["arrived"].sum())
    (1200, 1200)
    """

    __name__ = "bench"

    def __call__(
        self,
        platform: Platform,
        scenario: str | Sequence[str],
        *,
        payload_bytes: int | Sequence[int] = 128,
        batch: int | Sequence[int] | None = None,
        publishers: int | Sequence[int] | None = None,
        consumers: int | Sequence[int] | None = None,
        storage: str | Sequence[str] | None = None,
        replicas: int | Sequence[int] | None = None,
        engine: str | Sequence[str] | None = None,
        rate_msgs_per_s: float | Sequence[float | None] | None = None,
        work_us: float | Sequence[float] | None = None,
        slowdown: float | Sequence[float] | None = None,
        pipeline: Pipeline | Sequence[Pipeline] | None = None,
        repeats: int = 12,
        most_repeats: int | None = None,
        precision: float = 0.1,
        duration_s: float | None = None,
        messages: int | None = None,
        warm_up_s: float = 0.1,
        seed: int = 1,
        reference: bool = True,
        wait: bool = True,
        progress: bool = True,
    ) -> BenchResult:
        """Measure a scenario with every combination of the parameters; a list spans several points.

        Each point is run ``repeats`` times in short samples, in rounds: every point has one turn in each, in
        an order drawn anew, so that what the machine does meanwhile hits all alike. Repeats are added, up to
        ``most_repeats``, while half of the median's 95 % interval is above ``precision``; a row that did not
        get there says so. Streams and buckets are the bench's own (``BENCH_...``) and are removed.

        Parameters
        ----------
        platform: Where.
        scenario: One of ``bench.scenarios``, or several.
        payload_bytes: The size of a message; 16 bytes of it are its number and its time.
        batch: Messages on their way at once, or asked for in one fetch.
        publishers, consumers: Processes at either end, each with a connection of its own.
        storage, replicas: Of the streams and buckets: "file" or "memory"; copies in a cluster.
        engine: "python" (nats-py), "nats" (`nats bench`), or "both".
        rate_msgs_per_s: Send at this rate, all publishers together, instead of as fast as answers come.
            Latencies then count from the time a message was to be sent, whether or not it could be.
        work_us: Microseconds the Python client is kept busy with each message.
        slowdown: The share of its time the Python client is kept busy beside: 0.15 makes what took 100 ms
            take 115, whatever the machine's speed. Shows how small a difference is found.
        pipeline: For the scenario "pipeline": any that reads one stream and writes another. It is measured on
            streams of the bench's own.
        repeats, most_repeats, precision, duration_s, messages, warm_up_s, seed, reference: See
            :class:`Options`; ``most_repeats`` is eight times ``repeats`` by default.
        wait: False returns at once; the result fills itself, see :class:`BenchResult`.
        progress: Whether a progress bar is drawn.

        Errors: ``UsageError`` for what cannot be measured, naming what can; ``StreamError`` when the server
        takes no stream. A point that fails is a row with an error; when all fail, ``RunError``.
        """
        given = {
            "batch": batch,
            "publishers": publishers,
            "consumers": consumers,
            "storage": storage,
            "replicas": replicas,
            "engine": engine,
            "rate_msgs_per_s": rate_msgs_per_s,
            "work_us": work_us,
            "slowdown": slowdown,
            "pipeline": pipeline,
        }
        points = points_of(scenario, payload_bytes=payload_bytes, **given)
        options = Options(
            repeats=repeats,
            most_repeats=most_repeats if most_repeats is not None else 8 * repeats,
            precision=precision,
            duration_s=duration_s,
            messages=messages,
            warm_up_s=warm_up_s,
            seed=seed,
            reference=reference,
        )
        _check_payloads(platform, points)
        record = Record(points, options, fingerprint(platform))
        result = BenchResult.of(record)

        async def work(meter: Meter) -> None:
            try:
                await measure(platform, record, meter)
            finally:
                result.refill()
            _check_any(record)

        result._job = platform.submit(
            work, name="bench", unit="sample", progress=progress, stall_timeout_s=STALL_S
        )
        return result.wait() if wait else result

    def ab(
        self,
        platform: Platform,
        scenario: str,
        a: Mapping[str, Any] | None = None,
        b: Mapping[str, Any] | None = None,
        *,
        metric: str | None = None,
        confidence: float = CONFIDENCE,
        least: float = LEAST,
        precision: float = PAIR_PRECISION,
        pairs: int = LEAST_PAIRS,
        most_pairs: int = MOST_PAIRS,
        duration_s: float | None = None,
        messages: int | None = None,
        seed: int = 1,
        progress: bool = True,
        **common: Any,
    ) -> Comparison:
        """Is ``b`` faster or slower than ``a``? The surest way to know: both in turn, in one run.

        Short samples of the two alternate, in an order drawn anew for each pair, and only the two of a pair
        are compared. Pairs are added until the interval of their ratio is narrow enough.

        Parameters
        ----------
        scenario: As for a bench.
        a, b: The parameters in which the two differ; none at all measures one thing against itself.
        metric, confidence, least: As :meth:`BenchResult.compare`.
        precision: Pairs are added while half of the ratio's interval is above this.
        pairs, most_pairs: At least, and at most, so many.
        common: Parameters of both.

        Errors: as a bench; ``UsageError`` when one side is more than one point.

        Example
        -------
        >>> sides = {"batch": 500}, {"batch": 1}
        >>> with Platform(workers=0) as platform:
        ...     found = Bench().ab(
        ...         platform, "js_publish", *sides, pairs=8, most_pairs=8, duration_s=0.05, progress=False
        ...     )
        >>> found.words
        ['slower']
        """
        check_options(metric, confidence, least)
        sides = [dict(common) | dict(a or {}), dict(common) | dict(b or {})]
        found = [points_of(scenario, **side) for side in sides]
        if any(len(points) != 1 for points in found):
            raise UsageError(
                "Each side of an A/B comparison is one point.", hint="Give one value a parameter."
            )
        points = [one for (one,) in found]
        options = Options(
            repeats=pairs,
            most_repeats=max(pairs, most_pairs),
            duration_s=duration_s,
            messages=messages,
            seed=seed,
            reference=False,  # each side is the other's
        )
        _check_payloads(platform, points)
        record = Record(points, options, fingerprint(platform))
        one = chosen_metric(points[1], metric)

        def enough(record: Record, _: int) -> bool:
            differences = pair_differences(record, 0, 1, one)
            if len(differences) < 2:
                return False
            interval = paired_shift(differences, confidence)
            return interval.confidence >= confidence - 1e-9 and interval.high - interval.low <= 2 * precision

        async def work(meter: Meter) -> None:
            await measure(platform, record, meter, enough=enough, together=True)
            _check_any(record)

        job = platform.submit(
            work, name="bench.ab", unit="sample", progress=progress, stall_timeout_s=STALL_S
        )
        job.wait()
        what = str(points[1]) if points[0] == points[1] else f"{points[1]}, against {points[0]}"
        return compare_pairs(
            record, before=0, after=1, what=what, metric=metric, confidence=confidence, least=least
        )

    @property
    def scenarios(self) -> dict[str, str]:
        """What can be measured, in words."""
        return {name: one.says for name, one in SCENARIOS.items()}

    def load(self, path: str | Path) -> BenchResult:
        """Read a result from its file. Errors: ``UsageError`` for a file that is none."""
        return BenchResult.load(path)


bench = Bench()


def _check_payloads(platform: Platform, points: Sequence[Point]) -> None:
    most = platform.settings.max_payload_bytes
    for point in points:
        if point.payload_bytes > most:
            raise UsageError(
                f"payload_bytes={point.payload_bytes:,} is more than a message may have.",
                hint=f"The server takes up to {most:,}; max_payload_bytes in .config/platform.toml.",
            )


def _check_any(record: Record) -> None:
    if record.failures and not any(record.good(place) for place in range(len(record.points))):
        counts = [(one.sent, one.arrived) for samples in record.samples.values() for one in samples]
        place, error = next(iter(record.failures.items()))
        raise RunError(
            f"{record.points[place]}: {error}. Nothing was measured: {sum(sent for sent, _ in counts):,} "
            f"messages were sent, {sum(arrived for _, arrived in counts):,} arrived.",
            hint="platform.status() and platform.logs('nats-server') may say why.",
        )
