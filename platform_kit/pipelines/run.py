"""Run a pipeline to its end without a platform: Wombat alone, files in, files out.

Wombat is asked to write its own metrics when it ends; what a run says of messages comes from there. Its HTTP
interface is off. It belongs to the process group of a warden, so that a killed kernel leaves nothing of it.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platform_kit import binaries
from platform_kit.errors import LintError, PipelineRunError, UsageError
from platform_kit.reprs import Shown, StatusCard, Table, clean, human_count, human_seconds, shorten
from platform_kit.servers.credentials import write_private
from platform_kit.servers.process import TAIL_BYTES, Cancelled, Process, Spec, tail
from platform_kit.servers.uninterrupted import run_uninterrupted
from platform_kit.servers.warden import Warden
from platform_kit.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

    from platform_kit.pipelines.pipeline import Pipeline

STOP_S = 3.0
"""How long Wombat may take to write what it holds when it is asked to end."""

TROUBLE_S = 2.0
TROUBLE_TIMES = 3
OUTPUT_BYTES = 1024 * 1024
SHOWN_ERRORS = 5
WIDE = 300
"""An error is shown nearly whole: it is the reason."""

VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_USE = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::(?P<default>[^}]*))?\}")
# Wombat tries again for ever what only a person can mend.
_TROUBLE = re.compile(
    r"(no such file or directory|permission denied|is a directory|not a directory|"
    r"read-only file system|no space left on device)$"
)
_SECTIONS = ("root.input", "root.buffer", "root.pipeline", "root.processor", "root.output")


@dataclass(frozen=True)
class PipelinePart:
    """What one component of a pipeline did.

    Parameters
    ----------
    label: Its label in the config; its path where it has none.
    kind: "input", "processor" or "output".
    path: Where it stands in the config, such as ``root.pipeline.processors.0``.
    received: Messages that came to it; None for an output, which counts what it wrote.
    sent: Messages that left it; None for an input.
    failed: Messages it failed on.
    seconds: Time spent in it, summed over messages and threads.
    """

    label: str
    kind: str
    path: str
    received: int | None
    sent: int | None
    failed: int | None
    seconds: float


@dataclass(frozen=True, repr=False)
class PipelineRun(Shown):
    """What came of running a pipeline.

    Shown, a run that came to its end says also what it lacks, with the last errors of the log: messages that
    failed, an input that read nothing, errors that no count has.

    Parameters
    ----------
    name: The pipeline's name.
    state: "finished", or why it did not: "failed", "out of time".
    seconds: From the start of the process to its end.
    exit_code: Wombat's; None if it had to be killed.
    parts: Each component, in the order messages pass them; empty where the config has metrics of its own.
    output: What the pipeline wrote to stdout, at most the first MiB.
    log: Wombat's log, at most its last 64 KiB, a line for each event.
    """

    name: str
    state: str
    seconds: float
    exit_code: int | None
    parts: Sequence[PipelinePart] = ()
    output: str = field(default="", repr=False)
    log: str = field(default="", repr=False)

    @property
    def received(self) -> int | None:
        """Messages the inputs read; None if not known."""
        return self._sum("input", "received")

    @property
    def sent(self) -> int | None:
        """Messages the outputs wrote; None if not known."""
        return self._sum("output", "sent")

    @property
    def failed(self) -> int | None:
        """How often a processor failed on a message, or an output could not write one; None if not known.

        A message a processor failed on goes on, marked, and may well be among those sent.
        """
        return sum(part.failed or 0 for part in self.parts) if self.parts else None

    @property
    def frame(self) -> pd.DataFrame:
        """A row for each component: label, kind, received, sent, failed, seconds, path."""
        import pandas as pd

        columns = ["label", "kind", "received", "sent", "failed", "seconds", "path"]
        rows = [[getattr(part, column) for column in columns] for part in self.parts]
        counts = dict.fromkeys(("received", "sent", "failed"), "Int64")
        return pd.DataFrame(rows, columns=columns).astype(counts)

    def text(self) -> str:
        """The run as lines of text."""
        return "\n".join([self._card().text(), *(f"  {line}" for line in self._errors())])

    def html(self) -> str:
        """The run as HTML."""
        errors = self._errors()
        table = Table(["last errors"], [(line,) for line in errors], max_width=WIDE)
        return self._card().html() + (table.html() if errors else "")

    def _errors(self) -> list[str]:
        """The last different errors of the log of a run that came to its end; else the exception has them."""
        if self.state != "finished":
            return []
        errors = [clean(line) for line in self._logged_errors()]
        return [shorten(line, WIDE) for line in _last_distinct(errors, SHOWN_ERRORS)]

    @property
    def _shortcoming(self) -> str:
        """What a run that came to its end lacks, in words; "" if nothing."""
        if self.state != "finished":
            return ""
        if self.failed:
            return f"{self.failed:,} failed"
        if self.received == 0:
            return "read nothing"
        # An input that cannot read a file to its end counts no failure, and says so only there.
        return "with errors" if self._logged_errors() else ""

    def _logged_errors(self) -> list[str]:
        return [line for line in self.log.splitlines() if line.startswith("error ")]

    def _card(self) -> StatusCard:
        facts: dict[str, object] = {"took": human_seconds(self.seconds)}
        if self.parts:
            facts |= {"received": self.received, "sent": self.sent, "failed": self.failed}
        else:
            facts["messages"] = "not known"
        if self.exit_code:
            facts["exit code"] = self.exit_code
        rows = [(part.label, part.kind, part.received, part.sent, part.failed) for part in self.parts]
        table = Table(("part", "kind", "received", "sent", "failed"), rows) if rows else None
        if self.state != "finished":
            return StatusCard(self.name, self.state, facts, table, tone="bad")
        if lacks := self._shortcoming:
            return StatusCard(self.name, f"{self.state}, {lacks}", facts, table, tone="busy")
        return StatusCard(self.name, self.state, facts, table)

    def _sum(self, kind: str, count: str) -> int | None:
        found = [getattr(part, count) for part in self.parts if part.kind == kind]
        return sum(found) if found else None


def run_pipeline(
    pipeline: Pipeline,
    *,
    variables: Mapping[str, object] | None,
    cwd: str | Path | None,
    timeout_s: float,
    settings: Settings | None,
) -> PipelineRun:
    """See :meth:`Pipeline.run`."""
    if isinstance(timeout_s, bool) or not isinstance(timeout_s, (int, float)) or not timeout_s > 0:
        raise UsageError(f"timeout_s={timeout_s!r}.", hint="Give seconds above zero.")
    folder = Path(cwd).expanduser().resolve() if cwd is not None else Path.cwd()
    if not folder.is_dir():
        raise UsageError(f"cwd={str(cwd)!r} is no folder.", hint="Make it first, or name another.")
    values = checked_variables(variables)
    settings = settings or Settings.load()
    pipeline.lint(variables=values, cwd=folder, settings=settings)
    wombat = binaries.ensure("wombat", settings)
    return run_uninterrupted(
        lambda cancel: _Execution(pipeline, wombat, values, folder).run(timeout_s, cancel),
        name="platform-kit-pipeline",
        cancelled="The run was cancelled.",
    )


def checked_variables(variables: Mapping[str, object] | None) -> dict[str, str]:
    """The variables as text.

    Errors: ``UsageError`` for a name no variable can have, or a value that is not plain.
    """
    if variables is not None and not isinstance(variables, Mapping):
        raise UsageError(
            f"variables={shorten(repr(variables), 80)} are no names with values.",
            hint="Give a mapping, such as variables={'DECK': 'cards.csv'}.",
        )
    found = {}
    for name, value in (variables or {}).items():
        if not isinstance(name, str) or not VARIABLE.fullmatch(name):
            raise UsageError(
                f"{name!r} cannot be the name of a variable.",
                hint="Use letters, digits and _, no digit first.",
            )
        if not isinstance(value, (str, int, float, os.PathLike)) or "\0" in str(value):
            raise UsageError(f"The variable {name} is {value!r}.", hint="Give a text, a number or a path.")
        found[name] = str(value).lower() if isinstance(value, bool) else str(value)
    return found


class _Execution:
    """One Wombat process from start to end, in a temporary folder of its own."""

    def __init__(self, pipeline: Pipeline, wombat: Path, variables: Mapping[str, str], cwd: Path) -> None:
        self._pipeline = pipeline
        self._wombat = wombat
        self._variables = variables
        self._cwd = cwd
        self._folder = Path(tempfile.gettempdir()) / f"platform-kit-run-{secrets.token_hex(8)}"
        self._log = self._folder / "log"
        self._output = self._folder / "output"
        self._metrics = self._folder / "metrics"
        self._read = 0
        self._troubles: dict[str, tuple[int, float]] = {}

    def run(self, timeout_s: float, cancel: threading.Event) -> PipelineRun:
        """Run to the end. Errors: ``PipelineRunError``, ``Cancelled``."""
        # The warden knows the folder's name before it is made: it can be left behind by no kill.
        warden = Warden(remove=self._folder)
        try:
            self._folder.mkdir(mode=0o700)
            write_private(self._folder / "pipeline.yaml", self._pipeline.text.encode())
            started = time.monotonic()
            process = Process(self._spec(), group=warden.group)
            try:
                problem, hint = self._follow(process, started + timeout_s, timeout_s, cancel)
            finally:
                asked = process.stop(STOP_S)
            seconds = time.monotonic() - started
            return self._result(process.exit_code if asked else None, seconds, problem, hint)
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)
            warden.close()

    def _spec(self) -> Spec:
        config = self._filled()
        fields = {"http.enabled": "false"}
        metrics, logger = config.get("metrics"), config.get("logger")
        # Exporters exclude each other: one that the config names stays.
        if metrics is None or (isinstance(metrics, dict) and set(metrics) <= {"prometheus", "mapping"}):
            fields["metrics.prometheus.file_output_path"] = str(self._metrics)
        if not (isinstance(logger, dict) and "file" in logger):
            # In a file of its own: stdout is where the pipeline may write its messages.
            fields |= {"logger.file.path": str(self._log), "logger.format": "json"}
        options = [word for name, value in fields.items() for word in ("--set", f"{name}={value}")]
        command = (str(self._wombat), "run", *options, str(self._folder / "pipeline.yaml"))
        return Spec(self._pipeline.name, command, self._output, env=self._variables, cwd=self._cwd)

    def _filled(self) -> dict[str, Any]:
        """The parsed config; often it is YAML only once its variables are filled in."""
        text = _USE.sub(
            lambda use: self._variables.get(use["name"], use["default"] or ""), self._pipeline.text
        )
        try:
            return replace(self._pipeline, text=text).config
        except LintError:  # Wombat, whose linter had nothing to say, knows better
            return {}

    def _follow(
        self, process: Process, deadline: float, timeout_s: float, cancel: threading.Event
    ) -> tuple[str, str]:
        """Wait for the end; what made the wait end early and what to do, or two empty texts."""
        pause = 0.001
        while process.exit_code is None:
            if cancel.wait(pause):
                raise Cancelled
            pause = min(pause * 1.5, 0.05)
            if trouble := self._trouble():
                return trouble, f"Relative paths start in {self._cwd}; another start is given with cwd=."
            if time.monotonic() > deadline:
                return (
                    f"it did not end within {timeout_s:g} s and was ended",
                    "An input that goes on for ever (generate without count, a server) needs an end, such as "
                    "count or read_until; what only takes longer needs a longer timeout_s.",
                )
        return "", ""

    def _trouble(self) -> str:
        """What an input or output keeps failing at, if waiting will not help."""
        try:
            with self._log.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(self._read, size - TAIL_BYTES))
                new = file.read()
        except FileNotFoundError:
            return ""
        complete = new.rfind(b"\n") + 1
        self._read = size - len(new) + complete
        for line in new[:complete].splitlines():
            event = _event(line.decode("utf-8", "replace"))
            what = str(event.get("msg", ""))
            if event.get("level") != "error" or not _TROUBLE.search(what):
                continue
            path, label = str(event.get("path", "")), str(event.get("label", ""))
            kind = "input" if path.startswith("root.input") else "output"
            text = f"its {kind}{' ' if label else ''}{label} cannot go on: {what}"
            times, first = self._troubles.get(text, (0, time.monotonic()))
            self._troubles[text] = times + 1, first
            if times + 1 >= TROUBLE_TIMES and time.monotonic() - first > TROUBLE_S:
                return text
        return ""

    def _result(self, exit_code: int | None, seconds: float, problem: str, hint: str) -> PipelineRun:
        state = "finished"
        if problem:
            state = "out of time" if "did not end" in problem else "failed"
        elif exit_code != 0:
            state = "failed"
            problem, hint = f"Wombat ended with exit code {exit_code}", "The log above says why."
        log = tail(self._log, 10_000)
        run = PipelineRun(
            self._pipeline.name,
            state,
            seconds,
            exit_code,
            _parts(self._metrics),
            _head(self._output, OUTPUT_BYTES),
            "\n".join(map(_line, log.splitlines())),
        )
        if state == "finished":
            return run
        counts = ""
        if run.parts:
            counts = (
                f" It had read {human_count(run.received or 0, 'message')} and written {run.sent or 0:,}."
            )
        lines = run.log.splitlines()
        if run.exit_code:  # what it says before it has a log, or when it cannot start, goes to stderr
            lines += tail(self._output, 8).splitlines()
        wrong = [line for line in lines if not line.startswith(("info", "debug", "trace"))]
        shown = _last_distinct(wrong or lines, 8)
        raise PipelineRunError(
            f"{self._pipeline.path or self._pipeline.name}: {problem}.{counts}",
            run=run,
            log_tail="\n".join(shown),
            hint=hint,
        )


def _parts(metrics: Path) -> list[PipelinePart]:
    """What Wombat counted, by component; empty when it wrote nothing."""
    from prometheus_client.parser import text_string_to_metric_families

    try:
        text = metrics.read_text("utf-8")
    except FileNotFoundError:
        return []
    found: dict[tuple[str, str, str], dict[str, float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            # The parser gives every counter the ending of its newer format.
            kind, _, what = sample.name.removesuffix("_total").partition("_")
            if kind in ("input", "processor", "output") and "quantile" not in sample.labels:
                part = (kind, sample.labels.get("path", ""), sample.labels.get("label", ""))
                found.setdefault(part, {})[what] = sample.value

    def count(values: Mapping[str, float], name: str) -> int | None:
        return int(values[name]) if name in values else None

    return [
        PipelinePart(
            label or path.removeprefix("root."),
            kind,
            path,
            count(values, "received"),
            count(values, "sent"),
            count(values, "error"),
            values.get("latency_ns_sum", 0.0) / 1e9,
        )
        for (kind, path, label), values in sorted(found.items(), key=lambda item: _place(item[0][1]))
        if "received" in values or "sent" in values
    ]


def _place(path: str) -> tuple[int, list[tuple[int, str]]]:
    """Sorts components in the order messages pass them."""
    section = next(
        (number for number, start in enumerate(_SECTIONS) if path.startswith(start)), len(_SECTIONS)
    )
    return section, [(int(word), "") if word.isdigit() else (-1, word) for word in path.split(".")]


def _event(line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _line(line: str) -> str:
    """One event of Wombat's log as a person reads it."""
    event = _event(line)
    if "msg" not in event:
        return line
    where = event.get("label") or str(event.get("path", "")).removeprefix("root.")
    text = str(event["msg"]) + (f": {event['lint']}" if "lint" in event else "")
    return " ".join(str(word) for word in (event.get("level", ""), where and f"{where}:", text) if word)


def _last_distinct(lines: Sequence[str], count: int) -> list[str]:
    """The last different lines in their order, with how often each stands there."""
    times: dict[str, int] = {}
    for line in lines:
        times[line] = times.pop(line, 0) + 1
    return [f"{line} ({many} times)" if many > 1 else line for line, many in list(times.items())[-count:]]


def _head(path: Path, size: int) -> str:
    try:
        with path.open("rb") as file:
            return file.read(size).decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
