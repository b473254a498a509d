"""Tables into streams and out of them with the real server, both ways; bad input, and servers that die."""

from __future__ import annotations

import asyncio
import datetime
import os
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest
from nats.js.api import StreamConfig
from support import wait_for

from platform_kit import Platform
from platform_kit.errors import RunCancelled, RunError, StreamError, UsageError

ENGINES = ("native", "python")
Make = Callable[..., str]


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def make_stream(platform: Platform, name: str, **config: Any) -> str:
    async def make() -> None:
        client = await platform.connect()
        try:
            await client.jetstream().add_stream(StreamConfig(name=name, **config))
        finally:
            await client.close()

    asyncio.run(make())
    return name


@pytest.fixture
def stream(platform: Platform, request: pytest.FixtureRequest) -> Iterator[Make]:
    """Makes a stream that takes ``<its name in small letters>.>``, and removes it."""
    made: list[str] = []

    def make(name: str, **config: Any) -> str:
        made.append(name)
        return make_stream(platform, name, **{"subjects": [f"{name.lower()}.>"], **config})

    yield make

    async def remove() -> None:
        client = await platform.connect()
        try:
            for name in made:
                await client.jetstream().delete_stream(name)
        finally:
            await client.close()

    asyncio.run(remove())


def cards(rows: int) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": [f"card.{number}" for number in range(rows)],
            "set": pd.Categorical(["ember", "tide"] * (rows // 2) + ["ember"] * (rows % 2)),
            "power": np.arange(rows),
            "weight": np.arange(rows) / 8,
            "tags": [["a", number] for number in range(rows)],
        }
    )


def messages_of(platform: Platform, name: str) -> int:
    async def ask() -> int:
        client = await platform.connect()
        try:
            return int((await client.jetstream().stream_info(name)).state.messages)
        finally:
            await client.close()

    return asyncio.run(ask())


# -------------------------------------------------------------------------------------- there and back


def test_a_table_comes_back_as_it_went(platform: Platform, stream: Make, engine: str) -> None:
    name, frame = stream("THERE"), cards(1000)
    report = platform.publish_frame(
        "there.{set}.{id}", frame, headers={"Card-Set": "set"}, message_id="id", engine=engine, progress=False
    )
    assert (report.rows, report.published, report.duplicates, len(report.failed)) == (1000, 1000, 0, 0)
    assert report.sequences.tolist() == list(range(1, 1001))
    found = platform.read_frame(
        name, headers={"Card-Set": "h", "Nats-Msg-Id": "m"}, engine=engine, progress=False
    )
    assert isinstance(found, pd.DataFrame)
    assert list(found.columns) == [
        *("sequence", "subject", "time", "h", "m"),
        *("id", "set", "power", "weight", "tags"),
    ]
    assert found["sequence"].dtype == np.int64 and str(found["time"].dtype) == "datetime64[ns, UTC]"
    assert found["subject"][1] == "there.tide.card%2E1"
    for column in ("id", "power", "weight", "tags"):
        assert found[column].tolist() == frame[column].tolist()
    assert found["h"].tolist() == frame["set"].tolist() and found["m"].tolist() == frame["id"].tolist()
    again = platform.publish_frame("there.{set}.{id}", frame, message_id="id", engine=engine, progress=False)
    assert (again.published, again.duplicates, len(again.failed)) == (0, 1000, 0)


@pytest.mark.parametrize("payload", ["msgpack", "raw"])
def test_other_payloads(platform: Platform, stream: Make, engine: str, payload: str) -> None:
    name = stream("OTHER")
    frame = pd.DataFrame({"id": ["a", "b"], "data": [b"\x00\xff", b""]})
    sent = "data" if payload == "raw" else payload
    report = platform.publish_frame("other.{id}", frame, payload=sent, engine=engine, progress=False)
    assert report.published == 2
    found = platform.read_frame(name, payload=payload, engine=engine, progress=False)
    assert found["payload" if payload == "raw" else "data"].tolist() == [b"\x00\xff", b""]


def test_where_to_begin_and_end(platform: Platform, stream: Make, engine: str) -> None:
    name = stream("BEGIN")

    def read(**how: Any) -> list[int]:
        frame = platform.read_frame(name, engine=engine, progress=False, **how)
        return [int(number) for number in frame["sequence"]]

    empty = platform.read_frame(name, engine=engine, progress=False, headers=["X"], columns=["a"])
    assert list(empty.columns) == ["sequence", "subject", "time", "X", "a"] and len(empty) == 0
    assert empty["sequence"].dtype == np.int64 and str(empty["time"].dtype) == "datetime64[ns, UTC]"
    frame = pd.DataFrame({"id": ["a", "b", "c"] * 4, "n": range(12)})
    platform.publish_frame("begin.{id}", frame, engine=engine, progress=False)
    times = platform.read_frame(name, progress=False)["time"]
    assert read() == list(range(1, 13))
    assert read(start=5, limit=3) == [5, 6, 7]
    assert read(start=13) == read(limit=0) == read(subjects="begin.x") == []
    assert read(subjects="begin.b") == [2, 5, 8, 11]
    assert read(subjects=["begin.a", "begin.b"], start=7, limit=3) == [7, 8, 10]
    assert read(start="last_per_subject") == [10, 11, 12]
    assert read(start="last_per_subject", subjects="begin.c") == [12]
    assert read(start=times[8]) == list(range(9, 13))
    assert read(start=datetime.datetime(2100, 1, 1)) == []

    async def remove() -> None:
        client = await platform.connect()
        for sequence in (1, 6, 12):
            await client.jetstream().delete_msg(name, sequence)
        await client.close()

    asyncio.run(remove())
    assert read() == [2, 3, 4, 5, 7, 8, 9, 10, 11]
    assert read(start=6, limit=2) == [7, 8]


def test_the_end_is_fixed_at_the_beginning(platform: Platform, stream: Make, engine: str) -> None:
    name = stream("LIVE")
    platform.publish_frame("live.x", pd.DataFrame({"n": range(40_000)}), progress=False)

    async def read_while_more_comes() -> tuple[int, int]:
        client = await platform.connect()
        stop = asyncio.Event()

        async def go_on() -> int:
            count = 0
            while not stop.is_set():
                await client.publish("live.y", b"{}")
                count += 1
                await asyncio.sleep(0)
            await client.flush()
            return count

        traffic = asyncio.create_task(go_on())
        frame = await platform.read_frame(name, engine=engine, wait=False, payload="raw")
        stop.set()
        count = await traffic
        await client.close()
        return int(frame["sequence"].max()), count

    last, count = asyncio.run(read_while_more_comes())
    assert 40_000 <= last < 40_000 + count


def test_bad_payloads_and_taken_names(platform: Platform, stream: Make, engine: str) -> None:
    name = stream("BAD")
    payloads = [b'{"time":1,"error":"e","id":"a"}', b"{oops", b"", b"[1]", b'{"id":"\xff"}', b'{"id":"b"}']
    platform.publish_frame("bad.x", pd.DataFrame({"p": payloads}), payload="p", engine=engine, progress=False)
    frame = platform.read_frame(name, engine=engine, progress=False)
    assert list(frame.columns) == [
        *("sequence", "subject", "time", "payload.time", "payload.error", "id"),
        *("payload", "error"),
    ]
    assert frame["id"].dropna().tolist() == ["a", "b"]
    assert frame["payload"].tolist() == [None, b"{oops", b"", b"[1]", b'{"id":"\xff"}', None]
    assert frame["error"].notna().tolist() == [False, True, True, True, True, False]
    chosen = platform.read_frame(name, columns=["id", "error"], limit=1, engine=engine, progress=False)
    assert list(chosen.columns)[:4] == ["sequence", "subject", "time", "id"] and "error" in chosen


# -------------------------------------------------------------------------------------- bad input


def test_rows_that_cannot_be_published_are_told_one_by_one(
    platform: Platform, stream: Make, engine: str
) -> None:
    stream("ROWS", subjects=["rows.ok", "rows.small"], max_msg_size=100)
    frame = pd.DataFrame(
        {
            "to": ["ok", "nowhere", "ok", None, "ok", "ok"],
            "x": pd.Series(["a", "b", {1, 2}, "d", "e" * 200, "f"], dtype=object),
        }
    ).set_axis(list("ABCDEF"))
    report = platform.publish_frame("rows.{to}", frame, engine=engine, progress=False)
    assert (report.published, len(report.failed)) == (2, 4)
    failed = report.failed.set_index("label")
    assert failed["row"].to_dict() == {"B": 1, "C": 2, "D": 3, "E": 4}
    assert failed["subject"]["B"] == "rows.nowhere" and "no stream" in failed["reason"]["B"]
    assert "column 'x': a set" in failed["reason"]["C"]
    assert failed["reason"]["D"] == "column 'to' is empty"
    assert "size" in failed["reason"]["E"]
    assert set(failed["stored"]) == {"no"}
    assert "failed" in repr(report) and "no stream" in report._repr_html_()
    with pytest.raises(RunError, match="4 of 6"):
        report.raise_for_failed()
    nothing = platform.publish_frame("rows.{to}", frame.iloc[[3]], engine=engine, progress=False)
    assert (nothing.published, len(nothing.failed)) == (0, 1)
    none = platform.publish_frame("rows.{to}", frame.iloc[:0], engine=engine, progress=False)
    assert (none.rows, none.published, len(none.failed)) == (0, 0, 0)


def test_a_payload_above_the_servers_limit(platform: Platform, stream: Make, engine: str) -> None:
    stream("LARGE")
    limit = platform.settings.max_payload_bytes
    frame = pd.DataFrame({"data": [b"x", b"x" * (limit + 1), b"x" * (limit - 100), b"x" * limit]})
    report = platform.publish_frame("large.x", frame, payload="data", engine=engine, progress=False)
    # With its header the last one is too large, too.
    assert report.published == 2 and report.failed["row"].tolist() == [1, 3]
    assert all(str(limit) in reason for reason in report.failed["reason"])


def test_no_stream_and_no_such_stream(platform: Platform, engine: str) -> None:
    frame = cards(3)
    with pytest.raises(StreamError, match=r"No stream takes 'nowhere\.\*'(.|\n)*CARD_RESULTS takes"):
        platform.publish_frame("nowhere.{id}", frame, engine=engine, progress=False)
    for call in (platform.read_frame, lambda name, **how: list(platform.read_chunks(name, engine=engine))):
        with pytest.raises(StreamError, match=r"no stream 'NOWHERE'(.|\n)*CARD_RESULTS"):
            call("NOWHERE", engine=engine, progress=False)
    with pytest.raises(UsageError, match="engine='rust'"):
        platform.read_frame("CARD_RESULTS", engine="rust")


def test_without_permission(platform: Platform, stream: Make, engine: str) -> None:
    name = stream("CLOSED", subjects=["closed.>"])
    platform.publish_frame("closed.x", cards(2), progress=False)
    viewer = Platform.attach(
        platform.nats_url, credentials=platform.credentials_file("viewer"), inbox_prefix="_INBOX_viewer"
    )
    try:
        report = viewer.publish_frame("closed.{id}", cards(20), engine=engine, progress=False)
        assert report.published == 0 and set(report.failed["reason"]) == {"permission denied"}
        assert report.seconds < 4  # nobody waited for an answer that cannot come
        with pytest.raises(StreamError, match="Permission denied"):
            viewer.read_frame(name, engine=engine, progress=False)
    finally:
        viewer.stop()
    assert messages_of(platform, name) == 2


def test_somebody_listens_and_nothing_stores(platform: Platform, stream: Make, engine: str) -> None:
    """The subject has a listener, so the server does not say that nobody is there."""
    stream("LISTEN", subjects=["listen.a"])

    async def publish() -> Any:
        client = await platform.connect()
        await client.subscribe("listen.b")
        await client.flush()
        frame = pd.DataFrame({"to": ["a", "b"]})
        report = await platform.publish_frame(
            "listen.{to}", frame, message_id=None, engine=engine, wait=False
        )
        await client.close()
        return report

    report = asyncio.run(publish())
    assert report.published == 1
    assert report.failed["stored"].tolist() == ["unknown"]
    assert "no acknowledgement" in report.failed["reason"][0]


# -------------------------------------------------------------------------------------- chunks, files


def test_chunks_for_a_loop_of_either_kind(platform: Platform, stream: Make, engine: str) -> None:
    name = stream("CHUNKS")
    platform.publish_frame("chunks.x", cards(40_001), progress=False)
    chunks = platform.read_chunks(name, rows=10_000, engine=engine)
    frames = list(chunks)
    assert [len(frame) for frame in frames] == [10_000] * 4 + [1]
    assert pd.concat(frames)["power"].tolist() == list(range(40_001))
    assert chunks.progress.done == 40_001

    async def first_two() -> list[int]:
        found = []
        async with platform.read_chunks(name, rows=15_000, engine=engine) as chunks:
            async for frame in chunks:
                found.append(len(frame))
                if len(found) == 2:
                    break
        return found

    assert asyncio.run(first_two()) == [15_000, 15_000]
    with platform.read_chunks(name, rows=7, engine=engine) as chunks:
        assert len(next(chunks)) == 7
    assert list(chunks) == []
    for _ in platform.read_chunks(name, rows=5, engine=engine):
        break  # what is let go of ends by itself: the leak check looks
    with pytest.raises(UsageError, match="rows="):
        platform.read_chunks(name, rows=0)


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_a_stream_as_a_file(platform: Platform, stream: Make, tmp_path: Path, kind: str) -> None:
    name = stream("FILE")
    platform.publish_frame("file.x", cards(70_000), progress=False)
    platform.publish_frame("file.y", pd.DataFrame({"id": [1, 2], "more": [1.5, 2.5]}), progress=False)
    platform.publish_frame("file.z", pd.DataFrame({"p": [b"{oops"]}), payload="p", progress=False)
    path = tmp_path / f"file.{kind}"
    done = platform.export_stream(name, path, progress=False)
    assert (done.rows, done.bad, done.path) == (70_003, 1, path)
    found = pd.read_parquet(path) if kind == "parquet" else pd.read_feather(path)
    assert found["sequence"].tolist() == list(range(1, 70_004))
    assert found["id"].tolist()[-4:-1] == ["card.69999", "1", "2"]
    assert found["more"].tolist()[-3:-1] == [1.5, 2.5]
    assert found["payload"].iloc[-1] == b"{oops" and "malformed" in found["error"].iloc[-1]
    assert os.listdir(tmp_path) == [path.name]
    with pytest.raises(UsageError, match="ending"):
        platform.export_stream(name, tmp_path / "x.csv")
    with pytest.raises(UsageError, match="folder"):
        platform.export_stream(name, tmp_path / "no" / "x.parquet")
    with pytest.raises(StreamError):
        platform.export_stream("NOWHERE", tmp_path / "x.parquet", progress=False)
    assert os.listdir(tmp_path) == [path.name]


# -------------------------------------------------------------------------------------- replay


def test_a_replay_keeps_what_was_said(platform: Platform, stream: Make, engine: str) -> None:
    name, again = stream("FIRST"), stream("AGAIN")
    frame = cards(500)
    platform.publish_frame("first.{set}.{id}", frame, headers={"Card": "id"}, progress=False)
    run = platform.replay(name, "again.{subject}", speed="fast", engine=engine, progress=False)
    assert (run.messages, run.published, run.duplicates, run.failed_count) == (500, 500, 0, 0)
    found = platform.read_frame(again, headers=["Card"], progress=False)
    first = platform.read_frame(name, headers=["Card"], progress=False)
    assert found["subject"].tolist() == ["again." + subject for subject in first["subject"]]
    for column in ("Card", "id", "power", "tags"):
        assert found[column].tolist() == first[column].tolist()
    part = platform.replay(
        name, "again.{3}", subjects="first.tide.*", limit=10, speed="fast", engine=engine, progress=False
    )
    assert part.published == 10
    assert "finished" in repr(part) and "again.{3}" in part._repr_html_()
    few = platform.replay(name, "again.{9}", limit=3, speed="fast", engine=engine, progress=False)
    assert (few.messages, few.published, len(few.failed)) == (3, 0, 3)


def test_a_replay_keeps_the_spacing(platform: Platform, stream: Make, engine: str) -> None:
    name, again = stream("SPACED"), stream("LATER")
    for number in range(3):
        platform.publish_frame("spaced.x", pd.DataFrame({"n": [number]}), progress=False)
        wait_for(_after(0.2), "a moment")
    platform.replay(name, "later.x", engine=engine, progress=False)
    spaces = [
        np.diff(platform.read_frame(each, progress=False)["time"].astype("int64")) / 1e9
        for each in (name, again)
    ]
    assert all(later > first - 0.05 for first, later in zip(*spaces, strict=True))


def _after(seconds: float) -> Callable[[], bool]:
    end = datetime.datetime.now() + datetime.timedelta(seconds=seconds)
    return lambda: datetime.datetime.now() > end


def test_a_replay_into_itself_is_refused(platform: Platform, stream: Make) -> None:
    name = stream("LOOP", subjects=["loop.>", "circle.*"])
    platform.publish_frame("loop.a", cards(2), progress=False)
    for into in ("loop.{subject}", "circle.x", "loop.b", "circle.{2}"):
        with pytest.raises(UsageError, match="itself takes"):
            platform.replay(name, into, progress=False)
    with pytest.raises(StreamError, match="No stream takes"):
        platform.replay(name, "nowhere.{subject}", progress=False)
    assert messages_of(platform, name) == 2


def test_a_replay_that_waits_can_be_cancelled(platform: Platform, stream: Make, engine: str) -> None:
    name, again = stream("SLOW"), stream("NEXT")
    platform.publish_frame("slow.x", pd.DataFrame({"n": [1]}), progress=False)
    wait_for(_after(0.05), "a moment")
    platform.publish_frame("slow.x", pd.DataFrame({"n": [2]}), progress=False)
    run = platform.replay(name, "next.x", speed=0.0001, engine=engine, wait=False)
    wait_for(lambda: messages_of(platform, again) == 1, "the first message")
    run.cancel()
    with pytest.raises(RunCancelled):
        run.wait()
    assert run.messages == run.published + run.duplicates + run.failed_count
    assert messages_of(platform, again) == 1


# -------------------------------------------------------------------------------------- faults


@pytest.fixture
def mortal() -> Iterator[Platform]:
    """A platform whose server is killed."""
    with Platform(workers=0) as running:
        yield running


def signal_server(platform: Platform, number: signal.Signals) -> None:
    (state,) = [state for state in platform.service_states()[0] if state.name == "nats-server"]
    assert state.pid is not None
    os.kill(state.pid, number)


def kill_server(platform: Platform) -> None:
    signal_server(platform, signal.SIGKILL)


def transfer_process() -> psutil.Process:
    found = [child for child in psutil.Process().children(recursive=True) if child.name() == "frames"]
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize("safe", [True, False])
def test_the_server_is_killed_while_a_table_is_published(mortal: Platform, engine: str, safe: bool) -> None:
    """With message ids each row is stored once; without, a row nobody can know of is told."""
    seed = ENGINES.index(engine) * 2 + safe
    name = make_stream(mortal, f"KILLED{seed}", subjects=[f"killed{seed}"])
    frame, moments = cards(60_000), random.Random(seed)
    report = mortal.publish_frame(
        f"killed{seed}", frame, message_id="auto" if safe else None, engine=engine, wait=False
    )
    at = moments.randint(2_000, 30_000)
    wait_for(lambda: report.progress.done >= at, f"row {at}")
    kill_server(mortal)
    report.wait(60, progress=False)
    assert report.rows == report.published + report.duplicates + len(report.failed) == len(frame)
    stored = mortal.read_frame(name, columns=["power"], engine=engine, progress=False)["power"].tolist()
    if safe:
        assert len(report.failed) == 0
        assert sorted(stored) == list(range(len(frame)))
        return
    unknown = set(report.failed["row"])
    assert set(report.failed["stored"]) <= {"unknown"}
    assert len(stored) == len(set(stored))
    assert set(range(len(frame))) - set(stored) <= unknown


def test_the_server_is_killed_while_a_stream_is_read(mortal: Platform, engine: str) -> None:
    name = f"READ{engine.upper()}"
    make_stream(mortal, name, subjects=[name.lower()])
    mortal.publish_frame(name.lower(), cards(120_000), progress=False)
    found: list[int] = []
    for number, chunk in enumerate(mortal.read_chunks(name, rows=20_000, engine=engine)):
        found += chunk["sequence"].tolist()
        if number == 1:
            kill_server(mortal)
    assert found == list(range(1, 120_001))


def test_the_client_is_killed(mortal: Platform) -> None:
    """Each row has a result, and what is said to be stored is."""
    name = make_stream(mortal, "CLIENT", subjects=["client"])
    report = mortal.publish_frame("client", cards(200_000), engine="native", wait=False)
    wait_for(lambda: report.progress.done > 5_000, "some rows")
    transfer_process().kill()
    with pytest.raises(RunError, match="SIGKILL"):
        report.wait(30, progress=False)
    assert report.rows == report.published + report.duplicates + len(report.failed)
    assert set(report.failed["stored"]) == {"no", "unknown"}
    stored = messages_of(mortal, name)
    unknown = int((report.failed["stored"] == "unknown").sum())
    assert report.published <= stored <= report.published + unknown
    mortal.publish_frame("client", cards(150_000), engine="native", progress=False)
    chunks = mortal.read_chunks(name, rows=2_000, engine="native")
    assert len(next(chunks)) == 2_000
    transfer_process().kill()
    with pytest.raises(RunError, match="SIGKILL"):
        list(chunks)


def test_a_publication_that_is_cancelled_accounts_for_every_row(mortal: Platform, engine: str) -> None:
    name = make_stream(mortal, f"CANCEL{engine.upper()}", subjects=[f"cancel.{engine}"])
    report = mortal.publish_frame(f"cancel.{engine}", cards(200_000), engine=engine, wait=False)
    wait_for(lambda: report.progress.done > 3_000, "some rows")
    report.cancel()
    with pytest.raises(RunCancelled):
        report.wait()
    assert report.rows == report.published + report.duplicates + len(report.failed)
    unknown = int((report.failed["stored"] == "unknown").sum())
    assert report.published <= messages_of(mortal, name) <= report.published + unknown


def test_a_server_that_answers_no_more_ends_the_wait(engine: str) -> None:
    """No wait is without a limit, and the report still says what became of each row."""
    with Platform(workers=0) as platform:
        make_stream(platform, "AWAY", subjects=["away"])
        other = Platform.attach(
            platform.nats_url, credentials=platform.credentials_file(), inbox_prefix="_INBOX_admin"
        )
        try:
            report = other.publish_frame("away", cards(200_000), engine=engine, wait=False, stall_timeout_s=1)
            wait_for(lambda: report.progress.done > 3_000, "some rows")
            # At once; platform.stop() takes so long that all may be published.
            signal_server(platform, signal.SIGSTOP)
            try:
                with pytest.raises(RunError):
                    report.wait(30, progress=False)
            finally:
                signal_server(platform, signal.SIGCONT)
            assert report.rows == report.published + report.duplicates + len(report.failed)
            assert "unknown" in set(report.failed["stored"])
        finally:
            other.stop()
