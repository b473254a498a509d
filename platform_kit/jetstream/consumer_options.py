"""The options of a consumer: those of nats-server 2.15, under its own names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from platform_kit.jetstream.options import Option, OptionTable
from platform_kit.jetstream.stream_options import MOST_DESCRIPTION, MS, SECOND
from platform_kit.jetstream.subjects import overlaps
from platform_kit.jetstream.values import duration_text

_GROUP = re.compile(r"[a-zA-Z0-9/_=-]{1,16}")

_OPTIONS = (
    Option(
        "durable_name",
        "name",
        'The name of a consumer that outlives its clients; "" for one that does not.',
        default="",
        default_text="the name",
        change="never",
    ),
    Option(
        "description",
        "text",
        "What the consumer is for.",
        default="",
        default_text="none",
        most=MOST_DESCRIPTION,
    ),
    Option(
        "deliver_policy",
        "word",
        "Where it begins.",
        default="all",
        change="never",
        words=("all", "last", "new", "by_start_sequence", "by_start_time", "last_per_subject"),
    ),
    Option(
        "opt_start_seq",
        "count",
        'The sequence of deliver_policy="by_start_sequence".',
        default=0,
        default_text="none",
        least=1,
        change="never",
    ),
    Option(
        "opt_start_time",
        "time",
        'The time of deliver_policy="by_start_time".',
        default_text="none",
        change="never",
    ),
    Option(
        "ack_policy",
        "word",
        "What has to be acknowledged.",
        default="explicit",
        change="never",
        words=("none", "all", "explicit", "flow_control"),
    ),
    Option(
        "ack_wait",
        "duration",
        "After how long without an ack a message comes again.",
        default=30 * SECOND,
        least=1,
    ),
    Option("max_deliver", "count", "Deliveries of one message at most.", default=-1, least=1, unlimited=True),
    Option(
        "backoff",
        "durations",
        "Pauses before the second, third ... delivery, in place of ack_wait.",
        since="2.7",
        default_text="none",
    ),
    Option("filter_subject", "subject", "Only messages of these subjects.", default="", default_text="all"),
    Option(
        "filter_subjects", "subjects", "The same with several subjects.", since="2.10", default_text="all"
    ),
    Option(
        "replay_policy",
        "word",
        "As fast as it goes, or with the gaps messages came with.",
        default="instant",
        words=("instant", "original"),
        change="never",
    ),
    Option(
        "max_ack_pending",
        "count",
        "Messages out without an ack at most.",
        default=1000,
        default_text="1,000, or what the stream says",
        least=1,
        unlimited=True,
    ),
    Option("max_waiting", "count", "Pull requests waiting at once.", default=512, least=1, change="never"),
    Option(
        "max_batch",
        "count",
        "Messages of one pull request at most.",
        default=0,
        default_text="no limit",
        least=1,
        since="2.7",
    ),
    Option(
        "max_expires",
        "duration",
        "The longest a pull request may wait.",
        default=0,
        default_text="no limit",
        least=MS,
        since="2.7",
    ),
    Option(
        "max_bytes",
        "size",
        "Bytes of one pull request at most.",
        default=0,
        default_text="no limit",
        least=1,
        since="2.8",
    ),
    Option(
        "inactive_threshold",
        "duration",
        "Delete it after this long without a client.",
        default=0,
        default_text="never if durable, else 5s",
        least=1,
        since="2.7",
    ),
    Option("headers_only", "switch", "Deliver headers and the size alone.", default=False, since="2.6"),
    Option(
        "sample_freq", "percent", "How many acks are reported as events.", default="", default_text="none"
    ),
    Option(
        "num_replicas",
        "count",
        "How many servers keep its state.",
        default=0,
        default_text="as the stream",
        least=1,
        most=5,
        since="2.8",
    ),
    Option("mem_storage", "switch", "Keep its state in memory.", default=False, since="2.8", change="never"),
    Option("metadata", "map", "Texts of your own about it.", since="2.10", default_text="none"),
    Option(
        "pause_until",
        "time",
        "Deliver nothing before this time.",
        since="2.11",
        default_text="none",
        change="pause",
    ),
    Option("priority_groups", "texts", "The group its clients belong to.", since="2.11", default_text="none"),
    Option(
        "priority_policy",
        "word",
        'Who of a group is served first; "prioritized" needs 2.12.',
        default="none",
        words=("none", "overflow", "pinned_client", "prioritized"),
        since="2.11",
    ),
    Option(
        "priority_timeout",
        "duration",
        "How long a pinned client may be silent.",
        default=0,
        default_text="2m if pinned",
        least=1,
        since="2.11",
    ),
    Option(
        "deliver_subject",
        "subject",
        "Push messages to this subject; without it clients pull.",
        default="",
        default_text="pull",
        change="push to push",
    ),
    Option(
        "deliver_group", "text", "The queue group messages are pushed to.", default="", default_text="none"
    ),
    Option(
        "idle_heartbeat",
        "duration",
        "Say that one is alive after this long; when pushing.",
        default=0,
        default_text="none",
        least=100 * MS,
        change="never",
    ),
    Option("flow_control", "switch", "Wait for slow clients; when pushing.", default=False, change="never"),
    Option(
        "rate_limit_bps",
        "count",
        "Bits a second at most; when pushing.",
        default=0,
        default_text="none",
        least=1,
    ),
    Option(
        "direct",
        "switch",
        "Without acks and not counted; the server's own, for reading from another stream.",
        default=False,
        change="never",
    ),
    Option(
        "sourcing",
        "switch",
        "The server's own, for reading from another stream.",
        default=False,
        since="2.14",
        change="never",
    ),
)


def _conflicts(config: Mapping[str, Any]) -> Iterator[str]:
    """What nats-server would refuse, or silently change, of a whole configuration."""
    push = bool(config.get("deliver_subject"))
    if push:
        for name in ("max_waiting", "max_batch", "max_expires", "max_bytes"):
            if config.get(name):
                yield f"{name}: is about pull requests, and deliver_subject makes it push"
        if config.get("ack_policy") == "none" and (config.get("max_ack_pending") or 0) > 0:
            yield 'max_ack_pending: nothing is pending with ack_policy="none"'
    else:
        for name in ("idle_heartbeat", "flow_control", "rate_limit_bps", "deliver_group", "direct"):
            if config.get(name):
                yield f"{name}: is about pushing; it needs deliver_subject"
        if config.get("ack_policy") == "flow_control":
            yield 'ack_policy: "flow_control" is about pushing; it needs deliver_subject'
    if push and config.get("flow_control") and not config.get("idle_heartbeat"):
        yield "flow_control: needs idle_heartbeat"
    if config.get("filter_subject") and config.get("filter_subjects"):
        yield "filter_subjects: put filter_subject among them, or leave one of the two out"
    for one, other in overlaps(config.get("filter_subjects") or []):
        yield f"filter_subjects: {one} and {other} overlap"
    yield from _start(config)
    yield from _again(config)
    yield from _priority(config, push)


def _start(config: Mapping[str, Any]) -> Iterator[str]:
    policy = config.get("deliver_policy") or "all"
    for name, wanted in (("opt_start_seq", "by_start_sequence"), ("opt_start_time", "by_start_time")):
        if config.get(name) and policy != wanted:
            yield f'{name}: goes with deliver_policy="{wanted}", which is "{policy}"'
        if policy == wanted and not config.get(name):
            yield f'deliver_policy: "{wanted}" needs {name}'
    if policy == "last_per_subject" and not (config.get("filter_subject") or config.get("filter_subjects")):
        yield 'deliver_policy: "last_per_subject" needs filter_subject; ">" for all'


def _again(config: Mapping[str, Any]) -> Iterator[str]:
    backoff, most = config.get("backoff") or [], config.get("max_deliver") or -1
    if backoff and 0 < most < len(backoff):
        yield f"backoff: {len(backoff)} pauses are more than the {most} deliveries of max_deliver"
    if backoff and config.get("ack_wait") and config["ack_wait"] != backoff[0]:
        yield (
            f"ack_wait: {duration_text(config['ack_wait'])} would be replaced by the first of backoff "
            f"({duration_text(backoff[0])}); leave it out"
        )


def _priority(config: Mapping[str, Any], push: bool) -> Iterator[str]:
    policy, groups = config.get("priority_policy") or "none", config.get("priority_groups") or []
    if policy == "none":
        for name in ("priority_groups", "priority_timeout"):
            if config.get(name):
                yield f"{name}: needs priority_policy"
        return
    if push:
        yield "priority_policy: is about pulling, and deliver_subject makes it push"
    if not groups:
        yield f'priority_policy: "{policy}" needs priority_groups'
    for group in groups:
        if not _GROUP.fullmatch(group):
            yield f"priority_groups: {group!r} has to be 1 to 16 letters, digits or / _ = -"
    if config.get("priority_timeout") and policy != "pinned_client":
        yield 'priority_timeout: is about priority_policy="pinned_client"'


CONSUMER_OPTIONS = OptionTable("consumer", _OPTIONS, _conflicts, identity=("name",))
"""Every option of a consumer."""
