"""Build a worker from its Go module, together with the kit's module, and keep the binary in the cache.

The two are joined by a go.work file made for the build: the user's go.mod then needs neither a ``replace``
nor the kit's requirements, whose checksums are taken from the kit's go.sum.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from platform_kit.binaries.build import Progress, failure, go_environment
from platform_kit.binaries.ensure import build_once, cached_path, note_use
from platform_kit.binaries.keys import Toolchain, build_flags
from platform_kit.binaries.specs import GO_MODULE, GoBinary
from platform_kit.errors import BinaryError, BuildError, UsageError
from platform_kit.settings import Settings

LIST_TIMEOUT_S = 900.0
"""Listing downloads what the module requires; a build without any progress for longer is stuck."""

_FILES = ("GoFiles", "CgoFiles", "SFiles", "HFiles", "CFiles", "SysoFiles", "EmbedFiles")
_FIELDS = ("Dir", "ImportPath", "Name", "Standard", "Module", *_FILES)
_SHOWN_PACKAGES = 5
_UNUSED_DAYS = 30


def find_module(path: Path) -> Path:
    """Return the folder with the go.mod a path belongs to.

    Errors: ``UsageError`` when there is none.
    """
    for folder in (path, *path.parents):
        if (folder / "go.mod").is_file():
            return folder
    raise UsageError(
        f"{path} belongs to no Go module: there is no go.mod in it or above.",
        hint="`platform-kit new worker NAME` writes a module to start from.",
    )


def build_module(path: Path, settings: Settings, *, progress: Progress | None = None) -> Path:
    """Build the main package in a folder, unless these very sources were built before.

    Parameters
    ----------
    path: The folder of the main package, or a file in it.

    Returns
    -------
    The path of the binary in the cache.

    Errors: ``UsageError`` for a folder that holds no main package, ``BuildError`` with the compiler's lines.
    """
    folder = (path if path.is_dir() else path.parent).resolve()
    module = find_module(folder)
    toolchain = Toolchain.find()
    relative = folder.relative_to(module).as_posix()
    spec = GoBinary(
        name=_file_name(folder.name),
        package="." if relative == "." else f"./{relative}",
        module=module,
        worker=True,
        workspace=None if module == GO_MODULE else write_workspace(module, toolchain, settings),
    )
    key = _key(spec, toolchain, settings)
    binary = cached_path(spec, key, settings)
    if binary.exists():
        note_use(binary.parent)
    else:
        build_once(spec, toolchain, binary, settings, key=key, full=False, progress=progress)
    return binary


def workspace_text(modules: list[str], toolchain: Toolchain) -> str:
    """The text of a go.work file over these folders."""
    # The toolchain's own version: a workspace must not ask for an older Go than its modules do.
    uses = "".join(f"\t{json.dumps(folder, ensure_ascii=False)}\n" for folder in modules)
    return f"go {toolchain.version.removeprefix('go')}\n\nuse (\n{uses})\n"


def write_workspace(module: Path, toolchain: Toolchain, settings: Settings) -> Path:
    """Write the go.work file that joins a module with the kit's, into the cache; return its path."""
    digest = hashlib.sha256(f"{module}\0{GO_MODULE}".encode()).hexdigest()[:20]
    path = settings.cache_dir / "workspaces" / digest / "go.work"
    text = workspace_text([str(module), *_beside(module, toolchain, settings), str(GO_MODULE)], toolchain)
    try:
        if path.is_file() and path.read_text("utf-8") == text:
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_name(f".go.work.{os.getpid()}")
        scratch.write_text(text, "utf-8")
        os.replace(scratch, path)
        _prune(path.parent)
    except OSError as error:
        raise BinaryError(
            f"{path} cannot be written: {error.strerror}.",
            hint="Set PLATFORM_KIT_CACHE to a folder of yours.",
        ) from error
    return path


# ------------------------------------------------------------------------------ inside


def _beside(module: Path, toolchain: Toolchain, settings: Settings) -> list[str]:
    """The other modules of the user's own go.work, if the module is in one; the kit is added by us."""
    folder = next((up for up in (module, *module.parents) if (up / "go.work").is_file()), None)
    if folder is None:
        return []
    done = subprocess.run(
        [str(toolchain.go), "work", "edit", "-json", str(folder / "go.work")],
        env=go_environment(settings.cache_dir),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=LIST_TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        return []
    uses = [(folder / use["DiskPath"]).resolve() for use in json.loads(done.stdout).get("Use") or ()]
    if module not in uses:
        return []
    # One written on another machine names the kit where it is not, or another checkout's.
    return [
        str(use) for use in uses if use != module and _module_path(use) not in ("", _module_path(GO_MODULE))
    ]


def _prune(kept: Path) -> None:
    """Remove workspaces that were written more than a month ago; one that is needed is written again."""
    oldest = time.time() - _UNUSED_DAYS * 86_400
    for folder in kept.parent.iterdir():
        with contextlib.suppress(OSError):
            if folder != kept and (folder / "go.work").stat().st_mtime < oldest:
                shutil.rmtree(folder)


def _module_path(folder: Path) -> str:
    """The path a module's go.mod gives it; "" where there is none."""
    try:
        found = re.search(r"(?m)^module\s+(\S+)", (folder / "go.mod").read_text("utf-8"))
    except (OSError, UnicodeDecodeError):
        return ""
    return found[1].strip('"') if found else ""


def _key(spec: GoBinary, toolchain: Toolchain, settings: Settings) -> str:
    """The SHA-256 over every source the binary is made of, as Go itself names them.

    Of modules from elsewhere the version is enough: go.sum holds their content fast.
    """
    packages = _packages(spec, toolchain, settings)
    main = packages[-1]
    if main["Name"] != "main":
        raise _no_program(spec, toolchain, settings, f"its package is {main['Name']}, not main")
    digest = hashlib.sha256()
    machine = os.uname().machine
    for part in (spec.name, toolchain.version, sys.platform, machine, *build_flags(spec, full=False)):
        digest.update(part.encode() + b"\0")
    for package in sorted(packages, key=lambda package: str(package["ImportPath"])):
        if package.get("Standard"):
            continue
        module = package.get("Module", {})
        if module.get("Version") and not module.get("Replace", {}).get("Dir"):
            digest.update(f"{package['ImportPath']}\0{module['Path']}@{module['Version']}\0".encode())
            continue
        digest.update(f"{package['ImportPath']}\0".encode())
        for name in sorted(name for files in _FILES for name in package.get(files) or ()):
            content = hashlib.sha256(Path(package["Dir"], name).read_bytes()).hexdigest()
            digest.update(f"{name}\0{content}\0".encode())
    return digest.hexdigest()


def _packages(spec: GoBinary, toolchain: Toolchain, settings: Settings) -> list[dict[str, Any]]:
    """The packages the program consists of, itself last."""
    done = _list(spec, toolchain, settings, "-deps", f"-json={','.join(_FIELDS)}", spec.package)
    if done.returncode:
        text = done.stderr
        if re.search(r"no Go files|matched no packages|build constraints exclude all", text):
            raise _no_program(spec, toolchain, settings, "there is no Go file in it")
        problems = [line for line in text.splitlines() if line.strip()]
        raise failure(spec, "its packages cannot be resolved", problems)
    decoder, found, position = json.JSONDecoder(), [], 0
    text = done.stdout.strip()
    while position < len(text):
        package, position = decoder.raw_decode(text, position)
        found.append(package)
        while position < len(text) and text[position].isspace():
            position += 1
    return found


def _no_program(spec: GoBinary, toolchain: Toolchain, settings: Settings, why: str) -> UsageError:
    """What is wrong with the folder, and which folders of the module hold a program."""
    done = _list(spec, toolchain, settings, "-e", "-f", '{{if eq .Name "main"}}{{.Dir}}{{end}}', "./...")
    mains = [line for line in done.stdout.splitlines() if line.strip()]
    folder = (spec.module / spec.package).resolve()
    hint = "A worker is a package main whose func main calls worker.Main."
    if mains:
        hint = f"Name one of {', '.join(mains[:_SHOWN_PACKAGES])}."
    return UsageError(f"{folder} holds no worker: {why}.", hint=hint)


def _list(
    spec: GoBinary, toolchain: Toolchain, settings: Settings, *arguments: str
) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            [str(toolchain.go), "list", *arguments],
            cwd=spec.module,
            env=go_environment(settings.cache_dir, workspace=spec.workspace),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=LIST_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(f"{toolchain.go} list failed: {error}.", hint="Is the network up?") from error


def _file_name(text: str) -> str:
    name = re.sub(r"[^A-Za-z0-9_-]", "_", text)[:60]
    return f"worker-{name or 'module'}"
