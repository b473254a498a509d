"""Binaries by name: from the cache where they are, built where they are not, linked in ``.bin/``."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from platform_kit.binaries.build import Progress, build
from platform_kit.binaries.keys import Stamp, Toolchain, build_key, go_mod_version
from platform_kit.binaries.specs import SPECS, GoBinary, Spec, WheelBinary
from platform_kit.errors import BinaryError
from platform_kit.settings import Settings

_KEY_IN_NAME = 20
_UNUSED_DAYS = 30


@dataclass(frozen=True)
class BinaryStatus:
    """What ``platform-kit doctor`` says of one binary.

    Parameters
    ----------
    name: Its name.
    version: Its version, or the beginning of its key where the project itself is its source.
    path: Where it is, or would be.
    source: Where it comes from.
    state: "ready"; "missing"; "stale": there is one, but of other sources than there are now.
    advice: What to do about it; empty if it is ready.
    """

    name: str
    version: str
    path: Path | None
    source: str
    state: Literal["ready", "missing", "stale"]
    advice: str


def ensure(
    name: str,
    settings: Settings,
    *,
    progress: Progress | None = None,
    full: bool | None = None,
    specs: Mapping[str, Spec] = SPECS,
) -> Path:
    """Return the path of a binary, after building it if it is not in the cache.

    Parameters
    ----------
    name: One of ``specs``.
    settings: Where the cache and the links are.
    progress: Called while it is built.
    full: True for the distribution with everything in it, False for the slim one; None for the one this
        checkout uses already.
    specs: The table to look in.

    Returns
    -------
    The path inside the cache, not of the link: it stays the same binary while it runs.

    Raises
    ------
    BinaryError: It is not known, or not to be had; BuildError if the toolchain refused.

    Example
    -------
    >>> ensure("wombat", Settings.load()).name
    'wombat'
    """
    spec = specs.get(name)
    if spec is None:
        raise BinaryError(f"There is no binary {name!r}.", hint=f"There are {', '.join(specs)}.")
    if isinstance(spec, WheelBinary):
        path = _wheel_path(spec)
        _link(name, path, settings)
        return path
    toolchain = Toolchain.find()
    stamp = Stamp.read(_stamp_path(name, settings))
    if full is not None and full != stamp.full:
        stamp.full, stamp.changed = full, True
    key = build_key(spec, toolchain, full=stamp.full, stamp=stamp)
    path = cached_path(spec, key, settings)
    if path.exists():
        note_use(path.parent)
    else:
        build_once(spec, toolchain, path, settings, key=key, full=stamp.full, progress=progress)
    _link(name, path, settings)
    stamp.write()
    return path


def ensure_all(
    settings: Settings,
    *,
    progress: Progress | None = None,
    full: bool | None = None,
    on_demand: bool = False,
    specs: Mapping[str, Spec] = SPECS,
) -> dict[str, Path]:
    """Return name and path of every binary the platform needs to start, building what is missing.

    Parameters
    ----------
    settings, progress, full, specs: As for `ensure`.
    on_demand: True to build also those that are otherwise built at their first use.
    """
    return {
        name: ensure(name, settings, progress=progress, full=full, specs=specs)
        for name, spec in specs.items()
        if on_demand or not spec.on_demand
    }


def renderer_key(settings: Settings, *, specs: Mapping[str, Spec] = SPECS) -> str:
    """Return the key of the card renderer, 64 hex digits: it is part of what decides a card's picture."""
    spec = specs["card-renderer"]
    assert isinstance(spec, GoBinary)
    stamp = Stamp.read(_stamp_path(spec.name, settings))
    key = build_key(spec, Toolchain.find(), stamp=stamp)
    stamp.write()
    return key


def inventory(settings: Settings, *, specs: Mapping[str, Spec] = SPECS) -> list[BinaryStatus]:
    """Return the state of every binary without building or changing anything."""
    return [_status(spec, settings) for spec in specs.values()]


def _status(spec: Spec, settings: Settings) -> BinaryStatus:
    if isinstance(spec, WheelBinary):
        from importlib.metadata import PackageNotFoundError, version

        try:
            found = version(spec.distribution)
            return BinaryStatus(
                spec.name, found, _wheel_path(spec), f"package {spec.distribution}", "ready", ""
            )
        except (PackageNotFoundError, BinaryError):
            advice = "./kit setup installs it" if not os.environ.get("CONDA_PREFIX") else "conda env update"
            return BinaryStatus(spec.name, "", None, f"package {spec.distribution}", "missing", advice)
    try:
        toolchain = Toolchain.find()
        full = Stamp.read(_stamp_path(spec.name, settings)).full
        key = build_key(spec, toolchain, full=full)
    except BinaryError as error:
        return BinaryStatus(spec.name, go_mod_version(spec), None, str(spec.module), "missing", str(error))
    path = cached_path(spec, key, settings)
    source = f"{spec.package}, {toolchain.version}" + (", full" if full and spec.full_tags else "")
    named = go_mod_version(spec) or key[:12]
    if path.exists():
        return BinaryStatus(spec.name, named, path, source, "ready", "")
    linked = _link_path(spec.name, settings)
    advice = "built at its first use" if spec.on_demand else "platform-kit deps builds it"
    return BinaryStatus(spec.name, named, path, source, "stale" if linked.exists() else "missing", advice)


def _wheel_path(spec: WheelBinary) -> Path:
    path = Path(sysconfig.get_path("scripts")) / spec.name
    if not path.is_file():
        raise BinaryError(
            f"{spec.name} is not in this Python environment: there is no {path}.",
            hint=f"It comes with the package {spec.distribution}; ./kit setup installs it.",
        )
    return path


def _stamp_path(name: str, settings: Settings) -> Path:
    return settings.bin_dir / f".{name}.json"


def _link_path(name: str, settings: Settings) -> Path:
    return settings.bin_dir / f"platform-{name}"


def cached_path(spec: GoBinary, key: str, settings: Settings) -> Path:
    """Where the binary with this key is, or would be."""
    return settings.cache_dir / "bin" / f"{spec.name}-{key[:_KEY_IN_NAME]}" / spec.name


def _link(name: str, target: Path, settings: Settings) -> None:
    """Point ``.bin/platform-<name>`` at ``target`` in one step. A read-only checkout goes without links."""
    link = _link_path(name, settings)
    inside = str(target).startswith(f"{settings.root}{os.sep}")
    # Inside the checkout the link is relative, so that it survives a move of the folder.
    text = os.path.relpath(target, link.parent) if inside else str(target)
    try:
        if os.readlink(link) == text:
            return
    except OSError:
        pass
    scratch = link.with_name(f".{link.name}.{os.getpid()}")
    try:
        link.parent.mkdir(parents=True, exist_ok=True)
        scratch.unlink(missing_ok=True)
        scratch.symlink_to(text)
        os.replace(scratch, link)
    except OSError as error:
        if os.access(settings.root, os.W_OK):
            raise BinaryError(
                f"{link} cannot be made: {error.strerror}.", hint="Move away what is in its place."
            ) from error


def build_once(
    spec: GoBinary,
    toolchain: Toolchain,
    path: Path,
    settings: Settings,
    *,
    key: str,
    full: bool,
    progress: Progress | None,
) -> None:
    """Build into a folder of its own and put it in place by one rename; of two at once the second waits."""
    folder = path.parent
    with _cache_lock(spec.name, settings, progress):
        if path.exists():
            return
        # Under the lock nobody else builds this one: what is there was interrupted.
        for left in folder.parent.glob(f".{spec.name}@*"):
            shutil.rmtree(left, ignore_errors=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{spec.name}@", dir=folder.parent))
        try:
            started = time.monotonic()
            build(
                spec,
                toolchain,
                scratch / spec.name,
                key=key,
                cache_dir=settings.cache_dir,
                full=full,
                progress=progress,
            )
            about = {
                "version": go_mod_version(spec),
                "go": toolchain.version,
                "full": full,
                "seconds": round(time.monotonic() - started, 1),
            }
            (scratch / "build.json").write_text(json.dumps(about, indent=1) + "\n")
            scratch.chmod(0o755)
            if folder.exists():  # without its binary: somebody removed it by hand
                shutil.rmtree(folder)
            scratch.rename(folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        _prune(spec, folder)


@contextlib.contextmanager
def _cache_lock(name: str, settings: Settings, progress: Progress | None) -> Iterator[None]:
    folder = settings.cache_dir / "bin"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        with contextlib.suppress(FileNotFoundError):
            Path(tempfile.mkdtemp(prefix=".probe-", dir=folder)).rmdir()
    except OSError as error:
        raise BinaryError(
            f"The folder for built binaries, {folder}, cannot be written: {error.strerror}.",
            hint="Set PLATFORM_KIT_CACHE to a folder of yours, or free the one there is.",
        ) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if progress:
                progress(name, "waiting for another process that builds it", False)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def note_use(folder: Path) -> None:
    """Keep the folder's time within a day of its last use; `_prune` goes by it."""
    with contextlib.suppress(OSError):
        if time.time() - folder.stat().st_mtime > 86_400:
            os.utime(folder)


def _prune(spec: GoBinary, kept: Path) -> None:
    """Remove builds of this binary that no checkout has asked for in a month."""
    oldest = time.time() - _UNUSED_DAYS * 86_400
    for folder in kept.parent.glob(f"{spec.name}-*"):
        key = folder.name.removeprefix(f"{spec.name}-")
        if folder != kept and len(key) == _KEY_IN_NAME and not set(key) - set("0123456789abcdef"):
            with contextlib.suppress(OSError):
                if folder.stat().st_mtime < oldest:
                    shutil.rmtree(folder)
