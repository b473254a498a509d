"""Every error the kit raises on purpose, in one hierarchy.

    PlatformKitError
    ├── UsageError                a call or a command that cannot mean anything
    │   └── OptionError           options of a stream, consumer or bucket that cannot be; lists each
    ├── SettingsError             a value in .config/ or a PLATFORM_KIT_* variable
    ├── BinaryError               a binary that is needed and is not there
    │   └── BuildError            the Go toolchain said no
    ├── ServerError               something about a running process
    │   ├── StartupError          it did not become ready: command, exit code, log tail
    │   ├── StopError             it did not end, or something of it was left
    │   └── NotRunningError       it has to run for this, and does not
    ├── StreamError               JetStream refused, or answered what was not expected
    │   └── ExistsError           it is there already with other options; lists what differs
    ├── PipelineError             a Wombat config
    │   ├── LintError             with line and column
    │   ├── PipelineTestError     its own unit tests fail
    │   ├── PipelineRunError      run alone, it did not come to its end: log tail, what it did until then
    │   └── DeployError           Wombat did not take it, or it did not become ready
    ├── DeckError                 a deck that cannot be read at all
    ├── TemplateError             a template that cannot be used
    └── RunError                  a whole job
        ├── RunStalled            no progress within the time limit
        ├── WaitTimeout           wait() reached its limit; the job goes on (also a TimeoutError)
        └── RunCancelled          somebody cancelled it

A message has two parts: what happened, with the value, and what to do next (``hint``).
"""

from __future__ import annotations

from collections.abc import Sequence


class PlatformKitError(Exception):
    """Base of all errors the kit raises on purpose.

    Parameters
    ----------
    what: What happened, naming the value that caused it.
    hint: What the reader can do next, in one sentence.

    Example
    -------
    >>> str(PlatformKitError("deck.csv is empty.", hint="Add a header row."))
    'deck.csv is empty.\\n  → Add a header row.'
    """

    def __init__(self, what: str, *, hint: str = "") -> None:
        super().__init__(what, hint)
        self.what = what
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.what}\n  → {self.hint}" if self.hint else self.what


class UsageError(PlatformKitError):
    """A call, or a command line, that cannot mean anything."""


class OptionError(UsageError):
    """Options of a stream, consumer or bucket that cannot be; ``problems`` has one sentence for each.

    >>> print(OptionError("Wrong option of a stream", ["max_msg: no such option; did you mean max_msgs?"]))
    Wrong option of a stream:
      max_msg: no such option; did you mean max_msgs?
    """

    def __init__(self, what: str, problems: Sequence[str], *, hint: str = "") -> None:
        super().__init__("\n  ".join([f"{what}:", *problems]), hint=hint)
        self.problems = tuple(problems)


class SettingsError(PlatformKitError):
    """A setting that has a value it cannot have."""


class BinaryError(PlatformKitError):
    """A binary that is needed and is not there."""


class BuildError(BinaryError):
    """The Go toolchain could not build a binary."""


class ServerError(PlatformKitError):
    """Something about a process of the platform."""


class StartupError(ServerError):
    """A process did not become ready.

    Parameters
    ----------
    what: What happened.
    command: The command that was run; it never holds a secret.
    exit_code: Its exit code, or None if it was still running.
    log_tail: The last lines it wrote.
    hint: What to do next.
    """

    def __init__(
        self,
        what: str,
        *,
        command: Sequence[str] = (),
        exit_code: int | None = None,
        log_tail: str = "",
        hint: str = "",
    ) -> None:
        super().__init__(what, hint=hint)
        self.command = tuple(command)
        self.exit_code = exit_code
        self.log_tail = log_tail

    def __str__(self) -> str:
        lines = [self.what]
        if self.command:
            lines.append(f"  command:   {' '.join(self.command)}")
        if self.exit_code is not None:
            lines.append(f"  exit code: {self.exit_code}")
        if self.log_tail.strip():
            lines.append("  log:")
            lines.extend(f"    {line}" for line in self.log_tail.rstrip().splitlines())
        if self.hint:
            lines.append(f"  → {self.hint}")
        return "\n".join(lines)


class StopError(ServerError):
    """A process did not end."""


class NotRunningError(ServerError):
    """The platform, or a part of it, has to run for this, and does not."""


class StreamError(PlatformKitError):
    """JetStream refused, or answered what was not expected; ``err_code`` is the server's, 0 without one."""

    def __init__(self, what: str, *, hint: str = "", err_code: int = 0) -> None:
        super().__init__(what, hint=hint)
        self.err_code = err_code


class ExistsError(StreamError):
    """It is there already, with other options; ``differences`` has option, old and new of each."""

    def __init__(
        self, what: str, *, differences: Sequence[object] = (), hint: str = "", err_code: int = 0
    ) -> None:
        super().__init__("\n  ".join([what, *map(str, differences)]), hint=hint, err_code=err_code)
        self.differences = tuple(differences)


class PipelineError(PlatformKitError):
    """A Wombat config that cannot be used."""


class LintError(PipelineError):
    """Wombat's linter found something; ``problems`` lists it with line and column."""

    def __init__(self, what: str, *, problems: Sequence[object] = (), hint: str = "") -> None:
        super().__init__(what, hint=hint)
        self.problems = tuple(problems)


class PipelineTestError(PipelineError):
    """The unit tests inside a Wombat config fail."""


class PipelineRunError(PipelineError):
    """A pipeline that was run alone did not come to its end; ``run`` holds what it did until then."""

    def __init__(self, what: str, *, run: object = None, log_tail: str = "", hint: str = "") -> None:
        super().__init__(what, hint=hint)
        self.run = run
        self.log_tail = log_tail

    def __str__(self) -> str:
        lines = [self.what]
        if self.log_tail.strip():
            lines.append("  log:")
            lines.extend(f"    {line}" for line in self.log_tail.rstrip().splitlines())
        if self.hint:
            lines.append(f"  → {self.hint}")
        return "\n".join(lines)


class DeployError(PipelineError):
    """Wombat did not take a pipeline, or it did not become ready."""


class DeckError(PlatformKitError):
    """A deck that cannot be read at all. A single broken row is no error: it is rejected."""


class TemplateError(PlatformKitError):
    """A template that cannot be used."""


class RunError(PlatformKitError):
    """A whole job did not come to its end."""


class RunStalled(RunError):
    """Nothing moved within the time limit."""


class WaitTimeout(RunError, TimeoutError):
    """A wait reached its limit before the job ended; also a built-in ``TimeoutError``."""


class RunCancelled(RunError):
    """The job was cancelled."""
