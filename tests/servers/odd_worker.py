"""A worker in plain Python that keeps to the protocol but for one fault, which FAULT names.

The test puts an interpreter's line and FAULT before this text.
"""

from __future__ import annotations

import json
import os
import select
import signal
import struct
import sys
import time
from typing import Any

FAULT: str = globals().get("FAULT", "")
LIMIT = 1024 * 1024
TERMS = 0
PROTOCOL = {
    "name": "odd",
    "version": "0.1.0",
    "build": "",
    "protocol": 1,
    "transports": ["serve", "subprocess", "command"],
    "max_request_bytes": LIMIT,
}


class Failed(Exception):
    """A request is answered with a failure."""

    code = "422"


def handle(body: bytes) -> bytes:
    if FAULT == "hangs" or (FAULT == "hangs on nothing" and not body):
        time.sleep(3600)
    if FAULT == "crashes" or (FAULT == "crashes on nothing" and not body):
        os.kill(os.getpid(), signal.SIGKILL)
    if FAULT == "raises" or (FAULT == "raises on nothing" and not body):
        raise ZeroDivisionError("no card\nhas a cost of 1/0")
    if FAULT == "is slow with nothing" and not body:
        time.sleep(3.3)
    if FAULT == "writes on stderr":
        print("loading the model", file=sys.stderr, flush=True)
    if FAULT == "answers alike":
        return b"ok"
    if len(body) > LIMIT and FAULT != "knows no limit":
        raise Failed(f"the request has {len(body)} bytes, more than the limit of {LIMIT}")
    return body


def serve_one(body: bytes) -> bytes:
    """The body of a frame that answers."""
    try:
        return handle(body)
    except Failed as why:
        code = "400" if FAULT == "has codes of its own" else why.code
        return json.dumps({"worker_error": {"code": code, "column": None, "reason": str(why)}}).encode()


def frame(body: bytes) -> bytes:
    length = struct.pack(">I", len(body))
    if FAULT == "counts too much":
        length = struct.pack(">I", len(body) + 4)
    if FAULT == "counts too little":
        length = struct.pack(">I", max(0, len(body) - 1))
    if FAULT == "is little-endian":
        length = struct.pack("<I", len(body))
    framed = length + body
    if FAULT == "ends lines":
        framed += b"\n"
    if FAULT == "prints":
        framed = b"got a request\n" + framed
    if FAULT == "answers twice":
        framed *= 2
    return framed


def subprocess() -> int:
    data = b""
    while True:
        piece = os.read(0, 1 << 20)
        data += piece
        replies = []
        while len(data) >= 4:
            (length,) = struct.unpack_from(">I", data)
            if len(data) < 4 + length:
                break
            body, data = data[4 : 4 + length], data[4 + length :]
            if not (FAULT == "drops nothing" and not body):
                replies.append(frame(serve_one(body)))
        if FAULT == "mixes up the order":
            replies.reverse()
        for reply in replies:
            while reply:
                select.select([], [1], [])
                reply = reply[os.write(1, reply) :]
        if not piece:
            if FAULT == "stays":
                time.sleep(3600)
            if FAULT == "ends badly":
                return 3
            if data and FAULT == "answers what is torn":
                os.write(1, frame(b"perhaps"))
            return 65 if data and FAULT != "does not mind what is torn" else 0


def command() -> int:
    body = sys.stdin.buffer.read()
    try:
        answer = handle(body)
    except Failed as why:
        if FAULT == "answers and fails":
            sys.stdout.write("well")
        if FAULT == "fails without a word":
            return 65
        print(why, file=sys.stderr)
        return 1 if FAULT == "has codes of its own" else 65
    sys.stdout.buffer.write(answer)
    return 0


def stand_still(seconds: float) -> None:
    """Stop the server for so long, and this process too."""
    import psutil

    group = [item for item in psutil.process_iter() if os.getpgid(item.pid) == os.getpgrp()]
    (server,) = [item for item in group if "nats-server" in item.name()]
    server.suspend()
    time.sleep(seconds)
    server.resume()


async def serve() -> None:
    import asyncio

    import nats

    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    client = await nats.connect(
        os.environ["PLATFORM_NATS_URL"],
        nkeys_seed=os.environ["PLATFORM_NKEY_FILE"],
        inbox_prefix="_INBOX_worker",
    )
    instance = os.environ["PLATFORM_INSTANCE"]
    metadata: dict[str, str] = {"instance": instance, "pid": str(os.getpid()), "build": ""}
    if FAULT == "says no process id":
        del metadata["pid"]
    identity: dict[str, Any] = {"name": "odd", "id": instance, "version": "0.1.0", "metadata": metadata}
    queue = "" if FAULT == "is in no queue group" else "workers"
    counted = 0
    last = [b""]

    async def answer(message: Any) -> None:
        nonlocal counted
        counted += FAULT != "does not count"
        if FAULT == "drops what it has":
            await asyncio.sleep(0.01)
        if FAULT == "is deaf to deadlines" and "Request-Timeout" in (message.headers or {}):
            await asyncio.sleep(4)
        if FAULT == "is on a machine that stands still" and "Request-Timeout" in (message.headers or {}):
            stand_still(1.5)
        headers: dict[str, str] = {}
        try:
            body = handle(message.data)
        except Failed as why:
            body = json.dumps({"column": None, "reason": str(why)}).encode()
            headers = {"Nats-Service-Error-Code": why.code, "Nats-Service-Error": str(why)}
            if FAULT == "has codes of its own":
                headers["Nats-Service-Error-Code"] = "TOO LARGE"
        if FAULT == "mixes up replies":
            body, last[0] = last[0] or body, body
        if message.reply:
            await client.publish(message.reply, body, headers=headers or None)
            if FAULT == "answers twice":
                await client.publish(message.reply, body, headers=headers or None)
        elif FAULT == "needs a reply subject":
            os._exit(7)

    def on(word: str, make: Any) -> Any:
        async def say(message: Any) -> None:
            await client.publish(message.reply, json.dumps({**identity, **make()}).encode())

        return [
            client.subscribe(subject, cb=say)
            for subject in (f"$SRV.{word}", f"$SRV.{word}.odd", f"$SRV.{word}.odd.{instance}")
        ]

    endpoint = {"name": "default", "subject": "workers.odd", "queue_group": queue}
    if FAULT != "is not there":
        await client.subscribe("workers.odd", queue=queue, cb=answer)
    services = []
    if FAULT != "does not answer pings":
        services += on("PING", dict)
    services += on("INFO", lambda: {"endpoints": [endpoint]})
    services += on("STATS", lambda: {"endpoints": [{**endpoint, "num_requests": counted, "num_errors": 0}]})
    for service in services:
        await service
    await client.flush()
    await stopped.wait()
    if FAULT == "drops what it has":
        os._exit(0)
    if FAULT == "stays":
        await asyncio.Event().wait()
    await client.drain()


def main() -> int:
    word = sys.argv[1] if len(sys.argv) > 1 else "serve"
    if word == "describe":
        print("odd 0.1.0" if FAULT == "describes itself in words" else json.dumps(PROTOCOL))
        return 1 if FAULT == "knows no describe" else 0
    if word == "serve":
        import asyncio

        asyncio.run(serve())
        return 0
    stubborn = FAULT == "ignores SIGTERM"
    signal.signal(signal.SIGTERM, signal.SIG_IGN if stubborn else lambda *_: sys.exit(0))
    if word == "subprocess":
        return subprocess()
    if word == "command":
        return command()
    return 0 if FAULT == "takes any word" else 64


if __name__ == "__main__":
    sys.exit(main())
