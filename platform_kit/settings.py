"""Settings: defaults, then ``.config/platform.toml``, then ``PLATFORM_KIT_*`` variables.

There is no current settings object: whoever needs them calls `Settings.load` or is handed them.
"""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from platform_kit.errors import SettingsError

FILE = ".config/platform.toml"
PREFIX = "PLATFORM_KIT_"
MIB = 1024 * 1024

_PATHS = ("cache_dir", "bin_dir")
_SECONDS = ("startup_timeout_s", "stop_timeout_s", "stall_timeout_s")
# Whole numbers, each with the least and the largest value that makes sense.
_COUNTS = {"max_payload_bytes": (1024, 64 * MIB), "log_tail_lines": (1, 10_000)}
_KEYS = (*_PATHS, *_SECONDS, *_COUNTS)
_VARIABLES = {"PLATFORM_KIT_CACHE": "cache_dir"} | {
    PREFIX + key.upper(): key for key in _KEYS if key != "cache_dir"
}


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything about this checkout and this user that is not part of an experiment.

    Parameters
    ----------
    root: The checkout: the folder that holds ``.config/pipelines``.
    cache_dir: Built binaries, shared by all checkouts of this user.
    config_dir: ``.config`` of the checkout.
    bin_dir: Links ``platform-*`` to the binaries.
    startup_timeout_s: Seconds a server may take to become ready.
    stop_timeout_s: Seconds it may take to end when asked, before it is ended.
    stall_timeout_s: Seconds a run may go without any progress.
    max_payload_bytes: The largest message a server takes, in bytes.
    log_tail_lines: How many of a log's last lines an error shows.

    Example
    -------
    >>> Settings.load().max_payload_bytes
    8388608
    """

    root: Path
    cache_dir: Path
    config_dir: Path
    bin_dir: Path
    startup_timeout_s: float = 10.0
    stop_timeout_s: float = 5.0
    stall_timeout_s: float = 60.0
    max_payload_bytes: int = 8 * MIB
    log_tail_lines: int = 30

    @classmethod
    def load(cls, *, environ: Mapping[str, str] | None = None, cwd: Path | None = None) -> Settings:
        """Read the settings that hold here and now.

        Parameters
        ----------
        environ: The variables; those of this process by default.
        cwd: Where the search for the checkout begins; the working directory by default.

        Raises
        ------
        SettingsError: An unknown key or variable, or a value of the wrong type, with what is allowed.
        """
        variables = os.environ if environ is None else environ
        root = _find_root(variables, cwd)
        config_dir = root / ".config"
        values: dict[str, Any] = {"cache_dir": _default_cache(variables), "bin_dir": root / ".bin"}
        values |= _from_file(root / FILE, root)
        values |= _from_variables(variables, root)
        return cls(root=root, config_dir=config_dir, **values)


def _find_root(environ: Mapping[str, str], cwd: Path | None) -> Path:
    given = environ.get("PLATFORM_KIT_ROOT")
    if given:
        root = Path(given).expanduser()
        if not root.is_dir():
            raise SettingsError(
                f"PLATFORM_KIT_ROOT is {given!r}, which is no folder.",
                hint="Name the folder that holds .config/pipelines, or unset the variable.",
            )
        return root.resolve()
    start = (cwd or Path.cwd()).resolve()
    for folder in (start, *start.parents):
        if (folder / ".config" / "pipelines").is_dir():
            return folder
    beside = Path(__file__).resolve().parent.parent
    # Installed without a checkout the package's parent is site-packages, no place for anybody's files.
    return start if beside.name in ("site-packages", "dist-packages") else beside


def _default_cache(environ: Mapping[str, str]) -> Path:
    # The XDG rule: a relative path there is to be ignored.
    xdg = environ.get("XDG_CACHE_HOME", "")
    if xdg.startswith("/"):
        return Path(xdg) / "platform_kit"
    home = Path(environ["HOME"]) if environ.get("HOME") else Path("~").expanduser()
    return home / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "platform_kit"


def _from_file(path: Path, root: Path) -> dict[str, Any]:
    try:
        read = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(
            f"{path} cannot be read: {error}.", hint="It is TOML: one `key = value` a line."
        ) from error
    for key in read:
        if key not in _KEYS:
            raise SettingsError(
                f"{path} has the unknown key {key!r}.", hint=f"Known keys: {', '.join(_KEYS)}."
            )
    return {key: _checked(key, value, f"{key} in {path}", root) for key, value in read.items()}


def _from_variables(environ: Mapping[str, str], root: Path) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, text in environ.items():
        if not name.startswith(PREFIX) or name == "PLATFORM_KIT_ROOT":
            continue
        key = _VARIABLES.get(name)
        if key is None:
            known = ", ".join(("PLATFORM_KIT_ROOT", *_VARIABLES))
            raise SettingsError(f"{name} is not a variable of platform_kit.", hint=f"Known: {known}.")
        value: object = text
        if key not in _PATHS:
            try:
                value = int(text) if key in _COUNTS else float(text)
            except ValueError:
                pass  # _checked says what is wrong with the text
        values[key] = _checked(key, value, name, root)
    return values


def _checked(key: str, value: object, where: str, root: Path) -> Path | float | int:
    """Return ``value`` in the key's type, or say which values it can have."""
    if key in _PATHS:
        if isinstance(value, str) and value.strip():
            return root / Path(value).expanduser()
        allowed = "a path; a relative one starts at the checkout"
    elif key in _SECONDS:
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 86_400:
            return float(value)
        allowed = "a number of seconds above 0, at most 86400"
    else:
        least, most = _COUNTS[key]
        if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
            return value
        allowed = f"a whole number from {least} to {most}"
    raise SettingsError(f"{where} is {value!r}.", hint=f"It has to be {allowed}.")
