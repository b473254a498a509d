"""Streams and consumers: create, update, look at, purge, delete, over JetStream's own API."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from platform_kit.errors import ExistsError, OptionError, StreamError
from platform_kit.jetstream.api import (
    CONSUMER_EXISTS,
    CONSUMER_MISSING,
    CONSUMER_NOT_FOUND,
    STREAM_NAME_IN_USE,
    STREAM_NOT_FOUND,
    SUBJECT_OVERLAP,
    Api,
)
from platform_kit.jetstream.consumer_options import CONSUMER_OPTIONS
from platform_kit.jetstream.options import SERVERS_OWN, Difference, OptionTable
from platform_kit.jetstream.stream_options import DEDUPE_WINDOW, STREAM_OPTIONS
from platform_kit.jetstream.subjects import collide, name_problem, subject_problem
from platform_kit.reprs import clean, shorten

Json = dict[str, Any]
MOST_NAMED = 8
PINNED_TTL = 120 * 10**9
CONSUMER_ACTIVE = 10105


@dataclass(frozen=True)
class Refusals:
    """How errors call a thing and its options: "the bucket PRICES" where the server has a stream KV_PRICES.

    Parameters
    ----------
    noun, name, table: What it is called, and its options.
    options_of: Its options in a configuration of the server.
    """

    noun: str
    name: str
    table: OptionTable
    options_of: Callable[[Json], Json] = dict

    @property
    def the(self) -> str:
        """With its article and its name."""
        return f"the {self.noun} {self.name}"

    def exists(self, there: Json, wanted: Json, verb: str) -> ExistsError:
        """The error for one that is there with other options."""
        differences = self.table.differences(self.options_of(there), self.options_of(wanted))
        fixed = [item.option for item in differences if not self.table.can_change(item)]
        hint = f"{verb} changes it." if verb else ""
        if fixed:
            hint = f"Delete it first: {', '.join(fixed)} cannot be changed so."
        return ExistsError(
            f"There is {_a(self.noun)} {self.name} already, with other options (what it has → what was asked "
            "for); nothing was changed:",
            differences=differences,
            hint=hint,
            err_code=STREAM_NAME_IN_USE,
        )


# ------------------------------------------------------------------------------ streams


async def create_stream(api: Api, name: str, given: Mapping[str, object]) -> Json:
    """Create a stream; one that is there with the same options is left as it is. Returns the server's info.

    Errors: ``OptionError`` before anything is sent; ``ExistsError`` if it is there with other options;
    ``StreamError``.
    """
    check_name(name, "stream")
    config = stream_config(api, given)
    return await create_stream_as(api, name, config, Refusals("stream", name, STREAM_OPTIONS))


def stream_config(api: Api, given: Mapping[str, object], table: OptionTable = STREAM_OPTIONS) -> Json:
    """Options of a new stream as the server takes them. Errors: ``OptionError``."""
    config = table.encode(given, server=api.server_version, creating=True)
    table.check_together(config)
    return config


async def create_stream_as(api: Api, name: str, config: Json, called: Refusals, *, verb: str = "") -> Json:
    """:func:`create_stream` of a checked configuration, under the name ``called`` gives it in errors."""
    what = f"create {called.the}"
    try:
        return await api.request(f"STREAM.CREATE.{name}", {**config, "name": name}, what=what)
    except StreamError as error:
        if error.err_code == SUBJECT_OVERLAP:
            raise await _overlap(api, config.get("subjects") or [name], what, but=name) from None
        if error.err_code != STREAM_NAME_IN_USE:
            raise
    there = (await stream_info(api, name))["config"]
    raise called.exists(there, _as_made(name, config), verb or f'platform.stream("{name}").update(...)')


async def update_stream(api: Api, name: str, given: Mapping[str, object]) -> list[Difference]:
    """Change the options that are given, and return what has changed; None gives an option its default.

    Errors: ``OptionError`` before anything is sent, also for what cannot be changed; ``StreamError``.
    """
    options = STREAM_OPTIONS.encode(given, server=api.server_version)
    there = own_config((await stream_info(api, name))["config"])
    called = Refusals("stream", name, STREAM_OPTIONS)
    return await change_stream(api, name, there, given, options, called)


async def change_stream(
    api: Api,
    name: str,
    there: Json,
    given: Collection[str],
    options: Json,
    called: Refusals,
) -> list[Difference]:
    """:func:`update_stream` with encoded options; those named in ``given`` alone get their default."""
    what = f"update {called.the}"
    table = STREAM_OPTIONS
    wanted = {key: value for key, value in there.items() if key not in given} | options
    # A window nobody chose follows the age, as it did when the stream was made.
    chosen = there.get("duplicate_window", 0) != _window(there)
    if "duplicate_window" in wanted and "duplicate_window" not in given and not chosen:
        del wanted["duplicate_window"]
    wanted = _as_made(name, wanted)
    differences = table.differences(there, wanted)
    if not differences:
        return []
    # In the words of the bucket first, where it is one.
    called.table.check_change(called.table.differences(called.options_of(there), called.options_of(wanted)))
    table.check_change(differences)
    table.check_together({key: value for key, value in wanted.items() if key in table.options})
    try:
        answer = await api.request(f"STREAM.UPDATE.{name}", {**wanted, "name": name}, what=what)
    except StreamError as error:
        if error.err_code == SUBJECT_OVERLAP:
            raise await _overlap(api, wanted.get("subjects") or [name], what, but=name) from None
        raise
    now = own_config(answer["config"])
    return called.table.differences(called.options_of(there), called.options_of(now))


async def ensure_stream(api: Api, name: str, /, **options: object) -> None:
    """Create the stream, or bring an existing one to exactly these options. Errors: ``StreamError``."""
    config = stream_config(api, options)
    called = Refusals("stream", name, STREAM_OPTIONS)
    try:
        await create_stream_as(api, name, config, called)
    except ExistsError as error:
        STREAM_OPTIONS.check_change(item for item in error.differences if isinstance(item, Difference))
        await api.request(f"STREAM.UPDATE.{name}", {**config, "name": name}, what=f"update {called.the}")


async def stream_info(api: Api, name: str) -> Json:
    """The server's info of a stream. Errors: ``StreamError`` naming those there are."""
    check_name(name, "stream")
    try:
        return await api.request(f"STREAM.INFO.{name}", what=f"look at the stream {name}")
    except StreamError as error:
        if error.err_code != STREAM_NOT_FOUND:
            raise
        raise await missing_stream(api, name) from None


async def stream_infos(api: Api) -> list[Json]:
    """The server's info of all streams, sorted by name."""
    found = [item async for item in api.pages("STREAM.LIST", "streams", what="list the streams")]
    return sorted(found, key=lambda info: str(info["config"]["name"]))


async def missing_stream(api: Api, name: str) -> StreamError:
    """The error for a stream that is not there."""
    try:
        names = [item async for item in api.pages("STREAM.NAMES", "streams", what="list the streams")]
    except StreamError:  # one may look at a stream, but not at the list
        names = []
    return StreamError(
        f"There is no stream {name!r}.", hint=among(name, names, "streams"), err_code=STREAM_NOT_FOUND
    )


async def delete_stream(api: Api, name: str) -> bool:
    """Delete a stream with all its messages and consumers; False if there was none."""
    check_name(name, "stream")
    try:
        await api.request(f"STREAM.DELETE.{name}", what=f"delete the stream {name}")
    except StreamError as error:
        if error.err_code != STREAM_NOT_FOUND:
            raise
        return False
    return True


async def purge_stream(
    api: Api, name: str, *, subject: str | None, keep: int | None, up_to_sequence: int | None
) -> int:
    """Remove messages and return how many."""
    problems: list[str] = []
    body: Json = {}
    if subject is not None:
        if problem := subject_problem(subject):
            problems.append(f"subject: {subject!r:.200} {problem}")
        body["filter"] = subject
    for key, given, label in (("keep", keep, "keep"), ("seq", up_to_sequence, "up_to_sequence")):
        if given is None:
            continue
        if isinstance(given, bool) or not isinstance(given, int) or given < 0:
            problems.append(f"{label}: {given!r:.200} is not possible; it takes a whole number, from 0 on")
        elif given or label == "up_to_sequence":
            body[key] = given
    if keep is not None and up_to_sequence is not None:
        problems.append("keep: cannot go with up_to_sequence")
    if problems:
        raise OptionError("Wrong options of a purge, nothing was sent", problems)
    if up_to_sequence == 0:
        return 0  # for the server it would mean all
    try:
        answer = await api.request(f"STREAM.PURGE.{name}", body or None, what=f"purge the stream {name}")
    except StreamError as error:
        if error.err_code != STREAM_NOT_FOUND:
            raise
        raise await missing_stream(api, name) from None
    return int(answer.get("purged", 0))


# ------------------------------------------------------------------------------ consumers


async def create_consumer(api: Api, stream: str, name: str, given: Mapping[str, object]) -> Json:
    """Create a consumer; one that is there with the same options is left as it is. Returns the server's info.

    Errors: as :func:`create_stream`.
    """
    check_name(name, "consumer")
    config = consumer_config(api, name, given)
    what = f"create the consumer {name} of {stream}"
    try:
        return await _put_consumer(api, stream, config, "create", what)
    except StreamError as error:
        if error.err_code == STREAM_NOT_FOUND:
            raise await missing_stream(api, stream) from None
        if error.err_code not in (CONSUMER_EXISTS, CONSUMER_ACTIVE):
            raise
    there = (await consumer_info(api, stream, name))["config"]
    limits = (await stream_info(api, stream))["config"].get("consumer_limits") or {}
    called = Refusals("consumer", name, CONSUMER_OPTIONS)
    raise called.exists(
        there, _as_consumed(config, limits), f'platform.stream("{stream}").consumer("{name}").update(...)'
    )


def consumer_config(api: Api, name: str, given: Mapping[str, object]) -> Json:
    """Options of a new consumer as the server takes them: durable and explicit acks are the defaults."""
    options = dict(given)
    durable = options.pop("durable_name", None)
    durable = name if durable is None else durable
    config = CONSUMER_OPTIONS.encode(options, server=api.server_version)
    if durable not in ("", name):
        raise CONSUMER_OPTIONS.wrong(
            [f'durable_name: {durable!r:.100} is not the consumer\'s name; leave it out, or give ""']
        )
    config.setdefault("ack_policy", "explicit")
    CONSUMER_OPTIONS.check_together(config)
    return {"name": name, **({"durable_name": name} if durable else {}), **config}


async def update_consumer(api: Api, stream: str, name: str, given: Mapping[str, object]) -> list[Difference]:
    """Change the options that are given, and return what has changed; None gives an option its default."""
    options = CONSUMER_OPTIONS.encode(given, server=api.server_version)
    there = own_config((await consumer_info(api, stream, name))["config"])
    wanted = {key: value for key, value in there.items() if key not in given} | options
    if "backoff" in given and "ack_wait" not in given:
        wanted.pop("ack_wait", None)  # the first pause takes its place
    if "filter_subjects" in options and "filter_subject" not in given:
        wanted.pop("filter_subject", None)
    if "filter_subject" in options and "filter_subjects" not in given:
        wanted.pop("filter_subjects", None)
    if "ack_policy" in given and "ack_policy" not in options:
        wanted["ack_policy"] = "explicit"
    differences = CONSUMER_OPTIONS.differences(there, _as_consumed(wanted, {}))
    if not differences:
        return []
    CONSUMER_OPTIONS.check_change(differences)
    CONSUMER_OPTIONS.check_together({key: value for key, value in wanted.items() if key != "name"})
    answer = await _put_consumer(
        api, stream, {**wanted, "name": name}, "update", f"update the consumer {name} of {stream}"
    )
    return CONSUMER_OPTIONS.differences(there, own_config(answer["config"]))


async def ensure_consumer(api: Api, stream: str, name: str, /, **options: object) -> None:
    """Create the durable consumer, or bring an existing one to these options. Errors: ``StreamError``."""
    config = consumer_config(api, name, options)
    await _put_consumer(api, stream, config, "", f"create the consumer {name} of {stream}")


async def _put_consumer(api: Api, stream: str, config: Json, action: str, what: str) -> Json:
    body = {"stream_name": stream, "config": config, "action": action}
    return await api.request(f"CONSUMER.CREATE.{stream}.{config['name']}", body, what=what)


async def consumer_info(api: Api, stream: str, name: str) -> Json:
    """The server's info of a consumer. Errors: ``StreamError`` naming those there are."""
    check_name(stream, "stream")
    check_name(name, "consumer")
    try:
        return await api.request(
            f"CONSUMER.INFO.{stream}.{name}", what=f"look at the consumer {name} of {stream}"
        )
    except StreamError as error:
        raise await _consumer_error(api, stream, name, error) from None


async def consumer_infos(api: Api, stream: str) -> list[Json]:
    """The server's info of all consumers of a stream, sorted by name."""
    check_name(stream, "stream")
    what = f"list the consumers of {stream}"
    try:
        found = [item async for item in api.pages(f"CONSUMER.LIST.{stream}", "consumers", what=what)]
    except StreamError as error:
        if error.err_code != STREAM_NOT_FOUND:
            raise
        raise await missing_stream(api, stream) from None
    return sorted(found, key=lambda info: str(info["name"]))


async def delete_consumer(api: Api, stream: str, name: str) -> bool:
    """Delete a consumer; False if there was none."""
    check_name(name, "consumer")
    try:
        await api.request(f"CONSUMER.DELETE.{stream}.{name}", what=f"delete the consumer {name} of {stream}")
    except StreamError as error:
        if error.err_code not in (CONSUMER_NOT_FOUND, STREAM_NOT_FOUND):
            raise
        return False
    return True


async def pause_consumer(api: Api, stream: str, name: str, until: str | None) -> None:
    """Deliver nothing until this time; None goes on at once."""
    body = {"pause_until": until} if until else None
    verb = "pause" if until else "resume"
    try:
        await api.request(
            f"CONSUMER.PAUSE.{stream}.{name}", body, what=f"{verb} the consumer {name} of {stream}"
        )
    except StreamError as error:
        raise await _consumer_error(api, stream, name, error) from None


async def _consumer_error(api: Api, stream: str, name: str, error: StreamError) -> StreamError:
    if error.err_code == STREAM_NOT_FOUND:
        return await missing_stream(api, stream)
    if error.err_code not in (CONSUMER_NOT_FOUND, CONSUMER_MISSING):
        return error
    names = [str(info["name"]) for info in await consumer_infos(api, stream)]
    return StreamError(
        f"There is no consumer {name!r} of the stream {stream}.",
        hint=among(name, names, "consumers"),
        err_code=error.err_code,
    )


# ------------------------------------------------------------------------------ inside


def check_name(name: object, noun: str) -> None:
    """Refuse a name the server would. Errors: ``OptionError``."""
    if problem := name_problem(name):
        shown = shorten(clean(repr(name)), 80)
        raise OptionError(
            f"Not the name of a {noun}, nothing was sent", [f"{shown} {problem}"],
            hint="Streams are named in capitals with underscores here, such as CARD_RESULTS."
            if noun == "stream" else "",
        )  # fmt: skip


def own_config(config: Mapping[str, Any]) -> Json:
    """A configuration of the server without what it says about itself in the metadata."""
    found = dict(config)
    metadata = {
        key: text for key, text in (found.get("metadata") or {}).items() if not key.startswith(SERVERS_OWN)
    }
    found.pop("metadata", None)
    return {**found, "metadata": metadata} if metadata else found


def _window(config: Mapping[str, Any]) -> int:
    """The dedupe window of a stream for which none was chosen."""
    if config.get("mirror") or config.get("sources"):
        return 0
    return min(DEDUPE_WINDOW, config.get("max_age") or DEDUPE_WINDOW)


def _as_made(name: str, config: Mapping[str, Any]) -> Json:
    """A configuration with the defaults that depend on others, as the server fills them in."""
    found = dict(config)
    if not found.get("subjects") and not found.get("mirror") and not found.get("sources"):
        found["subjects"] = [name]
    found.setdefault("duplicate_window", _window(config))
    if found.get("subject_delete_marker_ttl"):
        found["allow_msg_ttl"] = found["allow_rollup_hdrs"] = True
    if found.get("allow_msg_schedules"):
        found["allow_rollup_hdrs"] = True
    return found


def _as_consumed(config: Mapping[str, Any], limits: Mapping[str, Any]) -> Json:
    """The same for a consumer of a stream with these ``consumer_limits``."""
    found = dict(config)
    if found.get("backoff"):
        found["ack_wait"] = found["backoff"][0]
    for name in ("max_ack_pending", "inactive_threshold"):
        if limits.get(name):
            found.setdefault(name, limits[name])
    if found.get("priority_policy") == "pinned_client":
        found.setdefault("priority_timeout", PINNED_TTL)
    return found


async def _overlap(api: Api, subjects: Collection[str], what: str, *, but: str) -> StreamError:
    """The error for subjects another stream has, saying which."""
    found = []
    for info in await stream_infos(api):
        name = str(info["config"]["name"])
        for theirs in info["config"].get("subjects") or []:
            found += [
                f"{mine} with {theirs} of {name}"
                for mine in subjects
                if name != but and collide(mine, theirs)
            ]
    overlaps = "; ".join(found[:MOST_NAMED]) or "with those of another stream"
    return StreamError(
        f"Could not {what}: its subjects overlap: {overlaps}.",
        hint="A message belongs to one stream: narrow the subjects, or take the other stream as a source.",
        err_code=SUBJECT_OVERLAP,
    )


def among(name: str, names: Collection[str], noun: str) -> str:
    """A hint that names the nearest, or all, of what there is."""
    if not names:
        return f"There are no {noun} here."
    close = difflib.get_close_matches(name.upper(), {item.upper() for item in names}, n=1)
    nearest = next((item for item in names if close and item.upper() == close[0]), "")
    shown = ", ".join(list(names)[:MOST_NAMED]) + (" ..." if len(names) > MOST_NAMED else "")
    return f"Did you mean {nearest!r}? There are {shown}." if nearest else f"There are {shown}."


def _a(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeio' else 'a'} {noun}"
