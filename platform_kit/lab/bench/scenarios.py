"""What can be measured, and with which parameters: the scenarios, and the points a call spans."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from platform_kit.errors import UsageError
from platform_kit.pipelines.pipeline import Pipeline

ENGINES = ("python", "nats")
STORAGES = ("file", "memory")
LEAST_PAYLOAD = 16
"""Bytes: each message carries its number and when it was to be sent."""
MOST_POINTS = 200


@dataclass(frozen=True)
class Scenario:
    """One thing that can be measured.

    Parameters
    ----------
    name: What it is called.
    says: What is measured, and what its rate counts.
    takes: The parameters it has beside the payload's size, with their defaults.
    engines: Who can measure it.
    latency_of: What one latency is of, with the Python engine and a closed loop.
    """

    name: str
    says: str
    takes: Mapping[str, Any]
    engines: tuple[str, ...]
    latency_of: str

    @property
    def stores(self) -> bool:
        """Whether it needs a stream or a bucket."""
        return "storage" in self.takes


STORED = {"storage": "file", "replicas": 1}
SCENARIOS: dict[str, Scenario] = {
    one.name: one
    for one in (
        Scenario(
            "core_pubsub",
            "publish and subscribe without a stream; counts what arrived at the subscribers",
            {"publishers": 1, "consumers": 1, "asked_msgs_per_s": None, "work_us": 0.0},
            ENGINES,
            "message",
        ),
        Scenario(
            "request_reply",
            "requests to responders in a queue group, `batch` of them on their way; counts replies",
            {
                "batch": 1,
                "publishers": 1,
                "consumers": 1,
                "asked_msgs_per_s": None,
                "work_us": 0.0,
                "slowdown": 0.0,
            },
            ENGINES,
            "message",
        ),
        Scenario(
            "js_publish_awaited",
            "publish to a stream, each awaited before the next; counts acknowledgements",
            {"publishers": 1, "asked_msgs_per_s": None, "work_us": 0.0, "slowdown": 0.0} | STORED,
            ENGINES,
            "message",
        ),
        Scenario(
            "js_publish",
            "publish to a stream, `batch` unacknowledged ones on their way; counts acknowledgements",
            {"batch": 500, "publishers": 1, "asked_msgs_per_s": None, "work_us": 0.0, "slowdown": 0.0}
            | STORED,
            ENGINES,
            "message",
        ),
        Scenario(
            "js_fetch",
            "a durable consumer read in batches, each message acknowledged; counts messages",
            {"batch": 500, "consumers": 1, "asked_msgs_per_s": None, "work_us": 0.0} | STORED,
            ENGINES,
            "fetch",
        ),
        Scenario(
            "js_ordered",
            "a stream read in order without acknowledgements; counts messages",
            {"batch": 5000, "consumers": 1, "asked_msgs_per_s": None, "work_us": 0.0} | STORED,
            ENGINES,
            "",
        ),
        Scenario(
            "kv_put",
            "put keys into a bucket, each awaited; counts keys",
            {"publishers": 1, "asked_msgs_per_s": None, "work_us": 0.0, "slowdown": 0.0} | STORED,
            ENGINES,
            "message",
        ),
        Scenario(
            "kv_get",
            "get keys from a bucket, one after the other; counts keys",
            {"consumers": 1, "asked_msgs_per_s": None, "work_us": 0.0, "slowdown": 0.0} | STORED,
            ENGINES,
            "message",
        ),
        Scenario(
            "pipeline",
            "a Wombat pipeline from one stream to another, by the times the messages were stored; "
            "counts what arrived",
            {"pipeline": None, "asked_msgs_per_s": None} | STORED,
            ("python",),
            "message",
        ),
    )
}
PARAMETERS = (
    "scenario",
    "engine",
    "pipeline",
    "payload_bytes",
    "batch",
    "publishers",
    "consumers",
    "storage",
    "replicas",
    "asked_msgs_per_s",
    "work_us",
    "slowdown",
)
"""What tells the points of a result apart, in the order of its columns."""
_WHOLE = {"batch": (1, 100_000), "publishers": (1, 64), "consumers": (1, 64), "replicas": (1, 5)}


@dataclass(frozen=True)
class Point:
    """One combination of parameters. Those its scenario does not have are None.

    Example
    -------
    >>> print(points_of("js_publish", payload_bytes=128, batch=[1, 500])[1])
    js_publish, python, 128 bytes, batch 500
    """

    scenario: str
    engine: str = "python"
    payload_bytes: int = 128
    batch: int | None = None
    publishers: int | None = None
    consumers: int | None = None
    storage: str | None = None
    replicas: int | None = None
    asked_msgs_per_s: float | None = None
    work_us: float | None = None
    slowdown: float | None = None
    pipeline: Pipeline | None = None

    @property
    def parameters(self) -> dict[str, Any]:
        """What identifies it, for a row of a result: the pipeline by its name."""
        found = {name: getattr(self, name) for name in PARAMETERS}
        return found | {"pipeline": self.pipeline.name if self.pipeline is not None else None}

    @property
    def generators(self) -> int:
        """How many load generators it needs at once."""
        return (self.publishers or 0) + (self.consumers or 0) + (1 if self.scenario == "pipeline" else 0)

    def __str__(self) -> str:
        words = [self.scenario, self.pipeline.name if self.pipeline is not None else self.engine]
        words.append(f"{self.payload_bytes} bytes")
        if self.batch is not None:
            words.append(f"batch {self.batch}")
        for name in ("publishers", "consumers"):
            if (count := getattr(self, name)) not in (None, 1):
                words.append(f"{count} {name}")
        if self.storage not in (None, "file"):
            words.append(str(self.storage))
        if self.replicas not in (None, 1):
            words.append(f"{self.replicas} replicas")
        if self.asked_msgs_per_s:
            words.append(f"{self.asked_msgs_per_s:,.0f} msgs/s asked")
        if self.work_us:
            words.append(f"{self.work_us:g} µs of work")
        if self.slowdown:
            words.append(f"slowed by {self.slowdown:.0%}")
        return ", ".join(words)


def points_of(
    scenario: str | Sequence[str], *, payload_bytes: int | Sequence[int] = 128, **given: Any
) -> list[Point]:
    """Every combination of the values given; a parameter may be one value or several.

    Several scenarios each take of the parameters what they have; one of them at least has to have each.

    Errors: ``UsageError`` naming what is allowed.
    """
    names = _several("scenario", scenario)
    for name in names:
        if name not in SCENARIOS:
            raise UsageError(f"There is no scenario {name!r}.", hint=f"One of {', '.join(SCENARIOS)}.")
    chosen = {
        "asked_msgs_per_s" if name == "rate_msgs_per_s" else name: values
        for name, value in given.items()
        if (values := _values(name, value)) is not None
    }
    known = {"engine", *itertools.chain.from_iterable(SCENARIOS[name].takes for name in names)}
    if unknown := sorted(set(chosen) - known):
        wrong = unknown[0].replace("asked_", "rate_")
        what = names[0] if len(names) == 1 else "any of these scenarios"
        allowed = ", ".join(["payload_bytes", *(name for name in PARAMETERS if name in known)])
        allowed = allowed.replace("asked_", "rate_")
        raise UsageError(f"{what} has no parameter {wrong!r}.", hint=f"It has {allowed}.")
    sizes = _several("payload_bytes", payload_bytes)
    points: list[Point] = []
    for name in names:
        points += _points(SCENARIOS[name], sizes, chosen, several=len(names) > 1)
    if len(points) > MOST_POINTS:
        raise UsageError(
            f"That are {len(points):,} points.", hint=f"Give lists that span at most {MOST_POINTS}."
        )
    return points


def _points(
    scenario: Scenario, sizes: Sequence[Any], chosen: Mapping[str, Sequence[Any]], *, several: bool
) -> list[Point]:
    axes: dict[str, Sequence[Any]] = {"payload_bytes": sizes}
    for name, default in scenario.takes.items():
        axes[name] = chosen.get(name, (default,))
    engines = tuple(chosen.get("engine", scenario.engines[:1]))
    if unknown := [engine for engine in engines if engine not in ENGINES]:
        raise UsageError(f"engine={unknown[0]!r}.", hint=f"One of {', '.join(ENGINES)}, or both.")
    if several:  # each is measured by those who can
        engines = tuple(engine for engine in engines if engine in scenario.engines) or scenario.engines[:1]
    if scenario.name == "pipeline" and axes["pipeline"] == (None,):
        raise UsageError(
            "The scenario 'pipeline' needs one.", hint="pipeline=Pipeline.read(path), or several in a list."
        )
    found = []
    for engine in engines:
        if engine not in scenario.engines:
            raise UsageError(
                f"The engine {engine!r} cannot measure {scenario.name}.",
                hint=f"It is measured by {', '.join(scenario.engines)}.",
            )
        for values in itertools.product(*axes.values()):
            point = Point(scenario.name, engine, **dict(zip(axes, values, strict=True)))
            found.append(_checked(point))
    if len(set(map(str, found))) != len(found):
        raise UsageError(
            "Two points are the same.", hint="Name each value once, and each pipeline differently."
        )
    return found


def _checked(point: Point) -> Point:
    if not _is_whole(point.payload_bytes) or point.payload_bytes < LEAST_PAYLOAD:
        raise UsageError(
            f"payload_bytes={point.payload_bytes!r}.",
            hint=f"Give whole numbers from {LEAST_PAYLOAD}: each message carries its number and its time.",
        )
    for name, (least, most) in _WHOLE.items():
        value = getattr(point, name)
        if value is not None and not (_is_whole(value) and least <= value <= most):
            raise UsageError(f"{name}={value!r}.", hint=f"Give whole numbers from {least} to {most}.")
    if point.storage is not None and point.storage not in STORAGES:
        raise UsageError(f"storage={point.storage!r}.", hint=f"One of {', '.join(STORAGES)}.")
    rate = point.asked_msgs_per_s
    if rate is not None and not (_is_number(rate) and 0 < rate <= 10_000_000):
        raise UsageError(f"rate_msgs_per_s={rate!r}.", hint="Give messages a second above 0, or None.")
    work = point.work_us
    if work is not None and not (_is_number(work) and 0 <= work <= 1_000_000):
        raise UsageError(f"work_us={work!r}.", hint="Give microseconds a message from 0 to a million.")
    slowdown = point.slowdown
    if slowdown is not None and not (_is_number(slowdown) and 0 <= slowdown <= 100):
        raise UsageError(f"slowdown={slowdown!r}.", hint="Give a share from 0 on, such as 0.15.")
    if point.pipeline is not None and not isinstance(point.pipeline, Pipeline):
        raise UsageError(f"pipeline={point.pipeline!r}.", hint="Give a Pipeline: Pipeline.read(path).")
    if point.engine == "nats":
        _check_nats(point)
        return replace(point, work_us=None, slowdown=None)
    return point


def _check_nats(point: Point) -> None:
    if point.asked_msgs_per_s:
        raise UsageError(
            "`nats bench` takes the time it throttles out of the latency, and so hides what waited.",
            hint='Measure at a rate with engine="python".',
        )
    if point.work_us or point.slowdown:
        raise UsageError(
            "work_us and slowdown are work inside the Python client.",
            hint='Leave them out for engine="nats".',
        )
    if point.scenario == "request_reply" and point.batch != 1:
        raise UsageError(
            f"batch={point.batch}: `nats bench` sends one request at a time.",
            hint="Give more publishers instead.",
        )


def _several(name: str, value: Any) -> tuple[Any, ...]:
    if hasattr(value, "tolist"):  # of numpy or pandas
        value = value.tolist()
    values = tuple(value) if isinstance(value, (list, tuple, range, set, frozenset)) else (value,)
    if not values:
        raise UsageError(f"{name}={value!r} is empty.", hint="Give one value or several.")
    return values


def _values(name: str, value: Any) -> tuple[Any, ...] | None:
    """The values of one parameter; None if it was not given."""
    if value is None:
        return None
    if name == "engine" and value == "both":
        return ENGINES
    return _several(name, value)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
