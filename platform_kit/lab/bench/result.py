"""What a bench found: a DataFrame with a row for each point, which can plot, compare and save itself."""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd

from platform_kit.errors import UsageError
from platform_kit.jobs import Job, Progress
from platform_kit.lab.bench import nats_bench, plots
from platform_kit.lab.bench.baseline import load_record, save_record
from platform_kit.lab.bench.comparison import CONFIDENCE, LEAST, Comparison, compare_records, ratio_of
from platform_kit.lab.bench.latency import PERCENTILES, Histogram
from platform_kit.lab.bench.run import Record, figure, percentile
from platform_kit.lab.bench.scenarios import PARAMETERS, SCENARIOS, Point
from platform_kit.lab.bench.statistics import Interval, median_interval
from platform_kit.reprs import Table, human_count

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INTERVAL = 0.95
"""The confidence of the intervals of a result's own figures."""
KEPT_UP = 0.98
"""A generator that sent less than this share of the rate asked for could not keep up."""
LATE_MS = 50.0
SHOWN = {
    "scenario": "scenario",
    "engine": "engine",
    "pipeline": "pipeline",
    "payload_bytes": "bytes",
    "batch": "batch",
    "publishers": "publishers",
    "consumers": "consumers",
    "storage": "storage",
    "replicas": "replicas",
    "asked_msgs_per_s": "asked/s",
    "work_us": "work µs",
    "slowdown": "slowed by",
}


class BenchResult(pd.DataFrame):  # type: ignore[misc]
    """A row for each point: its parameters, its rate with an interval, its latencies, and what became of each
    message. ``sent`` = ``arrived`` + ``failed`` + ``lost``, over all repeats.

    Slices and copies keep what was measured, so that they plot and compare as well. While a bench with
    ``wait=False`` runs the frame is empty; it fills itself at the end.

    Example
    -------
    >>> BenchResult().done
    True
    """

    _metadata = ["_record", "_job"]  # noqa: RUF012
    _record: Record | None = None
    _job: Job[Any] | None = None

    @property
    def _constructor(self) -> type[BenchResult]:
        return BenchResult

    # ------------------------------------------------------------------------------ while it runs

    @property
    def done(self) -> bool:
        """Whether it has ended: with a result, an error, or cancelled."""
        return self._job is None or self._job.done

    @property
    def progress(self) -> Progress:
        """How many samples there are of how many."""
        return self._job.progress if self._job is not None else Progress()

    def wait(self, timeout_s: float | None = None, *, progress: bool | None = None) -> Self:
        """Wait for the end and return this object; errors and limits as :meth:`Job.wait`."""
        if self._job is not None:
            self._job.wait(timeout_s, progress=progress)
        return self

    def cancel(self) -> bool:
        """Ask it to end early. Returns False if it had ended already; what was measured stays."""
        return self._job.cancel() if self._job is not None else False

    def __await__(self) -> Generator[Any, None, Self]:
        if self._job is not None:
            yield from self._job.__await__()
        return self

    # ------------------------------------------------------------------------------ what was found

    @property
    def fingerprint(self) -> dict[str, Any]:
        """The machine, the versions, how busy it was."""
        return dict(self._found().fingerprint)

    @property
    def samples(self) -> pd.DataFrame:
        """A row for each repeat of the points in this frame, in the order they were taken."""
        record = self._found()
        rows = [
            {"point": place, "round": number, **record.points[place].parameters, **_sample_row(sample)}
            for place in self._places()
            for number, sample in enumerate(record.samples.get(place, []))
        ]
        frame = pd.DataFrame(rows)
        return frame.sort_values("at", ignore_index=True) if len(frame) else frame

    def latencies(self, point: int) -> Histogram:
        """How long each message of a point took, all repeats together; ``point`` as in the column."""
        return Histogram.merged(one.latency for one in self._found().good(self._place(point)))

    def series(self, point: int, *, bins: int = 20) -> pd.DataFrame:
        """Messages a second within each repeat of a point, by ``round`` and ``seconds`` since it began."""
        rows: list[tuple[int, float, float]] = []
        for number, sample in enumerate(self._found().samples[self._place(point)]):
            if sample.error or not sample.series or not sample.seconds > 0:
                continue
            edges = np.linspace(0.0, sample.seconds, bins + 1)
            done = np.zeros(bins + 1)
            for marks, step in sample.series:
                # Between two marks the messages are taken to have come evenly.
                counts = np.arange(len(marks) + 1) * step
                done += np.interp(edges, np.concatenate([[0.0], np.array(marks) / 1e9]), counts)
            width = sample.seconds / bins
            rates = np.diff(done) / width
            rows += [(number, (place + 0.5) * width, float(rate)) for place, rate in enumerate(rates)]
        return pd.DataFrame(rows, columns=["round", "seconds", "rate_msgs_per_s"])

    def ratio(self, point: int, to: int, confidence: float = CONFIDENCE) -> Interval:
        """How many times the rate of ``to`` the rate of ``point`` is, pair by pair of the same round.

        Both shared the moods of the machine, so this is known better than either rate.

        Errors: ``UsageError`` for points without a pair of samples.
        """
        return ratio_of(self._found(), self._place(point), self._place(to), confidence)

    def compare(
        self,
        baseline: BenchResult | str | Path,
        *,
        metric: str | None = None,
        confidence: float = CONFIDENCE,
        least: float = LEAST,
    ) -> Comparison:
        """Is each point faster or slower than in an earlier result, or is there no difference?

        Parameters
        ----------
        baseline: A result, or the file of one.
        metric: "rate", "p50", "p90" or "p99"; by default the rate, or the median latency where the rate was
            given.
        confidence: What the verdict has.
        least: The smallest difference that counts, as a share.

        Errors: ``UsageError``. A point that only one of them has is in the comparison as "undecided".
        """
        other = BenchResult.load(baseline) if isinstance(baseline, (str, Path)) else baseline
        return compare_records(
            self._found(),
            other._found(),
            places=self._places(),
            earlier_places=other._places(),
            metric=metric,
            confidence=confidence,
            least=least,
        )

    def plot(self, kind: str = "rate", **options: Any) -> Figure:
        """A figure of this result.

        Parameters
        ----------
        kind: "rate", "percentiles", "latency" (the distribution), "series" (the rate within a sample) or
            "drift" (all samples over the time of the run). ``figure.twin`` is what it shows as a table.
        options: ``x`` for "rate" and "percentiles": the parameter along the axis.

        Errors: ``UsageError`` naming the kinds there are.
        """
        return plots.plot(self, kind, **options)

    def save(self, path: str | Path) -> Path:
        """Write it to a file of JSON, complete or not at all. Errors: ``UsageError`` if that cannot be."""
        return save_record(self._found(), self._places(), Path(path))

    @classmethod
    def load(cls, path: str | Path) -> BenchResult:
        """Read what :meth:`save` wrote. Errors: ``UsageError`` for a file that is none."""
        return cls.of(load_record(Path(path)))

    @classmethod
    def of(cls, record: Record) -> BenchResult:
        """The frame of what was measured."""
        result = cls()
        result._record = record
        result.refill()
        return result

    def refill(self) -> None:
        """Make the rows anew from what has been measured."""
        record, job = self._found(), self._job
        rows = [_row(record, place) for place in range(len(record.points))]
        pd.DataFrame.__init__(self, pd.DataFrame(rows, columns=COLUMNS))
        self._record, self._job = record, job

    # ------------------------------------------------------------------------------ how it shows itself

    def summary(self) -> Table:
        """The rows that matter, rounded, with a line on the machine."""
        record = self._found()
        varied = [
            name
            for name in PARAMETERS
            if name in self.columns
            and (self[name].astype(str).nunique() > 1 or name in ("scenario", "payload_bytes"))
            and (name not in ("work_us", "slowdown") or self[name].fillna(0).astype(float).any())
        ]
        timed = bool(self["p50_ms"].notna().any())
        names = [SHOWN[name] for name in varied]
        names += ["msgs/s", "±"] + (["p50 ms", "p99 ms"] if timed else []) + ["repeats", "lost", "notes"]
        rows = []
        for row in self.to_dict("records"):
            cells = [_cell(row[name]) for name in varied]
            cells += [_rounded(row["rate_msgs_per_s"]), _percent(row["half_width"])]
            if timed:
                cells += [_milliseconds(row["p50_ms"]), _milliseconds(row["p99_ms"])]
            cells += [row["repeats"], row["lost"] + row["failed"], _notes(row)]
            rows.append(cells)
        found = record.fingerprint
        caption = (
            f"medians of {human_count(int(self['repeats'].sum()), 'sample')}, ± half of their {INTERVAL:.0%} "
            f"interval; {found.get('cores', '?')} cores, {found.get('cpu', '')}, "
            f"durability {found.get('durability', '')}"
        )
        return Table(names, rows, caption=caption, max_rows=200, max_width=120)

    def _whole(self) -> bool:
        return self._record is not None and {"point", "half_width", "lost", "error"} <= set(self.columns)

    def __repr__(self) -> str:
        if not self.done and self._job is not None:
            return repr(self._job)
        return self.summary().text() if self._whole() else str(pd.DataFrame(self).__repr__())

    def __str__(self) -> str:
        return repr(self)

    def _repr_html_(self) -> str:
        if not self.done or not self._whole():
            return str(pd.DataFrame(self)._repr_html_())
        return self.summary().html()

    # ------------------------------------------------------------------------------ inside

    def _found(self) -> Record:
        if self._record is None:
            raise UsageError("This frame holds no measurements.", hint="Call it on what bench(...) returned.")
        return self._record

    def _places(self) -> list[int]:
        if "point" not in self.columns:
            raise UsageError("This frame has no column 'point'.", hint="Keep it: it says what was measured.")
        return [int(place) for place in self["point"]]

    def _place(self, point: int) -> int:
        record = self._found()
        if not 0 <= int(point) < len(record.points):
            raise UsageError(f"There is no point {point}.", hint="The column 'point' numbers them.")
        return int(point)


COLUMNS = [
    "point",
    *PARAMETERS,
    "repeats",
    "rate_msgs_per_s",
    "rate_low",
    "rate_high",
    "half_width",
    "steady",
    "mb_per_s",
    *PERCENTILES,
    "max_ms",
    "latency_of",
    "late_p99_ms",
    "kept_up",
    "messages",
    "sent",
    "arrived",
    "failed",
    "lost",
    "duplicates",
    "error",
]


def latency_of(point: Point) -> str:
    """What one latency of a point is of: a message, a batch, a fetch; empty where none is measured."""
    if point.engine == "nats":
        return nats_bench.LATENCY_OF.get(point.scenario, "")
    if point.scenario == "pipeline":
        return "message" if point.asked_msgs_per_s else ""
    if point.asked_msgs_per_s and point.scenario in ("js_fetch", "js_ordered"):
        return "message"
    return SCENARIOS[point.scenario].latency_of


def _row(record: Record, place: int) -> dict[str, Any]:
    point, samples, good = record.points[place], record.samples.get(place, []), record.good(place)
    rates = [one.rate for one in good if one.rate == one.rate]
    rate = median_interval(rates, INTERVAL) if rates else Interval(*[math.nan] * 4)
    judged = [value for one in good if (value := figure(point, one)) == value]
    width = median_interval(judged, INTERVAL).half_width if len(judged) > 1 else math.nan
    merged = Histogram.merged(one.latency for one in good)
    times: Mapping[str, float] = merged.milliseconds()
    if not merged.count and good:
        # Only the percentiles of each run are known: their median.
        times = {
            name: float(pd.Series([percentile(one, name) for one in good]).median())
            for name in [*PERCENTILES, "max_ms"]
        }
    late = Histogram.merged(one.late for one in good)
    late_ms = late.percentile(99) / 1e6
    asked = point.asked_msgs_per_s
    kept_up = None
    if asked and rates:
        kept_up = bool(rate.estimate >= KEPT_UP * asked * _copies(point) and not late_ms > LATE_MS)
    sums = {
        name: sum(getattr(one, name) for one in samples) for name in ("sent", "arrived", "failed", "lost")
    }
    return {
        "point": place,
        **point.parameters,
        "repeats": len(good),
        "rate_msgs_per_s": rate.estimate,
        "rate_low": rate.low,
        "rate_high": rate.high,
        "half_width": width,
        "steady": bool(len(judged) > 5 and width <= record.options.precision),
        "mb_per_s": rate.estimate * point.payload_bytes / 1e6,
        **{name: times[name] for name in [*PERCENTILES, "max_ms"]},
        "latency_of": latency_of(point),
        "late_p99_ms": late_ms,
        "kept_up": kept_up,
        "messages": record.messages.get(place, 0),
        **sums,
        "duplicates": sum(one.duplicates for one in samples),
        "error": record.failures.get(place) or next((one.error for one in samples if one.error), ""),
    }


def _copies(point: Point) -> int:
    return (point.consumers or 1) if point.scenario in ("core_pubsub", "js_ordered") else 1


def _sample_row(sample: Any) -> dict[str, Any]:
    return {
        "at": sample.at,
        "seconds": sample.seconds,
        "rate_msgs_per_s": sample.rate,
        "reference_msgs_per_s": sample.probe,
        **{name: percentile(sample, name) for name in [*PERCENTILES, "max_ms"]},
        "sent": sample.sent,
        "arrived": sample.arrived,
        "failed": sample.failed,
        "lost": sample.lost,
        "duplicates": sample.duplicates,
        "error": sample.error,
    }


def _notes(row: Mapping[str, Any]) -> str:
    """What a reader has to know of a row beside its figures."""
    notes = []
    if row["error"]:
        notes.append(str(row["error"]))
    if row["kept_up"] is False:
        notes.append("could not keep up with the rate")
    if row["repeats"] and not row["steady"]:
        notes.append("interval wider than asked")
    if row["duplicates"]:
        notes.append(f"{row['duplicates']:,} twice")
    if row["latency_of"] not in ("message", ""):
        notes.append(f"latency of a {row['latency_of']}")
    return "; ".join(notes)


def _cell(value: Any) -> Any:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _rounded(value: float) -> int | None:
    if math.isnan(value):
        return None
    digits = max(0, int(math.log10(max(value, 1))) - 2)
    return int(round(value, -digits))


def _percent(value: float) -> str | None:
    return None if math.isnan(value) else f"{value:.1%}"


def _milliseconds(value: float) -> float | None:
    return None if math.isnan(value) else float(f"{value:.3g}")
