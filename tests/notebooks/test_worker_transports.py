"""Four ways to ask one worker: measured with small parameters, and what cannot be measured is refused."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import pytest

from platform_kit import Platform
from platform_kit.errors import RunError, UsageError
from platform_kit.lab import transports
from platform_kit.lab.notebook import execute_notebook
from platform_kit.lab.transports import (
    NONE,
    TRANSPORTS,
    TransportComparison,
    compare_transports,
    transport_config,
)

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "05_worker_transports.ipynb"


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    with Platform(workers=0) as running:
        running.start_workers("echo-worker")
        yield running


def small(platform: Platform, *names: str, **options: Any) -> TransportComparison:
    settings: dict[str, Any] = {"payload_bytes": [100], "threads": [2], "seconds": 0.1, "progress": False}
    return compare_transports(platform, names or TRANSPORTS, **(settings | options))


def test_it_takes_other_parameters(tmp_path: Path) -> None:
    parameters = {"payload_bytes": "1 70000", "threads": "3", "seconds": 0.1}
    executed = execute_notebook(NOTEBOOK, tmp_path / "executed.ipynb", parameters, progress=False)
    shown = json.dumps(nbformat.read(executed, as_version=4).cells)  # type: ignore[no-untyped-call]
    assert shown.count("image/png") == 2 and "platform: stopped" in shown
    for name in (*TRANSPORTS, NONE):
        assert name in shown


def test_each_is_asked_really_and_every_message_is_accounted_for(platform: Platform) -> None:
    before = _asked(platform)
    # 100,000 bytes are more than the buffers of a pipe, and than Wombat's for a child's answer.
    found = small(platform, payload_bytes=[1, 100_000], threads=[1, 4], seconds=0.3).frame
    keys = ["payload_bytes", "threads"]
    for name in (NONE, *TRANSPORTS):
        rows = found[found["transport"] == name]
        assert rows[keys].values.tolist() == [[1, 1], [1, 4], [100_000, 1], [100_000, 4]]
    assert (found["sent"] == found["answered"] + found["failed"]).all()
    assert found["failed"].sum() == 0, found[found["failed"] > 0]
    assert (found["measured"] <= found["answered"]).all() and found["measured"].sum() > 0
    # The worker counts by itself; nobody else asked it.
    asked = found[found["transport"] == "micro service"]
    assert _asked(platform) - before == asked["sent"].sum() + asked["repeated"].sum() > 0


def _asked(platform: Platform) -> int:
    return int(platform.workers().frame.set_index("name").loc["echo", "requests"])


def test_what_fails_is_counted_and_not_measured(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transports, "transport_config", lambda *_, **__: {"command": {"name": "false"}})
    (row,) = small(platform, "command", baseline=False).frame.to_dict("records")
    assert row["failed"] == row["sent"] > 0 == row["answered"] == row["measured"]
    assert row["rate_msgs_per_s"] == 0 and pd.isna(row["p50_ms"])
    changed = {"mapping": 'root = content() + "!"'}
    monkeypatch.setattr(transports, "transport_config", lambda *_, **__: changed)
    (row,) = small(platform, "in-process", baseline=False).frame.to_dict("records")
    assert row["failed"] == row["sent"] > 0, "an answer of another length is no answer"


def test_it_leaves_nothing_on_the_platform(platform: Platform) -> None:
    async def streams() -> list[str]:
        client = await platform.connect()
        try:
            return [one.config.name or "" for one in await client.jetstream().streams_info()]
        finally:
            await client.close()

    before = set(platform.wombat.streams()), set(asyncio.run(streams())), set(platform.status().pipelines)
    small(platform, "in-process", "command")
    assert before == (
        set(platform.wombat.streams()),
        set(asyncio.run(streams())),
        set(platform.status().pipelines),
    )


def test_without_a_worker_it_says_how_to_start_one() -> None:
    with Platform(workers=0) as bare, pytest.raises(UsageError, match="No echo worker answers") as caught:
        small(bare)
    assert 'start_workers("echo-worker")' in caught.value.hint


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"transports": ["telepathy"]}, "telepathy"),
        ({"transports": []}, "transports"),
        ({"transports": ["command", "command"]}, "transports"),
        ({"payload_bytes": [0]}, "payload_bytes"),
        ({"payload_bytes": [2**20 + 1]}, "payload_bytes"),
        ({"threads": []}, "threads"),
        ({"threads": [True]}, "threads"),
        ({"threads": [1, 1]}, "threads"),
        ({"seconds": 0}, "seconds"),
    ],
)
def test_what_cannot_be_measured_is_refused(platform: Platform, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        compare_transports(platform, **options)


def test_it_needs_a_wombat_on_this_machine(platform: Platform) -> None:
    remote = Platform.attach(
        platform.nats_url, credentials=platform.credentials_file(), inbox_prefix="_INBOX_admin"
    )
    try:
        with pytest.raises(UsageError, match="on another machine"):
            small(remote, "command")
    finally:
        remote.stop()


def results(*numbers: int, good: int = 1) -> pd.DataFrame:
    rows = [[number, 1_000_000 * number, 500_000, good] for number in numbers]
    return pd.DataFrame(rows, columns=["number", "begun", "took", "good"])


def test_the_summary_counts_the_window_only_and_misses_nothing() -> None:
    # Messages end at 1.5, 2.5, ... ms; the window is from 2 to 4 ms.
    rate, p50, p90, p99, measured, sent, answered, failed = transports._summary(
        results(1, 2, 3, 4, 5), 5, 2_000_000, 4_000_000, what="x"
    )
    assert (measured, sent, answered, failed) == (2, 5, 5, 0)
    assert rate == 1000 and p50 == p90 == p99 == 0.5
    for wrong in (results(1, 2, 4), results(1, 2, 2), results(1, 2), results(1, 2, 3, 4)):
        with pytest.raises(RunError, match="3 messages were sent"):
            transports._summary(wrong, 3, 0, 1, what="x")


FRAME = pd.DataFrame(
    [
        [name, size, count, 1000.0 * count / size, 0.1, 0.2, 0.3 * count, 9, 10, 10, 0, 0]
        for name in (NONE, *TRANSPORTS)
        for size in (10, 2048)
        for count in (1, 8)
    ],
    columns=list(transports.COLUMNS),
)


def test_it_shows_itself_as_tables_and_figures() -> None:
    found = TransportComparison(FRAME, 0.5, 2)
    assert "in-process" in str(found) and "0.5 s a row, 2 cores" in found._repr_html_()
    assert list(found.rates().columns) == [NONE, *TRANSPORTS]
    assert found.latencies(99).loc[(10, 8), "command"] == pytest.approx(2.4)
    with pytest.raises(UsageError, match="percentile=95"):
        found.latencies(95)
    rates, latencies = found.plot_rates(), found.plot_latencies()
    for figure, words in ((rates, "How many messages"), (latencies, "How long")):
        assert words in figure._suptitle.get_text() and len(figure.axes) == 2  # type: ignore[attr-defined]
        assert [axes.get_title() for axes in figure.axes] == ["messages of 10 B", "messages of 2 KiB"]
    labels = {text.get_text() for text in rates.axes[0].texts}
    assert labels == {NONE, *TRANSPORTS}
    heights = sorted(text.get_position()[1] for text in rates.axes[0].texts)
    assert all(high - low > 0.05 for low, high in itertools.pairwise(heights)), "labels overlap"
    words = found.choices().text()
    assert "8 threads carry 8.0 times as much as 1" in words and "100 µs a message with 1 thread" in words


def test_a_transport_that_answered_nothing_is_left_out_of_the_figures_without_a_fall() -> None:
    broken = FRAME.copy()
    dead = broken["transport"] == "command"
    broken.loc[dead, ["rate_msgs_per_s", "p50_ms", "p90_ms", "p99_ms"]] = [0.0, *[float("nan")] * 3]
    found = TransportComparison(broken, 0.5, 2)
    assert "command" not in {text.get_text() for text in found.plot_rates().axes[0].texts}
    found.plot_latencies()
    assert "up to 0 msgs/s" in found.choices().text()


def test_a_config_for_what_there_is_not_is_refused() -> None:
    with pytest.raises(UsageError, match="smoke"):
        transport_config("smoke")
