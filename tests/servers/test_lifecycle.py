"""Start, stop, start again: in a script, in a running event loop, twice, at once, and when it fails."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from support import wait_for

from platform_kit import Platform
from platform_kit.errors import NotRunningError, StartupError, UsageError
from platform_kit.settings import Settings


def pids(platform: Platform) -> dict[str, int]:
    return {service.name: service.pid for service in platform.status().services if service.pid is not None}


def test_making_one_starts_nothing() -> None:
    platform = Platform()
    assert platform.status().state == "stopped"
    with pytest.raises(NotRunningError, match=r"platform\.start"):
        _ = platform.nats_url


def test_start_and_stop_are_idempotent() -> None:
    platform = Platform()
    assert platform.start() is platform
    first = pids(platform)
    assert set(first) == {"nats-server", "wombat", "card-renderer-1"}
    platform.start()
    assert pids(platform) == first
    status = platform.status()
    assert status.state == "running" and "render_cards" in status.pipelines
    assert all(service.memory_bytes for service in status.services)
    folder = platform.data_dir
    assert folder is not None and folder.is_dir()
    platform.stop()
    platform.stop()
    assert platform.status().state == "stopped" and not folder.exists()


def test_ports_are_kept_over_a_restart() -> None:
    platform = Platform(workers=0)
    platform.start()
    before = platform.ports
    platform.stop()
    platform.start()
    try:
        assert platform.ports == before
    finally:
        platform.stop()


def test_a_kept_folder_is_found_again(tmp_path: Path) -> None:
    async def publish(platform: Platform) -> int:
        client = await platform.connect()
        try:
            js = client.jetstream()
            await js.publish("cards.images.kept", b"still here")
            return (await js.stream_info("CARD_IMAGES")).state.messages
        finally:
            await client.close()

    async def read(platform: Platform) -> bytes | None:
        client = await platform.connect()
        try:
            message = await client.jetstream().get_msg(
                "CARD_IMAGES", subject="cards.images.kept", direct=True
            )
            return message.data
        finally:
            await client.close()

    folder = tmp_path / "data"
    with Platform(folder, workers=0) as platform:
        assert asyncio.run(publish(platform)) == 1
        ports = platform.ports
        seed = platform.credentials_file().read_bytes()
    with Platform(folder, workers=0) as platform:
        assert asyncio.run(read(platform)) == b"still here"
        assert platform.ports == ports
        assert platform.credentials_file().read_bytes() == seed


def test_a_folder_is_held_by_one_platform_at_a_time(tmp_path: Path) -> None:
    with Platform(tmp_path / "data", workers=0):
        second = Platform(tmp_path / "data", workers=0)
        with pytest.raises(StartupError, match=f"in use by the platform of process {os.getpid()}"):
            second.start()


def test_it_starts_and_stops_inside_a_running_event_loop() -> None:
    async def cell() -> str:
        with Platform(workers=0) as platform:
            client = await platform.connect()
            reply = await client.request("$SYS.REQ.USER.INFO", b"", timeout=2)
            await client.close()
            return reply.data.decode()

    assert '"account":"PLATFORM"' in asyncio.run(cell()).replace(" ", "")


def test_two_platforms_do_not_meet() -> None:
    async def streams(platform: Platform) -> set[str]:
        client = await platform.connect()
        try:
            return {info.config.name or "" for info in await client.jetstream().streams_info()}
        finally:
            await client.close()

    async def make(platform: Platform) -> None:
        client = await platform.connect()
        await client.jetstream().add_stream(name="MINE", subjects=["mine"])
        await client.close()

    with Platform() as one, Platform() as two:
        asyncio.run(make(one))
        assert set(pids(one).values()).isdisjoint(pids(two).values())
        assert set(one.ports.values()).isdisjoint(two.ports.values())
        assert "MINE" in asyncio.run(streams(one)) and "MINE" not in asyncio.run(streams(two))


def test_starting_from_two_threads_is_one_start() -> None:
    platform = Platform(workers=0)
    threads = [threading.Thread(target=platform.start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        assert len(pids(platform)) == 2
    finally:
        platform.stop()


def test_a_port_that_was_taken_meanwhile_is_replaced(tmp_path: Path) -> None:
    with Platform(tmp_path / "data", workers=0) as platform:
        ports = platform.ports
    with socket.socket() as nats, socket.socket() as wombat:
        for listener, port in ((nats, ports["nats"]), (wombat, ports["wombat"])):
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", port))
            listener.listen()
        with Platform(tmp_path / "data", workers=0) as platform:
            assert set(platform.ports.values()).isdisjoint(ports.values())


@pytest.mark.parametrize("broken", ["nats-server.conf", "wombat.yaml"])
def test_a_start_that_fails_says_why_and_leaves_nothing(tmp_path: Path, broken: str) -> None:
    config = tmp_path / "config"
    shutil.copytree(Settings.load().config_dir, config)
    (config / broken).write_text(
        "max_connections: many\n" if broken.endswith("conf") else "no_such_section: 1\n"
    )
    platform = Platform(settings=replace(Settings.load(), config_dir=config))
    with pytest.raises(StartupError) as caught:
        platform.start()
    assert caught.value.exit_code is not None and caught.value.log_tail and caught.value.command
    assert platform.status().state == "stopped"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"servers": 3}, "clusters are not there yet"),
        ({"workers": -1}, "workers=-1"),
        ({"workers": True}, "workers=True"),
        ({"durability": "eventually"}, "durability='eventually'"),
    ],
)
def test_impossible_arguments_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Platform(**arguments)  # type: ignore[arg-type]


SCRIPT = """
import sys, threading, time, os, signal
from platform_kit import Platform
delay = float(sys.argv[1])
def later():
    time.sleep(delay)
    os.kill(os.getpid(), signal.SIGINT)
platform = Platform()
print("begin", flush=True)
if delay >= 0:
    threading.Thread(target=later, daemon=True).start()
try:
    platform.start()
    print(" ".join(str(s.pid) for s in platform.status().services), platform.data_dir, flush=True)
    time.sleep(30)
except KeyboardInterrupt:
    if delay < 0 or platform.running:
        raise
    import psutil
    left = psutil.Process().children(recursive=True)
    print("interrupted", len(left), len(threading.enumerate()), flush=True)
"""


@pytest.mark.parametrize("delay_s", [0.0, 0.01, 0.03, 0.06, 0.09, 0.12])
def test_interrupting_the_start_leaves_nothing(delay_s: float, _temporary_root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(delay_s)], capture_output=True, text=True, timeout=60, check=False
    )
    # Either the start was interrupted, and cleaned up after itself, or it was complete.
    if "interrupted" in done.stdout:
        assert done.stdout.split("interrupted ")[1].split()[0] == "0", done.stdout
        assert not list(_temporary_root.glob("platform-kit-*"))
    else:
        assert "KeyboardInterrupt" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_however_the_process_ends_its_servers_end(number: int) -> None:
    with subprocess.Popen([sys.executable, "-c", SCRIPT, "-1"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "begin\n"
        *services, folder = process.stdout.readline().split()
        assert len(services) == 3
        process.send_signal(number)
        process.wait()
        ended = time.monotonic()
        wait_for(lambda: not any(alive(int(pid)) for pid in services), "the servers' end", 3.0)
        wait_for(
            lambda: not Path(folder).exists(), "the folder's end", max(0.1, ended + 3.0 - time.monotonic())
        )


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("service", ["nats-server", "wombat", "card-renderer-1"])
def test_a_part_that_is_killed_comes_back_on_its_port(service: str) -> None:
    with Platform() as platform:
        before, ports = pids(platform), platform.ports
        os.kill(before[service], signal.SIGKILL)
        wait_for(
            lambda: platform.status().state == "running" and pids(platform)[service] != before[service],
            f"the restart of {service}",
        )
        after = {item.name: item for item in platform.status().services}
        assert after[service].restarts == 1 and after[service].last_problem == "ended by signal 9"
        assert platform.ports == ports
        wait_for(lambda: platform.wombat.stream_ready("render_cards"), "the pipeline's return")


def test_a_killed_warden_is_replaced() -> None:
    with Platform(workers=0) as platform:
        mine = psutil.Process().children()
        warden = next(child for child in mine if "warden" in " ".join(child.cmdline()))
        warden.kill()
        wait_for(
            lambda: any(
                "warden" in " ".join(child.cmdline())
                for child in psutil.Process().children()
                if child.pid != warden.pid and child.status() != psutil.STATUS_ZOMBIE
            ),
            "another warden",
        )
        assert platform.status().state == "running"


def test_the_status_has_a_text_and_an_html_twin(tmp_path: Path) -> None:
    with Platform(tmp_path / "data<b>") as platform:
        text, html = repr(platform), platform._repr_html_()
        for word in ("nats-server", "wombat", "card-renderer-1", "running", platform.nats_url):
            assert word in text and word in html
        assert "data<b>" not in html and "data&lt;b&gt;" in html


def test_logs_are_found_by_service(tmp_path: Path) -> None:
    with Platform() as platform:
        assert "Server is ready" in platform.logs("nats-server")
        assert platform.logs("card-renderer") == platform.logs("card-renderer-1")
        with pytest.raises(UsageError, match="nats-server"):
            platform.logs("postgres")
