"""Write the module of a new worker, to start from.

The folder ``starter`` beside this file is such a module, named "starter"; a new one is a copy under its own
name.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path

from platform_kit.binaries.keys import Toolchain
from platform_kit.binaries.specs import GO_MODULE
from platform_kit.errors import PlatformKitError, UsageError
from platform_kit.workers.gomodule import workspace_text
from platform_kit.workers.program import NAME, NAME_RULE, kit_workers

STARTER = Path(__file__).parent / "starter"
_NAME = re.compile(r"\bstarter\b")


def new_worker(name: str, into: str | Path = ".") -> Path:
    """Write the module of a worker into the folder ``into/name``; return the folder.

    Parameters
    ----------
    name: The worker's name: its subject is ``workers.<name>``.
    into: Where the folder is made.

    Errors: ``UsageError`` for a name that cannot be one, or a folder that holds something already.

    Example
    -------
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     sorted(path.name for path in new_worker("weigher", folder).iterdir())[:3]
    ['.gitignore', 'README.md', 'go.mod']
    """
    if not NAME.fullmatch(name):
        raise UsageError(f"{name!r} cannot be the name of a worker.", hint=NAME_RULE)
    if name in kit_workers():
        raise UsageError(f"{name!r} is a worker of the kit.", hint="Choose another name.")
    parent = Path(into).expanduser().absolute()
    folder = parent / name
    if os.path.lexists(folder):
        raise UsageError(
            f"{folder} is there already.", hint="Choose another name, or another folder with --into."
        )
    try:
        parent.mkdir(parents=True, exist_ok=True)
        # Complete or not at all.
        with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=parent) as scratch:
            made = Path(scratch) / name
            made.mkdir()
            for source in sorted(STARTER.iterdir()):
                if source.is_file():
                    (made / _file_name(source.name, name)).write_text(
                        _NAME.sub(name, source.read_text("utf-8")), "utf-8"
                    )
            text = workspace_text([".", str(GO_MODULE)], Toolchain.find())
            (made / "go.work").write_text(text, "utf-8")
            shutil.move(made, folder)
    except OSError as error:
        raise PlatformKitError(
            f"{folder} cannot be written: {error.strerror}.", hint="Name another folder with --into."
        ) from error
    return folder


def _file_name(file: str, name: str) -> str:
    return ".gitignore" if file == "gitignore" else _NAME.sub(name, file)
