"""From what a user names (a worker of the kit, a Go module, a binary) to a program that says who it is."""

from __future__ import annotations

import json
import os
import re
import subprocess
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
PROTOCOL = 1
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
        done = subprocess.run(
            [str(binary), "describe"],
            env=base_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=DESCRIBE_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise BinaryError(
            f"{binary} did not answer `describe` within {DESCRIBE_TIMEOUT_S:g} s.", hint=hint
        ) from error
    except OSError as error:
        raise BinaryError(
            f"{binary} cannot be run: {error.strerror}.", hint="Is it built for this machine?"
        ) from error
    output = done.stdout.decode("utf-8", "replace").strip()
    if done.returncode:
        said = (done.stderr.decode("utf-8", "replace").strip() or output).splitlines()
        shown = f" It said: {shorten(clean(said[-1]), 160)}" if said else ""
        raise BinaryError(
            f"{binary} is not a worker: `describe` ended with exit code {done.returncode}.{shown}", hint=hint
        )
    try:
        try:
            found = json.loads(output)
        except ValueError:
            raise ValueError("is not JSON") from None
        return _program(found, binary, source or binary)
    except ValueError as error:
        raise BinaryError(
            f"{binary} is not a worker: its answer to `describe` {error}: {shorten(clean(output), 160)!r}.",
            hint=hint,
        ) from error


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
    if "serve" not in program.transports:
        raise UsageError(
            f"{program.binary} does not serve on NATS, only as {', '.join(program.transports)}.",
            hint="Use it in a Wombat pipeline as a subprocess or a command.",
        )
    return WorkerKind(
        name=name or (str(program.source) if str(program.source) in kit_workers() else program.name),
        service=program.name,
        binary=program.binary,
        version=program.version,
        source=program.source,
        env=dict(env),
    )
