"""Streams, consumers and buckets on the real server: made, changed, looked at, and got wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas
import pytest

from platform_kit import Platform
from platform_kit.errors import ExistsError, NotRunningError, OptionError, PlatformKitError, StreamError
from platform_kit.jetstream.consumer_options import CONSUMER_OPTIONS
from platform_kit.jetstream.options import Option, OptionTable
from platform_kit.jetstream.stream import Stream
from platform_kit.jetstream.stream_options import STREAM_OPTIONS

LATER = datetime(2099, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    with Platform(workers=0) as running:
        yield running


@pytest.fixture
def name(request: pytest.FixtureRequest, platform: Platform) -> Iterator[str]:
    """A stream's name of the test's own; what begins with it is deleted afterwards."""
    found = f"T{abs(hash(request.node.name)) % 10**8}"
    yield found
    for stream in platform.streams()["stream"]:
        if found in stream:
            platform.delete_stream(stream)


def publish(platform: Platform, *messages: tuple[str, bytes], headers: dict[str, str] | None = None) -> None:
    async def send() -> None:
        client = await platform.connect()
        try:
            js = client.jetstream()
            for subject, payload in messages:
                await js.publish(subject, payload, headers=headers)
        finally:
            await client.close()

    asyncio.run(send())


def raw(platform: Platform, subject: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """One request to JetStream past all our code."""

    async def ask() -> dict[str, Any]:
        client = await platform.connect()
        try:
            message = await client.request(f"$JS.API.{subject}", json.dumps(body or {}).encode(), timeout=5)
            answer: dict[str, Any] = json.loads(message.data)
            return answer
        finally:
            await client.close()

    return asyncio.run(ask())


# ------------------------------------------------------------------------------ the tables and the server

# One value for each option that is not its default, in groups that can go together.
STREAM_SETS: list[dict[str, Any]] = [
    {
        "description": "all of it",
        "subjects": ["{}.a.*", "{}.b"],
        "retention": "interest",
        "storage": "memory",
        "max_msgs": 10,
        "max_bytes": "1MiB",
        "max_age": "1h",
        "max_msgs_per_subject": 3,
        "max_msg_size": "64KiB",
        "discard": "new",
        "discard_new_per_subject": True,
        "max_consumers": 4,
        "duplicate_window": timedelta(seconds=30),
        "no_ack": True,
        "first_seq": 100,
        "subject_transform": {"src": "{}.a.*", "dest": "{}.t.{{{{wildcard(1)}}}}"},
        "republish": {"src": "{}.a.*", "dest": "{}.r.{{{{wildcard(1)}}}}", "headers_only": True},
        "allow_direct": True,
        "deny_delete": True,
        "deny_purge": True,
        "consumer_limits": {"inactive_threshold": "1h", "max_ack_pending": 50},
        "metadata": {"colour": "green"},
        "compression": "s2",
        "num_replicas": 1,
    },
    {
        "subjects": ["{}.>"],
        "allow_rollup_hdrs": True,
        "allow_msg_ttl": True,
        "subject_delete_marker_ttl": "2s",
        "allow_atomic": True,
        "allow_batched": True,
        "allow_msg_schedules": True,
        "placement": {"tags": ["fast"], "cluster": "here"},
    },
    {"subjects": ["{}.>"], "allow_msg_counter": True},
    {"subjects": ["{}.>"], "persist_mode": "async"},
    {"mirror": {"name": "{}_ELSEWHERE", "opt_start_seq": 3, "filter_subject": "a.>"}, "mirror_direct": True},
    {
        "sources": [
            {"name": "{}_ONE", "opt_start_time": LATER, "subject_transforms": [{"src": "a", "dest": "b"}]},
            {"name": "{}_TWO", "external": {"api": "far.api", "deliver": "far.deliver"}},
            "{}_THREE",
        ]
    },
]

CONSUMER_SETS: list[dict[str, Any]] = [
    {
        "description": "all of it",
        "deliver_policy": "by_start_sequence",
        "opt_start_seq": 7,
        "ack_policy": "all",
        "ack_wait": "12s",
        "max_deliver": 9,
        "filter_subjects": ["{}.a", "{}.b.>"],
        "replay_policy": "original",
        "max_ack_pending": 17,
        "max_waiting": 19,
        "max_batch": 23,
        "max_expires": "29s",
        "max_bytes": "31KiB",
        "inactive_threshold": "37m",
        "headers_only": True,
        "sample_freq": "41%",
        "num_replicas": 1,
        "mem_storage": True,
        "metadata": {"colour": "red"},
        "pause_until": LATER,
        "priority_policy": "pinned_client",
        "priority_groups": ["first"],
        "priority_timeout": "43s",
    },
    {
        "deliver_policy": "by_start_time",
        "opt_start_time": LATER,
        "filter_subject": "{}.a",
        "backoff": ["1s", "9s"],
    },
    {
        "deliver_subject": "to.{}",
        "deliver_group": "group",
        "idle_heartbeat": "5s",
        "flow_control": True,
        "rate_limit_bps": 4096,
    },
    {"durable_name": "", "inactive_threshold": "1m"},
]


def named(value: Any, name: str) -> Any:
    if isinstance(value, str):
        return value.format(name)
    if isinstance(value, list):
        return [named(item, name) for item in value]
    return {key: named(item, name) for key, item in value.items()} if isinstance(value, dict) else value


def check_comes_back(table: OptionTable, given: dict[str, Any], config: dict[str, Any]) -> None:
    assert table.unknown(config) == set()
    encoded = table.encode(given)
    for option, value in encoded.items():
        known = table.options[option]
        assert known.same(config.get(option)) == known.same(value), option


@pytest.mark.parametrize("options", STREAM_SETS, ids=lambda options: next(iter(options)))
def test_every_option_of_a_stream_comes_back_and_the_server_has_no_other(
    platform: Platform, name: str, options: dict[str, Any]
) -> None:
    given = named(options, name)
    stream = platform.create_stream(name, **given)
    config = raw(platform, f"STREAM.INFO.{name}")["config"]
    check_comes_back(STREAM_OPTIONS, given, config)
    # The same again is no change, and what is read back makes the same stream.
    assert platform.create_stream(name, **given).info().created == stream.info().created
    again = {key: value for key, value in stream.config.items() if key != "subjects"}
    platform.create_stream(name, **again, subjects=stream.config.get("subjects"))
    assert not stream.update(**given)


@pytest.mark.parametrize("options", CONSUMER_SETS, ids=lambda options: next(iter(options)))
def test_every_option_of_a_consumer_comes_back_and_the_server_has_no_other(
    platform: Platform, name: str, options: dict[str, Any]
) -> None:
    stream = platform.create_stream(name, subjects=[f"{name}.>"])
    given = named(options, name)
    consumer = stream.create_consumer("all", **given)
    config = raw(platform, f"CONSUMER.INFO.{name}.all")["config"]
    wanted = {key: value for key, value in given.items() if key != "durable_name"}
    check_comes_back(CONSUMER_OPTIONS, wanted, config)
    assert config.get("durable_name", "") == given.get("durable_name", "all")
    assert stream.create_consumer("all", **given).info().created == consumer.info().created
    assert not consumer.update(**wanted)


def test_the_servers_own_consumers_which_it_does_not_show(platform: Platform, name: str) -> None:
    stream = platform.create_stream(name, subjects=[f"{name}.>"])
    options = {"deliver_subject": f"to.{name}", "ack_policy": "none", "direct": True, "sourcing": True}
    stream.create_consumer("hidden", durable_name="", **options)
    assert stream.consumers().empty
    config = CONSUMER_OPTIONS.encode(options) | {"name": "shown"}
    answer = raw(platform, f"CONSUMER.CREATE.{name}.shown", {"stream_name": name, "config": config})
    check_comes_back(CONSUMER_OPTIONS, options, answer["config"])


def test_every_option_has_been_set() -> None:
    streams = {key for options in STREAM_SETS for key in options}
    assert streams | {"sealed"} == set(STREAM_OPTIONS.options)
    consumers = {key for options in CONSUMER_SETS for key in options}
    assert consumers | {"direct", "sourcing"} == set(CONSUMER_OPTIONS.options)


def other_value(option: Option) -> Any:
    """A value that is neither the default nor what the test above sets, as the server takes it."""
    by_kind: dict[str, Any] = {
        "text": "other", "name": "OTHER", "count": 2, "size": 2048, "switch": True,
        "duration": 11 * 10**9, "time": "2098-01-01T00:00:00Z", "percent": "11%", "map": {"a": "b"},
        "texts": ["other"], "durations": [2 * 10**9],
    }  # fmt: skip
    return option.words[-1] if option.kind == "word" else by_kind[option.kind]


@pytest.mark.parametrize(
    "option",
    [
        option
        for option in STREAM_OPTIONS.options.values()
        if option.kind not in ("object", "objects", "subjects")
        and option.name not in ("num_replicas", "sealed")
    ],
    ids=lambda option: option.name,
)
def test_the_table_says_of_each_option_of_a_stream_whether_the_server_changes_it(
    platform: Platform, name: str, option: Option
) -> None:
    # Asked past our own checks: what the table calls impossible has to be refused by the server, or ignored.
    body = {"name": name, "subjects": [f"{name}.>"], "max_msgs_per_subject": 5}
    needs: dict[str, Any] = {"discard_new_per_subject": {"discard": "new"}}
    raw(platform, f"STREAM.CREATE.{name}", body)
    changed = {**body, **needs.get(option.name, {}), option.name: other_value(option)}
    answer = raw(platform, f"STREAM.UPDATE.{name}", changed)
    if option.change == "never":
        assert "error" in answer or option.name == "first_seq"
        return
    if option.change == "within limits and interest":
        assert "error" in answer
        changed[option.name] = "interest"
        answer = raw(platform, f"STREAM.UPDATE.{name}", changed)
    assert "error" not in answer, answer
    assert option.same(answer["config"].get(option.name)) == option.same(changed[option.name])
    if option.change == "only on":
        back = raw(platform, f"STREAM.UPDATE.{name}", {**body, option.name: False})
        assert "error" in back


@pytest.mark.parametrize(
    "option",
    [
        option
        for option in CONSUMER_OPTIONS.options.values()
        if option.name
        not in ("durable_name", "num_replicas", "deliver_subject", "deliver_group", "priority_groups")
        and option.name not in ("priority_policy", "priority_timeout", "rate_limit_bps", "sourcing", "direct")
        and option.kind != "subjects"
    ],
    ids=lambda option: option.name,
)
def test_the_table_says_of_each_option_of_a_consumer_whether_the_server_changes_it(
    platform: Platform, name: str, option: Option
) -> None:
    platform.create_stream(name, subjects=[f"{name}.>", "other.subject." + name])
    body: dict[str, Any] = {"name": "c", "durable_name": "c", "ack_policy": "explicit"}
    if option.name in ("idle_heartbeat", "flow_control"):
        body["deliver_subject"] = f"to.{name}"
    subject = f"CONSUMER.CREATE.{name}.c"
    made = raw(platform, subject, {"stream_name": name, "config": body})
    assert "error" not in made, made
    value = f"{name}.x" if option.kind == "subject" else other_value(option)
    if option.name in ("deliver_policy", "ack_policy"):
        value = "new" if option.name == "deliver_policy" else "all"
    config = {**body, option.name: value}
    answer = raw(platform, subject, {"stream_name": name, "config": config, "action": "update"})
    assert ("error" in answer) == (option.change == "never"), answer
    if option.change == "pause":
        assert "pause_until" not in answer["config"]  # taken, and left as it was
    if option.change == "always":
        assert option.same(answer["config"].get(option.name)) == option.same(value)


# ------------------------------------------------------------------------------ create and update


def test_a_stream_that_is_there_with_other_options_is_left_and_the_differences_are_said(
    platform: Platform, name: str
) -> None:
    platform.create_stream(name, subjects=[f"{name}.>"], max_age="1h", max_msgs=5)
    with pytest.raises(ExistsError) as caught:
        platform.create_stream(name, subjects=[f"{name}.>"], max_age="2h", description="new")
    assert [str(item) for item in caught.value.differences] == [
        "description: none → new",
        "max_msgs: 5 → no limit",
        "max_age: 1h → 2h",
    ]
    assert "update" in caught.value.hint and "max_age: 1h → 2h" in str(caught.value)
    assert platform.stream(name).config["max_age"] == timedelta(hours=1)
    with pytest.raises(ExistsError, match="max_age: 1h") as caught:
        platform.create_stream(name, subjects=[f"{name}.>"], max_msgs=5, storage="memory")
    assert "Delete it first: storage" in caught.value.hint
    platform.stream(name).update(deny_delete=True)
    with pytest.raises(ExistsError, match="deny_delete: yes → no") as caught:
        platform.create_stream(name, subjects=[f"{name}.>"], max_age="1h", max_msgs=5)
    assert "Delete it first: deny_delete" in caught.value.hint


def test_a_consumer_that_is_there_with_other_options_is_left_as_it_is(platform: Platform, name: str) -> None:
    limits = {"max_ack_pending": 20, "inactive_threshold": "1h"}
    stream = platform.create_stream(name, subjects=[f"{name}.>"], consumer_limits=limits)
    consumer = stream.create_consumer("c", ack_wait="5s")
    with pytest.raises(ExistsError) as caught:
        stream.create_consumer("c", ack_wait="6s")
    assert [str(item) for item in caught.value.differences] == ["ack_wait: 5s → 6s"]
    assert "update" in caught.value.hint and consumer.config["ack_wait"] == timedelta(seconds=5)
    consumer.delete()
    with pytest.raises(StreamError, match="There is no consumer 'c'"):
        consumer.update(ack_wait="6s")  # does not make it again
    assert stream.consumers().empty


def test_more_than_the_server_lists_at_once(platform: Platform, name: str) -> None:
    stream = platform.create_stream(name, subjects=[f"{name}.>"])
    names = [f"c{number}" for number in range(260)]
    for consumer in names:
        stream.create_consumer(consumer, mem_storage=True)
    assert stream.consumers()["consumer"].tolist() == sorted(names)


def test_an_update_says_what_it_changed_and_leaves_the_rest(platform: Platform, name: str) -> None:
    stream = platform.create_stream(name, subjects=[f"{name}.>"], max_age="1h", metadata={"a": "b"})
    changes = stream.update(max_age="2h", max_msgs=100)
    assert changes and changes.options == ("max_msgs", "max_age")
    assert str(changes.differences[1]) == "max_age: 1h → 2h"
    assert stream.config == {
        "subjects": [f"{name}.>"],
        "max_msgs": 100,
        "max_age": timedelta(hours=2),
        "metadata": {"a": "b"},
    }
    nothing = stream.update(max_age=7200)
    assert not nothing and "nothing to change" in str(nothing)
    assert stream.update(max_age=None, max_msgs=None).options == ("max_msgs", "max_age")
    assert set(stream.config) == {"subjects", "metadata"}
    # The dedupe window follows the age unless somebody chose it.
    assert stream.update(max_age="1m").options == ("max_age", "duplicate_window")
    stream.update(max_age=None)
    stream.update(duplicate_window="3m")
    with pytest.raises(OptionError, match="duplicate_window: 3m is longer than max_age"):
        stream.update(max_age="1m")


def test_what_cannot_be_changed_is_named_before_anything_is_sent(platform: Platform, name: str) -> None:
    stream = platform.create_stream(name, subjects=[f"{name}.>"], deny_purge=True)
    with pytest.raises(OptionError) as caught:
        stream.update(storage="memory", retention="workqueue", deny_purge=False, max_msgs=5)
    assert [problem.partition(":")[0] for problem in caught.value.problems] == [
        "retention",
        "storage",
        "deny_purge",
    ]
    assert "max_msgs" not in stream.config
    consumer = stream.create_consumer("c", deliver_policy="new")
    with pytest.raises(OptionError, match="ack_policy: explicit → none: cannot be changed"):
        consumer.update(ack_policy="none", max_deliver=2)
    assert "max_deliver" not in consumer.config
    assert consumer.update(max_deliver=2, backoff=["1s", "2s"]).options == (
        "ack_wait",
        "max_deliver",
        "backoff",
    )
    assert consumer.update(max_deliver=None).options == ("max_deliver",)


def test_a_sealed_stream_and_a_promoted_mirror(platform: Platform, name: str) -> None:
    stream = platform.create_stream(name, subjects=[f"{name}.>"])
    publish(platform, (f"{name}.a", b"1"))
    mirror = platform.create_stream(f"{name}_COPY", mirror=name)
    assert "sealed" in stream.update(sealed=True).options
    with pytest.raises(OptionError, match="sealed: yes → no: cannot be changed"):
        stream.update(sealed=False)
    assert "mirror" in mirror.update(mirror=None).options
    with pytest.raises(OptionError, match="mirror"):
        mirror.update(mirror="ANOTHER")


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("stream", {"max_msg": 1}),
        ("consumer", {"ack_wat": "1s"}),
        ("bucket", {"histori": 1}),
        ("store", {"tl": 1}),
    ],
)
def test_a_wrong_option_is_refused_before_anything_is_sent(
    platform: Platform, name: str, kind: str, options: dict[str, Any]
) -> None:
    stream = platform.create_stream(name, subjects=[f"{name}.>"])
    make: Callable[[], object] = {
        "stream": lambda: platform.create_stream(f"{name}_X", **options),
        "consumer": lambda: stream.create_consumer("c", **options),
        "bucket": lambda: platform.create_key_value(f"{name}_X", **options),
        "store": lambda: platform.create_object_store(f"{name}_X", **options),
    }[kind]
    before = raw(platform, "INFO")["api"]["total"]
    with pytest.raises(OptionError, match="did you mean"):
        make()
    assert raw(platform, "INFO")["api"]["total"] == before + 1  # our own question


# ------------------------------------------------------------------------------ what a stream does


def test_retention_purge_and_what_the_tables_show(platform: Platform, name: str) -> None:
    stream = platform.create_stream(name, subjects=[f"{name}.>"])
    empty = stream.consumers()
    assert len(empty) == 0
    publish(platform, *((f"{name}.{i % 2}", b"x" * i) for i in range(10)))
    consumer = stream.create_consumer("half", filter_subject=f"{name}.0")
    info = stream.info()
    assert (info.messages, info.first_sequence, info.last_sequence, info.subjects) == (10, 1, 10, 2)
    assert (stream.messages, stream.first, stream.last) == (10, 1, 10)
    assert consumer.info().pending == 5 and consumer.info().lag == 10 and consumer.info().state == "5 pending"
    full = stream.consumers()
    assert list(full.dtypes) == list(empty.dtypes) and full["pending"].tolist() == [5]
    row = platform.streams().set_index("stream").loc[name]
    assert (row["messages"], row["subjects"], row["consumers"], row["kind"]) == (10, f"{name}.>", 1, "stream")
    for shown in (repr(stream), stream._repr_html_()):
        assert "10 messages" in shown and "half" in shown and name in shown

    assert stream.purge(subject=f"{name}.1", keep=2) == 3
    assert stream.purge(up_to_sequence=5) == 2 and stream.first == 5
    assert stream.purge(up_to_sequence=0) == 0 and stream.messages == 5
    assert stream.purge() == 5 and stream.messages == 0
    for wrong in ({"keep": -1}, {"keep": True}, {"subject": "a..b"}, {"keep": 1, "up_to_sequence": 2}):
        with pytest.raises(OptionError):
            stream.purge(**wrong)


def test_an_empty_account_gives_tables_of_the_same_types(platform: Platform) -> None:
    from platform_kit.jetstream.info import stream_frame

    assert list(stream_frame([]).dtypes) == list(platform.streams().dtypes)
    assert isinstance(platform.streams()["first_time"].dtype, pandas.DatetimeTZDtype)


def test_a_consumer_is_paused_and_resumed(platform: Platform, name: str) -> None:
    consumer = platform.create_stream(name, subjects=[f"{name}.>"]).create_consumer("c")
    consumer.pause("10m")
    assert consumer.info().paused and "paused for 10 min" in repr(consumer)
    consumer.resume()
    assert not consumer.info().paused
    consumer.pause(LATER)
    assert consumer.config["pause_until"] == LATER
    with pytest.raises(
        OptionError, match=r"pause_until: .* cannot be changed \(by pause\(\) and resume\(\)\)"
    ):
        consumer.update(pause_until=None)
    for wrong in ("a while", None, -1, datetime(2030, 1, 1)):
        with pytest.raises(OptionError, match="nothing was sent"):
            consumer.pause(wrong)


def test_it_works_in_a_running_event_loop(platform: Platform, name: str) -> None:
    async def cell() -> int:
        stream = platform.create_stream(name, subjects=[f"{name}.>"])
        client = await platform.connect()
        await client.jetstream().publish(f"{name}.a", b"1")
        await client.close()
        return stream.messages

    assert asyncio.run(cell()) == 1


# ------------------------------------------------------------------------------ buckets


def test_a_bucket_is_what_nats_py_makes_and_shows_keys_and_history(platform: Platform, name: str) -> None:
    bucket = platform.create_key_value(name, history=3)
    assert bucket.frame().empty and bucket.history("ace").empty
    types = list(bucket.frame().dtypes)

    async def use() -> list[int]:
        client = await platform.connect()
        try:
            kv = await client.jetstream().key_value(name)
            revisions = [await kv.put("ace", value) for value in (b"1", b"2", b"3", b"4")]
            await kv.put("king.red", b"9")
            await kv.put("gone", b"0")
            await kv.delete("gone")
            return revisions
        finally:
            await client.close()

    revisions = asyncio.run(use())
    frame = bucket.frame().set_index("key")
    assert frame["value"].to_dict() == {"ace": b"4", "king.red": b"9"}
    assert list(bucket.frame().dtypes) == types
    assert bucket.history("ace")["revision"].tolist() == revisions[1:]
    assert bucket.history("gone")["operation"].tolist() == ["put", "delete"]
    assert platform.create_key_value(name, history=3).config == {"history": 3}
    with pytest.raises(ExistsError, match="history: 3 → 4"):
        platform.create_key_value(name, history=4)
    assert bucket.update(history=4, ttl="1h").options == ("history", "ttl")
    with pytest.raises(OptionError, match="in a key-value bucket that is there:\n  storage: file → memory"):
        bucket.update(storage="memory")
    assert "3 keys" in repr(bucket) and "history" in bucket._repr_html_()
    with pytest.raises(OptionError):
        bucket.history("a..b")
    assert platform.delete_key_value(name) and not bucket.delete()
    assert "There is no key-value bucket" in repr(bucket)


def test_an_object_store_shows_its_objects(platform: Platform, name: str) -> None:
    store = platform.create_object_store(name, description="pictures")
    assert store.frame().empty

    async def use() -> None:
        client = await platform.connect()
        try:
            objects = await client.jetstream().object_store(name)
            await objects.put("large", b"x" * 300_000)
            await objects.put("gone", b"x")
            await objects.delete("gone")
        finally:
            await client.close()

    asyncio.run(use())
    (row,) = store.frame().to_dict("records")
    assert (row["name"], row["bytes"]) == ("large", 300_000) and row["digest"].startswith("SHA-256=")
    assert platform.create_object_store(name, description="pictures").config == {"description": "pictures"}
    assert "pictures" in repr(store)
    assert platform.delete_object_store(name) and not platform.delete_object_store(name)


# ------------------------------------------------------------------------------ bad input


def test_what_is_not_there(platform: Platform, name: str) -> None:
    stream = platform.create_stream(f"{name}_ORDERS", subjects=[f"{name}.>"])
    stream.create_consumer("billing")
    for wrong in (
        lambda: platform.stream(f"{name}_ORDER"),
        lambda: Stream(stream._call, f"{name}_ORDER").update(max_msgs=1),
        lambda: Stream(stream._call, f"{name}_ORDER").create_consumer("c"),
        lambda: Stream(stream._call, f"{name}_ORDER").purge(),
        lambda: Stream(stream._call, f"{name}_ORDER").consumers(),
    ):
        with pytest.raises(StreamError, match=f"There is no stream '{name}_ORDER'") as caught:
            wrong()
        assert f"Did you mean '{name}_ORDERS'?" in caught.value.hint
    with pytest.raises(StreamError, match="There is no consumer 'biling' of the stream") as caught:
        stream.consumer("biling")
    assert "Did you mean 'billing'?" in caught.value.hint
    with pytest.raises(StreamError, match="There is no key-value bucket 'PRICES'"):
        platform.key_value("PRICES")
    with pytest.raises(StreamError, match="There is no object store 'CARD_ASSET'") as caught:
        platform.object_store("CARD_ASSET")
    assert "Did you mean 'CARD_ASSETS'?" in caught.value.hint
    consumer = stream.consumer("billing")
    assert consumer.delete() and not consumer.delete() and not stream.delete_consumer("billing")
    assert "unknown" in repr(consumer)
    assert stream.delete() and not stream.delete() and not platform.delete_stream(f"{name}_ORDERS")
    assert not platform.delete_key_value("PRICES") and not platform.delete_object_store("NONE")
    assert "unknown" in repr(stream) and "There is no stream" in stream._repr_html_()


@pytest.mark.parametrize("wrong", ["", "a b", "a.b", "x" * 256, "森" * 86, "a/b", ">", "\ud800", 7, None])
def test_names_that_cannot_be(platform: Platform, name: str, wrong: Any) -> None:
    stream = platform.create_stream(name, subjects=[f"{name}.>"])
    for make in (
        lambda: platform.create_stream(wrong),
        lambda: platform.stream(wrong),
        lambda: platform.delete_stream(wrong),
        lambda: stream.create_consumer(wrong),
        lambda: stream.consumer(wrong),
        lambda: platform.create_key_value(wrong),
        lambda: platform.object_store(wrong),
    ):
        with pytest.raises(OptionError, match="nothing was sent"):
            make()


def test_names_as_long_as_they_may_be(platform: Platform, name: str) -> None:
    long = name + "X" * (255 - len(name))
    stream = platform.create_stream(long, subjects=[f"{name}.>"])
    stream.create_consumer("c" * 255, filter_subject=f"{name}." + "s" * 3000)
    assert len(stream.consumers()) == 1 and "…" in repr(stream)


def test_subjects_another_stream_has(platform: Platform, name: str) -> None:
    platform.create_stream(name, subjects=[f"{name}.>"])
    with pytest.raises(StreamError, match=rf"{name}\.new with {name}\.> of {name}\."):
        platform.create_stream(f"{name}_B", subjects=[f"{name}.new", "free"])
    other = platform.create_stream(f"{name}_C", subjects=[f"free-{name}"])
    with pytest.raises(StreamError, match=f"of {name}"):
        other.update(subjects=[f"{name}.x"])


def test_what_the_server_alone_can_refuse(platform: Platform, name: str) -> None:
    with pytest.raises(StreamError, match="not supported in non-clustered mode") as caught:
        platform.create_stream(name, num_replicas=3)
    assert "cluster" in caught.value.hint
    work = platform.create_stream(name, subjects=[f"{name}.>"], retention="workqueue")
    work.create_consumer("one")
    with pytest.raises(StreamError, match="multiple non-filtered consumers") as caught:
        work.create_consumer("two")
    assert "filter_subject" in caught.value.hint


def test_a_viewer_may_look_and_is_told_what_it_may_not(platform: Platform, name: str) -> None:
    stream = platform.create_stream(name, subjects=[f"{name}.>"])
    stream.create_consumer("c")
    platform.create_key_value(f"{name}_KV")
    key = platform.credentials_file("viewer")
    with Platform.attach(platform.nats_url, credentials=key, inbox_prefix="_INBOX_viewer") as viewer:
        seen = viewer.stream(name)
        assert name in viewer.streams()["stream"].tolist() and seen.consumers()["consumer"].tolist() == ["c"]
        for what, subject in (
            (lambda: viewer.create_stream(f"{name}_V"), f"$JS.API.STREAM.CREATE.{name}_V"),
            (lambda: seen.update(max_msgs=1), f"$JS.API.STREAM.UPDATE.{name}"),
            (lambda: seen.purge(), f"$JS.API.STREAM.PURGE.{name}"),
            (lambda: seen.delete(), f"$JS.API.STREAM.DELETE.{name}"),
            (lambda: seen.create_consumer("d"), f"$JS.API.CONSUMER.CREATE.{name}.D"),
            (lambda: seen.consumer("c").pause("1m"), f"$JS.API.CONSUMER.PAUSE.{name}.C"),
            (lambda: viewer.key_value(f"{name}_KV").frame(), "$JS.API.CONSUMER.CREATE"),
        ):
            with pytest.raises(StreamError, match="the role viewer may not publish to") as caught:
                what()
            assert subject in str(caught.value)
    # Answers cannot come where the key may not listen: said at the first call, and at the second.
    with Platform.attach(platform.nats_url, credentials=key) as deaf:
        for _ in range(2):
            with pytest.raises(StreamError, match="may not subscribe to") as caught:
                deaf.streams()
            assert "inbox_prefix" in caught.value.hint


def test_without_a_server_there_is_one_clear_error_and_nothing_is_done_later(name: str) -> None:
    platform = Platform(workers=0)
    with pytest.raises(NotRunningError, match="not running"):
        platform.create_stream(name)
    platform.start()
    stream = platform.create_stream(name, subjects=["gone.>"])
    key = platform.credentials_file()
    with Platform.attach(platform.nats_url, credentials=key) as attached:
        other = attached.stream(name)
        platform.stop()
        with pytest.raises(NotRunningError, match=r"was not back within 5 s\. Nothing was sent"):
            other.delete()
        assert "unknown" in repr(other) and "nats-server" in repr(other)
    with pytest.raises(PlatformKitError):
        stream.info()


def test_objects_survive_a_restart_of_the_platform(tmp_path: Any, name: str) -> None:
    platform = Platform(tmp_path / "data", workers=0)
    try:
        stream = platform.start().create_stream(name, subjects=["kept.>"])
        publish(platform, ("kept.a", b"1"))
        platform.stop()
        platform.start()
        assert stream.messages == 1
    finally:
        platform.stop()
