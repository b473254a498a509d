"""Reading a stream on: no gap, whatever happens to the connection or the server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from nats.aio.client import Client
from nats.js.api import StreamConfig

from platform_kit import Platform
from platform_kit.jetstream.connection import Endpoint, connect
from platform_kit.jetstream.tail import Tail


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    with Platform(workers=0) as running:
        yield running


class Proxy:
    """A way to the server that can lose what comes from it, and break on one side before the other."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.loses = False
        self.lost = bytearray()
        self._pairs: list[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> tuple[asyncio.Server, int]:
        server = await asyncio.start_server(self._join, "127.0.0.1", 0)
        return server, int(server.sockets[0].getsockname()[1])

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there = await asyncio.open_connection("127.0.0.1", self._port)
        self._pairs.append((writer, there))
        for source, target, from_server in ((reader, there, False), (there_reader, writer, True)):
            task = asyncio.create_task(self._pass(source, target, from_server))
            self._tasks.add(task)

    async def _pass(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, from_server: bool
    ) -> None:
        try:
            while data := await source.read(65536):
                if from_server and self.loses:
                    self.lost += data
                else:
                    target.write(data)
                    await target.drain()
        except OSError:
            pass
        target.close()

    @property
    def connections(self) -> int:
        return len(self._pairs)

    async def end(self) -> None:
        for pair in self._pairs:
            for writer in pair:
                writer.transport.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def break_the_client_off(self) -> None:
        self._pairs[-1][0].transport.abort()

    def tell_the_server(self) -> None:
        self._pairs[0][1].transport.abort()


async def publish(client: Client, stream: str, numbers: range) -> None:
    for number in numbers:
        await client.jetstream().publish(f"{stream.lower()}.x", b"%d" % number)


@pytest.mark.parametrize("server_knows_later", [False, True])
def test_what_was_sent_into_a_dead_connection_is_read_again(
    platform: Platform, server_knows_later: bool
) -> None:
    stream = f"TAIL{int(server_knows_later)}"

    async def run() -> list[int]:
        direct = await platform.connect()
        await direct.jetstream().add_stream(StreamConfig(name=stream, subjects=[f"{stream.lower()}.*"]))
        proxy = Proxy(urlsplit(platform.nats_url).port or 0)
        server, port = await proxy.start()
        endpoint = Endpoint(f"nats://127.0.0.1:{port}", platform.credentials_file(), "_INBOX_admin")
        client = await connect(endpoint)
        got: list[int] = []
        try:
            async with Tail(client, stream, subjects=[f"{stream.lower()}.*"]) as tail:

                async def read(until: int) -> None:
                    while len(got) < until:
                        message = await tail.next(10.0)
                        assert message is not None, got
                        got.append(int(message.data))

                await publish(direct, stream, range(5))
                await read(5)
                proxy.loses = True
                await publish(direct, stream, range(5, 10))
                while proxy.lost.count(b"MSG " + stream.lower().encode()) < 5:
                    await asyncio.sleep(0.01)
                proxy.loses = False
                proxy.break_the_client_off()
                if not server_knows_later:
                    proxy.tell_the_server()
                while proxy.connections < 2 or not client.is_connected:
                    await asyncio.sleep(0.01)
                await client.flush()
                await publish(direct, stream, range(10, 15))
                await read(15)
        finally:
            await client.close()
            await proxy.end()
            server.close()
            await direct.close()
        return got

    assert asyncio.run(run()) == list(range(15))


def test_a_server_slow_to_answer_is_asked_once(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> tuple[Any, int]:
        client = await platform.connect()
        await client.jetstream().add_stream(StreamConfig(name="SLOW", subjects=["slow.*"]))
        await publish(client, "SLOW", range(1))
        tail = Tail(client, "SLOW")
        asked, add = 0, tail._js.add_consumer

        async def slow(*args: Any, **options: Any) -> Any:
            nonlocal asked
            asked += 1
            found = await add(*args, **options)
            await asyncio.sleep(0.7)  # longer than next() is given below
            return found

        monkeypatch.setattr(tail._js, "add_consumer", slow)
        try:
            message = None
            for _ in range(5):
                message = message or await tail.next(0.5)
            return message and message.data, asked
        finally:
            await tail._close()
            await client.close()

    assert asyncio.run(run()) == (b"0", 1)
