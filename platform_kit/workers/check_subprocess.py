"""Check a worker as a Wombat ``subprocess``: frames on stdin and stdout, one reply a request, in order."""

from __future__ import annotations

import contextlib
import signal
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from platform_kit.reprs import human_bytes, human_count, human_seconds
from platform_kit.workers.check_frames import FRAMING, STDOUT, frame
from platform_kit.workers.check_process import Talk, ending, said, talking
from platform_kit.workers.check_replies import ENVELOPE, Bodies, Reply, distinct, frame_reply, shuffled
from platform_kit.workers.check_report import Fault, Findings, NotApplicable

STDERR, IN_TIME = "quiet stderr", "replies in time"
SLOW_S = 5.0
"""A reply slower than this stands in the way of every message behind it."""

AT_ONCE = 32
TORN = 65
QUIET_S = 0.2
DRAIN_S = 8.0
"""A worker has five seconds to finish what it has begun; this is a little more."""


@dataclass
class SubprocessCheck:
    """The checks of one worker as a subprocess.

    Parameters
    ----------
    start: Starts ``BIN subprocess``.
    bodies: What to send.
    findings: Where the outcome goes.
    slow_s: A slower reply is a fault.
    """

    start: Callable[[], Talk]
    bodies: Bodies
    findings: Findings
    slow_s: float = SLOW_S
    _replies: int = field(default=0, init=False)
    _failures: int = field(default=0, init=False)
    _slowest_s: float = field(default=0.0, init=False)

    def run(self) -> None:
        """Make all checks."""
        checks: dict[str, Callable[[], str]] = {
            "an empty request": self._empty,
            "a request of 1 MiB": self._large,
            "a request above the limit": self._too_large,
            "many requests at once": self._many,
            "order": self._order,
            "end of input": self._end_of_input,
            "a torn frame": self._torn,
            "stop on SIGTERM": self._sigterm,
        }
        findings = self.findings
        if findings.run("a request", self._one):
            for name, check in checks.items():
                findings.run(name, check)
        else:
            findings.skip(list(checks), "no request is answered as it should be")
        if self._replies:
            findings.all_along(FRAMING, f"{self._replies:,} frames, each as long as it says")
            findings.all_along(STDOUT, "nothing but frames")
            findings.all_along(STDERR, "nothing was written")
            findings.all_along(IN_TIME, f"the slowest took {human_seconds(self._slowest_s)}")
            if self._failures:
                findings.all_along(ENVELOPE, f"{human_count(self._failures, 'failure')}, well formed")
            elif not findings.failed(ENVELOPE):
                findings.skip([ENVELOPE], "nothing failed")

    # ----------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _talk(self) -> Iterator[Talk]:
        with talking(self.start()) as talk:
            yield talk
        # Only of those that were answered: the others have failed for what they said.
        self._slowest_s = max(self._slowest_s, talk.slowest_s)
        if talk.stderr:
            self.findings.fail(
                STDERR,
                f"It wrote on stderr.{said(bytes(talk.stderr))}",
                "Wombat takes a line on stderr for the failure of the message in flight: log to a file in "
                "PLATFORM_LOG_DIR, and send what libraries print there too.",
            )
        if talk.slowest_s > self.slow_s:
            self.findings.fail(
                IN_TIME,
                f"A reply took {human_seconds(talk.slowest_s)}.",
                "A subprocess takes one message at a time, so all behind it wait: do less, or serve on NATS.",
            )

    def _read(self, talk: Talk, count: int = 1) -> list[Reply]:
        replies = [frame_reply(body) for body in talk.frames(count)]
        self._replies += len(replies)
        self._failures += sum(bool(reply.code) for reply in replies)
        return replies

    def _ask(self, talk: Talk, body: bytes) -> Reply:
        talk.send(frame(body))
        (reply,) = self._read(talk)
        return reply

    def _one(self) -> str:
        with self._talk() as talk:
            reply = self._ask(talk, self.bodies.request)
            talk.quiet(QUIET_S)
        return f"answered: {reply}"

    def _empty(self) -> str:
        with self._talk() as talk:
            reply = self._ask(talk, b"")
            self._still_answers(talk)
        return f"answered: {reply}"

    def _large(self) -> str:
        large = self.bodies.large
        with self._talk() as talk:
            reply = self._ask(talk, large)
            self._still_answers(talk)
        return f"{human_bytes(len(large))} answered: {reply}"

    def _too_large(self) -> str:
        if self.bodies.limit is None:
            raise NotApplicable("`describe` names no max_request_bytes")
        with self._talk() as talk:
            reply = self._ask(talk, self.bodies.too_large)
            if reply.code != "422":
                raise Fault(
                    f"A request of {self.bodies.limit + 1:,} bytes, one above the limit, got: {reply}.",
                    "Refuse it with code 422 and a reason that names the limit, or raise max_request_bytes.",
                )
            self._still_answers(talk)
        return f"refused: {reply}"

    def _many(self) -> str:
        with self._talk() as talk:
            talk.send(frame(self.bodies.request) * AT_ONCE)
            self._read(talk, AT_ONCE)
            talk.quiet(QUIET_S)
        return f"{AT_ONCE} requests, {AT_ONCE} replies"

    def _order(self) -> str:
        with self._talk() as talk:
            probes = self.bodies.probes()
            if self.bodies.limit is not None:
                probes.append(self.bodies.too_large)
            known = distinct(probes, lambda body: self._ask(talk, body))
            if len(known) < 2:
                self.findings.notes.append(
                    "subprocess: whether replies keep the order of their requests. All requests that were "
                    "tried get the same answer, so replies were only counted; --request FILE may help."
                )
                raise NotApplicable("all requests that were tried are answered alike; replies were counted")
            order = shuffled(list(known))
            talk.send(b"".join(frame(body) for body in order))
            replies = self._read(talk, len(order))
            for number, (body, reply) in enumerate(zip(order, replies, strict=True), 1):
                if not known[body](reply):
                    raise Fault(
                        f"Reply {number} of {len(order)} to requests sent at once is not the one its request "
                        f"gets when it is sent alone: {reply}.",
                        "Write the replies in the order of the requests, also if later ones are ready first.",
                    )
        return f"{len(order)} requests of {len(known)} kinds at once, each reply in its place"

    def _end_of_input(self) -> str:
        with self._talk() as talk:
            talk.send(frame(self.bodies.request) * 3)
            talk.end_input()
            self._read(talk, 3)
            code = talk.exit_code(DRAIN_S)
            if code is None:
                raise Fault(
                    f"It still ran {DRAIN_S:g} s after the end of its input.",
                    "End when stdin ends: otherwise Wombat leaves it behind at each new deployment.",
                )
            if code != 0:
                raise Fault(
                    f"At the end of its input it {ending(code)}.", "That is a clean end: exit with 0."
                )
        return "what was sent is answered, then it ends with exit code 0"

    def _torn(self) -> str:
        for part, data in (
            ("a length", b"\0\0"),
            ("a body", struct.pack(">I", 100) + b"only this"),
            ("a body that claims 4 GiB", b"\xff\xff\xff\xff" + b"and this"),
        ):
            with self._talk() as talk:
                self._ask(talk, self.bodies.request)
                talk.send(data)
                talk.end_input()
                code = talk.exit_code(DRAIN_S)
                if talk.rest():
                    raise Fault(
                        f"It answered although its input ended inside {part}.",
                        "What did not come whole is no request: end with exit code 65.",
                    )
                if code is None:
                    raise Fault(
                        f"It still ran {DRAIN_S:g} s after its input had ended inside {part}.",
                        "The end of stdin inside a frame ends the process, with exit code 65.",
                    )
                if code != TORN:
                    raise Fault(
                        f"When its input ended inside {part} it {ending(code)}.",
                        "End with exit code 65: whoever looks at it then knows that something was cut off.",
                    )
        return "inside a length, a body, and one that claims 4 GiB: ends with exit code 65"

    def _sigterm(self) -> str:
        with self._talk() as talk:
            self._ask(talk, self.bodies.request)
            talk.send(frame(self.bodies.request) * 3)
            talk.signal(signal.SIGTERM)
            code = talk.exit_code(DRAIN_S)
            if code is None:
                raise Fault(
                    f"It still ran {DRAIN_S:g} s after SIGTERM.",
                    "On SIGTERM answer what was begun and end, also while stdin is open.",
                )
            replies = talk.rest()
            if talk.buffer.pending:
                raise Fault(
                    "On SIGTERM it ended inside a reply.", "Finish the frame that was begun before ending."
                )
            if len(replies) > 3:
                raise Fault("There were more replies than requests.", "One frame for each request.")
            if code != 0:
                raise Fault(f"On SIGTERM it {ending(code)}.", "Asked to end, it ends with exit code 0.")
        return "ends with exit code 0, no reply cut off"

    def _still_answers(self, talk: Talk) -> None:
        self._ask(talk, self.bodies.request)
