"""The check of workers: each fault is named by its check, and a worker without one passes."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from commands import answer, command

from platform_kit import check_worker
from platform_kit.errors import UsageError
from platform_kit.workers.check_report import WorkerReport

SOURCE = Path(__file__).with_name("odd_worker.py").read_text()


def odd_worker(folder: Path, fault: str) -> Path:
    """An executable with this fault."""
    path = folder / "odd"
    path.write_text(
        f"#!{sys.executable}\nFAULT = {fault!r}\n" + SOURCE.partition('"""\n\n')[2].partition("\n\n")[2]
    )
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("worker", ["echo-worker", "card-renderer"])
def test_the_kits_own_workers_pass(worker: str) -> None:
    report = check_worker(worker)
    assert report.ok and len(report.checks) >= 40, report
    assert {check.transport for check in report.checks} == {"describe", "serve", "subprocess", "command"}
    assert {check.verdict for check in report.checks} == {"passed"}, report
    assert report.program is not None and report.program.build


def test_a_worker_in_another_language_passes(tmp_path: Path) -> None:
    report = check_worker(odd_worker(tmp_path, ""))
    assert report.ok and len(report.checks) >= 40, report


SUBPROCESS = {
    "hangs": ("a request", "no reply after 6 s"),
    "hangs on nothing": ("an empty request", "no reply after 6 s"),
    "drops nothing": ("an empty request", "no reply after 6 s"),
    "crashes": ("a request", "ended by SIGKILL"),
    "crashes on nothing": ("an empty request", "ended by SIGKILL"),
    "raises": ("a request", "exit code 1 .*has a cost of 1/0"),
    "is slow with nothing": ("replies in time", r"took \d"),
    "writes on stderr": ("quiet stderr", "loading the model"),
    "prints": ("quiet stdout", "got a request"),
    "ends lines": ("quiet stdout", "1 more bytes: '⏎'"),
    "counts too much": ("framing", "says it has 6 bytes, but only 2 came"),
    "counts too little": ("quiet stdout", "1 more bytes: '}'"),
    "is little-endian": ("framing", "02 00 00 00 is little-endian"),
    "answers twice": ("a request", "more replies than requests"),
    "mixes up the order": ("order", "not the one its request gets"),
    "knows no limit": ("a request above the limit", "1,048,577 bytes"),
    "has codes of its own": ("error envelope", "its code is '400'"),
    "ends badly": ("end of input", "exit code 3"),
    "stays": ("end of input", "still ran"),
    "answers what is torn": ("a torn frame", "ended inside a length"),
    "does not mind what is torn": ("a torn frame", "exit code 0"),
    "ignores SIGTERM": ("stop on SIGTERM", "still ran"),
}
COMMAND = {
    "hangs": ("a message", "did not end within 6 s"),
    "crashes on nothing": ("exit codes", "ended by SIGKILL"),
    "raises": ("exit codes", "exit code 1"),
    "is slow with nothing": ("replies in time", r"took \d"),
    "writes on stderr": ("quiet stderr", "loading the model"),
    "answers and fails": ("a message above the limit", "4 bytes on stdout"),
    "fails without a word": ("quiet stderr", "wrote nothing on stderr"),
    "has codes of its own": ("exit codes", "exit code 1"),
    "knows no limit": ("a message above the limit", "exit code 0"),
    "takes any word": ("wrong usage", "exit code 0"),
    "ignores SIGTERM": ("stop on SIGTERM", "still ran"),
}
SERVE = {
    "hangs": ("a request", "no reply after 6 s"),
    "crashes on nothing": ("an empty request", "ended by SIGKILL"),
    "raises on nothing": ("an empty request", "no reply after 6 s"),
    "is not there": ("a request", r"Nobody listened on workers\.odd"),
    "answers twice": ("a request", "answered twice"),
    "does not answer pings": ("$SRV.PING", r"though workers\.odd is answered"),
    "says no process id": ("$SRV.PING", "answers with the metadata"),
    "does not count": ("$SRV.STATS", "counts 0"),
    "is in no queue group": ("queue group", "answered twice"),
    "is deaf to deadlines": ("a deadline in the header", r"Request-Timeout: 50ms was answered after \d"),
    "knows no limit": ("a request above the limit", "1,048,577 bytes"),
    "has codes of its own": ("error envelope", "its code is 'TOO LARGE'"),
    "needs a reply subject": ("a request without reply subject", "exit code 7"),
    "mixes up replies": ("no mixed-up replies", "another reply than it gets alone"),
    "is slow with nothing": ("replies in time", r"took \d"),
    "drops what it has": ("stop on SIGTERM", "had no reply"),
    "stays": ("stop on SIGTERM", "still ran"),
}
LIMIT_S, DRAIN_S = 6.0, 4.0
"""Long for an interpreter's start on a busy machine; slow is what takes longer than half the limit."""

AT_ONCE = 6
"""Checks of faulty workers mostly wait for what does not come."""


@dataclass(frozen=True)
class Faulty:
    """A worker with one fault, and the check that names it."""

    transport: str
    fault: str
    check: str
    seen: str

    def report(self, worker: Path) -> WorkerReport:
        return check_worker(worker, transport=self.transport, timeout_s=LIMIT_S)


FAULTS = [
    *(Faulty("subprocess", fault, *seen) for fault, seen in SUBPROCESS.items()),
    *(Faulty("command", fault, *seen) for fault, seen in COMMAND.items()),
    *(Faulty("serve", fault, *seen) for fault, seen in SERVE.items()),
]


class Reports:
    """The reports on the faults that the chosen tests ask for, those of a transport made side by side."""

    def __init__(self, chosen: Iterable[Faulty], folder: Path) -> None:
        self._chosen = list(chosen)
        self._folder = folder
        self._made: dict[Faulty, WorkerReport] = {}

    def of(self, faulty: Faulty) -> WorkerReport:
        if faulty not in self._made:
            batch = [item for item in self._chosen if item.transport == faulty.transport]
            # All before the first is run: a file that a process just started still holds cannot be run.
            workers = [self._write(item) for item in batch]
            with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(AT_ONCE) as pool:
                for part in ("subprocess", "command", "serve"):
                    patch.setattr(f"platform_kit.workers.check_{part}.DRAIN_S", DRAIN_S)
                self._made |= zip(batch, pool.map(Faulty.report, batch, workers), strict=True)
        return self._made[faulty]

    def _write(self, faulty: Faulty) -> Path:
        folder = self._folder / f"{faulty.transport} {faulty.fault}"
        folder.mkdir()
        return odd_worker(folder, faulty.fault)


@pytest.fixture(scope="module")
def reports(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Reports:
    specs = [getattr(item, "callspec", None) for item in request.session.items]
    chosen = dict.fromkeys(spec.params["faulty"] for spec in specs if spec and "faulty" in spec.params)
    return Reports(chosen, tmp_path_factory.mktemp("faulty"))


@pytest.mark.parametrize("faulty", FAULTS, ids=lambda faulty: f"{faulty.transport}-{faulty.fault}")
def test_a_fault_is_named_by_its_check(reports: Reports, faulty: Faulty) -> None:
    report = reports.of(faulty)
    failed = {item.name: item for item in report.failed}
    assert faulty.check in failed, report
    assert re.search(faulty.seen, failed[faulty.check].detail), failed[faulty.check].detail
    assert failed[faulty.check].advice and not report.ok
    # The check that fits, and at most one that it cannot but touch; a busy machine may make any worker slow.
    assert len(failed.keys() - {"replies in time"}) <= 2, report


def test_a_machine_that_stands_still_is_not_the_workers_fault(tmp_path: Path) -> None:
    worker = odd_worker(tmp_path, "is on a machine that stands still")
    report = check_worker(worker, transport="serve")
    (deadline,) = [item for item in report.checks if item.name == "a deadline in the header"]
    assert deadline.verdict == "passed" and re.search(r"after 1\.\d s", deadline.detail), report
    assert report.ok


def test_what_cannot_be_checked_is_said(tmp_path: Path) -> None:
    report = check_worker(odd_worker(tmp_path, "answers alike"), transport="subprocess")
    (order,) = [item for item in report.checks if item.name == "order"]
    assert order.verdict == "not applicable" and "alike" in order.detail
    assert any("--request FILE" in note and "keep the order" in note for note in report.notes)


@pytest.mark.parametrize(
    ("fault", "seen"),
    [("describes itself in words", "is not JSON"), ("knows no describe", "exit code 1")],
)
def test_who_does_not_say_who_it_is_is_checked_no_further(tmp_path: Path, fault: str, seen: str) -> None:
    report = check_worker(odd_worker(tmp_path, fault))
    (found,) = report.checks
    assert (found.transport, found.verdict) == ("describe", "failed") and seen in found.detail


@pytest.mark.parametrize(
    ("transports", "seen"), [([], "no transport"), (["http", "grpc"], "only http, grpc")]
)
def test_a_worker_without_a_known_transport_fails(tmp_path: Path, transports: list[str], seen: str) -> None:
    said = {"name": "a", "version": "1.0.0", "protocol": 1, "transports": transports}
    path = tmp_path / "worker"
    path.write_text(f"#!/bin/sh\necho '{json.dumps(said)}'\n")
    path.chmod(0o755)
    report = check_worker(path)
    (failed,) = report.failed
    assert not report.ok and (failed.transport, failed.name) == ("describe", "transports")
    assert f"{seen}; the kit knows serve, subprocess, command" in failed.detail and failed.advice


@pytest.mark.parametrize("transport", ["subprocess", "serve"])
def test_a_crash_is_shown_by_the_line_it_begins_with(tmp_path: Path, transport: str) -> None:
    said = {"name": "a", "version": "1.0.0", "protocol": 1, "transports": [transport]}
    trace = "panic: no ink\\n\\ngoroutine 1 [running]:\\nmain.main()\\n\\tmain.go:7 +0x25\\n"
    path = tmp_path / "worker"
    path.write_text(
        f"#!/bin/sh\n[ $1 = describe ] && echo '{json.dumps(said)}' && exit\nprintf '{trace}' >&2\nexit 2\n"
    )
    path.chmod(0o755)
    report = check_worker(path)
    assert any("panic: no ink" in check.detail for check in report.failed), report
    assert "+0x25" not in report.text()


def test_the_report_reads_alike_as_text_html_and_json(tmp_path: Path) -> None:
    report = check_worker(odd_worker(tmp_path, "prints"), transport="subprocess", timeout_s=2)
    text, html = report.text(), report.html()
    for word in ("quiet stdout", "FAILED", "got a request", "stdout belongs to the frames", "odd"):
        assert word in text and word in html
    found = json.loads(json.dumps(report.as_dict()))
    assert found["ok"] is False and len(found["checks"]) == len(report.checks)


def test_the_command_says_it_by_its_exit_code(tmp_path: Path) -> None:
    request = tmp_path / "request.json"
    request.write_text('{"card":1}')
    good = command(
        tmp_path, "check-worker", "echo-worker", "--transport", "command", "--request", str(request), "--json"
    )
    assert good.returncode == 0, good.stderr
    found = answer(good)
    assert found["ok"] is True and found["worker"] == "echo" and found["notes"] == []
    assert "answered with 10 B" in json.dumps(found["checks"])
    bad = command(tmp_path, "check-worker", str(odd_worker(tmp_path, "knows no describe")))
    assert bad.returncode == 1 and "describe" in bad.stdout
    assert command(tmp_path, "check-worker", "no-such-worker").returncode == 2


def test_a_call_that_cannot_mean_anything_is_said() -> None:
    with pytest.raises(UsageError, match="transport='http'"):
        check_worker("echo-worker", transport="http")
    with pytest.raises(UsageError, match="timeout_s=0"):
        check_worker("echo-worker", timeout_s=0)
