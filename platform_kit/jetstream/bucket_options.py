"""The options of key-value buckets and object stores: both are streams of a certain form.

Where buckets have words of their own (``history``, ``ttl``), they are those all clients use; the others are
the stream's. Form of buckets: https://github.com/nats-io/nats-architecture-and-design (ADR-8 and ADR-20).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from platform_kit.jetstream.options import Option, OptionTable
from platform_kit.jetstream.stream_options import DEDUPE_WINDOW, STREAM_OPTIONS

_STREAM = STREAM_OPTIONS.options
SERVER_NAMES: Mapping[str, str] = {
    "history": "max_msgs_per_subject",
    "ttl": "max_age",
    "max_value_size": "max_msg_size",
    "limit_marker_ttl": "subject_delete_marker_ttl",
}
"""What the words of buckets are called in the stream behind them."""
_SHARED = ("description", "max_bytes", "storage", "num_replicas", "compression", "placement", "metadata")

HISTORY = Option("history", "count", "Revisions of a key that are kept.", default=1, least=1, most=64)
TTL = replace(_STREAM["max_age"], name="ttl", help="How long a revision, or an object, is kept.")


def _fine(config: Mapping[str, Any]) -> Iterator[str]:
    yield from ()


KEY_VALUE_OPTIONS = OptionTable(
    "key-value bucket",
    (
        HISTORY,
        TTL,
        replace(_STREAM["max_msg_size"], name="max_value_size", help="The largest value."),
        replace(
            _STREAM["subject_delete_marker_ttl"],
            name="limit_marker_ttl",
            help="Leave a marker for this long where ttl took a key's last revision.",
        ),
        *(_STREAM[name] for name in _SHARED),
        _STREAM["republish"],
    ),
    _fine,
    identity=("bucket",),
)
"""Every option of a key-value bucket."""

OBJECT_STORE_OPTIONS = OptionTable(
    "object store", (TTL, *(_STREAM[name] for name in _SHARED)), _fine, identity=("bucket",)
)
"""Every option of an object store."""


def to_stream(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a bucket under the names of the stream behind it."""
    return {SERVER_NAMES.get(name, name): value for name, value in options.items()}


def from_stream(config: Mapping[str, Any], table: OptionTable) -> dict[str, Any]:
    """What a stream's configuration says of the bucket's options."""
    return {
        name: config[SERVER_NAMES.get(name, name)]
        for name in table.options
        if SERVER_NAMES.get(name, name) in config
    }


def key_value_stream(bucket: str, options: Mapping[str, Any], *, message_ttl: bool) -> dict[str, Any]:
    """The stream of a key-value bucket, whose options are encoded."""
    config = to_stream({"history": 1, **options})
    return {
        "subjects": [f"$KV.{bucket}.>"],
        "discard": "new",
        "allow_rollup_hdrs": True,
        "deny_delete": True,
        "allow_direct": True,
        "duplicate_window": min(DEDUPE_WINDOW, config.get("max_age") or DEDUPE_WINDOW),
        **({"allow_msg_ttl": True} if message_ttl else {}),
        **config,
    }


def object_stream(bucket: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The stream of an object store, whose options are encoded."""
    return {
        "subjects": [f"$O.{bucket}.C.>", f"$O.{bucket}.M.>"],
        "discard": "new",
        "allow_rollup_hdrs": True,
        "allow_direct": True,
        **to_stream(options),
    }
