"""From what a user names (a worker of the kit, a Go module, a binary) to a program that says who it is."""

from __future__ import annotations

import contextlib
import json
import os
import re
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from platform_kit import binaries
from platform_kit.binaries import Progress
from platform_kit.errors import BinaryError, UsageError
from platform_kit.reprs import clean, shorten
from platform_kit.servers.process import base_environment
from platform_kit.servers.worker import SETTINGS, WorkerKind
from platform_kit.settings import Settings
from platform_kit.workers.gomodule import build_module

DESCRIBE_TIMEOUT_S = 10.0
DESCRIBE_BYTES = 64 * 1024
"""What a worker says of itself is one line; who writes more than this is none."""

PROTOCOL = 1
TRANSPORTS = ("serve", "subprocess", "command")
CRASHES = ("panic:", "fatal error:")
"""How a Go program begins to say why it ends; its stack follows, in many lines."""

NAME = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,62}[a-z0-9])?")
"""A token of a subject, a part of a file's name, and a word one likes to type."""

NAME_RULE = "Use lower-case letters, digits, - and _, at most 64, such as card-renderer."


@dataclass(frozen=True)
class Program:
    """A worker that can be run.

    Parameters
    ----------
    binary: The executable.
    source: The module's folder, or the binary itself.
    name: Its subject is ``workers.<name>``.
    version: What it says of itself, such as "1.2.3".
    build: The key of its build; "" where it was built otherwise.
    transports: Of "serve", "subprocess", "command".
    max_request_bytes: The largest request it takes, or None if it does not say.
    """

    binary: Path
    source: Path
    name: str
    version: str
    build: str
    transports: tuple[str, ...]
    max_request_bytes: int | None


def kit_workers() -> list[str]:
    """The names of the kit's own workers."""
    return [name for name, spec in binaries.SPECS.items() if getattr(spec, "worker", False)]


def locate(path: str | Path, settings: Settings, *, progress: Progress | None = None) -> tuple[Path, Path]:
    """Return binary and source of a worker, built if need be; it is not run.

    Parameters
    ----------
    path: The name of one of the kit's workers, a folder with (or in) a Go module, or an executable.

    Errors: ``UsageError``, ``BuildError``.
    """
    if isinstance(path, str) and path in kit_workers():
        binary = binaries.ensure(path, settings, progress=progress)
        return binary, Path(path)
    if not isinstance(path, (str, Path)) or not str(path) or "\0" in str(path):
        raise UsageError(f"{path!r} is not the path of a worker.", hint="Give a text or a Path.")
    found = Path(path).expanduser().absolute()
    if found.is_dir() or (found.suffix == ".go" and found.is_file()):
        return build_module(found, settings, progress=progress), found.resolve()
    if not found.exists():
        raise UsageError(
            f"There is no worker {str(path)!r}.",
            hint=f"Name a folder with a Go module, an executable, or one of {', '.join(kit_workers())}.",
        )
    if not os.access(found, os.X_OK):
        raise UsageError(f"{found} cannot be executed.", hint=f"`chmod +x {found}`, if it is a worker.")
    return found, found


def find_program(
    path: str | Path, settings: Settings | None = None, *, progress: Progress | None = None
) -> Program:
    """Return the worker a path stands for, built if need be and asked who it is.

    Errors: ``UsageError``, ``BuildError``; ``BinaryError`` when it does not answer ``describe``.

    Example
    -------
    >>> find_program("card-renderer").name
    'card-renderer'
    """
    binary, source = locate(path, settings or Settings.load(), progress=progress)
    return describe(binary, source)


def describe(binary: Path, source: Path | None = None) -> Program:
    """Ask a binary who it is.

    Errors: ``BinaryError`` with what it said instead.
    """
    hint = "`BIN describe` writes one line of JSON and ends; the Go package platform-kit/worker does it."
    try:
        exit_code, stdout, stderr = _ask(binary)
    except OSError as error:
        raise BinaryError(
            f"{binary} cannot be run: {error.strerror}.", hint="Is it built for this machine?"
        ) from error
    output = stdout.decode("utf-8", "replace").strip()
    if len(stdout) > DESCRIBE_BYTES:
        raise BinaryError(
            f"{binary} is not a worker: its answer to `describe` is above {DESCRIBE_BYTES // 1024} KiB: "
            f"{_shown(output)!r}.",
            hint=hint,
        )
    if exit_code is None:
        raise BinaryError(f"{binary} did not answer `describe` within {DESCRIBE_TIMEOUT_S:g} s.", hint=hint)
    if exit_code:
        line = last_words(stderr.decode("utf-8", "replace")) or last_words(output)
        said = f" It said: {_shown(line)}" if line else ""
        if line.startswith(CRASHES):
            hint = (
                "`describe` must work anywhere: what a handler needs is made in the setup of worker.MainWith."
            )
        raise BinaryError(
            f"{binary} is not a worker: `describe` ended with exit code {exit_code}.{said}", hint=hint
        )
    try:
        try:
            found = json.loads(output)
        except (ValueError, RecursionError):
            raise ValueError("is not JSON") from None
        return _program(found, binary, source or binary)
    except ValueError as error:
        raise BinaryError(
            f"{binary} is not a worker: its answer to `describe` {error}: {_shown(output)!r}.",
            hint=hint,
        ) from error


def last_words(text: str) -> str:
    """The line that says why a program ended: where a crash begins, else the last; "" if there is none."""
    lines = [line for line in text.splitlines() if line.strip()]
    return next((line for line in lines if line.startswith(CRASHES)), lines[-1] if lines else "")


def named_transports(program: Program) -> str:
    """The transports of a worker that names none that can be used, in words."""
    others = f"only {_shown(', '.join(program.transports))}" if program.transports else "no transport"
    return f"{others}; the kit knows {', '.join(TRANSPORTS)}"


def _shown(text: str) -> str:
    return shorten(clean(text[:1000]), 160)


def _ask(binary: Path) -> tuple[int | None, bytes, bytes]:
    """Exit code (None if the time ran out), stdout (a byte above the limit at most) and stderr (its head).

    Whatever it started is ended with it: it has a process group of its own.
    """
    process = subprocess.Popen(
        [str(binary), "describe"],
        env=base_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        process_group=0,
        bufsize=0,
    )
    assert process.stdout is not None and process.stderr is not None
    out, err = process.stdout.fileno(), process.stderr.fileno()
    kept = {out: bytearray(), err: bytearray()}
    deadline = time.monotonic() + DESCRIBE_TIMEOUT_S
    ended = False
    pause = 0.001
    try:
        with selectors.DefaultSelector() as selector:
            for number in kept:
                selector.register(number, selectors.EVENT_READ)
            while len(kept[out]) <= DESCRIBE_BYTES and (left := deadline - time.monotonic()) > 0:
                ready = selector.select(0.0 if ended else min(pause, left))
                for key, _ in ready:
                    data = os.read(key.fd, DESCRIBE_BYTES)
                    if not data:
                        selector.unregister(key.fd)
                    kept[key.fd] += data[: DESCRIBE_BYTES + 1 - len(kept[key.fd])]
                if ended and not ready:  # a child of its own may hold the pipes open
                    break
                # It is not reaped yet: until the group is ended, nobody else can have its number.
                ended = ended or _has_ended(process.pid)
                pause = min(pause * 1.5, 0.05)
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        process.stderr.close()
    return process.returncode if ended else None, bytes(kept[out]), bytes(kept[err])


def _has_ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _program(found: Any, binary: Path, source: Path) -> Program:
    """What an answer to ``describe`` says. Raises ``ValueError`` saying what it lacks."""
    if not isinstance(found, dict):
        raise ValueError("is no JSON object")
    name = found.get("name")
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_-]{1,100}", name):
        raise ValueError("has no name that could be part of a subject")
    if found.get("protocol") != PROTOCOL:
        raise ValueError(f"names the protocol {found.get('protocol')!r}, not {PROTOCOL}")
    transports = found.get("transports")
    if not isinstance(transports, list) or not all(isinstance(item, str) for item in transports):
        raise ValueError("has no list of transports")
    limit = found.get("max_request_bytes")
    return Program(
        binary=binary,
        source=source,
        name=name,
        version=str(found.get("version", "")),
        build=str(found.get("build", "")),
        transports=tuple(transports),
        max_request_bytes=limit if isinstance(limit, int) and limit > 0 else None,
    )


def worker_kind(program: Program, *, name: str | None, env: Mapping[str, str]) -> WorkerKind:
    """What is to be supervised.

    Errors: ``UsageError`` for a name or a variable that cannot be.
    """
    if name is not None and not (isinstance(name, str) and NAME.fullmatch(name)):
        raise UsageError(f"name={name!r}.", hint=NAME_RULE)
    if not isinstance(env, Mapping):
        raise UsageError(
            f"env={_shown(repr(env))} are no names with values.",
            hint="Give a mapping, such as env={'MODEL': 'small'}.",
        )
    for key, value in env.items():
        if (
            not isinstance(key, str)
            or not isinstance(value, str)
            or "\0" in key + value
            or "=" in key
            or not key
        ):
            raise UsageError(f"env has {key!r}: {value!r}.", hint="Names and values are texts.")
        if key in SETTINGS:
            raise UsageError(f"env sets {key}.", hint="The platform itself tells a worker where it belongs.")
    if not set(program.transports) & set(TRANSPORTS):
        raise UsageError(
            f"{program.binary} is of no use: it names {named_transports(program)}.",
            hint="A worker's answer to `describe` lists the transports it speaks.",
        )
    if "serve" not in program.transports:
        raise UsageError(
            f"{program.binary} does not serve on NATS, only as {', '.join(program.transports)}.",
            hint="Use it in a Wombat pipeline as a subprocess or a command.",
        )
    called = name or (str(program.source) if str(program.source) in kit_workers() else program.name)
    if called in binaries.SPECS and called not in kit_workers():
        raise UsageError(
            f"{called!r} is a server of the platform: no worker can be called so here.",
            hint="Give it another name with name=.",
        )
    return WorkerKind(
        name=called,
        service=program.name,
        binary=program.binary,
        version=program.version,
        source=program.source,
        env=dict(env),
    )
