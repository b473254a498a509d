"""Every check of the project, one after the other, and a table of how they went. `./kit test` runs this.

Arguments go to the last pytest. A step that fails does not stop the others; the exit code is 1 if any failed.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from platform_kit.binaries.build import go_environment
from platform_kit.binaries.keys import Toolchain
from platform_kit.binaries.specs import GO_MODULE
from platform_kit.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
# It only puts Wombat together; with the race detector its 500 packages would take minutes more.
WITHOUT_RACE = "platform-kit/cmd/wombat"
FUZZ_TIME = "3s"
# Most tests wait for a server most of the time. A file stays together: its tests share what they start.
SIDE_BY_SIDE = ["-n", str(min(os.cpu_count() or 1, 4)), "--dist", "loadfile"]


@dataclass
class Step:
    """One command. ``quiet_is_good``: any output means that it failed."""

    name: str
    command: Sequence[str | Path]
    cwd: Path = ROOT
    env: dict[str, str] | None = None
    timeout_s: float = 900
    note: str = ""
    quiet_is_good: bool = False
    failed: bool = field(default=False, init=False)
    seconds: float = field(default=0.0, init=False)

    def run(self) -> None:
        """Run it with its output on ours, and note how it went."""
        print(f"\n── {self.name} " + "─" * max(0, 100 - len(self.name)), flush=True)
        started = time.monotonic()
        process = subprocess.Popen(
            [str(part) for part in self.command],
            cwd=self.cwd,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if self.quiet_is_good else None,
            text=True,
            process_group=0,
        )
        try:
            output, _ = process.communicate(timeout=self.timeout_s)
            if output:
                print(output, end="", flush=True)
            self.failed = process.returncode != 0 or bool(output)
        except subprocess.TimeoutExpired:
            self.failed = True
            self.note = f"ended after {self.timeout_s:.0f} s"
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
            self.seconds = time.monotonic() - started


def python_steps() -> list[Step]:
    """Form and types of the Python code."""
    python = sys.executable
    return [
        Step("ruff check", [python, "-m", "ruff", "check", "."]),
        Step("ruff format", [python, "-m", "ruff", "format", "--check", "."]),
        Step("mypy", [python, "-m", "mypy"]),
    ]


def go_steps() -> list[Step]:
    """Form, vet and tests of the Go code, with the toolchain that builds the binaries."""
    toolchain = Toolchain.find()
    go = toolchain.go
    plain = go_environment(Settings.load().cache_dir) | {"PLATFORM_PYTHON": sys.executable}
    listed = subprocess.run(
        [go, "list", "./..."], cwd=GO_MODULE, env=plain, stdout=subprocess.PIPE, text=True, check=False
    )
    packages = [line for line in listed.stdout.split() if line != WITHOUT_RACE]
    compiler = any(shutil.which(name) for name in ("cc", "gcc", "clang"))
    tests = Step(
        "go test",
        [go, "test", "-vet=off", "-trimpath", "-timeout", "5m", *packages],
        GO_MODULE,
        plain,
        note="without -race: there is no C compiler",
    )
    if compiler or sys.platform == "darwin" or os.environ.get("CI"):  # CI never goes without
        tests = Step(
            "go test -race",
            [go, "test", "-vet=off", "-race", "-timeout", "10m", *packages],
            GO_MODULE,
            plain | {"CGO_ENABLED": "1"},
        )
    # Vet is a step of its own; inside `go test` it would look at every dependency once more for -race.
    # Wombat's entry point has 500 dependencies and next to no code.
    return [
        Step("gofmt", [go.with_name("gofmt"), "-l", "."], GO_MODULE, plain, quiet_is_good=True),
        Step("go vet", [go, "vet", "-trimpath", *packages], GO_MODULE, plain),
        tests,
        Step("go test wombat", [go, "test", "-vet=off", "-trimpath", WITHOUT_RACE], GO_MODULE, plain),
        *(
            Step(
                f"{package.name} {target}",
                [go, "test", "-vet=off", "-run=^$", f"-fuzz=^{target}$", f"-fuzztime={FUZZ_TIME}", "."],
                package,
                plain,
            )
            for package, target in fuzz_targets(GO_MODULE)
        ),
    ]


def fuzz_targets(module: Path) -> list[tuple[Path, str]]:
    """Each fuzz test of a Go module: its folder and its name. ``go test`` takes one at a time."""
    found = []
    for path in sorted(module.rglob("*_test.go")):
        for name in re.findall(r"(?m)^func (Fuzz\w+)\(", path.read_text(encoding="utf-8")):
            found.append((path.parent, name))
    return found


def pytest_steps(arguments: Sequence[str]) -> list[Step]:
    """The notebooks by nbval, then everything under tests/."""
    pytest = [sys.executable, "-m", "pytest"]
    steps = []
    if any((ROOT / "notebooks").glob("*.ipynb")):
        sanitize = ROOT / ".config" / "nbval_sanitize.cfg"
        steps.append(
            Step(
                "notebooks",
                [*pytest, "--nbval-lax", "--nbval-sanitize-with", sanitize, "-W", "default", "notebooks"],
            )
        )
    steps.append(Step("pytest", [*pytest, *SIDE_BY_SIDE, *arguments]))
    return steps


def main(arguments: Sequence[str]) -> int:
    """Run all steps and print the table."""
    steps = [*python_steps(), *go_steps(), *pytest_steps(arguments)]
    for step in steps:
        step.run()
    print("\n" + "─" * 103)
    for step in steps:
        verdict = "FAILED" if step.failed else "passed"
        note = f"  ({step.note})" if step.note else ""
        print(f"{step.name:<28} {verdict}  {step.seconds:7.1f} s{note}")
    failed = [step.name for step in steps if step.failed]
    print(
        f"{sum(step.seconds for step in steps):>44.1f} s in all"
        + (f"; failed: {', '.join(failed)}" if failed else "")
    )
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
