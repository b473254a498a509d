"""Key-value buckets and object stores: create, look at, update, delete.

Putting and getting one value are single operations of NATS, and those are nats-py's own:
``kv = await nc.jetstream().key_value("PRICES")``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from platform_kit.errors import ExistsError, OptionError, PlatformKitError, StreamError
from platform_kit.jetstream import management
from platform_kit.jetstream.api import STREAM_NOT_FOUND, Api
from platform_kit.jetstream.bucket_options import (
    KEY_VALUE_OPTIONS,
    OBJECT_STORE_OPTIONS,
    from_stream,
    key_value_stream,
    object_stream,
    to_stream,
)
from platform_kit.jetstream.info import KV_PREFIX, OBJECTS_PREFIX, StreamInfo, frame_of
from platform_kit.jetstream.management import Json, Refusals
from platform_kit.jetstream.options import Difference, OptionTable, takes
from platform_kit.jetstream.stream import Caller, Changes
from platform_kit.jetstream.subjects import subject_problem
from platform_kit.jetstream.tail import Tail
from platform_kit.jobs import Meter
from platform_kit.reprs import Shown, StatusCard, clean, human_bytes, human_count, shorten

if TYPE_CHECKING:
    import pandas as pd
    from nats.aio.msg import Msg

_BUCKET = re.compile(r"[a-zA-Z0-9_-]{1,200}")
MESSAGE_TTL_SINCE = (2, 11)


class Bucket(Shown):
    """What key-value buckets and object stores have in common.

    Attributes
    ----------
    name: The bucket's name.
    stream: The name of the stream behind it.
    """

    noun = "bucket"
    prefix = ""
    table: OptionTable

    def __init__(self, call: Caller, name: str) -> None:
        self.name = name
        self.stream = self.prefix + name
        self._call = call

    def info(self) -> StreamInfo:
        """What the server says of the stream behind it. Errors: ``StreamError`` if it is gone."""
        return StreamInfo.of(self._call(lambda api: bucket_info(api, type(self), self.name)))

    @property
    def config(self) -> dict[str, Any]:
        """Its options that are not the default; ``create_...(other, **config)`` makes one like it."""
        return self.table.decode(from_stream(self.info().raw["config"], self.table))

    def delete(self) -> bool:
        """Delete it with all it holds; False if it was gone."""
        return self._call(lambda api: management.delete_stream(api, self.stream))

    def _update(self, options: Mapping[str, object]) -> Changes:
        changed = self._call(lambda api: update_bucket(api, type(self), self.name, options))
        return Changes(self.name, changed)

    def text(self) -> str:
        """The card as text."""
        return self._card().text()

    def html(self) -> str:
        """The card as HTML."""
        return self._card().html()

    def _card(self) -> StatusCard:
        try:
            info = self.info()
        except PlatformKitError as error:
            return StatusCard(self.name, "unknown", {"reason": error.what, "what to do": error.hint or None})
        config = info.raw["config"]
        facts = {
            "kind": self.noun,
            "stream": self.stream,
            "storage": f"{config.get('storage')}, {human_count(config.get('num_replicas', 1), 'replica')}",
            "last change": f"{info.last_time:%Y-%m-%d %H:%M:%S}Z" if info.last_time else "none yet",
            **self._facts(info),
        }
        shown = self.table.shown(from_stream(config, self.table))
        for named in ("storage", "num_replicas"):
            shown.pop(named, None)
        return StatusCard(self.name, self._state(info), {**facts, **shown}, tone="good")

    def _facts(self, info: StreamInfo) -> dict[str, object]:
        return {}

    def _state(self, info: StreamInfo) -> str:
        return human_bytes(info.bytes)

    def _read(self, subjects: list[str], *, last_per_subject: bool) -> list[Msg]:
        async def read(api: Api, meter: Meter) -> list[Msg]:
            return await read_all(api, meter, self.stream, subjects, last_per_subject=last_per_subject)

        return self._call.reading(read, f"reading {self.name}")


class KeyValue(Bucket):
    """A key-value bucket; values are put and got with nats-py, this shows and changes the bucket itself.

    Example
    -------
    >>> import asyncio
    >>> from platform_kit import Platform
    >>> async def put(platform):
    ...     nc = await platform.connect()
    ...     kv = await nc.jetstream().key_value("PRICES")
    ...     await kv.put("ace", b"3")
    ...     await kv.put("ace", b"5")
    ...     await nc.close()
    >>> with Platform(workers=0) as platform:
    ...     prices = platform.create_key_value("PRICES", history=5)
    ...     asyncio.run(put(platform))
    ...     prices.history("ace")["value"].tolist()
    [b'3', b'5']
    """

    noun = "key-value bucket"
    prefix = KV_PREFIX
    table = KEY_VALUE_OPTIONS

    @takes(KEY_VALUE_OPTIONS)
    def update(self, **options: object) -> Changes:
        """Change the options that are given, leave the others, and return what has changed.

        Errors: ``OptionError``, ``StreamError``.
        """
        return self._update(options)

    def frame(self) -> pd.DataFrame:
        """The latest value of each key: key, value (bytes), revision, time. Deleted keys are left out.

        Errors: ``StreamError``; ``RunStalled`` when nothing comes for some seconds.
        """
        frame = self._entries([f"$KV.{self.name}.>"], last_per_subject=True)
        return frame[frame["operation"] == "put"].drop(columns="operation").reset_index(drop=True)

    def history(self, key: str) -> pd.DataFrame:
        """Every revision of a key that is kept: key, value (bytes), revision, time, operation.

        ``operation`` is "put", "delete" or "purge". Empty for a key there never was.
        """
        if problem := subject_problem(key):
            raise OptionError("Not a key, nothing was sent", [f"{key!r:.100} {problem}"])
        return self._entries([f"$KV.{self.name}.{key}"], last_per_subject=False)

    def _entries(self, subjects: list[str], *, last_per_subject: bool) -> pd.DataFrame:
        skip = len(f"$KV.{self.name}.")
        rows = [
            {
                "key": message.subject[skip:],
                "value": message.data,
                "revision": message.metadata.sequence.stream,
                "time": message.metadata.timestamp,
                "operation": _operation(message),
            }
            for message in self._read(subjects, last_per_subject=last_per_subject)
        ]
        columns = {"key": "str", "value": "object", "revision": "int64", "time": "datetime64[us, UTC]"}
        return frame_of(rows, {**columns, "operation": "str"})

    def _state(self, info: StreamInfo) -> str:
        return human_count(info.subjects, "key")

    def _facts(self, info: StreamInfo) -> dict[str, object]:
        return {
            "size": human_bytes(info.bytes),
            "revisions": info.messages,
            "history": info.raw["config"].get("max_msgs_per_subject"),
        }


class ObjectStore(Bucket):
    """An object store; objects are put and got with nats-py, this shows and changes the store itself."""

    noun = "object store"
    prefix = OBJECTS_PREFIX
    table = OBJECT_STORE_OPTIONS

    @takes(OBJECT_STORE_OPTIONS)
    def update(self, **options: object) -> Changes:
        """Change the options that are given, leave the others, and return what has changed.

        Errors: ``OptionError``, ``StreamError``.
        """
        return self._update(options)

    def frame(self) -> pd.DataFrame:
        """What it holds: name, bytes, chunks, digest, time, description. Deleted objects are left out.

        Errors: ``StreamError``; ``RunStalled`` when nothing comes for some seconds.
        """
        rows = []
        for message in self._read([f"$O.{self.name}.M.>"], last_per_subject=True):
            try:
                meta = json.loads(message.data)
                deleted, options = bool(meta.get("deleted")), meta
            except (ValueError, AttributeError):  # somebody else's message on this subject
                continue
            if deleted:
                continue
            rows.append(
                {
                    "name": str(options.get("name", "")),
                    "bytes": int(options.get("size") or 0),
                    "chunks": int(options.get("chunks") or 0),
                    "digest": str(options.get("digest") or ""),
                    "time": message.metadata.timestamp,
                    "description": str(options.get("description") or ""),
                }
            )
        columns = {"name": "str", "bytes": "int64", "chunks": "int64", "digest": "str"}
        return frame_of(rows, {**columns, "time": "datetime64[us, UTC]", "description": "str"})


# ------------------------------------------------------------------------------ over the API


async def create_bucket(api: Api, kind: type[Bucket], name: str, given: Mapping[str, object]) -> None:
    """Create a bucket; one that is there with the same options is left as it is. Errors: as for streams."""
    _check_bucket(name, kind)
    options = management.stream_config(api, given, kind.table)
    if kind is KeyValue:
        version = api.client.connected_server_version
        message_ttl = (version.major, version.minor) >= MESSAGE_TTL_SINCE
        config = key_value_stream(name, options, message_ttl=message_ttl)
    else:
        config = object_stream(name, options)
    word = "key_value" if kind is KeyValue else "object_store"
    await management.create_stream_as(
        api, kind.prefix + name, config, _called(kind, name), verb=f'platform.{word}("{name}").update(...)'
    )


async def ensure_object_store(api: Api, name: str) -> None:
    """Create an object store; one that is there is taken as it is."""
    try:
        await create_bucket(api, ObjectStore, name, {})
    except ExistsError:
        return


async def update_bucket(
    api: Api, kind: type[Bucket], name: str, given: Mapping[str, object]
) -> list[Difference]:
    """Change the options that are given; see :func:`management.update_stream`."""
    options = kind.table.encode(given, server=api.server_version)
    there = management.own_config((await bucket_info(api, kind, name))["config"])
    wanted = to_stream(options)
    if "history" in given and given["history"] is None:
        wanted["max_msgs_per_subject"] = 1
    return await management.change_stream(
        api, kind.prefix + name, there, set(to_stream(given)), wanted, _called(kind, name)
    )


async def bucket_info(api: Api, kind: type[Bucket], name: str) -> Json:
    """The server's info of the stream behind a bucket. Errors: ``StreamError`` naming those there are."""
    _check_bucket(name, kind)
    try:
        return await management.stream_info(api, kind.prefix + name)
    except StreamError as error:
        if error.err_code != STREAM_NOT_FOUND:
            raise
    names = []
    for info in await management.stream_infos(api):
        found = str(info["config"]["name"])
        if found.startswith(kind.prefix):
            names.append(found.removeprefix(kind.prefix))
    hint = management.among(name, names, f"{kind.noun}s")
    raise StreamError(f"There is no {kind.noun} {name!r}.", hint=hint, err_code=STREAM_NOT_FOUND)


async def delete_bucket(api: Api, kind: type[Bucket], name: str) -> bool:
    """Delete a bucket; False if there was none."""
    _check_bucket(name, kind)
    return await management.delete_stream(api, kind.prefix + name)


def _called(kind: type[Bucket], name: str) -> Refusals:
    return Refusals(kind.noun, name, kind.table, lambda config: from_stream(config, kind.table))


def _check_bucket(name: object, kind: type[Bucket]) -> None:
    if not isinstance(name, str) or not _BUCKET.fullmatch(name):
        raise OptionError(
            f"Not the name of a {kind.noun}, nothing was sent",
            [f"{shorten(clean(repr(name)), 80)} has to be 1 to 200 letters, digits, - or _"],
        )


async def read_all(
    api: Api, meter: Meter, stream: str, subjects: list[str], *, last_per_subject: bool
) -> list[Msg]:
    """The messages a stream has now, for what fits into memory without a thought."""

    async def read() -> list[Msg]:
        found: list[Msg] = []
        async with Tail(api.client, stream, subjects=subjects, last_per_subject=last_per_subject) as tail:
            while tail.pending is None or tail.pending > 0:
                if (message := await tail.next(0.5)) is not None:
                    found.append(message)
                    meter.advance()
        return found

    await management.stream_info(api, stream)  # says at once if it is not there
    return await api.allowed(read(), f"read the stream {stream}")


def _operation(message: Msg) -> str:
    headers = message.headers or {}
    found = headers.get("KV-Operation") or headers.get("Nats-Marker-Reason")
    return {None: "put", "DEL": "delete", "Remove": "delete"}.get(found, "purge")
