"""Options of streams, consumers and buckets: what may be written, what is refused, and in which words."""

from __future__ import annotations

import inspect
import itertools
import warnings
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_kit import Platform
from platform_kit.errors import OptionError
from platform_kit.jetstream.bucket_options import KEY_VALUE_OPTIONS, OBJECT_STORE_OPTIONS
from platform_kit.jetstream.consumer_options import CONSUMER_OPTIONS
from platform_kit.jetstream.options import OptionTable
from platform_kit.jetstream.stream import Stream
from platform_kit.jetstream.stream_options import STREAM_OPTIONS
from platform_kit.jetstream.subjects import collide, name_problem, subject_problem
from platform_kit.jetstream.values import (
    MOST_NS,
    duration_ns,
    duration_text,
    size_bytes,
    time_of,
    time_text,
    timedelta_of,
)

TABLES = [STREAM_OPTIONS, CONSUMER_OPTIONS, KEY_VALUE_OPTIONS, OBJECT_STORE_OPTIONS]


# ------------------------------------------------------------------------------ durations, sizes, times


@given(st.integers(0, MOST_NS))
def test_every_duration_is_read_as_it_is_written(ns: int) -> None:
    assert duration_ns(duration_text(ns)) == ns


@given(st.timedeltas(timedelta(0), timedelta(days=100_000)))
def test_a_timedelta_is_exact(duration: timedelta) -> None:
    assert duration_ns(duration) == duration // timedelta(microseconds=1) * 1000
    assert timedelta_of(duration_ns(duration)) == duration


@pytest.mark.parametrize(
    ("written", "ns"),
    [
        ("2m", 120 * 10**9),
        ("1h30m", 5400 * 10**9),
        (" 1h 30m ", 5400 * 10**9),
        ("1.5s", 1_500_000_000),
        ("100us", 100_000),
        ("100µs", 100_000),
        ("1w", 604_800 * 10**9),
        (0.1, 100_000_000),
        (3, 3 * 10**9),
        (0, 0),
        ("0", 0),
    ],
)
def test_durations_as_people_write_them(written: object, ns: int) -> None:
    assert duration_ns(written) == ns


NO_DURATIONS = [
    "",
    "2",
    "m",
    "-2m",
    "2 fortnights",
    "1h30",
    "٣s",
    "1m\n2x",
    -1,
    float("nan"),
    float("inf"),
    True,
]


@pytest.mark.parametrize(
    "wrong", [*NO_DURATIONS, None, [], b"2m", timedelta(seconds=-1), 10**30, "9" * 19 + "w"]
)
def test_what_is_no_duration(wrong: object) -> None:
    with pytest.raises(ValueError, match="timedelta"):
        duration_ns(wrong)


@given(st.text())
def test_any_text_is_a_duration_or_a_value_error(text: str) -> None:
    try:
        assert 0 <= duration_ns(text) <= MOST_NS
    except ValueError as error:
        assert "timedelta" in str(error)
    try:
        assert 0 < size_bytes(text) <= MOST_NS
    except ValueError as error:
        assert "bytes" in str(error)


@given(st.integers(1, 2**20), st.sampled_from([("KiB", 1024), ("kB", 1000), ("MiB", 1024**2), ("gb", 10**9)]))
def test_sizes_are_exact(count: int, unit: tuple[str, int]) -> None:
    assert size_bytes(f"{count}{unit[0]}") == size_bytes(f" {count} {unit[0]}") == count * unit[1]


@pytest.mark.parametrize(
    "wrong", ["", "1", "12 elephants", "0.3B", "-1MB", -1, True, 1.5, "1KiB2", 2**63, None]
)
def test_what_is_no_size(wrong: object) -> None:
    with pytest.raises(ValueError, match="whole number"):
        size_bytes(wrong)


@given(
    st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1), timezones=st.just(timezone(timedelta(hours=5))))
)
def test_times_come_back(moment: datetime) -> None:
    assert time_of(time_text(moment)) == moment


def test_a_time_without_a_zone_is_no_moment() -> None:
    for wrong in (datetime(2030, 1, 1), "2030-01-01", "tomorrow", 7):
        with pytest.raises(ValueError, match="time zone"):
            time_text(wrong)
    assert time_of("0001-01-01T00:00:00Z") is None
    assert time_of("2030-01-01T00:00:00.123456789Z") == datetime(2030, 1, 1, 0, 0, 0, 123456, UTC)


# ------------------------------------------------------------------------------ names and subjects


TOKENS = st.lists(st.sampled_from(["a", "b", "*"]), min_size=1, max_size=4).map(".".join)
SUBJECTS = st.one_of(TOKENS, TOKENS.map(lambda text: text + ".>"), st.just(">"))
LITERALS = [".".join(parts) for count in range(1, 6) for parts in itertools.product("abc", repeat=count)]


def matches(pattern: str, subject: str) -> bool:
    wanted, tokens = pattern.split("."), subject.split(".")
    if wanted[-1] == ">" and len(tokens) >= len(wanted):
        wanted, tokens = wanted[:-1], tokens[: len(wanted) - 1]
    return len(wanted) == len(tokens) and all(w in ("*", t) for w, t in zip(wanted, tokens, strict=True))


@given(SUBJECTS, SUBJECTS)
def test_two_subjects_collide_if_a_message_can_have_both(one: str, other: str) -> None:
    both = any(matches(one, subject) and matches(other, subject) for subject in LITERALS)
    assert collide(one, other) == collide(other, one) == both


@pytest.mark.parametrize(
    "wrong", ["", "a..b", ".a", "a.", "a b", "a.>.b", "a\nb", "a\0b", "a.\ud800", 7, None]
)
def test_what_is_no_subject(wrong: object) -> None:
    assert subject_problem(wrong)


@pytest.mark.parametrize("right", ["a", "a.b", "a.*", "a.>", ">", "*", "a*", "Æ.森", "a>b"])
def test_what_is_a_subject(right: str) -> None:
    assert subject_problem(right) == ""


@pytest.mark.parametrize(
    "wrong", ["", "a.b", "a b", "a*", ">", "a/b", "a\\b", "x" * 256, "森" * 86, "\ud800", None]
)
def test_what_is_no_name(wrong: object) -> None:
    assert name_problem(wrong)


# ------------------------------------------------------------------------------ wrong options


def test_all_wrong_options_are_listed_at_once_with_what_they_take_and_the_nearest_name() -> None:
    with pytest.raises(OptionError) as caught:
        STREAM_OPTIONS.encode(
            {
                "subject": ["a"],
                "max_msg": 3,
                "retention": "work-queue",
                "storage": "tape",
                "max_age": "a while",
                "max_bytes": "3 elephants",
                "num_replicas": 7,
                "deny_purge": "yes",
                "sealed": True,
                "mirror": {"nme": "A"},
                "subjects": ["good", "b..ad"],
                "metadata": {"a": 1},
            },
            creating=True,
        )
    problems = "\n".join(caught.value.problems)
    assert len(caught.value.problems) == 12
    for part in (
        "subject: no such option; did you mean subjects?",
        "max_msg: no such option; did you mean max_msgs?",
        'retention: \'work-queue\' is not possible ("workqueue" may be meant); it takes "limits", "interest"',
        'storage: \'tape\' is not possible; it takes "file", "memory"',
        "max_age: 'a while' is not possible; it takes a timedelta",
        "max_bytes: '3 elephants' is not possible; it takes bytes",
        "num_replicas: 7 is not possible; it takes a whole number from 1 to 5",
        "deny_purge: 'yes' is not possible; it takes True or False",
        "sealed: a stream cannot begin so",
        "mirror: {'nme': 'A'} is not possible (there is no 'nme' in it; did you mean name?)",
        "subjects: ['good', 'b..ad'] is not possible (number 2 is 'b..ad': it has an empty token)",
        "metadata: {'a': 1} is not possible ('a': 1 is not text)",
    ):
        assert part in problems
    assert "stream_options()" in caught.value.hint


class Nasty:
    def __repr__(self) -> str:
        raise RuntimeError


ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.lists(st.text()),
    st.dictionaries(st.text(), st.integers()), st.datetimes(), st.timedeltas(), st.builds(Nasty),
)  # fmt: skip


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.noun)
@given(data=st.data())
def test_any_value_of_any_option_is_taken_or_refused_with_words(
    table: OptionTable, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(sorted(table.options)))
    value = data.draw(ANYTHING)
    try:
        encoded = table.encode({name: value})
    except OptionError as error:
        assert name in str(error) and table.options[name].takes in str(error)
    else:
        assert set(encoded) <= {name}
        if encoded:
            assert table.options[name].show(encoded[name])
            again = table.encode(table.decode(encoded))
            assert table.differences(encoded, again) == [] or table.options[name].kind.startswith("duration")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"max_age": "1m", "duplicate_window": "2m"}, "duplicate_window: 2m is longer than max_age (1m)"),
        ({"discard_new_per_subject": True}, 'needs discard="new"'),
        ({"discard": "new", "discard_new_per_subject": True}, "needs max_msgs_per_subject"),
        ({"deny_purge": True, "allow_rollup_hdrs": True}, "deny_purge forbids"),
        ({"allow_msg_counter": True, "allow_msg_ttl": True}, "cannot go with allow_msg_counter"),
        ({"allow_msg_counter": True, "retention": "interest"}, 'needs retention="limits"'),
        ({"allow_msg_schedules": True, "discard": "new"}, 'cannot go with discard="new"'),
        ({"persist_mode": "async", "storage": "memory"}, "persist_mode"),
        ({"persist_mode": "async", "allow_atomic": True}, "persist_mode"),
        ({"persist_mode": "async", "num_replicas": 3}, "persist_mode"),
        ({"mirror": "A", "subjects": ["a"]}, "a mirror has what its origin has"),
        ({"mirror": "A", "allow_atomic": True}, "cannot go with mirror"),
        ({"sources": ["A"], "allow_msg_schedules": True}, "cannot go with sources"),
        (
            {"sources": [{"name": "A", "opt_start_seq": 2, "opt_start_time": "2030-01-01T00:00:00Z"}]},
            "give one",
        ),
        ({"subjects": ["a.*", "a.b"]}, "a.* and a.b overlap"),
        ({"subjects": [">"]}, "no_ack=True"),
        ({"subjects": ["$JS.API.>"]}, "the server's own API"),
        ({"subjects": ["a.>"], "republish": {"dest": "a.b"}}, "would never end"),
        ({"placement": {"preferred": "n1"}}, "preferred"),
    ],
)
def test_streams_whose_options_cannot_go_together(options: dict[str, Any], problem: str) -> None:
    config = STREAM_OPTIONS.encode(options)
    with pytest.raises(OptionError) as caught:
        STREAM_OPTIONS.check_together(config)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"opt_start_seq": 3}, 'goes with deliver_policy="by_start_sequence"'),
        ({"deliver_policy": "by_start_time"}, "needs opt_start_time"),
        ({"deliver_policy": "last_per_subject"}, "needs filter_subject"),
        ({"backoff": ["1s", "2s", "3s"], "max_deliver": 2}, "3 pauses"),
        ({"backoff": ["1s"], "ack_wait": "5s"}, "leave it out"),
        ({"filter_subject": "a", "filter_subjects": ["b"]}, "filter_subjects"),
        ({"filter_subjects": ["a.>", "a.b"]}, "overlap"),
        ({"flow_control": True}, "needs deliver_subject"),
        ({"deliver_subject": "d", "flow_control": True}, "needs idle_heartbeat"),
        ({"deliver_subject": "d", "max_waiting": 5}, "pull requests"),
        ({"priority_groups": ["a"]}, "needs priority_policy"),
        ({"priority_policy": "overflow"}, "needs priority_groups"),
        ({"priority_policy": "overflow", "priority_groups": ["a b"]}, "1 to 16"),
        ({"ack_policy": "flow_control"}, "needs deliver_subject"),
    ],
)
def test_consumers_whose_options_cannot_go_together(options: dict[str, Any], problem: str) -> None:
    config = CONSUMER_OPTIONS.encode(options)
    with pytest.raises(OptionError) as caught:
        CONSUMER_OPTIONS.check_together(config)
    assert problem in str(caught.value)


def test_an_option_the_server_is_too_old_for_is_refused() -> None:
    assert STREAM_OPTIONS.encode({"allow_msg_counter": True}, server="2.12.0") == {"allow_msg_counter": True}
    with pytest.raises(
        OptionError, match=r"allow_msg_counter: needs nats-server 2\.12; this one is 2\.11\.4"
    ):
        STREAM_OPTIONS.encode({"allow_msg_counter": True}, server="2.11.4")


# ------------------------------------------------------------------------------ one table for all


def test_nats_py_knows_no_option_that_the_tables_do_not() -> None:
    from nats.js.api import ConsumerConfig, StreamConfig

    of_streams = set(StreamConfig.__dataclass_fields__) - {"name", "template_owner"}
    assert of_streams <= set(STREAM_OPTIONS.options)
    of_consumers = set(ConsumerConfig.__dataclass_fields__) - {"name"}
    assert of_consumers <= set(CONSUMER_OPTIONS.options)


def test_help_and_completion_come_from_the_table() -> None:
    for function, table in (
        (Platform.create_stream, STREAM_OPTIONS),
        (Stream.update, STREAM_OPTIONS),
        (Stream.create_consumer, CONSUMER_OPTIONS),
        (Platform.create_key_value, KEY_VALUE_OPTIONS),
        (Platform.create_object_store, OBJECT_STORE_OPTIONS),
    ):
        assert set(table.options) <= set(inspect.signature(function).parameters)
        for option in table.options.values():
            assert f"{option.name}: {option.help}" in (function.__doc__ or "")


def test_a_notebook_completes_options() -> None:
    from IPython.core.completer import IPCompleter

    make: Any = IPCompleter
    completer = make(namespace={"platform": Platform()}, global_namespace={})
    completer.use_jedi = False
    written = "platform.create_stream(max_m"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # this interface is called provisional
        found = {item.text for item in completer.completions(written, len(written))}
    assert {"max_msgs=", "max_msgs_per_subject=", "max_msg_size="} <= found


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.noun)
def test_the_table_shows_every_option(table: OptionTable) -> None:
    for option in table.options.values():
        assert option.help.endswith(".") and option.default_words
        for shown in (table.text(), table.html()):
            assert option.name in shown
