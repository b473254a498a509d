"""The options of a stream: those of nats-server 2.15, under its own names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from platform_kit.jetstream.options import Option, OptionTable
from platform_kit.jetstream.subjects import collide, overlaps
from platform_kit.jetstream.values import duration_text

MS = 10**6
SECOND = 10**9
MOST_DESCRIPTION = 4096
DEDUPE_WINDOW = 120 * SECOND

TRANSFORM = (
    Option("src", "subject", "Subjects it is about; all without it.", default=""),
    Option("dest", "text", "What they become, such as new.{{wildcard(1)}}.", default="", required=True),
)
SOURCE = (
    Option("name", "name", "The stream messages come from.", default="", required=True),
    Option("opt_start_seq", "count", "Begin at this sequence of it.", default=0, least=1),
    Option("opt_start_time", "time", "Begin at this time."),
    Option("filter_subject", "subject", "Only messages of these subjects.", default=""),
    Option("subject_transforms", "objects", "Only these subjects, and what they become.", parts=TRANSFORM),
    Option(
        "external",
        "object",
        "Where a stream of another account or domain is reached.",
        parts=(
            Option("api", "text", "The prefix of its API.", default="", required=True),
            Option("deliver", "text", "The prefix of its deliveries.", default=""),
        ),
    ),
    Option(
        "consumer",
        "object",
        "A durable consumer to read through.",
        since="2.14",
        parts=(
            Option("name", "name", "Its name.", default="", required=True),
            Option("deliver_subject", "subject", "Where it delivers.", default="", required=True),
        ),
    ),
)

_OPTIONS = (
    Option(
        "description",
        "text",
        "What the stream is for.",
        default="",
        default_text="none",
        most=MOST_DESCRIPTION,
    ),
    Option("subjects", "subjects", "Subjects whose messages it keeps.", default_text="the stream's name"),
    Option(
        "retention",
        "word",
        "When messages go: at the limits, once all consumers have acked, at the first ack.",
        default="limits",
        words=("limits", "interest", "workqueue"),
        change="within limits and interest",
    ),
    Option(
        "storage",
        "word",
        "Where messages are kept.",
        default="file",
        words=("file", "memory"),
        change="never",
    ),
    Option("num_replicas", "count", "How many servers keep it.", default=1, least=1, most=5),
    Option("max_msgs", "count", "Messages at most.", default=-1, least=1, unlimited=True),
    Option("max_bytes", "size", "Bytes at most.", default=-1, least=1, unlimited=True),
    Option(
        "max_age",
        "duration",
        "How long a message is kept.",
        default=0,
        default_text="no limit",
        least=100 * MS,
    ),
    Option(
        "max_msgs_per_subject",
        "count",
        "Messages of one subject at most.",
        default=-1,
        least=1,
        unlimited=True,
        since="2.3",
    ),
    Option(
        "max_msg_size", "size", "The largest message.", default=-1, least=1, most=2**31 - 1, unlimited=True
    ),
    Option(
        "discard",
        "word",
        "At a limit, drop the oldest or refuse the new.",
        default="old",
        words=("old", "new"),
    ),
    Option(
        "discard_new_per_subject",
        "switch",
        'Refuse the new also at max_msgs_per_subject; with discard="new".',
        default=False,
        since="2.9",
    ),
    Option("max_consumers", "count", "Consumers at most.", default=-1, least=1, unlimited=True),
    Option(
        "duplicate_window",
        "duration",
        "For how long a message id is remembered and its repeat dropped.",
        default=DEDUPE_WINDOW,
        default_text="2m, or max_age if that is shorter",
        least=100 * MS,
    ),
    Option("no_ack", "switch", "Do not acknowledge publishes.", default=False),
    Option(
        "compression",
        "word",
        "How blocks on disk are compressed.",
        default="none",
        words=("none", "s2"),
        since="2.10",
    ),
    Option(
        "first_seq",
        "count",
        "The first sequence of a new stream.",
        default=0,
        default_text="1",
        least=1,
        since="2.10",
        change="never",
    ),
    Option(
        "subject_transform",
        "object",
        "Store messages under another subject.",
        parts=TRANSFORM,
        since="2.10",
        default_text="none",
    ),
    Option(
        "republish",
        "object",
        "Publish each stored message once more, under another subject.",
        since="2.8",
        default_text="none",
        parts=(
            Option("src", "subject", "Subjects it is about; all without it.", default=">"),
            Option("dest", "text", "What they become.", default="", required=True),
            Option("headers_only", "switch", "Without the payload.", default=False),
        ),
    ),
    Option(
        "mirror",
        "object",
        "Be a copy of another stream.",
        parts=SOURCE,
        short="name",
        change="only off",
        default_text="none",
    ),
    Option(
        "sources",
        "objects",
        "Take in the messages of other streams.",
        parts=SOURCE,
        short="name",
        default_text="none",
    ),
    Option(
        "placement",
        "object",
        "Which servers of a cluster keep it.",
        default_text="anywhere",
        parts=(
            Option("cluster", "text", "The cluster's name.", default=""),
            Option("tags", "texts", "Tags the servers must have."),
            Option("preferred", "text", "The server to lead; only for a request to step down.", default=""),
        ),
    ),
    Option(
        "allow_direct",
        "switch",
        "Let every replica answer reads of single messages.",
        default=False,
        since="2.9",
    ),
    Option(
        "mirror_direct",
        "switch",
        "Let a mirror answer them too; a mirror takes it from its origin.",
        default=False,
        since="2.9",
    ),
    Option(
        "sealed", "switch", "Nothing goes in or out any more.", default=False, since="2.6", change="later on"
    ),
    Option(
        "deny_delete", "switch", "Refuse to delete messages.", default=False, since="2.6", change="only on"
    ),
    Option("deny_purge", "switch", "Refuse to purge.", default=False, since="2.6", change="only on"),
    Option(
        "allow_rollup_hdrs",
        "switch",
        "Let a header replace all earlier messages of a subject or of the stream.",
        default=False,
        since="2.6",
    ),
    Option(
        "consumer_limits",
        "object",
        "Defaults and limits of its consumers.",
        since="2.10",
        default_text="none",
        parts=(
            Option("inactive_threshold", "duration", "The longest inactive_threshold.", default=0, least=1),
            Option("max_ack_pending", "count", "The largest max_ack_pending.", default=0, least=1),
        ),
    ),
    Option(
        "allow_msg_ttl",
        "switch",
        "Let the header Nats-TTL say how long a message is kept.",
        default=False,
        since="2.11",
        change="only on",
    ),
    Option(
        "subject_delete_marker_ttl",
        "duration",
        "Leave a marker for this long where max_age took a subject's last.",
        default=0,
        default_text="none",
        least=SECOND,
        since="2.11",
    ),
    Option("allow_atomic", "switch", "Allow batches stored all or not at all.", default=False, since="2.12"),
    Option("allow_batched", "switch", "Allow fast batches.", default=False, since="2.14"),
    Option(
        "allow_msg_counter",
        "switch",
        "Be a counter: messages add to a number.",
        default=False,
        since="2.12",
        change="never",
    ),
    Option(
        "allow_msg_schedules",
        "switch",
        "Allow messages that are published later.",
        default=False,
        since="2.12",
        change="only on",
    ),
    Option(
        "persist_mode",
        "word",
        '"async" acknowledges before the message is written.',
        default="default",
        words=("default", "async"),
        since="2.12",
        change="never",
    ),
    Option("metadata", "map", "Texts of your own about it.", since="2.10", default_text="none"),
)


def _conflicts(config: Mapping[str, Any]) -> Iterator[str]:
    """What nats-server would refuse, or silently change, of a whole configuration."""

    def on(*names: str) -> list[str]:
        return [name for name in names if config.get(name)]

    subjects = config.get("subjects") or []
    window, age = config.get("duplicate_window") or 0, config.get("max_age") or 0
    if age and window > age:
        yield (
            f"duplicate_window: {duration_text(window)} is longer than max_age ({duration_text(age)}); a "
            "message that is gone is not remembered"
        )
    if on("discard_new_per_subject"):
        if config.get("discard") != "new":
            yield 'discard_new_per_subject: needs discard="new"'
        if (config.get("max_msgs_per_subject") or -1) < 1:
            yield "discard_new_per_subject: needs max_msgs_per_subject"
    if on("deny_purge"):
        for name in on("allow_rollup_hdrs", "subject_delete_marker_ttl", "allow_msg_schedules"):
            yield f"{name}: replaces messages, which deny_purge forbids"
    if config.get("discard") == "new":
        for name in on("allow_msg_counter", "allow_msg_schedules"):
            yield f'{name}: cannot go with discard="new"'
    if on("allow_msg_counter"):
        for name in on("allow_msg_ttl", "allow_msg_schedules", "subject_delete_marker_ttl"):
            yield f"{name}: cannot go with allow_msg_counter"
        if (config.get("retention") or "limits") != "limits":
            yield 'allow_msg_counter: needs retention="limits"'
    if config.get("persist_mode") == "async":
        if config.get("storage") == "memory":
            yield 'persist_mode: "async" is about storage="file"'
        if (config.get("num_replicas") or 1) > 1:
            yield 'persist_mode: "async" needs num_replicas=1'
        if on("allow_atomic"):
            yield 'persist_mode: "async" cannot go with allow_atomic'
    if (config.get("placement") or {}).get("preferred"):
        yield "placement: nats-server does not take preferred in a stream's options yet"
    yield from _copying(config, on("subjects", "sources", "first_seq"))
    yield from _subjects(config, subjects)


def _copying(config: Mapping[str, Any], own: list[str]) -> Iterator[str]:
    """Mirrors and sources."""
    mirror, sources = config.get("mirror"), config.get("sources") or []
    if mirror:
        for name in own:
            yield f"{name}: a mirror has what its origin has, and cannot have its own"
        for name in (
            "allow_msg_counter",
            "allow_atomic",
            "allow_batched",
            "allow_msg_schedules",
            "subject_delete_marker_ttl",
        ):
            if config.get(name):
                yield f"{name}: cannot go with mirror"
    if sources and config.get("allow_msg_schedules"):
        yield "allow_msg_schedules: cannot go with sources"
    for name, items in (("mirror", [mirror] if mirror else []), ("sources", sources)):
        for item in items:
            if item.get("filter_subject") and item.get("subject_transforms"):
                yield f"{name}: {item['name']} has both filter_subject and subject_transforms; give one"
            if item.get("opt_start_seq") and item.get("opt_start_time"):
                yield f"{name}: {item['name']} has both opt_start_seq and opt_start_time; give one"


def _subjects(config: Mapping[str, Any], subjects: list[str]) -> Iterator[str]:
    for one, other in overlaps(subjects):
        yield f"subjects: {one} and {other} overlap, so that a message would be stored twice"
    if not config.get("no_ack"):
        for subject in subjects:
            if subject == ">":
                yield "subjects: > takes in everything, the server's own answers too; that needs no_ack=True"
            elif not subject.startswith(("$JS.EVENT.", "$SYS.ACCOUNT.")) and (
                collide(subject, "$JS.>") or collide(subject, "$SYS.>")
            ):
                yield f"subjects: {subject} takes in the server's own API; that needs no_ack=True"
    for subject in subjects:
        target = (config.get("republish") or {}).get("dest", "")
        if target and "{" not in target and collide(subject, target):
            yield f"republish: {target} is among the stream's own subjects ({subject}): that would never end"


STREAM_OPTIONS = OptionTable("stream", _OPTIONS, _conflicts, identity=("name",))
"""Every option of a stream."""
