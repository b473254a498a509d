"""``platform-kit`` as a person runs it: what it prints, where, and its exit codes."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from commands import COMMAND, ROOT, answer, background, command, service_pids, state
from support import wait_for

from platform_kit import Platform

SAMPLE = ROOT / "notebooks" / "data"
KEYS = {"requested", "rendered", "unchanged", "rejected", "seconds", "output"}
GOOD = """
input:
  generate: { mapping: 'root.text = "good"', interval: 1h }
output:
  drop: {}
"""
TESTED = (
    GOOD
    + """
pipeline:
  processors:
    - mapping: root.text = this.text.uppercase()
tests:
  - name: it shouts
    input_batch: [ { json_content: { text: a } } ]
    output_batches: [ [ { json_equals: { text: %s } } ] ]
"""
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with background(tmp_path_factory.mktemp("cli")) as folder:
        (folder / "good.yaml").write_text(GOOD)
        (folder / "tested.yaml").write_text(TESTED % "A")
        (folder / "failing.yaml").write_text(TESTED % "a")
        (folder / "broken.yaml").write_text(GOOD + "pipeline:\n  processors:\n    - mappingg: root = this\n")
        rows = [{"id": f"card-{number}", "name": f"Card {number}"} for number in range(3)]
        (folder / "deck.json").write_text(json.dumps(rows))
        (folder / "broken.json").write_text('[{"id": "torn"')
        yield folder


# ------------------------------------------------------------------------------ exit codes


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ("status", 0),
        ("ping", 0),
        ("logs", 0),
        ("logs wombat -n 2", 0),
        ("lint good.yaml", 0),
        ("test tested.yaml", 0),
        ("test good.yaml", 0),
        ("--help", 0),
        ("run --help", 0),
        ("lint broken.yaml", 1),
        ("test failing.yaml", 1),
        ("deploy broken.yaml", 1),
        ("run broken.json", 1),
        ("run .", 1),
        ("", 2),
        ("dance", 2),
        ("status --yaml", 2),
        ("logs postgres", 2),
        ("logs wombat -n 0", 2),
        ("monitor --count 0", 2),
        ("run", 2),
        ("run missing.csv", 2),
        ("run deck.json --template baroque", 2),
        ("run deck.json --seed many", 2),
        ("run deck.json --seed 99999999999999999999", 2),
        ("run deck.json --workers 0", 2),
        ("run deck.json extra", 2),
        ("start --durability eventually", 2),
        ("start --workers -1", 2),
        ("lint missing.yaml", 2),
        ("test missing.yaml", 2),
        ("deploy missing.yaml", 2),
        ("deps --full --slim", 2),
    ],
)
def test_exit_codes(folder: Path, arguments: str, code: int) -> None:
    done = command(folder, *arguments.split())
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    if code:
        # What is wrong goes to stderr, and says what to do.
        assert done.stderr.strip() if arguments else "Usage" in done.stdout + done.stderr
        assert "{" not in done.stdout
    else:
        assert done.stdout.strip()


@pytest.mark.parametrize(
    "arguments", ["status", "status --json", "ping", "logs", "monitor", "nats", "deploy good.yaml"]
)
def test_what_needs_a_platform_says_that_none_runs(folder: Path, tmp_path: Path, arguments: str) -> None:
    (tmp_path / "good.yaml").write_text(GOOD)
    done = command(tmp_path, *arguments.split())
    assert done.returncode == 4 and done.stdout == ""
    assert "platform-kit start" in done.stderr and "Traceback" not in done.stderr


def test_as_a_module_it_is_the_same_command(folder: Path) -> None:
    for arguments in (("lint", "good.yaml"), ("lint", "broken.yaml"), ("run", "missing.csv"), ("dance",)):
        module, script = command(folder, *arguments, module=True), command(folder, *arguments)
        assert module.returncode == script.returncode
        assert module.stdout == script.stdout
        assert module.stderr.replace("python -m platform_kit", "platform-kit") == script.stderr


def test_a_wrong_setting_is_wrong_usage(folder: Path) -> None:
    done = command(folder, "lint", "good.yaml", environment={"PLATFORM_KIT_COLOUR": "red"})
    assert done.returncode == 2 and "PLATFORM_KIT_COLOUR" in done.stderr and "Traceback" not in done.stderr


# ------------------------------------------------------------------------------ the running platform


def test_ping_says_of_each_part_whether_it_answers(folder: Path) -> None:
    found = answer(command(folder, "ping", "--json"))
    assert found["ok"] is True
    answers = {item["name"]: item for item in found["answers"]}
    assert set(answers) == {"nats", "jetstream", "wombat", "card-renderer"}
    assert all(item["ok"] and 0 < item["seconds"] < 5 and item["detail"] for item in answers.values())
    assert "render_cards" in answers["wombat"]["detail"] and "4 streams" in answers["jetstream"]["detail"]


def test_ping_fails_when_a_part_does_not_answer(tmp_path: Path) -> None:
    with background(tmp_path, "--workers", "0"):
        done = command(tmp_path, "ping", "--json")
        assert done.returncode == 1
        answers = {item["name"]: item["ok"] for item in answer(done)["answers"]}
        assert answers == {"nats": True, "jetstream": True, "wombat": True, "card-renderer": False}
        assert command(tmp_path, "ping").returncode == 1


def test_logs_are_those_of_the_service(folder: Path) -> None:
    assert "Server is ready" in command(folder, "logs", "nats-server").stdout
    assert len(command(folder, "logs", "wombat", "-n", "1").stdout.splitlines()) == 1
    everything = command(folder, "logs").stdout
    assert re.findall(r"^== (.*)$", everything, re.MULTILINE) == [*service_pids(folder)]


def test_monitor_prints_messages_as_they_pass_and_ends_after_the_count(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    with Platform.attach() as platform, _monitor(folder, "tests.>", "--count", "2") as process:
        payloads = [b"plain", b"\x1b[31mred\xff\nsecond line", b"never shown"]
        asyncio.run(_publish(platform, "tests.monitor", payloads))
        shown, _ = process.communicate(timeout=30)
        assert process.returncode == 0
        lines = shown.splitlines()
        assert len(lines) == 2 and all(line.startswith("tests.monitor  ") for line in lines)
        assert "plain" in lines[0] and "\x1b" not in lines[1] and "\\xff" in lines[1]


def test_monitor_ends_with_an_interrupt(folder: Path) -> None:
    with _monitor(folder) as process:
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
        assert process.returncode == 0 and "Traceback" not in said


@contextmanager
def _monitor(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [COMMAND, "monitor", *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None and process.stderr.readline().startswith("listening to ")
        yield process
    finally:
        process.kill()
        process.communicate()


async def _publish(platform: Platform, subject: str, payloads: list[bytes]) -> None:
    client = await platform.connect()
    try:
        for payload in payloads:
            await client.publish(subject, payload)
        await client.flush()
    finally:
        await client.close()


def test_a_pipeline_is_linted_tested_and_deployed(folder: Path) -> None:
    assert command(folder, "test", "tested.yaml").stdout == "tested.yaml: 1 tests passed\n"
    failing = command(folder, "test", "failing.yaml")
    assert "it shouts" in failing.stderr and "failing.yaml" in failing.stderr
    broken = command(folder, "lint", "broken.yaml")
    assert "line 8, column 1" in broken.stderr and "mappingg" in broken.stderr and "^" in broken.stderr
    deployed = command(folder, "deploy", "good.yaml", "--name", "by-another-name")
    assert deployed.returncode == 0 and deployed.stdout.startswith("by-another-name: deployed in ")
    assert "by-another-name" in answer(command(folder, "status", "--json"))["pipelines"]
    assert command(folder, "deploy", "good.yaml", "--name", "../x").returncode == 1


@pytest.mark.timeout(600)  # it is built at its first use
def test_nats_is_the_real_cli_and_leaves_the_users_contexts_alone(folder: Path, tmp_path: Path) -> None:
    assert command(folder, "nats", "--version", timeout_s=500).returncode == 0
    contexts = tmp_path / "config" / "nats" / "context"
    contexts.mkdir(parents=True)
    (contexts / "mine.json").write_text('{"url": "nats://127.0.0.1:1"}')
    (tmp_path / "config" / "nats" / "context.txt").write_text("mine")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    environment = {
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache")),
        "NATS_CONTEXT": "mine",
        "NATS_URL": "nats://127.0.0.1:1",
    }
    streams = command(folder, "nats", "stream", "ls", "--names", environment=environment)
    assert streams.returncode == 0, streams.stderr
    assert set(streams.stdout.split()) >= {"CARD_REQUESTS", "CARD_RESULTS", "CARD_IMAGES"}
    services = command(folder, "nats", "micro", "ls", environment=environment)
    assert services.returncode == 0 and "card-renderer" in services.stdout, services.stderr
    assert (
        command(folder, "nats", "stream", "info", "NO_SUCH_STREAM", environment=environment).returncode != 0
    )
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


# ------------------------------------------------------------------------------ run


def test_run_ends_with_one_json_object_and_does_nothing_twice(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for rendered, unchanged in ((3, 0), (0, 3)):
        done = command(folder, "run", "deck.json", "--out", str(out), "--json")
        assert done.returncode == 0 and len(done.stdout.splitlines()) == 1
        found = answer(done)
        assert set(found) == KEYS
        assert (found["requested"], found["rendered"], found["unchanged"]) == (3, rendered, unchanged)
        assert found["rejected"] == 0 and found["seconds"] > 0 and Path(found["output"]) == out
    assert len(list((out / "cards").glob("*.png"))) == 3
    assert {path.name for path in out.iterdir()} >= {"cards", "contact-sheet.png", "report.html"}


def test_run_for_a_person_shows_where_everything_is(folder: Path) -> None:
    done = command(folder, "run", "deck.json")
    assert done.returncode == 0 and "requested  3 = " in done.stdout
    paths = re.findall(r"^  \S.*?  +(/.*)$", done.stdout, re.MULTILINE)
    assert len(paths) >= 4 and all(Path(path).exists() for path in paths)
    assert all(Path(path).is_relative_to(folder / "output" / "deck") for path in paths)


def test_a_broken_deck_is_accounted_for_to_the_last_row(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = command(folder, "run", str(SAMPLE / "broken.csv"), "--out", str(out), "--json")
    assert done.returncode == 3, done.stderr
    found = answer(done)
    assert found["rejected"] > 0 and found["rendered"] > 0
    assert found["requested"] == found["rendered"] + found["unchanged"] + found["rejected"]
    again = command(folder, "run", str(SAMPLE / "broken.csv"), "--out", str(out), "--json")
    assert again.returncode == 3
    assert {**answer(again), "seconds": 0} == {
        **found,
        "seconds": 0,
        "rendered": 0,
        "unchanged": found["rendered"],
    }


@pytest.mark.parametrize(
    "name", ["broken_empty.csv", "broken_missing_columns.csv", "broken.xlsx", "broken.json"]
)
def test_a_broken_file_is_one_clear_error(folder: Path, tmp_path: Path, name: str) -> None:
    done = command(folder, "run", str(SAMPLE / name), "--out", str(tmp_path / "out"), "--json")
    assert done.returncode == 1 and done.stdout == ""
    assert name in done.stderr and "→" in done.stderr and len(done.stderr.splitlines()) <= 4, done.stderr
    assert not (tmp_path / "out").exists()


def test_an_output_that_cannot_be_written_is_one_clear_error(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    done = command(folder, "run", "deck.json", "--out", str(tmp_path / "file"))
    assert done.returncode == 1 and "Traceback" not in done.stderr and "file" in done.stderr


def test_without_a_running_platform_run_has_one_of_its_own(folder: Path, tmp_path: Path) -> None:
    done = command(
        tmp_path, "run", str(folder / "deck.json"), "--template", "minimal", "--seed", "3", "--json"
    )
    assert done.returncode == 0, done.stderr
    found = answer(done)
    assert found["rendered"] == 3 and Path(found["output"]) == tmp_path / "output" / "deck"
    assert not (tmp_path / ".platform").exists()


def test_an_interrupted_run_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    rows = [{"id": f"card-{number}", "name": f"Card {number}"} for number in range(400)]
    (tmp_path / "large.json").write_text(json.dumps(rows))
    process = subprocess.Popen(
        [COMMAND, "run", "large.json", "--out", "out", "--json"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    cards = tmp_path / "out" / "cards"
    wait_for(lambda: cards.is_dir() and any(cards.glob("*.png")), "the first card", 30)
    process.send_signal(signal.SIGINT)
    shown, said = process.communicate(timeout=30)
    assert process.returncode not in (0, 3) and shown == "" and "Traceback" not in said


def test_nothing_a_command_starts_shows_a_secret(folder: Path, tmp_path: Path) -> None:
    keys = [path.read_text().strip() for path in (folder / ".platform/data/credentials").iterdir()]
    with _monitor(folder) as process:
        shown = [json.dumps([one.cmdline(), one.environ()]) for one in _mine(folder, process.pid)]
        process.send_signal(signal.SIGINT)
        shown += process.communicate(timeout=30)
    assert len(shown) >= 6 and not any(key in text for key in keys for text in shown)


def _mine(folder: Path, *others: int) -> list[psutil.Process]:
    supervisor = psutil.Process(state(folder)["pid"])
    return [supervisor, *supervisor.children(recursive=True), *map(psutil.Process, others)]


def test_doctor_knows_every_binary(folder: Path) -> None:
    done = command(folder, "doctor", "--json")
    found = answer(done)
    assert done.returncode == 0, done.stdout
    assert {item["name"] for item in found["binaries"]} >= {"nats-server", "wombat", "card-renderer", "nats"}
    assert all(item["version"] for item in found["binaries"] if item["state"] == "ready")
