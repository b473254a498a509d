"""A Wombat config: read it, have Wombat lint it, run the unit tests inside it, run it alone.

The streams API's own check misses errors inside mappings, so ``wombat lint`` is always asked first.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import hashlib
import html
import json
import re
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from platform_kit import binaries
from platform_kit.errors import LintError, PipelineError, PipelineTestError
from platform_kit.pipelines.run import PipelineRun, checked_variables, run_pipeline
from platform_kit.reprs import clean
from platform_kit.servers.process import base_environment
from platform_kit.settings import Settings

NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")
TOOL_TIMEOUT_S = 60.0
TEST_SUFFIX = "_benthos_test"
_PROBLEM = re.compile(r"^(?P<file>.+?)\((?P<line>\d+),(?P<column>\d+)\) (?P<what>.*)$")
_MISSING = re.compile(r"required environment variables were not set: \[(?P<names>.*)\]")
_PATTERN = re.compile(r"[][*?\\]")
# Wombat finds these in its environment; for lint and test any value does.
PLACEHOLDERS = {"PLATFORM_NATS_URL": "nats://127.0.0.1:4222", "PLATFORM_NKEY_FILE": "/dev/null"}


@dataclass(frozen=True)
class LintProblem:
    """Something Wombat's linter found; ``line`` and ``column`` count from 1."""

    line: int
    column: int
    what: str

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}: {self.what}"


@dataclass(frozen=True)
class PipelineTests:
    """The outcome of a config's own unit tests: how many there are, and Wombat's report on failures."""

    count: int
    passed: bool
    report: str


@dataclass(frozen=True)
class Pipeline:
    """A Wombat config under a name.

    Parameters
    ----------
    name: What it is deployed as: letters, digits, ``_`` and ``-``.
    text: The config as YAML.
    path: The file it was read from, if any.

    Example
    -------
    >>> Pipeline("echo", "input: {stdin: {}}\\noutput: {stdout: {}}").config["output"]
    {'stdout': {}}
    """

    name: str
    text: str = field(repr=False)
    path: Path | None = None

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise PipelineError(
                f"{self.name!r} cannot be the name of a pipeline.",
                hint="Use letters, digits, _ and -, at most 100 of them.",
            )

    @classmethod
    def read(cls, path: str | Path, *, name: str | None = None) -> Pipeline:
        """Read a config from a YAML file; its name is the file's unless given.

        Errors: ``PipelineError`` when there is no such file, or it is not text.
        """
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise PipelineError(
                f"The pipeline {path} cannot be read: {error.strerror}.", hint="Check the path."
            ) from error
        except UnicodeDecodeError as error:
            raise PipelineError(
                f"The pipeline {path} is not UTF-8 text.", hint="Save it as UTF-8."
            ) from error
        return cls(name or path.stem, text, path.resolve())

    def _repr_html_(self) -> str:
        """The text with the numbers of its lines, which errors name."""
        lines = self.text.splitlines()
        width = len(str(len(lines)))
        shown = "\n".join(
            f'<span style="opacity:.5;user-select:none">{number:>{width}}  </span>{html.escape(clean(line))}'
            for number, line in enumerate(lines, 1)
        )
        # By hand, since exported notebooks give code in an output the font of the text.
        return (
            '<pre style="font-family:var(--jp-code-font-family,monospace);font-size:12px;line-height:1.4;'
            f'white-space:pre;background:transparent;color:inherit;overflow-x:auto">{shown}</pre>'
        )

    @property
    def config(self) -> dict[str, Any]:
        """The parsed config without its unit tests: what is deployed.

        Errors: ``LintError`` when it is not YAML, or no mapping.
        """
        found = {key: value for key, value in self._document().items() if key != "tests"}
        return copy.deepcopy(found)

    @property
    def digest(self) -> str:
        """Identifies what is deployed: a comment or a test may change, and it stays the same."""
        return hashlib.sha256(json.dumps(self.config, sort_keys=True).encode()).hexdigest()

    def _document(self) -> dict[str, Any]:
        import yaml

        try:
            found = _load(self.text)
        except (yaml.YAMLError, RecursionError, ValueError) as error:
            problem = _position(error)
            raise LintError(
                f"{self.path or self.name} is not YAML: {problem}",
                problems=[problem],
                hint="Mend the line named above.",
            ) from error
        if not isinstance(found, dict):
            kind = "empty" if found is None else f"a {type(found).__name__}"
            raise LintError(
                f"{self.path or self.name} is {kind}, not a mapping.",
                problems=[LintProblem(1, 1, f"expected a mapping, found {kind}")],
                hint="A Wombat config has the keys input, pipeline and output.",
            )
        return found

    def problems(
        self,
        *,
        variables: Mapping[str, object] | None = None,
        cwd: Path | None = None,
        settings: Settings | None = None,
    ) -> list[LintProblem]:
        """What Wombat's linter finds; an empty list when all is well. Parameters as :meth:`lint`."""
        values = PLACEHOLDERS if variables is None else checked_variables(variables)
        code, output = self._tool("lint", settings, variables=values, cwd=cwd)
        found = []
        for line in output.splitlines():
            if match := _PROBLEM.match(line):
                place = max(1, int(match["line"])), max(1, int(match["column"]))
                found.append(self._placed(LintProblem(*place, match["what"])))
        if code != 0 and not found:
            raise PipelineError(f"wombat lint failed on {self.name}: {output.strip()}")
        return found

    def lint(
        self,
        *,
        variables: Mapping[str, object] | None = None,
        cwd: Path | None = None,
        settings: Settings | None = None,
    ) -> list[LintProblem]:
        """Raise ``LintError`` with every problem and the line it is in; an empty list when all is well.

        Parameters
        ----------
        variables: Values of ``${NAME}`` in the config; by default what a platform sets.
        cwd: Where paths of files the config imports start; by default the folder it was read from.
        """
        settings = settings or Settings.load()
        # Values differ from run to run, such as the name of a new folder: there is nothing to remember.
        clean = None if variables else self._clean_mark(settings, variables, cwd)
        if clean is not None and clean.exists():
            return []
        problems = self.problems(variables=variables, cwd=cwd, settings=settings)
        if not problems and clean is not None:
            with contextlib.suppress(OSError):  # it is only linted again
                clean.parent.mkdir(parents=True, exist_ok=True)
                clean.touch()
        if problems:
            lines = self.text.splitlines()
            shown = "\n".join(f"  {problem}\n{_excerpt(lines, problem)}" for problem in problems[:20])
            raise LintError(
                f"{self.path or self.name}: {len(problems)} problem(s)\n{shown}",
                problems=problems,
                hint="Mend the lines above and run it again.",
            )
        return problems

    def test(self, *, settings: Settings | None = None) -> PipelineTests:
        """Run the unit tests inside the config with ``wombat test``.

        Errors: ``PipelineTestError`` with Wombat's own report when one fails.
        """
        self.lint(settings=settings)
        count = self._test_count()
        if count == 0:
            return PipelineTests(0, True, "")
        code, output = self._tool("test", settings)
        if code != 0:
            raise PipelineTestError(
                f"{self.path or self.name}: its unit tests fail.\n{output.strip()}",
                hint="Wombat's report above names the test, its line, what was expected and what came.",
            )
        return PipelineTests(count, True, output.strip())

    def run(
        self,
        *,
        variables: Mapping[str, object] | None = None,
        cwd: str | Path | None = None,
        timeout_s: float = 60.0,
        settings: Settings | None = None,
    ) -> PipelineRun:
        """Lint it, then run it in a Wombat of its own until its input has ended; no platform is needed.

        Wombat's HTTP interface is off; nothing of it is left, however this ends, Ctrl-C and a killed kernel
        included.

        Parameters
        ----------
        variables: Values of ``${NAME}`` in the config: texts, numbers, paths. Nothing else of this process's
            environment is seen by the config.
        cwd: Where relative paths in the config start; by default the working directory, as in a terminal.
        timeout_s: Seconds after which it is ended. A file that cannot be read or written ends it sooner.

        Errors: ``LintError`` with line and column, ``PipelineRunError`` when it does not come to its end.

        Example
        -------
        >>> three = "input: { generate: { count: 3, interval: '', mapping: 'root.n = counter()' } }"
        >>> run = Pipeline("three", three + "\\noutput: { stdout: {} }").run()
        >>> run.received, run.sent, run.output
        (3, 3, '{"n":1}\\n{"n":2}\\n{"n":3}\\n')
        """
        return run_pipeline(self, variables=variables, cwd=cwd, timeout_s=timeout_s, settings=settings)

    def _placed(self, problem: LintProblem) -> LintProblem:
        """Some problems Wombat reports in the first line, whatever line they are in."""
        import yaml

        if missing := _MISSING.search(problem.what):
            return self._unset(missing["names"].split(", "))
        if problem.what.startswith("yaml:"):
            try:
                _load(self.text)
            except (yaml.YAMLError, RecursionError, ValueError) as error:
                return _position(error)
        return _in_block(self.text, problem)

    def _unset(self, names: list[str]) -> LintProblem:
        """Variables without a value, at the first place one is used."""
        places = [place for name in names if (place := self.text.find(f"${{{name}}}")) >= 0]
        before = self.text[: min(places, default=0)]
        return LintProblem(
            before.count("\n") + 1,
            len(before) - before.rfind("\n"),
            f"no value for {', '.join(f'${{{name}}}' for name in names)}; "
            f"give it with variables={{{names[0]!r}: ...}}, or a default with ${{{names[0]}:default}}",
        )

    def _clean_mark(
        self, settings: Settings, variables: Mapping[str, object] | None, cwd: Path | None
    ) -> Path:
        """A file that says that this text passed this Wombat's linter."""
        wombat = binaries.ensure("wombat", settings)
        about = [str(wombat), self.text]
        if variables is not None or cwd is not None:
            about += ["" if variables is None else "no variables", str(cwd)]
        return settings.cache_dir / "lint" / hashlib.sha256("\0".join(about).encode()).hexdigest()

    def _tool(
        self,
        command: str,
        settings: Settings | None,
        *,
        variables: Mapping[str, str] = PLACEHOLDERS,
        cwd: Path | None = None,
    ) -> tuple[int, str]:
        settings = settings or Settings.load()
        wombat = binaries.ensure("wombat", settings)
        with tempfile.TemporaryDirectory(prefix="platform-kit-pipeline-") as folder:
            # A config may name files beside it (mocks, test data): its own folder is where it is tested.
            path = self.path if cwd is None and self._unchanged() else Path(folder) / f"{self.name}.yaml"
            assert path is not None
            if path.parent == Path(folder):
                path.write_text(self.text, encoding="utf-8")
            # Wombat takes the brackets in a path for a pattern: its bare name is given where that will do.
            place = path.name if cwd is None else _PATTERN.sub(r"\\\g<0>", str(path))
            try:
                done = subprocess.run(
                    [str(wombat), command, place],
                    cwd=cwd or path.parent,
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    text=True,
                    errors="replace",
                    env=base_environment() | dict(variables),
                    timeout=TOOL_TIMEOUT_S,
                    check=False,
                )
            except subprocess.TimeoutExpired as error:
                raise PipelineError(
                    f"wombat {command} of {self.name} did not end within {TOOL_TIMEOUT_S:g} s.",
                    hint="A test may wait for a service; mock its processor.",
                ) from error
        return done.returncode, done.stdout + done.stderr

    def _test_count(self) -> int:
        """Tests inside the config, and in the file beside it that Wombat also looks at."""
        configs = [self]
        if self.path is not None and self._unchanged():
            beside = self.path.with_name(f"{self.path.stem}{TEST_SUFFIX}{self.path.suffix}")
            if beside.is_file():
                configs.append(Pipeline.read(beside, name="tests"))
        return sum(len(config._document().get("tests") or []) for config in configs)

    def _unchanged(self) -> bool:
        try:
            return self.path is not None and self.path.read_text(encoding="utf-8") == self.text
        except (OSError, UnicodeDecodeError):
            return False


@functools.lru_cache(maxsize=16)
def _load(text: str) -> Any:
    """Parse YAML as Wombat does: ``on`` and ``2026-01-31`` are text, only ``true`` and ``false`` are not."""
    import yaml

    class Loader(yaml.SafeLoader):
        yaml_implicit_resolvers = {  # noqa: RUF012
            first: [
                (tag, pattern)
                for tag, pattern in resolvers
                if tag not in ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:bool")
            ]
            for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

    Loader.add_implicit_resolver(
        "tag:yaml.org,2002:bool", re.compile("^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
    )
    return yaml.load(text, Loader)


def _position(error: Exception) -> LintProblem:
    """Where a text stops being YAML."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        what = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        return LintProblem(1, 1, what)
    return LintProblem(mark.line + 1, mark.column + 1, str(getattr(error, "problem", None) or error))


def _in_block(text: str, problem: LintProblem) -> LintProblem:
    """Inside a block (``mapping: |``) Wombat counts columns from the ``|``; count from the line's start."""
    import yaml

    try:
        for token in yaml.scan(text, yaml.SafeLoader):
            if not isinstance(token, yaml.ScalarToken) or token.style != "|":
                continue
            first, last = token.start_mark.line + 1, token.end_mark.line
            if first < problem.line <= last:
                lines = text.splitlines()[first:last]
                indent = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
                column = problem.column - (token.start_mark.column + 1) + indent
                return LintProblem(problem.line, max(1, column), problem.what)
    except (yaml.YAMLError, RecursionError):
        pass
    return problem


def _excerpt(lines: list[str], problem: LintProblem) -> str:
    if not 1 <= problem.line <= len(lines):
        return ""
    line = lines[problem.line - 1]
    start = max(0, problem.column - 80)
    return f"    {line[start : start + 120]}\n    {' ' * (problem.column - 1 - start)}^"
