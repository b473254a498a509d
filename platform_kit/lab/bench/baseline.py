"""A result as a file: JSON, written completely or not at all."""

from __future__ import annotations

import json
import math
import os
import secrets
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from platform_kit.errors import UsageError
from platform_kit.lab.bench.latency import Histogram
from platform_kit.lab.bench.run import Options, Record
from platform_kit.lab.bench.scenarios import PARAMETERS, SCENARIOS, Point
from platform_kit.lab.bench.workbench import Sample
from platform_kit.pipelines.pipeline import Pipeline

FORMAT = "platform-kit bench 1"


def save_record(record: Record, places: Sequence[int], path: Path) -> Path:
    """Write these points of a record.

    Errors: ``UsageError`` for a place that cannot be written to.
    """
    found = {
        "format": FORMAT,
        "fingerprint": record.fingerprint,
        "options": asdict(record.options),
        "points": [
            {
                **record.points[place].parameters,
                "pipeline": _pipeline(record.points[place].pipeline),
                "messages": record.messages.get(place, 0),
                "failure": record.failures.get(place, ""),
                "samples": [_sample(one) for one in record.samples.get(place, [])],
            }
            for place in places
        ],
    }
    path = path.expanduser()
    if path.suffix != ".json":
        raise UsageError(f"{path.name} is not the name of a JSON file.", hint="End it in .json.")
    text = json.dumps(_plain(found), ensure_ascii=False, allow_nan=False)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror}.", hint="Name another place."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    return path


def load_record(path: Path) -> Record:
    """Read a file of :func:`save_record`.

    Errors: ``UsageError`` for one that is not there, or none of these.
    """
    path = path.expanduser()
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}.", hint="result.save(path) writes one."
        ) from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not JSON.", hint="result.save(path) writes one.") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise UsageError(f"{path} is not the result of a bench.", hint="result.save(path) writes one.")
    try:
        return _record(found)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(
            f"{path} is damaged: {type(error).__name__} {error}.", hint="Measure it again."
        ) from error


def _record(found: dict[str, Any]) -> Record:
    points, messages, samples, failures = [], {}, {}, {}
    for place, one in enumerate(found["points"]):
        given = {name: one[name] for name in PARAMETERS} | {"pipeline": _pipeline_of(one["pipeline"])}
        if given["scenario"] not in SCENARIOS:
            raise ValueError(f"scenario {given['scenario']!r}")
        points.append(Point(**given))
        messages[place] = int(one["messages"])
        samples[place] = [_sample_of(sample) for sample in one["samples"]]
        if one["failure"]:
            failures[place] = str(one["failure"])
    known = {field.name for field in fields(Options)}
    options = Options(**{name: value for name, value in found["options"].items() if name in known})
    return Record(points, options, dict(found["fingerprint"]), messages, samples, failures)


def _sample(one: Sample) -> dict[str, Any]:
    return {
        **{name: getattr(one, name) for name in ("sent", "arrived", "failed", "duplicates", "error", "at")},
        **{name: getattr(one, name) for name in ("seconds", "probe", "percentiles")},
        "latency": one.latency.as_dict(),
        "late": one.late.as_dict(),
        "series": [[list(marks), step] for marks, step in one.series],
    }


def _sample_of(found: dict[str, Any]) -> Sample:
    return Sample(
        sent=int(found["sent"]),
        arrived=int(found["arrived"]),
        failed=int(found["failed"]),
        duplicates=int(found["duplicates"]),
        seconds=_number(found["seconds"]),
        probe=_number(found["probe"]),
        latency=Histogram.from_dict(found["latency"]),
        late=Histogram.from_dict(found["late"]),
        percentiles={name: _number(value) for name, value in found["percentiles"].items()},
        series=[([int(mark) for mark in marks], int(step)) for marks, step in found["series"]],
        error=str(found["error"]),
        at=float(found["at"]),
    )


def _pipeline(pipeline: Pipeline | None) -> dict[str, str] | None:
    return {"name": pipeline.name, "text": pipeline.text} if pipeline is not None else None


def _pipeline_of(found: dict[str, str] | None) -> Pipeline | None:
    return Pipeline(found["name"], found["text"]) if found is not None else None


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _plain(value: Any) -> Any:
    """NaN has no place in JSON."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return value
