"""What a check of a worker found: one line a check, in words, with what to do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from platform_kit.reprs import Shown, StatusCard, Table, human_count
from platform_kit.workers.program import Program

Verdict = Literal["passed", "failed", "not applicable"]
MARKS: dict[Verdict, str] = {"passed": "passed", "failed": "FAILED", "not applicable": "not applicable"}
WIDE = 400
"""A finding is shown whole: it is what the reader came for."""


class Fault(Exception):
    """Something is wrong with the worker.

    Parameters
    ----------
    what: What was seen.
    advice: How to mend it.
    check: The check this belongs to, where that is another than the one that ran into it.
    """

    def __init__(self, what: str, advice: str, *, check: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.advice = advice
        self.check = check


class NotApplicable(Exception):
    """This cannot be checked here, and why."""


@dataclass(frozen=True)
class Check:
    """One check: what was seen, and how to mend it if it failed."""

    transport: str
    name: str
    verdict: Verdict
    detail: str
    advice: str = ""


@dataclass
class Findings:
    """The checks of one transport as they are made."""

    transport: str
    checks: list[Check] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def run(self, name: str, check: Callable[[], str]) -> bool:
        """Make one check; True if it passed. A fault of another kind is noted under that kind, once."""
        try:
            detail = check()
        except NotApplicable as why:
            self._add(name, "not applicable", str(why))
            return False
        except Fault as fault:
            if not fault.check:
                self._add(name, "failed", fault.what, fault.advice)
                return False
            self.fail(fault.check, f"{fault.what} (seen in: {name})", fault.advice)
            self._add(name, "not applicable", f"see {fault.check}")
            return False
        self._add(name, "passed", detail)
        return True

    def fail(self, name: str, what: str, advice: str) -> None:
        """Note a failure, unless this check has failed before."""
        if not self.failed(name):
            self._add(name, "failed", what, advice)

    def skip(self, names: Sequence[str], why: str) -> None:
        """Note what cannot be checked any more."""
        for name in names:
            self._add(name, "not applicable", why)

    def failed(self, name: str) -> bool:
        """Whether this check has failed."""
        return any(check.name == name and check.verdict == "failed" for check in self.checks)

    def all_along(self, name: str, detail: str) -> None:
        """Note a check that was made all along: it passed if it did not fail."""
        if not self.failed(name):
            self._add(name, "passed", detail)

    def _add(self, name: str, verdict: Verdict, detail: str, advice: str = "") -> None:
        self.checks.append(Check(self.transport, name, verdict, detail, advice))


class WorkerReport(Shown):
    """The outcome of a check.

    Attributes
    ----------
    program: The worker; None if it did not say who it is.
    subject: What was checked, as it was named.
    checks: Each check in the order it was made.
    notes: What could not be checked, and why.
    """

    def __init__(
        self, subject: str, program: Program | None, checks: Sequence[Check], notes: Sequence[str]
    ) -> None:
        self.subject = subject
        self.program = program
        self.checks = tuple(checks)
        self.notes = tuple(dict.fromkeys(notes))

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return not self.failed

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if check.verdict == "failed")

    def as_dict(self) -> dict[str, Any]:
        """The report for JSON."""
        program = self.program
        return {
            "ok": self.ok,
            "worker": program.name if program else None,
            "version": program.version if program else None,
            "build": program.build if program else None,
            "checks": [asdict(check) for check in self.checks],
            "notes": list(self.notes),
        }

    def text(self) -> str:
        """The report as lines of text."""
        lines = [self._card(with_advice=False).text()]
        for check in self.failed:
            lines += [f"✗ {check.transport}: {check.name}", f"    {check.detail}", f"    → {check.advice}"]
        lines += [f"not checked: {note}" for note in self.notes]
        return "\n".join(lines)

    def html(self) -> str:
        """The report as HTML."""
        card = self._card(with_advice=True).html()
        notes = Table(["not checked"], [(note,) for note in self.notes], max_width=WIDE)
        return card + (notes.html() if self.notes else "")

    def _card(self, *, with_advice: bool) -> StatusCard:
        counts = {verdict: sum(check.verdict == verdict for check in self.checks) for verdict in MARKS}
        facts = {
            "passed": counts["passed"],
            "failed": counts["failed"],
            "not applicable": counts["not applicable"] or None,
        }
        columns = ["transport", "check", "verdict", "what was seen"]
        rows: list[tuple[object, ...]] = [
            (check.transport, check.name, MARKS[check.verdict], check.detail) for check in self.checks
        ]
        if with_advice and self.failed:
            columns.append("what to do")
            rows = [(*row, check.advice) for row, check in zip(rows, self.checks, strict=True)]
        state = "ok" if self.ok else f"{human_count(len(self.failed), 'check')} failed"
        table = Table(columns, rows, max_rows=200, max_width=WIDE if with_advice else 100)
        return StatusCard(self._title(), state, facts, table, tone="good" if self.ok else "bad")

    def _title(self) -> str:
        if self.program is None:
            return f"worker {self.subject}"
        return f"worker {self.program.name} {self.program.version}"
