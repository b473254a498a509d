"""Frames and failures as a check reads them: what a worker writes is a frame, a wait or a fault in words."""

from __future__ import annotations

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_kit.workers.check_frames import LARGEST, FrameBuffer, frame
from platform_kit.workers.check_replies import Reply, distinct, frame_reply, service_reply, shuffled
from platform_kit.workers.check_report import Fault, Findings, NotApplicable, WorkerReport


def drain(buffer: FrameBuffer) -> list[bytes]:
    found = []
    while (body := buffer.take()) is not None:
        found.append(body)
    return found


@given(st.lists(st.binary(max_size=300), max_size=8), st.data())
def test_frames_survive_any_way_they_are_cut(bodies: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(map(frame, bodies))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    buffer, found = FrameBuffer(), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        buffer.feed(stream[start:end])
        found += drain(buffer)
    assert found == bodies and buffer.pending == 0


@given(st.binary(max_size=200))
def test_any_bytes_are_frames_a_wait_or_a_fault(data: bytes) -> None:
    buffer = FrameBuffer()
    buffer.feed(data)
    try:
        found = drain(buffer)
    except Fault as fault:
        assert fault.what and fault.advice and fault.check in ("framing", "quiet stdout")
        return
    assert sum(len(body) + 4 for body in found) + buffer.pending == len(data)
    if buffer.pending:
        assert buffer.unfinished().check in ("framing", "quiet stdout")


@pytest.mark.parametrize(
    ("data", "check", "seen"),
    [
        (b"hello\n", "quiet stdout", "'hello⏎'"),
        (struct.pack("<I", 200) + b"x" * 200, "framing", "little-endian"),
        (struct.pack(">I", LARGEST + 1), "framing", "268,435,457 bytes"),
    ],
)
def test_what_is_no_frame_is_said(data: bytes, check: str, seen: str) -> None:
    buffer = FrameBuffer()
    buffer.feed(data)
    with pytest.raises(Fault) as caught:
        buffer.take()
    assert caught.value.check == check and seen in caught.value.what


def test_a_frame_that_never_comes_whole_is_said() -> None:
    buffer = FrameBuffer()
    buffer.feed(struct.pack(">I", 9) + b"four")
    assert buffer.take() is None
    assert "says it has 9 bytes, but only 4 came" in buffer.unfinished().what
    small = FrameBuffer()
    small.feed(struct.pack("<I", 5) + b"hello")
    assert small.take() is None and "little-endian" in small.unfinished().what


@given(st.binary(max_size=100) | st.text(max_size=50).map(lambda text: b'{"worker_error":' + text.encode()))
def test_any_body_is_an_answer_or_a_failure_or_a_fault(body: bytes) -> None:
    try:
        reply = frame_reply(body)
    except Fault as fault:
        assert fault.check == "error envelope" and body.startswith(b'{"worker_error":')
        return
    assert bool(reply.code) == body.startswith(b'{"worker_error":')


def envelope(**changed: object) -> bytes:
    error = {"code": "422", "column": "name", "reason": "too long"} | changed
    return b'{"worker_error":' + json.dumps(error).encode() + b"}"


def test_a_well_formed_failure_is_read() -> None:
    assert frame_reply(envelope()).kind == ("422", "too long")
    assert frame_reply(envelope(column=None, code="503")).kind == ("503", "too long")
    headers = {"Nats-Service-Error-Code": "500", "Nats-Service-Error": "oh"}
    assert service_reply(headers, b'{"column":null,"reason":"oh"}').kind == ("500", "oh")
    assert service_reply({}, b"card").exact == Reply(b"card").exact


@pytest.mark.parametrize(
    ("changed", "seen"),
    [
        ({"code": 422}, "code is 422"),
        ({"code": "404"}, "code is '404'"),
        ({"reason": ""}, "no reason"),
        ({"reason": None}, "no reason"),
        ({"column": 3}, "column"),
    ],
)
def test_a_malformed_failure_is_said(changed: dict[str, object], seen: str) -> None:
    with pytest.raises(Fault, match=seen):
        frame_reply(envelope(**changed))


@pytest.mark.parametrize(
    ("headers", "body", "seen"),
    [
        ({"Nats-Service-Error": "oh"}, b'{"column":null,"reason":"oh"}', "one of the headers"),
        ({"Nats-Service-Error-Code": "500"}, b'{"column":null,"reason":"oh"}', "one of the headers"),
        ({"Nats-Service-Error-Code": "500", "Nats-Service-Error": "oh"}, b"oh", "not JSON"),
        ({"Nats-Service-Error-Code": "500", "Nats-Service-Error": "oh"}, b"[]", "no JSON object"),
    ],
)
def test_a_malformed_failure_of_a_service_is_said(headers: dict[str, str], body: bytes, seen: str) -> None:
    with pytest.raises(Fault, match=seen):
        service_reply(headers, body)


def test_what_changes_from_time_to_time_tells_nothing_apart() -> None:
    times = iter(range(100))

    def ask(body: bytes) -> Reply:
        if body == b"refused":
            return Reply(b"", "422", "no card")
        if body == b"moody":
            return Reply(b"", "500", f"failed at {next(times)}")
        return Reply(b"it took %d ms" % next(times) if body == b"timed" else body)

    known = distinct([b"a", b"b", b"timed", b"refused", b"moody"], ask)
    assert list(known) == [b"a", b"b", b"timed", b"refused"]
    assert known[b"a"](Reply(b"a")) and not known[b"a"](Reply(b"b"))
    assert known[b"timed"](Reply(b"it took 9 s")) and not known[b"timed"](Reply(b"", "422", "no card"))
    assert set(shuffled(list(known))) == set(known) and shuffled([b"a", b"b"]) == shuffled([b"a", b"b"])


def test_a_fault_of_another_kind_is_noted_under_its_own_name_once() -> None:
    findings = Findings("subprocess")

    def noisy() -> str:
        raise Fault("text on stdout", "log to a file", check="quiet stdout")

    def absent() -> str:
        raise NotApplicable("no limit is named")

    assert not findings.run("a request", noisy) and not findings.run("order", noisy)
    assert not findings.run("a limit", absent) and findings.run("end of input", lambda: "ended")
    findings.all_along("quiet stdout", "nothing but frames")
    findings.all_along("framing", "all fit")
    verdicts = [(check.name, check.verdict) for check in findings.checks]
    assert verdicts == [
        ("quiet stdout", "failed"),
        ("a request", "not applicable"),
        ("order", "not applicable"),
        ("a limit", "not applicable"),
        ("end of input", "passed"),
        ("framing", "passed"),
    ]
    report = WorkerReport("odd", None, findings.checks, ["so", "so"])
    assert not report.ok and report.notes == ("so",) and len(report.failed) == 1


def test_what_a_worker_says_is_escaped() -> None:
    findings = Findings("serve")
    findings.fail("a request", "<script>alert(1)</script>\x1b[31m", "none")
    report = WorkerReport("odd", None, findings.checks, ["<b>"])
    assert "<script>" not in report.html() and "<b>" not in report.html().replace("<b>worker", "")
    assert "\x1b" not in report.html() and "\x1b" not in report._card(with_advice=False).text()
