"""Workers of one's own on a running platform: started, scaled, replaced, watched, and run for others."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from commands import COMMAND, alive, background, command
from support import wait_for

from platform_kit import Deck, Platform
from platform_kit.errors import BinaryError, BuildError, NotRunningError, StartupError, UsageError
from platform_kit.servers.process import descendants
from platform_kit.workers.running import WorkerStats
from platform_kit.workers.scaffold import new_worker


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The starting module, as it is written."""
    return new_worker("weigher", tmp_path_factory.mktemp("modules"))


@pytest.fixture
def own() -> Iterator[Platform]:
    """A platform whose workers a test may do anything to."""
    with Platform(workers=0) as running:
        yield running


async def ask(platform: Platform, subject: str, *bodies: bytes) -> list[bytes]:
    client = await platform.connect()
    try:
        replies = await asyncio.gather(*(client.request(subject, body, timeout=10) for body in bodies))
        return [bytes(reply.data) for reply in replies]
    finally:
        await client.close()


def pids(platform: Platform, name: str) -> dict[str, int]:
    services = platform.status().services
    return {item.name: item.pid for item in services if item.name.startswith(f"{name}-") and item.pid}


def by_instance(platform: Platform) -> dict[str, WorkerStats]:
    return {row.instance: row for row in platform.workers().rows}


# ------------------------------------------------------------------------------ on a started platform


def test_a_module_is_built_and_run_and_seen_everywhere(own: Platform, module: Path) -> None:
    workers = own.start_workers(module, count=2)
    assert (workers.name, workers.subject, workers.count) == ("weigher", "workers.weigher", 2)
    found = pids(own, "weigher")
    assert set(found) == {"weigher-1", "weigher-2"} and all(map(alive, found.values()))
    card = b'{"id":"7","name":"Night Heron"}'
    assert asyncio.run(ask(own, "workers.weigher", card)) == [b'{"id":"7","words":2,"seconds":0.5}']
    (one, two) = own.workers().rows
    assert (one.name, one.instance, one.version, one.build) == (
        "weigher",
        "weigher-1",
        "0.1.0",
        workers.program.build,
    )
    assert {one.pid, two.pid} == set(found.values()) and one.requests + two.requests == 1
    assert own.workers().frame["requests"].sum() == 1
    versions = {item.name: item.version for item in own.status().services}
    assert versions["weigher-1"] == "0.1.0" and own.status().state == "running"
    assert "ready" in own.logs("weigher") and own.logs("weigher-2") != own.logs("weigher-1")
    assert {answer.name: answer.ok for answer in own.ping()}["weigher"]


def test_the_processes_show_themselves_as_text_and_html(own: Platform) -> None:
    workers = own.start_workers("echo-worker", count=2)
    text, html = repr(workers), workers._repr_html_()
    for word in ("echo-worker-1", "echo-worker-2", "workers.echo", "2 running", "1.0.0", "MiB"):
        assert word in text and word in html
    table = own.workers()
    for word in ("echo-worker-1", "requests", "average ms", "2 processes of 1 worker"):
        assert word in repr(table) and word in table._repr_html_()
    own.scale_workers("echo-worker", 0)
    assert "0 running" in repr(workers) and workers.processes == []
    assert (
        "no worker answers" in repr(own.workers()) and len(own.workers()) == 0 and own.workers().frame.empty
    )


def test_the_shipped_pipeline_of_a_new_worker_asks_it(own: Platform, module: Path) -> None:
    own.start_workers(module)
    own.deploy(module / "weigher.yaml")

    async def through(*bodies: bytes) -> dict[str, bytes]:
        client = await own.connect()
        try:
            subscription = await client.subscribe("weigher.*")
            await client.flush()
            found: dict[str, bytes] = {}
            for body in bodies:
                await client.publish("weigher.requested", body)
            while len(found) < len(bodies):
                message = await subscription.next_msg(timeout=10)
                if message.subject != "weigher.requested":
                    found[message.subject] = bytes(message.data)
            return found
        finally:
            await client.close()

    found = asyncio.run(through(b'{"id":"7","name":"Night Heron"}', b'{"id":"8"}'))
    assert json.loads(found["weigher.answered"])["words"] == 2
    assert json.loads(found["weigher.rejected"]) == {"column": "name", "reason": "the card has no name"}


def test_a_killed_process_comes_back(own: Platform) -> None:
    own.start_workers("echo-worker", count=2)
    before = pids(own, "echo-worker")
    os.kill(before["echo-worker-2"], signal.SIGKILL)
    wait_for(
        lambda: own.status().state == "running" and pids(own, "echo-worker") != before, "the process's return"
    )
    after = {item.name: item for item in own.status().services}
    assert after["echo-worker-2"].restarts == 1 and after["echo-worker-2"].last_problem == "ended by signal 9"
    assert pids(own, "echo-worker")["echo-worker-1"] == before["echo-worker-1"]


def test_scaling_starts_and_ends_only_what_it_has_to(own: Platform) -> None:
    workers = own.start_workers("echo-worker")
    first = pids(own, "echo-worker")
    own.scale_workers("echo-worker", 3)
    three = pids(own, "echo-worker")
    assert len(three) == workers.count == 3 and three.items() >= first.items()
    own.scale_workers("echo-worker", 2)
    assert pids(own, "echo-worker").items() <= three.items() and not alive(three["echo-worker-3"])
    # Asked for the same again: nothing happens. Asked for more: the rest is added.
    again = own.start_workers("echo-worker", count=2)
    assert pids(own, "echo-worker") == {name: three[name] for name in ("echo-worker-1", "echo-worker-2")}
    assert own.start_workers("echo-worker", count=3).count == again.count == 3


def test_workers_called_otherwise_than_they_answer_are_named(own: Platform) -> None:
    own.start_workers("echo-worker")
    with pytest.raises(UsageError, match="answer as 'echo' are called 'echo-worker' here") as caught:
        own.scale_workers("echo", 1)
    assert "scale_workers('echo-worker', ...)" in caught.value.hint
    with pytest.raises(UsageError, match=r"env=\['a'\]"):
        own.start_workers("echo-worker", env=["a"])  # type: ignore[arg-type]


def test_scaling_while_requests_are_under_way_loses_none(own: Platform) -> None:
    own.start_workers("echo-worker", count=2)
    bodies = [b"%d" % number for number in range(6000)]

    async def flow() -> list[bytes]:
        client = await own.connect()
        waiting = asyncio.Semaphore(64)

        async def one(body: bytes) -> bytes:
            async with waiting:
                return bytes((await client.request("workers.echo", body, timeout=10)).data)

        try:
            return await asyncio.gather(*map(one, bodies))
        finally:
            await client.close()

    with ThreadPoolExecutor(1) as pool:
        replies = pool.submit(asyncio.run, flow())
        for count in (4, 1, 3, 1, 2):
            own.scale_workers("echo-worker", count)
        assert replies.result(60) == bodies


def test_the_card_renderer_scales_while_a_run_is_going() -> None:
    deck = Deck([{"id": str(number), "name": f"Card {number}"} for number in range(60)])
    with Platform() as platform:
        run = platform.generate(deck, wait=False, progress=False)
        for count in (3, 1, 2):
            platform.scale_workers("card-renderer", count)
        run.wait(100)
        assert run.counts["requested"] == 60 == run.counts["rendered"] and run.counts["rejected"] == 0
        assert set(pids(platform, "card-renderer")) == {"card-renderer-1", "card-renderer-2"}


def test_a_newer_build_takes_over_without_a_gap(own: Platform, tmp_path: Path) -> None:
    folder = new_worker("liar", tmp_path)
    first = own.start_workers(folder, count=2)
    before = pids(own, "liar")
    main = folder / "main.go"
    main.write_text(main.read_text().replace("0.1.0", "0.2.0"))
    asked: list[bytes] = []
    stop = False

    async def flow() -> None:
        client = await own.connect()
        try:
            while not stop:
                reply = await client.request("workers.liar", b'{"id":"1","name":"a"}', timeout=10)
                asked.append(bytes(reply.data))
        finally:
            await client.close()

    with ThreadPoolExecutor(1) as pool:
        flowing = pool.submit(asyncio.run, flow())
        wait_for(lambda: bool(asked), "the first answer")
        second = own.start_workers(folder, count=2)
        stop = True
        flowing.result(30)
    assert set(asked) == {b'{"id":"1","words":1,"seconds":0.25}'}
    assert second.program.version == "0.2.0" and second.program.build != first.program.build
    assert {row.version for row in own.workers().rows} == {"0.2.0"} and len(own.workers()) == 2
    assert not any(map(alive, before.values())) and second.count == 2
    # What cannot be built leaves what runs alone.
    running = pids(own, "liar")
    main.write_text("package main\n\nfunc main() { lie }\n")
    with pytest.raises(BuildError, match="undefined: lie"):
        own.start_workers(folder, count=2)
    assert pids(own, "liar") == running


def test_names_keep_two_programs_apart(own: Platform, tmp_path: Path) -> None:
    own.start_workers("echo-worker", name="mine")
    other = tmp_path / "echo"
    other.write_bytes(Path(own.start_workers("echo-worker", name="mine").program.binary).read_bytes())
    other.chmod(0o755)
    with pytest.raises(UsageError, match="Another worker runs as 'mine' already") as caught:
        own.start_workers(other, name="mine")
    assert "name=" in caught.value.hint
    assert own.start_workers(other, name="yours").count == 1
    assert set(by_instance(own)) == {"mine-1", "yours-1"}
    own.scale_workers("mine", 0)
    assert own.start_workers(other, name="mine").program.binary == other


def test_further_variables_reach_the_processes_and_nothing_else_does(own: Platform) -> None:
    os.environ["SECRET_OF_THE_NOTEBOOK"] = "hush"
    try:
        own.start_workers("echo-worker", env={"MODEL": "small"})
    finally:
        del os.environ["SECRET_OF_THE_NOTEBOOK"]
    (pid,) = pids(own, "echo-worker").values()
    environ = psutil.Process(pid).environ()
    assert environ["MODEL"] == "small" and "SECRET_OF_THE_NOTEBOOK" not in environ
    seed = own.credentials_file("worker").read_text().strip()
    assert seed not in json.dumps([psutil.Process(pid).cmdline(), environ])
    own.start_workers("echo-worker", env={"MODEL": "large"})
    (other,) = pids(own, "echo-worker").values()
    assert other != pid and psutil.Process(other).environ()["MODEL"] == "large"


# ------------------------------------------------------------------------------ what goes wrong


@pytest.mark.parametrize("count", [0, -1, 257, True, "2", 1.0])
def test_a_count_out_of_range_is_said(own: Platform, count: object) -> None:
    with pytest.raises(UsageError, match="count="):
        own.start_workers("echo-worker", count=count)  # type: ignore[arg-type]


def test_who_is_no_worker_or_unknown_is_said(own: Platform, tmp_path: Path) -> None:
    with pytest.raises(BinaryError, match="is not a worker"):
        own.start_workers("/bin/sh")
    with pytest.raises(UsageError, match=r"no go\.mod"):
        own.start_workers(tmp_path)
    with pytest.raises(UsageError, match="There are no workers 'nobody'") as caught:
        own.scale_workers("nobody", 2)
    assert "card-renderer" in caught.value.hint
    with pytest.raises(UsageError, match="count=-1"):
        own.scale_workers("card-renderer", -1)
    stopped = Platform()
    for call in (
        lambda: stopped.start_workers("echo-worker"),
        lambda: stopped.scale_workers("a", 1),
        stopped.workers,
    ):
        with pytest.raises(NotRunningError, match=r"platform\.start"):
            call()


DESCRIBE = (
    '{"name":"sad","version":"1.0.0","build":"","protocol":1,"transports":["serve"],"max_request_bytes":9}'
)


@pytest.mark.parametrize(
    ("then", "seen"),
    [
        ("echo no model at /models/small >&2; exit 3", "no model at /models/small"),
        ("echo reading the model; sleep 60", "did not answer on \\$SRV.PING.sad in time"),
    ],
)
def test_one_that_does_not_get_ready_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, then: str, seen: str
) -> None:
    monkeypatch.setenv("PLATFORM_KIT_STARTUP_TIMEOUT_S", "3")
    path = tmp_path / "sad"
    path.write_text(f"#!/bin/sh\nif [ \"$1\" = describe ]; then echo '{DESCRIBE}'; exit; fi\n{then}\n")
    path.chmod(0o755)
    with Platform(workers=0) as platform:
        before = descendants(os.getpid())
        with pytest.raises(StartupError, match=seen) as caught:
            platform.start_workers(path, count=2)
        assert "the model" in str(caught.value) or "no model" in str(caught.value)
        assert descendants(os.getpid()) == before
        assert platform.status().state == "running" and pids(platform, "sad") == {}


def test_stopping_and_starting_the_platform_forgets_them(module: Path) -> None:
    platform = Platform(workers=0).start()
    try:
        workers = platform.start_workers(module)
        (pid,) = pids(platform, "weigher").values()
        platform.stop()
        assert not alive(pid) and workers.count == 0
        platform.start()
        assert pids(platform, "weigher") == {} and len(platform.workers()) == 0
    finally:
        platform.stop()


# ------------------------------------------------------------------------------ for servers of others


def test_on_an_attached_platform_they_are_children_of_this_process(own: Platform) -> None:
    with Platform.attach(own.nats_url, credentials=own.credentials_file()) as attached:
        workers = attached.start_workers("echo-worker", count=2)
        found = pids(attached, "echo-worker")
        assert len(found) == 2 and pids(own, "echo-worker") == {}
        mine = f"echo-worker-1-{socket.gethostname()}-{os.getpid()}"
        assert by_instance(own)[mine].pid == found[mine]
        # With the worker's own key, which may do less than ours.
        environ = psutil.Process(found[mine]).environ()
        assert environ["PLATFORM_NKEY_FILE"] == str(own.credentials_file("worker"))
        attached.scale_workers("echo-worker", 1)
        assert workers.count == 1 and "ready" in attached.logs("echo-worker")
        assert attached.status().state == "running" and attached.status().attached
        assert asyncio.run(ask(own, "workers.echo", b"hello")) == [b"hello"]
    assert not any(map(alive, found.values()))
    assert len(own.workers()) == 0 and own.status().state == "running"


def test_workers_of_others_are_not_scaled_from_here(own: Platform) -> None:
    own.start_workers("echo-worker", name="echo")
    (pid,) = pids(own, "echo").values()
    with Platform.attach(own.nats_url, credentials=own.credentials_file()) as attached:
        with pytest.raises(
            UsageError, match=rf"run by others at nats://.*: echo-1 \(process {pid}\)"
        ) as caught:
            attached.scale_workers("echo", 2)
        assert "start_workers('echo'" in caught.value.hint
        with pytest.raises(UsageError, match="There are no workers 'nobody'"):
            attached.scale_workers("nobody", 2)


def test_the_platform_of_a_folder_is_named_when_its_workers_are_to_be_scaled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with background(tmp_path):
        monkeypatch.chdir(tmp_path)
        with Platform.attach() as attached:
            with pytest.raises(UsageError, match=f"run by the platform of {tmp_path}.*card-renderer-1"):
                attached.scale_workers("card-renderer", 2)
            attached.start_workers("card-renderer", count=1, name="helper")
            names = [service.name for service in attached.status().services]
            mine = f"helper-1-{socket.gethostname()}-{os.getpid()}"
            assert names == ["nats-server", "wombat", "card-renderer-1", mine]
            assert "ready" in attached.logs(mine)
            assert len(attached.workers()) == 2


CHILD = """
import sys
from platform_kit import Platform
platform = Platform.attach(sys.argv[1], credentials=sys.argv[2])
workers = platform.start_workers("echo-worker", count=2)
print(*(process.pid for process in workers.processes), flush=True)
sys.stdin.read()
"""


def test_a_killed_kernel_takes_the_workers_it_started_along(own: Platform) -> None:
    line = [sys.executable, "-c", CHILD, own.nats_url, str(own.credentials_file())]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        started = [int(word) for word in child.stdout.readline().split()]
        assert len(started) == 2 and all(map(alive, started))
        child.send_signal(signal.SIGKILL)
        child.wait()
        wait_for(lambda: not any(map(alive, started)), "the workers' end", 3.0)


def joining(platform: Platform, *options: str) -> subprocess.Popen[str]:
    line = [str(COMMAND), "worker", "echo-worker", "--nats", platform.nats_url, *options]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_one_joins_from_a_terminal_and_drains_on_sigterm(own: Platform) -> None:
    seed = own.credentials_file("worker")
    with joining(own, "--nkey", str(seed), "--instance", "elsewhere", "--concurrency", "3") as process:
        wait_for(lambda: "elsewhere" in by_instance(own), "the worker's answer", 30)
        assert by_instance(own)["elsewhere"].pid == process.pid  # it became the worker
        assert seed.read_text().strip() not in json.dumps(
            [psutil.Process(process.pid).cmdline(), psutil.Process(process.pid).environ()]
        )
        assert asyncio.run(ask(own, "workers.echo", b"far")) == [b"far"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


@pytest.mark.parametrize(
    ("options", "code", "seen"),
    [
        (["--nats", "nats://nats.example.com"], 2, "not encrypted"),
        (["--nats", "nats://127.0.0.1:1", "--creds", "no.creds"], 2, r"no\.creds cannot be read"),
        (["--nats", "nats://127.0.0.1:1", "--creds", "a", "--nkey", "b"], 2, "contradict"),
        (["--nats", "nats://127.0.0.1:1"], 4, r"lets us in at nats://127\.0\.0\.1:1(.|\n)*check the address"),
    ],
)
def test_one_that_cannot_join_says_why(tmp_path: Path, options: list[str], code: int, seen: str) -> None:
    done = command(tmp_path, "worker", "echo-worker", *options)
    assert done.returncode == code and re.search(seen, done.stderr), done.stderr


@pytest.mark.parametrize(
    ("role", "seen"), [("system", "where nobody asks a worker"), ("viewer", "refuses the worker's subjects")]
)
def test_one_that_nobody_could_reach_does_not_call_itself_ready(own: Platform, role: str, seen: str) -> None:
    seed = Path(own.credentials_file()).with_name(f"{role}.nk")
    with joining(own, "--nkey", str(seed)) as process:
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 1 and seen in said and "msg=ready" not in said, said


def test_the_workers_started_here_are_told_from_the_platforms_own(own: Platform) -> None:
    with Platform.attach(own.nats_url, credentials=own.credentials_file()) as attached:
        own.start_workers("echo-worker")
        attached.start_workers("echo-worker")
        (shown,) = [item for item in attached.status().services if "echo" in item.name]
        mine = by_instance(attached)[shown.name]
        assert shown.name != "echo-worker-1" and (mine.pid, mine.version) == (shown.pid, shown.version)
