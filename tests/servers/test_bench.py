"""The throughput lab on the real servers: every scenario adds up, and what goes wrong is said."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from platform_kit import Pipeline, Platform, bench
from platform_kit.errors import RunCancelled, RunError, UsageError
from platform_kit.lab.bench import BenchResult, relay
from platform_kit.lab.bench.scenarios import SCENARIOS, points_of

QUICK: dict[str, Any] = {
    "repeats": 2,
    "most_repeats": 2,
    "messages": 200,
    "warm_up_s": 0.0,
    "reference": False,
    "progress": False,
}
CONNECTED = [name for name in SCENARIOS if name != "pipeline"]


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    with Platform(workers=0) as running:
        yield running


@pytest.fixture(autouse=True)
def nothing_left(platform: Platform) -> Iterator[None]:
    before = streams(platform), set(platform.wombat.streams())
    yield
    if platform.running:
        assert (streams(platform), set(platform.wombat.streams())) == before


def streams(platform: Platform) -> set[str]:
    async def names() -> set[str]:
        client = await platform.connect()
        try:
            return {one.config.name or "" for one in await client.jetstream().streams_info()}
        finally:
            await client.close()

    return asyncio.run(names())


def accounted(result: BenchResult) -> None:
    assert (result["error"] == "").all(), result["error"].tolist()
    assert (result["sent"] == result["arrived"] + result["failed"] + result["lost"]).all()
    assert result[["failed", "lost", "duplicates"]].to_numpy().sum() == 0
    assert (result["rate_msgs_per_s"] > 0).all()


def test_every_scenario_with_every_engine_adds_up(platform: Platform) -> None:
    result = bench(platform, CONNECTED, engine="both", **QUICK)
    accounted(result)
    assert len(result) == 2 * len(CONNECTED) and (result["repeats"] == 2).all()
    assert (result["sent"] == 400).all()
    timed = result[result["latency_of"] != ""]
    assert set(timed["scenario"]) >= {"request_reply", "js_publish", "js_fetch", "kv_get"}
    assert (timed["p50_ms"] > 0).all()


def test_several_processes_at_either_end(platform: Platform) -> None:
    result = bench(platform, "core_pubsub", publishers=2, consumers=3, **QUICK)
    accounted(result)
    assert result["sent"].tolist() == [2 * 3 * 200]
    for scenario, options in (
        ("js_publish", {"publishers": 3}),
        ("js_fetch", {"consumers": 2}),
        ("kv_put", {"publishers": 2, "storage": "memory"}),
    ):
        accounted(bench(platform, scenario, **options, **QUICK))


def test_at_a_rate_latencies_count_from_the_time_a_message_was_to_be_sent(platform: Platform) -> None:
    names = ["js_publish_awaited", "js_fetch", "js_ordered", "core_pubsub", "pipeline"]
    result = bench(platform, names, rate_msgs_per_s=400, pipeline=relay("copy"), **QUICK)
    accounted(result)
    assert (result["latency_of"] == "message").all() and (result["p50_ms"] > 0).all()
    # Work of 20 ms a message lets through 50 a second: at 400 asked for, the wait grows by 17.5 ms a message,
    # and the hundredth of two hundred has waited for 1.7 s. A clock that starts when it is sent shows 20 ms.
    slow = bench(
        platform, "js_publish_awaited", rate_msgs_per_s=400, work_us=20_000, **{**QUICK, "repeats": 1}
    )
    assert slow["p50_ms"].iloc[0] > 1000 and slow["kept_up"].tolist() == [False]
    assert "could not keep up" in str(slow)


def test_a_pipeline_is_measured_on_streams_of_the_bench(platform: Platform) -> None:
    shipped = Pipeline.read(platform.settings.config_dir / "pipelines" / "relay.yaml")
    result = bench(
        platform, "pipeline", pipeline=[relay("stock", "nats_jetstream"), relay("batched"), shipped], **QUICK
    )
    accounted(result)
    assert result["pipeline"].tolist() == ["stock", "batched", "relay"]
    assert (result["sent"] == 400).all()


def test_a_pipeline_that_drops_messages_is_told(platform: Platform) -> None:
    config = relay("half").config
    half = "root = if this.bench_n.number() % 2 == 0 { deleted() }"
    config["pipeline"] = {"processors": [{"mapping": half}]}
    import json

    result = bench(platform, "pipeline", pipeline=Pipeline("half", json.dumps(config)), **QUICK)
    assert result[["sent", "arrived", "lost"]].to_numpy().tolist() == [[400, 200, 200]]


def test_it_is_a_frame_that_survives_slicing_and_files(platform: Platform, tmp_path: Path) -> None:
    result = bench(platform, "js_publish", batch=[1, 50], **QUICK)
    assert isinstance(result, pd.DataFrame)
    part = result[result["batch"] == 50]
    assert isinstance(part, BenchResult) and part["point"].tolist() == [1]
    assert len(part.samples) == 2 and part.latencies(1).count == 400
    assert len(part.series(1)) == 2 * 20 and "js_publish" in part._repr_html_()
    for kind in ("rate", "percentiles", "latency", "series", "drift"):
        assert result.plot(kind).twin.rows and part.plot(kind).axes
    path = result.save(tmp_path / "baseline.json")
    again = BenchResult.load(path)
    pd.testing.assert_frame_equal(pd.DataFrame(again), pd.DataFrame(result))
    assert set(result.compare(path).words) <= {"no difference", "undecided"}
    assert list(tmp_path.iterdir()) == [path]
    for text in ("", "{}", '{"format": "platform-kit bench 1"}'):
        path.write_text(text)
        with pytest.raises(UsageError, match=r"baseline\.json"):
            BenchResult.load(path)


def test_without_waiting_it_fills_itself(platform: Platform) -> None:
    running = bench(platform, "js_publish", wait=False, **QUICK)
    assert running.wait(60, progress=False) is running and running.done
    accounted(running)
    cancelled = bench(platform, "js_publish", wait=False, **{**QUICK, "repeats": 5000, "most_repeats": 5000})
    assert cancelled.cancel()
    with pytest.raises(RunCancelled):
        cancelled.wait(30, progress=False)


def test_a_slowdown_is_found_and_nothing_else(platform: Platform) -> None:
    options: dict[str, Any] = {"pairs": 12, "most_pairs": 12, "messages": 100, "progress": False}
    found = bench.ab(platform, "js_publish_awaited", {}, {"slowdown": 4.0}, **options)
    assert found.words == ["slower"] and found.verdicts[0].ratio.high < 0.6
    assert "slower" in found.text() and "slower" in found.html()
    found = bench.ab(platform, "js_publish_awaited", {"slowdown": 4.0}, {}, **options)
    assert found.words == ["faster"]


def test_a_server_that_dies_is_said_with_counts() -> None:
    with Platform(workers=0) as own:
        running = bench(
            own, "js_publish_awaited", wait=False, **{**QUICK, "repeats": 500, "most_repeats": 500}
        )
        states, _ = own.service_states()
        (pid,) = [state.pid for state in states if state.name == "nats-server"]
        assert pid is not None
        while running.progress.done < 2:
            assert not running.done
        os.kill(pid, signal.SIGKILL)
        try:
            running.wait(100, progress=False)
        except RunError as error:
            assert "arrived" in str(error)
        row = running.iloc[0]
        assert row["error"] and row["sent"] == row["arrived"] + row["failed"] + row["lost"]


@pytest.mark.parametrize(
    ("scenario", "options", "what", "hint"),
    [
        ("js_pub", {}, "js_pub", "js_publish_awaited"),
        ("kv_get", {"batch": 5}, "batch", "consumers"),
        ("js_publish", {"engine": "rust"}, "rust", "python"),
        ("js_publish", {"storage": "tape"}, "tape", "memory"),
        ("js_publish", {"payload_bytes": [128, 3]}, "payload_bytes=3", "16"),
        ("js_publish", {"payload_bytes": 10**9}, "payload_bytes", "max_payload"),
        ("js_publish", {"batch": 0}, "batch=0", "100000"),
        ("js_publish", {"batch": []}, "batch", "one value"),
        ("js_publish", {"rate_msgs_per_s": -1}, "rate_msgs_per_s=-1", "above 0"),
        ("js_publish", {"engine": "nats", "rate_msgs_per_s": 5}, "throttles", "python"),
        ("pipeline", {}, "pipeline", "Pipeline.read"),
        ("pipeline", {"engine": "nats", "pipeline": relay("x")}, "cannot measure", "python"),
        (
            "pipeline",
            {"pipeline": Pipeline("x", "input: {stdin: {}}\noutput: {stdout: {}}")},
            "no JetStream",
            "",
        ),
        ("js_publish", {"repeats": 0}, "repeats=0", "10,000"),
        ("js_publish", {"messages": 100, "duration_s": 1.0}, "contradict", "one of them"),
        ("js_publish", {"messages": 5_000_000, "payload_bytes": 10**6}, "more than", "at most"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    platform: Platform, scenario: str, options: dict[str, Any], what: str, hint: str
) -> None:
    quick = {key: value for key, value in QUICK.items() if key != "messages" or "repeats" not in options}
    quick.pop("messages", None)
    with pytest.raises(UsageError) as caught:
        bench(platform, scenario, **{**quick, **options})
    assert what in caught.value.what and hint in caught.value.hint


def test_a_grid_is_every_combination() -> None:
    points = points_of("js_publish", payload_bytes=[16, 32], batch=(1, 2), engine="both")
    assert len(points) == 8 == len(set(map(str, points)))
    with pytest.raises(UsageError, match="same"):
        points_of("js_publish", batch=[1, 1])
