"""Streams and buckets of one account, by name: what :class:`~platform_kit.platform.Platform` delegates to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from platform_kit.jetstream import buckets, management
from platform_kit.jetstream.buckets import Bucket, KeyValue, ObjectStore
from platform_kit.jetstream.info import StreamInfo, stream_frame
from platform_kit.jetstream.stream import Caller, Stream

if TYPE_CHECKING:
    import pandas as pd


class Account:
    """The streams and buckets one connection sees.

    Parameters
    ----------
    call: Runs requests.
    """

    def __init__(self, call: Caller) -> None:
        self._call = call

    def create_stream(self, name: str, options: Mapping[str, object]) -> Stream:
        """Create a stream, or find it there with the same options."""
        self._call(lambda api: management.create_stream(api, name, options))
        return Stream(self._call, name)

    def stream(self, name: str) -> Stream:
        """A stream that is there."""
        self._call(lambda api: management.stream_info(api, name))
        return Stream(self._call, name)

    def streams(self) -> pd.DataFrame:
        """All streams, one row each."""
        return stream_frame([StreamInfo.of(info) for info in self._call(management.stream_infos)])

    def delete_stream(self, name: str) -> bool:
        """Delete a stream; False if there was none."""
        return self._call(lambda api: management.delete_stream(api, name))

    def create_key_value(self, name: str, options: Mapping[str, object]) -> KeyValue:
        """Create a key-value bucket, or find it there with the same options."""
        self._create(KeyValue, name, options)
        return KeyValue(self._call, name)

    def key_value(self, name: str) -> KeyValue:
        """A key-value bucket that is there."""
        self._call(lambda api: buckets.bucket_info(api, KeyValue, name))
        return KeyValue(self._call, name)

    def create_object_store(self, name: str, options: Mapping[str, object]) -> ObjectStore:
        """Create an object store, or find it there with the same options."""
        self._create(ObjectStore, name, options)
        return ObjectStore(self._call, name)

    def object_store(self, name: str) -> ObjectStore:
        """An object store that is there."""
        self._call(lambda api: buckets.bucket_info(api, ObjectStore, name))
        return ObjectStore(self._call, name)

    def delete_bucket(self, kind: type[Bucket], name: str) -> bool:
        """Delete a bucket; False if there was none."""
        return self._call(lambda api: buckets.delete_bucket(api, kind, name))

    def _create(self, kind: type[Bucket], name: str, options: Mapping[str, object]) -> None:
        self._call(lambda api: buckets.create_bucket(api, kind, name, options))
