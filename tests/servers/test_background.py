"""A platform that outlives its command: started once, found again, and gone when its supervisor is."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from commands import COMMAND, ROOT, alive, answer, background, command, service_pids, state
from conftest import LEAK_WAIT_S, processes_below
from support import wait_for

from platform_kit import Pipeline, Platform
from platform_kit.servers.background import state_path

ECHO = """
input:
  nats:
    urls: [ "${PLATFORM_NATS_URL}" ]
    subject: tests.question
    auth: { nkey_file: "${PLATFORM_NKEY_FILE}" }
output:
  nats:
    urls: [ "${PLATFORM_NATS_URL}" ]
    subject: tests.answer
    auth: { nkey_file: "${PLATFORM_NKEY_FILE}" }
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with background(tmp_path_factory.mktemp("background")) as folder:
        yield folder


def test_starting_twice_is_one_start(folder: Path) -> None:
    before = state(folder)
    again = command(folder, "start")
    assert again.returncode == 0 and "running already" in again.stdout
    assert state(folder)["pid"] == before["pid"] and service_pids(folder) == {
        service["name"]: service["pid"] for service in before["services"]
    }


def test_it_is_found_with_its_services_and_their_figures(folder: Path) -> None:
    shown = command(folder, "status")
    assert shown.returncode == 0 and "platform (attached): running" in shown.stdout
    found = answer(command(folder, "status", "--json"))
    assert found["state"] == "running" and found["attached"] is True and found["durability"] == "lazy"
    assert [service["name"] for service in found["services"]] == [*service_pids(folder)]
    for service in found["services"]:
        assert service["pid"] == service_pids(folder)[service["name"]] and alive(service["pid"])
        assert service["memory_bytes"] > 1_000_000 and service["uptime_s"] > 0 and service["version"]
    assert found["pipelines"] == ["render_cards"]
    assert found["data_dir"] == str(folder / ".platform" / "data")


@pytest.mark.parametrize("durability", ["lazy", "fsync"])
def test_the_durability_asked_for_is_what_the_server_does(tmp_path: Path, durability: str) -> None:
    with background(tmp_path, "--workers", "0", "--durability", durability):
        assert answer(command(tmp_path, "status", "--json"))["durability"] == durability
        log = (tmp_path / ".platform/data/logs/nats-server.log").read_text()
        assert "invalid use" not in log
        system = tmp_path / ".platform/data/credentials/system.nk"
        with Platform.attach(state(tmp_path)["nats_url"], credentials=system) as platform:
            config = asyncio.run(_jetstream_config(platform))
    assert config["sync_interval"] == 120 * 10**9
    assert config.get("sync_always", False) is (durability == "fsync")


async def _jetstream_config(platform: Platform) -> dict[str, Any]:
    client = await platform.connect()
    try:
        reply = await client.request("$SYS.REQ.SERVER.PING.VARZ", timeout=5)
        found = json.loads(reply.data)["data"]["jetstream"]["config"]
        assert isinstance(found, dict)
        return found
    finally:
        await client.close()


def test_the_supervisor_ignores_the_terminals_hang_up(folder: Path) -> None:
    os.kill(state(folder)["pid"], signal.SIGHUP)
    assert command(folder, "ping").returncode == 0
    assert os.getsid(state(folder)["pid"]) == state(folder)["pid"]


def test_a_killed_part_comes_back_and_the_state_says_so(folder: Path) -> None:
    before = service_pids(folder)["card-renderer-1"]
    os.kill(before, signal.SIGKILL)

    def back() -> bool:
        (worker,) = [s for s in state(folder)["services"] if s["name"] == "card-renderer-1"]
        return bool(worker["state"] == "running" and worker["pid"] != before and worker["restarts"] > 0)

    wait_for(back, "the worker's return")
    shown = answer(command(folder, "status", "--json"))
    assert shown["state"] == "running"
    assert "ended by signal 9" in [service["last_problem"] for service in shown["services"]]


def test_a_killed_wombat_comes_back_with_the_pipelines_of_other_processes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    (folder / "echo.yaml").write_text(ECHO)
    assert command(folder, "deploy", "echo.yaml").returncode == 0
    with Platform.attach() as platform:
        platform.deploy(Pipeline("deployed-by-attach", ECHO.replace("tests.", "tests.attach.")))
        before = service_pids(folder)["wombat"]
        os.kill(before, signal.SIGKILL)
        wait_for(lambda: service_pids(folder)["wombat"] != before, "another Wombat")
        names = ("render_cards", "echo", "deployed-by-attach")
        wait_for(lambda: _all_ready(platform, names), "the return of all three pipelines")
        assert asyncio.run(_ask(platform, "tests.question", "tests.answer", b"hello")) == b"hello"
        assert platform.remove("echo") and platform.remove("deployed-by-attach")


def _all_ready(platform: Platform, names: tuple[str, ...]) -> bool:
    return platform.wombat.ready() and all(
        platform.wombat.streams().get(name, {}).get("active") for name in names
    )


async def _ask(platform: Platform, subject: str, reply: str, payload: bytes) -> bytes:
    client = await platform.connect()
    try:
        subscription = await client.subscribe(reply)
        await client.flush()
        await client.publish(subject, payload)
        message = await subscription.next_msg(timeout=10)
        return bytes(message.data)
    finally:
        await client.close()


def test_no_secret_in_its_arguments_state_and_logs(folder: Path) -> None:
    keys = [path.read_text().strip() for path in (folder / ".platform/data/credentials").iterdir()]
    assert len(keys) == 6 and all(len(key) > 30 for key in keys)
    pids = [state(folder)["pid"], *service_pids(folder).values()]
    pids += [child.pid for child in psutil.Process(state(folder)["pid"]).children(recursive=True)]
    shown = [json.dumps([psutil.Process(pid).cmdline(), psutil.Process(pid).environ()]) for pid in pids]
    shown += [state_path(folder).read_text(), (folder / ".platform/supervisor.log").read_text()]
    shown += [command(folder, *words).stdout for words in (("status", "--json"), ("logs",), ("ping",))]
    assert not any(key in text for key in keys for text in shown)


def test_its_files_are_for_their_owner_alone(folder: Path) -> None:
    for path in (folder / ".platform").iterdir():
        assert path.stat().st_mode & 0o077 == 0, path


# ------------------------------------------------------------------------------ of one folder each


def test_platforms_of_two_folders_do_not_meet(folder: Path, tmp_path: Path) -> None:
    with background(tmp_path / "other", "--workers", "0") as other:
        assert set(service_pids(folder).values()).isdisjoint(service_pids(other).values())
        assert state(folder)["nats_url"] != state(other)["nats_url"]
    assert command(folder, "status").returncode == 0
    assert command(other, "status").returncode == 4


def test_starting_at_the_same_time_is_one_start(tmp_path: Path) -> None:
    started = [
        subprocess.Popen([COMMAND, "start"], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    outputs = [process.communicate(timeout=60)[0] for process in started]
    try:
        assert [process.returncode for process in started] == [0, 0, 0]
        supervisors = [line for line in processes_below(tmp_path) if "platform_kit.background" in line]
        assert len(supervisors) == 1 and supervisors[0].startswith(f"{state(tmp_path)['pid']} ")
        assert all(state(tmp_path)["nats_url"] in text for text in outputs)
    finally:
        assert command(tmp_path, "stop").stdout == "stopped\n"


def test_a_killed_supervisor_takes_its_servers_along_and_its_data_stay(tmp_path: Path) -> None:
    deck = tmp_path / "deck.json"
    deck.write_text(json.dumps([{"id": "kept", "name": "Kept"}]))
    with background(tmp_path):
        assert answer(command(tmp_path, "run", "deck.json", "--out", "one", "--json"))["rendered"] == 1
        pids, before = service_pids(tmp_path), state(tmp_path)
        os.kill(before["pid"], signal.SIGKILL)
        ended = time.monotonic()
        wait_for(lambda: not any(map(alive, pids.values())), "the servers' end", LEAK_WAIT_S)
        assert time.monotonic() - ended < LEAK_WAIT_S
        gone = command(tmp_path, "status")
        assert gone.returncode == 4 and "platform-kit start" in gone.stderr
        assert command(tmp_path, "ping").returncode == 4
        assert command(tmp_path, "start").returncode == 0
        assert state(tmp_path)["pid"] != before["pid"] and state(tmp_path)["nats_url"] == before["nats_url"]
        # Its streams still hold the picture: nothing is drawn again for another folder.
        assert answer(command(tmp_path, "run", "deck.json", "--out", "two", "--json"))["unchanged"] == 1


def _of_a_dead_process(path: Path) -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    _rewrite(path, pid=process.pid)


def _of_a_process_id_that_was_used_again(path: Path) -> None:
    _rewrite(path, pid=os.getpid())


def _of_an_impossible_process(path: Path) -> None:
    _rewrite(path, pid=-1)


def _of_no_process(path: Path) -> None:
    _rewrite(path, pid="all of them", pid_created=None)


def _without_services(path: Path) -> None:
    path.write_text(json.dumps({key: value for key, value in _content(path).items() if key != "services"}))


def _truncated(path: Path) -> None:
    path.write_text(path.read_text()[:150])


def _content(path: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads(path.read_text())
    return found


def _rewrite(path: Path, **values: object) -> None:
    path.write_text(json.dumps({**_content(path), **values}))


STALE: dict[str, Callable[[Path], object]] = {
    "dead": _of_a_dead_process,
    "recycled": _of_a_process_id_that_was_used_again,
    "negative": _of_an_impossible_process,
    "words": _of_no_process,
    "no services": _without_services,
    "truncated": _truncated,
    "empty": lambda path: path.write_bytes(b""),
    "binary": lambda path: path.write_bytes(bytes(range(256))),
    "null": lambda path: path.write_text("null"),
    "text": lambda path: path.write_text('"running"'),
    "list": lambda path: path.write_text("[]"),
}


@pytest.fixture(scope="module")
def a_state(folder: Path) -> str:
    return state_path(folder).read_text()


@pytest.mark.parametrize("kind", STALE)
def test_a_stale_state_is_no_platform(tmp_path: Path, a_state: str, kind: str) -> None:
    path = state_path(tmp_path)
    path.parent.mkdir()
    path.write_text(a_state)
    STALE[kind](path)
    shown = command(tmp_path, "status")
    assert shown.returncode == 4 and "Traceback" not in shown.stderr and "No platform runs" in shown.stderr
    if kind in ("dead", "text"):  # a start does not look at what is in it any further
        with background(tmp_path, "--workers", "0"):
            assert command(tmp_path, "status").returncode == 0
    else:
        stopped = command(tmp_path, "stop")
        assert stopped.returncode == 0 and stopped.stdout.startswith("No platform was running")
    assert not path.exists()


def test_stopping_twice_is_one_stop(tmp_path: Path) -> None:
    with background(tmp_path, "--workers", "0"):
        pids = [state(tmp_path)["pid"], *service_pids(tmp_path).values()]
        assert command(tmp_path, "stop").stdout == "stopped\n"
        assert not any(map(alive, pids))
        again = command(tmp_path, "stop")
        assert again.returncode == 0 and again.stdout.startswith("No platform was running")


def test_stopping_one_that_is_still_starting_ends_it(tmp_path: Path) -> None:
    starting = subprocess.Popen(
        [COMMAND, "start"], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    wait_for(state_path(tmp_path).exists, "the first state")
    assert command(tmp_path, "stop").returncode == 0
    _, said = starting.communicate(timeout=60)
    assert starting.returncode in (0, 1, 4) and "Traceback" not in said
    assert command(tmp_path, "status").returncode == 4


def test_an_interrupted_start_leaves_nothing(tmp_path: Path) -> None:
    starting = subprocess.Popen(
        [COMMAND, "start"], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    wait_for(state_path(tmp_path).exists, "the first state")
    starting.send_signal(signal.SIGINT)
    _, said = starting.communicate(timeout=60)
    assert starting.returncode != 0 and "Traceback" not in said
    assert command(tmp_path, "status").returncode == 4


def test_a_start_that_fails_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(ROOT / ".config", copy / ".config")
    (copy / ".config" / "nats-server.conf").write_text("max_connections: many\n")
    here = tmp_path / "here"
    here.mkdir()
    environment = {"PLATFORM_KIT_ROOT": str(copy), "PLATFORM_KIT_BIN_DIR": str(ROOT / ".bin")}
    failed = command(here, "start", environment=environment)
    assert failed.returncode == 1 and "Traceback" not in failed.stderr
    for words in ("nats-server ended before it was ready", "exit code: 1", "config/nats-server.conf"):
        assert words in failed.stderr, failed.stderr
    # Said once, not the same once more around it.
    assert failed.stderr.count("ended before it was ready") == 1
    assert command(here, "status", environment=environment).returncode == 4
    (copy / ".config" / "nats-server.conf").write_text("")
    mended = command(here, "start", "--workers", "0", environment=environment)
    try:
        assert mended.returncode == 0, mended.stderr
    finally:
        assert command(here, "stop", environment=environment).returncode == 0
