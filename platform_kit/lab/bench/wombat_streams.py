"""Any pipeline from one stream to another, led to the streams of a bench instead of the user's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from platform_kit.errors import UsageError
from platform_kit.pipelines.pipeline import Pipeline
from platform_kit.platform import Platform

DURABLE = {"nats_jetstream": "durable", "nats_jetstream_batched": "name"}
"""Which field of a stock input names its consumer; ours call it ``consumer``."""


def check(pipeline: Pipeline, platform: Platform) -> None:
    """Errors: ``UsageError`` for a pipeline that is not from stream to stream, ``LintError``."""
    rewired(pipeline, stream="A", source="a", consumer="c", target="B", subject="b")
    _ = platform.wombat
    pipeline.lint(settings=platform.settings)


def rewired(
    pipeline: Pipeline, *, stream: str, source: str, consumer: str, target: str, subject: str
) -> dict[str, Any]:
    """The pipeline's config, reading ``stream`` with ``consumer`` and publishing to ``subject``.

    Parameters
    ----------
    source: The subject of ``stream``; a stock input that is not bound to a consumer makes its own from it.
    consumer: A durable consumer that exists.
    target: The stream that keeps what is published to ``subject``.

    Errors: ``UsageError`` for a pipeline without a JetStream input or output.

    >>> text = "input: {nats_jetstream: {bind: true}}\\noutput: {nats_jetstream: {subject: b}}"
    >>> copy = Pipeline("copy", text)
    >>> rewired(copy, stream="A", source="a", consumer="c", target="B", subject="z")["input"]
    {'nats_jetstream': {'bind': True, 'stream': 'A', 'durable': 'c'}}
    """
    config = pipeline.config
    inputs = [found for found in _components(config.get("input")) if "jetstream" in found[0]]
    outputs = [
        found
        for found in _components(config.get("output"))
        if "jetstream" in found[0] or (found[0] == "nats" and "subject" in found[1])
    ]
    for kind, found in (("input", inputs), ("output", outputs)):
        if not found:
            raise UsageError(
                f"The pipeline {pipeline.name!r} has no JetStream {kind}.",
                hint="Measured are pipelines that read one stream and write another.",
            )
    for name, fields in inputs:
        bound = fields.get("bind") in (True, "true") or name != "nats_jetstream"
        for old in ("subject", "queue", "filter_subjects", "durable", "name", "consumer", "start_sequence"):
            fields.pop(old, None)
        fields["stream"] = stream
        if not bound:
            fields["subject"] = source
            continue
        fields[DURABLE.get(name, "consumer")] = consumer
        if name in DURABLE:
            fields["bind"] = True
    for _, fields in outputs:
        fields["subject"] = subject
        if "stream" in fields:
            fields["stream"] = target
    return config


def _components(found: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every component below: its kind and its fields."""
    if isinstance(found, dict):
        for kind, fields in found.items():
            if isinstance(fields, dict):
                yield kind, fields
                yield from _components(fields)
            elif isinstance(fields, list):
                yield from _components(fields)
    elif isinstance(found, list):
        for one in found:
            yield from _components(one)


def relay(name: str, component: str = "nats_jetstream_batched", batch_size: int = 500) -> Pipeline:
    """A pipeline of stock components that only passes on.

    Parameters
    ----------
    component: The input. "nats_jetstream_batched" fetches ``batch_size`` messages at a time; to
        "nats_jetstream" the server pushes them, and each goes on alone.

    >>> relay("stock", "nats_jetstream").config["input"]["nats_jetstream"]["stream"]
    'SOURCE'
    """
    let_in: dict[str, Any] = {
        "urls": ["${PLATFORM_NATS_URL}"],
        "auth": {"nkey_file": "${PLATFORM_NKEY_FILE}"},
    }
    source = let_in | {"stream": "SOURCE"}
    if component == "nats_jetstream_batched":
        source |= {"bind": True, "name": "relay", "batch_size": batch_size}
    else:
        source |= {"subject": "source"}
    config = {
        "input": {component: source},
        "output": {"nats_jetstream": let_in | {"subject": "relayed", "max_in_flight": 1024}},
    }
    return Pipeline(name, json.dumps(config, indent=2))
