"""Streams, consumers and buckets of a platform."""

from __future__ import annotations

from typing import TYPE_CHECKING

from platform_kit.jetstream.account import Account
from platform_kit.jetstream.api import Api
from platform_kit.jetstream.bucket_options import KEY_VALUE_OPTIONS, OBJECT_STORE_OPTIONS
from platform_kit.jetstream.buckets import KeyValue, ObjectStore
from platform_kit.jetstream.consumer_options import CONSUMER_OPTIONS
from platform_kit.jetstream.options import OptionTable, takes
from platform_kit.jetstream.stream import Caller, Stream
from platform_kit.jetstream.stream_options import STREAM_OPTIONS
from platform_kit.servers.credentials import ROLES
from platform_kit.verbs.base import Verbs

if TYPE_CHECKING:
    import pandas as pd


class StreamVerbs(Verbs):
    """Create, look at and delete what JetStream keeps."""

    @takes(STREAM_OPTIONS)
    def create_stream(self, name: str, **options: object) -> Stream:
        """Create a stream; one that is there with the same options is left as it is.

        Options have nats-server's own names. What is not given, or None, has its default.

        Errors: ``OptionError`` that lists every wrong option, before anything is sent; ``ExistsError`` if it
        is there with other options, saying which (:meth:`Stream.update` changes them); ``StreamError`` with
        the server's reason; ``NotRunningError``.

        Example
        -------
        >>> from platform_kit import Platform
        >>> with Platform(workers=0) as platform:
        ...     orders = platform.create_stream("ORDERS", subjects=["orders.>"], max_age="1h")
        ...     orders.messages
        0
        """
        return self._account.create_stream(name, options)

    def stream(self, name: str) -> Stream:
        """A stream that is there. Errors: ``StreamError`` naming those there are; ``NotRunningError``."""
        return self._account.stream(name)

    def streams(self) -> pd.DataFrame:
        """All streams, one row each: messages, bytes, first and last, subjects, retention, replicas and more.

        Buckets are streams too; the column ``kind`` says so. Errors: ``StreamError``, ``NotRunningError``.
        """
        return self._account.streams()

    def delete_stream(self, name: str) -> bool:
        """Delete a stream with its messages and consumers; False if there was none of this name."""
        return self._account.delete_stream(name)

    @takes(KEY_VALUE_OPTIONS)
    def create_key_value(self, name: str, **options: object) -> KeyValue:
        """Create a key-value bucket; one that is there with the same options is left as it is.

        Values are put and got with nats-py: ``kv = await nc.jetstream().key_value(name)``.

        Errors: as :meth:`create_stream`.
        """
        return self._account.create_key_value(name, options)

    def key_value(self, name: str) -> KeyValue:
        """A key-value bucket that is there. Errors: ``StreamError`` naming those there are."""
        return self._account.key_value(name)

    def delete_key_value(self, name: str) -> bool:
        """Delete a key-value bucket with all its keys; False if there was none of this name."""
        return self._account.delete_bucket(KeyValue, name)

    @takes(OBJECT_STORE_OPTIONS)
    def create_object_store(self, name: str, **options: object) -> ObjectStore:
        """Create an object store; one that is there with the same options is left as it is.

        Objects are put and got with nats-py: ``store = await nc.jetstream().object_store(name)``.

        Errors: as :meth:`create_stream`.
        """
        return self._account.create_object_store(name, options)

    def object_store(self, name: str) -> ObjectStore:
        """An object store that is there. Errors: ``StreamError`` naming those there are."""
        return self._account.object_store(name)

    def delete_object_store(self, name: str) -> bool:
        """Delete an object store with all its objects; False if there was none of this name."""
        return self._account.delete_bucket(ObjectStore, name)

    @staticmethod
    def stream_options() -> OptionTable:
        """Every option of a stream, as a table: what it takes, its default, whether it can be changed."""
        return STREAM_OPTIONS

    @staticmethod
    def consumer_options() -> OptionTable:
        """Every option of a consumer, as a table."""
        return CONSUMER_OPTIONS

    @staticmethod
    def key_value_options() -> OptionTable:
        """Every option of a key-value bucket, as a table."""
        return KEY_VALUE_OPTIONS

    @staticmethod
    def object_store_options() -> OptionTable:
        """Every option of an object store, as a table."""
        return OBJECT_STORE_OPTIONS

    @property
    def _account(self) -> Account:
        return Account(Caller(self._loop, self._api))

    def _api(self) -> Api:
        backing = self._require()
        key = backing.endpoint("admin").credentials
        who = "this connection" if key is None else f"the role {key.stem}" if key.stem in ROLES else key.name
        return Api(backing.client, who=who)
