"""Execute a notebook with parameters, its kernel in a process of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from platform_kit.errors import RunError, UsageError

_ANSI = re.compile(r"\x1b\[[0-9;]*m")


def execute_notebook(
    notebook: Path, output: Path, parameters: Mapping[str, Any], *, progress: bool = True
) -> Path:
    """Execute ``notebook`` with papermill and return ``output``, the executed copy.

    papermill only warns about a parameter the notebook does not have; here that is an error.

    Errors: ``UsageError`` for an unknown parameter or a file that is no notebook, ``RunError`` with the
    failing cell's own error.
    """
    known = _parameter_names(notebook)
    unknown = sorted(set(parameters) - known)
    if unknown:
        raise UsageError(
            f"{notebook.name} has no parameter {', '.join(unknown)}.",
            hint=f"It has {', '.join(sorted(known))}.",
        )
    import papermill
    from papermill.exceptions import PapermillExecutionError

    try:
        papermill.execute_notebook(
            str(notebook),
            str(output),
            dict(parameters),
            cwd=str(notebook.parent),
            kernel_name="python3",
            progress_bar={"desc": notebook.stem, "unit": "cell"} if progress else False,
            extra_arguments=["--Application.log_level=ERROR"],
            coalesce_streams=True,  # a progress bar is one line in the saved notebook
        )
    except PapermillExecutionError as error:
        raise RunError(
            f"{notebook.name}, cell {error.cell_index}: {error.ename}: {_ANSI.sub('', error.evalue)}",
            hint=f"The executed notebook, up to that cell, is {output}.",
        ) from error
    return output


def _parameter_names(notebook: Path) -> set[str]:
    import papermill

    try:
        return set(papermill.inspect_notebook(str(notebook)))
    except OSError as error:
        raise UsageError(
            f"The notebook {notebook} cannot be read: {error.strerror}.", hint="Check the path."
        ) from error
    except ValueError as error:  # what nbformat raises for anything that is no notebook
        raise UsageError(
            f"{notebook} is no notebook: {error}", hint="Name an .ipynb file that Jupyter can open."
        ) from error
