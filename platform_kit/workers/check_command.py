"""Check a worker as a Wombat ``command``: message on stdin, answer on stdout, outcome by exit code."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from platform_kit.reprs import clean, human_bytes, human_seconds, shorten
from platform_kit.workers.check_process import Talk, ending, said, talking
from platform_kit.workers.check_replies import Bodies
from platform_kit.workers.check_report import Fault, Findings, NotApplicable
from platform_kit.workers.check_subprocess import DRAIN_S, IN_TIME, SLOW_S, STDERR

CODES = {65: "rejected", 69: "unavailable", 70: "failed", 75: "deadline passed"}
REJECTED, WRONG_USAGE = 65, 64
EXIT_CODES = "exit codes"
AT_ONCE = 4
_CODES_IN_WORDS = "0 answered, 65 rejected, 69 unavailable, 70 failed, 75 deadline passed"


@dataclass
class CommandCheck:
    """The checks of one worker as a command.

    Parameters
    ----------
    start: Starts ``BIN command``, or what is given instead of it.
    bodies: What to send.
    findings: Where the outcome goes.
    timeout_s: How long one message may take.
    slow_s: A slower answer is a fault.
    """

    start: Callable[[str], Talk]
    bodies: Bodies
    findings: Findings
    timeout_s: float
    slow_s: float = SLOW_S
    _runs: int = field(default=0, init=False)
    _slowest_s: float = field(default=0.0, init=False)

    def run(self) -> None:
        """Make all checks."""
        checks: dict[str, Callable[[], str]] = {
            "an empty message": lambda: self._message(b""),
            "a message of 1 MiB": lambda: self._message(self.bodies.large),
            "a message above the limit": self._too_large,
            "several at once": self._several,
            "wrong usage": self._usage,
            "stop on SIGTERM": self._sigterm,
        }
        findings = self.findings
        if findings.run("a message", lambda: self._message(self.bodies.request)):
            for name, check in checks.items():
                findings.run(name, check)
        else:
            findings.skip(list(checks), "no message is answered as it should be")
        if self._runs:
            findings.all_along(EXIT_CODES, f"{self._runs} runs, each ended with one of the agreed codes")
            findings.all_along(STDERR, "at most the one line that says why")
            findings.all_along(IN_TIME, f"the slowest took {human_seconds(self._slowest_s)}")

    # ----------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _talk(self, word: str = "command") -> Iterator[Talk]:
        with talking(self.start(word)) as talk:
            yield talk

    def _run(self, body: bytes, *, timed: bool = True) -> tuple[int, int, bytes]:
        """Exit code, bytes on stdout, and stderr of one message."""
        started = time.monotonic()
        with self._talk() as talk:
            talk.send(body)
            talk.end_input()
            code = talk.exit_code(self.timeout_s)
            if code is None:
                raise Fault(
                    f"It did not end within {self.timeout_s:g} s.",
                    "Read stdin to its end, answer, and end: a handler needs a deadline (exit code 75).",
                )
            self._runs += 1
            if timed:
                self._slowest_s = max(self._slowest_s, time.monotonic() - started)
            return code, talk.stdout_bytes, bytes(talk.stderr)

    def _judge(self, code: int, out: int, err: bytes) -> str:
        """What an end means. Raises ``Fault`` for one that was not agreed."""
        if self._slowest_s > self.slow_s:
            self.findings.fail(
                IN_TIME,
                f"A message took {human_seconds(self._slowest_s)}.",
                "A process is started for each message: do less in it, or use another transport.",
            )
        if code == 0:
            if err:
                raise Fault(
                    f"It wrote on stderr although it answered.{said(err)}",
                    "stderr is for the one line that says why a message failed: log to a file.",
                    check=STDERR,
                )
            return f"answered with {human_bytes(out)}"
        if code not in CODES:
            raise Fault(
                f"It {ending(code)}.{said(err)}",
                f"Catch what the handler throws, and end with one of: {_CODES_IN_WORDS}.",
                check=EXIT_CODES,
            )
        lines = err.decode("utf-8", "replace").strip("\n").split("\n")
        if len(lines) != 1 or not lines[0].strip():
            shown = f"{len(lines)} lines" if len(lines) > 1 else "nothing"
            raise Fault(
                f"It {ending(code)} ({CODES[code]}) and wrote {shown} on stderr.",
                'A failure is one line on stderr, "column: reason"; a log or a trace belongs into a file.',
                check=STDERR,
            )
        if out:
            raise Fault(
                f"It {ending(code)} ({CODES[code]}) and wrote {out:,} bytes on stdout.",
                "A failure has no answer: write nothing on stdout.",
            )
        return f"{CODES[code]}: {shorten(clean(lines[0]), 60)}"

    def _message(self, body: bytes) -> str:
        return f"{human_bytes(len(body))}: {self._judge(*self._run(body))}"

    def _too_large(self) -> str:
        if self.bodies.limit is None:
            raise NotApplicable("`describe` names no max_request_bytes")
        code, out, err = self._run(self.bodies.too_large)
        found = self._judge(code, out, err)
        if code != REJECTED:
            raise Fault(
                f"A message of {self.bodies.limit + 1:,} bytes, one above the limit: it {ending(code)}.",
                "Refuse it: one line on stderr that names the limit, exit code 65.",
            )
        return found

    def _several(self) -> str:
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="platform-kit-check") as pool:
            # Not timed: they share the cores.
            runs = [pool.submit(self._run, self.bodies.request, timed=False) for _ in range(AT_ONCE)]
            found = [run.result() for run in runs]
        for code, out, err in found:
            self._judge(code, out, err)
        return f"{AT_ONCE} processes at once, each answered"

    def _usage(self) -> str:
        with self._talk("no-such-word") as talk:
            talk.end_input()
            code = talk.exit_code(self.timeout_s)
        if code != WRONG_USAGE:
            raise Fault(
                f"Called with a word it cannot know, it {'went on' if code is None else ending(code)}.",
                "End with exit code 64 for wrong usage, so that it is not taken for a message's failure.",
            )
        return "ends with exit code 64"

    def _sigterm(self) -> str:
        with self._talk() as talk:
            talk.send(self.bodies.request)  # and no end of input: it waits
            # As long as a whole message takes: it is then past its start, where a signal ends any process.
            time.sleep(min(self._slowest_s, self.timeout_s))
            talk.signal(signal.SIGTERM)
            code = talk.exit_code(DRAIN_S)
            if code is None:
                raise Fault(f"It still ran {DRAIN_S:g} s after SIGTERM.", "End on SIGTERM.")
        return "ends, also while it waits for the rest of the message"
